//! The layer between the socket and the WebSocket library, where one is needed: for compression, which the library does
//! not speak, and for the faults of the wire.
//!
//! A task takes frames from the client, has them inflated and bent, and hands them to the library as plain frames;
//! what the library writes goes the other way. It ends when either side does.

use std::io;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::time::timeout;

use crate::deflate::{Broken, Codec};
use crate::frames::{self, Frame};
use crate::session;
use crate::wire_faults::{Bent, Flow};

/// Bytes between this layer and the library.
const PIPE_BYTES: usize = 64 * 1024;
/// How much is read at once.
const READ_BYTES: usize = 8 * 1024;

/// A length that the library refuses before it has read any of it: so it says 1009 (RFC 6455 §7.4.1).
const ABSURD_LENGTH: u64 = 1 << 40;

/// What the two directions share.
struct Layer {
    bent: Bent,
    codec: Option<Codec>,
}

/// How a connection is layered.
pub(crate) struct Layering {
    pub(crate) bent: Bent,
    pub(crate) codec: Option<Codec>,
    /// A longer frame is left to the library, which refuses it.
    pub(crate) max_frame: usize,
}

/// Puts the layer upon `stream`, of which `early` was already read.
pub(crate) fn layered<S>(Layering { bent, codec, max_frame }: Layering, stream: S, mut early: Vec<u8>) -> DuplexStream
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    // What is read at once is what a fault about reads is about: a whole segment, and not what fits by chance.
    early.reserve(READ_BYTES);
    tokio::spawn(async move {
        let (mut from_client, mut to_client) = tokio::io::split(stream);
        let (from_server, mut to_server) = tokio::io::split(ours);
        let layer = Mutex::new(Layer { bent, codec });
        {
            let mut outbound = pin!(outbound(&layer, from_server, &mut to_client));
            let flow = tokio::select! {
                _ = &mut outbound => None,
                flow = inbound(&layer, &mut from_client, &mut to_server, early, max_frame) => Some(flow),
            };
            match flow {
                None | Some(Ok(Flow::Cut)) => {}
                Some(Ok(Flow::Hang)) => swallow(&mut from_client).await,
                // The client is gone: what was answered still goes out.
                Some(Ok(Flow::On) | Err(_)) => {
                    let _ = to_server.shutdown().await;
                    let _ = timeout(session::LINGER, outbound).await;
                }
            }
        }
        drop(to_server);
        session::hang_up(from_client.unsplit(to_client)).await;
    });
    theirs
}

fn held(layer: &Mutex<Layer>) -> MutexGuard<'_, Layer> {
    layer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Frames of the client, until it ends.
async fn inbound(
    layer: &Mutex<Layer>,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut buffer: Vec<u8>,
    max_frame: usize,
) -> io::Result<Flow> {
    loop {
        let (out, taken, flow) = take(&mut held(layer), &buffer, max_frame);
        buffer.drain(..taken);
        to.write_all(&out.bytes).await?;
        if flow != Flow::On {
            return Ok(flow);
        }
        if out.is_last {
            // The library fails the connection over what it was given; nothing counts any more.
            to.write_all(&buffer).await?;
            tokio::io::copy(from, to).await?;
            return Ok(Flow::On);
        }
        let patience = held(layer).bent.patience(!buffer.is_empty());
        let read = match patience {
            None => from.read_buf(&mut buffer).await?,
            Some(patience) => match timeout(patience, from.read_buf(&mut buffer)).await {
                Ok(read) => read?,
                Err(_) => {
                    let (out, flow) = released(&mut held(layer));
                    to.write_all(&out.bytes).await?;
                    if flow != Flow::On {
                        return Ok(flow);
                    }
                    continue;
                }
            },
        };
        if read == 0 {
            let (out, _) = released(&mut held(layer));
            to.write_all(&out.bytes).await?;
            return Ok(Flow::On);
        }
    }
}

/// What goes to the library.
#[derive(Default)]
struct Out {
    bytes: Vec<u8>,
    /// The library will fail the connection over it.
    is_last: bool,
}

impl Out {
    fn put(&mut self, frames: &[Frame]) {
        frames.iter().for_each(|frame| frame.write(&mut self.bytes));
    }

    /// Has the library fail the connection, which it does by its own rules.
    fn fail(&mut self, broken: Broken, mask: Option<[u8; 4]>) {
        let (first, length) = match broken {
            Broken::TooBig => (0x82, ABSURD_LENGTH),
            // A reserved bit: 1002.
            Broken::Corrupt => (0x92, 0),
        };
        frames::write_head(first, mask, length, &mut self.bytes);
        self.is_last = true;
    }
}

/// Takes the whole frames at the front of `buffer`: what becomes of them, and how many bytes they took.
fn take(layer: &mut Layer, buffer: &[u8], max_frame: usize) -> (Out, usize, Flow) {
    let mut out = Out::default();
    let mut taken = 0;
    loop {
        let rest = &buffer[taken..];
        let Some(head) = frames::head(rest) else {
            let flow = if rest.is_empty() { Flow::On } else { layer.bent.half_a_head() };
            return (out, taken, flow);
        };
        let Some(length) = usize::try_from(layer.bent.length(&head)).ok().filter(|length| *length <= max_frame) else {
            let flow = layer.bent.too_long(&head);
            out.is_last = flow == Flow::On;
            return (out, taken, flow);
        };
        let Some(frame) = head.frame(rest, length) else {
            return (out, taken, Flow::On);
        };
        taken += head.bytes + length;
        let mask = frame.mask;
        let plain = match &mut layer.codec {
            Some(codec) => codec.inbound(frame),
            None => Ok(Some(frame)),
        };
        let mut bent = Vec::new();
        let flow = match plain {
            Ok(Some(frame)) => layer.bent.inbound(frame, &mut bent),
            Ok(None) => Flow::On,
            Err(broken) => {
                out.fail(broken, mask);
                Flow::On
            }
        };
        out.put(&bent);
        if layer.bent.takes_one_frame() {
            taken = buffer.len();
        }
        if flow != Flow::On || out.is_last {
            return (out, taken, flow);
        }
    }
}

/// What was kept back, once nothing more comes.
fn released(layer: &mut Layer) -> (Out, Flow) {
    let (mut out, mut frames) = (Out::default(), Vec::new());
    let flow = layer.bent.waited(&mut frames);
    out.put(&frames);
    (out, flow)
}

/// Frames of the library, until it ends.
async fn outbound(
    layer: &Mutex<Layer>,
    mut from: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let mut bytes = Vec::new();
        let mut taken = 0;
        while let Some((frame, length)) = whole(&buffer[taken..]) {
            taken += length;
            let mut layer = held(layer);
            let bent = layer.bent.outbound(frame);
            match &mut layer.codec {
                Some(codec) => codec.outbound(bent).write(&mut bytes),
                None => bent.write(&mut bytes),
            }
        }
        buffer.drain(..taken);
        to.write_all(&bytes).await?;
        if from.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

/// The frame at the front, once it is there, and its length with its head. The library is trusted with lengths.
fn whole(bytes: &[u8]) -> Option<(Frame, usize)> {
    let head = frames::head(bytes)?;
    let length = usize::try_from(head.length).ok()?;
    Some((head.frame(bytes, length)?, head.bytes + length))
}

/// Reads what comes and does nothing about it, until the client has had enough.
async fn swallow(from: &mut (impl AsyncRead + Unpin)) {
    let mut sink = [0; 4096];
    while matches!(from.read(&mut sink).await, Ok(1..)) {}
}
