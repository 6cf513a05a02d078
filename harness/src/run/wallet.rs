//! The real token of a run whose target signs for itself: had before the first control, and renewed before it ends.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::{Live, Step};
use super::dial::Door;
use super::session::unix_now;
use crate::login::{Ask, Flow, Held};
use crate::observation::{End, What};
use crate::target::{Target, Tokens};
use crate::token::Token;

/// Why there is no token.
#[derive(Debug)]
pub(super) enum NoToken {
    /// The one that was given is over, or the login gave none.
    Refused(String),
    /// The login cannot be reached.
    Unreachable(String),
}

impl NoToken {
    /// The reason.
    pub(super) fn into_words(self) -> String {
        match self {
            Self::Refused(why) | Self::Unreachable(why) => why,
        }
    }
}

/// What every session of a run shows; empty where tokens are made.
#[derive(Debug, Default)]
pub(super) struct Wallet {
    held: Mutex<Option<Held>>,
}

impl Wallet {
    /// The token of now.
    pub(super) fn token(&self) -> Option<Token> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|held| held.token.clone())
    }

    fn held(&self) -> Option<Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, held: Held) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
    }

    /// For how many seconds the token has been over, if it is.
    pub(super) fn over_since(&self) -> Option<f64> {
        let (now, held) = (unix_now(), self.held()?);
        held.expires().filter(|_| held.is_over(now)).map(|end| now - end)
    }

    /// Sees to it that there is a token, and that it lasts for a while; `anew` even where it seems to. `patience` is how
    /// long each part of a login may take.
    pub(super) async fn fill(&self, target: &Target, anew: bool, patience: Duration) -> Result<(), NoToken> {
        let held = self.held();
        match &target.tokens {
            Tokens::Made => Ok(()),
            Tokens::Given(token) if held.is_none() => {
                let given = Held { token: token.clone(), refresh: None, since: unix_now() };
                self.keep(given);
                match self.over_since() {
                    None => Ok(()),
                    Some(ago) => Err(NoToken::Refused(expired(ago))),
                }
            }
            Tokens::Given(_) => Ok(()),
            Tokens::Had(flow) => {
                if let Some(held) = held.as_ref().filter(|_| !anew)
                    && !held.is_due(unix_now())
                {
                    return Ok(());
                }
                self.keep(renew(target, flow, held.as_ref(), patience).await?);
                Ok(())
            }
        }
    }
}

/// In words, that the token which was given ended so many seconds ago.
pub(super) fn expired(ago: f64) -> String {
    format!(
        "the token that was given expired {ago:.0} s ago: get a new one, or declare `login:`, by which it is renewed"
    )
}

/// A new token: by the refresh token where there is one, by another login where that does not help.
async fn renew(target: &Target, flow: &Flow, held: Option<&Held>, patience: Duration) -> Result<Held, NoToken> {
    let pointer = flow.refresh.as_ref().map(|(_, pointer)| pointer.as_str());
    if let (Some((refresh, _)), Some(with)) = (&flow.refresh, held.and_then(|held| held.refresh.as_ref()))
        && let Ok(mut renewed) =
            exchange(target, refresh, &refresh.opening(Some(with)).to_bytes(), pointer, patience).await
    {
        // Not every server gives a new one each time.
        renewed.refresh = renewed.refresh.or_else(|| Some(with.clone()));
        return Ok(renewed);
    }
    exchange(target, &flow.login, &flow.login.opening(None).to_bytes(), pointer, patience).await
}

async fn exchange(
    target: &Target,
    ask: &Ask,
    request: &[u8],
    pointer: Option<&str>,
    patience: Duration,
) -> Result<Held, NoToken> {
    let mut live = Live::dial("login", &Door::of(target).at(&ask.endpoint), patience).await;
    let deadline = Instant::now() + patience;
    live.write(request, deadline).await;
    while live.next(deadline).await == Step::Event {}
    let answered = live.log.head().map(|head| head.status);
    match answered {
        Some(status) => ask.read(status, live.log.body(), pointer, unix_now()).map_err(NoToken::Refused),
        None => {
            let why = live.log.events.iter().find_map(|event| match &event.what {
                What::End(End::NoConnection(why)) => Some(why.clone()),
                What::Garbage(what) => Some(format!("its answer is no HTTP: {what}")),
                _ => None,
            });
            let why = why.unwrap_or_else(|| "it does not answer".to_owned());
            Err(NoToken::Unreachable(format!("the login at {}: {why}", ask.endpoint.host_header())))
        }
    }
}
