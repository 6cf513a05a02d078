//! Plays trials side by side, with controls in between, and decides which of them are played once more.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{Instant, sleep};

use super::played::{Played, forged, played_since};
use super::runner::{Away, Runner, Vouched, lent, mix};
use super::session::{Actor, Context, PAUSE, play};
use crate::case::{Awaited, Body, How, Issued, Step, Variant};
use crate::diagnosis::{Cause, Finding};
use crate::judge;
use crate::observation::Observation;
use crate::plan::Trial;

/// Trials between two controls (rule R17).
const BATCH: usize = 25;
/// Why what a trial saw among others is not believed.
const TURNED_AWAY: &str = "it was turned away while others were served, which a limit of connections may do";
/// How long a server may need to take note that a session is over.
const VACATING: Duration = Duration::from_millis(200);
/// Why nothing that a trial saw is believed.
const NOT_ADMITTED: &str = "the control after it was not admitted";

/// Is told of each trial as it ends.
type Ended<'e> = &'e mut (dyn FnMut(&Trial<'_>) + Send);

/// One trial in flight.
type Session = Pin<Box<dyn Future<Output = Landed> + Send>>;

/// What one variant saw, and how long that took.
type Part = Pin<Box<dyn Future<Output = (Observation, Duration)> + Send>>;

/// What one trial comes back with.
struct Landed {
    /// Its place in the group.
    index: usize,
    /// The seeds of its variants.
    seeds: Vec<u64>,
    /// What each of them saw.
    observations: Vec<Observation>,
    took: Duration,
}

/// What some trials came to.
#[derive(Default)]
struct Plays<'t> {
    played: Vec<Played<'t>>,
    /// One of these may have ended the server, or was turned away where there were too many: to be played by themselves.
    suspects: Vec<&'t Trial<'t>>,
    /// Why no control is admitted any more.
    lost: Option<Finding>,
}

impl Runner<'_> {
    /// Plays what can be played: most side by side, some alone. With the likely cause where a control was lost for good.
    pub(super) async fn play_all<'t>(
        &mut self,
        trials: &'t [Trial<'t>],
        ended: Ended<'_>,
    ) -> (Vec<Played<'t>>, Option<Finding>) {
        let runnable = |trial: &&Trial<'_>| trial.skip.is_none() && trial.is_played();
        let (alone, together): (Vec<_>, Vec<_>) =
            trials.iter().filter(runnable).partition(|trial| trial.case.head.alone);
        // Whoever fails to sign in often enough is locked out, which must not meet those who sign in as they should.
        let (failing, together): (Vec<_>, Vec<_>) = together.into_iter().partition(|trial| fails_to_sign_in(trial));
        // With one real token everybody is one user, whose sessions the target may have limited to a few.
        let at_once = self.serves_at_once(self.options.jobs).await;
        if at_once {
            self.deadlines.rest = Duration::ZERO;
        }
        let many = self.target.makes_tokens() && at_once;
        let jobs = if many { self.options.jobs.max(1) } else { 1 };
        let Plays { mut played, mut suspects, mut lost } = Group::new(self, &together, jobs).play(ended).await;
        if !failing.is_empty() && lost.is_none() && !self.is_to_stop(0) {
            let later = Group::new(self, &failing, jobs).play(ended).await;
            played.extend(later.played);
            suspects.extend(later.suspects);
            lost = later.lost;
        }
        // Told to have ended already.
        let mut silent = |_: &Trial<'_>| ();
        let suspects = suspects.into_iter().map(|trial| (trial, true));
        for (trial, again) in suspects.chain(alone.into_iter().map(|trial| (trial, false))) {
            if lost.is_none() && !self.options.interrupt.is_requested() && !self.is_to_stop(0) {
                let ended = if again { &mut silent as Ended<'_> } else { &mut *ended };
                let mut by_itself = Group::new(self, &[trial], 1).play(ended).await;
                let is_full = |played: &Played<'_>| {
                    let is_sure = played.doubt.is_none() && played.killed.is_none() && !played.is_broken_off();
                    is_sure && played.is_turned_away()
                };
                if by_itself.lost.is_none() && by_itself.played.iter().any(is_full) {
                    // The seat of whoever was there before may not be free yet.
                    sleep(self.scaled(VACATING)).await;
                    by_itself = Group::new(self, &[trial], 1).play(&mut silent).await;
                }
                played.extend(by_itself.played);
                lost = by_itself.lost;
            }
        }
        // What a suspect saw by itself stands in the place of what it saw among others.
        let mut last = HashSet::new();
        played.reverse();
        played.retain(|played| last.insert(std::ptr::from_ref(played.trial)));
        played.reverse();
        (played, lost)
    }
}

