//! Faults that fetch what a token points at. The right server fetches nothing and never comes here.
//!
//! Bounded in time and bytes, and only from this machine: a server that is wrong on purpose must not be sent out into a
//! network.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::JwkSet;
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fault::Fault;
use crate::gate::RequestHints;

/// More is no key.
const ANSWER_BYTES: u64 = 64 * 1024;
/// Longest wait for one.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whose key sets are trusted, where a fault trusts any.
const TRUSTED: &str = "http://keys.strict.example";

/// The hints, with the keys that a fault fetches for this token.
pub(crate) async fn with_keys<'h>(
    fault: Option<Fault>,
    token: &[u8],
    hints: &'h RequestHints,
) -> Cow<'h, RequestHints> {
    let mut fetched = Vec::new();
    for (member, read) in [("jku", key_set as fn(&[u8], Option<&str>) -> Vec<DecodingKey>), ("x5u", certificate)] {
        let follows = match fault {
            Some(Fault::FollowsJku | Fault::JkuAllowedBySubstring) => member == "jku",
            Some(Fault::FollowsX5u) => member == "x5u",
            Some(Fault::FetchesJkuButRefuses) => true,
            _ => false,
        };
        if !follows {
            continue;
        }
        // Only here: no other server reads a header for its addresses.
        let header = part(token, 0);
        let text = |member: &str| header.get(member).and_then(Value::as_str);
        let Some(url) = text(member) else { continue };
        if fault == Some(Fault::JkuAllowedBySubstring) && !url.contains(TRUSTED) {
            continue;
        }
        if let Ok(Some(body)) = tokio::time::timeout(PATIENCE, get(url)).await {
            fetched.extend(read(&body, text("kid")));
        }
    }
    if fault == Some(Fault::FollowsIss)
        && let Some(issuer) = part(token, 1).get("iss").and_then(Value::as_str)
        && let url = format!("{}/.well-known/jwks.json", issuer.trim_end_matches('/'))
        && let Ok(Some(body)) = tokio::time::timeout(PATIENCE, get(&url)).await
    {
        fetched.extend(key_set(&body, part(token, 0).get("kid").and_then(Value::as_str)));
    }
    if fetched.is_empty() {
        return Cow::Borrowed(hints);
    }
    Cow::Owned(RequestHints { fetched, ..hints.clone() })
}

/// The header or the claims, whoever wrote them.
fn part(token: &[u8], number: usize) -> Map<String, Value> {
    let segment = token.split(|byte| *byte == b'.').nth(number).unwrap_or_default();
    let json = URL_SAFE_NO_PAD.decode(segment).unwrap_or_default();
    serde_json::from_slice(&json).unwrap_or_default()
}

/// Asks for a URL in plain HTTP. No name is looked up, and only this machine is asked.
async fn get(url: &str) -> Option<Vec<u8>> {
    // Blanks around an address are dropped by most that read one.
    let rest = url.trim().strip_prefix("http://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // What stands before the last @ is a name and a password (RFC 3986 §3.2.1).
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let path = path.split('#').next().unwrap_or_default();
    let address: SocketAddr = authority.parse().ok()?;
    if !address.ip().is_loopback() || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer).await.ok()?;
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    answer.starts_with(b"HTTP/1.1 200 ").then(|| answer.split_off(body))
}

/// The keys of a set that the token may be signed with: the one that it names, as clients of such sets choose, or else all.
fn key_set(body: &[u8], kid: Option<&str>) -> Vec<DecodingKey> {
    let keys = serde_json::from_slice::<JwkSet>(body).map(|set| set.keys).unwrap_or_default();
    let named = keys.iter().filter(|key| kid.is_none_or(|kid| key.common.key_id.as_deref() == Some(kid)));
    named.filter_map(|key| DecodingKey::from_jwk(key).ok()).collect()
}

fn certificate(body: &[u8], _: Option<&str>) -> Vec<DecodingKey> {
    DecodingKey::from_rsa_pem(body).into_iter().collect()
}
