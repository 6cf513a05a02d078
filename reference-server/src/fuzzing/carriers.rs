//! Any request to the search for its token: in which of the declared places is it, if in exactly one?
//!
//! The places are read a second time, each by a list of what could be a token there, and what they say together is
//! computed in full.

use arbitrary::Unstructured;
use axum::http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::carrier::{Carried, Carrier, Places, find};
use crate::dialect::Dialect;
use crate::fault::Fault;

/// The most headers of an input.
const MAX_HEADERS: usize = 8;
/// The names that can hold a token, and one that cannot.
const NAMES: [HeaderName; 4] = [AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL, axum::http::header::USER_AGENT];
const PREFIX: &str = "bearer.";
const ENCODED: &str = "base64url.bearer.authorization.k8s.io.";

/// The body of the target `carriers`: which carriers are declared, a target, and headers.
///
/// # Panics
///
/// Where the search breaks a law: that is a finding.
pub fn carriers(input: &[u8]) {
    searched(input, None);
}

fn searched(input: &[u8], fault: Option<Fault>) {
    let mut u = Unstructured::new(input);
    let mut byte = || u.arbitrary::<u8>().unwrap_or_default();
    let declared = declared_by(byte());
    let target_bytes = usize::from(byte());
    let target = u.bytes(target_bytes.min(u.len())).unwrap_or_default();
    // Only what hyper takes as a request target comes this far.
    let Some(uri) = str::from_utf8(target).ok().and_then(|target| target.parse::<Uri>().ok()) else { return };
    let mut headers = HeaderMap::new();
    while !u.is_empty() && headers.len() < MAX_HEADERS {
        let name = &NAMES[usize::from(u.arbitrary::<u8>().unwrap_or_default()) % NAMES.len()];
        let length = usize::from(u.arbitrary::<u8>().unwrap_or_default()).min(u.len());
        if let Ok(value) = HeaderValue::from_bytes(u.bytes(length).unwrap_or_default()) {
            headers.append(name, value);
        }
    }
    let places = places(&uri, &headers);
    keeps_the_laws(&declared, places, &find(&declared, Dialect::Strict, places, fault));
}

fn places<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Places<'r> {
    Places { segment: uri.path().strip_prefix("/ws/"), query: uri.query(), headers }
}

/// Each bit declares one place.
fn declared_by(bits: u8) -> Vec<Carrier> {
    let all = [
        Carrier::Path,
        Carrier::Query,
        Carrier::Bearer,
        Carrier::Cookie("session"),
        Carrier::Subprotocol(PREFIX),
        Carrier::EncodedSubprotocol(ENCODED),
        Carrier::FirstMessage,
    ];
    all.into_iter().enumerate().filter(|(at, _)| bits & 1 << at != 0).map(|(_, carrier)| carrier).collect()
}

/// The search finds what the places say together: nothing, nothing but empty ones, the one token, or no one token.
fn keeps_the_laws(declared: &[Carrier], places: Places<'_>, found: &Carried) {
    let seen: Vec<Seen> = declared.iter().map(|carrier| look(carrier, places)).collect();
    let full: Vec<&Seen> = seen.iter().filter(|seen| !matches!(seen, Seen::Nothing | Seen::Empty)).collect();
    let is_right = match (full.as_slice(), found) {
        ([], Carried::Absent) => !seen.contains(&Seen::Empty),
        ([], Carried::Empty) => seen.contains(&Seen::Empty),
        ([Seen::Token(only)], Carried::Token(token)) => only == token,
        ([Seen::Token(_)], _) => false,
        ([_, ..], Carried::Unusable(_)) => true,
        _ => false,
    };
    assert!(is_right, "{declared:?} {places:?}: {found:?}, where {seen:?} stand");
}

/// What stands in one of the places.
#[derive(Debug, PartialEq)]
enum Seen {
    Nothing,
    /// A name, and nothing behind it.
    Empty,
    Token(Vec<u8>),
    /// Two of a kind, be they empty or the same, or one that cannot be read.
    Unusable,
}

impl Seen {
    /// Each candidate as far as it can be read.
    fn of(mut candidates: impl Iterator<Item = Option<Vec<u8>>>) -> Self {
        match (candidates.next(), candidates.next()) {
            (None, _) => Self::Nothing,
            (Some(Some(token)), None) if token.is_empty() => Self::Empty,
            (Some(Some(token)), None) => Self::Token(token),
            _ => Self::Unusable,
        }
    }
}

