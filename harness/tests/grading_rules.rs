//! The grading rules, R1 to R22: where standards leave more than one behaviour right, what passes and what does not.
//!
//! Each rule has a test of its name, in both directions. Where a rule lives in the judge, it is asked with observations
//! built as values; where it lives in the cases, all bundled cases are walked; where it is about a run, one is made.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod hostile_support;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gatecrash::carrier::{Placed, place};
use gatecrash::case::{Across, Await, Awaited, Body, Carry, Case, CaseText, Expect, Open, Request, Step};
use gatecrash::diagnosis::{Cause, Finding};
use gatecrash::judge::{self, Learned, Run, Seen, Weight};
use gatecrash::need::Need;
use gatecrash::observation::{Connection, End, Event, Mark, Observation, What};
use gatecrash::outcome::{self, Outcome};
use gatecrash::plan::{self, Selection};
use gatecrash::profile::{Class, Profile, Signal};
use gatecrash::report::{About, Exit, Failure, Report, Standard, TrialReport};
use gatecrash::target::Templates;
use gatecrash::token::{Answer, Op, Recipe, Rules, default_claims, forge, oracle};
use gatecrash::verdict::{Basis, Check, Grade, Level, Severity};
use gatecrash::wire::answer::Head;
use gatecrash::wire::frame::{CLOSE, Frame, PONG, TEXT};
use gatecrash::{Catalogue, Suite, Target, Verdict};
use hostile_support::{SECRET, StandIn, answer, is_unsigned, serve, token};
use serde_json::{Value, json};

// ---- observations as values ----

fn head_of_a_case(level: Level, severity: Severity) -> CaseText {
    let case = json!({ "code": "TST-001", "name": "rule", "title": "a rule", "level": level, "severity": severity, "source": [] });
    serde_json::from_value(case).unwrap()
}

fn events(all: impl IntoIterator<Item = What>) -> Vec<Event> {
    all.into_iter().map(|what| Event { at: Duration::from_millis(3), what }).collect()
}

fn head(status: u16, headers: &[(&str, &str)]) -> What {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    What::Head(Head { minor_version: 1, status, reason: String::new(), headers })
}

fn frame(opcode: u8, payload: &[u8]) -> What {
    What::Frame(Frame { fin: true, rsv: 0, opcode, masked: false, payload: payload.to_vec() })
}

/// A refusal by HTTP.
fn http(status: u16) -> Vec<Event> {
    events([head(status, &[]), What::Body { bytes: Vec::new(), complete: true }])
}

/// A refusal by a close frame after the upgrade.
fn close(code: u16) -> Vec<Event> {
    events([head(101, &[]), frame(CLOSE, &code.to_be_bytes()), What::End(End::Fin)])
}

/// An admission: a message of the application.
fn admission() -> Vec<Event> {
    events([head(101, &[]), frame(TEXT, b"welcome")])
}

fn silence() -> Vec<Event> {
    events([What::Silence(Duration::from_secs(5))])
}

/// What one opening that must come to `expect` comes to.
fn opening(expect: Expect, level: Level, events: &[Event]) -> Check {
    let weight = Weight::of(&head_of_a_case(level, Severity::High));
    judge::expected(weight, expect, &outcome::of(events, false))
}

/// What a question to refusals of one class comes to.
fn ask(question: Across, level: Level, profile: &Profile, class: Class, refusals: &[Vec<Event>]) -> Vec<Check> {
    let connections: Vec<Connection> = refusals
        .iter()
        .map(|events| Connection {
            name: "main".to_owned(),
            sent: Vec::new(),
            key: None,
            token: None,
            tls: None,
            events: events.clone(),
        })
        .collect();
    let outcomes: Vec<Outcome> = connections.iter().map(|connection| outcome::of(&connection.events, false)).collect();
    let seen = connections.iter().zip(&outcomes).map(|(connection, outcome)| Seen {
        code: "TST-001",
        class: Some(class),
        expect: Expect::Refused,
        elsewhere: false,
        outcome,
        connection,
    });
    let budget = Duration::from_secs(1);
    let run = Run {
        seen: seen.collect(),
        controls: &[],
        witness: None,
        keys: &gatecrash::token::Keyring::new(),
        host: "localhost",
        profile,
        heard: Vec::new(),
        refusal_budget: budget,
        echo_is_promised: true,
    };
    judge::across(&head_of_a_case(level, Severity::Medium), question, &run)
}

fn verdict(question: Across, profile: &Profile, refusals: &[Vec<Event>]) -> Verdict {
    let class = match question {
        Across::Signal(class) => class,
        _ => Class::Expired,
    };
    Verdict::of(&ask(question, Level::Should, profile, class, refusals))
}

/// A profile that promises this for expired tokens.
fn promises(signal: Signal) -> Profile {
    Profile { signals: BTreeMap::from([(Class::Expired, signal)]), ..Profile::default() }
}

// ---- the bundled cases ----

fn catalogue() -> Catalogue {
    static READ: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::bundled().unwrap_or_else(|found| panic!("{found}")));
    READ.clone()
}

fn bundled() -> Suite {
    Suite::new(Ok(catalogue()))
}

/// A target that declares nothing but where it is and its secret.
fn plain() -> Target {
    Target::new("ws://127.0.0.1:1/ws?token={token}", SECRET).unwrap()
}

fn target(profile: Profile) -> Target {
    let url = Some("ws://127.0.0.1:1/ws?token={token}".to_owned());
    Target::from_profile(Profile { url, secret: Some(SECRET.to_owned()), ..profile }).unwrap()
}

/// The level at which this case binds this target; none where it does not apply.
fn level(catalogue: &Catalogue, target: &Target, code: &str) -> Option<Level> {
    let selection = Selection { words: vec![code.to_owned()], all: true, ..Selection::default() };
    let trials = plan::trials(catalogue, target, &selection);
    let trial = trials.iter().find(|trial| trial.wanted).unwrap_or_else(|| panic!("{code} is not there"));
    trial.skip.is_none().then_some(trial.level)
}

