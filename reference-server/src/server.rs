//! The accept loop, and the way of a request.
//!
//! One task per connection: HTTP first, with hyper; then, if the handshake was answered with 101, the WebSocket on the
//! same task. Bounded in time, head size and number of connections. Stops gracefully: no new connections, every socket
//! is told 1001, and after a bounded time whatever is left is cut off.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONNECTION, HeaderName,
    ORIGIN, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
    WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper::upgrade::{OnUpgrade, Parts as UpgradeParts};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio_rustls::rustls::ServerConfig;

use crate::admission::{self, Verdict};
use crate::app::App;
use crate::config::{Config, RefusalStyle};
use crate::deflate::{self, Agreed, Codec};
use crate::dialect::{Dialect, Route};
use crate::fault::Fault;
use crate::faulty::{self, Reroute};
use crate::first_message;
use crate::gate::Refusal;
use crate::head_faults::{self, BentHead};
use crate::http::{self, Peer, detail};
use crate::opening::{self, BadOpening, Opening};
use crate::origin;
use crate::refusal::Denial;
use crate::session;
use crate::stream::{self, Layering};
use crate::transport::{Transport, Way};
use crate::wire_faults::Bent;

/// Connections the kernel may hold for us.
const BACKLOG: u32 = 1024;

/// Header fields that hyper takes by itself; more are answered by 431.
pub(crate) const HEADERS_OF_HYPER: usize = 100;

/// Connections too many that are told so at once; the others are just closed.
const DOORSTEP: usize = 64;

/// A server that listens and is ready to run.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    /// The one without TLS beside it.
    plain: Option<TcpListener>,
    app: Arc<App>,
    router: Router,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Hashes the passwords, mints the test token, and listens. Connections are accepted once it runs.
    pub async fn bind(config: Config) -> io::Result<Self> {
        let tls = config.tls.as_ref().map(|tls| tls.server_config()).transpose()?;
        let socket = bound(config.listen)?;
        let plain = config.plain.filter(|_| tls.is_some()).map(bound).transpose()?;
        let (stop, stopped) = watch::channel(false);
        // bcrypt is slow by design and must not hold up the runtime.
        let app = tokio::task::spawn_blocking(move || App::new(config, stopped)).await.map_err(io::Error::other)??;
        let listener = socket.listen(BACKLOG)?;
        let plain = plain.map(|socket| socket.listen(BACKLOG)).transpose()?;
        let address = listener.local_addr()?;
        let app = Arc::new(app);
        let router = http::router(Arc::clone(&app));
        Ok(Self { listener, address, tls, plain, app, router, stop })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint, with `{token}` where the token goes.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.authority(), self.app.config.dialect.target_template())
    }

    /// The host of the certificate, or the address, with the port.
    fn authority(&self) -> String {
        match &self.app.config.tls {
            Some(tls) if tls.host.contains(':') => format!("[{}]:{}", tls.host, self.address.port()),
            Some(tls) => format!("{}:{}", tls.host, self.address.port()),
            None => self.address.to_string(),
        }
    }

    /// Where the HTTP endpoints are.
    pub fn http_url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// Where it listens without TLS, beside the address with it.
    pub fn plain_addr(&self) -> Option<SocketAddr> {
        self.plain.as_ref().and_then(|plain| plain.local_addr().ok())
    }

    /// What it was told.
    pub fn config(&self) -> &Config {
        &self.app.config
    }

    /// Serves one client at the other end of a stream that no listener accepted, such as a pipe in memory. It has a seat
    /// in the registry like every other, but counts towards no limit of connections.
    pub fn serve_stream<S>(&self, stream: S, peer: SocketAddr) -> impl Future<Output = ()> + Send + 'static
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        connection(Arc::clone(&self.app), self.router.clone(), stream, Way::Plain, peer)
    }

    /// Accepts connections until `shutdown` is ready, then ends them and returns, in bounded time.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        // A task of its own: to wake the future that a runtime blocks on costs a system call, and every connection that
        // ends does so. Dropped with this one.
        let mut accepting = JoinSet::new();
        let (enough, is_enough) = oneshot::channel::<()>();
        accepting.spawn(self.accept(is_enough));
        shutdown.await;
        drop(enough);
        if let Some(Err(error)) = accepting.join_next().await {
            tracing::error!(%error, "the accept loop panicked");
        }
    }

    /// Accepts connections until the other end of `enough` is gone.
    async fn accept(self, mut enough: oneshot::Receiver<()>) {
        let Self { listener, app, router, stop, address, tls, plain } = self;
        let seats = Arc::new(Semaphore::new(app.config.limits.connections));
        let doorstep = Arc::new(Semaphore::new(DOORSTEP));
        let mut tasks = JoinSet::new();
        if let Some(every) = app.config.status_every.filter(|_| app.config.dialect == Dialect::Omni2) {
            tasks.spawn(status_broadcasts(Arc::clone(&app), every));
        }
        tracing::info!(%address, dialect = app.config.dialect.name(), fault = ?app.config.fault, "listening");
        loop {
            let accepted = tokio::select! {
                _ = &mut enough => break,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a connection panicked");
                    }
                    continue;
                }
                accepted = listener.accept() => (accepted, tls.clone().map_or(Entrance::Plain, Entrance::Tls)),
                accepted = accept_beside(&plain), if plain.is_some() => (accepted, Entrance::Beside),
            };
            let (accepted, entrance) = accepted;
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
                        turn_away(stream, &entrance).await;
                        drop(seat);
                    });
                }
                continue;
            };
            let (app, router) = (Arc::clone(&app), router.clone());
            tasks.spawn(async move {
                entered(app, router, stream, peer, entrance).await;
                drop(seat);
            });
        }
        drop((listener, plain));
        stop.send_replace(true);
        tracing::info!(connections = tasks.len(), "stopping");
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(app.config.limits.shutdown, ended).await.is_err() {
            tracing::warn!(connections = tasks.len(), "cut off");
        }
        tasks.shutdown().await;
    }
}

