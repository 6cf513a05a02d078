//! The whole server at the end of a pipe in memory: no socket, and a clock that only moves when everybody waits.
//!
//! One runtime per thread serves every input. Time jumps to the next timer whenever nobody has anything to do, so that a
//! wait of a minute costs nothing, and a connection that ends only by a timer tells of it by the time that has passed.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::panic;
use std::rc::Rc;
use std::sync::{Arc, Once};
use std::time::Duration;

use axum::Router;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, duplex, split};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::NOW;
use crate::app::App;
use crate::carrier::Carrier;
use crate::clock::Clock;
use crate::config::{Config, RefusalStyle};
use crate::dialect::Dialect;
use crate::fault::Fault;
use crate::http;
use crate::server::connection;
use crate::transport::Way;

/// The largest message that the servers take, in bytes: small, so that inputs come to both sides of it.
pub(super) const MESSAGE_BYTES: usize = 2048;
/// The server may say no more than this to one connection, in bytes.
const MAX_HEARD: usize = 4 << 20;
/// Without a word from the client a connection ends within this time: three pings, the last of them, and the goodbyes.
const PATIENCE: Duration = Duration::from_secs(100);
/// Long enough for everything that is under way to arrive, and shorter than any timer of the server.
const MOMENT: Duration = Duration::from_millis(1);

/// A server, with a token that it admits.
pub(super) struct Site {
    pub(super) name: &'static str,
    pub(super) app: Arc<App>,
    router: Router,
    pub(super) token: String,
    /// The usual first line of a request.
    pub(super) line: String,
    /// Dropping it would stop the server.
    _stop: watch::Sender<bool>,
}

/// Every site, with this fault.
pub(super) fn sites(fault: Option<Fault>) -> Vec<Rc<Site>> {
    let close = RefusalStyle::Close;
    let site = |name, dialect, refusal, more: fn(&mut Config)| site(name, dialect, refusal, fault, more);
    let sites = vec![
        site("echo", Dialect::PersonalAssistant, close, |_| {}),
        site("broadcast", Dialect::Shipvox, RefusalStyle::Http, |_| {}),
        site("strict", Dialect::Strict, RefusalStyle::Http, |config| config.deflate = true),
        site("roles", Dialect::Omni2, close, |_| {}),
        site("plans", Dialect::Simutrador, close, |_| {}),
        site("first message", Dialect::Shipvox, close, |config| config.carriers = vec![Carrier::FirstMessage]),
        site("compressed echo", Dialect::PersonalAssistant, RefusalStyle::Http, |config| config.deflate = true),
    ];
    sites.into_iter().map(Rc::new).collect()
}

fn site(
    name: &'static str,
    dialect: Dialect,
    refusal: RefusalStyle,
    fault: Option<Fault>,
    more: fn(&mut Config),
) -> Site {
    let mut config = Config::new(dialect, super::SECRET);
    config.fault = fault;
    config.refusal = refusal;
    config.clock = Clock::from_fn(|| f64::from(NOW));
    config.users = Some(Vec::new());
    config.test_token = Some(String::new());
    config.bcrypt_cost = 4;
    config.limits.message_bytes = MESSAGE_BYTES;
    // What one input sends must not tell on the next.
    for plan in &mut config.limits.plans {
        plan.messages = u32::MAX;
    }
    more(&mut config);
    let claims = json!({
        "sub": "alice", "user_id": "alice", "username": "Alice", "email": "alice@example.com", "role": "admin",
        "groups_role": "owner", "plan": "pro", "iat": NOW - 10, "exp": NOW + 3000,
    });
    let claims = claims.as_object().cloned().unwrap_or_default();
    let token = http::mint(&config, claims).expect("a token");
    let line = format!("GET {} HTTP/1.1", dialect.target_template().replace("{token}", &token));
    let (stop, stopped) = watch::channel(false);
    let app = Arc::new(App::new(config, stopped).expect("a server"));
    Site { name, router: http::router(Arc::clone(&app)), app, token, line, _stop: stop }
}

impl Site {
    /// The site that an input chooses.
    pub(super) fn of(choice: u8) -> Rc<Self> {
        SITES.with_borrow(|sites| Rc::clone(&sites[usize::from(choice) % sites.len()]))
    }

    /// The site of this name.
    #[cfg(test)]
    pub(super) fn number(name: &str) -> u8 {
        SITES.with_borrow(|sites| sites.iter().position(|site| site.name == name).expect("a site of this name") as u8)
    }

    /// From now on, in this thread, every site has this fault.
    #[cfg(test)]
    pub(super) fn all_with(fault: Option<Fault>) {
        SITES.set(sites(fault));
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count() -> u8 {
        SITES.with_borrow(|sites| sites.len() as u8)
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.app.config.dialect
    }
}

/// What a client does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    /// It sends this, so many bytes at a time.
    Send(Vec<u8>, usize),
    /// It waits until everything under way has arrived.
    Settle,
    /// It is silent for this long.
    Wait(Duration),
}

