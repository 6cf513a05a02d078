//! axum's `WebSocketUpgrade` behind jsonwebtoken: the token is a query parameter, because browsers can send it.
//!
//! `gatecrash-interop-axum [--port N]`; the HS256 key is in JWT_SECRET_KEY.

use std::process::ExitCode;
use std::sync::Arc;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const MAX_MESSAGE_BYTES: usize = 64 * 1024;

struct Gate {
    key: DecodingKey,
    validation: Validation,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

#[derive(Deserialize)]
struct Parameters {
    token: Option<String>,
}

async fn live(State(gate): State<Arc<Gate>>, Query(asked): Query<Parameters>, upgrade: WebSocketUpgrade) -> Response {
    let token = asked.token.unwrap_or_default();
    match decode::<Claims>(&token, &gate.key, &gate.validation) {
        Ok(decoded) => {
            upgrade.max_message_size(MAX_MESSAGE_BYTES).on_upgrade(move |socket| serve(socket, decoded.claims.sub))
        }
        Err(_) => (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response(),
    }
}

async fn serve(mut socket: WebSocket, user: String) {
    if say(&mut socket, &json!({ "type": "welcome", "user": user })).await.is_err() {
        return;
    }
    while let Some(Ok(message)) = socket.recv().await {
        let answer = match message {
            Message::Text(text) => json!({ "type": "echo", "text": text.as_str(), "user": user }),
            Message::Binary(_) => json!({ "type": "error", "error": "Text messages only" }),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => continue,
        };
        if say(&mut socket, &answer).await.is_err() {
            return;
        }
    }
}

async fn say(socket: &mut WebSocket, value: &Value) -> Result<(), axum::Error> {
    socket.send(Message::Text(Utf8Bytes::from(value.to_string()))).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--port"), Some(port)) => port.parse()?,
        (None, _) => 0,
        _ => return Err("usage: gatecrash-interop-axum [--port N]".into()),
    };
    let secret =
        std::env::var("JWT_SECRET_KEY").map_err(|_| "JWT_SECRET_KEY is not set: it is the HS256 key of the tokens")?;
    let mut validation = Validation::new(Algorithm::HS256);
    // jsonwebtoken forgives a minute, and looks at `nbf` only when it is told to.
    validation.leeway = 0;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "sub"]);
    let gate = Arc::new(Gate { key: DecodingKey::from_secret(secret.as_bytes()), validation });

    let app = Router::new()
        .route("/live", get(live))
        .route("/health", get(|| async { Json(json!({ "status": "ok" })) }))
        .with_state(gate);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on ws://{}/live?token={{token}}", listener.local_addr()?);
    let mut ended = signal(SignalKind::terminate())?;
    tokio::select! {
        served = async { axum::serve(listener, app).await } => served?,
        _ = ended.recv() => {}
    }
    Ok(())
}
