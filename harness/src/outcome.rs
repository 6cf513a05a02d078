//! The outcome of one attempt: was the client served, and if not, how was it told?
//!
//! Two questions, never merged. A 101 alone is no acceptance, and silence is an event. Pure.

use std::fmt;

use crate::observation::{End, Event, What, before_our_close, head};
use crate::wire::frame;

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
    /// 429, 503 or close 1013: no verdict can be built on it.
    Throttled(String),
    /// 1xx to 3xx other than 101: refused, but told as something else.
    OddStatus(u16),
    /// Nothing came within the deadline.
    Hang,
    /// 101, no close and no message, although the socket answers pings.
    Limbo,
    /// 101, and then neither close, message nor pong within the deadline.
    Mute,
    /// The answer is not HTTP.
    NotHttp(String),
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
                | Self::NotHttp(_)
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
            Self::Mute => f.write_str("101, then silence: no message, no close, no pong"),
            Self::NotHttp(what) => write!(f, "an answer that cannot be read ({what})"),
            Self::NotWebSocket(what) => write!(f, "101, then what is no session ({what})"),
            Self::Unreachable(why) => write!(f, "no connection ({why})"),
        }
    }
}

/// Reads the outcome off what happened on a connection, up to the end of the attempt.
///
/// `speaks` tells whether this target is known to send or echo application messages to an admitted client. Where it
/// is, a socket that only answers pings is in limbo; where it is not, a pong and no close is the best proof there is.
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

fn without_head(events: &[Event]) -> Outcome {
    for event in events {
        match &event.what {
            What::Garbage(what) => return Outcome::NotHttp(what.clone()),
            What::End(End::NoConnection(why)) => return Outcome::Unreachable(why.clone()),
            What::End(_) => return Outcome::Dropped { upgraded: false },
            What::Silence(_) => return Outcome::Hang,
            _ => {}
        }
    }
    // Silence is an event with its deadline; nothing at all shows nothing.
    Outcome::Unreachable("nothing was observed".to_owned())
}

fn after_upgrade(events: &[Event], extended: bool, speaks: bool) -> Outcome {
    let mut messages = 0_usize;
    let mut pongs = 0_usize;
    let mut unreadable = None;
    for event in before_our_close(events) {
        match &event.what {
            // Whatever comes behind such bytes was made of them as well.
            What::Frame(frame) if messages == 0 && frame.is_reserved(extended) => {
                unreadable
                    .get_or_insert_with(|| format!("a frame of opcode {}, reserved bits {}", frame.opcode, frame.rsv));
                break;
            }
            What::Frame(frame) if frame.opcode == frame::CLOSE => {
                return match frame.close_code() {
                    Some(code @ (1011 | 1014)) => Outcome::ServerError(format!("close {code}")),
                    Some(1013) => Outcome::Throttled("close 1013".to_owned()),
                    code => Outcome::RefusedClose { code, reason: frame.close_reason(), data_before: messages },
                };
            }
            What::Frame(frame) if frame.is_data() => messages += 1,
            What::Frame(frame) if frame.opcode == frame::PONG => pongs += 1,
            What::Garbage(what) if messages == 0 => {
                unreadable.get_or_insert_with(|| what.clone());
            }
            What::End(_) if messages == 0 && unreadable.is_none() => return Outcome::Dropped { upgraded: true },
            _ => {}
        }
    }
    if let Some(what) = unreadable.filter(|_| messages == 0) {
        return Outcome::NotWebSocket(what);
    }
    match (messages, pongs) {
        (1.., _) => Outcome::Admitted(Proof::Message),
        (0, 1..) if speaks => Outcome::Limbo,
        (0, 1..) => Outcome::Admitted(Proof::Pong),
        (0, 0) => Outcome::Mute,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::answer::Head;
    use crate::wire::frame::{Frame, PING, TEXT};

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
}
