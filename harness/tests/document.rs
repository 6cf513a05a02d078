//! What the document room promises: messages a person can mend by, two readers that agree, and no text that hurts.

use gatecrash::document::{Code, Diagnostics, Document, LIMITS, Path, expand};
use insta::assert_snapshot;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    expect: Outcome,
    #[serde(default)]
    steps: Vec<Step>,
    deadline_ms: Option<u16>,
    strict: Option<bool>,
}

#[derive(Deserialize, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Refused,
    Admitted,
    Closed(u16),
}

#[derive(Deserialize, Debug, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Step {
    Send(String),
    Wait { ms: u32 },
}

fn load(text: &str) -> Result<File, Diagnostics> {
    let document = Document::parse("cases/auth.yaml", text)?;
    document.decode(document.value(), &Path::root())
}

/// The message, or what was read where it should have been refused.
fn refused(text: &str) -> String {
    match load(text) {
        Ok(file) => format!("accepted: {file:?}"),
        Err(found) => found.to_string(),
    }
}

fn meaning(text: &str) -> Result<Value, Vec<Code>> {
    match Document::parse("x.yaml", text) {
        Ok(document) => Ok(document.value().clone()),
        Err(found) => Err(found.iter().map(|one| one.code()).collect()),
    }
}

#[test]
fn a_good_document_is_decoded() {
    let text = "
cases:
  - name: alg-none
    expect: refused
    steps: [{ send: hello }, { wait: { ms: 20 } }]
  - { name: expired, expect: { closed: 4001 }, deadline_ms: 500, strict: true }
";
    let file = load(text).expect("a good document");
    assert_eq!(file.cases[0].steps, [Step::Send("hello".to_owned()), Step::Wait { ms: 20 }]);
    assert_eq!(file.cases[1].expect, Outcome::Closed(4001));
}

