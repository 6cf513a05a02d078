//! Laws that bind forge and oracle together. The walk over the operator table needs no list of its own: an
//! operator that is added to the table is tried here, and one that does not do what its row says fails.

mod token_support;

use gatecrash::token::{
    Algorithm, Answer, Effect, Judgement, KeyChoice, Op, PublicForm, Recipe, RoleRule, Rules, Sign, Suits, Token,
    TypRule, VerifyKey, forge, oracle, verify_jws,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use token_support::{Bench, NOW};

const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::HS256,
    Algorithm::HS384,
    Algorithm::HS512,
    Algorithm::RS256,
    Algorithm::PS256,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

fn rules(bench: &Bench) -> Rules {
    Rules::new(&bench.keys, bench.algorithm)
}

fn judge(bench: &Bench, token: &Token) -> Judgement {
    oracle(token.bytes().unwrap_or_default(), &rules(bench), NOW, 0.0)
}

fn recipe(ops: Value) -> Recipe {
    let recipe: Recipe = serde_json::from_value(json!({ "forge": ops })).expect("recipe");
    recipe.check().expect("recipe");
    recipe
}

fn answer(bench: &Bench, ops: Value) -> Answer {
    let shown = ops.to_string();
    let token = forge(&recipe(ops), &bench.mint()).unwrap_or_else(|error| panic!("{shown}: {error}"));
    judge(bench, &token).answer
}

fn suits(algorithm: Algorithm) -> Suits {
    match algorithm.name().as_bytes() {
        [b'R', ..] => Suits::Rsa,
        [b'P', ..] => Suits::Pss,
        [b'E', b'S', ..] => Suits::Ec,
        [b'E', ..] => Suits::Ed,
        _ => Suits::Any,
    }
}

#[test]
fn valid_is_accepted_under_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let bench = Bench::of(algorithm);
        for _ in 0..8 {
            let judgement = judge(&bench, &bench.forge(&json!("valid")));
            assert_eq!(judgement.answer, Answer::Accept, "{algorithm:?}: {:?}", judgement.reasons);
        }
    }
}

#[test]
fn every_operator_has_the_effect_of_its_row() {
    for info in Op::catalogue() {
        for sample in info.samples {
            let op: Value = serde_json::from_str(sample).expect("JSON");
            let mut forged = 0;
            for algorithm in ALGORITHMS {
                let bench = Bench::of(algorithm);
                let token = match forge(&recipe(json!([op])), &bench.mint()) {
                    Ok(token) => token,
                    Err(error) => {
                        assert!(error.is_not_applicable(), "{sample} under {algorithm:?}: {error}");
                        let own =
                            info.suits == suits(algorithm) && !matches!(algorithm, Algorithm::HS384 | Algorithm::HS512);
                        assert!(!own, "{sample} must be possible under {algorithm:?}: {error}");
                        continue;
                    }
                };
                forged += 1;
                let judgement = judge(&bench, &token);
                match info.effect {
                    Effect::Breaking => {
                        assert_eq!(judgement.answer, Answer::Refuse, "{sample} under {algorithm:?}: {token:?}")
                    }
                    Effect::Benign => assert_eq!(
                        judgement.answer,
                        Answer::Accept,
                        "{sample} under {algorithm:?}: {:?}",
                        judgement.reasons
                    ),
                    Effect::Open => {}
                }
                assert_eq!(judgement.answer == Answer::Accept, judgement.reasons.is_empty());
            }
            assert!(forged > 0, "{sample} was never forged");
        }
    }
}

#[test]
fn what_is_signed_again_is_signed_over_the_text_as_sent() {
    // What is signed again verifies as a JWS would, had the one rule not been broken: a lenient server must be
    // caught by that rule alone. So the MAC covers the text as sent for everything below the signature layer.
    let bench = Bench::new();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, token_support::SECRET.as_bytes());
    for info in Op::catalogue() {
        for sample in info.samples {
            let signed_again = matches!(sample.split('"').nth(1), Some(name) if !name.starts_with("tamper"))
                && !sample.contains("embed")
                && !sample.contains("oversized")
                && !sample.contains("\"signature\"")
                && !["{\"alg\":\"HS384\"}", "\"ecdsa\""].contains(sample)
                && ["header", "claims", "segment"].contains(&json!(info.layer).as_str().unwrap_or_default());
            if !signed_again {
                continue;
            }
            let token = forge(&recipe(json!([serde_json::from_str::<Value>(sample).expect("JSON")])), &bench.mint())
                .expect("forged");
            let bytes = token.bytes().expect("present");
            let end = bytes.iter().rposition(|byte| *byte == b'.').expect("a period");
            let tag = aws_lc_rs::hmac::sign(&key, &bytes[..end]);
            let text = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, tag.as_ref());
            assert_eq!(&bytes[end + 1..], text.as_bytes(), "{sample}");
        }
    }
}

