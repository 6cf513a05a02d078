//! From plain data to a Rust type, and from serde's words to the author's.
//!
//! The type's own `Deserialize` decides what is allowed; this module finds the place of its complaint and rephrases
//! it. It sees serde's complaint as text only, so it takes it apart from the outside in: what serde wrote last is
//! fixed by the type, what it quotes from the document may hold anything.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::diagnostic::{Code, Diagnostic, Diagnostics};
use super::guard::{Found, Tree};
use super::path::Path;
use super::source::Source;

/// Words longer than this get no suggestion: nobody misspells that much, and comparing costs time.
const LONGEST_WORD: usize = 64;

pub(super) fn decode<T: DeserializeOwned>(
    source: &Source,
    tree: &Tree,
    value: &Value,
    at: &Path,
) -> Result<T, Diagnostics> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = at.join(&steps(error.path()));
        explain(source, tree, &path, &error.inner().to_string()).into()
    })
}

/// A diagnostic at a value, or, where the value has no text of its own, at its key.
pub(super) fn at_value(source: &Source, found: &Found, tree: &Tree, code: Code, message: &str) -> Diagnostic {
    let target = tree.target(found.node);
    let range = tree.node(target).map_or(0..0, |node| node.range.clone());
    let blank = source.text().get(range.clone()).is_none_or(|text| text.trim().is_empty());
    let range = if blank { found.key.clone().unwrap_or(range) } else { range };
    through_alias(source, found, tree, Diagnostic::new(code, source, range, message))
}

fn at_range(
    source: &Source,
    found: &Found,
    tree: &Tree,
    range: std::ops::Range<usize>,
    code: Code,
    message: &str,
) -> Diagnostic {
    through_alias(source, found, tree, Diagnostic::new(code, source, range, message))
}

/// A mistake is mended where it is written, but it may only be one where it is used.
fn through_alias(source: &Source, found: &Found, tree: &Tree, diagnostic: Diagnostic) -> Diagnostic {
    let own = tree.node(found.node).map(|node| node.range.clone()).filter(|_| tree.target(found.node) != found.node);
    match found.alias.clone().or(own) {
        Some(alias) => diagnostic.also(source, &alias, "used here through an alias"),
        None => diagnostic,
    }
}

fn steps(path: &serde_path_to_error::Path) -> Path {
    let mut out = Path::root();
    for segment in path {
        match segment {
            serde_path_to_error::Segment::Seq { index } => out = out.index(*index),
            serde_path_to_error::Segment::Map { key } => out = out.key(key),
            // `{ send: ... }` is an enum to serde and a key to the author; a bare word has no place below itself,
            // and the search stops at the word.
            serde_path_to_error::Segment::Enum { variant } => out = out.key(variant),
            serde_path_to_error::Segment::Unknown => break,
        }
    }
    out
}

