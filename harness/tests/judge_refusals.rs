//! What is left behind a refusal, how refusals compare, and what they give away: each question beside an observation
//! that answers it well and one that does not.

use std::time::Duration;

use gatecrash::case::{Across, CaseText, Expect, Step};
use gatecrash::judge::{self, Heard, Learned, Run, Seen};
use gatecrash::observation::{Connection, End, Event, Mark, Observation, What};
use gatecrash::outcome;
use gatecrash::profile::{Class, Echo, Profile, Shape};
use gatecrash::token::{Keyring, Token};
use gatecrash::verdict::{Grade, Verdict};
use gatecrash::wire::answer::Head;
use gatecrash::wire::frame::{CLOSE, Frame, PING, PONG, TEXT};
use serde_json::{Value, json};

const SECRET: &str = "a secret of some length, for tests";
const FORGED: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn case() -> CaseText {
    let case = json!({
        "code": "TST-001", "name": "test", "title": "a test", "level": "must", "severity": "high", "source": []
    });
    serde_json::from_value(case).expect("a case")
}

fn steps(steps: Value) -> Vec<Step> {
    serde_json::from_value(steps).expect("steps")
}

fn head(status: u16, headers: &[(&str, &str)]) -> What {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    What::Head(Head { minor_version: 1, status, reason: String::new(), headers })
}

fn frame(opcode: u8, payload: impl AsRef<[u8]>) -> What {
    What::Frame(Frame { fin: true, rsv: 0, opcode, masked: false, payload: payload.as_ref().to_vec() })
}

fn close(code: u16, reason: &str) -> What {
    frame(CLOSE, [&code.to_be_bytes(), reason.as_bytes()].concat())
}

fn body(text: &str) -> What {
    What::Body { bytes: text.as_bytes().to_vec(), complete: true }
}

fn silence() -> What {
    What::Silence(Duration::from_millis(250))
}

fn connection(name: &str, what: Vec<What>) -> Connection {
    Connection {
        name: name.to_owned(),
        sent: b"GET / HTTP/1.1\r\nSec-WebSocket-Key: b25l\r\nsec-websocket-key: dHdv\r\nSec-WebSocket-Protocol: a, b\r\n\r\n"
            .to_vec(),
        key: Some("b25l".to_owned()),
        tls: None,
        token: Some(Token::new(FORGED.into())),
        events: what.into_iter().map(|what| Event { at: Duration::from_millis(1), what }).collect(),
    }
}

fn echoing() -> Learned {
    let echo = Echo { send: "{message}".to_owned(), reply: Shape::Text("{message}".to_owned()), broadcast: false };
    Learned { echo: Some(echo), echo_is_promised: true, speaks: true, control: Duration::ZERO, drops: None }
}

/// The verdict on a session of one connection, in which the last step begins at event `from`.
fn verdict_of(script: Value, what: Vec<What>, from: usize, said: &[&str]) -> Verdict {
    let steps = steps(script);
    let length = what.len();
    let mark = |step, from, to, said: &[&str]| Mark {
        step,
        connection: 0,
        from,
        to,
        said: said.iter().map(|word| (*word).to_owned()).collect(),
        ..Mark::default()
    };
    let marks = vec![mark(0, 0, from, said), mark(steps.len() - 1, from, length, &[])];
    let observation = Observation { connections: vec![connection("main", what)], marks, ..Observation::default() };
    let checks = judge::session(&case(), &steps, &observation, &Profile::default(), &echoing());
    // The opening itself is not what is asked here.
    Verdict::of(&checks[1..])
}

fn awaited(what: &str) -> Value {
    json!([{ "open": { "expect": "either" } }, { "await": { "what": what } }])
}

