//! Signing: bytes and a key in, signature bytes out, by aws-lc. What is signed and what the header says about
//! it is the forge's business; a method here may well contradict the header. ECDSA and PSS signatures are
//! random by nature, everything else is a function of its arguments.

use aws_lc_rs::digest::{self, Digest, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
    RsaKeyPair, RsaPssSaltLength, RsaSignatureEncoding,
};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::algorithm::{Algorithm, KeyKind};
use super::bignum;
use super::der;
use super::interpolate::ForgeError;
use super::keyring::{Keyring, hmac_algorithm};
use super::keys::{Pair, PrivateKey};
use super::ops::{Pkcs1Shape, PssSalt};
use super::signature;
use crate::secret::SecretBytes;

/// A key that can sign.
#[derive(Debug, Clone)]
pub(crate) enum SigningKey {
    Secret(SecretBytes),
    Private(PrivateKey),
}

/// In which manner, beside the algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Plain,
    OtherHash,
    OtherPadding,
    Salt(PssSalt),
    Block(Pkcs1Shape),
}

/// The signatures that `token` would have if it were genuine under the shared secret, one for each HMAC of RFC 7518
/// §3.2, as they stand in a token. None without a secret or without two periods.
pub fn genuine_signatures(keys: &Keyring, token: &[u8]) -> Vec<String> {
    let Some(secret) = keys.secret() else { return Vec::new() };
    let Some(end) = token.iter().rposition(|byte| *byte == b'.').filter(|end| token[..*end].contains(&b'.')) else {
        return Vec::new();
    };
    [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512]
        .into_iter()
        .map(|algorithm| hmac::Key::new(hmac_algorithm(algorithm), secret.expose()))
        .map(|key| URL_SAFE_NO_PAD.encode(hmac::sign(&key, &token[..end])))
        .collect()
}

/// Signs `data` in the manner of `algorithm`.
pub(crate) fn sign(key: &SigningKey, algorithm: Algorithm, method: Method, data: &[u8]) -> Result<Vec<u8>, ForgeError> {
    let algorithm = match method {
        Method::OtherHash => other_hash(algorithm)?,
        Method::OtherPadding => other_padding(algorithm)?,
        _ => algorithm,
    };
    match key {
        SigningKey::Secret(secret) => {
            if matches!(method, Method::Salt(_) | Method::Block(_)) {
                return Err(ForgeError::Impossible("an HMAC has no padding".into()));
            }
            let key = hmac::Key::new(hmac_algorithm(algorithm), secret.expose());
            Ok(hmac::sign(&key, data).as_ref().to_vec())
        }
        SigningKey::Private(key) => match &key.pair {
            Pair::Rsa { pair, d } => match method {
                Method::Block(shape) => {
                    let block = signature::pkcs1_block(shape, hash_of(algorithm), data, pair.public_modulus_len())?;
                    signature::raw_rsa(&block, key.public(), d)
                }
                Method::Salt(salt) => rsa(pair, salted(algorithm, salt)?, data),
                _ => rsa(pair, encoding(algorithm)?, data),
            },
            Pair::Ec(pair) => {
                let kind = key.public().kind();
                if !matches!(method, Method::Plain | Method::OtherHash) {
                    return Err(ForgeError::Impossible("ECDSA has no padding".into()));
                }
                let fixed = if method == Method::OtherHash || algorithm.key_kind() != kind {
                    ec_other_hash(pair, kind, algorithm, method, data)?
                } else {
                    pair.sign(&SystemRandom::new(), data).map_err(|_| ForgeError::Crypto("ECDSA"))?.as_ref().to_vec()
                };
                Ok(signature::low_s(kind, fixed))
            }
            Pair::Ed(pair) => match method {
                Method::Plain => Ok(pair.try_sign(data).map_err(|_| ForgeError::Crypto("Ed25519"))?.as_ref().to_vec()),
                _ => Err(ForgeError::Impossible("EdDSA has no other hash or padding".into())),
            },
        },
    }
}

fn rsa(pair: &RsaKeyPair, encoding: &'static RsaSignatureEncoding, data: &[u8]) -> Result<Vec<u8>, ForgeError> {
    let mut out = vec![0; pair.public_modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), data, &mut out).map_err(|_| ForgeError::Crypto("the RSA signature"))?;
    Ok(out)
}

fn encoding(algorithm: Algorithm) -> Result<&'static RsaSignatureEncoding, ForgeError> {
    Ok(match algorithm {
        Algorithm::RS256 => &RSA_PKCS1_SHA256,
        Algorithm::RS384 => &RSA_PKCS1_SHA384,
        Algorithm::RS512 => &RSA_PKCS1_SHA512,
        Algorithm::PS256 => &RSA_PSS_SHA256,
        Algorithm::PS384 => &RSA_PSS_SHA384,
        Algorithm::PS512 => &RSA_PSS_SHA512,
        _ => {
            return Err(ForgeError::Contradiction("an RSA key signs only RS and PS algorithms".into()));
        }
    })
}

