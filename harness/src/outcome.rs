//! The outcome of one attempt: was the client served, and if not, how was it told?
//!
//! Two questions, never merged. A 101 alone is no acceptance, and silence is an event. Pure.

use std::fmt;

use crate::case::{Expect, Open};
use crate::observation::{Assembler, End, Event, Proofs, What, before_our_close, head};
use crate::wire::frame::{self, Frame};

/// What one attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// 101, and a proof that the application serves.
    Admitted(Proof),
    /// A final status of 4xx.
    RefusedHttp(u16),
    /// 101, then a close frame before the session was served.
    RefusedClose {
        /// The code, if the frame carried one.
        code: Option<u16>,
        /// The reason text.
        reason: String,
        /// Application messages that came before it.
        data_before: usize,
    },
    /// The connection ended without an answer, or after the 101 without a close frame.
    Dropped {
        /// Whether a 101 came first.
        upgraded: bool,
    },
    /// 5xx, or a close with 1011 or 1014: refused, but by a crash.
    ServerError(String),
    /// 429, 503, or a close with 1013 or 4429: no verdict can be built on it.
    Throttled(String),
    /// 1xx to 3xx other than 101: refused, but told as something else.
    OddStatus(u16),
    /// Nothing came within the deadline.
    Hang,
    /// 101, no close and no message, although the socket answers pings.
    Limbo,
    /// 101 and an open connection, on a target that is told the token in a message; but nothing shows that it was
    /// accepted, and nothing is served.
    Unserved,
    /// 101, and then the message by which a target that is told the token in one says no; the connection is left open.
    RefusedMessage(String),
    /// 101, and then neither close, message nor pong within the deadline.
    Mute,
    /// The answer is not HTTP.
    NotHttp(String),
    /// Nobody serves at a door that need not be there.
    Shut(String),
    /// 101, and then something that is no WebSocket frame of a server, and no message before it. Nobody was refused.
    NotWebSocket(String),
    /// There was no connection to try on.
    Unreachable(String),
}

/// What shows that the application serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A message of the application.
    Message,
    /// A pong, and no close within the settle time.
    Pong,
}

impl Outcome {
    /// The client got what a bearer of a good token gets.
    pub fn is_served(&self) -> bool {
        matches!(self, Self::Admitted(_) | Self::Limbo)
    }

    /// The client was kept out, however it was told.
    pub fn is_refused(&self) -> bool {
        matches!(
            self,
            Self::RefusedHttp(_)
                | Self::RefusedClose { .. }
                | Self::Dropped { .. }
                | Self::ServerError(_)
                | Self::OddStatus(_)
                | Self::Hang
                | Self::Mute
                | Self::Unserved
                | Self::RefusedMessage(_)
                | Self::NotHttp(_)
                | Self::Shut(_)
        )
    }

    /// Neither served nor refused: the target or the network did not let us ask.
    pub fn is_undecided(&self) -> bool {
        matches!(self, Self::Throttled(_) | Self::Unreachable(_) | Self::NotWebSocket(_))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admitted(Proof::Message) => f.write_str("admitted (101, then a message)"),
            Self::Admitted(Proof::Pong) => f.write_str("admitted (101, then a pong and no close)"),
            Self::RefusedHttp(status) => write!(f, "refused (HTTP {status})"),
            Self::RefusedClose { code, reason, data_before } => {
                match code {
                    Some(code) => write!(f, "refused (101, then close {code}")?,
                    None => f.write_str("refused (101, then a close without a code")?,
                }
                if !reason.is_empty() {
                    write!(f, " \"{}\"", reason.escape_debug())?;
                }
                if *data_before > 0 {
                    write!(f, ", after {data_before} message(s)")?;
                }
                f.write_str(")")
            }
            Self::Dropped { upgraded: false } => f.write_str("connection ended without an HTTP answer"),
            Self::Dropped { upgraded: true } => f.write_str("101, then the connection ended without a close frame"),
            Self::ServerError(how) => write!(f, "refused by a server error ({how})"),
            Self::Throttled(how) => write!(f, "throttled ({how})"),
            Self::OddStatus(status) => write!(f, "not upgraded (HTTP {status})"),
            Self::Hang => f.write_str("no answer within the deadline"),
            Self::Limbo => f.write_str("101, no close and no message, but pings are answered"),
            Self::Unserved => f.write_str("101 and an open connection, but nothing is served"),
            Self::RefusedMessage(text) => write!(f, "refused (101, then the message \"{}\")", text.escape_debug()),
            Self::Mute => f.write_str("101, then silence: no message, no close, no pong"),
            Self::NotHttp(what) => write!(f, "an answer that cannot be read ({what})"),
            Self::Shut(why) => write!(f, "nobody serves there ({why})"),
            Self::NotWebSocket(what) => write!(f, "101, then what is no session ({what})"),
            Self::Unreachable(why) => write!(f, "no connection ({why})"),
        }
    }
}

