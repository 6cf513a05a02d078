//! The targets on stable: every committed seed and whatever proptest makes up, and that no target is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

mod seeds;

fn fuzz() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// The names in a folder, without an ending.
fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(fuzz().join(folder)).expect(folder);
    entries.map(|entry| entry.expect("an entry").path()).map(|path| stem(&path)).collect()
}

fn stem(path: &std::path::Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The server's own bodies and their tests, as text: it shares no code with the harness.
fn server() -> String {
    let source = fuzz().join("../reference-server/src");
    let mut text = fs::read_to_string(source.join("fuzzing.rs")).unwrap_or_default();
    let files = fs::read_dir(source.join("fuzzing")).into_iter().flatten().map(|entry| entry.expect("an entry").path());
    // Keys lie beside it.
    for file in files.filter(|file| file.extension().is_some_and(|ending| ending == "rs")) {
        text += &fs::read_to_string(file).expect("a file of the server");
    }
    text
}

#[test]
fn every_seed_that_follows_from_the_code_is_in_its_folder() {
    for (target, seeds) in seeds::all() {
        for (name, bytes) in seeds {
            let found = fs::read(fuzz().join("corpus").join(target).join(&name)).unwrap_or_default();
            assert!(found == bytes, "{target}/{name}: write it with `cargo test --workspace -- --ignored write_seeds`");
        }
    }
}

#[test]
#[ignore = "writes fuzz/corpus"]
fn write_seeds() {
    for (target, seeds) in seeds::all() {
        let folder = fuzz().join("corpus").join(target);
        fs::create_dir_all(&folder).expect("a folder");
        for (name, bytes) in seeds {
            fs::write(folder.join(name), bytes).expect("a file");
        }
    }
}

/// The one list: what the fuzzer can run, cargo can build, and this file or that of the server replays.
#[test]
fn no_target_is_forgotten() {
    /// The one that fails, and those that are measured against.
    const NO_BODIES: [&str; 3] = ["canary", "baseline_empty", "baseline_jsonwebtoken"];
    let files = names("fuzz_targets");
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("Cargo.toml");
    let built: BTreeSet<String> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""))
        .map(str::to_owned)
        .collect();
    assert_eq!(files, built, "files in fuzz_targets, and `[[bin]]` in its Cargo.toml");
    let readme = fs::read_to_string(fuzz().join("README.md")).expect("README.md");
    let ours: BTreeMap<&str, _> = TARGETS.into_iter().collect();
    let server = server();
    for name in &files {
        assert!(readme.contains(&format!("| `{name}` |")), "{name} has no sentence in fuzz/README.md");
        if NO_BODIES.contains(&name.as_str()) {
            continue;
        }
        let text = fs::read_to_string(fuzz().join("fuzz_targets").join(format!("{name}.rs"))).expect("a target");
        let line =
            |krate: &str| format!("libfuzzer_sys::fuzz_target!(|input: &[u8]| {krate}::fuzzing::{name}(input));");
        let (harness, other) = (line("gatecrash"), line("gatecrash_reference_server"));
        let last = text.lines().last().unwrap_or_default();
        // It links both, which only a test may; its body is that test's.
        if name == "differential" {
            assert_eq!(last, "libfuzzer_sys::fuzz_target!(|input: &[u8]| verifiers::differential(input));");
            continue;
        }
        assert!(last == harness || last == other, "{name} is more than one line: {last}");
        if last == harness {
            assert!(ours.contains_key(name.as_str()), "{name} is not in the list TARGETS");
        } else {
            let replays = [format!("replay(\"{name}\""), format!("fuzz/corpus/{name}\"")];
            assert!(replays.iter().any(|replay| server.contains(replay)), "no test of the server replays {name}");
        }
    }
    for (name, _) in TARGETS {
        assert!(files.contains(name), "{name} has no file in fuzz_targets");
    }
    // What no target reads would be replayed by nobody.
    for folder in names("corpus") {
        assert!(files.contains(&folder), "fuzz/corpus/{folder} belongs to no target");
    }
    for dictionary in names("dict") {
        assert!(files.contains(&dictionary), "fuzz/dict/{dictionary}.dict belongs to no target");
    }
}

/// Bytes, and seeds of the target with some of their bytes changed: proptest knows no coverage, so it starts near.
fn inputs(target: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let seeds: Vec<Vec<u8>> = seeds::all().remove(target).unwrap_or_default().into_values().collect();
    let near = (prop::sample::select(seeds), prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4))
        .prop_map(|(mut seed, edits)| {
            for (place, byte) in edits {
                if !seed.is_empty() {
                    let place = place.index(seed.len());
                    seed[place] = byte;
                }
            }
            seed
        });
    prop_oneof![1 => prop::collection::vec(any::<u8>(), 0..400), 3 => near]
}

/// Every seed of a target, and so every input that ever broke a law, keeps it.
fn replay((target, body): Target) {
    let folder = fuzz().join("corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{target} has no seeds: {error}"));
    let seeds: BTreeSet<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    assert!(!seeds.is_empty(), "{target} has no seeds");
    for seed in seeds {
        // Shown when one fails: the last is the one.
        eprintln!("{}", seed.display());
        body(&fs::read(&seed).expect("its bytes"));
    }
}

/// What proptest makes up keeps the laws. A failure belongs into the corpus, under a name, and not into proptest's file.
fn make_up((target, body): Target, cases: u32) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    proptest!(config, |(input in inputs(target))| body(&input));
}

/// Two tests of each target, so that a failure names it and the others go on.
macro_rules! laws {
    ($($name:ident $cases:literal)+) => {
        #[test]
        fn every_target_is_held_to_its_laws() {
            assert_eq!([$(stringify!($name)),+], TARGETS.map(|(name, _)| name));
        }

        $(
            mod $name {
                use super::*;

                const TARGET: Target = (stringify!($name), crate::fuzzing::$name);

                #[test]
                fn every_seed_keeps_the_laws() {
                    replay(TARGET);
                }

                #[test]
                fn whatever_proptest_makes_up_keeps_the_laws() {
                    make_up(TARGET, $cases);
                }
            }
        )+
    };
}

laws! {
    answer_and_frames 512
    catalogue 64
    deflate 128
    judge 512
    profile 64
    report 256
    token 128
}

proptest! {
    #[test]
    fn any_answer_keeps_the_laws(status in "[0-9 ]{1,4}", lines in "[ -~\r\n\t]{0,80}") {
        answer_and_frames(format!("HTTP/1.1 {status}\r\n{lines}\r\n\r\n").as_bytes());
    }
}
