//! Why a control failed that had been admitted before (rule R17).

use std::time::Duration;

use super::{Cause, Finding};
use crate::outcome::Outcome;

/// What was seen when the valid token was no longer admitted.
#[derive(Debug, Clone, Default)]
pub struct Lost {
    /// The control and its repetitions, in order. None was admitted.
    pub tries: Vec<Outcome>,
    /// How long the last answer asks to wait (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// How forged tokens were refused since the last good control.
    pub forged: Vec<Outcome>,
    /// The identity that every valid token names, where the profile pins one.
    pub pinned_user: Option<String>,
    /// What came of a good token that names somebody else, where that was tried.
    pub other_user: Option<Outcome>,
    /// What came of a good token that is valid for days around now, where that was tried.
    pub any_day: Option<Outcome>,
    /// What came of an opening without a token, where that was tried.
    pub bare: Option<Outcome>,
    /// Whether the port takes a connection, where that was tried.
    pub listens: Option<bool>,
    /// For how many seconds the real token has been over, where one is used and is.
    pub token_over_since: Option<f64>,
    /// Why the real token could not be renewed, if it could not.
    pub renewal: Option<String>,
}

/// Names the likely cause.
///
/// What was tried last and admitted is a proof; the rest is told apart by how the refusals look.
pub fn lost(seen: &Lost) -> Finding {
    let (cause, advice) = cause(seen);
    let observed = seen.tries.last().map_or_else(|| "nothing".to_owned(), Outcome::to_string);
    Finding { cause, observed, advice }
}

fn cause(seen: &Lost) -> (Cause, String) {
    let Some(last) = seen.tries.last() else {
        return (Cause::Unknown, "no control could be made".to_owned());
    };
    if let Some(ago) = seen.token_over_since {
        let why = match &seen.renewal {
            Some(why) => {
                format!("the token expired {ago:.0} s ago, in the midst of the run, and could not be renewed: {why}")
            }
            None => format!(
                "the token that was given expired {ago:.0} s ago, in the midst of the run: give one that lives longer, or \
                 declare `login:`, by which it is renewed"
            ),
        };
        return (Cause::Token, why);
    }
    // Who logs in at a server that has ended is refused there as well.
    if let (Some(why), Some(true) | None) = (&seen.renewal, seen.listens) {
        return (Cause::Token, format!("the token could not be renewed: {why}"));
    }
    let admitted = |probe: &Option<Outcome>| matches!(probe, Some(Outcome::Admitted(_)));
    if admitted(&seen.any_day) {
        let advice = "the same token is admitted when it is valid for days around now: the server's clock has jumped, \
                      or ours; compare the two and run again";
        return (Cause::Clock, advice.to_owned());
    }
    if admitted(&seen.other_user) {
        return (Cause::LockOut, locked_user(seen));
    }
    // A server that refuses by a bare end has always done so.
    let is_gone = |outcome: &Outcome| is_gone(outcome) && !seen.forged.contains(outcome);
    let was_gone = seen.tries.iter().any(|outcome| is_gone(outcome) || is_restart(outcome));
    match last {
        Outcome::Throttled(_) => (Cause::RateLimit, limited(seen.retry_after)),
        _ if is_restart(last) => {
            let advice = "the server is restarting, or the one behind a proxy is: see its log for why, and run again";
            (Cause::Restarting, advice.to_owned())
        }
        _ if is_gone(last) && seen.listens != Some(true) => {
            let advice = "nothing listens any more: the server ended, and one of these cases may have ended it; see \
                          its log, and run them one by one with --case and --jobs 1";
            (Cause::Dead, advice.to_owned())
        }
        _ if is_gone(last) => {
            let advice = "the port still takes connections, but the server answers none: it hangs, or has no worker \
                          left; see its log, and run these cases one by one with --case and --jobs 1";
            (Cause::Dead, advice.to_owned())
        }
        Outcome::ServerError(_) => {
            let advice = "the server now fails on a valid token: one of these cases has left it broken; see its log, \
                          and run them one by one with --case and --jobs 1";
            (Cause::ServerError, advice.to_owned())
        }
        _ if was_gone => {
            let advice = "the server was away for a moment and refuses the token since: it has restarted, with another \
                          secret or without what it knew of its users; give it a fixed secret and run again";
            (Cause::SecretRotated, advice.to_owned())
        }
        _ => refused(seen, last),
    }
}

/// Nothing that was tried is admitted: the refusals must tell.
fn refused(seen: &Lost, last: &Outcome) -> (Cause, String) {
    let like_forged = seen.forged.contains(last);
    match &seen.bare {
        // It still tells a bad token from none, so that it still looks at tokens.
        Some(bare) if bare != last && like_forged => {
            let advice = "the good token is refused as forged ones are, and an opening without a token in another way: \
                          the secret was changed while the run was on (then run again with the new one), its keys \
                          cannot be fetched any more, or this bearer is locked out";
            (Cause::SecretRotated, advice.to_owned())
        }
        Some(bare) if bare == last && seen.forged.iter().any(|forged| forged != last) => {
            let advice = "from now on everybody is refused, with or without a token, and not as forged tokens were \
                          before: this address is locked out; lift the lock-out for it while the run is on";
            (Cause::LockOut, advice.to_owned())
        }
        _ if seen.forged.is_empty() => {
            let advice = "the good token is refused since, although no forged one was sent: the secret was changed, or \
                          a limit of connections was met; run again, with --jobs 1 if it happens again";
            (Cause::Unknown, advice.to_owned())
        }
        _ => {
            let advice = "good tokens are refused since forged ones were sent: a lock-out of this address, or of \
                          everybody; lift it while the run is on, or stay below it with --rate. If the server has no such \
                          thing, its secret was changed, or one of these cases has left it broken";
            (Cause::LockOut, advice.to_owned())
        }
    }
}

