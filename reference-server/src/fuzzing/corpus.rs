//! The committed inputs of a target, as its stable tests see them: the seeds that follow from the code, what a long run
//! left behind, and every finding that was mended.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use crate::fault::Fault;

/// Where the inputs of a target lie.
pub(super) fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

/// Asserts that the files are what the code says.
pub(super) fn holds(target: &str, seeds: BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in seeds {
        let found = fs::read(folder(target).join(&name)).unwrap_or_default();
        assert_eq!(found, bytes, "{name}: write it with `cargo test --workspace -- --ignored write_seeds`");
    }
}

/// Writes them.
pub(super) fn write(target: &str, seeds: BTreeMap<String, Vec<u8>>) {
    fs::create_dir_all(folder(target)).expect("a folder");
    for (name, bytes) in seeds {
        fs::write(folder(target).join(name), bytes).expect("a file");
    }
}

/// Plays every input there is.
pub(super) fn replay(target: &str, body: impl Fn(&[u8])) {
    let files = fs::read_dir(folder(target)).expect("the corpus");
    let mut played = 0;
    for file in files {
        body(&fs::read(file.expect("a file").path()).expect("its bytes"));
        played += 1;
    }
    assert!(played > 0, "the corpus of {target} is empty");
}

/// Asserts that the laws have teeth: each of these faults makes one of the seeds a finding, once `wrong` has the server
/// have it.
pub(super) fn find_out(
    seeds: BTreeMap<String, Vec<u8>>,
    faults: &[Fault],
    wrong: impl Fn(Fault),
    body: impl Fn(&[u8], Fault),
) {
    let found_out = |fault: Fault| {
        wrong(fault);
        seeds.values().any(|input| catch_unwind(AssertUnwindSafe(|| body(input, fault))).is_err())
    };
    let missed: Vec<_> = faults.iter().filter(|fault| !found_out(**fault)).collect();
    assert!(missed.is_empty(), "{missed:?}");
}
