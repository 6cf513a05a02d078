//! Why a control failed, or many cases for one cause: what is worth trying to find out, and how it is told to a person.
//! Pure.
//!
//! `run/diagnose.rs` makes the connections. Nothing here is a verdict: a diagnosis tells how to get one.

mod engine_io;
mod first;
mod greeting;
mod lost;
mod one_cause;

pub use engine_io::{at_path as socket_io_at, greeted as socket_io_greeted};
pub use first::{Attempt, Spelling, answer, attempts, confirmed, forgeries, nothing_found, takes_forgeries};
pub use greeting::{echoes_otherwise, greets_anybody, tells_by_greeting};
pub use lost::{Lost, lost};
pub use one_cause::{any_key_will_do, no_role_refused};

/// Why a control failed, as far as it could be found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The kind of cause.
    pub cause: Cause,
    /// What came in the place of the proof of service.
    pub observed: String,
    /// The cause in words, and what to do about it.
    pub advice: String,
}

impl Finding {
    /// What it says of the first control.
    pub fn lead(&self) -> &'static str {
        match self.cause {
            Cause::Greeting => "nothing shows that the valid token was admitted",
            Cause::Echo => "a text is not answered as the profile declares",
            _ => "the valid token was not admitted",
        }
    }

    /// What follows from that for the run.
    pub fn so(&self) -> &'static str {
        match self.cause {
            Cause::Echo => "no case can be judged by its answers",
            _ => "no refusal can be believed",
        }
    }
}

/// The kinds of causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The server takes tokens in another way than the profile says: another spelling of the secret, another place,
    /// another algorithm, other claims.
    Profile,
    /// In the way that was found the server admits whoever asks.
    Anybody,
    /// The one sign of service is a message that the server sends to whoever connects.
    Greeting,
    /// The valid token is admitted, and a text is answered in another shape than the profile declares.
    Echo,
    /// Nothing is served at this path, or it is no WebSocket endpoint.
    Endpoint,
    /// One side speaks TLS, the other does not.
    Tls,
    /// What listens does not speak HTTP.
    NotHttp,
    /// A limit was met: 429, 503 or close 1013.
    RateLimit,
    /// Forged tokens made the server refuse good ones too.
    LockOut,
    /// The server ended, or takes connections and answers none.
    Dead,
    /// It is going down or coming up again.
    Restarting,
    /// Its clock, or ours, has jumped.
    Clock,
    /// It verifies with another secret than before.
    SecretRotated,
    /// The real token that was given is over, or could not be renewed.
    Token,
    /// A valid token makes it fail.
    ServerError,
    /// Nothing that was tried tells.
    Unknown,
}

impl Cause {
    /// The word in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Anybody => "admits-anybody",
            Self::Greeting => "greets-anybody",
            Self::Echo => "echoes-otherwise",
            Self::Endpoint => "endpoint",
            Self::Tls => "tls",
            Self::NotHttp => "not-http",
            Self::RateLimit => "rate-limit",
            Self::LockOut => "lock-out",
            Self::Dead => "dead",
            Self::Restarting => "restarting",
            Self::Clock => "clock",
            Self::SecretRotated => "secret-rotated",
            Self::Token => "token",
            Self::ServerError => "server-error",
            Self::Unknown => "unknown",
        }
    }
}
