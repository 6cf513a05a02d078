//! A WebSocket on an asynchronous stream.
//!
//! The WebSocket library knows frames and no runtime; this lets it read and write a stream of tokio's. A burst is read in
//! one piece and answered in one write, and between the two each message costs little more than the library's work: no
//! future, no waker. Decides nothing itself, neither about frames nor about deadlines.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message};

/// How much is read at once.
const AT_ONCE: usize = 16 * 1024;

thread_local! {
    static SHARED: RefCell<Vec<u8>> = RefCell::new(vec![0; AT_ONCE]);
}

/// The server's side of a WebSocket.
pub(crate) struct Socket<S> {
    stream: S,
    inbox: Inbox,
    frames: WebSocketContext,
    /// An error was told, or the end: nothing follows.
    ended: bool,
    /// More waits to be written than a buffer should hold, and the stream does not take it.
    full: bool,
}

impl<S> Socket<S> {
    /// On a stream that was upgraded, of which `early` was already read.
    pub(crate) fn new(stream: S, early: Vec<u8>, config: WebSocketConfig) -> Self {
        let frames = WebSocketContext::from_partially_read(early, Role::Server, Some(config));
        Self { stream, inbox: Inbox::default(), frames, ended: false, full: false }
    }

    /// The stream; what was read of it and not asked for is lost.
    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    /// The stream, around everything that waits here.
    pub(crate) fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Whether more was fed than the stream took, so that it is time to wait for [`Socket::flush`].
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// The next message; `None` after a closing handshake or an error. Nothing is lost when it is dropped unfinished.
    pub(crate) async fn next(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// [`Socket::next`], if there is something already.
    pub(crate) fn ready(&mut self) -> Option<Option<Result<Message, Error>>> {
        match self.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(next) => Some(next),
            Poll::Pending => None,
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut now = Now { stream: &mut self.stream, inbox: &mut self.inbox, context };
        match self.frames.read(&mut now) {
            Ok(message) => Poll::Ready(Some(Ok(message))),
            Err(error) if would_block(&error) => Poll::Pending,
            Err(error) => {
                self.ended = true;
                let told = !matches!(error, Error::ConnectionClosed | Error::AlreadyClosed);
                Poll::Ready(told.then_some(Err(error)))
            }
        }
    }

    /// Takes a message to be written. It may wait in the buffer until [`Socket::flush`]; who goes on while
    /// [`Socket::is_full`] will fill it.
    pub(crate) fn feed(&mut self, message: Message) -> Result<(), Error> {
        let context = &mut Context::from_waker(Waker::noop());
        let mut now = Now { stream: &mut self.stream, inbox: &mut self.inbox, context };
        match self.frames.write(&mut now, message) {
            // It was taken all the same.
            Err(error) if would_block(&error) => {
                self.full = true;
                Ok(())
            }
            fed => fed,
        }
    }

    /// Writes everything that waits, the library's own answers included.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|context| self.poll_flush(context)).await
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut now = Now { stream: &mut self.stream, inbox: &mut self.inbox, context };
        let flushed = match self.frames.flush(&mut now) {
            Err(error) if would_block(&error) => return Poll::Pending,
            // Both have said Close, and everything is written.
            Err(Error::ConnectionClosed) => Ok(()),
            flushed => flushed,
        };
        self.full = false;
        Poll::Ready(flushed)
    }

    /// Writes a message, and everything that waits.
    pub(crate) async fn send(&mut self, message: Message) -> Result<(), Error> {
        if self.full {
            self.flush().await?;
        }
        self.feed(message)?;
        self.flush().await
    }
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
}

/// What was read and not asked for yet.
///
/// The library clears its buffer before every read, and every connection has one: it is small. What comes in one piece
/// is read in one piece all the same, into a buffer that all connections of a thread share.
#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    taken: usize,
}

impl Inbox {
    fn take(&mut self, to: &mut [u8]) -> usize {
        let left = &self.bytes[self.taken..];
        let count = left.len().min(to.len());
        to[..count].copy_from_slice(&left[..count]);
        self.taken += count;
        if self.taken == self.bytes.len() {
            // An idle connection keeps nothing.
            *self = Self::default();
        }
        count
    }

    fn poll_fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        context: &mut Context<'_>,
        to: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        SHARED.with_borrow_mut(|shared| {
            let mut read = ReadBuf::new(shared);
            ready!(Pin::new(stream).poll_read(context, &mut read))?;
            let (now, later) = read.filled().split_at(read.filled().len().min(to.len()));
            to[..now.len()].copy_from_slice(now);
            self.bytes.extend_from_slice(later);
            Poll::Ready(Ok(now.len()))
        })
    }
}

/// A stream as the library knows one, for the time of one call.
struct Now<'a, 'c, S> {
    stream: &'a mut S,
    inbox: &'a mut Inbox,
    context: &'a mut Context<'c>,
}

/// The library's word for "later".
fn now<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(done) => done,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

impl<S: AsyncRead + Unpin> io::Read for Now<'_, '_, S> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if !self.inbox.bytes.is_empty() {
            return Ok(self.inbox.take(to));
        }
        now(self.inbox.poll_fill(self.stream, self.context, to))
    }
}

