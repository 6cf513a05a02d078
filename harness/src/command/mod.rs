//! The subcommands. Data goes to stdout; progress, logs and errors go to stderr.
//!
//! The only room that knows the reference server: the library and the server meet on the wire.

pub mod bundled_server;
mod list;
pub mod matrix;
mod run;
mod selftest;
mod serve;

use std::process::ExitCode;

use crate::report::Exit;
use clap::{Parser, Subcommand};

/// Proves whether a JWT-guarded WebSocket endpoint holds.
#[derive(Debug, Parser)]
#[command(name = "gatecrash", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge a server; without a URL, the bundled one in its four dialects
    Run(Box<run::Run>),
    /// List the cases
    List(list::List),
    /// Say all about one case: the rule, what is sent, what is right, and how to mend it
    Explain(list::Explain),
    /// Prove that every case can fail: seed each fault in the bundled server and see which cases find it
    Selftest(selftest::Selftest),
    /// Start the reference server
    Serve(Box<serve::Serve>),
}

/// Reads the arguments, does what they ask, and gives the exit code.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return exit(Exit::OurFault);
        }
    };
    exit(match arguments.command {
        Command::Run(arguments) => runtime.block_on(run::run(*arguments)),
        Command::Selftest(arguments) => selftest::selftest(&arguments),
        Command::List(arguments) => list::list(&arguments),
        Command::Explain(arguments) => list::explain(&arguments),
        Command::Serve(arguments) => runtime.block_on(serve::serve(*arguments)),
    })
}

fn exit(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}

/// Tells a person what went wrong.
fn complain(message: &str) {
    anstream::eprintln!("gatecrash: {message}");
}

/// Writes data to stdout; a closed pipe is no error of ours.
fn say(text: &str) {
    use std::io::Write as _;
    let mut stdout = anstream::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
