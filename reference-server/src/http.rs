//! Everything that is not the WebSocket endpoint: health, login, tokens, validation.
//!
//! Each dialect has the endpoints its documents name and no others. An unknown user and a wrong password get the same
//! answer after the same work. Token answers are never cacheable. Nothing here decides who may open a socket.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::rejection::{FormRejection, JsonRejection};
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine as _;
use bytes::Bytes;
use jsonwebtoken::{EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::app::{Account, App, hex, random_16};
use crate::carrier;
use crate::clock::iso8601;
use crate::config::{Config, Environment};
use crate::dialect::Dialect;
use crate::fault::Fault;
use crate::faulty;
use crate::gate::{Bearer, Refusal};

/// No login needs more.
const BODY_BYTES: usize = 16 * 1024;

/// The window in which failed logins are counted.
const FAILURE_WINDOW: Duration = Duration::from_secs(10);

/// Names and addresses whose failures are remembered; beyond that the oldest window is forgotten.
const REMEMBERED_FAILURES: usize = 1024;

/// The address of the client, put into the request by the accept loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

type Shared = State<Arc<App>>;

/// The endpoints of the dialect.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (dialect, environment, fault) = (app.config.dialect, app.config.environment, app.config.fault);
    let router = Router::new().route("/health", get(health));
    let (path, login) = match dialect {
        Dialect::PersonalAssistant => ("/api/auth/login", post(login_json)),
        Dialect::Shipvox => ("/token", post(login_form)),
        Dialect::Simutrador => ("/auth/token", post(login_json)),
        Dialect::Omni2 => ("/auth/api/v1/auth/login", post(login_json)),
        Dialect::Strict => ("/login", post(login_json)),
    };
    let login = if fault == Some(Fault::LoginByGet) { login.get(login_query) } else { login };
    let login = if fault == Some(Fault::GuessesBodyType) { post(login_guess) } else { login };
    // Without a secret there is nothing to sign with.
    let mut router = if app.config.secret.is_empty() { router } else { router.route(path, login) };
    if !app.config.keys.is_empty() {
        router = router.route("/.well-known/jwks.json", get(key_set));
    }
    if dialect == Dialect::Omni2 {
        router = router.route("/auth/validate", post(validate));
    }
    // In production there is no such resource.
    let handed_out = environment == Environment::Development || fault == Some(Fault::TestTokenInProduction);
    if dialect == Dialect::Shipvox && handed_out {
        router = router.route("/test-token", get(test_token));
    }
    router
        .fallback(async || detail(StatusCode::NOT_FOUND, "Not Found"))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(app)
}

/// An error the way the four systems tell it.
pub(crate) fn detail(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({"detail": text}))).into_response()
}

/// A 401 always says how to do better (RFC 9110 §15.5.2).
fn unauthorized(challenge: &'static str, text: &str) -> Response {
    let mut response = detail(StatusCode::UNAUTHORIZED, text);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

/// The public keys that are trusted here (RFC 7517 §5).
async fn key_set(State(app): Shared) -> Response {
    let mut keys: Vec<Value> = app.config.keys.iter().filter_map(crate::gate::TrustedKey::jwk).collect();
    keys.extend(faulty::published_by_mistake(&app));
    Json(json!({ "keys": keys })).into_response()
}

async fn health(State(app): Shared, headers: HeaderMap) -> Response {
    if app.has(Fault::HealthNeedsToken) && !headers.contains_key(AUTHORIZATION) {
        return unauthorized("Bearer", "Not authenticated");
    }
    if faulty::is_shaken(&app) {
        return detail(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    }
    let now = if app.has(Fault::StaleHealthTimestamp) { 1_704_067_200.0 } else { app.now() };
    let mut body = json!({"status": "ok", "timestamp": iso8601(now), "service": app.config.dialect.service()});
    if app.has(Fault::LeakyHealth) {
        body["version"] = env!("CARGO_PKG_VERSION").into();
        body["environment"] = json!({"ENVIRONMENT": "development", "DEBUG": "1", "HOME": "/srv/app"});
    }
    Json(body).into_response()
}

#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: String,
}

async fn login_json(state: Shared, peer: Extension<Peer>, body: Result<Json<Credentials>, JsonRejection>) -> Response {
    match body {
        Ok(Json(credentials)) => login(state, peer, credentials).await,
        Err(rejection) => bad_login(&state.0, rejection.status()),
    }
}

async fn login_form(state: Shared, peer: Extension<Peer>, body: Result<Form<Credentials>, FormRejection>) -> Response {
    match body {
        Ok(Form(credentials)) => login(state, peer, credentials).await,
        Err(rejection) => bad_login(&state.0, rejection.status()),
    }
}

/// Only for the fault that logs in by GET.
async fn login_query(state: Shared, peer: Extension<Peer>, uri: Uri) -> Response {
    let field = |name: &str| {
        uri.query()?
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(n, value)| (n == name).then(|| carrier::percent_decode(value)))
            .flatten()
            .and_then(|bytes| String::from_utf8(bytes).ok())
    };
    match (field("username"), field("password")) {
        (Some(username), Some(password)) => login(state, peer, Credentials { username, password }).await,
        _ => bad_login(&state.0, StatusCode::UNPROCESSABLE_ENTITY),
    }
}

