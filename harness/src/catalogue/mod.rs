//! The catalogue: every case, weakness and source, read from text and checked against each other.
//!
//! Reading stops at nothing: every mistake of every file is reported, with its place. No sockets, no files: texts are
//! given by name, the bundled ones by [`crate::bundled`].

mod decoded;
mod fragments;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::bundled;
use crate::carrier;
use crate::case::{Body, Case, CaseText, Open, Receive, Step, Variant};
use crate::document::{Code, Diagnostic, Diagnostics, Document, Path, did_you_mean};
use crate::hex;
use crate::kept::{self, Kept};
use crate::profile::Shape;
use crate::token::{ForgeError, Recipe, check_text};
use crate::transcript;

pub(crate) use fragments::Use;
use fragments::{FragmentText, Fragments};

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Source {
    /// The document and its section.
    pub r#where: String,
    /// What it asks for.
    pub says: String,
}

/// A file of cases.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) struct Family {
    /// The code that every case of the file begins with; a file that only holds fragments has none.
    #[serde(default)]
    #[schemars(regex(pattern = "^[A-Z]+$"))]
    family: Option<String>,
    /// What the family is about.
    #[serde(default)]
    title: Option<String>,
    /// Words that stand in the file as `${vars.NAME}`.
    #[serde(default)]
    vars: Map<String, Value>,
    /// Steps that several cases use.
    #[serde(default)]
    fragments: BTreeMap<String, FragmentText>,
    /// Sentences of its own that its cases rest on.
    #[serde(default)]
    sources: BTreeMap<String, Source>,
    /// Weaknesses of its own that its cases hunt.
    #[serde(default)]
    weaknesses: BTreeMap<String, Weakness>,
    /// The cases.
    // Each is read by itself, so that every mistake is told and not only the first.
    #[serde(default)]
    #[schemars(with = "Vec<CaseText>")]
    cases: Vec<Value>,
}

