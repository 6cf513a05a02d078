//! A table in a document: one item written once, with a list of words to repeat it for.
//!
//! ```yaml
//! - for: { alg: [none, None, nOnE] }
//!   name: alg-${alg}
//!   token: { base: valid, header: { alg: "${alg}" } }
//! ```
//!
//! A placeholder that is the whole of a value keeps its type; inside longer text it is written out. Names that the
//! table doesn't bind are left alone: they belong to the run. Nothing else is a language here: no conditions, no
//! arithmetic, one variable, and a replaced text is not searched again.

use std::collections::HashSet;
use std::fmt;

use memchr::memchr;
use serde_json::map::Entry;
use serde_json::{Map, Value};

use super::path::Path;

/// The most entries a table may have.
pub const LONGEST_TABLE: usize = 1_000;
/// The most values, and bytes of text, one table may grow to: 1,000 copies of a long item add up.
const LARGEST_TABLE: usize = 200_000;
const LARGEST_TEXT: usize = 16 << 20;
/// The most characters of a label.
pub(crate) const LONGEST_LABEL: usize = 40;

/// Why a table can't be expanded, and where in the item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableError {
    /// The place, seen from the item that holds the `for:`.
    pub path: Path,
    /// What is wrong.
    pub message: String,
    /// How to mend it, when that isn't plain from the message.
    pub help: Option<String>,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for TableError {}

impl TableError {
    /// The same, seen from further out.
    fn under(self, place: &Path) -> Self {
        Self { path: place.join(&self.path), ..self }
    }
}

/// The copies an item stands for, each with its label; an item without `for:` is its own only copy, unlabelled.
///
/// Labels are unique within the table and hold nothing but ASCII letters, digits, `-`, `_` and `.`.
///
/// # Errors
/// When the table isn't one variable with 1 to 1,000 entries, when the variable is never used, when a placeholder
/// asks an entry for something it lacks, or when the copies would be too large.
///
/// ```
/// use gatecrash::document::expand;
/// let item = serde_json::json!({ "for": { "n": [1, { "x": 2, "label": "two" }] }, "is": "n=${n}" });
/// assert!(expand::table(&item).is_err()); // the second entry is a mapping: `${n.x}` would do
/// let item = serde_json::json!({ "for": { "n": [1, 2] }, "is": "${n}", "at": "${time}" });
/// let copies = expand::table(&item).unwrap();
/// assert_eq!(copies[1], ("2".to_owned(), serde_json::json!({ "is": 2, "at": "${time}" })));
/// ```
pub fn table(item: &Value) -> Result<Vec<(String, Value)>, TableError> {
    let Some((item, table)) = item.as_object().and_then(|item| Some((item, item.get("for")?))) else {
        return Ok(vec![(String::new(), item.clone())]);
    };
    let at = Path::root().key("for");
    let one = || error(&at, "a table names one variable and its entries", Some("write `for: { word: [a, b] }`"));
    let table = table.as_object().filter(|table| table.len() == 1).ok_or_else(one)?;
    let (name, entries) = table.iter().next().ok_or_else(one)?;
    let at = at.key(name);
    if !is_name(name) {
        return Err(error(&at, "a variable's name is made of small letters, digits, `-` and `_`", None));
    }
    let entries = entries
        .as_array()
        .ok_or_else(|| error(&at, "the entries of a table are a list", Some("write `for: { word: [a, b] }`")))?;
    if entries.is_empty() {
        return Err(error(&at, "the table has no entries", Some("give it at least one, or remove the item")));
    }
    if entries.len() > LONGEST_TABLE {
        let message = format!("the table has {} entries; at most {LONGEST_TABLE} are expanded", entries.len());
        return Err(error(&at, &message, None));
    }
    let rest: Map<String, Value> =
        item.iter().filter(|(key, _)| *key != "for").map(|(key, value)| (key.clone(), value.clone())).collect();
    let rest = Value::Object(rest);

    let labels = labels(entries, &at)?;
    let mut filler = Filler::new(name, &Value::Null);
    let mut copies = Vec::with_capacity(entries.len());
    for (index, (entry, label)) in entries.iter().zip(labels).enumerate() {
        filler.entry = entry;
        filler.whose = format!("entry {} of the table", index + 1);
        let copy = filler.fill(&rest)?;
        if !filler.used {
            let help = format!("write `${{{name}}}` where the entries differ, or remove the table");
            return Err(error(&at, &format!("`{name}` is never used"), Some(&help)));
        }
        copies.push((label, copy));
    }
    Ok(copies)
}

