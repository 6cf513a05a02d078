//! The socket after the upgrade.
//!
//! Reads, has `talk` answer, writes, keeps the deadlines, closes. Answers are written as long as more messages are
//! already there and flushed once; a client that does not take what is written to it is dropped, so nobody is waited
//! for without end. What a message means is `talk`'s business, who may connect was decided before.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame, FrameHeader};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::admission::Admitted;
use crate::app::{App, random_16};
use crate::config::Limits;
use crate::dialect::Dialect;
use crate::fault::Fault;
use crate::faulty::{self, Told};
use crate::gate::Refusal;
use crate::refusal::{self, Closing, Denial};
use crate::socket::Socket;
use crate::talk::{self, Answer, Talk};

/// One turn of reading ends after this many bytes, so that one busy client leaves room for the others.
const TURN_BYTES: usize = 64 * 1024;

/// A deadline further away than this is none (and would overflow the timer).
pub(crate) const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Longest wait for the client to hang up once everything is said.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// How a session ends.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The client said Close; the reply is queued.
    ClosedByClient,
    /// We say Close.
    Close(Closing),
    /// The client broke the protocol: say so and hang up, nothing it sends counts any more (RFC 6455 §7.1.7).
    Violation(Closing),
    /// Hang up without a word.
    Drop(&'static str),
}

/// Small buffers, for memory and because tungstenite clears the read buffer on every read; bounded in everything.
pub(crate) fn websocket_config(limits: &Limits, fault: Option<Fault>) -> WebSocketConfig {
    let MessageLimits { frame, message } = message_limits(limits, fault);
    WebSocketConfig::default()
        .read_buffer_size(2048)
        .write_buffer_size(16 * 1024)
        // A stamped message can be a little larger than the one that came in, and one more may wait behind it.
        .max_write_buffer_size(4 * message + 64 * 1024)
        .max_message_size(Some(message))
        .max_frame_size(Some(frame))
}

/// How large a frame and a message may be, in bytes.
pub(crate) struct MessageLimits {
    pub(crate) frame: usize,
    pub(crate) message: usize,
}

/// Both are the configured limit: what is inflated counts like what came plain.
pub(crate) fn message_limits(limits: &Limits, fault: Option<Fault>) -> MessageLimits {
    /// What a fault allows; it must end somewhere, too.
    const NO_LIMIT: usize = 96 << 20;
    let limit = limits.message_bytes;
    match fault {
        Some(Fault::NoMessageLimit | Fault::LimitBeforeInflation) => {
            MessageLimits { frame: NO_LIMIT, message: NO_LIMIT }
        }
        Some(Fault::LimitPerFrameOnly) => MessageLimits { frame: limit, message: NO_LIMIT },
        _ => MessageLimits { frame: limit, message: limit },
    }
}

/// Makes a WebSocket of an upgraded stream and what hyper had read of it beyond the head.
pub(crate) fn websocket<S>(app: &App, stream: S, early: Vec<u8>) -> Socket<S> {
    Socket::new(stream, early, websocket_config(&app.config.limits, app.config.fault))
}

/// Serves an admitted client until one side has had enough.
pub(crate) async fn serve<S>(app: &App, mut socket: Socket<S>, admitted: Admitted, peer: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let began = Instant::now();
    let identity = admitted.bearer.identity.clone();
    let mut session = Session::new(app, admitted);
    let ending = session.run(&mut socket).await.unwrap_or_else(|ending| ending);
    // The seat is free before the goodbye: a slow goodbye must not count as a connection.
    drop(session);
    tracing::info!(%peer, ?identity, %ending, seconds = began.elapsed().as_secs_f64(), "disconnected");
    // What an end needs is not kept ready all the time.
    Box::pin(end(app, socket, ending)).await;
}

/// Says what is left to say, and hangs up.
pub(crate) async fn end<S>(app: &App, mut socket: Socket<S>, ending: Ending)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &app.config.limits;
    match ending {
        Ending::ClosedByClient => {
            if app.has(Fault::NoCloseReply) {
                return;
            }
            let _ = timeout(limits.close, socket.flush()).await;
            part(socket.into_inner()).await;
        }
        Ending::Close(closing) => close(socket, closing, limits).await,
        Ending::Violation(closing) => {
            let _ = timeout(limits.close, socket.send(close_message(closing))).await;
            hang_up(socket.into_inner()).await;
        }
        Ending::Drop(_) => faulty::note_death(app),
    }
}

