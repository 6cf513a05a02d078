//! What the server is told before it starts.
//!
//! [`Config::new`] gives the documented defaults of a dialect, [`Config::from_env`] reads secrets and switches from
//! the environment. Nothing here opens a socket. `Debug` never shows the secret or a password.
//!
//! | variable | read by | meaning |
//! |---|---|---|
//! | `SECRET_KEY` | personal-assistant | the HMAC key; in development `dev-secret-key` when unset |
//! | `JWT_SECRET_KEY` | the others | the HMAC key; when unset shipvox makes a random one (its tokens die with the process), the others use `dev-secret-key` in development |
//! | `ENVIRONMENT` | all | `development` (default) or `production` |
//! | `ACCESS_TOKEN_EXPIRE_MINUTES` | all | lifetime of issued tokens |
//! | `WS_TEST_TOKEN` | shipvox | what `/test-token` hands out |
//! | `AUTH_SERVICE_URL` | omni2 | the service that is asked first, `http://host:port` |

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::carrier::Carrier;
use crate::clock::Clock;
use crate::dialect::Dialect;
use crate::fault::Fault;
use crate::gate::{Policy, RolePolicy, TrustedKey};
use crate::transport::Tls;

/// The fallback key of the documents, for development only.
const DEV_SECRET: &str = "dev-secret-key";

/// Everything the server can be told.
#[derive(Clone)]
pub struct Config {
    /// Which documented interface to speak.
    pub dialect: Dialect,
    /// The HMAC secret, byte for byte. Empty where `keys` are trusted instead: then no tokens are issued here.
    pub secret: Vec<u8>,
    /// The one `alg` that the secret is for.
    pub algorithm: jsonwebtoken::Algorithm,
    /// The name of the secret, in the header of issued tokens and of those that are presented.
    pub kid: Option<String>,
    /// Public keys that are trusted as well, each for one algorithm and one issuer. They are published at
    /// `/.well-known/jwks.json`. None of the four systems has any.
    pub keys: Vec<TrustedKey>,
    /// Secrets that were used before. They open nothing; the log tells when one is still in use.
    pub retired_secrets: Vec<Vec<u8>>,
    /// How a refusal is told.
    pub refusal: RefusalStyle,
    /// The one way in which to be wrong.
    pub fault: Option<Fault>,
    /// Seconds after `exp` (and before `nbf`) at which a token still passes. At most [`crate::gate::MAX_LEEWAY_S`] count.
    pub leeway_s: u64,
    /// Refuse tokens without `exp`; `None` is the dialect's own rule (all do, but shipvox in development does not,
    /// because its documented test token never expires).
    pub require_exp: Option<bool>,
    /// A longer token is refused before it is looked at.
    pub max_token_bytes: usize,
    /// What `aud` must be or contain; `None` does not look at it. None of the four systems asks.
    pub audience: Option<String>,
    /// What `iss` must be; `None` does not look at it. None of the four systems asks.
    pub issuer: Option<String>,
    /// The media type that `typ` must name; `None` does not look at it. None of the four systems asks.
    pub typ: Option<String>,
    /// Only access tokens of RFC 9068 pass: `typ` is `at+jwt`, whatever the field above says, and every claim of its §2.2
    /// is there.
    pub rfc9068: bool,
    /// The greatest age of a token since its `iat`, in seconds; `None` does not look at it.
    pub max_token_age_s: Option<u64>,
    /// The greatest distance from `iat` to `exp`, in seconds; `None` does not look at it.
    pub max_token_lifetime_s: Option<u64>,
    /// A scope that every token must grant; issued tokens do. `None` asks for none.
    pub required_scope: Option<String>,
    /// Claims that make a token a refresh token, which opens no socket. Empty, there are no such tokens.
    pub refresh_marker: Map<String, Value>,
    /// A token of the same `jti` opens one socket.
    pub single_use: bool,
    /// The claim of the role holds a list.
    pub role_list: bool,
    /// The only bearers there are; `None` asks nobody.
    pub directory: Option<Vec<String>>,
    /// How much of everything.
    pub limits: Limits,
    /// Who can log in; `None` is the documented sample accounts in development and nobody in production.
    pub users: Option<Vec<User>>,
    /// Cost of the bcrypt hashes made at start. 4, the least there is, keeps tests quick; a real service wants 12 or more.
    pub bcrypt_cost: u32,
    /// Lifetime of issued tokens.
    pub token_lifetime: Duration,
    /// What shipvox's `/test-token` hands out; `None` is a token without `exp`, minted at start.
    pub test_token: Option<String>,
    /// Base URL of omni2's authentication service, `http://host:port`. It is asked before the token is judged here.
    pub auth_service: Option<String>,
    /// Longest wait for the authentication service.
    pub auth_service_timeout: Duration,
    /// Development or production.
    pub environment: Environment,
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where a token is looked for.
    pub carriers: Vec<Carrier>,
    /// Longest wait for the first message of a client that shows no token otherwise.
    pub auth_timeout: Duration,
    /// The only origins whose pages may connect; empty lets every page in, which is right where no cookie is read.
    pub allowed_origins: Vec<String>,
    /// Refuse clients without `Origin`, such as programs.
    pub require_origin: bool,
    /// Speak TLS, with this certificate.
    pub tls: Option<Tls>,
    /// With TLS: a second address without it, where everybody is told to use TLS.
    pub plain: Option<SocketAddr>,
    /// The one subprotocol spoken when the client offers it.
    pub subprotocol: Option<String>,
    /// Compress messages (permessage-deflate, RFC 7692) for clients that offer it.
    pub deflate: bool,
    /// Close a connection when the token that opened it expires.
    pub close_at_expiry: bool,
    /// How often omni2 broadcasts a status change and a health event; `None` is never.
    pub status_every: Option<Duration>,
    /// What time it is.
    pub clock: Clock,
}

