//! Reports: what a run came to, as plain values, and the texts made of them.
//!
//! The runner tells events and hands over one [`Report`]; it knows no format. Every text made here is redacted.

pub mod annotations;
pub mod changes;
pub mod compare;
pub mod earlier;
pub mod gaps;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod retry;
pub mod sarif;
pub mod terminal;

use std::time::Duration;

use crate::bundled;
use crate::case::Case;
use crate::catalogue::Catalogue;
use crate::diagnosis::Finding;
use crate::document::printable;
use crate::plan::Trial;
use crate::redact::Redactor;
use crate::target::Target;
use crate::verdict::{Basis, Check, Grade, Level, Severity, Verdict};

/// Something that happens while a run is made.
#[derive(Debug, Clone, Copy)]
pub enum RunEvent<'a> {
    /// The run begins.
    Started {
        /// The name of the target.
        target: &'a str,
        /// How many trials were asked for.
        trials: usize,
    },
    /// A trial was played; its verdict is made when the run is over.
    TrialEnded {
        /// Its identity, such as `SIG-008@query`.
        id: &'a str,
    },
    /// The run is over.
    Ended {
        /// What it came to.
        report: &'a Report,
    },
}

/// Why a run did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be made; the text is the system's.
    Unreachable(String),
    /// The profile gives no valid token to try; the text says why.
    NoToken(String),
    /// The first control was none to rest on: the valid token was not admitted, nothing shows that it was, or what is said is
    /// not answered as declared.
    FirstControl(Finding),
    /// The valid token was admitted at first, and later no more; what was observed names the cases played since.
    ControlLost(Finding),
    /// It was asked to stop.
    Interrupted,
    /// It was to stop after so many failures, and did.
    Stopped {
        /// How many trials had failed by then.
        failures: usize,
        /// How many were not played, and are left out of the report.
        left_out: usize,
    },
}

impl Failure {
    /// It, as one sentence about the target.
    pub fn sentence(&self) -> String {
        match self {
            Self::Unreachable(why) => format!("it cannot be reached: {why}"),
            Self::NoToken(why) => format!("there is no valid token: {why}"),
            Self::FirstControl(finding @ Finding { observed, advice, .. }) => {
                format!("{}, so {}: {observed}; {advice}", finding.lead(), finding.so())
            }
            Self::ControlLost(Finding { observed, advice, .. }) => {
                format!(
                    "the valid token is no longer admitted, so what followed cannot be judged: {observed}; {advice}"
                )
            }
            Self::Interrupted => "the run was interrupted".to_owned(),
            Self::Stopped { failures, left_out } => {
                format!("the run was to stop at the first failures: {failures} failed, {left_out} were not played")
            }
        }
    }
}

/// What a run against one target came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The name of the target.
    pub target: String,
    /// Its URL, with `{token}` in the place of the token.
    pub url: String,
    /// What everything random followed from.
    pub seed: u64,
    /// Why the run did not come to its end, if it did not.
    pub failure: Option<Failure>,
    /// The trials that were asked for, in the order of the catalogue.
    pub trials: Vec<TrialReport>,
    /// How many controls were made.
    pub controls: usize,
    /// How long it took.
    pub took: Duration,
}

/// What one trial came to.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialReport {
    /// The identity of the trial: `SIG-008@query`.
    pub id: String,
    /// The code of the case.
    pub code: String,
    /// The name of the case.
    pub name: String,
    /// The requirement.
    pub title: String,
    /// How strongly the rule binds.
    pub level: Level,
    /// What the worst check rests on.
    pub basis: Basis,
    /// How bad a failure is.
    pub severity: Severity,
    /// Where the rule stands.
    pub source: Vec<String>,
    /// The weakness it hunts.
    pub weakness: Option<String>,
    /// How to mend that weakness.
    pub mend: Option<String>,
    /// What it came to.
    pub verdict: Verdict,
    /// What would have been right, of the worst check.
    pub expected: String,
    /// What was seen, of the worst check.
    pub observed: String,
    /// Every check, in order.
    pub checks: Vec<Check>,
    /// How long it took.
    pub took: Duration,
    /// What its case is.
    pub about: About,
    /// What was sent and received, line by line, where it was asked for.
    pub transcript: Vec<String>,
}

