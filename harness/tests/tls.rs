//! TLS as a run meets it: good and bad certificates on this machine and off it, the wrong scheme, old versions, and what
//! a target fetches.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod hostile_support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use gatecrash::command::bundled_server::{BundledServer, SETTINGS, Setting};
use gatecrash::command::certificates;
use gatecrash::profile::{Listener, Profile};
use gatecrash::report::{Failure, Report};
use gatecrash::tls::Trust;
use gatecrash::{Suite, Target, Verdict};
use gatecrash_reference_server::{Config, Fault, Tls};

use hostile_support::{SECRET, StandIn, is_unsigned, serve, swallow};

fn setting() -> Setting {
    *SETTINGS.iter().find(|setting| setting.name == "strict::tls").unwrap()
}

fn run(target: &Target, words: &[&str]) -> Report {
    run_scaled(target, words, 1.0)
}

fn run_scaled(target: &Target, words: &[&str], scale: f64) -> Report {
    let suite = Suite::bundled().seed(1).timeout_scale(scale);
    let suite = words.iter().fold(suite, |suite, word| suite.select(word));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let whole = async { tokio::time::timeout(Duration::from_secs(60), suite.run(target)).await };
    runtime.block_on(whole).expect("the run ends").unwrap()
}

/// The verdict of each trial and what was seen, one a line.
fn told(report: &Report) -> String {
    let line =
        |trial: &gatecrash::report::TrialReport| format!("{:?} {}: {}\n", trial.verdict, trial.code, trial.observed);
    report.trials.iter().map(line).collect()
}

fn unreachable(target: &Target) -> String {
    match run(target, &["AUTH-001"]).failure {
        Some(Failure::Unreachable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn on_this_machine_a_certificate_that_does_not_hold_is_told_and_the_run_goes_on() {
    for (fault, trusted, seen) in [
        (None, true, "Pass TLS-004: "),
        (None, false, "Warn TLS-004: nobody who is trusted here vouches for it"),
        (Some(Fault::ExpiredCertificate), true, "Warn TLS-004: it has expired, "),
    ] {
        let mut server = BundledServer::start(&setting(), fault).unwrap();
        if !trusted {
            server.target.trust = Some(Trust::new(None).unwrap().strict(false));
        }
        let report = run(&server.target, &["TLS-004", "AUTH-004"]);
        assert_eq!(report.failure, None);
        let told = told(&report);
        assert!(told.contains(seen) && told.contains("Pass AUTH-004"), "{told}");
    }
    // An address has no name to send, and the certificate is for it too.
    let mut server = BundledServer::start(&setting(), None).unwrap();
    server.target.endpoint.host = "127.0.0.1".to_owned();
    let told = told(&run(&server.target, &["TLS-004"]));
    assert!(told.starts_with("Pass"), "{told}");
}

/// A certificate for a host of another name than the one that is dialled.
fn misnamed(config: &mut Config, profile: &mut Profile) {
    let made = certificates::make("elsewhere.example", config.fault == Some(Fault::ExpiredCertificate)).unwrap();
    config.tls = Some(Tls { host: "localhost".to_owned(), ..made.server });
    profile.ca = Some(made.authority);
}

/// As it is off this machine, where traffic of tests may not go.
fn strictly(server: &mut BundledServer, trusted: bool) {
    let own = server.target.trust.clone().filter(|_| trusted);
    server.target.trust = Some(own.unwrap_or_else(|| Trust::new(None).unwrap()).strict(true));
}

#[test]
fn off_this_machine_no_token_is_sent_to_whom_nobody_vouches_for() {
    for (change, fault, trusted, seen) in [
        (misnamed as fn(&mut Config, &mut Profile), None, true, "it is for another name (elsewhere.example, "),
        (setting().change, None, false, "nobody who is trusted here vouches for it"),
        (setting().change, Some(Fault::ExpiredCertificate), true, "it has expired"),
    ] {
        let mut server = BundledServer::start(&Setting { change, ..setting() }, fault).unwrap();
        strictly(&mut server, trusted);
        let why = unreachable(&server.target);
        assert!(why.contains(seen) && why.contains("of localhost does not hold") && why.contains("--ca FILE"), "{why}");
    }
}

#[test]
fn off_this_machine_a_certificate_that_holds_needs_no_more_than_its_authority() {
    let mut server = BundledServer::start(&setting(), None).unwrap();
    strictly(&mut server, true);
    let told = told(&run(&server.target, &["TLS", "AUTH-004"]));
    for good in ["Pass TLS-001", "Pass TLS-002", "Pass TLS-003", "Pass TLS-004", "Pass TLS-005", "Pass AUTH-004"] {
        assert!(told.contains(good), "{told}");
    }
}

#[test]
fn only_a_target_on_this_machine_may_show_any_certificate() {
    for (url, strict) in [
        ("wss://gate.example/ws", true),
        ("wss://192.0.2.7/ws", true),
        ("wss://localhost.example/ws", true),
        ("wss://localhost:8443/ws", false),
        ("wss://127.0.0.1:8443/ws", false),
        ("wss://[::1]:8443/ws", false),
    ] {
        let trust = format!("{:?}", Target::new(url, SECRET).unwrap().trust);
        assert_eq!(trust.contains("strict: true"), strict, "{url}: {trust}");
    }
}

#[test]
fn an_authority_that_cannot_be_read_is_a_mistake_of_the_profile() {
    let wrong = |ca: &str| {
        let profile = Profile {
            url: Some("wss://localhost:1/ws".to_owned()),
            secret: Some(SECRET.to_owned()),
            ca: Some(ca.to_owned()),
            ..Profile::default()
        };
        Target::from_profile(profile).expect_err(ca).to_string()
    };
    assert!(wrong("/no/such/file").contains("cannot read the CA file `/no/such/file`"));
    assert!(wrong("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").contains("no certificate"));
    assert!(wrong("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").contains("cannot be read"));
}

#[test]
fn the_wrong_scheme_is_told() {
    let plain = BundledServer::start(&SETTINGS[0], None).unwrap();
    let mut target = plain.target.clone();
    target.endpoint.tls = true;
    target.trust = Some(Trust::new(None).unwrap());
    let why = unreachable(&target);
    assert!(why.contains("is it ws:// rather than wss://?"), "{why}");

    let mut secured = BundledServer::start(&setting(), None).unwrap();
    secured.target.endpoint.tls = false;
    let failure = format!("{:?}", run(&secured.target, &["AUTH-001"]).failure);
    assert!(failure.contains("is it wss:// rather than ws://?"), "{failure}");
}

#[test]
fn who_never_answers_a_greeting_ends_the_run() {
    let silent = StandIn::new(|stream, _, _| swallow(stream));
    let url = format!("wss://{}/ws", silent.address);
    let failure = format!("{:?}", run_scaled(&Target::new(&url, SECRET).unwrap(), &["AUTH-001"], 0.02).failure);
    assert!(failure.contains("Unreachable(\"no connection within 100 ms"), "{failure}");
    let closing = StandIn::new(|stream, _, _| drop(stream));
    let url = format!("wss://{}/ws", closing.address);
    let why = unreachable(&Target::new(&url, SECRET).unwrap());
    assert!(why.contains("TLS handshake"), "{why}");
}

/// Stands before a server and agrees to every greeting in this version; all others are passed on.
fn agrees_to(version: u8, server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut client = stream;
                let mut head = [0; 11];
                // The version that a ClientHello offers stands behind the record's header and its own.
                client.read_exact(&mut head).unwrap();
                if head[10] == version {
                    let _ = client.write_all(&[22, 3, version, 0, 6, 2, 0, 0, 2, 3, version]);
                    let _ = client.read(&mut [0; 1024]);
                    return;
                }
                let mut server = TcpStream::connect(server).unwrap();
                server.write_all(&head).unwrap();
                let (mut back, mut forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let answers = thread::spawn(move || std::io::copy(&mut back, &mut forth));
                let _ = std::io::copy(&mut client, &mut server);
                let _ = server.shutdown(std::net::Shutdown::Write);
                let _ = answers.join();
            });
        }
    });
    address
}

