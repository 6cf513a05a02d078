//! `gatecrash schema`: what a document may hold, for editors and other programs.

use clap::Args;

use crate::report::Exit;
use crate::schema::Kind;

use super::{did_you_mean, say};

/// What `gatecrash schema` is told.
#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Of which document: profile, scenario or result
    #[arg(value_parser = kind)]
    document: Kind,
}

/// A document by its name.
fn kind(name: &str) -> Result<Kind, String> {
    let known = Kind::ALL.map(Kind::name);
    let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| format!("it is one of {}{}", known.join(", "), did_you_mean(name, known)))
}

/// Prints a schema.
pub(super) fn schema(arguments: &Schema) -> Exit {
    say(&arguments.document.text());
    Exit::Good
}
