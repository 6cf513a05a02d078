//! What a text gives as a secret, so that no message about the text quotes it.
//!
//! A text that cannot be read as YAML is looked at line by line, and may be anything. In doubt more is hidden: a message
//! that hides a harmless word still says where the mistake is.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::document::{Document, printable};
use crate::redact::Redactor;
use crate::secret::SecretBytes;

/// Finds what texts give as a secret.
pub(super) fn secrets_in<'a>(texts: impl IntoIterator<Item = &'a str>) -> Redactor {
    let mut found = Found::default();
    for text in texts {
        found.lines(text);
        // What an escape stands for, or several lines together, is in no line.
        if let Ok(document) = Document::parse("a text", text) {
            found.tree(document.value(), Kind::Plain);
        }
    }
    let secrets: Vec<SecretBytes> = found.0.into_iter().map(SecretBytes::new).collect();
    Redactor::for_secrets(&secrets)
}

/// What the name of a key says of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// No secret.
    Plain,
    /// A token, the place of one in an answer, or how one is made.
    Token,
    /// A secret, with everything in it.
    Secret,
}

impl Kind {
    fn of(key: &str) -> Self {
        let key = key.to_ascii_lowercase();
        match key.as_str() {
            // What stands under `keys` has names of its own.
            "keys" | "token_type" | "max_token_age" | "max_token_lifetime" => return Self::Plain,
            "literal" => return Self::Secret,
            _ => {}
        }
        match key {
            _ if ["sec", "key", "pass", "pw", "private", "authorization"].iter().any(|word| key.contains(word)) => {
                Self::Secret
            }
            _ if key.contains("token") => Self::Token,
            _ => Self::Plain,
        }
    }
}

/// Where the lines after a key may go on with its secret.
#[derive(Debug, Clone, Copy)]
struct Open {
    kind: Kind,
    /// The column of the key: what stands to the right of it belongs to it.
    column: usize,
    /// The quote or bracket that ends it, wherever that stands.
    until: Option<char>,
    /// Whether it is the line after the key, which may lack its indentation.
    is_first: bool,
}

/// The texts that must not be shown.
#[derive(Debug, Default)]
struct Found(BTreeSet<String>);

impl Found {
    /// Takes one, unless it says where a secret is, or is too short to be told from ordinary words.
    fn add(&mut self, text: &str, kind: Kind) {
        let text = text.trim().trim_matches(['"', '\'']).trim();
        let is_recipe = kind == Kind::Token && ["valid", "absent", "empty"].contains(&text);
        // The place of a token in an answer is none.
        let is_pointer = kind == Kind::Token && text.starts_with('/');
        if text.len() < 6 || is_recipe || is_pointer || names_a_place(text) || stands_for_another(text) {
            return;
        }
        // A message shows it so.
        self.0.insert(printable(text));
        self.0.insert(text.to_owned());
    }

    /// The same of each part that some reader might take for the secret.
    fn parts(&mut self, text: &str, kind: Kind) {
        if stands_for_another(text) {
            return;
        }
        self.add(text, kind);
        let text = text.trim_start_matches(['|', '>', '&', '*', '!']);
        let before_comment = text.split(" #").next().unwrap_or(text);
        self.add(before_comment.trim_end().trim_end_matches([',', ']', '}', ' ']), kind);
        for part in text.split(" #") {
            for part in part.split([',', '[', ']', '{', '}', '"', '\'']) {
                self.add(part, kind);
                // The secret may be the key, where something is wrong.
                if !names_a_place(part.trim()) {
                    part.split(": ").for_each(|part| self.add(part.trim_end().trim_end_matches(':'), kind));
                }
            }
        }
    }

