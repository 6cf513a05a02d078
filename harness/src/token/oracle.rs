//! The oracle: the bytes of a token in, what a correct verifier does with them out. It has three answers,
//! because the standards leave choices: refuse dominates either, either dominates accept. It is total, judges
//! the bytes as sent, and knows nothing of how a token was made.

use std::fmt;

use serde::Serialize;

use super::interpolate::UNDECLARED_LEEWAY;
use super::json::{Json, Number, Object};
use super::mint::RolePlace;
use super::rules::{Rules, TypRule};
use super::verify::{Acceptable, Parsed, judge_jws, object};

/// What a correct verifier does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It admits the token.
    Accept,
    /// It may do either.
    Either,
    /// It must not admit the token.
    Refuse,
}

/// One observation that moves the answer away from acceptance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The answer that it allows at most.
    pub answer: Answer,
    /// The key of the sentence in the register that it rests on.
    pub source: &'static str,
    /// What was seen.
    pub text: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.text)
    }
}

/// The verdict on one token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// What a correct verifier does.
    pub answer: Answer,
    /// When either is allowed, refusing is what the standards recommend.
    pub should_refuse: bool,
    /// Why; empty exactly when the answer is to accept.
    pub reasons: Vec<Reason>,
}

/// Reasons as they are collected.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) reasons: Vec<Reason>,
    should_refuse: bool,
}

impl Findings {
    fn add(&mut self, answer: Answer, source: &'static str, text: String) {
        self.reasons.push(Reason { answer, source, text });
    }

    pub(crate) fn refuse(&mut self, source: &'static str, text: String) {
        self.add(Answer::Refuse, source, text);
    }

    pub(crate) fn either(&mut self, source: &'static str, text: String) {
        self.add(Answer::Either, source, text);
    }

    pub(crate) fn should_refuse(&mut self, source: &'static str, text: String) {
        self.should_refuse = true;
        self.add(Answer::Either, source, text);
    }

    pub(crate) fn answer(&self) -> Answer {
        self.reasons.iter().map(|reason| reason.answer).max().unwrap_or(Answer::Accept)
    }
}

/// 10000-01-01: from here on calendar types fail, so either answer is right.
const END_OF_CALENDAR: f64 = 253_402_300_800.0;

/// Judges the bytes of a token.
///
/// `now` is the target's clock in seconds since 1970, `skew_s` how far ours may be from it.
#[must_use]
pub fn oracle(text: &[u8], rules: &Rules, now: f64, skew_s: f64) -> Judgement {
    let mut findings = Findings::default();
    let acceptable = match &rules.algorithms {
        Some(declared) => Acceptable::Declared(declared),
        None => Acceptable::Natural(rules.algorithm),
    };
    if let Some(verified) = judge_jws(text, &rules.keys, acceptable, &mut findings) {
        judge_typ(&verified.header, rules, &mut findings);
        if let Parsed::Object(claims) = object("payload", "T02", &verified.payload, &mut findings) {
            let is_jwt = |text: &str| text.eq_ignore_ascii_case("jwt") || text.eq_ignore_ascii_case("application/jwt");
            if matches!(verified.header.get("cty"), Some(Json::Text(text)) if is_jwt(text)) {
                findings.either("T11", "cty says that the payload is a token, but it is an object".into());
            }
            let clock = Clock { now, skew: skew_s, leeway: rules.leeway.unwrap_or(UNDECLARED_LEEWAY) };
            judge_claims(&claims, rules, &clock, &mut findings);
            judge_issuer(&claims, rules, &verified.issuers, &mut findings);
        }
    }
    let answer = findings.answer();
    Judgement { answer, should_refuse: answer == Answer::Either && findings.should_refuse, reasons: findings.reasons }
}

struct Clock {
    now: f64,
    skew: f64,
    leeway: f64,
}

