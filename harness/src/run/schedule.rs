//! Runs the trials of a plan: controls before, between and after, up to `jobs` sessions in flight.
//!
//! A refusal counts only beside a control: a batch whose closing control fails is inconclusive, whatever it saw.

use std::any::Any;
use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::listener::Listener;
use super::pace::Pace;
use super::revival::Revival;
use super::session::{Actor, Context, Deadlines, PAUSE, control, play, witness};
use super::wallet::{NoToken, Wallet};
use crate::case::{self, Across, Awaited, Body, Expect, Given, How, Open, Step, Variant};
use crate::catalogue::Catalogue;
use crate::diagnosis::{self, Cause, Finding, Lost};
use crate::document::printable;
use crate::judge::{self, Learned, Run, Seen, Weight};
use crate::need::Need;
use crate::observation::{Connection, Mark, Observation, Trouble};
use crate::outcome::{self, Outcome};
use crate::plan::{self, Selection, Trial, class_of};
use crate::profile::{Carrier, Class, Echo, Profile, Roles, Shape};
use crate::redact::Redactor;
use crate::report::{Failure, Report, RunEvent, TrialReport};
use crate::target::{Target, algorithm_of};
use crate::token::Token;
use crate::transcript::{self, Transcript};
use crate::verdict::{Check, Grade, Severity, Verdict};
use crate::wire::frame::Frame;

/// Marks the case that asks no more than a control does.
const CONTROL_TAG: &str = "control";
/// Trials between two controls (rule R17).
const BATCH: usize = 25;
/// The longest single wait that a `Retry-After` may ask for, and the longest of a whole run.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);
const MAX_PATIENCE: Duration = Duration::from_secs(15);
/// How long a target whose sessions are all of one user is let be before each: it may bear one at a time, and has yet to see
/// that the last is over.
const REST: Duration = Duration::from_millis(30);
/// Messages by which an echo is looked for, and the word in each.
const ECHOES: &[(&str, &str)] =
    &[("{message}", "gatecrash-echo"), ("{\"type\":\"message\",\"message\":\"{message}\"}", "gatecrash-json-echo")];
/// Why nothing that a trial saw is believed.
const NOT_ADMITTED: &str = "the control after it was not admitted";
/// What is seen of a server that ended and was back before the next control.
const WITNESS_ENDED: &str = "the session that was held beside it was ended";

/// How a run is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Sessions in flight at the same time.
    pub jobs: usize,
    /// Everything random follows from it, so that a run can be made again.
    pub seed: u64,
    /// Multiplies every deadline.
    pub timeout_scale: f64,
    /// Ends the run early.
    pub interrupt: Interrupt,
    /// After how many failures it ends; unset, it goes on to the end.
    pub stop: Option<Stop>,
    /// How many sessions may begin in a second, controls included; unset, as many as will. A case that opens several
    /// connections in one session is not slowed down in it, because its times would mean something else.
    pub rate: Option<f64>,
    /// Which trials keep what was sent and received.
    pub transcript: Transcript,
    /// Whom to ask where the target has ended; unset, it is waited for a moment only.
    pub revival: Option<Revival>,
}

/// What ends a run before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// So many trials that failed.
    pub failures: usize,
    /// With this severity, or a higher one.
    pub severity: Severity,
}

impl Default for Options {
    fn default() -> Self {
        // Runs that begin together must differ: where a server passes everything on to everybody, they hear each other.
        let seed = u64::from(RandomState::new().hash_one(std::process::id()) as u32);
        Self {
            jobs: 16,
            seed,
            timeout_scale: 1.0,
            interrupt: Interrupt::default(),
            stop: None,
            rate: None,
            transcript: Transcript::None,
            revival: None,
        }
    }
}

/// Asks a run to end early; what is known by then is reported.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
    notify: Arc<Notify>,
}

impl Interrupt {
    /// Asks.
    pub fn request(&self) {
        self.flag.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    /// Whether it was asked.
    pub fn is_requested(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }

    /// Does something, unless the run is asked to end meanwhile.
    pub(super) async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.requested() => None,
            done = work => Some(done),
        }
    }

    async fn requested(&self) {
        let notified = self.notify.notified();
        if !self.is_requested() {
            notified.await;
        }
    }
}

/// What one trial did and saw.
struct Played<'a> {
    trial: &'a Trial<'a>,
    /// The seeds of its variants, in order.
    seeds: Vec<u64>,
    observations: Vec<Observation>,
    took: Duration,
    /// Why no control speaks for it, if none does: then nothing that it saw is believed.
    doubt: Option<String>,
    /// What the harness panicked with while it played this, if it did.
    panicked: Option<String>,
    /// What came of the control after it where this trial, played by itself, has ended the server twice.
    killed: Option<String>,
}

