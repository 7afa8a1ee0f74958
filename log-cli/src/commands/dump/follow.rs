//! `highwater-log dump --follow`: what becomes durable while another process writes.

use crate::commands::damage::with_advice;
use crate::commands::dump::printer::Printer;
use crate::outcome::{Failure, Outcome, Result};
use crate::output::Output;
use crate::program::Program;
use highwater_disk::probe::reader_is_gone;
use highwater_disk::{Clock, Notify, OsClock};
use highwater_wal::inspect::Log;
use highwater_wal::{Lsn, WalError};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait between two looks in vain.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Prints frames as they become durable, until the printer has enough, the reader of the output has
/// gone, or the log is damaged.
pub(crate) fn follow(
    log: Log,
    start: Lsn,
    printer: &mut Printer<'_>,
    out: &mut Output,
) -> Result<Outcome> {
    let (clock, never) = (OsClock::new(), Arc::new(Notify::default()));
    let mut follow = log
        .follow(start)
        .map_err(|e| failure(&e, printer.program()))?;
    let (program, mut told) = (printer.program(), false);
    loop {
        match follow.poll() {
            Ok(Some(frame)) => {
                if printer.frame(&frame, out)?.is_break() {
                    return Ok(Outcome::Clean);
                }
            }
            Ok(None) if printer.has_all_before(follow.position()) => return Ok(Outcome::Clean),
            Ok(None) => {
                out.flush()?;
                if !told && follow.intact_end() > follow.position() {
                    told = true;
                    program.tell(format!(
                        "the records from LSN {} on are not proven durable yet; they are printed once they are",
                        follow.position()
                    ));
                }
                if reader_is_gone(&std::io::stdout()) {
                    return Err(Failure::BrokenPipe);
                }
                clock.wait(&never, Some(clock.now().saturating_add(POLL_INTERVAL)));
            }
            Err(error) => {
                out.flush()?;
                return Err(failure(&error, program));
            }
        }
    }
}

fn failure(error: &WalError, program: &Program) -> Failure {
    match error {
        WalError::Corrupt { .. } => Failure::Finding(with_advice(error, program)),
        WalError::Truncated { asked, first } => Failure::Finding(format!(
            "the log was truncated while it was followed: the records from LSN {asked} to {first} are gone; go on with \
             `--from {first}`"
        )),
        WalError::BeyondEnd { .. } => Failure::Usage(error.to_string()),
        _ => Failure::Io(error.to_string()),
    }
}
