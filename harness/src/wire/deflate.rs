//! permessage-deflate (RFC 7692): whether an answer may be given to an offer, and how messages are compressed under it.
//!
//! Pure. Nothing here decides whether a server should compress: it reads what was agreed and works by it.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The name of the extension.
const NAME: &str = "permessage-deflate";
/// RSV1, which marks a compressed message (§6), among the bits of a frame's `rsv`.
pub const RSV1: u8 = 4;
/// What a sync flush ends with; left out on the wire (§7.2.1).
const TAIL: &[u8] = &[0, 0, 0xff, 0xff];
/// The widest window, as a power of two.
const WIDEST: u8 = 15;
/// A server that inflates to more than this in one message is not listened to any longer.
const MAX_INFLATED: usize = 256 << 20;

/// What was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The client starts anew with each message.
    pub client_no_context_takeover: bool,
    /// So does the server.
    pub server_no_context_takeover: bool,
    /// How far back the client may look, as a power of two.
    pub client_max_window_bits: u8,
}

/// One element of a list of extensions.
struct Element<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, Option<&'a str>)>,
}

/// What the header lines of an answer agree on with the header lines of an offer: nothing, compression, or why the
/// answer may not be given (RFC 6455 §9.1, RFC 7692 §5.1 and §7.1).
pub fn agree(offers: &[String], answers: &[String]) -> Result<Option<Agreed>, String> {
    let answer = answers.join(", ");
    if answers.is_empty() {
        return Ok(None);
    }
    let elements = elements(&answer);
    let [element] = elements.as_slice() else {
        return Err(format!("{} extensions, where one was offered", elements.len()));
    };
    if element.name != NAME {
        return Err(format!("the extension `{}`, which was not offered", element.name));
    }
    if let Some(flaw) = flaw(element, true) {
        return Err(flaw);
    }
    let offers = offers.join(", ");
    let mut why = "an answer to an offer that had to be declined".to_owned();
    for offer in self::elements(&offers).iter().filter(|offer| offer.name == NAME && flaw(offer, false).is_none()) {
        match mismatch(offer, element) {
            Some(mismatch) => why = mismatch,
            None => return Ok(Some(element.agreed())),
        }
    }
    Err(why)
}

/// What a server that was offered compression says it will keep to, whether it may say so or not.
pub fn announced(offers: &[String], answers: &[String]) -> Option<Agreed> {
    let (offers, answers) = (offers.join(", "), answers.join(", "));
    elements(&offers).iter().find(|element| element.name == NAME)?;
    elements(&answers).iter().find(|element| element.name == NAME).map(Element::agreed)
}

impl Element<'_> {
    fn agreed(&self) -> Agreed {
        Agreed {
            client_no_context_takeover: self.has("client_no_context_takeover"),
            server_no_context_takeover: self.has("server_no_context_takeover"),
            client_max_window_bits: self.bits("client_max_window_bits").unwrap_or(WIDEST),
        }
    }

    fn has(&self, wanted: &str) -> bool {
        self.parameters.iter().any(|(name, _)| *name == wanted)
    }

    fn bits(&self, wanted: &str) -> Option<u8> {
        self.parameters.iter().find(|(name, _)| *name == wanted).and_then(|(_, value)| window_bits((*value)?))
    }
}

/// The list in a header, cut at commas, its elements at semicolons; neither inside quotation marks.
fn elements(header: &str) -> Vec<Element<'_>> {
    cut(header, ',')
        .into_iter()
        .filter(|element| !element.is_empty())
        .map(|element| {
            let mut parts = cut(element, ';').into_iter();
            let name = parts.next().unwrap_or_default();
            let parameters = parts.map(|part| match part.split_once('=') {
                Some((name, value)) => (name.trim(), Some(unquoted(value.trim()))),
                None => (part, None),
            });
            Element { name, parameters: parameters.collect() }
        })
        .collect()
}

fn cut(text: &str, at: char) -> Vec<&str> {
    let mut quoted = false;
    let parts = text.split(move |character| {
        quoted ^= character == '"';
        character == at && !quoted
    });
    parts.map(str::trim).collect()
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// 8 to 15, without leading zeroes (§7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=WIDEST).contains(bits))?;
    (bits.to_string() == value).then_some(bits)
}

/// Why an element may not be written: an unknown parameter, one with a bad value, one that is there twice.
fn flaw(element: &Element<'_>, is_answer: bool) -> Option<String> {
    let mut seen = Vec::new();
    for (name, value) in &element.parameters {
        if seen.contains(name) {
            return Some(format!("the parameter `{name}` twice"));
        }
        seen.push(name);
        let good = match (*name, value) {
            ("server_no_context_takeover" | "client_no_context_takeover", None) => true,
            ("server_max_window_bits" | "client_max_window_bits", Some(value)) => window_bits(value).is_some(),
            // Only the client may leave it open (§7.1.2.2).
            ("client_max_window_bits", None) => !is_answer,
            _ => false,
        };
        if !good {
            let value = value.map(|value| format!("={value}")).unwrap_or_default();
            return Some(format!("the parameter `{name}{value}`"));
        }
    }
    None
}

