//! The presets of common stacks, each against a small server that speaks as that stack does.
//!
//! Its gate is the oracle, so that only the manner is judged: a correct server must not be accused under its preset, and
//! one that lets everybody in must not get away.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod hostile_support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatecrash::profile::{Echo, Profile, Shape, presets};
use gatecrash::report::Report;
use gatecrash::token::{Algorithm, Answer, Keyring, Rules, oracle};
use gatecrash::verdict::Severity;
use gatecrash::wire::frame::{self, CLOSE, PING, PONG, TEXT};
use gatecrash::wire::opening::accept_for;
use gatecrash::{Suite, Target, Verdict};
use serde_json::Value;

use hostile_support::{SECRET, StandIn, close_bytes, frame_bytes, run_watched, take_head};

const WATCHDOG: Duration = Duration::from_secs(120);

/// What a server says to a client when it has looked at the head of the request.
enum Door {
    /// 101, and this subprotocol.
    Open(Option<&'static str>),
    /// This status, and no more.
    Shut(u16),
    /// 101, and then this close code.
    Closed(u16, &'static str),
}

/// What a server does about a message.
enum Reply {
    Say(String),
    Admit(String),
    Close(u16),
    Nothing,
}

/// How a stack speaks.
#[derive(Clone, Copy)]
struct Stack {
    door: fn(&Head<'_>, Gate) -> Door,
    /// What it says when the door is open.
    greeting: Option<&'static str>,
    /// The answer to a text, and to whether the client was admitted by a message before.
    answer: fn(&str, bool, Gate) -> Reply,
}

/// Who is let in.
type Gate = fn(&str) -> bool;

fn right(token: &str) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let rules = Rules {
        algorithms: Some(vec![Algorithm::HS256]),
        ..Rules::new(&Keyring::new().with_secret(SECRET.as_bytes()), Algorithm::HS256)
    };
    let judgement = oracle(token.as_bytes(), &rules, now, 0.0);
    judgement.answer != Answer::Refuse && !judgement.should_refuse
}

fn anybody(_: &str) -> bool {
    true
}

/// The head of a request, as these servers look at it.
struct Head<'a>(&'a str);

impl Head<'_> {
    fn field(&self, name: &str) -> &str {
        let mut fields = self.0.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(other, _)| other.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
    }

    fn query(&self, name: &str) -> String {
        let target = self.0.split(' ').nth(1).unwrap_or_default();
        let mut found = target.split(['?', '&']).filter_map(|pair| pair.strip_prefix(&format!("{name}=")));
        // A parameter that is repeated is none.
        let first = found.next().filter(|_| found.next().is_none());
        decode(first.unwrap_or_default())
    }

    fn cookie(&self, name: &str) -> &str {
        let cookies = self.field("Cookie").split("; ");
        cookies.filter_map(|cookie| cookie.split_once('=')).find(|(own, _)| *own == name).map_or("", |(_, value)| value)
    }

    fn offers(&self) -> Vec<&str> {
        self.field("Sec-WebSocket-Protocol").split(',').map(str::trim).collect()
    }

