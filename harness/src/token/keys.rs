//! Public and private keys of the asymmetric algorithms: read from PEM, DER or JWK, written in the spellings
//! that a confused verifier may take for a secret. Private keys are parsed once and never printed.

use std::fmt;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::algorithm::KeyKind;
use super::bignum;
use super::der::{self, Reader};
use super::ops::PublicForm;

/// Why a key could not be read. It never quotes the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyError(String);

impl KeyError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA: modulus and exponent, big-endian without leading zero bytes.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The public exponent.
        e: Vec<u8>,
    },
    /// A point on P-256, P-384 or P-521.
    Ec {
        /// Which curve.
        curve: KeyKind,
        /// The uncompressed point, `04 || x || y`.
        point: Vec<u8>,
    },
    /// Ed25519.
    Ed25519(Vec<u8>),
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.kind().noun())
    }
}

/// The length of a coordinate on this curve.
pub(crate) fn coordinate_len(curve: KeyKind) -> usize {
    match curve {
        KeyKind::P384 => 48,
        KeyKind::P521 => 66,
        _ => 32,
    }
}

fn curve_oid(curve: KeyKind) -> &'static [u8] {
    match curve {
        KeyKind::P384 => der::P384,
        KeyKind::P521 => der::P521,
        _ => der::P256,
    }
}

fn curve_of_oid(oid: &[u8]) -> Option<KeyKind> {
    [KeyKind::P256, KeyKind::P384, KeyKind::P521].into_iter().find(|curve| curve_oid(*curve) == oid)
}

fn curve_of_name(name: &str) -> Option<KeyKind> {
    match name {
        "P-256" => Some(KeyKind::P256),
        "P-384" => Some(KeyKind::P384),
        "P-521" => Some(KeyKind::P521),
        _ => None,
    }
}

