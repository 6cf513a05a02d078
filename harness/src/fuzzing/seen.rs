//! What a session may have seen, read out of the fuzzer's bytes: mostly what servers do, sometimes what none would.
//!
//! Where the bytes end, [`Unstructured`] gives zeros, and `ratio` is true: that must mean the usual.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::case::{Http, Step};
use crate::catalogue::Catalogue;
use crate::judge::Learned;
use crate::observation::{Connection, End, Event, Fetch, Mark, Observation, Proofs, Secured, Trouble, What};
use crate::plan::{self, Selection, Trial};
use crate::profile::{Keys, Listener, Profile, presets};
use crate::target::Target;
use crate::token::Token;
use crate::wire::answer::Head;
use crate::wire::frame::{CLOSE, Frame, PING, PONG, TEXT};
use crate::wire::tls;

/// The bundled cases.
pub(super) static CATALOGUE: LazyLock<Catalogue> =
    LazyLock::new(|| Catalogue::bundled().expect("the bundled catalogue, which tests hold to be right"));

/// The targets of the bundled profiles, and some that are told the token in a message, or encrypted.
pub(super) static TARGETS: LazyLock<Vec<Target>> = LazyLock::new(|| {
    let told = Profile::from_yaml("first-message", FIRST_MESSAGE).expect("a profile");
    let encrypted = Profile { name: "encrypted".to_owned(), plain_port: Some(80), ..told.clone() };
    let listener = Listener { public_url: "http://192.0.2.7:8099".to_owned(), bind: "0.0.0.0:8099".to_owned() };
    let encrypted = Profile { carriers: Vec::new(), listener: Some(listener), ..encrypted };
    let profiles = presets().iter().filter_map(|(name, _)| Profile::preset(name));
    let profiles = profiles.chain([told, encrypted, Profile::default()]);
    let target = |profile| {
        let mut target = Target::from_profile(harmless(profile)).ok()?;
        // By its URL it would be one whose authorities are read from this machine.
        target.endpoint.tls = target.profile.name == "encrypted";
        Some(target)
    };
    profiles.filter_map(target).collect()
});

/// A target that declares what the bundled ones do not.
const FIRST_MESSAGE: &str = r#"
name: first-message
carriers: [{ first_message: { send: '{"token":"{token}"}', reply: { text: ok }, timeout_ms: 5000 } }]
welcome: { json: { /type: welcome } }
echo: { send: '{"say":"{message}"}', reply: { json: { /said: "{message}" } }, broadcast: true }
identity_claims: [sub]
identity_echo: /user
time_echo: /at
id_echo: /id
roles: { claim: role, allowed: [admin], default: viewer, denied: [guest] }
signals: { expired: { close: 4001, reason: "expired" }, missing: { http: 401 }, insufficient: { close: 4003, http: 403 } }
http:
  health: { path: /health, answer: { /status: ok, /timestamp: null } }
  login: { path: /login, method: POST, json: { username: a, password: b }, token: /token, answer: { /expires_in: 3600 } }
