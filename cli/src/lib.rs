//! The `highwater` command: the crash demo, and tools that look into logs and checkpoints, recover
//! damaged logs, and judge disks.
//!
//! The texts of `--help` are in `args`; `docs/cli.md` shows what the commands print. It is a
//! library so that the package's tests can turn on its feature `deliberate-faults`. A program alone
//! cannot be built with a feature for its tests.
//!
//! | file | holds |
//! |---|---|
//! | `args/` | the command line, for parsing and for `--help` |
//! | `log/`, `checkpoint/`, `dead_letters/`, `demo/`, `bench/` | the commands |
//! | `replay` | a new program over the log of a directory, and what differs |
//! | `asked` | a program that is asked by its environment |
//! | `run` | a program as a child, started again when it fails |
//! | `faults/` | how the demo is broken on purpose, in tests |
//! | `outcome` | how a command ends, and the exit codes |
//! | `engine_records` | what an engine writes into its log, as JSON |
//! | `output`, `text`, `decode` | printing, values as text, MessagePack as JSON |

mod args;
mod asked;
mod bench;
mod checkpoint;
mod dead_letters;
mod decode;
mod demo;
mod engine_records;
mod faults;
mod log;
mod outcome;
mod output;
mod replay;
mod run;
mod text;

use args::{BenchCommand, CheckpointCommand, Cli, Command, DeadLettersCommand, LogCommand};
use clap::Parser;
use outcome::{Failure, Outcome, Result};
use output::{Messages, Output, tell};
use std::process::ExitCode;

/// Runs the command that the arguments name, and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // It fails if the reader has gone (`highwater --help | head -1`).
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
            // Print what was found before the failure first.
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
        Command::Checkpoint(command) => run_checkpoint(command, out),
        Command::DeadLetters(DeadLettersCommand::List(args)) => dead_letters::list(args, out),
        Command::DeadLetters(DeadLettersCommand::Show(args)) => dead_letters::show(args, out),
        Command::DeadLetters(DeadLettersCommand::Replay(args)) => dead_letters::replay(args, out),
        Command::Bench(BenchCommand::Engine(args)) => bench::bench_engine(args, out),
        Command::Replay(args) => replay::replay(args, out),
        Command::Run(args) => run::run(args),
        Command::Demo(args) => demo::run(args, out),
        Command::DemoChild(args) => demo::run_child(args, out),
    }
}

fn run_checkpoint(command: &CheckpointCommand, out: &mut Output) -> Result<Outcome> {
    match command {
        CheckpointCommand::List(args) => checkpoint::list(args, out),
        CheckpointCommand::Show(args) => checkpoint::show(args, out),
        CheckpointCommand::State(args) => checkpoint::state(args, out),
        CheckpointCommand::Diff(args) => checkpoint::diff(args, out),
        CheckpointCommand::Verify(args) => checkpoint::verify(args, out),
        CheckpointCommand::Prune(args) => checkpoint::prune(args, out),
        CheckpointCommand::DropState(args) => checkpoint::drop_state(args, out),
        CheckpointCommand::Lineage(args) => checkpoint::lineage(args, out),
        CheckpointCommand::Check(args) => checkpoint::check(args, out),
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