impl Config {
    /// The documented defaults of `dialect`, listening on a free port of the loopback.
    pub fn new(dialect: Dialect, secret: impl Into<Vec<u8>>) -> Self {
        let strict = dialect == Dialect::Strict;
        let promised = |value: &str| strict.then(|| value.to_owned());
        Self {
            dialect,
            secret: secret.into(),
            algorithm: jsonwebtoken::Algorithm::HS256,
            kid: promised("strict-1"),
            keys: Vec::new(),
            retired_secrets: Vec::new(),
            refusal: RefusalStyle::Close,
            fault: None,
            leeway_s: 0,
            require_exp: None,
            max_token_bytes: 8 * 1024,
            audience: promised("https://ws.strict.example"),
            issuer: promised("https://issuer.strict.example/"),
            typ: promised("ws+jwt"),
            rfc9068: false,
            max_token_age_s: strict.then_some(600),
            max_token_lifetime_s: strict.then_some(3600),
            required_scope: promised("ws:connect"),
            refresh_marker: if strict {
                Map::from_iter([("token_use".to_owned(), "refresh".into())])
            } else {
                Map::new()
            },
            single_use: false,
            role_list: false,
            directory: None,
            limits: Limits::new(dialect),
            users: strict.then(|| {
                vec![User::new(
                    "alice",
                    "correct-horse-battery-staple",
                    json!({"sub": "alice", "groups_role": "owner"}),
                )]
            }),
            bcrypt_cost: 4,
            token_lifetime: match dialect {
                Dialect::Shipvox => Duration::from_secs(1800),
                _ => Duration::from_secs(3600),
            },
            test_token: None,
            auth_service: None,
            auth_service_timeout: Duration::from_secs(5),
            environment: if strict { Environment::Production } else { Environment::Development },
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            carriers: Carrier::of(dialect),
            auth_timeout: Duration::from_secs(10),
            allowed_origins: if strict {
                vec!["https://app.strict.example".to_owned(), "http://localhost:3000".to_owned()]
            } else {
                Vec::new()
            },
            require_origin: false,
            tls: None,
            plain: None,
            subprotocol: promised("strict.v1"),
            deflate: false,
            close_at_expiry: true,
            status_every: None,
            clock: Clock::system(),
        }
    }

    /// Reads secrets and switches from the environment; see the table above.
    pub fn from_env(dialect: Dialect) -> Result<Self, ConfigError> {
        Self::from_vars(dialect, |name| std::env::var(name).ok())
    }

