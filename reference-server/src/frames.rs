//! Frames (RFC 6455 §5.2) as a layer below the WebSocket library sees them: read without an opinion, written back.
//!
//! Only what lies between the socket and the library needs them: compression and the faults of the wire.

/// Opcodes (RFC 6455 §11.8).
pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// A frame, its payload unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    /// RSV1 to RSV3 as the bits 4, 2 and 1.
    pub(crate) rsv: u8,
    pub(crate) opcode: u8,
    pub(crate) mask: Option<[u8; 4]>,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn is_control(&self) -> bool {
        self.opcode >= CLOSE
    }

    /// The same kind of frame with another payload.
    pub(crate) fn with(&self, payload: impl Into<Vec<u8>>) -> Self {
        Self { payload: payload.into(), ..*self }
    }

    /// The code of a close frame that carries one.
    pub(crate) fn close_code(&self) -> Option<u16> {
        match (self.opcode, self.payload.as_slice()) {
            (CLOSE, [high, low, ..]) => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        }
    }

    /// Writes it. A masked frame gets a key of zeros, which leaves the payload as it is.
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        let length = self.payload.len();
        write_head(u8::from(self.fin) << 7 | (self.rsv & 7) << 4 | self.opcode & 0x0f, self.mask, length as u64, to);
        to.extend_from_slice(&self.payload);
    }
}

/// Writes the head of a frame of this length.
pub(crate) fn write_head(first: u8, mask: Option<[u8; 4]>, length: u64, to: &mut Vec<u8>) {
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    to.push(first);
    match length {
        0..126 => to.push(mask_bit | length as u8),
        126..0x1_0000 => {
            to.push(mask_bit | 126);
            to.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            to.push(mask_bit | 127);
            to.extend_from_slice(&length.to_be_bytes());
        }
    }
    if mask.is_some() {
        to.extend_from_slice(&[0; 4]);
    }
}

/// What stands before the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    first: u8,
    mask: Option<[u8; 4]>,
    /// The length that is announced.
    pub(crate) length: u64,
    /// The bytes of the head itself.
    pub(crate) bytes: usize,
}

impl Head {
    /// The frame at the front of `bytes`, once `length` bytes of payload are there.
    pub(crate) fn frame(&self, bytes: &[u8], length: usize) -> Option<Frame> {
        let mut payload = bytes.get(self.bytes..self.bytes.checked_add(length)?)?.to_vec();
        for (byte, key) in payload.iter_mut().zip(self.mask.unwrap_or_default().iter().cycle()) {
            *byte ^= key;
        }
        let Self { first, mask, .. } = *self;
        Some(Frame { fin: first & 0x80 != 0, rsv: first >> 4 & 7, opcode: first & 0x0f, mask, payload })
    }
}

/// The head at the front of `bytes`, once all of it is there.
pub(crate) fn head(bytes: &[u8]) -> Option<Head> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (length, extended) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 2),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 8),
        short => (u64::from(short), 0),
    };
    let at = 2 + extended;
    let mask = match second & 0x80 {
        0 => None,
        _ => Some(bytes.get(at..at + 4)?.try_into().ok()?),
    };
    Some(Head { first, mask, length, bytes: at + if mask.is_some() { 4 } else { 0 } })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn heads_are_measured() {
        assert_eq!(head(&[0x81]), None);
        assert_eq!(head(&[0x81, 0x85, 1, 2, 3]), None);
        assert_eq!(head(&[0x81, 0x85, 1, 2, 3, 4]).map(|head| (head.length, head.bytes)), Some((5, 6)));
        assert_eq!(head(&[0x81, 0xfe, 1]), None);
        assert_eq!(head(&[0x81, 0x7e, 1, 0]).map(|head| (head.length, head.bytes)), Some((256, 4)));
    }

    #[test]
    fn what_is_written_reads_back_unmasked() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let frame = Frame { fin: false, rsv: 5, opcode: 2, mask: None, payload: vec![7; length] };
            let mut bytes = Vec::new();
            frame.write(&mut bytes);
            assert_eq!(head(&bytes).unwrap().frame(&bytes, length), Some(frame));
        }
        let masked = [0x81, 0x82, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2];
        let frame = head(&masked).unwrap().frame(&masked, 2).unwrap();
        assert_eq!((frame.payload.as_slice(), frame.mask), (&b"ab"[..], Some([1, 2, 3, 4])));
    }
}
