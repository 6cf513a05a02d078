//! What to try when not even the first control is admitted, and how to tell what was found.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use super::{Cause, Finding, engine_io};
use crate::hex;
use crate::outcome::Outcome;
use crate::profile::Carrier;
use crate::secret::SecretBytes;
use crate::target::Target;
use crate::token::{Algorithm, KeyChoice, KeyKind, Op, PublicForm, Recipe, Sign, default_claims};
use crate::wire::answer::Head;

/// The most attempts of one diagnosis. What one finds is confirmed by one more connection.
const MAX_ATTEMPTS: usize = 56;

/// How the server may take its secret, if not as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// Without the white space around it.
    Trimmed,
    /// With a newline at its end.
    Newline,
    /// Decoded from base64.
    Base64,
    /// Decoded from base64url.
    Base64url,
    /// Decoded from hexadecimal digits.
    Hex,
    /// As the text that the profile asks to decode.
    Text,
    /// Written as base64.
    ToBase64,
    /// Written as hexadecimal digits.
    ToHex,
}

/// One way in which the server may want its tokens. What is not set is as the profile says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attempt {
    /// Another spelling of the secret, and what it comes to.
    pub secret: Option<(Spelling, SecretBytes)>,
    /// Another place of the token.
    pub carrier: Option<Carrier>,
    /// Another algorithm with the same secret.
    pub algorithm: Option<Algorithm>,
    /// Other claims.
    pub claims: Option<Claims>,
    /// The page that the client says it was opened from.
    pub origin: Option<String>,
}

/// Other claims of a valid token.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// What the server is then known to want: "the server ...".
    wants: &'static str,
    /// Laid over the profile's own claims; `null` takes one away.
    over: Map<String, Value>,
    /// The same for the header.
    header: Map<String, Value>,
}

impl Attempt {
    /// The target as it would have to be declared.
    pub fn target(&self, target: &Target) -> Target {
        let mut target = target.clone();
        if let Some((_, secret)) = &self.secret {
            target.keys = target.keys.with_secret(secret.expose());
            target.secrets.push(secret.clone());
        }
        if let Some(carrier) = &self.carrier {
            let endpoint = &mut target.endpoint;
            match (carrier, endpoint.path.contains("{token}")) {
                (Carrier::Path, false) => {
                    endpoint.path = format!("{}/{{token}}", endpoint.bare_path().trim_end_matches('/'));
                }
                (Carrier::Path, true) | (_, false) => {}
                (_, true) => endpoint.path = endpoint.bare_path(),
            }
            endpoint.carrier = carrier.is_in_url().then(|| carrier.clone());
            target.profile.carriers = vec![carrier.clone()];
        }
        if let Some(algorithm) = self.algorithm {
            target.algorithm = algorithm;
        }
        if let Some(claims) = &self.claims {
            target.profile.claims.extend(claims.over.clone());
            target.profile.header.extend(claims.header.clone());
        }
        if let Some(origin) = &self.origin {
            target.profile.allowed_origins = vec![origin.clone()];
            target.profile.send_origin = true;
        }
        target
    }
}

