//! Who is let in, and how the others are told, in every dialect and both styles.

use crate::common::*;
use gatecrash_reference_server::{Dialect, RefusalStyle};
use serde_json::json;

/// The close code and reason of a refusal by Close.
async fn refusal(server: &Running, target: &str) -> (u16, String) {
    server.open_at(target, &[]).await.unwrap_or_else(|told| panic!("{told:?}")).closed().await
}

fn targets(server: &Running, dialect: Dialect) -> Vec<(&'static str, String)> {
    vec![
        ("missing", server.target("")),
        ("absent", dialect.endpoint().to_owned()),
        ("malformed", server.target("not-a-token")),
        ("broken percent", server.target("%zz")),
        ("forged", server.target(&forged(dialect))),
        ("expired", server.target(&expired(dialect))),
    ]
}

#[tokio::test]
async fn a_good_token_is_served_in_both_styles() {
    for dialect in Dialect::ALL.iter().copied() {
        for style in [RefusalStyle::Close, RefusalStyle::Http] {
            let server = Running::start(config(dialect, style)).await;
            let mut client = server.admitted(&good(dialect)).await;
            client.served(dialect).await;
            client.0.close(None).await.unwrap();
            assert!(matches!(client.next().await, Some(Ok(m)) if m.is_close()));
            assert!(client.next().await.is_none(), "TCP is closed by the server");
        }
    }
}

#[tokio::test]
async fn refusals_by_close_say_the_documents_words() {
    for dialect in Dialect::ALL.iter().copied() {
        let server = Running::start(config(dialect, RefusalStyle::Close)).await;
        for (what, target) in targets(&server, dialect) {
            let expected = match (dialect, what) {
                (Dialect::PersonalAssistant, _) => (1008, "Invalid token"),
                (Dialect::Shipvox, "missing" | "absent") => (1008, "Missing authentication token"),
                (Dialect::Shipvox, _) => (1008, "Invalid or expired token"),
                (Dialect::Simutrador, "missing" | "absent") => (4001, "Authentication required"),
                (Dialect::Simutrador, "expired") => (4003, "Token expired"),
                (Dialect::Simutrador, _) => (4002, "Invalid token"),
                (Dialect::Omni2, "missing" | "absent") => (1008, "Authentication required: No token provided"),
                (Dialect::Omni2, _) => (1008, "Authentication failed: Invalid or expired token"),
                (Dialect::Strict, "missing" | "absent") => (3000, "Authentication required"),
                (Dialect::Strict, "expired") => (4401, "Token expired"),
                (Dialect::Strict, _) => (3000, "Invalid token"),
            };
            let told = refusal(&server, &target).await;
            assert_eq!((told.0, told.1.as_str()), expected, "{dialect} {what}");
        }
        server.admitted(&good(dialect)).await.served(dialect).await;
    }
}

#[tokio::test]
async fn refusals_by_http_are_challenged() {
    for dialect in Dialect::ALL.iter().copied() {
        let server = Running::start(config(dialect, RefusalStyle::Http)).await;
        for (what, target) in targets(&server, dialect) {
            let Err((status, challenge, _)) = server.open_at(&target, &[]).await else { panic!("{dialect} {what}") };
            assert_eq!(status, 401, "{dialect} {what}");
            let missing = matches!(what, "missing" | "absent");
            assert_eq!(challenge, if missing { "Bearer" } else { "Bearer error=\"invalid_token\"" });
        }
    }
}

#[tokio::test]
async fn a_token_that_names_nobody_is_refused_where_a_name_is_needed() {
    let server = Running::start(config(Dialect::Shipvox, RefusalStyle::Close)).await;
    let token = changed(Dialect::Shipvox, "sub", json!(null));
    assert_eq!(refusal(&server, &server.target(&token)).await, (1008, "Invalid token payload".to_owned()));
    let later = changed(Dialect::Shipvox, "nbf", (now() + 60).into());
    assert_eq!(refusal(&server, &server.target(&later)).await, (1008, "Invalid or expired token".to_owned()));
}

