//! The faults that take more than a line.
//!
//! Each function is called at the seam its faults break and returns what it was given when none of them is on, so the
//! right path can be read without opening this file. What a fault is good for is told in `scenarios/weaknesses.yaml`.
//! The faults of the gate itself are the gate's.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::HttpBody as _;
use axum::http::header::{AUTHORIZATION, CONNECTION, LOCATION, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use base64::Engine as _;
use bytes::Bytes;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

use crate::admission::Admitted;
use crate::app::App;
use crate::carrier::{self, Carried, Places};
use crate::dialect::{Dialect, Route};
use crate::fault::Fault;
use crate::gate::{Bearer, Refusal, RequestHints, STACK_OVERFLOW, exponentiation, shell};
use crate::hub::Seat;
use crate::refusal::{self, Closing, Denial, HttpRefusal, REASON_BYTES};
use crate::socket::Socket;
use crate::transport::Way;

/// What faults remember from one connection to the next.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// dies-after-bad-token
    dead: AtomicBool,
    /// welcome-only-once
    welcomed: AtomicBool,
    /// shared-user-state
    last_user: Mutex<String>,
    /// poisons-broadcast: the connection whose bad message left the dead entry.
    poison: Mutex<Option<u64>>,
    /// constant-issued-token
    issued: Mutex<Option<String>>,
    /// validate-caches-caller
    caller: Mutex<Option<Bearer>>,
    /// health-breaks-under-attack
    attacked: AtomicBool,
    /// death-is-contagious: somebody has died, and nobody has died of it yet.
    death: AtomicBool,
    /// looks-up-user-first: who was let in before.
    known: Mutex<HashSet<String>>,
    /// shared-verification-state
    verdict: Mutex<Option<Result<Bearer, Denial>>>,
    /// context-survives: who had the place of a connection first.
    contexts: Mutex<HashMap<usize, String>>,
    /// secret-per-worker: how many tokens were issued.
    issues: AtomicUsize,
}

/// How many names looks-up-user-first keeps.
const KNOWN_NAMES: usize = 4096;

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// --- who is let in -------------------------------------------------------------------------------------------------

/// Whom a fault admits without a token: somebody whose role and plan would be allowed everywhere.
pub(crate) fn anonymous() -> Bearer {
    let Value::Object(claims) = json!({
        "user_id": "anonymous", "sub": "anonymous", "username": "anonymous",
        "plan": "enterprise", "rate_limits": {},
    }) else {
        unreachable!("an object literal is an object")
    };
    Bearer { identity: "anonymous".to_owned(), role: Some("admin".to_owned()), claims: claims.into(), expires_at: None }
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    carrier::cookies(headers).find_map(|(n, value)| (n == name).then_some(value))
}

fn session_cookie(headers: &HeaderMap) -> Option<Carried> {
    ["token", "access_token", "jwt", "session"]
        .iter()
        .find_map(|name| cookie(headers, name))
        .map(|token| carrier::token_or_empty(token.as_bytes()))
}

fn parameter<'q>(query: Option<&'q str>, name: &str) -> Option<&'q str> {
    query?.split('&').filter_map(|pair| pair.split_once('=')).find_map(|(n, value)| (n == name).then_some(value))
}

/// What the request itself says of its role and carrier. The right gate does not listen.
pub(crate) fn hints(dialect: Dialect, places: Places<'_>) -> RequestHints {
    let header = places.headers.get("x-user-role").and_then(|value| value.to_str().ok());
    RequestHints {
        role: parameter(places.query, "role").or(header).or_else(|| cookie(places.headers, "role")).map(str::to_owned),
        second_carrier: dialect.token_in_header()
            && places.headers.contains_key(AUTHORIZATION)
            && parameter(places.query, "token").is_none_or(str::is_empty),
        fetched: Vec::new(),
    }
}

/// Changes what the carriers were found to hold.
pub(crate) fn bend_carried(fault: Option<Fault>, dialect: Dialect, places: Places<'_>, found: Carried) -> Carried {
    match (fault, found) {
        (Some(Fault::CookieFallback), Carried::Absent | Carried::Empty) => {
            session_cookie(places.headers).unwrap_or(Carried::Absent)
        }
        // A remnant from the time before the token moved out of the URL.
        (Some(Fault::QueryFallback), Carried::Absent) => {
            parameter(places.query, "token").map_or(Carried::Absent, |token| carrier::decoded(token, None))
        }
        (Some(Fault::AnyJwtLookingCookie), Carried::Absent) => carrier::cookies(places.headers)
            .find(|(_, value)| value.split('.').count() == 3)
            .map_or(Carried::Absent, |(_, token)| carrier::token_or_empty(token.as_bytes())),
        (Some(Fault::TrimsToken), Carried::Token(token)) => carrier::token_or_empty(token.trim_ascii()),
        (Some(Fault::ShortTokenLimit), Carried::Token(token)) if token.len() > 2048 => {
            Carried::Unusable("longer than 2 KiB")
        }
        (Some(Fault::DoubleDecodes), Carried::Token(token)) => match str::from_utf8(&token) {
            Ok(text) if !dialect.token_in_header() || !places.headers.contains_key(AUTHORIZATION) => {
                carrier::decoded(text, None)
            }
            _ => Carried::Token(token),
        },
        (_, found) => found,
    }
}

