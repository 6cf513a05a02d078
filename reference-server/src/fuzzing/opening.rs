//! Any bytes as the request that opens a connection, through hyper and everything that judges a handshake.
//!
//! `{token}` in the input stands for a token that the server admits, so that a fuzzer without the key comes past the
//! gate. Whether the request is a handshake, and whether it holds that token in any spelling, is read here a second time,
//! from the text.

use std::rc::Rc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use memchr::{memchr, memmem};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use super::pipe::{self, Act, End, Heard, Site};
use super::session::frames_of;
use crate::carrier::Carrier;
use crate::config::RefusalStyle;

const PLACE: &[u8] = b"{token}";
/// What the pipe holds.
const PIPE: usize = 16 * 1024;

/// The body of the target `opening`: which server, and a request.
///
/// # Panics
///
/// Where the server breaks a law: that is a finding.
pub fn opening(input: &[u8]) {
    let Some((site, request)) = read(input) else { return };
    let heard = pipe::play(&site, PIPE, &[Act::Send(request.clone(), usize::MAX)], End::Settled);
    keeps_the_laws(&site, &request, &heard);
    // Only here: over a network a server may need longer than the client waits.
    if heard.bytes.is_empty() {
        let is_plain = Head::of(&request).is_some_and(|asked| asked.is_plain(&site));
        assert!(!is_plain, "{}: {} is not answered", site.name, request.escape_ascii());
    }
}

thread_local! {
    /// A real clock, because a paused one would run away while the kernel works, and a port that listens.
    static NETWORK: (Runtime, TcpListener) = {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        (runtime, listener)
    };
}

/// As [`opening`], over a connection of the loopback: what the pipe is measured beside.
///
/// # Panics
///
/// Where the server breaks a law, or the machine has no ports left.
pub fn opening_over_tcp(input: &[u8]) {
    let Some((site, request)) = read(input) else { return };
    let heard = NETWORK.with(|(network, listener)| {
        network.block_on(async {
            let address = listener.local_addr().expect("an address");
            let (here, there) = tokio::join!(TcpStream::connect(address), listener.accept());
            let (here, there) = (here.expect("a connection"), there.expect("a connection").0);
            // Reset at its end: thousands of ports that wait for stragglers would make the search for the next one the cost.
            for stream in [&here, &there] {
                stream.set_zero_linger().expect("an open socket");
            }
            pipe::meet(&site, here, there, &[Act::Send(request.clone(), usize::MAX)], End::Settled).await
        })
    });
    keeps_the_laws(&site, &request, &heard);
}

fn read(input: &[u8]) -> Option<(Rc<Site>, Vec<u8>)> {
    let (&site, text) = input.split_first()?;
    let site = Site::of(site);
    let request = filled(text, site.token.as_bytes());
    Some((site, request))
}

