//! The pages made of the catalogue: complete, in step with it, and free of what a machine would say.
//!
//! `GATECRASH_BLESS=1 cargo test --test pages` writes `scenarios/CATALOGUE.md` and the table of `scenarios/README.md` anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gatecrash::catalogue::Weakness;
use gatecrash::document::Document;
use gatecrash::{Catalogue, Suite, Verdict, bundled, pages};

const WIDEST: usize = 120;

fn scenarios(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(file)
}

fn catalogue() -> Catalogue {
    Catalogue::bundled().expect("the bundled cases are right")
}

/// A heading and the lines below it.
fn sections(text: &str) -> Vec<(String, Vec<String>)> {
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match sections.last_mut() {
            Some((_, lines)) if line.starts_with(' ') => lines.push(line.to_owned()),
            _ => sections.push((line.to_owned(), Vec::new())),
        }
    }
    sections
}

/// The text of a case as it stands in its file.
fn written(file: &str, line: usize) -> String {
    let (_, text) = bundled::CASES.iter().find(|(name, _)| *name == file).expect("a bundled file");
    let lines = text.lines().skip(line - 1).enumerate();
    lines.take_while(|(at, line)| *at == 0 || !line.starts_with("  - code:")).map(|(_, line)| line).collect()
}

#[test]
fn every_case_is_explained_from_the_rule_to_the_command() {
    let catalogue = catalogue();
    for case in &catalogue.cases {
        let code = &case.head.code;
        let text = pages::explain(&catalogue, case);
        for line in text.lines() {
            assert!(line.chars().count() <= WIDEST && !line.ends_with(' '), "{code}: {line}");
            assert!(!line.chars().any(char::is_control), "{code}: {line:?}");
            for machine in ["Some(", "None", "Object {", "{\"open\"", "{\"say\"", "{\"send\""] {
                let meant = written(&case.file, case.line).contains(machine);
                assert!(!line.contains(machine) || meant || line.starts_with("    "), "{code}: {line}");
            }
        }
        let sections = sections(&text);
        let find =
            |heading: &str| sections.iter().find(|(found, _)| found.starts_with(heading)).map(|(_, lines)| lines);
        assert!(sections.iter().all(|(_, lines)| !lines.is_empty()), "{code} has an empty section:\n{text}");
        assert!(sections[0].0.contains(code.as_str()) && sections[0].1[0].contains(&case.head.title[..4]), "{text}");
        for heading in ["The rule", "On the wire", "What is right", "The weakness"] {
            assert!(find(heading).is_some(), "{code} lacks `{heading}`:\n{text}");
        }
        // What a token or a message holds may be null; what is said about it may not.
        let is_of_the_case = written(&case.file, case.line).contains("null");
        let mut told = [find("On the wire"), find("What is right")].into_iter().flatten().flatten();
        let says_null = |line: &String| line.contains("null") && !line.contains("\":null");
        assert!(is_of_the_case || !told.any(says_null), "{code}:\n{text}");
        let opens = case.variants.iter().any(|variant| format!("{:?}", variant.body).contains("Open("));
        let head = find("On the wire").expect("it is there").iter().any(|line| line.trim().starts_with("> "));
        assert!(head || !opens, "{code} opens a connection, and no request is shown:\n{text}");
        let Some(weakness) = case.head.weakness.as_ref().map(|name| &catalogue.weaknesses[name]) else {
            assert!(find("See it").is_some(), "{code}:\n{text}");
            continue;
        };
        for heading in ["Code that has it", "How to mend it"] {
            assert!(find(heading).is_some(), "{code} lacks `{heading}`:\n{text}");
        }
        assert_eq!(find("References").is_some(), !weakness.refs.is_empty(), "{code}");
        assert_eq!(find("See it fail").is_some(), weakness.not_seeded.is_none(), "{code}");
    }
}