/// Why this good answer is none to this good offer.
fn mismatch(offer: &Element<'_>, answer: &Element<'_>) -> Option<String> {
    if offer.has("server_no_context_takeover") && !answer.has("server_no_context_takeover") {
        return Some("an answer without the offered `server_no_context_takeover`".to_owned());
    }
    if let Some(offered) = offer.bits("server_max_window_bits")
        && answer.bits("server_max_window_bits").is_none_or(|bits| bits > offered)
    {
        return Some(format!("an answer that does not keep to `server_max_window_bits={offered}`"));
    }
    let bits = answer.bits("client_max_window_bits")?;
    if !offer.has("client_max_window_bits") {
        return Some("`client_max_window_bits`, which was not offered".to_owned());
    }
    let most = offer.bits("client_max_window_bits").unwrap_or(WIDEST);
    (bits > most).then(|| format!("`client_max_window_bits={bits}`, where {most} were offered"))
}

/// Both directions of one connection.
#[derive(Debug)]
pub struct Codec {
    agreed: Agreed,
    deflater: Compress,
    inflater: Decompress,
    /// Bytes of the message that is being inflated.
    inflated: usize,
}

impl Codec {
    /// A fresh one.
    pub fn new(agreed: Agreed) -> Self {
        Self {
            agreed,
            deflater: Compress::new(Compression::fast(), false),
            inflater: Decompress::new(false),
            inflated: 0,
        }
    }

    /// The payload of a compressed message.
    pub fn deflate(&mut self, message: &[u8]) -> Vec<u8> {
        let Agreed { client_no_context_takeover, client_max_window_bits: bits, .. } = self.agreed;
        let mut output = Vec::new();
        if bits == WIDEST {
            let flush = if client_no_context_takeover { FlushCompress::Full } else { FlushCompress::Sync };
            self.compress(message, &mut output, flush);
        } else {
            // The compressor has one window only. After a full flush nothing reaches back behind it.
            for part in message.chunks(1 << bits) {
                self.compress(part, &mut output, FlushCompress::Full);
            }
        }
        if output.ends_with(TAIL) {
            output.truncate(output.len() - TAIL.len());
        }
        if output.is_empty() {
            // An empty block, less the tail (§7.2.3.6).
            output.push(0);
        }
        output
    }

    fn compress(&mut self, mut input: &[u8], output: &mut Vec<u8>, flush: FlushCompress) {
        let mut buffer = [0; 16 * 1024];
        loop {
            let (read, written) = (self.deflater.total_in(), self.deflater.total_out());
            // It fails only when it is used after its end, which it never reaches.
            if self.deflater.compress(input, &mut buffer, flush).is_err() {
                return;
            }
            let read = (self.deflater.total_in() - read) as usize;
            let written = (self.deflater.total_out() - written) as usize;
            input = input.get(read..).unwrap_or_default();
            output.extend_from_slice(&buffer[..written]);
            if input.is_empty() && written < buffer.len() {
                return;
            }
        }
    }

    /// What the payload of one frame of a compressed message inflates to; of more than `keep` bytes the rest is read
    /// and forgotten.
    ///
    /// # Errors
    ///
    /// In words, when it is no DEFLATE data or without measure.
    pub fn inflate(&mut self, payload: &[u8], is_last: bool, keep: usize) -> Result<Vec<u8>, String> {
        let mut kept = Vec::new();
        self.decompress(payload, &mut kept, keep)?;
        if is_last {
            self.decompress(TAIL, &mut kept, keep)?;
            self.inflated = 0;
            if self.agreed.server_no_context_takeover {
                self.inflater.reset(false);
            }
        }
        Ok(kept)
    }