    /// [`Config::from_env`] over any source of variables. An empty value counts as unset.
    pub fn from_vars(dialect: Dialect, var: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let environment = match var("ENVIRONMENT") {
            Some(text) => text.parse()?,
            None => Environment::Development,
        };
        let name = secret_variable(dialect);
        let secret = match var(name) {
            Some(secret) => secret.into_bytes(),
            None if dialect == Dialect::Shipvox => {
                tracing::warn!(variable = name, "no secret configured: tokens die with this process");
                random_secret()?
            }
            None if environment == Environment::Development => {
                tracing::warn!(
                    variable = name,
                    "no secret configured: using the development fallback, which anyone can know"
                );
                DEV_SECRET.as_bytes().to_vec()
            }
            None => return Err(ConfigError::NoSecret(name)),
        };
        let mut config = Self::new(dialect, secret);
        config.environment = environment;
        config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, dialect.default_port()));
        config.test_token = var("WS_TEST_TOKEN");
        config.auth_service = var("AUTH_SERVICE_URL");
        if let Some(text) = var("ACCESS_TOKEN_EXPIRE_MINUTES") {
            let minutes: u32 =
                text.parse().map_err(|_| ConfigError::NotANumber("ACCESS_TOKEN_EXPIRE_MINUTES", text))?;
            config.token_lifetime = Duration::from_secs(60 * u64::from(minutes));
        }
        Ok(config)
    }

    /// Which role opens the gate.
    fn roles(&self) -> Option<RolePolicy> {
        let roles = match self.dialect {
            Dialect::Omni2 => {
                RolePolicy::new("role", &["admin", "developer", "dba"], "read_only").and_denied(&["viewer"])
            }
            // Names that no document of another system has, so that nothing may rest on those.
            Dialect::Strict => RolePolicy::new("groups_role", &["owner", "editor"], "guest").and_denied(&["suspended"]),
            _ => return None,
        };
        Some(RolePolicy { list: self.role_list, ..roles })
    }

    /// What the gate holds a token to.
    pub fn policy(&self) -> Policy {
        let dialect = self.dialect;
        Policy {
            secret: self.secret.clone(),
            algorithm: self.algorithm,
            kid: self.kid.clone(),
            keys: self.keys.clone(),
            retired_secrets: self.retired_secrets.clone(),
            leeway_s: self.leeway_s,
            require_exp: self.requires_exp(),
            identity_claims: dialect.identity_claims().iter().map(|&name| name.to_owned()).collect(),
            identity_fallback: (dialect == Dialect::Omni2).then(|| "unknown".to_owned()),
            roles: self.roles(),
            max_token_bytes: self.max_token_bytes,
            audience: self.audience.clone(),
            issuer: self.issuer.clone(),
            typ: if self.rfc9068 { Some("at+jwt".to_owned()) } else { self.typ.clone() },
            required_claims: if self.rfc9068 {
                ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"].map(str::to_owned).to_vec()
            } else {
                Vec::new()
            },
            max_token_age_s: self.max_token_age_s,
            max_token_lifetime_s: self.max_token_lifetime_s,
            required_scope: self.required_scope.clone(),
            refresh_marker: self.refresh_marker.clone(),
            single_use: self.single_use,
            directory: self.directory.as_ref().map(|users| users.iter().cloned().collect()),
        }
    }

    fn requires_exp(&self) -> bool {
        // The documented test token never expires and is for development only: in production nothing lives forever.
        let test_tokens = self.dialect == Dialect::Shipvox
            && (self.environment == Environment::Development || self.fault == Some(Fault::TestTokenInProduction));
        self.require_exp.unwrap_or(!test_tokens)
    }

    /// Who can log in.
    pub(crate) fn accounts(&self) -> Vec<User> {
        let mut users = match (&self.users, self.environment) {
            (Some(users), _) => users.clone(),
            (None, Environment::Development) => sample_users(self.dialect),
            (None, Environment::Production) => Vec::new(),
        };
        if self.fault == Some(Fault::DefaultAccount) {
            for (name, password) in
                [("admin", "admin"), ("user", "password"), ("test", "test"), ("strict-sample", "strict-sample")]
            {
                users.push(User::new(name, password, json!({"sub": name, "role": "admin"})));
            }
        }
        users
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("dialect", &self.dialect)
            .field("secret_bytes", &self.secret.len())
            .field("refusal", &self.refusal)
            .field("fault", &self.fault)
            .field("leeway_s", &self.leeway_s)
            .field("environment", &self.environment)
            .field("listen", &self.listen)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn secret_variable(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::PersonalAssistant => "SECRET_KEY",
        _ => "JWT_SECRET_KEY",
    }
}

