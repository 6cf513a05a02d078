//! `gatecrash selftest`: the kill matrix, as a table and a figure.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args;
use gatecrash_reference_server::Fault;

use crate::report::Exit;
use crate::suite::Suite;

use super::matrix::{Kill, kill, toothless};
use super::{bundled, say};

/// What `gatecrash selftest` is told.
#[derive(Debug, Args)]
pub(super) struct Selftest {
    /// Only these faults; without any, all of them
    #[arg(value_parser = super::fault)]
    faults: Vec<Fault>,
    /// Servers at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
}

/// Seeds each fault in turn and tells which cases find it.
pub(super) fn selftest(arguments: &Selftest) -> Exit {
    let catalogue = match bundled() {
        Ok(catalogue) => catalogue,
        Err(exit) => return exit,
    };
    let suite = Suite::new(Ok(catalogue.clone()));
    let faults = if arguments.faults.is_empty() { Fault::ALL.to_vec() } else { arguments.faults.clone() };
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Result<Kill, String>>>> = Mutex::new(vec![None; faults.len()]);
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                loop {
                    // The same fault may be named twice, so that the place tells them apart.
                    let place = next.fetch_add(1, Ordering::SeqCst);
                    let Some(fault) = faults.get(place) else { break };
                    let result = match &runtime {
                        Ok(runtime) => runtime.block_on(kill(&suite, &catalogue, *fault)),
                        Err(error) => Err(error.to_string()),
                    };
                    if let Ok(mut results) = results.lock() {
                        results[place] = Some(result);
                    }
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_default();
    let width = faults.iter().map(|fault| fault.name().len()).max().unwrap_or_default();
    let mut killed = 0;
    let mut clean = 0;
    for (fault, result) in faults.iter().zip(&results) {
        let told = match result {
            Some(Ok(kill)) => {
                killed += usize::from(!kill.killed_by.is_empty());
                clean += usize::from(kill.is_clean());
                kill.to_string()
            }
            Some(Err(why)) => format!("could not be tried: {why}"),
            None => "was not tried".to_owned(),
        };
        say(&format!("{:width$}  {told}\n", fault.name()));
    }
    if arguments.faults.is_empty() {
        let kills: Vec<&Kill> = results.iter().flatten().flatten().collect();
        for (code, label) in toothless(&catalogue, kills) {
            say(&format!("no fault turns {code} ({label}) red\n"));
        }
    }
    let share = 100.0 * killed as f64 / faults.len().max(1) as f64;
    say(&format!(
        "{killed} of {} faults killed ({share:.1} %), {clean} of them by all their cases and nothing else\n",
        faults.len()
    ));
    if clean == faults.len() { Exit::Good } else { Exit::Failed }
}
