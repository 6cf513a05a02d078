//! What servers of common stacks came to, made of their reports and of the reasons written down: the page `STACKS.md`, and
//! its table in the README.
//!
//! They count findings and not passes, so that a new case which every server passes does not change them.

use std::fmt::Write as _;

use gatecrash::Verdict;
use gatecrash::report::{Report, TrialReport};
use gatecrash::verdict::Severity;

/// The cases whose refusals are shown, and what was wrong with the token there.
const REFUSALS: &[(&str, &str)] = &[("AUTH-004", "no token"), ("SIG-001", "forged"), ("CLM-001", "expired")];

const HEAD: &str = "\
<!-- Made of the reports of the interop run: GATECRASH_BLESS=1 cargo test --test interop -->

# What common stacks do with a bad token

Each of these servers is small, written the way its library is commonly used, and told to pin HS256 (or ES256), to want
an `exp` and to forgive no second. `gatecrash` judged them over loopback, in the versions pinned in this folder. The page
is made of those reports; a test fails when they say something else.

* **Does the gate hold?** A *gap* is a broken MUST of medium severity or above: it fails a run. *Small* ones are listed and
  fail none; a *warning* is a broken SHOULD.
* **Told by** is what the wire shows for no token, a forged one and an expired one.
* **A browser sees** what a page can learn of that. It never learns an HTTP status: each of them is close code 1006 without
  a reason, the same as for a server that is down. So a page that must tell *log in again* from *try again later* needs
  a close code, or a question to the server beside the socket.
* **Of note** are the gaps, and what is odd about how a refusal is told. Everything else is below the table.
";

/// Where the table stands in the README.
const BEGIN: &str = "<!-- stacks: made by GATECRASH_BLESS=1 cargo test --test interop -->\n";
const END: &str = "<!-- stacks end -->\n";

const COLUMNS: &str = "| stack | does the gate hold? | told by | a browser sees | of note |\n|---|---|---|---|---|\n";

/// The page, as the README sees it.
const FROM_README: &str = "harness/tests/interop/STACKS.md";

/// What is said of one server.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    stack: String,
    /// The cells behind its name.
    cells: String,
    section: String,
}

impl Entry {
    /// Says it; `why` gives the reason for a trial that is not plain right, by its identity and code.
    pub(crate) fn of<'a>(
        stack: &str,
        report: &Report,
        why: &dyn Fn(&str, &str) -> Option<&'a str>,
    ) -> Result<Self, String> {
        let mut found: Vec<(Weight, &TrialReport)> =
            report.trials.iter().filter_map(|trial| Some((Weight::of(trial)?, trial))).collect();
        found.sort_by_key(|(weight, _)| *weight);
        let told = told(report)?;
        let mut section = format!("\n## {stack}\n\n");
        if found.is_empty() {
            section.push_str("Nothing to object.\n");
        } else {
            section.push_str("| | what does not hold | why |\n|---|---|---|\n");
        }
        for (weight, trial) in &found {
            let why = why(&trial.id, &trial.code).unwrap_or_default();
            let word = match weight {
                Weight::Gap => format!("**gap**, {:?}", trial.severity).to_lowercase(),
                Weight::Small => "small".to_owned(),
                Weight::Warning => "warning".to_owned(),
                Weight::Open => "no verdict".to_owned(),
            };
            let _ = writeln!(section, "| {word} | {} {} | {} |", trial.code, cell(&trial.title), cell(why));
        }
        let browser = distinct(told.iter().map(|(_, told)| seen_by_a_page(told)));
        let cells = format!("{} | {} | {} | {}", decision(&found), spelled(&told), browser, of_note(&found, why));
        Ok(Self { stack: stack.to_owned(), cells, section })
    }

    /// Its line in a table of which the page is at `page`.
    fn row(&self, page: &str) -> String {
        format!("| [{}]({page}#{}) | {} |\n", self.stack, anchor(&self.stack), self.cells)
    }

    /// Whether page and README say the same, and if not, what they should say.
    pub(crate) fn stands_in(&self, page: &str, readme: &str) -> Result<(), String> {
        let parts = [(page, self.row("")), (page, self.section.clone()), (readme, self.row(FROM_README))];
        let missing: Vec<String> =
            parts.into_iter().filter(|(text, part)| !text.contains(part)).map(|(_, part)| part).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!(
            "STACKS.md or the README is not what the report says; GATECRASH_BLESS=1 writes both anew, where every stack is \
             set up. They should hold:\n{}",
            missing.join("\n")
        ))
    }
}

/// The whole page.
pub(crate) fn write(entries: &[&Entry]) -> String {
    let rows: String = entries.iter().map(|entry| entry.row("")).collect();
    let sections: String = entries.iter().map(|entry| entry.section.as_str()).collect();
    format!("{HEAD}\n{COLUMNS}{rows}{sections}")
}

/// The README with its table made anew.
pub(crate) fn write_readme(readme: &str, entries: &[&Entry]) -> Result<String, String> {
    let (before, _, after) = around_table(readme)?;
    let rows: String = entries.iter().map(|entry| entry.row(FROM_README)).collect();
    Ok(format!("{before}{BEGIN}{COLUMNS}{rows}{END}{after}"))
}

/// The README before its table, the table, and the rest.
fn around_table(readme: &str) -> Result<(&str, &str, &str), String> {
    let parts = readme.split_once(BEGIN).and_then(|(before, rest)| {
        let (table, after) = rest.split_once(END)?;
        Some((before, table, after))
    });
    parts.ok_or_else(|| format!("README.md has no place for the table, between {BEGIN}and {END}"))
}

