//! The subcommands. Data goes to stdout; progress, logs and errors go to stderr.
//!
//! The only room that knows the reference server: the library and the server meet on the wire.

pub mod bundled_server;
pub mod certificates;
mod compare;
mod connect;
mod explain;
mod file;
mod flow;
mod fmt;
mod hide;
mod init;
mod lifecycle;
mod list;
pub mod matrix;
mod narrow;
mod own;
mod probe;
mod run;
mod schema;
mod selftest;
mod serve;
mod signals;

use std::io::{ErrorKind, Write as _};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::catalogue::Catalogue;
use crate::document::{self, Diagnostics};
use crate::redact::Redactor;
use crate::report::Exit;
use crate::secret::SecretBytes;
use clap::{Parser, Subcommand};
use gatecrash_reference_server::{Dialect, Fault, UnknownDialect, UnknownFault};

/// Proves whether a JWT-guarded WebSocket endpoint holds.
#[derive(Debug, Parser)]
#[command(name = "gatecrash", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge a server; without a URL, the bundled one in each of its dialects
    Run(Box<run::Run>),
    /// Write a first profile, by asking or by flags
    Init(Box<init::Init>),
    /// Find out what a server is like, and write a profile of what was seen
    Probe(Box<probe::Probe>),
    /// Say what is wrong with files of cases and profiles; nothing is sent
    Check(own::Check),
    /// List the cases
    List(list::List),
    /// Say all about one case: the rule, what is sent, what is right, and how to mend it
    Explain(explain::Explain),
    /// Lay out cases and profiles in one way
    Fmt(fmt::Fmt),
    /// Say where two results disagree, even if both conform; ends with 1 where verdicts differ
    Compare(compare::Compare),
    /// Prove that every case can fail: seed each fault in the bundled server and see which cases find it
    Selftest(selftest::Selftest),
    /// Print the JSON Schema of a profile, of a file of cases, or of a result
    Schema(schema::Schema),
    /// Start the reference server
    Serve(Box<serve::Serve>),
}

/// What must not stand in any message: filled as soon as a secret is known.
static REDACTOR: LazyLock<Mutex<Redactor>> = LazyLock::new(Mutex::default);

/// Reads the arguments, does what they ask, and gives the exit code.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let message = payload.downcast_ref::<&str>().copied();
        let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words");
        let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
        complain(&format!("this is a bug in gatecrash{place}: {message}"));
    }));
    let done = std::panic::catch_unwind(AssertUnwindSafe(|| execute(arguments)));
    ExitCode::from(done.unwrap_or(Exit::OurFault) as u8)
}

fn execute(arguments: Arguments) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return Exit::OurFault;
        }
    };
    let exit = match arguments.command {
        Command::Run(arguments) => runtime.block_on(run::run(*arguments)),
        Command::Init(arguments) => init::init(&arguments),
        Command::Probe(arguments) => runtime.block_on(probe::probe(*arguments)),
        Command::Selftest(arguments) => selftest::selftest(&arguments),
        Command::Compare(arguments) => compare::compare(&arguments),
        Command::Fmt(arguments) => fmt::fmt(&arguments),
        Command::Check(arguments) => own::check(&arguments),
        Command::List(arguments) => list::list(&arguments),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Schema(arguments) => schema::schema(&arguments),
        Command::Serve(arguments) => runtime.block_on(serve::serve(*arguments)),
    };
    // A name that is still being looked up must not hold up the end.
    runtime.shutdown_background();
    // As for a report that cannot be written.
    if exit == Exit::Good && IS_LOST.load(Ordering::Relaxed) { Exit::Usage } else { exit }
}

/// Keeps this secret out of every message from now on, those of a panic included.
fn conceal(secret: &SecretBytes) {
    let mut redactor = REDACTOR.lock().unwrap_or_else(PoisonError::into_inner);
    *redactor = redactor.clone().and(secret);
}

/// A line of somebody else's, as it may be shown.
fn clean(line: &str) -> String {
    REDACTOR.lock().unwrap_or_else(PoisonError::into_inner).clean(line)
}

/// Tells a person what went wrong. When nobody can be told, the exit code still says it.
fn complain(message: &str) {
    // A panic may come from anywhere, and must not wait for a lock that its own thread holds.
    let message = match REDACTOR.try_lock() {
        Ok(redactor) => redactor.redact(message),
        Err(_) => "a message that could not be checked for secrets".to_owned(),
    };
    let _ = writeln!(anstream::stderr().lock(), "gatecrash: {message}");
}

/// Whether something that was to stand on stdout does not.
static IS_LOST: AtomicBool = AtomicBool::new(false);

/// Writes data to stdout. A closed pipe is no error of ours; a full disk is worth a word, and no success.
fn say(text: &str) {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            IS_LOST.store(true, Ordering::Relaxed);
            complain(&format!("cannot write to stdout: {error}"));
        }
        _ => {}
    }
}

/// The catalogue that was built in.
fn bundled() -> Result<Catalogue, Exit> {
    understood(Catalogue::bundled())
}

/// What was read of the catalogue that was built in.
fn understood(bundled: Result<Catalogue, Diagnostics>) -> Result<Catalogue, Exit> {
    bundled.map_err(|found| {
        complain(&format!("the bundled cases are wrong, which is a bug:\n{found}"));
        Exit::OurFault
    })
}

/// A dialect by its name.
fn dialect(name: &str) -> Result<Dialect, String> {
    let known = Dialect::ALL.iter().map(|dialect| dialect.name());
    name.parse().map_err(|error: UnknownDialect| format!("{error}{}", did_you_mean(name, known)))
}

/// A fault by its name.
fn fault(name: &str) -> Result<Fault, String> {
    let known = Fault::ALL.iter().map(|fault| fault.name());
    name.parse().map_err(|error: UnknownFault| format!("{error}{}", did_you_mean(name, known)))
}

/// A hint at the word that was probably meant, to be put behind a message.
fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    document::did_you_mean(word, known).map(|hint| format!("; {hint}")).unwrap_or_default()
}
