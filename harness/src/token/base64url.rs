//! The oracle's own reader of base64url segments (RFC 7515 §2, RFC 4648 §5): strict about the alphabet and the
//! length, and it tells when a last character carries bits that belong to no byte. It does not write.

/// What a segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) bytes: Vec<u8>,
    /// The unused bits of the last character are not zero: another text decodes to the same bytes.
    pub(crate) stray_bits: bool,
}

/// Why a segment is no base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Character(u8),
    Length,
}

fn value(character: u8) -> Result<u32, Fault> {
    Ok(u32::from(match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        other => return Err(Fault::Character(other)),
    }))
}

pub(crate) fn read(text: &[u8]) -> Result<Decoded, Fault> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let mut stray_bits = false;
    for group in text.chunks(4) {
        let mut bits = 0;
        for character in group {
            bits = bits << 6 | value(*character)?;
        }
        match group.len() {
            4 => bytes.extend_from_slice(&bits.to_be_bytes()[1..]),
            3 => {
                bytes.extend_from_slice(&(bits >> 2).to_be_bytes()[2..]);
                stray_bits = bits & 0b11 != 0;
            }
            2 => {
                bytes.extend_from_slice(&(bits >> 4).to_be_bytes()[3..]);
                stray_bits = bits & 0b1111 != 0;
            }
            // Six bits make no byte.
            _ => return Err(Fault::Length),
        }
    }
    Ok(Decoded { bytes, stray_bits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::segment;

    #[test]
    fn it_reads_what_another_encoder_wrote() {
        for len in 0..200_u8 {
            let bytes: Vec<u8> = (0..len).map(|place| place.wrapping_mul(37)).collect();
            let read = read(&segment::encode(&bytes)).expect("honest text");
            assert_eq!(read, Decoded { bytes, stray_bits: false });
        }
    }

    #[test]
    fn it_refuses_what_is_not_base64url() {
        assert_eq!(read(b"Zm8="), Err(Fault::Character(b'=')));
        assert_eq!(read(b"Zm+v"), Err(Fault::Character(b'+')));
        assert_eq!(read(b"Zm 9"), Err(Fault::Character(b' ')));
        assert_eq!(read(b"Zm9vZ"), Err(Fault::Length));
        assert_eq!(read(b"Zm9"), Ok(Decoded { bytes: b"fo".to_vec(), stray_bits: true }));
    }
}
