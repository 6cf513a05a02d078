//! What is wrong with a profile that its types cannot tell: what could not be tried, could not be judged, or would make a
//! request of another shape than is meant. Pure, so that it is told with its place before a secret is read.

use crate::carrier::Origin;
use crate::document::{Path, printable};
use crate::profile::{Carrier, LoginRequest, Profile};
use crate::target::Endpoint;
use crate::token::Algorithm;

/// A mistake: where it is in the profile, and what it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Flaw {
    /// Where.
    pub(crate) at: Path,
    /// What, and how to mend it.
    pub(crate) what: String,
}

/// The mistakes of a profile: of each kind the first.
pub(crate) fn find(profile: &Profile) -> Vec<Flaw> {
    let kinds = [url, carriers, answers, handshake, tokens, endpoints, known_gaps];
    kinds.into_iter().filter_map(|kind| kind(profile)).collect()
}

fn flaw(at: Path, what: impl Into<String>) -> Option<Flaw> {
    Some(Flaw { at, what: what.into() })
}

fn root(key: &str) -> Path {
    Path::root().key(key)
}

fn url(profile: &Profile) -> Option<Flaw> {
    let wrong =
        |key: &str, url: &String| Endpoint::parse(url).err().and_then(|error| flaw(root(key), error.to_string()));
    profile.url.as_ref().and_then(|one| wrong("url", one)).or_else(|| {
        profile.jwks_url.as_ref().filter(|one| !one.starts_with('/')).and_then(|one| wrong("jwks_url", one))
    })
}

/// Whether a text may stand as the name of a header, a cookie or a method (`token`, RFC 9110 §5.6.2).
pub(crate) fn is_word(text: &str) -> bool {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(may)
}

/// Whether a text can stand in the line of a header.
fn is_line(text: &str) -> bool {
    !text.bytes().any(|byte| byte < 0x20 || byte == 0x7f)
}

fn carriers(profile: &Profile) -> Option<Flaw> {
    profile.carriers.iter().enumerate().find_map(|(index, carrier)| {
        let what = match carrier {
            Carrier::Subprotocol(offer) if !offer.iter().any(|element| element.contains("{token")) => {
                "a subprotocol carrier needs {token} or {token_base64url} in one of its elements"
            }
            Carrier::Subprotocol(offer) if !offer.iter().all(|element| is_line(element)) => {
                "an element of a subprotocol carrier holds what no header can"
            }
            Carrier::FirstMessage(first) if !first.send.contains("{token}") => {
                "`first_message.send` needs {token} in the place of the token"
            }
            Carrier::Body(_) => "a WebSocket handshake has no body for a token",
            Carrier::Header(name) | Carrier::Cookie(name) | Carrier::Authorization(name) if !is_word(name) => {
                "this is no name of a header, of a cookie or of a scheme: it takes letters, digits, and - _ . and the like"
            }
            Carrier::Query(name) if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && !b"&=#?".contains(&byte)) => {
                "this is no name of a query parameter: percent-encode what is not a letter or a digit"
            }
            _ => return None,
        };
        flaw(root("carriers").index(index), what)
    })
}

fn answers(profile: &Profile) -> Option<Flaw> {
    let answers = profile.welcome.is_some() || profile.echo.is_some();
    let first = profile.first_message()?;
    if answers || first.reply.is_some() && profile.carriers.len() == 1 {
        return None;
    }
    flaw(
        root("carriers"),
        "a target that is told the token in its first message upgrades everybody, so that only its answer shows who is served: declare `first_message.reply`, or, where there are other carriers too, `welcome` or `echo`",
    )
}

fn handshake(profile: &Profile) -> Option<Flaw> {
    let origins = &profile.allowed_origins;
    let bad = origins.iter().position(|origin| *origin != "null" && Origin::parse(origin).is_none());
    if let Some(index) = bad {
        let origin = printable(&origins[index]);
        let what = format!(
            "`{origin}` in `allowed_origins` is no origin: write scheme://host or scheme://host:port, without a path or a wildcard"
        );
        return flaw(root("allowed_origins").index(index), what);
    }
    if origins.first().is_some_and(|origin| origin == "null") {
        return flaw(root("allowed_origins").index(0), "the first of `allowed_origins` must have a scheme and a host");
    }
    if profile.send_origin && origins.is_empty() {
        return flaw(root("send_origin"), "`send_origin` needs `allowed_origins`");
    }
    if profile.offer_subprotocol && profile.subprotocol.is_none() {
        return flaw(root("offer_subprotocol"), "`offer_subprotocol` needs `subprotocol`");
    }
    match &profile.subprotocol {
        Some(name) if !is_word(name) => flaw(root("subprotocol"), "this is no subprotocol (`token`, RFC 9110 §5.6.2)"),
        _ => None,
    }
}

fn known_gaps(profile: &Profile) -> Option<Flaw> {
    let unreasoned = profile.known_gaps.iter().position(|gap| gap.reason.trim().is_empty())?;
    let what = format!(
        "the known gap `{}` has no reason: say why it is left open",
        printable(&profile.known_gaps[unreasoned].case)
    );
    flaw(root("known_gaps").index(unreasoned).key("reason"), what)
}

