//! Files of strangers: any bytes as a file of cases or as a profile.
//!
//! Nothing panics, an error says where it is, both readers of YAML agree on what is let through, and what was loaded can
//! be planned, explained and graded. Profiles are kept from naming files and variables: nothing here leaves the process.

use std::sync::LazyLock;

use serde_json::Value;

use super::seen::{self, CATALOGUE, harmless};
use crate::case::{Body, CaseText, Step};
use crate::catalogue::{Catalogue, Source, Weakness};
use crate::document::{Diagnostics, Document, Path};
use crate::judge::{self, Learned};
use crate::observation::Observation;
use crate::plan::{self, Selection, Trial};
use crate::profile::Profile;
use crate::report::TrialReport;
use crate::target::{Target, Templates};
use crate::verdict::Verdict;
use crate::{carrier, pages};

/// What errors call the input.
const NAME: &str = "cases/fuzzed.yaml";

/// A few weaknesses and sources, so that names can be known and unknown.
static REGISTERS: LazyLock<Catalogue> = LazyLock::new(|| {
    let weakness = Weakness {
        what: "it does not look".to_owned(),
        example: None,
        gives: "a way in".to_owned(),
        mend: "look".to_owned(),
        refs: Vec::new(),
        also: Vec::new(),
        not_seeded: None,
    };
    let source = Source { r#where: "RFC 7519 §4.1.4".to_owned(), says: "a token ends".to_owned() };
    Catalogue {
        weaknesses: [("ignores-exp".to_owned(), weakness)].into(),
        sources: [("T07".to_owned(), source)].into(),
        ..Catalogue::default()
    }
});

/// The body of the target `catalogue`.
pub(super) fn catalogue(input: &[u8]) {
    let Some(text) = document(input) else { return };
    // A catalogue without registers knows no wrong names.
    for registers in [Catalogue::default(), REGISTERS.clone()] {
        let mut catalogue = registers;
        if let Err(found) = catalogue.add(NAME, text) {
            tells(&found, text);
        }
        loaded(&catalogue);
    }
}

/// Reads a document, as text and as bytes, and gives the text where both readers of YAML could be asked.
fn document(input: &[u8]) -> Option<&str> {
    let read = Document::parse_bytes(NAME, input);
    let Ok(text) = std::str::from_utf8(input) else {
        let found = read.expect_err("bytes that are no UTF-8 are no document");
        tells(&found, &String::from_utf8_lossy(input));
        return None;
    };
    match &read {
        Ok(document) => {
            assert_eq!(document.text(), text, "read otherwise than given");
            both_readers_agree(document);
            has_places(document, document.value(), &Path::root(), &mut 200);
        }
        Err(found) => tells(found, text),
    }
    Some(text)
}

/// What passed the guard means one thing: to `serde_yaml` as to serde-saphyr, asked once more and by themselves.
fn both_readers_agree(document: &Document) {
    let text = document.text();
    let one: Value = serde_yaml::from_str(text).unwrap_or_else(|error| panic!("serde_yaml refuses it: {error}"));
    assert_eq!(&one, document.value(), "serde_yaml reads otherwise");
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let other: Value = serde_saphyr::from_str_with_options(text, options)
        .unwrap_or_else(|error| panic!("serde-saphyr refuses it: {error}"));
    assert_eq!(&other, document.value(), "serde-saphyr reads otherwise");
}

/// Every value has a place in the text, and every member one for its name.
fn has_places(document: &Document, value: &Value, at: &Path, left: &mut usize) {
    *left = left.saturating_sub(1);
    if *left == 0 {
        return;
    }
    let place = document.place(at).unwrap_or_else(|| panic!("no place for {at}"));
    assert!(place.start <= place.end && place.end <= document.text().len(), "{at} lies outside the text: {place:?}");
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| has_places(document, item, &at.index(index), left))
        }
        Value::Object(members) => {
            for (name, member) in members {
                let at = at.key(name);
                assert!(document.key_place(&at).is_some(), "no place for the name of {at}");
                has_places(document, member, &at, left);
            }
        }
        _ => {}
    }
}

