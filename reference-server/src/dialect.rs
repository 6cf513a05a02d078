//! The four systems whose documented interface this server can speak, and a fifth that promises everything.
//!
//! Names, paths and the claims each asks for. How a dialect words a refusal is in `refusal`, what it answers to a
//! message in `talk`, its HTTP endpoints in `http`.

use std::fmt;
use std::str::FromStr;

/// An interface the server can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `/ws/{token}`, an echo with a welcome.
    PersonalAssistant,
    /// `/ws?token=`, JSON in, broadcast to everyone.
    Shipvox,
    /// `/ws/simulate?token=` or `Authorization: Bearer`, plans and limits, close codes 4000 to 4003.
    Simutrador,
    /// `/ws/mcp-status?token=`, roles, and an authentication service that is asked first.
    Omni2,
    /// `/ws?token=` or `Authorization: Bearer`, JSON echoed with a stamp, and every promise a profile can hold: it is no
    /// real system, but what a careful one would be.
    Strict,
}

/// What a path means to a dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route<'p> {
    /// The WebSocket endpoint, with the path segment that carries the token where the dialect has one.
    Socket { segment: Option<&'p str> },
    /// Not ours: the HTTP router answers, if only with 404.
    Http,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: &[Dialect] =
        &[Dialect::PersonalAssistant, Dialect::Shipvox, Dialect::Simutrador, Dialect::Omni2, Dialect::Strict];

    /// The name on the command line and of the profile.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::PersonalAssistant => "personal-assistant",
            Dialect::Shipvox => "shipvox",
            Dialect::Simutrador => "simutrador",
            Dialect::Omni2 => "omni2",
            Dialect::Strict => "strict",
        }
    }

    /// What `/health` calls the service.
    pub(crate) fn service(self) -> &'static str {
        match self {
            Dialect::PersonalAssistant => "Super Brain API",
            Dialect::Shipvox => "ShipVox",
            Dialect::Simutrador => "SimuTrador",
            Dialect::Omni2 => "omni2",
            Dialect::Strict => "strict",
        }
    }

    /// The port in the system's own documents.
    pub fn default_port(self) -> u16 {
        match self {
            Dialect::Simutrador => 8003,
            _ => 8000,
        }
    }

    /// The path of the WebSocket endpoint, without the token.
    pub fn endpoint(self) -> &'static str {
        match self {
            Dialect::PersonalAssistant | Dialect::Shipvox | Dialect::Strict => "/ws",
            Dialect::Simutrador => "/ws/simulate",
            Dialect::Omni2 => "/ws/mcp-status",
        }
    }

    /// Path and query of the endpoint with `{token}` in the token's place.
    pub fn target_template(self) -> String {
        match self {
            Dialect::PersonalAssistant => "/ws/{token}".to_owned(),
            _ => format!("{}?token={{token}}", self.endpoint()),
        }
    }

    /// Does the token ride in the path?
    pub(crate) fn token_in_path(self) -> bool {
        self == Dialect::PersonalAssistant
    }

    /// Does the dialect also read `Authorization: Bearer`?
    pub(crate) fn token_in_header(self) -> bool {
        matches!(self, Dialect::Simutrador | Dialect::Strict)
    }

    /// Finds the endpoint. Paths are compared byte for byte: a variant that a proxy might fold into the endpoint is
    /// another resource here, and has no WebSocket behind it.
    pub(crate) fn route(self, path: &str) -> Route<'_> {
        if !self.token_in_path() {
            return if path == self.endpoint() { Route::Socket { segment: None } } else { Route::Http };
        }
        match path.strip_prefix(self.endpoint()) {
            // No segment is the endpoint without a token, to be refused as such.
            Some("") => Route::Socket { segment: None },
            Some(rest) => match rest.strip_prefix('/') {
                Some(segment) if !segment.contains('/') => Route::Socket { segment: Some(segment) },
                _ => Route::Http,
            },
            None => Route::Http,
        }
    }

    /// The claims that name the bearer, in order of precedence.
    pub(crate) fn identity_claims(self) -> &'static [&'static str] {
        match self {
            Dialect::PersonalAssistant | Dialect::Simutrador => &["user_id"],
            Dialect::Shipvox | Dialect::Strict => &["sub"],
            Dialect::Omni2 => &["email", "sub"],
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownDialect(pub String);

impl fmt::Display for UnknownDialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no dialect is called `{}`; there are", self.0)?;
        for (at, dialect) in Dialect::ALL.iter().enumerate() {
            write!(f, "{} {dialect}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownDialect {}

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Dialect::ALL
            .iter()
            .copied()
            .find(|dialect| dialect.name() == name)
            .ok_or_else(|| UnknownDialect(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for dialect in Dialect::ALL {
            assert_eq!(dialect.name().parse(), Ok(*dialect));
        }
        assert!("Shipvox".parse::<Dialect>().is_err());
    }

    #[test]
    fn the_endpoint_is_matched_byte_for_byte() {
        assert_eq!(Dialect::Shipvox.route("/ws"), Route::Socket { segment: None });
        for variant in ["/ws/", "//ws", "/WS", "/./ws", "/ws;x", "/ws.json", "/ws%2f", "/w", "/"] {
            assert_eq!(Dialect::Shipvox.route(variant), Route::Http, "{variant}");
        }
    }

    #[test]
    fn a_path_token_is_exactly_one_segment() {
        let route = |path| Dialect::PersonalAssistant.route(path);
        assert_eq!(route("/ws/a.b.c"), Route::Socket { segment: Some("a.b.c") });
        assert_eq!(route("/ws"), Route::Socket { segment: None });
        assert_eq!(route("/ws/"), Route::Socket { segment: Some("") });
        for other in ["/ws/a/extra", "/ws/a/", "/wsa", "/ws//a", "/health"] {
            assert_eq!(route(other), Route::Http, "{other}");
        }
    }
}
