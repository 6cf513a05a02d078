//! The one interpolation syntax, `${...}`, inside the strings of recipes and templates. It knows a fixed list
//! of names and sums of numbers; it runs no code, reads no environment and looks at no clock: every value is
//! handed in.

use std::fmt;

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use super::algorithm::Algorithm;
use super::keyring::derive;
use super::mint::Words;
use crate::hex;

/// Every name that may stand in `${...}`.
pub const KNOWN_NAMES: [&str; 29] = [
    "now",
    "ms",
    "user",
    "algorithm",
    "nonce",
    "jti",
    "long_text",
    "audience",
    "issuer",
    "listener",
    "listener_rest",
    "jku_allowed",
    "leeway",
    "tolerance",
    "skew",
    "max_token_age",
    "max_token_lifetime",
    "identity_claim",
    "role_claim",
    "allowed_role",
    "denied_role",
    "default_role",
    "required_scope",
    "kid",
    "other_issuer",
    "other_kid",
    "allowed_origin",
    "weak_secret",
    "test_token",
];

/// The formats that may follow a `|` behind a number.
const NUMBER_FORMATS: [&str; 2] = ["text", "exponent"];

/// The formats that may follow a `|` behind a text. Each but the first makes another text of it, or the token cannot be
/// made: a spelling that changes nothing would be the very text that it must not be.
const TEXT_FORMATS: [&str; 10] = [
    "text",
    "upper",
    "lower",
    "capitalised",
    "look_alike",
    "full_width",
    "shortened",
    "shortened_in_front",
    "other_scheme",
    "other_slash",
];

/// How many characters `${long_text}` has.
const LONG_TEXT: usize = 5000;

/// The greatest leeway nobody may be blamed for, where none is declared: "usually no more than a few minutes" (RFC 7519
/// §4.1.4).
pub(crate) const UNDECLARED_LEEWAY: f64 = 300.0;

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
                "cannot read `${{{text}}}`; write a name, then sums such as `+300` or `-leeway`, then optionally one of `|{}`",
                [&NUMBER_FORMATS[1..], &TEXT_FORMATS].concat().join("`, `|")
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
pub(crate) struct Scope<'a> {
    pub(crate) now: f64,
    pub(crate) user: Cow<'a, str>,
    /// The `alg` of the valid token, whatever a recipe makes of it: what `${algorithm}` means.
    pub(crate) algorithm: Algorithm,
    /// What `${nonce}` and `${jti}` are derived from.
    pub(crate) seed: u64,
    pub(crate) audience: Option<&'a str>,
    pub(crate) issuer: Option<&'a str>,
    /// Those that the profile declares.
    pub(crate) words: Words<'a>,
    pub(crate) listener: Option<&'a str>,
    pub(crate) jku_allowed: Option<&'a str>,
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
    matches!(name, "now" | "ms" | "leeway" | "tolerance" | "skew" | "max_token_age" | "max_token_lifetime")
}

fn known(name: &str) -> Result<&str, ForgeError> {
    if KNOWN_NAMES.contains(&name) { Ok(name) } else { Err(ForgeError::UnknownName(name.to_owned())) }
}

fn parse(text: &str) -> Result<Expression<'_>, ForgeError> {
    let bad = || ForgeError::BadExpression(text.to_owned());
    let (sum, format) = match text.split_once('|') {
        Some((sum, format)) if NUMBER_FORMATS.contains(&format.trim()) || TEXT_FORMATS.contains(&format.trim()) => {
            (sum, Some(format.trim()))
        }
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
    let formats = if is_numeric_name(name) { &NUMBER_FORMATS[..] } else { &TEXT_FORMATS[..] };
    if format.is_some_and(|format| !formats.contains(&format)) || (!is_numeric_name(name) && !terms.is_empty()) {
        return Err(bad());
    }
    Ok(Expression { name, terms, format })
}

