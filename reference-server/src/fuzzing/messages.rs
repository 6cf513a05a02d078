//! Any text as JSON: into the gate's strict reader, as a first message, and as a message to every dialect.

use serde_json::{Map, Value, json};

use super::NOW;
use super::policies::object;
use crate::dialect::Dialect;
use crate::fault::Fault;
use crate::first_message;
use crate::gate::Bearer;
use crate::gate::strict_object;
use crate::talk::{Answer, Talk};

/// What is drawn for each message, and the UUID of version 4 that it makes (RFC 9562 §5.4).
const ID: [u8; 16] = [7; 16];
const ID_AS_UUID: &str = "07070707-0707-4707-8707-070707070707";

/// The body of the target `messages`.
///
/// # Panics
///
/// Where a law is broken: that is a finding.
pub fn messages(input: &[u8]) {
    said(input, None);
}

fn said(input: &[u8], fault: Option<Fault>) {
    assert_eq!(strict_object(input), object(input), "two readers see two objects in {}", input.escape_ascii());
    let Ok(text) = str::from_utf8(input) else { return };
    let read: Option<Value> = serde_json::from_str(text).ok();
    let member = |name: &str| read.as_ref().and_then(|message| message.get(name)).and_then(Value::as_str);
    let token = first_message::token(text);
    assert_eq!(token.is_some(), member("type") == Some("auth"), "no message of authentication is one: {text:?}");
    if let Some(token) = token {
        assert_eq!(token, member("token").unwrap_or_default(), "another token: {text:?}");
    }
    for dialect in Dialect::ALL {
        answered(*dialect, fault, text, read.as_ref());
    }
}

fn answered(dialect: Dialect, fault: Option<Fault>, text: &str, read: Option<&Value>) {
    let claims: Map<String, Value> = Map::from_iter([("username".to_owned(), "Alice".into())]);
    let bearer = Bearer { identity: "alice".to_owned(), role: None, claims: claims.into(), expires_at: None };
    let talk = Talk::new(dialect, fault, &bearer, f64::from(NOW));
    let answer = talk.text(text, f64::from(NOW), ID);
    assert_eq!(answer, talk.text(text, f64::from(NOW), ID), "another answer the second time");
    let reply = match &answer {
        Answer::Reply(reply) if dialect == Dialect::PersonalAssistant => {
            return assert_eq!(reply.strip_prefix("Echo: "), Some(text), "an echo of something else");
        }
        Answer::Reply(reply) => reply,
        Answer::Broadcast(reply) => {
            assert_eq!(dialect, Dialect::Shipvox, "nobody else speaks to all");
            reply
        }
        Answer::Quiet => return assert_eq!(dialect, Dialect::Omni2, "nobody else is silent: {text:?}"),
        Answer::Close(..) | Answer::Drop => panic!("{dialect} hangs up over {text:?}"),
    };
    let reply: Value = serde_json::from_str(reply).unwrap_or_else(|error| panic!("{reply} is no JSON: {error}"));
    let Some(Value::Object(asked)) = read else {
        let is_error = reply["type"] == "error" || dialect == Dialect::Omni2;
        return assert!(is_error, "{dialect} takes {text:?} for a message");
    };
    if matches!(dialect, Dialect::Shipvox | Dialect::Strict) && asked.len() < 100 {
        // Everything comes back but what the server says itself.
        assert_eq!(reply["user"], "alice", "somebody else spoke: {text:?}");
        assert_eq!(reply["timestamp"], json!(f64::from(NOW)), "at another time: {text:?}");
        assert_eq!(reply["requestId"], ID_AS_UUID, "under another name: {text:?}");
        for (name, value) in asked.iter().filter(|(name, _)| !["user", "timestamp", "requestId"].contains(&&***name)) {
            assert!(reply.get(name).is_some_and(|back| is_alike(back, value)), "{name} is another: {text:?}");
        }
    }
    if dialect == Dialect::Simutrador && reply["type"] != "pong" {
        assert_eq!(reply["user_id"], "alice", "somebody else: {text:?}");
    }
}

