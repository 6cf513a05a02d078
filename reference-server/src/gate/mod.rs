//! The gate: is this token believed, and what may its bearer do?
//!
//! A decision over bytes, a policy and the time it is given. It opens no socket, reads no clock and remembers
//! nothing but, where a token is good for one use, which were used; and some faults are of memory. It takes one form
//! only, the compact JWS of RFC 7519 §7.2, under keys that are each for one algorithm; nested, encrypted and unsecured
//! tokens are refused, and of what a header says about keys nothing is read but `kid`, which only chooses among the
//! trusted ones. How a refusal is told to the client is the dialect's business.
//!
//! Where a fault breaks the gate, the right path asks `wrong`, by a function whose name says what is asked
//! (`..._otherwise`, `dislikes_...`, `overlooks_...`, `..._anyway`). Without a fault the answer is always no.

use std::collections::HashSet;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock};

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde_json::Value;

use crate::fault::Fault;

mod claims;
mod header;
mod json;
mod jws;
mod keys;
mod lenient;
mod loose;
mod memory;
mod misled;
mod spelled;
#[cfg(test)]
mod tests;
mod used;
mod wrong;

pub use keys::TrustedKey;

use header::{Header, Usual};
use json::{Members, Object};
use jws::Compact;
use keys::Key;
use memory::Memory;
pub(crate) use misled::{exponentiation, shell};
use used::Used;
pub(crate) use wrong::STACK_OVERFLOW;

/// The largest leeway a policy can ask for, in seconds. RFC 7519 §4.1.4 speaks of "no more than a few minutes";
/// an hour is generous, and more would turn `exp` off.
pub const MAX_LEEWAY_S: u64 = 3600;

/// The longest signature for which there is room on the stack, in bytes: that of an RSA key of 4096 bits.
const SIGNATURE_BYTES: usize = 512;

/// What the gate holds a token to.
#[derive(Clone)]
pub struct Policy {
    /// The HMAC secret, byte for byte. An empty one opens nothing.
    pub secret: Vec<u8>,
    /// The JWS `alg` that the secret is for (RFC 8725 §3.1): HS256, HS384 or HS512. With any other it opens nothing.
    pub algorithm: Algorithm,
    /// The name of the secret in a header.
    pub kid: Option<String>,
    /// Public keys that are trusted as well. One that cannot be read opens nothing.
    pub keys: Vec<TrustedKey>,
    /// Secrets that were used before. They open nothing; the log tells when one is still in use.
    pub retired_secrets: Vec<Vec<u8>>,
    /// Seconds after `exp` (and before `nbf`) at which a token still passes; at most [`MAX_LEEWAY_S`] count.
    pub leeway_s: u64,
    /// Refuse a token without `exp`.
    pub require_exp: bool,
    /// The claims that name the bearer, in order of precedence.
    pub identity_claims: Vec<String>,
    /// Used when no identity claim is present; `None` refuses such a token.
    pub identity_fallback: Option<String>,
    /// The roles that are let in; `None` asks for no role.
    pub roles: Option<RolePolicy>,
    /// A longer token is refused before it is looked at, in bytes.
    pub max_token_bytes: usize,
    /// A value `aud` must be or contain, exactly (RFC 7519 §4.1.3). `None` does not look at `aud`.
    pub audience: Option<String>,
    /// The value `iss` must have, exactly (RFC 7519 §4.1.1). `None` does not look at `iss`.
    pub issuer: Option<String>,
    /// The media type the header's `typ` must name, such as `at+jwt` (RFC 8725 §3.11). `None` does not look at
    /// `typ`.
    pub typ: Option<String>,
    /// Claims without which a token is refused, whatever they say.
    pub required_claims: Vec<String>,
    /// The greatest age of a token since its `iat`, in seconds; a token without `iat` is then refused.
    pub max_token_age_s: Option<u64>,
    /// The greatest distance from `iat`, or else from now, to `exp`, in seconds.
    pub max_token_lifetime_s: Option<u64>,
    /// A scope that must be granted, as a word of the claim `scope` (RFC 8693 §4.2).
    pub required_scope: Option<String>,
    /// Claims that make a token a refresh token, which opens no socket.
    pub refresh_marker: serde_json::Map<String, Value>,
    /// A token of the same `jti` passes once (RFC 7519 §4.1.7); one without `jti` or without `exp` never.
    pub single_use: bool,
    /// The only bearers there are; `None` asks nobody.
    pub directory: Option<HashSet<String>>,
}

