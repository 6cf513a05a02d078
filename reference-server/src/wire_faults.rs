//! What each fault of the wire does to a frame.
//!
//! tungstenite refuses an illegal frame by itself. A server that tolerates one is made by a layer below it, which turns
//! the illegal frame into the legal one that such a server takes it for, or drops what such a server loses. [`Bent`]
//! is that layer's table: one arm for each fault and direction. What a fault is good for is told in
//! `scenarios/weaknesses.yaml`; `stream` does the reading and writing.

use std::time::Duration;

use crate::fault::Fault;
use crate::frames::{CLOSE, CONTINUATION, Frame, Head, PING, PONG, TEXT};

/// Longest wait inside a frame, under times-out-inside-frame.
const FRAME_PATIENCE: Duration = Duration::from_millis(500);

/// How long a close frame is kept back, under processes-after-close.
const CLOSE_PATIENCE: Duration = Duration::from_millis(50);

/// Places in the queue of pongs, under pong-queue-stalls.
const PONG_PLACES: usize = 16;

/// How it goes on after a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// As ever.
    On,
    /// The reader is dead: the connection stays open, and nothing more comes of it.
    Hang,
    /// The connection is cut.
    Cut,
}

/// The faults of the wire, and what they remember of one connection.
#[derive(Debug, Default)]
pub(crate) struct Bent {
    fault: Option<Fault>,
    /// Whether RSV1 has a meaning here.
    compressed: bool,
    /// The opcode of the client's fragmented message, while one is open.
    open: Option<u8>,
    /// Fragments that are kept back.
    held: Vec<Frame>,
    /// A close frame that is kept back, or whose payload comes back.
    close: Option<Frame>,
    /// Pings, or pongs, that wait for something.
    waiting: usize,
}

impl Bent {
    pub(crate) fn new(fault: Option<Fault>, compressed: bool) -> Self {
        Self { fault, compressed, ..Self::default() }
    }

    /// Does this fault mistreat the bytes between the socket and the WebSocket?
    pub(crate) fn applies(fault: Option<Fault>) -> bool {
        matches!(
            fault,
            Some(
                Fault::OneFramePerRead
                    | Fault::ProcessesAfterClose
                    | Fault::NeedsWholeHeader
                    | Fault::WaitsForAnnouncedLength
                    | Fault::SignedFrameLength
                    | Fault::AcceptsUnmasked
                    | Fault::ZeroMaskIsUnmasked
                    | Fault::IgnoresFirstReservedBit
                    | Fault::IgnoresOtherReservedBits
                    | Fault::UnknownOpcodeIsText
                    | Fault::IgnoresUnknownControl
                    | Fault::DropsEmptyFragment
                    | Fault::ControlEndsMessage
                    | Fault::ContinuationStartsMessage
                    | Fault::DropsUnfinishedMessage
                    | Fault::IgnoresFinOnControl
                    | Fault::EmptyPong
                    | Fault::AcceptsLongPing
                    | Fault::PongQueueStalls
                    | Fault::DiesOnUnaskedPong
                    | Fault::AnswersUnaskedPong
                    | Fault::LossyText
                    | Fault::ValidatesUtf8PerFragment
                    | Fault::ValidatesFirstFragmentOnly
                    | Fault::DropsOnEmptyClose
                    | Fault::HangsOnShortClose
                    | Fault::HangsOnBadCloseReason
                    | Fault::EchoesForbiddenCode
                    | Fault::RejectsPrivateCodes
                    | Fault::TimesOutInsideFrame
                    | Fault::EchoesLongClose
            )
        )
    }

    // --- the head of a frame ---------------------------------------------------------------------------------------

    /// What the server makes of a head that has not arrived as a whole.
    pub(crate) fn half_a_head(&self) -> Flow {
        if self.fault == Some(Fault::NeedsWholeHeader) { Flow::Cut } else { Flow::On }
    }

