//! What went over the wire, as lines for a person. Pure; whoever prints them redacts them first.

use std::time::Duration;

use crate::observation::{Connection, End, Observation, What};
use crate::wire::answer::Head;
use crate::wire::frame::{BINARY, CLOSE, Frame, PING, PONG, TEXT};

/// Which trials keep their lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transcript {
    /// None.
    #[default]
    None,
    /// Those that did not pass.
    Failed,
    /// All.
    All,
}

/// The name of a connection to an endpoint beside the socket.
pub(crate) const HTTP: &str = "http";
/// The most lines of one trial.
const MAX_LINES: usize = 60;
/// The most bytes of a message that are shown.
const MAX_PAYLOAD: usize = 160;

/// The lines of one trial: for each connection what was sent (`>`), what came (`<`), and when, since the dial.
pub fn lines(observations: &[Observation]) -> Vec<String> {
    let mut lines = Vec::new();
    let connections: Vec<&Connection> = observations.iter().flat_map(|one| &one.connections).collect();
    for (index, connection) in connections.iter().enumerate() {
        if connections.len() > 1 {
            let name = if connection.name.is_empty() { String::new() } else { format!(" ({})", connection.name) };
            lines.push(format!("connection {} of {}{name}", index + 1, connections.len()));
        }
        of(connection, &mut lines);
    }
    if lines.len() > MAX_LINES {
        let more = lines.len() - MAX_LINES;
        lines.truncate(MAX_LINES);
        lines.push(format!("... and {more} more lines"));
    }
    lines
}

fn of(connection: &Connection, lines: &mut Vec<String>) {
    let sent = String::from_utf8_lossy(&connection.sent);
    // Only the head: a body may hold a password of the profile.
    for line in sent.lines().take_while(|line| !line.is_empty()) {
        lines.push(format!(">            {line}"));
    }
    for event in &connection.events {
        let at = milliseconds(event.at);
        match &event.what {
            What::Sent { opcode: Some(CLOSE), payload } => lines.push(format!("> {at}  {}", closing(payload))),
            What::Sent { opcode, payload } => lines.push(format!("> {at}  {}", message(*opcode, payload))),
            What::Presented { token: true, .. } => lines.push(format!("> {at}  the token, in a message")),
            What::Presented { token: false, .. } => lines.push(format!("> {at}  no token")),
            What::Head(head) => answer(head, &at, lines),
            // The answer of a login may hold what opens other doors.
            What::Body { bytes, .. } if connection.name == HTTP => {
                lines.push(format!("< {at}  body of {} bytes", bytes.len()));
            }
            What::Body { bytes, complete } => {
                let end = if *complete { "" } else { ", without its end" };
                lines.push(format!("< {at}  body {}{end}", shown(bytes)));
            }
            What::Frame(frame) => lines.push(format!("< {at}  {}", received(frame))),
            What::Tls(answer) => lines.push(format!("< {at}  TLS {answer:?}")),
            What::Garbage(text) => lines.push(format!("< {at}  {text}")),
            What::End(end) => lines.push(format!("< {at}  {}", ended(end))),
            What::Silence(time) => lines.push(format!("  {at}  nothing more came in {} ms", time.as_millis())),
        }
    }
}

fn milliseconds(at: Duration) -> String {
    format!("{:6.1} ms", at.as_secs_f64() * 1e3)
}

fn answer(head: &Head, at: &str, lines: &mut Vec<String>) {
    lines.push(format!("< {at}  HTTP/1.{} {} {}", head.minor_version, head.status, head.reason));
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value);
        // What a cookie holds is for its bearer alone.
        let value = match value.split_once('=') {
            Some((cookie, _)) if name.eq_ignore_ascii_case("set-cookie") => format!("{cookie}=[...]"),
            _ => value.into_owned(),
        };
        lines.push(format!("<            {name}: {value}"));
    }
}

fn received(frame: &Frame) -> String {
    let part = if frame.fin { "" } else { ", more to come" };
    match frame.opcode {
        CLOSE => closing(&frame.payload),
        opcode => format!("{}{part}", message(Some(opcode), &frame.payload)),
    }
}

