//! Encrypted tokens in compact form (RFC 7516 §7.1), made only to be refused: a target that promises signed
//! tokens must not take a decryption that works for a signature (RFC 8725 §2.6).

use std::num::NonZeroU32;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, ECDH_P521, UnparsedPublicKey, agree};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::key_wrap::{AES_128, AesKek, KeyWrap as _};
use aws_lc_rs::pbkdf2;
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey,
    PublicEncryptingKey,
};
use serde_json::{Value, json};

use super::algorithm::{Algorithm, KeyKind};
use super::forge::spelled_key;
use super::interpolate::ForgeError;
use super::keyring::{Keyring, derive, noise};
use super::keys::{PublicKey, coordinate_len};
use super::mint::Mint;
use super::ops::Jwe;
use super::segment;

/// How often the password is hashed: at least what RFC 7518 §4.8.1.2 asks for, and less than any library forbids.
const ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(2047);

/// The five segments around these claims, or around another token, which the header then says (RFC 7519 §5.2).
pub(crate) fn encrypt(form: Jwe, content: &[u8], is_token: bool, mint: &Mint<'_>) -> Result<Vec<u8>, ForgeError> {
    let (keys, seed) = (mint.keys, mint.seed);
    let content_key = derive("content key", seed);
    let seal = |mut header: Value, wrapped: &[u8], key: &[u8; 32], content: &[u8]| {
        if is_token {
            header["cty"] = json!("JWT");
        }
        seal(&header, wrapped, key, content, seed)
    };
    match form {
        Jwe::Dir => {
            let header = json!({ "alg": "dir", "enc": "A256GCM", "typ": "JWT" });
            seal(header, &[], &shared_key(keys)?, content)
        }
        Jwe::Zip(size) => {
            let header = json!({ "alg": "dir", "enc": "A256GCM", "typ": "JWT", "zip": "DEF" });
            seal(header, &[], &shared_key(keys)?, &deflate(content, size))
        }
        Jwe::RsaOaep | Jwe::RsaOaep256 | Jwe::Rsa15 => {
            let (name, wrapped) = to_rsa_key(form, &content_key, keys)?;
            seal(json!({ "alg": name, "enc": "A256GCM", "typ": "JWT" }), &wrapped, &content_key, content)
        }
        Jwe::EcdhEs => {
            let (ephemeral, key) = agreed(keys, mint.algorithm, seed)?;
            let header = json!({ "alg": "ECDH-ES", "enc": "A256GCM", "epk": ephemeral.jwk(), "typ": "JWT" });
            seal(header, &[], &key, content)
        }
        Jwe::Password(spelling) => {
            let password = spelled_key(keys, mint.algorithm, spelling)?;
            let salt = noise("salt", seed, 16);
            let header = json!({ "alg": PBES2, "enc": "A256GCM", "p2c": ITERATIONS, "p2s": text(&salt), "typ": "JWT" });
            seal(header, &wrapped_by(&password, &salt, &content_key)?, &content_key, content)
        }
        Jwe::Pbes2(iterations) => {
            let salt = text(&noise("salt", seed, 16));
            let header = json!({ "alg": PBES2, "enc": "A256GCM", "p2c": iterations, "p2s": salt, "typ": "JWT" });
            // A wrapped key of 32 bytes has 40 (RFC 3394 §2.2.1); deriving the key that would unwrap it is the
            // very work that this token asks of its victim.
            seal(header, &noise("wrapped key", seed, 40), &content_key, content)
        }
    }
}

const PBES2: &str = "PBES2-HS256+A128KW";

/// Bytes as they stand in a header.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&segment::encode(bytes)).into_owned()
}

