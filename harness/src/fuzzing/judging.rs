//! The judge: whatever a session of a bundled case saw, it answers, by evidence, and its answers agree.

use std::time::Duration;

use arbitrary::{Result, Unstructured};

use super::seen::{self, TRIALS};
use crate::case::{Across, Body, CaseText, Expect, Step};
use crate::judge::{self, Heard, Learned, Run, Seen, Weight};
use crate::observation::{Event, Observation, What};
use crate::outcome::{self, Outcome};
use crate::plan::Trial;
use crate::profile::{Class, Profile};
use crate::report::Failure;
use crate::target::Target;
use crate::token::Keyring;
use crate::verdict::{Check, Grade, Verdict};
use crate::wire::frame::{CLOSE, Frame, PING, PONG, TEXT};

/// The body of the target `judge`.
pub(super) fn judge(input: &[u8]) {
    // Bytes that end early leave values out; what was made of them by then is nothing.
    let _ = match named(input) {
        Some((which, rest)) => judged(which, &mut Unstructured::new(rest)),
        None => {
            let mut u = Unstructured::new(input);
            seen::trial(&mut u).and_then(|which| judged(which, &mut u))
        }
    };
}

/// The trial that the first line of an input names by its case and its target, as in `SIG-008 omni2`: a seed keeps its
/// meaning when the catalogue grows.
fn named(input: &[u8]) -> Option<(Which, &[u8])> {
    let end = input.iter().take(40).position(|byte| *byte == b'\n')?;
    let (code, preset) = std::str::from_utf8(&input[..end]).ok()?.split_once(' ')?;
    let (target, trials) = TRIALS.iter().find(|(target, _)| target.profile.name == preset)?;
    let trial = trials.iter().find(|trial| trial.case.head.code == code)?;
    Some(((target, trial), &input[end + 1..]))
}