    /// What a document that can be read means.
    fn tree(&mut self, value: &Value, kind: Kind) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    if kind == Kind::Secret {
                        self.add(name, kind);
                    }
                    // How a token is made is told in a mapping, whose names say which part of it is secret.
                    let inherited = if kind == Kind::Secret { kind } else { Kind::of(name) };
                    self.tree(member, inherited);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.tree(item, kind)),
            Value::String(text) if kind != Kind::Plain => self.add(text, kind),
            Value::Number(number) if kind != Kind::Plain => self.add(&number.to_string(), kind),
            _ => {}
        }
    }

    fn lines(&mut self, text: &str) {
        let mut open: Option<Open> = None;
        for line in text.split(['\n', '\r']).filter(|line| !line.trim().is_empty()) {
            open = open.and_then(|open| self.go_on(open, line));
            let mut start = 0;
            for (at, delimiter) in line.char_indices().filter(|(_, letter)| "{[,:".contains(*letter)) {
                if delimiter == ':' {
                    let key = &line[start..at];
                    let name = key.trim().trim_start_matches(['-', '?', ' ']).trim_matches(['"', '\'']);
                    let kind = Kind::of(name);
                    if kind != Kind::Plain {
                        let column = start + key.find(name).unwrap_or_default();
                        let is_flow = line[..at].contains(['{', '[']);
                        let until = self.value(&line[at + 1..], kind, is_flow);
                        // A line that goes on with a list or a text holds no key of its own.
                        if open.is_none_or(|open| open.until.is_none()) {
                            open = Some(Open { kind, column, until, is_first: true });
                        }
                    }
                }
                start = at + 1;
            }
        }
    }

    /// What stands behind a key, up to the next key or the end of the line; and what ends it, where that stands on a
    /// later line.
    fn value(&mut self, rest: &str, kind: Kind, is_flow: bool) -> Option<char> {
        let rest = rest.trim();
        if kind == Kind::Token && rest.starts_with('{') {
            return None;
        }
        if let Some(quote) = rest.chars().next().filter(|first| "\"'".contains(*first)) {
            let Some(end) = closing(&rest[1..], quote) else {
                self.parts(rest, kind);
                return Some(quote);
            };
            let (inside, behind) = rest[1..].split_at(end);
            self.parts(inside, kind);
            // Whatever else stands there has no business there, or is the next key.
            let behind = &behind[1..];
            self.parts(&behind[..next_key(behind)], kind);
            return None;
        }
        let end = if is_flow { next_key(rest) } else { rest.len() };
        self.parts(&rest[..end], kind);
        match rest.chars().next() {
            Some('[') if !rest.contains(']') => Some(']'),
            Some('{') if !rest.contains('}') => Some('}'),
            _ => None,
        }
    }

    /// Takes a line that goes on with what was begun above it. None where that has ended.
    fn go_on(&mut self, open: Open, line: &str) -> Option<Open> {
        let text = line.trim_start();
        let next = Some(Open { is_first: false, ..open });
        if let Some(until) = open.until {
            self.parts(text, open.kind);
            return next.filter(|_| !text.contains(until));
        }
        if text.starts_with('#') {
            return Some(open);
        }
        let indent = line.len() - text.len();
        let item = text.strip_prefix("- ");
        let is_named = text.contains(": ") || text.ends_with(':');
        let is_below = indent > open.column || (indent == open.column && item.is_some());
        let goes_on = match open.kind {
            // How a token is made.
            Kind::Token => !is_named && item.is_none(),
            _ => true,
        };
        if (is_below && goes_on) || (open.is_first && !is_named) {
            self.parts(item.unwrap_or(text), open.kind);
            return next;
        }
        None
    }
}

/// Whether a text says where a secret is, and is none itself.
fn names_a_place(text: &str) -> bool {
    // The first of a list tells of what kind they are; each is looked at by itself as well.
    let text = text.trim_start_matches(['[', '"', '\'', ' ']);
    let place = ["hex:", "base64:", "base64url:"].iter().find_map(|how| text.strip_prefix(how)).unwrap_or(text);
    ["env:", "file:"].iter().any(|word| place.starts_with(word))
}

/// Whether a text stands for one that only a run knows: `{refresh_token}`, `${kept.pass}`.
fn stands_for_another(text: &str) -> bool {
    let is_name = |name: &str| name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
    let kept = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    kept.is_some_and(is_name) || ["{refresh_token}", "{token}"].contains(&text)
}

