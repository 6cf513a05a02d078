//! The rounds of the servers, and the table of their ratios.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::client::{BURST, Client, Talk, repeat};
use crate::interface::SECRET;
use crate::measure::{Server, median, own};
use crate::servers::NAMES;

/// Connections that take part in the bursts.
const BURSTING: usize = 16;

/// What is measured, and how often.
pub(crate) struct Plan {
    rounds: usize,
    cycles: usize,
    idle: usize,
    /// A Python with FastAPI, uvicorn, uvloop, httptools and websockets.
    python: Option<PathBuf>,
    malloc: Malloc,
    only: Vec<String>,
    json: Option<PathBuf>,
}

/// What glibc's allocator does with memory that is free again. As it comes, it learns that from what a process happens to
/// free and in which order; to a server with a large buffer per connection the difference is a factor of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Malloc {
    Learning,
    /// Gives nothing back to the kernel.
    Keeps,
}

impl Plan {
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> io::Result<Self> {
        let mut plan = Self {
            rounds: 7,
            cycles: 4_000,
            idle: 10_000,
            python: None,
            malloc: Malloc::Learning,
            only: Vec::new(),
            json: None,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| io::Error::other(format!("{name} wants a value")))?;
            let number = || value.parse().map_err(|_| io::Error::other(format!("{name} wants a number")));
            match name.as_str() {
                "--rounds" => plan.rounds = number()?,
                "--cycles" => plan.cycles = number()?,
                "--idle" => plan.idle = number()?,
                "--python" => plan.python = Some(value.into()),
                "--malloc" => {
                    plan.malloc = match value.as_str() {
                        "learning" => Malloc::Learning,
                        "keeps" => Malloc::Keeps,
                        _ => {
                            return Err(io::Error::other(format!("--malloc is learning or keeps, not {value}")));
                        }
                    }
                }
                "--json" => plan.json = Some(value.into()),
                "--only" => plan.only.push(value),
                _ => return Err(io::Error::other(format!("no option {name}"))),
            }
        }
        Ok(plan)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = NAMES.map(str::to_owned).to_vec();
        if self.python.is_some() {
            names.push("uvicorn".to_owned());
        }
        names.retain(|name| self.only.is_empty() || name == NAMES[0] || self.only.contains(name));
        names
    }

    fn start(&self, name: &str) -> io::Result<Server> {
        let mut command = match (&self.python, name) {
            (Some(python), "uvicorn") => {
                let mut command = Command::new(python);
                command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/uvicorn_server.py"));
                command.env("SECRET", String::from_utf8_lossy(SECRET).as_ref());
                command
            }
            _ => own(name)?,
        };
        if self.malloc == Malloc::Keeps {
            let tunables = "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=1073741824";
            command.env("GLIBC_TUNABLES", tunables);
        }
        Server::start(&mut command)
    }
}

/// Microseconds of server CPU per unit, by measure, server and round.
type Costs = BTreeMap<&'static str, BTreeMap<String, Vec<f64>>>;

/// The measure that is a count, no time: pages per cycle that the kernel laid under the server's memory.
const PAGES: &str = "pages laid per cycle @64";

/// Runs the rounds and prints the tables.
pub(crate) async fn servers(plan: &Plan) -> io::Result<()> {
    let names = plan.names();
    let mut costs = Costs::new();
    {
        let mut running = Vec::new();
        for name in &names {
            let server = plan.start(name)?;
            let client = Client::new(server.port, "alice").map_err(io::Error::other)?;
            running.push((name, server, client));
        }
        // The first round warms caches and allocators, and is not counted.
        for round in 0..=plan.rounds {
            for (name, server, client) in &running {
                let slow = if name.as_str() == "uvicorn" { 4 } else { 1 };
                for (measure, cost) in round_of(server, client, plan.cycles / slow).await? {
                    if round > 0 {
                        costs.entry(measure).or_default().entry((*name).clone()).or_default().push(cost);
                    }
                }
            }
        }
    }
    let mut memory = BTreeMap::new();
    let mut measured = Ok(());
    for name in names.iter().filter(|_| plan.idle > 0) {
        let per_connection = async { idle(plan.start(name)?, plan.idle).await }.await;
        match per_connection {
            Ok(bytes) => drop(memory.insert(name.clone(), bytes)),
            // What was measured before is not lost.
            Err(error) => measured = Err(io::Error::new(error.kind(), format!("idle connections of {name}: {error}"))),
        }
    }
    print(plan, &names, &costs, &memory);
    if let Some(path) = &plan.json {
        let report = json!({
            "rounds": plan.rounds, "cycles": plan.cycles, "cpu_us": costs,
            "idle_connections": plan.idle, "idle_bytes": memory,
        });
        fs::write(path, report.to_string())?;
    }
    measured
}

/// One kind of load, for a server that listens already.
pub(crate) async fn load(port: u16, times: usize, at_once: usize, what: &str) -> io::Result<()> {
    let client = Client::new(port, "alice").map_err(io::Error::other)?;
    match what {
        "cycle" => repeat(times, at_once, move || cycle_of(Arc::clone(&client))).await,
        "refused" => repeat(times, at_once, move || refused_of(Arc::clone(&client))).await,
        "burst" => bursts(&client, times, talks(&client, at_once).await?).await.map(drop),
        _ => Err(io::Error::other(format!("no load `{what}`"))),
    }
}

