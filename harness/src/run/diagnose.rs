//! Further connections after a control that failed, to find out why. What to try and what it means is decided in
//! [`crate::diagnosis`]; here it is tried.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::runner::{Runner, Tried};
use super::session::{Context, control, play};
use crate::case::{Alive, Expect, Open, Step};
use crate::diagnosis::{self, Attempt, Cause, Finding, Lost};
use crate::judge;
use crate::observation::{Connection, Message};
use crate::outcome::{self, Outcome};
use crate::profile::{Shape, records};
use crate::redact::Redactor;
use crate::secret;
use crate::target::{Endpoint, Target};
use crate::token::{KeyChoice, Op, Recipe, Sign, Token};

/// The longest that is spent on finding out why the first control failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Seconds that the token of a probe is valid before and after now.
const DAY: u64 = 86_400;

impl Runner<'_> {
    /// Finds out why not even the first control was admitted. The texts of what is found hold no secret.
    pub(super) async fn diagnose_first(&mut self, tried: &Tried, redactor: &Redactor) -> Finding {
        let target = self.target.clone();
        let outcome = &tried.outcome;
        let mut cleaner = redactor.clone().and_request(&tried.connection.sent);
        let greeting = tried.connection.messages().first().map(Message::text);
        let known = match greeting.and_then(|greeting| diagnosis::socket_io_greeted(&target, &greeting)) {
            Some(advice) => Some((Cause::Profile, advice)),
            None => {
                let answer = diagnosis::answer(&target, outcome, tried.connection.head(), &self.peek(outcome).await);
                answer.or_else(|| diagnosis::socket_io_at(&target).map(|advice| (Cause::Profile, advice)))
            }
        };
        let finding = match known {
            Some((cause, advice)) => Finding { cause, observed: outcome.to_string(), advice },
            None => self.try_others(&target, outcome, &mut cleaner).await,
        };
        let clean = |text: &str| cleaner.clean(text);
        let mut observed = finding.observed.clone();
        // The outcome itself quotes a refusal; what else was said may tell why nothing came of it.
        if let (Outcome::Unserved | Outcome::Limbo, Some(said)) = (outcome, tried.connection.messages().last()) {
            observed.push_str(&format!("; it said \"{}\"", said.text().escape_debug()));
        }
        Finding { observed: clean(&observed), advice: clean(&finding.advice), ..finding }
    }

    /// Finds out whether what the first control was admitted by is sent to a client without a token as well.
    pub(super) async fn look_behind_greeting(&mut self, tried: &Tried, redactor: &Redactor) -> Option<Finding> {
        let target = self.target.clone();
        if target.profile.anonymous {
            return None;
        }
        let greeting = tried.connection.messages().first().map(Message::text).unwrap_or_default();
        // A packet of Engine.IO shows nothing, whatever else was promised.
        if !diagnosis::tells_by_greeting(&tried.outcome, &target.profile, self.learned.echo.is_some())
            && diagnosis::socket_io_greeted(&target, &greeting).is_none()
        {
            return None;
        }
        let bare = self.bare(&target).await?;
        let finding = diagnosis::greets_anybody(&tried.outcome, &bare, &greeting)?;
        Some(Finding { advice: redactor.clean(&finding.advice), ..finding })
    }

    /// Finds out, where the answer that the profile declares was not in the first control, whether the word comes back in
    /// another shape: every case that says something would fail by that.
    pub(super) async fn look_at_echo(&mut self, tried: &Tried, redactor: &Redactor) -> Option<Finding> {
        let echo = self.learned.echo.clone().filter(|_| self.learned.echo_is_promised)?;
        let learned = Arc::clone(&self.learned);
        let is_answered = |connection: &Connection| !judge::answers(connection, 0, &learned).is_empty();
        if !matches!(tried.outcome, Outcome::Admitted(_)) || is_answered(&tried.connection) {
            return None;
        }
        let actor = self.actor(&self.target.profile.carriers[0].clone());
        // As long as an answer may take.
        let steps = [Step::Open(Box::default()), Step::Alive(Alive::default())];
        let observation = play(&self.context(), &actor, &steps).await;
        let connection = observation.connections.first()?;
        if is_answered(connection) {
            return None;
        }
        let words = judge::probes(connection, &echo);
        let texts: Vec<String> = connection.messages().iter().map(Message::text).collect();
        let texts: Vec<&str> = texts.iter().flat_map(|text| records(text)).collect();
        let (text, word, shape) = texts.iter().find_map(|text| {
            words.iter().find_map(|word| Shape::around(text, word).map(|shape| (text, word, shape)))
        })?;
        let finding = diagnosis::echoes_otherwise(&echo, word, text, &shape);
        let token = connection.token.as_ref().and_then(Token::bytes).unwrap_or_default();
        let redactor = redactor.clone().and_request(&connection.sent).and_token(token);
        Some(Finding {
            observed: redactor.clean(&finding.observed),
            advice: redactor.clean(&finding.advice),
            ..finding
        })
    }

    /// Tries one way after another until one is admitted.
    async fn try_others(&mut self, target: &Target, outcome: &Outcome, cleaner: &mut Redactor) -> Finding {
        let text = target.profile.secret.as_deref().and_then(|notation| secret::undecoded(notation).ok().flatten());
        let deadline = Instant::now() + self.scaled(PATIENCE);
        let mut tried = 0;
        for attempt in diagnosis::attempts(target, text.as_ref()) {
            if let Some((_, secret)) = &attempt.secret {
                *cleaner = cleaner.clone().and(secret);
            }
            let Ok(seen) = timeout_at(deadline, self.attempt(target, &attempt, Recipe::Valid)).await else { break };
            tried += 1;
            match seen {
                Some(Outcome::Admitted(_)) => {
                    let wrong = Recipe::Forge(vec![Op::Sign(Sign { key: Some(KeyChoice::Wrong), with: None })]);
                    let forged = timeout_at(deadline, self.attempt(target, &attempt, wrong)).await.ok().flatten();
                    return diagnosis::confirmed(&attempt, target, outcome, forged.as_ref());
                }
                // Whoever is throttled or gone answers no question.
                Some(other) if other.is_undecided() => break,
                _ => {}
            }
        }
        for (what, recipe) in diagnosis::forgeries(target) {
            let forged = timeout_at(deadline, self.attempt(target, &Attempt::default(), recipe)).await.ok().flatten();
            if let Some(seen @ Outcome::Admitted(_)) = forged {
                return diagnosis::takes_forgeries(what, outcome, &seen);
            }
        }
        let patience = self.deadlines.refusal;
        let bare = timeout(patience, self.bare(target)).await.ok().flatten();
        diagnosis::nothing_found(target, outcome, tried, bare.as_ref())
    }

    /// What comes of a client without a token.
    async fn bare(&mut self, target: &Target) -> Option<Outcome> {
        let open = Open { token: Recipe::Absent, expect: Expect::Refused, ..Open::default() };
        self.probe(target, open).await
    }

    /// Opens a connection in this way; none if no such token can be made.
    async fn attempt(&mut self, target: &Target, attempt: &Attempt, token: Recipe) -> Option<Outcome> {
        let declared = attempt.target(target);
        // A refusing server speaks first: nothing is sent into a socket that it may have closed.
        let expect = if token == Recipe::Valid { Expect::Admitted } else { Expect::Refused };
        self.probe(&declared, Open { token, expect, ..Open::default() }).await
    }

    /// Plays one opening against a target that is declared as `declared`.
    pub(super) async fn probe(&mut self, declared: &Target, open: Open) -> Option<Outcome> {
        let actor = self.actor(&declared.profile.carriers[0]);
        let context = Context { target: declared, ..self.context() };
        let observation = play(&context, &actor, &[Step::Open(Box::new(open))]).await;
        let connection = observation.connections.into_iter().next()?;
        Some(outcome::of(&connection.events, self.learned.speaks))
    }

    /// What the port says to whoever speaks to it in the other way, TLS or plain, where the answer so far leaves room
    /// for that.
    async fn peek(&self, outcome: &Outcome) -> Vec<u8> {
        let endpoint = &self.target.endpoint;
        let doubtful = match outcome {
            Outcome::NotHttp(_) | Outcome::Dropped { upgraded: false } | Outcome::Hang => true,
            // Servers that notice plain HTTP on a TLS port say so with this status.
            Outcome::RefusedHttp(status) => *status == 400,
            _ => endpoint.tls,
        };
        let hello = if endpoint.tls { b"GET / HTTP/1.0\r\n\r\n".to_vec() } else { client_hello() };
        if doubtful { exchange(endpoint, &hello, self.deadlines.refusal).await.unwrap_or_default() } else { Vec::new() }
    }

    /// Finds out, by at most two further connections, why a control failed that had been admitted before.
    pub(super) async fn diagnose_lost(&mut self, mut seen: Lost) -> Finding {
        let target = self.target.clone();
        seen.pinned_user.clone_from(&target.profile.user);
        if !target.makes_tokens() {
            // There is no other token to ask with; only whether anybody is there can be found out.
            let patience = self.deadlines.dial;
            seen.listens = Some(matches!(timeout(patience, dial(&target.endpoint)).await, Ok(Ok(_))));
            return diagnosis::lost(&seen);
        }
        let is_refusal = |outcome: &Outcome| matches!(outcome, Outcome::RefusedHttp(_) | Outcome::RefusedClose { .. });
        match seen.tries.last() {
            Some(last) if is_refusal(last) || (last.is_refused() && seen.forged.contains(last)) => {
                if seen.pinned_user.is_some() {
                    seen.other_user = self.as_somebody_else(&target).await;
                }
                if !matches!(seen.other_user, Some(Outcome::Admitted(_))) {
                    seen.any_day = self.any_day(&target).await;
                    if seen.pinned_user.is_none() && !matches!(seen.any_day, Some(Outcome::Admitted(_))) {
                        let open = Open { token: Recipe::Absent, expect: Expect::Refused, ..Open::default() };
                        seen.bare = self.probe(&target, open).await;
                    }
                }
            }
            Some(last) if !matches!(last, Outcome::Throttled(_)) => {
                let patience = self.deadlines.dial;
                seen.listens = Some(matches!(timeout(patience, dial(&target.endpoint)).await, Ok(Ok(_))));
            }
            _ => {}
        }
        diagnosis::lost(&seen)
    }

    /// The valid token of another user than the profile pins.
    async fn as_somebody_else(&mut self, target: &Target) -> Option<Outcome> {
        let actor = self.actor_of(&target.profile.carriers[0], None);
        let context = Context { target, ..self.context() };
        let connection = control(&context, &actor).await.ok()?;
        Some(outcome::of(&connection.events, self.learned.speaks))
    }

    /// A valid token whose times leave room for a clock that is wrong by hours.
    async fn any_day(&mut self, target: &Target) -> Option<Outcome> {
        let mut declared = target.clone();
        let template = target.profile.claims_template();
        for (name, time) in [("iat", format!("${{now-{DAY}}}")), ("exp", format!("${{now+{DAY}}}"))] {
            if template.contains_key(name) {
                declared.profile.claims.insert(name.to_owned(), json!(time));
            }
        }
        self.probe(&declared, Open::default()).await
    }
}

