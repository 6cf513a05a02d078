//! permessage-deflate (RFC 7692): what is agreed, and how messages are compressed under it.
//!
//! The agreement is pure: the client's offers in, the answer out. The codec works on frames on their way to and from
//! the WebSocket library, which knows nothing of compression: it is handed plain frames, and every rule about plain
//! frames stays the library's. A message is never inflated beyond the limit, not even for a moment.

use axum::http::HeaderMap;
use axum::http::header::SEC_WEBSOCKET_EXTENSIONS;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::carrier::elements;
use crate::fault::Fault;
use crate::frames::{CONTINUATION, Frame};

const NAME: &str = "permessage-deflate";

/// RSV1, the "Per-Message Compressed" bit (RFC 7692 §6).
const COMPRESSED: u8 = 4;

/// What a sync flush ends with; left out on the wire (RFC 7692 §7.2.1).
const TAIL: &[u8] = &[0, 0, 0xff, 0xff];

/// The window that is always allowed, as a power of two.
const WIDEST_WINDOW: u8 = 15;

/// How much is inflated or deflated in one go, in bytes: a few usual messages.
const AT_ONCE: usize = 4 * 1024;

/// What was agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// Our compressor starts anew with each message.
    server_no_context_takeover: bool,
    /// So does the client's.
    client_no_context_takeover: bool,
    /// How far back our compressor looks, as a power of two.
    server_max_window_bits: Option<u8>,
    /// Said although the client did not say that it can keep to it (only a fault does).
    unoffered_parameter: bool,
}

impl Agreed {
    /// The value of Sec-WebSocket-Extensions in the answer.
    pub(crate) fn to_header(&self) -> String {
        let mut header = NAME.to_owned();
        if self.server_no_context_takeover {
            header.push_str("; server_no_context_takeover");
        }
        if self.client_no_context_takeover {
            header.push_str("; client_no_context_takeover");
        }
        if let Some(bits) = self.server_max_window_bits {
            header.push_str(&format!("; server_max_window_bits={bits}"));
        }
        if self.unoffered_parameter {
            header.push_str("; client_max_window_bits=15");
        }
        header
    }
}

/// Takes the first offer that can be kept to. An offer that is wrong is declined like one that asks too much (§5.1):
/// neither is a reason to refuse the handshake.
pub(crate) fn negotiate(headers: &HeaderMap, fault: Option<Fault>) -> Option<Agreed> {
    elements(headers, &SEC_WEBSOCKET_EXTENSIONS).find_map(|offer| accept(offer, fault))
}

/// Is there an offer, be it a good one or a bad one?
pub(crate) fn is_offered(headers: &HeaderMap) -> bool {
    elements(headers, &SEC_WEBSOCKET_EXTENSIONS).any(|offer| offer.split(';').next().map(str::trim) == Some(NAME))
}

fn accept(offer: &str, fault: Option<Fault>) -> Option<Agreed> {
    let mut parts = offer.split(';').map(str::trim);
    if parts.next() != Some(NAME) {
        return None;
    }
    let mut agreed = Agreed {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: None,
        unoffered_parameter: false,
    };
    let mut seen = Vec::new();
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(unquoted(value.trim_start()))),
            None => (part, None),
        };
        let bits = value.and_then(window_bits);
        match (name, value) {
            _ if seen.contains(&name) && fault != Some(Fault::AcceptsBadOffer) => return None,
            ("server_no_context_takeover", None) => agreed.server_no_context_takeover = true,
            ("client_no_context_takeover", None) => agreed.client_no_context_takeover = true,
            ("server_max_window_bits", Some(_)) if bits.is_some() => agreed.server_max_window_bits = bits,
            // Our inflater has the widest window there is, so nothing need be asked of the client.
            ("client_max_window_bits", None) => {}
            ("client_max_window_bits", Some(_)) if bits.is_some() => {}
            _ if fault == Some(Fault::AcceptsBadOffer) => {}
            _ => return None,
        }
        seen.push(name);
    }
    agreed.unoffered_parameter =
        fault == Some(Fault::AnswersUnofferedParameter) && !seen.contains(&"client_max_window_bits");
    Some(agreed)
}

