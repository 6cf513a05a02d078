//! Is this a WebSocket opening handshake? (RFC 6455 §4.2.1)
//!
//! hyper has already parsed the head and refused what is no HTTP at all; it lets through a missing or doubled Host, a
//! body, any method and HTTP/1.0, so these are judged here. Pure: a request head in, the value
//! of Sec-WebSocket-Accept or a refusal out. Says nothing about tokens, which are looked at only after this.

use axum::http::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, ORIGIN, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Version};
use base64::Engine as _;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::carrier::elements;
use crate::fault::Fault;
use crate::faulty;

/// A handshake that may be answered with 101.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opening {
    /// The value of Sec-WebSocket-Accept.
    pub(crate) accept: String,
    /// The subprotocol that is ours and was offered.
    pub(crate) subprotocol: Option<String>,
}

/// Not a handshake, and how to say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadOpening {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, &'static str)>,
    pub(crate) why: &'static str,
}

impl BadOpening {
    fn new(status: StatusCode, why: &'static str) -> Self {
        Self { status, headers: Vec::new(), why }
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn bad_request(why: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    /// RFC 9110 §15.5.22: 426 carries Upgrade, and so (§7.8) Connection lists it.
    fn upgrade_required(why: &'static str) -> Self {
        Self::new(StatusCode::UPGRADE_REQUIRED, why).with(UPGRADE, "websocket").with(CONNECTION, "upgrade, close")
    }
}

/// What any request must be, whatever its path.
pub(crate) fn check_any(head: &Parts, fault: Option<Fault>) -> Result<(), BadOpening> {
    let headers = &head.headers;
    // RFC 9112 §3.2: none, or more than one, is 400.
    let hosts = headers.get_all(HOST).iter().count();
    let doubled = hosts > 1 && fault != Some(Fault::TakesAnyHost);
    let missing = hosts == 0 && head.version >= Version::HTTP_11 && fault != Some(Fault::HostNotRequired);
    if doubled || missing {
        return Err(BadOpening::bad_request("exactly one Host is needed"));
    }
    // The same for a value that is none.
    if !headers.get_all(HOST).iter().all(|host| is_host(host.as_bytes())) {
        return Err(BadOpening::bad_request("Host is no host"));
    }
    Ok(())
}

/// A host and perhaps a port (RFC 9110 §7.2), without a user; nothing at all where the target has no authority.
fn is_host(value: &[u8]) -> bool {
    value.is_empty() || !value.contains(&b'@') && Authority::try_from(value).is_ok()
}

/// What a request to the WebSocket endpoint must be.
pub(crate) fn check(head: &Parts, subprotocol: Option<&str>, fault: Option<Fault>) -> Result<Opening, BadOpening> {
    let headers = &head.headers;
    if fault == Some(Fault::UpgradesOldDraft) && (headers.contains_key(KEY_OF_DRAFT_76) || is_of_draft_75(headers)) {
        return Ok(Opening { accept: derive_accept_key(b""), subprotocol: None });
    }
    if fault == Some(Fault::UnknownHeaderIsError) && headers.keys().any(|name| !KNOWN.contains(&name.as_str())) {
        return Err(BadOpening::bad_request("a header that nobody knows"));
    }
    if fault == Some(Fault::CrashesOnExtensionHeader) && !elements(headers, &SEC_WEBSOCKET_EXTENSIONS).all(is_extension)
    {
        return Err(BadOpening::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"));
    }
    if head.method != Method::GET && fault != Some(Fault::UpgradesAnyMethod) {
        return Err(BadOpening::new(StatusCode::METHOD_NOT_ALLOWED, "the method is not GET").with(ALLOW, "GET"));
    }
    // RFC 9110 §7.8: Upgrade in an HTTP/1.0 request means nothing.
    if head.version != Version::HTTP_11 {
        return Err(BadOpening::bad_request("HTTP/1.1 is needed"));
    }
    // A body would lie where frames are expected.
    let empty = headers.get_all(CONTENT_LENGTH).iter().all(|length| length == "0");
    if (headers.contains_key(TRANSFER_ENCODING) || !empty) && fault != Some(Fault::ReadsBody) {
        return Err(BadOpening::bad_request("a handshake has no body"));
    }
    if fault != Some(Fault::UpgradesWithoutUpgrade) {
        if !headers.contains_key(UPGRADE) && !headers.contains_key(SEC_WEBSOCKET_KEY) {
            if fault == Some(Fault::PlainGetCrashes) {
                return Err(BadOpening::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"));
            }
            return Err(BadOpening::upgrade_required("this resource speaks WebSocket"));
        }
        if !lists(headers, &UPGRADE, "websocket") {
            return Err(BadOpening::bad_request("Upgrade does not list websocket"));
        }
        if !lists(headers, &CONNECTION, "upgrade") {
            return Err(BadOpening::bad_request("Connection does not list Upgrade"));
        }
        if fault == Some(Fault::ExactUpgradeWords)
            && !(is_only(headers, &UPGRADE, "websocket") && is_only(headers, &CONNECTION, "Upgrade"))
        {
            return Err(BadOpening::bad_request("not the usual words"));
        }
    }
    if !is_only(headers, &SEC_WEBSOCKET_VERSION, "13") && fault != Some(Fault::UpgradesAnyVersion) {
        let bad = BadOpening::upgrade_required("Sec-WebSocket-Version is not 13");
        // RFC 6455 §4.4: the answer says which versions would do.
        return Err(if fault == Some(Fault::OmitsVersionHeader) { bad } else { bad.with(SEC_WEBSOCKET_VERSION, "13") });
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let accept = match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key.as_bytes()) => derive_accept_key(key.as_bytes()),
        (Some(first), Some(second)) if fault == Some(Fault::JoinsTwoKeys) => {
            derive_accept_key(&[first.as_bytes(), b", ", second.as_bytes()].concat())
        }
        (None, _) if fault == Some(Fault::UpgradesWithoutKey) => derive_accept_key(b""),
        _ => {
            return Err(BadOpening::bad_request("Sec-WebSocket-Key is not one nonce of 16 bytes"));
        }
    };
    Ok(Opening {
        accept: if fault == Some(Fault::ConstantAcceptKey) {
            // The sample of RFC 6455 §1.3, right for the sample key only.
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned()
        } else {
            accept
        },
        // Case-sensitive, unlike the two above (RFC 6455 §4.2.2(4)). Whatever else is offered may be a token.
        subprotocol: {
            let offered: Vec<&str> = elements(headers, &SEC_WEBSOCKET_PROTOCOL).collect();
            let ours = subprotocol.filter(|ours| offered.contains(ours));
            faulty::bend_subprotocol(fault, &offered, ours).map(str::to_owned)
        },
    })
}

/// draft-hixie-thewebsocketprotocol-75 has no key, no version, and always an origin.
fn is_of_draft_75(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN)
        && !headers.contains_key(SEC_WEBSOCKET_KEY)
        && !headers.contains_key(SEC_WEBSOCKET_VERSION)
}

/// The first of the two keys of draft-hixie-thewebsocketprotocol-76.
const KEY_OF_DRAFT_76: &str = "sec-websocket-key1";

/// What unknown-header-is-error knows.
const KNOWN: &[&str] = &[
    "host",
    "upgrade",
    "connection",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "origin",
    "authorization",
    "cookie",
    "user-agent",
    "content-length",
];

/// Whether an element of Sec-WebSocket-Extensions has the form of RFC 6455 §9.1.
fn is_extension(element: &str) -> bool {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.!*+".contains(&byte))
    };
    let is_value = |text: &str| is_token(text) || text.len() > 1 && text.starts_with('"') && text.ends_with('"');
    element.split(';').map(str::trim).all(|part| match part.split_once('=') {
        Some((name, value)) => is_token(name) && is_value(value),
        None => is_token(part),
    })
}

fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    elements(headers, name).any(|element| element.eq_ignore_ascii_case(wanted))
}

