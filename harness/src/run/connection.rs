//! One live connection: bytes out, events in, a limit on every wait and on everything that is kept.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout_at};

use super::dial::{self, Door, Stream};
use crate::observation::{Connection, End, Event, MAX_EVIDENCE_BYTES, Proofs, What};
use crate::profile::Heartbeat;
use crate::wire::answer::{self, BodyLength, Head};
use crate::wire::deflate::{self, Codec};
use crate::wire::frame::{self, Frame, Written};
use crate::wire::tls;

/// The largest frame that is read; a server that announces more is cut off.
const MAX_FRAME_BYTES: usize = MAX_EVIDENCE_BYTES;
/// The most bytes of a sent payload that are kept as evidence.
const MAX_SENT_EVIDENCE_BYTES: usize = 1024;
/// The largest head that is waited for; clients in use stop at a quarter of it.
const MAX_HEAD_BYTES: usize = 1 << 20;
/// The most bytes of an inflated frame that are kept; what is behind them is read and forgotten.
const MAX_INFLATED_BYTES: usize = 1 << 20;
/// The most events of one connection that are kept: a flood of empty frames must end like any other flood.
const MAX_EVENTS: usize = 5_000;
/// The most events and bytes that are kept of what a server goes on to say after the harness has closed.
const MAX_LATE: (usize, usize) = (256, 64 << 10);
/// The most bytes that are taken in at once, so that what waits to be read stays small.
const READ_BYTES: u64 = 64 << 10;
/// Room for at least so many of them: an answer to an opening, or the frames that come at one time.
const READ_SPACE: usize = 1 << 10;
/// How many segments are sent apart from each other, and how far.
const SEEN_APART: usize = 4;
const APART: Duration = Duration::from_millis(1);

/// A connection while it is open, and its log.
#[derive(Debug)]
pub(super) struct Live {
    stream: Option<Stream>,
    /// The connection under an answer that is no upgrade, as long as nobody has ended it.
    spare: Option<Stream>,
    unread: Vec<u8>,
    /// Up to here `unread` is known to hold no whole head.
    searched: usize,
    kept_bytes: usize,
    started: Instant,
    phase: Phase,
    masks: u32,
    close_sent: bool,
    /// Where compression was agreed on.
    codec: Option<Codec>,
    /// Whether the message that is coming in is compressed.
    inflating: bool,
    /// Whether it was noted that a frame is there by half.
    half_noted: bool,
    /// The text by which the server asks whether the client is there, and the answer.
    pub(super) heartbeat: Option<Heartbeat>,
    /// Whether what every client says first has been said.
    pub(super) has_greeted: bool,
    pub(super) log: Connection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Greeting,
    Head,
    Body(BodyLength),
    Frames,
    /// Behind an answer that is no upgrade: another answer, or frames of a server that goes on all the same.
    Behind,
    Ended,
}

/// What one look at the connection gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// An event was added to the log.
    Event,
    /// The deadline passed first.
    Silence,
    /// Nothing more will come.
    Ended,
}

impl Live {
    /// Dials. A failure is an event of the log, never an error.
    pub(super) async fn dial(name: &str, door: &Door<'_>, patience: Duration) -> Self {
        let started = Instant::now();
        let mut live = Self::new(name, started);
        if door.greets_by_hand() {
            live.phase = Phase::Greeting;
        }
        let dialled = match timeout_at(started + patience, dial::dial(door)).await {
            Ok(dialled) => dialled,
            Err(_) => Err(format!("no connection within {} ms", patience.as_millis())),
        };
        match dialled {
            Ok((stream, secured)) => {
                live.stream = Some(stream);
                live.log.tls = secured;
            }
            Err(why) if door.may_be_shut() => live.end(End::Shut(why)),
            Err(why) => live.end(End::NoConnection(why)),
        }
        live
    }

    fn new(name: &str, started: Instant) -> Self {
        let log = Connection {
            name: name.to_owned(),
            sent: Vec::new(),
            key: None,
            token: None,
            tls: None,
            // As many as an opening and a probe come to.
            events: Vec::with_capacity(16),
        };
        Self {
            stream: None,
            spare: None,
            unread: Vec::new(),
            searched: 0,
            kept_bytes: 0,
            started,
            phase: Phase::Head,
            masks: started.elapsed().subsec_nanos() | 1,
            close_sent: false,
            codec: None,
            inflating: false,
            half_noted: false,
            heartbeat: None,
            has_greeted: false,
            log,
        }
    }