impl Default for Policy {
    /// HS256, no leeway, `exp` required, `sub` names the bearer. The secret is empty, so nobody is let in until
    /// there is one.
    fn default() -> Self {
        Self {
            secret: Vec::new(),
            algorithm: Algorithm::HS256,
            kid: None,
            keys: Vec::new(),
            retired_secrets: Vec::new(),
            leeway_s: 0,
            require_exp: true,
            identity_claims: vec!["sub".to_owned()],
            identity_fallback: None,
            roles: None,
            max_token_bytes: 8192,
            audience: None,
            issuer: None,
            typ: None,
            required_claims: Vec::new(),
            max_token_age_s: None,
            max_token_lifetime_s: None,
            required_scope: None,
            refresh_marker: serde_json::Map::new(),
            single_use: false,
            directory: None,
        }
    }
}

impl fmt::Debug for Policy {
    /// Everything but the secrets, which have no business in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("algorithm", &self.algorithm)
            .field("keys", &self.keys)
            .field("leeway_s", &self.leeway_s)
            .field("require_exp", &self.require_exp)
            .field("identity_claims", &self.identity_claims)
            .field("identity_fallback", &self.identity_fallback)
            .field("roles", &self.roles)
            .field("max_token_bytes", &self.max_token_bytes)
            .field("audience", &self.audience)
            .field("issuer", &self.issuer)
            .field("typ", &self.typ)
            .field("required_claims", &self.required_claims)
            .field("max_token_age_s", &self.max_token_age_s)
            .field("max_token_lifetime_s", &self.max_token_lifetime_s)
            .field("required_scope", &self.required_scope)
            .field("single_use", &self.single_use)
            .finish_non_exhaustive()
    }
}

/// Which role opens the gate.
#[derive(Debug, Clone)]
pub struct RolePolicy {
    /// The claim that carries it.
    pub claim: String,
    /// Whether the claim holds a list, of which one must be let in.
    pub list: bool,
    /// The only values let in, compared exactly.
    pub allowed: Vec<String>,
    /// The role of a token that names none.
    pub default: String,
    /// Roles that exist and are not let in. A right gate has no use for them: what is not allowed is refused.
    pub denied: Vec<String>,
}

impl RolePolicy {
    /// Lets these roles in.
    pub fn new(claim: &str, allowed: &[&str], default: &str) -> Self {
        let allowed = allowed.iter().map(|role| (*role).to_owned()).collect();
        Self {
            claim: claim.to_owned(),
            list: false,
            allowed,
            default: default.to_owned(),
            denied: vec![default.to_owned()],
        }
    }

    /// Knows these roles too.
    #[must_use]
    pub fn and_denied(mut self, denied: &[&str]) -> Self {
        self.denied.extend(denied.iter().map(|role| (*role).to_owned()));
        self
    }
}

