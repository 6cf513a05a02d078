//! The life of a target that the run starts: the command, when it is ready, what it says, its end, and its next life where
//! a case has ended it.
//!
//! The command is a process group of its own, so that everything it starts ends with it, and an interrupt of ours reaches
//! it only when the reports are made.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::run::Interrupt;
use crate::target::Endpoint;

use super::{clean, complain};

/// The arguments about it.
#[derive(Debug, Args)]
#[command(next_help_heading = "The server")]
pub(super) struct Lifecycle {
    /// Start the server by this command of a shell, wait until it is ready, and stop it in the end
    #[arg(long, value_name = "CMD", conflicts_with = "target")]
    start: Option<String>,
    /// Keep what the started server says in this file; without it, its last lines are shown when something went wrong
    #[arg(long, value_name = "FILE", requires = "start")]
    start_log: Option<PathBuf>,
    /// Wait so many seconds for the server to answer before the run [default with --start: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    wait_ready: Option<u32>,
}

/// How long a started server may take to be ready, unless it is said.
const PATIENCE: u32 = 30;
/// Between two looks whether it is ready.
const LOOK: Duration = Duration::from_millis(50);
/// How long a server may take to answer a request of which it may think what it likes.
const ANSWER: Duration = Duration::from_secs(1);
/// How long it may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);
/// How often a server is started in one run: each case that ends it does so three times.
const MOST_LIVES: usize = 50;
/// How much of what it says is kept.
const TAIL_BYTES: usize = 16 << 10;
/// How many lines of that are shown.
const TAIL_LINES: usize = 20;

impl Lifecycle {
    /// Whether a server is to be started.
    pub(super) fn starts(&self) -> bool {
        self.start.is_some()
    }

    /// Where what the server says is kept, if it is.
    pub(super) fn log(&self) -> Option<&Path> {
        self.start_log.as_deref()
    }

    /// Whether there is anything to wait for.
    pub(super) fn waits(&self) -> bool {
        self.starts() || self.wait_ready.is_some()
    }

    /// Starts the server, if one is to be started.
    ///
    /// # Errors
    ///
    /// Why it cannot be, in words for a person; that somebody else answers at its address is one reason.
    pub(super) async fn start(&self, endpoint: &Endpoint) -> Result<Option<Started>, String> {
        let Some(command) = &self.start else { return Ok(None) };
        if !matches!(look(endpoint).await, Seen::Nobody(_)) {
            return Err(format!(
                "a server answers at {}:{} already, and it is not the one that --start would start",
                endpoint.host, endpoint.port
            ));
        }
        let log = match &self.start_log {
            Some(path) => Some(
                File::create(path).map_err(|error| format!("cannot write the log `{}`: {error}", path.display()))?,
            ),
            None => None,
        };
        let process = Process::new(command, log).map_err(|error| format!("cannot start `{command}`: {error}"))?;
        Ok(Some(Started { process: Some(process), lives: 1, death: None, is_server: false, is_lost: false }))
    }

    /// Starts a server again that has ended, and waits until it answers; whether it does. One that still runs is left
    /// alone, and so is one that has ended too often.
    pub(super) async fn again(&self, endpoint: &Endpoint, started: &mut Started, interrupt: &Interrupt) -> bool {
        let may = !started.is_lost && started.lives < MOST_LIVES;
        let Some(command) = self.start.as_ref().filter(|_| may) else { return false };
        // One that starts the server and ends is not the server: what becomes of that is not known.
        if !started.is_server {
            return false;
        }
        // Whoever started it as a child may need a moment longer to end.
        let deadline = Instant::now() + ANSWER;
        while started.ended().is_none() && Instant::now() < deadline && !interrupt.is_requested() {
            if !matches!(look(endpoint).await, Seen::Nobody(_)) {
                return false;
            }
            sleep(LOOK).await;
        }
        let Some(how) = started.ended() else { return false };
        let Some(process) = started.process.take() else { return false };
        started.death = Some(format!("{how}; {}", process.last_words()));
        let log = process.tail.lock().unwrap_or_else(PoisonError::into_inner).log.take();
        // Whatever of it is left would be in the way.
        drop(process);
        match Process::new(command, log) {
            Ok(process) => started.process = Some(process),
            Err(error) => {
                complain(&format!("cannot start `{command}` again: {error}"));
                started.is_lost = true;
                return false;
            }
        }
        started.lives += 1;
        if let Err(why) = self.ready(endpoint, Some(started), interrupt).await {
            complain(&why);
            started.is_lost = true;
        }
        // Somebody else may answer in its place.
        started.is_lost |= started.ended().is_some();
        !started.is_lost
    }

