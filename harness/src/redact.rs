//! Keeps secrets out of every output: by value, and by the shape of a JWT.
//!
//! Every report and every message passes through here last, so that a new report cannot forget it.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use memchr::memmem::{self, Finder};

use crate::document::printable;
use crate::secret::SecretBytes;
use crate::wire::answer::head_lines;
use crate::wire::opening::percent_encode;

/// Replaces secrets in texts.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    needles: Vec<Needle>,
    /// How the parts of the tokens that were sent begin.
    tokens: HashSet<[u8; TOKEN_PART]>,
}

/// The most characters of a text in a report.
const MAX_SHOWN: usize = 1000;
/// A secret of which only the beginning is quoted is still replaced from this many bytes on.
const SHORTEST_PART: usize = 12;

/// Stands where a quotation was cut off.
const CUT: char = '…';
/// Of what is left of a secret beside a cut, fewer bytes tell nothing.
const SHORTEST_REST: usize = 4;

#[derive(Clone)]
struct Needle {
    text: String,
    /// What is looked for: a quotation may have broken off the rest.
    start: Finder<'static>,
}

impl Needle {
    fn new(text: String) -> Self {
        let end = (SHORTEST_PART..text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len());
        let start = Finder::new(&text[..end]).into_owned();
        Self { text, start }
    }

    /// How many bytes of the front of `text` are this one's.
    fn covers(&self, text: &str) -> usize {
        let same = text.chars().zip(self.text.chars()).take_while(|(a, b)| a == b);
        same.map(|(character, _)| character.len_utf8()).sum()
    }

    /// How many bytes of the front of `text` are the end of this one, whose front was cut off.
    fn end_at_front_of(&self, text: &str) -> usize {
        let ends = self.text.char_indices().skip(1).map(|(at, _)| &self.text[at..]);
        let length = |end: &str| match text.starts_with(end) {
            true => end.len(),
            // Both ends were cut off.
            false if end.starts_with(text) => text.len(),
            false => 0,
        };
        ends.map(length).find(|length| *length >= SHORTEST_REST).unwrap_or(0)
    }

    /// How many bytes of the end of `text` are the front of this one, whose end was cut off.
    fn start_at_end_of(&self, text: &str) -> usize {
        let lengths = self.text.char_indices().map(|(at, _)| at).filter(|at| *at >= SHORTEST_REST);
        lengths.rev().find(|length| text.ends_with(&self.text[..*length])).unwrap_or(0)
    }

    /// Replaces each of them wherever it stands. Several may begin alike, because one is another in other escapes: the
    /// one that goes on longest is meant.
    fn replace_all(needles: &[Self], text: String) -> String {
        let mut clean = String::new();
        let mut rest = text.as_str();
        while let Some(at) = needles.iter().filter_map(|needle| needle.start.find(rest.as_bytes())).min() {
            let (before, after) = rest.split_at(at);
            let here = needles.iter().filter(|needle| after.as_bytes().starts_with(needle.start.needle()));
            let length = here.map(|needle| needle.covers(after)).max().unwrap_or(after.len());
            clean.push_str(before);
            clean.push_str("[secret]");
            rest = &after[length..];
        }
        if clean.is_empty() && rest.len() == text.len() {
            return text;
        }
        clean.push_str(rest);
        clean
    }
}

impl std::fmt::Debug for Needle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Redactor {
    /// Replaces these secrets in the forms in which they are likely to be printed.
    ///
    /// A secret shorter than six bytes is not looked for: it would be found inside ordinary words.
    pub fn for_secrets(secrets: &[SecretBytes]) -> Self {
        Self::default().and_all(secrets)
    }

    /// Replaces this secret too.
    #[must_use]
    pub fn and(self, secret: &SecretBytes) -> Self {
        self.and_all(std::slice::from_ref(secret))
    }

    fn and_all(self, secrets: &[SecretBytes]) -> Self {
        let mut needles: Vec<String> = self.needles.into_iter().map(|needle| needle.text).collect();
        for bytes in secrets.iter().map(SecretBytes::expose).filter(|bytes| bytes.len() >= 6) {
            if let Ok(text) = std::str::from_utf8(bytes) {
                let text = text.trim();
                let json = serde_json::Value::from(text).to_string();
                let json = json[1..json.len() - 1].to_owned();
                needles.push(text.escape_debug().to_string());
                needles.push(json.escape_debug().to_string());
                needles.push(json);
                needles.push(percent_encode(text.as_bytes()));
                needles.push(text.to_owned());
            }
            needles.push(STANDARD.encode(bytes));
            needles.push(URL_SAFE_NO_PAD.encode(bytes));
            let hex = crate::hex::write(bytes);
            needles.push(hex.to_uppercase());
            needles.push(hex);
        }
        // The longest first, so that no part of one is left beside its replacement.
        needles.retain(|needle| needle.len() >= 6);
        needles.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        needles.dedup();
        Self { needles: needles.into_iter().map(Needle::new).collect(), tokens: self.tokens }
    }

