//! What was done and what came back, in order, with times. Plain values: nothing here decides anything.

use std::sync::Arc;
use std::time::Duration;

use crate::case::{Receive, Step};
use crate::kept::{self, Kept};
use crate::profile::{Echo, Profile, Shape};
use crate::token::Token;
use crate::wire::answer::Head;
use crate::wire::frame::{Frame, TEXT};

/// The most bytes of one body, and of all frames of one connection, that are kept as evidence.
pub const MAX_EVIDENCE_BYTES: usize = 4 << 20;

/// Everything one trial did and saw.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    /// When the session began, in seconds since 1970 by the harness's clock.
    pub began: f64,
    /// The connections in the order they were opened.
    pub connections: Vec<Connection>,
    /// For every step that ran, which part of which connection belongs to it.
    pub marks: Vec<Mark>,
    /// What was kept of answers for later steps. It may be a secret.
    pub kept: Vec<String>,
    /// What was asked of the harness's own listener below the address of this session; none where it had no address.
    pub fetches: Option<Vec<Fetch>>,
}

/// A request that came to the harness's own listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The method and the path.
    pub asked: String,
    /// The names of the headers; their values may be somebody's secret.
    pub headers: Vec<String>,
    /// Since the listener was started.
    pub at: Duration,
}

/// What TLS told of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secured {
    /// The version that was agreed on, such as `TLSv1_3`.
    pub version: String,
    /// Whether the certificate holds for the host; otherwise what is wrong with it.
    pub certificate: Result<(), String>,
}

/// One connection, from the dial to its end.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The name the case gave it.
    pub name: String,
    /// The request head that was sent, byte for byte. It holds the token: print it redacted only.
    pub sent: Vec<u8>,
    /// The `Sec-WebSocket-Key` that was sent, for the check of the answer.
    pub key: Option<String>,
    /// The token that was sent, where the case sent one.
    pub token: Option<Token>,
    /// What TLS told, where the connection is encrypted.
    pub tls: Option<Secured>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// One thing that happened on a connection.
#[derive(Debug, Clone)]
pub struct Event {
    /// Since the dial.
    pub at: Duration,
    /// What it was.
    pub what: What,
}

/// The kinds of things that happen on a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The harness sent a message or a frame.
    Sent {
        /// The opcode of its first frame, or `None` for raw bytes.
        opcode: Option<u8>,
        /// Its payload, cut to a kilobyte.
        payload: Vec<u8>,
    },
    /// From here on a target that is told the token in a message may serve the client.
    Presented {
        /// Whether it was told one. Without one nothing was sent.
        token: bool,
        /// What shows that it serves the client; nothing else does.
        proofs: Arc<Proofs>,
    },
    /// The head of the answer.
    Head(Head),
    /// The body of an answer other than 101.
    Body {
        /// The decoded bytes.
        bytes: Vec<u8>,
        /// Whether its end was seen.
        complete: bool,
    },
    /// A whole frame came in.
    Frame(Frame),
    /// The server answered a TLS greeting.
    Tls(crate::wire::tls::Answer),
    /// The server sent something that is not HTTP, or no frame can hold.
    Garbage(String),
    /// Nothing more will come.
    End(End),
    /// A wait ended by its deadline: silence is an event too.
    Silence(Duration),
}

/// What only a client hears that such a target serves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Proofs {
    /// Its word that it has accepted the token, and its welcome.
    pub messages: Vec<Shape>,
    /// How it answers a message.
    pub echo: Option<Echo>,
    /// What it says to a client that it does not serve.
    pub refusal: Option<Shape>,
}

impl Proofs {
    /// Those of a target that is declared so and known to answer messages by this echo.
    pub fn of(profile: &Profile, echo: Option<&Echo>) -> Self {
        Self {
            messages: profile.greetings().cloned().collect(),
            echo: echo.cloned(),
            refusal: profile.first_message().and_then(|first| first.refused.clone()),
        }
    }

    /// Whether `text` is one of them. `said` holds what the client, or another one, has said.
    pub fn hold(&self, text: &str, said: &[String]) -> bool {
        let answers = |echo: &Echo| {
            let answered = echo.reply.answered(text);
            answered
                .is_some_and(|answered| if echo.is_faithful() { said.contains(&answered) } else { !said.is_empty() })
        };
        // A refusal may look like an acceptance with more to it, as when both are told by one type of message.
        let refuses = self.refusal.as_ref().filter(|shape| shape.fits(text)).map_or(0, Shape::demands);
        self.messages.iter().any(|shape| shape.fits(text) && shape.demands() >= refuses)
            || self.echo.as_ref().is_some_and(answers)
    }
}

