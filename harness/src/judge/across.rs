//! Grades what only the whole run shows: how refusals are told, and what answers give away.
//!
//! Each attempt that was refused is told apart by its class; whether it was right to refuse it is not asked here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Weight;
use crate::case::{Across, CaseText, Expect};
use crate::observation::{Connection, Event, What};
use crate::outcome::Outcome;
use crate::profile::{Carrier, Class, Profile, RefusesBy, Shape, Signal};
use crate::redact::{Redactor, contains};
use crate::verdict::{Basis, Check, Grade, Level};
use crate::wire::answer::lines;
use crate::wire::frame;

/// One opening of the run.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The code of its case.
    pub code: &'a str,
    /// Why it is refused, if it must be.
    pub class: Option<Class>,
    /// What had to come of it.
    pub expect: Expect,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// All that was seen.
    pub connection: &'a Connection,
}

/// Everything a run saw.
#[derive(Debug)]
pub struct Run<'a> {
    /// The openings of every case.
    pub seen: Vec<Seen<'a>>,
    /// What came of every control.
    pub controls: &'a [Outcome],
    /// What the target declares.
    pub profile: &'a Profile,
    /// Finds the secret.
    pub redactor: &'a Redactor,
    /// Within this a refusal is prompt.
    pub refusal_budget: Duration,
}

impl<'a> Run<'a> {
    fn refused(&self) -> impl Iterator<Item = &Seen<'a>> {
        self.seen.iter().filter(|seen| seen.expect == Expect::Refused && seen.outcome.is_refused())
    }

    fn refused_as(&self, class: Class) -> Vec<&Seen<'a>> {
        self.refused().filter(|seen| seen.class == Some(class)).collect()
    }
}

