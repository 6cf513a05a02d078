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

/// The five segments around these claims, or around another token, which the header then says (RFC 7519 §5.2).
pub(crate) fn encrypt(
    form: Jwe,
    content: &[u8],
    is_token: bool,
    keys: &Keyring,
    seed: u64,
) -> Result<Vec<u8>, ForgeError> {
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
        Jwe::RsaOaep256 => {
            let public = keys.require_public(KeyKind::Rsa)?;
            let failed = || ForgeError::Crypto("RSA-OAEP");
            let key = PublicEncryptingKey::from_der(&public.spki_der()).map_err(|_| failed())?;
            let key = OaepPublicEncryptingKey::new(key).map_err(|_| failed())?;
            let mut wrapped = vec![0; key.ciphertext_size()];
            let wrapped =
                key.encrypt(&OAEP_SHA256_MGF1SHA256, &content_key, &mut wrapped, None).map_err(|_| failed())?;
            seal(json!({ "alg": "RSA-OAEP-256", "enc": "A256GCM", "typ": "JWT" }), wrapped, &content_key, content)
        }
        Jwe::Pbes2(iterations) => {
            let salt = String::from_utf8_lossy(&segment::encode(&noise("salt", seed, 16))).into_owned();
            let header =
                json!({ "alg": "PBES2-HS256+A128KW", "enc": "A256GCM", "p2c": iterations, "p2s": salt, "typ": "JWT" });
            // A wrapped key of 32 bytes has 40 (RFC 3394 §2.2.1); deriving the key that would unwrap it is the
            // very work that this token asks of its victim.
            seal(header, &noise("wrapped key", seed, 40), &content_key, content)
        }
    }
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
    use super::deflate;

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
