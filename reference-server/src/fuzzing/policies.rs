//! A token of parts, shown to a policy: the gate admits it exactly if a second reading of the same rules does.
//!
//! [`lawful`] is that second reading, written from the RFCs without the gate's code: `serde_json` for the JSON, aws-lc
//! directly for the signature.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::settings::{self, Setting, settings};
use super::token::Sketch;
use super::{NOW, has_shape};
use crate::fault::Fault;
use crate::gate::{Gate, Policy, Refusal};

/// The body of the target `policies`.
///
/// # Panics
///
/// Where the gate breaks a law: that is a finding.
pub fn policies(input: &[u8]) {
    let sketch = Sketch::of(input);
    let made = sketch.make(u64::from(NOW));
    keeps_the_laws(made.setting, &made.setting.gate, &made.token);
}

/// The gates of both targets with one fault: what the fuzzer is measured with.
#[derive(Debug)]
pub struct Faulty {
    gate: Gate,
    settings: Vec<Setting>,
}

impl Faulty {
    /// Makes them ready.
    pub fn new(fault: Fault) -> Self {
        Self { gate: Gate::new(super::policy(), Some(fault)), settings: settings(Some(fault)) }
    }

    /// As [`super::gate()`], with the fault.
    ///
    /// # Panics
    ///
    /// Where the fault shows.
    pub fn gate(&self, input: &[u8]) {
        super::keeps_the_laws(&self.gate, input);
    }

    /// As [`policies`], with the fault.
    ///
    /// # Panics
    ///
    /// Where the fault shows.
    pub fn policies(&self, input: &[u8]) {
        let sketch = Sketch::of(input);
        let made = sketch.make(u64::from(NOW));
        let place = usize::from(sketch.setting) % self.settings.len();
        keeps_the_laws(made.setting, &self.settings[place].gate, &made.token);
    }
}

fn keeps_the_laws(setting: &Setting, gate: &Gate, token: &[u8]) {
    let shown = || format!("{} by {}", token.escape_ascii(), setting.name);
    let lawful = lawful(&setting.policy, token, f64::from(NOW));
    match (gate.admit(token, f64::from(NOW)), lawful) {
        (Ok(bearer), Ok(lawful)) => {
            assert_eq!(bearer.identity, lawful.identity, "somebody else: {}", shown());
            assert_eq!(bearer.role, lawful.role, "another role: {}", shown());
            assert_eq!(bearer.expires_at, lawful.expires_at, "another end: {}", shown());
            assert_eq!(*bearer.claims, lawful.claims, "two readers see two tokens: {}", shown());
        }
        (Err(refusal), Err(_)) => {
            assert!(!matches!(refusal, Refusal::Internal(_)), "a gate without a fault failed: {}", shown());
            assert_eq!(token.is_empty(), refusal == Refusal::Missing, "missing is the name of the empty token");
        }
        (Ok(_), Err(why)) => panic!("admitted, though {why}: {}", shown()),
        (Err(refusal), Ok(_)) => panic!("refused as {refusal:?}: {}", shown()),
    }
}

/// Whom a right gate lets in.
struct Lawful {
    identity: String,
    role: Option<String>,
    expires_at: Option<f64>,
    claims: Map<String, Value>,
}

