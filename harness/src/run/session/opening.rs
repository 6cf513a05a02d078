//! Openings: the request with its token, who is told it where, and what is waited for until an attempt is decided.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::held::alone;
use super::waits::{has_close, has_pong, read_hurried, read_until, send_probe};
use super::{Actor, Context, Session};
use crate::carrier::Placed;
use crate::case::{Abort, Crowd, Expect, Given, Open, Request, Sent};
use crate::judge::Learned;
use crate::observation::{Assembler, Connection, Event, Proofs, STILL_THERE, Trouble, What, before_our_close};
use crate::outcome::{Outcome, Service};
use crate::profile::Carrier;
use crate::run::connection::{Live, Step as Looked};
use crate::run::dial::Door;
use crate::run::runner::mix;
use crate::target::Endpoint;
use crate::token::{Recipe, Token};
use crate::wire::frame;
use crate::wire::frame::Written;
use crate::wire::opening::Opening;
use crate::{carrier, outcome};

impl Session<'_> {
    /// Where an opening that avoids TLS goes.
    fn plain(&self, open: &Open) -> Result<Option<Endpoint>, Trouble> {
        let target = self.context.target;
        match (open.request.plain, target.profile.plain_port) {
            (true, Some(port)) => Ok(Some(Endpoint { tls: false, port, ..target.endpoint.clone() })),
            (true, None) => Err(Trouble::NotApplicable("the profile declares no `plain_port`".to_owned())),
            (false, _) => Ok(None),
        }
    }

    /// The opening request of a token at an endpoint, and the message that tells it where it is told in one.
    fn opening(
        &self,
        open: &Open,
        endpoint: &Endpoint,
        token: Option<&Token>,
        key: &str,
    ) -> Result<(Opening, Option<Vec<u8>>), Trouble> {
        let target = self.context.target;
        let on = open.carry.on.as_ref().unwrap_or(&self.actor.carrier);
        let mut also = Vec::new();
        for extra in &open.carry.also {
            let place = extra.on.as_ref().or_else(|| target.profile.carrier_beside(on));
            let place = place
                .ok_or_else(|| Trouble::NotApplicable("no other carrier is declared beside this one".to_owned()))?;
            also.push((place, self.mint(&extra.token)?));
        }
        let also: Vec<_> =
            also.iter().map(|(on, token)| Placed { on, token: token.as_ref().and_then(Token::bytes) }).collect();
        let main = Placed { on, token: token.and_then(Token::bytes) };
        let declared = &target.profile.carriers;
        if open.carry.undeclared && declared.iter().any(|carrier| carrier.is_same_place(main.on)) {
            return Err(Trouble::NotApplicable("the profile declares this carrier".to_owned()));
        }
        let request = self.request(open, std::iter::once(&main).chain(&also).map(|placed| placed.on))?;
        let opening = carrier::place(endpoint, key, main, &open.carry, &also, &request);
        let first_message = match (main.on, main.token) {
            (Carrier::FirstMessage(first), Some(token)) if open.expect != Expect::Upgraded => {
                Some(first.compose(token))
            }
            _ => None,
        };
        Ok((opening, first_message))
    }

    pub(super) async fn open(&mut self, open: &Open, said: &mut Vec<String>) -> Result<(), Trouble> {
        let target = self.context.target;
        if let Some(pace) = self.context.pace.filter(|_| !self.live.is_empty()) {
            pace.turn().await;
        }
        if let Some(algorithm) = open.token.genuine_algorithm()
            && open.expect == Expect::Refused
            && target.takes(algorithm)
        {
            let name = algorithm.name();
            return Err(Trouble::NotApplicable(format!("the target takes tokens of {name}, and this is one")));
        }
        if target.profile.anonymous && self.shows_none(open) {
            return Err(Trouble::NotApplicable("a client without a token is a guest of this target".to_owned()));
        }
        let token = match (&self.captured, open.captured) {
            (Some(bytes), true) => Some(Token::new(bytes.clone())),
            (None, true) => return Err(Trouble::Fault("no earlier step captured a token".to_owned())),
            (_, false) if open.again => match &self.sent {
                Some(token) => Some(token.clone()),
                None => return Err(Trouble::Fault("no earlier step sent a token".to_owned())),
            },
            (_, false) => self.mint(&open.token)?,
        };
        self.sent.clone_from(&token);
        let key = open.request.key.clone().unwrap_or_else(|| self.websocket_key());
        let plain = self.plain(open)?;
        let door = Door::of(target);
        let door = match (&plain, &open.request.server_name) {
            (Some(endpoint), _) => door.side(endpoint),
            (None, Some(name)) => door.named(name),
            (None, None) => door,
        };
        let endpoint = plain.as_ref().unwrap_or(&target.endpoint);
        let (mut opening, first_message) = self.opening(open, endpoint, token.as_ref(), &key)?;
        let early = self.early(&open.request.early, said);
        if open.request.early_is_body {
            let length: usize =
                early.iter().map(|text| Written::client(frame::TEXT, text.as_bytes(), [0; 4]).to_bytes().len()).sum();
            opening.set("Content-Length", length.to_string());
        }
        let over = open.over.as_ref().map(|name| self.find(name).ok_or(name)).transpose();
        let over = over.map_err(|name| Trouble::Fault(format!("no connection is called `{name}`")))?;

        let word = self.next_word();
        let on = open.carry.on.as_ref().unwrap_or(&self.actor.carrier);
        let deferred = target.profile.first_message().is_some() || matches!(on, Carrier::FirstMessage(_));
        let look = match open.expect {
            Expect::Upgraded => Look::Upgrade,
            Expect::Admitted => Look::Eager,
            // A message that comes before the token was accepted would be answered by a refusal of its own.
            Expect::Either | Expect::Survives | Expect::NoServerError if !deferred => Look::Eager,
            _ if !deferred && open.over.is_none() => Look::Wary,
            _ => Look::Patient,
        };
        let plan = Plan { opening: &opening, early: &early, first_message, deferred, word: &word };
        let dial = self.context.deadlines.dial;
        let live = match over {
            Some(earlier) => Live::over(&open.name, &mut self.live[earlier]),
            None => {
                self.rest().await;
                Live::dial(&open.name, &door, dial).await
            }
        };
        let mut live = self.attempt(live, open, &plan, look).await;
        let may_have_met = matches!(look, Look::Eager | Look::Wary) && open.expect != Expect::Admitted;
        if may_have_met && over.is_none() && outcome_is_drop(&live.log) {
            // The probe may have met a socket that the server had closed, and its reset swallowed the close frame.
            self.rest().await;
            let again = Live::dial(&open.name, &door, dial).await;
            // Where nobody listens any more, the drop was the server's last word.
            if !again.is_over() {
                live = self.attempt(again, open, &plan, Look::Patient).await;
            }
        }
        if let (Expect::Refused | Expect::RefusedInTime, Some(outlives)) = (open.expect, &self.context.outlives) {
            self.doubt(&mut live, &word, outlives).await;
        }
        live.log.key = Some(key);
        live.log.token = token;
        let mut missing = open.given.and_then(|given| missing(given, &live, self.context.learned));
        // Once is enough: what ends them later is for the case.
        if open.given == Some(Given::Together) && missing.is_none() && !self.are_together {
            self.are_together = self.are_open().await;
            let why = "the server ends the session that a user had when the user begins another, which it may";
            missing = (!self.are_together).then_some(why);
        }
        let speaks = self.context.learned.speaks;
        let throttled = matches!(outcome::of_opening(&live.log.events, speaks, open), Outcome::Throttled(_));
        self.live.push(live);
        match missing {
            Some(why) => Err(Trouble::NotApplicable(why.to_owned())),
            None if throttled => Err(Trouble::Throttled),
            None => Ok(()),
        }
    }

    /// Whether it must be refused for the token that it does not show where one is looked for.
    fn shows_none(&self, open: &Open) -> bool {
        let is_kept_out = matches!(open.expect, Expect::Refused | Expect::RefusedInTime | Expect::Upgraded);
        let on = open.carry.on.as_ref().unwrap_or(&self.actor.carrier);
        let is_looked_at = self.context.target.profile.carriers.iter().any(|declared| declared.is_same_place(on));
        // Another value in its place is a bad token.
        let place = if matches!(on, Carrier::Query(_)) { "${param}=" } else { "${token}" };
        let holds_it = |target: &String| {
            target.contains("${target}")
                || target.split_once(place).is_some_and(|(_, rest)| place == "${token}" || !rest.is_empty())
        };
        let is_left_out = on.is_in_url() && !open.request.target.iter().all(holds_it);
        is_kept_out && (matches!(open.token, Recipe::Absent | Recipe::Empty) || !is_looked_at || is_left_out)
    }

    /// Before a client that must be refused counts as admitted by less than a proof, be it a pong or a message that any client
    /// might be told, the server is given all its time to close, and is asked for an answer where it is known to give one: some
    /// greet everybody, or take a second to refuse. Only what would be an accusation waits for this.
    async fn doubt(&self, live: &mut Live, word: &str, outlives: &OnceCell<bool>) {
        let context = self.context;
        let speaks = context.learned.speaks;
        let is_admitted = |log: &Connection| matches!(outcome::of(&log.events, speaks), Outcome::Admitted(_));
        let proofs = Proofs::of(&context.target.profile, context.learned.echo.as_ref());
        let mut service = Service::default();
        let mut is_decided =
            |log: &Connection| has_close(log) || service.proofs_in(before_our_close(&log.events), &proofs) > 0;
        if live.is_over() || !is_admitted(&live.log) || is_decided(&live.log) {
            return;
        }
        let before = live.log.events.len();
        let answer_by = Instant::now() + context.deadlines.answer;
        let is_word = |event: &Event| matches!(&event.what, What::Sent { opcode: Some(frame::PING), payload } if payload == word.as_bytes());
        if !live.log.events.iter().any(is_word) {
            send_probe(live, context, word, answer_by).await;
        }
        read_until(live, answer_by, &mut is_decided).await;
        // Where a good client is ended as soon, for its silence, that is no refusal.
        if (has_close(&live.log) || live.is_over()) && !*outlives.get_or_init(|| self.outlives()).await {
            live.log.events.truncate(before);
        }
    }

    /// Whether a good client that says nothing is still there after the time that a server may take to answer.
    fn outlives(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async move {
            let actor = Actor { seed: mix(self.actor.seed, GOOD), bound: None, ..self.actor.clone() };
            let mut session = Session::new(self.context, &actor);
            // What cannot be seen is not held against the end of the other.
            let opened = session.open(&Open::default(), &mut Vec::new()).await;
            let (Ok(()), Some(mut live)) = (opened, session.live.pop()) else { return true };
            let speaks = self.context.learned.speaks;
            if !matches!(outcome::of(&live.log.events, speaks), Outcome::Admitted(_)) {
                return true;
            }
            read_until(&mut live, Instant::now() + self.context.deadlines.answer, has_close).await;
            let lives = !has_close(&live.log) && !live.is_over();
            live.finish(self.context.deadlines.finish).await;
            lives
        })
    }

    /// Lets the target see what has ended, where it needs to.
    async fn rest(&self) {
        let rest = self.context.deadlines.rest;
        if !rest.is_zero() {
            sleep(rest).await;
        }
    }

    /// Whether the server has ended none of the sessions that we hold.
    async fn are_open(&mut self) -> bool {
        let deadline = Instant::now() + self.context.deadlines.answer;
        let speaks = self.context.learned.speaks;
        let is_session = |live: &&mut Live| {
            !live.is_closing() && matches!(outcome::of(&live.log.events, speaks), Outcome::Admitted(_))
        };
        for live in self.live.iter_mut().filter(is_session) {
            let from = live.log.events.len();
            live.send(frame::PING, STILL_THERE, deadline).await;
            read_until(live, deadline, |log| has_close(log) || has_pong(log, from, STILL_THERE)).await;
            if live.is_over() || live.log.close().is_some() {
                return false;
            }
        }
        true
    }

    /// What the case changes about the request, in the words of this target.
    fn request<'c>(&self, open: &Open, carriers: impl Iterator<Item = &'c Carrier>) -> Result<Request, Trouble> {
        let profile = &self.context.target.profile;
        let carriers: Vec<&Carrier> = carriers.collect();
        let written = self.filled(&open.request)?;
        let request = carrier::fit(&written, profile, &carriers).map_err(Trouble::NotApplicable)?;
        // A near miss of one allowed origin may be another one.
        let allowed = |origin: &str| profile.allowed_origins.iter().any(|one| one == origin);
        let names_origin = carrier::origins(&open.request).next().is_some();
        if names_origin && open.expect == Expect::Refused && carrier::origins(&request).all(allowed) {
            return Err(Trouble::NotApplicable("the origin is one of those that are allowed".to_owned()));
        }
        Ok(request)
    }

    /// Sends the opening on a connection and observes what comes of it.
    async fn attempt(&self, mut live: Live, open: &Open, plan: &Plan<'_>, look: Look) -> Live {
        let mut bytes = plan.opening.to_bytes();
        live.log.sent.clone_from(&bytes);
        for text in plan.early {
            let mask = live.mask();
            live.note_sent(Some(frame::TEXT), text.as_bytes());
            bytes.extend_from_slice(&Written::client(frame::TEXT, text.as_bytes(), mask).to_bytes());
        }
        live.has_greeted |= !plan.early.is_empty();
        live.heartbeat.clone_from(&self.context.target.profile.heartbeat);
        let deadline = self.deadline();
        match open.request.segment_bytes {
            Some(size) => live.write_in_segments(&bytes, size, deadline).await,
            None => live.write(&bytes, deadline).await,
        }
        observe_opening(&mut live, self.context, plan, look).await;
        live
    }

    /// The texts that go with an opening; those that are to be answered are `said`.
    fn early(&mut self, texts: &[String], said: &mut Vec<String>) -> Vec<String> {
        let mut early = Vec::with_capacity(texts.len());
        if let Some(prelude) = self.context.target.profile.prelude.as_ref().filter(|_| !texts.is_empty()) {
            early.push(prelude.send.clone());
        }
        for text in texts {
            if text == "${echo}" {
                let word = self.next_word();
                early.push(self.context.learned.echo.as_ref().map_or_else(|| word.clone(), |echo| echo.compose(&word)));
                said.push(word);
            } else {
                early.push(text.clone());
            }
        }
        early
    }

    /// Begins the opening of a good token and resets the connection.
    pub(super) async fn abort(&mut self, abort: Abort) -> Result<(), Trouble> {
        let open = Open { name: "aborted".to_owned(), ..Open::default() };
        let token = self.mint(&open.token)?;
        let key = self.websocket_key();
        let target = self.context.target;
        let bytes = self.opening(&open, &target.endpoint, token.as_ref(), &key)?.0.to_bytes();
        let line = bytes.iter().position(|byte| *byte == b'\r').unwrap_or(bytes.len());
        let sent = match abort.after {
            Sent::Nothing => 0,
            Sent::HalfALine => line / 2,
            Sent::HalfAHead => line + (bytes.len() - line) / 2,
            Sent::Head => bytes.len(),
        };
        let mut live = Live::dial(&open.name, &Door::of(target), self.context.deadlines.dial).await;
        let deadline = self.deadline();
        live.write(&bytes[..sent], deadline).await;
        live.log.sent = bytes[..sent].to_vec();
        live.log.token = token;
        live.cut();
        self.live.push(live);
        Ok(())
    }

    /// Opens the connections of a crowd, so many at a time, and closes each when it is known what came of it.
    pub(super) async fn crowd(&mut self, crowd: &Crowd) -> Result<(), Trouble> {
        if crowd.times.saturating_mul(crowd.of.len()) > MAX_CROWD {
            return Err(Trouble::Fault(format!("a crowd of more than {MAX_CROWD}")));
        }
        let target = Arc::new(self.context.target.clone());
        let learned = Arc::new(self.context.learned.clone());
        let deadlines = self.context.deadlines;
        // Where all of them are one user, a limit per user would be met.
        let pinned = target.has_one_user();
        let given = self.context.given.clone();
        // Each of them takes its turn.
        let pace = self.context.pace;
        let at_once = if pinned { 1 } else { crowd.at_once.max(1) };
        let mut waiting = crowd.members().enumerate();
        let mut flying = JoinSet::new();
        let mut arrived: Vec<(usize, Result<Connection, Trouble>)> = Vec::new();
        loop {
            while flying.len() < at_once
                && let Some((number, open)) = waiting.next()
            {
                let mut actor = self.actor.clone();
                actor.seed = mix(actor.seed, 1_000 + number as u64);
                if !pinned {
                    actor.user = format!("{}-{number}", actor.user);
                }
                let (open, target, learned) = (open.clone(), Arc::clone(&target), Arc::clone(&learned));
                let given = given.clone();
                let outlives = self.context.outlives.clone();
                if let Some(pace) = pace {
                    pace.turn().await;
                }
                flying.spawn(async move {
                    let context = Context {
                        target: &target,
                        learned: &learned,
                        deadlines,
                        listener: Ok(None),
                        given,
                        pace: None,
                        outlives,
                    };
                    (number, alone(&context, &actor, &open).await)
                });
            }
            match flying.join_next().await {
                None => break,
                Some(Ok(one)) => arrived.push(one),
                Some(Err(error)) => return Err(Trouble::Fault(error.to_string())),
            }
        }
        arrived.sort_by_key(|(number, _)| *number);
        for (_, connection) in arrived {
            self.live.push(Live::past(connection?));
        }
        Ok(())
    }
}

