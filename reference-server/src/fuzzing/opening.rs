//! Any bytes as the request that opens a connection, through hyper and everything that judges a handshake.
//!
//! `{token}` in the input stands for a token that the server admits, so that a fuzzer without the key comes past the
//! gate. Whether the request is a handshake is read here a second time, from the text.

use std::borrow::Cow;
use std::rc::Rc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use super::pipe::{self, Act, End, Heard, Site};
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
}

thread_local! {
    /// A real clock: a paused one would run away while the kernel works.
    static NETWORK: Runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
}

/// As [`opening`], over a connection of the loopback: what the pipe is measured beside.
///
/// # Panics
///
/// Where the server breaks a law, or the machine has no ports left.
pub fn opening_over_tcp(input: &[u8]) {
    let Some((site, request)) = read(input) else { return };
    let heard = NETWORK.with(|network| {
        network.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
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
        // By its first byte: comparing at every place would cost more than the whole handshake of a short request.
        let starts = |at: &usize| rest[*at] == PLACE[0] && rest[*at..].starts_with(PLACE);
        let Some(at) = (0..rest.len()).find(starts) else { break };
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(token);
        rest = &rest[at + PLACE.len()..];
    }
    out.extend_from_slice(rest);
    out
}

fn keeps_the_laws(site: &Site, request: &[u8], heard: &Heard) {
    let text = String::from_utf8_lossy(&heard.bytes);
    let shown = || format!("{}: {} was answered by {text}", site.name, request.escape_ascii());
    let status = status(&heard.bytes);
    assert!(heard.bytes.is_empty() || status.is_some(), "no HTTP: {}", shown());
    let Some(status) = status else { return };
    // A 5xx is a crash; 505 is a version that is none of ours.
    assert!(status < 500 || status == 505, "the server failed: {}", shown());
    let request_text = latin_1(request);
    let asked = Asked::of(&request_text);
    if status == 101 {
        let asked = asked.as_ref().unwrap_or_else(|| panic!("no request: {}", shown()));
        assert!(asked.is_handshake(), "it is no handshake: {}", shown());
        let accept = asked.accept();
        let promised = header(&text, "sec-websocket-accept");
        assert_eq!(promised, accept.as_deref(), "another key was accepted: {}", shown());
        if site.app.config.refusal == RefusalStyle::Http {
            let given = request_text.contains(&site.token);
            assert!(given || asked.is_coded(), "nobody showed a token: {}", shown());
        }
        if let Some(subprotocol) = header(&text, "sec-websocket-protocol") {
            assert!(asked.all("sec-websocket-protocol").any(|line| line.contains(subprotocol)), "unasked: {}", shown());
        }
        if header(&text, "sec-websocket-extensions").is_some() {
            assert!(asked.all("sec-websocket-extensions").next().is_some(), "unasked: {}", shown());
        }
    } else {
        assert!(header(&text, "sec-websocket-accept").is_none(), "a key is accepted and refused: {}", shown());
    }
    if asked.is_some_and(|asked| asked.is_plain(site)) {
        assert_eq!(status, 101, "a handshake like any other is refused: {}", shown());
    }
}

/// The status of the first answer.
fn status(bytes: &[u8]) -> Option<u16> {
    let line = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?;
    str::from_utf8(line.get(..3)?).ok()?.parse().ok()
}

/// The value of a header of the first answer.
fn header<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let head = text.split("\r\n\r\n").next()?;
    head.split("\r\n").skip(1).find_map(|line| {
        let (other, value) = line.split_once(':')?;
        other.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Each byte as the character of its number.
fn latin_1(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(bytes.iter().copied().map(char::from).collect()),
    }
}

/// RFC 9112 §3.2, as far as its characters go: nothing that ends a host, no user, no byte beyond ASCII.
fn is_host(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@\\\"<>^`{|}".contains(&byte))
}

/// The first request of a connection, read from its text.
struct Asked<'t> {
    line: &'t str,
    headers: Vec<(String, &'t str)>,
    /// Every line ends as it should, and begins with a name.
    strict: bool,
}

impl<'t> Asked<'t> {
    /// `None` where the head is not whole.
    fn of(text: &'t str) -> Option<Self> {
        // Empty lines before a request are skipped (RFC 9112 §2.2).
        let start = text.find(|c| !"\r\n".contains(c))?;
        let text = &text[start..];
        // A bare line feed ends a line, too (§2.2).
        let mut lines = text.split_inclusive('\n');
        let line = lines.next()?;
        let mut strict = line.ends_with("\r\n") && start == 0;
        let mut headers = Vec::new();
        for line in lines {
            let bare = line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line));
            if bare.is_empty() && line.ends_with('\n') {
                return Some(Self { line: text.lines().next()?, headers, strict });
            }
            strict &= line.ends_with("\r\n");
            match bare.split_once(':') {
                Some((name, value)) => {
                    strict &= !name.is_empty()
                        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                        && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
                    headers.push((name.trim().to_ascii_lowercase(), value.trim()));
                }
                None => strict = false,
            }
        }
        None
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'t str> {
        self.headers.iter().filter(move |(other, _)| other == name).map(|(_, value)| *value)
    }

    fn lists(&self, name: &str, word: &str) -> bool {
        self.all(name).flat_map(|line| line.split(',')).any(|element| element.trim().eq_ignore_ascii_case(word))
    }

    fn only(&self, name: &str) -> Option<&'t str> {
        let mut all = self.all(name);
        all.next().filter(|_| all.next().is_none())
    }

    /// RFC 6455 §4.2.1, as far as a text shows it.
    fn is_handshake(&self) -> bool {
        self.line.starts_with("GET ")
            && self.line.trim_end().ends_with(" HTTP/1.1")
            && self.only("host").is_some_and(is_host)
            && self.lists("upgrade", "websocket")
            && self.lists("connection", "upgrade")
            && self.only("sec-websocket-version") == Some("13")
            && self.accept().is_some()
            && self.all("content-length").all(|length| length == "0")
            && self.all("transfer-encoding").next().is_none()
    }

    /// RFC 6455 §4.2.2 (5.4), of a key of 16 bytes.
    fn accept(&self) -> Option<String> {
        let key = self.only("sec-websocket-key")?;
        STANDARD.decode(key).ok().filter(|nonce| nonce.len() == 16)?;
        let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        Some(STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes())))
    }

    /// Whether a token may be written in another way than it is: percent-encoded, or in Base64.
    fn is_coded(&self) -> bool {
        self.line.contains('%') || self.all("sec-websocket-protocol").next().is_some()
    }

    /// Whether nobody could find fault with it: the usual line, the usual headers once, and some that mean nothing.
    fn is_plain(&self, site: &Site) -> bool {
        const USUAL: [&str; 5] = ["host", "upgrade", "connection", "sec-websocket-key", "sec-websocket-version"];
        const MEANINGLESS: [&str; 4] = ["user-agent", "accept-language", "pragma", "x-nothing"];
        let target = site.dialect().target_template().replace("{token}", &site.token);
        self.strict
            && self.line == format!("GET {target} HTTP/1.1")
            && self.is_handshake()
            && USUAL.iter().all(|name| self.only(name).is_some())
            && self.only("upgrade").is_some_and(|value| value == "websocket")
            && self.only("connection").is_some_and(|value| value == "Upgrade")
            && self.only("host").is_some_and(|value| value == "localhost")
            && self.headers.len() < 100
            && self.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() < 8 * 1024
            && self.headers.iter().all(|(name, _)| USUAL.contains(&&**name) || MEANINGLESS.contains(&&**name))
            // It waits for its token, or does not admit a client without a known page.
            && !matches!(site.name, "first message" | "strict")
    }
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
            let plain = Asked::of(&latin_1(&request)).expect("a request").is_plain(&site);
            assert_eq!(plain, name != "usual-strict" && name != "usual-first-message", "{name}");
            assert_eq!(status(&heard.bytes), Some(101), "{name}");
            opening_over_tcp(&input);
        }
    }

    /// The laws have teeth.
    #[test]
    fn a_faulty_server_is_found_out_by_a_seed() {
        let inputs: Vec<Vec<u8>> = seeds().into_values().collect();
        let found_out = |fault: &Fault| {
            Site::all_with(Some(*fault));
            inputs.iter().any(|input| catch_unwind(AssertUnwindSafe(|| opening(input))).is_err())
        };
        let faults = [
            Fault::AnswersOwnSubprotocol,
            Fault::CrashesInsteadOfRefusing,
            Fault::HostNotRequired,
            Fault::JoinsTwoKeys,
            Fault::ReadsBody,
            Fault::RefusesEveryone,
            Fault::SendsUnaskedExtension,
            Fault::SendsUnaskedSubprotocol,
            Fault::ServesAnonymous,
            Fault::TakesAnyHost,
            Fault::UpgradesAnyMethod,
            Fault::UpgradesAnyVersion,
            Fault::UpgradesWithoutKey,
            Fault::UpgradesWithoutUpgrade,
        ];
        let missed: Vec<_> = faults.iter().filter(|fault| !found_out(fault)).collect();
        Site::all_with(None);
        assert!(missed.is_empty(), "{missed:?}");
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