fn look(carrier: &Carrier, places: Places<'_>) -> Seen {
    let lines = |name: HeaderName| places.headers.get_all(name).into_iter();
    let texts = |name| lines(name).filter_map(|value| value.to_str().ok());
    match carrier {
        Carrier::Path => Seen::of(places.segment.into_iter().map(decoded)),
        Carrier::Query => {
            let pairs = places.query.unwrap_or_default().split('&');
            let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            Seen::of(
                pairs.filter(|(name, _)| unescaped(name).as_deref() == Some(b"token")).map(|(_, value)| decoded(value)),
            )
        }
        Carrier::Bearer => {
            let all: Vec<_> = lines(AUTHORIZATION).collect();
            // Of two fields nobody knows which counts, whatever their schemes.
            if all.len() > 1 {
                return Seen::Unusable;
            }
            Seen::of(all.into_iter().filter_map(|value| {
                let value = value.as_bytes();
                let scheme = value.split(|&byte| byte == b' ').next().unwrap_or_default();
                scheme.eq_ignore_ascii_case(b"bearer").then(|| Some(value[scheme.len()..].trim_ascii_start().to_vec()))
            }))
        }
        Carrier::Cookie(wanted) => {
            let pairs = texts(COOKIE).flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
            Seen::of(pairs.filter(|(name, _)| name == wanted).map(|(_, value)| Some(value.as_bytes().to_vec())))
        }
        Carrier::Subprotocol(prefix) | Carrier::EncodedSubprotocol(prefix) => {
            let offered = texts(SEC_WEBSOCKET_PROTOCOL).flat_map(|line| line.split(',')).map(str::trim);
            Seen::of(offered.filter_map(|word| word.strip_prefix(*prefix)).map(|token| match carrier {
                Carrier::Subprotocol(_) => Some(token.as_bytes().to_vec()),
                _ => URL_SAFE_NO_PAD.decode(token).ok(),
            }))
        }
        Carrier::FirstMessage => Seen::Nothing,
    }
}

/// Percent-decoded (RFC 3986 §2.1), if that gives a text.
fn decoded(text: &str) -> Option<Vec<u8>> {
    unescaped(text).filter(|bytes| str::from_utf8(bytes).is_ok())
}

fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut out = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        out.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use proptest::prelude::*;

    use super::super::corpus;
    use super::*;

    fn written(declared: u8, target: &str, headers: &[(u8, &str)]) -> Vec<u8> {
        let mut out = vec![declared, target.len() as u8];
        out.extend_from_slice(target.as_bytes());
        for (name, value) in headers {
            out.extend([*name, value.len() as u8]);
            out.extend_from_slice(value.as_bytes());
        }
        out
    }

    const PATH: u8 = 1;
    const QUERY: u8 = 2;
    const BEARER: u8 = 4;
    const COOKIES: u8 = 8;
    const PROTOCOLS: u8 = 16 + 32;
    const ALL: u8 = 127;

    fn seeds() -> BTreeMap<String, Vec<u8>> {
        let k8s = format!("{ENCODED}YS5iLmM");
        let late = format!("/ws?{}token=a", "x&".repeat(64));
        [
            ("path", written(PATH, "/ws/a.b.c", &[])),
            ("path-percent", written(PATH, "/ws/a%2Eb%2ec%00", &[])),
            ("path-broken", written(PATH, "/ws/a%2", &[])),
            ("path-undeclared", written(QUERY, "/ws/a.b.c", &[])),
            ("query", written(QUERY, "/ws?token=a.b.c", &[])),
            ("query-percent", written(QUERY, "/ws?x=1&%74oken=a%252Eb", &[])),
            ("query-not-utf-8", written(QUERY, "/ws?token=%ff%fe", &[])),
            ("query-twice", written(QUERY, "/ws?token=a&token=a", &[])),
            ("query-empty", written(QUERY, "/ws?token", &[])),
            ("query-empty-twice", written(QUERY, "/ws?token=&token", &[])),
            ("query-full-and-empty", written(QUERY, "/ws?token=a&token=", &[])),
            ("query-space", written(QUERY, "/ws?token=%20a%0A", &[])),
            ("query-undeclared", written(BEARER, "/ws?token=a.b.c", &[])),
            ("query-late", written(QUERY, &late, &[])),
            ("query-list", written(QUERY, "/ws?token[]=a&Token=b", &[])),
            ("bearer", written(BEARER, "/ws", &[(0, "Bearer a.b.c")])),
            ("bearer-spaces", written(BEARER, "/ws", &[(0, "bEARER   a.b.c")])),
            ("bearer-empty", written(BEARER, "/ws", &[(0, "Bearer")])),
            ("bearer-glued", written(BEARER, "/ws", &[(0, "Bearera.b.c")])),
            ("bearer-twice", written(BEARER, "/ws", &[(0, "Bearer a"), (0, "Basic b")])),
            ("cookie", written(COOKIES, "/ws", &[(1, "a=1; session=a.b.c; b")])),
            ("cookie-other", written(COOKIES, "/ws", &[(1, "other=a.b.c")])),
            ("cookie-twice", written(COOKIES, "/ws", &[(1, "session=a"), (1, "session=b")])),
            ("protocol", written(PROTOCOLS, "/ws", &[(2, "strict.v1, bearer.a.b.c")])),
            ("protocol-k8s", written(PROTOCOLS, "/ws", &[(2, &k8s)])),
            ("protocol-padded", written(PROTOCOLS, "/ws", &[(2, &format!("{k8s}=")), (2, "x")])),
            ("protocol-both", written(PROTOCOLS, "/ws", &[(2, &format!("bearer.a,{k8s}"))])),
            ("two-places", written(ALL, "/ws?token=a", &[(0, "Bearer a")])),
            ("empty-and-full", written(ALL, "/ws?token=", &[(0, "Bearer a")])),
            ("broken-and-full", written(ALL, "/ws?token=%zz", &[(0, "Bearer a")])),
            ("other-scheme", written(BEARER, "/ws", &[(0, "Basic a.b.c")])),
            ("nowhere", written(ALL, "/ws?x=a.b.c", &[(3, "a.b.c")])),
        ]
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect()
    }

    #[test]
    fn the_seeds_are_in_the_folder() {
        corpus::holds("carriers", seeds());
    }

    #[test]
    #[ignore = "writes the seeds of fuzz/corpus/carriers"]
    fn write_seeds() {
        corpus::write("carriers", seeds());
    }

    #[test]
    fn every_input_of_the_corpus_keeps_the_laws() {
        corpus::replay("carriers", carriers);
    }

    /// Who chooses among candidates, or takes one for none, is wrong each time.
    #[test]
    fn a_choice_is_found_out() {
        let breaks = |target: &str, bearer: Option<&str>, found: &Carried| {
            let uri: Uri = target.parse().expect("a target");
            let mut headers = HeaderMap::new();
            headers.extend(bearer.map(|value| (AUTHORIZATION, value.parse().expect("a value"))));
            let places = places(&uri, &headers);
            catch_unwind(AssertUnwindSafe(|| keeps_the_laws(&declared_by(ALL), places, found))).is_err()
        };
        let a = || Carried::Token(b"a".to_vec());
        let cases = [
            ("/ws", None, Carried::Absent),
            ("/ws?token=", None, Carried::Empty),
            ("/ws?token=", Some("Bearer a"), a()),
            ("/ws?token=a", None, a()),
            ("/ws?token=a&token=", None, Carried::Unusable("")),
            ("/ws?token=%zz", None, Carried::Unusable("")),
            ("/ws?token=%zz", Some("Bearer a"), Carried::Unusable("")),
            ("/ws?token=a", Some("Bearer a"), Carried::Unusable("")),
        ];
        let b = Carried::Token(b"b".to_vec());
        let answers = [Carried::Absent, Carried::Empty, a(), b, Carried::Unusable(""), Carried::Crashed("")];
        for (target, bearer, right) in &cases {
            for answer in &answers {
                assert_eq!(breaks(target, *bearer, answer), answer != right, "{target} {bearer:?} {answer:?}");
            }
        }
    }

    /// The laws have teeth.
    #[test]
    fn a_faulty_search_is_found_out_by_a_seed() {
        let faults = [
            Fault::AnyJwtLookingCookie,
            Fault::AnyScheme,
            Fault::CaseSensitiveScheme,
            Fault::CrashesOnArrayParameter,
            Fault::CrashesOnBadPercent,
            Fault::CrashesOnValuelessParameter,
            Fault::DoubleDecodes,
            Fault::FirstParameterWins,
            Fault::FoldsParameterCase,
            Fault::HeaderCarrierMissing,
            Fault::LastCarrierWins,
            Fault::LastParameterWins,
            Fault::OneSpaceAfterScheme,
            Fault::ParametersCutOff,
            Fault::QueryFallback,
            Fault::RawQuery,
            Fault::SubprotocolNotDecoded,
            Fault::TrimsToken,
            Fault::TwoAuthorizationHeaders,
        ];
        corpus::find_out(seeds(), &faults, |_| (), |input, fault| searched(input, Some(fault)));
    }

    proptest! {
        /// What is put into one place is found there, and in two places nowhere.
        #[test]
        fn what_is_put_in_is_found(token in "[!-~]{1,20}", place in 0..3_usize) {
            let escaped: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let cases = [
                (format!("/ws/{escaped}"), None),
                (format!("/ws?token={escaped}"), None),
                ("/ws".to_owned(), Some(format!("Bearer {token}"))),
            ];
            let mut headers = HeaderMap::new();
            if let Some(value) = &cases[place].1 {
                headers.insert(AUTHORIZATION, value.parse().expect("a value"));
            }
            let uri: Uri = cases[place].0.parse().expect("a target");
            let places = places(&uri, &headers);
            let found = find(&declared_by(ALL), Dialect::Strict, places, None);
            keeps_the_laws(&declared_by(ALL), places, &found);
            prop_assert_eq!(found, Carried::Token(token.into_bytes()));
        }

        #[test]
        fn any_request_keeps_the_laws(
            declared in any::<u8>(),
            target in "/ws[/?](token|%74oken|x)?=?[a-c.%0-9&=]{0,12}",
            headers in prop::collection::vec((0..4_u8, "(Bearer |session=|bearer[.])?[ -~]{0,10}"), 0..4),
        ) {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            carriers(&written(declared, &target, &headers));
        }
    }
}
