//! The judge: expectation and observation in, checks out. The only maker of verdicts.
//!
//! Total and pure. It starts from nothing earned: a check passes by evidence, and an empty observation never passes.
//! Whether a client was let in and how a refusal was told are graded apart; the second is the business of the cases
//! that look across the run (`across`).

mod across;
mod answer;

pub use across::{Heard, Run, Seen, across, habit};

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;

use crate::case::{
    Alive, Await, Awaited, CaseText, Crowd, Expect, Fetches, Hear, Hello, Lint, Open, Receive, Stamp, Step,
};
use crate::hex;
use crate::observation::{Connection, End, Event, Mark, Message, Observation, Proofs, Trouble, What};
use crate::outcome::{self, Outcome};
use crate::profile::{Echo, FirstMessage, Profile, Shape, records};
use crate::redact::contains;
use crate::report::Failure;
use crate::target::Target;
use crate::token::{Algorithm, UNDECLARED_LEEWAY};
use crate::verdict::{Basis, Check, Grade, Level, Severity};
use crate::wire::frame;
use crate::wire::tls;

/// What the first control taught about a target. Facts that help to look, never expectations.
#[derive(Debug, Clone, Default)]
pub struct Learned {
    /// How the server answers messages: declared, or seen.
    pub echo: Option<Echo>,
    /// Whether that is a promise. What was only seen is a way to look, and silence then breaks no rule.
    pub echo_is_promised: bool,
    /// Whether an admitted client hears from the application: by a welcome or an echo.
    pub speaks: bool,
    /// From the dial to the proof of service, for a good token.
    pub control: Duration,
    /// Where forged tokens are refused by the end of the connection and no word: whether that comes after the upgrade.
    /// A crash then looks like a refusal.
    pub drops: Option<bool>,
}

/// How a rule binds and how bad it is to break it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    /// How strongly the rule binds.
    pub level: Level,
    /// How bad a violation is.
    pub severity: Severity,
    /// What the check rests on.
    pub basis: Basis,
}

impl Weight {
    /// The weight of a case.
    pub fn of(head: &CaseText) -> Self {
        Self { level: head.level, severity: head.severity, basis: head.level.into() }
    }

    /// The same weight at another level, if one is given.
    pub fn at(self, level: Option<Level>) -> Self {
        match level {
            Some(level) => Self { level, basis: level.into(), ..self },
            None => self,
        }
    }

    /// The grade of a broken rule.
    fn broken(self) -> Grade {
        match (self.level, self.basis) {
            (_, Basis::Contract) | (Level::Must, _) => Grade::Fail,
            (Level::Should, _) => Grade::Warn,
            (Level::May | Level::Info, _) => Grade::Info,
        }
    }

    fn check(self, grade: Grade, expected: impl Into<String>, observed: impl Into<String>) -> Check {
        Check {
            label: String::new(),
            grade,
            basis: self.basis,
            severity: self.severity,
            expected: expected.into(),
            observed: observed.into(),
        }
    }

    /// A check that passes or breaks the rule.
    fn holds(self, holds: bool, expected: impl Into<String>, observed: impl Into<String>) -> Check {
        self.check(if holds { Grade::Pass } else { self.broken() }, expected, observed)
    }
}

/// Grades what a played variant did and saw.
pub fn session(
    head: &CaseText,
    steps: &[Step],
    observation: &Observation,
    profile: &Profile,
    learned: &Learned,
) -> Vec<Check> {
    let weight = Weight::of(head);
    let mut checks = Vec::new();
    for mark in &observation.marks {
        let Some(step) = mark.filled.as_deref().or_else(|| steps.get(mark.step)) else { continue };
        match &mark.trouble {
            None | Some(Trouble::NothingKept) => {}
            // Nobody was let in or refused.
            Some(Trouble::Throttled) => {
                let Some(connection) = observation.connections.get(mark.connection) else { break };
                let outcome = outcome::of(&connection.events, learned.speaks);
                checks.push(weight.check(Grade::Inconclusive, "the opening is decided", outcome.to_string()));
                break;
            }
            // Nothing that follows rests on what was meant.
            Some(Trouble::NotApplicable(_)) => {
                // Half of a case proves nothing; what is wrong in it is.
                checks.retain(|check: &Check| check.grade > Grade::Info);
                break;
            }
            Some(Trouble::Fault(why)) => {
                checks.push(weight.check(Grade::Error, "the step can be played", why.clone()));
                break;
            }
        }
        if let Step::Fetches(fetches) = step {
            checks.push(fetched(weight, *fetches, observation));
        }
        if let Step::Crowd(crowd) = step {
            checks.extend(crowded(weight, crowd, mark, observation, profile, learned));
        }
        let Some(connection) = observation.connections.get(mark.connection) else { continue };
        match step {
            Step::Open(open) => {
                checks.extend(opened(weight, open, connection, mark, profile, learned));
                if let Some(earlier) = &open.told_like {
                    checks.push(told_like(weight, earlier, connection, observation, learned));
                }
            }
            Step::Hear(hear) => checks.extend(heard(weight, hear, mark, observation, profile, learned)),
            Step::Receive(receive) => checks.push(received(weight, receive, mark, connection)),
            Step::Alive(alive) => checks.push(lives(weight, alive, mark, connection, learned)),
            Step::Await(Await { what: what @ (Awaited::Heeded | Awaited::Unheeded), level, .. }) => {
                let early = Early { said: said_on(&observation.marks, mark.connection), connection, mark, learned };
                let weight = weight.at(*level);
                checks.push(if *what == Awaited::Heeded { early.heeded(weight) } else { early.unheeded(weight) });
            }
            Step::Await(wait) if matches!(wait.what, Awaited::NotServed) => {
                checks.push(not_served(weight.at(wait.level), mark, observation, profile, learned));
            }
            Step::Await(Await { what: Awaited::NotTaken, level, .. }) => {
                let said = said_on(&observation.marks, mark.connection);
                checks.push(not_taken(weight.at(*level), &said, mark, connection, learned));
            }
            Step::Await(wait) => checks.push(awaited(weight, wait, mark, connection, profile)),
            Step::Http(http) => checks.extend(answer::http(weight, http, observation, mark.connection, profile)),
            Step::Hello(hello) => checks.push(greeted(weight, *hello, mark, connection)),
            Step::Say(_) | Step::Send(_) | Step::Close(_) | Step::Cut(_) | Step::Abort(_) => {}
            // These look at more connections than one, or at none.
            Step::Wait(_) | Step::Crowd(_) | Step::Fetches(_) => {}
        }
        // What follows rests on it; where its own check does not fail, that must not pass for the rest.
        let left = steps.len().saturating_sub(mark.step + 1);
        if mark.trouble == Some(Trouble::NothingKept)
            && left > 0
            && !checks.iter().any(|check| check.grade == Grade::Fail)
        {
            let observed = format!("{left} step(s) were not played: what they need did not come");
            checks.push(weight.check(Grade::Inconclusive, "the steps are played", observed));
        }
    }
    checks
}

/// Nothing was fetched from the address that stood in a token.
fn fetched(weight: Weight, fetches: Fetches, observation: &Observation) -> Check {
    let weight = weight.at(Some(fetches.none));
    let expected = "no request to the address that stands in the token";
    let answered = |connection: &Connection| {
        connection.head().is_some() || matches!(connection.end(), Some(End::Fin | End::Reset(_) | End::TooMuch))
    };
    match &observation.fetches {
        None => weight.check(Grade::Inconclusive, expected, "nobody listened there"),
        Some(fetches) if fetches.is_empty() && !observation.connections.iter().any(answered) => {
            weight.check(Grade::Inconclusive, expected, "the target answered nothing")
        }
        Some(fetches) => {
            let observed = match fetches.first() {
                None => "none".to_owned(),
                Some(first) => {
                    let asked: String = first.asked.chars().take(80).collect();
                    format!("{} request(s), the first \"{}\"", fetches.len(), asked.escape_debug())
                }
            };
            weight.holds(fetches.is_empty(), expected, observed)
        }
    }
}

