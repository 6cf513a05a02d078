//! The schemas that editors and other programs read: as they would be made, and no other than what the readers take.
//!
//! `GATECRASH_BLESS=1 cargo test --test schema` writes `scenarios/schema/` anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gatecrash::command::bundled_server::{BundledServer, Setting};
use gatecrash::document::{Code, Diagnostics, Document};
use gatecrash::profile::{KnownGap, presets};
use gatecrash::redact::Redactor;
use gatecrash::report::{Failure, Format, Report, gaps};
use gatecrash::schema::Kind;
use gatecrash::transcript::Transcript;
use gatecrash::{Catalogue, Profile, Suite, Target, Verdict, bundled};
use gatecrash_reference_server::{Dialect, Fault, RefusalStyle};
use jsonschema::Validator;
use serde_json::{Value, json};

fn root(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)
}

fn validator(schema: &Value) -> Validator {
    jsonschema::draft202012::new(schema).unwrap_or_else(|error| panic!("{error}"))
}

fn wrong(validator: &Validator, value: &Value) -> String {
    let wrong = validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path()));
    wrong.collect::<Vec<_>>().join("\n")
}

fn value(name: &str, text: &str) -> Value {
    Document::parse(name, text).unwrap_or_else(|found| panic!("{found}")).value().clone()
}

#[test]
fn every_schema_is_as_it_would_be_made() {
    for kind in Kind::ALL {
        let path = root(&format!("scenarios/schema/{}.json", kind.name()));
        let made = kind.text();
        if fs::read_to_string(&path).unwrap_or_default() == made {
            continue;
        }
        assert!(
            std::env::var_os("GATECRASH_BLESS").is_some(),
            "{} is stale; write it anew with: GATECRASH_BLESS=1 cargo test --test schema",
            path.display()
        );
        fs::create_dir_all(root("scenarios/schema")).expect("a folder");
        fs::write(&path, made).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

#[test]
fn every_schema_has_a_name_and_describes_every_key() {
    for kind in Kind::ALL {
        let schema = kind.schema();
        jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{}: {error}", kind.name()));
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["$id"], format!("urn:gatecrash:{}:1", kind.name()));
        assert_eq!(schema["title"], format!("gatecrash {}", kind.name()));
        let definitions = schema["$defs"].as_object().expect("definitions");
        for (name, definition) in definitions.iter().chain([(&"the root".to_owned(), &schema)]) {
            // A number at the end is put there when two types have the same name.
            assert!(!name.ends_with(|last: char| last.is_ascii_digit()), "{name}");
            for (key, member) in definition["properties"].as_object().into_iter().flatten() {
                assert!(member["description"].is_string() || member["$ref"] == "#/$defs/Table", "{name}.{key}");
            }
            let told = definition.to_string();
            assert!(!told.contains("[`") && !told.contains("crate::"), "{name} speaks of Rust: {told}");
        }
    }
}

#[test]
fn the_command_prints_what_is_committed() {
    for kind in Kind::ALL {
        let run =
            Command::new(env!("CARGO_BIN_EXE_gatecrash")).args(["schema", kind.name()]).output().expect("it runs");
        let committed = fs::read(root(&format!("scenarios/schema/{}.json", kind.name()))).expect("the file");
        assert!(run.status.success() && run.stdout == committed && run.stderr.is_empty(), "{}", kind.name());
    }
    let run = Command::new(env!("CARGO_BIN_EXE_gatecrash")).args(["schema", "profil"]).output().expect("it runs");
    let told = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(2), "{told}");
    assert!(told.contains("did you mean `profile`?"), "{told}");
}

#[test]
fn every_bundled_document_is_valid() {
    let schema = validator(&Kind::Profile.schema());
    for (name, text) in presets() {
        assert_eq!(wrong(&schema, &value(name, text)), "", "{name}");
    }
    let schema = validator(&Kind::Scenario.schema());
    for (name, text) in bundled::CASES {
        assert_eq!(wrong(&schema, &value(name, text)), "", "{name}");
    }
}

/// The blocks of YAML in a page, each with the word behind `yaml`.
fn blocks(page: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(root(page)).expect("the page");
    let blocks = text.split("\n```yaml").skip(1).map(|block| {
        let (word, rest) = block.split_once('\n').expect("a line");
        let (text, _) = rest.split_once("\n```").expect("an end");
        (word.trim().to_owned(), format!("{text}\n"))
    });
    blocks.collect()
}

