//! How long a client waits: a handshake until the first message, or until the refusal is told, over a pipe in memory and
//! over the loopback, beside a bare TCP connection with one round trip; and a burst of messages.
//!
//! Over the pipe client and server take turns on one thread; over the loopback the server has a thread of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use gatecrash::wire::{answer, frame};
use gatecrash_reference_server::{Config, Dialect, RefusalStyle, Server, jsonwebtoken};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

const SECRET: &str = "a secret that only the benches have, of 32 bytes and more";
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
/// Messages of a burst, and bytes of each.
const BURST: (usize, usize) = (100, 64);
/// Bytes a pipe holds in each direction.
const PIPE_BYTES: usize = 64 * 1024;
/// 2096.
const FAR: u64 = 4_000_000_000;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn config(refusal: RefusalStyle) -> Config {
    let mut config = Config { refusal, ..Config::new(Dialect::PersonalAssistant, SECRET) };
    // The limits are for strangers: here the next client comes before the last one's end was seen.
    config.limits.connections = 10_000;
    config.limits.per_user = 10_000;
    config
}

/// A server in a thread of its own, which ends with the process.
fn listening(refusal: RefusalStyle) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        runtime().block_on(async {
            let server = Server::bind(config(refusal)).await.expect("a free port");
            tell.send(server.local_addr()).expect("somebody asked");
            server.run(std::future::pending()).await;
        });
    });
    told.recv().expect("the server listens")
}

/// A server that answers as many bytes to as many bytes, and knows nothing about them.
fn bare(asked: usize, answered: usize) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
            tell.send(listener.local_addr().expect("its port")).expect("somebody asked");
            loop {
                let Ok((mut tcp, _)) = listener.accept().await else { continue };
                tokio::spawn(async move {
                    tcp.set_nodelay(true)?;
                    let mut bytes = vec![0; asked.max(answered)];
                    tcp.read_exact(&mut bytes[..asked]).await?;
                    tcp.write_all(&bytes[..answered]).await
                });
            }
        });
    });
    told.recv().expect("the server listens")
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
struct Asked {
    opening: Vec<u8>,
    status: u16,
    /// The first frame after a 101.
    first: Option<u8>,
}

impl Asked {
    fn all() -> [(&'static str, RefusalStyle, Self); 3] {
        let good = Self { opening: opening(SECRET), status: 101, first: Some(frame::TEXT) };
        let bad = opening("another secret, of nobody who may open anything");
        [
            ("admitted", RefusalStyle::Close, good),
            ("refused-http", RefusalStyle::Http, Self { opening: bad.clone(), status: 401, first: None }),
            ("refused-close", RefusalStyle::Close, Self { opening: bad, status: 101, first: Some(frame::CLOSE) }),
        ]
    }

    /// Until the last byte that is waited for.
    async fn of(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
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

async fn more(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Sends everything at once and reads all echoes.
async fn burst(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), sent: &[u8]) -> io::Result<()> {
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

fn messages() -> Vec<u8> {
    frame::Written::client(frame::TEXT, [b'x'; BURST.1], [1, 2, 3, 4]).to_bytes().repeat(BURST.0)
}

/// Reset at its end, so that no port waits for stragglers.
async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    tcp.set_zero_linger()?;
    Ok(tcp)
}

fn over_the_loopback(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("loopback");
    let runtime = runtime();
    let [(_, _, admitted), ..] = Asked::all();
    // The size of the 101.
    let (asked, address) = (admitted.opening.len(), bare(admitted.opening.len(), 129));
    group.bench_function("tcp-round-trip", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let mut tcp = dial(address).await.expect("a connection");
            tcp.write_all(&vec![b'x'; asked]).await.expect("a listener");
            tcp.read_exact(&mut [0; 129]).await.expect("an answer");
        });
    });
    for (name, refusal, asked) in Asked::all() {
        let address = listening(refusal);
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(async || {
                let mut tcp = dial(address).await.expect("a connection");
                asked.of(&mut tcp).await.expect(name);
            });
        });
    }
    let sent = messages();
    let address = listening(RefusalStyle::Close);
    let mut tcp = runtime.block_on(async {
        let mut tcp = dial(address).await.expect("a connection");
        admitted.of(&mut tcp).await.expect("the greeting");
        tcp
    });
    group.bench_function("burst-100", |bencher| {
        bencher.iter(|| runtime.block_on(burst(&mut tcp, &sent)).expect("every echo"));
    });
    group.finish();
}

fn over_a_pipe(criterion: &mut Criterion) {
    let mut group: BenchmarkGroup<'_, WallTime> = criterion.benchmark_group("pipe");
    let runtime = runtime();
    for (name, refusal, asked) in Asked::all() {
        let server = runtime.block_on(Server::bind(config(refusal))).expect("a free port");
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(async || {
                let (mut here, there) = duplex(PIPE_BYTES);
                let served = tokio::spawn(server.serve_stream(there, PEER));
                asked.of(&mut here).await.expect(name);
                drop(here);
                served.await.expect("no panic");
            });
        });
    }
    let server = runtime.block_on(Server::bind(config(RefusalStyle::Close))).expect("a free port");
    let (sent, [(_, _, admitted), ..]) = (messages(), Asked::all());
    let mut here = runtime.block_on(async {
        let (mut here, there) = duplex(PIPE_BYTES);
        tokio::spawn(server.serve_stream(there, PEER));
        admitted.of(&mut here).await.expect("the greeting");
        here
    });
    group.bench_function("burst-100", |bencher| {
        bencher.iter(|| runtime.block_on(burst(&mut here, &sent)).expect("every echo"));
    });
    group.finish();
}

criterion_group!(benches, over_the_loopback, over_a_pipe);
criterion_main!(benches);
