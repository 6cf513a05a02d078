//! Any text as JSON: into the gate's strict reader, as a first message, and as a message to every dialect.

use serde_json::{Map, Value, json};

use super::NOW;
use super::policies::object;
use crate::dialect::Dialect;
use crate::first_message;
use crate::gate::Bearer;
use crate::gate::strict_object;
use crate::talk::{Answer, Talk};

/// The body of the target `messages`.
///
/// # Panics
///
/// Where a law is broken: that is a finding.
pub fn messages(input: &[u8]) {
    assert_eq!(strict_object(input), object(input), "two readers see two objects in {}", input.escape_ascii());
    let Ok(text) = str::from_utf8(input) else { return };
    let read: Option<Value> = serde_json::from_str(text).ok();
    let said = |name: &str| read.as_ref().and_then(|message| message.get(name)).and_then(Value::as_str);
    let token = first_message::token(text);
    assert_eq!(token.is_some(), said("type") == Some("auth"), "no message of authentication is one: {text:?}");
    if let Some(token) = token {
        assert_eq!(token, said("token").unwrap_or_default(), "another token: {text:?}");
    }
    for dialect in Dialect::ALL {
        answered(*dialect, text, read.as_ref());
    }
}

fn answered(dialect: Dialect, text: &str, read: Option<&Value>) {
    let claims: Map<String, Value> = Map::from_iter([("username".to_owned(), "Alice".into())]);
    let bearer = Bearer { identity: "alice".to_owned(), role: None, claims: claims.into(), expires_at: None };
    let talk = Talk::new(dialect, None, &bearer, f64::from(NOW));
    let answer = talk.text(text, f64::from(NOW), [7; 16]);
    assert_eq!(answer, talk.text(text, f64::from(NOW), [7; 16]), "another answer the second time");
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