async fn dial(endpoint: &Endpoint) -> std::io::Result<TcpStream> {
    TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await
}

/// Sends bytes, and gives the first ones that come back.
async fn exchange(endpoint: &Endpoint, bytes: &[u8], patience: Duration) -> Option<Vec<u8>> {
    let talk = async {
        let mut stream = dial(endpoint).await.ok()?;
        stream.write_all(bytes).await.ok()?;
        let mut answer = [0; 16];
        let count = stream.read(&mut answer).await.ok()?;
        Some(answer[..count].to_vec())
    };
    timeout(patience, talk).await.ok().flatten()
}

/// The smallest TLS ClientHello (RFC 5246 §7.4.1.2). Whoever speaks TLS answers it by a record, be it an alert.
fn client_hello() -> Vec<u8> {
    const SUITES: [u16; 4] = [0xC02F, 0xC02B, 0x009C, 0x002F];
    let mut body = vec![0x03, 0x03];
    body.extend([0x67; 32]);
    body.push(0);
    body.extend([0, 2 * SUITES.len() as u8]);
    body.extend(SUITES.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend([1, 0]);
    let length = body.len() as u8;
    let handshake = [&[0x01, 0, 0, length], body.as_slice()].concat();
    [&[0x16, 0x03, 0x01, 0, handshake.len() as u8], handshake.as_slice()].concat()
}
