//! The command `highwater-log dump`: which frames are read.

use crate::args::DumpArgs;
use crate::commands::damage::{FoundDamage, with_advice};
use crate::commands::dump::follow::follow;
use crate::commands::dump::printer::Printer;
use crate::commands::open::{Opened, note, open};
use crate::outcome::{Failure, Outcome, Result};
use crate::output::Output;
use crate::program::Program;
use highwater_wal::inspect::{Log, SegmentState};
use highwater_wal::{Lsn, StreamId, WalError};

/// Runs the command.
pub(crate) fn dump(args: &DumpArgs, program: &Program, out: &mut Output) -> Result<Outcome> {
    if let Some(to) = args.to.filter(|to| *to <= args.from) {
        return Err(Failure::Usage(format!(
            "--to {to} is not after --from {}: the range is empty",
            args.from
        )));
    }
    let Opened { log, owner, .. } = open(&args.log.dir, program)?;
    let args = &between_times(args, &log)?;
    let mut printer = Printer::new(args, owner, program)?;
    let start = match args.last {
        Some(count) => {
            let last = log.last_records(count, args.stream.map(StreamId));
            let last = last.map_err(|error| failure(error, &printer))?;
            printer.begin(last.from, last.skip);
            last.from
        }
        None => {
            let from = Lsn::new(args.from);
            printer.begin(from, 0);
            start(&log, from)?
        }
    };
    let outcome = if args.follow {
        follow(log, start, &mut printer, out)
    } else {
        print_all(&log, start, args, &mut printer, out)
    }?;
    printer.finish()?;
    Ok(outcome)
}

/// With positions in place of times.
fn between_times(args: &DumpArgs, log: &Log) -> Result<DumpArgs> {
    let mut args = args.clone();
    if let (Some(since), Some(until)) = (args.since, args.until)
        && until <= since
    {
        let what = "--until is not after --since: the range is empty";
        return Err(Failure::Usage(what.to_owned()));
    }
    if let Some(since) = args.since {
        args.from = log.lsn_at(since)?.get();
    }
    if let Some(until) = args.until {
        args.to = log.lsn_until(until)?.map(Lsn::get);
    }
    Ok(args)
}

fn print_all(
    log: &Log,
    start: Lsn,
    args: &DumpArgs,
    printer: &mut Printer<'_>,
    out: &mut Output,
) -> Result<Outcome> {
    let frames = match log.frames(start) {
        Ok(frames) => frames,
        Err(error) => return damaged(error, printer, out),
    };
    let end = frames.log_end();
    let mut outcome = Outcome::Clean;
    if let Some(note) = note(log) {
        printer.program().tell(note);
    }
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
            Err(error) if log.is_one_segment() => {
                out.flush()?;
                printer.program().tell(FoundDamage::new(&error).to_text());
                outcome = Outcome::Finding;
                continue;
            }
            Err(error) => return damaged(error, printer, out),
        };
        if printer.frame(&frame, out)?.is_break() {
            break;
        }
    }
    let from = args.from;
    if args.last.is_none() && from >= end.get() {
        printer.program().tell(format!(
            "there is nothing from LSN {from} on: the log ends at LSN {end}"
        ));
    }
    Ok(outcome)
}

/// Where to begin reading so that every frame from `from` on is seen: at the start of its segment.
fn start(log: &Log, from: Lsn) -> Result<Lsn> {
    if from == Lsn::ZERO {
        return Ok(from);
    }
    if from < log.first_lsn() {
        let first = log.first_lsn();
        let why = match log.is_one_segment() {
            true => "is not in this file, which starts at",
            false => "was truncated: the log starts at",
        };
        return Err(Failure::Usage(format!("LSN {from} {why} LSN {first}")));
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
    Err(failure(error, printer))
}

fn failure(error: WalError, printer: &Printer<'_>) -> Failure {
    match error {
        WalError::Corrupt { .. } => Failure::Finding(with_advice(&error, printer.program())),
        _ => error.into(),
    }
}
