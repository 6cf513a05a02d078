//! One handshake over a pipe in memory, by the reference server and by hand: what client and server need for it. And a burst
//! of messages.
//!
//! By hand is the least that a server does for the same interface: httparse, `jsonwebtoken`, the accept key. It has no
//! deadlines, no limits and no frames but the greeting.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatecrash::wire::{answer, frame};
use gatecrash_reference_server::{Config, Dialect, RefusalStyle, Server, jsonwebtoken};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::runtime::{Builder, Runtime};

use crate::Task;

const SECRET: &str = "a secret that only the benches have, of 32 bytes and more";
/// Who a server on a pipe is told it serves.
pub const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
/// Bytes a pipe holds in each direction.
pub const PIPE_BYTES: usize = 64 * 1024;
/// 2096.
const FAR: u64 = 4_000_000_000;

/// One thread, which client and server share.
///
/// # Panics
///
/// Where the system gives none.
#[must_use]
pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The server that is measured.
#[must_use]
pub fn config(refusal: RefusalStyle) -> Config {
    let mut config = Config { refusal, ..Config::new(Dialect::PersonalAssistant, SECRET) };
    // The limits are for strangers: here the next client comes before the last one's end was seen.
    config.limits.connections = 10_000;
    config.limits.per_user = 10_000;
    config
}

fn opening(secret: &str) -> Vec<u8> {
    let claims = serde_json::json!({"user_id": "alice", "username": "Alice", "exp": FAR});
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).expect("HMAC signs anything");
    format!(
        "GET /ws/{token} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// What is asked, and what must come of it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The bytes of the request.
    pub opening: Vec<u8>,
    status: u16,
    /// The first frame after a 101.
    first: Option<u8>,
}

impl Asked {
    /// A good token, and a bad one refused in both ways: a name, the way, and what is asked.
    #[must_use]
    pub fn all() -> [(&'static str, RefusalStyle, Self); 3] {
        let good = Self { opening: opening(SECRET), status: 101, first: Some(frame::TEXT) };
        let bad = opening("another secret, of nobody who may open anything");
        [
            ("admitted", RefusalStyle::Close, good),
            ("refused-http", RefusalStyle::Http, Self { opening: bad.clone(), status: 401, first: None }),
            ("refused-close", RefusalStyle::Close, Self { opening: bad, status: 101, first: Some(frame::CLOSE) }),
        ]
    }

    /// Asks, until the last byte that is waited for.
    ///
    /// # Errors
    ///
    /// Another answer, or none.
    pub async fn of(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
        stream.write_all(&self.opening).await?;
        let mut bytes = Vec::with_capacity(1024);
        let used = loop {
            match answer::read(&bytes) {
                answer::Read::Head(head, used) if head.status == self.status => break used,
                answer::Read::More => more(stream, &mut bytes).await?,
                _ => return Err(io::Error::other("another answer")),
            }
        };
        bytes.drain(..used);
        let Some(first) = self.first else { return Ok(()) };
        loop {
            match frame::read(&bytes, 1 << 20) {
                frame::Read::Frame(frame, _) if frame.opcode == first => return Ok(()),
                frame::Read::More => more(stream, &mut bytes).await?,
                _ => return Err(io::Error::other("another frame")),
            }
        }
    }
}

/// Messages of a burst, and bytes of each.
const BURST: (usize, usize) = (100, 64);

/// The messages of a burst, as a client sends them.
#[must_use]
pub fn messages() -> Vec<u8> {
    frame::Written::client(frame::TEXT, [b'x'; BURST.1], [1, 2, 3, 4]).to_bytes().repeat(BURST.0)
}

/// Sends all messages at once and reads all echoes.
///
/// # Errors
///
/// Where the server does not answer them all.
pub async fn burst(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), sent: &[u8]) -> io::Result<()> {
    stream.write_all(sent).await?;
    // `Echo: `, the text and two bytes of head.
    let mut expected = BURST.0 * (2 + 6 + BURST.1);
    let mut bytes = [0; 16 * 1024];
    while expected > 0 {
        match stream.read(&mut bytes[..expected.min(16 * 1024)]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => expected -= read,
        }
    }
    Ok(())
}