/// Only for the fault that takes a body for whatever it looks like.
async fn login_guess(state: Shared, peer: Extension<Peer>, body: Bytes) -> Response {
    let json = serde_json::from_slice(&body).ok();
    let form = || serde_json::from_value(Value::Object(form_fields(&body)?)).ok();
    match json.or_else(form) {
        Some(credentials) => login(state, peer, credentials).await,
        None => bad_login(&state.0, StatusCode::UNPROCESSABLE_ENTITY),
    }
}

/// The fields of a form.
fn form_fields(body: &[u8]) -> Option<Map<String, Value>> {
    let text = str::from_utf8(body).ok()?.replace('+', "%20");
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    let text = |text: &str| String::from_utf8(carrier::percent_decode(text)?).ok();
    pairs.map(|(name, value)| Some((text(name)?, Value::from(text(value)?)))).collect()
}

/// The rejection's own text could repeat what was sent, so only its status is used.
fn bad_login(app: &App, status: StatusCode) -> Response {
    if app.has(Fault::CrashesOnMissingField) {
        return detail(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    }
    detail(status, "username and password are needed")
}

async fn login(State(app): Shared, Extension(Peer(peer)): Extension<Peer>, credentials: Credentials) -> Response {
    let Credentials { username, password } = credentials;
    if app.failed_logins.too_many(peer.ip(), &username) {
        tracing::warn!(%peer, ?username, "login throttled");
        let mut response = detail(StatusCode::TOO_MANY_REQUESTS, "Too many failed logins");
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(FAILURE_WINDOW.as_secs()));
        return response;
    }
    if app.has(Fault::InjectableLogin) && (is_tautology(&username) || username.contains(")(")) {
        // WHERE name = '...' OR 1=1, or (&(uid=*)(uid=*)): the first row, or the first entry.
        if let Some(account) = app.accounts.first()
            && let Ok(body) = issue(&app, account, &password)
        {
            return token_response(&app, StatusCode::OK, body);
        }
    }
    let account = app.accounts.iter().find(|account| account.user.username == username);
    // The work is the same whether there is such a user or not.
    let hash = account.map_or(&app.nobodys_hash, |account| &account.hash).clone();
    let right = app.has(Fault::AnyPasswordLogsIn) || matches(&app, password.clone(), hash).await;
    match account.filter(|_| right) {
        Some(account) => {
            tracing::info!(%peer, ?username, "logged in");
            match issue(&app, account, &password) {
                Ok(body) => token_response(&app, StatusCode::OK, body),
                Err(_) => detail(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
            }
        }
        None => {
            tracing::info!(%peer, ?username, "login failed");
            app.failed_logins.count(peer.ip(), &username);
            if app.has(Fault::UserEnumeration) && account.is_none() {
                return unauthorized("Bearer", "Unknown user");
            }
            let text = "Incorrect username or password";
            if app.has(Fault::BadPasswordIs200) {
                return token_response(&app, StatusCode::OK, json!({"error": text}));
            }
            let mut response = unauthorized("Bearer", text);
            no_store(&mut response);
            response
        }
    }
}

/// Whether a text, put between quotes in a WHERE clause, makes it true for every row.
fn is_tautology(text: &str) -> bool {
    let Some((_, clause)) = text.split_once('\'') else { return false };
    let clause = clause.trim_start().to_ascii_lowercase();
    let condition = clause.strip_prefix("or ").and_then(|rest| rest.split("--").next()).unwrap_or_default();
    condition.split_once('=').is_some_and(|(left, right)| !left.trim().is_empty() && left.trim() == right.trim())
}

/// bcrypt is slow by design, so it runs beside the event loop, a few at a time.
async fn matches(app: &App, password: String, hash: String) -> bool {
    let Ok(_slot) = app.hashing.acquire().await else {
        return false;
    };
    // Past 72 bytes bcrypt does not look: a longer password is wrong, whatever it begins with.
    let whole = password.len() <= 72;
    let equal = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false)).await;
    equal.unwrap_or(false) && whole
}

