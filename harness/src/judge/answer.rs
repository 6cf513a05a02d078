//! Grades HTTP answers: of openings, and of the endpoints beside the socket.

use serde_json::Value;

use super::Weight;
use crate::case::{Answer, Http, Issued};
use crate::observation::{Connection, End, What};
use crate::profile::Profile;
use crate::token::Token;
use crate::verdict::{Check, Grade};
use crate::wire::opening::accept_for;

/// Grades the head and the body of an answer against what they must look like.
pub(super) fn head(weight: Weight, wanted: &Answer, connection: &Connection) -> Vec<Check> {
    let Some(head) = connection.head() else {
        let why = connection.events.iter().find_map(|event| match &event.what {
            What::End(End::NoConnection(why)) => Some(why.clone()),
            _ => None,
        });
        return vec![match why {
            Some(why) => weight.check(Grade::Inconclusive, "an HTTP answer", format!("no connection ({why})")),
            None => weight.holds(false, "an HTTP answer", "none"),
        }];
    };
    let mut checks = Vec::new();
    if !wanted.status.is_empty() {
        let list: Vec<String> = wanted.status.iter().map(u16::to_string).collect();
        let expected = format!("HTTP {}", list.join(" or "));
        checks.push(weight.holds(wanted.status.contains(&head.status), expected, format!("HTTP {}", head.status)));
    }
    if wanted.accepts_key {
        let right = accept_for(connection.key.as_deref().unwrap_or_default().as_bytes());
        let given = head.header("sec-websocket-accept").unwrap_or_default();
        let observed = format!("Sec-WebSocket-Accept: {}", given.escape_debug());
        checks.push(weight.holds(given == right, format!("Sec-WebSocket-Accept: {right}"), observed));
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
pub(super) fn http(weight: Weight, http: &Http, connection: &Connection, profile: &Profile) -> Vec<Check> {
    let mut wanted = http.answer.clone();
    if let Some(declared) = profile.http.get(&http.endpoint) {
        if http.declared_answer {
            wanted.json.extend(declared.answer.clone());
        }
        if http.declared_refusal {
            wanted.json.extend(declared.refusal.clone());
        }
    }
    let mut checks = head(weight, &wanted, connection);
    if let Some(issued) = http.issued
        && connection.head().is_some()
    {
        checks.push(self::issued(weight, http, issued, connection, profile));
    }
    if checks.is_empty() {
        checks.push(weight.check(Grade::Error, "something to check", "the case asks nothing of the answer"));
    }
    checks
}

fn issued(weight: Weight, http: &Http, issued: Issued, connection: &Connection, profile: &Profile) -> Check {
    let body: Value = serde_json::from_slice(connection.body()).unwrap_or_default();
    let pointer = profile.http.get(&http.endpoint).and_then(|endpoint| endpoint.token.as_deref());
    let token = pointer.and_then(|pointer| body.pointer(pointer)).and_then(Value::as_str);
    let Some((header, claims)) = token.and_then(|token| Token::new(token.into()).peek()) else {
        return weight.holds(false, "a token in the answer", "none that can be read");
    };
    match issued {
        Issued::Lifetime => {
            let promised = body.get("expires_in").and_then(Value::as_f64);
            let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or_default();
            let wanted = profile.algorithm.as_deref().unwrap_or("HS256");
            let exp = claims.get("exp").and_then(Value::as_f64);
            // The answer's own Date is the target's clock; without one the token's iat is as good.
            let issued_at = claims.get("iat").and_then(Value::as_f64);
            let life = match (exp, issued_at) {
                (Some(exp), Some(iat)) => Some(exp - iat),
                _ => None,
            };
            let expected = match promised {
                Some(seconds) => format!("alg {wanted}, alive for {seconds} s as expires_in says (within 5 s)"),
                None => format!("alg {wanted}, with an exp"),
            };
            let right = algorithm == wanted
                && match (promised, life) {
                    (Some(promised), Some(life)) => (promised - life).abs() <= 5.0,
                    _ => exp.is_some(),
                };
            let observed = match (life, exp) {
                (Some(life), _) => format!("alg {algorithm}, alive for {life:.0} s"),
                (None, Some(_)) => format!("alg {algorithm}, with an exp and no iat"),
                (None, None) => format!("alg {algorithm}, without exp"),
            };
            weight.holds(right, expected, observed)
        }
        Issued::Identity => {
            let names = &profile.identity_claims;
            let found = names
                .iter()
                .find(|name| claims.get(name.as_str()).and_then(Value::as_str).is_some_and(|value| !value.is_empty()));
            let observed: Vec<&str> = claims.keys().map(String::as_str).collect();
            let missing: Vec<&String> =
                profile.required_claims.iter().filter(|name| !claims.contains_key(name.as_str())).collect();
            weight.holds(
                found.is_some() && missing.is_empty(),
                format!("an identity in {}, and the claims the socket needs", names.join(" or ")),
                format!("claims {}", observed.join(", ")),
            )
        }
    }
}
