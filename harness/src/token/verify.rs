//! The part of the oracle that RFC 7515 §5.2 describes: from the bytes of a compact JWS to the bytes of its
//! payload, or the reasons why not. It judges the signature over the text exactly as received and knows nothing
//! of claims. It shares only key parsing with the forge.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::algorithm::{Algorithm, KeyKind};
use super::base64url;
use super::json::{self, FaultKind, Json, Object};
use super::keyring::{Keyring, hmac_algorithm};
use super::keys::{KeyError, PublicKey};
use super::oracle::{Answer, Findings};
use super::signature::is_high_s;
use crate::secret::SecretBytes;

/// A key that signatures are checked with.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyKey {
    /// Its name, when the target's key set gives it one.
    pub kid: Option<String>,
    /// The only `iss` it vouches for (RFC 8725 §3.8); none for a key of the target's own issuer.
    pub issuer: Option<String>,
    /// The algorithms that it may be used with; empty for a key that is not for signatures.
    pub algorithms: Vec<Algorithm>,
    material: Material,
}

#[derive(Clone, PartialEq, Eq)]
enum Material {
    Secret(SecretBytes),
    Public(PublicKey),
}

impl fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyKey({}, kid {:?})", self.kind().noun(), self.kid)
    }
}

/// The algorithms that fit this kind of key.
fn fitting(kind: KeyKind) -> Vec<Algorithm> {
    Algorithm::ALL.into_iter().filter(|algorithm| algorithm.key_kind() == kind).collect()
}

impl VerifyKey {
    /// A shared secret.
    #[must_use]
    pub fn secret(secret: SecretBytes) -> Self {
        Self { kid: None, issuer: None, algorithms: fitting(KeyKind::Secret), material: Material::Secret(secret) }
    }

    /// A public key.
    #[must_use]
    pub fn public(key: PublicKey) -> Self {
        Self { kid: None, issuer: None, algorithms: fitting(key.kind()), material: Material::Public(key) }
    }

    /// A key from a JWK. `alg`, `use` and `key_ops` bind it (RFC 7517 §4.2 to §4.4): a key for encryption
    /// verifies nothing.
    ///
    /// # Errors
    ///
    /// When the JWK cannot be read.
    pub fn from_jwk(jwk: &Value) -> Result<Self, KeyError> {
        let mut key = if jwk["kty"] == "oct" {
            let text = jwk["k"].as_str().unwrap_or_default();
            let bytes = URL_SAFE_NO_PAD.decode(text);
            Self::secret(SecretBytes::new(bytes.map_err(|_| KeyError::new("the JWK has no readable member `k`"))?))
        } else {
            Self::public(PublicKey::from_jwk(jwk)?)
        };
        key.kid = jwk["kid"].as_str().map(str::to_owned);
        if let Some(algorithm) = jwk["alg"].as_str().and_then(Algorithm::from_name) {
            key.algorithms.retain(|own| *own == algorithm);
        }
        let for_signing = jwk["use"].as_str().is_none_or(|kind| kind == "sig")
            && jwk["key_ops"].as_array().is_none_or(|kinds| kinds.iter().any(|kind| kind == "verify"));
        if !for_signing {
            key.algorithms.clear();
        }
        Ok(key)
    }

    /// The keys with which a correct target verifies: its secret and its public keys.
    #[must_use]
    pub fn of_keyring(keys: &Keyring) -> Vec<Self> {
        let secret = keys.secret().cloned().map(Self::secret);
        secret.into_iter().chain(keys.public_keys().iter().cloned().map(Self::public)).collect()
    }

