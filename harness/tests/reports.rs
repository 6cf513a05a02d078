//! Every report format, made of one set of verdicts: what they say, that they agree, and that strict readers take them.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use gatecrash::diagnosis::{Cause, Finding};
use gatecrash::profile::KnownGap;
use gatecrash::redact::Redactor;
use gatecrash::report::changes::{Cause as Whose, Changes};
use gatecrash::report::compare::Comparison;
use gatecrash::report::earlier::Earlier;
use gatecrash::report::{
    About, Exit, Failure, Format, Report, Standard, Summary, TrialReport, annotations, gaps, terminal, total,
};
use gatecrash::secret::SecretBytes;
use gatecrash::verdict::{Basis, Check, Grade, Level, Severity, Verdict};
use gatecrash::{Catalogue, Target};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::Value;

/// What a server may say to break out of a report, as far as it survives the cleaning; writers do not rest on that.
const HOSTILE: &str = "]]> <script>alert(1)</script> & \"quoted\" 'single' | `code` [x](http://www.example) \
    ![i](//e) %0A::error::x ##[error]y @all \u{0}\u{1}\u{b}\u{1b}[31m\u{fffe}\u{ffff}\r\n::set-output name=a::b";

fn trial(number: usize, verdict: Verdict, severity: Severity) -> TrialReport {
    TrialReport {
        id: format!("TST-{number:03}@query"),
        code: format!("TST-{number:03}"),
        name: format!("rule-{number}"),
        title: format!("rule {number} holds"),
        level: Level::Must,
        basis: Basis::Must,
        severity,
        source: vec!["RFC 7519 §4.1.4".to_owned()],
        weakness: Some("ignores-exp".to_owned()),
        mend: Some("Compare `exp` with the clock.".to_owned()),
        verdict,
        expected: "refused".to_owned(),
        observed: "admitted (101, then a message)".to_owned(),
        checks: Vec::new(),
        took: Duration::from_millis(1_234),
        about: About {
            family: "TST".to_owned(),
            file: "scenarios/cases/test.yaml".to_owned(),
            line: 10 * number,
            definition: format!("{number:016x}"),
            what: Some("The clock is not asked.".to_owned()),
            gives: Some("A stolen token is good for ever.".to_owned()),
        },
        transcript: vec![">      0.0 ms  GET /ws?token=[token] HTTP/1.1".to_owned()],
    }
}

fn report(name: &str, trials: Vec<TrialReport>) -> Report {
    let target = Target::new("ws://127.0.0.1:8000/ws?token={token}", "a secret of thirty-two bytes or more");
    let mut report = Report::new(&target.expect("a target"), 7);
    report.target = name.to_owned();
    report.trials = trials;
    report.controls = 3;
    report.took = Duration::from_millis(2_500);
    report
}

/// One run with every verdict in it, one that is hostile, one that broke off, and one of nothing.
fn every() -> Vec<Report> {
    let mut first = report(
        "first.example:8000",
        vec![
            trial(1, Verdict::Pass, Severity::Critical),
            trial(2, Verdict::Fail, Severity::Critical),
            trial(3, Verdict::Fail, Severity::Low),
            trial(4, Verdict::Warn, Severity::Medium),
            trial(5, Verdict::Info, Severity::Info),
            trial(6, Verdict::Inconclusive, Severity::High),
            trial(7, Verdict::Error, Severity::High),
            trial(8, Verdict::NotApplicable, Severity::High),
            trial(9, Verdict::KnownGap, Severity::High),
            trial(10, Verdict::Flaky, Severity::Medium),
            trial(11, Verdict::Flaky, Severity::Critical),
        ],
    );
    let check = |label: &str, grade| Check {
        label: label.to_owned(),
        grade,
        basis: Basis::Must,
        severity: Severity::High,
        expected: "refused".to_owned(),
        observed: "admitted".to_owned(),
    };
    first.trials[1].checks = vec![check("one", Grade::Pass), check("two", Grade::Fail)];
    let mut hostile = trial(2, Verdict::Fail, Severity::High);
    for text in [&mut hostile.title, &mut hostile.expected, &mut hostile.observed, &mut hostile.name] {
        HOSTILE.clone_into(text);
    }
    hostile.mend = Some(HOSTILE.to_owned());
    hostile.about.file = HOSTILE.to_owned();
    let mut broken = report("broken", vec![trial(1, Verdict::Inconclusive, Severity::High)]);
    broken.failure = Some(Failure::ControlLost(Finding {
        cause: Cause::Unknown,
        observed: HOSTILE.to_owned(),
        advice: "look at its log".to_owned(),
    }));
    vec![first, report(HOSTILE, vec![hostile]), broken, report("empty", Vec::new())]
}

