//! Servers with policies and habits of their own, which are every server's right: no case may accuse them.
//!
//! The same small server without the policy is the measure: what fails there is its own affair, and what fails beside that
//! is a false accusation.

mod hostile_support;

use std::collections::{BTreeSet, HashMap};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gatecrash::profile::{Class, Echo, Profile, Shape, Signal};
use gatecrash::report::{Failure, Report};
use gatecrash::verdict::{Severity, Verdict};
use gatecrash::wire::frame::{self, BINARY, CLOSE, PING, PONG, TEXT};
use gatecrash::{Suite, Target};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use hostile_support::{SECRET, StandIn, answer, close_bytes, frame_bytes, run_watched, token, upgrade};

/// What a server does in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    /// Nothing.
    Plain,
    /// A user who has a session gets no second one.
    OneSession,
    /// A user who begins a session loses the one before.
    LastSession,
    /// A refused client is told why in a text, and the connection ends without a close frame.
    TextAndEnd,
    /// A refused client is told why in a text, and then by a close frame.
    TextAndClose,
    /// The same, a while later.
    TextAndLateClose,
    /// A refused client is told nothing: the connection ends.
    BareEnd,
    /// The same, and so ends what a user begins who has a session.
    OneSessionBareEnd,
    /// An algorithm that is not its own is told by another status than a bad signature, which has one that is promised.
    AlgorithmApart,
    /// A message of more than 32 KiB is refused by close 1009.
    SmallMessages,
    /// Of a hundred messages at once half are too many, which is told by close 1008.
    FewMessages,
    /// The same, which is told by an error for each, and the session goes on.
    FewMessagesByError,
    /// The same, which is told by nothing.
    FewMessagesBySilence,
    /// Of messages at once twenty are allowed and then every fifth; the others are answered by an error.
    FewMessagesRefilled,
    /// A message of more than 32 KiB is answered by an error, and the session goes on.
    SmallMessagesByError,
    /// What is answered at one time is sent in one frame.
    Batches,
    /// Texts are answered by binary messages.
    Binary,
    /// Answers come in the order of chance.
    Disorder,
    /// Of more than [`ROOM`] sessions at once the last is turned away by 503.
    Full503,
    /// The same, by close 1013.
    Full1013,
    /// The same, by close 4429.
    Full4429,
    /// The same, by close 4000.
    Full4000,
    /// Everybody is greeted; whoever is refused is sent away a while later.
    Greets,
    /// Only pings are answered, and a bad token is refused when it was looked at for a while.
    SilentAndSlow,
    /// Of messages at once five are allowed, and each of the others is answered by an error.
    FiveMessages,
    /// A client without a token is a guest.
    Guests,
    /// For another host, or another path, nobody is there.
    OneHost,
    /// Only pings are answered, whoever is silent is ended soon, and a token without a signature is let in: a hole, and no policy.
    EndsTheSilent,
    /// Who spoke stands in each answer, and a message with a member that nobody knows is answered by an error.
    StrictMembers,
    /// Who spoke stands in each answer, as the message says if it does: a hole, and no policy.
    BelievesMembers,
}

/// How many sessions a server has room for that may be full.
const ROOM: usize = 3;

/// The session of each user, with its number.
type Sessions = Arc<Mutex<HashMap<String, (usize, TcpStream)>>>;

/// Whom a token names, if it is right.
fn bearer(head: &str) -> Option<String> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = 0;
    validation.validate_nbf = true;
    let key = DecodingKey::from_secret(SECRET.as_bytes());
    let claims = jsonwebtoken::decode::<Value>(token(head)?, &key, &validation).ok()?.claims;
    let user = claims.get("sub")?.as_str()?;
    user.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-').then(|| user.to_owned())
}

/// Whether the library gives up before it looks at the signature.
fn is_unlooked_at(head: &str) -> bool {
    token(head).is_some_and(|token| match jsonwebtoken::decode_header(token) {
        Ok(header) => header.alg != Algorithm::HS256,
        Err(_) => true,
    })
}

