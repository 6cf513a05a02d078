//! A summary in Markdown: the counts as a table, then what needs attention, the worst first.
//!
//! All that is not ours is escaped: a server's words make neither links, nor pictures, nor HTML.

use std::fmt::Write as _;

use super::{Report, Summary, TrialReport, total};
use crate::verdict::Verdict;

/// GitHub takes a mebibyte for all summaries of a step, and shows nothing of a larger one.
const MAX_BYTES: usize = 256 << 10;

/// The reports as Markdown.
pub fn write(reports: &[Report]) -> String {
    let all = total(reports);
    let mut text = format!("## gatecrash: {}\n\n", headline(all, reports));
    table(&mut text, reports);
    for report in reports {
        section(&mut text, report);
    }
    text
}

/// What comes first.
fn headline(all: Summary, reports: &[Report]) -> String {
    let broken = reports.iter().filter(|report| report.failure.is_some()).count();
    let mut parts = Vec::new();
    for verdict in [Verdict::Fail, Verdict::Error, Verdict::Inconclusive, Verdict::Flaky, Verdict::Warn] {
        if all.of(verdict) > 0 {
            parts.push(format!("{} {}", all.of(verdict), verdict.word()));
        }
    }
    if broken > 0 {
        parts.insert(0, format!("{broken} of {} runs did not come to its end", reports.len()));
    }
    match (parts.is_empty(), all.total()) {
        (true, 0) => "nothing was run".to_owned(),
        (true, total) => format!("{} of {total} trials passed, none needs attention", all.pass),
        (false, total) => format!("{} of {total} trials", parts.join(", ")),
    }
}

fn table(text: &mut String, reports: &[Report]) {
    let words: Vec<&str> = Verdict::ALL.iter().map(|verdict| verdict.word()).collect();
    let _ = writeln!(text, "| target | trials | {} |", words.join(" | "));
    let _ = writeln!(text, "|---|{}", "--:|".repeat(words.len() + 1));
    let mut row = |name: &str, summary: Summary| {
        let counts: Vec<String> = Verdict::ALL.iter().map(|verdict| summary.of(*verdict).to_string()).collect();
        let _ = writeln!(text, "| {name} | {} | {} |", summary.total(), counts.join(" | "));
    };
    for report in reports {
        row(&escape(&report.target), report.summary());
    }
    if reports.len() > 1 {
        row("all", total(reports));
    }
}

fn section(text: &mut String, report: &Report) {
    let mut listed: Vec<&TrialReport> = report.trials.iter().filter(|trial| is_listed(trial)).collect();
    if listed.is_empty() && report.failure.is_none() {
        return;
    }
    let _ = writeln!(text, "\n### {}\n", escape(&report.target));
    if let Some(failure) = &report.failure {
        let _ = writeln!(text, "{}\n", escape(&failure.sentence()));
    }
    if listed.is_empty() {
        return;
    }
    let rank = |trial: &TrialReport| Verdict::ALL.iter().position(|verdict| *verdict == trial.verdict);
    listed.sort_by(|a, b| rank(a).cmp(&rank(b)).then(b.severity.cmp(&a.severity)));
    text.push_str(
        "| | case | severity | requirement | expected | observed | how to mend it |\n|---|---|---|---|---|---|---|\n",
    );
    for (index, trial) in listed.iter().enumerate() {
        if text.len() > MAX_BYTES {
            let _ = writeln!(text, "\nand {} more, which the other reports hold", listed.len() - index);
            return;
        }
        let mend = trial.mend.as_deref().unwrap_or_default();
        let cells = [
            trial.verdict.word(),
            &format!("{} {}", trial.id, trial.name),
            trial.severity.word(),
            &trial.title,
            &trial.expected,
            &trial.observed,
            mend,
        ];
        let cells: Vec<String> = cells.iter().map(|cell| escape(cell)).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

fn is_listed(trial: &TrialReport) -> bool {
    !matches!(trial.verdict, Verdict::Pass | Verdict::Info | Verdict::NotApplicable)
}

/// The text in one line, with nothing in it that Markdown or HTML acts on.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // Neither a mention nor an address that a viewer makes a link of.
            '@' => escaped.push_str("&#64;"),
            ':' => escaped.push_str("&#58;"),
            '\n' | '\r' => escaped.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '!' | '|' | '~' | '$' => {
                escaped.push('\\');
                escaped.push(character);
            }
            _ => escaped.push(character),
        }
    }
    escaped.replace("www.", "www&#46;")
}
