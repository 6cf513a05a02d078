//! Being asked to stop. It listens from the moment it is made: who knows that we run may ask at once.

/// Ctrl-C, or the word of a supervisor that ends the process (SIGTERM), as often as it comes.
#[derive(Debug)]
pub(super) struct Interrupts {
    #[cfg(unix)]
    interrupt: Option<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    terminate: Option<tokio::signal::unix::Signal>,
}

impl Interrupts {
    /// Listens from now on.
    #[cfg(unix)]
    pub(super) fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self { interrupt: signal(SignalKind::interrupt()).ok(), terminate: signal(SignalKind::terminate()).ok() }
    }

    /// Listens from now on.
    #[cfg(not(unix))]
    pub(super) fn new() -> Self {
        Self {}
    }

    /// Waits for the next one. Where nobody can ask, it waits for ever.
    #[cfg(unix)]
    pub(super) async fn next(&mut self) {
        tokio::select! {
            Some(()) = hear(&mut self.interrupt) => {}
            Some(()) = hear(&mut self.terminate) => {}
            else => std::future::pending().await,
        }
    }

    /// Waits for the next one. Where nobody can ask, it waits for ever.
    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(unix)]
async fn hear(signal: &mut Option<tokio::signal::unix::Signal>) -> Option<()> {
    signal.as_mut()?.recv().await
}

/// Ends when the process is asked to stop.
pub(super) fn stop() -> impl Future<Output = ()> {
    let mut interrupts = Interrupts::new();
    async move { interrupts.next().await }
}
