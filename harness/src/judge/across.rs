//! Grades what only the whole run shows: how refusals are told, and what answers give away.
//!
//! Each attempt that was refused is told apart by its class; whether it was right to refuse it is not asked here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regex_lite::Regex;

use super::{Weight, answer, words};
use crate::case::{Across, CaseText, Expect};
use crate::observation::{Connection, Event, Proofs, STILL_THERE, What};
use crate::outcome::{Outcome, Service};
use crate::profile::{Carrier, Class, Profile, RefusesBy, Shape, Signal, records};
use crate::redact::{Redactor, contains};
use crate::secret::SecretBytes;
use crate::token::{Keyring, genuine_signatures};
use crate::verdict::{Basis, Check, Grade, Level, Severity};
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
    /// Whether another host or another path was asked for, where a refusal may be told in any way.
    pub elsewhere: bool,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// All that was seen.
    pub connection: &'a Connection,
}

/// One connection of the run, whatever it was for.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// The code of its case.
    pub code: &'a str,
    /// All that was seen.
    pub connection: &'a Connection,
}

/// Everything a run saw.
#[derive(Debug)]
pub struct Run<'a> {
    /// The openings of every case.
    pub seen: Vec<Seen<'a>>,
    /// Every connection of every case: the openings, those beside them, and what the HTTP endpoints said.
    pub heard: Vec<Heard<'a>>,
    /// What came of every control.
    pub controls: &'a [Outcome],
    /// The session that was held through the run, as it was found at the end.
    pub witness: Option<&'a Connection>,
    /// The keys of the target.
    pub keys: &'a Keyring,
    /// The host of the target.
    pub host: &'a str,
    /// What the target declares.
    pub profile: &'a Profile,
    /// Within this a refusal is prompt.
    pub refusal_budget: Duration,
    /// Whether the echo of the profile is declared, and not only what the target was seen to do.
    pub echo_is_promised: bool,
}

impl<'a> Run<'a> {
    fn refused(&self) -> impl Iterator<Item = &Seen<'a>> {
        self.seen.iter().filter(|seen| seen.expect == Expect::Refused && seen.outcome.is_refused())
    }

    fn refused_as(&self, class: Class) -> Vec<&Seen<'a>> {
        self.refused().filter(|seen| seen.class == Some(class)).collect()
    }
}

