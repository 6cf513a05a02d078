//! The table of mutations of `scenarios/README.md`.

use std::fmt::Write as _;

use crate::mutation::{self, Mutation};

use super::catalogue::cell;
use super::word;

/// The lines between which the table stands in the page.
const MARKS: (&str, &str) = ("<!-- mutations: made, do not edit -->\n", "<!-- end of mutations -->\n");

/// The table, one row for each mutation.
pub fn mutations() -> String {
    let all = mutation::all();
    let mut page = format!("{} mutations.\n\n| name | layer | effect | what it does | examples |\n", all.len());
    page.push_str("| --- | --- | --- | --- | --- |\n");
    for Mutation { name, layer, effect, doc, examples } in &all {
        let shown: Vec<String> = examples.iter().map(|example| code(example)).collect();
        let name = format!("`{name}`");
        let _ =
            writeln!(page, "| {name} | {} | {} | {} | {} |", layer.word(), word(effect), cell(doc), shown.join("<br>"));
    }
    page
}

/// The page with its table as it is now; none when it has no place for one.
pub fn fill(page: &str) -> Option<String> {
    let (before, rest) = page.split_once(MARKS.0)?;
    let (_, after) = rest.split_once(MARKS.1)?;
    Some(format!("{before}{}\n{}\n{}{after}", MARKS.0, mutations(), MARKS.1))
}

/// Code inside a cell.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_filled_between_its_marks_and_only_once() {
        let page = format!("before\n{}old\n{}after\n", MARKS.0, MARKS.1);
        let filled = fill(&page).expect("it has a place");
        assert!(filled.starts_with("before\n") && filled.ends_with("after\n") && !filled.contains("old"));
        assert_eq!(fill(&filled).as_ref(), Some(&filled));
        assert_eq!(fill("no place"), None);
    }
}