fn case<'a>(catalogue: &'a Catalogue, code: &str) -> &'a Case {
    catalogue.case(code).unwrap_or_else(|| panic!("{code} is not there"))
}

/// Every opening of a case.
fn openings(case: &Case) -> Vec<&Open> {
    let steps = case.variants.iter().filter_map(|variant| match &variant.body {
        Body::Steps(steps) => Some(steps),
        _ => None,
    });
    steps.flat_map(|steps| steps.iter()).filter_map(opening_of).collect()
}

fn opening_of(step: &Step) -> Option<&Open> {
    match step {
        Step::Open(open) => Some(open),
        _ => None,
    }
}

fn expectations(catalogue: &Catalogue, code: &str) -> Vec<Expect> {
    openings(case(catalogue, code)).iter().map(|open| open.expect).collect()
}

/// A recipe as text, to look for a word in it.
fn written(open: &Open) -> String {
    serde_json::to_value(&open.token).unwrap().to_string()
}

/// What a correct verifier of a target that declares nothing does with the token of an opening; none where it cannot
/// be made for this target.
fn judged(open: &Open) -> Option<Answer> {
    let target = plain();
    let (templates, now) = (Templates::of(&target.profile), 1_700_000_000.0);
    let token = forge(&open.token, &target.mint(&templates, now, "gatecrash", 7)).ok()?;
    Some(oracle(token.bytes()?, &Rules::new(&target.keys, target.algorithm), now, 0.0).answer)
}

// ---- runs ----

fn own_cases(cases: &str) -> Suite {
    let mut catalogue = Catalogue::default();
    catalogue
        .add("own.yaml", &format!("family: TST\ntitle: own\ncases:\n{cases}"))
        .unwrap_or_else(|found| panic!("{found}"));
    Suite::new(Ok(catalogue)).seed(7).jobs(1)
}

fn run(suite: &Suite, target: &Target) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = async { tokio::time::timeout(Duration::from_secs(60), suite.run(target)).await };
    runtime.block_on(run).expect("the run ends").unwrap()
}

// ---- the rules ----

#[test]
fn r1_refusal_before_or_after_the_upgrade() {
    for refusal in [http(400), http(401), http(403), http(404), close(1008), close(4001), close(3000)] {
        assert_eq!(opening(Expect::Refused, Level::Must, &refusal).grade, Grade::Pass, "{refusal:?}");
    }
    assert_eq!(opening(Expect::Refused, Level::Must, &admission()).grade, Grade::Fail);
    let signal = Across::Signal(Class::Expired);
    let undeclared = Profile::default();
    for status in [400, 401, 403, 404, 426] {
        assert_eq!(verdict(signal, &undeclared, &[http(status)]), Verdict::Pass, "HTTP {status}");
    }
    for code in [1008, 1002, 1003, 1007, 3000, 3003, 4000, 4401, 4999] {
        assert_eq!(verdict(signal, &undeclared, &[close(code)]), Verdict::Pass, "close {code}");
    }
    for code in [1009, 1010, 2000, 5000] {
        assert_eq!(verdict(signal, &undeclared, &[close(code)]), Verdict::Warn, "close {code}");
    }
    // A bare end tells nothing, neither well nor badly.
    let bare = events([head(101, &[]), What::End(End::Fin)]);
    assert_eq!(verdict(signal, &undeclared, std::slice::from_ref(&bare)), Verdict::Info);
    assert_eq!(
        verdict(signal, &promises(Signal { http: Some(401), ..Signal::default() }), std::slice::from_ref(&bare)),
        Verdict::Inconclusive
    );
    assert_eq!(verdict(Across::Deliberate, &undeclared, &[bare]), Verdict::Warn);

    // What is declared is taken literally.
    let code = promises(Signal { close: Some(4003), ..Signal::default() });
    assert_eq!(verdict(signal, &code, &[close(4003)]), Verdict::Pass);
    assert_eq!(verdict(signal, &code, &[close(4003), close(1008)]), Verdict::Fail);
    let status = promises(Signal { http: Some(401), ..Signal::default() });
    assert_eq!(verdict(signal, &status, &[http(401)]), Verdict::Pass);
    assert_eq!(verdict(signal, &status, &[http(403)]), Verdict::Fail);
    assert_eq!(verdict(signal, &status, &[close(1008)]), Verdict::Fail, "a status can always be seen");
    let either = promises(Signal { http: Some(401), close: Some(4003), ..Signal::default() });
    assert_eq!(verdict(signal, &either, &[http(401), close(4003)]), Verdict::Pass);
}

#[test]
fn r2_codes_that_cannot_be_seen() {
    let promised = promises(Signal { close: Some(4003), reason: Some("Token expired".to_owned()), http: None });
    let early = [http(403), http(403), http(403)];
    // No case of the class fails for it, whatever the status.
    assert_eq!(verdict(Across::Signal(Class::Expired), &promised, &early), Verdict::Pass);
    assert_eq!(verdict(Across::AllSignals, &promised, &early), Verdict::Pass);
    assert!(verdict(Across::Reasons, &promised, &early) < Verdict::Warn);
    // One does, once, and says how it looks to a browser.
    let found = ask(Across::CloseReachesWire, Level::Should, &promised, Class::Expired, &early);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].grade, Grade::Warn);
    assert!(
        found[0].observed.contains("HTTP 403 (3 times)") && found[0].observed.contains("1006"),
        "{}",
        found[0].observed
    );
    // Where an upgrade happened the code is judged.
    assert_eq!(verdict(Across::CloseReachesWire, &promised, &[http(403), close(4003)]), Verdict::Pass);
    assert_eq!(verdict(Across::Signal(Class::Expired), &promised, &[http(403), close(1008)]), Verdict::Fail);
    // Nothing else of the catalogue asks for it.
    let asks =
        |case: &&Case| case.variants.iter().any(|variant| variant.body == Body::Across(Across::CloseReachesWire));
    assert_eq!(catalogue().cases.iter().filter(asks).count(), 1);
}