/// What a file gives to all files that are read with it.
struct Shared<'s> {
    fragments: Fragments,
    said: &'s BTreeMap<String, String>,
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
        decoded::catalogue(decoded::Depth::Whole).map_or_else(Self::checked, Ok)
    }

    /// As [`Catalogue::bundled`], for whoever asks only what the cases say about themselves: none of them has a variant or
    /// a class, so none can be run.
    ///
    /// # Errors
    ///
    /// Only when the bundled files are wrong, which the tests of this crate exclude.
    pub fn bundled_heads() -> Result<Self, Diagnostics> {
        decoded::catalogue(decoded::Depth::Heads).map_or_else(Self::checked, Ok)
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
        self.add_files(&[(name, text.as_bytes())], &BTreeMap::new())
    }

    /// Reads files of cases that belong together: what one calls a fragment, the others may use. `said` holds values for
    /// variables that they declare.
    ///
    /// # Errors
    ///
    /// Every mistake in them, with its place. Cases without a mistake are added all the same.
    pub fn add_files(&mut self, files: &[(&str, &[u8])], said: &BTreeMap<String, String>) -> Result<(), Diagnostics> {
        let mut found = Diagnostics::new();
        let mut shared = Shared { fragments: Fragments::default(), said };
        let mut read = Vec::with_capacity(files.len());
        for (name, bytes) in files {
            let Some((document, mut family)) = found.keep(family(name, bytes)) else { continue };
            let vars = fragments::vars(&family.vars, said);
            shared.fragments.add(&document, std::mem::take(&mut family.fragments), &vars, &mut found);
            self.add_registers(&document, &mut family, &mut found);
            read.push((document, family, vars));
        }
        for (document, family, vars) in &read {
            let Some(code) = &family.family else { continue };
            if !self.families.iter().any(|(known, _)| known == code) {
                self.families.push((code.clone(), family.title.clone().unwrap_or_else(|| code.clone())));
            }
            for (index, item) in family.cases.iter().enumerate() {
                let at = Path::root().key("cases").index(index);
                if let Some(case) = found.keep(self.read_case(document, code, item, &at, vars, &shared)) {
                    self.cases.push(case);
                }
            }
        }
        shared.fragments.check_unused(&mut found);
        let unknown = |name: &&String| !read.iter().any(|(_, family, _)| family.vars.contains_key(name.as_str()));
        if let (Some(name), Some((document, ..))) = (shared.said.keys().find(unknown), read.first()) {
            let declared = read.iter().flat_map(|(_, family, _)| family.vars.keys()).map(String::as_str);
            let help = did_you_mean(name, declared)
                .unwrap_or_else(|| format!("declare it with what it is otherwise: `vars: {{ {name}: ... }}`"));
            let message = format!("a value is given for `{name}`, which no file declares under `vars:`");
            found.push(document.diagnostic(Code::BadValue, &Path::root(), &message, Some(&help)));
        }
        found.or(())
    }

    /// Takes in the sources and weaknesses of a file.
    fn add_registers(&mut self, document: &Document, family: &mut Family, found: &mut Diagnostics) {
        let mut taken = |kind: &str, name: &str| {
            let at = Path::root().key(kind).key(name);
            found.push(document.key_diagnostic(Code::BadValue, &at, &format!("`{name}` is taken"), None));
        };
        for (name, source) in std::mem::take(&mut family.sources) {
            match self.sources.contains_key(&name) {
                true => taken("sources", &name),
                false => drop(self.sources.insert(name, source)),
            }
        }
        for (name, weakness) in std::mem::take(&mut family.weaknesses) {
            match self.weaknesses.contains_key(&name) {
                true => taken("weaknesses", &name),
                false => drop(self.weaknesses.insert(name, weakness)),
            }
        }
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

    fn read_case(
        &self,
        document: &Arc<Document>,
        family: &str,
        item: &Value,
        at: &Path,
        vars: &Value,
        shared: &Shared<'_>,
    ) -> Result<Case, Diagnostics> {
        let mut found = Diagnostics::new();
        let mut variants = Vec::new();
        let mut first: Option<CaseText> = None;
        let uses = fragments::steps_to_expand(item).is_some();
        let taken_apart = |copy: &Value| -> Result<(CaseText, Body), Diagnostics> {
            split(document.decode(copy, at)?).map_err(|why| document.diagnostic(Code::BadValue, at, &why, None).into())
        };
        let written = item;
        let item = document.fill(item, at, "vars", vars, "`vars`")?;
        for (label, copy) in document.expand(&item, at)? {
            let copy = shared.fragments.expand(document, &copy, at)?;
            let (head, body) = taken_apart(&copy)?;
            // What is kept is not known yet; any text in its place must make sense.
            let known = kept_by_any(&copy);
            let with_any = match known.is_empty() {
                true => None,
                false => {
                    let mut copy = copy.clone();
                    kept::put(&mut copy, &known).map_err(|why| document.diagnostic(Code::BadValue, at, &why, None))?;
                    Some(taken_apart(&copy)?.1)
                }
            };
            let places = Places { document, at, moved: uses };
            check_texts(&places, with_any.as_ref().unwrap_or(&body), &mut found);
            check_kept(&places, &body, &mut found);
            check_connections(&places, &body, &mut found);
            variants.push(Variant { label, body, bound: None });
            first.get_or_insert(head);
        }
        let Some(head) = first else {
            return Err(document.diagnostic(Code::BadTable, at, "the table has no entry", None).into());
        };
        self.check(document, family, &head, at, &mut found);
        // What is said on a command line changes what is played, and not the case.
        let mut definition = written.to_string();
        if uses {
            definition.push_str(&shared.fragments.definition());
        }
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
            let help = did_you_mean(weakness, self.weaknesses.keys().map(String::as_str));
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
        is_family(family) && number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Whether a text may be the code of a family, such as `SIG`.
fn is_family(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Reads a file, and what every file of cases must have.
fn family(name: &str, bytes: &[u8]) -> Result<(Arc<Document>, Family), Diagnostics> {
    let document = Document::parse_bytes(name, bytes)?;
    let family: Family = document.decode(document.value(), &Path::root())?;
    let lacks = |key: &str, message: &str, help: &str| {
        let at = Path::root().key(key);
        Err(document.diagnostic(Code::MissingKey, &at, message, Some(help)).into())
    };
    match &family.family {
        None if !family.cases.is_empty() => {
            lacks("cases", "the cases belong to no family", "write `family: CHAT` for codes such as CHAT-001")
        }
        Some(code) if !is_family(code) => {
            lacks("family", &format!("`{code}` is no code of a family"), "write capital letters only, such as `CHAT`")
        }
        _ if family.cases.is_empty() && family.fragments.is_empty() => {
            lacks("cases", "the file holds neither `cases` nor `fragments`", "write `cases:` and a list")
        }
        _ => Ok((Arc::new(document), family)),
    }
}

/// A text in the place of everything that a case asks for as kept.
fn kept_by_any(case: &Value) -> Kept {
    let mut names = Kept::new();
    kept::each_name(case, &mut |name| {
        names.insert(name.to_owned(), "kept".to_owned());
    });
    names
}

/// Where the steps of a case stand.
struct Places<'a> {
    document: &'a Document,
    at: &'a Path,
    /// Fragments were put in, so that the steps stand elsewhere.
    moved: bool,
}

impl Places<'_> {
    fn wrong(&self, step: usize, message: &str, help: Option<&str>) -> Diagnostic {
        let at = if self.moved { self.at.clone() } else { self.at.key("steps").index(step) };
        self.document.diagnostic(Code::BadValue, &at, message, help)
    }
}

/// That recipes and texts can be read.
fn check_texts(places: &Places<'_>, body: &Body, found: &mut Diagnostics) {
    let Body::Steps(steps) = body else { return };
    for (index, step) in steps.iter().enumerate() {
        for recipe in recipes(step) {
            if let Err(error) = recipe.check() {
                found.push(places.wrong(index, &error.to_string(), None));
            }
        }
        for text in texts(step) {
            // The words of the carriers' room are checked where they are put in.
            let is_word = |error: &ForgeError| matches!(error, ForgeError::UnknownName(name) if carrier::is_word(name));
            if let Err(error) = check_text(text)
                && !is_word(&error)
            {
                found.push(places.wrong(index, &error.to_string(), None));
            }
        }
    }
}

/// That a step asks only for what an earlier one keeps, and that what is kept can be found.
fn check_kept(places: &Places<'_>, body: &Body, found: &mut Diagnostics) {
    let Body::Steps(steps) = body else { return };
    let mut known: Vec<&str> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let value = serde_json::to_value(step).unwrap_or_default();
        kept::each_name(&value, &mut |name| {
            if !known.contains(&name) {
                let help = did_you_mean(name, known.iter().copied());
                let message = format!("`${{kept.{name}}}` is kept by no earlier step");
                found.push(places.wrong(index, &message, help.as_deref()));
            }
        });
        if let Step::Receive(Receive { like: Some(Shape::Json(members)), .. }) = step
            && let Some(pointer) = members.keys().find(|pointer| !pointer.is_empty() && !pointer.starts_with('/'))
        {
            let message = format!("`{pointer}` is no JSON Pointer");
            found.push(places.wrong(index, &message, Some(&format!("write `/{pointer}`"))));
        }
        if let Step::Receive(receive) = step
            && receive.none
            && !receive.keep.is_empty()
        {
            found.push(places.wrong(index, "nothing can be kept of a message that must not come", None));
        }
        for (name, part) in kept::parts(step).into_iter().flatten() {
            if let Err(why) = part.check(matches!(step, Step::Http(_))) {
                found.push(places.wrong(index, &format!("{name}: {why}"), None));
            }
            known.push(name);
        }
    }
}