/// What a case is, for formats that explain it or find it again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The family code, such as `SIG`.
    pub family: String,
    /// The scenario file it stands in; empty where it stands in none.
    pub file: String,
    /// The line of its code in that file, from 1.
    pub line: usize,
    /// What changes when the case does: [`Case::definition`].
    pub definition: String,
    /// What a gate with its weakness does wrong.
    pub what: Option<String>,
    /// What that gives an attacker, or takes from an honest client.
    pub gives: Option<String>,
}

impl About {
    fn new(case: &Case, catalogue: &Catalogue) -> Self {
        let weakness = case.head.weakness.as_ref().and_then(|name| catalogue.weaknesses.get(name));
        let is_bundled = bundled::CASES.iter().any(|(name, _)| *name == case.file);
        Self {
            family: case.family.clone(),
            file: format!("{}{}", if is_bundled { "scenarios/" } else { "" }, printable(&case.file)),
            line: case.line,
            definition: case.definition.clone(),
            what: weakness.map(|weakness| printable(&weakness.what)),
            gives: weakness.map(|weakness| printable(&weakness.gives)),
        }
    }
}

impl TrialReport {
    /// An entry without a verdict yet.
    pub fn new(trial: &Trial<'_>, catalogue: &Catalogue) -> Self {
        let Case { head, .. } = trial.case.as_ref();
        let weakness = head.weakness.as_ref().and_then(|name| catalogue.weaknesses.get(name));
        Self {
            id: trial.id(),
            code: head.code.clone(),
            name: head.name.clone(),
            title: printable(&head.title),
            level: trial.level,
            basis: trial.level.into(),
            severity: head.severity,
            source: catalogue.places(head).iter().map(|place| printable(place)).collect(),
            weakness: head.weakness.clone(),
            mend: weakness.map(|weakness| printable(&weakness.mend)),
            verdict: Verdict::of(&[]),
            expected: String::new(),
            observed: String::new(),
            checks: Vec::new(),
            took: Duration::ZERO,
            about: About::new(&trial.case, catalogue),
            transcript: Vec::new(),
        }
    }

    /// How strongly its rule binds, or what it rests on.
    pub fn binding(&self) -> &'static str {
        match (self.basis, self.level) {
            (Basis::Contract, _) => "the target's own promise",
            // The rule of the case binds, and the part of it that was not met is asked for only.
            (Basis::Should, Level::Must) => "MUST, here a SHOULD",
            (_, Level::Must) => "MUST",
            (_, Level::Should) => "SHOULD",
            (_, Level::May) => "MAY",
            (_, Level::Info) => "measured",
        }
    }

    /// Whether the worst that was seen lets somebody in, lets something out, or kills the server: severity high and
    /// above. What is wrong only now and then is no less wrong there.
    pub fn is_breach(&self) -> bool {
        self.severity >= Severity::High
    }

    /// Whether it is no trial of a case, but an entry of `known_gaps` that is not true any more.
    pub fn is_stale_gap(&self) -> bool {
        self.code == gaps::STALE
    }

    /// The word that selects the case it is about.
    pub fn selects(&self) -> &str {
        match self.id.split_once('@') {
            Some((gaps::STALE, case)) => case,
            _ => &self.id,
        }
    }

    /// The case does not apply to this target.
    pub fn not_applicable(&mut self, reason: &str) {
        self.verdict = Verdict::NotApplicable;
        self.observed = reason.to_owned();
    }

    /// The verdict follows from the checks.
    pub fn checks(&mut self, checks: Vec<Check>, redactor: &Redactor) {
        self.checks = checks;
        for check in &mut self.checks {
            check.label = redactor.clean(&check.label);
            check.expected = redactor.clean(&check.expected);
            check.observed = redactor.clean(&check.observed);
        }
        self.verdict = Verdict::of(&self.checks);
        let mut worst: Option<&Check> = None;
        for check in &self.checks {
            if worst.is_none_or(|worst| (check.grade, check.severity) > (worst.grade, worst.severity)) {
                worst = Some(check);
            }
        }
        if let Some(worst) = worst {
            self.basis = worst.basis;
            self.severity = worst.severity;
            self.expected.clone_from(&worst.expected);
            self.observed = if worst.label.is_empty() {
                worst.observed.clone()
            } else {
                format!("{} ({})", worst.observed, worst.label)
            };
            let alike =
                self.checks.iter().filter(|check| check.grade == worst.grade && check.grade > Grade::Info).count();
            if alike > 1 {
                self.observed.push_str(&format!("; {alike} checks of {} so", self.checks.len()));
            }
        }
    }
}