#[test]
fn r3_iana_codes() {
    let undeclared = Profile::default();
    for code in [3000, 3003, 4401, 4403, 1008] {
        for question in [Across::Signal(Class::Expired), Across::MeaningfulCloseCode, Across::LegalCloseCode] {
            assert_eq!(verdict(question, &undeclared, &[close(code)]), Verdict::Pass, "{code} {question:?}");
        }
    }
    // A normal end says nothing of a refusal: a warning, in one case, and no failure in any.
    for code in [1000, 1001] {
        assert_eq!(verdict(Across::MeaningfulCloseCode, &undeclared, &[close(code)]), Verdict::Warn, "{code}");
        assert_eq!(verdict(Across::Signal(Class::Expired), &undeclared, &[close(code)]), Verdict::Pass, "{code}");
        assert_eq!(opening(Expect::Refused, Level::Must, &close(code)).grade, Grade::Pass, "{code}");
    }
    // Codes that must never be on the wire are no matter of taste.
    for code in [0, 999, 1005, 1006, 1015] {
        let found = ask(Across::LegalCloseCode, Level::Must, &undeclared, Class::Expired, &[close(code)]);
        assert_eq!(Verdict::of(&found), Verdict::Fail, "{code}");
    }
    let catalogue = catalogue();
    let asks =
        |case: &&Case| case.variants.iter().any(|variant| variant.body == Body::Across(Across::MeaningfulCloseCode));
    for case in catalogue.cases.iter().filter(asks) {
        assert_eq!(case.head.level, Level::Should, "{}", case.head.code);
    }
}

#[test]
fn r4_missing_exp() {
    let catalogue = catalogue();
    let declares = |require_exp| target(Profile { require_exp, ..Profile::default() });
    // Undeclared it is a warning, demanded a failure, declared as optional it is not asked.
    assert_eq!(level(&catalogue, &declares(None), "CLM-007"), Some(Level::Should));
    assert_eq!(level(&catalogue, &declares(Some(true)), "CLM-007"), Some(Level::Must));
    assert_eq!(level(&catalogue, &declares(Some(false)), "CLM-007"), None);
    // The documented test token of a development server, which never expires, must open the socket.
    let development = target(Profile { url: None, secret: None, ..Profile::preset("shipvox").unwrap() });
    assert_eq!(level(&catalogue, &development, "HTTP-023"), Some(Level::Must));
    assert_eq!(level(&catalogue, &development, "HTTP-034"), None);
    assert!(expectations(&catalogue, "HTTP-023").contains(&Expect::Admitted));

    // The same in a run: a gate that admits a token without exp.
    let server = StandIn::new(
        |stream, _, head| if is_unsigned(head) { answer(stream, "401 Unauthorized") } else { serve(stream, head) },
    );
    let verdict_of = |require_exp| {
        let target = Target::from_profile(Profile {
            require_exp,
            url: Some(server.url()),
            secret: Some(SECRET.to_owned()),
            ..Profile::default()
        });
        let report = run(&bundled().seed(7).select("CLM-007"), &target.unwrap());
        report.trials[0].verdict
    };
    assert_eq!(verdict_of(None), Verdict::Warn);
    assert_eq!(verdict_of(Some(true)), Verdict::Fail);
    assert_eq!(verdict_of(Some(false)), Verdict::NotApplicable);
}

#[test]
fn r5_leeway() {
    let catalogue = catalogue();
    let (undeclared, exact) = (plain(), target(Profile { leeway: Some(0), ..Profile::default() }));
    assert_eq!(level(&catalogue, &undeclared, "CLM-001"), Some(Level::Must), "an hour is a failure");
    assert_eq!(level(&catalogue, &undeclared, "CLM-002"), Some(Level::Should), "ten minutes are a warning");
    assert_eq!(level(&catalogue, &undeclared, "CLM-003"), None);
    assert_eq!(level(&catalogue, &exact, "CLM-003"), Some(Level::Must));
    assert_eq!(level(&catalogue, &exact, "CLM-004"), Some(Level::Must), "the exact second, on the same host");
    let elsewhere = Profile {
        leeway: Some(0),
        secret: Some(SECRET.to_owned()),
        url: Some("ws://192.0.2.1/ws".to_owned()),
        ..Profile::default()
    };
    assert_eq!(level(&catalogue, &Target::from_profile(elsewhere).unwrap(), "CLM-004"), None);
    // Less than five minutes late, or early, never fails where nothing is declared.
    let now = 1_700_000_000.0;
    let (target, mut late) = (plain(), 0);
    for case in &catalogue.cases {
        let declares = |need| case.head.needs.contains(&need);
        if declares(Need::Leeway) || declares(Need::NoLeeway) {
            continue;
        }
        for open in openings(case).into_iter().filter(|open| open.expect == Expect::Refused) {
            let templates = Templates::of(&target.profile);
            let Ok(token) = forge(&open.token, &target.mint(&templates, now, "gatecrash", 7)) else { continue };
            let Some((_, claims)) = token.peek() else { continue };
            let exp = claims.get("exp").and_then(Value::as_f64).unwrap_or(now + 300.0);
            let nbf = claims.get("nbf").and_then(Value::as_f64).unwrap_or(now);
            late += usize::from(exp < now);
            assert!(
                !(now - 300.0..now).contains(&exp) && !(now + 1.0..now + 300.0).contains(&nbf),
                "{}",
                case.head.code
            );
        }
    }
    assert!(late > 3, "only {late} expired tokens were looked at");
}

