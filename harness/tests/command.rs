//! The command as a person meets it: exit code, stdout and stderr, with good input, bad input and bad servers.
//!
//! Every run has an empty environment and a folder of its own, and is killed by a watchdog if it does not end.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod hostile_support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hostile_support::{
    HOSTILE, SECRET, StandIn, answer, close_bytes, frame_bytes, free_address, hostile_to_all, is_unsigned, serve,
    serve_short, swallow, take_head, upgrade,
};
use insta::assert_snapshot;
use serde_json::Value;

/// No command of these tests may take longer.
const WATCHDOG: Duration = Duration::from_secs(60);

/// What differs from run to run, and what stands in its place in a snapshot.
const FILTERS: &[(&str, &str)] = &[
    // Ports are free ones.
    (r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]"),
    // Times.
    (r"\(\d+\.\d\d s\)", "([TIME])"),
    // Seeds are the time unless they are given.
    (r"--seed \d+", "--seed [SEED]"),
    // How many cases there are is no matter of these tests.
    (r"\d+ trials(, \d+ [a-z ]+)+", "[COUNTS]"),
    (r"families are [A-Z, ]+", "families are [FAMILIES], "),
    // Nor which keys a profile may have.
    (r"keys allowed here: .*", "keys allowed here: [KEYS]"),
    // Nor which presets there are.
    (r"presets(:| are) [a-z0-9, -]+", "presets$1 [PRESETS]"),
    // The words of the operating system.
    (r"Connection refused \(os error \d+\)", "[REFUSED]"),
    (r"Address already in use \(os error \d+\)", "[IN USE]"),
    (r"No space left on device \(os error \d+\)", "[FULL]"),
    (r"failed to lookup address information: [A-Za-z -]+", "[NO SUCH NAME]"),
    // Where what could not be written was kept.
    (r"`[^`]*gatecrash-report-[^`]*`", "`[KEPT]`"),
];

/// Counts the folders that were handed out.
static FOLDERS: AtomicUsize = AtomicUsize::new(0);

/// A command in a folder of its own.
struct Gatecrash {
    command: Command,
    folder: PathBuf,
}

impl Gatecrash {
    fn new(arguments: &[&str]) -> Self {
        let number = FOLDERS.fetch_add(1, Ordering::SeqCst);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("command-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatecrash"));
        command.args(arguments).current_dir(&folder).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, folder }
    }

    /// Against a server, with its secret in the environment and little patience.
    fn against(server: &StandIn, arguments: &[&str]) -> Self {
        let url = server.url();
        let mut all = vec!["run", url.as_str(), "--secret-env", "JWT_SECRET", "--timeout-scale", "0.1", "--seed", "7"];
        all.extend(arguments);
        Self::new(&all).env("JWT_SECRET", SECRET)
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.folder.join(name), text).unwrap();
        self
    }

    /// Runs it to its end.
    fn run(mut self) -> Ended {
        let child = self.command.spawn().unwrap();
        Ended { output: wait(child), folder: self.folder }
    }
}

/// Waits for a process, and kills it when it takes too long.
fn wait(mut child: Child) -> Output {
    let reader = |mut pipe: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            bytes
        })
    };
    let stdout = child.stdout.take().map(|pipe| reader(Box::new(pipe)));
    let stderr = child.stderr.take().map(|pipe| reader(Box::new(pipe)));
    let end = Instant::now() + WATCHDOG;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("it did not end: {:?}", child.wait_with_output());
        }
        thread::sleep(Duration::from_millis(5));
    };
    let joined =
        |reader: Option<thread::JoinHandle<Vec<u8>>>| reader.map(|one| one.join().unwrap()).unwrap_or_default();
    Output { status, stdout: joined(stdout), stderr: joined(stderr) }
}

/// Sends a signal to a process that this test has started.
fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// What a command came to.
struct Ended {
    output: Output,
    folder: PathBuf,
}

impl Ended {
    fn code(&self) -> i32 {
        self.output.status.code().unwrap_or(-1)
    }

    fn stdout(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).expect("UTF-8")
    }

    fn stderr(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).expect("UTF-8")
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}\n{}", self.all()))
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).expect("JSON")
    }

    /// Exit code, stdout and stderr as one text.
    fn all(&self) -> String {
        format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.code(), self.stdout(), self.stderr())
    }
}

macro_rules! assert_command {
    ($ended:expr, @$snapshot:literal) => {
        insta::with_settings!({ filters => FILTERS.to_vec() }, { assert_snapshot!($ended.all(), @$snapshot) });
    };
}

/// Nothing a terminal would act on, unless it is a colour of ours.
fn assert_harmless(text: &str) {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        let end = after.find(|character: char| !character.is_ascii_digit() && character != ';').unwrap_or(after.len());
        assert!(after[end..].starts_with('m'), "an escape sequence that is no colour: {after:?}");
        rest = &after[end + 1..];
    }
    plain.push_str(rest);
    let acts = |character: char| {
        (character.is_control() && character != '\n') || ('\u{202a}'..='\u{202e}').contains(&character)
    };
    assert!(!plain.contains(acts), "{plain:?}");
}

// Bad input: the command says where, what, and how to mend it, and connects to nothing.