/// The text with the token in its place.
fn filled(text: &[u8], token: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + token.len());
    let mut rest = text;
    // A text of nothing but places would be a thousand times as long.
    for _ in 0..4 {
        let Some(at) = memmem::find(rest, PLACE) else { break };
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(token);
        rest = &rest[at + PLACE.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// Nothing is looked at before a law asks for it: these run as often as the server does.
fn keeps_the_laws(site: &Site, request: &[u8], heard: &Heard) {
    if heard.bytes.is_empty() {
        return;
    }
    let shown = || format!("{}: {} was answered by {}", site.name, request.escape_ascii(), heard.bytes.escape_ascii());
    let status = status(&heard.bytes).unwrap_or_else(|| panic!("no HTTP: {}", shown()));
    // A 5xx is a crash; 505 is a version that is none of ours.
    assert!(status < 500 || status == 505, "the server failed: {}", shown());
    let answer = Head::of(&heard.bytes).unwrap_or_else(|| panic!("half an answer: {}", shown()));
    let asked = Head::of(request);
    if status == 101 {
        let asked = asked.unwrap_or_else(|| panic!("no request: {}", shown()));
        let accept = asked.accept_of_handshake().unwrap_or_else(|| panic!("it is no handshake: {}", shown()));
        let promised = answer.first("sec-websocket-accept");
        assert_eq!(promised, Some(accept.as_bytes()), "another key was accepted: {}", shown());
        let given = memmem::find(request, site.token.as_bytes()).is_some() || asked.spells(site.token.as_bytes());
        if !given {
            // Where a refusal is told on the socket, or the token comes later, the upgrade says nothing yet.
            let comes_later = site.app.config.refusal == RefusalStyle::Close;
            assert!(comes_later, "nobody showed a token: {}", shown());
            serves_nobody(site, answer.behind, &shown);
        }
        for subprotocol in answer.all("sec-websocket-protocol") {
            assert!(asked.elements("sec-websocket-protocol").any(|offer| offer == subprotocol), "unasked: {}", shown());
        }
        if answer.first("sec-websocket-extensions").is_some() {
            assert!(asked.first("sec-websocket-extensions").is_some(), "unasked: {}", shown());
        }
    } else {
        assert!(answer.first("sec-websocket-accept").is_none(), "a key is accepted and refused: {}", shown());
        let is_plain = asked.is_some_and(|asked| asked.is_plain(site));
        assert!(!is_plain, "a handshake like any other is refused: {}", shown());
    }
}

/// No message, but for the one that tells of a refusal where the token is one itself.
fn serves_nobody(site: &Site, frames: &[u8], shown: &dyn Fn() -> String) {
    let (said, _) = frames_of(frames);
    for said in said.iter().filter(|said| said.first & 0x08 == 0) {
        let refused = site.app.config.carriers.contains(&Carrier::FirstMessage)
            && said.first == 0x81
            && memmem::find(&said.payload, br#""auth_error""#).is_some();
        assert!(refused, "somebody without a token is served: {}", shown());
    }
}

/// The status of the first answer.
fn status(bytes: &[u8]) -> Option<u16> {
    let line = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?;
    str::from_utf8(line.get(..3)?).ok()?.parse().ok()
}

/// RFC 9112 §3.2, as far as its characters go: nothing that ends a host, no user, no byte beyond ASCII.
fn is_host(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_graphic() && !b"/?#@\\\"<>^`{|}".contains(byte))
}

/// The first line and the headers of a request or an answer, read from its bytes.
struct Head<'t> {
    line: &'t [u8],
    /// What is before and what is behind the colon, as it stands there.
    headers: Vec<(&'t [u8], &'t [u8])>,
    /// The first line is the first, every line ends as it should, and each header has its colon.
    is_tidy: bool,
    /// What follows the empty line.
    behind: &'t [u8],
}

impl<'t> Head<'t> {
    /// `None` where it is not whole.
    fn of(text: &'t [u8]) -> Option<Self> {
        // Empty lines before a request are skipped (RFC 9112 §2.2).
        let start = text.iter().position(|byte| !b"\r\n".contains(byte))?;
        let (line, mut is_tidy, mut rest) = first_line(&text[start..])?;
        is_tidy &= start == 0;
        let mut headers = Vec::with_capacity(8);
        loop {
            let (header, ends_well, behind) = first_line(rest)?;
            if header.is_empty() {
                return Some(Self { line, headers, is_tidy, behind });
            }
            is_tidy &= ends_well;
            match memchr(b':', header) {
                Some(colon) => headers.push((&header[..colon], &header[colon + 1..])),
                None => is_tidy = false,
            }
            rest = behind;
        }
    }

    /// The values of all headers of this name.
    fn all(&self, name: &str) -> impl Iterator<Item = &'t [u8]> {
        let named = move |other: &[u8]| other.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().filter(move |(other, _)| named(other)).map(|(_, value)| value.trim_ascii())
    }

    fn first(&self, name: &str) -> Option<&'t [u8]> {
        self.all(name).next()
    }

    fn only(&self, name: &str) -> Option<&'t [u8]> {
        let mut all = self.all(name);
        all.next().filter(|_| all.next().is_none())
    }

    /// The elements of all headers of this name, each of which is a list.
    fn elements(&self, name: &str) -> impl Iterator<Item = &'t [u8]> {
        self.all(name).flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    }

    fn lists(&self, name: &str, word: &str) -> bool {
        self.elements(name).any(|element| element.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// What a request has to be answered with (RFC 6455 §4.2.2, 5.4) if it is a handshake (§4.2.1), as far as a text
    /// shows that.
    fn accept_of_handshake(&self) -> Option<String> {
        let is_handshake = self.line.starts_with(b"GET ")
            && self.line.trim_ascii_end().ends_with(b" HTTP/1.1")
            && self.only("host").is_some_and(is_host)
            && self.lists("upgrade", "websocket")
            && self.lists("connection", "upgrade")
            && self.only("sec-websocket-version") == Some(b"13")
            && self.all("content-length").all(|length| length == b"0")
            && self.first("transfer-encoding").is_none();
        if !is_handshake {
            return None;
        }
        let key = self.only("sec-websocket-key")?;
        STANDARD.decode(key).ok().filter(|nonce| nonce.len() == 16)?;
        let text = [key, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
        Some(STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &text)))
    }

    /// Whether a token is written in another way than it is: percent-encoded in the line, or as the base64url of a
    /// subprotocol.
    fn spells(&self, token: &[u8]) -> bool {
        let is_escaped = || memmem::find(&unescaped(self.line), token).is_some();
        self.line.contains(&b'%') && is_escaped()
            || self.elements("sec-websocket-protocol").any(|offer| {
                let last = offer.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
                URL_SAFE_NO_PAD.decode(last).is_ok_and(|decoded| decoded == token)
            })
    }

    /// Whether nobody could find fault with this request: the usual line, the usual headers once, and some that mean
    /// nothing.
    fn is_plain(&self, site: &Site) -> bool {
        const USUAL: [&str; 5] = ["host", "upgrade", "connection", "sec-websocket-key", "sec-websocket-version"];
        const MEANINGLESS: [&str; 4] = ["user-agent", "accept-language", "pragma", "x-nothing"];
        let is_known =
            |name: &[u8]| USUAL.iter().chain(&MEANINGLESS).any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        let is_printable = |value: &[u8]| value.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic());
        self.line == site.line.as_bytes()
            && self.is_tidy
            && self.headers.iter().all(|(name, value)| is_known(name) && is_printable(value))
            && USUAL.iter().all(|name| self.only(name).is_some())
            && self.only("upgrade") == Some(b"websocket")
            && self.only("connection") == Some(b"Upgrade")
            && self.only("host") == Some(b"localhost")
            && self.accept_of_handshake().is_some()
            && self.headers.len() < 100
            && self.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() < 8 * 1024
    }
}

