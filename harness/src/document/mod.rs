//! YAML text in, typed values out, and for every mistake a message that says where it is and how to mend it.
//!
//! The room is pure: it opens no file and knows nothing of cases, profiles or tokens. A text passes four steps.
//! The *guard* refuses what is too large, too deep or too clever (tags, merge keys, duplicate keys, directives, a
//! second document) and notes the place of every key and value. Two readers then say what the text *means*, and must
//! agree. A *table* (`for:`) becomes its copies. Last, a value is *decoded* into the caller's type, and what serde has
//! to say about it is looked up among the places.
//!
//! Types to be decoded use `deny_unknown_fields` and externally tagged enums; untagged, flattened and internally
//! tagged ones are buffered by serde, and their mistakes would point at the parent.
//!
//! ```
//! use gatecrash::document::{Document, Path};
//!
//! #[derive(serde::Deserialize, Debug)]
//! #[serde(deny_unknown_fields)]
//! struct Case {
//!     name: String,
//!     expect: String,
//! }
//!
//! let text = "cases:\n  - name: alg-none\n    expcet: refused\n";
//! let document = Document::parse("cases/auth.yaml", text).unwrap();
//! let list = &document.value()["cases"];
//! let found = document.decode_items::<Case>(list, &Path::root().key("cases")).unwrap_err();
//! assert_eq!(
//!     found.to_string(),
//!     "\
//! error[GC1003]: unknown key `expcet`
//!  --> cases/auth.yaml:3:5
//!   |
//! 3 |     expcet: refused
//!   |     ^^^^^^
//!   |
//!   = note: keys allowed here: `name`, `expect`
//!   = help: did you mean `expect`?"
//! );
//! ```

mod decode;
mod diagnostic;
pub mod expand;
mod guard;
mod meaning;
mod path;
mod source;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use diagnostic::{Code, Diagnostic, Diagnostics};
pub use guard::{LIMITS, Limits};
pub use path::{Path, Segment};
pub use source::Place;

use guard::Tree;
use source::Source;

/// A text that was read without complaint: its value, and the place of everything in it.
#[derive(Clone, Debug)]
pub struct Document {
    source: Source,
    tree: Tree,
    value: Value,
}

impl Document {
    /// Reads a text; `name` is what messages call it, usually the path of its file.
    ///
    /// # Errors
    /// When the text is too large, isn't YAML, uses what documents may not use, or can be read in two ways.
    pub fn parse(name: &str, text: &str) -> Result<Self, Diagnostics> {
        let source = Source::new(name, text);
        let tree = guard::read(&source, &LIMITS)?;
        let value = meaning::read(&source, &tree)?;
        Ok(Self { source, tree, value })
    }