/// Whether two values are the same but for the last digit of numbers: `serde_json` reads some of those with more than
/// fifteen digits as a neighbour, which RFC 8259 §6 leaves to it.
fn is_alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => match (one.as_f64(), other.as_f64()) {
            (Some(one), Some(other)) => one == other || ((one - other) / other).abs() < 1e-15,
            _ => false,
        },
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| is_alike(one, other)))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::panic::catch_unwind;

    use proptest::prelude::*;

    use super::super::corpus;
    use super::*;

    fn seeds() -> BTreeMap<String, Vec<u8>> {
        let deep = "[".repeat(200);
        [
            ("auth", r#"{"type":"auth","token":"a.b.c"}"#),
            ("auth-twice", r#"{"type":"auth","token":"a","token":"b","type":"auth"}"#),
            ("auth-number", r#"{"type":"auth","token":7}"#),
            ("auth-without-token", r#"{"\u0074ype":"auth"}"#),
            ("forged-stamp", r#"{"type":"test","user":"mallory","timestamp":0,"requestId":[]}"#),
            ("ping", r#"{"type":"ping"}"#),
            ("ping-text", "ping"),
            ("whoami", r#"{"type":"whoami","payload":null}"#),
            ("echo", r#"{"type":"echo","payload":{"a":[1,-0.5e-3,true]}}"#),
            ("list", "[{}]"),
            ("number", "1e999"),
            // Found by the fuzzer: it was read as one number and, written, read as its neighbour.
            ("number-too-precise", r#"{"a":18446744674407384467446747096}"#),
            ("surrogates", r#"{"a":"\ud83d\ude00\ud800"}"#),
            ("nested-twice", r#"{"a":[{"b":1,"\u0062":2}]}"#),
            ("quotes", r#"{"a\"b":"\\\"","user":"\""}"#),
            ("deep", &deep),
            ("empty", ""),
            ("nul", "{\"a\":\"b\\u0000c\"}"),
            ("more-behind", "{}{}"),
            ("mark", "\u{feff}{}"),
        ]
        .into_iter()
        .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
        .collect()
    }

    #[test]
    fn the_seeds_are_in_the_folder() {
        corpus::holds("messages", seeds());
    }

    #[test]
    #[ignore = "writes the seeds of fuzz/corpus/messages"]
    fn write_seeds() {
        corpus::write("messages", seeds());
    }

    #[test]
    fn every_input_of_the_corpus_keeps_the_laws() {
        corpus::replay("messages", messages);
    }

    /// The laws have teeth.
    #[test]
    fn a_faulty_dialect_is_found_out_by_a_seed() {
        let faults = [
            Fault::CrashesOnBadJson,
            Fault::CrashesOnUnknownType,
            Fault::ErrorIsNoJson,
            Fault::KeepaliveKillsSession,
            Fault::MillisecondTimestamp,
            Fault::NoEcho,
            Fault::StampByClient,
            Fault::TruncatesAtNulText,
            Fault::UnescapedBroadcast,
            Fault::UserFromMessage,
        ];
        corpus::find_out(seeds(), &faults, |_| (), |input, fault| said(input, Some(fault)));
    }

    /// Each stamp by itself: one seed forges all three.
    #[test]
    fn a_forged_stamp_is_found_out() {
        for name in ["user", "timestamp", "requestId"] {
            let forged = json!({ name: "forged" }).to_string();
            messages(forged.as_bytes());
            let breaks = |fault| catch_unwind(|| said(forged.as_bytes(), Some(fault))).is_err();
            assert_eq!(breaks(Fault::StampByClient), name != "user", "{name}");
            assert_eq!(breaks(Fault::UserFromMessage), name == "user", "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_keep_the_laws(input in prop::collection::vec(any::<u8>(), 0..40)) {
            messages(&input);
        }

        #[test]
        fn texts_that_are_nearly_json_keep_the_laws(text in r#"[{\[]{0,2}("type":"(auth|ping|x)")?[\[\]{},:"0-9eE.\\utype -]{0,24}[}\]]{0,2}"#) {
            messages(text.as_bytes());
        }
    }
}