#[test]
fn an_early_frame_is_answered_or_ends_the_connection() {
    let upgrade = || head(101, &[]);
    let heeded = |what, from| verdict_of(awaited("heeded"), what, from, &["gc-early"]);
    assert_eq!(heeded(vec![upgrade(), frame(TEXT, "gc-early")], 1), Verdict::Pass);
    assert_eq!(heeded(vec![upgrade(), close(1002, "")], 1), Verdict::Pass);
    assert_eq!(heeded(vec![upgrade(), frame(TEXT, "gc-later"), silence()], 1), Verdict::Fail);
    // What ends after the step was ended by the harness.
    let ours = What::Sent { opcode: Some(CLOSE), payload: Vec::new() };
    let script = steps(awaited("heeded"));
    let observation = Observation {
        connections: vec![connection("main", vec![upgrade(), silence(), ours, close(1000, ""), What::End(End::Fin)])],
        marks: vec![Mark { step: 1, connection: 0, from: 1, to: 2, said: vec!["x".to_owned()], ..Mark::default() }],
        ..Observation::default()
    };
    let checks = judge::session(&case(), &script, &observation, &Profile::default(), &echoing());
    assert_eq!(Verdict::of(&checks), Verdict::Fail);
}

#[test]
fn nothing_is_answered_behind_a_refusal() {
    let unheeded = |what, from| verdict_of(awaited("unheeded"), what, from, &["gc-early"]);
    assert_eq!(unheeded(vec![head(101, &[]), close(1008, ""), What::End(End::Fin)], 2), Verdict::Pass);
    assert_eq!(unheeded(vec![head(101, &[]), close(1008, ""), frame(TEXT, "pong")], 2), Verdict::Fail);
    assert_eq!(unheeded(vec![head(401, &[]), body(""), What::End(End::Fin)], 2), Verdict::Pass);
    assert_eq!(unheeded(vec![head(401, &[]), body(""), frame(TEXT, "pong")], 2), Verdict::Fail);
    // A second answer is HTTP's own way to take what came behind the first request.
    assert_eq!(unheeded(vec![head(401, &[]), body(""), head(400, &[]), body("")], 2), Verdict::Pass);
    assert_eq!(unheeded(vec![head(101, &[]), frame(TEXT, "gc-early"), silence()], 1), Verdict::Fail);
    assert_eq!(unheeded(vec![head(101, &[])], 1), Verdict::Inconclusive);
}

#[test]
fn a_refused_connection_is_let_go() {
    let hung_up = |what, from| verdict_of(awaited("hung_up"), what, from, &[]);
    assert_eq!(hung_up(vec![head(101, &[]), close(1008, ""), What::End(End::Fin)], 2), Verdict::Pass);
    assert_eq!(hung_up(vec![head(101, &[]), close(1008, ""), silence()], 2), Verdict::Fail);
    assert_eq!(hung_up(vec![head(401, &[]), body("")], 2), Verdict::Info);
    let released = |what, from| verdict_of(awaited("released"), what, from, &[]);
    assert_eq!(released(vec![head(401, &[]), body(""), What::End(End::Fin)], 2), Verdict::Pass);
    assert_eq!(released(vec![head(401, &[]), body(""), head(404, &[])], 2), Verdict::Pass);
    assert_eq!(released(vec![head(401, &[]), body(""), silence()], 2), Verdict::Fail);
    assert_eq!(released(vec![head(101, &[]), close(1008, "")], 2), Verdict::Info);
}

