//! What a case keeps of an answer, and puts into its later steps as `${kept.NAME}`.
//!
//! Looking for it, putting it in, and telling that a name is never kept. The room connects to nothing and judges nothing;
//! what is kept is text, whatever it was.

use std::borrow::Cow;
use std::collections::BTreeMap;

use regex_lite::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::case::Step;
use crate::profile;
use crate::wire::answer::Head;

/// Kept texts by their names.
pub type Kept = BTreeMap<String, String>;

/// Where in an answer or a message something stands that is worth keeping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Kept")]
pub enum Part {
    /// The member at this JSON Pointer (RFC 6901): a text as it is, anything else as it is written in JSON.
    Json(String),
    /// What the first group of this regular expression matches in the first 16 KiB, or all of the match where it has no
    /// group.
    Regex(String),
    /// The first header of this name; only an HTTP answer has headers.
    Header(String),
}

/// The longest text that is kept.
const LONGEST: usize = 64 << 10;
/// So much of a text is searched by a regular expression: a search may take long, and nothing else goes on meanwhile.
const SEARCHED: usize = 16 << 10;
/// The longest that a step may become by what is put into it.
const LONGEST_STEP: usize = 4 << 20;

impl Part {
    /// What stands there; nothing where the answer has no such part, or one too long to keep.
    pub fn find(&self, text: &str, head: Option<&Head>) -> Option<String> {
        let found = match self {
            Self::Json(pointer) => {
                let value: Value = serde_json::from_str(text).ok()?;
                match value.pointer(pointer)? {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                }
            }
            Self::Regex(pattern) => {
                let end = (0..=text.len().min(SEARCHED)).rfind(|end| text.is_char_boundary(*end))?;
                let found = Regex::new(pattern).ok()?.captures(&text[..end])?;
                found.get(1).or_else(|| found.get(0))?.as_str().to_owned()
            }
            Self::Header(name) => head?.header(name)?.clone(),
        };
        (found.len() <= LONGEST).then_some(found)
    }

    /// Why nothing can ever be found in this way; `of_http` is whether it is looked for in an HTTP answer.
    ///
    /// # Errors
    ///
    /// In words, for the author of the case.
    pub fn check(&self, of_http: bool) -> Result<(), String> {
        match self {
            Self::Json(pointer) if !pointer.is_empty() && !pointer.starts_with('/') => {
                Err(format!("`{pointer}` is no JSON Pointer: it begins with `/`, as in `/room/id`"))
            }
            Self::Regex(pattern) => match Regex::new(pattern) {
                Ok(_) => Ok(()),
                Err(why) => Err(format!("`{pattern}` is no regular expression: {why}")),
            },
            Self::Header(name) if !of_http => Err(format!("a message has no header `{name}`; an `http` step does")),
            Self::Json(_) | Self::Header(_) => Ok(()),
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Json(pointer) => write!(f, "{pointer}"),
            Self::Regex(pattern) => write!(f, "what matches `{pattern}`"),
            Self::Header(name) => write!(f, "the header {name}"),
        }
    }
}

/// All of the parts, or the name of the first that is not there.
///
/// # Errors
///
/// That name.
pub fn find_all<'p>(
    parts: &'p BTreeMap<String, Part>,
    text: &str,
    head: Option<&Head>,
) -> Result<Kept, (&'p str, &'p Part)> {
    let mut kept = Kept::new();
    for (name, part) in parts {
        kept.insert(name.clone(), part.find(text, head).ok_or((name.as_str(), part))?);
    }
    Ok(kept)
}

/// The parts that a step keeps.
pub fn parts(step: &Step) -> Option<&BTreeMap<String, Part>> {
    match step {
        Step::Http(http) => Some(&http.keep),
        Step::Receive(receive) => Some(&receive.keep),
        _ => None,
    }
}