/// The answer of a token endpoint must not be kept by anyone on the way (RFC 6749 §5.1).
fn token_response(app: &App, status: StatusCode, body: Value) -> Response {
    let mut response = (status, Json(body)).into_response();
    if !app.has(Fault::CacheableToken) {
        no_store(&mut response);
    }
    response
}

fn no_store(response: &mut Response) {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
}

fn issue(app: &App, account: &Account, password: &str) -> io::Result<Value> {
    let lifetime = app.config.token_lifetime.as_secs();
    let zone = if app.has(Fault::IssuedInLocalTime) { 2 * 3600 } else { 0 };
    let now = app.now() as u64 + zone;
    let mut claims = account.user.claims.clone();
    claims.insert("iat".to_owned(), now.into());
    claims.insert("exp".to_owned(), (now + lifetime).into());
    // Two logins in one second still give two tokens.
    claims.insert("jti".to_owned(), hex(&random_16()).into());
    if app.has(Fault::PasswordInToken) {
        claims.insert("password".to_owned(), password.into());
    }
    if app.has(Fault::IssuedTokenLacksClaims) {
        claims.remove(match app.config.dialect {
            Dialect::PersonalAssistant => "username",
            Dialect::Shipvox | Dialect::Strict => "sub",
            Dialect::Simutrador => "plan",
            Dialect::Omni2 => "email",
        });
    }
    let secret = faulty::secret_of_worker(app).unwrap_or(&app.config.secret);
    let token = faulty::constant(app, mint_with(&app.config, claims, secret)?);
    let expires_in = if app.has(Fault::LifetimeInMinutes) { lifetime / 60 } else { lifetime };
    let mut body = json!({"access_token": token, "token_type": "bearer", "expires_in": expires_in});
    if app.config.dialect == Dialect::Omni2 {
        // Opaque, so that it can never pass for an access token.
        let secret = [random_16(), random_16()].concat();
        let refresh = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(secret);
        body["refresh_token"] = if app.has(Fault::SameRefreshToken) { token.into() } else { refresh.into() };
    }
    Ok(body)
}

/// Signs `claims` with the configured secret.
pub(crate) fn mint(config: &Config, claims: Map<String, Value>) -> io::Result<String> {
    mint_with(config, claims, &config.secret)
}

fn mint_with(config: &Config, mut claims: Map<String, Value>, secret: &[u8]) -> io::Result<String> {
    let key = EncodingKey::from_secret(secret);
    let mut header = Header::new(config.algorithm);
    header.kid.clone_from(&config.kid);
    if let Some(typ) = &config.typ {
        header.typ = Some(typ.clone());
    }
    // What the gate asks of every token holds for those that are issued here.
    for (name, wanted) in [("aud", &config.audience), ("iss", &config.issuer), ("scope", &config.required_scope)] {
        if let Some(wanted) = wanted {
            claims.insert(name.to_owned(), wanted.as_str().into());
        }
    }
    jsonwebtoken::encode(&header, &claims, &key).map_err(io::Error::other)
}

