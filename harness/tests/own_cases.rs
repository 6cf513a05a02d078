//! Cases of the user's own: fragments, variables, what is received and kept, and what is said about mistakes.
#![cfg(feature = "command")]
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gatecrash::case::{Body, Step};
use gatecrash::command::bundled_server::{BundledServer, Setting};
use gatecrash::{Catalogue, Report, Suite, Verdict};
use gatecrash_reference_server::{Dialect, RefusalStyle};
use insta::assert_snapshot;

const HEAD: &str = "family: CHAT\ntitle: Chat\n";

/// One case with these steps, as YAML in one line.
fn case(steps: &str) -> String {
    format!(
        "cases:\n  - code: CHAT-001\n    name: one\n    title: it holds\n    level: must\n    severity: high\n    steps: {steps}\n"
    )
}

fn read(files: &[(&str, &str)], vars: &[(&str, &str)]) -> Result<Catalogue, String> {
    let mut catalogue = Catalogue::bundled().unwrap();
    catalogue.cases.clear();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    let vars: BTreeMap<String, String> =
        vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    catalogue.add_files(&files, &vars).map(|()| catalogue).map_err(|found| found.to_string())
}

/// What is said about a file with this body below its head.
fn complaint(body: &str) -> String {
    read(&[("chat.yaml", &format!("{HEAD}{body}"))], &[]).expect_err("a mistake")
}

/// Plays the only case of a file against the bundled chat.
fn play(body: &str, vars: &[(&str, &str)]) -> Report {
    let catalogue = read(&[("chat.yaml", &format!("{HEAD}{body}"))], vars).unwrap_or_else(|found| panic!("{found}"));
    let server = BundledServer::start(&Setting::of(Dialect::Shipvox, RefusalStyle::Close), None).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Suite::new(Ok(catalogue)).timeout_scale(0.3).run(&server.target)).unwrap()
}

fn verdict(report: &Report) -> (Verdict, String) {
    let [trial] = report.trials.as_slice() else { panic!("{report}") };
    (trial.verdict, trial.observed.clone())
}

const SAYS: &str = r#"{"type":"test","payload":{"message":"MESSAGE"}}"#;

fn say(on: &str, message: &str) -> String {
    format!("{{send: {{on: {on}, texts: ['{}']}}}}", SAYS.replace("MESSAGE", message))
}

#[test]
fn a_fragment_is_put_in_with_its_parameters_and_the_variables_of_its_file() {
    let shared = "family: BASE\nvars: { greeting: hi }\nfragments:\n  hello:\n    with: { to: ~, mark: '!' }\n    steps:\n      - open: {}\n      - send: { texts: ['${vars.greeting} ${with.to}${with.mark}'] }\n  twice:\n    with: { who: ~ }\n    steps:\n      - use: { fragment: hello, with: { to: '${with.who}' } }\n      - use: { fragment: hello, with: { to: '${with.who}', mark: '?' } }\n";
    let own = format!("{HEAD}{}", case("[{use: {fragment: twice, with: {who: bob}}}, {cut: {}}]"));
    for (vars, greeting) in [(&[][..], "hi"), (&[("greeting", "hello")][..], "hello")] {
        // In whatever order they are given.
        for files in [[("base.yaml", shared), ("own.yaml", &own)], [("own.yaml", &own), ("base.yaml", shared)]] {
            let catalogue = read(&files, vars).unwrap_or_else(|found| panic!("{found}"));
            let Body::Steps(steps) = &catalogue.cases[0].variants[0].body else { panic!("no steps") };
            let texts: Vec<&str> = steps
                .iter()
                .filter_map(|step| match step {
                    Step::Send(send) => Some(send.texts[0].as_str()),
                    _ => None,
                })
                .collect();
            assert_eq!(texts, [format!("{greeting} bob!"), format!("{greeting} bob?")]);
            assert!(matches!(steps.last(), Some(Step::Cut(_))));
        }
    }
}