/// The step with what was kept in the places that ask for it.
///
/// # Errors
///
/// When a name in it was not kept, or when the step makes no sense with it.
pub fn fill<'s>(step: &'s Step, kept: &Kept) -> Result<Cow<'s, Step>, String> {
    if kept.is_empty() {
        return Ok(Cow::Borrowed(step));
    }
    let mut value = serde_json::to_value(step).map_err(|error| error.to_string())?;
    let mut names = Vec::new();
    each_name(&value, &mut |name| names.push(name.to_owned()));
    if names.is_empty() {
        return Ok(Cow::Borrowed(step));
    }
    if let Some(missing) = names.iter().find(|name| !kept.contains_key(*name)) {
        return Err(format!("`{missing}` was not kept by an earlier step"));
    }
    let longest: usize = names.iter().filter_map(|name| kept.get(name)).map(String::len).sum();
    if longest > LONGEST_STEP {
        return Err(format!("what was kept would make the step longer than {LONGEST_STEP} bytes"));
    }
    put(&mut value, kept)?;
    // What serde says would quote what was kept.
    serde_json::from_value(value).map(Cow::Owned).map_err(|_| "the step makes no sense with what was kept".to_owned())
}

const OPENS: &str = "${kept.";

/// What stands before the next `${kept.NAME}` of a text, the name, and what stands behind it. `$${` is no such place.
fn next(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find(OPENS)?;
        let behind = &text[at + OPENS.len()..];
        match behind.split_once('}') {
            Some((name, rest)) if !text[..at].ends_with('$') => return Some((&text[..at], name, rest)),
            Some(_) => from = at + OPENS.len(),
            None => return None,
        }
    }
}

/// The names in the `${kept.NAME}` of a text.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, name, behind) = next(rest)?;
        rest = behind;
        Some(name)
    })
}

/// Calls `each` with every name that a value asks for.
pub fn each_name(value: &Value, each: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => names(text).for_each(each),
        Value::Array(items) => items.iter().for_each(|item| each_name(item, each)),
        Value::Object(members) => members.iter().for_each(|(key, member)| {
            names(key).for_each(&mut *each);
            each_name(member, each);
        }),
        _ => {}
    }
}

/// Puts what was kept into every text of a value. What was kept is not searched again, by whomever.
///
/// # Errors
///
/// When two keys of a mapping become the same.
pub fn put(value: &mut Value, kept: &Kept) -> Result<(), String> {
    put_at(value, kept, &mut Vec::new())
}