    /// Reads bytes that should be UTF-8, as they come from a file.
    ///
    /// # Errors
    /// As [`Document::parse`], and when the bytes aren't UTF-8.
    pub fn parse_bytes(name: &str, bytes: &[u8]) -> Result<Self, Diagnostics> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse(name, text),
            Err(error) => {
                let good = error.valid_up_to();
                // Enough to show the line; a gigabyte of something else isn't worth copying.
                let shown = bytes.get(..bytes.len().min(LIMITS.bytes).max(good.min(LIMITS.bytes))).unwrap_or(bytes);
                let source = Source::new(name, &String::from_utf8_lossy(shown));
                Err(Diagnostic::new(Code::NotText, &source, good..good, "the file isn't UTF-8 from here on")
                    .help("save it as UTF-8")
                    .into())
            }
        }
    }

    /// The name the document was parsed under.
    #[must_use]
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// The text as it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        self.source.text()
    }

    /// The whole document as plain data.
    #[must_use]
    pub const fn value(&self) -> &Value {
        &self.value
    }

    /// Where the value at a path stands, or, behind an alias, where it is written.
    #[must_use]
    pub fn place(&self, path: &Path) -> Option<Place> {
        let found = self.tree.find(path);
        let node = self.tree.node(self.tree.target(found.node)).filter(|_| found.whole)?;
        Some(self.source.place(&node.range))
    }

    /// Where the key of the value at a path stands; a list item and the whole document have none.
    #[must_use]
    pub fn key_place(&self, path: &Path) -> Option<Place> {
        let found = self.tree.find(path);
        found.key.filter(|_| found.whole).map(|range| self.source.place(&range))
    }

    /// Decodes a value into a type. `value` is what stands at the path `at`, or a copy of it made by a table; the
    /// path is used to find the place of a mistake, and a step the text doesn't have stops at what contains it.
    ///
    /// # Errors
    /// The first mistake serde finds.
    pub fn decode<T: DeserializeOwned>(&self, value: &Value, at: &Path) -> Result<T, Diagnostics> {
        decode::decode(&self.source, &self.tree, value, at)
    }

    /// Decodes each item of a list by itself, so that one reading shows a mistake in each.
    ///
    /// # Errors
    /// The first mistake of every item that has one, or that `list` isn't a list.
    pub fn decode_items<T: DeserializeOwned>(&self, list: &Value, at: &Path) -> Result<Vec<T>, Diagnostics> {
        let Some(items) = list.as_array() else {
            // The complaint about anything but a list comes from serde too, in the same words.
            return self.decode(list, at);
        };
        let mut found = Diagnostics::new();
        let mut decoded = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            decoded.extend(found.keep(self.decode(item, &at.index(index))));
            // The rest would not be shown, and each costs time.
            if found.len() >= diagnostic::SHOWN_DIAGNOSTICS {
                break;
            }
        }
        found.or(decoded)
    }

    /// The copies an item with a `for:` table stands for; see [`expand::table`].
    ///
    /// # Errors
    /// When the table can't be expanded.
    pub fn expand(&self, item: &Value, at: &Path) -> Result<Vec<(String, Value)>, Diagnostics> {
        expand::table(item).map_err(|error| self.table_error(error, at))
    }

    /// A value with the placeholders of one variable written out; see [`expand::fill`].
    ///
    /// # Errors
    /// When a placeholder can't be.
    pub fn fill(&self, value: &Value, at: &Path, name: &str, entry: &Value, whose: &str) -> Result<Value, Diagnostics> {
        expand::fill(value, name, entry, whose).map_err(|error| self.table_error(error, at))
    }

    fn table_error(&self, error: expand::TableError, at: &Path) -> Diagnostics {
        let diagnostic = self.diagnostic(Code::BadTable, &at.join(&error.path), &error.message, None);
        match error.help {
            Some(help) => diagnostic.help(help).into(),
            None => diagnostic.into(),
        }
    }

    /// A mistake only the caller can see, shown at the value of a path: "weakness `x` is not in weaknesses.yaml".
    #[must_use]
    pub fn diagnostic(&self, code: Code, path: &Path, message: &str, help: Option<&str>) -> Diagnostic {
        let diagnostic = decode::at_value(&self.source, &self.tree.find(path), &self.tree, code, message);
        match help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }
    }

    /// As [`Document::diagnostic`], shown at the key of the path.
    #[must_use]
    pub fn key_diagnostic(&self, code: Code, path: &Path, message: &str, help: Option<&str>) -> Diagnostic {
        match self.tree.find(path).key {
            Some(range) => {
                let diagnostic = Diagnostic::new(code, &self.source, range, message);
                match help {
                    Some(help) => diagnostic.help(help),
                    None => diagnostic,
                }
            }
            None => self.diagnostic(code, path, message, help),
        }
    }
}

/// Text as it may be printed in a line: what a terminal would act on, or not show at all, is escaped.
#[must_use]
pub fn printable(text: &str) -> String {
    diagnostic::printable(text)
}

/// The word of a list that was probably meant, for "did you mean" in messages of the caller's own.
#[must_use]
pub fn closest<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    decode::closest(word, allowed)
}

/// The question whether that word was meant, if there is one.
#[must_use]
pub fn did_you_mean<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(word, allowed).map(|close| format!("did you mean `{close}`?"))
}