/// Tells a refusal on a socket that was upgraded for nothing else. Nothing the client sends is looked at.
pub(crate) async fn refuse<S>(app: &App, mut socket: Socket<S>, denial: &Denial, token: &[u8], came_along: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    faulty::before_refusal(app, &mut socket, came_along).await;
    match faulty::closing(app, denial, token) {
        Told::Close(closing) if app.has(Fault::AnswersBehindRefusal) => {
            faulty::close_and_answer(app, &mut socket, close_message(closing)).await;
            hang_up(socket.into_inner()).await;
        }
        Told::Close(closing) if app.has(Fault::RefusedSocketsLinger) => {
            let _ = timeout(app.config.limits.close, socket.send(close_message(closing))).await;
            faulty::linger(app, socket.get_mut()).await;
        }
        Told::Close(closing) => close(socket, closing, &app.config.limits).await,
        Told::Drop => {}
    }
}

/// Says Close, waits for the other half (RFC 6455 §7.1.2), hangs up.
async fn close<S>(mut socket: Socket<S>, closing: Closing, limits: &Limits)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let answered = async {
        socket.send(close_message(closing)).await?;
        while let Some(message) = socket.next().await {
            if message?.is_close() {
                break;
            }
        }
        Ok(())
    };
    let _: Result<Result<(), Error>, _> = timeout(limits.close, answered).await;
    hang_up(socket.into_inner()).await;
}

/// Ends the TCP connection when both sides have said Close. Nothing may come any more that could be left unread (RFC 6455
/// §5.5.1), so that nobody need be waited for (§7.1.1).
async fn part(mut stream: impl AsyncWrite + Unpin) {
    let _ = timeout(LINGER, stream.shutdown()).await;
}

/// Ends the TCP connection from this side first, then waits a little for the client to do the same: closing with
/// unread bytes would reset the connection and could take the Close with it (RFC 6455 §7.1.1).
pub(crate) async fn hang_up(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let drained = async {
        stream.shutdown().await?;
        // Not a part of the task, which would be as large from the first byte to the last.
        let mut sink = vec![0; 1024];
        // Bounded in bytes too: a client that keeps talking is cut off.
        for _ in 0..1024 {
            if stream.read(&mut sink).await? == 0 {
                break;
            }
        }
        std::io::Result::Ok(())
    };
    let _: Result<std::io::Result<()>, _> = timeout(LINGER, drained).await;
}

/// As bytes where a fault wants a reason that is no text.
fn close_message(closing: Closing) -> Message {
    if let Ok(reason) = str::from_utf8(&closing.reason) {
        return Message::Close(Some(CloseFrame { code: closing.code.into(), reason: reason.into() }));
    }
    let mut payload = closing.code.to_be_bytes().to_vec();
    payload.extend_from_slice(&closing.reason);
    let header = FrameHeader { opcode: OpCode::Control(Control::Close), ..FrameHeader::default() };
    Message::Frame(Frame::from_payload(header, Bytes::from(payload)))
}

/// One admitted client.
struct Session<'a> {
    app: &'a App,
    admitted: Admitted,
    talk: Talk,
    deadlines: Deadlines,
    /// Texts answered, for a fault that counts.
    answered: u64,
}

impl<'a> Session<'a> {
    fn new(app: &'a App, admitted: Admitted) -> Self {
        Self {
            app,
            talk: Talk::new(app.config.dialect, app.config.fault, &admitted.bearer, app.now()),
            deadlines: Deadlines::new(app, admitted.bearer.expires_at),
            admitted,
            answered: 0,
        }
    }

