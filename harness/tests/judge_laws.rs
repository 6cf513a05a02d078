//! What the judge promises for every observation, likely or not: it always answers, it needs evidence to pass, and
//! its answers agree with one another.

use std::time::Duration;

use gatecrash::case::{
    Across, Alive, Answer, Await, Awaited, CaseText, Close, Cut, Expect, Fetches, Hear, Hello, Http, OldTls, Open, Say,
    Send, Step,
};
use gatecrash::judge::{self, Heard, Learned, Run, Seen, Weight};
use gatecrash::observation::{Connection, End, Event, Fetch, Mark, Observation, Secured, Trouble, What};
use gatecrash::outcome::{self, Outcome};
use gatecrash::profile::{Class, Echo, Profile, Shape, Signal};
use gatecrash::token::{Keyring, Token};
use gatecrash::verdict::{Check, Grade, Level, Verdict};
use gatecrash::wire::answer::Head;
use gatecrash::wire::frame::{CLOSE, Frame, PING, PONG, TEXT};
use gatecrash::wire::tls;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

const EXPECTATIONS: [Expect; 7] = [
    Expect::Admitted,
    Expect::Refused,
    Expect::Either,
    Expect::Survives,
    Expect::NoServerError,
    Expect::RefusedInTime,
    Expect::NotUpgraded,
];

const QUESTIONS: [Across; 29] = [
    Across::Signal(Class::Expired),
    Across::Signal(Class::Missing),
    Across::Reasons,
    Across::AllSignals,
    Across::CloseReachesWire,
    Across::NoDataBeforeClose,
    Across::Prompt,
    Across::Deliberate,
    Across::NotSuccess,
    Across::Challenge,
    Across::LegalCloseCode,
    Across::MeaningfulCloseCode,
    Across::WellFormedClose,
    Across::OneSignalPerClass,
    Across::TokenNotReflected,
    Across::SecretAbsent,
    Across::NoInternals,
    Across::StatusHeaders,
    Across::Unmasked,
    Across::ValidMessages,
    Across::Controls,
    Across::Witness,
    Across::NoTokenInRedirect,
    Across::ChallengeFits,
    Across::BareChallenge,
    Across::StatusSemantics,
    Across::NoLibraryWords,
    Across::ExpectationsAbsent,
    Across::Banners,
];

/// The messages of these sessions: a word of the harness, and one that is none.
const WORDS: [&str; 4] = ["gc00000007-1", "gc00000007-2", "hello", "{\"a\":"];

fn head_of_a_case(level: &str) -> CaseText {
    let case = json!({
        "code": "TST-001", "name": "law", "title": "a law", "level": level, "severity": "high", "source": []
    });
    serde_json::from_value(case).expect("a case")
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec()),
        // A close code, legal or not, and a reason.
        3 => (any::<u16>(), "[a-z \u{1b}é]{0,8}").prop_map(|(code, reason)| [&code.to_be_bytes(), reason.as_bytes()].concat()),
        2 => (select(&[1000_u16, 1008, 1011, 1013, 4001][..])).prop_map(|code| code.to_be_bytes().to_vec()),
        2 => prop::collection::vec(any::<u8>(), 0..6),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    let opcode = prop_oneof![3 => Just(TEXT), 2 => Just(CLOSE), 2 => Just(PONG), 1 => 0..16_u8];
    (prop::bool::weighted(0.8), 0..8_u8, opcode, prop::bool::weighted(0.1), payload())
        .prop_map(|(fin, rsv, opcode, masked, payload)| Frame { fin, rsv, opcode, masked, payload })
}

