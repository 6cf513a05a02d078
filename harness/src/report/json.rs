//! The JSON report: every run, every trial, every check, with a versioned and stable shape.
//!
//! Members are only ever added within a version. Durations are in milliseconds. Trials stand in the order of the
//! catalogue, so that two reports can be compared line by line.

use serde::Serialize;

use super::{Failure, Report, Summary, TrialReport, total};
use crate::diagnosis::Finding;
use crate::verdict::Check;

/// The version of the shape.
pub const VERSION: u32 = 1;

#[derive(Serialize)]
struct File<'a> {
    gatecrash_result: u32,
    generator: String,
    summary: Counts,
    runs: Vec<Run<'a>>,
}

#[derive(Serialize)]
struct Run<'a> {
    target: &'a str,
    url: &'a str,
    seed: u64,
    failure: Option<Reason<'a>>,
    controls: usize,
    duration_ms: f64,
    summary: Counts,
    cases: Vec<Case<'a>>,
}

#[derive(Serialize)]
struct Reason<'a> {
    kind: &'static str,
    detail: &'a str,
    /// Why a control failed, as far as it was found out.
    cause: Option<&'static str>,
    advice: Option<&'a str>,
}

impl<'a> Reason<'a> {
    fn plain(kind: &'static str, detail: &'a str) -> Self {
        Self { kind, detail, cause: None, advice: None }
    }

    fn found(kind: &'static str, finding: &'a Finding) -> Self {
        Self { kind, detail: &finding.observed, cause: Some(finding.cause.word()), advice: Some(&finding.advice) }
    }
}

#[derive(Serialize)]
struct Counts {
    total: usize,
    pass: usize,
    info: usize,
    warn: usize,
    fail: usize,
    inconclusive: usize,
    not_applicable: usize,
    error: usize,
    known_gap: usize,
    flaky: usize,
}

#[derive(Serialize)]
struct Case<'a> {
    id: &'a str,
    code: &'a str,
    name: &'a str,
    title: &'a str,
    verdict: crate::verdict::Verdict,
    level: crate::verdict::Level,
    severity: crate::verdict::Severity,
    basis: crate::verdict::Basis,
    source: &'a [String],
    weakness: Option<&'a str>,
    mend: Option<&'a str>,
    expected: &'a str,
    observed: &'a str,
    file: &'a str,
    line: usize,
    definition: &'a str,
    duration_ms: f64,
    checks: &'a [Check],
    /// There only where it was asked for.
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
            Failure::Unreachable(why) => Reason::plain("unreachable", why),
            Failure::FirstControl(finding) => Reason::found("first-control", finding),
            Failure::NoToken(why) => Reason::plain("no-token", why),
            Failure::ControlLost(finding) => Reason::found("control-lost", finding),
            Failure::Interrupted => Reason::plain("interrupted", ""),
            Failure::Stopped { .. } => Reason::plain("stopped", "as many failures as the run was to stop at"),
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