fn tokens(profile: &Profile) -> Option<Flaw> {
    if let Some(name) = profile.algorithm.as_ref().filter(|name| Algorithm::from_name(name).is_none()) {
        let known: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
        let what = format!("no algorithm is called `{}`; there are {}", printable(name), known.join(", "));
        return flaw(root("algorithm"), what);
    }
    let login = profile.login.as_ref()?;
    let at = root("login");
    if profile.token.is_some() {
        return flaw(at, "declare `token` or `login`, not both: which of them shall be used?");
    }
    if profile.jti_single_use {
        let what = "`jti_single_use`: each opening needs a token of its own, and without the key none can be made";
        return flaw(root("jti_single_use"), what);
    }
    let first = LoginRequest {
        url: login.url.clone(),
        method: login.method.clone(),
        headers: login.headers.clone(),
        token: Some(login.token.clone()),
        ..LoginRequest::default()
    };
    match (&login.refresh, &login.refresh_token) {
        (Some(_), None) => {
            flaw(at.key("refresh"), "`login.refresh` needs `login.refresh_token`, its place in the answer")
        }
        (None, Some(_)) => flaw(at.key("refresh_token"), "`login.refresh_token` needs `login.refresh`, which uses it"),
        (None, None) => request(&first, &at),
        (Some(refresh), Some(pointer)) => {
            let own = request(&first, &at).or_else(|| request(refresh, &at.key("refresh")));
            own.or_else(|| is_no_pointer(pointer).then(|| no_pointer(at.key("refresh_token"))).flatten())
        }
    }
}

fn is_no_pointer(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('/')
}

fn no_pointer(at: Path) -> Option<Flaw> {
    flaw(at, "this is no JSON Pointer: write /access_token, or nothing where the whole answer is meant")
}

/// A request of a login.
fn request(request: &LoginRequest, at: &Path) -> Option<Flaw> {
    if !request.url.starts_with('/')
        && let Err(error) = Endpoint::parse(&request.url)
    {
        return flaw(at.key("url"), error.to_string());
    }
    if !request.url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return flaw(at.key("url"), "a space or another character that must be percent-encoded stands in it");
    }
    if !is_word(&request.method) {
        return flaw(at.key("method"), "this is no method of HTTP");
    }
    if let Some((name, _)) = request.headers.iter().find(|(name, value)| !is_word(name) || !is_line(value)) {
        return flaw(at.key("headers").key(name), "a name or a value that no header can have");
    }
    match &request.token {
        Some(pointer) if is_no_pointer(pointer) => no_pointer(at.key("token")),
        _ => None,
    }
}

fn endpoints(profile: &Profile) -> Option<Flaw> {
    profile.http.iter().find_map(|(name, declared)| {
        let at = root("http").key(name);
        if !declared.path.starts_with('/') || !declared.path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return flaw(at.key("path"), "a path begins with / and holds no spaces");
        }
        if !is_word(&declared.method) {
            return flaw(at.key("method"), "this is no method of HTTP");
        }
        match &declared.token {
            Some(pointer) if is_no_pointer(pointer) => no_pointer(at.key("token")),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flaw_is_told_with_its_place() {
        for (line, text, word) in [
            (1, "url: ftp://h/ws", "the scheme must be"),
            (1, "jwks_url: nowhere", "no scheme"),
            (2, "carriers:\n  - cookie: \"a\\r\\nHost: evil\"", "no name of a header"),
            (2, "carriers:\n  - header: \"X Y\"", "no name of a header"),
            (2, "carriers:\n  - query: a=b", "no name of a query"),
            (3, "carriers:\n  - query: a\n  - subprotocol: [bearer]", "{token_base64url}"),
            (2, "carriers:\n  - subprotocol: [\"a\\n\", \"{token}\"]", "no header can"),
            (2, "carriers:\n  - body: token", "no body"),
            (2, "carriers:\n  - first_message: { send: hello }", "needs {token}"),
            (2, "carriers:\n  - first_message: { send: \"{token}\" }", "only its answer"),
            (2, "allowed_origins:\n  - https://*.example", "is no origin"),
            (1, "send_origin: true", "needs `allowed_origins`"),
            (1, "offer_subprotocol: true", "needs `subprotocol`"),
            (1, "subprotocol: a b", "no subprotocol"),
            (1, "algorithm: XS256", "no algorithm is called"),
            (2, "login:\n  url: /a b\n  token: /t", "percent-encoded"),
            (2, "login:\n  url: nowhere\n  token: /t", "no scheme"),
            (3, "login:\n  url: /a\n  method: \"GET /\"\n  token: /t", "no method"),
            (3, "login:\n  url: /a\n  token: access_token", "no JSON Pointer"),
            (5, "login:\n  url: /a\n  token: /t\n  headers:\n    X: \"a\\r\\nHost: evil\"", "no header can have"),
            (4, "login:\n  url: /a\n  token: /t\n  refresh_token: /r", "needs `login.refresh`"),
            (5, "login:\n  url: /a\n  token: /t\n  refresh_token: /r\n  refresh: { url: \"/ \" }", "percent-encoded"),
            (2, "token: a.b.c\nlogin: { url: /a, token: /t }", "not both"),
            (1, "jti_single_use: true\nlogin: { url: /a, token: /t }", "token of its own"),
            (2, "http:\n  health: { path: \"/ HTTP/1.1\\r\\nX: \" }", "a path begins with /"),
        ] {
            let found = Profile::from_yaml("p.yaml", text).expect_err(text).to_string();
            assert!(found.contains(word), "{text}\n{found}");
            assert!(found.contains(&format!("p.yaml:{line}:")), "{text}\n{found}");
        }
    }
}