fn put_at(value: &mut Value, kept: &Kept, path: &mut Vec<String>) -> Result<(), String> {
    match value {
        Value::String(text) if text.contains(OPENS) => *text = written(text, kept, path),
        Value::Array(items) => return items.iter_mut().try_for_each(|item| put_at(item, kept, path)),
        Value::Object(members) => {
            let keys: Vec<String> = members.keys().filter(|key| key.contains(OPENS)).cloned().collect();
            for key in keys {
                let filled = written(&key, kept, path);
                if let Some(member) = members.remove(&key)
                    && members.insert(filled, member).is_some()
                {
                    return Err("two keys of a mapping are the same with what was kept".to_owned());
                }
            }
            for (key, member) in members.iter_mut() {
                path.push(key.clone());
                put_at(member, kept, path)?;
                path.pop();
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whether the words of a run, `${user}` and the like, are put into the texts at this place of a step.
fn has_words(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    matches!(
        path.as_slice(),
        ["open", "token", ..]
            | ["open", "carry", "also", ..]
            | ["open", "request", "query" | "set" | "add", ..]
            | ["send" | "say", "texts", ..]
            | ["receive", "like", ..]
            | ["http", "bearer", ..]
            | ["crowd", "of", ..]
    )
}

fn written(text: &str, kept: &Kept, path: &[String]) -> String {
    // A message in JSON stays one, whatever stands in what was kept.
    let is_message = matches!(path.first().map(String::as_str), Some("send" | "say"));
    let is_json = is_message && text.trim_start().starts_with(['{', '[']);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, name, behind)) = next(rest) {
        let Some(value) = kept.get(name) else { break };
        out.push_str(before);
        let mut value = Cow::Borrowed(value.as_str());
        if is_json && profile::ends_quoted(&text[..text.len() - rest.len() + before.len()]) {
            let quoted = Value::from(&*value).to_string();
            value = Cow::Owned(quoted[1..quoted.len() - 1].to_owned());
        }
        if has_words(path) {
            value = Cow::Owned(value.replace("${", "$${"));
        }
        out.push_str(&value);
        rest = behind;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_are_found_or_not() {
        let text = r#"{"room":{"id":"r-7","open":true},"n":3}"#;
        let json = |pointer: &str| Part::Json(pointer.to_owned()).find(text, None);
        assert_eq!(json("/room/id").as_deref(), Some("r-7"));
        assert_eq!(json("/n").as_deref(), Some("3"));
        assert_eq!(json("/room/open").as_deref(), Some("true"));
        assert_eq!(json("/room/none"), None);
        assert_eq!(Part::Json(String::new()).find("not json", None), None);
        let regex = |pattern: &str| Part::Regex(pattern.to_owned()).find("code=4711;", None);
        assert_eq!(regex(r"code=(\d+)").as_deref(), Some("4711"));
        assert_eq!(regex(r"\d+").as_deref(), Some("4711"));
        assert_eq!(regex(r"pin=(\d+)"), None);
    }

    #[test]
    fn what_can_never_be_found_is_told() {
        assert!(Part::Json("room".to_owned()).check(true).is_err());
        assert!(Part::Regex("(".to_owned()).check(true).is_err());
        assert!(Part::Header("Set-Cookie".to_owned()).check(false).is_err());
        assert!(Part::Header("Set-Cookie".to_owned()).check(true).is_ok());
    }

    #[test]
    fn a_step_is_filled_everywhere_and_once() {
        let step: Step = serde_json::from_value(json!({
            "send": { "on": "${kept.who}", "texts": ["{\"room\":\"${kept.room}\"}", "${kept.room}${kept.room}", "${user}"] }
        }))
        .expect("a step");
        let kept = Kept::from([("who".to_owned(), "bob".to_owned()), ("room".to_owned(), "${kept.who}".to_owned())]);
        let filled = fill(&step, &kept).expect("filled");
        let Step::Send(send) = filled.as_ref() else { panic!("another step") };
        assert_eq!(send.on, "bob");
        // As it will be when the words of the run are put in: `$${` is a `${` that is none.
        assert_eq!(send.texts, ["{\"room\":\"$${kept.who}\"}", "$${kept.who}$${kept.who}", "${user}"]);
        let nobody = Kept::from([("who".to_owned(), "bob".to_owned())]);
        assert_eq!(fill(&step, &nobody).expect_err("missing"), "`room` was not kept by an earlier step");
        assert!(matches!(fill(&step, &Kept::new()), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn a_message_in_json_stays_json_and_an_escaped_place_is_none() {
        let step: Step = serde_json::from_value(json!({
            "send": { "texts": ["{\"re\":\"${kept.m}\"}", "re ${kept.m}", "$${kept.m}"] }
        }))
        .expect("a step");
        let kept = Kept::from([("m".to_owned(), "say \"hi\"".to_owned())]);
        let filled = fill(&step, &kept).expect("filled");
        let Step::Send(send) = filled.as_ref() else { panic!("another step") };
        assert_eq!(send.texts, ["{\"re\":\"say \\\"hi\\\"\"}", "re say \"hi\"", "$${kept.m}"]);
    }

    #[test]
    fn two_keys_that_become_one_are_an_error_and_so_is_too_much() {
        let step: Step = serde_json::from_value(json!({
            "receive": { "like": { "json": { "/a": 1, "/${kept.k}": 2 } } }
        }))
        .expect("a step");
        let kept = Kept::from([("k".to_owned(), "a".to_owned())]);
        assert!(fill(&step, &kept).expect_err("one key").contains("two keys"));
        let step: Step =
            serde_json::from_value(json!({ "send": { "texts": [ "${kept.k}".repeat(100) ] } })).expect("a step");
        let kept = Kept::from([("k".to_owned(), "x".repeat(LONGEST))]);
        assert!(fill(&step, &kept).expect_err("too long").contains("longer than"));
    }
}
