//! Asks an unknown server what it is like. What to ask and what an answer shows is decided in [`crate::probe`]; here it is
//! asked. Everything is bounded: the connections, their time, the size of what is sent.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::options::Options;
use super::runner::Runner;
use super::session::{Context, Idle, idle, play, unix_now};
use super::wallet::NoToken;
use crate::case::{Await, Awaited, Expect, Open, Request, Say, Step};
use crate::diagnosis::{Attempt, Cause, Finding};
use crate::judge;
use crate::observation::{Connection, Event, Observation, What, before_our_close};
use crate::outcome::Outcome;
use crate::probe::{self, Border, Fact, Findings, Refusal, Told};
use crate::profile::{Carrier, Class, Shape};
use crate::redact::Redactor;
use crate::report::Failure;
use crate::target::Target;
use crate::token::{KeyChoice, Op, Recipe, Sign, Token};
use crate::wire::frame;

/// What a probe is to find out beside the rest, and how far it goes.
#[derive(Debug, Clone, Copy)]
pub struct Wishes {
    /// How long to look whether an idle connection is ended; not at all where this is nothing.
    pub idle: Option<Duration>,
    /// The longest message that is tried, in bytes.
    pub longest_message: u64,
}

impl Wishes {
    /// The most bytes of a message.
    pub const LONGEST_MESSAGE: u64 = 2 << 20;
    /// The most seconds that an idle connection is watched.
    pub const LONGEST_IDLE: u64 = 600;
}

impl Default for Wishes {
    fn default() -> Self {
        Self { idle: None, longest_message: 1 << 20 }
    }
}