    /// Replaces the parts of this token too: a mutated one need not look like a token.
    #[must_use]
    pub fn and_token(mut self, token: &[u8]) -> Self {
        self.tokens.extend(parts(token).filter_map(<[u8]>::first_chunk::<TOKEN_PART>));
        self
    }

    /// The text as it may stand in one line of a report: without secrets and whole tokens, without characters that
    /// a terminal would act on, and not longer than a person reads.
    pub fn clean(&self, text: &str) -> String {
        let text = printable(&self.redact(text));
        match text.char_indices().nth(MAX_SHOWN) {
            Some((end, _)) => format!("{} ... ({} more bytes)", &text[..end], text.len() - end),
            None => text,
        }
    }

    /// Replaces the parts of every token in this request head too.
    #[must_use]
    pub fn and_request(mut self, head: &[u8]) -> Self {
        const NO_CREDENTIALS: [&str; 7] =
            ["host", "upgrade", "connection", "origin", "content-type", "content-length", "user-agent"];
        // A token may be one of the offered subprotocols.
        const WEBSOCKET: &str = "sec-websocket-";
        let protocol = |name: &str| {
            name.get(..WEBSOCKET.len()).is_some_and(|start| start.eq_ignore_ascii_case(WEBSOCKET))
                && !name.eq_ignore_ascii_case("sec-websocket-protocol")
        };
        let text = String::from_utf8_lossy(head);
        let mut lines = head_lines(&text);
        let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
        let values = lines.filter_map(|line| line.split_once(':')).filter(|(name, _)| {
            !protocol(name) && !NO_CREDENTIALS.iter().any(|other| name.eq_ignore_ascii_case(other))
        });
        for value in std::iter::once(target).chain(values.map(|(_, value)| value)) {
            let mut value = value.to_owned();
            for _ in 0..3 {
                self = self.and_token(value.as_bytes());
                if !value.contains('%') {
                    break;
                }
                value = percent_decode(&value);
            }
        }
        self
    }

    /// The text without secrets and without whole tokens.
    pub fn redact(&self, text: &str) -> String {
        Needle::replace_all(&self.needles, self.without_tokens(&jwts(text)))
    }

    /// The same of quotations that may be cut off, which a `…` says: what is left of a secret beside it is replaced too.
    pub fn redact_quotations(&self, text: &str) -> String {
        let text = self.redact(text);
        let pieces: Vec<&str> = text.split(CUT).collect();
        let last = pieces.len() - 1;
        let mut clean = String::with_capacity(text.len());
        for (index, piece) in pieces.into_iter().enumerate() {
            let mut piece = piece;
            if index > 0 {
                clean.push(CUT);
                let length = self.needles.iter().map(|needle| needle.end_at_front_of(piece)).max().unwrap_or(0);
                clean.push_str(if length > 0 { "[secret]" } else { "" });
                piece = &piece[length..];
            }
            let length = match index < last {
                true => self.needles.iter().map(|needle| needle.start_at_end_of(piece)).max().unwrap_or(0),
                false => 0,
            };
            clean.push_str(&piece[..piece.len() - length]);
            clean.push_str(if length > 0 { "[secret]" } else { "" });
        }
        clean
    }

    /// The text without what belongs to a token that was sent, however often it was percent-encoded.
    fn without_tokens(&self, text: &str) -> String {
        if self.tokens.is_empty() {
            return text.to_owned();
        }
        let is_known = |word: &str| {
            let mut word = word.to_owned();
            for _ in 0..3 {
                // Anywhere in it: a server may have glued a word of its own to the token.
                if word.as_bytes().windows(TOKEN_PART).any(|part| self.tokens.contains(part)) {
                    return true;
                }
                if !word.contains('%') {
                    return false;
                }
                word = percent_decode(&word);
            }
            false
        };
        let mut clean = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let inside = |character: char| in_token(character) || character == '%';
            let (word, after) = rest.split_at(rest.find(|character| !inside(character)).unwrap_or(rest.len()));
            clean.push_str(if is_known(word) { "[token]" } else { word });
            let (other, after) = after.split_at(after.find(inside).unwrap_or(after.len()));
            clean.push_str(other);
            rest = after;
        }
        clean
    }

    /// A search for the secret in bytes, in each of its forms and backwards. What it looks for is prepared once.
    pub fn secret_finder(&self) -> impl Fn(&[u8]) -> bool + use<> {
        let needles = self.needles.iter().map(|needle| needle.text.as_bytes());
        let spellings = needles.flat_map(|needle| [needle.to_vec(), needle.iter().rev().copied().collect()]);
        let finders: Vec<Finder<'static>> = spellings.map(|spelling| Finder::new(&spelling).into_owned()).collect();
        move |bytes| finders.iter().any(|finder| finder.find(bytes).is_some())
    }
}

