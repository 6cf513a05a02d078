//! A running server and a client for it.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use gatecrash_reference_server::{Config, Dialect, Fault, RefusalStyle, Server};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

pub(crate) const SECRET: &str = "a-secret-for-tests-of-at-least-32-bytes";

pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn config(dialect: Dialect, refusal: RefusalStyle) -> Config {
    let mut config = Config::new(dialect, SECRET);
    config.refusal = refusal;
    config.bcrypt_cost = 4;
    config
}

pub(crate) fn faulty(dialect: Dialect, fault: Fault) -> Config {
    let mut config = config(dialect, RefusalStyle::Close);
    config.fault = Some(fault);
    // Raw clients answer no Close.
    config.limits.close = Duration::from_millis(200);
    config
}

/// The claims of a good token.
pub(crate) fn claims(dialect: Dialect, user: &str) -> Map<String, Value> {
    let claims = match dialect {
        Dialect::PersonalAssistant => json!({"user_id": user, "username": user}),
        Dialect::Shipvox => json!({"sub": user}),
        Dialect::Simutrador => json!({"user_id": user, "plan": "pro", "rate_limits": {}}),
        Dialect::Omni2 => json!({"sub": user, "email": format!("{user}@example.com"), "role": "admin"}),
        Dialect::Strict => {
            let Config { audience, issuer, required_scope, .. } = Config::new(dialect, SECRET);
            json!({"sub": user, "groups_role": "owner", "aud": audience, "iss": issuer, "scope": required_scope})
        }
    };
    let mut claims = claims.as_object().unwrap().clone();
    claims.insert("iat".into(), now().into());
    claims.insert("exp".into(), (now() + 300).into());
    claims
}

pub(crate) fn sign(claims: &Map<String, Value>, secret: &str) -> String {
    let mut header = Header::default();
    // Only the strict dialect asks for an audience, and only it looks at the type.
    if claims.contains_key("aud") {
        header.typ = Config::new(Dialect::Strict, SECRET).typ;
    }
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

pub(crate) fn good(dialect: Dialect) -> String {
    token_of(dialect, "alice")
}

pub(crate) fn token_of(dialect: Dialect, user: &str) -> String {
    sign(&claims(dialect, user), SECRET)
}

pub(crate) fn changed(dialect: Dialect, name: &str, value: Value) -> String {
    let mut claims = claims(dialect, "alice");
    if value.is_null() {
        claims.remove(name);
    } else {
        claims.insert(name.into(), value);
    }
    sign(&claims, SECRET)
}

pub(crate) fn expired(dialect: Dialect) -> String {
    changed(dialect, "exp", (now() - 10).into())
}

pub(crate) fn forged(dialect: Dialect) -> String {
    sign(&claims(dialect, "alice"), "another-secret-of-at-least-32-bytes!!")
}

pub(crate) struct Running {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) dialect: Dialect,
    pub(crate) url: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(config: Config) -> Self {
        let dialect = config.dialect;
        let server = Server::bind(config).await.unwrap();
        let (address, url) = (server.local_addr(), server.url());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { address, dialect, url, stop: Some(stop), task }
    }

    /// Tells it to stop.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits until it has.
    pub(crate) async fn stopped(self) {
        within(self.task).await.unwrap();
    }

    /// The path and query that carry `token`.
    pub(crate) fn target(&self, token: &str) -> String {
        self.url.replace("{token}", token).split_once(&self.address.to_string()).unwrap().1.to_owned()
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Opens a WebSocket at `target` with more header lines.
    pub(crate) async fn open_at(
        &self,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Client, (u16, String, String)> {
        let mut request = axum::http::Request::get(format!("ws://{}{target}", self.address))
            .header("Host", self.address.to_string())
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match within(client_async(request.body(()).unwrap(), self.tcp().await)).await {
            Ok((socket, _)) => Ok(Client(socket)),
            Err(Error::Http(response)) => {
                let challenge = response.headers().get("www-authenticate");
                let challenge = challenge.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
                let body = response.body().clone().unwrap_or_default();
                Err((response.status().as_u16(), challenge, String::from_utf8(body).unwrap()))
            }
            Err(other) => Err((0, String::new(), other.to_string())),
        }
    }

    pub(crate) async fn open(&self, token: &str) -> Result<Client, (u16, String, String)> {
        self.open_at(&self.target(token), &[]).await
    }

    /// Opens, and reads what the dialect says first.
    pub(crate) async fn admitted(&self, token: &str) -> Client {
        let mut client = self.open(token).await.unwrap();
        client.welcomed(self.dialect).await;
        client
    }

    /// One HTTP exchange by hand: status, head, body.
    pub(crate) async fn http(&self, request: &str) -> (u16, String, String) {
        let mut stream = self.tcp().await;
        let request = request.replacen("\r\n", &format!("\r\nHost: {}\r\nConnection: close\r\n", self.address), 1);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        within(stream.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, head.to_lowercase(), body.to_owned())
    }

    pub(crate) async fn post(&self, path: &str, kind: &str, body: &str) -> (u16, String, String) {
        let length = body.len();
        self.http(&format!("POST {path} HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"))
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String, String) {
        self.http(&format!("GET {path} HTTP/1.1\r\n\r\n")).await
    }
}

/// Nothing here takes ten seconds.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("in time")
}

pub(crate) struct Client(pub(crate) WebSocketStream<TcpStream>);

impl Client {
    pub(crate) async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Option<Result<Message, Error>> {
        within(self.0.next()).await
    }

    /// The next text; panics on anything else but pings.
    pub(crate) async fn hear(&mut self) -> String {
        loop {
            match self.next().await {
                Some(Ok(Message::Text(text))) => return text.to_string(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn hear_json(&mut self) -> Value {
        serde_json::from_str(&self.hear().await).unwrap()
    }

    /// The code and reason of the Close that comes next; (0, what came instead) otherwise.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        match self.next().await {
            Some(Ok(Message::Close(Some(frame)))) => (frame.code.into(), frame.reason.to_string()),
            other => (0, format!("{other:?}")),
        }
    }

    /// Reads and checks the dialect's first words.
    pub(crate) async fn welcomed(&mut self, dialect: Dialect) {
        match dialect {
            Dialect::PersonalAssistant => assert_eq!(self.hear_json().await["event"], "connected"),
            Dialect::Omni2 => assert_eq!(self.hear_json().await["type"], "initial_status"),
            Dialect::Strict => assert_eq!(self.hear_json().await["type"], "welcome"),
            Dialect::Shipvox | Dialect::Simutrador => {}
        }
    }

    /// Proves that the connection is served.
    pub(crate) async fn served(&mut self, dialect: Dialect) {
        match dialect {
            Dialect::PersonalAssistant => {
                self.say("7f3a").await;
                assert_eq!(self.hear().await, "Echo: 7f3a");
            }
            Dialect::Shipvox | Dialect::Simutrador | Dialect::Strict => {
                self.say(r#"{"type":"echo","payload":"7f3a"}"#).await;
                assert_eq!(self.hear_json().await["payload"], "7f3a");
            }
            Dialect::Omni2 => {
                self.say("ping").await;
                assert_eq!(self.hear_json().await["type"], "pong");
            }
        }
    }
}