/// The rules of a policy, read a second time.
fn lawful(policy: &Policy, token: &[u8], now: f64) -> Result<Lawful, &'static str> {
    let ensure = |holds: bool, why: &'static str| if holds { Ok(()) } else { Err(why) };
    ensure(has_shape(token), "it has not the shape of a token")?;
    let mut segments = token.split(|&byte| byte == b'.');
    let mut segment = || {
        let segment = segments.next().unwrap_or_default();
        URL_SAFE_NO_PAD.decode(segment).map_err(|_| "a segment is no base64url")
    };
    let (header, payload, signature) = (segment()?, segment()?, segment()?);
    let header = object(&header).ok_or("the header is no JSON object")?;
    let claims = object(&payload).ok_or("the claims are no JSON object")?;

    // RFC 7515 §4.1.11, RFC 7797 §7, RFC 7519 §5.2.
    ensure(!header.contains_key("crit") && !header.contains_key("b64"), "an extension nobody understands")?;
    let cty = header.get("cty").and_then(Value::as_str).unwrap_or_default();
    ensure(!cty.eq_ignore_ascii_case("jwt"), "a token in a token")?;
    if let Some(wanted) = &policy.typ {
        let typ = header.get("typ").and_then(Value::as_str).ok_or("typ is missing")?.to_ascii_lowercase();
        ensure(typ.strip_prefix("application/").unwrap_or(&typ) == wanted, "typ is another")?;
    }
    let signed = &token[..token.iter().rposition(|&byte| byte == b'.').unwrap_or_default()];
    let issuer = signed_by(policy, &header, signed, &signature)?;

    let number = |name: &str| claims.get(name).and_then(Value::as_f64);
    let leeway = policy.leeway_s as f64;
    let exp = match claims.get("exp") {
        Some(exp) => Some(exp.as_f64().ok_or("exp is no number")?),
        None => ensure(!policy.require_exp, "exp is missing").map(|()| None)?,
    };
    ensure(exp.is_none_or(|exp| exp + leeway > now), "it has expired")?;
    let nbf = claims.get("nbf").map(|nbf| nbf.as_f64().ok_or("nbf is no number")).transpose()?;
    ensure(nbf.is_none_or(|nbf| nbf <= now + leeway), "it is not valid yet")?;
    if let Some(age) = policy.max_token_age_s {
        ensure(number("iat").is_some_and(|iat| now - iat <= age as f64 + leeway), "it is too old")?;
    }
    if let (Some(lifetime), Some(exp)) = (policy.max_token_lifetime_s, exp) {
        ensure(exp - number("iat").unwrap_or(now) <= lifetime as f64, "it lives too long")?;
    }
    if let Some(issuer) = issuer.or(policy.issuer.clone()) {
        ensure(claims.get("iss") == Some(&Value::String(issuer)), "iss is another")?;
    }
    if let Some(audience) = &policy.audience {
        let aud = match claims.get("aud") {
            Some(Value::Array(items)) => items.clone(),
            other => other.cloned().into_iter().collect(),
        };
        ensure(aud.iter().all(Value::is_string), "aud is no text")?;
        ensure(aud.iter().any(|aud| aud == audience.as_str()), "aud is another")?;
    }
    ensure(policy.required_claims.iter().all(|name| claims.contains_key(name)), "a claim is missing")?;
    let marker = &policy.refresh_marker;
    let marks = marker.iter().filter(|(name, value)| claims.get(*name) == Some(value)).count();
    ensure(marker.is_empty() || marks < marker.len(), "it is a refresh token")?;
    if let Some(scope) = &policy.required_scope {
        let granted = claims.get("scope").and_then(Value::as_str).unwrap_or_default();
        ensure(granted.split(' ').any(|word| word == scope), "the scope is not granted")?;
    }

    let named = policy.identity_claims.iter().find_map(|name| claims.get(name));
    let identity = match (named, &policy.identity_fallback) {
        (Some(Value::String(name)), _) if !name.is_empty() => name.clone(),
        (None, Some(fallback)) => fallback.clone(),
        _ => return Err("it names nobody"),
    };
    ensure(policy.directory.as_ref().is_none_or(|users| users.contains(&identity)), "nobody knows its bearer")?;
    let role = match &policy.roles {
        None => None,
        Some(roles) => {
            let role = match claims.get(&roles.claim) {
                None => &roles.default,
                Some(Value::String(role)) => role,
                Some(_) => return Err("the role is no text"),
            };
            ensure(roles.allowed.contains(role), "the role is not let in")?;
            Some(role.clone())
        }
    };
    Ok(Lawful { identity, role, expires_at: exp.map(|exp| exp + leeway), claims })
}