/// A socket for this address that nothing was asked of yet.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart must not wait for the last run's connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// The next connection at the address without TLS; where there is none, never.
async fn accept_beside(plain: &Option<TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match plain {
        Some(plain) => plain.accept().await,
        None => std::future::pending().await,
    }
}

/// At which address a connection came in.
enum Entrance {
    Plain,
    Tls(Arc<ServerConfig>),
    Beside,
}

/// A connection before its first byte.
async fn entered(app: Arc<App>, router: Router, tcp: TcpStream, peer: SocketAddr, entrance: Entrance) {
    // Without it a burst of answers waits for the client's delayed acknowledgement.
    let _ = tcp.set_nodelay(true);
    let (tcp, kept) = if app.has(Fault::RefusedSocketsLinger) {
        let Ok((tcp, kept)) = faulty::doubled(tcp) else { return };
        (tcp, Some(kept))
    } else {
        (tcp, None)
    };
    let (stream, way) = match entrance {
        Entrance::Plain => (Transport::Plain(tcp), Way::Plain),
        Entrance::Beside => (Transport::Plain(tcp), Way::Beside),
        Entrance::Tls(config) => {
            let accepted = tokio::select! {
                accepted = Box::pin(Transport::accept(config, tcp, app.config.limits.handshake)) => accepted,
                () = app.stopped() => return,
            };
            match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%peer, %error, "no TLS handshake");
                    return;
                }
            }
        }
    };
    match head_faults::bend(app.config.fault) {
        Some(bend) => Box::pin(connection(Arc::clone(&app), router, BentHead::new(stream, bend), way, peer)).await,
        None => connection(Arc::clone(&app), router, stream, way, peer).await,
    }
    if let Some(mut kept) = kept {
        faulty::linger(&app, &mut kept).await;
    }
}

/// Says 503 and hangs up, whatever the request is. Over TLS nothing can be said without a handshake, which is costly.
async fn turn_away(stream: TcpStream, entrance: &Entrance) {
    if !matches!(entrance, Entrance::Tls(_)) {
        let _ = stream.try_write(
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        );
    }
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

/// One connection, from the first byte to the last.
///
/// What only some connections need, or all of them only for a while, is on the heap for as long: a task is as large as
/// the largest of its steps, and most of them lie idle on an open socket.
pub(crate) async fn connection<S>(app: Arc<App>, router: Router, stream: S, way: Way, peer: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let made = Box::pin(handshake(&app, router, stream, way, peer)).await;
    if let Some(made) = made {
        upgraded::<S>(&app, made, peer).await;
    }
}

/// The HTTP of a connection, up to its end or to a 101.
async fn handshake<S>(app: &Arc<App>, router: Router, stream: S, way: Way, peer: SocketAddr) -> Option<Upgrade>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let sticky = faulty::Sticky::default();
    let upgrade: Mutex<Option<Upgrade>> = Mutex::new(None);
    let service = service_fn(|request| {
        let (router, upgrade, way, sticky) = (&router, &upgrade, &way, &sticky);
        async move {
            let response = answer(app, router, request, way, peer, sticky, |made| {
                *upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
            });
            Ok::<_, Infallible>(response.await)
        }
    });
    let limits = &app.config.limits;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.handshake)
        .max_buf_size(limits.head_bytes.max(8 * 1024));
    // For its own limit hyper has room on the stack; for any other it asks for two pieces of heap per request.
    if limits.headers != HEADERS_OF_HYPER {
        builder.max_headers(limits.headers);
    }
    let mut http = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
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
        faulty::note_broken_request(app, &error);
    }
    // The stream is still there unless it was upgraded.
    if let Some(left) = http.into_parts() {
        session::hang_up(left.io.into_inner()).await;
    }
    upgrade.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The WebSocket of a connection that was upgraded.
