//! The reference server on a free port, in a thread of its own, for runs without a URL, and the settings in which it is
//! judged.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Target;
use crate::profile::{FirstMessage, Profile, RefusesBy, Shape, Signal};
use gatecrash_reference_server::{Carrier, Config, Dialect, Environment, Fault, RefusalStyle, Server};
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

/// One way to set the server up, and what it then promises.
///
/// With no fault every case passes in each of them; a fault must show in one of them.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name, for tests and reports.
    pub name: &'static str,
    /// What the server speaks.
    pub dialect: Dialect,
    /// How it refuses.
    pub refusal: RefusalStyle,
    /// What else differs from the defaults of the dialect.
    pub change: fn(&mut Config, &mut Profile),
}

impl Setting {
    /// The defaults of a dialect, as its documents have it.
    pub const fn plain(dialect: Dialect, refusal: RefusalStyle, name: &'static str) -> Self {
        Self { name, dialect, refusal, change: |_, _| {} }
    }

    /// The first setting of this dialect that refuses in this way.
    pub fn of(dialect: Dialect, refusal: RefusalStyle) -> Self {
        let found = SETTINGS.iter().find(|setting| setting.dialect == dialect && setting.refusal == refusal);
        found.copied().unwrap_or(Self::plain(dialect, refusal, dialect.name()))
    }
}

/// Every setting, in the order in which a fault is looked for.
pub const SETTINGS: &[Setting] = &[
    // Whoever does not offer to compress sees no difference.
    Setting {
        change: |config, _| config.deflate = true,
        ..Setting::plain(Dialect::PersonalAssistant, RefusalStyle::Close, "personal-assistant::close")
    },
    Setting::plain(Dialect::Shipvox, RefusalStyle::Close, "shipvox::close"),
    Setting::plain(Dialect::Simutrador, RefusalStyle::Close, "simutrador::close"),
    Setting::plain(Dialect::Omni2, RefusalStyle::Close, "omni2::close"),
    Setting::plain(Dialect::Strict, RefusalStyle::Close, "strict::close"),
    Setting::plain(Dialect::PersonalAssistant, RefusalStyle::Http, "personal-assistant::http"),
    Setting::plain(Dialect::Shipvox, RefusalStyle::Http, "shipvox::http"),
    Setting::plain(Dialect::Simutrador, RefusalStyle::Http, "simutrador::http"),
    Setting::plain(Dialect::Omni2, RefusalStyle::Http, "omni2::http"),
    Setting::plain(Dialect::Strict, RefusalStyle::Http, "strict::http"),
    Setting { name: "first-message", dialect: Dialect::Shipvox, refusal: RefusalStyle::Close, change: first_message },
];

/// The token is told in the first message, in a dialect where everybody hears everybody; pages only, and a subprotocol
/// that every client offers.
fn first_message(config: &mut Config, profile: &mut Profile) {
    const TIMEOUT_MS: u64 = 1_500;
    const ORIGIN: &str = "https://app.shipvox.example";
    const SUBPROTOCOL: &str = "shipvox.v1";
    config.carriers = vec![Carrier::FirstMessage];
    config.auth_timeout = Duration::from_millis(TIMEOUT_MS);
    config.allowed_origins = vec![ORIGIN.to_owned()];
    config.require_origin = true;
    config.subprotocol = Some(SUBPROTOCOL.to_owned());
    profile.carriers = vec![crate::profile::Carrier::FirstMessage(FirstMessage {
        send: r#"{"type":"auth","token":"{token}"}"#.to_owned(),
        reply: Some(Shape::like(r#"{"type":"auth_ok"}"#)),
        timeout_ms: Some(TIMEOUT_MS),
    })];
    profile.allowed_origins = config.allowed_origins.clone();
    profile.require_origin = true;
    profile.send_origin = true;
    profile.subprotocol = Some(SUBPROTOCOL.to_owned());
    profile.offer_subprotocol = true;
}

impl BundledServer {
    /// Starts it.
    pub fn start(setting: &Setting, fault: Option<Fault>) -> io::Result<Self> {
        let (dialect, refusal) = (setting.dialect, setting.refusal);
        let mut config = Config { refusal, fault, ..Config::new(dialect, SECRET) };
        let mut profile = profile(dialect, refusal);
        (setting.change)(&mut config, &mut profile);
        if fault == Some(Fault::TestTokenInProduction) {
            // In development a test token is no fault.
            config.environment = Environment::Production;
            profile.environment = Some(crate::profile::Environment::Production);
            profile.require_exp = Some(true);
            // The sample accounts exist in development only.
            profile.http.remove("login");
        }
        if fault == Some(Fault::KeepaliveKillsSession)
            && let Some(echo) = &mut profile.echo
            && Some(&echo.send) == profile.keepalive_text.as_ref()
        {
            // The text of the keep-alive cannot be the one that proves that the session is served.
            echo.send = r#"{"type":"ping"}"#.to_owned();
        }
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name(format!("{}-server", dialect.name())).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            runtime.block_on(async move {
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
        profile.url = Some(url);
        let target = Target::from_profile(profile).map_err(io::Error::other)?;
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

/// The preset of a dialect, with the refusal style of this server.
fn profile(dialect: Dialect, refusal: RefusalStyle) -> Profile {
    let mut profile = Profile::preset(dialect.name()).unwrap_or_default();
    profile.secret = Some(SECRET.to_owned());
    if refusal == RefusalStyle::Http {
        profile.refuses_by = Some(RefusesBy::Http);
        for (class, signal) in &mut profile.signals {
            let status = if *class == crate::profile::Class::Insufficient { 403 } else { 401 };
            *signal = Signal { http: Some(status), ..Signal::default() };
        }
    }
    profile
}