    /// Whether both hold the same key, whatever they are for.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.material == other.material
    }

    pub(crate) fn kind(&self) -> KeyKind {
        match &self.material {
            Material::Secret(_) => KeyKind::Secret,
            Material::Public(key) => key.kind(),
        }
    }

    fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        if !self.algorithms.contains(&algorithm) || algorithm.key_kind() != self.kind() {
            return false;
        }
        match &self.material {
            Material::Secret(secret) => {
                let key = hmac::Key::new(hmac_algorithm(algorithm), secret.expose());
                hmac::verify(&key, signed, signature).is_ok()
            }
            Material::Public(key) => {
                let method: &'static dyn VerificationAlgorithm = match algorithm {
                    Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
                    Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
                    Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
                    Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
                    Algorithm::ES384 => &ECDSA_P384_SHA384_FIXED,
                    Algorithm::ES512 => &ECDSA_P521_SHA512_FIXED,
                    Algorithm::EdDSA => &ED25519,
                    Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => return false,
                };
                let bytes = match key {
                    PublicKey::Rsa { .. } => key.spki_der(),
                    PublicKey::Ec { point, .. } => point.clone(),
                    PublicKey::Ed25519(bytes) => bytes.clone(),
                };
                UnparsedPublicKey::new(method, bytes).verify(signed, signature).is_ok()
            }
        }
    }
}

/// Which algorithms a target takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Acceptable<'a> {
    /// Whatever its keys are for.
    OfKeys,
    /// Exactly these.
    Declared(&'a [Algorithm]),
    /// This one; others that the same key can verify should be refused but need not be (RFC 8725 §3.1).
    Natural(Algorithm),
}

/// A JWS whose signature has been judged.
pub(crate) struct Verified {
    pub(crate) header: Object,
    pub(crate) payload: Vec<u8>,
    /// The issuers of the keys that verify it; none stands for the target's own. Empty where no key does.
    pub(crate) issuers: Vec<Option<String>>,
}

/// A compact JWS whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jws {
    /// The payload, decoded.
    pub payload: Vec<u8>,
    /// Why a verifier may refuse it all the same, as `source: sentence`; empty when it must accept.
    pub doubts: Vec<String>,
}

/// Verifies a compact JWS, whatever its payload is.
///
/// # Errors
///
/// The reasons for which RFC 7515 demands that it is refused, as `source: sentence`.
pub fn verify_jws(text: &[u8], keys: &[VerifyKey]) -> Result<Jws, Vec<String>> {
    let mut findings = Findings::default();
    let verified = judge_jws(text, keys, Acceptable::OfKeys, &mut findings);
    let reasons = || findings.reasons.iter().map(ToString::to_string).collect();
    match verified {
        Some(verified) if findings.answer() != Answer::Refuse => {
            Ok(Jws { payload: verified.payload, doubts: reasons() })
        }
        _ => Err(reasons()),
    }
}

/// Header names that RFC 7515 §4.1 itself defines. §4.1.11 forbids to list them in `crit`, and a recipient may
/// refuse that.
const REGISTERED: [&str; 11] = ["alg", "jku", "jwk", "kid", "x5u", "x5c", "x5t", "x5t#S256", "typ", "cty", "crit"];