/// How a client ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It is gone, whatever was under way.
    Cut,
    /// It waits for a moment, and is gone.
    Settled,
    /// It says that it has no more to say, and listens on.
    Half,
    /// It stays, and says nothing.
    Silent,
}

impl End {
    pub(super) fn of(choice: u8) -> Self {
        [Self::Settled, Self::Cut, Self::Half, Self::Silent][usize::from(choice % 4)]
    }
}

/// What came of a connection.
#[derive(Debug)]
pub(super) struct Heard {
    /// Everything that the server said.
    pub(super) bytes: Vec<u8>,
    /// The server ended the connection.
    pub(super) ended: bool,
}

thread_local! {
    /// Of each thread its own: a test must not see the seats of another.
    static SITES: RefCell<Vec<Rc<Site>>> = RefCell::new(sites(None));
    static RUNTIME: Runtime = paused();
    /// Something panicked in this thread.
    static PANICKED: Cell<bool> = const { Cell::new(false) };
}

fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

/// Runs this, and whatever tasks it leaves behind, to the end: none of them shall run among those of the next input.
///
/// # Panics
///
/// Where this does, where a task did, which the runtime keeps to itself, and where a task stays.
fn to_the_end<T>(runtime: &Runtime, work: impl Future<Output = T>) -> T {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let told_before = panic::take_hook();
        panic::set_hook(Box::new(move |told| {
            PANICKED.set(true);
            told_before(told);
        }));
    });
    PANICKED.set(false);
    let done = runtime.block_on(async {
        let done = work.await;
        let mut pause = MOMENT;
        while runtime.metrics().num_alive_tasks() > 0 {
            assert!(pause < PATIENCE, "a task stays when its connection is over");
            sleep(pause).await;
            pause *= 2;
        }
        done
    });
    assert!(!PANICKED.get(), "a task panicked");
    done
}

/// Plays a client against a server, over a pipe that holds so many bytes in each direction.
///
/// # Panics
///
/// Where the server panics, says too much, stays too long, or keeps the seat of a client that is gone.
pub(super) fn play(site: &Site, pipe: usize, acts: &[Act], end: End) -> Heard {
    RUNTIME.with(|runtime| {
        to_the_end(runtime, async {
            let (here, there) = duplex(pipe);
            let began = Instant::now();
            let heard = meet(site, here, there, acts, end).await;
            let waited: Duration = acts
                .iter()
                .map(|act| match act {
                    Act::Wait(pause) => *pause,
                    Act::Settle => MOMENT,
                    Act::Send(..) => Duration::ZERO,
                })
                .sum();
            let took = began.elapsed();
            assert!(took <= waited + PATIENCE, "still there after {took:?}, of which the client took {waited:?}");
            assert_eq!(site.app.hub.len(), 0, "a seat is taken by nobody");
            heard
        })
    })
}

/// A client here, the server there.
pub(super) async fn meet<H, T>(site: &Site, here: H, there: T, acts: &[Act], end: End) -> Heard
where
    H: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let server = connection(Arc::clone(&site.app), site.router.clone(), there, Way::Plain, peer);
    let ((), heard) = tokio::join!(server, client(here, acts, end));
    heard
}

async fn client<H: AsyncRead + AsyncWrite + Unpin>(stream: H, acts: &[Act], end: End) -> Heard {
    let (mut from, mut to) = split(stream);
    let mut bytes = Vec::new();
    let mut listening = std::pin::pin!(async {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            bytes.extend_from_slice(&buffer[..read]);
            assert!(bytes.len() <= MAX_HEARD, "the server does not stop talking");
        }
    });
    let speaking = async {
        for act in acts {
            match act {
                Act::Send(bytes, at_once) => {
                    for piece in bytes.chunks((*at_once).max(1)) {
                        // The server need not listen to the end.
                        if to.write_all(piece).await.is_err() {
                            return;
                        }
                    }
                }
                Act::Settle => sleep(MOMENT).await,
                Act::Wait(pause) => sleep(*pause).await,
            }
        }
        match end {
            End::Cut => {}
            End::Settled => sleep(MOMENT).await,
            End::Half => {
                let _ = to.shutdown().await;
                std::future::pending().await
            }
            End::Silent => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        biased;
        () = &mut listening => true,
        () = speaking => false,
    };
    Heard { bytes, ended }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn what_becomes_of_a_task_is_found_out() {
        let is_found_out = |work: fn()| {
            let runtime = paused();
            catch_unwind(AssertUnwindSafe(|| to_the_end(&runtime, async { work() }))).is_err()
        };
        assert!(is_found_out(|| drop(tokio::spawn(async { panic!("in a task") }))));
        assert!(is_found_out(|| {
            tokio::spawn(async {
                sleep(Duration::from_secs(1)).await;
                panic!("later")
            });
        }));
        assert!(is_found_out(|| drop(tokio::spawn(pending::<()>()))));
        assert!(!is_found_out(|| drop(tokio::spawn(sleep(Duration::from_secs(1))))));
    }
}
