//! The harness's own command: how it is called, and what a process costs.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::interface::SECRET;
use crate::measure::cpu_of_ended_children;

/// What is run, and how often.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) gatecrash: PathBuf,
    /// A Python with websockets and PyJWT; for the runs with pytest, FastAPI, uvicorn, uvloop and httptools as well.
    pub(crate) python: Option<PathBuf>,
    pub(crate) k6: Option<PathBuf>,
    pub(crate) artillery: Option<PathBuf>,
    json: Option<PathBuf>,
}

/// Sessions in flight, for all.
pub(crate) const AT_ONCE: &str = "16";

impl Plan {
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> io::Result<Self> {
        let mut plan = Self {
            rounds: 5,
            gatecrash: "target/release/gatecrash".into(),
            python: None,
            k6: None,
            artillery: None,
            json: None,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| io::Error::other(format!("{name} wants a value")))?;
            match name.as_str() {
                "--rounds" => plan.rounds = value.parse().map_err(io::Error::other)?,
                "--gatecrash" => plan.gatecrash = value.into(),
                "--python" => plan.python = Some(value.into()),
                "--k6" => plan.k6 = Some(value.into()),
                "--artillery" => plan.artillery = Some(value.into()),
                "--json" => plan.json = Some(value.into()),
                _ => return Err(io::Error::other(format!("no option {name}"))),
            }
        }
        Ok(plan)
    }

    /// `gatecrash run` of these cases against the server at this port.
    pub(crate) fn run(&self, port: u16, more: &[&str]) -> Command {
        let mut command = Command::new(&self.gatecrash);
        let url = format!("ws://127.0.0.1:{port}/ws/{{token}}");
        command.args(["run", &url, "--profile", "personal-assistant", "--secret-env", "SECRET", "--jobs", AT_ONCE]);
        // Verdicts are not the question; a refusal by HTTP is no failure of anything here.
        command.args(more).env("SECRET", secret());
        command
    }

    /// Where all figures go, if anybody asked for them.
    pub(crate) fn write(&self, report: &Value) -> io::Result<()> {
        match &self.json {
            Some(path) => std::fs::write(path, report.to_string()),
            None => Ok(()),
        }
    }
}

/// The secret of every server, for an environment.
pub(crate) fn secret() -> String {
    String::from_utf8_lossy(SECRET).into_owned()
}

/// What a command costs from its start to its end, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) cpu: f64,
    pub(crate) wall: f64,
}

/// Runs a command; `good` are the exit codes with which it has done what it should.
pub(crate) fn cost(command: &mut Command, good: &[i32]) -> io::Result<Cost> {
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
