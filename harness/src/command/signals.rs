//! Being asked to stop. It listens from the moment it is made: who knows that we run may ask at once.

/// Ctrl-C, the word of a supervisor that ends the process (SIGTERM), or the end of the terminal (SIGHUP), as often as it
/// comes.
#[derive(Debug)]
pub(super) struct Interrupts {
    #[cfg(unix)]
    interrupt: Option<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    terminate: Option<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Interrupts {
    /// Listens from now on.
    #[cfg(unix)]
    pub(super) fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).ok();
        Self {
            interrupt: listen(SignalKind::interrupt()),
            terminate: listen(SignalKind::terminate()),
            hangup: if outlives_terminal() { None } else { listen(SignalKind::hangup()) },
        }
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
            Some(()) = hear(&mut self.hangup) => {}
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

/// Whether whoever has started us wants us to outlive the terminal, as `nohup` does. To hear the signal would undo that.
#[cfg(target_os = "linux")]
fn outlives_terminal() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The lowest bit is that of signal 1, which is SIGHUP. What is not known is left as it is.
    ignored.is_none_or(|mask| mask & 1 != 0)
}

/// Elsewhere it cannot be asked without `unsafe`, so that the signal does what it did.
#[cfg(all(unix, not(target_os = "linux")))]
fn outlives_terminal() -> bool {
    true
}

/// Ends when the process is asked to stop.
pub(super) fn stop() -> impl Future<Output = ()> {
    let mut interrupts = Interrupts::new();
    async move { interrupts.next().await }
}
