//! The oracle's own strict JSON reader (RFC 8259). It keeps what other readers throw away and verdicts depend
//! on: duplicate members, the text of numbers, lone surrogates. It is total, bounds its depth, and shares no
//! code with the writer.

use serde_json::Value;

/// How deep values may be nested. RFC 8259 §9 lets a parser set such a limit, so beyond it nothing is certain.
pub(crate) const DEPTH_LIMIT: usize = 64;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    Array(Vec<Json>),
    Object(Object),
}

/// A number as it was written, and as the nearest f64; infinite when it is beyond all of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Number {
    pub(crate) text: String,
    pub(crate) value: f64,
}

/// Members in their order, duplicates included.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Object(Vec<(String, Json)>);

impl Json {
    /// Whether a number in it, at any depth, is beyond what a double holds.
    pub(crate) fn is_out_of_range(&self) -> bool {
        match self {
            Self::Number(number) => number.value.is_infinite(),
            Self::Array(items) => items.iter().any(Self::is_out_of_range),
            Self::Object(object) => object.0.iter().any(|(_, value)| value.is_out_of_range()),
            Self::Null | Self::Bool(_) | Self::Text(_) => false,
        }
    }

    /// Whether it is this value. Numbers are compared as doubles, members whatever their order.
    pub(crate) fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(own), Value::Bool(other)) => own == other,
            (Self::Number(own), Value::Number(other)) => other.as_f64() == Some(own.value),
            (Self::Text(own), Value::String(other)) => own == other,
            (Self::Array(own), Value::Array(other)) => {
                own.len() == other.len() && own.iter().zip(other).all(|(own, other)| own.is(other))
            }
            (Self::Object(own), Value::Object(other)) => {
                own.0.len() == other.len()
                    && other.iter().all(|(name, value)| own.get(name).is_some_and(|own| own.is(value)))
            }
            _ => false,
        }
    }
}

impl Object {
    /// The lexically last member of this name (RFC 7515 §4, RFC 7519 §4).
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value)
    }
}

/// A whole text, and what is odd about it without being wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    pub(crate) value: Json,
    /// A name that occurs twice in one object, and where the second begins.
    pub(crate) duplicate: Option<(String, usize)>,
    /// Where a `\u` escape names half of a surrogate pair (RFC 8259 §8.2).
    pub(crate) lone_surrogate: Option<usize>,
}

/// Why a text is no JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) position: usize,
    pub(crate) kind: FaultKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    NotUtf8,
    Syntax,
    /// A whole value, then something else.
    Trailing,
    TooDeep,
}

pub(crate) fn read(bytes: &[u8]) -> Result<Document, Fault> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Fault { position: error.valid_up_to(), kind: FaultKind::NotUtf8 })?;
    let mut reader = Reader { text, at: 0, duplicate: None, lone_surrogate: None };
    reader.space();
    let value = reader.value(0)?;
    reader.space();
    if reader.at < text.len() {
        return Err(reader.fault(FaultKind::Trailing));
    }
    Ok(Document { value, duplicate: reader.duplicate, lone_surrogate: reader.lone_surrogate })
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    duplicate: Option<(String, usize)>,
    lone_surrogate: Option<usize>,
}