/// So many characters tell a part of one token from those of others.
const TOKEN_PART: usize = 16;

fn in_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '-' || character == '_'
}

/// What stands between the periods of a token, and between whatever else was put into it. That may be the name of a header,
/// which hides nothing and without which no request can be read.
fn parts(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let names_header = |part: &[u8]| part.get(..14).is_some_and(|start| start.eq_ignore_ascii_case(b"sec-websocket-"));
    let parts = text.split(|byte| !in_token(char::from(*byte)));
    parts.filter(move |part| part.len() >= TOKEN_PART && !names_header(part))
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = (*first == b'%').then(|| after.get(..2)).flatten().and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether `needle` stands in `haystack`.
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && memmem::find(haystack, needle).is_some()
}

/// The text with everything that looks like a JWT replaced.
///
/// A JWS header is a JSON object, so its base64url begins with `eyJ`; what follows its second period is the part that
/// makes a copied token usable. A mutated header may begin otherwise: three long segments are a token as well. The
/// periods may be percent-encoded, once or twice.
pub fn jwts(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let mut length = 0;
        while let Some(step) = token_step(&rest[length..]) {
            length += step;
        }
        let (word, after) = rest.split_at(length);
        push_word(&mut clean, word);
        let next = after.chars().next().map_or(0, char::len_utf8);
        clean.push_str(&after[..next]);
        rest = &after[next..];
    }
    clean
}

/// How many bytes of the front belong to a token.
fn token_step(text: &str) -> Option<usize> {
    let first = text.bytes().next()?;
    if first.is_ascii_alphanumeric() || b"-_.".contains(&first) {
        return Some(1);
    }
    PERIODS
        .iter()
        .find(|period| text.get(..period.len()).is_some_and(|front| front.eq_ignore_ascii_case(period)))
        .map(|period| period.len())
}

/// A period, as it may be written in a URL.
const PERIODS: [&str; 2] = ["%252e", "%2e"];

