//! Processes and what they cost, from `/proc` (Linux).

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server in a process of its own; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    /// Starts it and waits for the port on its first line.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        match line.trim().parse() {
            Ok(port) => Ok(Self { child, port }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(io::Error::other(format!("{command:?} does not tell its port but {line:?}")))
            }
        }
    }

    /// CPU time of all its threads that live, user and system.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let mut total = Duration::ZERO;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end between the two looks.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let nanoseconds = text.split_whitespace().next().and_then(|word| word.parse().ok());
            total += Duration::from_nanos(nanoseconds.ok_or_else(|| io::Error::other("no schedstat"))?);
        }
        Ok(total)
    }

    /// Pages that the kernel had to lay under its memory so far, without a look at a disk.
    pub(crate) fn page_faults(&self) -> io::Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may hold anything; field 10 is counted from behind it.
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        let faults = fields.split_whitespace().nth(7).and_then(|word| word.parse().ok());
        faults.ok_or_else(|| io::Error::other("no count of page faults"))
    }

    /// Resident memory in bytes.
    pub(crate) fn rss(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| io::Error::other("no VmRSS"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command of one of this program's own servers.
pub(crate) fn own(name: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", name]);
    Ok(command)
}

/// CPU time of the children of this process that have ended and were waited for, in steps of 10 ms.
pub(crate) fn cpu_of_ended_children() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may hold anything; fields 16 and 17 are counted from behind it.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks = fields.split_whitespace().skip(13).take(2).map(str::parse::<u64>);
    let ticks = ticks.sum::<Result<u64, _>>().map_err(io::Error::other)?;
    Ok(Duration::from_millis(ticks * 10))
}

/// The middle of some numbers; NaN of none.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => numbers[n / 2],
        n => (numbers[n / 2 - 1] + numbers[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0]) - 2.5).abs() < 1e-9);
    }
}
