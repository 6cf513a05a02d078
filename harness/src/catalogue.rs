//! The catalogue: every case, weakness and source, read from text and checked against each other.
//!
//! Reading stops at nothing: every mistake of every file is reported, with its place. No sockets, no files: texts are
//! given by name, the bundled ones by [`crate::bundled`].

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bundled;
use crate::carrier;
use crate::case::{Body, Case, CaseText, Http, Open, Step, Variant};
use crate::document::{Code, Diagnostics, Document, Path, closest, expand};
use crate::hex;
use crate::token::{ForgeError, Recipe, check_text};

/// Cases, the weaknesses they hunt and the sentences they rest on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalogue {
    /// Every case, in the order of the files.
    pub cases: Vec<Case>,
    /// The families, code and title, in the order of the files.
    pub families: Vec<(String, String)>,
    /// The weaknesses by name.
    pub weaknesses: BTreeMap<String, Weakness>,
    /// The sources by key.
    pub sources: BTreeMap<String, Source>,
    /// The codes that are no case of their own, because another case answers for them.
    pub covered: BTreeMap<String, Covered>,
}

/// What answers for a code that is no case of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Covered {
    /// The code of the case that asks it.
    pub by: String,
    /// Why that is enough.
    pub because: String,
}

/// A named way a gate can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Weakness {
    /// What the gate does wrong.
    pub what: String,
    /// Code that has it.
    #[serde(default)]
    pub example: Option<String>,
    /// What it gives an attacker, or takes from an honest client.
    pub gives: String,
    /// How to mend it.
    pub mend: String,
    /// CWE and CVE numbers, and the like.
    #[serde(default)]
    pub refs: Vec<String>,
    /// Cases that fail with it as well, because the decisions cannot be told apart; `*` stands for whatever is in flight.
    #[serde(default)]
    pub also: Vec<String>,
    /// Why the reference server cannot have it.
    #[serde(default)]
    pub not_seeded: Option<String>,
}

/// A sentence that cases rest on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Source {
    /// The document and its section.
    pub r#where: String,
    /// What it asks for.
    pub says: String,
}

/// A file of cases: what a gate must do, as data.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) struct Family {
    /// The letters before the hyphen of every code in the file, such as `SIG`.
    family: String,
    /// What the family is about.
    title: String,
    /// The cases.
    // Each is read by itself, so that every mistake is told and not only the first.
    #[schemars(with = "Vec<CaseText>")]
    cases: Vec<Value>,
}

impl Catalogue {
    /// The catalogue that was built in.
    ///
    /// It was decoded when this crate was built; what [`Catalogue::checked`] looks at besides, the tests have seen.
    ///
    /// # Errors
    ///
    /// Only when the bundled files are wrong, which the tests of this crate exclude.
    pub fn bundled() -> Result<Self, Diagnostics> {
        // A reader without places cannot say what is wrong.
        decoded().map_or_else(Self::checked, Ok)
    }

    /// As [`Catalogue::bundled`], read from the texts as if they were anybody's: every reader is asked, everything is
    /// checked, and every mistake has its place.
    ///
    /// # Errors
    ///
    /// Only when the bundled files are wrong.
    pub fn checked() -> Result<Self, Diagnostics> {
        let mut found = Diagnostics::new();
        let weaknesses = found.keep(map("weaknesses.yaml", bundled::WEAKNESSES)).unwrap_or_default();
        let sources = found.keep(map("sources.yaml", bundled::SOURCES)).unwrap_or_default();
        let mut catalogue = Self { weaknesses, sources, ..Self::default() };
        for (name, text) in bundled::CASES {
            let _ = found.keep(catalogue.add(name, text));
        }
        let _ = found.keep(catalogue.cover("covered.yaml", bundled::COVERED));
        found.or(catalogue)
    }

