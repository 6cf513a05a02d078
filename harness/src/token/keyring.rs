//! The keys of one target: its own, those it has retired, and wrong ones to forge with. They are parsed once;
//! nothing here prints key material. Wrong secrets are derived from the seed; wrong key pairs cost time and are
//! generated once per process, when first needed.

use std::fmt;

use aws_lc_rs::{digest, hmac};

use super::algorithm::{Algorithm, KeyKind};
use super::interpolate::ForgeError;

/// Bytes that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps the bytes of a secret.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for those who must sign or redact.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether both are the same HMAC key under this algorithm. HMAC hashes keys longer than a block and pads
    /// shorter ones with zero bytes (RFC 2104 §2), so different texts can be one key.
    #[must_use]
    pub fn is_equivalent(&self, other: &Self, algorithm: Algorithm) -> bool {
        block_key(&self.0, algorithm) == block_key(&other.0, algorithm)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

pub(crate) fn hmac_algorithm(algorithm: Algorithm) -> hmac::Algorithm {
    match algorithm {
        Algorithm::HS384 => hmac::HMAC_SHA384,
        Algorithm::HS512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    }
}

fn block_len(algorithm: Algorithm) -> usize {
    hmac_algorithm(algorithm).digest_algorithm().block_len()
}

/// The key as HMAC uses it: one block.
fn block_key(key: &[u8], algorithm: Algorithm) -> Vec<u8> {
    let block = block_len(algorithm);
    let mut out = if key.len() > block {
        digest::digest(hmac_algorithm(algorithm).digest_algorithm(), key).as_ref().to_vec()
    } else {
        key.to_vec()
    };
    out.resize(block, 0);
    out
}

/// The keys of one target.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    secret: Option<Secret>,
    retired: Vec<Secret>,
}

impl Keyring {
    /// No key at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With the target's HMAC secret.
    #[must_use]
    pub fn with_secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.secret = Some(Secret::new(secret));
        self
    }

    /// With one more secret that the target no longer accepts.
    #[must_use]
    pub fn with_retired_secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.retired.push(Secret::new(secret));
        self
    }

    /// The target's HMAC secret.
    #[must_use]
    pub fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// The secrets that the target no longer accepts.
    #[must_use]
    pub fn retired_secrets(&self) -> &[Secret] {
        &self.retired
    }

    /// A secret that the target has never seen, the same for the same seed.
    #[must_use]
    pub fn wrong_secret(seed: u64) -> Secret {
        Secret::new(derive("wrong secret", seed).to_vec())
    }

    pub(crate) fn require_secret(&self) -> Result<&Secret, ForgeError> {
        self.secret.as_ref().ok_or_else(|| ForgeError::NeedsKey(KeyKind::Secret.noun().into()))
    }

    /// The target's secret spelled otherwise, but the same HMAC key.
    pub(crate) fn equivalent_secret(&self, algorithm: Algorithm) -> Result<Secret, ForgeError> {
        let secret = self.require_secret()?;
        let block = block_len(algorithm);
        match secret.0.len() {
            len if len < block => Ok(Secret::new([secret.expose(), &[0]].concat())),
            len if len > block => Ok(Secret::new(block_key(&secret.0, algorithm))),
            _ => Err(ForgeError::Impossible("a secret of exactly one block has no other spelling".into())),
        }
    }

    /// A secret that must be wrong; an error when it is in truth the target's own.
    pub(crate) fn foreign(&self, secret: Secret, algorithm: Algorithm) -> Result<Secret, ForgeError> {
        match &self.secret {
            Some(own) if own.is_equivalent(&secret, algorithm) => Err(ForgeError::SameKey),
            _ => Ok(secret),
        }
    }
}

/// 32 bytes from a label and a seed.
pub(crate) fn derive(label: &str, seed: u64) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"gatecrash ");
    context.update(label.as_bytes());
    context.update(&seed.to_be_bytes());
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_no_key() {
        let ring = Keyring::new().with_secret("hunter2-hunter2").with_retired_secret("old-old");
        let shown = format!("{ring:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("old-old"), "{shown}");
        assert!(!shown.contains("104"), "no bytes as numbers either: {shown}");
    }

    #[test]
    fn equivalent_hmac_keys_are_recognised() {
        let own = Keyring::new().with_secret("secret");
        let other = own.equivalent_secret(Algorithm::HS256).expect("shorter than a block");
        assert_ne!(other.expose(), b"secret");
        assert_eq!(own.foreign(other, Algorithm::HS256), Err(ForgeError::SameKey));
        let empty = Keyring::new().with_secret("");
        assert_eq!(empty.foreign(Secret::new(vec![0; 64]), Algorithm::HS256), Err(ForgeError::SameKey));
        let long = Keyring::new().with_secret(vec![7; 100]);
        let hashed = long.equivalent_secret(Algorithm::HS256).expect("longer than a block");
        assert!(long.secret().expect("set").is_equivalent(&hashed, Algorithm::HS256));
    }
}
