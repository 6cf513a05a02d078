//! Faults of reading a request: what is done to the bytes of its head before hyper sees them.
//!
//! hyper is strict where these faults are lax, so a faulty server has to read in its stead. Only a connection under one
//! of them goes through [`BentHead`]; every other is hyper's alone. What a fault is good for is told in
//! `scenarios/weaknesses.yaml`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::fault::Fault;

/// A head that is longer is passed on as it is; hyper refuses it.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// What a fault does between the socket and hyper.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bend {
    /// Writes the head anew.
    Rewrite(fn(&[u8]) -> Vec<u8>),
    /// Takes what the first read brings for the whole request.
    OneRead,
    /// Writes the head of the first answer anew, as far as it comes in one piece.
    Answer(fn(&[u8]) -> Vec<u8>),
}

/// The faults of this room.
const BENDS: &[(Fault, Bend)] = &[
    (Fault::SpaceBeforeColon, Bend::Rewrite(without_space_before_colon)),
    (Fault::FoldedLineIsHeader, Bend::Rewrite(without_indents)),
    (Fault::BareCrEndsLine, Bend::Rewrite(with_lines_at_cr)),
    (Fault::UpgradesHttp10, Bend::Rewrite(as_http_1_1)),
    (Fault::BodyTakenAsFrames, Bend::Rewrite(without_lengths)),
    (Fault::OneReadPerRequest, Bend::OneRead),
    (Fault::LengthOn101, Bend::Answer(with_length)),
];

/// What this fault does here, if anything.
pub(crate) fn bend(fault: Option<Fault>) -> Option<Bend> {
    let fault = fault?;
    BENDS.iter().find(|(other, _)| *other == fault).map(|(_, bend)| *bend)
}

/// A stream whose first head is bent.
#[derive(Debug)]
pub(crate) struct BentHead<S> {
    stream: S,
    bend: Bend,
    /// Bytes that were read and are not yet passed on.
    held: Vec<u8>,
    /// Bytes that were written and are not yet passed on.
    unsent: Vec<u8>,
    phase: Phase,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// The head is being collected.
    Head,
    /// Everything is passed on.
    Through,
    /// What is held is passed on, and that is all.
    Last,
}

impl<S> BentHead<S> {
    pub(crate) fn new(stream: S, bend: Bend) -> Self {
        let reads = matches!(bend, Bend::Rewrite(_) | Bend::OneRead);
        let phase = if reads { Phase::Head } else { Phase::Through };
        Self { stream, bend, held: Vec::new(), unsent: Vec::new(), phase }
    }

    /// Looks at what was read last; `ended` tells that nothing more will come.
    fn collected(&mut self, ended: bool) {
        let end = self.held.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        self.phase = match (self.bend, end) {
            (Bend::OneRead, None) => Phase::Last,
            (Bend::Rewrite(rewrite), Some(end)) => {
                let mut head = rewrite(&self.held[..end]);
                head.extend_from_slice(&self.held[end..]);
                self.held = head;
                Phase::Through
            }
            (Bend::Rewrite(_), None) if !ended && self.held.len() < MAX_HEAD_BYTES => Phase::Head,
            _ => Phase::Through,
        };
    }
}

