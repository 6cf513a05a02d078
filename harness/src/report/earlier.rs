//! A result as a file, read again: for `--baseline`, and for `gatecrash compare`.
//!
//! It may come from an older version, so that members it does not have are missing, and those it has besides are passed
//! over. It is somebody's file: what is shown of it is made printable first.

use serde::Deserialize;

use super::json::VERSION;
use crate::document::printable;
use crate::verdict::{Grade, Level, Severity, Verdict};

/// A whole file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Earlier {
    gatecrash_result: u32,
    /// One for each target.
    pub runs: Vec<Run>,
}

/// What a run against one target came to.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Run {
    /// The name of the target.
    pub target: String,
    /// Its trials.
    pub cases: Vec<Trial>,
}

/// What one trial came to.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Trial {
    /// Its identity.
    pub id: String,
    /// The code of its case.
    pub code: String,
    /// The name of its case.
    pub name: String,
    /// What it came to.
    pub verdict: Verdict,
    /// How strongly the rule bound this target.
    pub level: Level,
    /// How bad the worst check is.
    pub severity: Severity,
    /// What changes when the case does; older versions did not write it.
    #[serde(default)]
    pub definition: Option<String>,
    /// What was seen.
    pub observed: String,
    /// Every check, in order.
    #[serde(default)]
    pub checks: Vec<Seen>,
}

/// What one check saw.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Seen {
    /// The variant or step it belongs to.
    pub label: String,
    /// What it came to.
    pub grade: Grade,
    /// What was seen.
    pub observed: String,
}

impl Earlier {
    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// Why it is no result, in words for a person.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut read: Self = serde_json::from_str(text)
            .map_err(|error| format!("it is no result of `--report json=PATH`: {}", printable(&error.to_string())))?;
        if read.gatecrash_result != VERSION {
            return Err(format!(
                "it is a result of version {}, and this program reads version {VERSION}",
                read.gatecrash_result
            ));
        }
        for run in &mut read.runs {
            run.target = printable(&run.target);
            for trial in &mut run.cases {
                for text in [&mut trial.id, &mut trial.code, &mut trial.name, &mut trial.observed] {
                    *text = printable(text);
                }
                for seen in &mut trial.checks {
                    seen.label = printable(&seen.label);
                    seen.observed = printable(&seen.observed);
                }
            }
        }
        Ok(read)
    }

    /// The run of this file that `run` is to be held against: that of the same target, or the only one where the other
    /// file has only one too.
    pub fn beside<'a>(&'a self, run: &Run, is_only: bool) -> Option<&'a Run> {
        let same = self.runs.iter().find(|other| other.target == run.target);
        same.or(self.runs.first().filter(|_| is_only && self.runs.len() == 1))
    }
}