/// `value` with every placeholder of one variable, `${name}` or `${name.member}`, written out; `whose` is what messages
/// call the variable.
///
/// # Errors
/// When a placeholder asks for a member that isn't there, or when too much would come of it.
pub fn fill(value: &Value, name: &str, entry: &Value, whose: &str) -> Result<Value, TableError> {
    let mut filler = Filler::new(name, entry);
    whose.clone_into(&mut filler.whose);
    filler.fill(value)
}

fn error(path: &Path, message: &str, help: Option<&str>) -> TableError {
    TableError { path: path.clone(), message: message.to_owned(), help: help.map(str::to_owned) }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
}

/// Labels become part of a trial's name, so no two may be alike; those the author wrote are never changed.
fn labels(entries: &[Value], at: &Path) -> Result<Vec<String>, TableError> {
    let mut labels: Vec<Option<String>> = Vec::with_capacity(entries.len());
    let mut taken = HashSet::new();
    for (index, entry) in entries.iter().enumerate() {
        let Some(label) = entry.get("label") else {
            labels.push(None);
            continue;
        };
        let at = at.index(index).key("label");
        let label = label.as_str().ok_or_else(|| error(&at, "a label is text", Some("quote it")))?;
        if label.is_empty() || safe_label(label) != label {
            let help = format!("use at most {LONGEST_LABEL} ASCII letters, digits, `-`, `_` and `.`");
            return Err(error(&at, "the label can't be part of a name", Some(&help)));
        }
        if !taken.insert(label.to_owned()) {
            return Err(error(&at, &format!("the label `{label}` is given twice"), None));
        }
        labels.push(Some(label.to_owned()));
    }
    let mut out = Vec::with_capacity(entries.len());
    for (index, (entry, label)) in entries.iter().zip(labels).enumerate() {
        let label = label.unwrap_or_else(|| {
            let text = text(entry).map(|text| safe_label(&text)).filter(|label| !label.is_empty());
            let mut label = text.unwrap_or_else(|| index.to_string());
            while !taken.insert(label.clone()) {
                label.push_str(&format!("-{index}"));
            }
            label
        });
        out.push(label);
    }
    Ok(out)
}

fn safe_label(text: &str) -> String {
    let mut label = String::new();
    for character in text.chars() {
        if label.len() >= LONGEST_LABEL {
            break;
        }
        if character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.') {
            label.push(character);
        } else if !label.is_empty() && !label.ends_with('-') {
            label.push('-');
        }
    }
    // What was put in for other characters shouldn't trail; what the author wrote may.
    if text.ends_with('-') { label } else { label.trim_end_matches('-').to_owned() }
}

/// A scalar as text, as the author would write it inside a longer text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("null".to_owned()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(value.clone()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

struct Filler<'a> {
    name: &'a str,
    entry: &'a Value,
    /// What messages call the entry.
    whose: String,
    used: bool,
    values: usize,
    bytes: usize,
}

impl<'a> Filler<'a> {
    fn new(name: &'a str, entry: &'a Value) -> Self {
        Self { name, entry, whose: String::new(), used: false, values: 0, bytes: 0 }
    }