/// That every step works on a connection that an earlier one has opened.
fn check_connections(places: &Places<'_>, body: &Body, found: &mut Diagnostics) {
    let Body::Steps(steps) = body else { return };
    let mut open: Vec<&str> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        match step {
            Step::Open(opened) => open.push(&opened.name),
            Step::Crowd(crowd) => open.extend(crowd.of.iter().map(|opened| opened.name.as_str())),
            Step::Http(_) => open.push(transcript::HTTP),
            Step::Abort(_) | Step::Hello(_) | Step::Wait(_) | Step::Fetches(_) => {}
            _ if open.contains(&step.on()) || step.on().contains("${kept.") => {}
            _ => {
                let help = did_you_mean(step.on(), open.iter().copied())
                    .unwrap_or_else(|| format!("open it before: `open: {{ as: {} }}`", step.on()));
                let message = format!("no connection is called `{}` here", step.on());
                found.push(places.wrong(index, &message, Some(&help)));
            }
        }
    }
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
        (Some(expect), true, None, None) => Body::Steps(Arc::new([Step::Open(Box::new(Open { expect, ..short }))])),
        (None, false, None, None) if short == (Open { class: text.class, ..Open::default() }) => {
            Body::Steps(steps.into())
        }
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

/// The texts of a step in which the `${...}` of tokens may stand.
fn texts(step: &Step) -> Vec<&str> {
    match step {
        Step::Open(open) => {
            let request = &open.request;
            let values = request.set.values().chain(request.add.iter().map(|(_, value)| value));
            request.query.iter().chain(values).map(String::as_str).collect()
        }
        Step::Send(send) => send.texts.iter().map(String::as_str).collect(),
        Step::Http(http) => http.with.values().filter_map(Value::as_str).collect(),
        Step::Say(say) => say.texts.iter().map(String::as_str).collect(),
        Step::Receive(receive) => receive.like.iter().flat_map(Shape::texts).collect(),
        _ => Vec::new(),
    }
}

/// The recipes of the tokens of a step.
fn recipes(step: &Step) -> Vec<&Recipe> {
    match step {
        Step::Open(open) => {
            std::iter::once(&open.token).chain(open.carry.also.iter().map(|also| &also.token)).collect()
        }
        Step::Http(http) => http.bearer.iter().collect(),
        Step::Crowd(crowd) => crowd.of.iter().map(|open| &open.token).collect(),
        _ => Vec::new(),
    }
}