/// Reads the outcome off what happened on a connection, up to the end of the attempt.
///
/// `speaks` tells whether this target is known to send or echo application messages to an admitted client. Where it
/// is, a socket that only answers pings is in limbo; where it is not, a pong and no close is the best proof there is.
///
/// A target that is told the token in a message ([`What::Presented`]) upgrades everybody: there only its word, its
/// welcome or its answer proves service. An error message proves none, and may stand before a close.
pub fn of(events: &[Event], speaks: bool) -> Outcome {
    let Some(head) = head(events) else {
        return without_head(events);
    };
    match head.status {
        101 => after_upgrade(events, head.header("sec-websocket-extensions").is_some(), speaks),
        429 | 503 => Outcome::Throttled(format!("HTTP {}", head.status)),
        status @ 400..=499 => Outcome::RefusedHttp(status),
        status @ 500..=599 => Outcome::ServerError(format!("HTTP {status}")),
        status => Outcome::OddStatus(status),
    }
}

/// The same of this opening. Who is asked for a host or a path that nobody serves may say that nobody is there
/// (RFC 9110 §15.6.4), as proxies do; that is no plea to come back later.
pub fn of_opening(events: &[Event], speaks: bool, open: &Open) -> Outcome {
    let may_be_nobody = matches!(open.expect, Expect::Refused | Expect::NotUpgraded) && open.request.is_elsewhere();
    let is_nobody = |head: &crate::wire::answer::Head| head.status == 503 && head.header("retry-after").is_none();
    match of(events, speaks) {
        Outcome::Throttled(_) if may_be_nobody && head(events).is_some_and(is_nobody) => Outcome::RefusedHttp(503),
        outcome => outcome,
    }
}

/// The same of a control, which only looks for service: who says something that is no proof of it and leaves has served nobody,
/// though it had been asked.
pub fn of_control(events: &[Event], speaks: bool, proofs: &Proofs) -> Outcome {
    let seen = before_our_close(events);
    let left = || seen.iter().any(|event| matches!(event.what, What::End(End::Fin | End::Reset(_))));
    match of(events, speaks) {
        Outcome::Admitted(_) if left() && Service::default().proofs_in(seen, proofs) == 0 => {
            Outcome::Dropped { upgraded: true }
        }
        outcome => outcome,
    }
}

fn without_head(events: &[Event]) -> Outcome {
    for event in events {
        match &event.what {
            What::Garbage(what) => return Outcome::NotHttp(what.clone()),
            What::End(End::NoConnection(why)) => return Outcome::Unreachable(why.clone()),
            What::End(End::Shut(why)) => return Outcome::Shut(why.clone()),
            What::End(_) => return Outcome::Dropped { upgraded: false },
            What::Silence(_) => return Outcome::Hang,
            _ => {}
        }
    }
    // Silence is an event with its deadline; nothing at all shows nothing.
    Outcome::Unreachable("nothing was observed".to_owned())
}

fn after_upgrade(events: &[Event], extended: bool, speaks: bool) -> Outcome {
    let proofs = events.iter().find_map(|event| match &event.what {
        What::Presented { proofs, .. } => Some(proofs),
        _ => None,
    });
    let events = before_our_close(events);
    let mut service = Service::default();
    // Where a token was told in a message, only what proves service counts; else every message does.
    let mut served = 0_usize;
    let mut pongs = 0_usize;
    let mut unreadable = None;
    let mut has_said = false;
    for (index, event) in events.iter().enumerate() {
        let before = served;
        match (proofs, &event.what) {
            (Some(proofs), _) => served = service.proofs_in(&events[..=index], proofs),
            (None, What::Frame(frame)) if frame.is_data() => served += 1,
            _ => {}
        }
        match &event.what {
            // Whatever comes behind such bytes was made of them as well.
            What::Frame(frame) if before == 0 && frame.is_reserved(extended) => {
                return Outcome::NotWebSocket(unreadable.unwrap_or_else(|| reserved(frame)));
            }
            What::Frame(frame) if frame.opcode == frame::CLOSE => return closed(frame, served),
            What::Frame(frame) if frame.opcode == frame::PONG => pongs += 1,
            // Half a frame at one moment may be a whole one at the next.
            What::Garbage(what) if served == 0 => {
                unreadable.get_or_insert_with(|| what.clone());
            }
            What::End(_) if served == 0 && unreadable.is_none() => return Outcome::Dropped { upgraded: true },
            // Who says something unasked and leaves has served nobody: that is how some tell an error.
            What::End(End::Fin | End::Reset(_)) if proofs.is_none() && !has_said && unreadable.is_none() => {
                return Outcome::Dropped { upgraded: true };
            }
            // What was sent along with the opening was heard by nobody yet.
            What::Head(_) => has_said = false,
            What::Sent { opcode: Some(frame::TEXT | frame::BINARY), .. } => has_said = true,
            _ => {}
        }
    }
    match (served, unreadable) {
        (1.., _) => Outcome::Admitted(Proof::Message),
        (0, Some(what)) => Outcome::NotWebSocket(what),
        (0, None) if proofs.is_some() => service.refusal.map_or(Outcome::Unserved, Outcome::RefusedMessage),
        (0, None) if pongs == 0 => Outcome::Mute,
        (0, None) if speaks => Outcome::Limbo,
        (0, None) => Outcome::Admitted(Proof::Pong),
    }
}

