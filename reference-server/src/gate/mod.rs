//! The gate: is this token believed, and what may its bearer do?
//!
//! A decision over bytes, a policy and the time it is given. It opens no socket, reads no clock and remembers
//! nothing, except that some faults are of memory. It takes one form only, the compact JWS of RFC 7519 §7.2
//! under one HMAC key and one algorithm; nested, encrypted and unsecured tokens are refused, and what a header
//! says about keys is not read at all. How a refusal is told to the client is the dialect's business.

use std::fmt;
use std::sync::Arc;

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use crate::fault::Fault;

mod claims;
mod json;
mod jws;

use json::Object;
use jws::Compact;

/// The largest leeway a policy can ask for, in seconds. RFC 7519 §4.1.4 speaks of "no more than a few minutes";
/// an hour is generous, and more would turn `exp` off.
pub const MAX_LEEWAY_S: u64 = 3600;

/// What the gate holds a token to.
#[derive(Clone)]
pub struct Policy {
    /// The HMAC secret, byte for byte. An empty one opens nothing.
    pub secret: Vec<u8>,
    /// The JWS `alg` that is allowed (RFC 8725 §3.1): HS256, HS384 or HS512. Any other opens nothing.
    pub algorithm: Algorithm,
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
}

impl Default for Policy {
    /// HS256, no leeway, `exp` required, `sub` names the bearer. The secret is empty, so nobody is let in until
    /// there is one.
    fn default() -> Self {
        Self {
            secret: Vec::new(),
            algorithm: Algorithm::HS256,
            leeway_s: 0,
            require_exp: true,
            identity_claims: vec!["sub".to_owned()],
            identity_fallback: None,
            roles: None,
            max_token_bytes: 8192,
            audience: None,
            issuer: None,
            typ: None,
        }
    }
}

impl fmt::Debug for Policy {
    /// Everything but the secret, which has no business in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("algorithm", &self.algorithm)
            .field("leeway_s", &self.leeway_s)
            .field("require_exp", &self.require_exp)
            .field("identity_claims", &self.identity_claims)
            .field("identity_fallback", &self.identity_fallback)
            .field("roles", &self.roles)
            .field("max_token_bytes", &self.max_token_bytes)
            .field("audience", &self.audience)
            .field("issuer", &self.issuer)
            .field("typ", &self.typ)
            .finish_non_exhaustive()
    }
}

/// Which role opens the gate.
#[derive(Debug, Clone)]
pub struct RolePolicy {
    /// The claim that carries it.
    pub claim: String,
    /// The only values let in, compared exactly.
    pub allowed: Vec<String>,
    /// The role of a token that names none.
    pub default: String,
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
    pub claims: Arc<serde_json::Map<String, Value>>,
    /// Seconds since 1970 from which this token no longer passes, leeway included, if that ever happens.
    pub expires_at: Option<f64>,
}

/// What else the request said. A right gate does not listen to it.
#[derive(Debug, Clone, Default)]
pub struct RequestHints {
    /// A role named by the request itself: a query parameter, a header or a cookie.
    pub role: Option<String>,
    /// The token came by another carrier than the endpoint's first one.
    pub second_carrier: bool,
}

/// A policy with its keys made ready.
#[derive(Debug)]
pub struct Gate {
    policy: Policy,
    fault: Option<Fault>,
    key: DecodingKey,
    algorithm_name: String,
}

impl Gate {
    /// Makes the keys ready.
    pub fn new(policy: Policy, fault: Option<Fault>) -> Self {
        // The gate names its provider; but what else signs in this process asks for the default, and panics if
        // another crate has turned on the second backend and nobody has chosen. Already chosen is fine.
        let _ = DEFAULT_PROVIDER.install_default();
        Self {
            key: DecodingKey::from_secret(&policy.secret),
            // The names of the variants are the names of RFC 7518 §3.1.
            algorithm_name: format!("{:?}", policy.algorithm),
            policy,
            fault,
        }
    }

