//! The accept loop, and the way of a request.
//!
//! One task per connection: HTTP first, with hyper; then, if the handshake was answered with 101, the WebSocket on the
//! same task. Bounded in time, head size and number of connections. Stops gracefully: no new connections, every socket
//! is told 1001, and after a bounded time whatever is left is cut off.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, HeaderName, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper::upgrade::{OnUpgrade, Parts as UpgradeParts};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::admission::{self, Verdict};
use crate::app::App;
use crate::config::{Config, RefusalStyle};
use crate::deflate::{self, Agreed, Codec};
use crate::dialect::{Dialect, Route};
use crate::fault::Fault;
use crate::faulty::{self, Reroute};
use crate::first_message;
use crate::gate::Refusal;
use crate::http::{self, Peer, detail};
use crate::opening::{self, BadOpening, Opening};
use crate::origin;
use crate::refusal::Denial;
use crate::session;
use crate::stream::{self, Layering};
use crate::wire_faults::Bent;

/// Connections the kernel may hold for us.
const BACKLOG: u32 = 1024;

/// Connections too many that are told so at once; the others are just closed.
const DOORSTEP: usize = 64;

/// A server that listens and is ready to run.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Hashes the passwords, mints the test token, and listens. Connections are accepted once it runs.
    pub async fn bind(config: Config) -> io::Result<Self> {
        let socket = match config.listen {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restart must not wait for the last run's connections to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(config.listen)?;
        let (stop, stopped) = watch::channel(false);
        // bcrypt is slow by design and must not hold up the runtime.
        let app = tokio::task::spawn_blocking(move || App::new(config, stopped)).await.map_err(io::Error::other)??;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, app: Arc::new(app), stop })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint, with `{token}` where the token goes.
    pub fn url(&self) -> String {
        format!("ws://{}{}", self.address, self.app.config.dialect.target_template())
    }

    /// Where the HTTP endpoints are.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was told.
    pub fn config(&self) -> &Config {
        &self.app.config
    }

    /// Accepts connections until `shutdown` is ready, then ends them and returns, in bounded time.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, app, stop, address } = self;
        let router = http::router(Arc::clone(&app));
        let seats = Arc::new(Semaphore::new(app.config.limits.connections));
        let doorstep = Arc::new(Semaphore::new(DOORSTEP));
        let mut tasks = JoinSet::new();
        if let Some(every) = app.config.status_every.filter(|_| app.config.dialect == Dialect::Omni2) {
            tasks.spawn(status_broadcasts(Arc::clone(&app), every));
        }
        tracing::info!(%address, dialect = app.config.dialect.name(), fault = ?app.config.fault, "listening");
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a connection panicked");
                    }
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, for example: the ones in use come back.
                    tracing::error!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else {
                tracing::warn!(%peer, "no room for another connection");
                // Politely, as long as there are few of them.
                if let Ok(seat) = Arc::clone(&doorstep).try_acquire_owned() {
                    tasks.spawn(async move {
                        turn_away(stream).await;
                        drop(seat);
                    });
                }
                continue;
            };
            let (app, router) = (Arc::clone(&app), router.clone());
            tasks.spawn(async move {
                connection(app, router, stream, peer).await;
                drop(seat);
            });
        }
        drop(listener);
        stop.send_replace(true);
        tracing::info!(connections = tasks.len(), "stopping");
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(app.config.limits.shutdown, ended).await.is_err() {
            tracing::warn!(connections = tasks.len(), "cut off");
        }
        tasks.shutdown().await;
    }
}

/// Says 503 and hangs up, whatever the request is.
async fn turn_away(stream: TcpStream) {
    let _ = stream.try_write(
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    );
    session::hang_up(stream).await;
}

