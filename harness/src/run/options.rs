//! How a run is made, and what ends it early.

use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::revival::Revival;
use crate::transcript::Transcript;
use crate::verdict::Severity;

/// How a run is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Sessions in flight at the same time.
    pub jobs: usize,
    /// Everything random follows from it, so that a run can be made again.
    pub seed: u64,
    /// Multiplies every deadline.
    pub timeout_scale: f64,
    /// Ends the run early.
    pub interrupt: Interrupt,
    /// After how many failures it ends; unset, it goes on to the end.
    pub stop: Option<Stop>,
    /// How many sessions may begin in a second, controls included; unset, as many as will. A case that opens several
    /// connections in one session is not slowed down in it, because its times would mean something else.
    pub rate: Option<f64>,
    /// Which trials keep what was sent and received.
    pub transcript: Transcript,
    /// Whom to ask where the target has ended; unset, it is waited for a moment only.
    pub revival: Option<Revival>,
}

/// What ends a run before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// So many trials that failed.
    pub failures: usize,
    /// With this severity, or a higher one.
    pub severity: Severity,
}

impl Default for Options {
    fn default() -> Self {
        // Runs that begin together must differ: where a server passes everything on to everybody, they hear each other.
        let seed = u64::from(RandomState::new().hash_one(std::process::id()) as u32);
        Self {
            jobs: 16,
            seed,
            timeout_scale: 1.0,
            interrupt: Interrupt::default(),
            stop: None,
            rate: None,
            transcript: Transcript::None,
            revival: None,
        }
    }
}

/// Asks a run to end early; what is known by then is reported.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
    notify: Arc<Notify>,
}

impl Interrupt {
    /// Asks.
    pub fn request(&self) {
        self.flag.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    /// Whether it was asked.
    pub fn is_requested(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }

    /// Does something, unless the run is asked to end meanwhile.
    pub(super) async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.requested() => None,
            done = work => Some(done),
        }
    }

    pub(super) async fn requested(&self) {
        let notified = self.notify.notified();
        if !self.is_requested() {
            notified.await;
        }
    }
}
