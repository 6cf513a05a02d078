//! What a token of parts is shown to: policies of several kinds, each with the keys that make its tokens.
//!
//! Secrets and key pairs are fixed, so that an input is the same token in every process; but for signatures of ES256, which
//! are random.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{LazyLock, Mutex, PoisonError};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::Algorithm;
use serde_json::json;

use super::token::{Signer, Value};
use crate::fault::Fault;
use crate::gate::{Gate, Policy, RolePolicy, TrustedKey};

const SECRET: &[u8] = b"a secret that only the fuzzer has";
const STRANGER: &[u8] = b"a secret that the gate has not seen";
const RETIRED: &[u8] = b"a secret of last year, now retired";
const ISSUER: &str = "https://issuer.example/";
const PARTNER: &str = "https://partner.example/";
const AUDIENCE: &str = "https://ws.example";

/// A policy, its gate, and what a valid token says there.
pub struct Setting {
    /// What it is about.
    pub name: &'static str,
    /// What the gate holds a token to.
    pub policy: Policy,
    /// The algorithm of its valid tokens.
    pub algorithm: &'static str,
    /// The header of a valid token.
    pub header: Vec<(&'static str, Value)>,
    /// The claims of a valid token.
    pub claims: Vec<(&'static str, Value)>,
    pub(super) gate: Gate,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How a signature is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signing {
    pub(super) by: Signer,
    pub(super) algorithm: &'static str,
}

/// The key pairs of one party.
struct Pairs {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    rsa: RsaKeyPair,
}

impl Pairs {
    /// The same ones each time: for curves the scalar and the seed are this byte again and again.
    fn of(byte: u8, rsa: &[u8]) -> Self {
        // RFC 5915: the version, the scalar, and the name of P-256.
        const BEFORE: [u8; 7] = [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
        const BEHIND: [u8; 12] = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        let number = [byte; 32];
        let ec = [&BEFORE[..], &number, &BEHIND].concat();
        Self {
            ec: EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &ec).expect("a key pair"),
            ed: Ed25519KeyPair::from_seed_unchecked(&number).expect("a key pair"),
            rsa: RsaKeyPair::from_der(rsa).expect("a key pair"),
        }
    }
}

static OWN: LazyLock<Pairs> = LazyLock::new(|| Pairs::of(1, include_bytes!("own.der")));
static OTHER: LazyLock<Pairs> = LazyLock::new(|| Pairs::of(2, include_bytes!("other.der")));
static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| settings(None));

/// An RSA signature costs as much as a thousand tokens. The same text is signed again and again while an input is
/// varied behind its signature.
static RSA_SIGNATURES: LazyLock<Mutex<HashMap<Vec<u8>, Vec<u8>>>> = LazyLock::new(Mutex::default);
/// How many are kept.
const MAX_RSA_SIGNATURES: usize = 1024;

fn pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).filter_map(|line| str::from_utf8(line).ok()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

fn public(algorithm: Algorithm, pairs: &Pairs) -> String {
    let der: PublicKeyX509Der<'_> = match algorithm {
        Algorithm::ES256 => pairs.ec.public_key().as_der(),
        Algorithm::EdDSA => pairs.ed.public_key().as_der(),
        _ => pairs.rsa.public_key().as_der(),
    }
    .expect("DER");
    pem(der.as_ref())
}

/// The bytes of a public key as `aws_lc_rs` takes them, of the party whose PEM this is.
pub(super) fn public_bytes(algorithm: &str, key: &TrustedKey) -> Vec<u8> {
    let pairs = if key.issuer.is_some() { &OTHER } else { &OWN };
    match algorithm {
        "ES256" => pairs.ec.public_key().as_ref().to_vec(),
        "EdDSA" => pairs.ed.public_key().as_ref().to_vec(),
        _ => pairs.rsa.public_key().as_ref().to_vec(),
    }
}

/// Every setting, its gate with this fault.
pub(super) fn settings(fault: Option<Fault>) -> Vec<Setting> {
    let word = |text: &str| Value::Text(text.into());
    let roles = RolePolicy::new("role", &["admin", "developer"], "read_only").and_denied(&["viewer"]);
    let secret = || Policy { secret: SECRET.to_vec(), ..Policy::default() };
    let key = |algorithm, kid: &str| TrustedKey {
        kid: Some(kid.to_owned()),
        ..TrustedKey::new(public(algorithm, &OWN), algorithm)
    };
    let setting = |name, algorithm: &'static str, policy: Policy, header: Vec<(&'static str, Value)>, more: Vec<_>| {
        let mut claims = vec![("sub", word("alice")), ("exp", Value::Now(300))];
        claims.extend(more);
        let header = [vec![("alg", word(algorithm))], header].concat();
        Setting { name, algorithm, header, claims, gate: Gate::new(policy.clone(), fault), policy }
    };
    vec![
        setting(
            "roles",
            "HS256",
            Policy { roles: Some(roles), ..secret() },
            vec![("typ", word("JWT"))],
            vec![("role", word("admin"))],
        ),
        setting(
            "promises",
            "HS256",
            Policy {
                kid: Some("own".to_owned()),
                audience: Some(AUDIENCE.to_owned()),
                issuer: Some(ISSUER.to_owned()),
                typ: Some("at+jwt".to_owned()),
                required_claims: vec!["client_id".to_owned()],
                max_token_age_s: Some(600),
                max_token_lifetime_s: Some(3600),
                required_scope: Some("ws:connect".to_owned()),
                refresh_marker: serde_json::Map::from_iter([("token_use".to_owned(), json!("refresh"))]),
                ..secret()
            },
            vec![("typ", word("at+jwt")), ("kid", word("own"))],
            vec![
                ("iss", word(ISSUER)),
                ("aud", word(AUDIENCE)),
                ("iat", Value::Now(-10)),
                ("client_id", word("x")),
                ("scope", word("ws:connect")),
            ],
        ),
        setting(
            "two issuers",
            "ES256",
            Policy {
                issuer: Some(ISSUER.to_owned()),
                keys: vec![
                    key(Algorithm::ES256, "own"),
                    TrustedKey {
                        kid: Some("partner".to_owned()),
                        issuer: Some(PARTNER.to_owned()),
                        ..TrustedKey::new(public(Algorithm::EdDSA, &OTHER), Algorithm::EdDSA)
                    },
                ],
                ..Policy::default()
            },
            vec![("kid", word("own"))],
            vec![("iss", word(ISSUER))],
        ),
        setting(
            "leeway",
            "HS384",
            Policy {
                algorithm: Algorithm::HS384,
                leeway_s: 30,
                require_exp: false,
                identity_claims: vec!["email".to_owned(), "sub".to_owned()],
                identity_fallback: Some("unknown".to_owned()),
                ..secret()
            },
            Vec::new(),
            vec![("email", word("alice@example.com"))],
        ),
        setting(
            "directory",
            "HS512",
            Policy {
                algorithm: Algorithm::HS512,
                retired_secrets: vec![RETIRED.to_vec()],
                directory: Some(HashSet::from(["alice".to_owned()])),
                ..secret()
            },
            Vec::new(),
            Vec::new(),
        ),
        setting(
            "EdDSA",
            "EdDSA",
            Policy {
                keys: vec![key(Algorithm::EdDSA, "own")],
                audience: Some(AUDIENCE.to_owned()),
                ..Policy::default()
            },
            vec![("kid", word("own"))],
            vec![("aud", Value::List(vec![word(AUDIENCE), word("another")]))],
        ),
        setting(
            "RS256",
            "RS256",
            Policy { keys: vec![key(Algorithm::RS256, "own")], ..Policy::default() },
            vec![("kid", word("own"))],
            Vec::new(),
        ),
    ]
}