/// A greeting in an old version was not answered in it.
fn greeted(weight: Weight, hello: Hello, mark: &Mark, connection: &Connection) -> Check {
    let offered = tls::version_name(hello.version.number());
    let expected = format!("the handshake is refused to a client that offers no more than {offered}");
    for event in mark.part(connection) {
        match &event.what {
            What::Tls(tls::Answer::ServerHello(version)) => {
                let agreed = format!("the server went on in {}", tls::version_name(*version));
                return weight.holds(*version > hello.version.number(), expected, agreed);
            }
            What::Tls(tls::Answer::Alert(description)) => {
                let named = if *description == 70 { ", protocol_version" } else { "" };
                return weight.holds(true, expected, format!("alert {description}{named}"));
            }
            What::Garbage(what) => return weight.holds(true, expected, what.clone()),
            What::End(End::NoConnection(why)) => {
                return weight.check(Grade::Inconclusive, expected, format!("no connection ({why})"));
            }
            What::End(_) => return weight.holds(true, expected, "the end of the connection"),
            _ => {}
        }
    }
    weight.check(Grade::Inconclusive, expected, since(connection, mark))
}

/// Grades one opening.
fn opened(
    weight: Weight,
    open: &Open,
    connection: &Connection,
    mark: &Mark,
    profile: &Profile,
    learned: &Learned,
) -> Vec<Check> {
    let outcome = outcome::of_opening(mark.until(connection), learned.speaks, open);
    let weight = weight.at(open.level);
    let is_habit = matches!(open.expect, Expect::Survives | Expect::NoServerError)
        && matches!(outcome, Outcome::Dropped { upgraded } if learned.drops == Some(upgraded));
    let weight = weight.at((is_habit && weight.level == Level::Must).then_some(Level::Should));
    let mut checks = vec![match (open.expect, connection.head()) {
        (Expect::Upgraded, Some(head)) if head.status == 101 => weight.holds(true, expectation(open.expect), "101"),
        _ => expected(weight, open.expect, &outcome),
    }];
    // Where the end of the connection is right, an answer is judged only if there is one.
    let answered = open.expect != Expect::NoServerError || connection.head().is_some();
    if let Some(wanted) = open.answer.as_ref().filter(|_| answered) {
        checks.extend(answer::head(weight, wanted, connection));
        if let Some(selects) = wanted.selects {
            checks.extend(answer::selects(weight, selects, connection, profile));
        }
    }
    if open.certificate {
        let expected = "a certificate that holds for this host";
        checks.push(match &connection.tls {
            None => weight.check(Grade::Inconclusive, expected, "no certificate was seen"),
            Some(secured) => match &secured.certificate {
                Ok(()) => weight.holds(true, expected, format!("one that holds, over {}", secured.version)),
                Err(flaw) => weight.holds(false, expected, flaw.clone()),
            },
        });
    }
    checks
}

/// Everybody of a crowd came to what was asked, and half of them within the budget where that is asked.
fn crowded(
    weight: Weight,
    crowd: &Crowd,
    mark: &Mark,
    observation: &Observation,
    profile: &Profile,
    learned: &Learned,
) -> Vec<Check> {
    let connections = observation.connections.get(mark.connection..).unwrap_or_default();
    let members: Vec<(&Open, &Connection)> = crowd.members().zip(connections).collect();
    let mut checks = Vec::new();
    let usual = usual_refusal(&members, learned);
    for open in &crowd.of {
        let outcomes: Vec<Outcome> = members
            .iter()
            .filter(|(member, _)| std::ptr::eq(*member, open))
            .map(|(_, connection)| outcome::of(&connection.events, learned.speaks))
            .collect();
        let expected = format!("{} of {}: {}", crowd.times, crowd.times, expectation(open.expect));
        let graded: Vec<Check> = outcomes.iter().map(|outcome| self::expected(weight, open.expect, outcome)).collect();
        let right = graded.iter().filter(|check| check.grade <= Grade::Info).count();
        let other = graded.iter().filter(|check| check.grade > Grade::Info).max_by_key(|check| check.grade);
        let observed = match other {
            None => format!("{right} of {}", crowd.times),
            Some(other) => format!("{right} of {}; others: {}", crowd.times, other.observed),
        };
        // A good one that is told something else than the bad ones was not taken for one of them: there may be a limit.
        let is_limited = |outcome: &Outcome| {
            matches!(outcome, Outcome::Admitted(_)) || outcome.is_refused() && usual != Some(without_marks(outcome))
        };
        let limited =
            open.expect == Expect::Admitted && right > 0 && usual.is_some() && outcomes.iter().all(is_limited);
        let grade = match other {
            Some(other) if limited => other.grade.min(Grade::Inconclusive),
            Some(other) => other.grade,
            // Nobody seen is nothing earned.
            None if right < crowd.times || crowd.times == 0 => Grade::Inconclusive,
            None => Grade::Pass,
        };
        checks.push(Check { label: open.name.clone(), ..weight.check(grade, expected, observed) });
    }
    if crowd.in_budget {
        let mut times: Vec<Duration> = members.iter().filter_map(|(_, connection)| connection.answered_at()).collect();
        times.sort_unstable();
        let budget = Duration::from_millis(profile.handshake_budget_ms.unwrap_or(250));
        let expected = format!("half of the handshakes within {} ms", budget.as_millis());
        checks.push(match times.get(times.len() / 2) {
            None => weight.check(Grade::Inconclusive, expected, "no answer"),
            Some(median) => weight.holds(*median <= budget, expected, format!("within {} ms", median.as_millis())),
        });
    }
    checks
}

/// How most of those are refused that must be.
fn usual_refusal(members: &[(&Open, &Connection)], learned: &Learned) -> Option<Outcome> {
    let told = members
        .iter()
        .filter(|(open, _)| open.expect == Expect::Refused)
        .map(|(_, connection)| without_marks(&outcome::of(&connection.events, learned.speaks)))
        .filter(Outcome::is_refused)
        .collect::<Vec<_>>();
    told.iter().max_by_key(|one| told.iter().filter(|other| other == one).count()).cloned()
}

/// A refusal without what may differ each time, such as a number by which it is found in a log.
fn without_marks(outcome: &Outcome) -> Outcome {
    match outcome {
        Outcome::RefusedClose { code, reason, data_before } => {
            Outcome::RefusedClose { code: *code, reason: without_numbers(reason), data_before: *data_before }
        }
        Outcome::RefusedMessage(text) => Outcome::RefusedMessage(without_numbers(text)),
        other => other.clone(),
    }
}

/// The beginning of what a server said.
fn excerpt(text: &str) -> String {
    text.chars().take(60).collect::<String>().escape_debug().to_string()
}

/// The words of a text, or of a JSON document, that have no digit, and its codes of errors.
fn without_numbers(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c == '"').filter(|word| !word.is_empty());
    // The code of an error is a number, too, and says something.
    let code = |word: &str| word.trim_matches([':', ',', '{', '}', '[', ']']).parse::<u16>();
    let is_code = |word: &str| code(word).is_ok_and(|code| matches!(code, 400..=599 | 3000..=4999));
    words.filter(|word| is_code(word) || !word.bytes().any(|byte| byte.is_ascii_digit())).collect::<Vec<_>>().join(" ")
}

