//! axum with its own WebSocket layer, as its documents show it.

use std::io;
use std::sync::Arc;

use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

use crate::interface::{Check, DETAIL, ECHO, greeting};

pub(super) async fn serve(listener: TcpListener) -> io::Result<()> {
    let router = axum::Router::new().route("/ws/{token}", get(open)).with_state(Arc::new(Check::new()));
    let listener = listener.tap_io(|tcp| drop(tcp.set_nodelay(true)));
    axum::serve(listener, router).await
}

async fn open(upgrade: WebSocketUpgrade, State(check): State<Arc<Check>>, Path(token): Path<String>) -> Response {
    let Some(claims) = check.admit(&token) else {
        return (StatusCode::UNAUTHORIZED, [(CONTENT_TYPE, "application/json")], DETAIL).into_response();
    };
    upgrade.on_upgrade(async move |mut socket| {
        if socket.send(Message::Text(greeting(&claims).into())).await.is_err() {
            return;
        }
        while let Some(Ok(message)) = socket.recv().await {
            if let Message::Text(text) = message
                && socket.send(Message::Text(format!("{ECHO}{text}").into())).await.is_err()
            {
                return;
            }
        }
    })
}