impl Setting {
    /// The setting that an input chooses.
    pub fn of(choice: u8) -> &'static Self {
        &SETTINGS[usize::from(choice) % SETTINGS.len()]
    }

    /// How many there are.
    pub fn count() -> u8 {
        SETTINGS.len() as u8
    }

    /// What its gate says to a token at `now`, in seconds since 1970.
    pub fn admits(&self, token: &[u8], now: f64) -> bool {
        self.gate.admit(token, now).is_ok()
    }

    pub(super) fn signature(&self, signing: Signing, signed: &[u8]) -> Vec<u8> {
        let pairs = match signing.by {
            Signer::Stranger | Signer::Partner => &OTHER,
            _ => &OWN,
        };
        let mac = |algorithm| {
            let secret = match signing.by {
                Signer::Stranger | Signer::Partner => STRANGER,
                Signer::Retired => RETIRED,
                Signer::Empty => b"",
                Signer::PublicKey => self.policy.keys.first().map_or(SECRET, |key| key.pem.as_bytes()),
                Signer::Own => SECRET,
            };
            hmac::sign(&hmac::Key::new(algorithm, secret), signed).as_ref().to_vec()
        };
        match signing.algorithm {
            "HS256" => mac(hmac::HMAC_SHA256),
            "HS384" => mac(hmac::HMAC_SHA384),
            "HS512" => mac(hmac::HMAC_SHA512),
            "ES256" => es256(&pairs.ec, signed),
            "EdDSA" => pairs.ed.sign(signed).as_ref().to_vec(),
            "RS256" => rsa(&pairs.rsa, signed),
            _ => Vec::new(),
        }
    }
}

/// Of the two signatures the one with the smaller s. A verifier may refuse the other, so that nobody could be found out by
/// half of the tokens.
fn es256(pair: &EcdsaKeyPair, signed: &[u8]) -> Vec<u8> {
    // Below half of the order, which begins with 0x7f. Every second one is.
    let draw = |_| pair.sign(&SystemRandom::new(), signed).expect("a signature").as_ref().to_vec();
    (0..128).map(draw).find(|signature| signature[32] < 0x7f).expect("a small s")
}

fn rsa(pair: &RsaKeyPair, signed: &[u8]) -> Vec<u8> {
    let mut kept = RSA_SIGNATURES.lock().unwrap_or_else(PoisonError::into_inner);
    let name = [pair.public_key().as_ref(), signed].concat();
    if let Some(signature) = kept.get(&name) {
        return signature.clone();
    }
    if kept.len() >= MAX_RSA_SIGNATURES {
        kept.clear();
    }
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed, &mut signature).expect("a signature");
    kept.insert(name, signature.clone());
    signature
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest;

    use super::*;
    use crate::fuzzing::NOW;
    use crate::fuzzing::token::Sketch;

    /// What fails in one process fails in another: its keys and, but for ES256, its tokens are the same.
    #[test]
    fn keys_and_tokens_are_the_same_in_every_process() {
        let mut all = Vec::new();
        for choice in 0..Setting::count() {
            let setting = Setting::of(choice);
            all.extend(setting.policy.keys.iter().flat_map(|key| key.pem.bytes()));
            if setting.algorithm != "ES256" {
                all.extend(Sketch::new(choice, Vec::new()).make(u64::from(NOW)).token);
            }
        }
        let digest = digest::digest(&digest::SHA256, &all);
        let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, "69de2907ad6094d42400968c350efe0e6b64b6612c92de560169f3690184ddc9");
    }
}
