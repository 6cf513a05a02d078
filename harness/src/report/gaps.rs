//! Known gaps: failures that the profile lists with a reason do not fail the run, and what is listed must be true.

use std::time::Duration;

use super::{About, Report, TrialReport};
use crate::document::closest;
use crate::profile::KnownGap;
use crate::redact::Redactor;
use crate::verdict::{Basis, Level, Severity, Verdict};

/// The code of what stands in a report for an entry that is not true any more.
pub const STALE: &str = "known-gap";

/// Whether a failure of this trial is on the list, in these words.
pub fn covers(gaps: &[KnownGap], trial: &TrialReport) -> bool {
    gaps.iter().any(|gap| gap.names(&trial.id) && is_seen(gap, trial))
}

fn is_seen(gap: &KnownGap, trial: &TrialReport) -> bool {
    gap.observed.as_ref().is_none_or(|words| trial.observed.contains(words.as_str()))
}

/// Takes the known failures out of the count, and adds a failure for each entry that no longer fails or names nothing.
///
/// `known` are all trials that could be made for this target; an entry about one that was not asked for is left alone.
pub fn apply(report: &mut Report, gaps: &[KnownGap], known: &[String], redactor: &Redactor) {
    let mut stale = Vec::new();
    for gap in gaps {
        let mut named = 0;
        let (mut failing, mut open) = (false, false);
        let mut last = String::new();
        for trial in report.trials.iter_mut().filter(|trial| gap.names(&trial.id)) {
            named += 1;
            match trial.verdict {
                Verdict::Fail | Verdict::Warn if is_seen(gap, trial) => {
                    failing = true;
                    trial.verdict = Verdict::KnownGap;
                    trial.observed = format!("{}; known: {}", trial.observed, redactor.clean(&gap.reason));
                }
                Verdict::Fail | Verdict::Warn => {
                    failing = true;
                    let words = redactor.clean(gap.observed.as_deref().unwrap_or_default());
                    trial.observed.push_str(&format!("; the known gap is another one, in which `{words}` is seen"));
                }
                Verdict::KnownGap => failing = true,
                Verdict::Inconclusive | Verdict::Error | Verdict::Flaky => open = true,
                Verdict::Pass | Verdict::Info => "it does not fail any more".clone_into(&mut last),
                Verdict::NotApplicable if last.is_empty() => {
                    last = format!("it does not apply to this target: {}", trial.observed);
                }
                Verdict::NotApplicable => {}
            }
        }
        if named > 0 && !failing && !open {
            stale.push(entry(gap, last, "take it out of `known_gaps`, so that the case guards again", redactor));
        } else if named == 0 && !known.iter().any(|id| gap.names(id)) {
            let codes = known.iter().map(|id| id.split('@').next().unwrap_or(id));
            let close = closest(&gap.case.to_ascii_uppercase(), codes.chain(known.iter().map(String::as_str)));
            let hint = close.map(|close| format!("; did you mean `{close}`?")).unwrap_or_default();
            let mend = "name a code or a trial as reports write it, or take the entry out of `known_gaps`";
            stale.push(entry(gap, format!("no trial for this target is called so{hint}"), mend, redactor));
        }
    }
    report.trials.extend(stale);
}

fn entry(gap: &KnownGap, observed: String, mend: &str, redactor: &Redactor) -> TrialReport {
    let case = redactor.clean(&gap.case);
    TrialReport {
        id: format!("{STALE}@{case}"),
        code: STALE.to_owned(),
        name: "stale-known-gap".to_owned(),
        title: "what the profile lists under `known_gaps` still fails".to_owned(),
        level: Level::Must,
        basis: Basis::Contract,
        severity: Severity::Medium,
        source: Vec::new(),
        weakness: None,
        mend: Some(mend.to_owned()),
        verdict: Verdict::Fail,
        expected: format!("{case} fails, for the reason given: {}", redactor.clean(&gap.reason)),
        observed,
        checks: Vec::new(),
        took: Duration::ZERO,
        about: About { family: "profile".to_owned(), ..About::default() },
        transcript: Vec::new(),
    }
}
