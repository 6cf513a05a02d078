//! The keys that a gate trusts: a shared secret, public keys, each for one algorithm and, where it is named, for one
//! issuer.
//!
//! A header only chooses among them. What it says about keys otherwise, `jwk`, `jku`, `x5c`, `x5u`, is not read at all.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Value, json};

use super::{Policy, algorithm_name};

/// A public key that a gate trusts.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// The key as SubjectPublicKeyInfo in PEM.
    pub pem: String,
    /// The one `alg` it is used with (RFC 8725 §3.1).
    pub algorithm: Algorithm,
    /// Its name in a header (RFC 7515 §4.1.4).
    pub kid: Option<String>,
    /// The only `iss` it vouches for (RFC 8725 §3.8); `None` is the issuer of the policy.
    pub issuer: Option<String>,
}

impl TrustedKey {
    /// A key for the policy's own issuer.
    pub fn new(pem: impl Into<String>, algorithm: Algorithm) -> Self {
        Self { pem: pem.into(), algorithm, kid: None, issuer: None }
    }

    /// As public JWK with its name, its algorithm and its use (RFC 7517 §4); `None` where it cannot be read.
    pub fn jwk(&self) -> Option<Value> {
        let mut jwk = bare_jwk(self.algorithm, self.decoding()?.try_get_as_bytes().ok()?)?;
        jwk["alg"] = format!("{:?}", self.algorithm).into();
        jwk["use"] = "sig".into();
        if let Some(kid) = &self.kid {
            jwk["kid"] = kid.as_str().into();
        }
        Some(jwk)
    }

    fn decoding(&self) -> Option<DecodingKey> {
        let pem = self.pem.as_bytes();
        let key = match self.algorithm {
            Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem),
            Algorithm::EdDSA => DecodingKey::from_ed_pem(pem),
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => return None,
            _ => DecodingKey::from_rsa_pem(pem),
        };
        key.ok()
    }
}

impl fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// The members of a JWK that are the key, of the bytes that [`Key::bytes`] gives (RFC 7518 §6, RFC 8037 §2).
pub(super) fn bare_jwk(algorithm: Algorithm, bytes: &[u8]) -> Option<Value> {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Some(match algorithm {
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512 => {
            let (n, e) = rsa_numbers(bytes)?;
            json!({ "kty": "RSA", "n": text(n), "e": text(e) })
        }
        Algorithm::ES256 | Algorithm::ES384 => {
            // The uncompressed point: 04, x, y.
            let (x, y) = bytes.get(1..).map(|point| point.split_at(point.len() / 2))?;
            let crv = if algorithm == Algorithm::ES256 { "P-256" } else { "P-384" };
            json!({ "kty": "EC", "crv": crv, "x": text(x), "y": text(y) })
        }
        Algorithm::EdDSA => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(bytes) }),
        _ => return None,
    })
}

/// Modulus and exponent of an RSAPublicKey in DER (RFC 8017 §A.1.1), without leading zero bytes.
pub(super) fn rsa_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, _) = element(der, 0x30)?;
    let (n, rest) = element(sequence, 0x02)?;
    let (e, _) = element(rest, 0x02)?;
    Some((n.strip_prefix(&[0]).unwrap_or(n), e.strip_prefix(&[0]).unwrap_or(e)))
}

/// The contents of the DER element of this tag that `der` begins with, and what follows it (X.690 §8.1).
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0x00..=0x7f => (usize::from(first), rest),
        0x81 | 0x82 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x0f))?;
            (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    if found == tag { rest.split_at_checked(length) } else { None }
}

/// A key made ready.
pub(super) struct Key {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) issuer: Option<String>,
    /// As it was configured; `None` is the secret.
    pub(super) pem: Option<String>,
    /// What a header calls its algorithm.
    pub(super) name: String,
    prepared: Prepared,
    /// For a use that is not its own; only faults have one.
    decoding: DecodingKey,
}