/// The words of one report of each kind, for a person to read.
#[test]
fn the_formats_look_like_this() {
    let one = vec![every().remove(0)];
    for format in Format::ALL {
        let text = format.write(&one).replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
        insta::assert_snapshot!(format.name(), text);
    }
    insta::assert_snapshot!("annotations", annotations::write(&one));
    insta::assert_snapshot!("terminal", terminal::write(&one[0], terminal::Style::default(), " --dialect first"));
}

// Counts.

/// How many trials each format says came to what.
#[test]
fn all_formats_count_the_same() {
    let reports = every();
    let all = total(&reports);
    assert!(Verdict::ALL.iter().all(|verdict| all.of(*verdict) > 0), "each verdict must be there to be counted");
    assert_eq!(all.total(), reports.iter().map(|report| report.trials.len()).sum::<usize>());

    assert_eq!(json_counts(&Format::Json.write(&reports)), all, "json");
    assert_eq!(sarif_counts(&Format::Sarif.write(&reports)), all, "sarif");
    assert_eq!(markdown_counts(&Format::Markdown.write(&reports)), all, "markdown");
    let told: Summary = reports.iter().map(terminal_counts).fold(Summary::default(), Summary::and);
    assert_eq!(told, all, "terminal");

    // JUnit knows five words. A flaky breach is a failure there, another flaky trial has passed with a mark.
    let junit = Tally::of(&Format::Junit.write(&reports));
    let breaches = reports.iter().flat_map(|report| &report.trials).filter(|trial| trial.is_breach());
    let flaky_breaches = breaches.filter(|trial| trial.verdict == Verdict::Flaky).count();
    let expected = Tally {
        tests: all.total(),
        failures: all.fail + flaky_breaches,
        errors: all.error + all.inconclusive,
        skipped: all.not_applicable + all.known_gap,
        flaky: all.flaky - flaky_breaches,
    };
    assert_eq!(junit, expected, "junit");

    let annotations = annotations::write(&reports);
    let count = |command: &str| annotations.lines().filter(|line| line.starts_with(&format!("::{command} "))).count();
    let broken = reports.iter().filter(|report| report.failure.is_some()).count();
    assert_eq!(count("error"), all.fail + all.error + flaky_breaches + broken, "annotations");
    // The inconclusive trial of the run that broke off is told with the run.
    assert_eq!(count("warning"), all.warn + all.inconclusive - 1 + all.flaky - flaky_breaches, "annotations");
}

fn summary(counts: &BTreeMap<String, usize>) -> Summary {
    let of = |word: &str| counts.get(word).copied().unwrap_or_default();
    Summary {
        pass: of("pass"),
        info: of("info"),
        warn: of("warn"),
        fail: of("fail"),
        inconclusive: of("inconclusive"),
        not_applicable: of("not applicable"),
        error: of("error"),
        known_gap: of("known gap"),
        flaky: of("flaky"),
    }
}

/// The members of a `summary`, by the words of verdicts.
fn members(value: &Value) -> BTreeMap<String, usize> {
    let members = value.as_object().expect("a summary").iter();
    members.map(|(name, count)| (name.replace('_', " "), count.as_u64().expect("a count") as usize)).collect()
}

fn json_counts(text: &str) -> Summary {
    let file: Value = serde_json::from_str(text).expect("JSON");
    let mut counted = BTreeMap::new();
    for case in file["runs"].as_array().expect("runs").iter().flat_map(|run| run["cases"].as_array().expect("cases")) {
        *counted.entry(case["verdict"].as_str().expect("a verdict").replace('-', " ")).or_default() += 1;
    }
    assert_eq!(summary(&counted), summary(&members(&file["summary"])));
    summary(&counted)
}

