//! Tokens of every size and cause, and three verifiers for them: the reference server's gate, `jsonwebtoken` as a service
//! would call it, and a floor that does only what no verifier can do without.

use std::cell::RefCell;
use std::fmt;
use std::hint::black_box;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, VerificationAlgorithm,
};
use aws_lc_rs::{hmac, rsa};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use gatecrash_reference_server::gate::{Gate, Policy, RolePolicy, TrustedKey};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use crate::Task;

/// The time of the gate, in seconds since 1970. `jsonwebtoken` asks the system's clock, so no token here ends near either.
pub const NOW: f64 = 1_800_000_000.0;
/// The algorithms.
pub const ALGORITHMS: [Algorithm; 4] = [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
/// The sizes by name, in bytes of a token of HS256; others say the same and have longer signatures.
pub const SIZES: [(&str, usize); 3] = [("200B", 200), ("4KB", 4096), ("64KB", 65536)];

const SECRET: &[u8] = b"a secret of 32 bytes for benches";
const ROLE: &str = "admin";
/// 2096.
const FAR: u64 = 4_000_000_000;
/// 2017.
const PAST: u64 = 1_500_000_000;
/// Above the largest size.
const CAP: usize = 80 * 1024;

/// What becomes of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It is let in.
    Admitted,
    /// Its fifth byte is in no alphabet.
    Malformed,
    /// Somebody else has signed it.
    BadSignature,
    /// It was good once.
    Expired,
    /// Its bearer may not come in.
    WrongRole,
}

impl Cause {
    /// From the dearest answer to the cheapest.
    pub const ALL: [Self; 5] = [Self::Admitted, Self::WrongRole, Self::Expired, Self::BadSignature, Self::Malformed];

    /// Its name in every output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Malformed => "malformed-early",
            Self::BadSignature => "bad-signature",
            Self::Expired => "expired",
            Self::WrongRole => "wrong-role",
        }
    }
}

/// The private keys of one run. Only the secret is the same in every run.
#[derive(Debug)]
pub struct Keys {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Keys {
    /// Makes them.
    ///
    /// # Panics
    ///
    /// Where the system has no random bytes.
    pub fn generate() -> Self {
        Self {
            rsa: RsaKeyPair::generate(rsa::KeySize::Rsa2048).expect("an RSA key"),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key on P-256"),
            ed: Ed25519KeyPair::generate().expect("an Ed25519 key"),
        }
    }

    fn sign(&self, algorithm: Algorithm, text: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match algorithm {
            Algorithm::RS256 => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature).expect("RSA signs anything");
                signature
            }
            Algorithm::ES256 => self.ec.sign(&random, text).expect("ECDSA signs anything").as_ref().to_vec(),
            Algorithm::EdDSA => self.ed.sign(text).as_ref().to_vec(),
            _ => mac(SECRET, text),
        }
    }

    /// SubjectPublicKeyInfo in DER; `None` is the secret.
    fn public(&self, algorithm: Algorithm) -> Option<Vec<u8>> {
        let der: PublicKeyX509Der<'_> = match algorithm {
            Algorithm::RS256 => self.rsa.public_key().as_der(),
            Algorithm::ES256 => self.ec.public_key().as_der(),
            Algorithm::EdDSA => self.ed.public_key().as_der(),
            _ => return None,
        }
        .expect("a public key has a DER form");
        Some(der.as_ref().to_vec())
    }

    /// A token of this algorithm, of about `size` bytes, of which this becomes.
    pub fn token(&self, algorithm: Algorithm, size: usize, cause: Cause) -> String {
        token(algorithm, size, cause, |text| self.sign(algorithm, text))
    }
}

/// As [`Keys::token`] for HS256, which needs no key of a run.
pub fn hs256(size: usize, cause: Cause) -> String {
    token(Algorithm::HS256, size, cause, |text| mac(SECRET, text))
}

