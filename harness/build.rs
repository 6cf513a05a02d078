//! Lists the bundled scenarios, so that a file is part of the suite because it is in the folder.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

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
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("not run by cargo"))?);
    fs::write(out.join("bundled.rs"), code)
}

fn list(code: &mut String, folder: &Path, name: &str, doc: &str, label: impl Fn(&str) -> String) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let _ = writeln!(code, "/// {doc}\npub const {name}: &[(&str, &str)] = &[");
    for path in files {
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