/// unguarded-default-host: whoever names another host, or none, meets a copy of the endpoint without the guard.
pub(crate) fn default_host<'p>(app: &App, way: &Way, routed: &Route<'p>) -> Option<Reroute<'p>> {
    let Way::Tls(named) = way else { return None };
    let ours = app.config.tls.as_ref().is_some_and(|tls| named.as_ref() == Some(&tls.host));
    let meets = app.has(Fault::UnguardedDefaultHost) && !ours && matches!(routed, Route::Socket { .. });
    meets.then_some(Reroute::Anonymous)
}

/// Is a request without a token let in?
pub(crate) fn waves_through(fault: Option<Fault>, dialect: Dialect, carried: &Carried, head: &Parts) -> bool {
    let none = matches!(carried, Carried::Absent | Carried::Empty);
    let has = |name: &str| head.headers.contains_key(name);
    match fault {
        // A path carrier cannot be absent without being empty.
        Some(Fault::ServesAnonymous) => *carried == Carried::Absent || dialect.token_in_path() && none,
        Some(Fault::EmptyTokenIsGuest) => *carried == Carried::Empty,
        Some(Fault::OptionalPathToken) => dialect.token_in_path() && none,
        Some(Fault::TrustsIdentityHeaders) => {
            none && ["x-user-id", "x-user-username", "x-user-role", "x-forwarded-user", "remote-user"]
                .into_iter()
                .any(has)
        }
        Some(Fault::TrustsUnderscoredHeaders) => {
            none && ["x_user_id", "x_user_role", "x_forwarded_user", "remote_user"].into_iter().any(has)
        }
        Some(Fault::UndeclaredCarrierUnverified) => none && (has("x-api-key") || has("x-access-token")),
        Some(Fault::TrustsForwardedFor) => {
            none && ["x-forwarded-for", "x-real-ip", "forwarded"]
                .iter()
                .filter_map(|name| head.headers.get(*name)?.to_str().ok())
                .any(|value| value.contains("127.0.0.1"))
        }
        Some(Fault::DebugSwitch) => {
            let query = head.uri.query();
            none && (parameter(query, "debug") == Some("1")
                || parameter(query, "auth") == Some("false")
                || head.headers.get("x-debug").is_some_and(|value| value == "1")
                || cookie(&head.headers, "debug") == Some("1"))
        }
        Some(Fault::GuardsUsualSpelling) => {
            let is_usual = |name, usual: &str| head.headers.get(name).is_some_and(|value| value == usual);
            let usual = is_usual(UPGRADE, "websocket") && is_usual(CONNECTION, "Upgrade");
            none && (!usual || head.uri.scheme().is_some())
        }
        Some(Fault::PublicByRequestHeader) => {
            let says = |name: &str, prefix: &str| {
                head.headers.get(name).is_some_and(|value| value.as_bytes().starts_with(prefix.as_bytes()))
            };
            none && (["x-original-url", "x-rewrite-url", "x-forwarded-uri"].iter().any(|name| says(name, "/health"))
                || ["kube-probe/", "ELB-HealthChecker/"].iter().any(|probe| says("user-agent", probe))
                || has("x-middleware-subrequest")
                || has("x-internal-request"))
        }
        Some(Fault::SubprotocolPrefixIsEnough) => carrier::elements(&head.headers, &SEC_WEBSOCKET_PROTOCOL)
            .any(|element| element.starts_with("bearer.") || element.starts_with("base64url.bearer.")),
        _ => false,
    }
}

/// The secret of the worker that issues this token, where workers have each their own: the second of two, in turn.
pub(crate) fn secret_of_worker(app: &App) -> Option<&[u8]> {
    let second = app.has(Fault::SecretPerWorker) && app.memory.issues.fetch_add(1, Ordering::Relaxed) % 2 == 1;
    second.then_some(b"what the other worker made when it started")
}

/// Keys that do not belong into the published set.
pub(crate) fn published_by_mistake(app: &App) -> Vec<Value> {
    let text = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    match app.config.fault {
        Some(Fault::PublishesSecret) => {
            vec![json!({ "kty": "oct", "k": text(&app.config.secret), "alg": "HS256", "use": "sig" })]
        }
        // 1024 bits, and an exponent under which a signature is the message.
        Some(Fault::PublishesWeakKey) => {
            let n = text(&[0xc5; 128]);
            vec![json!({ "kty": "RSA", "kid": "legacy", "n": n, "e": "AQ", "alg": "RS256", "use": "sig" })]
        }
        // Strong, and for anything.
        Some(Fault::PublishesUnmarkedKey) => {
            vec![json!({ "kty": "RSA", "kid": "unmarked", "n": text(&[0xc5; 256]), "e": "AQAB" })]
        }
        _ => Vec::new(),
    }
}