/// A parameter's value may be a quoted string (RFC 6455 §9.1).
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// 8 to 15, without leading zeroes (§7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=WIDEST_WINDOW).contains(bits))?;
    (bits.to_string() == value).then_some(bits)
}

/// Why a message cannot be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The data is no DEFLATE data.
    Corrupt,
    /// It is larger than a message may be.
    TooBig,
}

/// Both directions of one connection.
#[derive(Debug)]
pub(crate) struct Codec {
    agreed: Agreed,
    fault: Option<Fault>,
    max_message: usize,
    /// Made by the first message that needs one: it is large, and many a session says nothing.
    inflater: Option<Decompress>,
    /// Likewise.
    deflater: Option<Compress>,
    /// Whether the message that is coming in is compressed, and how much of it has been inflated.
    inflating: Option<usize>,
}

impl Codec {
    pub(crate) fn new(agreed: Agreed, fault: Option<Fault>, max_message: usize) -> Self {
        Self { agreed, fault, max_message, inflater: None, deflater: None, inflating: None }
    }

    /// A frame of the client as the library shall see it: inflated, RSV1 cleared. RSV1 where it has no business (§6.1)
    /// stays, and the library fails the connection over it.
    pub(crate) fn inbound(&mut self, mut frame: Frame) -> Result<Option<Frame>, Broken> {
        if frame.is_control() || frame.opcode == CONTINUATION {
            if self.fault == Some(Fault::IgnoresMisplacedRsv1) {
                frame.rsv &= !COMPRESSED;
            }
        } else {
            let compressed = frame.rsv & COMPRESSED != 0 || self.fault == Some(Fault::InflatesEverything);
            self.inflating = compressed.then_some(0);
            frame.rsv &= !COMPRESSED;
        }
        let Some(inflated) = self.inflating.filter(|_| !frame.is_control()) else {
            return Ok(Some(frame));
        };
        let mut payload = Vec::new();
        let mut all = self.inflate(&frame.payload, &mut payload, inflated);
        if frame.fin && all.is_ok() {
            all = self.inflate(TAIL, &mut payload, inflated);
        }
        self.inflating = (!frame.fin).then_some(inflated + payload.len());
        match all {
            Err(Broken::Corrupt) if self.fault == Some(Fault::IgnoresInflateError) => {
                self.forget();
                return Ok(None);
            }
            Err(broken) => return Err(broken),
            Ok(()) => {}
        }
        let forgets = self.agreed.client_no_context_takeover || self.fault == Some(Fault::LosesDeflateContext);
        if frame.fin && forgets {
            self.forget();
        }
        Ok(Some(frame.with(payload)))
    }

    /// What came so far is no context any more.
    fn forget(&mut self) {
        if let Some(inflater) = &mut self.inflater {
            inflater.reset(false);
        }
    }

    /// Inflates `input` onto `output`, which follows `before` bytes of the same message.
    fn inflate(&mut self, mut input: &[u8], output: &mut Vec<u8>, before: usize) -> Result<(), Broken> {
        let inflater = self.inflater.get_or_insert_with(|| Decompress::new(false));
        let mut buffer = [0; AT_ONCE];
        loop {
            let (read, written) = (inflater.total_in(), inflater.total_out());
            let status = inflater.decompress(input, &mut buffer, FlushDecompress::Sync).map_err(|_| Broken::Corrupt)?;
            let read = (inflater.total_in() - read) as usize;
            let written = (inflater.total_out() - written) as usize;
            input = input.get(read..).unwrap_or_default();
            if before + output.len() + written > self.max_message {
                return Err(Broken::TooBig);
            }
            output.extend_from_slice(&buffer[..written]);
            match status {
                // A client may end its DEFLATE stream (§7.2.3.4); what follows begins another.
                Status::StreamEnd => inflater.reset(false),
                _ if read == 0 && written == 0 => return Ok(()),
                _ => {}
            }
            if input.is_empty() && written < buffer.len() {
                return Ok(());
            }
        }
    }