#[test]
fn r6_algorithm_family_with_the_same_key() {
    let catalogue = catalogue();
    for code in ["SIG-018", "SIG-019"] {
        assert_eq!(level(&catalogue, &plain(), code), Some(Level::Should), "{code}");
        let only = target(Profile { algorithms: Some(vec!["HS256".to_owned()]), ..Profile::default() });
        assert_eq!(level(&catalogue, &only, code), Some(Level::Must), "{code}");
    }
    // In a run: a gate that takes the whole family.
    let server = StandIn::new(
        |stream, _, head| if is_unsigned(head) { answer(stream, "401 Unauthorized") } else { serve(stream, head) },
    );
    let verdicts = |algorithm: &str, algorithms: Option<&[&str]>| {
        let algorithms = algorithms.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let (url, secret, algorithm) = (Some(server.url()), Some(SECRET.to_owned()), Some(algorithm.to_owned()));
        let target =
            Target::from_profile(Profile { url, secret, algorithm, algorithms, ..Profile::default() }).unwrap();
        let report = run(&bundled().seed(7).select("SIG-018").select("SIG-019"), &target);
        report.trials.iter().map(|trial| trial.verdict).collect::<Vec<_>>()
    };
    assert_eq!(verdicts("HS256", None), [Verdict::Warn, Verdict::Warn]);
    assert_eq!(verdicts("HS256", Some(&["HS256"])), [Verdict::Fail, Verdict::Fail]);
    // What is declared, and the server's own, is no deviation.
    assert_eq!(verdicts("HS256", Some(&["HS256", "HS384"])), [Verdict::NotApplicable, Verdict::Fail]);
    assert_eq!(verdicts("HS384", None), [Verdict::NotApplicable, Verdict::Warn]);
}

#[test]
fn r7_duplicate_members() {
    // The last wins, or the token is refused: both must pass. So whoever lets the last win decides what is expected, or
    // both are.
    let catalogue = catalogue();
    let twice = |open: &&Open| {
        ["claims_first", "claims_last", "header_first", "header_last"].iter().any(|op| written(open).contains(op))
    };
    let mut looked = 0;
    for case in &catalogue.cases {
        for open in openings(case).into_iter().filter(twice) {
            let Recipe::Forge(ops) = &open.token else { continue };
            // Names that differ in case are no duplicates.
            if case.head.code == "ENC-045" {
                assert_eq!(open.expect, Expect::Admitted);
                continue;
            }
            looked += 1;
            assert_ne!(open.expect, Expect::Admitted, "{}: a verifier may refuse it", case.head.code);
            if open.expect == Expect::Refused && case.head.family_is_of_tokens() {
                // Without the member that comes first it is a token that must be refused.
                let kept =
                    ops.iter().filter(|op| !matches!(op, Op::ClaimsFirst(_) | Op::HeaderFirst(_))).cloned().collect();
                let last = Open { token: Recipe::Forge(kept), ..open.clone() };
                assert_ne!(judged(&last), Some(Answer::Accept), "{}: the last one wins", case.head.code);
            }
        }
    }
    assert!(looked >= 4, "only {looked} such tokens");
}

/// Which families judge the token by itself.
trait OfTokens {
    fn family_is_of_tokens(&self) -> bool;
}

impl OfTokens for CaseText {
    fn family_is_of_tokens(&self) -> bool {
        ["SIG-", "ENC-", "CLM-", "KEY-"].iter().any(|family| self.code.starts_with(family))
    }
}

#[test]
fn r8_base64url() {
    let catalogue = catalogue();
    for number in 10..=17 {
        let case = case(&catalogue, &format!("ENC-{number:03}"));
        assert_eq!((case.head.level, case.head.severity), (Level::Must, Severity::Low), "{}", case.head.code);
        assert!(openings(case).iter().all(|open| open.expect == Expect::Refused), "{}", case.head.code);
    }
    for code in ["ENC-018", "ENC-019"] {
        assert!(expectations(&catalogue, code).iter().all(|expect| *expect == Expect::Either), "{code}");
    }
    // Whoever admits a padded token fails the case, and not the build.
    let failed = trial(Verdict::Fail, Severity::Low);
    assert_eq!(report([failed]).exit(Standard::default()), Exit::Good);
}

#[test]
fn r9_json_freedom() {
    let catalogue = catalogue();
    for code in ["ENC-043", "ENC-046", "ENC-051", "CLM-049", "SIG-058"] {
        assert!(expectations(&catalogue, code).iter().all(|expect| *expect == Expect::Admitted), "{code}");
        assert_eq!(case(&catalogue, code).head.level, Level::Must, "{code}");
    }
    for code in ["ENC-037", "ENC-049"] {
        let free = |expect: &Expect| matches!(expect, Expect::Either | Expect::Survives);
        assert!(expectations(&catalogue, code).iter().all(free), "{code}");
    }
    assert!(expectations(&catalogue, "ENC-047").iter().all(|expect| *expect == Expect::Refused));
    assert!(expectations(&catalogue, "ENC-048").contains(&Expect::Refused));
}

#[test]
fn r10_typ() {
    let catalogue = catalogue();
    let bound = [
        Profile { profile: Some(gatecrash::profile::TokenProfile::Rfc9068), ..Profile::default() },
        Profile { token_type: Some("chat+jwt".to_owned()), ..Profile::default() },
    ];
    let mut looked = 0;
    for case in &catalogue.cases {
        let about_typ = |open: &&Open| match &open.token {
            Recipe::Forge(ops) => {
                ops.iter().all(|op| match op {
                    Op::Header(members) => members.keys().all(|name| name == "typ"),
                    Op::DropHeader(names) => names.iter().all(|name| name == "typ"),
                    _ => false,
                }) && !ops.is_empty()
            }
            _ => false,
        };
        for open in openings(case).into_iter().filter(about_typ) {
            looked += 1;
            match level(&catalogue, &plain(), &case.head.code) {
                Some(_) => assert_ne!(open.expect, Expect::Refused, "{}: typ is ignored", case.head.code),
                None => assert!(!case.head.needs.is_empty(), "{}", case.head.code),
            }
        }
    }
    assert!(looked >= 2, "only {looked}");
    for profile in bound {
        assert_eq!(level(&catalogue, &target(profile), "CLM-056"), None, "there typ decides");
    }
}