/// A file of each case in a block of the page about cases.
fn files(block: &str) -> impl Iterator<Item = String> {
    block.split("\n\n").map(|case| {
        let family = case.trim_start_matches("- code: ").split('-').next().expect("a code");
        let indented: String = case.lines().map(|line| format!("  {line}\n")).collect();
        format!("family: {family}\ntitle: Examples\ncases:\n{indented}")
    })
}

#[test]
fn every_example_of_a_page_is_valid() {
    let schema = validator(&Kind::Profile.schema());
    let examples = blocks("README.md");
    assert!(examples.len() >= 3, "{examples:?}");
    for (_, text) in examples {
        Profile::from_yaml("README.md", &text).unwrap_or_else(|found| panic!("{found}"));
        assert_eq!(wrong(&schema, &value("README.md", &text)), "", "{text}");
    }
    let schema = validator(&Kind::Scenario.schema());
    let examples = blocks("scenarios/README.md");
    let cases: Vec<String> =
        examples.iter().filter(|(kind, _)| kind == "case").flat_map(|(_, text)| files(text)).collect();
    let whole = examples.iter().filter(|(kind, _)| kind == "file").map(|(_, text)| text.clone());
    let cases: Vec<String> = cases.into_iter().chain(whole).collect();
    assert!(cases.len() >= 10, "{cases:?}");
    for text in cases {
        assert_eq!(wrong(&schema, &value("README.md", &text)), "", "{text}");
    }
}

