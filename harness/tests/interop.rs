//! Servers that this repository did not write the gate of, judged over loopback.
//!
//! `interop/setup.sh` installs what they need; where it has not run, the tests are listed as ignored. What the harness
//! must say of each server stands in `interop/expected.yaml`: a finding that is missing there, or stands there and is
//! not found, fails the test.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gatecrash::profile::Profile;
use gatecrash::report::Summary;
use gatecrash::verdict::Severity;
use gatecrash::{Catalogue, Suite, Target, Verdict};
use libtest_mimic::{Arguments, Failed, Trial};
use serde::Deserialize;

/// The secret every server is started with.
const SECRET: &str = "an interop secret of more than thirty-two bytes";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    /// The runtime under `target/interop`: `python` or `node`.
    runtime: String,
    /// The program and its arguments; `{key_file}` is where it leaves the private key that its tokens are signed with.
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
    #[expect(dead_code, reason = "for the reader of the file")]
    why: String,
}

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
    let tests = subjects
        .into_iter()
        .map(|(name, subject)| {
            let ready = program(&subject.runtime).is_file();
            let suite = suite.clone();
            let label = name.clone();
            Trial::test(name, move || judge(&suite, &label, &subject)).with_ignored_flag(!ready)
        })
        .collect();
    libtest_mimic::run(&arguments, tests).exit();
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn program(runtime: &str) -> PathBuf {
    let interop = root().join("target/interop");
    match runtime {
        "python" => interop.join("venv/bin/python"),
        // Node finds its modules beside the program, so the copy is what tells that it is set up.
        _ => interop.join("node/server.mjs"),
    }
}

/// A server that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(subject: &Subject, key_file: &str) -> Result<(Running, String), Failed> {
    let mut command = if subject.runtime == "python" {
        let mut command = Command::new(program("python"));
        command.arg(root().join("harness/tests/interop/python").join(&subject.run[0]));
        command
    } else {
        let mut command = Command::new("node");
        command.arg(root().join("target/interop/node").join(&subject.run[0]));
        command
    };
    if let Some(name) = &subject.secret_env {
        command.env(name, SECRET);
    }
    command
        .args(subject.run[1..].iter().map(|argument| argument.replace("{key_file}", key_file)))
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

fn judge(suite: &Suite, name: &str, subject: &Subject) -> Result<(), Failed> {
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
    let mut wrong = Vec::new();
    for trial in &report.trials {
        let plain = matches!(trial.verdict, Verdict::Pass | Verdict::Info | Verdict::NotApplicable);
        let expected = subject.findings.iter().find(|finding| finding.case == trial.id || finding.case == trial.code);
        if subject.strict && trial.verdict == Verdict::Fail && trial.severity >= Severity::Medium {
            wrong.push(format!("{} {} accuses a strict server: {}", trial.id, trial.name, trial.observed));
        }
        match (plain, expected) {
            (true, None) => {}
            (false, Some(finding))
                if finding.verdict == trial.verdict && trial.observed.contains(&finding.observed) => {}
            (_, Some(finding)) => wrong.push(format!(
                "{} {} is {:?} ({}), expected {:?} with \"{}\"",
                trial.id, trial.name, trial.verdict, trial.observed, finding.verdict, finding.observed
            )),
            (false, None) => wrong.push(format!(
                "{} {} is {:?} and not written down: expected {}, observed {}",
                trial.id, trial.name, trial.verdict, trial.expected, trial.observed
            )),
        }
    }
    for finding in &subject.findings {
        if !report.trials.iter().any(|trial| finding.case == trial.id || finding.case == trial.code) {
            wrong.push(format!("{} is written down and was not run", finding.case));
        }
    }
    let Summary { pass, fail, warn, .. } = report.summary();
    if wrong.is_empty() {
        Ok(())
    } else {
        wrong.push(format!("{pass} passed, {fail} failed, {warn} warned"));
        Err(Failed::from(wrong.join("\n")))
    }
}
