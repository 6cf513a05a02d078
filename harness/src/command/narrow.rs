//! Which cases: the flags that `list` and `run` share, so that a list shows what a run would play.

use clap::Args;
use serde_json::Value;

use crate::Suite;
use crate::case::Case;
use crate::catalogue::Catalogue;
use crate::document::printable;
use crate::pages::word;
use crate::plan::Filter;
use crate::verdict::{Level, Severity};

use super::did_you_mean;

/// The flags. A case must fit each kind that is given, and of each kind one.
#[derive(Debug, Args)]
pub(super) struct Narrow {
    /// Only cases with this tag; may be given again
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Only cases of this level: must, should, may or info; may be given again
    #[arg(long, value_parser = one_of::<Level>)]
    level: Vec<Level>,
    /// Only cases of this severity or a higher one: info, low, medium, high or critical
    #[arg(long, value_parser = one_of::<Severity>)]
    severity: Option<Severity>,
}

impl Narrow {
    /// The same for a case.
    pub(super) fn filter(&self) -> Filter {
        Filter { tags: self.tag.clone(), levels: self.level.clone(), severity: self.severity }
    }

    /// The suite, narrowed.
    pub(super) fn put(&self, suite: Suite) -> Suite {
        let suite = self.tag.iter().fold(suite, |suite, tag| suite.tag(tag));
        let suite = self.level.iter().fold(suite, |suite, level| suite.level(*level));
        match self.severity {
            Some(severity) => suite.severity(severity),
            None => suite,
        }
    }

    /// The tags that no case has, each with a hint.
    pub(super) fn unknown(&self, catalogue: &Catalogue) -> Vec<String> {
        let known = |tag: &&String| catalogue.cases.iter().any(|case| case.head.tags.contains(tag));
        let tags = || catalogue.cases.iter().flat_map(|case| &case.head.tags).map(String::as_str);
        let unknown = self.tag.iter().filter(|tag| !known(tag));
        unknown.map(|tag| format!("no case has the tag `{}`{}", printable(tag), did_you_mean(tag, tags()))).collect()
    }

    /// Whether tags are given and no case has any of them.
    pub(super) fn names_nothing(&self, catalogue: &Catalogue) -> bool {
        !self.tag.is_empty() && self.unknown(catalogue).len() == self.tag.len()
    }

    /// The flags as they were given.
    pub(super) fn words(&self) -> Vec<String> {
        let tags = self.tag.iter().map(|tag| format!("--tag {}", printable(tag)));
        let levels = self.level.iter().map(|level| format!("--level {}", word(level)));
        let severity = self.severity.iter().map(|severity| format!("--severity {}", severity.word()));
        tags.chain(levels).chain(severity).collect()
    }

    /// How many of these fit.
    pub(super) fn count<'a>(&self, cases: impl Iterator<Item = &'a Case>) -> usize {
        let filter = self.filter();
        cases.filter(|case| filter.fits(&case.head, case.head.level)).count()
    }
}

/// Reads one of the words that a file may say, and names them all when it is none.
pub(super) fn one_of<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(Value::from(text)).map_err(|error| {
        let words = error.to_string();
        let known: Vec<&str> = words.split('`').skip(3).step_by(2).collect();
        format!("it is one of {}{}", known.join(", "), did_you_mean(text, known.iter().copied()))
    })
}