fn sarif_counts(text: &str) -> Summary {
    let file: Value = serde_json::from_str(text).expect("JSON");
    let mut all = Summary::default();
    for run in file["runs"].as_array().expect("runs") {
        let stated = summary(&members(&run["properties"]["summary"]));
        let mut counted: BTreeMap<String, usize> = BTreeMap::new();
        for result in run["results"].as_array().expect("results") {
            *counted.entry(result["properties"]["verdict"].as_str().expect("a word").replace('-', " ")).or_default() +=
                1;
            let is_suppressed = result.get("suppressions").is_some();
            assert_eq!(is_suppressed, result["properties"]["verdict"] == "known-gap", "{result}");
        }
        let counted = summary(&counted);
        let results = |summary: Summary| (summary.fail, summary.warn, summary.flaky, summary.known_gap);
        assert_eq!(results(counted), results(stated));
        let notified = run["invocations"][0]["toolExecutionNotifications"].as_array().expect("a list");
        let about_trials = notified.iter().filter(|notification| notification.get("associatedRule").is_some()).count();
        assert_eq!(about_trials, stated.inconclusive + stated.error);
        all = all.and(stated);
    }
    all
}

fn markdown_counts(text: &str) -> Summary {
    let mut rows = text
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    let head = rows.next().expect("a head");
    let last = rows.find(|row| row[0] == "all").expect("the row of all");
    let counts: BTreeMap<String, usize> =
        head.into_iter().zip(last).skip(1).map(|(word, count)| (word, count.parse().expect("a count"))).collect();
    assert_eq!(counts["trials"], summary(&counts).total());
    summary(&counts)
}

fn terminal_counts(report: &Report) -> Summary {
    let text = terminal::write(report, terminal::Style::default(), "");
    let line = text.lines().last().expect("a line");
    let (_, counts) = line.rsplit_once(" trials, ").expect("counts");
    let counts = counts.rsplit_once(" (").expect("a time").0.split(", ");
    let counts = counts.map(|part| part.split_once(' ').expect("a count and a word"));
    summary(&counts.map(|(count, word)| (word.to_owned(), count.parse().expect("a count"))).collect())
}

#[test]
fn annotations_beyond_what_is_shown_are_counted() {
    let many = report("many", (1..=30).map(|number| trial(number, Verdict::Fail, Severity::Medium)).collect());
    let lines = annotations::write(&[many]);
    assert_eq!(lines.lines().count(), 10);
    assert!(lines.lines().last().is_some_and(|line| line.ends_with("::21 more, in the reports")), "{lines}");
}

#[test]
fn a_summary_never_grows_beyond_what_github_shows() {
    let mut trials: Vec<TrialReport> = (1..=3_000).map(|number| trial(number, Verdict::Fail, Severity::High)).collect();
    trials.iter_mut().for_each(|trial| trial.observed = "<".repeat(1_000));
    let text = Format::Markdown.write(&[report("many", trials)]);
    assert!(text.len() < 512 << 10, "{} bytes", text.len());
    assert!(text.contains("more, which the other reports hold"), "{}", &text[text.len() - 200..]);
}

// JUnit.

/// What a reader of JUnit counts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
    flaky: usize,
}

impl Tally {
    fn of(text: &str) -> Self {
        let mut counted = Self::default();
        let mut stated = Self::default();
        for element in elements(text) {
            match element.name.as_str() {
                "testcase" => counted.tests += 1,
                "failure" => counted.failures += 1,
                "error" => counted.errors += 1,
                "skipped" => counted.skipped += 1,
                "flakyFailure" => counted.flaky += 1,
                "testsuite" => {
                    let of = |name: &str| element.attributes[name].parse::<usize>().expect("a count");
                    stated.tests += of("tests");
                    stated.failures += of("failures");
                    stated.errors += of("errors");
                    stated.skipped += of("skipped");
                }
                _ => {}
            }
        }
        stated.flaky = counted.flaky;
        assert_eq!(stated, counted, "what the suites say is what stands in them");
        counted
    }
}

/// An element, with the names of the elements in it.
#[derive(Debug, Default)]
struct Element {
    name: String,
    parent: String,
    attributes: BTreeMap<String, String>,
    children: Vec<String>,
}

