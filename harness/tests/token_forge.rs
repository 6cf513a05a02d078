//! Laws of the forge that need no oracle: it is deterministic, its valid token verifies under another library,
//! splitting and joining are inverse, and the shapes of the first cases are exactly those that were asked for.

mod token_support;

use gatecrash::token::{
    Algorithm, Op, Recipe, Suits, VerifyKey, attacker_certificate, attacker_jwks, forge, verify_jws,
};
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Value, json};
use token_support::{Bench, SECRET};

fn text(bench: &Bench, recipe: &Value) -> String {
    bench.forge(recipe).text().expect("UTF-8").to_owned()
}

fn verifies(text: &str) -> Result<Value, jsonwebtoken::errors::Error> {
    let mut validation = Validation::new(jsonwebtoken::Algorithm::HS256);
    // The forged tokens live in their own time, not in the system clock's.
    validation.validate_exp = false;
    jsonwebtoken::decode::<Value>(text, &DecodingKey::from_secret(SECRET.as_bytes()), &validation)
        .map(|data| data.claims)
}

#[test]
fn valid_verifies_elsewhere_and_carries_the_template() {
    let claims = verifies(&text(&Bench::new(), &json!("valid"))).expect("verifies");
    assert_eq!(claims["sub"], "gatecrash");
    assert_eq!(claims["email"], "gatecrash@gatecrash.example");
    assert_eq!(claims["exp"], 1_790_000_295);
    assert_eq!(claims["iat"], 1_789_999_995);
}

#[test]
fn only_what_is_needed_is_left() {
    let claims = verifies(&text(&Bench::new(), &json!({ "forge": ["required_claims_only"] }))).expect("verifies");
    assert_eq!(claims, json!({ "sub": "gatecrash", "exp": 1_790_000_295 }));
}

