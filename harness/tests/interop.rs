//! Servers that this repository did not write the gate of, judged over loopback.
//!
//! `interop/setup.sh` installs what they need; where it has not run, the tests are listed as ignored. What the harness
//! must say of each server stands in `interop/expected.yaml`: a finding that is missing there, or stands there and is
//! not found, fails the test. `interop/STACKS.md` and the table in the README are made of the reports of these runs, and
//! fail the test where they say something else; `GATECRASH_BLESS=1 cargo test --test interop` writes both anew.

#[path = "interop/page.rs"]
mod page;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatecrash::profile::Profile;
use gatecrash::report::Report;
use gatecrash::verdict::Severity;
use gatecrash::{Catalogue, Suite, Target, Verdict};
use libtest_mimic::{Arguments, Failed, Trial};
use serde::Deserialize;

/// The secret every server is started with.
const SECRET: &str = "4pQx7Zr2vK9mTe8Wb5yHn3Lc6Jd1-only-of-these-tests";

/// How long a server may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the programs of a subject are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Runtime {
    Python,
    Node,
    Axum,
    /// A program in Python that starts haproxy, which a machine may not have.
    Haproxy,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    /// What it is made of, in the words of the page. Without it, it is judged and not shown.
    #[serde(default)]
    stack: Option<String>,
    runtime: Runtime,
    /// The program and its arguments; `{key_file}` is where it leaves the private key that its tokens are signed with.
    #[serde(default)]
    run: Vec<String>,
    /// The variable it takes its secret from, if it has one.
    #[serde(default)]
    secret_env: Option<String>,
    /// What it says about itself: a preset, by the same words as a profile file, with the same `{key_file}`.
    profile: serde_json::Value,
    /// Whether it is built in the strict configuration of current, well-kept libraries. Every case is run against it,
    /// those that wait or open many connections too, and a failure of medium severity or above is a fault of ours,
    /// whatever is written down.
    #[serde(default)]
    strict: bool,
    /// Everything that is not plain right, with the reason.
    findings: Vec<Finding>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Finding {
    case: String,
    verdict: Verdict,
    #[serde(default)]
    observed: String,
    /// A failure of medium severity or above: a true weakness of the server, which must be said to be one.
    #[serde(default)]
    gap: bool,
    why: String,
}

/// What the page says of the subjects that were judged, by their names.
type Shown = Arc<Mutex<BTreeMap<String, page::Entry>>>;

fn main() {
    let arguments = Arguments::from_args();
    let text = include_str!("interop/expected.yaml");
    let subjects: BTreeMap<String, Subject> = match serde_yaml::from_str(text) {
        Ok(subjects) => subjects,
        Err(error) => {
            let test = Trial::test("expected.yaml reads", move || Err(Failed::from(error.to_string())));
            libtest_mimic::run(&arguments, vec![test]).exit();
        }
    };
    let suite = Suite::new(Catalogue::bundled());
    let shown = Shown::default();
    // In the order of the file, which is the order of the page.
    let order: Vec<String> = text.lines().filter_map(|line| line.strip_suffix(':')).map(str::to_owned).collect();
    let on_page: Vec<String> = order
        .iter()
        .filter(|name| subjects.get(*name).is_some_and(|subject| subject.stack.is_some()))
        .cloned()
        .collect();
    let stacks: Vec<String> = on_page.iter().filter_map(|name| subjects.get(name)?.stack.clone()).collect();
    let mut tests: Vec<Trial> = subjects
        .into_iter()
        .map(|(name, subject)| {
            let ready = program(subject.runtime).is_file();
            let (suite, shown, label) = (suite.clone(), shown.clone(), name.clone());
            Trial::test(name, move || judge(&suite, &label, &subject, &shown)).with_ignored_flag(!ready)
        })
        .collect();
    tests.push(Trial::test("the page shows each stack once, in order", move || {
        if blesses() {
            return Ok(());
        }
        page::is_complete(&read(PAGE)?, &read(README)?, &stacks).map_err(Failed::from)
    }));
    let conclusion = libtest_mimic::run(&arguments, tests);
    if blesses() && conclusion.num_failed == 0 {
        let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        let entries: Option<Vec<&page::Entry>> = on_page.iter().map(|name| shown.get(name)).collect();
        match entries {
            Some(entries) => {
                let readme = read(README).and_then(|readme| Ok(page::write_readme(&readme, &entries)?));
                std::fs::write(root().join(README), readme.expect("the README")).expect("the README");
                std::fs::write(root().join(PAGE), page::write(&entries)).expect("STACKS.md");
            }
            None => eprintln!("STACKS.md is not written: not every stack was judged"),
        }
    }
    conclusion.exit();
}

