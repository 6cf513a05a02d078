//! Plays the steps of one variant against the target and writes down what came back.
//!
//! Every wait ends by an event; its deadline is only for targets that stay silent.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::connection::{Live, Step as Looked};
use super::dial::Door;
use super::listener::Listener;
use super::schedule::mix;
use crate::carrier::{self, Placed};
use crate::case::{
    Abort, Awaited, Bound, Close, Crowd, Expect, FrameText, Given, Hello, How, Http, Label, OfLimit, Open, Receive,
    Request, Say, Send, Sent, Share, Step,
};
use crate::hex;
use crate::judge::{self, Learned, WORD_PREFIX};
use crate::kept::{self, Kept};
use crate::observation::{Assembler, Awaiting, Connection, Mark, Observation, Proofs, Trouble, What, before_our_close};
use crate::outcome::{self, Outcome, Service};
use crate::profile::{Carrier, Echo, HttpEndpoint};
use crate::target::{Endpoint, Target, Templates};
use crate::token::{ForgeError, Mint, Recipe, Token, fill, forge};
use crate::transcript;
use crate::wire::answer::Head;
use crate::wire::frame::{self, LengthForm, Written};
use crate::wire::opening::Opening;
use crate::wire::tls::client_hello;

/// How long each kind of wait may take. All scale together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// For a connection to be made.
    pub(super) dial: Duration,
    /// For an answer to a request, or a message that must come.
    pub(super) answer: Duration,
    /// For a close frame after the upgrade, before silence counts as being let in.
    pub(super) settle: Duration,
    /// For a close frame of a target that is not known to say anything to an admitted client.
    pub(super) refusal: Duration,
    /// For the end of a connection that the harness has closed.
    pub(super) finish: Duration,
}

/// What a session needs to know.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) target: &'a Target,
    pub(super) learned: &'a Learned,
    pub(super) deadlines: Deadlines,
    /// The harness's own listener; none where no case needs one, or why there is none.
    pub(super) listener: Result<Option<&'a Listener>, &'a str>,
    /// The real token, where tokens are not made.
    pub(super) given: Option<Token>,
}

/// Whose tokens a session sends, and when.
#[derive(Debug, Clone)]
pub(super) struct Actor {
    /// The identity of the valid token.
    pub(super) user: String,
    /// Makes the random parts of its tokens and messages.
    pub(super) seed: u64,
    /// The carrier tokens ride in unless the case says otherwise.
    pub(super) carrier: Carrier,
    /// The word of the profile that this variant runs for.
    pub(super) bound: Option<Bound>,
}

/// Plays `steps` and tells what happened.
pub(super) async fn play(context: &Context<'_>, actor: &Actor, steps: &[Step]) -> Observation {
    let mut session = Session::new(context, actor);
    for (index, step) in steps.iter().enumerate() {
        session.step(index, step).await;
        // What follows rests on a thing that is not there.
        let rests = |trouble: &Trouble| matches!(trouble, Trouble::NotApplicable(_) | Trouble::NothingKept);
        if session.marks.last().is_some_and(|mark| mark.trouble.as_ref().is_some_and(rests)) {
            break;
        }
    }
    let finish = context.deadlines.finish;
    let kept = session.kept.into_values().collect();
    let mut connections = Vec::with_capacity(session.live.len());
    for mut live in session.live {
        live.finish(finish).await;
        connections.push(live.log);
    }
    // What comes to the listener may come late; it is written down when the run has ended.
    Observation { began: session.now, connections, marks: session.marks, kept, fetches: None }
}

/// Seconds since 1970.
pub(super) fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

struct Session<'a> {
    context: &'a Context<'a>,
    actor: &'a Actor,
    now: f64,
    live: Vec<Live>,
    marks: Vec<Mark>,
    said: usize,
    captured: Option<Vec<u8>>,
    /// What steps have kept for later ones.
    kept: Kept,
    /// Behind which event of a connection the next `receive` looks.
    received: BTreeMap<usize, usize>,
    /// What `${listener}` stands for.
    address: Option<String>,
    /// The token of the last opening.
    sent: Option<Token>,
    /// What is left of a message whose first half stood in a frame.
    second_half: String,
}

impl<'a> Session<'a> {
    fn new(context: &'a Context<'a>, actor: &'a Actor) -> Self {
        let address = context.listener.ok().flatten().map(|listener| listener.address(actor.seed));
        Self {
            address,
            context,
            actor,
            now: unix_now(),
            live: Vec::new(),
            marks: Vec::new(),
            said: 0,
            second_half: String::new(),
            captured: None,
            kept: Kept::new(),
            received: BTreeMap::new(),
            sent: None,
        }
    }

    async fn step(&mut self, index: usize, written: &Step) {
        let filled = kept::fill(written, &self.kept).map_err(Trouble::Fault);
        let step = match filled.and_then(|step| self.shaped(step)) {
            Ok(step) => step,
            Err(trouble) => {
                self.marks.push(Mark {
                    step: index,
                    connection: usize::MAX,
                    trouble: Some(trouble),
                    ..Mark::default()
                });
                return;
            }
        };
        self.play(index, &step).await;
        if let (Cow::Owned(step), Some(mark)) = (step, self.marks.last_mut()) {
            mark.filled = Some(Box::new(step));
        }
    }

