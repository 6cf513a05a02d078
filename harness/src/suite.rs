//! The front door of the library: a suite of cases, run against a target.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalogue::Catalogue;
use crate::document::Diagnostics;
use crate::plan::{self, Partition, Selection};
use crate::redact::Redactor;
use crate::report::{Report, RunEvent, gaps, retry};
use crate::run::{self, Interrupt, Options, Revival, Stop};
use crate::target::Target;
use crate::transcript::Transcript;
use crate::verdict::{Level, Severity};

/// Cases and how to run them.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let target = gatecrash::Target::new("ws://127.0.0.1:8000/ws?token={token}", "env:JWT_SECRET_KEY")?;
/// let report = gatecrash::Suite::bundled().run(&target).await?;
/// assert!(report.passed(), "{report}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Suite {
    catalogue: Result<Arc<Catalogue>, Diagnostics>,
    selection: Selection,
    options: Options,
    retries: u32,
}

impl Suite {
    /// The cases that come with this crate.
    pub fn bundled() -> Self {
        Self::new(Catalogue::bundled())
    }

    /// The cases of this catalogue; what is wrong with it comes out when it is run.
    pub fn new(catalogue: Result<Catalogue, Diagnostics>) -> Self {
        let catalogue = catalogue.map(Arc::new);
        Self { catalogue, selection: Selection::default(), options: Options::default(), retries: 0 }
    }

    /// Only cases of this code, family, name or tag, or this trial. Calls add up.
    #[must_use]
    pub fn select(mut self, word: &str) -> Self {
        self.selection.words.push(word.to_owned());
        self
    }

    /// Only cases with this tag. Calls add up, and narrow what is selected otherwise.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        self.selection.filter.tags.push(tag.to_owned());
        self
    }

    /// Only cases whose rule binds the target so strongly. Calls add up, and narrow what is selected otherwise.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.selection.filter.levels.push(level);
        self
    }

    /// Only cases of this severity or a higher one.
    #[must_use]
    pub fn severity(mut self, least: Severity) -> Self {
        self.selection.filter.severity = Some(least);
        self
    }

    /// Also the cases that wait, open many connections or measure.
    #[must_use]
    pub fn all(mut self) -> Self {
        self.selection.all = true;
        self
    }

    /// So many sessions at the same time.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.options.jobs = jobs;
        self
    }

    /// Everything random follows from this.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = seed;
        self
    }

    /// Multiplies every deadline.
    #[must_use]
    pub fn timeout_scale(mut self, scale: f64) -> Self {
        self.options.timeout_scale = scale;
        self
    }

    /// Only this share of what is selected.
    #[must_use]
    pub fn partition(mut self, partition: Partition) -> Self {
        self.selection.partition = Some(partition);
        self
    }

    /// Stops when so many trials have failed with this severity or a higher one. What was not played by then is left
    /// out. Cases that look across the run are graded at its end and stop nothing.
    #[must_use]
    pub fn stop_after(mut self, failures: usize, severity: Severity) -> Self {
        self.options.stop = Some(Stop { failures: failures.max(1), severity });
        self
    }

    /// Plays what failed or could not be judged again, so many times. What then passes is flaky, not passed.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Begins at most so many sessions in a second.
    #[must_use]
    pub fn rate(mut self, sessions: f64) -> Self {
        self.options.rate = Some(sessions);
        self
    }

    /// Keeps what was sent and received, line by line, for these trials.
    #[must_use]
    pub fn transcript(mut self, which: Transcript) -> Self {
        self.options.transcript = which;
        self
    }

    /// Asks there that the target be started again, when it has ended in the midst of a run.
    #[must_use]
    pub fn revival(mut self, revival: Revival) -> Self {
        self.options.revival = Some(revival);
        self
    }

    /// A handle that ends a run early.
    pub fn interrupt(&self) -> Interrupt {
        self.options.interrupt.clone()
    }

    /// Whether one of these cases is selected and applies to the target.
    ///
    /// # Errors
    ///
    /// Only what is wrong with the cases themselves.
    pub fn applies(&self, target: &Target, codes: &BTreeSet<&str>) -> Result<bool, Diagnostics> {
        let catalogue = self.catalogue.as_ref().map_err(Clone::clone)?;
        let trials = plan::trials(catalogue, target, &self.selection);
        Ok(trials
            .iter()
            .any(|trial| trial.wanted && trial.skip.is_none() && codes.contains(trial.case.head.code.as_str())))
    }

    /// The identities of the trials that a run against this target makes, and the names of their cases.
    ///
    /// # Errors
    ///
    /// Only what is wrong with the cases themselves.
    pub fn trials(&self, target: &Target) -> Result<Vec<(String, String)>, Diagnostics> {
        let catalogue = self.catalogue.as_ref().map_err(Clone::clone)?;
        let trials = plan::trials(catalogue, target, &self.selection);
        Ok(trials
            .iter()
            .filter(|trial| trial.wanted && trial.skip.is_none())
            .map(|trial| (trial.id(), trial.case.head.name.clone()))
            .collect())
    }

    /// Runs the cases. What the target does wrong is in the report, never an error.
    ///
    /// # Errors
    ///
    /// Only what is wrong with the cases themselves.
    pub async fn run(&self, target: &Target) -> Result<Report, Diagnostics> {
        self.run_with(target, &mut |_| {}).await
    }

    /// Runs the cases and tells what happens meanwhile.
    ///
    /// # Errors
    ///
    /// Only what is wrong with the cases themselves.
    pub async fn run_with(
        &self,
        target: &Target,
        events: &mut (dyn FnMut(RunEvent<'_>) + Send),
    ) -> Result<Report, Diagnostics> {
        let catalogue = self.catalogue.as_ref().map_err(Clone::clone)?;
        let mut report = run::run(catalogue, &self.selection, target, &self.options, events).await;
        for attempt in 1..=self.retries {
            let words = retry::wanted(&report, &target.profile.known_gaps);
            if words.is_empty() || report.failure.is_some() || self.options.interrupt.is_requested() {
                break;
            }
            // Other users than before, so that no limit per user is met.
            let seed = self.options.seed.wrapping_add(u64::from(attempt) << 32);
            let options = Options { seed, stop: None, ..self.options.clone() };
            let selection = Selection { words, ..Selection::default() };
            let again = run::run(catalogue, &selection, target, &options, events).await;
            retry::merge(&mut report, again);
        }
        if !target.profile.known_gaps.is_empty() {
            let everything = Selection { all: true, ..Selection::default() };
            let known: Vec<String> = plan::trials(catalogue, target, &everything).iter().map(plan::Trial::id).collect();
            gaps::apply(&mut report, &target.profile.known_gaps, &known, &Redactor::for_secrets(&target.secrets));
        }
        events(RunEvent::Ended { report: &report });
        Ok(report)
    }
}
