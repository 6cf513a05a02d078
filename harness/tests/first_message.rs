//! Servers that upgrade everybody and are told the token in the first message, each in the manner of one that is in use.
//!
//! Their gate is the oracle, so that only the manner is judged here: a correct one must not be accused, and a wrong one
//! must not get away.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod hostile_support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatecrash::profile::{Carrier, Class, Echo, FirstMessage, Profile, Shape, Signal};
use gatecrash::report::Report;
use gatecrash::report::json;
use gatecrash::token::{Algorithm, Answer, Keyring, Rules, oracle};
use gatecrash::transcript::Transcript;
use gatecrash::verdict::Severity;
use gatecrash::wire::frame::{self, CLOSE, PING, PONG, TEXT};
use gatecrash::wire::opening::accept_for;
use gatecrash::{Suite, Target, Verdict};
use serde_json::Value;

use hostile_support::{SECRET, StandIn, close_bytes, frame_bytes, run_watched, take_head};

/// No run of these tests may take longer.
const WATCHDOG: Duration = Duration::from_secs(120);

/// What a server does about a message.
enum Reply {
    /// Says this.
    Say(String),
    /// Says this, and serves from now on.
    Admit(String),
    /// Says this, and closes.
    Close(&'static str, u16, &'static str),
    /// Nothing.
    Nothing,
}

/// The manner of a server.
#[derive(Clone, Copy)]
struct Manner {
    greeting: Option<&'static str>,
    subprotocol: Option<&'static str>,
    /// The answer to a text, and to whether the client was admitted before.
    answer: fn(&str, bool) -> Reply,
}

fn is_good(token: &str) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let rules = Rules {
        algorithms: Some(vec![Algorithm::HS256]),
        ..Rules::new(&Keyring::new().with_secret(SECRET.as_bytes()), Algorithm::HS256)
    };
    let judgement = oracle(token.as_bytes(), &rules, now, 0.0);
    judgement.answer != Answer::Refuse && !judgement.should_refuse
}

fn serve(mut stream: TcpStream, head: &str, manner: Manner) {
    take_head(&mut stream);
    let field = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(other, _)| other.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
    };
    let accept = accept_for(field("Sec-WebSocket-Key").as_bytes());
    let selected = match manner.subprotocol {
        None => String::new(),
        Some(ours) if field("Sec-WebSocket-Protocol").split(", ").any(|offered| offered == ours) => {
            format!("Sec-WebSocket-Protocol: {ours}\r\n")
        }
        Some(_) => {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return;
        }
    };
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade";
    let _ = write!(stream, "{head}\r\nSec-WebSocket-Accept: {accept}\r\n{selected}\r\n");
    if let Some(greeting) = manner.greeting {
        let _ = stream.write_all(&frame_bytes(TEXT, greeting.as_bytes()));
    }
    let (mut unread, mut bytes, mut admitted) = (Vec::new(), [0; 4096], false);
    loop {
        while let frame::Read::Frame(frame, used) = frame::read(&unread, 1 << 20) {
            unread.drain(..used);
            let (out, over) = match (frame.opcode, std::str::from_utf8(&frame.payload)) {
                // The body of a handshake, for one, is no frame.
                _ if !frame.masked || frame.rsv != 0 || !frame.fin => (close_bytes(1002, b""), true),
                (TEXT, Ok(text)) => match (manner.answer)(text, admitted) {
                    Reply::Say(text) => (frame_bytes(TEXT, text.as_bytes()), false),
                    Reply::Admit(text) => {
                        admitted = true;
                        (frame_bytes(TEXT, text.as_bytes()), false)
                    }
                    Reply::Close("", code, reason) => (close_bytes(code, reason.as_bytes()), true),
                    Reply::Close(text, code, reason) => {
                        ([frame_bytes(TEXT, text.as_bytes()), close_bytes(code, reason.as_bytes())].concat(), true)
                    }
                    Reply::Nothing => continue,
                },
                (TEXT, Err(_)) => (close_bytes(1007, b""), true),
                (PING, _) => (frame_bytes(PONG, &frame.payload), false),
                (CLOSE, _) => (frame_bytes(CLOSE, &frame.payload), true),
                _ => continue,
            };
            let _ = stream.write_all(&out);
            if over {
                // Nothing unread may turn the end into a reset, which would swallow the close frame.
                let _ = stream.shutdown(Shutdown::Write);
                while matches!(stream.read(&mut bytes), Ok(1..)) {}
                return;
            }
        }
        match stream.read(&mut bytes) {
            Ok(length @ 1..) => unread.extend_from_slice(&bytes[..length]),
            _ => return,
        }
    }
}

