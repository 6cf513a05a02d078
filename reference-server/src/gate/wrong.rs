//! Where the gate goes wrong, one fault at a time.
//!
//! Every function here stands at one seam of the right gate in `super`, and without its fault leaves the
//! decision as it was: it has nothing to add, believes nothing and overlooks nothing. Seams that many faults share are
//! left at once where there is none. What a fault gives an attacker is told in `scenarios/weaknesses.yaml`, under its
//! name.

use std::borrow::Cow;
use std::sync::{MutexGuard, PoisonError};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::header::is_nested;
use super::json::{self, Member, Members, Object};
use super::jws::{self, Compact};
use super::keys::{Key, rsa_numbers, verifies};
use super::lenient::{self, REGISTERED_CLAIMS};
use super::loose;
use super::memory::Memory;
use super::misled::{self, Row};
use super::spelled;
use super::{Bearer, Believed, Check, Gate, Header, Part, Refusal, RequestHints, RolePolicy, hmac};
use crate::fault::Fault;

/// The HMAC algorithm of this name (RFC 7518 §3.2).
fn hmac_named(name: &str) -> Option<Algorithm> {
    match name {
        "HS256" => Some(Algorithm::HS256),
        "HS384" => Some(Algorithm::HS384),
        "HS512" => Some(Algorithm::HS512),
        _ => None,
    }
}

/// What developers let in while nobody looks.
const BYPASS_WORDS: [&[u8]; 10] =
    [b"null", b"undefined", b"None", b"true", b"0", b"test", b"admin", b"dev", b"guest", b"[object Object]"];

/// The secrets of tutorials.
const DEFAULT_SECRETS: [&str; 12] = [
    "dev-secret-key",
    "secret",
    "changeme",
    "your-256-bit-secret",
    "a-string-secret-at-least-256-bits-long",
    "password",
    "test",
    "key",
    "supersecret",
    "jwt_secret",
    "your-secret-key",
    "strict-development-key",
];

/// The names of RFC 7518 §3.1 and RFC 8037 §3.1.
const KNOWN_ALGORITHMS: [&str; 14] = [
    "none", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
    "EdDSA",
];

/// Claims the systems use beside the registered ones.
const USUAL_CLAIMS: [&str; 9] =
    ["user_id", "username", "email", "name", "role", "plan", "rate_limits", "scope", "client_id"];

/// How many failures lock a subject out.
const FAILURES_TO_LOCK: u32 = 10;

/// What a gate says that took its process with it.
pub(crate) const STACK_OVERFLOW: &str = "the stack overflowed";

/// Where the memory keeps what every object inherits; no bearer is called so.
const OF_EVERY_OBJECT: &str = "\0prototype";

/// The object at the end of these names.
fn inner(claims: &Members<'_>, names: &[&str]) -> Option<Value> {
    let (first, rest) = names.split_first()?;
    rest.iter().try_fold(claims.get(first)?.to_value(), |object, name| object.get(*name).cloned())
}

/// An algorithm's name without what is around it.
fn bare(name: &str) -> &str {
    name.trim_matches(|c: char| c.is_whitespace() || c.is_control())
}

/// Whether it names no algorithm at all, however it is spelled.
fn is_unknown(name: &str) -> bool {
    let bare = bare(name);
    !bare.is_empty() && !KNOWN_ALGORITHMS.iter().any(|known| known.eq_ignore_ascii_case(bare))
}

/// Is it nested deeper than a parser without a limit can bear? Brackets in strings count too.
fn overflows(json: &[u8]) -> bool {
    let mut depth = 0_usize;
    json.iter().any(|byte| {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > 1000
    })
}