/// The schema with no room for a member that it does not name.
fn closed(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(closed),
        Value::Object(members) => {
            members.values_mut().for_each(closed);
            if members.get("type").is_some_and(|kind| kind == "object") {
                members.insert("additionalProperties".to_owned(), false.into());
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn a_real_result_is_valid_and_has_no_member_that_is_not_named() {
    let fault: Fault = "accepts-alg-none".parse().expect("a fault");
    let server =
        BundledServer::start(&Setting::of(Dialect::Shipvox, RefusalStyle::Close), Some(fault)).expect("it starts");
    let suite = || ["SIG", "MSG", "TLS"].into_iter().fold(Suite::bundled().seed(7), Suite::select);
    let transcript = Transcript::Failed;
    let mut report = suite().transcript(transcript).run(&server.target).await.expect("a report");
    assert!(report.failures().count() > 1, "{report}");
    let gap = |case: &str| KnownGap { case: case.to_owned(), reason: "TICKET-17".to_owned(), observed: None };
    gaps::apply(&mut report, &[gap("SIG-008"), gap("SIG-001")], &[], &Redactor::default());
    for verdict in [Verdict::Pass, Verdict::Fail, Verdict::KnownGap, Verdict::NotApplicable] {
        assert!(report.trials.iter().any(|trial| trial.verdict == verdict), "{verdict:?}\n{report}");
    }
    assert!(report.trials.iter().any(|trial| !trial.transcript.is_empty()), "{report}");
    let nobody =
        Target::new("ws://127.0.0.1:1/ws?token={token}", "a secret of thirty-two bytes or more").expect("a target");
    let unreachable = suite().run(&nobody).await.expect("a report");
    let mut lost = unreachable.clone();
    assert!(matches!(unreachable.failure, Some(Failure::Unreachable(_))), "{unreachable}");
    lost.failure = Some(Failure::Interrupted);

    let mut schema = Kind::Result.schema();
    let open = validator(&schema);
    closed(&mut schema);
    let closed = validator(&schema);
    for reports in [vec![report, unreachable, lost], Vec::<Report>::new()] {
        let mut value: Value = serde_json::from_str(&Format::Json.write(&reports)).expect("JSON");
        assert_eq!(wrong(&closed, &value), "");
        value["summary"]["more"] = 1.into();
        assert!(open.is_valid(&value), "members are added within a version");
        assert!(!closed.is_valid(&value), "the schema was to be closed");
        value["gatecrash_result"] = 2.into();
        assert!(!open.is_valid(&value), "another version is another schema");
    }
}

#[test]
fn a_placeholder_stands_for_anything_where_there_is_a_table_and_nowhere_else() {
    let schema = validator(&Kind::Scenario.schema());
    let case = |more: Value| {
        let mut case = json!({
            "code": "AUTH-999", "name": "a", "title": "a", "level": "must", "severity": "low", "source": [],
            "expect": "refused",
        });
        let members = case.as_object_mut().expect("an object");
        members.extend(more.as_object().expect("an object").clone());
        json!({ "family": "AUTH", "title": "a", "cases": [case] })
    };
    let table = json!([{ "label": "one", "level": "must" }]);
    for (more, is_right) in [
        (json!({ "level": "${a.level}" }), false),
        (json!({ "for": { "a": table }, "level": "${a.level}" }), true),
        (json!({ "for": { "a": table }, "level": "mus" }), false),
        (json!({ "for": { "a": table }, "token": { "forge": ["${a}", { "${a.op}": 1 }] } }), true),
        (json!({ "token": { "forge": ["${a}"] } }), false),
        (json!({ "token": { "forge": [{ "${a.op}": 1 }] } }), false),
        (json!({ "for": { "a": table }, "steps": [{ "close": { "code": "${a.code}" } }] }), true),
        (json!({ "for": { "a": [] }, "level": "${a}" }), false),
        (json!({ "for": { "a": [1], "b": [2] }, "level": "${a}" }), false),
        (json!({ "for": { "A": [1] }, "level": "${A}" }), false),
        (json!({ "for": { "a": [{ "label": "two words" }] }, "level": "${a}" }), false),
        (json!({ "for": [1], "level": "${a}" }), false),
        (json!({ "level": "${vars.level}" }), true),
        (json!({ "level": "${vars}" }), false),
        (json!({ "needs": "${vars.needs}", "token": { "${vars.recipe}": [] } }), true),
        (
            json!({ "steps": [{ "use": "a" }, { "use": { "fragment": "a", "with": { "b": 1 } } }, { "alive": {} }] }),
            true,
        ),
        (json!({ "steps": [{ "use": { "fragment": "a", "wiht": { "b": 1 } } }] }), false),
        (json!({ "steps": [{ "use": "a", "alive": {} }] }), false),
    ] {
        assert_eq!(schema.is_valid(&case(more.clone())), is_right, "{more}");
    }
}

#[test]
fn a_file_has_a_family_and_cases_or_fragments_alone() {
    let schema = validator(&Kind::Scenario.schema());
    let fragments = json!({ "a": { "steps": [{ "open": { "level": "${with.level}" } }] } });
    let case =
        json!({ "code": "A-001", "name": "a", "title": "a", "level": "must", "severity": "low", "expect": "refused" });
    for (file, is_right) in [
        (json!({ "family": "A", "cases": [case] }), true),
        (json!({ "family": "a", "cases": [case] }), false),
        (json!({ "cases": [case] }), false),
        (json!({ "family": null, "cases": [case] }), false),
        (json!({ "family": "A", "cases": [] }), false),
        (json!({ "fragments": fragments }), true),
        (json!({ "fragments": fragments, "cases": [] }), true),
        (json!({ "fragments": fragments, "cases": [case] }), false),
        (json!({ "fragments": {} }), false),
        (json!({ "family": "A", "fragments": fragments, "cases": [case] }), true),
        (json!({}), false),
    ] {
        let read = Catalogue::default().add("file", &file.to_string());
        assert_eq!(schema.is_valid(&file), is_right, "{file}");
        assert_eq!(read.is_ok(), is_right, "{file}: {read:?}");
    }
}

#[test]
fn a_profile_that_extends_a_preset_need_not_repeat_it() {
    let schema = validator(&Kind::Profile.schema());
    for (profile, is_right) in [
        (json!({ "extends": "strict", "roles": { "denied": ["guest"] } }), true),
        (json!({ "roles": { "denied": ["guest"] } }), false),
        (json!({ "extends": null, "roles": { "denied": ["guest"] } }), false),
        (json!({ "extends": "strict", "roles": { "refused": ["guest"] } }), false),
        (json!({ "extends": "stric" }), false),
        (json!({ "extends": "strict", "known_gaps": [{ "case": "SIG-008" }] }), false),
        (json!({ "extends": "strict", "observed": { "roles": { "denied": ["guest"] } } }), false),
    ] {
        let read = Profile::from_yaml("p.yaml", &profile.to_string());
        assert_eq!(schema.is_valid(&profile), is_right, "{profile}");
        assert_eq!(read.is_ok(), is_right, "{profile}: {read:?}");
    }
}

// What the readers refuse, the schemas refuse, and nothing else.

/// What is done to a place of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    /// A key that nobody knows is put into a mapping.
    Unknown,
    /// The place is taken out of its mapping.
    Without,
    Null,
    Truth,
    Number,
    Negative,
    Broken,
    Word,
    EmptyList,
    List,
    EmptyMapping,
    Mapping,
}

const CHANGES: [Change; 12] = [
    Change::Unknown,
    Change::Without,
    Change::Null,
    Change::Truth,
    Change::Number,
    Change::Negative,
    Change::Broken,
    Change::Word,
    Change::EmptyList,
    Change::List,
    Change::EmptyMapping,
    Change::Mapping,
];

impl Change {
    /// The document with this change at a place, where it can be made.
    fn make(self, document: &Value, at: &str) -> Option<Value> {
        let (parent, key) = at.rsplit_once('/').unwrap_or_default();
        let put = |value: Value| {
            let mut changed = document.clone();
            *changed.pointer_mut(at)? = value;
            Some(changed)
        };
        match self {
            Self::Unknown if document.pointer(at)?.is_object() => {
                let mut changed = document.clone();
                changed.pointer_mut(at)?["no_such_key"] = 1.into();
                Some(changed)
            }
            Self::Without if !at.is_empty() && document.pointer(parent)?.is_object() => {
                let mut changed = document.clone();
                let key = key.replace("~1", "/").replace("~0", "~");
                changed.pointer_mut(parent)?.as_object_mut()?.remove(&key);
                Some(changed)
            }
            Self::Unknown | Self::Without => None,
            Self::Null => put(Value::Null),
            Self::Truth => put(true.into()),
            Self::Number => put(7.into()),
            Self::Negative => put((-1).into()),
            Self::Broken => put(1.5.into()),
            Self::Word => put("no such word".into()),
            Self::EmptyList => put(json!([])),
            Self::List => put(json!(["no such word"])),
            Self::EmptyMapping => put(json!({})),
            Self::Mapping => put(json!({ "no_such_key": 1 })),
        }
    }
}

/// A document of the suite, with what a schema does not see.
struct Whole {
    value: Value,
    /// Whether it extends a preset, or has a table.
    is_part: bool,
}

/// Every place of a value: its JSON Pointer, and the same with `*` for every index.
fn places(value: &Value, at: &str, shape: &str, found: &mut Vec<(String, String)>) {
    found.push((at.to_owned(), shape.to_owned()));
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{index}"), &format!("{shape}/*"), found);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                let key = key.replace('~', "~0").replace('/', "~1");
                places(member, &format!("{at}/{key}"), &format!("{shape}/{key}"), found);
            }
        }
        _ => {}
    }
}

/// The last names of a place: what stands in the same one is read by the same type.
fn tail(shape: &str) -> String {
    // Nobody knows what the entries of a table are.
    if let Some(below) = shape.strip_prefix("/cases/*/for/") {
        return format!("for {}", below.matches('/').count());
    }
    let names: Vec<&str> = shape.rsplit('/').take(2).collect();
    names.join("/")
}

/// Whether it is refused for what a schema can see: a key, a type, a word.
fn is_visible(found: &Diagnostics) -> bool {
    found.iter().any(|one| match one.code() {
        Code::UnknownKey | Code::MissingKey | Code::WrongType | Code::UnknownWord => true,
        Code::BadValue => one.message().starts_with("expected "),
        _ => false,
    })
}

/// Which of the two refuses more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stricter {
    Schema,
    Reader,
}

