//! Who is connected, and who hears what?
//!
//! The registry of open connections: limits per user, broadcasts through a bounded queue per connection, message rates
//! per user. A reader that lets its queue run full is dropped; nobody ever waits for it. A seat frees itself when it
//! is dropped, however its connection ended. Holds no socket.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Idle users are forgotten once this many are known.
const REMEMBERED_USERS: usize = 4096;

/// The registry.
#[derive(Debug)]
pub(crate) struct Hub {
    queue_messages: usize,
    queue_bytes: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    seats: HashMap<u64, Entry>,
    users: HashMap<Arc<str>, User>,
}

#[derive(Debug)]
struct Entry {
    queue: Arc<Queue>,
    token: Option<Vec<u8>>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut queue = self.queue.lock();
        queue.ended = true;
        if let Some(reader) = queue.reader.take() {
            reader.wake();
        }
    }
}

/// What waits to be written to one connection. Most connections of most dialects never hear a broadcast, so that an
/// empty one is small; tokio's channel makes room for 32 messages at once.
#[derive(Debug, Default)]
struct Queue(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Utf8Bytes>,
    bytes: usize,
    /// Nothing more comes.
    ended: bool,
    /// Who is to be told of the next message, or of the end.
    reader: Option<Waker>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self) -> Option<Utf8Bytes> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.len();
        Some(message)
    }
}

#[derive(Debug)]
struct User {
    connections: usize,
    window_began: Instant,
    spent: u32,
}

impl Hub {
    pub(crate) fn new(queue_messages: usize, queue_bytes: usize) -> Arc<Self> {
        Arc::new(Self { queue_messages, queue_bytes, inner: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a seat for `identity` unless it has `limit` already. Counting and taking are one step, so that a burst
    /// of handshakes cannot slip past the limit.
    pub(crate) fn enter(self: &Arc<Self>, identity: &str, limit: usize) -> Option<Seat> {
        let identity: Arc<str> = identity.into();
        let mut inner = self.lock();
        if inner.users.len() >= REMEMBERED_USERS {
            inner.users.retain(|_, user| user.connections > 0 || user.window_began.elapsed() < Duration::from_secs(60));
        }
        let user = inner.users.entry(Arc::clone(&identity)).or_insert_with(|| User {
            connections: 0,
            window_began: Instant::now(),
            spent: 0,
        });
        if user.connections >= limit {
            return None;
        }
        user.connections += 1;
        let id = inner.next;
        inner.next += 1;
        let queue = Arc::<Queue>::default();
        inner.seats.insert(id, Entry { queue: Arc::clone(&queue), token: None });
        Some(Seat { hub: Arc::clone(self), id, identity, queue })
    }

    /// Queues `message` for everyone. Returns how many were too slow and are dropped.
    pub(crate) fn broadcast(&self, message: &Utf8Bytes) -> usize {
        self.broadcast_but(message, None)
    }

    /// [`Hub::broadcast`], leaving one out (only a fault does).
    pub(crate) fn broadcast_but(&self, message: &Utf8Bytes, left_out: Option<u64>) -> usize {
        let mut inner = self.lock();
        let before = inner.seats.len();
        inner.seats.retain(|id, entry| {
            if left_out == Some(*id) {
                return true;
            }
            let mut queue = entry.queue.lock();
            let fits = queue.bytes <= self.queue_bytes && queue.messages.len() < self.queue_messages;
            if fits {
                queue.bytes += message.len();
                queue.messages.push_back(message.clone());
                if let Some(reader) = queue.reader.take() {
                    reader.wake();
                }
            }
            fits
        });
        before - inner.seats.len()
    }

    /// Counts one message of `identity`; false when it has sent `limit` in the window already.
    pub(crate) fn spend(&self, identity: &str, limit: u32, window: Duration) -> bool {
        let mut inner = self.lock();
        let Some(user) = inner.users.get_mut(identity) else {
            return true;
        };
        if user.window_began.elapsed() >= window {
            user.window_began = Instant::now();
            user.spent = 0;
        }
        let allowed = user.spent < limit;
        user.spent += u32::from(allowed);
        allowed
    }

    /// How many are connected.
    pub(crate) fn len(&self) -> usize {
        self.lock().seats.len()
    }

    /// Drops every connection that was opened with `token`, and remembers that `newcomer` was (only a fault does).
    pub(crate) fn replace_by_token(&self, newcomer: u64, token: &[u8]) {
        let mut inner = self.lock();
        inner.seats.retain(|_, entry| entry.token.as_deref() != Some(token));
        if let Some(entry) = inner.seats.get_mut(&newcomer) {
            entry.token = Some(token.to_vec());
        }
    }

    /// Drops everyone (only a fault does).
    pub(crate) fn drop_everyone(&self) {
        self.lock().seats.clear();
    }
}

/// A place in the registry, given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    hub: Arc<Hub>,
    id: u64,
    identity: Arc<str>,
    queue: Arc<Queue>,
}

impl Seat {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The next broadcast; `None` once this connection was dropped from the registry.
    pub(crate) async fn next(&mut self) -> Option<Utf8Bytes> {
        poll_fn(|context| {
            let mut queue = self.queue.lock();
            match queue.take() {
                Some(message) => Poll::Ready(Some(message)),
                None if queue.ended => Poll::Ready(None),
                None => {
                    match &mut queue.reader {
                        Some(reader) => reader.clone_from(context.waker()),
                        reader => *reader = Some(context.waker().clone()),
                    }
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// A broadcast that is already waiting.
    pub(crate) fn waiting(&mut self) -> Option<Utf8Bytes> {
        self.queue.lock().take()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.hub.lock();
        inner.seats.remove(&self.id);
        if let Some(user) = inner.users.get_mut(&self.identity) {
            user.connections = user.connections.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_limit_is_per_user_and_seats_come_back() {
        let hub = Hub::new(4, 1024);
        let first = hub.enter("alice", 2).unwrap();
        let _second = hub.enter("alice", 2).unwrap();
        assert!(hub.enter("alice", 2).is_none());
        assert!(hub.enter("bob", 2).is_some());
        drop(first);
        assert!(hub.enter("alice", 2).is_some());
    }

    #[test]
    fn a_slow_reader_is_dropped_and_the_others_hear_all() {
        let hub = Hub::new(2, 1024);
        let mut slow = hub.enter("slow", 9).unwrap();
        let mut quick = hub.enter("quick", 9).unwrap();
        for n in 0..3 {
            hub.broadcast(&n.to_string().into());
            assert_eq!(quick.waiting().unwrap().as_str(), n.to_string());
        }
        assert_eq!(hub.len(), 1);
        assert_eq!(slow.waiting().unwrap().as_str(), "0");
        assert_eq!(slow.waiting().unwrap().as_str(), "1");
        assert!(slow.waiting().is_none());
    }

    #[test]
    fn bytes_are_bounded_as_well() {
        let hub = Hub::new(100, 10);
        let _slow = hub.enter("slow", 9).unwrap();
        let message: Utf8Bytes = "0123456789".into();
        assert_eq!((hub.broadcast(&message), hub.broadcast(&message)), (0, 0));
        assert_eq!(hub.broadcast(&message), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_per_user_and_recovers() {
        let hub = Hub::new(1, 1);
        let _one = hub.enter("alice", 9).unwrap();
        let window = Duration::from_secs(60);
        let spent: Vec<_> = (0..3).map(|_| hub.spend("alice", 2, window)).collect();
        assert_eq!(spent, [true, true, false]);
        tokio::time::advance(window).await;
        assert!(hub.spend("alice", 2, window));
    }
}