/// How many trials came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Earned.
    pub pass: usize,
    /// Measured.
    pub info: usize,
    /// A SHOULD was not met.
    pub warn: usize,
    /// A MUST or a promise is broken.
    pub fail: usize,
    /// No verdict was possible.
    pub inconclusive: usize,
    /// The profile lacks what the case needs.
    pub not_applicable: usize,
    /// Our own fault.
    pub error: usize,
    /// It fails, as the profile says.
    pub known_gap: usize,
    /// It did not pass at first.
    pub flaky: usize,
}

impl Summary {
    /// The two together.
    pub fn and(self, other: Self) -> Self {
        Self {
            pass: self.pass + other.pass,
            info: self.info + other.info,
            warn: self.warn + other.warn,
            fail: self.fail + other.fail,
            inconclusive: self.inconclusive + other.inconclusive,
            not_applicable: self.not_applicable + other.not_applicable,
            error: self.error + other.error,
            known_gap: self.known_gap + other.known_gap,
            flaky: self.flaky + other.flaky,
        }
    }

    /// All trials.
    pub fn total(self) -> usize {
        Verdict::ALL.into_iter().map(|verdict| self.of(verdict)).sum()
    }

    /// How many came to this.
    pub fn of(self, verdict: Verdict) -> usize {
        match verdict {
            Verdict::Pass => self.pass,
            Verdict::Info => self.info,
            Verdict::Warn => self.warn,
            Verdict::Fail => self.fail,
            Verdict::Inconclusive => self.inconclusive,
            Verdict::NotApplicable => self.not_applicable,
            Verdict::Error => self.error,
            Verdict::KnownGap => self.known_gap,
            Verdict::Flaky => self.flaky,
        }
    }

    /// How many need somebody's attention.
    pub fn in_need(self) -> usize {
        self.fail + self.error + self.inconclusive + self.flaky + self.warn
    }
}

impl Report {
    /// A report of nothing yet.
    pub fn new(target: &Target, seed: u64) -> Self {
        let redactor = Redactor::for_secrets(&target.secrets);
        Self {
            target: redactor.clean(&target.profile.name),
            url: redactor.clean(&target.endpoint.to_string()),
            seed,
            failure: None,
            trials: Vec::new(),
            controls: 0,
            took: Duration::ZERO,
        }
    }

    /// How many trials came to what.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for trial in &self.trials {
            *match trial.verdict {
                Verdict::Pass => &mut summary.pass,
                Verdict::Info => &mut summary.info,
                Verdict::Warn => &mut summary.warn,
                Verdict::Fail => &mut summary.fail,
                Verdict::Inconclusive => &mut summary.inconclusive,
                Verdict::NotApplicable => &mut summary.not_applicable,
                Verdict::Error => &mut summary.error,
                Verdict::KnownGap => &mut summary.known_gap,
                Verdict::Flaky => &mut summary.flaky,
            } += 1;
        }
        summary
    }

    /// The trials that failed.
    pub fn failures(&self) -> impl Iterator<Item = &TrialReport> {
        self.trials.iter().filter(|trial| trial.verdict == Verdict::Fail)
    }

    /// Whether the target holds: the run came to its end, nothing failed, and nothing was left open.
    ///
    /// Failures of low severity are listed but do not count (rule R13), as with [`Standard::default`].
    pub fn passed(&self) -> bool {
        self.exit(Standard::default()) == Exit::Good
    }

    /// What the run means for whoever waits for its exit code.
    pub fn exit(&self, standard: Standard) -> Exit {
        match &self.failure {
            Some(Failure::Unreachable(_) | Failure::FirstControl(_)) => return Exit::NoControl,
            Some(Failure::NoToken(_)) => return Exit::Usage,
            Some(Failure::Interrupted) => return Exit::Interrupted,
            // What was proved before still counts; the rest is inconclusive.
            Some(Failure::ControlLost(_) | Failure::Stopped { .. }) | None => {}
        }
        let fails = |trial: &TrialReport| match trial.verdict {
            Verdict::Fail => trial.severity >= standard.fail_on || trial.is_stale_gap(),
            Verdict::Warn => standard.strict,
            Verdict::Flaky => standard.strict || trial.is_breach() && trial.severity >= standard.fail_on,
            _ => false,
        };
        if self.trials.is_empty() {
            Exit::NothingSelected
        } else if self.trials.iter().any(|trial| trial.verdict == Verdict::Error) {
            Exit::OurFault
        } else if self.trials.iter().any(fails) {
            Exit::Failed
        } else if matches!(self.failure, Some(Failure::ControlLost(_))) {
            // A server that is gone holds nothing, whatever may stay open.
            Exit::Inconclusive
        } else if self.trials.iter().any(|trial| trial.verdict == Verdict::Inconclusive) && !standard.allow_inconclusive
        {
            Exit::Inconclusive
        } else if self.trials.iter().all(|trial| trial.verdict == Verdict::NotApplicable) {
            Exit::NothingSelected
        } else {
            Exit::Good
        }
    }
}

