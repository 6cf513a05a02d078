//! The one interpolation syntax, `${...}`, inside the strings of recipes and templates. It knows a fixed list
//! of names and sums of numbers; it runs no code, reads no environment and looks at no clock: every value is
//! handed in.

use std::fmt;

use serde_json::{Map, Number, Value};

/// Every name that may stand in `${...}`.
pub const KNOWN_NAMES: [&str; 14] = [
    "now",
    "ms",
    "user",
    "nonce",
    "jti",
    "audience",
    "issuer",
    "listener",
    "listener_rest",
    "jku_allowed",
    "leeway",
    "skew",
    "max_token_age",
    "max_token_lifetime",
];

/// The formats that may follow a `|`.
const FORMATS: [&str; 2] = ["text", "exponent"];

/// Why a token could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForgeError {
    /// `${name}` names nothing that exists.
    UnknownName(String),
    /// What stands in `${...}` cannot be read.
    BadExpression(String),
    /// A value that must be hexadecimal is not.
    BadHex(String),
    /// Operators that exclude each other, or a parameter that makes no sense.
    Contradiction(String),
    /// The recipe uses a value that the profile does not declare.
    Undeclared(&'static str),
    /// The recipe needs a key that the profile does not give.
    NeedsKey(String),
    /// The key that was to be wrong is the target's own, or equivalent to it (HMAC pads keys with zero bytes).
    SameKey,
    /// The change cannot be made to this token, for instance pad bits in a signature that has none.
    Impossible(String),
    /// The cryptographic library refused.
    Crypto(&'static str),
}

impl ForgeError {
    /// Whether the case merely does not apply to this profile, as opposed to being wrong in itself.
    #[must_use]
    pub fn is_not_applicable(&self) -> bool {
        matches!(self, Self::Undeclared(_) | Self::NeedsKey(_) | Self::SameKey | Self::Impossible(_))
    }
}

impl fmt::Display for ForgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownName(name) => {
                write!(f, "unknown name `{name}` in `${{...}}`; known names: {}", KNOWN_NAMES.join(", "))
            }
            Self::BadExpression(text) => write!(
                f,
                "cannot read `${{{text}}}`; write a name, then sums such as `+300` or `-leeway`, then optionally `|{}`",
                FORMATS.join("` or `|")
            ),
            Self::BadHex(text) => write!(f, "`{text}` is not an even number of hexadecimal digits"),
            Self::Contradiction(text) | Self::Impossible(text) => f.write_str(text),
            Self::Undeclared(what) => write!(f, "the profile declares no {what}"),
            Self::NeedsKey(what) => write!(f, "the profile gives no {what}"),
            Self::SameKey => f.write_str("this key is the target's own, or equivalent to it"),
            Self::Crypto(what) => write!(f, "{what} failed"),
        }
    }
}

impl std::error::Error for ForgeError {}

/// The values behind the names.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) now: f64,
    pub(crate) user: String,
    pub(crate) nonce: String,
    pub(crate) jti: String,
    pub(crate) audience: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) listener: Option<String>,
    pub(crate) jku_allowed: Option<String>,
    pub(crate) leeway: Option<f64>,
    pub(crate) skew: f64,
    pub(crate) max_token_age: Option<f64>,
    pub(crate) max_token_lifetime: Option<f64>,
}

/// What a `${...}` stands for.
enum Piece {
    Number(f64),
    Text(String),
}

/// One parsed expression: a name, then signed terms, then a format.
struct Expression<'a> {
    name: &'a str,
    terms: Vec<(f64, Term<'a>)>,
    format: Option<&'a str>,
}

enum Term<'a> {
    Number(f64),
    Name(&'a str),
}

fn is_numeric_name(name: &str) -> bool {
    matches!(name, "now" | "ms" | "leeway" | "skew" | "max_token_age" | "max_token_lifetime")
}

fn known(name: &str) -> Result<&str, ForgeError> {
    if KNOWN_NAMES.contains(&name) { Ok(name) } else { Err(ForgeError::UnknownName(name.to_owned())) }
}

