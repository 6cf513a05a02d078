//! A JSON object as text to be written: members in order, duplicates and broken values included, in any of the
//! legal styles and illegal syntaxes of `ops`. It writes only; the strict reader is `json`, and the two share
//! no code, so that neither can hide the other's mistake.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::ops::{Encoding, Style, Syntax};

/// A value to be written.
#[derive(Debug, Clone, PartialEq)]
enum Content {
    Json(Value),
    Literal(String),
}

#[derive(Debug, Clone, PartialEq)]
struct Member {
    name: String,
    content: Content,
}

/// Stands for the byte ff until the text is turned into bytes. U+FDD0 is a noncharacter: no honest value holds it.
const BAD_BYTE: char = '\u{fdd0}';

/// One JSON object, or the bytes that replace it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Document {
    members: Vec<Member>,
    raw: Vec<String>,
    replaced: Option<Vec<u8>>,
    styles: Vec<Style>,
    order: Vec<String>,
    syntax: Option<Syntax>,
    encoding: Option<Encoding>,
    bom: bool,
    trailing: String,
    escape_periods: bool,
}

impl Document {
    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.put(name, Content::Json(value));
    }

    pub(crate) fn set_default(&mut self, name: &str, value: Value) {
        if !self.has(name) {
            self.set(name, value);
        }
    }

    pub(crate) fn set_literal(&mut self, name: &str, text: String) {
        self.put(name, Content::Literal(text));
    }

    fn put(&mut self, name: &str, content: Content) {
        match self.members.iter_mut().find(|member| member.name == name) {
            Some(member) => member.content = content,
            None => self.members.push(Member { name: name.to_owned(), content }),
        }
    }

    pub(crate) fn set_all(&mut self, map: Map<String, Value>) {
        for (name, value) in map {
            self.set(&name, value);
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.iter().any(|member| member.name == name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.members.iter().find(|member| member.name == name).and_then(|member| match &member.content {
            Content::Json(value) => Some(value),
            Content::Literal(_) => None,
        })
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.members.retain(|member| member.name != name);
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        for member in &mut self.members {
            if member.name == from {
                to.clone_into(&mut member.name);
            }
        }
    }

    pub(crate) fn add_first(&mut self, map: Map<String, Value>) {
        let first = map.into_iter().map(|(name, value)| Member { name, content: Content::Json(value) });
        self.members.splice(0..0, first);
    }

    pub(crate) fn add_last(&mut self, map: Map<String, Value>) {
        self.members.extend(map.into_iter().map(|(name, value)| Member { name, content: Content::Json(value) }));
    }

    pub(crate) fn add_raw(&mut self, text: String) {
        self.raw.push(text);
    }

    pub(crate) fn add_style(&mut self, style: Style) {
        self.styles.push(style);
    }

    pub(crate) fn set_order(&mut self, names: &[String]) {
        self.order = names.to_vec();
    }

    pub(crate) fn set_syntax(&mut self, syntax: Syntax) {
        self.syntax = Some(syntax);
    }

    pub(crate) fn set_encoding(&mut self, encoding: Encoding) {
        self.encoding = Some(encoding);
    }

    pub(crate) fn set_bom(&mut self) {
        self.bom = true;
    }

    pub(crate) fn add_trailing(&mut self, text: &str) {
        self.trailing.push_str(text);
    }

    pub(crate) fn replace(&mut self, bytes: Vec<u8>) {
        self.replaced = Some(bytes);
    }

    /// Writes every period inside a string as `\u002e`, for payloads that may not contain one (RFC 7797 §5.2).
    pub(crate) fn escape_periods(&mut self) {
        self.escape_periods = true;
    }

    pub(crate) fn spoil_utf8(&mut self, name: &str) {
        let text = match self.get(name) {
            Some(Value::String(text)) => text.clone(),
            _ => String::new(),
        };
        self.set(name, Value::String(format!("{text}{BAD_BYTE}")));
    }

    /// The bytes, before base64url.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = match (&self.replaced, self.encoding) {
            (Some(bytes), _) => bytes.clone(),
            (None, None) => without_bad_byte(self.text()),
            (None, Some(encoding)) => encode(&self.text(), encoding),
        };
        if self.bom {
            bytes.splice(0..0, [0xef, 0xbb, 0xbf]);
        }
        if self.encoding.is_none() || self.replaced.is_some() {
            bytes.extend_from_slice(self.trailing.as_bytes());
        }
        bytes
    }

    fn has_style(&self, style: Style) -> bool {
        self.styles.contains(&style)
    }

    fn text(&self) -> String {
        let mut members: Vec<&Member> = self.members.iter().collect();
        if self.has_style(Style::Reversed) {
            members.reverse();
        }
        // A stable sort: what is not named keeps its place behind what is.
        members
            .sort_by_key(|member| self.order.iter().position(|name| *name == member.name).unwrap_or(self.order.len()));
        let (open, comma, close) = if self.has_style(Style::Pretty) {
            ("{\n  ", ",\n  ", "\n}")
        } else if self.has_style(Style::Tabs) {
            ("{\n\t", ",\n\t", "\n}\n")
        } else if self.has_style(Style::Crlf) {
            ("{", ",\r\n ", "}")
        } else if self.has_style(Style::Spaced) {
            (" { ", " , ", " } ")
        } else {
            ("{", ",", "}")
        };
        let mut out = String::with_capacity(512);
        out.push_str(open);
        let mut raw: Vec<&str> = self.raw.iter().map(String::as_str).collect();
        match self.syntax {
            Some(Syntax::LineComment) => out.push_str("// gatecrash\n"),
            Some(Syntax::BlockComment) => out.push_str("/* gatecrash */"),
            Some(Syntax::RawControl) => raw.push("\"gatecrash\":\"a\nb\""),
            _ => {}
        }
        let colon = if self.has_style(Style::Spaced) { " : " } else { ":" };
        for (position, member) in members.iter().enumerate() {
            if position > 0 {
                out.push_str(comma);
            }
            self.push_name(&mut out, &member.name);
            out.push_str(colon);
            match &member.content {
                Content::Json(value) => self.push_value(&mut out, value),
                Content::Literal(text) => out.push_str(text),
            }
        }
        for (position, text) in raw.iter().enumerate() {
            if position + members.len() > 0 {
                out.push_str(comma);
            }
            out.push_str(text);
        }
        if self.syntax == Some(Syntax::TrailingComma) {
            out.push(',');
        }
        if self.syntax != Some(Syntax::Unclosed) {
            out.push_str(close);
        }
        if self.encoding.is_some() {
            out.push_str(&self.trailing);
        }
        out
    }

    fn push_name(&self, out: &mut String, name: &str) {
        if self.syntax == Some(Syntax::UnquotedNames) {
            out.push_str(name);
        } else if self.has_style(Style::EscapeNames) {
            self.push_string(out, name, 1);
        } else {
            self.push_string(out, name, 0);
        }
    }

    /// A string, of which so many characters are written as `\u` escapes from the front.
    fn push_string(&self, out: &mut String, text: &str, escaped: usize) {
        let quote = if self.syntax == Some(Syntax::SingleQuotes) { '\'' } else { '"' };
        let escapes_slashes = self.has_style(Style::EscapeSlashes);
        out.push(quote);
        for (position, character) in text.chars().enumerate() {
            match character {
                _ if position < escaped => out.push_str(&escape(character)),
                '"' | '\\' => out.extend(['\\', character]),
                '/' if escapes_slashes => out.push_str("\\/"),
                '.' if self.escape_periods => out.push_str("\\u002e"),
                '\0'..='\u{1f}' => out.push_str(&escape(character)),
                _ => out.push(character),
            }
        }
        out.push(quote);
    }

    fn push_value(&self, out: &mut String, value: &Value) {
        match value {
            Value::String(text) => {
                let escaped = if self.has_style(Style::EscapeValues) { usize::MAX } else { 0 };
                self.push_string(out, text, escaped);
            }
            Value::Array(items) => {
                out.push('[');
                for (position, item) in items.iter().enumerate() {
                    if position > 0 {
                        out.push(',');
                    }
                    self.push_value(out, item);
                }
                out.push(']');
            }
            Value::Object(members) => {
                out.push('{');
                for (position, (name, value)) in members.iter().enumerate() {
                    if position > 0 {
                        out.push(',');
                    }
                    self.push_string(out, name, 0);
                    out.push(':');
                    self.push_value(out, value);
                }
                out.push('}');
            }
            Value::Number(number) => {
                let _ = write!(out, "{number}");
            }
            Value::Bool(is) => out.push_str(if *is { "true" } else { "false" }),
            Value::Null => out.push_str("null"),
        }
    }
}