/// Whether the trial signs in with what must not be good.
fn fails_to_sign_in(trial: &Trial<'_>) -> bool {
    let fails = |step: &Step| match step {
        Step::Http(http) if http.endpoint == "login" => {
            http.issued == Some(Issued::Nothing) || http.answer.status.first().is_some_and(|status| *status >= 400)
        }
        _ => false,
    };
    trial.case.variants.iter().any(|variant| matches!(&variant.body, Body::Steps(steps) if steps.iter().any(fails)))
}

/// Trials that are played side by side, with a control after every [`BATCH`] that ended and after the last.
///
/// A control speaks for the trials that ended before it began; those that are still in flight wait for the next. One that is
/// admitted only when it is repeated speaks for nothing: while the target refused everybody, a refusal proved nothing. The
/// trials before it are then played once more, because most limits and restarts are over by then; if it happens to them
/// again they stay inconclusive, and the run goes on. When none is admitted nothing more is begun, and the likely cause is
/// given back.
///
/// Where the server was away, one of those whose connection it broke off may have ended it: they become `suspects`, to be
/// played one by one. Who is played so has ended it where that happens twice more, and the server is one that we have
/// started: of another it is not known whether it ended, or whoever stands before it, or why.
struct Group<'r, 'o, 't> {
    runner: &'r mut Runner<'o>,
    trials: &'r [&'t Trial<'t>],
    /// How many may be in flight: as many as were asked for, and fewer where the server turns some away.
    jobs: usize,
    /// Whether others are played at the same time.
    is_crowded: bool,
    /// How many were begun.
    begun: usize,
    /// How many of them when `jobs` was last made smaller.
    eased: usize,
    /// The next one is the last.
    waiting: Vec<(usize, Actor)>,
    flying: JoinSet<Landed>,
    /// Whose task it is.
    tasks: HashMap<task::Id, usize>,
    /// When each was begun: it is the so-manieth.
    in_flight: HashMap<usize, usize>,
    /// Those for which no control has spoken yet.
    fresh: Vec<Played<'t>>,
    /// Those that are played once more, or were.
    replayed: HashSet<usize>,
    /// Those that were in flight while the target refused everybody, or was away; whether it was away, and what was seen.
    spoilt: HashMap<usize, (bool, String)>,
    /// Those after which, played by themselves, the server was away.
    struck: HashSet<usize>,
    done: Plays<'t>,
}

impl<'r, 'o, 't> Group<'r, 'o, 't> {
    fn new(runner: &'r mut Runner<'o>, trials: &'r [&'t Trial<'t>], jobs: usize) -> Self {
        let mut group = Self {
            runner,
            trials,
            jobs,
            is_crowded: jobs > 1,
            begun: 0,
            eased: 0,
            waiting: Vec::new(),
            flying: JoinSet::new(),
            tasks: HashMap::new(),
            in_flight: HashMap::new(),
            fresh: Vec::new(),
            replayed: HashSet::new(),
            spoilt: HashMap::new(),
            struck: HashSet::new(),
            done: Plays::default(),
        };
        for index in (0..trials.len()).rev() {
            group.wait(index);
        }
        // The last is begun first: whoever waits longest waits while the others are played. The others keep their order.
        let (runner, waiting) = (&group.runner, &mut group.waiting);
        waiting.sort_by_cached_key(|(index, _)| runner.pause(trials[*index]));
        group
    }

