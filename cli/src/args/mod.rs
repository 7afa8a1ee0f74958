//! The command line: one definition for parsing and for `--help`.
//!
//! | file | holds |
//! |---|---|
//! | `checkpoint` | the commands about checkpoints |
//! | `replay`, `serve` | the commands of these names |

mod checkpoint;
mod replay;
#[cfg(feature = "serve")]
mod serve;

use crate::faults::Faults;
use clap::{Args, Parser, Subcommand};
use highwater_log::args::LogCommand;
use highwater_log::args::number::{ANY, between, seconds};
use highwater_log::completions::CompletionsArgs;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

pub(crate) use crate::args::checkpoint::{
    CheckArgs, CheckpointArgs, CheckpointCommand, DiffArgs, DropStateArgs, PruneArgs, ShowArgs,
    StateArgs, StateFormat,
};

pub(crate) use crate::args::replay::ReplayArgs;
#[cfg(feature = "serve")]
pub(crate) use crate::args::serve::ServeArgs;

/// Durable streaming: looks into logs and checkpoints, and shows that nothing is lost.
#[derive(Debug, Parser)]
#[command(
    name = "highwater",
    version,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 ok, 1 something was found (damage, a lost or doubled record), 2 wrong usage, 3 I/O error.\n\
                  The reading commands of `log` and `checkpoint` never write and take no lock: they may look at a directory in use."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look into a write-ahead log
    #[command(subcommand)]
    Log(LogCommand),
    /// Look into checkpoints
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
    /// Look at records that were put aside because an operator failed on them, and replay them
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Measure what this machine does, beside what it could do at most
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Run a new program over the log of a directory, into a new one, and tell what differs
    ///
    /// Runs EXE until it comes to `get_or_create`. That copies a checkpoint of DIR and the log
    /// after it into NEW, runs the batches again up to the newest checkpoint of DIR, without any
    /// output, and takes a checkpoint of the same batch. Both are compared key by key. DIR is only
    /// read, and may be in use. Exit code 0 if the states are equal, 1 if they differ, 3 if there
    /// is no answer.
    Replay(ReplayArgs),
    /// Serve named streams over HTTP, by the Durable Streams protocol
    ///
    /// A stream is a URL: PUT creates it, POST appends, GET reads, with `live=long-poll` or
    /// `live=sse` also what comes later. What is answered is durable. All streams of DIR are in one
    /// log; what is asked of one is in its README. SIGTERM ends it: answers that are on their way
    /// are given.
    #[cfg(feature = "serve")]
    Serve(ServeArgs),
    /// Run a program, and start it again when it fails
    ///
    /// With `--supervise` a program that ends with another code than 0, or by a signal, is started
    /// again after a pause, from its last checkpoint. SIGTERM is handed on to it; then it is not
    /// started again. Its last exit code is that of this command.
    Run(RunArgs),
    /// Show a directory in a browser: checkpoints, lineage, log, operators
    ///
    /// Looks without writing and takes no lock: the directory may be in use. A program that runs
    /// has a page of its own, which shows more (`highwater_ui::Ui`). Runs until it is interrupted.
    #[cfg(feature = "ui")]
    Ui(UiArgs),
    /// Print what a shell needs to complete the arguments of this command
    Completions(CompletionsArgs),
    /// Count words durably while being killed, and compare with the truth
    ///
    /// A child process runs a stateful word count. This process sends it text over TCP, line by
    /// line. It kills the child with SIGKILL at random moments, once in the middle of a recovery,
    /// starts it again, and sends again only the lines that were not acknowledged. At the end it
    /// compares the child's last checkpoint with a count made in one pass. Exit code 0 only if no
    /// line was lost, none was counted twice, and every word's count is equal.
    Demo(DemoArgs),
    /// The child of `demo`
    #[command(hide = true)]
    DemoChild(ChildArgs),
}

