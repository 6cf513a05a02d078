//! What is answered to a message?
//!
//! One [`Talk`] per connection: the dialect's welcome and its answers. Pure but for the identity it was given at the
//! start, which comes from the verified token and from nothing the client says later. Sends nothing itself.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::clock::iso8601;
use crate::dialect::Dialect;
use crate::fault::Fault;
use crate::faulty;
use crate::gate::{Bearer, Claims};

/// What to do about a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// Say this to the sender.
    Reply(String),
    /// Say this to everyone connected, the sender included.
    Broadcast(String),
    /// Say nothing.
    Quiet,
    /// Close with this code and reason.
    Close(u16, &'static str),
    /// Drop the connection without a word (only a fault does this).
    Drop,
}

/// The welcome of personal-assistant. Every connection is sent one, so no map is made for it.
#[derive(Serialize)]
struct Connected<'a> {
    event: &'static str,
    timestamp: String,
    user_id: &'a str,
    username: Option<&'a Value>,
}

/// Not by `concat`, which is dearer: this is all that the dialect does for a message.
fn echo(text: &str) -> String {
    const BEFORE: &str = "Echo: ";
    let mut echo = String::with_capacity(BEFORE.len() + text.len());
    echo.push_str(BEFORE);
    echo.push_str(text);
    echo
}

/// The dialect's side of one connection.
#[derive(Debug)]
pub(crate) struct Talk {
    dialect: Dialect,
    fault: Option<Fault>,
    identity: String,
    claims: Claims,
    /// Seconds since 1970.
    authenticated_at: f64,
}

impl Talk {
    pub(crate) fn new(dialect: Dialect, fault: Option<Fault>, bearer: &Bearer, now: f64) -> Self {
        Self { dialect, fault, identity: bearer.identity.clone(), claims: bearer.claims.clone(), authenticated_at: now }
    }

    /// What is said first.
    pub(crate) fn welcome(&self, now: f64) -> Option<String> {
        match self.dialect {
            Dialect::PersonalAssistant => serde_json::to_string(&Connected {
                event: "connected",
                timestamp: iso8601(now),
                user_id: &self.identity,
                username: self.claims.get("username"),
            })
            .ok(),
            Dialect::Omni2 => Some(
                json!({
                    "type": "initial_status",
                    "mcps": [
                        {"mcp_id": "filesystem", "status": "connected"},
                        {"mcp_id": "database", "status": "disconnected"},
                    ],
                })
                .to_string(),
            ),
            Dialect::Strict => Some(json!({"type": "welcome", "user": self.identity}).to_string()),
            Dialect::Shipvox | Dialect::Simutrador => None,
        }
    }

    /// Answers a text. `id` is 16 random bytes for dialects that number their messages.
    pub(crate) fn text(&self, text: &str, now: f64, id: [u8; 16]) -> Answer {
        let text = if self.fault == Some(Fault::TruncatesAtNulText) {
            text.split('\0').next().unwrap_or_default()
        } else {
            text
        };
        let answer = match self.dialect {
            Dialect::PersonalAssistant => Answer::Reply(echo(text)),
            Dialect::Shipvox => self.stamp(text, now, id),
            Dialect::Simutrador => self.simulate(text, now),
            Dialect::Omni2 => self.status(text),
            // The stamp of shipvox, for the sender alone.
            Dialect::Strict => match self.stamp(text, now, id) {
                Answer::Broadcast(text) => Answer::Reply(text),
                other => other,
            },
        };
        if self.fault == Some(Fault::NoEcho) { Answer::Quiet } else { answer }
    }

    /// Answers a binary message: every dialect is text only (RFC 6455 §7.4.1, 1003).
    pub(crate) fn binary(&self) -> Answer {
        if self.fault == Some(Fault::CrashesOnBinary) {
            return Answer::Drop;
        }
        Answer::Close(1003, "Text messages only")
    }

