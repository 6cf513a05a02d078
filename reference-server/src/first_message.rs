//! The token in the first message: who is let in after the upgrade?
//!
//! Until a token was believed the connection has no seat: nothing is answered and no broadcast reaches it. The wait is
//! bounded from the upgrade on, and nothing that a client sends lengthens it. The first message that is no token is the
//! last, because whoever speaks before is told nothing.

use std::net::SocketAddr;

use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use futures_util::StreamExt as _;

use crate::admission::{self, Admitted};
use crate::app::App;
use crate::fault::Fault;
use crate::faulty;
use crate::gate::Refusal;
use crate::refusal::{self, Closing, Denial};
use crate::session::{self, Ending};

/// How the wait for a token ended.
enum First {
    Admitted(Admitted),
    Denied(Denial, Vec<u8>),
    Over(Ending),
}

/// Waits for a token, and serves whoever shows a good one.
pub(crate) async fn serve<S>(app: &App, mut socket: WebSocketStream<S>, peer: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let admitted = match first(app, &mut socket, peer).await {
        First::Admitted(admitted) => admitted,
        First::Denied(denial, token) => {
            let told = json!({"type": "auth_error", "detail": refusal::reason(app.config.dialect, &denial)});
            if socket.send(Message::text(told.to_string())).await.is_err() {
                return;
            }
            match faulty::seat_of_the_refused(app) {
                Some(admitted) => return session::serve(app, socket, admitted, peer).await,
                None => return session::refuse(app, socket, &denial, &token).await,
            }
        }
        First::Over(ending) => {
            tracing::info!(%peer, %ending, "no token was shown");
            return session::end(app, socket, ending).await;
        }
    };
    if socket.send(Message::text(json!({"type": "auth_ok"}).to_string())).await.is_ok() {
        session::serve(app, socket, admitted, peer).await;
    }
}

async fn first<S>(app: &App, socket: &mut WebSocketStream<S>, peer: SocketAddr) -> First
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let patience = if app.has(Fault::AuthTimeoutMissing) { session::FAR } else { app.config.auth_timeout };
    let mut deadline = Instant::now() + patience;
    let mut early = faulty::early_seat(app);
    loop {
        let heard = async {
            match &mut early {
                Some(seat) => seat.next().await,
                None => std::future::pending().await,
            }
        };
        let inbound = tokio::select! {
            () = app.stopped() => {
                return First::Over(Ending::Close(Closing::new(1001, "Server shutting down")));
            }
            Some(heard) = heard => {
                let _ = socket.send(Message::Text(heard)).await;
                continue;
            }
            inbound = timeout_at(deadline, socket.next()) => inbound,
        };
        let text = match inbound {
            Err(_) => {
                let missing = Denial::Token(Refusal::Missing);
                return First::Over(Ending::Close(refusal::closing(app.config.dialect, &missing)));
            }
            Ok(None) => return First::Over(Ending::Drop("the stream ended")),
            Ok(Some(Err(error))) => return First::Over(session::ending_of(&error)),
            Ok(Some(Ok(Message::Close(_)))) => return First::Over(Ending::ClosedByClient),
            Ok(Some(Ok(Message::Text(text)))) => text,
            Ok(Some(Ok(Message::Binary(_)))) => return First::Denied(Denial::Token(Refusal::Missing), Vec::new()),
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {
                // The pong waits in the buffer. A client that does not take it is not waited for.
                if timeout_at(deadline, socket.flush()).await.is_err() {
                    return First::Over(Ending::Drop("the client does not read"));
                }
                if app.has(Fault::PingsExtendAuthTimeout) {
                    deadline = Instant::now() + patience;
                }
                continue;
            }
        };
        match token(&text) {
            Some(token) => {
                return match admission::judge_token(app, token.as_bytes(), peer).await {
                    Ok(admitted) => First::Admitted(admitted),
                    Err(denial) => First::Denied(denial, token.into_bytes()),
                };
            }
            None => match faulty::answer_to_a_stranger(app, &text) {
                Some(answer) => drop(socket.send(Message::text(answer)).await),
                None => return First::Denied(Denial::Token(Refusal::Missing), Vec::new()),
            },
        }
    }
}

/// The token of an authentication message.
fn token(text: &str) -> Option<String> {
    let message: Value = serde_json::from_str(text).ok()?;
    let kind = message.get("type").and_then(Value::as_str);
    (kind == Some("auth")).then(|| message.get("token").and_then(Value::as_str).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::token;

    #[test]
    fn only_an_authentication_message_holds_a_token() {
        assert_eq!(token(r#"{"type":"auth","token":"a.b.c"}"#).as_deref(), Some("a.b.c"));
        assert_eq!(token(r#"{"type":"auth"}"#).as_deref(), Some(""));
        for other in ["", "a.b.c", r#"{"token":"a.b.c"}"#, r#"{"type":"echo","token":"a.b.c"}"#, "[]"] {
            assert_eq!(token(other), None, "{other}");
        }
    }
}
