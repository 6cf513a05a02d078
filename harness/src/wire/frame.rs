//! WebSocket frames (RFC 6455 §5.2): written in any shape, legal or not, and read without an opinion.

/// A text frame.
pub const TEXT: u8 = 0x1;
/// A binary frame.
pub const BINARY: u8 = 0x2;
/// A close frame.
pub const CLOSE: u8 = 0x8;
/// A ping frame.
pub const PING: u8 = 0x9;
/// A pong frame.
pub const PONG: u8 = 0xA;

/// A frame as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The final fragment of its message.
    pub fin: bool,
    /// RSV1 to RSV3 as the bits 4, 2 and 1.
    pub rsv: u8,
    /// The four bits of the opcode.
    pub opcode: u8,
    /// Whether the sender masked it. A server must not (§5.1).
    pub masked: bool,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Text, binary or a continuation of either: what an application sent.
    pub fn is_data(&self) -> bool {
        self.opcode < CLOSE
    }

    /// Whether it is of no kind that is defined (RFC 6455 §5.2): a reserved opcode, or a reserved bit that no extension
    /// has given a meaning. RSV1 may have one where an extension was announced.
    pub fn is_reserved(&self, extended: bool) -> bool {
        let defined = matches!(self.opcode, 0..=BINARY | CLOSE..=PONG);
        !defined || self.rsv & if extended { 3 } else { 7 } != 0
    }

    /// Whether it is a close frame by which a server says that it is about to stop: 1001 (RFC 6455 §7.4.1), or 1012 of the
    /// registry that §11.7 founds.
    pub fn is_going_away(&self) -> bool {
        matches!(self.close_code(), Some(1001 | 1012))
    }

    /// The close code, when this is a close frame that carries one.
    pub fn close_code(&self) -> Option<u16> {
        match (self.opcode, self.payload.as_slice()) {
            (CLOSE, [high, low, ..]) => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        }
    }

    /// The reason of a close frame, as text; bytes that are no UTF-8 are replaced.
    pub fn close_reason(&self) -> String {
        String::from_utf8_lossy(self.payload.get(2..).unwrap_or_default()).into_owned()
    }
}

/// What the front of a buffer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Not yet a whole frame.
    More,
    /// A frame and the number of bytes it took.
    Frame(Frame, usize),
    /// A frame that announces more than `max` bytes; nothing was set aside for it.
    TooLong(u64),
}

/// Reads one frame from the front of `bytes`. Never allocates by a length that has not arrived.
pub fn read(bytes: &[u8], max: usize) -> Read {
    let [first, second, rest @ ..] = bytes else {
        return Read::More;
    };
    let (length, after_length) = match second & 0x7F {
        126 => match rest {
            [a, b, tail @ ..] => (u64::from(u16::from_be_bytes([*a, *b])), tail),
            _ => return Read::More,
        },
        127 => match rest {
            [a, b, c, d, e, f, g, h, tail @ ..] => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), tail),
            _ => return Read::More,
        },
        short => (u64::from(short), rest),
    };
    let masked = second & 0x80 != 0;
    let (mask, body) = match (masked, after_length) {
        (false, body) => ([0; 4], body),
        (true, [a, b, c, d, body @ ..]) => ([*a, *b, *c, *d], body),
        (true, _) => return Read::More,
    };
    let length = match usize::try_from(length) {
        Ok(fits) if fits <= max => fits,
        _ => return Read::TooLong(length),
    };
    let Some(payload) = body.get(..length) else {
        return Read::More;
    };
    let mut payload = payload.to_vec();
    apply_mask(&mut payload, mask);
    let frame = Frame { fin: first & 0x80 != 0, rsv: (first >> 4) & 0x7, opcode: first & 0x0F, masked, payload };
    Read::Frame(frame, bytes.len() - body.len() + length)
}

/// How the length of a written frame is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LengthForm {
    /// The shortest form, as a sender must (§5.2).
    #[default]
    Minimal,
    /// Two bytes, also where seven bits would do.
    Bits16,
    /// Eight bytes, also where fewer would do.
    Bits64,
    /// Eight bytes that announce this length, whatever follows.
    Announce(u64),
}