fn salted(algorithm: Algorithm, salt: PssSalt) -> Result<&'static RsaSignatureEncoding, ForgeError> {
    static ZERO: [RsaSignatureEncoding; 3] = [
        RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Custom(0)),
        RSA_PSS_SHA384.with_pss_salt_length(RsaPssSaltLength::Custom(0)),
        RSA_PSS_SHA512.with_pss_salt_length(RsaPssSaltLength::Custom(0)),
    ];
    static TWENTY: [RsaSignatureEncoding; 3] = [
        RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Custom(20)),
        RSA_PSS_SHA384.with_pss_salt_length(RsaPssSaltLength::Custom(20)),
        RSA_PSS_SHA512.with_pss_salt_length(RsaPssSaltLength::Custom(20)),
    ];
    static MAX: [RsaSignatureEncoding; 3] = [
        RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Max),
        RSA_PSS_SHA384.with_pss_salt_length(RsaPssSaltLength::Max),
        RSA_PSS_SHA512.with_pss_salt_length(RsaPssSaltLength::Max),
    ];
    let place = match algorithm {
        Algorithm::PS256 => 0,
        Algorithm::PS384 => 1,
        Algorithm::PS512 => 2,
        _ => {
            return Err(ForgeError::Impossible("only PSS signatures have a salt".into()));
        }
    };
    Ok(match salt {
        PssSalt::Zero => &ZERO[place],
        PssSalt::Twenty => &TWENTY[place],
        PssSalt::Max => &MAX[place],
    })
}

/// The hash of an algorithm.
pub(crate) fn hash_of(algorithm: Algorithm) -> &'static digest::Algorithm {
    match algorithm {
        Algorithm::HS384 | Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => &digest::SHA384,
        Algorithm::HS512 | Algorithm::RS512 | Algorithm::PS512 | Algorithm::ES512 | Algorithm::EdDSA => &digest::SHA512,
        Algorithm::HS256 | Algorithm::RS256 | Algorithm::PS256 | Algorithm::ES256 => &digest::SHA256,
    }
}

/// ECDSA on this curve with a hash that does not belong to it. ECDSA uses the leftmost bits of the digest as an
/// integer (FIPS 186-5 §6.4.1), so a cut or zero-filled digest handed over as the usual one gives the same value.
fn ec_other_hash(
    pair: &EcdsaKeyPair,
    curve: KeyKind,
    algorithm: Algorithm,
    method: Method,
    data: &[u8],
) -> Result<Vec<u8>, ForgeError> {
    let usual = match curve {
        KeyKind::P384 => &digest::SHA384,
        KeyKind::P521 => &digest::SHA512,
        _ => &digest::SHA256,
    };
    let hash = match (method, curve) {
        (Method::OtherHash, KeyKind::P256) => &digest::SHA384,
        (Method::OtherHash, _) => &digest::SHA256,
        _ => hash_of(algorithm),
    };
    let value = digest(hash, data);
    let cut = &value.as_ref()[..usual.output_len().min(value.as_ref().len())];
    let filled = bignum::fixed(cut, usual.output_len()).ok_or(ForgeError::Crypto("ECDSA"))?;
    let digest = Digest::import_less_safe(&filled, usual).map_err(|_| ForgeError::Crypto("ECDSA"))?;
    Ok(pair.sign_digest(&digest).map_err(|_| ForgeError::Crypto("ECDSA"))?.as_ref().to_vec())
}

/// The same family with another hash. ECDSA keeps its algorithm; its curve decides (`ec_other_hash`).
fn other_hash(algorithm: Algorithm) -> Result<Algorithm, ForgeError> {
    Ok(match algorithm {
        Algorithm::HS256 | Algorithm::HS384 => Algorithm::HS512,
        Algorithm::HS512 => Algorithm::HS256,
        Algorithm::RS256 | Algorithm::RS384 => Algorithm::RS512,
        Algorithm::RS512 => Algorithm::RS256,
        Algorithm::PS256 | Algorithm::PS384 => Algorithm::PS512,
        Algorithm::PS512 => Algorithm::PS256,
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::ES512 => algorithm,
        Algorithm::EdDSA => return Err(ForgeError::Impossible("EdDSA has no other hash".into())),
    })
}

/// The other RSA padding with the same hash.
fn other_padding(algorithm: Algorithm) -> Result<Algorithm, ForgeError> {
    Ok(match algorithm {
        Algorithm::RS256 => Algorithm::PS256,
        Algorithm::RS384 => Algorithm::PS384,
        Algorithm::RS512 => Algorithm::PS512,
        Algorithm::PS256 => Algorithm::RS256,
        Algorithm::PS384 => Algorithm::RS384,
        Algorithm::PS512 => Algorithm::RS512,
        _ => {
            return Err(ForgeError::Impossible("only RSA signatures have a padding".into()));
        }
    })
}

/// The object identifier of a hash (RFC 8017 §9.2 note 1).
pub(crate) fn hash_oid(hash: &'static digest::Algorithm) -> Vec<u8> {
    let last = if hash == &digest::SHA384 {
        2
    } else if hash == &digest::SHA512 {
        3
    } else {
        1
    };
    der::element(der::OBJECT, &[&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last]])
}