#[test]
fn every_variant_and_every_step_is_told() {
    let catalogue = catalogue();
    let wire = |code: &str| {
        let text = pages::explain(&catalogue, catalogue.case(code).expect("a case"));
        let sections = sections(&text);
        let (_, lines) = sections.iter().find(|(heading, _)| heading == "On the wire").expect("a section");
        lines.join("\n")
    };
    let table = wire("AUTH-007");
    for word in ["[null]", "[undefined]", "> GET /ws?token=null HTTP/1.1", "> GET /ws?token=undefined HTTP/1.1"] {
        assert!(table.contains(word), "{word}:\n{table}");
    }
    let valid = wire("AUTH-001");
    for word in ["rightly signed", "header     {\"alg\":\"HS256\"", "claims     {", "signature  32 bytes"] {
        assert!(valid.contains(word), "{word}:\n{valid}");
    }
    let unsigned = wire("SIG-008");
    for word in ["{\"alg\":\"none\",\"typ\":\"JWT\"}", "signature  empty", "empty_signature", "odd "] {
        assert!(unsigned.contains(word), "{word}:\n{unsigned}");
    }
    let bare = wire("CAR-021");
    assert!(bare.contains("> GET /ws?token HTTP/1.1") && bare.matches("x=1 HTTP").count() == 1, "{bare}");
    let without = bare.split("[nameless]").next().expect("a part");
    assert!(!without.contains("rightly signed"), "a token that is not sent is not shown:\n{bare}");
    let session = wire("AUTH-009");
    for word in ["1.  open the connection `first`", "2.  open the connection `second`", "4.  say one more word"] {
        assert!(session.contains(word), "{word}:\n{session}");
    }
    let frame = wire("MSG-019");
    for word in ["RSV1 set", "head       c1 8f 37 fa 21 3d", "{\"type\":\"ping\"}"] {
        assert!(frame.contains(word), "{word}:\n{frame}");
    }
    let login = wire("HTTP-005");
    assert!(login.contains("> POST /api/auth/login HTTP/1.1") && login.contains("\"username\":\"test\""), "{login}");
    assert!(wire("AUTH-008").contains("steps 1 to 4 again, 8 times"), "{}", wire("AUTH-008"));
}

#[test]
fn every_weakness_shows_code_and_names_what_can_be_looked_up() {
    for (name, weakness) in catalogue().weaknesses {
        let example = weakness.example.unwrap_or_else(|| panic!("{name} has no `example:`"));
        let lines: Vec<&str> = example.lines().collect();
        assert!((2..=8).contains(&lines.len()), "{name}: an example has 2 to 8 lines, not {}", lines.len());
        assert!(lines.iter().all(|line| line.chars().count() <= 104), "{name}: a line is too long:\n{example}");
        for reference in weakness.refs {
            let is_known = ["CWE-", "CVE-", "GHSA-", "RUSTSEC-"].iter().any(|kind| reference.starts_with(kind));
            assert!(is_known && reference.ends_with(|last: char| last.is_ascii_alphanumeric()), "{name}: {reference}");
        }
    }
}