#[test]
fn r11_aud_and_iss_without_declaration() {
    let template = default_claims();
    assert!(!template.contains_key("aud") && !template.contains_key("iss"), "{template:?}");
    let catalogue = catalogue();
    let mut looked = 0;
    let selection = Selection { words: Vec::new(), all: true, ..Selection::default() };
    for trial in plan::trials(&catalogue, &plain(), &selection).iter().filter(|trial| trial.skip.is_none()) {
        for open in openings(&trial.case) {
            let Recipe::Forge(ops) = &open.token else { continue };
            let names = |op: &Op| matches!(op, Op::Claims(members) if members.contains_key("aud") || members.contains_key("iss"));
            if ops.iter().any(names) && ops.iter().all(|op| matches!(op, Op::Claims(_))) {
                looked += 1;
                assert_eq!(open.expect, Expect::Either, "{}", trial.case.head.code);
            }
        }
    }
    assert!(looked >= 1, "no such case");
}

#[test]
fn r12_what_is_only_recorded() {
    let catalogue = catalogue();
    for code in ["CLM-026", "KEY-002"] {
        assert!(expectations(&catalogue, code).iter().all(|expect| *expect == Expect::Either), "{code}");
    }
    for events in [admission(), http(401), close(1008)] {
        let check = opening(Expect::Either, Level::May, &events);
        assert_eq!(check.grade, Grade::Info);
        assert_eq!(check.observed, outcome::of(&events, false).to_string(), "what it was is told");
    }
    assert_eq!(opening(Expect::Survives, Level::Must, &http(500)).grade, Grade::Fail);
}

/// A trial that came to this.
fn trial(verdict: Verdict, severity: Severity) -> TrialReport {
    TrialReport {
        id: "TST-001".to_owned(),
        code: "TST-001".to_owned(),
        name: "rule".to_owned(),
        title: "a rule".to_owned(),
        level: Level::Must,
        basis: Basis::Must,
        severity,
        source: Vec::new(),
        weakness: None,
        mend: None,
        verdict,
        expected: String::new(),
        observed: String::new(),
        checks: Vec::new(),
        took: Duration::ZERO,
        about: About::default(),
        transcript: Vec::new(),
    }
}

fn report(trials: impl IntoIterator<Item = TrialReport>) -> Report {
    let mut report = Report::new(&plain(), 7);
    report.trials = trials.into_iter().collect();
    report
}

#[test]
fn r13_exit_status() {
    let good = || trial(Verdict::Pass, Severity::Critical);
    let default = Standard::default();
    for (severity, exit) in [
        (Severity::Info, Exit::Good),
        (Severity::Low, Exit::Good),
        (Severity::Medium, Exit::Failed),
        (Severity::High, Exit::Failed),
        (Severity::Critical, Exit::Failed),
    ] {
        let failed = report([good(), trial(Verdict::Fail, severity)]);
        assert_eq!(failed.exit(default), exit, "{severity:?}");
        assert_eq!(failed.passed(), exit == Exit::Good);
        assert_eq!(failed.failures().count(), 1, "it is listed all the same");
        assert_eq!(failed.exit(Standard { fail_on: Severity::Info, ..default }), Exit::Failed);
    }
    // A warning counts only where that is asked for.
    let warned = report([good(), trial(Verdict::Warn, Severity::Critical)]);
    assert_eq!(warned.exit(default), Exit::Good);
    assert_eq!(warned.exit(Standard { strict: true, ..default }), Exit::Failed);
    // What is left open is no success.
    let open = report([good(), trial(Verdict::Inconclusive, Severity::Low)]);
    assert_eq!(open.exit(default), Exit::Inconclusive);
    let generous = Standard { allow_inconclusive: true, ..default };
    assert_eq!(open.exit(generous), Exit::Good);
    // Nobody who asks for less asks for a server that is gone.
    let gone = Finding { cause: Cause::Unknown, observed: "no answer".to_owned(), advice: "look".to_owned() };
    let mut gone = Report { failure: Some(Failure::ControlLost(gone)), ..open };
    assert_eq!(gone.exit(generous), Exit::Inconclusive);
    gone.trials.push(trial(Verdict::Fail, Severity::High));
    assert_eq!(gone.exit(generous), Exit::Failed, "what was proved before still counts");
}

#[test]
fn r14_key_of_the_handshake() {
    let catalogue = catalogue();
    assert!(expectations(&catalogue, "HSK-008").iter().all(|expect| *expect == Expect::Either));
    let odd = |open: &&Open| open.request.key.is_some();
    for case in &catalogue.cases {
        for open in openings(case).into_iter().filter(odd) {
            assert_ne!(open.expect, Expect::NotUpgraded, "{}: its bytes need not be decoded", case.head.code);
        }
    }
}