/// The payload of the ping that asks whether a session still lives.
pub const STILL_THERE: &[u8] = b"still there";

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The server closed it in order.
    Fin,
    /// It was cut.
    Reset(String),
    /// It never came to be; the text is the system's.
    NoConnection(String),
    /// Nobody serves at a door that need not be there, such as a port without TLS; the text says how it was found shut.
    Shut(String),
    /// More came in than is kept as evidence.
    TooMuch,
}

/// What happened until the harness itself began to close.
pub fn before_our_close(events: &[Event]) -> &[Event] {
    let ours = |event: &Event| matches!(event.what, What::Sent { opcode: Some(crate::wire::frame::CLOSE), .. });
    let end = events.iter().position(ours).unwrap_or(events.len());
    &events[..end]
}

/// A whole message of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The index of the event that completed it.
    pub event: usize,
    /// When it was complete.
    pub at: Duration,
    /// The opcode of its first frame.
    pub opcode: u8,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Message {
    /// Its text; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

/// Puts messages together from a growing list of events, looking at each once.
#[derive(Debug, Clone, Default)]
pub struct Assembler {
    looked: usize,
    open: Option<(u8, Vec<u8>)>,
}

impl Assembler {
    /// The next whole message, if the events hold one more.
    pub fn next(&mut self, events: &[Event]) -> Option<Message> {
        while let Some(event) = events.get(self.looked) {
            let index = self.looked;
            self.looked += 1;
            let What::Frame(frame) = &event.what else { continue };
            if !frame.is_data() {
                continue;
            }
            let (opcode, mut payload) = match (frame.opcode, self.open.take()) {
                (0, Some(begun)) => begun,
                (opcode, _) => (opcode, Vec::new()),
            };
            payload.extend_from_slice(&frame.payload);
            if frame.fin {
                return Some(Message { event: index, at: event.at, opcode, payload });
            }
            self.open = Some((opcode, payload));
        }
        None
    }
}

/// A message that a step waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// What is kept of it.
    pub kept: Kept,
}

/// Looks for the message of a step in a growing list of events, at each once.
#[derive(Debug, Clone)]
pub struct Awaiting<'r> {
    receive: &'r Receive,
    from: usize,
    assembler: Assembler,
}

impl<'r> Awaiting<'r> {
    /// From event `from` on.
    pub fn new(from: usize, receive: &'r Receive) -> Self {
        Self { receive, from, assembler: Assembler::default() }
    }

    /// The message, if the events hold it by now.
    pub fn look(&mut self, events: &[Event]) -> Option<Received> {
        while let Some(message) = self.assembler.next(events) {
            if message.event < self.from || message.opcode != TEXT {
                continue;
            }
            let text = message.text();
            if self.receive.like.as_ref().is_some_and(|shape| !shape.fits(&text)) {
                continue;
            }
            if let Ok(kept) = kept::find_all(&self.receive.keep, &text, None) {
                return Some(Received { message, kept });
            }
        }
        None
    }
}

/// Which events belong to a step.
#[derive(Debug, Clone, Default)]
pub struct Mark {
    /// The index of the step in its case.
    pub step: usize,
    /// The index of the connection it worked on.
    pub connection: usize,
    /// The number of events when the step began.
    pub from: usize,
    /// The number of events when it ended.
    pub to: usize,
    /// The messages the step said, in order.
    pub said: Vec<String>,
    /// Why the step could not be done, if it could not.
    pub trouble: Option<Trouble>,
    /// The step as it was done, where something that was kept stands in it.
    pub filled: Option<Box<Step>>,
}

impl Mark {
    /// What happened on its connection during the step.
    pub fn part<'a>(&self, connection: &'a Connection) -> &'a [Event] {
        self.until(connection).get(self.from..).unwrap_or_default()
    }

    /// What happened on its connection until the step ended.
    pub fn until<'a>(&self, connection: &'a Connection) -> &'a [Event] {
        &connection.events[..self.to.min(connection.events.len())]
    }
}