    /// A frame of the library as the client shall see it. The library writes each message as one frame.
    pub(crate) fn outbound(&mut self, frame: Frame) -> Frame {
        if frame.is_control() || frame.opcode == CONTINUATION || !frame.fin || frame.rsv != 0 {
            return frame;
        }
        let mut compressed = self.deflate(&frame.payload);
        if compressed.ends_with(TAIL) {
            compressed.truncate(compressed.len() - TAIL.len());
        }
        if compressed.is_empty() {
            // There was nothing to flush: an empty block, less the tail (§7.2.3.6).
            compressed.push(0);
        }
        Frame { rsv: COMPRESSED, ..frame.with(compressed) }
    }

    fn deflate(&mut self, message: &[u8]) -> Vec<u8> {
        let mut output = Vec::with_capacity(message.len() / 2 + 64);
        let deflater = self.deflater.get_or_insert_with(|| Compress::new(Compression::default(), false));
        let bits = self.agreed.server_max_window_bits.unwrap_or(WIDEST_WINDOW);
        if bits == WIDEST_WINDOW {
            let flush = if self.agreed.server_no_context_takeover { FlushCompress::Full } else { FlushCompress::Sync };
            compress(deflater, message, &mut output, flush);
            return output;
        }
        // The compressor has one window only. A full flush makes it forget, so that nothing reaches further back than
        // the part it stands in.
        let parts = message.len().div_ceil(1 << bits).max(1);
        for part in 0..parts {
            let part = message.get(part << bits..).unwrap_or_default();
            compress(deflater, &part[..part.len().min(1 << bits)], &mut output, FlushCompress::Full);
        }
        output
    }
}