    /// Whether it is an opening as RFC 6455 §4.2.1 has it.
    fn is_opening(&self) -> bool {
        let line = self.0.lines().next().unwrap_or_default();
        line.starts_with("GET /")
            && line.ends_with(" HTTP/1.1")
            && self.field("Upgrade").eq_ignore_ascii_case("websocket")
            && self.field("Connection").to_ascii_lowercase().contains("upgrade")
            && self.field("Sec-WebSocket-Version") == "13"
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn serve(mut stream: TcpStream, head: &str, stack: Stack, gate: Gate) {
    take_head(&mut stream);
    let head = Head(head);
    let door = if head.is_opening() { (stack.door)(&head, gate) } else { Door::Shut(400) };
    let selected = match door {
        Door::Shut(status) => {
            let challenge = match (status, head.0.contains("eyJ") || head.0.contains("token=")) {
                (401, false) => "WWW-Authenticate: Bearer\r\n",
                (401, true) => "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n",
                _ => "",
            };
            let _ = write!(stream, "HTTP/1.1 {status} No\r\n{challenge}Content-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.shutdown(Shutdown::Write);
            let mut bytes = [0; 4096];
            while matches!(stream.read(&mut bytes), Ok(1..)) {}
            return;
        }
        Door::Open(Some(selected)) => format!("Sec-WebSocket-Protocol: {selected}\r\n"),
        Door::Open(None) | Door::Closed(..) => String::new(),
    };
    let accept = accept_for(head.field("Sec-WebSocket-Key").as_bytes());
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade";
    let _ = write!(stream, "{answer}\r\nSec-WebSocket-Accept: {accept}\r\n{selected}\r\n");
    let (mut unread, mut bytes, mut admitted) = (Vec::new(), [0; 4096], false);
    let mut over = match door {
        Door::Closed(code, reason) => {
            let _ = stream.write_all(&close_bytes(code, reason.as_bytes()));
            true
        }
        _ => false,
    };
    if let Some(greeting) = stack.greeting {
        let _ = stream.write_all(&frame_bytes(TEXT, greeting.as_bytes()));
    }
    loop {
        while !over && let frame::Read::Frame(frame, used) = frame::read(&unread, 1 << 20) {
            unread.drain(..used);
            let out = match (frame.opcode, std::str::from_utf8(&frame.payload)) {
                _ if !frame.masked || frame.rsv != 0 || !frame.fin => {
                    over = true;
                    close_bytes(1002, b"")
                }
                (TEXT, Ok(text)) => match (stack.answer)(text, admitted, gate) {
                    Reply::Say(text) => frame_bytes(TEXT, text.as_bytes()),
                    Reply::Admit(text) => {
                        admitted = true;
                        frame_bytes(TEXT, text.as_bytes())
                    }
                    Reply::Close(code) => {
                        over = true;
                        close_bytes(code, b"")
                    }
                    Reply::Nothing => continue,
                },
                (TEXT, Err(_)) => {
                    over = true;
                    close_bytes(1007, b"")
                }
                (PING, _) => frame_bytes(PONG, &frame.payload),
                (CLOSE, _) => {
                    over = true;
                    frame_bytes(CLOSE, &frame.payload)
                }
                _ => continue,
            };
            let _ = stream.write_all(&out);
        }
        if over {
            // Nothing unread may turn the end into a reset, which would swallow the close frame.
            let _ = stream.shutdown(Shutdown::Write);
            while matches!(stream.read(&mut bytes), Ok(1..)) {}
            return;
        }
        match stream.read(&mut bytes) {
            Ok(length @ 1..) => unread.extend_from_slice(&bytes[..length]),
            _ => return,
        }
    }
}

/// Families about who is let in and how a refusal is told.
const FAMILIES: &[&str] = &["AUTH", "SIG", "CAR", "REJ", "LEAK"];
/// The same without the cases that wait until a server loses its patience: these have all the time in the world.
const OF_MESSAGES: &[&str] = &["AUTH", "SIG", "CAR-035", "CAR-036", "CAR-041", "CAR-042", "REJ", "LEAK"];

fn run(preset: &str, path: &str, stack: Stack, gate: Gate, families: &[&str]) -> Report {
    let server = StandIn::new(move |stream, _, head| serve(stream, head, stack, gate));
    let profile = Profile::preset(preset).unwrap_or_else(|| panic!("{preset} is a preset"));
    let url = Some(format!("ws://{}{path}", server.address));
    let algorithms = Some(vec!["HS256".to_owned()]);
    let profile = Profile { url, secret: Some(SECRET.to_owned()), algorithms, ..profile };
    let target = Target::from_profile(profile).unwrap();
    let mut suite = Suite::bundled().seed(7).timeout_scale(0.2);
    for family in families {
        suite = suite.select(family);
    }
    let report = run_watched(suite, target, WATCHDOG);
    assert!(report.failure.is_none(), "{report}");
    report
}

fn findings(report: &Report, from: Severity) -> Vec<String> {
    let bad = report.trials.iter().filter(|trial| {
        matches!(trial.verdict, Verdict::Fail | Verdict::Warn | Verdict::Inconclusive | Verdict::Error)
            && trial.severity >= from
    });
    bad.map(|trial| format!("{} {:?}: {}", trial.code, trial.verdict, trial.observed)).collect()
}

/// A right server of this stack gets no finding but those of `known`, and passes the cases about the token; one that lets
/// everybody in fails them.
fn is_fair(preset: &str, path: &str, stack: Stack, known: &[&str]) {
    let in_messages = Profile::preset(preset).unwrap().first_message().is_some();
    let families = if in_messages { OF_MESSAGES } else { FAMILIES };
    let report = run(preset, path, stack, right, families);
    let found: Vec<String> = findings(&report, Severity::Info)
        .into_iter()
        .filter(|one| !known.iter().any(|code| one.starts_with(code)))
        .collect();
    assert_eq!(found, Vec::<String>::new(), "{report}");
    let passed = report.trials.iter().filter(|trial| trial.verdict == Verdict::Pass).count();
    assert!(passed > 45, "only {passed} pass\n{report}");
    let report = run(preset, path, stack, anybody, &["AUTH", "SIG"]);
    let failed = findings(&report, Severity::Critical);
    for code in ["AUTH-006", "SIG-008"] {
        assert!(failed.iter().any(|found| found.starts_with(&format!("{code} Fail"))), "{code} in {failed:?}");
    }
}

fn echo(text: &str, _: bool, _: Gate) -> Reply {
    Reply::Say(text.to_owned())
}

#[test]
fn every_preset_can_be_read_and_says_what_it_is_for() {
    for (name, text) in presets() {
        let profile = Profile::from_yaml(name, text).unwrap_or_else(|found| panic!("{found}"));
        assert_eq!(profile.name, *name);
        assert!(text.starts_with("# "), "{name} begins with what it is for");
    }
}

#[test]
fn fastapi_that_closes_before_it_accepts() {
    let door = |head: &Head<'_>, gate: Gate| match gate(&head.query("token")) {
        true => Door::Open(None),
        false => Door::Shut(403),
    };
    is_fair("fastapi", "/ws?token={token}", Stack { door, greeting: None, answer: echo }, &[]);
}

#[test]
fn a_server_that_accepts_and_then_closes() {
    let door = |head: &Head<'_>, gate: Gate| match gate(&head.query("token")) {
        true => Door::Open(None),
        false => Door::Closed(1008, "Invalid token"),
    };
    is_fair("accept-then-close", "/ws?token={token}", Stack { door, greeting: None, answer: echo }, &[]);
}

#[test]
fn node_ws_that_refuses_in_upgrade() {
    let door = |head: &Head<'_>, gate: Gate| match gate(&head.query("token")) {
        true => Door::Open(None),
        false => Door::Shut(401),
    };
    is_fair("express-ws", "/ws?token={token}", Stack { door, greeting: None, answer: echo }, &[]);
}

