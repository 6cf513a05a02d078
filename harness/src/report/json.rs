//! The JSON report: every run, every trial, every check, with a versioned and stable shape.
//!
//! Members are only ever added within a version. Durations are in milliseconds. Trials stand in the order of the
//! catalogue, so that two reports can be compared line by line.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Failure, Report, Summary, TrialReport, total};
use crate::diagnosis::Finding;
use crate::verdict::Check;

/// The version of the shape.
pub const VERSION: u32 = 1;

/// What a run of gatecrash came to. Members are only ever added within a version; who reads a result passes over those that
/// it does not know.
#[derive(Serialize, JsonSchema)]
pub(crate) struct File<'a> {
    /// The version of the shape.
    #[schemars(extend("const" = VERSION))]
    gatecrash_result: u32,
    /// The program that wrote it, and its version.
    generator: String,
    /// The trials of all runs, counted.
    summary: Counts,
    /// One for each target.
    runs: Vec<Run<'a>>,
}

/// What a run against one target came to.
#[derive(Serialize, JsonSchema)]
struct Run<'a> {
    /// The name of the target.
    target: &'a str,
    /// Its URL, with `{token}` in the place of the token.
    url: &'a str,
    /// What everything random followed from.
    seed: u64,
    /// Why the run did not come to its end, if it did not.
    failure: Option<Reason<'a>>,
    /// How many controls were made.
    controls: usize,
    /// How long it took, in milliseconds.
    duration_ms: f64,
    /// Its trials, counted.
    summary: Counts,
    /// Its trials, in the order of the catalogue.
    cases: Vec<Case<'a>>,
}

/// Why a run did not come to its end.
#[derive(Serialize, JsonSchema)]
struct Reason<'a> {
    /// What ended it.
    kind: Kind,
    /// What was seen.
    detail: &'a str,
    /// Why a control failed, as far as it was found out: one word.
    cause: Option<&'static str>,
    /// What to do about that.
    advice: Option<&'a str>,
}

/// What ends a run before its time.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// The target cannot be reached.
    Unreachable,
    /// The control before the first case was none to rest on: `cause` says why.
    FirstControl,
    /// No real token could be had.
    NoToken,
    /// The valid token was no longer admitted.
    ControlLost,
    /// Somebody interrupted it.
    Interrupted,
    /// There were as many failures as it was to stop at.
    Stopped,
}

impl<'a> Reason<'a> {
    fn plain(kind: Kind, detail: &'a str) -> Self {
        Self { kind, detail, cause: None, advice: None }
    }

    fn found(kind: Kind, finding: &'a Finding) -> Self {
        Self { kind, detail: &finding.observed, cause: Some(finding.cause.word()), advice: Some(&finding.advice) }
    }
}

/// How many trials came to what.
#[derive(Serialize, JsonSchema)]
struct Counts {
    /// All of them.
    total: usize,
    /// Earned.
    pass: usize,
    /// Measured.
    info: usize,
    /// A SHOULD was not met.
    warn: usize,
    /// A MUST or a promise is broken.
    fail: usize,
    /// No verdict was possible.
    inconclusive: usize,
    /// The profile lacks what the case needs.
    not_applicable: usize,
    /// Our own fault.
    error: usize,
    /// It fails, as the profile says.
    known_gap: usize,
    /// It did not pass at first.
    flaky: usize,
}

/// What one trial came to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Trial")]
struct Case<'a> {
    /// The identity of the trial, such as `SIG-008@query`.
    id: &'a str,
    /// The code of the case.
    code: &'a str,
    /// The name of the case.
    name: &'a str,
    /// The requirement.
    title: &'a str,
    /// What it came to.
    verdict: crate::verdict::Verdict,
    /// How strongly the rule binds.
    level: crate::verdict::Level,
    /// How bad a failure is.
    severity: crate::verdict::Severity,
    /// What the worst check rests on.
    basis: crate::verdict::Basis,
    /// Where the rule stands.
    source: &'a [String],
    /// The weakness it hunts.
    weakness: Option<&'a str>,
    /// How to mend that weakness.
    mend: Option<&'a str>,
    /// What would have been right, of the worst check.
    expected: &'a str,
    /// What was seen, of the worst check.
    observed: &'a str,
    /// The file in which the case stands; empty where it stands in none.
    file: &'a str,
    /// The line of its code in that file, from 1.
    line: usize,
    /// What changes when the case does, and with nothing else.
    definition: &'a str,
    /// How long it took, in milliseconds.
    duration_ms: f64,
    /// Every check, in order.
    checks: &'a [Check],
    /// What was sent and received, line by line. There only where it was asked for.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    transcript: &'a [String],
}

impl From<Summary> for Counts {
    fn from(summary: Summary) -> Self {
        Self {
            total: summary.total(),
            pass: summary.pass,
            info: summary.info,
            warn: summary.warn,
            fail: summary.fail,
            inconclusive: summary.inconclusive,
            not_applicable: summary.not_applicable,
            error: summary.error,
            known_gap: summary.known_gap,
            flaky: summary.flaky,
        }
    }
}

impl<'a> From<&'a TrialReport> for Case<'a> {
    fn from(trial: &'a TrialReport) -> Self {
        Self {
            id: &trial.id,
            code: &trial.code,
            name: &trial.name,
            title: &trial.title,
            verdict: trial.verdict,
            level: trial.level,
            severity: trial.severity,
            basis: trial.basis,
            source: &trial.source,
            weakness: trial.weakness.as_deref(),
            mend: trial.mend.as_deref(),
            expected: &trial.expected,
            observed: &trial.observed,
            file: &trial.about.file,
            line: trial.about.line,
            definition: &trial.about.definition,
            duration_ms: milliseconds(trial.took),
            checks: &trial.checks,
            transcript: &trial.transcript,
        }
    }
}

impl<'a> From<&'a Report> for Run<'a> {
    fn from(report: &'a Report) -> Self {
        let failure = report.failure.as_ref().map(|failure| match failure {
            Failure::Unreachable(why) => Reason::plain(Kind::Unreachable, why),
            Failure::FirstControl(finding) => Reason::found(Kind::FirstControl, finding),
            Failure::NoToken(why) => Reason::plain(Kind::NoToken, why),
            Failure::ControlLost(finding) => Reason::found(Kind::ControlLost, finding),
            Failure::Interrupted => Reason::plain(Kind::Interrupted, ""),
            Failure::Stopped { .. } => Reason::plain(Kind::Stopped, "as many failures as the run was to stop at"),
        });
        Self {
            target: &report.target,
            url: &report.url,
            seed: report.seed,
            failure,
            controls: report.controls,
            duration_ms: milliseconds(report.took),
            summary: report.summary().into(),
            cases: report.trials.iter().map(Case::from).collect(),
        }
    }
}

/// The counts as they stand in every report for machines.
pub(super) fn counts(summary: Summary) -> serde_json::Value {
    serde_json::to_value(Counts::from(summary)).unwrap_or_default()
}

fn milliseconds(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The report as JSON text.
pub fn write(reports: &[Report]) -> String {
    let file = File {
        gatecrash_result: VERSION,
        generator: format!("gatecrash {}", env!("CARGO_PKG_VERSION")),
        summary: total(reports).into(),
        runs: reports.iter().map(Run::from).collect(),
    };
    let mut text = serde_json::to_string_pretty(&file).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
    text.push('\n');
    text
}
