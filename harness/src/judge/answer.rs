//! Grades HTTP answers: of openings, and of the endpoints beside the socket.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::Weight;
use crate::case::{Answer, Http, Issued, KeySet, Selects};
use crate::kept;
use crate::observation::{Connection, End, Observation, What};
use crate::profile::{HttpEndpoint, Profile};
use crate::redact::{contains, jwts};
use crate::token::{Token, UNDECLARED_LEEWAY};
use crate::verdict::{Basis, Check, Grade, Level};
use crate::wire::answer::{Head, lines};
use crate::wire::opening::accept_for;

/// Grades the head and the body of an answer against what they must look like.
pub(super) fn head(weight: Weight, wanted: &Answer, connection: &Connection) -> Vec<Check> {
    // Who asks too often, or at a bad time, is told nothing about what was asked.
    answered(weight, wanted, connection, &[429, 503])
}

/// The same, where these statuses tell nothing unless they are wanted.
fn answered(weight: Weight, wanted: &Answer, connection: &Connection, mute: &[u16]) -> Vec<Check> {
    let Some(head) = connection.head() else {
        let why = connection.events.iter().find_map(|event| match &event.what {
            What::End(End::NoConnection(why)) => Some(why.clone()),
            _ => None,
        });
        return vec![match why {
            Some(why) => weight.check(Grade::Inconclusive, "an HTTP answer", format!("no connection ({why})")),
            None => weight.holds(false, "an HTTP answer", "no answer"),
        }];
    };
    let mut checks = Vec::new();
    if !wanted.status.is_empty() {
        let list: Vec<String> = wanted.status.iter().map(u16::to_string).collect();
        let expected = format!("HTTP {}", list.join(" or "));
        let observed = format!("HTTP {}", head.status);
        checks.push(match wanted.status.contains(&head.status) {
            false if mute.contains(&head.status) => weight.check(Grade::Inconclusive, expected, observed),
            right => weight.holds(right, expected, observed),
        });
    }
    if wanted.accepts_key {
        let right = accept_for(connection.key.as_deref().unwrap_or_default().as_bytes());
        let given = head.header("sec-websocket-accept").unwrap_or_default();
        let observed = format!("Sec-WebSocket-Accept: {}", given.escape_debug());
        checks.push(weight.holds(given == right, format!("Sec-WebSocket-Accept: {right}"), observed));
    }
    if wanted.accepts_a_key && head.status == 101 {
        let keys = lines(&connection.sent, "sec-websocket-key");
        let given = head.header("sec-websocket-accept").unwrap_or_default();
        let right = keys.iter().any(|key| accept_for(key.as_bytes()) == given);
        let observed = format!("Sec-WebSocket-Accept: {}", given.escape_debug());
        checks.push(weight.holds(right, "the answer to one of the keys, or a refusal", observed));
    }
    if wanted.offered_subprotocol {
        let offered = offered(&connection.sent);
        let chosen = head.header("sec-websocket-protocol");
        let right = chosen.as_ref().is_none_or(|chosen| offered.contains(chosen));
        let observed = chosen.unwrap_or_else(|| "none".to_owned()).escape_debug().to_string();
        checks.push(weight.holds(right, "no subprotocol, or one that was offered", observed));
    }
    if let Some(origin) = &wanted.unreadable_by {
        let allowed = head.header("access-control-allow-origin").unwrap_or_default();
        let named = allowed.trim().eq_ignore_ascii_case(origin);
        let with = head.header("access-control-allow-credentials").is_some_and(|value| value.trim() == "true");
        let expected = format!("no answer that {origin} may read in the name of its visitor");
        let observed = format!(
            "Access-Control-Allow-Origin: {}{}",
            if allowed.is_empty() { "none".to_owned() } else { allowed.escape_debug().to_string() },
            if with { ", with credentials" } else { "" }
        );
        checks.push(weight.holds(!(named && with), expected, observed));
    }
    for name in &wanted.has {
        let there = head.header(name).is_some();
        checks.push(weight.holds(there, format!("a header {name}"), if there { "it is there" } else { "none" }));
    }
    for name in &wanted.lacks {
        let given = head.header(name);
        let observed = given.clone().unwrap_or_else(|| "none".to_owned());
        checks.push(weight.holds(given.is_none(), format!("no header {name}"), observed));
    }
    for (name, text) in &wanted.header {
        let all: Vec<String> = head.all(name).map(|value| String::from_utf8_lossy(value).into_owned()).collect();
        let right = all.iter().any(|value| value.to_ascii_lowercase().contains(&text.to_ascii_lowercase()));
        let observed = if all.is_empty() { "none".to_owned() } else { all.join(", ").escape_debug().to_string() };
        checks.push(weight.holds(right, format!("{name} with {text}"), observed));
    }
    if wanted.extensions {
        let offers = lines(&connection.sent, "sec-websocket-extensions");
        let answers = head.lines("sec-websocket-extensions");
        let observed = match crate::wire::deflate::agree(&offers, &answers) {
            Err(flaw) => Err(format!("{}: {flaw}", answers.join(", ").escape_debug())),
            Ok(_) if answers.is_empty() => Ok("no extension".to_owned()),
            Ok(_) => Ok(answers.join(", ").escape_debug().to_string()),
        };
        let expected = "no extension, or a legal answer to the offer";
        checks.push(weight.holds(observed.is_ok(), expected, observed.unwrap_or_else(|flaw| flaw)));
    }
    if !wanted.json.is_empty() {
        checks.extend(members(weight, &wanted.json, connection.body()));
    }
    let body = String::from_utf8_lossy(connection.body()).to_ascii_lowercase();
    for word in &wanted.silent_about {
        let found = body.contains(&word.to_ascii_lowercase());
        checks.push(weight.holds(
            !found,
            format!("a body that does not say `{word}`"),
            if found { "it does" } else { "it does not" },
        ));
    }
    checks
}