    /// A step that waits for a message, with the words of this session in what that looks like.
    fn shaped<'s>(&self, step: Cow<'s, Step>) -> Result<Cow<'s, Step>, Trouble> {
        let Step::Receive(receive) = step.as_ref() else { return Ok(step) };
        let like = match &receive.like {
            Some(shape) if shape.texts().iter().any(|text| text.contains("${")) => shape,
            _ => return Ok(step),
        };
        let like = Some(like.with_texts(|text| self.worded(text))?);
        Ok(Cow::Owned(Step::Receive(Receive { like, ..receive.clone() })))
    }

    async fn play(&mut self, index: usize, step: &Step) {
        let opens = matches!(step, Step::Open(_) | Step::Http(_) | Step::Hello(_) | Step::Abort(_) | Step::Crowd(_));
        let connection = if opens { self.live.len() } else { self.find(step.on()).unwrap_or(usize::MAX) };
        let from = match step {
            _ if opens => 0,
            Step::Receive(_) => self.received.get(&connection).copied().unwrap_or_default(),
            _ => self.live.get(connection).map_or(0, |live| live.log.events.len()),
        };
        let mut said = Vec::new();
        let done = match step {
            Step::Open(open) => self.open(open, &mut said).await,
            Step::Http(http) => self.http(http).await,
            Step::Hello(hello) => {
                self.hello(*hello).await;
                Ok(())
            }
            Step::Abort(abort) => self.abort(*abort).await,
            Step::Crowd(crowd) => self.crowd(crowd).await,
            _ if connection == usize::MAX && !matches!(step, Step::Wait(_) | Step::Fetches(_)) => {
                Err(Trouble::Fault(format!("no connection is called `{}`", step.on())))
            }
            Step::Say(say) => match too_much(say, self.context.target.profile.max_message_bytes) {
                Some(trouble) => Err(trouble),
                None => match self.compose(say) {
                    Ok(composed) => {
                        said = composed;
                        self.say(connection, say, &said).await;
                        Ok(())
                    }
                    Err(trouble) => Err(trouble),
                },
            },
            Step::Receive(receive) => self.receive(connection, from, receive).await,
            Step::Hear(_) | Step::Alive(_) | Step::Await(_) => {
                self.listen(connection, from, step).await;
                Ok(())
            }
            Step::Send(send) => self.send(connection, send).await,
            Step::Close(close) => {
                self.close(connection, close).await;
                Ok(())
            }
            Step::Wait(wait) => {
                sleep(Duration::from_millis(wait.ms)).await;
                Ok(())
            }
            Step::Cut(_) => {
                self.live[connection].cut();
                Ok(())
            }
            // Looked at in the end.
            Step::Fetches(_) => Ok(()),
        };
        let to = self.live.get(connection).map_or(0, |live| live.log.events.len());
        self.marks.push(Mark { step: index, connection, from, to, said, trouble: done.err(), filled: None });
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.context.deadlines.answer
    }

    fn mint(&self, recipe: &Recipe) -> Result<Option<Token>, Trouble> {
        let token = self.minting(|mint| forge(recipe, mint))?;
        Ok((!token.is_absent()).then_some(token))
    }

    /// Makes something of what the target's tokens are made of.
    fn minting<T>(&self, make: impl FnOnce(&Mint<'_>) -> Result<T, ForgeError>) -> Result<T, Trouble> {
        let target = self.context.target;
        let templates = Templates::of(&target.profile);
        // Where a `jti` is good for one opening, each opening has one of its own.
        let turn = if target.profile.jti_single_use { self.live.len() as u64 } else { 0 };
        let mut mint = target.mint(&templates, self.now, &self.actor.user, self.actor.seed.wrapping_add(turn));
        mint.listener = self.address.as_deref();
        mint.given = self.context.given.as_ref().and_then(Token::bytes);
        if let Some(bound) = &self.actor.bound {
            bound.put(&mut mint.words);
        }
        make(&mint).map_err(|error| {
            let why = match (&error, self.context.listener) {
                (ForgeError::Undeclared("listener"), Err(why)) => format!("the harness has no listener: {why}"),
                _ => error.to_string(),
            };
            if error.is_not_applicable() { Trouble::NotApplicable(why) } else { Trouble::Fault(why) }
        })
    }

    /// The request with the words of the target put into its texts.
    fn filled(&self, written: &Request) -> Result<Request, Trouble> {
        self.minting(|mint| {
            let mut request = written.clone();
            let values = request.set.values_mut().chain(request.add.iter_mut().map(|(_, value)| value));
            for text in request.query.iter_mut().chain(values) {
                *text = fill(text, mint)?;
            }
            Ok(request)
        })
    }

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
        let mut also = Vec::new();
        for extra in &open.carry.also {
            also.push((&extra.on, self.mint(&extra.token)?));
        }
        let also: Vec<_> =
            also.iter().map(|(on, token)| Placed { on, token: token.as_ref().and_then(Token::bytes) }).collect();
        let on = open.carry.on.as_ref().unwrap_or(&self.actor.carrier);
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

    async fn open(&mut self, open: &Open, said: &mut Vec<String>) -> Result<(), Trouble> {
        let target = self.context.target;
        if let Some(algorithm) = open.token.genuine_algorithm()
            && open.expect == Expect::Refused
            && target.takes(algorithm)
        {
            let name = algorithm.name();
            return Err(Trouble::NotApplicable(format!("the target takes tokens of {name}, and this is one")));
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
            _ => Look::Patient,
        };
        let plan = Plan { opening: &opening, early: &early, first_message, deferred, word: &word };
        let dial = self.context.deadlines.dial;
        let live = match over {
            Some(earlier) => Live::over(&open.name, &mut self.live[earlier]),
            None => Live::dial(&open.name, &door, dial).await,
        };
        let mut live = self.attempt(live, open, &plan, look).await;
        if look == Look::Eager && over.is_none() && open.expect != Expect::Admitted && outcome_is_drop(&live.log) {
            // The probe may have met a socket that the server had closed, and its reset swallowed the close frame.
            live = Live::dial(&open.name, &door, dial).await;
            live = self.attempt(live, open, &plan, Look::Patient).await;
        }
        live.log.key = Some(key);
        live.log.token = token;
        let missing = open.given.and_then(|given| missing(given, &live, self.context.learned));
        self.live.push(live);
        missing.map_or(Ok(()), |why| Err(Trouble::NotApplicable(why.to_owned())))
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
    async fn abort(&mut self, abort: Abort) -> Result<(), Trouble> {
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
    async fn crowd(&mut self, crowd: &Crowd) -> Result<(), Trouble> {
        if crowd.times.saturating_mul(crowd.of.len()) > MAX_CROWD {
            return Err(Trouble::Fault(format!("a crowd of more than {MAX_CROWD}")));
        }
        let target = Arc::new(self.context.target.clone());
        let learned = Arc::new(self.context.learned.clone());
        let deadlines = self.context.deadlines;
        // Where all of them are one user, a limit per user would be met.
        let pinned = target.has_one_user();
        let given = self.context.given.clone();
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
                flying.spawn(async move {
                    let context = Context { target: &target, learned: &learned, deadlines, listener: Ok(None), given };
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

    fn websocket_key(&self) -> String {
        let mut bytes = [0_u8; 16];
        bytes[..8].copy_from_slice(&self.actor.seed.to_be_bytes());
        bytes[8..].copy_from_slice(&(self.live.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
        STANDARD.encode(bytes)
    }

    /// A word that stands in no other message of the run.
    fn next_word(&mut self) -> String {
        self.said += 1;
        format!("{WORD_PREFIX}{:08x}-{}", self.actor.seed as u32, self.said)
    }

    /// A text of a case with the words of the target and of this session put in.
    fn worded(&self, text: &str) -> Result<String, Trouble> {
        if text.contains("${") { self.minting(|mint| fill(text, mint)) } else { Ok(text.to_owned()) }
    }

    fn compose(&mut self, say: &Say) -> Result<Vec<String>, Trouble> {
        let mut said = Vec::new();
        let limit = self.context.target.profile.max_message_bytes.and_then(|limit| usize::try_from(limit).ok());
        // What the target does not take is no message to be answered; whether the limit itself is one, is `longest`'s question.
        let below = say.bytes.iter().copied().filter(|length| limit.is_none_or(|limit| *length < limit));
        let lengths: Vec<usize> = below.chain(limit.filter(|_| say.longest)).collect();
        for text in &say.texts {
            let text = self.worded(text)?;
            if say.verbatim {
                said.push(text);
            } else {
                said.push(format!("{} {text}", self.next_word()));
            }
        }
        for _ in 0..say.count {
            said.push(self.next_word());
        }
        for length in &lengths {
            let word = self.next_word();
            let empty = self.context.learned.echo.as_ref().map_or(0, |echo| echo.compose("").len());
            let padding = length.saturating_sub(empty + word.len());
            said.push(word + &"x".repeat(padding));
        }
        Ok(said)
    }

    async fn say(&mut self, connection: usize, say: &Say, said: &[String]) {
        let Some(echo) = &self.context.learned.echo else { return };
        let deadline = self.deadline();
        let live = &mut self.live[connection];
        let mut together = Vec::new();
        for message in said {
            let text = with_members(echo.compose(message), &say.with);
            let mask = if say.how == How::ZeroMask { [0; 4] } else { live.mask() };
            let mut message = Written::client(frame::TEXT, text.as_bytes(), mask);
            if say.how != How::Uncompressed {
                live.compress(&mut message);
            }
            let bytes = match say.how {
                How::Fragments => fragments(&message),
                _ => message.to_bytes(),
            };
            live.note_sent(Some(frame::TEXT), text.as_bytes());
            match say.how {
                How::OneSegment => together.extend_from_slice(&bytes),
                How::ByteByByte => live.write_in_segments(&bytes, 1, deadline).await,
                How::Rapid | How::Fragments | How::ZeroMask | How::Uncompressed => live.write(&bytes, deadline).await,
                How::WithPause => {
                    let head = bytes.len() - message.payload.len();
                    live.write(&bytes[..head], deadline).await;
                    // Not to wait for something: the pause is what the case is about.
                    sleep(PAUSE).await;
                    live.write(&bytes[head..], deadline.max(Instant::now() + PAUSE)).await;
                }
                How::InTurn => {
                    let before = live.log.events.len();
                    live.write(&bytes, deadline).await;
                    while !live.log.has_message(before) {
                        if live.next(deadline).await != Looked::Event {
                            break;
                        }
                    }
                }
            }
        }
        if !together.is_empty() {
            live.write(&together, deadline).await;
        }
    }

    async fn send(&mut self, connection: usize, send: &Send) -> Result<(), Trouble> {
        let deadline = self.deadline();
        let profile = &self.context.target.profile;
        let limit = profile.max_message_bytes;
        let keepalive = profile.keepalive_text.as_ref();
        if send.keepalives > 0 && keepalive.is_none() {
            return Err(Trouble::NotApplicable("the profile declares no `keepalive_text`".to_owned()));
        }
        let keepalives = keepalive.into_iter().cycle().take(send.keepalives.min(MAX_SAID)).cloned();
        let texts = send.texts.iter().map(|text| self.worded(text)).collect::<Result<Vec<_>, _>>()?;
        for text in texts.into_iter().chain(keepalives) {
            self.live[connection].send(frame::TEXT, text.as_bytes(), deadline).await;
        }
        for frame in &send.frames {
            let frame = self.with_echo(frame)?;
            let live = &mut self.live[connection];
            let mask = live.mask();
            let mut written = written(&frame, mask, limit)?;
            live.note_sent(Some(written.opcode), &written.payload);
            if frame.deflate {
                live.compress(&mut written);
            }
            live.write(&written.to_bytes(), deadline).await;
        }
        Ok(())
    }

    /// The frame with its share of a message that the target answers.
    fn with_echo<'f>(&mut self, frame: &'f FrameText) -> Result<Cow<'f, FrameText>, Trouble> {
        let Some(share) = frame.echo else { return Ok(Cow::Borrowed(frame)) };
        let text = if share == Share::End {
            std::mem::take(&mut self.second_half)
        } else {
            let word = self.next_word();
            let Some(echo) = &self.context.learned.echo else {
                return Err(Trouble::NotApplicable("this target is not known to answer messages".to_owned()));
            };
            let mut text = echo.compose(&word);
            if share == Share::Begin {
                let middle = text.char_indices().map(|(at, _)| at).nth(text.chars().count() / 2).unwrap_or_default();
                self.second_half = text.split_off(middle);
            }
            text
        };
        Ok(Cow::Owned(FrameText { text, ..frame.clone() }))
    }

    async fn close(&mut self, connection: usize, close: &Close) {
        let deadline = self.deadline();
        let live = &mut self.live[connection];
        let payload = match close.code {
            Some(code) => [&code.to_be_bytes(), close.reason.as_bytes()].concat(),
            None => Vec::new(),
        };
        live.send(frame::CLOSE, &payload, deadline).await;
    }

    /// Waits until the judge has what it needs for this step, or the deadline passes.
    async fn listen(&mut self, connection: usize, from: usize, step: &Step) {
        let deadlines = self.context.deadlines;
        let learned = self.context.learned;
        let word = self.next_word();
        let heard = match step {
            Step::Hear(hear) => {
                let speaker = hear.from.as_ref().and_then(|name| self.find(name)).unwrap_or(connection);
                judge::said_on(&self.marks, speaker)
            }
            _ => vec![word.clone()],
        };
        let live = &mut self.live[connection];
        let answer_by = Instant::now() + deadlines.answer;
        match step {
            Step::Hear(_) => {
                let (mut answers, mut count) = (Answers::to(&heard, 0, learned), 0);
                let all = |log: &Connection| {
                    count += answers.more(log);
                    count >= heard.len()
                };
                if read_until(live, answer_by, all).await && !has_close(&live.log) {
                    // What is sent twice comes before the pong to a ping that is sent now.
                    let settle_by = Instant::now() + deadlines.settle;
                    live.send(frame::PING, b"flush", settle_by).await;
                    read_until(live, settle_by, |log| has_pong(log, from, b"flush")).await;
                }
            }
            Step::Alive(_) => {
                send_probe(live, self.context, &word, answer_by).await;
                let mut answers = Answers::to(&heard, from, learned);
                read_until(live, answer_by, |log| {
                    has_close(log)
                        || if learned.echo.is_some() {
                            answers.more(log) > 0
                        } else {
                            has_pong(log, from, word.as_bytes())
                        }
                })
                .await;
            }
            Step::Await(wait) => match &wait.what {
                Awaited::Welcome => {
                    read_until(live, answer_by, |log| log.has_message(0) || has_close(log)).await;
                }
                Awaited::Pong(payload) => {
                    live.send(frame::PING, payload.as_bytes(), answer_by).await;
                    read_until(live, answer_by, |log| has_close(log) || has_pong(log, from, payload.as_bytes())).await;
                }
                Awaited::Closed | Awaited::ClosedCleanly => {
                    read_until(live, answer_by, |_| false).await;
                }
                Awaited::Failed => {
                    // Whatever comes first tells: the end of the session, or a sign that it lives. A reset that swallows
                    // the close frame is an end too.
                    live.send(frame::PING, b"still there", answer_by).await;
                    read_until(live, answer_by, |log| has_close(log) || has_pong(log, from, b"still there")).await;
                    if !has_close(&live.log) && !live.is_over() {
                        // The layer below may answer the ping before the one above has looked at the message.
                        let settle_by = Instant::now() + deadlines.settle;
                        read_until(live, settle_by, has_close).await;
                    }
                }
                Awaited::WellFormedClose | Awaited::LegalCloseCode => {}
                Awaited::Ended => {
                    read_until(live, Instant::now() + deadlines.refusal, has_close).await;
                }
                Awaited::AuthTimeout { pings } => {
                    let timeout = judge::auth_timeout(self.context.target.profile.first_message());
                    outwait(live, timeout, *pings).await;
                }
                Awaited::NotServed => {
                    let settle_by = Instant::now() + deadlines.settle;
                    read_until(live, settle_by, has_close).await;
                }
                Awaited::Heeded => {
                    let said = judge::said_on(&self.marks, connection);
                    let mut answers = Answers::to(&said, 0, learned);
                    let (mut count, mut wanted) = (0, said.len());
                    if let Some(echo) = learned.echo.as_ref().filter(|echo| !echo.is_faithful()) {
                        wanted += judge::probes(&live.log, echo).len();
                    }
                    let done = |log: &Connection| {
                        count += answers.more(log);
                        has_close(log) || count >= wanted
                    };
                    read_until(live, answer_by, done).await;
                }
                Awaited::Unheeded => {
                    live.turn_behind();
                    let settle_by = Instant::now() + deadlines.settle;
                    read_until(live, settle_by, |_| false).await;
                }
                Awaited::HungUp => {
                    read_until(live, answer_by, |_| false).await;
                }
                Awaited::Released => {
                    let kept = live.log.head().is_some_and(Head::keeps_alive);
                    if live.turn_behind() {
                        if kept {
                            let another = Opening::http("GET", &self.context.target.endpoint.host_header(), "/");
                            live.write(&another.to_bytes(), answer_by).await;
                        }
                        let came = |log: &Connection| log.events.len() > from;
                        read_until(live, answer_by, came).await;
                    }
                }
                Awaited::NoAbruptEnd | Awaited::Nothing => {
                    let settle_by = Instant::now() + deadlines.settle;
                    read_until(live, settle_by, |log| has_close(log) || log.has_message(from)).await;
                }
            },
            _ => {}
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.live.iter().rposition(|live| live.log.name == name)
    }

    /// Greets the endpoint in an old version of TLS and reads the first answer.
    async fn hello(&mut self, hello: Hello) {
        let target = self.context.target;
        let mut live = Live::dial("hello", &Door::of(target).by_hand(), self.context.deadlines.dial).await;
        let deadline = self.deadline();
        live.write(&client_hello(hello.version, &target.endpoint.host, self.actor.seed), deadline).await;
        let begun = Instant::now();
        if live.next(deadline).await == Looked::Silence {
            live.note_silence(begun.elapsed());
        }
        self.live.push(live);
    }

    async fn http(&mut self, http: &Http) -> Result<(), Trouble> {
        let target = self.context.target;
        let (endpoint, declared) = match target.profile.http.get(&http.endpoint) {
            Some(declared) => (target.endpoint.clone(), declared.clone()),
            None if http.endpoint == "jwks" => key_set(target)?,
            None => {
                return Err(Trouble::NotApplicable(format!("the profile declares no endpoint `{}`", http.endpoint)));
            }
        };
        let declared = &declared;
        let bearer = match &http.bearer {
            Some(recipe) => self.mint(recipe)?,
            None => None,
        };
        let opening = request(endpoint.host_header(), declared, http, bearer.as_ref());
        let door = Door::of(target).at(&endpoint);
        let mut live = Live::dial(transcript::HTTP, &door, self.context.deadlines.dial).await;
        let bytes = opening.to_bytes();
        let deadline = self.deadline();
        live.write(&bytes, deadline).await;
        live.log.sent = bytes;
        live.log.token = bearer;
        while live.next(deadline).await == Looked::Event {}
        if http.capture {
            self.captured = http.capture_from.as_ref().or(declared.token.as_ref()).and_then(|pointer| {
                let body: Value = serde_json::from_slice(live.log.body()).ok()?;
                body.pointer(pointer)?.as_str().map(|token| token.as_bytes().to_vec())
            });
        }
        let asked_to_wait = live.log.head().is_some_and(|head| head.status == 429);
        let answered = live.log.head().is_some_and(|head| head.status == 200);
        let kept =
            kept::find_all(&http.keep, &String::from_utf8_lossy(live.log.body()), live.log.head()).map_err(|_| ());
        self.live.push(live);
        if (http.capture || !http.keep.is_empty()) && asked_to_wait {
            return Err(Trouble::NotApplicable("the endpoint asks to slow down".to_owned()));
        }
        self.kept.extend(kept.map_err(|()| Trouble::NothingKept)?);
        // An answer without the token is graded by itself; no later step can be played.
        match (&http.capture_from, http.capture && self.captured.is_none()) {
            (_, false) => Ok(()),
            // The profile does not promise it.
            (Some(pointer), true) if answered => {
                Err(Trouble::NotApplicable(format!("the answer of the endpoint has no `{pointer}`")))
            }
            _ => Err(Trouble::NothingKept),
        }
    }

    /// Waits for a message, and keeps what later steps need of it.
    async fn receive(&mut self, connection: usize, from: usize, receive: &Receive) -> Result<(), Trouble> {
        let deadlines = self.context.deadlines;
        let live = &mut self.live[connection];
        let wait = if receive.none { deadlines.settle } else { deadlines.answer };
        let mut awaiting = Awaiting::new(from, receive);
        let mut found = None;
        read_until(live, Instant::now() + wait, |log| {
            found = awaiting.look(&log.events);
            found.is_some() || has_close(log)
        })
        .await;
        match found {
            Some(received) => {
                self.received.insert(connection, received.message.event + 1);
                self.kept.extend(received.kept);
                Ok(())
            }
            None if receive.keep.is_empty() || receive.none => Ok(()),
            None => Err(Trouble::NothingKept),
        }
    }
}

/// Where the target publishes its keys.
fn key_set(target: &Target) -> Result<(Endpoint, HttpEndpoint), Trouble> {
    let none = |why: String| Trouble::NotApplicable(why);
    let url = target.profile.jwks_url.as_ref().ok_or_else(|| none("the profile declares no `jwks_url`".to_owned()))?;
    let endpoint = Endpoint::parse(url).map_err(|error| none(error.to_string()))?;
    if endpoint.tls && target.trust.is_none() {
        return Err(none(
            "`jwks_url` is encrypted, and only where the endpoint is so as well is TLS set up".to_owned(),
        ));
    }
    let path =
        if endpoint.query.is_empty() { endpoint.path.clone() } else { format!("{}?{}", endpoint.path, endpoint.query) };
    let declared = HttpEndpoint {
        path,
        method: "GET".to_owned(),
        form: BTreeMap::new(),
        json: None,
        token: None,
        answer: BTreeMap::new(),
        refusal: BTreeMap::new(),
    };
    Ok((endpoint, declared))
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
        if !live.log.has_message(0) && live.log.close().is_none() && !live.is_over() {
            send_probe(live, context, word, answer_by).await;
            prove(live, context, answer_by, speaks).await;
        }
        return;
    }
    // A refusing server speaks first. Data sent into a socket that it has closed would make the kernel throw away the
    // close frame that is on its way, so the probe waits until silence.
    let settle_by = Instant::now() + deadlines.settle;
    loop {
        match live.next(settle_by).await {
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
}

/// Why what a case rests on is not there, if it is not.
fn missing(given: Given, live: &Live, learned: &Learned) -> Option<&'static str> {
    match given {
        Given::Admitted => {
            let admitted = matches!(outcome::of(&live.log.events, learned.speaks), Outcome::Admitted(_));
            (!admitted).then_some("the server does not admit such a token, which it need not")
        }
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
    /// As one who may be refused: the probe waits until the server has been silent for the settle time.
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

/// A message in JSON with further members; any other message as it is.
fn with_members(text: String, with: &Map<String, Value>) -> String {
    match serde_json::from_str::<Map<String, Value>>(&text) {
        Ok(mut members) if !with.is_empty() => {
            members.extend(with.clone());
            Value::Object(members).to_string()
        }
        _ => text,
    }
}

/// Says what every client says first, once.
async fn greet(live: &mut Live, context: &Context<'_>, deadline: Instant) {
    if let Some(prelude) = context.target.profile.prelude.as_ref().filter(|_| !live.has_greeted) {
        live.has_greeted = true;
        live.send(frame::TEXT, prelude.send.as_bytes(), deadline).await;
    }
}

/// Sends what an admitted client would get an answer to.
async fn send_probe(live: &mut Live, context: &Context<'_>, word: &str, deadline: Instant) {
    if let Some(echo) = &context.learned.echo {
        let text = echo.compose(word);
        live.send(frame::TEXT, text.as_bytes(), deadline).await;
    }
    live.send(frame::PING, word.as_bytes(), deadline).await;
}

/// Waits for the server to end a connection that shows no token; a promise, so that no hurry shortens it.
async fn outwait(live: &mut Live, timeout: Duration, pings: bool) {
    let begun = Instant::now();
    let deadline = begun + timeout;
    let every = if pings { (timeout / 8).clamp(Duration::from_millis(50), Duration::from_secs(1)) } else { timeout };
    let mut ping_at = begun + every;
    while !has_close(&live.log) && !live.is_over() && Instant::now() < deadline {
        if live.next(ping_at.min(deadline)).await == Looked::Silence {
            if pings && Instant::now() < deadline {
                live.send(frame::PING, b"still here", deadline).await;
            }
            ping_at = Instant::now() + every;
        }
    }
    if !has_close(&live.log) && !live.is_over() {
        live.note_silence(begun.elapsed());
    }
}

/// Reads until `done` says so (true), or the deadline passes or nothing more can come (false).
async fn read_until(live: &mut Live, deadline: Instant, done: impl FnMut(&Connection) -> bool) -> bool {
    read_hurried(live, deadline, Duration::ZERO, |_| false, done).await
}

/// As [`read_until`]; once there is a reason to `hurry`, only this `rest` of the time is left, counted from the beginning.
async fn read_hurried(
    live: &mut Live,
    mut deadline: Instant,
    rest: Duration,
    hurry: impl Fn(&Connection) -> bool,
    mut done: impl FnMut(&Connection) -> bool,
) -> bool {
    let begun = Instant::now();
    loop {
        if done(&live.log) {
            return true;
        }
        if hurry(&live.log) {
            deadline = deadline.min(begun + rest);
        }
        match live.next(deadline).await {
            Looked::Event => {}
            Looked::Ended => return done(&live.log),
            Looked::Silence => {
                live.note_silence(begun.elapsed());
                return false;
            }
        }
    }
}

/// Counts the answers on a connection as they come in; a flood of them must not be read again for each.
struct Answers<'a> {
    said: HashSet<&'a str>,
    from: usize,
    learned: &'a Learned,
    assembler: Assembler,
}

impl<'a> Answers<'a> {
    /// Answers to these messages. Where everybody hears everybody, what others said is none.
    fn to(said: &'a [String], from: usize, learned: &'a Learned) -> Self {
        let said = said.iter().map(String::as_str).collect();
        Self { said, from, learned, assembler: Assembler::default() }
    }

    /// How many came in since the last look.
    fn more(&mut self, log: &Connection) -> usize {
        let Self { said, from, learned, assembler } = self;
        // An echo that tells what it answers answers an empty text by an empty one, and that may not have been said here.
        let tells = learned.echo.as_ref().is_some_and(Echo::is_faithful);
        let ours = |answer: String| (answer.is_empty() && !tells) || said.contains(answer.as_str());
        std::iter::from_fn(|| assembler.next(&log.events))
            .filter(|message| message.event >= *from && judge::answer(message, learned).is_some_and(ours))
            .count()
    }
}

fn has_close(log: &Connection) -> bool {
    log.close().is_some()
}

fn has_pong(log: &Connection, from: usize, payload: &[u8]) -> bool {
    log.events.iter().skip(from).any(
        |event| matches!(&event.what, What::Frame(frame) if frame.opcode == frame::PONG && frame.payload == payload),
    )
}

/// The most connections of a crowd.
const MAX_CROWD: usize = 1_000;
/// How long a frame's head stands alone.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// The most messages of one step, and the most bytes of one message or frame: a case of a stranger must not exhaust us.
const MAX_SAID: usize = 10_000;
const MAX_SAID_BYTES: usize = 64 << 20;

fn too_much(say: &Say, limit: Option<u64>) -> Option<Trouble> {
    if say.longest && limit.is_none_or(|limit| limit > MAX_SAID_BYTES as u64) {
        return Some(Trouble::NotApplicable(format!("`max_message_bytes` of at most {MAX_SAID_BYTES} is needed")));
    }
    let total = say.bytes.iter().try_fold(0_usize, |total, bytes| total.checked_add(*bytes));
    let fits = say.count <= MAX_SAID && total.is_some_and(|total| total <= MAX_SAID_BYTES);
    (!fits).then(|| Trouble::Fault(format!("it says more than {MAX_SAID} messages or {MAX_SAID_BYTES} bytes")))
}

/// A message in three fragments.
fn fragments(message: &Written) -> Vec<u8> {
    let third = message.payload.len().div_ceil(3).max(1);
    let mut bytes = Vec::new();
    for index in 0..3 {
        let part = message.payload.get(index * third..).map_or(&[][..], |rest| &rest[..third.min(rest.len())]);
        // The first tells what the message is, and whether it is compressed.
        let (opcode, rsv) = if index == 0 { (message.opcode, message.rsv) } else { (0, 0) };
        let written = Written { fin: index == 2, opcode, rsv, payload: part.to_vec(), ..message.clone() };
        bytes.extend_from_slice(&written.to_bytes());
    }
    bytes
}

/// The frame that a case describes, with this masking key, before it is compressed; `limit` is the longest message.
pub(crate) fn written(text: &FrameText, mask: [u8; 4], limit: Option<u64>) -> Result<Written, Trouble> {
    let one = match &text.hex {
        Some(digits) => hex::read(digits)
            .ok_or_else(|| Trouble::Fault(format!("`{digits}` is not an even number of hex digits")))?,
        None => text.text.clone().into_bytes(),
    };
    let payload = match (text.of_limit, limit) {
        (None, _) => {
            one.len().checked_mul(text.times).filter(|length| *length <= MAX_SAID_BYTES).map(|_| one.repeat(text.times))
        }
        (Some(_), None) => {
            return Err(Trouble::NotApplicable("the profile declares no `max_message_bytes`".to_owned()));
        }
        (Some(OfLimit { parts, plus }), Some(limit)) => {
            let length = usize::try_from((limit / parts.max(1)).saturating_add(plus)).ok();
            length
                .filter(|length| *length <= MAX_SAID_BYTES)
                .map(|length| one.iter().copied().cycle().take(length).collect())
        }
    };
    let Some(payload) = payload else {
        return Err(Trouble::Fault(format!("a frame of more than {MAX_SAID_BYTES} bytes")));
    };
    let length = match (text.announce, text.length_bits) {
        (Some(announced), _) => LengthForm::Announce(announced),
        (None, Some(16)) => LengthForm::Bits16,
        (None, Some(64)) => LengthForm::Bits64,
        (None, _) => LengthForm::Minimal,
    };
    Ok(Written {
        fin: text.fin,
        rsv: text.rsv,
        opcode: text.opcode,
        mask: text.masked.then_some(mask),
        length,
        payload,
    })
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// The request to a declared endpoint, with what the case changes about it.
pub(crate) fn request(host: String, declared: &HttpEndpoint, http: &Http, bearer: Option<&Token>) -> Opening {
    let method = http.method.as_ref().unwrap_or(&declared.method);
    let label = |is: &'static str, other: &'static str| match http.labelled {
        None => is,
        Some(Label::Text) => "text/plain",
        Some(Label::Other) => other,
    };
    let mut opening = Opening::http(method, &host, declared.path.clone());
    opening.add("Connection", "close");
    if let Some(token) = bearer {
        opening.add("Authorization", [b"Bearer ", token.bytes().unwrap_or_default()].concat());
    }
    let body = if let Some(json) = &declared.json {
        let mut json = json.clone();
        if let Value::Object(members) = &mut json {
            for (name, value) in &http.with {
                if value.is_null() {
                    members.remove(name);
                } else {
                    members.insert(name.clone(), value.clone());
                }
            }
        }
        opening.add("Content-Type", label(JSON, FORM));
        json.to_string()
    } else if !declared.form.is_empty() {
        let mut form = declared.form.clone();
        for (name, value) in &http.with {
            match value {
                Value::Null => drop(form.remove(name)),
                Value::String(text) => drop(form.insert(name.clone(), text.clone())),
                other => drop(form.insert(name.clone(), other.to_string())),
            }
        }
        opening.add("Content-Type", label(FORM, JSON));
        let encode = |text: &str| crate::wire::opening::percent_encode(text.as_bytes());
        let pairs: Vec<String> =
            form.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        pairs.join("&")
    } else {
        String::new()
    };
    for (name, value) in &http.headers {
        opening.set(name, value);
    }
    if method != "GET" && method != "HEAD" {
        opening.add("Content-Length", body.len().to_string());
        opening.body = body.into_bytes();
    }
    opening
}

/// One opening by itself, from the dial to the end.
async fn alone(context: &Context<'_>, actor: &Actor, open: &Open) -> Result<Connection, Trouble> {
    let mut session = Session::new(context, actor);
    session.open(open, &mut Vec::new()).await?;
    let mut live = session.live.pop().ok_or_else(|| Trouble::Fault("nothing was opened".to_owned()))?;
    live.finish(context.deadlines.finish).await;
    Ok(live.log)
}

/// Opens the session of a witness and keeps it open until `stop`: pings are answered, what is said is forgotten. Then asks
/// whether it still lives. `None` where it was not let in.
pub(super) async fn witness(
    context: &Context<'_>,
    actor: &Actor,
    opened: oneshot::Sender<bool>,
    mut stop: oneshot::Receiver<()>,
) -> Option<Connection> {
    let mut session = Session::new(context, actor);
    let open = Open { name: "witness".to_owned(), ..Open::default() };
    session.step(0, &Step::Open(Box::new(open))).await;
    let mut live = session.live.pop()?;
    let admitted = matches!(outcome::of(&live.log.events, context.learned.speaks), Outcome::Admitted(_));
    let _ = opened.send(admitted);
    if !admitted {
        return None;
    }
    while !live.is_over() && live.log.close().is_none() {
        live.forget();
        let far = Instant::now() + Duration::from_secs(3600);
        tokio::select! {
            biased;
            _ = &mut stop => break,
            _ = live.next(far) => {}
        }
    }
    if live.log.close().is_none() && !live.is_over() {
        live.forget();
        let deadline = Instant::now() + context.deadlines.answer;
        live.send(frame::PING, WITNESS_PING, deadline).await;
        read_until(&mut live, deadline, |log| has_close(log) || has_pong(log, 0, WITNESS_PING)).await;
    }
    live.finish(context.deadlines.finish).await;
    Some(live.log)
}

/// What was seen on a connection on which nothing is said.
#[derive(Debug)]
pub(super) struct Idle {
    /// How many pings came.
    pub(super) pings: usize,
    /// When the first of them came, since the answer to the opening.
    pub(super) first_ping: Option<Duration>,
    /// When and how the server ended it, if it did.
    pub(super) ended: Option<(Duration, String)>,
}

/// Opens a connection and says nothing on it for so long. Pings are answered. `None` where it was not let in.
pub(super) async fn idle(context: &Context<'_>, actor: &Actor, patience: Duration) -> Option<Idle> {
    let mut session = Session::new(context, actor);
    session.step(0, &Step::Open(Box::default())).await;
    let mut live = session.live.pop()?;
    if !matches!(outcome::of(&live.log.events, context.learned.speaks), Outcome::Admitted(_)) {
        return None;
    }
    let begun = Instant::now();
    let mut seen = Idle { pings: 0, first_ping: None, ended: None };
    while seen.ended.is_none() {
        live.forget();
        match live.next(begun + patience).await {
            Looked::Silence => break,
            Looked::Ended => seen.ended = Some((begun.elapsed(), "without a close frame".to_owned())),
            Looked::Event => match live.log.events.last().map(|event| &event.what) {
                Some(What::Frame(frame)) if frame.opcode == frame::CLOSE => {
                    let code = frame.close_code().map_or_else(|| "without a code".to_owned(), |code| code.to_string());
                    seen.ended = Some((begun.elapsed(), format!("close {code}")));
                }
                Some(What::End(_)) => seen.ended = Some((begun.elapsed(), "without a close frame".to_owned())),
                _ => {
                    // Behind a ping stands the pong that answered it.
                    let pings = live.log.frames().filter(|(_, frame)| frame.opcode == frame::PING).count();
                    if pings > 0 {
                        seen.pings += pings;
                        seen.first_ping.get_or_insert_with(|| begun.elapsed());
                    }
                }
            },
        }
        if begun.elapsed() >= patience {
            break;
        }
    }
    live.finish(context.deadlines.finish).await;
    Some(seen)
}

/// What the witness is asked at the end.
const WITNESS_PING: &[u8] = b"still there";

/// A control: the valid token on the first carrier, nothing else. Fails when the profile gives no such token.
pub(super) async fn control(context: &Context<'_>, actor: &Actor) -> Result<Connection, String> {
    let open = Open { name: "control".to_owned(), ..Open::default() };
    let observation = play(context, actor, &[Step::Open(Box::new(open))]).await;
    let trouble = observation.marks.into_iter().find_map(|mark| mark.trouble).and_then(|trouble| match trouble {
        Trouble::NotApplicable(why) | Trouble::Fault(why) => Some(why),
        Trouble::NothingKept => None,
    });
    observation.connections.into_iter().next().ok_or_else(|| trouble.unwrap_or_default())
}