/// A frame that no server may send, in words.
fn reserved(frame: &Frame) -> String {
    format!("a frame of opcode {}, reserved bits {}", frame.opcode, frame.rsv)
}

/// Counts the proofs of service in a growing list of events, looking at each once.
#[derive(Debug, Default)]
pub(crate) struct Service {
    looked: usize,
    said: Vec<String>,
    assembler: Assembler,
    count: usize,
    /// What the target said in the place of serving.
    refusal: Option<String>,
}

impl Service {
    /// How many the events hold so far. They are those of the calls before, and more.
    pub(crate) fn proofs_in(&mut self, events: &[Event], proofs: &Proofs) -> usize {
        while let Some(event) = events.get(self.looked) {
            self.looked += 1;
            while let Some(message) = self.assembler.next(&events[..self.looked]) {
                let proves = message.opcode == frame::TEXT && proofs.hold(&message.text(), &self.said);
                self.count += usize::from(proves);
                let refuses = proofs.refusal.as_ref().is_some_and(|shape| shape.fits(&message.text()));
                if refuses && !proves && self.refusal.is_none() {
                    self.refusal = Some(message.text().chars().take(MAX_REFUSAL_CHARACTERS).collect());
                }
            }
            // The ping behind a probe has the word of the probe.
            if let What::Sent { opcode: Some(frame::PING), payload } = &event.what {
                self.said.push(String::from_utf8_lossy(payload).into_owned());
            }
        }
        self.count
    }

    /// Whether the events that were looked at hold the message that refuses.
    pub(crate) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }
}

/// The most characters of a message that refuses which are kept.
const MAX_REFUSAL_CHARACTERS: usize = 200;

