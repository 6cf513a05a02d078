//! The tolerant readers that faults put in place of the strict ones: each repeats a habit of real decoders that
//! RFC 7515 §5.2 or RFC 8259 forbids. They are only readers: which fault uses which, and where, is in `wrong`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer as _, MapAccess, Visitor};
use serde_json::Value;

use super::json::{self, Member, Members, Object};
use super::jws::{self, Compact};

/// The claim names of RFC 7519 §4.1.
pub(super) const REGISTERED_CLAIMS: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

/// How many periods the text has.
pub(super) fn periods(token: &[u8]) -> usize {
    token.iter().filter(|&&byte| byte == b'.').count()
}

/// Whether `part` occurs in `text`.
pub(super) fn contains(text: &[u8], part: &str) -> bool {
    text.windows(part.len()).any(|at| at == part.as_bytes())
}

// The text of the token.

/// Without one pair of double quotes around it.
pub(super) fn unquoted(token: &[u8]) -> &[u8] {
    token.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(token)
}

/// Up to the first NUL.
pub(super) fn c_string(token: &[u8]) -> &[u8] {
    token.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// The compact text of a flattened JSON serialization (RFC 7515 §7.2.2).
pub(super) fn from_json_serialization(token: &[u8]) -> Option<Vec<u8>> {
    let jws = json::object(token).ok()?;
    let member = |name| jws.get(name).and_then(Value::as_str);
    let (header, payload, signature) = (member("protected")?, member("payload")?, member("signature")?);
    Some(format!("{header}.{payload}.{signature}").into_bytes())
}

/// The first three segments, whatever follows.
pub(super) fn first_three(token: &[u8]) -> &[u8] {
    let third = (0..token.len()).filter(|&at| token[at] == b'.').nth(2);
    &token[..third.unwrap_or(token.len())]
}

/// Two segments and no signature.
pub(super) fn two_segments(token: &[u8]) -> Result<Compact<'_>, &'static str> {
    let period = token.iter().position(|&byte| byte == b'.');
    let (header, rest) = token.split_at(period.ok_or("no period")?);
    Ok(Compact { header, payload: Cow::Borrowed(&rest[1..]), signature: None, signed: token })
}

/// The first and the last segment, and as payload all that is between, periods and all.
pub(super) fn first_and_last(token: &[u8]) -> Result<Compact<'_>, &'static str> {
    let is_period = |byte: &u8| *byte == b'.';
    match (token.iter().position(is_period), token.iter().rposition(is_period)) {
        (Some(first), Some(last)) if first < last => Ok(Compact {
            header: &token[..first],
            payload: Cow::Borrowed(&token[first + 1..last]),
            signature: Some(&token[last + 1..]),
            signed: &token[..last],
        }),
        _ => Err("fewer than two periods"),
    }
}

/// Whether the header has the payload stand for itself (RFC 7797 §3).
pub(super) fn says_b64_false(token: &[u8]) -> bool {
    let header = token.split(|&byte| byte == b'.').next();
    jws::decode(header.unwrap_or_default())
        .and_then(|header| json::object(&header))
        .is_ok_and(|header| header.get("b64") == Some(&Value::Bool(false)))
}

/// As [`first_and_last`], the periods between taken out.
pub(super) fn glued(token: &[u8]) -> Result<Compact<'_>, &'static str> {
    let mut compact = first_and_last(token)?;
    compact.payload.to_mut().retain(|&byte| byte != b'.');
    Ok(compact)
}

/// Three segments of any characters; it is left to the decoder what they are.
pub(super) fn split(token: &[u8]) -> Result<Compact<'_>, &'static str> {
    if periods(token) == 2 { first_and_last(token) } else { Err("not three segments") }
}

// The segments.

/// Without padding at the end.
pub(super) fn unpadded(segment: &[u8]) -> &[u8] {
    let end = segment.iter().rposition(|&byte| byte != b'=');
    &segment[..end.map_or(0, |last| last + 1)]
}

/// The standard alphabet turned into the one for URLs.
pub(super) fn url_alphabet(segment: &[u8]) -> Vec<u8> {
    let turn = |&byte: &u8| match byte {
        b'+' => b'-',
        b'/' => b'_',
        other => other,
    };
    segment.iter().map(turn).collect()
}

/// Without whitespace.
pub(super) fn without_whitespace(segment: &[u8]) -> Vec<u8> {
    let kept = segment.iter().filter(|byte| !byte.is_ascii_whitespace());
    kept.copied().collect()
}

/// Only what the alphabet has.
pub(super) fn without_foreign(segment: &[u8]) -> Vec<u8> {
    let kept = segment.iter().filter(|&&byte| jws::is_base64url(byte));
    kept.copied().collect()
}

/// Whether an algorithm by this name decrypts (RFC 7518 §4.1).
pub(super) fn encrypts(alg: &str) -> bool {
    alg == "dir" || ["RSA-OAEP", "RSA1_5", "ECDH-ES", "PBES2-"].iter().any(|start| alg.starts_with(start))
}

/// The segments' bytes, with nothing checked but that they are base64url.
pub(super) fn decoded_parts(token: &[u8]) -> Option<Vec<Vec<u8>>> {
    token.split(|&byte| byte == b'.').map(|segment| jws::decode(segment).ok()).collect()
}

/// The claims of a token nobody verified.
pub(super) fn unverified_claims(token: &[u8]) -> Option<Object> {
    json::object(&unverified_payload(token)?).ok()
}

/// The payload of a token nobody verified.
pub(super) fn unverified_payload(token: &[u8]) -> Option<Vec<u8>> {
    jws::decode(token.split(|&byte| byte == b'.').nth(1)?).ok()
}

// Texts.

/// Letters of other alphabets that look like these.
const CYRILLIC: [(char, char); 9] =
    [('а', 'a'), ('е', 'e'), ('о', 'o'), ('р', 'p'), ('с', 'c'), ('х', 'x'), ('у', 'y'), ('і', 'i'), ('ѕ', 's')];

/// In plain letters, as a function writes it that makes names for files and addresses: full-width forms narrowed, accents
/// dropped, and letters of other alphabets replaced by those they look like.
pub(super) fn transliterated(text: &str) -> String {
    let plain = |c: char| match u32::from(c) {
        wide @ 0xff01..=0xff5e => char::from_u32(wide - 0xfee0),
        0x300..=0x36f => None,
        0xe0..=0xe5 => Some('a'),
        0xe8..=0xeb => Some('e'),
        0xf2..=0xf6 => Some('o'),
        _ => Some(CYRILLIC.iter().find(|(other, _)| *other == c).map_or(c, |(_, latin)| *latin)),
    };
    text.chars().filter_map(plain).collect()
}

// The JSON.

/// Whether the text at least begins as an object.
pub(super) fn begins_object(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{")
}

/// The first object, whatever follows.
pub(super) fn first_object(bytes: &[u8]) -> Result<Object, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let first = Members::deserialize(&mut reader).map_err(|_| "not a JSON object")?;
    Ok(first.into_object())
}

/// UTF-16 turned into UTF-8, known by its byte order mark or by where its first NUL is.
pub(super) fn utf8_of_utf16(bytes: &[u8]) -> Cow<'_, [u8]> {
    let (read, text): (fn([u8; 2]) -> u16, _) = match bytes {
        [0xff, 0xfe, text @ ..] => (u16::from_le_bytes, text),
        [0xfe, 0xff, text @ ..] => (u16::from_be_bytes, text),
        [first, 0, ..] if *first != 0 => (u16::from_le_bytes, bytes),
        [0, second, ..] if *second != 0 => (u16::from_be_bytes, bytes),
        _ => return Cow::Borrowed(bytes),
    };
    let units = text.chunks_exact(2).map(|pair| read([pair[0], pair[1]]));
    match char::decode_utf16(units).collect::<Result<String, _>>() {
        Ok(text) => Cow::Owned(text.into_bytes()),
        Err(_) => Cow::Borrowed(bytes),
    }
}

