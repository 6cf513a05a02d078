//! Pages: texts made of the catalogue alone, for people. What `gatecrash explain` prints, and the tables of
//! `scenarios/CATALOGUE.md` and `scenarios/README.md`.
//!
//! Pure functions. They know what a case asks and nothing of any run; verdicts are the business of `report`.

mod catalogue;
mod explain;
mod mutations;
mod script;
mod text;

pub use catalogue::catalogue;
pub use explain::{explain, explain_covered};
pub use mutations::{fill, mutations};

use crate::case::Case;

/// The word that stands for a unit variant in a file.
pub fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// What the profile must declare for a case, by the words of a file.
pub fn needs(case: &Case) -> Vec<String> {
    case.head.needs.iter().map(word).collect()
}
