//! Verdicts: what a case came to, by the worst of its checks. The words of every report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How strongly a rule binds (RFC 2119), or that nothing but a measurement is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A fact to report; both ways are right.
    Info,
    /// Allowed, not asked for.
    May,
    /// Asked for, with room for good reasons.
    Should,
    /// Asked for without exception.
    Must,
}

/// How bad it is when a rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing is at stake.
    Info,
    /// A deviation without a direct effect on security.
    Low,
    /// Policy or robustness.
    Medium,
    /// A bypass under a condition, a leaked secret, a hijacking.
    High,
    /// Anyone gets in, or anyone kills the server.
    Critical,
}

impl Severity {
    /// The word in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What a check rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// A standard asks for it without exception.
    Must,
    /// A standard asks for it.
    Should,
    /// A standard allows it.
    May,
    /// The profile promises it.
    Contract,
    /// It was seen on this target, and is reported, not judged.
    Observed,
}

impl From<Level> for Basis {
    fn from(level: Level) -> Self {
        match level {
            Level::Must => Self::Must,
            Level::Should => Self::Should,
            Level::May => Self::May,
            Level::Info => Self::Observed,
        }
    }
}

/// What one check came to, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// Earned by evidence.
    Pass,
    /// A measured fact with no right answer.
    Info,
    /// Conformant, but a SHOULD was not met.
    Warn,
    /// No verdict is possible.
    Inconclusive,
    /// A MUST or the target's own promise is broken.
    Fail,
    /// The harness could not do its part.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// The variant or step it belongs to; empty when the case has only one.
    pub label: String,
    /// What it came to.
    pub grade: Grade,
    /// What it rests on.
    pub basis: Basis,
    /// How bad a failure is.
    pub severity: Severity,
    /// What would have been right.
    pub expected: String,
    /// What was seen.
    pub observed: String,
}

/// What a trial came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every check earned it.
    Pass,
    /// A measured fact, with its value.
    Info,
    /// Conformant, but a named SHOULD was not met.
    Warn,
    /// The profile lacks what the case needs.
    NotApplicable,
    /// It fails as `known_gaps` of the profile says, with the reason given there.
    KnownGap,
    /// It did not pass at first, and did when it was played again.
    Flaky,
    /// No verdict is possible: a control failed, the target throttled us, or it was already dead.
    Inconclusive,
    /// A MUST or the target's own promise is broken.
    Fail,
    /// Our own fault.
    Error,
}

impl Verdict {
    /// Every verdict, the one that most needs attention first.
    pub const ALL: [Self; 9] = [
        Self::Fail,
        Self::Error,
        Self::Inconclusive,
        Self::Flaky,
        Self::Warn,
        Self::KnownGap,
        Self::Pass,
        Self::Info,
        Self::NotApplicable,
    ];

    /// The verdict of a case is that of its worst check. Without a check nothing was earned.
    pub fn of(checks: &[Check]) -> Self {
        match checks.iter().map(|check| check.grade).max() {
            None => Self::Error,
            Some(Grade::Pass) => Self::Pass,
            Some(Grade::Info) => Self::Info,
            Some(Grade::Warn) => Self::Warn,
            Some(Grade::Inconclusive) => Self::Inconclusive,
            Some(Grade::Fail) => Self::Fail,
            Some(Grade::Error) => Self::Error,
        }
    }

    /// The word in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::NotApplicable => "not applicable",
            Self::KnownGap => "known gap",
            Self::Flaky => "flaky",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
            Self::Error => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(grade: Grade) -> Check {
        Check {
            label: String::new(),
            grade,
            basis: Basis::Must,
            severity: Severity::High,
            expected: String::new(),
            observed: String::new(),
        }
    }

    #[test]
    fn nothing_observed_never_passes() {
        assert_eq!(Verdict::of(&[]), Verdict::Error);
    }

    #[test]
    fn one_failed_check_fails_the_case() {
        let checks = [check(Grade::Pass), check(Grade::Fail), check(Grade::Warn)];
        assert_eq!(Verdict::of(&checks), Verdict::Fail);
    }
}