/// The members in the order of the text, repeated ones too.
pub(super) fn members(bytes: &[u8]) -> Result<Vec<(String, Value)>, &'static str> {
    struct All;

    impl<'de> Visitor<'de> for All {
        type Value = Vec<(String, Value)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((name, value)) = map.next_entry::<String, Member<'_>>()? {
                members.push((name, value.into_value()));
            }
            Ok(members)
        }
    }

    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = (&mut reader).deserialize_map(All).map_err(|_| "not a JSON object")?;
    reader.end().map_err(|_| "more after the JSON object")?;
    Ok(members)
}

/// Of members that are repeated the first, their names compared after `same`.
pub(super) fn first_wins(bytes: &[u8], same: impl Fn(String) -> String) -> Result<Object, &'static str> {
    let mut object = Object::new();
    for (name, value) in members(bytes)? {
        object.entry(same(name)).or_insert(value);
    }
    Ok(object)
}

/// Of members that are the `same` the last.
pub(super) fn last_wins(bytes: &[u8], same: impl Fn(String) -> String) -> Result<Object, &'static str> {
    Ok(members(bytes)?.into_iter().map(|(name, value)| (same(name), value)).collect())
}

/// Of a repeated `name` the first; any other repeated member is refused.
pub(super) fn first_wins_for(name: &str, bytes: &[u8]) -> Result<Object, &'static str> {
    let mut object = Object::new();
    for (member, value) in members(bytes)? {
        if !object.contains_key(&member) {
            object.insert(member, value);
        } else if member != name {
            return Err("a member appears twice");
        }
    }
    Ok(object)
}

