//! What the text means, asked of two readers, and the comparison of their answers.
//!
//! `serde_yaml` decodes; serde-saphyr must agree with it. Where they don't (`010`, `0x10`, `1_000`), other tools will
//! not agree either, and the author is asked to say what is meant. Both readers fill one type through one visitor, so
//! a difference is never an artefact of the comparison.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};

use super::diagnostic::{Code, Diagnostic, Diagnostics};
use super::guard::{Kind, LIMITS, NodeId, Tree};
use super::source::Source;

/// A value as a reader understood it. Keys are kept as any value, so that `1: x` is seen rather than converted.
#[derive(Clone, Debug)]
enum Meaning {
    Null,
    Bool(bool),
    Int(i128),
    Huge(u128),
    Float(f64),
    Text(String),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

impl<'de> Deserialize<'de> for Meaning {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MeaningVisitor)
    }
}

struct MeaningVisitor;

impl<'de> Visitor<'de> for MeaningVisitor {
    type Value = Meaning;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plain data")
    }

    fn visit_unit<E>(self) -> Result<Meaning, E> {
        Ok(Meaning::Null)
    }

    fn visit_none<E>(self) -> Result<Meaning, E> {
        Ok(Meaning::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Meaning, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Meaning, E> {
        Ok(Meaning::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Meaning, E> {
        Ok(Meaning::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Meaning, E> {
        Ok(Meaning::Int(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Meaning, E> {
        Ok(Meaning::Int(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Meaning, E> {
        Ok(i128::try_from(value).map_or(Meaning::Huge(value), Meaning::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Meaning, E> {
        Ok(Meaning::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Meaning, E> {
        Ok(Meaning::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Meaning, E> {
        Ok(Meaning::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Meaning, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Meaning::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Meaning, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Meaning::Map(entries))
    }
}

impl Meaning {
    /// What it is, in the author's words, to show two readings side by side.
    fn describe(&self) -> String {
        match self {
            Self::Null => "nothing (null)".to_owned(),
            Self::Bool(value) => format!("the boolean {value}"),
            Self::Int(value) => format!("the number {value}"),
            Self::Huge(value) => format!("the number {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Text(value) => format!("the text {value:?}"),
            Self::List(items) => format!("a list of {}", items.len()),
            Self::Map(entries) => format!("a mapping of {}", entries.len()),
        }
    }
}

/// Decodes a text that passed the guard.
pub(super) fn read(source: &Source, tree: &Tree) -> Result<Value, Diagnostics> {
    let decoded: Meaning = serde_yaml::from_str(source.text()).map_err(|error| {
        let offset = error.location().map_or(0, |location| location.index());
        second_opinion(source, offset, &error.to_string())
    })?;
    let checked: Meaning = serde_saphyr::from_str_with_options(source.text(), options()).map_err(|error| {
        let offset = error.location().map_or(0, |place| {
            let line = usize::try_from(place.line()).unwrap_or(1);
            source.offset(line, usize::try_from(place.column()).unwrap_or(1))
        });
        second_opinion(source, offset, &error.without_snippet().to_string())
    })?;
    let mut comparison = Comparison { source, tree, found: Diagnostics::new() };
    let value = comparison.value(tree.root(), decoded, checked);
    comparison.found.or(value)
}

/// The parsers differ in whether this is YAML at all.
fn second_opinion(source: &Source, offset: usize, message: &str) -> Diagnostics {
    Diagnostic::new(Code::Ambiguous, source, offset..offset, "readers of YAML disagree on whether this is valid")
        .note(format!("one of them says: {message}"))
        .help("write it in a plainer way, for example with quotes")
        .into()
}

fn options() -> serde_saphyr::Options {
    // The guard has already refused what these refuse; they are set again so that no rule rests on one line.
    serde_saphyr::options! {
        strict_booleans: true,
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        reject_unsupported_tags: true,
        // Seen and refused here, with a better message.
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: LIMITS.depth + 1,
            max_nodes: 2 * LIMITS.expanded_nodes,
            max_anchors: LIMITS.nodes,
            max_aliases: LIMITS.aliases,
            max_documents: 1,
            enforce_alias_anchor_ratio: false,
        },
    }
}

struct Comparison<'a> {
    source: &'a Source,
    tree: &'a Tree,
    found: Diagnostics,
}

impl Comparison<'_> {
    fn value(&mut self, id: NodeId, decoded: Meaning, checked: Meaning) -> Value {
        let tree = self.tree;
        let range = tree.node(id).map_or(0..0, |node| node.range.clone());
        let kind = tree.node(tree.target(id)).map(|node| &node.kind);
        match (kind, decoded, checked) {
            (Some(Kind::List(nodes)), Meaning::List(decoded), Meaning::List(checked))
                if nodes.len() == decoded.len() && nodes.len() == checked.len() =>
            {
                let pairs = decoded.into_iter().zip(checked);
                Value::Array(
                    nodes.iter().zip(pairs).map(|(node, (one, other))| self.value(*node, one, other)).collect(),
                )
            }
            (Some(Kind::Map(entries)), Meaning::Map(decoded), Meaning::Map(checked))
                if entries.len() == decoded.len() && entries.len() == checked.len() =>
            {
                let mut map = Map::new();
                for (entry, ((one_key, one), (other_key, other))) in
                    entries.iter().zip(decoded.into_iter().zip(checked))
                {
                    self.key(&entry.key, &entry.key_range, &one_key, &other_key);
                    let value = self.value(entry.value, one, other);
                    map.insert(entry.key.clone(), value);
                }
                Value::Object(map)
            }
            (Some(Kind::Scalar), decoded, checked) => self.scalar(range, decoded, &checked),
            (_, decoded, checked) => {
                self.differ(range, &decoded, &checked);
                Value::Null
            }
        }
    }

    fn key(&mut self, written: &str, range: &Range<usize>, decoded: &Meaning, checked: &Meaning) {
        match (decoded, checked) {
            (Meaning::Text(one), Meaning::Text(other)) if one == written && other == written => {}
            (Meaning::Text(_), Meaning::Text(_)) => self.differ(range.clone(), decoded, checked),
            (Meaning::Text(_), other) | (other, _) => {
                let message = format!("a key must be text, and this is {}", other.describe());
                let mut diagnostic = Diagnostic::new(Code::NotAWord, self.source, range.clone(), message);
                diagnostic = if written.is_empty() {
                    diagnostic.help("write the key before the `:`")
                } else {
                    diagnostic.help(format!("quote it if text is meant: `{written:?}`"))
                };
                self.found.push(diagnostic);
            }
        }
    }

    fn scalar(&mut self, range: Range<usize>, decoded: Meaning, checked: &Meaning) -> Value {
        let written = self.source.text().get(range.clone()).unwrap_or_default();
        // Past 64 bits a reader may keep the digits or round them; where both round, they agree on what isn't written.
        let integer = written.trim_start_matches(['-', '+']).bytes().all(|byte| byte.is_ascii_digit());
        let rounded = |meaning: &Meaning| matches!(meaning, Meaning::Float(_) | Meaning::Huge(_));
        let number = |meaning: &Meaning| rounded(meaning) || matches!(meaning, Meaning::Int(_));
        if integer && number(&decoded) && number(checked) && (rounded(&decoded) || rounded(checked)) {
            return self.too_large(range).unwrap_or(Value::Null);
        }
        let value = match (decoded, checked) {
            (Meaning::Null, Meaning::Null) => Some(Value::Null),
            (Meaning::Bool(one), Meaning::Bool(other)) if one == *other => Some(Value::Bool(one)),
            (Meaning::Text(one), Meaning::Text(other)) if one == *other => Some(Value::String(one)),
            (Meaning::Int(one), Meaning::Int(other)) if one == *other => {
                let number = u64::try_from(one).map(Number::from).or_else(|_| i64::try_from(one).map(Number::from));
                number.map_or_else(|_| self.too_large(range.clone()), |number| Some(Value::Number(number)))
            }
            (Meaning::Huge(one), Meaning::Huge(other)) if one == *other => self.too_large(range.clone()),
            (Meaning::Float(one), Meaning::Float(other)) if !one.is_finite() && !other.is_finite() => {
                self.found.push(
                    Diagnostic::new(Code::NotFinite, self.source, range.clone(), "the number isn't finite")
                        .help("quote it if text is meant"),
                );
                Some(Value::Null)
            }
            (Meaning::Float(one), Meaning::Float(other)) if one.to_bits() == other.to_bits() => {
                Number::from_f64(one).map(Value::Number)
            }
            (decoded, checked) => {
                self.differ(range, &decoded, checked);
                return Value::Null;
            }
        };
        value.unwrap_or(Value::Null)
    }

    fn too_large(&mut self, range: Range<usize>) -> Option<Value> {
        self.found.push(
            Diagnostic::new(Code::NotFinite, self.source, range, "the number doesn't fit into 64 bits")
                .help("quote it if text is meant"),
        );
        None
    }

    fn differ(&mut self, range: Range<usize>, decoded: &Meaning, checked: &Meaning) {
        let written = self.source.text().get(range.clone()).unwrap_or_default();
        let help = match (decoded, checked) {
            (Meaning::Text(_), Meaning::Text(_)) => "write it on one line in double quotes, with escapes".to_owned(),
            (Meaning::Text(_), other) | (other, Meaning::Text(_)) => {
                format!("quote it if text is meant: `{written:?}`; else write {} plainly", other.describe())
            }
            _ => "write it in a plainer way".to_owned(),
        };
        self.found.push(
            Diagnostic::new(Code::Ambiguous, self.source, range, "readers of YAML disagree on what this means")
                .note(format!("one reads {}, another {}", decoded.describe(), checked.describe()))
                .help(help),
        );
    }
}
