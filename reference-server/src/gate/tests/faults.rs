//! Each fault changes the decision it is named for, and no other.
//!
//! A fault without a row fails the first test, one that is caught by the wrong token the last: what the harness
//! concludes from a fault's discovery holds only if the fault is that one mistake and nothing else.

use serde_json::json;

use super::*;

/// Faults of the families judged here that are not the gate's, and why.
const NOT_THE_GATES: &[(Fault, &str)] = &[
    (Fault::ServesAnonymous, "there is no token to judge"),
    (Fault::EmptyTokenIsGuest, "the server knows a carrier that is there but empty"),
    (Fault::SecondConnectionKillsFirst, "of connections"),
    (Fault::FramesBeforeVerification, "of frames"),
    (Fault::TrustsIdentityHeaders, "there is no token to judge"),
    (Fault::TrustsForwardedFor, "there is no token to judge"),
    (Fault::TrustsUnderscoredHeaders, "there is no token to judge"),
    (Fault::DebugSwitch, "there is no token to judge"),
    (Fault::PublicByRequestHeader, "there is no token to judge"),
    (Fault::VerdictOutlivesToken, "of two moments: judged below"),
    (Fault::TestTokenBypass, "of the token's text, before the gate"),
    (Fault::SecretPerWorker, "of tokens that are issued"),
    (Fault::NormalisesIdentity, "the bearer is let in under another name: judged below"),
    (Fault::PublicKeyAsSecret, "of public keys: judged in `keys`"),
    (Fault::PublicKeyAsSecretUnlessPem, "of public keys: judged in `keys`"),
    (Fault::AnyKeyForAnyIssuer, "of public keys: judged in `keys`"),
    (Fault::AcceptsDerSignature, "of public keys: judged in `keys`"),
    (Fault::ZeroEcdsaSignature, "of public keys: judged in `keys`"),
    (Fault::PadsShortEcdsa, "of public keys: judged in `keys`"),
    (Fault::CutsLongEcdsa, "of public keys: judged in `keys`"),
    (Fault::EddsaRangeUnchecked, "of public keys: judged in `keys`"),
    (Fault::CurveNotTied, "needs a signer of its own, which the harness has"),
    (Fault::HashByDigestInfo, "needs a signer of its own, which the harness has"),
    (Fault::EitherRsaPadding, "needs a signer of its own, which the harness has"),
    (Fault::LenientPkcs1, "needs a signer of its own, which the harness has"),
    (Fault::AnyPssSalt, "needs a signer of its own, which the harness has"),
    (Fault::RsaRangeUnchecked, "needs a signer of its own, which the harness has"),
    (Fault::PublishesSecret, "of the published keys"),
    (Fault::PublishesWeakKey, "of the published keys"),
    (Fault::PublishesUnmarkedKey, "of the published keys"),
    (Fault::KidInAShell, "of how long it takes"),
    (Fault::ComputesWithEmbeddedKey, "of how long it takes"),
    (Fault::TrustsEmbeddedKey, "needs a signer of its own, which the harness has"),
    (Fault::TrustsEmbeddedCertificate, "needs a signer of its own, which the harness has"),
    (Fault::LongRoleBreaksClose, "of how the refusal is told"),
    (Fault::ReasonCutInsideCharacter, "of how the refusal is told"),
];

/// Whether a fault of this place in the catalogue is judged here.
fn is_judged_here(fault: Fault) -> bool {
    let range = |first: Fault, last: Fault| first <= fault && fault <= last;
    range(Fault::RefusesEveryone, Fault::PublishesUnmarkedKey)
        || range(Fault::OnlyAdminAllowed, Fault::ReasonCutInsideCharacter)
        || fault == Fault::JudgesClaimsFirst
}

/// One fault and a token that it judges otherwise than the right gate.
struct Row {
    fault: Fault,
    /// Tokens the gate sees first.
    before: Vec<String>,
    token: Vec<u8>,
    hints: RequestHints,
    right: Verdict,
    wrong: Verdict,
    policy: fn() -> Policy,
}

impl Row {
    fn under(mut self, policy: fn() -> Policy) -> Self {
        self.policy = policy;
        self
    }

    fn after(mut self, before: impl IntoIterator<Item = String>) -> Self {
        self.before.extend(before);
        self
    }

    fn hinted(mut self, hints: RequestHints) -> Self {
        self.hints = hints;
        self
    }

    fn verdict(&self, fault: Option<Fault>) -> Verdict {
        let gate = Gate::new((self.policy)(), fault);
        for token in &self.before {
            let _ = gate.admit(token.as_bytes(), NOW);
        }
        verdict(&gate.admit_with(&self.token, NOW, &self.hints))
    }
}

fn row(fault: Fault, token: impl AsRef<[u8]>, right: Verdict, wrong: Verdict) -> Row {
    Row {
        fault,
        before: Vec::new(),
        token: token.as_ref().to_vec(),
        hints: RequestHints::default(),
        right,
        wrong,
        policy,
    }
}

/// The fault lets in what the right gate refuses as `right`.
fn lets_in(fault: Fault, right: Verdict, token: impl AsRef<[u8]>) -> Row {
    row(fault, token, right, Admitted)
}

/// The fault refuses as `wrong` what the right gate lets in.
fn keeps_out(fault: Fault, wrong: Verdict, token: impl AsRef<[u8]>) -> Row {
    row(fault, token, Admitted, wrong)
}

