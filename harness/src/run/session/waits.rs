//! Waits on one connection. Each ends by an event; its deadline is only for targets that stay silent.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::Context;
use crate::judge;
use crate::judge::Learned;
use crate::observation::{Assembler, Connection, What};
use crate::profile::Echo;
use crate::run::connection::{Live, Step as Looked};
use crate::wire::frame;

/// Waits for the server to end a connection that shows no token; a promise, so that no hurry shortens it.
pub(super) async fn outwait(live: &mut Live, timeout: Duration, pings: bool) {
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
pub(super) async fn read_until(live: &mut Live, deadline: Instant, done: impl FnMut(&Connection) -> bool) -> bool {
    read_hurried(live, deadline, Duration::ZERO, |_| false, done).await
}

/// As [`read_until`]; once there is a reason to `hurry`, only this `rest` of the time is left, counted from the beginning.
pub(super) async fn read_hurried(
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

/// The longest that is waited for answers that come one after the other.
pub(super) const LONGEST_TALK: Duration = Duration::from_secs(30);

/// Reads until so many answers or a close frame have come (true), or nothing more is to be expected (false). Each answer renews
/// the patience, because some work on one message after the other.
pub(super) async fn read_answers(
    live: &mut Live,
    mut answers: Answers<'_>,
    expected: usize,
    patience: Duration,
) -> bool {
    let last_by = Instant::now() + LONGEST_TALK.max(patience);
    let mut count = 0;
    loop {
        let before = count;
        let by = last_by.min(Instant::now() + patience);
        let came = read_until(live, by, |log| {
            count += answers.more(log);
            // Behind a close frame comes nothing any more (RFC 6455 §5.5.1).
            count > before || count >= expected || has_close(log)
        });
        if !came.await {
            return false;
        }
        if count >= expected || has_close(&live.log) {
            return true;
        }
    }
}

/// Counts the answers on a connection as they come in; a flood of them must not be read again for each.
pub(super) struct Answers<'a> {
    said: HashSet<&'a str>,
    from: usize,
    learned: &'a Learned,
    assembler: Assembler,
}

impl<'a> Answers<'a> {
    /// Answers to these messages. Where everybody hears everybody, what others said is none.
    pub(super) fn to(said: &'a [String], from: usize, learned: &'a Learned) -> Self {
        let said = said.iter().map(String::as_str).collect();
        Self { said, from, learned, assembler: Assembler::default() }
    }

    /// How many came in since the last look.
    pub(super) fn more(&mut self, log: &Connection) -> usize {
        let Self { said, from, learned, assembler } = self;
        // An echo that tells what it answers answers an empty text by an empty one, and that may not have been said here.
        let tells = learned.echo.as_ref().is_some_and(Echo::is_faithful);
        let ours = |answer: &String| (answer.is_empty() && !tells) || said.contains(answer.as_str());
        std::iter::from_fn(|| assembler.next(&log.events))
            .filter(|message| message.event >= *from)
            .flat_map(|message| judge::answered_by(&message, learned))
            .filter(|answer| ours(answer))
            .count()
    }
}

pub(super) fn has_close(log: &Connection) -> bool {
    log.close().is_some()
}

pub(super) fn has_pong(log: &Connection, from: usize, payload: &[u8]) -> bool {
    log.events.iter().skip(from).any(
        |event| matches!(&event.what, What::Frame(frame) if frame.opcode == frame::PONG && frame.payload == payload),
    )
}

/// Sends what an admitted client would get an answer to.
pub(super) async fn send_probe(live: &mut Live, context: &Context<'_>, word: &str, deadline: Instant) {
    let text = context.learned.echo.as_ref().map(|echo| echo.compose(word));
    let text = text.as_ref().map(|text| (frame::TEXT, text.as_bytes()));
    let frames: Vec<_> = text.into_iter().chain([(frame::PING, word.as_bytes())]).collect();
    live.send_all(&frames, deadline).await;
}