#[test]
fn an_unknown_key_in_a_profile_is_pointed_at() {
    let profile = "name: mine\nurl: ws://127.0.0.1:1/ws?token={token}\nleewy: 5\n";
    let ended =
        Gatecrash::new(&["run", "--profile", "mine.yaml", "--report", "json=r.json"]).file("mine.yaml", profile).run();
    assert_command!(ended, @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: 
    error[GC1003]: unknown key `leewy`
     --> mine.yaml:3:1
      |
    3 | leewy: 5
      | ^^^^^
      |
      = note: keys allowed here: [KEYS]
      = help: did you mean `leeway`?
    "###);
    assert!(!ended.folder.join("r.json").exists(), "no report is written for bad usage, not even an empty one");
}

#[test]
fn a_wrong_type_in_a_profile_is_pointed_at() {
    let ended =
        Gatecrash::new(&["run", "--profile", "mine.yaml"]).file("mine.yaml", "url: ws://h/ws\nleeway: soon\n").run();
    assert_command!(ended, @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: 
    error[GC1005]: expected a whole number from 0 up, found the text "soon"
     --> mine.yaml:2:9
      |
    2 | leeway: soon
      |         ^^^^ expected a whole number from 0 up
    "###);
}

#[test]
fn a_preset_that_does_not_exist_is_asked_about() {
    assert_command!(Gatecrash::new(&["run", "--profile", "omni3"]).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: cannot read the profile `omni3`: No such file or directory (os error 2); presets are [PRESETS]; did you mean `omni2`?
    "###);
    let ended = Gatecrash::new(&["run", "--profile", "mine.yaml"]).file("mine.yaml", "extends: shipvx\n").run();
    assert_command!(ended, @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: 
    error[GC1006]: no preset is called `shipvx`
     --> mine.yaml:1:10
      |
    1 | extends: shipvx
      |          ^^^^^^
      |
      = note: presets: [PRESETS]
      = help: did you mean `shipvox`?
    "###);
}

#[test]
fn a_profile_that_cannot_be_read_is_named() {
    assert_command!(Gatecrash::new(&["run", "--profile", "profiles/none.yaml"]).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: cannot read the profile `profiles/none.yaml`: No such file or directory (os error 2); presets are [PRESETS]
    "###);
    let ended = Gatecrash::new(&["run", "--profile", "mine.yaml"]).file("mine.yaml", b"name: \xff\n").run();
    assert_command!(ended, @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: cannot read the profile `mine.yaml`: stream did not contain valid UTF-8
    "###);
    assert_command!(Gatecrash::new(&["run", "--profile", "/dev/zero"]).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: cannot read the profile `/dev/zero`: it is larger than 4194304 bytes
    "###);
}

#[test]
fn a_profile_is_never_quoted_with_its_secret() {
    for text in [
        format!("secrt: {SECRET}\n"),
        format!("secret: [{SECRET}]\n"),
        format!("signing_key: {SECRET} # mine\nurl: [\n"),
        "secret: 123456789012345\n".to_owned(),
    ] {
        let ended =
            Gatecrash::new(&["run", "ws://127.0.0.1:1/", "--profile", "mine.yaml"]).file("mine.yaml", &text).run();
        assert_eq!(ended.code(), 2, "{}", ended.all());
        assert!(!ended.all().contains("recognisable"), "{}", ended.all());
        assert!(!ended.all().contains("123456789012345"), "{}", ended.all());
    }
}

#[test]
fn a_secret_is_not_quoted_however_it_is_written() {
    let long = "hunter2-hunter3-hunter4-hunter5-hunter6-hunter7-hunter8-hunter9-hunter10-hunter11";
    for text in [
        "login: { url: /login, json: { username: alice, password: hunter2hunter2 }, tokn: /x }\n".to_owned(),
        "{url: \"ws://127.0.0.1:1/\", secret: hunter2hunter2hunter2, foo: 1}\n".to_owned(),
        "{url: \"ws://127.0.0.1:1/\", \"secret\" : 'hunter2, hunter3', foo: 1}\n".to_owned(),
        "{secret: hunter2,hunter3}\n".to_owned(),
        "retired_secrets:\n  - \"hunter3hunter3hunter3\n".to_owned(),
        "retired_secrets:\n- hunter3hunter3hunter3: x\n".to_owned(),
        "secret: |\n  hunter2hunter2\n hunter3: [\n".to_owned(),
        "secret:\n  hunter2hunter2: [\n".to_owned(),
        "retired_secrets: [a,\n  {hunter2: hunter3}]\n".to_owned(),
        // The line is shown from within the secret on.
        format!("{{ password: x{long}, foo: 1, name: 'nothing that matters, at some length' }}\n"),
        "login: { url: /x, token: /x, json: { password: \"hunt\\x65r2hunter2\" }, tokn: /x }\n".to_owned(),
    ] {
        for words in [&["run", "--profile", "mine.yaml"][..], &["check", "mine.yaml"], &["fmt", "mine.yaml"]] {
            let ended = Gatecrash::new(words).file("mine.yaml", &text).run();
            if words[0] != "fmt" {
                assert!(ended.code() == 2 && ended.stderr().contains("error[GC"), "{text}{}", ended.all());
            }
            let shown = ["hunter", "unter1", "nter11", "hunt\\x65"].iter().any(|part| ended.all().contains(part));
            assert!(!shown, "{text}{}", ended.all());
        }
    }
    // What is wrong is told all the same, and where a secret can be found is none.
    let text = "login: { url: /login, json: { username: alice, password: env:PASSWORD }, tokn: /x }\n";
    let ended = Gatecrash::new(&["run", "--profile", "mine.yaml"]).file("mine.yaml", text).run();
    assert!(ended.stderr().contains(text.trim()) && ended.stderr().contains("unknown key `tokn`"), "{}", ended.all());
}

#[test]
fn a_secret_that_is_missing_is_asked_for() {
    let run = |arguments: &[&str]| {
        let mut all = vec!["run", "ws://127.0.0.1:1/ws"];
        all.extend(arguments);
        Gatecrash::new(&all).env("EMPTY", "").file("empty", "").run()
    };
    assert_command!(run(&[]), @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: no secret: tokens cannot be signed; use --secret-env NAME, --secret-file PATH, or `secret:` in the profile; or give a real token by --token-env NAME, or a `login:`
    "###);
    assert_command!(run(&["--secret-env", "NOT_SET"]), @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: the environment variable `NOT_SET` is not set; set it to the secret the target verifies with
    "###);
    assert_command!(run(&["--secret-env", "EMPTY"]), @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: the environment variable `EMPTY` is empty
    "###);
    assert_command!(run(&["--secret-file", "none"]), @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: cannot read the secret file `none`: No such file or directory (os error 2)
    "###);
    assert_command!(run(&["--secret-file", "empty"]), @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: the secret file `empty` is empty
    "###);
    assert_command!(run(&["--secret-file", "/dev/zero"]), @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: `/dev/zero` is larger than 1048576 bytes and no secret
    "###);
    assert_command!(run(&["--secret", ""]), @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: the secret on the command line is visible to others on this machine; prefer --secret-env or --secret-file
    gatecrash: the secret is empty: anyone could sign with it
    "###);
    assert_command!(Gatecrash::new(&["run", "--profile", "shipvox"]).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: the environment variable `JWT_SECRET_KEY` is not set; set it to the secret the target verifies with
    "###);
}

#[test]
fn two_secrets_are_one_too_many() {
    let ended = Gatecrash::new(&["run", "ws://127.0.0.1:1/ws", "--secret", "abcdefgh", "--secret-env", "NAME"]).run();
    assert_command!(ended, @r###"
    exit 2
    --- stdout
    --- stderr
    error: the argument '--secret <TEXT>' cannot be used with '--secret-env <NAME>'

    Usage: gatecrash run --secret <TEXT> <URL|FILE>...

    For more information, try '--help'.
    "###);
}

#[test]
fn a_target_without_a_url_is_asked_for() {
    assert_command!(Gatecrash::new(&["run", "--secret-env", "JWT"]).env("JWT", SECRET).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: a secret or a carrier is given, but no URL: say which server to judge, as in `gatecrash run ws://HOST/ws?token={token}`
    "###);
    let ended = Gatecrash::new(&["run", "--profile", "mine.yaml"]).file("mine.yaml", "name: mine\n").run();
    assert_command!(ended, @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: no URL: give one on the command line or as `url:` in the profile
    "###);
}

#[test]
fn a_url_that_cannot_be_used_says_why() {
    let mut lines = String::new();
    for url in [
        "127.0.0.1:8000/ws",
        "ftp://h/ws",
        "ws://",
        "ws://h:99999/",
        "ws://[::1/",
        "ws://user:password@h/",
        "ws://h/{token}?token={token}",
        "ws://h/a b",
        "ws://h/ws?token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl",
        "ws://h/\u{1b}[31m",
    ] {
        let ended = Gatecrash::new(&["run", url, "--secret-env", "JWT"]).env("JWT", SECRET).run();
        assert_eq!((ended.code(), ended.stdout().as_str()), (2, ""), "{url}");
        assert_harmless(&ended.stderr());
        lines.push_str(&ended.stderr());
    }
    assert_snapshot!(lines, @r###"
    gatecrash: cannot read `127.0.0.1:8000/ws`: No such file or directory (os error 2); a URL begins with ws:// or wss://, and anything else is a file or a folder of cases (--case chooses among the bundled ones)
    gatecrash: `ftp://h/ws` is no usable URL: the scheme must be ws, wss, http or https
    gatecrash: `ws://` is no usable URL: the host or the port is not understood
    gatecrash: `ws://h:99999/` is no usable URL: the host or the port is not understood
    gatecrash: `ws://[::1/` is no usable URL: the host or the port is not understood
    gatecrash: `ws://[user]@h/` is no usable URL: user and password in a URL are not supported
    gatecrash: `ws://h/{token}?token={token}` is no usable URL: {token} stands in it twice
    gatecrash: `ws://h/a b` is no usable URL: a space or another character that must be percent-encoded stands in it
    gatecrash: `ws://h/ws?token=[token]` is no usable URL: a token stands in it; write {token} in its place, and gatecrash makes the tokens
    gatecrash: `ws://h/\u{1b}[31m` is no usable URL: a space or another character that must be percent-encoded stands in it
    "###);
}

#[test]
fn what_is_about_another_server_is_not_dropped_in_silence() {
    let url = ["ws://127.0.0.1:1/ws", "--secret-env", "JWT"];
    for server in [&url[..], &["--profile", "mine.yaml"], &["--target", "mine.yaml"]] {
        for flag in [
            &["--fault", "accepts-alg-none"][..],
            &["--dialect", "shipvox"],
            &["--refusal", "http"],
            &["--refusal", "close"],
        ] {
            let gatecrash = Gatecrash::new(&[&["run"], server, flag].concat()).env("JWT", SECRET);
            let ended = gatecrash.file("mine.yaml", "url: ws://127.0.0.1:1/ws\nsecret: env:JWT\n").run();
            assert_eq!(ended.code(), 2, "{server:?} {flag:?} {}", ended.all());
            assert!(ended.stderr().contains("are about the bundled server, and another is named"), "{}", ended.all());
        }
    }
    assert_command!(Gatecrash::new(&["run", "--case", "SIG-008", "--dialect", "shipvox", "--ca", "none.pem"]).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: --ca is given, but no URL: say which server to judge, as in `gatecrash run ws://HOST/ws?token={token}`
    "###);
}

#[test]
fn a_carrier_that_does_not_fit_the_url_is_refused() {
    let run = |carrier| {
        let url = "ws://127.0.0.1:1/ws?token={token}";
        Gatecrash::new(&["run", url, "--secret-env", "JWT", "--carrier", carrier]).env("JWT", SECRET).run()
    };
    assert_command!(run("path"), @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: a token is to ride in the path, but {token} does not stand in the path of `ws://127.0.0.1:[PORT]/ws?token={token}`
    "###);
    assert_command!(run("cookie"), @r###"
    exit 2
    --- stdout
    --- stderr
    error: invalid value 'cookie' for '--carrier <PLACE>': write path, query:NAME, header, authorization:SCHEME, header:NAME, cookie:NAME, subprotocol:LIST or first-message:SEND => REPLY, the last two with {token} in it

    For more information, try '--help'.
    "###);
}

#[test]
fn a_profile_that_gives_no_token_is_named_as_the_cause() {
    let server = StandIn::new(|stream, _, head| serve(stream, head));
    for (text, why) in [
        ("algorithm: XS256\n", "no algorithm is called `XS256`"),
        ("claims: { exp: \"${never}\" }\n", "there is no valid token"),
    ] {
        let ended = Gatecrash::against(&server, &["--profile", "mine.yaml"]).file("mine.yaml", text).run();
        assert_eq!(ended.code(), 2, "{}", ended.all());
        assert!(ended.stderr().contains(why), "{}", ended.all());
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn an_unknown_word_on_the_command_line_is_asked_about() {
    assert_command!(Gatecrash::new(&["run", "--dialect", "omni3"]).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    error: invalid value 'omni3' for '--dialect <NAME>': no dialect is called `omni3`; there are personal-assistant, shipvox, simutrador, omni2, strict; did you mean `omni2`?

    For more information, try '--help'.
    "###);
    assert_command!(Gatecrash::new(&["run", "--fault", "accept-alg-none"]).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    error: invalid value 'accept-alg-none' for '--fault <NAME>': no fault is called `accept-alg-none`; did you mean `accepts-alg-none`?

    For more information, try '--help'.
    "###);
    assert_command!(Gatecrash::new(&["serve", "--dialect", "shipvx"]).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    error: invalid value 'shipvx' for '--dialect <NAME>': no dialect is called `shipvx`; there are personal-assistant, shipvox, simutrador, omni2, strict; did you mean `shipvox`?

    For more information, try '--help'.
    "###);
    assert_command!(Gatecrash::new(&["serve", "--fault", "nonsense"]).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    error: invalid value 'nonsense' for '--fault <NAME>': no fault is called `nonsense`

    For more information, try '--help'.
    "###);
    assert_command!(Gatecrash::new(&["run", "--report", "pdf=x"]).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    error: invalid value 'pdf=x' for '--report <FORMAT=PATH>': no report format is called `pdf`; there are json, junit, sarif, markdown

    For more information, try '--help'.
    "###);
    assert_command!(Gatecrash::new(&["run", "--timeout-scale", "nan"]).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    error: invalid value 'nan' for '--timeout-scale <FACTOR>': a number from 0.1 to 100

    For more information, try '--help'.
    "###);
    assert_command!(Gatecrash::new(&["explain", "AUTH-01"]).run(), @r###"
    exit 4
    --- stdout
    --- stderr
    gatecrash: no case is called `AUTH-01`; did you mean AUTH-001?
    "###);
}

// What the suite asks.

/// The codes that a list names, and how many it counts.
fn listed(arguments: &[&str]) -> (Vec<String>, String) {
    let mut all = vec!["list"];
    all.extend(arguments);
    let ended = Gatecrash::new(&all).run();
    assert_eq!(ended.code(), 0, "{}", ended.all());
    let codes = ended.stdout().lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    (codes, ended.stderr())
}

#[test]
fn a_list_is_narrowed_by_each_filter_and_by_all_of_them() {
    let json = |arguments: &[&str]| -> Vec<Value> {
        let mut all = vec!["list", "--format", "json"];
        all.extend(arguments);
        let ended = Gatecrash::new(&all).run();
        assert_eq!(ended.code(), 0, "{}", ended.all());
        serde_json::from_str(&ended.stdout()).unwrap()
    };
    let all = json(&[]);
    let of = |wanted: &dyn Fn(&Value) -> bool| all.iter().filter(|case| wanted(case)).cloned().collect::<Vec<_>>();
    let has = |case: &Value, key: &str, word: &str| case[key].as_array().unwrap().contains(&Value::from(word));
    assert!(all.len() > 300);
    type Filter<'a> = (&'a [&'a str], &'a dyn Fn(&Value) -> bool);
    let filters: [Filter<'_>; 9] = [
        (&["SIG"], &|case| case["family"] == "SIG"),
        (&["sig-008", "AUTH"], &|case| case["code"] == "SIG-008" || case["family"] == "AUTH"),
        (&["--tag", "smoke"], &|case| has(case, "tags", "smoke")),
        (&["--level", "should"], &|case| case["level"] == "should"),
        (&["--level", "should", "--level", "may"], &|case| case["level"] == "should" || case["level"] == "may"),
        (&["--severity", "high"], &|case| case["severity"] == "high" || case["severity"] == "critical"),
        (&["--needs", "roles"], &|case| has(case, "needs", "roles")),
        (&["ROLE", "--level", "must", "--needs", "roles"], &|case| {
            case["family"] == "ROLE" && case["level"] == "must" && has(case, "needs", "roles")
        }),
        (&["AUTH", "--tag", "smoke", "--severity", "critical"], &|case| {
            case["family"] == "AUTH" && has(case, "tags", "smoke") && case["severity"] == "critical"
        }),
    ];
    for (arguments, wanted) in filters {
        let wanted = of(wanted);
        assert!(!wanted.is_empty() && wanted.len() < all.len(), "{arguments:?} must tell cases apart");
        assert_eq!(json(arguments), wanted, "{arguments:?}");
        let (codes, counted) = listed(arguments);
        assert_eq!(codes, wanted.iter().map(|case| case["code"].as_str().unwrap()).collect::<Vec<_>>());
        assert_eq!(counted, format!("gatecrash: {} of {} cases\n", wanted.len(), all.len()));
    }
    let case = all.iter().find(|case| case["code"] == "SIG-008").unwrap();
    assert_eq!(case["weakness"], "accepts-alg-none");
    assert_eq!(case["file"], "cases/signature.yaml");
    assert!(has(case, "source", "RFC 7518 §3.6"), "{case}");
}

#[test]
fn a_list_of_nothing_says_which_word_is_to_blame() {
    assert_command!(Gatecrash::new(&["list", "SIGG"]).run(), @r###"
    exit 4
    --- stdout
    --- stderr
    gatecrash: no case fits: nothing is called `SIGG`; did you mean `SIG`?
    "###);
    assert_command!(Gatecrash::new(&["list", "SIG", "--tag", "smok"]).run(), @r###"
    exit 4
    --- stdout
    --- stderr
    gatecrash: no case fits: no case has the tag `smok`; did you mean `smoke`?
    "###);
    assert_command!(Gatecrash::new(&["list", "RES", "--level", "info"]).run(), @r###"
    exit 4
    --- stdout
    --- stderr
    gatecrash: no case fits
    "###);
    assert_command!(Gatecrash::new(&["list", "--level", "musst"]).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    error: invalid value 'musst' for '--level <LEVEL>': it is one of info, may, should, must; did you mean `must`?

    For more information, try '--help'.
    "###);
}

#[test]
fn a_case_is_explained_by_its_code_its_name_and_its_trial() {
    let by_code = Gatecrash::new(&["explain", "SIG-008"]).run();
    assert_eq!((by_code.code(), by_code.stderr().as_str()), (0, ""));
    let stdout = by_code.stdout();
    let (before, after) = stdout.split_once("signature.yaml:").unwrap();
    let after = after.trim_start_matches(|character: char| character.is_ascii_digit());
    insta::assert_snapshot!("explain", format!("{before}signature.yaml:[LINE]{after}"));
    for word in ["sig-008", "alg-none", "SIG-008@query"] {
        assert_eq!(Gatecrash::new(&["explain", word]).run().stdout(), by_code.stdout(), "{word}");
    }
}

#[test]
fn the_command_at_the_end_of_an_explanation_shows_the_failure() {
    for code in ["SIG-008", "AUTH-009", "REJ-003", "REJ-010", "HTTP-007"] {
        let explained = Gatecrash::new(&["explain", code]).run().stdout();
        let last = explained.lines().last().unwrap().trim();
        let words: Vec<&str> = last.strip_prefix("gatecrash ").unwrap().split(' ').collect();
        let ended = Gatecrash::new(&words).run();
        let found = ended.stdout().lines().any(|line| {
            let mut words = line.split_whitespace();
            matches!(words.next(), Some("FAIL" | "WARN")) && words.next() == Some(code)
        });
        assert!(found, "{last}\n{}", ended.all());
    }
}

// Nothing selected.

#[test]
fn a_selection_of_nothing_has_an_exit_code_and_a_hint() {
    assert_command!(Gatecrash::new(&["run", "--case", "NOPE", "--report", "json=r.json"]).run(), @r###"
    exit 4
    --- stdout
    --- stderr
    gatecrash: no case is selected by `NOPE`; families are [FAMILIES], and `gatecrash list` shows every case
    "###);
    assert_command!(Gatecrash::new(&["run", "--case", "AUTH-01"]).run(), @r###"
    exit 4
    --- stdout
    --- stderr
    gatecrash: no case is selected by `AUTH-01`; did you mean `AUTH-001`?
    "###);
    assert_command!(Gatecrash::new(&["run", "--case", "atuh"]).run(), @r###"
    exit 4
    --- stdout
    --- stderr
    gatecrash: no case is selected by `atuh`; did you mean `AUTH`?
    "###);
    let server = StandIn::new(|stream, _, head| serve(stream, head));
    let ended = Gatecrash::against(&server, &["--case", "NOPE", "--report", "json=r.json"]).run();
    assert_eq!((ended.code(), server.connections()), (4, 0), "{}", ended.all());
    assert_eq!(ended.json("r.json")["summary"]["total"], 0);
}

#[test]
fn a_word_that_selects_nothing_is_not_lost_among_the_others() {
    let run = |words: &[&str]| {
        let mut all = vec!["run", "--dialect", "shipvox", "--report", "json=r.json"];
        all.extend(words);
        Gatecrash::new(&all).run()
    };
    // What names nothing, for whatever server, is bad usage: a guard is not taken away by a slip of the hand.
    for (words, told) in [
        (&["--case", "SGI-008", "--case", "SIG-001"][..], "no case is selected by `SGI-008`; did you mean `SIG-008`?"),
        (
            &["--case", "SIG-001", "--case", "SIG-008@qurey"],
            "no case is selected by `SIG-008@qurey`: no token rides in `qurey`; did you mean `query`?",
        ),
        (
            &["--case", "SIG-001", "--case", "SIG-008@query-x"],
            "no case is selected by `SIG-008@query-x`: no token rides in `query-x`",
        ),
        (
            &["--case", "SIG-001", "--case", "alg-none@query"],
            "no case is selected by `alg-none@query`: before the `@` stands a code, such as SIG-008@query",
        ),
        (&["--tag", "smoke", "--tag", "smok"], "no case has the tag `smok`; did you mean `smoke`?"),
    ] {
        let ended = run(words);
        assert_eq!((ended.code(), ended.stdout().as_str()), (2, ""), "{words:?} {}", ended.all());
        assert!(ended.stderr().contains(told), "{words:?} {}", ended.all());
        assert!(!ended.folder.join("r.json").exists(), "no report is written for bad usage");
    }
    // What this server has no trial of is told, and the others are played.
    for word in ["SIG-008@cookie", "SIG-008@query-2", "REJ-009@query"] {
        let ended = run(&["--case", "SIG-001", "--case", word]);
        assert_eq!(ended.code(), 0, "{}", ended.all());
        let told = format!("gatecrash: `{word}` selects no trial of this target\n");
        assert_eq!(ended.stderr(), told, "{}", ended.all());
    }
    for word in ["sig-008@QUERY", "alg-none", "smoke", "sig"] {
        let ended = run(&["--case", "SIG-001", "--case", word]);
        assert_eq!((ended.code(), ended.stderr().as_str()), (0, ""), "{}", ended.all());
    }
    // That one of several servers has it is enough, and a share may lack what another has.
    let ended = Gatecrash::new(&["run", "--case", "SIG-008@path"]).run();
    assert_eq!((ended.code(), ended.stderr().as_str()), (0, ""), "{}", ended.all());
    for share in ["hash:1/2", "hash:2/2"] {
        let ended = run(&["--case", "AUTH-001", "--case", "SIG-008", "--case", "SIG-001", "--partition", share]);
        assert!(!ended.stderr().contains("selects no trial"), "{}", ended.all());
    }
}

#[test]
fn failures_that_do_not_count_are_said_not_to() {
    let run = |arguments: &[&str]| {
        let mut all = vec!["run", "--dialect", "omni2", "--fault", "welcome-only-once", "--case", "MSG-002"];
        all.extend(arguments);
        Gatecrash::new(&all).run()
    };
    let spared = run(&[]);
    assert_eq!(spared.code(), 0, "{}", spared.all());
    let last = "1 fail, below medium: the exit code is 0 (--fail-on medium)\n";
    assert!(spared.stdout().ends_with(last), "{}", spared.all());
    for counted in
        [run(&["--fail-on", "low"]), Gatecrash::new(&["run", "--dialect", "omni2", "--case", "MSG-002"]).run()]
    {
        assert!(!counted.stdout().contains("the exit code is 0"), "{}", counted.all());
    }
}

#[test]
fn a_must_that_only_warns_says_why() {
    let server = StandIn::new(|stream, _, head| serve_short(stream, head, 1_000));
    let ended = Gatecrash::against(&server, &["--case", "MSG-009"]).run();
    let stdout = ended.stdout();
    assert!(stdout.contains("WARN  MSG-009 length-boundaries @query  MUST, here a SHOULD · "), "{}", ended.all());
    let why = "a warning at most, because the profile promises no `echo`, and no `max_message_bytes` (the longest of these has 65536)";
    assert!(stdout.contains(why), "{}", ended.all());
    let promised = "extends: express-ws\nmax_message_bytes: 100000\necho: { send: \"{message}\", reply: { text: \"{message}\" } }\n";
    let ended =
        Gatecrash::against(&server, &["--case", "MSG-009", "--profile", "p.yaml"]).file("p.yaml", promised).run();
    assert!(ended.stdout().contains("FAIL  MSG-009 length-boundaries @query  MUST · "), "{}", ended.all());
    assert!(!ended.stdout().contains("a warning at most"), "{}", ended.all());
}

#[test]
fn a_token_in_a_first_message_is_asked_for_by_its_form() {
    let form = "'first-message:SEND => REPLY' with {token} in SEND";
    for carrier in ["first-message:{\"token\":\"{token}\"}", "first-message:AUTH {token}=>+OK", "first-message:AUTH"] {
        let run = Gatecrash::new(&["run", "ws://127.0.0.1:9/ws", "--secret-env", "JWT_SECRET", "--carrier", carrier]);
        let ended = run.env("JWT_SECRET", SECRET).run();
        assert_eq!(ended.code(), 2, "{carrier}: {}", ended.all());
        assert!(ended.stderr().contains(form), "{carrier}: {}", ended.all());
    }
}

#[test]
fn a_wrong_carrier_is_not_told_as_a_wrong_key() {
    let server = StandIn::new(|stream, _, head| match is_unsigned(head) {
        true => answer(stream, "401 Unauthorized"),
        false => serve(stream, head),
    });
    let url = format!("ws://{}/ws", server.address);
    let arguments =
        ["run", url.as_str(), "--secret-env", "JWT_SECRET", "--carrier", "cookie:mine", "--case", "AUTH-001"];
    let found = "the server reads the token from the query parameter `token`";
    let ended =
        Gatecrash::new(&[&arguments[..], &["--report", "json=r.json"]].concat()).env("JWT_SECRET", SECRET).run();
    assert_eq!(ended.code(), 3, "{}", ended.all());
    assert!(ended.stdout().contains("found ") && ended.stdout().contains(found), "{}", ended.all());
    assert!(!ended.stdout().contains("read the key"), "{}", ended.all());
    let mend = ended.json("r.json")["runs"][0]["cases"][0]["mend"].as_str().unwrap_or_default().to_owned();
    assert!(mend.contains(found), "{mend}");
}

#[test]
fn a_run_is_narrowed_by_the_flags_of_a_list() {
    let server = StandIn::new(|stream, _, head| serve(stream, head));
    let run = |arguments: &[&str]| {
        let mut all = vec!["--report", "json=r.json"];
        all.extend(arguments);
        let ended = Gatecrash::against(&server, &all).run();
        let run = ended.json("r.json")["runs"][0].clone();
        assert!(run["controls"].as_u64().unwrap() >= 2, "controls always run: {}", ended.all());
        run["cases"].as_array().unwrap().clone()
    };
    let grave = |trial: &Value| trial["severity"] == "high" || trial["severity"] == "critical";
    let trials = run(&["--case", "AUTH", "--level", "must", "--level", "should", "--severity", "high"]);
    assert!(
        trials.len() > 5
            && trials.iter().all(|trial| grave(trial) && trial["code"].as_str().unwrap().starts_with("AUTH"))
    );
    let whole = run(&["--case", "AUTH"]);
    assert!(whole.iter().any(|trial| !grave(trial)), "the severity tells them apart");
    // What a list shows is what a run plays.
    let (codes, _) = listed(&["--tag", "smoke", "--severity", "critical"]);
    let mut played: Vec<String> = run(&["--tag", "smoke", "--severity", "critical"])
        .iter()
        .map(|trial| trial["code"].as_str().unwrap().to_owned())
        .collect();
    played.dedup();
    assert_eq!(played, codes);
}

#[test]
fn a_run_that_is_narrowed_to_nothing_says_why() {
    assert_command!(Gatecrash::new(&["run", "--tag", "smok"]).run(), @r###"
    exit 4
    --- stdout
    --- stderr
    gatecrash: no case has the tag `smok`; did you mean `smoke`?
    "###);
    assert_command!(Gatecrash::new(&["run", "--severity", "hihg", "--level", "must"]).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    error: invalid value 'hihg' for '--severity <SEVERITY>': it is one of info, low, medium, high, critical; did you mean `high`?

    For more information, try '--help'.
    "###);
    assert_command!(Gatecrash::new(&["run", "--fail-on", "hihg"]).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    error: invalid value 'hihg' for '--fail-on <SEVERITY>': it is one of info, low, medium, high, critical; did you mean `high`?

    For more information, try '--help'.
    "###);
    assert_command!(Gatecrash::new(&["run", "--tag", "smoke", "--level", "info", "--dialect", "strict"]).run(), @r###"
    exit 4
    --- stdout
    --- stderr
    gatecrash: nothing is selected by --tag smoke and --level info for this target
    "###);
}

#[test]
fn a_selection_of_cases_that_do_not_apply_says_why() {
    let server = StandIn::new(|stream, _, head| serve(stream, head));
    // The cases about roles need declared ones, and this target declares nothing.
    let ended = Gatecrash::against(&server, &["--case", "ROLE-001", "--report", "json=r.json"]).run();
    assert_eq!(ended.code(), 4, "{}", ended.all());
    assert!(
        ended.stderr().contains("every selected case is not applicable to this target:\n  ROLE-"),
        "{}",
        ended.all()
    );
    assert!(ended.stderr().contains("which the profile does not declare"), "{}", ended.all());
    let summary = &ended.json("r.json")["summary"];
    assert_eq!(summary["total"], summary["not_applicable"]);
}

/// What looks at the profile only may pass without a server; an attempt (`SIG-008@query`) may not.
fn assert_no_traffic_passed(run: &Value) {
    for case in run["cases"].as_array().unwrap() {
        let tried = case["id"].as_str().unwrap().contains('@');
        assert!(!tried || case["verdict"] != "pass", "{case}");
    }
}

// Bad servers: the run ends, says what it saw, and writes its report.

#[test]
fn a_server_that_cannot_be_reached_is_told_from_one_that_refuses() {
    let nobody = format!("ws://{}/ws", StandIn::nobody());
    // RFC 6761 §6.4: no name under `invalid` exists.
    for url in [nobody.as_str(), "ws://no-such-host.invalid/ws"] {
        let ended =
            Gatecrash::new(&["run", url, "--secret-env", "JWT", "--report", "json=r.json"]).env("JWT", SECRET).run();
        assert_eq!(ended.code(), 3, "{}", ended.all());
        assert!(ended.stdout().contains("cannot be reached: "), "{}", ended.all());
        let run = &ended.json("r.json")["runs"][0];
        assert_eq!(run["failure"]["kind"], "unreachable");
        assert_ne!(run["failure"]["detail"], "");
        assert_no_traffic_passed(run);
    }
}

#[test]
fn a_server_that_is_hostile_to_everyone_ends_the_run_with_its_reason() {
    for (name, _) in HOSTILE.iter().filter(|(name, _)| !name.starts_with("streams")) {
        let ended = Gatecrash::against(&hostile_to_all(name), &["--verbose", "--report", "json=r.json"]).run();
        assert_eq!(ended.code(), 3, "{name}: {}", ended.all());
        assert!(ended.stdout().contains("the valid token was not admitted"), "{name}: {}", ended.all());
        let run = &ended.json("r.json")["runs"][0];
        assert_eq!(run["failure"]["kind"], "first-control", "{name}");
        assert_no_traffic_passed(run);
        for text in [ended.stdout(), ended.stderr(), ended.text("r.json")] {
            assert_harmless(&text);
            assert!(text.len() < 1_000_000, "{name}: {} bytes", text.len());
        }
    }
}

#[test]
fn a_secret_in_another_spelling_is_found_and_not_told() {
    // The same bytes in base64 and as they are.
    let (encoded, secret) =
        ("a1g5LXJlY29nbmlzYWJsZS1ieXRlcy1vZi1hLXNlY3JldC0/Pg==", "kX9-recognisable-bytes-of-a-secret-?>");
    // Nobody reads its log, and a pipe that is full would stop it.
    let server = Gatecrash::new(&["serve", "--dialect", "shipvox", "--port", "0"]);
    let mut server = server.env("JWT_SECRET_KEY", secret).env("GATECRASH_LOG", "warn");
    let mut child = server.command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().trim_start_matches("listening on ").to_owned();
    let arguments = ["run", &url, "--secret-env", "JWT_SECRET", "--report", "json=r.json"];
    let ended = Gatecrash::new(&arguments).env("JWT_SECRET", encoded).run();
    assert_eq!(ended.code(), 3, "{}", ended.all());
    let found = "the server takes the secret as base64: write `secret: base64:env:JWT_SECRET`";
    assert!(ended.stdout().contains(&format!("  found     {found}\n")), "{}", ended.all());
    let failure = &ended.json("r.json")["runs"][0]["failure"];
    assert_eq!(
        (&failure["kind"], &failure["cause"], &failure["advice"]),
        (&"first-control".into(), &"profile".into(), &found.into())
    );
    for text in [ended.stdout(), ended.stderr(), ended.text("r.json")] {
        assert!(!text.contains(encoded) && !text.contains(secret), "{text}");
    }
    // What it says is what helps.
    let mut given = arguments.to_vec();
    given.splice(2..4, ["--secret", "base64:env:JWT_SECRET"]);
    let ended = Gatecrash::new(&given).env("JWT_SECRET", encoded).run();
    signal(&child, "TERM");
    wait(child);
    assert_ne!(ended.code(), 3, "{}", ended.all());
}

#[test]
fn a_server_that_admits_everyone_fails_the_run() {
    let server = StandIn::new(|stream, _, head| serve(stream, head));
    let ended = Gatecrash::against(&server, &["--case", "AUTH", "--report", "json=r.json"]).run();
    assert_eq!(ended.code(), 1, "{}", ended.all());
    let report = ended.json("r.json");
    assert!(report["summary"]["fail"].as_u64().unwrap() > 0);
    let failed = report["runs"][0]["cases"].as_array().unwrap().iter().find(|case| case["verdict"] == "fail").unwrap();
    // The command that repeats it is a command.
    let again =
        ended.stdout().lines().find_map(|line| line.trim().strip_prefix("again     gatecrash ")).unwrap().to_owned();
    assert!(again.contains(failed["id"].as_str().unwrap()), "{again}");
    let words: Vec<&str> = again.split(' ').map(|word| word.trim_matches('\'')).collect();
    let repeated = Gatecrash::new(&words).env("JWT_SECRET", SECRET).run();
    assert_eq!(repeated.code(), 1, "{again}\n{}", repeated.all());
}

#[test]
fn a_server_that_dies_in_the_middle_leaves_the_rest_open() {
    let server =
        StandIn::until(
            30,
            |stream, _, head| if is_unsigned(head) { answer(stream, "401 Unauthorized") } else { serve(stream, head) },
        );
    let ended = Gatecrash::against(
        &server,
        &["--jobs", "1", "--case", "SIG", "--case", "CAR", "--case", "ENC", "--case", "CLM", "--report", "json=r.json"],
    )
    .run();
    let report = ended.json("r.json");
    assert_eq!(report["runs"][0]["failure"]["kind"], "control-lost", "{}", ended.all());
    assert!(ended.stdout().contains("the valid token is no longer admitted"), "{}", ended.all());
    // What failed before it died has failed; else the rest stands in the way.
    let expected = if report["summary"]["fail"] == 0 { 5 } else { 1 };
    assert_eq!(ended.code(), expected, "{}", ended.all());
    assert!(report["summary"]["inconclusive"].as_u64().unwrap() > 0);
}

#[test]
fn an_interrupt_tells_what_is_known() {
    // The valid token is served; whoever shows none or a bad one waits for ever.
    let server = StandIn::new(|stream, _, head| if is_unsigned(head) { swallow(stream) } else { serve(stream, head) });
    interrupt(&server, 4, "INT");
    // A server that does not even answer the first control.
    let server = hostile_to_all("hangs after accept");
    interrupt(&server, 1, "INT");
    // A supervisor that ends the job gets the reports too.
    interrupt(&server, 2, "TERM");
}

/// Interrupts a run after so many connections, by this signal.
fn interrupt(server: &StandIn, connections: usize, name: &str) {
    let url = server.url();
    let arguments = ["run", &url, "--profile", "mine.yaml", "--timeout-scale", "100", "--report", "json=r.json"];
    // With a declared echo nothing is waited for but what hangs.
    let profile = "secret: env:JWT\necho: { send: \"{message}\", reply: { text: \"{message}\" } }\n";
    let mut gatecrash = Gatecrash::new(&arguments).env("JWT", SECRET).file("mine.yaml", profile);
    let child = gatecrash.command.spawn().unwrap();
    server.wait_for(connections);
    signal(&child, name);
    let ended = Ended { output: wait(child), folder: gatecrash.folder };
    assert_eq!(ended.code(), 130, "{}", ended.all());
    assert!(ended.stdout().starts_with("interrupted; what was known by then follows"), "{}", ended.all());
    let report = ended.json("r.json");
    assert_eq!(report["runs"][0]["failure"]["kind"], "interrupted");
    assert!(report["summary"]["inconclusive"].as_u64().unwrap() > 0, "{}", ended.all());
}

// Reports.

#[test]
fn a_report_that_cannot_be_written_is_found_out_before_the_run() {
    let server = StandIn::new(|stream, _, head| serve(stream, head));
    for (path, why) in [("none/r.json", "No such file or directory"), (".", "Is a directory")] {
        let ended = Gatecrash::against(&server, &["--report", &format!("json={path}")]).run();
        assert_eq!(ended.code(), 2, "{}", ended.all());
        assert!(ended.stderr().contains(&format!("cannot write the report `{path}`: {why}")), "{}", ended.all());
    }
    assert_eq!(server.connections(), 0, "the run would be lost");
}

#[cfg(target_os = "linux")]
#[test]
fn a_report_that_does_not_fit_on_the_disk_is_kept_elsewhere() {
    let ended = Gatecrash::new(&["run", "--dialect", "omni2", "--case", "AUTH-001", "--report", "json=/dev/full"]);
    let folder = ended.folder.clone();
    let ended = ended.env("TMPDIR", &folder.to_string_lossy()).run();
    assert_command!(ended, @r###"
    exit 2
    --- stdout
    omni2: [COUNTS]([TIME])
    --- stderr
    gatecrash: cannot write the report `/dev/full`: [FULL]; it is in `[KEPT]` instead
    "###);
    let kept = fs::read_dir(&ended.folder).unwrap().map(|entry| entry.unwrap().path());
    let kept = kept.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "json")).unwrap();
    let report: Value = serde_json::from_str(&fs::read_to_string(kept).unwrap()).unwrap();
    assert_eq!(report["summary"]["pass"], 1);

    // A failed run stays a failed run, and with no place left the report goes to stdout.
    let server = StandIn::new(|stream, _, head| serve(stream, head));
    let ended =
        Gatecrash::against(&server, &["--case", "AUTH", "--report", "json=/dev/full"]).env("TMPDIR", "/none").run();
    assert_eq!(ended.code(), 1, "{}", ended.all());
    assert!(ended.stdout().contains("\"gatecrash_result\": 1"), "{}", ended.all());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_stdout_or_stderr_is_no_panic() {
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let mut gatecrash = Gatecrash::new(&["run", "--dialect", "omni2", "--case", "AUTH-001"]);
    gatecrash.command.stdout(full());
    let ended = gatecrash.run();
    assert_command!(ended, @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: cannot write to stdout: [FULL]
    "###);
    let mut gatecrash = Gatecrash::new(&["run", "--case", "NOPE"]);
    gatecrash.command.stderr(full());
    assert_eq!(gatecrash.run().code(), 4);
}

/// Makes a pipe of this name in the folder of a command.
fn pipe(gatecrash: &Gatecrash, name: &str) -> PathBuf {
    let path = gatecrash.folder.join(name);
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    path
}

#[test]
fn a_report_goes_into_a_pipe() {
    let gatecrash = Gatecrash::new(&["run", "--dialect", "omni2", "--case", "AUTH-001", "--report", "json=pipe"]);
    let path = pipe(&gatecrash, "pipe");
    let reader = thread::spawn(move || fs::read_to_string(path).unwrap());
    let ended = gatecrash.run();
    assert_eq!(ended.code(), 0, "{}", ended.all());
    let report: Value = serde_json::from_str(&reader.join().unwrap()).expect("a whole report");
    assert_eq!(report["summary"]["pass"], 1);
}

#[test]
fn an_interrupt_ends_a_run_that_waits_for_the_reader_of_a_report() {
    for name in ["INT", "TERM"] {
        let mut gatecrash =
            Gatecrash::new(&["run", "--dialect", "omni2", "--case", "AUTH-001", "--report", "json=pipe"]);
        pipe(&gatecrash, "pipe");
        let mut child = gatecrash.command.spawn().unwrap();
        // Whoever has told the result writes the reports next. That it comes is watched, as the end is.
        let stdout = child.stdout.take().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = tell.send(line);
        });
        let line = told.recv_timeout(WATCHDOG).unwrap_or_default();
        signal(&child, if line.is_empty() { "KILL" } else { name });
        let output = wait(child);
        assert!(line.starts_with("omni2: "), "{line}{output:?}");
        assert_eq!(output.status.code(), Some(130), "{output:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_does_not_fit_on_the_disk_is_no_success() {
    let to = |words: &[&str], stdout: Stdio| {
        let mut gatecrash = Gatecrash::new(words).file("a.yaml", "leeway: 5\n");
        gatecrash.command.stdin(fs::File::open(gatecrash.folder.join("a.yaml")).unwrap()).stdout(stdout);
        gatecrash.run()
    };
    for words in [&["schema", "profile"][..], &["list"], &["explain", "SIG-008"], &["fmt", "-"], &["check", "a.yaml"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = to(words, full.into());
        assert_eq!(ended.code(), 2, "{words:?} {}", ended.all());
        assert!(ended.stderr().contains("cannot write to stdout: No space left"), "{words:?} {}", ended.all());
        // Who reads no further has read enough.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = to(words, writer.into());
        assert_eq!(ended.code(), 0, "{words:?} {}", ended.all());
        assert!(!ended.stderr().contains("stdout"), "{words:?} {}", ended.all());
    }
    // What has failed stays so.
    let mut gatecrash = Gatecrash::new(&["fmt", "--check", "a.yaml"]).file("a.yaml", "a:   1\n");
    gatecrash.command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    assert_eq!(gatecrash.run().code(), 1);
}

#[test]
fn an_old_report_survives_until_the_new_one_is_whole() {
    let server = hostile_to_all("answers 401");
    let ended = Gatecrash::against(&server, &["--report", "json=r.json"]).file("r.json", "old").run();
    assert_eq!(ended.json("r.json")["gatecrash_result"], 1);
    let files: Vec<_> = fs::read_dir(&ended.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["r.json"], "nothing is left behind");
}

#[test]
fn the_json_report_says_what_the_terminal_says() {
    let server = StandIn::new(
        |stream, _, head| if is_unsigned(head) { answer(stream, "401 Unauthorized") } else { serve(stream, head) },
    );
    let ended = Gatecrash::against(&server, &["--report", "json=r.json"]).run();
    let report = ended.json("r.json");
    let cases = report["runs"][0]["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        for member in ["id", "code", "name", "title", "verdict", "level", "severity", "basis", "expected", "observed"] {
            assert!(case[member].is_string(), "{member} of {case}");
        }
        assert!(case["source"].is_array() && case["checks"].is_array() && case["duration_ms"].is_number(), "{case}");
        assert!(case.get("weakness").is_some_and(|weakness| weakness.is_string() || weakness.is_null()), "{case}");
    }
    let line = ended.stdout().lines().last().unwrap().to_owned();
    for (member, word) in [
        ("pass", "pass"),
        ("info", "info"),
        ("warn", "warn"),
        ("fail", "fail"),
        ("inconclusive", "inconclusive"),
        ("not_applicable", "not applicable"),
        ("error", "error"),
    ] {
        let counted = cases.iter().filter(|case| case["verdict"] == member.replace('_', "-")).count() as u64;
        assert_eq!(report["summary"][member], counted, "{member}");
        assert_eq!(report["runs"][0]["summary"][member], counted, "{member}");
        let said = line.split(", ").find_map(|part| part.split(" (").next()?.strip_suffix(word)?.trim().parse().ok());
        assert_eq!(said.unwrap_or(0), counted, "{member} in {line}");
    }
    assert!(line.contains(&format!(" {} trials", cases.len())), "{line}");
}

#[test]
fn one_report_that_cannot_be_written_loses_none_of_the_others() {
    let arguments = ["run", "--dialect", "omni2", "--case", "AUTH-001", "--report", "junit=/dev/full"];
    let arguments = [&arguments[..], &EVERY_REPORT].concat();
    let ended = Gatecrash::new(&arguments);
    let folder = ended.folder.clone();
    let ended = ended.env("TMPDIR", &folder.to_string_lossy()).run();
    assert_eq!(ended.code(), 2, "{}", ended.all());
    assert!(ended.stderr().contains("cannot write the report `/dev/full`"), "{}", ended.all());
    let names = fs::read_dir(&ended.folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let kept = names.into_iter().find(|name| name.starts_with("gatecrash-report-")).expect("what could not be written");
    // One of the others is the same report, but for the times.
    let untimed =
        |text: String| text.lines().filter(|line| !line.contains("time=")).map(str::to_owned).collect::<Vec<_>>();
    assert!(kept.ends_with(".xml"), "{kept}");
    assert_eq!(untimed(ended.text(&kept)), untimed(ended.text("r.xml")));
    assert_eq!(ended.json("r.json")["summary"]["pass"], 1);
    assert_eq!(ended.json("r.sarif")["version"], "2.1.0");
    assert!(ended.text("r.md").starts_with("## gatecrash: 1 of 1 trials passed"), "{}", ended.text("r.md"));

    let twice = ["run", "--dialect", "omni2", "--report", "json=r.json", "--report", "sarif=r.json"];
    assert_command!(Gatecrash::new(&twice).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: two reports would be written to `r.json`
    "###);
}

#[test]
fn nothing_is_written_twice_into_one_file() {
    let with_files = |words: &[&str]| {
        let gatecrash = Gatecrash::new(words);
        fs::create_dir(gatecrash.folder.join("sub")).unwrap();
        std::os::unix::fs::symlink("r.json", gatecrash.folder.join("link")).unwrap();
        gatecrash.file("r.json", "old").run()
    };
    let absolute = |name: &str| format!("{name}/../r.json");
    for second in ["./r.json", &absolute("sub"), "link"] {
        let second = format!("junit={second}");
        let ended = with_files(&[
            "run",
            "--dialect",
            "omni2",
            "--case",
            "AUTH-001",
            "--report",
            "json=r.json",
            "--report",
            &second,
        ]);
        assert_eq!((ended.code(), ended.text("r.json").as_str()), (2, "old"), "{second} {}", ended.all());
        assert!(ended.stderr().contains("two reports would be written to `"), "{second} {}", ended.all());
    }
    // Also where none of them is there yet.
    let words = ["run", "--dialect", "omni2", "--report", "json=new.json", "--report", "sarif=sub/../new.json"];
    let ended = with_files(&words);
    assert_eq!(ended.code(), 2, "{}", ended.all());
    let url = "ws://127.0.0.1:1/ws";
    let words = ["run", url, "--secret-env", "S", "--start", "exit 1", "--start-log", "./l", "--report", "json=l"];
    let ended = Gatecrash::new(&words).env("S", SECRET).run();
    assert!(ended.code() == 2 && !ended.folder.join("l").exists(), "{}", ended.all());
    assert!(ended.stderr().contains("the log and a report would be written to `l`"), "{}", ended.all());

    for (out, ci) in [("a.yaml", "a.yaml"), ("a.yaml", "./a.yaml"), ("new/a.yaml", "new/../new/a.yaml")] {
        let ended = with_files(&["init", url, "--secret-env", "S", "--out", out, "--ci", ci]);
        assert_eq!((ended.code(), ended.stdout().as_str()), (2, ""), "{out} {ci} {}", ended.all());
        let told = format!("the profile and the job would both be written to `{out}`");
        assert!(ended.stderr().contains(&told), "{}", ended.all());
        assert!(!ended.folder.join(out).exists(), "half of it is worse than nothing");
    }
}

#[test]
fn a_run_of_github_is_annotated_and_summed_up() {
    let server = StandIn::new(|stream, _, head| serve(stream, head));
    let run = |name: &str, value: &str| {
        let gatecrash = Gatecrash::against(&server, &["--case", "AUTH-006"]).file("summary.md", "before\n");
        gatecrash.env("GITHUB_STEP_SUMMARY", "summary.md").env(name, value).run()
    };
    let ended = run("GITHUB_ACTIONS", "true");
    assert_eq!(ended.code(), 1, "{}", ended.all());
    let stdout = ended.stdout();
    let annotation = stdout.lines().last().unwrap();
    assert!(annotation.starts_with("::error title=AUTH-006@query garbage-token at "), "{stdout}");
    let summary = ended.text("summary.md");
    assert!(summary.starts_with("before\n## gatecrash: 1 fail of 1 trials\n"), "{summary}");
    // Elsewhere nothing of it is seen, and a summary that cannot be written changes no exit code.
    let ended = run("GITHUB_ACTIONS", "false");
    assert!(!ended.stdout().contains("::error"), "{}", ended.all());
    let ended = run("GITHUB_STEP_SUMMARY", "none/summary.md");
    assert_eq!(ended.code(), 1, "{}", ended.all());
    assert!(ended.stderr().contains("cannot write the summary of this step to `none/summary.md`"), "{}", ended.all());
}

// How a run goes.

#[test]
fn a_run_stops_at_as_many_failures_as_it_was_told() {
    let [open, _] = open_and_shut();
    let run = |more: &[&str]| {
        let arguments =
            [&["--case", "AUTH", "--case", "SIG", "--jobs", "1", "--report", "json=r.json"][..], more].concat();
        Gatecrash::against(&open, &arguments).file("gaps.yaml", GAPS).run()
    };
    // What is known to fail ends nothing.
    const GAPS: &str = "known_gaps: [{ case: AUTH-004, reason: known }, { case: AUTH-005, reason: known }]\n";
    let whole = run(&[]).json("r.json")["summary"].clone();
    let failing = whole["fail"].as_u64().unwrap();
    assert!(failing > 5, "{whole}");
    for (arguments, failures) in [
        (&["--fail-fast"][..], 1),
        (&["--max-failures", "3"], 3),
        (&["--fail-fast", "--profile", "gaps.yaml"], 1),
        (&["--max-failures", "1000"], failing),
    ] {
        let ended = run(arguments);
        assert_eq!(ended.code(), 1, "{}", ended.all());
        let report = ended.json("r.json");
        assert_eq!(report["summary"]["fail"], failures, "{arguments:?}: {}", ended.all());
        assert_eq!(report["summary"]["inconclusive"], 0, "what was not played is left out: {}", ended.all());
        let stopped = failures < failing;
        assert_eq!(report["runs"][0]["failure"]["kind"] == "stopped", stopped, "{arguments:?}");
        assert_eq!(report["summary"]["total"] != whole["total"], stopped, "{arguments:?}");
        let said = format!("the run was to stop at the first failures: {failures} failed");
        assert_eq!(ended.stdout().starts_with(&said), stopped, "{}", ended.all());
    }
    // A failure that does not count ends nothing either.
    let ended =
        Gatecrash::against(&open, &["--case", "ENC-004", "--case", "ENC-027", "--fail-fast", "--fail-on", "high"])
            .run();
    assert_eq!(ended.code(), 0, "{}", ended.all());
    assert!(ended.stdout().contains("2 trials, 2 fail"), "{}", ended.all());
}

#[test]
fn what_passes_only_when_it_is_played_again_is_flaky() {
    let run = |case: &str, wrong: usize, more: &[&str]| {
        // It admits the first forged tokens, so many of them, and refuses the others.
        let seen = AtomicUsize::new(0);
        let server = StandIn::new(move |stream, _, head| {
            if is_unsigned(head) && seen.fetch_add(1, Ordering::SeqCst) >= wrong {
                answer(stream, "401 Unauthorized")
            } else {
                serve(stream, head)
            }
        });
        Gatecrash::against(&server, &[&["--case", case, "--report", "json=r.json"][..], more].concat()).run()
    };
    // Of medium severity, and of critical: a gate that lets somebody in now and then does not hold.
    for (case, more, code) in [
        ("ENC-004", &["--retries", "1"][..], 0),
        ("ENC-004", &["--retries", "2", "--strict"], 1),
        ("AUTH-006", &["--retries", "2"], 1),
    ] {
        let ended = run(case, 1, more);
        assert_eq!(ended.code(), code, "{}", ended.all());
        let report = ended.json("r.json");
        let summary = &report["summary"];
        assert_eq!((&summary["flaky"], &summary["pass"], &summary["fail"]), (&1.into(), &0.into(), &0.into()));
        let observed = report["runs"][0]["cases"][0]["observed"].as_str().unwrap().to_owned();
        assert!(observed.starts_with("fail at first: admitted"), "{observed}");
        assert!(observed.contains("pass when played again: refused (HTTP 401)"), "{observed}");
        assert!(ended.stdout().starts_with("FLAKY  "), "{}", ended.all());
    }
    // What fails each time has failed, and without a retry nothing is flaky.
    for (wrong, more) in [(1_000, &["--retries", "2"][..]), (1, &[])] {
        let ended = run("ENC-004", wrong, more);
        assert_eq!((ended.code(), &ended.json("r.json")["summary"]["fail"]), (1, &1.into()), "{}", ended.all());
    }
    let both = Gatecrash::new(&["run", "--retries", "1", "--fail-fast"]).run();
    assert_eq!(both.code(), 2, "{}", both.all());
}

#[test]
fn a_rate_is_kept() {
    let [_, shut] = open_and_shut();
    let begun = Instant::now();
    let ended = Gatecrash::against(&shut, &["--case", "AUTH-006", "--case", "AUTH-003", "--rate", "2"]).run();
    assert_eq!(ended.code(), 0, "{}", ended.all());
    // The least it can take, on whatever machine: two sessions are not closer to each other than half a second. Those of
    // AUTH-006 are three, that of AUTH-003 is one, and at least a control before and one after make six.
    assert!(begun.elapsed() >= Duration::from_millis(500) * 5, "{:?}", begun.elapsed());
    for bad in ["0", "-1", "nan", "fast"] {
        assert_eq!(Gatecrash::new(&["run", "--rate", bad]).run().code(), 2, "{bad}");
    }
}

#[test]
fn a_transcript_shows_what_went_over_the_wire() {
    let [open, _] = open_and_shut();
    let lines = |which: &str| {
        let arguments = ["--case", "ENC-004", "--case", "AUTH-003", "--transcript", which, "--report", "junit=r.xml"];
        let ended = Gatecrash::against(&open, &arguments).run();
        let shown = |id: &str| {
            let stdout = ended.stdout();
            let at = stdout.find(id).unwrap_or(stdout.len());
            stdout[at..].lines().skip(1).any(|line| line.starts_with("      | > ") && line.contains("GET /ws"))
        };
        (
            shown("ENC-004"),
            ended.stdout().contains("pass           AUTH-003"),
            ended.text("r.xml").matches("<system-out>").count(),
        )
    };
    assert_eq!(lines("none"), (false, false, 0));
    assert_eq!(lines("failed"), (true, false, 1));
    assert_eq!(lines("all"), (true, true, 2));
}

#[test]
fn shares_of_a_run_are_the_whole_run() {
    let [_, shut] = open_and_shut();
    let ids = |more: &[&str]| -> Vec<String> {
        let ended =
            Gatecrash::against(&shut, &[&["--case", "AUTH", "--report", "json=r.json"][..], more].concat()).run();
        let report = ended.json("r.json");
        report["runs"][0]["cases"]
            .as_array()
            .unwrap()
            .iter()
            .map(|case| case["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut shares = [ids(&["--partition", "hash:1/2"]), ids(&["--partition", "hash:2/2"])].concat();
    let mut whole = ids(&[]);
    shares.sort();
    whole.sort();
    assert_eq!(shares, whole);
    assert_command!(Gatecrash::new(&["run", "--partition", "hash:3/2"]).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    error: invalid value 'hash:3/2' for '--partition <hash:M/N>': write hash:M/N, the share M of N, such as hash:1/3

    For more information, try '--help'.
    "###);
}

// A server that the run starts.

/// Against a server that `start` starts at this address.
fn starting(address: &str, start: &str, arguments: &[&str]) -> Gatecrash {
    let url = format!("ws://{address}/ws?token={{token}}");
    let all = ["run", &url, "--secret-env", "JWT_SECRET_KEY", "--case", "AUTH-006", "--seed", "7", "--start", start];
    Gatecrash::new(&[&all[..], arguments].concat()).env("JWT_SECRET_KEY", SECRET).env("PATH", "/usr/bin:/bin")
}

/// The command that serves there.
fn serving(address: &str) -> String {
    let port = address.rsplit(':').next().unwrap();
    format!("{} serve --dialect shipvox --port {port}", env!("CARGO_BIN_EXE_gatecrash"))
}

#[test]
fn a_server_is_started_waited_for_and_stopped() {
    // At once, and after a while.
    for before in ["", "sleep 0.5; "] {
        let address = free_address().to_string();
        let start = format!("{before}{}", serving(&address));
        let ended = starting(&address, &start, &["--start-log", "server.log"]).run();
        assert_eq!((ended.code(), ended.stderr().as_str()), (0, ""), "{}", ended.all());
        assert!(ended.text("server.log").contains(&format!("listening on ws://{address}/")));
        assert!(std::net::TcpStream::connect(&address).is_err(), "it is stopped");
    }
}

#[test]
fn a_server_that_does_not_end_when_asked_is_made_to() {
    let address = free_address().to_string();
    // It is deaf, and so is one of those that it has started.
    let start = format!("trap '' TERM; {} & sleep 1000 & echo $! > pid; wait", serving(&address));
    let ended = starting(&address, &start, &[]).run();
    assert_eq!(ended.code(), 0, "{}", ended.all());
    assert!(std::net::TcpStream::connect(&address).is_err(), "it is stopped");
    assert!(!is_alive(&ended.text("pid")), "it is stopped with all that it started");
}

/// Whether the process of this number goes on running. One that nobody has waited for yet is still there, as a zombie.
fn is_alive(pid: &str) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let state = Command::new("ps").args(["-o", "stat=", "-p", pid.trim()]).output().unwrap().stdout;
        if state.is_empty() || state.starts_with(b"Z") {
            return false;
        }
        if Instant::now() > end {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_that_does_not_start_is_told_with_its_last_words() {
    let address = free_address().to_string();
    let start = "echo 'no database \u{1b}[31m'; printf 'the secret is %s\\n' \"$JWT_SECRET_KEY\" >&2; exit 3";
    let ended = starting(&address, start, &["--report", "json=r.json"]).run();
    assert_eq!(ended.code(), 3, "{}", ended.all());
    assert!(
        ended.stderr().starts_with("gatecrash: the server ended before it was ready: exit code 3\n"),
        "{}",
        ended.all()
    );
    assert!(ended.stderr().contains("\n  no database \\u{1b}[31m\n"), "{}", ended.all());
    assert!(ended.stderr().contains("\n  the secret is [secret]\n"), "{}", ended.all());
    assert_eq!(ended.json("r.json")["runs"][0]["failure"]["kind"], "unreachable");

    // One that never listens, and one that ends in the middle.
    let ended = starting(&address, "sleep 1000", &["--wait-ready", "1"]).run();
    assert_eq!(ended.code(), 3, "{}", ended.all());
    assert!(ended.stderr().contains(&format!("nobody answered at {address} within 1 s")), "{}", ended.all());
    assert!(ended.stderr().contains("it said nothing"), "{}", ended.all());
    let start = format!("{} & until [ -e stop ]; do sleep 0.1; done; kill $!; exit 9", serving(&address));
    let cases = ["--case", "HSK", "--case", "SIG", "--rate", "10", "--start-log", "server.log"];
    let mut gatecrash = starting(&address, &start, &cases);
    let child = gatecrash.command.spawn().unwrap();
    // The first case is under way.
    let log = gatecrash.folder.join("server.log");
    let end = Instant::now() + WATCHDOG / 2;
    while !fs::read_to_string(&log).is_ok_and(|text| text.contains("no handshake")) && Instant::now() < end {
        thread::sleep(Duration::from_millis(10));
    }
    fs::write(gatecrash.folder.join("stop"), "").unwrap();
    let ended = Ended { output: wait(child), folder: gatecrash.folder };
    assert!(matches!(ended.code(), 1 | 5), "{}", ended.all());
    // It is started again, and ends again.
    let told = "the command of --start ended and was started again, once: exit code 9; its last words:\n";
    assert!(ended.stderr().contains(told), "{}", ended.all());
    assert!(ended.stderr().contains("the command of --start ended during the run: exit code 9"), "{}", ended.all());
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_is_stopped_when_the_terminal_is_closed() {
    if is_deaf_to_hangups() {
        // As under nohup: a run that began so goes on, which is the next test's business.
        eprintln!("skipped: SIGHUP is ignored here");
        return;
    }
    let address = free_address().to_string();
    let mut gatecrash = starting(&address, "echo $$ > pid; exec sleep 60", &["--wait-ready", "60"]);
    let child = gatecrash.command.spawn().unwrap();
    let end = Instant::now() + WATCHDOG / 2;
    let pid = gatecrash.folder.join("pid");
    while !fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')) && Instant::now() < end {
        thread::sleep(Duration::from_millis(10));
    }
    signal(&child, "HUP");
    let ended = Ended { output: wait(child), folder: gatecrash.folder };
    assert_eq!(ended.code(), 130, "{}", ended.all());
    assert!(!is_alive(&ended.text("pid")), "it is stopped with its process group");
}

/// Whether what this process starts ignores SIGHUP, because it does itself.
#[cfg(target_os = "linux")]
fn is_deaf_to_hangups() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 != 0
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_that_is_to_outlive_its_terminal_does() {
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    // The first connection waits until the signal has been sent.
    let server = StandIn::new(move |stream, number, head| {
        if number == 0 {
            let _ = held.lock().unwrap().recv();
        }
        serve(stream, head);
    });
    let url = server.url();
    let words = ["run", &url, "--profile", "mine.yaml", "--timeout-scale", "100", "--case", "AUTH-001"];
    // With a declared echo nothing is waited for but what is held.
    let profile = "secret: env:JWT_SECRET\necho: { send: \"{message}\", reply: { text: \"{message}\" } }\n";
    let gatecrash = Gatecrash::new(&words).file("mine.yaml", profile);
    // As nohup does it.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(gatecrash.command.get_program());
    shell.args(gatecrash.command.get_args()).current_dir(&gatecrash.folder).env_clear().env("JWT_SECRET", SECRET);
    let child = shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    server.wait_for(1);
    signal(&child, "HUP");
    let_go.send(()).unwrap();
    let ended = Ended { output: wait(child), folder: gatecrash.folder };
    assert_eq!(ended.code(), 0, "{}", ended.all());
}

#[test]
fn a_stranger_at_the_address_is_not_judged_in_place_of_the_started_one() {
    let [_, shut] = open_and_shut();
    let url = shut.url();
    let address = url.trim_start_matches("ws://").split('/').next().unwrap();
    let ended = starting(address, "sleep 1000", &[]).run();
    assert_eq!(ended.code(), 2, "{}", ended.all());
    let told = format!("a server answers at {address} already, and it is not the one that --start would start");
    assert!(ended.stderr().contains(&told), "{}", ended.all());
    let ended = Gatecrash::new(&["run", "--start", "true"]).run();
    assert_command!(ended, @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: --start and --wait-ready need to know which server: give its URL, or a profile
    "###);
}

#[test]
fn an_interrupt_ends_the_wait_and_what_was_started() {
    let address = free_address().to_string();
    let mut gatecrash = starting(&address, "echo $$ > pid; exec sleep 1000", &["--wait-ready", "600"]);
    let child = gatecrash.command.spawn().unwrap();
    let file = gatecrash.folder.join("pid");
    let end = Instant::now() + WATCHDOG;
    while !fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')) && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    signal(&child, "INT");
    let output = wait(child);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let pid = fs::read_to_string(file).unwrap();
    assert!(!is_alive(&pid), "{pid} still runs");
}

#[test]
fn a_server_that_somebody_else_starts_is_waited_for() {
    let address = free_address().to_string();
    let url = format!("ws://{address}/ws?token={{token}}");
    let arguments = ["run", &url, "--secret-env", "JWT_SECRET_KEY", "--case", "AUTH-006", "--wait-ready", "30"];
    let mut gatecrash = Gatecrash::new(&arguments).env("JWT_SECRET_KEY", SECRET);
    let child = gatecrash.command.spawn().unwrap();
    thread::sleep(Duration::from_millis(300));
    let mut server = Command::new("/bin/sh");
    server.args(["-c", &format!("exec {}", serving(&address))]).env("JWT_SECRET_KEY", SECRET).stdout(Stdio::null());
    let mut server = server.spawn().unwrap();
    let output = wait(child);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

// Known gaps, earlier results, several targets.

/// A server that admits everybody, and one that asks for a token.
fn open_and_shut() -> [StandIn; 2] {
    [
        StandIn::new(|stream, _, head| serve(stream, head)),
        StandIn::new(
            |stream, _, head| if is_unsigned(head) { answer(stream, "401 Unauthorized") } else { serve(stream, head) },
        ),
    ]
}

#[test]
fn a_known_gap_is_excused_until_it_is_closed() {
    let [open, shut] = open_and_shut();
    let run = |server: &StandIn, gaps: &str| {
        let arguments = ["--profile", "mine.yaml", "--case", "AUTH-006", "--case", "AUTH-001"];
        Gatecrash::against(server, &arguments).file("mine.yaml", format!("known_gaps: [{gaps}]\n")).run()
    };
    let gap = "{ case: AUTH-006, reason: the gateway in front asks }";
    let known = run(&open, gap);
    assert_eq!(known.code(), 0, "{}", known.all());
    assert!(known.stdout().contains("2 trials, 0 fail, 1 known gap, 1 pass"), "{}", known.all());
    assert_command!(run(&shut, gap), @r###"
    exit 1
    --- stdout
    FAIL  known-gap stale-known-gap @AUTH-006  the target's own promise · medium
          what the profile lists under `known_gaps` still fails
          expected  AUTH-006 fails, for the reason given: the gateway in front asks
          observed  it does not fail any more
          mend      take it out of `known_gaps`, so that the case guards again
          again     gatecrash run --case AUTH-006 --seed [SEED] --profile mine.yaml --secret-env JWT_SECRET 'ws://127.0.0.1:[PORT]/ws?token={token}'

    127.0.0.1:[PORT]: [COUNTS]([TIME])
    --- stderr
    "###);
    for (gaps, why) in [
        ("{ case: AUTH-006, reason: \"\" }", "the known gap `AUTH-006` has no reason: say why it is left open"),
        ("{ case: AUTH-006 }", "missing key `reason`"),
        ("{ case: AUTH-006, reason: x, until: 2027 }", "unknown key `until`"),
    ] {
        let ended = run(&shut, gaps);
        assert_eq!(ended.code(), 2, "{}", ended.all());
        assert!(ended.stderr().contains(why), "{}", ended.all());
    }
}

#[test]
fn a_result_is_held_against_an_earlier_one_and_against_another() {
    let [open, shut] = open_and_shut();
    let ended =
        Gatecrash::against(&open, &["--case", "AUTH-006", "--case", "AUTH-001", "--report", "json=r.json"]).run();
    let before = ended.text("r.json");
    let arguments = ["--case", "AUTH-006", "--case", "AUTH-001", "--baseline", "a.json", "--report", "json=b.json"];
    let ended = Gatecrash::against(&shut, &arguments).file("a.json", &before).run();
    assert_command!(ended, @r###"
    exit 0
    --- stdout
    127.0.0.1:[PORT]: [COUNTS]([TIME])
    against a.json: 0 newly failing, 1 newly passing, 0 otherwise changed, 1 the same
      the server changed
        AUTH-006@query garbage-token: pass, was fail: refused (HTTP 401) ([token])
    --- stderr
    "###);
    let compare =
        |b: &str| Gatecrash::new(&["compare", "a.json", "b.json"]).file("a.json", &before).file("b.json", b).run();
    let after = ended.text("b.json");
    let differing = compare(&after);
    assert_eq!(differing.code(), 1, "{}", differing.all());
    assert!(differing.stdout().contains("1 of 2 common cases came to another verdict"), "{}", differing.all());
    assert_eq!(compare(&before).code(), 0);
    assert_command!(compare("{}"), @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: cannot read the result `b.json`: it is no result of `--report json=PATH`: missing field `gatecrash_result` at line 1 column 2
    "###);
    // A baseline that cannot be read is found out before anything is sent.
    let sent = shut.connections();
    let ended = Gatecrash::against(&shut, &["--baseline", "none.json"]).run();
    assert_eq!((ended.code(), shut.connections()), (2, sent), "{}", ended.all());
    assert!(ended.stderr().contains("cannot read the result `none.json`: No such file"), "{}", ended.all());
}

#[test]
fn one_target_changes_nothing_for_another() {
    let [open, shut] = open_and_shut();
    // One is not there, one dies in the middle, one cannot be given a token.
    let dying =
        StandIn::until(
            4,
            |stream, _, head| {
                if is_unsigned(head) { answer(stream, "401 Unauthorized") } else { serve(stream, head) }
            },
        );
    let profile = |url: &str| format!("url: {url}\nsecret: env:JWT_SECRET\n");
    let arguments =
        ["run", "--seed", "7", "--timeout-scale", "0.1", "--jobs", "1", "--case", "AUTH", "--report", "json=r.json"];
    let targets =
        ["nobody", "dying", "tokenless", "shut", "open"].map(|name| ["--target".to_owned(), format!("{name}.yaml")]);
    let targets: Vec<&str> = targets.iter().flatten().map(String::as_str).collect();
    let ended = Gatecrash::new(&[&arguments[..], &targets].concat())
        .env("JWT_SECRET", SECRET)
        .file("nobody.yaml", profile(&format!("ws://{}/ws", StandIn::nobody())))
        .file("dying.yaml", profile(&dying.url()))
        .file("tokenless.yaml", profile(&shut.url()) + "claims: { exp: \"${never}\" }\n")
        .file("shut.yaml", profile(&shut.url()))
        .file("open.yaml", profile(&open.url()))
        .run();
    let report = ended.json("r.json");
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 5, "{}", ended.all());
    assert_eq!(runs[0]["failure"]["kind"], "unreachable");
    assert_eq!(runs[1]["failure"]["kind"], "control-lost");
    assert_eq!(runs[2]["failure"]["kind"], "no-token");
    assert!(runs[3]["failure"].is_null() && runs[4]["failure"].is_null());
    // The name of a target is its address unless it has one, and two of one name are told apart.
    assert!(runs[3]["target"].as_str().unwrap().ends_with(" (shut.yaml)"), "{}", runs[3]["target"]);
    // Alone each comes to the same.
    for (run, name) in [(&runs[3], "shut"), (&runs[4], "open")] {
        let server = if name == "shut" { &shut } else { &open };
        let alone = Gatecrash::against(server, &["--jobs", "1", "--case", "AUTH", "--report", "json=r.json"]).run();
        let verdicts = |run: &Value| -> Vec<(Value, Value)> {
            run["cases"].as_array().unwrap().iter().map(|case| (case["id"].clone(), case["verdict"].clone())).collect()
        };
        assert_eq!(verdicts(run), verdicts(&alone.json("r.json")["runs"][0]), "{name}");
    }
    assert!(ended.stdout().contains("--target") || ended.stdout().contains("--profile open.yaml"), "{}", ended.all());
    // The one without a token is the worst: what it is asked to do is wrong.
    assert_eq!(ended.code(), 2, "{}", ended.all());
    assert!(ended.stderr().contains("there is no valid token for "), "{}", ended.all());
}

// What a server sends does not get out.

/// Everything a server can do with what it was sent, and with the secret it knows.
fn reflect(mut stream: std::net::TcpStream, number: usize, head: &str) {
    let line = head.replace(['\r', '\n'], " ");
    let spoken = format!("{SECRET} {line} {SECRET}");
    let escaped = Value::from(spoken.as_str()).to_string();
    let short = |text: &str| text.bytes().take(120).collect::<Vec<u8>>();
    match number % 9 {
        0 => {
            let _ = stream.write_all(head.as_bytes());
        }
        1 => {
            take_head(&mut stream);
            let _ = stream.write_all(format!("HTTP/1.1 401 {spoken}\r\nContent-Length: 0\r\n\r\n").as_bytes());
        }
        2 => {
            take_head(&mut stream);
            let text =
                format!("HTTP/1.1 401 No\r\nWWW-Authenticate: {spoken}\r\nX-Echo: {line}\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(text.as_bytes());
        }
        3 => {
            take_head(&mut stream);
            let text = format!("HTTP/1.1 403 No\r\nContent-Length: {}\r\n\r\n{escaped}", escaped.len());
            let _ = stream.write_all(text.as_bytes());
        }
        4 => {
            upgrade(&mut stream, head);
            let _ = stream.write_all(&close_bytes(4002, &short(&format!("{SECRET} and {SECRET}"))));
            swallow(stream);
        }
        5 => {
            upgrade(&mut stream, head);
            let token = hostile_support::token(head).unwrap_or_default();
            let _ = stream.write_all(&close_bytes(4002, token.as_bytes()));
            swallow(stream);
        }
        6 => {
            upgrade(&mut stream, head);
            let _ = stream.write_all(&frame_bytes(1, spoken.as_bytes()));
            swallow(stream);
        }
        7 => {
            upgrade(&mut stream, head);
            let _ = stream.write_all(&frame_bytes(1, escaped.as_bytes()));
            let _ = stream.write_all(&close_bytes(1011, &short(&spoken)));
            swallow(stream);
        }
        _ => {
            let _ = stream.write_all(format!("{SECRET}\r\n{line}\r\n").as_bytes());
        }
    }
}

/// Every report there is.
const EVERY_REPORT: [&str; 8] =
    ["--report", "json=r.json", "--report", "junit=r.xml", "--report", "sarif=r.sarif", "--report", "markdown=r.md"];

fn assert_nothing_leaks(ended: &Ended, secret: &str, signatures: &[String]) {
    let reports = ["r.json", "r.xml", "r.sarif", "r.md"].map(|name| ended.text(name));
    for text in [ended.stdout(), ended.stderr()].into_iter().chain(reports) {
        assert_harmless(&text);
        for part in [secret, &secret[..14.min(secret.len())], "recognisable-secret"] {
            assert!(!text.contains(part), "`{part}` in {text}");
        }
        for signature in signatures {
            assert!(!text.contains(signature.as_str()), "the signature {signature} in {text}");
        }
        assert_eq!(gatecrash::redact::jwts(&text), text, "something like a token");
    }
}

#[test]
fn neither_secret_nor_token_comes_out_of_a_run() {
    // The first to ask are served, so that there is a run; the others get back all there is.
    let server = StandIn::new(|stream, number, head| {
        if is_unsigned(head) || number % 3 == 2 && number > 30 {
            reflect(stream, number, head)
        } else {
            serve(stream, head)
        }
    });
    let arguments = [&["--all", "--verbose", "--transcript", "all"][..], &EVERY_REPORT].concat();
    let ended = Gatecrash::against(&server, &arguments).env("GITHUB_ACTIONS", "true").run();
    assert_nothing_leaks(&ended, SECRET, &server.signatures());
    assert!(server.signatures().len() > 5);

    for first in 0..9 {
        let server = StandIn::new(move |stream, _, head| reflect(stream, first, head));
        let arguments = [&["--verbose", "--transcript", "all"][..], &EVERY_REPORT].concat();
        let ended = Gatecrash::against(&server, &arguments).env("GITHUB_ACTIONS", "true").run();
        assert_nothing_leaks(&ended, SECRET, &server.signatures());
    }
}

#[test]
fn the_bundled_server_that_leaks_does_not_make_the_report_leak() {
    for fault in ["reflects-token", "leaks-secret", "stack-trace"] {
        for refusal in ["close", "http"] {
            let arguments = [
                "run",
                "--fault",
                fault,
                "--refusal",
                refusal,
                "--dialect",
                "omni2",
                "--verbose",
                "--transcript",
                "all",
            ];
            let ended = Gatecrash::new(&[&arguments[..], &EVERY_REPORT].concat()).run();
            assert!(matches!(ended.code(), 0 | 1 | 5), "{}", ended.all());
            assert_nothing_leaks(&ended, "gatecrash bundled server, for one run on loopback only", &[]);
        }
    }
}

#[test]
fn hostile_bytes_reach_no_terminal() {
    let talk = |mut stream: std::net::TcpStream, number: usize, head: &str| {
        let bytes = "\u{1b}]0;title\u{7}\u{1b}[2J\u{1b}[31mred\0\u{8}\u{202e}gnp\u{9b}31m\r\n";
        if !is_unsigned(head) {
            return serve(stream, head);
        }
        match number % 4 {
            0 => {
                let _ = stream.write_all(bytes.as_bytes());
            }
            1 => {
                upgrade(&mut stream, head);
                let _ = stream.write_all(&close_bytes(4002, bytes.as_bytes()));
                swallow(stream);
            }
            2 => {
                upgrade(&mut stream, head);
                let _ = stream.write_all(&frame_bytes(1, &[bytes.as_bytes(), b"\xff\xfe\xc0"].concat()));
                swallow(stream);
            }
            _ => {
                take_head(&mut stream);
                let text =
                    format!("HTTP/1.1 401 No\r\nContent-Type: \u{9b}31m\u{202e}\r\nServer: \u{85}\r\n\r\n{bytes}");
                let _ = stream.write_all(text.as_bytes());
            }
        }
    };
    for first in 0..4 {
        let server = StandIn::new(move |stream, _, head| talk(stream, first, head));
        for color in ["NO_COLOR", "CLICOLOR_FORCE"] {
            let ended = Gatecrash::against(&server, &["--verbose", "--report", "json=r.json"]).env(color, "1").run();
            assert!(matches!(ended.code(), 0 | 1 | 5), "{}", ended.all());
            for text in [ended.stdout(), ended.stderr(), ended.text("r.json")] {
                assert_harmless(&text);
            }
            assert_eq!(ended.stdout().contains("\u{1b}["), color == "CLICOLOR_FORCE", "{}", ended.all());
        }
    }
}

// The bundled server.

#[test]
fn the_bundled_server_holds() {
    let ended = Gatecrash::new(&["run", "--report", "json=r.json"]).run();
    let report = ended.json("r.json");
    assert_eq!((ended.code(), ended.stderr().as_str()), (0, ""), "{}", ended.all());
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 5);
    let total: u64 = runs.iter().map(|run| run["summary"]["total"].as_u64().unwrap()).sum();
    assert_eq!(report["summary"]["total"], total);
    assert!(ended.stdout().lines().last().unwrap().starts_with(&format!("all: {total} trials")), "{}", ended.all());
}

#[test]
fn serve_tells_its_address_first_and_ends_when_asked() {
    for name in ["TERM", "INT"] {
        let mut gatecrash = Gatecrash::new(&["serve", "--port", "0", "--fault", "ignores-exp"]);
        let mut child = gatecrash.command.spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        assert!(line.starts_with("listening on ws://127.0.0.1:") && !line.contains(":0/"), "{line}");
        // Somebody who is connected and silent must not hold it up.
        let address = line.trim().trim_start_matches("listening on ws://").split('/').next().unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        signal(&child, name);
        let output = wait(child);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
        assert!(String::from_utf8_lossy(&output.stderr).contains("this server is wrong on purpose: ignores-exp"));
    }
}

#[test]
fn a_port_in_use_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let ended = Gatecrash::new(&["serve", "--port", &port]).env("SECRET_KEY", SECRET).env("GATECRASH_LOG", "off").run();
    assert_command!(ended, @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: cannot listen on 127.0.0.1:[PORT]: [IN USE]; --port 0 takes a free port
    "###);
}

#[test]
fn a_fault_that_is_named_twice_is_tried_twice() {
    let ended = Gatecrash::new(&["selftest", "accepts-alg-none", "accepts-alg-none"]).run();
    assert_eq!(ended.code(), 0, "{}", ended.all());
    let stdout = ended.stdout();
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(
        lines.len() == 3 && lines[0] == lines[1] && lines[2].starts_with("2 of 2 faults killed"),
        "{}",
        ended.all()
    );
}

// The help.

#[test]
fn a_server_with_a_certificate_of_its_own_is_judged_over_tls() {
    let mut server = Gatecrash::new(&["serve", "--port", "0", "--tls", "--tls-ca-out", "ca.pem"]);
    server = server.env("SECRET_KEY", SECRET).env("GATECRASH_LOG", "off");
    let mut child = server.command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address = lines.next().unwrap();
    let url = address.strip_prefix("listening on ").unwrap().to_owned();
    assert!(url.starts_with("wss://localhost:"), "{url}");
    assert_eq!(lines.next().as_deref(), Some("its authority is in ca.pem: gatecrash run --ca ca.pem"));

    let ca = server.folder.join("ca.pem");
    let certificate = fs::read_to_string(&ca).unwrap();
    assert!(
        certificate.starts_with("-----BEGIN CERTIFICATE-----") && !certificate.contains("PRIVATE"),
        "{certificate}"
    );
    let run = |more: &[&str]| {
        let all = [&["run", url.as_str(), "--secret-env", "JWT", "--case", "TLS-004", "--strict"], more].concat();
        Gatecrash::new(&all).env("JWT", SECRET).run()
    };
    let trusted = run(&["--ca", ca.to_str().unwrap()]);
    assert_eq!(trusted.code(), 0, "{}", trusted.all());
    let stranger = run(&[]);
    assert_eq!(stranger.code(), 1, "{}", stranger.all());
    assert!(stranger.stdout().contains("nobody who is trusted here vouches for it"), "{}", stranger.all());

    signal(&child, "TERM");
    assert_eq!(wait(child).status.code(), Some(0));
    // Without TLS there is nothing to vouch for.
    let ended = Gatecrash::new(&["serve", "--port", "0", "--tls-ca-out", "ca.pem"]).run();
    assert_eq!(ended.code(), 2, "{}", ended.all());
    // Nor is there a token for a CA file that says nothing.
    let arguments = ["run", "wss://localhost:1/ws", "--secret-env", "JWT", "--ca", "ca.pem"];
    let ended = Gatecrash::new(&arguments).env("JWT", SECRET).file("ca.pem", "nothing\n").run();
    assert_command!(ended, @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: `ca` cannot be used: no certificate in PEM stands in it
    "###);
}

// Profiles that are written for a person.

#[test]
fn init_writes_a_profile_that_runs() {
    let server = StandIn::new(|stream, _, head| serve(stream, head));
    let words = ["init", &server.url(), "--secret-env", "JWT_SECRET", "--out", "mine.yaml", "--ci", "ci/gate.yml"];
    let ended = Gatecrash::new(&words).run();
    assert_command!(ended, @r###"
    exit 0
    --- stdout
    the profile is in mine.yaml
    the job is in ci/gate.yml: say there where gatecrash is installed from, and how your server is started
    judge the server:
        JWT_SECRET=... gatecrash run --profile mine.yaml
    --- stderr
    "###);
    assert!(ended.text("ci/gate.yml").contains("gatecrash run --profile mine.yaml"));
    assert_eq!(server.connections(), 0, "nothing is sent");
    let profile = ended.text("mine.yaml");
    let run = Gatecrash::new(&["run", "--profile", "mine.yaml", "--case", "AUTH-001"]);
    let run = run.file("mine.yaml", profile).env("JWT_SECRET", SECRET).run();
    assert_eq!(run.code(), 0, "{}", run.all());
}

#[test]
fn a_job_shows_the_secret_to_nobody_who_is_not_named_in_it() {
    for (more, shown) in [(&[][..], &["Start the server", "Judge it"][..]), (&["--start", "node x"], &["Judge it"])] {
        let words = ["init", "ws://127.0.0.1:1/ws", "--secret-env", "JWT_SECRET", "--ci", "gate.yml"];
        let ended = Gatecrash::new(&[&words[..], more].concat()).run();
        assert!(ended.stdout().contains("say there where gatecrash is installed from"), "{}", ended.all());
        let job: Value = serde_yaml::from_str(&ended.text("gate.yml")).unwrap();
        let job = &job["jobs"]["gate"];
        let steps = job["steps"].as_array().unwrap();
        let named = |step: &Value| step["name"].as_str().unwrap_or_default().to_owned();
        let with_secret: Vec<String> =
            steps.iter().filter(|step| step.to_string().contains("secrets.")).map(named).collect();
        assert_eq!(with_secret, shown);
        assert_eq!(job.to_string().matches("secrets.JWT_SECRET").count(), shown.len(), "{job}");
        // No registry is asked for a name that anybody may hold: it ends with what is to be filled in.
        let install = steps.iter().find(|step| named(step) == "Install gatecrash").unwrap();
        let run = install["run"].as_str().unwrap();
        let output = Command::new("/bin/sh").args(["-e", "-c", run]).env_clear().env("PATH", "/none").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.ends_with(": cargo install --locked --git URL --rev REVISION gatecrash\n"), "{told}");
    }
}

#[test]
fn init_neither_waits_for_nobody_nor_replaces_a_file() {
    assert_command!(Gatecrash::new(&["init"]).run(), @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: there is no terminal to ask on: say which server and where its secret is, as in `gatecrash init 'ws://HOST/ws?token={token}' --secret-env SECRET_KEY`, or --token-env NAME for a real token
    "###);
    let words = ["init", "ws://127.0.0.1:1/ws", "--secret-env", "S", "--out", "mine.yaml", "--ci", "gate.yml"];
    let ended = Gatecrash::new(&words).file("gate.yml", "mine").run();
    assert_command!(ended, @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: cannot write `gate.yml`: it is there already, and is not replaced
    "###);
    assert!(!ended.folder.join("mine.yaml").exists(), "half of it is worse than nothing");
}

#[test]
fn a_command_that_cannot_be_written_as_it_is_said_is_refused() {
    for start in ["cd app\nnode x", "node\tx", "node \u{1b}[31m", "node \u{202e}x"] {
        let words = ["init", "ws://127.0.0.1:1/ws", "--secret-env", "S", "--ci", "gate.yml", "--start", start];
        let ended = Gatecrash::new(&words).run();
        assert_eq!((ended.code(), ended.stdout().as_str()), (2, ""), "{start:?} {}", ended.all());
        let told = "in --start stands a line break, a tab or another character that cannot be seen: put what it says into a script, and name that";
        assert!(ended.stderr().contains(told), "{}", ended.all());
        assert!(!ended.folder.join("gate.yml").exists() && !ended.folder.join("gatecrash.yaml").exists());
    }
}

#[test]
fn probe_writes_what_it_saw_and_no_secret() {
    let server = StandIn::new(|stream, _, head| match is_unsigned(head) {
        // It looks at no signature, but for the one of this test.
        true => answer(stream, "401 Unauthorized"),
        false => serve(stream, head),
    });
    let words = ["probe", &server.url(), "--secret-env", "JWT_SECRET", "--timeout-scale", "0.1", "--seed", "7"];
    // A server that lets everybody in with a token is told to be open, and no profile is made of it.
    let ended = Gatecrash::new(&words).env("JWT_SECRET", SECRET).run();
    assert_eq!(ended.code(), 3, "{}", ended.all());
    assert!(ended.stderr().contains("lets anybody in") && ended.stdout().is_empty(), "{}", ended.all());
    let bundled =
        Gatecrash::new(&["probe", "ws://127.0.0.1:1/ws", "--secret-env", "JWT_SECRET"]).env("JWT_SECRET", SECRET);
    assert_command!(bundled.run(), @r###"
    exit 3
    --- stdout
    --- stderr
    gatecrash: cannot reach 127.0.0.1:[PORT]: [REFUSED]
    "###);
    let words = ["probe", "ws://127.0.0.1:1/ws", "--secret-env", "JWT_SECRET", "--out", "mine.yaml"];
    let ended = Gatecrash::new(&words).env("JWT_SECRET", SECRET).file("mine.yaml", "mine").run();
    assert_eq!((ended.code(), ended.text("mine.yaml").as_str()), (2, "mine"), "{}", ended.all());
}

#[test]
fn a_real_token_is_given_by_its_place_and_never_shown() {
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLXRoYXQtbXVzdC1ub3QtYmUtc2hvd24";
    let server = StandIn::new(move |stream, _, head| match head.contains(token) {
        true => serve(stream, head),
        false => answer(stream, "401 Unauthorized"),
    });
    let words =
        ["run", &server.url(), "--token-env", "T", "--timeout-scale", "0.1", "--seed", "7", "--case", "AUTH", "-v"];
    let ended = Gatecrash::new(&words).env("T", token).run();
    assert!(!ended.all().contains("c2lnbmF0dXJl"), "{}", ended.all());
    assert!(ended.stdout().contains("the key to sign them with is not known"), "{}", ended.all());
    assert_eq!(ended.code(), 0, "{}", ended.all());
    assert!(Gatecrash::new(&["run", &server.url(), "--token-env", "T", "--secret-env", "S"]).run().code() == 2);
    let given = Gatecrash::new(&["run", &server.url(), "--token-file", "token"]).file("token", "a b\n").run();
    assert_command!(given, @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: the token that was given holds spaces or other characters that no request can carry
    "###);
}

// Files laid out in one way.

#[test]
fn files_are_laid_out_and_the_bad_ones_are_told() {
    let untidy = "# mine\nname:   my\nleeway: 0   # seconds\n";
    let tidy = "# mine\nname: my\nleeway: 0 # seconds\n";
    let with_files = |arguments: &[&str]| {
        let command = Gatecrash::new(arguments);
        fs::create_dir(command.folder.join("more")).unwrap();
        fs::create_dir(command.folder.join("none")).unwrap();
        command
            .file("a.yaml", untidy)
            .file("b.yaml", tidy)
            .file("bad.yaml", "secret: hush-hush: 1\n")
            .file("more/c.yml", untidy)
            .file("more/d.txt", untidy)
    };
    let read = |ended: &Ended, name: &str| fs::read_to_string(ended.folder.join(name)).unwrap();

    let checked = with_files(&["fmt", "--check", "a.yaml", "b.yaml", "more"]).run();
    assert_eq!((checked.code(), checked.stdout().as_str()), (1, "a.yaml\nmore/c.yml\n"), "{}", checked.all());
    assert_eq!(read(&checked, "a.yaml"), untidy);

    let done = with_files(&["fmt", "a.yaml", "b.yaml", "more"]).run();
    assert_eq!((done.code(), done.stdout().as_str()), (0, ""), "{}", done.all());
    assert_eq!((read(&done, "a.yaml"), read(&done, "more/c.yml")), (tidy.to_owned(), tidy.to_owned()));
    assert_eq!(read(&done, "more/d.txt"), untidy);
    assert!(!done.stderr().contains("b.yaml"), "{}", done.all());

    // The good one behind the bad ones is laid out all the same.
    let ended = with_files(&["fmt", "absent.yaml", "bad.yaml", "none", "a.yaml"]).run();
    assert_eq!(read(&ended, "a.yaml"), tidy);
    assert_eq!(read(&ended, "bad.yaml"), "secret: hush-hush: 1\n");
    assert_command!(ended, @r###"
    exit 2
    --- stdout
    --- stderr
    gatecrash: cannot read `absent.yaml`: No such file or directory (os error 2)
    gatecrash: 
    error[GC1001]: a `:` can't stand here
     --> bad.yaml:1:18
      |
    1 | secret: [secret]
      |                  ^
      |
      = help: check the indentation, and quote text that holds a colon followed by a space
    gatecrash: no file in `none` ends in .yaml
    gatecrash: `a.yaml` is laid out anew
    "###);
    assert_eq!(with_files(&["fmt"]).run().code(), 2);
}

#[test]
fn a_file_with_a_byte_order_mark_is_read_as_one_without() {
    let mark = |text: &str| format!("\u{feff}{text}");
    let profile = "leewy: 5\nurl: ws://127.0.0.1:1/ws\n";
    let told = |text: &str| {
        let ended = Gatecrash::new(&["check", "mine.yaml"]).file("mine.yaml", text).run();
        (ended.code(), ended.all())
    };
    assert_eq!(told(&mark(profile)), told(profile));
    assert!(told(profile).1.contains("mine.yaml:1:1"));
    let (code, all) = told(&mark("leeway: 5\nurl: ws://127.0.0.1:1/ws\n"));
    assert_eq!(code, 0, "{all}");
    // The mark goes when the file is laid out: no other has one.
    let ended = Gatecrash::new(&["fmt", "mine.yaml"]).file("mine.yaml", mark("leeway:   5\n")).run();
    assert_eq!((ended.code(), ended.text("mine.yaml").as_str()), (0, "leeway: 5\n"), "{}", ended.all());
}

#[test]
fn a_file_that_is_laid_out_can_be_read_by_nobody_else() {
    use std::os::unix::fs::PermissionsExt;
    let command = Gatecrash::new(&["fmt", "a.yaml"]).file("a.yaml", "secret:   hush-hush\n");
    let path = command.folder.join("a.yaml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(command.run().code(), 0);
    assert_eq!(fs::read_to_string(&path).unwrap(), "secret: hush-hush\n");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn stdin_is_laid_out_to_stdout() {
    let piped = |arguments: &[&str], text: &str| {
        let mut command = Gatecrash::new(arguments);
        command.command.stdin(Stdio::piped());
        let mut child = command.command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        Ended { output: wait(child), folder: command.folder }
    };
    let ended = piped(&["fmt", "-"], "a:   1\n");
    assert_eq!((ended.code(), ended.stdout().as_str(), ended.stderr().as_str()), (0, "a: 1\n", ""));
    let ended = piped(&["fmt", "--check", "-"], "a:   1\n");
    assert_eq!((ended.code(), ended.stdout().as_str()), (1, "stdin\n"));
    // Nothing that an editor would put in the place of the text.
    let ended = piped(&["fmt", "-"], "a: [1\n");
    assert_eq!((ended.code(), ended.stdout().as_str()), (2, ""));
    assert!(ended.stderr().contains("stdin:1:"), "{}", ended.all());
}

#[test]
fn help_is_as_it_was() {
    for words in [
        &["--help"][..],
        &["run", "--help"],
        &["probe", "--help"],
        &["init", "--help"],
        &["serve", "--help"],
        &["list", "--help"],
        &["fmt", "--help"],
    ] {
        let ended = Gatecrash::new(words).run();
        assert_eq!((ended.code(), ended.stderr().as_str()), (0, ""));
        insta::assert_snapshot!(words.join(" ").replace("--", ""), ended.stdout());
    }
}