/// Answers a question to the whole run.
pub fn across(head: &CaseText, question: Across, run: &Run<'_>) -> Vec<Check> {
    let weight = Weight::of(head);
    let refusals: Vec<_> = run.refused().collect();
    match question {
        Across::Signal(class) => vec![signal(weight, class, run)],
        Across::AllSignals => {
            let declared: Vec<Class> = run
                .profile
                .signals
                .iter()
                .filter(|(_, signal)| signal.close.or(signal.http).is_some())
                .map(|(class, _)| *class)
                .collect();
            // Not every promise can be put to the test: a target may have no claim that a token must hold.
            let checks: Vec<Check> = declared
                .into_iter()
                .filter(|class| !run.refused_as(*class).is_empty())
                .map(|class| Check { label: class.word().to_owned(), ..signal(weight, class, run) })
                .collect();
            if checks.is_empty() { vec![unseen(weight, "a refusal of a class with a promised signal")] } else { checks }
        }
        Across::Reasons => reasons(weight, run),
        Across::CloseReachesWire => {
            let mut checks = vec![close_reaches_wire(weight, run)];
            checks.extend(browser_sees_close(weight, run));
            checks
        }
        _ if refusals.is_empty() && asks_refusals(question) => {
            vec![unseen(weight, "refusals to look at")]
        }
        Across::NoDataBeforeClose => {
            vec![all(weight, &refusals, "no application message before the close frame", |seen| match seen.outcome {
                Outcome::RefusedClose { data_before: 1.., .. } => Some(seen.outcome.to_string()),
                _ => None,
            })]
        }
        Across::Prompt => {
            let budget = run.refusal_budget;
            let expected = format!("every refusal within {} ms", budget.as_millis());
            // Without a token there is nothing to be told before the time is over in which one may come.
            let told: Vec<_> =
                refusals.iter().copied().filter(|seen| seen.connection.presented() != Some(false)).collect();
            vec![all(weight, &told, &expected, |seen| match told_at(seen.connection) {
                _ if announces_body(seen) => None,
                Some(at) if at <= budget => None,
                Some(at) => Some(format!("told after {} ms", at.as_millis())),
                None => Some(seen.outcome.to_string()),
            })]
        }
        Across::Deliberate => {
            let expected = "refusals by HTTP 4xx or a close frame, never by a server error or a bare end";
            vec![all(weight, &refusals, expected, |seen| match seen.outcome {
                Outcome::Dropped { upgraded: false } if announces_body(seen) => None,
                Outcome::ServerError(_) | Outcome::Dropped { .. } => Some(seen.outcome.to_string()),
                _ => None,
            })]
        }
        Across::NotSuccess => vec![all(weight, &refusals, "HTTP refusals by 4xx", |seen| match seen.outcome {
            Outcome::OddStatus(_) => Some(seen.outcome.to_string()),
            _ => None,
        })],
        Across::Challenge => vec![all(weight, &refusals, "WWW-Authenticate in every 401", |seen| {
            let head = seen.connection.head()?;
            (head.status == 401 && head.header("www-authenticate").is_none()).then(|| "401 without it".to_owned())
        })],
        Across::LegalCloseCode => close_codes(weight, &refusals),
        Across::MeaningfulCloseCode => {
            let expected = "close codes that say that something was wrong";
            vec![all(weight, &refusals, expected, |seen| match seen.outcome {
                Outcome::RefusedClose { code: None | Some(1000 | 1001 | 1005), .. } => Some(seen.outcome.to_string()),
                _ => None,
            })]
        }
        Across::WellFormedClose => {
            vec![all(weight, &refusals, WELL_FORMED_CLOSE, |seen| malformed_close(seen.connection.close()?))]
        }
        Across::OneSignalPerClass => one_signal_per_class(weight, &refusals),
        Across::TokenNotReflected => vec![all(weight, &refusals, "the token does not come back", |seen| {
            let token = seen.connection.token.as_ref()?.bytes()?;
            let signature = token.rsplit(|byte| *byte == b'.').next()?;
            // A short word such as `test` may stand in any message by chance.
            let marked = token.iter().filter(|byte| **byte == b'.').count() == 2 && signature.len() >= 16;
            let answer = seen.connection.received_bytes();
            (marked && contains(&answer, signature)).then(|| "its signature stands in the answer".to_owned())
        })],
        Across::SecretAbsent => {
            let every: Vec<&Seen<'_>> = run.seen.iter().collect();
            vec![all(weight, &every, "the secret does not come back, in any spelling", |seen| {
                run.redactor
                    .finds_secret_in(&seen.connection.received_bytes())
                    .then(|| "it stands in an answer".to_owned())
            })]
        }
        Across::NoInternals => {
            let every: Vec<&Seen<'_>> = run.seen.iter().collect();
            vec![all(weight, &every, "no stack traces and no internals", |seen| {
                let text = String::from_utf8_lossy(&seen.connection.received_bytes()).into_owned();
                INTERNALS.iter().find(|mark| text.contains(*mark)).map(|mark| format!("\"{mark}\" stands in an answer"))
            })]
        }
        Across::Unmasked => {
            let every: Vec<&Seen<'_>> = run.seen.iter().collect();
            vec![all(weight, &every, "server frames without a mask", |seen| {
                seen.connection.frames().any(|(_, frame)| frame.masked).then(|| "a masked frame".to_owned())
            })]
        }
        Across::ValidMessages => {
            let json = matches!(run.profile.echo.as_ref().map(|echo| &echo.reply), Some(Shape::Json(_)));
            let expected = if json { "text messages in UTF-8 and JSON" } else { "text messages in UTF-8" };
            let every: Vec<&Seen<'_>> = run.seen.iter().collect();
            vec![all(weight, &every, expected, |seen| {
                seen.connection.messages().iter().filter(|message| message.opcode == frame::TEXT).find_map(|message| {
                    let text: String = message.text().chars().take(60).collect();
                    match std::str::from_utf8(&message.payload) {
                        Err(_) => Some(format!("\"{}\" is no UTF-8", text.escape_debug())),
                        Ok(text) if json && serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() => {
                            Some(format!("\"{}\" is no JSON", text.escape_debug()))
                        }
                        Ok(_) => None,
                    }
                })
            })]
        }
        Across::Controls => {
            let failed = run.controls.iter().find(|outcome| !matches!(outcome, Outcome::Admitted(_)));
            let expected = "the valid token is admitted before, between and after the cases";
            let observed = match failed {
                None => format!("{} control(s) admitted", run.controls.len()),
                Some(outcome) => outcome.to_string(),
            };
            match failed {
                Some(outcome) if outcome.is_undecided() => vec![weight.check(Grade::Inconclusive, expected, observed)],
                _ => vec![weight.holds(failed.is_none() && !run.controls.is_empty(), expected, observed)],
            }
        }
    }
}

/// What a close frame of a server must be.
pub(super) const WELL_FORMED_CLOSE: &str = "close frames of 2 to 125 bytes, final, unmasked, with a reason in UTF-8";