async fn status_broadcasts(app: Arc<App>, every: Duration) {
    let mut healthy = true;
    loop {
        tokio::select! {
            () = app.stopped() => return,
            () = tokio::time::sleep(every) => {}
        }
        healthy = !healthy;
        let status = if healthy { "connected" } else { "disconnected" };
        let change = serde_json::json!({"type": "mcp_status_change", "mcp_id": "database", "new_status": status});
        let event = serde_json::json!({
            "type": "health_event", "mcp_id": "database", "status": status,
            "timestamp": crate::clock::iso8601(app.now()),
        });
        app.hub.broadcast(&change.to_string().into());
        app.hub.broadcast(&event.to_string().into());
    }
}

/// What a handshake that was answered with 101 left to do.
struct Upgrade {
    on: OnUpgrade,
    verdict: Verdict,
    compression: Option<Agreed>,
}

/// One TCP connection, from the first byte to the last.
async fn connection(app: Arc<App>, router: Router, stream: TcpStream, peer: SocketAddr) {
    // Without it a burst of answers waits for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let upgrade: Mutex<Option<Upgrade>> = Mutex::new(None);
    let service = service_fn(|request| {
        let (app, router, upgrade) = (&app, &router, &upgrade);
        async move {
            let response = answer(app, router, request, peer, |made| {
                *upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
            });
            Ok::<_, Infallible>(response.await)
        }
    });
    let limits = &app.config.limits;
    let mut http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.handshake)
        .max_headers(limits.headers)
        .max_buf_size(limits.head_bytes.max(8 * 1024))
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut driven = Pin::new(&mut http);
    let ended = tokio::select! {
        ended = driven.as_mut() => ended,
        () = app.stopped() => {
            driven.as_mut().graceful_shutdown();
            driven.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "HTTP ended");
    }
    // The stream is still there unless it was upgraded.
    if let Some(left) = http.into_parts() {
        session::hang_up(left.io.into_inner()).await;
    }
    let made = upgrade.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(made) = made {
        upgraded(&app, made, peer).await;
    }
}

/// The WebSocket of a connection that was upgraded.
async fn upgraded(app: &App, Upgrade { on, verdict, compression }: Upgrade, peer: SocketAddr) {
    let Some((stream, early)) = on.await.ok().and_then(|upgraded| {
        let UpgradeParts { io, read_buf, .. } = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
        Some((io.into_inner(), Vec::from(read_buf)))
    }) else {
        return;
    };
    let fault = app.config.fault;
    match verdict.outcome {
        Ok(admitted) if compression.is_some() || Bent::applies(fault) => {
            let limits = session::message_limits(&app.config.limits, fault);
            let codec = compression.map(|agreed| Codec::new(agreed, fault, limits.message));
            let bent = Bent::new(fault, codec.is_some());
            let layering = Layering { bent, codec, max_frame: limits.frame };
            let stream = stream::layered(layering, stream, early);
            session::serve(app, session::websocket(app, stream, Vec::new()).await, admitted, peer).await;
        }
        Ok(admitted) => session::serve(app, session::websocket(app, stream, early).await, admitted, peer).await,
        Err(_) if verdict.awaits_token => {
            first_message::serve(app, session::websocket(app, stream, early).await, peer).await;
        }
        Err(denial) => {
            let socket = session::websocket(app, stream, early).await;
            session::refuse(app, socket, &denial, &verdict.token).await;
        }
    }
}