#[test]
fn refusals_are_alike_whatever_number_they_have() {
    let alike = |one: Vec<What>, other: Vec<What>| {
        let script = steps(json!([
            { "open": { "as": "one", "expect": "refused" } },
            { "open": { "as": "other", "expect": "refused", "told_like": "one" } },
        ]));
        let mark = |step, connection, to| Mark { step, connection, from: 0, to, said: Vec::new(), ..Mark::default() };
        let marks = vec![mark(0, 0, one.len()), mark(1, 1, other.len())];
        let connections = vec![connection("one", one), connection("other", other)];
        let observation = Observation { connections, marks, ..Observation::default() };
        let checks = judge::session(&case(), &script, &observation, &Profile::default(), &echoing());
        assert_eq!(checks.len(), 3, "{checks:?}");
        checks[2].grade
    };
    let closed = |code, reason| vec![head(101, &[]), close(code, reason)];
    assert_eq!(alike(closed(1008, "no"), closed(1008, "no")), Grade::Pass);
    assert_eq!(alike(closed(1008, "no (ref 17a)"), closed(1008, "no (ref 93)")), Grade::Pass);
    assert_eq!(alike(closed(1008, "no"), closed(1008, "no such user")), Grade::Fail);
    assert_eq!(alike(closed(4002, "no"), closed(4003, "no")), Grade::Fail);
    assert_eq!(alike(vec![head(401, &[])], vec![head(403, &[])]), Grade::Fail);
    assert_eq!(alike(vec![head(401, &[])], vec![head(429, &[])]), Grade::Inconclusive);
}

#[test]
fn of_a_crowd_each_one_counts() {
    let script = steps(json!([{ "crowd": {
        "of": [{ "as": "good" }, { "as": "bad", "expect": "refused" }], "times": 2, "in_budget": true
    } }]));
    let crowd = |connections: Vec<Connection>| {
        let marks = vec![Mark { step: 0, connection: 0, from: 0, to: 0, said: Vec::new(), ..Mark::default() }];
        let observation = Observation { connections, marks, ..Observation::default() };
        let profile = Profile { handshake_budget_ms: Some(10), ..Profile::default() };
        let checks = judge::session(&case(), &script, &observation, &profile, &echoing());
        checks.iter().map(|check| check.grade).collect::<Vec<_>>()
    };
    let good = || connection("good", vec![head(101, &[]), frame(TEXT, "hello")]);
    let bad = || connection("bad", vec![head(101, &[]), close(1008, "")]);
    assert_eq!(crowd(vec![good(), bad(), good(), bad()]), [Grade::Pass; 3]);
    assert_eq!(crowd(vec![good(), bad(), good(), good()]), [Grade::Pass, Grade::Fail, Grade::Pass]);
    assert_eq!(crowd(vec![good(), bad(), bad(), bad()]), [Grade::Fail, Grade::Pass, Grade::Pass]);
    assert_eq!(crowd(vec![good(), bad()]), [Grade::Inconclusive, Grade::Inconclusive, Grade::Pass]);
    let slow = |connection: Connection| Connection {
        events: connection.events.into_iter().map(|event| Event { at: Duration::from_millis(20), ..event }).collect(),
        ..connection
    };
    assert_eq!(crowd(vec![slow(good()), slow(bad()), slow(good()), bad()])[2], Grade::Fail);
}

/// The verdict on a question to a run that saw one refusal.
fn asked(question: Across, class: Class, seen: Connection, profile: &Profile, witness: Option<&Connection>) -> Verdict {
    asked_of(question, class, seen, profile, witness, true)
}

/// The same, where the echo is declared, or was only seen.
fn asked_of(
    question: Across,
    class: Class,
    seen: Connection,
    profile: &Profile,
    witness: Option<&Connection>,
    echo_is_promised: bool,
) -> Verdict {
    let outcome = outcome::of(&seen.events, true);
    let keys = Keyring::new().with_secret(SECRET);
    let seen = Seen {
        code: "TST-001",
        class: Some(class),
        expect: Expect::Refused,
        elsewhere: false,
        outcome: &outcome,
        connection: &seen,
    };
    let run = Run {
        seen: vec![seen],
        heard: vec![Heard { code: seen.code, connection: seen.connection }],
        controls: &[],
        witness,
        keys: &keys,
        host: "server.example",
        profile,
        refusal_budget: Duration::from_secs(1),
        echo_is_promised,
    };
    Verdict::of(&judge::across(&case(), question, &run))
}

