//! The runner against targets that break every rule: each run ends, and says what it saw.
//!
//! No wall clock is asserted. A run that does not end is killed by a watchdog, and what must be bounded is counted.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod hostile_support;

use std::time::Duration;

use gatecrash::diagnosis::Cause;
use gatecrash::profile::{Echo, Profile, Shape};
use gatecrash::report::{Exit, Failure, Report, Standard, json};
use gatecrash::{Catalogue, Suite, Target, Verdict};
use insta::assert_snapshot;

use hostile_support::{
    HOSTILE, SECRET, StandIn, answer, free_address, hostile_to_all, hostile_to_the_unsigned, is_unsigned, run_watched,
    serve,
};

/// No run of these tests may take longer.
const WATCHDOG: Duration = Duration::from_secs(60);

/// A case of its own for everything the runner does.
const CASES: &str = r#"
family: TST
title: what the runner does
cases:
  - { code: TST-001, name: valid, title: a valid token is admitted, level: must, severity: critical, source: [x], expect: admitted }
  - code: TST-002
    name: unsigned
    title: an unsigned token is refused
    level: must
    severity: critical
    source: [x]
    class: bad_signature
    token: { forge: [ { header: { alg: none } }, empty_signature ] }
    expect: refused
  - code: TST-003
    name: talk
    title: what is said is answered
    level: must
    severity: medium
    source: [x]
    needs: [echo]
    steps: [ { open: {} }, { say: { count: 10 } }, { hear: {} }, { alive: {} }, { close: { code: 1000 } }, { await: { what: closed } } ]
  - { code: TST-004, name: prompt, title: refusals are prompt, level: should, severity: low, source: [x], across: prompt }
  - { code: TST-005, name: quiet, title: the secret does not come back, level: must, severity: high, source: [x], across: secret_absent }
"#;

/// Cases that every run admits, to be there when something happens half-way.
fn many(count: usize) -> String {
    let mut text = "family: TST\ntitle: many\ncases:\n".to_owned();
    for number in 1..=count {
        text.push_str(&format!(
            "  - {{ code: TST-{number:03}, name: valid-{number}, title: a valid token is admitted, level: must, severity: high, source: [x], expect: admitted }}\n"
        ));
    }
    text
}

fn suite(cases: &str) -> Suite {
    let mut catalogue = Catalogue::default();
    catalogue.add("own.yaml", cases).unwrap_or_else(|found| panic!("{found}"));
    Suite::new(Ok(catalogue)).seed(7).timeout_scale(0.1).jobs(4)
}

fn run(suite: &Suite, server: &StandIn) -> Report {
    run_against(suite, Target::new(&server.url(), SECRET).unwrap())
}

fn run_against(suite: &Suite, target: Target) -> Report {
    let report = run_watched(suite.clone(), target, WATCHDOG);
    let words = format!("{report}{}", json::write(std::slice::from_ref(&report)));
    assert!(!words.contains("recognisable"), "{words}");
    assert!(!words.chars().any(|character| character.is_control() && character != '\n'), "{words}");
    for trial in &report.trials {
        assert!(trial.observed.len() < 2_000, "{} shows {} bytes", trial.id, trial.observed.len());
    }
    report
}

fn verdict(report: &Report, code: &str) -> (Verdict, String) {
    let trial = report.trials.iter().find(|trial| trial.code == code).unwrap_or_else(|| panic!("{report}"));
    (trial.verdict, trial.observed.clone())
}

/// How much of a flood was looked at depends on how it was cut into segments.
fn uncounted(lines: &str) -> String {
    let counts = |line: &str| match line.split_once("a flood: ") {
        Some((before, after)) => {
            let after: Vec<&str> =
                after.split(' ').map(|word| if word.parse::<u32>().is_ok() { "[N]" } else { word }).collect();
            format!("{before}a flood: {}", after.join(" "))
        }
        None => line.to_owned(),
    };
    lines.lines().map(counts).collect::<Vec<_>>().join("\n")
}

