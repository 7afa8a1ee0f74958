//! The child process: runs the program, reports, and stops gracefully when its standard input ends.
//! It also ends if the parent dies.

use crate::args::ChildArgs;
use crate::demo::child::event::{Event, Ready, Status};
use crate::demo::child::program;
use crate::fail::OrFail;
use highwater::{BoundAddress, StopMode, StreamingContext};
use highwater_log::outcome::{Failure, Outcome, Result};
use highwater_log::output::Output;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the status is read, and reported if it has changed. A killed child has not reported
/// the last of these intervals.
const REPORT_INTERVAL: Duration = Duration::from_millis(10);

/// Runs the child.
pub(crate) fn run_child(args: &ChildArgs, out: &mut Output) -> Result<Outcome> {
    let bound = BoundAddress::new();
    let context = program::build(args, &bound).or_fail()?;
    let lineage = context.lineage();
    context.start().or_fail()?;
    let address = bound
        .get()
        .ok_or_else(|| Failure::Io("the source has no address".to_owned()))?;
    let ready = Ready {
        address: address.to_string(),
        log_end: context.log().recovery().case.to_string(),
        checkpoint: lineage.checkpoint.map(|(number, _)| number),
        bytes_to_replay: lineage.bytes_to_replay,
    };
    tell(out, &Event::Ready(ready))?;
    let asked = Arc::new(AtomicBool::new(false));
    let ask = Arc::clone(&asked);
    std::thread::spawn(move || {
        // An error means the end as well.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ask.store(true, Ordering::Release);
    });
    let mut told = Status::default();
    while !asked.load(Ordering::Acquire) {
        // Ends by itself only with an error, which says why.
        context
            .await_termination_or_timeout(REPORT_INTERVAL)
            .or_fail()?;
        let status = status(&context);
        if status != told {
            tell(out, &Event::Status(status))?;
            told = status;
        }
    }
    context.stop(StopMode::Graceful).or_fail()?;
    tell(out, &Event::Stopped(status(&context)))?;
    Ok(Outcome::Clean)
}

fn tell(out: &mut Output, event: &Event) -> Result<()> {
    out.json(event)?;
    out.flush()
}

fn status(context: &StreamingContext) -> Status {
    let (progress, log) = (context.progress(), context.log());
    let stats = log.stats();
    Status {
        batches: progress.batches,
        replayed: progress.replayed,
        checkpoints: context.checkpoints().published,
        records: stats.records,
        flushes: stats.groups,
        duplicates: context
            .sources()
            .iter()
            .map(|(_, source)| source.duplicates)
            .sum(),
        first_lsn: log.first_lsn().get(),
        end_lsn: log.end_lsn().get(),
    }
}
