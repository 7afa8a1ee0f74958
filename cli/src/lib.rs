//! The `highwater` command: the crash demo, and tools that look into logs and checkpoints, rescue
//! logs, and judge disks.
//!
//! Everything that `--help` says stands in `args`; `docs/cli.md` shows what it looks like. It is a
//! library so that the package's tests can turn on its feature `deliberate-faults`, which a program
//! alone cannot be given.

mod args;
mod checkpoint;
mod decode;
mod demo;
mod log;
mod outcome;
mod output;
mod text;

use args::{CheckpointCommand, Cli, Command, LogCommand};
use clap::Parser;
use outcome::{Failure, Outcome, Result};
use output::{Messages, Output, tell};
use std::process::ExitCode;

/// Does what the arguments of the process say, and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody reads on if this cannot be written (`highwater --help | head -1`).
            let _ = error.print();
            return outcome::code_of_usage(&error);
        }
    };
    trace();
    let mut out = Output::stdout();
    let outcome = run(&cli.command, &mut out).and_then(|outcome| out.flush().map(|()| outcome));
    match outcome {
        Ok(outcome) => outcome.into(),
        Err(Failure::BrokenPipe) => ExitCode::SUCCESS,
        Err(failure) => {
            // What was found before the failure comes before it.
            let _ = out.flush();
            tell(failure.to_string());
            failure.into()
        }
    }
}

fn run(command: &Command, out: &mut Output) -> Result<Outcome> {
    match command {
        Command::Log(LogCommand::List(args)) => log::list(args, out),
        Command::Log(LogCommand::Dump(args)) => log::dump(args, out),
        Command::Log(LogCommand::Stats(args)) => log::stats(args, out),
        Command::Log(LogCommand::Verify(args)) => log::verify(args, out),
        Command::Log(LogCommand::Repair(args)) => log::repair(args, out),
        Command::Log(LogCommand::Salvage(args)) => log::salvage(args, out),
        Command::Log(LogCommand::Selftest(args)) => log::selftest(args, out),
        Command::Log(LogCommand::Bench(args)) => log::bench(args, out),
        Command::Checkpoint(CheckpointCommand::List(args)) => checkpoint::list(args, out),
        Command::Checkpoint(CheckpointCommand::Show(args)) => checkpoint::show(args, out),
        Command::Demo(args) => demo::run(args, out),
        Command::DemoChild(args) => demo::run_child(args, out),
    }
}

/// Warnings of the library go to stderr; `RUST_LOG` asks for more.
fn trace() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Messages::default)
        .init();
}
