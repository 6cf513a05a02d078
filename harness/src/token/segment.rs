//! The text of one segment: base64url as the forge writes it, honestly or not. It writes only; the oracle has
//! its own strict reader.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::interpolate::ForgeError;
use super::ops::At;

/// Base64url without padding (RFC 7515 §2).
pub(crate) fn encode(bytes: &[u8]) -> Vec<u8> {
    URL_SAFE_NO_PAD.encode(bytes).into_bytes()
}

/// Adds `=` to a multiple of four, or four of them where nothing is missing.
pub(crate) fn pad(text: &mut Vec<u8>) {
    let missing = match text.len() % 4 {
        0 => 4,
        rest => 4 - rest,
    };
    text.extend(std::iter::repeat_n(b'=', missing));
}

/// The standard alphabet (RFC 4648 §4). Says whether both characters that differ occurred.
pub(crate) fn to_standard(text: &mut [u8]) -> bool {
    let (mut plus, mut slash) = (false, false);
    for byte in text.iter_mut() {
        match *byte {
            b'-' => (*byte, plus) = (b'+', true),
            b'_' => (*byte, slash) = (b'/', true),
            _ => {}
        }
    }
    plus && slash
}

pub(crate) fn insert(text: &mut Vec<u8>, at: At, what: &[u8]) {
    let position = match at {
        At::First => 0,
        At::Middle => text.len() / 2,
        At::Last => text.len(),
    };
    text.splice(position..position, what.iter().copied());
}

/// CR LF after every 20 characters.
pub(crate) fn wrap(text: &mut Vec<u8>) {
    *text = text.chunks(20).collect::<Vec<_>>().join(&b"\r\n"[..]);
}

/// Appends `A` until the length is 1 modulo 4.
pub(crate) fn dangle(text: &mut Vec<u8>) {
    loop {
        text.push(b'A');
        if text.len() % 4 == 1 {
            return;
        }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Sets the lowest unused bit of the last character.
pub(crate) fn set_pad_bits(text: &mut [u8]) -> Result<(), ForgeError> {
    let none = || ForgeError::Impossible("this segment has no unused bits in its last character".into());
    if matches!(text.len() % 4, 0 | 1) {
        return Err(none());
    }
    let last = text.last_mut().ok_or_else(none)?;
    let value = ALPHABET.iter().position(|character| character == last).ok_or_else(none)?;
    *last = ALPHABET[value | 1];
    Ok(())
}

/// Another character of the alphabet, and other bits in every position.
pub(crate) fn change_char(character: u8) -> u8 {
    match ALPHABET.iter().position(|other| *other == character) {
        Some(value) => ALPHABET[value ^ 0x3f],
        None => b'A',
    }
}

/// The position of a character in a text that is not empty.
pub(crate) fn position(len: usize, at: At) -> Result<usize, ForgeError> {
    let last = len.checked_sub(1).ok_or_else(|| ForgeError::Impossible("this segment is empty".into()))?;
    Ok(match at {
        At::First => 0,
        At::Middle => len / 2,
        At::Last => last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deformations_do_what_they_say() {
        let mut text = encode(b"fo");
        assert_eq!(text, b"Zm8");
        set_pad_bits(&mut text).expect("two unused bits");
        assert_eq!(text, b"Zm9");
        pad(&mut text);
        assert_eq!(text, b"Zm9=");
        dangle(&mut text);
        assert_eq!(text, b"Zm9=A");
        assert!(set_pad_bits(&mut text).is_err());
        let mut text = encode(&[0xff, 0xef, 0xbe]);
        assert_eq!(text, b"_---");
        assert!(to_standard(&mut text), "both occur");
        assert_eq!(text, b"/+++");
        let mut text = vec![b'a'; 41];
        wrap(&mut text);
        assert_eq!(text.iter().filter(|byte| **byte == b'\r').count(), 2);
        assert_eq!(change_char(b'A'), b'_');
    }
}
