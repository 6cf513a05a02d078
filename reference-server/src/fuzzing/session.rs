//! A whole connection: how the handshake is made, and then a list of steps, frames whole and broken, closes, garbage,
//! silence, cuts.
//!
//! What the server says is read by a reader of its own, and held to the laws of a server: nobody is served without a
//! valid token, nobody who keeps the rules is hung up on, every frame is legal, nothing follows a Close, an echo is what
//! was sent, compressed or not, and the end comes in time.

use std::time::Duration;

use arbitrary::Unstructured;
use flate2::{Decompress, FlushDecompress, Status};
use serde_json::json;

use super::pipe::{self, Act, End, Heard, MESSAGE_BYTES, Site};
use super::token::{byte, pair, text};
use crate::dialect::Dialect;

/// The most steps of a session.
const MAX_STEPS: usize = 32;
/// The server may say so much to each step, in bytes: a message of the largest size with a stamp, and what goes with it.
const SAID_PER_STEP: usize = 4 * MESSAGE_BYTES;
/// And so much without any: the answer to the handshake, a welcome, pings, a goodbye.
const SAID_AT_LEAST: usize = 4096;

/// What the pipe may hold, in bytes: less than a frame, and more than all.
const PIPES: [usize; 4] = [64 * 1024, 16, 256, 4096];
/// How many bytes are sent at a time.
const PIECES: [usize; 4] = [usize::MAX, 1, 7, 100];

/// Messages that mean something to a dialect, and texts that are nearly one.
const MESSAGES: [&str; 16] = [
    "ping",
    r#"{"type":"ping"}"#,
    r#"{"type":"whoami"}"#,
    r#"{"type":"echo","payload":[1,2]}"#,
    r#"{"type":"test","user":"mallory","timestamp":0,"requestId":"x"}"#,
    "{}",
    "[]",
    "null",
    "{",
    "",
    r#"{"type":"auth","token":""}"#,
    r#"{"type":"auth"}"#,
    r#"{"a":"\ud800"}"#,
    r#"{"a":1,"a":2}"#,
    "\"",
    "1e999",
];

/// What the handshake shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Valid,
    Nothing,
    Forged,
}

/// One thing a client does.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// A text in one frame.
    Text(Vec<u8>),
    /// One of [`MESSAGES`].
    Known(u8),
    /// A text of so many times a letter.
    Long(u16),
    /// A frame with this first byte.
    Frame(u8, Vec<u8>),
    /// The same without a mask.
    Unmasked(u8, Vec<u8>),
    /// The head of a frame that announces a length it has not.
    Announced(u8, u64),
    /// A close with this code and reason.
    Close(u16, Vec<u8>),
    /// These bytes.
    Garbage(Vec<u8>),
    /// A first message with a token that is valid, or is not.
    Auth(bool),
    /// The client waits until everything has arrived.
    Settle,
    /// The client is silent for so many seconds.
    Wait(u8),
}

/// A connection.
#[derive(Debug, Clone, PartialEq)]
struct Plan {
    site: u8,
    shown: Shown,
    deflate: bool,
    /// The frames come with the request, in one write.
    early: bool,
    pipe: usize,
    piece: usize,
    end: End,
    steps: Vec<Step>,
}

/// The body of the target `session`.
///
/// # Panics
///
/// Where the server breaks a law: that is a finding.
pub fn session(input: &[u8]) {
    keeps_the_laws(&read(input));
}

