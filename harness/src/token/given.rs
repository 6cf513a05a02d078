//! A token that was given and not made: its parts as they came, so that what is not changed stays as it is, byte for
//! byte. It is not verified; nobody here has the key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::interpolate::ForgeError;

/// The parts of a signed JWT (RFC 7515 §3.1).
#[derive(Clone)]
pub(crate) struct Given {
    /// The header as JSON, as it came.
    pub(crate) header_json: Vec<u8>,
    /// The claims as JSON, as they came.
    pub(crate) claims_json: Vec<u8>,
    /// The members of the header.
    pub(crate) header: Map<String, Value>,
    /// The claims.
    pub(crate) claims: Map<String, Value>,
    /// The signature.
    pub(crate) signature: Vec<u8>,
}

impl Given {
    /// Takes a token apart.
    ///
    /// # Errors
    ///
    /// When it is no JWT of three segments, two of which are base64url of JSON objects.
    pub(crate) fn read(token: &[u8]) -> Result<Self, ForgeError> {
        let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
        let [header, claims, signature] = parts[..] else { return Err(no_jwt()) };
        let decode = |text: &[u8]| URL_SAFE_NO_PAD.decode(text).map_err(|_| no_jwt());
        let object = |json: &[u8]| serde_json::from_slice::<Map<String, Value>>(json).map_err(|_| no_jwt());
        let (header_json, claims_json, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
        let (header, claims) = (object(&header_json)?, object(&claims_json)?);
        Ok(Self { header_json, claims_json, header, claims, signature })
    }
}

fn no_jwt() -> ForgeError {
    ForgeError::Impossible("the token that was given is no signed JWT".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::token::{Algorithm, Declared, Keyring, Mint, Op, Recipe, Words, forge};

    /// Written as another library would: spaces, a float, members in an order of its own.
    const HEADER: &str = r#"{"typ": "JWT", "alg": "HS256"}"#;
    const CLAIMS: &str = r#"{"sub": "alice", "exp": 2e9, "aud": ["a", "b"]}"#;

    fn token() -> String {
        let [header, claims] = [HEADER, CLAIMS].map(|json| URL_SAFE_NO_PAD.encode(json));
        format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([7; 32]))
    }

    fn made(ops: Value) -> Result<String, ForgeError> {
        let recipe: Recipe = serde_json::from_value(ops).expect("a recipe");
        let (claims, header, keys) = (Map::new(), Map::new(), Keyring::new());
        let given = token();
        let mint = Mint {
            claims: &claims,
            header: &header,
            keys: &keys,
            algorithm: Algorithm::HS256,
            now: 1e9,
            user: "u",
            seed: 1,
            audience: Some("other"),
            issuer: None,
            listener: None,
            jku_allowed: None,
            declared: Declared::default(),
            words: Words::default(),
            role: None,
            allowed_roles: &[],
            needed_claims: &[],
            refresh_marker: None,
            other_issuers: &[],
            given: Some(given.as_bytes()),
        };
        forge(&recipe, &mint).map(|token| String::from_utf8_lossy(token.bytes().unwrap_or_default()).into_owned())
    }

    fn parts(token: &str) -> Vec<&str> {
        token.split('.').collect()
    }

    #[test]
    fn what_is_not_changed_stays_as_it_came() {
        let own = token();
        assert_eq!(made(json!("valid")).as_ref(), Ok(&own));
        let flipped = made(json!({ "forge": [{ "flip_bit": "first" }] })).expect("no key is needed");
        assert_eq!(parts(&flipped)[..2], parts(&own)[..2]);
        assert_ne!(parts(&flipped)[2], parts(&own)[2]);
        assert_eq!(made(json!({ "forge": [{ "append": "x" }] })), Ok(format!("{own}x")));
        let stripped = made(json!({ "forge": [{ "drop_segment": "signature" }] })).expect("no key is needed");
        assert_eq!(stripped, own.rsplit_once('.').expect("a period").0);
    }

    #[test]
    fn tampering_leaves_the_genuine_signature() {
        let tampered = made(json!({ "forge": [{ "tamper_claims": { "sub": "mallory" } }] })).expect("no key is needed");
        let own = token();
        assert_eq!((parts(&tampered)[0], parts(&tampered)[2]), (parts(&own)[0], parts(&own)[2]));
        let claims = URL_SAFE_NO_PAD.decode(parts(&tampered)[1]).expect("base64url");
        let claims: Value = serde_json::from_slice(&claims).expect("JSON");
        assert_eq!(claims, json!({ "sub": "mallory", "exp": 2e9, "aud": ["a", "b"] }));
    }

    #[test]
    fn an_unsigned_or_foreign_token_carries_the_claims_that_were_given() {
        let none = json!({ "forge": [{ "header": { "alg": "none" } }, "empty_signature"] });
        let none = made(none).expect("no key is needed");
        assert_eq!(URL_SAFE_NO_PAD.decode(parts(&none)[1]).expect("base64url"), CLAIMS.as_bytes());
        assert!(none.ends_with('.'), "{none}");
        let wrong = made(json!({ "forge": [{ "sign": { "key": "wrong" } }] })).expect("a key of ours");
        assert_eq!(parts(&wrong)[..2], parts(&token())[..2], "the same text, so that only the key is wrong");
        assert_ne!(parts(&wrong)[2], parts(&token())[2]);
        let foreign =
            json!({ "forge": [{ "claims": { "role": "admin" } }, { "sign": { "key": { "text": "secret" } } }] });
        assert!(made(foreign).is_ok());
    }

    #[test]
    fn what_only_the_holder_of_the_key_can_sign_is_not_made() {
        for ops in [
            json!([{ "claims": { "exp": "${now-1}" } }]),
            json!([{ "header_style": "pretty" }]),
            json!([{ "alg": "HS384" }]),
            json!([{ "user": "bob" }, "empty_signature"]),
            json!(["hash_mismatch"]),
            json!([{ "pad": "claims" }]),
            json!([{ "jwe": "dir" }]),
            json!([{ "sign": { "key": "equivalent" } }]),
            json!([{ "signature_of": { "forge": [{ "claims": { "jti": "another" } }] } }]),
        ] {
            let recipe: Recipe = serde_json::from_value(json!({ "forge": ops })).expect("a recipe");
            assert!(recipe.needs_signing_key(), "{ops}");
            let error = made(json!({ "forge": ops })).expect_err("no key");
            assert!(error.is_not_applicable(), "{ops}: {error}");
        }
    }

    #[test]
    fn whatever_is_said_to_need_no_key_is_made_without_one() {
        for info in Op::catalogue() {
            for sample in info.samples {
                let op: Value = serde_json::from_str(sample).expect("JSON");
                let recipe: Recipe = serde_json::from_value(json!({ "forge": [op] })).expect("a recipe");
                match made(json!({ "forge": [op] })) {
                    Err(ForgeError::NeedsKey(what)) => {
                        // A public key, or one of another issuer: that is another matter.
                        let other = what.contains("public") || what.contains("issuer");
                        assert!(recipe.needs_signing_key() || other, "{sample}: {what}");
                    }
                    Err(error) => assert!(!matches!(error, ForgeError::Crypto(_)), "{sample}: {error}"),
                    Ok(_) => assert!(!recipe.needs_signing_key(), "{sample}"),
                }
            }
        }
    }

    #[test]
    fn what_is_no_jwt_can_be_sent_and_not_changed() {
        for opaque in ["opaque", "a.b.c", "e30.e30", "e30=.e30.AA"] {
            assert!(Given::read(opaque.as_bytes()).is_err(), "{opaque}");
        }
    }
}