fn token(algorithm: Algorithm, size: usize, cause: Cause, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let exp = if cause == Cause::Expired { PAST } else { FAR };
    let role = if cause == Cause::WrongRole { "guest" } else { ROLE };
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{algorithm:?}","typ":"JWT"}}"#));
    // A large token is large because of what its bearer may do.
    let mut groups = String::new();
    let start = format!(r#"{{"sub":"alice","role":"{role}","exp":{exp},"groups":["#);
    // 43 characters of a signature, two periods, and four characters for three bytes.
    let room = (size - 45 - header.len()) / 4 * 3;
    for number in 0.. {
        let comma = if number > 0 { "," } else { "" };
        let next = format!(r#"{comma}"team-{number:04}""#);
        if start.len() + groups.len() + next.len() + 2 > room {
            break;
        }
        groups.push_str(&next);
    }
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(format!("{start}{groups}]}}")));
    let mut signature = sign(signed.as_bytes());
    if cause == Cause::BadSignature {
        // The last byte, so that who compares byte by byte has to look at all of them.
        if let Some(last) = signature.last_mut() {
            *last ^= 1;
        }
    }
    let mut token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    if cause == Cause::Malformed {
        token.replace_range(4..5, "!");
    }
    token
}

fn mac(secret: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text).as_ref().to_vec()
}

fn pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).filter_map(|line| str::from_utf8(line).ok()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

/// What every verifier here answers: whether the bearer is let in.
pub trait Verifier {
    /// Its name in every output.
    const NAME: &'static str;

    /// Decides.
    fn admits(&self, token: &str) -> bool;
}

/// The reference server's gate, without a fault.
#[derive(Debug)]
pub struct Ours(pub Gate);

impl Ours {
    /// A gate that lets one role in. `cap` is the longest token it looks at, in bytes.
    pub fn new(keys: &Keys, algorithm: Algorithm, cap: usize) -> Self {
        let public = keys.public(algorithm);
        Self(Gate::new(
            Policy {
                secret: if public.is_none() { SECRET.to_vec() } else { Vec::new() },
                keys: public.map(|der| TrustedKey::new(pem(&der), algorithm)).into_iter().collect(),
                roles: Some(RolePolicy::new("role", &[ROLE], "guest")),
                max_token_bytes: cap,
                ..Policy::default()
            },
            None,
        ))
    }

    /// A gate for HS256 alone, which needs no key of a run.
    pub fn with_secret(cap: usize) -> Self {
        let roles = Some(RolePolicy::new("role", &[ROLE], "guest"));
        Self(Gate::new(Policy { secret: SECRET.to_vec(), roles, max_token_bytes: cap, ..Policy::default() }, None))
    }
}

impl Verifier for Ours {
    const NAME: &'static str = "gate";

    fn admits(&self, token: &str) -> bool {
        self.0.admit(token.as_bytes(), NOW).is_ok()
    }
}

/// What a handler needs of a token when nothing else is kept of it.
#[derive(Debug, Deserialize)]
struct Claims {
    #[expect(dead_code, reason = "decoding it is a part of what is measured")]
    sub: String,
    role: String,
    #[expect(dead_code, reason = "decoding it is a part of what is measured")]
    exp: u64,
}

/// `jsonwebtoken` as a service would call it, told to be as strict about times as the gate.
#[derive(Debug)]
pub struct Library {
    key: DecodingKey,
    validation: Validation,
}

impl Library {
    /// Makes the key ready.
    ///
    /// # Panics
    ///
    /// Where the library cannot read a public key.
    pub fn new(keys: &Keys, algorithm: Algorithm) -> Self {
        match keys.public(algorithm).map(|der| pem(&der)) {
            None => Self::with_secret(),
            Some(pem) => {
                let key = match algorithm {
                    Algorithm::RS256 => DecodingKey::from_rsa_pem(pem.as_bytes()),
                    Algorithm::ES256 => DecodingKey::from_ec_pem(pem.as_bytes()),
                    _ => DecodingKey::from_ed_pem(pem.as_bytes()),
                };
                Self::with(key.expect("a public key"), algorithm)
            }
        }
    }

    /// For HS256 alone.
    pub fn with_secret() -> Self {
        Self::with(DecodingKey::from_secret(SECRET), Algorithm::HS256)
    }

    fn with(key: DecodingKey, algorithm: Algorithm) -> Self {
        // Another crate of the build may turn on a second backend; then this choice is needed.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let mut validation = Validation::new(algorithm);
        validation.leeway = 0;
        validation.validate_nbf = true;
        Self { key, validation }
    }
}

impl Verifier for Library {
    const NAME: &'static str = "jsonwebtoken";

    fn admits(&self, token: &str) -> bool {
        jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation).is_ok_and(|token| token.claims.role == ROLE)
    }
}

/// The bare primitive over the same bytes, base64url of the three segments and JSON of the claims, into buffers that are
/// used again; every step only if the one before was right. It does not look at the header, and is no verifier to use.
pub struct Floor {
    key: Primitive,
    space: RefCell<Vec<u8>>,
}

