//! Each fault of this crate's own rooms does what its name says, and leaves a good client alone.
//!
//! The gate's own faults are tested beside the gate.

use std::time::{Duration, Instant};

use futures_util::SinkExt as _;
use gatecrash_reference_server::{Config, Dialect, Environment, Fault, RefusalStyle};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use crate::common::*;

const PA: Dialect = Dialect::PersonalAssistant;
const SHIPVOX: Dialect = Dialect::Shipvox;
const SIMUTRADOR: Dialect = Dialect::Simutrador;
const OMNI2: Dialect = Dialect::Omni2;

async fn start(dialect: Dialect, fault: Fault) -> Running {
    Running::start(faulty(dialect, fault)).await
}

async fn start_http(dialect: Dialect, fault: Fault) -> Running {
    let mut config = faulty(dialect, fault);
    config.refusal = RefusalStyle::Http;
    Running::start(config).await
}

/// The client that opens `target` is served.
async fn serves(server: &Running, target: &str, headers: &[(&str, &str)]) {
    let mut client = server.open_at(target, headers).await.unwrap_or_else(|told| panic!("{target} {told:?}"));
    client.welcomed(server.dialect).await;
    client.served(server.dialect).await;
}

/// The code and reason with which `target` is refused.
async fn told(server: &Running, target: &str) -> (u16, String) {
    server.open_at(target, &[]).await.unwrap_or_else(|told| panic!("{target} {told:?}")).closed().await
}

async fn status(server: &Running, target: &str) -> u16 {
    server.open_at(target, &[]).await.map_or_else(|told| told.0, |_| 101)
}

#[tokio::test]
async fn a_good_client_is_served_whatever_the_fault() {
    // These are about the good client, or about what it does first.
    const COARSE: &[Fault] = &[
        Fault::RefusesEveryone,
        Fault::ConstantHeader,
        Fault::RefusesUnknownClaim,
        Fault::RequiresUndeclaredClaim,
        Fault::RefusesUnknownHeader,
        Fault::RequiresKid,
        Fault::NoEcho,
        Fault::KeepaliveKillsSession,
        Fault::MasksServerFrames,
        Fault::ConstantAcceptKey,
        Fault::SendsUnaskedSubprotocol,
        Fault::SendsUnaskedExtension,
    ];
    for dialect in Dialect::ALL.iter().copied() {
        for fault in Fault::ALL.iter().copied().filter(|fault| !COARSE.contains(fault)) {
            // No accounts: hashing their passwords would take longer than the test.
            let mut config = faulty(dialect, fault);
            config.users = Some(Vec::new());
            let server = Running::start(config).await;
            let target = server.target(&good(dialect));
            let mut client =
                server.open_at(&target, &[]).await.unwrap_or_else(|told| panic!("{dialect} {fault} {told:?}"));
            client.welcomed(dialect).await;
            client.served(dialect).await;
        }
    }
}

#[tokio::test]
async fn no_token_needed() {
    for dialect in Dialect::ALL.iter().copied() {
        let bare = dialect.endpoint();
        serves(&start(dialect, Fault::ServesAnonymous).await, bare, &[]).await;
        let server = start(dialect, Fault::EmptyTokenIsGuest).await;
        serves(&server, &server.target(""), &[]).await;
        serves(&start(dialect, Fault::TrustsIdentityHeaders).await, bare, &[("X-User-Role", "admin")]).await;
        serves(&start(dialect, Fault::TrustsForwardedFor).await, bare, &[("X-Forwarded-For", "127.0.0.1")]).await;
        serves(&start(dialect, Fault::DebugSwitch).await, &format!("{bare}?debug=1&test=true"), &[]).await;
        serves(&start(dialect, Fault::DebugSwitch).await, bare, &[("Cookie", "a=b; debug=1")]).await;
        serves(&start(dialect, Fault::AnonymousOnUnknownPath).await, "/gatecrash-no-such-path", &[]).await;
        let server = start(dialect, Fault::PrefixPathBypass).await;
        for path in [
            format!("/{bare}"),
            format!("/.{bare}"),
            format!("/x/..{bare}"),
            format!("{bare};x"),
            format!("{bare}.json"),
        ] {
            serves(&server, &path, &[]).await;
        }
    }
    let server = start(PA, Fault::OptionalPathToken).await;
    serves(&server, "/ws", &[]).await;
    serves(&server, "/ws/", &[]).await;
}

