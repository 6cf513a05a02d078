//! What the fuzzer calls, as functions that stable tests call too.
//!
//! A target hands over bytes; a body here reads them and panics where a law of the wire is broken: nothing panics,
//! nothing is longer than what has arrived, a message ends where it ends, and what is written reads back.

use crate::wire::answer::{self, BodyLength, Head};
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
pub fn answer_and_frames(input: &[u8]) {
    frames(input);
    body(input, BodyLength::Chunked);
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
            }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn folder() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/answer_and_frames")
    }

    /// The seeds that follow from the code. The folder may hold more: a finding that was mended stays there.
    fn seeds() -> BTreeMap<&'static str, Vec<u8>> {
        let server = |opcode, payload: &[u8], length| {
            Written { fin: true, rsv: 0, opcode, mask: None, length, payload: payload.to_vec() }.to_bytes()
        };
        let switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        BTreeMap::from([
            ("answer-101-then-text", [&switching[..], &server(frame::TEXT, b"hello", LengthForm::Minimal)].concat()),
            ("answer-403-empty", b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n".to_vec()),
            ("answer-401-json", b"HTTP/1.1 401 \r\nContent-Length: 2\r\nWWW-Authenticate: Bearer\r\n\r\n{}".to_vec()),
            (
                "answer-chunked",
                b"HTTP/1.1 500 x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n".to_vec(),
            ),
            ("answer-until-close", b"HTTP/1.0 404 Not Found\r\nX-Y: \t z \r\n\r\nbody".to_vec()),
            ("answer-half", b"HTTP/1.1 101 Switching Protocols\r\nUpgr".to_vec()),
            ("answer-not-http", b"SSH-2.0-OpenSSH\r\n".to_vec()),
            ("chunk-size-overflow", b"FFFFFFFFFFFFFFFF\r\nabc".to_vec()),
            (
                "frame-text-then-ping",
                [server(1, b"a", LengthForm::Minimal), server(9, b"", LengthForm::Minimal)].concat(),
            ),
            ("frame-close-1008", server(frame::CLOSE, b"\x03\xf0Invalid token", LengthForm::Minimal)),
            ("frame-close-half-code", server(frame::CLOSE, b"\x03", LengthForm::Minimal)),
            ("frame-masked", Written::client(frame::TEXT, "masked", [0xde, 0xad, 0xbe, 0xef]).to_bytes()),
            ("frame-16-bits", server(frame::BINARY, &[7; 126], LengthForm::Minimal)),
            ("frame-64-bits", server(frame::BINARY, b"few", LengthForm::Bits64)),
            ("frame-too-long", server(frame::TEXT, b"ab", LengthForm::Announce(1 << 62))),
        ])
    }

    #[test]
    fn the_seeds_are_in_the_folder() {
        for (name, bytes) in seeds() {
            let found = fs::read(folder().join(name)).unwrap_or_default();
            assert_eq!(found, bytes, "{name}: write it with `cargo test --workspace -- --ignored write_seeds`");
        }
    }

    #[test]
    #[ignore = "writes fuzz/seeds/answer_and_frames"]
    fn write_seeds() {
        fs::create_dir_all(folder()).expect("a folder");
        for (name, bytes) in seeds() {
            fs::write(folder().join(name), bytes).expect("a file");
        }
    }

    #[test]
    fn every_seed_keeps_the_laws() {
        for file in fs::read_dir(folder()).expect("the seeds") {
            answer_and_frames(&fs::read(file.expect("a file").path()).expect("its bytes"));
        }
    }

    proptest! {
        #[test]
        fn any_input_keeps_the_laws(input in prop::collection::vec(any::<u8>(), 0..200)) {
            answer_and_frames(&input);
        }

        #[test]
        fn any_answer_keeps_the_laws(status in "[0-9 ]{1,4}", lines in "[ -~\r\n\t]{0,80}") {
            answer_and_frames(format!("HTTP/1.1 {status}\r\n{lines}\r\n\r\n").as_bytes());
        }
    }
}
