//! What is said on an open connection, and how it ends.

use std::time::Duration;

use crate::common::*;
use futures_util::SinkExt as _;
use gatecrash_reference_server::{Dialect, RefusalStyle};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

async fn server(dialect: Dialect) -> Running {
    Running::start(config(dialect, RefusalStyle::Close)).await
}

#[tokio::test]
async fn a_hundred_rapid_messages_come_back_in_order() {
    let dialect = Dialect::PersonalAssistant;
    let server = server(dialect).await;
    let mut client = server.admitted(&good(dialect)).await;
    for n in 0..100 {
        client.0.feed(Message::text(format!("m{n}"))).await.unwrap();
    }
    client.0.flush().await.unwrap();
    for n in 0..100 {
        assert_eq!(client.hear().await, format!("Echo: m{n}"));
    }
}

#[tokio::test]
async fn large_and_odd_texts_are_exact() {
    let dialect = Dialect::PersonalAssistant;
    let server = server(dialect).await;
    let mut client = server.admitted(&good(dialect)).await;
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 1024 * 1024] {
        let text = "x".repeat(length);
        client.say(&text).await;
        assert!(client.hear().await == format!("Echo: {text}"), "{length}");
    }
    client.say("\u{0} é \u{10ffff}").await;
    assert_eq!(client.hear().await, "Echo: \u{0} é \u{10ffff}");
    client.say(&"x".repeat(1024 * 1024 + 1)).await;
    assert_eq!(client.closed().await.0, 1009);
}

