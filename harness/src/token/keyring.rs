//! The keys of one target: its own, those it has retired, and wrong ones to forge with. They are parsed once;
//! nothing here prints key material. Wrong secrets are derived from the seed; wrong key pairs cost time and are
//! generated once per process, when first needed.

use aws_lc_rs::{digest, hmac};

use super::algorithm::{Algorithm, KeyKind};
use super::interpolate::ForgeError;
use super::keys::{KeyError, PrivateKey, PublicKey};
use crate::secret::SecretBytes;

impl SecretBytes {
    /// Whether both are the same HMAC key under this algorithm. HMAC hashes keys longer than a block and pads
    /// shorter ones with zero bytes (RFC 2104 §2), so different texts can be one key.
    #[must_use]
    pub fn is_equivalent(&self, other: &Self, algorithm: Algorithm) -> bool {
        block_key(self.expose(), algorithm) == block_key(other.expose(), algorithm)
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
    secret: Option<SecretBytes>,
    retired: Vec<SecretBytes>,
    private: Vec<PrivateKey>,
    public: Vec<PublicKey>,
    /// The texts that public keys came in, byte for byte, with their kinds.
    given: Vec<(KeyKind, Vec<u8>)>,
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
        self.secret = Some(SecretBytes::new(secret));
        self
    }

    /// With one more secret that the target no longer accepts.
    #[must_use]
    pub fn with_retired_secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.retired.push(SecretBytes::new(secret));
        self
    }

    /// With a private key of the target, from PKCS#8, PKCS#1 or SEC 1 in PEM or DER, or from a JWK. Its public
    /// half is known with it.
    ///
    /// # Errors
    ///
    /// When the key cannot be read.
    pub fn with_private_key(mut self, text: &[u8]) -> Result<Self, KeyError> {
        self.add_private(PrivateKey::parse(text)?);
        Ok(self)
    }

    /// With a public key of the target, from PEM, DER, a certificate or a JWK: enough to attack with, not to mint.
    ///
    /// # Errors
    ///
    /// When the key cannot be read.
    pub fn with_public_key(mut self, text: &[u8]) -> Result<Self, KeyError> {
        let key = PublicKey::parse(text)?;
        self.given.push((key.kind(), text.to_vec()));
        self.public.push(key);
        Ok(self)
    }

    /// Adds a private key that is already parsed.
    pub fn add_private(&mut self, key: PrivateKey) {
        self.public.push(key.public().clone());
        self.private.push(key);
    }

    /// The target's private key of this kind.
    #[must_use]
    pub fn private(&self, kind: KeyKind) -> Option<&PrivateKey> {
        self.private.iter().find(|key| key.public().kind() == kind)
    }

    /// The target's public key of this kind.
    #[must_use]
    pub fn public(&self, kind: KeyKind) -> Option<&PublicKey> {
        self.public.iter().find(|key| key.kind() == kind)
    }

    /// Every public key of the target.
    #[must_use]
    pub fn public_keys(&self) -> &[PublicKey] {
        &self.public
    }

    /// The text of the certificate that the target's public key came in.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        let is_certificate = |text: &[u8]| text.windows(17).any(|window| window == b"BEGIN CERTIFICATE");
        self.given.iter().map(|(_, text)| text.as_slice()).find(|text| is_certificate(text))
    }

    /// The text that a public key of the target came in, byte for byte: one of this kind before any other.
    #[must_use]
    pub fn as_given(&self, kind: KeyKind) -> Option<&[u8]> {
        let own = self.given.iter().find(|(other, _)| *other == kind);
        own.or(self.given.first()).map(|(_, text)| text.as_slice())
    }

    pub(crate) fn require_private(&self, kind: KeyKind) -> Result<&PrivateKey, ForgeError> {
        self.private(kind).ok_or_else(|| ForgeError::NeedsKey(format!("private {}", kind.noun())))
    }

    pub(crate) fn require_public(&self, kind: KeyKind) -> Result<&PublicKey, ForgeError> {
        self.public(kind).ok_or_else(|| ForgeError::NeedsKey(format!("public {}", kind.noun())))
    }

    /// The target's HMAC secret.
    #[must_use]
    pub fn secret(&self) -> Option<&SecretBytes> {
        self.secret.as_ref()
    }

    /// The secrets that the target no longer accepts.
    #[must_use]
    pub fn retired_secrets(&self) -> &[SecretBytes] {
        &self.retired
    }

    /// A secret that the target has never seen, the same for the same seed.
    #[must_use]
    pub fn wrong_secret(seed: u64) -> SecretBytes {
        SecretBytes::new(derive("wrong secret", seed).to_vec())
    }

    pub(crate) fn require_secret(&self) -> Result<&SecretBytes, ForgeError> {
        self.secret.as_ref().ok_or_else(|| ForgeError::NeedsKey(KeyKind::Secret.noun().into()))
    }

    /// The target's secret spelled otherwise, but the same HMAC key.
    pub(crate) fn equivalent_secret(&self, algorithm: Algorithm) -> Result<SecretBytes, ForgeError> {
        let secret = self.require_secret()?;
        let block = block_len(algorithm);
        match secret.expose().len() {
            len if len < block => Ok(SecretBytes::new([secret.expose(), &[0]].concat())),
            len if len > block => Ok(SecretBytes::new(block_key(secret.expose(), algorithm))),
            _ => Err(ForgeError::Impossible("a secret of exactly one block has no other spelling".into())),
        }
    }

    /// A secret that must be wrong; an error when it is in truth the target's own.
    pub(crate) fn foreign(&self, secret: SecretBytes, algorithm: Algorithm) -> Result<SecretBytes, ForgeError> {
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

/// As many bytes as asked for, from a label and a seed.
pub(crate) fn noise(label: &str, seed: u64, len: usize) -> Vec<u8> {
    let mut out: Vec<u8> = (0..len.div_ceil(32)).flat_map(|block| derive(&format!("{label} {block}"), seed)).collect();
    out.truncate(len);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::PublicForm;

    #[test]
    fn a_public_key_is_kept_as_it_was_given() {
        let pem = PrivateKey::generate(KeyKind::P256).and_then(|key| key.public().spelled(PublicForm::SpkiPem));
        let odd = [pem.expect("a key").as_slice(), b"\r\n# rotated in May\n\n"].concat();
        let ring = Keyring::new().with_public_key(&odd).expect("it is read all the same");
        assert_eq!(ring.as_given(KeyKind::P256), Some(odd.as_slice()));
        // A confused verifier has but one file.
        assert_eq!(ring.as_given(KeyKind::Rsa), Some(odd.as_slice()));
        assert_eq!(ring.certificate(), None);
    }

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
        assert_eq!(empty.foreign(SecretBytes::new(vec![0; 64]), Algorithm::HS256), Err(ForgeError::SameKey));
        let long = Keyring::new().with_secret(vec![7; 100]);
        let hashed = long.equivalent_secret(Algorithm::HS256).expect("longer than a block");
        assert!(long.secret().expect("set").is_equivalent(&hashed, Algorithm::HS256));
    }
}
