//! What believed claims say: from when to when, for whom, who, and in which role.
//!
//! It is asked only after the signature held, so that nobody without the key learns anything from the order of
//! its refusals. `iat`, `jti` and claims it does not know are ignored (RFC 7519 §4).

use std::sync::Arc;

use serde_json::Value;

use super::json::Object;
use super::{Bearer, Gate, MAX_LEEWAY_S, Refusal, RolePolicy};

/// How much of a role that is not even a text is repeated, in characters.
const RENDERED_ROLE_CHARS: usize = 64;

impl Gate {
    /// Decides over claims whose signature held.
    pub(super) fn judge(&self, claims: Object, now: f64) -> Result<Bearer, Refusal> {
        let expires_at = self.expires_at(&claims, now)?;
        self.check_not_before(&claims, now)?;
        self.check_parties(&claims)?;
        let identity = self.identity(&claims)?;
        let role = match &self.policy.roles {
            Some(roles) => Some(allowed_role(roles, &claims)?),
            None => None,
        };
        Ok(Bearer {
            identity,
            role,
            claims: Arc::new(claims),
            expires_at,
        })
    }

    fn leeway(&self) -> f64 {
        self.policy.leeway_s.min(MAX_LEEWAY_S) as f64
    }

    /// RFC 7519 §4.1.4: "on or after" `exp` the token is not accepted.
    fn expires_at(&self, claims: &Object, now: f64) -> Result<Option<f64>, Refusal> {
        let exp = match claims.get("exp") {
            None if self.policy.require_exp => return Err(Refusal::BadClaims("no exp")),
            None => return Ok(None),
            Some(exp) => numeric_date(exp).ok_or(Refusal::BadClaims("exp is not a number"))?,
        };
        let ends = exp + self.leeway();
        if ends <= now {
            return Err(Refusal::Expired);
        }
        Ok(Some(ends))
    }

    /// RFC 7519 §4.1.5: before `nbf` the token is not accepted; at `nbf` it is.
    fn check_not_before(&self, claims: &Object, now: f64) -> Result<(), Refusal> {
        let Some(nbf) = claims.get("nbf") else {
            return Ok(());
        };
        let nbf = numeric_date(nbf).ok_or(Refusal::BadClaims("nbf is not a number"))?;
        if nbf > now + self.leeway() {
            return Err(Refusal::BadClaims("nbf is still to come"));
        }
        Ok(())
    }

    /// `iss` and `aud`, where the policy names them (RFC 7519 §4.1.1 and §4.1.3, RFC 8725 §3.8 and §3.9).
    fn check_parties(&self, claims: &Object) -> Result<(), Refusal> {
        if let Some(issuer) = &self.policy.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(Refusal::BadClaims("iss is not the wanted one"));
        }
        if let Some(audience) = &self.policy.audience {
            let meant = match claims.get("aud") {
                Some(Value::String(aud)) => aud == audience,
                Some(Value::Array(auds)) => {
                    auds.iter().all(Value::is_string) && auds.iter().any(|aud| aud == audience)
                }
                _ => false,
            };
            if !meant {
                return Err(Refusal::BadClaims("aud is not the wanted one"));
            }
        }
        Ok(())
    }

    /// The first identity claim there is, even if a later one would do better: a token must not choose which
    /// of its names is believed.
    fn identity(&self, claims: &Object) -> Result<String, Refusal> {
        let present = self
            .policy
            .identity_claims
            .iter()
            .find_map(|name| claims.get(name));
        match present {
            Some(Value::String(identity)) if !identity.is_empty() => Ok(identity.clone()),
            Some(Value::String(_)) => Err(Refusal::BadClaims("the identity is empty")),
            Some(_) => Err(Refusal::BadClaims("the identity is not a text")),
            None => self
                .policy
                .identity_fallback
                .clone()
                .ok_or(Refusal::BadClaims("no identity")),
        }
    }
}

/// A JSON number, with or without a fraction (RFC 7519 §2, NumericDate).
fn numeric_date(value: &Value) -> Option<f64> {
    value.as_f64().filter(|seconds| seconds.is_finite())
}

/// The role, if it is one that is let in.
fn allowed_role(roles: &RolePolicy, claims: &Object) -> Result<String, Refusal> {
    let role = match claims.get(&roles.claim) {
        Some(Value::String(role)) => role.clone(),
        Some(other) => return Err(Refusal::RoleNotAllowed(rendered(other))),
        None => roles.default.clone(),
    };
    if roles.allowed.contains(&role) {
        Ok(role)
    } else {
        Err(Refusal::RoleNotAllowed(role))
    }
}

/// The start of a value's JSON text.
fn rendered(value: &Value) -> String {
    value
        .to_string()
        .chars()
        .take(RENDERED_ROLE_CHARS)
        .collect()
}