#[test]
fn an_unknown_key_is_shown_with_the_word_that_was_meant() {
    assert_snapshot!(refused("cases:\n  - name: alg-none\n    expcet: refused\n"), @"
    error[GC1003]: unknown key `expcet`
     --> cases/auth.yaml:3:5
      |
    3 |     expcet: refused
      |     ^^^^^^
      |
      = note: keys allowed here: `name`, `expect`, `steps`, `deadline_ms`, `strict`
      = help: did you mean `expect`?
    ");
}

#[test]
fn an_unknown_key_of_a_word_step_is_shown_at_the_key() {
    assert_snapshot!(refused("cases:\n- name: a\n  expect: refused\n  steps:\n  - sned: hi\n"), @"
    error[GC1006]: unknown word `sned`
     --> cases/auth.yaml:5:5
      |
    5 |   - sned: hi
      |     ^^^^
      |
      = note: words allowed here: `send`, `wait`
      = help: did you mean `send`?
    ");
}

#[test]
fn an_unknown_word_is_shown_with_the_allowed_ones() {
    assert_snapshot!(refused("cases:\n  - name: alg-none\n    expect: rejected\n"), @"
    error[GC1006]: unknown word `rejected`
     --> cases/auth.yaml:3:13
      |
    3 |     expect: rejected
      |             ^^^^^^^^
      |
      = note: words allowed here: `refused`, `admitted`, `closed`
    ");
}

#[test]
fn a_duplicate_key_is_shown_with_the_first() {
    assert_snapshot!(refused("cases:\n  - name: a\n    expect: refused\n    name: b\n"), @"
    error[GC1008]: key `name` is given twice
     --> cases/auth.yaml:4:5
      |
    2 |   - name: a
      |     ---- first given here
    3 |     expect: refused
    4 |     name: b
      |     ^^^^
      |
      = help: keep one of them
    ");
}

#[test]
fn a_wrong_type_deep_in_a_list_is_shown_at_the_value() {
    assert_snapshot!(refused("cases:\n- name: a\n  expect: refused\n  steps:\n  - send: hi\n  - wait: { ms: soon }\n"), @r#"
    error[GC1005]: expected a whole number from 0 up, found the text "soon"
     --> cases/auth.yaml:6:17
      |
    6 |   - wait: { ms: soon }
      |                 ^^^^ expected a whole number from 0 up
    "#);
}

#[test]
fn a_yes_that_should_be_true_is_shown() {
    assert_snapshot!(refused("cases:\n- name: a\n  expect: refused\n  strict: yes\n"), @r#"
    error[GC1005]: expected `true` or `false`, found the text "yes"
     --> cases/auth.yaml:4:11
      |
    4 |   strict: yes
      |           ^^^ expected `true` or `false`
    "#);
}

#[test]
fn a_number_where_text_is_wanted_asks_for_quotes() {
    assert_snapshot!(refused("cases:\n- name: 12\n  expect: refused\n"), @"
    error[GC1005]: expected text, found the number `12`
     --> cases/auth.yaml:2:9
      |
    2 | - name: 12
      |         ^^ expected text
      |
      = help: quote it if text is meant
    ");
}

#[test]
fn a_key_without_a_value_is_shown_at_the_key() {
    assert_snapshot!(refused("cases:\n- name:\n  expect: refused\n"), @"
    error[GC1005]: expected text, found nothing (null)
     --> cases/auth.yaml:2:3
      |
    2 | - name:
      |   ^^^^ expected text
      |
      = help: write the value after the `:`, or remove the key
    ");
}

#[test]
fn a_missing_key_is_shown_at_the_first_key_of_its_mapping() {
    assert_snapshot!(refused("cases:\n  - name: alg-none\n    strict: true\n"), @"
    error[GC1004]: missing key `expect`
     --> cases/auth.yaml:2:5
      |
    2 |   - name: alg-none
      |     ^^^^ this mapping needs `expect`
    ");
}

#[test]
fn a_tag_is_refused() {
    assert_snapshot!(refused("cases:\n  - name: !str a\n    expect: refused\n"), @"
    error[GC1009]: tags aren't supported
     --> cases/auth.yaml:2:11
      |
    2 |   - name: !str a
      |           ^^^^
      |
      = help: remove the tag; a quoted value is text, a bare number is a number
    ");
}

#[test]
fn a_merge_key_is_refused() {
    assert_snapshot!(refused("base: &base { expect: refused }\ncases:\n  - <<: *base\n    name: a\n"), @"
    error[GC1010]: merge keys aren't supported
     --> cases/auth.yaml:3:5
      |
    3 |   - <<: *base
      |     ^^
      |
      = help: write the keys out, or use a plain alias for a whole value
    ");
}

#[test]
fn a_second_document_is_refused() {
    assert_snapshot!(refused("cases: []\n---\ncases: []\n"), @"
    error[GC1011]: a second document begins here
     --> cases/auth.yaml:2:1
      |
    2 | ---
      | ^^^
      |
      = help: put each document into a file of its own
    ");
}

#[test]
fn a_directive_is_refused() {
    assert_snapshot!(refused("%YAML 1.1\n---\ncases: []\n"), @"
    error[GC1012]: directives aren't supported
     --> cases/auth.yaml:1:1
      |
    1 | %YAML 1.1
      | ^^^^^^^^^
      |
      = help: remove the line; documents are YAML 1.2
    ");
}

#[test]
fn a_tab_is_shown_where_it_stands() {
    assert_snapshot!(refused("cases:\n  - name: a\n  \texpect: refused\n"), @"
    error[GC1001]: a tab can't be used for indentation
     --> cases/auth.yaml:3:3
      |
    3 |       expect: refused
      |   ^^^^ this is a tab
      |
      = help: indent with spaces, two for each level
    ");
}

#[test]
fn an_unterminated_quote_is_shown_where_it_opens() {
    assert_snapshot!(refused("cases:\n  - name: \"alg-none\n    expect: refused\n"), @r#"
    error[GC1001]: a quote is opened and not closed
     --> cases/auth.yaml:2:11
      |
    2 |   - name: "alg-none
      |           ^
      |
      = help: close it; inside double quotes a quote is written `\"`, inside single quotes `''`
    "#);
}

#[test]
fn a_mistake_behind_an_alias_is_shown_with_its_use() {
    let text = "x: &late { ms: soon }\nuse:\n  - *late\n";
    let document = Document::parse("cases/auth.yaml", text).expect("good YAML");
    #[derive(Deserialize, Debug)]
    struct Wait {
        #[expect(dead_code, reason = "only decoding matters")]
        ms: u32,
    }
    let at = Path::root().key("use");
    let found = document.decode_items::<Wait>(&document.value()["use"], &at).expect_err("soon isn't a number");
    assert_snapshot!(found, @r#"
    error[GC1005]: expected a whole number from 0 up, found the text "soon"
     --> cases/auth.yaml:1:16
      |
    1 | x: &late { ms: soon }
      |                ^^^^ expected a whole number from 0 up
    2 | use:
    3 |   - *late
      |     ----- used here through an alias
    "#);
}

#[test]
fn each_item_of_a_list_shows_its_own_mistake() {
    let text = "cases:\n- { name: a, expect: refusd }\n- { name: b, expect: refused }\n- { expect: refused }\n";
    let document = Document::parse("cases/auth.yaml", text).expect("good YAML");
    let at = Path::root().key("cases");
    let found = document.decode_items::<Case>(&document.value()["cases"], &at).expect_err("two mistakes");
    assert_snapshot!(found, @"
    error[GC1006]: unknown word `refusd`
     --> cases/auth.yaml:2:22
      |
    2 | - { name: a, expect: refusd }
      |                      ^^^^^^
      |
      = note: words allowed here: `refused`, `admitted`, `closed`
      = help: did you mean `refused`?

    error[GC1004]: missing key `name`
     --> cases/auth.yaml:4:5
      |
    4 | - { expect: refused }
      |     ^^^^^^ this mapping needs `name`
    ");
}

#[test]
fn a_caller_can_point_at_a_path() {
    let text = "cases:\n  - name: a\n    weakness: accepts-alg-nnoe\n";
    let document = Document::parse("cases/signature.yaml", text).expect("good YAML");
    let path = Path::root().key("cases").index(0).key("weakness");
    let close = gatecrash::document::closest("accepts-alg-nnoe", ["ignores-exp", "accepts-alg-none"]);
    assert_eq!(close, Some("accepts-alg-none"));
    let found = document.diagnostic(
        Code::UnknownReference,
        &path,
        "weakness `accepts-alg-nnoe` is not in weaknesses.yaml",
        Some("did you mean `accepts-alg-none`?"),
    );
    assert_snapshot!(found, @"
    error[GC1019]: weakness `accepts-alg-nnoe` is not in weaknesses.yaml
     --> cases/signature.yaml:3:15
      |
    3 |     weakness: accepts-alg-nnoe
      |               ^^^^^^^^^^^^^^^^
      |
      = help: did you mean `accepts-alg-none`?
    ");
    assert!(found.render(true).contains("\u{1b}["), "colour when asked for");
}

#[test]
fn hostile_text_is_cut_and_escaped() {
    let text = format!("{{ \"{}\\t\": 1, a\u{202e}b\u{7f}: \u{1b}[31m{} }}", "é".repeat(200), "漢".repeat(200));
    assert_snapshot!(refused(&text), @r#"
    error[GC1001]: a control character can't stand here
     --> cases/auth.yaml:1:212
      |
    1 | …éééééééééééééééééééééééééééé\t": 1, a\u{202e}b\u{7f}: \u{1b}[31m漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢…
      |                                      ^
      |
      = help: remove it, or write it as an escape in double quotes
    "#);
    let text = format!("cases: [{{ name: {}, é\u{202e}\tb: \"{}\" }}]\n", "x".repeat(300), "漢".repeat(200));
    assert_snapshot!(refused(&text), @r#"
    error[GC1003]: unknown key `é\u{202e}    b`
     --> cases/auth.yaml:1:319
      |
    1 | …xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, é\u{202e}    b: "漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢…
      |                                      ^^^^^^^^^^^^^^
      |
      = note: keys allowed here: `name`, `expect`, `steps`, `deadline_ms`, `strict`
    "#);
}

#[test]
fn every_message_is_a_lowercase_fragment() {
    let texts =
        ["a: [", "a: 'x", "a: b: c", "\t- a", "a: .nan", "a: 010", "1: a", "a: 1\na: 2", "", "%A\n---\n", "a: *b"];
    for text in texts {
        for found in &Document::parse("x.yaml", text).expect_err(text) {
            let message = found.message();
            assert!(!message.ends_with('.'), "{message}");
            assert!(!message.starts_with(char::is_uppercase), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }
}

#[test]
fn codes_are_unique_and_in_order() {
    for (number, code) in Code::ALL.iter().enumerate() {
        assert_eq!(code.as_str(), format!("GC{}", 1001 + number));
        assert!(!code.about().ends_with('.'), "{}", code.about());
    }
}

#[test]
fn what_readers_take_for_different_things_is_refused() {
    for text in ["010", "08", "-010", "1_000", "0x1_0", "1e400", "0b1_1"] {
        assert_eq!(meaning(&format!("a: {text}\n")), Err(vec![Code::Ambiguous]), "{text}");
        let quoted = meaning(&format!("a: '{text}'\n"));
        assert_eq!(quoted, Ok(json!({ "a": text })), "{text} in quotes");
    }
    for text in ["a: \u{85}b\n", "a: b\u{2028}c\n"] {
        assert_eq!(meaning(text), Err(vec![Code::Ambiguous]), "{text:?}");
    }
}

#[test]
fn what_readers_agree_on_is_taken_as_they_say() {
    let same = [
        ("yes", json!("yes")),
        ("no", json!("no")),
        ("on", json!("on")),
        ("y", json!("y")),
        ("true", json!(true)),
        ("False", json!(false)),
        ("~", json!(null)),
        ("null", json!(null)),
        ("", json!(null)),
        ("0x10", json!(16)),
        ("0o17", json!(15)),
        ("+1", json!(1)),
        ("-7", json!(-7)),
        ("1e3", json!(1000.0)),
        ("1.10", json!(1.1)),
        (".5", json!(0.5)),
        ("2024-01-01", json!("2024-01-01")),
        ("2024-01-01T00:00:00Z", json!("2024-01-01T00:00:00Z")),
        ("12:30:00", json!("12:30:00")),
        ("64KiB", json!("64KiB")),
        ("18446744073709551615", json!(u64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("inf", json!("inf")),
        ("=", json!("=")),
        ("\"\\u00e9\\x85\"", json!("é\u{85}")),
        ("|\n  x\n  y\n", json!("x\ny\n")),
        (">-\n  x\n  y\n\n  z\n", json!("x y\nz")),
    ];
    for (text, value) in same {
        assert_eq!(meaning(&format!("a: {text}\n")), Ok(json!({ "a": value })), "{text}");
    }
    assert_eq!(meaning("a: &x [1, {b: 2}]\nc: *x\n"), Ok(json!({ "a": [1, {"b": 2}], "c": [1, {"b": 2}] })));
}

#[test]
fn numbers_that_cannot_be_kept_are_refused() {
    let long = "9".repeat(50);
    for text in
        [".nan", ".inf", "-.INF", "18446744073709551616", "-9223372036854775809", &long, "123456789012345678901"]
    {
        assert_eq!(meaning(&format!("a: {text}\n")), Err(vec![Code::NotFinite]), "{text}");
    }
}

#[test]
fn keys_are_text() {
    for text in ["1: x", "~: x", "true: x", "1.5: x", ": x", "? [a]\n: x", "{? {b: 1} : 2}", "b: &x y\n*x : 2"] {
        assert_eq!(meaning(text), Err(vec![Code::NotAWord]), "{text}");
    }
    assert_eq!(meaning("\"1\": x"), Ok(json!({ "1": "x" })));
}

#[test]
fn a_file_without_content_is_refused() {
    for text in ["", " \n", "# only a comment\n", "---\n", "---\n...\n"] {
        assert_eq!(meaning(text), Err(vec![Code::Empty]), "{text:?}");
    }
    assert_eq!(meaning("{}"), Ok(json!({})));
}

#[test]
fn bytes_that_are_not_utf8_are_refused_with_their_place() {
    let found = Document::parse_bytes("x.yaml", b"a: 1\nb: caf\xe9\n").expect_err("latin-1");
    let first = found.iter().next().expect("one");
    assert_eq!((first.code(), first.place().line, first.place().column), (Code::NotText, 2, 7));
}

#[test]
fn all_that_the_guard_forbids_is_shown_at_once() {
    let text = "a: !x 1\nb: &b { c: 1, c: 2 }\nd:\n  <<: *b\n";
    assert_eq!(meaning(text), Err(vec![Code::Tag, Code::DuplicateKey, Code::MergeKey]));
}

/// Refused for their cost, by a counter. Had the counter not stopped them, the nested ones alone would take
/// `serde_yaml` minutes, so this test also ends only if they never reach it.
#[test]
fn texts_made_to_hurt_are_refused_by_a_budget() {
    let bomb: String =
        (1..30).map(|n| format!("x{n}: &x{n} [{}]\n", vec![format!("*x{}", n - 1); 9].join(","))).collect();
    let chain: String = (1..200).map(|n| format!("x{n}: &x{n} [*x{}]\n", n - 1)).collect();
    let texts = [
        ("nested lists", "[".repeat(100_000)),
        ("nested mappings", "{a: ".repeat(100_000)),
        ("nested items", "- ".repeat(100_000)),
        ("a long flat list", format!("[{}]", "1, ".repeat(300_000))),
        ("a list of many lines", "- 1\n".repeat(200_000)),
        ("too many bytes", "#".repeat(LIMITS.bytes + 1)),
        ("aliases of aliases", format!("x0: &x0 [1,1,1,1,1,1,1,1,1]\n{bomb}")),
        ("a chain of aliases", format!("x0: &x0 [1]\n{chain}")),
        ("many aliases", format!("a: &a 1\nb: [{}]", "*a, ".repeat(LIMITS.aliases + 1))),
        ("a long text repeated", format!("a: &a {}\nb: [{}]", "x".repeat(500_000), "*a, ".repeat(900))),
        ("an endless alias", "a: &a [*a]".to_owned()),
        ("fifty deep", format!("{}{}", "[".repeat(50), "]".repeat(50))),
    ];
    for (what, text) in texts {
        assert_eq!(meaning(&text), Err(vec![Code::BeyondLimits]), "{what}");
    }
}

/// Each has as many mistakes, or as long a line, as fits: finding and showing them costs no more than reading them.
#[test]
fn texts_full_of_mistakes_are_read_to_a_limit() {
    let texts = [
        "a: 1\n".repeat(100_000),
        format!("{{{}}}", "a, ".repeat(40_000)),
        "!a ".repeat(100_000),
        format!("[{}]", "!a 1, ".repeat(100_000)),
        "? ".repeat(100_000),
        "a: ".repeat(100_000),
        "&a ".repeat(100_000),
        format!("a: \"{}", "x ".repeat(400_000)),
        format!("[{}]", "010, ".repeat(30_000)),
        format!("{{{}}}", (0..30_000).map(|n| format!("{n}: 1, ")).collect::<String>()),
    ];
    for text in texts {
        let found = Document::parse("x.yaml", &text).expect_err("full of mistakes");
        assert!(found.iter().count() <= 50);
        assert!(found.to_string().len() < 100_000);
    }
}

#[test]
fn a_large_document_within_the_limits_is_read() {
    let keys: String = (0..40_000).map(|n| format!("key-{n}: {n}\n")).collect();
    let deep = format!("{}{}{}", "[".repeat(47), "1, ".repeat(90_000), "]".repeat(47));
    let anchors: String = (0..30_000).map(|n| format!("- &a{n} x\n")).collect();
    for text in [keys, deep, anchors, "a".repeat(LIMITS.bytes), format!("a: {}", "b\n ".repeat(300_000))] {
        assert!(Document::parse("x.yaml", &text).is_ok(), "{text:.40}");
    }
}

#[test]
fn places_are_those_of_keys_and_values() {
    let text = "# é\na:\n  - { b: \"漢字\", c: [1] }\r\n  - d\n";
    let document = Document::parse("x.yaml", text).expect("good YAML");
    let b = Path::root().key("a").index(0).key("b");
    let place = document.place(&b).expect("a value");
    assert_eq!((&text[place.start..place.end], place.line, place.column), ("\"漢字\"", 3, 10));
    let place = document.key_place(&b).expect("a key");
    assert_eq!((&text[place.start..place.end], place.line, place.column), ("b", 3, 7));
    let item = document.place(&Path::root().key("a").index(1)).expect("an item");
    assert_eq!((&text[item.start..item.end], item.line, item.column), ("d", 4, 5));
    let mapping = document.place(&Path::root().key("a").index(0)).expect("a mapping");
    assert_eq!(&text[mapping.start..mapping.end], "{ b: \"漢字\", c: [1] }");
    assert_eq!(document.place(&b.key("nowhere")), None);
    assert_eq!(b.to_string(), "a[0].b");
}

mod tables {
    use super::*;

    fn copies(item: Value) -> Vec<(String, Value)> {
        expand::table(&item).expect("a good table")
    }

    fn message(item: Value) -> String {
        expand::table(&item).expect_err("a bad table").to_string()
    }

    #[test]
    fn an_item_without_a_table_is_its_own_copy() {
        assert_eq!(copies(json!({ "a": "${b}" })), [(String::new(), json!({ "a": "${b}" }))]);
        assert_eq!(copies(json!(3)), [(String::new(), json!(3))]);
    }

    #[test]
    fn a_whole_placeholder_keeps_its_type_and_a_part_is_text() {
        let item =
            json!({ "for": { "n": [1, true, null, 1.5, "x"] }, "whole": ["${n}"], "part": "<${n}>", "k-${n}": 0 });
        let copies = copies(item);
        assert_eq!(copies[0], ("1".to_owned(), json!({ "whole": [1], "part": "<1>", "k-1": 0 })));
        assert_eq!(copies[1], ("true".to_owned(), json!({ "whole": [true], "part": "<true>", "k-true": 0 })));
        assert_eq!(copies[2], ("null".to_owned(), json!({ "whole": [null], "part": "<null>", "k-null": 0 })));
        assert_eq!(copies[4].1["part"], "<x>");
    }

    #[test]
    fn members_and_labels_of_an_entry() {
        let item = json!({ "for": { "e": [
            { "label": "short", "cut": 1, "deep": { "x": [2] } },
            { "cut": 5, "deep": { "x": 6 } },
        ] }, "cut": "${e.cut}", "x": "${e.deep.x}" });
        assert_eq!(
            copies(item),
            [("short".to_owned(), json!({ "cut": 1, "x": [2] })), ("1".to_owned(), json!({ "cut": 5, "x": 6 }))]
        );
    }

    #[test]
    fn other_names_are_left_for_the_run() {
        let item = json!({ "for": { "n": [1] }, "a": "${n} ${now} ${nn} ${n ${ $n {n} ${n.}", "b": "${n}${n}" });
        let error = message(item);
        assert_eq!(error, "a: entry 1 of the table has no ``");
        let item = json!({ "for": { "n": ["${n}"] }, "a": "${n} ${now} ${nn} ${n ${ $n {n}", "b": "${now.n}" });
        assert_eq!(copies(item)[0].1, json!({ "a": "${n} ${now} ${nn} ${n ${ $n {n}", "b": "${now.n}" }));
    }

    #[test]
    fn labels_are_safe_short_and_unique() {
        let item = json!({ "for": { "n": ["a b/c", "a-b-c", "", "é", "x".repeat(90), "-", "../x"] }, "a": "${n}" });
        let labels: Vec<String> = copies(item).into_iter().map(|(label, _)| label).collect();
        assert_eq!(labels, ["a-b-c", "a-b-c-1", "2", "3", &"x".repeat(40), "-", "..-x"]);
    }

    #[test]
    fn a_bad_table_says_what_is_wrong() {
        assert_snapshot!(message(json!({ "for": [], "a": 1 })), @"for: a table names one variable and its entries");
        assert_snapshot!(message(json!({ "for": { "a": [1], "b": [2] }, "c": "${a}${b}" })), @"for: a table names one variable and its entries");
        assert_snapshot!(message(json!({ "for": { "a": [] }, "c": "${a}" })), @"for.a: the table has no entries");
        assert_snapshot!(message(json!({ "for": { "a": 3 }, "c": "${a}" })), @"for.a: the entries of a table are a list");
        assert_snapshot!(message(json!({ "for": { "a": vec![0; 1001] }, "c": "${a}" })), @"for.a: the table has 1001 entries; at most 1000 are expanded");
        assert_snapshot!(message(json!({ "for": { "a": [1] }, "c": "${b}" })), @"for.a: `a` is never used");
        assert_snapshot!(message(json!({ "for": { "A b": [1] }, "c": "${b}" })), @"for.A b: a variable's name is made of small letters, digits, `-` and `_`");
        assert_snapshot!(message(json!({ "for": { "a": [{ "x": 1 }, {}] }, "c": [0, "${a.x}"] })), @"c[1]: entry 2 of the table has no `x`");
        assert_snapshot!(message(json!({ "for": { "a": [[1]] }, "c": "no ${a}" })), @"c: `${a}` is a list or a mapping and can't be part of a text");
        assert_snapshot!(message(json!({ "for": { "a": ["c"] }, "c": 1, "${a}": 2 })), @"c: the key becomes `c`, which is already there");
        assert_snapshot!(message(json!({ "for": { "a": [{ "label": "x y" }] }, "c": "${a}" })), @"for.a[0].label: the label can't be part of a name");
        assert_snapshot!(message(json!({ "for": { "a": [{ "label": "x" }, { "label": "x" }] }, "c": "${a}" })), @"for.a[1].label: the label `x` is given twice");
    }

    #[test]
    fn a_table_that_grows_too_large_is_refused() {
        let wide: Vec<Value> = vec![json!("${a}"); 300];
        assert_snapshot!(message(json!({ "for": { "a": vec![1; 1000] }, "c": wide })), @"c[67]: the table expands to too much");
        let long = "x".repeat(100_000);
        assert_snapshot!(message(json!({ "for": { "a": vec![json!(long); 200] }, "c": "${a}${a}" })), @"c: the table expands to too much");
    }

    #[test]
    fn a_bad_table_is_shown_in_its_file() {
        let text = "cases:\n  - for: { alg: [] }\n    name: ${alg}\n";
        let document = Document::parse("cases/signature.yaml", text).expect("good YAML");
        let found = document
            .expand(&document.value()["cases"][0], &Path::root().key("cases").index(0))
            .expect_err("an empty table");
        assert_snapshot!(found, @"
        error[GC1018]: the table has no entries
         --> cases/signature.yaml:2:17
          |
        2 |   - for: { alg: [] }
          |                 ^^
          |
          = help: give it at least one, or remove the item
        ");
    }

    #[test]
    fn a_mistake_in_a_copy_is_shown_in_the_item() {
        let text = "cases:\n  - for: { n: [refused, refusd] }\n    name: is-${n}\n    expect: ${n}\n";
        let document = Document::parse("cases/signature.yaml", text).expect("good YAML");
        let at = Path::root().key("cases").index(0);
        let mut found = Diagnostics::new();
        for (label, copy) in document.expand(&document.value()["cases"][0], &at).expect("a good table") {
            let decoded = document.decode::<Case>(&copy, &at);
            found.keep(decoded.map_err(|one| one.note_each(format!("in the copy `{label}`"))));
        }
        assert_snapshot!(found, @"
        error[GC1006]: unknown word `refusd`
         --> cases/signature.yaml:4:13
          |
        4 |     expect: ${n}
          |             ^^^^
          |
          = note: words allowed here: `refused`, `admitted`, `closed`
          = note: in the copy `refusd`
          = help: did you mean `refused`?
        ");
    }
}

mod properties {
    use super::*;

    /// Plain data as a document may hold it, with the words that make YAML difficult.
    fn data() -> impl Strategy<Value = Value> {
        let word = prop_oneof![
            "[a-z]{0,8}",
            "[ -~]{0,12}",
            "\\PC{0,8}",
            prop::sample::select(vec![
                "no",
                "yes",
                "on",
                "~",
                "null",
                "true",
                "010",
                "1_000",
                "0x10",
                "1e3",
                ".nan",
                "<<",
                "=",
                "- a",
                "a: b",
                "# c",
                "!x",
                "&a",
                "*a",
                "|",
                ">",
                "%a",
                "@",
                "`",
                "'",
                "\"",
                " a",
                "a ",
                "\t",
                "a\nb",
                "\n",
                "a\n",
                "\r",
                "2024-01-01",
                "12:30",
                "---",
                "...",
                "\u{85}",
                "\u{2028}",
                "\u{feff}",
                "\u{0}",
                "\u{7f}",
                "é",
                "1.10",
                "0b1",
                "0o7",
                "-",
                "?",
                ":",
                ",",
                "[",
                "]",
                "{",
                "}",
                "${x}",
                "\\",
                "1e400",
                "+1",
                "1.",
                ".5",
                "-0",
            ])
            .prop_map(str::to_owned),
        ];
        let key = word.clone();
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
            word.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(key.clone(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    const GOOD: &str = "# cases\nfamily: SIG\nbase: &base { alg: none, list: [1, 2.5, true] }\ncases:\n  - for: { n: [a, 'b', \"c\\n\"] }\n    name: x-${n}\n    token: *base\n    text: |\n      one\n      two\n    expect: { closed: 4001 }\n  - name: é漢\n    expect: refused\n";

    /// Everything a reading and its messages can do to a text.
    fn exercise(text: &str) -> Result<(), TestCaseError> {
        let check = |found: Diagnostics| {
            prop_assert!(!found.is_empty());
            for one in &found {
                prop_assert!(one.place().line >= 1 && one.place().column >= 1);
                prop_assert!(one.place().end <= text.len().max(one.place().end.min(LIMITS.bytes)));
                let shown = one.render(false);
                let header = format!(" --> x.yaml:{}:{}", one.place().line, one.place().column);
                prop_assert!(shown.lines().nth(1).is_some_and(|line| line.ends_with(&header)), "{}", shown);
                prop_assert!(shown.lines().nth(3).is_some_and(|line| line.contains(" |")), "{}", shown);
                prop_assert!(shown.contains('^'), "{}", shown);
                prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{:?}", shown);
                prop_assert!(shown.lines().all(|line| line.chars().count() < 700), "{}", shown);
                prop_assert!(one.render(true).contains('^'));
            }
            Ok(())
        };
        match Document::parse("x.yaml", text) {
            Err(found) => check(found)?,
            Ok(document) => {
                if let Err(found) = document.decode::<File>(document.value(), &Path::root()) {
                    check(found)?;
                }
                let cases = document.value().get("cases").cloned().unwrap_or_default();
                let at = Path::root().key("cases");
                if let Err(found) = document.decode_items::<Case>(&cases, &at) {
                    check(found)?;
                }
                if let Some(items) = cases.as_array() {
                    for (index, item) in items.iter().enumerate() {
                        if let Err(found) = document.expand(item, &at.index(index)) {
                            check(found)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn any_text_is_read_or_refused_with_a_place(text in any::<String>()) {
            exercise(&text)?;
        }

        #[test]
        fn any_punctuation_is_read_or_refused_with_a_place(
            text in "([-?:,\\[\\]{}#&*!|>'\"%@` \t\n\r<=~a01.$é]|: |- |\n  ){0,60}"
        ) {
            exercise(&text)?;
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Err(found) = Document::parse_bytes("x.yaml", &bytes) {
                prop_assert!(found.iter().all(|one| one.place().line >= 1));
                prop_assert!(found.render(true).contains('^'));
            }
        }

        #[test]
        fn a_good_document_with_a_few_changes_is_read_or_refused_with_a_place(
            changes in prop::collection::vec(
                (any::<prop::sample::Index>(), 0_usize..4, prop_oneof!["\\PC", "[-?:,\\[\\]{}#&*!|>'\"%@` \t\n]", "[ \n]{1,4}"]),
                1..5,
            )
        ) {
            let mut text: Vec<char> = GOOD.chars().collect();
            for (at, gone, added) in changes {
                let at = at.index(text.len());
                let end = (at + gone).min(text.len());
                text.splice(at..end, added.chars());
            }
            exercise(&text.into_iter().collect::<String>())?;
        }

        /// A document that `serde_yaml` wrote is one both readers understand, or, where it wrote a bare word that they
        /// take for different things, one that is refused for that; it is never misread.
        #[test]
        fn what_serde_yaml_writes_is_read_back_or_refused_as_ambiguous(value in data()) {
            let text = serde_yaml::to_string(&value).expect("plain data");
            match meaning(&text) {
                Ok(read) => prop_assert_eq!(read, value, "{}", text),
                Err(codes) => {
                    let blank = value.is_null();
                    prop_assert!(
                        blank || codes.iter().all(|code| matches!(code, Code::Ambiguous | Code::NotYaml | Code::MergeKey | Code::NotAWord)),
                        "{:?}: {}", codes, text
                    );
                }
            }
        }

        /// With words a person would use nothing is refused.
        #[test]
        fn plain_words_written_by_serde_yaml_are_read_back(
            value in prop::collection::hash_map(
                "[a-z][a-z-]{0,8}",
                prop_oneof![
                    "[a-z][ a-zA-Z0-9/.:-]{0,20}".prop_map(Value::from),
                    prop::sample::select(vec!["no", "yes", "on", "off", "y", "n", "true", "null", "~", ""]).prop_map(Value::from),
                    any::<i64>().prop_map(Value::from),
                    any::<bool>().prop_map(Value::from),
                ],
                0..8,
            )
        ) {
            let value: Value = Value::Object(value.into_iter().collect());
            let text = serde_yaml::to_string(&value).expect("plain data");
            prop_assert_eq!(meaning(&text), Ok(value), "{}", text);
        }

        #[test]
        fn every_place_holds_what_is_said_to_stand_there(value in data()) {
            let text = serde_json::to_string_pretty(&value).expect("JSON");
            let Ok(document) = Document::parse("x.yaml", &text) else { return Ok(()) };
            let mut paths = vec![(Path::root(), document.value().clone())];
            while let Some((path, value)) = paths.pop() {
                let place = document.place(&path).expect("a place");
                let again: Value = serde_json::from_str(&text[place.start..place.end]).expect("the same JSON");
                prop_assert_eq!(&again, &value);
                match value {
                    Value::Array(items) => {
                        paths.extend(items.into_iter().enumerate().map(|(n, item)| (path.index(n), item)));
                    }
                    Value::Object(map) => paths.extend(map.into_iter().map(|(key, item)| (path.key(key), item))),
                    _ => {}
                }
            }
        }

        #[test]
        fn any_table_is_expanded_or_refused(entries in prop::collection::vec(data(), 0..4), rest in data()) {
            let item = json!({ "for": { "n": entries }, "a": "${n}", "b": rest });
            if let Ok(copies) = expand::table(&item) {
                let mut labels: Vec<&String> = copies.iter().map(|(label, _)| label).collect();
                prop_assert!(labels.iter().all(|label| !label.is_empty() && label.is_ascii()));
                labels.sort();
                labels.dedup();
                prop_assert_eq!(labels.len(), copies.len());
                for (copy, entry) in copies.iter().zip(item["for"]["n"].as_array().expect("a list")) {
                    prop_assert_eq!(&copy.1["a"], entry);
                    prop_assert_eq!(&copy.1["b"], &item["b"]);
                }
            }
        }
    }
}