/// What asks who is let in, and what refusals are like.
const FAMILIES: &[&str] = &["AUTH", "ENC", "SIG", "CLM", "CAR", "REJ", "LEAK", "RES"];

fn run(manner: Manner, families: &[&str], profile: Profile) -> Report {
    let server = StandIn::new(move |stream, _, head| serve(stream, head, manner));
    let url = format!("ws://{}/ws", server.address);
    let target = Target::from_profile(Profile { url: Some(url), secret: Some(SECRET.to_owned()), ..profile }).unwrap();
    let mut suite = Suite::bundled().seed(7).timeout_scale(0.2).transcript(Transcript::All);
    for family in families {
        suite = suite.select(family);
    }
    let report = run_watched(suite, target, WATCHDOG);
    let words = format!("{report}{}", json::write(std::slice::from_ref(&report)));
    assert!(report.failure.is_none(), "{words}");
    // At the beginning of a word: a `Sec-WebSocket-Accept` may have these letters within.
    let mut tokens = words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.starts_with("eyJ"));
    assert_eq!(tokens.next(), None, "a token stands in {words}");
    assert!(!words.contains("recognisable"), "the secret stands in {words}");
    report
}

fn first_message(send: &str, reply: Shape) -> Profile {
    let first =
        FirstMessage { send: send.to_owned(), reply: Some(reply), timeout_ms: Some(100), ..FirstMessage::default() };
    Profile {
        carriers: vec![Carrier::FirstMessage(first)],
        algorithms: Some(vec!["HS256".to_owned()]),
        ..Profile::default()
    }
}

/// The codes that are not plain right. Cases that wait for the server to lose its patience are another matter: these
/// servers have all the time in the world.
fn findings(report: &Report, from: Severity) -> Vec<String> {
    let patient = ["CAR-037", "CAR-038"];
    let bad = report.trials.iter().filter(|trial| {
        matches!(trial.verdict, Verdict::Fail | Verdict::Warn | Verdict::Inconclusive | Verdict::Error)
            && trial.severity >= from
            && !patient.contains(&trial.code.as_str())
    });
    bad.map(|trial| format!("{} {:?}: {}", trial.code, trial.verdict, trial.observed)).collect()
}

