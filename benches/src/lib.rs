//! What the criterion benches measure with: a gate, the same decision by `jsonwebtoken` alone, and tokens for both.
//!
//! The two must agree on every token, or a bench compares two different things; a test here holds them to it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatecrash_reference_server::gate::{Gate, Policy};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use serde::Deserialize;

/// The time of the gate. `jsonwebtoken` asks the system's clock, so no token here ends near either.
pub const NOW: f64 = 1_800_000_000.0;

const SECRET: &[u8] = b"a secret that only the benches have";
/// 2096.
const FAR: u64 = 4_000_000_000;
/// 2017.
const PAST: u64 = 1_500_000_000;

/// A token and what becomes of it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The name of the bench.
    pub name: &'static str,
    /// The token.
    pub token: String,
    /// Whether it is to be let in.
    pub admitted: bool,
}

/// From the cheapest refusal to the dearest answer.
pub fn samples() -> Vec<Sample> {
    let valid = token(SECRET, FAR, "");
    let sample = |name, token, admitted| Sample { name, token, admitted };
    vec![
        sample("admitted", valid.clone(), true),
        sample("admitted-4k", token(SECRET, FAR, &"x".repeat(3000)), true),
        sample("expired", token(SECRET, PAST, ""), false),
        sample("bad-signature", token(b"mallory", FAR, ""), false),
        sample("malformed-early", format!("{}!{}", &valid[..4], &valid[5..]), false),
        sample("one-segment", valid.replace('.', "A"), false),
        sample("over-the-limit", "A".repeat(64 * 1024), false),
    ]
}

fn token(secret: &[u8], exp: u64, note: &str) -> String {
    let claims = format!(r#"{{"sub":"alice","role":"admin","plan":"premium","note":"{note}","exp":{exp}}}"#);
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let mac = jsonwebtoken::crypto::sign(signed.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256);
    format!("{signed}.{}", mac.expect("HMAC signs anything"))
}

/// The reference server's gate, without a fault.
pub fn gate() -> Gate {
    Gate::new(Policy { secret: SECRET.to_vec(), ..Policy::default() }, None)
}

/// What a handler needs of a token when nothing else is kept of it.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "decoding is what is measured")]
pub struct Claims {
    sub: String,
    role: String,
    exp: u64,
}

/// `jsonwebtoken` as a service would call it, told to be as strict about times as the gate.
#[derive(Debug)]
pub struct Library {
    key: DecodingKey,
    validation: Validation,
}

impl Library {
    /// Makes the key ready.
    pub fn new() -> Self {
        // Another crate of the build may turn on a second backend; then this choice is needed.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_nbf = true;
        Self { key: DecodingKey::from_secret(SECRET), validation }
    }

    /// Decodes and verifies.
    pub fn decode(&self, token: &str) -> Option<Claims> {
        jsonwebtoken::decode(token, &self.key, &self.validation).ok().map(|token| token.claims)
    }
}

impl Default for Library {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gate_and_library_agree_on_every_sample() {
        let (gate, library) = (gate(), Library::new());
        for Sample { name, token, admitted } in samples() {
            assert_eq!(gate.admit(token.as_bytes(), NOW).is_ok(), admitted, "the gate on {name}");
            assert_eq!(library.decode(&token).is_some(), admitted, "the library on {name}");
        }
    }
}
