//! What a case keeps of an answer, and puts into its later steps as `${kept.NAME}`.
//!
//! Looking for it, putting it in, and telling that a name is never kept. The room connects to nothing and judges nothing;
//! what is kept is text, whatever it was.

use std::borrow::Cow;
use std::collections::BTreeMap;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::case::Step;
use crate::wire::answer::Head;

/// Kept texts by their names.
pub type Kept = BTreeMap<String, String>;

/// Where in an answer or a message something stands that is worth keeping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The member at this JSON Pointer (RFC 6901): a text as it is, anything else as it is written in JSON.
    Json(String),
    /// What the first group of this regular expression matches, or all of the match where it has no group.
    Regex(String),
    /// The first header of this name; only an HTTP answer has headers.
    Header(String),
}

/// The longest text that is kept.
const LONGEST: usize = 64 << 10;

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
                let found = Regex::new(pattern).ok()?.captures(text)?;
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
    put(&mut value, kept);
    serde_json::from_value(value).map(Cow::Owned).map_err(|error| format!("with what was kept: {error}"))
}

const OPENS: &str = "${kept.";

/// The names in the `${kept.NAME}` of a text.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(OPENS).skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
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

/// Puts what was kept into every text of a value. What was kept is not searched again.
pub fn put(value: &mut Value, kept: &Kept) {
    match value {
        Value::String(text) if text.contains(OPENS) => *text = written(text, kept),
        Value::Array(items) => items.iter_mut().for_each(|item| put(item, kept)),
        Value::Object(members) => {
            let keys: Vec<String> = members.keys().filter(|key| key.contains(OPENS)).cloned().collect();
            for key in keys {
                if let Some(member) = members.remove(&key) {
                    members.insert(written(&key, kept), member);
                }
            }
            members.values_mut().for_each(|member| put(member, kept));
        }
        _ => {}
    }
}

fn written(text: &str, kept: &Kept) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPENS) {
        let Some((name, behind)) = after.split_once('}') else { break };
        let Some(value) = kept.get(name) else { break };
        out.push_str(before);
        out.push_str(value);
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
        assert_eq!(send.texts, ["{\"room\":\"${kept.who}\"}", "${kept.who}${kept.who}", "${user}"]);
        let nobody = Kept::from([("who".to_owned(), "bob".to_owned())]);
        assert_eq!(fill(&step, &nobody).expect_err("missing"), "`room` was not kept by an earlier step");
        assert!(matches!(fill(&step, &Kept::new()), Ok(Cow::Borrowed(_))));
    }
}