type Which = (&'static Target, &'static Trial<'static>);

fn judged((target, trial): Which, u: &mut Unstructured<'_>) -> Result<()> {
    let head = trial.head();
    for failure in [None, Some(Failure::Interrupted), Some(Failure::Unreachable(String::new()))] {
        assert_ne!(Verdict::of(&judge::not_run(&head, failure.as_ref())), Verdict::Pass, "passed without a control");
    }
    let learned = seen::learned(u, target)?;
    match &u.choose(&trial.case.variants)?.body {
        Body::Steps(steps) => session(u, &head, steps, target, &learned)?,
        Body::Across(question) => across(u, &head, *question, target, &learned)?,
        Body::Lint(lint) => answers(&judge::lint(&head, *lint, target)),
    }
    Ok(())
}

/// Every check says what it asked for.
fn answers(checks: &[Check]) {
    for check in checks {
        assert!(!check.expected.is_empty(), "asked for nothing: {check:?}");
    }
}

fn grades(checks: Vec<Check>) -> Vec<(Grade, String)> {
    checks.into_iter().map(|check| (check.grade, check.expected)).collect()
}

fn session(
    u: &mut Unstructured<'_>,
    head: &CaseText,
    steps: &[Step],
    target: &Target,
    learned: &Learned,
) -> Result<()> {
    let seen = seen::observation(u, steps, target, learned)?;
    let grade = |seen: &Observation| judge::session(head, steps, seen, &target.profile, learned);
    let checks = grade(&seen);
    answers(&checks);
    assert_eq!(grade(&seen), checks, "another answer to the same");
    without_events(&seen, &grade);
    for connection in &seen.connections {
        attempt(head, &connection.events, learned.speaks);
    }
    if let ([Step::Open(open)], [connection], [mark], [first, ..]) =
        (steps, &seen.connections[..], &seen.marks[..], &checks[..])
        && (mark.step, mark.connection, &mark.trouble) == (0, 0, &None)
    {
        plainly(open.expect, mark.until(connection), first);
    }
    let place = (u.int_in_range(0..=2)?, u.int_in_range(0..=40)?);
    assert_eq!(grades(grade(&pinged(&seen, place))), grades(checks), "a ping of the server changed the verdict");
    Ok(())
}

/// Where nothing happened nothing is earned, whatever was meant to be said.
fn without_events(seen: &Observation, grade: &dyn Fn(&Observation) -> Vec<Check>) {
    let mut silent = Observation { fetches: None, ..seen.clone() };
    for connection in &mut silent.connections {
        connection.events.clear();
        connection.tls = None;
    }
    for check in grade(&silent) {
        assert_ne!(check.grade, Grade::Pass, "earned by nothing: {check:?}");
    }
    assert_ne!(Verdict::of(&grade(&Observation::default())), Verdict::Pass, "passed without an observation");
}

/// Whatever came of one attempt is one of three: served, refused, or no answer to the question; and to allow more never
/// fails what passed.
fn attempt(head: &CaseText, events: &[Event], speaks: bool) {
    let outcome = outcome::of(events, speaks);
    let kinds = [outcome.is_served(), outcome.is_refused(), outcome.is_undecided()];
    assert_eq!(kinds.into_iter().filter(|kind| *kind).count(), 1, "{outcome}");
    let passes = |expect| judge::expected(Weight::of(head), expect, &outcome).grade == Grade::Pass;
    assert!(!(passes(Expect::Admitted) && passes(Expect::Refused)), "both admitted and refused: {outcome}");
    assert!(!(passes(Expect::Admitted) && passes(Expect::NotUpgraded)), "admitted without an upgrade: {outcome}");
    if passes(Expect::Admitted) || passes(Expect::Refused) {
        let either = judge::expected(Weight::of(head), Expect::Either, &outcome).grade;
        assert!(either < Grade::Warn, "either is more than one: {outcome}");
    }
    assert!(!passes(Expect::Admitted) || passes(Expect::Survives), "admitted, but not alive: {outcome}");
    // A refusal within the time is a refusal.
    assert!(!passes(Expect::RefusedInTime) || passes(Expect::Refused), "refused in time, but not refused: {outcome}");
}

/// What anybody would say of the plainest of answers, looked up without the code of the outcome.
fn plainly(expect: Expect, events: &[Event], check: &Check) {
    let Some(Event { what: What::Head(first), .. }) = events.first() else { return };
    let passes = check.grade == Grade::Pass;
    if (400..429).contains(&first.status) {
        assert!(!(passes && expect == Expect::Admitted), "HTTP {} is no admission: {check:?}", first.status);
        assert!(passes || expect != Expect::Refused, "HTTP {} is a refusal: {check:?}", first.status);
    }
    let served = match events.get(1).map(|event| &event.what) {
        Some(What::Frame(frame)) => frame.opcode == TEXT && frame.fin && frame.rsv == 0 && !frame.masked,
        _ => false,
    };
    let only = |event: &Event| match &event.what {
        What::Frame(frame) => frame.opcode != CLOSE,
        What::Sent { opcode, .. } => *opcode != Some(CLOSE),
        what => !matches!(what, What::Presented { .. } | What::End(_) | What::Head(_) | What::Garbage(_)),
    };
    if first.status == 101 && served && events[1..].iter().all(only) {
        assert!(!(passes && expect == Expect::Refused), "served, and yet refused: {check:?}");
        assert!(passes || expect != Expect::Admitted, "served, and yet not admitted: {check:?}");
    }
}

/// Puts a ping of the server, and the pong that a client owes it, at a place of a connection.
fn pinged(seen: &Observation, (connection, place): (usize, usize)) -> Observation {
    let mut pinged = seen.clone();
    let Some(log) = pinged.connections.get_mut(connection) else { return pinged };
    let place = place.min(log.events.len());
    let at = log.events.get(place).or(log.events.last()).map_or(Duration::ZERO, |event| event.at);
    let ping = Frame { fin: true, rsv: 0, opcode: PING, masked: false, payload: b"are you there".to_vec() };
    let pong = What::Sent { opcode: Some(PONG), payload: ping.payload.clone() };
    log.events.splice(place..place, [What::Frame(ping), pong].map(|what| Event { at, what }));
    for mark in pinged.marks.iter_mut().filter(|mark| mark.connection == connection) {
        // What began later begins two events later; what ended before ends where it did.
        mark.from += if place < mark.from { 2 } else { 0 };
        mark.to += if place < mark.to { 2 } else { 0 };
    }
    pinged
}

/// A question to a whole run is answered whatever the run saw; without refusals, and without controls, nothing passes
/// that rests on them.
fn across(
    u: &mut Unstructured<'_>,
    head: &CaseText,
    question: Across,
    target: &Target,
    learned: &Learned,
) -> Result<()> {
    const EXPECTATIONS: [Expect; 5] =
        [Expect::Refused, Expect::Refused, Expect::Admitted, Expect::Either, Expect::NotUpgraded];
    let mut connections = Vec::new();
    for _ in 0..u.int_in_range(0..=4)? {
        let class = if u.ratio(3, 4)? { Some(*u.choose(&Class::ALL)?) } else { None };
        connections.push((seen::connection(u, target, learned)?, *u.choose(&EXPECTATIONS)?, class));
    }
    let outcomes: Vec<Outcome> =
        connections.iter().map(|(connection, _, _)| outcome::of(&connection.events, learned.speaks)).collect();
    let seen = |keep: &dyn Fn(&Outcome, Expect) -> bool| {
        let all = connections.iter().zip(&outcomes);
        all.filter(|((_, expect, _), outcome)| keep(outcome, *expect))
            .map(|((connection, expect, class), outcome)| Seen {
                code: "TST-001",
                class: *class,
                expect: *expect,
                elsewhere: false,
                outcome,
                connection,
            })
            .collect()
    };
    let heard: Vec<Heard<'_>> =
        connections.iter().map(|(connection, _, _)| Heard { code: "TST-001", connection }).collect();
    let run = |seen, controls| Run {
        seen,
        heard: heard.clone(),
        controls,
        witness: connections.first().map(|(connection, _, _)| connection),
        keys: &target.keys,
        host: &target.endpoint.host,
        profile: &target.profile,
        refusal_budget: Duration::from_secs(1),
        echo_is_promised: learned.echo_is_promised,
    };
    let whole = run(seen(&|_, _| true), &outcomes);
    let checks = judge::across(head, question, &whole);
    answers(&checks);
    assert_eq!(judge::across(head, question, &whole), checks, "another answer to the same");

    let no_controls = judge::across(head, Across::Controls, &run(seen(&|_, _| true), &[]));
    assert_ne!(Verdict::of(&no_controls), Verdict::Pass, "no control, and yet all of them were admitted");
    let nothing = Run {
        seen: Vec::new(),
        heard: Vec::new(),
        controls: &[],
        witness: None,
        keys: &Keyring::new(),
        host: "localhost",
        profile: &Profile::default(),
        refusal_budget: Duration::from_secs(1),
        echo_is_promised: true,
    };
    assert_ne!(Verdict::of(&judge::across(head, question, &nothing)), Verdict::Pass, "passed on nothing");
    if asks_refusals(question) {
        // What was not refused tells nothing about how refusals are told.
        let unrefused = run(seen(&|outcome, _| !outcome.is_refused()), &outcomes);
        assert_ne!(Verdict::of(&judge::across(head, question, &unrefused)), Verdict::Pass, "no refusal was seen");
    }
    Ok(())
}

/// The questions about how a refusal is told, by their names.
fn asks_refusals(question: Across) -> bool {
    matches!(
        question,
        Across::Signal(_)
            | Across::NoDataBeforeClose
            | Across::Prompt
            | Across::Deliberate
            | Across::NotSuccess
            | Across::LegalCloseCode
            | Across::MeaningfulCloseCode
            | Across::WellFormedClose
            | Across::OneSignalPerClass
            | Across::TokenNotReflected
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The fuzzer found a step that passed although nobody saw what it asks about; this asks every step of every case.
    #[test]
    fn no_step_of_any_case_is_passed_by_nothing() {
        for (target, trials) in TRIALS.iter() {
            for trial in trials {
                for variant in &trial.case.variants {
                    let Body::Steps(steps) = &variant.body else { continue };
                    // Without a byte every step leaves its mark, and nothing happens.
                    let silent = &mut Unstructured::new(&[]);
                    let learned = seen::learned(silent, target).expect("what was learned");
                    let seen = seen::observation(silent, steps, target, &learned).expect("an observation");
                    let head = trial.head();
                    without_events(&seen, &|seen| judge::session(&head, steps, seen, &target.profile, &learned));
                }
            }
        }
    }

    /// The fuzzer can only ask what some target here can be asked.
    #[test]
    fn nearly_every_case_applies_to_a_target() {
        let played: BTreeSet<&str> =
            TRIALS.iter().flat_map(|(_, trials)| trials).map(|trial| trial.case.head.code.as_str()).collect();
        let cases = &seen::CATALOGUE.cases;
        let never: Vec<&str> =
            cases.iter().map(|case| case.head.code.as_str()).filter(|code| !played.contains(code)).collect();
        assert!(10 * never.len() < cases.len(), "{} of {} never: {never:?}", never.len(), cases.len());
    }

    #[test]
    fn a_seed_names_its_trial() {
        let (which, rest) = named(b"SIG-008 omni2\n\x01\x02").expect("a trial");
        assert_eq!((which.0.profile.name.as_str(), which.1.case.head.code.as_str()), ("omni2", "SIG-008"));
        assert_eq!(rest, b"\x01\x02");
        assert!(named(b"SIG-008 omni3\n").is_none() && named(b"SIG-008").is_none());
    }
}