impl PublicKey {
    /// Reads a key from SubjectPublicKeyInfo or RSAPublicKey in PEM or DER, from a certificate in PEM, from a JWK, or
    /// from the line of an OpenSSH file, with a comment or without.
    ///
    /// # Errors
    ///
    /// When the text is none of these, or of a kind that no algorithm here uses.
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        let unreadable = || {
            KeyError::new(
                "not a public key in PEM, DER, JWK or OpenSSH's form; the name of a file is written file:PATH",
            )
        };
        if let Some(jwk) = as_jwk(text) {
            return Self::from_jwk(&jwk);
        }
        if let Some(key) = from_openssh(text) {
            return Ok(key);
        }
        match pem(text)? {
            Some((label, bytes)) if label == "PUBLIC KEY" => from_spki(&bytes).ok_or_else(unreadable),
            Some((label, bytes)) if label == "RSA PUBLIC KEY" => from_pkcs1_public(&bytes).ok_or_else(unreadable),
            Some((label, bytes)) if label == "CERTIFICATE" => from_certificate(&bytes).ok_or_else(unreadable),
            Some((label, _)) => Err(KeyError::new(format!("a PEM block `{label}` is not a public key"))),
            None => from_spki(text).or_else(|| from_pkcs1_public(text)).ok_or_else(unreadable),
        }
    }

    /// Reads the public members of a JWK (RFC 7518 §6, RFC 8037 §2).
    ///
    /// # Errors
    ///
    /// When members are missing or the kind is unknown.
    pub fn from_jwk(jwk: &Value) -> Result<Self, KeyError> {
        let member = |name: &str| jwk_bytes(jwk, name);
        match (jwk["kty"].as_str(), jwk["crv"].as_str()) {
            (Some("RSA"), _) => {
                Ok(Self::Rsa { n: bignum::trim(&member("n")?).to_vec(), e: bignum::trim(&member("e")?).to_vec() })
            }
            (Some("EC"), Some(name)) => {
                let curve = curve_of_name(name).ok_or_else(|| KeyError::new("unknown curve in the JWK"))?;
                let len = coordinate_len(curve);
                let (x, y) = (member("x")?, member("y")?);
                let long = || KeyError::new("a coordinate in the JWK is too long");
                let x = bignum::fixed(&x, len).ok_or_else(long)?;
                let y = bignum::fixed(&y, len).ok_or_else(long)?;
                Ok(Self::Ec { curve, point: [&[4], &x[..], &y].concat() })
            }
            (Some("OKP"), Some("Ed25519")) => Ok(Self::Ed25519(member("x")?)),
            _ => Err(KeyError::new("a JWK of this kind is no public key for signatures")),
        }
    }

    /// Which kind of key it is.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        match self {
            Self::Rsa { .. } => KeyKind::Rsa,
            Self::Ec { curve, .. } => *curve,
            Self::Ed25519(_) => KeyKind::Ed25519,
        }
    }

    /// SubjectPublicKeyInfo in DER (RFC 5280 §4.1).
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        let (algorithm, key) = match self {
            Self::Rsa { .. } => {
                let oid = der::element(der::OBJECT, &[der::RSA_ENCRYPTION]);
                (
                    der::element(der::SEQUENCE, &[&oid, &der::element(der::NULL, &[])]),
                    self.pkcs1_der().unwrap_or_default(),
                )
            }
            Self::Ec { curve, point } => {
                let oid = der::element(der::OBJECT, &[der::EC_PUBLIC_KEY]);
                let curve = der::element(der::OBJECT, &[curve_oid(*curve)]);
                (der::element(der::SEQUENCE, &[&oid, &curve]), point.clone())
            }
            Self::Ed25519(key) => {
                let oid = der::element(der::OBJECT, &[der::ED25519]);
                (der::element(der::SEQUENCE, &[&oid]), key.clone())
            }
        };
        der::element(der::SEQUENCE, &[&algorithm, &der::bit_string(&key)])
    }

    fn pkcs1_der(&self) -> Option<Vec<u8>> {
        match self {
            Self::Rsa { n, e } => Some(der::element(der::SEQUENCE, &[&der::integer(n), &der::integer(e)])),
            _ => None,
        }
    }

    /// The public JWK.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa { n, e } => json!({ "kty": "RSA", "n": text(n), "e": text(e) }),
            Self::Ec { curve, point } => {
                let (x, y) = point[1..].split_at(coordinate_len(*curve).min(point.len().saturating_sub(1)));
                let name = match curve {
                    KeyKind::P384 => "P-384",
                    KeyKind::P521 => "P-521",
                    _ => "P-256",
                };
                json!({ "kty": "EC", "crv": name, "x": text(x), "y": text(y) })
            }
            Self::Ed25519(key) => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(key) }),
        }
    }

    /// The key in a spelling that may be mistaken for an HMAC secret; none when this kind has no such spelling.
    #[must_use]
    pub fn spelled(&self, form: PublicForm) -> Option<Vec<u8>> {
        let spki = || to_pem("PUBLIC KEY", &self.spki_der());
        Some(match (form, self) {
            (PublicForm::SpkiPem, _) => spki().into_bytes(),
            (PublicForm::SpkiPemNoNewline, _) => spki().trim_end().as_bytes().to_vec(),
            (PublicForm::SpkiPemCrlf, _) => spki().replace('\n', "\r\n").into_bytes(),
            (PublicForm::SpkiDer, _) => self.spki_der(),
            (PublicForm::Pkcs1Pem, _) => to_pem("RSA PUBLIC KEY", &self.pkcs1_der()?).into_bytes(),
            (PublicForm::Pkcs1PemNoNewline, _) => {
                to_pem("RSA PUBLIC KEY", &self.pkcs1_der()?).trim_end().as_bytes().to_vec()
            }
            (PublicForm::SpkiPemOneLine, _) => on_one_line(&spki()),
            (PublicForm::SpkiPemAfterNewline, _) => format!("\n{}", spki()).into_bytes(),
            (PublicForm::SpkiPemFlat, _) => spki().replace('\n', "").into_bytes(),
            (PublicForm::SpkiPemEscaped, _) => spki().replace('\n', "\\n").into_bytes(),
            (PublicForm::SpkiBase64, _) => STANDARD.encode(self.spki_der()).into_bytes(),
            (PublicForm::Pkcs1PemOneLine, _) => on_one_line(&to_pem("RSA PUBLIC KEY", &self.pkcs1_der()?)),
            (PublicForm::Pkcs1Der, _) => self.pkcs1_der()?,
            (PublicForm::Jwk, _) => self.jwk().to_string().into_bytes(),
            (PublicForm::Modulus, Self::Rsa { n, .. }) => n.clone(),
            (PublicForm::Point, Self::Ec { point, .. }) => point.clone(),
            (PublicForm::Coordinates, Self::Ec { point, .. }) => point.get(1..)?.to_vec(),
            (PublicForm::Raw, Self::Ed25519(key)) => key.clone(),
            (PublicForm::Openssh, _) => self.openssh().into_bytes(),
            (PublicForm::OpensshNewline, _) => (self.openssh() + "\n").into_bytes(),
            (
                PublicForm::Modulus
                | PublicForm::Point
                | PublicForm::Coordinates
                | PublicForm::Raw
                | PublicForm::CertificatePem
                | PublicForm::AsGiven,
                _,
            ) => return None,
        })
    }

    /// A line of an `authorized_keys` file (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4).
    fn openssh(&self) -> String {
        let field = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
        let number = |bytes: &[u8]| {
            let sign: &[u8] = if bytes.first().is_some_and(|first| first & 0x80 != 0) { &[0] } else { &[] };
            field(&[sign, bytes].concat())
        };
        let (name, rest) = match self {
            Self::Rsa { n, e } => ("ssh-rsa", [number(e), number(n)].concat()),
            Self::Ec { curve, point } => {
                let (name, curve) = match curve {
                    KeyKind::P384 => ("ecdsa-sha2-nistp384", "nistp384"),
                    KeyKind::P521 => ("ecdsa-sha2-nistp521", "nistp521"),
                    _ => ("ecdsa-sha2-nistp256", "nistp256"),
                };
                (name, [field(curve.as_bytes()), field(point)].concat())
            }
            Self::Ed25519(key) => ("ssh-ed25519", field(key)),
        };
        format!("{name} {}", STANDARD.encode([field(name.as_bytes()), rest].concat()))
    }
}

