//! What failed is played again: what passes then is flaky. It is never a plain pass, and says what it was at first.

use super::{Report, TrialReport, gaps};
use crate::profile::KnownGap;
use crate::verdict::{Severity, Verdict};

/// The trials that are worth another try: those that failed or could not be judged, and are not known to.
pub fn wanted(report: &Report, known: &[KnownGap]) -> Vec<String> {
    let failed = |trial: &&TrialReport| matches!(trial.verdict, Verdict::Fail | Verdict::Inconclusive);
    report.trials.iter().filter(failed).filter(|trial| !gaps::covers(known, trial)).map(|one| one.id.clone()).collect()
}

/// Puts what came of another try into the report. A try that broke off says nothing.
pub fn merge(report: &mut Report, again: Report) {
    report.controls += again.controls;
    report.took += again.took;
    if again.failure.is_some() {
        return;
    }
    for second in again.trials {
        let Some(first) = report.trials.iter_mut().find(|trial| trial.id == second.id) else { continue };
        match (first.verdict, second.verdict) {
            (Verdict::Fail | Verdict::Inconclusive, Verdict::Pass | Verdict::Info | Verdict::Warn) => {
                // Where nothing was proved at first, nothing was broken.
                if first.verdict == Verdict::Inconclusive {
                    first.severity = Severity::Info;
                }
                first.observed = format!(
                    "{} at first: {}; {} when played again: {}",
                    first.verdict.word(),
                    first.observed,
                    second.verdict.word(),
                    second.observed
                );
                first.verdict = Verdict::Flaky;
            }
            // What is proved by the second try is true, whatever hid it from the first.
            (Verdict::Inconclusive, Verdict::Fail) => {
                let observed = format!("{}; at first it could not be judged: {}", second.observed, first.observed);
                *first = TrialReport { observed, ..second };
            }
            _ => {}
        }
    }
}