fn elements(text: &str) -> Vec<Element> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let (mut done, mut open) = (Vec::new(), Vec::<Element>::new());
    let begun = |start: &BytesStart<'_>, open: &mut Vec<Element>| {
        let name = start.name().as_ref().to_owned();
        let attributes = start.attributes().map(|attribute| {
            let attribute = attribute.expect("an attribute");
            let value = attribute
                .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                .expect("escapes that are known")
                .into_owned();
            assert!(value.chars().all(is_xml), "{value:?}");
            (attribute.key.as_ref().to_owned(), value)
        });
        let mut element = Element { name: name.clone(), attributes: attributes.collect(), ..Element::default() };
        if let Some(parent) = open.last_mut() {
            parent.children.push(name);
            element.parent.clone_from(&parent.name);
        }
        open.push(element);
    };
    loop {
        match reader.read_event().expect("well-formed XML") {
            Event::Start(start) => begun(&start, &mut open),
            Event::Empty(start) => {
                begun(&start, &mut open);
                done.extend(open.pop());
            }
            Event::End(_) => done.extend(open.pop()),
            Event::Text(text) => assert!(text.chars().all(is_xml)),
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty());
    done
}

/// The production `Char` of XML 1.0.
fn is_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// An element, the attributes it must have, those it may have, and what may stand in it, in order.
type Rule = (&'static str, Names, Names, Names);
type Names = &'static [&'static str];

/// What the schemas of Surefire (`surefire-test-report.xsd`) and of Jenkins' xUnit plugin (`junit-10.xsd`) both take, in
/// our words: an element, the attributes that one of them asks for, those that both allow besides, and the elements in
/// it, in the order of the stricter one.
const RULES: &[Rule] = &[
    ("testsuites", &[], &["name", "time", "tests", "failures", "errors"], &["testsuite"]),
    ("testsuite", &["name", "tests", "failures", "errors", "skipped"], &["time", "group"], &["properties", "testcase"]),
    ("properties", &[], &[], &["property"]),
    ("property", &["name", "value"], &[], &[]),
    (
        "testcase",
        &["name", "time"],
        &["classname", "group"],
        &["failure", "rerunFailure", "flakyFailure", "skipped", "error", "rerunError", "flakyError", "system-out"],
    ),
    ("failure", &["type"], &["message"], &[]),
    ("error", &["type"], &["message"], &[]),
    ("skipped", &[], &["message"], &[]),
    ("flakyFailure", &["type"], &["message"], &["stackTrace"]),
    ("stackTrace", &[], &[], &[]),
    ("system-out", &[], &[], &[]),
];

#[test]
fn junit_is_what_surefire_and_jenkins_both_take() {
    let reports = every();
    for several in [&reports[..], &reports[..1], &reports[1..2], &[]] {
        let text = Format::Junit.write(several);
        let elements = elements(&text);
        let root = elements.last().expect("a root");
        // Surefire knows no root of several suites.
        assert_eq!(root.name, if several.len() == 1 { "testsuite" } else { "testsuites" });
        for element in &elements {
            let (_, asked, allowed, children) =
                RULES.iter().find(|(name, ..)| *name == element.name).unwrap_or_else(|| panic!("{element:?}"));
            for name in *asked {
                assert!(element.attributes.contains_key(*name), "{name} of {element:?}");
            }
            for (name, value) in &element.attributes {
                assert!(asked.contains(&name.as_str()) || allowed.contains(&name.as_str()), "{name} of {element:?}");
                if name == "time" {
                    let (whole, parts) = value.split_once('.').expect("a fraction");
                    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
                    assert!(digits(whole) && digits(parts) && whole.len() <= 9 && parts.len() <= 3, "{value}");
                }
            }
            let places: Vec<usize> = element
                .children
                .iter()
                .map(|child| children.iter().position(|known| known == child).expect("an element that may stand here"))
                .collect();
            assert!(places.is_sorted(), "{element:?}");
        }
    }
}

#[test]
fn a_failure_is_no_error_in_junit() {
    let one = vec![every().remove(0)];
    let elements = elements(&Format::Junit.write(&one));
    let types = |name: &str| -> Vec<String> {
        let found = elements.iter().filter(|element| element.name == name && element.parent == "testcase");
        found.map(|element| element.attributes["type"].clone()).collect()
    };
    assert_eq!(types("failure"), ["MUST, critical", "MUST, low", "flaky, MUST, critical"]);
    assert_eq!(types("error"), ["inconclusive", "error"]);
    assert_eq!(types("flakyFailure"), ["MUST, medium"]);
}

// SARIF.