    async fn play(mut self, ended: Ended<'_>) -> Plays<'t> {
        loop {
            self.begin();
            match self.next().await {
                None if self.fresh.is_empty() || self.done.lost.is_some() => break,
                None => {}
                Some(Ok(landed)) => {
                    if !self.replayed.contains(&landed.index) {
                        ended(self.trials[landed.index]);
                    }
                    self.land(landed);
                }
                Some(Err(error)) => self.crash(error),
            }
            if self.is_control_due() {
                self.look().await;
            }
        }
        for fresh in self.fresh {
            self.done.played.push(Played { doubt: Some(NOT_ADMITTED.to_owned()), ..fresh });
        }
        self.done
    }

    /// Has a trial wait for its turn, which comes next.
    fn wait(&mut self, index: usize) {
        let trial = self.trials[index];
        let actor = self.runner.actor(&trial.carrier);
        self.waiting.push((index, actor));
    }

    /// Begins as many as may be in flight.
    fn begin(&mut self) {
        if self.runner.options.interrupt.is_requested() {
            self.waiting.clear();
        }
        while self.flying.len() < self.jobs
            && let Some((index, actor)) = self.waiting.pop()
        {
            let session = self.runner.session(index, self.trials[index], actor);
            self.begun += 1;
            self.in_flight.insert(index, self.begun);
            self.tasks.insert(self.flying.spawn(session).id(), index);
        }
    }

    /// The next one that ends; none where nothing is in flight.
    async fn next(&mut self) -> Option<Result<Landed, JoinError>> {
        let interrupt = &self.runner.options.interrupt;
        tokio::select! {
            ended = self.flying.join_next() => return ended,
            () = interrupt.requested(), if !self.flying.is_empty() => (),
        }
        self.stop();
        self.flying.join_next().await
    }

    /// Begins nothing more, and ends what is in flight: nothing will vouch for it.
    fn stop(&mut self) {
        self.waiting.clear();
        self.flying.abort_all();
    }

    fn land(&mut self, landed: Landed) {
        let Landed { index, seeds, observations, took } = landed;
        let number = self.in_flight.remove(&index).unwrap_or_default();
        let done =
            Played { seeds, took, ..Played::ended(self.trials[index], observations, self.runner.learned.speaks) };
        if self.is_turned_away(&done) {
            self.ease(number);
        }
        match self.spoilt.remove(&index) {
            None => self.fresh.push(done),
            Some((true, seen)) if done.is_broken_off() => self.suspect(done, seen),
            Some((_, seen)) if self.done.lost.is_some() || !self.replayed.insert(index) => {
                self.done.played.push(Played { doubt: Some(format!("{seen}, twice")), ..done });
            }
            Some(_) => self.wait(index),
        }
    }

    /// Whether it may be that there were too many.
    fn is_turned_away(&self, done: &Played<'_>) -> bool {
        self.is_crowded && done.is_turned_away()
    }

    /// Has fewer in flight, once for all that were begun when there were as many.
    fn ease(&mut self, number: usize) {
        if number > self.eased {
            self.jobs = (self.jobs / 2).max(1);
            self.eased = self.begun;
        }
    }

    /// A panic is ours: it is reported where it happened, and the other cases keep their verdicts.
    fn crash(&mut self, error: JoinError) {
        let index = self.tasks.get(&error.id()).copied();
        if let (Ok(payload), Some(index)) = (error.try_into_panic(), index) {
            self.in_flight.remove(&index);
            self.spoilt.remove(&index);
            let panicked = Some(panic_text(payload.as_ref()));
            self.fresh.push(Played { panicked, ..Played::of(self.trials[index]) });
        }
    }

    /// Leaves it to a later look, by itself.
    fn suspect(&mut self, done: Played<'t>, seen: String) {
        self.done.suspects.push(done.trial);
        self.done.played.push(Played { doubt: Some(seen), ..done });
    }

    fn is_control_due(&self) -> bool {
        let fresh = self.fresh.len();
        // A failure counts beside a control like everything else; where it may end the run, that comes at once.
        let may_stop =
            || self.runner.options.stop.is_some() && self.runner.is_to_stop(self.runner.failing(&self.fresh));
        let are_all_back = || self.flying.is_empty() && self.waiting.is_empty() && fresh > 0;
        self.done.lost.is_none() && (fresh >= BATCH || may_stop() || are_all_back())
    }

    /// Plays a control, which speaks for what has ended since the last, or does not.
    async fn look(&mut self) {
        let (runner, fresh) = (&mut *self.runner, &self.fresh);
        let interrupt = runner.options.interrupt.clone();
        let target = Arc::clone(&runner.target);
        let doubt = match interrupt.unless(runner.vouch(|| forged(fresh, &target))).await {
            Some(Ok(Vouched::For)) => None,
            Some(Ok(Vouched::Again { seen, away })) => {
                self.doubt(away, &seen).await;
                Some(format!("{seen}, twice"))
            }
            Some(Ok(Vouched::Never(finding))) => {
                let observed = format!("{}; {}", finding.observed, played_since(&self.fresh));
                self.done.lost = Some(Finding { observed, ..finding });
                Some(NOT_ADMITTED.to_owned())
            }
            Some(Err(observed)) => {
                let advice = "no token can be made".to_owned();
                self.done.lost = Some(Finding { cause: Cause::Unknown, observed, advice });
                Some(NOT_ADMITTED.to_owned())
            }
            None => Some("the run was interrupted before the control after it".to_owned()),
        };
        let fresh = std::mem::take(&mut self.fresh);
        // While the control was admitted, these were not.
        let (turned_away, fresh): (Vec<_>, Vec<_>) =
            fresh.into_iter().partition(|done| doubt.is_none() && self.is_turned_away(done));
        if doubt.is_none() && self.runner.options.stop.is_some() {
            self.runner.failed += self.runner.failing(&fresh);
        }
        for done in turned_away {
            self.suspect(done, TURNED_AWAY.to_owned());
        }
        self.done.played.extend(fresh.into_iter().map(|played| Played { doubt: doubt.clone(), ..played }));
        if self.done.lost.is_some() || self.runner.is_to_stop(0) {
            self.stop();
        }
    }

    /// The control was admitted at last, but not at once: what ended before it is played once more, unless it was already.
    async fn doubt(&mut self, away: Away, seen: &str) {
        let among_others = self.trials.len() > 1;
        let is_suspicious = away != Away::No && among_others;
        if away == Away::No {
            self.ease(self.begun);
        }
        self.spoilt.extend(self.in_flight.keys().map(|index| (*index, (is_suspicious, seen.to_owned()))));
        for mut done in std::mem::take(&mut self.fresh) {
            let Some(index) = self.trials.iter().position(|trial| std::ptr::eq(*trial, done.trial)) else { continue };
            let is_struck = away == Away::Ended && done.is_broken_off();
            if is_suspicious && done.is_broken_off() {
                self.suspect(done, seen.to_owned());
            } else if self.replayed.insert(index) {
                if is_struck {
                    self.struck.insert(index);
                }
                self.wait(index);
            } else {
                if is_struck && self.struck.contains(&index) && self.runner.is_steady(done.took).await {
                    done.killed = Some(seen.to_owned());
                    let severity = judge::severity_of_death(&done.trial.head());
                    self.runner.failed += usize::from(self.runner.counts(&done, severity));
                }
                self.fresh.push(done);
            }
        }
    }
}

impl Runner<'_> {
    /// One trial, to be begun when it is its turn.
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
            Landed { index, seeds, observations, took }
        })
    }

    /// One variant.
    fn part(&self, body: Body, actor: Actor) -> Part {
        let target = Arc::clone(&self.target);
        let learned = Arc::clone(&self.learned);
        let deadlines = self.deadlines;
        let listener = self.listener.clone();
        let pace = self.pace.clone();
        let outlives = self.outlives.clone();
        let wallet = Arc::clone(&self.wallet);
        Box::pin(async move {
            // Before the session, whose tokens are made for the moment in which it begins.
            if let Some(pace) = &pace {
                pace.turn().await;
            }
            // It may have been renewed since the session before.
            let given = wallet.token();
            let listener = lent(&listener);
            let context = Context {
                target: &target,
                learned: &learned,
                deadlines,
                listener,
                given,
                pace: pace.as_deref(),
                outlives,
            };
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

/// The words of a panic.
pub(super) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().map(str::to_owned);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".to_owned())
}
