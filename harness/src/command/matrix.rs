//! The kill matrix: every case is proved able to fail, and every fault of the reference server is found.
//!
//! For each fault the suite is run against a server that has exactly that fault, in dialects and refusal styles until
//! each case that hunts it was applicable once. Those cases must fail, and no others but the companions that
//! `weaknesses.yaml` names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use gatecrash_reference_server::Fault;

use super::bundled_server::{BundledServer, SETTINGS};
use crate::case::Case;
use crate::catalogue::Catalogue;
use crate::report::{Failure, Report};
use crate::suite::Suite;
use crate::verdict::{Grade, Verdict};

/// A companion that stands for whatever is in flight: such a fault takes everybody's connection down.
const EVERYTHING: &str = "*";
/// What the usual deadlines are multiplied by for the bundled server.
const HASTE: f64 = 0.4;
/// The same for a second attempt: where the first was not clean, the machine may be the cause.
const LEISURE: f64 = 3.0;
/// How long a refusal may take where a busy machine, and not the target, would be what is measured.
pub const UNHURRIED_MS: u64 = 60_000;

/// An entry of a case's table: the code of the case, and the label of the entry.
pub type Entry = (String, String);

/// Entries that no fault turns red, and why they stay.
const NEVER_RED: &[(&str, &[&str], &str)] = &[
    ("SIG-028", &["2", "3", "4", "5", "6", "7"], "the bundled server has used two secrets before, and not eight"),
    ("SIG-029", &["certificate_pem"], "no setting of the bundled server is given a certificate of its key"),
    (
        "SIG-041",
        &[
            "0-1",
            "1-0",
            "1-1",
            "n-1",
            "1-n",
            "least-greatest",
            "greatest-least",
            "greatest-greatest",
            "0-greatest",
            "greatest-0",
            "n-greatest",
            "greatest-n",
            "real-n",
            "n-real",
            "beyond",
            "all-ones",
        ],
        "without a check of ranges they are computed with, and the sum is wrong; it is right where both are zero, or \
         the order, which is the same",
    ),
    ("HTTP-019", &["admin-password"], "the account of that name has another password, which is an entry as well"),
];

/// The entries of tables that none of these runs has turned red, but for those that have a reason not to.
///
/// Only cases that hunt a weakness are asked, and of them only those that a fault can have.
pub fn toothless<'k>(catalogue: &Catalogue, kills: impl IntoIterator<Item = &'k Kill>) -> Vec<Entry> {
    let red: BTreeSet<&Entry> = kills.into_iter().flat_map(|kill| &kill.red).collect();
    let seeded = |case: &&Case| {
        let weakness = case.head.weakness.as_deref().and_then(|name| catalogue.weaknesses.get(name));
        weakness.is_some_and(|weakness| weakness.not_seeded.is_none())
    };
    let entries = catalogue.cases.iter().filter(seeded).flat_map(|case| {
        let labels = case.variants.iter().map(|variant| &variant.label).filter(|label| !label.is_empty());
        labels.map(|label| (case.head.code.clone(), label.clone()))
    });
    let excused = |(code, label): &Entry| {
        NEVER_RED.iter().any(|(other, entries, _)| other == code && entries.contains(&label.as_str()))
    };
    entries.filter(|entry| !red.contains(entry) && !excused(entry)).collect()
}

/// What a fault did to the suite.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kill {
    /// Cases that hunt it and failed.
    pub killed_by: BTreeSet<String>,
    /// Cases that hunt it, apply somewhere, and passed everywhere.
    pub missed_by: BTreeSet<String>,
    /// Cases that failed although nothing says they should, with what they saw.
    pub unrelated: BTreeSet<String>,
    /// Companions that failed in none of the settings that were tried. They may in another, so this fails nothing.
    pub idle: BTreeSet<String>,
    /// Entries of tables that failed, in whichever case.
    pub red: BTreeSet<Entry>,
}

impl Kill {
    /// The fault is found, by all its cases and by nothing unrelated.
    pub fn is_clean(&self) -> bool {
        !self.killed_by.is_empty() && self.missed_by.is_empty() && self.unrelated.is_empty()
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
        write!(
            f,
            "killed by {}",
            if self.killed_by.is_empty() { "nothing".to_owned() } else { list(&self.killed_by) }
        )?;
        if !self.missed_by.is_empty() {
            write!(f, "; missed by {}", list(&self.missed_by))?;
        }
        if !self.idle.is_empty() {
            write!(f, "; idle {}", list(&self.idle))?;
        }
        if !self.unrelated.is_empty() {
            write!(f, "; unrelated: {}", self.unrelated.iter().cloned().collect::<Vec<_>>().join("\n  "))?;
        }
        Ok(())
    }
}

