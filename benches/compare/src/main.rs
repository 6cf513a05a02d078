//! Servers, clients and runs side by side, in interleaved rounds; ratios of CPU time and memory, never of wall time but
//! where the wait is what is asked for.
//!
//!     compare servers [--rounds N] [--cycles N] [--idle N] [--python PATH] [--malloc learning|keeps]
//!                     [--only NAME]... [--json FILE]
//!     compare clients [--rounds N] [--gatecrash PATH] [--python PATH] [--k6 PATH] [--artillery PATH] [--json FILE]
//!     compare runs    [--rounds N] [--gatecrash PATH] [--python PATH] [--json FILE]
//!     compare load PORT TIMES AT_ONCE cycle|refused|burst     the same load for a server of your own, to profile it
//!
//! Every server is a process of its own on one thread. Ratios are medians of the ratios of each round.

mod client;
mod clients;
mod harness;
mod interface;
mod measure;
mod runs;
mod servers;
mod side_by_side;
mod wire;

use std::io;
use std::process::ExitCode;

use side_by_side::Plan;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match arguments.next().as_deref() {
        Some("serve") => runtime.block_on(servers::serve(&arguments.next().unwrap_or_default())),
        Some("load") => {
            let words: Vec<String> = arguments.collect();
            let [port, times, at_once, what] = words.as_slice() else {
                return Err(io::Error::other("say: compare load PORT TIMES AT_ONCE cycle|refused|burst"));
            };
            let number = |word: &str| word.parse::<usize>().map_err(io::Error::other);
            let port = port.parse().map_err(io::Error::other)?;
            runtime.block_on(side_by_side::load(port, number(times)?, number(at_once)?, what))
        }
        Some("clients") => runtime.block_on(clients::clients(&harness::Plan::read(arguments)?)),
        Some("runs") => runtime.block_on(runs::runs(&harness::Plan::read(arguments)?)),
        Some("servers") => runtime.block_on(side_by_side::servers(&Plan::read(arguments)?)),
        _ => Err(io::Error::other("say: compare servers|clients|runs, and see the head of src/main.rs")),
    }
}