/// What was sent along with an opening, and what became of it.
struct Early<'a> {
    said: Vec<String>,
    connection: &'a Connection,
    mark: &'a Mark,
    learned: &'a Learned,
}

impl Early<'_> {
    /// How many of the messages were answered.
    fn answered(&self) -> usize {
        let Some(echo) = &self.learned.echo else { return 0 };
        let given = answers(self.connection, 0, self.learned);
        if echo.is_faithful() {
            return self.said.iter().filter(|word| given.contains(word)).count();
        }
        given.len().saturating_sub(probes(self.connection, echo).len())
    }

    fn heeded(&self, weight: Weight) -> Check {
        let expected = "an answer to what was sent along with the opening, or the end of the connection";
        let ends = |event: &Event| match &event.what {
            What::Frame(frame) => frame.opcode == frame::CLOSE,
            What::End(_) => true,
            _ => false,
        };
        let ended = self.mark.until(self.connection).iter().any(ends);
        let answered = self.answered() >= self.said.len() && !self.said.is_empty();
        let observed = match (answered, ended) {
            (true, _) => "an answer".to_owned(),
            (false, true) => "the end of the connection".to_owned(),
            (false, false) => since(self.connection, self.mark),
        };
        weight.holds(answered || ended, expected, observed)
    }

    fn unheeded(&self, weight: Weight) -> Check {
        let expected = "no answer to what was sent too early or too late, and no frame behind a refusal";
        if !watched(self.connection, self.mark) {
            return weight.check(Grade::Inconclusive, expected, "nothing was observed");
        }
        let events = &self.connection.events;
        let refused = |event: &Event| match &event.what {
            What::Frame(frame) => frame.opcode == frame::CLOSE,
            What::Body { .. } => true,
            _ => false,
        };
        let (refusal, behind) = match events.iter().position(refused) {
            Some(at) => (Some(&events[at].what), &events[at + 1..]),
            None => (None, &[][..]),
        };
        // Until it has read a close frame a server has to answer pings, also behind its own (RFC 6455 §5.5.2).
        let may_pong = matches!(refusal, Some(What::Frame(_)));
        let spoke = |event: &Event| matches!(&event.what, What::Frame(frame) if frame.is_data() || frame.opcode == frame::PONG && !may_pong);
        let (answered, frames) = (self.answered(), behind.iter().filter(|event| spoke(event)).count());
        let observed = match (answered, frames) {
            (0, 0) => "neither".to_owned(),
            (0, frames) => format!("{frames} frame(s) behind the refusal"),
            (answered, _) => format!("{answered} answer(s)"),
        };
        weight.holds(answered == 0 && frames == 0, expected, observed)
    }
}

/// Two refusals were told in the same way.
fn told_like(
    weight: Weight,
    earlier: &str,
    connection: &Connection,
    observation: &Observation,
    learned: &Learned,
) -> Check {
    let told = |connection: &Connection| outcome::of(&connection.events, learned.speaks);
    let expected = format!("told in the same way as `{earlier}`");
    let Some(other) = observation.connections.iter().rfind(|other| other.name == earlier) else {
        return weight.check(Grade::Error, expected, "no earlier opening is called so");
    };
    let (this, other) = (told(connection), told(other));
    if let Some(undecided) = [&this, &other].into_iter().find(|outcome| outcome.is_undecided()) {
        return weight.check(Grade::Inconclusive, expected, undecided.to_string());
    }
    let same = without_marks(&this) == without_marks(&other);
    let observed = if same { this.to_string() } else { format!("{this}, and before: {other}") };
    weight.holds(same, expected, observed)
}

/// A client that was not admitted heard nothing that only an admitted one hears.
fn not_served(weight: Weight, mark: &Mark, observation: &Observation, profile: &Profile, learned: &Learned) -> Check {
    let connection = &observation.connections[mark.connection];
    let said: Vec<String> = observation.marks.iter().flat_map(|mark| mark.said.clone()).collect();
    let proofs = Proofs::of(profile, learned.echo.as_ref());
    let heard: Vec<String> = connection.messages().iter().map(Message::text).collect();
    let shown = |text: &String| format!("\"{}\"", excerpt(text));
    let expected = "nothing that only an admitted client hears";
    match heard.iter().find(|text| proofs.hold(text, &said)) {
        Some(text) => weight.holds(false, expected, shown(text)),
        None if !watched(connection, mark) => weight.check(Grade::Inconclusive, expected, "nothing was observed"),
        // A greeting of the protocol or an error: nothing says that it is service.
        None => weight.holds(true, expected, heard.first().map_or_else(|| since(connection, mark), shown)),
    }
}

/// What is longer than the server takes was not taken. To fail the connection is the library's way; an application may answer
/// by an error and go on, which is as good. Only an answer to the very words shows that they were taken.
fn not_taken(weight: Weight, said: &[String], mark: &Mark, connection: &Connection, learned: &Learned) -> Check {
    let expected = "the connection is failed (a close frame, or its end), or an error comes in place of an answer";
    let Came { closed, over, spoke } = Came::of(mark.part(connection));
    let tells = learned.echo.as_ref().is_some_and(Echo::is_faithful);
    let answered = answers(connection, mark.from, learned).iter().any(|answer| tells && said.contains(answer));
    if answered {
        return weight.holds(false, expected, "an answer to all that was said");
    }
    // Where no answer tells what it answers, nothing shows whether it is one; and silence may be a refusal.
    weight.at(Some(Level::Should)).holds(closed || over || tells && spoke, expected, since(connection, mark))
}

/// How long a server may take to end a connection that shows no token: as declared, or ten seconds, and two more.
pub fn auth_timeout(first: Option<&FirstMessage>) -> Duration {
    let declared = first.and_then(|first| first.timeout_ms).unwrap_or(10_000);
    Duration::from_millis(declared.min(FirstMessage::LONGEST_TIMEOUT_MS)) + Duration::from_secs(2)
}

/// The check of a case that could not be played.
pub fn not_run(head: &CaseText, why: Option<&Failure>) -> Vec<Check> {
    let why = match why {
        Some(Failure::Unreachable(_)) => "the target cannot be reached",
        Some(Failure::FirstControl(found)) => found.lead(),
        Some(Failure::NoToken(_)) => "there is no valid token",
        Some(Failure::Interrupted) => "interrupted",
        Some(Failure::Stopped { .. }) => "the run stopped before it",
        Some(Failure::ControlLost(_)) | None => "a control failed before it",
    };
    vec![Weight::of(head).check(Grade::Inconclusive, "the case is played", format!("not run: {why}"))]
}

/// How bad it is to be ended by a client, whatever the case asks.
pub fn severity_of_death(head: &CaseText) -> Severity {
    head.severity.max(Severity::High)
}

/// The check of a case that ended the server each time it was played by itself; `seen` is what the control after it saw.
pub fn killed(head: &CaseText, seen: &str) -> Check {
    let weight = Weight { severity: severity_of_death(head), ..Weight::of(head) }.at(Some(Level::Must));
    let observed = format!(
        "played by itself, twice, the server broke the connection off each time and had ended until it was started again ({seen})"
    );
    weight.holds(false, "the server lives on after the case", observed)
}

/// The check of a case on which the harness itself failed.
pub fn panicked(head: &CaseText, why: &str) -> Vec<Check> {
    let observed = format!("gatecrash panicked, which is a bug in gatecrash: {why}");
    vec![Weight::of(head).check(Grade::Error, "the case is played", observed)]
}

