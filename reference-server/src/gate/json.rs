//! One strict JSON object: what a header and a claims set have to be (RFC 7515 §4, RFC 7519 §4).
//!
//! Beyond RFC 8259 it refuses a member name that appears twice, at any depth and after unescaping, because two
//! readers of such an object may see two different tokens. A byte order mark, anything after the object, and a
//! number no `f64` can hold are refused too. Depth is bounded by `serde_json` (128), so that no input exhausts
//! the stack. It has no lenient mode: those variants live in `lenient`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A JSON object as `serde_json` holds it.
pub(super) type Object = Map<String, Value>;

/// Reads `bytes` as one object and nothing more.
pub(super) fn object(bytes: &[u8]) -> Result<Object, &'static str> {
    // serde_json checks only the strings it keeps; all of it must be UTF-8 (RFC 7519 §7.2, step 10).
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let object = StrictObject::deserialize(&mut reader).map_err(reason)?;
    reader.end().map_err(|_| "more after the JSON object")?;
    Ok(object.0)
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

#[cfg(test)]
mod tests {
    use super::*;

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