#[tokio::test]
async fn other_carriers() {
    let dialect = SHIPVOX;
    let token = good(dialect);
    let cookie = format!("x=y; access_token={token}");
    let cookie = [("Cookie", cookie.as_str())];
    serves(&start(dialect, Fault::CookieFallback).await, "/ws", &cookie).await;
    let server = start(dialect, Fault::CookieRescuesBadToken).await;
    serves(&server, &server.target(&forged(dialect)), &cookie).await;
    serves(&start(dialect, Fault::FirstParameterWins).await, &format!("/ws?token={token}&token=x"), &[]).await;
    serves(&start(dialect, Fault::LastParameterWins).await, &format!("/ws?token=x&token={token}"), &[]).await;
    let server = start(dialect, Fault::TrimsToken).await;
    serves(&server, &server.target(&format!("%20{token}%0A")), &[]).await;
    let server = start(dialect, Fault::DoubleDecodes).await;
    serves(&server, &server.target(&token.replace('.', "%252E")), &[]).await;
    let server = start(dialect, Fault::RawQuery).await;
    assert_eq!(told(&server, &server.target(&token.replace('.', "%2E"))).await.0, 1008);
    let server = start(dialect, Fault::ShortTokenLimit).await;
    let long = changed(dialect, "filler", "x".repeat(2000).into());
    assert_eq!(told(&server, &server.target(&long)).await.0, 1008);

    let token = good(PA);
    let server = start(PA, Fault::GreedyPath).await;
    serves(&server, &format!("/ws/{token}/extra"), &[]).await;
    serves(&server, &format!("/ws/extra/{token}"), &[]).await;
    serves(&start(PA, Fault::QueryRescuesPath).await, &format!("/ws/invalid?token={token}"), &[]).await;

    let (token, endpoint) = (good(SIMUTRADOR), SIMUTRADOR.endpoint());
    let (bearer, lower, basic) = (format!("Bearer {token}"), format!("bearer {token}"), format!("Basic {token}"));
    let server = start(SIMUTRADOR, Fault::HeaderCarrierMissing).await;
    let mut client = server.open_at(endpoint, &[("Authorization", &bearer)]).await.unwrap_or_else(|t| panic!("{t:?}"));
    assert_eq!(client.closed().await.0, 4001);
    let server = start(SIMUTRADOR, Fault::CaseSensitiveScheme).await;
    serves(&server, endpoint, &[("Authorization", &bearer)]).await;
    let mut client = server.open_at(endpoint, &[("Authorization", &lower)]).await.unwrap_or_else(|t| panic!("{t:?}"));
    assert_eq!(client.closed().await.0, 4001);
    let server = start(SIMUTRADOR, Fault::AnyScheme).await;
    for value in [&basic, &token] {
        serves(&server, endpoint, &[("Authorization", value)]).await;
    }
    let server = start(SIMUTRADOR, Fault::EitherCarrierRescues).await;
    serves(&server, &server.target("bad"), &[("Authorization", &bearer)]).await;
    serves(&server, &server.target(&token), &[("Authorization", "Bearer bad")]).await;
    let server = start(SIMUTRADOR, Fault::TwoAuthorizationHeaders).await;
    serves(&server, endpoint, &[("Authorization", &bearer), ("Authorization", "Bearer bad")]).await;
    serves(&server, endpoint, &[("Authorization", "Bearer bad"), ("Authorization", &bearer)]).await;
    let server = start(SIMUTRADOR, Fault::SecondCarrierUnverified).await;
    let bad = format!("Bearer {}", forged(SIMUTRADOR));
    serves(&server, endpoint, &[("Authorization", &bad)]).await;
    assert_eq!(told(&server, &server.target(&forged(SIMUTRADOR))).await.0, 4002);

    let viewer = changed(OMNI2, "role", "viewer".into());
    let server = start(OMNI2, Fault::RoleFromRequest).await;
    serves(&server, &format!("{}&role=admin", server.target(&viewer)), &[]).await;
}

