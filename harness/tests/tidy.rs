//! The walls between the rooms, and what must stand in no file: rules that a compiler does not know.

use std::fs;
use std::path::{Path, PathBuf};

/// What only some rooms may touch, and which: the world outside makes every other room a function of its arguments.
const WALLS: &[(&[&str], &[&str])] = &[
    // Sockets and clock, and the files and variables that the command and a secret name.
    (
        &["std::net", "tokio::net", "SystemTime", "Instant::now", "std::env", "std::fs", "rand::", "std::process"],
        &["run/", "command/", "secret.rs", "main.rs"],
    ),
    // The library and the reference server meet on the wire only.
    (&["gatecrash_reference_server"], &["command/"]),
];

/// What looks like a breach of a wall and is none: the file, the text, and why.
const NO_BREACHES: &[(&str, &str, &str)] = &[
    ("target.rs", "std::net::IpAddr", "an address is read as text; nothing is connected"),
    ("token/sign.rs", "aws_lc_rs::rand::SystemRandom", "ECDSA and PSS signatures are random by their definition"),
];

/// Folders that are made, not written.
const MADE: &[&str] = &["target", ".git", ".venv", "node_modules", "__pycache__", "artifacts", "coverage", "work"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace")
}

/// Every file below a folder that somebody wrote, with its text; files that are no text are left out.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !MADE.contains(&name.as_str()) {
                    open.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push((path, text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{} is empty", folder.display());
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The lines of code before the tests, with `use a::{b, c}` spelled out as `a::b` and `a::c`.
fn code(text: &str) -> Vec<(usize, String)> {
    let lines = text.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    lines
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| {
            let mut spelled = line.to_owned();
            if let Some((before, list)) = line.split_once("::{") {
                let base = before.rsplit(' ').next().unwrap_or_default();
                for item in list.trim_end_matches(['}', ';']).split(',') {
                    spelled.push_str(&format!(" {base}::{}", item.trim()));
                }
            }
            (number + 1, spelled)
        })
        .collect()
}

#[test]
fn only_the_rooms_at_the_edge_touch_the_world() {
    let source = root().join("harness/src");
    let mut breaches = Vec::new();
    for (path, text) in files(&source) {
        let room = path.strip_prefix(&source).expect("below it").to_string_lossy().replace('\\', "/");
        // Tests in a file of their own, as those behind `#[cfg(test)]`.
        if room.ends_with("/tests.rs") || room.contains("/tests/") {
            continue;
        }
        for (number, line) in code(&text) {
            let excused = NO_BREACHES.iter().filter(|(file, _, _)| *file == room);
            let line = excused.fold(line, |line, (_, text, _)| line.replace(text, ""));
            for (words, rooms) in WALLS {
                if rooms.iter().any(|allowed| room.starts_with(allowed)) {
                    continue;
                }
                for word in words.iter().filter(|word| mentions(&line, word)) {
                    breaches.push(format!("{}:{number} mentions {word}", shown(&path)));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

/// Whether the word stands in the line, not as the end of a longer one.
fn mentions(line: &str, word: &str) -> bool {
    let inside = |before: &str| before.ends_with(|last: char| last.is_alphanumeric() || last == '_');
    line.match_indices(word).any(|(at, _)| !inside(&line[..at]))
}

#[test]
fn a_breach_is_seen_however_it_is_written() {
    for line in ["use std::fs;", "use std::{env, fs, io};", "let text = std::fs::read(path);"] {
        assert!(code(line).iter().any(|(_, line)| mentions(line, "std::fs")), "{line}");
    }
    for line in ["// std::fs", "operand::fs", "use std::{fmt, io};", "#[cfg(test)]\nuse std::fs;"] {
        assert!(!code(line).iter().any(|(_, line)| mentions(line, "std::fs") || mentions(line, "rand::")), "{line}");
    }
}

#[test]
fn an_excuse_that_is_not_needed_is_taken_back() {
    for (file, text, why) in NO_BREACHES {
        let source = fs::read_to_string(root().join("harness/src").join(file)).expect(file);
        assert!(source.contains(text), "{file} no longer has {text} ({why})");
    }
}

#[test]
fn every_module_begins_by_saying_what_it_is_for() {
    let root = root();
    let mut silent = Vec::new();
    for folder in ["harness/src", "harness/tests", "reference-server/src", "reference-server/tests", "benches"] {
        for (path, text) in files(&root.join(folder)) {
            if path.extension().is_some_and(|extension| extension == "rs") && !text.starts_with("//! ") {
                silent.push(shown(&path));
            }
        }
    }
    assert!(silent.is_empty(), "without `//!` in its first line: {}", silent.join(", "));
}

#[test]
fn no_file_names_a_place_that_only_its_author_has() {
    // Put together here, so that this file does not find itself.
    let homes = ["home", "Users", "root"].map(|folder| format!("/{folder}/"));
    let hosts = [
        ["registry.npmjs", ".org"],
        ["registry.yarnpkg", ".com"],
        ["files.pythonhosted", ".org"],
        ["pypi", ".org"],
        ["index.crates", ".io"],
        ["static.crates", ".io"],
        ["proxy.golang", ".org"],
        ["--index", "-url"],
        ["--extra-index", "-url"],
        ["replace", "-with"],
    ]
    .map(|parts| parts.concat());
    let mut found = Vec::new();
    for (path, text) in files(&root()) {
        for (number, line) in text.lines().enumerate() {
            let at_home = homes.iter().any(|home| {
                line.match_indices(home.as_str())
                    .any(|(at, _)| line[at + home.len()..].starts_with(|next: char| next.is_alphanumeric()))
            });
            if at_home || hosts.iter().any(|host| line.contains(host.as_str())) {
                found.push(format!("{}:{}: {}", shown(&path), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_dependency_comes_from_the_public_index() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    for source in lock.lines().filter_map(|line| line.strip_prefix("source = ")) {
        assert_eq!(source, "\"registry+https://github.com/rust-lang/crates.io-index\"");
    }
}

/// `cargo run` at the top, as the README has it, has several binaries to choose from.
#[test]
fn cargo_run_means_the_command() {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root());
    let told = cargo.output().expect("cargo runs");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).expect("JSON");
    let packages = told["packages"].as_array().expect("the packages");
    let meant: Vec<_> = packages.iter().filter_map(|package| package["default_run"].as_str()).collect();
    assert_eq!(meant, ["gatecrash"], "one package says which binary is meant");
}