    /// Verifies `token` at `now` (seconds since 1970) and says who bears it.
    pub fn admit(&self, token: &[u8], now: f64) -> Result<Bearer, Refusal> {
        self.admit_with(token, now, &RequestHints::default())
    }

    /// As [`Gate::admit`], for a request that says more than its token.
    pub fn admit_with(
        &self,
        token: &[u8],
        now: f64,
        hints: &RequestHints,
    ) -> Result<Bearer, Refusal> {
        if !now.is_finite() {
            return Err(Refusal::Internal("the time is not a number"));
        }
        if token.is_empty() {
            return Err(Refusal::Missing);
        }
        if token.len() > self.policy.max_token_bytes {
            return Err(Refusal::Malformed("longer than the limit"));
        }
        let compact = jws::split(token).map_err(Refusal::Malformed)?;
        let header = self.header(&compact)?;
        let _ = (hints, self.fault);
        self.check_signature(&compact)?;
        let payload = jws::decode(&compact.payload).map_err(Refusal::Malformed)?;
        let claims = json::object(&payload).map_err(Refusal::Malformed)?;
        let _ = header;
        self.judge(claims, now)
    }

    /// Reads the header and refuses one this gate may not act on.
    fn header(&self, compact: &Compact<'_>) -> Result<Object, Refusal> {
        let bytes = jws::decode(compact.header).map_err(Refusal::Malformed)?;
        let header = json::object(&bytes).map_err(Refusal::Malformed)?;
        // RFC 7515 §4.1.11: an extension that must be understood and is not, makes the JWS invalid. None is.
        if header.contains_key("crit") {
            return Err(Refusal::Malformed("crit"));
        }
        // RFC 7797 §7 keeps b64 out of JWTs.
        if header.contains_key("b64") {
            return Err(Refusal::Malformed("b64"));
        }
        // RFC 7519 §5.2: the payload is another JWT. This gate takes claims only.
        if matches!(header.get("cty"), Some(Value::String(cty)) if cty.eq_ignore_ascii_case("JWT"))
        {
            return Err(Refusal::Malformed("a nested token"));
        }
        if let Some(wanted) = &self.policy.typ
            && !matches!(header.get("typ"), Some(Value::String(typ)) if is_media_type(typ, wanted))
        {
            return Err(Refusal::Malformed("typ is not the wanted one"));
        }
        // RFC 8725 §3.1: the algorithm is ours to choose. Names are case-sensitive (RFC 7515 §4.1.1).
        if !matches!(header.get("alg"), Some(Value::String(alg)) if *alg == self.algorithm_name) {
            return Err(Refusal::BadSignature("alg is not the allowed one"));
        }
        Ok(header)
    }

    /// Refuses a signature that does not cover the text as received (RFC 7515 §5.2, step 8).
    fn check_signature(&self, compact: &Compact<'_>) -> Result<(), Refusal> {
        let signature =
            jws::decode(compact.signature.unwrap_or_default()).map_err(Refusal::Malformed)?;
        // RFC 8725 §3.5: anyone knows the empty key.
        if self.policy.secret.is_empty() {
            return Err(Refusal::BadSignature("there is no key"));
        }
        if self.matches(compact.signed, &signature) {
            Ok(())
        } else {
            Err(Refusal::BadSignature("the signature does not match"))
        }
    }

    fn matches(&self, signed: &[u8], signature: &Vec<u8>) -> bool {
        (DEFAULT_PROVIDER.verifier_factory)(&self.policy.algorithm, &self.key)
            .is_ok_and(|verifier| verifier.verify(signed, signature).is_ok())
    }
}

/// Whether `typ` names the media type `wanted`, any case, "application/" or not (RFC 7515 §4.1.9).
fn is_media_type(typ: &str, wanted: &str) -> bool {
    const PREFIX: &str = "application/";
    let bare = match typ.get(..PREFIX.len()) {
        Some(prefix) if prefix.eq_ignore_ascii_case(PREFIX) => &typ[PREFIX.len()..],
        _ => typ,
    };
    bare.eq_ignore_ascii_case(wanted)
}