#[test]
fn r15_origin() {
    let catalogue = catalogue();
    // Nobody is refused for an origin, or for none, but by a declared list; unless the token is in a cookie, which a
    // browser adds to whatever a foreign page asks for.
    for case in &catalogue.cases {
        let names = |open: &&Open| {
            let set = open.request.set.keys().chain(open.request.add.iter().map(|(name, _)| name));
            set.into_iter().any(|name| name.eq_ignore_ascii_case("origin")) && open.token == Recipe::Valid
        };
        if openings(case).iter().filter(|open| names(open)).any(|open| open.expect == Expect::Refused) {
            let lists = [Need::AllowedOrigins, Need::RequireOrigin, Need::CookieCarrier];
            assert!(case.head.needs.iter().any(|need| lists.contains(need)), "{}", case.head.code);
        }
    }
    // A client of this harness is no browser and names none, and its control must be admitted.
    let target = plain();
    let carrier = target.profile.carriers[0].clone();
    let placed = Placed { on: &carrier, token: Some(b"a.b.c") };
    let opening = place(&target.endpoint, "k", placed, &Carry::default(), &[], &Request::default());
    assert!(opening.headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("origin")));
}

/// What a step that waits on an open socket comes to.
fn waited(wait: Await, rule: &CaseText, after: &[What]) -> Verdict {
    let opened = [head(101, &[]), frame(TEXT, b"welcome")];
    let all: Vec<What> = opened.iter().cloned().chain(after.iter().cloned()).collect();
    let marks = vec![
        Mark { step: 0, connection: 0, from: 0, to: 2, said: Vec::new(), ..Mark::default() },
        Mark { step: 1, connection: 0, from: 2, to: all.len(), said: Vec::new(), ..Mark::default() },
    ];
    let connection = Connection {
        name: "main".to_owned(),
        sent: Vec::new(),
        key: None,
        token: None,
        tls: None,
        events: events(all),
    };
    let observation = Observation { began: 0.0, connections: vec![connection], marks, ..Observation::default() };
    let steps = [Step::Open(Box::default()), Step::Await(wait)];
    Verdict::of(&judge::session(rule, &steps, &observation, &Profile::default(), &Learned::default()))
}

#[test]
fn r16_expiry_of_an_open_socket() {
    // What is only recommended warns, also within a case that demands something else, and a promise binds.
    let stays_open = [What::Silence(Duration::from_secs(2))];
    let closes = [frame(CLOSE, &4003_u16.to_be_bytes()), What::End(End::Fin)];
    let must = head_of_a_case(Level::Must, Severity::Medium);
    let failed = |level| Await { on: "main".to_owned(), what: Awaited::Failed, level };
    assert_eq!(waited(failed(Some(Level::Should)), &must, &stays_open), Verdict::Warn);
    assert_eq!(waited(failed(None), &must, &stays_open), Verdict::Fail);
    assert_eq!(waited(failed(Some(Level::Should)), &must, &closes), Verdict::Pass);
    // No case of the bundled ones demands it of a target that promises nothing.
    let catalogue = catalogue();
    for trial in plan::trials(&catalogue, &plain(), &Selection { words: Vec::new(), all: true, ..Selection::default() })
    {
        let steps = trial.case.variants.iter().filter_map(|variant| match &variant.body {
            Body::Steps(steps) => Some(steps),
            _ => None,
        });
        for steps in steps.filter(|_| trial.skip.is_none() && trial.level == Level::Must) {
            let waits = steps.iter().position(|step| matches!(step, Step::Wait(_)));
            let demands = steps.iter().skip(waits.unwrap_or(steps.len())).any(|step| {
                matches!(
                    step,
                    Step::Await(Await { what: Awaited::Failed | Awaited::Closed, level: None | Some(Level::Must), .. })
                )
            });
            assert!(!demands, "{}", trial.case.head.code);
        }
    }
}

#[test]
fn r17_controls() {
    let mut cases = String::new();
    for number in 1..=60 {
        cases.push_str(&format!("  - {{ code: TST-{number:03}, name: case-{number}, title: none, level: must, severity: high, source: [x], token: absent, expect: refused }}\n"));
    }
    // Before the first case, after every 25, after the last.
    let controls = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&controls);
    let server = StandIn::new(move |stream, _, head| match token(head) {
        Some(_) => {
            counted.fetch_add(1, Ordering::SeqCst);
            serve(stream, head);
        }
        None => answer(stream, "401 Unauthorized"),
    });
    let report = run(&own_cases(&cases), &Target::new(&server.url(), SECRET).unwrap());
    assert_eq!((report.controls, report.summary().pass), (1 + 2 + 1, 60), "{report}");
    // The fifth is the look for an echo.
    assert_eq!(controls.load(Ordering::SeqCst), 5);

    // After 45 cases everybody is refused: what was refused since the last good control proves nothing.
    let seen = AtomicUsize::new(0);
    let server = StandIn::new(move |stream, _, head| match token(head) {
        Some(_) if seen.load(Ordering::SeqCst) < 45 => serve(stream, head),
        Some(_) => answer(stream, "401 Unauthorized"),
        None => {
            seen.fetch_add(1, Ordering::SeqCst);
            answer(stream, "401 Unauthorized");
        }
    });
    let report = run(&own_cases(&cases), &Target::new(&server.url(), SECRET).unwrap());
    let Some(Failure::ControlLost(finding)) = &report.failure else { panic!("{report}") };
    assert_ne!(finding.cause, Cause::Dead);
    assert!(!finding.advice.is_empty() && finding.observed.contains("TST-026"), "{finding:?}");
    let summary = report.summary();
    assert_eq!((summary.pass, summary.inconclusive), (25, 35), "{report}");
    assert_eq!(report.exit(Standard::default()), Exit::Inconclusive);
}