/// Texts that only a program's own trouble puts into an answer.
const INTERNALS: &[&str] = &[
    "Traceback (most recent call last)",
    "stack backtrace:",
    "panicked at",
    "    at Object.",
    "node_modules/",
    "site-packages/",
    "JsonWebTokenError",
    "jwt.exceptions.",
    "jose.exceptions.",
    "InvalidSignatureError",
    "java.lang.",
    "System.Exception",
    "goroutine 1 [",
    "SQLSTATE",
    "syntax error at or near",
];

fn asks_refusals(question: Across) -> bool {
    !matches!(
        question,
        Across::SecretAbsent | Across::NoInternals | Across::Unmasked | Across::ValidMessages | Across::Controls
    )
}

/// The one end of every question for which this run gives too little to look at.
fn unseen(weight: Weight, expected: &str) -> Check {
    weight.check(Grade::Inconclusive, expected, "no such attempt was seen in this run, or too few")
}

/// No attempt shows the flaw; the first ones that do are named.
fn all(weight: Weight, attempts: &[&Seen<'_>], expected: &str, flaw: impl Fn(&Seen<'_>) -> Option<String>) -> Check {
    let flaws: Vec<(&str, String)> =
        attempts.iter().filter_map(|seen| flaw(seen).map(|observed| (seen.code, observed))).collect();
    match flaws.as_slice() {
        [] if attempts.is_empty() => unseen(weight, expected),
        [] => weight.holds(true, expected, format!("{} attempt(s), all so", attempts.len())),
        [(code, first), ..] => {
            let codes: BTreeSet<&str> = flaws.iter().map(|(code, _)| *code).collect();
            let others: Vec<&str> = codes.into_iter().filter(|other| other != code).take(5).collect();
            let tail = if others.is_empty() { String::new() } else { format!("; also {}", others.join(", ")) };
            weight.holds(false, expected, format!("{first} in {code} ({} of {}){tail}", flaws.len(), attempts.len()))
        }
    }
}

/// When the refusal was told: the head of an HTTP refusal, or the close frame.
fn told_at(connection: &Connection) -> Option<Duration> {
    match connection.head() {
        Some(head) if head.status == 101 => {
            // A bare end tells too, if badly; `Deliberate` says so.
            let presented = connection.events.iter().find(|event| matches!(event.what, What::Presented { .. }));
            let since = presented.map(|event| event.at).unwrap_or_default();
            let tells = |event: &&Event| match &event.what {
                // A target that is told the token in a message may answer it by an error.
                What::Frame(frame) => frame.opcode == frame::CLOSE || presented.is_some() && frame.is_data(),
                What::End(_) => true,
                _ => false,
            };
            let told = connection.events.iter().filter(|event| event.at >= since).find(tells);
            told.map(|event| if presented.is_some() { event.at - since } else { event.at })
        }
        Some(_) => connection.answered_at(),
        None => connection.end().and(connection.answered_at()),
    }
}

/// How a refusal was told, where it was told at all.
fn told(outcome: &Outcome) -> Option<(RefusesBy, u16)> {
    match outcome {
        Outcome::RefusedHttp(status) => Some((RefusesBy::Http, *status)),
        Outcome::RefusedClose { code: Some(code), .. } => Some((RefusesBy::Close, *code)),
        _ => None,
    }
}

/// Whether the opening announces a body: who reads such a GET may end the connection at once, for fear of a smuggled
/// request (RFC 9110 §9.3.1), or wait for what it announces. Either says nothing of how tokens are refused.
fn announces_body(seen: &Seen<'_>) -> bool {
    ["content-length", "transfer-encoding"].iter().any(|name| !lines(&seen.connection.sent, name).is_empty())
}

/// Whether a 400 speaks of the request and not of the token. Who parses the request may refuse it before anybody looks
/// at a token, whatever is promised for tokens:
///
/// * bytes that are no base64url do not fit into the grammar of the header that carries them (`token68`, RFC 9110 §11.2;
///   `token`, RFC 6455 §4.1), which is `invalid_request` (RFC 6750 §3.1); in a URL they are percent-encoded;
/// * a client sends nothing behind its opening before it is answered (RFC 6455 §4.1).
fn is_told_of_the_request(seen: &Seen<'_>) -> bool {
    let Seen { connection, outcome, .. } = seen;
    let token = connection.token.as_ref().and_then(|token| token.bytes()).unwrap_or_default();
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_unfit = !token.iter().all(fits) && contains(&connection.sent, token);
    let is_hasty = matches!(connection.events.first(), Some(Event { what: What::Sent { .. }, .. }));
    **outcome == Outcome::RefusedHttp(400) && (is_unfit || is_hasty)
}