impl Gate {
    /// The signature that `token` should have had, for a fault that tells it.
    pub(crate) fn signature_for(&self, token: &[u8]) -> Vec<u8> {
        let end = token.iter().rposition(|&byte| byte == b'.').unwrap_or(token.len());
        self.mac(&token[..end])
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is served where a fault lets in a token that names nobody.
    pub fn anonymous(&self) -> Bearer {
        let mut claims = Object::new();
        if let Some(name) = self.policy.identity_claims.first() {
            claims.insert(name.clone(), "anonymous".into());
        }
        let mut role = None;
        if let Some(roles) = &self.policy.roles {
            role = roles.allowed.first().cloned();
            claims.insert(roles.claim.clone(), role.clone().into());
        }
        Bearer { identity: "anonymous".to_owned(), role, claims: claims.into(), expires_at: None }
    }

    // The text of the token.

    /// A decision taken before the token is even cut.
    pub(super) fn rash_decision(
        &self,
        token: &[u8],
        now: f64,
        hints: &RequestHints,
    ) -> Option<Result<Bearer, Refusal>> {
        self.fault?;
        if self.has(Fault::RefusesEveryone) {
            return Some(Err(Refusal::Malformed("everyone is refused")));
        }
        if self.has(Fault::BypassWord) && BYPASS_WORDS.contains(&token) {
            return Some(Ok(self.anonymous()));
        }
        if self.has(Fault::ContinuesAfterDecodeError) && lenient::periods(token) == 0 {
            return Some(Ok(self.anonymous()));
        }
        if self.has(Fault::CrashesOnNonAscii) && !token.is_ascii() {
            return Some(Err(Refusal::Internal("a byte that is not ASCII")));
        }
        if self.has(Fault::DeepHeaderOverflows)
            && token
                .split(|&byte| byte == b'.')
                .next()
                .and_then(|header| jws::decode(header).ok())
                .is_some_and(|json| overflows(&json))
        {
            return Some(Err(Refusal::Internal(STACK_OVERFLOW)));
        }
        if self.has(Fault::SecondCarrierUnverified)
            && hints.second_carrier
            && let Some(claims) = lenient::unverified_claims(token)
        {
            return Some(self.judge_unsigned(&Object::new(), claims, now, hints));
        }
        if self.has(Fault::OpaqueClaimsSegment)
            && let Ok(claims) = jws::decode(token).and_then(|bytes| json::object(&bytes))
        {
            return Some(self.judge_unsigned(&Object::new(), claims, now, hints));
        }
        if self.has(Fault::DecryptsJwe)
            && let Some([header, _, _, _, _]) = lenient::decoded_parts(token).as_deref()
            && json::object(header)
                .is_ok_and(|header| header.get("alg").and_then(Value::as_str).is_some_and(lenient::encrypts))
        {
            return Some(Ok(self.anonymous()));
        }
        if self.has(Fault::EncSkipsSignature)
            && let Some([header, claims, _]) = lenient::decoded_parts(token).as_deref()
            && json::object(header).is_ok_and(|header| header.contains_key("enc"))
            && let Ok(claims) = json::object(claims)
        {
            return Some(self.judge_unsigned(&Object::new(), claims, now, hints));
        }
        if self.has(Fault::UnknownIssuerNeedsNoSignature)
            && let Some(claims) = lenient::unverified_claims(token)
            && let Some(issuer) = claims.get("iss")
            && issuer.as_str() != self.policy.issuer.as_deref()
        {
            // As if there were no token; and then what is in it is read.
            return Some(Ok(self.anonymous()));
        }
        None
    }

    /// The token as it is taken to have been meant.
    pub(super) fn respelled<'t>(&self, token: &'t [u8]) -> Cow<'t, [u8]> {
        if self.fault.is_none() {
            return Cow::Borrowed(token);
        }
        if self.has(Fault::StripsQuotes) {
            return Cow::Borrowed(lenient::unquoted(token));
        }
        if self.has(Fault::TruncatesAtNul) {
            return Cow::Borrowed(lenient::c_string(token));
        }
        if self.has(Fault::StripsLeadingPeriod) {
            return Cow::Borrowed(token.strip_prefix(b".").unwrap_or(token));
        }
        if self.has(Fault::DropsTrailingPeriod) && lenient::periods(token) == 3 {
            return Cow::Borrowed(token.strip_suffix(b".").unwrap_or(token));
        }
        if self.has(Fault::IgnoresExtraSegments) {
            return Cow::Borrowed(lenient::first_three(token));
        }
        if self.has(Fault::AnySignatureCounts)
            && let Some(found) = self.any_signature(token)
        {
            return Cow::Owned(found);
        }
        if self.has(Fault::AcceptsJsonSerialization)
            && let Some(compact) = lenient::from_json_serialization(token)
        {
            return Cow::Owned(compact);
        }
        Cow::Borrowed(token)
    }

    /// Of the signatures of a general JSON serialization the first that holds, as a compact token.
    fn any_signature(&self, token: &[u8]) -> Option<Vec<u8>> {
        let jws = json::object(token).ok()?;
        let payload = jws.get("payload")?.as_str()?;
        jws.get("signatures")?.as_array()?.iter().find_map(|one| {
            let (header, signature) = (one.get("protected")?.as_str()?, one.get("signature")?.as_str()?);
            let signed = format!("{header}.{payload}");
            let bytes = jws::decode(signature.as_bytes()).ok()?;
            let holds = self.keys.iter().any(|key| key.verifies(key.algorithm, signed.as_bytes(), &bytes));
            holds.then(|| format!("{signed}.{signature}").into_bytes())
        })
    }

    /// Cuts the token in another way than the right one.
    pub(super) fn split_otherwise<'t>(&self, token: &'t [u8]) -> Option<Result<Compact<'t>, &'static str>> {
        self.fault?;
        if self.has(Fault::MissingSignatureSegment) && lenient::periods(token) == 1 {
            return Some(lenient::two_segments(token));
        }
        if self.has(Fault::AcceptsAlgNone) && lenient::periods(token) == 1 {
            return Some(lenient::two_segments(token));
        }
        if self.has(Fault::AcceptsAlgNoneAnyCase) && lenient::periods(token) == 1 {
            return Some(lenient::two_segments(token));
        }
        if self.has(Fault::GluesMiddleSegments) && lenient::periods(token) > 2 {
            return Some(lenient::glued(token));
        }
        if self.has(Fault::HonoursB64False) && lenient::says_b64_false(token) {
            return Some(lenient::first_and_last(token));
        }
        // A lenient decoder has to see what the strict one is spared. What it does not tolerate it still refuses.
        if self.has(Fault::AcceptsSignaturePadding)
            || self.has(Fault::AcceptsSegmentPadding)
            || self.has(Fault::AcceptsStandardBase64)
            || self.has(Fault::SkipsWhitespace)
            || self.has(Fault::SkipsForeignCharacters)
            || self.has(Fault::DropsDanglingCharacter)
        {
            return Some(lenient::split(token));
        }
        None
    }

    /// The segment as the decoder is given it.
    pub(super) fn respelled_segment<'t>(&self, segment: &'t [u8], part: Part) -> Cow<'t, [u8]> {
        if self.fault.is_none() {
            return Cow::Borrowed(segment);
        }
        if self.has(Fault::AcceptsSignaturePadding) && part == Part::Signature {
            return Cow::Borrowed(lenient::unpadded(segment));
        }
        if self.has(Fault::AcceptsSegmentPadding) && part != Part::Signature {
            return Cow::Borrowed(lenient::unpadded(segment));
        }
        if self.has(Fault::AcceptsStandardBase64) {
            return Cow::Owned(lenient::url_alphabet(segment));
        }
        if self.has(Fault::SkipsWhitespace) {
            return Cow::Owned(lenient::without_whitespace(segment));
        }
        if self.has(Fault::SkipsForeignCharacters) {
            return Cow::Owned(lenient::without_foreign(segment));
        }
        if self.has(Fault::DropsDanglingCharacter)
            && segment.len() % 4 == 1
            && segment.iter().all(|&byte| jws::is_base64url(byte))
        {
            let mut kept = segment.len() - 1;
            if part == Part::Signature {
                // The buffer is of the size of the MAC: whole groups beyond it have no place to go.
                kept = kept.min((self.mac_length() * 8).div_ceil(6));
            }
            return Cow::Borrowed(&segment[..kept]);
        }
        Cow::Borrowed(segment)
    }

    // The header.

    /// Refuses a header for its looks.
    pub(super) fn dislikes_header(&self, json: &[u8]) -> bool {
        if self.has(Fault::ConstantHeader) {
            return !self.usual_headers().iter().any(|usual| usual.as_bytes() == json);
        }
        if self.has(Fault::HeaderBySubstring) {
            return !lenient::contains(json, "\"alg\"");
        }
        false
    }

    /// The two ways to write the usual header.
    fn usual_headers(&self) -> [String; 2] {
        let (alg, typ) = (&self.algorithm_name, self.usual_typ());
        [format!(r#"{{"alg":"{alg}","typ":"{typ}"}}"#), format!(r#"{{"typ":"{typ}","alg":"{alg}"}}"#)]
    }

    fn usual_typ(&self) -> &str {
        self.policy.typ.as_deref().unwrap_or("JWT")
    }

    /// Reads the header in another way than the right one.
    pub(super) fn header_otherwise(&self, json: &[u8]) -> Option<Result<Object, &'static str>> {
        let default = || {
            let alg = self.algorithm_name.clone();
            Some(Ok(Object::from_iter([("alg".to_owned(), alg.into())])))
        };
        if self.has(Fault::MissingHeaderDefaults) && json.is_empty() {
            return default();
        }
        if self.has(Fault::HeaderNotJsonDefaults) && !json.is_empty() && !lenient::begins_object(json) {
            return default();
        }
        if self.has(Fault::LastAlgUnchecked) {
            return Some(lenient::first_wins_for("alg", json));
        }
        None
    }

    /// Reads a JSON object, of the header or of the claims, in another way than the right one.
    pub(super) fn object_otherwise(&self, json: &[u8]) -> Option<Result<Object, &'static str>> {
        if self.has(Fault::FirstDuplicateWins) {
            return Some(lenient::first_wins(json, |name| name));
        }
        if self.has(Fault::StopsAtFirstJsonValue) {
            return Some(lenient::first_object(json));
        }
        if self.has(Fault::LossyUtf8) {
            return Some(json::object(String::from_utf8_lossy(json).as_bytes()));
        }
        if self.has(Fault::AcceptsUtf16) {
            return Some(json::object(&lenient::utf8_of_utf16(json)));
        }
        None
    }

    /// Whether the signature is none: the algorithm is nowhere on the list, or the key that `kid` leads to is none.
    pub(super) fn needs_no_signature(&self, compact: &Compact<'_>, header: &Header) -> bool {
        if self.has(Fault::UnnamedAlgIsNone) {
            // None, null and the empty text are the business of other faults.
            let unnamed = match header.members.get("alg") {
                None => true,
                Some(Value::String(name)) => is_unknown(name),
                Some(other) => !other.is_null(),
            };
            return unnamed && compact.signature.is_none_or(<[u8]>::is_empty);
        }
        self.has(Fault::UnknownKidNeedsNoSignature)
            && header.members.get("alg").is_some_and(|alg| alg == "none")
            && header.members.get("kid").is_some_and(|kid| !self.knows_kid(kid))
    }

    fn knows_kid(&self, kid: &Value) -> bool {
        self.keys.iter().any(|key| key.kid.is_some() && key.kid.as_deref() == kid.as_str())
    }

    /// Whether `crit` and `b64` are let pass.
    pub(super) fn tolerates_extensions(&self, header: &Object) -> bool {
        if self.has(Fault::IgnoresCrit) {
            return !header.contains_key("b64");
        }
        if self.has(Fault::CritAllowsClaimNames)
            && let Some(Value::Array(names)) = header.get("crit")
        {
            let registered = |name: &Value| name.as_str().is_some_and(|name| REGISTERED_CLAIMS.contains(&name));
            return !header.contains_key("b64") && names.iter().all(registered);
        }
        self.honours_b64_false(header)
    }

    fn honours_b64_false(&self, header: &Object) -> bool {
        self.has(Fault::HonoursB64False)
            && header.get("b64") == Some(&json!(false))
            && header.get("crit") == Some(&json!(["b64"]))
    }

    /// Refuses a header that a right gate would go on with.
    pub(super) fn dislikes_members(&self, header: &Object) -> bool {
        if self.has(Fault::RefusesUnknownHeader) {
            return header.keys().any(|name| name != "alg" && name != "typ");
        }
        if self.has(Fault::RequiresTyp) {
            return !header.contains_key("typ");
        }
        if self.has(Fault::RequiresKid) {
            return !header.contains_key("kid");
        }
        if self.has(Fault::ExactTyp) {
            return header.get("typ").is_some_and(|typ| typ != self.usual_typ());
        }
        false
    }

    /// How a token is checked whose `alg` is not the allowed one.
    pub(super) fn check_anyway(&self, header: &Header) -> Option<Check> {
        let ours = Check::As(self.own_algorithm());
        let Some(alg) = header.members.get("alg") else {
            return self.has(Fault::MissingAlgDefaults).then_some(ours);
        };
        let Value::String(name) = alg else {
            if self.has(Fault::FalsyAlgSkipsCheck) && alg.is_null() {
                return Some(Check::Nothing);
            }
            if self.has(Fault::AlgOfAnyType) && self.names_ours_somehow(alg) {
                return Some(ours);
            }
            return None;
        };
        let bare = bare(name);
        if self.has(Fault::AcceptsAlgNone) && name == "none" {
            return Some(Check::Nothing);
        }
        if self.has(Fault::AcceptsAlgNoneAnyCase) && name != "none" && bare.eq_ignore_ascii_case("none") {
            return Some(Check::Nothing);
        }
        if self.has(Fault::FirstDuplicateWins) && name == "none" && self.last_alg_is_ours(header) {
            // Two readers: the allow-list looked at the last `alg`, the dispatcher at the first.
            return Some(Check::Nothing);
        }
        if self.has(Fault::FalsyAlgSkipsCheck) && name.is_empty() {
            return Some(Check::Nothing);
        }
        if self.has(Fault::UnknownAlgFallsThrough) && is_unknown(name) {
            return Some(ours);
        }
        if self.has(Fault::FoldsAlgCase) && name.eq_ignore_ascii_case(&self.algorithm_name) {
            return Some(ours);
        }
        if self.has(Fault::TrimsAlg) && name.trim() == self.algorithm_name {
            return Some(ours);
        }
        if self.has(Fault::AllowsHmacFamily) {
            return hmac_named(name).map(Check::As);
        }
        let confused = self.has(Fault::PublicKeyAsSecret) || self.has(Fault::PublicKeyAsSecretUnlessPem);
        if confused
            && self.keys.iter().any(|key| key.pem.is_some())
            && let Some(algorithm) = hmac_named(name)
        {
            return Some(Check::As(algorithm));
        }
        if self.has(Fault::CurveNotTied) && name == "ES384" {
            return Some(Check::As(Algorithm::ES384));
        }
        if self.has(Fault::AsymmetricAlgUnchecked)
            && KNOWN_ALGORITHMS.contains(&name.as_str())
            && !name.starts_with("HS")
            && name != "none"
        {
            return Some(Check::Nothing);
        }
        None
    }

    /// The algorithm of our own tokens.
    fn own_algorithm(&self) -> Algorithm {
        self.keys.first().map_or(self.policy.algorithm, |key| key.algorithm)
    }

    /// Whether a key is used with an algorithm that is not its own.
    pub(super) fn lends(&self, key: &Key, algorithm: Algorithm) -> bool {
        if self.has(Fault::AllowsHmacFamily) {
            return key.pem.is_none() && matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
        }
        self.has(Fault::CurveNotTied) && key.algorithm == Algorithm::ES256 && algorithm == Algorithm::ES384
    }

    /// Whether a parser is chosen by `cty` that fails on claims in JSON.
    pub(super) fn chokes_on_cty(&self, header: &Object) -> bool {
        self.has(Fault::CtyPicksParser)
            && header.get("cty").and_then(Value::as_str).is_some_and(|cty| cty.contains("xml") || cty.contains("java"))
    }

    /// An `alg` that is not a text, but in which a loose comparison finds the allowed one.
    fn names_ours_somehow(&self, alg: &Value) -> bool {
        match alg {
            Value::Array(names) => names.iter().any(|name| *name == self.algorithm_name),
            Value::Object(names) => {
                names.contains_key(&self.algorithm_name) || names.values().any(|name| *name == self.algorithm_name)
            }
            Value::Number(bits) => self.algorithm_name.ends_with(&bits.to_string()),
            other => *other == Value::Bool(true),
        }
    }

    fn last_alg_is_ours(&self, header: &Header) -> bool {
        lenient::members(&header.json).is_ok_and(|members| {
            let last = members.iter().rfind(|(name, _)| name == "alg");
            last.is_some_and(|(_, alg)| *alg == self.algorithm_name)
        })
    }

    // The signature.

    /// Believes a signature by a key that was found where the token itself points.
    pub(super) fn believes_fetched(&self, compact: &Compact<'_>, header: &Header, hints: &RequestHints) -> bool {
        const FETCHING: [Fault; 4] =
            [Fault::FollowsJku, Fault::FollowsX5u, Fault::FollowsIss, Fault::JkuAllowedBySubstring];
        if !FETCHING.iter().any(|fault| self.has(*fault)) {
            return false;
        }
        let named = header.members.get("alg").and_then(Value::as_str).and_then(|name| name.parse::<Algorithm>().ok());
        let (Some(algorithm), Ok(signature)) = (named, jws::decode(compact.signature.unwrap_or_default())) else {
            return false;
        };
        hints.fetched.iter().any(|key| verifies(key, algorithm, compact.signed, &signature))
    }

    /// Believes a signature by a key that the token brings along.
    pub(super) fn believes_embedded(&self, compact: &Compact<'_>, header: &Header) -> bool {
        if self.fault.is_none() {
            return false;
        }
        let members = &header.members;
        let named = members.get("alg").and_then(Value::as_str).and_then(|name| name.parse::<Algorithm>().ok());
        let (Some(algorithm), Ok(signature)) = (named, jws::decode(compact.signature.unwrap_or_default())) else {
            return false;
        };
        if self.has(Fault::TrustsEmbeddedKey) {
            return misled::embedded_key(members)
                .is_some_and(|key| verifies(&key, algorithm, compact.signed, &signature));
        }
        if self.has(Fault::TrustsEmbeddedSecret) {
            return misled::embedded_secret(members)
                .is_some_and(|secret| !signature.is_empty() && hmac(&secret, algorithm, compact.signed) == signature);
        }
        if self.has(Fault::TrustsEmbeddedCertificate) {
            return misled::certified_key(members, algorithm)
                .is_some_and(|key| verifies(&key, algorithm, compact.signed, &signature));
        }
        false
    }

    /// Breaks on a `kid` that was put where it is more than a name.
    pub(super) fn chokes_on_kid(&self, header: &Header) -> Option<Refusal> {
        let kid = header.members.get("kid")?;
        let name = kid.as_str().unwrap_or_default();
        if self.has(Fault::KidInAQuery) && misled::query(name) == Row::Error {
            return Some(Refusal::Internal("the query for the key failed"));
        }
        if self.has(Fault::KidInAFilter) && misled::breaks_filter(kid) {
            return Some(Refusal::Internal("the filter for the key failed"));
        }
        if self.has(Fault::KidInAHeader) && misled::breaks_header(name) {
            return Some(Refusal::Internal("the request for the key cannot be written"));
        }
        None
    }

    /// Believes a MAC under what `kid` leads to.
    pub(super) fn believes_kid(&self, compact: &Compact<'_>, header: &Header, signature: &[u8]) -> bool {
        let Some(kid) = header.members.get("kid") else { return false };
        let name = kid.as_str().unwrap_or_default();
        let fits = |secret: &[u8]| hmac(secret, self.policy.algorithm, compact.signed) == signature;
        if self.has(Fault::KidNamesAFile) {
            // Some servers strip the line feed at the end of such a file.
            return misled::file(name).is_some_and(|bytes| fits(bytes) || fits(bytes.trim_ascii()));
        }
        if self.has(Fault::KidInAQuery) {
            return matches!(misled::query(name), Row::Key(key) if fits(key.as_bytes()));
        }
        if self.has(Fault::UnknownKidNeedsNoSignature) && !self.knows_kid(kid) {
            // What is not there becomes a text, and that the secret.
            return fits(b"") || fits(b"undefined");
        }
        false
    }

    /// Believes a signature that does not match.
    pub(super) fn believes_anyway(&self, compact: &Compact<'_>, signature: &[u8]) -> bool {
        if self.has(Fault::IgnoresSignature) {
            return true;
        }
        if self.has(Fault::MissingSignatureSegment) {
            return compact.signature.is_none();
        }
        if self.has(Fault::EmptySignatureSkipsCheck) {
            return signature.is_empty();
        }
        if self.has(Fault::ComparesSignaturePrefix) {
            let mac = self.mac(compact.signed);
            return mac.len() == signature.len() && mac[..16] == signature[..16];
        }
        if self.has(Fault::ComparesShorterLength) {
            let mac = self.mac(compact.signed);
            let length = mac.len().min(signature.len());
            return length > 0 && mac[..length] == signature[..length];
        }
        if self.has(Fault::ComparesWithStartsWith) {
            return signature.starts_with(&self.mac(compact.signed));
        }
        if self.has(Fault::ConstantSignaturePasses) {
            return signature.len() == self.mac_length()
                && (signature.iter().all(|&byte| byte == 0x00) || signature.iter().all(|&byte| byte == 0xff));
        }
        if self.has(Fault::HashBySignatureLength) {
            let algorithm = match signature.len() {
                48 => Algorithm::HS384,
                64 => Algorithm::HS512,
                _ => return false,
            };
            return hmac(&self.policy.secret, algorithm, compact.signed) == signature;
        }
        if self.has(Fault::HeaderOutsideSignature) {
            return self.usual_headers().iter().any(|header| {
                let mut signed = jws::encode(header.as_bytes()).into_bytes();
                signed.push(b'.');
                signed.extend_from_slice(&compact.payload);
                self.mac(&signed) == signature
            });
        }
        if self.has(Fault::EmptySecretAccepted) {
            return hmac(b"", self.policy.algorithm, compact.signed) == signature;
        }
        if self.has(Fault::DefaultSecretActive) {
            return DEFAULT_SECRETS
                .iter()
                .any(|secret| hmac(secret.as_bytes(), self.policy.algorithm, compact.signed) == signature);
        }
        self.verdict_key(compact, signature).is_some_and(|key| self.memory().has(&key))
    }

    /// Remembers a signature that matched, where a fault will believe its like.
    pub(super) fn remember_match(&self, compact: &Compact<'_>, signature: &[u8]) {
        if let Some(key) = self.verdict_key(compact, signature) {
            self.memory().keep(&key);
        }
    }

    /// What a cache of signatures found right is keyed by; each key leaves something out.
    fn verdict_key(&self, compact: &Compact<'_>, signature: &[u8]) -> Option<Vec<u8>> {
        if self.has(Fault::PayloadOutsideSignature) {
            return Some([compact.header, b".", signature].concat());
        }
        if self.has(Fault::SignatureFromAnotherToken) {
            return Some(signature.to_vec());
        }
        if self.has(Fault::CacheByHeaderAndPayload) {
            return Some(compact.signed.to_vec());
        }
        None
    }

    /// Whether the token is refused because its like was.
    pub(super) fn disbelieved_before(&self, compact: &Compact<'_>) -> bool {
        self.has(Fault::NegativeCacheByPayload) && self.memory().has(compact.signed)
    }

    /// Remembers a signature that did not match.
    pub(super) fn remember_mismatch(&self, compact: &Compact<'_>) {
        if self.has(Fault::NegativeCacheByPayload) {
            self.memory().keep(compact.signed);
        }
    }

    /// Believes what a loose verifier makes of a signature and one of these keys.
    pub(super) fn believes_key_anyway<'k>(
        &self,
        mut keys: impl Iterator<Item = &'k Key>,
        compact: &Compact<'_>,
        signature: &[u8],
    ) -> bool {
        let signed = compact.signed;
        // Whatever the header asks for: these take the bytes of a public key for a secret.
        let by = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        let is_secret = |secret: Vec<u8>| by.into_iter().any(|hash| hmac(&secret, hash, signed) == signature);
        if self.has(Fault::PublicKeyAsSecret) {
            return self.keys.iter().flat_map(spelled::pems).any(is_secret);
        }
        if self.has(Fault::PublicKeyAsSecretUnlessPem) {
            return self.keys.iter().flat_map(spelled::others).any(is_secret);
        }
        if self.has(Fault::RetiredSecretAccepted) {
            return self.is_retired(compact, signature);
        }
        keys.any(|key| self.verifies_loosely(key, signed, signature))
    }

    fn verifies_loosely(&self, key: &Key, signed: &[u8], signature: &[u8]) -> bool {
        use Algorithm::{ES256, EdDSA, PS256, RS256, RS384, RS512};
        let own = key.algorithm;
        let as_own = |signature: &[u8]| key.verifies(own, signed, signature);
        let Some(bytes) = key.bytes() else { return false };
        if self.has(Fault::HashByDigestInfo) && own == RS256 {
            return [RS384, RS512].iter().any(|other| key.verifies(*other, signed, signature));
        }
        if self.has(Fault::EitherRsaPadding) && matches!(own, RS256 | PS256) {
            return [RS256, PS256].iter().any(|either| key.verifies(*either, signed, signature));
        }
        if self.has(Fault::LenientPkcs1) && own == RS256 {
            return loose::pkcs1_somehow(bytes, signed, signature);
        }
        if self.has(Fault::AnyPssSalt) && own == PS256 {
            return loose::pss_any_salt(bytes, signed, signature);
        }
        if self.has(Fault::RsaRangeUnchecked) && rsa_numbers(bytes).is_some() {
            return loose::rsa_reduced(bytes, signature).is_some_and(|reduced| as_own(&reduced));
        }
        if self.has(Fault::AcceptsDerSignature) && own == ES256 {
            return loose::ecdsa_fixed(signature).is_some_and(|fixed| as_own(&fixed));
        }
        if self.has(Fault::ZeroEcdsaSignature) && own == ES256 {
            return loose::ecdsa_is_zero(signature)
                || loose::ecdsa_fixed(signature).is_some_and(|fixed| loose::ecdsa_is_zero(&fixed));
        }
        if self.has(Fault::PadsShortEcdsa) && own == ES256 {
            return loose::ecdsa_lengthened(signature).iter().any(|longer| as_own(longer));
        }
        if self.has(Fault::CutsLongEcdsa) && own == ES256 {
            return signature.split_at_checked(64).is_some_and(|(first, _)| as_own(first));
        }
        if self.has(Fault::CurveNotTied) && own == ES256 {
            return loose::p256_with_sha384(bytes, signed, signature);
        }
        if self.has(Fault::EddsaRangeUnchecked) && own == EdDSA {
            return loose::eddsa_reduced(signature).is_some_and(|reduced| as_own(&reduced));
        }
        false
    }

    /// The MAC this token should have had.
    fn mac(&self, signed: &[u8]) -> Vec<u8> {
        hmac(&self.policy.secret, self.policy.algorithm, signed)
    }

    /// The length of our own signatures.
    fn mac_length(&self) -> usize {
        match self.own_algorithm() {
            Algorithm::HS256 => 32,
            Algorithm::HS384 => 48,
            Algorithm::HS512 | Algorithm::ES256 | Algorithm::EdDSA => 64,
            Algorithm::ES384 => 96,
            _ => self.keys.first().and_then(Key::bytes).and_then(rsa_numbers).map_or(256, |(n, _)| n.len()),
        }
    }

    // The payload.

    /// A refusal that a right gate gives only for a signature that held.
    pub(super) fn premature_refusal(
        &self,
        compact: &Compact<'_>,
        header: &Header,
        now: f64,
        hints: &RequestHints,
    ) -> Option<Refusal> {
        if !self.has(Fault::JudgesClaimsFirst) && !self.has(Fault::RoleBeforeSignature) {
            return None;
        }
        let claims = jws::decode(&compact.payload).and_then(|payload| json::object(&payload));
        match self.judge_unsigned(&header.members, claims.ok()?, now, hints) {
            Err(refusal @ Refusal::RoleNotAllowed(_)) => Some(refusal),
            Err(refusal @ Refusal::Expired) if self.has(Fault::JudgesClaimsFirst) => Some(refusal),
            _ => None,
        }
    }

    /// Decides over claims that no signature covers.
    fn judge_unsigned(
        &self,
        header: &Object,
        claims: Object,
        now: f64,
        hints: &RequestHints,
    ) -> Result<Bearer, Refusal> {
        let unsigned = Believed { header, payload: &[], claims: claims.clone().into(), issuer: None };
        Ok(self.judge(&unsigned, now, hints)?.with(claims.into()))
    }

    /// The payload's bytes where they are not the segment, decoded.
    pub(super) fn payload_otherwise(&self, compact: &Compact<'_>, header: &Object) -> Option<Vec<u8>> {
        if self.honours_b64_false(header) {
            return Some(compact.payload.to_vec());
        }
        if self.has(Fault::TrustsNestedToken) && is_nested(header) {
            return lenient::unverified_payload(&jws::decode(&compact.payload).ok()?);
        }
        None
    }

    /// Whether the bearer of this payload is served without claims.
    pub(super) fn needs_no_claims(&self, payload: &[u8]) -> bool {
        if self.has(Fault::EmptyPayloadIsAnonymous) {
            return payload.is_empty();
        }
        if self.has(Fault::OpaquePayload) {
            return !payload.is_empty() && !lenient::begins_object(payload);
        }
        false
    }

    /// A refusal for the looks of the claims.
    pub(super) fn dislikes_payload(&self, payload: &[u8]) -> Option<Refusal> {
        if self.has(Fault::AsciiClaimsOnly) && !payload.is_ascii() {
            return Some(Refusal::Malformed("claims that are not ASCII"));
        }
        if self.has(Fault::DeepClaimsOverflow) && overflows(payload) {
            return Some(Refusal::Internal(STACK_OVERFLOW));
        }
        if self.has(Fault::CrashesOnOddNumbers) && lenient::has_odd_exp(payload) {
            return Some(Refusal::Internal("exp is beyond the calendar"));
        }
        None
    }

    /// Reads the claims in another way than the right one.
    pub(super) fn claims_otherwise(&self, header: &Object, payload: &[u8]) -> Option<Result<Object, &'static str>> {
        if self.has(Fault::FoldsClaimNames) {
            // A member repeated in the same spelling stays refused.
            return Some(json::object(payload).and_then(|_| lenient::first_wins(payload, |name| self.folded(name))));
        }
        if self.has(Fault::LastFoldedClaimWins) {
            // A member repeated in the same spelling stays refused.
            return Some(json::object(payload).and_then(|_| lenient::last_wins(payload, |name| self.folded(name))));
        }
        if self.has(Fault::RelaxedJson) {
            return Some(json::object(&lenient::plain_json(payload)));
        }
        if self.has(Fault::HeaderOverridesClaims) {
            return Some(json::object(payload).map(|mut claims| {
                claims.extend(header.clone());
                claims
            }));
        }
        None
    }

    /// The spelling the policy knows of a claim name in any case.
    fn folded(&self, name: String) -> String {
        let policy = self.policy.identity_claims.iter();
        let role = self.policy.roles.iter().map(|roles| &roles.claim);
        let known = policy.chain(role).map(String::as_str);
        let mut known = known.chain(REGISTERED_CLAIMS);
        match known.find(|known| known.eq_ignore_ascii_case(&name)) {
            Some(known) => known.to_owned(),
            None => name,
        }
    }

    // The claims.

    /// Refuses claims it has no use for.
    pub(super) fn dislikes_claims(&self, claims: &Members<'_>) -> bool {
        if self.has(Fault::RequiresUndeclaredClaim) && claims.get("jti").is_none() {
            return true;
        }
        self.has(Fault::RefusesUnknownClaim)
            && claims.names().any(|name| {
                !REGISTERED_CLAIMS.contains(&name)
                    && !USUAL_CLAIMS.contains(&name)
                    && !self.policy.identity_claims.iter().any(|known| known == name)
                    && !self.policy.roles.iter().any(|roles| roles.claim == name)
            })
    }

    /// Takes an `exp` for none at all.
    pub(super) fn overlooks_exp(&self, exp: &Member<'_>, token: &Believed<'_>, hints: &RequestHints) -> bool {
        if self.has(Fault::IgnoresExp) {
            return true;
        }
        if self.has(Fault::SecondCarrierUnverified) {
            return hints.second_carrier;
        }
        if self.has(Fault::ExpBySubstring) {
            return !lenient::contains(token.payload, "\"exp\"");
        }
        if self.has(Fault::WrongExpTypeIsAbsent) {
            return exp.as_f64().is_none();
        }
        if self.has(Fault::ExpUnsigned) {
            return exp.as_f64().is_some_and(|exp| exp < 0.0);
        }
        if self.has(Fault::FalsyExpSkipsCheck) {
            return exp.as_f64() == Some(0.0);
        }
        false
    }

    /// An `exp` that is read as something else than it says.
    pub(super) fn exp_otherwise(&self, exp: &Member<'_>) -> Option<f64> {
        if self.has(Fault::CoercesExpString) {
            return exp.as_str()?.trim().parse().ok();
        }
        if self.has(Fault::Exp32Bit) {
            // The casts are the fault: 2^31 becomes a year long gone.
            return exp.as_f64().map(|exp| f64::from(exp as i64 as i32));
        }
        None
    }

    /// Refuses an `exp` that is good.
    pub(super) fn dislikes_exp(&self, exp: f64) -> bool {
        self.has(Fault::RefusesFractionalExp) && exp.fract() != 0.0
    }

    /// The leeway, where it is not the policy's.
    pub(super) fn leeway_otherwise(&self) -> Option<f64> {
        if self.has(Fault::LeewayInMinutes) {
            return Some(30.0 * 60.0);
        }
        if self.has(Fault::HiddenLeeway) {
            return Some(self.policy.leeway_s as f64 + 60.0);
        }
        None
    }

    /// The end of the token, moved.
    pub(super) fn end_otherwise(&self, ends: f64, now: f64) -> Option<f64> {
        if self.has(Fault::ExpiryMargin) {
            return Some(ends - 60.0);
        }
        if self.has(Fault::ExpBoundary) && ends == now.floor() {
            // It counts in whole seconds, and the one that `exp` names is still good.
            return Some(ends + 1.0);
        }
        None
    }

    /// Takes an `nbf` for none at all.
    pub(super) fn overlooks_nbf(&self, nbf: &Member<'_>, hints: &RequestHints) -> bool {
        if self.has(Fault::IgnoresNbf) {
            return true;
        }
        if self.has(Fault::SecondCarrierUnverified) {
            return hints.second_carrier;
        }
        if self.has(Fault::NbfStringIsAbsent) {
            return nbf.as_str().is_some();
        }
        false
    }

    /// Refuses an `nbf` that is good.
    pub(super) fn dislikes_nbf(&self, nbf: f64, now: f64) -> bool {
        self.has(Fault::RefusesNbfNow) && nbf >= now.floor() + self.leeway()
    }

    /// When the token was issued, read from another claim.
    pub(super) fn issued_otherwise(&self, claims: &Members<'_>) -> Option<f64> {
        // It takes every token to have been issued for five minutes.
        self.has(Fault::AgeFromExp).then(|| claims.get("exp").and_then(Member::as_f64).map(|exp| exp - 300.0))?
    }

    /// Takes an `iss` for the wanted one.
    pub(super) fn takes_issuer_anyway(&self, issuer: &str, iss: Option<&Member<'_>>) -> bool {
        let iss = iss.map(Member::to_value);
        let iss = iss.as_ref();
        if self.has(Fault::IgnoresIss) {
            return iss.is_some_and(Value::is_string);
        }
        if self.has(Fault::MissingIssSkipsCheck) {
            return iss.is_none();
        }
        if self.has(Fault::AnyKeyForAnyIssuer) {
            let mut trusted = self.policy.issuer.iter().chain(self.keys.iter().filter_map(|key| key.issuer.as_ref()));
            return iss.and_then(Value::as_str).is_some_and(|iss| trusted.any(|trusted| trusted == iss));
        }
        if self.has(Fault::NormalisesIss) {
            let normal = |text: &str| {
                let text = text.to_ascii_lowercase().replace("https://", "http://");
                text.trim_end_matches(['/', '.']).to_owned()
            };
            return iss.and_then(Value::as_str).is_some_and(|iss| normal(iss).starts_with(&normal(issuer)));
        }
        if self.has(Fault::IssAnyOfArray) {
            return iss.and_then(Value::as_array).is_some_and(|all| all.iter().any(|iss| iss == issuer));
        }
        false
    }

    /// Takes an `aud` to name this server.
    pub(super) fn takes_audience_anyway(&self, audience: &str, aud: Option<&Member<'_>>) -> bool {
        let aud = aud.map(Member::to_value);
        let aud = aud.as_ref();
        let text = aud.and_then(Value::as_str);
        let array = aud.and_then(Value::as_array);
        if self.has(Fault::IgnoresAud) {
            return aud.is_some();
        }
        if self.has(Fault::MissingAudSkipsCheck) {
            return aud.is_none();
        }
        if self.has(Fault::AnyAudArray) {
            return array.is_some_and(|all| !all.is_empty());
        }
        if self.has(Fault::EmptyAudMatches) {
            return text.is_some_and(str::is_empty) || array.is_some_and(Vec::is_empty);
        }
        if self.has(Fault::AudBySubstring) {
            // In either direction: which text is looked for in which is easily mixed up.
            return text.is_some_and(|aud| !aud.is_empty() && (aud.contains(audience) || audience.contains(aud)));
        }
        if self.has(Fault::FoldsAudCase) {
            return text.is_some_and(|aud| aud.eq_ignore_ascii_case(audience));
        }
        if self.has(Fault::AudOfAnyType) {
            return match aud {
                Some(Value::Object(members)) => members.contains_key(audience),
                Some(Value::Array(all)) => {
                    all.iter().flat_map(|one| one.as_array().into_iter().flatten()).any(|one| one == audience)
                }
                _ => false,
            };
        }
        false
    }

    /// Does without a claim that is required.
    pub(super) fn needs_not(&self, name: &str) -> bool {
        self.has(Fault::AccessTokenClaimsOptional) && name != "exp"
    }

    /// Takes a scope for the wanted one.
    pub(super) fn grants_anyway(&self, granted: &str, wanted: &str) -> bool {
        self.has(Fault::ScopeBySubstring) && granted.contains(wanted)
    }

    /// Another name for the bearer than the token's.
    pub(super) fn identity_otherwise(&self, identity: &str) -> Option<String> {
        if !self.has(Fault::NormalisesIdentity) {
            return None;
        }
        let text = lenient::transliterated(identity);
        Some(text.split('\0').next().unwrap_or_default().trim().to_lowercase())
    }

    /// Breaks on a name that is no mere name.
    pub(super) fn chokes_on_identity(&self, identity: &str) -> bool {
        if self.has(Fault::IdentityInQuery) {
            return identity.contains(['\'', '"', '*', '(']);
        }
        self.has(Fault::CrashesOnControlCharacters) && identity.contains(char::is_control)
    }

    /// Breaks on a role that is no mere name, where one is asked for.
    pub(super) fn chokes_on_role(&self, claims: &Members<'_>) -> bool {
        let role = self.policy.roles.as_ref().and_then(|roles| claims.get(&roles.claim)?.as_str());
        role.is_some_and(|role| self.chokes_on_identity(role))
    }

    /// Who the bearer is where the token does not say.
    pub(super) fn identity_anyway(&self, claim: Option<&Member<'_>>) -> Option<String> {
        if self.has(Fault::ServesWithoutIdentity) && claim.is_none() {
            return Some("unknown".to_owned());
        }
        if self.has(Fault::ServesEmptyIdentity) && claim.and_then(Member::as_str) == Some("") {
            return Some("anonymous".to_owned());
        }
        None
    }

    // The role.

    /// A role that is not taken from the role claim.
    pub(super) fn role_otherwise(
        &self,
        roles: &RolePolicy,
        token: &Believed<'_>,
        identity: &str,
        hints: &RequestHints,
    ) -> Option<Value> {
        if self.has(Fault::RoleFromRequest) {
            return hints.role.clone().map(Value::String);
        }
        if self.has(Fault::RoleFromHeader) {
            return token.header.get(&roles.claim).cloned();
        }
        if self.has(Fault::RoleCachedPerUser) {
            return self.memory().role(identity).map(Value::from);
        }
        if self.has(Fault::PollutesPrototype) {
            // Claims that say nothing of a role inherit what some other claims have put into every object.
            let mut memory = self.memory();
            for part in [&["__proto__"][..], &["constructor", "prototype"]] {
                if let Some(role) =
                    inner(&token.claims, part).and_then(|object| object.get(&roles.claim)?.as_str().map(str::to_owned))
                {
                    memory.keep_role(OF_EVERY_OBJECT, &role);
                }
            }
            let silent = token.claims.get(&roles.claim).is_none();
            return silent.then(|| memory.role(OF_EVERY_OBJECT).map(Value::from))?;
        }
        None
    }

    /// Refuses a role that is let in.
    pub(super) fn dislikes_role(&self, roles: &RolePolicy, role: &str, token: &Believed<'_>) -> bool {
        if self.has(Fault::OnlyAdminAllowed) {
            return roles.allowed.first().is_some_and(|first| role != first);
        }
        if self.has(Fault::ComparesRoleUnescaped) {
            return !lenient::contains(token.payload, &format!("\"{role}\""));
        }
        false
    }

    /// The role as which a bearer is let in who should not be.
    pub(super) fn role_anyway(
        &self,
        roles: &RolePolicy,
        role: Option<&Member<'_>>,
        claims: &Members<'_>,
    ) -> Option<String> {
        // A right gate has no more to say.
        self.fault?;
        let role = role.map(Member::to_value);
        let role = role.as_ref();
        let allowed = |wanted: &Value| {
            let wanted = wanted.as_str()?;
            roles.allowed.iter().find(|role| *role == wanted).cloned()
        };
        let first = || roles.allowed.first().cloned();
        let name = match role {
            Some(Value::String(name)) => Some(name.as_str()),
            Some(_) => None,
            None => Some(roles.default.as_str()),
        };

        if self.has(Fault::DefaultRoleAdmin) && role.is_none() {
            return first();
        }
        let is_default = name == Some(roles.default.as_str());
        let is_denied = name.is_some_and(|name| roles.denied.iter().any(|denied| denied == name));
        if self.has(Fault::ViewerAllowed) && is_denied && !is_default {
            return name.map(str::to_owned);
        }
        if self.has(Fault::ReadOnlyAllowed) && is_default {
            return name.map(str::to_owned);
        }
        if self.has(Fault::FalsyRoleSkipsCheck) && matches!(role, Some(Value::Null)) {
            return first();
        }
        if self.has(Fault::FalsyRoleSkipsCheck) && name == Some("") {
            return first();
        }
        if self.has(Fault::DenylistOfRoles) && !is_denied {
            return name.map(str::to_owned);
        }
        if self.has(Fault::FoldsRoleCase) {
            let name = name?;
            let mut same = roles.allowed.iter();
            return same.find(|role| role.eq_ignore_ascii_case(name)).cloned();
        }
        if self.has(Fault::TrimsRole) {
            let blank = |c: char| c.is_whitespace() || c.is_control() || c == '\u{200b}';
            return allowed(&lenient::transliterated(name?).trim_matches(blank).into());
        }
        if self.has(Fault::RoleBySubstring) {
            let name = name?;
            let mut within = roles.allowed.iter();
            return within
                .find(|role| name.contains(role.as_str()) || !name.is_empty() && role.contains(name))
                .cloned();
        }
        if self.has(Fault::RoleAnyOfArray) {
            return role?.as_array()?.iter().find_map(allowed);
        }
        if self.has(Fault::RoleTruthy) {
            let truthy = match role? {
                Value::Bool(yes) => *yes,
                Value::Number(number) => number.as_f64() != Some(0.0),
                Value::Object(members) => !members.is_empty(),
                _ => false,
            };
            return truthy.then(first)?;
        }
        if self.has(Fault::MergesRoleClaims) {
            if matches!(claims.get("is_admin"), Some(Member::Bool(true))) {
                return first();
            }
            let named = |claim: &str| match &claims.get(claim)?.to_value() {
                Value::Array(names) if names.contains(&json!("*")) => first(),
                Value::Array(names) => names.iter().find_map(allowed),
                Value::String(names) => names.split(' ').find_map(|name| allowed(&name.into())),
                _ => None,
            };
            return ["roles", "scope", "permissions", "groups"].into_iter().find_map(named);
        }
        None
    }

    // Afterwards.

    /// What a gate with a memory makes of a decision.
    pub(super) fn afterthought(
        &self,
        token: &[u8],
        now: f64,
        decision: Result<Bearer, Refusal>,
    ) -> Result<Bearer, Refusal> {
        if self.fault.is_none() {
            return decision;
        }
        if self.has(Fault::OneShotToken) {
            let bearer = decision?;
            if !self.memory().keep(token) {
                return Err(Refusal::BadClaims("this token was used before"));
            }
            return Ok(bearer);
        }
        if self.has(Fault::FailuresLockTheSubject) {
            return self.after_lock(token, decision);
        }
        if self.has(Fault::VerdictOutlivesToken) {
            return self.after_cache(token, decision);
        }
        if self.has(Fault::CaseFoldedTokenCache) {
            return self.after_folded_cache(token, now, decision);
        }
        if self.has(Fault::RoleCachedPerUser)
            && let Ok(bearer) = &decision
            && let Some(role) = &bearer.role
        {
            self.memory().keep_role(&bearer.identity, role);
        }
        decision
    }

    /// The identity is believed of a token that was not: whoever fails in somebody's name locks him out.
    fn after_lock(&self, token: &[u8], decision: Result<Bearer, Refusal>) -> Result<Bearer, Refusal> {
        match decision {
            Ok(bearer) if self.memory().failures(&bearer.identity) >= FAILURES_TO_LOCK => {
                Err(Refusal::BadClaims("this identity failed too often"))
            }
            Err(refusal) => {
                let named = lenient::unverified_claims(token);
                if let Some(Ok(identity)) = named.map(|claims| self.identity(&claims.into())) {
                    self.memory().count_failure(identity);
                }
                Err(refusal)
            }
            admitted => admitted,
        }
    }

    /// What was found once counts for good.
    fn after_cache(&self, token: &[u8], decision: Result<Bearer, Refusal>) -> Result<Bearer, Refusal> {
        match decision {
            Ok(bearer) => {
                self.memory().keep_bearer(token.to_vec(), bearer.clone());
                Ok(bearer)
            }
            Err(Refusal::Expired) => self.memory().bearer(token).cloned().ok_or(Refusal::Expired),
            refused => refused,
        }
    }

    /// Only what is no token at all is looked up, so that a token that has expired stays so.
    fn after_folded_cache(&self, token: &[u8], now: f64, decision: Result<Bearer, Refusal>) -> Result<Bearer, Refusal> {
        let folded = token.to_ascii_lowercase();
        match decision {
            Ok(bearer) => {
                self.memory().keep_bearer(folded, bearer.clone());
                Ok(bearer)
            }
            Err(refusal @ (Refusal::Malformed(_) | Refusal::BadSignature(_))) => {
                let known = self.memory().bearer(&folded).cloned();
                known.filter(|bearer| bearer.expires_at.is_none_or(|ends| now < ends)).ok_or(refusal)
            }
            refused => refused,
        }
    }
}
