//! What a server may send into the readers of the wire: answers, frames and compressed messages.
//!
//! Nothing is longer than what has arrived, a message ends where it ends, and what is written reads back.

use crate::wire::answer::{self, BodyLength, Head};
use crate::wire::deflate::{self, Agreed, Codec};
use crate::wire::frame::{self, Frame, LengthForm, Written};

/// The longest frame that is read. Less than the longest input, so that both sides of the limit are met.
const MAX_FRAME: usize = 1024;
/// The most frames of one input that are looked at.
const MAX_FRAMES: usize = 16;

/// The body of the target `answer_and_frames`: what a server may send, an answer with frames behind it or frames only.
///
/// # Panics
///
/// Where a law is broken: that is a finding.
pub(super) fn answer_and_frames(input: &[u8]) {
    frames(input);
    body(input, BodyLength::Chunked);
    let values = answer::lines(input, "upgrade");
    assert!(values.iter().all(|value| value.trim() == value), "a value with space around it: {values:?}");
    match answer::read(input) {
        answer::Read::More => {}
        answer::Read::NotHttp(why) => assert!(!why.is_empty(), "an error without a text"),
        answer::Read::Head(head, used) => {
            assert!(answer::read(&input[..used - 1]) == answer::Read::More, "a head ends before its end");
            assert_eq!(answer::read(&input[..used]), answer::Read::Head(head.clone(), used), "what follows matters");
            let written = write_head(&head);
            assert_eq!(answer::read(&written), answer::Read::Head(head.clone(), written.len()), "written otherwise");
            for (name, _) in &head.headers {
                assert!(head.header(name).is_some() && head.all(name).count() > 0, "{name} is lost");
                assert_eq!(head.lines(name).len(), head.all(name).count(), "a line of {name} is lost");
            }
            let closes = head.lines("connection").iter().any(|value| value.trim().eq_ignore_ascii_case("close"));
            assert!(!(closes && head.keeps_alive()), "it stays, and says that it will close");
            let rest = &input[used..];
            body(rest, head.body_length());
            frames(rest);
        }
    }
}

/// A body is never longer than what has arrived, and a chunked one is read as it was written.
fn body(bytes: &[u8], length: BodyLength) {
    let (found, whole) = answer::body(bytes, length);
    assert!(found.len() <= bytes.len(), "a body of more bytes than there are");
    match length {
        BodyLength::Exactly(length) => {
            assert_eq!(whole, found.len() == length, "whole is another word for as announced")
        }
        BodyLength::UntilClose => assert!(!whole && found == bytes, "only the end of the connection ends it"),
        BodyLength::Chunked => {
            let mut written = Vec::new();
            // One chunk to seven or so: the input chooses by its length.
            for chunk in bytes.chunks(bytes.len() / (bytes.len() % 7 + 1) + 1) {
                written.extend_from_slice(format!("{:X};x\r\n", chunk.len()).as_bytes());
                written.extend_from_slice(chunk);
                written.extend_from_slice(b"\r\n");
            }
            assert!(!answer::body(&written, length).1, "whole without its last chunk");
            written.extend_from_slice(b"0\r\n\r\n");
            assert_eq!(answer::body(&written, length), (bytes.to_vec(), true), "chunks read otherwise");
        }
    }
}

/// Reads frame after frame from the front.
fn frames(mut bytes: &[u8]) {
    // A long input of empty frames would cost a thousand reads and show no more than a few of them.
    for _ in 0..MAX_FRAMES {
        match frame::read(bytes, MAX_FRAME) {
            frame::Read::More => return,
            frame::Read::TooLong(length) => return assert!(length > MAX_FRAME as u64, "{length} is not too long"),
            frame::Read::Frame(frame, used) => {
                one_frame(&frame, &bytes[..used]);
                bytes = &bytes[used..];
            }
        }
    }
}

/// `bytes` are this frame and nothing but this frame, and it reads back in whatever form it is written.
fn one_frame(frame: &Frame, bytes: &[u8]) {
    assert_eq!(frame::read(&bytes[..bytes.len() - 1], MAX_FRAME), frame::Read::More, "a frame ends before its end");
    assert!(frame.payload.len() <= MAX_FRAME, "longer than the limit");
    assert!(frame.close_code().is_none() || frame.payload.len() >= 2, "a code out of nowhere");
    assert!(frame.close_reason().len() <= 3 * frame.payload.len(), "a reason out of nowhere");

    let mask_at = bytes.len() - frame.payload.len() - 4 * usize::from(frame.masked);
    let mask = bytes[mask_at..].first_chunk::<4>().copied().filter(|_| frame.masked);
    let came_as = match bytes[1] & 0x7F {
        126 => LengthForm::Bits16,
        127 => LengthForm::Bits64,
        _ => LengthForm::Minimal,
    };
    for length in [LengthForm::Minimal, LengthForm::Bits16, LengthForm::Bits64] {
        let Frame { fin, rsv, opcode, .. } = *frame;
        let written = Written { fin, rsv, opcode, mask, length, payload: frame.payload.clone() }.to_bytes();
        assert_eq!(frame::read(&written, MAX_FRAME), frame::Read::Frame(frame.clone(), written.len()), "{length:?}");
        if length == came_as {
            assert_eq!(written, bytes, "written as it came, it is what came");
        }
    }
}