/// A PEM whose body is not broken into lines, as some issuers print it.
fn on_one_line(pem: &str) -> Vec<u8> {
    let mut lines = pem.lines();
    let (first, last) = (lines.next().unwrap_or_default(), lines.next_back().unwrap_or_default());
    format!("{first}\n{}\n{last}\n", lines.collect::<String>()).into_bytes()
}

/// The key in a line of an `authorized_keys` file.
fn from_openssh(text: &[u8]) -> Option<PublicKey> {
    let mut words = str::from_utf8(text).ok()?.split_ascii_whitespace();
    let (name, blob) = (words.next()?, STANDARD.decode(words.next()?).ok()?);
    let mut rest = blob.as_slice();
    let mut field = || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (field, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        rest = after;
        Some(field)
    };
    if field()? != name.as_bytes() {
        return None;
    }
    match name {
        "ssh-rsa" => {
            let (e, n) = (bignum::trim(field()?).to_vec(), bignum::trim(field()?).to_vec());
            Some(PublicKey::Rsa { n, e })
        }
        "ssh-ed25519" => Some(PublicKey::Ed25519(field()?.to_vec())),
        _ => {
            let curve = match (name.strip_prefix("ecdsa-sha2-")?, field()?) {
                ("nistp256", b"nistp256") => KeyKind::P256,
                ("nistp384", b"nistp384") => KeyKind::P384,
                ("nistp521", b"nistp521") => KeyKind::P521,
                _ => return None,
            };
            let point = field()?.to_vec();
            (point.len() == 1 + 2 * coordinate_len(curve)).then_some(PublicKey::Ec { curve, point })
        }
    }
}

/// A private key, ready to sign.
#[derive(Clone)]
pub struct PrivateKey {
    public: PublicKey,
    pub(crate) pair: Pair,
}

