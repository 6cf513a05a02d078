//! Carriers: puts a token into an opening request, and nothing else.
//!
//! Pure. The token can be read back byte for byte from where it was put.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::case::{Carry, Encoding, Request};
use crate::profile::{Carrier, Profile};
use crate::target::Endpoint;
use crate::wire::opening::{Opening, percent_encode};

/// A token and its place.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// Where it rides.
    pub on: &'a Carrier,
    /// Its bytes; `None` sends no credential, an empty slice an empty one.
    pub token: Option<&'a [u8]>,
}

/// A request of a case as this target is sent it: with its own words in the place of `${origin}`, `${origin.scheme}`,
/// `${origin.host}`, `${origin.port}` and the like, and with what every opening of the target carries.
///
/// # Errors
///
/// When the target gives no such word, or the near miss that the case means is another allowed origin: the text says so.
pub fn fit(request: &Request, profile: &Profile, carriers: &[&Carrier]) -> Result<Request, String> {
    let mut request = request.clone();
    let words = Words { origin: profile.allowed_origins.first().and_then(|text| Origin::parse(text)), profile };
    for value in request.set.values_mut().chain(request.add.iter_mut().map(|(_, value)| value)) {
        *value = words.fill(value)?;
    }
    let says = |request: &Request, name: &str| {
        request
            .set
            .keys()
            .chain(request.add.iter().map(|(name, _)| name))
            .chain(&request.drop)
            .any(|other| other.eq_ignore_ascii_case(name))
    };
    if profile.send_origin
        && !says(&request, "Origin")
        && let Some(origin) = profile.allowed_origins.first()
    {
        request.set.insert("Origin".to_owned(), origin.clone());
    }
    let offers = carriers.iter().any(|carrier| matches!(carrier, Carrier::Subprotocol(_)));
    if profile.offer_subprotocol
        && !offers
        && !says(&request, "Sec-WebSocket-Protocol")
        && let Some(subprotocol) = &profile.subprotocol
    {
        request.set.insert("Sec-WebSocket-Protocol".to_owned(), subprotocol.clone());
    }
    Ok(request)
}

/// Whether [`fit`] replaces `${name}`.
pub fn is_word(name: &str) -> bool {
    name == "subprotocol" || name == "origin" || name.starts_with("origin.")
}

/// The origins that a request names.
pub fn origins(request: &Request) -> impl Iterator<Item = &str> {
    let added = request.add.iter().map(|(name, value)| (name, value));
    request
        .set
        .iter()
        .chain(added)
        .filter(|(name, _)| name.eq_ignore_ascii_case("origin"))
        .map(|(_, value)| value.as_str())
}

/// What a target puts into the requests of cases.
struct Words<'a> {
    origin: Option<Origin<'a>>,
    profile: &'a Profile,
}

impl Words<'_> {
    fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else { break };
            filled.push_str(before);
            if is_word(name) {
                filled.push_str(&self.word(name)?);
            } else {
                // A word of tokens, which are made elsewhere.
                filled.push_str(&format!("${{{name}}}"));
            }
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn word(&self, name: &str) -> Result<String, String> {
        if name == "subprotocol" {
            return self.profile.subprotocol.clone().ok_or_else(|| "the profile declares no `subprotocol`".to_owned());
        }
        let origin = self.origin.as_ref().ok_or_else(|| format!("the profile declares no origin for `${{{name}}}`"))?;
        let none = |what: &str| format!("the first allowed origin has no {what}");
        Ok(match name {
            "origin" => origin.to_string(),
            "origin.scheme" => origin.scheme.to_owned(),
            "origin.other_scheme" => if origin.scheme == "https" { "http" } else { "https" }.to_owned(),
            "origin.host" => origin.host.to_owned(),
            "origin.upper_host" => origin.host.to_uppercase(),
            // The part that other hosts of the same owner share: all but the first label where there are three or more.
            "origin.domain" => match origin.host.split_once('.') {
                Some((_, domain)) if domain.contains('.') && !origin.is_address() => domain.to_owned(),
                _ => origin.host.to_owned(),
            },
            "origin.undotted_host" => {
                if !origin.host.contains('.') {
                    return Err(none("period"));
                }
                origin.host.replacen('.', "x", 1)
            }
            // With its colon; empty where there is none.
            "origin.port" => origin.port.map(|port| format!(":{port}")).unwrap_or_default(),
            "origin.other_port" => if origin.port == Some("8444") { ":8445" } else { ":8444" }.to_owned(),
            "origin.default_port" => match (origin.scheme, origin.port) {
                ("https", None) => ":443".to_owned(),
                ("http", None) => ":80".to_owned(),
                _ => return Err(none("default port")),
            },
            _ => return Err(format!("nothing is called `${{{name}}}`")),
        })
    }
}

