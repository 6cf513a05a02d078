//! The command: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    gatecrash::command::main()
}
