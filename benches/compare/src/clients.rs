//! What a handshake costs the harness, beside what it costs other clients.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{AT_ONCE, Cost, Plan, cost, secret};
use crate::measure::{Server, median, own};

/// A client of another author: how it is called for so many cycles, and which two numbers of cycles are subtracted.
struct Other<'p> {
    name: &'static str,
    spend: Box<dyn Fn(usize) -> io::Result<Cost> + 'p>,
    short: usize,
    long: usize,
}

impl Other<'_> {
    /// Microseconds of CPU per cycle; its start falls out.
    fn per_cycle(&self) -> io::Result<f64> {
        let (long, short) = ((self.spend)(self.long)?, (self.spend)(self.short)?);
        Ok((long.cpu - short.cpu) * 1e6 / (self.long - self.short) as f64)
    }
}

/// Those that are here, for the server at this port.
fn others(plan: &Plan, port: u16) -> Vec<Other<'_>> {
    // What each of them reads from its environment.
    let client = move |program: &Path, times: usize| {
        let mut command = Command::new(program);
        command.env("PORT", port.to_string()).env("TIMES", times.to_string()).env("AT_ONCE", AT_ONCE);
        command.env("SECRET", secret());
        command
    };
    let mut others = vec![Other {
        name: "fixed bytes",
        spend: Box::new(move |times| {
            let (port, times) = (port.to_string(), times.to_string());
            cost(Command::new(std::env::current_exe()?).args(["load", &port, &times, AT_ONCE, "cycle"]), &[0])
        }),
        short: 192,
        long: 10_192,
    }];
    if let Some(python) = &plan.python {
        for (name, lean) in
            [("Python websockets, as it is", "0"), ("Python websockets, without compression and proxies", "1")]
        {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python_client.py");
            let spend = move |times| cost(client(python, times).arg(script).env("LEAN", lean), &[0]);
            others.push(Other { name, spend: Box::new(spend), short: 192, long: 1_088 });
        }
    }
    if let Some(k6) = &plan.k6 {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/k6_client.js");
        let spend = move |times| cost(client(k6, times).args(["run", "--quiet", "--no-usage-report", script]), &[0]);
        others.push(Other { name: "k6", spend: Box::new(spend), short: 192, long: 5_192 });
    }
    if let Some(artillery) = &plan.artillery {
        let spend = move |times| with_artillery(client(artillery, times), times);
        others.push(Other { name: "artillery", spend: Box::new(spend), short: 50, long: 350 });
    }
    others
}

/// It ends with 0 whatever happened: its report tells whether every echo came.
fn with_artillery(mut command: Command, times: usize) -> io::Result<Cost> {
    /// Arrivals in a second that it keeps up with.
    const PACE: usize = 50;
    let report = std::env::temp_dir().join(format!("gatecrash-artillery-{}.json", std::process::id()));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/artillery_client.yaml");
    command.args(["run", "--quiet", script, "--output"]).arg(&report);
    command.env("SECONDS", times.div_ceil(PACE).to_string()).env("ARTILLERY_DISABLE_TELEMETRY", "true");
    let cost = cost(&mut command, &[0])?;
    let said: Value = serde_json::from_slice(&std::fs::read(&report)?).map_err(io::Error::other)?;
    std::fs::remove_file(&report)?;
    let counters = &said["aggregate"]["counters"];
    if counters["echoes"] != times {
        return Err(io::Error::other(format!("artillery: {times} echoes were to come: {counters}")));
    }
    Ok(cost)
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
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().await?;
    relaying.abort();
    if !matches!(status.code(), Some(0 | 1)) {
        return Err(io::Error::other(format!("gatecrash through a relay ended with {status}")));
    }
    Ok(count.load(Ordering::Relaxed))
}

/// Cases of the harness that do what the other clients do, and how often each of them does it.
const CYCLES: (usize, usize) = (200, 20);

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

/// CPU per handshake: the harness, a client of fixed bytes, and what others use.
pub(crate) async fn clients(plan: &Plan) -> io::Result<()> {
    let server = Server::start(&mut own("reference-close")?)?;
    let port = server.port;
    let file = std::env::temp_dir().join(format!("gatecrash-cycles-{}.yaml", std::process::id()));
    std::fs::write(&file, cycles())?;
    let file_name = file.to_string_lossy().into_owned();
    let (all, one) = ([&file_name, "--case", "BENCH"], [&file_name, "--case", "BENCH-001"]);
    // What is between two runs is handshakes, forged, sent and judged: reading the cases and starting falls out.
    let made = connections(plan, port, &all).await? - connections(plan, port, &one).await?;
    const SMALL: [&str; 2] = ["--case", "SIG-001"];
    let quick = connections(plan, port, &[]).await? - connections(plan, port, &SMALL).await?;
    // Every cycle has to succeed, as everybody's here.
    let cycles = |more: &[&str]| cost(&mut plan.run(port, more), &[0]);
    let run = |more: &[&str]| cost(&mut plan.run(port, more), &[0, 1]);
    let per_handshake = |long: Cost, short: Cost, count: usize| (long.cpu - short.cpu) * 1e6 / count as f64;
    let others = others(plan, port);
    let (mut cycle, mut whole) = (Vec::new(), Vec::new());
    let mut measured: Vec<Vec<f64>> = vec![Vec::new(); others.len()];
    for _ in 0..plan.rounds {
        cycle.push(per_handshake(cycles(&all)?, cycles(&one)?, made));
        let mut total = 0.0;
        for _ in 0..4 {
            total += per_handshake(run(&[])?, run(&SMALL)?, quick);
        }
        whole.push(total / 4.0);
        for (other, costs) in others.iter().zip(&mut measured) {
            costs.push(other.per_cycle()?);
        }
    }
    std::fs::remove_file(&file)?;
    println!("\nClient CPU per handshake, median of {} rounds ({made} and {quick} handshakes a run):", plan.rounds);
    println!("| client | us | harness's cycle to it | quick run to it |\n|---|---|---|---|");
    let ratio = |ours: &[f64], base: &[f64]| median(ours.iter().zip(base).map(|(ours, base)| ours / base).collect());
    let table: Vec<(&str, &Vec<f64>)> = [("harness, the same cycle", &cycle), ("harness, a whole quick run", &whole)]
        .into_iter()
        .chain(others.iter().map(|other| other.name).zip(&measured))
        .collect();
    for (name, costs) in &table {
        println!(
            "| {name} | {:.0} | {:.3} | {:.3} |",
            median(costs.to_vec()),
            ratio(&cycle, costs),
            ratio(&whole, costs)
        );
    }
    plan.write(&json!(table.iter().map(|(name, costs)| json!({"client": name, "us": costs})).collect::<Vec<_>>()))
}
