//! The seeds that follow from the code, the catalogue and proptest. A folder may hold more: what was found and mended,
//! and what a long run reached.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::Value;

use super::super::report;
use super::super::seen::{CATALOGUE, TRIALS};
use crate::bundled;
use crate::case::{Body, Step};
use crate::token::{Op, Recipe};
use crate::wire::deflate::{Agreed, Codec};
use crate::wire::frame::{self, LengthForm, Written};

type Seeds = BTreeMap<String, Vec<u8>>;

/// Bytes of an input that comes to most of what there is.
const SHORT: Range<usize> = 24..320;

/// For each target its seeds by name.
pub(super) fn all() -> BTreeMap<&'static str, Seeds> {
    BTreeMap::from([
        ("answer_and_frames", answers_and_frames()),
        ("catalogue", cases()),
        ("deflate", deflated()),
        ("judge", sessions()),
        ("profile", profiles()),
        ("report", reports()),
        ("token", tokens()),
    ])
}

fn named<const N: usize>(seeds: [(&str, Vec<u8>); N]) -> Seeds {
    seeds.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

fn texts<const N: usize>(seeds: [(&str, &str); N]) -> Seeds {
    named(seeds.map(|(name, text)| (name, text.as_bytes().to_vec())))
}

/// Bytes of the strategy that the properties use, for targets that read values out of them.
fn noise(name: &str, count: usize, length: Range<usize>) -> Seeds {
    let mut runner = TestRunner::deterministic();
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, length);
    let one = |number| (format!("{name}-{number:02}"), bytes.new_tree(&mut runner).expect("bytes").current());
    (0..count).map(one).collect()
}

/// Short ones; and of those that are long enough for what is drawn last the first with each kind of it.
fn reports() -> Seeds {
    let mut seeds = noise("run", 24, SHORT);
    let mut seen: BTreeSet<_> = seeds.values().flat_map(|bytes| report::comes_to(bytes)).collect();
    for (name, bytes) in noise("late", 400, 320..1600) {
        let before = seen.len();
        seen.extend(report::comes_to(&bytes));
        if seen.len() > before {
            seeds.insert(name, bytes);
        }
    }
    seeds
}

/// Sessions of one case of each kind of step and question, against targets of each kind; then of any.
fn sessions() -> Seeds {
    let mut seen = BTreeSet::new();
    let mut seeds = Seeds::new();
    let mut bytes = noise("", 400, SHORT).into_values();
    for (target, trials) in TRIALS.iter() {
        for trial in trials {
            let text = trial.case.variants.iter().map(|variant| format!("{:?}", variant.body)).collect::<String>();
            let before = seen.len();
            seen.extend(
                text.split(|character: char| !character.is_ascii_alphabetic())
                    .filter(|word| KINDS.contains(word))
                    .map(str::to_owned),
            );
            if seen.len() > before {
                let (code, preset) = (&trial.case.head.code, &target.profile.name);
                let line = format!("{code} {preset}\n").into_bytes();
                seeds.insert(
                    format!("{}-{preset}", code.to_lowercase()),
                    [line, bytes.next().unwrap_or_default()].concat(),
                );
            }
        }
    }
    seeds.extend(noise("session", 16, SHORT));
    seeds
}

/// What a case may ask: the steps, what they await, and questions to a whole run.
const KINDS: [&str; 66] = [
    "Say",
    "Hear",
    "Send",
    "Await",
    "Alive",
    "Close",
    "Cut",
    "Abort",
    "Crowd",
    "Wait",
    "Http",
    "Hello",
    "Fetches",
    "Welcome",
    "Pong",
    "PongHex",
    "Unrepeated",
    "Failed",
    "Closed",
    "ClosedCleanly",
    "NoAbruptEnd",
    "WellFormedClose",
    "LegalCloseCode",
    "Nothing",
    "Heeded",
    "Unheeded",
    "HungUp",
    "Released",
    "NotServed",
    "Ended",
    "AuthTimeout",
    "Admitted",
    "Refused",
    "Either",
    "Survives",
    "NoServerError",
    "RefusedInTime",
    "NotUpgraded",
    "Upgraded",
    "Signal",
    "Reasons",
    "AllSignals",
    "CloseReachesWire",
    "RefusesBeforeUpgrade",
    "NoDataBeforeClose",
    "Prompt",
    "Deliberate",
    "Challenge",
    "MeaningfulCloseCode",
    "OneSignalPerClass",
    "TokenNotReflected",
    "SecretAbsent",
    "Controls",
    "Witness",
    "Banners",
    "StatusHeaders",
    "NotSuccess",
    "ChallengeFits",
    "BareChallenge",
    "NoTokenInRedirect",
    "StatusSemantics",
    "NoLibraryWords",
    "ExpectationsAbsent",
    "NoInternals",
    "Unmasked",
    "ValidMessages",
];