/// The schema as the crate `serde-sarif` carries it, found where cargo keeps that crate.
fn sarif_schema() -> Value {
    let cargo = || Command::new(env!("CARGO"));
    let version = cargo().arg("-vV").output().expect("cargo runs");
    let version = String::from_utf8(version.stdout).expect("UTF-8");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let arguments = ["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", host];
    let metadata = cargo().args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&metadata.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&metadata.stderr)));
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == "serde-sarif").expect("serde-sarif");
    let manifest = std::path::Path::new(package["manifest_path"].as_str().expect("a path"));
    let schema = std::fs::read_to_string(manifest.with_file_name("src").join("schema.json")).expect("the schema");
    let mut schema: Value = serde_json::from_str(&schema).expect("JSON");
    // A pattern of it is no regular expression: a bracket is closed that was not opened.
    for owner in ["run", "toolComponent"] {
        let language = &mut schema["definitions"][owner]["properties"]["language"];
        assert_eq!(language["pattern"], "^[a-zA-Z]{2}|^[a-zA-Z]{2}-[a-zA-Z]{2}]?$");
        language.as_object_mut().expect("an object").remove("pattern");
    }
    schema
}

#[test]
fn sarif_is_what_its_schema_takes() {
    let schema = sarif_schema();
    assert!(
        schema["title"].as_str().is_some_and(|title| title.contains("SARIF) Version 2.1.0")),
        "{}",
        schema["title"]
    );
    let validator = jsonschema::draft7::new(&schema).expect("a schema");
    let reports = every();
    for several in [&reports[..], &reports[..1], &[]] {
        let text = Format::Sarif.write(several);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        let wrong: Vec<String> =
            validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        // The same by other hands, which also know every word of an enumeration.
        let typed: serde_sarif::sarif::Sarif = serde_json::from_value(value).expect("SARIF");
        assert_eq!(typed.runs.len(), several.len());
    }
    // It is no schema that takes anything.
    let mut broken: Value = serde_json::from_str(&Format::Sarif.write(&reports)).expect("JSON");
    broken["runs"][0]["results"][0]["level"] = "fatal".into();
    assert!(!validator.is_valid(&broken));
}

#[test]
fn sarif_finds_a_result_again_and_says_where_it_is_asked() {
    let mut one = every().remove(0);
    let read = |report: &Report| -> Value {
        serde_json::from_str(&Format::Sarif.write(std::slice::from_ref(report))).expect("JSON")
    };
    let before = read(&one);
    let run = &before["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
    let mut prints = Vec::new();
    for result in run["results"].as_array().expect("results") {
        let rule = &rules[result["ruleIndex"].as_u64().expect("an index") as usize];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(rule["help"]["text"].as_str().is_some_and(|help| help.contains("How to mend it")), "{rule}");
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "scenarios/cases/test.yaml");
        assert!(place["region"]["startLine"].as_u64() >= Some(10));
        prints.push(result["partialFingerprints"]["gatecrashTrial/v1"].as_str().expect("a fingerprint").to_owned());
    }
    let mut distinct = prints.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), prints.len());
    // Neither other words of the server nor another line make it another result; another target does.
    for trial in &mut one.trials {
        trial.observed.push_str(", later");
        trial.about.line += 1;
    }
    let again = |value: &Value| value["runs"][0]["results"][0]["partialFingerprints"].clone();
    assert_eq!(again(&read(&one)), again(&before));
    one.target.push('2');
    assert_ne!(again(&read(&one)), again(&before));
    assert!(!before.to_string().contains("commandLine") && !before.to_string().contains("\"arguments\""));
}

// What a server says does not break out.

#[test]
fn hostile_words_stay_words() {
    let reports = &every()[1..3];
    let markdown = Format::Markdown.write(reports);
    // What a backslash stands before is a plain character.
    let mut acting = markdown.clone();
    while let Some(at) = acting.find('\\') {
        acting.replace_range(at..at + 2, "");
    }
    for bad in ["<script", "](", "`", " @all", "\n::", "://", "www."] {
        assert!(!acting.contains(bad), "{bad} in {markdown}");
    }
    // A cell cannot end its row, or begin another.
    for line in markdown.lines().filter(|line| line.starts_with("| fail |")) {
        assert_eq!(line.replace("\\|", "").matches('|').count(), 8, "{line}");
    }

    let annotations = annotations::write(reports);
    for line in annotations.lines() {
        assert!(line.starts_with("::error title=") || line.starts_with("::warning title="), "{line}");
        let (_, rest) = line.split_once(" title=").expect("a title");
        let (title, message) = rest.split_once("::").expect("a message");
        assert!(!title.contains([':', ',', '\r']), "{title}");
        assert!(!message.contains("##[") && !title.contains("##["), "{line}");
    }
    assert!(annotations.contains("%250A"), "what is written as an escape stays as it was: {annotations}");

    let suite = elements(&Format::Junit.write(reports));
    let failure = suite.iter().find(|element| element.name == "failure").expect("a failure");
    assert!(failure.attributes["message"].starts_with("]]> <script>alert(1)</script> & \"quoted\""), "{failure:?}");
    assert!(failure.attributes["message"].contains("\\u{1b}[31m"), "{failure:?}");
}

