//! The command line: one definition for parsing and for `--help`.
//!
//! | file | holds |
//! |---|---|
//! | `number` | numbers with a range |
//! | `time` | times, as a person writes them |

pub mod number;
mod time;

use crate::args::number::{ANY, between, seconds};
use crate::args::time::time;
use crate::completions::CompletionsArgs;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::SystemTime;

/// Looks into write-ahead logs, writes what is intact into new ones, judges disks.
#[derive(Debug, Parser)]
#[command(
    name = "highwater-log",
    version,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 ok, 1 something was found (damage, lost records), 2 wrong usage, 3 I/O error.\n\
                  `list`, `dump`, `stats`, `verify` and `backup` take no lock and never write into the log: it may be in use."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A command of the log.
    #[command(flatten)]
    Log(LogCommand),
    /// Print what a shell needs to complete the arguments of this command
    Completions(CompletionsArgs),
}

/// Commands about a log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// List the segments of a log and tell how it ends
    List(LogArgs),
    /// Print the records of a log, one per line
    ///
    /// A line has the LSN (with `.n` for the n-th record of a batch), kind, stream, length and
    /// payload. In the log of an engine, its own records are decoded. Stops at the first damaged
    /// place, with exit code 1.
    Dump(DumpArgs),
    /// Count what is in a log: records, sizes, streams, commit groups, overhead
    Stats(LogArgs),
    /// Check every byte of a log, with all cores
    ///
    /// Prints each finding with file, offset, LSN, what it is and what to do. A torn tail after a
    /// crash is no finding: opening the log repairs it and nothing that was acknowledged is in it.
    Verify(LogArgs),
    /// Copy a log, also one that is in use, and verify the copy
    ///
    /// NEW is there only when it is whole: until then the copy is in a directory beside it. It has
    /// everything that was durable when the command began. If the log is truncated meanwhile,
    /// copying begins again. The log is not changed, and no lock is taken.
    Backup(RecoverArgs),
    /// Write everything before the first damage into a new log, at the same LSNs
    ///
    /// The old log is not touched. The new one has the same identity and LSNs, so checkpoints of
    /// the old one fit. LSNs that are lost are skipped: none gets a second meaning. Exit code 1 if
    /// durable records are lost.
    Repair(RecoverArgs),
    /// Write everything that is intact, around the holes, into a new log with new LSNs
    ///
    /// The old log is not touched. The new one has an identity of its own: no checkpoint fits it.
    /// Beside it a file `NEW.map` tells the old LSN of each frame. Exit code 1 if durable records
    /// are lost.
    Salvage(RecoverArgs),
    /// Tell whether a directory's file system and device are fit for a log
    ///
    /// Removes everything it writes. Exit code 0 if they are fit, 1 if not, or if that is doubtful.
    Selftest(LogArgs),
    /// Measure appending on a directory's disk
    ///
    /// Works in a new subdirectory `highwater-bench-PID`, which is removed at the end.
    Bench(BenchArgs),
}

/// Which log.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// Directory of a log, or of an engine (which has its log in `log/`). For `list`, `dump`,
    /// `stats` and `verify` also one segment file (`*.wal`)
    pub(crate) dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What of a log to print.
#[derive(Debug, Clone, Args)]
pub struct DumpArgs {
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// First LSN to print; one between two records means the next record
    #[arg(long, value_name = "LSN", default_value_t = 0, value_parser = between::<u64>(ANY))]
    pub(crate) from: u64,
    /// Stop before this LSN
    #[arg(long, value_name = "LSN", value_parser = between::<u64>(ANY))]
    pub(crate) to: Option<u64>,
    /// Begin with what became durable at this time: `2026-11-29 14:00:00` (UTC), RFC 3339, or how
    /// long ago, as `90m`. A group that was durable shortly before may come first
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with_all = ["from", "last"])]
    pub(crate) since: Option<SystemTime>,
    /// Stop after what was durable before this time. A group that was durable shortly after may
    /// come last
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with_all = ["to", "last", "follow"])]
    pub(crate) until: Option<SystemTime>,
    /// Print at most N records
    #[arg(long, value_name = "N", value_parser = between::<u64>(ANY))]
    pub(crate) limit: Option<u64>,
    /// Print the last N records, or the last N of --stream; reads only as much of the log as it
    /// takes
    #[arg(
        long,
        value_name = "N",
        value_parser = between::<u64>(1..=1_000_000),
        conflicts_with_all = ["from", "to", "limit"]
    )]
    pub(crate) last: Option<u64>,
    /// Print only records of this stream
    #[arg(long, value_name = "N", value_parser = between::<u16>(0..=65_535))]
    pub(crate) stream: Option<u16>,
    /// Go on as the log grows, also in another process, until interrupted. Prints only what is
    /// proven durable
    #[arg(long)]
    pub(crate) follow: bool,
    /// Print the log's own frames too: durable-LSN records, seals, close marks
    #[arg(long)]
    pub(crate) all: bool,
    /// How to print payloads
    #[arg(long, value_enum, default_value_t = PayloadFormat::Auto)]
    pub(crate) payload: PayloadFormat,
    /// Print at most so many bytes of each payload, and how many are left out; 0 for all of them.
    /// Without it 256, and all of them in JSON
    #[arg(long, value_name = "N", value_parser = between::<usize>(ANY))]
    pub(crate) payload_limit: Option<usize>,
    /// Program that turns payloads into text. It gets one line of JSON per record on its standard
    /// input (`lsn`, `index`, `kind`, `stream`, `payload_base64`) and answers each with one line
    #[arg(long, value_name = "EXE", conflicts_with = "payload")]
    pub(crate) decoder: Option<PathBuf>,
    /// How long the decoder may take for a record
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = between::<u64>(1..=86_400),
        requires = "decoder"
    )]
    pub(crate) decoder_timeout: u64,
}

/// Which log to copy or to recover, and where to.
#[derive(Debug, Args)]
pub struct RecoverArgs {
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// Directory of the new log, which must not exist (for `repair` and `salvage` it may be empty)
    #[arg(long, value_name = "NEW")]
    pub(crate) output: PathBuf,
}

/// What to measure.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Directory on the disk to measure
    pub(crate) dir: PathBuf,
    /// Numbers of threads, one run each
    #[arg(long, value_name = "N", value_delimiter = ',', default_values = ["1", "8"],
          value_parser = between::<u16>(1..=1024))]
    pub(crate) threads: Vec<u16>,
    /// Size of a record in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = between::<u32>(0..=1 << 20))]
    pub(crate) size: u32,
    /// Length of each round of each run; before each round of durable records the bare disk is
    /// measured for as long
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Rounds of each run: figures are their medians
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = between::<u16>(1..=1000))]
    pub(crate) rounds: u16,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How to print payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PayloadFormat {
    /// As text if it is UTF-8 without control characters (but for tabs and ends of lines), else in
    /// hexadecimal after `0x` (JSON: as `text`)
    Auto,
    /// As UTF-8, control characters and other bytes escaped (JSON: a string, or base64 if it is not
    /// UTF-8)
    Text,
    /// In hexadecimal
    Hex,
    /// Not at all
    None,
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
