//! What the tests of the token room share: one target per algorithm, with fixed time and seed.

use std::sync::OnceLock;

use gatecrash::token::{
    Algorithm, Declared, KeyKind, Keyring, Mint, OtherIssuer, PrivateKey, Recipe, RolePlace, Token, Words,
    default_claims, default_header, forge,
};
use serde_json::{Map, Value};

pub(crate) const SECRET: &str = "a-secret-of-at-least-thirty-two-bytes";
pub(crate) const NOW: f64 = 1_790_000_000.25;

pub(crate) struct Bench {
    pub(crate) claims: Map<String, Value>,
    pub(crate) header: Map<String, Value>,
    pub(crate) keys: Keyring,
    pub(crate) algorithm: Algorithm,
    pub(crate) now: f64,
    pub(crate) refresh_marker: Map<String, Value>,
    pub(crate) needed_claims: Vec<String>,
    pub(crate) audience: Option<&'static str>,
    pub(crate) issuer: Option<&'static str>,
    pub(crate) other_issuers: Vec<OtherIssuer>,
    pub(crate) role: RolePlace,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            claims: default_claims(),
            header: default_header(),
            keys: Keyring::new().with_secret(SECRET),
            algorithm: Algorithm::HS256,
            now: NOW,
            refresh_marker: Map::from_iter([("token_use".to_owned(), Value::from("refresh"))]),
            needed_claims: vec!["sub".to_owned(), "exp".to_owned()],
            audience: None,
            issuer: None,
            role: RolePlace::new("role", false),
            other_issuers: vec![OtherIssuer {
                issuer: "https://other.example".to_owned(),
                keys: Keyring::new().with_secret("the secret of another issuer, 32 bytes"),
                algorithm: Algorithm::HS256,
                kid: Some("other".to_owned()),
            }],
        }
    }

    /// A target of this algorithm, with a key that lives as long as the test process.
    pub(crate) fn of(algorithm: Algorithm) -> Self {
        static KEYS: [OnceLock<PrivateKey>; 5] = [const { OnceLock::new() }; 5];
        let place = match algorithm.key_kind() {
            KeyKind::Secret => {
                return Self { algorithm, ..Self::new() };
            }
            KeyKind::Rsa => 0,
            KeyKind::P256 => 1,
            KeyKind::P384 => 2,
            KeyKind::P521 => 3,
            KeyKind::Ed25519 => 4,
        };
        let key = KEYS[place].get_or_init(|| PrivateKey::generate(algorithm.key_kind()).expect("a key"));
        let mut keys = Keyring::new();
        keys.add_private(key.clone());
        Self { keys, algorithm, ..Self::new() }
    }

    pub(crate) fn mint(&self) -> Mint<'_> {
        Mint {
            claims: &self.claims,
            header: &self.header,
            keys: &self.keys,
            algorithm: self.algorithm,
            now: self.now,
            user: "gatecrash",
            seed: 7,
            audience: self.audience,
            issuer: self.issuer,
            listener: Some("http://harness.example/0"),
            jku_allowed: Some("https://keys.example"),
            declared: Declared::default(),
            words: Words { role_claim: Some("role"), ..Words::default() },
            role: Some(&self.role),
            allowed_roles: &[],
            needed_claims: &self.needed_claims,
            refresh_marker: Some(&self.refresh_marker),
            other_issuers: &self.other_issuers,
            given: None,
        }
    }

    pub(crate) fn forge(&self, recipe: &Value) -> Token {
        let shown = recipe.to_string();
        let recipe: Recipe = serde_json::from_value(recipe.clone()).unwrap_or_else(|error| panic!("{shown}: {error}"));
        recipe.check().unwrap_or_else(|error| panic!("{shown}: {error}"));
        forge(&recipe, &self.mint()).unwrap_or_else(|error| panic!("{shown}: {error}"))
    }
}