    /// The length that the server takes from a head.
    pub(crate) fn length(&self, head: &Head) -> u64 {
        // Read as a signed number it is negative, and nothing is left to be read.
        if self.fault == Some(Fault::SignedFrameLength) && head.length > i64::MAX as u64 { 0 } else { head.length }
    }

    /// What the server makes of a frame that is longer than a message may be. The library would refuse it.
    pub(crate) fn too_long(&self, head: &Head) -> Flow {
        let can_be_asked_for = head.length <= i64::MAX as u64;
        if self.fault == Some(Fault::WaitsForAnnouncedLength) && can_be_asked_for { Flow::Hang } else { Flow::On }
    }

    /// Is whatever came in together with a frame thrown away?
    pub(crate) fn takes_one_frame(&self) -> bool {
        self.fault == Some(Fault::OneFramePerRead)
    }

    // --- silence ---------------------------------------------------------------------------------------------------

    /// How long the server waits for more bytes; `inside` tells whether part of a frame is there.
    pub(crate) fn patience(&self, inside: bool) -> Option<Duration> {
        match self.fault {
            Some(Fault::TimesOutInsideFrame) if inside => Some(FRAME_PATIENCE),
            Some(Fault::ProcessesAfterClose) if self.close.is_some() => Some(CLOSE_PATIENCE),
            _ => None,
        }
    }

    /// Nothing came for that long.
    pub(crate) fn waited(&mut self, out: &mut Vec<Frame>) -> Flow {
        match self.fault {
            Some(Fault::TimesOutInsideFrame) => return Flow::Cut,
            Some(Fault::ProcessesAfterClose) => out.extend(self.close.take()),
            _ => {}
        }
        Flow::On
    }

    // --- from the client -------------------------------------------------------------------------------------------