#[test]
fn a_server_that_still_speaks_an_old_version_is_found() {
    let server = BundledServer::start(&setting(), None).unwrap();
    for (version, named) in [(1, "TLS 1.0"), (2, "TLS 1.1")] {
        let mut target = server.target.clone();
        target.endpoint.port =
            agrees_to(version, SocketAddr::from(([127, 0, 0, 1], server.target.endpoint.port))).port();
        let report = run(&target, &["TLS-003"]);
        let trial = &report.trials[0];
        assert_eq!(trial.verdict, Verdict::Warn, "{trial:?}");
        assert!(trial.observed.starts_with(&format!("the server went on in {named}")), "{trial:?}");
        assert_eq!(trial.checks.len(), 2);
    }
}

#[test]
fn a_port_that_is_not_there_serves_nobody() {
    let mut server = BundledServer::start(&setting(), None).unwrap();
    server.target.profile.plain_port = Some(StandIn::nobody().port());
    let told = told(&run(&server.target, &["TLS-002"]));
    assert!(told.starts_with("Pass TLS-002: nobody serves there"), "{told}");
}

#[test]
fn a_client_that_says_nothing_does_not_hold_up_the_server() {
    fn impatient(config: &mut Config, profile: &mut Profile) {
        (setting().change)(config, profile);
        config.limits.handshake = Duration::from_millis(50);
    }
    let server = BundledServer::start(&Setting { change: impatient, ..setting() }, None).unwrap();
    let mut silent = TcpStream::connect(("127.0.0.1", server.target.endpoint.port)).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert!(matches!(silent.read(&mut [0; 16]), Ok(0)), "it is let go");
}

#[test]
fn a_listener_that_cannot_be_had_is_no_fault_of_the_target() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = StandIn::new(|stream, _, head| if is_unsigned(head) { swallow(stream) } else { serve(stream, head) });
    let mut target = Target::new(&server.url(), SECRET).unwrap();
    let bind = taken.local_addr().unwrap().to_string();
    target.profile.listener = Some(Listener { public_url: "http://gatecrash.example".to_owned(), bind });
    let report = run(&target, &["KEY-014"]);
    assert_eq!(report.trials[0].verdict, Verdict::NotApplicable, "{}", told(&report));
    assert!(report.trials[0].observed.contains("cannot listen on"), "{}", told(&report));
}