/// The name of the algorithm, and the content key encrypted to the target's RSA key (RFC 7518 §4.2, §4.3).
fn to_rsa_key(form: Jwe, content_key: &[u8], keys: &Keyring) -> Result<(&'static str, Vec<u8>), ForgeError> {
    let failed = || ForgeError::Crypto("RSA encryption");
    let spki = keys.require_public(KeyKind::Rsa)?.spki_der();
    let key = PublicEncryptingKey::from_der(&spki).map_err(|_| failed())?;
    let oaep = |name, algorithm: &'static OaepAlgorithm, key| {
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| failed())?;
        let mut wrapped = vec![0; key.ciphertext_size()];
        let wrapped = key.encrypt(algorithm, content_key, &mut wrapped, None).map_err(|_| failed())?;
        Ok((name, wrapped.to_vec()))
    };
    match form {
        Jwe::RsaOaep => oaep("RSA-OAEP", &OAEP_SHA1_MGF1SHA1, key),
        Jwe::Rsa15 => {
            let key = Pkcs1PublicEncryptingKey::new(key).map_err(|_| failed())?;
            let mut wrapped = vec![0; key.ciphertext_size()];
            let wrapped = key.encrypt(content_key, &mut wrapped).map_err(|_| failed())?;
            Ok(("RSA1_5", wrapped.to_vec()))
        }
        _ => oaep("RSA-OAEP-256", &OAEP_SHA256_MGF1SHA256, key),
    }
}

/// A fresh key on the curve of the target's public key, and what both agree on as the content key (RFC 7518 §4.6.2).
fn agreed(keys: &Keyring, algorithm: Algorithm, seed: u64) -> Result<(PublicKey, [u8; 32]), ForgeError> {
    let failed = || ForgeError::Crypto("ECDH");
    let own = keys.public(algorithm.key_kind()).into_iter().chain(keys.public_keys());
    let on_curve = own.filter_map(|key| match key {
        PublicKey::Ec { curve, point } => Some((*curve, point)),
        _ => None,
    });
    let (curve, point) =
        on_curve.into_iter().next().ok_or_else(|| ForgeError::NeedsKey("public key on a curve".into()))?;
    let ecdh = match curve {
        KeyKind::P384 => &ECDH_P384,
        KeyKind::P521 => &ECDH_P521,
        _ => &ECDH_P256,
    };
    let mut scalar = noise("ephemeral key", seed, coordinate_len(curve));
    // Below the order of every curve: that of P-521 has a single bit in its first byte.
    scalar[0] = 0;
    let ephemeral = agreement::PrivateKey::from_private_key(ecdh, &scalar).map_err(|_| failed())?;
    let shared = agree(&ephemeral, UnparsedPublicKey::new(ecdh, point), failed(), |shared| Ok(concat_kdf(shared)))?;
    let public = ephemeral.compute_public_key().map_err(|_| failed())?;
    Ok((PublicKey::Ec { curve, point: public.as_ref().to_vec() }, shared))
}

/// The first 32 bytes that this secret gives for A256GCM between parties without names (NIST SP 800-56A §5.8.1).
fn concat_kdf(shared: &[u8]) -> [u8; 32] {
    let enc = b"A256GCM";
    let sized = |size: usize| (size as u32).to_be_bytes();
    let (round, nobody, bits) = (1_u32.to_be_bytes(), sized(0), sized(256));
    let hashed = [&round, shared, &sized(enc.len()), enc, &nobody, &nobody, &bits].concat();
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, &hashed).as_ref());
    key
}

/// The content key wrapped by one that this password gives (RFC 7518 §4.8).
fn wrapped_by(password: &[u8], salt: &[u8], content_key: &[u8]) -> Result<Vec<u8>, ForgeError> {
    let failed = |_| ForgeError::Crypto("AES key wrap");
    let salt = [PBES2.as_bytes(), &[0], salt].concat();
    let mut key = [0; 16];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &salt, password, &mut key);
    let mut wrapped = vec![0; content_key.len() + 8];
    let key = AesKek::new(&AES_128, &key).map_err(failed)?;
    Ok(key.wrap(content_key, &mut wrapped).map_err(failed)?.to_vec())
}

/// The shared secret as a content key, or its hash when it has another length.
fn shared_key(keys: &Keyring) -> Result<[u8; 32], ForgeError> {
    let secret = keys.require_secret()?.expose();
    Ok(<[u8; 32]>::try_from(secret).unwrap_or_else(|_| {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, secret).as_ref());
        key
    }))
}