async fn upgraded<S>(app: &App, Upgrade { on, verdict, compression }: Upgrade, peer: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some((stream, early)) = on.await.ok().and_then(|upgraded| {
        let UpgradeParts { io, read_buf, .. } = upgraded.downcast::<TokioIo<S>>().ok()?;
        // Copied, because it is a part of a buffer of 8 KiB, which would stay for as long as the connection.
        let early = if app.has(Fault::DropsEarlyFrames) { Vec::new() } else { read_buf.to_vec() };
        Some((io.into_inner(), early))
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
            let socket = session::websocket(app, stream, Vec::new());
            Box::pin(session::serve(app, socket, admitted, peer)).await;
        }
        Ok(admitted) => {
            let socket = session::websocket(app, stream, early);
            session::serve(app, socket, admitted, peer).await;
        }
        Err(_) if verdict.awaits_token => {
            let socket = session::websocket(app, stream, early);
            Box::pin(first_message::serve(app, socket, peer)).await;
        }
        Err(denial) => {
            let came_along = !early.is_empty();
            let socket = session::websocket(app, stream, early);
            Box::pin(session::refuse(app, socket, &denial, &verdict.token, came_along)).await;
        }
    }
}

/// Answers one request. `made` is called with what is left to do after a 101.
async fn answer(
    app: &Arc<App>,
    router: &Router,
    mut request: Request<Incoming>,
    way: &Way,
    peer: SocketAddr,
    sticky: &faulty::Sticky,
    made: impl FnOnce(Upgrade),
) -> Response {
    let on = hyper::upgrade::on(&mut request);
    let (mut head, mut body) = request.into_parts();
    // No redirect: it would only teach clients to send their token in the clear first.
    if *way == Way::Beside && !app.has(Fault::PlainPortServes) {
        let mut response = detail(StatusCode::FORBIDDEN, "TLS is required");
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return response;
    }
    faulty::read_body(app.config.fault, &mut head, &mut body).await;
    if let Err(bad) = opening::check_any(&head, app.config.fault) {
        return bad_opening(app, &bad, peer);
    }
    let (dialect, fault) = (app.config.dialect, app.config.fault);
    if fault == Some(Fault::RoutesAbsoluteForm) && head.uri.scheme().is_some() {
        return detail(StatusCode::NOT_FOUND, "Not Found");
    }
    let path = faulty::path_to_route(fault, head.uri.path());
    let routed = dialect.route(&path);
    let rerouted = faulty::reroute(fault, dialect, &path, &routed);
    let rerouted = faulty::default_host(app, way, &routed).or(rerouted);
    let segment = match (&rerouted, routed) {
        (Some(Reroute::Socket(segment)), _) => *segment,
        (Some(Reroute::Anonymous), _) => None,
        (None, Route::Socket { segment }) => segment,
        (None, Route::Http) => {
            let mut request = Request::from_parts(head, body);
            request.extensions_mut().insert(Peer(peer));
            return Box::pin(http_endpoint(app, router, request)).await;
        }
    };
    // The handshake is judged before the token: whoever does not speak WebSocket learns nothing about tokens.
    let opening = match opening::check(&head, app.config.subprotocol.as_deref(), fault) {
        Ok(opening) => opening,
        Err(bad) => {
            let mut response = bad_opening(app, &bad, peer);
            if app.has(Fault::IdentitySticksToConnection) {
                Box::pin(sticky.learn(app, &head, segment)).await;
                response.headers_mut().remove(CONNECTION);
            }
            return response;
        }
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
    let verdict = match (rerouted, sticky.bearer()) {
        (Some(Reroute::Anonymous), _) => admission::wave_through(app, faulty::anonymous(), peer),
        (_, Some(bearer)) => admission::wave_through(app, bearer, peer),
        _ => admission::judge(app, &head, segment, peer).await,
    };
    if let Err(denial) = &verdict.outcome
        && !verdict.awaits_token
    {
        if app.has(Fault::SlowRefusal) && matches!(denial, Denial::Token(Refusal::BadSignature(_))) {
            tokio::time::sleep(Duration::from_millis(1300)).await;
        }
        if !faulty::refuses_by_close(fault, app.config.refusal == RefusalStyle::Close) {
            return faulty::redirected(app, denial, &head.uri).unwrap_or_else(|| refused(app, denial, &verdict.token));
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
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    let mut put = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
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

fn bad_opening(app: &App, bad: &BadOpening, peer: SocketAddr) -> Response {
    tracing::info!(%peer, status = bad.status.as_u16(), why = bad.why, "no handshake");
    let mut response = detail(bad.status, bad.why);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in &bad.headers {
        if app.has(Fault::StatusWithoutItsHeader) && (*name == ALLOW || *name == UPGRADE) {
            continue;
        }
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
    let origin = request.headers().get(ORIGIN).filter(|_| app.has(Fault::ReflectingCors)).cloned();
    let answered = TowerToHyperService::new(router.clone()).call(request);
    match tokio::time::timeout(app.config.limits.handshake, answered).await {
        Ok(Ok(response)) => {
            let mut response = response.map(Body::new);
            if let Some(origin) = origin {
                response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                response.headers_mut().insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
            response
        }
        Ok(Err(never)) => match never {},
        Err(_) => {
            let mut response = detail(StatusCode::REQUEST_TIMEOUT, "Request Timeout");
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
    }
}