/// What is worth trying against a server that refused the valid token, the likely first.
///
/// `text` is the secret before it was decoded, where the profile asks for that. Each way is tried by itself; then the
/// common mistakes are tried in pairs. Paths are not guessed.
pub fn attempts(target: &Target, text: Option<&SecretBytes>) -> Vec<Attempt> {
    let secret = target.keys.secret().filter(|_| target.algorithm.key_kind() == KeyKind::Secret);
    let secrets = secret.map(|secret| spellings(secret, text)).unwrap_or_default();
    let secrets: Vec<Attempt> =
        secrets.into_iter().map(|secret| Attempt { secret: Some(secret), ..Attempt::default() }).collect();
    let carriers: Vec<Attempt> =
        carriers(target).into_iter().map(|carrier| Attempt { carrier: Some(carrier), ..Attempt::default() }).collect();
    let algorithms: Vec<Attempt> = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512]
        .into_iter()
        .filter(|other| secret.is_some() && *other != target.algorithm)
        .map(|algorithm| Attempt { algorithm: Some(algorithm), ..Attempt::default() })
        .collect();
    let origins = origin(target).map(|origin| Attempt { origin: Some(origin), ..Attempt::default() });
    // Other claims can be had only where tokens are made.
    let claims = if target.makes_tokens() { claims(target) } else { Vec::new() };
    let claims: Vec<Attempt> =
        claims.into_iter().map(|claims| Attempt { claims: Some(claims), ..Attempt::default() }).collect();

    let first = |list: &[Attempt], count: usize| list[..list.len().min(count)].to_vec();
    let origins: Vec<Attempt> = origins.into_iter().collect();
    let mut all = [secrets.clone(), origins, carriers.clone(), algorithms.clone(), claims.clone()].concat();
    for (some, others) in [
        (first(&secrets, 4), first(&carriers, 4)),
        (first(&secrets, 2), algorithms),
        (first(&secrets, 2), first(&claims, 3)),
        (first(&carriers, 3), first(&claims, 3)),
    ] {
        for one in &some {
            for other in &others {
                all.push(Attempt {
                    secret: one.secret.clone().or_else(|| other.secret.clone()),
                    carrier: one.carrier.clone().or_else(|| other.carrier.clone()),
                    algorithm: one.algorithm.or(other.algorithm),
                    claims: one.claims.clone().or_else(|| other.claims.clone()),
                    origin: None,
                });
            }
        }
    }
    all.truncate(MAX_ATTEMPTS);
    all
}

/// The spellings of a secret that are other keys than it is, and other than one another.
fn spellings(secret: &SecretBytes, text: Option<&SecretBytes>) -> Vec<(Spelling, SecretBytes)> {
    let bytes = secret.expose();
    let mut all: Vec<(Spelling, Vec<u8>)> = Vec::new();
    if let Some(text) = text {
        all.push((Spelling::Text, text.expose().to_vec()));
        all.push((Spelling::Text, text.expose().trim_ascii().to_vec()));
    }
    for source in [Some(bytes), text.map(SecretBytes::expose)].into_iter().flatten() {
        let Ok(text) = std::str::from_utf8(source.trim_ascii()) else { continue };
        let unpadded = text.trim_end_matches('=');
        all.extend(STANDARD.decode(text).ok().map(|decoded| (Spelling::Base64, decoded)));
        all.extend(URL_SAFE_NO_PAD.decode(unpadded).ok().map(|decoded| (Spelling::Base64url, decoded)));
        all.extend(hex::read(text).map(|decoded| (Spelling::Hex, decoded)));
    }
    all.push((Spelling::Trimmed, bytes.trim_ascii().to_vec()));
    all.push((Spelling::Newline, [bytes, b"\n"].concat()));
    all.push((Spelling::ToBase64, STANDARD.encode(bytes).into_bytes()));
    all.push((Spelling::ToHex, hex::write(bytes).into_bytes()));
    let mut distinct: Vec<(Spelling, SecretBytes)> = Vec::new();
    for (spelling, bytes) in all.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
        let other = SecretBytes::new(bytes);
        let is_new = |known: &SecretBytes| !known.is_equivalent(&other, Algorithm::HS256);
        if is_new(secret) && distinct.iter().all(|(_, known)| is_new(known)) {
            distinct.push((spelling, other));
        }
    }
    distinct
}

/// The usual places, without the one that was tried.
fn carriers(target: &Target) -> Vec<Carrier> {
    // A server that is told the token in a message upgrades everybody, whatever is tried beside it.
    if target.profile.first_message().is_some() {
        return Vec::new();
    }
    let query = |name: &str| Carrier::Query(name.to_owned());
    let cookie = |name: &str| Carrier::Cookie(name.to_owned());
    let mut all = vec![query("token"), Carrier::Authorization("Bearer".to_owned()), Carrier::Path];
    all.extend(["access_token", "jwt", "auth"].map(query));
    all.extend(["token", "access_token", "jwt", "session"].map(cookie));
    let offer = |list: &[&str]| Carrier::Subprotocol(list.iter().map(|one| (*one).to_owned()).collect());
    all.extend([offer(&["bearer", "{token}"]), offer(&["access_token", "{token}"]), offer(&["{token}"])]);
    all.retain(|carrier| target.profile.carriers.first() != Some(carrier));
    all
}