    /// Goes on over the connection of an earlier answer. Where that was announced to end, or has ended, so has this.
    pub(super) fn over(name: &str, earlier: &mut Self) -> Self {
        let mut live = Self::new(name, Instant::now());
        live.log.tls.clone_from(&earlier.log.tls);
        let kept = earlier.log.head().is_some_and(Head::keeps_alive);
        match earlier.spare.take().filter(|_| kept) {
            Some(stream) => live.stream = Some(stream),
            None => live.end(End::Fin),
        }
        live
    }

    /// A connection that is over and of which the log is left.
    pub(super) fn past(log: Connection) -> Self {
        Self { phase: Phase::Ended, log, ..Self::new("", Instant::now()) }
    }

    /// Turns to what comes behind an answer that is no upgrade. False where nothing can come any more.
    pub(super) fn turn_behind(&mut self) -> bool {
        if let Some(stream) = self.spare.take() {
            self.stream = Some(stream);
            self.phase = Phase::Behind;
        }
        self.stream.is_some()
    }

    /// Forgets what was seen but for the last event, where only the end is of interest.
    pub(super) fn forget(&mut self) {
        let seen = self.log.events.len().saturating_sub(1);
        self.log.events.drain(..seen);
        self.kept_bytes = 0;
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Whether it is over for us: it has ended, or we have begun to end it.
    pub(super) fn is_closing(&self) -> bool {
        self.is_over() || self.close_sent
    }

    /// A masking key unlike the one before. It need not be unpredictable: nobody stands between us and the target.
    pub(super) fn mask(&mut self) -> [u8; 4] {
        self.masks = self.masks.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.masks.to_be_bytes()
    }

    /// Writes bytes. A write that fails is no event: what the server did shows when reading.
    pub(super) async fn write(&mut self, bytes: &[u8], deadline: Instant) {
        if let Some(stream) = &mut self.stream {
            let written = async {
                stream.write_all(bytes).await?;
                // TLS may keep the last record to itself.
                stream.flush().await
            };
            let _ = timeout_at(deadline, written).await;
        }
    }

    /// Writes bytes in segments of `size`, giving the kernel a chance to send each by itself, and the reader time to see that
    /// the first are not all.
    pub(super) async fn write_in_segments(&mut self, bytes: &[u8], size: usize, deadline: Instant) {
        for (number, segment) in bytes.chunks(size.max(1)).enumerate() {
            self.write(segment, deadline).await;
            match number {
                ..SEEN_APART => sleep(APART).await,
                _ => tokio::task::yield_now().await,
            }
        }
    }

    /// Notes in the log that something was sent.
    pub(super) fn note_sent(&mut self, opcode: Option<u8>, payload: &[u8]) {
        let payload = payload[..payload.len().min(MAX_SENT_EVIDENCE_BYTES)].to_vec();
        self.close_sent |= opcode == Some(frame::CLOSE);
        self.push(What::Sent { opcode, payload });
    }

    /// Notes that the token was told in a message, or that it would have been.
    pub(super) fn note_presented(&mut self, token: bool, proofs: &Arc<Proofs>) {
        self.push(What::Presented { token, proofs: Arc::clone(proofs) });
    }

    /// Sends a legal frame, compressed where that was agreed on.
    pub(super) async fn send(&mut self, opcode: u8, payload: &[u8], deadline: Instant) {
        self.send_all(&[(opcode, payload)], deadline).await;
    }

    /// The same of several, in one write.
    pub(super) async fn send_all(&mut self, frames: &[(u8, &[u8])], deadline: Instant) {
        let mut bytes = Vec::new();
        for (opcode, payload) in frames {
            let mask = self.mask();
            let mut frame = Written::client(*opcode, *payload, mask);
            if frame.opcode < frame::CLOSE {
                self.compress(&mut frame);
            }
            self.note_sent(Some(*opcode), payload);
            bytes.extend_from_slice(&frame.to_bytes());
        }
        self.write(&bytes, deadline).await;
    }

    /// Whether compression was agreed on.
    pub(super) fn compresses(&self) -> bool {
        self.codec.is_some()
    }

    /// Compresses the payload of a whole message and marks it so, where that was agreed on.
    pub(super) fn compress(&mut self, message: &mut Written) {
        if let Some(codec) = &mut self.codec {
            message.payload = codec.deflate(&message.payload);
            message.rsv |= deflate::RSV1;
        }
    }

    /// Waits for the next event until `deadline`.
    pub(super) async fn next(&mut self, deadline: Instant) -> Step {
        loop {
            if self.phase == Phase::Ended {
                return Step::Ended;
            }
            if self.take_event() {
                self.answer_ping(deadline).await;
                return Step::Event;
            }
            let Some(stream) = &mut self.stream else {
                return Step::Ended;
            };
            // Left to itself the buffer would grow by 64 bytes, and each would be a read of its own.
            self.unread.reserve(READ_SPACE);
            match timeout_at(deadline, stream.take(READ_BYTES).read_buf(&mut self.unread)).await {
                Err(_) => {
                    self.finish_body(false);
                    self.note_half_a_frame();
                    return Step::Silence;
                }
                Ok(Ok(0)) => {
                    self.finish_body(true);
                    self.note_half_a_frame();
                    self.end(End::Fin);
                    return Step::Event;
                }
                Ok(Ok(_)) => {}
                // The end of the TCP connection without close_notify (RFC 8446 §6.1): frames know their own end.
                Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                    self.finish_body(true);
                    self.end(End::Fin);
                    return Step::Event;
                }
                Ok(Err(error)) => {
                    self.finish_body(true);
                    self.end(End::Reset(error.to_string()));
                    return Step::Event;
                }
            }
        }
    }