impl Scope<'_> {
    fn number(&self, name: &str) -> Result<f64, ForgeError> {
        match name {
            // Whole seconds, so that `${now+300}` is an integer and `${now}` is never later than the clock.
            "now" => Ok(self.now.floor()),
            "ms" => Ok((self.now * 1000.0).floor()),
            "skew" => Ok(self.skew),
            "leeway" => self.leeway.ok_or(ForgeError::Undeclared("leeway")),
            "tolerance" => Ok(self.leeway.unwrap_or(UNDECLARED_LEEWAY)),
            "max_token_age" => self.max_token_age.ok_or(ForgeError::Undeclared("max_token_age")),
            "max_token_lifetime" => self.max_token_lifetime.ok_or(ForgeError::Undeclared("max_token_lifetime")),
            other => Err(ForgeError::UnknownName(other.to_owned())),
        }
    }

    fn piece(&self, expression: &Expression<'_>) -> Result<Piece, ForgeError> {
        let declared = |value: Option<&str>, name| value.map(str::to_owned).ok_or(ForgeError::Undeclared(name));
        let derived = |label| hex::write(&derive(label, self.seed)[..16]);
        let text = match expression.name {
            "user" => Some(self.user.clone().into_owned()),
            "algorithm" => Some(self.algorithm.name().to_owned()),
            "nonce" => Some(derived("nonce")),
            "jti" => Some(derived("jti")),
            "long_text" => Some("r".repeat(LONG_TEXT)),
            "audience" => Some(declared(self.audience, "audience")?),
            "issuer" => Some(declared(self.issuer, "issuer")?),
            "listener" => Some(declared(self.listener, "listener")?),
            // Without the scheme, so that a name and an @ can stand before it.
            "listener_rest" => {
                let rest = self.listener.map(|listener| listener.split_once("://").map_or(listener, |(_, rest)| rest));
                Some(declared(rest, "listener")?)
            }
            "jku_allowed" => Some(declared(self.jku_allowed, "jku_allowlist")?),
            name => match self.words.of(name) {
                Some((name, word)) => Some(declared(word, name)?),
                None => None,
            },
        };
        if let Some(text) = text {
            return Ok(Piece::Text(respelled(text, expression.format)?));
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

    /// As `text`, but what stands in `${...}` under a name that no token knows is left for whoever knows it.
    pub(crate) fn known_text(&self, text: &str) -> Result<String, ForgeError> {
        let mut out = String::with_capacity(text.len());
        walk(text, &mut |part| {
            match part {
                Part::Plain(plain) => out.push_str(plain),
                Part::Expression(expression) => match parse(expression) {
                    Err(ForgeError::UnknownName(_)) => out.push_str(&format!("${{{expression}}}")),
                    Err(error) => return Err(error),
                    Ok(_) => out.push_str(&self.text(&format!("${{{expression}}}"))?),
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

    /// Every name and every value of `members` interpolated.
    pub(crate) fn map(&self, members: &Map<String, Value>) -> Result<Map<String, Value>, ForgeError> {
        members.iter().map(|(name, value)| Ok((self.text(name)?, self.value(value)?))).collect()
    }

    /// Each of `names` interpolated.
    pub(crate) fn names(&self, names: &[String]) -> Result<Vec<String>, ForgeError> {
        names.iter().map(|name| self.text(name)).collect()
    }
}

/// Latin letters and Cyrillic ones that look like them.
const LOOK_ALIKES: [(char, char); 9] = [
    ('a', '\u{430}'),
    ('e', '\u{435}'),
    ('o', '\u{43e}'),
    ('p', '\u{440}'),
    ('c', '\u{441}'),
    ('x', '\u{445}'),
    ('y', '\u{443}'),
    ('i', '\u{456}'),
    ('s', '\u{455}'),
];

/// `text` in another spelling.
fn respelled(text: String, format: Option<&str>) -> Result<String, ForgeError> {
    let first = |change: &dyn Fn(char) -> Option<char>| -> Option<String> {
        let (at, found, new) = text.char_indices().find_map(|(at, found)| Some((at, found, change(found)?)))?;
        Some(format!("{}{new}{}", &text[..at], &text[at + found.len_utf8()..]))
    };
    let other = match format {
        None | Some("text") => return Ok(text),
        Some("upper") => Some(text.to_uppercase()),
        Some("lower") => Some(text.to_lowercase()),
        Some("capitalised") => {
            let mut characters = text.chars();
            characters.next().map(|initial| initial.to_uppercase().chain(characters).collect())
        }
        Some("look_alike") => {
            first(&|letter| LOOK_ALIKES.iter().find(|(latin, _)| *latin == letter).map(|(_, other)| *other))
        }
        // U+FF01 to U+FF5E mirror U+0021 to U+007E.
        Some("full_width") => {
            first(&|letter| letter.is_ascii_alphanumeric().then(|| char::from_u32(0xfee0 + u32::from(letter)))?)
        }
        // Without a slash at its end, which makes another name only to the letter.
        Some("shortened") => {
            let text = text.trim_end_matches('/');
            text.char_indices().next_back().map(|(at, _)| text[..at].to_owned())
        }
        Some("shortened_in_front") => text.chars().next().map(|first| text[first.len_utf8()..].to_owned()),
        Some("other_scheme") => match text.split_once("://") {
            Some(("https", rest)) => Some(format!("http://{rest}")),
            Some(("http", rest)) => Some(format!("https://{rest}")),
            _ => None,
        },
        Some("other_slash") => Some(text.strip_suffix('/').map_or_else(|| format!("{text}/"), str::to_owned)),
        Some(_) => None,
    };
    match other.filter(|other| *other != text) {
        Some(other) => Ok(other),
        None => Err(ForgeError::Impossible("a declared word has no such other spelling".into())),
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

/// Where the next `${` begins. By its first character: to prepare a search for both takes longer than to look at most texts.
fn expression_in(text: &str) -> Option<usize> {
    text.match_indices('$').map(|(at, _)| at).find(|at| text[at + 1..].starts_with('{'))
}

/// Cuts a string into plain text and expressions. `$${` is a literal `${`.
fn walk<'a>(text: &'a str, each: &mut impl FnMut(Part<'a>) -> Result<(), ForgeError>) -> Result<(), ForgeError> {
    let mut rest = text;
    while let Some(at) = expression_in(rest) {
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
///
/// # Errors
///
/// The first `${...}` that cannot be read.
pub fn check_text(text: &str) -> Result<(), ForgeError> {
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
        Value::Object(members) => check_map(members),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// Checks every name and every value without knowing any value.
pub(crate) fn check_map(members: &Map<String, Value>) -> Result<(), ForgeError> {
    members.iter().try_for_each(|(name, value)| check_text(name).and_then(|()| check_value(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope() -> Scope<'static> {
        Scope {
            now: 1_790_000_000.75,
            user: "bob".into(),
            algorithm: Algorithm::HS384,
            seed: 1,
            audience: None,
            issuer: Some("https://issuer.example"),
            listener: Some("http://h:1/n"),
            jku_allowed: None,
            words: Words { allowed_role: Some("editor"), ..Words::default() },
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
            ("${now-tolerance}", json!(1_789_999_995)),
            ("${allowed_role|upper}", json!("EDITOR")),
            ("x${allowed_role|capitalised}", json!("xEditor")),
            ("${allowed_role|look_alike}", json!("\u{435}ditor")),
            ("${allowed_role|full_width}", json!("\u{ff45}ditor")),
            ("${algorithm|lower}", json!("hs384")),
            (" ${algorithm}", json!(" HS384")),
            ("${issuer|other_scheme}", json!("http://issuer.example")),
            ("${issuer|other_slash}", json!("https://issuer.example/")),
            ("${issuer|shortened}", json!("https://issuer.exampl")),
            ("${issuer|shortened_in_front}", json!("ttps://issuer.example")),
            ("x${long_text}", json!(format!("x{}", "r".repeat(5000)))),
        ];
        for (text, expected) in cases {
            assert_eq!(scope().value(&json!(text)), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_values_too() {
        for text in [
            "${nwo}",
            "${now+}",
            "${now+inf}",
            "${}",
            "${now",
            "${user+1}",
            "${now|hex}",
            "${now+user}",
            "${now|upper}",
            "${user|exponent}",
        ] {
            assert!(check_text(text).is_err(), "{text}");
            assert!(scope().text(text).is_err(), "{text}");
        }
        let error = check_text("${nwo}").expect_err("unknown");
        assert!(error.to_string().contains("known names: now, ms, user, algorithm"), "{error}");
    }

    #[test]
    fn an_undeclared_value_is_not_applicable() {
        for text in ["${audience}", "${denied_role}", "${other_kid|upper}"] {
            let error = scope().text(text).expect_err("undeclared");
            assert!(matches!(error, ForgeError::Undeclared(_)), "{text}: {error}");
        }
        assert_eq!(scope().known_text("${origin.host} ${user}"), Ok("${origin.host} bob".to_owned()));
        assert!(scope().known_text("${denied_role}").is_err());
    }

    #[test]
    fn a_spelling_that_changes_nothing_is_not_applicable() {
        // The role is written in lower case: sent as an "other" spelling it would be the role itself.
        for text in ["${allowed_role|lower}", "${allowed_role|other_scheme}"] {
            let error = scope().text(text).expect_err("the same");
            assert!(error.is_not_applicable(), "{text}: {error}");
        }
    }

    #[test]
    fn names_are_interpolated_like_values() {
        let members = json!({ "${allowed_role}": ["${allowed_role}"], "plain": 1 });
        let Value::Object(members) = members else { panic!("an object") };
        assert_eq!(scope().map(&members).map(Value::Object), Ok(json!({ "editor": ["editor"], "plain": 1 })));
        assert!(check_map(&Map::from_iter([("${nwo}".to_owned(), Value::Null)])).is_err());
    }
}