/// Reads the answer to an opening, and after a 101 looks for the proof that the session is served.
async fn observe_opening(live: &mut Live, context: &Context<'_>, plan: &Plan<'_>, look: Look) {
    let word = plan.word;
    let deadlines = context.deadlines;
    let answer_by = Instant::now() + deadlines.answer;
    let begun = Instant::now();
    let upgraded = loop {
        match live.next(answer_by).await {
            Looked::Event => match live.log.events.last().map(|event| &event.what) {
                Some(What::Head(head)) if head.status == 101 => break true,
                Some(What::Head(head)) if head.status >= 200 => break false,
                _ => {}
            },
            Looked::Silence => {
                live.note_silence(begun.elapsed());
                return;
            }
            Looked::Ended => return,
        }
    };
    if !upgraded {
        // A body without a stated length ends with the connection, and some servers leave that open.
        let body_by = Instant::now() + deadlines.settle;
        while live.next(body_by).await == Looked::Event {}
        return;
    }
    if plan.deferred {
        present(live, context, plan, look).await;
        return;
    }
    if look == Look::Upgrade {
        return;
    }
    let welcomed = context.target.profile.welcome.is_some();
    let speaks = context.target.profile.speaks() || context.learned.echo.is_some();
    if look == Look::Eager {
        greet(live, context, answer_by).await;
        if welcomed {
            // Whether the welcome comes is for its own case; service is proved by an answer as well.
            prove(live, context, Instant::now() + deadlines.settle, true).await;
        }
        let asked = !live.log.has_message(0) && live.log.close().is_none() && !live.is_over();
        if asked {
            send_probe(live, context, word, answer_by).await;
            prove(live, context, answer_by, speaks).await;
        }
        // As long as nothing is known of the server, its pong says little.
        let rest = if context.learned.control.is_zero() { deadlines.settle } else { deadlines.hush };
        outlast(live, context, (!asked).then_some(word), rest).await;
        return;
    }
    // A refusing server speaks first. Data sent into a socket that it has closed would make the kernel throw away the
    // close frame that is on its way, so the probe waits until silence.
    let hush_by = Instant::now() + if look == Look::Wary { deadlines.hush } else { deadlines.settle };
    loop {
        match live.next(hush_by).await {
            Looked::Event if live.log.close().is_some() => return,
            Looked::Event => {}
            Looked::Ended => return,
            Looked::Silence => break,
        }
    }
    greet(live, context, answer_by).await;
    if !live.log.has_message(0) {
        send_probe(live, context, word, answer_by).await;
        // A target that answers its clients is given the whole time to do so: some verify slowly after the upgrade,
        // and a pong alone must not make their refusal look like an admission.
        let until = if speaks { Instant::now() + deadlines.answer } else { Instant::now() + deadlines.refusal };
        prove(live, context, until, true).await;
    }
    outlast(live, context, None, deadlines.settle).await;
}