#[tokio::test]
async fn roles_open_omni2() {
    let dialect = Dialect::Omni2;
    let server = Running::start(config(dialect, RefusalStyle::Close)).await;
    for role in ["admin", "developer", "dba"] {
        server.admitted(&changed(dialect, "role", role.into())).await.served(dialect).await;
    }
    let told = |role: &str| (1008, format!("Insufficient permissions: Role '{role}' not authorized"));
    assert_eq!(refusal(&server, &server.target(&changed(dialect, "role", "viewer".into()))).await, told("viewer"));
    assert_eq!(refusal(&server, &server.target(&changed(dialect, "role", json!(null)))).await, told("read_only"));
    let long = refusal(&server, &server.target(&changed(dialect, "role", "é".repeat(100).into()))).await;
    assert_eq!((long.0, long.1.len() <= 123), (1008, true));

    let server = Running::start(config(dialect, RefusalStyle::Http)).await;
    let Err((status, challenge, body)) = server.open(&changed(dialect, "role", "viewer".into())).await else {
        panic!()
    };
    assert_eq!(status, 403);
    assert!(challenge.starts_with("Bearer") && body.contains("Insufficient permissions"), "{challenge} {body}");
}

#[tokio::test]
async fn simutrador_reads_the_header_too() {
    let dialect = Dialect::Simutrador;
    let server = Running::start(config(dialect, RefusalStyle::Close)).await;
    let (token, endpoint) = (good(dialect), dialect.endpoint());
    for scheme in ["Bearer", "bearer", "BEARER  "] {
        let value = format!("{scheme} {token}");
        let mut client =
            server.open_at(endpoint, &[("Authorization", &value)]).await.unwrap_or_else(|told| panic!("{told:?}"));
        client.served(dialect).await;
    }
    let bearer = format!("Bearer {token}");
    let refused = [
        (endpoint.to_owned(), vec![("Authorization", bearer.as_str()), ("Authorization", bearer.as_str())], 4002),
        (server.target(&token), vec![("Authorization", bearer.as_str())], 4002),
        (format!("{endpoint}?token={token}&token={token}"), vec![], 4002),
        (endpoint.to_owned(), vec![("Authorization", token.as_str())], 4001),
        (endpoint.to_owned(), vec![("Cookie", "token=x")], 4001),
    ];
    for (target, headers, code) in refused {
        let mut client = server.open_at(&target, &headers).await.unwrap_or_else(|told| panic!("{told:?}"));
        assert_eq!(client.closed().await.0, code, "{target} {headers:?}");
    }
}

#[tokio::test]
async fn other_paths_have_no_socket() {
    for dialect in Dialect::ALL.iter().copied() {
        let server = Running::start(config(dialect, RefusalStyle::Close)).await;
        let token = good(dialect);
        for path in ["/nothing", "/WS", "//ws", "/ws/a/b", "/ws/simulate/", "/health/"] {
            let told = server.open_at(&format!("{path}?token={token}"), &[]).await.map(|_| ()).unwrap_err();
            assert_eq!(told.0, 404, "{dialect} {path}");
        }
    }
}

#[tokio::test]
async fn limits_hold_and_seats_come_back() {
    let dialect = Dialect::Omni2;
    let server = Running::start(config(dialect, RefusalStyle::Http)).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(server.admitted(&good(dialect)).await);
    }
    assert_eq!(server.open(&good(dialect)).await.map(|_| ()).unwrap_err().0, 429);
    server.admitted(&token_of(dialect, "bob")).await;
    // A refused handshake takes no seat, a lost connection gives its seat back.
    drop(clients.pop());
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(server.open(&forged(dialect)).await.map(|_| ()).unwrap_err().0, 401);
    server.admitted(&good(dialect)).await.served(dialect).await;
    for client in &mut clients {
        client.served(dialect).await;
    }
}

#[tokio::test]
async fn plans_limit_connections_and_messages() {
    let dialect = Dialect::Simutrador;
    let server = Running::start(config(dialect, RefusalStyle::Close)).await;
    let free = changed(dialect, "plan", "free".into());
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(server.admitted(&free).await);
    }
    assert_eq!(server.open(&free).await.unwrap_or_else(|told| panic!("{told:?}")).closed().await.0, 1013);
    for n in 0..123 {
        let client = &mut clients[n % 3];
        client.say(r#"{"type":"echo","payload":1}"#).await;
        let answer = client.hear_json().await;
        assert_eq!(answer["error"] == "RATE_LIMITED", n >= 120, "{n} {answer}");
    }
}

#[tokio::test]
async fn an_open_connection_ends_with_its_token() {
    let dialect = Dialect::Simutrador;
    let server = Running::start(config(dialect, RefusalStyle::Close)).await;
    let mut client = server.admitted(&changed(dialect, "exp", (now() + 2).into())).await;
    client.served(dialect).await;
    assert_eq!(client.closed().await, (4003, "Token expired".to_owned()));
}