#[test]
fn mistakes_are_shown_where_they_are_made() {
    let fragment =
        "fragments:\n  in:\n    with: { who: ~ }\n    steps:\n      - open: {}\n      - sned: { texts: [a] }\n";
    assert_snapshot!(
        "in_the_fragment",
        complaint(&format!("{fragment}{}", case("[{use: {fragment: in, with: {who: a}}}]")))
    );
    let fragment = "fragments:\n  log-in:\n    with: { who: ~ }\n    steps: [{ open: {} }]\n";
    assert_snapshot!("no_such_fragment", complaint(&format!("{fragment}{}", case("[{use: log_in}]"))));
    assert_snapshot!("a_parameter_is_missing", complaint(&format!("{fragment}{}", case("[{use: log-in}]"))));
    assert_snapshot!(
        "no_such_parameter",
        complaint(&format!("{fragment}{}", case("[{use: {fragment: log-in, with: {whom: bob}}}]")))
    );
    assert_snapshot!(
        "no_such_variable",
        complaint(&format!("vars: {{ room: a }}\n{}", case("[{send: {texts: ['${vars.rom}']}}]")))
    );
    assert_snapshot!(
        "kept_by_nobody",
        complaint(&case("[{open: {}}, {receive: {keep: {room: {json: /room}}}}, {send: {texts: ['${kept.rooms}']}}]"))
    );
    assert_snapshot!("no_pointer", complaint(&case("[{open: {}}, {receive: {keep: {room: {json: room}}}}]")));
    assert_snapshot!("no_regex", complaint(&case("[{open: {}}, {receive: {keep: {room: {regex: '('}}}}]")));
    assert_snapshot!("unknown_word_in_a_text", complaint(&case("[{open: {}}, {send: {texts: ['${usr}']}}]")));
    let nobody = complaint(&case("[{open: {as: alice}}, {send: {on: alcie, texts: [a]}}]"));
    assert!(nobody.contains("no connection is called `alcie`") && nobody.contains("did you mean `alice`?"), "{nobody}");
    let pointer = complaint(&case("[{open: {}}, {receive: {like: {json: {type: joined}}}}]"));
    assert!(pointer.contains("`type` is no JSON Pointer") && pointer.contains("write `/type`"), "{pointer}");
    let endless = "fragments:\n  a: { steps: [{ use: b }] }\n  b: { steps: [{ use: a }] }\n";
    assert!(complaint(&format!("{endless}{}", case("[{use: a}]"))).contains("more than 8 deep"));
    assert_snapshot!("no_family", read(&[("chat.yaml", &case("[{open: {}}]"))], &[]).expect_err("a mistake"));
    let twice = complaint(&format!("sources:\n  J03: {{ where: here, says: this. }}\n{}", case("[{open: {}}]")));
    assert!(twice.contains("`J03` is taken"), "{twice}");
    let own = format!("{HEAD}vars: {{ room: a }}\n{}", case("[{open: {}}]"));
    let unknown = read(&[("chat.yaml", &own)], &[("rom", "b")]).expect_err("a mistake");
    assert!(unknown.contains("did you mean `room`?"), "{unknown}");
}

#[test]
fn what_is_received_and_kept_goes_on_in_another_connection() {
    let steps = format!(
        "[{{open: {{as: alice}}}}, {{open: {{as: bob, token: {{forge: [{{user: bob}}]}}}}}}, {}, \
         {{receive: {{on: bob, like: {{json: {{/payload/message: one}}}}, keep: {{id: {{json: /requestId}}, who: {{regex: '\"user\": *\"([^\"]+)'}}}}}}}}, {}, \
         {{receive: {{on: alice, like: {{json: {{/payload/message: 're ${{kept.id}} ${{kept.who}} bob'}}}}}}}}]",
        say("alice", "one"),
        say("bob", "re ${kept.id} ${kept.who} ${vars.me}"),
    );
    let report = play(&format!("vars: {{ me: nobody }}\n{}", case(&steps)), &[("me", "bob")]);
    assert_eq!(verdict(&report).0, Verdict::Pass, "{report}");
    // With the other value the last message is another.
    let report = play(&format!("vars: {{ me: nobody }}\n{}", case(&steps)), &[]);
    assert_eq!(verdict(&report).0, Verdict::Fail, "{report}");
}

