//! Every attempt is logged, and no log line can be used to get in.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use gatecrash_reference_server::{Dialect, RefusalStyle};
use tracing_subscriber::fmt::MakeWriter;

use crate::common::*;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

#[tokio::test]
async fn attempts_are_logged_and_tokens_are_not() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let mut hidden = vec![SECRET.to_owned(), "hunter2-wrong-password".to_owned()];
    for dialect in Dialect::ALL.iter().copied() {
        for style in [RefusalStyle::Close, RefusalStyle::Http] {
            let server = Running::start(config(dialect, style)).await;
            let mut tokens = vec![good(dialect), forged(dialect), expired(dialect)];
            tokens.push(changed(dialect, "role", "viewer\r\n\u{1b}[31mINFO admitted".into()));
            for token in tokens {
                if let Ok(mut client) = server.open(&token).await {
                    let _ = client.0.close(None).await;
                    while client.next().await.is_some() {}
                }
                hidden.push(token.rsplit('.').next().unwrap().to_owned());
            }
            let body = r#"{"username":"admin","password":"hunter2-wrong-password"}"#;
            server.post("/auth/api/v1/auth/login", "application/json", body).await;
        }
    }
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for hidden in hidden {
        assert!(!text.contains(&hidden), "{hidden} in {text}");
    }
    assert!(!text.contains('\u{1b}') && !text.contains("\r"), "{text}");
    for line in [
        "admitted",
        "refused",
        "Expired",
        "BadSignature",
        "RoleNotAllowed",
        "disconnected",
        "alice@example.com",
        "login failed",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
}