    /// Reads a file of cases.
    ///
    /// # Errors
    ///
    /// Every mistake in it, with its place. Cases without a mistake are added all the same.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), Diagnostics> {
        let document = Document::parse(name, text)?;
        let family: Family = document.decode(document.value(), &Path::root())?;
        let mut found = Diagnostics::new();
        if !self.families.iter().any(|(code, _)| *code == family.family) {
            self.families.push((family.family.clone(), family.title.clone()));
        }
        for (index, item) in family.cases.iter().enumerate() {
            let at = Path::root().key("cases").index(index);
            if let Some(case) = found.keep(self.read_case(&document, &family.family, item, &at)) {
                self.cases.push(case);
            }
        }
        found.or(())
    }

    /// Reads the list of codes that other cases answer for. The cases must have been added before.
    ///
    /// # Errors
    ///
    /// What is no code, what is a case of its own, and what is to be covered by a case that does not exist.
    pub fn cover(&mut self, name: &str, text: &str) -> Result<(), Diagnostics> {
        let document = Document::parse(name, text)?;
        let covered: BTreeMap<String, Covered> = document.decode(document.value(), &Path::root())?;
        let mut found = Diagnostics::new();
        for (code, Covered { by, .. }) in covered {
            let at = Path::root().key(&code);
            let mut wrong = |at: &Path, message: String| {
                found.push(document.diagnostic(Code::BadValue, at, &message, None));
            };
            if !is_code(&code) {
                wrong(&at, format!("`{code}` is no code of a case"));
            } else if self.case(&code).is_some() {
                wrong(&at, format!("`{code}` is a case of its own"));
            }
            if self.case(&by).is_none() {
                wrong(&at.key("by"), format!("no case has the code `{by}`"));
            }
        }
        found.or(())?;
        self.covered = document.decode(document.value(), &Path::root())?;
        Ok(())
    }

    /// The case of this code.
    pub fn case(&self, code: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.head.code == code)
    }

    fn read_case(&self, document: &Document, family: &str, item: &Value, at: &Path) -> Result<Case, Diagnostics> {
        let mut found = Diagnostics::new();
        let mut variants = Vec::new();
        let mut first: Option<CaseText> = None;
        let mut definition = String::new();
        for (label, copy) in document.expand(item, at)? {
            let text: CaseText = document.decode(&copy, at)?;
            let (head, body) = split(text).map_err(|why| document.diagnostic(Code::BadValue, at, &why, None))?;
            for recipe in recipes(&body) {
                if let Err(error) = recipe.check() {
                    found.push(document.diagnostic(Code::BadValue, at, &error.to_string(), None));
                }
            }
            for text in texts(&body) {
                // The words of the carriers' room are checked where they are put in.
                let is_word =
                    |error: &ForgeError| matches!(error, ForgeError::UnknownName(name) if carrier::is_word(name));
                if let Err(error) = check_text(text)
                    && !is_word(&error)
                {
                    found.push(document.diagnostic(Code::BadValue, at, &error.to_string(), None));
                }
            }
            define(&mut definition, &label, &copy);
            variants.push(Variant { label, body, bound: None });
            first.get_or_insert(head);
        }
        let Some(head) = first else {
            return Err(document.diagnostic(Code::BadTable, at, "the table has no entry", None).into());
        };
        self.check(document, family, &head, at, &mut found);
        let line = document.place(&at.key("code")).map_or(1, |place| place.line);
        let (family, file) = (family.to_owned(), document.name().to_owned());
        found.or(Case { head, family, variants, file, line, definition: hex::fingerprint(&definition) })
    }

    /// What only the whole catalogue can tell about a case.
    fn check(&self, document: &Document, family: &str, head: &CaseText, at: &Path, found: &mut Diagnostics) {
        let mut wrong = |key: &str, message: String, help: Option<String>| {
            found.push(document.diagnostic(Code::BadValue, &at.key(key), &message, help.as_deref()));
        };
        let ours = head.code.strip_prefix(family).is_some_and(|rest| rest.starts_with('-'));
        if !ours || !is_code(&head.code) {
            wrong(
                "code",
                format!("`{}` is no code of family {family}", head.code),
                Some(format!("write `{family}-001`")),
            );
        }
        if self.case(&head.code).is_some() {
            wrong("code", format!("`{}` is taken", head.code), Some("codes are never used twice".to_owned()));
        }
        if self.cases.iter().any(|case| case.head.name == head.name && case.family == family) {
            wrong("name", format!("`{}` is taken in this family", head.name), None);
        }
        let kebab = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        if !kebab(&head.name) {
            wrong("name", format!("`{}` is not in kebab-case", head.name), None);
        }
        if let Some(weakness) = &head.weakness
            && !self.weaknesses.is_empty()
            && !self.weaknesses.contains_key(weakness)
        {
            let close = closest(weakness, self.weaknesses.keys().map(String::as_str));
            let help = close.map(|close| format!("did you mean `{close}`?"));
            wrong("weakness", format!("no weakness is called `{weakness}` in weaknesses.yaml"), help);
        }
        for source in &head.source {
            if !self.sources.is_empty() && !self.sources.contains_key(source) {
                wrong("source", format!("no source has the key `{source}` in sources.yaml"), None);
            }
        }
    }

    /// The source keys of a case as places in documents, without repetition.
    pub fn places(&self, head: &CaseText) -> Vec<String> {
        let mut seen = BTreeSet::new();
        head.source
            .iter()
            .filter_map(|key| self.sources.get(key))
            .map(|source| source.r#where.clone())
            .filter(|place| seen.insert(place.clone()))
            .collect()
    }
}