impl Played<'_> {
    /// Whether the server broke off a connection of it, and none was ended as by a server that is told to stop.
    fn is_broken_off(&self) -> bool {
        let going = |close: &Frame| matches!(close.close_code(), Some(1001 | 1012));
        let connections = || self.observations.iter().flat_map(|observation| &observation.connections);
        connections().any(Connection::is_broken_off)
            && !connections().any(|connection| connection.close().is_some_and(going))
    }

    /// Why this target gives no way to play it, if it does not.
    fn not_applicable(&self) -> Option<String> {
        self.observations.iter().flat_map(|observation| &observation.marks).find_map(|mark| match &mark.trouble {
            Some(Trouble::NotApplicable(why)) => Some(why.clone()),
            _ => None,
        })
    }
}

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
    let greeted = match &first {
        Some(Ok(tried)) => options.interrupt.unless(runner.look_behind_greeting(tried, &redactor)).await.flatten(),
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
        Some(Ok(_)) if greeted.is_some() => report.failure = greeted.map(Failure::FirstControl),
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

    let outcomes = outcomes(&played, runner.learned.speaks);
    let seen = seen(&played, &outcomes, |played| played.doubt.is_none());
    let learned = Learned { drops: judge::habit(&seen), ..Learned::clone(&runner.learned) };
    let view = Run {
        seen,
        controls: &runner.controls,
        witness: witness.as_ref(),
        keys: &target.keys,
        host: &target.endpoint.host,
        profile: &target.profile,
        redactor: &redactor,
        // A promise, not a deadline: a hurried run does not tighten it.
        refusal_budget: Duration::from_millis(target.profile.refusal_budget_ms.unwrap_or(1_000))
            .mul_f64(options.timeout_scale.max(1.0)),
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

/// Whether the trial looks at the session that is held through the whole run.
fn asks_a_witness(trial: &Trial<'_>) -> bool {
    let asks = |body: &Body| matches!(body, Body::Across(Across::Witness));
    trial.wanted && trial.skip.is_none() && trial.case.variants.iter().any(|variant| asks(&variant.body))
}

/// A session that is held while the others are played.
struct Witness {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Option<Connection>>,
}

impl Witness {
    /// Ends it, and tells how it was found.
    async fn end(self) -> Option<Connection> {
        let _ = self.stop.send(());
        self.task.await.ok().flatten()
    }
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

/// The outcome of every opening of every trial, by trial, variant and step.
fn outcomes(played: &[Played<'_>], speaks: bool) -> Vec<Vec<Vec<Outcome>>> {
    let of = |observation: &Observation| {
        let events = |mark: &Mark| {
            observation.connections.get(mark.connection).map_or(&[][..], |connection| mark.until(connection))
        };
        observation.marks.iter().map(|mark| outcome::of(events(mark), speaks)).collect()
    };
    played.iter().map(|played| played.observations.iter().map(of).collect()).collect()
}

/// The openings of the trials that are `believed`.
fn seen<'a>(
    played: &'a [Played<'a>],
    outcomes: &'a [Vec<Vec<Outcome>>],
    believed: impl Fn(&Played<'_>) -> bool,
) -> Vec<Seen<'a>> {
    let mut all = Vec::new();
    for (played, outcomes) in played.iter().zip(outcomes).filter(|(played, _)| believed(played)) {
        let case = &played.trial.case;
        for ((variant, observation), outcomes) in case.variants.iter().zip(&played.observations).zip(outcomes) {
            let Body::Steps(steps) = &variant.body else { continue };
            for (mark, outcome) in observation.marks.iter().zip(outcomes) {
                let (Some(Step::Open(open)), Some(connection)) =
                    (steps.get(mark.step), observation.connections.get(mark.connection))
                else {
                    continue;
                };
                // At another door a refusal may be told in any way: a redirect, or nobody there. What comes second over
                // one connection may well find it ended.
                if open.request.is_side_door() || open.over.is_some() {
                    continue;
                }
                // A target that is told the token in a message may answer something else first: a message that came
                // before the token, or the end of the time in which it might have come.
                let clear = match connection.presented() {
                    None => true,
                    Some(token) => token && open.request.early.is_empty(),
                };
                let class = class_of(case, open.class).filter(|_| clear);
                all.push(Seen { code: &case.head.code, class, expect: open.expect, outcome, connection });
            }
        }
    }
    all
}

fn deadlines(target: &Target, options: &Options, control: Duration) -> Deadlines {
    let scale = |time: Duration| time.mul_f64(options.timeout_scale.clamp(0.01, 1_000.0));
    let settle = Duration::from_millis(target.profile.settle_ms.unwrap_or(250)).max(control * 4);
    Deadlines {
        dial: scale(Duration::from_secs(5)),
        // However slow the control was, a run against a target that trickles must come to an end.
        answer: scale((control * 20).clamp(Duration::from_secs(5), Duration::from_secs(30))),
        settle: scale(settle.min(Duration::from_secs(5))),
        refusal: scale(settle.clamp(Duration::from_secs(1), Duration::from_secs(5))),
        finish: scale(Duration::from_millis(250)),
        rest: if target.has_one_user() { scale(REST) } else { Duration::ZERO },
    }
}

pub(super) struct Runner<'a> {
    pub(super) target: Arc<Target>,
    pub(super) learned: Arc<Learned>,
    pub(super) deadlines: Deadlines,
    options: &'a Options,
    controls: Vec<Outcome>,
    actors: u64,
    listener: Result<Option<Arc<Listener>>, String>,
    /// The real token, where tokens are not made.
    wallet: Arc<Wallet>,
    /// How much longer this run may wait for limiters to be over.
    patience: Duration,
    pace: Option<Arc<Pace>>,
    /// How many trials have failed for sure, as far as that ends the run.
    failed: usize,
    /// Whether the server has broken off the session of the witness since the last control.
    witness_is_lost: Arc<AtomicBool>,
}

/// Whether the server was away between two controls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    /// It was not, as far as is known.
    No,
    /// Nobody listened, or a session was lost: it may have ended, or whoever stands before it.
    Yes,
    /// The server that we have started had ended, and was started again.
    Ended,
}

