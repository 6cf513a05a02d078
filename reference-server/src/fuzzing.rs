//! What the fuzzer calls, as functions that stable tests call too.
//!
//! A target hands over bytes; a body here asks the gate and panics where the answer breaks a law. The laws are held
//! against checks written a second time, so that one mistake does not hide the other: the tokens are cut, encoded and
//! signed without the gate's own code.
//!
//! Raw bytes never get past the signature, so the first byte chooses how far in the input starts. None of the two
//! choosing bytes can begin a token.

mod carriers;
#[cfg(test)]
mod corpus;
mod messages;
mod opening;
mod pipe;
mod policies;
mod session;
mod settings;
#[cfg(test)]
mod strategies;
mod token;

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::gate::{Bearer, Gate, Policy, Refusal, RolePolicy};

pub use carriers::carriers;
pub use messages::messages;
pub use opening::{opening, opening_over_tcp};
pub use policies::{Faulty, policies};
pub use session::session;
pub use settings::Setting;
pub use token::{ALGORITHMS, Change, Made, NAMES, Name, Signer, Sketch, Value as MemberValue, WORDS};

/// The time of every decision, in seconds since 1970.
const NOW: u32 = 1_800_000_000;
const SECRET: &[u8] = b"a secret that only the fuzzer has";
const HEADER: &[u8] = br#"{"alg":"HS256","typ":"JWT"}"#;
const CLAIMS: &[u8] = br#"{"sub":"alice","role":"admin","exp":1800000300}"#;
const ROLES: [&str; 2] = ["admin", "developer"];
const MAX_TOKEN_BYTES: usize = 8192;

/// The input is an edit of a valid token: this byte, what to do, where (two bytes), with which byte.
const EDIT: u8 = 0;
/// The input is a header and a payload to be rightly signed: this byte, the header, [`BETWEEN`], the payload.
const SIGNED: u8 = 1;
/// Parts the header from the payload. No JSON text holds this byte raw.
const BETWEEN: u8 = 0;

static GATE: LazyLock<Gate> = LazyLock::new(|| Gate::new(policy(), None));
static KEY: LazyLock<hmac::Key> = LazyLock::new(|| hmac::Key::new(hmac::HMAC_SHA256, SECRET));
static VALID: LazyLock<Vec<u8>> = LazyLock::new(|| sign(HEADER, CLAIMS));

/// The body of the target `gate`.
///
/// # Panics
///
/// Where the gate breaks a law: that is a finding.
pub fn gate(input: &[u8]) {
    keeps_the_laws(&GATE, input);
}

fn policy() -> Policy {
    Policy {
        secret: SECRET.to_vec(),
        roles: Some(RolePolicy {
            claim: "role".to_owned(),
            list: false,
            allowed: ROLES.map(str::to_owned).to_vec(),
            default: "read_only".to_owned(),
            denied: Vec::new(),
        }),
        max_token_bytes: MAX_TOKEN_BYTES,
        ..Policy::default()
    }
}

fn keeps_the_laws(gate: &Gate, input: &[u8]) {
    match input.split_first() {
        Some((&EDIT, edit)) => one_edit(gate, edit),
        Some((&SIGNED, parts)) => rightly_signed(gate, parts),
        _ => any_token(gate, input),
    }
}

/// No token that was not made with the key is admitted, whatever its bytes.
fn any_token(gate: &Gate, token: &[u8]) {
    if let Ok(bearer) = decide(gate, token) {
        // The fuzzer cannot make a MAC, but it may find the seed that carries one.
        assert!(is_ours(token), "admitted without our MAC: {bearer:?}");
    }
}

/// A valid token with one byte changed, added or gone is refused.
fn one_edit(gate: &Gate, edit: &[u8]) {
    let &[what, high, low, byte, ..] = edit else { return };
    let mut token = VALID.clone();
    let at = usize::from(u16::from_be_bytes([high, low]));
    let (place, end) = (at % token.len(), at % (token.len() + 1));
    match what % 3 {
        0 => token[place] = byte,
        1 => token.insert(end, byte),
        _ => drop(token.remove(place)),
    }
    assert_eq!(decide(gate, &token).is_ok(), token == *VALID, "{}", token.escape_ascii());
}