/// A close frame: its code, and the reason behind it (RFC 6455 §5.5.1).
fn closing(payload: &[u8]) -> String {
    match payload.split_first_chunk::<2>() {
        Some((code, [])) => format!("close {}", u16::from_be_bytes(*code)),
        Some((code, reason)) => format!("close {} {}", u16::from_be_bytes(*code), shown(reason)),
        None => message(Some(CLOSE), payload),
    }
}

fn message(opcode: Option<u8>, payload: &[u8]) -> String {
    let kind = match opcode {
        None => "bytes".to_owned(),
        Some(0) => "continuation".to_owned(),
        Some(TEXT) => "text".to_owned(),
        Some(BINARY) => "binary".to_owned(),
        Some(CLOSE) => "close".to_owned(),
        Some(PING) => "ping".to_owned(),
        Some(PONG) => "pong".to_owned(),
        Some(other) => format!("opcode {other}"),
    };
    if payload.is_empty() { kind } else { format!("{kind} {}", shown(payload)) }
}

/// Bytes as a quoted text, cut where nobody reads on.
fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(MAX_PAYLOAD)];
    let more =
        if cut.len() < bytes.len() { format!(" and {} more bytes", bytes.len() - cut.len()) } else { String::new() };
    format!("{:?}{more}", String::from_utf8_lossy(cut))
}

fn ended(end: &End) -> String {
    match end {
        End::Fin => "the end of the connection".to_owned(),
        End::Reset(why) => format!("the connection was cut: {why}"),
        End::NoConnection(why) => format!("no connection: {why}"),
        End::Shut(why) => format!("nobody serves there: {why}"),
        End::TooMuch => "more came in than is kept".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Event;

    fn connection(sent: &str, events: Vec<What>) -> Connection {
        let event = |(number, what): (u64, What)| Event { at: Duration::from_millis(number), what };
        Connection {
            name: "one".to_owned(),
            sent: sent.as_bytes().to_vec(),
            key: None,
            token: None,
            tls: None,
            events: (1..).zip(events).map(event).collect(),
        }
    }

    #[test]
    fn what_went_over_the_wire_is_told_in_order() {
        let head = Head { minor_version: 1, status: 101, reason: "Switching".to_owned(), headers: Vec::new() };
        let frame = |opcode, payload: &[u8]| {
            What::Frame(Frame { fin: true, rsv: 0, opcode, masked: false, payload: payload.to_vec() })
        };
        let first = connection(
            "GET /ws HTTP/1.1\r\nHost: h\r\n\r\npassword=of-the-profile",
            vec![
                What::Head(head),
                What::Sent { opcode: Some(TEXT), payload: b"hello \x1b".to_vec() },
                frame(TEXT, &[b'x'; 200]),
                frame(CLOSE, b"\x03\xf0no"),
                What::Sent { opcode: Some(CLOSE), payload: b"\x03\xe8".to_vec() },
                What::End(End::Fin),
            ],
        );
        let login = Connection {
            name: HTTP.to_owned(),
            ..connection("", vec![What::Body { bytes: b"refresh-token".to_vec(), complete: true }])
        };
        assert_eq!(
            lines(&[Observation { connections: vec![login], ..Observation::default() }]),
            ["<    1.0 ms  body of 13 bytes"]
        );
        let second = connection("", vec![What::End(End::NoConnection("refused".to_owned()))]);
        let told = lines(&[Observation { connections: vec![first, second], ..Observation::default() }]);
        let long = format!("<    3.0 ms  text \"{}\" and 40 more bytes", "x".repeat(160));
        let expected = [
            "connection 1 of 2 (one)",
            ">            GET /ws HTTP/1.1",
            ">            Host: h",
            "<    1.0 ms  HTTP/1.1 101 Switching",
            ">    2.0 ms  text \"hello \\u{1b}\"",
            &long,
            "<    4.0 ms  close 1008 \"no\"",
            ">    5.0 ms  close 1000",
            "<    6.0 ms  the end of the connection",
            "connection 2 of 2 (one)",
            "<    1.0 ms  no connection: refused",
        ];
        assert_eq!(told, expected);
        // A crowd is not told to its last connection.
        let many = (0..1_000).map(|_| connection("GET / HTTP/1.1\r\n\r\n", Vec::new())).collect();
        let told = lines(&[Observation { connections: many, ..Observation::default() }]);
        assert_eq!((told.len(), told.last().map(String::as_str)), (61, Some("... and 1940 more lines")));
    }
}