async fn round_of(server: &Server, client: &Arc<Client>, cycles: usize) -> io::Result<Vec<(&'static str, f64)>> {
    let mut costs = Vec::new();
    for (at_once, cycle, refused) in [(64, "cycle @64", "refused @64"), (256, "cycle @256", "refused @256")] {
        let (before, pages) = (server.cpu()?, server.page_faults()?);
        let load = Arc::clone(client);
        repeat(cycles, at_once, move || cycle_of(Arc::clone(&load))).await?;
        costs.push((cycle, per(server, before, cycles).await?));
        if at_once == 64 {
            costs.push((PAGES, (server.page_faults()? - pages) as f64 / cycles as f64));
        }
        let before = server.cpu()?;
        let load = Arc::clone(client);
        repeat(cycles, at_once, move || refused_of(Arc::clone(&load))).await?;
        costs.push((refused, per(server, before, cycles).await?));
    }
    let talks = talks(client, BURSTING).await?;
    let before = server.cpu()?;
    let each = (cycles / 20).div_ceil(BURSTING);
    // Their ends are not counted.
    let talks = bursts(client, each, talks).await?;
    costs.push(("burst of 100", per(server, before, each * talks.len()).await?));
    Ok(costs)
}

async fn talks(client: &Client, count: usize) -> io::Result<Vec<Talk>> {
    let mut talks = Vec::with_capacity(count);
    for _ in 0..count {
        talks.push(client.idle().await?);
    }
    Ok(talks)
}

/// So many bursts on each connection, side by side.
async fn bursts(client: &Arc<Client>, each: usize, talks: Vec<Talk>) -> io::Result<Vec<Talk>> {
    let mut workers = JoinSet::new();
    for mut talk in talks {
        let client = Arc::clone(client);
        workers.spawn(async move {
            for _ in 0..each {
                client.burst(&mut talk).await?;
            }
            io::Result::Ok(talk)
        });
    }
    let mut talks = Vec::new();
    while let Some(worker) = workers.join_next().await {
        talks.push(worker.map_err(io::Error::other)??);
    }
    Ok(talks)
}

async fn cycle_of(client: Arc<Client>) -> io::Result<()> {
    client.cycle().await
}

async fn refused_of(client: Arc<Client>) -> io::Result<()> {
    client.refused().await
}

/// Microseconds of CPU per unit since `before`, once the server has come to rest.
async fn per(server: &Server, before: Duration, units: usize) -> io::Result<f64> {
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok((server.cpu()? - before).as_secs_f64() * 1e6 / units as f64)
}

/// Bytes of resident memory per idle connection of a server that was just started.
async fn idle(server: Server, count: usize) -> io::Result<f64> {
    // What it needs once is there before the first look.
    let client = Client::new(server.port, "alice").map_err(io::Error::other)?;
    repeat(64, 16, {
        let client = Arc::clone(&client);
        move || cycle_of(Arc::clone(&client))
    })
    .await?;
    let before = server.rss()?;
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        held.push(client.idle().await?);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok((server.rss()?.saturating_sub(before)) as f64 / held.len() as f64)
}

fn print(plan: &Plan, names: &[String], costs: &Costs, memory: &BTreeMap<String, f64>) {
    println!(
        "Server CPU in us (median of {} rounds), and how often that of `raw` (median of the rounds' ratios)",
        plan.rounds
    );
    println!();
    println!("| | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    let ratio = |measure: &str, name: &str, base: &str| {
        let of = |name: &str| costs.get(measure).and_then(|costs| costs.get(name)).map_or(&[][..], Vec::as_slice);
        median(of(name).iter().zip(of(base)).map(|(cost, base)| cost / base).collect())
    };
    for (measure, by_name) in costs {
        let cell = |name: &String| {
            let cost = median(by_name.get(name).cloned().unwrap_or_default());
            match *measure {
                PAGES => format!("{cost:.1}"),
                _ => format!("{cost:.1} ({:.2}x)", ratio(measure, name, NAMES[0])),
            }
        };
        println!("| {measure} | {} |", names.iter().map(cell).collect::<Vec<_>>().join(" | "));
    }
    if !memory.is_empty() {
        let cell = |name: &String| format!("{:.1} KB", memory.get(name).copied().unwrap_or(f64::NAN) / 1e3);
        let cells: Vec<String> = names.iter().map(cell).collect();
        println!("| memory per idle connection ({}) | {} |", plan.idle, cells.join(" | "));
    }
    println!();
    let ours = "reference";
    for base in names.iter().filter(|name| *name != ours) {
        let times = costs.keys().filter(|measure| **measure != PAGES);
        let ratios: Vec<String> = times.map(|measure| format!("{measure} {:.3}", ratio(measure, ours, base))).collect();
        let memory = match (memory.get(ours), memory.get(base)) {
            (Some(ours), Some(base)) => format!("; memory {:.3}", ours / base),
            _ => String::new(),
        };
        println!("{ours} / {base}: {}{memory}", ratios.join(", "));
    }
    println!("burst: {BURST} texts of 64 bytes, of {BURSTING} connections");
}