#[tokio::test]
async fn crashes_show() {
    for (fault, query) in
        [(Fault::CrashesOnValuelessParameter, "/ws?token"), (Fault::CrashesOnBadPercent, "/ws?token=%ff")]
    {
        assert_eq!(status(&start_http(SHIPVOX, fault).await, query).await, 500);
        assert_eq!(told(&start(SHIPVOX, fault).await, query).await.0, 0);
    }
    let server = start_http(SHIPVOX, Fault::CrashesInsteadOfRefusing).await;
    assert_eq!(status(&server, &server.target(&forged(SHIPVOX))).await, 500);
    let server = start(SHIPVOX, Fault::CrashesInsteadOfRefusing).await;
    assert_eq!(told(&server, &server.target(&expired(SHIPVOX))).await.0, 0);
}

#[tokio::test]
async fn refusals_are_told_wrongly() {
    let close = |dialect, fault, token: String| async move {
        let server = start(dialect, fault).await;
        let target = server.target(&token);
        told(&server, &target).await
    };
    assert_eq!(close(SIMUTRADOR, Fault::MissingReportedAsInvalid, String::new()).await.0, 4002);
    assert_eq!(close(SHIPVOX, Fault::MissingReportedAsInvalid, String::new()).await.1, "Invalid or expired token");
    assert_eq!(close(SIMUTRADOR, Fault::InvalidReportedAsInternal, "x".into()).await.0, 4000);
    assert_eq!(close(PA, Fault::InvalidReportedAsInternal, "x".into()).await.0, 1011);
    assert_eq!(close(SIMUTRADOR, Fault::ForgedReportedAsExpired, forged(SIMUTRADOR)).await.0, 4003);
    assert_eq!(close(PA, Fault::ForgedReportedAsExpired, forged(PA)).await, (1003, "Expired".into()));
    assert_eq!(close(SIMUTRADOR, Fault::ExpiredReportedAsInvalid, expired(SIMUTRADOR)).await.0, 4002);
    assert_eq!(close(SHIPVOX, Fault::ExpiredReportedAsInvalid, expired(SHIPVOX)).await.0, 1000);
    let viewer = changed(OMNI2, "role", "viewer".into());
    assert_eq!(close(OMNI2, Fault::RoleReportedAsUnauthenticated, viewer.clone()).await.0, 3000);
    let long = changed(OMNI2, "role", "é".repeat(100).into());
    assert_eq!(close(OMNI2, Fault::LongRoleBreaksClose, long.clone()).await.0, 0);
    assert_eq!(close(OMNI2, Fault::LongRoleBreaksClose, viewer.clone()).await.0, 1008);
    assert_eq!(close(PA, Fault::NormalClosureRefusal, forged(PA)).await, (1000, "Invalid token".into()));
    assert_eq!(close(PA, Fault::WrongReason, forged(PA)).await, (1008, "nope".into()));
    assert!(close(PA, Fault::LeaksSecret, forged(PA)).await.1.contains(SECRET));
    assert!(close(PA, Fault::StackTrace, forged(PA)).await.1.contains("Traceback"));
    let token = forged(PA);
    let signature = token.rsplit('.').next().unwrap().to_owned();
    assert!(close(PA, Fault::ReflectsToken, token).await.1.contains(&signature));
    // What a client library may not show.
    for (fault, token) in [
        (Fault::IllegalCloseCode, forged(OMNI2)),
        (Fault::OverlongCloseReason, forged(OMNI2)),
        (Fault::ReasonCutInsideCharacter, long),
    ] {
        let server = start(OMNI2, fault).await;
        let frame = raw_refusal(&server, &token).await;
        match fault {
            Fault::IllegalCloseCode => assert_eq!(frame[2..4], 1006u16.to_be_bytes()),
            _ => assert!(frame[1] == 125 && std::str::from_utf8(&frame[4..127]).is_err(), "{fault} {frame:?}"),
        }
    }
    let began = Instant::now();
    close(PA, Fault::SlowRefusal, forged(PA)).await;
    assert!(began.elapsed() > Duration::from_millis(1200));
    let server = start(OMNI2, Fault::WelcomeBeforeVerification).await;
    let mut client = server.open(&forged(OMNI2)).await.unwrap_or_else(|told| panic!("{told:?}"));
    assert_eq!(client.hear_json().await["type"], "initial_status");
    assert_eq!(client.closed().await.0, 1008);
}