#[test]
fn r18_over_length_answers() {
    let budget = Profile::default();
    // Another status than 414 or 431, or an end at once, will do.
    let ended = events([What::End(End::Fin)]);
    for answer in [http(414), http(431), http(400), http(413), ended.clone()] {
        assert_eq!(opening(Expect::Refused, Level::Must, &answer).grade, Grade::Pass, "{answer:?}");
        assert_eq!(verdict(Across::Prompt, &budget, std::slice::from_ref(&answer)), Verdict::Pass, "{answer:?}");
    }
    // Silence will not, nor does a server error survive.
    assert_eq!(verdict(Across::Prompt, &budget, &[silence()]), Verdict::Warn);
    for broken in [silence(), http(500)] {
        assert_eq!(opening(Expect::Survives, Level::Must, &broken).grade, Grade::Fail, "{broken:?}");
    }
    // Where the refusal itself has a deadline, silence is none.
    for (answer, grade) in [(http(401), Grade::Pass), (ended, Grade::Pass), (silence(), Grade::Fail)] {
        assert_eq!(opening(Expect::RefusedInTime, Level::Must, &answer).grade, grade, "{answer:?}");
    }
}

#[test]
fn r19_oversize_messages_without_a_declared_limit() {
    let catalogue = catalogue();
    let mut largest = 0;
    for trial in
        plan::trials(&catalogue, &plain(), &Selection { words: Vec::new(), all: false, ..Selection::default() })
    {
        for variant in &trial.case.variants {
            let Body::Steps(steps) = &variant.body else { continue };
            for step in steps.iter() {
                let most = match step {
                    Step::Say(say) => say.bytes.iter().copied().max().unwrap_or(0),
                    Step::Send(send) => {
                        send.frames.iter().map(|frame| frame.text.len() * frame.times).max().unwrap_or(0)
                    }
                    _ => 0,
                };
                largest = largest.max(most);
                assert!(
                    most <= 64 << 10 || trial.case.head.needs.contains(&Need::MaxMessageBytes),
                    "{}",
                    trial.case.head.code
                );
            }
        }
    }
    assert!(largest >= 60_000, "the largest message that every server must take is {largest} bytes");
}

#[test]
fn r20_closing() {
    let must = head_of_a_case(Level::Must, Severity::Low);
    let failed = || Await { on: "main".to_owned(), what: Awaited::Failed, level: None };
    for code in [1002_u16, 1003, 1007, 1008, 1009, 1011, 1000, 4000] {
        assert_eq!(
            waited(failed(), &must, &[frame(CLOSE, &code.to_be_bytes()), What::End(End::Fin)]),
            Verdict::Pass,
            "{code}"
        );
    }
    for end in [What::End(End::Fin), What::End(End::Reset("reset".to_owned()))] {
        assert_eq!(waited(failed(), &must, &[end]), Verdict::Pass, "a bare end will do");
    }
    // To go on with the bad data is the failure.
    assert_eq!(waited(failed(), &must, &[frame(TEXT, b"bad data")]), Verdict::Fail);
    assert_eq!(
        waited(failed(), &must, &[frame(PONG, b"still there"), What::Silence(Duration::from_secs(1))]),
        Verdict::Fail
    );
}

#[test]
fn a_close_frame_is_judged_by_what_it_says_also_where_it_answers_ours() {
    let must = head_of_a_case(Level::Must, Severity::Low);
    let ours = |code| What::Sent { opcode: Some(CLOSE), payload: u16::to_be_bytes(code).to_vec() };
    let closing = |what: Awaited, sent: u16, answer: &[u8]| {
        let wait = Await { on: "main".to_owned(), what, level: None };
        waited(wait, &must, &[ours(sent), frame(CLOSE, answer), What::End(End::Fin)])
    };
    // A complaint about a legal code is none of an illegal one, and to repeat a code is no complaint.
    for (sent, answer, verdict) in [
        (4000, 4000, Verdict::Pass),
        (4000, 1000, Verdict::Pass),
        (4000, 1002, Verdict::Fail),
        (4000, 1007, Verdict::Fail),
        (1002, 1002, Verdict::Pass),
        (1007, 1002, Verdict::Fail),
    ] {
        assert_eq!(closing(Awaited::ClosedCleanly, sent, &u16::to_be_bytes(answer)), verdict, "{sent} {answer}");
        assert_eq!(closing(Awaited::Closed, sent, &u16::to_be_bytes(answer)), Verdict::Pass, "{sent} {answer}");
    }
    assert_eq!(closing(Awaited::ClosedCleanly, 4000, b""), Verdict::Pass);
    let end = Await { on: "main".to_owned(), what: Awaited::ClosedCleanly, level: None };
    assert_eq!(waited(end, &must, &[ours(4000), What::End(End::Fin)]), Verdict::Fail, "no close frame");

    for (code, verdict) in [
        (0, Verdict::Fail),
        (999, Verdict::Fail),
        (1000, Verdict::Pass),
        (1005, Verdict::Fail),
        (1006, Verdict::Fail),
        (1015, Verdict::Fail),
        (1004, Verdict::Pass),
        (4999, Verdict::Pass),
    ] {
        assert_eq!(closing(Awaited::LegalCloseCode, code, &u16::to_be_bytes(code)), verdict, "{code}");
    }
    assert_eq!(closing(Awaited::LegalCloseCode, 1006, b""), Verdict::Pass);
    assert_eq!(closing(Awaited::WellFormedClose, 1000, &[3; 126]), Verdict::Fail);
    assert_eq!(closing(Awaited::WellFormedClose, 1000, b"\x03\xe8\xff"), Verdict::Fail, "no UTF-8");
    assert_eq!(closing(Awaited::WellFormedClose, 1000, &1000_u16.to_be_bytes()), Verdict::Pass);
}