fn parse(text: &str) -> Result<Expression<'_>, ForgeError> {
    let bad = || ForgeError::BadExpression(text.to_owned());
    let (sum, format) = match text.split_once('|') {
        Some((sum, format)) if FORMATS.contains(&format.trim()) => (sum, Some(format.trim())),
        Some(_) => return Err(bad()),
        None => (text, None),
    };
    let mut terms = Vec::new();
    let first_end = sum.find(['+', '-']).unwrap_or(sum.len());
    let name = sum[..first_end].trim();
    if name.is_empty() {
        return Err(bad());
    }
    let name = known(name)?;
    let mut rest = &sum[first_end..];
    while !rest.is_empty() {
        let sign = if rest.starts_with('-') { -1.0 } else { 1.0 };
        let body = &rest[1..];
        let end = body.find(['+', '-']).unwrap_or(body.len());
        let term = body[..end].trim();
        // Digits and one point only: `f64::from_str` would also read `inf`, `nan` and exponents.
        if !term.is_empty() && term.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            terms.push((sign, Term::Number(term.parse().map_err(|_| bad())?)));
        } else if term.is_empty() {
            return Err(bad());
        } else {
            let name = known(term)?;
            if !is_numeric_name(name) {
                return Err(bad());
            }
            terms.push((sign, Term::Name(name)));
        }
        rest = &body[end..];
    }
    if !is_numeric_name(name) && (!terms.is_empty() || format.is_some_and(|format| format != "text")) {
        return Err(bad());
    }
    Ok(Expression { name, terms, format })
}

impl Scope {
    fn number(&self, name: &str) -> Result<f64, ForgeError> {
        match name {
            // Whole seconds, so that `${now+300}` is an integer and `${now}` is never later than the clock.
            "now" => Ok(self.now.floor()),
            "ms" => Ok((self.now * 1000.0).floor()),
            "skew" => Ok(self.skew),
            "leeway" => self.leeway.ok_or(ForgeError::Undeclared("leeway")),
            "max_token_age" => self.max_token_age.ok_or(ForgeError::Undeclared("max_token_age")),
            "max_token_lifetime" => self.max_token_lifetime.ok_or(ForgeError::Undeclared("max_token_lifetime")),
            other => Err(ForgeError::UnknownName(other.to_owned())),
        }
    }

    fn piece(&self, expression: &Expression<'_>) -> Result<Piece, ForgeError> {
        let text = match expression.name {
            "user" => Some(self.user.clone()),
            "nonce" => Some(self.nonce.clone()),
            "jti" => Some(self.jti.clone()),
            "audience" => Some(self.audience.clone().ok_or(ForgeError::Undeclared("audience"))?),
            "issuer" => Some(self.issuer.clone().ok_or(ForgeError::Undeclared("issuer"))?),
            "listener" => Some(self.listener.clone().ok_or(ForgeError::Undeclared("listener"))?),
            // Without the scheme, so that a name and an @ can stand before it.
            "listener_rest" => {
                let listener = self.listener.as_deref().ok_or(ForgeError::Undeclared("listener"))?;
                Some(listener.split_once("://").map_or(listener, |(_, rest)| rest).to_owned())
            }
            "jku_allowed" => Some(self.jku_allowed.clone().ok_or(ForgeError::Undeclared("jku_allowlist"))?),
            _ => None,
        };
        if let Some(text) = text {
            return Ok(Piece::Text(text));
        }
        let mut sum = self.number(expression.name)?;
        for (sign, term) in &expression.terms {
            sum += sign
                * match term {
                    Term::Number(value) => *value,
                    Term::Name(name) => self.number(name)?,
                };
        }
        Ok(match expression.format {
            Some("text") => Piece::Text(show_number(sum)),
            Some(_) => Piece::Text(format!("{sum:e}")),
            None => Piece::Number(sum),
        })
    }

