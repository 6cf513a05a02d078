//! The harness beside other clients, and its runs beside a test suite of one's own.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::interface::SECRET;
use crate::measure::{Server, cpu_of_ended_children, median};

/// What is run, and how often.
pub(crate) struct Plan {
    rounds: usize,
    gatecrash: PathBuf,
    /// A Python with websockets and PyJWT; for the runs with pytest, FastAPI, uvicorn, uvloop and httptools as well.
    python: Option<PathBuf>,
    json: Option<PathBuf>,
}

/// Cycles of the short and of the long load of a client; the difference is what counts.
const SHORT: usize = 200;
const LONG: usize = 2_200;
/// Sessions in flight, for all.
const AT_ONCE: &str = "16";

impl Plan {
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> io::Result<Self> {
        let mut plan = Self { rounds: 5, gatecrash: "target/release/gatecrash".into(), python: None, json: None };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| io::Error::other(format!("{name} wants a value")))?;
            match name.as_str() {
                "--rounds" => plan.rounds = value.parse().map_err(io::Error::other)?,
                "--gatecrash" => plan.gatecrash = value.into(),
                "--python" => plan.python = Some(value.into()),
                "--json" => plan.json = Some(value.into()),
                _ => return Err(io::Error::other(format!("no option {name}"))),
            }
        }
        Ok(plan)
    }

    /// `gatecrash run` of these cases against the server at this port.
    fn run(&self, port: u16, more: &[&str]) -> Command {
        let mut command = Command::new(&self.gatecrash);
        let url = format!("ws://127.0.0.1:{port}/ws/{{token}}");
        command.args(["run", &url, "--profile", "personal-assistant", "--secret-env", "SECRET", "--jobs", AT_ONCE]);
        // Verdicts are not the question; a refusal by HTTP is no failure of anything here.
        command.args(more).env("SECRET", secret());
        command
    }

    /// The words that choose what a quick run asks of a token. None of it needs a silence to be waited for.
    ///
    /// Case by case, because a family names those of `--all` as well.
    fn token_cases(&self) -> io::Result<Vec<String>> {
        let mut list = Command::new(&self.gatecrash);
        list.args(["list", "AUTH", "ENC", "SIG", "CLM", "KEY", "--format", "json"]);
        let cases: Vec<Value> = serde_json::from_slice(&list.output()?.stdout).map_err(io::Error::other)?;
        let quick = cases.iter().filter(|case| case["set"] == "quick").filter_map(|case| case["code"].as_str());
        Ok(quick.flat_map(|code| ["--case".to_owned(), code.to_owned()]).collect())
    }
}

fn secret() -> String {
    String::from_utf8_lossy(SECRET).into_owned()
}

/// What a command costs from its start to its end.
#[derive(Debug, Clone, Copy)]
struct Cost {
    cpu: f64,
    wall: f64,
}

/// Runs a command; `good` are the exit codes with which it has done what it should.
fn cost(command: &mut Command, good: &[i32]) -> io::Result<Cost> {
    let (before, begun) = (cpu_of_ended_children()?, Instant::now());
    let output = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
    let wall = begun.elapsed().as_secs_f64();
    if !output.status.code().is_some_and(|code| good.contains(&code)) {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        return Err(io::Error::other(format!("{command:?} ended with {}: {said}", output.status)));
    }
    Ok(Cost { cpu: (cpu_of_ended_children()? - before).as_secs_f64(), wall })
}

/// How many connections a run makes: it is sent through a relay that counts them.
async fn connections(plan: &Plan, port: u16, more: &[&str]) -> io::Result<usize> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let (relay, count) = (listener.local_addr()?.port(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    let relaying = tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut there = TcpStream::connect(("127.0.0.1", port)).await?;
                tokio::io::copy_bidirectional(&mut here, &mut there).await
            });
        }
    });
    let mut command = tokio::process::Command::from(plan.run(relay, more));
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().await?;
    relaying.abort();
    Ok(count.load(Ordering::Relaxed))
}

/// Cases of the harness that do what the other clients do, and how often each of them does it.
const CYCLES: (usize, usize) = (100, 20);

