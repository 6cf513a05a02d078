//! Asks whoever has started the target to start it again, when it has ended in the midst of a run. It starts nothing itself.

use tokio::sync::{mpsc, oneshot};

/// A way to ask that the target be started again.
///
/// Without one, a run whose target has ended waits for a moment whether somebody else starts it, and gives up.
#[derive(Debug, Clone)]
pub struct Revival(mpsc::Sender<Plea>);

/// One who asks, and waits for the answer. Dropped without one, it says no.
#[derive(Debug)]
pub struct Plea(oneshot::Sender<bool>);

impl Plea {
    /// Says whether the target is there again.
    pub fn answer(self, is_back: bool) {
        // Whoever asked may have been interrupted.
        let _ = self.0.send(is_back);
    }
}

impl Revival {
    /// A way to ask, and where the pleas arrive.
    pub fn new() -> (Self, mpsc::Receiver<Plea>) {
        let (ask, asked) = mpsc::channel(1);
        (Self(ask), asked)
    }

    /// Asks; whether the target is there again.
    pub(super) async fn ask(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.0.send(Plea(answer)).await.is_ok() && answered.await == Ok(true)
    }
}
