//! The load: a client of fixed bytes that looks at no more of the answers than it must to know that they are right.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::interface::{ECHO, SECRET, token};
use crate::wire::{self, CLOSE, TEXT};

const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
const CLOSE_NORMAL: [u8; 2] = [0x03, 0xe8];
/// No answer of a server that lives takes longer, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages of one burst.
pub(crate) const BURST: usize = 100;

/// Everything that is sent, made ready once.
pub(crate) struct Client {
    address: SocketAddr,
    good: Vec<u8>,
    bad: Vec<u8>,
    text: Vec<u8>,
    echo: Vec<u8>,
    close: Vec<u8>,
    burst: Vec<u8>,
}

impl Client {
    /// For the server at this port, as this user.
    pub(crate) fn new(port: u16, user: &str) -> Result<Arc<Self>, String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let request = |secret: &[u8]| {
            token(user, secret).map(|token| {
                format!(
                    "GET /ws/{token} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
                )
                .into_bytes()
            })
        };
        let text = [b'x'; 64];
        let frame = |opcode, payload: &[u8]| {
            let mut bytes = Vec::new();
            wire::write(opcode, &[payload], Some(MASK), &mut bytes);
            bytes
        };
        Ok(Arc::new(Self {
            address,
            good: request(SECRET)?,
            bad: request(b"another secret, of nobody who may open anything")?,
            echo: [ECHO.as_bytes(), &text].concat(),
            close: frame(CLOSE, &CLOSE_NORMAL),
            burst: frame(TEXT, &text).repeat(BURST),
            text: frame(TEXT, &text),
        }))
    }

    async fn dial(&self, request: &[u8]) -> io::Result<Talk> {
        let mut tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        tcp.write_all(request).await?;
        Ok(Talk { tcp, bytes: Vec::with_capacity(512) })
    }

    async fn open(&self) -> io::Result<Talk> {
        let mut talk = self.dial(&self.good).await?;
        let head = talk.answer().await?;
        if !talk.bytes.starts_with(b"HTTP/1.1 101 ") {
            return Err(wrong("no 101", &talk.bytes));
        }
        talk.bytes.drain(..head);
        Ok(talk)
    }

    /// Opens, says one text, hears it again, closes.
    pub(crate) async fn cycle(&self) -> io::Result<()> {
        let mut talk = self.open().await?;
        talk.tcp.write_all(&self.text).await?;
        talk.hear(TEXT, &self.echo).await?;
        talk.tcp.write_all(&self.close).await?;
        talk.hear(CLOSE, &CLOSE_NORMAL).await?;
        // The server hangs up first (RFC 6455 §7.1.1).
        match talk.tcp.read_buf(&mut talk.bytes).await? {
            0 => Ok(()),
            _ => Err(wrong("more after the close", &talk.bytes)),
        }
    }

    /// Opens with a token that somebody else signed, and is refused.
    pub(crate) async fn refused(&self) -> io::Result<()> {
        let mut talk = self.dial(&self.bad).await?;
        let head = talk.answer().await?;
        if !talk.bytes.starts_with(b"HTTP/1.1 401 ") {
            return Err(wrong("no 401", &talk.bytes));
        }
        while talk.bytes.len() <= head {
            talk.more().await?;
        }
        Ok(())
    }

    /// Opens and reads the greeting.
    pub(crate) async fn idle(&self) -> io::Result<Talk> {
        let mut talk = self.open().await?;
        talk.frame(|opcode, payload| opcode == TEXT && payload.starts_with(b"{")).await?;
        talk.bytes = Vec::new();
        Ok(talk)
    }

    /// Many messages at once, and all their echoes.
    pub(crate) async fn burst(&self, talk: &mut Talk) -> io::Result<()> {
        talk.tcp.write_all(&self.burst).await?;
        for _ in 0..BURST {
            talk.hear(TEXT, &self.echo).await?;
        }
        Ok(())
    }
}

/// One open connection.
pub(crate) struct Talk {
    tcp: TcpStream,
    bytes: Vec<u8>,
}

impl Talk {
    async fn more(&mut self) -> io::Result<()> {
        match self.tcp.read_buf(&mut self.bytes).await? {
            0 => Err(wrong("the end", &self.bytes)),
            _ => Ok(()),
        }
    }

    /// The bytes of the head of the answer.
    async fn answer(&mut self) -> io::Result<usize> {
        loop {
            if let Some(end) = self.bytes.windows(4).position(|end| end == b"\r\n\r\n") {
                return Ok(end + 4);
            }
            self.more().await?;
        }
    }

    /// Passes over frames until the one that is wanted.
    async fn frame(&mut self, wanted: impl Fn(u8, &[u8]) -> bool) -> io::Result<()> {
        loop {
            if let Some((opcode, head, length, _)) = wire::head(&self.bytes)
                && let Some(payload) = self.bytes.get(head..head + length)
            {
                let found = wanted(opcode, payload);
                self.bytes.drain(..head + length);
                if found {
                    return Ok(());
                }
                continue;
            }
            self.more().await?;
        }
    }

    async fn hear(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        self.frame(|found, heard| found == opcode && heard == payload).await
    }
}

fn wrong(what: &str, bytes: &[u8]) -> io::Error {
    io::Error::other(format!("{what}: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)])))
}

/// Does something `times` times, so many at a time. The first failure ends it.
pub(crate) async fn repeat<F>(
    times: usize,
    at_once: usize,
    work: impl Fn() -> F + Clone + Send + 'static,
) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send,
{
    let mut workers = JoinSet::new();
    for worker in 0..at_once {
        let share = times / at_once + usize::from(worker < times % at_once);
        let work = work.clone();
        workers.spawn(async move {
            for _ in 0..share {
                timeout(PATIENCE, work()).await??;
            }
            io::Result::Ok(())
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.map_err(io::Error::other)??;
    }
    Ok(())
}