#[test]
fn a_message_that_does_not_come_fails_and_one_that_must_not_come_too() {
    let receive = |rest: &str| format!("{{receive: {{like: {{json: {{/payload/message: {rest}}}}}}}}}");
    let hello = say("main", "hello");
    let graded = |steps: &str| verdict(&play(&case(steps), &[]));
    assert_eq!(graded(&format!("[{{open: {{}}}}, {hello}, {}]", receive("hello"))).0, Verdict::Pass);
    let (grade, observed) = graded(&format!("[{{open: {{}}}}, {hello}, {}]", receive("bye")));
    assert_eq!(grade, Verdict::Fail);
    assert!(observed.contains("the last message: \"{") && observed.contains("hello"), "{observed}");
    // Each `receive` looks behind the one before.
    assert_eq!(graded(&format!("[{{open: {{}}}}, {hello}, {0}, {0}]", receive("hello"))).0, Verdict::Fail);
    assert_eq!(graded(&format!("[{{open: {{}}}}, {hello}, {hello}, {0}, {0}]", receive("hello"))).0, Verdict::Pass);
    let none = |word: &str| receive(word).replace("}}}}", "}}, none: true}}");
    assert_eq!(graded(&format!("[{{open: {{}}}}, {hello}, {}]", none("bye"))).0, Verdict::Pass);
    assert_eq!(graded(&format!("[{{open: {{}}}}, {hello}, {}]", none("hello"))).0, Verdict::Fail);
    // What is to be kept and does not come ends the case: what follows rests on it.
    let (grade, observed) = graded(&format!(
        "[{{open: {{}}}}, {hello}, {{receive: {{keep: {{x: {{json: /none}}}}}}}}, {}]",
        say("main", "${kept.x}")
    ));
    assert_eq!(grade, Verdict::Fail, "{observed}");
}

#[test]
fn what_is_not_played_is_not_passed() {
    let nothing_kept = "{receive: {level: may, keep: {x: {json: /none}}}}";
    let (grade, observed) = verdict(&play(
        &case(&format!("[{{open: {{}}}}, {nothing_kept}, {{receive: {{like: {{text: never}}}}}}]")),
        &[],
    ));
    assert_eq!(grade, Verdict::Inconclusive, "{observed}");
    let none = complaint(&case("[{open: {}}, {receive: {none: true, keep: {x: {json: /x}}}}]"));
    assert!(none.contains("nothing can be kept of a message that must not come"), "{none}");
}

#[test]
fn the_words_of_a_run_stand_in_what_is_waited_for_and_not_in_what_was_kept() {
    let receive = |rest: &str| format!("{{receive: {{like: {{json: {{/payload/message: {rest}}}}}}}}}");
    let steps = format!("[{{open: {{}}}}, {}, {}]", say("main", "I am ${user}"), receive("'I am ${user}'"));
    assert_eq!(verdict(&play(&case(&steps), &[])).0, Verdict::Pass);
    assert!(complaint(&case("[{open: {}}, {receive: {like: {text: '${usr}'}}}]")).contains("unknown name `usr`"));
    // What a server says is no language, and no end of a text in JSON.
    for said in ["$${user}", "$${ x", r#"a \"quoted\" word"#] {
        let keep = "{receive: {keep: {m: {regex: '\"message\": ?\"says (.*?)\"[,}]'}, all: {json: /payload/message}}}}";
        let steps = format!(
            "[{{open: {{as: main}}}}, {}, {}, {}, {}]",
            say("main", &format!("says {said}")),
            keep.replace("keep:", "like: {json: {/payload/message: 'says {message}'}}, keep:")
                .replace("m: {regex: '\"message\": ?\"says (.*?)\"[,}]'}, ", ""),
            say("main", "again ${kept.all}"),
            receive("'again ${kept.all}'"),
        );
        let report = play(&case(&steps), &[]);
        assert_eq!(verdict(&report).0, Verdict::Pass, "{said}: {report}");
    }
}

