//! Whole runs of the harness beside a test suite of one's own.

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
    plan.write(&json!(all))
}