/// Where the quote that was opened before this text is closed.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' if quote == '"' => {
                letters.next();
            }
            '\'' if quote == '\'' && letters.next_if(|(_, next)| *next == '\'').is_some() => {}
            _ if letter == quote => return Some(at),
            _ => {}
        }
    }
    None
}

/// Where the comma stands behind which a flow mapping goes on with its next key; the end, where it does not.
fn next_key(text: &str) -> usize {
    let is_before_key = |at: &usize| {
        let rest = &text[at + 1..];
        rest.find([':', ',', '{', '}', '[', ']']).is_some_and(|next| rest[next..].starts_with(':'))
    };
    text.match_indices(',').map(|(at, _)| at).find(is_before_key).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_gives_as_a_secret_is_hidden_wherever_it_stands() {
        for (text, parts) in [
            ("secret: hunter2,hunter3 # mine\n", &["hunter2,hunter3", "hunter2"][..]),
            ("{a: 1, \"secret\" : 'it''s hunter2, b: 3', c: 1}\n", &["it''s hunter2, b: 3"]),
            ("{secret: hunter2,hunter3hunter, foo: 1}", &["hunter2", "hunter3hunter"]),
            ("{password: hunter2}hunter3 }", &["hunter2}hunter3", "hunter3"]),
            ("old_keys: [hunter2, 'hunter3'\n , hunter4 ]\n", &["hunter2", "hunter3", "hunter4"]),
            ("retired_secrets: [\nhunter2,\nhunter3\n]\n", &["hunter2", "hunter3"]),
            ("retired_secrets:\n- hunter2: x\n- \"hunter3\n", &["hunter2", "hunter3"]),
            ("x:\n  - secret: |-\n      hunter2\n      hunter3\n", &["hunter2", "hunter3"]),
            ("secret: |\nhunter2\n", &["hunter2"]),
            ("secret: \"hunter2\n\nhunter3\" x\n", &["hunter2", "hunter3"]),
            ("secret: \"hun\\x74er2\"\n", &["hun\\x74er2", "hunter2"]),
            ("secret: hunter2\n  and hunter3\n", &["hunter2 and hunter3", "and hunter3"]),
            ("secret: { hunter2: hunter3 }\n", &["hunter2", "hunter3"]),
            ("secret: {hunter2}\npassword: '{hunter3}'\n", &["hunter2", "hunter3"]),
            ("secret: 123456789\n", &["123456789"]),
            ("secret: \"hun\ter2\"\n", &["hun    er2"]),
            ("keys: { private: [\"hunter2\"] }\n", &["hunter2"]),
            ("token:\n  hunter2\n", &["hunter2"]),
            ("my secret is: hunter2\r", &["hunter2"]),
            ("steps: [{ open: { token: { literal: hunter2 } } }]\n", &["hunter2"]),
            ("headers: { Authorization: Basic aHVudGVyMg, X: [ }", &["Basic aHVudGVyMg"]),
        ] {
            let redactor = secrets_in([text]);
            for part in parts {
                assert_eq!(redactor.redact(&format!("<{part}>")), "<[secret]>", "{text}");
            }
        }
        // Each text is read by itself.
        let redactor = secrets_in(["secret: hunter2\n", "secret: \"hun\\x74er3\"\n"]);
        assert_eq!(redactor.redact("hunter2 hunter3"), "[secret] [secret]");
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        let text = "url: ws://127.0.0.1:8000/ws\nsecret: base64:env:JWT_SECRET\nkeys:\n  private: [\"file:keys/private.pem\"]\n  \
                    publik: [\"file:keys/public.pem\"]\ntoken_type: at+jwt\nlogin:\n  token: /access_token\n  \
                    refresh: { url: /api/refresh, json: { refresh_token: \"{refresh_token}\" } }\n  form: { password: env:PASSWORD, user: alice-in }\n\
                    steps:\n  - open: { token: absent, as: forger }\n  - open:\n      token:\n        forge:\n          - sign_with: another\n";
        let redactor = secrets_in([text]);
        for line in text.lines() {
            assert_eq!(redactor.redact(line), line);
        }
    }
}
