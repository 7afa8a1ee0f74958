//! `highwater-log backup`: a copy of a log that may be in use.

use crate::args::RecoverArgs;
use crate::commands::damage::with_advice;
use crate::commands::open::Located;
use crate::commands::progress::Progress;
use crate::commands::recover::lost::places;
use crate::outcome::{Failure, Outcome, Result};
use crate::output::Output;
use crate::program::Program;
use crate::text;
use highwater_wal::WalError;
use highwater_wal::inspect::{Backup, Log};
use serde::Serialize;
use std::path::Path;

/// What is printed.
#[derive(Debug, Serialize)]
struct Row {
    output: String,
    log_id: String,
    first_lsn: u64,
    end_lsn: u64,
    /// Everything below was durable when copying began.
    proven_lsn: u64,
    frames: u64,
    records: u64,
    bytes: u64,
    tries: u32,
}

impl Row {
    fn new(backup: &Backup, to: &Path) -> Self {
        Self {
            output: to.display().to_string(),
            log_id: format!("{:032x}", backup.log_id),
            first_lsn: backup.first_lsn.get(),
            end_lsn: backup.end_lsn.get(),
            proven_lsn: backup.proven_lsn.get(),
            frames: backup.frames,
            records: backup.records,
            bytes: backup.bytes,
            tries: backup.tries,
        }
    }
}

/// Runs the command.
pub(crate) fn backup(args: &RecoverArgs, program: &Program, out: &mut Output) -> Result<Outcome> {
    let (Located { disk, dir, .. }, to) = places(args)?;
    let failed = |error: WalError| match error {
        WalError::Corrupt { .. } => Failure::Finding(with_advice(&error, program)),
        _ => error.into(),
    };
    let log = Log::open(disk, &dir).map_err(failed)?;
    let bar = Progress::new();
    let backup = log.backup(&to, |progress| bar.show(progress));
    drop(bar);
    let row = Row::new(&backup.map_err(failed)?, &to);
    out.show(args.log.json, &row, print)?;
    Ok(Outcome::Clean)
}

fn print(row: &Row, out: &mut Output) -> Result<()> {
    let again = match row.tries {
        1 => String::new(),
        tries => format!(" (begun {tries} times, because the log was truncated meanwhile)"),
    };
    out.line(format!(
        "ok: {} records in {} frames copied and verified, {}, LSN {} to {}{again}",
        text::grouped(row.records),
        text::grouped(row.frames),
        text::bytes(row.bytes),
        row.first_lsn,
        row.end_lsn,
    ))?;
    out.line(format!(
        "everything below LSN {} was durable when this began, and is in it",
        row.proven_lsn
    ))?;
    out.line(format!(
        "copy in {}: it has the identity of the log, so go on with one of the two only",
        row.output
    ))
}
