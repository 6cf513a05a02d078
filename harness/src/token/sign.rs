//! Signing: bytes and a key in, signature bytes out, by aws-lc. What is signed and what the header says about
//! it is the forge's business; a method here may well contradict the header.

use aws_lc_rs::hmac;

use super::algorithm::Algorithm;
use super::interpolate::ForgeError;
use super::keyring::{Secret, hmac_algorithm};

/// A key that can sign.
#[derive(Debug, Clone)]
pub(crate) enum SigningKey {
    Secret(Secret),
}

/// Signs `data` in the manner of `algorithm`.
pub(crate) fn sign(key: &SigningKey, algorithm: Algorithm, data: &[u8]) -> Result<Vec<u8>, ForgeError> {
    match key {
        SigningKey::Secret(secret) => {
            let key = hmac::Key::new(hmac_algorithm(algorithm), secret.expose());
            Ok(hmac::sign(&key, data).as_ref().to_vec())
        }
    }
}

/// The same family with another hash.
pub(crate) fn other_hash(algorithm: Algorithm) -> Result<Algorithm, ForgeError> {
    Ok(match algorithm {
        Algorithm::HS256 | Algorithm::HS384 => Algorithm::HS512,
        Algorithm::HS512 => Algorithm::HS256,
        Algorithm::RS256 | Algorithm::RS384 => Algorithm::RS512,
        Algorithm::RS512 => Algorithm::RS256,
        Algorithm::PS256 | Algorithm::PS384 => Algorithm::PS512,
        Algorithm::PS512 => Algorithm::PS256,
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::ES512 | Algorithm::EdDSA => {
            return Err(ForgeError::Impossible(format!("{} has no other hash", algorithm.name())));
        }
    })
}