fn write_head(head: &Head) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.{} {:03} {}\r\n", head.minor_version, head.status, head.reason).into_bytes();
    for (name, value) in &head.headers {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// The input of `deflate` is a negotiation: this byte, the offer, a line feed, the answer.
const NEGOTIATION: u8 = 0xFF;
/// The most bytes of one payload that are kept when it is inflated.
const KEEP: usize = 4096;

/// The body of the target `deflate`. What is no negotiation is a byte that says what was agreed on, and a payload.
pub(super) fn deflate(input: &[u8]) {
    match input.split_first() {
        Some((&NEGOTIATION, texts)) => negotiation(&String::from_utf8_lossy(texts)),
        Some((&how, payload)) => {
            let agreed = Agreed {
                client_no_context_takeover: how & 1 != 0,
                server_no_context_takeover: how & 2 != 0,
                client_max_window_bits: 8 + (how >> 2) % 8,
            };
            inflates_alike(agreed, payload, usize::from(how >> 5) + 2);
            comes_through(agreed, payload);
        }
        None => {}
    }
}

/// What is agreed on was announced, is within the limits, and does not depend on how the list is spread over lines.
fn negotiation(texts: &str) {
    let (offer, answer) = texts.split_once('\n').unwrap_or((texts, ""));
    let (offers, answers) = ([offer.to_owned()], [answer.to_owned()]);
    assert_eq!(deflate::agree(&offers, &[]), Ok(None), "no answer is no extension");
    let agreed = deflate::agree(&offers, &answers);
    match &agreed {
        Ok(None) => panic!("an answer that says nothing: {answer:?}"),
        Ok(Some(agreed)) => {
            assert_eq!(deflate::announced(&offers, &answers), Some(*agreed), "announced otherwise");
            assert!((8..=15).contains(&agreed.client_max_window_bits), "{agreed:?}");
        }
        Err(why) => assert!(!why.is_empty(), "an error without a text"),
    }
    // RFC 9110 §5.3: lines of one name are one list. A comma inside quotation marks parts nothing, so leave those out.
    if !texts.contains('"') {
        let lines = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(deflate::agree(&lines(offer), &lines(answer)), agreed, "lines read otherwise");
    }
}

/// The bytes of one message inflate to the same, whole or in `parts` frames, and to no more than is kept.
fn inflates_alike(agreed: Agreed, payload: &[u8], parts: usize) {
    let whole = Codec::new(agreed).inflate(payload, true, KEEP);
    let mut codec = Codec::new(agreed);
    let mut pieces = payload.chunks(payload.len() / parts + 1).peekable();
    let mut joined = Ok(Vec::new());
    while let (Some(piece), Ok(bytes)) = (pieces.next(), &mut joined) {
        match codec.inflate(piece, pieces.peek().is_none(), KEEP) {
            Ok(more) => {
                assert!(more.len() <= KEEP, "more than is kept");
                bytes.extend(more);
            }
            Err(why) => joined = Err(why),
        }
    }
    match (whole, joined) {
        (Ok(whole), Ok(joined)) => {
            assert!(whole.len() <= KEEP, "more than is kept");
            assert!(joined.starts_with(&whole), "frames of one message read otherwise than the message");
            assert!(whole.len() == KEEP || payload.is_empty() || joined == whole, "bytes out of nowhere");
        }
        (Err(whole), Err(joined)) => assert!(!whole.is_empty() && !joined.is_empty(), "an error without a text"),
        (whole, joined) => assert!(payload.is_empty(), "whole {whole:?}, in parts {joined:?}"),
    }
}

/// What is deflated inflates to itself, with the context of an earlier message as without it.
fn comes_through(agreed: Agreed, message: &[u8]) {
    // The server's side is the client's with the roles changed.
    let turned = Agreed {
        client_no_context_takeover: agreed.server_no_context_takeover,
        server_no_context_takeover: agreed.client_no_context_takeover,
        ..agreed
    };
    let (mut here, mut there) = (Codec::new(agreed), Codec::new(turned));
    for _ in 0..2 {
        let payload = here.deflate(message);
        assert_eq!(there.inflate(&payload, true, message.len()).as_deref(), Ok(message), "{agreed:?}");
    }
}
