//! Cases of the user's own: files beside the bundled ones, and `gatecrash check`, which reads them and sends nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::IsTerminal as _;
use std::path::Path;

use clap::Args;

use crate::catalogue::Catalogue;
use crate::document::{Diagnostics, Document, printable};
use crate::profile::Profile;
use crate::redact::Redactor;
use crate::report::Exit;
use crate::secret::SecretBytes;

use super::hide::secrets_in;
use super::{bundled, complain, file, say};

/// A file, as it was named, and what is in it.
type Text = (String, Vec<u8>);

/// The most files that are read.
const MOST_FILES: usize = 1_000;

/// Reads files; a folder stands for the YAML files in it, by name.
///
/// # Errors
///
/// In words: which one cannot be read, and why.
pub(super) fn read(paths: &[String]) -> Result<Vec<Text>, String> {
    let mut texts = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        for path in files(path)? {
            // However it is spelled.
            let one = fs::canonicalize(&path).unwrap_or_else(|_| Path::new(&path).to_owned());
            if !seen.insert(one) {
                continue;
            }
            if texts.len() >= MOST_FILES {
                return Err(format!("more than {MOST_FILES} files are too many"));
            }
            let bytes = file::read_bytes(Path::new(&path))
                .map_err(|error| format!("cannot read `{}`: {error}", printable(&path)))?;
            texts.push((path, bytes));
        }
    }
    Ok(texts)
}

/// The files that a word names.
pub(super) fn files(path: &str) -> Result<Vec<String>, String> {
    if !Path::new(path).is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let cannot = |error| format!("cannot read the folder `{}`: {error}", printable(path));
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(cannot)? {
        let entry = entry.map_err(cannot)?.path();
        if entry.is_file() && entry.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(entry.to_string_lossy().into_owned());
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(format!("no file in `{}` ends in .yaml", printable(path)));
    }
    Ok(files)
}

/// Adds the cases of these files to the bundled ones.
///
/// # Errors
///
/// Every mistake in them, with its place.
pub(super) fn add(catalogue: &mut Catalogue, texts: &[Text], vars: &[Var]) -> Result<(), Diagnostics> {
    let files: Vec<(&str, &[u8])> = texts.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let said: BTreeMap<String, String> = vars.iter().map(|Var(name, value)| (name.clone(), value.clone())).collect();
    catalogue.add_files(&files, &said)
}

/// Finds what files of cases give as a secret, so that a message about them does not quote it.
pub(super) fn secrets_of(texts: &[Text]) -> Redactor {
    let all: Vec<_> = texts.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect();
    secrets_in(all.iter().map(AsRef::as_ref))
}

/// A value for a variable of a file of cases.
#[derive(Debug, Clone)]
pub(super) struct Var(String, String);

impl std::str::FromStr for Var {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self(name.to_owned(), value.to_owned())),
            _ => Err("write NAME=VALUE".to_owned()),
        }
    }
}

impl Var {
    /// The value, where the name says that it is a secret.
    pub(super) fn secret(&self) -> Option<SecretBytes> {
        let name = self.0.to_ascii_lowercase();
        let is_secret = ["sec", "key", "pass", "pw", "token"].iter().any(|word| name.contains(word));
        is_secret.then(|| SecretBytes::new(self.1.as_str()))
    }
}

impl std::fmt::Display for Var {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = if self.secret().is_some() { "..." } else { &self.1 };
        write!(f, "{}={value}", self.0)
    }
}

/// What `gatecrash check` is told.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Files of cases, profiles, or folders of them; `-` is what stands on stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
}

/// Reads files and says what is wrong with them: each mistake with its place, those of all files at once.
pub(super) fn check(arguments: &Check) -> Exit {
    let mut catalogue = match bundled() {
        Ok(catalogue) => catalogue,
        Err(exit) => return exit,
    };
    let (stdin, paths): (Vec<String>, Vec<String>) = arguments.files.iter().cloned().partition(|path| path == "-");
    let mut texts = match read(&paths) {
        Ok(texts) => texts,
        Err(why) => {
            complain(&why);
            return Exit::Usage;
        }
    };
    if !stdin.is_empty() {
        let bytes = match file::read_stdin() {
            Ok(bytes) => bytes,
            Err(error) => {
                complain(&format!("cannot read stdin: {error}"));
                return Exit::Usage;
            }
        };
        texts.push(("stdin".to_owned(), bytes));
    }
    let mut found = Vec::new();
    let mut cases = Vec::new();
    let mut profiles = 0;
    for (name, bytes) in texts {
        if is_profile(&name, &bytes) {
            profiles += 1;
            let text = String::from_utf8_lossy(&bytes);
            if let Err(wrong) = Profile::from_yaml(&name, &text) {
                // What it gives as a secret is not quoted.
                found.push(
                    secrets_in([text.as_ref()]).redact_quotations(&wrong.render(std::io::stderr().is_terminal())),
                );
            }
        } else {
            cases.push((name, bytes));
        }
    }
    let before = catalogue.cases.len();
    if let Err(wrong) = add(&mut catalogue, &cases, &[]) {
        found.push(secrets_of(&cases).redact_quotations(&wrong.render(std::io::stderr().is_terminal())));
    }
    if found.is_empty() {
        let added = catalogue.cases.len() - before;
        say(&format!("{added} case(s) in {} file(s), {profiles} profile(s): nothing is wrong\n", cases.len()));
        return Exit::Good;
    }
    complain(&format!("\n{}", found.join("\n\n")));
    Exit::Usage
}

/// Whether a file is a profile. One that cannot be read is none, so that it is told what is wrong with the YAML.
fn is_profile(name: &str, bytes: &[u8]) -> bool {
    const OF_CASES: [&str; 3] = ["cases", "family", "fragments"];
    Document::parse_bytes(name, bytes).is_ok_and(|document| {
        document.value().is_object() && !OF_CASES.iter().any(|key| document.value().get(key).is_some())
    })
}