/// Grades how the 101 answers the offer of subprotocols. Nothing is asked of another answer.
pub(super) fn selects(weight: Weight, selects: Selects, connection: &Connection, profile: &Profile) -> Vec<Check> {
    let Some(head) = connection.head().filter(|head| head.status == 101) else { return Vec::new() };
    let should = Weight { level: Level::Should, basis: Basis::Should, ..weight };
    let selected = head.header("sec-websocket-protocol").map(|value| value.trim().to_owned());
    let offered = offered(&connection.sent);
    let holds_token = |element: &str| {
        let token = connection.token.as_ref().and_then(|token| token.bytes()).filter(|token| !token.is_empty());
        token.is_some_and(|token| {
            let encoded = URL_SAFE_NO_PAD.encode(token);
            contains(element.as_bytes(), token) || element.contains(&encoded)
        })
    };
    // A token must not stand in a report.
    let shown = |element: &str| if holds_token(element) { "the token" } else { element }.escape_debug().to_string();
    let observed = selected.as_deref().map_or_else(|| "none selected".to_owned(), shown);
    match selects {
        Selects::Declared => {
            let wanted = profile.subprotocol.as_deref().unwrap_or_default();
            let expected = format!("Sec-WebSocket-Protocol: {wanted}");
            vec![weight.holds(selected.as_deref() == Some(wanted), expected, observed)]
        }
        Selects::NoToken => {
            let silent = !selected.as_deref().is_some_and(holds_token);
            vec![should.holds(silent, "a 101 that does not repeat the token", observed)]
        }
        Selects::Offered => {
            let fits = selected.as_ref().is_none_or(|selected| offered.contains(selected));
            let mut checks = vec![weight.holds(fits, "no subprotocol but one of those offered", observed.clone())];
            let browser = "one of the offered subprotocols selected, or a browser fails the connection (1006)";
            checks.push(should.holds(selected.is_some(), browser, observed.clone()));
            // Whoever is offered the token alone has no other choice.
            if offered.iter().any(|element| !holds_token(element)) {
                let silent = !selected.as_deref().is_some_and(holds_token);
                checks.push(should.holds(silent, "a subprotocol selected that is not the token", observed));
            }
            checks
        }
    }
}

/// The subprotocols that a request offers, in order.
pub(super) fn offered(request: &[u8]) -> Vec<String> {
    let values = lines(request, "sec-websocket-protocol");
    values.iter().flat_map(|value| value.split(',')).map(|element| element.trim().to_owned()).collect()
}

