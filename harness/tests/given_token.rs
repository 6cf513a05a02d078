//! Runs against servers whose signing key the harness does not know: with a real token that is given, or had by a login.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod hostile_support;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatecrash::command::bundled_server::{BundledServer, Setting};
use gatecrash::diagnosis::Cause;
use gatecrash::profile::{Login, LoginRequest, Profile};
use gatecrash::report::{Failure, Report};
use gatecrash::target::Templates;
use gatecrash::token::{Algorithm, Answer, Keyring, Recipe, Rules, forge, oracle};
use gatecrash::{Suite, Target, Verdict};
use gatecrash_reference_server::{Dialect, Fault, RefusalStyle};
use serde_json::json;

use hostile_support::{SECRET, StandIn, answer, run_watched, serve, take_head, token};

const WATCHDOG: Duration = Duration::from_secs(120);

fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// The target without its secret: `http.login` of its preset is all there is.
fn keyless(server: &BundledServer) -> Target {
    let profile = Profile { secret: None, retired_secrets: Vec::new(), ..server.target.profile.clone() };
    let target = Target::from_profile(profile).unwrap();
    assert!(!target.makes_tokens() && target.keys.secret().is_none());
    target
}

fn start(dialect: Dialect, fault: Option<Fault>) -> BundledServer {
    BundledServer::start(&Setting::of(dialect, RefusalStyle::Close), fault).unwrap()
}

fn codes(report: &Report, verdict: Verdict) -> BTreeSet<&str> {
    report.trials.iter().filter(|trial| trial.verdict == verdict).map(|trial| trial.code.as_str()).collect()
}

/// What is about one token, and so needs no key.
const KEYLESS: &[&str] = &[
    "AUTH-001", "AUTH-004", "AUTH-005", "AUTH-006", "SIG-001", "SIG-004", "SIG-008", "SIG-009", "SIG-021", "SIG-026",
    "ENC-001", "CAR-001", "MSG-001", "RES-001", "HSK-001",
];
/// What is about a token that only the holder of the key can sign.
const KEYED: &[&str] = &["CLM-001", "CLM-002", "SIG-018"];

#[test]
fn a_login_is_enough_to_judge_every_dialect() {
    for dialect in Dialect::ALL {
        let server = start(*dialect, None);
        let report = run_watched(Suite::bundled().seed(7), keyless(&server), WATCHDOG);
        assert!(report.passed(), "{report}");
        let (pass, skipped) = (codes(&report, Verdict::Pass), codes(&report, Verdict::NotApplicable));
        for code in KEYLESS {
            assert!(pass.contains(code), "{code} runs: {report}");
        }
        for code in KEYED {
            assert!(!pass.contains(code) && skipped.contains(code), "{code} does not apply: {report}");
        }
        assert!(pass.len() > 150, "only {} cases pass", pass.len());
        let reasons =
            report.trials.iter().filter(|trial| trial.observed.contains("the key to sign them with is not known"));
        assert!(reasons.count() > 50, "the reason is given");
    }
}

#[test]
fn a_wrong_server_does_not_get_away_without_the_key() {
    for (fault, code) in [
        ("accepts-alg-none", "SIG-008"),
        ("ignores-signature", "SIG-004"),
        ("compares-signature-prefix", "SIG-001"),
        ("payload-outside-signature", "SIG-002"),
        ("default-secret-active", "SIG-026"),
        ("serves-anonymous", "AUTH-004"),
    ] {
        let server = start(Dialect::Shipvox, Some(fault.parse().unwrap()));
        let report = run_watched(Suite::bundled().seed(7).select(code), keyless(&server), WATCHDOG);
        assert!(codes(&report, Verdict::Fail).contains(code), "{fault}: {report}");
    }
}