/// Breaks on what a token says of its bearer's plan.
pub(crate) fn chokes_on_plan(app: &App, bearer: &Bearer) -> bool {
    let plans = &app.config.limits.plans;
    if plans.is_empty() {
        return false;
    }
    if app.has(Fault::CrashesOnUnknownPlan) {
        let name = bearer.claims.get("plan").and_then(Value::as_str);
        return !plans.iter().any(|plan| Some(plan.name.as_str()) == name);
    }
    let sane =
        |limits: &Value| limits.as_object().is_some_and(|limits| limits.values().all(|limit| limit.as_u64().is_some()));
    app.has(Fault::CrashesOnOddLimits) && !bearer.claims.get("rate_limits").is_none_or(sane)
}

/// Who speaks on a connection: under context-survives, whoever had its place first.
pub(crate) fn keep_context(app: &App, bearer: &mut Bearer) {
    // As many places as there may be connections, so that this does not grow without end.
    if app.has(Fault::ContextSurvives) {
        let mut contexts = held(&app.memory.contexts);
        bearer.identity.clone_from(contexts.entry(app.hub.len()).or_insert_with(|| bearer.identity.clone()));
    }
}

/// Whether the known test token opens the gate before anything is verified.
pub(crate) fn is_test_token(app: &App, token: &[u8]) -> bool {
    app.has(Fault::TestTokenBypass) && app.config.test_token.as_ref().is_some_and(|known| known.as_bytes() == token)
}

/// What a 101 selects of the offered subprotocols; `ours` is what it should.
pub(crate) fn bend_subprotocol<'o>(
    fault: Option<Fault>,
    offered: &[&'o str],
    ours: Option<&'o str>,
) -> Option<&'o str> {
    match fault {
        Some(Fault::SubprotocolNotSelected) => None,
        Some(Fault::AnswersOwnSubprotocol) if !offered.is_empty() => Some("gatecrash.v1"),
        Some(Fault::FirstOfferedSubprotocol) => offered.first().copied(),
        // The last one, where clients put their token.
        Some(Fault::SubprotocolEchoesToken) => offered.last().copied(),
        _ => ours,
    }
}

/// A token that stood in the body of a handshake.
#[derive(Clone)]
struct BodyToken(String);

/// reads-body: looks for a form in the body of a handshake.
pub(crate) async fn read_body(fault: Option<Fault>, head: &mut Parts, body: &mut Incoming) {
    if fault != Some(Fault::ReadsBody) || !head.headers.contains_key(UPGRADE) {
        return;
    }
    let mut text = String::new();
    // Bounded in time and size, as everything is.
    let read = async {
        while let Some(Ok(frame)) = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
            let Ok(data) = frame.into_data() else { break };
            text.push_str(&String::from_utf8_lossy(&data));
            if text.len() > 64 * 1024 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), read).await;
    if let Some(token) = parameter(Some(&text), "access_token") {
        head.extensions.insert(BodyToken(token.to_owned()));
    }
}

/// broadcasts-before-auth: a seat for a client that has not shown a token yet.
pub(crate) fn early_seat(app: &App) -> Option<Seat> {
    app.has(Fault::BroadcastsBeforeAuth).then(|| app.hub.enter("stranger", usize::MAX)).flatten()
}

/// serves-before-auth: what the message loop says to a message that came before the token.
pub(crate) fn answer_to_a_stranger(app: &App, text: &str) -> Option<String> {
    if !app.has(Fault::ServesBeforeAuth) {
        return None;
    }
    let talk = crate::talk::Talk::new(app.config.dialect, None, &anonymous(), app.now());
    match talk.text(text, app.now(), [1; 16]) {
        crate::talk::Answer::Reply(text) | crate::talk::Answer::Broadcast(text) => Some(text),
        _ => None,
    }
}

/// refused-first-message-stays-open: a seat for a client whose token was refused.
pub(crate) fn seat_of_the_refused(app: &App) -> Option<Admitted> {
    if !app.has(Fault::RefusedFirstMessageStaysOpen) {
        return None;
    }
    let seat = app.hub.enter("refused", usize::MAX)?;
    Some(Admitted { bearer: anonymous(), seat })
}

/// Tries the other places a token might be in, after the right one was refused.
pub(crate) fn rescue(
    app: &App,
    head: &Parts,
    places: Places<'_>,
    hints: &RequestHints,
    denial: Denial,
) -> Result<Bearer, Denial> {
    let authorizations =
        || places.headers.get_all(AUTHORIZATION).iter().filter_map(|value| carrier::bearer(value.as_bytes()));
    let query = || parameter(places.query, "token").map(|token| carrier::decoded(token, None));
    let candidates: Vec<Carried> = match app.config.fault {
        Some(Fault::ReadsBody) => {
            let token = head.extensions.get::<BodyToken>();
            token.map(|token| carrier::decoded(&token.0, None)).into_iter().collect()
        }
        Some(Fault::CookieRescuesBadToken) => session_cookie(places.headers).into_iter().collect(),
        Some(Fault::QueryRescuesPath) if app.config.dialect.token_in_path() => query().into_iter().collect(),
        Some(Fault::EitherCarrierRescues) if app.config.dialect.token_in_header() => {
            query().into_iter().chain(authorizations().map(carrier::token_or_empty)).collect()
        }
        Some(Fault::TwoAuthorizationHeaders) if app.config.dialect.token_in_header() => {
            authorizations().map(carrier::token_or_empty).collect()
        }
        Some(Fault::GreedyPath) if app.config.dialect.token_in_path() => {
            head.uri.path().split('/').map(|segment| carrier::decoded(segment, None)).collect()
        }
        _ => Vec::new(),
    };
    candidates
        .into_iter()
        .rev()
        .find_map(|carried| match carried {
            Carried::Token(token) => app.gate.admit_with(&token, app.now(), hints).ok(),
            _ => None,
        })
        .ok_or(denial)
}