#[test]
fn each_format_is_a_function_of_the_report() {
    for format in Format::ALL {
        assert_eq!(format.write(&every()), format.write(&every()), "{}", format.name());
    }
}

// Cases as reports name them.

#[test]
fn a_definition_changes_with_what_a_case_does_and_not_with_its_place() {
    let text = |title: &str, token: &str, before: &str| {
        format!(
            "{before}family: TST\ntitle: tests\ncases:\n  - code: TST-001\n    name: one\n    title: {title}\n    \
             level: must\n    severity: high\n    source: []\n    token: {token}\n    expect: refused\n"
        )
    };
    let definition = |text: &str| {
        let mut catalogue = Catalogue::default();
        catalogue.add("cases/test.yaml", text).expect("a case");
        catalogue.cases[0].definition.clone()
    };
    let first = definition(&text("a rule", "empty", ""));
    assert_eq!(first.len(), 16);
    assert_eq!(definition(&text("a rule", "empty", "# a word\n\n")), first);
    assert_eq!(definition(&text("\"a rule\"", "empty # same", "")), first);
    assert_ne!(definition(&text("another rule", "empty", "")), first);
    assert_ne!(definition(&text("a rule", "valid", "")), first);
}

// Known gaps.

/// A report of these trials after `known_gaps` was applied; every trial of it, and `TST-099@query`, could be made.
fn with_gaps(trials: Vec<TrialReport>, gaps: &[(&str, Option<&str>)]) -> Report {
    let mut report = report("target", trials);
    let known: Vec<String> =
        report.trials.iter().map(|trial| trial.id.clone()).chain(["TST-099@query".to_owned()]).collect();
    let gap = |(case, observed): &(&str, Option<&str>)| KnownGap {
        case: (*case).to_owned(),
        reason: "ticket 12, with the secret word-of-secrecy in it".to_owned(),
        observed: observed.map(str::to_owned),
    };
    let gaps: Vec<KnownGap> = gaps.iter().map(gap).collect();
    let redactor = Redactor::for_secrets(&[SecretBytes::new("word-of-secrecy")]);
    gaps::apply(&mut report, &gaps, &known, &redactor);
    report
}

#[test]
fn a_known_gap_does_not_fail_the_run_and_keeps_its_reason() {
    for (case, observed) in [("TST-002", None), ("tst-002@query", Some("admitted (101"))] {
        let trials = vec![trial(1, Verdict::Pass, Severity::High), trial(2, Verdict::Fail, Severity::Critical)];
        let report = with_gaps(trials, &[(case, observed)]);
        assert_eq!(report.exit(Standard::default()), Exit::Good, "{report}");
        assert_eq!((report.summary().known_gap, report.summary().fail), (1, 0));
        let gap = &report.trials[1].observed;
        assert!(gap.ends_with("; known: ticket 12, with the secret [secret] in it"), "{gap}");
    }
    // A warning may be known too, and then does not fail a strict run.
    let report = with_gaps(vec![trial(1, Verdict::Warn, Severity::Low)], &[("TST-001", None)]);
    assert_eq!(report.exit(Standard { strict: true, ..Standard::default() }), Exit::Good);
}

#[test]
fn what_fails_in_another_way_is_no_known_gap() {
    let report = with_gaps(vec![trial(2, Verdict::Fail, Severity::High)], &[("TST-002", Some("HTTP 500"))]);
    assert_eq!(report.exit(Standard::default()), Exit::Failed);
    assert_eq!(report.trials.len(), 1, "one finding, not two: {report}");
    assert!(report.trials[0].observed.contains("the known gap is another one, in which `HTTP 500` is seen"));
}