fn explain(source: &Source, tree: &Tree, path: &Path, complaint: &str) -> Diagnostic {
    let found = tree.find(path);
    let value = |code, message: &str| at_value(source, &found, tree, code, message);

    if let Some((word, allowed)) = unknown(complaint, "unknown field `") {
        let message = format!("unknown key `{word}`");
        let range = found
            .key
            .clone()
            .filter(|range| source.text().get(range.clone()).is_some_and(|text| text.contains(word)))
            .or_else(|| {
                tree.entries(found.node).iter().find(|entry| entry.key == word).map(|entry| entry.key_range.clone())
            });
        let diagnostic = match range {
            Some(range) => at_range(source, &found, tree, range, Code::UnknownKey, &message),
            None => value(Code::UnknownKey, &message),
        };
        return suggest(diagnostic, word, &allowed, "keys allowed here");
    }
    if let Some((word, allowed)) = unknown(complaint, "unknown variant `") {
        let message = format!("unknown word `{word}`");
        let key = tree.entries(found.node).iter().find(|entry| entry.key == word).map(|entry| entry.key_range.clone());
        let diagnostic = match key {
            Some(range) => at_range(source, &found, tree, range, Code::UnknownWord, &message),
            None => value(Code::UnknownWord, &message),
        };
        return suggest(diagnostic, word, &allowed, "words allowed here");
    }
    if let Some(key) = complaint.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        let message = format!("missing key `{key}`");
        let first = tree.entries(found.node).first().map(|entry| entry.key_range.clone());
        let diagnostic = match first {
            Some(range) => at_range(source, &found, tree, range, Code::MissingKey, &message),
            None => value(Code::MissingKey, &message),
        };
        return diagnostic.label(format!("this mapping needs `{key}`"));
    }
    if let Some((actual, expected)) = mismatch(complaint, "invalid type: ") {
        let wanted = type_words(expected);
        let actual_words = found_words(actual);
        let diagnostic = value(Code::WrongType, &format!("expected {wanted}, found {actual_words}"))
            .label(format!("expected {wanted}"));
        let scalar = ["integer", "floating point", "boolean"].iter().any(|kind| actual.starts_with(kind));
        return if expected.contains("string") && scalar {
            diagnostic.help("quote it if text is meant")
        } else if matches!(actual, "null" | "unit value" | "Option value") {
            diagnostic.help("write the value after the `:`, or remove the key")
        } else {
            diagnostic
        };
    }
    for prefix in ["invalid value: ", "invalid length "] {
        if let Some((actual, expected)) = mismatch(complaint, prefix) {
            let actual = match prefix {
                "invalid length " => format!("{actual} of them"),
                _ => found_words(actual),
            };
            return value(Code::BadValue, &format!("expected {}, found {actual}", type_words(expected)));
        }
    }
    value(Code::BadValue, complaint)
}

/// Splits ``unknown field `x`, expected one of `a`, `b` `` into the word and the list.
fn unknown<'a>(complaint: &'a str, prefix: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let rest = complaint.strip_prefix(prefix)?;
    let (word, list) = rest.rsplit_once("`, expected ").or_else(|| rest.rsplit_once("`, there are no "))?;
    // The list is made of backquoted words: every second piece.
    Some((word, list.split('`').skip(1).step_by(2).collect()))
}

fn mismatch<'a>(complaint: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    complaint.strip_prefix(prefix)?.rsplit_once(", expected ")
}

fn suggest(diagnostic: Diagnostic, word: &str, allowed: &[&str], heading: &str) -> Diagnostic {
    let diagnostic = match closest(word, allowed.iter().copied()) {
        Some(close) => diagnostic.help(format!("did you mean `{close}`?")),
        None => diagnostic,
    };
    if allowed.is_empty() {
        return diagnostic.note("no key is allowed here");
    }
    let list: Vec<String> = allowed.iter().map(|word| format!("`{word}`")).collect();
    diagnostic.note(format!("{heading}: {}", list.join(", ")))
}

/// The allowed word that was probably meant: at most a third of its letters differ, case and `_` for `-` not counted.
pub(super) fn closest<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.chars().take(LONGEST_WORD + 1).count() > LONGEST_WORD {
        return None;
    }
    let plain = |word: &str| word.to_lowercase().replace('_', "-");
    let word = plain(word);
    allowed
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .filter(|(distance, candidate)| *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Rust's names for types, as an author of YAML would say them.
fn type_words(expected: &str) -> String {
    match expected {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" | "u64" | "u128" | "usize" => "a whole number from 0 up".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "a string" | "a borrowed string" => "text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        "unit" => "nothing (null)".to_owned(),
        "string or map" => "a word, or a mapping with one key".to_owned(),
        "map with a single key" => "a mapping with one key".to_owned(),
        _ if expected.starts_with("struct ") => "a mapping".to_owned(),
        _ if expected.starts_with("tuple struct ") => "a list".to_owned(),
        _ => expected.to_owned(),
    }
}

fn found_words(actual: &str) -> String {
    match actual {
        "null" | "unit value" => return "nothing (null)".to_owned(),
        "map" => return "a mapping".to_owned(),
        "sequence" => return "a list".to_owned(),
        _ => {}
    }
    for (kind, words) in [("integer ", "the number "), ("floating point ", "the number "), ("boolean ", "")] {
        if let Some(rest) = actual.strip_prefix(kind) {
            return format!("{words}{rest}");
        }
    }
    actual.strip_prefix("string ").map_or_else(|| actual.to_owned(), |rest| format!("the text {rest}"))
}
