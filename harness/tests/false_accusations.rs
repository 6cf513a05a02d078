//! What once accused a server that was right, each as a law of the judge.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatecrash::case::{Across, CaseText, Expect, Step};
use gatecrash::judge::{self, Heard, Run, Seen};
use gatecrash::observation::{Connection, End, Event, Mark, Observation, STILL_THERE, What};
use gatecrash::outcome::Outcome;
use gatecrash::profile::{Class, Profile, Signal};
use gatecrash::token::Token;
use gatecrash::verdict::{Check, Verdict};
use gatecrash::wire::answer::Head;
use gatecrash::wire::frame::{Frame, PING, PONG};
use gatecrash::{Suite, Target};
use serde_json::json;

const GOOD: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ";
/// Padding is no part of `token68` but at its end, and none of a subprotocol.
const UNFIT: &str = "eyJhbGciOiJIUzI1NiJ9=.eyJzdWIiOiJhIn0=.c2lnbmF0dXJlLXNpZ25hdHVyZQ";

fn case(level: &str) -> CaseText {
    let case = json!({
        "code": "TST-001", "name": "law", "title": "a law", "level": level, "severity": "high", "source": []
    });
    serde_json::from_value(case).expect("a case")
}

/// The verdict on a refusal by 400 of a token in this opening, where 401 is promised for malformed tokens and given to
/// all others.
fn verdict(question: Across, token: &str, sent: &str) -> Verdict {
    verdict_after(question, token, sent, Vec::new())
}

/// The same, of an opening on which these things happened.
fn verdict_after(question: Across, token: &str, sent: &str, events: Vec<Event>) -> Verdict {
    verdict_on(question, token, sent, events, &Outcome::RefusedHttp(400))
}

/// The same, of an opening that came to this.
fn verdict_on(question: Across, token: &str, sent: &str, events: Vec<Event>, outcome: &Outcome) -> Verdict {
    let case = case("should");
    let connection = |token: &str, sent: String| Connection {
        name: "main".to_owned(),
        sent: sent.into_bytes(),
        key: None,
        token: Some(Token::new(token.as_bytes().to_vec())),
        tls: None,
        events: Vec::new(),
    };
    let common = connection(GOOD, format!("GET / HTTP/1.1\r\nAuthorization: Bearer {GOOD}\r\n\r\n"));
    let mut special = connection(token, format!("GET {sent}\r\n\r\n"));
    special.events = events;
    let seen = |connection, outcome| Seen {
        code: "TST-002",
        class: Some(Class::Malformed),
        expect: Expect::Refused,
        elsewhere: false,
        outcome,
        connection,
    };
    let unauthorized = Outcome::RefusedHttp(401);
    let profile = Profile {
        signals: [(Class::Malformed, Signal { http: Some(401), ..Signal::default() })].into(),
        ..Profile::default()
    };
    let run = Run {
        seen: vec![
            seen(&common, &unauthorized),
            seen(&common, &unauthorized),
            seen(&common, &unauthorized),
            seen(&special, outcome),
        ],
        heard: [&common, &special].map(|connection| Heard { code: "TST-002", connection }).to_vec(),
        controls: &[],
        witness: None,
        keys: &gatecrash::token::Keyring::new(),
        host: "localhost",
        profile: &profile,
        refusal_budget: Duration::from_secs(1),
        echo_is_promised: true,
    };
    let checks: Vec<Check> = judge::across(&case, question, &run);
    Verdict::of(&checks)
}

#[test]
fn a_header_that_cannot_be_parsed_is_told_by_400_whatever_is_promised_for_tokens() {
    let sent = format!("/ HTTP/1.1\r\nSec-WebSocket-Protocol: chat, bearer.{UNFIT}");
    assert_eq!(verdict(Across::Signal(Class::Malformed), UNFIT, &sent), Verdict::Pass);
    assert_eq!(verdict(Across::AllSignals, UNFIT, &sent), Verdict::Pass);
    assert_eq!(verdict(Across::OneSignalPerClass, UNFIT, &sent), Verdict::Pass);
}

