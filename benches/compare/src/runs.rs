//! Whole runs of the harness beside a test suite of one's own, beside the longest wait in them, and starts beside those of
//! an interpreter.

use std::collections::BTreeMap;
use std::io;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Cost, Plan, cost, secret};
use crate::measure::{Server, median};

/// The words that choose what a quick run asks of a token. None of it needs a silence to be waited for.
///
/// Case by case, because a family names those of `--all` as well.
fn token_cases(plan: &Plan) -> io::Result<Vec<String>> {
    let mut list = Command::new(&plan.gatecrash);
    let output = list.args(["list", "AUTH", "ENC", "SIG", "CLM", "KEY", "--format", "json"]).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{list:?} ended with {}", output.status)));
    }
    let cases: Vec<Value> = serde_json::from_slice(&output.stdout).map_err(io::Error::other)?;
    let quick = cases.iter().filter(|case| case["set"] == "quick").filter_map(|case| case["code"].as_str());
    Ok(quick.flat_map(|code| ["--case".to_owned(), code.to_owned()]).collect())
}

/// Whole runs: with the bundled server and against one in FastAPI, beside twenty cases of pytest that start uvicorn.
pub(crate) async fn runs(plan: &Plan) -> io::Result<()> {
    let mut costs: Vec<(&str, Vec<Cost>)> = [
        "quick run, bundled server",
        "quick run, FastAPI",
        "all cases, bundled server",
        "quick run, five dialects",
        "token cases, bundled server",
        "token cases, FastAPI",
        "pytest and uvicorn",
    ]
    .map(|name| (name, Vec::new()))
    .to_vec();
    const PYTEST: usize = 6;
    let tokens = token_cases(plan)?;
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let fastapi = match &plan.python {
        Some(python) => {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/uvicorn_server.py");
            Some(Server::start(Command::new(python).arg(script).env("SECRET", secret()))?)
        }
        None => None,
    };
    for _ in 0..plan.rounds {
        let gatecrash = |words: &[&str]| cost(Command::new(&plan.gatecrash).arg("run").args(words), &[0]);
        costs[0].1.push(gatecrash(&["--dialect", "personal-assistant"])?);
        if let Some(fastapi) = &fastapi {
            // It may have failures of its own; here its time counts.
            costs[1].1.push(cost(&mut plan.run(fastapi.port, &[]), &[0, 1])?);
            costs[5].1.push(cost(&mut plan.run(fastapi.port, &tokens), &[0, 1, 5])?);
        }
        costs[2].1.push(gatecrash(&["--all", "--dialect", "personal-assistant"])?);
        costs[3].1.push(gatecrash(&[])?);
        costs[4].1.push(gatecrash(&[&["--dialect", "personal-assistant"], &tokens[..]].concat())?);
        if let Some(python) = &plan.python {
            let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/test_twenty_cases.py");
            let mut command = Command::new(python);
            command.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", cases]).env("SECRET", secret());
            costs[PYTEST].1.push(cost(&mut command, &[0])?);
        }
    }
    println!("\nWhole runs (median of {} rounds), and their ratio to pytest and uvicorn:", plan.rounds);
    println!("| run | wall s | CPU s | wall ratio | CPU ratio |\n|---|---|---|---|---|");
    let base = costs[PYTEST].1.clone();
    for (name, costs) in costs.iter().filter(|(_, costs)| !costs.is_empty()) {
        let of = |pick: fn(&Cost) -> f64| median(costs.iter().map(pick).collect());
        let ratio = |pick: fn(&Cost) -> f64| {
            median(costs.iter().zip(&base).map(|(cost, base)| pick(cost) / pick(base)).collect())
        };
        println!(
            "| {name} | {:.2} | {:.2} | {:.3} | {:.3} |",
            of(|cost| cost.wall),
            of(|cost| cost.cpu),
            ratio(|cost| cost.wall),
            ratio(|cost| cost.cpu)
        );
    }
    let all: Vec<_> = costs
        .iter()
        .map(|(name, costs)| json!({"run": name, "wall_s": costs.iter().map(|cost| cost.wall).collect::<Vec<_>>(), "cpu_s": costs.iter().map(|cost| cost.cpu).collect::<Vec<_>>()}))
        .collect();
    plan.write(&json!({"runs": all, "waits": waits(plan)?, "starts": starts(plan)?}))
}

/// All trials of each dialect beside the longest of them: trials that wait are to wait at the same time.
fn waits(plan: &Plan) -> io::Result<Value> {
    const DIALECTS: [&str; 5] = ["personal-assistant", "shipvox", "simutrador", "omni2", "strict"];
    let file = std::env::temp_dir().join(format!("gatecrash-waits-{}.json", std::process::id()));
    let mut ratios: [Vec<f64>; 5] = Default::default();
    for _ in 0..plan.rounds {
        for (dialect, ratios) in DIALECTS.iter().zip(&mut ratios) {
            let report = format!("json={}", file.display());
            cost(
                Command::new(&plan.gatecrash).args(["run", "--all", "--dialect", dialect, "--report", &report]),
                &[0],
            )?;
            let report: Value = serde_json::from_slice(&std::fs::read(&file)?).map_err(io::Error::other)?;
            let run = &report["runs"][0];
            let trials = run["cases"].as_array().map_or(&[][..], Vec::as_slice);
            let longest = trials.iter().filter_map(|trial| trial["duration_ms"].as_f64()).fold(f64::NAN, f64::max);
            ratios.push(run["duration_ms"].as_f64().unwrap_or(f64::NAN) / longest);
        }
    }
    std::fs::remove_file(&file)?;
    println!("\nAll trials of a dialect, wall, to the longest of them (median and most of {} rounds):", plan.rounds);
    println!("| dialect | median | most |\n|---|---|---|");
    for (dialect, ratios) in DIALECTS.iter().zip(&ratios) {
        let most = ratios.iter().copied().fold(f64::NAN, f64::max);
        println!("| {dialect} | {:.2} | {most:.2} |", median(ratios.clone()));
    }
    Ok(json!(DIALECTS.iter().zip(&ratios).collect::<BTreeMap<_, _>>()))
}

/// What it takes to start, beside an interpreter that does nothing.
fn starts(plan: &Plan) -> io::Result<Value> {
    let Some(python) = &plan.python else { return Ok(Value::Null) };
    /// Starts are so short that many are needed.
    const EACH: usize = 10;
    let mut walls: [(&str, Vec<f64>); 3] = [("--help", vec![]), ("list", vec![]), ("python -c pass", vec![])];
    for _ in 0..plan.rounds * EACH {
        walls[0].1.push(cost(Command::new(&plan.gatecrash).arg("--help"), &[0])?.wall);
        walls[1].1.push(cost(Command::new(&plan.gatecrash).arg("list"), &[0])?.wall);
        walls[2].1.push(cost(Command::new(python).args(["-c", "pass"]), &[0])?.wall);
    }
    println!("\nA start, and its ratio to Python's (median of {} turns):", plan.rounds * EACH);
    println!("| command | wall ms | wall ratio |\n|---|---|---|");
    for (name, wall) in &walls {
        let ratio = median(wall.iter().zip(&walls[2].1).map(|(wall, base)| wall / base).collect());
        println!("| {name} | {:.1} | {ratio:.3} |", median(wall.clone()) * 1e3);
    }
    Ok(json!(walls.iter().map(|(name, wall)| (*name, wall)).collect::<BTreeMap<_, _>>()))
}
