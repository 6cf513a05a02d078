//! What a probe of an unknown server asks, what its answers show, and how that is written down. Pure; the connections are
//! made in `run`.
//!
//! What was seen is no promise. It stands in the profile under `observed`, which no run reads, until a person moves a
//! line out of it.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::document::printable;
use crate::outcome::Outcome;
use crate::profile::{Carrier, Class, FirstMessage, Shape};
use crate::target::Target;

/// Something that was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// The field of a profile that would promise it, with its value; none where no field does.
    pub field: Option<(String, Value)>,
    /// What was done, and what came of it.
    pub evidence: String,
}

impl Fact {
    /// A fact that a field of a profile could promise.
    pub fn of(field: &str, value: impl Into<Value>, evidence: impl Into<String>) -> Self {
        Self { field: Some((field.to_owned(), value.into())), evidence: evidence.into() }
    }

    /// A fact for which there is no field.
    pub fn noted(evidence: impl Into<String>) -> Self {
        Self { field: None, evidence: evidence.into() }
    }
}

/// How the server is told its token, and all that was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// Where the token rides.
    pub carrier: Carrier,
    /// The URL for it, with `{token}` where it rides in the URL.
    pub url: String,
    /// How that was found out.
    pub carrier_evidence: String,
    /// What else was seen, in the order of a profile.
    pub facts: Vec<Fact>,
}

/// The places in which a token is tried, the likely first. Paths are not guessed.
pub fn carriers(target: &Target) -> Vec<Carrier> {
    let offer = |list: &[&str]| Carrier::Subprotocol(list.iter().map(|one| (*one).to_owned()).collect());
    let mut all: Vec<Carrier> = target
        .profile
        .carriers
        .iter()
        .filter(|carrier| !matches!(carrier, Carrier::FirstMessage(_)))
        .cloned()
        .collect();
    all.extend(["token", "access_token", "jwt"].map(|name| Carrier::Query(name.to_owned())));
    all.push(Carrier::Authorization("Bearer".to_owned()));
    all.extend([offer(&["bearer", "{token}"]), offer(&["access_token", "{token}"]), offer(&["{token}"])]);
    all.extend(["token", "access_token", "session"].map(|name| Carrier::Cookie(name.to_owned())));
    let mut seen: Vec<Carrier> = Vec::new();
    all.retain(|carrier| {
        let is_new = !seen.iter().any(|other| other.is_same_place(carrier));
        seen.push(carrier.clone());
        is_new
    });
    all
}

/// The messages in which a token is tried where no head of a request opens the gate.
pub fn first_messages(target: &Target) -> Vec<FirstMessage> {
    let mut all: Vec<FirstMessage> = target.profile.first_message().cloned().into_iter().collect();
    let usual = [
        r#"{"type":"auth","token":"{token}"}"#,
        r#"{"type":"authenticate","token":"{token}"}"#,
        r#"{"type":"connection_init","payload":{"Authorization":"Bearer {token}"}}"#,
        r#"{"action":"auth","token":"{token}"}"#,
        r#"{"token":"{token}"}"#,
        r#"40{"token":"{token}"}"#,
        "{token}",
    ];
    all.extend(usual.map(|send| FirstMessage { send: send.to_owned(), ..FirstMessage::default() }));
    all
}

/// What came of a message that told a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The messages after it.
    pub heard: Vec<String>,
    /// Whether the server closed or ended the connection.
    pub ended: bool,
}

/// The message with the answers by which it shows that it was understood: a good token is answered by a word to which a
/// forged one gets no like.
pub fn understood(sent: &FirstMessage, good: &Told, forged: &Told) -> Option<FirstMessage> {
    if good.ended {
        return None;
    }
    let only = |these: &Told, others: &Told| {
        let shapes = these.heard.iter().map(|text| sketch(text));
        shapes.into_iter().find(|shape| !others.heard.iter().any(|text| shape.fits(text)))
    };
    let reply = only(good, forged)?;
    let refused = if forged.ended { None } else { only(forged, good) };
    Some(FirstMessage { reply: Some(reply), refused, ..sent.clone() })
}

/// The shape of a message without what is likely to be another next time: of a JSON object the member that says of what
/// kind it is, of a text with JSON in it what stands before that.
pub fn sketch(text: &str) -> Shape {
    const KINDS: [&str; 6] = ["type", "event", "op", "action", "kind", "status"];
    if let Ok(members) = serde_json::from_str::<Map<String, Value>>(text) {
        let kind = KINDS.iter().find_map(|name| Some((*name, members.get(*name)?.as_str()?)));
        return match kind {
            Some((name, kind)) => Shape::Json([(format!("/{name}"), json!(kind))].into()),
            None => Shape::Text(text.to_owned()),
        };
    }
    match text.find(['{', '[']) {
        Some(at) if at > 0 => Shape::Text(format!("{}{{message}}", &text[..at])),
        _ => Shape::Text(text.to_owned()),
    }
}

