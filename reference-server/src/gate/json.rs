//! One strict JSON object: what a header and a claims set have to be (RFC 7515 §4, RFC 7519 §4).
//!
//! Beyond RFC 8259 it refuses a member name that appears twice, at any depth and after unescaping, because two
//! readers of such an object may see two different tokens. A byte order mark, anything after the object, and a
//! number no `f64` can hold are refused too. Depth is bounded by `serde_json` (128), so that no input exhausts
//! the stack. It has no lenient mode: those variants live in `lenient`.
//!
//! There are two results under the same rules: an [`Object`], which owns all it says, and [`Members`], whose names and
//! texts are still those of the input. Claims are read as members, because a decision looks at a few of them and keeps
//! one or two.

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
    Ok(read::<StrictObject>(bytes)?.0)
}

/// As [`object`], without copying what the bytes say.
pub(super) fn members(bytes: &[u8]) -> Result<Members<'_>, &'static str> {
    read(bytes)
}

fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, &'static str> {
    // serde_json checks only the strings it keeps; all of it must be UTF-8 (RFC 7519 §7.2, step 10).
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let object = T::deserialize(&mut reader).map_err(reason)?;
    reader.end().map_err(|_| "more after the JSON object")?;
    Ok(object)
}

fn reason(error: serde_json::Error) -> &'static str {
    if error.is_data() { "not a JSON object, or one with a repeated member" } else { "not JSON" }
}

/// An object without repeated members.
pub(super) struct StrictObject(pub(super) Object);

/// A value in which no object has repeated members.
pub(super) struct StrictValue(pub(super) Value);

impl<'de> Deserialize<'de> for StrictObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = StrictObject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<StrictObject, A::Error> {
        let mut object = Object::new();
        while let Some((name, StrictValue(value))) = members.next_entry::<String, StrictValue>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member appears twice"));
            }
        }
        Ok(StrictObject(object))
    }
}

impl<'de> Deserialize<'de> for StrictValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = StrictValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<StrictValue, E> {
        Ok(StrictValue(Value::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<StrictValue, E> {
        Ok(StrictValue(Value::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<StrictValue, E> {
        Ok(StrictValue(Value::Number(value.into())))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<StrictValue, E> {
        Ok(StrictValue(Value::Number(value.into())))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<StrictValue, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number out of range"))?;
        Ok(StrictValue(Value::Number(number)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<StrictValue, E> {
        Ok(StrictValue(Value::String(value.to_owned())))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<StrictValue, E> {
        Ok(StrictValue(Value::String(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<StrictValue, A::Error> {
        let mut array = Vec::new();
        while let Some(StrictValue(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(StrictValue(Value::Array(array)))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<StrictValue, A::Error> {
        let StrictObject(object) = ObjectVisitor.visit_map(members)?;
        Ok(StrictValue(Value::Object(object)))
    }
}

/// The members of an object, in the order of the text. No name is there twice.
#[derive(Debug, Default)]
pub(super) struct Members<'t>(Vec<(Cow<'t, str>, Member<'t>)>);

/// A value of an object.
#[derive(Debug)]
pub(super) enum Member<'t> {
    /// A text; its own only where it had to be unescaped.
    Text(Cow<'t, str>),
    /// Anything else.
    Other(Value),
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
            Member::Other(_) => None,
        }
    }

    pub(super) fn as_f64(&self) -> Option<f64> {
        match self {
            Member::Text(_) => None,
            Member::Other(value) => value.as_f64(),
        }
    }

    pub(super) fn to_value(&self) -> Value {
        match self {
            Member::Text(text) => Value::String(text.clone().into_owned()),
            Member::Other(value) => value.clone(),
        }
    }

    fn into_value(self) -> Value {
        match self {
            Member::Text(text) => Value::String(text.into_owned()),
            Member::Other(value) => value,
        }
    }
}

impl From<Value> for Member<'_> {
    fn from(value: Value) -> Self {
        match value {
            Value::String(text) => Member::Text(Cow::Owned(text)),
            other => Member::Other(other),
        }
    }
}

impl PartialEq<Value> for Member<'_> {
    fn eq(&self, other: &Value) -> bool {
        match self {
            Member::Text(text) => other == &**text,
            Member::Other(value) => value == other,
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
        let mut members = Members(Vec::with_capacity(8));
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
        // A name is always a text, so that the visitor of values will do.
        match deserializer.deserialize_str(MemberVisitor)? {
            Member::Text(name) => Ok(Self(name)),
            Member::Other(_) => Err(D::Error::custom("a name that is no text")),
        }
    }
}

impl<'de> Deserialize<'de> for Member<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MemberVisitor)
    }
}

/// Texts are borrowed where they can be; everything else is the business of [`ValueVisitor`].
struct MemberVisitor;

impl<'de> Visitor<'de> for MemberVisitor {
    type Value = Member<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Member<'de>, E> {
        Ok(Member::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Member<'de>, E> {
        Ok(Member::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Member<'de>, E> {
        ValueVisitor.visit_unit().map(Member::from)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Member<'de>, E> {
        ValueVisitor.visit_bool(value).map(Member::from)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Member<'de>, E> {
        ValueVisitor.visit_i64(value).map(Member::from)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Member<'de>, E> {
        ValueVisitor.visit_u64(value).map(Member::from)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Member<'de>, E> {
        ValueVisitor.visit_f64(value).map(Member::from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Member<'de>, A::Error> {
        ValueVisitor.visit_seq(items).map(Member::from)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Member<'de>, A::Error> {
        ValueVisitor.visit_map(members).map(Member::from)
    }
}

impl From<StrictValue> for Member<'_> {
    fn from(value: StrictValue) -> Self {
        value.0.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The two readers are one: what one takes, the other takes, and they see the same.
    fn both(bytes: &[u8]) -> Result<Object, &'static str> {
        let owned = super::object(bytes);
        assert_eq!(members(bytes).map(Members::into_object), owned, "{}", bytes.escape_ascii());
        owned
    }

    fn object(bytes: &[u8]) -> Result<Object, &'static str> {
        both(bytes)
    }

    #[test]
    fn what_is_borrowed_and_what_is_not() {
        let read = members(br#"{"a":"plain","b":"\u0070lain","\u0063":1}"#).unwrap();
        assert!(matches!(read.get("a"), Some(Member::Text(Cow::Borrowed("plain")))));
        assert!(matches!(read.get("b"), Some(Member::Text(Cow::Owned(text))) if text == "plain"));
        assert!(*read.get("c").unwrap() == Value::from(1));
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
        fn both_readers_read_the_same(
            names in prop::collection::vec("[ab]{0,2}", 0..24),
            value in r#"(1|-0|1e9|null|true|"x"|"\\u0078"|\[\{"a":1,"a":2\}\]|\{"a":\[\]\}|tru|)"#,
            tail in "[ }x]?",
        ) {
            let all: Vec<String> = names.iter().map(|name| format!(r#""{name}":{value}"#)).collect();
            let _ = both(format!("{{{}}}{tail}", all.join(",")).as_bytes());
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
