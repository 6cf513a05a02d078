//! Stand-in servers that behave badly, for the tests of the runner and of the command.
//!
//! Each is a thread with a `std` listener on a free port of the loopback, and lives as long as the test process.
#![allow(dead_code, clippy::allow_attributes, reason = "each test file takes the part it needs")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use gatecrash::wire::frame::{self, CLOSE, PING, PONG, TEXT};
use gatecrash::wire::opening::accept_for;
use gatecrash::{Report, Suite, Target};

/// What the targets of these tests verify with; recognisable wherever it might leak.
pub(crate) const SECRET: &str = "kX9-recognisable-secret-\"quoted\"-Zq7";

/// An address at which nobody listens, for a server that is started later.
///
/// Below the ports that a system gives to whoever asks for any: no other test is given this one in the meantime.
pub(crate) fn free_address() -> SocketAddr {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    let mut candidates = (0..1000).map(|_| {
        let number = first.wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed)) % 10_000;
        SocketAddr::from(([127, 0, 0, 1], 20_000 + number as u16))
    });
    candidates.find(|address| TcpListener::bind(address).is_ok()).expect("a free port")
}

/// Runs, unless it takes too long. The run must be able to move between threads, as in a service.
pub(crate) fn run_watched(suite: Suite, target: Target, watchdog: Duration) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let report = runtime.block_on(async {
        let run = tokio::spawn(async move { suite.run(&target).await });
        tokio::time::timeout(watchdog, run).await.expect("the run ends").expect("no panic").expect("good cases")
    });
    runtime.shutdown_background();
    report
}

/// A listening stand-in.
#[derive(Clone)]
pub(crate) struct StandIn {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// The last segment of every token that was sent.
    signatures: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    /// Serves every connection by `talk`, which is told how many came before. Ends when `talk` says so.
    pub(crate) fn new(talk: impl Fn(TcpStream, usize, &str) + Send + Sync + 'static) -> Self {
        Self::until(usize::MAX, talk)
    }

    /// Serves so many connections, and refuses those after.
    pub(crate) fn until(last: usize, talk: impl Fn(TcpStream, usize, &str) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = Self { address, connections: Arc::default(), signatures: Arc::default() };
        let (counted, talk) = (server.clone(), Arc::new(talk));
        thread::spawn(move || {
            for stream in listener.incoming().take(last) {
                let Ok(stream) = stream else { continue };
                let number = counted.connections.fetch_add(1, Ordering::SeqCst);
                let (talk, signatures) = (Arc::clone(&talk), Arc::clone(&counted.signatures));
                thread::spawn(move || {
                    let _ = stream.set_nodelay(true);
                    // Whoever speaks first, or not at all, looks at the head no further.
                    let head = peek_head(&stream);
                    if let Some((_, signature)) = token(&head).and_then(|token| token.rsplit_once('.')) {
                        signatures.lock().expect("no panic").push(signature.to_owned());
                    }
                    talk(stream, number, &head);
                });
            }
        });
        server
    }