enum Primitive {
    Mac(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

#[derive(Deserialize)]
struct Borrowed<'t> {
    #[expect(dead_code, reason = "decoding it is a part of what is measured")]
    sub: &'t str,
    role: &'t str,
    exp: f64,
}

impl Floor {
    /// Makes the key ready.
    ///
    /// # Panics
    ///
    /// Where the primitive cannot read a public key.
    pub fn new(keys: &Keys, algorithm: Algorithm) -> Self {
        let Some(der) = keys.public(algorithm) else { return Self::with_secret() };
        let verification: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
            _ => &ED25519,
        };
        Self::with(Primitive::Public(ParsedPublicKey::new(verification, der).expect("a public key")))
    }

    /// For HS256 alone.
    pub fn with_secret() -> Self {
        Self::with(Primitive::Mac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, SECRET))))
    }

    fn with(key: Primitive) -> Self {
        Self { key, space: RefCell::new(vec![0; CAP]) }
    }

    fn decide(&self, token: &str) -> Option<bool> {
        let space = &mut *self.space.borrow_mut();
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        URL_SAFE_NO_PAD.decode_slice(header, space).ok()?;
        let length = URL_SAFE_NO_PAD.decode_slice(signature, space).ok()?;
        let signature = space.get(..length)?;
        match &self.key {
            Primitive::Mac(key) => hmac::verify(key, signed.as_bytes(), signature).ok()?,
            Primitive::Public(key) => key.verify_sig(signed.as_bytes(), signature).ok()?,
        }
        let length = URL_SAFE_NO_PAD.decode_slice(payload, space).ok()?;
        let claims: Borrowed<'_> = serde_json::from_slice(space.get(..length)?).ok()?;
        Some(claims.exp > NOW && claims.role == ROLE)
    }
}

impl Verifier for Floor {
    const NAME: &'static str = "floor";

    fn admits(&self, token: &str) -> bool {
        self.decide(token).unwrap_or(false)
    }
}

impl fmt::Debug for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Floor").finish_non_exhaustive()
    }
}

/// A verifier at work on one token.
pub fn task<V: Verifier + 'static>(of: &str, verifier: V, token: String) -> Task {
    Task::new(format!("{of}/{}", V::NAME), move || {
        black_box(verifier.admits(black_box(&token)));
    })
}

/// One token, and the three at work on it.
#[derive(Debug)]
pub struct Contest {
    /// Such as `HS256/200B/expired`.
    pub name: String,
    /// Gate, floor and library, in this order.
    pub tasks: [Task; 3],
}

/// Every algorithm, size and cause.
pub fn contests(keys: &Keys) -> Vec<Contest> {
    let mut contests = Vec::new();
    for algorithm in ALGORITHMS {
        for (size, bytes) in SIZES {
            for cause in Cause::ALL {
                let name = format!("{algorithm:?}/{size}/{}", cause.name());
                let token = keys.token(algorithm, bytes, cause);
                let tasks = [
                    task(&name, Ours::new(keys, algorithm, CAP), token.clone()),
                    task(&name, Floor::new(keys, algorithm), token.clone()),
                    task(&name, Library::new(keys, algorithm), token),
                ];
                contests.push(Contest { name, tasks });
            }
        }
    }
    contests
}

/// What a gate that is asked to read at most 8 KiB refuses by the shape alone.
pub fn shapeless() -> Vec<Contest> {
    let five = "AAAA.".repeat(40);
    [
        ("no-period/200B", "A".repeat(200)),
        ("over-the-cap/64KB", "A".repeat(64 * 1024)),
        ("over-the-cap/64KB-whole", hs256(65536, Cause::Admitted)),
        ("more-periods/200B", five),
    ]
    .into_iter()
    .map(|(name, token)| {
        let name = name.to_owned();
        let tasks = [
            task(&name, Ours::with_secret(Policy::default().max_token_bytes), token.clone()),
            task(&name, Floor::with_secret(), token.clone()),
            task(&name, Library::with_secret(), token),
        ];
        Contest { name, tasks }
    })
    .collect()
}

/// A signature of another author's: RFC 7515, appendices A.2 (RS256) and A.3 (ES256), by their public keys.
const RFC_7515: [(Algorithm, &str, &str); 2] = [
    (
        Algorithm::RS256,
        // n of A.2.1; e is AQAB.
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZ\
         S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2\
         R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcD\
         TW9gb54h4FRWyuXpoQ",
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0\
         cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJ\
         dbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383Lc\
         OLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtV\
         rBp0igcN_IoypGlUPQGe77Rw",
    ),
    (
        Algorithm::ES256,
        // x and y of A.3.1, one after the other.
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72bfocs3-257rn0s2ldbqkLJK2KRiMohYjlrQ",
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0\
         cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    ),
];

