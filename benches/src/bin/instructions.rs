//! Counts the instructions of the hot paths, and holds them to the committed baseline.
//!
//! ```text
//! cargo run --release -p gatecrash-benches --bin instructions              compare; the gate of `.ci/run`
//! cargo run --release -p gatecrash-benches --bin instructions -- --write   write the baseline anew
//! ```
//!
//! Each path runs twice under callgrind, which counts what the whole process does: once few times, once a few times more.
//! The difference is the path, without the set-up. Counts repeat to a fraction of a percent on any machine, however busy,
//! but only with the same compiler, the same valgrind and the same kind of processor (what valgrind shows of it decides
//! which code the cryptography chooses). A baseline therefore names its environment. In one that has none nothing is
//! compared, which is said in capitals; the goals, which are ratios of two counts of one run, hold everywhere.
//!
//! valgrind hides the SHA instructions, so that hashing counts for more here than it takes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::{env, fs};

use gatecrash_benches::{Task, pipe, rooms, tokens};

/// How much more than the baseline is a regression, in percent.
const TOLERANCE: f64 = 5.0;
/// Goes that both runs make: what is done only once is done then.
const BEFORE: u32 = 2;
/// Goes that only one of them makes.
const COUNTED: u32 = 10;
/// The same for paths so short that the set-up, whose tables are in another order in every process, would drown ten.
const SHORT: [(&str, u32); 5] = [
    ("handshake/reference", 200),
    ("handshake/by-hand", 200),
    ("rooms/forge/valid", 1_000),
    ("rooms/oracle/valid", 1_000),
    ("rooms/judge/served", OF_TINY),
];

/// A path of fewer instructions than [`TINY`] goes so often: the process itself takes some fifty more or less each time,
/// which are much beside it.
const TINY: u64 = 10_000;
const OF_TINY: u32 = 20_000;

/// Two paths and the most that the first may cost of the second (P7, P8 and P9 of the README,
/// and the distance to the floor). P7 is 0.5 in time; here hashing weighs more, on both sides alike.
const GOALS: &[(&str, &str, f64)] = &[
    ("token/HS256/200B/admitted/gate", "token/HS256/200B/admitted/jsonwebtoken", 0.6),
    ("token/HS256/200B/admitted/gate", "token/HS256/200B/admitted/floor", 1.25),
    ("token/HS256/4KB/admitted/gate", "token/HS256/4KB/admitted/jsonwebtoken", 0.9),
    ("handshake/reference", "handshake/by-hand", 1.75),
    ("token/over-the-cap/64KB/gate", "token/no-period/200B/gate", 0.3),
];

