//! `gatecrash explain`: all about one case.

use clap::Args;

use crate::document::closest;
use crate::pages;
use crate::report::Exit;

use super::{bundled, complain, say};

/// What `gatecrash explain` is told.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The code or the name of a case
    case: String,
}

/// Says all about one case.
pub(super) fn explain(arguments: &Explain) -> Exit {
    let catalogue = match bundled() {
        Ok(catalogue) => catalogue,
        Err(exit) => return exit,
    };
    let wanted = arguments.case.split('@').next().unwrap_or_default();
    let found =
        catalogue.cases.iter().find(|case| wanted.eq_ignore_ascii_case(&case.head.code) || wanted == case.head.name);
    if let (None, Some((code, covered))) = (found, catalogue.covered.get_key_value(&wanted.to_ascii_uppercase())) {
        say(&pages::explain_covered(code, covered));
        return Exit::Good;
    }
    let Some(case) = found else {
        let known = catalogue.cases.iter().flat_map(|case| [case.head.code.as_str(), case.head.name.as_str()]);
        let hint = closest(&wanted.to_ascii_uppercase(), known.clone())
            .or_else(|| closest(wanted, known))
            .map(|close| format!("; did you mean {close}?"))
            .unwrap_or_default();
        complain(&format!("no case is called `{}`{hint}", arguments.case));
        return Exit::NothingSelected;
    };
    say(&pages::explain(&catalogue, case));
    Exit::Good
}
