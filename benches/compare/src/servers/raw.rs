//! The floor: what a server by hand does for this interface and no more. It knows no fragments, no extensions and no
//! deadlines, and trusts its client with all of that.

use std::io;
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::interface::{Check, Claims, DETAIL, ECHO, greeting};
use crate::wire::{self, CLOSE, PING, PONG, TEXT};

pub(super) async fn serve(listener: TcpListener) -> io::Result<()> {
    let check = Arc::new(Check::new());
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let check = Arc::clone(&check);
        tokio::spawn(async move { drop(connection(tcp, &check).await) });
    }
}

/// Bytes that a connection reads at once: little while it is quiet, and much while more keeps coming.
const SMALL: usize = 1024;
const LARGE: usize = 16 * 1024;

/// What a head asks for.
enum Asked {
    More,
    Upgrade { used: usize, accept: String, claims: Claims },
    Refused,
}

async fn connection(mut tcp: TcpStream, check: &Check) -> io::Result<()> {
    let mut bytes = BytesMut::with_capacity(SMALL);
    let claims = loop {
        match asked(&bytes, check) {
            Asked::More => {
                if tcp.read_buf(&mut bytes).await? == 0 {
                    return Ok(());
                }
            }
            Asked::Upgrade { used, accept, claims } => {
                bytes.advance(used);
                let head = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\r\n"
                );
                // By itself, as whoever has a layer for HTTP writes it.
                tcp.write_all(head.as_bytes()).await?;
                break claims;
            }
            Asked::Refused => {
                let answer = format!(
                    "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n{DETAIL}",
                    DETAIL.len()
                );
                return tcp.write_all(answer.as_bytes()).await;
            }
        }
    };
    let mut out = Vec::with_capacity(256);
    wire::write(TEXT, &[greeting(&claims).as_bytes()], None, &mut out);
    let mut room = SMALL;
    loop {
        let mut closed = false;
        while let Some((opcode, head, length, mask)) = wire::head(&bytes) {
            let Some(payload) = bytes.get_mut(head..head + length) else { break };
            if let Some(mask) = mask {
                payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
            }
            match opcode {
                TEXT => wire::write(TEXT, &[ECHO.as_bytes(), &*payload], None, &mut out),
                PING => wire::write(PONG, &[&*payload], None, &mut out),
                CLOSE => {
                    wire::write(CLOSE, &[&*payload], None, &mut out);
                    closed = true;
                }
                _ => {}
            }
            bytes.advance(head + length);
        }
        if !out.is_empty() {
            tcp.write_all(&out).await?;
            out.clear();
        }
        if closed {
            return Ok(());
        }
        bytes.reserve(room);
        let free = bytes.capacity() - bytes.len();
        match tcp.read_buf(&mut bytes).await? {
            0 => return Ok(()),
            // Whoever fills the room has more to say.
            read => room = if read == free { LARGE } else { SMALL },
        }
    }
}

fn asked(bytes: &[u8], check: &Check) -> Asked {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut headers);
    let used = match request.parse(bytes) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Asked::More,
        Err(_) => return Asked::Refused,
    };
    let token = request.path.and_then(|path| path.strip_prefix("/ws/"));
    let key = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-key"));
    match (token.and_then(|token| check.admit(token)), key) {
        (Some(claims), Some(key)) => Asked::Upgrade { used, accept: accept(key.value), claims },
        _ => Asked::Refused,
    }
}

fn accept(key: &[u8]) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finish())
}