/// Answers one request. `made` is called with what is left to do after a 101.
async fn answer(
    app: &Arc<App>,
    router: &Router,
    mut request: Request<Incoming>,
    peer: SocketAddr,
    made: impl FnOnce(Upgrade),
) -> Response {
    let on = hyper::upgrade::on(&mut request);
    let (mut head, mut body) = request.into_parts();
    faulty::read_body(app.config.fault, &mut head, &mut body).await;
    if let Err(bad) = opening::check_any(&head) {
        return bad_opening(&bad, peer);
    }
    let (dialect, fault) = (app.config.dialect, app.config.fault);
    let routed = dialect.route(head.uri.path());
    let rerouted = faulty::reroute(fault, dialect, head.uri.path(), &routed);
    let segment = match (&rerouted, routed) {
        (Some(Reroute::Socket(segment)), _) => *segment,
        (Some(Reroute::Anonymous), _) => None,
        (None, Route::Socket { segment }) => segment,
        (None, Route::Http) => {
            let mut request = Request::from_parts(head, body);
            request.extensions_mut().insert(Peer(peer));
            return http_endpoint(app, router, request).await;
        }
    };
    // The handshake is judged before the token: whoever does not speak WebSocket learns nothing about tokens.
    let opening = match opening::check(&head, app.config.subprotocol.as_deref(), fault) {
        Ok(opening) => opening,
        Err(bad) => return bad_opening(&bad, peer),
    };
    // Before the token: a page that may not connect learns nothing about the token of its visitor.
    if !origin::is_allowed(&app.config, &head.headers) {
        tracing::info!(%peer, "the origin is not allowed");
        let mut response = detail(StatusCode::FORBIDDEN, "Origin not allowed");
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return response;
    }
    if faulty::is_dead(app) {
        return detail(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    }
    let verdict = match rerouted {
        Some(Reroute::Anonymous) => admission::wave_through(app, peer),
        _ => admission::judge(app, &head, segment, peer).await,
    };
    if let Err(denial) = &verdict.outcome
        && !verdict.awaits_token
    {
        if app.has(Fault::SlowRefusal) && matches!(denial, Denial::Token(Refusal::BadSignature(_))) {
            tokio::time::sleep(Duration::from_millis(1300)).await;
        }
        if !faulty::refuses_by_close(fault, app.config.refusal == RefusalStyle::Close) {
            return refused(app, denial, &verdict.token);
        }
    }
    // A refusal is one close frame, which is never compressed.
    let compression = match &verdict.outcome {
        Ok(_) if app.config.deflate => deflate::negotiate(&head.headers, fault),
        _ => None,
    };
    let response = switching(&head.headers, &opening, compression.as_ref(), fault);
    made(Upgrade { on, verdict, compression });
    response
}

/// 101, with nothing the client did not ask for (RFC 6455 §4.2.2).
fn switching(asked: &HeaderMap, opening: &Opening, compression: Option<&Agreed>, fault: Option<Fault>) -> Response {
    let mut response = http::empty(StatusCode::SWITCHING_PROTOCOLS);
    let mut put = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    put(UPGRADE, "websocket");
    put(CONNECTION, "Upgrade");
    put(SEC_WEBSOCKET_ACCEPT, &opening.accept);
    if let Some(subprotocol) = &opening.subprotocol {
        put(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    if let Some(agreed) = compression {
        put(SEC_WEBSOCKET_EXTENSIONS, &agreed.to_header());
    }
    if fault == Some(Fault::SendsUnaskedSubprotocol) {
        put(SEC_WEBSOCKET_PROTOCOL, "gatecrash.v1");
    }
    if fault == Some(Fault::SendsUnaskedExtension) && !deflate::is_offered(asked) {
        put(SEC_WEBSOCKET_EXTENSIONS, "permessage-deflate");
    }
    response
}

fn bad_opening(bad: &BadOpening, peer: SocketAddr) -> Response {
    tracing::info!(%peer, status = bad.status.as_u16(), why = bad.why, "no handshake");
    let mut response = detail(bad.status, bad.why);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in &bad.headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A refusal before the upgrade.
fn refused(app: &App, denial: &Denial, token: &[u8]) -> Response {
    let told = faulty::http(app, denial, token);
    let mut response =
        if told.detail.is_empty() { http::empty(told.status) } else { detail(told.status, &told.detail) };
    let headers = response.headers_mut();
    if let Some(challenge) = told.challenge {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if told.retry {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    // The URL holds a token: no answer to it belongs in a cache. The connection is not worth keeping.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn http_endpoint(app: &App, router: &Router, request: Request<Incoming>) -> Response {
    let answered = TowerToHyperService::new(router.clone()).call(request);
    match tokio::time::timeout(app.config.limits.handshake, answered).await {
        Ok(Ok(response)) => response.map(Body::new),
        Ok(Err(never)) => match never {},
        Err(_) => {
            let mut response = detail(StatusCode::REQUEST_TIMEOUT, "Request Timeout");
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
    }
}