/// What a path is taken for by a fault of routing.
pub(crate) enum Reroute<'p> {
    /// The endpoint, with this segment.
    Socket(Option<&'p str>),
    /// The endpoint, open to anyone.
    Anonymous,
}

/// Changes which resource a path names.
pub(crate) fn reroute<'p>(
    fault: Option<Fault>,
    dialect: Dialect,
    path: &'p str,
    routed: &Route<'_>,
) -> Option<Reroute<'p>> {
    let known = [
        "/health",
        "/token",
        "/test-token",
        "/auth/token",
        "/api/auth/login",
        "/auth/validate",
        "/auth/api/v1/auth/login",
    ];
    if *routed != Route::Http || known.contains(&path) {
        return None;
    }
    match fault {
        Some(Fault::GreedyPath) if dialect.token_in_path() && path.starts_with("/ws/") => {
            Some(Reroute::Socket(path.rsplit('/').next()))
        }
        Some(Fault::PrefixPathBypass) if folds_to_endpoint(dialect, path) => Some(Reroute::Anonymous),
        Some(Fault::AnonymousOnUnknownPath) if !folds_to_endpoint(dialect, path) => Some(Reroute::Anonymous),
        _ => None,
    }
}

/// Is `path` the endpoint once everything is folded that some proxy or framework folds?
fn folds_to_endpoint(dialect: Dialect, path: &str) -> bool {
    let decoded = carrier::percent_decode(path).unwrap_or_else(|| path.as_bytes().to_vec());
    let text = String::from_utf8_lossy(&decoded).to_lowercase();
    let text = text.split('\0').next().unwrap_or_default();
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        let bare = segment.split(';').next().unwrap_or_default();
        match bare.strip_suffix(".json").unwrap_or(bare) {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            bare => segments.push(bare),
        }
    }
    let folded = format!("/{}", segments.join("/"));
    folded == dialect.endpoint() || dialect.token_in_path() && folded.starts_with("/ws/") && segments.len() == 2
}

/// Notes a verdict, for the faults that let one client's bad token hurt another.
pub(crate) fn remember_verdict(app: &App, verdict: &Result<Bearer, Denial>) {
    let Err(Denial::Token(refusal)) = verdict else {
        if let (Ok(bearer), true) = (verdict, app.has(Fault::SharedUserState)) {
            held(&app.memory.last_user).clone_from(&bearer.identity);
        }
        return;
    };
    if app.has(Fault::DiesAfterBadToken) && matches!(refusal, Refusal::BadSignature(_)) {
        app.memory.dead.store(true, Ordering::Relaxed);
    }
    if app.has(Fault::WorkerRestart) && *refusal != Refusal::Missing {
        app.hub.drop_everyone();
    }
    if app.has(Fault::HealthBreaksUnderAttack) && matches!(refusal, Refusal::BadSignature(_)) {
        app.memory.attacked.store(true, Ordering::Relaxed);
    }
    if *refusal == Refusal::Internal(STACK_OVERFLOW) {
        // The process is gone, and a supervisor has started another.
        app.hub.drop_everyone();
    }
}

/// health-breaks-under-attack: has there been a forged token?
pub(crate) fn is_shaken(app: &App) -> bool {
    app.memory.attacked.load(Ordering::Relaxed)
}

/// dies-on-reset: a request that broke off takes the process with it.
pub(crate) fn note_broken_request(app: &App, error: &hyper::Error) {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    let reset = source.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
    if app.has(Fault::DiesOnReset) && (reset || error.is_incomplete_message()) {
        app.hub.drop_everyone();
    }
}

/// What a verdict costs, and what becomes of it while it is on its way.
pub(crate) async fn after_verification(
    app: &App,
    token: &[u8],
    verdict: Result<Bearer, Denial>,
) -> Result<Bearer, Denial> {
    match app.config.fault {
        Some(Fault::SlowVerification) => {
            // A password hash, or a request for the keys.
            tokio::time::sleep(Duration::from_millis(300)).await;
            verdict
        }
        Some(Fault::UnboundedPbes2) => {
            busy(app, derivation(token)).await;
            verdict
        }
        Some(Fault::KidInAShell) => {
            let kid = members(token, 0).and_then(|header| header.get("kid")?.as_str().and_then(shell));
            busy(app, kid.unwrap_or_default()).await;
            verdict
        }
        Some(Fault::ComputesWithEmbeddedKey) => {
            busy(app, members(token, 0).as_ref().and_then(exponentiation).unwrap_or_default()).await;
            verdict
        }
        Some(Fault::SharedVerificationState) => {
            *held(&app.memory.verdict) = Some(verdict);
            tokio::time::sleep(Duration::from_millis(2)).await;
            held(&app.memory.verdict).clone().unwrap_or(Err(Denial::ServiceFailed))
        }
        Some(Fault::LooksUpUserFirst) => look_up(app, token, verdict),
        _ => verdict,
    }
}