#[test]
fn foreign_keys_are_refused_and_equivalent_ones_are_not() {
    let hmac = Bench::new();
    for key in [json!("wrong"), json!("empty"), json!({"text": "dev-secret-key"}), json!({"hex": "00ff"})] {
        assert_eq!(answer(&hmac, json!([{"sign": {"key": key}}])), Answer::Refuse, "{key}");
    }
    for key in ["real", "equivalent"] {
        assert_eq!(answer(&hmac, json!([{"sign": {"key": key}}])), Answer::Accept, "{key}");
    }
    for algorithm in ALGORITHMS.into_iter().filter(|algorithm| !algorithm.name().starts_with('H')) {
        let bench = Bench::of(algorithm);
        assert_eq!(answer(&bench, json!([{"sign": {"key": "wrong"}}])), Answer::Refuse);
        let mut spelled = 0;
        for form in [
            PublicForm::SpkiPem,
            PublicForm::SpkiPemNoNewline,
            PublicForm::SpkiPemCrlf,
            PublicForm::SpkiDer,
            PublicForm::Pkcs1Pem,
            PublicForm::Pkcs1PemNoNewline,
            PublicForm::Pkcs1Der,
            PublicForm::Jwk,
            PublicForm::Modulus,
            PublicForm::Point,
            PublicForm::Coordinates,
            PublicForm::Raw,
            PublicForm::Openssh,
            PublicForm::CertificatePem,
            PublicForm::AsGiven,
        ] {
            let sign = Op::Sign(Sign { key: Some(KeyChoice::PublicKey(form)), with: None });
            let recipe = Recipe::Forge(vec![Op::Alg(Algorithm::HS256), sign]);
            if let Ok(token) = forge(&recipe, &bench.mint()) {
                spelled += 1;
                assert_eq!(judge(&bench, &token).answer, Answer::Refuse, "{form:?}");
            }
        }
        assert!(spelled >= 6, "{algorithm:?}: {spelled}");
    }
}

#[test]
fn what_anyone_can_encrypt_to_a_public_key_is_refused() {
    assert_eq!(answer(&Bench::of(Algorithm::RS256), json!([{"jwe": "rsa-oaep-256"}])), Answer::Refuse);
}

#[test]
fn a_bomb_is_small_until_it_is_inflated() {
    let token = Bench::new().forge(&json!({"forge": [{"jwe": {"zip": 100_000_000}}]}));
    assert!((500_000..1_000_000).contains(&token.bytes().expect("present").len()), "{token:?}");
    let endless = Recipe::Forge(vec![Op::Jwe(gatecrash::token::Jwe::Zip(usize::MAX))]);
    assert!(endless.check().is_err(), "a stranger's scenario must not exhaust the machine that runs it");
}