/// An origin in its parts (RFC 6454 §6.1): as it is declared, not normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// `http`, `https` or another.
    pub scheme: &'a str,
    /// The host, an IPv6 address in brackets.
    pub host: &'a str,
    /// The port, where it is not the default one.
    pub port: Option<&'a str>,
}

impl<'a> Origin<'a> {
    /// Reads an origin; `None` for `null` and what is no origin, such as a URL with a path.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let whole = !scheme.is_empty() && !host.is_empty() && !rest.contains(['/', '?', '#', '@', '*', ',', ' ']);
        let numeric = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
        (whole && numeric).then_some(Self { scheme, host, port })
    }

    fn is_address(&self) -> bool {
        self.host.starts_with('[') || self.host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    }
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Builds the opening request of an attempt.
pub fn place(
    endpoint: &Endpoint,
    key: &str,
    main: Placed<'_>,
    carry: &Carry,
    also: &[Placed<'_>],
    request: &Request,
) -> Opening {
    let written = main.token.map(|token| write_in_url(token, carry.encoding)).unwrap_or_default();
    let mut target = target(endpoint, main, &written);
    for extra in also {
        if let (Carrier::Query(name), Some(token)) = (extra.on, extra.token) {
            add_query(&mut target, &format!("{name}={}", write_in_url(token, Encoding::Needed)));
        }
    }
    if let Some(template) = &request.target {
        let param = match main.on {
            Carrier::Query(name) => name.as_str(),
            _ => "token",
        };
        target = template
            .replace("${endpoint}", &endpoint.bare_path())
            .replace("${endpoint|upper}", &endpoint.bare_path().to_ascii_uppercase())
            .replace("${param}", param)
            .replace("${scheme}", if endpoint.tls { "https" } else { "http" })
            .replace("${host}", &endpoint.host_header())
            .replace("${token}", &written)
            .replace("${target}", &target);
    }
    if let Some(query) = &request.query {
        add_query(&mut target, query);
    }
    if request.parameters > 0
        && let Some((path, query)) = target.split_once('?')
    {
        let half =
            |range: std::ops::Range<usize>| range.map(|number| format!("p{number}=1")).collect::<Vec<_>>().join("&");
        let middle = request.parameters / 2;
        target = format!("{path}?{}&{query}&{}", half(0..middle), half(middle..request.parameters));
    }

    let mut opening = Opening::websocket(&endpoint.host_header(), target, key);
    for placed in std::iter::once(&main).chain(also) {
        let Some(token) = placed.token else { continue };
        match placed.on {
            Carrier::Path | Carrier::Query(_) => {}
            Carrier::Authorization(scheme) => {
                opening.add("Authorization", [scheme.as_bytes(), b" ", token].concat());
            }
            Carrier::Header(name) => opening.add(name, token),
            Carrier::Cookie(name) => add(&mut opening, "Cookie", &[name.as_bytes(), b"=", token].concat()),
            Carrier::Subprotocol(offer) => opening.add("Sec-WebSocket-Protocol", offered(offer, token)),
            // It is sent when the connection is open.
            Carrier::FirstMessage(_) => {}
            Carrier::Body(name) => {
                opening.body = format!("{name}={}", percent_encode(token)).into_bytes();
                opening.add("Content-Type", "application/x-www-form-urlencoded");
                opening.add("Content-Length", opening.body.len().to_string());
            }
        }
    }
    alter(&mut opening, request);
    opening
}

/// The list of subprotocols with the token in its place.
fn offered(offer: &[String], token: &[u8]) -> Vec<u8> {
    let encoded = URL_SAFE_NO_PAD.encode(token);
    let element = |element: &String| {
        let mut bytes = Vec::new();
        let element = element.replace("{token_base64url}", &encoded);
        for (index, part) in element.split("{token}").enumerate() {
            if index > 0 {
                bytes.extend_from_slice(token);
            }
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    };
    offer.iter().map(element).collect::<Vec<_>>().join(&b", "[..])
}

fn target(endpoint: &Endpoint, main: Placed<'_>, written: &str) -> String {
    let mut target = match (main.on, main.token) {
        (Carrier::Path, Some(_)) => endpoint.path.replace("{token}", written),
        _ if endpoint.path.contains("{token}") => endpoint.bare_path(),
        _ => endpoint.path.clone(),
    };
    if !endpoint.query.is_empty() {
        add_query(&mut target, &endpoint.query);
    }
    if let (Carrier::Query(name), Some(_)) = (main.on, main.token) {
        add_query(&mut target, &format!("{name}={written}"));
    }
    target
}

fn add_query(target: &mut String, parameters: &str) {
    target.push(if target.contains('?') { '&' } else { '?' });
    target.push_str(parameters);
}

fn write_in_url(token: &[u8], encoding: Encoding) -> String {
    let needed = percent_encode(token);
    match encoding {
        Encoding::Needed => needed,
        Encoding::Periods => needed.replace('.', "%2E"),
        Encoding::Every => token.iter().map(|byte| format!("%{byte:02X}")).collect(),
        Encoding::Twice => needed.replace('.', "%252E"),
    }
}

/// Adds a header; further cookies go into the one line that a client may send (RFC 6265 §5.4).
fn add(opening: &mut Opening, name: &str, value: &[u8]) {
    let is_cookie = |other: &str| other.eq_ignore_ascii_case("cookie");
    match opening.headers.iter_mut().find(|(other, _)| is_cookie(name) && is_cookie(other)) {
        Some((_, cookies)) => cookies.extend_from_slice(&[b"; ", value].concat()),
        None => opening.add(name, value),
    }
}

fn alter(opening: &mut Opening, request: &Request) {
    if let Some(method) = &request.method {
        opening.method.clone_from(method);
    }
    if let Some(version) = &request.version {
        opening.version.clone_from(version);
    }
    for name in &request.drop {
        opening.drop_header(name);
    }
    for (name, value) in &request.set {
        opening.set(name, value);
    }
    for (name, value) in &request.add {
        add(opening, name, value.as_bytes());
    }
    if let Some(body) = &request.body {
        opening.body = body.clone().into_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_back(opening: &Opening, carrier: &Carrier) -> Vec<u8> {
        let value = |name: &str, prefix: &str| {
            let (_, value) = opening.headers.iter().find(|(other, _)| other == name).expect("the header");
            value.strip_prefix(prefix.as_bytes()).expect("the prefix").to_vec()
        };
        let target = String::from_utf8(opening.target.clone()).expect("ASCII");
        let decode = |text: &str| -> Vec<u8> {
            let mut bytes = Vec::new();
            let mut rest = text.as_bytes();
            while let Some((first, tail)) = rest.split_first() {
                if *first == b'%' {
                    let digits = std::str::from_utf8(&tail[..2]).expect("ASCII");
                    bytes.push(u8::from_str_radix(digits, 16).expect("hex"));
                    rest = &tail[2..];
                } else {
                    bytes.push(*first);
                    rest = tail;
                }
            }
            bytes
        };
        match carrier {
            Carrier::Path => decode(target.strip_prefix("/ws/").expect("path")),
            Carrier::Query(name) => decode(target.split_once(&format!("{name}=")).expect("parameter").1),
            Carrier::Authorization(scheme) => value("Authorization", &format!("{scheme} ")),
            Carrier::Header(name) => value(name, ""),
            Carrier::Cookie(name) => value("Cookie", &format!("{name}=")),
            Carrier::Subprotocol(_) => value("Sec-WebSocket-Protocol", "app, bearer."),
            Carrier::FirstMessage(_) | Carrier::Body(_) => unreachable!("neither is in the head"),
        }
    }

    #[test]
    fn cookies_share_one_line() {
        let endpoint = Endpoint::parse("ws://h/ws").expect("a URL");
        let (main, also) = (Carrier::Cookie("session".to_owned()), Carrier::Cookie("other".to_owned()));
        let placed = |on| Placed { on, token: Some(b"t".as_slice()) };
        let request = Request { add: vec![("cookie".to_owned(), "a=1".to_owned())], ..Request::default() };
        let opening = place(&endpoint, "k", placed(&main), &Carry::default(), &[placed(&also)], &request);
        let cookies: Vec<_> = opening.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cookie")).collect();
        assert_eq!(cookies, [&("Cookie".to_owned(), b"session=t; other=t; a=1".to_vec())]);
    }

    proptest! {
        #[test]
        fn the_token_reads_back_byte_for_byte_from_every_carrier(token in prop::collection::vec(any::<u8>(), 0..80)) {
            for carrier in [
                Carrier::Path,
                Carrier::Query("token".to_owned()),
                Carrier::Authorization("Bearer".to_owned()),
                Carrier::Header("X-Token".to_owned()),
                Carrier::Cookie("session".to_owned()),
                Carrier::Subprotocol(vec!["app".to_owned(), "bearer.{token}".to_owned()]),
            ] {
                let url = if carrier == Carrier::Path { "ws://h/ws/{token}" } else { "ws://h/ws" };
                let endpoint = Endpoint::parse(url).expect("a URL");
                let main = Placed { on: &carrier, token: Some(&token) };
                let opening = place(&endpoint, "k", main, &Carry::default(), &[], &Request::default());
                prop_assert_eq!(read_back(&opening, &carrier), token.clone());
                let without = place(&endpoint, "k", Placed { on: &carrier, token: None }, &Carry::default(), &[], &Request::default());
                let mut rest = opening.clone();
                rest.target = without.target.clone();
                rest.headers.retain(|(name, _)| without.headers.iter().any(|(other, _)| other == name));
                prop_assert_eq!(rest, without);
            }
        }
    }

    #[test]
    fn every_usual_spelling_of_a_subprotocol() {
        let offered = |offer: &[&str]| {
            let offer: Vec<String> = offer.iter().map(|element| (*element).to_owned()).collect();
            String::from_utf8(offered(&offer, b"a.b.c")).expect("ASCII")
        };
        assert_eq!(offered(&["bearer", "{token}"]), "bearer, a.b.c");
        assert_eq!(offered(&["access_token", "{token}"]), "access_token, a.b.c");
        assert_eq!(offered(&["bearer.{token}"]), "bearer.a.b.c");
        assert_eq!(offered(&["{token}"]), "a.b.c");
        let kubernetes = "base64url.bearer.authorization.k8s.io.{token_base64url}";
        assert_eq!(
            offered(&["v4.channel.k8s.io", kubernetes]),
            "v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.YS5iLmM"
        );
    }

    fn fitted(text: &str, origins: &[&str]) -> Result<String, String> {
        let profile = Profile {
            allowed_origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            ..Profile::default()
        };
        let request = Request { add: vec![("Origin".to_owned(), text.to_owned())], ..Request::default() };
        fit(&request, &profile, &[]).map(|request| origins_of(&request))
    }

    fn origins_of(request: &Request) -> String {
        origins(request).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn near_misses_are_made_of_the_declared_origin() {
        let deep = "https://app.example.com";
        let local = "http://localhost:3000";
        for (text, origin, near) in [
            ("${origin}.evil.example", deep, "https://app.example.com.evil.example"),
            ("${origin.scheme}://not${origin.domain}${origin.port}", deep, "https://notexample.com"),
            ("${origin.scheme}://not${origin.domain}", "https://example.com", "https://notexample.com"),
            ("${origin.scheme}://not${origin.domain}", "https://10.0.0.1", "https://not10.0.0.1"),
            ("${origin.scheme}://${origin.undotted_host}", deep, "https://appxexample.com"),
            ("${origin.other_scheme}://${origin.host}${origin.port}", local, "https://localhost:3000"),
            ("${origin.scheme}://${origin.host}${origin.other_port}", local, "http://localhost:8444"),
            ("${origin.scheme}://${origin.host}${origin.other_port}", "https://a:8444", "https://a:8445"),
            ("${origin}${origin.default_port}", deep, "https://app.example.com:443"),
            ("${origin.scheme}://${origin.upper_host}", deep, "https://APP.EXAMPLE.COM"),
            ("https://evil.example", deep, "https://evil.example"),
        ] {
            assert_eq!(fitted(text, &[origin]), Ok(near.to_owned()), "{text}");
        }
        // What the target gives no part for cannot be tried.
        assert!(fitted("${origin.undotted_host}", &[local]).is_err());
        assert!(fitted("${origin}${origin.default_port}", &[local]).is_err());
        assert!(fitted("${origin}", &[]).is_err());
        assert!(fitted("${subprotocol}", &[deep]).is_err());
    }

    #[test]
    fn what_every_opening_carries_gives_way_to_the_case() {
        let profile = Profile {
            allowed_origins: vec!["https://a".to_owned()],
            send_origin: true,
            subprotocol: Some("chat".to_owned()),
            offer_subprotocol: true,
            ..Profile::default()
        };
        let plain = fit(&Request::default(), &profile, &[]).expect("a request");
        assert_eq!(origins_of(&plain), "https://a");
        assert_eq!(plain.set.get("Sec-WebSocket-Protocol").map(String::as_str), Some("chat"));
        let dropped = Request { drop: vec!["origin".to_owned()], ..Request::default() };
        assert_eq!(origins_of(&fit(&dropped, &profile, &[]).expect("a request")), "");
        let other = Request { set: [("ORIGIN".to_owned(), "null".to_owned())].into(), ..Request::default() };
        assert_eq!(origins_of(&fit(&other, &profile, &[]).expect("a request")), "null");
        let token = Carrier::Subprotocol(vec!["{token}".to_owned()]);
        let carried = fit(&Request::default(), &profile, &[&token]).expect("a request");
        assert!(!carried.set.contains_key("Sec-WebSocket-Protocol"));
    }

    #[test]
    fn an_origin_has_a_scheme_and_a_host_and_nothing_else() {
        let parts = |text| Origin::parse(text).map(|origin| (origin.scheme, origin.host, origin.port));
        assert_eq!(parts("https://a.b"), Some(("https", "a.b", None)));
        assert_eq!(parts("http://[::1]:80"), Some(("http", "[::1]", Some("80"))));
        assert_eq!(parts("http://[::1]"), Some(("http", "[::1]", None)));
        for other in
            ["null", "a.b", "https://", "https://a/", "https://*.a", "https://u@a", "https://a:", "https://a:x"]
        {
            assert_eq!(parts(other), None, "{other}");
        }
    }

    #[test]
    fn a_token_stands_among_many_parameters() {
        let endpoint = Endpoint::parse("ws://h/ws?token={token}").expect("a URL");
        let carrier = endpoint.carrier.clone().expect("a carrier");
        let main = Placed { on: &carrier, token: Some(b"t") };
        let request = Request { parameters: 5, ..Request::default() };
        let opening = place(&endpoint, "k", main, &Carry::default(), &[], &request);
        assert_eq!(String::from_utf8_lossy(&opening.target), "/ws?p0=1&p1=1&token=t&p2=1&p3=1&p4=1");
    }

    #[test]
    fn the_endpoint_has_another_spelling() {
        let endpoint = Endpoint::parse("ws://h/ws/Feed/{token}").expect("a URL");
        let main = Placed { on: &Carrier::Path, token: None };
        let request = Request { target: Some("${endpoint|upper}?${endpoint}".to_owned()), ..Request::default() };
        let opening = place(&endpoint, "k", main, &Carry::default(), &[], &request);
        assert_eq!(String::from_utf8_lossy(&opening.target), "/WS/FEED?/ws/Feed");
    }

    #[test]
    fn a_token_in_the_body_is_counted() {
        let endpoint = Endpoint::parse("ws://h/ws").expect("a URL");
        let carrier = Carrier::Body("access_token".to_owned());
        let main = Placed { on: &carrier, token: Some(b"a.b") };
        let opening = place(&endpoint, "k", main, &Carry::default(), &[], &Request::default());
        assert_eq!(opening.body, b"access_token=a.b");
        assert!(opening.headers.contains(&("Content-Length".to_owned(), b"16".to_vec())));
    }

    #[test]
    fn an_absent_token_leaves_no_trace_and_an_empty_one_leaves_its_place() {
        let target = |url: &str, token: Option<&[u8]>| {
            let endpoint = Endpoint::parse(url).expect("a URL");
            let carrier = endpoint.carrier.clone().expect("a carrier");
            let main = Placed { on: &carrier, token };
            let opening = place(&endpoint, "k", main, &Carry::default(), &[], &Request::default());
            String::from_utf8(opening.target).expect("ASCII")
        };
        assert_eq!(target("ws://h/ws/{token}", None), "/ws");
        assert_eq!(target("ws://h/ws/{token}", Some(b"")), "/ws/");
        assert_eq!(target("ws://h/ws?token={token}", None), "/ws");
        assert_eq!(target("ws://h/ws?token={token}", Some(b"")), "/ws?token=");
        assert_eq!(target("ws://h/ws?v=1&token={token}", Some(b"a.b")), "/ws?v=1&token=a.b");
    }
}
