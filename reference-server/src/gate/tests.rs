//! The gate as its callers see it: what it must admit and refuse, and that each fault changes one decision.
//!
//! Tokens are minted here, byte for byte, so that nothing the gate is made of is trusted to make its input.

use jsonwebtoken::{Algorithm, EncodingKey};
use proptest::prelude::*;

use super::*;

const NOW: f64 = 1_800_000_000.25;
const SECRET: &[u8] = b"correct horse battery staple, 32+";
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const CLAIMS: &str = r#"{"sub":"alice","role":"admin","exp":1800000300}"#;

// Minting.

fn b64(bytes: impl AsRef<[u8]>) -> String {
    jws::encode(bytes.as_ref())
}

fn mac_with(secret: &[u8], algorithm: Algorithm, signed: &str) -> String {
    jsonwebtoken::crypto::sign(
        signed.as_bytes(),
        &EncodingKey::from_secret(secret),
        algorithm,
    )
    .expect("HMAC signs anything")
}

fn mac(signed: &str) -> String {
    mac_with(SECRET, Algorithm::HS256, signed)
}

fn mac_bytes(signed: &str) -> Vec<u8> {
    jws::decode(mac(signed).as_bytes()).expect("our own base64url")
}

/// `signed` and its MAC under the right key.
fn sealed(signed: &str) -> String {
    format!("{signed}.{}", mac(signed))
}

/// A header and claims of these bytes, rightly signed.
fn mint(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    sealed(&signed_part(header, claims))
}

fn signed_part(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    format!("{}.{}", b64(header), b64(claims))
}

fn with_header(header: impl AsRef<[u8]>) -> String {
    mint(header, CLAIMS)
}