/// A difference between reader and schema.
struct Difference<'a> {
    document: &'a Whole,
    at: &'a str,
    change: Change,
    stricter: Stricter,
}

/// A difference that is meant, in which documents, and why.
type Meant = (&'static [Kind], &'static str, fn(&Difference<'_>) -> bool);
const MEANT: [Meant; 3] = [
    (
        &[Kind::Profile, Kind::Scenario],
        "serde takes a list for a mapping, its items for the members in their order; nobody writes that",
        |found| {
            let was_mapping = found.document.value.pointer(found.at).is_some_and(Value::is_object);
            was_mapping
                && found.stricter == Stricter::Schema
                && matches!(found.change, Change::EmptyList | Change::List)
        },
    ),
    (
        &[Kind::Profile],
        "what a preset says is not known: whether a key may be left out, and whether a shape is there already",
        |found| found.document.is_part && matches!(found.change, Change::Without | Change::EmptyMapping),
    ),
    (
        &[Kind::Scenario],
        "what an entry of a table, or a variable, must be is told by where its placeholders stand",
        |found| {
            let is_put_in =
                found.at.starts_with("/cases/0/for/") || found.at.contains("/with/") || found.at.contains("/vars/");
            is_put_in && found.stricter == Stricter::Reader
        },
    ),
];

fn profiles() -> Vec<Whole> {
    let readme = blocks("README.md").into_iter().map(|(_, text)| text);
    let texts = presets().iter().map(|(_, text)| (*text).to_owned()).chain(readme);
    let values = texts.map(|text| value("a profile", &text));
    values.map(|value| Whole { is_part: value.get("extends").is_some(), value }).collect()
}

/// A file of each bundled case.
fn cases() -> Vec<Whole> {
    let mut cases = Vec::new();
    for (name, text) in bundled::CASES {
        let file = value(name, text);
        for case in file["cases"].as_array().expect("cases") {
            let mut value = file.clone();
            value["cases"] = json!([case]);
            cases.push(Whole { is_part: case.get("for").is_some(), value });
        }
    }
    // No bundled file has variables and fragments.
    for (_, text) in blocks("scenarios/README.md").iter().filter(|(kind, _)| kind == "file") {
        cases.push(Whole { is_part: false, value: value("README.md", text) });
    }
    cases
}

/// Makes every change at every place, and holds the schema against the reader. How often both refused it, and took it.
fn compare(kind: Kind, documents: &[Whole], read: fn(&str) -> Result<(), Diagnostics>) -> (usize, usize) {
    let schema = validator(&kind.schema());
    let mut tried = BTreeSet::new();
    let mut met = BTreeSet::new();
    let (mut refused, mut taken) = (0, 0);
    let mut differences = Vec::new();
    for document in documents {
        let mut found = Vec::new();
        places(&document.value, "", "", &mut found);
        for (at, shape) in &found {
            for change in CHANGES {
                let sort = (document.is_part, tail(shape), change);
                if tried.contains(&sort) {
                    continue;
                }
                let Some(changed) = change.make(&document.value, at) else { continue };
                tried.insert(sort);
                let read = read(&changed.to_string());
                let stricter = match (&read, schema.is_valid(&changed)) {
                    (Err(found), true) if is_visible(found) => Stricter::Reader,
                    (Err(_), true) => continue,
                    (Ok(()), false) => Stricter::Schema,
                    (Err(_), false) => {
                        refused += 1;
                        continue;
                    }
                    (Ok(()), true) => {
                        taken += 1;
                        continue;
                    }
                };
                let difference = Difference { document, at, change, stricter };
                match MEANT.iter().find(|(kinds, _, is_meant)| kinds.contains(&kind) && is_meant(&difference)) {
                    Some((_, why, _)) => drop(met.insert(*why)),
                    None => {
                        let told = read.err().map(|found| found.to_string()).unwrap_or_default();
                        let wrong = wrong(&schema, &changed);
                        differences.push(format!("{at} {change:?}: refused by the {stricter:?} alone: {told}{wrong}"));
                    }
                }
            }
        }
    }
    let shown = differences.len().min(20);
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences[..shown].join("\n"));
    for (_, why, _) in MEANT.iter().filter(|(kinds, ..)| kinds.contains(&kind)) {
        assert!(met.contains(why), "there is no such difference in a {}, take it out: {why}", kind.name());
    }
    (refused, taken)
}

#[test]
fn the_schema_of_a_profile_refuses_what_the_reader_refuses_and_nothing_else() {
    let read = |text: &str| Profile::from_yaml("changed", text).map(drop);
    let (refused, taken) = compare(Kind::Profile, &profiles(), read);
    assert!(refused > 1_000 && taken > 400, "{refused} {taken}");
}

#[test]
fn the_schema_of_a_file_of_cases_refuses_what_the_reader_refuses_and_nothing_else() {
    let read = |text: &str| Catalogue::default().add("changed", text);
    let (refused, taken) = compare(Kind::Scenario, &cases(), read);
    assert!(refused > 3_000 && taken > 1_000, "{refused} {taken}");
}
