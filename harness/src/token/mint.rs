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
    /// Where the role stands, if one is asked for.
    pub role: Option<&'a RolePlace>,
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
    /// The claim that carries the role, where it is no part of another one.
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

/// Where in the claims a role stands, and whether in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolePlace {
    /// The names that lead to it: one, unless the claim is part of another one.
    path: Vec<String>,
    /// Whether it is a list, of which one role must be let in.
    pub list: bool,
}

impl RolePlace {
    /// The place that a claim's name means, or a JSON Pointer (RFC 6901 §4).
    #[must_use]
    pub fn new(claim: &str, list: bool) -> Self {
        let path = match claim.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect(),
            None => vec![claim.to_owned()],
        };
        Self { path, list }
    }

    /// The claim in which it stands.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.first().map_or("", String::as_str)
    }

    /// The names that lead to it, from the claim on.
    pub(crate) fn path(&self) -> &[String] {
        &self.path
    }

    /// What stands there.
    #[must_use]
    pub fn of<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let (name, inner) = self.path.split_first()?;
        inner.iter().try_fold(claims.get(name)?, |value, name| value.get(name))
    }

    /// The claim with this role in its place, and what else it holds in these claims. A role that is no list stands alone in
    /// one where a list is asked for.
    #[must_use]
    pub fn holding(&self, claims: &Map<String, Value>, role: Value) -> (String, Value) {
        let role = if self.list && !role.is_array() { Value::Array(vec![role]) } else { role };
        self.changed(claims, |object, name| {
            object.insert(name.to_owned(), role.clone());
        })
        .unwrap_or((self.name().to_owned(), role))
    }

    /// The claim without the role, where it is part of another one.
    pub(crate) fn without(&self, claims: &Map<String, Value>) -> Option<(String, Value)> {
        self.changed(claims, |object, name| {
            object.remove(name);
        })
    }

    /// The claim after a change to the object in which the role stands; none where it stands in none but the claims.
    fn changed(
        &self,
        claims: &Map<String, Value>,
        change: impl Fn(&mut Map<String, Value>, &str),
    ) -> Option<(String, Value)> {
        let (name, inner) = self.path.split_first()?;
        let (last, between) = inner.split_last()?;
        let mut claim = claims.get(name).filter(|value| value.is_object()).cloned().unwrap_or_else(|| json!({}));
        let mut at = &mut claim;
        for name in between {
            at = &mut at[name.as_str()];
            if !at.is_object() {
                *at = json!({});
            }
        }
        change(at.as_object_mut()?, last);
        Some((name.clone(), claim))
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