#[test]
fn verdicts_that_the_table_calls_open() {
    let bench = Bench::new();
    let cases = [
        (json!([{"claims": {"exp": "${now-3600}"}}]), Answer::Refuse),
        (json!([{"claims": {"exp": "${now-60}"}}]), Answer::Either),
        (json!([{"claims": {"exp": "${now+300.5}"}}]), Answer::Accept),
        (json!([{"claims": {"exp": "${now+300|text}"}}]), Answer::Either),
        (json!([{"claims": {"exp": "${now-3600|text}"}}]), Answer::Refuse),
        (json!([{"claims": {"exp": "never"}}]), Answer::Refuse),
        (json!([{"claims": {"exp": null}}]), Answer::Either),
        (json!([{"claims": {"exp": true}}]), Answer::Refuse),
        (json!([{"claims": {"exp": ["${now+300}"]}}]), Answer::Either),
        (json!([{"claims": {"exp": {"v": "${now+300}"}}}]), Answer::Refuse),
        (json!([{"claims": {"exp": 0}}]), Answer::Refuse),
        (json!([{"claims": {"exp": -9_999_999_999_i64}}]), Answer::Refuse),
        (json!([{"claim_literals": {"exp": "${now+300|exponent}"}}]), Answer::Accept),
        (json!([{"claim_literals": {"exp": "1e400"}}]), Answer::Either),
        (json!([{"claim_literals": {"exp": "-1e400"}}]), Answer::Refuse),
        (json!([{"claim_literals": {"exp": "NaN"}}]), Answer::Refuse),
        (json!([{"claims": {"exp": 4_294_970_896_u64}}]), Answer::Accept),
        (json!([{"claims": {"exp": 1_000_000_000_000_000_u64}}]), Answer::Either),
        (json!([{"drop_claims": ["exp"]}]), Answer::Either),
        (json!([{"claims": {"nbf": "${now+3600}"}}]), Answer::Refuse),
        (json!([{"claims": {"nbf": "${now}"}}]), Answer::Accept),
        (json!([{"claims": {"nbf": "${now+3600|text}"}}]), Answer::Either),
        (json!([{"claims": {"iat": "${now+3600}"}}]), Answer::Either),
        (json!([{"claims_last": {"exp": "${now-3600}"}}]), Answer::Refuse),
        (json!([{"claims_first": {"exp": "${now-3600}"}}]), Answer::Either),
        (json!([{"claims_first": {"EXP": "${now-3600}", "Exp": 1}}]), Answer::Accept),
        (json!([{"header_first": {"alg": "none"}}, "empty_signature"]), Answer::Refuse),
        (json!([{"header": {"alg": "none"}}, "empty_signature"]), Answer::Refuse),
        (json!([{"header": {"alg": "none"}}, {"drop_segment": "signature"}]), Answer::Refuse),
        (json!([{"header": {"alg": "hs256"}}]), Answer::Refuse),
        (json!([{"header": {"alg": ["HS256"]}}]), Answer::Refuse),
        (json!([{"drop_header": ["alg"]}]), Answer::Refuse),
        (json!([{"drop_header": ["typ"]}]), Answer::Accept),
        (json!([{"header": {"typ": "application/jwt"}}]), Answer::Accept),
        (json!([{"header": {"typ": "foo"}}]), Answer::Either),
        (json!([{"alg": "HS384"}]), Answer::Either),
        (json!([{"header": {"alg": "HS384"}}]), Answer::Refuse),
        (json!([{"header": {"crit": ["gatecrash"], "gatecrash": 1}}]), Answer::Refuse),
        (json!([{"header": {"crit": ["exp"], "exp": 1}}]), Answer::Refuse),
        (json!([{"header": {"crit": []}}]), Answer::Either),
        (json!([{"header": {"b64": false}}]), Answer::Either),
        (json!([{"header": {"kid": "no-such-key"}}]), Answer::Either),
        (json!([{"header": {"kid": "/dev/null"}}, {"sign": {"key": "empty"}}]), Answer::Refuse),
        (json!([{"header": {"cty": "JWT"}}]), Answer::Either),
        (json!([{"embed_jwk": "rsa"}, {"alg": "HS256"}, {"sign": {"key": "real"}}]), Answer::Either),
        (json!(["claims_bom"]), Answer::Either),
        (json!([{"pad_bits": "signature"}]), Answer::Either),
        (json!([{"claims_depth": 500}]), Answer::Either),
        (json!([{"claims_depth": 20}]), Answer::Accept),
        (json!([{"claims": {"aud": "x"}}]), Answer::Either),
        (json!([{"identity": ""}]), Answer::Either),
        (json!(["drop_identity"]), Answer::Either),
        (json!([{"claim_literals": {"sub": "\"\\ud800\""}}]), Answer::Either),
    ];
    for (ops, expected) in cases {
        assert_eq!(answer(&bench, ops.clone()), expected, "{ops}");
    }
    assert_eq!(answer(&Bench::of(Algorithm::ES256), json!(["twin_signature"])), Answer::Either);
    let mixed = json!([{"header": {"alg": "ES384"}}, "hash_mismatch"]);
    assert_eq!(answer(&Bench::of(Algorithm::ES256), mixed), Answer::Refuse);
}