    /// shipvox: who, when and which, over whatever the client put there.
    fn stamp(&self, text: &str, now: f64, id: [u8; 16]) -> Answer {
        let mut message = match self.object(text) {
            Ok(message) => message,
            Err(answer) => return answer,
        };
        let mut put = |name: &str, value: Value, unless: Fault| {
            let kept = self.fault == Some(unless) && message.contains_key(name);
            if !kept {
                message.insert(name.to_owned(), value);
            }
        };
        let timestamp = if self.fault == Some(Fault::MillisecondTimestamp) { now * 1000.0 } else { now };
        let id = if self.fault == Some(Fault::ConstantRequestId) { [7; 16] } else { id };
        put("user", Value::from(self.identity.as_str()), Fault::UserFromMessage);
        put("timestamp", Value::from(timestamp), Fault::StampByClient);
        put("requestId", Value::from(uuid_v4(id)), Fault::StampByClient);
        if self.fault == Some(Fault::BroadcastsClaims) {
            message.insert("context".to_owned(), Value::Object((*self.claims).clone()));
        }
        let text = Value::Object(message).to_string();
        // Put together without escaping, a quotation mark ends the string it stands in.
        Answer::Broadcast(if self.fault == Some(Fault::UnescapedBroadcast) { text.replace("\\\"", "\"") } else { text })
    }

    /// simutrador: the context of the token is there for every handler.
    fn simulate(&self, text: &str, now: f64) -> Answer {
        let mut message = match self.object(text) {
            Ok(message) => message,
            Err(answer) => return answer,
        };
        let kind = message.get("type").and_then(Value::as_str);
        if self.dies_of_type(kind, &["ping", "whoami", "echo"]) {
            return Answer::Drop;
        }
        let reply = match kind {
            Some("ping") => json!({"type": "pong", "timestamp": now}),
            Some("whoami") => json!({
                "type": "whoami",
                "user_id": self.identity,
                "plan": self.plan(),
                "rate_limits": self.claims.get("rate_limits"),
                "authenticated_at": self.authenticated_at,
            }),
            // Every other type is echoed: a client can prove that its own message came through.
            _ => json!({
                "type": "echo",
                "payload": message.remove("payload"),
                "user_id": self.identity,
                "plan": self.plan(),
            }),
        };
        Answer::Reply(reply.to_string())
    }

    /// omni2: only the keep-alive is answered.
    fn status(&self, text: &str) -> Answer {
        if text == "ping" && self.fault != Some(Fault::KeepaliveKillsSession) {
            return Answer::Reply(json!({"type": "pong"}).to_string());
        }
        let message = match self.object(text) {
            Ok(message) => message,
            Err(answer) => return answer,
        };
        let kind = message.get("type").and_then(Value::as_str);
        if self.dies_of_type(kind, &["ping"]) {
            return Answer::Drop;
        }
        match kind {
            Some("ping") => Answer::Reply(json!({"type": "pong"}).to_string()),
            _ => Answer::Quiet,
        }
    }

    /// A JSON object, or the error that tells the sender it is none. The connection survives: one client's typing
    /// error is nobody else's business.
    fn object(&self, text: &str) -> Result<Map<String, Value>, Answer> {
        match serde_json::from_str(text) {
            Ok(Value::Object(mut message)) => {
                if self.fault == Some(Fault::TruncatesAtNulText) {
                    message.values_mut().for_each(faulty::truncate_at_nul);
                }
                Ok(message)
            }
            _ if self.fault == Some(Fault::CrashesOnBadJson) => Err(Answer::Drop),
            _ if self.fault == Some(Fault::KeepaliveKillsSession) && text == "ping" => Err(Answer::Drop),
            Ok(_) => Err(Answer::Reply(self.told(error("a JSON object is expected")))),
            Err(_) if self.fault == Some(Fault::CrashesOnDeepJson) && is_deep(text) => Err(Answer::Drop),
            Err(_) => Err(Answer::Reply(self.told(error("this is not JSON")))),
        }
    }

    /// Does the dispatcher find no handler for this type, and end (only a fault does)?
    fn dies_of_type(&self, kind: Option<&str>, known: &[&str]) -> bool {
        self.fault == Some(Fault::CrashesOnUnknownType) && kind.is_some_and(|kind| !known.contains(&kind))
    }

    /// An error as it is sent: under error-is-no-json, as Python prints a dict.
    fn told(&self, error: String) -> String {
        if self.fault == Some(Fault::ErrorIsNoJson) { error.replace('"', "'") } else { error }
    }