fn read(input: &[u8]) -> Plan {
    let mut u = Unstructured::new(input);
    let u = &mut u;
    let site = byte(u);
    let [how, flow] = [byte(u), byte(u)];
    let mut steps = Vec::new();
    while !u.is_empty() && steps.len() < MAX_STEPS {
        steps.push(match byte(u) % 11 {
            0 => Step::Text(text(u)),
            1 => Step::Known(byte(u)),
            2 => Step::Long(pair(u) % (2 * MESSAGE_BYTES as u16)),
            3 => Step::Frame(byte(u), text(u)),
            4 => Step::Unmasked(byte(u), text(u)),
            5 => {
                let first = byte(u);
                Step::Announced(first, u64::from(pair(u)) << (byte(u) % 48))
            }
            6 => Step::Close(pair(u), text(u)),
            7 => Step::Garbage(text(u)),
            8 => Step::Auth(byte(u).is_multiple_of(2)),
            9 => Step::Settle,
            _ => Step::Wait(byte(u)),
        });
    }
    Plan {
        site,
        shown: [Shown::Valid, Shown::Valid, Shown::Nothing, Shown::Forged][usize::from(how % 4)],
        deflate: how & 4 != 0,
        early: how & 8 != 0,
        pipe: PIPES[usize::from(flow % 4)],
        piece: PIECES[usize::from(flow / 4 % 4)],
        end: End::of(flow / 16),
        steps,
    }
}

/// A frame of a client (RFC 6455 §5.2), masked with the key of zeros and one.
fn frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    const KEY: [u8; 4] = [0, 1, 0, 1];
    let bit = if masked { 0x80 } else { 0 };
    let mut out = vec![first];
    match payload.len() {
        short @ 0..126 => out.push(bit | short as u8),
        long => {
            out.push(bit | 126);
            out.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    if masked {
        out.extend_from_slice(&KEY);
        out.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    } else {
        out.extend_from_slice(payload);
    }
    out
}

fn auth(site: &Site, valid: bool) -> String {
    json!({"type": "auth", "token": if valid { site.token.as_str() } else { "a.b.c" }}).to_string()
}

impl Step {
    fn bytes(&self, site: &Site) -> Vec<u8> {
        let text = |text: &[u8]| frame(0x81, text, true);
        match self {
            Step::Text(bytes) => text(bytes),
            Step::Known(which) => text(MESSAGES[usize::from(*which) % MESSAGES.len()].as_bytes()),
            Step::Long(length) => text(&vec![b'a'; usize::from(*length)]),
            Step::Frame(first, payload) => frame(*first, payload, true),
            Step::Unmasked(first, payload) => frame(*first, payload, false),
            Step::Announced(first, length) => [&[*first, 0xff][..], &length.to_be_bytes(), &[0, 0, 0, 0]].concat(),
            Step::Close(code, reason) => frame(0x88, &[&code.to_be_bytes()[..], reason].concat(), true),
            Step::Garbage(bytes) => bytes.clone(),
            Step::Auth(valid) => text(auth(site, *valid).as_bytes()),
            Step::Settle | Step::Wait(_) => Vec::new(),
        }
    }

    /// The text of a message that is legal whatever came before it, if nothing broke before. Where compression is agreed
    /// on, `inflater` has read the compressed ones before it.
    fn legal_text(&self, site: &Site, inflater: &mut Option<Inflater>) -> Option<String> {
        let text = match self {
            Step::Text(bytes) => String::from_utf8(bytes.clone()).ok()?,
            Step::Known(which) => MESSAGES[usize::from(*which) % MESSAGES.len()].to_owned(),
            Step::Long(length) => "a".repeat(usize::from(*length)),
            Step::Auth(valid) => auth(site, *valid),
            Step::Frame(0xc1, payload) => String::from_utf8(inflater.as_mut()?.message(payload)?).ok()?,
            _ => return None,
        };
        (text.len() <= MESSAGE_BYTES).then_some(text)
    }

    /// Whether it is a step of a client that keeps the rules, without a message.
    fn is_quiet(&self) -> bool {
        match self {
            Step::Settle | Step::Wait(0..50) => true,
            Step::Frame(0x89 | 0x8a, payload) => payload.len() <= 125,
            _ => false,
        }
    }
}

impl Plan {
    fn request(&self, site: &Site) -> String {
        let token = match self.shown {
            Shown::Valid => Some(site.token.clone()),
            Shown::Nothing => None,
            // Another last character but one: every bit of it counts.
            Shown::Forged => Some(site.token[..site.token.len() - 2].to_owned() + "AA"),
        };
        let dialect = site.dialect();
        let target = match &token {
            Some(token) => dialect.target_template().replace("{token}", token),
            None => dialect.endpoint().to_owned(),
        };
        let offer = if self.deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
        let origin = if dialect == Dialect::Strict { "Origin: https://app.strict.example\r\n" } else { "" };
        format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offer}{origin}\r\n"
        )
    }

    fn acts(&self, site: &Site) -> Vec<Act> {
        let send = |bytes| Act::Send(bytes, self.piece);
        let mut acts = vec![Act::Send(self.request(site).into_bytes(), usize::MAX)];
        if !self.early {
            acts.push(Act::Settle);
        }
        acts.extend(self.steps.iter().map(|step| match step {
            Step::Settle => Act::Settle,
            Step::Wait(seconds) => Act::Wait(Duration::from_secs(u64::from(*seconds))),
            other => send(other.bytes(site)),
        }));
        acts
    }

    /// Whether the client is let in by its handshake or, where the token comes later, could be by its steps.
    fn may_be_served(&self, site: &Site) -> bool {
        if site.name == "first message" {
            // A text may hold the token otherwise, but for a fuzzer that would be a find.
            return self.steps.contains(&Step::Auth(true));
        }
        self.shown == Shown::Valid
    }

    /// Whether it is let in and breaks no rule, so that the server has no reason to hang up: it is not silent until it is
    /// given up (three pings of twenty seconds), nor, where the token comes later, until the server has waited enough.
    fn may_stay(&self, site: &Site, compressed: bool) -> bool {
        let comes_later = site.name == "first message";
        let mut is_in = !comes_later && self.shown == Shown::Valid;
        let mut silent = Duration::ZERO;
        let mut inflater = compressed.then(Inflater::new);
        for step in &self.steps {
            match step {
                Step::Wait(seconds) => silent += Duration::from_secs(u64::from(*seconds)),
                Step::Auth(true) if comes_later && !is_in && silent < site.app.config.auth_timeout => is_in = true,
                step if step.is_quiet() || (is_in && step.legal_text(site, &mut inflater).is_some()) => {}
                _ => return false,
            }
        }
        is_in && silent < 3 * site.app.config.limits.ping_every
    }
}

