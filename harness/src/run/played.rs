//! What the trials of a run did and saw, and what can be read from that without a verdict.

use std::time::Duration;

use crate::case::{Body, Expect, Step, Variant};
use crate::judge::{Heard, Seen};
use crate::observation::{Connection, Mark, Observation, Trouble};
use crate::outcome::{self, Outcome};
use crate::plan::{Trial, class_of};
use crate::profile::Class;
use crate::target::Target;
use crate::wire::frame::Frame;

/// What one trial did and saw.
pub(super) struct Played<'a> {
    pub(super) trial: &'a Trial<'a>,
    /// The seeds of its variants, in order.
    pub(super) seeds: Vec<u64>,
    pub(super) observations: Vec<Observation>,
    /// What came of every step on a connection, by variant and mark.
    pub(super) outcomes: Vec<Vec<Outcome>>,
    pub(super) took: Duration,
    /// Why no control speaks for it, if none does: then nothing that it saw is believed.
    pub(super) doubt: Option<String>,
    /// What the harness panicked with while it played this, if it did.
    pub(super) panicked: Option<String>,
    /// What came of the control after it where this trial, played by itself, has ended the server twice.
    pub(super) killed: Option<String>,
}

impl<'a> Played<'a> {
    /// Nothing is known of it yet.
    pub(super) fn of(trial: &'a Trial<'a>) -> Self {
        let (seeds, observations, outcomes) = (Vec::new(), Vec::new(), Vec::new());
        Self { trial, seeds, observations, outcomes, took: Duration::ZERO, doubt: None, panicked: None, killed: None }
    }

    /// This is what it saw, of a server that `speaks` or does not.
    pub(super) fn ended(trial: &'a Trial<'a>, observations: Vec<Observation>, speaks: bool) -> Self {
        let of = |(observation, variant): (&Observation, &Variant)| {
            let of_mark = |mark: &Mark| {
                let connection = observation.connections.get(mark.connection);
                let events = connection.map_or(&[][..], |connection| mark.until(connection));
                match &variant.body {
                    Body::Steps(steps) => match steps.get(mark.step) {
                        Some(Step::Open(open)) => outcome::of_opening(events, speaks, open),
                        _ => outcome::of(events, speaks),
                    },
                    Body::Across(_) | Body::Lint(_) => outcome::of(events, speaks),
                }
            };
            observation.marks.iter().map(of_mark).collect()
        };
        let outcomes = observations.iter().zip(&trial.case.variants).map(of).collect();
        Self { observations, outcomes, ..Self::of(trial) }
    }

    /// Whether the server broke off a connection of it, and none was ended as by a server that is told to stop.
    pub(super) fn is_broken_off(&self) -> bool {
        let connections = || self.observations.iter().flat_map(|observation| &observation.connections);
        connections().any(Connection::is_broken_off)
            && !connections().any(|connection| connection.close().is_some_and(Frame::is_going_away))
    }

    /// Whether the server asked to slow down, or refused a token that the case has it admit: there may be too many at once.
    pub(super) fn is_turned_away(&self) -> bool {
        let by_variant = self.trial.case.variants.iter().zip(&self.observations).zip(&self.outcomes);
        by_variant.into_iter().any(|((variant, observation), outcomes)| {
            let Body::Steps(steps) = &variant.body else { return false };
            observation.marks.iter().zip(outcomes).any(|(mark, outcome)| match steps.get(mark.step) {
                Some(Step::Open(open)) => match outcome {
                    Outcome::Throttled(_) => true,
                    other => open.expect == Expect::Admitted && other.is_refused(),
                },
                _ => false,
            })
        })
    }

    /// Why this target gives no way to play it, if it does not.
    pub(super) fn not_applicable(&self) -> Option<String> {
        self.observations.iter().flat_map(|observation| &observation.marks).find_map(|mark| match &mark.trouble {
            Some(Trouble::NotApplicable(why)) => Some(why.clone()),
            _ => None,
        })
    }
}

/// The openings of the trials that are `believed`.
pub(super) fn seen<'a>(
    played: &'a [Played<'a>],
    target: &Target,
    believed: impl Fn(&Played<'_>) -> bool,
) -> Vec<Seen<'a>> {
    let mut all = Vec::new();
    for played in played.iter().filter(|played| believed(played)) {
        let case = &played.trial.case;
        let by_variant = case.variants.iter().zip(&played.observations).zip(&played.outcomes);
        for ((variant, observation), outcomes) in by_variant {
            let Body::Steps(steps) = &variant.body else { continue };
            for (mark, outcome) in observation.marks.iter().zip(outcomes) {
                let (Some(Step::Open(open)), Some(connection)) =
                    (steps.get(mark.step), observation.connections.get(mark.connection))
                else {
                    continue;
                };
                // At another door a refusal may be told in any way: a redirect, or nobody there. What comes second over
                // one connection may well find it ended.
                if open.request.is_side_door() || open.over.is_some() {
                    continue;
                }
                // A target that is told the token in a message may answer something else first: a message that came
                // before the token, or the end of the time in which it might have come.
                let clear = match connection.presented() {
                    None => true,
                    Some(token) => token && open.request.early.is_empty(),
                };
                let is_unlooked_at =
                    || connection.token.as_ref().is_some_and(|token| !target.comes_to_the_signature(token));
                let elsewhere = open.request.is_elsewhere();
                let class = class_of(case, open.class)
                    .filter(|class| clear && !elsewhere && !(*class == Class::BadSignature && is_unlooked_at()));
                let code = &case.head.code;
                all.push(Seen { code, class, expect: open.expect, elsewhere, outcome, connection });
            }
        }
    }
    all
}

/// The connections of the trials that are `believed`, whatever they were for.
pub(super) fn heard<'a>(played: &'a [Played<'a>], believed: impl Fn(&Played<'_>) -> bool) -> Vec<Heard<'a>> {
    let believed = played.iter().filter(|played| believed(played));
    let connections = believed.flat_map(|played| {
        let connections = played.observations.iter().flat_map(|observation| &observation.connections);
        connections.map(|connection| (played.trial.case.head.code.as_str(), connection))
    });
    connections.map(|(code, connection)| Heard { code, connection }).collect()
}

/// How the forged tokens of these trials were refused.
pub(super) fn forged(played: &[Played<'_>], target: &Target) -> Vec<Outcome> {
    let seen = seen(played, target, |_| true);
    let forged = seen.into_iter().filter(|seen| seen.class == Some(Class::BadSignature) && seen.outcome.is_refused());
    forged.map(|seen| seen.outcome.clone()).collect()
}

/// What was played since the last good control; first that whose connection the server broke off.
pub(super) fn played_since(fresh: &[Played<'_>]) -> String {
    let ids = |broken: bool| {
        let those = fresh.iter().filter(|played| played.is_broken_off() == broken);
        those.map(|played| played.trial.id()).collect::<Vec<_>>().join(", ")
    };
    match (ids(true), ids(false)) {
        (broken, others) if broken.is_empty() => format!("played since the last good control: {others}"),
        (broken, others) if others.is_empty() => {
            format!("played since the last good control, and broken off by the server: {broken}")
        }
        (broken, others) => {
            format!("since the last good control the server broke off {broken}; played as well: {others}")
        }
    }
}