/// Some tell in a message that they refuse, and close a moment later (RFC 6455 §7.3 sets no time). So what was said and is
/// no proof that the client is served, neither the declared welcome nor an answer, is given the time to turn out as that.
///
/// With `probe` the client asks for an answer first, as it has not yet asked; and `rest` is left for a close behind a pong.
async fn outlast(live: &mut Live, context: &Context<'_>, probe: Option<&str>, rest: Duration) {
    let deadlines = context.deadlines;
    let proofs = Proofs::of(&context.target.profile, context.learned.echo.as_ref());
    let mut service = Service::default();
    let mut is_decided =
        |log: &Connection| has_close(log) || service.proofs_in(before_our_close(&log.events), &proofs) > 0;
    if !live.log.has_message(0) || live.is_over() || is_decided(&live.log) {
        return;
    }
    let settle_by = Instant::now() + deadlines.settle;
    if let Some(word) = probe {
        send_probe(live, context, word, settle_by).await;
    }
    // Where no answer is known, a pong shows that the server goes on; a close would be on its heels.
    let ponged = |log: &Connection| proofs.echo.is_none() && log.frames().any(|(_, frame)| frame.opcode == frame::PONG);
    read_hurried(live, settle_by, rest, ponged, &mut is_decided).await;
}

/// Why what a case rests on is not there, if it is not.
fn missing(given: Given, live: &Live, learned: &Learned) -> Option<&'static str> {
    match given {
        Given::Admitted => {
            let admitted = matches!(outcome::of(&live.log.events, learned.speaks), Outcome::Admitted(_));
            (!admitted).then_some("the server does not admit such a token, which it need not")
        }
        Given::Told => {
            let told = live.log.head().is_some() || live.log.end().is_some();
            (!told).then_some("the server does not answer another token of that length either")
        }
        // An error is no decision, and neither is silence.
        Given::Together => matches!(
            outcome::of(&live.log.events, learned.speaks),
            Outcome::RefusedHttp(_)
                | Outcome::RefusedClose { .. }
                | Outcome::RefusedMessage(_)
                | Outcome::OddStatus(_)
                | Outcome::Dropped { .. }
        )
        .then_some("the server does not let one user have so many sessions, which it need not"),
        Given::Compression => {
            (!live.compresses()).then_some("the server does not take the offer to compress, which it need not")
        }
    }
}