/// Reads what one side compresses (RFC 7692 §7.2.2), with the context of all its messages: no offer here asks for less.
struct Inflater(Decompress);

impl Inflater {
    fn new() -> Self {
        Self(Decompress::new(false))
    }

    /// `None` where it is no DEFLATE data, ends the stream, or is longer than anything that is said here.
    fn message(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let input = [payload, &[0, 0, 0xff, 0xff]].concat();
        let mut out = Vec::with_capacity(16 * MESSAGE_BYTES);
        let before = self.0.total_in();
        let status = self.0.decompress_vec(&input, &mut out, FlushDecompress::Sync).ok()?;
        let is_all = self.0.total_in() - before == input.len() as u64;
        (is_all && status == Status::Ok && out.len() < out.capacity()).then_some(out)
    }
}

/// A frame of the server, inflated where it came compressed.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) first: u8,
    pub(super) payload: Vec<u8>,
}

fn keeps_the_laws(plan: &Plan) {
    let site = &*Site::of(plan.site);
    let heard = pipe::play(site, plan.pipe, &plan.acts(site), plan.end);
    let shown = || format!("{} {plan:?}: {}", site.name, heard.bytes.escape_ascii());
    let most =
        SAID_AT_LEAST + SAID_PER_STEP * plan.steps.iter().map(|step| 1 + step.bytes(site).len() / 6).sum::<usize>();
    assert!(heard.bytes.len() <= most, "{} bytes where {most} would do: {}", heard.bytes.len(), shown());

    let Some(head_ends) = heard.bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        // Through a pipe that holds less than the answer a client can be gone before it is whole.
        assert!(plan.end == End::Cut || !heard.bytes.starts_with(b"HTTP/1.1 101"), "half an answer: {}", shown());
        assert!(!matches!(plan.end, End::Settled | End::Silent), "a handshake is not answered: {}", shown());
        return;
    };
    let (head, frames) = heard.bytes.split_at(head_ends + 4);
    if !head.starts_with(b"HTTP/1.1 101 ") {
        assert!(!head.starts_with(b"HTTP/1.1 5"), "the server failed: {}", shown());
        assert!(plan.shown != Shown::Valid || site.name == "first message", "a valid token is refused: {}", shown());
        return;
    }
    let compressed = String::from_utf8_lossy(head).to_ascii_lowercase().contains("sec-websocket-extensions:");
    assert!(plan.deflate || !compressed, "compression that nobody offered: {}", shown());
    let (mut said, rest) = frames_of(frames);
    let mut inflater = Inflater::new();
    for said in said.iter_mut().filter(|said| compressed && said.first == 0xc1) {
        let message = inflater.message(&said.payload);
        said.payload = message.unwrap_or_else(|| panic!("a message that does not inflate: {}", shown()));
    }
    // Whoever ends its half without a Close has failed the connection (RFC 6455 §7.1.7), and nothing more is owed to it.
    let failed = plan.end == End::Half && !plan.steps.iter().any(|step| matches!(step, Step::Close(..)));
    assert!(rest.is_empty() || !heard.ended || failed, "half a frame: {}", shown());
    let mut closed = false;
    for Said { first, payload } in &said {
        assert!(!closed, "it speaks after its Close: {}", shown());
        let rsv_1 = compressed && matches!(first, 0xc1);
        assert!(matches!(first, 0x81 | 0x88 | 0x89 | 0x8a) || rsv_1, "no legal frame: {first:#x}: {}", shown());
        assert!(payload.len() <= 125 || first & 8 == 0, "a control frame too long: {}", shown());
        assert!(!matches!(first, 0x81 | 0xc1) || str::from_utf8(payload).is_ok(), "a text that is none: {}", shown());
        if *first == 0x88 {
            closed = true;
            let code = payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
            // RFC 6455 §7.4: an empty one, or a code that may be sent, and a reason in UTF-8.
            let legal = matches!(code, Some(1000..=1003 | 1007..=1014 | 3000..=4999));
            assert!(payload.is_empty() || legal, "no code of a Close: {code:?}: {}", shown());
            assert!(payload.len() < 2 || str::from_utf8(&payload[2..]).is_ok(), "a reason that is none: {}", shown());
        }
        if !plan.may_be_served(site) && matches!(first, 0x81 | 0xc1) {
            let told = String::from_utf8_lossy(payload);
            let refused = site.name == "first message" && told.contains(r#""auth_error""#);
            assert!(refused, "somebody without a token is served: {}", shown());
        }
    }
    if plan.may_stay(site, compressed) && matches!(plan.end, End::Settled | End::Cut) {
        assert!(!closed && !heard.ended, "it hangs up on a client that keeps the rules: {}", shown());
    }
    if site.dialect() == Dialect::PersonalAssistant && plan.shown == Shown::Valid {
        echoes(plan, site, compressed, &said, &heard, &shown);
    }
}