#[test]
fn a_token_that_any_header_can_hold_is_told_as_promised() {
    let sent = format!("/ HTTP/1.1\r\nSec-WebSocket-Protocol: chat, bearer.{GOOD}");
    assert_eq!(verdict(Across::Signal(Class::Malformed), GOOD, &sent), Verdict::Fail);
    assert_eq!(verdict(Across::OneSignalPerClass, GOOD, &sent), Verdict::Warn);
}

#[test]
fn a_url_can_hold_every_token() {
    let sent = format!("/?token={} HTTP/1.1", UNFIT.replace('=', "%3D"));
    assert_eq!(verdict(Across::Signal(Class::Malformed), UNFIT, &sent), Verdict::Fail);
}

#[test]
fn a_path_with_a_percent_sign_may_be_told_by_400() {
    let sent = format!("/ws/{} HTTP/1.1", UNFIT.replace('=', "%3D"));
    assert_eq!(verdict(Across::Signal(Class::Malformed), UNFIT, &sent), Verdict::Pass);
    assert_eq!(verdict(Across::Signal(Class::Malformed), GOOD, &format!("/ws/{GOOD} HTTP/1.1")), Verdict::Fail);
}

#[test]
fn a_message_behind_the_opening_may_be_told_by_400() {
    let sent = format!("/?token={GOOD} HTTP/1.1");
    let early = What::Sent { opcode: Some(1), payload: b"ping".to_vec() };
    let early = vec![Event { at: Duration::ZERO, what: early }];
    assert_eq!(verdict_after(Across::Signal(Class::Malformed), GOOD, &sent, early), Verdict::Pass);
    assert_eq!(verdict(Across::Signal(Class::Malformed), GOOD, &sent), Verdict::Fail);
}

#[test]
fn a_get_with_a_body_may_be_dropped() {
    let dropped = Outcome::Dropped { upgraded: false };
    let plain = format!("/?token={GOOD} HTTP/1.1");
    let body = format!("{plain}\r\nContent-Length: 5");
    assert_eq!(verdict_on(Across::Deliberate, GOOD, &body, Vec::new(), &dropped), Verdict::Pass);
    assert_eq!(verdict_on(Across::Deliberate, GOOD, &plain, Vec::new(), &dropped), Verdict::Warn);
}

/// Whether a case is played against a target that declares this.
fn applies(code: &str, declared: &str) -> bool {
    let text = format!("url: \"ws://127.0.0.1:1/ws\"\nsecret: a secret of more than thirty-two bytes\n{declared}");
    let target = Target::from_profile(Profile::from_yaml("law", &text).expect("a profile")).expect("a target");
    Suite::bundled().applies(&target, &[code].into()).expect("a catalogue")
}

#[test]
fn quotes_around_the_value_of_a_cookie_are_no_part_of_it() {
    assert!(!applies("ENC-023", "carriers: [{ cookie: session }]"));
    assert!(applies("ENC-023", "carriers: [{ authorization: Bearer }]"));
}

