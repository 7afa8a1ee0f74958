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
//! | `checkpoint/`, `dead_letters/`, `demo/`, `bench/` | the commands |
//! | `replay` | a new program over the log of a directory, and what differs |
//! | `asked` | a program that is asked by its environment |
//! | `serve` | the streams of a directory over HTTP |
//! | `run` | a program as a child, started again when it fails |
//! | `faults/` | how the demo is broken on purpose, in tests |
//! | `engine_records` | what an engine writes into its log, as JSON |
//! | `engine_log` | what the commands of the log are told about the log of an engine |
//! | `log_after` | what a log has after a position |
//! | `ui/` | a page of a directory |
//! | `decode` | MessagePack as JSON |
//! | `fail` | errors of the engine as failures of a command |
//! | `message` | messages on standard error |
//!
//! The commands of the log, printing and exit codes are those of `highwater-log`.

mod args;
mod asked;
mod bench;
mod checkpoint;
mod dead_letters;
mod decode;
mod demo;
mod engine_log;
mod engine_records;
mod fail;
mod faults;
mod log_after;
mod message;
mod replay;
mod run;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "ui")]
mod ui;

use args::{BenchCommand, CheckpointCommand, Cli, Command, DeadLettersCommand};
use engine_log::EngineLog;
use highwater_log::completions;
use highwater_log::outcome::{Outcome, Result};
use highwater_log::output::Output;
use highwater_log::process;
use highwater_log::program::Program;
use std::process::ExitCode;

/// Runs the command that the arguments name, and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    process::run("highwater", |cli: &Cli, out| run(&cli.command, out))
}

/// What the commands of the log are told.
const LOG: Program = Program {
    name: "highwater",
    command: "highwater log",
    engine: Some(&EngineLog),
};

fn run(command: &Command, out: &mut Output) -> Result<Outcome> {
    match command {
        Command::Log(command) => highwater_log::run(command, &LOG, out),
        Command::Checkpoint(command) => run_checkpoint(command, out),
        Command::DeadLetters(DeadLettersCommand::List(args)) => dead_letters::list(args, out),
        Command::DeadLetters(DeadLettersCommand::Show(args)) => dead_letters::show(args, out),
        Command::DeadLetters(DeadLettersCommand::Replay(args)) => dead_letters::replay(args, out),
        Command::Bench(BenchCommand::Engine(args)) => bench::bench_engine(args, out),
        Command::Replay(args) => replay::replay(args, out),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::serve(args, out),
        Command::Run(args) => run::run(args),
        #[cfg(feature = "ui")]
        Command::Ui(args) => ui::ui(args, out),
        Command::Completions(args) => {
            completions::print::<Cli>(args, LOG.name, out).map(|()| Outcome::Clean)
        }
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