#[test]
fn json_is_asked_of_an_echo_that_was_declared_and_not_of_one_that_was_seen() {
    let echo = Echo {
        send: r#"{"m":"{message}"}"#.to_owned(),
        reply: Shape::Json([("/m".to_owned(), json!("{message}"))].into()),
        broadcast: false,
    };
    let profile = Profile { echo: Some(echo), ..Profile::default() };
    let asked = |promised| {
        let said = connection("main", vec![head(101, &[]), frame(TEXT, "no JSON at all")]);
        asked_of(Across::ValidMessages, Class::Malformed, said, &profile, None, promised)
    };
    assert_eq!(asked(true), Verdict::Fail);
    assert_eq!(asked(false), Verdict::Pass);
}

#[test]
fn the_witness_must_live_or_be_told_that_it_is_over() {
    let found = |what: Option<Vec<What>>| {
        let witness = what.map(|what| connection("witness", what));
        let seen = connection("main", vec![head(401, &[])]);
        asked(Across::Witness, Class::Missing, seen, &Profile::default(), witness.as_ref())
    };
    let ping = What::Sent { opcode: Some(PING), payload: b"still there".to_vec() };
    assert_eq!(found(Some(vec![ping.clone(), frame(PONG, "still there")])), Verdict::Pass);
    assert_eq!(found(Some(vec![What::End(End::Fin)])), Verdict::Fail);
    assert_eq!(found(Some(vec![ping, silence()])), Verdict::Fail);
    assert_eq!(found(Some(vec![close(1011, "an error")])), Verdict::Fail);
    assert_eq!(found(Some(vec![close(1012, "restart")])), Verdict::Info, "nobody crashes with a word");
    assert_eq!(found(Some(vec![close(1001, "idle for too long")])), Verdict::Info);
    assert_eq!(found(None), Verdict::Info);
}

#[test]
fn a_redirect_may_not_take_the_token_elsewhere() {
    let redirect = |location: &str| {
        let seen = connection("main", vec![head(302, &[("Location", location)])]);
        asked(Across::NoTokenInRedirect, Class::Expired, seen, &Profile::default(), None)
    };
    assert_eq!(redirect(&format!("https://login.example/?next=/ws?token={FORGED}")), Verdict::Fail);
    assert_eq!(redirect(&format!("//login.example/?token={FORGED}")), Verdict::Fail);
    assert_eq!(redirect(&format!("https://server.example@login.example/?token={FORGED}")), Verdict::Fail);
    assert_eq!(redirect(&format!("http://SERVER.example:8080/ws/?token={FORGED}")), Verdict::Pass);
    assert_eq!(redirect(&format!("/ws/?token={FORGED}")), Verdict::Pass);
    assert_eq!(redirect(&format!("/ws/?token={FORGED}&next=http://other.example")), Verdict::Pass);
    assert_eq!(redirect("https://login.example/"), Verdict::Pass);
}

#[test]
fn challenges_say_what_is_wrong_and_to_strangers_nothing() {
    let challenged = |question, class, status, challenge: &str, token: bool| {
        let mut seen = connection("main", vec![head(status, &[("WWW-Authenticate", challenge)]), body("")]);
        if !token {
            seen.token = None;
        }
        asked(question, class, seen, &Profile::default(), None)
    };
    let fits = |status, challenge| challenged(Across::ChallengeFits, Class::Expired, status, challenge, true);
    assert_eq!(fits(401, "Bearer realm=\"x\", error=\"invalid_token\""), Verdict::Pass);
    assert_eq!(fits(403, "bearer error=insufficient_scope"), Verdict::Pass);
    assert_eq!(fits(401, "Bearer error=\"invalid_request\""), Verdict::Fail);
    assert_eq!(fits(401, "Basic realm=\"x\""), Verdict::Fail);
    let bare = |challenge, token| challenged(Across::BareChallenge, Class::Missing, 401, challenge, token);
    assert_eq!(bare("Bearer realm=\"x\"", false), Verdict::Pass);
    assert_eq!(bare("Bearer error=\"invalid_token\"", false), Verdict::Fail);
    assert_eq!(bare("Bearer error=\"invalid_token\"", true), Verdict::Pass);
}

