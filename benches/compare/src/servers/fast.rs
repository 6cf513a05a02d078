//! fastwebsockets over hyper, as its documents show it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, WebSocketError};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::interface::{Check, Claims, DETAIL, ECHO, greeting};

pub(super) async fn serve(listener: TcpListener) -> io::Result<()> {
    let check = Arc::new(Check::new());
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let check = Arc::clone(&check);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&check, request);
                async move { answer }
            });
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(tcp), service).with_upgrades().await;
        });
    }
}

fn answer(check: &Check, mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, WebSocketError> {
    let claims = request.uri().path().strip_prefix("/ws/").and_then(|token| check.admit(token));
    let Some(claims) = claims else {
        let mut response = Response::new(Full::from(DETAIL));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Ok(response);
    };
    let (response, upgraded) = upgrade(&mut request)?;
    tokio::spawn(async move { drop(talk(upgraded, claims).await) });
    Ok(response.map(|_| Full::default()))
}

async fn talk(upgraded: UpgradeFut, claims: Claims) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(upgraded.await?);
    socket.write_frame(Frame::text(Payload::Owned(greeting(&claims).into_bytes()))).await?;
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text => {
                let echo = [ECHO.as_bytes(), &frame.payload].concat();
                socket.write_frame(Frame::text(Payload::Owned(echo))).await?;
            }
            _ => {}
        }
    }
}