    /// Runs until there is an ending; the error of every step is one, too.
    async fn run<S>(&mut self, socket: &mut Socket<S>) -> Result<Ending, Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if let Some(welcome) = self.talk.welcome(self.app.now())
            && !faulty::was_welcomed(self.app)
        {
            self.feed(socket, welcome.into())?;
            self.flush(socket).await?;
        }
        let stopped = self.app.stopped();
        tokio::pin!(stopped);
        let timer = sleep_until(self.deadlines.next());
        tokio::pin!(timer);
        loop {
            tokio::select! {
                () = &mut stopped => {
                    return Ok(Ending::Close(Closing::new(1001, "Server shutting down")));
                }
                heard = self.admitted.seat.next() => {
                    let heard = heard.ok_or(Ending::Drop("dropped from the registry: too slow, or replaced"))?;
                    self.feed(socket, heard)?;
                    self.relay(socket)?;
                    self.catch_up(socket).await?;
                    self.flush(socket).await?;
                }
                inbound = socket.next() => {
                    self.turn(socket, inbound).await?;
                    self.flush(socket).await?;
                }
                () = &mut timer => {
                    if let Some(ending) = self.deadlines.due(Instant::now(), self.app) {
                        return Ok(ending);
                    }
                    if self.deadlines.ping_due() {
                        self.send(socket, Message::Ping(Bytes::new()))?;
                        self.flush(socket).await?;
                    }
                    timer.as_mut().reset(self.deadlines.next());
                }
            }
        }
    }

    /// Answers everything that has arrived already, in order. Each message is answered before the next is read,
    /// because nothing can be said any more once a Close was read.
    async fn turn<S>(&mut self, socket: &mut Socket<S>, first: Option<Result<Message, Error>>) -> Result<(), Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.deadlines.heard = Instant::now();
        let mut next = Some(first);
        let mut bytes = 0;
        while let Some(inbound) = next {
            let message = match inbound {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(ending_of(&error)),
                None => return Err(Ending::Drop("the stream ended")),
            };
            bytes += message.len();
            if faulty::gathers(self.app.config.fault) {
                for message in Box::pin(faulty::gather(self.app.config.fault, socket, message)).await {
                    self.message(socket, message)?;
                    self.catch_up(socket).await?;
                }
            } else {
                self.message(socket, message)?;
                // Most messages wait for nobody, and need no future.
                if socket.is_full() {
                    self.catch_up(socket).await?;
                }
            }
            next = if bytes < TURN_BYTES { socket.ready() } else { None };
        }
        Ok(())
    }

    fn message<S>(&mut self, socket: &mut Socket<S>, message: Message) -> Result<(), Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let answer = match message {
            Message::Text(text) => self.text(&text),
            Message::Binary(_) => self.talk.binary(),
            Message::Close(_) => return Err(Ending::ClosedByClient),
            // tungstenite answers pings itself; pongs were heard, and that is all.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(()),
        };
        // One look at the clock is enough for a turn, which waits for nothing but a slow reader.
        self.deadlines.active = self.deadlines.heard;
        if faulty::dies_with_another(self.app) {
            return Err(Ending::Drop("an error of another session"));
        }
        match answer {
            Answer::Quiet => Ok(()),
            Answer::Reply(text) => self.feed(socket, text.into()),
            Answer::Broadcast(text) => {
                let dropped = self.app.hub.broadcast_but(&text.into(), faulty::left_out(self.app, &self.admitted));
                if dropped > 0 {
                    tracing::warn!(dropped, "slow readers dropped");
                }
                if faulty::dies_of_poison(self.app, self.admitted.seat.id()) {
                    return Err(Ending::Drop("poisoned"));
                }
                // The sender hears itself before it says more, so its own queue cannot run full.
                self.relay(socket)
            }
            Answer::Close(code, reason) => Err(Ending::Close(Closing::new(code, reason))),
            Answer::Drop => Err(Ending::Drop("a fault")),
        }
    }

    fn text(&mut self, text: &str) -> Answer {
        let (app, bearer) = (self.app, &self.admitted.bearer);
        if let Some(plan) = app.plan_of(bearer)
            && !app.hub.spend(&bearer.identity, plan.messages, plan.window)
        {
            return Answer::Reply(talk::rate_limited());
        }
        if app.has(Fault::StopsAfterOneMessage) && self.answered > 0 {
            return Answer::Quiet;
        }
        if app.has(Fault::TextLimitOffByOne) && text.len() == 65_536 {
            return Answer::Close(1009, "Message too big");
        }
        // The 14 bytes of a client frame's head count as if they were message.
        if app.has(Fault::LimitCountsFrame) && text.len() + 14 > app.config.limits.message_bytes {
            return Answer::Close(1009, "Message too big");
        }
        if app.has(Fault::EmptyTextEndsSession) && text.is_empty() {
            return Answer::Close(1000, "");
        }
        self.answered += 1;
        faulty::poison(app, self.admitted.seat.id(), text);
        if let Some(name) = faulty::shared_user(app) {
            self.talk.call_user(name);
        }
        let (now, id) = match app.config.dialect {
            Dialect::Shipvox | Dialect::Strict => (app.now(), random_16()),
            Dialect::Simutrador => (app.now(), [0; 16]),
            // Nothing that they say is stamped.
            Dialect::PersonalAssistant | Dialect::Omni2 => (0.0, [0; 16]),
        };
        self.talk.text(text, now, id)
    }

    /// Writes the broadcasts that are waiting, as far as there is room.
    fn relay<S>(&mut self, socket: &mut Socket<S>) -> Result<(), Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        while !socket.is_full()
            && let Some(heard) = self.admitted.seat.waiting()
        {
            self.feed(socket, heard)?;
        }
        Ok(())
    }

    /// Waits until there is room for more, and nothing that waited for it.
    async fn catch_up<S>(&mut self, socket: &mut Socket<S>) -> Result<(), Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        while socket.is_full() {
            self.flush(socket).await?;
            self.relay(socket)?;
        }
        Ok(())
    }

    fn feed<S>(&self, socket: &mut Socket<S>, text: Utf8Bytes) -> Result<(), Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.send(socket, Message::Text(text))
    }

    /// Writes into the buffer, without a flush.
    fn send<S>(&self, socket: &mut Socket<S>, message: Message) -> Result<(), Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let message = if self.app.has(Fault::MasksServerFrames) { faulty::masked(message) } else { message };
        socket.feed(message).map_err(|error| ending_of(&error))
    }

    /// Waits for a client that does not read, but not for long. Most do, and no timer is set for them.
    async fn flush<S>(&self, socket: &mut Socket<S>) -> Result<(), Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let written = match socket.flush().now_or_never() {
            Some(written) => written,
            None => match timeout(self.app.config.limits.write, socket.flush()).await {
                Ok(written) => written,
                Err(_) => return Err(Ending::Drop("the client does not read")),
            },
        };
        written.map_err(|error| ending_of(&error))
    }
}

