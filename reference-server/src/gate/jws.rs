//! The text of a compact JWS (RFC 7515 §7.1): three base64url segments between two periods.
//!
//! It knows the alphabet and the shape and allocates nothing until both are right. It does not know JSON,
//! keys or claims, and it has no lenient mode: those variants live in `lenient`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A token cut at its periods; every part is still as received.
#[derive(Debug)]
pub(super) struct Compact<'t> {
    /// The first segment.
    pub(super) header: &'t [u8],
    /// The second segment. Only a fault makes one that is not a part of the token.
    pub(super) payload: Cow<'t, [u8]>,
    /// The third segment. Only a fault makes a token without one.
    pub(super) signature: Option<&'t [u8]>,
    /// What the signature covers: the text before the last period (RFC 7515 §5.2, step 8).
    pub(super) signed: &'t [u8],
}

/// Outside the alphabet.
const FOREIGN: u8 = 0xff;

/// The six bits each character of RFC 4648 §5 stands for.
const SEXTETS: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut table = [FOREIGN; 256];
    let mut value = 0;
    while value < alphabet.len() {
        table[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    table
};

/// Whether RFC 4648 §5 has this character.
pub(super) fn is_base64url(byte: u8) -> bool {
    SEXTETS[usize::from(byte)] != FOREIGN
}

/// Cuts `token` at its two periods, once it has two and each segment can be decoded.
pub(super) fn split(token: &[u8]) -> Result<Compact<'_>, &'static str> {
    let mut periods = [0; 2];
    let mut found = 0;
    for (at, &byte) in token.iter().enumerate() {
        if byte == b'.' {
            // Five parts would be a JWE (RFC 7516 §9), which this gate does not take.
            *periods.get_mut(found).ok_or("more than two periods")? = at;
            found += 1;
        } else if !is_base64url(byte) {
            return Err("a byte outside the base64url alphabet");
        }
    }
    if found < periods.len() {
        return Err("fewer than two periods");
    }
    let [first, second] = periods;
    let header = &token[..first];
    let payload = &token[first + 1..second];
    let signature = &token[second + 1..];
    for segment in [header, payload, signature] {
        check_tail(segment)?;
    }
    Ok(Compact { header, payload: Cow::Borrowed(payload), signature: Some(signature), signed: &token[..second] })
}

/// Refuses a segment that no bytes encode to: one character left over after the groups of four, or pad bits
/// that are not zero, which RFC 4648 §3.5 lets a decoder refuse, so that a token has one spelling.
fn check_tail(segment: &[u8]) -> Result<(), &'static str> {
    let last = segment.last().map_or(0, |&byte| SEXTETS[usize::from(byte)]);
    let pad_bits = match segment.len() % 4 {
        1 => return Err("a segment of an impossible length"),
        2 => 0b00_1111,
        3 => 0b00_0011,
        _ => 0,
    };
    if last & pad_bits == 0 { Ok(()) } else { Err("pad bits that are not zero") }
}

/// The bytes of one segment: no padding, no other alphabet, nothing skipped (RFC 7515 §2, §5.2).
pub(super) fn decode(segment: &[u8]) -> Result<Vec<u8>, &'static str> {
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| "a segment that is not base64url")
}

/// The segment that stands for these bytes.
pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pre-check and the decoder must agree, or a token would be refused for the wrong reason or twice.
    #[test]
    fn the_pre_check_refuses_what_the_decoder_refuses() {
        for length in 0..=6_usize {
            for last in 0..=u8::MAX {
                let mut segment = vec![b'A'; length];
                if let Some(end) = segment.last_mut() {
                    *end = last;
                }
                if last == b'.' {
                    continue;
                }
                let mut token = segment.clone();
                token.extend_from_slice(b"..");
                assert_eq!(split(&token).is_ok(), decode(&segment).is_ok(), "length {length}, last byte {last:#x}");
            }
        }
    }

    #[test]
    fn only_two_periods_will_do() {
        for (token, whole) in [
            (&b"AA"[..], false),
            (b"AA.AA", false),
            (b"AA.AA.AA", true),
            (b"..", true),
            (b"AA.AA.AA.", false),
            (b".AA.AA.AA", false),
            (b"AA.AA.AA.AA.AA", false),
        ] {
            assert_eq!(split(token).is_ok(), whole);
        }
    }

    #[test]
    fn the_signature_covers_the_text_before_the_last_period() {
        let token = b"YWJj.ZGVm.Z2hp";
        assert!(matches!(
            split(token),
            Ok(Compact { header: b"YWJj", signature: Some(b"Z2hp"), signed: b"YWJj.ZGVm", payload })
                if *payload == *b"ZGVm"
        ));
    }
}
