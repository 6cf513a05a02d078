//! The gate as its callers see it: what it must admit and refuse, and as what. Its faults are in `faults`.
//!
//! Tokens are minted here, byte for byte, so that nothing the gate is made of is trusted to make its input.

use jsonwebtoken::{Algorithm, EncodingKey};
use proptest::prelude::*;

use super::*;

mod faults;
mod keys;

const NOW: f64 = 1_800_000_000.25;
const SECRET: &[u8] = b"correct horse battery staple, 32+";
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const CLAIMS: &str = r#"{"sub":"alice","role":"admin","exp":1800000300}"#;

// Minting.

fn b64(bytes: impl AsRef<[u8]>) -> String {
    jws::encode(bytes.as_ref())
}

fn mac_with(secret: &[u8], algorithm: Algorithm, signed: &str) -> String {
    jsonwebtoken::crypto::sign(signed.as_bytes(), &EncodingKey::from_secret(secret), algorithm)
        .expect("HMAC signs anything")
}

fn mac(signed: &str) -> String {
    mac_with(SECRET, Algorithm::HS256, signed)
}

fn mac_bytes(signed: &str) -> Vec<u8> {
    jws::decode(mac(signed).as_bytes()).expect("our own base64url")
}

/// `signed` and its MAC under the right key.
fn sealed(signed: &str) -> String {
    format!("{signed}.{}", mac(signed))
}

/// A header and claims of these bytes, rightly signed.
fn mint(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    sealed(&signed_part(header, claims))
}

fn signed_part(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    format!("{}.{}", b64(header), b64(claims))
}

fn with_header(header: impl AsRef<[u8]>) -> String {
    mint(header, CLAIMS)
}