impl<S: AsyncWrite + Unpin> BentHead<S> {
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BentHead<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.phase == Phase::Head {
            let mut bytes = vec![0; MAX_HEAD_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
            let ended = read.filled().is_empty();
            this.held.extend_from_slice(read.filled());
            this.collected(ended);
        }
        if !this.held.is_empty() {
            let length = this.held.len().min(buf.remaining());
            buf.put_slice(&this.held[..length]);
            this.held.drain(..length);
            return Poll::Ready(Ok(()));
        }
        if this.phase == Phase::Last {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for BentHead<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        if let Bend::Answer(rewrite) = this.bend {
            this.unsent = rewrite(bytes);
            this.bend = Bend::Answer(<[u8]>::to_vec);
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

/// The lines of a head, each with its end; the empty one comes last.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split_inclusive(|byte| *byte == b'\n')
}

/// The name of a field line, as long as there is one.
fn name(line: &[u8]) -> Option<&[u8]> {
    line.iter().position(|byte| *byte == b':').map(|colon| &line[..colon])
}

/// `Name : value` is `Name: value`.
fn without_space_before_colon(head: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len());
    for (number, line) in lines(head).enumerate() {
        match name(line).filter(|_| number > 0) {
            Some(name) => {
                out.extend_from_slice(name.trim_ascii_end());
                out.extend_from_slice(&line[name.len()..]);
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

/// A folded line is a line of its own.
fn without_indents(head: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len());
    for line in lines(head) {
        let folded = matches!(line, [b' ' | b'\t', ..]);
        out.extend_from_slice(if folded { trim_start(line) } else { line });
    }
    out
}

fn trim_start(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(line.len());
    &line[start..]
}

/// A CR alone ends a line.
fn with_lines_at_cr(head: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len());
    for (at, byte) in head.iter().enumerate() {
        out.push(*byte);
        if *byte == b'\r' && head.get(at + 1) != Some(&b'\n') {
            out.push(b'\n');
        }
    }
    out
}

/// The version is not looked at.
fn as_http_1_1(head: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len());
    for (number, line) in lines(head).enumerate() {
        match line.strip_suffix(b"HTTP/1.0\r\n").filter(|_| number == 0) {
            Some(start) => {
                out.extend_from_slice(start);
                out.extend_from_slice(b"HTTP/1.1\r\n");
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

/// A GET has no body, so nobody looks whether one is announced.
fn without_lengths(head: &[u8]) -> Vec<u8> {
    if !head.starts_with(b"GET ") {
        return head.to_vec();
    }
    let announces = |line: &[u8]| {
        name(line).is_some_and(|name| {
            name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
        })
    };
    lines(head)
        .enumerate()
        .filter(|(number, line)| *number == 0 || !announces(line))
        .flat_map(|(_, line)| line.to_vec())
        .collect()
}

/// Every answer has a length, the 101 too. (hyper takes it off again.)
fn with_length(head: &[u8]) -> Vec<u8> {
    match head.strip_prefix(b"HTTP/1.1 101 Switching Protocols\r\n") {
        Some(rest) => [b"HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n", rest].concat(),
        None => head.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[test]
    fn each_rewrite_changes_what_it_is_for_and_nothing_else() {
        let good = "GET /a:b HTTP/1.1\r\nHost: h\r\nX: a:b\r\n\r\n".as_bytes();
        for (fault, bend) in BENDS {
            if let Bend::Rewrite(rewrite) | Bend::Answer(rewrite) = bend {
                assert_eq!(rewrite(good), good, "{fault}");
            }
        }
        let rewritten =
            |rewrite: fn(&[u8]) -> Vec<u8>, head: &str| String::from_utf8(rewrite(head.as_bytes())).unwrap();
        assert_eq!(rewritten(without_space_before_colon, "GET / x\r\nA \t: b\r\n\r\n"), "GET / x\r\nA: b\r\n\r\n");
        assert_eq!(rewritten(without_indents, "GET / x\r\nA: b\r\n \tC: d\r\n\r\n"), "GET / x\r\nA: b\r\nC: d\r\n\r\n");
        assert_eq!(rewritten(with_lines_at_cr, "GET / x\r\nA: b\rC: d\r\n\r\n"), "GET / x\r\nA: b\r\nC: d\r\n\r\n");
        assert_eq!(rewritten(as_http_1_1, "GET / HTTP/1.0\r\n\r\n"), "GET / HTTP/1.1\r\n\r\n");
        let switching = "HTTP/1.1 101 Switching Protocols\r\n";
        assert_eq!(rewritten(with_length, switching), format!("{switching}Content-Length: 0\r\n"));
        let framed = "GET / x\r\nContent-length: 5\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(rewritten(without_lengths, framed), "GET / x\r\nA: b\r\n\r\n");
    }

    #[tokio::test]
    async fn a_head_is_bent_however_it_arrives_and_what_follows_is_not() {
        let (mut client, server) = duplex(4096);
        let mut bent = BentHead::new(server, Bend::Rewrite(as_http_1_1));
        tokio::spawn(async move {
            for byte in b"GET / HTTP/1.0\r\n\r\nHTTP/1.0\r\n\r\n" {
                client.write_all(&[*byte]).await.unwrap();
            }
        });
        let mut read = String::new();
        bent.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "GET / HTTP/1.1\r\n\r\nHTTP/1.0\r\n\r\n");
    }

    #[tokio::test]
    async fn an_answer_is_bent_once_and_sent_whole() {
        let (client, server) = duplex(16);
        let mut bent = BentHead::new(server, Bend::Answer(|head| [head, b"!"].concat()));
        let (mut read, _keep) = tokio::io::split(client);
        let sender = tokio::spawn(async move {
            for _ in 0..3 {
                bent.write_all(b"twelve bytes").await.unwrap();
            }
            bent.shutdown().await.unwrap();
        });
        let mut sent = String::new();
        read.read_to_string(&mut sent).await.unwrap();
        sender.await.unwrap();
        assert_eq!(sent, "twelve bytes!twelve bytestwelve bytes");
    }

    #[tokio::test]
    async fn one_read_is_the_whole_request() {
        let (mut client, server) = duplex(4096);
        let mut bent = BentHead::new(server, Bend::OneRead);
        client.write_all(b"GET / HT").await.unwrap();
        let mut read = String::new();
        bent.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "GET / HT");
    }
}