/// Why a step could not be done; never a fault of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// This target gives no way to do it: a key is missing, or the wrong key would be the right one.
    NotApplicable(String),
    /// The case or the harness is wrong.
    Fault(String),
    /// What it was to keep for later steps did not come; they were not played. Its own check tells.
    NothingKept,
    /// The target asked to slow down, and what follows was not played.
    Throttled,
}

/// The head of the final answer, if one came; interim answers (RFC 9110 §15.2) are passed over.
pub fn head(events: &[Event]) -> Option<&Head> {
    events.iter().find_map(|event| match &event.what {
        What::Head(head) if head.status == 101 || head.status >= 200 => Some(head),
        _ => None,
    })
}

impl Connection {
    /// The head of the final answer, if one came.
    pub fn head(&self) -> Option<&Head> {
        head(&self.events)
    }

    /// Whether the server ended it without a word, and before we did: no answer that refuses, no close frame.
    pub fn is_broken_off(&self) -> bool {
        let events = before_our_close(&self.events);
        let ends = |event: &Event| matches!(event.what, What::End(End::Fin | End::Reset(_)));
        // Where nothing was sent there was none: it was to go over one that had ended.
        !self.sent.is_empty()
            && head(events).is_none_or(|head| head.status == 101)
            && self.close().is_none()
            && events.iter().any(ends)
    }

    /// The body of an answer other than 101.
    pub fn body(&self) -> &[u8] {
        self.events
            .iter()
            .find_map(|event| match &event.what {
                What::Body { bytes, .. } => Some(bytes.as_slice()),
                _ => None,
            })
            .unwrap_or_default()
    }

    /// The frames that came in, with their times.
    pub fn frames(&self) -> impl Iterator<Item = (Duration, &Frame)> {
        self.events.iter().filter_map(|event| match &event.what {
            What::Frame(frame) => Some((event.at, frame)),
            _ => None,
        })
    }

    /// The close frame by which the server began to close, if it did. The answer to our own is not meant.
    pub fn close(&self) -> Option<&Frame> {
        before_our_close(&self.events).iter().find_map(|event| match &event.what {
            What::Frame(frame) if frame.opcode == crate::wire::frame::CLOSE => Some(frame),
            _ => None,
        })
    }

    /// The whole messages of the application, in order: when they were complete, their opcode and payload.
    pub fn messages(&self) -> Vec<Message> {
        let mut assembler = Assembler::default();
        std::iter::from_fn(|| assembler.next(&self.events)).collect()
    }

    /// The first message from event `from` on that a step waits for.
    pub fn received(&self, from: usize, receive: &Receive) -> Option<Received> {
        Awaiting::new(from, receive).look(&self.events)
    }

    /// Whether a whole message of the application came in at event `from` or after it.
    pub fn has_message(&self, from: usize) -> bool {
        let whole = |event: &Event| matches!(&event.what, What::Frame(frame) if frame.is_data() && frame.fin);
        self.events.iter().skip(from).any(whole)
    }

    /// How it ended, if it did.
    pub fn end(&self) -> Option<&End> {
        self.events.iter().find_map(|event| match &event.what {
            What::End(end) => Some(end),
            _ => None,
        })
    }

    /// Whether the token was told in a message; `None` where this target is not told it in that way.
    pub fn presented(&self) -> Option<bool> {
        self.events.iter().find_map(|event| match &event.what {
            What::Presented { token, .. } => Some(*token),
            _ => None,
        })
    }

    /// When the answer, or the end that took its place, came.
    pub fn answered_at(&self) -> Option<Duration> {
        self.events.iter().find(|event| matches!(event.what, What::Head(_) | What::End(_))).map(|event| event.at)
    }

    /// Everything the server sent, as far as it is kept, for the leak scan.
    pub fn received_bytes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for event in &self.events {
            match &event.what {
                What::Head(head) => {
                    all.extend_from_slice(head.reason.as_bytes());
                    for (name, value) in &head.headers {
                        all.push(b'\n');
                        all.extend_from_slice(name.as_bytes());
                        all.extend_from_slice(b": ");
                        all.extend_from_slice(value);
                    }
                }
                What::Body { bytes, .. } => all.extend_from_slice(bytes),
                What::Frame(frame) => all.extend_from_slice(&frame.payload),
                What::Garbage(text) => all.extend_from_slice(text.as_bytes()),
                What::Sent { .. } | What::Presented { .. } | What::Tls(_) | What::End(_) | What::Silence(_) => continue,
            }
            all.push(b'\n');
        }
        all
    }
}