/// The page that a server is likely to let in, where the valid opening names none: the first that is declared, or one of its
/// own.
fn origin(target: &Target) -> Option<String> {
    let profile = &target.profile;
    let own = || format!("{}://{}", if target.endpoint.tls { "https" } else { "http" }, target.endpoint.host_header());
    (!profile.send_origin).then(|| profile.allowed_origins.first().cloned().unwrap_or_else(own))
}

/// Claims that servers insist on, or trip over.
fn claims(target: &Target) -> Vec<Claims> {
    let members = |value: Value| match value {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    let with = |wants, over: Value| Claims { wants, over: members(over), header: Map::new() };
    // Only the claims that are named here and those that the profile asks for.
    let only = |wants, kept: &[&str]| {
        let others = default_claims();
        let others = others.keys().filter(|name| !kept.contains(&name.as_str()));
        let others = others.filter(|name| !target.profile.claims.contains_key(name.as_str()));
        with(wants, Value::Object(others.map(|name| (name.clone(), Value::Null)).collect()))
    };
    vec![
        with("wants an exp that is farther away", json!({ "exp": "${now+3600}" })),
        with("refuses tokens with iat or jti", json!({ "iat": null, "jti": null })),
        only("wants no claims but sub, iat and exp", &["sub", "iat", "exp"]),
        only("wants no claims but user_id, iat and exp", &["user_id", "iat", "exp"]),
        with("wants a number as sub", json!({ "sub": 1 })),
        with("wants digits as sub", json!({ "sub": "1" })),
        Claims {
            wants: "refuses a header with typ, although RFC 7519 §5.1 has it ignored",
            over: Map::new(),
            header: Map::from_iter([("typ".to_owned(), Value::Null)]),
        },
    ]
}

/// What an attempt that was admitted shows, after `first` was all that came of the profile as it stands. `forged` is
/// what came of the same with a wrong key.
pub fn confirmed(attempt: &Attempt, target: &Target, first: &Outcome, forged: Option<&Outcome>) -> Finding {
    let mut parts = Vec::new();
    if let Some((spelling, _)) = &attempt.secret {
        parts.push(spelled(*spelling, target));
    }
    if let Some(carrier) = &attempt.carrier {
        let url = attempt.target(target).endpoint;
        parts.push(match carrier {
            Carrier::Path => format!("the server reads the token from the path: use {url}"),
            Carrier::Query(name) => format!("the server reads the token from the query parameter `{name}`: use {url}"),
            Carrier::Authorization(scheme) => {
                format!("the server reads the token from `Authorization: {scheme}`: use {url}, without {{token}}")
            }
            Carrier::Header(name) => format!("the server reads the token from the header `{name}`: use --carrier header:{name}"),
            Carrier::Cookie(name) => format!(
                "the server reads the token from the cookie `{name}`: use {url} with --carrier cookie:{name}, or write `carriers: [{{ cookie: {name} }}]`"
            ),
            Carrier::Subprotocol(list) => {
                let list = list.join("\", \"");
                format!("the server reads the token from `Sec-WebSocket-Protocol`: use {url}, and write `carriers: [{{ subprotocol: [\"{list}\"] }}]`")
            }
            // Neither is among the guesses.
            Carrier::FirstMessage(_) | Carrier::Body(_) => format!("the server reads the token elsewhere: use {url}"),
        });
    }
    if let Some(algorithm) = attempt.algorithm {
        let name = algorithm.name();
        parts.push(format!("the server wants tokens of {name}: write `algorithm: {name}`"));
    }
    if let Some(claims) = &attempt.claims {
        let (key, members) = if claims.over.is_empty() { ("header", &claims.header) } else { ("claims", &claims.over) };
        parts.push(format!("the server {}: write `{key}: {}`", claims.wants, Value::Object(members.clone())));
    }
    if let Some(origin) = &attempt.origin {
        parts.push(format!(
            "the server lets nobody in who names no page: write `allowed_origins: [\"{origin}\"]` and `send_origin: true`"
        ));
    }
    let mut advice = parts.join("; and ");
    let cause = match forged {
        Some(forged) if forged.is_served() => {
            // What opened the gate was then not what was changed.
            advice = format!(
                "the server lets anybody in: a token signed with a wrong key is admitted too ({forged}), where {advice}"
            );
            Cause::Anybody
        }
        Some(forged) if forged.is_refused() => Cause::Profile,
        _ => {
            advice.push_str("; whether a forged token is refused there could not be seen");
            Cause::Profile
        }
    };
    Finding { cause, observed: first.to_string(), advice }
}

fn spelled(spelling: Spelling, target: &Target) -> String {
    // Only the name of a place may be repeated, never a secret that was written out.
    let notation = target.profile.secret.as_deref().unwrap_or_default();
    let place = notation.find("env:").or_else(|| notation.find("file:")).map(|at| &notation[at..]);
    let place = place.filter(|place| {
        let before = notation.strip_suffix(place).unwrap_or_default();
        matches!(before, "" | "hex:" | "base64:" | "base64url:")
    });
    let place = place.unwrap_or("...");
    match spelling {
        Spelling::Base64 => format!("the server takes the secret as base64: write `secret: base64:{place}`"),
        Spelling::Base64url => format!("the server takes the secret as base64url: write `secret: base64url:{place}`"),
        Spelling::Hex => format!("the server takes the secret as hexadecimal digits: write `secret: hex:{place}`"),
        Spelling::Text => format!("the server takes the secret as text, without decoding it: write `secret: {place}`"),
        Spelling::Trimmed => {
            "the server takes the secret without the white space around it: take the newline off its end".to_owned()
        }
        Spelling::Newline => "the server takes the secret with a newline at its end, as it stands in a file: give the \
                              same bytes, as with --secret-file"
            .to_owned(),
        Spelling::ToBase64 => "the server takes the secret in its base64 form, as text: give that text".to_owned(),
        Spelling::ToHex => "the server takes the secret in its hexadecimal form, as text: give that text".to_owned(),
    }
}

/// What the answer to the first control tells by itself, without a further attempt.
///
/// `peeked` is what a port answered that was spoken to in the other way: TLS where the URL says plain, and the other
/// way round.
pub fn answer(target: &Target, outcome: &Outcome, head: Option<&Head>, peeked: &[u8]) -> Option<(Cause, String)> {
    let url = &target.endpoint;
    let header = |name: &str| head.and_then(|head| head.header(name)).unwrap_or_default();
    // A TLS record begins with its type (alert or handshake) and the version 3 (RFC 8446 §5.1).
    if !url.tls && matches!(peeked, [0x15 | 0x16, 0x03, ..]) {
        return Some((Cause::Tls, format!("the port speaks TLS: use wss, or the plain port behind it, not {url}")));
    }
    if url.tls && peeked.starts_with(b"HTTP/") {
        return Some((Cause::Tls, format!("the port speaks plain HTTP: use ws, not {url}")));
    }
    let path = url.path.as_str();
    Some(match outcome {
        Outcome::OddStatus(status @ 300..=399) => {
            let location = header("location");
            let place = if location.is_empty() { "elsewhere".to_owned() } else { format!("to {location}") };
            (Cause::Endpoint, format!("it redirects {place} (HTTP {status}), and a client follows no redirect of an opening: use the URL it means"))
        }
        Outcome::OddStatus(status) => (
            Cause::Endpoint,
            format!("{path} answers like a page (HTTP {status}) and does not upgrade: it is no WebSocket endpoint; check the path"),
        ),
        Outcome::RefusedHttp(405) => {
            (Cause::Endpoint, format!("{path} takes other methods than GET: it is no WebSocket endpoint; check the path"))
        }
        Outcome::RefusedHttp(426) => {
            let version = header("sec-websocket-version");
            let wanted = if version.is_empty() { String::new() } else { format!(" (it speaks version {})", version) };
            (
                Cause::Endpoint,
                format!("it asks for an upgrade although one was asked for{wanted}: this is no WebSocket endpoint, or a proxy in front of it takes the `Upgrade` header away"),
            )
        }
        Outcome::NotHttp(_) | Outcome::NotWebSocket(_) => {
            (Cause::NotHttp, "what listens there speaks neither HTTP nor WebSocket as a client could read it: check host and port".to_owned())
        }
        Outcome::Throttled(_) => {
            let wait = header("retry-after");
            let wait = if wait.is_empty() { String::new() } else { format!("; it asks to wait {wait} s") };
            (Cause::RateLimit, format!("a limit of connections was met before the first case{wait}: wait, raise the limit for this address, or stay below it with --rate"))
        }
        Outcome::ServerError(how) if how == "HTTP 502" || how == "HTTP 504" => {
            (Cause::Endpoint, "a proxy answers, and the server behind it does not: is that one running?".to_owned())
        }
        Outcome::Limbo => (
            Cause::Profile,
            "it upgrades and answers pings, but neither the promised `welcome` nor the answer of `echo` came: check these two in the profile; or it waits for the token in a first message".to_owned(),
        ),
        Outcome::Mute => (
            Cause::Unknown,
            "it upgrades and then answers nothing, not even a ping: it may wait for the token in a first message, or hang".to_owned(),
        ),
        Outcome::Hang => (Cause::Dead, "it takes the connection and answers nothing: it hangs, or is no HTTP server".to_owned()),
        _ => return None,
    })
}

/// Tokens that anybody can make, tried where the valid one is refused: what is wrong with the server may be just that it
/// takes these.
pub fn forgeries(target: &Target) -> Vec<(&'static str, Recipe)> {
    const SPELLINGS: [(&str, PublicForm); 4] = [
        ("HS256 with the text of `keys.public` as its secret", PublicForm::AsGiven),
        ("HS256 with the public key in PEM as its secret", PublicForm::SpkiPem),
        ("HS256 with the public key in PEM (PKCS#1) as its secret", PublicForm::Pkcs1Pem),
        ("HS256 with the public key in OpenSSH's form as its secret", PublicForm::Openssh),
    ];
    let by_key = |form| Op::Sign(Sign { key: Some(KeyChoice::PublicKey(form)), with: None });
    let spelled = SPELLINGS.map(|(what, form)| (what, Recipe::Forge(vec![by_key(form)])));
    let none = Map::from_iter([("alg".to_owned(), json!("none"))]);
    let unsigned = ("alg none, without a signature", Recipe::Forge(vec![Op::Header(none), Op::EmptySignature]));
    let has_pair = target.algorithm.key_kind() != KeyKind::Secret;
    spelled.into_iter().filter(|_| has_pair).chain([unsigned]).collect()
}

/// What is to be said where the valid token is refused and a forgery is served.
pub fn takes_forgeries(what: &str, first: &Outcome, seen: &Outcome) -> Finding {
    let advice = format!(
        "the server refuses the valid token and lets one in that anybody can make: {what} ({seen}). It takes the algorithm \
         from the token, or for another than it should: name the one that is allowed where it verifies, then run again"
    );
    Finding { cause: Cause::Anybody, observed: first.to_string(), advice }
}

/// What is left to say when nothing that was tried was admitted. `bare` is what came of the same without a token.
pub fn nothing_found(target: &Target, outcome: &Outcome, tried: usize, bare: Option<&Outcome>) -> Finding {
    let told = |outcome: &Outcome| matches!(outcome, Outcome::RefusedHttp(_) | Outcome::RefusedClose { .. });
    // Who is refused in the same way with a token and without may have shown it to nobody.
    let unseen = bare.is_some_and(|bare| told(bare) && bare == outcome);
    let by_secret = target.algorithm.key_kind() == KeyKind::Secret;
    let key = if by_secret { "secret" } else { "key" };
    let (cause, mut advice) = match outcome {
        Outcome::RefusedHttp(404) => (
            Cause::Endpoint,
            format!(
                "nothing is served at {} (HTTP 404), or whoever is not let in is told so: check the path",
                target.endpoint.path
            ),
        ),
        Outcome::ServerError(_) => {
            (Cause::ServerError, "the server fails on a valid token: its log tells why".to_owned())
        }
        Outcome::Unserved | Outcome::RefusedMessage(_) => (
            Cause::Profile,
            "it upgrades and leaves the connection open, but neither its word that it has accepted the token nor its welcome or answer came: check `first_message` in the profile, or the secret".to_owned(),
        ),
        _ if !target.makes_tokens() => (Cause::Token, "the token is not admitted".to_owned()),
        _ if unseen => (
            Cause::Unknown,
            format!(
                "without any token it answers the same: the token may not be where the server looks (its place in the \
                 URL, --carrier, or `carriers`); else another {key}, or a claim the server needs"
            ),
        ),
        _ => (Cause::Unknown, format!("another {key}, or a claim the server needs")),
    };
    if !target.makes_tokens() {
        let _ = write!(
            advice,
            ". A real token is used, as it was given: is it one of this server, still good, and in the right place? \
             {tried} other places were tried"
        );
    } else if tried > 0 {
        let keys = if by_secret {
            "the secret as text, base64, base64url and hex, with and without a newline; HS256, HS384 and HS512; "
        } else {
            ""
        };
        let _ = write!(
            advice,
            ". {tried} other ways were tried and none was admitted: {keys}other places of the token; other claims; an \
             `Origin`. What cannot be guessed: another {key} or algorithm, `aud` and `iss`, a user that exists (`user:`), a role \
             (`claims:`), the page that may connect (`allowed_origins:` with `send_origin: true`)"
        );
    }
    if *outcome == (Outcome::Dropped { upgraded: false }) {
        advice.push_str(engine_io::ELSEWHERE);
    }
    Finding { cause, observed: outcome.to_string(), advice }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    fn target(secret: &str) -> Target {
        Target::new("ws://127.0.0.1:1/ws?token={token}", secret).expect("a target")
    }

    #[test]
    fn every_attempt_differs_from_the_profile_and_from_the_others() {
        for secret in ["00112233445566778899aabbccddeeff", "no base64 at all!", "base64:c2VjcmV0LXNlY3JldA=="] {
            let target = target(secret);
            let text = crate::secret::undecoded(secret).expect("a notation");
            let all = attempts(&target, text.as_ref());
            assert!((20..=MAX_ATTEMPTS).contains(&all.len()), "{} attempts", all.len());
            for (place, attempt) in all.iter().enumerate() {
                assert_ne!(*attempt, Attempt::default());
                assert!(!all[..place].contains(attempt), "twice: {attempt:?}");
                assert_ne!(attempt.carrier.as_ref(), target.profile.carriers.first());
                let declared = attempt.target(&target);
                let same_key = declared.keys.secret() == target.keys.secret();
                assert_eq!(same_key, attempt.secret.is_none(), "{attempt:?}");
                assert!(declared.secrets.len() > target.secrets.len() || same_key, "what is tried is kept secret too");
            }
        }
    }

    #[test]
    fn a_secret_that_stands_in_the_profile_is_not_repeated() {
        for notation in ["my-env:secret-text", "secret-text", "hex:736563726574", "base64:c2VjcmV0LXRleHQ="] {
            let target = Target {
                profile: Profile { secret: Some(notation.to_owned()), ..Profile::default() },
                ..target("other")
            };
            let told = spelled(Spelling::Base64, &target);
            assert!(told.ends_with("write `secret: base64:...`"), "{told}");
        }
        for (notation, place) in [("env:JWT_SECRET", "env:JWT_SECRET"), ("base64:file:/run/secret", "file:/run/secret")]
        {
            let target = Target {
                profile: Profile { secret: Some(notation.to_owned()), ..Profile::default() },
                ..target("other")
            };
            assert!(spelled(Spelling::Hex, &target).ends_with(&format!("`secret: hex:{place}`")));
        }
    }

    #[test]
    fn who_speaks_tls_is_told_from_who_does_not() {
        let cause = |tls: bool, peeked: &[u8]| {
            let mut target = target("other");
            target.endpoint.tls = tls;
            answer(&target, &Outcome::Dropped { upgraded: false }, None, peeked).map(|(cause, _)| cause)
        };
        assert_eq!(cause(false, &[0x15, 0x03, 0x03, 0, 2]), Some(Cause::Tls));
        assert_eq!(cause(false, &[0x16, 0x03, 0x03, 0, 90]), Some(Cause::Tls));
        assert_eq!(cause(true, b"HTTP/1.1 400 Bad"), Some(Cause::Tls));
        for (tls, peeked) in [(false, &b"HTTP/1.1 400"[..]), (false, b""), (true, &[0x16, 0x03, 0x03]), (true, b"")] {
            assert_eq!(cause(tls, peeked), None, "{tls} {peeked:?}");
        }
    }
}
