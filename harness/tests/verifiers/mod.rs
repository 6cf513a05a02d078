//! Four verifiers, one answer: the reference server's gate, the oracle, jsonwebtoken, and jwt-compact, which shares no
//! code with any of them and brings its own cryptography.
//!
//! Wherever the standards leave no choice, that is wherever the oracle does not answer `either`, all four must agree.
//! Where a library is known to differ, the difference is an entry of `differences`. The body of the fuzz target
//! `differential` is here, because only a test may link the harness and the server.

pub(crate) mod differences;

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatecrash::token::{
    Algorithm, Answer, IdentityRule, Judgement, Keyring, RoleRule, Rules, TypRule, VerifyKey, oracle,
};
use gatecrash_reference_server::fuzzing::{Setting, Sketch};
use gatecrash_reference_server::gate::{Policy, TrustedKey};
use jsonwebtoken::{DecodingKey, Validation};
use jwt_compact::alg::{Ed25519, Es256, Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key};
use jwt_compact::jwk::JsonWebKey;
use jwt_compact::{Algorithm as Scheme, AlgorithmExt as _, Claims, TimeOptions, UntrustedToken};
use serde_json::{Map, Value};

use differences::{Difference, Does, Who};

/// How far the clocks that one token meets may be apart, in seconds: jsonwebtoken asks the system, in whole seconds.
const SKEW_S: f64 = 2.0;

/// The body of the target `differential`: a token in parts.
///
/// # Panics
///
/// Where two verifiers differ and no entry says why.
pub(crate) fn differential(input: &[u8]) {
    let sketch = Sketch::of(input);
    let (unknown, _) = compare(&sketch);
    assert!(unknown.is_empty(), "{sketch:?}\n{}", unknown.join("\n"));
}

/// Compares the four on one token: the differences that no entry explains, and the entries that were needed.
pub(crate) fn compare(sketch: &Sketch) -> (Vec<String>, Vec<&'static Difference>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let made = sketch.make(now as u64);
    judge(made.setting, &made.token, now)
}

/// Compares the four on the bytes of a token, at `now` in seconds since 1970.
pub(crate) fn judge(setting: &Setting, token: &[u8], now: f64) -> (Vec<String>, Vec<&'static Difference>) {
    let mut findings = Findings { token, setting, unknown: Vec::new(), known: Vec::new() };
    let (of_the_gate, of_libraries) = judgements(setting, token, now);
    let gate = if setting.admits(token, now) { Ok(()) } else { Err(String::new()) };
    findings.hold(Who::Gate, &of_the_gate, gate);
    findings.hold(Who::Jsonwebtoken, &of_libraries, by_jsonwebtoken(&setting.policy, token));
    // jwt-compact has RSA only with the crate that `.ci/run dependencies` bans.
    if setting.name != "RS256" {
        findings.hold(Who::JwtCompact, &of_libraries, by_jwt_compact(&setting.policy, token, now));
    }
    (findings.unknown, findings.known)
}

/// What the oracle says of a token: as the gate has to take it, and as the libraries have to.
pub(crate) fn judgements(setting: &Setting, token: &[u8], now: f64) -> (Judgement, Judgement) {
    let rules = rules(&setting.policy);
    let of_the_gate = oracle(token, &rules, now, SKEW_S);
    // What the libraries leave to their users is left out for them: they verify a signature, times and parties. They look
    // at no typ either: the one that is asked for is as good as none, and any other leaves the choice it leaves everywhere.
    let other_typ = of_the_gate.reasons.iter().any(|reason| reason.source == "P01");
    let rules = Rules {
        roles: None,
        identity: IdentityRule::default(),
        known_bearer: None,
        typ: if other_typ { TypRule::Ignored } else { rules.typ },
        required_claims: Vec::new(),
        max_token_age: None,
        max_token_lifetime: None,
        required_scope: None,
        refresh_marker: Map::new(),
        ..rules
    };
    (of_the_gate, oracle(token, &rules, now, SKEW_S))
}

struct Findings<'t> {
    token: &'t [u8],
    setting: &'t Setting,
    unknown: Vec<String>,
    known: Vec<&'static Difference>,
}

impl Findings<'_> {
    /// The header, as far as it can be read.
    fn header(&self) -> Value {
        let first = self.token.split(|byte| *byte == b'.').next().unwrap_or_default();
        let bytes = URL_SAFE_NO_PAD.decode(first).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn hold(&mut self, who: Who, judgement: &Judgement, theirs: Result<(), String>) {
        let refusals: Vec<_> = judgement.reasons.iter().filter(|reason| reason.answer == Answer::Refuse).collect();
        // Read where an entry asks for it: most tokens make no difference.
        let has = |member: Option<&str>| member.is_none_or(|member| self.header().get(member).is_some());
        let entries = |does| {
            let has = &has;
            differences::ALL.iter().filter(move |entry| entry.who == who && entry.does == does && has(entry.only_with))
        };
        let found: Option<Vec<&'static Difference>> = match (judgement.answer, &theirs) {
            (Answer::Accept, Err(error)) => {
                entries(Does::Refuse).find(|entry| error.contains(entry.because)).map(|entry| vec![entry])
            }
            // With one reason that no entry knows, the token had to be refused for that.
            (Answer::Refuse, Ok(())) => refusals
                .iter()
                .map(|reason| entries(Does::Admit).find(|entry| entry.because == reason.source))
                .collect(),
            _ => return,
        };
        if found.is_none() {
            self.unknown.push(format!(
                "{} by {}: the oracle says {:?} ({:?}), {who:?} says {theirs:?}",
                self.token.escape_ascii(),
                self.setting.name,
                judgement.answer,
                judgement.reasons
            ));
        }
        self.known.extend(found.into_iter().flatten());
    }
}