#[test]
fn an_empty_text_is_a_message_only_where_every_text_is_one() {
    assert!(!applies(
        "MSG-007",
        r#"echo: { send: '42["echo","{message}"]', reply: { text: '42["echo","{message}"]' } }"#
    ));
    assert!(applies("MSG-007", r#"echo: { send: "{message}", reply: { text: "Echo: {message}" } }"#));
}

/// The verdict on a run whose controls came to this.
fn verdict_on_controls(controls: &[Outcome]) -> Verdict {
    verdict_on_run(Across::Controls, controls, None)
}

fn verdict_on_run(question: Across, controls: &[Outcome], witness: Option<&Connection>) -> Verdict {
    let run = Run {
        seen: Vec::new(),
        heard: Vec::new(),
        controls,
        witness,
        keys: &gatecrash::token::Keyring::new(),
        host: "localhost",
        profile: &Profile::default(),
        refusal_budget: Duration::from_secs(1),
        echo_is_promised: true,
    };
    Verdict::of(&judge::across(&case("must"), question, &run))
}

#[test]
fn who_shuts_an_address_out_or_fails_for_a_moment_is_not_dead() {
    let admitted = || Outcome::Admitted(gatecrash::outcome::Proof::Message);
    let broken = || Outcome::ServerError("HTTP 502".to_owned());
    assert_eq!(verdict_on_controls(&[admitted(), admitted()]), Verdict::Pass);
    assert_eq!(verdict_on_controls(&[admitted(), Outcome::RefusedHttp(403)]), Verdict::Inconclusive);
    assert_eq!(verdict_on_controls(&[admitted(), broken(), admitted()]), Verdict::Inconclusive);
    assert_eq!(verdict_on_controls(&[admitted(), broken(), broken()]), Verdict::Fail);
    // Again and again is no moment.
    assert_eq!(verdict_on_controls(&[admitted(), broken(), admitted(), broken(), admitted()]), Verdict::Fail);
}

#[test]
fn what_the_witness_answered_before_its_end_is_no_sign_that_it_lives() {
    let pong = |payload: &[u8]| {
        What::Frame(Frame { fin: true, rsv: 0, opcode: PONG, masked: false, payload: payload.to_vec() })
    };
    let ends = |whats: Vec<What>| {
        let events = whats.into_iter().map(|what| Event { at: Duration::ZERO, what }).collect();
        let witness =
            Connection { name: "witness".to_owned(), sent: Vec::new(), key: None, token: None, tls: None, events };
        verdict_on_run(Across::Witness, &[], Some(&witness))
    };
    let asked = What::Sent { opcode: Some(PING), payload: STILL_THERE.to_vec() };
    assert_eq!(ends(vec![asked.clone(), pong(STILL_THERE)]), Verdict::Pass);
    assert_eq!(ends(vec![asked, pong(b"")]), Verdict::Pass);
    assert_eq!(ends(vec![pong(b"here"), What::End(End::Fin)]), Verdict::Fail);
}

/// The verdict on the answer of a login, to a case that asks this of it.
fn verdict_on_login(
    asked: serde_json::Value,
    algorithm: Option<&str>,
    status: u16,
    body: &serde_json::Value,
) -> Verdict {
    let mut http = json!({ "endpoint": "login" });
    http.as_object_mut().expect("members").extend(asked.as_object().expect("members").clone());
    let steps: Vec<Step> = serde_json::from_value(json!([{ "http": http }])).expect("steps");
    let profile = json!({
        "algorithm": algorithm,
        "identity_claims": ["user_id"],
        "http": { "login": { "method": "POST", "path": "/login", "token": "/token" } }
    });
    let head = Head { minor_version: 1, status, reason: String::new(), headers: Vec::new() };
    let body = What::Body { bytes: body.to_string().into_bytes(), complete: true };
    let events = [What::Head(head), body].map(|what| Event { at: Duration::ZERO, what });
    let connection = Connection {
        name: "http".to_owned(),
        sent: b"POST /login HTTP/1.1\r\n\r\n".to_vec(),
        key: None,
        token: None,
        tls: None,
        events: events.into(),
    };
    let marks = vec![Mark { step: 0, connection: 0, from: 0, to: 2, ..Mark::default() }];
    let observation = Observation { connections: vec![connection], marks, ..Observation::default() };
    let profile: Profile = serde_json::from_value(profile).expect("a profile");
    Verdict::of(&judge::session(&case("must"), &steps, &observation, &profile, &judge::Learned::default()))
}

#[test]
fn a_login_may_be_answered_in_its_own_way() {
    let encoded = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let [header, claims] = [json!({"alg": "RS256"}), json!({"user_id": 7, "iat": 1, "exp": 2})].map(encoded);
    let rs256 = json!({ "token": format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([7; 256])) });
    let judged = |asked, algorithm, status| verdict_on_login(asked, algorithm, status, &rs256);
    assert_eq!(judged(json!({"issued": "lifetime"}), None, 201), Verdict::Pass);
    assert_eq!(judged(json!({"issued": "lifetime"}), Some("HS256"), 201), Verdict::Fail);
    assert_eq!(judged(json!({"issued": "identity"}), None, 201), Verdict::Pass);
    assert_eq!(judged(json!({"issued": "nothing"}), None, 200), Verdict::Fail);
    // Who asks too often is told nothing, and a body without a token logs nobody in.
    assert_eq!(judged(json!({"answer": {"status": [401]}}), None, 429), Verdict::Inconclusive);
    let refused = json!({"detail": "no"});
    for status in [200, 302, 404, 423] {
        assert_eq!(verdict_on_login(json!({"issued": "nothing"}), None, status, &refused), Verdict::Pass, "{status}");
    }
    assert_eq!(verdict_on_login(json!({"issued": "nothing"}), None, 500, &refused), Verdict::Warn);
    assert_eq!(verdict_on_login(json!({"issued": "nothing"}), None, 429, &refused), Verdict::Inconclusive);
    let hidden = json!({"detail": rs256["token"].as_str().map(|token| format!("see {token}"))});
    assert_eq!(verdict_on_login(json!({"issued": "nothing"}), None, 200, &hidden), Verdict::Fail);
    // It is the second 0: clocks differ by minutes, and zones by more.
    let current = |claims: serde_json::Value| {
        let token = json!({ "token": format!("{header}.{}.c2ln", encoded(claims)) });
        verdict_on_login(json!({"issued": "current"}), None, 200, &token)
    };
    assert_eq!(current(json!({"iat": 120, "exp": 3600})), Verdict::Pass);
    assert_eq!(current(json!({"sub": "alice"})), Verdict::Pass);
    assert_eq!(current(json!({"iat": 7200, "exp": 9000})), Verdict::Fail);
    assert_eq!(current(json!({"iat": -18_000, "exp": -16_200})), Verdict::Fail);
    // A token that was issued before, and is handed out again: `expires_in` counts from now.
    let again =
        json!({ "token": format!("{header}.{}.c2ln", encoded(json!({"iat": -1200, "exp": 600}))), "expires_in": 600 });
    assert_eq!(verdict_on_login(json!({"issued": "lifetime"}), None, 200, &again), Verdict::Pass);
}

#[test]
fn two_refusals_are_compared_by_their_words() {
    let answer = |status: u16, name: &str, text: &str| {
        let headers = vec![("WWW-Authenticate".to_owned(), b"Bearer".to_vec())];
        let head = Head { minor_version: 1, status, reason: String::new(), headers };
        let body = What::Body { bytes: text.as_bytes().to_vec(), complete: true };
        let sent = format!("POST /login HTTP/1.1\r\n\r\n{{\"username\":\"{name}\",\"password\":\"wrong\"}}");
        let events = [What::Head(head), body].map(|what| Event { at: Duration::ZERO, what });
        Connection {
            name: "http".to_owned(),
            sent: sent.into_bytes(),
            key: None,
            token: None,
            tls: None,
            events: events.into(),
        }
    };
    let steps = json!([
        { "http": { "endpoint": "login", "answer": { "status": [401, 403] } } },
        { "http": { "endpoint": "login", "told_like_before": true } },
    ]);
    let steps: Vec<Step> = serde_json::from_value(steps).expect("steps");
    let compared = |known: Connection, unknown: Connection| {
        let mark = |step| Mark { step, connection: step, from: 0, to: 2, ..Mark::default() };
        let observation =
            Observation { connections: vec![known, unknown], marks: vec![mark(0), mark(1)], ..Observation::default() };
        Verdict::of(&judge::session(
            &case("must"),
            &steps,
            &observation,
            &Profile::default(),
            &judge::Learned::default(),
        ))
    };
    let wrong =
        answer(401, "alice", r#"{"detail":"bad password for alice","at":"12:00:01","trace":"00-4bf92f3577b34da6"}"#);
    let same =
        answer(401, "nobody", r#"{"detail":"bad password for nobody","at":"12:00:02","trace":"00-a3ce929d0e0e4736"}"#);
    assert_eq!(compared(wrong.clone(), same), Verdict::Pass);
    assert_eq!(compared(wrong.clone(), answer(401, "nobody", r#"{"detail":"we do not know nobody"}"#)), Verdict::Fail);
    assert_eq!(
        compared(wrong.clone(), answer(403, "nobody", r#"{"detail":"bad password for nobody"}"#)),
        Verdict::Fail
    );
    assert_eq!(compared(wrong, answer(429, "nobody", "")), Verdict::Inconclusive);
}
