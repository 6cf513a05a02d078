//! Being asked to stop. Each listens from the moment it is made: who knows that we run may ask at once.

/// Ctrl-C, as often as it is pressed.
#[derive(Debug)]
pub(super) struct Interrupts {
    #[cfg(unix)]
    stream: Option<tokio::signal::unix::Signal>,
}

impl Interrupts {
    /// Listens from now on.
    pub(super) fn new() -> Self {
        Self {
            #[cfg(unix)]
            stream: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).ok(),
        }
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(stream) = &mut self.stream {
            stream.recv().await;
            return;
        }
        if tokio::signal::ctrl_c().await.is_err() {
            // Nobody can ask.
            std::future::pending::<()>().await;
        }
    }
}

/// Ends when the process is asked to stop, by Ctrl-C or by a supervisor.
pub(super) fn stop() -> impl Future<Output = ()> {
    let mut interrupts = Interrupts::new();
    #[cfg(unix)]
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    async move {
        #[cfg(unix)]
        if let Ok(mut terminate) = terminate {
            tokio::select! {
                () = interrupts.next() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
        interrupts.next().await;
    }
}
