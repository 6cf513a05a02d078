//! What a run holds from its first connection to its last, and the connections that are no trial: controls, the witness,
//! and what is asked of the target before the first case.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::listener::Listener;
use super::options::Options;
use super::pace::Pace;
use super::played::Played;
use super::session::{Actor, Context, Deadlines, control, play, witness};
use super::wallet::{NoToken, Wallet};
use crate::case::{self, Body, Given, Open, Step};
use crate::diagnosis::{Finding, Lost};
use crate::judge::{self, Learned};
use crate::need::Need;
use crate::observation::{Connection, Event, Proofs, Trouble, What, before_our_close};
use crate::outcome::{self, Outcome};
use crate::plan::Trial;
use crate::profile::{Carrier, Echo, Shape};
use crate::target::{Target, algorithm_of};
use crate::verdict::{Grade, Severity};

/// The longest single wait that a `Retry-After` may ask for, and the longest of a whole run.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);

const MAX_PATIENCE: Duration = Duration::from_secs(15);

/// How long a target whose sessions are all of one user is let be before each: it may bear one at a time, and has yet to see
/// that the last is over.
const REST: Duration = Duration::from_millis(30);

/// The least time that a server is given to refuse after the upgrade, before it is spoken to.
const HUSH: Duration = Duration::from_millis(20);

/// Messages by which an echo is looked for, and the word in each.
const ECHOES: &[(&str, &str)] =
    &[("{message}", "gatecrash-echo"), ("{\"type\":\"message\",\"message\":\"{message}\"}", "gatecrash-json-echo")];

/// What is seen of a server that ended and was back before the next control.
const WITNESS_ENDED: &str = "the session that was held beside it was ended";

pub(super) struct Runner<'a> {
    pub(super) target: Arc<Target>,
    pub(super) learned: Arc<Learned>,
    pub(super) deadlines: Deadlines,
    pub(super) options: &'a Options,
    pub(super) controls: Vec<Outcome>,
    pub(super) actors: u64,
    pub(super) listener: Result<Option<Arc<Listener>>, String>,
    /// The real token, where tokens are not made.
    pub(super) wallet: Arc<Wallet>,
    /// How much longer this run may wait for limiters to be over.
    pub(super) patience: Duration,
    pub(super) pace: Option<Arc<Pace>>,
    pub(super) outlives: Option<Arc<OnceCell<bool>>>,
    /// How many trials have failed for sure, as far as that ends the run.
    pub(super) failed: usize,
    /// Whether the server has broken off the session of the witness since the last control.
    pub(super) witness_is_lost: Arc<AtomicBool>,
}