#[test]
fn fragments_that_use_each_other_a_lot_have_an_end() {
    let mut text = String::from("fragments:\n");
    for level in 0..7 {
        let uses: Vec<String> = vec![format!("{{use: f{}}}", level + 1); 30];
        text.push_str(&format!("  f{level}: {{ steps: [{}] }}\n", uses.join(", ")));
    }
    text.push_str("  f7: { steps: [] }\n");
    assert!(complaint(&format!("{text}{}", case("[{use: f0}]"))).contains("at most 1000 steps"));
    let unused = complaint(&format!("fragments:\n  f: {{ steps: [{{ sned: {{}} }}] }}\n{}", case("[{open: {}}]")));
    assert!(unused.contains("did you mean `send`?"), "{unused}");
}

#[test]
fn variables_keep_their_kind_and_are_not_the_case() {
    let body = format!("vars: {{ n: 3 }}\n{}", case("[{open: {}}, {say: {count: '${vars.n}'}}, {hear: {}}]"));
    let text = format!("{HEAD}{body}");
    let one = read(&[("chat.yaml", &text)], &[]).unwrap_or_else(|found| panic!("{found}"));
    let other = read(&[("chat.yaml", &text)], &[("n", "5")]).unwrap_or_else(|found| panic!("{found}"));
    let count = |catalogue: &Catalogue| match &catalogue.cases[0].variants[0].body {
        Body::Steps(steps) => steps.iter().find_map(|step| match step {
            Step::Say(say) => Some(say.count),
            _ => None,
        }),
        _ => None,
    };
    assert_eq!((count(&one), count(&other)), (Some(3), Some(5)));
    assert_eq!(one.cases[0].definition, other.cases[0].definition);
    // The default of a parameter may be a variable.
    let fragment = "vars: { room: lobby }\nfragments:\n  f: { with: { r: 'to ${vars.room}' }, steps: [{ send: { texts: ['${with.r}'] } }] }\n";
    let text = format!("{HEAD}{fragment}{}", case("[{open: {}}, {use: f}]"));
    let read = read(&[("chat.yaml", &text)], &[]).unwrap_or_else(|found| panic!("{found}"));
    assert!(format!("{:?}", read.cases[0].variants).contains("to lobby"));
}

#[test]
fn what_is_kept_stands_in_no_report() {
    let steps = format!(
        "[{{open: {{}}}}, {}, {{receive: {{like: {{json: {{/payload/message: hello}}}}, keep: {{id: {{json: /requestId}}}}}}}}, {}, {}]",
        say("main", "hello"),
        say("main", "${kept.id}"),
        "{receive: {like: {json: {/payload/message: 'never ${kept.id}'}}}}",
    );
    let report = play(&case(&steps), &[]);
    assert_eq!(verdict(&report).0, Verdict::Fail);
    let text = report.to_string();
    assert!(text.contains("never [token]"), "{text}");
}

#[test]
fn parts_of_an_http_answer_are_kept() {
    let login = |part: &str| {
        format!(
            "[{{http: {{endpoint: login, answer: {{status: [200]}}, keep: {{pass: {part}}}}}}}, {{open: {{token: {{literal: '${{kept.pass}}'}}}}}}]"
        )
    };
    assert_eq!(verdict(&play(&case(&login("{json: /access_token}")), &[])).0, Verdict::Pass);
    assert_eq!(verdict(&play(&case(&login("{regex: 'access_token\" *: *\"([^\"]+)'}")), &[])).0, Verdict::Pass);
    let (grade, observed) = verdict(&play(&case(&login("{json: /token}")), &[]));
    assert_eq!((grade, observed.as_str()), (Verdict::Fail, "no /token"));
    // It is there, and no token.
    assert_eq!(verdict(&play(&case(&login("{header: content-type}")), &[])).0, Verdict::Fail);
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("own-{}-{name}", std::process::id()))
}