/// What to show, and where.
#[cfg(feature = "ui")]
#[derive(Debug, Args)]
pub(crate) struct UiArgs {
    /// Directory of an engine
    pub(crate) dir: PathBuf,
    /// Where to listen; an address that other machines reach needs `--insecure`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4040")]
    pub(crate) listen: String,
    /// How often to look at the directory while a page is open
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = seconds)]
    pub(crate) every: f64,
    /// Let other machines see it, without encryption
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// How to run a program.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Start it again when it fails
    #[arg(long)]
    pub(crate) supervise: bool,
    /// Give up after so many failures in a row; one minute of running begins the count anew
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 10,
        requires = "supervise"
    )]
    pub(crate) max_failures: u32,
    /// Pause after the first failure; each is twice as long as the last one, up to one minute
    #[arg(
        long,
        value_name = "MILLISECONDS",
        default_value_t = 1_000,
        requires = "supervise"
    )]
    pub(crate) pause_ms: u64,
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<OsString>,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Measure the engine: words counted from the log to the result, empty batches, latency
    ///
    /// Each figure is printed beside the bound of the same run: one hash map on one thread, and one
    /// durable record. Works in a new subdirectory `highwater-bench-PID`, which is removed at the
    /// end, and needs there about (rounds + 1) times the text for each program. Compare only within
    /// one run, with nothing else running.
    Engine(EngineBenchArgs),
}

/// What to measure of the engine.
#[derive(Debug, Args)]
pub(crate) struct EngineBenchArgs {
    /// Directory on the disk to measure
    pub(crate) dir: PathBuf,
    /// Lines of a batch, each of ten words
    #[arg(long, value_name = "N", default_value_t = 400_000, value_parser = between::<usize>(1..=100_000_000))]
    pub(crate) lines: usize,
    /// Size of the vocabulary; the n-th word is n times as rare as the first
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = between::<u64>(1..=100_000_000))]
    pub(crate) keys: u64,
    /// Numbers of workers, one run each
    #[arg(long, value_name = "N", value_delimiter = ',', default_values = ["1", "2"], value_parser = workers)]
    pub(crate) workers: Vec<NonZeroUsize>,
    /// Batches of each program that are measured, after one that is not
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = between::<usize>(1..=1000))]
    pub(crate) rounds: usize,
    /// Different keys of a state that is filled, touched, written and read again; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = between::<u64>(0..=1_000_000_000))]
    pub(crate) state_keys: u64,
    /// Length of each run of which the latency is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// More workers than key groups would have nothing to do.
fn workers(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse() {
        Ok(workers) if (1..=128).contains(&NonZeroUsize::get(workers)) => Ok(workers),
        _ => Err("a number from 1 to 128 is needed".to_owned()),
    }
}

/// Commands about dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List the dead letters: those of committed batches that were not replayed since
    List(DeadLettersArgs),
    /// Print dead letters with their records
    Show(DeadLettersArgs),
    /// Ask for a replay: each record goes to the operator that failed on it, and to no other
    ///
    /// The program takes the request in before its next batch, or at its next start. Asking twice
    /// replays nothing twice. A record that fails again becomes a dead letter again, with the same
    /// id and one more attempt.
    Replay(DeadLettersArgs),
}

/// Which dead letters.
#[derive(Debug, Args)]
pub(crate) struct DeadLettersArgs {
    /// Directory of an engine
    pub(crate) dir: PathBuf,
    /// Only those of this operator
    #[arg(long, value_name = "NAME")]
    pub(crate) operator: Option<String>,
    /// Only the one with this id; may be given several times
    #[arg(long = "id", value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Settings of the demo.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Text to count; without it every .md and .rs file below the current directory (but not of
    /// `target` and hidden directories)
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// How often the child is killed
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = between::<u32>(1..=100))]
    pub(crate) kills: u32,
    /// Makes the moments of the kills repeatable; without it they differ from run to run
    #[arg(long, value_name = "N", value_parser = between::<u64>(ANY))]
    pub(crate) seed: Option<u64>,
    /// Worker threads of the child
    #[arg(long, value_name = "N", default_value = "2", value_parser = workers)]
    pub(crate) workers: NonZeroUsize,
    /// Lines sent per second, at most
    #[arg(long, value_name = "N", default_value_t = 40_000, value_parser = between::<u64>(1..=1_000_000_000))]
    pub(crate) rate: u64,
    /// How often the text is sent; without it as often as is needed to spread the kills over some
    /// seconds
    #[arg(long, value_name = "N", value_parser = between::<u64>(1..=1_000_000_000))]
    pub(crate) rounds: Option<u64>,
    /// Directory for log and checkpoints, which must not exist or be empty; it is kept. Without it
    /// a fresh one, which is removed if all is well and kept and named if not
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) faults: Faults,
}

/// Settings of the demo's child.
#[derive(Debug, Args)]
pub(crate) struct ChildArgs {
    #[arg(long)]
    pub(crate) dir: PathBuf,
    #[arg(long)]
    pub(crate) workers: NonZeroUsize,
    #[command(flatten)]
    pub(crate) faults: Faults,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
