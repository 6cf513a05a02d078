//! The text of a compact JWS (RFC 7515 §7.1): three base64url segments between two periods.
//!
//! It knows the alphabet and the shape and allocates nothing until both are right. It does not know JSON,
//! keys or claims, and it has no lenient mode: those variants live in `lenient`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::{memchr, memrchr};

/// Bytes looked at in one go: what two or four vector registers hold.
const STRIDE: usize = 32;

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

/// What a piece of a token is made of.
#[derive(Default)]
struct Survey {
    /// Not zero where a byte is neither of the alphabet nor a period.
    foreign: u8,
    periods: u8,
}

/// Looks at up to [`STRIDE`] bytes. Without a table and without a branch, so that a compiler can do many at once.
#[inline]
fn survey(piece: &[u8]) -> Survey {
    let mut survey = Survey::default();
    for &byte in piece {
        let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        let digit = byte.wrapping_sub(b'0') < 10;
        let period = byte == b'.';
        survey.foreign |= u8::from(!(letter | digit | period | (byte == b'-') | (byte == b'_')));
        survey.periods += u8::from(period);
    }
    survey
}

/// Cuts `token` at its two periods, once it has two and each segment can be decoded.
pub(super) fn split(token: &[u8]) -> Result<Compact<'_>, &'static str> {
    let mut periods = 0;
    let (strides, rest) = token.as_chunks::<STRIDE>();
    for Survey { foreign, periods: more } in strides.iter().map(|stride| survey(stride)).chain([survey(rest)]) {
        if foreign != 0 {
            return Err("a byte outside the base64url alphabet");
        }
        periods += usize::from(more);
        if periods > 2 {
            // Five parts would be a JWE (RFC 7516 §9), which this gate does not take.
            return Err("more than two periods");
        }
    }
    let (Some(first), Some(second), 2) = (memchr(b'.', token), memrchr(b'.', token), periods) else {
        return Err("fewer than two periods");
    };
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
    let mut bytes = vec![0; decoded_length(segment)];
    decode_into(segment, &mut bytes)?;
    Ok(bytes)
}

/// As [`decode`], into `space` where it is large enough.
pub(super) fn decode_within<'s>(segment: &[u8], space: &'s mut [u8]) -> Result<Cow<'s, [u8]>, &'static str> {
    match space.get_mut(..decoded_length(segment)) {
        Some(bytes) => decode_into(segment, bytes).map(|()| Cow::Borrowed(&*bytes)),
        None => decode(segment).map(Cow::Owned),
    }
}

const fn decoded_length(segment: &[u8]) -> usize {
    segment.len() / 4 * 3 + segment.len() % 4 * 3 / 4
}

/// Decodes into `bytes`, which has to be of the right length.
fn decode_into(segment: &[u8], bytes: &mut [u8]) -> Result<(), &'static str> {
    check_tail(segment)?;
    // The highest bit of a sextet is set for what is outside the alphabet, and for nothing else.
    let mut all = 0;
    let mut bits = |characters: &[u8]| {
        characters.iter().fold(0_u32, |bits, &character| {
            let sextet = SEXTETS[usize::from(character)];
            all |= sextet;
            bits << 6 | u32::from(sextet)
        })
    };
    let (groups, rest) = segment.as_chunks::<4>();
    let (triples, last) = bytes.as_chunks_mut::<3>();
    for (group, triple) in groups.iter().zip(triples) {
        let [_, a, b, c] = bits(group).to_be_bytes();
        *triple = [a, b, c];
    }
    // Two characters are one byte and four bits over, three are two bytes and two bits over.
    let end = bits(rest).checked_shl(32 - 6 * rest.len() as u32).unwrap_or(0);
    for (byte, value) in last.iter_mut().zip(end.to_be_bytes()) {
        *byte = value;
    }
    if all & 0x80 == 0 { Ok(()) } else { Err("a segment that is not base64url") }
}

/// The segment that stands for these bytes.
pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Another author's decoder is as strict, and finds the same bytes.
        #[test]
        fn the_decoder_is_that_of_base64(segment in r"[A-Za-z0-9_\-]{0,70}[A-Za-z0-9_=+/. \-]?[AQgw]{0,2}") {
            let theirs = URL_SAFE_NO_PAD.decode(&segment).ok();
            prop_assert_eq!(&decode(segment.as_bytes()).ok(), &theirs);
            let mut space = [0; 32];
            prop_assert_eq!(&decode_within(segment.as_bytes(), &mut space).ok().map(Cow::into_owned), &theirs);
        }

        #[test]
        fn what_is_encoded_is_decoded(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(encode(&bytes).as_bytes()), Ok(bytes));
        }

        /// Wherever in the text it stands, a foreign byte is seen and a period is counted.
        #[test]
        fn every_byte_is_looked_at(length in 0..140_usize, byte: u8, at: prop::sample::Index) {
            let mut token = vec![b'A'; 4 * length + 4];
            let end = token.len();
            token.extend_from_slice(b".AAAA.AAAA");
            token[at.index(end)] = byte;
            let shape = token.split(|&byte| byte == b'.').map(|segment| decode(segment).is_ok());
            prop_assert_eq!(split(&token).is_ok(), shape.eq([true; 3]), "{}", byte);
        }
    }

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