/// None when nothing is left to judge; the findings then say why.
pub(crate) fn judge_jws(
    text: &[u8],
    keys: &[VerifyKey],
    acceptable: Acceptable<'_>,
    findings: &mut Findings,
) -> Option<Verified> {
    if let Some(byte) = text.iter().find(|byte| !(byte.is_ascii_alphanumeric() || b"_.-".contains(byte))) {
        findings.refuse("J02", format!("the token contains the byte {byte:#04x}, which no compact JWS contains"));
        return None;
    }
    let segments: Vec<&[u8]> = text.split(|byte| *byte == b'.').collect();
    let &[header_text, payload_text, signature_text] = &segments[..] else {
        let source = if segments.len() == 5 { "R21" } else { "J01" };
        findings.refuse(source, format!("the token has {} parts instead of three", segments.len()));
        return None;
    };
    let header_bytes = segment("header", header_text, findings);
    let payload = segment("payload", payload_text, findings);
    let signature = segment("signature", signature_text, findings);
    let (header_bytes, payload, signature) = (header_bytes?, payload?, signature?);

    // What is signed is the text as received (RFC 7515 §5.2 step 8).
    let signed = &text[..header_text.len() + 1 + payload_text.len()];
    let header = match object("header", "J04", &header_bytes, findings) {
        Parsed::Object(header) => header,
        Parsed::Refused => return None,
        Parsed::TooDeep => {
            // The algorithm is unknown, but a signature that verifies under none is wrong under all.
            let any = |key: &VerifyKey| key.algorithms.iter().any(|own| key.verifies(*own, signed, &signature));
            if !keys.iter().any(any) {
                findings.refuse("J08", "the signature verifies under no algorithm".into());
            }
            return None;
        }
    };
    judge_crit(&header, findings);
    judge_other_members(&header, findings);

    let algorithm = match header.get("alg") {
        Some(Json::Text(name)) => match Algorithm::from_name(name) {
            Some(algorithm) => algorithm,
            // The fully specified name of RFC 9864 for what RFC 8037 calls EdDSA.
            None if name == "Ed25519" => {
                findings.either("A08", "alg is the fully specified name Ed25519".into());
                Algorithm::EdDSA
            }
            None => {
                findings.refuse("J07", format!("alg {name:?} is no supported algorithm"));
                return Some(Verified { header, payload, issuers: Vec::new() });
            }
        },
        Some(_) => {
            findings.refuse("J07", "alg is not a string".into());
            return Some(Verified { header, payload, issuers: Vec::new() });
        }
        None => {
            findings.refuse("J07", "alg is missing".into());
            return Some(Verified { header, payload, issuers: Vec::new() });
        }
    };
    match acceptable {
        Acceptable::OfKeys => {}
        Acceptable::Declared(allowed) if allowed.contains(&algorithm) => {}
        Acceptable::Declared(_) => {
            findings.refuse("B01", format!("{} is not among the declared algorithms", algorithm.name()));
        }
        Acceptable::Natural(own) if own == algorithm => {}
        // The algorithm of a further issuer's key is as natural.
        Acceptable::Natural(_)
            if keys.iter().any(|key| key.issuer.is_some() && key.algorithms.contains(&algorithm)) => {}
        Acceptable::Natural(own) => findings.should_refuse(
            "J09",
            format!("{} is not the target's algorithm {}, though its key fits", algorithm.name(), own.name()),
        ),
    }
    let fitting: Vec<&VerifyKey> = keys.iter().filter(|key| key.verifies(algorithm, signed, &signature)).collect();
    if fitting.is_empty() {
        let source = if keys.iter().any(|key| key.algorithms.contains(&algorithm)) { "J08" } else { "J07" };
        findings.refuse(source, format!("the signature does not verify as {} under any trusted key", algorithm.name()));
    } else {
        judge_kid(&header, algorithm, keys, &fitting, findings);
        if is_ecdsa(algorithm) && is_high_s(algorithm.key_kind(), &signature) {
            findings.either("O09", "the ECDSA signature is the one with the greater s".into());
        }
    }
    let issuers = fitting.iter().map(|key| key.issuer.clone()).collect();
    Some(Verified { header, payload, issuers })
}

fn is_ecdsa(algorithm: Algorithm) -> bool {
    matches!(algorithm.key_kind(), KeyKind::P256 | KeyKind::P384 | KeyKind::P521)
}

fn segment(name: &str, text: &[u8], findings: &mut Findings) -> Option<Vec<u8>> {
    match base64url::read(text) {
        Ok(decoded) => {
            if decoded.stray_bits {
                findings.either("E02", format!("the last character of the {name} carries bits of no byte"));
            }
            Some(decoded.bytes)
        }
        Err(base64url::Fault::Length) => {
            findings.refuse("J03", format!("the {name} has a length that no bytes encode to"));
            None
        }
        Err(base64url::Fault::Character(byte)) => {
            findings.refuse("J02", format!("the {name} contains the byte {byte:#04x}"));
            None
        }
    }
}

/// What became of bytes that must be one JSON object.
pub(crate) enum Parsed {
    Object(Object),
    Refused,
    /// Nested deeper than every parser must read: nothing more is known.
    TooDeep,
}

