//! What a target promises about tokens, as far as a verdict depends on it. Data only: the oracle decides. Every
//! field that is not declared leaves the freedom that the standards leave.

use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::keyring::Keyring;
use super::verify::VerifyKey;

/// The rules by which a token is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// The keys that the target trusts.
    pub keys: Vec<VerifyKey>,
    /// The algorithm of its valid tokens.
    pub algorithm: Algorithm,
    /// The algorithms that it promises to take and no others.
    pub algorithms: Option<Vec<Algorithm>>,
    /// Its promised leeway in seconds; undeclared, up to 300 s are allowed (RFC 7519 §4.1.4).
    pub leeway: Option<f64>,
    /// Whether a token needs `exp`.
    pub require_exp: Option<bool>,
    /// The greatest age since `iat`, in seconds.
    pub max_token_age: Option<f64>,
    /// The greatest distance from `iat`, or else from now, to `exp`, in seconds.
    pub max_token_lifetime: Option<f64>,
    /// The audience that must be named.
    pub audience: Option<String>,
    /// The issuer that must be named.
    pub issuer: Option<String>,
    /// What the target promises about `typ`.
    pub typ: TypRule,
    /// Claims that must be present, whatever their value.
    pub required_claims: Vec<String>,
    /// Who the user is.
    pub identity: IdentityRule,
    /// What the user may be.
    pub roles: Option<RoleRule>,
    /// A scope that must be granted, as a word of the claim `scope` (RFC 9068 §2.2.3).
    pub required_scope: Option<String>,
    /// Claims that together make a token a refresh token, which is refused; empty when undeclared.
    pub refresh_marker: Map<String, Value>,
    /// Whether a token needs a `jti`, because it is good for one use.
    pub single_use: bool,
    /// The bearer who is known, where the target takes known ones only. There may be others.
    pub known_bearer: Option<String>,
}

/// What a target promises about `typ`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TypRule {
    /// Nothing: `typ` is ignored.
    #[default]
    Ignored,
    /// RFC 9068: `at+jwt`, and the claims of its §2.2.
    Rfc9068,
    /// This media type.
    Exactly(String),
}

/// Which claim identifies the user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdentityRule {
    /// The claims, in the order in which the target looks for them: the first that is present counts. Empty
    /// when undeclared.
    pub claims: Vec<String>,
    /// Whether the target promises to refuse a token without one.
    pub required: bool,
}

/// Which roles are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRule {
    /// The claim that holds the role, or a JSON Pointer to it.
    pub claim: String,
    /// Whether it holds a list, of which one role must be served.
    pub list: bool,
    /// The roles that are served.
    pub allowed: Vec<String>,
    /// The role of a token without the claim.
    pub default: Option<String>,
}

impl Rules {
    /// The rules of a target about which nothing is known but its keys and its algorithm.
    #[must_use]
    pub fn new(keys: &Keyring, algorithm: Algorithm) -> Self {
        Self {
            keys: VerifyKey::of_keyring(keys),
            algorithm,
            algorithms: None,
            leeway: None,
            require_exp: None,
            max_token_age: None,
            max_token_lifetime: None,
            audience: None,
            issuer: None,
            typ: TypRule::Ignored,
            required_claims: Vec::new(),
            identity: IdentityRule::default(),
            roles: None,
            required_scope: None,
            refresh_marker: Map::new(),
            single_use: false,
            known_bearer: None,
        }
    }
}