/// The JSON members that must be in `body`; a wanted `null` asks for presence only.
fn members(weight: Weight, wanted: &std::collections::BTreeMap<String, Value>, body: &[u8]) -> Vec<Check> {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        let shown: String = String::from_utf8_lossy(body).chars().take(80).collect();
        return vec![weight.holds(false, "a JSON body", format!("\"{}\"", shown.escape_debug()))];
    };
    wanted
        .iter()
        .map(|(pointer, wanted)| match (value.pointer(pointer), wanted) {
            (Some(_), Value::Null) => weight.holds(true, format!("a member {pointer}"), "it is there"),
            (None, _) => weight.holds(false, format!("a member {pointer}"), "none"),
            (Some(found), wanted) => {
                let shown: String = found.to_string().chars().take(80).collect();
                weight.holds(found == wanted, format!("{pointer} = {wanted}"), shown)
            }
        })
        .collect()
}

/// Grades the answer of a declared endpoint.
pub(super) fn http(
    weight: Weight,
    http: &Http,
    observation: &Observation,
    index: usize,
    profile: &Profile,
) -> Vec<Check> {
    let connection = &observation.connections[index];
    let mut wanted = http.answer.clone();
    let declared = profile.http.get(&http.endpoint);
    if let Some(declared) = declared {
        if http.declared_answer {
            wanted.json.extend(declared.answer.clone());
        }
        if http.declared_refusal {
            wanted.json.extend(declared.refusal.clone());
        }
        if let Some(caller) = &http.caller {
            wanted.header.extend(declared.caller.iter().map(|name| (name.clone(), caller.clone())));
        }
    }
    // That it is ill is what a health endpoint says by 503.
    let mute: &[u16] = if http.endpoint == "health" { &[429] } else { &[429, 503] };
    let mut checks = answered(weight, &wanted, connection, mute);
    if connection.head().is_some() {
        if let (Some(issued), Some(declared)) = (http.issued, declared) {
            let earlier = observation.connections[..index].iter().rev().find_map(|other| token_of(other, declared));
            checks.push(self::issued(weight, issued, (connection, observation.began), earlier, declared, profile));
        }
        if http.told_like_before {
            checks.push(told_like_before(weight, observation, index));
        }
        if !http.keep.is_empty() {
            checks.push(kept(weight, http, connection));
        }
        if let Some(question) = http.key_set {
            checks.push(key_set(weight, question, connection));
        }
        if let Some(pointer) = &http.current_time {
            checks.push(current_time(weight, pointer, connection, observation));
        }
    }
    if checks.is_empty() {
        checks.push(weight.check(Grade::Error, "something to check", "the case asks nothing of the answer"));
    }
    checks
}

/// Two answers say the same. What differs from answer to answer by itself does not count: numbers, times, identifiers, and
/// what the client sent.
fn told_like_before(weight: Weight, observation: &Observation, index: usize) -> Check {
    let expected = "the same status, challenge and words as before";
    let connection = &observation.connections[index];
    let earlier = observation.connections[..index].iter().rev().find(|other| other.name == connection.name);
    let Some((earlier, (this, before))) =
        earlier.and_then(|earlier| Some((earlier, (connection.head()?, earlier.head()?))))
    else {
        return weight.check(Grade::Inconclusive, expected, "no answer before");
    };
    if [this, before].iter().any(|head| matches!(head.status, 429 | 503)) {
        return weight.check(Grade::Inconclusive, expected, "the endpoint asks to slow down");
    }
    let words = |bytes: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(bytes);
        super::words(&text).map(str::to_owned).collect()
    };
    let sent = [&connection.sent, &earlier.sent].map(|sent| words(sent));
    // A name that was sent may come back; a long word is an identifier.
    let tells = |word: &String| {
        let [this, before] = &sent;
        word.len() < 16 && !word.contains(|c: char| c.is_ascii_digit()) && this.contains(word) == before.contains(word)
    };
    let told = |connection: &Connection, head: &Head| {
        let challenge = head.header("www-authenticate").unwrap_or_default();
        let words: Vec<String> = words(connection.body()).into_iter().filter(tells).collect();
        (head.status, challenge, words)
    };
    let ((status, challenge, words), other) = (told(connection, this), told(earlier, before));
    let observed = match (status == other.0, challenge == other.1, words == other.2) {
        (true, true, true) => format!("{status}, as before"),
        (false, ..) => format!("{status}, and before {}", other.0),
        (_, false, _) => "another challenge than before".to_owned(),
        _ => {
            let new = words.iter().find(|word| !other.2.contains(word));
            format!(
                "{status} in other words than before{}",
                new.map(|word| format!(" (\"{word}\")")).unwrap_or_default()
            )
        }
    };
    weight.holds((status, challenge, words) == other, expected, observed)
}