/// A search for the border between what is let pass and what is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Border {
    /// The greatest that is known to pass.
    pub passes: u64,
    /// The smallest that is known not to.
    pub stops: u64,
}

impl Border {
    /// What to try next; none when the border is found.
    pub fn next(self) -> Option<u64> {
        let gap = self.stops.saturating_sub(self.passes);
        (gap > 1).then(|| self.passes + gap / 2)
    }

    /// With what came of one more try.
    #[must_use]
    pub fn with(self, tried: u64, passed: bool) -> Self {
        if passed { Self { passes: tried, ..self } } else { Self { stops: tried, ..self } }
    }
}

/// A refusal that was asked for: why, by which token, and what came.
pub type Refusal = (Class, &'static str, Outcome);

/// How the server refuses.
pub fn refusals(seen: &[Refusal]) -> Vec<Fact> {
    let mut facts = Vec::new();
    let by = |outcome: &Outcome| match outcome {
        Outcome::RefusedHttp(_) | Outcome::OddStatus(_) => Some("http"),
        Outcome::RefusedClose { .. } => Some("close"),
        _ => None,
    };
    let manners: Vec<&str> = seen.iter().filter_map(|(_, _, outcome)| by(outcome)).collect();
    if let Some(first) = manners.first() {
        match manners.iter().all(|other| other == first) {
            true => facts.push(Fact::of(
                "refuses_by",
                *first,
                format!("{} of {} refusals were so", manners.len(), seen.len()),
            )),
            false => facts.push(Fact::noted("it refuses now before the upgrade and now after it, by cause")),
        }
    }
    let mut signals = Map::new();
    let mut told = Vec::new();
    for (class, token, outcome) in seen {
        told.push(format!("{token}: {outcome}"));
        let signal = match outcome {
            Outcome::RefusedHttp(status) => json!({ "http": status }),
            Outcome::RefusedClose { code: Some(code), reason, .. } if reason.is_empty() => json!({ "close": code }),
            Outcome::RefusedClose { code: Some(code), reason, .. } => json!({ "close": code, "reason": reason }),
            _ => continue,
        };
        signals.insert(class.word().to_owned(), signal);
    }
    let evidence = told.join("; ");
    match signals.is_empty() {
        true if seen.is_empty() => {}
        true => facts.push(Fact::noted(evidence)),
        false => facts.push(Fact::of("signals", Value::Object(signals), evidence)),
    }
    facts
}

/// What was seen of a token that is over.
pub fn leeway(border: Option<Border>, longest: u64) -> Fact {
    match border {
        None => Fact::noted(format!(
            "a token that expired {longest} s ago is admitted: `exp` is not looked at, or the leeway is greater than that"
        )),
        Some(Border { passes, stops }) => {
            let seen = match passes {
                0 => "a token that expired 1 s ago is refused".to_owned(),
                _ => format!("a token that expired {passes} s ago is admitted, one of {stops} s is not (to a second)"),
            };
            Fact::of("leeway", passes, seen)
        }
    }
}

/// What was seen of long messages. `largest` is how far it was tried; `end` what came of the first that did not pass.
pub fn longest_message(border: Option<Border>, largest: u64, end: &str) -> Fact {
    match border {
        None => Fact::noted(format!("a message of {largest} bytes is answered; no longer one was tried")),
        Some(Border { passes: 0, .. }) => Fact::noted(format!("no long message was answered: {end}")),
        Some(Border { passes, stops }) => {
            let seen = format!("a message of {passes} bytes is answered, one of {stops} is not: {end}");
            Fact::of("max_message_bytes", passes, seen)
        }
    }
}

/// How the server answers an offer of subprotocols that it cannot know. `None` where it did not answer by 101.
pub fn subprotocol(offered: &[&str], selected: Option<Option<&str>>) -> Fact {
    let offer = offered.join(", ");
    Fact::noted(match selected {
        None => format!("an offer of unknown subprotocols ({offer}) is refused"),
        Some(None) => {
            format!("of unknown subprotocols ({offer}) none is selected, which a browser takes for a failure")
        }
        Some(Some(one)) if offered.first() == Some(&one) => {
            format!("of unknown subprotocols ({offer}) the first comes back: a token that rides there would too")
        }
        Some(Some(one)) => format!("of unknown subprotocols ({offer}) `{}` is selected", printable(one)),
    })
}

/// How this server is called in a profile, and the key that signs its tokens.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// Lines of YAML that say where the key or the token is found.
    pub key: Vec<String>,
    /// The command that was given.
    pub command: String,
}

