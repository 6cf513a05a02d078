//! What a probe finds out about servers of which it is told the address and the key alone.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod hostile_support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use gatecrash::command::bundled_server::{BundledServer, Setting};
use gatecrash::document::Document;
use gatecrash::probe::{Findings, Head, profile};
use gatecrash::profile::{Carrier, Profile, Shape};
use gatecrash::report::Failure;
use gatecrash::run::{Options, Wishes, probe};
use gatecrash::token::{Algorithm, Answer, Keyring, Rules, oracle};
use gatecrash::wire::frame::{self, CLOSE, PING, PONG, TEXT};
use gatecrash::{Suite, Target};
use gatecrash_reference_server::{Dialect, Fault, RefusalStyle};
use serde_json::{Value, json};

use hostile_support::{SECRET, StandIn, answer, close_bytes, frame_bytes, run_watched, token, upgrade};

fn ask(target: &Target, wishes: Wishes) -> Result<Findings, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = Options { seed: 7, ..Options::default() };
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(100), probe(target, &options, &wishes)).await.expect("it ends")
    })
}

/// A target of which nothing is known but its address, without the place of the token, and its key.
fn bare(server: &BundledServer) -> Target {
    let mut endpoint = server.target.endpoint.clone();
    if endpoint.carrier != Some(Carrier::Path) {
        endpoint.carrier = None;
    }
    let secret = server.target.profile.secret.clone();
    Target::from_profile(Profile { url: Some(endpoint.to_string()), secret, ..Profile::default() }).unwrap()
}

fn seen(findings: &Findings, field: &str) -> Option<Value> {
    findings.facts.iter().filter_map(|fact| fact.field.clone()).find(|(name, _)| name == field).map(|(_, value)| value)
}

fn noted(findings: &Findings, words: &str) -> bool {
    findings.facts.iter().any(|fact| fact.evidence.contains(words))
}

/// The profile with every observed line moved to the margin, as a person would who promises it all.
fn promised(findings: &Findings, secret: Option<String>) -> Profile {
    let text = profile(findings, &Head::default());
    let mut value = Document::parse("probed.yaml", &text).unwrap().value().clone();
    let members = value.as_object_mut().unwrap();
    let observed = members.remove("observed").unwrap();
    members.extend(observed.as_object().unwrap().clone());
    let promised = Profile::from_yaml("promised.yaml", &value.to_string()).unwrap();
    Profile { secret, ..promised }
}

#[test]
fn what_the_dialects_are_like_is_found_out_and_holds_when_it_is_promised() {
    for dialect in [Dialect::PersonalAssistant, Dialect::Shipvox, Dialect::Simutrador, Dialect::Omni2] {
        for (refusal, word) in [(RefusalStyle::Close, "close"), (RefusalStyle::Http, "http")] {
            let server = BundledServer::start(&Setting::of(dialect, refusal), None).unwrap();
            let own = &server.target.profile;
            let wishes = Wishes { longest_message: 4_096, ..Wishes::default() };
            let found = ask(&bare(&server), wishes).unwrap_or_else(|failure| panic!("{failure:?}"));
            assert!(own.carriers.contains(&found.carrier), "{dialect:?}: {found:?}");
            assert_eq!(seen(&found, "refuses_by"), Some(json!(word)), "{found:?}");
            let signals = seen(&found, "signals").unwrap();
            for class in ["missing", "malformed", "bad_signature", "expired"] {
                let (_, declared) = own.signals.iter().find(|(own, _)| own.word() == class).unwrap();
                let number = declared.close.or(declared.http).unwrap();
                assert_eq!(signals[class][word], json!(number), "{dialect:?} {class}");
            }
            assert_eq!(seen(&found, "leeway"), Some(json!(0)), "{dialect:?}");
            assert_eq!(seen(&found, "require_exp"), own.require_exp.map(Value::from), "{dialect:?}");
            assert_eq!(seen(&found, "welcome").is_some(), own.welcome.is_some(), "{dialect:?}");
            assert!(noted(&found, "a ping is answered by a pong"), "{dialect:?}");
            let target = Target::from_profile(promised(&found, own.secret.clone())).unwrap();
            let report =
                run_watched(Suite::bundled().seed(7).select("REJ").select("AUTH"), target, Duration::from_secs(60));
            assert!(report.passed(), "{dialect:?} {word}: {report}");
        }
    }
}

#[test]
fn the_leeway_is_found_by_bisection() {
    let mut setting = Setting::of(Dialect::Omni2, RefusalStyle::Http);
    setting.change = |config, _| config.leeway_s = 45;
    let server = BundledServer::start(&setting, None).unwrap();
    let found = ask(&bare(&server), Wishes { longest_message: 1_024, ..Wishes::default() }).unwrap();
    let leeway = seen(&found, "leeway").and_then(|leeway| leeway.as_u64());
    // A token is over at the very second of exp and leeway (RFC 7519 §4.1.4), and a slow machine costs another.
    assert!((42..=45).contains(&leeway.unwrap()), "{leeway:?}");
}

#[test]
fn a_gate_that_is_open_is_said_to_be_so() {
    let fault: Fault = "ignores-signature".parse().unwrap();
    let server = BundledServer::start(&Setting::of(Dialect::Shipvox, RefusalStyle::Close), Some(fault)).unwrap();
    let Err(Failure::FirstControl(finding)) = ask(&bare(&server), Wishes::default()) else { panic!("it is open") };
    assert!(finding.advice.contains("lets anybody in"), "{finding:?}");
}