#[test]
fn a_refusal_tells_neither_errors_nor_expectations() {
    let genuine = gatecrash::token::genuine_signatures(&Keyring::new().with_secret(SECRET), FORGED.as_bytes());
    assert_eq!(genuine.len(), 3);
    let roles = json!({ "claim": "role", "allowed": ["admin", "developer"] });
    let profile = Profile {
        audience: Some("https://audience.example".to_owned()),
        roles: Some(serde_json::from_value(roles).expect("roles")),
        ..Profile::default()
    };
    let told = |question, reason: &str| {
        let seen = connection("main", vec![head(101, &[]), close(1008, reason)]);
        asked(question, Class::BadSignature, seen, &profile, None)
    };
    for reason in [
        format!("expected signature {}", genuine[0]),
        "aud must be https://audience.example".to_owned(),
        "only admin and developer may".to_owned(),
    ] {
        assert_eq!(told(Across::ExpectationsAbsent, &reason), Verdict::Fail, "{reason}");
    }
    assert_eq!(told(Across::ExpectationsAbsent, "Invalid token; ask your admin"), Verdict::Pass);
    assert_eq!(told(Across::NoLibraryWords, "Not enough segments"), Verdict::Fail);
    assert_eq!(told(Across::NoLibraryWords, "Invalid or expired token"), Verdict::Pass);
    // In the challenge as well, and there in what it describes: a realm is a name like any other.
    let challenged = |question, challenge: &str| {
        let seen = connection("main", vec![head(401, &[("WWW-Authenticate", challenge)]), body("no")]);
        asked(question, Class::BadSignature, seen, &profile, None)
    };
    let described = r#"Bearer realm="x", error="invalid_token", error_description="Signature verification failed""#;
    assert_eq!(challenged(Across::NoLibraryWords, described), Verdict::Fail);
    let expecting =
        r#"Bearer error_description="the audience must be https://audience.example", error="invalid_token""#;
    assert_eq!(challenged(Across::ExpectationsAbsent, expecting), Verdict::Fail);
    let realm = r#"Bearer realm="https://audience.example", error="invalid_token", error_description="bad audience""#;
    assert_eq!(challenged(Across::ExpectationsAbsent, realm), Verdict::Pass);
    assert_eq!(told(Across::ExpectationsAbsent, "this is https://audience.example: no entry"), Verdict::Pass);
}

#[test]
fn the_secret_and_the_inside_are_looked_for_in_every_answer() {
    let with_secret = |question, secret: &str, what: Vec<What>| {
        let keys = Keyring::new().with_secret(secret);
        let seen = connection("login", what);
        let heard = vec![Heard { code: "TST-001", connection: &seen }];
        let profile = Profile::default();
        let run = Run {
            seen: Vec::new(),
            heard,
            controls: &[],
            witness: None,
            keys: &keys,
            host: "server.example",
            profile: &profile,
            refusal_budget: Duration::from_secs(1),
            echo_is_promised: true,
        };
        Verdict::of(&judge::across(&case(), question, &run))
    };
    let said = |question, text: &str| with_secret(question, SECRET, vec![head(200, &[]), body(text)]);
    assert_eq!(said(Across::SecretAbsent, &format!("{{\"key\":\"{SECRET}\"}}")), Verdict::Fail);
    assert_eq!(said(Across::SecretAbsent, "-----BEGIN PRIVATE KEY-----\nMIG"), Verdict::Fail);
    assert_eq!(said(Across::SecretAbsent, "-----BEGIN PUBLIC KEY-----\nMIG"), Verdict::Pass);
    // What anybody writes is no leak, although somebody took it for the secret.
    let word = vec![head(401, &[]), body("the password is wrong")];
    assert_eq!(with_secret(Across::SecretAbsent, "password", word), Verdict::Pass);

    for line in [
        r#"  File "/srv/app/ws.py", line 12, in connect"#,
        "thread 'main' at src/gate.rs:77:13",
        "at verify (/app/ws.js:10:5)",
        "at app.Gate.check(Gate.java:55)",
        "main.go:33 +0x1d",
        "gate.rb:12:in `call'",
        "in /var/www/gate.php on line 12",
        "in Gate.cs:line 9",
        "ERROR 1064: You have an error in your SQL syntax",
    ] {
        assert_eq!(said(Across::NoInternals, line), Verdict::Fail, "{line}");
    }
    for line in [
        "expected value at line 1 column 1",
        "see https://status.example.rs:8443/ and https://www.example.com.py:80/",
        "invalid token: app.js",
        "the time is 12:30:05",
    ] {
        assert_eq!(said(Across::NoInternals, line), Verdict::Pass, "{line}");
    }

    let status = |status, headers: &[(&str, &str)]| {
        with_secret(Across::StatusHeaders, SECRET, vec![head(status, headers), body("")])
    };
    assert_eq!((status(405, &[]), status(405, &[("Allow", "GET")])), (Verdict::Fail, Verdict::Pass));
    assert_eq!((status(426, &[]), status(426, &[("Upgrade", "websocket")])), (Verdict::Fail, Verdict::Pass));
    assert_eq!(status(400, &[]), Verdict::Info);
}