/// A rightly signed token is admitted only if what it says lets its bearer in.
fn rightly_signed(gate: &Gate, parts: &[u8]) {
    let mut parts = parts.splitn(2, |&byte| byte == BETWEEN);
    let (Some(header), Some(payload)) = (parts.next(), parts.next()) else { return };
    let Ok(bearer) = decide(gate, &sign(header, payload)) else { return };
    let header: Value = serde_json::from_slice(header).expect("an admitted header is JSON");
    assert_eq!(header["alg"], "HS256", "the algorithm is not the token's to choose");
    assert!(header.get("crit").is_none() && header.get("b64").is_none(), "an extension nobody understands");
    assert!(!header["cty"].as_str().is_some_and(|cty| cty.eq_ignore_ascii_case("JWT")), "a token in a token");
    let claims: Value = serde_json::from_slice(payload).expect("admitted claims are JSON");
    assert_eq!(Some(&*bearer.claims), claims.as_object(), "two readers see two tokens");
    let exp = claims["exp"].as_f64();
    assert!(exp.is_some_and(|exp| exp > f64::from(NOW)), "expired");
    assert_eq!(bearer.expires_at, exp, "no leeway was given");
    assert!(claims.get("nbf").is_none_or(|nbf| nbf.as_f64().is_some_and(|nbf| nbf <= f64::from(NOW))), "too early");
    assert_eq!(claims["sub"], bearer.identity.as_str(), "somebody else");
    assert!(!bearer.identity.is_empty(), "nobody");
    assert!(claims["role"].as_str().is_some_and(|role| ROLES.contains(&role)), "the role is not let in");
    assert_eq!(claims["role"].as_str(), bearer.role.as_deref(), "another role");
}

/// Asks the gate, which admits nothing that has not the shape of a token; every fourth time, by the length of the token,
/// again, because whatever it says it has to say again. Twice each time would be half as many tokens.
fn decide(gate: &Gate, token: &[u8]) -> Result<Bearer, Refusal> {
    let decision = gate.admit(token, f64::from(NOW));
    match &decision {
        Ok(_) => assert!(has_shape(token), "admitted without the shape of a token: {}", token.escape_ascii()),
        Err(refusal) => {
            assert!(!matches!(refusal, Refusal::Internal(_)), "a gate without a fault failed: {refusal:?}");
            assert_eq!(token.is_empty(), *refusal == Refusal::Missing, "missing is the name of the empty token");
        }
    }
    if token.len().is_multiple_of(4) {
        says_it_again(&decision, &gate.admit(token, f64::from(NOW)));
    }
    decision
}

fn says_it_again(first: &Result<Bearer, Refusal>, second: &Result<Bearer, Refusal>) {
    match (first, second) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first.identity, second.identity, "another bearer the second time");
            assert_eq!(first.role, second.role, "another role the second time");
            assert_eq!(first.claims, second.claims, "other claims the second time");
            assert_eq!(first.expires_at, second.expires_at, "another end the second time");
        }
        (Err(first), Err(second)) => assert_eq!(first, second, "refused otherwise the second time"),
        _ => panic!("another answer the second time: {first:?} and {second:?}"),
    }
}