/// The profile as a text.
pub fn profile(findings: &Findings, head: &Head) -> String {
    let mut text = format!("# Written by `{}`.\n#\n", printable(&head.command));
    text.push_str(
        "# What stands at the left margin says how to speak to the server. What stands under `observed` was seen, once, and\n\
         # binds nobody: no run reads it. Where the server promises such a line, move it to the left margin, and it is held\n\
         # to it from then on. A line that shows a mistake of the server is better mended there.\n",
    );
    let _ = writeln!(text, "url: {}", scalar(&findings.url));
    for line in &head.key {
        text.push_str(line);
        text.push('\n');
    }
    let carrier = serde_json::to_value(&findings.carrier).unwrap_or_default();
    comment(&mut text, "", &findings.carrier_evidence);
    let _ = writeln!(text, "carriers: [{}]", flow(&carrier));
    let _ = writeln!(text, "\nobserved:");
    for fact in &findings.facts {
        comment(&mut text, "  ", &fact.evidence);
        match &fact.field {
            Some((field, Value::Object(members))) if field == "signals" => {
                let _ = writeln!(text, "  {field}:");
                for (name, value) in members {
                    let _ = writeln!(text, "    {name}: {}", flow(value));
                }
            }
            Some((field, value)) => {
                let _ = writeln!(text, "  {field}: {}", flow(value));
            }
            None => {}
        }
    }
    if findings.facts.iter().all(|fact| fact.field.is_none()) {
        // A key without a value would be no mapping.
        text = text.replacen("\nobserved:\n", "\nobserved: {}\n", 1);
    }
    text
}

/// The widest line of a comment.
const WIDTH: usize = 116;