#[test]
fn a_cookie_session() {
    let door = |head: &Head<'_>, gate: Gate| match gate(head.cookie("session")) {
        true => Door::Open(None),
        false => Door::Shut(403),
    };
    is_fair("cookie-session", "/ws", Stack { door, greeting: None, answer: echo }, &[]);
}

#[test]
fn a_bearer_among_the_subprotocols() {
    let door = |head: &Head<'_>, gate: Gate| match head.offers().as_slice() {
        ["bearer", token] if gate(token) => Door::Open(Some("bearer")),
        _ => Door::Shut(403),
    };
    is_fair("subprotocol-bearer", "/ws", Stack { door, greeting: None, answer: echo }, &[]);
}

fn member(text: &str, pointer: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[test]
fn a_token_in_the_first_message() {
    let answer = |text: &str, admitted: bool, gate: Gate| match member(text, "/type").as_str() {
        "auth" if gate(&member(text, "/token")) => Reply::Admit(r#"{"type":"auth_ok"}"#.to_owned()),
        _ if admitted => Reply::Say(text.to_owned()),
        _ => Reply::Close(4401),
    };
    is_fair("first-message", "/ws", Stack { door: |_, _| Door::Open(None), greeting: None, answer }, &[]);
}

#[test]
fn graphql_over_websocket() {
    let door = |head: &Head<'_>, _: Gate| match head.offers().contains(&"graphql-transport-ws") {
        true => Door::Open(Some("graphql-transport-ws")),
        false => Door::Shut(400),
    };
    let answer = |text: &str, admitted: bool, gate: Gate| match (member(text, "/type").as_str(), admitted) {
        ("ping", _) => Reply::Say(r#"{"type":"pong"}"#.to_owned()),
        ("connection_init", true) => Reply::Close(4429),
        ("connection_init", false) => {
            let bearer = member(text, "/payload/Authorization");
            match bearer.strip_prefix("Bearer ").is_some_and(gate) {
                true => Reply::Admit(r#"{"type":"connection_ack"}"#.to_owned()),
                false => Reply::Close(4403),
            }
        }
        ("subscribe", true) => Reply::Nothing,
        ("subscribe", false) => Reply::Close(4401),
        _ => Reply::Close(4400),
    };
    is_fair("graphql-transport-ws", "/graphql", Stack { door, greeting: None, answer }, &[]);
}

const SOCKET_IO_PATH: &str = "/socket.io/?EIO=4&transport=websocket";

fn socket_io(text: &str, admitted: bool, gate: Gate) -> Reply {
    match text.strip_prefix("40") {
        Some(json) if gate(&member(json, "/token")) => Reply::Admit(r#"40{"sid":"y"}"#.to_owned()),
        Some(_) => Reply::Say(r#"44{"message":"not authorized"}"#.to_owned()),
        None if admitted => Reply::Nothing,
        None => Reply::Close(1008),
    }
}

#[test]
fn socket_io_with_auth() {
    let greeting = Some(r#"0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#);
    let stack = Stack { door: |_, _| Door::Open(None), greeting, answer: socket_io };
    // CAR-042: an error on a connection that is left open is worth a word.
    is_fair("socket-io", SOCKET_IO_PATH, stack, &["CAR-042 Warn"]);
    let report = run("socket-io", SOCKET_IO_PATH, stack, right, &["SIG-008"]);
    let told = report.trials.iter().find(|trial| trial.code == "SIG-008").unwrap();
    assert!(told.observed.contains("44{"), "the word of refusal is quoted: {}", told.observed);
}

#[test]
fn the_heartbeat_of_a_target_is_answered() {
    // This one asks at once, and admits nobody who has not answered before the token.
    let answer = |text: &str, admitted: bool, gate: Gate| match (text, admitted) {
        ("3", false) => Reply::Say("0{\"sid\":\"x\"}".to_owned()),
        _ => socket_io(text, admitted, gate),
    };
    let stack = Stack { door: |_, _| Door::Open(None), greeting: Some("2"), answer };
    let report = run("socket-io", SOCKET_IO_PATH, stack, right, &["AUTH-001", "AUTH-006"]);
    assert!(report.trials.iter().all(|trial| trial.verdict == Verdict::Pass), "{report}");
}

#[test]
fn signalr_without_negotiation() {
    let door = |head: &Head<'_>, gate: Gate| match gate(&head.query("access_token")) {
        true => Door::Open(None),
        false => Door::Shut(401),
    };
    let answer = |text: &str, admitted: bool, _: Gate| match (text.strip_suffix('\u{1e}'), admitted) {
        (Some(json), false) if member(json, "/protocol") == "json" => Reply::Admit("{}\u{1e}".to_owned()),
        (Some(json), true) if json.starts_with('{') => Reply::Nothing,
        _ => Reply::Close(1011),
    };
    is_fair("signalr", "/hub?access_token={token}", Stack { door, greeting: None, answer }, &[]);
}

/// SignalR ends each message by a character of its own, and puts several into one text.
#[test]
fn signalr_names_who_spoke() {
    fn answer(text: &str, admitted: bool, user: &str) -> Reply {
        let json = text.strip_suffix('\u{1e}').unwrap_or_default();
        match admitted {
            false if member(json, "/protocol") == "json" => Reply::Admit("{}\u{1e}".to_owned()),
            true if member(json, "/target") == "Echo" => {
                let done = serde_json::json!({ "type": 3, "result": member(json, "/arguments/0"), "user": user });
                Reply::Say(format!("{done}\u{1e}{{\"type\":6}}\u{1e}"))
            }
            true if json.starts_with('{') => Reply::Nothing,
            _ => Reply::Close(1011),
        }
    }
    let door = |head: &Head<'_>, gate: Gate| match gate(&head.query("access_token")) {
        true => Door::Open(None),
        false => Door::Shut(401),
    };
    let right: fn(&str, bool, Gate) -> Reply = |text, admitted, _| answer(text, admitted, "alice");
    let wrong: fn(&str, bool, Gate) -> Reply = |text, admitted, _| answer(text, admitted, "bob");
    for (answer, verdict) in [(right, Verdict::Pass), (wrong, Verdict::Fail)] {
        let stack = Stack { door, greeting: None, answer };
        let server = StandIn::new(move |stream, _, head| serve(stream, head, stack, self::right));
        let echo = Echo {
            send: "{\"type\":1,\"target\":\"Echo\",\"arguments\":[\"{message}\"]}\u{1e}".to_owned(),
            reply: Shape::Json([("/type".to_owned(), 3.into()), ("/result".to_owned(), "{message}".into())].into()),
            broadcast: false,
        };
        let profile = Profile {
            url: Some(format!("ws://{}/hub?access_token={{token}}", server.address)),
            secret: Some(SECRET.to_owned()),
            user: Some("alice".to_owned()),
            echo: Some(echo),
            identity_claims: vec!["sub".to_owned()],
            identity_echo: Some("/user".to_owned()),
            ..Profile::preset("signalr").unwrap()
        };
        let target = Target::from_profile(profile).unwrap();
        let report = run_watched(Suite::bundled().seed(7).timeout_scale(0.2).select("USR-002"), target, WATCHDOG);
        assert_eq!(report.trials.iter().map(|trial| trial.verdict).collect::<Vec<_>>(), [verdict], "{report}");
    }
}