/// Why a token is refused. What the client is told of it is the dialect's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No token at all, or an empty one.
    Missing,
    /// Not a compact JWS the policy can read (RFC 7515 §5.2, RFC 7519 §7.2); the text says why, for the log.
    Malformed(&'static str),
    /// The signature does not cover these bytes under our key, or `alg` is not the allowed one.
    BadSignature(&'static str),
    /// `exp` has passed (RFC 7519 §4.1.4).
    Expired,
    /// A claim is missing or of the wrong kind; the text says which, for the log.
    BadClaims(&'static str),
    /// A believed bearer whose role is not let in: the role itself, or the start of what stood in its place.
    RoleNotAllowed(String),
    /// The gate itself failed (only a fault, or a time that is not a number, does this).
    Internal(&'static str),
}

/// Who was let in.
#[derive(Debug, Clone)]
pub struct Bearer {
    /// The identity named by the token.
    pub identity: String,
    /// The role, where the policy asks for one.
    pub role: Option<String>,
    /// The verified claims.
    pub claims: Claims,
    /// Seconds since 1970 from which this token no longer passes, leeway included, if that ever happens.
    pub expires_at: Option<f64>,
}

/// The claims of a bearer, as a JSON object.
///
/// The gate has looked at those it needs, and most servers ask for no other: the whole object is made when somebody asks
/// for it first.
#[derive(Clone)]
pub struct Claims(Arc<Unread>);

struct Unread {
    /// One strict object, or nothing where the object was made another way.
    json: Vec<u8>,
    object: OnceLock<Object>,
}

impl Claims {
    /// `json` was read as one strict object before.
    fn unread(json: Vec<u8>) -> Self {
        Self(Arc::new(Unread { json, object: OnceLock::new() }))
    }
}

impl Deref for Claims {
    type Target = serde_json::Map<String, Value>;

    fn deref(&self) -> &Self::Target {
        self.0.object.get_or_init(|| json::object(&self.0.json).unwrap_or_default())
    }
}

impl From<serde_json::Map<String, Value>> for Claims {
    fn from(object: serde_json::Map<String, Value>) -> Self {
        Self(Arc::new(Unread { json: Vec::new(), object: OnceLock::from(object) }))
    }
}

impl PartialEq for Claims {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// What else the request said. A right gate does not listen to it.
#[derive(Debug, Clone, Default)]
pub struct RequestHints {
    /// A role named by the request itself: a query parameter, a header or a cookie.
    pub role: Option<String>,
    /// The token came by another carrier than the endpoint's first one.
    pub second_carrier: bool,
    /// Keys found where the token itself points.
    pub fetched: Vec<DecodingKey>,
}

/// A policy with its keys made ready.
#[derive(Debug)]
pub struct Gate {
    policy: Policy,
    fault: Option<Fault>,
    /// Those of the policy that can be trusted, the secret first.
    keys: Vec<Key>,
    /// The headers that need not be read again.
    usual: Vec<Usual>,
    /// What our own tokens say: the algorithm of the first key.
    algorithm_name: String,
    /// The tokens that were used, where each is good for one use.
    used: Mutex<Used>,
    /// Touched by stateful faults only.
    memory: Mutex<Memory>,
}

/// Which segment of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Header,
    Payload,
    Signature,
}

/// How the signature is to be checked.
#[derive(Debug, Clone, Copy)]
enum Check {
    /// As a signature of this algorithm.
    As(Algorithm),
    /// Not at all. Only a fault says so.
    Nothing,
}

/// A token whose signature held.
#[derive(Debug)]
struct Believed<'t> {
    header: &'t Object,
    /// The JSON of the claims, as received.
    payload: &'t [u8],
    claims: Members<'t>,
    /// The issuer that the key it was signed with vouches for, where that is not the policy's own.
    issuer: Option<&'t str>,
}

/// What was found of a token that is let in.
#[derive(Debug)]
struct Admission {
    identity: String,
    role: Option<String>,
    expires_at: Option<f64>,
}

impl Admission {
    fn with(self, claims: Claims) -> Bearer {
        let Self { identity, role, expires_at } = self;
        Bearer { identity, role, claims, expires_at }
    }
}

impl Gate {
    /// Makes the keys ready.
    pub fn new(policy: Policy, fault: Option<Fault>) -> Self {
        // The gate names its provider; but what else signs in this process asks for the default, and panics if
        // another crate has turned on the second backend and nobody has chosen. Already chosen is fine.
        let _ = DEFAULT_PROVIDER.install_default();
        let keys = Key::of(&policy);
        let mut gate = Self {
            algorithm_name: algorithm_name(keys.first().map_or(policy.algorithm, |key| key.algorithm)),
            keys,
            usual: Vec::new(),
            used: Mutex::default(),
            policy,
            fault,
            memory: Mutex::default(),
        };
        gate.usual = gate.usual();
        gate
    }

    /// Verifies `token` at `now` (seconds since 1970) and says who bears it.
    pub fn admit(&self, token: &[u8], now: f64) -> Result<Bearer, Refusal> {
        self.admit_with(token, now, &RequestHints::default())
    }

    /// As [`Gate::admit`], for a request that says more than its token.
    pub fn admit_with(&self, token: &[u8], now: f64, hints: &RequestHints) -> Result<Bearer, Refusal> {
        if !now.is_finite() {
            return Err(Refusal::Internal("the time is not a number"));
        }
        if token.is_empty() {
            return Err(Refusal::Missing);
        }
        if token.len() > self.policy.max_token_bytes {
            return Err(Refusal::Malformed("longer than the limit"));
        }
        let decision = self.decide(token, now, hints);
        self.afterthought(token, now, decision)
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Shape, header, signature, claims: each is looked at only when the one before was right.
    fn decide(&self, token: &[u8], now: f64, hints: &RequestHints) -> Result<Bearer, Refusal> {
        if let Some(decision) = self.rash_decision(token, now, hints) {
            return decision;
        }
        let token = self.respelled(token);
        let compact = self.split(&token)?;
        let read;
        let header = match self.usual_header(compact.header) {
            Some(usual) => usual,
            None => {
                read = self.read_header(compact.header)?;
                &read
            }
        };
        if let Some(refusal) = self.premature_refusal(&compact, header, now, hints) {
            return Err(refusal);
        }
        let issuer = self.check_signature(&compact, header, hints)?;
        let payload = self.payload(&compact, &header.members)?;
        if self.needs_no_claims(&payload) {
            return Ok(self.anonymous());
        }
        let claims = self.claims(&header.members, &payload)?;
        let believed = Believed { header: &header.members, payload: &payload, claims, issuer };
        let admission = self.judge(&believed, now, hints)?;
        // What a fault has read may not be what is written.
        let claims = match self.fault {
            Some(_) => believed.claims.into_object().into(),
            None => Claims::unread(payload),
        };
        Ok(admission.with(claims))
    }

    fn split<'t>(&self, token: &'t [u8]) -> Result<Compact<'t>, Refusal> {
        self.split_otherwise(token).unwrap_or_else(|| jws::split(token)).map_err(Refusal::Malformed)
    }

    fn decode(&self, segment: &[u8], part: Part) -> Result<Vec<u8>, Refusal> {
        jws::decode(&self.respelled_segment(segment, part)).map_err(Refusal::Malformed)
    }

    /// RFC 8725 §3.1: the algorithms are ours to choose, not the token's. Names are case-sensitive (RFC 7515 §4.1.1).
    fn check(&self, header: &Header) -> Result<Check, Refusal> {
        let named = match header.members.get("alg") {
            Some(Value::String(alg)) => self.keys.iter().find(|key| key.name == *alg),
            _ => None,
        };
        match named {
            Some(key) => Ok(Check::As(key.algorithm)),
            None => self.check_anyway(header).ok_or(Refusal::BadSignature("alg is not the allowed one")),
        }
    }

    /// The keys that a signature of this algorithm may be by: the one that `kid` names, or else all that are for this
    /// algorithm. A `kid` that names none of them is a hint that leads nowhere (RFC 7515 §4.1.4).
    fn candidates(&self, algorithm: Algorithm, header: &Header) -> impl Iterator<Item = &Key> + Clone {
        let fits = move |key: &&Key| key.algorithm == algorithm || self.lends(key, algorithm);
        let kid = header.members.get("kid").and_then(Value::as_str);
        let named = kid.and_then(|kid| self.keys.iter().filter(fits).find(|key| key.kid.as_deref() == Some(kid)));
        self.keys.iter().filter(move |key| named.map_or_else(|| fits(key), |named| std::ptr::eq(*key, named)))
    }

    /// Refuses a signature that does not cover the text as received (RFC 7515 §5.2, step 8), and tells for which issuer
    /// the key vouches that made it.
    fn check_signature(
        &self,
        compact: &Compact<'_>,
        header: &Header,
        hints: &RequestHints,
    ) -> Result<Option<&str>, Refusal> {
        if self.believes_fetched(compact, header, hints) || self.believes_embedded(compact, header) {
            return Ok(None);
        }
        if let Some(refusal) = self.chokes_on_kid(header) {
            return Err(refusal);
        }
        if self.needs_no_signature(compact, header) {
            return Ok(None);
        }
        let Check::As(algorithm) = self.check(header)? else {
            return Ok(None);
        };
        let keys = self.candidates(algorithm, header);
        let segment = self.respelled_segment(compact.signature.unwrap_or_default(), Part::Signature);
        let mut space = [0; SIGNATURE_BYTES];
        let signature = jws::decode_within(&segment, &mut space).map_err(Refusal::Malformed)?;
        if self.disbelieved_before(compact) {
            return Err(Refusal::BadSignature("the signature did not match before"));
        }
        if let Some(key) = keys.clone().find(|key| key.verifies(algorithm, compact.signed, &signature)) {
            self.remember_match(compact, &signature);
            return Ok(key.issuer.as_deref());
        }
        if self.believes_anyway(compact, &signature)
            || self.believes_kid(compact, header, &signature)
            || self.believes_key_anyway(keys, compact, &signature)
        {
            return Ok(None);
        }
        self.remember_mismatch(compact);
        if self.is_retired(compact, &signature) {
            return Err(Refusal::BadSignature("it is signed with a retired secret"));
        }
        Err(Refusal::BadSignature("the signature does not match"))
    }

    /// Whether a secret made this MAC that is no longer trusted.
    fn is_retired(&self, compact: &Compact<'_>, signature: &[u8]) -> bool {
        !signature.is_empty()
            && self
                .policy
                .retired_secrets
                .iter()
                .any(|secret| hmac(secret, self.policy.algorithm, compact.signed) == signature)
    }

    fn payload(&self, compact: &Compact<'_>, header: &Object) -> Result<Vec<u8>, Refusal> {
        match self.payload_otherwise(compact, header) {
            Some(payload) => Ok(payload),
            None => self.decode(&compact.payload, Part::Payload),
        }
    }

    fn claims<'p>(&self, header: &Object, payload: &'p [u8]) -> Result<Members<'p>, Refusal> {
        if let Some(refusal) = self.dislikes_payload(payload) {
            return Err(refusal);
        }
        self.claims_otherwise(header, payload)
            .or_else(|| self.object_otherwise(payload))
            .map(|read| read.map(Members::from))
            .unwrap_or_else(|| json::members(payload))
            .map_err(Refusal::Malformed)
    }
}

/// The strict reader alone, for the fuzzer.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn strict_object(bytes: &[u8]) -> Option<Object> {
    json::object(bytes).ok()
}

/// The names of the variants are the names of RFC 7518 §3.1.
fn algorithm_name(algorithm: Algorithm) -> String {
    format!("{algorithm:?}")
}

/// The MAC of `signed`, empty where the algorithm makes none.
fn hmac(secret: &[u8], algorithm: Algorithm, signed: &[u8]) -> Vec<u8> {
    let key = EncodingKey::from_secret(secret);
    (DEFAULT_PROVIDER.signer_factory)(&algorithm, &key)
        .ok()
        .and_then(|signer| signer.try_sign(signed).ok())
        .unwrap_or_default()
}