/// What the oracle is told of a policy.
fn rules(policy: &Policy) -> Rules {
    let named = |algorithm| Algorithm::from_name(&format!("{algorithm:?}")).expect("an algorithm of both");
    let mut keys = Vec::new();
    let mut algorithms = Vec::new();
    let mut trust =
        |keyring: Keyring, algorithm: jsonwebtoken::Algorithm, kid: &Option<String>, issuer: &Option<String>| {
            for mut key in VerifyKey::of_keyring(&keyring) {
                key.algorithms = vec![named(algorithm)];
                key.kid.clone_from(kid);
                key.issuer.clone_from(issuer);
                keys.push(key);
            }
            algorithms.push(named(algorithm));
        };
    if !policy.secret.is_empty() {
        trust(Keyring::new().with_secret(policy.secret.clone()), policy.algorithm, &policy.kid, &None);
    }
    for key in &policy.keys {
        let keyring = Keyring::new().with_public_key(key.pem.as_bytes()).expect("a key");
        trust(keyring, key.algorithm, &key.kid, &key.issuer);
    }
    let seconds = |value: Option<u64>| value.map(|seconds| seconds as f64);
    let natural = algorithms[0];
    Rules {
        keys,
        algorithms: Some(algorithms),
        leeway: Some(policy.leeway_s as f64),
        require_exp: Some(policy.require_exp),
        max_token_age: seconds(policy.max_token_age_s),
        max_token_lifetime: seconds(policy.max_token_lifetime_s),
        audience: policy.audience.clone(),
        issuer: policy.issuer.clone(),
        typ: policy.typ.clone().map_or(TypRule::Ignored, TypRule::Exactly),
        required_claims: policy.required_claims.clone(),
        identity: IdentityRule { claims: policy.identity_claims.clone(), required: policy.identity_fallback.is_none() },
        roles: policy.roles.as_ref().map(|roles| RoleRule {
            claim: roles.claim.clone(),
            list: roles.list,
            allowed: roles.allowed.clone(),
            default: Some(roles.default.clone()),
        }),
        required_scope: policy.required_scope.clone(),
        refresh_marker: policy.refresh_marker.clone(),
        known_bearer: policy.directory.as_ref().and_then(|users| users.iter().next().cloned()),
        ..Rules::new(&Keyring::new(), natural)
    }
}

/// jsonwebtoken, told to be as strict as it can be, under each key of the policy in turn.
fn by_jsonwebtoken(policy: &Policy, token: &[u8]) -> Result<(), String> {
    let under = |key: &DecodingKey, algorithm, issuer: Option<&String>| {
        let mut validation = Validation::new(algorithm);
        validation.leeway = policy.leeway_s;
        validation.validate_nbf = true;
        validation.validate_aud = policy.audience.is_some();
        validation.aud = policy.audience.clone().map(|aud| [aud].into());
        validation.iss = issuer.map(|iss| [iss.clone()].into());
        let needed = [(policy.require_exp, "exp"), (validation.validate_aud, "aud"), (issuer.is_some(), "iss")];
        validation.set_required_spec_claims(
            &needed.iter().filter(|(needed, _)| *needed).map(|(_, name)| *name).collect::<Vec<_>>(),
        );
        // Into a map, as a careful user would, so that a payload that is no object is refused.
        jsonwebtoken::decode::<Map<String, Value>>(token, key, &validation)
            .map(drop)
            .map_err(|error| format!("{error:?}"))
    };
    let mut last = Err("no key".to_owned());
    if !policy.secret.is_empty() {
        last = under(&DecodingKey::from_secret(&policy.secret), policy.algorithm, policy.issuer.as_ref());
    }
    for key in &policy.keys {
        let pem = key.pem.as_bytes();
        let decoding = match key.algorithm {
            jsonwebtoken::Algorithm::ES256 => DecodingKey::from_ec_pem(pem),
            jsonwebtoken::Algorithm::EdDSA => DecodingKey::from_ed_pem(pem),
            _ => DecodingKey::from_rsa_pem(pem),
        };
        let answer = under(&decoding.expect("a key"), key.algorithm, key.issuer.as_ref().or(policy.issuer.as_ref()));
        last = either(last, answer);
    }
    last
}

