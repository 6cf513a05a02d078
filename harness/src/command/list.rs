//! `gatecrash list`: what the suite asks.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::case::{Case, Set};
use crate::catalogue::Catalogue;
use crate::document::{closest, printable};
use crate::need::Need;
use crate::pages::{needs, word};
use crate::plan::is_called;
use crate::report::Exit;

use super::narrow::{Narrow, one_of};
use super::{complain, say, understood};

/// What `gatecrash list` is told. A case must fit each kind of filter, and of each kind one that is given.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only these: a family, a code, a name or a tag; may be given again
    words: Vec<String>,
    #[command(flatten)]
    narrow: Narrow,
    /// Only cases that need this of the profile, such as `roles`; may be given again
    #[arg(long, value_name = "NEED", value_parser = one_of::<Need>)]
    needs: Vec<Need>,
    /// How it is written: one case a line, or an array of objects for machines
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

/// Lists cases.
pub(super) fn list(arguments: &List) -> Exit {
    let catalogue = match understood(Catalogue::bundled_heads()) {
        Ok(catalogue) => catalogue,
        Err(exit) => return exit,
    };
    let cases: Vec<&Case> = catalogue.cases.iter().filter(|case| fits(arguments, case)).collect();
    if cases.is_empty() {
        complain(&format!("no case fits{}", unknown(arguments, &catalogue)));
        return Exit::NothingSelected;
    }
    match arguments.format {
        Format::Text => say(&lines(&cases)),
        Format::Json => say(&format!("{:#}\n", Value::from_iter(cases.iter().map(|case| object(&catalogue, case))))),
    }
    complain(&format!("{} of {} cases", cases.len(), catalogue.cases.len()));
    Exit::Good
}

/// Whether the case has one of each kind that was asked for.
fn fits(arguments: &List, case: &Case) -> bool {
    let any_word = || arguments.words.iter().any(|word| is_called(case, word));
    (arguments.words.is_empty() || any_word())
        && arguments.narrow.filter().fits(&case.head, case.head.level)
        && (arguments.needs.is_empty() || arguments.needs.iter().any(|need| case.head.needs.contains(need)))
}

/// The word that nothing is called by, if one is to blame.
fn unknown(arguments: &List, catalogue: &Catalogue) -> String {
    let Some(word) = arguments.words.iter().find(|word| !catalogue.cases.iter().any(|case| is_called(case, word)))
    else {
        let tags = arguments.narrow.unknown(catalogue);
        return tags.first().map(|why| format!(": {why}")).unwrap_or_default();
    };
    let known: Vec<&str> = catalogue
        .cases
        .iter()
        .flat_map(|case| {
            let head = &case.head;
            [case.family.as_str(), &head.code, &head.name].into_iter().chain(head.tags.iter().map(String::as_str))
        })
        .collect();
    let close = closest(word, known.iter().copied()).or_else(|| closest(&word.to_ascii_uppercase(), known));
    let hint = close.map(|close| format!("; did you mean `{close}`?")).unwrap_or_default();
    format!(": nothing is called `{}`{hint}", printable(word))
}

fn lines(cases: &[&Case]) -> String {
    let width = cases.iter().map(|case| case.head.name.len()).max().unwrap_or_default();
    let mut lines = String::new();
    for case in cases {
        let head = &case.head;
        let set = if head.set == Set::All { " (with --all)" } else { "" };
        lines.push_str(&format!(
            "{}  {:width$}  {:6}  {:8}  {}{set}\n",
            head.code,
            head.name,
            word(&head.level),
            word(&head.severity),
            head.title
        ));
    }
    lines
}

fn object(catalogue: &Catalogue, case: &Case) -> Value {
    let head = &case.head;
    json!({
        "code": head.code,
        "name": head.name,
        "family": case.family,
        "title": head.title,
        "level": head.level,
        "severity": head.severity,
        "set": head.set,
        "source": catalogue.places(head),
        "needs": needs(case),
        "unless": head.unless,
        "must_when": head.must_when,
        "tags": head.tags,
        "weakness": head.weakness,
        "file": case.file,
        "line": case.line,
    })
}