/// What an attempt sends.
struct Plan<'a> {
    opening: &'a Opening,
    /// The messages that go with it.
    early: &'a [String],
    /// The message that tells the token.
    first_message: Option<Vec<u8>>,
    /// Whether this target is told its tokens, or some of them, after the upgrade.
    deferred: bool,
    /// The word of the probe.
    word: &'a str,
}

/// How an answer is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Up to the 101.
    Upgrade,
    /// As one who expects to be served: the probe goes out at once.
    Eager,
    /// As one who may be refused: the probe waits until the server has been silent for a moment. Whoever takes longer to
    /// refuse and is met by it is asked again, patiently.
    Wary,
    /// The same, but for the whole settle time.
    Patient,
}

/// Tells the token, if there is one to tell, and looks for the proof that the client is served.
async fn present(live: &mut Live, context: &Context<'_>, plan: &Plan<'_>, look: Look) {
    let deadlines = context.deadlines;
    let proofs = Arc::new(Proofs::of(&context.target.profile, context.learned.echo.as_ref()));
    let awaits_word = plan.first_message.is_some() && !proofs.messages.is_empty();
    let after = context.target.profile.first_message().and_then(|first| first.after.as_ref());
    if let Some(after) = after.filter(|_| look != Look::Upgrade) {
        let mut assembler = Assembler::default();
        let mut came =
            |log: &Connection| std::iter::from_fn(|| assembler.next(&log.events)).any(|one| after.fits(&one.text()));
        let greeted = |log: &Connection| has_close(log) || came(log);
        read_until(live, Instant::now() + deadlines.answer, greeted).await;
    }
    live.note_presented(plan.first_message.is_some(), &proofs);
    let answer_by = Instant::now() + deadlines.answer;
    if look != Look::Upgrade {
        greet(live, context, answer_by).await;
    }
    if let Some(text) = &plan.first_message {
        live.send(frame::TEXT, text, answer_by).await;
    }
    if look == Look::Upgrade {
        return;
    }
    let mut service = Service::default();
    let mut is_refused = false;
    let mut is_decided = |log: &Connection| {
        let served = service.proofs_in(before_our_close(&log.events), &proofs) > 0;
        is_refused = service.is_refused() && !served;
        has_close(log) || served || is_refused
    };
    // Whoever speaks before the token was accepted is refused for that; so the target's own word is waited for, where
    // there is one, and silence where there is none.
    let word_by = if look == Look::Eager && awaits_word { answer_by } else { Instant::now() + deadlines.settle };
    if read_until(live, word_by, &mut is_decided).await || live.is_over() {
        if is_refused && !has_close(&live.log) {
            // A close may follow on its heels.
            read_until(live, Instant::now() + deadlines.settle, has_close).await;
        }
        return;
    }
    let asked = live.log.events.len();
    send_probe(live, context, plan.word, answer_by).await;
    // What was asked first was looked at first; its answer may still be on its way when the pong is here.
    let ponged = |log: &Connection| has_pong(log, asked, plan.word.as_bytes());
    read_hurried(live, Instant::now() + deadlines.answer, deadlines.refusal, ponged, is_decided).await;
}

/// After a 101 the connection ended without a word.
fn outcome_is_drop(log: &Connection) -> bool {
    matches!(outcome::of(&log.events, false), Outcome::Dropped { upgraded: true })
}

/// Reads until the application speaks, the connection closes, or there is nothing left to wait for.
async fn prove(live: &mut Live, context: &Context<'_>, deadline: Instant, speaks: bool) {
    // A pong shows the WebSocket layer only; a close that is on its way must have time to arrive.
    let ponged = |log: &Connection| !speaks && log.frames().any(|(_, frame)| frame.opcode == frame::PONG);
    let proved = |log: &Connection| log.has_message(0) || has_close(log);
    read_hurried(live, deadline, context.deadlines.settle, ponged, proved).await;
}

/// Says what every client says first, once.
async fn greet(live: &mut Live, context: &Context<'_>, deadline: Instant) {
    if let Some(prelude) = context.target.profile.prelude.as_ref().filter(|_| !live.has_greeted) {
        live.has_greeted = true;
        live.send(frame::TEXT, prelude.send.as_bytes(), deadline).await;
    }
}

/// Makes the seed of the good client that is compared with a bad one.
const GOOD: u64 = 2_000;

/// The most connections of a crowd.
const MAX_CROWD: usize = 1_000;