fn gate(policy: Policy, sessions: &Sessions, mut stream: TcpStream, number: usize, head: &str) {
    let is_opening = head.starts_with("GET ") && head.contains("Sec-WebSocket-Key: ");
    let is_elsewhere =
        !head.starts_with("GET /ws?") && !head.starts_with("GET /ws ") || !head.contains("\r\nHost: 127.0.0.1:");
    if policy == Policy::OneHost && is_elsewhere {
        return answer(stream, "503 Service Unavailable");
    }
    let guest = (policy == Policy::Guests && token(head).is_none_or(str::is_empty)).then(|| format!("guest-{number}"));
    let is_unsigned = token(head).is_some_and(|token| token.ends_with('.'));
    let hole = (policy == Policy::EndsTheSilent && is_unsigned).then(|| "anybody".to_owned());
    let Some(user) = bearer(head).or(guest).or(hole).filter(|_| is_opening) else {
        let told: &[Vec<u8>] = match policy {
            Policy::TextAndEnd => &[frame_bytes(TEXT, b"unauthorized")],
            Policy::TextAndClose => &[frame_bytes(TEXT, br#"{"type":"disconnect"}"#), close_bytes(1008, b"")],
            Policy::TextAndLateClose => &[frame_bytes(TEXT, br#"{"error":"unauthorized"}"#)],
            Policy::BareEnd | Policy::OneSessionBareEnd => &[],
            Policy::Greets => &[frame_bytes(TEXT, b"hello")],
            Policy::SilentAndSlow if token(head).is_some() => &[],
            Policy::AlgorithmApart if is_unlooked_at(head) => return answer(stream, "400 Bad Request"),
            _ => return answer(stream, "401 Unauthorized\r\nWWW-Authenticate: Bearer"),
        };
        upgrade(&mut stream, head);
        let _ = stream.write_all(&told.concat());
        let late = match policy {
            Policy::TextAndLateClose => 100,
            Policy::Greets => 700,
            Policy::SilentAndSlow => 1_600,
            _ => 0,
        };
        if late > 0 {
            std::thread::sleep(Duration::from_millis(late));
            let _ = stream.write_all(&close_bytes(4401, b""));
        }
        let _ = stream.shutdown(Shutdown::Write);
        // What is unread would make a reset of the end.
        let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
        while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {}
        return;
    };
    let by_head = matches!(policy, Policy::Full503 | Policy::Full1013 | Policy::Full4429 | Policy::Full4000);
    let user = if by_head { format!("{user}/{number}") } else { user };
    let earlier = {
        let mut sessions = sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if by_head && sessions.len() >= ROOM {
            drop(sessions);
            return turn_away(policy, stream, head);
        }
        let earlier = sessions.remove(&user);
        let kept = match (policy, &earlier) {
            (Policy::OneSession | Policy::OneSessionBareEnd, Some((number, earlier))) => (*number, earlier.try_clone()),
            _ => (number, stream.try_clone()),
        };
        if let (number, Ok(kept)) = kept {
            sessions.insert(user.clone(), (number, kept));
        }
        earlier
    };
    match (policy, earlier) {
        (Policy::OneSession, Some(_)) => return answer(stream, "409 Conflict"),
        (Policy::OneSessionBareEnd, Some(_)) => return upgrade(&mut stream, head),
        (Policy::LastSession, Some((_, mut earlier))) => {
            let _ = earlier.write_all(&close_bytes(4009, b"another session"));
            let _ = earlier.shutdown(Shutdown::Both);
        }
        _ => {}
    }
    upgrade(&mut stream, head);
    if policy == Policy::Greets {
        let _ = stream.write_all(&frame_bytes(TEXT, b"hello"));
    }
    serve(policy, &mut stream, &user);
    let _ = stream.shutdown(Shutdown::Both);
    let mut sessions = sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if sessions.get(&user).is_some_and(|(kept, _)| *kept == number) {
        sessions.remove(&user);
    }
}

fn turn_away(policy: Policy, mut stream: TcpStream, head: &str) {
    let code = match policy {
        Policy::Full1013 => 1013,
        Policy::Full4429 => 4429,
        Policy::Full4000 => 4000,
        _ => return answer(stream, "503 Service Unavailable"),
    };
    upgrade(&mut stream, head);
    let _ = stream.write_all(&close_bytes(code, b"too many"));
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
    while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {}
}

/// The answer to a message that names its speaker.
fn named(policy: Policy, payload: &[u8], user: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(payload);
    let mut message: Map<String, Value> = serde_json::from_str(text.trim_end_matches('\u{1e}')).unwrap_or_default();
    if policy == Policy::StrictMembers && message.keys().any(|name| name != "m") {
        return br#"{"error":"unknown member"}"#.to_vec();
    }
    if policy == Policy::StrictMembers || !message.contains_key("user") {
        message.insert("user".to_owned(), user.into());
    }
    Value::Object(message).to_string().into_bytes()
}

fn serve(policy: Policy, stream: &mut TcpStream, user: &str) {
    let mut unread = Vec::new();
    let mut bytes = [0; 16 << 10];
    if policy == Policy::EndsTheSilent {
        let _ = stream.set_read_timeout(Some(Duration::from_millis(2_000)));
    }
    let mut heard = 0;
    loop {
        let mut answers: Vec<Vec<u8>> = Vec::new();
        let mut out = Vec::new();
        let mut is_over = false;
        while let frame::Read::Frame(frame, used) = frame::read(&unread, 1 << 20) {
            unread.drain(..used);
            let is_text = frame.opcode == TEXT;
            heard += usize::from(is_text);
            match frame.opcode {
                TEXT if policy == Policy::SmallMessages && frame.payload.len() > 32 << 10 => {
                    out.extend(close_bytes(1009, b""));
                    is_over = true;
                }
                TEXT if policy == Policy::FewMessages && heard > 50 => {
                    out.extend(close_bytes(1008, b"too many messages"));
                    is_over = true;
                }
                TEXT if policy == Policy::SmallMessagesByError && frame.payload.len() > 32 << 10 => {
                    answers.push(br#"{"error":"too long"}"#.to_vec());
                }
                TEXT if policy == Policy::FewMessagesByError && heard > 50 => {
                    answers.push(br#"{"error":"too many messages"}"#.to_vec());
                }
                TEXT if policy == Policy::FewMessagesRefilled && heard > 20 && !heard.is_multiple_of(5) => {
                    answers.push(br#"{"error":"slow down"}"#.to_vec());
                }
                TEXT if policy == Policy::FewMessagesBySilence && heard > 50 => {}
                TEXT if policy == Policy::FiveMessages && heard > 5 => {
                    answers.push(br#"{"error":"slow down"}"#.to_vec());
                }
                TEXT if matches!(policy, Policy::SilentAndSlow | Policy::EndsTheSilent) => {}
                TEXT if matches!(policy, Policy::StrictMembers | Policy::BelievesMembers) => {
                    answers.push(named(policy, &frame.payload, user));
                }
                TEXT => answers.push(frame.payload.to_vec()),
                PING => out.extend(frame_bytes(PONG, &frame.payload)),
                CLOSE => {
                    out.extend(frame_bytes(CLOSE, &frame.payload));
                    is_over = true;
                }
                _ => {}
            }
            if is_over {
                break;
            }
        }
        if policy == Policy::Disorder {
            answers.reverse();
        }
        let opcode = if policy == Policy::Binary { BINARY } else { TEXT };
        let answers: Vec<u8> = match policy {
            Policy::Batches if !answers.is_empty() => frame_bytes(opcode, &answers.concat()),
            _ => answers.iter().flat_map(|answer| frame_bytes(opcode, answer)).collect(),
        };
        if stream.write_all(&[answers, out].concat()).is_err() || is_over {
            return;
        }
        match stream.read(&mut bytes) {
            Err(_) if policy == Policy::EndsTheSilent => {
                let _ = stream.write_all(&close_bytes(4408, b"silent"));
                return;
            }
            Ok(0) | Err(_) => return,
            Ok(count) => unread.extend_from_slice(&bytes[..count]),
        }
    }
}

/// The cases that fail badly, with what they saw.
fn accused(policy: Policy, suite: Suite) -> BTreeSet<(String, String)> {
    accused_as(policy, suite, None)
}

/// The same, with every token in the name of this user.
fn accused_as(policy: Policy, suite: Suite, user: Option<&str>) -> BTreeSet<(String, String)> {
    accused_of(policy, suite, |profile| profile.user = user.map(str::to_owned))
}

/// The same, of a server that says more about itself.
fn accused_of(policy: Policy, suite: Suite, declare: impl FnOnce(&mut Profile)) -> BTreeSet<(String, String)> {
    let report = judged(policy, suite, declare);
    assert_eq!(report.failure, None, "{policy:?}: {report}");
    let is_bad = |verdict| matches!(verdict, Verdict::Fail | Verdict::Error);
    let bad = report.trials.iter().filter(|trial| is_bad(trial.verdict) && trial.severity >= Severity::Medium);
    bad.map(|trial| (trial.id.clone(), trial.observed.clone())).collect()
}

/// All that a run came to.
fn judged(policy: Policy, suite: Suite, declare: impl FnOnce(&mut Profile)) -> Report {
    let sessions = Sessions::default();
    let server = StandIn::new(move |stream, number, head| gate(policy, &sessions, stream, number, head));
    let echo = Echo {
        send: "{\"m\":\"{message}\"}\u{1e}".to_owned(),
        reply: Shape::Json([("/m".to_owned(), Value::from("{message}"))].into()),
        broadcast: false,
    };
    // Nothing is measured here: the machine may be busy.
    let mut profile = Profile {
        url: Some(server.url()),
        secret: Some(SECRET.to_owned()),
        echo: Some(echo),
        refusal_budget_ms: Some(60_000),
        handshake_budget_ms: Some(60_000),
        ..Profile::default()
    };
    declare(&mut profile);
    if policy == Policy::AlgorithmApart {
        let promised = Signal { http: Some(401), ..Signal::default() };
        profile.signals = [(Class::BadSignature, promised)].into();
    }
    let target = Target::from_profile(profile).expect("a target");
    // Two dozen servers share the machine.
    run_watched(suite.seed(7), target, Duration::from_secs(400))
}

#[test]
fn no_policy_of_a_server_is_accused() {
    const POLICIES: [Policy; 23] = [
        Policy::OneSession,
        Policy::LastSession,
        Policy::TextAndEnd,
        Policy::TextAndClose,
        Policy::TextAndLateClose,
        Policy::BareEnd,
        Policy::OneSessionBareEnd,
        Policy::AlgorithmApart,
        Policy::SmallMessages,
        Policy::SmallMessagesByError,
        Policy::FewMessages,
        Policy::FewMessagesByError,
        Policy::FewMessagesBySilence,
        Policy::FewMessagesRefilled,
        Policy::Batches,
        Policy::Binary,
        Policy::Disorder,
        Policy::Full503,
        Policy::Full1013,
        Policy::Full4429,
        Policy::Full4000,
        Policy::FiveMessages,
        Policy::OneHost,
    ];
    let own: BTreeSet<String> = accused(Policy::Plain, Suite::bundled()).into_iter().map(|(id, _)| id).collect();
    // It serves on whatever the bytes of a text are, and `jsonwebtoken` does not look at `crit`.
    assert_eq!(own.iter().map(String::as_str).collect::<Vec<_>>(), ["MSG-023@query", "MSG-034@query", "SIG-049@query"]);
    let threads = POLICIES.map(|policy| std::thread::spawn(move || (policy, accused(policy, Suite::bundled()))));
    let mut wrong = String::new();
    for thread in threads {
        let (policy, accused) = thread.join().expect("no panic");
        for (id, observed) in accused.into_iter().filter(|(id, _)| !own.contains(id)) {
            wrong.push_str(&format!("{policy:?}: {id}: {observed}\n"));
        }
    }
    assert!(wrong.is_empty(), "beside {own:?}:\n{wrong}");
}

#[test]
fn a_case_by_itself_accuses_nobody_either() {
    // All that it asks is that nothing breaks, and a bare end may be a crash.
    let found = accused(Policy::BareEnd, Suite::bundled().all().select("CLM-063"));
    assert!(found.is_empty(), "{found:?}");
}

/// The cases of these names or codes, also those of `set: all`.
fn only(words: &[&str]) -> Suite {
    words.iter().fold(Suite::bundled().all(), |suite, word| suite.select(word))
}

#[test]
fn a_limit_of_messages_is_a_warning_however_it_is_told() {
    const POLICIES: [Policy; 5] = [
        Policy::FewMessages,
        Policy::FewMessagesByError,
        Policy::FewMessagesBySilence,
        Policy::FewMessagesRefilled,
        Policy::FiveMessages,
    ];
    for policy in POLICIES {
        let report = judged(policy, only(&["MSG-004", "MSG-005"]), |_| {});
        let verdicts: Vec<_> = report.trials.iter().map(|trial| trial.verdict).collect();
        assert_eq!(verdicts, [Verdict::Warn, Verdict::Warn], "{policy:?}: {report}");
    }
}

#[test]
fn a_declared_limit_may_be_told_by_an_error() {
    for policy in [Policy::SmallMessagesByError, Policy::SmallMessages] {
        let found = accused_of(policy, only(&["MSG-011", "MSG-012"]), |profile| {
            profile.max_message_bytes = Some(32 << 10);
        });
        // What comes in fragments this small server does not put together.
        let found: Vec<_> = found.iter().filter(|(id, _)| !id.starts_with("MSG-012")).collect();
        assert!(found.is_empty(), "{policy:?}: {found:?}");
    }
}

#[test]
fn a_close_may_come_a_while_after_the_word_that_explains_it() {
    // Among many servers the control is slow, and whoever was slow is waited for anyway.
    let suite = ["SIG-001", "SIG-002", "SIG-004", "CLM-001"].into_iter().fold(Suite::bundled(), Suite::select);
    let found = accused(Policy::TextAndLateClose, suite);
    assert!(found.is_empty(), "{found:?}");
}

/// A token is refused by what comes of it, however long that takes and whatever everybody is told before.
#[test]
fn a_refusal_may_take_its_time_behind_a_greeting_or_behind_nothing() {
    let suite = || only(&["SIG-001", "SIG-002", "SIG-004", "CLM-001", "AUTH-004"]);
    let found = accused(Policy::Greets, suite());
    assert!(found.is_empty(), "{found:?}");
    let found = accused_of(Policy::SilentAndSlow, suite(), |profile| profile.echo = None);
    assert!(found.is_empty(), "{found:?}");
}

/// A server that ends whoever is silent has not refused the one whom it let in.
#[test]
fn the_end_of_a_silent_session_is_no_refusal() {
    let report = judged(Policy::EndsTheSilent, only(&["SIG-008", "SIG-001"]), |profile| profile.echo = None);
    let verdicts: Vec<_> = report.trials.iter().map(|trial| (trial.code.as_str(), trial.verdict)).collect();
    assert_eq!(verdicts, [("SIG-001", Verdict::Pass), ("SIG-008", Verdict::Fail)], "{report}");
}

/// It can be declared, and what is not a guest is refused all the same.
#[test]
fn guests_are_no_hole_where_they_are_declared() {
    let declared = |profile: &mut Profile| profile.anonymous = true;
    let words = ["AUTH-004", "AUTH-005", "AUTH-012", "AUTH-013", "AUTH-014", "AUTH-019", "AUTH-020", "HSK-037", "CAR"];
    let report = judged(Policy::Guests, only(&words), declared);
    let own = judged(Policy::Plain, only(&words), |_| {});
    let bad = |report: &Report| -> BTreeSet<String> {
        let bad = report.trials.iter().filter(|trial| matches!(trial.verdict, Verdict::Fail | Verdict::Error));
        bad.map(|trial| trial.id.clone()).collect()
    };
    assert_eq!(bad(&report).difference(&bad(&own)).collect::<Vec<_>>(), Vec::<&String>::new(), "{report}");
    let undeclared = bad(&judged(Policy::Guests, only(&["AUTH-004"]), |_| {}));
    assert!(undeclared.contains("AUTH-004@query"), "{undeclared:?}");
}

/// Whoever refuses a message that names another has not let anybody speak in that name.
#[test]
fn a_message_that_is_refused_for_its_members_is_no_impersonation() {
    let verdicts = |policy| {
        let report = judged(policy, only(&["USR-001", "USR-002", "USR-006"]), |profile| {
            profile.identity_claims = vec!["sub".to_owned()];
            profile.identity_echo = Some("/user".to_owned());
        });
        report.trials.iter().map(|trial| trial.verdict).collect::<Vec<_>>()
    };
    assert_eq!(verdicts(Policy::StrictMembers), [Verdict::Pass; 3]);
    assert_eq!(verdicts(Policy::BelievesMembers), [Verdict::Fail, Verdict::Fail, Verdict::Pass]);
}

#[test]
fn that_nobody_is_there_for_another_host_is_an_answer() {
    let report = judged(Policy::OneHost, only(&["HSK-020", "HSK-021", "AUTH-013"]), |_| {});
    let verdicts: Vec<_> = report.trials.iter().map(|trial| trial.verdict).collect();
    assert_eq!(verdicts, [Verdict::Pass; 3], "{report}");
}

#[test]
fn a_pinned_user_is_played_one_session_at_a_time_where_the_server_bears_one() {
    const POLICIES: [Policy; 3] = [Policy::OneSession, Policy::LastSession, Policy::OneSessionBareEnd];
    let own = accused_as(Policy::Plain, Suite::bundled(), Some("alice"));
    let threads =
        POLICIES.map(|policy| std::thread::spawn(move || accused_as(policy, Suite::bundled(), Some("alice"))));
    for (policy, thread) in POLICIES.iter().zip(threads) {
        let found = thread.join().expect("no panic");
        let found: Vec<_> = found.difference(&own).collect();
        assert!(found.is_empty(), "{policy:?}: {found:?}");
    }
}

/// A server that refuses the good token, too, has shown nothing by its refusals.
#[test]
fn a_text_that_a_close_follows_admits_nobody() {
    let policies = [Policy::TextAndEnd, Policy::TextAndClose, Policy::TextAndLateClose];
    let tries = policies.iter().flat_map(|policy| [(*policy, false), (*policy, true)]);
    let threads = tries.map(|(policy, declares_echo)| {
        std::thread::spawn(move || {
            let report = judged(policy, Suite::bundled().select("SIG-001"), |profile| {
                profile.secret = Some("another secret than that of this server".to_owned());
                profile.echo = profile.echo.take().filter(|_| declares_echo);
            });
            let is_told = matches!(report.failure, Some(Failure::FirstControl(_)));
            assert!(is_told, "{policy:?}, echo declared: {declares_echo}: {report}");
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().expect("no panic");
    }
}

/// Every case that says something would fail by it.
#[test]
fn an_echo_that_is_declared_wrongly_is_told_once_and_nothing_is_judged_by_it() {
    let report = judged(Policy::Plain, Suite::bundled(), |profile| {
        let echo = profile.echo.take().expect("an echo");
        let reply = Shape::Json([("/text".to_owned(), Value::from("{message}"))].into());
        profile.echo = Some(Echo { reply, ..echo });
        profile.welcome = None;
    });
    let Some(Failure::FirstControl(finding)) = &report.failure else { panic!("{report}") };
    assert!(finding.advice.contains(r#"`reply: {"json":{"/m":"{message}"}}`"#), "{}", finding.advice);
}