/// What a broken stream deserves (RFC 6455 §7.4.1). tungstenite says no Close of its own.
pub(crate) fn ending_of(error: &Error) -> Ending {
    let violation = |code, reason: &str| Ending::Violation(Closing::new(code, reason));
    match error {
        Error::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake
            | tokio_tungstenite::tungstenite::error::ProtocolError::SendAfterClosing,
        ) => Ending::Drop("the client is gone"),
        Error::Protocol(_) => violation(1002, "Protocol error"),
        Error::Utf8(_) => violation(1007, "Invalid UTF-8"),
        Error::Capacity(_) => violation(1009, "Message too big"),
        _ => Ending::Drop("the connection broke"),
    }
}

/// When a connection ends by itself.
struct Deadlines {
    expiry: Option<Instant>,
    session: Option<Instant>,
    idle: Option<Duration>,
    ping_every: Duration,
    next_ping: Instant,
    /// The last time anything came.
    heard: Instant,
    /// The last time a message came.
    active: Instant,
}

impl Deadlines {
    fn new(app: &App, expires_at: Option<f64>) -> Self {
        let (now, limits) = (Instant::now(), &app.config.limits);
        let left = expires_at.map(|at| at - app.now());
        Self {
            // A token that should not have been let in (only a fault does) has no end here either: it is served.
            expiry: left
                .filter(|left| {
                    app.config.close_at_expiry
                        && !app.has(Fault::SessionOutlivesToken)
                        && *left > 0.0
                        && (*left < FAR.as_secs_f64() || app.has(Fault::ExpiryTimerOverflows))
                })
                .map(|left| {
                    // A timer that counts milliseconds in 32 bits is due at once after 24.8 days.
                    let overflows = app.has(Fault::ExpiryTimerOverflows) && left * 1000.0 > f64::from(i32::MAX);
                    now + if overflows { Duration::ZERO } else { Duration::from_secs_f64(left) }
                }),
            session: limits.session.map(|session| now + session.min(FAR)),
            idle: limits.idle,
            ping_every: limits.ping_every,
            next_ping: now + limits.ping_every,
            heard: now,
            active: now,
        }
    }

