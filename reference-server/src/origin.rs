//! May a page of this origin connect? (RFC 6455 §10.2)
//!
//! An exact allowlist: the header is one of the listed texts, byte for byte, or the page stays out. Browsers write an
//! origin in one way only (RFC 6454 §6.1), so that nothing has to be parsed or folded. A client without `Origin` is a
//! program and no page; it is let on unless the configuration wants one. Pure.

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue};

use crate::carrier;
use crate::config::Config;
use crate::fault::Fault;

/// Whether a request with these headers may go on to show its token.
pub(crate) fn is_allowed(config: &Config, headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let (first, second) = (origins.next(), origins.next());
    let is_good = |origin: &HeaderValue| {
        origin
            .to_str()
            .is_ok_and(|origin| is_listed(config, origin, config.fault) || is_waved_through(config, origin, headers))
    };
    match (first, second) {
        _ if config.allowed_origins.is_empty() => true,
        (None, _) => !config.require_origin || config.fault == Some(Fault::AbsentOriginAllowed),
        (Some(one), Some(other)) => config.fault == Some(Fault::AnyOriginCounts) && (is_good(one) || is_good(other)),
        (Some(origin), None) => is_good(origin),
    }
}

/// Whether the origin is on the list, or what a fault takes for it.
fn is_listed(config: &Config, origin: &str, fault: Option<Fault>) -> bool {
    let mut allowed = config.allowed_origins.iter().map(String::as_str);
    let host = |allowed: &str| allowed.split_once("://").map_or(allowed, |(_, host)| host).to_owned();
    // The host without its first label.
    let domain =
        |allowed: &str| host(allowed).split_once('.').map_or_else(|| host(allowed), |(_, rest)| rest.to_owned());
    match fault {
        Some(Fault::OriginByPrefix) => allowed.any(|allowed| origin.starts_with(allowed)),
        Some(Fault::OriginBySuffix) => allowed.any(|allowed| origin.ends_with(&domain(allowed))),
        Some(Fault::OriginBySubstring) => allowed.any(|allowed| origin.contains(&host(allowed))),
        Some(Fault::OriginByLooseRegex) => allowed.any(|allowed| {
            // A period of a regular expression is any character.
            allowed.len() == origin.len() && allowed.chars().zip(origin.chars()).all(|(a, o)| a == '.' || a == o)
        }),
        Some(Fault::OriginByHostOnly) => allowed.any(|allowed| host_of(allowed) == host_of(origin)),
        Some(Fault::OnlyFirstOriginAllowed) => allowed.next() == Some(origin),
        _ => allowed.any(|allowed| allowed == origin),
    }
}

/// Lets an origin in that is not on the list (only a fault does).
fn is_waved_through(config: &Config, origin: &str, headers: &HeaderMap) -> bool {
    match config.fault {
        Some(Fault::OriginUnchecked) => true,
        Some(Fault::NullOriginAllowed) => origin == "null",
        Some(Fault::SameHostIsAllowed) => {
            let own = headers.get(HOST).and_then(|host| host.to_str().ok());
            own.is_some_and(|own| origin.split_once("://").is_some_and(|(_, host)| host == own))
        }
        // The middleware of the cookie session was written before there was a list.
        Some(Fault::CookieSkipsOriginCheck) => {
            !headers.contains_key(AUTHORIZATION) && carrier::cookies(headers).any(|(name, _)| name == "session")
        }
        _ => false,
    }
}

/// The host of an origin, without its port.
fn host_of(origin: &str) -> &str {
    let rest = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::dialect::Dialect;

    fn allowed(origins: &[&str], require: bool) -> bool {
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(ORIGIN, origin.parse().unwrap());
        }
        let config = Config { require_origin: require, ..Config::new(Dialect::Strict, "secret") };
        is_allowed(&config, &headers)
    }

    #[test]
    fn the_list_is_exact() {
        assert!(allowed(&["https://app.strict.example"], true));
        assert!(allowed(&["http://localhost:3000"], false));
        for other in [
            "http://app.strict.example",
            "https://app.strict.example:443",
            "https://app.strict.example.evil.example",
            "https://evilapp.strict.example",
            "https://appxstrict.example",
            "https://APP.strict.example",
            "https://app.strict.example@evil.example",
            "null",
            "",
        ] {
            assert!(!allowed(&[other], false), "{other}");
        }
    }

    #[test]
    fn none_is_a_program_and_two_are_a_trick() {
        assert!(allowed(&[], false));
        assert!(!allowed(&[], true));
        assert!(!allowed(&["https://app.strict.example", "https://app.strict.example"], false));
    }
}