    fn decompress(&mut self, mut input: &[u8], kept: &mut Vec<u8>, keep: usize) -> Result<(), String> {
        let mut buffer = [0; 16 * 1024];
        loop {
            let (read, written) = (self.inflater.total_in(), self.inflater.total_out());
            let status = self.inflater.decompress(input, &mut buffer, FlushDecompress::Sync);
            let status = status.map_err(|error| error.to_string())?;
            let read = (self.inflater.total_in() - read) as usize;
            let written = (self.inflater.total_out() - written) as usize;
            input = input.get(read..).unwrap_or_default();
            self.inflated += written;
            if self.inflated > MAX_INFLATED {
                return Err(format!("it inflates to more than {MAX_INFLATED} bytes"));
            }
            kept.extend_from_slice(&buffer[..written.min(keep.saturating_sub(kept.len()))]);
            match status {
                // A DEFLATE stream may end within a message (§7.2.3.4); what follows begins another.
                Status::StreamEnd => self.inflater.reset(false),
                _ if read == 0 && written == 0 => return Ok(()),
                _ => {}
            }
            if input.is_empty() && written < buffer.len() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn agreed(offer: &str, answer: &str) -> Result<Option<Agreed>, String> {
        let answers: Vec<String> = (!answer.is_empty()).then(|| answer.to_owned()).into_iter().collect();
        agree(&[offer.to_owned()], &answers)
    }

    #[test]
    fn what_real_servers_answer_is_legal() {
        for (offer, answer) in [
            ("permessage-deflate; client_max_window_bits", ""),
            ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
            // Python websockets, its default.
            (
                "permessage-deflate; client_max_window_bits",
                "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
            ),
            // coder/websocket.
            ("permessage-deflate", "permessage-deflate; client_no_context_takeover; server_no_context_takeover"),
            ("permessage-deflate; server_max_window_bits=10", "permessage-deflate;server_max_window_bits=\"9\""),
            ("permessage-deflate; x, permessage-deflate", "permessage-deflate"),
            ("x, permessage-deflate; client_max_window_bits=9", "permessage-deflate; client_max_window_bits=8"),
        ] {
            assert!(agreed(offer, answer).is_ok(), "{offer} {answer}: {:?}", agreed(offer, answer));
        }
        assert_eq!(agreed("permessage-deflate", ""), Ok(None));
    }

    #[test]
    fn what_breaks_the_rules_is_told() {
        for (offer, answer, why) in [
            ("permessage-deflate", "permessage-deflate; client_max_window_bits=15", "not offered"),
            ("permessage-deflate", "x-webkit-deflate-frame", "not offered"),
            ("permessage-deflate", "permessage-deflate, permessage-deflate", "2 extensions"),
            ("permessage-deflate; foo", "permessage-deflate", "had to be declined"),
            ("permessage-deflate; server_max_window_bits=7", "permessage-deflate", "had to be declined"),
            (
                "permessage-deflate; client_max_window_bits",
                "permessage-deflate; client_max_window_bits",
                "the parameter",
            ),
            ("permessage-deflate; client_max_window_bits=9", "permessage-deflate; client_max_window_bits=10", "9 were"),
            ("permessage-deflate", "permessage-deflate; server_max_window_bits=08", "the parameter"),
            ("permessage-deflate; server_max_window_bits=9", "permessage-deflate", "keep to"),
            ("permessage-deflate; server_no_context_takeover", "permessage-deflate", "without the offered"),
            (
                "permessage-deflate",
                "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
                "twice",
            ),
        ] {
            let error = agreed(offer, answer).expect_err(answer);
            assert!(error.contains(why), "{offer} {answer}: {error}");
        }
    }

    #[test]
    fn what_is_announced_is_kept_to_only_where_it_was_offered() {
        let announced = |offer: &str, answer: &str| announced(&[offer.to_owned()], &[answer.to_owned()]);
        assert_eq!(announced("x", "permessage-deflate"), None);
        assert_eq!(announced("permessage-deflate", "x"), None);
        let illegal = announced("permessage-deflate", "permessage-deflate; client_max_window_bits=9; foo");
        assert_eq!(illegal.map(|agreed| agreed.client_max_window_bits), Some(9));
    }

    fn codec(agreed: Agreed) -> (Codec, Codec) {
        // The server's side is the client's with the roles changed.
        let turned = Agreed {
            client_no_context_takeover: agreed.server_no_context_takeover,
            server_no_context_takeover: agreed.client_no_context_takeover,
            ..agreed
        };
        (Codec::new(agreed), Codec::new(turned))
    }

    proptest! {
        #[test]
        fn messages_come_through_whatever_was_agreed(
            messages in prop::collection::vec(prop::collection::vec(0..4_u8, 0..600), 1..5),
            (client, server, bits) in (any::<bool>(), any::<bool>(), 8..16_u8),
            place in any::<prop::sample::Index>(),
        ) {
            let agreed = Agreed { client_no_context_takeover: client, server_no_context_takeover: server, client_max_window_bits: bits };
            let (mut here, mut there) = codec(agreed);
            for message in messages {
                let payload = here.deflate(&message);
                let (first, rest) = payload.split_at(place.index(payload.len()));
                let mut read = there.inflate(first, false, 1000).expect("DEFLATE");
                read.extend(there.inflate(rest, true, 1000).expect("DEFLATE"));
                prop_assert_eq!(read, message);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(header in "[ -~]{0,40}", bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = agreed(&header, &header);
            let (mut codec, _) = codec(Agreed { client_no_context_takeover: false, server_no_context_takeover: false, client_max_window_bits: 15 });
            let _ = codec.inflate(&bytes, true, 16);
        }
    }

    #[test]
    fn what_is_too_much_to_keep_is_read_all_the_same() {
        let plain =
            Agreed { client_no_context_takeover: false, server_no_context_takeover: false, client_max_window_bits: 15 };
        let (mut here, mut there) = codec(plain);
        let bomb = here.deflate(&vec![0; 1 << 20]);
        assert_eq!(there.inflate(&bomb, true, 10), Ok(vec![0; 10]));
        assert_eq!(there.inflate(&here.deflate(b"after it"), true, 10), Ok(b"after it".to_vec()));
    }
}