/// Percent-decoded (RFC 3986 §2.1) wherever that can be done: one parameter may be broken and another not.
fn unescaped(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|digits| first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        out.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    out
}

/// A line without its end, whether that is the right one, and what is behind it. A bare line feed ends a line, too
/// (RFC 9112 §2.2).
fn first_line(text: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let end = memchr(b'\n', text)?;
    let (line, behind) = (&text[..end], &text[end + 1..]);
    Some(line.strip_suffix(b"\r").map_or((line, false, behind), |line| (line, true, behind)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use proptest::prelude::*;

    use super::super::corpus;
    use super::*;
    use crate::fault::Fault;

    /// A handshake with these lines in place of the usual ones.
    pub(super) fn request(line: &str, headers: &[&str]) -> String {
        format!("{line}\r\n{}\r\n\r\n", headers.join("\r\n"))
    }

    const USUAL: [&str; 5] = [
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ];

    fn usual(site: u8) -> String {
        let target = Site::of(site).dialect().target_template();
        request(&format!("GET {target} HTTP/1.1"), &USUAL)
    }

    fn seeds() -> BTreeMap<String, Vec<u8>> {
        let on = |site: u8, text: &str| [&[site][..], text.as_bytes()].concat();
        let mut seeds: BTreeMap<String, Vec<u8>> = (0..Site::count())
            .map(|site| (format!("usual-{}", Site::of(site).name.replace(' ', "-")), on(site, &usual(site))))
            .collect();
        for site in 0..Site::count() {
            let name = Site::of(site).name.replace(' ', "-");
            let line = format!("GET {} HTTP/1.1", Site::of(site).dialect().endpoint());
            // A ping goes with it, masked with zeros: not everybody who serves speaks first.
            let ping = [&b"\x81\x8f\0\0\0\0"[..], br#"{"type":"ping"}"#].concat();
            seeds.insert(format!("anonymous-{name}"), [on(site, &request(&line, &USUAL)), ping].concat());
        }
        let broadcast = Site::number("broadcast");
        let strict = Site::number("strict");
        let line = "GET /ws?token={token} HTTP/1.1";
        let mut add = |name: &str, site, text: String| seeds.insert(name.to_owned(), on(site, &text));
        add("bad-token", broadcast, request("GET /ws?token=a.b.c HTTP/1.1", &USUAL));
        add("no-token", broadcast, request("GET /ws HTTP/1.1", &USUAL));
        add("two-tokens", broadcast, request("GET /ws?token={token}&token={token} HTTP/1.1", &USUAL));
        add("percent", broadcast, request("GET /ws?%74oken=%65{token}&x=%zz HTTP/1.1", &USUAL));
        add("post", broadcast, request("POST /ws?token={token} HTTP/1.1", &USUAL));
        add("http-1-0", broadcast, request("GET /ws?token={token} HTTP/1.0", &USUAL));
        add("absolute", broadcast, request("GET http://localhost/ws?token={token} HTTP/1.1", &USUAL));
        add("other-path", broadcast, request("GET /WS/../ws?token={token} HTTP/1.1", &USUAL));
        for (at, name) in ["host", "upgrade", "connection", "key", "version"].iter().enumerate() {
            let but: Vec<&str> =
                USUAL.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, line)| *line).collect();
            add(&format!("no-{name}"), broadcast, request(line, &but));
            let twice = [&USUAL[..], &[USUAL[at]]].concat();
            add(&format!("two-{name}"), broadcast, request(line, &twice));
        }
        let more = |more: &[&'static str]| request(line, &[&USUAL[..], more].concat());
        add("body", broadcast, more(&["Content-Length: 3"]) + "abc");
        add("no-body", broadcast, more(&["Content-Length: 0"]));
        add("chunked", broadcast, more(&["Transfer-Encoding: chunked"]) + "0\r\n\r\n");
        add("expect", broadcast, more(&["Expect: 100-continue", "Content-Length: 3"]));
        add("folded", broadcast, more(&["X-Nothing: a", " b"]));
        add("space-before-colon", broadcast, more(&["Origin : null"]));
        add("bare-feeds", broadcast, usual(broadcast).replace("\r\n", "\n"));
        add("doubled-return", broadcast, usual(broadcast).replace("13\r\n\r\n", "13\r\r\n\n"));
        add("half", broadcast, usual(broadcast)[..60].to_owned());
        add("two-requests", broadcast, request("GET /health HTTP/1.1", &["Host: localhost"]) + &usual(broadcast));
        add("frame-behind", broadcast, usual(broadcast) + "\u{1}\u{2}{}");
        add("login", broadcast, request("POST /token HTTP/1.1", &["Host: localhost", "Content-Length: 3"]) + "a=b");
        add("bearer", strict, request("GET /ws HTTP/1.1", &[&USUAL[..], &["Authorization: Bearer {token}"]].concat()));
        add(
            "cookie",
            strict,
            request(
                "GET /ws HTTP/1.1",
                &[&USUAL[..], &["Cookie: a=1; session={token}", "Origin: https://app.strict.example"]].concat(),
            ),
        );
        add(
            "subprotocol",
            strict,
            request(
                "GET /ws HTTP/1.1",
                &[
                    &USUAL[..],
                    &["Sec-WebSocket-Protocol: strict.v1, bearer.{token}", "Origin: https://app.strict.example"],
                ]
                .concat(),
            ),
        );
        add(
            "deflate",
            strict,
            request(
                line,
                &[
                    &USUAL[..],
                    &[
                        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10, x; a=\"b\"",
                        "Origin: https://app.strict.example",
                    ],
                ]
                .concat(),
            ),
        );
        add("origin-null", strict, request(line, &[&USUAL[..], &["Origin: null"]].concat()));
        add("not-http", broadcast, "SSH-2.0-OpenSSH\r\n\r\n".to_owned());
        add("http-2", broadcast, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned());
        seeds
    }

    #[test]
    fn the_seeds_are_in_the_folder() {
        corpus::holds("opening", seeds());
    }

    #[test]
    #[ignore = "writes the seeds of fuzz/corpus/opening"]
    fn write_seeds() {
        corpus::write("opening", seeds());
    }

    #[test]
    fn every_input_of_the_corpus_keeps_the_laws() {
        corpus::replay("opening", opening);
    }

    /// The laws speak of something: most sites upgrade the usual request, and both ways lead to the same answer.
    #[test]
    fn the_usual_request_is_upgraded() {
        for (name, input) in seeds().into_iter().filter(|(name, _)| name.starts_with("usual")) {
            let (site, request) = read(&input).expect("a site");
            let heard = pipe::play(&site, PIPE, &[Act::Send(request.clone(), usize::MAX)], End::Settled);
            let plain = Head::of(&request).expect("a request").is_plain(&site);
            assert!(plain, "{name}");
            assert_eq!(status(&heard.bytes), Some(101), "{name}");
            opening_over_tcp(&input);
        }
    }

    /// Each law by itself: the usual request, and an answer that breaks this one.
    #[test]
    fn an_answer_that_breaks_a_law_is_found_out() {
        let (site, request) = read(&[&[0], usual(0).as_bytes()].concat()).expect("a site");
        let breaks = |answer: &str| {
            let heard = Heard { bytes: answer.as_bytes().to_vec(), ended: true };
            catch_unwind(AssertUnwindSafe(|| keeps_the_laws(&site, &request, &heard))).is_err()
        };
        let right = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        assert!(!breaks(right));
        assert!(!breaks(""), "whoever hears nothing accuses nobody");
        for wrong in [
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 500 Internal Server Error\r\n\r\n",
            &right[..60],
            &right.replace("s3p", "s4p"),
            &right.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
            &right.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n"),
            &right.replace("101 Switching Protocols", "401 Unauthorized"),
            "HTTP/1.1 401 Unauthorized\r\n\r\n",
        ] {
            assert!(breaks(wrong), "{wrong}");
        }
    }

    /// Who shows no token is let in by no answer that looks like one.
    #[test]
    fn an_answer_to_nobody_is_found_out() {
        let right = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        let breaks = |site: &Site, request: &str, behind: &[u8]| {
            let heard = Heard { bytes: [right.as_bytes(), behind].concat(), ended: true };
            catch_unwind(AssertUnwindSafe(|| keeps_the_laws(site, request.as_bytes(), &heard))).is_err()
        };
        let anonymous = request("GET /ws HTTP/1.1", &USUAL);
        let told = b"\x81\x15{\"type\":\"auth_error\"}";
        for choice in 0..Site::count() {
            let site = &*Site::of(choice);
            let is_http = site.app.config.refusal == RefusalStyle::Http;
            for (behind, is_wrong) in [
                (&b""[..], is_http),
                (b"\x89\x00\x88\x02\x03\xf0", is_http),
                (told, site.name != "first message"),
                (b"\x81\x02{}", true),
                (b"\x89\x00\x82\x00", true),
            ] {
                assert_eq!(breaks(site, &anonymous, behind), is_wrong, "{}: {}", site.name, behind.escape_ascii());
            }
            let escaped: String = site.token.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let coded = format!("Sec-WebSocket-Protocol: x, k8s.io.{}", URL_SAFE_NO_PAD.encode(&site.token));
            let in_another_way = [
                request(&format!("GET /ws?x=%zz&%74oken={escaped} HTTP/1.1"), &USUAL),
                request("GET /ws HTTP/1.1", &[&USUAL[..], &[&coded]].concat()),
            ];
            for request in in_another_way {
                assert!(!breaks(site, &request, b"\x81\x02{}"), "{request}");
            }
            for nothing in [
                request("GET /ws?x=%20 HTTP/1.1", &USUAL),
                request("GET /ws HTTP/1.1", &[&USUAL[..], &["Sec-WebSocket-Protocol: x, k8s.io.YS5iLmM"]].concat()),
            ] {
                assert!(breaks(site, &nothing, b"\x81\x02{}"), "{nothing}");
            }
        }
    }

    #[test]
    fn a_subprotocol_is_one_that_was_offered() {
        let site = &*Site::of(0);
        let asked = usual(0).replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chatter, x\r\n\r\n");
        let asked = filled(asked.as_bytes(), site.token.as_bytes());
        for (answered, is_wrong) in
            [("x", false), ("chatter", false), ("chat", true), ("chatter, x", true), ("X", true)]
        {
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                 Sec-WebSocket-Protocol: {answered}\r\n\r\n"
            );
            let heard = Heard { bytes: answer.into_bytes(), ended: true };
            let breaks = catch_unwind(AssertUnwindSafe(|| keeps_the_laws(site, &asked, &heard))).is_err();
            assert_eq!(breaks, is_wrong, "{answered}");
        }
    }

    /// Not only where a refusal is an HTTP status.
    #[test]
    fn who_serves_nobody_is_found_out_on_every_site() {
        let seeds = seeds();
        for choice in 0..Site::count() {
            let name = Site::of(choice).name.replace(' ', "-");
            let fault = if name == "first-message" { Fault::ServesBeforeAuth } else { Fault::ServesAnonymous };
            Site::all_with(Some(fault));
            let input = &seeds[&format!("anonymous-{name}")];
            let is_found_out = catch_unwind(AssertUnwindSafe(|| opening(input))).is_err();
            Site::all_with(None);
            assert!(is_found_out, "{name}");
        }
    }

    /// The laws have teeth.
    #[test]
    fn a_faulty_server_is_found_out_by_a_seed() {
        let faults = [
            Fault::AnswersBehindRefusal,
            Fault::AnswersOwnSubprotocol,
            Fault::CrashesInsteadOfRefusing,
            Fault::FramesBeforeVerification,
            Fault::HostNotRequired,
            Fault::JoinsTwoKeys,
            Fault::ReadsBody,
            Fault::RefusesEveryone,
            Fault::SendsUnaskedExtension,
            Fault::SendsUnaskedSubprotocol,
            Fault::ServesAnonymous,
            Fault::ServesBeforeAuth,
            Fault::TakesAnyHost,
            Fault::UpgradesAnyMethod,
            Fault::UpgradesAnyVersion,
            Fault::UpgradesWithoutKey,
            Fault::UpgradesWithoutUpgrade,
            Fault::WelcomeBeforeVerification,
        ];
        corpus::find_out(seeds(), &faults, |fault| Site::all_with(Some(fault)), |input, _| opening(input));
        Site::all_with(None);
    }

    proptest! {
        #[test]
        fn any_lines_keep_the_laws(
            site in 0..8_u8,
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            more in "[ -~\r\n\t]{0,40}",
        ) {
            let mut text = usual(site).into_bytes();
            let at = at.index(text.len());
            text[at] = byte;
            text.splice(at..at, more.bytes());
            opening(&[&[site][..], &text].concat());
        }
    }
}