/// A folder with these files, and the command in it.
fn command(name: &str, files: &[(&str, &str)], arguments: &[&str]) -> Output {
    let folder = folder(name);
    fs::create_dir_all(&folder).unwrap();
    for (file, text) in files {
        fs::write(folder.join(file), text).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatecrash"));
    command.args(arguments).current_dir(&folder).env_clear();
    command.output().unwrap()
}

fn texts(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn files_run_beside_the_bundled_cases() {
    let steps = format!(
        "[{{open: {{}}}}, {}, {{receive: {{like: {{json: {{/payload/message: hello}}}}}}}}]",
        say("main", "${vars.word}")
    );
    let own = format!("{HEAD}vars: {{ word: hello }}\n{}", case(&steps));
    let files = [("chat.yaml", own.as_str())];
    let run = |name, more: &[&str]| {
        let all =
            [&["run", "chat.yaml", "--dialect", "shipvox", "--case", "CHAT", "--case", "AUTH-001"], more].concat();
        texts(&command(name, &files, &all))
    };
    let (code, out, err) = run("good", &["--verbose"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("CHAT-001") && out.contains("AUTH-001"), "{out}");
    let (code, out, err) = run("bad", &["--var", "word=bye", "--timeout-scale", "0.2", "--report", "sarif=r.sarif"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(out.contains(" --dialect shipvox chat.yaml --var word=bye\n"), "{out}");
    let sarif = fs::read_to_string(folder("bad").join("r.sarif")).unwrap();
    assert!(sarif.contains("\"chat.yaml\"") && sarif.contains("CHAT-001"), "{sarif}");
}

#[test]
fn words_that_are_neither_a_url_nor_a_file_are_told() {
    let (code, _, err) = texts(&command("none", &[], &["run", "localhost:8000/ws"]));
    assert_eq!(code, 2);
    assert!(err.contains("cannot read `localhost:8000/ws`") && err.contains("a URL begins with ws://"), "{err}");
    let (code, _, err) = texts(&command("two", &[], &["run", "ws://localhost:1/a", "ws://localhost:1/b"]));
    assert_eq!(code, 2);
    assert!(err.contains("one URL at a time"), "{err}");
    let (code, _, err) = texts(&command("var", &[], &["run", "--var", "a=b"]));
    assert_eq!(code, 2);
    assert!(err.contains("--var is about your own cases"), "{err}");
    let (code, _, err) = texts(&command("both", &[], &["run", "ws://localhost:1/a", "--dialect", "shipvox"]));
    assert_eq!(code, 2);
    assert!(err.contains("about the bundled server"), "{err}");
}

#[test]
fn check_reads_cases_and_profiles_and_says_all_that_is_wrong() {
    let literal = format!("{HEAD}{}", case("[{open: {token: {literal: opaque-session-123456}, as: [1]}}]"));
    let (code, _, err) = texts(&command("literal", &[("l.yaml", &literal)], &["check", "l.yaml"]));
    assert_eq!(code, 2);
    assert!(err.contains("l.yaml:9") && !err.contains("opaque-session"), "{err}");
    let good = format!("{HEAD}{}", case("[{open: {}}]"));
    let wrong = format!("{HEAD}{}", case("[{opne: {}}]")).replace("-001", "-002").replace("name: one", "name: two");
    let profile = "url: ws://localhost:1/ws\nsecret: do-not-show-this-secret\nlevay: 3\n";
    let files = [("a.yaml", good.as_str()), ("b.yaml", &wrong), ("p.yaml", profile), ("c.yaml", "cases: [\n")];
    let (code, out, err) = texts(&command("good-check", &files[..1], &["check", "a.yaml"]));
    assert_eq!((code, out.as_str()), (0, "1 case(s) in 1 file(s), 0 profile(s): nothing is wrong\n"), "{err}");
    let (code, out, err) = texts(&command("check", &files, &["check", "."]));
    assert_eq!((code, out.as_str()), (2, ""));
    for place in ["b.yaml:9", "did you mean `open`?", "p.yaml:3", "did you mean `leeway`?", "c.yaml:"] {
        assert!(err.contains(place), "{place} in {err}");
    }
    assert!(!err.contains("do-not-show"), "{err}");
    let (code, _, err) = texts(&command("check-none", &[], &["check", "nothing.yaml"]));
    assert_eq!(code, 2);
    assert!(err.contains("cannot read `nothing.yaml`"), "{err}");
}
