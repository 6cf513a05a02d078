//! The reference server on a free port, in a thread of its own, for runs without a URL.

use std::io;
use std::thread::JoinHandle;

use crate::profile::{Profile, RefusesBy, Signal};
use crate::{Target, TargetError};
use gatecrash_reference_server::{Config, Dialect, Environment, Fault, RefusalStyle, Server};
use tokio::sync::oneshot;

/// A running reference server; it stops when this is dropped.
#[derive(Debug)]
pub struct BundledServer {
    /// Where it is and what it promises.
    pub target: Target,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The secret of the bundled server. It guards nothing: the server lives for one run, on the loopback.
const SECRET: &str = "gatecrash bundled server, for one run on loopback only";

impl BundledServer {
    /// Starts it.
    pub fn start(dialect: Dialect, refusal: RefusalStyle, fault: Option<Fault>) -> io::Result<Self> {
        // In development a test token is no fault.
        let environment = match fault {
            Some(Fault::TestTokenInProduction) => Environment::Production,
            _ => Environment::Development,
        };
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name(format!("{}-server", dialect.name())).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            runtime.block_on(async move {
                let config = Config { refusal, fault, environment, ..Config::new(dialect, SECRET) };
                match Server::bind(config).await {
                    Err(error) => drop(ready.send(Err(error))),
                    Ok(server) => {
                        let _ = ready.send(Ok(server.url()));
                        server.run(async move { drop(stopped.await) }).await;
                    }
                }
            });
        })?;
        let url = is_ready.recv().map_err(|_| io::Error::other("the server's thread ended before it was ready"))??;
        let mut target = target(dialect, refusal, &url).map_err(io::Error::other)?;
        if environment == Environment::Production {
            target.profile.environment = Some(crate::profile::Environment::Production);
            target.profile.require_exp = Some(true);
            // The sample accounts exist in development only.
            target.profile.http.remove("login");
        }
        Ok(Self { target, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for BundledServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The preset of a dialect, with the refusal style and the address of this server.
fn target(dialect: Dialect, refusal: RefusalStyle, url: &str) -> Result<Target, TargetError> {
    let mut profile = Profile::preset(dialect.name()).unwrap_or_default();
    profile.url = Some(url.to_owned());
    profile.secret = Some(SECRET.to_owned());
    if refusal == RefusalStyle::Http {
        profile.refuses_by = Some(RefusesBy::Http);
        for (class, signal) in &mut profile.signals {
            let status = if *class == crate::profile::Class::Insufficient { 403 } else { 401 };
            *signal = Signal { http: Some(status), ..Signal::default() };
        }
    }
    Target::from_profile(profile)
}