    /// `text` with every `${...}` replaced; always text.
    pub(crate) fn text(&self, text: &str) -> Result<String, ForgeError> {
        let mut out = String::with_capacity(text.len());
        walk(text, &mut |part| {
            match part {
                Part::Plain(plain) => out.push_str(plain),
                Part::Expression(expression) => match self.piece(&parse(expression)?)? {
                    Piece::Number(value) => out.push_str(&show_number(value)),
                    Piece::Text(value) => out.push_str(&value),
                },
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// `value` with every string interpolated. A string that is one numeric expression becomes a number.
    pub(crate) fn value(&self, value: &Value) -> Result<Value, ForgeError> {
        Ok(match value {
            Value::String(text) => match whole(text) {
                Some(expression) => match self.piece(&parse(expression)?)? {
                    Piece::Number(value) => json_number(value),
                    Piece::Text(value) => Value::String(value),
                },
                None => Value::String(self.text(text)?),
            },
            Value::Array(items) => Value::Array(items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?),
            Value::Object(members) => Value::Object(self.map(members)?),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        })
    }

    /// Every value of `members` interpolated; names are left alone.
    pub(crate) fn map(&self, members: &Map<String, Value>) -> Result<Map<String, Value>, ForgeError> {
        members.iter().map(|(name, value)| Ok((name.clone(), self.value(value)?))).collect()
    }
}

/// Integers without a fraction, everything else as Rust prints it.
fn show_number(value: f64) -> String {
    format!("{value}")
}

fn json_number(value: f64) -> Value {
    // 2^53: beyond it an f64 no longer holds every integer, and nothing here gets near it.
    if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
        Value::Number(Number::from(value as i64))
    } else {
        Number::from_f64(value).map_or(Value::Null, Value::Number)
    }
}

enum Part<'a> {
    Plain(&'a str),
    Expression(&'a str),
}

/// The expression, when the string is nothing but one.
fn whole(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("${")?.strip_suffix('}')?;
    (!inner.contains(['{', '}'])).then_some(inner)
}

/// Cuts a string into plain text and expressions. `$${` is a literal `${`.
fn walk<'a>(text: &'a str, each: &mut impl FnMut(Part<'a>) -> Result<(), ForgeError>) -> Result<(), ForgeError> {
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            each(Part::Plain(&rest[..at - 1]))?;
            each(Part::Plain("${"))?;
            rest = &rest[at + 2..];
            continue;
        }
        each(Part::Plain(&rest[..at]))?;
        let body = &rest[at + 2..];
        let Some(end) = body.find('}') else {
            return Err(ForgeError::BadExpression(body.to_owned()));
        };
        each(Part::Expression(&body[..end]))?;
        rest = &body[end + 1..];
    }
    each(Part::Plain(rest))
}

/// Checks a string without knowing any value.
pub(crate) fn check_text(text: &str) -> Result<(), ForgeError> {
    walk(text, &mut |part| match part {
        Part::Plain(_) => Ok(()),
        Part::Expression(expression) => parse(expression).map(|_| ()),
    })
}

/// Checks every string of a value without knowing any value.
pub(crate) fn check_value(value: &Value) -> Result<(), ForgeError> {
    match value {
        Value::String(text) => check_text(text),
        Value::Array(items) => items.iter().try_for_each(check_value),
        Value::Object(members) => members.values().try_for_each(check_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope() -> Scope {
        Scope {
            now: 1_790_000_000.75,
            user: "bob".into(),
            nonce: "n".into(),
            jti: "j".into(),
            audience: None,
            issuer: Some("https://issuer.example".into()),
            listener: Some("http://h:1/n".into()),
            jku_allowed: None,
            leeway: Some(5.0),
            skew: 0.0,
            max_token_age: None,
            max_token_lifetime: None,
        }
    }

    #[test]
    fn a_whole_expression_becomes_a_number_and_a_part_becomes_text() {
        let cases = [
            ("${now}", json!(1_790_000_000)),
            ("${now+300}", json!(1_790_000_300)),
            ("${ now - 3600.5 }", json!(1_789_996_399.5)),
            ("${now-leeway-2}", json!(1_789_999_993)),
            ("${ms+1}", json!(1_790_000_000_751_i64)),
            ("${now|text}", json!("1790000000")),
            ("${now|exponent}", json!("1.79e9")),
            ("at ${now}", json!("at 1790000000")),
            ("${user}@example", json!("bob@example")),
            ("${user}@${listener_rest}/x", json!("bob@h:1/n/x")),
            ("$${user} ${user}", json!("${user} bob")),
            ("${user}${user}", json!("bobbob")),
        ];
        for (text, expected) in cases {
            assert_eq!(scope().value(&json!(text)), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_values_too() {
        for text in ["${nwo}", "${now+}", "${now+inf}", "${}", "${now", "${user+1}", "${now|hex}", "${now+user}"] {
            assert!(check_text(text).is_err(), "{text}");
            assert!(scope().text(text).is_err(), "{text}");
        }
        let error = check_text("${nwo}").expect_err("unknown");
        assert!(error.to_string().contains("known names: now, ms, user"), "{error}");
    }

    #[test]
    fn an_undeclared_value_is_not_applicable() {
        let error = scope().text("${audience}").expect_err("undeclared");
        assert!(error.is_not_applicable());
    }
}