/// What does not depend on the token is done once: the key schedule of a MAC, the parsing of a public key.
enum Prepared {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl Prepared {
    fn secret(algorithm: Algorithm, secret: &[u8]) -> Option<Self> {
        let hash = match algorithm {
            Algorithm::HS256 => hmac::HMAC_SHA256,
            Algorithm::HS384 => hmac::HMAC_SHA384,
            Algorithm::HS512 => hmac::HMAC_SHA512,
            _ => return None,
        };
        Some(Self::Secret(Box::new(hmac::Key::new(hash, secret))))
    }

    fn public(algorithm: Algorithm, key: &[u8]) -> Option<Self> {
        let verification: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
            Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
            Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
            Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
            Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
            Algorithm::EdDSA => &signature::ED25519,
            _ => return None,
        };
        ParsedPublicKey::new(verification, key).ok().map(Self::Public)
    }

    /// aws-lc compares MACs in constant time.
    fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Secret(key) => hmac::verify(key, signed, signature).is_ok(),
            Self::Public(key) => key.verify_sig(signed, signature).is_ok(),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.algorithm).field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl Key {
    /// Every key of a policy that can be trusted, the secret first.
    pub(super) fn of(policy: &Policy) -> Vec<Self> {
        // RFC 8725 §3.5: anyone knows the empty key.
        let secret = Some(&policy.secret).filter(|secret| !secret.is_empty()).and_then(|secret| {
            Some(Self {
                kid: policy.kid.clone(),
                algorithm: policy.algorithm,
                issuer: None,
                pem: None,
                name: algorithm_name(policy.algorithm),
                prepared: Prepared::secret(policy.algorithm, secret)?,
                decoding: DecodingKey::from_secret(secret),
            })
        });
        let public = policy.keys.iter().filter_map(|key| {
            let decoding = key.decoding()?;
            Some(Self {
                kid: key.kid.clone(),
                algorithm: key.algorithm,
                issuer: key.issuer.clone(),
                pem: Some(key.pem.clone()),
                name: algorithm_name(key.algorithm),
                prepared: Prepared::public(key.algorithm, decoding.try_get_as_bytes().ok()?)?,
                decoding,
            })
        });
        secret.into_iter().chain(public).collect()
    }

    /// Whether `signature` is that of `signed` under this key, as this algorithm.
    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        if algorithm == self.algorithm {
            self.prepared.verifies(signed, signature)
        } else {
            verifies(&self.decoding, algorithm, signed, signature)
        }
    }

    /// The bytes of a public key: RSAPublicKey in DER, an uncompressed point, or the 32 bytes of an Ed25519 key.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        self.pem.as_ref().and_then(|_| self.decoding.try_get_as_bytes().ok())
    }
}

/// Whether `signature` is that of `signed` under this key, as this algorithm.
pub(super) fn verifies(key: &DecodingKey, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
    (DEFAULT_PROVIDER.verifier_factory)(&algorithm, key)
        .is_ok_and(|verifier| verifier.verify(signed, &signature.to_vec()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_is_read_with_care() {
        assert_eq!(rsa_numbers(&[0x30, 6, 2, 1, 5, 2, 1, 3]), Some((&[5][..], &[3][..])));
        assert_eq!(rsa_numbers(&[0x30, 7, 2, 2, 0, 0x85, 2, 1, 3]), Some((&[0x85][..], &[3][..])));
        for broken in [&[][..], &[0x30], &[0x30, 6, 2, 1], &[0x30, 0x83, 0, 0, 1], &[0x31, 6, 2, 1, 5, 2, 1, 3]] {
            assert_eq!(rsa_numbers(broken), None);
        }
    }

    #[test]
    fn a_key_that_cannot_be_read_opens_nothing() {
        let keys = vec![TrustedKey::new("no key", Algorithm::RS256)];
        assert!(Key::of(&Policy { keys, ..Policy::default() }).is_empty());
    }
}
