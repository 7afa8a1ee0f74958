//! The commands about checkpoints.

use clap::{Args, Subcommand, ValueEnum};
use highwater_log::args::number::{ANY, between};
use std::ffi::OsString;
use std::path::PathBuf;

/// Commands about checkpoints.
#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    /// List the checkpoints and check all their files
    List(CheckpointArgs),
    /// Print one checkpoint: its manifest, operators and states
    Show(ShowArgs),
    /// Print the entries of a state, or write them into a file
    State(StateArgs),
    /// Compare two checkpoints key by key
    ///
    /// Keys are the same if they decode to the same value, and so are values. Exit code 0 if the
    /// states of both are equal, 1 if not.
    Diff(DiffArgs),
    /// Check every byte, block, key and value of all checkpoints
    ///
    /// Prints each finding with its file, what it is and what to do, and what is left over. Exit
    /// code 1 if something was found; what is left over alone is no damage.
    Verify(CheckpointArgs),
    /// Tell which files the newest checkpoints do not need, or write those that they need elsewhere
    ///
    /// Never changes DIR. With `--output` a new directory is written that has exactly the newest
    /// checkpoints.
    Prune(PruneArgs),
    /// Write a checkpoint without one of its states into a new directory
    ///
    /// Never changes DIR. For a state whose operator is gone: put the new directory in the place of
    /// the checkpoints, and the engine starts without it. The new checkpoint has a number above all
    /// in DIR.
    DropState(DropStateArgs),
    /// Tell what a recovery from each checkpoint would have to do, and how long it would take
    ///
    /// Depth is how many batches would be run again. Times are as measured by the program that took
    /// the checkpoint; `-` if it had not measured them yet.
    Lineage(CheckpointArgs),
    /// Ask a program what it would do with a directory: restore, move, drop, fill in, convert
    ///
    /// Runs EXE until it comes to `get_or_create`, which then only looks at DIR and answers.
    /// Neither DIR is changed nor anything started, so the program before may still run there. What
    /// EXE does before that, it does. Exit code 0 if the program fits, 1 if it would be refused.
    Check(CheckArgs),
}

/// Which program to ask, and of what.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Directory of an engine. Where the program keeps its checkpoints elsewhere, it reads them
    /// there
    pub(crate) dir: PathBuf,
    /// The program
    #[arg(long, value_name = "EXE")]
    pub(crate) program: PathBuf,
    /// Its arguments
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) arguments: Vec<OsString>,
    /// How long the program may take until it has answered, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = between::<u64>(1..=86_400))]
    pub(crate) timeout: u64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which checkpoints.
#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    /// Directory of checkpoints, or of an engine (which has them in `checkpoints/`); or a URL, such
    /// as s3://bucket/prefix
    pub(crate) dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which checkpoint to print.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) checkpoints: CheckpointArgs,
    /// Number of the checkpoint; without it the one that recovery would take
    #[arg(long, value_name = "N", value_parser = between::<u64>(ANY))]
    pub(crate) number: Option<u64>,
}

/// Which entries to print, and how.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// Directory of checkpoints, or of an engine (which has them in `checkpoints/`); or a URL, such
    /// as s3://bucket/prefix
    pub(crate) dir: PathBuf,
    /// Name of the state; `highwater checkpoint show DIR` lists them
    pub(crate) name: String,
    /// Number of the checkpoint; without it the one that recovery would take
    #[arg(long, value_name = "N", value_parser = between::<u64>(ANY))]
    pub(crate) number: Option<u64>,
    /// Print only this key, as JSON or as text; exit code 1 if there is none
    ///
    /// It is read as JSON, and as text. A key that is equal to either is printed: `--key 1` finds
    /// the number 1 and the text "1", `--key '"1"'` only the text (and the text `"1"`, quotes
    /// included).
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub(crate) key: Option<String>,
    /// Print at most N entries
    #[arg(long, value_name = "N", value_parser = between::<u64>(ANY))]
    pub(crate) limit: Option<u64>,
    /// How to print them
    #[arg(long, value_enum, default_value_t = StateFormat::Text)]
    pub(crate) format: StateFormat,
    /// Write into this file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// How to print entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateFormat {
    /// One per line: key, tab, value
    Text,
    /// One object per line
    Json,
    /// With a header; a column per field of keys and values that are structs
    Csv,
    /// As `csv`, with types; needs `--output` and a command that was built with the feature
    /// `parquet`
    Parquet,
}

/// Which checkpoints to compare.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Directory of checkpoints, or of an engine (which has them in `checkpoints/`); or a URL, such
    /// as s3://bucket/prefix
    pub(crate) dir: PathBuf,
    /// Number of the first checkpoint
    #[arg(value_parser = between::<u64>(ANY))]
    pub(crate) before: u64,
    /// Number of the second checkpoint
    #[arg(value_parser = between::<u64>(ANY))]
    pub(crate) after: u64,
    /// Directory or URL of the second checkpoint, if it is not DIR
    #[arg(long, value_name = "DIR")]
    pub(crate) with: Option<PathBuf>,
    /// Compare only this state
    #[arg(long, value_name = "NAME")]
    pub(crate) state: Option<String>,
    /// Print at most N keys of each state, those of the lowest key groups
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = between::<u64>(ANY))]
    pub(crate) limit: u64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to keep, and where.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    pub(crate) checkpoints: CheckpointArgs,
    /// How many valid checkpoints to keep
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = between::<u32>(1..=1_000_000))]
    pub(crate) keep: u32,
    /// Directory for them, which must not exist or be empty
    #[arg(long, value_name = "NEW")]
    pub(crate) output: Option<PathBuf>,
}

/// What to leave out, and where to write the rest.
#[derive(Debug, Args)]
pub(crate) struct DropStateArgs {
    /// Directory of checkpoints, or of an engine (which has them in `checkpoints/`); or a URL, such
    /// as s3://bucket/prefix
    pub(crate) dir: PathBuf,
    /// Name of the state to leave out
    pub(crate) name: String,
    /// Directory for the new checkpoint, which must not exist or be empty
    #[arg(long, value_name = "NEW")]
    pub(crate) output: PathBuf,
    /// Number of the checkpoint; without it the one that recovery would take
    #[arg(long, value_name = "N", value_parser = between::<u64>(ANY))]
    pub(crate) number: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
