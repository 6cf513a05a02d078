//! The report for a person: failures with what was asked, what was seen and how to mend it; then one line of counts.
//!
//! Reads well without colour. The words of a verdict come first, so that they can be searched for.

use std::fmt::Write as _;

use super::{Failure, Report, Summary, TrialReport};
use crate::diagnosis::{Cause, Finding};
use crate::verdict::Verdict;

/// How much is said, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// Use colours.
    pub color: bool,
    /// List every trial, not only those that need attention.
    pub verbose: bool,
}

/// The whole report of one run.
pub fn write(report: &Report, style: Style, again: &str) -> String {
    let mut text = String::new();
    match &report.failure {
        Some(Failure::Unreachable(why)) => {
            let _ = writeln!(text, "{} cannot be reached: {why}", report.url);
            let _ = writeln!(text, "  is the server running, and is this its address?");
        }
        Some(Failure::FirstControl(finding @ Finding { cause, observed, advice })) => {
            let expected = match cause {
                Cause::Echo => "the answer that `echo` declares",
                _ => "101, then a message, or a pong and no close",
            };
            let _ = writeln!(text, "{}, so {}", finding.lead(), finding.so());
            let _ = writeln!(text, "  target    {}", report.url);
            let _ = writeln!(text, "  expected  {expected}");
            let _ = writeln!(text, "  observed  {observed}");
            let _ = writeln!(text, "  {}    {advice}", if *cause == Cause::Unknown { "likely" } else { "found " });
        }
        Some(Failure::NoToken(why)) => {
            let _ = writeln!(text, "there is no valid token for {}: {why}", report.url);
        }
        Some(Failure::ControlLost(Finding { observed, advice, .. })) => {
            let _ = writeln!(text, "the valid token is no longer admitted, so what followed cannot be judged");
            let _ = writeln!(text, "  target    {}", report.url);
            let _ = writeln!(text, "  expected  the valid token is admitted before, between and after the cases");
            let _ = writeln!(text, "  observed  {observed}");
            let _ = writeln!(text, "  likely    {advice}\n");
        }
        Some(Failure::Interrupted) => {
            let _ = writeln!(text, "interrupted; what was known by then follows");
        }
        Some(stopped @ Failure::Stopped { .. }) => {
            let _ = writeln!(text, "{}\n", stopped.sentence());
        }
        None => {}
    }
    let skipped = matches!(report.failure, Some(Failure::Unreachable(_) | Failure::FirstControl(_)));
    let needs_attention = |trial: &&TrialReport| match trial.verdict {
        Verdict::Fail | Verdict::Error | Verdict::Warn | Verdict::Flaky => true,
        Verdict::Inconclusive => !skipped && report.failure.is_none(),
        _ => false,
    };
    let (mut blocks, lines): (Vec<_>, Vec<_>) = report.trials.iter().partition(needs_attention);
    for trial in lines {
        if style.verbose || !trial.transcript.is_empty() {
            line(&mut text, trial, style);
        }
    }
    // The worst first: what lets somebody in is often behind the lesser things that are seen beside it.
    let rank = |trial: &TrialReport| match trial.verdict {
        Verdict::Fail | Verdict::Error => 0,
        Verdict::Flaky => 1,
        Verdict::Warn => 2,
        _ => 3,
    };
    let place = |trial: &TrialReport| {
        let family = trial.code.split('-').next().unwrap_or_default();
        AT_FIRST.iter().position(|first| *first == family).unwrap_or(AT_FIRST.len())
    };
    blocks.sort_by_cached_key(|trial| (rank(trial), std::cmp::Reverse(trial.severity), place(trial)));
    for trial in blocks {
        block(&mut text, report, trial, style, again);
    }
    let _ = writeln!(text, "{}", summary_line(&report.target, report.summary(), report.took, style));
    text
}

/// What breaks everything else where it is broken: of failures that are equally bad these are read first.
const AT_FIRST: &[&str] = &["SIG", "AUTH", "KEY", "CLM", "ENC", "ROLE"];

/// One line of counts.
pub fn summary_line(name: &str, summary: Summary, took: std::time::Duration, style: Style) -> String {
    let mut parts = Vec::new();
    for verdict in Verdict::ALL {
        let count = summary.of(verdict);
        if count > 0 || matches!(verdict, Verdict::Fail | Verdict::Pass) {
            parts.push(paint(&format!("{count} {}", verdict.word()), verdict, style));
        }
    }
    format!("{name}: {} trials, {} ({:.2} s)", summary.total(), parts.join(", "), took.as_secs_f64())
}

fn block(text: &mut String, report: &Report, trial: &TrialReport, style: Style, again: &str) {
    let word = trial.verdict.word().to_uppercase();
    let place = trial.id.strip_prefix(&trial.code).unwrap_or_default();
    let source = if trial.source.is_empty() { String::new() } else { format!(" · {}", trial.source.join(", ")) };
    let _ = writeln!(
        text,
        "{}  {} {}{}  {}{source} · {}",
        paint(&word, trial.verdict, style),
        trial.code,
        trial.name,
        if place.is_empty() { String::new() } else { format!(" {place}") },
        trial.binding(),
        trial.severity.word(),
    );
    let _ = writeln!(text, "      {}", trial.title);
    let _ = writeln!(text, "      expected  {}", trial.expected);
    let _ = writeln!(text, "      observed  {}", trial.observed);
    if let (Some(mend), Verdict::Fail | Verdict::Warn | Verdict::Flaky) = (&trial.mend, trial.verdict) {
        let is_told = matches!(&report.failure, Some(Failure::FirstControl(finding)) if finding.advice == *mend);
        let mend = if is_told { "see above, where it is told what was tried" } else { mend };
        let _ = writeln!(text, "      mend      {mend}");
    }
    wire(text, trial);
    let _ = writeln!(text, "      again     gatecrash run --case {} --seed {}{again}\n", trial.selects(), report.seed);
}

fn line(text: &mut String, trial: &TrialReport, style: Style) {
    let word = paint(&format!("{:<14}", trial.verdict.word()), trial.verdict, style);
    let tail = match trial.verdict {
        Verdict::NotApplicable | Verdict::Info | Verdict::KnownGap => format!(": {}", trial.observed),
        _ => String::new(),
    };
    let _ = writeln!(text, "{word} {} {}{tail}", trial.id, trial.name);
    wire(text, trial);
}

/// What went over the wire, where it was asked for.
fn wire(text: &mut String, trial: &TrialReport) {
    for line in &trial.transcript {
        let _ = writeln!(text, "      | {line}");
    }
}

fn paint(text: &str, verdict: Verdict, style: Style) -> String {
    if !style.color {
        return text.to_owned();
    }
    let code = match verdict {
        Verdict::Pass => "32",
        Verdict::Fail | Verdict::Error => "1;31",
        Verdict::Warn | Verdict::Inconclusive | Verdict::Flaky => "33",
        Verdict::Info | Verdict::NotApplicable | Verdict::KnownGap => "2",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}
