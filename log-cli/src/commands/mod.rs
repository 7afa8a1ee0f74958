//! The commands: look into a log, write what is intact into a new one, judge disks.
//!
//! The reading commands use [`highwater_wal::inspect`], which never writes and takes no lock.
//!
//! | file | holds |
//! |---|---|
//! | `open` | finding and opening a log |
//! | `damage` | damage in a log, for JSON and for people |
//! | `extent` | how far damage goes, and what it costs |
//! | `list`, `stats`, `verify`, `backup` | the commands of that name |
//! | `dump/` | printing the records |
//! | `recover/` | writing what is intact into a new log |
//! | `measure/` | judging and measuring a disk |
//! | `progress` | a progress bar |

mod backup;
mod damage;
mod dump;
mod extent;
mod list;
mod measure;
mod open;
mod progress;
mod recover;
mod stats;
mod verify;

use crate::args::LogCommand;
use crate::outcome::{Outcome, Result};
use crate::output::Output;
use crate::program::Program;

/// Runs a command.
///
/// # Errors
/// If it cannot do its work: the failure says why, and has the exit code. What a command finds is
/// no error.
pub fn run(command: &LogCommand, program: &Program, out: &mut Output) -> Result<Outcome> {
    match command {
        LogCommand::List(args) => list::list(args, program, out),
        LogCommand::Dump(args) => dump::command::dump(args, program, out),
        LogCommand::Stats(args) => stats::stats(args, program, out),
        LogCommand::Verify(args) => verify::verify(args, program, out),
        LogCommand::Backup(args) => backup::backup(args, program, out),
        LogCommand::Repair(args) => recover::repair::repair(args, program, out),
        LogCommand::Salvage(args) => recover::salvage::salvage(args, program, out),
        LogCommand::Selftest(args) => measure::selftest::selftest(args, out),
        LogCommand::Bench(args) => measure::bench::bench(args, out),
    }
}