#[test]
fn declared_rules_bind() {
    let bench = Bench::new();
    let mut rules = rules(&bench);
    rules.algorithms = Some(vec![Algorithm::HS256]);
    rules.leeway = Some(0.0);
    rules.require_exp = Some(true);
    rules.audience = Some("us".into());
    rules.issuer = Some("https://issuer.example".into());
    rules.identity.claims = vec!["sub".into()];
    rules.identity.required = true;
    rules.roles = Some(RoleRule {
        claim: "role".into(),
        list: false,
        allowed: vec!["admin".into()],
        default: Some("read_only".into()),
    });
    let mint = gatecrash::token::Mint { audience: Some("us"), issuer: Some("https://issuer.example"), ..bench.mint() };
    let judge = |ops: Value| {
        let shown = ops.to_string();
        let token = forge(&recipe(ops), &mint).unwrap_or_else(|error| panic!("{shown}: {error}"));
        oracle(token.bytes().expect("present"), &rules, NOW, 0.0)
    };
    for (ops, expected) in [
        (json!([]), Answer::Accept),
        (json!([{"alg": "HS384"}]), Answer::Refuse),
        (json!([{"claims": {"exp": "${now}"}}]), Answer::Refuse),
        (json!([{"claims": {"exp": "${now+1}"}}]), Answer::Accept),
        (json!([{"drop_claims": ["exp"]}]), Answer::Refuse),
        (json!([{"claims": {"exp": null}}]), Answer::Refuse),
        (json!([{"claims": {"aud": ["x", "${audience}"]}}]), Answer::Accept),
        (json!([{"claims": {"aud": ["${audience}", 1]}}]), Answer::Either),
        (json!([{"claims": {"aud": "${audience}.evil.com"}}]), Answer::Refuse),
        (json!([{"claims": {"aud": []}}]), Answer::Refuse),
        (json!([{"drop_claims": ["aud"]}]), Answer::Refuse),
        (json!([{"claims": {"iss": ["https://evil", "${issuer}"]}}]), Answer::Either),
        (json!([{"claims": {"iss": ["https://evil"]}}]), Answer::Refuse),
        (json!([{"drop_claims": ["iss"]}]), Answer::Either),
        (json!([{"claims": {"iss": "${issuer}/"}}]), Answer::Refuse),
        (json!([{"identity": ""}]), Answer::Refuse),
        (json!([{"claims": {"role": "viewer"}}]), Answer::Refuse),
        (json!([{"claims": {"role": "Admin"}}]), Answer::Refuse),
        (json!([{"claims": {"role": ["admin"]}}]), Answer::Refuse),
        (json!([{"drop_claims": ["role"]}]), Answer::Refuse),
        (json!([{"claims_first": {"role": "admin"}}, {"claims": {"x": 1}}]), Answer::Either),
        (json!([{"claims_last": {"role": "viewer"}}]), Answer::Refuse),
        (json!([{"claims": {"role": "admin"}}, {"claims_style": "escape_values"}]), Answer::Accept),
    ] {
        let judgement = judge(ops.clone());
        assert_eq!(judgement.answer, expected, "{ops}: {:?}", judgement.reasons);
    }
}

