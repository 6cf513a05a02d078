//! The interface that every server here offers, that of the dialect personal-assistant, and the one check of a token.
//!
//! `GET /ws/TOKEN` is upgraded if the token holds and answered by 401 if not; who is let in hears a greeting in JSON,
//! and every text again behind `Echo: `.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// The secret of every server.
pub(crate) const SECRET: &[u8] = b"a secret that only the comparison has, 32 bytes and more";
/// What a text is answered with, before the text itself.
pub(crate) const ECHO: &str = "Echo: ";

/// What the handlers need of a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) user_id: String,
    pub(crate) username: String,
    pub(crate) exp: u64,
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A token of this user that is good for a day, signed with `secret`.
pub(crate) fn token(user: &str, secret: &[u8]) -> Result<String, String> {
    let claims = Claims { user_id: user.to_owned(), username: "Alice".to_owned(), exp: now() as u64 + 86_400 };
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret))
        .map_err(|error| error.to_string())
}

/// The check, with its key made ready once.
pub(crate) struct Check {
    key: DecodingKey,
    validation: Validation,
}

impl Check {
    pub(crate) fn new() -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        Self { key: DecodingKey::from_secret(SECRET), validation }
    }

    /// The claims of a token that holds.
    pub(crate) fn admit(&self, token: &str) -> Option<Claims> {
        jsonwebtoken::decode(token, &self.key, &self.validation).ok().map(|token| token.claims)
    }
}

/// What the admitted hear first.
pub(crate) fn greeting(claims: &Claims) -> String {
    serde_json::json!({
        "event": "connected", "user_id": claims.user_id, "username": claims.username, "timestamp": now(),
    })
    .to_string()
}

/// What the others hear.
pub(crate) const DETAIL: &str = r#"{"detail":"Could not validate credentials"}"#;