fn blesses() -> bool {
    std::env::var_os("GATECRASH_BLESS").is_some()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The texts that are made of the reports.
const PAGE: &str = "harness/tests/interop/STACKS.md";
const README: &str = "README.md";

fn read(file: &str) -> Result<String, Failed> {
    Ok(std::fs::read_to_string(root().join(file))?)
}

/// What tells that a runtime is set up.
fn program(runtime: Runtime) -> PathBuf {
    root().join("target/interop").join(match runtime {
        Runtime::Python => "venv/bin/python",
        // Node finds its modules beside the program, so the copy is what tells that it is set up.
        Runtime::Node => "node/server.mjs",
        Runtime::Axum => "axum/gatecrash-interop-axum",
        Runtime::Haproxy => "haproxy/haproxy",
    })
}

/// A server that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Asked first, because one may have started others.
        let asked = Command::new("kill").arg(self.0.id().to_string()).stderr(Stdio::null()).status();
        let begun = Instant::now();
        while asked.as_ref().is_ok_and(|status| status.success()) && begun.elapsed() < PATIENCE {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(subject: &Subject, key_file: &str) -> Result<(Running, String), Failed> {
    let script = || subject.run.first().ok_or("no program");
    let in_python = |script: &str| {
        let mut command = Command::new(program(Runtime::Python));
        command.arg(root().join("harness/tests/interop/python").join(script));
        command
    };
    let mut command = match subject.runtime {
        Runtime::Python => in_python(script()?),
        Runtime::Haproxy => {
            let mut command = in_python(script()?);
            command.arg("--haproxy").arg(program(Runtime::Haproxy));
            command
        }
        Runtime::Node => {
            let mut command = Command::new("node");
            command.arg(root().join("target/interop/node").join(script()?));
            command
        }
        Runtime::Axum => Command::new(program(Runtime::Axum)),
    };
    if let Some(name) = &subject.secret_env {
        command.env(name, SECRET);
    }
    command
        .args(subject.run.iter().skip(1).map(|argument| argument.replace("{key_file}", key_file)))
        .env_remove("PORT")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().ok_or("no stdout")?;
    let running = Running(child);
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(stdout).read_line(&mut line);
        let _ = send.send(line);
    });
    let begun = Instant::now();
    let line = receive
        .recv_timeout(Duration::from_secs(60))
        .map_err(|_| format!("the server did not say where it listens within {:?}", begun.elapsed()))?;
    match line.trim().strip_prefix("listening on ") {
        Some(url) => Ok((running, url.to_owned())),
        None => Err(Failed::from(format!("the server did not start; it said {line:?}"))),
    }
}

fn judge(suite: &Suite, name: &str, subject: &Subject, shown: &Shown) -> Result<(), Failed> {
    let report = run(suite, name, subject)?;
    let mut wrong = unexpected(subject, &report);
    if !wrong.is_empty() {
        let summary = report.summary();
        wrong.push(format!("{} passed, {} failed, {} warned", summary.pass, summary.fail, summary.warn));
        return Err(Failed::from(wrong.join("\n")));
    }
    let Some(stack) = &subject.stack else { return Ok(()) };
    let why = |id: &str, code: &str| finding(subject, id, code).map(|finding| finding.why.as_str());
    let entry = page::Entry::of(stack, &report, &why)?;
    let told = entry.clone();
    shown.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), entry);
    if blesses() {
        return Ok(());
    }
    told.stands_in(&read(PAGE)?, &read(README)?).map_err(Failed::from)
}

fn run(suite: &Suite, name: &str, subject: &Subject) -> Result<Report, Failed> {
    let key_file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.pem"));
    let key_file = key_file.to_str().ok_or("the path of the key is not UTF-8")?;
    let (running, url) = start(subject, key_file)?;
    let declared = subject.profile.to_string().replace("{key_file}", key_file);
    let mut profile = Profile::from_yaml(name, &declared).map_err(|found| found.to_string())?;
    profile.name = name.to_owned();
    profile.url = Some(url);
    profile.secret = subject.secret_env.is_some().then(|| SECRET.to_owned());
    // Nothing is measured here: the machine runs several of these servers at once.
    profile.refusal_budget_ms = Some(60_000);
    profile.handshake_budget_ms = Some(60_000);
    let target = Target::from_profile(profile)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let suite = if subject.strict { suite.clone().all() } else { suite.clone() };
    let report = runtime.block_on(suite.run(&target)).map_err(|found| found.to_string())?;
    drop(running);
    if report.failure.is_some() {
        return Err(Failed::from(report.to_string()));
    }
    Ok(report)
}

fn severity(severity: Severity) -> String {
    format!("{severity:?}").to_lowercase()
}

/// What is written down of a trial.
fn finding<'a>(subject: &'a Subject, id: &str, code: &str) -> Option<&'a Finding> {
    subject.findings.iter().find(|finding| finding.case == id || finding.case == code)
}

/// Where the report and what is written down differ.
fn unexpected(subject: &Subject, report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    for trial in &report.trials {
        let plain = matches!(trial.verdict, Verdict::Pass | Verdict::Info | Verdict::NotApplicable);
        let expected = finding(subject, &trial.id, &trial.code);
        let grave = trial.verdict == Verdict::Fail && trial.severity >= Severity::Medium;
        if subject.strict && grave {
            wrong.push(format!("{} {} accuses a strict server: {}", trial.id, trial.name, trial.observed));
        }
        match (plain, expected) {
            (true, None) => {}
            (false, Some(finding))
                if finding.verdict == trial.verdict
                    && finding.gap == grave
                    && trial.observed.contains(&finding.observed) => {}
            (_, Some(finding)) => wrong.push(format!(
                "{} {} is {:?}, {} ({}), expected {:?} with \"{}\"{}",
                trial.id,
                trial.name,
                trial.verdict,
                severity(trial.severity),
                trial.observed,
                finding.verdict,
                finding.observed,
                if finding.gap { " and a gap" } else { "" },
            )),
            (false, None) => wrong.push(format!(
                "{} {} is {:?}, {}, and not written down: expected {}, observed {}",
                trial.id,
                trial.name,
                trial.verdict,
                severity(trial.severity),
                trial.expected,
                trial.observed
            )),
        }
    }
    for finding in &subject.findings {
        if !report.trials.iter().any(|trial| finding.case == trial.id || finding.case == trial.code) {
            wrong.push(format!("{} is written down and was not run", finding.case));
        }
    }
    wrong
}