/// The answer holds what later steps need of it.
fn kept(weight: Weight, http: &Http, connection: &Connection) -> Check {
    let wanted: Vec<String> = http.keep.iter().map(|(name, part)| format!("{part} as `{name}`")).collect();
    let expected = wanted.join(", ");
    match kept::find_all(&http.keep, &String::from_utf8_lossy(connection.body()), connection.head()) {
        Ok(_) => weight.holds(true, expected, "there"),
        Err((_, part)) => weight.holds(false, expected, format!("no {part}")),
    }
}

/// The members that hold the private half of a key, or a shared secret (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Grades a published key set.
fn key_set(weight: Weight, question: KeySet, connection: &Connection) -> Check {
    let body = body_of(connection);
    let expected = match question {
        KeySet::Public => "public keys, without any private member",
        KeySet::Sound => {
            "RSA keys of 2048 bits or more with an odd exponent from 3 on, and a kid of its own for each key"
        }
        KeySet::Marked => "keys for signatures that say so, by use or key_ops, and of which algorithm, by alg",
    };
    let Some(keys) = body.get("keys").and_then(Value::as_array).filter(|keys| !keys.is_empty()) else {
        return weight.check(Grade::Inconclusive, expected, "no key set with a key in it");
    };
    let wrong = match question {
        KeySet::Public => keys.iter().enumerate().find_map(|(at, key)| {
            let member = PRIVATE_MEMBERS.iter().find(|name| key.get(name).is_some())?;
            Some(format!("key {} has the member {member}", at + 1))
        }),
        KeySet::Sound => unsound(keys),
        KeySet::Marked => unmarked(keys),
    };
    let observed = wrong.clone().unwrap_or_else(|| format!("{} key(s), nothing amiss", keys.len()));
    weight.holds(wrong.is_none(), expected, observed)
}

/// The key of a set that does not say what it is for, if there is one. A set may hold keys for encryption as well.
fn unmarked(keys: &[Value]) -> Option<String> {
    keys.iter().enumerate().find_map(|(at, key)| {
        let at = at + 1;
        let signs = match (key.get("use").and_then(Value::as_str), key.get("key_ops").and_then(Value::as_array)) {
            (Some(purpose), _) => purpose == "sig",
            (None, Some(operations)) => operations.iter().any(|operation| operation == "verify"),
            (None, None) => return Some(format!("key {at} has neither use nor key_ops")),
        };
        let lacks_alg = key.get("alg").and_then(Value::as_str).is_none();
        (signs && lacks_alg).then(|| format!("key {at} has no alg"))
    })
}

/// What is amiss with the keys of a set, if anything is.
fn unsound(keys: &[Value]) -> Option<String> {
    let mut names = std::collections::BTreeSet::new();
    for (at, key) in keys.iter().enumerate() {
        let at = at + 1;
        let number = |name: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(key.get(name)?.as_str()?).ok()?;
            let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
            Some(bytes[first..].to_vec())
        };
        if key.get("kty").and_then(Value::as_str) == Some("RSA") {
            let (Some(n), Some(e)) = (number("n"), number("e")) else {
                return Some(format!("key {at} lacks a readable n or e"));
            };
            let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
            if bits < 2048 {
                return Some(format!("key {at} has {bits} bits"));
            }
            if e.last().is_none_or(|last| last % 2 == 0) || e == [1] {
                return Some(format!("key {at} has an exponent that is even or 1"));
            }
        }
        // RFC 7517 §4.5: kid is optional, but only by it can one key of several be chosen.
        match key.get("kid").and_then(Value::as_str) {
            None if keys.len() > 1 => return Some(format!("key {at} of several has no kid")),
            Some(kid) if !names.insert((kid, key.get("kty").map(Value::to_string))) => {
                return Some(format!("key {at} has the kid of another key of its type"));
            }
            _ => {}
        }
    }
    None
}