/// What an expectation says in words.
pub fn expectation(expect: Expect) -> &'static str {
    match expect {
        Expect::Admitted => "admitted (101, then a proof that the session is served)",
        Expect::Refused => "refused (HTTP 4xx, or 101 and close 1008, 3000, 3003 or 4xxx)",
        Expect::Either => "admitted or refused, both are right",
        Expect::Survives => "admitted or refused, without a server error",
        Expect::NoServerError => "admitted or refused, or the end of the connection, without a server error",
        Expect::RefusedInTime => "refused before the deadline (HTTP 4xx, or 101 and a close frame)",
        Expect::NotUpgraded => "no upgrade (HTTP 4xx preferred)",
        Expect::Upgraded => "101",
    }
}

/// Grades the outcome of one opening against what it must be.
pub fn expected(weight: Weight, expect: Expect, outcome: &Outcome) -> Check {
    let words = expectation(expect);
    // A target that speaks no WebSocket behind its 101 did not refuse; whether it would have is not to be seen.
    let unreadable = matches!(outcome, Outcome::NotWebSocket(_)) && expect != Expect::Refused;
    if outcome.is_undecided() && !unreadable {
        return weight.check(Grade::Inconclusive, words, outcome.to_string());
    }
    let right = match expect {
        Expect::Admitted => matches!(outcome, Outcome::Admitted(_)),
        Expect::Refused => outcome.is_refused(),
        // The 101 itself is the caller's to see.
        Expect::Upgraded => false,
        Expect::Either => return weight.check(Grade::Info, words, outcome.to_string()),
        Expect::Survives => !matches!(
            outcome,
            Outcome::ServerError(_)
                | Outcome::Dropped { .. }
                | Outcome::Hang
                | Outcome::Mute
                | Outcome::NotHttp(_)
                | Outcome::NotWebSocket(_)
        ),
        Expect::NoServerError => !matches!(
            outcome,
            Outcome::ServerError(_)
                | Outcome::Dropped { upgraded: true }
                | Outcome::Hang
                | Outcome::Mute
                | Outcome::NotHttp(_)
        ),
        Expect::RefusedInTime => outcome.is_refused() && !matches!(outcome, Outcome::Hang | Outcome::Mute),
        Expect::NotUpgraded => {
            matches!(
                outcome,
                Outcome::RefusedHttp(_)
                    | Outcome::OddStatus(_)
                    | Outcome::ServerError(_)
                    | Outcome::Dropped { upgraded: false }
                    | Outcome::Hang
                    | Outcome::NotHttp(_)
                    | Outcome::Shut(_)
            )
        }
    };
    weight.holds(right, words, outcome.to_string())
}

/// The messages that a connection's part of a session said, in order.
pub fn said_on(marks: &[Mark], connection: usize) -> Vec<String> {
    marks.iter().filter(|mark| mark.connection == connection).flat_map(|mark| mark.said.clone()).collect()
}

/// The messages that the server answered, in order, from event `from` on.
///
/// Where the echo does not say which message it answers, each answer is an empty text.
pub fn answers(connection: &Connection, from: usize, learned: &Learned) -> Vec<String> {
    let messages = connection.messages();
    let late = messages.iter().filter(|message| message.event >= from);
    late.flat_map(|message| answered_by(message, learned)).collect()
}

/// The messages that this one answers, if it is an answer. A text may well be answered by a binary message.
pub fn answered_by(message: &Message, learned: &Learned) -> Vec<String> {
    learned.echo.as_ref().map(|echo| echo.reply.all_answered(&message.text())).unwrap_or_default()
}

/// Every message said was answered once, in order, and nothing else was.
fn heard(
    weight: Weight,
    hear: &Hear,
    mark: &Mark,
    observation: &Observation,
    profile: &Profile,
    learned: &Learned,
) -> Vec<Check> {
    let rule = weight;
    let weight = weight.at(hear.level.or_else(|| unpromised(learned)));
    if hear.if_served {
        let connection = &observation.connections[mark.connection];
        // An end before the first message is a refusal too, if a rude one.
        let left = connection.close().is_some() || connection.end().is_some() && connection.messages().is_empty();
        if left || connection.head().is_none_or(|head| head.status != 101) {
            return Vec::new();
        }
    }
    let speaker = hear
        .from
        .as_ref()
        .and_then(|name| observation.connections.iter().rposition(|connection| connection.name == *name))
        .unwrap_or(mark.connection);
    let before = observation.marks.iter().position(|other| other.step == mark.step).unwrap_or(observation.marks.len());
    let said = said_on(&observation.marks[..before], speaker);
    let connection = &observation.connections[mark.connection];
    let Some(echo) = &learned.echo else {
        return vec![weight.check(Grade::Inconclusive, "an echo", "this target is not known to answer messages")];
    };
    if said.is_empty() && !watched(connection, mark) {
        return vec![weight.check(Grade::Inconclusive, "no answer", "nothing was observed")];
    }
    let expected = format!("{} answer(s), in order, none lost, none doubled, none from elsewhere", said.len());
    // Where any text is an answer, the welcome and the word that the token was accepted look like one.
    let opened = observation.marks.iter().find(|other| other.connection == mark.connection).map_or(0, |open| open.to);
    let greets = |text: &str| profile.greetings().any(|shape| shape.fits(text));
    let mut given: Vec<String> = connection
        .messages()
        .iter()
        .filter(|message| message.event >= opened || !greets(&message.text()))
        .flat_map(|message| answered_by(message, learned))
        .collect();
    // Where any text is an answer, the words of a refusal look like one too; an answer repeats what was sent.
    if said.is_empty() && outcome::of(&connection.events, learned.speaks).is_refused() {
        let sent = |answer: &String| {
            connection.events.iter().any(|event| match &event.what {
                What::Sent { opcode: Some(frame::TEXT), payload } => contains(payload, answer.as_bytes()),
                _ => false,
            })
        };
        given.retain(|answer| !echo.is_faithful() || !answer.is_empty() && sent(answer));
    }
    // The probe that proved the session, and the messages of others where all hear all, are no part of this.
    // A target that was only seen to echo may well pass everything on to everybody.
    let shared = echo.broadcast || !learned.echo_is_promised;
    let heard_probes = if shared { observation.connections.as_slice() } else { std::slice::from_ref(connection) };
    let probes: Vec<String> = heard_probes.iter().flat_map(|connection| probes(connection, echo)).collect();
    if echo.is_faithful() {
        // Where everybody hears everybody, what others say is no answer to this speaker.
        given.retain(|message| said.contains(message) || !(shared || probes.contains(message)));
        let is_error =
            connection.close().and_then(frame::Frame::close_code).is_some_and(|code| matches!(code, 1011 | 1014));
        if hear.if_taken && given.is_empty() && !connection.is_broken_off() && !is_error {
            let expected = format!("{expected}, or the message is not taken");
            let late = connection.messages().into_iter().filter(|message| message.event >= opened);
            // It may have been passed on in another shape than the one that is declared.
            let mut holding = late.filter(|message| said.iter().any(|word| message.text().contains(word)));
            return vec![match (holding.next(), watched(connection, mark)) {
                (Some(other), _) => {
                    weight.check(Grade::Inconclusive, expected, format!("\"{}\"", excerpt(&other.text())))
                }
                (None, true) => weight.holds(true, expected, "it was not taken"),
                (None, false) => weight.check(Grade::Inconclusive, expected, "nothing was observed"),
            }];
        }
        let mut observed = compare(&said, &given).unwrap_or_else(|| ended(connection, given.len()));
        let limited = limits(&said, &given, connection, opened, learned, profile);
        if limited {
            observed.push_str(LIMITED);
        }
        let is_soft = limited || is_disordered(&said, &given);
        let soft = weight.at((is_soft && weight.level == Level::Must).then_some(Level::Should));
        let why = if hear.level.is_none() { softened(rule, learned) } else { "" };
        let limit = match said.iter().map(String::len).max() {
            Some(longest) if !why.is_empty() && longest > SHORT && profile.max_message_bytes.is_none() => {
                format!(", and no `max_message_bytes` (the longest of these has {longest})")
            }
            _ => String::new(),
        };
        let mut checks = vec![soft.holds(given == said, format!("{expected}{why}{limit}"), observed)];
        let messages: Vec<Value> = connection
            .messages()
            .iter()
            .flat_map(|message| records(&message.text()).map(str::to_owned).collect::<Vec<_>>())
            .filter(|record| echo.reply.answered(record).is_some_and(|answered| said.contains(&answered)))
            .filter_map(|record| serde_json::from_str(&record).ok())
            .collect();
        let speaker = &observation.connections[speaker];
        if given.is_empty() && limited {
            // There is nothing to look at, and why was said.
            return checks;
        }
        if messages.is_empty() && !given.is_empty() && (hear.discreet || !hear.stamps.is_empty()) {
            checks.push(weight.check(
                Grade::Inconclusive,
                "answers in JSON",
                "they are none, and hold no member to look at",
            ));
            return checks;
        }
        if hear.discreet {
            checks.push(discreet(weight, &messages, speaker, profile));
        }
        checks
            .extend(hear.stamps.iter().map(|stamp| stamped(weight, *stamp, &messages, speaker, observation, profile)));
        return checks;
    }
    let count = given.len().saturating_sub(probes.len());
    let limited = count < said.len() && said.len() > SHORT_BURST && (count >= SHORT_BURST || tells_a_limit(connection));
    let weight = weight.at((limited && weight.level == Level::Must).then_some(Level::Should));
    let observed = format!("{}{}", ended(connection, count), if limited { LIMITED } else { "" });
    let why = if hear.level.is_none() { softened(rule, learned) } else { "" };
    vec![weight.holds(count == said.len(), format!("{expected}{why}"), observed)]
}