fn is_only(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let mut values = headers.get_all(name).iter();
    values.next().is_some_and(|value| value == wanted) && values.next().is_none()
}

/// RFC 6455 §4.2.1(5): base64 that decodes to 16 bytes.
fn is_key(key: &[u8]) -> bool {
    base64::engine::general_purpose::STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use axum::http::Request;

    const GOOD: &[(&str, &str)] = &[
        ("host", "localhost"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn head(method: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri("/ws");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    /// The good handshake with one field replaced, or removed.
    fn with(name: &str, values: &[&str]) -> Parts {
        let mut fields: Vec<_> = GOOD.iter().copied().filter(|(n, _)| *n != name).collect();
        fields.extend(values.iter().map(|value| (name, *value)));
        head("GET", &fields)
    }

    fn status(head: &Parts) -> u16 {
        check_any(head, None).and_then(|()| check(head, None, None)).map_or_else(|bad| bad.status.as_u16(), |_| 101)
    }

    #[test]
    fn the_sample_of_the_rfc() {
        let opening = check(&head("GET", GOOD), None, None).unwrap();
        assert_eq!(opening.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(opening.subprotocol, None);
    }

    #[test]
    fn tokens_are_found_in_lists_and_whatever_their_case() {
        assert_eq!(status(&with("connection", &["keep-alive, UPGRADE"])), 101);
        assert_eq!(status(&with("connection", &["keep-alive", "upgrade"])), 101);
        assert_eq!(status(&with("upgrade", &["h2c, WebSocket"])), 101);
    }

    #[test]
    fn everything_is_needed() {
        assert_eq!(status(&with("host", &[])), 400);
        assert_eq!(status(&with("host", &["a", "b"])), 400);
        assert_eq!(status(&with("upgrade", &[])), 400);
        assert_eq!(status(&with("upgrade", &["h2c"])), 400);
        assert_eq!(status(&with("connection", &["keep-alive"])), 400);
        for version in [&[][..], &["8"], &["13.0"], &["13", "13"], &["13, 8"]] {
            assert_eq!(status(&with("sec-websocket-version", version)), 426, "{version:?}");
        }
        for key in [&[][..], &["abc"], &["dGhlIHNhbXBsZSBub25j"], &[GOOD[4].1, "AAAAAAAAAAAAAAAAAAAAAA=="]] {
            assert_eq!(status(&with("sec-websocket-key", key)), 400, "{key:?}");
        }
        assert_eq!(status(&with("content-length", &["5"])), 400);
        assert_eq!(status(&with("transfer-encoding", &["chunked"])), 400);
        assert_eq!(status(&with("content-length", &["0"])), 101);
    }

    #[test]
    fn a_host_is_a_host() {
        for host in ["a", "a:80", "127.0.0.1:8000", "[::1]:8000", "xn--bcher-kva.example", ""] {
            assert_eq!(status(&with("host", &[host])), 101, "{host:?}");
        }
        // RFC 9112 §3.2: an invalid field value is 400.
        for host in ["a b", "a/b", "user@a", "a?b", "[::1", "b\u{fc}cher.example"] {
            assert_eq!(status(&with("host", &[host])), 400, "{host:?}");
        }
    }

    #[test]
    fn a_plain_get_is_told_to_upgrade() {
        let bad = check(&head("GET", &GOOD[..1]), None, None).unwrap_err();
        assert_eq!(bad.status, StatusCode::UPGRADE_REQUIRED);
        assert!(bad.headers.contains(&(UPGRADE, "websocket")));
    }

    #[test]
    fn a_wrong_method_is_told_the_right_one() {
        let bad = check(&head("POST", GOOD), None, None).unwrap_err();
        assert_eq!(bad.status, StatusCode::METHOD_NOT_ALLOWED);
        assert!(bad.headers.contains(&(ALLOW, "GET")));
    }

    #[test]
    fn a_subprotocol_is_chosen_only_when_offered() {
        let offer = with("sec-websocket-protocol", &["x, ours", "y"]);
        assert_eq!(check(&offer, None, None).unwrap().subprotocol, None);
        assert_eq!(check(&offer, Some("ours"), None).unwrap().subprotocol.as_deref(), Some("ours"));
        assert_eq!(check(&offer, Some("other"), None).unwrap().subprotocol, None);
    }
}