pub(crate) fn object(name: &str, source: &'static str, bytes: &[u8], findings: &mut Findings) -> Parsed {
    let bytes = match bytes.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => {
            findings.either("E03", format!("the {name} begins with a byte order mark"));
            rest
        }
        None => bytes,
    };
    match json::read(bytes) {
        Ok(document) => {
            if let Some((member, position)) = &document.duplicate {
                let source = if name == "header" { "J05" } else { "T03" };
                findings.either(source, format!("the {name} names {member:?} again at byte {position}"));
            }
            if let Some(position) = document.lone_surrogate {
                findings.either("E05", format!("the {name} escapes half a surrogate pair at byte {position}"));
            }
            if document.value.is_out_of_range() {
                findings.either("E04", format!("the {name} holds a number that no double holds"));
            }
            match document.value {
                Json::Object(object) => Parsed::Object(object),
                _ => {
                    findings.refuse(source, format!("the {name} is JSON but no object"));
                    Parsed::Refused
                }
            }
        }
        Err(fault) => {
            let position = fault.position;
            match fault.kind {
                FaultKind::TooDeep => {
                    findings.either("E04", format!("the {name} is nested deeper than a parser must read"));
                    return Parsed::TooDeep;
                }
                FaultKind::NotUtf8 => findings.refuse(source, format!("the {name} is not UTF-8 at byte {position}")),
                FaultKind::Syntax => findings.refuse(source, format!("the {name} is not JSON at byte {position}")),
                FaultKind::Trailing => {
                    findings.refuse("J17", format!("the {name} goes on behind its JSON at byte {position}"));
                }
            }
            Parsed::Refused
        }
    }
}

fn judge_crit(header: &Object, findings: &mut Findings) {
    match header.get("crit") {
        Some(Json::Array(names)) => {
            let mut odd = names.is_empty();
            for name in names {
                match name {
                    Json::Text(name) if REGISTERED.contains(&name.as_str()) => odd = true,
                    Json::Text(name) => {
                        let source = if name == "b64" { "B14" } else { "J10" };
                        findings.refuse(source, format!("crit demands {name:?}, which is not understood"));
                    }
                    _ => odd = true,
                }
            }
            if odd {
                findings.either("J10", "crit breaks the rules for what it may list".into());
            }
        }
        Some(_) => findings.either("J10", "crit is no array".into()),
        // Even `true`, which changes nothing: RFC 7797 §6 wants it named by crit, and who has never heard of it ignores it.
        None if header.get("b64").is_some() => findings.either("B14", "b64 is set without crit".into()),
        None => {}
    }
}

/// Members that a verifier may ignore or may refuse, but must not obey.
fn judge_other_members(header: &Object, findings: &mut Findings) {
    for name in ["jwk", "jku", "x5u", "x5c"] {
        if header.get(name).is_some() {
            findings.either("J06", format!("the header offers a key in {name}"));
        }
    }
    if header.get("cty").is_some_and(|cty| !matches!(cty, Json::Text(_))) {
        findings.either("T11", "cty is not a string".into());
    }
    if header.get("enc").is_some() {
        findings.either("B12", "the header has enc, by which some tell encrypted tokens".into());
    }
}

fn judge_kid(
    header: &Object,
    algorithm: Algorithm,
    keys: &[VerifyKey],
    fitting: &[&VerifyKey],
    findings: &mut Findings,
) {
    match header.get("kid") {
        None if keys.iter().any(|key| key.kid.is_some()) => {
            findings.either("J14", "kid is absent, though the target's keys have names".into());
        }
        None if keys.iter().filter(|key| key.algorithms.contains(&algorithm)).count() > 1 => {
            findings.either("J20", "kid is absent, and more than one key fits".into());
        }
        None => {}
        Some(Json::Text(kid)) => {
            let is = |key: &VerifyKey| key.kid.as_deref() == Some(kid);
            if fitting.iter().any(|key| is(key)) {
                return;
            }
            if keys.iter().any(is) {
                findings.either("J14", format!("kid {kid:?} names another key than the one that signed"));
            } else {
                findings.either("J20", format!("kid {kid:?} names no known key"));
            }
        }
        Some(_) => findings.either("J14", "kid is not a string".into()),
    }
}