/// The server wrote what it must into each message that it passed on.
fn stamped(
    weight: Weight,
    stamp: Stamp,
    messages: &[Value],
    speaker: &Connection,
    observation: &Observation,
    profile: &Profile,
) -> Check {
    let pointer = match stamp {
        Stamp::Speaker => &profile.identity_echo,
        Stamp::Time => &profile.time_echo,
        Stamp::Id => &profile.id_echo,
    };
    let Some(pointer) = pointer else {
        return weight.check(Grade::Error, "a declared place for the stamp", "the profile declares none");
    };
    let found: Vec<Option<&Value>> = messages.iter().map(|message| message.pointer(pointer)).collect();
    let odd = |right: &dyn Fn(&Value) -> bool| {
        found.iter().find(|value| !value.is_some_and(right)).map(|value| match value {
            Some(value) => format!("{pointer} = {value}"),
            None => format!("no {pointer}"),
        })
    };
    let (expected, odd) = match stamp {
        Stamp::Speaker => {
            let claims = speaker.token.as_ref().and_then(|token| token.peek()).map(|(_, claims)| claims);
            let identity =
                claims.and_then(|claims| profile.identity_claims.iter().find_map(|name| claims.get(name).cloned()));
            let expected = format!("{pointer} = {}", identity.clone().unwrap_or_default());
            (expected, odd(&|value| Some(value) == identity.as_ref()))
        }
        Stamp::Time => {
            // Within the session, and a difference between the clocks. No rule says how far they may be apart; where one
            // MUST hold, as much as is granted to the times in a token.
            let last = speaker.events.last().map_or(0.0, |event| event.at.as_secs_f64());
            let apart = if weight.level == Level::Must { UNDECLARED_LEEWAY } else { 5.0 };
            let window = observation.began - apart..observation.began + last + apart;
            let expected =
                format!("{pointer} in seconds since 1970, of now, and none before the one of the message before");
            let times: Vec<f64> = found.iter().flatten().filter_map(|value| value.as_f64()).collect();
            let back = step_back(&times).map(|(before, after)| format!("{pointer} = {after} behind {before}"));
            (expected, odd(&|value| value.as_f64().is_some_and(|time| window.contains(&time))).or(back))
        }
        Stamp::Id => {
            let ids: Vec<String> = found.iter().flatten().map(|value| value.to_string()).collect();
            let distinct: std::collections::BTreeSet<&String> = ids.iter().collect();
            let twice = (distinct.len() < messages.len())
                .then(|| format!("{} different ones in {} messages", distinct.len(), messages.len()));
            // An identifier that the client chose is none of the server's own.
            let chosen = ids.iter().find(|id| id.contains(CHOSEN)).map(|id| format!("{pointer} = {id}"));
            (format!("another {pointer} in each message, of the server's own"), twice.or(chosen))
        }
    };
    match odd {
        _ if messages.is_empty() => weight.holds(false, expected, "no message to look at"),
        Some(odd) => weight.holds(false, expected, odd),
        None => weight.holds(true, expected, format!("{} message(s), all so", messages.len())),
    }
}

/// The words of what a server tells. A name of two words is one where a hyphen or an underscore joins them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').filter(|word| !word.is_empty())
}

/// The first two neighbours of which the second is the lesser.
fn step_back(times: &[f64]) -> Option<(f64, f64)> {
    times.windows(2).find(|pair| pair[1] < pair[0]).map(|pair| (pair[0], pair[1]))
}

/// Nothing of the speaker's token stands in the messages that others hear, but who it was.
fn discreet(weight: Weight, messages: &[Value], speaker: &Connection, profile: &Profile) -> Check {
    let expected = "no token and no claim of it but the identity";
    if messages.is_empty() {
        return weight.holds(false, expected, "no message to look at");
    }
    let token = speaker.token.as_ref();
    let signature = token.and_then(|token| token.text()).and_then(|text| text.rsplit('.').next()).unwrap_or_default();
    let text = Value::from(messages).to_string();
    if signature.len() >= 16 && text.contains(signature) {
        return weight.holds(false, expected, "the token");
    }
    let claims = token.and_then(|token| token.peek()).map(|(_, claims)| claims).unwrap_or_default();
    let told = claims.iter().find(|(name, value)| {
        !profile.identity_claims.contains(name)
            && RELAYED.contains(&name.as_str())
            && messages.iter().any(|message| holds_member(message, name, value))
    });
    let observed =
        told.map_or_else(|| format!("{} message(s), all so", messages.len()), |(name, _)| format!("the claim {name}"));
    weight.holds(told.is_none(), expected, observed)
}

/// Claims that say nothing to a listener but how the speaker got in. A role or a plan may well be part of a message.
const RELAYED: &[&str] = &["exp", "iat", "nbf", "jti", "aud", "iss", "scope"];

/// Whether a member of this name and value stands anywhere in a message.
fn holds_member(message: &Value, name: &str, value: &Value) -> bool {
    match message {
        Value::Object(members) => {
            members.get(name) == Some(value) || members.values().any(|member| holds_member(member, name, value))
        }
        Value::Array(items) => items.iter().any(|item| holds_member(item, name, value)),
        _ => false,
    }
}

/// What a case writes where the server should write something of its own.
const CHOSEN: &str = "chosen-by-the-client";

/// A target that was only seen to echo has promised nothing about it.
fn unpromised(learned: &Learned) -> Option<Level> {
    (learned.echo.is_some() && !learned.echo_is_promised).then_some(Level::Should)
}