fn signal(weight: Weight, class: Class, run: &Run<'_>) -> Check {
    let attempts = run.refused_as(class);
    let declared = run.profile.signals.get(&class);
    // A promise binds whatever the level of the case (R1, R2).
    let promised = declared.is_some_and(|signal| signal.close.is_some() || signal.http.is_some());
    let weight = if promised { Weight { basis: Basis::Contract, level: Level::Must, ..weight } } else { weight };
    let expected = match declared {
        Some(Signal { close: Some(code), http: None, .. }) => format!("close {code} for {}", class.word()),
        Some(Signal { close: None, http: Some(status), .. }) => format!("HTTP {status} for {}", class.word()),
        Some(Signal { close: Some(code), http: Some(status), .. }) => {
            format!("close {code} or HTTP {status} for {}", class.word())
        }
        _ => "HTTP 4xx, or close 1008, 1002, 1003, 1007, 3000, 3003 or 4000 to 4999".to_owned(),
    };
    if attempts.is_empty() && class == Class::Missing && run.profile.first_message().is_some() {
        let why = "a target that is told the token in a message has no one moment at which it is missing";
        return weight.check(Grade::Info, expected, why);
    }
    if !attempts.is_empty() && attempts.iter().all(|seen| *seen.outcome == Outcome::Unserved) {
        let observed = "an error message or none, and a connection that is left open";
        return if promised {
            weight.holds(false, expected, observed)
        } else {
            weight.check(Grade::Info, expected, observed)
        };
    }
    // A refusal that was not told is for `Deliberate` and `Prompt`; here it shows nothing.
    let attempts: Vec<_> = attempts.into_iter().filter(|seen| told(seen.outcome).is_some()).collect();
    all(weight, &attempts, &expected, |seen| {
        if is_told_of_the_request(seen) {
            return None;
        }
        let (by, number) = told(seen.outcome)?;
        let right = match (by, declared) {
            (RefusesBy::Close, Some(Signal { close: Some(code), .. })) => number == *code,
            (RefusesBy::Http, Some(Signal { http: Some(status), .. })) => number == *status,
            // The promised close code cannot be seen before an upgrade; `CloseReachesWire` says so once (R2).
            (RefusesBy::Http, _) => true,
            // Nothing hides a status, so that a close frame breaks the promise of one.
            (RefusesBy::Close, Some(Signal { http: Some(_), .. })) => false,
            (RefusesBy::Close, _) => {
                matches!(number, 1008 | 1002 | 1003 | 1007 | 1000 | 1001 | 3000 | 3003 | 4000..=4999)
            }
        };
        (!right).then(|| seen.outcome.to_string())
    })
}

fn reasons(weight: Weight, run: &Run<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    for (class, signal) in &run.profile.signals {
        let Some(reason) = &signal.reason else { continue };
        let (before, after) = reason.split_once("{role}").unwrap_or((reason, ""));
        let attempts: Vec<_> = run
            .refused_as(*class)
            .into_iter()
            .filter(|seen| matches!(seen.outcome, Outcome::RefusedClose { .. }))
            .collect();
        if attempts.is_empty() {
            continue;
        }
        let check = all(weight, &attempts, &format!("the reason \"{reason}\""), |seen| {
            let Outcome::RefusedClose { reason: given, .. } = seen.outcome else { return None };
            // A close frame holds 123 bytes of reason, so that a long role may have been cut.
            let right = if reason.contains("{role}") {
                given.starts_with(before) && (given.ends_with(after) || given.len() >= 118)
            } else {
                given == before
            };
            (!right).then(|| format!("\"{}\"", given.escape_debug()))
        });
        checks.push(Check { label: class.word().to_owned(), ..check });
    }
    if checks.is_empty() {
        checks.push(weight.check(
            Grade::Info,
            "the promised reason texts",
            "no close frame was seen that could carry one",
        ));
    }
    checks
}