/// A comment in as many lines as it takes. What a server said must not end one.
fn comment(text: &mut String, indent: &str, words: &str) {
    let mut line = String::new();
    for word in printable(words).split(' ') {
        if !line.is_empty() && indent.len() + 3 + line.len() + word.len() > WIDTH {
            let _ = writeln!(text, "{indent}# {line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(text, "{indent}# {line}");
}

/// A value in the flow style of YAML.
fn flow(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            let members: Vec<String> =
                members.map(|(name, value)| format!("{}: {}", scalar(name), flow(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// A text as YAML: plain where it can be taken for nothing else, in double quotes otherwise.
pub fn scalar(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-/.".contains(&byte);
    let notation = text.split_once(':').filter(|(place, _)| matches!(*place, "env" | "file"));
    if notation.is_some_and(|(_, name)| !name.is_empty() && name.bytes().all(plain)) {
        return text.to_owned();
    }
    let begins = text.as_bytes().first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'/');
    let is_word =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    if begins && !is_word && text.bytes().all(plain) {
        return text.to_owned();
    }
    // JSON strings are YAML, but for characters that YAML does not print (YAML 1.2.2 §5.1).
    let mut quoted = String::new();
    for character in Value::from(text).to_string().chars() {
        match u32::from(character) {
            code @ (0x7f..=0x9f | 0x2028 | 0x2029 | 0xfeff | 0xfffe | 0xffff) => {
                let _ = write!(quoted, "\\u{code:04x}");
            }
            _ => quoted.push(character),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::profile::Profile;

    fn told(heard: &[&str], ended: bool) -> Told {
        Told { heard: heard.iter().map(|text| (*text).to_owned()).collect(), ended }
    }

    fn auth() -> FirstMessage {
        FirstMessage { send: "{token}".to_owned(), ..FirstMessage::default() }
    }

    #[test]
    fn a_first_message_is_understood_where_only_a_good_token_is_answered_so() {
        let ok = told(&[r#"{"type":"auth_ok","user":"x"}"#], false);
        let found = understood(&auth(), &ok, &told(&[], true)).expect("understood");
        assert_eq!(found.reply, Some(Shape::Json([("/type".to_owned(), json!("auth_ok"))].into())));
        assert_eq!(found.refused, None);
        let no = told(&[r#"44{"message":"no"}"#], false);
        let found =
            understood(&auth(), &told(&[r#"0{"sid":"a"}"#, r#"40{"sid":"b"}"#], false), &no).expect("understood");
        assert_eq!(found.refused, Some(Shape::Text("44{message}".to_owned())));
        // Whoever answers everybody alike, or ends even a good one, has not understood.
        assert_eq!(understood(&auth(), &ok, &told(&[r#"{"type":"auth_ok","user":"y"}"#], false)), None);
        assert_eq!(understood(&auth(), &told(&["bye"], true), &told(&[], true)), None);
        assert_eq!(understood(&auth(), &told(&[], false), &told(&[], true)), None);
    }

    #[test]
    fn a_border_is_found_in_few_steps() {
        for truth in [0, 1, 59, 300, 3_599] {
            let mut border = Border { passes: 0, stops: 3_600 };
            let mut steps = 0;
            while let Some(tried) = border.next() {
                border = border.with(tried, tried <= truth);
                steps += 1;
            }
            assert_eq!((border.passes, border.stops), (truth, truth + 1));
            assert!(steps <= 12, "{steps}");
        }
        assert_eq!(Border { passes: 9, stops: 3 }.next(), None);
    }

    #[test]
    fn each_cause_has_its_own_signal() {
        let close =
            |code, reason: &str| Outcome::RefusedClose { code: Some(code), reason: reason.to_owned(), data_before: 0 };
        let facts = refusals(&[
            (Class::Missing, "no token", close(4001, "")),
            (Class::Expired, "an expired token", close(4003, "Token expired")),
            (Class::BadSignature, "a forged token", Outcome::Dropped { upgraded: true }),
        ]);
        assert_eq!(facts[0].field, Some(("refuses_by".to_owned(), json!("close"))));
        let signals = json!({ "missing": { "close": 4001 }, "expired": { "close": 4003, "reason": "Token expired" } });
        assert_eq!(facts[1].field, Some(("signals".to_owned(), signals)));
        assert!(facts[1].evidence.contains("a forged token: 101, then the connection ended"), "{}", facts[1].evidence);
        let mixed = refusals(&[
            (Class::Missing, "no token", Outcome::RefusedHttp(401)),
            (Class::Expired, "an expired token", close(1008, "")),
        ]);
        assert_eq!(mixed[0].field, None);
        assert_eq!(refusals(&[]), []);
    }

    fn findings(carrier: Carrier, facts: Vec<Fact>) -> Findings {
        Findings { carrier, url: "ws://h/ws?token={token}".to_owned(), carrier_evidence: "seen".to_owned(), facts }
    }

    #[test]
    fn nothing_that_was_seen_is_a_promise() {
        let facts = vec![
            Fact::of("leeway", 30, "x"),
            Fact::of("refuses_by", "http", "y"),
            Fact::of("signals", json!({ "missing": { "http": 401 } }), "z"),
            Fact::noted("pings are answered"),
        ];
        let text = profile(&findings(Carrier::Query("token".to_owned()), facts), &Head::default());
        let read = Profile::from_yaml("probed.yaml", &text).unwrap_or_else(|found| panic!("{found}\n{text}"));
        assert_eq!((read.leeway, read.refuses_by, read.signals.len()), (None, None, 0));
        let seen = read.observed.expect("what was seen");
        assert_eq!((seen.leeway, seen.signals.len()), (Some(30), 1));
        // A line that is moved to the margin counts.
        let promised = text.replace("  leeway: 30\n", "").replace("\nobserved:", "\nleeway: 30\nobserved:");
        assert_eq!(Profile::from_yaml("probed.yaml", &promised).expect("a profile").leeway, Some(30));
        let none = profile(&findings(Carrier::Path, vec![Fact::noted("x")]), &Head::default());
        assert!(Profile::from_yaml("probed.yaml", &none).is_ok(), "{none}");
    }

    proptest! {
        #[test]
        fn whatever_a_server_says_reads_back(said in "\\PC{0,40}|[\\x00-\\x9f]{0,20}", evidence in any::<String>()) {
            let echo = json!({ "send": said, "reply": { "text": said } });
            let first = FirstMessage { send: format!("{said}{{token}}"), ..FirstMessage::default() };
            let facts = vec![Fact::of("echo", echo, evidence.clone()), Fact::noted(evidence)];
            let carrier = Carrier::FirstMessage(first);
            let text = profile(&findings(carrier.clone(), facts), &Head::default());
            let read = Profile::from_yaml("probed.yaml", &text);
            prop_assert!(read.is_ok(), "{:?}\n{text}", read.err());
            let read = read.unwrap_or_default();
            prop_assert_eq!(&read.carriers, &vec![carrier]);
            let echo = read.observed.and_then(|seen| seen.echo).map(|echo| echo.send);
            prop_assert_eq!(echo, Some(said));
        }
    }
}