#[test]
fn a_token_that_is_given_is_sent_as_it_is_and_never_shown() {
    let server = start(Dialect::Omni2, None);
    let templates = Templates::of(&server.target.profile);
    let mint = server.target.mint(&templates, unix_now(), "carol", 1);
    let text = forge(&Recipe::Valid, &mint).unwrap().text().unwrap().to_owned();
    let profile = Profile { token: Some(format!("  {text}\n")), ..server.target.profile.clone() };
    let report = run_watched(Suite::bundled().seed(7), Target::from_profile(profile).unwrap(), WATCHDOG);
    assert!(report.passed(), "{report}");
    let shown = format!("{report}{}", gatecrash::report::json::write(std::slice::from_ref(&report)));
    assert!(!shown.contains(text.rsplit('.').next().unwrap()), "the signature stands in the report");
}

fn minted(life: f64) -> String {
    let keys = Keyring::new().with_secret(SECRET.as_bytes());
    let target = Target::new("ws://h/ws?token={token}", SECRET).unwrap();
    let templates = Templates::of(&target.profile);
    let mint = target.mint(&templates, unix_now(), "dave", 1);
    let ops = json!({ "forge": [{ "claims": { "exp": unix_now() + life } }] });
    let mint = gatecrash::token::Mint { keys: &keys, ..mint };
    forge(&serde_json::from_value::<Recipe>(ops).unwrap(), &mint).unwrap().text().unwrap().to_owned()
}

fn is_good(token: &str) -> bool {
    let rules = Rules {
        algorithms: Some(vec![Algorithm::HS256]),
        ..Rules::new(&Keyring::new().with_secret(SECRET.as_bytes()), Algorithm::HS256)
    };
    oracle(token.as_bytes(), &rules, unix_now(), 0.0).answer == Answer::Accept
}

/// Seconds that a token lives which is to end in the midst of a run.
const LIFE: f64 = 3.0;
/// How long the server takes for each connection, so that no run is over before that.
const PACE: Duration = Duration::from_millis(40);

/// Serves whoever shows a good token, and hands out tokens of this life, in seconds.
struct Issuer {
    server: StandIn,
    logins: Arc<AtomicUsize>,
    refreshes: Arc<AtomicUsize>,
}

impl Issuer {
    fn new(life: f64, logins_until: usize) -> Self {
        let (logins, refreshes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, renewed) = (Arc::clone(&logins), Arc::clone(&refreshes));
        let server = StandIn::new(move |stream, _, head| {
            if head.starts_with("POST /login") {
                if counted.fetch_add(1, Ordering::SeqCst) < logins_until {
                    hand_out(stream, head, "carol", life);
                } else {
                    answer(stream, "500 Internal Server Error");
                }
            } else if head.starts_with("POST /refresh") {
                renewed.fetch_add(1, Ordering::SeqCst);
                hand_out(stream, head, "refresh-1", life);
            } else if token(head).is_some_and(is_good) {
                thread::sleep(PACE);
                serve(stream, head);
            } else {
                thread::sleep(PACE);
                answer(stream, "401 Unauthorized");
            }
        });
        Self { server, logins, refreshes }
    }

    fn profile(&self) -> Profile {
        let login = Login {
            url: "/login".to_owned(),
            headers: [("X-Tenant".to_owned(), "blue".to_owned())].into(),
            json: Some(json!({ "user": "carol" })),
            token: "/tokens/access".to_owned(),
            ..Login::default()
        };
        Profile { url: Some(self.server.url()), login: Some(login), ..Profile::default() }
    }
}

/// Answers a request whose body holds `credential` by a token.
fn hand_out(mut stream: TcpStream, head: &str, credential: &str, life: f64) {
    take_head(&mut stream);
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let _ = stream.read_exact(&mut body);
    let good = head.contains("X-Tenant: blue") && String::from_utf8_lossy(&body).contains(credential);
    let (status, json) = match good {
        true => ("200 OK", json!({ "tokens": { "access": minted(life), "refresh": "refresh-1" } }).to_string()),
        false => ("403 Forbidden", "{}".to_owned()),
    };
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{json}",
        json.len()
    );
}

/// Enough cases for several controls.
fn suite() -> Suite {
    Suite::bundled().seed(7).select("AUTH").select("SIG").select("ENC")
}

#[test]
fn a_token_that_would_end_in_the_midst_is_renewed_by_another_login() {
    let issuer = Issuer::new(LIFE, usize::MAX);
    let report = run_watched(suite(), Target::from_profile(issuer.profile()).unwrap(), WATCHDOG);
    assert!(report.failure.is_none(), "{report}");
    assert!(codes(&report, Verdict::Pass).len() > 30, "{report}");
    assert!(issuer.logins.load(Ordering::SeqCst) > 1, "one login was enough, so that this shows nothing");
}