/// What each declaration turns a token into: without it, with it, and for a token that keeps it.
#[test]
fn each_declaration_decides_by_itself() {
    type Declare = fn(&mut Rules);
    let cases: [(Declare, Value, Answer, Answer); 12] = [
        (
            |rules| rules.max_token_age = Some(600.0),
            json!([{"claims": {"iat": "${now-3600}"}}]),
            Answer::Accept,
            Answer::Refuse,
        ),
        (
            |rules| rules.max_token_lifetime = Some(600.0),
            json!([{"claims": {"exp": "${now+9000}"}}]),
            Answer::Accept,
            Answer::Refuse,
        ),
        (|rules| rules.typ = TypRule::Exactly("ws+jwt".into()), json!([]), Answer::Accept, Answer::Refuse),
        (
            |rules| rules.typ = TypRule::Exactly("ws+jwt".into()),
            json!([{"header": {"typ": "application/WS+jwt"}}]),
            Answer::Either,
            Answer::Accept,
        ),
        (
            |rules| rules.required_scope = Some("read".into()),
            json!([{"claims": {"scope": "reader"}}]),
            Answer::Accept,
            Answer::Refuse,
        ),
        (
            |rules| rules.required_scope = Some("read".into()),
            json!([{"claims": {"scope": "a read b"}}]),
            Answer::Accept,
            Answer::Accept,
        ),
        (
            |rules| rules.required_scope = Some("read".into()),
            json!([{"claims": {"scope": ["read"]}}]),
            Answer::Accept,
            Answer::Either,
        ),
        (
            |rules| drop(rules.refresh_marker.insert("token_use".into(), json!("refresh"))),
            json!(["refresh_marker"]),
            Answer::Accept,
            Answer::Refuse,
        ),
        (|rules| rules.single_use = true, json!([{"drop_claims": ["jti"]}]), Answer::Accept, Answer::Either),
        (
            |rules| rules.known_bearer = Some("gatecrash".into()),
            json!([{"identity": "somebody"}]),
            Answer::Accept,
            Answer::Either,
        ),
        (|rules| rules.known_bearer = Some("gatecrash".into()), json!([]), Answer::Accept, Answer::Accept),
        (
            |rules| rules.required_claims = vec!["plan".into()],
            json!([{"drop_claims": ["plan"]}]),
            Answer::Accept,
            Answer::Refuse,
        ),
    ];
    let bench = Bench::new();
    for (declare, ops, without, with) in cases {
        let token = forge(&recipe(ops.clone()), &bench.mint()).unwrap_or_else(|error| panic!("{ops}: {error}"));
        let bytes = token.bytes().expect("present");
        let mut rules = rules(&bench);
        assert_eq!(oracle(bytes, &rules, NOW, 0.0).answer, without, "{ops} without the declaration");
        declare(&mut rules);
        let judgement = oracle(bytes, &rules, NOW, 0.0);
        assert_eq!(judgement.answer, with, "{ops} with the declaration: {:?}", judgement.reasons);
    }
}

#[test]
fn a_key_vouches_for_its_own_issuer_only() {
    let bench = Bench::new();
    let other = &bench.other_issuers[0];
    let mut rules = rules(&bench);
    rules.issuer = Some("https://own.example".into());
    for mut key in VerifyKey::of_keyring(&other.keys) {
        key.kid.clone_from(&other.kid);
        key.issuer = Some(other.issuer.clone());
        rules.keys.push(key);
    }
    rules.keys[0].kid = Some("own".into());
    let mint = gatecrash::token::Mint { issuer: Some("https://own.example"), ..bench.mint() };
    let named = |kid: &str| json!({"header": {"kid": kid}});
    for (ops, expected) in [
        (json!([named("own")]), Answer::Accept),
        (json!([named("own"), {"claims": {"iss": other.issuer}}]), Answer::Refuse),
        (json!([{"by_issuer": 0}]), Answer::Refuse),
        (json!([{"by_issuer": 0}, {"claims": {"iss": other.issuer}}]), Answer::Accept),
        (json!([named("other")]), Answer::Either),
        (json!([]), Answer::Either),
    ] {
        let token = forge(&recipe(ops.clone()), &mint).unwrap_or_else(|error| panic!("{ops}: {error}"));
        let judgement = oracle(token.bytes().expect("present"), &rules, NOW, 0.0);
        assert_eq!(judgement.answer, expected, "{ops}: {:?}", judgement.reasons);
    }
}