    /// An address where nobody listens.
    pub(crate) fn nobody() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address")
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws?token={{token}}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many connections were made.
    pub(crate) fn wait_for(&self, connections: usize) {
        let end = Instant::now() + Duration::from_secs(60);
        while self.connections() < connections {
            assert!(Instant::now() < end, "only {} connections came", self.connections());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The signatures of whole tokens that are long enough to be told from a word.
    pub(crate) fn signatures(&self) -> Vec<String> {
        let all = self.signatures.lock().expect("no panic");
        all.iter().filter(|signature| signature.len() >= 16).cloned().collect()
    }
}

/// Looks at the request head without taking it, so that dropping the stream still resets the connection.
pub(crate) fn peek_head(stream: &TcpStream) -> String {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let mut bytes = vec![0; 64 << 10];
    let mut length = 0;
    // A peek that finds no more than the one before would spin.
    for _ in 0..200 {
        match stream.peek(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(now) => {
                length = now;
                // A TLS handshake is no head, and none will follow.
                if bytes[0] == 0x16 || bytes[..now].windows(4).any(|end| end == b"\r\n\r\n") {
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
    let _ = stream.set_read_timeout(None);
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

/// The token in the query of a request head.
pub(crate) fn token(head: &str) -> Option<&str> {
    let target = head.split(' ').nth(1)?;
    target.split(['?', '&']).find_map(|parameter| parameter.strip_prefix("token="))
}

/// Whether the request carries no token, or one without a signature: what even a careless gate refuses.
pub(crate) fn is_unsigned(head: &str) -> bool {
    token(head).is_none_or(|token| token.ends_with('.') || token.split('.').count() != 3)
}

/// Takes the request head off the stream.
pub(crate) fn take_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
}

/// Answers with a status and nothing else.
pub(crate) fn answer(mut stream: TcpStream, status: &str) {
    take_head(&mut stream);
    let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
}

/// Completes the handshake.
pub(crate) fn upgrade(stream: &mut TcpStream, head: &str) {
    take_head(stream);
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
    let accept = accept_for(key.trim().as_bytes());
    let _ = stream.write_all(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .as_bytes(),
    );
}

/// A server frame.
pub(crate) fn frame_bytes(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame::Written { mask: None, ..frame::Written::client(opcode, payload, [0; 4]) }.to_bytes()
}

/// A close frame of a server.
pub(crate) fn close_bytes(code: u16, reason: &[u8]) -> Vec<u8> {
    frame_bytes(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// Serves a session: echoes texts, answers pings, and closes in order.
pub(crate) fn serve(stream: TcpStream, head: &str) {
    serve_short(stream, head, usize::MAX);
}

/// The same, but closes at a text of more than so many bytes.
pub(crate) fn serve_short(mut stream: TcpStream, head: &str, longest: usize) {
    upgrade(&mut stream, head);
    let mut unread = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        while let frame::Read::Frame(frame, used) = frame::read(&unread, 1 << 20) {
            unread.drain(..used);
            let answer = match frame.opcode {
                TEXT if frame.payload.len() > longest => {
                    let _ = stream.write_all(&close_bytes(1009, b""));
                    return;
                }
                TEXT => frame_bytes(TEXT, &frame.payload),
                PING => frame_bytes(PONG, &frame.payload),
                CLOSE => {
                    let _ = stream.write_all(&frame_bytes(CLOSE, &frame.payload));
                    return;
                }
                _ => continue,
            };
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
        match stream.read(&mut bytes) {
            Ok(length @ 1..) => unread.extend_from_slice(&bytes[..length]),
            _ => return,
        }
    }
}

/// Answers pings and nothing else, until the other side ends.
pub(crate) fn pong(mut stream: TcpStream) {
    let mut unread = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut bytes) {
        unread.extend_from_slice(&bytes[..length]);
        while let frame::Read::Frame(frame, used) = frame::read(&unread, 1 << 20) {
            unread.drain(..used);
            if frame.opcode == PING {
                let _ = stream.write_all(&frame_bytes(PONG, &frame.payload));
            }
        }
    }
}

/// Takes whatever comes and says nothing, until the other side ends.
pub(crate) fn swallow(mut stream: TcpStream) {
    let mut bytes = [0; 4096];
    while matches!(stream.read(&mut bytes), Ok(1..)) {}
}

/// Writes the same again and again, until the other side has enough.
pub(crate) fn flood(mut stream: TcpStream, bytes: &[u8]) {
    while stream.write_all(bytes).is_ok() {}
}

/// What a stand-in does with a connection, and the head that it was sent.
pub(crate) type Talk = fn(TcpStream, &str);

/// The ways to be hostile, by name: each meets a request whose head was looked at but not taken.
pub(crate) const HOSTILE: &[(&str, Talk)] = &[
    ("answers 500", |stream, _| answer(stream, "500 Internal Server Error")),
    ("answers 401", |stream, _| answer(stream, "401 Unauthorized")),
    ("answers 429", |stream, _| answer(stream, "429 Too Many Requests")),
    ("hangs after accept", |stream, _| swallow(stream)),
    // What was not read when the socket is closed makes the kernel send a reset.
    ("resets", |stream, _| drop(stream)),
    ("sends an SSH banner", |mut stream, _| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n");
        swallow(stream);
    }),
    ("sends garbage", |mut stream, _| {
        let _ = stream.write_all(b"\x1b[31m\x00\xff\xfe\x9b2J\x07garbage\r\n\r\n");
        swallow(stream);
    }),
    ("sends nothing but 100 Continue", |mut stream, _| {
        take_head(&mut stream);
        flood(stream, b"HTTP/1.1 100 Continue\r\n\r\n");
    }),
    ("sends an endless header", |mut stream, _| {
        take_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX-Endless: ");
        flood(stream, &[b'a'; 4096]);
    }),
    ("sends endless headers", |mut stream, _| {
        take_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        flood(stream, b"X-Endless: a\r\n");
    }),
    ("sends an endless body", |mut stream, _| {
        take_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n");
        flood(stream, &[b'a'; 4096]);
    }),
    ("sends a reason phrase of a megabyte", |mut stream, _| {
        take_head(&mut stream);
        let _ = stream.write_all(format!("HTTP/1.1 403 {}\r\n\r\n", "x".repeat(1_000_000)).as_bytes());
        let _ = stream.write_all(b"over");
    }),
    ("drips", |mut stream, _| {
        take_head(&mut stream);
        for byte in b"HTTP/1.1 101 Switching Protocols\r\nX-Drip: ".iter().chain(std::iter::repeat(&b'a')) {
            thread::sleep(Duration::from_millis(20));
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
        }
    }),
    ("upgrades and falls silent", |mut stream, head| {
        upgrade(&mut stream, head);
        swallow(stream);
    }),
    ("upgrades and resets", |mut stream, head| {
        upgrade(&mut stream, head);
        // The probe must be on its way, unread, for the end to be a reset.
        thread::sleep(Duration::from_millis(50));
    }),
    ("closes 1013", |mut stream, head| {
        upgrade(&mut stream, head);
        let _ = stream.write_all(&close_bytes(1013, b"try again later"));
        swallow(stream);
    }),
    ("announces a huge frame", |mut stream, head| {
        upgrade(&mut stream, head);
        let _ = stream.write_all(&[0x82, 127, 0x40, 0, 0, 0, 0, 0, 0, 0, b'x']);
        swallow(stream);
    }),
    ("upgrades and sends an SSH banner", |mut stream, head| {
        upgrade(&mut stream, head);
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n");
        swallow(stream);
    }),
    ("streams text without end", |mut stream, head| {
        upgrade(&mut stream, head);
        flood(stream, &frame_bytes(TEXT, &[b'x'; 1000]));
    }),
    ("streams pings without end", |mut stream, head| {
        upgrade(&mut stream, head);
        flood(stream, &frame_bytes(PING, b"").repeat(500));
    }),
    ("streams one message without end", |mut stream, head| {
        upgrade(&mut stream, head);
        // Fragments whose last never comes.
        let fragment = [&[0x00, 0x7D][..], &[b'x'; 125]].concat();
        let _ = stream.write_all(&[0x01, 0x00]);
        flood(stream, &fragment.repeat(30));
    }),
    ("closes with a reason of a megabyte", |mut stream, head| {
        upgrade(&mut stream, head);
        let _ = stream.write_all(&close_bytes(4001, "\u{1b}[2J".repeat(250_000).as_bytes()));
        swallow(stream);
    }),
];

/// The hostile way of this name.
pub(crate) fn hostile(name: &str) -> Talk {
    HOSTILE.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("nobody {name}")).1
}

/// Every stand-in that shows its hostile side to everyone.
pub(crate) fn hostile_to_all(name: &str) -> StandIn {
    let talk = hostile(name);
    StandIn::new(move |stream, _, head| talk(stream, head))
}

/// A server that serves whoever shows a signed token, and is hostile to the others.
pub(crate) fn hostile_to_the_unsigned(name: &str) -> StandIn {
    let talk = hostile(name);
    StandIn::new(move |stream, _, head| if is_unsigned(head) { talk(stream, head) } else { serve(stream, head) })
}
