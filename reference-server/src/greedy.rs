//! Fewer reads of a socket than the WebSocket library asks for.
//!
//! The library clears its buffer before every read, and every connection has one: it is small. What comes in one piece is
//! read in one piece all the same, into a buffer that all connections of a thread share; what the library has no room for
//! waits here, and no longer than until it is asked for.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read at once.
const AT_ONCE: usize = 16 * 1024;

thread_local! {
    static SHARED: RefCell<Vec<u8>> = RefCell::new(vec![0; AT_ONCE]);
}

/// A stream that is read in large pieces.
pub(crate) struct Greedy<S> {
    stream: S,
    /// What was read and not asked for yet.
    left: Vec<u8>,
    taken: usize,
}

impl<S> Greedy<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, left: Vec::new(), taken: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greedy<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, left, taken } = self.get_mut();
        if left.is_empty() {
            return SHARED.with_borrow_mut(|shared| {
                let mut read = ReadBuf::new(shared);
                ready!(Pin::new(stream).poll_read(cx, &mut read))?;
                let (now, later) = read.filled().split_at(read.filled().len().min(to.remaining()));
                to.put_slice(now);
                left.extend_from_slice(later);
                Poll::Ready(Ok(()))
            });
        }
        let now = &left[*taken..];
        let now = &now[..now.len().min(to.remaining())];
        to.put_slice(now);
        *taken += now.len();
        if *taken == left.len() {
            // An idle connection keeps nothing.
            (*left, *taken) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greedy<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_comes_in_one_piece_is_handed_on_in_small_ones() {
        let (mut client, server) = tokio::io::duplex(2 * AT_ONCE);
        let sent: Vec<u8> = (0..20_000_u32).map(|number| number as u8).collect();
        client.write_all(&sent).await.unwrap();
        let mut greedy = Greedy::new(server);
        let mut got = Vec::new();
        for size in [1, 700, 4096].into_iter().cycle() {
            let mut piece = vec![0; size];
            let count = greedy.read(&mut piece).await.unwrap();
            got.extend_from_slice(&piece[..count]);
            if got.len() == sent.len() {
                break;
            }
            assert!(greedy.left.len() <= AT_ONCE);
        }
        assert_eq!(got, sent);
        assert_eq!(greedy.left.capacity(), 0, "an idle connection keeps a buffer");
        drop(client);
        assert_eq!(greedy.read(&mut [0; 8]).await.unwrap(), 0);
    }
}