impl<S: AsyncWrite + Unpin> io::Write for Now<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        now(Pin::new(&mut *self.stream).poll_write(self.context, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        now(Pin::new(&mut *self.stream).poll_flush(self.context))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::error::ProtocolError;

    use super::*;

    const WRITE_BUFFER: usize = 1024;

    fn pair(bytes: usize) -> (DuplexStream, Socket<DuplexStream>) {
        let (client, server) = duplex(bytes);
        let config = WebSocketConfig::default().read_buffer_size(2048).write_buffer_size(WRITE_BUFFER);
        (client, Socket::new(server, Vec::new(), config))
    }

    /// A frame of a client, masked with the key of zeros.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first, 0x80 | 126];
        out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(payload);
        out
    }

    fn small(first: u8, payload: &[u8]) -> Vec<u8> {
        [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
    }

    fn text(next: Option<Result<Message, Error>>) -> String {
        next.unwrap().unwrap().into_text().unwrap().to_string()
    }

    #[tokio::test]
    async fn what_comes_in_one_piece_is_read_in_one_and_an_idle_socket_keeps_nothing() {
        let (mut client, mut socket) = pair(2 * AT_ONCE);
        let sent: Vec<String> = (0..40).map(|number| format!("{number:0500}")).collect();
        let bytes: Vec<u8> = sent.iter().flat_map(|text| frame(0x81, text.as_bytes())).collect();
        assert!(bytes.len() > AT_ONCE);
        client.write_all(&bytes).await.unwrap();
        let mut got = vec![text(socket.next().await)];
        assert!(!socket.inbox.bytes.is_empty());
        while let Some(next) = socket.ready() {
            got.push(text(next));
            assert!(socket.inbox.bytes.len() <= AT_ONCE);
        }
        assert_eq!(got, sent);
        assert_eq!(socket.inbox.bytes.capacity(), 0, "an idle connection keeps a buffer");
        // What has come meanwhile is there, and half a message is none.
        client.write_all(&bytes[..700]).await.unwrap();
        assert_eq!(text(socket.ready().unwrap()), sent[0]);
        assert!(socket.ready().is_none());
        assert!(socket.next().now_or_never().is_none());
        client.write_all(&bytes[700..1016]).await.unwrap();
        assert_eq!(text(socket.next().await), sent[1]);
    }

    #[tokio::test]
    async fn what_is_fed_waits_for_the_flush_or_until_it_is_much() {
        let (mut client, mut socket) = pair(WRITE_BUFFER);
        socket.feed(Message::text("x".repeat(100))).unwrap();
        assert!(client.read(&mut [0; 1]).now_or_never().is_none(), "written before the flush");
        socket.flush().await.unwrap();
        client.read_exact(&mut [0; 102]).await.unwrap();
        // The stream takes what its own buffer holds, and then no more.
        let fed = (1..).find(|_| {
            socket.feed(Message::text("x".repeat(100))).unwrap();
            socket.is_full()
        });
        assert_eq!(fed, Some(WRITE_BUFFER / 102 + 1));
        let reader = tokio::spawn(async move {
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.unwrap();
            got
        });
        socket.flush().await.unwrap();
        assert!(!socket.is_full());
        socket.send(Message::text("last")).await.unwrap();
        drop(socket);
        let got = reader.await.unwrap();
        assert!(got.ends_with(b"\x81\x04last"));
        assert_eq!((got.len() - 6) % 102, 0);
    }

    #[tokio::test]
    async fn pings_are_answered_by_whoever_reads_on() {
        let (mut client, mut socket) = pair(4096);
        client.write_all(&small(0x89, b"hi")).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap().is_ping());
        assert!(socket.ready().is_none());
        let mut pong = [0; 4];
        client.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"\x8a\x02hi");
    }

    #[tokio::test]
    async fn the_end_is_told_as_it_came() {
        // Without a Close.
        let (client, mut socket) = pair(4096);
        drop(client);
        let told = socket.next().await;
        assert!(matches!(told, Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)))), "{told:?}");
        assert!(socket.next().await.is_none());
        // With one of the client's, which is answered.
        let (mut client, mut socket) = pair(4096);
        client.write_all(&small(0x88, &1000_u16.to_be_bytes())).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap().is_close());
        let fed = socket.feed(Message::text("late"));
        assert!(matches!(fed, Err(Error::Protocol(ProtocolError::SendAfterClosing))), "{fed:?}");
        socket.flush().await.unwrap();
        let mut close = [0; 4];
        client.read_exact(&mut close).await.unwrap();
        assert_eq!(close, [0x88, 2, 3, 0xe8]);
        assert!(socket.next().await.is_none());
        // With one of ours, which the client answers.
        let (mut client, mut socket) = pair(4096);
        socket.send(Message::Close(None)).await.unwrap();
        client.write_all(&[small(0x81, b"before"), small(0x88, b"")].concat()).await.unwrap();
        assert_eq!(text(socket.next().await), "before");
        assert!(socket.next().await.unwrap().unwrap().is_close());
        assert!(socket.next().await.is_none());
    }

    #[tokio::test]
    async fn what_was_read_with_the_head_comes_first() {
        let (mut client, server) = duplex(4096);
        client.write_all(&small(0x81, b"second")).await.unwrap();
        let mut socket = Socket::new(server, small(0x81, b"first"), WebSocketConfig::default());
        assert_eq!(text(socket.ready().unwrap()), "first");
        assert_eq!(text(socket.ready().unwrap()), "second");
    }
}
