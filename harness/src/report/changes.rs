//! What changed since an earlier result, and who changed: the server, the case, the profile, or what could be judged.

use std::fmt::Write as _;

use super::earlier::{Earlier, Trial};
use super::gaps::STALE;
use crate::verdict::Verdict;

/// Whose change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The same case now sees something else.
    Server,
    /// The case asks something else, is new, or is gone.
    Case,
    /// The profile declares something else, so that the case applies now, applies no more, or binds otherwise.
    Profile,
    /// One of the two could not be judged.
    Unjudged,
    /// The earlier result does not say which case it was.
    Unknown,
}

impl Cause {
    const ALL: [Self; 5] = [Self::Server, Self::Case, Self::Profile, Self::Unjudged, Self::Unknown];

    fn words(self) -> &'static str {
        match self {
            Self::Server => "the server changed",
            Self::Case => "the case changed",
            Self::Profile => "the profile changed",
            Self::Unjudged => "it could not be judged",
            Self::Unknown => "the server or the case changed: the baseline is too old to tell",
        }
    }
}

/// One trial that came to something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The name of the target.
    pub target: String,
    /// The trial.
    pub id: String,
    /// The name of its case.
    pub name: String,
    /// What it was; none where the earlier result does not have it.
    pub before: Option<Verdict>,
    /// What it is; none where it is not there any more.
    pub after: Option<Verdict>,
    /// What is seen now, or was before.
    pub observed: String,
    /// Whose change it is.
    pub cause: Cause,
}

impl Change {
    /// Whether it fails now and did not before.
    pub fn is_newly_failing(&self) -> bool {
        is_failing(self.after) && !is_failing(self.before)
    }

    /// Whether it passes now and failed before.
    pub fn is_newly_passing(&self) -> bool {
        matches!(self.after, Some(Verdict::Pass | Verdict::Info))
            && (is_failing(self.before) || self.before == Some(Verdict::KnownGap))
    }
}

fn is_failing(verdict: Option<Verdict>) -> bool {
    matches!(verdict, Some(Verdict::Fail | Verdict::Flaky))
}

/// What the newer result says otherwise than the older one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// In the order of the newer result; what is gone comes last.
    pub changes: Vec<Change>,
    /// How many trials came to the same.
    pub same: usize,
    /// Targets of which the older result knows nothing.
    pub unknown: Vec<String>,
}

impl Changes {
    /// Holds one against the other. A trial that was not asked for this time is not missed.
    pub fn between(before: &Earlier, after: &Earlier) -> Self {
        let mut found = Self::default();
        for run in &after.runs {
            let Some(old) = before.beside(run, after.runs.len() == 1) else {
                found.unknown.push(run.target.clone());
                continue;
            };
            let mut change = |trial: &Trial, before: Option<&Trial>, after: Option<&Trial>, cause| {
                found.changes.push(Change {
                    target: run.target.clone(),
                    id: trial.id.clone(),
                    name: trial.name.clone(),
                    before: before.map(|trial| trial.verdict),
                    after: after.map(|trial| trial.verdict),
                    observed: trial.observed.clone(),
                    cause,
                });
            };
            for trial in &run.cases {
                match old.cases.iter().find(|known| known.id == trial.id) {
                    Some(known) if known.verdict == trial.verdict => found.same += 1,
                    Some(known) => change(trial, Some(known), Some(trial), cause(known, trial)),
                    // Another carrier of a case that was there is the profile's doing, as a gap that is not true is.
                    None if trial.code == STALE || old.cases.iter().any(|known| known.code == trial.code) => {
                        change(trial, None, Some(trial), Cause::Profile);
                    }
                    None => change(trial, None, Some(trial), Cause::Case),
                }
            }
            for gone in &old.cases {
                let is_there = run.cases.iter().any(|trial| trial.id == gone.id);
                let is_asked = run.cases.iter().any(|trial| trial.code == gone.code);
                if !is_there && is_asked {
                    change(gone, Some(gone), None, Cause::Profile);
                }
            }
        }
        found
    }

    /// What a person reads: the counts, then each change under whose it is.
    pub fn describe(&self, baseline: &str) -> String {
        let count = |is: fn(&Change) -> bool| self.changes.iter().filter(|change| is(change)).count();
        let (failing, passing) = (count(Change::is_newly_failing), count(Change::is_newly_passing));
        let mut text = format!(
            "against {baseline}: {failing} newly failing, {passing} newly passing, {} otherwise changed, {} the same\n",
            self.changes.len() - failing - passing,
            self.same
        );
        for target in &self.unknown {
            let _ = writeln!(text, "  {target} is not in it");
        }
        let several = self.changes.iter().any(|change| change.target != self.changes[0].target);
        for cause in Cause::ALL {
            let mut of_cause: Vec<&Change> = self.changes.iter().filter(|change| change.cause == cause).collect();
            if of_cause.is_empty() {
                continue;
            }
            of_cause.sort_by_key(|change| (!change.is_newly_failing(), !change.is_newly_passing()));
            let _ = writeln!(text, "  {}", cause.words());
            for change in of_cause {
                let word = |verdict: Option<Verdict>| verdict.map_or("not there", Verdict::word);
                let target = if several { format!(" at {}", change.target) } else { String::new() };
                let _ = writeln!(
                    text,
                    "    {} {}{target}: {}, was {}: {}",
                    change.id,
                    change.name,
                    word(change.after),
                    word(change.before),
                    change.observed
                );
            }
        }
        text
    }
}

/// Why a trial that both results have came to something else.
fn cause(before: &Trial, after: &Trial) -> Cause {
    let either = |verdicts: &[Verdict]| verdicts.contains(&before.verdict) || verdicts.contains(&after.verdict);
    let failing = |trial: &Trial| matches!(trial.verdict, Verdict::Fail | Verdict::Flaky | Verdict::Warn);
    // Whether a failure is listed is the profile's word; that there is one is the server's.
    let listed =
        before.verdict == Verdict::KnownGap && failing(after) || failing(before) && after.verdict == Verdict::KnownGap;
    // The level decides whether a failure is one or a warning, never whether it passes.
    let bound_otherwise = before.level != after.level && failing(before) && failing(after);
    match (&before.definition, &after.definition) {
        (Some(old), Some(new)) if old != new => Cause::Case,
        _ if either(&[Verdict::Inconclusive, Verdict::Error]) => Cause::Unjudged,
        _ if either(&[Verdict::NotApplicable]) || listed || bound_otherwise => Cause::Profile,
        (Some(_), Some(_)) => Cause::Server,
        _ => Cause::Unknown,
    }
}
