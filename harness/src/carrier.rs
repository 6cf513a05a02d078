//! Carriers: puts a token into an opening request, and nothing else.
//!
//! Pure. The token can be read back byte for byte from where it was put.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::case::{Carry, Encoding, Request};
use crate::profile::Carrier;
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
            .replace("${param}", param)
            .replace("${host}", &endpoint.host_header())
            .replace("${token}", &written)
            .replace("${target}", &target);
    }
    if let Some(query) = &request.query {
        add_query(&mut target, query);
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
            Carrier::Cookie(name) => opening.add("Cookie", [name.as_bytes(), b"=", token].concat()),
            Carrier::Subprotocol(offer) => opening.add("Sec-WebSocket-Protocol", offered(offer, token)),
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
        opening.add(name, value);
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
        }
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