fn body_of(connection: &Connection) -> Value {
    serde_json::from_slice(connection.body()).unwrap_or_default()
}

/// The token in the answer of an endpoint.
fn token_of(connection: &Connection, declared: &HttpEndpoint) -> Option<Token> {
    let body = body_of(connection);
    let token = body.pointer(declared.token.as_deref()?)?.as_str()?;
    Some(Token::new(token.into()))
}

/// The member is a time of now.
fn current_time(weight: Weight, pointer: &str, connection: &Connection, observation: &Observation) -> Check {
    let body = body_of(connection);
    let given = body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let at = connection.answered_at().unwrap_or_default().as_secs_f64();
    let right = iso_8601(given).is_some_and(|time| (time - observation.began - at).abs() <= 60.0);
    let shown: String = given.chars().take(60).collect();
    weight.holds(
        right,
        format!("{pointer} is now, in UTC or with its zone, within a minute"),
        shown.escape_debug().to_string(),
    )
}

/// Seconds since 1970 of `2026-01-31T23:59:59.5Z`; a time without a zone is read as UTC.
fn iso_8601(text: &str) -> Option<f64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let rest = text.get(19..)?;
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at(zone_at);
    let fraction: f64 = if fraction.is_empty() { 0.0 } else { format!("0{fraction}").parse().ok()? };
    let offset = match zone.as_bytes() {
        [] | [b'Z'] => 0,
        [sign, ..] => {
            let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
            let minutes =
                digits.get(..2)?.parse::<i64>().ok()? * 60 + digits.get(2..4).unwrap_or("0").parse::<i64>().ok()?;
            if *sign == b'-' { -minutes } else { minutes }
        }
    };
    // Days since 1970 of the proleptic Gregorian calendar, counting years from March.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second - offset * 60) as f64 + fraction)
}

/// Claims that nobody but their owner should read; a JWT is signed, not encrypted.
const INDISCREET: &[&str] =
    &["password", "passwd", "pwd", "hash", "hashed_password", "password_hash", "secret", "api_key"];