/// What came of a control.
pub(super) struct Tried {
    pub(super) outcome: Outcome,
    pub(super) connection: Connection,
}

impl Tried {
    /// How long its answer asks to wait, in seconds (RFC 9110 §10.2.3); a date is not waited for.
    fn retry_after(&self) -> Option<Duration> {
        let seconds = self.connection.head()?.header("retry-after")?;
        seconds.trim().parse().ok().map(Duration::from_secs)
    }
}

/// What the controls after some trials came to.
enum Vouched {
    /// The first was admitted: it speaks for the trials before it.
    For,
    /// The first was not, or the server was another one since; this is what was seen. A later one was admitted.
    Again {
        /// Why it speaks for nothing.
        seen: String,
        /// Whether the server was away meanwhile.
        away: Away,
    },
    /// None was.
    Never(Finding),
}

/// The index of its trial, the seeds of its variants, what each saw, and how long it took.
type Session = Pin<Box<dyn Future<Output = (usize, Vec<u64>, Vec<Observation>, Duration)> + Send>>;

/// What one variant saw, and how long that took.
type Part = Pin<Box<dyn Future<Output = (Observation, Duration)> + Send>>;

/// The listener as a session is told of it.
fn lent(listener: &Result<Option<Arc<Listener>>, String>) -> Result<Option<&Listener>, &str> {
    listener.as_ref().map(Option::as_deref).map_err(String::as_str)
}

impl<'a> Runner<'a> {
    pub(super) fn new(target: &Target, options: &'a Options) -> Self {
        Self {
            target: Arc::new(target.clone()),
            learned: Arc::new(Learned {
                echo: target.profile.echo.clone(),
                echo_is_promised: target.profile.echo.is_some(),
                speaks: target.profile.speaks(),
                control: Duration::ZERO,
                drops: None,
            }),
            deadlines: deadlines(target, options, Duration::ZERO),
            options,
            controls: Vec::new(),
            actors: 0,
            listener: Ok(None),
            patience: MAX_PATIENCE,
            wallet: Arc::default(),
            pace: options.rate.map(|rate| Arc::new(Pace::new(rate))),
            failed: 0,
            witness_is_lost: Arc::default(),
        }
    }
}