    /// Notes that nothing came for so long.
    pub(super) fn note_silence(&mut self, waited: Duration) {
        self.push(What::Silence(waited));
    }

    /// Ends the connection in order: a close frame if the session is open, then a short wait for the server's end.
    pub(super) async fn finish(&mut self, patience: Duration) {
        if self.phase == Phase::Ended {
            return;
        }
        let deadline = Instant::now() + patience;
        if self.phase == Phase::Frames {
            if !self.close_sent {
                self.send(frame::CLOSE, &1000_u16.to_be_bytes(), deadline).await;
            }
            // RFC 6455 §7.1.1: the server closes first, and the TIME_WAIT is then its own.
            let (events, bytes) = (self.log.events.len() + MAX_LATE.0, self.kept_bytes + MAX_LATE.1);
            while self.log.events.len() < events && self.kept_bytes < bytes && self.next(deadline).await == Step::Event
            {
            }
        }
        if let Some(stream) = &mut self.stream {
            let _ = timeout_at(deadline, stream.shutdown()).await;
        }
        self.stream = None;
    }

    /// Cuts the connection by a reset.
    pub(super) fn cut(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.reset_on_drop();
        }
        self.phase = Phase::Ended;
    }

    /// Reads one event from what is already here.
    fn take_event(&mut self) -> bool {
        if self.phase != Phase::Ended && (self.log.events.len() >= MAX_EVENTS || self.kept_bytes > MAX_EVIDENCE_BYTES) {
            let count = self.log.events.len();
            self.push(What::Garbage(format!("a flood: {count} events and {} bytes", self.kept_bytes)));
            self.end(End::TooMuch);
            return true;
        }
        match self.phase {
            Phase::Greeting => self.take_greeting(),
            Phase::Head => self.take_head(),
            Phase::Body(length) => {
                let (bytes, complete) = answer::body(&self.unread, length);
                if complete || self.unread.len() > MAX_EVIDENCE_BYTES {
                    match length {
                        BodyLength::Exactly(length) => drop(self.unread.drain(..length.min(self.unread.len()))),
                        _ => self.unread.clear(),
                    }
                    self.push(What::Body { bytes, complete });
                    // The handshake is over; only a case about what is left of the connection looks further.
                    self.spare = self.stream.take();
                    self.phase = Phase::Ended;
                    return true;
                }
                false
            }
            Phase::Behind => {
                let answer = b"HTTP/";
                let length = self.unread.len().min(answer.len());
                if self.unread[..length] != answer[..length] {
                    self.phase = Phase::Frames;
                } else if length == answer.len() {
                    self.phase = Phase::Head;
                } else {
                    return false;
                }
                self.take_event()
            }
            Phase::Frames => match frame::read(&self.unread, MAX_FRAME_BYTES) {
                frame::Read::More => false,
                frame::Read::Frame(frame, used) => {
                    self.unread.drain(..used);
                    self.half_noted = false;
                    let what = self.inflated(frame);
                    self.kept_bytes += match &what {
                        What::Frame(frame) => used.max(frame.payload.len()),
                        _ => used,
                    };
                    self.push(what);
                    true
                }
                frame::Read::TooLong(length) => {
                    self.push(What::Garbage(format!("a frame that announces {length} bytes")));
                    self.end(End::TooMuch);
                    true
                }
            },
            Phase::Ended => false,
        }
    }

    /// The answer to a greeting by hand. Nothing after it is of interest.
    fn take_greeting(&mut self) -> bool {
        match tls::read(&self.unread) {
            tls::Read::More => return false,
            tls::Read::Answer(answer) => self.push(What::Tls(answer)),
            tls::Read::NotTls => {
                let shown: String = String::from_utf8_lossy(&self.unread).chars().take(60).collect();
                self.push(What::Garbage(format!("no answer of TLS: \"{}\"", shown.escape_debug())));
            }
        }
        self.stream = None;
        self.phase = Phase::Ended;
        true
    }

    fn take_head(&mut self) -> bool {
        // A long head that trickles in must not be read from its beginning for every byte.
        let ends =
            |bytes: &[u8]| bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(3).any(|end| end == b"\n\r\n");
        let length = self.unread.len();
        if length > 4096 && length < MAX_HEAD_BYTES && !ends(&self.unread[self.searched.saturating_sub(2)..]) {
            self.searched = length;
            return false;
        }
        match answer::read(&self.unread) {
            answer::Read::More if length >= MAX_HEAD_BYTES => {
                self.push(What::Garbage(format!("a head of more than {MAX_HEAD_BYTES} bytes")));
                self.end(End::TooMuch);
                true
            }
            answer::Read::More => false,
            answer::Read::Head(head, used) => {
                self.unread.drain(..used);
                self.searched = 0;
                self.kept_bytes += used;
                self.phase = match (head.status, head.body_length()) {
                    (101, _) => Phase::Frames,
                    // An interim answer is followed by another head (RFC 9110 §15.2).
                    (100..=199, _) => Phase::Head,
                    (_, length) => Phase::Body(length),
                };
                if head.status == 101 {
                    // Whether it may say so is for the judge.
                    let told = head.lines("sec-websocket-extensions");
                    let offered = || answer::lines(&self.log.sent, "sec-websocket-extensions");
                    let agreed = (!told.is_empty()).then(|| deflate::announced(&offered(), &told)).flatten();
                    self.codec = agreed.map(Codec::new);
                }
                self.push(What::Head(head));
                true
            }
            answer::Read::NotHttp(_) if tls::looks_like_tls(&self.unread) => {
                let why = "an answer of TLS: this port asks for it; is it wss:// rather than ws://?";
                self.push(What::Garbage(why.to_owned()));
                self.stream = None;
                self.phase = Phase::Ended;
                true
            }
            answer::Read::NotHttp(why) => {
                let shown: String = String::from_utf8_lossy(&self.unread).chars().take(60).collect();
                self.push(What::Garbage(format!("{why}: \"{}\"", shown.escape_debug())));
                self.stream = None;
                self.phase = Phase::Ended;
                true
            }
        }
    }

    /// A frame that came in, inflated where it belongs to a compressed message.
    fn inflated(&mut self, mut frame: Frame) -> What {
        let Some(codec) = self.codec.as_mut().filter(|_| frame.is_data()) else {
            return What::Frame(frame);
        };
        if frame.opcode != 0 {
            self.inflating = frame.rsv & deflate::RSV1 != 0;
        }
        if !self.inflating {
            return What::Frame(frame);
        }
        match codec.inflate(&frame.payload, frame.fin, MAX_INFLATED_BYTES) {
            Ok(payload) => {
                frame.payload = payload;
                What::Frame(frame)
            }
            Err(why) => What::Garbage(format!("a message that cannot be inflated: {why}")),
        }
    }

    /// Notes once that part of a frame is there and the rest does not come. What it is, is not known; that something
    /// came is.
    fn note_half_a_frame(&mut self) {
        if self.phase == Phase::Frames && !self.unread.is_empty() && !self.half_noted {
            self.half_noted = true;
            let shown: String = String::from_utf8_lossy(&self.unread).chars().take(60).collect();
            self.push(What::Garbage(format!("part of a frame: \"{}\"", shown.escape_debug())));
        }
    }

    /// A client answers pings (RFC 6455 §5.5.2); a server may drop one that does not.
    async fn answer_ping(&mut self, deadline: Instant) {
        let Some(Event { what: What::Frame(frame), .. }) = self.log.events.last() else {
            return;
        };
        if frame.opcode == frame::PING && !self.close_sent {
            let payload = frame.payload.clone();
            self.send(frame::PONG, &payload, deadline).await;
        } else if let Some(Heartbeat { ask, answer }) = &self.heartbeat
            && frame.opcode == frame::TEXT
            && frame.payload == ask.as_bytes()
            && !self.close_sent
        {
            let answer = answer.clone();
            self.send(frame::TEXT, answer.as_bytes(), deadline).await;
        }
    }

    fn finish_body(&mut self, ended: bool) {
        if let Phase::Body(length) = self.phase {
            let (bytes, complete) = answer::body(&self.unread, length);
            self.push(What::Body { bytes, complete: complete || (ended && length == BodyLength::UntilClose) });
            self.unread.clear();
            self.spare = self.stream.take().filter(|_| !ended);
            self.phase = Phase::Ended;
        }
    }

    fn push(&mut self, what: What) {
        self.log.events.push(Event { at: self.started.elapsed(), what });
    }

    fn end(&mut self, end: End) {
        if self.phase != Phase::Ended {
            self.push(What::End(end));
        }
        self.stream = None;
        self.phase = Phase::Ended;
    }
}
