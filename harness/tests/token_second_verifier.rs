//! The oracle against a second, independent verifier: jsonwebtoken, told to be strict. Wherever the standards
//! leave no choice they must agree; where they do not, the difference is named here with its reason, and a
//! difference that no longer exists fails too.

mod token_support;

use std::time::{SystemTime, UNIX_EPOCH};

use gatecrash::token::{Algorithm, Answer, Op, Recipe, Rules, forge, oracle};
use jsonwebtoken::{DecodingKey, Validation, decode};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use token_support::Bench;

/// jsonwebtoken reads the system clock, so these tokens live in it too. No expiry lies close to it.
fn system_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

/// Whom the tokens are for, and who issues them.
const AUDIENCE: &str = "us";
const ISSUER: &str = "https://issuer.example";

fn bench(algorithm: Algorithm) -> Bench {
    Bench { now: system_now(), audience: Some(AUDIENCE), issuer: Some(ISSUER), ..Bench::of(algorithm) }
}

fn key(bench: &Bench) -> DecodingKey {
    match bench.algorithm {
        Algorithm::HS256 => DecodingKey::from_secret(token_support::SECRET.as_bytes()),
        _ => {
            let public = bench.keys.public(bench.algorithm.key_kind()).expect("a public key");
            let jwk = serde_json::from_value(public.jwk()).expect("a JWK");
            DecodingKey::from_jwk(&jwk).expect("a key")
        }
    }
}

/// Whether jsonwebtoken admits the token. It decodes into a map, as a careful user would, so that a payload
/// that is no object is refused.
fn admitted(bench: &Bench, token: &[u8]) -> bool {
    let algorithm = bench.algorithm.name().parse().expect("an algorithm");
    let mut validation = Validation::new(algorithm);
    validation.leeway = 0;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "aud", "iss"]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    decode::<Map<String, Value>>(token, &key(bench), &validation).is_ok()
}

fn rules(bench: &Bench) -> Rules {
    Rules {
        algorithms: Some(vec![bench.algorithm]),
        leeway: Some(0.0),
        require_exp: Some(true),
        audience: Some(AUDIENCE.to_owned()),
        issuer: Some(ISSUER.to_owned()),
        ..Rules::new(&bench.keys, bench.algorithm)
    }
}

/// Where jsonwebtoken admits what the oracle refuses, by the reason that the oracle gives.
const LENIENT: [(&str, &str); 2] = [
    ("J10", "crit is not looked at, though RFC 7515 §4.1.11 demands it"),
    ("B14", "b64 in crit is not looked at either"),
];