/// Whether page and README begin as they should and show these stacks in this order, and no others.
pub(crate) fn is_complete(page: &str, readme: &str, stacks: &[String]) -> Result<(), String> {
    if !page.starts_with(&format!("{HEAD}\n{COLUMNS}")) {
        return Err("STACKS.md does not begin as it is made".to_owned());
    }
    let table = around_table(readme)?.1;
    let rows = table.strip_prefix(COLUMNS).ok_or("the table in README.md does not begin as it is made")?;
    let linked = |rows: &str| -> Vec<String> {
        rows.lines().filter_map(|row| Some(row.strip_prefix("| [")?.split_once("](")?.0.to_owned())).collect()
    };
    let sections: Vec<String> = page.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    for (place, shown) in [("STACKS.md", sections), ("the table there", linked(page)), ("README.md", linked(rows))] {
        if shown != stacks {
            return Err(format!("{place} shows {shown:?}, and expected.yaml names {stacks:?}"));
        }
    }
    Ok(())
}

/// How much a finding weighs, the heaviest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Gap,
    Small,
    Warning,
    Open,
}

impl Weight {
    fn of(trial: &TrialReport) -> Option<Self> {
        match trial.verdict {
            Verdict::Fail if trial.severity >= Severity::Medium => Some(Self::Gap),
            Verdict::Fail => Some(Self::Small),
            Verdict::Warn => Some(Self::Warning),
            Verdict::Inconclusive | Verdict::Error | Verdict::Flaky | Verdict::KnownGap => Some(Self::Open),
            Verdict::Pass | Verdict::Info | Verdict::NotApplicable => None,
        }
    }
}

fn decision(found: &[(Weight, &TrialReport)]) -> String {
    let count = |weight| found.iter().filter(|(found, _)| *found == weight).count();
    let mut words = vec![match count(Weight::Gap) {
        0 => "holds".to_owned(),
        1 => "**1 gap**".to_owned(),
        gaps => format!("**{gaps} gaps**"),
    }];
    match count(Weight::Small) {
        0 => {}
        small => words.push(format!("{small} small")),
    }
    match count(Weight::Warning) {
        0 => {}
        1 => words.push("1 warning".to_owned()),
        warnings => words.push(format!("{warnings} warnings")),
    }
    words.join(", ")
}

/// The reasons for what matters most to whoever chooses a stack: the gaps, and the warnings about how a refusal is told.
fn of_note<'a>(found: &[(Weight, &TrialReport)], why: &dyn Fn(&str, &str) -> Option<&'a str>) -> String {
    let notable = found.iter().filter(|(weight, trial)| {
        *weight == Weight::Gap || (*weight == Weight::Warning && trial.code.starts_with("REJ-"))
    });
    let notes =
        notable.filter_map(|(_, trial)| Some(format!("{}: {}", trial.code, cell(why(&trial.id, &trial.code)?))));
    notes.collect::<Vec<_>>().join("<br>")
}

/// What was wrong with the token, and how the client was told.
fn told(report: &Report) -> Result<Vec<(&'static str, String)>, String> {
    REFUSALS
        .iter()
        .map(|(code, what)| {
            let trial = report.trials.iter().find(|trial| trial.code == *code && !trial.checks.is_empty());
            let check = trial.and_then(|trial| trial.checks.first()).ok_or_else(|| format!("{code} was not run"))?;
            Ok((*what, plainly(&check.observed)))
        })
        .collect()
}

/// An outcome in fewer words.
fn plainly(outcome: &str) -> String {
    let inside = |before: &str| outcome.strip_prefix(before).and_then(|rest| rest.strip_suffix(')'));
    if let Some(message) = inside("refused (101, then the message \"").and_then(|how| how.strip_suffix('"')) {
        format!("the message `{}`", message.replace("\\\"", "\""))
    } else if let Some(how) =
        inside("refused (101, then ").or(inside("refused (")).or(inside("refused by a server error ("))
    {
        how.to_owned()
    } else if outcome.starts_with("101 and an open connection") {
        "left open, not served".to_owned()
    } else {
        outcome.to_owned()
    }
}

/// One text where all are told the same.
fn spelled(told: &[(&str, String)]) -> String {
    match told {
        [(_, first), rest @ ..] if rest.iter().all(|(_, other)| other == first) => cell(first),
        _ => told.iter().map(|(what, how)| format!("{what}: {}", cell(how))).collect::<Vec<_>>().join("<br>"),
    }
}

/// What a page in a browser learns of a refusal (WHATWG WebSockets: a failed handshake shows as 1006 and nothing else).
fn seen_by_a_page(told: &str) -> String {
    let code =
        told.strip_prefix("close ").map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    match code {
        Some(code) if !code.is_empty() => format!("`onopen`, then {code} and the reason"),
        _ if told.starts_with("HTTP ") => "1006, no reason".to_owned(),
        _ if told.starts_with("the message ") => "`onopen`, then that message".to_owned(),
        _ if told.starts_with("a close without a code") => "`onopen`, then 1005".to_owned(),
        _ if told.starts_with("left open") => "`onopen`, then nothing".to_owned(),
        _ => "`onopen`, then 1006".to_owned(),
    }
}

fn distinct(texts: impl Iterator<Item = String>) -> String {
    let mut once: Vec<String> = Vec::new();
    for text in texts {
        if !once.contains(&text) {
            once.push(text);
        }
    }
    once.join("<br>")
}

/// Text that stands in a cell as it is.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('*', "\\*")
}

/// The anchor of a heading, as forges make it.
fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter_map(|character| match character {
            ' ' => Some('-'),
            '-' | '_' => Some(character),
            other if other.is_alphanumeric() => Some(other.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}