fn auth_rows() -> Vec<Row> {
    vec![
        keeps_out(Fault::RefusesEveryone, Malformed, valid()),
        keeps_out(Fault::ExpiryMargin, Expired, with_exp("1800000030")),
        lets_in(Fault::ContinuesAfterDecodeError, Malformed, "invalid-token-here"),
        lets_in(Fault::ContinuesAfterDecodeError, Malformed, "invalid_token_123"),
        lets_in(Fault::BypassWord, Malformed, "null"),
        lets_in(Fault::BypassWord, Malformed, "[object Object]"),
        keeps_out(Fault::OneShotToken, BadClaims, valid()).after([valid()]),
        keeps_out(Fault::FailuresLockTheSubject, BadClaims, valid()).after(std::iter::repeat_n(
            format!("{}.AAAA", signed_part(HEADER, r#"{"sub":"alice","exp":1800000301}"#)),
            10,
        )),
        lets_in(Fault::CaseFoldedTokenCache, Malformed, valid().to_uppercase()).after([valid()]),
        row(
            Fault::JudgesClaimsFirst,
            format!("{}.AAAA", signed_part(HEADER, r#"{"sub":"alice","role":"admin","exp":1}"#)),
            BadSignature,
            Expired,
        ),
        row(
            Fault::JudgesClaimsFirst,
            format!("{}.AAAA", signed_part(HEADER, r#"{"sub":"a","role":"viewer","exp":1800000300}"#)),
            BadSignature,
            RoleNotAllowed,
        ),
    ]
}

fn enc_rows() -> Vec<Row> {
    let v = valid();
    let signed = valid_signed();
    let (h, p, s) = (b64(HEADER), b64(CLAIMS), mac(&signed));
    // Until both characters that differ between the alphabets occur.
    let odd_signature = (0..)
        .map(|n| with_claims(format!(r#"{{"sub":"a{n}","role":"dba","exp":1800000300}}"#)))
        .find(|token| {
            let signature = token.rsplit('.').next().unwrap_or_default();
            signature.contains('-') && signature.contains('_')
        })
        .expect("one in a few");
    let (odd_signed, odd_mac) = odd_signature.rsplit_once('.').expect("three segments");
    let standard = format!("{odd_signed}.{}", odd_mac.replace('-', "+").replace('_', "/"));
    let standard_payload =
        b64(r#"{"sub":"~~~???>>>","role":"dba","exp":1800000300}"#).replace('-', "+").replace('_', "/");
    assert!(standard_payload.contains(['+', '/']));
    let (p1, p2) = p.split_at(8);
    let json = format!(r#"{{"payload":"{p}","protected":"{h}","signature":"{s}"}}"#);
    vec![
        lets_in(Fault::MissingSignatureSegment, Malformed, &signed),
        lets_in(Fault::EmptySignatureSkipsCheck, BadSignature, format!("{signed}.")),
        lets_in(Fault::OpaqueClaimsSegment, Malformed, &p),
        lets_in(Fault::IgnoresExtraSegments, Malformed, format!("{v}.foo")),
        lets_in(Fault::IgnoresExtraSegments, Malformed, format!("{v}.")),
        lets_in(Fault::DropsTrailingPeriod, Malformed, format!("{v}.")),
        lets_in(Fault::GluesMiddleSegments, Malformed, sealed(&format!("{h}.{p1}.{p2}"))),
        lets_in(Fault::StripsLeadingPeriod, Malformed, format!(".{v}")),
        lets_in(Fault::MissingHeaderDefaults, Malformed, sealed(&format!(".{p}"))),
        lets_in(Fault::EmptyPayloadIsAnonymous, Malformed, sealed(&format!("{h}."))),
        lets_in(Fault::AcceptsSignaturePadding, Malformed, format!("{v}=")),
        lets_in(Fault::AcceptsSegmentPadding, Malformed, sealed(&format!("{h}=.{p}=="))),
        lets_in(Fault::AcceptsStandardBase64, Malformed, standard),
        lets_in(Fault::AcceptsStandardBase64, Malformed, sealed(&format!("{h}.{standard_payload}"))),
        lets_in(Fault::SkipsWhitespace, Malformed, sealed(&format!("{h}. {p}"))),
        lets_in(Fault::SkipsWhitespace, Malformed, sealed(&format!("{h}\t.{p}"))),
        lets_in(Fault::SkipsWhitespace, Malformed, format!("{signed}.{}\r\n{}", &s[..20], &s[20..])),
        lets_in(Fault::SkipsForeignCharacters, Malformed, format!("{v}!!")),
        lets_in(Fault::SkipsForeignCharacters, Malformed, sealed(&format!("{h}##.{p}"))),
        lets_in(Fault::DropsDanglingCharacter, Malformed, format!("{v}AA")),
        lets_in(Fault::TruncatesAtNul, Malformed, format!("{v}\0junk")),
        row(Fault::CrashesOnNonAscii, format!("{v}\u{1f600}"), Malformed, Internal),
        lets_in(Fault::StripsQuotes, Malformed, format!("\"{v}\"")),
        lets_in(Fault::AcceptsJsonSerialization, Malformed, json),
        lets_in(Fault::HeaderNotJsonDefaults, Malformed, with_header("HS256")),
        lets_in(Fault::HeaderNotJsonDefaults, Malformed, with_header(r#"["alg","HS256"]"#)),
        lets_in(Fault::HeaderNotJsonDefaults, Malformed, with_header("null")),
        lets_in(Fault::OpaquePayload, Malformed, with_claims("hello")),
        lets_in(Fault::OpaquePayload, Malformed, with_claims("[1]")),
        lets_in(Fault::OpaquePayload, Malformed, with_claims("true")),
        lets_in(Fault::StopsAtFirstJsonValue, Malformed, with_claims(format!("{CLAIMS}X"))),
        lets_in(Fault::StopsAtFirstJsonValue, Malformed, with_header(r#"{"alg":"HS256"}{"alg":"none"}"#)),
        lets_in(Fault::LossyUtf8, Malformed, with_claims(b"{\"sub\":\"\xff\",\"role\":\"admin\",\"exp\":1800000300}")),
        lets_in(Fault::LossyUtf8, Malformed, with_header(b"{\"alg\":\"HS256\",\"kid\":\"\xff\"}")),
        lets_in(Fault::AcceptsUtf16, Malformed, with_claims(utf16_le(CLAIMS))),
        lets_in(Fault::AcceptsUtf16, Malformed, with_claims(utf16_be(CLAIMS))),
        lets_in(Fault::AcceptsUtf16, Malformed, with_claims(utf16_le(&format!("\u{feff}{CLAIMS}")))),
        lets_in(Fault::AcceptsUtf16, Malformed, with_header(utf16_be(&format!("\u{feff}{HEADER}")))),
        lets_in(
            Fault::FirstDuplicateWins,
            Malformed,
            with_claims(r#"{"sub":"a","role":"admin","exp":1800000300,"exp":1}"#),
        ),
        lets_in(
            Fault::FirstDuplicateWins,
            Malformed,
            with_claims(r#"{"sub":"a","role":"admin","exp":1800000300,"role":"viewer"}"#),
        ),
        lets_in(
            Fault::FirstDuplicateWins,
            Malformed,
            format!("{}.", signed_part(r#"{"alg":"none","alg":"HS256"}"#, CLAIMS)),
        ),
        lets_in(Fault::LastAlgUnchecked, Malformed, with_header(r#"{"alg":"HS256","alg":"none"}"#)),
        keeps_out(Fault::HeaderBySubstring, Malformed, with_header(r#"{"\u0061lg":"HS256","typ":"JWT"}"#)),
        lets_in(Fault::ExpBySubstring, Expired, with_claims(r#"{"sub":"a","role":"admin","\u0065xp":1}"#)),
        keeps_out(
            Fault::FoldsClaimNames,
            Expired,
            with_claims(r#"{"sub":"a","role":"admin","EXP":1,"Exp":1,"exp":1800000300}"#),
        ),
        lets_in(
            Fault::LastFoldedClaimWins,
            Expired,
            with_claims(r#"{"sub":"a","role":"admin","exp":1,"EXP":1800000300}"#),
        ),
        keeps_out(Fault::ConstantHeader, Malformed, with_header(r#"{ "typ":"JWT","alg":"HS256"}"#)),
        lets_in(
            Fault::RelaxedJson,
            Malformed,
            with_claims("{\"sub\":\"a//b\",/* c */\"role\":\"admin\", // d\n\"exp\":1800000300,}"),
        ),
        row(Fault::CrashesOnOddNumbers, with_exp("NaN"), Malformed, Internal),
        row(Fault::CrashesOnOddNumbers, with_exp("-Infinity"), Malformed, Internal),
        row(Fault::CrashesOnOddNumbers, with_exp("1e400"), Malformed, Internal),
        row(Fault::CrashesOnOddNumbers, with_exp(&"9".repeat(400)), Malformed, Internal),
        keeps_out(Fault::CrashesOnOddNumbers, Internal, with_exp("253402300800")),
        keeps_out(
            Fault::AsciiClaimsOnly,
            Malformed,
            with_claims("{\"sub\":\"a\",\"role\":\"admin\",\"exp\":1800000300,\"name\":\"\u{1f600}\"}"),
        ),
        keeps_out(Fault::ComparesRoleUnescaped, RoleNotAllowed, with_role(r#""\u0061dmin""#)),
    ]
}

fn sig_rows() -> Vec<Row> {
    let signed = valid_signed();
    let right_mac = mac_bytes(&signed);
    let mut other_tail = right_mac.clone();
    other_tail[31] ^= 1;
    let s = mac(&signed);
    let bob = signed_part(HEADER, r#"{"sub":"bob","role":"admin","exp":1800000300}"#);
    let unsigned = |alg: &str| format!("{}.", signed_part(format!(r#"{{"alg":{alg},"typ":"JWT"}}"#), CLAIMS));
    let under = |secret: &[u8]| format!("{signed}.{}", mac_with(secret, Algorithm::HS256, &signed));
    let hs512 = |header: &str| {
        let signed = signed_part(header, CLAIMS);
        format!("{signed}.{}", mac_with(SECRET, Algorithm::HS512, &signed))
    };
    let hs384 = signed_part(r#"{"alg":"HS384"}"#, CLAIMS);
    let hs384 = format!("{hs384}.{}", mac_with(SECRET, Algorithm::HS384, &hs384));
    let raw_signed = format!("{}.{CLAIMS}", b64(r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#));
    let jwe =
        format!("{}..{}.{}.{}", b64(r#"{"alg":"dir","enc":"A256GCM"}"#), b64([7; 12]), b64("ciphertext"), b64([9; 16]));
    let inner = format!("{}.", signed_part(r#"{"alg":"none"}"#, CLAIMS));
    let expired = r#"{"sub":"alice","role":"admin","exp":1}"#;
    let named = |kid: &str, secret: &[u8]| {
        let signed = signed_part(format!(r#"{{"alg":"HS256","typ":"JWT","kid":{kid}}}"#), CLAIMS);
        format!("{signed}.{}", mac_with(secret, Algorithm::HS256, &signed))
    };
    vec![
        lets_in(Fault::IgnoresSignature, BadSignature, forged()),
        lets_in(Fault::ComparesSignaturePrefix, BadSignature, with_signature(&other_tail)),
        lets_in(Fault::PayloadOutsideSignature, BadSignature, format!("{bob}.{s}")).after([valid()]),
        lets_in(
            Fault::HeaderOutsideSignature,
            BadSignature,
            format!("{}.{}.{s}", b64(r#"{"alg":"HS256","typ":"JWT","x":1}"#), b64(CLAIMS)),
        ),
        lets_in(Fault::SignatureFromAnotherToken, BadSignature, format!("{bob}.{s}")).after([valid()]),
        lets_in(Fault::CacheByHeaderAndPayload, BadSignature, forged()).after([valid()]),
        keeps_out(Fault::NegativeCacheByPayload, BadSignature, valid()).after([forged()]),
        lets_in(Fault::AcceptsAlgNone, BadSignature, unsigned(r#""none""#)),
        lets_in(Fault::AcceptsAlgNone, BadSignature, with_alg(r#""none""#)),
        lets_in(Fault::AcceptsAlgNone, Malformed, signed_part(r#"{"alg":"none"}"#, CLAIMS)),
        lets_in(Fault::AcceptsAlgNoneAnyCase, BadSignature, unsigned(r#""nOnE""#)),
        lets_in(Fault::AcceptsAlgNoneAnyCase, BadSignature, unsigned(r#""none ""#)),
        lets_in(Fault::AcceptsAlgNoneAnyCase, BadSignature, unsigned(r#""none\u0000""#)),
        lets_in(Fault::UnnamedAlgIsNone, BadSignature, unsigned(r#""HS999""#)),
        lets_in(Fault::UnnamedAlgIsNone, BadSignature, unsigned("0")),
        lets_in(Fault::MissingAlgDefaults, BadSignature, with_header(r#"{"typ":"JWT"}"#)),
        lets_in(Fault::FalsyAlgSkipsCheck, BadSignature, unsigned(r#""""#)),
        lets_in(Fault::FalsyAlgSkipsCheck, BadSignature, unsigned("null")),
        lets_in(Fault::AlgOfAnyType, BadSignature, with_alg("256")),
        lets_in(Fault::AlgOfAnyType, BadSignature, with_alg("true")),
        lets_in(Fault::AlgOfAnyType, BadSignature, with_alg(r#"["HS256"]"#)),
        lets_in(Fault::AlgOfAnyType, BadSignature, with_alg(r#"{"a":"HS256"}"#)),
        lets_in(Fault::UnknownAlgFallsThrough, BadSignature, with_alg(r#""HS999""#)),
        lets_in(Fault::UnknownAlgFallsThrough, BadSignature, with_alg(r#""A128GCM""#)),
        lets_in(Fault::FoldsAlgCase, BadSignature, with_alg(r#""hs256""#)),
        lets_in(Fault::TrimsAlg, BadSignature, with_alg(r#"" HS256 ""#)),
        lets_in(Fault::AllowsHmacFamily, BadSignature, hs384),
        lets_in(Fault::AllowsHmacFamily, BadSignature, hs512(r#"{"alg":"HS512"}"#)),
        lets_in(Fault::HashBySignatureLength, BadSignature, hs512(HEADER)),
        lets_in(Fault::ComparesShorterLength, BadSignature, with_signature(&right_mac[..16])),
        lets_in(Fault::ComparesShorterLength, BadSignature, with_signature(&right_mac[..1])),
        lets_in(Fault::ComparesWithStartsWith, BadSignature, with_signature(&[&right_mac[..], &[0]].concat())),
        lets_in(Fault::ConstantSignaturePasses, BadSignature, with_signature(&[0; 32])),
        lets_in(Fault::ConstantSignaturePasses, BadSignature, with_signature(&[0xff; 32])),
        lets_in(Fault::EmptySecretAccepted, BadSignature, under(b"")),
        lets_in(
            Fault::UnknownKidNeedsNoSignature,
            BadSignature,
            format!("{}.", signed_part(r#"{"alg":"none","kid":"nobody"}"#, CLAIMS)),
        ),
        lets_in(
            Fault::EncSkipsSignature,
            BadSignature,
            format!("{}.{}", signed_part(r#"{"alg":"HS256","typ":"JWT","enc":"A256GCM"}"#, CLAIMS), b64([7; 32])),
        ),
        lets_in(
            Fault::UnknownIssuerNeedsNoSignature,
            BadSignature,
            format!(
                "{}.{}",
                signed_part(HEADER, r#"{"sub":"a","role":"admin","exp":1800000300,"iss":"https://nobody.example"}"#),
                b64([7; 32])
            ),
        ),
        lets_in(Fault::DefaultSecretActive, BadSignature, under(b"dev-secret-key")),
        lets_in(Fault::DefaultSecretActive, BadSignature, under(b"your-256-bit-secret")),
        lets_in(Fault::AsymmetricAlgUnchecked, BadSignature, with_alg(r#""RS256""#)),
        lets_in(Fault::AsymmetricAlgUnchecked, BadSignature, with_alg(r#""EdDSA""#)),
        lets_in(Fault::IgnoresCrit, Malformed, with_header(r#"{"alg":"HS256","crit":["gatecrash"],"gatecrash":1}"#)),
        lets_in(Fault::CritAllowsClaimNames, Malformed, with_header(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#)),
        lets_in(Fault::HonoursB64False, Malformed, sealed(&raw_signed)),
        lets_in(Fault::DecryptsJwe, Malformed, jwe),
        lets_in(Fault::TrustsNestedToken, Malformed, mint(r#"{"alg":"HS256","cty":"JWT"}"#, inner)),
        keeps_out(Fault::RefusesUnknownHeader, Malformed, with_header(r#"{"alg":"HS256","typ":"JWT","x-trace":"1"}"#)),
        lets_in(Fault::KidNamesAFile, BadSignature, named(r#""../../../proc/sys/kernel/randomize_va_space""#, b"2\n")),
        lets_in(Fault::KidInAQuery, BadSignature, named(r#""x' UNION SELECT 'mallory'-- ""#, b"mallory")),
        keeps_out(Fault::KidInAQuery, Internal, named(r#""'""#, SECRET)),
        keeps_out(Fault::KidInAFilter, Internal, named(r#"{"$ne":""}"#, SECRET)),
        keeps_out(Fault::KidInAFilter, Internal, named(r#""*)(uid=*""#, SECRET)),
        keeps_out(Fault::KidInAHeader, Internal, named(r#""a\u0000b""#, SECRET)),
        keeps_out(Fault::KidInAHeader, Internal, named(&format!("{:?}", "a".repeat(4096)), SECRET)),
        lets_in(Fault::TrustsEmbeddedSecret, BadSignature, {
            let header = format!(r#"{{"alg":"HS256","jwk":{{"kty":"oct","k":"{}"}}}}"#, b64("mallory"));
            let signed = signed_part(header, CLAIMS);
            format!("{signed}.{}", mac_with(b"mallory", Algorithm::HS256, &signed))
        }),
        lets_in(
            Fault::HeaderOverridesClaims,
            Expired,
            mint(r#"{"alg":"HS256","exp":1800000300,"role":"admin"}"#, expired),
        ),
    ]
}

fn clm_rows() -> Vec<Row> {
    vec![
        lets_in(Fault::IgnoresExp, Expired, with_exp("1799996400")),
        lets_in(Fault::LeewayInMinutes, Expired, with_exp("1799999400")),
        row(Fault::LeewayInMinutes, with_exp("1799996400"), Expired, Expired),
        lets_in(Fault::HiddenLeeway, Expired, with_exp("1799999998")),
        row(Fault::HiddenLeeway, with_exp("1799999940"), Expired, Expired),
        lets_in(Fault::ExpBoundary, Expired, with_exp("1800000000")),
        row(Fault::ExpBoundary, with_exp("1799999999"), Expired, Expired),
        lets_in(Fault::AcceptsMissingExp, BadClaims, with_claims(r#"{"sub":"a","role":"admin"}"#)),
        lets_in(Fault::CoercesExpString, BadClaims, with_exp(r#""1800000300""#)),
        row(Fault::CoercesExpString, with_exp(r#""1""#), BadClaims, Expired),
        row(Fault::CoercesExpString, with_exp(r#""never""#), BadClaims, BadClaims),
        lets_in(Fault::WrongExpTypeIsAbsent, BadClaims, with_exp(r#""1""#)),
        lets_in(Fault::WrongExpTypeIsAbsent, BadClaims, with_exp(r#""never""#)),
        lets_in(Fault::WrongExpTypeIsAbsent, BadClaims, with_exp("null")),
        lets_in(Fault::WrongExpTypeIsAbsent, BadClaims, with_exp("[1800000300]")),
        lets_in(Fault::ExpUnsigned, Expired, with_exp("-1")),
        lets_in(Fault::FalsyExpSkipsCheck, Expired, with_exp("0")),
        lets_in(Fault::FalsyExpSkipsCheck, Expired, with_exp("0.0")),
        keeps_out(Fault::RefusesFractionalExp, BadClaims, with_exp("1800000300.5")),
        keeps_out(Fault::Exp32Bit, Expired, with_exp("2147487248")),
        keeps_out(Fault::Exp32Bit, Expired, with_exp("4294970896")),
        lets_in(Fault::IgnoresNbf, BadClaims, with_nbf("1800003600")),
        keeps_out(Fault::RefusesNbfNow, BadClaims, with_nbf("1800000000")),
        lets_in(Fault::NbfStringIsAbsent, BadClaims, with_nbf(r#""1800003600""#)),
        lets_in(Fault::ServesWithoutIdentity, BadClaims, with_claims(r#"{"role":"admin","exp":1800000300}"#)),
        lets_in(Fault::ServesEmptyIdentity, BadClaims, with_claims(r#"{"sub":"","role":"admin","exp":1800000300}"#)),
        keeps_out(
            Fault::RefusesUnknownClaim,
            BadClaims,
            with_claims(r#"{"sub":"a","role":"admin","exp":1800000300,"x":{"y":[]}}"#),
        ),
        keeps_out(Fault::RequiresUndeclaredClaim, BadClaims, valid()),
        keeps_out(Fault::RequiresTyp, Malformed, with_header(r#"{"alg":"HS256"}"#)),
        keeps_out(Fault::ExactTyp, Malformed, with_header(r#"{"alg":"HS256","typ":"jwt"}"#)),
        lets_in(Fault::SecondCarrierUnverified, BadSignature, forged())
            .hinted(RequestHints { second_carrier: true, ..RequestHints::default() }),
        lets_in(Fault::SecondCarrierUnverified, Expired, with_exp("1"))
            .hinted(RequestHints { second_carrier: true, ..RequestHints::default() }),
        row(Fault::SecondCarrierUnverified, forged(), BadSignature, BadSignature),
    ]
}

fn role_rows() -> Vec<Row> {
    let with = |more: &str| with_claims(format!(r#"{{"sub":"alice","role":"viewer","exp":1800000300,{more}}}"#));
    let lets = |fault, role: &str| lets_in(fault, RoleNotAllowed, with_role(role));
    vec![
        keeps_out(Fault::OnlyAdminAllowed, RoleNotAllowed, with_role(r#""dba""#)),
        lets(Fault::ViewerAllowed, r#""viewer""#),
        lets(Fault::ReadOnlyAllowed, r#""read_only""#),
        lets_in(Fault::DefaultRoleAdmin, RoleNotAllowed, with_claims(r#"{"sub":"a","exp":1800000300}"#)),
        lets(Fault::FalsyRoleSkipsCheck, r#""""#),
        lets(Fault::FalsyRoleSkipsCheck, "null"),
        lets(Fault::DenylistOfRoles, r#""superuser""#),
        lets(Fault::FoldsRoleCase, r#""ADMIN""#),
        lets(Fault::TrimsRole, r#"" admin""#),
        lets(Fault::TrimsRole, r#""admin\u0000""#),
        lets(Fault::TrimsRole, r#""admin\u200b""#),
        lets(Fault::RoleBySubstring, r#""administrator""#),
        lets(Fault::RoleBySubstring, r#""viewer,dba""#),
        lets(Fault::RoleAnyOfArray, r#"["viewer","admin"]"#),
        lets(Fault::RoleTruthy, "1"),
        lets(Fault::RoleTruthy, "true"),
        lets(Fault::RoleTruthy, r#"{"admin":true}"#),
        lets_in(Fault::MergesRoleClaims, RoleNotAllowed, with(r#""roles":["admin"]"#)),
        lets_in(Fault::MergesRoleClaims, RoleNotAllowed, with(r#""is_admin":true"#)),
        lets_in(Fault::MergesRoleClaims, RoleNotAllowed, with(r#""scope":"read admin""#)),
        lets_in(Fault::MergesRoleClaims, RoleNotAllowed, with(r#""permissions":["*"]"#)),
        lets(Fault::RoleFromRequest, r#""viewer""#)
            .hinted(RequestHints { role: Some("admin".to_owned()), ..RequestHints::default() }),
        lets_in(
            Fault::RoleFromHeader,
            RoleNotAllowed,
            mint(r#"{"alg":"HS256","role":"admin"}"#, r#"{"sub":"alice","role":"viewer","exp":1800000300}"#),
        ),
        lets(Fault::RoleCachedPerUser, r#""viewer""#).after([valid()]),
        lets_in(Fault::PollutesPrototype, RoleNotAllowed, with_claims(r#"{"sub":"alice","exp":1800000300}"#))
            .after([with_claims(r#"{"sub":"bob","role":"admin","exp":1800000300,"__proto__":{"role":"admin"}}"#)]),
    ]
}

/// A policy that asks for everything it can, but for the few things that exclude each other.
fn demanding() -> Policy {
    Policy {
        audience: Some("us".to_owned()),
        issuer: Some("https://i.example/".to_owned()),
        max_token_age_s: Some(600),
        max_token_lifetime_s: Some(3600),
        required_scope: Some("read".to_owned()),
        refresh_marker: Object::from_iter([("token_use".to_owned(), "refresh".into())]),
        ..policy()
    }
}

const RETIRED: &[u8] = b"a secret of the year before, 32+";

/// Claims that satisfy it, with these laid over; `null` takes one away.
fn demanded(change: Value) -> String {
    let mut claims = serde_json::json!({
        "sub": "alice", "role": "admin", "iat": 1_800_000_000, "exp": 1_800_000_300,
        "aud": "us", "iss": "https://i.example/", "scope": "read", "jti": "1",
    });
    for (name, value) in change.as_object().into_iter().flatten() {
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    with_claims(claims.to_string())
}

fn promise_rows() -> Vec<Row> {
    let lets_in = |fault, change: Value| lets_in(fault, BadClaims, demanded(change)).under(demanding);
    let signed = valid_signed();
    let retired = format!("{signed}.{}", mac_with(RETIRED, Algorithm::HS256, &signed));
    let once = with_claims(r#"{"sub":"alice","role":"admin","exp":1800000300,"jti":"1"}"#);
    let general = format!(
        r#"{{"payload":"{p}","signatures":[{{"protected":"{none}","signature":""}},{{"protected":"{h}","signature":"{s}"}}]}}"#,
        p = b64(CLAIMS),
        h = b64(HEADER),
        s = mac(&signed),
        none = b64(r#"{"alg":"none"}"#),
    );
    vec![
        lets_in(Fault::AgeFromExp, json!({"iat": 1_799_999_300})),
        lets_in(Fault::IgnoresLifetime, json!({"exp": 1_800_009_000})),
        lets_in(Fault::IgnoresAud, json!({"aud": "other"})),
        lets_in(Fault::MissingAudSkipsCheck, json!({"aud": null})),
        keeps_out(Fault::RefusesAudArray, BadClaims, demanded(json!({"aud": ["x", "us"]}))).under(demanding),
        lets_in(Fault::AnyAudArray, json!({"aud": ["x", "y"]})),
        lets_in(Fault::EmptyAudMatches, json!({"aud": []})),
        lets_in(Fault::EmptyAudMatches, json!({"aud": ""})),
        lets_in(Fault::AudBySubstring, json!({"aud": "us.evil.example"})),
        lets_in(Fault::FoldsAudCase, json!({"aud": "US"})),
        lets_in(Fault::AudOfAnyType, json!({"aud": {"us": true}})),
        lets_in(Fault::IgnoresIss, json!({"iss": "https://evil.example"})),
        lets_in(Fault::MissingIssSkipsCheck, json!({"iss": null})),
        lets_in(Fault::NormalisesIss, json!({"iss": "http://I.example"})),
        lets_in(Fault::IssAnyOfArray, json!({"iss": ["x", "https://i.example/"]})),
        lets_in(Fault::AcceptsRefreshToken, json!({"token_use": "refresh"})),
        lets_in(Fault::ScopeBySubstring, json!({"scope": "reader"})),
        self::lets_in(Fault::RetiredSecretAccepted, BadSignature, retired)
            .under(|| Policy { retired_secrets: vec![RETIRED.to_vec()], ..policy() }),
        self::lets_in(
            Fault::IgnoresDirectory,
            BadClaims,
            with_claims(r#"{"sub":"bob","role":"dba","exp":1800000300}"#),
        )
        .under(|| Policy { directory: Some(["alice".to_owned()].into()), ..policy() }),
        self::lets_in(Fault::ForgetsJti, BadClaims, &once)
            .after([once.clone()])
            .under(|| Policy { single_use: true, ..policy() }),
        self::lets_in(Fault::AccessTokenClaimsOptional, BadClaims, valid())
            .under(|| Policy { required_claims: vec!["jti".to_owned()], ..policy() }),
        self::lets_in(Fault::IgnoresTyp, Malformed, valid())
            .under(|| Policy { typ: Some("at+jwt".to_owned()), ..policy() }),
        keeps_out(Fault::CtyPicksParser, Internal, with_header(r#"{"alg":"HS256","typ":"JWT","cty":"text/xml"}"#)),
        keeps_out(Fault::IdentityInQuery, Internal, with_claims(r#"{"sub":"o'hara","role":"admin","exp":1800000300}"#)),
        keeps_out(
            Fault::CrashesOnControlCharacters,
            Internal,
            with_claims(r#"{"sub":"a\u0000b","role":"admin","exp":1800000300}"#),
        ),
        keeps_out(Fault::RequiresKid, Malformed, valid()),
        self::lets_in(Fault::AnySignatureCounts, Malformed, general),
    ]
}

#[test]
fn a_name_is_made_normal_where_the_fault_does_so() {
    let token = with_claims(r#"{"sub":" ALICE\u0000x","role":"admin","exp":1800000300}"#);
    let named = |fault| Gate::new(policy(), fault).admit(token.as_bytes(), NOW).map(|bearer| bearer.identity);
    assert_eq!(named(None).as_deref(), Ok(" ALICE\0x"));
    assert_eq!(named(Some(Fault::NormalisesIdentity)).as_deref(), Ok("alice"));
}

fn rows() -> Vec<Row> {
    [auth_rows(), enc_rows(), sig_rows(), clm_rows(), role_rows(), promise_rows()].into_iter().flatten().collect()
}

#[test]
fn every_fault_of_the_gate_has_a_row() {
    let rows = rows();
    for &fault in Fault::ALL {
        let excused = NOT_THE_GATES.iter().any(|(other, _)| *other == fault);
        let judged = rows.iter().any(|row| row.fault == fault && row.right != row.wrong);
        assert_eq!(judged, is_judged_here(fault) && !excused, "{fault}");
    }
}

#[test]
fn each_fault_changes_the_decision_it_is_named_for() {
    for row in rows() {
        let token = String::from_utf8_lossy(&row.token);
        assert_eq!(row.verdict(None), row.right, "the right gate on {token}");
        assert_eq!(row.verdict(Some(row.fault)), row.wrong, "{} on {token}", row.fault);
    }
}

#[test]
fn a_fault_changes_no_other_decision() {
    let bystanders = [
        (String::new(), Missing),
        ("x".repeat(8193), Malformed),
        (sealed(&format!("{}.!", b64(HEADER))), Malformed),
        (format!("{}.AA==B", valid_signed()), Malformed),
        (with_header(r#"{"alg":"HS256""#), Malformed),
        (with_claims(r#"{"sub":"alice""#), Malformed),
        (format!("{}.{}", signed_part(HEADER, CLAIMS), b64([1; 20])), BadSignature),
    ];
    for &fault in Fault::ALL {
        let gate = Gate::new(policy(), Some(fault));
        if fault == Fault::RefusesEveryone {
            assert_eq!(judged(&gate, valid()), Malformed);
            continue;
        }
        if fault == Fault::RequiresKid {
            // None of these has one.
            assert_eq!(judged(&gate, valid()), Malformed);
            continue;
        }
        if fault == Fault::RequiresUndeclaredClaim {
            assert_eq!(judged(&gate, valid()), BadClaims);
            continue;
        }
        assert_eq!(judged(&gate, valid()), Admitted, "{fault} on a valid token");
        for (token, expected) in &bystanders {
            if *expected == BadSignature && BELIEVES_ANY_SIGNATURE.contains(&fault) {
                continue;
            }
            assert_eq!(judged(&gate, token), *expected, "{fault} on {token}");
        }
    }
}

/// Faults that have nothing else to say about a wrong signature.
const BELIEVES_ANY_SIGNATURE: &[Fault] = &[Fault::IgnoresSignature, Fault::CacheByHeaderAndPayload];

#[test]
fn a_token_that_names_nobody_is_served_as_anonymous() {
    let gate = Gate::new(policy(), Some(Fault::BypassWord));
    let Ok(bearer) = gate.admit(b"guest", NOW) else {
        panic!("the fault is not on");
    };
    assert_eq!(bearer.identity, "anonymous");
    assert_eq!(bearer.role.as_deref(), Some("admin"));
    assert_eq!(bearer.claims.get("sub"), Some(&Value::from("anonymous")));
}

#[test]
fn a_folded_cache_does_not_revive_what_has_expired() {
    let gate = Gate::new(policy(), Some(Fault::CaseFoldedTokenCache));
    assert_eq!(judged(&gate, valid()), Admitted);
    let later = NOW + 1000.0;
    assert_eq!(verdict(&gate.admit(valid().as_bytes(), later)), Expired);
    let shouted = valid().to_uppercase();
    assert_eq!(verdict(&gate.admit(shouted.as_bytes(), later)), Malformed);
}

#[test]
fn a_verdict_that_outlives_its_token_counts_for_that_token_only() {
    let later = NOW + 1000.0;
    let gate = Gate::new(policy(), Some(Fault::VerdictOutlivesToken));
    assert_eq!(verdict(&gate.admit(valid().as_bytes(), later)), Expired);
    assert_eq!(judged(&gate, valid()), Admitted);
    assert_eq!(verdict(&gate.admit(valid().as_bytes(), later)), Admitted);
    assert_eq!(verdict(&gate.admit(forged().as_bytes(), later)), BadSignature);
}

/// Faults that also decide otherwise on a token made to show another: one habit contains the other.
const CONTAINS: &[(Fault, &[Fault])] = &[
    (
        Fault::ContinuesAfterDecodeError,
        &[Fault::BypassWord, Fault::OpaqueClaimsSegment, Fault::AcceptsJsonSerialization, Fault::AnySignatureCounts],
    ),
    (Fault::IgnoresExtraSegments, &[Fault::DropsTrailingPeriod]),
    (Fault::DropsTrailingPeriod, &[Fault::IgnoresExtraSegments]),
    (
        Fault::SkipsForeignCharacters,
        &[
            Fault::AcceptsSignaturePadding,
            Fault::AcceptsSegmentPadding,
            Fault::SkipsWhitespace,
            Fault::CrashesOnNonAscii,
        ],
    ),
    (Fault::HeaderNotJsonDefaults, &[Fault::AcceptsUtf16]),
    (Fault::OpaquePayload, &[Fault::AcceptsUtf16]),
    (Fault::FirstDuplicateWins, &[Fault::LastAlgUnchecked]),
    (
        Fault::ConstantHeader,
        &[
            Fault::HeaderBySubstring,
            Fault::RefusesUnknownHeader,
            Fault::RequiresTyp,
            Fault::ExactTyp,
            Fault::CtyPicksParser,
            Fault::KidInAQuery,
            Fault::KidInAFilter,
            Fault::KidInAHeader,
        ],
    ),
    (
        Fault::RefusesUnknownHeader,
        &[Fault::CtyPicksParser, Fault::KidInAQuery, Fault::KidInAFilter, Fault::KidInAHeader],
    ),
    (
        Fault::IgnoresSignature,
        &[
            Fault::EmptySignatureSkipsCheck,
            Fault::ComparesSignaturePrefix,
            Fault::PayloadOutsideSignature,
            Fault::HeaderOutsideSignature,
            Fault::SignatureFromAnotherToken,
            Fault::CacheByHeaderAndPayload,
            Fault::HashBySignatureLength,
            Fault::ComparesShorterLength,
            Fault::ComparesWithStartsWith,
            Fault::ConstantSignaturePasses,
            Fault::EmptySecretAccepted,
            Fault::DefaultSecretActive,
            Fault::EncSkipsSignature,
            Fault::RetiredSecretAccepted,
            Fault::SecondCarrierUnverified,
            Fault::UnknownIssuerNeedsNoSignature,
            Fault::KidNamesAFile,
            Fault::KidInAQuery,
            Fault::TrustsEmbeddedSecret,
        ],
    ),
    (Fault::AcceptsAlgNone, &[Fault::UnknownKidNeedsNoSignature]),
    (Fault::PayloadOutsideSignature, &[Fault::SignatureFromAnotherToken]),
    (Fault::SignatureFromAnotherToken, &[Fault::PayloadOutsideSignature]),
    (Fault::ComparesShorterLength, &[Fault::ComparesWithStartsWith]),
    (Fault::IgnoresCrit, &[Fault::CritAllowsClaimNames]),
    (Fault::HeaderOverridesClaims, &[Fault::RoleFromHeader]),
    (
        Fault::IgnoresExp,
        &[
            Fault::ExpBySubstring,
            Fault::LastFoldedClaimWins,
            Fault::HeaderOverridesClaims,
            Fault::LeewayInMinutes,
            Fault::HiddenLeeway,
            Fault::ExpBoundary,
            Fault::CoercesExpString,
            Fault::WrongExpTypeIsAbsent,
            Fault::ExpUnsigned,
            Fault::FalsyExpSkipsCheck,
            Fault::SecondCarrierUnverified,
        ],
    ),
    (Fault::LeewayInMinutes, &[Fault::HiddenLeeway, Fault::ExpBoundary, Fault::AgeFromExp]),
    (Fault::HiddenLeeway, &[Fault::ExpBoundary]),
    (Fault::WrongExpTypeIsAbsent, &[Fault::CoercesExpString]),
    (Fault::Exp32Bit, &[Fault::CrashesOnOddNumbers]),
    (Fault::IgnoresNbf, &[Fault::NbfStringIsAbsent]),
    (Fault::RefusesUnknownClaim, &[Fault::FoldsClaimNames]),
    (
        Fault::ViewerAllowed,
        &[Fault::MergesRoleClaims, Fault::RoleFromRequest, Fault::RoleFromHeader, Fault::RoleCachedPerUser],
    ),
    (Fault::ReadOnlyAllowed, &[Fault::PollutesPrototype, Fault::DefaultRoleAdmin]),
    (Fault::DefaultRoleAdmin, &[Fault::PollutesPrototype]),
    (
        Fault::DenylistOfRoles,
        &[Fault::FalsyRoleSkipsCheck, Fault::FoldsRoleCase, Fault::TrimsRole, Fault::RoleBySubstring],
    ),
    (Fault::RoleBySubstring, &[Fault::TrimsRole]),
    (
        Fault::IgnoresAud,
        &[Fault::AnyAudArray, Fault::EmptyAudMatches, Fault::AudBySubstring, Fault::FoldsAudCase, Fault::AudOfAnyType],
    ),
    (Fault::IgnoresIss, &[Fault::NormalisesIss]),
    (Fault::UnknownIssuerNeedsNoSignature, &[Fault::IgnoresIss, Fault::NormalisesIss, Fault::IssAnyOfArray]),
];

/// Whatever token shows one fault, every other fault leaves the right decision on it as it was.
#[test]
fn no_fault_lets_in_or_keeps_out_for_another() {
    let rows = rows();
    for &fault in Fault::ALL {
        if matches!(fault, Fault::RefusesEveryone | Fault::RequiresKid | Fault::RequiresUndeclaredClaim) {
            continue;
        }
        let expected = CONTAINS.iter().find(|(outer, _)| *outer == fault);
        let mut found: Vec<Fault> = rows
            .iter()
            .filter(|row| row.fault != fault)
            .filter(|row| (row.verdict(Some(fault)) == Admitted) != (row.verdict(None) == Admitted))
            .map(|row| row.fault)
            .collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, expected.map_or(&[][..], |(_, inner)| inner), "{fault}");
    }
}