fn judge_claims(claims: &Object, rules: &Rules, clock: &Clock, findings: &mut Findings) {
    judge_exp(claims, rules, clock, findings);
    judge_nbf(claims, clock, findings);
    judge_iat(claims, rules, clock, findings);
    judge_audience(claims, rules, findings);
    judge_identity(claims, rules, findings);
    judge_roles(claims, rules, findings);
    for name in &rules.required_claims {
        if claims.get(name).is_none() {
            findings.refuse("T03", format!("the required claim {name} is missing"));
        }
    }
    if rules.typ == TypRule::Rfc9068 {
        // §2.2 binds the issuer to all of them, §4 the service to look at three.
        for name in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"]
            .into_iter()
            .filter(|name| claims.get(name).is_none())
        {
            let text = format!("the claim {name} of RFC 9068 is missing");
            match name {
                "iss" | "exp" | "aud" => findings.refuse("P03", text),
                _ => findings.should_refuse("P03", text),
            }
        }
    }
    match claims.get("jti") {
        Some(Json::Text(_)) => {}
        None if !rules.single_use => {}
        _ if rules.single_use => findings.should_refuse("T09", "no jti tells this token from others".into()),
        _ => findings.either("T09", "jti is not a string".into()),
    }
    let marker = &rules.refresh_marker;
    if !marker.is_empty() && marker.iter().all(|(name, value)| claims.get(name).is_some_and(|found| found.is(value))) {
        findings.refuse("B10", "the claims are those of a refresh token".into());
    }
    if let Some(scope) = &rules.required_scope {
        match claims.get("scope") {
            Some(Json::Text(text)) if text.split(' ').any(|word| word == scope) => {}
            // RFC 8693 §4.2 has one text, but some issuers write a list and some verifiers read it.
            Some(Json::Array(words)) if words.iter().any(|word| matches!(word, Json::Text(word) if word == scope)) => {
                findings.should_refuse("V11", "scope is a list".into());
            }
            _ => findings.refuse("V11", format!("the scope {scope:?} is not granted")),
        }
    }
}