/// Whether a text is a family and three digits, such as `SIG-008`.
fn is_code(text: &str) -> bool {
    text.split_once('-').is_some_and(|(family, number)| {
        !family.is_empty()
            && family.bytes().all(|byte| byte.is_ascii_uppercase())
            && number.len() == 3
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The bundled catalogue, without a look at anything but the types. `None` is a mistake somewhere.
fn decoded() -> Option<Catalogue> {
    let mut catalogue = Catalogue {
        weaknesses: serde_json::from_str(bundled::DECODED_WEAKNESSES).ok()?,
        sources: serde_json::from_str(bundled::DECODED_SOURCES).ok()?,
        covered: serde_json::from_str(bundled::DECODED_COVERED).ok()?,
        ..Catalogue::default()
    };
    for ((file, _), (json, lines)) in bundled::CASES.iter().zip(bundled::DECODED_CASES) {
        let Family { family, title, cases } = serde_json::from_str(json).ok()?;
        if cases.len() != lines.len() {
            return None;
        }
        for (item, line) in cases.into_iter().zip(*lines) {
            let mut first = None;
            let mut variants = Vec::new();
            let mut definition = String::new();
            for (label, copy) in table(item)? {
                define(&mut definition, &label, &copy);
                let (head, body) = split(serde_json::from_value(copy).ok()?).ok()?;
                variants.push(Variant { label, body, bound: None });
                first.get_or_insert(head);
            }
            let (head, family, file) = (first?, family.clone(), (*file).to_owned());
            let definition = hex::fingerprint(&definition);
            catalogue.cases.push(Case { head, family, variants, file, line: *line, definition });
        }
        if !catalogue.families.iter().any(|(code, _)| *code == family) {
            catalogue.families.push((family, title));
        }
    }
    Some(catalogue)
}

/// Adds a copy of a case to the text that its fingerprint is of.
fn define(definition: &mut String, label: &str, copy: &Value) {
    definition.push_str(&format!("{label}\n{copy}\n"));
}

/// The copies a case stands for.
fn table(item: Value) -> Option<Vec<(String, Value)>> {
    if item.get("for").is_some() { expand::table(&item).ok() } else { Some(vec![(String::new(), item)]) }
}

fn map<T: serde::de::DeserializeOwned>(name: &str, text: &str) -> Result<BTreeMap<String, T>, Diagnostics> {
    let document = Document::parse(name, text)?;
    document.decode(document.value(), &Path::root())
}

/// Takes the traffic out of a case: exactly one of the short form, `steps`, `across` and `lint`.
fn split(mut text: CaseText) -> Result<(CaseText, Body), String> {
    let short = Open {
        token: text.token.take().unwrap_or(Recipe::Valid),
        carry: text.carry.take().unwrap_or_default(),
        request: text.request.take().unwrap_or_default(),
        answer: text.answer.take(),
        class: text.class,
        ..Open::default()
    };
    let steps = std::mem::take(&mut text.steps);
    let body = match (text.expect.take(), steps.is_empty(), text.across.take(), text.lint.take()) {
        (Some(expect), true, None, None) => Body::Steps(vec![Step::Open(Box::new(Open { expect, ..short }))]),
        (None, false, None, None) if short == (Open { class: text.class, ..Open::default() }) => Body::Steps(steps),
        (None, true, Some(across), None) => Body::Across(across),
        (None, true, None, Some(lint)) => Body::Lint(lint),
        (None, true, None, None) => {
            return Err("the case does nothing: it needs `expect`, `steps`, `across` or `lint`".to_owned());
        }
        _ => {
            return Err("the case does too much: only one of `expect` (with `token`, `carry`, `request`, `answer`), \
                        `steps`, `across` and `lint` may stand in it"
                .to_owned());
        }
    };
    Ok((text, body))
}

/// The texts of the requests in which the `${...}` of tokens may stand.
fn texts(body: &Body) -> Vec<&str> {
    let Body::Steps(steps) = body else { return Vec::new() };
    let opens = steps.iter().filter_map(|step| match step {
        Step::Open(open) => Some(&open.request),
        _ => None,
    });
    opens
        .flat_map(|request| {
            let values = request.set.values().chain(request.add.iter().map(|(_, value)| value));
            request.query.iter().chain(values).map(String::as_str)
        })
        .collect()
}

fn recipes(body: &Body) -> Vec<&Recipe> {
    let Body::Steps(steps) = body else { return Vec::new() };
    let mut recipes = Vec::new();
    for step in steps {
        match step {
            Step::Open(open) => {
                recipes.push(&open.token);
                recipes.extend(open.carry.also.iter().map(|also| &also.token));
            }
            Step::Http(http) => {
                let Http { bearer, .. } = http.as_ref();
                recipes.extend(bearer);
            }
            Step::Crowd(crowd) => recipes.extend(crowd.of.iter().map(|open| &open.token)),
            _ => {}
        }
    }
    recipes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever edits a scenario is told here what is wrong with it, and where.
    #[test]
    fn what_is_decoded_beforehand_is_what_the_files_say() {
        let checked = Catalogue::checked().unwrap_or_else(|found| panic!("{found}"));
        let decoded = decoded().expect("decoded when this crate was built");
        assert_eq!(decoded.cases.len(), checked.cases.len());
        for (decoded, checked) in decoded.cases.iter().zip(&checked.cases) {
            assert_eq!(decoded, checked);
        }
        assert!(decoded == checked, "families, weaknesses, sources or covered codes");
    }
}
