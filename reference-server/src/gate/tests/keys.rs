//! The gate under public keys: which key decides, for which algorithm and for whom; and the faults of that.

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

const OWN: &str = "https://own.example/";
const PARTNER: &str = "https://partner.example/";

fn pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).filter_map(|line| str::from_utf8(line).ok()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

fn ec() -> &'static EcdsaKeyPair {
    static PAIR: OnceLock<EcdsaKeyPair> = OnceLock::new();
    PAIR.get_or_init(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
}

fn ed() -> &'static Ed25519KeyPair {
    static PAIR: OnceLock<Ed25519KeyPair> = OnceLock::new();
    PAIR.get_or_init(|| Ed25519KeyPair::generate().expect("a key"))
}

fn ec_pem() -> String {
    let der: PublicKeyX509Der<'_> = ec().public_key().as_der().expect("DER");
    pem(der.as_ref())
}

fn ed_pem() -> String {
    let der: PublicKeyX509Der<'_> = ed().public_key().as_der().expect("DER");
    pem(der.as_ref())
}

/// ES256 for the own issuer, EdDSA for a partner, and no secret.
fn policy() -> Policy {
    let own = TrustedKey { kid: Some("own".to_owned()), ..TrustedKey::new(ec_pem(), Algorithm::ES256) };
    let partner = TrustedKey {
        kid: Some("partner".to_owned()),
        issuer: Some(PARTNER.to_owned()),
        ..TrustedKey::new(ed_pem(), Algorithm::EdDSA)
    };
    Policy { issuer: Some(OWN.to_owned()), keys: vec![own, partner], ..Policy::default() }
}

fn claims(iss: &str) -> String {
    format!(r#"{{"sub":"alice","exp":1800000300,"iss":"{iss}"}}"#)
}

fn header(alg: &str, kid: &str) -> String {
    format!(r#"{{"alg":"{alg}","kid":"{kid}"}}"#)
}

fn ec_signature(signed: &str) -> Vec<u8> {
    ec().sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature").as_ref().to_vec()
}

fn by_own(kid: &str, iss: &str) -> String {
    let signed = signed_part(header("ES256", kid), claims(iss));
    format!("{signed}.{}", b64(ec_signature(&signed)))
}

fn by_partner(kid: &str, iss: &str) -> String {
    let signed = signed_part(header("EdDSA", kid), claims(iss));
    format!("{signed}.{}", b64(ed().sign(signed.as_bytes())))
}

fn judged_with(fault: Option<Fault>, token: &str) -> Verdict {
    verdict(&Gate::new(policy(), fault).admit(token.as_bytes(), NOW))
}

#[test]
fn each_key_opens_for_its_algorithm_and_its_issuer() {
    for (token, expected) in [
        (by_own("own", OWN), Admitted),
        (by_partner("partner", PARTNER), Admitted),
        // A kid that leads nowhere, or to a key for another algorithm, is a hint and no more.
        (by_own("nobody", OWN), Admitted),
        (by_own("partner", OWN), Admitted),
        (by_own("own", PARTNER), BadClaims),
        (by_partner("partner", OWN), BadClaims),
        (by_own("own", OWN).replace('.', ".A"), BadSignature),
    ] {
        let found = judged_with(None, &token);
        assert!(found == expected || expected == BadSignature && found != Admitted, "{token}: {found:?}");
    }
    let signed = signed_part(header("HS256", "own"), claims(OWN));
    assert_eq!(judged_with(None, &format!("{signed}.{}", mac_with(b"", Algorithm::HS256, &signed))), BadSignature);
}

#[test]
fn published_keys_are_public() {
    for (pem, algorithm, kty) in [(ec_pem(), Algorithm::ES256, "EC"), (ed_pem(), Algorithm::EdDSA, "OKP")] {
        let jwk = TrustedKey { kid: Some("one".to_owned()), ..TrustedKey::new(pem, algorithm) }.jwk().expect("a JWK");
        assert_eq!((&jwk["kty"], &jwk["kid"], &jwk["use"]), (&kty.into(), &"one".into(), &"sig".into()));
        assert!(jwk.get("d").is_none());
        let read: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwk).expect("a JWK");
        assert!(DecodingKey::from_jwk(&read).is_ok());
    }
    assert_eq!(TrustedKey::new("no key", Algorithm::RS256).jwk(), None);
}

/// Each fault admits its own token, and no other fault of this file does.
#[test]
fn faults_of_keys_admit_what_they_are_named_for() {
    let as_secret = |secret: &[u8]| {
        let signed = signed_part(header("HS256", "own"), claims(OWN));
        format!("{signed}.{}", mac_with(secret, Algorithm::HS256, &signed))
    };
    let with = |change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let signed = signed_part(header("ES256", "own"), claims(OWN));
        format!("{signed}.{}", b64(change(ec_signature(&signed))))
    };
    let der: PublicKeyX509Der<'_> = ec().public_key().as_der().expect("DER");
    // Sign until a leading zero can be left out.
    let short = (0..).find_map(|n| {
        let signed = signed_part(header("ES256", "own"), format!(r#"{{"sub":"a{n}","exp":1800000300,"iss":"{OWN}"}}"#));
        let signature = ec_signature(&signed);
        (signature[0] == 0).then(|| format!("{signed}.{}", b64(&signature[1..])))
    });
    let beyond = {
        // Believed without a key that verifies it, a token is the policy's own issuer's.
        let signed = signed_part(header("EdDSA", "partner"), claims(OWN));
        let mut signature = ed().sign(signed.as_bytes()).as_ref().to_vec();
        let order = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut carry = 0;
        for (at, limb) in order.iter().enumerate() {
            let sum = u16::from(signature[32 + at]) + limb + carry;
            signature[32 + at] = sum as u8;
            carry = sum >> 8;
        }
        format!("{signed}.{}", b64(signature))
    };
    let rows = [
        (Fault::PublicKeyAsSecret, as_secret(ec_pem().as_bytes())),
        (Fault::PublicKeyAsSecretUnlessPem, as_secret(der.as_ref())),
        (Fault::AnyKeyForAnyIssuer, by_partner("partner", OWN)),
        (Fault::AcceptsDerSignature, with(&|fixed| loose::ecdsa_der(&fixed))),
        (Fault::ZeroEcdsaSignature, with(&|_| vec![0; 64])),
        (Fault::PadsShortEcdsa, short.expect("one in 256")),
        (Fault::CutsLongEcdsa, with(&|fixed| [fixed, vec![0]].concat())),
        (Fault::EddsaRangeUnchecked, beyond),
    ];
    for (fault, token) in &rows {
        assert_ne!(judged_with(None, token), Admitted, "{fault} shows in a token that is refused");
        for (other, _) in &rows {
            let admitted = judged_with(Some(*other), token) == Admitted;
            assert_eq!(admitted, fault == other, "{other} on the token of {fault}");
        }
    }
}

#[test]
fn a_token_of_one_use_is_used_up_by_being_admitted_only() {
    let gate = Gate::new(Policy { single_use: true, ..super::policy() }, None);
    let token = |role: &str| with_claims(format!(r#"{{"sub":"alice","role":"{role}","exp":1800000300,"jti":"1"}}"#));
    assert_eq!(judged(&gate, token("viewer")), RoleNotAllowed);
    assert_eq!(judged(&gate, token("admin")), Admitted);
    assert_eq!(judged(&gate, token("admin")), BadClaims);
    assert_eq!(judged(&gate, valid()), BadClaims, "no jti");
}