/// Every message that is legal comes back as it was sent, in order and once, up to the first step that breaks something.
fn echoes(plan: &Plan, site: &Site, compressed: bool, said: &[Said], heard: &Heard, shown: &dyn Fn() -> String) {
    let mut expected = Vec::new();
    let mut inflater = compressed.then(Inflater::new);
    let mut legal = true;
    for step in &plan.steps {
        if step.is_quiet() {
            continue;
        }
        match step.legal_text(site, &mut inflater) {
            Some(text) => expected.push(format!("Echo: {text}")),
            None => {
                legal = false;
                break;
            }
        }
    }
    let texts =
        said.iter().filter(|said| matches!(said.first, 0x81 | 0xc1)).map(|said| String::from_utf8_lossy(&said.payload));
    // The first text is the welcome.
    let heard_echoes: Vec<_> = texts.skip(1).collect();
    let known = heard_echoes.len().min(expected.len());
    assert!(heard_echoes[..known] == expected[..known], "an echo of something else: {}", shown());
    if legal {
        assert!(heard_echoes.len() <= expected.len(), "more echoes than messages: {}", shown());
        if plan.end != End::Cut && !heard.ended {
            assert_eq!(heard_echoes.len(), expected.len(), "a message is lost: {}", shown());
        }
    }
}