/// Recipes of every verdict, to which the metamorphic relations are applied.
fn any_base() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!([]),
        json!([{"claims": {"exp": "${now-3600}"}}]),
        json!([{"claims": {"exp": "${now-60}"}}]),
        json!([{"claims": {"nbf": "${now+3600}"}}]),
        json!([{"claims": {"exp": "never"}}]),
        json!([{"drop_claims": ["exp"]}]),
        json!([{"sign": {"key": "wrong"}}]),
        json!([{"alg": "HS512"}]),
        json!(["hash_mismatch"]),
        json!([{"header": {"alg": "none"}}, "empty_signature"]),
        json!([{"header": {"crit": ["x"]}}]),
        json!([{"header": {"kid": "other"}}]),
        json!([{"user": "bob"}]),
        json!(["drop_identity"]),
        json!([{"claims_last": {"exp": 0}}]),
        json!([{"claims_first": {"exp": 0}}]),
        json!([{"pad_bits": "claims"}]),
        json!([{"flip_bit": "middle"}]),
    ])
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        // `$` would begin an expression.
        "[^$]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn with(base: &Value, more: Value) -> Value {
    let mut ops = base.as_array().cloned().unwrap_or_default();
    ops.extend(more.as_array().cloned().unwrap_or_default());
    Value::from(ops)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Relation 1: unknown claims and header members never change the verdict.
    #[test]
    fn unknown_members_change_nothing(base in any_base(), name in "x-[a-z]{1,6}", value in any_json()) {
        let bench = Bench::new();
        let plain = answer(&bench, base.clone());
        let member = json!({ name: value });
        prop_assert_eq!(answer(&bench, with(&base, json!([{"claims": member}]))), plain);
        prop_assert_eq!(answer(&bench, with(&base, json!([{"header": member}]))), plain);
    }

    /// Relation 2: writing the same JSON otherwise never changes the verdict.
    #[test]
    fn style_changes_nothing(base in any_base(), styles in prop::collection::vec((any::<bool>(), prop::sample::select(vec![
        "spaced", "pretty", "crlf", "tabs", "reversed", "escape_names", "escape_values", "escape_slashes",
    ])), 1..4)) {
        let bench = Bench::new();
        let plain = answer(&bench, base.clone());
        // Turning duplicates around is no mere style: the last one counts.
        let duplicates = base.to_string().contains("_last") || base.to_string().contains("_first");
        let styles: Vec<Value> = styles
            .into_iter()
            .filter(|(_, style)| !duplicates || *style != "reversed")
            .map(|(header, style)| if header { json!({"header_style": style}) } else { json!({"claims_style": style}) })
            .collect();
        prop_assert_eq!(answer(&bench, with(&base, Value::from(styles))), plain);
    }

    /// Relation 6: any change to the text of header or payload that is not signed again is refused.
    #[test]
    fn unsigned_changes_are_refused(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let bench = Bench::new();
        let token = bench.forge(&json!("valid"));
        let mut bytes = token.bytes().expect("present").to_vec();
        let end = bytes.iter().rposition(|byte| *byte == b'.').expect("a period");
        let place = place.index(end);
        prop_assume!(bytes[place] != byte);
        bytes[place] = byte;
        prop_assert_eq!(oracle(&bytes, &rules(&bench), NOW, 0.0).answer, Answer::Refuse);
    }

    /// The verdict on a composition is the stricter of the verdicts on its parts.
    #[test]
    fn the_stricter_part_decides(
        claims in prop::sample::select(vec![
            json!([]),
            json!([{"claims": {"exp": "${now-3600}"}}]),
            json!([{"claims": {"exp": "${now-60}"}}]),
            json!([{"drop_claims": ["exp"]}]),
            json!(["claims_bom"]),
            json!([{"claims_trailing": "X"}]),
            json!(["drop_identity"]),
            json!([{"user": "bob"}]),
        ]),
        outer in prop::sample::select(vec![
            json!([]),
            json!([{"sign": {"key": "wrong"}}]),
            json!([{"sign": {"key": "equivalent"}}]),
            json!([{"header": {"alg": "none"}}]),
            json!([{"header": {"crit": []}}]),
            json!([{"header": {"kid": "other"}}]),
            json!([{"alg": "HS512"}]),
            json!([{"pad_bits": "signature"}]),
            json!([{"flip_bit": "last"}]),
            json!([{"append": "."}]),
        ]),
    ) {
        let bench = Bench::new();
        let expected = answer(&bench, claims.clone()).max(answer(&bench, outer.clone()));
        prop_assert_eq!(answer(&bench, with(&claims, outer)), expected);
    }

    #[test]
    fn the_oracle_is_total(bytes in prop::collection::vec(any::<u8>(), 0..300), now in any::<f64>(), skew in any::<f64>()) {
        let bench = Bench::new();
        prop_assert_eq!(oracle(&bytes, &rules(&bench), now, skew).answer, Answer::Refuse);
        prop_assert!(verify_jws(&bytes, &VerifyKey::of_keyring(&bench.keys)).is_err());
    }

    #[test]
    fn the_oracle_is_total_on_signed_noise(header in prop::collection::vec(any::<u8>(), 0..40), claims in any::<String>(), now in any::<f64>()) {
        let bench = Bench::new();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for ops in [json!([{"header_hex": hex(&header)}]), json!([{"claims_hex": hex(claims.as_bytes())}])] {
            let token = forge(&recipe(ops), &bench.mint()).expect("forged");
            let judgement = oracle(token.bytes().expect("present"), &rules(&bench), now, 0.0);
            prop_assert_eq!(judgement.answer == Answer::Accept, judgement.reasons.is_empty());
        }
    }
}