/// ECDSA is random inside the library, and a certificate holds a signature too.
const RANDOM: [&str; 2] = [r#"{"embed_jwk":"ec"}"#, r#"{"embed_x5c":"ec"}"#];

#[test]
fn every_sample_forges_the_same_token_twice() {
    for (algorithm, suits) in
        [(Algorithm::HS256, Suits::Any), (Algorithm::RS256, Suits::Rsa), (Algorithm::EdDSA, Suits::Ed)]
    {
        let bench = Bench::of(algorithm);
        for info in Op::catalogue().into_iter().filter(|info| info.suits == suits) {
            for sample in info.samples.iter().filter(|sample| !RANDOM.contains(sample)) {
                let recipe = json!({ "forge": [serde_json::from_str::<Value>(sample).expect("JSON")] });
                let recipe: Recipe = serde_json::from_value(recipe).expect("sample");
                let token = forge(&recipe, &bench.mint());
                // A scheme mismatch on RS256 is a PSS signature, which is random.
                if token.is_ok() && info.name != "scheme_mismatch" {
                    assert_eq!(token, forge(&recipe, &bench.mint()), "{sample}");
                }
            }
        }
    }
}

#[test]
fn the_first_cases_have_the_asked_for_shape() {
    let bench = Bench::new();
    let valid = text(&bench, &json!("valid"));
    let parts: Vec<&str> = valid.split('.').collect();
    assert_eq!(parts.join("."), valid);
    let [h, p, s] = parts[..] else { panic!("three segments") };

    assert!(bench.forge(&json!("absent")).is_absent());
    assert_eq!(text(&bench, &json!("empty")), "");
    assert_eq!(text(&bench, &json!({"literal": "invalid-token-here"})), "invalid-token-here");
    let forged = |ops: Value| text(&bench, &json!({ "forge": ops }));
    assert_eq!(forged(json!([{"drop_segment": "signature"}])), format!("{h}.{p}"));
    assert_eq!(forged(json!(["empty_signature"])), format!("{h}.{p}."));
    assert_eq!(forged(json!([{"keep_segment": "claims"}])), p);
    assert_eq!(forged(json!([{"append": ".foo"}])), format!("{valid}.foo"));
    assert_eq!(forged(json!([{"prefix": "."}])), format!(".{valid}"));
    assert_eq!(forged(json!([{"pad": "signature"}])), format!("{valid}="));
    assert_eq!(forged(json!(["quote"])), format!("\"{valid}\""));
    assert_eq!(forged(json!(["upper_case"])), valid.to_uppercase());
    assert!(forged(json!([{"empty_segment": "header"}])).starts_with(&format!(".{p}.")));
    assert_eq!(forged(json!([{"split_segment": "claims"}])).split('.').count(), 4);
    assert!(forged(json!([{"tamper_claims": {"role": "root"}}])).ends_with(s));
    let standard = forged(json!([{"std_alphabet": "signature"}]));
    assert!(standard.rsplit('.').next().is_some_and(|s| s.contains('+') && s.contains('/')));
    let styled = json!([{"header_style": "crlf"}, {"header_style": "reversed"}, {"claims_style": "pretty"}]);
    assert!(verifies(&forged(styled)).is_ok());
    assert_eq!(verifies(&forged(json!([{"user": "bob"}]))).expect("verifies")["email"], "bob@gatecrash.example");
    assert!(verifies(&forged(json!([{"sign": {"key": "wrong"}}]))).is_err());
    assert!(verifies(&forged(json!([{"sign": {"key": "equivalent"}}]))).is_ok());
    assert!(verifies(&forged(json!([{"flip_bit": "last"}]))).is_err());
}

#[test]
fn a_wrong_key_that_is_the_own_key_is_not_applicable() {
    let bench = Bench::new();
    let recipe: Recipe =
        serde_json::from_value(json!({"forge": [{"sign": {"key": {"text": SECRET}}}]})).expect("recipe");
    assert!(forge(&recipe, &bench.mint()).expect_err("the same key").is_not_applicable());
}

#[test]
fn descriptions_never_hold_the_signature() {
    let bench = Bench::new();
    let valid = bench.forge(&json!("valid"));
    let signature = valid.text().and_then(|text| text.rsplit('.').next()).expect("signature").to_owned();
    for recipe in [
        json!("valid"),
        json!({"forge": [{"keep_segment": "signature"}]}),
        json!({"forge": [{"swap_segments": ["header", "signature"]}]}),
        json!({"forge": [{"json_serialization": "flattened"}]}),
        json!({"forge": [{"json_serialization": "polyglot"}]}),
        json!({"forge": [{"prefix": "Bearer "}]}),
    ] {
        let token = bench.forge(&recipe);
        let described = token.describe();
        for shown in [format!("{token:?}"), described.to_string(), serde_json::to_string(&described).expect("JSON")] {
            assert!(!shown.contains(&signature), "{recipe}: {shown}");
        }
    }
    assert!(valid.describe().to_string().contains("\"alg\":\"HS256\""));
}

#[test]
fn recipes_read_from_yaml() {
    let bench = Bench::new();
    let text = r#"
- valid
- absent
- empty
- literal: "[object Object]"
- forge:
    - claims: { exp: "${now-3600}", nested: { v: ["${now+300}", "${user} at ${now}"] } }
    - drop_claims: [role]
    - claims_style: pretty
    - sign: { key: { text: changeme } }
- forge: [ { header: { alg: none } }, empty_signature ]
- forge: [ { signature_of: { forge: [ { user: bob } ] } } ]
"#;
    let recipes: Vec<Value> = serde_yaml::from_str(text).expect("YAML");
    for recipe in &recipes {
        bench.forge(recipe);
    }
    assert_eq!(recipes.len(), 7);
    for wrong in [
        "forge: [ { claims: { exp: \"${nwo}\" } } ]",
        "forge: [ { signature_hex: \"0\" } ]",
        "forge: [ { nest: absent } ]",
        "forge: [ { claims_filler: 99999999999 } ]",
    ] {
        let value: Value = serde_yaml::from_str(wrong).expect("YAML");
        let recipe: Recipe = serde_json::from_value(value).expect("a recipe");
        assert!(recipe.check().is_err(), "{wrong}");
    }
}

/// What an embedded key promises must be true, or a server that falls for it would refuse for another reason.
#[test]
fn embedded_keys_verify_their_tokens() {
    let bench = Bench::new();
    for kind in ["rsa", "ec", "ed", "oct"] {
        let token = bench.forge(&json!({"forge": [{"embed_jwk": kind}]}));
        let header = jsonwebtoken::decode_header(token.text().expect("text")).expect("a header");
        let jwk = serde_json::to_value(header.jwk.expect("a key")).expect("JSON");
        let key = VerifyKey::from_jwk(&jwk).expect("a key");
        let verified = verify_jws(token.text().expect("text").as_bytes(), &[key]).expect("signed by that key");
        assert!(!verified.doubts.is_empty(), "an offered key is doubtful");
    }
    let served = attacker_jwks().expect("keys");
    let keys: Vec<VerifyKey> =
        served["keys"].as_array().expect("keys").iter().map(|jwk| VerifyKey::from_jwk(jwk).expect("a key")).collect();
    let kids: Vec<_> = served["keys"].as_array().expect("keys").iter().map(|jwk| &jwk["kid"]).collect();
    assert_eq!(kids, ["attacker-RS256", "attacker-ES256", "attacker-EdDSA"], "cases name them");
    let token = bench.forge(&json!({"forge": [{"embed_jku": "http://127.0.0.1:9/"}]}));
    assert!(verify_jws(token.bytes().expect("present"), &keys).is_ok());
    assert!(attacker_certificate().expect("a certificate").starts_with("-----BEGIN CERTIFICATE-----\n"));
}