    /// Serves under another name from now on (only a fault does).
    pub(crate) fn call_user(&mut self, name: String) {
        self.identity = name;
    }

    /// simutrador's plan, as the token says.
    pub(crate) fn plan(&self) -> &str {
        plan(&self.claims)
    }
}

/// Is `text` nested deeper than a parser that calls itself may go?
fn is_deep(text: &str) -> bool {
    text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() > 1000
}

/// simutrador's plan: the claim, else free.
pub(crate) fn plan(claims: &Map<String, Value>) -> &str {
    claims.get("plan").and_then(Value::as_str).unwrap_or("free")
}

/// An error message to one client.
pub(crate) fn error(detail: &str) -> String {
    json!({"type": "error", "detail": detail}).to_string()
}

/// Told when a plan's message rate is used up.
pub(crate) fn rate_limited() -> String {
    json!({"type": "error", "error": "RATE_LIMITED", "detail": "RATE_LIMITED: too many messages for this plan"})
        .to_string()
}

/// A version 4 UUID of 16 random bytes (RFC 9562 §5.4).
fn uuid_v4(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn talk(dialect: Dialect, claims: Value) -> Talk {
        let Value::Object(claims) = claims else { panic!("claims") };
        let bearer = Bearer { identity: "alice".to_owned(), role: None, claims: claims.into(), expires_at: None };
        Talk::new(dialect, None, &bearer, 1.0)
    }

    fn broadcast(talk: &Talk, text: &str) -> Value {
        match talk.text(text, 12.5, [0xff; 16]) {
            Answer::Broadcast(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn reply(talk: &Talk, text: &str) -> Value {
        match talk.text(text, 12.5, [0; 16]) {
            Answer::Reply(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_echo_is_exact() {
        let talk = talk(Dialect::PersonalAssistant, json!({"username": "Alice"}));
        let text = "\u{0}é\u{10ffff} ";
        assert_eq!(talk.text(text, 0.0, [0; 16]), Answer::Reply(["Echo: ", text].concat()));
        assert!(talk.welcome(0.0).unwrap().contains("\"connected\""));
    }

    #[test]
    fn a_stamp_cannot_be_forged() {
        let talk = talk(Dialect::Shipvox, json!({}));
        let forged = r#"{"type":"test","user":"admin","timestamp":0,"requestId":"x","payload":{"user":"deep"}}"#;
        let stamped = broadcast(&talk, forged);
        assert_eq!(stamped["user"], "alice");
        assert_eq!(stamped["timestamp"], 12.5);
        assert_eq!(stamped["requestId"], "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(stamped["payload"]["user"], "deep");
    }

    #[test]
    fn what_is_no_object_is_told_to_its_sender_only() {
        for dialect in [Dialect::Shipvox, Dialect::Simutrador, Dialect::Omni2] {
            let talk = talk(dialect, json!({}));
            for bad in ["not json", "{", "", "[]", "1", "\"x\"", "null", "true", &"[".repeat(10_000)] {
                assert_eq!(reply(&talk, bad)["type"], "error", "{dialect} {bad}");
            }
        }
    }

    #[test]
    fn simutrador_knows_whom_it_serves() {
        let talk = talk(Dialect::Simutrador, json!({"plan": "pro"}));
        let echo = reply(&talk, r#"{"type":"echo","payload":"7f3a"}"#);
        assert_eq!(echo, json!({"type": "echo", "payload": "7f3a", "user_id": "alice", "plan": "pro"}));
        assert_eq!(reply(&talk, r#"{"type":"ping"}"#)["type"], "pong");
        assert_eq!(reply(&talk, r#"{"type":"whoami"}"#)["authenticated_at"], 1.0);
    }

    #[test]
    fn omni2_answers_the_keep_alive() {
        let talk = talk(Dialect::Omni2, json!({}));
        assert_eq!(reply(&talk, "ping")["type"], "pong");
        assert_eq!(talk.text(r#"{"type":"other"}"#, 0.0, [0; 16]), Answer::Quiet);
        assert!(talk.welcome(0.0).unwrap().contains("\"mcps\""));
    }
}