async fn test_token(State(app): Shared) -> Response {
    // Signed once, when the key was another.
    let key = Config { secret: b"the secret of last year, before it was changed".to_vec(), ..app.config.clone() };
    let dead = app.has(Fault::DeadTestToken).then(|| mint(&key, Map::from_iter([("sub".to_owned(), "user".into())])));
    let handed_out = dead.and_then(Result::ok).unwrap_or_else(|| app.test_token.clone());
    let body = json!({
        "test_token": handed_out,
        "note": "For development only: valid for `user`, never expires. Set WS_TEST_TOKEN to hand out another.",
    });
    token_response(&app, StatusCode::OK, body)
}

/// omni2: whose token is this? Says who, not what they may do.
async fn validate(State(app): Shared, headers: HeaderMap) -> Response {
    let mut presented = headers.get_all(AUTHORIZATION).iter();
    let token = match (presented.next(), presented.next()) {
        (Some(value), None) => carrier::bearer(value.as_bytes()).unwrap_or_default(),
        _ => b"",
    };
    let verified = match app.validator.admit(token, app.now()) {
        // Decoded and not verified, and of nothing it makes a user without a name.
        Err(Refusal::Missing) if app.has(Fault::ValidateIgnoresSignature) => Ok(app.validator.anonymous()),
        Err(Refusal::BadSignature(_) | Refusal::Expired) if app.has(Fault::ValidateIgnoresSignature) => {
            unverified(token).ok_or(Refusal::Malformed("no claims"))
        }
        verified => verified,
    };
    let bearer = match verified {
        Ok(bearer) => faulty::previous_caller(&app, bearer),
        Err(Refusal::Missing) => return unauthorized("Bearer", "Not authenticated"),
        Err(_) => {
            return unauthorized("Bearer error=\"invalid_token\"", "Invalid or expired token");
        }
    };
    let claim = |name: &str| bearer.claims.get(name).and_then(Value::as_str);
    let id = claim("sub").unwrap_or(&bearer.identity);
    let role = claim("role").unwrap_or("read_only");
    let user = json!({"sub": id, "email": claim("email"), "username": bearer.identity, "role": role, "exp": bearer.expires_at});
    let mut response = token_response(&app, StatusCode::OK, json!({"valid": true, "user": user}));
    for (name, value) in [("x-user-id", id), ("x-user-username", bearer.identity.as_str()), ("x-user-role", role)] {
        response.headers_mut().insert(HeaderName::from_static(name), header_value(value));
    }
    response
}

/// Only for the fault that validates without the signature.
fn unverified(token: &[u8]) -> Option<Bearer> {
    let payload = token.split(|&byte| byte == b'.').nth(1)?;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Map<String, Value> = serde_json::from_slice(&bytes).ok()?;
    let identity = ["email", "sub"].iter().find_map(|name| claims.get(*name)?.as_str())?.to_owned();
    Some(Bearer { identity, role: None, claims: claims.into(), expires_at: None })
}

/// A claim as a header: what is no field content (RFC 9110 §5.5) becomes `?`.
fn header_value(text: &str) -> HeaderValue {
    let safe: String = text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    HeaderValue::from_str(safe.trim()).unwrap_or(HeaderValue::from_static("?"))
}

/// Counts failed logins by address and name.
#[derive(Debug)]
pub(crate) struct FailedLogins {
    limit: u32,
    seen: Mutex<HashMap<(IpAddr, String), (Instant, u32)>>,
}

impl FailedLogins {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, seen: Mutex::default() }
    }

    fn too_many(&self, address: IpAddr, name: &str) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&(address, name.to_owned()))
            .is_some_and(|(began, count)| began.elapsed() < FAILURE_WINDOW && *count >= self.limit)
    }

    fn count(&self, address: IpAddr, name: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED_FAILURES {
            seen.retain(|_, (began, _)| began.elapsed() < FAILURE_WINDOW);
        }
        if seen.len() >= REMEMBERED_FAILURES {
            seen.clear();
        }
        let (began, count) = seen.entry((address, name.to_owned())).or_insert((Instant::now(), 0));
        if began.elapsed() >= FAILURE_WINDOW {
            (*began, *count) = (Instant::now(), 0);
        }
        *count += 1;
    }
}

/// An empty answer.
pub(crate) fn empty(status: StatusCode) -> Response {
    (status, Body::empty()).into_response()
}