/// How bad tokens are refused where that is by the end of the connection and no word, more often than not: after the
/// upgrade, or before it.
pub fn habit(seen: &[Seen<'_>]) -> Option<bool> {
    let refused = || seen.iter().filter(|seen| seen.expect == Expect::Refused && seen.outcome.is_refused());
    let is_habit = |upgraded: &bool| {
        let so = refused().filter(|seen| *seen.outcome == Outcome::Dropped { upgraded: *upgraded }).count();
        2 * so > refused().count()
    };
    [false, true].into_iter().find(is_habit)
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
        Across::RefusesBeforeUpgrade => vec![refuses_before_upgrade(weight, run)],
        _ if refusals.is_empty() && asks_refusals(question) => {
            vec![unseen(weight, "refusals to look at")]
        }
        Across::NoDataBeforeClose => {
            // What tells why is no service, if it stands in another place than a browser looks at.
            let proofs = Proofs::of(run.profile, run.profile.echo.as_ref());
            // Some have no other way to say why than a message (Action Cable).
            let should = Weight { severity: Severity::Low, ..weight.at(Some(Level::Should)) };
            let count = |seen: &Seen<'_>| match seen.outcome {
                Outcome::RefusedClose { data_before, .. } => *data_before,
                Outcome::Dropped { upgraded: true } => seen.connection.messages().len(),
                _ => 0,
            };
            let is_served = |seen: &Seen<'_>| Service::default().proofs_in(&seen.connection.events, &proofs) > 0;
            let told = |seen: &Seen<'_>| format!("{}, after {} message(s)", seen.outcome, count(seen));
            vec![
                all(weight, &refusals, "nothing that only a served client hears before the close frame", |seen| {
                    (count(seen) > 0 && is_served(seen)).then(|| told(seen))
                }),
                all(should, &refusals, "no application message before the close frame", |seen| {
                    (count(seen) > 0).then(|| told(seen))
                }),
            ]
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
                Outcome::Dropped { .. } if seen.elsewhere => None,
                Outcome::Dropped { upgraded: false } if announces_body(seen) => None,
                // A client sends nothing behind its opening before it is answered (RFC 6455 §4.1), and who does may be cut off.
                Outcome::Dropped { .. } if is_hasty(seen) => None,
                Outcome::ServerError(_) | Outcome::Dropped { .. } => Some(seen.outcome.to_string()),
                _ => None,
            })]
        }
        Across::NotSuccess => vec![all(weight, &refusals, "HTTP refusals by 4xx", |seen| match seen.outcome {
            Outcome::OddStatus(_) if !seen.elsewhere => Some(seen.outcome.to_string()),
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
            let signature = signature_of(seen.connection)?;
            let mut answer = seen.connection.received_bytes();
            if let Some(only) = only_choice(seen.connection)
                && let Some(at) = memchr::memmem::find(&answer, only.as_bytes())
            {
                answer.drain(at..at + only.len());
            }
            contains(&answer, signature).then(|| "its signature stands in the answer".to_owned())
        })],
        Across::SecretAbsent => {
            let finds = secret_finder(run.keys);
            vec![everywhere(weight, &run.heard, "the secret does not come back, in any spelling", |connection| {
                let answer = connection.received_bytes();
                if finds(&answer) {
                    return Some("it stands in an answer".to_owned());
                }
                contains(&answer, b"PRIVATE KEY-----").then(|| "a private key stands in an answer".to_owned())
            })]
        }
        Across::NoInternals => {
            let line = Regex::new(LINE_OF_SOURCE).ok();
            vec![everywhere(weight, &run.heard, "no stack traces and no internals", |connection| {
                let answer = connection.received_bytes();
                let text = String::from_utf8_lossy(&answer);
                let mark = INTERNALS.iter().copied().find(|mark| text.contains(mark));
                let mark = mark.or_else(|| Some(line.as_ref()?.find(&text)?.as_str()));
                mark.map(|mark| format!("\"{}\" stands in an answer", mark.escape_debug()))
            })]
        }
        Across::Unmasked => {
            let every: Vec<&Seen<'_>> = run.seen.iter().collect();
            vec![all(weight, &every, "server frames without a mask", |seen| {
                seen.connection.frames().any(|(_, frame)| frame.masked).then(|| "a masked frame".to_owned())
            })]
        }
        Across::ValidMessages => {
            let promised = run.profile.echo.as_ref().filter(|_| run.echo_is_promised);
            let json = matches!(promised.map(|echo| &echo.reply), Some(Shape::Json(_)));
            // What keeps a connection alive may be a word beside the JSON.
            let keeps_alive = |text: &str| {
                run.profile.heartbeat.as_ref().is_some_and(|heartbeat| heartbeat.ask == text)
                    || run.profile.keepalive_text.is_some() && text.len() <= SHORT_WORD
            };
            // What is declared to open a session may be one as well: only the echo is said to be JSON.
            let declared = || {
                let profile = run.profile;
                let prelude = profile.prelude.as_ref().and_then(|prelude| prelude.reply.as_ref());
                let after = profile.first_message().and_then(|first| first.after.as_ref());
                profile.greetings().chain(prelude).chain(after)
            };
            let is_json = |text: &str| {
                records(text).all(|record| serde_json::from_str::<serde::de::IgnoredAny>(record).is_ok())
                    || keeps_alive(text)
                    || declared().any(|shape| shape.fits(text))
            };
            let expected = if json { "text messages in UTF-8 and JSON" } else { "text messages in UTF-8" };
            let every: Vec<&Seen<'_>> = run.seen.iter().collect();
            vec![all(weight, &every, expected, |seen| {
                seen.connection.messages().iter().filter(|message| message.opcode == frame::TEXT).find_map(|message| {
                    let text: String = message.text().chars().take(60).collect();
                    match std::str::from_utf8(&message.payload) {
                        Err(_) => Some(format!("\"{}\" is no UTF-8", text.escape_debug())),
                        Ok(text) if json && !is_json(text) => Some(format!("\"{}\" is no JSON", text.escape_debug())),
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
            // Whoever shuts an address out after so many bad tokens, for a while or for good, means well, also where it
            // does so without a word (RFC 6585 §7.2); and what stands before a server may fail for a moment.
            let shuts_out = |outcome: &Outcome| {
                matches!(
                    outcome,
                    Outcome::RefusedHttp(_)
                        | Outcome::RefusedClose { .. }
                        | Outcome::RefusedMessage(_)
                        | Outcome::Dropped { upgraded: false }
                )
            };
            let fails = |outcome: &Outcome| !matches!(outcome, Outcome::Admitted(_));
            let spells = run.controls.chunk_by(|one, next| fails(one) == fails(next)).filter(|spell| fails(&spell[0]));
            let recovers = spells.count() < 2 && matches!(run.controls.last(), Some(Outcome::Admitted(_)));
            match failed {
                Some(outcome) if outcome.is_undecided() || shuts_out(outcome) => {
                    vec![weight.check(Grade::Inconclusive, expected, observed)]
                }
                Some(_) if recovers => {
                    vec![weight.check(Grade::Inconclusive, expected, format!("{observed}, and admitted again later"))]
                }
                _ => vec![weight.holds(failed.is_none() && !run.controls.is_empty(), expected, observed)],
            }
        }
        Across::Witness => vec![witness(weight, run)],
        Across::NoTokenInRedirect => {
            let every: Vec<&Seen<'_>> = run.seen.iter().collect();
            vec![all(weight, &every, "no redirect that takes the token to another host", |seen| {
                let head = seen.connection.head().filter(|head| (300..400).contains(&head.status))?;
                let location = head.header("location")?;
                let signature = signature_of(seen.connection)?;
                (contains(location.as_bytes(), signature) && elsewhere(&location, run.host))
                    .then(|| format!("HTTP {} to another host, with the token", head.status))
            })]
        }
        Across::ChallengeFits => vec![challenge_fits(weight, &refusals)],
        Across::BareChallenge => {
            let expected = "no error code in the challenge to a client that sent no token";
            vec![all(weight, &refusals, expected, |seen| {
                let challenge = challenge(seen)?;
                (seen.connection.token.is_none() && parameter(&challenge, "error").is_some())
                    .then(|| challenge.escape_debug().to_string())
            })]
        }
        Across::StatusSemantics => vec![status_semantics(weight, run)],
        Across::NoLibraryWords => {
            vec![all(weight, &refusals, "no text of a library's error in a refusal", |seen| {
                let told = told_text(seen);
                LIBRARY_WORDS.iter().find(|words| told.contains(*words)).map(|words| format!("\"{words}\""))
            })]
        }
        Across::ExpectationsAbsent => {
            vec![all(weight, &refusals, "nothing of what the token should have been", |seen| disclosed(seen, run))]
        }
        Across::Banners => vec![banners(weight, run)],
        Across::StatusHeaders => vec![status_headers(weight, run)],
    }
}

/// The most bytes of a word such as `pong`.
const SHORT_WORD: usize = 16;

/// The session that was held lives on, or was ended in order: a limit of time is the server's right.
fn witness(weight: Weight, run: &Run<'_>) -> Check {
    let expected = "the session that was opened after the first control lives on at the end";
    let Some(witness) = run.witness else {
        return weight.check(Grade::Info, expected, "no session could be held beside the others");
    };
    // The answers to earlier pings show that it lived then. What a pong holds is asked elsewhere.
    let is_question = |event: &Event| matches!(&event.what, What::Sent { opcode: Some(frame::PING), payload } if payload == STILL_THERE);
    let is_answer = |event: &Event| matches!(&event.what, What::Frame(frame) if frame.opcode == frame::PONG);
    if witness.events.iter().skip_while(|event| !is_question(event)).any(is_answer) {
        return weight.holds(true, expected, "it answers");
    }
    match witness.close().map(frame::Frame::close_code) {
        // 1011 is an error; whatever else a server says at the end is a decision, to restart (1012) as well.
        Some(Some(code @ 1011)) => weight.holds(false, expected, format!("close {code} in the midst of the run")),
        Some(code) => {
            let code = code.map_or_else(|| "no code".to_owned(), |code| code.to_string());
            weight.check(Grade::Info, expected, format!("the server ended it in order (close, {code})"))
        }
        None if witness.end().is_some() => {
            let lived = witness.events.last().map_or(0, |event| event.at.as_secs());
            // Some balancers let no connection live longer than such a time, and can send no close frame for the server.
            let may_be_limited = [30, 60, 90, 120, 300, 600].iter().any(|limit| lived.abs_diff(*limit) <= 2);
            let weight = weight.at(may_be_limited.then_some(Level::Should));
            weight.holds(false, expected, format!("it was cut off without a close frame after {lived} s"))
        }
        None => weight.holds(false, expected, "it does not answer any more"),
    }
}

/// The subprotocol that a 101 selects, where the client has offered no other: without it a browser fails the connection.
fn only_choice(connection: &Connection) -> Option<String> {
    let selected = connection.head().filter(|head| head.status == 101)?.header("sec-websocket-protocol")?;
    let selected = selected.trim().to_owned();
    (answer::offered(&connection.sent) == [selected.as_str()]).then_some(selected)
}

/// The third part of the token that was sent, if it looks like one.
fn signature_of(connection: &Connection) -> Option<&[u8]> {
    let token = connection.token.as_ref()?.bytes()?;
    let signature = token.rsplit(|byte| *byte == b'.').next()?;
    // A short word such as `test` may stand in any message by chance.
    let marked = token.iter().filter(|byte| **byte == b'.').count() == 2 && signature.len() >= 16;
    marked.then_some(signature)
}

/// Whether a `Location` (RFC 9110 §10.2.2) names another host.
fn elsewhere(location: &str, host: &str) -> bool {
    let Some((scheme, rest)) = location.split_once("//") else { return false };
    let named = scheme.strip_suffix(':').is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    if !(scheme.is_empty() || named) {
        return false;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let named = authority.rsplit('@').next().unwrap_or_default();
    let bare = match named.strip_prefix('[') {
        Some(literal) => literal.split(']').next().unwrap_or_default(),
        None => named.split(':').next().unwrap_or_default(),
    };
    !bare.eq_ignore_ascii_case(host)
}

/// The challenge of a refusal by HTTP.
fn challenge(seen: &Seen<'_>) -> Option<String> {
    let head = seen.connection.head().filter(|head| head.status == 401 || head.status == 403)?;
    head.header("www-authenticate")
}

/// A parameter of a challenge (RFC 9110 §11.2), without its quotes. What stands between two quotes is one value, whatever
/// is in it.
fn parameter(challenge: &str, name: &str) -> Option<String> {
    let mut is_quoted = false;
    let parts = challenge.split(|character| {
        is_quoted ^= character == '"';
        !is_quoted && matches!(character, ',' | ' ')
    });
    let pairs = parts.filter_map(|part| part.trim().split_once('='));
    pairs
        .filter(|(key, _)| key.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().trim_matches('"').to_owned())
        .next()
}

fn challenge_fits(weight: Weight, refusals: &[&Seen<'_>]) -> Check {
    let expected = "challenges of Bearer with error=\"invalid_token\" or \"insufficient_scope\" to a token";
    let challenged: Vec<&Seen<'_>> = refusals
        .iter()
        .filter(|seen| {
            seen.connection.token.as_ref().and_then(|token| token.bytes()).is_some_and(|token| !token.is_empty())
        })
        .filter(|seen| seen.class.is_some_and(|class| class != Class::Missing) && challenge(seen).is_some())
        .copied()
        .collect();
    if challenged.is_empty() {
        return weight.check(Grade::Info, expected, "no token was answered with a challenge");
    }
    all(weight, &challenged, expected, |seen| {
        let challenge = challenge(seen)?;
        let error = parameter(&challenge, "error");
        let fits = challenge.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"))
            && matches!(error.as_deref(), Some("invalid_token" | "insufficient_scope"));
        (!fits).then(|| challenge.escape_debug().to_string())
    })
}

fn status_semantics(weight: Weight, run: &Run<'_>) -> Check {
    let mut statuses: BTreeMap<&str, BTreeSet<u16>> = BTreeMap::new();
    for seen in run.refused() {
        if let (Some(class), Some((RefusesBy::Http, status))) = (seen.class, told(seen.outcome)) {
            statuses.entry(class.word()).or_default().insert(status);
        }
    }
    let list = |codes: &BTreeSet<u16>| codes.iter().map(u16::to_string).collect::<Vec<_>>().join(" and ");
    let observed: Vec<String> = statuses.iter().map(|(class, codes)| format!("{class} by {}", list(codes))).collect();
    let observed = if observed.is_empty() { "no refusal by HTTP".to_owned() } else { observed.join(", ") };
    weight.check(Grade::Info, "401 for the unknown and 403 for those who may not, or 403 for all", observed)
}

/// What a refusal says in words: a reason, or a body and what the challenge describes (RFC 6750 §3).
fn told_text(seen: &Seen<'_>) -> String {
    match seen.outcome {
        Outcome::RefusedClose { reason, .. } => reason.clone(),
        Outcome::RefusedMessage(text) => text.clone(),
        _ => {
            let mut text = String::from_utf8_lossy(seen.connection.body()).into_owned();
            let challenge = challenge(seen).unwrap_or_default();
            if let Some(described) = parameter(&challenge, "error_description") {
                text.push('\n');
                text.push_str(&described);
            }
            text
        }
    }
}

/// Texts that only the errors of widespread libraries have, letter by letter.
const LIBRARY_WORDS: &[&str] = &[
    "Not enough segments",
    "Invalid header padding",
    "Invalid payload padding",
    "Invalid crypto padding",
    "Signature verification failed",
    "Signature has expired",
    "Error decoding token headers",
    "The specified alg value is not allowed",
    "jwt malformed",
    "jwt expired",
    "jwt must be provided",
    "token contains an invalid number of segments",
    "token is unverifiable",
    "JWT signature does not match locally computed signature",
    "JWT strings must contain exactly 2 period characters",
    "IDX10",
];

/// What a refusal tells that helps to forge the next token, if anything.
fn disclosed(seen: &Seen<'_>, run: &Run<'_>) -> Option<String> {
    let answer = seen.connection.received_bytes();
    let token = seen.connection.token.as_ref().and_then(|token| token.bytes());
    if let Some(token) = token {
        let told = genuine_signatures(run.keys, token).into_iter().any(|right| {
            // A token that was genuine may be refused for another reason, and its signature is no news.
            !contains(token, right.as_bytes()) && contains(&answer, right.as_bytes())
        });
        if told {
            return Some("the signature that the token should have had".to_owned());
        }
    }
    let told = told_text(seen);
    let claims = seen.connection.token.as_ref().and_then(|token| token.peek()).map(|(_, claims)| claims);
    // What the client sent itself is no news to it.
    let sent = |value: &str| {
        claims.as_ref().is_some_and(|claims| serde_json::to_string(claims).is_ok_and(|text| text.contains(value)))
    };
    for (name, short, value) in [("audience", "aud", &run.profile.audience), ("issuer", "iss", &run.profile.issuer)] {
        let Some(value) = value.as_ref().filter(|value| told.contains(value.as_str()) && !sent(value)) else {
            continue;
        };
        // The name of a service may stand in any page. Who tells what was expected says of what.
        let is_named = |word: &str| word.eq_ignore_ascii_case(name) || word.eq_ignore_ascii_case(short);
        if words(&told.replace(value.as_str(), "")).any(is_named) {
            return Some(format!("the {name} \"{}\"", value.escape_debug()));
        }
    }
    let roles = run.profile.roles.as_ref().map(|roles| roles.allowed.as_slice()).unwrap_or_default();
    let listed = roles.iter().filter(|role| words(&told).any(|word| word == *role) && !sent(role)).count();
    (listed > 1).then(|| format!("{listed} of the roles that would be let in"))
}

fn banners(weight: Weight, run: &Run<'_>) -> Check {
    let mut seen_banners = BTreeSet::new();
    for heard in &run.heard {
        let Some(head) = heard.connection.head() else { continue };
        for name in ["server", "x-powered-by", "via", "x-aspnet-version"] {
            if let Some(value) = head.header(name) {
                let value: String = value.chars().take(80).collect();
                seen_banners.insert(format!("{name}: {}", value.escape_debug()));
            }
        }
    }
    let list: Vec<String> = seen_banners.into_iter().take(8).collect();
    let observed = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    weight.check(Grade::Info, "what the server says about its make", observed)
}

/// A 405 names the methods that are taken (RFC 9110 §15.5.6), a 426 the protocol to ask for (§15.5.22).
fn status_headers(weight: Weight, run: &Run<'_>) -> Check {
    let expected = "405 with Allow, 426 with Upgrade";
    let wanted = |connection: &Connection| match connection.head().map(|head| head.status) {
        Some(405) => Some("allow"),
        Some(426) => Some("upgrade"),
        _ => None,
    };
    let told: Vec<Heard<'_>> = run.heard.iter().copied().filter(|heard| wanted(heard.connection).is_some()).collect();
    if told.is_empty() {
        return weight.check(Grade::Info, expected, "no answer was a 405 or a 426");
    }
    everywhere(weight, &told, expected, |connection| {
        let (head, name) = (connection.head()?, wanted(connection)?);
        head.header(name).is_none().then(|| format!("{} without `{name}`", head.status))
    })
}

/// What a close frame of a server must be.
pub(super) const WELL_FORMED_CLOSE: &str = "close frames of 2 to 125 bytes, final, unmasked, with a reason in UTF-8";

/// Finds the shared secrets among these keys, in any spelling. A short one of nothing but letters is an ordinary word, and
/// stands in answers by chance.
fn secret_finder(keys: &Keyring) -> impl Fn(&[u8]) -> bool + use<> {
    let is_word =
        |secret: &SecretBytes| secret.expose().len() < 16 && secret.expose().iter().all(u8::is_ascii_alphabetic);
    let secrets = keys.secret().into_iter().chain(keys.retired_secrets()).filter(|secret| !is_word(secret));
    Redactor::for_secrets(&secrets.cloned().collect::<Vec<_>>()).secret_finder()
}

/// A line of a source, as traces name it. Two numbers or more are asked for where the ending is a domain as well: a port
/// stands behind those.
const LINE_OF_SOURCE: &str = r#"\.(?:py", line \d+|(?:rs|m?js|cjs|ts):\d+:\d+|java:\d+\)|kt:\d+\)|go:\d+|rb:\d+:in|php(?::| on line |\()\d+|cs:line \d+)"#;

/// Texts that only a program's own trouble puts into an answer. The place of a mistake in JSON, "at line 1 column 2", is
/// none of them: it tells the client about its own text.
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
    "You have an error in your SQL syntax",
    "SQLITE_ERROR",
    "sqlite3.OperationalError",
    "psycopg2.",
    "sqlalchemy.exc.",
    "node:internal/",
    "/usr/lib/python",
    "/usr/src/app/",
];

fn asks_refusals(question: Across) -> bool {
    !matches!(
        question,
        Across::SecretAbsent
            | Across::NoInternals
            | Across::Unmasked
            | Across::ValidMessages
            | Across::Controls
            | Across::Witness
            | Across::NoTokenInRedirect
            | Across::StatusSemantics
            | Across::Banners
            | Across::StatusHeaders
    )
}

/// The one end of every question for which this run gives too little to look at.
fn unseen(weight: Weight, expected: &str) -> Check {
    weight.check(Grade::Inconclusive, expected, "no such attempt was seen in this run, or too few")
}

/// No attempt shows the flaw; the first ones that do are named.
fn all(weight: Weight, attempts: &[&Seen<'_>], expected: &str, flaw: impl Fn(&Seen<'_>) -> Option<String>) -> Check {
    let flaws = attempts.iter().filter_map(|seen| Some((seen.code, flaw(seen)?))).collect();
    none_of(weight, attempts.len(), expected, flaws)
}

/// No connection shows the flaw; the first ones that do are named.
fn everywhere(
    weight: Weight,
    heard: &[Heard<'_>],
    expected: &str,
    flaw: impl Fn(&Connection) -> Option<String>,
) -> Check {
    let flaws = heard.iter().filter_map(|heard| Some((heard.code, flaw(heard.connection)?))).collect();
    none_of(weight, heard.len(), expected, flaws)
}

fn none_of(weight: Weight, attempts: usize, expected: &str, flaws: Vec<(&str, String)>) -> Check {
    match flaws.as_slice() {
        [] if attempts == 0 => unseen(weight, expected),
        [] => weight.holds(true, expected, format!("{attempts} attempt(s), all so")),
        [(code, first), ..] => {
            let codes: BTreeSet<&str> = flaws.iter().map(|(code, _)| *code).collect();
            let others: Vec<&str> = codes.into_iter().filter(|other| other != code).take(5).collect();
            let tail = if others.is_empty() { String::new() } else { format!("; also {}", others.join(", ")) };
            weight.holds(false, expected, format!("{first} in {code} ({} of {attempts}){tail}", flaws.len()))
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
///   `token`, RFC 6455 §4.1), which is `invalid_request` (RFC 6750 §3.1); in a URL they are percent-encoded, and many
///   take no such path;
/// * a client sends nothing behind its opening before it is answered (RFC 6455 §4.1).
fn is_told_of_the_request(seen: &Seen<'_>) -> bool {
    let Seen { connection, outcome, .. } = seen;
    let token = connection.token.as_ref().and_then(|token| token.bytes()).unwrap_or_default();
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let target = connection.sent.split(|byte| *byte == b'?' || *byte == b'\r').next().unwrap_or_default();
    let is_unfit = !token.iter().all(fits) && (contains(&connection.sent, token) || target.contains(&b'%'));
    **outcome == Outcome::RefusedHttp(400) && (is_unfit || is_hasty(seen))
}

/// Whether something was sent behind the opening before it was answered.
fn is_hasty(seen: &Seen<'_>) -> bool {
    matches!(seen.connection.events.first(), Some(Event { what: What::Sent { .. }, .. }))
}

/// Whether a refusal has neither status nor close code, and the connection was left open.
fn is_told_in_a_message(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unserved | Outcome::RefusedMessage(_))
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
    if !attempts.is_empty() && attempts.iter().all(|seen| is_told_in_a_message(seen.outcome)) {
        let observed = "an error message or none, and a connection that is left open";
        return if promised {
            weight.holds(false, expected, observed)
        } else {
            weight.check(Grade::Info, expected, observed)
        };
    }
    // A refusal that was not told is for `Deliberate` and `Prompt`; here it shows nothing.
    let is_silent =
        |seen: &&Seen<'_>| matches!(seen.outcome, Outcome::Dropped { .. } | Outcome::RefusedClose { code: None, .. });
    if !promised && !attempts.is_empty() && attempts.iter().all(is_silent) {
        return weight.check(
            Grade::Info,
            expected,
            "the end of the connection, or a close frame without a code: no word",
        );
    }
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

/// Whether forged tokens are refused before the upgrade, which only a profile promises. That a close code comes after it is
/// asked by [`close_reaches_wire`].
fn refuses_before_upgrade(weight: Weight, run: &Run<'_>) -> Check {
    let weight = Weight { basis: Basis::Contract, level: Level::Must, ..weight };
    all(weight, &run.refused_as(Class::BadSignature), "no forged token is refused after the upgrade", |seen| {
        let is_late = matches!(seen.outcome, Outcome::RefusedClose { .. } | Outcome::Dropped { upgraded: true });
        is_late.then(|| seen.outcome.to_string())
    })
}

/// A browser that offered subprotocols fails a connection on which none of them was selected, before it sees any code.
fn browser_sees_close(weight: Weight, run: &Run<'_>) -> Option<Check> {
    let offering: Vec<&Seen<'_>> = run
        .refused()
        .filter(|seen| matches!(told(seen.outcome), Some((RefusesBy::Close, _))))
        .filter(|seen| !answer::offered(&seen.connection.sent).is_empty())
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
        let speaks_of_it = |seen: &&&Seen<'_>| {
            let is_cut_off = is_hasty(seen) && matches!(seen.outcome, Outcome::Dropped { .. });
            !is_cut_off && !is_told_of_the_request(seen)
        };
        for seen in refusals.iter().filter(|seen| seen.class == Some(class)).filter(speaks_of_it) {
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