/// Compares both on one recipe. An error says how they differ.
fn compare(bench: &Bench, ops: &[Value]) -> Result<(), String> {
    let recipe: Recipe = serde_json::from_value(json!({ "forge": ops })).expect("a recipe");
    let token = match forge(&recipe, &bench.mint()) {
        Ok(token) => token,
        Err(error) if error.is_not_applicable() => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    let bytes = token.bytes().unwrap_or_default();
    let judgement = oracle(bytes, &rules(bench), bench.now, 0.0);
    let theirs = admitted(bench, bytes);
    match judgement.answer {
        Answer::Either => Ok(()),
        Answer::Accept if theirs => Ok(()),
        Answer::Accept => Err(format!("{token:?}: accepted here, refused there")),
        Answer::Refuse if !theirs => Ok(()),
        Answer::Refuse => {
            let refusals = judgement.reasons.iter().filter(|reason| reason.answer == Answer::Refuse);
            if refusals.clone().all(|reason| LENIENT.iter().any(|(source, _)| *source == reason.source)) {
                return Ok(());
            }
            Err(format!("{token:?}: refused here ({:?}), accepted there", judgement.reasons))
        }
    }
}

/// The samples of the operator table that only need this target, as JSON.
fn samples() -> Vec<Value> {
    Op::catalogue()
        .iter()
        .flat_map(|info| info.samples)
        .map(|sample| serde_json::from_str(sample).expect("JSON"))
        .collect()
}

#[test]
fn both_agree_on_every_operator() {
    let mut differences = Vec::new();
    for algorithm in ALGORITHMS {
        let bench = bench(algorithm);
        for sample in samples() {
            if let Err(difference) = compare(&bench, std::slice::from_ref(&sample)) {
                differences.push(format!("{algorithm:?} {sample}: {difference}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn the_named_differences_exist() {
    let bench = bench(Algorithm::HS256);
    for (ops, source) in [
        (json!([{"header": {"crit": ["gatecrash"], "gatecrash": 1}}]), "J10"),
        (json!([{"header": {"crit": ["b64"], "b64": true}}]), "B14"),
    ] {
        let token = bench.forge(&json!({ "forge": ops }));
        let bytes = token.bytes().expect("present");
        let judgement = oracle(bytes, &rules(&bench), bench.now, 0.0);
        assert_eq!((judgement.answer, judgement.reasons[0].source), (Answer::Refuse, source));
        assert!(admitted(&bench, bytes), "{source}: jsonwebtoken has become strict, drop the difference");
    }
}

/// One of each way to sign that both can; ES512 is none that jsonwebtoken knows.
const ALGORITHMS: [Algorithm; 6] =
    [Algorithm::HS256, Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

/// Claims of every kind that time and typing make hard, away from the clock's edge.
fn any_claims() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        Just(json!("${now+300}")),
        Just(json!("${now-300}")),
        Just(json!("${now+300.5}")),
        Just(json!("${now-300.5}")),
        Just(json!("${now+300|text}")),
        Just(json!("never")),
        Just(json!(null)),
        Just(json!(true)),
        Just(json!(0)),
        Just(json!(-1)),
        Just(json!(1.5e9)),
        Just(json!([1])),
        Just(json!({"a": 1})),
        Just(json!(4_294_970_896_u64)),
    ];
    let names = prop::sample::select(vec![
        json!(AUDIENCE),
        json!(ISSUER),
        json!([AUDIENCE]),
        json!([ISSUER]),
        json!(["them", AUDIENCE]),
        json!("them"),
        json!("US"),
        json!("u"),
        json!(["them"]),
        json!([]),
        json!(""),
        json!(null),
        json!(1),
        json!({ AUDIENCE: true }),
        json!([AUDIENCE, 1]),
        json!([[AUDIENCE]]),
    ]);
    prop_oneof![
        names.clone().prop_map(|value| json!({"claims": {"aud": value}})),
        names.prop_map(|value| json!({"claims": {"iss": value}})),
        prop::sample::select(vec!["exp", "aud", "iss"]).prop_map(|name| json!({"drop_claims": [name]})),
        number.clone().prop_map(|value| json!({"claims": {"exp": value}})),
        number.clone().prop_map(|value| json!({"claims": {"nbf": value}})),
        number.prop_map(|value| json!({"claims_last": {"exp": value}})),
        Just(json!({"user": "bob"})),
    ]
}

fn any_op() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => any_claims(),
        2 => prop::sample::select(samples()),
        1 => Just(json!({"header": {"alg": "none"}})),
        1 => Just(json!({"header": {"alg": "hs256"}})),
        1 => Just(json!({"header": {"typ": "JWT", "x": [1]}})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn both_agree_on_compositions(
        algorithm in prop::sample::select(ALGORITHMS.to_vec()),
        ops in prop::collection::vec(any_op(), 0..4),
    ) {
        let bench = bench(algorithm);
        // Operators may contradict each other; that is the forge's business.
        let recipe: Recipe = serde_json::from_value(json!({ "forge": ops })).expect("a recipe");
        prop_assume!(forge(&recipe, &bench.mint()).is_ok());
        if let Err(difference) = compare(&bench, &ops) {
            return Err(TestCaseError::fail(difference));
        }
    }

    #[test]
    fn both_agree_on_changed_texts(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let bench = bench(Algorithm::HS256);
        let token = bench.forge(&json!("valid"));
        let mut bytes = token.bytes().expect("present").to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let judgement = oracle(&bytes, &rules(&bench), bench.now, 0.0);
        if judgement.answer != Answer::Either {
            prop_assert_eq!(judgement.answer == Answer::Accept, admitted(&bench, &bytes));
        }
    }
}