/// What is on the wire after the 101 of a refusal.
async fn raw_refusal(server: &Running, token: &str) -> Vec<u8> {
    raw_frames(server, token, &[]).await
}

async fn raw_frames(server: &Running, token: &str, frames: &[u8]) -> Vec<u8> {
    let mut stream = server.tcp().await;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.target(token)
    );
    stream.write_all(&[request.as_bytes(), frames].concat()).await.unwrap();
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    answer.split_off(end)
}

#[tokio::test]
async fn http_refusals_are_told_wrongly() {
    for (fault, expected) in [(Fault::RefusesWith200, 200), (Fault::CloseBeforeAccept, 403)] {
        let server = start_http(SHIPVOX, fault).await;
        assert_eq!(status(&server, &server.target(&forged(SHIPVOX))).await, expected, "{fault}");
    }
    let server = start(SHIPVOX, Fault::CloseBeforeAccept).await;
    let (status, challenge, body) = server.open(&forged(SHIPVOX)).await.map(|_| ()).unwrap_err();
    assert_eq!((status, challenge.as_str(), body.as_str()), (403, "", ""));
    let server = start_http(SHIPVOX, Fault::Unchallenged401).await;
    assert_eq!(server.open(&forged(SHIPVOX)).await.map(|_| ()).unwrap_err().1, "");
    let server = start_http(SHIPVOX, Fault::ReflectsToken).await;
    let token = forged(SHIPVOX);
    let path = server.target(&token);
    let (_, _, body) = server
        .http(&format!("GET {path} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
        .await;
    assert!(body.contains(&token), "{body}");
}

#[tokio::test]
async fn frames_before_verification_are_answered() {
    let server = start(PA, Fault::FramesBeforeVerification).await;
    let answer = raw_frames(&server, &forged(PA), &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await;
    assert_eq!(answer[..10], *b"\x81\x08Echo: hi");
    assert_eq!(answer[10], 0x88);
}

#[tokio::test]
async fn handshakes_are_taken_lightly() {
    let request = |method: &str, fields: &[&str]| {
        format!("{method} {} HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n", "TARGET", fields.join("\r\n"))
    };
    let (u, c) = ("Upgrade: websocket", "Connection: Upgrade");
    let (v, k) = ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==");
    let cases = [
        (Fault::UpgradesAnyMethod, request("POST", &[u, c, v, k]), "101"),
        (Fault::UpgradesAnyVersion, request("GET", &[u, c, "Sec-WebSocket-Version: 8", k]), "101"),
        (Fault::UpgradesAnyVersion, request("GET", &[u, c, k]), "101"),
        (Fault::UpgradesWithoutKey, request("GET", &[u, c, v]), "101"),
        (Fault::UpgradesWithoutUpgrade, request("GET", &[c, v, k]), "101"),
        (Fault::UpgradesWithoutUpgrade, request("GET", &[u, v, k]), "101"),
        (Fault::OmitsVersionHeader, request("GET", &[u, c, k]), "426"),
    ];
    for (fault, request, expected) in cases {
        let server = start(SHIPVOX, fault).await;
        let mut stream = server.tcp().await;
        let request = request.replace("TARGET", &server.target(&good(SHIPVOX)));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = within(stream.read(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).to_lowercase();
        assert_eq!(&answer[9..12], expected, "{fault}");
        assert!(!answer.contains("sec-websocket-version:"), "{fault}");
    }
    for (fault, header) in [
        (Fault::ConstantAcceptKey, "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        (Fault::SendsUnaskedSubprotocol, "sec-websocket-protocol"),
        (Fault::SendsUnaskedExtension, "sec-websocket-extensions"),
    ] {
        let server = start(SHIPVOX, fault).await;
        let mut stream = server.tcp().await;
        let key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
        let request = request("GET", &[u, c, v, key]).replace("TARGET", &server.target(&good(SHIPVOX)));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = within(stream.read(&mut answer)).await.unwrap();
        assert!(String::from_utf8_lossy(&answer[..read]).to_lowercase().contains(header), "{fault}");
    }
}

#[tokio::test]
async fn one_client_hurts_another() {
    let server = start(PA, Fault::SecondConnectionKillsFirst).await;
    let token = good(PA);
    let mut first = server.admitted(&token).await;
    server.admitted(&token_of(PA, "bob")).await;
    first.served(PA).await;
    server.admitted(&token).await.served(PA).await;
    assert_eq!(first.closed().await.0, 0);

    let server = start(PA, Fault::WorkerRestart).await;
    let mut witness = server.admitted(&token).await;
    assert_eq!(told(&server, &server.target(&forged(PA))).await.0, 1008);
    assert_eq!(witness.closed().await.0, 0);
    server.admitted(&token).await.served(PA).await;

    let server = start(PA, Fault::DiesAfterBadToken).await;
    assert_eq!(told(&server, &server.target(&forged(PA))).await.0, 1008);
    assert_eq!(status(&server, &server.target(&token)).await, 500);

    let server = start(SHIPVOX, Fault::PoisonsBroadcast).await;
    let mut culprit = server.admitted(&token_of(SHIPVOX, "mallory")).await;
    let mut next = server.admitted(&token_of(SHIPVOX, "alice")).await;
    culprit.say("not json").await;
    assert_eq!(culprit.hear_json().await["type"], "error");
    next.say("{}").await;
    assert_eq!(culprit.hear_json().await["user"], "alice");
    loop {
        match next.next().await {
            Some(Ok(Message::Text(_))) => {}
            other => break assert!(!matches!(other, Some(Ok(Message::Close(_)))), "{other:?}"),
        }
    }
    server.admitted(&token_of(SHIPVOX, "bob")).await.served(SHIPVOX).await;

    let server = start(SHIPVOX, Fault::SharedUserState).await;
    let mut alice = server.admitted(&token_of(SHIPVOX, "alice")).await;
    let _bob = server.admitted(&token_of(SHIPVOX, "bob")).await;
    alice.say("{}").await;
    assert_eq!(alice.hear_json().await["user"], "bob");

    let server = start(SHIPVOX, Fault::BroadcastSkipsSender).await;
    let mut alice = server.admitted(&token_of(SHIPVOX, "alice")).await;
    alice.served(SHIPVOX).await;
    let mut bob = server.admitted(&token_of(SHIPVOX, "bob")).await;
    let mut carol = server.admitted(&token_of(SHIPVOX, "carol")).await;
    alice.say(r#"{"n":1}"#).await;
    for other in [&mut bob, &mut carol] {
        assert_eq!(other.hear_json().await["n"], 1);
    }
    bob.say(r#"{"n":2}"#).await;
    assert_eq!(alice.hear_json().await["n"], 2);
}

#[tokio::test]
async fn stamps_are_wrong() {
    let forged = r#"{"user":"admin","timestamp":1,"requestId":"x"}"#;
    let stamped = |fault, text: &'static str| async move {
        let server = start(SHIPVOX, fault).await;
        let mut client = server.admitted(&good(SHIPVOX)).await;
        client.say(text).await;
        client.say(text).await;
        (client.hear_json().await, client.hear_json().await)
    };
    assert_eq!(stamped(Fault::UserFromMessage, forged).await.0["user"], "admin");
    assert_eq!(stamped(Fault::UserFromMessage, "{}").await.0["user"], "alice");
    let (one, _) = stamped(Fault::StampByClient, forged).await;
    assert_eq!((&one["user"], &one["timestamp"], &one["requestId"]), (&json!("alice"), &json!(1), &json!("x")));
    let (one, two) = stamped(Fault::ConstantRequestId, "{}").await;
    assert_eq!(one["requestId"], two["requestId"]);
    assert!(stamped(Fault::MillisecondTimestamp, "{}").await.0["timestamp"].as_f64().unwrap() > 1e12);
}

/// The answers to a burst of numbered messages in one segment, until the server is silent.
async fn burst(fault: Fault, count: usize) -> Vec<String> {
    let server = start(PA, fault).await;
    let mut client = server.admitted(&good(PA)).await;
    for n in 0..count {
        client.0.feed(Message::text(n.to_string())).await.unwrap();
    }
    client.0.flush().await.unwrap();
    let mut heard = Vec::new();
    while let Ok(text) = tokio::time::timeout(Duration::from_millis(300), client.hear()).await {
        heard.push(text.trim_start_matches("Echo: ").to_owned());
    }
    heard
}

#[tokio::test]
async fn bursts_are_mistreated() {
    let right: Vec<String> = (0..100).map(|n: usize| n.to_string()).collect();
    let reordered = burst(Fault::ReordersBurst, 100).await;
    let mut sorted = reordered.clone();
    sorted.sort_by_key(|n| n.parse::<usize>().unwrap());
    assert!(reordered != right && sorted == right, "{reordered:?}");
    assert!(burst(Fault::DropsInBurst, 100).await.len() < 100);
    assert!(burst(Fault::DoublesInBurst, 100).await.len() > 100);
    assert_eq!(burst(Fault::OneFramePerRead, 100).await.len(), 1);
    assert_eq!(burst(Fault::StopsAfterOneMessage, 3).await, ["0"]);
    assert_eq!(burst(Fault::NoEcho, 3).await.len(), 0);
    for fault in [Fault::ReordersBurst, Fault::DropsInBurst, Fault::DoublesInBurst] {
        assert_eq!(burst(fault, 10).await, right[..10], "{fault}");
    }
}

#[tokio::test]
async fn messages_are_mistreated() {
    let server = start(PA, Fault::WelcomeOnlyOnce).await;
    server.admitted(&good(PA)).await;
    server.open(&good(PA)).await.unwrap_or_else(|told| panic!("{told:?}")).served(PA).await;

    let server = start(PA, Fault::TruncatesAtNulText).await;
    let mut client = server.admitted(&good(PA)).await;
    client.say("a\0b").await;
    assert_eq!(client.hear().await, "Echo: a");
    let server = start(SIMUTRADOR, Fault::TruncatesAtNulText).await;
    let mut client = server.admitted(&good(SIMUTRADOR)).await;
    client.say(&json!({"payload": "a\0b"}).to_string()).await;
    assert_eq!(client.hear_json().await["payload"], "a");

    let server = start(PA, Fault::TextLimitOffByOne).await;
    let mut client = server.admitted(&good(PA)).await;
    client.say(&"x".repeat(65_535)).await;
    client.hear().await;
    client.say(&"x".repeat(65_536)).await;
    assert_eq!(client.closed().await.0, 1009);

    for dialect in [SHIPVOX, SIMUTRADOR, OMNI2] {
        for bad in ["not json", "[]"] {
            let server = start(dialect, Fault::CrashesOnBadJson).await;
            let mut client = server.admitted(&good(dialect)).await;
            client.say(bad).await;
            assert_eq!(client.closed().await.0, 0);
        }
    }
    let server = start(PA, Fault::CrashesOnBinary).await;
    let mut client = server.admitted(&good(PA)).await;
    client.0.send(Message::binary(vec![1])).await.unwrap();
    assert_eq!(client.closed().await.0, 0);
}

#[tokio::test]
async fn frames_are_mistreated() {
    let close = [0x88, 0x82, 0, 0, 0, 0, 3, 0xe8];
    let text = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
    let answer = |fault, frames: Vec<u8>| async move {
        let server = start(PA, fault).await;
        let answer = raw_frames(&server, &good(PA), &frames).await;
        // Without the welcome.
        let masked = if answer[1] & 0x80 == 0 { 0 } else { 4 };
        (answer[1], answer[2 + masked + usize::from(answer[1] & 0x7f)..].to_vec())
    };
    assert_eq!(answer(Fault::NoCloseReply, close.to_vec()).await.1, b"");
    let (_, after) = answer(Fault::ProcessesAfterClose, [close, text].concat()).await;
    assert_eq!(after, [b"\x81\x08Echo: hi".as_slice(), &[0x88, 2, 3, 0xe8]].concat());
    assert_eq!(answer(Fault::ProcessesAfterClose, close.to_vec()).await.1, [0x88, 2, 3, 0xe8]);
    let (length, _) = answer(Fault::MasksServerFrames, close.to_vec()).await;
    assert!(length & 0x80 != 0);
}

#[tokio::test]
async fn what_a_library_refuses_is_tolerated() {
    let frame = |first: u8, payload: &[u8]| [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat();
    let unmasked = b"\x81\x02hi".to_vec();
    let close = frame(0x88, &[3, 0xe8]);
    for (fault, frames, echo) in [
        (Fault::AcceptsUnmasked, unmasked, "Echo: hi"),
        (Fault::IgnoresFirstReservedBit, frame(0xc1, b"hi"), "Echo: hi"),
        (Fault::IgnoresOtherReservedBits, frame(0xa1, b"hi"), "Echo: hi"),
        (Fault::UnknownOpcodeIsText, frame(0x83, b"hi"), "Echo: hi"),
        (Fault::IgnoresUnknownControl, [frame(0x8b, b""), frame(0x81, b"hi")].concat(), "Echo: hi"),
        (Fault::ContinuationStartsMessage, frame(0x80, b"hi"), "Echo: hi"),
        (Fault::DropsUnfinishedMessage, [frame(0x01, b"lo"), frame(0x81, b"hi")].concat(), "Echo: hi"),
        (Fault::LossyText, frame(0x81, b"h\xff"), "Echo: h\u{fffd}"),
        (Fault::ValidatesFirstFragmentOnly, [frame(0x01, b"h"), frame(0x80, b"\xff")].concat(), "Echo: h\u{fffd}"),
        (Fault::SignedFrameLength, vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "Echo: "),
    ] {
        let frames = [frames, close.clone()].concat();
        for (fault, wanted) in [(Some(fault), true), (None, false)] {
            let mut config = config(PA, RefusalStyle::Close);
            config.fault = fault;
            config.users = Some(Vec::new());
            let answer = raw_frames(&Running::start(config).await, &good(PA), &frames).await;
            let heard = String::from_utf8_lossy(&answer).contains(echo);
            assert_eq!(heard, wanted, "{fault:?}: {:?}", String::from_utf8_lossy(&answer));
        }
    }
}

async fn login(server: &Running, name: &str, password: &str) -> (u16, String, Value) {
    let (path, kind, body) = match server.dialect {
        SHIPVOX => ("/token", "application/x-www-form-urlencoded", format!("username={name}&password={password}")),
        dialect => {
            let path = match dialect {
                PA => "/api/auth/login",
                SIMUTRADOR => "/auth/token",
                _ => "/auth/api/v1/auth/login",
            };
            (path, "application/json", json!({"username": name, "password": password}).to_string())
        }
    };
    let (status, head, body) = server.post(path, kind, &body).await;
    (status, head, serde_json::from_str(&body).unwrap_or_default())
}

fn claims_of(answer: &Value) -> Value {
    let token = answer["access_token"].as_str().unwrap();
    let mut validation = jsonwebtoken::Validation::default();
    validation.required_spec_claims.clear();
    let key = jsonwebtoken::DecodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap().claims
}

#[tokio::test]
async fn endpoints_are_wrong() {
    assert_eq!(start(PA, Fault::HealthNeedsToken).await.get("/health").await.0, 401);
    assert!(start(PA, Fault::StaleHealthTimestamp).await.get("/health").await.2.contains("2024-01-01"));
    assert!(start(PA, Fault::LeakyHealth).await.get("/health").await.2.contains("environment"));

    let server = start(SHIPVOX, Fault::DocumentedLoginFails).await;
    assert_eq!(login(&server, "user", "password").await.0, 401);
    let server = start(SHIPVOX, Fault::BadPasswordIs200).await;
    assert_eq!(login(&server, "user", "wrong").await.0, 200);
    let server = start(SHIPVOX, Fault::UserEnumeration).await;
    assert_ne!(login(&server, "user", "wrong").await.2, login(&server, "nobody", "wrong").await.2);
    let server = start(SHIPVOX, Fault::CrashesOnMissingField).await;
    assert_eq!(server.post("/token", "application/x-www-form-urlencoded", "username=user").await.0, 500);
    let server = start(SHIPVOX, Fault::LoginByGet).await;
    assert_eq!(server.get("/token?username=user&password=password").await.0, 200);
    let server = start(SHIPVOX, Fault::CacheableToken).await;
    assert!(!login(&server, "user", "password").await.1.contains("no-store"));
    let server = start(SHIPVOX, Fault::LifetimeInMinutes).await;
    assert_eq!(login(&server, "user", "password").await.2["expires_in"], 30);
    let server = start(SIMUTRADOR, Fault::IssuedTokenLacksClaims).await;
    assert!(claims_of(&login(&server, "test", "test").await.2)["plan"].is_null());
    let server = start(PA, Fault::PasswordInToken).await;
    assert_eq!(claims_of(&login(&server, "test", "test").await.2)["password"], "test");
    let server = start(PA, Fault::ConstantIssuedToken).await;
    assert_eq!(login(&server, "test", "test").await.2, login(&server, "test", "test").await.2);
    let server = start(OMNI2, Fault::SameRefreshToken).await;
    let issued = login(&server, "admin", "admin").await.2;
    assert_eq!(issued["refresh_token"], issued["access_token"]);

    let mut config: Config = faulty(SHIPVOX, Fault::TestTokenInProduction);
    config.environment = Environment::Production;
    let server = Running::start(config).await;
    let (status, _, body) = server.get("/test-token").await;
    assert_eq!(status, 200);
    let body: Value = serde_json::from_str(&body).unwrap();
    server.admitted(body["test_token"].as_str().unwrap()).await.served(SHIPVOX).await;

    let server = start(OMNI2, Fault::ValidateIgnoresSignature).await;
    assert_eq!(validate(&server, &forged(OMNI2)).await.0, 200);
    assert_eq!(validate(&server, "x").await.0, 401);
    let server = start(OMNI2, Fault::ValidateCachesCaller).await;
    assert!(validate(&server, &token_of(OMNI2, "alice")).await.1.contains("x-user-id: alice"));
    assert!(validate(&server, &token_of(OMNI2, "bob")).await.1.contains("x-user-id: alice"));
}

async fn validate(server: &Running, token: &str) -> (u16, String, String) {
    server
        .http(&format!("POST /auth/validate HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"))
        .await
}