    /// Puts what the server takes `frame` for onto `out`.
    pub(crate) fn inbound(&mut self, mut frame: Frame, out: &mut Vec<Frame>) -> Flow {
        let open = self.open;
        if !frame.is_control() {
            let opcode = if frame.opcode == CONTINUATION { open } else { Some(frame.opcode) };
            self.open = opcode.filter(|_| !frame.fin);
        }
        let (opcode, inside) = (frame.opcode, open.is_some());
        let is_text = opcode == TEXT || opcode == CONTINUATION && open == Some(TEXT);
        match self.fault {
            // How a frame is built.
            Some(Fault::AcceptsUnmasked) => frame.mask = Some([0; 4]),
            Some(Fault::ZeroMaskIsUnmasked) if frame.mask == Some([0; 4]) => frame.mask = None,
            Some(Fault::IgnoresFirstReservedBit) if !self.compressed => frame.rsv &= !4,
            Some(Fault::IgnoresOtherReservedBits) => frame.rsv &= 4,
            Some(Fault::UnknownOpcodeIsText) if (3..8).contains(&opcode) => frame.opcode = TEXT,
            Some(Fault::IgnoresUnknownControl) if opcode > PONG => return Flow::On,

            // Fragments.
            Some(Fault::DropsEmptyFragment) if !frame.is_control() && !frame.fin && frame.payload.is_empty() => {
                return Flow::On;
            }
            Some(Fault::ControlEndsMessage) if frame.is_control() && inside => {
                out.push(Frame { fin: true, opcode: CONTINUATION, ..frame.with(&b""[..]) });
                self.open = None;
            }
            Some(Fault::ContinuationStartsMessage) if opcode == CONTINUATION && !inside => frame.opcode = TEXT,
            Some(Fault::DropsUnfinishedMessage) if !frame.is_control() => {
                if opcode != CONTINUATION {
                    self.held.clear();
                }
                self.held.push(frame.clone());
                if frame.fin {
                    out.append(&mut self.held);
                }
                return Flow::On;
            }

            // Pings and pongs.
            Some(Fault::IgnoresFinOnControl) if frame.is_control() => frame.fin = true,
            Some(Fault::AcceptsLongPing) if opcode == PING => frame.payload.truncate(125),
            Some(Fault::PongQueueStalls) if opcode == PING => {
                self.waiting += 1;
                if self.waiting > PONG_PLACES {
                    return Flow::On;
                }
            }
            Some(Fault::DiesOnUnaskedPong) if opcode == PONG => match self.waiting.checked_sub(1) {
                Some(waiting) => self.waiting = waiting,
                None => return Flow::Cut,
            },

            // The library answers a ping in kind.
            Some(Fault::AnswersUnaskedPong) if opcode == PONG => frame.opcode = PING,

            // Text.
            Some(Fault::LossyText) if is_text && frame.fin && !inside => frame.payload = lossy(&frame.payload),
            Some(Fault::ValidatesUtf8PerFragment) if is_text && str::from_utf8(&frame.payload).is_err() => {
                return Flow::Cut;
            }
            Some(Fault::ValidatesFirstFragmentOnly) if is_text && (opcode == CONTINUATION || !inside && !frame.fin) => {
                self.held.push(frame.clone());
                if frame.fin {
                    let whole: Vec<u8> = self.held.drain(..).flat_map(|frame| frame.payload).collect();
                    out.push(Frame { opcode: TEXT, ..frame.with(lossy(&whole)) });
                }
                return Flow::On;
            }

            // A message inside the message: the library must see both.
            Some(Fault::ValidatesFirstFragmentOnly) if inside && !frame.is_control() => out.append(&mut self.held),

            // Closing.
            Some(Fault::ProcessesAfterClose) if opcode == CLOSE && self.close.is_none() => {
                self.close = Some(frame);
                return Flow::On;
            }
            Some(Fault::DropsOnEmptyClose) if opcode == CLOSE && frame.payload.is_empty() => return Flow::Cut,
            Some(Fault::HangsOnShortClose) if opcode == CLOSE && frame.payload.len() == 1 => return Flow::Hang,
            Some(Fault::HangsOnBadCloseReason) if opcode == CLOSE && !is_utf8(frame.payload.get(2..)) => {
                return Flow::Hang;
            }
            Some(Fault::EchoesForbiddenCode) if matches!(frame.close_code(), Some(0..1000 | 1005 | 1006 | 1015)) => {
                frame = self.answer_in_kind(frame);
            }
            Some(Fault::EchoesLongClose) if opcode == CLOSE && frame.payload.len() > 125 => {
                frame = self.answer_in_kind(frame);
            }
            // A code that the library refuses in their place.
            Some(Fault::RejectsPrivateCodes) if matches!(frame.close_code(), Some(4000..5000)) => {
                frame.payload = 999_u16.to_be_bytes().to_vec();
            }
            _ => {}
        }
        out.push(frame);
        Flow::On
    }

    /// Keeps a close frame that the library would not answer, for its answer; the library gets a legal one.
    fn answer_in_kind(&mut self, close: Frame) -> Frame {
        let legal = close.with(1000_u16.to_be_bytes());
        self.close = Some(close);
        legal
    }

    // --- to the client ---------------------------------------------------------------------------------------------

    /// What the client gets for `frame`.
    pub(crate) fn outbound(&mut self, mut frame: Frame) -> Frame {
        match self.fault {
            Some(Fault::EmptyPong) if frame.opcode == PONG => frame.payload.clear(),
            Some(Fault::PongQueueStalls) if !frame.is_control() => self.waiting = 0,
            Some(Fault::DiesOnUnaskedPong) if frame.opcode == PING => self.waiting += 1,
            Some(Fault::EchoesForbiddenCode | Fault::EchoesLongClose) if frame.opcode == CLOSE => {
                if let Some(close) = self.close.take() {
                    frame.payload = close.payload;
                }
            }
            _ => {}
        }
        frame
    }
}

fn is_utf8(bytes: Option<&[u8]>) -> bool {
    str::from_utf8(bytes.unwrap_or_default()).is_ok()
}