    fn fill(&mut self, value: &Value) -> Result<Value, TableError> {
        self.count(value)?;
        Ok(match value {
            Value::String(template) => {
                if let Some((before, reference, after)) = self.next(template)
                    && before.is_empty()
                    && after.is_empty()
                {
                    let value = self.resolve(reference)?;
                    self.count_all(value)?;
                    return Ok(value.clone());
                }
                Value::String(self.write(template)?)
            }
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .enumerate()
                    .map(|(n, item)| self.fill(item).map_err(|error| error.under(&Path::root().index(n))))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(entries) => {
                let mut out = Map::new();
                for (key, value) in entries {
                    self.fill_entry(key, value, &mut out).map_err(|error| error.under(&Path::root().key(key)))?;
                }
                Value::Object(out)
            }
            _ => value.clone(),
        })
    }

    fn fill_entry(&mut self, key: &str, value: &Value, out: &mut Map<String, Value>) -> Result<(), TableError> {
        let key = self.write(key)?;
        let value = self.fill(value)?;
        match out.entry(key) {
            Entry::Vacant(place) => drop(place.insert(value)),
            Entry::Occupied(place) => {
                let message = format!("the key becomes `{}`, which is already there", place.key());
                return Err(error(&Path::root(), &message, None));
            }
        }
        Ok(())
    }

    /// Text with every placeholder of the table's variable written out.
    fn write(&mut self, template: &str) -> Result<String, TableError> {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, reference, after)) = self.next(rest) {
            let value = self.resolve(reference)?;
            let text = text(value).ok_or_else(|| {
                let message = format!("`${{{reference}}}` is a list or a mapping and can't be part of a text");
                error(&Path::root(), &message, Some("use it alone, or name one of its members"))
            })?;
            out.push_str(before);
            out.push_str(&text);
            self.bytes += text.len();
            self.within()?;
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// The first placeholder of the table's variable: the text before, `word` or `word.x`, the text after.
    fn next<'t>(&self, template: &'t str) -> Option<(&'t str, &'t str, &'t str)> {
        let mut from = 0;
        // A dollar is sought, and not two characters at a time: of most texts that is all there is to do.
        while let Some(start) = memchr(b'$', template.get(from..)?.as_bytes()).map(|found| from + found) {
            let Some(inside) = template.get(start + 1..)?.strip_prefix('{') else {
                from = start + 1;
                continue;
            };
            // Compare before looking for the brace, so that a text full of `${` costs no more than its length.
            if let Some(tail) = inside.strip_prefix(self.name).filter(|tail| tail.starts_with(['.', '}'])) {
                // A reference ends before anything that can't be part of one.
                let end = tail.find(|c: char| matches!(c, '}' | '$' | '{') || c.is_whitespace())?;
                if tail.get(end..)?.starts_with('}') {
                    let length = self.name.len() + end;
                    return Some((template.get(..start)?, inside.get(..length)?, inside.get(length + 1..)?));
                }
            }
            from = start + 2;
        }
        None
    }

    fn resolve(&mut self, reference: &str) -> Result<&'a Value, TableError> {
        self.used = true;
        let mut value = self.entry;
        for member in reference.split('.').skip(1) {
            value = value.get(member).ok_or_else(|| {
                let message = format!("{} has no `{member}`", self.whose);
                error(&Path::root(), &message, Some(&format!("give it one, or don't use `${{{reference}}}`")))
            })?;
        }
        Ok(value)
    }

    fn count(&mut self, value: &Value) -> Result<(), TableError> {
        self.values += 1;
        match value {
            Value::String(text) => self.bytes += text.len(),
            Value::Object(entries) => self.bytes += entries.keys().map(String::len).sum::<usize>(),
            _ => {}
        }
        self.within()
    }

    fn count_all(&mut self, value: &Value) -> Result<(), TableError> {
        self.count(value)?;
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.count_all(item)),
            Value::Object(entries) => entries.values().try_for_each(|item| self.count_all(item)),
            _ => Ok(()),
        }
    }

    fn within(&self) -> Result<(), TableError> {
        if self.values > LARGEST_TABLE || self.bytes > LARGEST_TEXT {
            return Err(error(&Path::root(), "the table expands to too much", Some("shorten the table or the item")));
        }
        Ok(())
    }
}