/// Seconds that a token may have been over, at most, to be tried.
const LONGEST_LEEWAY: u64 = 3_600;
/// How long the search for the longest message may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Messages by which an echo is looked for, and the word in each.
const ECHOES: &[(&str, &str)] = &[
    ("{message}", "gatecrash-echo"),
    (r#"{"type":"message","message":"{message}"}"#, "gatecrash-json-echo"),
    (r#"{"type":"echo","payload":"{message}"}"#, "gatecrash-echo-payload"),
    (r#"{"type":"test","payload":{"message":"{message}"}}"#, "gatecrash-test-payload"),
    (r#"{"type":"ping","payload":"{message}"}"#, "gatecrash-ping-payload"),
];

/// Probes a server.
///
/// # Errors
///
/// When it cannot be reached, there is no token, or no way is found in which the token opens the gate.
pub async fn probe(target: &Target, options: &Options, wishes: &Wishes) -> Result<Findings, Failure> {
    let redactor = Redactor::for_secrets(&target.secrets);
    let mut runner = Runner::new(target, options);
    runner.outlives = None;
    match runner.fill_wallet(false).await {
        Err(NoToken::Refused(why)) => return Err(Failure::NoToken(redactor.clean(&why))),
        Err(NoToken::Unreachable(why)) => return Err(Failure::Unreachable(redactor.clean(&why))),
        Ok(()) => {}
    }
    let all = async {
        let evidence = runner.find_carrier(&redactor).await?;
        let facts = runner.facts(wishes, &redactor).await;
        let target = &runner.target;
        let carrier = target.profile.carriers[0].clone();
        Ok(Findings { carrier, url: target.endpoint.to_string(), carrier_evidence: evidence, facts })
    };
    match options.interrupt.unless(all).await {
        Some(found) => found,
        None => Err(Failure::Interrupted),
    }
}

/// A token that no server may admit.
fn forged() -> Recipe {
    Recipe::Forge(vec![Op::Sign(Sign { key: Some(KeyChoice::Wrong), with: None })])
}

fn good() -> Open {
    Open::default()
}

fn bad(token: Recipe) -> Open {
    Open { token, expect: Expect::Refused, ..Open::default() }
}

/// The value without secrets and tokens: a server may say anything.
fn redacted(value: Value, redactor: &Redactor) -> Value {
    match value {
        Value::String(text) => Value::String(redactor.redact(&text)),
        Value::Array(items) => items.into_iter().map(|item| redacted(item, redactor)).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, member)| (redactor.redact(&name), redacted(member, redactor))).collect()
        }
        other => other,
    }
}

impl Runner<'_> {
    /// Finds out how the server is told its token, and goes on as if it had been declared so.
    async fn find_carrier(&mut self, redactor: &Redactor) -> Result<String, Failure> {
        let target = Arc::clone(&self.target);
        let mut anybody = None;
        let mut last = None;
        for carrier in probe::carriers(&target) {
            let declared = Attempt { carrier: Some(carrier.clone()), ..Attempt::default() }.target(&target);
            let outcome = self.probe(&declared, good()).await;
            match &outcome {
                Some(Outcome::Admitted(_)) => match self.probe(&declared, bad(forged())).await {
                    Some(refusal) if refusal.is_refused() => {
                        self.target = Arc::new(declared);
                        return Ok(redactor.clean(&format!(
                            "a good token is admitted here, one signed by another key is not: {refusal}"
                        )));
                    }
                    _ => anybody = anybody.or(Some(carrier)),
                },
                Some(Outcome::Unreachable(why)) => return Err(Failure::Unreachable(redactor.clean(why))),
                _ => last = outcome.or(last),
            }
        }
        if let Some(evidence) = self.find_first_message(&target, redactor).await {
            return Ok(evidence);
        }
        let (cause, observed, advice) = match anybody {
            Some(_) => (
                Cause::Anybody,
                "a good token and a forged one are admitted alike".to_owned(),
                "the server lets anybody in, or is told its token in a way that was not tried: name it by --carrier",
            ),
            None => (
                Cause::Unknown,
                last.map_or_else(|| "nothing".to_owned(), |outcome| outcome.to_string()),
                "no way was found in which a good token opens the gate: check the path and the key, and name the place \
                 of the token by --carrier or in the URL; `gatecrash run` with the same arguments tries other spellings \
                 of the secret",
            ),
        };
        Err(Failure::FirstControl(Finding { cause, observed: redactor.clean(&observed), advice: advice.to_owned() }))
    }

    /// The same in the first message, for a server that upgrades everybody.
    async fn find_first_message(&mut self, target: &Arc<Target>, redactor: &Redactor) -> Option<String> {
        for first in probe::first_messages(target) {
            let carrier = Some(Carrier::FirstMessage(first.clone()));
            let declared = Attempt { carrier, ..Attempt::default() }.target(target);
            let told = self.tell(&declared, good()).await?;
            let other = self.tell(&declared, bad(forged())).await?;
            if let Some(understood) = probe::understood(&first, &told, &other) {
                let reply = understood.reply.as_ref().map(Shape::to_string).unwrap_or_default();
                let evidence = format!("a good token is answered by {reply}, one signed by another key is not");
                let carrier = Some(Carrier::FirstMessage(understood));
                self.target = Arc::new(Attempt { carrier, ..Attempt::default() }.target(target));
                Arc::make_mut(&mut self.learned).speaks = true;
                return Some(redactor.clean(&evidence));
            }
        }
        None
    }

    /// What comes of telling a token in a message.
    async fn tell(&mut self, declared: &Target, open: Open) -> Option<Told> {
        let connection = self.see(declared, &[Step::Open(Box::new(open))]).await.connections.into_iter().next()?;
        let heard = connection.messages().iter().map(|message| message.text()).collect();
        let ends = |event: &Event| matches!(event.what, What::End(_));
        let ended = connection.close().is_some() || before_our_close(&connection.events).iter().any(ends);
        Some(Told { heard, ended })
    }

    /// Plays steps against a target that is declared as `declared`.
    async fn see(&mut self, declared: &Target, steps: &[Step]) -> Observation {
        let actor = self.actor(&declared.profile.carriers[0]);
        let context = Context { target: declared, ..self.context() };
        play(&context, &actor, steps).await
    }

    async fn connection(&mut self, steps: &[Step]) -> Option<Connection> {
        let target = Arc::clone(&self.target);
        self.see(&target, steps).await.connections.into_iter().next()
    }

    async fn outcome_of(&mut self, open: Open) -> Option<Outcome> {
        let target = Arc::clone(&self.target);
        self.probe(&target, open).await
    }

    /// Everything that is looked for once the gate opens.
    async fn facts(&mut self, wishes: &Wishes, redactor: &Redactor) -> Vec<Fact> {
        let mut facts = self.of_tokens().await;
        facts.extend(self.welcome().await);
        facts.extend(self.echo().await);
        if self.learned.echo.is_some() {
            facts.extend(self.identity().await);
            facts.push(self.longest_message(wishes.longest_message).await);
        }
        facts.extend(self.subprotocol().await);
        facts.extend(self.pings(wishes.idle).await);
        let clean = |fact: Fact| Fact {
            evidence: redactor.clean(&fact.evidence),
            field: fact.field.map(|(field, value)| (field, redacted(value, redactor))),
        };
        facts.into_iter().map(clean).collect()
    }

    /// How bad tokens are refused, and what is asked of the time of a token.
    async fn of_tokens(&mut self) -> Vec<Fact> {
        let recipe = |ops: &str| serde_json::from_str::<Recipe>(ops).unwrap_or_default();
        let mut seen: Vec<Refusal> = Vec::new();
        let mut facts = Vec::new();
        for (class, words, token) in [
            (Class::Missing, "no token", Recipe::Absent),
            (Class::Malformed, "a text that is no token", Recipe::Literal("not-a-token".to_owned())),
            (Class::BadSignature, "a token signed by another key", forged()),
            (
                Class::Expired,
                "a token that expired a day ago",
                recipe(r#"{"forge":[{"claims":{"exp":"${now-86400}"}}]}"#),
            ),
            (Class::BadClaims, "a token that names nobody", recipe(r#"{"forge":["drop_identity"]}"#)),
        ] {
            match self.outcome_of(bad(token)).await {
                Some(outcome) if outcome.is_refused() => seen.push((class, words, outcome)),
                Some(outcome) => facts.push(Fact::noted(format!("{words}: {outcome}"))),
                None => {}
            }
        }
        let refused = probe::refusals(&seen);
        if self.target.makes_tokens() {
            let without = self.outcome_of(bad(recipe(r#"{"forge":[{"drop_claims":["exp"]}]}"#))).await;
            if let Some(outcome) = without.filter(|outcome| !outcome.is_undecided()) {
                let evidence = format!("a token without exp: {outcome}");
                facts.push(Fact::of("require_exp", outcome.is_refused(), evidence));
            }
            facts.push(self.leeway().await);
        }
        refused.into_iter().chain(facts).collect()
    }

    /// How long a token is admitted after its end.
    async fn leeway(&mut self) -> Fact {
        if self.is_admitted_after(LONGEST_LEEWAY).await {
            return probe::leeway(None, LONGEST_LEEWAY);
        }
        // Most have none.
        if !self.is_admitted_after(1).await {
            return probe::leeway(Some(Border { passes: 0, stops: 1 }), LONGEST_LEEWAY);
        }
        let mut border = Border { passes: 1, stops: LONGEST_LEEWAY };
        while let Some(seconds) = border.next() {
            if border.stops - border.passes <= 4 {
                // A token of whole seconds that is asked for late in a second is over before the answer is understood.
                let now = unix_now();
                sleep(Duration::from_secs_f64(now.ceil() - now)).await;
            }
            let passed = self.is_admitted_after(seconds).await;
            border = border.with(seconds, passed);
        }
        probe::leeway(Some(border), LONGEST_LEEWAY)
    }

    async fn is_admitted_after(&mut self, seconds: u64) -> bool {
        let claims = serde_json::Map::from_iter([("exp".to_owned(), format!("${{now-{seconds}}}").into())]);
        let open = bad(Recipe::Forge(vec![Op::Claims(claims)]));
        self.outcome_of(open).await.is_some_and(|outcome| outcome.is_served())
    }

    /// What is said to whoever is let in. It must come twice to be taken for a welcome.
    async fn welcome(&mut self) -> Option<Fact> {
        let silent = Open { expect: Expect::Upgraded, ..Open::default() };
        let steps = match self.target.profile.first_message() {
            // What is behind the answer to the token.
            Some(_) => [Step::Open(Box::default()), Step::Await(Await::silence())],
            None => [Step::Open(Box::new(silent)), Step::Await(Await::silence())],
        };
        let reply = self.target.profile.greetings().cloned().collect::<Vec<_>>();
        let greets = |connection: Connection| {
            let texts = connection.messages().into_iter().map(|message| message.text());
            texts.into_iter().find(|text| !reply.iter().any(|shape| shape.fits(text)))
        };
        let first = self.connection(&steps).await.and_then(&greets)?;
        let again = self.connection(&steps).await.and_then(&greets)?;
        let shape = probe::sketch(&first);
        let shown: String = first.chars().take(120).collect();
        match shape.fits(&again) {
            true => {
                let value = serde_json::to_value(&shape).unwrap_or_default();
                Some(Fact::of("welcome", value, format!("said without being asked, twice: {shown}")))
            }
            false => Some(Fact::noted(format!("said without being asked, and another time otherwise: {shown}"))),
        }
    }

    /// A message that the server repeats.
    async fn echo(&mut self) -> Option<Fact> {
        self.learn_echo(ECHOES).await;
        match &self.learned.echo {
            Some(echo) => {
                let mut value = serde_json::to_value(echo).unwrap_or_default();
                if let Some(members) = value.as_object_mut() {
                    members.retain(|name, value| name != "broadcast" || value == true);
                }
                Some(Fact::of("echo", value, "the word in it came back; a run finds this out by itself"))
            }
            None => Some(Fact::noted(format!(
                "none of {} messages was repeated: a ping is all that shows service",
                ECHOES.len()
            ))),
        }
    }

    /// Where in what it repeats the server names the bearer.
    async fn identity(&mut self) -> Option<Fact> {
        let steps = [
            Step::Open(Box::default()),
            Step::Say(Say { texts: vec!["hello".to_owned()], ..Say::default() }),
            Step::Await(Await::silence()),
        ];
        let connection = self.connection(&steps).await?;
        let (_, claims) = connection.token.as_ref().and_then(Token::peek)?;
        let names = ["sub", "user_id", "username", "email", "name"];
        let identity = names.iter().find_map(|name| Some((*name, claims.get(*name)?.as_str()?)))?;
        let messages = connection.messages();
        let mut answers = messages
            .iter()
            .filter(|message| judge::answered_by(message, &self.learned).iter().any(|said| !said.is_empty()));
        let found = answers.find_map(|message| Shape::pointer_in(&message.text(), identity.1))?;
        Some(Fact::of("identity_echo", found, format!("there stands what the claim {} of the token says", identity.0)))
    }

    /// The longest message that is answered.
    async fn longest_message(&mut self, largest: u64) -> Fact {
        let deadline = Instant::now() + self.scaled(PATIENCE);
        let mut border = Border { passes: 0, stops: 0 };
        let mut tried = largest.min(1_024);
        let mut end = loop {
            let (passed, how) = self.is_answered(tried).await;
            border = border.with(tried, passed);
            if !passed {
                break how;
            }
            if tried >= largest || Instant::now() > deadline {
                return probe::longest_message(None, tried, "");
            }
            tried = (tried * 4).min(largest);
        };
        if border.passes > 0 {
            while let Some(tried) = border.next().filter(|_| Instant::now() < deadline) {
                let (passed, how) = self.is_answered(tried).await;
                border = border.with(tried, passed);
                if !passed {
                    end = how;
                }
            }
        }
        probe::longest_message(Some(border), largest, &end)
    }

    /// Whether a message of so many bytes is answered; otherwise what came of it.
    async fn is_answered(&mut self, bytes: u64) -> (bool, String) {
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        let say = Step::Say(Say { bytes: vec![length], ..Say::default() });
        let steps = [Step::Open(Box::default()), say, Step::Await(Await { what: Awaited::Heeded, ..Await::silence() })];
        let target = Arc::clone(&self.target);
        let observation = self.see(&target, &steps).await;
        let Some(connection) = observation.connections.first() else { return (false, "no connection".to_owned()) };
        let said = judge::said_on(&observation.marks, 0);
        let answers = judge::answers(connection, 0, &self.learned);
        let ends = |event: &&Event| matches!(event.what, What::End(_));
        let how = match (connection.close(), before_our_close(&connection.events).iter().find(ends)) {
            (Some(close), _) => format!(
                "close {}",
                close.close_code().map_or_else(|| "without a code".to_owned(), |code| code.to_string())
            ),
            (None, Some(_)) => "the connection ends without a close frame".to_owned(),
            (None, None) => "no answer in time".to_owned(),
        };
        (!said.is_empty() && said.iter().all(|text| answers.contains(text)), how)
    }

    /// How an offer of subprotocols is answered that the server cannot know.
    async fn subprotocol(&mut self) -> Option<Fact> {
        const OFFER: [&str; 2] = ["gatecrash.one", "gatecrash.two"];
        if matches!(self.target.profile.carriers.first(), Some(Carrier::Subprotocol(_))) {
            return None;
        }
        let set = [("Sec-WebSocket-Protocol".to_owned(), OFFER.join(", "))].into();
        let request = Request { set, ..Request::default() };
        let open = Open { request, expect: Expect::Upgraded, ..Open::default() };
        let connection = self.connection(&[Step::Open(Box::new(open))]).await?;
        let head = connection.head()?;
        let selected = (head.status == 101).then(|| head.header("sec-websocket-protocol"));
        Some(probe::subprotocol(&OFFER, selected.as_ref().map(|one| one.as_deref())))
    }

    /// Whether pings are answered; and whether the server pings by itself or ends an idle connection, where that is asked.
    async fn pings(&mut self, watch: Option<Duration>) -> Vec<Fact> {
        let ping = Step::Await(Await { what: Awaited::Pong("gatecrash".to_owned()), ..Await::silence() });
        let connection = self.connection(&[Step::Open(Box::default()), ping]).await;
        let ponged =
            connection.is_some_and(|connection| connection.frames().any(|(_, frame)| frame.opcode == frame::PONG));
        let mut facts =
            vec![Fact::noted(if ponged { "a ping is answered by a pong" } else { "no pong answers a ping" })];
        let Some(patience) = watch else { return facts };
        let target = Arc::clone(&self.target);
        let actor = self.actor(&target.profile.carriers[0]);
        let context = Context { target: &target, ..self.context() };
        // What listens within has a deadline of its own; this one is for what it may have overlooked.
        let watched = timeout(patience + Duration::from_secs(30), idle(&context, &actor, patience)).await;
        let Ok(Some(Idle { pings, first_ping, ended })) = watched else { return facts };
        facts.push(Fact::noted(match first_ping {
            Some(at) => format!(
                "it pings by itself: {pings} in {} s, the first after {:.1} s",
                patience.as_secs(),
                at.as_secs_f64()
            ),
            None => format!("it does not ping by itself within {} s", patience.as_secs()),
        }));
        facts.push(Fact::noted(match ended {
            Some((at, how)) => {
                format!("a connection on which nothing is said is ended after {:.1} s: {how}", at.as_secs_f64())
            }
            None => format!("a connection on which nothing is said lives for {} s at least", patience.as_secs()),
        }));
        facts
    }
}
