//! The gate, the oracle and two libraries on the same tokens: the stable half of the fuzz target `differential`.

mod token_support;
mod verifiers;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use gatecrash::Catalogue;
use gatecrash::case::{Body, Step};
use gatecrash::token::{Algorithm, Answer, Keyring, Op, Recipe, forge};
use gatecrash_reference_server::fuzzing::{Change, Setting, Signer, Sketch};
use proptest::prelude::*;
use serde_json::{Value, json};
use token_support::Bench;
use verifiers::differences::{ALL, Who};
use verifiers::{compare, differential, judge, judgements};

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

/// Whatever the corpora of both targets that read tokens in parts hold.
fn corpus() -> Vec<Vec<u8>> {
    let files = ["policies", "differential"].iter().flat_map(|target| fs::read_dir(folder(target)).expect("a corpus"));
    files.map(|file| fs::read(file.expect("a file").path()).expect("its bytes")).collect()
}

#[test]
fn all_four_agree_on_the_corpus() {
    let mut differences = Vec::new();
    for input in corpus() {
        let (unknown, _) = compare(&Sketch::of(&input));
        differences.extend(unknown);
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n\n"));
}

/// Every recipe of the catalogue, and one for each sample of the table of operators.
fn recipes() -> Vec<Recipe> {
    let operators = Op::catalogue();
    let samples = operators.iter().flat_map(|info| info.samples);
    let samples = samples.map(|sample| serde_json::from_str::<Value>(sample).expect("JSON"));
    let mut recipes: Vec<Recipe> =
        samples.map(|sample| serde_json::from_value(json!({ "forge": [sample] })).expect("a recipe")).collect();
    for case in Catalogue::bundled().expect("the catalogue").cases {
        for variant in &case.variants {
            let Body::Steps(steps) = &variant.body else { continue };
            recipes.extend(steps.iter().filter_map(|step| match step {
                Step::Open(open) => Some(open.token.clone()),
                _ => None,
            }));
        }
    }
    recipes
}

/// What all of these forge, for the first setting, whose secret a forge can have.
#[test]
fn all_four_agree_on_what_is_forged() {
    let setting = Setting::of(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let mut bench =
        Bench { now, keys: Keyring::new().with_secret(setting.policy.secret.clone()), ..Bench::of(Algorithm::HS256) };
    bench.claims.insert("role".to_owned(), "admin".into());
    let recipes = recipes();
    let valid = bench.forge(&json!("valid"));
    assert!(setting.admits(valid.bytes().unwrap_or_default(), now), "the forge does not know this setting");
    let mut differences = Vec::new();
    let mut forged = 0;
    for recipe in recipes {
        let Ok(token) = forge(&recipe, &bench.mint()) else { continue };
        let (unknown, _) = judge(setting, token.bytes().unwrap_or_default(), now);
        differences.extend(unknown.into_iter().map(|text| format!("{recipe:?}: {text}")));
        forged += 1;
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n\n"));
    assert!(forged > 400, "hardly anything was compared: {forged}");
}

/// And the oracle leaves none of them the choice: where it does, nothing is compared.
#[test]
fn all_four_admit_the_valid_token_and_no_strangers() {
    let now = 1_800_000_000;
    for choice in 0..Setting::count() {
        let valid = Sketch::new(choice, Vec::new());
        let stranger = Sketch::new(choice, vec![Change::By(Signer::Stranger)]);
        for (sketch, right) in [(valid, Answer::Accept), (stranger, Answer::Refuse)] {
            let (unknown, known) = compare(&sketch);
            assert!(unknown.is_empty() && known.is_empty(), "{unknown:?}");
            let made = sketch.make(now);
            let (of_the_gate, of_libraries) = judgements(made.setting, &made.token, now as f64);
            for said in [of_the_gate, of_libraries] {
                assert_eq!(said.answer, right, "{}: {:?}", made.setting.name, said.reasons);
            }
        }
    }
}

/// What both libraries overlook is seen in every setting but one: jwt-compact has no RSA (fuzz/README.md).
#[test]
fn both_libraries_are_asked_in_every_setting() {
    let crit = ALL.iter().find(|entry| entry.only_with == Some("crit")).expect("an entry");
    for setting in 0..Setting::count() {
        let (unknown, known) = compare(&Sketch { setting, ..(crit.witness)() });
        assert!(unknown.is_empty(), "{unknown:?}");
        let name = Setting::of(setting).name;
        let asked: Vec<Who> = known.iter().map(|entry| entry.who).collect();
        let all = [Who::Jsonwebtoken, Who::JwtCompact];
        assert_eq!(asked, all[..if name == "RS256" { 1 } else { 2 }], "{name}");
    }
}

/// An entry that no token shows any more is taken out of the list.
#[test]
fn every_known_difference_exists() {
    let mut stale = BTreeMap::new();
    for (at, entry) in ALL.iter().enumerate() {
        let (unknown, known) = compare(&(entry.witness)());
        if !unknown.is_empty() || !known.iter().any(|found| std::ptr::eq(*found, entry)) {
            stale.insert(at, (entry.who, entry.because, entry.reason, unknown));
        }
    }
    assert!(stale.is_empty(), "their tokens no longer show them: {stale:?}");
    assert!(ALL.iter().all(|entry| entry.who != Who::Gate), "a difference of the gate is a bug to mend");
}

#[test]
#[ignore = "writes the seeds of fuzz/corpus/differential"]
fn write_seeds() {
    fs::create_dir_all(folder("differential")).expect("a folder");
    for entry in ALL {
        let name = format!("{:?}-{:?}-{}", entry.who, entry.does, entry.because).to_lowercase();
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        fs::write(folder("differential").join(name), (entry.witness)().to_bytes()).expect("a file");
    }
}

/// The tokens of the catalogue for the target `gate`, at its time and under its secret. They are many and alike:
/// `fuzz/keep gate` takes the few that reach something of their own into the corpus.
#[test]
#[ignore = "writes into fuzz/work/gate"]
fn write_tokens_of_the_catalogue() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/work/gate");
    fs::create_dir_all(&folder).expect("a folder");
    let secret = Setting::of(0).policy.secret.clone();
    let mut bench =
        Bench { now: 1_800_000_000.0, keys: Keyring::new().with_secret(secret), ..Bench::of(Algorithm::HS256) };
    bench.claims.insert("role".to_owned(), "admin".into());
    for (at, recipe) in recipes().iter().enumerate() {
        if let Ok(token) = forge(recipe, &bench.mint()) {
            fs::write(folder.join(format!("catalogue-{at}")), token.bytes().unwrap_or_default()).expect("a file");
        }
    }
}

/// Bytes as the fuzzer sends them: a setting, and changes that begin with their number.
fn any_input() -> impl Strategy<Value = Vec<u8>> {
    let change = (0..21_u8, prop::collection::vec(any::<u8>(), 0..6)).prop_map(|(op, rest)| [vec![op], rest].concat());
    (0..Setting::count(), prop::collection::vec(change, 0..4))
        .prop_map(|(setting, changes)| [vec![setting], changes.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn all_four_agree_on_any_token(input in any_input()) {
        differential(&input);
    }
}