/// Why a MUST is no more than a SHOULD for this target, where it is so because nothing was promised.
fn softened(rule: Weight, learned: &Learned) -> &'static str {
    match (rule.level, unpromised(learned)) {
        (Level::Must, Some(_)) => "; a warning at most, because the profile promises no `echo`",
        _ => "",
    }
}

/// No server limits how many messages come at once to as few as this.
const SHORT_BURST: usize = 10;

/// No server limits how many messages come one after the other to fewer than this.
const LEAST_LIMIT: usize = 3;

/// No server limits messages to as little as this.
const SHORT: usize = 4_096;

/// How every word begins that the harness makes to tell its messages from all others.
pub const WORD_PREFIX: &str = "gc";

/// The messages that the harness sent to see whether the session is served.
pub fn probes(connection: &Connection, echo: &Echo) -> Vec<String> {
    let mut probes = Vec::new();
    let mut sent = connection.events.iter().filter_map(|event| match &event.what {
        // A ping of the server may be answered between the two.
        What::Sent { opcode: Some(opcode), payload } if *opcode != frame::PONG => Some((*opcode, payload)),
        _ => None,
    });
    let mut before: Option<&Vec<u8>> = None;
    // A probe is a message that is followed by a ping with the same word.
    for (opcode, payload) in sent.by_ref() {
        if opcode == frame::PING
            && payload.starts_with(WORD_PREFIX.as_bytes())
            && let (Some(text), Ok(word)) = (before, std::str::from_utf8(payload))
            && echo.compose(word).as_bytes() == text.as_slice()
        {
            probes.push(word.to_owned());
        }
        before = Some(payload);
    }
    probes
}

/// What is said where answers are missing as they are behind a limit.
const LIMITED: &str = ", as by a server that limits messages";

/// Whether the server has closed as one that was told too much.
fn tells_a_limit(connection: &Connection) -> bool {
    matches!(connection.close().and_then(frame::Frame::close_code), Some(1008 | 1013 | 3000..=4999))
}

/// Whether the answers are those that were said, in another order: that of messages is kept on the wire, that of answers is
/// the application's.
fn is_disordered(said: &[String], given: &[String]) -> bool {
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    given != said && given.len() == said.len() && sorted(given) == sorted(said)
}

/// Whether what was not answered may be beyond a limit. Limits are every server's right, and that this one has one is
/// nowhere declared. What is beyond may be told by an error (the plans of `SimuTrader`), by nothing or by a close.
fn limits(
    said: &[String],
    given: &[String],
    connection: &Connection,
    opened: usize,
    learned: &Learned,
    profile: &Profile,
) -> bool {
    let Some(missing) = said.len().checked_sub(given.len()).filter(|missing| *missing > 0) else { return false };
    let is_burst = said.len() > SHORT_BURST;
    let short = said.iter().take_while(|text| text.len() <= SHORT).count();
    if said.starts_with(given) {
        let are_too_long = profile.max_message_bytes.is_none() && short < said.len() && given.len() >= short;
        if are_too_long || given.len() >= SHORT_BURST || is_burst && tells_a_limit(connection) {
            return true;
        }
    }
    // In the time of a burst a little may be allowed again: some of the later ones are answered, and others by an error.
    let mut rest = said.iter();
    let are_in_order = given.iter().all(|answer| rest.any(|message| message == answer));
    let late = connection.messages().into_iter().filter(|message| message.event >= opened);
    let is_error = |message: &Message| {
        let text = message.text();
        let keeps_alive = profile.heartbeat.as_ref().is_some_and(|heartbeat| heartbeat.ask == text);
        answered_by(message, learned).is_empty() && !keeps_alive && !profile.greetings().any(|shape| shape.fits(&text))
    };
    // One that says something beside each answer has told of no limit.
    let errors = late.filter(is_error).count();
    let begins_well = given.get(..SHORT_BURST).is_some_and(|given| said.starts_with(given));
    let tells_some = is_burst && begins_well && (1..=missing).contains(&errors);
    // A low limit is one too, where the first of so many short messages were answered and each of the others by an error.
    let is_low = said.len() >= SHORT_BURST && short == said.len() && given.len() >= LEAST_LIMIT;
    let tells_each = is_low && said.starts_with(given) && errors == missing;
    are_in_order && (tells_some || tells_each)
}

/// Says what is wrong with a sequence of answers; `None` when nothing is.
fn compare(said: &[String], given: &[String]) -> Option<String> {
    if said == given {
        return None;
    }
    let count = |list: &[String], word: &String| list.iter().filter(|other| *other == word).count();
    let lost = said.iter().filter(|word| count(given, word) == 0).count();
    let doubled = said.iter().filter(|word| count(given, word) > 1).count();
    let foreign = given.iter().filter(|word| !said.contains(word)).count();
    let mut parts = vec![format!("{} of {} answered", said.len() - lost, said.len())];
    for (number, what) in [(lost, "lost"), (doubled, "doubled"), (foreign, "from elsewhere")] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    if lost + doubled + foreign == 0 {
        let mut rest: VecDeque<_> = given.iter().collect();
        let place = said.iter().position(|word| rest.pop_front() != Some(word)).unwrap_or_default();
        parts.push(format!("out of order from message {}", place + 1));
    }
    Some(parts.join(", "))
}

fn ended(connection: &Connection, count: usize) -> String {
    let mut observed = format!("{count} answer(s)");
    if let Some(close) = connection.close() {
        observed.push_str(&match close.close_code() {
            Some(code) => format!(", then close {code}"),
            None => ", then a close without a code".to_owned(),
        });
    } else if connection.end().is_some() {
        observed.push_str(", then the end of the connection");
    }
    observed
}

/// The message that was waited for came, or did not, as it must.
fn received(weight: Weight, receive: &Receive, mark: &Mark, connection: &Connection) -> Check {
    let weight = weight.at(receive.level);
    let expected = receive.to_string();
    let shown = |message: &Message| {
        let text: String = message.text().chars().take(120).collect();
        format!("\"{}\"", text.escape_debug())
    };
    let found = connection.received(mark.from, receive).filter(|found| found.message.event < mark.to);
    let last = connection.messages().into_iter().rfind(|message| (mark.from..mark.to).contains(&message.event));
    match (receive.none, found) {
        (false, Some(found)) => weight.holds(true, expected, shown(&found.message)),
        (true, Some(found)) => weight.holds(false, expected, shown(&found.message)),
        (true, None) if !watched(connection, mark) => {
            weight.check(Grade::Inconclusive, expected, "nothing was observed")
        }
        (true, None) => weight.holds(true, expected, "none"),
        (false, None) => {
            let end = since(connection, mark);
            let observed = last.map_or(end.clone(), |last| format!("{end}; the last message: {}", shown(&last)));
            weight.holds(false, expected, observed)
        }
    }
}

fn lives(weight: Weight, alive: &Alive, mark: &Mark, connection: &Connection, learned: &Learned) -> Check {
    let why = if alive.level.is_none() { softened(weight, learned) } else { "" };
    let weight = weight.at(alive.level.or_else(|| unpromised(learned)));
    let answered = if let Some(echo) = &learned.echo {
        // The probe's own word: where everybody hears everybody, others are answered too.
        let word = mark.part(connection).iter().rev().find_map(|event| match &event.what {
            What::Sent { opcode: Some(frame::PING), payload } => Some(String::from_utf8_lossy(payload).into_owned()),
            _ => None,
        });
        let given = answers(connection, mark.from, learned);
        if echo.is_faithful() { word.is_some_and(|word| given.contains(&word)) } else { !given.is_empty() }
    } else {
        mark.part(connection)
            .iter()
            .any(|event| matches!(&event.what, What::Frame(frame) if frame.opcode == frame::PONG))
    };
    weight.holds(answered, format!("the session is still served{why}"), since(connection, mark))
}