/// An error says what is wrong, and where, and nothing that a terminal would act on.
fn tells(found: &Diagnostics, text: &str) {
    assert!(!found.is_empty(), "an error that says nothing");
    for diagnostic in found.iter() {
        let place = diagnostic.place();
        assert!(!diagnostic.message().is_empty(), "{diagnostic:?}");
        assert!(place.line >= 1 && place.column >= 1, "{diagnostic:?}");
        assert!(place.line <= text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count(), "{diagnostic:?}");
        assert!(place.start <= place.end && place.end <= text.len(), "{diagnostic:?}");
    }
    let shown = found.to_string();
    assert!(shown.contains(NAME), "without the name of the file: {shown}");
    prints(&shown);
    prints(&seen::without_colour(&found.render(true)));
}

/// What a terminal shows and does not act on.
fn prints(text: &str) {
    let acts = |character: char| character.is_control() && character != '\n';
    assert!(!text.chars().any(acts), "a terminal would act on it: {}", text.escape_debug());
}

/// Whatever was loaded can be planned, listed, explained and graded, and says the same when it is written and read.
fn loaded(catalogue: &Catalogue) {
    for case in &catalogue.cases {
        let written = serde_json::to_value(&case.head).expect("a case can be written");
        let read: CaseText = serde_json::from_value(written).expect("what was written can be read");
        assert_eq!(read, case.head, "written otherwise");
        prints(&pages::explain(catalogue, case));
        for need in pages::needs(case) {
            assert!(!need.is_empty(), "a need without a name");
        }
        assert!(!catalogue.places(&case.head).iter().any(String::is_empty), "a source without a place");
    }
    prints(&pages::catalogue(catalogue));
    if catalogue.cases.is_empty() {
        return;
    }
    for target in seen::TARGETS.iter() {
        for trial in planned(catalogue, target) {
            graded(&trial, catalogue, target);
        }
    }
}

fn planned<'a>(catalogue: &'a Catalogue, target: &Target) -> Vec<Trial<'a>> {
    let trials = plan::trials(catalogue, target, &Selection { all: true, ..Selection::default() });
    assert!(trials.len() >= catalogue.cases.len(), "a case without a trial");
    trials
}

/// A trial of which nothing was seen has not passed, and can be reported.
fn graded(trial: &Trial<'_>, catalogue: &Catalogue, target: &Target) {
    assert!(trial.wanted, "all were asked for");
    assert!(trial.id().starts_with(&trial.case.head.code), "{}", trial.id());
    let report = TrialReport::new(trial, catalogue);
    prints(&report.title);
    report.source.iter().for_each(|source| prints(source));
    if let Some(why) = &trial.skip {
        return assert!(!why.is_empty(), "left out without a reason");
    }
    let head = trial.head();
    for variant in &trial.case.variants {
        match &variant.body {
            Body::Steps(steps) => {
                let checks =
                    judge::session(&head, steps, &Observation::default(), &target.profile, &Learned::default());
                assert_ne!(Verdict::of(&checks), Verdict::Pass, "nothing was seen");
                for step in steps.iter() {
                    if let Step::Open(open) = step {
                        let carriers: Vec<_> = target.profile.carriers.iter().collect();
                        let fitted = carrier::fit(&open.request, &target.profile, &carriers);
                        assert!(fitted.is_ok() || fitted.is_err_and(|why| !why.is_empty()), "refused without a reason");
                    }
                }
            }
            Body::Lint(lint) => drop(judge::lint(&head, *lint, target)),
            // A question to a whole run is the business of the target `judge`.
            Body::Across(_) => {}
        }
    }
}

/// The body of the target `profile`.
pub(super) fn profile(input: &[u8]) {
    let Some(text) = document(input) else { return };
    let profile = match Profile::from_yaml(NAME, text) {
        Ok(profile) => profile,
        Err(found) => return tells(&found, text),
    };
    let written = serde_json::to_value(&profile).expect("a profile can be written");
    assert_eq!(serde_json::from_value::<Profile>(written).ok().as_ref(), Some(&profile), "written otherwise");
    let templates = Templates::of(&profile);
    assert!(!templates.claims.is_empty(), "a token without claims");
    // Whether a shape fits is no question here, only that it can be asked.
    std::hint::black_box(profile.greetings().filter(|shape| shape.fits("")).count());
    match Target::from_profile(harmless(profile)) {
        Err(error) => {
            let error = error.to_string();
            assert!(!error.is_empty(), "refused without a reason");
            assert!(!error.contains(seen::SECRET), "the secret stands in an error");
        }
        Ok(target) => {
            assert!(!format!("{target:?}").contains(seen::SECRET), "the secret is printed");
            for trial in planned(&CATALOGUE, &target) {
                assert!(trial.skip.is_none_or(|why| !why.is_empty()), "left out without a reason");
            }
        }
    }
}