fn close_reaches_wire(weight: Weight, run: &Run<'_>) -> Check {
    let codes: BTreeSet<u16> = run.profile.signals.values().filter_map(|signal| signal.close).collect();
    let list: Vec<String> = codes.iter().map(u16::to_string).collect();
    let expected = format!("the promised close code ({}) is seen by a client", list.join(", "));
    let mut http = BTreeMap::new();
    for seen in run.refused() {
        match told(seen.outcome) {
            Some((RefusesBy::Close, code)) if codes.contains(&code) => {
                return weight.holds(true, expected, format!("close {code}, in {}", seen.code));
            }
            Some((RefusesBy::Http, status)) => *http.entry(status).or_insert(0) += 1,
            _ => {}
        }
    }
    if http.is_empty() {
        return unseen(weight, &expected);
    }
    let statuses: Vec<String> = http.iter().map(|(status, count)| format!("HTTP {status} ({count} times)")).collect();
    let observed = format!(
        "every refusal came before the upgrade, by {}; the code and the reason never reach the wire, and a browser sees 1006",
        statuses.join(", ")
    );
    weight.holds(false, expected, observed)
}

/// A browser that offered subprotocols fails a connection on which none of them was selected, before it sees any code.
fn browser_sees_close(weight: Weight, run: &Run<'_>) -> Option<Check> {
    let offering: Vec<&Seen<'_>> = run
        .refused()
        .filter(|seen| matches!(told(seen.outcome), Some((RefusesBy::Close, _))))
        .filter(|seen| !super::answer::offered(&seen.connection.sent).is_empty())
        .collect();
    let declares = run.profile.carriers.iter().any(|carrier| matches!(carrier, Carrier::Subprotocol(_)));
    if !declares || offering.is_empty() {
        return None;
    }
    let expected = "a subprotocol selected before the close frame, so that a browser sees its code and not 1006";
    Some(all(weight, &offering, expected, |seen| {
        let selected = seen.connection.head()?.header("sec-websocket-protocol");
        selected.is_none().then(|| "none selected".to_owned())
    }))
}

fn close_codes(weight: Weight, refusals: &[&Seen<'_>]) -> Vec<Check> {
    let code = |seen: &Seen<'_>| match seen.outcome {
        Outcome::RefusedClose { code, .. } => *code,
        _ => None,
    };
    let must = all(weight, refusals, "close codes that may appear in a frame", |seen| {
        matches!(code(seen)?, 0..=999 | 1005 | 1006 | 1015).then(|| seen.outcome.to_string())
    });
    let should = Weight { level: Level::Should, basis: Basis::Should, ..weight };
    let assigned = all(should, refusals, "close codes that are assigned or private", |seen| {
        matches!(code(seen)?, 1004 | 1016..=2999 | 5000..).then(|| seen.outcome.to_string())
    });
    vec![must, assigned]
}

pub(super) fn malformed_close(close: &frame::Frame) -> Option<String> {
    if close.payload.len() > 125 {
        return Some(format!("a close frame of {} bytes", close.payload.len()));
    }
    if close.payload.len() == 1 {
        return Some("a close frame of one byte".to_owned());
    }
    if !close.fin || close.masked || close.rsv != 0 {
        return Some("a close frame that is fragmented, masked or has a reserved bit".to_owned());
    }
    if std::str::from_utf8(close.payload.get(2..).unwrap_or_default()).is_err() {
        return Some("a close reason that is no UTF-8".to_owned());
    }
    None
}

fn one_signal_per_class(weight: Weight, refusals: &[&Seen<'_>]) -> Vec<Check> {
    let mut checks = Vec::new();
    for class in Class::ALL {
        let mut signals: BTreeMap<String, &str> = BTreeMap::new();
        let mut count = 0;
        for seen in refusals.iter().filter(|seen| seen.class == Some(class) && !is_told_of_the_request(seen)) {
            count += 1;
            let how = match told(seen.outcome) {
                Some((RefusesBy::Http, status)) => format!("HTTP {status}"),
                Some((RefusesBy::Close, code)) => format!("close {code}"),
                None => seen.outcome.to_string(),
            };
            signals.entry(how).or_insert(seen.code);
        }
        // Two attempts are no habit.
        if count < 3 {
            continue;
        }
        let observed: Vec<String> = signals.iter().map(|(how, code)| format!("{how} in {code}")).collect();
        let check = weight.holds(signals.len() == 1, "one signal for one class of refusal", observed.join(", "));
        checks.push(Check { label: class.word().to_owned(), ..check });
    }
    if checks.is_empty() {
        checks.push(unseen(weight, "one signal for one class of refusal"));
    }
    checks
}