/// Whether something shows that nobody spoke: an event of the step, or an end before it. Nothing seen is no silence,
/// and neither what we said ourselves nor a ping, which may come at any time, shows anything.
fn watched(connection: &Connection, mark: &Mark) -> bool {
    let ends = |event: &Event| match &event.what {
        What::End(_) | What::Garbage(_) => true,
        // After a final answer that is no upgrade there is nobody who could speak.
        What::Head(head) => head.status >= 200,
        What::Frame(frame) => frame.opcode == frame::CLOSE,
        _ => false,
    };
    let shows = |event: &Event| match &event.what {
        What::Sent { .. } => false,
        What::Frame(frame) => frame.opcode != frame::PING,
        _ => true,
    };
    mark.part(connection).iter().any(shows) || mark.until(connection).iter().any(ends)
}

/// What came in during a step, in words.
fn since(connection: &Connection, mark: &Mark) -> String {
    let part = mark.part(connection);
    let mut words = Vec::new();
    for event in part {
        match &event.what {
            What::Frame(frame) if frame.opcode == frame::CLOSE => words.push(match frame.close_code() {
                Some(code) => format!("close {code}"),
                None => "a close without a code".to_owned(),
            }),
            What::Frame(frame) if frame.opcode == frame::PONG => words.push("a pong".to_owned()),
            What::Frame(frame) if frame.is_data() => {
                words.push(format!("\"{}\"", excerpt(&String::from_utf8_lossy(&frame.payload))));
            }
            What::End(_) => words.push("the end of the connection".to_owned()),
            What::Silence(waited) => words.push(format!("silence for {} ms", waited.as_millis())),
            What::Garbage(what) => words.push(what.clone()),
            _ => {}
        }
        if words.len() == 6 {
            words.push("...".to_owned());
            break;
        }
    }
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// The server's first close frame until the step ended, be it the answer to ours.
fn close_of<'a>(connection: &'a Connection, mark: &Mark) -> Option<&'a frame::Frame> {
    mark.until(connection).iter().find_map(|event| match &event.what {
        What::Frame(frame) if frame.opcode == frame::CLOSE => Some(frame),
        _ => None,
    })
}

/// What came during a step.
struct Came {
    /// A close frame.
    closed: bool,
    /// The end of the connection.
    over: bool,
    /// Data.
    spoke: bool,
}

impl Came {
    fn of(part: &[Event]) -> Self {
        let any = |is: fn(&What) -> bool| part.iter().any(|event| is(&event.what));
        Self {
            closed: any(|what| matches!(what, What::Frame(frame) if frame.opcode == frame::CLOSE)),
            over: any(|what| matches!(what, What::End(_))),
            spoke: any(|what| matches!(what, What::Frame(frame) if frame.is_data())),
        }
    }
}

fn awaited(weight: Weight, wait: &Await, mark: &Mark, connection: &Connection, profile: &Profile) -> Check {
    let weight = weight.at(wait.level);
    let part = mark.part(connection);
    let Came { closed, over, spoke } = Came::of(part);
    let observed = since(connection, mark);
    match &wait.what {
        Awaited::NoAbruptEnd | Awaited::Nothing | Awaited::WellFormedClose if !watched(connection, mark) => {
            weight.check(Grade::Inconclusive, "an observation", "nothing was observed")
        }
        Awaited::Welcome => {
            let Some(shape) = &profile.welcome else {
                return weight.check(Grade::Error, "a declared welcome", "the profile declares none");
            };
            // What answers the client's own first words comes before it.
            let prelude = profile.prelude.as_ref().and_then(|prelude| prelude.reply.as_ref());
            let first = profile.first_message();
            let is_before = |text: &str| {
                let heartbeat = profile.heartbeat.as_ref().is_some_and(|heartbeat| heartbeat.ask == text);
                let token = first.and_then(|first| first.reply.as_ref());
                let greeting = first.and_then(|first| first.after.as_ref());
                let fits = |known: Option<&Shape>| known.is_some_and(|known| known.fits(text) && !shape.fits(text));
                heartbeat || fits(prelude) || fits(token) || fits(greeting)
            };
            let first = connection.messages().into_iter().find(|message| !is_before(&message.text()));
            let right = first.as_ref().is_some_and(|message| shape.fits(&message.text()));
            let observed = first.map_or(observed, |message| {
                let text: String = message.text().chars().take(120).collect();
                format!("\"{}\"", text.escape_debug())
            });
            weight.holds(right, format!("the first message is {shape}"), observed)
        }
        Awaited::Pong(payload) => ponged(weight, part, payload.as_bytes(), observed),
        Awaited::PongHex(payload) => match hex::read(payload) {
            Some(payload) => ponged(weight, part, &payload, observed),
            None => weight.check(Grade::Error, "a payload in hexadecimal", format!("`{payload}`")),
        },
        Awaited::Unrepeated(text) => {
            // A ping of the server's own answers nothing, and shows nothing.
            let mut frames = mark.until(connection).iter().filter_map(|event| match &event.what {
                What::Frame(frame) if frame.opcode != frame::PING => Some(frame),
                _ => None,
            });
            let expected = format!("no frame that repeats `{text}`");
            if frames.clone().next().is_none() {
                return weight.check(Grade::Inconclusive, expected, "no frame at all");
            }
            let repeated = frames.any(|frame| contains(&frame.payload, text.as_bytes()));
            let observed = if repeated { "a frame that repeats it" } else { "none of its frames does" };
            weight.holds(!repeated, expected, observed)
        }
        Awaited::Failed => {
            weight.holds(closed || over, "the connection is failed (a close frame, or its end)", observed)
        }
        Awaited::Closed => weight.holds(closed && over, "a close frame, then the end of the connection", observed),
        Awaited::ClosedCleanly => {
            let code = close_of(connection, mark).and_then(frame::Frame::close_code);
            // To repeat our own code is no complaint.
            let ours = mark.until(connection).iter().find_map(|event| match &event.what {
                What::Sent { opcode: Some(frame::CLOSE), payload } => payload.first_chunk().copied(),
                _ => None,
            });
            let right = closed && over && (!matches!(code, Some(1002 | 1007)) || code == ours.map(u16::from_be_bytes));
            weight.holds(
                right,
                "a close frame that does not tell of a breach, then the end of the connection",
                observed,
            )
        }
        Awaited::NoAbruptEnd => weight.holds(
            closed || !over,
            "an answer, a close frame or silence, but no end without a close frame",
            observed,
        ),
        Awaited::WellFormedClose => {
            let flaw = close_of(connection, mark).and_then(across::malformed_close);
            let observed = flaw.clone().unwrap_or_else(|| "no malformed one".to_owned());
            weight.holds(flaw.is_none(), across::WELL_FORMED_CLOSE, observed)
        }
        Awaited::LegalCloseCode => {
            let close = close_of(connection, mark);
            if close.is_none() && connection.end().is_none() {
                return weight.check(
                    Grade::Inconclusive,
                    "an observation",
                    "neither a close frame nor an end was seen",
                );
            }
            let code = close.and_then(frame::Frame::close_code);
            let right = !matches!(code, Some(0..1000 | 1005 | 1006 | 1015));
            let observed = code.map_or_else(|| "no close code".to_owned(), |code| format!("close {code}"));
            weight.holds(right, "no close code that must not be sent", observed)
        }
        Awaited::Nothing => weight.holds(!spoke, "no message", observed),
        Awaited::HungUp => {
            let expected = "the server ends the TCP connection after the closing handshake";
            if connection.close().is_none() {
                return weight.check(Grade::Info, expected, "the refusal was told without a close frame");
            }
            let ended = mark.until(connection).iter().any(|event| matches!(&event.what, What::End(_)));
            weight.holds(ended, expected, if ended { "it is ended".to_owned() } else { observed })
        }
        Awaited::Released => {
            let expected = "the connection is ended, or answers another request";
            if connection.head().is_none_or(|head| head.status == 101) {
                return weight.check(Grade::Info, expected, "the refusal was not told by HTTP");
            }
            let ended = mark.until(connection).iter().any(|event| matches!(&event.what, What::End(_)));
            let answered = part.iter().any(|event| matches!(&event.what, What::Head(_)));
            weight.holds(ended || answered, expected, observed)
        }
        // Graded by `Early`, which knows what was said.
        Awaited::Heeded | Awaited::Unheeded => weight.check(Grade::Error, "what was sent early", "nothing"),
        Awaited::NotTaken | Awaited::NotServed => weight.check(Grade::Error, "a look at the whole session", "none"),
        Awaited::Ended => {
            let until = mark.until(connection);
            let ended = until.iter().any(|event| match &event.what {
                What::End(_) => true,
                What::Head(head) => head.status >= 200,
                What::Frame(frame) => frame.opcode == frame::CLOSE,
                _ => false,
            });
            let observed = if ended { "it is ended".to_owned() } else { observed };
            weight.holds(ended, "the connection is ended (a close frame, or its end)", observed)
        }
        Awaited::AuthTimeout { .. } => {
            let within = auth_timeout(profile.first_message());
            let expected = format!("the end of the connection within {} ms", within.as_millis());
            weight.holds(closed || over, expected, observed)
        }
    }
}

