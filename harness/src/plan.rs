//! The plan: which trials a run makes, and why the others are left out. Pure.

use std::borrow::Cow;

use crate::case::{Body, Bound, Case, CaseText, Each, Over, Set, Step, Variant};
use crate::catalogue::Catalogue;
use crate::document::printable;
use crate::profile::{Carrier, Class};
use crate::target::Target;
use crate::verdict::Level;

/// Which cases are wanted. Empty means all of the quick set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Codes, families, names, tags or trials (`SIG-008@query`); a case is wanted when one of them fits.
    pub words: Vec<String>,
    /// Whether cases of `set: all` are wanted too.
    pub all: bool,
}

/// A case over one carrier.
#[derive(Debug, Clone)]
pub struct Trial<'a> {
    /// The case, with a variant for each word where it runs over the words of the profile.
    pub case: Cow<'a, Case>,
    /// The carrier its tokens ride in.
    pub carrier: Carrier,
    /// Whether it is reported; the others run because a wanted case looks across them.
    pub wanted: bool,
    /// How strongly its rule binds this target.
    pub level: Level,
    /// Why it is not run.
    pub skip: Option<String>,
}

impl Trial<'_> {
    /// The head of its case, with the level that holds for this target.
    pub fn head(&self) -> CaseText {
        CaseText { level: self.level, ..self.case.head.clone() }
    }

    /// The identity in reports: `SIG-008@query`.
    pub fn id(&self) -> String {
        match self.case.variants.first().map(|variant| &variant.body) {
            Some(Body::Steps(steps)) if steps.iter().any(|step| matches!(step, Step::Open(_))) => {
                format!("{}@{}", self.case.head.code, self.carrier.word())
            }
            _ => self.case.head.code.clone(),
        }
    }
}

/// Makes the trials of a run, in the order of the catalogue.
pub fn trials<'a>(catalogue: &'a Catalogue, target: &Target, selection: &Selection) -> Vec<Trial<'a>> {
    let carriers = &target.profile.carriers;
    let first = carriers.first().cloned().unwrap_or(Carrier::Query("token".to_owned()));
    let mut trials = Vec::new();
    for case in &catalogue.cases {
        let carriers: &[Carrier] = match case.head.carriers {
            Over::First => std::slice::from_ref(&first),
            Over::All => carriers,
        };
        for carrier in carriers {
            let (level, skip) = (level(case, target), unmet(case, target));
            let case = over_words(case, target);
            let mut trial = Trial { case, carrier: carrier.clone(), wanted: false, level, skip };
            if trial.case.variants.is_empty() && trial.skip.is_none() {
                trial.skip = Some("the profile declares none of the words it runs over".to_owned());
            }
            trial.wanted = is_wanted(&trial, selection);
            trials.push(trial);
        }
    }
    let support = Support::of(&trials);
    trials.retain(|trial| trial.wanted || support.includes(trial));
    trials
}

/// Whether the selection names this trial.
fn is_wanted(trial: &Trial<'_>, selection: &Selection) -> bool {
    let head = &trial.case.head;
    if selection.words.is_empty() {
        return selection.all || head.set == Set::Quick;
    }
    selection.words.iter().any(|word| {
        word.eq_ignore_ascii_case(&head.code)
            || word.eq_ignore_ascii_case(&trial.case.family)
            || word.eq_ignore_ascii_case(&trial.id())
            || *word == head.name
            || head.tags.contains(word)
    })
}

/// What the wanted cases that look across the run need to have run.
#[derive(Debug, Default)]
struct Support {
    refusals: bool,
}

impl Support {
    fn of(trials: &[Trial<'_>]) -> Self {
        let refusals = trials.iter().any(|trial| {
            trial.wanted
                && trial.skip.is_none()
                && trial.case.variants.iter().any(|variant| matches!(variant.body, Body::Across(_)))
        });
        Self { refusals }
    }

    fn includes(&self, trial: &Trial<'_>) -> bool {
        self.refusals
            && trial.skip.is_none()
            && trial.case.head.set == Set::Quick
            && trial.case.variants.iter().any(|variant| match &variant.body {
                Body::Steps(steps) => steps.iter().any(|step| matches!(step, Step::Open(open) if open.class.is_some())),
                _ => false,
            })
    }
}

/// The case as this target has it.
fn over_words<'a>(case: &'a Case, target: &Target) -> Cow<'a, Case> {
    let Some(each) = case.head.each else { return Cow::Borrowed(case) };
    let profile = &target.profile;
    let roles = profile.roles.as_ref();
    let words: Vec<&str> = match each {
        Each::AllowedRoles => roles.map(|roles| roles.allowed.iter().map(String::as_str).collect()).unwrap_or_default(),
        Each::DeniedRoles => roles.map(|roles| roles.refused().collect()).unwrap_or_default(),
        Each::WeakSecrets => profile.weak_secrets.iter().map(String::as_str).collect(),
    };
    let mut case = case.clone();
    let before = std::mem::take(&mut case.variants);
    for variant in before {
        for word in &words {
            let label = [variant.label.as_str(), &printable(word)].join(" ").trim().to_owned();
            let bound = Some(Bound { each, word: (*word).to_owned() });
            case.variants.push(Variant { label, body: variant.body.clone(), bound });
        }
    }
    Cow::Owned(case)
}

/// A recommendation binds whoever promises to follow it.
fn level(case: &Case, target: &Target) -> Level {
    let head = &case.head;
    let is_promised = !head.must_when.is_empty() && head.must_when.iter().all(|need| need.is_met_by(target));
    if is_promised { Level::Must } else { head.level }
}

/// Why the target cannot have this case, if it cannot.
fn unmet(case: &Case, target: &Target) -> Option<String> {
    if let Some(need) = case.head.needs.iter().find(|need| !need.is_met_by(target)) {
        return Some(format!("it needs {}, which the profile does not declare", need.words()));
    }
    if let Some(need) = case.head.unless.iter().find(|need| need.is_met_by(target)) {
        return Some(format!("the profile declares {}", need.words()));
    }
    None
}

/// The class a refusal of this attempt belongs to.
pub fn class_of(case: &Case, open: Option<Class>) -> Option<Class> {
    open.or(case.head.class)
}