fn random_secret() -> Result<Vec<u8>, ConfigError> {
    let mut secret = vec![0; 32];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| ConfigError::NoRandomness)?;
    Ok(secret)
}

/// How a refusal is told to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalStyle {
    /// Upgrade, then close with the dialect's code and reason: what the documents promise.
    Close,
    /// HTTP 401 or 403 instead of the upgrade.
    Http,
}

impl FromStr for RefusalStyle {
    type Err = UnknownRefusalStyle;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "close" => Ok(RefusalStyle::Close),
            "http" => Ok(RefusalStyle::Http),
            _ => Err(UnknownRefusalStyle(name.to_owned())),
        }
    }
}

impl fmt::Display for RefusalStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RefusalStyle::Close => "close",
            RefusalStyle::Http => "http",
        })
    }
}

/// The text names no refusal style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownRefusalStyle(pub String);

impl fmt::Display for UnknownRefusalStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no refusal style is called `{}`; there are close, http", self.0)
    }
}

impl std::error::Error for UnknownRefusalStyle {}

/// Development or production. In production there are no sample accounts, no test token and no fallback secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Environment {
    /// The documents' conveniences are on.
    Development,
    /// They are off.
    Production,
}

impl FromStr for Environment {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "development" => Ok(Environment::Development),
            "production" => Ok(Environment::Production),
            _ => Err(ConfigError::UnknownEnvironment(name.to_owned())),
        }
    }
}

/// How much of everything.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once, of all kinds; one more is answered 503.
    pub connections: usize,
    /// Longest wait for a request head, and for the answer of an HTTP endpoint.
    pub handshake: Duration,
    /// Size of a request head.
    pub head_bytes: usize,
    /// Header fields of a request.
    pub headers: usize,
    /// Size of a WebSocket message.
    pub message_bytes: usize,
    /// Messages waiting for a slow reader before it is dropped.
    pub queue_messages: usize,
    /// Bytes waiting for a slow reader before it is dropped.
    pub queue_bytes: usize,
    /// Longest wait for a client to take what was written to it.
    pub write: Duration,
    /// Longest wait for the other half of a closing handshake.
    pub close: Duration,
    /// Longest wait for everything to end once the server was told to stop.
    pub shutdown: Duration,
    /// A ping is sent this often, and a client silent for three of them is dropped.
    pub ping_every: Duration,
    /// A connection without a message for this long is closed.
    pub idle: Option<Duration>,
    /// No connection lives longer.
    pub session: Option<Duration>,
    /// Connections at once of one user, where no plan says otherwise.
    pub per_user: usize,
    /// simutrador's plans. A plan with no entry here is held to the first.
    pub plans: Vec<PlanLimit>,
    /// Failed logins of one name from one address within ten seconds before 429.
    pub failed_logins: u32,
}

/// What a plan allows one user.
#[derive(Debug, Clone)]
pub struct PlanLimit {
    /// The value of the `plan` claim.
    pub name: String,
    /// Connections at once.
    pub connections: usize,
    /// Messages in [`PlanLimit::window`], over all connections.
    pub messages: u32,
    /// The window.
    pub window: Duration,
}

impl Limits {
    /// Generous, but for what the dialect documents.
    pub fn new(dialect: Dialect) -> Self {
        let plan = |name: &str, connections, messages| PlanLimit {
            name: name.to_owned(),
            connections,
            messages,
            window: Duration::from_secs(60),
        };
        Self {
            connections: 1024,
            handshake: Duration::from_secs(10),
            head_bytes: 64 * 1024,
            headers: crate::server::HEADERS_OF_HYPER,
            message_bytes: 1024 * 1024,
            queue_messages: 1024,
            queue_bytes: 8 * 1024 * 1024,
            write: Duration::from_secs(10),
            close: Duration::from_secs(2),
            shutdown: Duration::from_secs(5),
            ping_every: Duration::from_secs(20),
            idle: (dialect == Dialect::Simutrador).then_some(Duration::from_secs(300)),
            session: (dialect == Dialect::Omni2).then_some(Duration::from_secs(3600)),
            per_user: if dialect == Dialect::Omni2 { 5 } else { 64 },
            plans: match dialect {
                Dialect::Simutrador => {
                    vec![plan("free", 3, 120), plan("pro", 16, 6_000), plan("enterprise", 64, 60_000)]
                }
                _ => Vec::new(),
            },
            failed_logins: 40,
        }
    }
}