/// Among the frames is the pong to a ping of this payload.
fn ponged(weight: Weight, events: &[Event], payload: &[u8], observed: String) -> Check {
    let right = events.iter().any(
        |event| matches!(&event.what, What::Frame(frame) if frame.opcode == frame::PONG && frame.payload == payload),
    );
    weight.holds(right, "a pong with the payload of the ping", observed)
}

/// Words of which secrets are put together that somebody has typed.
const WORDS_OF_SECRETS: &[&str] =
    &["secret", "secrets", "secretkey", "jwt", "password", "passphrase", "changeme", "production", "development"];

/// Whether a secret is words that somebody has typed, such as `my-super-secret-key-for-development-2024`. Only where
/// chance would hardly make it: nothing but words of one case and numbers between the usual separators, three at least, and
/// one of those that stand in such secrets. So neither noise in any spelling is meant nor words that were drawn by lot, which
/// may well be strong; a phrase of other words passes.
fn is_typed(text: &str) -> bool {
    let words: Vec<&str> = text.split(['-', '_', '.', ' ']).collect();
    let is_word = |word: &str| {
        let tail = word.get(1..).unwrap_or_default();
        let is_number = word.len() <= 4 && word.bytes().all(|byte| byte.is_ascii_digit());
        let in_one_case = |is: fn(&u8) -> bool| word.bytes().all(|byte| is(&byte));
        let is_capitalised = word.starts_with(|first: char| first.is_ascii_uppercase())
            && tail.bytes().all(|byte| byte.is_ascii_lowercase());
        (1..=15).contains(&word.len())
            && (is_number
                || is_capitalised
                || in_one_case(u8::is_ascii_lowercase)
                || in_one_case(u8::is_ascii_uppercase))
    };
    words.len() >= 3
        && words.iter().all(|word| is_word(word))
        && words.iter().any(|word| WORDS_OF_SECRETS.contains(&word.to_ascii_lowercase().as_str()))
}

/// Secrets that everybody knows, because documents and tutorials print them.
pub const KNOWN_SECRETS: &[&str] = &[
    "dev-secret-key",
    "secret",
    "changeme",
    "change-me",
    "your-256-bit-secret",
    "a-string-secret-at-least-256-bits-long",
    "password",
    "test",
    "key",
    "supersecret",
    "super-secret",
    "jwt_secret",
    "jwt-secret",
    "your-secret-key",
    "your-secret-key-change-in-production",
    "my-secret",
    "mysecret",
    "secretkey",
    "secret-key",
    "default",
    "admin",
    "undefined",
    "shhhhh",
    // The manual of FastAPI.
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
];

/// Answers a question to the profile.
pub fn lint(head: &CaseText, lint: Lint, target: &Target) -> Vec<Check> {
    let weight = Weight::of(head);
    match lint {
        Lint::SecretStrength => {
            let algorithm = target.algorithm;
            let Some(secret) = target.keys.secret() else {
                let observed = match target.makes_tokens() {
                    true => "the tokens are signed with a private key",
                    false => "the key is not known",
                };
                return vec![weight.check(Grade::Info, "a strong secret", observed)];
            };
            let secret = secret.expose();
            // RFC 7518 §3.2: a key of the size of the hash output, or larger.
            let needed = match algorithm {
                Algorithm::HS384 => 48,
                Algorithm::HS512 => 64,
                _ => 32,
            };
            let known = std::str::from_utf8(secret).is_ok_and(|text| {
                let text = text.trim();
                KNOWN_SECRETS.contains(&text) || target.profile.weak_secrets.iter().any(|weak| weak == text)
            });
            let expected =
                format!("at least {needed} bytes for {}, and no word that documents print", algorithm.name());
            let mut observed = format!("{} bytes", secret.len());
            if known {
                observed.push_str(", a word that documents print");
            }
            let mut checks = vec![weight.holds(secret.len() >= needed && !known, expected, observed)];
            // A phrase may be long enough, and chosen at random; that it is weak is likely, and not known.
            if !known && std::str::from_utf8(secret).is_ok_and(|text| is_typed(text.trim())) {
                let should = weight.at(Some(Level::Should));
                checks.push(should.holds(false, "bytes from a random source", "words that somebody has typed"));
            }
            checks
        }
        Lint::Encrypted => {
            let (expected, endpoint) = ("wss, wherever tokens leave this machine", &target.endpoint);
            vec![match (endpoint.tls, endpoint.is_local()) {
                (true, _) => weight.holds(true, expected, "wss"),
                (false, true) => weight.check(Grade::Info, expected, "ws, on this machine"),
                (false, false) => weight.holds(false, expected, "ws: tokens cross the network in the clear"),
            }]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_still_or_goes_forward() {
        assert_eq!(step_back(&[1.0, 1.0, 2.5]), None);
        assert_eq!(step_back(&[1.0, 3.0, 2.0, 1.0]), Some((3.0, 2.0)));
        assert_eq!(step_back(&[]), None);
    }

    #[test]
    fn only_a_secret_that_somebody_has_typed_is_called_so() {
        for typed in [
            "my-super-secret-key-for-development-2024",
            "change_this_jwt_secret_before_you_go_live",
            "This is the Secret Password of our Server",
            "ACME.PRODUCTION.SECRET.DO.NOT.SHARE.IT",
        ] {
            assert!(is_typed(typed), "{typed}");
        }
        for other in [
            // Noise in the usual spellings, also behind a name.
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c",
            "jwt-secret-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
            "prod_secret_key_x7Rk2QpVnB4sTz9LmWc3YhJd",
            "jwt-secret-abqwmzkdlsoeirutyvnxcbplokqw",
            "b3BlbiBzZXNhbWU-QmFzZTY0_dXJs-c2VjcmV0",
            "6f1c2a9e-secret-4b7d-8e21-5a0c9d3f7b64",
            // Words that were drawn by lot.
            "correct horse battery staple orbit velvet pencil",
            "",
            "secret",
            "secret-key",
        ] {
            assert!(!is_typed(other), "{other}");
        }
    }
}
