//! Sessions of one opening that are no trial: a control, the witness, and one on which nothing is said.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::waits::{has_close, has_pong, read_until};
use super::{Actor, Context, Session, play};
use crate::case::{Open, Step};
use crate::observation::{Connection, End, STILL_THERE, Trouble, What};
use crate::outcome;
use crate::outcome::Outcome;
use crate::run::connection::Step as Looked;
use crate::wire::frame;

/// One opening by itself, from the dial to the end.
pub(super) async fn alone(context: &Context<'_>, actor: &Actor, open: &Open) -> Result<Connection, Trouble> {
    let mut session = Session::new(context, actor);
    match session.open(open, &mut Vec::new()).await {
        // The connection tells.
        Ok(()) | Err(Trouble::Throttled) => {}
        Err(trouble) => return Err(trouble),
    }
    let mut live = session.live.pop().ok_or_else(|| Trouble::Fault("nothing was opened".to_owned()))?;
    live.finish(context.deadlines.finish).await;
    Ok(live.log)
}

/// How often it says that it is there: what stands before a server ends a connection on which nobody has spoken for half a
/// minute.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Opens the session of a witness and keeps it open until `stop`: pings are answered, what is said is forgotten. Then asks
/// whether it still lives. `None` where it was not let in. `lost` is set as soon as the server ends it without a word, or as one
/// that is to be started again.
pub(in crate::run) async fn witness(
    context: &Context<'_>,
    actor: &Actor,
    opened: oneshot::Sender<bool>,
    lost: &AtomicBool,
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
    let mut next_beat = Instant::now() + HEARTBEAT;
    while !live.is_over() && live.log.close().is_none() {
        live.forget();
        tokio::select! {
            biased;
            _ = &mut stop => break,
            _ = live.next(next_beat) => {}
        }
        if Instant::now() >= next_beat {
            next_beat = Instant::now() + HEARTBEAT;
            let by = Instant::now() + context.deadlines.answer;
            live.send(frame::PING, b"here", by).await;
            // Some count a client as gone that answers pings and says nothing.
            if let Some(text) = &context.target.profile.keepalive_text {
                live.send(frame::TEXT, text.as_bytes(), by).await;
            }
        }
    }
    // To close it in order is the server's right.
    let is_lost = match live.log.close() {
        Some(close) => close.is_going_away(),
        None => live.log.end().is_some_and(|end| matches!(end, End::Fin | End::Reset(_))),
    };
    lost.store(is_lost, Ordering::SeqCst);
    if live.log.close().is_none() && !live.is_over() {
        // The answer to a heartbeat is none to this.
        live.forget();
        live.log.events.clear();
        let deadline = Instant::now() + context.deadlines.answer;
        live.send(frame::PING, STILL_THERE, deadline).await;
        read_until(&mut live, deadline, |log| has_close(log) || has_pong(log, 0, STILL_THERE)).await;
    }
    live.finish(context.deadlines.finish).await;
    Some(live.log)
}

/// What was seen on a connection on which nothing is said.
#[derive(Debug)]
pub(in crate::run) struct Idle {
    /// How many pings came.
    pub(in crate::run) pings: usize,
    /// When the first of them came, since the answer to the opening.
    pub(in crate::run) first_ping: Option<Duration>,
    /// When and how the server ended it, if it did.
    pub(in crate::run) ended: Option<(Duration, String)>,
}

/// Opens a connection and says nothing on it for so long. Pings are answered. `None` where it was not let in.
pub(in crate::run) async fn idle(context: &Context<'_>, actor: &Actor, patience: Duration) -> Option<Idle> {
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

/// A control: the valid token on the first carrier, nothing else. Fails when the profile gives no such token.
pub(in crate::run) async fn control(context: &Context<'_>, actor: &Actor) -> Result<Connection, String> {
    let open = Open { name: "control".to_owned(), ..Open::default() };
    let observation = play(context, actor, &[Step::Open(Box::new(open))]).await;
    let trouble = observation.marks.into_iter().find_map(|mark| mark.trouble).and_then(|trouble| match trouble {
        Trouble::NotApplicable(why) | Trouble::Fault(why) => Some(why),
        Trouble::NothingKept | Trouble::Throttled => None,
    });
    observation.connections.into_iter().next().ok_or_else(|| trouble.unwrap_or_default())
}