/// The file is as it would be made, or is made so.
fn compare(file: &str, made: &str) {
    let path = scenarios(file);
    let found = fs::read_to_string(&path).unwrap_or_default();
    if found == made {
        return;
    }
    if std::env::var_os("GATECRASH_BLESS").is_some() {
        fs::write(&path, made).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let differs = found.lines().zip(made.lines()).position(|(found, made)| found != made);
    let line = differs.unwrap_or_else(|| found.lines().count().min(made.lines().count()));
    panic!(
        "scenarios/{file} is stale from line {} on:\n  it says  {}\n  and not  {}\nwrite it anew with: \
         GATECRASH_BLESS=1 cargo test --test pages",
        line + 1,
        found.lines().nth(line).unwrap_or("(nothing)"),
        made.lines().nth(line).unwrap_or("(nothing)"),
    );
}

#[test]
fn the_page_of_the_cases_is_as_it_would_be_made() {
    compare("CATALOGUE.md", &pages::catalogue(&catalogue()));
}

#[test]
fn the_table_of_mutations_is_as_it_would_be_made() {
    let page = fs::read_to_string(scenarios("README.md")).expect("the page");
    compare("README.md", &pages::fill(&page).expect("a place for the table"));
}

#[test]
fn the_page_of_the_cases_leaves_nothing_out() {
    let catalogue = catalogue();
    let page = pages::catalogue(&catalogue);
    let rows = |key: &str| page.lines().filter(|line| line.starts_with(&format!("| {key} | "))).count();
    for case in &catalogue.cases {
        assert_eq!(rows(&case.head.code), 1, "{}", case.head.code);
    }
    for key in catalogue.sources.keys() {
        assert_eq!(rows(key), 1, "{key}");
    }
    for (code, title) in &catalogue.families {
        assert!(page.contains(&format!("\n## {code}: {title}\n")), "{code}");
    }
    let tested = page.find("## Sentences and the cases").expect("the inverse view");
    let untested = page.find("## Sentences that no case tests").expect("its rest");
    for key in catalogue.sources.keys() {
        let at = page.find(&format!("\n| {key} | ")).expect("a row");
        let is_used = catalogue.cases.iter().any(|case| case.head.source.contains(key));
        assert!(if is_used { tested < at && at < untested } else { at > untested }, "{key}");
    }
    let cells = |line: &str| line.replace("\\|", "").matches(" | ").count();
    let table = page.lines().filter(|line| line.starts_with("| ") && line.contains('-'));
    assert!(table.clone().all(|line| matches!(cells(line), 2 | 3 | 7)), "a cell is broken");
}

/// The blocks of this kind in the page that tells how cases are written.
fn blocks(kind: &str) -> Vec<String> {
    let page = fs::read_to_string(scenarios("README.md")).expect("the page");
    let mut blocks = Vec::new();
    for block in page.split("\n```yaml ").skip(1) {
        let (found, rest) = block.split_once('\n').expect("a line");
        let (text, _) = rest.split_once("\n```").expect("an end");
        assert!(["case", "weakness", "file"].contains(&found), "nobody reads a block of kind `{found}`");
        if found == kind {
            blocks.push(format!("{text}\n"));
        }
    }
    assert!(!blocks.is_empty(), "no block of kind {kind}");
    blocks
}

/// The cases of the page, each family by itself as in a file.
fn examples() -> Catalogue {
    let bundled = catalogue();
    let mut catalogue = Catalogue { cases: Vec::new(), ..bundled };
    for block in blocks("case") {
        for case in block.split("\n\n") {
            let family = case.trim_start_matches("- code: ").split('-').next().expect("a code");
            let indented: String = case.lines().map(|line| format!("  {line}\n")).collect();
            let text = format!("family: {family}\ntitle: Examples\ncases:\n{indented}");
            catalogue.add("README.md", &text).unwrap_or_else(|found| panic!("{found}"));
        }
    }
    catalogue
}

#[test]
fn every_example_of_a_case_loads_and_is_explained() {
    let catalogue = examples();
    assert!(catalogue.cases.len() >= 10, "{}", catalogue.cases.len());
    for case in &catalogue.cases {
        let text = pages::explain(&catalogue, case);
        assert!(sections(&text).iter().all(|(_, lines)| !lines.is_empty()), "{text}");
    }
}

#[test]
fn every_example_of_a_weakness_loads() {
    for block in blocks("weakness") {
        let document = Document::parse("README.md", &block).unwrap_or_else(|found| panic!("{found}"));
        let root = gatecrash::document::Path::root();
        let read: Result<BTreeMap<String, Weakness>, _> = document.decode(document.value(), &root);
        let read = read.unwrap_or_else(|found| panic!("{found}"));
        assert!(read.values().all(|weakness| weakness.example.is_some()), "{block}");
    }
}

/// The files of cases on the page, read as a user's own.
#[cfg(feature = "command")]
#[test]
fn every_example_of_a_file_holds_on_a_server_that_is_right() {
    use gatecrash::command::bundled_server::{BundledServer, Setting};
    use gatecrash_reference_server::{Dialect, RefusalStyle};

    for block in blocks("file") {
        let before = catalogue();
        let mut catalogue = Catalogue { cases: Vec::new(), ..before };
        catalogue.add("README.md", &block).unwrap_or_else(|found| panic!("{found}"));
        for case in &catalogue.cases {
            assert!(pages::explain(&catalogue, case).contains(&case.head.title));
        }
        let cases = catalogue.cases.len();
        let server =
            BundledServer::start(&Setting::of(Dialect::Shipvox, RefusalStyle::Close), None).expect("it starts");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let report = runtime.block_on(Suite::new(Ok(catalogue)).run(&server.target)).expect("a report");
        let passed = report.trials.iter().filter(|trial| trial.verdict == Verdict::Pass).count();
        assert_eq!(passed, cases, "{report}");
    }
}

#[cfg(feature = "command")]
#[test]
fn every_example_holds_on_a_server_that_is_right() {
    use gatecrash::command::bundled_server::{BundledServer, Setting};
    use gatecrash::command::matrix::UNHURRIED_MS;
    use gatecrash_reference_server::{Dialect, RefusalStyle};

    let mut applied = std::collections::BTreeSet::new();
    for dialect in Dialect::ALL {
        let mut server = BundledServer::start(&Setting::of(*dialect, RefusalStyle::Close), None).expect("it starts");
        server.target.profile.refusal_budget_ms = Some(UNHURRIED_MS);
        server.target.profile.handshake_budget_ms = Some(UNHURRIED_MS);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let suite = Suite::new(Ok(examples())).all().seed(13);
        let report = runtime.block_on(suite.run(&server.target)).expect("a report");
        assert!(report.failure.is_none(), "{report}");
        for trial in &report.trials {
            match trial.verdict {
                Verdict::NotApplicable => {}
                Verdict::Pass | Verdict::Info => drop(applied.insert(trial.code.clone())),
                _ => panic!("{} in {}\n{report}", trial.code, dialect.name()),
            }
        }
    }
    for case in examples().cases {
        assert!(applied.contains(&case.head.code), "{} applies nowhere", case.head.code);
    }
}