#[tokio::test]
async fn shipvox_stamps_and_tells_everyone() {
    let dialect = Dialect::Shipvox;
    let server = server(dialect).await;
    let mut alice = server.admitted(&token_of(dialect, "alice")).await;
    let mut bob = server.admitted(&token_of(dialect, "bob")).await;
    bob.served(dialect).await;
    assert_eq!(alice.hear_json().await["user"], "bob");
    alice.say("not json").await;
    assert_eq!(alice.hear_json().await["type"], "error");
    for n in 0..100 {
        alice.say(&json!({"type": "test", "n": n, "user": "admin"}).to_string()).await;
    }
    let mut ids = std::collections::HashSet::new();
    for client in [&mut alice, &mut bob] {
        for n in 0..100 {
            let message = client.hear_json().await;
            assert_eq!((&message["n"], &message["user"]), (&json!(n), &json!("alice")));
            assert!(message["timestamp"].as_f64().unwrap() > 1e9 && message["timestamp"].as_f64().unwrap() < 1e10);
            ids.insert(message["requestId"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(ids.len(), 100);
}

#[tokio::test]
async fn a_slow_reader_holds_up_nobody() {
    let dialect = Dialect::Shipvox;
    let mut config = config(dialect, RefusalStyle::Close);
    config.limits.queue_messages = 16;
    config.limits.write = Duration::from_millis(500);
    let server = Running::start(config).await;
    let _slow = server.admitted(&token_of(dialect, "slow")).await;
    let mut quick = server.admitted(&token_of(dialect, "quick")).await;
    let message = json!({"payload": "x".repeat(200_000)}).to_string();
    for _ in 0..60 {
        quick.say(&message).await;
        assert_eq!(quick.hear_json().await["user"], "quick");
    }
}

#[tokio::test]
async fn binary_is_told_so() {
    for dialect in Dialect::ALL.iter().copied() {
        let server = server(dialect).await;
        let mut client = server.admitted(&good(dialect)).await;
        client.0.send(Message::binary(vec![0, 1, 2])).await.unwrap();
        assert_eq!(client.closed().await.0, 1003, "{dialect}");
    }
}

#[tokio::test]
async fn omni2_survives_what_is_no_json() {
    let dialect = Dialect::Omni2;
    let server = server(dialect).await;
    let mut client = server.admitted(&good(dialect)).await;
    client.say("{").await;
    assert_eq!(client.hear_json().await["type"], "error");
    client.say(r#"{"type":"gatecrash"}"#).await;
    client.served(dialect).await;
}

#[tokio::test]
async fn omni2_broadcasts_changes_when_told_to() {
    let dialect = Dialect::Omni2;
    let mut config = config(dialect, RefusalStyle::Close);
    config.status_every = Some(Duration::from_millis(20));
    let server = Running::start(config).await;
    let mut client = server.admitted(&good(dialect)).await;
    let change = client.hear_json().await;
    assert_eq!((&change["type"], &change["mcp_id"]), (&json!("mcp_status_change"), &json!("database")));
    assert_eq!(client.hear_json().await["type"], "health_event");
}

/// Raw frames after a good handshake; everything the server says until it hangs up.
async fn raw(dialect: Dialect, frames: &[u8]) -> Vec<u8> {
    let server = server(dialect).await;
    let mut stream = server.tcp().await;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.target(&good(dialect))
    );
    // In the same segment as the handshake: nothing may be lost.
    stream.write_all(&[request.as_bytes(), frames].concat()).await.unwrap();
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    assert!(
        head.starts_with("http/1.1 101") && !head.contains("content-length") && !head.contains("transfer-encoding")
    );
    answer.split_off(end)
}

#[tokio::test]
async fn violations_are_told_by_their_code() {
    let mask = [0, 0, 0, 0];
    let frame = |first: u8, payload: &[u8]| [&[first, 0x80 | payload.len() as u8][..], &mask, payload].concat();
    let cases: [(&str, Vec<u8>, u16); 7] = [
        ("unmasked", vec![0x81, 1, b'x'], 1002),
        ("rsv1", frame(0xc1, b"x"), 1002),
        ("reserved opcode", frame(0x83, b"x"), 1002),
        ("not UTF-8", frame(0x81, b"\xff"), 1007),
        ("one byte of Close", frame(0x88, b"\x03"), 1002),
        ("a continuation of nothing", frame(0x80, b"x"), 1002),
        ("a length of 2^62", [&[0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0][..], &mask, b"xx"].concat(), 1009),
    ];
    for (what, bytes, code) in cases {
        let answer = raw(Dialect::Shipvox, &bytes).await;
        assert_eq!(answer.first(), Some(&0x88), "{what}: {answer:?}");
        assert_eq!(answer[2..4], code.to_be_bytes(), "{what}");
    }
}

#[tokio::test]
async fn an_answer_comes_before_the_close_and_none_after_it() {
    let frame = |first: u8, payload: &[u8]| [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat();
    let close = frame(0x88, &1000u16.to_be_bytes());
    let bytes = [frame(0x81, br#"{"n":1}"#), close, frame(0x81, br#"{"n":2}"#)].concat();
    let answer = raw(Dialect::Shipvox, &bytes).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("\"n\":1") && !text.contains("\"n\":2"), "{text}");
    assert_eq!(answer[answer.len() - 4..], [0x88, 2, 3, 0xe8]);
}

/// A raw connection that offered to compress, behind the welcome; the head of the answer.
async fn compressed(server: &Running, offer: &str) -> (tokio::net::TcpStream, String) {
    let mut stream = server.tcp().await;
    let target = server.target(&good(server.dialect));
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    (stream, String::from_utf8(head).unwrap().to_lowercase())
}

/// The first byte of the next frame, and its payload.
async fn next_frame(stream: &mut tokio::net::TcpStream) -> (u8, Vec<u8>) {
    let first = within(stream.read_u8()).await.unwrap();
    let length = match within(stream.read_u8()).await.unwrap() {
        126 => usize::from(within(stream.read_u16()).await.unwrap()),
        length => usize::from(length),
    };
    let mut payload = vec![0; length];
    within(stream.read_exact(&mut payload)).await.unwrap();
    (first, payload)
}

/// "Hello", compressed (RFC 7692 §7.2.3.1), in a masked frame.
const HELLO: [u8; 13] = [0xc1, 0x87, 0, 0, 0, 0, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

#[tokio::test]
async fn compression_is_off_unless_it_is_asked_for_on_both_sides() {
    let mut config = config(Dialect::PersonalAssistant, RefusalStyle::Close);
    let off = Running::start(config.clone()).await;
    assert!(!compressed(&off, "permessage-deflate").await.1.contains("extensions"));
    config.deflate = true;
    let on = Running::start(config).await;
    let (mut stream, head) = compressed(&on, "permessage-deflate; foo").await;
    assert!(head.starts_with("http/1.1 101") && !head.contains("extensions"), "{head}");
    assert_eq!(next_frame(&mut stream).await.0, 0x81, "the welcome is plain");
    stream.write_all(&HELLO).await.unwrap();
    let (first, close) = next_frame(&mut stream).await;
    assert_eq!((first, &close[..2]), (0x88, &1002_u16.to_be_bytes()[..]), "a reserved bit, where nothing was agreed");
}

#[tokio::test]
async fn a_compressed_message_is_answered_by_a_compressed_one() {
    let mut config = config(Dialect::PersonalAssistant, RefusalStyle::Close);
    config.deflate = true;
    let server = Running::start(config).await;
    let (mut stream, head) = compressed(&server, "permessage-deflate; server_no_context_takeover").await;
    assert!(head.contains("sec-websocket-extensions: permessage-deflate; server_no_context_takeover\r\n"), "{head}");
    let mut inflater = flate2::Decompress::new(false);
    let mut heard = Vec::new();
    for _ in 0..3 {
        let (first, mut payload) = next_frame(&mut stream).await;
        payload.extend([0, 0, 0xff, 0xff]);
        let mut text = Vec::with_capacity(1000);
        inflater.reset(false);
        inflater.decompress_vec(&payload, &mut text, flate2::FlushDecompress::Sync).unwrap();
        heard.push((first, String::from_utf8(text).unwrap()));
        stream.write_all(&HELLO).await.unwrap();
    }
    assert!(heard[0].1.contains("connected"), "{heard:?}");
    assert_eq!(heard[1..], [(0xc1, "Echo: Hello".to_owned()), (0xc1, "Echo: Hello".to_owned())]);
}

#[tokio::test]
async fn shutdown_says_goodbye() {
    for dialect in Dialect::ALL.iter().copied() {
        let mut server = server(dialect).await;
        let mut client = server.admitted(&good(dialect)).await;
        server.stop();
        assert_eq!(client.closed().await.0, 1001);
        assert!(client.next().await.is_none());
        drop(client);
        server.stopped().await;
    }
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_deaf_client() {
    let mut config = config(Dialect::PersonalAssistant, RefusalStyle::Close);
    config.limits.close = Duration::from_millis(100);
    let mut server = Running::start(config).await;
    let _deaf = server.admitted(&good(Dialect::PersonalAssistant)).await;
    let _idle = server.tcp().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.stop();
    server.stopped().await;
}