/// A close frame that came after so many messages of the application.
fn closed(frame: &Frame, data_before: usize) -> Outcome {
    match frame.close_code() {
        Some(code @ (1011 | 1014)) => Outcome::ServerError(format!("close {code}")),
        // 4429 is what many call HTTP's 429 among the codes that are free for all.
        Some(code @ (1013 | 4429)) => Outcome::Throttled(format!("close {code}")),
        code => Outcome::RefusedClose { code, reason: frame.close_reason(), data_before },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::profile::{Echo, Shape};
    use crate::wire::answer::Head;
    use crate::wire::frame::{PING, TEXT};

    fn of_upgraded(extension: Option<&str>, whats: impl IntoIterator<Item = What>) -> Outcome {
        let headers = extension.map(|value| ("Sec-WebSocket-Extensions".to_owned(), value.as_bytes().to_vec()));
        let head =
            Head { minor_version: 1, status: 101, reason: String::new(), headers: headers.into_iter().collect() };
        let whats = std::iter::once(What::Head(head)).chain(whats);
        let events: Vec<Event> = whats.map(|what| Event { at: Duration::ZERO, what }).collect();
        of(&events, true)
    }

    fn frame(opcode: u8, rsv: u8) -> What {
        What::Frame(Frame { fin: true, rsv, opcode, masked: false, payload: b"SSH".to_vec() })
    }

    fn garbage() -> What {
        What::Garbage("a frame that announces 6 exabytes".to_owned())
    }

    #[test]
    fn a_target_that_speaks_no_websocket_refuses_nobody_and_serves_nobody() {
        for whats in [
            vec![garbage(), What::End(End::TooMuch)],
            vec![garbage()],
            vec![frame(PING, 0), garbage(), What::Silence(Duration::ZERO)],
            vec![frame(3, 5)],
            vec![frame(3, 0), frame(TEXT, 0), What::End(End::Fin)],
            vec![frame(11, 0), frame(frame::CLOSE, 0)],
            vec![frame(TEXT, 4)],
            vec![frame(TEXT, 2)],
        ] {
            let outcome = of_upgraded(None, whats.clone());
            assert!(matches!(outcome, Outcome::NotWebSocket(_)), "{whats:?}: {outcome}");
            assert!(outcome.is_undecided() && !outcome.is_refused() && !outcome.is_served(), "{outcome}");
        }
    }

    #[test]
    fn what_came_before_the_garbage_counts() {
        let admitted = of_upgraded(None, [frame(TEXT, 0), garbage(), What::End(End::TooMuch)]);
        assert_eq!(admitted, Outcome::Admitted(Proof::Message));
        // Half a frame may become a whole one.
        let late = of_upgraded(None, [garbage(), What::Silence(Duration::ZERO), frame(TEXT, 0)]);
        assert_eq!(late, Outcome::Admitted(Proof::Message));
        let closed = of_upgraded(None, [frame(frame::CLOSE, 0), garbage()]);
        assert!(matches!(closed, Outcome::RefusedClose { .. }), "{closed}");
    }

    #[test]
    fn compression_is_no_garbage_where_it_was_announced() {
        let announced = Some("permessage-deflate");
        assert_eq!(of_upgraded(announced, [frame(TEXT, 4)]), Outcome::Admitted(Proof::Message));
        assert!(matches!(of_upgraded(announced, [frame(TEXT, 1)]), Outcome::NotWebSocket(_)));
    }

    #[test]
    fn an_answer_that_is_no_http_is_a_refusal_still() {
        let events = [Event { at: Duration::ZERO, what: garbage() }];
        assert!(of(&events, true).is_refused());
    }

    fn proofs() -> Arc<Proofs> {
        let echo =
            Echo { send: "{message}".to_owned(), reply: Shape::Text("echo {message}".to_owned()), broadcast: false };
        let refusal = Some(Shape::Text("no: {message}".to_owned()));
        Arc::new(Proofs { messages: vec![Shape::Text("ok".to_owned())], echo: Some(echo), refusal })
    }

    fn server(opcode: u8, payload: &[u8]) -> What {
        What::Frame(Frame { fin: true, rsv: 0, opcode, masked: false, payload: payload.to_vec() })
    }

    fn text(text: &str) -> What {
        server(TEXT, text.as_bytes())
    }

    fn probe(word: &str) -> What {
        What::Sent { opcode: Some(PING), payload: word.as_bytes().to_vec() }
    }

    /// The outcome of an attempt on a target that was told the token in a message.
    fn told(what: Vec<What>) -> Outcome {
        let head = Head { minor_version: 1, status: 101, reason: String::new(), headers: Vec::new() };
        let begin = [What::Head(head), What::Presented { token: true, proofs: proofs() }];
        let all = begin.into_iter().chain(what);
        let events: Vec<Event> = all.map(|what| Event { at: Duration::ZERO, what }).collect();
        of(&events, true)
    }

    #[test]
    fn only_the_word_of_a_target_that_is_told_the_token_proves_service() {
        assert_eq!(told(vec![text("ok")]), Outcome::Admitted(Proof::Message));
        assert_eq!(told(vec![probe("w1"), text("echo w1")]), Outcome::Admitted(Proof::Message));
        for unserved in [
            vec![],
            vec![server(frame::PONG, b"w1")],
            vec![text("INFO {}")],
            vec![text("error"), server(frame::PONG, b"w1")],
            // What another client said, or what comes before it was asked.
            vec![probe("w1"), text("echo w2")],
            vec![text("echo w1"), probe("w1")],
        ] {
            let outcome = told(unserved.clone());
            assert_eq!(outcome, Outcome::Unserved, "{unserved:?}");
            assert!(outcome.is_refused() && !outcome.is_served());
        }
    }

    #[test]
    fn the_word_of_refusal_counts_where_it_is_declared_and_nothing_else_came() {
        let refused = || Outcome::RefusedMessage("no: bad token".to_owned());
        assert_eq!(told(vec![text("no: bad token")]), refused());
        assert!(refused().is_refused() && !refused().is_served());
        assert_eq!(told(vec![text("no: bad token"), text("ok")]), Outcome::Admitted(Proof::Message));
        let close = server(frame::CLOSE, &[&1008_u16.to_be_bytes()[..], b"no"].concat());
        assert!(matches!(told(vec![text("no: bad token"), close]), Outcome::RefusedClose { .. }));
    }

    #[test]
    fn an_error_before_the_close_is_no_service_and_a_word_is() {
        let close = || server(frame::CLOSE, &[&1008_u16.to_be_bytes()[..], b"no"].concat());
        let refused = |data_before| Outcome::RefusedClose { code: Some(1008), reason: "no".to_owned(), data_before };
        assert_eq!(told(vec![text("-ERR 'Authorization Violation'"), close()]), refused(0));
        assert_eq!(told(vec![text("ok"), close()]), refused(1));
        assert_eq!(told(vec![text("error"), What::End(End::Fin)]), Outcome::Dropped { upgraded: true });
        assert_eq!(told(vec![text("ok"), What::End(End::Fin)]), Outcome::Admitted(Proof::Message));
    }
}