    /// Waits until the target answers, as long as it may take. What it has come to otherwise is said; the run then
    /// finds it out for itself, and reports it.
    pub(super) async fn ready(
        &self,
        endpoint: &Endpoint,
        started: Option<&Started>,
        interrupt: &Interrupt,
    ) -> Result<(), String> {
        let seconds = self.wait_ready.unwrap_or(PATIENCE);
        let deadline = Instant::now() + Duration::from_secs(u64::from(seconds));
        let place = format!("{}:{}", endpoint.host, endpoint.port);
        loop {
            let seen = look(endpoint).await;
            if seen == Seen::Answer || interrupt.is_requested() {
                return Ok(());
            }
            if let Some(how) = started.and_then(Started::failed) {
                return Err(format!("the server ended before it was ready: {how}"));
            }
            if Instant::now() >= deadline {
                return match seen {
                    Seen::Nobody(why) => Err(format!("nobody answered at {place} within {seconds} s: {why}")),
                    // What it hangs up on is for the run to say.
                    _ => Ok(()),
                };
            }
            sleep(LOOK).await;
        }
    }
}

/// What a look at an address found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// No connection.
    Nobody(String),
    /// A connection that was hung up without a word, as a proxy does whose server is not there yet.
    Nothing,
    /// Somebody who speaks, or waits for more.
    Answer,
}

async fn look(endpoint: &Endpoint) -> Seen {
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", endpoint.host_header());
    let asked = async {
        let mut stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
        if endpoint.tls {
            return Ok::<bool, io::Error>(true);
        }
        let mut byte = [0];
        let asked = stream.write_all(request.as_bytes()).await;
        Ok(asked.is_ok() && matches!(stream.read(&mut byte).await, Ok(1)))
    };
    match timeout(ANSWER, asked).await {
        Ok(Ok(true)) | Err(_) => Seen::Answer,
        Ok(Ok(false)) => Seen::Nothing,
        Ok(Err(error)) => Seen::Nobody(error.to_string()),
    }
}

/// A server that runs because we started it. It is stopped when this is dropped.
#[derive(Debug)]
pub(super) struct Started {
    /// The one that runs now. None where it could not be started again.
    process: Option<Process>,
    /// How often it was started.
    lives: usize,
    /// How the one before it ended, and what it said.
    death: Option<String>,
    /// Whether the command still ran when the server was ready, so that it is the server, and did not only start it.
    is_server: bool,
    /// Whether it could not be started again.
    is_lost: bool,
}

impl Started {
    /// The last lines it said.
    pub(super) fn last_words(&self) -> String {
        self.process.as_ref().map(Process::last_words).unwrap_or_default()
    }

    /// How it ended, if it has.
    fn ended(&self) -> Option<Ended> {
        self.process.as_ref().and_then(Process::ended)
    }

    /// How it failed, if it has. A command that ends well may have left a server behind.
    pub(super) fn failed(&self) -> Option<Ended> {
        self.ended().filter(|how| !how.is_success)
    }

    /// The server answers.
    pub(super) fn note_ready(&mut self) {
        self.is_server = self.ended().is_none();
    }

    /// How often it has ended and was started again, and how it ended the last time.
    pub(super) fn deaths(&self) -> Option<String> {
        let death = self.death.as_ref().filter(|_| self.lives > 1)?;
        let times = match self.lives - 1 {
            1 => "once".to_owned(),
            several => format!("{several} times, at last with"),
        };
        Some(format!("the command of --start ended and was started again, {times}: {death}"))
    }
}

/// A process of the command.
#[derive(Debug)]
struct Process {
    child: Child,
    tail: Arc<Mutex<Tail>>,
    readers: Vec<thread::JoinHandle<()>>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    is_success: bool,
    words: String,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words)
    }
}

