//! Openings that are none, and the endpoints beside the socket.

use std::time::Duration;

use crate::common::*;
use gatecrash_reference_server::{Config, Dialect, Environment, RefusalStyle};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn server(dialect: Dialect) -> Running {
    Running::start(config(dialect, RefusalStyle::Close)).await
}

fn body(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The status of a raw request; 0 when nothing came back.
async fn raw(server: &Running, request: &str) -> (u16, String) {
    let mut stream = server.tcp().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = within(stream.read(&mut answer)).await.unwrap_or(0);
    let text = String::from_utf8_lossy(&answer[..read]).to_lowercase();
    (text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), text)
}

#[tokio::test]
async fn what_is_no_handshake_gets_its_status() {
    let server = server(Dialect::Shipvox).await;
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let target = server.target(&good(Dialect::Shipvox));
    let cases = [
        (format!("GET {target} HTTP/1.1\r\nHost: x\r\n{upgrade}{key}{version}\r\n"), 101),
        (format!("GET http://x{target} HTTP/1.1\r\nHost: x\r\n{upgrade}{key}{version}\r\n"), 101),
        (format!("POST {target} HTTP/1.1\r\nHost: x\r\n{upgrade}{key}{version}\r\n"), 405),
        (format!("GET {target} HTTP/1.0\r\nHost: x\r\n{upgrade}{key}{version}\r\n"), 400),
        (format!("GET {target} HTTP/1.1\r\n{upgrade}{key}{version}\r\n"), 400),
        (format!("GET {target} HTTP/1.1\r\nHost: x\r\nHost: y\r\n{upgrade}{key}{version}\r\n"), 400),
        (format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"), 426),
        (format!("GET {target} HTTP/1.1\r\nHost: x\r\n{key}{version}\r\n"), 400),
        (format!("GET {target} HTTP/1.1\r\nHost: x\r\n{upgrade}{version}\r\n"), 400),
        (format!("GET {target} HTTP/1.1\r\nHost: x\r\n{upgrade}{key}\r\n"), 426),
        (format!("GET {target} HTTP/1.1\r\nHost: x\r\n{upgrade}{key}Sec-WebSocket-Version: 8\r\n\r\n"), 426),
        (format!("GET {target} HTTP/1.1\r\nHost : x\r\n{upgrade}{key}{version}\r\n"), 400),
        (format!("GET {target} HTTP/1.1\r\nHost: x\r\n{upgrade}{key}{version}Content-Length: 1\r\n\r\nx"), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
    ];
    for (request, status) in cases {
        assert_eq!(raw(&server, &request).await.0, status, "{request}");
    }
    let (_, answer) =
        raw(&server, &format!("GET {target} HTTP/1.1\r\nHost: x\r\n{upgrade}{key}Sec-WebSocket-Version: 8\r\n\r\n"))
            .await;
    assert!(answer.contains("sec-websocket-version: 13\r\n") && answer.contains("upgrade: websocket\r\n"), "{answer}");
    let (_, answer) = raw(&server, &format!("PUT {target} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    assert!(answer.contains("allow: get\r\n"), "{answer}");
}

#[tokio::test]
async fn a_slow_head_is_cut_off() {
    let mut config = config(Dialect::Shipvox, RefusalStyle::Close);
    config.limits.handshake = Duration::from_millis(100);
    let server = Running::start(config).await;
    let (status, _) = raw(&server, "GET / HTTP/1.1\r\nHost: x\r\n").await;
    assert!(status == 0 || status == 408, "{status}");
}

#[tokio::test]
async fn one_connection_too_many_is_turned_away() {
    let mut config = config(Dialect::Shipvox, RefusalStyle::Close);
    config.limits.connections = 1;
    let server = Running::start(config).await;
    let mut client = server.admitted(&good(Dialect::Shipvox)).await;
    let mut stream = server.tcp().await;
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    client.served(Dialect::Shipvox).await;
}

#[tokio::test]
async fn health_is_open_to_all() {
    for dialect in Dialect::ALL.iter().copied() {
        let server = server(dialect).await;
        let (status, _, text) = server.get("/health").await;
        let health = body(&text);
        assert_eq!((status, &health["status"]), (200, &json!("ok")));
        assert!(health["timestamp"].as_str().unwrap().ends_with('Z') && health["service"].is_string());
        assert_eq!(server.post("/health", "text/plain", "").await.0, 405);
        assert_eq!(server.get("/nothing").await.0, 404);
    }
}

fn login_of(dialect: Dialect) -> (&'static str, &'static str, &'static str, &'static str) {
    match dialect {
        Dialect::PersonalAssistant => ("/api/auth/login", "test", "test", "application/json"),
        Dialect::Shipvox => ("/token", "user", "password", "application/x-www-form-urlencoded"),
        Dialect::Simutrador => ("/auth/token", "test", "test", "application/json"),
        Dialect::Omni2 => ("/auth/api/v1/auth/login", "admin", "admin", "application/json"),
        Dialect::Strict => ("/login", "alice", "correct-horse-battery-staple", "application/json"),
    }
}

fn credentials(kind: &str, name: &str, password: &str) -> String {
    if kind == "application/json" {
        json!({"username": name, "password": password}).to_string()
    } else {
        format!("grant_type=password&username={name}&password={password}")
    }
}

#[tokio::test]
async fn a_login_opens_the_socket() {
    for dialect in Dialect::ALL.iter().copied() {
        let server = server(dialect).await;
        let (path, name, password, kind) = login_of(dialect);
        let (status, head, text) = server.post(path, kind, &credentials(kind, name, password)).await;
        assert_eq!(status, 200, "{dialect} {text}");
        assert!(head.contains("cache-control: no-store") && head.contains("pragma: no-cache"), "{head}");
        let issued = body(&text);
        assert_eq!(issued["token_type"], "bearer");
        assert_eq!(issued["expires_in"], if dialect == Dialect::Shipvox { 1800 } else { 3600 });
        server.admitted(issued["access_token"].as_str().unwrap()).await.served(dialect).await;
        let again = body(&server.post(path, kind, &credentials(kind, name, password)).await.2);
        assert_ne!(again["access_token"], issued["access_token"]);
        if dialect == Dialect::Omni2 {
            let refresh = issued["refresh_token"].as_str().unwrap();
            let mut client = server.open(refresh).await.unwrap_or_else(|told| panic!("{told:?}"));
            assert_eq!(client.closed().await.0, 1008);
        }

        let date = |head: &str| head.lines().filter(|line| !line.starts_with("date:")).collect::<Vec<_>>().join("\n");
        let wrong = server.post(path, kind, &credentials(kind, name, "wrong")).await;
        let nobody = server.post(path, kind, &credentials(kind, "nobody", "wrong")).await;
        assert_eq!((wrong.0, date(&wrong.1), &wrong.2), (nobody.0, date(&nobody.1), &nobody.2));
        assert_eq!((wrong.0, &body(&wrong.2)["detail"]), (401, &json!("Incorrect username or password")));
        assert!(wrong.1.contains("www-authenticate: bearer"));

        for bad in ["", "{}", "username=user", "[]", "{\"username\":null,\"password\":[]}"] {
            let status = server.post(path, kind, bad).await.0;
            assert!((400..500).contains(&status), "{dialect} {bad} {status}");
        }
        assert_eq!(server.post(path, "text/plain", "x").await.0, 415);
        assert_eq!(server.get(&format!("{path}?username={name}&password={password}")).await.0, 405);
        let long = credentials(kind, name, &format!("{password}{}", "x".repeat(100)));
        assert_eq!(server.post(path, kind, &long).await.0, 401);
        assert_eq!(server.post(path, kind, &"x".repeat(100_000)).await.0, 413);
    }
}

#[tokio::test]
async fn failed_logins_are_throttled() {
    let mut config = config(Dialect::Shipvox, RefusalStyle::Close);
    config.limits.failed_logins = 3;
    let server = Running::start(config).await;
    let (path, name, _, kind) = login_of(Dialect::Shipvox);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(server.post(path, kind, &credentials(kind, name, "wrong")).await.0);
    }
    assert_eq!(statuses, [401, 401, 401, 429]);
}

#[tokio::test]
async fn the_test_token_is_for_development() {
    let dialect = Dialect::Shipvox;
    let server = server(dialect).await;
    let answer = body(&server.get("/test-token").await.2);
    assert!(answer["note"].is_string());
    let token = answer["test_token"].as_str().unwrap().to_owned();
    server.admitted(&token).await.served(dialect).await;

    let mut production = config(dialect, RefusalStyle::Http);
    production.environment = Environment::Production;
    let server = Running::start(production).await;
    assert_eq!(server.get("/test-token").await.0, 404);
    assert_eq!(server.open(&token).await.map(|_| ()).unwrap_err().0, 401);
    let (path, name, password, kind) = login_of(dialect);
    assert_eq!(server.post(path, kind, &credentials(kind, name, password)).await.0, 401);

    let mut overridden = config(dialect, RefusalStyle::Close);
    overridden.test_token = Some("another".to_owned());
    let server = Running::start(overridden).await;
    assert_eq!(body(&server.get("/test-token").await.2)["test_token"], "another");
}

async fn validated(server: &Running, token: &str) -> (u16, String, String) {
    server
        .http(&format!("POST /auth/validate HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"))
        .await
}

#[tokio::test]
async fn validation_says_who_and_not_what_they_may() {
    let dialect = Dialect::Omni2;
    let server = server(dialect).await;
    let (status, head, _) = validated(&server, &changed(dialect, "role", "viewer".into())).await;
    assert_eq!(status, 200);
    for line in ["x-user-id: alice\r\n", "x-user-username: alice@example.com\r\n", "x-user-role: viewer\r\n"] {
        assert!(head.contains(line), "{head}");
    }
    for bad in [forged(dialect), expired(dialect), String::new(), "x".to_owned()] {
        let (status, head, _) = validated(&server, &bad).await;
        assert_eq!(status, 401);
        assert!(head.contains("www-authenticate: bearer") && !head.contains("x-user"), "{head}");
    }
}

fn asking(service: &str) -> Config {
    // Another secret than the service's: a verdict of its own would differ.
    let mut config = Config::new(Dialect::Omni2, "another-secret-of-at-least-32-bytes!!");
    config.auth_service = Some(service.to_owned());
    config.auth_service_timeout = Duration::from_millis(300);
    config
}

#[tokio::test]
async fn the_authentication_service_has_the_first_word() {
    let dialect = Dialect::Omni2;
    let service = server(dialect).await;
    let server = Running::start(asking(&format!("http://{}", service.address))).await;
    server.admitted(&good(dialect)).await.served(dialect).await;
    let viewer = server.open(&changed(dialect, "role", "viewer".into())).await;
    assert!(viewer.unwrap_or_else(|t| panic!("{t:?}")).closed().await.1.contains("Role 'viewer'"));
    // Genuine here and refused there: its word is final.
    let mut local = server.open(&forged(dialect)).await.unwrap_or_else(|told| panic!("{told:?}"));
    assert_eq!(local.closed().await, (1008, "Authentication failed: Invalid or expired token".to_owned()));
}

#[tokio::test]
async fn only_an_unreachable_service_is_replaced() {
    let dialect = Dialect::Omni2;
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for service in [closed, silent.local_addr().unwrap()] {
        let server = Running::start(asking(&format!("http://{service}"))).await;
        server.admitted(&forged(dialect)).await.served(dialect).await;
        let mut other = server.open(&good(dialect)).await.unwrap_or_else(|told| panic!("{told:?}"));
        assert_eq!(other.closed().await.0, 1008);
    }
}

#[tokio::test]
async fn a_service_that_makes_no_sense_admits_nobody() {
    let dialect = Dialect::Omni2;
    for (answer, code) in [
        ("HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n", 1013),
        ("HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n", 1008),
        ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", 1008),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1008),
        ("HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"role\":[\"admin\"]}", 1008),
        ("HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{\"role\":\"admin\"", 1008),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        let server = Running::start(asking(&format!("http://{address}"))).await;
        // Genuine by the server's own secret, so only the service can refuse it.
        let mut client = server.open(&forged(dialect)).await.unwrap_or_else(|told| panic!("{told:?}"));
        assert_eq!(client.closed().await.0, code, "{answer}");
    }
}
