//! `gatecrash compare`: where two results disagree.

use std::path::PathBuf;

use clap::Args;

use crate::document::printable;
use crate::report::Exit;
use crate::report::compare::Comparison;

use super::{complain, file, say};

/// What `gatecrash compare` is told.
#[derive(Debug, Args)]
pub(super) struct Compare {
    /// A result of `run --report json=PATH`
    a: PathBuf,
    /// Another one
    b: PathBuf,
}

/// Says where they disagree. Like `diff`, it ends with 1 where verdicts differ.
pub(super) fn compare(arguments: &Compare) -> Exit {
    let (a, b) = match (file::read_result(&arguments.a), file::read_result(&arguments.b)) {
        (Ok(a), Ok(b)) => (a, b),
        (a, b) => {
            [a.err(), b.err()].into_iter().flatten().for_each(|why| complain(&why));
            return Exit::Usage;
        }
    };
    let (pairs, alone) = Comparison::of(&a, &b);
    for target in alone {
        complain(&format!("`{}` stands in one of the two results only", printable(&target)));
    }
    if pairs.is_empty() {
        complain("the two results have no target in common, and at least one has several");
        return Exit::NothingSelected;
    }
    for pair in &pairs {
        say(&pair.describe());
    }
    if pairs.iter().any(|pair| !pair.disagreements.is_empty()) { Exit::Failed } else { Exit::Good }
}
