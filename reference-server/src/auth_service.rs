//! What does the service that issued the token say?
//!
//! omni2 asks its authentication service before it judges a token itself: `POST <service>/auth/validate` with the
//! token as Bearer. Only a service that cannot be reached lets the caller verify alone; a refusal is final, and an
//! answer that makes no sense admits nobody. One connection per question, so that answers cannot be mixed up. Speaks
//! plain HTTP: the documented service is on the same host.

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::net::TcpStream;

use crate::app::App;
use crate::gate::{Bearer, Refusal};
use crate::refusal::Denial;

/// More is no user record.
const ANSWER_BYTES: usize = 64 * 1024;

/// What the service said.
pub(crate) enum Word {
    /// Nothing: no connection, or no answer in time.
    Unreachable(&'static str),
    /// Its verdict, which stands.
    Spoken(Result<Bearer, Denial>),
}

/// Asks `service` (`http://host:port`) about `token`.
pub(crate) async fn ask(app: &App, service: &str, token: &[u8]) -> Word {
    // A token that is no header value is no token either, and must not write a header of its own into our request.
    let visible = token.iter().all(u8::is_ascii_graphic) && token.len() <= app.config.max_token_bytes;
    let Some(bearer) = visible.then(|| [b"Bearer ", token].concat()).and_then(|v| HeaderValue::from_bytes(&v).ok())
    else {
        return Word::Spoken(Err(Denial::Token(Refusal::Malformed("no visible ASCII, or too long"))));
    };
    match tokio::time::timeout(app.config.auth_service_timeout, exchange(service, bearer)).await {
        Err(_) => Word::Unreachable("no answer in time"),
        Ok(Err(why)) => Word::Unreachable(why),
        Ok(Ok((status, headers, body))) => Word::Spoken(verdict(app, status, &headers, &body)),
    }
}

async fn exchange(service: &str, bearer: HeaderValue) -> Result<(StatusCode, HeaderMap, Vec<u8>), &'static str> {
    let base = service.trim_end_matches('/');
    let rest = base.strip_prefix("http://").ok_or("its URL does not begin with http://")?;
    let (authority, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let address = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let stream = TcpStream::connect(address).await.map_err(|_| "no connection")?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| "no connection")?;
    let request = Request::post(format!("{prefix}/auth/validate"))
        .header(HOST, authority)
        .header(AUTHORIZATION, bearer)
        .body(Body::empty())
        .map_err(|_| "its URL makes no request")?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|_| "no answer")?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(|_| "half an answer");
        // Half an answer is an answer: a service that breaks off must not turn its verdict into ours.
        Ok((head.status, head.headers, body.map(|body| body.to_bytes().to_vec()).unwrap_or_default()))
    };
    // The connection is driven beside the question and dropped with it.
    tokio::pin!(connection);
    tokio::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}

fn verdict(app: &App, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<Bearer, Denial> {
    if status.is_server_error() {
        return Err(Denial::ServiceFailed);
    }
    if status != StatusCode::OK {
        return Err(Denial::Token(Refusal::BadSignature("the authentication service refused it")));
    }
    let nonsense = Denial::Token(Refusal::Malformed("the authentication service made no sense"));
    let Some(user) = user(headers, body) else {
        return Err(nonsense);
    };
    let role = match user.get("role") {
        None => "read_only",
        Some(Value::String(role)) => role,
        Some(_) => return Err(nonsense),
    };
    let identity = ["email", "sub", "username", "user_id"]
        .iter()
        .find_map(|name| user.get(*name).and_then(Value::as_str))
        .unwrap_or("unknown")
        .to_owned();
    // The service's word on the role outranks the token's.
    let allowed = app.config.policy().roles.is_none_or(|roles| roles.allowed.iter().any(|allowed| allowed == role));
    if !allowed {
        return Err(Denial::Token(Refusal::RoleNotAllowed(role.to_owned())));
    }
    Ok(Bearer {
        identity,
        role: Some(role.to_owned()),
        expires_at: user.get("exp").and_then(Value::as_f64),
        claims: user.into(),
    })
}

/// The user of the answer: a JSON object, or one under `user`, or the documented headers when there is no body.
fn user(headers: &HeaderMap, body: &[u8]) -> Option<Map<String, Value>> {
    if body.is_empty() {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(Value::from);
        let username = header("x-user-username")?;
        let mut user = Map::from_iter([("username".to_owned(), username)]);
        user.extend(header("x-user-id").map(|id| ("sub".to_owned(), id)));
        user.extend(header("x-user-role").map(|role| ("role".to_owned(), role)));
        return Some(user);
    }
    let Ok(Value::Object(mut answer)) = serde_json::from_slice(body) else {
        return None;
    };
    // 200 with `"valid": false` is a refusal in disguise.
    if answer.get("valid").is_some_and(|valid| valid != &Value::Bool(true)) {
        return None;
    }
    match answer.remove("user") {
        Some(Value::Object(user)) => Some(user),
        Some(_) => None,
        None => Some(answer).filter(|user| !user.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_where_it_is_documented() {
        let mut headers = HeaderMap::new();
        assert!(user(&headers, b"").is_none());
        for nonsense in
            ["<html>", "null", "[]", "{}", "{\"role\":", "{\"valid\":false,\"role\":\"admin\"}", "{\"user\":1}"]
        {
            assert!(user(&headers, nonsense.as_bytes()).is_none(), "{nonsense}");
        }
        let nested = user(&headers, br#"{"valid":true,"user":{"email":"a@b"}}"#);
        assert_eq!(nested.and_then(|user| user.get("email").cloned()), Some(Value::from("a@b")));
        headers.insert("x-user-username", HeaderValue::from_static("alice"));
        headers.insert("x-user-role", HeaderValue::from_static("dba"));
        assert_eq!(user(&headers, b"").and_then(|user| user.get("role").cloned()), Some(Value::from("dba")));
    }
}