fn locked_user(seen: &Lost) -> String {
    let user = seen.pinned_user.as_deref().unwrap_or("of the control");
    let after = if seen.forged.is_empty() { "" } else { " after forged tokens that name it" };
    format!(
        "the server stopped admitting user `{user}`{after} (a lock-out), while another user is still admitted: whoever \
         knows the name can shut its owner out. To run, take `user:` out of the profile, so that each case has a user \
         of its own, or lift the lock-out"
    )
}

fn limited(retry_after: Option<Duration>) -> String {
    let wait = match retry_after {
        Some(wait) => format!("; it asks to wait {} s", wait.as_secs()),
        None => String::new(),
    };
    format!(
        "a limit of connections was met{wait}. Raise the limit for this address while the run is on, or keep below it: \
         --rate 5 begins five sessions in a second, --jobs 1 holds one at a time"
    )
}

fn is_gone(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Unreachable(_)
            | Outcome::Dropped { .. }
            | Outcome::Hang
            | Outcome::Mute
            | Outcome::Limbo
            | Outcome::Unserved
            | Outcome::NotHttp(_)
            | Outcome::NotWebSocket(_)
    )
}

fn is_restart(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::RefusedClose { code, .. } => *code == Some(1012),
        Outcome::ServerError(how) => matches!(how.as_str(), "HTTP 502" | "HTTP 504"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Proof;

    fn http(status: u16) -> Outcome {
        Outcome::RefusedHttp(status)
    }

    fn close(code: u16) -> Outcome {
        Outcome::RefusedClose { code: Some(code), reason: String::new(), data_before: 0 }
    }

    fn gone() -> Outcome {
        Outcome::Unreachable("Connection refused".to_owned())
    }

    fn admitted() -> Option<Outcome> {
        Some(Outcome::Admitted(Proof::Message))
    }

    #[test]
    fn each_cause_is_told_by_what_only_it_shows() {
        let cases = [
            (Cause::RateLimit, Lost { tries: vec![Outcome::Throttled("HTTP 429".to_owned())], ..Lost::default() }),
            (Cause::Dead, Lost { tries: vec![gone()], listens: Some(false), ..Lost::default() }),
            (Cause::Dead, Lost { tries: vec![Outcome::Hang], listens: Some(true), ..Lost::default() }),
            (Cause::Restarting, Lost { tries: vec![close(1012)], ..Lost::default() }),
            (Cause::Token, Lost { tries: vec![http(401)], token_over_since: Some(3.0), ..Lost::default() }),
            (Cause::Token, Lost { tries: vec![http(401)], renewal: Some("HTTP 500".to_owned()), ..Lost::default() }),
            (Cause::Restarting, Lost { tries: vec![Outcome::ServerError("HTTP 502".to_owned())], ..Lost::default() }),
            (Cause::ServerError, Lost { tries: vec![Outcome::ServerError("HTTP 500".to_owned())], ..Lost::default() }),
            // Away for a moment, and then with another secret.
            (Cause::SecretRotated, Lost { tries: vec![gone(), http(401)], ..Lost::default() }),
            (Cause::Clock, Lost { tries: vec![close(4003)], any_day: admitted(), ..Lost::default() }),
            (
                Cause::LockOut,
                Lost { tries: vec![http(401)], forged: vec![http(401)], other_user: admitted(), ..Lost::default() },
            ),
            (
                Cause::SecretRotated,
                Lost {
                    tries: vec![close(4002)],
                    forged: vec![close(4002)],
                    bare: Some(close(4001)),
                    ..Lost::default()
                },
            ),
            (
                Cause::LockOut,
                Lost { tries: vec![http(403)], forged: vec![http(401)], bare: Some(http(403)), ..Lost::default() },
            ),
            (
                Cause::LockOut,
                Lost { tries: vec![http(401)], forged: vec![http(401)], bare: Some(http(401)), ..Lost::default() },
            ),
            (Cause::Unknown, Lost { tries: vec![http(401)], bare: Some(http(401)), ..Lost::default() }),
            (Cause::Unknown, Lost::default()),
        ];
        for (cause, seen) in cases {
            let finding = lost(&seen);
            assert_eq!(finding.cause, cause, "{seen:?}: {finding:?}");
            assert!(!finding.advice.is_empty() && !finding.observed.is_empty());
        }
    }

    #[test]
    fn a_locked_user_is_named_and_the_wait_is_told() {
        let seen = Lost {
            tries: vec![http(401)],
            forged: vec![http(401)],
            pinned_user: Some("alice".to_owned()),
            other_user: admitted(),
            ..Lost::default()
        };
        let advice = lost(&seen).advice;
        assert!(
            advice
                .starts_with("the server stopped admitting user `alice` after forged tokens that name it (a lock-out)"),
            "{advice}"
        );
        let seen = Lost {
            tries: vec![Outcome::Throttled("HTTP 429".to_owned())],
            retry_after: Some(Duration::from_secs(60)),
            ..Lost::default()
        };
        assert!(lost(&seen).advice.contains("it asks to wait 60 s"));
    }
}
