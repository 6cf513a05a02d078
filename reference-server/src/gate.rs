//! The gate: is this token believed, and what may its bearer do?
//!
//! A pure decision over bytes, a policy and the time it is given. It opens no socket and reads no clock.

use std::sync::Arc;

use crate::fault::Fault;

/// What the gate holds a token to.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The HMAC secret, byte for byte.
    pub secret: Vec<u8>,
    /// The JWS `alg` that is allowed (RFC 8725 §3.1): HS256, HS384 or HS512.
    pub algorithm: jsonwebtoken::Algorithm,
    /// Seconds after `exp` (and before `nbf`) at which a token still passes.
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
    /// A believed bearer whose role is not let in.
    RoleNotAllowed(String),
    /// The gate itself failed (only a fault does this).
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
    pub claims: Arc<serde_json::Map<String, serde_json::Value>>,
    /// Seconds since 1970 at which the token ends, if it does.
    pub expires_at: Option<f64>,
}

/// A policy with its keys made ready.
#[derive(Debug)]
pub struct Gate {
    policy: Policy,
    fault: Option<Fault>,
}

impl Gate {
    /// Makes the keys ready.
    pub fn new(policy: Policy, fault: Option<Fault>) -> Self {
        Self { policy, fault }
    }

    /// Verifies `token` at `now` (seconds since 1970) and says who bears it.
    pub fn admit(&self, token: &[u8], now: f64) -> Result<Bearer, Refusal> {
        let _ = (token, now, self.fault, &self.policy);
        Err(Refusal::Malformed("not built yet"))
    }
}