fn with_alg(alg: &str) -> String {
    with_header(format!(r#"{{"alg":{alg},"typ":"JWT"}}"#))
}

fn with_claims(claims: impl AsRef<[u8]>) -> String {
    mint(HEADER, claims)
}

/// Claims with this `exp`, written as it stands.
fn with_exp(exp: &str) -> String {
    with_claims(format!(r#"{{"sub":"alice","role":"admin","exp":{exp}}}"#))
}

fn with_nbf(nbf: &str) -> String {
    with_claims(format!(
        r#"{{"sub":"alice","role":"admin","exp":1800000300,"nbf":{nbf}}}"#
    ))
}

fn with_role(role: &str) -> String {
    with_claims(format!(
        r#"{{"sub":"alice","role":{role},"exp":1800000300}}"#
    ))
}

fn valid() -> String {
    mint(HEADER, CLAIMS)
}

fn valid_signed() -> String {
    signed_part(HEADER, CLAIMS)
}

fn forged() -> String {
    let signed = valid_signed();
    format!(
        "{signed}.{}",
        mac_with(b"mallory", Algorithm::HS256, &signed)
    )
}

/// The header and payload of [`valid`] under a signature of these bytes.
fn with_signature(signature: &[u8]) -> String {
    format!("{}.{}", valid_signed(), b64(signature))
}

fn utf16_le(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn utf16_be(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

// Judging.

fn policy() -> Policy {
    Policy {
        secret: SECRET.to_vec(),
        roles: Some(RolePolicy {
            claim: "role".to_owned(),
            allowed: ["admin", "developer", "dba"].map(str::to_owned).to_vec(),
            default: "read_only".to_owned(),
        }),
        ..Policy::default()
    }
}

fn right() -> Gate {
    Gate::new(policy(), None)
}

/// A decision, without its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Admitted,
    Missing,
    Malformed,
    BadSignature,
    Expired,
    BadClaims,
    RoleNotAllowed,
    Internal,
}
use Verdict::*;

fn verdict(decision: &Result<Bearer, Refusal>) -> Verdict {
    match decision {
        Ok(_) => Admitted,
        Err(Refusal::Missing) => Missing,
        Err(Refusal::Malformed(_)) => Malformed,
        Err(Refusal::BadSignature(_)) => BadSignature,
        Err(Refusal::Expired) => Expired,
        Err(Refusal::BadClaims(_)) => BadClaims,
        Err(Refusal::RoleNotAllowed(_)) => RoleNotAllowed,
        Err(Refusal::Internal(_)) => Internal,
    }
}

fn judged(gate: &Gate, token: impl AsRef<[u8]>) -> Verdict {
    verdict(&gate.admit(token.as_ref(), NOW))
}

// The right gate.

#[test]
fn who_is_admitted() {
    let gate = right();
    let long = "\u{65e5}".repeat(600);
    for token in [
        valid(),
        // Names, order, whitespace and unknown members are free (RFC 8259 §2, RFC 7515 §4).
        with_header(r#"{"typ":"JWT","alg":"HS256"}"#),
        with_header(r#"{"alg":"HS256"}"#),
        with_header("{\r\n \"alg\" :\t\"HS256\" }\r\n"),
        with_header(r#"{"\u0061lg":"HS256"}"#),
        with_header(r#"{"alg":"HS256","typ":"jwt","kid":"../x","jku":"http://x","foo":{"a":[1]}}"#),
        with_header(r#"{"alg":"HS256","typ":7,"cty":"text/xml"}"#),
        with_exp("1800000300.5"),
        with_exp("1.8000003e9"),
        with_exp("2147487248"),
        with_exp("253402300800"),
        with_exp("18446744073709551616"),
        with_exp("1e308"),
        with_exp("1800000001"),
        with_nbf("1800000000"),
        with_nbf("-1"),
        with_role(r#""\u0061dmin""#),
        with_role(r#""dba""#),
        with_claims(
            r#"{"sub":"alice","role":"admin","exp":1800000300,"EXP":1,"iat":"x","aud":7,"iss":[]}"#,
        ),
        with_claims(format!(
            r#"{{"sub":"alice","role":"admin","exp":1800000300,"name":"{long}"}}"#
        )),
    ] {
        assert_eq!(judged(&gate, &token), Admitted, "{token}");
    }
}

#[test]
fn what_is_known_of_the_bearer() {
    let Ok(bearer) = right().admit(valid().as_bytes(), NOW) else {
        panic!("a valid token is refused");
    };
    assert_eq!(bearer.identity, "alice");
    assert_eq!(bearer.role.as_deref(), Some("admin"));
    assert_eq!(bearer.expires_at, Some(1_800_000_300.0));
    assert_eq!(bearer.claims.get("sub"), Some(&Value::from("alice")));
}

#[test]
fn who_is_refused_and_as_what() {
    let gate = right();
    let v = valid();
    let short_mac = mac_bytes(&valid_signed())[..16].to_vec();
    for (token, expected) in [
        (String::new(), Missing),
        ("a".repeat(8193), Malformed),
        (format!("{v}="), Malformed),
        (format!("{v}\n"), Malformed),
        (format!(" {v}"), Malformed),
        (format!("{v}."), Malformed),
        (format!("{v}.e30"), Malformed),
        (format!("{v}AA"), Malformed),
        (format!("{v}A"), BadSignature),
        (v.to_uppercase(), Malformed),
        ("..".to_owned(), Malformed),
        (sealed(&format!(".{}", b64(CLAIMS))), Malformed),
        (sealed(&format!("{}.", b64(HEADER))), Malformed),
        (format!("{}.", valid_signed()), BadSignature),
        (with_header("null"), Malformed),
        (with_header(r#"["alg","HS256"]"#), Malformed),
        (with_header(r#"{"alg":"HS256","alg":"HS256"}"#), Malformed),
        (
            with_header(r#"{"alg":"HS256","x":{"a":1,"a":1}}"#),
            Malformed,
        ),
        (with_header("\u{feff}{\"alg\":\"HS256\"}"), Malformed),
        (
            with_header(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#),
            Malformed,
        ),
        (with_header(r#"{"alg":"HS256","crit":[]}"#), Malformed),
        (with_header(r#"{"alg":"HS256","b64":true}"#), Malformed),
        (with_header(r#"{"alg":"HS256","cty":"jWt"}"#), Malformed),
        (with_header(r#"{"typ":"JWT"}"#), BadSignature),
        (with_header(r#"{"Alg":"HS256"}"#), BadSignature),
        (with_alg(r#""hs256""#), BadSignature),
        (with_alg(r#""HS384""#), BadSignature),
        (with_alg("256"), BadSignature),
        (with_alg("null"), BadSignature),
        (with_signature(&short_mac), BadSignature),
        (with_claims("[]"), Malformed),
        (
            with_claims(r#"{"sub":"alice","sub":"alice","exp":1800000300}"#),
            Malformed,
        ),
        (with_exp("1e400"), Malformed),
        (with_exp(&"9".repeat(400)), Malformed),
        (with_exp("1800000000"), Expired),
        (with_exp("0"), Expired),
        (with_exp("-0.0"), Expired),
        (with_exp("-1e308"), Expired),
        (with_exp("null"), BadClaims),
        (with_exp("true"), BadClaims),
        (with_exp("[1800000300]"), BadClaims),
        (with_exp(r#""1800000300""#), BadClaims),
        (with_claims(r#"{"sub":"alice","role":"admin"}"#), BadClaims),
        (with_nbf("1800000000.5"), BadClaims),
        (with_nbf("null"), BadClaims),
        (
            with_claims(r#"{"role":"admin","exp":1800000300}"#),
            BadClaims,
        ),
        (
            with_claims(r#"{"sub":"","role":"admin","exp":1800000300}"#),
            BadClaims,
        ),
        (
            with_claims(r#"{"sub":7,"role":"admin","exp":1800000300}"#),
            BadClaims,
        ),
        (
            with_claims(r#"{"sub":"alice","exp":1800000300}"#),
            RoleNotAllowed,
        ),
        (with_role(r#""viewer""#), RoleNotAllowed),
        (with_role(r#"["admin"]"#), RoleNotAllowed),
        (with_role("null"), RoleNotAllowed),
    ] {
        assert_eq!(judged(&gate, &token), expected, "{token}");
    }
}

#[test]
fn a_refusal_names_the_role_but_not_at_any_length() {
    let gate = right();
    let long = "\u{e9}".repeat(5000);
    let gate_says = |role: &str| gate.admit(with_role(role).as_bytes(), NOW).err();
    assert_eq!(
        gate_says(r#""viewer""#),
        Some(Refusal::RoleNotAllowed("viewer".to_owned()))
    );
    assert_eq!(
        gate_says("[1]"),
        Some(Refusal::RoleNotAllowed("[1]".to_owned()))
    );
    let wide = Gate::new(
        Policy {
            max_token_bytes: 1 << 20,
            ..policy()
        },
        None,
    );
    let Err(Refusal::RoleNotAllowed(text)) =
        wide.admit(with_role(&format!(r#"["{long}"]"#)).as_bytes(), NOW)
    else {
        panic!("an array is no role");
    };
    assert_eq!(text.chars().count(), 64);
}

#[test]
fn the_policy_is_held_to() {
    let no_role = Policy {
        roles: None,
        ..policy()
    };
    let gate = |policy: Policy| Gate::new(policy, None);

    let lasting = gate(Policy {
        require_exp: false,
        ..no_role.clone()
    });
    assert_eq!(judged(&lasting, with_claims(r#"{"sub":"a"}"#)), Admitted);
    assert_eq!(
        judged(&lasting, with_claims(r#"{"sub":"a","exp":1}"#)),
        Expired
    );

    let late = gate(Policy {
        leeway_s: 30,
        ..no_role.clone()
    });
    assert_eq!(judged(&late, with_exp("1799999971")), Admitted);
    assert_eq!(judged(&late, with_exp("1799999970")), Expired);
    assert_eq!(judged(&late, with_nbf("1800000030")), Admitted);
    assert_eq!(judged(&late, with_nbf("1800000031")), BadClaims);
    let endless = gate(Policy {
        leeway_s: u64::MAX,
        ..no_role.clone()
    });
    assert_eq!(judged(&endless, with_exp("1799990000")), Expired);

    let named = gate(Policy {
        identity_claims: vec!["email".to_owned(), "sub".to_owned()],
        identity_fallback: Some("unknown".to_owned()),
        require_exp: false,
        ..no_role.clone()
    });
    let identity = |claims: &str| {
        let decision = named.admit(with_claims(claims).as_bytes(), NOW);
        decision.ok().map(|bearer| bearer.identity)
    };
    assert_eq!(identity(r#"{"sub":"s","email":"e"}"#).as_deref(), Some("e"));
    assert_eq!(identity(r#"{"sub":"s"}"#).as_deref(), Some("s"));
    assert_eq!(identity("{}").as_deref(), Some("unknown"));
    assert_eq!(identity(r#"{"sub":"s","email":""}"#), None);
    assert_eq!(identity(r#"{"sub":"s","email":null}"#), None);

    let strict = gate(Policy {
        audience: Some("ours".to_owned()),
        issuer: Some("us".to_owned()),
        typ: Some("at+jwt".to_owned()),
        require_exp: false,
        ..no_role.clone()
    });
    let strictly = |typ: &str, aud: &str, iss: &str| {
        judged(
            &strict,
            mint(
                format!(r#"{{"alg":"HS256","typ":{typ}}}"#),
                format!(r#"{{"sub":"a","aud":{aud},"iss":{iss}}}"#),
            ),
        )
    };
    for typ in [
        r#""at+jwt""#,
        r#""AT+JWT""#,
        r#""application/at+jwt""#,
        r#""Application/at+jwt""#,
    ] {
        assert_eq!(strictly(typ, r#""ours""#, r#""us""#), Admitted, "{typ}");
    }
    for typ in [
        r#""JWT""#,
        r#""at+jwt;x""#,
        r#""application""#,
        r#""x/at+jwt""#,
        "null",
    ] {
        assert_eq!(strictly(typ, r#""ours""#, r#""us""#), Malformed, "{typ}");
    }
    assert_eq!(
        strictly(r#""at+jwt""#, r#"["x","ours"]"#, r#""us""#),
        Admitted
    );
    for aud in [
        "[]",
        r#""""#,
        r#"["x"]"#,
        r#"["ours",1]"#,
        r#"[["ours"]]"#,
        r#"{"ours":1}"#,
        r#""OURS""#,
        "1",
    ] {
        assert_eq!(strictly(r#""at+jwt""#, aud, r#""us""#), BadClaims, "{aud}");
    }
    for iss in [r#""them""#, r#"["us"]"#, r#""us/""#, "null"] {
        assert_eq!(
            strictly(r#""at+jwt""#, r#""ours""#, iss),
            BadClaims,
            "{iss}"
        );
    }

    for (algorithm, name) in [(Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512")] {
        let gate = gate(Policy {
            algorithm,
            ..policy()
        });
        let signed = signed_part(format!(r#"{{"alg":"{name}"}}"#), CLAIMS);
        let token = format!("{signed}.{}", mac_with(SECRET, algorithm, &signed));
        assert_eq!(judged(&gate, token), Admitted);
        assert_eq!(judged(&gate, valid()), BadSignature);
    }
}

#[test]
fn without_a_key_nobody_is_admitted() {
    let signed = valid_signed();
    let empty = format!("{signed}.{}", mac_with(b"", Algorithm::HS256, &signed));
    let gate = Gate::new(
        Policy {
            secret: Vec::new(),
            ..policy()
        },
        None,
    );
    assert_eq!(judged(&gate, empty), BadSignature);

    let rsa = Gate::new(
        Policy {
            algorithm: Algorithm::RS256,
            ..policy()
        },
        None,
    );
    assert_eq!(judged(&rsa, with_alg(r#""RS256""#)), BadSignature);
    for time in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(verdict(&right().admit(valid().as_bytes(), time)), Internal);
    }
}

#[test]
fn the_secret_is_not_in_the_log() {
    let shown = format!("{:?} {:?}", policy(), right());
    assert!(!shown.contains("correct horse") && !shown.contains(&format!("{SECRET:?}")));
}

#[test]
fn no_byte_of_a_token_can_be_changed() {
    let gate = right();
    let token = valid().into_bytes();
    for at in 0..token.len() {
        for byte in 0..=u8::MAX {
            if byte == token[at] {
                continue;
            }
            let mut changed = token.clone();
            changed[at] = byte;
            assert_ne!(
                judged(&gate, &changed),
                Admitted,
                "byte {at} set to {byte:#x}"
            );
        }
        let mut shorter = token.clone();
        shorter.remove(at);
        assert_ne!(judged(&gate, &shorter), Admitted, "byte {at} removed");
    }
}

#[test]
fn depth_does_not_overflow_the_stack() {
    let policy = Policy {
        max_token_bytes: 1 << 20,
        ..policy()
    };
    let tokens = ["[", r#"{"a":"#].map(|open| {
        let deep = format!(r#"{{"alg":{}"#, open.repeat(100_000));
        [with_header(&deep), with_claims(&deep)]
    });
    // What reads JSON in another way than the right gate.
    let readers = [
        Fault::FirstDuplicateWins,
        Fault::StopsAtFirstJsonValue,
        Fault::LastAlgUnchecked,
        Fault::FoldsClaimNames,
        Fault::RelaxedJson,
    ];
    for fault in std::iter::once(None).chain(readers.map(Some)) {
        let gate = Gate::new(policy.clone(), fault);
        for token in tokens.as_flattened() {
            assert_eq!(judged(&gate, token), Malformed, "{fault:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_any_gate_panic(
        token in prop::collection::vec(any::<u8>(), 0..200),
        fault in prop::option::of(prop::sample::select(Fault::ALL)),
        now in any::<f64>(),
    ) {
        let _ = Gate::new(policy(), fault).admit(&token, now);
    }

    #[test]
    fn no_signed_bytes_make_any_gate_panic(
        header in prop::collection::vec(any::<u8>(), 0..40),
        claims in prop::collection::vec(any::<u8>(), 0..40),
        fault in prop::option::of(prop::sample::select(Fault::ALL)),
    ) {
        let gate = Gate::new(policy(), fault);
        let _ = gate.admit(mint(&header, CLAIMS).as_bytes(), NOW);
        let _ = gate.admit(mint(HEADER, &claims).as_bytes(), NOW);
    }

    #[test]
    fn no_json_makes_any_gate_panic(
        claims in r#"[{}\[\]":,0-9.eE+\-a-z\\/* ]{0,60}"#,
        value in r#"("[a-zA-Z0-9é ]{0,9}"|-?[0-9]{1,30}(\.[0-9]{1,9})?(e[0-9]{1,4})?|null|true|\[\]|\{\})"#,
        name in prop::sample::select(vec!["exp", "nbf", "sub", "role", "alg", "crit", "cty"]),
        fault in prop::option::of(prop::sample::select(Fault::ALL)),
    ) {
        let gate = Gate::new(policy(), fault);
        let _ = gate.admit(with_claims(&claims).as_bytes(), NOW);
        let claims = format!(r#"{{"sub":"alice","role":"admin","exp":1800000300,"{name}":{value}}}"#);
        let _ = gate.admit(with_claims(claims).as_bytes(), NOW);
        let header = format!(r#"{{"alg":"HS256","{name}":{value}}}"#);
        let _ = gate.admit(with_header(header).as_bytes(), NOW);
    }

    #[test]
    fn no_signature_but_the_right_one_is_believed(signature in prop::collection::vec(any::<u8>(), 0..70)) {
        prop_assert_eq!(judged(&right(), with_signature(&signature)), BadSignature);
    }
}

// The faults.

/// Faults of the families judged here that are not the gate's, and why.
const NOT_THE_GATES: &[(Fault, &str)] = &[
    (Fault::ServesAnonymous, "there is no token to judge"),
    (
        Fault::EmptyTokenIsGuest,
        "the server knows a carrier that is there but empty",
    ),
    (Fault::SecondConnectionKillsFirst, "of connections"),
    (Fault::FramesBeforeVerification, "of frames"),
    (Fault::TrustsIdentityHeaders, "there is no token to judge"),
    (Fault::TrustsForwardedFor, "there is no token to judge"),
    (Fault::DebugSwitch, "there is no token to judge"),
    (Fault::LongRoleBreaksClose, "of how the refusal is told"),
    (
        Fault::ReasonCutInsideCharacter,
        "of how the refusal is told",
    ),
];

/// Whether a fault of this place in the catalogue is judged here.
fn is_judged_here(fault: Fault) -> bool {
    let range = |first: Fault, last: Fault| first <= fault && fault <= last;
    range(Fault::RefusesEveryone, Fault::SecondCarrierUnverified)
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
}

impl Row {
    fn after(mut self, before: impl IntoIterator<Item = String>) -> Self {
        self.before.extend(before);
        self
    }

    fn hinted(mut self, hints: RequestHints) -> Self {
        self.hints = hints;
        self
    }

    fn verdict(&self, fault: Option<Fault>) -> Verdict {
        let gate = Gate::new(policy(), fault);
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
        lets_in(
            Fault::ContinuesAfterDecodeError,
            Malformed,
            "invalid-token-here",
        ),
        lets_in(
            Fault::ContinuesAfterDecodeError,
            Malformed,
            "invalid_token_123",
        ),
        lets_in(Fault::BypassWord, Malformed, "null"),
        lets_in(Fault::BypassWord, Malformed, "[object Object]"),
        keeps_out(Fault::OneShotToken, BadClaims, valid()).after([valid()]),
        keeps_out(Fault::FailuresLockTheSubject, BadClaims, valid()).after(std::iter::repeat_n(
            format!(
                "{}.AAAA",
                signed_part(HEADER, r#"{"sub":"alice","exp":1800000301}"#)
            ),
            10,
        )),
        lets_in(
            Fault::CaseFoldedTokenCache,
            Malformed,
            valid().to_uppercase(),
        )
        .after([valid()]),
        row(
            Fault::JudgesClaimsFirst,
            format!(
                "{}.AAAA",
                signed_part(HEADER, r#"{"sub":"alice","role":"admin","exp":1}"#)
            ),
            BadSignature,
            Expired,
        ),
        row(
            Fault::JudgesClaimsFirst,
            format!(
                "{}.AAAA",
                signed_part(HEADER, r#"{"sub":"a","role":"viewer","exp":1800000300}"#)
            ),
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
    let standard = format!(
        "{odd_signed}.{}",
        odd_mac.replace('-', "+").replace('_', "/")
    );
    let standard_payload = b64(r#"{"sub":"~~~???>>>","role":"dba","exp":1800000300}"#)
        .replace('-', "+")
        .replace('_', "/");
    assert!(standard_payload.contains(['+', '/']));
    let (p1, p2) = p.split_at(8);
    let json = format!(r#"{{"payload":"{p}","protected":"{h}","signature":"{s}"}}"#);
    vec![
        lets_in(Fault::MissingSignatureSegment, Malformed, &signed),
        lets_in(
            Fault::EmptySignatureSkipsCheck,
            BadSignature,
            format!("{signed}."),
        ),
        lets_in(Fault::OpaqueClaimsSegment, Malformed, &p),
        lets_in(Fault::IgnoresExtraSegments, Malformed, format!("{v}.foo")),
        lets_in(Fault::IgnoresExtraSegments, Malformed, format!("{v}.")),
        lets_in(Fault::DropsTrailingPeriod, Malformed, format!("{v}.")),
        lets_in(
            Fault::GluesMiddleSegments,
            Malformed,
            sealed(&format!("{h}.{p1}.{p2}")),
        ),
        lets_in(Fault::StripsLeadingPeriod, Malformed, format!(".{v}")),
        lets_in(
            Fault::MissingHeaderDefaults,
            Malformed,
            sealed(&format!(".{p}")),
        ),
        lets_in(
            Fault::EmptyPayloadIsAnonymous,
            Malformed,
            sealed(&format!("{h}.")),
        ),
        lets_in(Fault::AcceptsSignaturePadding, Malformed, format!("{v}=")),
        lets_in(
            Fault::AcceptsSegmentPadding,
            Malformed,
            sealed(&format!("{h}=.{p}==")),
        ),
        lets_in(Fault::AcceptsStandardBase64, Malformed, standard),
        lets_in(
            Fault::AcceptsStandardBase64,
            Malformed,
            sealed(&format!("{h}.{standard_payload}")),
        ),
        lets_in(
            Fault::SkipsWhitespace,
            Malformed,
            sealed(&format!("{h}. {p}")),
        ),
        lets_in(
            Fault::SkipsWhitespace,
            Malformed,
            sealed(&format!("{h}\t.{p}")),
        ),
        lets_in(
            Fault::SkipsWhitespace,
            Malformed,
            format!("{signed}.{}\r\n{}", &s[..20], &s[20..]),
        ),
        lets_in(Fault::SkipsForeignCharacters, Malformed, format!("{v}!!")),
        lets_in(
            Fault::SkipsForeignCharacters,
            Malformed,
            sealed(&format!("{h}##.{p}")),
        ),
        lets_in(Fault::DropsDanglingCharacter, Malformed, format!("{v}AA")),
        lets_in(Fault::TruncatesAtNul, Malformed, format!("{v}\0junk")),
        row(
            Fault::CrashesOnNonAscii,
            format!("{v}\u{1f600}"),
            Malformed,
            Internal,
        ),
        lets_in(Fault::StripsQuotes, Malformed, format!("\"{v}\"")),
        lets_in(Fault::AcceptsJsonSerialization, Malformed, json),
        lets_in(
            Fault::HeaderNotJsonDefaults,
            Malformed,
            with_header("HS256"),
        ),
        lets_in(
            Fault::HeaderNotJsonDefaults,
            Malformed,
            with_header(r#"["alg","HS256"]"#),
        ),
        lets_in(Fault::HeaderNotJsonDefaults, Malformed, with_header("null")),
        lets_in(Fault::OpaquePayload, Malformed, with_claims("hello")),
        lets_in(Fault::OpaquePayload, Malformed, with_claims("[1]")),
        lets_in(Fault::OpaquePayload, Malformed, with_claims("true")),
        lets_in(
            Fault::StopsAtFirstJsonValue,
            Malformed,
            with_claims(format!("{CLAIMS}X")),
        ),
        lets_in(
            Fault::StopsAtFirstJsonValue,
            Malformed,
            with_header(r#"{"alg":"HS256"}{"alg":"none"}"#),
        ),
        lets_in(
            Fault::LossyUtf8,
            Malformed,
            with_claims(b"{\"sub\":\"\xff\",\"role\":\"admin\",\"exp\":1800000300}"),
        ),
        lets_in(
            Fault::LossyUtf8,
            Malformed,
            with_header(b"{\"alg\":\"HS256\",\"kid\":\"\xff\"}"),
        ),
        lets_in(
            Fault::AcceptsUtf16,
            Malformed,
            with_claims(utf16_le(CLAIMS)),
        ),
        lets_in(
            Fault::AcceptsUtf16,
            Malformed,
            with_claims(utf16_be(CLAIMS)),
        ),
        lets_in(
            Fault::AcceptsUtf16,
            Malformed,
            with_claims(utf16_le(&format!("\u{feff}{CLAIMS}"))),
        ),
        lets_in(
            Fault::AcceptsUtf16,
            Malformed,
            with_header(utf16_be(&format!("\u{feff}{HEADER}"))),
        ),
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
            format!(
                "{}.",
                signed_part(r#"{"alg":"none","alg":"HS256"}"#, CLAIMS)
            ),
        ),
        lets_in(
            Fault::LastAlgUnchecked,
            Malformed,
            with_header(r#"{"alg":"HS256","alg":"none"}"#),
        ),
        keeps_out(
            Fault::HeaderBySubstring,
            Malformed,
            with_header(r#"{"\u0061lg":"HS256","typ":"JWT"}"#),
        ),
        lets_in(
            Fault::ExpBySubstring,
            Expired,
            with_claims(r#"{"sub":"a","role":"admin","\u0065xp":1}"#),
        ),
        keeps_out(
            Fault::FoldsClaimNames,
            Expired,
            with_claims(r#"{"sub":"a","role":"admin","EXP":1,"Exp":1,"exp":1800000300}"#),
        ),
        keeps_out(
            Fault::ConstantHeader,
            Malformed,
            with_header(r#"{ "typ":"JWT","alg":"HS256"}"#),
        ),
        lets_in(
            Fault::RelaxedJson,
            Malformed,
            with_claims("{\"sub\":\"a//b\",/* c */\"role\":\"admin\", // d\n\"exp\":1800000300,}"),
        ),
        row(
            Fault::CrashesOnOddNumbers,
            with_exp("NaN"),
            Malformed,
            Internal,
        ),
        row(
            Fault::CrashesOnOddNumbers,
            with_exp("-Infinity"),
            Malformed,
            Internal,
        ),
        row(
            Fault::CrashesOnOddNumbers,
            with_exp("1e400"),
            Malformed,
            Internal,
        ),
        row(
            Fault::CrashesOnOddNumbers,
            with_exp(&"9".repeat(400)),
            Malformed,
            Internal,
        ),
        keeps_out(
            Fault::CrashesOnOddNumbers,
            Internal,
            with_exp("253402300800"),
        ),
        keeps_out(
            Fault::AsciiClaimsOnly,
            Malformed,
            with_claims(
                "{\"sub\":\"a\",\"role\":\"admin\",\"exp\":1800000300,\"name\":\"\u{1f600}\"}",
            ),
        ),
        keeps_out(
            Fault::ComparesRoleUnescaped,
            RoleNotAllowed,
            with_role(r#""\u0061dmin""#),
        ),
    ]
}

fn sig_rows() -> Vec<Row> {
    let signed = valid_signed();
    let right_mac = mac_bytes(&signed);
    let mut other_tail = right_mac.clone();
    other_tail[31] ^= 1;
    let s = mac(&signed);
    let bob = signed_part(HEADER, r#"{"sub":"bob","role":"admin","exp":1800000300}"#);
    let unsigned = |alg: &str| {
        format!(
            "{}.",
            signed_part(format!(r#"{{"alg":{alg},"typ":"JWT"}}"#), CLAIMS)
        )
    };
    let under = |secret: &[u8]| format!("{signed}.{}", mac_with(secret, Algorithm::HS256, &signed));
    let hs512 = |header: &str| {
        let signed = signed_part(header, CLAIMS);
        format!("{signed}.{}", mac_with(SECRET, Algorithm::HS512, &signed))
    };
    let hs384 = signed_part(r#"{"alg":"HS384"}"#, CLAIMS);
    let hs384 = format!("{hs384}.{}", mac_with(SECRET, Algorithm::HS384, &hs384));
    let raw_signed = format!(
        "{}.{CLAIMS}",
        b64(r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#)
    );
    let jwe = format!(
        "{}..{}.{}.{}",
        b64(r#"{"alg":"dir","enc":"A256GCM"}"#),
        b64([7; 12]),
        b64("ciphertext"),
        b64([9; 16])
    );
    let inner = format!("{}.", signed_part(r#"{"alg":"none"}"#, CLAIMS));
    let expired = r#"{"sub":"alice","role":"admin","exp":1}"#;
    vec![
        lets_in(Fault::IgnoresSignature, BadSignature, forged()),
        lets_in(
            Fault::ComparesSignaturePrefix,
            BadSignature,
            with_signature(&other_tail),
        ),
        lets_in(
            Fault::PayloadOutsideSignature,
            BadSignature,
            format!("{bob}.{s}"),
        )
        .after([valid()]),
        lets_in(
            Fault::HeaderOutsideSignature,
            BadSignature,
            format!(
                "{}.{}.{s}",
                b64(r#"{"alg":"HS256","typ":"JWT","x":1}"#),
                b64(CLAIMS)
            ),
        ),
        lets_in(
            Fault::SignatureFromAnotherToken,
            BadSignature,
            format!("{bob}.{s}"),
        )
        .after([valid()]),
        lets_in(Fault::CacheByHeaderAndPayload, BadSignature, forged()).after([valid()]),
        keeps_out(Fault::NegativeCacheByPayload, BadSignature, valid()).after([forged()]),
        lets_in(Fault::AcceptsAlgNone, BadSignature, unsigned(r#""none""#)),
        lets_in(Fault::AcceptsAlgNone, BadSignature, with_alg(r#""none""#)),
        lets_in(
            Fault::AcceptsAlgNone,
            Malformed,
            signed_part(r#"{"alg":"none"}"#, CLAIMS),
        ),
        lets_in(
            Fault::AcceptsAlgNoneAnyCase,
            BadSignature,
            unsigned(r#""nOnE""#),
        ),
        lets_in(
            Fault::AcceptsAlgNoneAnyCase,
            BadSignature,
            unsigned(r#""none ""#),
        ),
        lets_in(
            Fault::AcceptsAlgNoneAnyCase,
            BadSignature,
            unsigned(r#""none\u0000""#),
        ),
        lets_in(
            Fault::MissingAlgDefaults,
            BadSignature,
            with_header(r#"{"typ":"JWT"}"#),
        ),
        lets_in(Fault::FalsyAlgSkipsCheck, BadSignature, unsigned(r#""""#)),
        lets_in(Fault::FalsyAlgSkipsCheck, BadSignature, unsigned("null")),
        lets_in(Fault::AlgOfAnyType, BadSignature, with_alg("256")),
        lets_in(Fault::AlgOfAnyType, BadSignature, with_alg("true")),
        lets_in(Fault::AlgOfAnyType, BadSignature, with_alg(r#"["HS256"]"#)),
        lets_in(
            Fault::AlgOfAnyType,
            BadSignature,
            with_alg(r#"{"a":"HS256"}"#),
        ),
        lets_in(
            Fault::UnknownAlgFallsThrough,
            BadSignature,
            with_alg(r#""HS999""#),
        ),
        lets_in(
            Fault::UnknownAlgFallsThrough,
            BadSignature,
            with_alg(r#""A128GCM""#),
        ),
        lets_in(Fault::FoldsAlgCase, BadSignature, with_alg(r#""hs256""#)),
        lets_in(Fault::TrimsAlg, BadSignature, with_alg(r#"" HS256 ""#)),
        lets_in(Fault::AllowsHmacFamily, BadSignature, hs384),
        lets_in(
            Fault::AllowsHmacFamily,
            BadSignature,
            hs512(r#"{"alg":"HS512"}"#),
        ),
        lets_in(Fault::HashBySignatureLength, BadSignature, hs512(HEADER)),
        lets_in(
            Fault::ComparesShorterLength,
            BadSignature,
            with_signature(&right_mac[..16]),
        ),
        lets_in(
            Fault::ComparesShorterLength,
            BadSignature,
            with_signature(&right_mac[..1]),
        ),
        lets_in(
            Fault::ComparesWithStartsWith,
            BadSignature,
            with_signature(&[&right_mac[..], &[0]].concat()),
        ),
        lets_in(
            Fault::ConstantSignaturePasses,
            BadSignature,
            with_signature(&[0; 32]),
        ),
        lets_in(
            Fault::ConstantSignaturePasses,
            BadSignature,
            with_signature(&[0xff; 32]),
        ),
        lets_in(Fault::EmptySecretAccepted, BadSignature, under(b"")),
        lets_in(
            Fault::DefaultSecretActive,
            BadSignature,
            under(b"dev-secret-key"),
        ),
        lets_in(
            Fault::DefaultSecretActive,
            BadSignature,
            under(b"your-256-bit-secret"),
        ),
        lets_in(
            Fault::AsymmetricAlgUnchecked,
            BadSignature,
            with_alg(r#""RS256""#),
        ),
        lets_in(
            Fault::AsymmetricAlgUnchecked,
            BadSignature,
            with_alg(r#""EdDSA""#),
        ),
        lets_in(
            Fault::IgnoresCrit,
            Malformed,
            with_header(r#"{"alg":"HS256","crit":["gatecrash"],"gatecrash":1}"#),
        ),
        lets_in(
            Fault::CritAllowsClaimNames,
            Malformed,
            with_header(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#),
        ),
        lets_in(Fault::HonoursB64False, Malformed, sealed(&raw_signed)),
        lets_in(Fault::DecryptsJwe, Malformed, jwe),
        lets_in(
            Fault::TrustsNestedToken,
            Malformed,
            mint(r#"{"alg":"HS256","cty":"JWT"}"#, inner),
        ),
        keeps_out(
            Fault::RefusesUnknownHeader,
            Malformed,
            with_header(r#"{"alg":"HS256","typ":"JWT","x-trace":"1"}"#),
        ),
        lets_in(
            Fault::HeaderOverridesClaims,
            Expired,
            mint(
                r#"{"alg":"HS256","exp":1800000300,"role":"admin"}"#,
                expired,
            ),
        ),
    ]
}

fn clm_rows() -> Vec<Row> {
    vec![
        lets_in(Fault::IgnoresExp, Expired, with_exp("1799996400")),
        lets_in(Fault::LeewayInMinutes, Expired, with_exp("1799999400")),
        row(
            Fault::LeewayInMinutes,
            with_exp("1799996400"),
            Expired,
            Expired,
        ),
        lets_in(Fault::HiddenLeeway, Expired, with_exp("1799999998")),
        row(
            Fault::HiddenLeeway,
            with_exp("1799999940"),
            Expired,
            Expired,
        ),
        lets_in(Fault::ExpBoundary, Expired, with_exp("1800000000")),
        row(Fault::ExpBoundary, with_exp("1799999999"), Expired, Expired),
        lets_in(
            Fault::AcceptsMissingExp,
            BadClaims,
            with_claims(r#"{"sub":"a","role":"admin"}"#),
        ),
        lets_in(
            Fault::CoercesExpString,
            BadClaims,
            with_exp(r#""1800000300""#),
        ),
        row(
            Fault::CoercesExpString,
            with_exp(r#""1""#),
            BadClaims,
            Expired,
        ),
        row(
            Fault::CoercesExpString,
            with_exp(r#""never""#),
            BadClaims,
            BadClaims,
        ),
        lets_in(Fault::WrongExpTypeIsAbsent, BadClaims, with_exp(r#""1""#)),
        lets_in(
            Fault::WrongExpTypeIsAbsent,
            BadClaims,
            with_exp(r#""never""#),
        ),
        lets_in(Fault::WrongExpTypeIsAbsent, BadClaims, with_exp("null")),
        lets_in(
            Fault::WrongExpTypeIsAbsent,
            BadClaims,
            with_exp("[1800000300]"),
        ),
        lets_in(Fault::ExpUnsigned, Expired, with_exp("-1")),
        lets_in(Fault::FalsyExpSkipsCheck, Expired, with_exp("0")),
        lets_in(Fault::FalsyExpSkipsCheck, Expired, with_exp("0.0")),
        keeps_out(
            Fault::RefusesFractionalExp,
            BadClaims,
            with_exp("1800000300.5"),
        ),
        keeps_out(Fault::Exp32Bit, Expired, with_exp("2147487248")),
        keeps_out(Fault::Exp32Bit, Expired, with_exp("4294970896")),
        lets_in(Fault::IgnoresNbf, BadClaims, with_nbf("1800003600")),
        keeps_out(Fault::RefusesNbfNow, BadClaims, with_nbf("1800000000")),
        lets_in(
            Fault::NbfStringIsAbsent,
            BadClaims,
            with_nbf(r#""1800003600""#),
        ),
        lets_in(
            Fault::ServesWithoutIdentity,
            BadClaims,
            with_claims(r#"{"role":"admin","exp":1800000300}"#),
        ),
        lets_in(
            Fault::ServesEmptyIdentity,
            BadClaims,
            with_claims(r#"{"sub":"","role":"admin","exp":1800000300}"#),
        ),
        keeps_out(
            Fault::RefusesUnknownClaim,
            BadClaims,
            with_claims(r#"{"sub":"a","role":"admin","exp":1800000300,"x":{"y":[]}}"#),
        ),
        keeps_out(
            Fault::RequiresTyp,
            Malformed,
            with_header(r#"{"alg":"HS256"}"#),
        ),
        keeps_out(
            Fault::ExactTyp,
            Malformed,
            with_header(r#"{"alg":"HS256","typ":"jwt"}"#),
        ),
        lets_in(Fault::SecondCarrierUnverified, BadSignature, forged()).hinted(RequestHints {
            second_carrier: true,
            ..RequestHints::default()
        }),
        lets_in(Fault::SecondCarrierUnverified, Expired, with_exp("1")).hinted(RequestHints {
            second_carrier: true,
            ..RequestHints::default()
        }),
        row(
            Fault::SecondCarrierUnverified,
            forged(),
            BadSignature,
            BadSignature,
        ),
    ]
}

fn role_rows() -> Vec<Row> {
    let with = |more: &str| {
        with_claims(format!(
            r#"{{"sub":"alice","role":"viewer","exp":1800000300,{more}}}"#
        ))
    };
    let lets = |fault, role: &str| lets_in(fault, RoleNotAllowed, with_role(role));
    vec![
        keeps_out(
            Fault::OnlyAdminAllowed,
            RoleNotAllowed,
            with_role(r#""dba""#),
        ),
        lets(Fault::ViewerAllowed, r#""viewer""#),
        lets(Fault::ReadOnlyAllowed, r#""read_only""#),
        lets_in(
            Fault::DefaultRoleAdmin,
            RoleNotAllowed,
            with_claims(r#"{"sub":"a","exp":1800000300}"#),
        ),
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
        lets_in(
            Fault::MergesRoleClaims,
            RoleNotAllowed,
            with(r#""roles":["admin"]"#),
        ),
        lets_in(
            Fault::MergesRoleClaims,
            RoleNotAllowed,
            with(r#""is_admin":true"#),
        ),
        lets_in(
            Fault::MergesRoleClaims,
            RoleNotAllowed,
            with(r#""scope":"read admin""#),
        ),
        lets_in(
            Fault::MergesRoleClaims,
            RoleNotAllowed,
            with(r#""permissions":["*"]"#),
        ),
        lets(Fault::RoleFromRequest, r#""viewer""#).hinted(RequestHints {
            role: Some("admin".to_owned()),
            ..RequestHints::default()
        }),
        lets_in(
            Fault::RoleFromHeader,
            RoleNotAllowed,
            mint(
                r#"{"alg":"HS256","role":"admin"}"#,
                r#"{"sub":"alice","role":"viewer","exp":1800000300}"#,
            ),
        ),
        lets(Fault::RoleCachedPerUser, r#""viewer""#).after([valid()]),
    ]
}

fn rows() -> Vec<Row> {
    [auth_rows(), enc_rows(), sig_rows(), clm_rows(), role_rows()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn every_fault_of_the_gate_has_a_row() {
    let rows = rows();
    for &fault in Fault::ALL {
        let excused = NOT_THE_GATES.iter().any(|(other, _)| *other == fault);
        let judged = rows
            .iter()
            .any(|row| row.fault == fault && row.right != row.wrong);
        assert_eq!(judged, is_judged_here(fault) && !excused, "{fault}");
    }
}

#[test]
fn each_fault_changes_the_decision_it_is_named_for() {
    for row in rows() {
        let token = String::from_utf8_lossy(&row.token);
        assert_eq!(row.verdict(None), row.right, "the right gate on {token}");
        assert_eq!(
            row.verdict(Some(row.fault)),
            row.wrong,
            "{} on {token}",
            row.fault
        );
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
        (
            format!("{}.{}", signed_part(HEADER, CLAIMS), b64([1; 20])),
            BadSignature,
        ),
    ];
    for &fault in Fault::ALL {
        let gate = Gate::new(policy(), Some(fault));
        if fault == Fault::RefusesEveryone {
            assert_eq!(judged(&gate, valid()), Malformed);
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

/// Faults that also decide otherwise on a token made to show another: one habit contains the other.
const CONTAINS: &[(Fault, &[Fault])] = &[
    (
        Fault::ContinuesAfterDecodeError,
        &[
            Fault::BypassWord,
            Fault::OpaqueClaimsSegment,
            Fault::AcceptsJsonSerialization,
        ],
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
        ],
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
            Fault::SecondCarrierUnverified,
        ],
    ),
    (
        Fault::PayloadOutsideSignature,
        &[Fault::SignatureFromAnotherToken],
    ),
    (
        Fault::SignatureFromAnotherToken,
        &[Fault::PayloadOutsideSignature],
    ),
    (
        Fault::ComparesShorterLength,
        &[Fault::ComparesWithStartsWith],
    ),
    (Fault::IgnoresCrit, &[Fault::CritAllowsClaimNames]),
    (Fault::HeaderOverridesClaims, &[Fault::RoleFromHeader]),
    (
        Fault::IgnoresExp,
        &[
            Fault::ExpBySubstring,
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
    (
        Fault::LeewayInMinutes,
        &[Fault::HiddenLeeway, Fault::ExpBoundary],
    ),
    (Fault::HiddenLeeway, &[Fault::ExpBoundary]),
    (Fault::WrongExpTypeIsAbsent, &[Fault::CoercesExpString]),
    (Fault::Exp32Bit, &[Fault::CrashesOnOddNumbers]),
    (Fault::IgnoresNbf, &[Fault::NbfStringIsAbsent]),
    (Fault::RefusesUnknownClaim, &[Fault::FoldsClaimNames]),
    (
        Fault::ViewerAllowed,
        &[
            Fault::MergesRoleClaims,
            Fault::RoleFromRequest,
            Fault::RoleFromHeader,
            Fault::RoleCachedPerUser,
        ],
    ),
    (Fault::ReadOnlyAllowed, &[Fault::DefaultRoleAdmin]),
    (
        Fault::DenylistOfRoles,
        &[
            Fault::FalsyRoleSkipsCheck,
            Fault::FoldsRoleCase,
            Fault::TrimsRole,
            Fault::RoleBySubstring,
        ],
    ),
    (Fault::RoleBySubstring, &[Fault::TrimsRole]),
];

/// Whatever token shows one fault, every other fault leaves the right decision on it as it was.
#[test]
fn no_fault_lets_in_or_keeps_out_for_another() {
    let rows = rows();
    for &fault in Fault::ALL {
        if fault == Fault::RefusesEveryone {
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
        assert_eq!(
            found,
            expected.map_or(&[][..], |(_, inner)| inner),
            "{fault}"
        );
    }
}