#[test]
fn what_a_server_need_not_do_is_not_asked_of_it() {
    let cases = r#"
  - code: TST-001
    name: compression
    title: none
    level: must
    severity: high
    source: [x]
    steps:
      - open: { request: { set: { Sec-WebSocket-Extensions: permessage-deflate } }, given: compression }
      - await: { what: { pong: never } }
  - code: TST-002
    name: admission
    title: none
    level: must
    severity: high
    source: [x]
    steps:
      - open: { token: absent, given: admitted }
      - alive: {}
"#;
    let server = StandIn::new(|stream, _, head| match token(head) {
        Some(_) => serve(stream, head),
        None => answer(stream, "401 Unauthorized"),
    });
    let report = run(&own_cases(cases), &Target::new(&server.url(), SECRET).unwrap());
    for trial in &report.trials {
        assert_eq!(trial.verdict, Verdict::NotApplicable, "{report}");
    }
    assert_eq!(report.trials.len(), 2);
}

#[test]
fn an_extension_is_judged_by_the_offer_that_was_sent() {
    let must = head_of_a_case(Level::Must, Severity::Low);
    let answered = |offer: &str, answer: &[(&str, &str)]| {
        let all = vec![head(101, answer), frame(TEXT, b"welcome")];
        let marks = vec![Mark { step: 0, connection: 0, from: 0, to: 2, said: Vec::new(), ..Mark::default() }];
        let sent = format!("GET / HTTP/1.1\r\nSec-WebSocket-Extensions: {offer}\r\n\r\nSec-WebSocket-Extensions: x");
        let connection = Connection {
            name: "main".to_owned(),
            sent: sent.into_bytes(),
            key: None,
            token: None,
            tls: None,
            events: events(all),
        };
        let observation = Observation { began: 0.0, connections: vec![connection], marks, ..Observation::default() };
        let wanted = gatecrash::case::Answer { extensions: true, ..Default::default() };
        let steps = [Step::Open(Box::new(Open { answer: Some(wanted), ..Open::default() }))];
        Verdict::of(&judge::session(&must, &steps, &observation, &Profile::default(), &Learned::default()))
    };
    let extensions = |value| [("Sec-WebSocket-Extensions", value)];
    assert_eq!(answered("permessage-deflate", &[]), Verdict::Pass, "declined");
    assert_eq!(answered("permessage-deflate", &extensions("permessage-deflate")), Verdict::Pass);
    assert_eq!(answered("permessage-deflate; foo", &extensions("permessage-deflate")), Verdict::Fail);
    assert_eq!(answered("permessage-deflate", &extensions("x")), Verdict::Fail);
}

#[test]
fn r21_nested_and_encrypted_tokens() {
    let catalogue = catalogue();
    for code in ["SIG-054", "SIG-056", "SIG-057"] {
        let case = case(&catalogue, code);
        assert_eq!(case.head.level, Level::Must, "{code}");
        for open in openings(case) {
            assert_eq!(open.expect, Expect::Refused, "{code}");
            assert_eq!(judged(open), Some(Answer::Refuse), "{code}: so says the oracle");
        }
    }
}

#[test]
fn r22_equivalent_hmac_keys() {
    // The secret with a NUL behind it, and its hash where it is longer than a block, are the same key.
    let cases = |key: &str| {
        format!(
            "  - {{ code: TST-001, name: key, title: a key, level: must, severity: critical, source: [x], token: {{ forge: [ {{ sign: {{ key: {key} }} }} ] }}, expect: refused }}\n"
        )
    };
    let server = StandIn::new(|stream, _, head| serve(stream, head));
    let secret = "changeme-and-no-longer-than-this";
    for key in [
        format!("{{ text: {secret} }}"),
        format!("{{ text: \"{secret}\\0\" }}"),
        format!("{{ text: \"{secret}\\0\\0\\0\" }}"),
    ] {
        let report = run(&own_cases(&cases(&key)), &Target::new(&server.url(), secret).unwrap());
        assert_eq!(report.trials[0].verdict, Verdict::NotApplicable, "{key}: {report}");
    }
    let long = "x".repeat(65);
    let hash = hex_of_sha256_of_65_x();
    let report =
        run(&own_cases(&cases(&format!("{{ hex: \"{hash}\" }}"))), &Target::new(&server.url(), &long).unwrap());
    assert_eq!(report.trials[0].verdict, Verdict::NotApplicable, "{report}");
    // Another key is a forgery, and a server that admits it fails.
    for key in ["{ text: changeme }", "empty", "wrong"] {
        let report = run(&own_cases(&cases(key)), &Target::new(&server.url(), secret).unwrap());
        assert_eq!(report.trials[0].verdict, Verdict::Fail, "{key}: {report}");
    }
}

/// The SHA-256 of 65 times the letter x.
fn hex_of_sha256_of_65_x() -> &'static str {
    "9537c5fdf120482f7d58d25e9ed583f52c02b4e304ea814db1633ad565aed7e9"
}

#[test]
fn no_case_about_tokens_accuses_a_correct_verifier() {
    // Beyond the single rules: what every case of the token families expects is what the oracle, which judges the bytes,
    // allows a correct verifier to do.
    let catalogue = catalogue();
    let mut wrong = Vec::new();
    let (mut looked, selection) = (0, Selection { words: Vec::new(), all: true, ..Selection::default() });
    for trial in plan::trials(&catalogue, &plain(), &selection) {
        let head = &trial.case.head;
        if trial.skip.is_some() || !head.family_is_of_tokens() {
            continue;
        }
        for open in openings(&trial.case).into_iter().filter(|open| open.carry == Carry::default()) {
            let Some(answer) = judged(open) else { continue };
            looked += 1;
            let accuses = match open.expect {
                Expect::Admitted => answer == Answer::Refuse || (answer == Answer::Either && head.level == Level::Must),
                Expect::Refused => answer == Answer::Accept || (answer == Answer::Either && head.level == Level::Must),
                _ => false,
            };
            if accuses {
                wrong.push(format!(
                    "{} expects {:?} at {:?}, the oracle says {answer:?}: {}",
                    head.code,
                    open.expect,
                    head.level,
                    written(open)
                ));
            }
        }
    }
    assert!(looked > 150, "only {looked}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
