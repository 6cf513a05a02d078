//! Lists the bundled scenarios, so that a file is part of the suite because it is in the folder.
//!
//! Each is bundled twice: as the text that was written, and decoded to JSON, which takes a hundredth of the time to read.
//! Of a case the head stands by itself as well, for whoever asks no more. Nothing is checked here: that every text is
//! right, and that all say the same, is what a test of `catalogue/decoded.rs` proves.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use serde_json::Value;

fn main() -> io::Result<()> {
    let manifest =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| io::Error::other("not run by cargo"))?);
    let scenarios = manifest.join("../scenarios").canonicalize()?;
    let mut code = String::new();
    list(&mut code, &scenarios.join("cases"), "CASES", "The files of cases: path and text.", |file| {
        format!("cases/{file}.yaml")
    })?;
    list(&mut code, &scenarios.join("profiles"), "PROFILES", "The presets: name and text.", str::to_owned)?;
    for (name, file, doc) in [
        ("SOURCES", "sources.yaml", "The sentences that cases rest on."),
        ("WEAKNESSES", "weaknesses.yaml", "The ways a gate can be wrong."),
        ("COVERED", "covered.yaml", "The codes that other cases answer for."),
    ] {
        let path = scenarios.join(file);
        println!("cargo::rerun-if-changed={}", path.display());
        let _ = writeln!(code, "/// {doc}\npub const {name}: &str = include_str!({path:?});");
        let json = decoded(&path)?.to_string();
        let _ = writeln!(code, "pub(crate) const DECODED_{name}: &str = {json:?};");
    }
    decode_cases(&mut code, &scenarios.join("cases"))?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("not run by cargo"))?);
    fs::write(out.join("bundled.rs"), code)
}

fn list(code: &mut String, folder: &Path, name: &str, doc: &str, label: impl Fn(&str) -> String) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let _ = writeln!(code, "/// {doc}\npub const {name}: &[(&str, &str)] = &[");
    for path in files(folder)? {
        println!("cargo::rerun-if-changed={}", path.display());
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .ok_or_else(|| io::Error::other("a file name is not UTF-8"))?;
        let _ = writeln!(code, "    ({:?}, include_str!({path:?})),", label(stem));
    }
    code.push_str("];\n");
    Ok(())
}

/// The YAML files of a folder, by name.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    Ok(files)
}

/// A document as plain data; `null` where it is no YAML, so that the program that reads it says what is wrong.
fn decoded(path: &Path) -> io::Result<Value> {
    Ok(serde_yaml::from_str(&fs::read_to_string(path)?).unwrap_or_default())
}

/// What a case does, and not what it says about itself. Its class may be another in every entry of its table.
const BODY: [&str; 10] = ["for", "class", "token", "carry", "request", "expect", "answer", "steps", "across", "lint"];

/// The files of cases decoded, in the order of `CASES`.
fn decode_cases(code: &mut String, folder: &Path) -> io::Result<()> {
    let _ = writeln!(code, "/// As [`CASES`]: each file decoded.");
    let _ = writeln!(code, "pub(crate) const DECODED_CASES: &[DecodedFile] = &[");
    for path in files(folder)? {
        let text = fs::read_to_string(&path)?;
        let is_code = |line: &str| line.trim_start().trim_start_matches("- ").starts_with("code: ");
        let lines: Vec<usize> =
            text.lines().zip(1..).filter(|(line, _)| is_code(line)).map(|(_, number)| number).collect();
        let file = decoded(&path)?;
        let said = |key: &str| file.get(key).and_then(Value::as_str);
        let cases = file.get("cases").and_then(Value::as_array).filter(|cases| cases.len() == lines.len());
        let cases = cases.map(|cases| {
            cases.iter().zip(lines).map(|(case, line)| {
                let mut head = case.clone();
                if let Some(members) = head.as_object_mut() {
                    members.retain(|key, _| !BODY.contains(&key.as_str()));
                }
                format!("DecodedCase {{ line: {line}, head: {:?}, whole: {:?} }}", head.to_string(), case.to_string())
            })
        });
        let cases = cases.map(|cases| format!("&[{}]", cases.collect::<Vec<_>>().join(",\n")));
        let (family, title) = (said("family"), said("title"));
        let cases = cases.map_or_else(|| "None".to_owned(), |cases| format!("Some({cases})"));
        let _ = writeln!(code, "    DecodedFile {{ family: {family:?}, title: {title:?}, cases: {cases} }},");
    }
    code.push_str("];\n");
    Ok(())
}
