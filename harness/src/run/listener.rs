//! The harness's own listener: a small HTTP/1.1 server that gives out the attacker's key and writes down who asks.
//!
//! A token of a case points at it by `${listener}`, an address that no other session has. What is asked there shows that
//! the target fetched what the token told it to; the judge grades it. It answers and asks nothing back. Bounded in
//! connections, in bytes and in time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::observation::Fetch;
use crate::profile;
use crate::token::{attacker_certificate, attacker_jwks};

/// Connections at the same time; one more waits for its turn.
const MAX_CONNECTIONS: usize = 32;
/// The largest request head that is read.
const MAX_HEAD_BYTES: usize = 8 << 10;
/// The most requests of one run that are written down.
const MAX_FETCHES: usize = 10_000;
/// The most headers of one request that are written down.
const MAX_HEADERS: usize = 50;
/// How long one request may take, from its first byte to the last of the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running listener; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    base: String,
    log: Arc<Mutex<Vec<Fetch>>>,
    task: AbortHandle,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    /// Listens on a free port of this machine, or where the profile says.
    pub(super) async fn start(declared: Option<&profile::Listener>) -> Result<Self, String> {
        let bind = declared.map_or("127.0.0.1:0", |declared| declared.bind.as_str());
        let wrong = |error: std::io::Error| format!("cannot listen on `{bind}`: {error}");
        let socket = TcpListener::bind(bind).await.map_err(wrong)?;
        let base = match declared {
            Some(declared) => declared.public_url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", socket.local_addr().map_err(wrong)?),
        };
        let wares = Arc::new(Wares {
            jwks: attacker_jwks().map_err(|error| error.to_string())?.to_string(),
            certificate: attacker_certificate().map_err(|error| error.to_string())?,
            base: base.clone(),
        });
        let log = Arc::default();
        let task = tokio::spawn(listen(socket, wares, Arc::clone(&log))).abort_handle();
        Ok(Self { base, log, task })
    }

    /// The address that stands for `${listener}` in the tokens of one session.
    pub(super) fn address(&self, session: u64) -> String {
        format!("{}/{session:016x}", self.base)
    }

    /// What was asked below the address of this session, by now.
    pub(super) fn fetches(&self, session: u64) -> Vec<Fetch> {
        let mark = format!("{session:016x}");
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().filter(|fetch| fetch.asked.contains(&mark)).cloned().collect()
    }
}

/// What is given out.
struct Wares {
    jwks: String,
    certificate: String,
    base: String,
}

impl Wares {
    /// What an issuer says of itself (OpenID Connect Discovery §4, RFC 8414 §3), where this path asks for that.
    fn issuer(&self, path: &str) -> Option<String> {
        const NAMES: [&str; 2] = ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"];
        let session = NAMES.iter().find_map(|name| path.strip_suffix(name).or_else(|| path.strip_prefix(name)))?;
        let issuer = format!("{}{session}", self.base);
        Some(json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/jwks.json") }).to_string())
    }
}

async fn listen(socket: TcpListener, wares: Arc<Wares>, log: Arc<Mutex<Vec<Fetch>>>) {
    let begun = Instant::now();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(seat) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = socket.accept().await else {
            // Out of descriptors, for example: let others go on and come back.
            tokio::task::yield_now().await;
            continue;
        };
        let (wares, log) = (Arc::clone(&wares), Arc::clone(&log));
        tokio::spawn(async move {
            let _ = timeout(PATIENCE, serve(stream, &wares, &log, begun)).await;
            drop(seat);
        });
    }
}

async fn serve(mut stream: TcpStream, wares: &Wares, log: &Mutex<Vec<Fetch>>, begun: Instant) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < MAX_HEAD_BYTES {
        if (&mut stream).take(1024).read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let text = String::from_utf8_lossy(&head);
    let mut lines = text.lines();
    let asked: String = lines.next().unwrap_or_default().chars().take(500).collect();
    let headers = lines.filter_map(|line| line.split_once(':')).map(|(name, _)| name.chars().take(60).collect());
    let fetch = Fetch { asked: asked.clone(), headers: headers.take(MAX_HEADERS).collect(), at: begun.elapsed() };
    {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() < MAX_FETCHES {
            log.push(fetch);
        }
    }
    let path = asked.split(' ').nth(1).unwrap_or_default();
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let issuer = wares.issuer(path);
    let (status, kind, body) = if let Some(issuer) = &issuer {
        ("200 OK", "application/json", issuer.as_str())
    } else if path.ends_with("/jwks.json") {
        ("200 OK", "application/json", wares.jwks.as_str())
    } else if path.ends_with("/cert.pem") {
        ("200 OK", "application/x-pem-file", wares.certificate.as_str())
    } else {
        ("404 Not Found", "text/plain", "")
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(address: &str, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    #[tokio::test]
    async fn each_session_is_told_of_its_own_requests() {
        let listener = Listener::start(None).await.expect("a listener");
        let address = listener.address(7);
        let (host, path) = address.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL");
        let answer = ask(host, &format!("GET /{path}/jwks.json HTTP/1.1\r\nX-Secret: word\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"keys\""), "{answer}");
        let answer = ask(host, &format!("GET /{path}/cert.pem HTTP/1.1\r\n\r\n")).await;
        assert!(answer.contains("-----BEGIN CERTIFICATE-----"), "{answer}");
        for path in [
            format!("{path}/.well-known/openid-configuration"),
            format!(".well-known/oauth-authorization-server/{path}"),
        ] {
            let answer = ask(host, &format!("GET /{path} HTTP/1.1\r\n\r\n")).await;
            assert!(answer.contains(&format!("\"jwks_uri\":\"{address}/jwks.json\"")), "{answer}");
        }
        let answer = ask(host, "GET / HTTP/1.1\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");

        let fetches = listener.fetches(7);
        assert_eq!(fetches.len(), 4);
        assert_eq!(fetches[0].headers, ["X-Secret"]);
        assert!(!format!("{fetches:?}").contains("word"));
        assert_eq!(listener.fetches(8), []);
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_told() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let bind = taken.local_addr().expect("an address").to_string();
        let declared = profile::Listener { public_url: "http://gatecrash.example/".to_owned(), bind: bind.clone() };
        let error = Listener::start(Some(&declared)).await.expect_err("taken");
        assert!(error.contains(&bind), "{error}");
        drop(taken);
        let listener = Listener::start(Some(&declared)).await.expect("free again");
        assert_eq!(listener.address(1), "http://gatecrash.example/0000000000000001");
    }
}
