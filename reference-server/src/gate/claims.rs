//! What believed claims say: from when to when, for whom, who, and in which role.
//!
//! It is asked only after the signature held, so that nobody without the key learns anything from the order of
//! its refusals. Claims that the policy does not ask for are ignored (RFC 7519 §4).

use std::sync::PoisonError;

use super::json::{Member, Members};
use super::used::Spent;
use super::{Admission, Believed, Gate, MAX_LEEWAY_S, Refusal, RequestHints, RolePolicy};
use crate::fault::Fault;

/// How much of a role that is not even a text is repeated, in characters.
const RENDERED_ROLE_CHARS: usize = 64;

impl Gate {
    /// Decides over claims whose signature held.
    pub(super) fn judge(&self, token: &Believed<'_>, now: f64, hints: &RequestHints) -> Result<Admission, Refusal> {
        let expires_at = self.expires_at(token, now, hints)?;
        self.check_not_before(&token.claims, now, hints)?;
        self.check_age(&token.claims, now)?;
        self.check_lifetime(&token.claims, now)?;
        self.check_parties(token)?;
        self.check_kind(&token.claims)?;
        self.check_scope(&token.claims)?;
        if self.dislikes_claims(&token.claims) {
            return Err(Refusal::BadClaims("a claim that is not known"));
        }
        let identity = self.identity(&token.claims)?;
        if self.chokes_on_identity(&identity) || self.chokes_on_role(&token.claims) {
            return Err(Refusal::Internal("the query failed"));
        }
        self.check_directory(&identity)?;
        let role = match &self.policy.roles {
            Some(roles) => Some(self.role(roles, token, &identity, hints)?),
            None => None,
        };
        // Last, so that a token that is refused is not used up.
        if self.policy.single_use {
            self.spend(&token.claims, expires_at, now)?;
        }
        let identity = self.identity_otherwise(&identity).unwrap_or(identity);
        Ok(Admission { identity, role, expires_at })
    }

    pub(super) fn leeway(&self) -> f64 {
        self.leeway_otherwise().unwrap_or_else(|| self.policy.leeway_s.min(MAX_LEEWAY_S) as f64)
    }

    /// RFC 7519 §4.1.4: "on or after" `exp` the token is not accepted.
    fn expires_at(&self, token: &Believed<'_>, now: f64, hints: &RequestHints) -> Result<Option<f64>, Refusal> {
        let exp = match token.claims.get("exp") {
            Some(exp) if self.overlooks_exp(exp, token, hints) => return Ok(None),
            Some(exp) => exp,
            None if self.policy.require_exp && !self.has(Fault::AcceptsMissingExp) => {
                return Err(Refusal::BadClaims("no exp"));
            }
            None => return Ok(None),
        };
        let exp =
            self.exp_otherwise(exp).or_else(|| numeric_date(exp)).ok_or(Refusal::BadClaims("exp is not a number"))?;
        if self.dislikes_exp(exp) {
            return Err(Refusal::BadClaims("exp is not a whole number"));
        }
        let ends = exp + self.leeway();
        let ends = self.end_otherwise(ends, now).unwrap_or(ends);
        if ends <= now {
            return Err(Refusal::Expired);
        }
        Ok(Some(ends))
    }

    /// RFC 7519 §4.1.5: before `nbf` the token is not accepted; at `nbf` it is.
    fn check_not_before(&self, claims: &Members<'_>, now: f64, hints: &RequestHints) -> Result<(), Refusal> {
        let nbf = match claims.get("nbf") {
            Some(nbf) if !self.overlooks_nbf(nbf, hints) => nbf,
            _ => return Ok(()),
        };
        let nbf = numeric_date(nbf).ok_or(Refusal::BadClaims("nbf is not a number"))?;
        if nbf > now + self.leeway() || self.dislikes_nbf(nbf, now) {
            return Err(Refusal::BadClaims("nbf is still to come"));
        }
        Ok(())
    }

    /// How long ago the token was issued, where the policy asks (`iat`, RFC 7519 §4.1.6).
    fn check_age(&self, claims: &Members<'_>, now: f64) -> Result<(), Refusal> {
        let Some(limit) = self.policy.max_token_age_s else { return Ok(()) };
        let issued = self.issued_otherwise(claims).or_else(|| claims.get("iat").and_then(numeric_date));
        match issued {
            Some(issued) if now - issued <= limit as f64 + self.leeway() => Ok(()),
            Some(_) => Err(Refusal::BadClaims("the token is too old")),
            None => Err(Refusal::BadClaims("no iat")),
        }
    }

    /// For how long the token was issued, where the policy asks.
    fn check_lifetime(&self, claims: &Members<'_>, now: f64) -> Result<(), Refusal> {
        let (Some(limit), Some(exp)) = (self.policy.max_token_lifetime_s, claims.get("exp").and_then(numeric_date))
        else {
            return Ok(());
        };
        let from = claims.get("iat").and_then(numeric_date).unwrap_or(now);
        if exp - from > limit as f64 && !self.has(Fault::IgnoresLifetime) {
            return Err(Refusal::BadClaims("the token lives too long"));
        }
        Ok(())
    }

