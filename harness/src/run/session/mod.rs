//! Plays the steps of one variant against the target and writes down what came back.
//!
//! Every wait ends by an event; its deadline is only for targets that stay silent.

mod held;
mod opening;
mod texts;
mod waits;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use super::connection::{Live, Step as Looked};
use super::dial::Door;
use super::listener::Listener;
use super::pace::Pace;
use crate::case::{Awaited, Bound, Close, FrameText, Hello, How, Http, Receive, Request, Say, Send, Share, Step};
use crate::hex;
use crate::judge::{self, Learned, WORD_PREFIX};
use crate::kept::{self, Kept};
use crate::observation::{Awaiting, Connection, Mark, Observation, STILL_THERE, Trouble};
use crate::profile::{Carrier, HttpEndpoint};
use crate::target::{Endpoint, Target, Templates};
use crate::token::{ForgeError, Mint, Recipe, Token, fill, forge};
use crate::transcript;
use crate::wire::answer::Head;
use crate::wire::frame::{self, Written};
use crate::wire::opening::Opening;
use crate::wire::tls::client_hello;

pub(super) use held::{Idle, control, idle, witness};
use texts::{MAX_SAID, fragments, too_much, under_declared_names, with_members};
pub(crate) use texts::{request, written};
use waits::{Answers, LONGEST_TALK, has_close, has_pong, outwait, read_answers, read_hurried, read_until, send_probe};

