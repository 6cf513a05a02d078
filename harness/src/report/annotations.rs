//! Annotations of GitHub Actions: lines on stdout that its runner shows beside the run.

use super::{Report, TrialReport};
use crate::verdict::Verdict;

/// GitHub shows so many of each kind for a step, and forgets the rest.
const SHOWN: usize = 10;

/// The lines, the worst first; those that would not be shown are counted in the last.
pub fn write(reports: &[Report]) -> String {
    let mut errors: Vec<(&Report, &TrialReport)> = Vec::new();
    let mut warnings: Vec<(&Report, &TrialReport)> = Vec::new();
    let mut lines = Vec::new();
    for report in reports {
        if let Some(failure) = &report.failure {
            lines.push(line("error", &format!("gatecrash {}", report.target), &failure.sentence()));
        }
        for trial in &report.trials {
            match trial.verdict {
                Verdict::Fail | Verdict::Error => errors.push((report, trial)),
                Verdict::Flaky if trial.is_breach() => errors.push((report, trial)),
                // The failure of the run has said it for all of them.
                Verdict::Inconclusive if report.failure.is_some() => {}
                Verdict::Inconclusive | Verdict::Warn | Verdict::Flaky => warnings.push((report, trial)),
                Verdict::Pass | Verdict::Info | Verdict::NotApplicable | Verdict::KnownGap => {}
            }
        }
    }
    for (command, mut found, room) in
        [("error", errors, SHOWN.saturating_sub(lines.len())), ("warning", warnings, SHOWN)]
    {
        found.sort_by_key(|(_, trial)| std::cmp::Reverse(trial.severity));
        let shown = if found.len() > room { room.saturating_sub(1) } else { found.len() };
        for (report, trial) in &found[..shown] {
            let title = format!(
                "{} {} at {} ({}, {})",
                trial.id,
                trial.name,
                report.target,
                trial.verdict.word(),
                trial.severity.word()
            );
            let mut message = format!("{}\nexpected {}\nobserved {}", trial.title, trial.expected, trial.observed);
            if let Some(mend) = &trial.mend {
                message.push_str(&format!("\nmend {mend}"));
            }
            lines.push(line(command, &title, &message));
        }
        if found.len() > shown {
            lines.push(line(command, "gatecrash", &format!("{} more, in the reports", found.len() - shown)));
        }
    }
    lines.concat()
}

/// One command of the runner. What stands in it cannot end it, nor begin another.
fn line(command: &str, title: &str, message: &str) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let title = data(title).replace(':', "%3A").replace(',', "%2C");
    harmless(&format!("::{command} title={title}::{}\n", data(message)))
}

/// A text for the log of such a run, where the runner would act on `##[` wherever it stands in a line.
pub fn harmless(text: &str) -> String {
    text.replace("##[", "## [")
}