impl Runner<'_> {
    pub(super) fn scaled(&self, time: Duration) -> Duration {
        time.mul_f64(self.options.timeout_scale.clamp(0.01, 1_000.0))
    }

    pub(super) fn actor(&mut self, carrier: &Carrier) -> Actor {
        let pinned = self.target.profile.user.clone();
        self.actor_of(carrier, pinned)
    }

    /// An actor of this user, or of one that the target has not seen.
    pub(super) fn actor_of(&mut self, carrier: &Carrier, user: Option<String>) -> Actor {
        self.actors += 1;
        let seed = mix(self.options.seed, self.actors);
        let user = user.unwrap_or_else(|| format!("gatecrash-{:06x}", seed & 0xFF_FFFF));
        Actor { user, seed, carrier: carrier.clone(), bound: None }
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context {
            target: &self.target,
            learned: &self.learned,
            deadlines: self.deadlines,
            listener: lent(&self.listener),
            given: self.wallet.token(),
        }
    }

    /// Sees to it that the real token lasts for a while, where tokens are not made.
    pub(super) async fn fill_wallet(&mut self, anew: bool) -> Result<(), NoToken> {
        self.wallet.fill(&self.target, anew, self.deadlines.answer).await?;
        // Whoever logs in learns only now what the tokens are like.
        if let Some(algorithm) = self.wallet.token().as_ref().and_then(algorithm_of)
            && self.target.profile.algorithm.is_none()
            && self.target.algorithm != algorithm
        {
            Arc::make_mut(&mut self.target).algorithm = algorithm;
        }
        Ok(())
    }

    /// Starts the harness's own listener, if a case asks for it.
    async fn listen(&mut self, trials: &[Trial<'_>]) {
        let asks = |trial: &Trial<'_>| trial.skip.is_none() && trial.case.head.needs.contains(&Need::Listener);
        if trials.iter().any(asks) {
            let started = Listener::start(self.target.profile.listener.as_ref()).await;
            self.listener = started.map(|listener| Some(Arc::new(listener)));
        }
    }

    /// Writes down what came to the listener from each session.
    fn collect_fetches(&self, played: &mut [Played<'_>]) {
        let Ok(Some(listener)) = &self.listener else { return };
        for played in played.iter_mut() {
            for (seed, observation) in played.seeds.iter().zip(&mut played.observations) {
                observation.fetches = Some(listener.fetches(*seed));
            }
        }
    }

    async fn control(&mut self) -> Result<Tried, String> {
        let carrier = self.target.profile.carriers[0].clone();
        let actor = self.actor(&carrier);
        if let Some(pace) = &self.pace {
            pace.turn().await;
        }
        let context = self.context();
        let begun = Instant::now();
        let connection = control(&context, &actor).await?;
        let outcome = outcome::of(&connection.events, self.learned.speaks);
        if self.controls.is_empty() {
            let control = connection.events.last().map_or(begun.elapsed(), |event| event.at);
            Arc::make_mut(&mut self.learned).control = control;
            self.deadlines = deadlines(&self.target, self.options, control);
        }
        self.controls.push(outcome.clone());
        Ok(Tried { outcome, connection })
    }

    /// The control that everything rests on; it also teaches how this target answers.
    async fn first_control(&mut self) -> Result<Tried, String> {
        let tried = self.control().await?;
        if matches!(tried.outcome, Outcome::Admitted(_)) && self.learned.echo.is_none() {
            self.learn_echo(ECHOES).await;
        }
        Ok(tried)
    }

    /// Looks whether a target that declares no echo repeats a text, so that the cases about messages can be judged.
    ///
    /// It uses a connection of its own: a target may well drop a client that says what it does not understand.
    pub(super) async fn learn_echo(&mut self, templates: &[(&str, &str)]) {
        let carrier = self.target.profile.carriers[0].clone();
        for &(send, word) in templates {
            let actor = self.actor(&carrier);
            let context = self.context();
            let steps = [
                Step::Open(Box::default()),
                Step::Send(case::Send::text(send.replace("{message}", word))),
                Step::Await(case::Await::silence()),
            ];
            let observation = play(&context, &actor, &steps).await;
            let shape = observation
                .connections
                .iter()
                .flat_map(|connection| connection.messages())
                .find_map(|message| Shape::around(&message.text(), word));
            if let Some(reply) = shape {
                let learned = Arc::make_mut(&mut self.learned);
                learned.echo = Some(Echo { send: send.to_owned(), reply, broadcast: false });
                learned.speaks = true;
                return;
            }
        }
    }

    /// Opens a session that is held through the run, if this target can be expected to bear one more.
    ///
    /// Where the profile pins one user there may be a limit for it, which the witness would use up; and where the valid
    /// token is not admitted beside it, it goes again at once.
    async fn witness(&mut self) -> Option<Witness> {
        if self.target.has_one_user() {
            return None;
        }
        let carrier = self.target.profile.carriers[0].clone();
        let actor = self.actor(&carrier);
        let (target, learned, deadlines) = (Arc::clone(&self.target), Arc::clone(&self.learned), self.deadlines);
        let (opened, is_open) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let lost = Arc::clone(&self.witness_is_lost);
        let task = tokio::spawn(async move {
            let context = Context { target: &target, learned: &learned, deadlines, listener: Ok(None), given: None };
            witness(&context, &actor, opened, &lost, stopped).await
        });
        let witness = Witness { stop, task };
        let controls = self.controls.len();
        if is_open.await == Ok(true) && matches!(self.control().await, Ok(Tried { outcome: Outcome::Admitted(_), .. }))
        {
            return Some(witness);
        }
        // This control speaks of the witness, not of the cases.
        self.controls.truncate(controls);
        witness.end().await;
        None
    }

    /// Whether the target serves so many sessions at once, two at least, that are all of the one user there is. Where it
    /// greets nobody and echoes nothing, each takes a while, and a few must do.
    async fn serves_at_once(&mut self, sessions: usize) -> bool {
        if !self.target.has_one_user() {
            return true;
        }
        let sessions = if self.learned.speaks { sessions.max(2) } else { sessions.clamp(2, 3) };
        let open = |number| {
            let given = (number > 0).then_some(Given::Together);
            Step::Open(Box::new(Open { name: format!("session {number}"), given, ..Open::default() }))
        };
        let steps: Vec<Step> = (0..sessions).map(open).collect();
        let carrier = self.target.profile.carriers.first().cloned().unwrap_or(Carrier::Query("token".to_owned()));
        let actor = self.actor(&carrier);
        let context = self.context();
        let played = self.options.interrupt.unless(play(&context, &actor, &steps)).await;
        let Some(seen) = played else { return true };
        !seen.marks.iter().any(|mark| matches!(mark.trouble, Some(Trouble::NotApplicable(_))))
    }

    async fn play_all<'t>(
        &mut self,
        trials: &'t [Trial<'t>],
        ended: &mut (dyn FnMut(&Trial<'_>) + Send),
    ) -> (Vec<Played<'t>>, Option<Finding>) {
        let runnable = |trial: &&Trial<'_>| trial.skip.is_none() && trial.is_played();
        let (alone, together): (Vec<_>, Vec<_>) =
            trials.iter().filter(runnable).partition(|trial| trial.case.head.alone);
        let mut played = Vec::new();
        // With one real token everybody is one user, whose sessions the target may have limited to a few.
        let at_once = self.serves_at_once(self.options.jobs).await;
        if at_once {
            self.deadlines.rest = Duration::ZERO;
        }
        let many = self.target.makes_tokens() && at_once;
        let jobs = if many { self.options.jobs.max(1) } else { 1 };
        let mut suspects = Vec::new();
        let mut lost = self.play_group(&together, jobs, &mut played, &mut suspects, ended).await;
        // Told to have ended already.
        let mut silent = |_: &Trial<'_>| ();
        let suspects = suspects.into_iter().map(|trial| (trial, true));
        for (trial, again) in suspects.chain(alone.into_iter().map(|trial| (trial, false))) {
            if lost.is_none() && !self.options.interrupt.is_requested() && !self.is_to_stop(0) {
                let ended = if again { &mut silent as &mut (dyn FnMut(&Trial<'_>) + Send) } else { &mut *ended };
                lost = self.play_group(&[trial], 1, &mut played, &mut Vec::new(), ended).await;
            }
        }
        // What a suspect saw by itself stands in the place of what it saw among others.
        let mut last = HashSet::new();
        played.reverse();
        played.retain(|played| last.insert(std::ptr::from_ref(played.trial)));
        played.reverse();
        (played, lost)
    }

    /// Whether the server lives on for as long as that, when nothing is asked of it. One that ends by itself now and then
    /// would seem to be ended by whatever is played at the time.
    async fn is_steady(&mut self, while_it_took: Duration) -> bool {
        let quiet = self.scaled(while_it_took.clamp(Duration::from_secs(1), Duration::from_secs(10)));
        let is_over = self.options.interrupt.unless(sleep(quiet)).await.is_some();
        is_over && matches!(self.control().await, Ok(Tried { outcome: Outcome::Admitted(_), .. }))
    }

    /// Whether the target, which has ended, was started again.
    async fn revived(&self) -> bool {
        let Some(revival) = &self.options.revival else { return false };
        self.options.interrupt.unless(revival.ask()).await == Some(true)
    }

    /// Controls after some trials. One that fails is tried again, because a limiter or a restart may be over soon.
    ///
    /// `forged` tells how forged tokens were refused in these trials. Where the witness has lost its session since, the
    /// server may have ended and been back before anybody looked.
    async fn vouch(&mut self, forged: impl FnOnce() -> Vec<Outcome>) -> Result<Vouched, String> {
        let mut seen = Lost::default();
        let returned = self.witness_is_lost.swap(false, Ordering::SeqCst);
        let mut has_ended = false;
        // A login that fails shows in the control, unless the token holds for a while yet.
        let mut renewal = self.fill_wallet(false).await;
        let mut pauses: VecDeque<Duration> = [0, 50, 200, 750].map(Duration::from_millis).into();
        while let Some(pause) = pauses.pop_front() {
            if !pause.is_zero() {
                sleep(self.scaled(pause)).await;
            }
            let tried = self.control().await?;
            if matches!(tried.outcome, Outcome::Admitted(_)) {
                return Ok(match seen.tries.first() {
                    Some(first) if has_ended => Vouched::Again { away: Away::Ended, seen: not_at_once(first) },
                    Some(first) if is_away(first) => Vouched::Again { away: Away::Yes, seen: not_at_once(first) },
                    Some(first) => Vouched::Again { away: Away::No, seen: not_at_once(first) },
                    None if returned => Vouched::Again { away: Away::Yes, seen: WITNESS_ENDED.to_owned() },
                    None => Vouched::For,
                });
            }
            seen.retry_after = tried.retry_after();
            let away = is_away(&tried.outcome);
            seen.tries.push(tried.outcome);
            if away && self.revived().await {
                if !has_ended {
                    // So that what was started last is looked at, too.
                    pauses.push_back(Duration::from_millis(50));
                }
                has_ended = true;
                // What it knew of us may have gone with it.
                renewal = self.fill_wallet(true).await;
                continue;
            }
            // A case may have ended the session that the token belongs to.
            if seen.tries.len() == 1 && !matches!(seen.tries[0], Outcome::Throttled(_)) {
                renewal = renewal.and(self.fill_wallet(true).await);
            }
        }
        seen.token_over_since = self.wallet.over_since();
        seen.renewal = renewal.err().map(NoToken::into_words);
        // Whoever says how long is believed, for a while.
        if let Some(wait) = seen.retry_after.filter(|wait| *wait <= self.patience.min(MAX_RETRY_AFTER))
            && let Some(Outcome::Throttled(first)) = seen.tries.last().cloned()
        {
            self.patience -= wait;
            sleep(wait).await;
            let tried = self.control().await?;
            if matches!(tried.outcome, Outcome::Admitted(_)) {
                return Ok(Vouched::Again { away: Away::No, seen: not_at_once(&Outcome::Throttled(first)) });
            }
            seen.tries.push(tried.outcome);
        }
        seen.forged = forged();
        Ok(Vouched::Never(self.diagnose_lost(seen).await))
    }

    /// Plays trials side by side, with a control after every [`BATCH`] that ended and after the last.
    ///
    /// A control speaks for the trials that ended before it began; those that are still in flight wait for the next.
    /// One that is admitted only when it is repeated speaks for nothing: while the target refused everybody, a refusal
    /// proved nothing. The trials before it are then played once more, because most limits and restarts are over by
    /// then; if it happens to them again they stay inconclusive, and the run goes on. When none is admitted nothing
    /// more is begun, and the likely cause is given back.
    ///
    /// Where the server was away, one of those whose connection it broke off may have ended it: they become `suspects`, to
    /// be played one by one. Who is played so has ended it where that happens twice more, and the server is one that we have
    /// started: of another it is not known whether it ended, or whoever stands before it, or why.
    async fn play_group<'t>(
        &mut self,
        group: &[&'t Trial<'t>],
        jobs: usize,
        played: &mut Vec<Played<'t>>,
        suspects: &mut Vec<&'t Trial<'t>>,
        ended: &mut (dyn FnMut(&Trial<'_>) + Send),
    ) -> Option<Finding> {
        let mut waiting: Vec<(usize, Session)> = Vec::new();
        for (index, trial) in group.iter().enumerate().rev() {
            let actor = self.actor(&trial.carrier);
            waiting.push((index, self.session(index, trial, actor)));
        }
        // The last is begun first: whoever waits longest waits while the others are played. The others keep their order.
        waiting.sort_by_cached_key(|(index, _)| self.pause(group[*index]));
        let mut flying = JoinSet::new();
        let mut tasks = HashMap::new();
        let mut fresh: Vec<Played<'t>> = Vec::new();
        let mut replayed = HashSet::new();
        let mut in_flight = HashSet::new();
        // Those that were in flight while the target refused everybody, or was away.
        let mut spoilt: HashMap<usize, (bool, String)> = HashMap::new();
        // Those after which, played by themselves, the server was away.
        let mut struck: HashSet<usize> = HashSet::new();
        let mut lost = None;
        loop {
            if self.options.interrupt.is_requested() {
                waiting.clear();
            }
            while flying.len() < jobs
                && !self.options.interrupt.is_requested()
                && let Some((index, session)) = waiting.pop()
            {
                in_flight.insert(index);
                tasks.insert(flying.spawn(session).id(), index);
            }
            let next = tokio::select! {
                next = flying.join_next() => next,
                () = self.options.interrupt.requested(), if !flying.is_empty() => {
                    flying.abort_all();
                    waiting.clear();
                    flying.join_next().await
                }
            };
            match next {
                None if fresh.is_empty() || lost.is_some() => break,
                None => {}
                Some(Ok((index, seeds, observations, took))) => {
                    in_flight.remove(&index);
                    if !replayed.contains(&index) {
                        ended(group[index]);
                    }
                    let done = Played {
                        trial: group[index],
                        seeds,
                        observations,
                        took,
                        doubt: None,
                        panicked: None,
                        killed: None,
                    };
                    match spoilt.remove(&index) {
                        None => fresh.push(done),
                        Some((true, seen)) if done.is_broken_off() => {
                            suspects.push(done.trial);
                            played.push(Played { doubt: Some(seen), ..done });
                        }
                        Some((_, seen)) if lost.is_some() || !replayed.insert(index) => {
                            played.push(Played { doubt: Some(format!("{seen}, twice")), ..done });
                        }
                        Some(_) => {
                            let actor = self.actor(&group[index].carrier);
                            waiting.push((index, self.session(index, group[index], actor)));
                        }
                    }
                }
                // A panic is ours: it is reported where it happened, and the other cases keep their verdicts.
                Some(Err(error)) => {
                    let index = tasks.get(&error.id()).copied();
                    if let (Ok(payload), Some(index)) = (error.try_into_panic(), index) {
                        in_flight.remove(&index);
                        spoilt.remove(&index);
                        let panicked = Some(panic_text(payload.as_ref()));
                        let (trial, took) = (group[index], Duration::ZERO);
                        fresh.push(Played {
                            trial,
                            seeds: Vec::new(),
                            observations: Vec::new(),
                            took,
                            doubt: None,
                            panicked,
                            killed: None,
                        });
                    }
                }
            }
            // A failure counts beside a control like everything else; where it may end the run, that comes at once.
            let may_stop = self.options.stop.is_some() && self.is_to_stop(self.failing(&fresh));
            let is_due =
                fresh.len() >= BATCH || may_stop || flying.is_empty() && waiting.is_empty() && !fresh.is_empty();
            if !is_due || lost.is_some() {
                continue;
            }
            let speaks = self.learned.speaks;
            let interrupt = self.options.interrupt.clone();
            let vouched = interrupt.unless(self.vouch(|| forged(&fresh, speaks))).await;
            let doubt = match vouched {
                Some(Ok(Vouched::For)) => None,
                Some(Ok(Vouched::Again { seen, away })) => {
                    let place = |played: &Played<'_>| group.iter().position(|trial| std::ptr::eq(*trial, played.trial));
                    let among_others = group.len() > 1;
                    let doubted = (away != Away::No && among_others, seen.clone());
                    spoilt.extend(in_flight.iter().map(|index| (*index, doubted.clone())));
                    for mut done in std::mem::take(&mut fresh) {
                        let Some(index) = place(&done) else { continue };
                        let is_struck = away == Away::Ended && done.is_broken_off();
                        if away != Away::No && among_others && done.is_broken_off() {
                            suspects.push(done.trial);
                            played.push(Played { doubt: Some(seen.clone()), ..done });
                        } else if replayed.insert(index) {
                            if is_struck {
                                struck.insert(index);
                            }
                            let actor = self.actor(&group[index].carrier);
                            waiting.push((index, self.session(index, group[index], actor)));
                        } else {
                            if is_struck && struck.contains(&index) && self.is_steady(done.took).await {
                                done.killed = Some(seen.clone());
                                self.failed +=
                                    usize::from(self.counts(&done, judge::severity_of_death(&done.trial.head())));
                            }
                            fresh.push(done);
                        }
                    }
                    Some(format!("{seen}, twice"))
                }
                Some(Ok(Vouched::Never(finding))) => {
                    let observed = format!("{}; {}", finding.observed, played_since(&fresh));
                    lost = Some(Finding { observed, ..finding });
                    Some(NOT_ADMITTED.to_owned())
                }
                Some(Err(why)) => {
                    lost = Some(Finding {
                        cause: Cause::Unknown,
                        observed: why,
                        advice: "no token can be made".to_owned(),
                    });
                    Some(NOT_ADMITTED.to_owned())
                }
                None => Some("the run was interrupted before the control after it".to_owned()),
            };
            fresh.iter_mut().for_each(|played| played.doubt.clone_from(&doubt));
            if doubt.is_none() && self.options.stop.is_some() {
                self.failed += self.failing(&fresh);
            }
            played.append(&mut fresh);
            if self.is_to_stop(0) {
                waiting.clear();
                flying.abort_all();
            }
            if lost.is_some() {
                // Nothing will vouch for what is still in flight.
                waiting.clear();
                flying.abort_all();
            }
        }
        fresh.iter_mut().for_each(|played| played.doubt = Some(NOT_ADMITTED.to_owned()));
        played.extend(fresh);
        lost
    }

    /// Whether the run is to end, with so many failures more than are known for sure.
    fn is_to_stop(&self, more: usize) -> bool {
        self.options.stop.is_some_and(|stop| more + self.failed >= stop.failures)
    }

    /// How many of these trials have failed so badly that it counts, and are not known to.
    fn failing(&self, played: &[Played<'_>]) -> usize {
        if self.options.stop.is_none() {
            return 0;
        }
        let profile = &self.target.profile;
        let fails = |played: &&Played<'_>| {
            let head = &played.trial.head();
            let graded = || {
                let variants = played.trial.case.variants.iter().zip(&played.observations);
                variants
                    .filter_map(|(variant, observation)| {
                        let Body::Steps(steps) = &variant.body else { return None };
                        let fails = |drops| {
                            let learned = Learned { drops, ..Learned::clone(&self.learned) };
                            let checks = judge::session(head, steps, observation, profile, &learned);
                            checks.iter().filter(|check| check.grade == Grade::Fail).map(|check| check.severity).max()
                        };
                        // Whether it refuses by a bare end is known when all is played.
                        fails(Some(false)).min(fails(Some(true)))
                    })
                    .max()
            };
            // A mistake of ours is told when the report is made.
            let worst = std::panic::catch_unwind(AssertUnwindSafe(graded)).unwrap_or(None);
            worst.is_some_and(|severity| self.counts(played, severity))
        };
        played.iter().filter(fails).count()
    }

    /// Whether a failure of this severity is one of those that end the run.
    fn counts(&self, played: &Played<'_>, severity: Severity) -> bool {
        let id = played.trial.id();
        self.options.stop.is_some_and(|stop| severity >= stop.severity)
            && played.trial.wanted
            && !self.target.profile.known_gaps.iter().any(|gap| gap.names(&id))
    }

    fn session(&self, index: usize, trial: &Trial<'_>, actor: Actor) -> Session {
        let variants = &trial.case.variants;
        let target = &self.target;
        let apart = target.profile.user.is_none()
            && target.makes_tokens()
            && variants.len() > 1
            && variants.iter().all(only_pauses);
        let mut seeds = Vec::with_capacity(variants.len());
        let mut parts: Vec<Part> = Vec::with_capacity(variants.len());
        for (number, Variant { body, bound, .. }) in variants.iter().enumerate() {
            let mut actor = actor.clone();
            actor.seed = mix(actor.seed, number as u64);
            actor.bound.clone_from(bound);
            if apart {
                actor.user = format!("{}-{number}", actor.user);
            }
            seeds.push(actor.seed);
            parts.push(self.part(body.clone(), actor));
        }
        Box::pin(async move {
            let (observations, took) = if apart { side_by_side(parts).await } else { one_by_one(parts).await };
            (index, seeds, observations, took)
        })
    }

    /// One variant.
    fn part(&self, body: Body, actor: Actor) -> Part {
        let target = Arc::clone(&self.target);
        let learned = Arc::clone(&self.learned);
        let deadlines = self.deadlines;
        let listener = self.listener.clone();
        let pace = self.pace.clone();
        let wallet = Arc::clone(&self.wallet);
        Box::pin(async move {
            // Before the session, whose tokens are made for the moment in which it begins.
            if let Some(pace) = &pace {
                pace.turn().await;
            }
            // It may have been renewed since the session before.
            let given = wallet.token();
            let context = Context { target: &target, learned: &learned, deadlines, listener: lent(&listener), given };
            let begun = Instant::now();
            let observation = match &body {
                Body::Steps(steps) => play(&context, &actor, steps).await,
                Body::Across(_) | Body::Lint(_) => Observation::default(),
            };
            (observation, begun.elapsed())
        })
    }

    /// How long a trial lasts at least, whatever the target does: its own pauses, and silences that are waited for.
    fn pause(&self, trial: &Trial<'_>) -> Duration {
        let step = |step: &Step| match step {
            Step::Wait(wait) => Duration::from_millis(wait.ms),
            Step::Say(say) if say.how == How::WithPause => PAUSE,
            Step::Receive(receive) if receive.none => self.deadlines.settle,
            Step::Await(wait) => match wait.what {
                Awaited::AuthTimeout { .. } => judge::auth_timeout(self.target.profile.first_message()),
                Awaited::Unheeded | Awaited::NotServed | Awaited::Nothing => self.deadlines.settle,
                _ => Duration::ZERO,
            },
            _ => Duration::ZERO,
        };
        let variant = |variant: &Variant| match &variant.body {
            Body::Steps(steps) => steps.iter().map(step).sum(),
            Body::Across(_) | Body::Lint(_) => Duration::ZERO,
        };
        trial.case.variants.iter().map(variant).sum()
    }
}

async fn one_by_one(parts: Vec<Part>) -> (Vec<Observation>, Duration) {
    let mut observations = Vec::with_capacity(parts.len());
    let mut all = Duration::ZERO;
    for part in parts {
        let (observation, took) = part.await;
        observations.push(observation);
        all += took;
    }
    (observations, all)
}

/// Plays variants at the same time, so that their pauses are one.
async fn side_by_side(parts: Vec<Part>) -> (Vec<Observation>, Duration) {
    let mut observations: Vec<Observation> = parts.iter().map(|_| Observation::default()).collect();
    let mut longest = Duration::ZERO;
    let mut flying = JoinSet::new();
    for (number, part) in parts.into_iter().enumerate() {
        flying.spawn(async move { (number, part.await) });
    }
    while let Some(ended) = flying.join_next().await {
        match ended {
            Ok((number, (observation, took))) => {
                observations[number] = observation;
                longest = longest.max(took);
            }
            Err(error) => {
                // A panic is the trial's, as if there were one variant only.
                if let Ok(payload) = error.try_into_panic() {
                    std::panic::resume_unwind(payload);
                }
            }
        }
    }
    (observations, longest)
}

/// Whether a variant is openings and pauses, so that nothing of it can be in the way of another of another user.
fn only_pauses(variant: &Variant) -> bool {
    let harmless = |step: &Step| matches!(step, Step::Open(_) | Step::Wait(_) | Step::Alive(_));
    match &variant.body {
        Body::Steps(steps) => steps.iter().all(harmless) && steps.iter().any(|step| matches!(step, Step::Wait(_))),
        Body::Across(_) | Body::Lint(_) => false,
    }
}

/// What was played since the last good control; first that whose connection the server broke off.
fn played_since(fresh: &[Played<'_>]) -> String {
    let ids = |broken: bool| {
        let those = fresh.iter().filter(|played| played.is_broken_off() == broken);
        those.map(|played| played.trial.id()).collect::<Vec<_>>().join(", ")
    };
    match (ids(true), ids(false)) {
        (broken, others) if broken.is_empty() => format!("played since the last good control: {others}"),
        (broken, others) if others.is_empty() => {
            format!("played since the last good control, and broken off by the server: {broken}")
        }
        (broken, others) => {
            format!("since the last good control the server broke off {broken}; played as well: {others}")
        }
    }
}

/// Whether the system says that nobody listens, as when the server has ended or is started again. In the words of POSIX
/// systems; on others nobody is suspected.
fn is_away(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unreachable(why) if why.starts_with("Connection refused"))
}

/// What came of a control that was admitted only when it was tried again.
fn not_at_once(outcome: &Outcome) -> String {
    format!("the control after it was not admitted at once ({outcome})")
}

/// How the forged tokens of these trials were refused.
fn forged(played: &[Played<'_>], speaks: bool) -> Vec<Outcome> {
    let outcomes = outcomes(played, speaks);
    let seen = seen(played, &outcomes, |_| true);
    let forged = seen.into_iter().filter(|seen| seen.class == Some(Class::BadSignature) && seen.outcome.is_refused());
    forged.map(|seen| seen.outcome.clone()).collect()
}

/// The words of a panic.
fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().map(str::to_owned);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".to_owned())
}

/// A number that looks unlike its neighbours (SplitMix64).
pub(super) fn mix(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