fn push_word(clean: &mut String, word: &str) {
    // Without a period in any spelling it is no token, and most words have none.
    if !word.contains(['.', '%']) {
        clean.push_str(word);
        return;
    }
    let plain = PERIODS.iter().fold(word.to_ascii_lowercase(), |word, period| word.replace(period, "."));
    let lengths: Vec<usize> = plain.split('.').map(str::len).collect();
    let long = lengths.windows(3).any(|of| of[0] >= 10 && of[1] >= 8 && of[2] >= 20);
    match word.find("eyJ") {
        Some(start) => {
            let before =
                PERIODS.iter().fold(word[..start].to_ascii_lowercase(), |word, period| word.replace(period, "."));
            let header = before.matches('.').count();
            if lengths.get(header + 1).is_some_and(|payload| *payload >= 8) || long {
                clean.push_str(if long { "" } else { &word[..start] });
                clean.push_str("[token]");
            } else {
                clean.push_str(word);
            }
        }
        None if long => clean.push_str("[token]"),
        None => clean.push_str(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_wherever_it_stands() {
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl";
        assert_eq!(jwts(&format!("GET /ws?token={token} HTTP/1.1")), "GET /ws?token=[token] HTTP/1.1");
        assert_eq!(jwts("eyJ is no token"), "eyJ is no token");
    }

    #[test]
    fn a_token_is_replaced_however_its_periods_are_written_and_its_header_begins() {
        let (header, payload, signature) =
            ("IHsiYWxnIjoiSFMyNTYifQ", "eyJzdWIiOiJhbGljZSJ9", "c2lnbmF0dXJlIG9mIGEgdG9rZW4");
        for period in [".", "%2E", "%2e", "%252E"] {
            for header in [header, "eyJhbGciOiJIUzI1NiJ9"] {
                let token = [header, payload, signature].join(period);
                assert_eq!(jwts(&format!("GET /ws/{token} HTTP/1.1")), "GET /ws/[token] HTTP/1.1");
            }
        }
        for plain in ["gatecrash run --case SIG-008@query", "127.0.0.1:8000", "a.b.c", "HTTP/1.1 100% eyJ.eyJ"] {
            assert_eq!(jwts(plain), plain);
        }
    }

    #[test]
    fn a_token_that_was_sent_is_known_in_any_shape() {
        let token = "IHsiYWxnIjoiSFMyNTYifQ==.eyJzdWIiOiJhbGljZSJ9!.c2lnbmF0dXJlIG9mIGEgdG9rZW4";
        let redactor = Redactor::default().and_token(token.as_bytes());
        let every: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for written in [token.to_owned(), percent_encode(token.as_bytes()), every.clone(), every.replace('%', "%25")] {
            let clean = redactor.clean(&format!("GET /ws/{written} HTTP/1.1"));
            assert!(!clean.contains("c2ln") && !clean.contains("c2LN") && !clean.contains("%63%32"), "{clean}");
            assert!(clean.starts_with("GET /ws/[token]") && clean.ends_with(" HTTP/1.1"), "{clean}");
        }
        assert_eq!(redactor.clean("Sec-WebSocket-Accept"), "Sec-WebSocket-Accept");
        // A part of it behind a word that a server glued to it.
        assert_eq!(redactor.clean("not xeyJzdWIiOiJhbGljZSJ9"), "not [token]");
    }

    #[test]
    fn the_name_of_a_header_in_a_request_is_no_token() {
        let head = b"GET /ws HTTP/1.1\r\nX-Folded: a\r\n Sec-WebSocket-Version: 8\r\nX-Cr: a\rSec-WebSocket-Version: 8, 0123456789abcdefgh\r\n\r\n";
        let redactor = Redactor::default().and_request(head);
        assert_eq!(
            redactor.clean("Sec-WebSocket-Version: 13, 0123456789abcdefgh"),
            "Sec-WebSocket-Version: 13, [token]"
        );
    }

    #[test]
    fn a_secret_that_a_quotation_broke_off_is_replaced_too() {
        let redactor = Redactor::for_secrets(&[SecretBytes::new("a-secret-of-some-length")]);
        assert_eq!(redactor.clean("\"Echo: a-secret-of-so\""), "\"Echo: [secret]\"");
        assert_eq!(redactor.clean("a-secret"), "a-secret");
    }

    #[test]
    fn what_a_cut_leaves_of_a_secret_is_replaced_too() {
        let redactor = Redactor::for_secrets(&[SecretBytes::new("a-secret-of-some-length")]);
        for (cut, clean) in [
            ("…some-length, foo: 1", "…[secret], foo: 1"),
            ("secret: a-secret-o…", "secret: [secret]…"),
            ("…ret-of-so…", "…[secret]…"),
            ("…gth, a…", "…gth, a…"),
            ("a … b", "a … b"),
            ("some-length", "some-length"),
        ] {
            assert_eq!(redactor.redact_quotations(cut), clean);
        }
    }

    #[test]
    fn a_secret_is_replaced_to_its_end_however_it_is_escaped() {
        let secret = "a-secret-with-\"quotes\"-and-an-end";
        let redactor = Redactor::for_secrets(&[SecretBytes::new(secret)]);
        let json = serde_json::Value::from(secret).to_string();
        for written in [secret.to_owned(), json.clone(), format!("{json:?}"), format!("{secret:?}")] {
            let clean = redactor.redact(&format!("before {written} {written} after"));
            assert!(!clean.contains("quotes") && !clean.contains("end"), "{written}: {clean}");
            assert!(clean.starts_with("before ") && clean.ends_with(" after"), "{clean}");
        }
    }

    #[test]
    fn a_line_of_a_report_holds_nothing_a_terminal_acts_on_and_has_an_end() {
        let clean = Redactor::default().clean("\u{1b}[31mred\0\r\n\u{202e}\u{9b}1m");
        assert!(!clean.chars().any(|character| character.is_control() || character == '\u{202e}'), "{clean}");
        assert!(Redactor::default().clean(&"x".repeat(1 << 20)).len() < 1100);
    }

    #[test]
    fn a_secret_is_replaced_in_each_of_its_forms() {
        let redactor = Redactor::for_secrets(&[SecretBytes::new("a-secret-of-some-length")]);
        let text =
            "a-secret-of-some-length YS1zZWNyZXQtb2Ytc29tZS1sZW5ndGg= 612d7365637265742d6f662d736f6d652d6c656e677468";
        assert_eq!(redactor.clean(text), "[secret] [secret] [secret]");
        let finds = redactor.secret_finder();
        assert!(finds(b"x htgnel-emos-fo-terces-a x"));
        assert!(!finds(b"a-secret"));
    }
}