/// SubjectPublicKeyInfo in DER before the numbers of a key: RSA of 2048 bits (RFC 8017), and a point on P-256 (RFC 5480).
const RSA_START: &[u8] = b"\x30\x82\x01\x22\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\
    \x03\x82\x01\x0f\x00\x30\x82\x01\x0a\x02\x82\x01\x01\x00";
const RSA_END: &[u8] = b"\x02\x03\x01\x00\x01";
const EC_START: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\
    \x03\x01\x07\x03\x42\x00\x04";

/// A gate for one of the RFC's tokens, at a time at which it is good. The RFC names no `sub`.
fn rfc_7515(algorithm: Algorithm, numbers: &str) -> Gate {
    let numbers = URL_SAFE_NO_PAD.decode(numbers).unwrap_or_default();
    let der = match algorithm {
        Algorithm::RS256 => [RSA_START, &numbers, RSA_END].concat(),
        _ => [EC_START, &numbers].concat(),
    };
    let keys = vec![TrustedKey::new(pem(&der), algorithm)];
    Gate::new(Policy { keys, identity_claims: vec!["iss".to_owned()], ..Policy::default() }, None)
}

/// A second before the tokens of RFC 7515 end.
const RFC_NOW: f64 = 1_300_819_379.0;

/// What is counted: nothing here depends on a key of a run.
pub fn counted() -> Vec<Task> {
    let mut tasks = Vec::new();
    let mut all = |name: &str, cap: usize, token: &str| {
        tasks.push(task(name, Ours::with_secret(cap), token.to_owned()));
        tasks.push(task(name, Floor::with_secret(), token.to_owned()));
        tasks.push(task(name, Library::with_secret(), token.to_owned()));
    };
    let (_, small) = SIZES[0];
    for (size, bytes) in SIZES {
        all(&format!("HS256/{size}/admitted"), CAP, &hs256(bytes, Cause::Admitted));
    }
    for cause in Cause::ALL.into_iter().filter(|cause| *cause != Cause::Admitted) {
        all(&format!("HS256/200B/{}", cause.name()), CAP, &hs256(small, cause));
    }
    for Contest { tasks: [gate, ..], .. } in shapeless() {
        tasks.push(gate);
    }
    for (algorithm, numbers, token) in RFC_7515 {
        let gate = rfc_7515(algorithm, numbers);
        tasks.push(Task::new(format!("{algorithm:?}/rfc7515/admitted/gate"), move || {
            let _ = black_box(gate.admit(black_box(token.as_bytes()), RFC_NOW));
        }));
    }
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_agree_on_every_token() {
        let keys = Keys::generate();
        for algorithm in ALGORITHMS {
            let (ours, floor, library) =
                (Ours::new(&keys, algorithm, CAP), Floor::new(&keys, algorithm), Library::new(&keys, algorithm));
            for (size, bytes) in SIZES {
                for cause in Cause::ALL {
                    let token = keys.token(algorithm, bytes, cause);
                    let wanted = cause == Cause::Admitted;
                    assert_eq!(ours.admits(&token), wanted, "the gate on {algorithm:?}/{size}/{cause:?}");
                    assert_eq!(floor.admits(&token), wanted, "the floor on {algorithm:?}/{size}/{cause:?}");
                    assert_eq!(library.admits(&token), wanted, "the library on {algorithm:?}/{size}/{cause:?}");
                }
            }
        }
    }

    #[test]
    fn the_tokens_of_rfc_7515_are_let_in_until_they_end() {
        for (algorithm, numbers, token) in RFC_7515 {
            let gate = rfc_7515(algorithm, numbers);
            let (good, ended) = (gate.admit(token.as_bytes(), RFC_NOW), gate.admit(token.as_bytes(), RFC_NOW + 1.0));
            assert!(good.is_ok() && ended.is_err(), "{algorithm:?}: {good:?}, {ended:?}");
        }
    }

    #[test]
    fn sizes_are_what_they_are_called() {
        for (name, bytes) in SIZES {
            let length = hs256(bytes, Cause::Admitted).len();
            assert!((bytes * 19 / 20..=bytes).contains(&length), "{name}: {length}");
        }
    }
}