fn answers_and_frames() -> Seeds {
    let server = |opcode, payload: &[u8], length| {
        Written { fin: true, rsv: 0, opcode, mask: None, length, payload: payload.to_vec() }.to_bytes()
    };
    let switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    named([
        ("answer-101-then-text", [&switching[..], &server(frame::TEXT, b"hello", LengthForm::Minimal)].concat()),
        ("answer-403-empty", b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ("answer-401-json", b"HTTP/1.1 401 \r\nContent-Length: 2\r\nWWW-Authenticate: Bearer\r\n\r\n{}".to_vec()),
        (
            "answer-chunked",
            b"HTTP/1.1 500 x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n".to_vec(),
        ),
        ("answer-until-close", b"HTTP/1.0 404 Not Found\r\nX-Y: \t z \r\n\r\nbody".to_vec()),
        ("answer-half", b"HTTP/1.1 101 Switching Protocols\r\nUpgr".to_vec()),
        ("answer-not-http", b"SSH-2.0-OpenSSH\r\n".to_vec()),
        ("chunk-size-overflow", b"FFFFFFFFFFFFFFFF\r\nabc".to_vec()),
        ("frame-text-then-ping", [server(1, b"a", LengthForm::Minimal), server(9, b"", LengthForm::Minimal)].concat()),
        ("frame-close-1008", server(frame::CLOSE, b"\x03\xf0Invalid token", LengthForm::Minimal)),
        ("frame-close-half-code", server(frame::CLOSE, b"\x03", LengthForm::Minimal)),
        ("frame-masked", Written::client(frame::TEXT, "masked", [0xde, 0xad, 0xbe, 0xef]).to_bytes()),
        ("frame-16-bits", server(frame::BINARY, &[7; 126], LengthForm::Minimal)),
        ("frame-64-bits", server(frame::BINARY, b"few", LengthForm::Bits64)),
        ("frame-too-long", server(frame::TEXT, b"ab", LengthForm::Announce(1 << 62))),
    ])
}

fn deflated() -> Seeds {
    let negotiation = |offer: &str, answer: &str| [b"\xff", offer.as_bytes(), b"\n", answer.as_bytes()].concat();
    let plain = "permessage-deflate";
    let how = |how: u8, message: &[u8]| {
        let agreed = Agreed {
            client_no_context_takeover: how & 1 != 0,
            server_no_context_takeover: how & 2 != 0,
            client_max_window_bits: 8 + (how >> 2) % 8,
        };
        [&[how], &Codec::new(agreed).deflate(message)[..]].concat()
    };
    let text = "{\"event\":\"connected\",\"user\":\"alice\"}".repeat(12);
    named([
        ("negotiation-plain", negotiation(plain, plain)),
        ("negotiation-none", negotiation(plain, "x-webkit-deflate-frame")),
        ("negotiation-twice", negotiation(plain, "permessage-deflate, permessage-deflate")),
        ("negotiation-unoffered", negotiation(plain, "permessage-deflate; client_max_window_bits=15")),
        (
            "negotiation-windows",
            negotiation(
                "permessage-deflate; client_max_window_bits, permessage-deflate; server_max_window_bits=9",
                "permessage-deflate; server_max_window_bits=\"9\"; client_max_window_bits=12",
            ),
        ),
        (
            "negotiation-no-context",
            negotiation(
                "permessage-deflate; server_no_context_takeover",
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            ),
        ),
        (
            "negotiation-parameter-twice",
            negotiation(plain, "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9"),
        ),
        ("negotiation-context-kept", negotiation("permessage-deflate; server_no_context_takeover", plain)),
        ("negotiation-window-kept", negotiation("permessage-deflate; server_max_window_bits=9", plain)),
        ("negotiation-quoted-comma", negotiation("permessage-deflate; x=\",\"", "permessage-deflate; x=\"a,b\"")),
        ("payload-text", how(0x1C, text.as_bytes())),
        ("payload-no-context", how(0x1F, text.as_bytes())),
        ("payload-small-window", how(0, text.as_bytes())),
        ("payload-in-many-frames", how(0xDC, text.as_bytes())),
        ("payload-empty", how(0x1C, b"")),
        ("payload-stored", [&[0x1C, 0x00, 0x05, 0x00, 0xFA, 0xFF][..], b"Hello"].concat()),
        ("payload-final-block", vec![0x1C, 0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]),
        ("payload-bomb", how(0x1C, &vec![b'a'; 1 << 20])),
        ("payload-no-deflate", vec![0x1C, 0xFF, 0xFF, 0xFF]),
    ])
}

/// Entries of the bundled catalogue until every key and word of it stands in one, and texts that are no catalogue.
fn cases() -> Seeds {
    let mut seen = BTreeSet::new();
    let mut seeds = Seeds::new();
    for (name, text) in bundled::CASES {
        let mut entries = text.split("\n  - code:");
        let head = entries.next().unwrap_or_default();
        let family = name.rsplit('/').next().unwrap_or(name).trim_end_matches(".yaml");
        for (number, entry) in entries.enumerate() {
            let words = entry
                .split(|character: char| !(character.is_ascii_lowercase() || character == '_'))
                .filter(|word| entry.contains(&format!("{word}:")) && word.len() > 1)
                .map(str::to_owned);
            let before = seen.len();
            seen.extend(words);
            // One new word is often the name of a claim only.
            if seen.len() > before + 1 && entry.len() < 2000 {
                seeds.insert(format!("case-{family}-{number:02}"), format!("{head}\n  - code:{entry}").into_bytes());
            }
        }
    }
    seeds.extend(texts([
        ("yaml-alias-bomb", "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n"),
        ("yaml-ambiguous-octal", "a: 010\n"),
        ("yaml-ambiguous-hex", "a: 0x10\n"),
        ("yaml-ambiguous-long", "a: 1_000\n"),
        ("yaml-ambiguous-word", "a: no\n"),
        ("yaml-ambiguous-null", "a: ~\n"),
        ("yaml-anchors", "family: TST\ntitle: &t t\ncases: [{ code: TST-001, name: a, title: *t }]\n"),
        ("yaml-ambiguous", "a: [010, 0x10, 0o10, 1_000, no, Yes, ~, 1e400, .nan, 12:30, 2001-01-01, +1, .5]\n"),
        ("yaml-block-texts", "a: |+\n  b\n\nc: >-\n  d\n  e\n\n  f\ng: \"\\x41\\u00e9\\\n  h\"\n"),
        ("yaml-deep", &"[".repeat(60)),
        ("yaml-deep-flow", &"{a: ".repeat(60)),
        ("yaml-directive", "%YAML 1.2\n---\na: 1\n"),
        ("yaml-duplicate", "a: 1\n\"a\": 2\n"),
        ("yaml-empty", "# nothing\n"),
        ("yaml-key-of-list", "? [a, b]\n: c\n? d\n1: e\n"),
        ("yaml-line-ends", "a: b\r\nc: d\re: \u{2028}f\u{85}g: h\n"),
        ("yaml-merge", "a: &a { b: 1 }\nc: { <<: *a }\n"),
        ("yaml-second-document", "a: 1\n---\nb: 2\n...\n"),
        ("yaml-tabs", "a:\n\t- b\n - c: \td\n"),
        ("yaml-tag", "a: !!str 1\nb: !x { c: 1 }\n"),
        ("yaml-escapes", "a: \"\\e[31m\\0\\u202e\"\n\u{feff}b: '\u{1b}'\n"),
        ("table", "family: TST\ntitle: t\ncases:\n  - code: TST-001\n    name: a\n    title: t\n    level: must\n    severity: high\n    source: [T07]\n    weakness: ignores-exp\n    for: [{ x: 1 }, { x: 2 }]\n    token: { forge: [{ claims: { exp: \"{x}\" } }] }\n    expect: refused\n"),
        ("table-product", "family: TST\ntitle: t\ncases: [{ code: TST-001, name: a, title: t, for: { a: [1, 2], b: [3, 4] }, expect: refused }]\n"),
    ]));
    seeds.insert("no-utf-8".to_owned(), b"family: \xff\xfe\n".to_vec());
    seeds
}

fn profiles() -> Seeds {
    let mut seeds: Seeds =
        bundled::PROFILES.iter().map(|(name, text)| (format!("preset-{name}"), text.as_bytes().to_vec())).collect();
    seeds.extend(texts([
        ("extends", "extends: omni2\nurl: ws://localhost:1/ws\nroles: { claim: role, allowed: [admin], default: x }\n"),
        ("extends-nothing", "extends: omni3\n"),
        (
            "first-message",
            "carriers: [{ first_message: { send: '{\"token\":\"{token}\"}', reply: { json: { /ok: true } }, timeout_ms: 5 } }]\nwelcome: { text: hello }\n",
        ),
        ("carriers", "url: wss://[::1]:8443/a/{token}?b=c\ncarriers: [path, { cookie: a }, { cookie: a }, { subprotocol: [x, \"k.{token}\"] }]\n"),
        ("origins", "allowed_origins: [\"https://a.example\", \"null\", \"*\"]\nsend_origin: true\n"),
        ("echo", "echo: { send: '{\"m\":\"{message}\"}', reply: { json: { /a/b: \"{message}\" } }, broadcast: true }\nsettle_ms: 0\n"),
        ("numbers", "leeway: 18446744073709551615\nmax_token_age: 0\nplain_port: 65535\n"),
        ("url", "url: \"ws://user@h:99999/\\u0007{token}#x\"\n"),
        ("unknown-key", "urll: ws://h\n"),
    ]));
    seeds
}

/// Recipes of the bundled cases until every operator of them stands in one, and samples of the others.
fn tokens() -> Seeds {
    let mut recipes: Vec<&Recipe> = Vec::new();
    for variant in CATALOGUE.cases.iter().flat_map(|case| &case.variants) {
        let Body::Steps(steps) = &variant.body else { continue };
        for step in steps.iter() {
            if let Step::Open(open) = step {
                recipes.push(&open.token);
            }
        }
    }
    let operators: BTreeSet<String> = Op::catalogue().into_iter().map(|row| row.name).collect();
    let mut seen = BTreeSet::new();
    let mut seeds = Seeds::new();
    let mut add = |name: String, recipe: &Value| {
        let text = recipe.to_string();
        let before = seen.len();
        seen.extend(text.split('"').filter(|word| operators.contains(*word)).map(str::to_owned));
        if seen.len() > before && text.len() < 1500 {
            // An even choice is the key of the secret.
            seeds.insert(name, [b"{\0", text.as_bytes()].concat());
        }
    };
    for (number, recipe) in recipes.into_iter().enumerate() {
        add(format!("case-{number:03}"), &serde_json::to_value(recipe).expect("JSON"));
    }
    for row in Op::catalogue() {
        for (number, sample) in row.samples.iter().enumerate() {
            let op: Value = serde_json::from_str(sample).expect("JSON");
            add(format!("sample-{}-{number}", row.name), &serde_json::json!({ "forge": [op] }));
        }
    }
    seeds.extend(noise("chosen", 24, SHORT).into_iter().map(|(name, mut bytes)| {
        // Neither of the two bytes that begin another kind of input.
        bytes[0] &= 0x1F;
        bytes.truncate(24);
        (name, bytes)
    }));
    let recipe = |op: &str| format!("{{\0{{\"forge\":[{op}]}}").into_bytes();
    seeds.extend(named([
        ("raw-token", b"\"\0eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl".to_vec()),
        ("raw-claims", b"\"\x80{\"sub\":\"a\",\"exp\":1790000300,\"sub\":\"\\ud800\",\"x\":1e999}".to_vec()),
        ("raw-header", b"\"\x80{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"kid\":null}".to_vec()),
        ("recipe-expired", recipe("{\"claims\":{\"exp\":\"${now-3600}\"}}")),
        ("recipe-expired-twice", recipe("{\"claims_last\":{\"exp\":\"${now-3600}\"}}")),
        ("recipe-endless", recipe("{\"drop_claims\":[\"exp\"]}")),
        ("recipe-early", recipe("{\"claims\":{\"nbf\":\"${now+3600}\"}}")),
        ("recipe-other-audience", recipe("{\"claims\":{\"aud\":[\"them\"]}}")),
        ("recipe-other-issuer", recipe("{\"claims\":{\"iss\":\"https://issuer.example.evil\"}}")),
        ("recipe-other-role", recipe("{\"claims\":{\"role\":\"Admin\"}}")),
        ("recipe-no-bearer", recipe("{\"claims\":{\"sub\":\"\"}}")),
        ("recipe-wrong-key", recipe("{\"sign\":{\"key\":\"wrong\"}}")),
        ("recipe-other-hash", recipe("{\"alg\":\"HS384\"}")),
        ("recipe-critical", recipe("{\"header\":{\"crit\":[\"x\"],\"x\":1}}")),
        ("recipe-ed25519", b"{\x03{\"forge\":[{\"eddsa_shape\":\"plus_order\"}]}".to_vec()),
        ("recipe-ecdsa", b"{\x05{\"forge\":[\"twin_signature\"]}".to_vec()),
        ("recipe-rsa", b"{\x07{\"forge\":[{\"rsa_value\":\"plus_modulus\"}]}".to_vec()),
        ("recipe-pss", b"{\x09{\"forge\":[{\"pss_salt\":\"max\"}]}".to_vec()),
    ]));
    seeds
}
