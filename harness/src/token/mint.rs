//! What the forge is given besides the recipe: the target's template, its keys, the time and the seed. Data
//! only; the harness's own default template stands here too.

use serde_json::{Map, Value, json};

use super::algorithm::Algorithm;
use super::keyring::Keyring;

/// Everything that a token depends on besides its recipe. The same mint and recipe make the same token, except
/// that ECDSA and PSS signatures are random by nature.
#[derive(Debug, Clone, Copy)]
pub struct Mint<'a> {
    /// The claims of the valid token; strings may hold `${...}`. When `audience` or `issuer` is given and the
    /// template names no `aud` or `iss`, the forge adds it.
    pub claims: &'a Map<String, Value>,
    /// The header of the valid token without `alg`, which the forge writes first.
    pub header: &'a Map<String, Value>,
    /// The target's keys.
    pub keys: &'a Keyring,
    /// The algorithm of the valid token.
    pub algorithm: Algorithm,
    /// The target's clock, in seconds since 1970.
    pub now: f64,
    /// What `${user}` means.
    pub user: &'a str,
    /// Makes `${nonce}`, `${jti}` and the wrong secret. Another seed, another token.
    pub seed: u64,
    /// What `${audience}` means.
    pub audience: Option<&'a str>,
    /// What `${issuer}` means.
    pub issuer: Option<&'a str>,
    /// What `${listener}` means: an address of the harness that the target can reach.
    pub listener: Option<&'a str>,
    /// What `${jku_allowed}` means: the address of a key set that the target trusts, without a slash at its end.
    pub jku_allowed: Option<&'a str>,
    /// Numbers that the profile declares.
    pub declared: Declared,
    /// Words that the profile declares.
    pub words: Words<'a>,
    /// Every role that is let in; a role that must be another is never one of these.
    pub allowed_roles: &'a [String],
    /// The claims without which a token may be refused; empty, where the profile does not say.
    pub needed_claims: &'a [String],
    /// The claims that make a token a refresh token.
    pub refresh_marker: Option<&'a Map<String, Value>>,
    /// The further issuers that the target trusts.
    pub other_issuers: &'a [OtherIssuer],
    /// A real token that was given, where the key is not ours to know: it is then the valid one, and the template and the
    /// identity play no part.
    pub given: Option<&'a [u8]>,
}

/// Words that a profile may declare, for `${allowed_role}` and the like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Words<'a> {
    /// The claim that names the bearer first.
    pub identity_claim: Option<&'a str>,
    /// The claim that carries the role.
    pub role_claim: Option<&'a str>,
    /// A role that is let in.
    pub allowed_role: Option<&'a str>,
    /// A role that exists and is refused.
    pub denied_role: Option<&'a str>,
    /// The role of a token that names none.
    pub default_role: Option<&'a str>,
    /// The scope that must be granted.
    pub required_scope: Option<&'a str>,
    /// The `kid` of the key of the valid token.
    pub kid: Option<&'a str>,
    /// The first of the further issuers.
    pub other_issuer: Option<&'a str>,
    /// The `kid` of its key.
    pub other_kid: Option<&'a str>,
    /// An origin whose pages may connect.
    pub allowed_origin: Option<&'a str>,
    /// A word that must not be the secret.
    pub weak_secret: Option<&'a str>,
    /// The fixed token that opens the gate in development only.
    pub test_token: Option<&'a str>,
}

impl<'a> Words<'a> {
    /// The word behind a name that may stand in `${...}`, declared or not; none where the name is no word of a profile.
    pub(crate) fn of(&self, name: &str) -> Option<(&'static str, Option<&'a str>)> {
        let words = [
            ("identity_claim", self.identity_claim),
            ("role_claim", self.role_claim),
            ("allowed_role", self.allowed_role),
            ("denied_role", self.denied_role),
            ("default_role", self.default_role),
            ("required_scope", self.required_scope),
            ("kid", self.kid),
            ("other_issuer", self.other_issuer),
            ("other_kid", self.other_kid),
            ("allowed_origin", self.allowed_origin),
            ("weak_secret", self.weak_secret),
            ("test_token", self.test_token),
        ];
        words.into_iter().find(|(known, _)| *known == name)
    }
}

/// A further issuer that a target trusts, with its key.
#[derive(Debug, Clone)]
pub struct OtherIssuer {
    /// Its `iss`.
    pub issuer: String,
    /// Its key.
    pub keys: Keyring,
    /// The algorithm of its tokens.
    pub algorithm: Algorithm,
    /// The `kid` of its key.
    pub kid: Option<String>,
}

/// Numbers that a profile may declare, for `${now-leeway-2}` and the like. All in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Declared {
    /// How long after `exp` a token is still accepted.
    pub leeway: Option<f64>,
    /// How far the target's clock may be from ours.
    pub skew: f64,
    /// The greatest accepted age since `iat`.
    pub max_token_age: Option<f64>,
    /// The greatest accepted distance from `iat` to `exp`.
    pub max_token_lifetime: Option<f64>,
}

/// The claims of the default template: a superset of what the four dialects ask for, which is legal because
/// unknown claims must be ignored (RFC 7519 §4).
#[must_use]
pub fn default_claims() -> Map<String, Value> {
    let claims = json!({
        "sub": "${user}",
        "user_id": "${user}",
        "username": "${user}",
        "email": "${user}@gatecrash.example",
        "name": "${user}",
        "role": "admin",
        "plan": "free",
        "rate_limits": { "connections": 16, "messages_per_minute": 6000 },
        // Never of a second that has not begun for the target: clocks differ, and some take no token of the future.
        "iat": "${now-5}",
        "exp": "${now+295}",
        "jti": "${jti}",
    });
    match claims {
        Value::Object(claims) => claims,
        _ => Map::new(),
    }
}

/// The header of the default template, without `alg`.
#[must_use]
pub fn default_header() -> Map<String, Value> {
    Map::from_iter([("typ".to_owned(), json!("JWT"))])
}

/// The user of the default template.
pub const DEFAULT_USER: &str = "gatecrash";