/// Has no time for this client, for as long as that: at most until somebody would look after the server.
async fn busy(app: &App, time: Duration) {
    tokio::select! {
        () = tokio::time::sleep(time.min(Duration::from_secs(30))) => {}
        () = app.stopped() => {}
    }
}

/// How long PBKDF2 takes for what the header asks (RFC 7518 §4.8.1.2), at a million rounds a second.
fn derivation(token: &[u8]) -> Duration {
    let rounds = members(token, 0).and_then(|header| header.get("p2c")?.as_f64()).unwrap_or_default();
    Duration::try_from_secs_f64(rounds / 1e6).unwrap_or_default()
}

/// The members of a segment, unverified.
fn members(token: &[u8], segment: usize) -> Option<serde_json::Map<String, Value>> {
    let segment = token.split(|byte| *byte == b'.').nth(segment)?;
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(segment).ok()?).ok()
}

/// looks-up-user-first: whoever is not in the books is told so, signature or not.
fn look_up(app: &App, token: &[u8], verdict: Result<Bearer, Denial>) -> Result<Bearer, Denial> {
    let mut known = held(&app.memory.known);
    match verdict {
        Ok(bearer) => {
            if known.len() >= KNOWN_NAMES {
                known.clear();
            }
            known.insert(bearer.identity.clone());
            Ok(bearer)
        }
        Err(Denial::Token(Refusal::BadSignature(why))) => {
            let claims = members(token, 1).unwrap_or_default();
            let mut names = app.config.dialect.identity_claims().iter().filter_map(|name| claims.get(*name)?.as_str());
            Err(Denial::Token(match names.next() {
                Some(name) if !known.contains(name) => Refusal::BadClaims("an identity nobody knows"),
                _ => Refusal::BadSignature(why),
            }))
        }
        other => other,
    }
}

/// identity-sticks-to-connection: who spoke first on a TCP connection.
#[derive(Debug, Default)]
pub(crate) struct Sticky(Mutex<Option<Bearer>>);

impl Sticky {
    /// Remembers the bearer of this request, whatever else becomes of it.
    pub(crate) async fn learn(&self, app: &App, head: &Parts, segment: Option<&str>) {
        if let Some(bearer) = crate::admission::identify(app, head, segment).await {
            *held(&self.0) = Some(bearer);
        }
    }

    /// Whom it remembers.
    pub(crate) fn bearer(&self) -> Option<Bearer> {
        held(&self.0).clone()
    }
}

/// The path by which a request is routed.
pub(crate) fn path_to_route(fault: Option<Fault>, path: &str) -> Cow<'_, str> {
    if fault != Some(Fault::DecodesPathBeforeRouting) {
        return Cow::Borrowed(path);
    }
    let decoded = carrier::percent_decode(path).and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.unwrap_or_else(|| path.to_owned());
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/').skip(1) {
        if segment == ".." {
            segments.pop();
        } else {
            segments.push(segment);
        }
    }
    Cow::Owned(format!("/{}", segments.join("/")))
}

/// Does every handshake end in 500 from now on?
pub(crate) fn is_dead(app: &App) -> bool {
    app.memory.dead.load(Ordering::Relaxed)
}

// --- how it is told ------------------------------------------------------------------------------------------------

/// How a refusal after the upgrade is told in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Close(Closing),
    /// The connection is dropped without a Close.
    Drop,
}

fn is_crash(fault: Option<Fault>, denial: &Denial) -> bool {
    match denial {
        Denial::Token(Refusal::Internal(_)) => true,
        Denial::Token(Refusal::Missing | Refusal::RoleNotAllowed(_)) => false,
        Denial::Token(_) => fault == Some(Fault::CrashesInsteadOfRefusing),
        _ => false,
    }
}

/// As another refusal would be told.
fn swapped(fault: Option<Fault>, denial: &Denial) -> Option<Denial> {
    match (fault?, denial) {
        (Fault::MissingReportedAsInvalid, Denial::Token(Refusal::Missing)) => {
            Some(Denial::Token(Refusal::Malformed("missing")))
        }
        _ => None,
    }
}