/// Somebody who can log in, and what the tokens issued to them say.
#[derive(Clone)]
pub struct User {
    /// The name.
    pub username: String,
    /// The password; only its bcrypt hash is kept once the server runs.
    pub password: String,
    /// The claims of an issued token, without `iat`, `exp` and `jti`.
    pub claims: Map<String, Value>,
}

impl User {
    /// A user whose tokens say `claims`, a JSON object.
    pub fn new(username: impl Into<String>, password: impl Into<String>, claims: Value) -> Self {
        let claims = match claims {
            Value::Object(claims) => claims,
            _ => Map::new(),
        };
        Self { username: username.into(), password: password.into(), claims }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("username", &self.username).finish_non_exhaustive()
    }
}

/// The accounts in the systems' own documents.
fn sample_users(dialect: Dialect) -> Vec<User> {
    let member = |name: &str, role: &str| {
        let email = format!("{name}@example.com");
        User::new(name, name, json!({"sub": name, "email": email, "role": role}))
    };
    match dialect {
        Dialect::PersonalAssistant => {
            vec![User::new("test", "test", json!({"user_id": "test-user", "username": "test"}))]
        }
        Dialect::Shipvox => vec![User::new("user", "password", json!({"sub": "user"}))],
        Dialect::Strict => Vec::new(),
        Dialect::Simutrador => vec![User::new(
            "test",
            "test",
            json!({"user_id": "test-user", "plan": "pro", "rate_limits": {"connections": 16, "messages_per_minute": 6000}}),
        )],
        Dialect::Omni2 => vec![
            member("admin", "admin"),
            member("developer", "developer"),
            member("dba", "dba"),
            member("viewer", "viewer"),
        ],
    }
}

/// The environment does not make a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// Production, and this variable is not set.
    NoSecret(&'static str),
    /// `ENVIRONMENT` is neither of the two.
    UnknownEnvironment(String),
    /// This variable is no number.
    NotANumber(&'static str, String),
    /// The operating system gave no random bytes.
    NoRandomness,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::NoSecret(name) => write!(f, "{name} is not set, and in production there is no fallback"),
            ConfigError::UnknownEnvironment(name) => {
                write!(f, "ENVIRONMENT is `{name}`; there are development, production")
            }
            ConfigError::NotANumber(name, text) => {
                write!(f, "{name} is `{text}`, which is not a number of minutes")
            }
            ConfigError::NoRandomness => {
                write!(f, "the operating system gave no random bytes for a secret")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
    }

    #[test]
    fn fallbacks_are_for_development_only() {
        let dev = Config::from_vars(Dialect::PersonalAssistant, vars(&[]));
        assert!(dev.is_ok_and(|config| config.secret == DEV_SECRET.as_bytes()));
        let production = Config::from_vars(Dialect::PersonalAssistant, vars(&[("ENVIRONMENT", "production")]));
        assert_eq!(production.map(|_| ()), Err(ConfigError::NoSecret("SECRET_KEY")));
    }

    #[test]
    fn shipvox_makes_a_secret_of_its_own_each_time() {
        let one = Config::from_vars(Dialect::Shipvox, vars(&[])).map(|config| config.secret);
        let two = Config::from_vars(Dialect::Shipvox, vars(&[])).map(|config| config.secret);
        assert!(one.is_ok() && one != two);
    }

    #[test]
    fn nothing_lives_forever_in_production() {
        let mut config = Config::new(Dialect::Shipvox, "secret");
        assert!(!config.policy().require_exp);
        config.environment = Environment::Production;
        assert!(config.policy().require_exp);
        assert!(config.accounts().is_empty());
    }

    #[test]
    fn debug_shows_no_secret() {
        let mut config = Config::new(Dialect::Omni2, "hidden-secret");
        config.users = Some(vec![User::new("a", "hidden-password", json!({}))]);
        assert!(!format!("{config:?} {:?}", config.users).contains("hidden"));
    }
}