fn answer_head() -> impl Strategy<Value = Head> {
    let status = prop_oneof![
        4 => Just(101_u16),
        4 => select(&[100_u16, 200, 301, 400, 401, 403, 404, 426, 429, 500, 503][..]),
        1 => any::<u16>(),
    ];
    let name = select(&["WWW-Authenticate", "Sec-WebSocket-Accept", "Content-Type"][..]);
    let headers = prop::collection::vec((name, prop::collection::vec(any::<u8>(), 0..6)), 0..3);
    (status, "[ -~é]{0,6}", headers).prop_map(|(status, reason, headers)| {
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Head { minor_version: 1, status, reason, headers }
    })
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        4 => frame().prop_map(What::Frame),
        2 => answer_head().prop_map(What::Head),
        2 => (prop::option::of(select(&[TEXT, TEXT, PING, PONG, CLOSE, 0][..])), payload()).prop_map(|(opcode, payload)| What::Sent { opcode, payload }),
        1 => (payload(), any::<bool>()).prop_map(|(bytes, complete)| What::Body { bytes, complete }),
        1 => "[ -~\u{1b}]{0,6}".prop_map(What::Garbage),
        1 => Just(What::End(End::Fin)),
        1 => Just(What::End(End::Reset("reset".to_owned()))),
        1 => Just(What::End(End::NoConnection("refused".to_owned()))),
        1 => Just(What::End(End::Shut("refused".to_owned()))),
        1 => Just(What::End(End::TooMuch)),
        1 => select(&[tls::Answer::Alert(70), tls::Answer::ServerHello(0x0301), tls::Answer::ServerHello(0x0303)][..]).prop_map(What::Tls),
        1 => (0..10_000_u64).prop_map(|waited| What::Silence(Duration::from_millis(waited))),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    // Often an upgrade comes first, else nearly nothing would be served.
    (prop::option::weighted(0.6, Just(101_u16)), prop::collection::vec((0..500_u64, what()), 0..12)).prop_map(
        |(upgrade, rest)| {
            let head = |status| Head { minor_version: 1, status, reason: String::new(), headers: Vec::new() };
            let first = upgrade.map(|status| (0, What::Head(head(status))));
            let mut at = 0;
            let timed = first.into_iter().chain(rest).map(|(after, what)| {
                at += after;
                Event { at: Duration::from_millis(at), what }
            });
            timed.collect()
        },
    )
}