/// Whether the server was away between two controls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Away {
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
pub(super) enum Vouched {
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

/// A session that is held while the others are played.
pub(super) struct Witness {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Option<Connection>>,
}

impl Witness {
    /// Ends it, and tells how it was found.
    pub(super) async fn end(self) -> Option<Connection> {
        let _ = self.stop.send(());
        self.task.await.ok().flatten()
    }
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
            outlives: Some(Arc::default()),
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
            pace: self.pace.as_deref(),
            outlives: self.outlives.clone(),
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
    pub(super) async fn listen(&mut self, trials: &[Trial<'_>]) {
        let asks = |trial: &Trial<'_>| trial.skip.is_none() && trial.case.head.needs.contains(&Need::Listener);
        if trials.iter().any(asks) {
            let started = Listener::start(self.target.profile.listener.as_ref()).await;
            self.listener = started.map(|listener| Some(Arc::new(listener)));
        }
    }

    /// Writes down what came to the listener from each session.
    pub(super) fn collect_fetches(&self, played: &mut [Played<'_>]) {
        let Ok(Some(listener)) = &self.listener else { return };
        for played in played.iter_mut() {
            for (seed, observation) in played.seeds.iter().zip(&mut played.observations) {
                observation.fetches = Some(listener.fetches(*seed));
            }
        }
    }

    pub(super) async fn control(&mut self) -> Result<Tried, String> {
        let carrier = self.target.profile.carriers[0].clone();
        let actor = self.actor(&carrier);
        if let Some(pace) = &self.pace {
            pace.turn().await;
        }
        let context = self.context();
        let begun = Instant::now();
        let connection = control(&context, &actor).await?;
        let proofs = Proofs::of(&self.target.profile, self.learned.echo.as_ref());
        let outcome = outcome::of_control(&connection.events, self.learned.speaks, &proofs);
        if self.controls.is_empty() {
            // What came last, and not how long nothing came after it, nor when we took leave.
            let came = |event: &&Event| !matches!(event.what, What::Silence(_) | What::Sent { .. });
            let control =
                before_our_close(&connection.events).iter().rfind(came).map_or(begun.elapsed(), |event| event.at);
            Arc::make_mut(&mut self.learned).control = control;
            self.deadlines = deadlines(&self.target, self.options, control);
        }
        self.controls.push(outcome.clone());
        Ok(Tried { outcome, connection })
    }

    /// The control that everything rests on; it also teaches how this target answers.
    pub(super) async fn first_control(&mut self) -> Result<Tried, String> {
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
            let messages: Vec<String> = observation
                .connections
                .iter()
                .flat_map(|connection| connection.messages())
                .map(|message| message.text())
                .collect();
            // Some acknowledge a message and pass it on as well: what fits both would count as two answers.
            // Who says the very same twice doubles its answers, which is to be seen.
            let fits_one = |shape: &Shape| {
                let mut fit =
                    messages.iter().filter(|text| shape.answered(text).is_some_and(|answered| answered == word));
                let first = fit.next();
                fit.all(|other| Some(other) == first)
            };
            let shape = messages.iter().filter_map(|text| Shape::around(text, word)).find(fits_one);
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
    pub(super) async fn witness(&mut self) -> Option<Witness> {
        if self.target.has_one_user() {
            return None;
        }
        let carrier = self.target.profile.carriers[0].clone();
        let actor = self.actor(&carrier);
        let (target, learned, deadlines) = (Arc::clone(&self.target), Arc::clone(&self.learned), self.deadlines);
        let (opened, is_open) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let (lost, outlives) = (Arc::clone(&self.witness_is_lost), self.outlives.clone());
        let task = tokio::spawn(async move {
            let context = Context {
                target: &target,
                learned: &learned,
                deadlines,
                listener: Ok(None),
                given: None,
                pace: None,
                outlives,
            };
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
    pub(super) async fn serves_at_once(&mut self, sessions: usize) -> bool {
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
        let turns_away = |trouble: &Trouble| matches!(trouble, Trouble::NotApplicable(_) | Trouble::Throttled);
        !seen.marks.iter().any(|mark| mark.trouble.as_ref().is_some_and(turns_away))
    }

    /// Whether the server lives on for as long as that, when nothing is asked of it. One that ends by itself now and then
    /// would seem to be ended by whatever is played at the time.
    pub(super) async fn is_steady(&mut self, while_it_took: Duration) -> bool {
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
    pub(super) async fn vouch(&mut self, forged: impl FnOnce() -> Vec<Outcome>) -> Result<Vouched, String> {
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

    /// Whether the run is to end, with so many failures more than are known for sure.
    pub(super) fn is_to_stop(&self, more: usize) -> bool {
        self.options.stop.is_some_and(|stop| more + self.failed >= stop.failures)
    }

    /// How many of these trials have failed so badly that it counts, and are not known to.
    pub(super) fn failing(&self, played: &[Played<'_>]) -> usize {
        if self.options.stop.is_none() {
            return 0;
        }
        let profile = &self.target.profile;
        // Whether it refuses by a bare end is known when all is played.
        let drops = |drops| Learned { drops: Some(drops), ..Learned::clone(&self.learned) };
        let (never, habitually) = (drops(false), drops(true));
        let fails = |played: &&Played<'_>| {
            let head = &played.trial.head();
            let graded = || {
                let variants = played.trial.case.variants.iter().zip(&played.observations);
                variants
                    .filter_map(|(variant, observation)| {
                        let Body::Steps(steps) = &variant.body else { return None };
                        let worst = |learned| {
                            let checks = judge::session(head, steps, observation, profile, learned);
                            checks.iter().filter(|check| check.grade == Grade::Fail).map(|check| check.severity).max()
                        };
                        worst(&never).min(worst(&habitually))
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
    pub(super) fn counts(&self, played: &Played<'_>, severity: Severity) -> bool {
        let id = played.trial.id();
        self.options.stop.is_some_and(|stop| severity >= stop.severity)
            && played.trial.wanted
            && !self.target.profile.known_gaps.iter().any(|gap| gap.names(&id))
    }
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
        hush: scale((control * 4).clamp(HUSH, settle.max(HUSH))),
        rest: if target.has_one_user() { scale(REST) } else { Duration::ZERO },
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

/// A number that looks unlike its neighbours (SplitMix64).
pub(super) fn mix(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The listener as a session is told of it.
pub(super) fn lent(listener: &Result<Option<Arc<Listener>>, String>) -> Result<Option<&Listener>, &str> {
    listener.as_ref().map(Option::as_deref).map_err(String::as_str)
}