/// Replaces what is no UTF-8, as a decoder does that is told not to complain.
fn lossy(bytes: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(bytes).into_owned().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, fin: bool, payload: &[u8]) -> Frame {
        Frame { fin, rsv: 0, opcode, mask: Some([1; 4]), payload: payload.to_vec() }
    }

    /// What comes of these frames, and how it goes on after the last.
    fn bend(fault: Fault, frames: &[Frame]) -> (Vec<Frame>, Flow) {
        let mut bent = Bent::new(Some(fault), false);
        let mut out = Vec::new();
        let flow = frames.iter().fold(Flow::On, |_, frame| bent.inbound(frame.clone(), &mut out));
        (out, flow)
    }

    #[test]
    fn a_legal_conversation_passes_every_fault_but_those_that_break_legal_ones() {
        let legal = [
            frame(TEXT, true, "é".as_bytes()),
            frame(TEXT, false, b"a"),
            frame(CONTINUATION, true, b"b"),
            frame(PING, true, b"c"),
        ];
        for fault in Fault::ALL.iter().filter(|fault| Bent::applies(Some(**fault))) {
            let (out, flow) = bend(*fault, &legal);
            let whole = |frames: &[Frame]| frames.iter().flat_map(|frame| frame.payload.clone()).collect::<Vec<u8>>();
            assert_eq!((whole(&out), flow), (whole(&legal), Flow::On), "{fault}");
        }
    }

    #[test]
    fn a_message_that_another_interrupts_is_lost() {
        let (out, _) = bend(Fault::DropsUnfinishedMessage, &[frame(TEXT, false, b"a"), frame(TEXT, true, b"b")]);
        assert_eq!(out, [frame(TEXT, true, b"b")]);
    }

    #[test]
    fn a_ping_ends_the_message_around_it() {
        let parts = [frame(TEXT, false, b"a"), frame(PING, true, b"p"), frame(CONTINUATION, true, b"b")];
        let (out, _) = bend(Fault::ControlEndsMessage, &parts);
        let [a, ping, b] = parts;
        assert_eq!(out, [a, frame(CONTINUATION, true, b""), ping, b]);
    }

    #[test]
    fn a_long_close_comes_back_as_it_was() {
        let mut bent = Bent::new(Some(Fault::EchoesLongClose), false);
        let mut out = Vec::new();
        let long = frame(CLOSE, true, &[3; 126]);
        assert_eq!(bent.inbound(long.clone(), &mut out), Flow::On);
        assert_eq!(out[0].close_code(), Some(1000));
        assert_eq!(bent.outbound(frame(CLOSE, true, b"")).payload, long.payload);
        assert_eq!(bent.outbound(frame(CLOSE, true, b"")).payload, b"");
    }

    #[test]
    fn a_close_is_kept_back_until_silence() {
        let mut bent = Bent::new(Some(Fault::ProcessesAfterClose), false);
        let mut out = Vec::new();
        assert_eq!(bent.patience(false), None);
        for frame in [frame(CLOSE, true, b""), frame(TEXT, true, b"late")] {
            assert_eq!(bent.inbound(frame, &mut out), Flow::On);
        }
        assert!(bent.patience(false).is_some());
        bent.waited(&mut out);
        assert_eq!(out.iter().map(|frame| frame.opcode).collect::<Vec<_>>(), [TEXT, CLOSE]);
    }

    #[test]
    fn only_a_pong_that_was_asked_for_is_survived() {
        let mut bent = Bent::new(Some(Fault::DiesOnUnaskedPong), false);
        bent.outbound(frame(PING, true, b""));
        let mut out = Vec::new();
        assert_eq!(bent.inbound(frame(PONG, true, b""), &mut out), Flow::On);
        assert_eq!(bent.inbound(frame(PONG, true, b""), &mut out), Flow::Cut);
    }
}