#[test]
fn a_gap_that_is_not_true_any_more_fails_the_run() {
    let pass = || trial(1, Verdict::Pass, Severity::High);
    for (trials, case, why) in [
        (vec![pass()], "TST-001", "it does not fail any more"),
        (vec![trial(2, Verdict::Info, Severity::Info), pass()], "TST-002", "it does not fail any more"),
        (vec![trial(2, Verdict::NotApplicable, Severity::High), pass()], "TST-002", "it does not apply to this target"),
        (vec![pass()], "TST-01", "no trial for this target is called so; did you mean `TST-001`?"),
        (vec![pass()], "TST-001@cookie", "no trial for this target is called so"),
    ] {
        let report = with_gaps(trials, &[(case, None)]);
        let strict = Standard { fail_on: Severity::Critical, ..Standard::default() };
        assert_eq!(report.exit(strict), Exit::Failed, "{case}: {report}");
        let stale = report.trials.last().expect("an entry");
        assert!(stale.observed.starts_with(why), "{case}: {}", stale.observed);
        assert_eq!((stale.id.as_str(), stale.selects()), (format!("known-gap@{case}").as_str(), case));
        assert!(stale.mend.as_ref().is_some_and(|mend| mend.contains("known_gaps")));
        assert!(!format!("{report}").contains("word-of-secrecy"));
    }
}

#[test]
fn a_gap_of_which_nothing_was_learned_is_left_alone() {
    for (verdict, case) in [
        (Verdict::Inconclusive, "TST-001"),
        (Verdict::Error, "TST-001"),
        (Verdict::Flaky, "TST-001"),
        // It was not asked for.
        (Verdict::Pass, "TST-099"),
    ] {
        let report = with_gaps(vec![trial(1, verdict, Severity::Low)], &[(case, None)]);
        assert_eq!((report.trials.len(), report.trials[0].verdict), (1, verdict), "{report}");
    }
}

// Earlier results.

fn result(reports: &[Report]) -> Earlier {
    Earlier::read(&Format::Json.write(reports)).expect("what is written can be read")
}

#[test]
fn a_baseline_tells_the_case_from_the_server() {
    let before: Vec<TrialReport> = [
        Verdict::Pass,
        Verdict::Fail,
        Verdict::Pass,
        Verdict::NotApplicable,
        Verdict::Fail,
        Verdict::Pass,
        Verdict::Warn,
        Verdict::Pass,
        Verdict::KnownGap,
        Verdict::KnownGap,
    ]
    .into_iter()
    .zip(1..)
    .map(|(verdict, number)| trial(number, verdict, Severity::High))
    .collect();
    let mut after = before.clone();
    let mut now = |number: usize, verdict| after[number - 1].verdict = verdict;
    now(1, Verdict::Fail); // the server
    now(2, Verdict::Pass); // the server, mended
    now(3, Verdict::Fail); // with another definition: the case
    now(4, Verdict::Fail); // applies now: the profile
    now(5, Verdict::KnownGap); // is listed now: the profile
    now(6, Verdict::Inconclusive); // not judged
    now(7, Verdict::Fail); // with another level: the profile
    now(9, Verdict::Fail); // is listed no more: the profile
    now(10, Verdict::Pass); // the server, mended
    after[2].about.definition = "another".to_owned();
    after[6].level = Level::Should;
    after.push(trial(11, Verdict::Fail, Severity::High)); // new: the case
    let mut one = trial(12, Verdict::Pass, Severity::High);
    "TST-008@cookie".clone_into(&mut one.id);
    "TST-008".clone_into(&mut one.code);
    after.push(one); // another carrier: the profile

    let changes =
        Changes::between(&result(&[report("target", before.clone())]), &result(&[report("target", after.clone())]));
    let of = |cause: Whose| -> Vec<&str> {
        changes.changes.iter().filter(|change| change.cause == cause).map(|change| change.id.as_str()).collect()
    };
    assert_eq!(of(Whose::Server), ["TST-001@query", "TST-002@query", "TST-010@query"]);
    assert_eq!(of(Whose::Case), ["TST-003@query", "TST-011@query"]);
    assert_eq!(
        of(Whose::Profile),
        ["TST-004@query", "TST-005@query", "TST-007@query", "TST-009@query", "TST-008@cookie"]
    );
    assert_eq!(of(Whose::Unjudged), ["TST-006@query"]);
    assert_eq!(changes.same, 1);
    insta::assert_snapshot!("baseline", changes.describe("before.json"));

    // Nothing changed, and what was not asked for this time is not missed.
    let some = report("target", before[..3].to_vec());
    let none = Changes::between(&result(&[report("target", before.clone())]), &result(&[some]));
    assert_eq!((none.changes.len(), none.same), (0, 3));
    // Files of earlier versions do not say which case it was.
    let mut old: Value = serde_json::from_str(&Format::Json.write(&[report("target", before)])).expect("JSON");
    for case in old["runs"][0]["cases"].as_array_mut().expect("cases") {
        case.as_object_mut().expect("an object").remove("definition");
    }
    let old = Earlier::read(&old.to_string()).expect("an older result");
    let changes = Changes::between(&old, &result(&[report("target", after)]));
    assert_eq!(changes.changes[0].cause, Whose::Unknown);
}