fn compress(deflater: &mut Compress, mut input: &[u8], output: &mut Vec<u8>, flush: FlushCompress) {
    let mut buffer = [0; AT_ONCE];
    loop {
        let (read, written) = (deflater.total_in(), deflater.total_out());
        // It fails only when it is used after its end, which it never reaches.
        if deflater.compress(input, &mut buffer, flush).is_err() {
            return;
        }
        let read = (deflater.total_in() - read) as usize;
        let written = (deflater.total_out() - written) as usize;
        input = input.get(read..).unwrap_or_default();
        output.extend_from_slice(&buffer[..written]);
        if input.is_empty() && written < buffer.len() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::frames::{PING, TEXT};

    fn answer(offer: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, offer.parse().unwrap());
        negotiate(&headers, None).map(|agreed| agreed.to_header())
    }

    #[test]
    fn a_good_offer_is_answered_with_what_it_asks() {
        for (offer, wanted) in [
            ("permessage-deflate", "permessage-deflate"),
            ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
            ("permessage-deflate;client_max_window_bits=10", "permessage-deflate"),
            ("x, permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"),
            ("permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover"),
            ("permessage-deflate; server_max_window_bits=\"9\"", "permessage-deflate; server_max_window_bits=9"),
            ("permessage-deflate; x, permessage-deflate", "permessage-deflate"),
        ] {
            assert_eq!(answer(offer).as_deref(), Some(wanted), "{offer}");
        }
    }

    #[test]
    fn a_bad_offer_is_declined() {
        for offer in [
            "",
            "deflate",
            "permessage-deflate; foo",
            "permessage-deflate;",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=08",
            "permessage-deflate; client_max_window_bits=x",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        ] {
            assert_eq!(answer(offer), None, "{offer}");
        }
    }

    fn codec(offer: &str, max_message: usize) -> Codec {
        Codec::new(accept(offer, None).unwrap(), None, max_message)
    }

    fn text(payload: &[u8]) -> Frame {
        Frame { fin: true, rsv: 0, opcode: TEXT, mask: None, payload: payload.to_vec() }
    }

    #[test]
    fn messages_come_back_whatever_was_agreed() {
        let long: Vec<u8> = (0..100_000_u32).flat_map(|n| (n % 1000).to_be_bytes()).collect();
        for parameters in [
            "",
            "; server_no_context_takeover",
            "; client_no_context_takeover; server_no_context_takeover",
            "; server_max_window_bits=8",
            "; server_max_window_bits=12",
        ] {
            let offer = format!("permessage-deflate{parameters}");
            let mut codec = codec(&offer, 1 << 20);
            for message in [&b"Hello"[..], b"", b"Hello", b"Hello", &long, b"Hello"] {
                let frame = codec.outbound(text(message));
                assert_eq!(frame.rsv, COMPRESSED);
                assert_eq!(codec.inbound(frame).unwrap().unwrap(), text(message), "{offer}");
            }
        }
    }

    #[test]
    fn the_context_is_taken_over_unless_that_was_excluded() {
        let again = |offer| {
            let mut codec = codec(offer, 1000);
            let [first, second] = [(); 2].map(|()| codec.outbound(text(b"Hello, and hello again")).payload.len());
            second < first
        };
        assert!(again("permessage-deflate"));
        assert!(!again("permessage-deflate; server_no_context_takeover"));
    }

    #[test]
    fn the_samples_of_the_rfc_are_read() {
        // RFC 7692 §7.2.3.1 (compressed), §7.2.3.3 (stored) and §7.2.3.4 (with BFINAL).
        for sample in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        ] {
            let frame = Frame { rsv: COMPRESSED, ..text(sample) };
            assert_eq!(codec(NAME, 100).inbound(frame).unwrap().unwrap().payload, b"Hello");
        }
        let mut codec = codec(NAME, 100);
        let first = Frame { fin: false, rsv: COMPRESSED, ..text(&[0xf2, 0x48, 0xcd]) };
        let rest = Frame { opcode: CONTINUATION, ..text(&[0xc9, 0xc9, 0x07, 0x00]) };
        let halves = [first, rest].map(|frame| codec.inbound(frame).unwrap().unwrap());
        assert_eq!([halves[0].payload.clone(), halves[1].payload.clone()].concat(), b"Hello");
        assert_eq!((halves[0].rsv, halves[1].rsv), (0, 0));
    }

    #[test]
    fn a_bomb_stops_at_the_limit_and_garbage_at_once() {
        let mut sender = codec(NAME, usize::MAX);
        let bomb = sender.outbound(text(&vec![0; 1 << 20]));
        assert!(bomb.payload.len() < 4096);
        assert_eq!(codec(NAME, 1 << 20).inbound(bomb.clone()).unwrap().unwrap().payload.len(), 1 << 20);
        assert_eq!(codec(NAME, (1 << 20) - 1).inbound(bomb.clone()), Err(Broken::TooBig));
        let mut halves = codec(NAME, (1 << 20) - 1);
        let (first, rest) = bomb.payload.split_at(bomb.payload.len() / 2);
        let first = Frame { fin: false, ..bomb.with(first) };
        assert!(halves.inbound(first).is_ok());
        let rest = Frame { rsv: 0, opcode: CONTINUATION, ..bomb.with(rest) };
        assert_eq!(halves.inbound(rest), Err(Broken::TooBig));
        let garbage = Frame { rsv: COMPRESSED, ..text(&[0xff; 8]) };
        assert_eq!(codec(NAME, 100).inbound(garbage), Err(Broken::Corrupt));
    }

    #[test]
    fn what_is_not_compressed_passes_and_a_misplaced_bit_stays() {
        let mut codec = codec(NAME, 100);
        assert_eq!(codec.inbound(text(b"plain")).unwrap().unwrap(), text(b"plain"));
        let ping = Frame { rsv: COMPRESSED, opcode: PING, ..text(b"x") };
        assert_eq!(codec.inbound(ping.clone()).unwrap().unwrap(), ping);
        assert_eq!(codec.outbound(Frame { rsv: 0, ..ping.clone() }).rsv, 0);
    }
}
