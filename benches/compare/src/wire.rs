//! Frames as bytes, for the floor server and the load client.

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// Writes a whole frame (RFC 6455 §5.2) of at most 65,535 bytes.
pub(crate) fn write(opcode: u8, payload: &[&[u8]], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    out.push(0x80 | opcode);
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match u8::try_from(length) {
        Ok(short @ ..=125) => out.push(masked | short),
        _ => {
            out.push(masked | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    out.extend(mask.into_iter().flatten());
    let begin = out.len();
    payload.iter().for_each(|part| out.extend_from_slice(part));
    if let Some(mask) = mask {
        out[begin..].iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }
}

/// The frame head at the front: opcode, bytes of the head, bytes of the payload, mask. `None` until it is all there.
pub(crate) fn head(bytes: &[u8]) -> Option<(u8, usize, usize, Option<[u8; 4]>)> {
    let (opcode, second) = (bytes.first()? & 15, *bytes.get(1)?);
    let (mut head, length) = match second & 127 {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let mask = match second & 128 {
        0 => None,
        _ => {
            let mask = *bytes.get(head..)?.first_chunk()?;
            head += 4;
            Some(mask)
        }
    };
    Some((opcode, head, length, mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 125, 126, 300, 65_535] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let (mut bytes, payload) = (Vec::new(), vec![7; length]);
                write(TEXT, &[&payload], mask, &mut bytes);
                let (opcode, head, read, unmask) = head(&bytes).expect("it is all there");
                assert_eq!((opcode, read, unmask, bytes.len()), (TEXT, length, mask, head + length));
                assert!(super::head(&bytes[..head - 1]).is_none(), "half a head of {length}");
            }
        }
    }
}