type Counts = BTreeMap<String, u64>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match &arguments[..] {
        ["run", name, times] => run(name, times),
        [] => check(false),
        ["--write"] => check(true),
        _ => Err("usage: instructions [--write]".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "instructions: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The paths of one kind; the set-up of the other is spared.
fn tasks(kind: &str) -> Vec<Task> {
    match kind {
        "token" => tokens::counted(),
        "handshake" => pipe::counted(),
        // Without two that go through tables whose order is another in every process, and another number with it.
        _ => rooms::tasks()
            .into_iter()
            .filter(|task| !["catalogue/checked", "judge/refused"].contains(&task.name.as_str()))
            .collect(),
    }
}

fn names() -> Vec<String> {
    let of = |kind: &str| tasks(kind).into_iter().map(|task| format!("{kind}/{}", task.name)).collect::<Vec<_>>();
    [of("handshake"), of("token"), of("rooms")].concat()
}

/// What valgrind watches.
fn run(name: &str, times: &str) -> Result<(), String> {
    let times: u32 = times.parse().map_err(|_| format!("`{times}` is no number"))?;
    let (kind, rest) = name.split_once('/').ok_or("a name without a kind")?;
    let tasks = tasks(kind);
    let task = tasks.iter().find(|task| task.name == rest).ok_or_else(|| format!("no path is called `{name}`"))?;
    for _ in 0..times {
        task.run();
    }
    Ok(())
}

fn start(name: &str, times: u32) -> Result<Child, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["run", name, &times.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("valgrind does not start: {error}"))
}

/// The instructions of a whole process.
fn collected(child: Child) -> Result<u64, String> {
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let told = String::from_utf8_lossy(&output.stderr);
    let count = told.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    count.filter(|_| output.status.success()).ok_or_else(|| format!("valgrind gave no count:\n{told}"))
}

/// The instructions of one go.
fn count(name: &str) -> Result<u64, String> {
    let times = SHORT.iter().find(|(short, _)| *short == name).map_or(COUNTED, |(_, times)| *times);
    match counted(name, times)? {
        ..TINY if times < OF_TINY => counted(name, OF_TINY),
        each => Ok(each),
    }
}

fn counted(name: &str, times: u32) -> Result<u64, String> {
    let (few, more) = (start(name, BEFORE)?, start(name, BEFORE + times)?);
    let (few, more) = (collected(few)?, collected(more)?);
    more.checked_sub(few).map(|all| all / u64::from(times)).ok_or_else(|| format!("{name} costs less than nothing"))
}

fn version(program: &str) -> Result<String, String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.map_err(|error| format!("{program} does not start: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What a count depends on.
fn environment() -> Result<String, String> {
    #[cfg(target_arch = "x86_64")]
    let processor = if std::is_x86_feature_detected!("avx2") { "avx2" } else { "no avx2" };
    #[cfg(not(target_arch = "x86_64"))]
    let processor = "any";
    let (arch, system) = (env::consts::ARCH, env::consts::OS);
    Ok(format!("{arch} {system}, {processor}, {}, {}", version("rustc")?, version("valgrind")?))
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("instructions.txt")
}

/// The baselines by environment. A heading is `[environment]`, a line a name and a count.
fn read(text: &str) -> BTreeMap<String, Counts> {
    let mut all = BTreeMap::new();
    let mut section = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = Some(all.entry(name.to_owned()).or_insert_with(Counts::new));
        } else if let (Some(section), Some((name, count))) = (&mut section, line.rsplit_once(' '))
            && let Ok(count) = count.parse()
        {
            section.insert(name.to_owned(), count);
        }
    }
    all
}

fn write(all: &BTreeMap<String, Counts>) -> String {
    let mut text =
        "# Instructions of one go, by environment. Made by `instructions --write`; see README.md.\n".to_owned();
    for (environment, counts) in all {
        let _ = write!(text, "\n[{environment}]\n");
        for (name, count) in counts {
            let _ = writeln!(text, "{name} {count}");
        }
    }
    text
}

fn check(writes: bool) -> Result<(), String> {
    let environment = environment()?;
    let mut counts = Counts::new();
    for name in names() {
        counts.insert(name.clone(), count(&name)?);
    }
    let text = match fs::read_to_string(file()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && writes => String::new(),
        read => read.map_err(|error| format!("the baseline {} cannot be read: {error}", file().display()))?,
    };
    let mut all = read(&text);
    // Hash tables are in another order in every process, and now and then one makes a path dear: a regression is there twice.
    if let Some(baseline) = all.get(&environment) {
        for (name, counted) in &mut counts {
            if baseline.get(name).is_some_and(|before| *counted as f64 > *before as f64 * (1.0 + TOLERANCE / 100.0)) {
                *counted = count(name)?.min(*counted);
            }
        }
    }
    let (told, wrong) = compare(&environment, &counts, all.get(&environment), all.keys());
    let mut out = io::stdout().lock();
    let said = out.write_all(told.as_bytes()).and_then(|()| out.flush());
    said.map_err(|error| error.to_string())?;
    if writes {
        all.insert(environment, counts);
        fs::write(file(), write(&all)).map_err(|error| error.to_string())?;
    }
    // A new baseline forgives what is slower, and no goal that is missed.
    let wrong: Vec<&String> = wrong.iter().filter(|(goal, _)| *goal || !writes).map(|(_, text)| text).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let wrong: Vec<&str> = wrong.into_iter().map(String::as_str).collect();
    Err(wrong.join("\n"))
}

/// What is to be told, and what is wrong: whether it is a goal, and a sentence.
fn compare<'e>(
    environment: &str,
    counts: &Counts,
    baseline: Option<&Counts>,
    known: impl Iterator<Item = &'e String>,
) -> (String, Vec<(bool, String)>) {
    let mut told = format!("{environment}\n");
    let mut wrong = Vec::new();
    for (name, count) in counts {
        let before = baseline.and_then(|baseline| baseline.get(name));
        let change = before.map(|before| (*count as f64 / *before as f64 - 1.0) * 100.0);
        let beside = change.map(|change| format!("{change:+.1} %")).unwrap_or_default();
        let _ = writeln!(told, "{name:<52} {count:>10} {beside}");
        match change {
            Some(change) if change > TOLERANCE => wrong.push((
                false,
                format!("{name}: {count} instructions are {change:.1} % above the baseline; {TOLERANCE} % are allowed"),
            )),
            Some(change) if change < -TOLERANCE => {
                let _ = writeln!(told, "  much less than the baseline: write it anew, or the gain can be lost unseen");
            }
            None if baseline.is_some() => {
                wrong.push((false, format!("{name} is not in the baseline: write it anew with `--write`")));
            }
            _ => {}
        }
    }
    for name in baseline.into_iter().flat_map(Counts::keys).filter(|name| !counts.contains_key(*name)) {
        wrong.push((false, format!("{name} is in the baseline and nowhere else: write it anew with `--write`")));
    }
    for (path, beside, most) in GOALS {
        let (Some(path_count), Some(beside_count)) = (counts.get(*path), counts.get(*beside)) else {
            wrong.push((true, format!("no count of {path} or of {beside}")));
            continue;
        };
        let ratio = *path_count as f64 / *beside_count as f64;
        let _ = writeln!(told, "goal: {path} : {beside} = {ratio:.2}, at most {most}");
        if ratio > *most {
            wrong.push((true, format!("a goal is missed: {path} : {beside} = {ratio:.2}, and {most} is the most")));
        }
    }
    if baseline.is_none() {
        let _ = writeln!(told, "\nNOT COMPARED WITH A BASELINE: there is none for\n  {environment}\nbut only for");
        for known in known {
            let _ = writeln!(told, "  {known}");
        }
        let _ =
            writeln!(told, "Only the goals were held. `instructions --write` makes a baseline for this environment.");
    }
    (told, wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(gate: u64) -> Counts {
        let mut counts = Counts::new();
        for (path, beside, most) in GOALS {
            counts.entry((*beside).to_owned()).or_insert(1_000_000);
            counts.entry((*path).to_owned()).or_insert((1_000_000.0 * most / 2.0) as u64);
        }
        counts.insert("token/x".to_owned(), gate);
        counts
    }

    fn wrong(now: &Counts, baseline: Option<&Counts>) -> usize {
        compare("here", now, baseline, [].into_iter()).1.len()
    }

    #[test]
    fn what_costs_more_than_is_allowed_is_wrong() {
        let baseline = counts(1000);
        assert_eq!(wrong(&counts(1049), Some(&baseline)), 0);
        assert_eq!(wrong(&counts(1051), Some(&baseline)), 1);
        assert_eq!(wrong(&counts(500), Some(&baseline)), 0);
    }

    #[test]
    fn a_path_that_only_one_side_knows_is_wrong() {
        let mut more = counts(1000);
        more.insert("token/y".to_owned(), 1);
        assert_eq!(wrong(&more, Some(&counts(1000))), 1);
        assert_eq!(wrong(&counts(1000), Some(&more)), 1);
    }

    #[test]
    fn a_goal_is_held_without_a_baseline_too_and_that_there_is_none_is_said() {
        let mut slow = counts(1000);
        slow.insert(GOALS[0].0.to_owned(), 990_000);
        assert!(wrong(&slow, None) > 0);
        assert_eq!(wrong(&counts(1000), None), 0);
        assert!(compare("here", &counts(1000), None, [].into_iter()).0.contains("NOT COMPARED"));
        assert!(!compare("here", &counts(1000), Some(&counts(1000)), [].into_iter()).0.contains("NOT COMPARED"));
    }

    #[test]
    fn what_is_written_is_read() {
        let all = BTreeMap::from([("one, a b".to_owned(), counts(7)), ("two".to_owned(), counts(8))]);
        assert_eq!(read(&write(&all)), all);
    }
}