/// JSON5 turned into JSON, as far as tokens are likely to use it: without `//` and `/* */` comments and without commas
/// before a closing bracket, with double quotes around texts and around names.
pub(super) fn plain_json(text: &[u8]) -> Vec<u8> {
    without_trailing_commas(&with_double_quotes(&without_comments(text)))
}

fn with_double_quotes(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
        let end = match byte {
            b'"' | b'\'' => string_length(rest),
            _ => rest.iter().position(|byte| !is_name(byte)).unwrap_or(rest.len()).max(1),
        };
        let is_named = is_name(&byte) && rest[end..].trim_ascii_start().starts_with(b":");
        if byte == b'\'' || is_named {
            plain.push(b'"');
            plain.extend_from_slice(if is_named { &rest[..end] } else { &rest[1..end - 1] });
            plain.push(b'"');
        } else {
            plain.extend_from_slice(&rest[..end]);
        }
        rest = &rest[end..];
    }
    plain
}

fn without_comments(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        if rest.starts_with(b"//") {
            let end = rest.iter().position(|&byte| byte == b'\n');
            rest = &rest[end.unwrap_or(rest.len())..];
        } else if rest.starts_with(b"/*") {
            let end = rest[2..].windows(2).position(|pair| pair == b"*/");
            rest = &rest[end.map_or(rest.len(), |at| at + 4)..];
        } else {
            let end = if matches!(byte, b'"' | b'\'') { string_length(rest) } else { 1 };
            plain.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
        }
    }
    plain
}

fn without_trailing_commas(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        let end = if byte == b'"' { string_length(rest) } else { 1 };
        let next = rest[end..].trim_ascii_start().first();
        if byte != b',' || !matches!(next, Some(b'}' | b']')) {
            plain.extend_from_slice(&rest[..end]);
        }
        rest = &rest[end..];
    }
    plain
}

/// The length of the string that `text` begins with, its quotes included, of whichever kind they are.
fn string_length(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            byte if byte == text[0] => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// Whether `exp` is a number, or a word for one, that no calendar goes up to.
pub(super) fn has_odd_exp(payload: &[u8]) -> bool {
    let text = String::from_utf8_lossy(payload);
    let Some((_, after)) = text.split_once("\"exp\"") else {
        return false;
    };
    let Some(value) = after.trim_start().strip_prefix(':') else {
        return false;
    };
    let end = |c: char| c == ',' || c == '}' || c.is_whitespace();
    let literal = value.trim_start().split(end).next().unwrap_or_default();
    // Rust reads NaN and Infinity, and overflows to infinity.
    matches!(literal.parse::<f64>(), Ok(exp) if !exp.is_finite() || exp > 1e11)
}