#[test]
fn answers_to_odd_openings_are_held_to_what_was_sent() {
    let answered = |answer: Value, what: What| {
        let script = steps(json!([{ "open": { "expect": "either", "answer": answer } }]));
        let marks = vec![Mark { step: 0, connection: 0, from: 0, to: 1, said: Vec::new(), ..Mark::default() }];
        let connections = vec![connection("main", vec![what])];
        let observation = Observation { connections, marks, ..Observation::default() };
        let checks = judge::session(&case(), &script, &observation, &Profile::default(), &echoing());
        Verdict::of(&checks[1..])
    };
    let accept = |key: &str| gatecrash::wire::opening::accept_for(key.as_bytes());
    let one_of =
        |key: &str| answered(json!({ "accepts_a_key": true }), head(101, &[("Sec-WebSocket-Accept", &accept(key))]));
    assert_eq!((one_of("b25l"), one_of("dHdv"), one_of("b25l, dHdv")), (Verdict::Pass, Verdict::Pass, Verdict::Fail));
    let chosen =
        |name: &str| answered(json!({ "offered_subprotocol": true }), head(101, &[("Sec-WebSocket-Protocol", name)]));
    assert_eq!((chosen("b"), chosen("c")), (Verdict::Pass, Verdict::Fail));
    let allowed = |origin: &str, with: &str| {
        let headers = [("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Credentials", with)];
        answered(json!({ "unreadable_by": "https://evil.example" }), head(200, &headers))
    };
    assert_eq!(allowed("https://evil.example", "true"), Verdict::Fail);
    assert_eq!(allowed("https://evil.example", "false"), Verdict::Pass);
    assert_eq!(allowed("*", "true"), Verdict::Pass);
    assert_eq!(allowed("https://app.example", "true"), Verdict::Pass);
}

#[test]
fn what_is_covered_is_no_case_and_is_covered_by_one() {
    let cover = |text: &str| {
        let mut catalogue = gatecrash::Catalogue::bundled().expect("the cases");
        catalogue.cover("covered.yaml", text).map(|()| catalogue.covered.len()).map_err(|found| found.to_string())
    };
    assert_eq!(cover("REJ-020: { by: REJ-019, because: the same }"), Ok(1));
    for (text, why) in [
        ("REJ-19: { by: REJ-019, because: x }", "`REJ-19` is no code"),
        ("REJ-018: { by: REJ-019, because: x }", "`REJ-018` is a case of its own"),
        ("REJ-020: { by: REJ-999, because: x }", "no case has the code `REJ-999`"),
    ] {
        assert!(cover(text).is_err_and(|found| found.contains(why)), "{text}");
    }
}