/// The last of what a process said, and the file that gets all of it.
#[derive(Debug, Default)]
struct Tail {
    bytes: Vec<u8>,
    log: Option<File>,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(log) = &mut self.log
            && log.write_all(bytes).is_err()
        {
            // A full disk must not stop the server, which would wait for its pipe.
            self.log = None;
        }
        self.bytes.extend_from_slice(bytes);
        let over = self.bytes.len().saturating_sub(TAIL_BYTES);
        self.bytes.drain(..over);
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| clean(line)).collect()
    }
}

impl Process {
    fn new(command: &str, log: Option<File>) -> io::Result<Self> {
        let mut shell = shell(command);
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = shell.spawn()?;
        remember(&child);
        let tail = Arc::new(Mutex::new(Tail { bytes: Vec::new(), log }));
        let pipes: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
            child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ];
        let readers = pipes
            .into_iter()
            .flatten()
            .map(|mut pipe| {
                let tail = Arc::clone(&tail);
                thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                        tail.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..count]);
                    }
                })
            })
            .collect();
        Ok(Self { child, tail, readers })
    }

    /// The last lines it said.
    fn last_words(&self) -> String {
        if self.ended().is_some() {
            self.drain();
        }
        let lines = self.tail.lock().unwrap_or_else(PoisonError::into_inner).lines();
        match lines.is_empty() {
            true => "it said nothing".to_owned(),
            false => format!("its last words:\n  {}", lines.join("\n  ")),
        }
    }

    /// How it ended, if it has.
    fn ended(&self) -> Option<Ended> {
        ended(&self.child)
    }

    /// Asks it to end, and makes it, if it does not.
    fn stop(&mut self) {
        terminate(&mut self.child, Force::Ask);
        let deadline = std::time::Instant::now() + GRACE;
        while self.ended().is_none() && std::time::Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        // Also what it has left behind. Until it is waited for, its number is nobody else's.
        terminate(&mut self.child, Force::Make);
        let _ = self.child.wait();
        forget();
        self.drain();
    }

    /// Reads what was said at last and is still in the pipes. One that somebody else holds open is not waited for long.
    fn drain(&self) {
        let deadline = std::time::Instant::now() + Duration::from_millis(500);
        while self.readers.iter().any(|reader| !reader.is_finished()) && std::time::Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How it is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Force {
    /// It may say good-bye.
    Ask,
    /// It may not.
    Make,
}

/// The process group that runs because of us, for an end without good-bye.
static RUNNING: Mutex<Option<u32>> = Mutex::new(None);

fn remember(child: &Child) {
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(child.id());
}

fn forget() {
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Ends what was started, when this process ends at once.
pub(super) fn abandon() {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take();
    #[cfg(unix)]
    if let Some(id) = running {
        unix::signal(id, Force::Make);
    }
    #[cfg(not(unix))]
    let _ = running;
}

#[cfg(unix)]
use unix::{ended, shell, terminate};

#[cfg(unix)]
mod unix {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command};

    use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

    use super::{Ended, Force};

    pub(super) fn shell(command: &str) -> Command {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(command).process_group(0);
        shell
    }

    /// Looks without taking notice: until it is waited for, nobody else gets its number.
    pub(super) fn ended(child: &Child) -> Option<Ended> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(pid(child.id())?), options).ok().flatten()?;
        let words = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "it is not known how".to_owned(),
        };
        Some(Ended { is_success: status.exit_status() == Some(0), words })
    }

    pub(super) fn terminate(child: &mut Child, force: Force) {
        signal(child.id(), force);
    }

    pub(super) fn signal(id: u32, force: Force) {
        let signal = if force == Force::Ask { Signal::TERM } else { Signal::KILL };
        // That nobody is left in the group is what is wanted.
        let _ = pid(id).map(|pid| kill_process_group(pid, signal));
    }

    fn pid(id: u32) -> Option<Pid> {
        Pid::from_raw(i32::try_from(id).ok()?)
    }
}

#[cfg(not(unix))]
fn shell(command: &str) -> std::process::Command {
    let mut shell = std::process::Command::new("cmd");
    shell.arg("/C").arg(command);
    shell
}

#[cfg(not(unix))]
fn ended(_: &Child) -> Option<Ended> {
    None
}

#[cfg(not(unix))]
fn terminate(child: &mut Child, force: Force) {
    if force == Force::Make {
        let _ = child.kill();
    }
}
