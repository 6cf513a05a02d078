//! The harness's rooms at work, one after the other as a run calls them; no sockets.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use gatecrash::Catalogue;
use gatecrash::case::{Body, Case};
use gatecrash::judge::{self, Learned};
use gatecrash::observation::{Connection, End, Event, Mark, Observation, What};
use gatecrash::plan::{self, Selection};
use gatecrash::profile::Profile;
use gatecrash::redact::Redactor;
use gatecrash::report::terminal::{self, Style};
use gatecrash::report::{Report, TrialReport, json};
use gatecrash::target::{Target, Templates};
use gatecrash::token::{Answer, Recipe, Rules, Token, forge, oracle};
use gatecrash::wire::answer::Head;
use gatecrash::wire::frame::{CLOSE, Frame, TEXT};

use crate::Task;

/// 2026-01-01.
const NOW: f64 = 1_767_225_600.0;
/// A case that every target is asked, and that wants a refusal.
const CASE: &str = "SIG-008";

/// The target of the tasks: one of the four systems.
///
/// # Panics
///
/// Where the bundled profile is no profile.
pub fn target() -> Target {
    let preset = Profile::preset("omni2").expect("a bundled profile");
    let url = Some("ws://127.0.0.1:8000/ws?token={token}".to_owned());
    let secret = Some("a secret of 32 bytes for benches".to_owned());
    Target::from_profile(Profile { url, secret, ..preset }).expect("a target")
}

/// What is seen of a target that refuses a client by a close, or of one that serves it.
fn observation(token: &Token, served: bool) -> Observation {
    let frame = |opcode, payload: &[u8]| {
        What::Frame(Frame { fin: true, rsv: 0, opcode, masked: false, payload: payload.to_vec() })
    };
    let headers = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Date", "Thu, 01 Jan 2026 00:00:00 GMT")];
    let head = Head {
        minor_version: 1,
        status: 101,
        reason: "Switching Protocols".to_owned(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect(),
    };
    let answer = if served {
        frame(TEXT, br#"{"type":"initial_status","mcps":[]}"#)
    } else {
        frame(CLOSE, b"\x03\xf0Invalid or expired token")
    };
    let what = [What::Head(head), answer, What::End(End::Fin)];
    let events: Vec<Event> =
        what.into_iter().zip(1..).map(|(what, at)| Event { at: Duration::from_millis(at), what }).collect();
    let to = events.len();
    Observation {
        began: NOW,
        connections: vec![Connection {
            name: "main".to_owned(),
            sent: b"GET /ws HTTP/1.1\r\n\r\n".to_vec(),
            key: Some("dGhlIHNhbXBsZSBub25jZQ==".to_owned()),
            token: Some(token.clone()),
            tls: None,
            events,
        }],
        marks: vec![Mark { step: 0, connection: 0, from: 0, to, said: Vec::new(), ..Mark::default() }],
        ..Observation::default()
    }
}

/// A report of every trial, of which one in ten fails.
///
/// # Panics
///
/// Where the plan is empty.
pub fn report(catalogue: &Catalogue, target: &Target) -> Report {
    let trials = plan::trials(catalogue, target, &Selection::default());
    let redactor = Redactor::for_secrets(&target.secrets);
    let token = Token::new(b"eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl".to_vec());
    let mut report = Report::new(target, 7);
    for (trial, number) in trials.iter().zip(0..) {
        let mut entry = TrialReport::new(trial, catalogue);
        match (&trial.skip, trial.case.variants.first().map(|variant| &variant.body)) {
            (Some(why), _) => entry.not_applicable(why),
            (None, Some(Body::Steps(steps))) => {
                let seen = observation(&token, number % 10 == 0);
                entry.checks(
                    judge::session(&trial.head(), steps, &seen, &target.profile, &Learned::default()),
                    &redactor,
                );
            }
            (None, _) => entry.not_applicable("it looks across sessions"),
        }
        report.trials.push(entry);
    }
    assert!(report.failures().count() > 0, "a report of nothing");
    report
}

/// Every room, in the order in which a run passes through them.
///
/// # Panics
///
/// Where a room does not do what is to be measured.
pub fn tasks() -> Vec<Task> {
    let catalogue = Arc::new(Catalogue::bundled().expect("the catalogue"));
    let target = Arc::new(target());
    let templates = Arc::new(Templates::of(&target.profile));
    let mint = |recipe: Recipe| {
        let (target, templates) = (Arc::clone(&target), Arc::clone(&templates));
        move || forge(&recipe, &target.mint(&templates, NOW, "gatecrash-0000ff", 7)).expect("a token")
    };
    let valid = mint(Recipe::Valid)();
    let text = valid.text().expect("a text").to_owned();
    let rules = Rules::of(&target);
    assert_eq!(oracle(text.as_bytes(), &rules, NOW, 1.0).answer, Answer::Accept, "the valid token is valid");

    let case: Case = catalogue.case(CASE).expect("a case").clone();
    let Some(Body::Steps(steps)) = case.variants.first().map(|variant| variant.body.clone()) else {
        panic!("{CASE} has no steps")
    };
    let grade = |served| {
        let seen = observation(&valid, served);
        let (head, steps, target) = (case.head.clone(), steps.clone(), Arc::clone(&target));
        move || judge::session(&head, &steps, black_box(&seen), &target.profile, &Learned::default())
    };
    let (refused, served) = (grade(false), grade(true));
    assert_ne!(refused(), served(), "the judge sees no difference");

    let report = Arc::new(report(&catalogue, &target));
    let (forge_valid, planned) = (mint(Recipe::Valid), (Arc::clone(&catalogue), Arc::clone(&target)));
    let shown = Arc::clone(&report);
    let reports = [Report::clone(&report)];
    vec![
        Task::new("catalogue/bundled", || drop(black_box(Catalogue::bundled()))),
        Task::new("catalogue/checked", || drop(black_box(Catalogue::checked()))),
        Task::new("plan", move || drop(black_box(plan::trials(&planned.0, &planned.1, &Selection::default())))),
        Task::new("forge/valid", move || drop(black_box(forge_valid()))),
        Task::new("oracle/valid", move || drop(black_box(oracle(black_box(text.as_bytes()), &rules, NOW, 1.0)))),
        Task::new("judge/refused", move || drop(black_box(refused()))),
        Task::new("judge/served", move || drop(black_box(served()))),
        Task::new("report/terminal", move || {
            drop(black_box(terminal::write(&shown, Style::default(), "gatecrash run")))
        }),
        Task::new("report/json", move || drop(black_box(json::write(&reports)))),
    ]
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_room_can_be_entered() {
        for task in super::tasks() {
            task.run();
        }
    }
}