/// The counts of several runs together.
pub fn total(reports: &[Report]) -> Summary {
    reports.iter().map(Report::summary).fold(Summary::default(), Summary::and)
}

/// That failures do not decide the exit code, where they are all of too low a severity to.
pub fn spared(reports: &[Report], standard: Standard) -> Option<String> {
    let failures: Vec<&TrialReport> = reports.iter().flat_map(Report::failures).collect();
    let counts = |trial: &&TrialReport| trial.severity >= standard.fail_on || trial.is_stale_gap();
    if failures.is_empty() || failures.iter().any(counts) {
        return None;
    }
    let all = if failures.len() == 1 { "" } else { "all " };
    Some(format!("{} fail, {all}below {}: the exit code is 0", failures.len(), standard.fail_on.word()))
}

/// A form in which reports are written. Each is a pure function of the reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Everything that is known, for machines.
    Json,
    /// One `testcase` for each trial, as Surefire and Jenkins read it.
    Junit,
    /// SARIF 2.1.0: what is wrong with the server as results, what is wrong with the run as notifications.
    Sarif,
    /// A summary for people, as GitHub shows it beside a run.
    Markdown,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Json, Self::Junit, Self::Sarif, Self::Markdown];

    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Junit => "junit",
            Self::Sarif => "sarif",
            Self::Markdown => "markdown",
        }
    }

    /// How the name of such a file usually ends.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Junit => "xml",
            Self::Sarif => "sarif",
            Self::Markdown => "md",
        }
    }

    /// The text.
    pub fn write(self, reports: &[Report]) -> String {
        match self {
            Self::Json => json::write(reports),
            Self::Junit => junit::write(reports),
            Self::Sarif => sarif::write(reports),
            Self::Markdown => markdown::write(reports),
        }
    }
}

/// What makes a run fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standard {
    /// Failures of this severity and above count.
    pub fail_on: Severity,
    /// Warnings count too.
    pub strict: bool,
    /// Inconclusive trials do not count.
    pub allow_inconclusive: bool,
}

impl Default for Standard {
    fn default() -> Self {
        Self { fail_on: Severity::Medium, strict: false, allow_inconclusive: false }
    }
}

/// The exit codes. They are part of the interface and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// The target holds.
    Good = 0,
    /// The target failed.
    Failed = 1,
    /// Bad usage, scenario or profile. No report is written.
    Usage = 2,
    /// The target cannot be reached, or did not admit the valid token.
    NoControl = 3,
    /// Nothing was selected, or nothing that was applies to this target.
    NothingSelected = 4,
    /// Only inconclusive trials stood in the way.
    Inconclusive = 5,
    /// Our own fault.
    OurFault = 70,
    /// Interrupted.
    Interrupted = 130,
}

/// What a person would be shown, without colour.
impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&terminal::write(self, terminal::Style::default(), ""))
    }
}