/// Runs the suite against a server with this fault and tells what it did.
///
/// The server is at hand, so what a fault keeps silent about is not waited for as long as a stranger's. On a busy
/// machine that haste can make a right answer come too late; what is not clean is therefore tried once more at leisure.
///
/// # Errors
///
/// When a server cannot be started or the catalogue is wrong.
pub async fn kill(suite: &Suite, catalogue: &Catalogue, fault: Fault) -> Result<Kill, String> {
    let hurried = attempt(&suite.clone().all().timeout_scale(HASTE), catalogue, fault).await?;
    if hurried.is_clean() {
        return Ok(hurried);
    }
    attempt(&suite.clone().all().timeout_scale(LEISURE), catalogue, fault).await
}

async fn attempt(suite: &Suite, catalogue: &Catalogue, fault: Fault) -> Result<Kill, String> {
    let hunters: BTreeSet<&str> = catalogue
        .cases
        .iter()
        .filter(|case| case.head.weakness.as_deref() == Some(fault.name()))
        .map(|case| case.head.code.as_str())
        .collect();
    let companions: BTreeSet<&str> = catalogue
        .weaknesses
        .get(fault.name())
        .map(|weakness| weakness.also.iter().map(String::as_str).collect())
        .unwrap_or_default();
    let idle = companions.iter().filter(|code| **code != EVERYTHING).map(|code| (*code).to_owned()).collect();
    let mut kill = Kill { idle, ..Kill::default() };
    let mut open: BTreeSet<&str> = hunters.clone();
    let cases: BTreeMap<&str, &Case> = catalogue.cases.iter().map(|case| (case.head.code.as_str(), case)).collect();
    for setting in SETTINGS {
        if open.is_empty() {
            break;
        }
        let mut target = BundledServer::start(setting, Some(fault)).map_err(|error| error.to_string())?;
        if fault != Fault::SlowRefusal {
            target.target.profile.refusal_budget_ms = Some(UNHURRIED_MS);
        }
        if fault != Fault::SlowVerification {
            target.target.profile.handshake_budget_ms = Some(UNHURRIED_MS);
        }
        let applies = suite.applies(&target.target, &open).map_err(|found| found.to_string())?;
        if !applies {
            continue;
        }
        let report = suite.run(&target.target).await.map_err(|found| found.to_string())?;
        kill.red.extend(red_entries(&report, &cases));
        let failed = failed(&report);
        for code in &hunters {
            let tried =
                report.trials.iter().any(|trial| trial.code == *code && trial.verdict != Verdict::NotApplicable);
            if failed.iter().any(|(other, _)| other == code) {
                kill.killed_by.insert((*code).to_owned());
                kill.missed_by.remove(*code);
                open.remove(code);
            } else if tried && !kill.killed_by.contains(*code) {
                kill.missed_by.insert((*code).to_owned());
            }
        }
        for (code, observed) in failed {
            kill.idle.remove(&code);
            let expected = hunters.contains(code.as_str()) || companions.contains(code.as_str());
            if !expected && !companions.contains(EVERYTHING) {
                kill.unrelated.insert(format!("{code} in {}: {observed}", setting.name));
            }
        }
    }
    Ok(kill)
}

/// The entries of tables that a fault made fail or warn. A check is called after its entry, and after its step where the
/// entry has several.
fn red_entries(report: &Report, cases: &BTreeMap<&str, &Case>) -> BTreeSet<Entry> {
    let mut red = BTreeSet::new();
    for trial in &report.trials {
        let Some(case) = cases.get(trial.code.as_str()) else { continue };
        for check in trial.checks.iter().filter(|check| matches!(check.grade, Grade::Fail | Grade::Warn)) {
            let is_of = |label: &&String| {
                check
                    .label
                    .strip_prefix(label.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', ' ']))
            };
            let labels = case.variants.iter().map(|variant| &variant.label).filter(|label| !label.is_empty());
            let longest = labels.filter(is_of).max_by_key(|label| label.len());
            red.extend(longest.map(|label| (trial.code.clone(), label.clone())));
        }
    }
    red
}

/// The cases that a fault made fail or warn, with what they saw.
fn failed(report: &Report) -> Vec<(String, String)> {
    let mut failed: Vec<_> = report
        .trials
        .iter()
        .filter(|trial| matches!(trial.verdict, Verdict::Fail | Verdict::Warn | Verdict::Error))
        .map(|trial| (trial.code.clone(), trial.observed.clone()))
        .collect();
    if let Some(Failure::Unreachable(why)) = &report.failure {
        failed.push(("unreachable".to_owned(), why.clone()));
    }
    failed
}