fn exit(report: &Report) -> Exit {
    report.exit(Standard::default())
}

#[test]
fn a_server_that_is_hostile_to_everyone_fails_the_first_control() {
    let mut lines = String::new();
    // Whoever streams application data to everyone serves everyone, where that was said to be the service.
    let serves = |name: &str| name.starts_with("streams text") || name.starts_with("streams one message");
    for (name, _) in HOSTILE {
        let server = hostile_to_all(name);
        let report = run(&suite(CASES), &server);
        if serves(name) {
            let mut promised = Target::new(&server.url(), SECRET).unwrap();
            promised.profile.welcome = Some(Shape::Text("{message}".to_owned()));
            let report = run_against(&suite(CASES), promised);
            assert_eq!(exit(&report), Exit::Failed, "{name}: {report}");
        }
        assert_eq!(exit(&report), Exit::NoControl, "{name}: {report}");
        assert!(report.trials.iter().all(|trial| trial.verdict != Verdict::Pass), "{name}: {report}");
        let Some(Failure::FirstControl(found)) = &report.failure else { panic!("{name}: {report}") };
        let what: String = found.observed.chars().take(90).collect();
        lines.push_str(&format!("{name}: {what} [{}]\n", found.cause.word()));
    }
    assert_snapshot!(uncounted(&lines), @r###"
    answers 500: refused by a server error (HTTP 500) [server-error]
    answers 401: refused (HTTP 401) [unknown]
    answers 429: throttled (HTTP 429) [rate-limit]
    hangs after accept: no answer within the deadline [dead]
    resets: connection ended without an HTTP answer [unknown]
    sends an SSH banner: an answer that cannot be read (invalid HTTP version: "SSH-2.0-OpenSSH_9.6\r\n") [not-http]
    sends garbage: an answer that cannot be read (invalid HTTP version: "\u{1b}[31m\0���2J\u{7}garbage\r\n\r\ [not-http]
    sends nothing but 100 Continue: an answer that cannot be read (a flood: [N] events and [N] bytes) [not-http]
    sends an endless header: an answer that cannot be read (a head of more than 1048576 bytes) [not-http]
    sends endless headers: an answer that cannot be read (too many headers: "HTTP/1.1 200 OK\r\nX-Endless: a\r\nX-End [not-http]
    sends an endless body: refused (HTTP 403) [unknown]
    sends a reason phrase of a megabyte: refused (HTTP 403) [unknown]
    drips: no answer within the deadline [dead]
    upgrades and falls silent: 101, then silence: no message, no close, no pong [unknown]
    upgrades and resets: 101, then the connection ended without a close frame [unknown]
    closes 1013: throttled (close 1013) [rate-limit]
    announces a huge frame: 101, then what is no session (a frame that announces 4611686018427387904 bytes) [not-http]
    upgrades and sends an SSH banner: 101, then what is no session (part of a frame: "SSH-2.0-OpenSSH_9.6\r\n") [not-http]
    streams text without end: the same to a client without a token: a message after the 101 [greets-anybody]
    streams pings without end: 101, then what is no session (a flood: [N] events and [N] bytes) [not-http]
    streams one message without end: the same to a client without a token: a message after the 101 [greets-anybody]
    closes with a reason of a megabyte: refused (101, then close 4001 "\u{1b}[2J\u{1b}[2J\u{1b}[2J\u{1b}[2J\u{1b}[2J\u{1b}[2J\u{1b [unknown]
    "###);
}

#[test]
fn a_refusal_in_any_of_these_ways_gets_the_verdict_it_has_earned() {
    let mut lines = String::new();
    for (name, _) in HOSTILE {
        let served = |report: &Report| {
            report.failure.is_none()
                && ["TST-001", "TST-003"].iter().all(|code| verdict(report, code).0 == Verdict::Pass)
        };
        let mut report = run(&suite(CASES), &hostile_to_the_unsigned(name));
        if !served(&report) {
            // On a busy machine a right answer can come too late for the haste of these tests; at leisure it counts.
            report = run(&suite(CASES).timeout_scale(1.0), &hostile_to_the_unsigned(name));
        }
        assert_eq!(report.failure, None, "{name}: {report}");
        assert_eq!(verdict(&report, "TST-001").0, Verdict::Pass, "{name}: {report}");
        assert_eq!(verdict(&report, "TST-003").0, Verdict::Pass, "{name}: {report}");
        let (verdict, observed) = verdict(&report, "TST-002");
        let observed: String = observed.chars().take(70).collect();
        lines.push_str(&format!("{name}: {} ({observed})\n", verdict.word()));
    }
    assert_snapshot!(uncounted(&lines), @r###"
    answers 500: pass (refused by a server error (HTTP 500))
    answers 401: pass (refused (HTTP 401))
    answers 429: inconclusive (throttled (HTTP 429))
    hangs after accept: pass (no answer within the deadline)
    resets: pass (connection ended without an HTTP answer)
    sends an SSH banner: pass (an answer that cannot be read (invalid HTTP version: "SSH-2.0-OpenSSH_)
    sends garbage: pass (an answer that cannot be read (invalid HTTP version: "\u{1b}[31m\0���2)
    sends nothing but 100 Continue: pass (an answer that cannot be read (a flood: [N] events and [N] bytes))
    sends an endless header: pass (an answer that cannot be read (a head of more than 1048576 bytes))
    sends endless headers: pass (an answer that cannot be read (too many headers: "HTTP/1.1 200 OK\r\nX)
    sends an endless body: pass (refused (HTTP 403))
    sends a reason phrase of a megabyte: pass (refused (HTTP 403))
    drips: pass (no answer within the deadline)
    upgrades and falls silent: pass (101, then silence: no message, no close, no pong)
    upgrades and resets: pass (101, then the connection ended without a close frame)
    closes 1013: inconclusive (throttled (close 1013))
    announces a huge frame: inconclusive (101, then what is no session (a frame that announces 46116860184273879)
    upgrades and sends an SSH banner: inconclusive (101, then what is no session (part of a frame: "SSH-2.0-OpenSSH_9.6\r\)
    streams text without end: fail (admitted (101, then a message))
    streams pings without end: inconclusive (101, then what is no session (a flood: [N] events and [N] bytes))
    streams one message without end: fail (admitted (101, then a message))
    closes with a reason of a megabyte: pass (refused (101, then close 4001 "\u{1b}[2J\u{1b}[2J\u{1b}[2J\u{1b}[2J\u{)
    "###);
}

#[test]
fn a_server_that_admits_everyone_fails() {
    let report = run(&suite(CASES), &StandIn::new(|stream, _, head| serve(stream, head)));
    assert_eq!(exit(&report), Exit::Failed, "{report}");
    assert_eq!(verdict(&report, "TST-001").0, Verdict::Pass);
    assert_eq!(verdict(&report, "TST-002").0, Verdict::Fail);
}

#[test]
fn nothing_is_believed_when_the_server_dies_half_way() {
    let server = StandIn::until(40, |stream, _, head| serve(stream, head));
    let report = run(&suite(&many(90)), &server);
    let Some(Failure::ControlLost(found)) = &report.failure else { panic!("{report}") };
    let what = &found.observed;
    assert_eq!(found.cause, Cause::Dead, "{report}");
    assert!(what.starts_with("no connection (") && what.contains("TST-02"), "{what}");
    assert_eq!(exit(&report), Exit::Inconclusive, "{report}");
    let summary = report.summary();
    assert!(summary.pass >= 25 && summary.inconclusive >= 40, "{report}");
    assert_eq!(summary.pass + summary.inconclusive, 90, "{report}");
    assert!(report.to_string().contains("the valid token is no longer admitted"), "{report}");
}

/// A server that is ended, with all its sessions, by the first requests of a certain query; and back after that time, if at
/// all.
struct Mortal {
    address: std::net::SocketAddr,
    deaths: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl Mortal {
    fn new(back: Option<Duration>) -> Self {
        Self::with_lives(back, usize::MAX)
    }

    fn with_lives(back: Option<Duration>, lives: usize) -> Self {
        use std::net::{Shutdown, TcpListener, TcpStream};
        use std::sync::{Arc, atomic::AtomicUsize, atomic::Ordering};

        let mut listener = Some(TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.as_ref().unwrap().local_addr().unwrap();
        let deaths = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&deaths);
        std::thread::spawn(move || {
            while let Some(listening) = listener.take() {
                let mut sessions: Vec<TcpStream> = Vec::new();
                let died = counted.load(Ordering::SeqCst);
                for stream in listening.incoming() {
                    let stream = stream.unwrap();
                    if counted.load(Ordering::SeqCst) > died {
                        break;
                    }
                    sessions.push(stream.try_clone().unwrap());
                    let counted = Arc::clone(&counted);
                    std::thread::spawn(move || {
                        let head = hostile_support::peek_head(&stream);
                        if !head.contains("end=1") || counted.load(Ordering::SeqCst) + 1 >= lives {
                            return serve(stream, &head);
                        }
                        counted.fetch_add(1, Ordering::SeqCst);
                        // Wakes the listener, which looks at what has happened.
                        let _ = TcpStream::connect(address);
                    });
                }
                // Nobody must be able to come in once somebody knows.
                drop(listening);
                for session in sessions {
                    let _ = session.shutdown(Shutdown::Both);
                }
                if let Some(pause) = back {
                    std::thread::sleep(pause);
                    listener = Some(TcpListener::bind(address).unwrap());
                }
            }
        });
        Self { address, deaths }
    }

    fn run(&self, cases: &str) -> Report {
        let url = format!("ws://{}/ws?token={{token}}", self.address);
        run_against(&suite(cases), Target::new(&url, SECRET).unwrap())
    }
}

/// The case at which a [`Mortal`] ends.
const ENDS: &str = "  - { code: TST-900, name: ends, title: a query changes nothing, level: should, severity: low, source: [x], \
                    request: { query: end=1 }, expect: admitted }\n";

#[test]
fn a_server_that_has_ended_once_proves_nothing() {
    // It was stopped by somebody, and is there again.
    let server = Mortal::with_lives(Some(Duration::from_millis(20)), 2);
    let report = server.run(&(many(8) + ENDS));
    assert_eq!((&report.failure, report.summary().pass), (&None, 9), "{report}");
    assert_eq!(server.deaths.load(std::sync::atomic::Ordering::SeqCst), 1);

    // It does not come back.
    let report = Mortal::new(None).run(&format!("family: TST\ntitle: one\ncases:\n{ENDS}"));
    assert_eq!(verdict(&report, "TST-900").0, Verdict::Inconclusive, "{report}");
    let Some(Failure::ControlLost(found)) = &report.failure else { panic!("{report}") };
    assert!(found.observed.ends_with("and broken off by the server: TST-900@query"), "{}", found.observed);
    assert_eq!(exit(&report), Exit::Inconclusive, "{report}");
}

#[test]
fn of_many_that_may_have_ended_the_server_none_is_accused_and_the_likely_one_is_named() {
    let report = Mortal::new(None).run(&(many(8) + ENDS));
    assert_eq!(report.summary().fail, 0, "{report}");
    assert_eq!(verdict(&report, "TST-900").0, Verdict::Inconclusive, "{report}");
    let Some(Failure::ControlLost(found)) = &report.failure else { panic!("{report}") };
    let broken = found.observed.split("the server broke off ").nth(1).and_then(|rest| rest.split(';').next());
    // Whoever was in the midst of it was broken off as well; who was through, and said good-bye, was not.
    assert!(broken.is_some_and(|broken| broken.contains("TST-900@query")), "{}", found.observed);
    assert!(broken.is_some_and(|broken| broken.split(", ").count() <= 4), "{}", found.observed);
}

#[test]
fn of_a_server_that_is_not_ours_the_case_that_ends_it_is_named_and_not_accused() {
    let server = Mortal::new(Some(Duration::from_millis(20)));
    let mut report = server.run(&(many(40) + ENDS));
    assert_eq!(report.failure, None, "{report}");
    // Who knows what stands before it, and listens in its place?
    let (verdict, seen) = verdict(&report, "TST-900");
    assert_eq!(verdict, Verdict::Inconclusive, "{report}");
    assert!(seen.contains("the control after it was not admitted at once (") && seen.ends_with(", twice"), "{seen}");
    // Whoever was there when it happened is played again, and accused of nothing.
    report.trials.retain(|trial| trial.code != "TST-900");
    assert_eq!(report.summary().pass, 40, "{report}");
    assert_eq!(server.deaths.load(std::sync::atomic::Ordering::SeqCst), 3);
}

/// Not a test: the server of the next, which ends with the process.
#[test]
#[ignore = "a server that another test starts"]
fn a_server_of_its_own() {
    let Ok(address) = std::env::var("MORTAL") else { return };
    eprintln!("listening");
    for stream in std::net::TcpListener::bind(address).unwrap().incoming() {
        let stream = stream.unwrap();
        std::thread::spawn(move || {
            let head = hostile_support::peek_head(&stream);
            if head.contains("end=1") {
                eprintln!("this is the end");
                std::process::exit(9);
            }
            serve(stream, &head);
        });
    }
}

#[test]
fn a_server_that_we_have_started_is_started_again_when_a_case_has_ended_it() {
    let address = free_address();
    let folder = std::env::temp_dir().join(format!("gatecrash-revival-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("cases.yaml"), (many(8) + ENDS).replace("[x]", "[W01]")).unwrap();
    let myself = std::env::current_exe().unwrap();
    let start =
        format!("MORTAL={address} exec '{}' --exact a_server_of_its_own --ignored --nocapture", myself.display());
    let run = |name: &str| {
        let ended = std::process::Command::new(env!("CARGO_BIN_EXE_gatecrash"))
            .args(["run", "cases.yaml", &format!("ws://{address}/ws?token={{token}}"), "--secret-env", "JWT"])
            .args(["--case", "TST", "--start", &start, "--start-log", "server.log", "--report", name])
            .env("JWT", SECRET)
            .current_dir(&folder)
            .output()
            .unwrap();
        (ended.status.code(), String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned())
    };
    let (code, said) = run("json=r.json");
    assert_eq!(code, Some(1), "{said}");
    let told =
        "the command of --start ended and was started again, 3 times, at last with: exit code 9; its last words:\n";
    assert!(said.contains(told) && said.contains("\n  this is the end\n"), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("r.json")).unwrap()).unwrap();
    let cases = report["runs"][0]["cases"].as_array().unwrap();
    for case in cases {
        let expected = if case["code"] == "TST-900" { "fail" } else { "pass" };
        assert_eq!(case["verdict"], expected, "{said}");
    }
    assert_eq!(cases.len(), 9, "{said}");
    let log = std::fs::read_to_string(folder.join("server.log")).unwrap();
    assert_eq!(log.matches("listening").count(), 4, "{log}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_server_that_is_back_before_anybody_looks_is_noticed_by_the_witness() {
    const WITNESS: &str = "  - { code: TST-901, name: same, title: it is the same server, level: should, severity: low, \
                           source: [x], across: witness }\n";
    let server = Mortal::new(Some(Duration::ZERO));
    let cases =
        format!("family: TST\ntitle: some\ncases:\n{ENDS}{}{WITNESS}", many(40).split_once("cases:\n").unwrap().1);
    let mut report = server.run(&cases);
    assert_eq!(report.failure, None, "{report}");
    // Whether somebody sees that it is away depends on who is faster.
    assert_ne!(verdict(&report, "TST-900").0, Verdict::Pass, "{report}");
    report.trials.retain(|trial| trial.code.as_str() < "TST-900");
    assert_eq!(report.summary().pass, 40, "{report}");
}

#[test]
fn nothing_is_believed_when_a_control_fails_half_way() {
    for (name, refuse, cause) in [
        // Nothing forged was sent, so that it is no lock-out for sure.
        ("locks us out", "401 Unauthorized", Cause::Unknown),
        ("has enough of us", "429 Too Many Requests", Cause::RateLimit),
    ] {
        let server = StandIn::new(
            move |stream, number, head| {
                if number < 40 { serve(stream, head) } else { answer(stream, refuse) }
            },
        );
        let report = run(&suite(&many(300)), &server);
        let Some(Failure::ControlLost(found)) = &report.failure else { panic!("{name}: {report}") };
        assert_eq!(found.cause, cause, "{name}: {report}");
        assert_eq!(exit(&report), Exit::Inconclusive, "{name}: {report}");
        let summary = report.summary();
        assert_eq!((summary.fail, summary.pass + summary.inconclusive), (0, 300), "{name}: {report}");
        // The batch, what was in flight, and the controls; not the rest of the run.
        assert!(server.connections() < 80, "{name}: {} connections", server.connections());
    }
}

#[test]
fn what_was_proved_before_a_control_failed_still_fails_the_run() {
    let cases = many(60).replacen("expect: admitted", "expect: refused", 1);
    let report = run(&suite(&cases).jobs(1), &StandIn::until(40, |stream, _, head| serve(stream, head)));
    assert!(matches!(report.failure, Some(Failure::ControlLost(_))), "{report}");
    assert_eq!(verdict(&report, "TST-001").0, Verdict::Fail, "{report}");
    assert_eq!(exit(&report), Exit::Failed, "{report}");
}

#[test]
fn a_control_that_fails_and_recovers_is_no_loss() {
    // Before it came a control, a look for an echo and 25 cases: these are the control after them and a repetition.
    let server = StandIn::new(|stream, number, head| {
        if (27..29).contains(&number) { answer(stream, "503 Service Unavailable") } else { serve(stream, head) }
    });
    let report = run(&suite(&many(60)).jobs(1), &server);
    assert_eq!((&report.failure, report.summary().pass), (&None, 60), "{report}");
    // The cases before it were played once more: while it failed nothing proved anything.
    assert_eq!(server.connections(), 2 + 60 + 25 + 6, "{report}");
}

#[test]
fn an_interrupt_ends_a_run_whatever_it_waits_for() {
    let hang = |from: usize| {
        StandIn::new(
            move |stream, number, head| {
                if number >= from { hostile_support::swallow(stream) } else { serve(stream, head) }
            },
        )
    };
    // The first control, a case, a control between cases.
    for (from, cases) in [(0, many(3)), (5, many(60)), (29, many(60))] {
        let server = hang(from);
        let suite = suite(&cases).timeout_scale(100.0);
        let interrupt = suite.interrupt();
        let waiting = server.clone();
        std::thread::spawn(move || {
            waiting.wait_for(from + 1);
            interrupt.request();
        });
        // With a declared echo nothing is waited for but what hangs.
        let echo = Echo { send: "{message}".to_owned(), reply: Shape::Text("{message}".to_owned()), broadcast: false };
        let profile = Profile {
            url: Some(server.url()),
            secret: Some(SECRET.to_owned()),
            echo: Some(echo),
            ..Profile::default()
        };
        let report = run_against(&suite, Target::from_profile(profile).unwrap());
        assert_eq!(report.failure, Some(Failure::Interrupted), "{report}");
        assert_eq!(exit(&report), Exit::Interrupted);
        assert!(report.trials.iter().all(|trial| trial.verdict == Verdict::Inconclusive || from == 29), "{report}");
    }
}

#[test]
fn nothing_that_listens_is_told_from_a_refusal() {
    let target = |url: &str| Target::new(url, SECRET).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // RFC 6761 §6.4: no name under `invalid` exists.
    for url in [format!("ws://{}/ws", StandIn::nobody()), "ws://no-such-host.invalid/ws".to_owned()] {
        let report = runtime.block_on(suite(CASES).run(&target(&url))).unwrap();
        assert!(matches!(&report.failure, Some(Failure::Unreachable(why)) if !why.is_empty()), "{report}");
        assert_eq!(exit(&report), Exit::NoControl);
        assert!(report.trials.iter().all(|trial| trial.verdict != Verdict::Pass), "{report}");
    }
    runtime.shutdown_background();
}

#[test]
fn a_request_that_comes_back_in_a_reason_phrase_is_a_refusal() {
    let server = StandIn::new(|mut stream, _, head| {
        use std::io::Write as _;
        if is_unsigned(head) {
            let _ = stream.write_all(format!("HTTP/1.1 401 {}\r\n\r\n", head.replace(['\r', '\n'], " ")).as_bytes());
            return;
        }
        serve(stream, head);
    });
    let report = run(&suite(CASES), &server);
    assert_eq!(report.failure, None, "{report}");
    assert_eq!(verdict(&report, "TST-002").0, Verdict::Pass, "{report}");
}

#[test]
fn a_profile_that_gives_no_token_is_named_as_the_cause() {
    let server = StandIn::new(|stream, _, head| serve(stream, head));
    let profile = Profile {
        url: Some(server.url()),
        secret: Some(SECRET.to_owned()),
        claims: serde_json::json!({ "exp": "${never}" }).as_object().cloned().unwrap(),
        ..Profile::default()
    };
    let target = Target::from_profile(profile).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(suite(CASES).run(&target)).unwrap();
    assert!(matches!(report.failure, Some(Failure::NoToken(_))), "{report}");
    assert_eq!(exit(&report), Exit::Usage);
}

#[test]
fn a_case_that_asks_for_too_much_is_a_fault_of_the_case() {
    let many = u64::MAX;
    for step in [
        format!("{{ say: {{ count: {many} }} }}"),
        format!("{{ say: {{ bytes: [{many}, {many}] }} }}"),
        format!("{{ send: {{ frames: [ {{ text: xx, times: {many} }} ] }} }}"),
    ] {
        let cases = format!(
            "family: TST\ntitle: t\ncases:\n  - {{ code: TST-001, name: bomb, title: t, level: must, severity: low, source: [x], \
             steps: [ {{ open: {{}} }}, {step}, {{ alive: {{}} }} ] }}\n"
        );
        let report = run(&suite(&cases), &StandIn::new(|stream, _, head| serve(stream, head)));
        let (verdict, observed) = verdict(&report, "TST-001");
        assert_eq!(verdict, Verdict::Error, "{report}");
        assert!(observed.contains("more than"), "{observed}");
        assert_eq!(exit(&report), Exit::OurFault);
    }
}

#[test]
fn a_token_that_is_not_issued_is_no_fault_of_ours() {
    const ISSUED: &str = "family: TST\ntitle: issued\ncases:\n  - { code: TST-001, name: issued, title: an issued token opens, \
                          level: must, severity: high, source: [x], needs: [login], steps: [ { http: { endpoint: login, \
                          answer: { status: [200] }, capture: true FROM } }, { open: { captured: true } } ] }\n";
    for (answers, from, verdict_is) in [
        ("404 Not Found", "", Verdict::Fail),
        ("200 OK", "", Verdict::Inconclusive),
        ("200 OK", ", capture_from: /refresh_token", Verdict::Inconclusive),
    ] {
        let server = StandIn::new(
            move |stream, _, head| {
                if head.contains("/login") { answer(stream, answers) } else { serve(stream, head) }
            },
        );
        let text = format!("url: {}\nhttp: {{ login: {{ path: /login, token: /access_token }} }}\n", server.url());
        let mut target = Target::new(&server.url(), SECRET).unwrap();
        target.profile.http = Profile::from_yaml("p", &text).unwrap().http;
        let report = run_against(&suite(&ISSUED.replace(" FROM", from)), target);
        assert_eq!(verdict(&report, "TST-001").0, verdict_is, "{answers}{from}: {report}");
    }
}
