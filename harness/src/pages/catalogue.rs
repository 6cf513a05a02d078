//! The page `scenarios/CATALOGUE.md`: every case by family, and every sentence of a standard with its cases.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::case::{Case, Set};
use crate::catalogue::Catalogue;
use crate::document::printable;

use super::{needs, word};

/// The whole page.
pub fn catalogue(catalogue: &Catalogue) -> String {
    let mut page = String::from(
        "# The cases\n\n\
         Made from the files beside it; do not edit. `GATECRASH_BLESS=1 cargo test --test pages` writes it anew, and the \
         same test without the variable fails when it is stale. `gatecrash explain CODE` tells more about a case.\n\n",
    );
    let _ = writeln!(page, "{}\n", figures(catalogue));
    families(&mut page, catalogue);
    sentences(&mut page, catalogue);
    page
}

/// How much there is.
fn figures(catalogue: &Catalogue) -> String {
    let cases = &catalogue.cases;
    let count = |wanted: &dyn Fn(&Case) -> bool| cases.iter().filter(|case| wanted(case)).count();
    let quick = count(&|case| case.head.set == Set::Quick);
    let hunting = count(&|case| case.head.weakness.is_some());
    let hunted: BTreeSet<&String> = cases.iter().filter_map(|case| case.head.weakness.as_ref()).collect();
    let attempts: usize = cases.iter().map(|case| case.variants.len()).sum();
    let tested = catalogue.sources.keys().filter(|key| cases.iter().any(|case| case.head.source.contains(key))).count();
    format!(
        "{} cases in {} families, {attempts} with the entries of their tables; {quick} of them run always, {} with `--all` \
         only. {hunting} hunt one of {} named weaknesses. They rest on {tested} of the {} sentences below.",
        cases.len(),
        catalogue.families.len(),
        cases.len() - quick,
        hunted.len(),
        catalogue.sources.len(),
    )
}

fn families(page: &mut String, catalogue: &Catalogue) {
    for (family, title) in &catalogue.families {
        let mut cases: Vec<&Case> = catalogue.cases.iter().filter(|case| case.family == *family).collect();
        cases.sort_by(|one, other| one.head.code.cmp(&other.head.code));
        let hunting = cases.iter().filter(|case| case.head.weakness.is_some()).count();
        let title = printable(title);
        let _ = writeln!(page, "## {family}: {title}\n\n{} cases, {hunting} of them hunt a weakness.\n", cases.len());
        row(page, ["code", "name", "requirement", "level", "severity", "needs", "run", "weakness"].map(str::to_owned));
        row(page, ["---"; 8].map(str::to_owned));
        for case in cases {
            let head = &case.head;
            let run = match head.set {
                Set::Quick => "always",
                Set::All => "--all",
            };
            let promised: Vec<String> = head.must_when.iter().map(word).collect();
            let level = match promised.as_slice() {
                [] => word(&head.level),
                promised => format!("{}, must with {}", word(&head.level), promised.join(" and ")),
            };
            row(
                page,
                [
                    head.code.clone(),
                    head.name.clone(),
                    head.title.clone(),
                    level,
                    word(&head.severity),
                    needs(case).join(", "),
                    run.to_owned(),
                    head.weakness.clone().unwrap_or_default(),
                ],
            );
        }
        page.push('\n');
    }
}

/// The inverse view: what is asked, and who asks it.
fn sentences(page: &mut String, catalogue: &Catalogue) {
    let mut tests: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for case in &catalogue.cases {
        for key in &case.head.source {
            tests.entry(key).or_default().insert(&case.head.code);
        }
    }
    page.push_str("## Sentences and the cases that test them\n\n");
    row(page, ["key", "where", "what it asks for", "cases"].map(str::to_owned));
    row(page, ["---"; 4].map(str::to_owned));
    let mut untested = Vec::new();
    for (key, source) in &catalogue.sources {
        match tests.get(key.as_str()) {
            Some(codes) => {
                let codes: Vec<&str> = codes.iter().copied().collect();
                row(page, [key.clone(), source.r#where.clone(), source.says.clone(), codes.join(", ")]);
            }
            None => untested.push((key, source)),
        }
    }
    page.push_str("\n## Sentences that no case tests\n\n");
    if untested.is_empty() {
        page.push_str("None.\n");
        return;
    }
    row(page, ["key", "where", "what it asks for"].map(str::to_owned));
    row(page, ["---"; 3].map(str::to_owned));
    for (key, source) in untested {
        row(page, [key.clone(), source.r#where.clone(), source.says.clone()]);
    }
}

fn row<const COLUMNS: usize>(page: &mut String, cells: [String; COLUMNS]) {
    let _ = writeln!(page, "| {} |", cells.map(|text| cell(&text)).join(" | "));
}

/// Text that stands in a cell as it is, whatever Markdown makes of its characters elsewhere.
pub(super) fn cell(text: &str) -> String {
    let mut cell = String::new();
    for character in text.chars() {
        if matches!(character, '|' | '<' | '*' | '\\') {
            cell.push('\\');
        }
        cell.push(if character.is_control() { ' ' } else { character });
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn a_cell_stays_one() {
        assert_eq!(cell("x||y <b>\n*"), "x\\|\\|y \\<b> \\*");
    }
}