#[test]
fn a_baseline_of_other_targets_says_so() {
    let run = |name: &str| report(name, vec![trial(1, Verdict::Pass, Severity::High)]);
    let several = result(&[run("a"), run("b")]);
    assert_eq!(Changes::between(&several, &result(&[run("c")])).unknown, ["c"]);
    // The only run of both is meant, however it is called: ports differ.
    assert_eq!(Changes::between(&result(&[run("h:8000")]), &result(&[run("h:8001")])).same, 1);
}

#[test]
fn what_is_no_result_is_refused_and_quoted_harmlessly() {
    for (text, why) in [
        ("{", "it is no result"),
        ("[]", "it is no result"),
        (r#"{"gatecrash_result":1}"#, "missing field `runs`"),
        (r#"{"gatecrash_result":9,"runs":[]}"#, "version 9, and this program reads version 1"),
        (
            "{\"gatecrash_result\":1,\"runs\":[{\"target\":\"a\",\"cases\":[{\"id\":\"\\u001b[31m\"}]}]}",
            "missing field",
        ),
    ] {
        let told = Earlier::read(text).expect_err(text);
        assert!(told.contains(why) && !told.contains('\u{1b}'), "{told}");
    }
    let mut hostile = trial(1, Verdict::Fail, Severity::High);
    HOSTILE.clone_into(&mut hostile.observed);
    let read = result(&[report(HOSTILE, vec![hostile])]);
    assert!(!read.runs[0].target.contains('\u{1b}') && !read.runs[0].cases[0].observed.contains(['\u{1b}', '\n']));
}

#[test]
fn two_targets_are_compared_even_where_both_conform() {
    let seen = |number, verdict, observed: &str| TrialReport {
        observed: observed.to_owned(),
        ..trial(number, verdict, Severity::High)
    };
    let a = report(
        "a",
        vec![
            seen(1, Verdict::Pass, "refused (HTTP 401)"),
            seen(2, Verdict::Pass, "refused (HTTP 401)"),
            seen(3, Verdict::Pass, "refused (HTTP 401)"),
            seen(4, Verdict::Info, "12.5 ms, 1024 bytes"),
            seen(5, Verdict::NotApplicable, "it needs an echo"),
            seen(6, Verdict::Pass, "alike"),
        ],
    );
    let mut b = report(
        "b",
        vec![
            seen(1, Verdict::Pass, "refused (101, then close 1008)"),
            seen(2, Verdict::Pass, "refused (101, then close 1008)"),
            seen(3, Verdict::Fail, "admitted (101, then a message)"),
            seen(4, Verdict::Info, "99.25 ms, 4096 bytes"),
            seen(5, Verdict::Pass, "alike"),
            seen(6, Verdict::Pass, "alike"),
        ],
    );
    // The other carries its token elsewhere.
    b.trials.iter_mut().for_each(|trial| trial.id = trial.id.replace("@query", "@header"));
    let (pairs, alone) = Comparison::of(&result(std::slice::from_ref(&a)), &result(&[b]));
    assert!(alone.is_empty());
    let [pair] = &pairs[..] else { panic!("{pairs:?}") };
    assert_eq!((pair.common, pair.alone), (5, [0, 1]));
    assert_eq!(pair.disagreements.len(), 1);
    assert_eq!(pair.disagreements[0].id, "TST-003@query");
    assert_eq!(pair.nuances.len(), 1);
    assert_eq!(pair.nuances[0].ids, ["TST-001@query", "TST-002@query"]);
    insta::assert_snapshot!("comparison", pair.describe());

    let (itself, _) = Comparison::of(&result(std::slice::from_ref(&a)), &result(&[a]));
    assert!(itself[0].disagreements.is_empty() && itself[0].nuances.is_empty());
}
