//! Runs the trials of a plan from the first control to the report.
//!
//! A refusal counts only beside a control: a batch whose closing control fails is inconclusive, whatever it saw.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use tokio::time::Instant;

use super::group::panic_text;
use super::options::Options;
use super::played::{Played, heard, seen};
use super::runner::{Runner, Tried};
use super::wallet::NoToken;
use crate::case::{self, Across, Body, Expect, Step};
use crate::catalogue::Catalogue;
use crate::diagnosis::{self, Finding};
use crate::document::printable;
use crate::judge::{self, Learned, Run, Weight};
use crate::outcome::Outcome;
use crate::plan::{self, Selection, Trial, class_of};
use crate::profile::{Class, Profile, Roles};
use crate::redact::Redactor;
use crate::report::{Failure, Report, RunEvent, TrialReport};
use crate::target::Target;
use crate::token::Token;
use crate::transcript::{self, Transcript};
use crate::verdict::{Check, Grade, Verdict};

/// Marks the case that asks no more than a control does.
const CONTROL_TAG: &str = "control";
/// Marks the case that shows a token with nothing wrong but the key.
const WRONG_KEY_TAG: &str = "wrong_key";

/// Runs the selected cases and tells each as it ends.
pub async fn run(
    catalogue: &Catalogue,
    selection: &Selection,
    target: &Target,
    options: &Options,
    events: &mut (dyn FnMut(RunEvent<'_>) + Send),
) -> Report {
    let begun = Instant::now();
    let redactor = Redactor::for_secrets(&target.secrets);
    let mut report = Report::new(target, options.seed);
    if !plan::trials(catalogue, target, selection).iter().any(|trial| trial.wanted) {
        return report;
    }

    let mut runner = Runner::new(target, options);

    let first = match options.interrupt.unless(runner.fill_wallet(false)).await {
        None => None,
        Some(Err(NoToken::Refused(why))) => Some(Err(why)),
        Some(Err(NoToken::Unreachable(why))) => {
            report.failure = Some(Failure::Unreachable(redactor.clean(&why)));
            None
        }
        Some(Ok(())) => options.interrupt.unless(runner.first_control()).await,
    };
    let misread = match &first {
        Some(Ok(tried)) => {
            let greeted = options.interrupt.unless(runner.look_behind_greeting(tried, &redactor)).await.flatten();
            match greeted {
                None => options.interrupt.unless(runner.look_at_echo(tried, &redactor)).await.flatten(),
                found => found,
            }
        }
        _ => None,
    };
    let target = &runner.target.as_ref().clone();
    // Cases that need an echo are also for a target that was seen to echo.
    let target =
        &Target { profile: Profile { echo: runner.learned.echo.clone(), ..target.profile.clone() }, ..target.clone() };
    let trials = &plan::trials(catalogue, target, selection);
    events(RunEvent::Started { target: &report.target, trials: trials.iter().filter(|trial| trial.wanted).count() });
    let mut played: Vec<Played<'_>> = Vec::new();
    let mut lost = None;
    let mut witness = None;
    match first {
        None => {}
        Some(Err(why)) => report.failure = Some(Failure::NoToken(redactor.clean(&why))),
        Some(Ok(_)) if misread.is_some() => report.failure = misread.map(Failure::FirstControl),
        Some(Ok(Tried { outcome: Outcome::Admitted(_), .. })) => {
            runner.listen(trials).await;
            let watched = match trials.iter().any(asks_a_witness) {
                true => options.interrupt.unless(runner.witness()).await.flatten(),
                false => None,
            };
            (played, lost) =
                runner.play_all(trials, &mut |trial| events(RunEvent::TrialEnded { id: &trial.id() })).await;
            witness = match watched {
                Some(watched) => options.interrupt.unless(watched.end()).await.flatten(),
                None => None,
            };
        }
        Some(Ok(Tried { outcome: Outcome::Unreachable(why), .. })) => {
            report.failure = Some(Failure::Unreachable(redactor.clean(&why)));
        }
        Some(Ok(tried)) => {
            let finding = options.interrupt.unless(runner.diagnose_first(&tried, &redactor)).await;
            report.failure = finding.map(Failure::FirstControl);
        }
    }
    let unplayed: Vec<&Trial<'_>> = trials
        .iter()
        .filter(|trial| trial.wanted && trial.skip.is_none())
        .filter(|trial| !trial.case.variants.iter().all(|variant| matches!(variant.body, Body::Lint(_))))
        .filter(|trial| !played.iter().any(|played| std::ptr::eq(played.trial, *trial)))
        .collect();
    let mut left_out: HashSet<String> = HashSet::new();
    if options.interrupt.is_requested() {
        report.failure = Some(Failure::Interrupted);
    } else if lost.is_none() && runner.is_to_stop(0) && unplayed.iter().any(|trial| trial.is_played()) {
        left_out = unplayed.iter().map(|trial| trial.id()).collect();
        report.failure = Some(Failure::Stopped { failures: runner.failed, left_out: left_out.len() });
    }

    // The target may have fetched late: every control since has given it time.
    runner.collect_fetches(&mut played);

    let seen = seen(&played, target, |played| played.doubt.is_none());
    let learned = Learned { drops: judge::habit(&seen), ..Learned::clone(&runner.learned) };
    let view = Run {
        seen,
        heard: heard(&played, |played| played.doubt.is_none()),
        controls: &runner.controls,
        witness: witness.as_ref(),
        keys: &target.keys,
        host: &target.endpoint.host,
        profile: &target.profile,
        // A promise, not a deadline: a hurried run does not tighten it.
        refusal_budget: Duration::from_millis(target.profile.refusal_budget_ms.unwrap_or(1_000))
            .mul_f64(options.timeout_scale.max(1.0)),
        echo_is_promised: runner.learned.echo_is_promised,
    };
    let connections =
        played.iter().flat_map(|played| &played.observations).flat_map(|observation| &observation.connections);
    let kept = played.iter().flat_map(|played| &played.observations).flat_map(|observation| &observation.kept);
    let cleaner = kept.fold(redactor.clone(), |cleaner, text| cleaner.and_token(text.as_bytes()));
    let cleaner = connections.fold(cleaner, |cleaner, connection| {
        let token = connection.token.as_ref().and_then(Token::bytes).unwrap_or_default();
        cleaner.and_request(&connection.sent).and_token(token)
    });
    for trial in trials.iter().filter(|trial| trial.wanted && !left_out.contains(&trial.id())) {
        let ended = played.iter().find(|played| std::ptr::eq(played.trial, trial));
        let mut entry = TrialReport::new(trial, catalogue);
        match (&trial.skip, ended) {
            (Some(reason), _) => entry.not_applicable(reason),
            (None, played) => {
                let graded = || grade(trial, played, &view, target, &learned, report.failure.as_ref(), lost.is_some());
                // A mistake of ours in one case must not lose what the others came to.
                let checks = std::panic::catch_unwind(AssertUnwindSafe(graded))
                    .unwrap_or_else(|payload| judge::panicked(&trial.head(), &panic_text(payload.as_ref())));
                match played.and_then(Played::not_applicable) {
                    Some(reason) if checks.is_empty() => entry.not_applicable(&redactor.clean(&reason)),
                    _ => entry.checks(checks, &cleaner),
                }
                // What was found out about this very failure tells more than what mends most of its kind.
                if let (Some(Failure::FirstControl(finding)), None) = (&report.failure, played)
                    && entry.verdict == Verdict::Fail
                    && is_control(&trial.case)
                {
                    entry.mend = Some(finding.advice.clone());
                }
                entry.took = played.map_or(Duration::ZERO, |played| played.took);
                let is_good = matches!(entry.verdict, Verdict::Pass | Verdict::Info | Verdict::NotApplicable);
                let is_kept = match options.transcript {
                    Transcript::None => false,
                    Transcript::Failed => !is_good,
                    Transcript::All => true,
                };
                if let Some(played) = played.filter(|_| is_kept) {
                    let lines = transcript::lines(&played.observations);
                    entry.transcript = lines.iter().map(|line| cleaner.clean(line)).collect();
                }
            }
        }
        report.trials.push(entry);
    }
    if let Some(roles) = &target.profile.roles {
        tell_one_cause(roles, &mut report.trials, &redactor);
    }
    tell_unverified(trials, &mut report.trials);
    if report.failure.is_none() {
        report.failure = lost.map(|lost| {
            let clean = |text: &str| cleaner.clean(text);
            Failure::ControlLost(Finding { observed: clean(&lost.observed), advice: clean(&lost.advice), ..lost })
        });
    }
    report.controls = runner.controls.len();
    report.took = begun.elapsed();
    report
}

/// Where all cases of wrong roles were let in, each of them tells the one cause.
fn tell_one_cause(roles: &Roles, trials: &mut [TrialReport], redactor: &Redactor) {
    let expected = judge::expectation(Expect::Refused);
    let asks = |check: &&Check| check.expected == expected && check.grade != Grade::Inconclusive;
    let mut cases: Vec<_> = trials
        .iter_mut()
        .filter(|trial| trial.about.family == "ROLE" && trial.checks.iter().any(|check| asks(&check)))
        .collect();
    let refused: Vec<bool> =
        cases.iter().map(|trial| trial.checks.iter().filter(asks).any(|check| check.grade == Grade::Pass)).collect();
    if let Some(advice) = diagnosis::no_role_refused(&printable(&roles.claim), &refused) {
        for trial in &mut cases {
            trial.mend = Some(redactor.clean(&advice));
        }
    }
}

/// Where a token that a wrong key has signed is let in, what else such tokens did has that cause before any of its own.
fn tell_unverified(trials: &[Trial<'_>], reports: &mut [TrialReport]) {
    let is_tagged = |trial: &&Trial<'_>| trial.case.head.tags.iter().any(|tag| tag == WRONG_KEY_TAG);
    let asked: HashSet<String> = trials.iter().filter(is_tagged).map(Trial::id).collect();
    let found = |report: &TrialReport| report.verdict == Verdict::Fail && asked.contains(&report.id);
    let Some(code) = reports.iter().find(|report| found(report)).map(|report| report.code.clone()) else { return };
    let forged: HashSet<String> = trials.iter().filter(|trial| shows_forged(trial)).map(Trial::id).collect();
    let is_let_in = |report: &&mut TrialReport| {
        matches!(report.verdict, Verdict::Fail | Verdict::Warn) && report.observed.contains("admitted")
    };
    for report in reports.iter_mut().filter(is_let_in) {
        if forged.contains(&report.id) && !asked.contains(&report.id) {
            report.mend = Some(diagnosis::any_key_will_do(&code));
        }
    }
}

/// Whether a token with a bad signature is shown in it.
fn shows_forged(trial: &Trial<'_>) -> bool {
    let opens = |step: &Step| match step {
        Step::Open(open) => class_of(&trial.case, open.class) == Some(Class::BadSignature),
        _ => false,
    };
    trial.case.variants.iter().any(|variant| matches!(&variant.body, Body::Steps(steps) if steps.iter().any(opens)))
}

/// Whether the trial looks at the session that is held through the whole run.
fn asks_a_witness(trial: &Trial<'_>) -> bool {
    let asks = |body: &Body| matches!(body, Body::Across(Across::Witness));
    trial.wanted && trial.skip.is_none() && trial.case.variants.iter().any(|variant| asks(&variant.body))
}

/// Whether the case is the control, and is played as such.
fn is_control(case: &case::Case) -> bool {
    case.head.tags.iter().any(|tag| tag == CONTROL_TAG)
}

/// The checks of one trial.
fn grade(
    trial: &Trial<'_>,
    played: Option<&Played<'_>>,
    view: &Run<'_>,
    target: &Target,
    learned: &Learned,
    failure: Option<&Failure>,
    lost: bool,
) -> Vec<Check> {
    let head = &trial.head();
    let mut checks = Vec::new();
    let several = trial.case.variants.len() > 1;
    for (index, variant) in trial.case.variants.iter().enumerate() {
        let graded = match &variant.body {
            Body::Lint(lint) => judge::lint(head, *lint, target),
            Body::Across(_) if failure.is_some() => judge::not_run(head, failure),
            Body::Across(question) => {
                let mut graded = judge::across(head, *question, view);
                // What was seen until then may be enough to fail, but not to pass.
                for check in graded.iter_mut().filter(|check| lost && check.grade < Grade::Inconclusive) {
                    check.grade = Grade::Inconclusive;
                    check.observed.push_str("; but a control failed before all was seen");
                }
                graded
            }
            Body::Steps(steps) => match played {
                // This case is the control, and was played as such.
                None if is_control(&trial.case) && !view.controls.is_empty() => view
                    .controls
                    .iter()
                    .take(1)
                    .map(|outcome| judge::expected(Weight::of(head), Expect::Admitted, outcome))
                    .collect(),
                None => judge::not_run(head, failure),
                Some(Played { panicked: Some(why), .. }) => judge::panicked(head, why),
                Some(played) => {
                    let observation = &played.observations[index];
                    let mut graded = judge::session(head, steps, observation, &target.profile, learned);
                    if let Some(why) = &played.doubt {
                        for check in graded.iter_mut().filter(|check| check.grade != Grade::Error) {
                            check.grade = Grade::Inconclusive;
                            check.observed.push_str(&format!("; but {why}"));
                        }
                    }
                    graded
                }
            },
        };
        for check in graded {
            let label = match (several, check.label.is_empty()) {
                (true, true) => variant.label.clone(),
                (true, false) => format!("{}: {}", variant.label, check.label),
                (false, _) => check.label.clone(),
            };
            checks.push(Check { label, ..check });
        }
    }
    if let Some(seen) = played.and_then(|played| played.killed.as_deref()) {
        checks.push(judge::killed(head, seen));
    }
    checks
}