fn connection() -> impl Strategy<Value = Connection> {
    (select(&["main", "other"][..]), events(), any::<bool>()).prop_map(|(name, events, sent)| Connection {
        name: name.to_owned(),
        sent: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        key: Some("dGhlIHNhbXBsZSBub25jZQ==".to_owned()),
        token: sent.then(|| Token::new(b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ".to_vec())),
        tls: sent.then(|| Secured { version: "TLSv1_3".to_owned(), certificate: Err("it has expired".to_owned()) }),
        events,
    })
}

fn mark() -> impl Strategy<Value = Mark> {
    let trouble = prop_oneof![
        20 => Just(None),
        1 => Just(Some(Trouble::NotApplicable("no key".to_owned()))),
        1 => Just(Some(Trouble::Fault("a fault".to_owned()))),
    ];
    let said = prop::collection::vec(select(&WORDS[..]).prop_map(str::to_owned), 0..3);
    (0..30_usize, 0..3_usize, 0..15_usize, 0..15_usize, said, trouble).prop_map(
        |(step, connection, from, to, said, trouble)| Mark {
            step,
            connection,
            from,
            to,
            said,
            trouble,
            ..Mark::default()
        },
    )
}

fn observation() -> impl Strategy<Value = Observation> {
    prop_oneof![any_observation(), talk()]
}

/// A session as it is played: the probe, some messages, and their echoes, of which one may be missing or come twice.
fn talk() -> impl Strategy<Value = Observation> {
    (0..3_usize, prop::option::of((any::<Index>(), any::<bool>()))).prop_map(|(count, slip)| {
        let head = Head { minor_version: 1, status: 101, reason: String::new(), headers: Vec::new() };
        let sent = |opcode, word: &str| What::Sent { opcode: Some(opcode), payload: word.as_bytes().to_vec() };
        let came = |opcode, word: &str| {
            What::Frame(Frame { fin: true, rsv: 0, opcode, masked: false, payload: word.as_bytes().to_vec() })
        };
        let mut what = vec![What::Head(head), sent(TEXT, WORDS[0]), sent(PING, WORDS[0])];
        what.extend([came(TEXT, WORDS[0]), came(PONG, WORDS[0])]);
        let (opened, said) = (what.len(), vec!["gc00000007-3".to_owned(), "gc00000007-4".to_owned()]);
        let said: Vec<String> = said.into_iter().take(count).collect();
        what.extend(said.iter().map(|word| sent(TEXT, word)));
        let spoken = what.len();
        what.extend(said.iter().map(|word| came(TEXT, word)));
        match slip {
            None => {}
            Some((place, true)) => drop(what.remove(place.index(what.len()))),
            Some((place, false)) => {
                let place = place.index(what.len());
                what.insert(place, what[place].clone());
            }
        }
        let heard = what.len();
        let events = what.into_iter().map(|what| Event { at: Duration::ZERO, what }).collect();
        let mark = |step, from, to, said| Mark { step, connection: 0, from, to, said, ..Mark::default() };
        // The steps of `steps`: admitted, refused, say, hear.
        let steps = steps();
        let place = |wanted: fn(&Step) -> bool| steps.iter().position(wanted).expect("a step of this kind");
        let marks = vec![
            mark(0, 0, opened, Vec::new()),
            mark(1, 0, opened, Vec::new()),
            mark(place(|step| matches!(step, Step::Say(_))), opened, spoken, said),
            mark(place(|step| matches!(step, Step::Hear(_))), spoken, heard, Vec::new()),
        ];
        let main = Connection { name: "main".to_owned(), sent: Vec::new(), key: None, token: None, tls: None, events };
        Observation { connections: vec![main], marks, ..Observation::default() }
    })
}

fn any_observation() -> impl Strategy<Value = Observation> {
    let fetch = Fetch { asked: "GET /".to_owned(), headers: Vec::new(), at: Duration::ZERO };
    let fetches = prop::option::of(prop::collection::vec(Just(fetch), 0..2));
    (prop::collection::vec(connection(), 0..3), prop::collection::vec(mark(), 0..6), fetches)
        .prop_map(|(connections, marks, fetches)| Observation { connections, marks, fetches, ..Observation::default() })
}

/// A step of every kind, with every expectation.
fn steps() -> Vec<Step> {
    let main = || "main".to_owned();
    let mut steps: Vec<Step> =
        EXPECTATIONS.into_iter().map(|expect| Step::Open(Box::new(Open { expect, ..Open::default() }))).collect();
    let asked = Answer {
        status: vec![401],
        has: vec!["WWW-Authenticate".to_owned()],
        lacks: vec!["Content-Type".to_owned()],
        header: [("Content-Type".to_owned(), "json".to_owned())].into(),
        json: [("/a".to_owned(), Value::Null)].into(),
        silent_about: vec!["hello".to_owned()],
        ..Answer::default()
    };
    steps.push(Step::Open(Box::new(Open { expect: Expect::Refused, answer: Some(asked.clone()), ..Open::default() })));
    steps.push(Step::Http(Box::new(Http { endpoint: "health".to_owned(), answer: asked, ..Http::default() })));
    steps.push(Step::Http(Box::new(Http { endpoint: "none".to_owned(), ..Http::default() })));
    for awaited in [
        Awaited::Welcome,
        Awaited::Pong("hello".to_owned()),
        Awaited::Failed,
        Awaited::Closed,
        Awaited::ClosedCleanly,
        Awaited::LegalCloseCode,
        Awaited::NoAbruptEnd,
        Awaited::Nothing,
        Awaited::Heeded,
        Awaited::Unheeded,
        Awaited::HungUp,
        Awaited::Released,
        Awaited::WellFormedClose,
        Awaited::NotServed,
        Awaited::Ended,
    ] {
        steps.push(Step::Await(Await { on: main(), what: awaited, level: None }));
    }
    for from in [None, Some("other".to_owned()), Some("nobody".to_owned())] {
        let hear: Hear = serde_json::from_value(json!({ "from": from })).expect("a step");
        steps.push(Step::Hear(hear));
    }
    steps.push(Step::Alive(Alive { on: main(), level: None }));
    let say: Say = serde_json::from_value(json!({ "texts": ["hello"] })).expect("a step");
    steps.push(Step::Say(say));
    steps.push(Step::Send(Send::text("hello")));
    steps.push(Step::Close(Close { on: main(), code: Some(1000), reason: String::new() }));
    steps.push(Step::Cut(Cut { on: main() }));
    steps.push(Step::Open(Box::new(Open { certificate: true, ..Open::default() })));
    steps.push(Step::Hello(Hello { version: OldTls::Tls10 }));
    steps.push(Step::Fetches(Fetches { none: Level::Must }));
    let crowd =
        json!({ "of": [{ "as": "good" }, { "as": "bad", "expect": "refused" }], "times": 2, "in_budget": true });
    steps.push(Step::Crowd(serde_json::from_value(crowd).expect("a step")));
    steps
}

fn echo(reply: Shape, broadcast: bool) -> Echo {
    Echo { send: "{message}".to_owned(), reply, broadcast }
}

/// Targets that promise much, little and nothing.
fn targets() -> impl Strategy<Value = (Profile, Learned)> {
    let echo = prop_oneof![
        Just(None),
        any::<bool>().prop_map(|broadcast| Some(echo(Shape::Text("{message}".to_owned()), broadcast))),
        Just(Some(echo(Shape::Text("ack".to_owned()), false))),
        Just(Some(echo(Shape::Json([("/text".to_owned(), json!("{message}"))].into()), false))),
    ];
    (echo, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(echo, welcome, speaks, promised)| {
        let signal = |close, http| Signal { close, http, reason: Some("reason {role}".to_owned()) };
        let profile = Profile {
            echo: echo.clone(),
            welcome: welcome.then(|| Shape::Text("hello".to_owned())),
            signals: [(Class::Expired, signal(Some(4001), None)), (Class::Missing, signal(None, Some(401)))].into(),
            identity_claims: vec!["sub".to_owned()],
            ..Profile::default()
        };
        let learned =
            Learned { echo, echo_is_promised: promised, speaks, control: Duration::from_millis(3), drops: None };
        (profile, learned)
    })
}

fn session(observation: &Observation, profile: &Profile, learned: &Learned) -> Vec<Check> {
    judge::session(&head_of_a_case("must"), &steps(), observation, profile, learned)
}

fn grade(expect: Expect, outcome: &Outcome) -> Grade {
    judge::expected(Weight::of(&head_of_a_case("must")), expect, outcome).grade
}

/// Puts a ping of the server, and the pong that a client owes it, before the event at `place`.
fn ping_at(observation: &Observation, connection: usize, place: usize) -> Observation {
    let mut pinged = observation.clone();
    let Some(log) = pinged.connections.get_mut(connection) else { return pinged };
    let place = place.min(log.events.len());
    let at = log.events.get(place).or(log.events.last()).map_or(Duration::ZERO, |event| event.at);
    let ping = Frame { fin: true, rsv: 0, opcode: PING, masked: false, payload: b"are you there".to_vec() };
    let pong = What::Sent { opcode: Some(PONG), payload: ping.payload.clone() };
    let both = [What::Frame(ping), pong].map(|what| Event { at, what });
    log.events.splice(place..place, both);
    for mark in pinged.marks.iter_mut().filter(|mark| mark.connection == connection) {
        // What began later begins two events later; what ended before ends where it did.
        mark.from += if place < mark.from { 2 } else { 0 };
        mark.to += if place < mark.to { 2 } else { 0 };
    }
    pinged
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_judge_answers_whatever_was_observed(observation in observation(), (profile, learned) in targets(), level in select(&["must", "should", "may", "info"][..])) {
        let checks = judge::session(&head_of_a_case(level), &steps(), &observation, &profile, &learned);
        let _ = Verdict::of(&checks);
        for check in checks {
            prop_assert!(!check.expected.is_empty(), "{check:?}");
        }
    }

    #[test]
    fn nothing_passes_without_an_event(marks in prop::collection::vec(mark(), 0..6), (profile, learned) in targets()) {
        let silent = Connection { name: "main".to_owned(), sent: Vec::new(), key: None, token: None, tls: None, events: Vec::new() };
        // What was meant to be said is no evidence that it was heard.
        let observation = Observation { connections: vec![silent.clone(), silent], marks, ..Observation::default() };
        for check in session(&observation, &profile, &learned) {
            prop_assert_ne!(check.grade, Grade::Pass, "{:?}", check);
        }
        prop_assert_ne!(Verdict::of(&session(&Observation::default(), &profile, &learned)), Verdict::Pass);
    }

    #[test]
    fn nobody_is_both_admitted_and_refused(events in events(), speaks in any::<bool>()) {
        let outcome = outcome::of(&events, speaks);
        let passes = |expect| grade(expect, &outcome) == Grade::Pass;
        prop_assert!(!(passes(Expect::Admitted) && passes(Expect::Refused)), "{outcome}");
        prop_assert!(!(passes(Expect::Admitted) && passes(Expect::NotUpgraded)), "{outcome}");
        prop_assert!(!(outcome.is_served() && outcome.is_refused()), "{outcome}");
        // Whatever came is one of three: served, refused, or no answer to the question.
        let kinds = [outcome.is_served(), outcome.is_refused(), outcome.is_undecided()];
        prop_assert_eq!(kinds.into_iter().filter(|kind| *kind).count(), 1, "{}", outcome);
    }

    #[test]
    fn allowing_more_never_fails_what_passed(events in events(), speaks in any::<bool>()) {
        let outcome = outcome::of(&events, speaks);
        for strict in [Expect::Admitted, Expect::Refused] {
            if grade(strict, &outcome) == Grade::Pass {
                prop_assert!(grade(Expect::Either, &outcome) < Grade::Warn, "{outcome}");
            }
        }
        if grade(Expect::Admitted, &outcome) == Grade::Pass {
            prop_assert_eq!(grade(Expect::Survives, &outcome), Grade::Pass, "{}", outcome);
        }
        // To survive asks for more than to refuse: a refusal by a crash keeps the client out and is no survival.
        let crash = matches!(
            outcome,
            Outcome::ServerError(_)
                | Outcome::Dropped { .. }
                | Outcome::Hang
                | Outcome::Mute
                | Outcome::NotHttp(_)
                | Outcome::NotWebSocket(_)
        );
        if grade(Expect::Refused, &outcome) == Grade::Pass && !crash {
            prop_assert_eq!(grade(Expect::Survives, &outcome), Grade::Pass, "{}", outcome);
        }
    }

    #[test]
    fn pings_of_the_server_change_nothing(observation in observation(), (profile, learned) in targets(), connection in 0..2_usize, place in any::<Index>()) {
        let length = observation.connections.get(connection).map_or(0, |connection| connection.events.len());
        let pinged = ping_at(&observation, connection, place.index(length + 1));
        let grades = |observation: &Observation| -> Vec<(Grade, String)> {
            session(observation, &profile, &learned).into_iter().map(|check| (check.grade, check.expected)).collect()
        };
        prop_assert_eq!(grades(&observation), grades(&pinged));
        for (before, after) in observation.connections.iter().zip(&pinged.connections) {
            prop_assert_eq!(outcome::of(&before.events, learned.speaks), outcome::of(&after.events, learned.speaks));
        }
    }

    #[test]
    fn a_question_to_the_whole_run_is_answered_whatever_it_saw(
        connections in prop::collection::vec((connection(), select(&EXPECTATIONS[..]), prop::option::of(select(&Class::ALL[..]))), 0..6),
        (profile, learned) in targets(),
    ) {
        let outcomes: Vec<Outcome> =
            connections.iter().map(|(connection, _, _)| outcome::of(&connection.events, learned.speaks)).collect();
        let seen = connections
            .iter()
            .zip(&outcomes)
            .map(|((connection, expect, class), outcome)| Seen { code: "TST-001", class: *class, expect: *expect, elsewhere: false, outcome, connection })
            .collect();
        let keys = Keyring::new().with_secret("a secret of some length");
        let witness = connections.first().map(|(connection, _, _)| connection);
        let heard = connections.iter().map(|(connection, _, _)| Heard { code: "TST-001", connection }).collect();
        let run = Run { seen, heard, controls: &outcomes, witness, keys: &keys, host: "localhost", profile: &profile, refusal_budget: Duration::from_secs(1), echo_is_promised: true };
        for question in QUESTIONS {
            for check in judge::across(&head_of_a_case("must"), question, &run) {
                prop_assert!(!check.expected.is_empty(), "{question:?}: {check:?}");
            }
        }
    }
}

#[test]
fn a_run_that_saw_nothing_answers_no_question_by_a_pass() {
    let profile = Profile {
        signals: [(Class::Expired, Signal { close: Some(4001), reason: Some("over".to_owned()), http: None })].into(),
        ..Profile::default()
    };
    let run = Run {
        seen: Vec::new(),
        heard: Vec::new(),
        controls: &[],
        witness: None,
        keys: &Keyring::new(),
        host: "localhost",
        profile: &profile,
        refusal_budget: Duration::from_secs(1),
        echo_is_promised: true,
    };
    for question in QUESTIONS {
        let checks = judge::across(&head_of_a_case("must"), question, &run);
        assert_ne!(Verdict::of(&checks), Verdict::Pass, "{question:?}: {checks:?}");
    }
}