    /// `iss` and `aud`, where the policy names them (RFC 7519 §4.1.1 and §4.1.3, RFC 8725 §3.8 and §3.9).
    fn check_parties(&self, token: &Believed<'_>) -> Result<(), Refusal> {
        let claims = &token.claims;
        if let Some(issuer) = token.issuer.or(self.policy.issuer.as_deref())
            && claims.get("iss").and_then(Member::as_str) != Some(issuer)
            && !self.takes_issuer_anyway(issuer, claims.get("iss"))
        {
            return Err(Refusal::BadClaims("iss is not the wanted one"));
        }
        if let Some(audience) = &self.policy.audience {
            let meant = match claims.get("aud") {
                Some(Member::Text(aud)) => aud == audience,
                Some(Member::Array(auds)) => {
                    auds.iter().all(|aud| aud.as_str().is_some())
                        && auds.iter().any(|aud| aud.as_str() == Some(audience))
                        && !self.has(Fault::RefusesAudArray)
                }
                _ => false,
            };
            if !meant && !self.takes_audience_anyway(audience, claims.get("aud")) {
                return Err(Refusal::BadClaims("aud is not the wanted one"));
            }
        }
        Ok(())
    }

    /// Whether it is a token of the kind that opens sockets: with every claim that kind has (RFC 9068 §2.2), and without
    /// the marks of another (RFC 8725 §3.12).
    fn check_kind(&self, claims: &Members<'_>) -> Result<(), Refusal> {
        let lacking = |name: &&String| claims.get(name).is_none() && !self.needs_not(name);
        if self.policy.required_claims.iter().any(|name| lacking(&name)) {
            return Err(Refusal::BadClaims("a required claim is missing"));
        }
        let marker = &self.policy.refresh_marker;
        let marked = !marker.is_empty()
            && marker.iter().all(|(name, value)| claims.get(name).is_some_and(|claim| claim.to_value() == *value));
        if marked && !self.has(Fault::AcceptsRefreshToken) {
            return Err(Refusal::BadClaims("a refresh token"));
        }
        Ok(())
    }

    /// RFC 8693 §4.2: `scope` is a text of words with blanks between.
    fn check_scope(&self, claims: &Members<'_>) -> Result<(), Refusal> {
        let Some(wanted) = &self.policy.required_scope else { return Ok(()) };
        let granted = claims.get("scope").and_then(Member::as_str).unwrap_or_default();
        if granted.split(' ').any(|word| word == wanted) || self.grants_anyway(granted, wanted) {
            return Ok(());
        }
        Err(Refusal::BadClaims("the scope is not granted"))
    }

    /// RFC 8725 §3.8: the subject must be a valid one.
    fn check_directory(&self, identity: &str) -> Result<(), Refusal> {
        match &self.policy.directory {
            Some(users) if !users.contains(identity) && !self.has(Fault::IgnoresDirectory) => {
                Err(Refusal::BadClaims("no such user"))
            }
            _ => Ok(()),
        }
    }

    /// Uses the token up: it is looked for and kept in one step, so that of two at once only one passes.
    fn spend(&self, claims: &Members<'_>, expires_at: Option<f64>, now: f64) -> Result<(), Refusal> {
        let (Some(Member::Text(jti)), Some(until)) = (claims.get("jti"), expires_at) else {
            return Err(Refusal::BadClaims("no jti or no exp"));
        };
        if self.has(Fault::ForgetsJti) {
            return Ok(());
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.spend(jti, until, now).map_err(|spent| match spent {
            Spent::Before => Refusal::BadClaims("this token was used before"),
            Spent::Full => Refusal::BadClaims("too many tokens to remember"),
        })
    }

    /// The first identity claim there is, even if a later one would do better: a token must not choose which
    /// of its names is believed.
    pub(super) fn identity(&self, claims: &Members<'_>) -> Result<String, Refusal> {
        let mut names = self.policy.identity_claims.iter();
        let claim = names.find_map(|name| claims.get(name));
        let refusal = match claim {
            Some(Member::Text(identity)) if !identity.is_empty() => return Ok(identity.clone().into_owned()),
            Some(Member::Text(_)) => "the identity is empty",
            Some(_) => "the identity is not a text",
            None => match &self.policy.identity_fallback {
                Some(fallback) => return Ok(fallback.clone()),
                None => "no identity",
            },
        };
        self.identity_anyway(claim).ok_or(Refusal::BadClaims(refusal))
    }

    /// The role, if it is one that is let in.
    fn role(
        &self,
        roles: &RolePolicy,
        token: &Believed<'_>,
        identity: &str,
        hints: &RequestHints,
    ) -> Result<String, Refusal> {
        let other = self.role_otherwise(roles, token, identity, hints).map(Member::from);
        let claim = other.as_ref().or_else(|| token.claims.get(&roles.claim));
        let allowed = |role: &&str| roles.allowed.iter().any(|allowed| allowed == role);
        let role = match claim {
            Some(Member::Text(role)) if !roles.list => Ok(&**role),
            Some(other @ Member::Array(all)) if roles.list => {
                all.iter().filter_map(Member::as_str).find(allowed).ok_or(other)
            }
            Some(other) => Err(other),
            None => Ok(&*roles.default),
        };
        match role {
            Ok(role)
                if roles.allowed.iter().any(|allowed| allowed == role) && !self.dislikes_role(roles, role, token) =>
            {
                Ok(role.to_owned())
            }
            refused => self
                .role_anyway(roles, claim, &token.claims)
                .ok_or_else(|| Refusal::RoleNotAllowed(refused.map_or_else(rendered, str::to_owned))),
        }
    }
}

/// A JSON number, with or without a fraction (RFC 7519 §2, NumericDate).
fn numeric_date(value: &Member<'_>) -> Option<f64> {
    value.as_f64().filter(|seconds| seconds.is_finite())
}

/// The start of a value's JSON text.
fn rendered(value: &Member<'_>) -> String {
    value.to_value().to_string().chars().take(RENDERED_ROLE_CHARS).collect()
}