fn issued(
    weight: Weight,
    issued: Issued,
    (connection, began): (&Connection, f64),
    earlier: Option<Token>,
    declared: &HttpEndpoint,
    profile: &Profile,
) -> Check {
    let body = body_of(connection);
    let token = token_of(connection, declared);
    let (header, claims) = match (issued, token.as_ref().and_then(Token::peek)) {
        (Issued::Nothing, _) => return hands_out_nothing(weight, connection, token.is_some(), declared),
        (_, Some(parts)) => parts,
        (_, None) => return weight.holds(false, "a token in the answer", "none that can be read"),
    };
    let now = began + connection.answered_at().unwrap_or_default().as_secs_f64();
    match issued {
        Issued::Lifetime => {
            let promised = body.get("expires_in").and_then(Value::as_f64);
            let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or_default();
            // What is not declared is the issuer's to choose, but for no signature at all.
            let declared: Vec<&str> = match (&profile.algorithm, &profile.algorithms) {
                (Some(one), _) => vec![one],
                (None, Some(several)) => several.iter().map(String::as_str).collect(),
                (None, None) => Vec::new(),
            };
            let is_right = match declared.as_slice() {
                [] => !algorithm.eq_ignore_ascii_case("none"),
                declared => declared.contains(&algorithm),
            };
            let wanted = if declared.is_empty() { "other than none".to_owned() } else { declared.join(" or ") };
            let exp = claims.get("exp").and_then(Value::as_f64);
            let issued_at = claims.get("iat").and_then(Value::as_f64);
            let life = match (exp, issued_at) {
                (Some(exp), Some(iat)) => Some(exp - iat),
                _ => None,
            };
            let left = exp.map(|exp| exp - now);
            let expected = match promised {
                Some(seconds) => format!("alg {wanted}, alive for {seconds} s as expires_in says"),
                None if profile.require_exp == Some(false) => format!("alg {wanted}"),
                None => format!("alg {wanted}, with an exp"),
            };
            // `expires_in` counts from the answer (RFC 6749 §5.1): a token that was issued before may have lived for a while.
            let right = match (promised, life, left) {
                (Some(promised), Some(life), Some(left)) => {
                    (promised - life).abs() <= 5.0 || (promised - left).abs() <= 5.0
                }
                (Some(promised), None, Some(left)) => (promised - left).abs() <= UNDECLARED_LEEWAY,
                (None, _, None) => profile.require_exp == Some(false),
                _ => exp.is_some(),
            };
            // `exp` is optional (RFC 7519 §4.1.4), and nobody has promised one.
            let is_promised = promised.is_some() || exp.is_some() || profile.require_exp == Some(true) || !is_right;
            let weight = weight.at((!is_promised).then_some(Level::Should));
            let observed = match (life, left) {
                (Some(life), _) => format!("alg {algorithm}, alive for {life:.0} s"),
                (None, Some(left)) => format!("alg {algorithm}, no iat, alive for {left:.0} s more"),
                (None, None) => format!("alg {algorithm}, without exp"),
            };
            weight.holds(is_right && right, expected, observed)
        }
        Issued::Current => {
            // Whose clock is right is not asked: time zones are further apart than clocks.
            let since = |name: &str| claims.get(name).and_then(Value::as_f64).map(|time| now - time);
            let begun = ["iat", "nbf"].map(since).into_iter().flatten().all(|since| since >= -UNDECLARED_LEEWAY);
            let over = since("exp").is_some_and(|since| since > UNDECLARED_LEEWAY);
            let told =
                ["iat", "nbf", "exp"].into_iter().filter_map(|name| Some(format!("{name} {:+.0} s", -since(name)?)));
            let observed = told.collect::<Vec<_>>().join(", ");
            let observed = if observed.is_empty() { "no times".to_owned() } else { format!("{observed} from now") };
            weight.holds(
                begun && !over,
                "iat and nbf not in the future, exp not in the past, within five minutes",
                observed,
            )
        }
        Issued::Identity => {
            let names = &profile.identity_claims;
            // Of the registered claims that name a bearer only `sub` has to be a text (RFC 7519 §4.1.2).
            let named = |name: &String| match claims.get(name.as_str()) {
                Some(Value::String(value)) => !value.is_empty(),
                Some(Value::Number(_)) => name != "sub",
                _ => false,
            };
            let complete = profile.required_claims.iter().all(|name| claims.contains_key(name.as_str()));
            let observed: Vec<&str> = claims.keys().map(String::as_str).collect();
            weight.holds(
                names.iter().any(named) && complete,
                format!("an identity in {}, and the claims the socket needs", names.join(" or ")),
                format!("claims {}", observed.join(", ")),
            )
        }
        Issued::Discreet => {
            // By name only: a value that equals the password of a test account may well be its user name.
            let tells = claims.keys().find(|name| INDISCREET.contains(&name.as_str()));
            let observed = tells
                .map_or_else(|| format!("{} claims, none of them", claims.len()), |name| format!("a claim {name}"));
            weight.holds(tells.is_none(), "no password, hash or key among the claims", observed)
        }
        Issued::Differs => {
            let same = earlier.as_ref().is_none_or(|earlier| Some(earlier.bytes()) == token.as_ref().map(Token::bytes));
            weight.holds(!same, "another token than the one issued before", if same { "the same" } else { "another" })
        }
        Issued::Nothing => hands_out_nothing(weight, connection, token.is_some(), declared),
        Issued::Refresh => {
            let refresh = body.get("refresh_token").and_then(Value::as_str);
            let access = token.as_ref().and_then(Token::text);
            let observed = match refresh {
                None => "no refresh_token",
                Some(_) if refresh == access => "the access token once more",
                Some(_) => "another token",
            };
            weight.holds(
                refresh.is_some() && refresh != access,
                "a refresh_token that is not the access token",
                observed,
            )
        }
    }
}

