//! The bundled catalogue, from the JSON that was made of its files when this crate was built.
//!
//! Nothing is looked at but the types, and nothing is said about a mistake but that there is one: whoever meets it reads
//! the files themselves.

use serde_json::Value;

use super::{Catalogue, split};
use crate::bundled::{self, DecodedCase};
use crate::case::{Case, CaseText, Variant};
use crate::document::expand;
use crate::hex;

/// How much of a case is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// What it says about itself, but for its class, in which the entries of a table may differ.
    Heads,
    /// What it does as well.
    Whole,
}

/// The bundled catalogue. `None` is a mistake somewhere.
pub(super) fn catalogue(depth: Depth) -> Option<Catalogue> {
    let mut catalogue = Catalogue {
        weaknesses: serde_json::from_str(bundled::DECODED_WEAKNESSES).ok()?,
        sources: serde_json::from_str(bundled::DECODED_SOURCES).ok()?,
        covered: serde_json::from_str(bundled::DECODED_COVERED).ok()?,
        ..Catalogue::default()
    };
    for ((name, _), file) in bundled::CASES.iter().zip(bundled::DECODED_CASES) {
        let (family, title) = (file.family?, file.title?);
        for text in file.cases? {
            let (head, variants) = match depth {
                Depth::Heads => (serde_json::from_str(text.head).ok()?, Vec::new()),
                Depth::Whole => whole(text)?,
            };
            catalogue.cases.push(Case {
                head,
                family: family.to_owned(),
                variants,
                file: (*name).to_owned(),
                line: text.line,
                definition: hex::fingerprint(text.whole),
            });
        }
        if !catalogue.families.iter().any(|(code, _)| code == family) {
            catalogue.families.push((family.to_owned(), title.to_owned()));
        }
    }
    Some(catalogue)
}

/// The head of a case, and the copies that its table stands for.
fn whole(text: &DecodedCase) -> Option<(CaseText, Vec<Variant>)> {
    // Most have no table, and are what they say.
    if !text.whole.contains("\"for\":") {
        let (head, body) = split(serde_json::from_str(text.whole).ok()?).ok()?;
        return Some((head, vec![Variant { label: String::new(), body, bound: None }]));
    }
    let item: Value = serde_json::from_str(text.whole).ok()?;
    let mut first = None;
    let mut variants = Vec::new();
    for (label, copy) in expand::table(&item).ok()? {
        let (head, body) = split(serde_json::from_value(copy).ok()?).ok()?;
        variants.push(Variant { label, body, bound: None });
        first.get_or_insert(head);
    }
    Some((first?, variants))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever edits a scenario is told here what is wrong with it, and where.
    #[test]
    fn what_is_decoded_beforehand_is_what_the_files_say() {
        let checked = Catalogue::checked().unwrap_or_else(|found| panic!("{found}"));
        let decoded = catalogue(Depth::Whole).expect("decoded when this crate was built");
        assert_eq!(decoded.cases.len(), checked.cases.len());
        for (decoded, checked) in decoded.cases.iter().zip(&checked.cases) {
            assert_eq!(decoded, checked);
        }
        assert!(decoded == checked, "families, weaknesses, sources or covered codes");
    }

    #[test]
    fn the_heads_are_those_of_the_whole() {
        let mut whole = catalogue(Depth::Whole).expect("decoded when this crate was built");
        let heads = catalogue(Depth::Heads).expect("decoded when this crate was built");
        assert_eq!(heads.cases.len(), whole.cases.len());
        for (head, whole) in heads.cases.iter().zip(&mut whole.cases) {
            (whole.head.class, whole.variants) = (None, Vec::new());
            assert_eq!(head, whole);
        }
        assert!(heads == whole, "families, weaknesses, sources or covered codes");
    }
}
