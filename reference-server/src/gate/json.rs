//! One strict JSON object: what a header and a claims set have to be (RFC 7515 §4, RFC 7519 §4).
//!
//! Beyond RFC 8259 it refuses a member name that appears twice, at any depth and after unescaping, because two
//! readers of such an object may see two different tokens. A byte order mark, anything after the object, and a
//! number no `f64` can hold are refused too. Depth is bounded by `serde_json` (128), so that no input exhausts
//! the stack. It has no lenient mode: those variants live in `lenient`.
//!
//! What is read are [`Members`], whose names and texts are still those of the input: a decision looks at a few of them
//! and keeps one or two. Who needs more makes an [`Object`] of them, which owns all it says.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A JSON object as `serde_json` holds it.
pub(super) type Object = Map<String, Value>;

/// Up to so many names are compared each with each; more are sorted, so that no object costs the square of its length.
const FEW_NAMES: usize = 16;

/// Reads `bytes` as one object and nothing more.
pub(super) fn object(bytes: &[u8]) -> Result<Object, &'static str> {
    members(bytes).map(Members::into_object)
}

/// As [`object`], without copying what the bytes say.
pub(super) fn members(bytes: &[u8]) -> Result<Members<'_>, &'static str> {
    // serde_json checks only the strings it keeps; all of it must be UTF-8 (RFC 7519 §7.2, step 10).
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = Members::deserialize(&mut reader).map_err(reason)?;
    reader.end().map_err(|_| "more after the JSON object")?;
    Ok(members)
}

fn reason(error: serde_json::Error) -> &'static str {
    if error.is_data() { "not a JSON object, or one with a repeated member" } else { "not JSON" }
}

/// The members of an object, in the order of the text. No name is there twice.
#[derive(Debug, Default)]
pub(super) struct Members<'t>(Vec<(Cow<'t, str>, Member<'t>)>);

/// A value in which no object has repeated members.
#[derive(Debug)]
pub(super) enum Member<'t> {
    Null,
    Bool(bool),
    Number(Number),
    /// Owned only where it had to be unescaped.
    Text(Cow<'t, str>),
    Array(Vec<Member<'t>>),
    Object(Members<'t>),
}

impl<'t> Members<'t> {
    pub(super) fn get(&self, name: &str) -> Option<&Member<'t>> {
        self.0.iter().find_map(|(known, value)| (known == name).then_some(value))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// Everything, owned.
    pub(super) fn into_object(self) -> Object {
        self.0.into_iter().map(|(name, value)| (name.into_owned(), value.into_value())).collect()
    }

    fn has_repeated_name(&self) -> bool {
        if self.0.len() <= FEW_NAMES {
            let mut before = self.0.iter().enumerate();
            return before.any(|(at, (name, _))| self.0[..at].iter().any(|(known, _)| known == name));
        }
        let mut names: Vec<&str> = self.names().collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }
}

impl From<Object> for Members<'_> {
    fn from(object: Object) -> Self {
        Self(object.into_iter().map(|(name, value)| (Cow::Owned(name), value.into())).collect())
    }
}

impl Member<'_> {
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Member::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_f64(&self) -> Option<f64> {
        match self {
            Member::Number(number) => number.as_f64(),
            _ => None,
        }
    }

    /// The same, owned.
    pub(super) fn into_value(self) -> Value {
        match self {
            Member::Null => Value::Null,
            Member::Bool(value) => Value::Bool(value),
            Member::Number(number) => Value::Number(number),
            Member::Text(text) => Value::String(text.into_owned()),
            Member::Array(items) => Value::Array(items.into_iter().map(Member::into_value).collect()),
            Member::Object(members) => Value::Object(members.into_object()),
        }
    }

    /// A copy, owned.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Member::Null => Value::Null,
            Member::Bool(value) => Value::Bool(*value),
            Member::Number(number) => Value::Number(number.clone()),
            Member::Text(text) => Value::from(&**text),
            Member::Array(items) => Value::Array(items.iter().map(Member::to_value).collect()),
            Member::Object(Members(members)) => {
                Value::Object(members.iter().map(|(name, value)| (name.to_string(), value.to_value())).collect())
            }
        }
    }
}

impl From<Value> for Member<'_> {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Member::Null,
            Value::Bool(value) => Member::Bool(value),
            Value::Number(number) => Member::Number(number),
            Value::String(text) => Member::Text(Cow::Owned(text)),
            Value::Array(items) => Member::Array(items.into_iter().map(Member::from).collect()),
            Value::Object(object) => Member::Object(object.into()),
        }
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members(Vec::new());
        while let Some((Name(name), value)) = map.next_entry()? {
            members.0.push((name, value));
        }
        if members.has_repeated_name() {
            return Err(A::Error::custom("a member appears twice"));
        }
        Ok(members)
    }
}