/// A claim of the wrong type as a lenient language would read it as a number.
fn coerce(value: &Json) -> Option<f64> {
    match value {
        Json::Text(text) => {
            let text = text.trim();
            // What `int()` and `float()` read; words such as `inf` do not count as dates.
            let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            if numeric { text.parse().ok() } else { None }
        }
        Json::Bool(value) => Some(f64::from(u8::from(*value))),
        Json::Array(items) if items.len() == 1 => match &items[0] {
            Json::Number(number) => Some(number.value),
            other => coerce(other),
        },
        Json::Number(number) => Some(number.value),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// Beyond calendars, or beyond the integers that every language holds exactly.
fn mark_magnitude(name: &str, number: &Number, findings: &mut Findings) {
    if number.value.abs() >= END_OF_CALENDAR {
        let shown: String = number.text.chars().take(40).collect();
        findings.either("E04", format!("{name} {shown} is beyond what calendars and integers hold"));
    }
}

fn judge_exp(claims: &Object, rules: &Rules, clock: &Clock, findings: &mut Findings) {
    match claims.get("exp") {
        Some(Json::Number(number)) => {
            if number.value <= clock.now - clock.leeway - clock.skew {
                findings.refuse("T04", format!("exp {} is past", number.value));
            } else if number.value <= clock.now + clock.skew {
                findings.either("T04", "exp is within the leeway".into());
            }
            mark_magnitude("exp", number, findings);
            if let Some(lifetime) = rules.max_token_lifetime {
                let from = match claims.get("iat") {
                    Some(Json::Number(iat)) => iat.value,
                    _ => clock.now,
                };
                if number.value - from > lifetime + clock.leeway + clock.skew {
                    findings.refuse("M06", "exp lies beyond the declared lifetime".into());
                } else if number.value - from > lifetime {
                    findings.either("M06", "exp lies at the edge of the declared lifetime".into());
                }
            }
        }
        None => match rules.require_exp {
            Some(true) => findings.refuse("T04", "exp is missing".into()),
            Some(false) => {}
            None => findings.should_refuse("T04", "exp is missing".into()),
        },
        // Where exp is optional, null may be read as absent.
        Some(Json::Null) if rules.require_exp != Some(true) => {
            findings.should_refuse("T04", "exp is null".into());
        }
        Some(other) => match coerce(other) {
            Some(value) if value > clock.now + clock.skew => {
                findings.should_refuse("T04", "exp has the wrong type but reads as a future time".into());
            }
            _ => findings.refuse("T04", "exp is not a number".into()),
        },
    }
}

fn judge_nbf(claims: &Object, clock: &Clock, findings: &mut Findings) {
    match claims.get("nbf") {
        None => {}
        Some(Json::Number(number)) => {
            if number.value > clock.now + clock.leeway + clock.skew {
                findings.refuse("T05", "nbf is in the future".into());
            } else if number.value > clock.now - clock.skew {
                findings.either("T05", "nbf is within the leeway".into());
            }
            // A number, but unsigned types cannot hold it: a widespread library refuses the whole token.
            if number.value < 0.0 {
                findings.either("T12", "nbf is before 1970".into());
            }
            mark_magnitude("nbf", number, findings);
        }
        Some(other) => match coerce(other) {
            Some(value) if value > clock.now + clock.leeway + clock.skew => {
                findings.should_refuse("T05", "nbf has the wrong type but reads as a future time".into());
            }
            _ => findings.either("T05", "nbf is not a number".into()),
        },
    }
}

fn judge_iat(claims: &Object, rules: &Rules, clock: &Clock, findings: &mut Findings) {
    let age = match claims.get("iat") {
        Some(Json::Number(number)) => {
            if number.value > clock.now + clock.skew {
                findings.either("T06", "iat is in the future".into());
            } else if number.value < 0.0 {
                findings.either("T06", "iat is before 1970".into());
            }
            mark_magnitude("iat", number, findings);
            Some(clock.now - number.value)
        }
        Some(_) => {
            findings.either("T06", "iat is not a number".into());
            None
        }
        None => None,
    };
    match (rules.max_token_age, age) {
        (None, _) => {}
        (Some(_), None) => findings.either("M06", "the age of the token is unknown".into()),
        (Some(limit), Some(age)) if age > limit + clock.leeway + clock.skew => {
            findings.refuse("M06", "the token is older than declared".into());
        }
        (Some(limit), Some(age)) if age > limit - clock.skew => {
            findings.either("M06", "the age of the token is at the declared limit".into());
        }
        (Some(_), Some(_)) => {}
    }
}

fn judge_audience(claims: &Object, rules: &Rules, findings: &mut Findings) {
    match (&rules.audience, claims.get("aud")) {
        (None, None) => {}
        (None, Some(_)) => findings.either("T07", "aud is present, but the target declares none".into()),
        (Some(_), None) => findings.refuse("B07", "aud is missing".into()),
        (Some(own), Some(Json::Text(text))) if text == own => {}
        (Some(own), Some(Json::Array(items)))
            if items.iter().any(|item| matches!(item, Json::Text(text) if text == own)) =>
        {
            if items.iter().any(|item| !matches!(item, Json::Text(_))) {
                findings.either("T07", "aud names the target beside something that is no string".into());
            }
        }
        (Some(_), Some(_)) => findings.refuse("T07", "aud does not name the target".into()),
    }
}

/// `keys` are the issuers of the keys that verify the token; none stands for the target's own.
fn judge_issuer(claims: &Object, rules: &Rules, keys: &[Option<String>], findings: &mut Findings) {
    // Where no key verifies, the token is refused already.
    let own = [None];
    let keys = if keys.is_empty() { &own[..] } else { keys };
    let wanted: Vec<Option<&String>> = keys.iter().map(|key| key.as_ref().or(rules.issuer.as_ref())).collect();
    let is_free = wanted.contains(&None);
    match claims.get("iss") {
        None if is_free => {}
        Some(Json::Text(text)) if wanted.contains(&Some(text)) => {}
        Some(_) if is_free => findings.either("T08", "iss is present, but the target declares none".into()),
        // Refusing is only recommended where nothing but the issuer's absence speaks against the token.
        None if rules.typ != TypRule::Rfc9068 && !rules.required_claims.iter().any(|name| name == "iss") => {
            findings.should_refuse("P03", "iss is missing".into());
        }
        // RFC 7519 §4.1.1 makes iss a string, but widespread libraries take a list.
        Some(Json::Array(names))
            if names.iter().any(|name| matches!(name, Json::Text(name) if wanted.contains(&Some(name)))) =>
        {
            findings.should_refuse("T08", "iss is a list with the declared issuer in it".into());
        }
        _ => findings.refuse("B06", "iss is not the declared issuer".into()),
    }
}

/// Media types compare without case, and `application/` may be left out (RFC 7515 §4.1.9).
fn same_media_type(a: &str, b: &str) -> bool {
    let bare = |text: &str| {
        let lower = text.to_ascii_lowercase();
        match lower.strip_prefix("application/") {
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            _ => lower,
        }
    };
    bare(a) == bare(b)
}

fn judge_typ(header: &Object, rules: &Rules, findings: &mut Findings) {
    let expected = match &rules.typ {
        TypRule::Ignored => {
            let usual = match header.get("typ") {
                None => true,
                Some(Json::Text(text)) => same_media_type(text, "JWT"),
                Some(_) => false,
            };
            if !usual {
                findings.either("T10", "typ is not JWT".into());
            }
            return;
        }
        TypRule::Rfc9068 => "at+jwt",
        TypRule::Exactly(typ) => typ,
    };
    if !matches!(header.get("typ"), Some(Json::Text(text)) if same_media_type(text, expected)) {
        findings.refuse("P01", format!("typ is not {expected}"));
    }
}

/// Claims that commonly identify a user, for targets that do not say which one does.
pub(crate) const USUAL_IDENTITY: [&str; 5] = ["sub", "user_id", "username", "email", "name"];

fn judge_identity(claims: &Object, rules: &Rules, findings: &mut Findings) {
    let declared: Vec<&str> = rules.identity.claims.iter().map(String::as_str).collect();
    let names = if declared.is_empty() { &USUAL_IDENTITY[..] } else { &declared };
    let found = names.iter().find_map(|name| claims.get(name).map(|value| (*name, value)));
    match found {
        Some((name, Json::Text(text))) if !text.is_empty() => {
            if text.chars().any(char::is_control) || text.contains(char::REPLACEMENT_CHARACTER) {
                findings.either("E05", format!("the identity in {name} holds characters that names do not hold"));
            }
        }
        _ if rules.identity.required => {
            findings.refuse("S2", "no claim identifies the user by a non-empty string".into());
        }
        _ => findings.either("S2", "no claim identifies the user by a non-empty string".into()),
    }
    if let (Some(known), Some((name, Json::Text(text)))) = (&rules.known_bearer, found)
        && text != known
    {
        findings.either("B06", format!("whether the bearer in {name} is known is the target's to say"));
    }
    for name in USUAL_IDENTITY {
        let odd = match claims.get(name) {
            None => false,
            Some(Json::Text(text)) => text.is_empty() && declared.is_empty(),
            // RFC 7519 §4.1.2 makes sub a string; about the others nothing is said unless the target says it.
            Some(_) => name == "sub" || declared.is_empty(),
        };
        if odd {
            findings.either("T08", format!("{name} is not a non-empty string"));
        }
    }
}

fn judge_roles(claims: &Object, rules: &Rules, findings: &mut Findings) {
    let Some(roles) = &rules.roles else { return };
    let place = RolePlace::new(&roles.claim, roles.list);
    let inner = |value: Option<&'_ Json>, name: &String| match value {
        Some(Json::Object(object)) => object.get(name).cloned(),
        _ => None,
    };
    let found =
        place.path().iter().skip(1).fold(claims.get(place.name()).cloned(), |value, name| inner(value.as_ref(), name));
    let is_served = match found {
        Some(Json::Text(role)) if roles.list && roles.allowed.contains(&role) => {
            findings.either("S4", format!("{} is one role, and no list", roles.claim));
            true
        }
        Some(Json::Text(role)) => roles.allowed.contains(&role),
        Some(Json::Array(all)) if roles.list => {
            all.iter().any(|role| matches!(role, Json::Text(role) if roles.allowed.contains(role)))
        }
        None => roles.default.as_ref().is_some_and(|role| roles.allowed.contains(role)),
        Some(_) => false,
    };
    if !is_served {
        findings.refuse("S4", format!("the role in {} is not among the served ones", roles.claim));
    }
}