/// A frame to be written, in any shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The final fragment of its message.
    pub fin: bool,
    /// RSV1 to RSV3 as the bits 4, 2 and 1.
    pub rsv: u8,
    /// The four bits of the opcode.
    pub opcode: u8,
    /// The masking key; `None` leaves the frame unmasked, which a client must not (§5.1).
    pub mask: Option<[u8; 4]>,
    /// How the length is spelled.
    pub length: LengthForm,
    /// The payload before masking.
    pub payload: Vec<u8>,
}

impl Written {
    /// A legal, final client frame.
    pub fn client(opcode: u8, payload: impl Into<Vec<u8>>, mask: [u8; 4]) -> Self {
        Self { fin: true, rsv: 0, opcode, mask: Some(mask), length: LengthForm::Minimal, payload: payload.into() }
    }

    /// A close frame with a code and a reason.
    pub fn close(code: u16, reason: &str, mask: [u8; 4]) -> Self {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        Self::client(CLOSE, payload, mask)
    }

    /// The bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(14 + self.payload.len());
        bytes.push(u8::from(self.fin) << 7 | (self.rsv & 0x7) << 4 | self.opcode & 0x0F);
        let mask_bit = if self.mask.is_some() { 0x80 } else { 0 };
        let actual = self.payload.len() as u64;
        let (form, length) = match self.length {
            LengthForm::Minimal if actual < 126 => (0, actual),
            LengthForm::Minimal if actual <= 0xFFFF => (126, actual),
            LengthForm::Minimal | LengthForm::Bits64 => (127, actual),
            LengthForm::Bits16 => (126, actual & 0xFFFF),
            LengthForm::Announce(any) => (127, any),
        };
        match form {
            0 => bytes.push(mask_bit | length as u8),
            126 => {
                bytes.push(mask_bit | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit | 127);
                bytes.extend_from_slice(&length.to_be_bytes());
            }
        }
        bytes.extend_from_slice(self.mask.as_ref().map_or(&[], |mask| mask));
        let begin = bytes.len();
        bytes.extend_from_slice(&self.payload);
        if let Some(mask) = self.mask {
            apply_mask(&mut bytes[begin..], mask);
        }
        bytes
    }
}

/// Masks or unmasks in place; the two are the same operation (§5.3).
fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written() -> impl Strategy<Value = Written> {
        (
            any::<bool>(),
            0..8_u8,
            0..16_u8,
            any::<Option<[u8; 4]>>(),
            prop::collection::vec(any::<u8>(), 0..300),
            0..3_usize,
        )
            .prop_map(|(fin, rsv, opcode, mask, payload, form)| Written {
                fin,
                rsv,
                opcode,
                mask,
                length: [LengthForm::Minimal, LengthForm::Bits16, LengthForm::Bits64][form],
                payload,
            })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(written in written(), tail in prop::collection::vec(any::<u8>(), 0..8)) {
            let mut bytes = written.to_bytes();
            let length = bytes.len();
            bytes.extend_from_slice(&tail);
            let Read::Frame(frame, used) = read(&bytes, 1 << 16) else { panic!("no frame in {bytes:?}") };
            prop_assert_eq!(used, length);
            prop_assert_eq!(frame.payload, written.payload);
            prop_assert_eq!((frame.fin, frame.rsv, frame.opcode, frame.masked), (written.fin, written.rsv, written.opcode, written.mask.is_some()));
        }

        #[test]
        fn every_prefix_of_a_frame_asks_for_more(written in written()) {
            let bytes = written.to_bytes();
            for end in 0..bytes.len() {
                prop_assert_eq!(read(&bytes[..end], 1 << 16), Read::More);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&bytes, 1024);
        }
    }

    #[test]
    fn a_huge_announced_length_sets_nothing_aside() {
        let frame = Written { length: LengthForm::Announce(1 << 62), ..Written::client(TEXT, "ab", [1, 2, 3, 4]) };
        assert_eq!(read(&frame.to_bytes(), 1 << 20), Read::TooLong(1 << 62));
    }
}