/// Two periods, and nothing else outside the alphabet of RFC 4648 §5.
fn has_shape(token: &[u8]) -> bool {
    token.len() <= MAX_TOKEN_BYTES
        && token.iter().filter(|&&byte| byte == b'.').count() == 2
        && token.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// Whether the last segment is our MAC of the text before it.
fn is_ours(token: &[u8]) -> bool {
    let Some(end) = token.iter().rposition(|&byte| byte == b'.') else { return false };
    let mac = URL_SAFE_NO_PAD.decode(&token[end + 1..]);
    mac.is_ok_and(|mac| hmac::verify(&KEY, &token[..end], &mac).is_ok())
}

/// A compact JWS of these parts, under the key the gate trusts.
fn sign(header: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let mac = hmac::sign(&KEY, token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(mac, &mut token);
    token.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::fault::Fault;

    fn folder() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/gate")
    }

    /// The seeds that follow from the code. The folder may hold more: a finding that was mended stays there.
    fn seeds() -> BTreeMap<&'static str, Vec<u8>> {
        let end = VALID.len() as u8;
        let mut forged = VALID.clone();
        forged[VALID.len() - 43..].fill(b'A');
        let token = |header: &str, signature: &str| {
            format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(CLAIMS)).into_bytes()
        };
        let signed = |header: &[u8], payload: &[u8]| [&[SIGNED], header, &[BETWEEN], payload].concat();
        let header = |text: &str| signed(text.as_bytes(), CLAIMS);
        let claims = |text: &str| signed(HEADER, text.as_bytes());
        let role = |text: &str| claims(&format!(r#"{{"sub":"alice","role":{text},"exp":1800000300}}"#));
        let exp = |text: &str| claims(&format!(r#"{{"sub":"alice","role":"admin","exp":{text}}}"#));
        BTreeMap::from([
            ("token-valid", VALID.clone()),
            ("token-forged", forged),
            ("token-unsecured", token(r#"{"alg":"none"}"#, "")),
            ("token-unsigned", token(r#"{"alg":"HS256"}"#, "")),
            ("token-without-alg", token("{}", "")),
            ("token-other-family", token(r#"{"alg":"RS256"}"#, "AAAA")),
            ("token-five-parts", b"eyJhbGciOiJkaXIifQ..AAAA.AAAA.AAAA".to_vec()),
            ("edit-nothing", vec![EDIT, 0, 0, 0, VALID[0]]),
            ("edit-insert-period", vec![EDIT, 1, 0, 9, b'.']),
            ("edit-period-at-end", vec![EDIT, 1, 0, end, b'.']),
            ("edit-pad-at-end", vec![EDIT, 1, 0, end, b'=']),
            ("edit-space-at-end", vec![EDIT, 1, 0, end, b' ']),
            ("edit-nul-at-end", vec![EDIT, 1, 0, end, 0]),
            ("edit-period-in-front", vec![EDIT, 1, 0, 0, b'.']),
            ("edit-foreign-byte", vec![EDIT, 1, 0, 3, 0xff]),
            ("edit-remove-last", vec![EDIT, 2, 0, end - 1, 0]),
            ("signed-valid", signed(HEADER, CLAIMS)),
            ("signed-empty-header", header("{}")),
            ("signed-no-header", header("")),
            ("signed-alg-hs512", header(r#"{"alg":"HS512"}"#)),
            ("signed-alg-lower", header(r#"{"alg":"hs256"}"#)),
            ("signed-alg-space", header(r#"{"alg":" HS256"}"#)),
            ("signed-alg-list", header(r#"{"alg":["HS256"]}"#)),
            ("signed-alg-twice", header(r#"{"alg":"HS256","alg":"none"}"#)),
            ("signed-crit", header(r#"{"alg":"HS256","crit":["exp"]}"#)),
            ("signed-b64", header(r#"{"alg":"HS256","b64":false}"#)),
            ("signed-nested", header(r#"{"alg":"HS256","cty":"JWT"}"#)),
            ("signed-exp-twice", exp(r#"1,"\u0065xp":1800000300"#)),
            ("signed-exp-in-text", claims(r#"{"sub":"\"exp\":1800000300","role":"admin"}"#)),
            ("signed-exp-now", exp("18e8")),
            ("signed-exp-past", exp("1799999970")),
            ("signed-exp-long-past", exp("1500000000")),
            ("signed-exp-negative", exp("-1")),
            ("signed-exp-null", exp("null")),
            ("signed-exp-text", exp(r#""1800000300""#)),
            ("signed-exp-huge", exp(r#"1e300,"x":[[[{"y":[]}]]]"#)),
            ("signed-nbf", exp(r#"1800000300.5,"nbf":1800000000"#)),
            ("signed-nbf-later", exp(r#"1800000300,"nbf":1800000200"#)),
            ("signed-nbf-text", exp(r#"1800000300,"nbf":"1800000200""#)),
            ("signed-more-after", exp("1800000300}{")),
            ("signed-not-utf-8", signed(HEADER, b"{\"sub\":\"\xff\",\"role\":\"admin\",\"exp\":1800000300}")),
            ("signed-single-quotes", claims("{'sub':'alice','role':'admin','exp':1800000300,}")),
            ("signed-sub-empty", claims(r#"{"sub":"","role":"admin","exp":1800000300}"#)),
            ("signed-sub-missing", claims(r#"{"role":"admin","exp":1800000300}"#)),
            ("signed-names-upper", claims(r#"{"SUB":"alice","ROLE":"admin","EXP":1800000300}"#)),
            ("signed-role-list", role(r#"["admin"]"#)),
            ("signed-role-missing", claims(r#"{"sub":"alice","exp":1800000300}"#)),
            ("signed-role-null", role("null")),
            ("signed-role-part", role(r#""adm""#)),
            ("signed-role-more", role(r#""superadmin""#)),
            ("signed-role-space", role(r#"" admin""#)),
            ("signed-role-upper", role(r#""Admin""#)),
            ("signed-role-other", role(r#""viewer""#)),
            ("signed-role-escaped", role(r#""\u0061dmin""#)),
            ("signed-role-true", role("true")),
        ])
    }

    #[test]
    fn the_seeds_are_in_the_folder() {
        for (name, bytes) in seeds() {
            let found = fs::read(folder().join(name)).unwrap_or_default();
            assert_eq!(found, bytes, "{name}: write it with `cargo test --workspace -- --ignored write_seeds`");
        }
    }

    #[test]
    #[ignore = "writes fuzz/corpus/gate"]
    fn write_seeds() {
        fs::create_dir_all(folder()).expect("a folder");
        for (name, bytes) in seeds() {
            fs::write(folder().join(name), bytes).expect("a file");
        }
    }

    #[test]
    fn every_seed_keeps_the_laws() {
        for file in fs::read_dir(folder()).expect("the seeds") {
            gate(&fs::read(file.expect("a file").path()).expect("its bytes"));
        }
    }

    #[test]
    fn the_valid_token_is_admitted() {
        assert!(decide(&GATE, &VALID).is_ok(), "the laws of an edit and of a signed token speak of nothing");
    }

    #[test]
    fn every_single_edit_of_a_token_is_refused() {
        for at in 0..VALID.len() as u16 {
            let [high, low] = at.to_be_bytes();
            gate(&[EDIT, 2, high, low, 0]);
            // Each bit, and every kind of byte that a reader could treat in a way of its own.
            let bits = (0..8).map(|bit| VALID[usize::from(at)] ^ (1 << bit));
            for byte in bits.chain(*b".=+/-_ A\0\n\r\t%\x80\xff") {
                gate(&[EDIT, 0, high, low, byte]);
                gate(&[EDIT, 1, high, low, byte]);
            }
        }
    }

    /// The laws have teeth: most ways in which a gate alone can be wrong break one on a seed.
    #[test]
    fn a_faulty_gate_is_found_out_by_a_seed() {
        let inputs: Vec<Vec<u8>> = seeds().into_values().collect();
        let found_out = |fault: &Fault| {
            let gate = Gate::new(policy(), Some(*fault));
            let breaks = |input: &Vec<u8>| catch_unwind(AssertUnwindSafe(|| keeps_the_laws(&gate, input))).is_err();
            inputs.iter().any(breaks)
        };
        let caught: Vec<_> = Fault::ALL.iter().copied().filter(found_out).collect();
        // The others need a second carrier, a request, a message, or an input that no seed is near.
        assert!(caught.len() >= 55, "only {}: {caught:?}", caught.len());
    }

    proptest! {
        #[test]
        fn any_input_keeps_the_laws(input in prop::collection::vec(any::<u8>(), 0..200)) {
            gate(&input);
        }

        #[test]
        fn any_signed_text_keeps_the_laws(header in ".{0,40}", payload in ".{0,80}") {
            gate(&[&[SIGNED], header.as_bytes(), &[BETWEEN], payload.as_bytes()].concat());
        }
    }
}
