//! Who is let in?
//!
//! Puts the decisions together: carrier, then the authentication service where there is one, then the gate, then the
//! limits. Nothing is served and no seat is taken before the last of them. Every attempt is logged once, with identity
//! and reason and never with the token; what a client can write is logged escaped.

use std::net::SocketAddr;

use axum::http::request::Parts;

use crate::app::App;
use crate::auth_service;
use crate::carrier::{self, Carried, Carrier, Places};
use crate::fault::Fault;
use crate::faulty;
use crate::fetch;
use crate::gate::{Bearer, Refusal, RequestHints};
use crate::hub::Seat;
use crate::refusal::Denial;

/// Somebody with a seat.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) bearer: Bearer,
    pub(crate) seat: Seat,
}

/// The verdict on one handshake.
pub(crate) struct Verdict {
    pub(crate) outcome: Result<Admitted, Denial>,
    /// The token as presented, for faults that repeat it.
    pub(crate) token: Vec<u8>,
    /// Nobody was let in yet: the token may still come in the first message.
    pub(crate) awaits_token: bool,
}

/// Judges a handshake. `segment` is the path segment that carries the token, where the dialect has one.
pub(crate) async fn judge(app: &App, head: &Parts, segment: Option<&str>, peer: SocketAddr) -> Verdict {
    let places = Places { segment, query: head.uri.query(), headers: &head.headers };
    let carried = carrier::find(&app.config.carriers, app.config.dialect, places, app.config.fault);
    let awaits_token = carried == Carried::Absent && app.config.carriers.contains(&Carrier::FirstMessage);
    let hints = faulty::hints(app.config.dialect, places);
    let bearer = if faulty::waves_through(app.config.fault, app.config.dialect, &carried, head) {
        Ok(faulty::anonymous())
    } else {
        match verify(app, &carried, &hints).await {
            Err(denial) => faulty::rescue(app, head, places, &hints, denial),
            admitted => admitted,
        }
    };
    let token = match carried {
        Carried::Token(token) => token,
        _ => Vec::new(),
    };
    let bearer = faulty::after_verification(app, &token, bearer).await;
    faulty::remember_verdict(app, &bearer);
    let outcome = bearer.and_then(|bearer| seat(app, bearer, &token));
    let awaits_token = awaits_token && outcome.is_err();
    if !awaits_token {
        log(app, peer, &outcome);
    }
    Verdict { outcome, token, awaits_token }
}

/// Judges a token that came in the first message.
pub(crate) async fn judge_token(app: &App, token: &[u8], peer: SocketAddr) -> Result<Admitted, Denial> {
    let bearer = verify(app, &carrier::token_or_empty(token), &RequestHints::default()).await;
    faulty::remember_verdict(app, &bearer);
    let outcome = bearer.and_then(|bearer| seat(app, bearer, token));
    log(app, peer, &outcome);
    outcome
}

/// Whose token a request carries, without letting anyone in (only a fault asks).
pub(crate) async fn identify(app: &App, head: &Parts, segment: Option<&str>) -> Option<Bearer> {
    let places = Places { segment, query: head.uri.query(), headers: &head.headers };
    let carried = carrier::find(&app.config.carriers, app.config.dialect, places, app.config.fault);
    verify(app, &carried, &faulty::hints(app.config.dialect, places)).await.ok()
}

/// Lets a bearer in whom no token of this request named (only a fault does).
pub(crate) fn wave_through(app: &App, bearer: Bearer, peer: SocketAddr) -> Verdict {
    let outcome = seat(app, bearer, &[]);
    log(app, peer, &outcome);
    Verdict { outcome, token: Vec::new(), awaits_token: false }
}

async fn verify(app: &App, carried: &Carried, hints: &RequestHints) -> Result<Bearer, Denial> {
    let token = match carried {
        Carried::Absent | Carried::Empty => return Err(Denial::Token(Refusal::Missing)),
        Carried::Unusable(why) => return Err(Denial::Token(Refusal::Malformed(why))),
        Carried::Crashed(why) => return Err(Denial::Token(Refusal::Internal(why))),
        Carried::Token(token) => token,
    };
    if faulty::is_test_token(app, token) {
        return Ok(faulty::anonymous());
    }
    if let Some(service) = &app.config.auth_service {
        match Box::pin(auth_service::ask(app, service, token)).await {
            auth_service::Word::Unreachable(why) => {
                tracing::warn!(why, "the authentication service cannot be reached: verifying here");
            }
            auth_service::Word::Spoken(verdict) => return verdict,
        }
    }
    let hints = fetch::with_keys(app.config.fault, token, hints).await;
    app.gate.admit_with(token, app.now(), &hints).map_err(Denial::Token)
}

/// Counted only after the token was believed, or anyone could use up the connections of anyone.
fn seat(app: &App, mut bearer: Bearer, token: &[u8]) -> Result<Admitted, Denial> {
    if faulty::chokes_on_plan(app, &bearer) {
        return Err(Denial::Token(Refusal::Internal("no such plan")));
    }
    let limit = app.connections_of(&bearer);
    let seat = app.hub.enter(&bearer.identity, limit).ok_or(Denial::TooManyConnections)?;
    if app.has(Fault::SecondConnectionKillsFirst) && !token.is_empty() {
        app.hub.replace_by_token(seat.id(), token);
    }
    faulty::keep_context(app, &mut bearer);
    Ok(Admitted { bearer, seat })
}

fn log(app: &App, peer: SocketAddr, outcome: &Result<Admitted, Denial>) {
    let dialect = app.config.dialect.name();
    match outcome {
        Ok(admitted) => tracing::info!(
            %peer,
            dialect,
            identity = ?admitted.bearer.identity,
            role = ?admitted.bearer.role,
            connected = app.hub.len(),
            "admitted"
        ),
        Err(reason) => tracing::info!(%peer, dialect, ?reason, "refused"),
    }
}