/// How many moments the settle time has. One is long enough for a server that shows that it is not busy.
const MOMENTS: u32 = 10;

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
    /// For a refusal to come before anything is said.
    pub(super) hush: Duration,
    /// Before each opening, so that the target sees the end of the session before.
    pub(super) rest: Duration,
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
    /// How fast openings may follow each other; the first of a session has waited for its turn before the session began.
    pub(super) pace: Option<&'a Pace>,
    /// Whether a good client that says nothing is left alone, once somebody had to know. None where nobody is accused, so that
    /// nobody need wait for it.
    pub(super) outlives: Option<Arc<OnceCell<bool>>>,
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
        let rests = |trouble: &Trouble| {
            matches!(trouble, Trouble::NotApplicable(_) | Trouble::NothingKept | Trouble::Throttled)
        };
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
    /// Whether the server was seen to serve several sessions of one user at a time.
    are_together: bool,
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
            are_together: false,
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
        let mut request = written.clone();
        let values = request.set.values_mut().chain(request.add.iter_mut().map(|(_, value)| value));
        for text in request.query.iter_mut().chain(values) {
            *text = self.worded(text)?;
        }
        Ok(request)
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
        let at_limit =
            limit.filter(|_| say.longest).into_iter().chain(limit.filter(|_| say.beyond).map(|limit| limit + 1));
        let lengths: Vec<usize> = below.chain(at_limit).collect();
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
        let echo = self.context.learned.echo.as_ref();
        // What is too long is no message, whatever form one has.
        if echo.is_none() && !say.beyond {
            return;
        }
        let deadline = self.deadline();
        let patience = self.context.deadlines.answer;
        let mut last_answer_by = Instant::now() + LONGEST_TALK.max(patience);
        let live = &mut self.live[connection];
        let mut together = Vec::new();
        for message in said {
            let text = echo.map_or_else(|| message.clone(), |echo| with_members(echo.compose(message), &say.with));
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
                    live.write(&bytes, Instant::now() + patience).await;
                    let answer_by = last_answer_by.min(Instant::now() + patience);
                    while !live.log.has_message(before) {
                        if live.next(answer_by).await != Looked::Event {
                            // Who has missed one is not waited for again.
                            last_answer_by = Instant::now();
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
        let bytes = send.frames.iter().map(|frame| frame.text.len().saturating_mul(frame.times.max(1))).sum::<usize>();
        if send.within_limit && limit.is_some_and(|limit| (limit as usize) < bytes) {
            return Err(Trouble::NotApplicable("the message is longer than `max_message_bytes`".to_owned()));
        }
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
                let answers = Answers::to(&heard, 0, learned);
                if read_answers(live, answers, heard.len(), deadlines.answer).await && !has_close(&live.log) {
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
                Awaited::PongHex(payload) => {
                    let payload = hex::read(payload).unwrap_or_default();
                    live.send(frame::PING, &payload, answer_by).await;
                    read_until(live, answer_by, |log| has_close(log) || has_pong(log, from, &payload)).await;
                }
                Awaited::Closed | Awaited::ClosedCleanly => {
                    read_until(live, answer_by, |_| false).await;
                }
                Awaited::Failed => {
                    // Whatever comes first tells: the end of the session, or a sign that it lives. A reset that swallows
                    // the close frame is an end too.
                    live.send(frame::PING, STILL_THERE, answer_by).await;
                    read_until(live, answer_by, |log| has_close(log) || has_pong(log, from, STILL_THERE)).await;
                    if !has_close(&live.log) && !live.is_over() {
                        // The layer below may answer the ping before the one above has looked at the message.
                        let settle_by = Instant::now() + deadlines.settle;
                        read_until(live, settle_by, has_close).await;
                    }
                }
                Awaited::NotTaken => {
                    let is_told = |log: &Connection| has_close(log) || log.has_message(from);
                    live.send(frame::PING, STILL_THERE, answer_by).await;
                    read_until(live, answer_by, |log| is_told(log) || has_pong(log, from, STILL_THERE)).await;
                    if !has_close(&live.log) && !live.is_over() {
                        // Behind the pong of a layer below, and the words of others where everybody hears everybody.
                        let said = judge::said_on(&self.marks, connection);
                        let mut answers = Answers::to(&said, from, learned);
                        let settle_by = Instant::now() + deadlines.settle;
                        read_until(live, settle_by, |log| has_close(log) || answers.more(log) > 0).await;
                    }
                }
                Awaited::WellFormedClose | Awaited::LegalCloseCode | Awaited::Unrepeated(_) => {}
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
                Awaited::NoAbruptEnd => {
                    let settle_by = Instant::now() + deadlines.settle;
                    let moment = deadlines.settle / MOMENTS;
                    let answered = |log: &Connection| has_close(log) || log.has_message(from);
                    // First without a ping: where the server closes without reading it, a reset could overtake the close.
                    if !read_until(live, Instant::now() + moment, answered).await && !live.is_over() {
                        // Who is busy with the message says nothing to a ping behind it, and neither does who has ended over
                        // it. Who answers has dealt with it, or is about to where a layer below answers first.
                        live.send(frame::PING, STILL_THERE, answer_by).await;
                        let is_heard = |log: &Connection| has_pong(log, from, STILL_THERE);
                        read_hurried(live, settle_by, moment, is_heard, answered).await;
                    }
                }
                Awaited::Nothing => {
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

    /// The request with the words of the target put into what it sends, its credentials under the names that are declared,
    /// and with the sample that it names.
    fn with_credentials(&self, http: &Http, declared: &HttpEndpoint) -> Result<Http, Trouble> {
        let mut http = http.clone();
        if http.endpoint == "login" {
            under_declared_names(&mut http, declared)?;
        }
        for value in http.with.values_mut() {
            if let Value::String(text) = value {
                *text = self.worded(text)?;
            }
        }
        if let Some(place) = http.sample {
            let none = || Trouble::NotApplicable(format!("the profile declares no sample number {place}"));
            http.with.extend(declared.samples.get(place).ok_or_else(none)?.clone());
        }
        Ok(http)
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
        let http = &self.with_credentials(http, declared)?;
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
        let kept =
            kept::find_all(&http.keep, &String::from_utf8_lossy(live.log.body()), live.log.head()).map_err(|_| ());
        self.live.push(live);
        if (http.capture || !http.keep.is_empty()) && asked_to_wait {
            return Err(Trouble::NotApplicable("the endpoint asks to slow down".to_owned()));
        }
        self.kept.extend(kept.map_err(|()| Trouble::NothingKept)?);
        // An answer without the token is graded by itself; no later step can be played.
        match http.capture && self.captured.is_none() {
            true => Err(Trouble::NothingKept),
            false => Ok(()),
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
        samples: Vec::new(),
        caller: Vec::new(),
    };
    Ok((endpoint, declared))
}

/// How long a frame's head stands alone.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
