//! How a run goes: which share of it, how fast, when it stops, what is tried again, and what is kept of it.

use clap::{Args, ValueEnum};

use crate::Suite;
use crate::plan::Partition;
use crate::transcript::Transcript;
use crate::verdict::Severity;

/// The arguments about it.
#[derive(Debug, Args)]
#[command(next_help_heading = "How it goes")]
pub(super) struct Flow {
    /// Stop at the first failure of a server; what was not played by then is left out
    #[arg(long, conflicts_with = "max_failures")]
    fail_fast: bool,
    /// Stop after so many failures of a server that count
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_failures: Option<u32>,
    /// Play again what failed or could not be judged; what passes then is flaky, and fails the run where it was of high severity
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10), conflicts_with_all = ["fail_fast", "max_failures"])]
    retries: u32,
    /// Only the share M of N, for runs that share the work: hash:M/N
    #[arg(long, value_name = "hash:M/N")]
    partition: Option<Partition>,
    /// Begin at most so many sessions in a second
    #[arg(long, value_name = "PER SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// Show what was sent and received, of these cases
    #[arg(long, value_name = "WHICH", default_value = "none")]
    transcript: Which,
}

/// Of which cases.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    Failed,
    All,
    None,
}

impl Flow {
    /// The suite, as the arguments have it. Failures from `fail_on` up count.
    pub(super) fn put(&self, suite: Suite, fail_on: Severity) -> Suite {
        let mut suite = suite.retries(self.retries).transcript(match self.transcript {
            Which::Failed => Transcript::Failed,
            Which::All => Transcript::All,
            Which::None => Transcript::None,
        });
        let failures = if self.fail_fast { Some(1) } else { self.max_failures };
        if let Some(failures) = failures {
            suite = suite.stop_after(failures as usize, fail_on);
        }
        if let Some(partition) = self.partition {
            suite = suite.partition(partition);
        }
        match self.rate {
            Some(rate) => suite.rate(rate),
            None => suite,
        }
    }

    /// Whether only a share is wanted, which may be empty.
    pub(super) fn is_shared(&self) -> bool {
        self.partition.is_some()
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("a number from 0.01 to 100000".to_owned()),
    }
}
