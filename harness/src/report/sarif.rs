//! SARIF 2.1.0 (OASIS): a result for what is wrong with the server, a notification for what is wrong with the run.
//!
//! A rule is a case; a place is where the case stands in its scenario file, because the code of the server is not ours to
//! know. No command line is written: a secret may stand in it. The counts of everything else, passes too, are properties
//! of the run, so that a viewer shows no alert for what holds.

use serde_json::{Value, json};

use super::{Failure, Report, TrialReport, json::counts};
use crate::hex;
use crate::verdict::{Severity, Verdict};
use crate::wire::opening::percent_encode;

/// Where the schema of this format is published.
const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The reports as SARIF.
pub fn write(reports: &[Report]) -> String {
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": reports.iter().map(run).collect::<Vec<_>>(),
    });
    let mut text = serde_json::to_string_pretty(&log).unwrap_or_default();
    text.push('\n');
    text
}

fn run(report: &Report) -> Value {
    // In the order in which cases first appear, so that the same run makes the same file.
    let mut ruled: Vec<&TrialReport> = Vec::new();
    for trial in report.trials.iter().filter(|trial| is_result(trial) || is_notification(trial)) {
        if !ruled.iter().any(|known| known.code == trial.code) {
            ruled.push(trial);
        }
    }
    let place = |trial: &TrialReport| ruled.iter().position(|known| known.code == trial.code);
    let results: Vec<Value> = report
        .trials
        .iter()
        .filter(|trial| is_result(trial))
        .map(|trial| result(report, trial, place(trial)))
        .collect();
    let mut notifications: Vec<Value> = report.failure.iter().map(failure).collect();
    notifications.extend(report.trials.iter().filter(|trial| is_notification(trial)).map(|trial| {
        json!({
            "level": if trial.verdict == Verdict::Error { "error" } else { "warning" },
            "message": { "text": format!("{} {}: {}", trial.id, trial.verdict.word(), trial.observed) },
            "associatedRule": { "id": trial.code, "index": place(trial) },
        })
    }));
    json!({
        "tool": { "driver": {
            "name": "gatecrash",
            "semanticVersion": env!("CARGO_PKG_VERSION"),
            "rules": ruled.iter().map(|trial| rule(trial)).collect::<Vec<_>>(),
        } },
        "automationDetails": { "id": format!("gatecrash/{}/", report.target) },
        "invocations": [{
            "executionSuccessful": report.failure.is_none() && report.summary().error == 0,
            "toolExecutionNotifications": notifications,
        }],
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": {
            "target": report.target,
            "url": report.url,
            "seed": report.seed,
            "summary": counts(report.summary()),
        },
    })
}

/// Whether the trial tells something that is wrong with the server.
fn is_result(trial: &TrialReport) -> bool {
    matches!(trial.verdict, Verdict::Fail | Verdict::Warn | Verdict::Flaky | Verdict::KnownGap)
}

/// Whether it tells something that is wrong with the run.
fn is_notification(trial: &TrialReport) -> bool {
    matches!(trial.verdict, Verdict::Inconclusive | Verdict::Error)
}

fn failure(failure: &Failure) -> Value {
    json!({ "level": "error", "message": { "text": failure.sentence() } })
}

fn rule(trial: &TrialReport) -> Value {
    let about = &trial.about;
    let parts = [
        ("What a gate with this weakness does", about.what.as_ref()),
        ("What it gives", about.gives.as_ref()),
        ("How to mend it", trial.mend.as_ref()),
    ];
    let mut help: Vec<String> =
        parts.iter().filter_map(|(head, text)| text.map(|text| format!("{head}: {text}"))).collect();
    help.push(format!("{}: {}", trial.binding(), trial.title));
    if !trial.source.is_empty() {
        help.push(format!("Source: {}", trial.source.join(", ")));
    }
    if !trial.is_stale_gap() {
        help.push(format!("All about it: gatecrash explain {}", trial.code));
    }
    json!({
        "id": trial.code,
        "name": trial.name,
        "shortDescription": { "text": trial.title },
        "fullDescription": { "text": about.what.as_ref().unwrap_or(&trial.title) },
        "help": { "text": help.join("\n") },
        "defaultConfiguration": { "level": level(trial) },
        "properties": {
            "tags": ["security", about.family],
            "precision": "very-high",
            "problem.severity": level(trial).replace("note", "recommendation"),
            "security-severity": score(trial.severity),
        },
    })
}

fn result(report: &Report, trial: &TrialReport, rule: Option<usize>) -> Value {
    let mut result = json!({
        "ruleId": trial.code,
        "ruleIndex": rule,
        "kind": "fail",
        "level": level(trial),
        "message": { "text": format!(
            "{} at {}: expected {}; observed {}", trial.title, report.target, trial.expected, trial.observed
        ) },
        "locations": [location(report, trial)],
        // Which case fails at which target; neither the words of the server nor the place in the file.
        "partialFingerprints": {
            "gatecrashTrial/v1": hex::fingerprint(&format!("{}\n{}", report.target, trial.id)),
        },
        "properties": {
            "trial": trial.id,
            "verdict": trial.verdict,
            "severity": trial.severity,
            "basis": trial.basis,
        },
    });
    if trial.verdict == Verdict::KnownGap {
        result["suppressions"] = json!([{ "kind": "external", "status": "accepted", "justification": trial.observed }]);
    }
    result
}

fn location(report: &Report, trial: &TrialReport) -> Value {
    let mut location = json!({
        "logicalLocations": [{ "name": trial.id, "fullyQualifiedName": format!("{}/{}", report.target, trial.id) }],
    });
    let about = &trial.about;
    if !about.file.is_empty() {
        let path: Vec<String> = about.file.split(['/', '\\']).map(|part| percent_encode(part.as_bytes())).collect();
        location["physicalLocation"] = json!({
            "artifactLocation": { "uri": path.join("/") },
            "region": { "startLine": about.line.max(1) },
        });
    }
    location
}

fn level(trial: &TrialReport) -> &'static str {
    match (trial.verdict, trial.severity) {
        (Verdict::Warn, _) | (Verdict::Flaky, Severity::Info | Severity::Low | Severity::Medium) => "warning",
        (_, Severity::Info) => "note",
        (_, Severity::Low) => "warning",
        _ => "error",
    }
}

/// The middle of the range that the CVSS 3.1 gives each word, as code scanning asks.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "0.0",
        Severity::Low => "2.0",
        Severity::Medium => "5.5",
        Severity::High => "8.0",
        Severity::Critical => "9.5",
    }
}