/// The Close of a refusal, bent.
pub(crate) fn closing(app: &App, denial: &Denial, token: &[u8]) -> Told {
    let (fault, dialect) = (app.config.fault, app.config.dialect);
    if is_crash(fault, denial) {
        return Told::Drop;
    }
    let denial = &swapped(fault, denial).unwrap_or_else(|| denial.clone());
    let mut closing = refusal::closing(dialect, denial);
    let Some(fault) = fault else {
        return Told::Close(closing);
    };
    let simutrador = dialect == Dialect::Simutrador;
    let text = |text: &str| refusal::cut(text).as_bytes().to_vec();
    match (fault, denial) {
        (Fault::InvalidReportedAsInternal, Denial::Token(Refusal::Malformed(_))) => {
            closing = Closing::new(if simutrador { 4000 } else { 1011 }, "Authentication error");
        }
        (Fault::ForgedReportedAsExpired, Denial::Token(Refusal::BadSignature(_))) if simutrador => {
            closing = refusal::closing(dialect, &Denial::Token(Refusal::Expired));
        }
        (Fault::ForgedReportedAsExpired, Denial::Token(Refusal::BadSignature(_))) => {
            closing = Closing::new(1003, "Expired");
        }
        (Fault::ExpiredReportedAsInvalid, Denial::Token(Refusal::Expired)) if simutrador => {
            closing = refusal::closing(dialect, &Denial::Token(Refusal::Malformed("expired")));
        }
        (Fault::ExpiredReportedAsInvalid, Denial::Token(Refusal::Expired)) => closing.code = 1000,
        (Fault::RoleReportedAsUnauthenticated, Denial::Token(Refusal::RoleNotAllowed(_))) => closing.code = 3000,
        (Fault::LongRoleBreaksClose, Denial::Token(Refusal::RoleNotAllowed(_)))
            if refusal::reason(dialect, denial).len() > REASON_BYTES =>
        {
            return Told::Drop;
        }
        (Fault::ReasonCutInsideCharacter, _) => {
            closing.reason = refusal::reason(dialect, denial).into_bytes();
            closing.reason.truncate(REASON_BYTES);
        }
        (Fault::IllegalCloseCode, _) => closing.code = 1006,
        (Fault::NormalClosureRefusal, _) => closing.code = 1000,
        (Fault::OverlongCloseReason, _) => {
            closing.reason.resize(REASON_BYTES - 1, b'.');
            closing.reason.push(0xc3); // the first half of a two-byte character
        }
        (Fault::WrongReason, _) => closing.reason = b"nope".to_vec(),
        (Fault::CodesShiftedByOne, _) if closing.code >= 4000 => closing.code += 1,
        (Fault::ExceptionAsReason, denial) => {
            closing.reason = exception(denial).map_or(closing.reason, |words| words.as_bytes().to_vec());
        }
        (Fault::TellsExpectedSignature, Denial::Token(Refusal::BadSignature(_))) => {
            closing.reason = text(&expected_signature(app, token));
        }
        (Fault::ReflectsToken, _) if !token.is_empty() => {
            // The end of the token, so that the signature is in what fits.
            let tail = &token[token.len().saturating_sub(100)..];
            closing.reason = text(&format!("Bad token: {}", String::from_utf8_lossy(tail)));
        }
        (Fault::LeaksSecret, _) => {
            closing.reason = text(&format!("Key was {}", secret(app)));
        }
        (Fault::StackTrace, _) => closing.reason = text(STACK_TRACE),
        _ => {}
    }
    Told::Close(closing)
}

/// The secret as text, for a fault that tells it.
fn secret(app: &App) -> String {
    let secret = &app.config.secret;
    str::from_utf8(secret).map_or_else(|_| crate::app::hex(secret), str::to_owned)
}

/// exception-as-reason: the words of the library.
fn exception(denial: &Denial) -> Option<&'static str> {
    match denial {
        Denial::Token(Refusal::Malformed(_)) => Some("Not enough segments"),
        Denial::Token(Refusal::BadSignature(_)) => Some("Signature verification failed"),
        Denial::Token(Refusal::Expired) => Some("Signature has expired"),
        _ => None,
    }
}