impl Reader<'_> {
    fn fault(&self, kind: FaultKind) -> Fault {
        Fault { position: self.at, kind }
    }

    fn syntax<T>(&self) -> Result<T, Fault> {
        Err(self.fault(FaultKind::Syntax))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, Fault> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(value)
        } else {
            self.syntax()
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, Fault> {
        match self.peek() {
            Some(b'n') => self.word("null", Json::Null),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            Some(b'[' | b'{') if depth >= DEPTH_LIMIT => Err(self.fault(FaultKind::TooDeep)),
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            _ => self.syntax(),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            self.space();
            items.push(self.value(depth + 1)?);
            self.space();
            if self.take(b']') {
                return Ok(Json::Array(items));
            }
            if !self.take(b',') {
                return self.syntax();
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, Fault> {
        self.at += 1;
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut names = std::collections::HashSet::new();
        self.space();
        if self.take(b'}') {
            return Ok(Json::Object(Object(members)));
        }
        loop {
            self.space();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return self.syntax();
            }
            let name = self.string()?;
            if !names.insert(name.clone()) && self.duplicate.is_none() {
                self.duplicate = Some((name.clone(), start));
            }
            self.space();
            if !self.take(b':') {
                return self.syntax();
            }
            self.space();
            let value = self.value(depth + 1)?;
            members.push((name, value));
            self.space();
            if self.take(b'}') {
                return Ok(Json::Object(Object(members)));
            }
            if !self.take(b',') {
                return self.syntax();
            }
        }
    }

    fn string(&mut self) -> Result<String, Fault> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
            out.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                // The end, or a raw control character (RFC 8259 §7).
                _ => return self.syntax(),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let start = self.at;
        let Some(letter) = self.peek() else {
            return self.syntax();
        };
        self.at += 1;
        Ok(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.hex4()?;
                if let Some(character) = char::from_u32(unit) {
                    return Ok(character);
                }
                if unit < 0xdc00 && self.text[self.at..].starts_with("\\u") {
                    let back = self.at;
                    self.at += 2;
                    let low = self.hex4()?;
                    if (0xdc00..0xe000).contains(&low) {
                        let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                        return char::from_u32(code).ok_or_else(|| self.fault(FaultKind::Syntax));
                    }
                    self.at = back;
                }
                self.lone_surrogate.get_or_insert(start);
                char::REPLACEMENT_CHARACTER
            }
            _ => {
                self.at = start;
                return self.syntax();
            }
        })
    }

    fn hex4(&mut self) -> Result<u32, Fault> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let value = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit)).and_then(|digits| {
            std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok())
        });
        match value {
            Some(value) => {
                self.at += 4;
                Ok(value)
            }
            None => self.syntax(),
        }
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { self.syntax() } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Number, Fault> {
        let start = self.at;
        self.take(b'-');
        // No leading zeros (RFC 8259 §6).
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        // Rust reads every JSON number; beyond the range it gives an infinity.
        let value = text.parse().map_err(|_| Fault { position: start, kind: FaultKind::Syntax })?;
        Ok(Number { text: text.to_owned(), value })
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use proptest::prelude::*;

    fn kind(text: &str) -> Result<(), FaultKind> {
        read(text.as_bytes()).map(|_| ()).map_err(|fault| fault.kind)
    }

    #[test]
    fn it_is_strict() {
        for text in [
            "",
            "{",
            "{}}",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "{'a':1}",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "-",
            "NaN",
            "Infinity",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "// c\n{}",
            "{}x",
            "{} {}",
            "nul",
            "\u{feff}{}",
            "[1 2]",
            "{\"a\" 1}",
        ] {
            assert!(kind(text).is_err(), "{text:?}");
        }
        for text in ["{}", " [ ] ", "0", "-0.5e+3", "\"\\/\\u00e9\u{1f600}\"", "null", "{\"a\":{\"b\":[true,false]}}"] {
            assert_eq!(kind(text), Ok(()), "{text:?}");
        }
        assert_eq!(kind("{}x"), Err(FaultKind::Trailing));
        assert_eq!(read(b"\"\xff\"").map_err(|fault| fault.kind), Err(FaultKind::NotUtf8));
    }

    #[test]
    fn duplicates_surrogates_depth_and_numbers_are_told() {
        let document = read(br#"{"a":1,"\u0061":2}"#).expect("JSON");
        assert_eq!(document.duplicate, Some(("a".into(), 7)));
        let Json::Object(object) = document.value else { panic!("object") };
        assert!(matches!(object.get("a"), Some(Json::Number(number)) if number.value == 2.0));

        assert_eq!(read(br#""\ud800""#).expect("JSON").lone_surrogate, Some(2));
        assert_eq!(read(br#""\ud800\u0041""#).expect("JSON").value, Json::Text("\u{fffd}A".into()));
        assert_eq!(read(br#""\ud83d\ude00""#).expect("JSON").value, Json::Text("\u{1f600}".into()));

        let deep = |depth: usize| kind(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        assert_eq!(deep(DEPTH_LIMIT), Ok(()));
        assert_eq!(deep(DEPTH_LIMIT + 1), Err(FaultKind::TooDeep));
        assert_eq!(deep(1_000_000), Err(FaultKind::TooDeep));

        let Json::Number(number) = read(b"1e400").expect("JSON").value else { panic!("number") };
        assert!(number.value.is_infinite() && number.text == "1e400");
    }

    proptest! {
        #[test]
        fn it_never_panics_and_agrees_with_another_reader(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let ours = read(&bytes).is_ok();
            let theirs = serde_json::from_slice::<Value>(&bytes).is_ok();
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn it_agrees_on_texts_that_are_nearly_json(text in r#"[\[\]{},:"0-9eE+.\\untrfals -]{0,24}"#) {
            let theirs = match serde_json::from_str::<Value>(&text) {
                Ok(_) => true,
                // The two limits of serde_json that are no rules of JSON.
                Err(error) if error.to_string().contains("number out of range") => return Ok(()),
                Err(error) if error.to_string().contains("surrogate") || error.to_string().contains("hex escape") => return Ok(()),
                Err(_) => false,
            };
            prop_assert_eq!(kind(&text).is_ok(), theirs, "{}", text);
        }
    }
}
