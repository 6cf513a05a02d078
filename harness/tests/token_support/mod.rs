//! What the tests of the token room share: one HMAC target with fixed time and seed.

use gatecrash::token::{Algorithm, Declared, Keyring, Mint, Recipe, Token, default_claims, default_header, forge};
use serde_json::{Map, Value};

pub(crate) const SECRET: &str = "a-secret-of-at-least-thirty-two-bytes";
pub(crate) const NOW: f64 = 1_790_000_000.25;

pub(crate) struct Bench {
    pub(crate) claims: Map<String, Value>,
    pub(crate) header: Map<String, Value>,
    pub(crate) keys: Keyring,
    pub(crate) algorithm: Algorithm,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            claims: default_claims(),
            header: default_header(),
            keys: Keyring::new().with_secret(SECRET),
            algorithm: Algorithm::HS256,
        }
    }

    pub(crate) fn mint(&self) -> Mint<'_> {
        Mint {
            claims: &self.claims,
            header: &self.header,
            keys: &self.keys,
            algorithm: self.algorithm,
            now: NOW,
            user: "gatecrash",
            seed: 7,
            audience: None,
            issuer: None,
            declared: Declared::default(),
        }
    }

    pub(crate) fn forge(&self, recipe: &Value) -> Token {
        let shown = recipe.to_string();
        let recipe: Recipe = serde_json::from_value(recipe.clone()).unwrap_or_else(|error| panic!("{shown}: {error}"));
        recipe.check().unwrap_or_else(|error| panic!("{shown}: {error}"));
        forge(&recipe, &self.mint()).unwrap_or_else(|error| panic!("{shown}: {error}"))
    }
}