/// The name of a member.
struct Name<'t>(Cow<'t, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor).map(Self)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Member<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MemberVisitor)
    }
}

struct MemberVisitor;

impl<'de> Visitor<'de> for MemberVisitor {
    type Value = Member<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Member::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Member::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Member::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Member::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Number::from_f64(value).map(Member::Number).ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Member::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Member::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Member::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        MembersVisitor.visit_map(members).map(Member::Object)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is read is what `serde_json` reads, by whichever way it is owned in the end.
    fn object(bytes: &[u8]) -> Result<Object, &'static str> {
        let read = super::object(bytes)?;
        assert_eq!(serde_json::from_slice::<Object>(bytes).ok().as_ref(), Some(&read), "{}", bytes.escape_ascii());
        let borrowed = members(bytes)?;
        assert_eq!(Member::Object(borrowed).to_value(), Value::Object(read.clone()));
        assert_eq!(Members::from(read.clone()).into_object(), read);
        Ok(read)
    }

    #[test]
    fn what_is_borrowed_and_what_is_not() {
        let read = members(br#"{"a":"plain","b":"\u0070lain","\u0063":[1]}"#).expect("an object");
        assert!(matches!(read.get("a"), Some(Member::Text(Cow::Borrowed("plain")))));
        assert!(matches!(read.get("b"), Some(Member::Text(Cow::Owned(text))) if text == "plain"));
        assert!(read.get("c").is_some() && read.get("d").is_none());
    }

    #[test]
    fn many_members_are_told_apart_too() {
        let text = |last: usize| {
            let all: Vec<String> = (0..40).chain([last]).map(|n| format!(r#""n{n}":{n}"#)).collect();
            format!("{{{}}}", all.join(","))
        };
        assert!(object(text(40).as_bytes()).is_ok());
        assert!(object(text(7).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn an_object_is_read_unless_a_name_is_there_twice(
            names in prop::collection::vec("[ab]{0,4}", 0..24),
            value in r#"1|-0|1e9|null|true|"x"|"\\\\u0078"|\[\{"a":1,"b":2\}\]|\{"a":\[\]\}"#,
        ) {
            let all: Vec<String> = names.iter().map(|name| format!(r#""{name}":{value}"#)).collect();
            let text = format!("{{{}}}", all.join(","));
            let once = names.iter().collect::<std::collections::BTreeSet<_>>().len() == names.len();
            prop_assert_eq!(object(text.as_bytes()).is_ok(), once, "{}", text);
            let nested = format!(r#"{{"":[{text}]}}"#);
            prop_assert_eq!(object(nested.as_bytes()).is_ok(), once, "{}", nested);
        }
    }

    #[test]
    fn what_is_an_object() {
        for text in [
            "{}",
            " \t\r\n{ \"a\" : [1, -0.5e3, null, true, {}] }\r\n",
            r#"{"a":{"a":{"a":1}},"A":1}"#,
            r#"{"\u0061":"\ud83d\ude00"}"#,
            r#"{"a":18446744073709551616,"b":1e308,"c":1e-400}"#,
        ] {
            assert!(object(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_not() {
        for text in [
            "",
            "null",
            "[]",
            "1",
            "\"a\"",
            "{",
            "{}{}",
            "{}x",
            "{}\0",
            "\u{feff}{}",
            "{\"a\":1,}",
            "{'a':1}",
            "{a:1}",
            "{\"a\":1/**/}",
            "{\"a\":NaN}",
            "{\"a\":Infinity}",
            "{\"a\":+1}",
            "{\"a\":01}",
            "{\"a\":.5}",
            "{\"a\":5.}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\u{0}\"}",
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\x41"}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"alg":1,"\u0061lg":1}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
        ] {
            assert!(object(text.as_bytes()).is_err(), "{text}");
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_err());
        assert!(object(b"{\"a\":\"\xed\xa0\x80\"}").is_err());
    }

    #[test]
    fn no_number_and_no_depth_is_too_much_for_it() {
        let digits = "9".repeat(400);
        for text in [
            r#"{"a":1e400}"#.to_owned(),
            r#"{"a":-1e999999999999}"#.to_owned(),
            format!(r#"{{"a":{digits}}}"#),
            format!(r#"{{"a":{}"#, "[".repeat(100_000)),
            r#"{"a":"#.repeat(100_000),
            format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)),
        ] {
            assert!(object(text.as_bytes()).is_err());
        }
        assert!(object(format!(r#"{{"a":0.{digits}}}"#).as_bytes()).is_ok());
    }
}