#[test]
fn a_server_that_is_not_there_is_named_at_once() {
    let url = format!("ws://{}/ws", StandIn::nobody());
    let failure = ask(&Target::new(&url, SECRET).unwrap(), Wishes::default()).expect_err("nobody listens");
    assert!(matches!(failure, Failure::Unreachable(_)), "{failure:?}");
}

fn is_good(token: &str) -> bool {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let rules = Rules {
        algorithms: Some(vec![Algorithm::HS256]),
        ..Rules::new(&Keyring::new().with_secret(SECRET.as_bytes()), Algorithm::HS256)
    };
    oracle(token.as_bytes(), &rules, now, 0.0).answer == Answer::Accept
}

/// Reads frames, and does with each what `act` says, until that is to end.
fn frames(stream: &mut TcpStream, mut act: impl FnMut(&mut TcpStream, u8, &[u8]) -> bool) {
    let (mut unread, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        while let frame::Read::Frame(frame, used) = frame::read(&unread, 4 << 20) {
            unread.drain(..used);
            if frame.opcode == CLOSE || !act(stream, frame.opcode, &frame.payload) {
                let _ = stream.write_all(&close_bytes(1000, b""));
                return;
            }
        }
        match stream.read(&mut bytes) {
            Ok(length @ 1..) => unread.extend_from_slice(&bytes[..length]),
            _ => return,
        }
    }
}

#[test]
fn a_token_in_the_first_message_is_found() {
    let server = StandIn::new(|mut stream, _, head| {
        upgrade(&mut stream, head);
        let mut served = false;
        frames(&mut stream, |stream, opcode, payload| {
            let text: Value = serde_json::from_slice(payload).unwrap_or_default();
            let out = match opcode {
                PING => frame_bytes(PONG, payload),
                TEXT if served => frame_bytes(TEXT, payload),
                TEXT if text["action"] == "auth" && text["token"].as_str().is_some_and(is_good) => {
                    served = true;
                    frame_bytes(TEXT, br#"{"event":"ready","session":"x"}"#)
                }
                _ => frame_bytes(TEXT, br#"{"event":"denied"}"#),
            };
            stream.write_all(&out).is_ok()
        });
    });
    let url = format!("ws://{}/ws", server.address);
    let target = Target::new(&url, SECRET).unwrap();
    let found = ask(&target, Wishes { longest_message: 2_048, ..Wishes::default() }).unwrap();
    let Carrier::FirstMessage(first) = &found.carrier else { panic!("{found:?}") };
    assert_eq!(first.send, r#"{"action":"auth","token":"{token}"}"#);
    assert_eq!(first.reply, Some(Shape::Json([("/event".to_owned(), json!("ready"))].into())));
    assert_eq!(first.refused, Some(Shape::Json([("/event".to_owned(), json!("denied"))].into())));
    assert_eq!(seen(&found, "echo").map(|echo| echo["send"].clone()), Some(json!("{message}")));
}

#[test]
fn limits_and_habits_of_a_connection_are_found() {
    const LIMIT: usize = 5_000;
    let server = StandIn::new(|mut stream, _, head| {
        if !token(head).is_some_and(is_good) {
            return answer(stream, "401 Unauthorized");
        }
        upgrade(&mut stream, head);
        let mut other = stream.try_clone().unwrap();
        thread::spawn(move || {
            for _ in 0..6 {
                thread::sleep(Duration::from_millis(100));
                let _ = other.write_all(&frame_bytes(PING, b"?"));
            }
            let _ = other.write_all(&close_bytes(4408, b"idle"));
            let _ = other.shutdown(std::net::Shutdown::Both);
        });
        frames(&mut stream, |stream, opcode, payload| match opcode {
            PING => stream.write_all(&frame_bytes(PONG, payload)).is_ok(),
            TEXT if payload.len() > LIMIT => {
                let _ = stream.write_all(&close_bytes(1009, b""));
                false
            }
            TEXT => stream.write_all(&frame_bytes(TEXT, payload)).is_ok(),
            _ => true,
        });
    });
    let wishes = Wishes { idle: Some(Duration::from_secs(10)), longest_message: 65_536 };
    let found = ask(&Target::new(&server.url(), SECRET).unwrap(), wishes).unwrap();
    assert_eq!(seen(&found, "max_message_bytes"), Some(json!(LIMIT)), "{found:?}");
    assert!(noted(&found, "one of 5001 is not: close 1009"), "{found:?}");
    assert!(noted(&found, "it pings by itself"), "{found:?}");
    assert!(noted(&found, "close 4408"), "{found:?}");
    assert!(noted(&found, "none is selected"), "{found:?}");
}

#[test]
fn a_real_token_is_enough_for_what_needs_no_key() {
    let server = BundledServer::start(&Setting::of(Dialect::Simutrador, RefusalStyle::Close), None).unwrap();
    let profile = Profile { secret: None, ..server.target.profile.clone() };
    let profile = Profile { carriers: Vec::new(), signals: Default::default(), echo: None, ..profile };
    let found =
        ask(&Target::from_profile(profile).unwrap(), Wishes { longest_message: 2_048, ..Wishes::default() }).unwrap();
    let signals = seen(&found, "signals").unwrap();
    assert_eq!((&signals["missing"]["close"], &signals["malformed"]["close"]), (&json!(4001), &json!(4002)));
    assert_eq!(signals.get("expired"), None, "such a token cannot be made");
    assert_eq!(seen(&found, "leeway"), None);
}