/// The issuer that the key vouches for which made the signature, where that is not the policy's own.
fn signed_by(
    policy: &Policy,
    header: &Map<String, Value>,
    signed: &[u8],
    signature: &[u8],
) -> Result<Option<String>, &'static str> {
    let alg = header.get("alg").and_then(Value::as_str).ok_or("alg is no text")?;
    let kid = header.get("kid").and_then(Value::as_str);
    let named = |other: &Option<String>| kid.is_some() && other.as_deref() == kid;
    if !policy.secret.is_empty() && alg == format!("{:?}", policy.algorithm) {
        let algorithm = match alg {
            "HS256" => hmac::HMAC_SHA256,
            "HS384" => hmac::HMAC_SHA384,
            "HS512" => hmac::HMAC_SHA512,
            _ => return Err("alg is none of a secret"),
        };
        let holds = hmac::verify(&hmac::Key::new(algorithm, &policy.secret), signed, signature).is_ok();
        return if holds { Ok(None) } else { Err("the MAC is another") };
    }
    let algorithm: &'static dyn VerificationAlgorithm = match alg {
        "ES256" => &ECDSA_P256_SHA256_FIXED,
        "EdDSA" => &ED25519,
        "RS256" => &RSA_PKCS1_2048_8192_SHA256,
        _ => return Err("alg is not trusted"),
    };
    let fitting = || policy.keys.iter().filter(|key| format!("{:?}", key.algorithm) == alg);
    let chosen = fitting().any(|key| named(&key.kid));
    fitting()
        .filter(|key| !chosen || named(&key.kid))
        .find(|key| {
            let bytes = settings::public_bytes(alg, key);
            UnparsedPublicKey::new(algorithm, bytes).verify(signed, signature).is_ok()
        })
        .map(|key| key.issuer.clone())
        .ok_or("the signature is another")
}

/// A JSON object without a member that is there twice.
pub(super) fn object(text: &[u8]) -> Option<Map<String, Value>> {
    let read: Value = serde_json::from_slice(text).ok()?;
    let Value::Object(members) = &read else { return None };
    // One colon outside of texts for each member that is written; each member that is read has another name.
    let mut inside = false;
    let mut escaped = false;
    let mut written = 0;
    for &byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = inside,
            b'"' => inside = !inside,
            b':' if !inside => written += 1,
            _ => {}
        }
    }
    (written == count(&read)).then(|| members.clone())
}

