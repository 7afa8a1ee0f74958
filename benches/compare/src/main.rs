//! highwater-wal beside its rivals and the bare bounds: one run, one disk, real flushes. See the
//! README.

mod appends;
mod engines;
mod histogram;
mod machine;
mod record;
mod replays;
mod report;
mod results;
mod run;
mod targets;
mod trace;

use clap::{Args, Parser, Subcommand, ValueEnum};
use engines::Engine;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures highwater-wal beside its rivals and the bare bounds, on one disk with real flushes.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    child: Option<Child>,
    #[command(flatten)]
    settings: Settings,
}

/// What this program runs itself as.
#[derive(Debug, Subcommand)]
enum Child {
    /// Fills a store, reports it and waits to be killed.
    #[command(hide = true)]
    Fill(ChildArgs),
    /// Appends, under strace.
    #[command(hide = true)]
    Probe(ChildArgs),
}

#[derive(Debug, Args)]
struct ChildArgs {
    #[arg(long)]
    engine: String,
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    size: usize,
    #[arg(long)]
    count: u64,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Which calls make an append durable (needs strace).
    Trace,
    /// Durable appends.
    Durable,
    /// Appends without sync, on 1 and 2 threads.
    Unsynced,
    /// Opening after a crash, and replay.
    Replay,
}

#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Seconds per cell and run
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Runs; every run goes through all engines, beginning with another one
    #[arg(long, default_value_t = 3)]
    runs: u64,
    /// Engines by name, separated by commas; all of them by default
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Record sizes in bytes
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1024, 16384])]
    sizes: Vec<usize>,
    /// Numbers of threads that append durably
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 64])]
    threads: Vec<u64>,
    /// Parts to run
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Trace, Part::Durable, Part::Unsynced, Part::Replay])]
    parts: Vec<Part>,
    /// Where the data goes while it is measured: a directory on a real disk (default: below this
    /// package's target)
    #[arg(long)]
    dir: Option<PathBuf>,
    /// MiB of 1 KiB records to open after a crash and to replay
    #[arg(long, default_value_t = 1024)]
    replay_mib: u64,
    /// Opens highwater-wal after a crash with this many GiB as well: shows whether opening grows
    /// with the log
    #[arg(long, value_name = "GIB", num_args = 0..=1, default_missing_value = "10")]
    open_long: Option<u64>,
    /// A cell ends when it has appended this many MiB
    #[arg(long, default_value_t = 2048)]
    max_mib: u64,
    /// Writes every figure of every run to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Everything once and tiny: shows that it works, says nothing about speed
    #[arg(long)]
    quick: bool,
}

impl Settings {
    fn shrunk_if_quick(mut self) -> Self {
        if self.quick {
            self.seconds = 0.05;
            self.runs = 1;
            self.replay_mib = 4;
            self.max_mib = 256;
        }
        self
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.child {
        Some(Child::Fill(args)) => as_child(&args, replays::fill),
        Some(Child::Probe(args)) => as_child(&args, trace::probe),
        None => run::everything(&cli.settings.shrunk_if_quick()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn as_child(
    args: &ChildArgs,
    work: fn(&dyn Engine, &std::path::Path, usize, u64),
) -> Result<(), String> {
    let engine = run::find(&args.engine)?;
    work(&*engine, &args.dir, args.size, args.count);
    Ok(())
}
