//! The command `highwater-log dump`: which frames are read.

use crate::args::DumpArgs;
use crate::commands::damage::with_advice;
use crate::commands::dump::follow::follow;
use crate::commands::dump::printer::Printer;
use crate::commands::open::{Opened, open};
use crate::outcome::{Failure, Outcome, Result};
use crate::output::Output;
use crate::program::Program;
use highwater_wal::inspect::{Log, SegmentState};
use highwater_wal::{Lsn, WalError};

/// Runs the command.
pub(crate) fn dump(args: &DumpArgs, program: &Program, out: &mut Output) -> Result<Outcome> {
    if let Some(to) = args.to.filter(|to| *to <= args.from) {
        return Err(Failure::Usage(format!(
            "--to {to} is not after --from {}: the range is empty",
            args.from
        )));
    }
    let Opened { log, owner, .. } = open(&args.log.dir, program)?;
    let start = start(&log, Lsn::new(args.from))?;
    let mut printer = Printer::new(args, owner, program)?;
    let outcome = if args.follow {
        follow(log, start, &mut printer, out)
    } else {
        print_all(&log, start, &mut printer, out)
    }?;
    printer.finish()?;
    Ok(outcome)
}

fn print_all(
    log: &Log,
    start: Lsn,
    printer: &mut Printer<'_>,
    out: &mut Output,
) -> Result<Outcome> {
    let frames = match log.frames(start) {
        Ok(frames) => frames,
        Err(error) => return damaged(error, printer, out),
    };
    let end = frames.log_end();
    for frame in frames {
        let frame = match frame {
            Ok(frame) => frame,
            Err(WalError::Truncated { asked, first }) => {
                let what = "were truncated meanwhile and are not shown";
                printer
                    .program()
                    .tell(format!("LSNs {asked} to {first} {what}"));
                continue;
            }
            Err(error) => return damaged(error, printer, out),
        };
        if printer.frame(&frame, out)?.is_break() {
            break;
        }
    }
    let from = printer.from();
    if from >= end.get() {
        printer.program().tell(format!(
            "there is nothing from LSN {from} on: the log ends at LSN {end}"
        ));
    }
    Ok(Outcome::Clean)
}

/// Where to begin reading so that every frame from `from` on is seen: at the start of its segment.
fn start(log: &Log, from: Lsn) -> Result<Lsn> {
    if from == Lsn::ZERO {
        return Ok(from);
    }
    if from < log.first_lsn() {
        let first = log.first_lsn();
        return Err(Failure::Usage(format!(
            "LSN {from} was truncated: the log starts at LSN {first}"
        )));
    }
    let segments = log.segments()?;
    let live = segments
        .iter()
        .filter(|s| !matches!(s.state, SegmentState::Truncated));
    Ok(live
        .map(|s| s.base)
        .filter(|base| *base <= from)
        .max()
        .unwrap_or(from))
}

/// Everything before the damage was printed. What follows it may be incomplete.
fn damaged(error: WalError, printer: &Printer<'_>, out: &mut Output) -> Result<Outcome> {
    out.flush()?;
    match error {
        WalError::Corrupt { .. } => Err(Failure::Finding(with_advice(&error, printer.program()))),
        _ => Err(error.into()),
    }
}
