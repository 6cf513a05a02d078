//! The front door of the library: a suite of cases, run against a target.

use std::collections::BTreeSet;

use crate::catalogue::Catalogue;
use crate::document::Diagnostics;
use crate::plan::{self, Selection};
use crate::redact::Redactor;
use crate::report::{Report, RunEvent, gaps};
use crate::run::{self, Interrupt, Options};
use crate::target::Target;

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
    catalogue: Result<Catalogue, Diagnostics>,
    selection: Selection,
    options: Options,
}

impl Suite {
    /// The cases that come with this crate.
    pub fn bundled() -> Self {
        Self::new(Catalogue::bundled())
    }

    /// The cases of this catalogue; what is wrong with it comes out when it is run.
    pub fn new(catalogue: Result<Catalogue, Diagnostics>) -> Self {
        Self { catalogue, selection: Selection::default(), options: Options::default() }
    }

    /// Only cases of this code, family, name or tag, or this trial. Calls add up.
    #[must_use]
    pub fn select(mut self, word: &str) -> Self {
        self.selection.words.push(word.to_owned());
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
        if !target.profile.known_gaps.is_empty() {
            let everything = Selection { all: true, ..Selection::default() };
            let known: Vec<String> = plan::trials(catalogue, target, &everything).iter().map(plan::Trial::id).collect();
            gaps::apply(&mut report, &target.profile.known_gaps, &known, &Redactor::for_secrets(&target.secrets));
        }
        events(RunEvent::Ended { report: &report });
        Ok(report)
    }
}
