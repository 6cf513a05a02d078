//! Where in the request is the token?
//!
//! The declared carriers are looked at and no other place: not other cookies, not other parameters, not the body. A
//! token is taken from exactly one place or not at all; two candidates are refused rather than chosen
//! between, because whoever stands before this server may choose differently. Pure. Says nothing about whether the
//! token is any good.

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE, HeaderName, SEC_WEBSOCKET_PROTOCOL};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memchr;

use crate::dialect::Dialect;
use crate::fault::Fault;
use crate::faulty;

/// A place where the server looks for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carrier {
    /// The path segment behind the endpoint.
    Path,
    /// The parameter `token` of the query.
    Query,
    /// `Authorization: Bearer`.
    Bearer,
    /// The cookie of this name.
    Cookie(&'static str),
    /// An offered subprotocol that begins with this, as in `bearer.TOKEN`.
    Subprotocol(&'static str),
    /// An offered subprotocol that begins with this and goes on with the base64url of the token, as Kubernetes has it.
    EncodedSubprotocol(&'static str),
    /// The first message, `{"type":"auth","token":TOKEN}`, answered by `{"type":"auth_ok"}`.
    FirstMessage,
}

impl Carrier {
    /// The documented carriers of a dialect.
    pub fn of(dialect: Dialect) -> Vec<Self> {
        match dialect {
            Dialect::PersonalAssistant => vec![Self::Path],
            Dialect::Shipvox | Dialect::Omni2 => vec![Self::Query],
            Dialect::Simutrador => vec![Self::Query, Self::Bearer],
            Dialect::Strict => vec![
                Self::Query,
                Self::Bearer,
                Self::Cookie("session"),
                Self::Subprotocol("bearer."),
                Self::EncodedSubprotocol("base64url.bearer.authorization.k8s.io."),
            ],
        }
    }
}

/// What the declared carriers hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Carried {
    /// No carrier at all.
    Absent,
    /// A carrier with nothing in it.
    Empty,
    /// One token, percent-decoded once.
    Token(Vec<u8>),
    /// Something that cannot be one token; the text says why, for the log.
    Unusable(&'static str),
    /// The extraction itself failed (only a fault does this).
    Crashed(&'static str),
}

/// The parts of a request a carrier can be in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'r> {
    /// The path segment that carries the token, still encoded.
    pub(crate) segment: Option<&'r str>,
    /// The query, still encoded.
    pub(crate) query: Option<&'r str>,
    pub(crate) headers: &'r HeaderMap,
}

/// Finds the token.
pub(crate) fn find(carriers: &[Carrier], dialect: Dialect, places: Places<'_>, fault: Option<Fault>) -> Carried {
    let look = |carrier: &Carrier| match carrier {
        Carrier::Path => from_segment(places.segment, fault),
        Carrier::Query => from_query(places.query.unwrap_or_default(), fault),
        Carrier::Bearer if fault == Some(Fault::HeaderCarrierMissing) => Carried::Absent,
        Carrier::Bearer => from_authorization(places.headers, fault),
        Carrier::Cookie(name) => from_cookies(places.headers, name),
        Carrier::Subprotocol(prefix) => from_subprotocols(places.headers, prefix, |token| Some(token.to_vec())),
        Carrier::EncodedSubprotocol(prefix) => from_subprotocols(places.headers, prefix, |token| {
            if fault == Some(Fault::SubprotocolNotDecoded) {
                Some(token.to_vec())
            } else {
                URL_SAFE_NO_PAD.decode(token).ok()
            }
        }),
        // It is not here yet.
        Carrier::FirstMessage => Carried::Absent,
    };
    let last_wins = fault == Some(Fault::LastCarrierWins);
    let found = carriers.iter().map(look).fold(Carried::Absent, |first, second| match (first, second) {
        (Carried::Token(_), Carried::Token(second)) if last_wins => Carried::Token(second),
        (first, second) => one_of(first, second),
    });
    faulty::bend_carried(fault, dialect, places, found)
}

/// The elements of a header whose value is a list, over all its fields (RFC 9110 §5.3).
pub(crate) fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// The cookie of this name, which has a case (RFC 6265 §5.3); a second one is one too many.
fn from_cookies(headers: &HeaderMap, name: &str) -> Carried {
    let mut values = cookies(headers).filter(|(other, _)| *other == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (None, _) => Carried::Absent,
        (Some(value), None) => token_or_empty(value.as_bytes()),
        (Some(_), Some(_)) => Carried::Unusable("the cookie is repeated"),
    }
}

/// Names and values of all cookies.
pub(crate) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let fields = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    fields.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

fn from_subprotocols(headers: &HeaderMap, prefix: &str, decode: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Carried {
    let mut tokens = elements(headers, &SEC_WEBSOCKET_PROTOCOL).filter_map(|element| element.strip_prefix(prefix));
    match (tokens.next(), tokens.next()) {
        (None, _) => Carried::Absent,
        (Some(token), None) => match decode(token.as_bytes()) {
            Some(token) => token_or_empty(token),
            None => Carried::Unusable("the subprotocol is no base64url"),
        },
        (Some(_), Some(_)) => Carried::Unusable("tokens in two subprotocols"),
    }
}

/// Both carriers used at once is one carrier too many.
fn one_of(first: Carried, second: Carried) -> Carried {
    match (first, second) {
        (Carried::Crashed(why), _) => Carried::Crashed(why),
        (only, Carried::Absent) | (Carried::Absent, only) => only,
        (only, Carried::Empty) | (Carried::Empty, only) => only,
        _ => Carried::Unusable("tokens in two carriers"),
    }
}

fn from_segment(segment: Option<&str>, fault: Option<Fault>) -> Carried {
    match segment {
        None => Carried::Absent,
        Some(segment) => decoded(segment, fault),
    }
}

fn from_query(query: &str, fault: Option<Fault>) -> Carried {
    // A name is compared decoded, as every form parser does; one that cannot be decoded is not ours.
    let most = if fault == Some(Fault::ParametersCutOff) { 64 } else { usize::MAX };
    let mut values = query.split('&').take(most).filter_map(|pair| {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (pair, None),
        };
        percent_decode(name).is_some_and(|name| is_ours(&name, fault)).then_some(value)
    });
    if fault == Some(Fault::CrashesOnArrayParameter) && query.split('&').any(is_array) {
        return Carried::Crashed("the parameter is a list");
    }
    match (values.next(), values.next()) {
        (None, _) => Carried::Absent,
        (Some(None), _) if fault == Some(Fault::CrashesOnValuelessParameter) => {
            Carried::Crashed("the parameter has no value")
        }
        (Some(value), None) => decoded(value.unwrap_or_default(), fault),
        (Some(first), Some(_)) if fault == Some(Fault::FirstParameterWins) => decoded(first.unwrap_or_default(), fault),
        (_, Some(second)) if fault == Some(Fault::LastParameterWins) => {
            decoded(values.last().unwrap_or(second).unwrap_or_default(), fault)
        }
        (_, Some(_)) => Carried::Unusable("the parameter is repeated"),
    }
}

/// Names have case.
fn is_ours(name: &[u8], fault: Option<Fault>) -> bool {
    name == b"token" || fault == Some(Fault::FoldsParameterCase) && name.eq_ignore_ascii_case(b"token")
}

/// Is it a parameter that a framework makes a list of?
fn is_array(pair: &str) -> bool {
    percent_decode(pair.split('=').next().unwrap_or_default()).is_some_and(|name| name.starts_with(b"token["))
}

fn from_authorization(headers: &HeaderMap, fault: Option<Fault>) -> Carried {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Carried::Absent;
    };
    if values.next().is_some() && fault != Some(Fault::TwoAuthorizationHeaders) {
        return Carried::Unusable("two Authorization headers");
    }
    let value = value.as_bytes();
    if fault == Some(Fault::AnyScheme) {
        return token_or_empty(value.rsplit(|&byte| byte == b' ').next().unwrap_or_default());
    }
    if fault == Some(Fault::CaseSensitiveScheme) && !value.starts_with(b"Bearer ") {
        return Carried::Absent;
    }
    if fault == Some(Fault::OneSpaceAfterScheme) && value.get(6..8) == Some(b"  ") {
        return Carried::Empty;
    }
    bearer(value).map_or(Carried::Absent, token_or_empty)
}

/// The credentials of `Bearer`, whose name has no case (RFC 9110 §11.1) and ends at one or more spaces (§11.4).
/// Another scheme carries no token of ours.
pub(crate) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"bearer") || rest.first().is_some_and(|&byte| byte != b' ') {
        return None;
    }
    Some(rest.trim_ascii_start())
}