allowed_origins: [https://app.example]
subprotocol: app
jwks_url: http://192.0.2.7/keys
"#;

/// Every trial of the bundled cases against each of these targets that applies.
pub(super) static TRIALS: LazyLock<Vec<(&'static Target, Vec<Trial<'static>>)>> = LazyLock::new(|| {
    let all = Selection { all: true, ..Selection::default() };
    let trials = |target| plan::trials(&CATALOGUE, target, &all).into_iter().filter(|trial| trial.skip.is_none());
    TARGETS.iter().map(|target| (target, trials(target).collect())).collect()
});

/// The secret of every target here. It stands in no word of a report.
pub(super) const SECRET: &str = "Zq7#the secret of \"fuzzed\" targets, 32 bytes at least";

/// The token that was sent, where one was.
pub(super) const TOKEN: &[u8] = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ";

/// The profile without all that names a file or a variable, and with a secret and an address.
pub(super) fn harmless(profile: Profile) -> Profile {
    Profile {
        url: Some(profile.url.unwrap_or_else(|| "ws://localhost:1/ws?token={token}".to_owned())),
        secret: Some(SECRET.to_owned()),
        keys: Keys::default(),
        retired_secrets: Vec::new(),
        other_issuers: Vec::new(),
        test_token: None,
        ca: None,
        ..profile
    }
}

/// The messages of these sessions: words of the harness, and some that are none.
const WORDS: [&str; 8] = [
    "gc00000007-1",
    "gc00000007-2",
    "gc00000007-3",
    "hello",
    "{\"a\":",
    "ping",
    "Traceback (most recent call last):",
    "\u{1b}[31m",
];

fn word(u: &mut Unstructured<'_>) -> Result<String> {
    Ok((*u.choose(&WORDS)?).to_owned())
}

/// A few bytes of any kind.
fn bytes(u: &mut Unstructured<'_>, most: usize) -> Result<Vec<u8>> {
    let length = u.int_in_range(0..=most)?.min(u.len());
    Ok(u.bytes(length)?.to_vec())
}

/// A text of any characters.
pub(super) fn text(u: &mut Unstructured<'_>, most: usize) -> Result<String> {
    Ok(String::from_utf8_lossy(&bytes(u, most)?).into_owned())
}

fn payload(u: &mut Unstructured<'_>, learned: &Learned) -> Result<Vec<u8>> {
    const CODES: [u16; 12] = [1000, 1001, 1002, 1005, 1008, 1009, 1011, 1012, 1013, 3000, 4001, 4401];
    Ok(match u.int_in_range(0..=6)? {
        0 | 1 => word(u)?.into_bytes(),
        // As this target would answer.
        2 => match &learned.echo {
            Some(echo) => echo.compose(&word(u)?).into_bytes(),
            None => format!("Echo: {}", word(u)?).into_bytes(),
        },
        // A close code, legal or not, and a reason.
        3 => [&u.choose(&CODES)?.to_be_bytes()[..], word(u)?.as_bytes()].concat(),
        4 => [&u.arbitrary::<u16>()?.to_be_bytes()[..], &bytes(u, 8)?].concat(),
        5 => TOKEN.to_vec(),
        _ => bytes(u, 40)?,
    })
}

fn frame(u: &mut Unstructured<'_>, learned: &Learned) -> Result<Frame> {
    let opcode = match u.int_in_range(0..=7)? {
        0..=2 => TEXT,
        3 | 4 => CLOSE,
        5 => PONG,
        6 => PING,
        _ => u.int_in_range(0..=15)?,
    };
    let (fin, masked) = (u.ratio(5, 6)?, !u.ratio(9, 10)?);
    let rsv = if u.ratio(9, 10)? { 0 } else { u.int_in_range(0..=7)? };
    Ok(Frame { fin, rsv, opcode, masked, payload: payload(u, learned)? })
}

fn head(u: &mut Unstructured<'_>, learned: &Learned) -> Result<Head> {
    const STATUS: [u16; 16] = [101, 101, 101, 100, 200, 204, 301, 400, 401, 403, 404, 426, 429, 500, 502, 503];
    const NAMES: [&str; 9] = [
        "WWW-Authenticate",
        "Sec-WebSocket-Accept",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Content-Type",
        "Content-Length",
        "Location",
        "Server",
        "Set-Cookie",
    ];
    const VALUES: [&[u8]; 7] = [
        b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        b"Bearer error=\"invalid_token\"",
        b"permessage-deflate",
        b"7",
        b"https://other.example/",
        b"application/json",
        b"nginx/1.2",
    ];
    let status = if u.ratio(7, 8)? { *u.choose(&STATUS)? } else { u.arbitrary()? };
    let mut headers = Vec::new();
    for _ in 0..u.int_in_range(0..=3)? {
        let value = if u.ratio(2, 3)? { u.choose(&VALUES)?.to_vec() } else { payload(u, learned)? };
        headers.push(((*u.choose(&NAMES)?).to_owned(), value));
    }
    Ok(Head { minor_version: u.int_in_range(0..=1)?, status, reason: text(u, 6)?, headers })
}

fn end(u: &mut Unstructured<'_>) -> Result<End> {
    Ok(match u.int_in_range(0..=6)? {
        0..=2 => End::Fin,
        3 => End::Reset(text(u, 8)?),
        4 => End::NoConnection(text(u, 8)?),
        5 => End::Shut(text(u, 8)?),
        _ => End::TooMuch,
    })
}

fn what(u: &mut Unstructured<'_>, target: &Target, learned: &Learned) -> Result<What> {
    Ok(match u.int_in_range(0..=15)? {
        0..=5 => What::Frame(frame(u, learned)?),
        6 | 7 => What::Head(head(u, learned)?),
        8 | 9 => {
            let opcode = *u.choose(&[Some(TEXT), Some(TEXT), Some(PING), Some(PONG), Some(CLOSE), Some(0), None])?;
            What::Sent { opcode, payload: payload(u, learned)? }
        }
        10 => What::Body { bytes: payload(u, learned)?, complete: u.arbitrary()? },
        11 => What::Presented {
            token: u.arbitrary()?,
            proofs: Arc::new(Proofs::of(&target.profile, learned.echo.as_ref())),
        },
        12 => What::Garbage(text(u, 8)?),
        13 => What::Silence(Duration::from_millis(u.int_in_range(0..=20_000)?)),
        14 => What::Tls(match u.int_in_range(0..=3)? {
            0 => tls::Answer::Alert(u.arbitrary()?),
            1 => tls::Answer::ServerHello(0x0301),
            _ => tls::Answer::ServerHello(u.arbitrary()?),
        }),
        _ => What::End(end(u)?),
    })
}

/// What the first control may have taught about a target.
pub(super) fn learned(u: &mut Unstructured<'_>, target: &Target) -> Result<Learned> {
    let echo = if u.ratio(3, 4)? { target.profile.echo.clone() } else { None };
    let control = Duration::from_millis(u.int_in_range(0..=500)?);
    Ok(Learned {
        echo_is_promised: echo.is_some() && u.arbitrary()?,
        echo,
        speaks: u.arbitrary()?,
        control,
        drops: u.arbitrary()?,
    })
}

/// A connection on which nothing has happened yet.
fn dialled(u: &mut Unstructured<'_>, name: &str) -> Result<Connection> {
    let certificate = if u.arbitrary()? { Ok(()) } else { Err(text(u, 8)?) };
    Ok(Connection {
        name: name.to_owned(),
        sent: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        key: u.ratio(7, 8)?.then(|| "dGhlIHNhbXBsZSBub25jZQ==".to_owned()),
        token: u.ratio(3, 4)?.then(|| Token::new(TOKEN.to_vec())),
        tls: u.ratio(1, 4)?.then(|| Secured { version: "TLSv1_3".to_owned(), certificate }),
        events: Vec::new(),
    })
}

fn go_on(u: &mut Unstructured<'_>, connection: &mut Connection, target: &Target, learned: &Learned) -> Result<()> {
    let mut at = connection.events.last().map_or(Duration::ZERO, |event| event.at);
    for _ in 0..u.int_in_range(0..=5)? {
        if u.is_empty() {
            break;
        }
        at += Duration::from_millis(u.int_in_range(0..=4000)?);
        connection.events.push(Event { at, what: what(u, target, learned)? });
    }
    Ok(())
}

fn upgraded(u: &mut Unstructured<'_>, connection: &mut Connection, learned: &Learned) -> Result<()> {
    // Often an upgrade comes first, else nearly nothing would be served.
    if u.ratio(1, 2)? {
        let head = Head { status: 101, ..head(u, learned)? };
        connection.events.push(Event { at: Duration::ZERO, what: What::Head(head) });
    }
    Ok(())
}

/// One connection with whatever happened on it.
pub(super) fn connection(u: &mut Unstructured<'_>, target: &Target, learned: &Learned) -> Result<Connection> {
    let mut connection = dialled(u, "main")?;
    upgraded(u, &mut connection, learned)?;
    go_on(u, &mut connection, target, learned)?;
    Ok(connection)
}

/// What an endpoint beside the socket answers: the members that are looked at, right or wrong.
fn answered(u: &mut Unstructured<'_>, http: &Http, target: &Target, learned: &Learned) -> Result<[What; 2]> {
    const MEMBERS: [&str; 9] =
        ["status", "detail", "time", "timestamp", "expires_in", "refresh_token", "access_token", "token", "error"];
    let mut body = serde_json::Map::new();
    if http.endpoint == "jwks" {
        let keys: Result<Vec<Value>> = (0..u.int_in_range(0..=3)?).map(|_| published_key(u)).collect();
        body.insert("keys".to_owned(), keys?.into());
    }
    let declared = target.profile.http.get(&http.endpoint);
    let promised = declared.into_iter().flat_map(|declared| declared.token.iter().chain(declared.answer.keys()));
    let names: Vec<&str> = promised.map(|pointer| pointer.trim_start_matches('/')).chain(MEMBERS).collect();
    for _ in 0..u.int_in_range(0..=4)? {
        let value = match u.int_in_range(0..=5)? {
            0 => word(u)?.into(),
            1 => u
                .choose(&["1970-01-01T00:00:01Z", "1970-01-01T02:00:00.5+02:00", "1970-01-01", "9999-99-99T99:99:99"])?
                .to_owned()
                .into(),
            2 => u.int_in_range(0..=7200)?.into(),
            3 => Value::Null,
            _ => issued(u)?.into(),
        };
        body.insert((*u.choose(&names)?).to_owned(), value);
    }
    let bytes = if u.ratio(7, 8)? { Value::from(body).to_string().into_bytes() } else { payload(u, learned)? };
    let answer = head(u, learned)?;
    let status = if u.ratio(1, 2)? { 200 } else { answer.status };
    Ok([What::Head(Head { status, ..answer }), What::Body { bytes, complete: u.ratio(7, 8)? }])
}

/// A key of a published set.
fn published_key(u: &mut Unstructured<'_>) -> Result<Value> {
    let mut key = serde_json::Map::new();
    for name in ["kty", "use", "key_ops", "alg", "kid", "n", "e", "d"] {
        let value: Value = match (name, u.int_in_range(0..=7)?) {
            (_, 0) | ("d", 0..=6) => continue,
            (_, 1) => word(u)?.into(),
            ("kty", 2..=5) => "RSA".into(),
            ("kty", _) => "EC".into(),
            ("use", 2..=6) => "sig".into(),
            ("use", _) => "enc".into(),
            ("key_ops", kind) => vec![if kind % 2 == 0 { "verify" } else { "encrypt" }].into(),
            ("kid", kind) => kind.into(),
            ("n", kind) => URL_SAFE_NO_PAD.encode(vec![0x81; if kind < 6 { 256 } else { 128 }]).into(),
            ("e", kind) => if kind < 6 { "AQAB" } else { "Ag" }.into(),
            (_, _) => "RS256".into(),
        };
        key.insert(name.to_owned(), value);
    }
    Ok(key.into())
}

/// A token as an endpoint hands it out. Nobody has signed it.
fn issued(u: &mut Unstructured<'_>) -> Result<String> {
    let mut claims = serde_json::Map::new();
    for name in ["exp", "iat", "nbf", "sub", "userId", "role", "password"] {
        let value: Value = match (name, u.int_in_range(0..=7)?) {
            ("password", 0..=6) | (_, 0) => continue,
            (_, 1) => word(u)?.into(),
            (_, 2) => Value::Null,
            (_, _) => u.int_in_range(-3600..=3600)?.into(),
        };
        claims.insert(name.to_owned(), value);
    }
    let header = format!(r#"{{"alg":"{}"}}"#, u.choose(&["HS256", "none", "RS256"])?);
    let parts = [header, Value::from(claims).to_string(), "a signature".to_owned()];
    Ok(parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join("."))
}

/// What may be seen while these steps are played: each leaves its mark, and what happens meanwhile on its connection.
pub(super) fn observation(
    u: &mut Unstructured<'_>,
    steps: &[Step],
    target: &Target,
    learned: &Learned,
) -> Result<Observation> {
    let mut seen = Observation::default();
    let mut words = 0;
    for (number, step) in steps.iter().enumerate().take(12) {
        let name = step.on();
        let known = seen.connections.iter().rposition(|connection| connection.name == name);
        let index = match known {
            Some(index) if !matches!(step, Step::Open(_)) => index,
            _ => {
                let mut fresh = dialled(u, name)?;
                upgraded(u, &mut fresh, learned)?;
                seen.connections.push(fresh);
                seen.connections.len() - 1
            }
        };
        let from = if known.is_some() { seen.connections[index].events.len() } else { 0 };
        let mut said = Vec::new();
        if matches!(step, Step::Say(_) | Step::Open(_)) {
            for _ in 0..u.int_in_range(0..=2)? {
                words += 1;
                said.push(format!("gc00000007-{words}"));
            }
        }
        if let Step::Http(http) = step
            && u.ratio(7, 8)?
        {
            let told = answered(u, http, target, learned)?;
            seen.connections[index].events.extend(told.map(|what| Event { at: Duration::ZERO, what }));
        }
        go_on(u, &mut seen.connections[index], target, learned)?;
        let trouble = match u.int_in_range(0..=31)? {
            31 => Some(Trouble::Fault(text(u, 8)?)),
            30 => Some(Trouble::NotApplicable("no key".to_owned())),
            _ => None,
        };
        let to = seen.connections[index].events.len();
        let mut mark = Mark { step: number, connection: index, from, to, said, trouble, ..Mark::default() };
        if !u.ratio(15, 16)? {
            // No session leaves such a mark; the judge answers all the same.
            (mark.step, mark.connection) = (u.int_in_range(0..=15)?, u.int_in_range(0..=3)?);
            (mark.from, mark.to) = (u.int_in_range(0..=20)?, u.int_in_range(0..=20)?);
        }
        seen.marks.push(mark);
    }
    if u.ratio(1, 4)? {
        let fetch = Fetch { asked: text(u, 8)?, headers: Vec::new(), at: Duration::ZERO };
        seen.fetches = Some(if u.arbitrary()? { vec![fetch] } else { Vec::new() });
    }
    Ok(seen)
}

/// A trial that applies to its target.
pub(super) fn trial(u: &mut Unstructured<'_>) -> Result<(&'static Target, &'static Trial<'static>)> {
    let (target, trials) = u.choose(&TRIALS)?;
    Ok((target, u.choose(trials)?))
}

/// The text without the sequences that colour it.
///
/// # Panics
///
/// Where another escape sequence stands in it.
pub(super) fn without_colour(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        let inside = after.strip_prefix('[').and_then(|after| after.split_once('m'));
        let (code, after) = inside.unwrap_or_else(|| panic!("no colour: {}", text.escape_debug()));
        assert!(code.bytes().all(|byte| byte.is_ascii_digit() || byte == b';'), "no colour: {code:?}");
        rest = after;
    }
    plain + rest
}

/// Bytes in the forms in which servers quote what they were sent or hold.
pub(super) fn written(bytes: &[u8], form: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let hex = |letters: fn(&u8) -> String| bytes.iter().map(letters).collect::<String>();
    match form {
        0 => text.into_owned(),
        1 => STANDARD.encode(bytes),
        2 => URL_SAFE_NO_PAD.encode(bytes),
        3 => hex(|byte| format!("{byte:02x}")),
        4 => hex(|byte| format!("{byte:02X}")),
        5 => {
            let quoted = Value::from(text.into_owned()).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        }
        _ => bytes
            .iter()
            .map(|byte| match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => char::from(*byte).to_string(),
                byte => format!("%{byte:02X}"),
            })
            .collect(),
    }
}