#[test]
fn a_refresh_token_renews_it_where_there_is_one() {
    let issuer = Issuer::new(LIFE, 1);
    let mut profile = issuer.profile();
    if let Some(login) = &mut profile.login {
        login.refresh_token = Some("/tokens/refresh".to_owned());
        login.refresh = Some(LoginRequest {
            url: "/refresh".to_owned(),
            headers: login.headers.clone(),
            form: [("refresh_token".to_owned(), "{refresh_token}".to_owned())].into(),
            ..LoginRequest::default()
        });
    }
    let report = run_watched(suite(), Target::from_profile(profile).unwrap(), WATCHDOG);
    assert!(report.failure.is_none(), "{report}");
    assert_eq!(issuer.logins.load(Ordering::SeqCst), 1, "a login is not needed again");
    assert!(issuer.refreshes.load(Ordering::SeqCst) > 0, "nothing was renewed, so that this shows nothing");
}

#[test]
fn a_token_that_ends_in_the_midst_is_named() {
    let issuer = Issuer::new(LIFE, 0);
    // To read the cases takes a while, and the token lives already.
    let suite = suite();
    let profile = Profile { token: Some(minted(LIFE)), login: None, ..issuer.profile() };
    let report = run_watched(suite, Target::from_profile(profile).unwrap(), WATCHDOG);
    let Some(Failure::ControlLost(finding)) = &report.failure else { panic!("{report}") };
    assert_eq!(finding.cause, Cause::Token);
    assert!(finding.advice.contains("expired") && finding.advice.contains("login"), "{finding:?}");
}

#[test]
fn a_login_that_fails_later_is_named() {
    let issuer = Issuer::new(LIFE, 1);
    let report = run_watched(suite(), Target::from_profile(issuer.profile()).unwrap(), WATCHDOG);
    let Some(Failure::ControlLost(finding)) = &report.failure else { panic!("{report}") };
    assert_eq!(finding.cause, Cause::Token);
    assert!(finding.advice.contains("HTTP 500"), "{finding:?}");
}

#[test]
fn no_run_begins_without_a_good_token() {
    let issuer = Issuer::new(60.0, 0);
    let report = run_watched(suite(), Target::from_profile(issuer.profile()).unwrap(), WATCHDOG);
    assert!(matches!(&report.failure, Some(Failure::NoToken(why)) if why.contains("HTTP 500")), "{report}");
    let given = Profile { token: Some(minted(-60.0)), login: None, ..issuer.profile() };
    let report = run_watched(suite(), Target::from_profile(given).unwrap(), WATCHDOG);
    assert!(matches!(&report.failure, Some(Failure::NoToken(why)) if why.contains("expired 6")), "{report}");
    let mut elsewhere = issuer.profile();
    if let Some(login) = &mut elsewhere.login {
        login.url = format!("http://{}/login", StandIn::nobody());
    }
    let report = run_watched(suite(), Target::from_profile(elsewhere).unwrap(), WATCHDOG);
    assert!(matches!(&report.failure, Some(Failure::Unreachable(why)) if why.contains("login")), "{report}");
}

#[test]
fn contradictions_are_told_before_anything_is_sent() {
    let issuer = Issuer::new(60.0, 1);
    let error = |change: fn(&mut Profile)| {
        let mut profile = issuer.profile();
        change(&mut profile);
        Target::from_profile(profile).expect_err("a mistake").to_string()
    };
    assert!(error(|profile| profile.token = Some("a.b.c".to_owned())).contains("not both"));
    assert!(error(|profile| profile.jti_single_use = true).contains("jti_single_use"));
    assert!(error(|profile| profile.login = None).contains("--token-env"));
    let spaces = |profile: &mut Profile| (profile.login, profile.token) = (None, Some("a.b c".to_owned()));
    assert!(error(spaces).contains("no request can carry"));
    assert_eq!(issuer.server.connections(), 0);
}