/// The answers under two keys: one that admits is enough, and else both errors count.
fn either(one: Result<(), String>, other: Result<(), String>) -> Result<(), String> {
    match (one, other) {
        (Err(one), Err(other)) => Err(format!("{one}, {other}")),
        _ => Ok(()),
    }
}

type Read = Claims<Map<String, Value>>;

/// jwt-compact, by a user who asks everything it offers, and looks at `iss` and `aud`, which it leaves to its users.
fn by_jwt_compact(policy: &Policy, token: &[u8], now: f64) -> Result<(), String> {
    let text = str::from_utf8(token).map_err(|error| error.to_string())?;
    let parsed = UntrustedToken::new(text).map_err(|error| format!("{error:?}"))?;
    let mut last = Err("no key".to_owned());
    if !policy.secret.is_empty() {
        let secret = &policy.secret;
        let claims = match policy.algorithm {
            jsonwebtoken::Algorithm::HS256 => Hs256.validator(&Hs256Key::new(secret)).validate(&parsed),
            jsonwebtoken::Algorithm::HS384 => Hs384.validator(&Hs384Key::new(secret)).validate(&parsed),
            _ => Hs512.validator(&Hs512Key::new(secret)).validate(&parsed),
        };
        let claims = claims.map_err(|error| format!("{error:?}"));
        last = claims.and_then(|token| believed(policy, None, token.claims(), now));
    }
    for key in &policy.keys {
        let claims = match key.algorithm {
            jsonwebtoken::Algorithm::ES256 => Es256.validator(&public(&Es256, key)).validate(&parsed),
            _ => Ed25519.validator(&public(&Ed25519, key)).validate(&parsed),
        };
        let claims = claims.map_err(|error| format!("{error:?}"));
        let answer = claims.and_then(|token| believed(policy, key.issuer.as_ref(), token.claims(), now));
        last = either(last, answer);
    }
    last
}

fn believed(policy: &Policy, issuer: Option<&String>, claims: &Read, now: f64) -> Result<(), String> {
    let at = chrono::DateTime::from_timestamp(now as i64, 0).expect("a time");
    let options = TimeOptions::new(chrono::Duration::seconds(policy.leeway_s as i64), move || at);
    if policy.require_exp || claims.expiration.is_some() {
        claims.validate_expiration(&options).map_err(|error| format!("{error:?}"))?;
    }
    if claims.not_before.is_some() {
        claims.validate_maturity(&options).map_err(|error| format!("{error:?}"))?;
    }
    if let Some(issuer) = issuer.or(policy.issuer.as_ref())
        && claims.custom.get("iss") != Some(&Value::String(issuer.clone()))
    {
        return Err("iss is another".to_owned());
    }
    if let Some(audience) = &policy.audience {
        let meant = match claims.custom.get("aud") {
            Some(Value::Array(items)) => items.iter().any(|item| item == audience),
            other => other.is_some_and(|aud| aud == audience),
        };
        if !meant {
            return Err("aud is another".to_owned());
        }
    }
    Ok(())
}

/// The key as a verifier of this kind has it.
fn public<A: Scheme>(_: &A, key: &TrustedKey) -> A::VerifyingKey
where
    A::VerifyingKey: for<'k> TryFrom<&'k JsonWebKey<'k>, Error: std::fmt::Debug>,
{
    let mut jwk = key.jwk().expect("a public key");
    // Of these it knows no names.
    for name in ["alg", "use", "kid"] {
        jwk.as_object_mut().expect("an object").remove(name);
    }
    let jwk: JsonWebKey<'_> = serde_json::from_value(jwk).expect("a JWK");
    A::VerifyingKey::try_from(&jwk).expect("a key")
}

#[cfg(test)]
mod tests {
    use gatecrash::token::Reason;

    use super::*;

    /// The same answers on a token whose header has none of the members are news.
    #[test]
    fn a_known_difference_excuses_nothing_without_its_member() {
        for entry in differences::ALL.iter().filter(|entry| entry.only_with.is_some()) {
            let with = (entry.witness)().make(1_800_000_000);
            let without = Sketch::new(0, Vec::new()).make(1_800_000_000);
            let refusal = Reason { answer: Answer::Refuse, source: entry.because, text: String::new() };
            let (answer, reasons, theirs) = match entry.does {
                Does::Admit => (Answer::Refuse, vec![refusal], Ok(())),
                Does::Refuse => (Answer::Accept, Vec::new(), Err(entry.because.to_owned())),
            };
            let judgement = Judgement { answer, should_refuse: false, reasons };
            for (made, news) in [(with, 0), (without, 1)] {
                let mut findings =
                    Findings { token: &made.token, setting: made.setting, unknown: Vec::new(), known: Vec::new() };
                findings.hold(entry.who, &judgement, theirs.clone());
                assert_eq!(findings.unknown.len(), news, "{:?} {:?}", entry.because, findings.unknown);
            }
        }
    }
}