/// tells-expected-signature
fn expected_signature(app: &App, token: &[u8]) -> String {
    let expected = app.gate.signature_for(token);
    format!("expected signature {}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(expected))
}

/// redirects-with-token: whoever's token is over is sent to log in elsewhere, and to come back with the same URL.
pub(crate) fn redirected(app: &App, denial: &Denial, uri: &Uri) -> Option<Response> {
    if !app.has(Fault::RedirectsWithToken) || *denial != Denial::Token(Refusal::Expired) {
        return None;
    }
    let mut response = crate::http::empty(StatusCode::FOUND);
    let location = HeaderValue::try_from(format!("https://login.example/?next={uri}")).ok()?;
    response.headers_mut().insert(LOCATION, location);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Some(response)
}

const STACK_TRACE: &str = "Traceback (most recent call last): File \"/srv/app/auth.py\", line 42, in verify_token: jwt.exceptions.DecodeError";

/// The HTTP answer of a refusal, bent.
pub(crate) fn http(app: &App, denial: &Denial, token: &[u8]) -> HttpRefusal {
    let (fault, dialect) = (app.config.fault, app.config.dialect);
    if is_crash(fault, denial) {
        return refusal::http(dialect, &Denial::Token(Refusal::Internal("crashed")));
    }
    let denial = &swapped(fault, denial).unwrap_or_else(|| denial.clone());
    let mut answer = refusal::http(dialect, denial);
    match (fault, denial) {
        (Some(Fault::CloseBeforeAccept), _) => {
            answer =
                HttpRefusal { status: StatusCode::FORBIDDEN, challenge: None, retry: false, detail: String::new() };
        }
        (Some(Fault::InvalidReportedAsInternal), Denial::Token(Refusal::Malformed(_))) => {
            answer.status = StatusCode::INTERNAL_SERVER_ERROR;
        }
        (Some(Fault::ForgedReportedAsExpired), Denial::Token(Refusal::BadSignature(_)))
        | (Some(Fault::ExpiredReportedAsInvalid), Denial::Token(Refusal::Expired)) => {
            answer.status = StatusCode::FORBIDDEN;
        }
        (Some(Fault::RoleReportedAsUnauthenticated), Denial::Token(Refusal::RoleNotAllowed(_))) => {
            answer.status = StatusCode::UNAUTHORIZED;
        }
        (Some(Fault::RefusesWith200), _) => answer.status = StatusCode::OK,
        (Some(Fault::Unchallenged401), _) => answer.challenge = None,
        (Some(Fault::WrongReason), _) => answer.detail = "nope".to_owned(),
        (Some(Fault::ChallengeOfAnotherError), Denial::Token(Refusal::Expired)) => {
            answer.challenge = Some("Bearer error=\"invalid_request\"");
        }
        (Some(Fault::ErrorWithoutCredentials), Denial::Token(Refusal::Missing)) => {
            answer.challenge = Some("Bearer error=\"invalid_token\"");
        }
        (Some(Fault::ExceptionAsReason), denial) => {
            answer.detail = exception(denial).map_or(answer.detail, str::to_owned);
        }
        (Some(Fault::TellsExpectedSignature), Denial::Token(Refusal::BadSignature(_))) => {
            answer.detail = expected_signature(app, token);
        }
        (Some(Fault::ReflectsToken), _) if !token.is_empty() => {
            answer.detail = format!("Bad token: {}", String::from_utf8_lossy(token));
        }
        (Some(Fault::LeaksSecret), _) => {
            answer.detail = format!("Key was {}", secret(app));
        }
        (Some(Fault::StackTrace), _) => answer.detail = STACK_TRACE.to_owned(),
        _ => {}
    }
    answer
}

/// Does this fault need the refusal after the upgrade, or before it, whatever the configured style?
pub(crate) fn refuses_by_close(fault: Option<Fault>, configured: bool) -> bool {
    match fault {
        Some(Fault::FramesBeforeVerification | Fault::UpgradesToRefuse) => true,
        Some(Fault::CloseBeforeAccept) => false,
        _ => configured,
    }
}

// --- messages ------------------------------------------------------------------------------------------------------

/// Cuts every text in `value` at its first NUL.
pub(crate) fn truncate_at_nul(value: &mut Value) {
    match value {
        Value::String(text) => text.truncate(text.find('\0').unwrap_or(text.len())),
        Value::Array(values) => values.iter_mut().for_each(truncate_at_nul),
        Value::Object(members) => members.values_mut().for_each(truncate_at_nul),
        _ => {}
    }
}

/// Is this the second welcome of the process, under the fault that gives one only?
pub(crate) fn was_welcomed(app: &App) -> bool {
    app.has(Fault::WelcomeOnlyOnce) && app.memory.welcomed.swap(true, Ordering::Relaxed)
}

/// Under shared-user-state, the name of whoever connected last.
pub(crate) fn shared_user(app: &App) -> Option<String> {
    app.has(Fault::SharedUserState).then(|| held(&app.memory.last_user).clone())
}

/// poisons-broadcast: remembers a message that left a dead entry behind.
pub(crate) fn poison(app: &App, culprit: u64, text: &str) {
    if app.has(Fault::PoisonsBroadcast) && !matches!(serde_json::from_str(text), Ok(Value::Object(_))) {
        *held(&app.memory.poison) = Some(culprit);
    }
}

/// poisons-broadcast: does the dead entry kill this sender, who did not leave it?
pub(crate) fn dies_of_poison(app: &App, sender: u64) -> bool {
    app.has(Fault::PoisonsBroadcast) && held(&app.memory.poison).take_if(|culprit| *culprit != sender).is_some()
}

/// death-is-contagious: remembers that a client went without a word.
pub(crate) fn note_death(app: &App) {
    if app.has(Fault::DeathIsContagious) {
        app.memory.death.store(true, Ordering::Relaxed);
    }
}

/// death-is-contagious: does the error that a dead client left behind end this session?
pub(crate) fn dies_with_another(app: &App) -> bool {
    app.has(Fault::DeathIsContagious) && app.memory.death.swap(false, Ordering::Relaxed)
}

/// masks-server-frames
pub(crate) fn masked(message: Message) -> Message {
    let Message::Text(text) = message else {
        return message;
    };
    let header = FrameHeader { opcode: OpCode::Data(Data::Text), mask: Some([1, 2, 3, 4]), ..FrameHeader::default() };
    Message::Frame(Frame::from_payload(header, Bytes::from(text)))
}

/// The faults that mistreat a burst see all of it at once; without them messages are answered one by one.
pub(crate) fn gathers(fault: Option<Fault>) -> bool {
    matches!(fault, Some(Fault::ReordersBurst | Fault::DropsInBurst | Fault::DoublesInBurst))
}

/// The messages of a burst, as these faults have it.
pub(crate) async fn gather<S>(fault: Option<Fault>, socket: &mut Socket<S>, first: Message) -> Vec<Message>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut batch = vec![first];
    // Long enough for the rest of a burst to arrive.
    tokio::time::sleep(Duration::from_millis(20)).await;
    while batch.len() < 256
        && let Some(Some(Ok(message))) = socket.ready()
    {
        let last = message.is_close();
        batch.push(message);
        if last {
            break;
        }
    }
    if batch.len() < 20 {
        return batch;
    }
    match fault {
        Some(Fault::ReordersBurst) => batch.chunks_exact_mut(10).for_each(|ten| ten.swap(8, 9)),
        Some(Fault::DropsInBurst) => {
            let mut at = 0;
            batch.retain(|_| {
                at += 1;
                at % 17 != 0
            });
        }
        _ => {
            let twice = batch[10].clone();
            batch.insert(10, twice);
        }
    }
    batch
}