pub(crate) fn token_or_empty(token: impl Into<Vec<u8>>) -> Carried {
    let token = token.into();
    if token.is_empty() { Carried::Empty } else { Carried::Token(token) }
}

/// Decodes once, strictly: a broken escape or what is no UTF-8 (RFC 3986 §2.1, §2.5) makes the token unusable.
pub(crate) fn decoded(raw: &str, fault: Option<Fault>) -> Carried {
    if fault == Some(Fault::RawQuery) {
        return token_or_empty(raw.as_bytes());
    }
    let token = percent_decode(raw).filter(|bytes| str::from_utf8(bytes).is_ok());
    match token {
        Some(token) => token_or_empty(token),
        None if fault == Some(Fault::CrashesOnBadPercent) => Carried::Crashed("the percent-encoding is broken"),
        None => Carried::Unusable("the percent-encoding is broken"),
    }
}

/// `None` on `%` without two hexadecimal digits.
pub(crate) fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    // Hardly any token has one, and all of it is copied at once.
    while let Some(at) = memchr(b'%', rest) {
        let [high, low] = *rest.get(at + 1..at + 3)? else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        out.extend_from_slice(&rest[..at]);
        out.push((digit(high)? * 16 + digit(low)?) as u8);
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn token(text: &str) -> Carried {
        Carried::Token(text.as_bytes().to_vec())
    }

    fn find_in(dialect: Dialect, places: Places<'_>) -> Carried {
        find(&Carrier::of(dialect), dialect, places, None)
    }

    fn query(query: &str) -> Carried {
        let headers = HeaderMap::new();
        find_in(Dialect::Shipvox, Places { segment: None, query: Some(query), headers: &headers })
    }

    fn simutrador(query: Option<&str>, authorization: &[&str]) -> Carried {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        find_in(Dialect::Simutrador, Places { segment: None, query, headers: &headers })
    }

    #[test]
    fn one_parameter_decoded_once() {
        assert_eq!(query("token=a.b.c"), token("a.b.c"));
        assert_eq!(query("x=1&token=a%2Eb&y"), token("a.b"));
        assert_eq!(query("%74oken=a"), token("a"));
        assert_eq!(query("token=a%252Eb"), token("a%2Eb"));
        assert_eq!(query("token=%20a%0A"), token(" a\n"));
        assert_eq!(query("token=a=b"), token("a=b"));
        assert_eq!(query("token=a+b"), token("a+b"));
    }

    #[test]
    fn absent_empty_and_unusable() {
        assert_eq!(query(""), Carried::Absent);
        assert_eq!(query("Token=a&token[]=b&=c&access_token=d"), Carried::Absent);
        assert_eq!(query("token"), Carried::Empty);
        assert_eq!(query("token="), Carried::Empty);
        for bad in ["token=%zz", "token=%", "token=%f", "token=%ff%fe", "token=a&token=a", "token=&token=a"] {
            assert!(matches!(query(bad), Carried::Unusable(_)), "{bad}");
        }
    }

    #[test]
    fn bearer_has_no_case_and_any_spaces() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c"] {
            assert_eq!(simutrador(None, &[value]), token("a.b.c"), "{value}");
        }
        assert_eq!(simutrador(None, &["Bearer"]), Carried::Empty);
        for other in ["Basic a.b.c", "a.b.c", "Bearera.b.c", "JWT a.b.c"] {
            assert_eq!(simutrador(None, &[other]), Carried::Absent, "{other}");
        }
    }

    #[test]
    fn two_candidates_are_none() {
        assert!(matches!(simutrador(Some("token=a"), &["Bearer a"]), Carried::Unusable(_)));
        assert!(matches!(simutrador(None, &["Bearer a", "Bearer b"]), Carried::Unusable(_)));
        assert_eq!(simutrador(Some("token=a"), &["Basic b"]), token("a"));
        assert_eq!(simutrador(Some("token="), &["Bearer b"]), token("b"));
    }

    #[test]
    fn cookies_and_subprotocols_are_read_where_they_are_declared() {
        let strict = |name: HeaderName, value: &str| {
            let mut headers = HeaderMap::new();
            headers.append(name, value.parse().unwrap());
            find_in(Dialect::Strict, Places { segment: None, query: None, headers: &headers })
        };
        assert_eq!(strict(COOKIE, "a=1; session=a.b.c; b=2"), token("a.b.c"));
        assert_eq!(strict(COOKIE, "token=a.b.c; Session=a.b.c"), Carried::Absent);
        assert_eq!(strict(COOKIE, "session="), Carried::Empty);
        assert!(matches!(strict(COOKIE, "session=a; session=b"), Carried::Unusable(_)));
        assert_eq!(strict(SEC_WEBSOCKET_PROTOCOL, "strict.v1, bearer.a.b.c"), token("a.b.c"));
        let encoded = "strict.v1,base64url.bearer.authorization.k8s.io.YS5iLmM";
        assert_eq!(strict(SEC_WEBSOCKET_PROTOCOL, encoded), token("a.b.c"));
        for bad in ["base64url.bearer.authorization.k8s.io.YS5iLmM=", "bearer.a, bearer.b"] {
            assert!(matches!(strict(SEC_WEBSOCKET_PROTOCOL, bad), Carried::Unusable(_)), "{bad}");
        }
        assert_eq!(strict(SEC_WEBSOCKET_PROTOCOL, "bearer, a.b.c"), Carried::Absent);
    }

    #[test]
    fn the_path_carrier_reads_the_segment_only() {
        let headers = HeaderMap::new();
        let at = |segment| {
            find_in(Dialect::PersonalAssistant, Places { segment, query: Some("token=q"), headers: &headers })
        };
        assert_eq!(at(Some("a%2Eb")), token("a.b"));
        assert_eq!(at(Some("")), Carried::Empty);
        assert_eq!(at(None), Carried::Absent);
    }
}