/// No token is in the answer, where it should be or elsewhere in the body, and no session where that is what a login gives.
fn hands_out_nothing(weight: Weight, connection: &Connection, is_told: bool, declared: &HttpEndpoint) -> Check {
    let expected = "no token in the answer";
    let text = String::from_utf8_lossy(connection.body());
    let Some(head) = connection.head() else { return weight.check(Grade::Inconclusive, expected, "no answer") };
    let status = head.status;
    // Everybody may be given a cookie, and one who is logged in as well.
    let is_session = declared.token.is_none() && status < 400 && head.header("set-cookie").is_some();
    match (is_told || jwts(&text) != text, status) {
        (true, _) => weight.holds(false, expected, format!("HTTP {status}, with one")),
        (false, 429 | 503) => weight.check(Grade::Inconclusive, expected, format!("HTTP {status}")),
        // That there is no such method is no error.
        (false, 501) => weight.holds(true, expected, "HTTP 501, without one"),
        (false, 500..) => {
            let should = weight.at(Some(Level::Should));
            should.holds(false, "a refusal, and no server error", format!("HTTP {status}"))
        }
        _ if is_session => {
            weight.check(Grade::Inconclusive, expected, format!("HTTP {status}, and a cookie that may be a session"))
        }
        _ => weight.holds(true, expected, format!("HTTP {status}, without one")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Event;
    use crate::verdict::Severity;
    use crate::wire::answer::Head;

    /// The grades of a 101 that selects this of that offer, with the token `t.o.k`.
    fn graded(wanted: Selects, offer: &str, selected: Option<&str>) -> Vec<Grade> {
        let headers = selected.map(|value| ("Sec-WebSocket-Protocol".to_owned(), value.as_bytes().to_vec()));
        let head =
            Head { minor_version: 1, status: 101, reason: String::new(), headers: headers.into_iter().collect() };
        let connection = Connection {
            name: "main".to_owned(),
            sent: format!("GET /ws HTTP/1.1\r\nsec-websocket-protocol: {offer}\r\n\r\nx: y").into_bytes(),
            key: None,
            token: Some(Token::new(b"t.o.k".to_vec())),
            tls: None,
            events: vec![Event { at: std::time::Duration::ZERO, what: What::Head(head) }],
        };
        let profile = Profile { subprotocol: Some("app".to_owned()), ..Profile::default() };
        let weight = Weight { level: Level::Must, severity: Severity::Medium, basis: Basis::Must };
        selects(weight, wanted, &connection, &profile).iter().map(|check| check.grade).collect()
    }

    #[test]
    fn a_subprotocol_is_one_of_those_offered_and_not_the_token() {
        use Grade::{Fail, Pass, Warn};
        let offer = "app, bearer.t.o.k";
        assert_eq!(graded(Selects::Offered, offer, Some("app")), [Pass, Pass, Pass]);
        assert_eq!(graded(Selects::Offered, offer, None), [Pass, Warn, Pass]);
        assert_eq!(graded(Selects::Offered, offer, Some("other")), [Fail, Pass, Pass]);
        assert_eq!(graded(Selects::Offered, offer, Some("bearer.t.o.k")), [Pass, Pass, Warn]);
        assert_eq!(graded(Selects::Offered, "app, k8s.dC5vLms", Some("k8s.dC5vLms")), [Pass, Pass, Warn]);
        // A server that is offered the token alone has no other choice.
        assert_eq!(graded(Selects::Offered, "t.o.k", Some("t.o.k")), [Pass, Pass]);
        assert_eq!(graded(Selects::NoToken, "t.o.k", Some("t.o.k")), [Warn]);
        assert_eq!(graded(Selects::NoToken, "t.o.k", None), [Pass]);
        assert_eq!(graded(Selects::Declared, "x, app", Some("app")), [Pass]);
        assert_eq!(graded(Selects::Declared, "x, app", Some("x")), [Fail]);
        assert_eq!(graded(Selects::Declared, "x, app", None), [Fail]);
    }

    #[test]
    fn times_are_read_with_and_without_a_zone() {
        assert_eq!(iso_8601("1970-01-01T00:00:00Z"), Some(0.0));
        assert_eq!(iso_8601("2000-03-01T12:00:00.5+02:00"), Some(951_904_800.5));
        assert_eq!(iso_8601("2024-02-29T23:59:59.250000"), Some(1_709_251_199.25));
        assert_eq!(iso_8601("yesterday"), None);
    }
}