/// The member of a JSON text at this pointer.
fn member(text: &str, pointer: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A word of the protocol before the token, and no JSON around it.
const NATS: Manner = Manner {
    greeting: Some("INFO {\"server_id\":\"X\",\"auth_required\":true}\r\n"),
    subprotocol: None,
    answer: |text, admitted| {
        let refused = Reply::Close("-ERR 'Authorization Violation'\r\n", 1008, "Authentication Failure");
        let json = text.strip_prefix("CONNECT ").and_then(|rest| rest.split("\r\n").next());
        match json {
            Some(json) if is_good(&member(json, "/jwt")) => Reply::Admit("PONG\r\n".to_owned()),
            None if admitted => Reply::Say("-ERR 'Unknown Protocol Operation'\r\n".to_owned()),
            _ => refused,
        }
    },
};

#[test]
fn a_server_like_nats_is_not_accused() {
    let report = run(
        NATS,
        FAMILIES,
        first_message(
            "CONNECT {\"verbose\":false,\"jwt\":\"{token}\"}\r\nPING\r\n",
            Shape::Text("PONG\r\n".to_owned()),
        ),
    );
    assert_eq!(findings(&report, Severity::Info), Vec::<String>::new(), "{report}");
    assert!(report.trials.iter().filter(|trial| trial.verdict == Verdict::Pass).count() > 100, "{report}");
}

const GRAPHQL: Manner = Manner {
    greeting: None,
    subprotocol: Some("graphql-transport-ws"),
    answer: |text, admitted| match (member(text, "/type").as_str(), admitted) {
        ("connection_init", true) => Reply::Close("", 4429, "Too many initialisation requests"),
        ("connection_init", false) if is_good(&member(text, "/payload/token")) => {
            Reply::Admit(r#"{"type":"connection_ack"}"#.to_owned())
        }
        ("connection_init", false) => Reply::Close("", 4403, "Forbidden"),
        ("subscribe", false) => Reply::Close("", 4401, "Unauthorized"),
        ("subscribe", true) => {
            let id = member(text, "/id");
            Reply::Say(format!(r#"{{"type":"next","id":"{id}"}}"#))
        }
        _ => Reply::Close("", 4400, "Invalid message"),
    },
};

#[test]
fn a_server_like_graphql_ws_is_not_accused() {
    let promised = |class| (class, Signal { close: Some(4403), ..Signal::default() });
    let report = run(
        GRAPHQL,
        FAMILIES,
        Profile {
            subprotocol: Some("graphql-transport-ws".to_owned()),
            offer_subprotocol: true,
            signals: [Class::Malformed, Class::BadSignature, Class::Expired].map(promised).into(),
            echo: Some(Echo {
                send: r#"{"type":"subscribe","id":"{message}"}"#.to_owned(),
                reply: Shape::Json([("/id".to_owned(), Value::from("{message}"))].into()),
                broadcast: false,
            }),
            ..first_message(
                r#"{"type":"connection_init","payload":{"token":"{token}"}}"#,
                Shape::like(r#"{"type":"connection_ack"}"#),
            )
        },
    );
    assert_eq!(findings(&report, Severity::Info), Vec::<String>::new(), "{report}");
}

/// An error, and then a connection that stays open and serves nothing.
const SOCKET_IO: Manner = Manner {
    greeting: Some(r#"0{"sid":"x","pingInterval":25000}"#),
    subprotocol: None,
    answer: |text, admitted| match text.strip_prefix("40") {
        Some(json) if is_good(&member(json, "/token")) => Reply::Admit(r#"40{"sid":"y"}"#.to_owned()),
        Some(_) => Reply::Say(r#"44{"message":"not authorized"}"#.to_owned()),
        None if admitted && text.starts_with("42") => Reply::Say(text.replacen("42", "43", 1)),
        None => Reply::Nothing,
    },
};

#[test]
fn an_error_on_a_connection_that_serves_nothing_is_a_refusal() {
    let report = run(
        SOCKET_IO,
        // Whether a connection that is left open serves is found out by waiting.
        &["AUTH", "CAR-035", "CAR-036", "CAR-041", "CAR-042", "CLM-064", "REJ", "RES"],
        Profile {
            echo: Some(Echo {
                send: r#"42["echo","{message}"]"#.to_owned(),
                reply: Shape::Text(r#"43["echo","{message}"]"#.to_owned()),
                broadcast: false,
            }),
            ..first_message("40{\"token\":\"{token}\"}", Shape::Text("40{message}".to_owned()))
        },
    );
    // Only that it is left open is worth a word.
    let found = findings(&report, Severity::Info);
    assert_eq!(found.len(), 1, "{report}");
    assert!(found[0].starts_with("CAR-042 Warn"), "{found:?}");
}

/// Says that it is well, whatever the token.
const CREDULOUS: Manner = Manner {
    greeting: None,
    subprotocol: None,
    answer: |text, _| match member(text, "/type").as_str() {
        "auth" => Reply::Admit(r#"{"type":"auth_ok"}"#.to_owned()),
        _ => Reply::Say(text.to_owned()),
    },
};

#[test]
fn a_server_that_admits_every_token_does_not_get_away() {
    let auth = r#"{"type":"auth","token":"{token}"}"#;
    let report = run(
        CREDULOUS,
        FAMILIES,
        Profile {
            echo: Some(Echo {
                send: "{message}".to_owned(),
                reply: Shape::Text("{message}".to_owned()),
                broadcast: false,
            }),
            ..first_message(auth, Shape::like(r#"{"type":"auth_ok"}"#))
        },
    );
    let failed = findings(&report, Severity::Critical);
    // What it does right is not held against it. RES-011 and RES-012 have forged tokens in their crowds, and they were let in.
    let is_crowd = |found: &String| found.starts_with("RES-011") || found.starts_with("RES-012");
    assert!(!failed.iter().any(|found| found.starts_with("RES") && !is_crowd(found)), "{failed:?}");
    for code in ["AUTH-004", "AUTH-005", "AUTH-006", "CLM-064", "CAR-035", "CAR-036", "ENC-001", "SIG-008"] {
        assert!(failed.iter().any(|found| found.starts_with(&format!("{code} Fail"))), "{code} in {failed:?}");
    }
}

#[test]
fn a_wrong_secret_is_told_from_a_wrong_carrier() {
    let server = StandIn::new(|stream, _, head| serve(stream, head, SOCKET_IO));
    let target = Target::from_profile(Profile {
        url: Some(format!("ws://{}/ws", server.address)),
        secret: Some("another secret that nobody at the other end knows".to_owned()),
        ..first_message("40{\"token\":\"{token}\"}", Shape::Text("40{message}".to_owned()))
    });
    let suite = Suite::bundled().seed(7).timeout_scale(0.02).select("AUTH-001");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(suite.run(&target.unwrap())).unwrap().to_string();
    // It upgrades everybody, which must not look as if it took the token from the query, or let anybody in.
    assert!(report.contains("first_message"), "{report}");
    assert!(!report.contains("lets anybody in") && !report.contains("reads the token from"), "{report}");
    // What the server had to say about it is passed on.
    assert!(report.contains("not authorized"), "{report}");
}
