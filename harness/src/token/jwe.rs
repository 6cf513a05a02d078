//! Encrypted tokens in compact form (RFC 7516 §7.1), made only to be refused: a target that promises signed
//! tokens must not take a decryption that works for a signature (RFC 8725 §2.6).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use serde_json::{Value, json};

use super::algorithm::KeyKind;
use super::interpolate::ForgeError;
use super::keyring::{Keyring, derive, noise};
use super::ops::Jwe;
use super::segment;

/// The five segments around these claims.
pub(crate) fn encrypt(form: Jwe, claims: &[u8], keys: &Keyring, seed: u64) -> Result<Vec<u8>, ForgeError> {
    let content_key = derive("content key", seed);
    match form {
        Jwe::Dir => {
            let secret = keys.require_secret()?.expose();
            let key = <[u8; 32]>::try_from(secret).unwrap_or_else(|_| {
                let mut key = [0; 32];
                key.copy_from_slice(digest(&SHA256, secret).as_ref());
                key
            });
            seal(&json!({ "alg": "dir", "enc": "A256GCM", "typ": "JWT" }), &[], &key, claims, seed)
        }
        Jwe::RsaOaep256 => {
            let public = keys.require_public(KeyKind::Rsa)?;
            let failed = || ForgeError::Crypto("RSA-OAEP");
            let key = PublicEncryptingKey::from_der(&public.spki_der()).map_err(|_| failed())?;
            let key = OaepPublicEncryptingKey::new(key).map_err(|_| failed())?;
            let mut wrapped = vec![0; key.ciphertext_size()];
            let wrapped =
                key.encrypt(&OAEP_SHA256_MGF1SHA256, &content_key, &mut wrapped, None).map_err(|_| failed())?;
            seal(&json!({ "alg": "RSA-OAEP-256", "enc": "A256GCM", "typ": "JWT" }), wrapped, &content_key, claims, seed)
        }
        Jwe::Pbes2(iterations) => {
            let salt = String::from_utf8_lossy(&segment::encode(&noise("salt", seed, 16))).into_owned();
            let header =
                json!({ "alg": "PBES2-HS256+A128KW", "enc": "A256GCM", "p2c": iterations, "p2s": salt, "typ": "JWT" });
            // A wrapped key of 32 bytes has 40 (RFC 3394 §2.2.1); deriving the key that would unwrap it is the
            // very work that this token asks of its victim.
            seal(&header, &noise("wrapped key", seed, 40), &content_key, claims, seed)
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