    fn next(&self) -> Instant {
        [self.expiry, self.session, self.idle.map(|idle| self.active + idle)]
            .into_iter()
            .flatten()
            .fold(self.next_ping, Instant::min)
    }

    fn due(&self, now: Instant, app: &App) -> Option<Ending> {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if passed(self.expiry) {
            let expired = refusal::closing(app.config.dialect, &Denial::Token(Refusal::Expired));
            return Some(Ending::Close(expired));
        }
        if passed(self.session) {
            return Some(Ending::Close(Closing::new(1001, "Maximum connection time reached")));
        }
        if passed(self.idle.map(|idle| self.active + idle)) {
            return Some(Ending::Close(Closing::new(1001, "Idle for too long")));
        }
        passed(Some(self.heard + 3 * self.ping_every)).then_some(Ending::Drop("no answer to pings"))
    }

    fn ping_due(&mut self) -> bool {
        let due = self.next_ping <= Instant::now();
        if due {
            self.next_ping = Instant::now() + self.ping_every;
        }
        due
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text: Cow<'_, str> = match self {
            Ending::ClosedByClient => "closed by the client".into(),
            Ending::Close(closing) | Ending::Violation(closing) => {
                format!("{} {}", closing.code, String::from_utf8_lossy(&closing.reason)).into()
            }
            Ending::Drop(why) => (*why).into(),
        };
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio::io::{DuplexStream, duplex};
    use tokio::sync::watch;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::gate::Bearer;

    /// A session over an in-memory pipe, and the client's end of it.
    struct Pipe {
        client: WebSocketStream<DuplexStream>,
        began: Instant,
        /// Dropping it would stop the server.
        _stop: watch::Sender<bool>,
    }

    async fn pipe(dialect: Dialect, expires_in: Option<f64>) -> Pipe {
        let mut config = Config::new(dialect, "secret");
        config.clock = Clock::following_tokio(1_000_000.0);
        config.users = Some(Vec::new());
        let (stop, stopped) = watch::channel(false);
        let app = App::new(config, stopped).unwrap();
        let expires_at = expires_in.map(|seconds| app.now() + seconds);
        let bearer = Bearer { expires_at, ..faulty::anonymous() };
        let seat = app.hub.enter("alice", 1).unwrap();
        let (server, client) = duplex(4096);
        let began = Instant::now();
        tokio::spawn(async move {
            let socket = websocket(&app, server, Vec::new());
            serve(&app, socket, Admitted { bearer, seat }, "127.0.0.1:1".parse().unwrap()).await;
        });
        let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        Pipe { client, began, _stop: stop }
    }

    impl Pipe {
        /// Reads, and so answers pings, until the server closes: the code, and after how many seconds.
        async fn closed(&mut self) -> (u16, u64) {
            loop {
                match self.client.next().await.unwrap().unwrap() {
                    Message::Close(Some(frame)) => return (frame.code.into(), self.began.elapsed().as_secs()),
                    _ => continue,
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_token_ends_the_session_and_talk_does_not_help() {
        let mut pipe = pipe(Dialect::Simutrador, Some(250.0)).await;
        pipe.client.send(Message::text(r#"{"type":"ping"}"#)).await.unwrap();
        assert_eq!(pipe.closed().await, (4003, 250));
    }

    #[tokio::test(start_paused = true)]
    async fn a_far_end_is_no_end() {
        let mut pipe = pipe(Dialect::Omni2, Some(1e15)).await;
        assert_eq!(pipe.closed().await, (1001, 3600));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_session_and_a_message_defers_it() {
        let mut pipe = pipe(Dialect::Simutrador, None).await;
        tokio::time::sleep(Duration::from_secs(50)).await;
        pipe.client.send(Message::text("{}")).await.unwrap();
        assert_eq!(pipe.closed().await, (1001, 350));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_client_is_dropped() {
        let mut pipe = pipe(Dialect::PersonalAssistant, None).await;
        // Nothing is read, so no ping is answered.
        tokio::time::sleep(Duration::from_secs(61)).await;
        let mut last = None;
        while let Some(message) = pipe.client.next().await {
            last = Some(message);
        }
        assert!(last.unwrap().is_err(), "dropped without a Close");
    }
}