/// The key pair of the library behind a private key.
#[derive(Clone)]
pub(crate) enum Pair {
    /// `d` stays beside the pair for blocks that the library would not sign.
    Rsa {
        pair: Arc<RsaKeyPair>,
        d: Arc<Vec<u8>>,
    },
    Ec(Arc<EcdsaKeyPair>),
    Ed(Arc<Ed25519KeyPair>),
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public.kind().noun())
    }
}

fn signing_algorithm(curve: KeyKind) -> &'static EcdsaSigningAlgorithm {
    match curve {
        KeyKind::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        KeyKind::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
        _ => &ECDSA_P256_SHA256_FIXED_SIGNING,
    }
}

impl PrivateKey {
    /// Reads a key from PKCS#8, PKCS#1 or SEC 1 in PEM or DER, or from a private JWK.
    ///
    /// # Errors
    ///
    /// When the text is none of these, is encrypted, or the library refuses the key.
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        if let Some(jwk) = as_jwk(text) {
            return Self::from_jwk(&jwk);
        }
        match pem(text)? {
            Some((label, bytes)) => match label.as_str() {
                "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => Self::from_der(&bytes),
                "ENCRYPTED PRIVATE KEY" => Err(KeyError::new("an encrypted private key cannot be read")),
                other => Err(KeyError::new(format!("a PEM block `{other}` is not a private key"))),
            },
            None => Self::from_der(text),
        }
    }

    fn from_der(bytes: &[u8]) -> Result<Self, KeyError> {
        let unreadable =
            || KeyError::new("not a private key in PEM, DER or JWK; the name of a file is written file:PATH");
        let mut outer = Reader(bytes).sequence().ok_or_else(unreadable)?;
        outer.expect(der::INTEGER).ok_or_else(unreadable)?;
        match outer.peek() {
            // PKCS#1: version, then the modulus.
            Some(der::INTEGER) => Self::rsa(bytes),
            // SEC 1: version, the scalar, then the curve in [0].
            Some(der::OCTET_STRING) => {
                outer.any();
                let parameters = outer.expect(0xa0).ok_or_else(|| KeyError::new("an EC key without its curve"))?;
                let oid = Reader(parameters).expect(der::OBJECT).ok_or_else(unreadable)?;
                Self::ec(curve_of_oid(oid).ok_or_else(|| KeyError::new("unknown curve"))?, bytes)
            }
            // PKCS#8: version, the algorithm, then the key.
            Some(der::SEQUENCE) => {
                let mut algorithm = outer.sequence().ok_or_else(unreadable)?;
                let oid = algorithm.expect(der::OBJECT).ok_or_else(unreadable)?;
                let key = outer.expect(der::OCTET_STRING).ok_or_else(unreadable)?;
                match oid {
                    der::RSA_ENCRYPTION => Self::rsa(key),
                    der::EC_PUBLIC_KEY => {
                        let curve = algorithm.expect(der::OBJECT).and_then(curve_of_oid);
                        Self::ec(curve.ok_or_else(|| KeyError::new("unknown curve"))?, bytes)
                    }
                    der::ED25519 => Self::ed(Reader(key).expect(der::OCTET_STRING).ok_or_else(unreadable)?),
                    _ => Err(KeyError::new("a private key of an unknown kind")),
                }
            }
            _ => Err(unreadable()),
        }
    }

    fn from_jwk(jwk: &Value) -> Result<Self, KeyError> {
        let member = |name: &str| jwk_bytes(jwk, name);
        match PublicKey::from_jwk(jwk)? {
            PublicKey::Rsa { n, e } => {
                let mut parts = vec![der::integer(&[]), der::integer(&n), der::integer(&e)];
                for name in ["d", "p", "q", "dp", "dq", "qi"] {
                    parts.push(der::integer(&member(name)?));
                }
                let parts: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
                Self::rsa(&der::element(der::SEQUENCE, &parts))
            }
            PublicKey::Ec { curve, point } => {
                let scalar = member("d")?;
                EcdsaKeyPair::from_private_key_and_public_key(signing_algorithm(curve), &scalar, &point)
                    .map(|pair| Self::of_ec(curve, pair))
                    .map_err(|_| KeyError::new("the library refuses this EC key"))
            }
            PublicKey::Ed25519(_) => Self::ed(&member("d")?),
        }
    }

    fn rsa(pkcs1: &[u8]) -> Result<Self, KeyError> {
        let refused = || KeyError::new("the library refuses this RSA key");
        let pair = RsaKeyPair::from_der(pkcs1).map_err(|_| refused())?;
        let mut reader = Reader(pkcs1).sequence().ok_or_else(refused)?;
        let mut next = || reader.integer().map(<[u8]>::to_vec).ok_or_else(refused);
        let (_version, n, e, d) = (next()?, next()?, next()?, next()?);
        Ok(Self { public: PublicKey::Rsa { n, e }, pair: Pair::Rsa { pair: Arc::new(pair), d: Arc::new(d) } })
    }

    fn ec(curve: KeyKind, der: &[u8]) -> Result<Self, KeyError> {
        EcdsaKeyPair::from_private_key_der(signing_algorithm(curve), der)
            .map(|pair| Self::of_ec(curve, pair))
            .map_err(|_| KeyError::new("the library refuses this EC key"))
    }

    fn of_ec(curve: KeyKind, pair: EcdsaKeyPair) -> Self {
        let point = pair.public_key().as_ref().to_vec();
        Self { public: PublicKey::Ec { curve, point }, pair: Pair::Ec(Arc::new(pair)) }
    }

    fn ed(seed: &[u8]) -> Result<Self, KeyError> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map(Self::of_ed)
            .map_err(|_| KeyError::new("the library refuses this Ed25519 key"))
    }

    fn of_ed(pair: Ed25519KeyPair) -> Self {
        let public = PublicKey::Ed25519(pair.public_key().as_ref().to_vec());
        Self { public, pair: Pair::Ed(Arc::new(pair)) }
    }

    /// A new random key of this kind; none for a shared secret, which needs no pair.
    #[must_use]
    pub fn generate(kind: KeyKind) -> Option<Self> {
        match kind {
            KeyKind::Secret => None,
            KeyKind::Rsa => {
                // By way of DER, so that `d` is known for blocks that the library would not sign.
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).ok()?;
                let pkcs8: Pkcs8V1Der<'_> = pair.as_der().ok()?;
                Self::from_der(pkcs8.as_ref()).ok()
            }
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => {
                EcdsaKeyPair::generate(signing_algorithm(kind)).ok().map(|pair| Self::of_ec(kind, pair))
            }
            KeyKind::Ed25519 => Ed25519KeyPair::generate().ok().map(Self::of_ed),
        }
    }

    /// The attacker's key of this kind, the same in the whole process.
    ///
    /// That of RSA is everybody's: it opens nothing, and making one takes as long as all handshakes of a quick run. The
    /// others are random and made when they are first needed.
    #[must_use]
    pub fn attacker(kind: KeyKind) -> Option<&'static Self> {
        static KEYS: [OnceLock<Option<PrivateKey>>; 5] = [const { OnceLock::new() }; 5];
        let place = match kind {
            KeyKind::Secret => return None,
            KeyKind::Rsa => 0,
            KeyKind::P256 => 1,
            KeyKind::P384 => 2,
            KeyKind::P521 => 3,
            KeyKind::Ed25519 => 4,
        };
        let make = || match kind {
            KeyKind::Rsa => Self::rsa(include_bytes!("attacker.der")).ok(),
            _ => Self::generate(kind),
        };
        KEYS[place].get_or_init(make).as_ref()
    }

    /// The key as PKCS#8 in PEM, for a target that is started by whoever holds the key; none when the library fails.
    #[must_use]
    pub fn to_pem(&self) -> Option<String> {
        let der = match &self.pair {
            Pair::Rsa { pair, .. } => AsDer::<Pkcs8V1Der<'_>>::as_der(&**pair).ok()?.as_ref().to_vec(),
            Pair::Ec(pair) => pair.to_pkcs8v1().ok()?.as_ref().to_vec(),
            Pair::Ed(pair) => pair.to_pkcs8v1().ok()?.as_ref().to_vec(),
        };
        Some(to_pem("PRIVATE KEY", &der))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

fn from_pkcs1_public(bytes: &[u8]) -> Option<PublicKey> {
    let mut reader = Reader(bytes).sequence()?;
    let (n, e) = (reader.integer()?, reader.integer()?);
    reader.0.is_empty().then(|| PublicKey::Rsa { n: n.to_vec(), e: e.to_vec() })
}

fn from_spki(bytes: &[u8]) -> Option<PublicKey> {
    let mut outer = Reader(bytes).sequence()?;
    let mut algorithm = outer.sequence()?;
    let oid = algorithm.expect(der::OBJECT)?;
    let key = outer.bit_string()?;
    match oid {
        der::RSA_ENCRYPTION => from_pkcs1_public(key),
        der::EC_PUBLIC_KEY => {
            let curve = curve_of_oid(algorithm.expect(der::OBJECT)?)?;
            let whole = key.len() == 1 + 2 * coordinate_len(curve) && key.first() == Some(&4);
            whole.then(|| PublicKey::Ec { curve, point: key.to_vec() })
        }
        der::ED25519 => (key.len() == 32).then(|| PublicKey::Ed25519(key.to_vec())),
        _ => None,
    }
}

/// The key of a certificate (RFC 5280 §4.1); nothing else in it is looked at.
fn from_certificate(bytes: &[u8]) -> Option<PublicKey> {
    let mut body = Reader(bytes).sequence()?.sequence()?;
    if body.peek() == Some(0xa0) {
        body.any()?;
    }
    body.expect(der::INTEGER)?;
    // Algorithm, issuer, validity, subject.
    for _ in 0..4 {
        body.expect(der::SEQUENCE)?;
    }
    from_spki(&der::element(der::SEQUENCE, &[body.expect(der::SEQUENCE)?]))
}

fn as_jwk(text: &[u8]) -> Option<Value> {
    serde_json::from_slice::<Value>(text).ok().filter(Value::is_object)
}

fn jwk_bytes(jwk: &Value, name: &str) -> Result<Vec<u8>, KeyError> {
    jwk[name]
        .as_str()
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .ok_or_else(|| KeyError::new(format!("the JWK has no readable member `{name}`")))
}

/// The first block of a PEM text; none when the text is no PEM at all. OpenSSL may write the curve in a block of
/// its own before the key, which says nothing that the key does not say again.
fn pem(text: &[u8]) -> Result<Option<(String, Vec<u8>)>, KeyError> {
    let broken = || KeyError::new("a PEM block that cannot be read");
    let Ok(mut rest) = std::str::from_utf8(text) else {
        return Ok(None);
    };
    while let Some((_, block)) = rest.split_once("-----BEGIN ") {
        let (label, block) = block.split_once("-----").ok_or_else(broken)?;
        let (body, after) = block.split_once("-----END ").ok_or_else(broken)?;
        if label == "EC PARAMETERS" {
            rest = after;
            continue;
        }
        let body: String = body.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(body).map_err(|_| broken())?;
        return Ok(Some((label.to_owned(), bytes)));
    }
    Ok(None)
}

/// PEM with lines of 64 characters and a final line feed (RFC 7468 §2).
pub(crate) fn to_pem(label: &str, bytes: &[u8]) -> String {
    let body = STANDARD.encode(bytes);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        out.extend(line.iter().map(|byte| char::from(*byte)));
        out.push('\n');
    }
    out.push_str("-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::encoding::{AsBigEndian as _, EcPrivateKeyBin, EcPrivateKeyRfc5915Der};

    const KINDS: [KeyKind; 5] = [KeyKind::Rsa, KeyKind::P256, KeyKind::P384, KeyKind::P521, KeyKind::Ed25519];

    fn key(kind: KeyKind) -> &'static PrivateKey {
        PrivateKey::attacker(kind).expect("a key")
    }

    fn pkcs8(key: &PrivateKey) -> Vec<u8> {
        let pem = key.to_pem().expect("PEM");
        super::pem(pem.as_bytes()).expect("PEM").expect("a block").1
    }

    #[test]
    fn public_keys_read_back_from_every_form() {
        for kind in KINDS {
            let public = key(kind).public();
            for form in [
                PublicForm::SpkiPem,
                PublicForm::SpkiPemNoNewline,
                PublicForm::SpkiPemCrlf,
                PublicForm::SpkiDer,
                PublicForm::SpkiPemOneLine,
                PublicForm::Pkcs1Pem,
                PublicForm::Pkcs1PemOneLine,
                PublicForm::Pkcs1Der,
                PublicForm::Jwk,
                PublicForm::Openssh,
                PublicForm::OpensshNewline,
            ] {
                if let Some(text) = public.spelled(form) {
                    assert_eq!(PublicKey::parse(&text).as_ref(), Ok(public), "{kind:?} {form:?}");
                }
            }
        }
    }

    #[test]
    fn private_keys_read_back_from_every_form() {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        for kind in KINDS {
            let own = key(kind);
            let der = pkcs8(own);
            let mut forms = vec![der.clone(), to_pem("PRIVATE KEY", &der).into_bytes()];
            let mut jwk = own.public().jwk();
            match &own.pair {
                Pair::Rsa { .. } => {
                    let mut outer = Reader(&der).sequence().expect("PKCS#8");
                    let pkcs1 = (outer.any(), outer.any(), outer.expect(der::OCTET_STRING)).2.expect("PKCS#1");
                    forms.push(to_pem("RSA PRIVATE KEY", pkcs1).into_bytes());
                    let mut numbers = Reader(pkcs1).sequence().expect("PKCS#1");
                    for name in ["version", "n", "e", "d", "p", "q", "dp", "dq", "qi"] {
                        jwk[name] = json!(text(numbers.integer().expect("a number")));
                    }
                }
                Pair::Ec(pair) => {
                    let sec1: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().expect("DER");
                    forms.push(to_pem("EC PRIVATE KEY", sec1.as_ref()).into_bytes());
                    let scalar: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().expect("a number");
                    jwk["d"] = json!(text(scalar.as_ref()));
                }
                Pair::Ed(pair) => {
                    jwk["d"] = json!(text(pair.seed().expect("a seed").as_be_bytes().expect("bytes").as_ref()))
                }
            }
            forms.push(jwk.to_string().into_bytes());
            for form in forms {
                let read = PrivateKey::parse(&form).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
                assert_eq!(read.public(), own.public(), "{kind:?}");
            }
        }
    }

    #[test]
    fn a_certificate_gives_its_key_and_parameters_are_skipped() {
        let own = key(KeyKind::P256);
        let der = crate::token::x509::self_signed(own).expect("a certificate");
        assert_eq!(PublicKey::parse(to_pem("CERTIFICATE", &der).as_bytes()).as_ref(), Ok(own.public()));
        let two = format!("{}{}", to_pem("EC PARAMETERS", b"x"), to_pem("PRIVATE KEY", &pkcs8(own)));
        assert!(PrivateKey::parse(two.as_bytes()).is_ok());
    }

    #[test]
    fn errors_and_debug_tell_no_key() {
        let own = key(KeyKind::Ed25519);
        assert_eq!(format!("{own:?}"), "PrivateKey(Ed25519 key)");
        for text in
            ["", "hello", "{}", "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n", "{\"kty\":\"EC\"}"]
        {
            let error = PrivateKey::parse(text.as_bytes()).expect_err("no key").to_string();
            assert!(!error.contains("hunter2") && !error.is_empty(), "{error}");
            assert!(PublicKey::parse(text.as_bytes()).is_err());
        }
        assert!(PrivateKey::parse(to_pem("CERTIFICATE", b"x").as_bytes()).is_err());
    }
}
