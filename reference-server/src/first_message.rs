//! The token in the first message: who is let in after the upgrade?
//!
//! Until a token was believed the connection has no seat: nothing is answered and no broadcast reaches it. The wait is
//! bounded from the upgrade on, and nothing that a client sends lengthens it. The first message that is no token is the
//! last, because whoever speaks before is told nothing.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use crate::admission::{self, Admitted};
use crate::app::App;
use crate::fault::Fault;
use crate::faulty;
use crate::gate::Refusal;
use crate::refusal::{self, Closing, Denial};
use crate::session::{self, Ending};
use crate::socket::Socket;

/// How the wait for a token ended.
enum First {
    Admitted(Admitted),
    Denied(Denial, Vec<u8>),
    Over(Ending),
}

/// Waits for a token, and serves whoever shows a good one.
pub(crate) async fn serve<S>(app: &App, mut socket: Socket<S>, peer: SocketAddr)
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
                None => return session::refuse(app, socket, &denial, &token, false).await,
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

async fn first<S>(app: &App, socket: &mut Socket<S>, peer: SocketAddr) -> First
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
pub(crate) fn token(text: &str) -> Option<String> {
    let message: Value = serde_json::from_str(text).ok()?;
    let kind = message.get("type").and_then(Value::as_str);
    (kind == Some("auth")).then(|| message.get("token").and_then(Value::as_str).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio::io::{DuplexStream, duplex};
    use tokio::sync::watch;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;
    use crate::carrier::Carrier;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::dialect::Dialect;

    #[test]
    fn only_an_authentication_message_holds_a_token() {
        assert_eq!(token(r#"{"type":"auth","token":"a.b.c"}"#).as_deref(), Some("a.b.c"));
        assert_eq!(token(r#"{"type":"auth"}"#).as_deref(), Some(""));
        for other in ["", "a.b.c", r#"{"token":"a.b.c"}"#, r#"{"type":"echo","token":"a.b.c"}"#, "[]"] {
            assert_eq!(token(other), None, "{other}");
        }
    }

    /// A connection over an in-memory pipe that has shown no token yet.
    async fn pipe() -> (WebSocketStream<DuplexStream>, watch::Sender<bool>) {
        let mut config = Config::new(Dialect::Shipvox, "secret");
        config.carriers = vec![Carrier::FirstMessage];
        config.auth_timeout = Duration::from_secs(10);
        config.clock = Clock::following_tokio(1_000_000.0);
        config.users = Some(Vec::new());
        let (stop, stopped) = watch::channel(false);
        let app = App::new(config, stopped).unwrap();
        let (server, client) = duplex(4096);
        tokio::spawn(async move {
            let socket = session::websocket(&app, server, Vec::new());
            serve(&app, socket, "127.0.0.1:1".parse().unwrap()).await;
        });
        (WebSocketStream::from_raw_socket(client, Role::Client, None).await, stop)
    }

    /// The texts until the close, its code, and after how many seconds it came.
    async fn heard(client: &mut WebSocketStream<DuplexStream>) -> (Vec<String>, u16, u64) {
        let began = Instant::now();
        let mut texts = Vec::new();
        loop {
            match client.next().await.unwrap().unwrap() {
                Message::Text(text) => texts.push(text.to_string()),
                Message::Close(Some(frame)) => return (texts, frame.code.into(), began.elapsed().as_secs()),
                _ => continue,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_cut_off_and_pings_are_silence() {
        let (mut silent, _stop) = pipe().await;
        assert_eq!(heard(&mut silent).await, (Vec::new(), 1008, 10));
        let (mut pinging, _stop) = pipe().await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        pinging.send(Message::Ping("x".into())).await.unwrap();
        assert_eq!(heard(&mut pinging).await, (Vec::new(), 1008, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_shows_no_good_token_is_told_so_and_served_nothing() {
        for text in [r#"{"type":"auth","token":"a.b.c"}"#, r#"{"type":"test"}"#, "not json"] {
            let (mut client, _stop) = pipe().await;
            client.send(Message::text(text)).await.unwrap();
            client.send(Message::text(r#"{"type":"test","payload":1}"#)).await.unwrap();
            let (texts, code, _) = heard(&mut client).await;
            assert_eq!((texts.len(), code), (1, 1008), "{text}: {texts:?}");
            assert!(texts[0].contains("auth_error"), "{texts:?}");
        }
    }
}