/// The text and spaces behind it up to `size` bytes, as one block of DEFLATE with fixed codes (RFC 1951 §3.2.6): a
/// hundred and fifty times smaller than what it stands for.
fn deflate(text: &[u8], size: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    // The last block, fixed codes.
    bits.push(0b011, 3);
    let mut spaces = size.saturating_sub(text.len());
    let one_space: &[u8] = if spaces > 0 { b" " } else { b"" };
    spaces -= one_space.len();
    let (copies, rest) = (spaces / 258, spaces % 258);
    text.iter().chain(one_space).for_each(|byte| bits.literal(*byte));
    for _ in 0..copies {
        // Length 258, which is code 285, at distance 1, which is code 0.
        bits.code(0b1100_0101, 8);
        bits.code(0, 5);
    }
    (0..rest).for_each(|_| bits.literal(b' '));
    // The end of the block.
    bits.code(0, 7);
    bits.done
}

/// Bits in the order of RFC 1951 §3.1.1: the least significant one of a byte first.
#[derive(Debug, Default)]
struct Bits {
    done: Vec<u8>,
    used: u32,
}

impl Bits {
    fn push(&mut self, bits: u16, count: u32) {
        for place in 0..count {
            if self.used.is_multiple_of(8) {
                self.done.push(0);
            }
            if let Some(last) = self.done.last_mut() {
                *last |= ((bits >> place & 1) as u8) << (self.used % 8);
            }
            self.used = (self.used + 1) % 8;
        }
    }

    /// A Huffman code, whose most significant bit comes first.
    fn code(&mut self, code: u16, length: u32) {
        self.push(code.reverse_bits() >> (16 - length), length);
    }

    fn literal(&mut self, byte: u8) {
        match byte {
            0..=143 => self.code(0b0011_0000 + u16::from(byte), 8),
            _ => self.code(0b1_1001_0000 + u16::from(byte - 144), 9),
        }
    }
}

fn seal(header: &Value, wrapped: &[u8], key: &[u8; 32], claims: &[u8], seed: u64) -> Result<Vec<u8>, ForgeError> {
    let failed = || ForgeError::Crypto("AES-GCM");
    let header = segment::encode(header.to_string().as_bytes());
    let mut iv = [0; 12];
    iv.copy_from_slice(&derive("initialization vector", seed)[..12]);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(|_| failed())?);
    let mut text = claims.to_vec();
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(iv), Aad::from(&header), &mut text)
        .map_err(|_| failed())?;
    let segments =
        [header, segment::encode(wrapped), segment::encode(&iv), segment::encode(&text), segment::encode(tag.as_ref())];
    Ok(segments.join(&b"."[..]))
}

#[cfg(test)]
mod tests {
    use super::{concat_kdf, deflate, wrapped_by};
    use crate::hex;

    /// As pyca/cryptography derives and wraps.
    #[test]
    fn keys_are_those_that_another_library_makes() {
        let agreed = "0fa304af3065a18d7bdd75c98c1c92604e5f740869ce0f0030466a901fb9642c";
        assert_eq!(hex::write(&concat_kdf(b"shared")), agreed);
        let wrapped = "b6b61583e490132c73b259b4a549dd243ff90f6f2f8e27e17f56c542156cb963c2365ca49c442283";
        assert_eq!(hex::write(&wrapped_by(b"password", b"salt", &[b'k'; 32]).expect("a wrapped key")), wrapped);
    }

    #[test]
    fn what_is_deflated_is_what_an_inflater_takes() {
        // Inflated by zlib: `{"a":"\u{e4}"}`, and two braces with 600 bytes in all.
        assert_eq!(deflate("{\"a\":\"\u{e4}\"}".as_bytes(), 0), *b"\xab\x56\x4a\x54\xb2\x52\x3a\xbc\x44\xa9\x16\x00");
        let hex: String = deflate(b"{}", 600).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "abae551805a34041414141414141414141414141414141414141414141414141414141414141414141414141414141414141414141414141414141414141414141414141414141414141414141414141414141414141410100"
        );
        let bomb = deflate(b"{}", 10_000_000);
        assert!(bomb.len() < 70_000, "{}", bomb.len());
    }
}