/// The `\u` escape of a character, as a surrogate pair where it needs one.
fn escape(character: char) -> String {
    if character == BAD_BYTE {
        return character.to_string();
    }
    let mut units = [0; 2];
    character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

fn without_bad_byte(text: String) -> Vec<u8> {
    if !text.contains(BAD_BYTE) {
        return text.into_bytes();
    }
    let mut bytes = Vec::with_capacity(text.len());
    for (position, piece) in text.split(BAD_BYTE).enumerate() {
        if position > 0 {
            bytes.push(0xff);
        }
        bytes.extend_from_slice(piece.as_bytes());
    }
    bytes
}

fn encode(text: &str, encoding: Encoding) -> Vec<u8> {
    let little = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let big = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
    match encoding {
        Encoding::Utf16le => little(text),
        Encoding::Utf16be => big(text),
        Encoding::Utf16leBom => little(&format!("\u{feff}{text}")),
        Encoding::Utf16beBom => big(&format!("\u{feff}{text}")),
        Encoding::Utf32le => text.chars().flat_map(|character| u32::from(character).to_le_bytes()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample() -> Document {
        let mut document = Document::default();
        document.set("alg", json!("HS256"));
        document.set("x", json!({"a": ["/\"\u{1}", 1.5, null]}));
        document
    }

    fn text(document: &Document) -> String {
        String::from_utf8(document.bytes()).expect("UTF-8")
    }

    #[test]
    fn plain_is_compact_and_equal_to_the_values() {
        assert_eq!(text(&sample()), r#"{"alg":"HS256","x":{"a":["/\"\u0001",1.5,null]}}"#);
    }

    #[test]
    fn every_style_is_the_same_json() {
        let plain: Value = serde_json::from_slice(&sample().bytes()).expect("JSON");
        for style in [
            Style::Spaced,
            Style::Pretty,
            Style::Crlf,
            Style::Tabs,
            Style::Reversed,
            Style::EscapeNames,
            Style::EscapeValues,
            Style::EscapeSlashes,
        ] {
            let mut document = sample();
            document.add_style(style);
            assert_ne!(document.bytes(), sample().bytes(), "{style:?}");
            let read: Value = serde_json::from_slice(&document.bytes()).expect("JSON");
            assert_eq!(read, plain, "{style:?}");
        }
    }

    #[test]
    fn every_syntax_is_no_json() {
        for syntax in [
            Syntax::LineComment,
            Syntax::BlockComment,
            Syntax::TrailingComma,
            Syntax::SingleQuotes,
            Syntax::UnquotedNames,
            Syntax::RawControl,
            Syntax::Unclosed,
        ] {
            let mut document = sample();
            document.set_syntax(syntax);
            assert!(serde_json::from_slice::<Value>(&document.bytes()).is_err(), "{syntax:?}");
        }
    }

    #[test]
    fn bad_bytes_duplicates_and_order() {
        let mut document = Document::default();
        document.set("a", json!("v"));
        document.spoil_utf8("a");
        assert_eq!(document.bytes(), b"{\"a\":\"v\xff\"}");

        let mut document = sample();
        document.remove("x");
        document.add_first(Map::from_iter([("alg".to_owned(), json!("none"))]));
        document.add_raw("\"y\":1e400".into());
        assert_eq!(text(&document), r#"{"alg":"none","alg":"HS256","y":1e400}"#);
        document.set_order(&["y".into()]);
        document.add_style(Style::EscapeNames);
        assert!(text(&document).starts_with(r#"{"\u0061lg":"none""#));
    }
}