// --- login ---------------------------------------------------------------------------------------------------------

/// constant-issued-token: the first token issued, ever after.
pub(crate) fn constant(app: &App, token: String) -> String {
    if !app.has(Fault::ConstantIssuedToken) {
        return token;
    }
    held(&app.memory.issued).get_or_insert(token).clone()
}

/// validate-caches-caller: the caller before this one.
pub(crate) fn previous_caller(app: &App, bearer: Bearer) -> Bearer {
    if !app.has(Fault::ValidateCachesCaller) {
        return bearer;
    }
    held(&app.memory.caller).replace(bearer.clone()).unwrap_or(bearer)
}

// --- refused, and yet ----------------------------------------------------------------------------------------------

/// What a fault says on a socket that is about to be refused, on which something came along with the opening or not.
pub(crate) async fn before_refusal<S>(app: &App, socket: &mut Socket<S>, came_along: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let talk = crate::talk::Talk::new(app.config.dialect, None, &anonymous(), app.now());
    let said = match app.config.fault {
        Some(Fault::WelcomeBeforeVerification) => {
            Some(talk.welcome(app.now()).unwrap_or_else(|| json!({"type": "hello"}).to_string()))
        }
        // Only what came along: what is said later is met by the refusal or not, as fast as the machine is.
        Some(Fault::FramesBeforeVerification) if came_along => {
            match tokio::time::timeout(Duration::ZERO, socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => match talk.text(&text, app.now(), [1; 16]) {
                    crate::talk::Answer::Reply(text) | crate::talk::Answer::Broadcast(text) => Some(text),
                    _ => None,
                },
                _ => None,
            }
        }
        _ => None,
    };
    if let Some(text) = said {
        let _ = socket.send(Message::text(text)).await;
    }
}

/// answers-behind-refusal: the socket was registered before it was refused, and what it says is answered all the same.
pub(crate) async fn close_and_answer<S>(app: &App, socket: &mut Socket<S>, close: Message)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let heard = tokio::time::timeout(Duration::from_millis(50), socket.next()).await;
    let talk = crate::talk::Talk::new(app.config.dialect, None, &anonymous(), app.now());
    let answer = match heard {
        Ok(Some(Ok(Message::Text(text)))) => talk.text(&text, app.now(), [1; 16]),
        _ => crate::talk::Answer::Quiet,
    };
    let _ = socket.send(close).await;
    if let crate::talk::Answer::Reply(text) | crate::talk::Answer::Broadcast(text) = answer {
        // The WebSocket layer would not send it any more.
        let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
        let frame = Frame::from_payload(header, Bytes::from(text));
        let mut bytes = Vec::with_capacity(frame.len());
        if frame.format(&mut bytes).is_ok() {
            let _ = socket.get_mut().write_all(&bytes).await;
        }
    }
}

/// refused-sockets-linger: a second handle on the socket, which is kept when the first is dropped.
pub(crate) fn doubled(stream: TcpStream) -> std::io::Result<(TcpStream, TcpStream)> {
    let first = stream.into_std()?;
    let second = first.try_clone()?;
    Ok((TcpStream::from_std(first)?, TcpStream::from_std(second)?))
}

/// refused-sockets-linger: waits until the client has ended the connection, or the server stops.
pub(crate) async fn linger(app: &App, stream: &mut (impl AsyncRead + Unpin)) {
    let mut sink = vec![0; 1024];
    loop {
        tokio::select! {
            read = stream.read(&mut sink) => if !matches!(read, Ok(1..)) { return },
            () = app.stopped() => return,
        }
    }
}

/// Under broadcast-skips-sender, the one who hears nothing: only among others, or nothing at all would work.
pub(crate) fn left_out(app: &App, admitted: &Admitted) -> Option<u64> {
    (app.has(Fault::BroadcastSkipsSender) && app.hub.len() >= 3).then(|| admitted.seat.id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_variants_fold() {
        for variant in ["/ws/", "//ws", "/./ws", "/x/../ws", "/WS", "/ws%2f", "/ws;x", "/ws.json", "/ws%00", "/%77s"] {
            assert!(folds_to_endpoint(Dialect::Shipvox, variant), "{variant}");
        }
        for other in ["/", "/health", "/wsx", "/ws/x"] {
            assert!(!folds_to_endpoint(Dialect::Shipvox, other), "{other}");
        }
    }
}