fn with_alg(alg: &str) -> String {
    with_header(format!(r#"{{"alg":{alg},"typ":"JWT"}}"#))
}

fn with_claims(claims: impl AsRef<[u8]>) -> String {
    mint(HEADER, claims)
}

/// Claims with this `exp`, written as it stands.
fn with_exp(exp: &str) -> String {
    with_claims(format!(r#"{{"sub":"alice","role":"admin","exp":{exp}}}"#))
}

fn with_nbf(nbf: &str) -> String {
    with_claims(format!(r#"{{"sub":"alice","role":"admin","exp":1800000300,"nbf":{nbf}}}"#))
}

fn with_role(role: &str) -> String {
    with_claims(format!(r#"{{"sub":"alice","role":{role},"exp":1800000300}}"#))
}

fn valid() -> String {
    mint(HEADER, CLAIMS)
}

fn valid_signed() -> String {
    signed_part(HEADER, CLAIMS)
}

fn forged() -> String {
    let signed = valid_signed();
    format!("{signed}.{}", mac_with(b"mallory", Algorithm::HS256, &signed))
}

/// The header and payload of [`valid`] under a signature of these bytes.
fn with_signature(signature: &[u8]) -> String {
    format!("{}.{}", valid_signed(), b64(signature))
}

fn utf16_le(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn utf16_be(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

// Judging.

fn policy() -> Policy {
    Policy {
        secret: SECRET.to_vec(),
        roles: Some(RolePolicy {
            claim: "role".to_owned(),
            list: false,
            allowed: ["admin", "developer", "dba"].map(str::to_owned).to_vec(),
            default: "read_only".to_owned(),
            denied: vec!["viewer".to_owned(), "read_only".to_owned()],
        }),
        ..Policy::default()
    }
}

fn right() -> Gate {
    Gate::new(policy(), None)
}

/// A decision, without its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Admitted,
    Missing,
    Malformed,
    BadSignature,
    Expired,
    BadClaims,
    RoleNotAllowed,
    Internal,
}
use Verdict::*;

fn verdict(decision: &Result<Bearer, Refusal>) -> Verdict {
    match decision {
        Ok(_) => Admitted,
        Err(Refusal::Missing) => Missing,
        Err(Refusal::Malformed(_)) => Malformed,
        Err(Refusal::BadSignature(_)) => BadSignature,
        Err(Refusal::Expired) => Expired,
        Err(Refusal::BadClaims(_)) => BadClaims,
        Err(Refusal::RoleNotAllowed(_)) => RoleNotAllowed,
        Err(Refusal::Internal(_)) => Internal,
    }
}

fn judged(gate: &Gate, token: impl AsRef<[u8]>) -> Verdict {
    verdict(&gate.admit(token.as_ref(), NOW))
}

// The right gate.

#[test]
fn who_is_admitted() {
    let gate = right();
    let long = "\u{65e5}".repeat(600);
    for token in [
        valid(),
        // Names, order, whitespace and unknown members are free (RFC 8259 §2, RFC 7515 §4).
        with_header(r#"{"typ":"JWT","alg":"HS256"}"#),
        with_header(r#"{"alg":"HS256"}"#),
        with_header("{\r\n \"alg\" :\t\"HS256\" }\r\n"),
        with_header(r#"{"\u0061lg":"HS256"}"#),
        with_header(r#"{"alg":"HS256","typ":"jwt","kid":"../x","jku":"http://x","foo":{"a":[1]}}"#),
        with_header(r#"{"alg":"HS256","typ":7,"cty":"text/xml"}"#),
        with_exp("1800000300.5"),
        with_exp("1.8000003e9"),
        with_exp("2147487248"),
        with_exp("253402300800"),
        with_exp("18446744073709551616"),
        with_exp("1e308"),
        with_exp("1800000001"),
        with_nbf("1800000000"),
        with_nbf("-1"),
        with_role(r#""\u0061dmin""#),
        with_role(r#""dba""#),
        with_claims(r#"{"sub":"alice","role":"admin","exp":1800000300,"EXP":1,"iat":"x","aud":7,"iss":[]}"#),
        with_claims(format!(r#"{{"sub":"alice","role":"admin","exp":1800000300,"name":"{long}"}}"#)),
    ] {
        assert_eq!(judged(&gate, &token), Admitted, "{token}");
    }
}

#[test]
fn what_is_known_of_the_bearer() {
    let Ok(bearer) = right().admit(valid().as_bytes(), NOW) else {
        panic!("a valid token is refused");
    };
    assert_eq!(bearer.identity, "alice");
    assert_eq!(bearer.role.as_deref(), Some("admin"));
    assert_eq!(bearer.expires_at, Some(1_800_000_300.0));
    assert_eq!(bearer.claims.get("sub"), Some(&Value::from("alice")));
}

#[test]
fn who_is_refused_and_as_what() {
    let gate = right();
    let v = valid();
    let short_mac = mac_bytes(&valid_signed())[..16].to_vec();
    for (token, expected) in [
        (String::new(), Missing),
        ("a".repeat(8193), Malformed),
        (format!("{v}="), Malformed),
        (format!("{v}\n"), Malformed),
        (format!(" {v}"), Malformed),
        (format!("{v}."), Malformed),
        (format!("{v}.e30"), Malformed),
        (format!("{v}AA"), Malformed),
        (format!("{v}A"), BadSignature),
        (v.to_uppercase(), Malformed),
        ("..".to_owned(), Malformed),
        (sealed(&format!(".{}", b64(CLAIMS))), Malformed),
        (sealed(&format!("{}.", b64(HEADER))), Malformed),
        (format!("{}.", valid_signed()), BadSignature),
        (with_header("null"), Malformed),
        (with_header(r#"["alg","HS256"]"#), Malformed),
        (with_header(r#"{"alg":"HS256","alg":"HS256"}"#), Malformed),
        (with_header(r#"{"alg":"HS256","x":{"a":1,"a":1}}"#), Malformed),
        (with_header("\u{feff}{\"alg\":\"HS256\"}"), Malformed),
        (with_header(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#), Malformed),
        (with_header(r#"{"alg":"HS256","crit":[]}"#), Malformed),
        (with_header(r#"{"alg":"HS256","b64":true}"#), Malformed),
        (with_header(r#"{"alg":"HS256","cty":"jWt"}"#), Malformed),
        (with_header(r#"{"typ":"JWT"}"#), BadSignature),
        (with_header(r#"{"Alg":"HS256"}"#), BadSignature),
        (with_alg(r#""hs256""#), BadSignature),
        (with_alg(r#""HS384""#), BadSignature),
        (with_alg("256"), BadSignature),
        (with_alg("null"), BadSignature),
        (with_signature(&short_mac), BadSignature),
        (with_claims("[]"), Malformed),
        (with_claims(r#"{"sub":"alice","sub":"alice","exp":1800000300}"#), Malformed),
        (with_exp("1e400"), Malformed),
        (with_exp(&"9".repeat(400)), Malformed),
        (with_exp("1800000000"), Expired),
        (with_exp("0"), Expired),
        (with_exp("-0.0"), Expired),
        (with_exp("-1e308"), Expired),
        (with_exp("null"), BadClaims),
        (with_exp("true"), BadClaims),
        (with_exp("[1800000300]"), BadClaims),
        (with_exp(r#""1800000300""#), BadClaims),
        (with_claims(r#"{"sub":"alice","role":"admin"}"#), BadClaims),
        (with_nbf("1800000000.5"), BadClaims),
        (with_nbf("null"), BadClaims),
        (with_claims(r#"{"role":"admin","exp":1800000300}"#), BadClaims),
        (with_claims(r#"{"sub":"","role":"admin","exp":1800000300}"#), BadClaims),
        (with_claims(r#"{"sub":7,"role":"admin","exp":1800000300}"#), BadClaims),
        (with_claims(r#"{"sub":"alice","exp":1800000300}"#), RoleNotAllowed),
        (with_role(r#""viewer""#), RoleNotAllowed),
        (with_role(r#"["admin"]"#), RoleNotAllowed),
        (with_role("null"), RoleNotAllowed),
    ] {
        assert_eq!(judged(&gate, &token), expected, "{token}");
    }
}

#[test]
fn a_refusal_names_the_role_but_not_at_any_length() {
    let gate = right();
    let long = "\u{e9}".repeat(5000);
    let gate_says = |role: &str| gate.admit(with_role(role).as_bytes(), NOW).err();
    assert_eq!(gate_says(r#""viewer""#), Some(Refusal::RoleNotAllowed("viewer".to_owned())));
    assert_eq!(gate_says("[1]"), Some(Refusal::RoleNotAllowed("[1]".to_owned())));
    let wide = Gate::new(Policy { max_token_bytes: 1 << 20, ..policy() }, None);
    let Err(Refusal::RoleNotAllowed(text)) = wide.admit(with_role(&format!(r#"["{long}"]"#)).as_bytes(), NOW) else {
        panic!("an array is no role");
    };
    assert_eq!(text.chars().count(), 64);
}

#[test]
fn the_policy_is_held_to() {
    let no_role = Policy { roles: None, ..policy() };
    let gate = |policy: Policy| Gate::new(policy, None);

    let lasting = gate(Policy { require_exp: false, ..no_role.clone() });
    assert_eq!(judged(&lasting, with_claims(r#"{"sub":"a"}"#)), Admitted);
    assert_eq!(judged(&lasting, with_claims(r#"{"sub":"a","exp":1}"#)), Expired);

    let late = gate(Policy { leeway_s: 30, ..no_role.clone() });
    assert_eq!(judged(&late, with_exp("1799999971")), Admitted);
    assert_eq!(judged(&late, with_exp("1799999970")), Expired);
    assert_eq!(judged(&late, with_nbf("1800000030")), Admitted);
    assert_eq!(judged(&late, with_nbf("1800000031")), BadClaims);
    let endless = gate(Policy { leeway_s: u64::MAX, ..no_role.clone() });
    assert_eq!(judged(&endless, with_exp("1799990000")), Expired);

    let named = gate(Policy {
        identity_claims: vec!["email".to_owned(), "sub".to_owned()],
        identity_fallback: Some("unknown".to_owned()),
        require_exp: false,
        ..no_role.clone()
    });
    let identity = |claims: &str| {
        let decision = named.admit(with_claims(claims).as_bytes(), NOW);
        decision.ok().map(|bearer| bearer.identity)
    };
    assert_eq!(identity(r#"{"sub":"s","email":"e"}"#).as_deref(), Some("e"));
    assert_eq!(identity(r#"{"sub":"s"}"#).as_deref(), Some("s"));
    assert_eq!(identity("{}").as_deref(), Some("unknown"));
    assert_eq!(identity(r#"{"sub":"s","email":""}"#), None);
    assert_eq!(identity(r#"{"sub":"s","email":null}"#), None);

    let strict = gate(Policy {
        audience: Some("ours".to_owned()),
        issuer: Some("us".to_owned()),
        typ: Some("at+jwt".to_owned()),
        require_exp: false,
        ..no_role.clone()
    });
    let strictly = |typ: &str, aud: &str, iss: &str| {
        judged(
            &strict,
            mint(format!(r#"{{"alg":"HS256","typ":{typ}}}"#), format!(r#"{{"sub":"a","aud":{aud},"iss":{iss}}}"#)),
        )
    };
    for typ in [r#""at+jwt""#, r#""AT+JWT""#, r#""application/at+jwt""#, r#""Application/at+jwt""#] {
        assert_eq!(strictly(typ, r#""ours""#, r#""us""#), Admitted, "{typ}");
    }
    for typ in [r#""JWT""#, r#""at+jwt;x""#, r#""application""#, r#""x/at+jwt""#, "null"] {
        assert_eq!(strictly(typ, r#""ours""#, r#""us""#), Malformed, "{typ}");
    }
    assert_eq!(strictly(r#""at+jwt""#, r#"["x","ours"]"#, r#""us""#), Admitted);
    for aud in ["[]", r#""""#, r#"["x"]"#, r#"["ours",1]"#, r#"[["ours"]]"#, r#"{"ours":1}"#, r#""OURS""#, "1"] {
        assert_eq!(strictly(r#""at+jwt""#, aud, r#""us""#), BadClaims, "{aud}");
    }
    for iss in [r#""them""#, r#"["us"]"#, r#""us/""#, "null"] {
        assert_eq!(strictly(r#""at+jwt""#, r#""ours""#, iss), BadClaims, "{iss}");
    }

    for (algorithm, name) in [(Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512")] {
        let gate = gate(Policy { algorithm, ..policy() });
        let signed = signed_part(format!(r#"{{"alg":"{name}"}}"#), CLAIMS);
        let token = format!("{signed}.{}", mac_with(SECRET, algorithm, &signed));
        assert_eq!(judged(&gate, token), Admitted);
        assert_eq!(judged(&gate, valid()), BadSignature);
    }
}

#[test]
fn without_a_key_nobody_is_admitted() {
    let signed = valid_signed();
    let empty = format!("{signed}.{}", mac_with(b"", Algorithm::HS256, &signed));
    let gate = Gate::new(Policy { secret: Vec::new(), ..policy() }, None);
    assert_eq!(judged(&gate, empty), BadSignature);

    let rsa = Gate::new(Policy { algorithm: Algorithm::RS256, ..policy() }, None);
    assert_eq!(judged(&rsa, with_alg(r#""RS256""#)), BadSignature);
    for time in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(verdict(&right().admit(valid().as_bytes(), time)), Internal);
    }
}

#[test]
fn the_secret_is_not_in_the_log() {
    let shown = format!("{:?} {:?}", policy(), right());
    assert!(!shown.contains("correct horse") && !shown.contains(&format!("{SECRET:?}")));
}

#[test]
fn no_byte_of_a_token_can_be_changed() {
    let gate = right();
    let token = valid().into_bytes();
    for at in 0..token.len() {
        for byte in 0..=u8::MAX {
            if byte == token[at] {
                continue;
            }
            let mut changed = token.clone();
            changed[at] = byte;
            assert_ne!(judged(&gate, &changed), Admitted, "byte {at} set to {byte:#x}");
        }
        let mut shorter = token.clone();
        shorter.remove(at);
        assert_ne!(judged(&gate, &shorter), Admitted, "byte {at} removed");
    }
}

#[test]
fn depth_does_not_overflow_the_stack() {
    let policy = Policy { max_token_bytes: 1 << 20, ..policy() };
    let tokens = ["[", r#"{"a":"#].map(|open| {
        let deep = format!(r#"{{"alg":{}"#, open.repeat(100_000));
        [with_header(&deep), with_claims(&deep)]
    });
    // What reads JSON in another way than the right gate.
    let readers = [
        Fault::FirstDuplicateWins,
        Fault::StopsAtFirstJsonValue,
        Fault::LastAlgUnchecked,
        Fault::FoldsClaimNames,
        Fault::RelaxedJson,
    ];
    for fault in std::iter::once(None).chain(readers.map(Some)) {
        let gate = Gate::new(policy.clone(), fault);
        for token in tokens.as_flattened() {
            assert_eq!(judged(&gate, token), Malformed, "{fault:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_any_gate_panic(
        token in prop::collection::vec(any::<u8>(), 0..200),
        fault in prop::option::of(prop::sample::select(Fault::ALL)),
        now in any::<f64>(),
    ) {
        let _ = Gate::new(policy(), fault).admit(&token, now);
    }

    #[test]
    fn no_signed_bytes_make_any_gate_panic(
        header in prop::collection::vec(any::<u8>(), 0..40),
        claims in prop::collection::vec(any::<u8>(), 0..40),
        fault in prop::option::of(prop::sample::select(Fault::ALL)),
    ) {
        let gate = Gate::new(policy(), fault);
        let _ = gate.admit(mint(&header, CLAIMS).as_bytes(), NOW);
        let _ = gate.admit(mint(HEADER, &claims).as_bytes(), NOW);
    }

    #[test]
    fn no_json_makes_any_gate_panic(
        claims in r#"[{}\[\]":,0-9.eE+\-a-z\\/* ]{0,60}"#,
        value in r#"("[a-zA-Z0-9é ]{0,9}"|-?[0-9]{1,30}(\.[0-9]{1,9})?(e[0-9]{1,4})?|null|true|\[\]|\{\})"#,
        name in prop::sample::select(vec!["exp", "nbf", "sub", "role", "alg", "crit", "cty"]),
        fault in prop::option::of(prop::sample::select(Fault::ALL)),
    ) {
        let gate = Gate::new(policy(), fault);
        let _ = gate.admit(with_claims(&claims).as_bytes(), NOW);
        let claims = format!(r#"{{"sub":"alice","role":"admin","exp":1800000300,"{name}":{value}}}"#);
        let _ = gate.admit(with_claims(claims).as_bytes(), NOW);
        let header = format!(r#"{{"alg":"HS256","{name}":{value}}}"#);
        let _ = gate.admit(with_header(header).as_bytes(), NOW);
    }

    #[test]
    fn no_signature_but_the_right_one_is_believed(signature in prop::collection::vec(any::<u8>(), 0..70)) {
        prop_assert_eq!(judged(&right(), with_signature(&signature)), BadSignature);
    }
}