/// How many members a value has, at any depth.
fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(|member| 1 + count(member)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use proptest::prelude::*;

    use super::super::corpus;
    use super::super::strategies::any_sketch;
    use super::super::token::{Change, NAMES, Name, Signer, Value as V, WORDS};
    use super::*;

    fn name(text: &str) -> Name {
        match NAMES.iter().position(|name| *name == text) {
            Some(known) => Name::Known(known as u8),
            None => Name::Text(text.into()),
        }
    }

    fn word(text: &str) -> V {
        match WORDS.iter().position(|word| *word == text) {
            Some(known) => V::Word(known as u8),
            None => V::Text(text.into()),
        }
    }

    /// The seeds that follow from the code: every setting with its valid token, and one token for each kind of change.
    fn seeds() -> BTreeMap<String, Vec<u8>> {
        let claim = |n, v| Change::Claim(name(n), v);
        let header = |n, v| Change::Header(name(n), v);
        let mut seeds: BTreeMap<String, Sketch> = (0..Setting::count())
            .map(|choice| {
                (format!("valid-{}", Setting::of(choice).name.replace(' ', "-")), Sketch::new(choice, vec![]))
            })
            .collect();
        let mut add = |seed: &str, setting, changes: Vec<Change>| {
            seeds.insert(seed.to_owned(), Sketch::new(setting, changes));
        };
        add("alg-none", 0, vec![Change::Algorithm(6)]);
        add("alg-hs512", 0, vec![Change::Algorithm(2)]);
        add("alg-other-case", 0, vec![header("alg", word("hs256"))]);
        add("alg-missing", 0, vec![Change::NoHeader(name("alg"))]);
        add("alg-twice", 0, vec![Change::HeaderAgain(name("alg"), word("none"))]);
        add("alg-list", 0, vec![header("alg", V::List(vec![word("HS256")]))]);
        add("crit", 0, vec![header("crit", V::List(vec![word("exp")]))]);
        add("b64", 0, vec![header("b64", V::Odd(1))]);
        add("cty-jwt", 0, vec![header("cty", word("JWT"))]);
        add("cty-number", 0, vec![header("cty", V::Number(7))]);
        add("number-out-of-range", 4, vec![claim("x", V::Odd(7))]);
        add("typ-other", 1, vec![header("typ", word("JWT"))]);
        add("typ-long", 1, vec![header("typ", word("application/at+jwt"))]);
        add("kid-unknown", 1, vec![header("kid", word("partner"))]);
        add("kid-missing", 5, vec![Change::NoHeader(name("kid"))]);
        add("exp-now", 0, vec![claim("exp", V::Now(0))]);
        add("exp-past", 0, vec![claim("exp", V::Now(-30))]);
        add("exp-half", 0, vec![claim("exp", V::NowAndHalf(0))]);
        add("exp-text", 0, vec![claim("exp", V::NowText(300))]);
        add("exp-null", 0, vec![claim("exp", V::Odd(0))]);
        add("exp-huge", 0, vec![claim("exp", V::Raw("1e300".into()))]);
        add("exp-negative", 0, vec![claim("exp", V::Odd(6))]);
        add("exp-missing", 0, vec![Change::NoClaim(name("exp"))]);
        add("exp-missing-allowed", 3, vec![Change::NoClaim(name("exp"))]);
        add("exp-twice", 0, vec![Change::ClaimAgain(name("exp"), V::Now(-300))]);
        add("exp-other-case", 0, vec![Change::NoClaim(name("exp")), claim("EXP", V::Now(300))]);
        add("leeway-edge", 3, vec![claim("exp", V::Now(-30))]);
        add("leeway-within", 3, vec![claim("exp", V::Now(-29))]);
        add("nbf-later", 0, vec![claim("nbf", V::Now(1))]);
        add("nbf-now", 0, vec![claim("nbf", V::Now(0))]);
        add("nbf-text", 0, vec![claim("nbf", V::NowText(-60))]);
        add("iat-old", 1, vec![claim("iat", V::Now(-601))]);
        add("iat-missing", 1, vec![Change::NoClaim(name("iat"))]);
        add("lifetime", 1, vec![claim("exp", V::Now(3591))]);
        add("iss-other", 1, vec![claim("iss", word("https://issuer.example"))]);
        add("iss-missing", 1, vec![Change::NoClaim(name("iss"))]);
        add("iss-list", 1, vec![claim("iss", V::List(vec![word("https://issuer.example/")]))]);
        add("iss-other-case", 1, vec![claim("iss", word("HTTPS://ISSUER.EXAMPLE/"))]);
        add("aud-other", 1, vec![claim("aud", word("https://ws.example.evil"))]);
        add("aud-other-case", 1, vec![claim("aud", word("https://WS.example"))]);
        add("aud-missing", 1, vec![Change::NoClaim(name("aud"))]);
        add("aud-empty", 1, vec![claim("aud", word(""))]);
        add("aud-list", 1, vec![claim("aud", V::List(vec![word("x"), word("https://ws.example")]))]);
        add("aud-list-of-others", 1, vec![claim("aud", V::List(vec![word("x")]))]);
        add("aud-number", 1, vec![claim("aud", V::Number(7))]);
        add("scope-longer", 1, vec![claim("scope", word("ws:connection"))]);
        add("scope-two", 1, vec![claim("scope", word("ws:connect ws:other"))]);
        add("refresh", 1, vec![claim("token_use", word("refresh"))]);
        add("client-missing", 1, vec![Change::NoClaim(name("client_id"))]);
        add(
            "partner",
            2,
            vec![
                Change::Algorithm(4),
                Change::By(Signer::Partner),
                header("kid", word("partner")),
                claim("iss", word("https://partner.example/")),
            ],
        );
        add(
            "partner-for-issuer",
            2,
            vec![Change::Algorithm(4), Change::By(Signer::Partner), header("kid", word("partner"))],
        );
        add("key-confusion", 2, vec![Change::Algorithm(0), Change::By(Signer::PublicKey)]);
        add("key-confusion-rsa", 6, vec![Change::Algorithm(0), Change::By(Signer::PublicKey)]);
        add("stranger", 0, vec![Change::By(Signer::Stranger)]);
        add("retired", 4, vec![Change::By(Signer::Retired)]);
        add("empty-secret", 0, vec![Change::By(Signer::Empty)]);
        add("signature-short", 0, vec![Change::SignatureLength(16)]);
        add("signature-none", 0, vec![Change::SignatureLength(0)]);
        add("signature-long", 0, vec![Change::SignatureLength(33)]);
        add("signature-zeros", 2, vec![Change::SignatureFill(64, 0)]);
        add("signature-bit", 0, vec![Change::SignatureBit(255)]);
        add("sub-missing", 0, vec![Change::NoClaim(name("sub"))]);
        add("sub-empty", 0, vec![claim("sub", word(""))]);
        add("sub-number", 0, vec![claim("sub", V::Number(1))]);
        add("sub-unknown", 4, vec![claim("sub", word("bob"))]);
        add("sub-other-case", 4, vec![claim("sub", word("ALICE"))]);
        add("identity-fallback", 3, vec![Change::NoClaim(name("email")), Change::NoClaim(name("sub"))]);
        add("role-missing", 0, vec![Change::NoClaim(name("role"))]);
        add("role-other-case", 0, vec![claim("role", word("Admin"))]);
        add("role-space", 0, vec![claim("role", word("admin "))]);
        add("role-longer", 0, vec![claim("role", word("superadmin"))]);
        add("role-part", 0, vec![claim("role", word("adm"))]);
        add("role-list", 0, vec![claim("role", V::List(vec![word("admin")]))]);
        add("role-true", 0, vec![claim("role", V::Odd(2))]);
        add("role-unheard", 0, vec![claim("role", word("x"))]);
        add("roles-beside", 0, vec![claim("role", word("viewer")), claim("roles", V::List(vec![word("admin")]))]);
        add("header-text", 0, vec![Change::HeaderText(b"{\"alg\":\"HS256\"} ".to_vec())]);
        add("payload-text", 0, vec![Change::PayloadText(b"{\"sub\":\"alice\",}".to_vec())]);
        add("payload-latin-1", 0, vec![claim("x", V::Text(vec![0xe9]))]);
        add("payload-unicode", 0, vec![claim("x", word("e\u{301}"))]);
        add("replaced", 0, vec![Change::Replace(40, b'A')]);
        add("replaced-signed", 0, vec![Change::ReplaceSigned(40, b'A')]);
        add("inserted", 0, vec![Change::Insert(9, b'.')]);
        add("removed", 0, vec![Change::Remove(9)]);
        for how in 0..6 {
            add(&format!("respelled-{how}"), 0, vec![Change::Respell(how % 3, how)]);
        }
        for how in 0..8 {
            add(&format!("reshaped-{how}"), 0, vec![Change::Reshape(how)]);
        }
        seeds.into_iter().map(|(name, sketch)| (name, sketch.to_bytes())).collect()
    }

    #[test]
    fn the_seeds_are_in_the_folder() {
        corpus::holds("policies", seeds());
    }

    #[test]
    #[ignore = "writes the seeds of fuzz/corpus/policies"]
    fn write_seeds() {
        corpus::write("policies", seeds());
    }

    #[test]
    fn every_input_of_the_corpus_keeps_the_laws() {
        corpus::replay("policies", policies);
    }

    #[test]
    fn the_valid_token_of_every_setting_is_admitted() {
        for choice in 0..Setting::count() {
            let made = Sketch::new(choice, Vec::new()).make(u64::from(NOW));
            assert!(made.setting.admits(&made.token, f64::from(NOW)), "{}", made.setting.name);
        }
    }

    /// The laws have teeth: most ways in which a gate alone can be wrong break one on a seed.
    #[test]
    fn a_faulty_gate_is_found_out_by_a_seed() {
        let inputs: Vec<Vec<u8>> = seeds().into_values().collect();
        let found_out = |fault: &&Fault| {
            let faulty = Faulty::new(**fault);
            let breaks = |input: &Vec<u8>| catch_unwind(AssertUnwindSafe(|| faulty.policies(input))).is_err();
            inputs.iter().any(breaks)
        };
        let caught: Vec<_> = Fault::ALL.iter().filter(found_out).collect();
        assert!(caught.len() >= 85, "only {}: {caught:?}", caught.len());
    }

    #[test]
    fn the_second_reading_knows_a_repeated_member() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":[{"b":1,"\u0062":2}]}"#, r#"{"a:":{":":"\":"},"a:":1}"#] {
            assert!(serde_json::from_str::<Value>(text).is_ok() && object(text.as_bytes()).is_none(), "{text}");
        }
        for text in ["{}", r#"{"a":":","b":{"a":":\\"}}"#] {
            assert!(object(text.as_bytes()).is_some(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_sketch_keeps_the_laws(sketch in any_sketch()) {
            policies(&sketch.to_bytes());
        }

        #[test]
        fn any_input_keeps_the_laws(input in prop::collection::vec(any::<u8>(), 0..100)) {
            policies(&input);
        }
    }
}