/// The frames of the server, and what is left over.
pub(super) fn frames_of(mut bytes: &[u8]) -> (Vec<Said>, &[u8]) {
    let mut frames = Vec::new();
    while let Some((said, rest)) = frame_of(bytes) {
        frames.push(said);
        bytes = rest;
    }
    (frames, bytes)
}

fn frame_of(bytes: &[u8]) -> Option<(Said, &[u8])> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    assert!(second & 0x80 == 0, "a server does not mask");
    let (length, rest) = match second {
        126 => rest.split_first_chunk::<2>().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?,
        127 => rest.split_first_chunk::<8>().map(|(length, rest)| (u64::from_be_bytes(*length) as usize, rest))?,
        short => (usize::from(short), rest),
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    Some((Said { first, payload: payload.to_vec() }, rest))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::corpus;
    use super::*;
    use crate::fault::Fault;

    /// The bytes that are read as these steps.
    fn written(site: u8, how: u8, flow: u8, steps: &[Step]) -> Vec<u8> {
        let mut out = vec![site, how, flow];
        for step in steps {
            let mut put = |head: &[u8], text: &[u8]| {
                out.extend_from_slice(head);
                out.push(text.len() as u8);
                out.extend_from_slice(text);
            };
            match step {
                Step::Text(text) => put(&[0], text),
                Step::Known(which) => out.extend([1, *which]),
                Step::Long(length) => out.extend([&[2][..], &length.to_be_bytes()].concat()),
                Step::Frame(first, payload) => put(&[3, *first], payload),
                Step::Unmasked(first, payload) => put(&[4, *first], payload),
                Step::Announced(first, length) => {
                    let shift = (64 - length.leading_zeros()).saturating_sub(16);
                    out.extend([&[5, *first][..], &((length >> shift) as u16).to_be_bytes(), &[shift as u8]].concat());
                }
                Step::Close(code, reason) => {
                    let [high, low] = code.to_be_bytes();
                    put(&[6, high, low], reason);
                }
                Step::Garbage(bytes) => put(&[7], bytes),
                Step::Auth(valid) => out.extend([8, u8::from(!valid)]),
                Step::Settle => out.push(9),
                Step::Wait(seconds) => out.extend([10, *seconds]),
            }
        }
        out
    }

    const VALID: u8 = 0;
    const NOTHING: u8 = 2;
    const FORGED: u8 = 3;
    const DEFLATE: u8 = 4;
    const EARLY: u8 = 8;
    /// Ends.
    const CUT: u8 = 16;
    const HALF: u8 = 32;
    const SILENT: u8 = 48;

    fn seeds() -> BTreeMap<String, Vec<u8>> {
        let text = |text: &str| Step::Text(text.into());
        let mut seeds = BTreeMap::new();
        for site in 0..Site::count() {
            let name = Site::of(site).name.replace(' ', "-");
            let talk: Vec<Step> = (0..16).map(Step::Known).chain([Step::Settle]).collect();
            seeds.insert(format!("talk-{name}"), written(site, VALID, 0, &talk));
            seeds.insert(format!("forged-{name}"), written(site, FORGED, SILENT, &[text("{}")]));
            seeds.insert(format!("nothing-{name}"), written(site, NOTHING, HALF, &[text("{}")]));
        }
        let first = Site::number("first message");
        let packed = Site::number("compressed echo");
        let mut add = |name: &str, bytes: Vec<u8>| seeds.insert(name.to_owned(), bytes);
        let echo = |flow, steps: &[Step]| written(0, VALID, flow, steps);
        let broken =
            |first, payload: &[u8]| echo(SILENT, &[text("a"), Step::Frame(first, payload.to_vec()), text("b")]);
        add("echo-bytewise", echo(1 + 4, &[text("hello"), Step::Long(300), Step::Settle]));
        add("echo-early", written(0, VALID | EARLY, 0, &[text("hello"), Step::Settle]));
        add("forged-early", written(1, FORGED | EARLY, SILENT, &[text("{}")]));
        let midst = [Step::Long(1633), Step::Frame(0x89, vec![0; 26])];
        add("half-in-the-midst-of-a-frame", written(0, VALID | DEFLATE, HALF + 1, &midst));
        add("echo-cut", echo(CUT, &[text("hello")]));
        add("silent", echo(SILENT, &[]));
        add("silent-between", echo(SILENT, &[text("a"), Step::Wait(45), text("b")]));
        add(
            "fragments",
            echo(
                0,
                &[
                    Step::Frame(0x01, b"a".to_vec()),
                    Step::Frame(0x89, b"ping".to_vec()),
                    Step::Frame(0x00, Vec::new()),
                    Step::Frame(0x80, b"b".to_vec()),
                    Step::Settle,
                ],
            ),
        );
        add(
            "pings",
            echo(0, &[Step::Frame(0x89, vec![7; 125]), Step::Frame(0x8a, Vec::new()), text("a"), Step::Settle]),
        );
        add("ping-long", broken(0x89, &[0; 126]));
        add("ping-fragment", broken(0x09, b"x"));
        add("continuation-first", broken(0x80, b"x"));
        add("reserved-bit", broken(0xc1, b"x"));
        add("reserved-opcode", broken(0x83, b"x"));
        add("binary", broken(0x82, b"x"));
        add("not-utf-8", broken(0x81, b"\xff"));
        add("half-character", broken(0x81, b"\xe2\x82"));
        add("unmasked", echo(SILENT, &[Step::Unmasked(0x81, b"x".to_vec())]));
        add("announced", echo(SILENT, &[Step::Announced(0x81, 1 << 62)]));
        add("announced-a-little", echo(HALF, &[Step::Announced(0x82, 200)]));
        add("longest", echo(0, &[Step::Long(MESSAGE_BYTES as u16), Step::Settle]));
        add("too-long", echo(0, &[Step::Long(MESSAGE_BYTES as u16 + 1), Step::Settle]));
        add("garbage", echo(SILENT, &[Step::Garbage(b"GET / HTTP/1.1\r\n\r\n".to_vec())]));
        for (name, code, reason) in [
            ("normal", 1000, &b"bye"[..]),
            ("unsendable", 1005, b""),
            ("unregistered", 2999, b""),
            ("private", 4999, b""),
            ("zero", 0, b""),
            ("bad-reason", 1000, b"\xff"),
        ] {
            add(&format!("close-{name}"), echo(SILENT, &[Step::Close(code, reason.to_vec()), text("after")]));
        }
        add("close-empty", broken(0x88, b""));
        add("close-half-code", broken(0x88, b"\x03"));
        add("first-message-valid", written(first, NOTHING, 0, &[Step::Auth(true), text("{}"), Step::Settle]));
        add("first-message-forged", written(first, NOTHING, SILENT, &[Step::Auth(false), Step::Auth(true)]));
        add("first-message-late", written(first, NOTHING, SILENT, &[Step::Wait(11), Step::Auth(true)]));
        add(
            "first-message-ping",
            written(first, NOTHING, 0, &[Step::Frame(0x89, vec![1]), Step::Auth(true), Step::Settle]),
        );
        let deflated = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        add(
            "deflated",
            written(packed, DEFLATE, 0, &[Step::Frame(0xc1, deflated.to_vec()), text("plain"), Step::Settle]),
        );
        // The second one says "Hello" again by pointing back at the first (RFC 7692 §7.2.3.2).
        let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
        let twice = [Step::Frame(0xc1, deflated.to_vec()), Step::Frame(0xc1, again.to_vec()), Step::Settle];
        add("deflated-twice", written(packed, DEFLATE, 0, &twice));
        add("deflated-garbage", written(packed, DEFLATE, SILENT, &[Step::Frame(0xc1, vec![0xff; 9])]));
        add("deflated-ping", written(packed, DEFLATE, SILENT, &[Step::Frame(0xc9, vec![1])]));
        add("deflated-unasked", written(packed, VALID, SILENT, &[Step::Frame(0xc1, deflated.to_vec())]));
        seeds
    }

    #[test]
    fn the_seeds_are_in_the_folder() {
        corpus::holds("session", seeds());
    }

    #[test]
    #[ignore = "writes the seeds of fuzz/corpus/session"]
    fn write_seeds() {
        corpus::write("session", seeds());
    }

    #[test]
    fn every_input_of_the_corpus_keeps_the_laws() {
        corpus::replay("session", session);
    }

    /// The laws speak of something: whoever shows a valid token is served, everywhere.
    #[test]
    fn a_valid_token_is_served() {
        for choice in 0..Site::count() {
            let site = &*Site::of(choice);
            let first = site.name == "first message";
            let steps = [Step::Auth(true), Step::Known(1), Step::Settle];
            let plan = read(&written(choice, if first { NOTHING } else { VALID }, 0, &steps[usize::from(!first)..]));
            assert_eq!(plan.steps.len(), 2 + usize::from(first));
            let heard = pipe::play(site, plan.pipe, &plan.acts(site), plan.end);
            let text = String::from_utf8_lossy(&heard.bytes);
            assert!(text.starts_with("HTTP/1.1 101") && text.contains(['{', 'E']), "{}: {text}", site.name);
            assert!(!heard.ended && !text.contains("auth_error"), "{}: {text}", site.name);
        }
    }

    /// The laws have teeth.
    #[test]
    fn a_faulty_server_is_found_out_by_a_seed() {
        let faults = [
            Fault::AnswersBehindRefusal,
            Fault::CrashesInsteadOfRefusing,
            Fault::CrashesOnBadJson,
            Fault::DropsEarlyFrames,
            Fault::FramesBeforeVerification,
            Fault::IgnoresSignature,
            Fault::IllegalCloseCode,
            Fault::InflatesEverything,
            Fault::KeepaliveKillsSession,
            Fault::LosesDeflateContext,
            Fault::OverlongCloseReason,
            Fault::RefusedFirstMessageStaysOpen,
            Fault::RefusesEveryone,
            Fault::SendsUnaskedExtension,
            Fault::ServesAnonymous,
            Fault::ServesBeforeAuth,
            Fault::WelcomeBeforeVerification,
            Fault::NoEcho,
            Fault::StopsAfterOneMessage,
            Fault::ReordersBurst,
            Fault::DropsInBurst,
            Fault::DoublesInBurst,
            Fault::MasksServerFrames,
            Fault::EmptyTextEndsSession,
            Fault::LimitCountsFrame,
        ];
        corpus::find_out(seeds(), &faults, |fault| Site::all_with(Some(fault)), |input, _| session(input));
        Site::all_with(None);
    }

    proptest! {
        #[test]
        fn any_steps_keep_the_laws(
            site in 0..8_u8,
            how in 0..16_u8,
            flow in any::<u8>(),
            steps in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            session(&[&[site, how, flow][..], &steps].concat());
        }
    }
}