/// The same cycle as a case for the harness: every time another token is forged, one text is said and its echo waited for,
/// and what came of it is judged.
fn cycles() -> String {
    let (cases, each) = CYCLES;
    let attempts = (1..=each).map(|attempt| attempt.to_string()).collect::<Vec<_>>().join(", ");
    let case = |number: usize| {
        format!(
            "  - code: BENCH-{number:03}\n    name: cycle-{number}\n    title: a token is admitted and a text comes back\n    \
             level: must\n    severity: high\n    source: [S0]\n    weakness: no-echo\n    needs: [echo]\n    \
             for: {{ attempt: [{attempts}] }}\n    steps:\n      \
             - open: {{ token: {{ forge: [{{ claims: {{ attempt: \"${{attempt}} of {number}\" }} }}] }} }}\n      \
             - alive: {{}}\n"
        )
    };
    let cases: String = (1..=cases).map(case).collect();
    format!("family: BENCH\ntitle: Cycles\ncases:\n{cases}")
}

/// CPU per handshake: the harness, a client of fixed bytes, and Python's `websockets`.
pub(crate) async fn clients(plan: &Plan) -> io::Result<()> {
    let server = Server::own("reference-close")?;
    let port = server.port;
    let file = std::env::temp_dir().join(format!("gatecrash-cycles-{}.yaml", std::process::id()));
    std::fs::write(&file, cycles())?;
    let file_name = file.to_string_lossy().into_owned();
    let (all, one) = ([&file_name, "--case", "BENCH"], [&file_name, "--case", "BENCH-001"]);
    // What is between two runs is handshakes, forged, sent and judged: reading the cases and starting falls out.
    let made = connections(plan, port, &all).await? - connections(plan, port, &one).await?;
    const SMALL: [&str; 2] = ["--case", "SIG-001"];
    let quick = connections(plan, port, &[]).await? - connections(plan, port, &SMALL).await?;
    let myself = std::env::current_exe()?;
    let words = port.to_string();
    let per = |long: Cost, short: Cost, count: usize| (long.cpu - short.cpu) * 1e6 / count as f64;
    let mut measured: [(&str, Vec<f64>); 5] = [
        ("fixed bytes", Vec::new()),
        ("harness, the same cycle", Vec::new()),
        ("harness, a whole quick run", Vec::new()),
        ("Python websockets, as it is", Vec::new()),
        ("Python websockets, without compression and proxies", Vec::new()),
    ];
    for _ in 0..plan.rounds {
        let load = |times: usize| {
            cost(Command::new(&myself).args(["load", &words, &times.to_string(), AT_ONCE, "cycle"]), &[0])
        };
        measured[0].1.push(per(load(LONG)?, load(SHORT)?, LONG - SHORT));
        let harness = |more: &[&str]| cost(&mut plan.run(port, more), &[0, 1]);
        measured[1].1.push(per(harness(&all)?, harness(&one)?, made));
        let mut total = 0.0;
        for _ in 0..4 {
            total += per(harness(&[])?, harness(&SMALL)?, quick);
        }
        measured[2].1.push(total / 4.0);
        let Some(interpreter) = &plan.python else { continue };
        for (place, lean) in [(3, "0"), (4, "1")] {
            let load = |times: usize| {
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python_client.py");
                let mut command = Command::new(interpreter);
                command.args([script, &words, &times.to_string(), AT_ONCE]).env("SECRET", secret()).env("LEAN", lean);
                cost(&mut command, &[0])
            };
            measured[place].1.push(per(load(LONG / 2)?, load(SHORT)?, LONG / 2 - SHORT));
        }
    }
    std::fs::remove_file(&file)?;
    println!("\nClient CPU per handshake, median of {} rounds ({made} and {quick} handshakes a run):", plan.rounds);
    println!("| client | us | harness's cycle to it | quick run to it |\n|---|---|---|---|");
    let ratio = |ours: &[f64], base: &[f64]| median(ours.iter().zip(base).map(|(ours, base)| ours / base).collect());
    for (name, costs) in measured.iter().filter(|(_, costs)| !costs.is_empty()) {
        let (cycle, quick) = (ratio(&measured[1].1, costs), ratio(&measured[2].1, costs));
        println!("| {name} | {:.0} | {cycle:.3} | {quick:.3} |", median(costs.clone()));
    }
    write(plan, json!(measured.iter().map(|(name, costs)| json!({"client": name, "us": costs})).collect::<Vec<_>>()))
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
    let tokens = plan.token_cases()?;
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
    write(plan, json!(all))
}

fn write(plan: &Plan, report: Value) -> io::Result<()> {
    match &plan.json {
        Some(path) => std::fs::write(path, report.to_string()),
        None => Ok(()),
    }
}