/// The client's end of a connection that was admitted and greeted, and the server, which ends with this value.
///
/// # Panics
///
/// Where no port is free, or nobody is greeted.
#[must_use]
pub fn talk(runtime: &Runtime) -> (Server, DuplexStream) {
    let [(_, style, admitted), ..] = Asked::all();
    runtime.block_on(async {
        let server = Server::bind(config(style)).await.expect("a free port");
        let (mut here, there) = duplex(PIPE_BYTES);
        tokio::spawn(server.serve_stream(there, PEER));
        admitted.of(&mut here).await.expect("the greeting");
        (server, here)
    })
}

async fn more(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Claims as the greeting names them.
#[derive(Debug, Deserialize)]
struct Claims {
    username: String,
}

/// What tokens are verified with.
type Trusted = (jsonwebtoken::DecodingKey, jsonwebtoken::Validation);

/// Serves one client by hand.
async fn by_hand(mut stream: DuplexStream, (key, rules): &Trusted) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&bytes) {
            Ok(httparse::Status::Partial) => {}
            Ok(httparse::Status::Complete(_)) => {
                let token = request.path.and_then(|path| path.strip_prefix("/ws/")).unwrap_or_default();
                let claims = jsonwebtoken::decode::<Claims>(token, key, rules).map_err(io::Error::other)?.claims;
                let nonce = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-key"));
                let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
                hash.update(nonce.map(|header| header.value).unwrap_or_default());
                hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
                let accept = STANDARD.encode(hash.finish());
                let mut out = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\r\n"
                )
                .into_bytes();
                let greeting = format!("Welcome {}", claims.username);
                out.extend([0x81, greeting.len() as u8]);
                out.extend(greeting.as_bytes());
                stream.write_all(&out).await?;
                // Until the client goes.
                bytes.clear();
                stream.read_buf(&mut bytes).await?;
                return Ok(());
            }
            Err(error) => return Err(io::Error::other(error)),
        }
        more(&mut stream, &mut bytes).await?;
    }
}

/// Whole handshakes over a pipe: admitted and refused by the reference server, admitted by hand; and a burst.
///
/// # Panics
///
/// Where no port is free, or a handshake is not answered as it must be.
#[must_use]
pub fn counted() -> Vec<Task> {
    let mut tasks = Vec::new();
    for (name, style, asked) in Asked::all() {
        let runtime = runtime();
        let server = runtime.block_on(Server::bind(config(style))).expect("a free port");
        let name = if name == "admitted" { "reference" } else { name };
        tasks.push(Task::new(name, move || {
            runtime.block_on(async {
                let (mut here, there) = duplex(PIPE_BYTES);
                let served = tokio::spawn(server.serve_stream(there, PEER));
                asked.of(&mut here).await.expect("the answer");
                drop(here);
                served.await.expect("no panic");
            });
        }));
    }
    let [(_, _, asked), ..] = Asked::all();
    let runtime_by_hand = runtime();
    let key = jsonwebtoken::DecodingKey::from_secret(SECRET.as_bytes());
    let trusted = Arc::new((key, jsonwebtoken::Validation::default()));
    tasks.push(Task::new("by-hand", move || {
        runtime_by_hand.block_on(async {
            let (mut here, there) = duplex(PIPE_BYTES);
            let trusted = Arc::clone(&trusted);
            let served = tokio::spawn(async move { by_hand(there, &trusted).await });
            asked.of(&mut here).await.expect("the greeting");
            drop(here);
            served.await.expect("no panic").expect("a good client");
        });
    }));
    let (runtime_of_burst, sent) = (runtime(), messages());
    let (server, here) = talk(&runtime_of_burst);
    let here = RefCell::new(here);
    tasks.push(Task::new("burst-100", move || {
        let _as_long = &server;
        runtime_of_burst.block_on(burst(&mut *here.borrow_mut(), &sent)).expect("every echo");
    }));
    tasks
}
