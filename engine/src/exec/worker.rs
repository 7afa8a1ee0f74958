//! One worker thread: takes commands, steps the dataflow, reports progress, and parks when there is
//! nothing to do.

use crate::batch::work::Work;
use crate::exec::attempt::{Attempt, FIRST_EPOCH};
use crate::exec::batch_operators::capturing::{CaptureRequest, Copies, Copying};
use crate::exec::dataflow::{self, Running};
use crate::exec::feed::Feed;
use crate::exec::report::Report;
use crate::exec::worker_context::WorkerContext;
use crate::plan::batch_scope::BatchScope;
use crate::plan::program::Plan;
use crate::state::key_group::KeyGroups;
use crate::state::table::block::RestoredState;
use highwater_wal::disk::Clock;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use timely::worker::Worker;

/// How often a thread that waits for the end of a batch looks whether it has come, before it parks.
/// A small batch takes less than parking and being woken, which the threads of a batch do one after
/// the other: so an empty batch costs half. Between two looks others may run; all of them together
/// take some 50 µs of an idle machine, once a batch.
pub(super) const PATIENCE: u32 = 100;

/// What every worker starts with.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub(super) plan: Arc<Plan>,
    pub(super) groups: KeyGroups,
    /// Each worker takes the groups that it owns.
    pub(super) restored: Arc<Mutex<BTreeMap<usize, RestoredState>>>,
    /// The newest epoch that failed.
    pub(super) failed: Arc<AtomicU64>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) clock: Arc<dyn Clock>,
}

/// What the driver asks of every worker.
#[derive(Debug)]
pub(super) enum Command {
    /// To process a batch, whose input they share.
    Run {
        attempt: Attempt,
        work: Work,
        feed: Arc<Feed>,
        scope: BatchScope,
    },
    /// To copy the state after the batch that was kept last, for a checkpoint.
    Capture(CaptureRequest),
}

/// Runs until the driver stops the executor or goes away.
pub(super) fn run(
    worker: &mut Worker,
    start: &Start,
    commands: &Receiver<Command>,
    reports: Sender<Report>,
) {
    let (plan, failed) = (Arc::clone(&start.plan), Arc::clone(&start.failed));
    let context = Rc::new(WorkerContext::new(
        plan,
        (worker.index(), start.groups),
        reports,
        failed,
    ));
    let mut running = dataflow::build(worker, &context, &mut start.restored.lock());
    context.report(ready(&running));
    let mut reported = FIRST_EPOCH;
    let mut batch: Option<(u64, Arc<Feed>)> = None;
    let mut patience = 0;
    let (mut copying, mut is_idle) = (Copying::new(&start.clock), true);
    while !start.stopping.load(Ordering::Acquire) {
        let Some((epoch, feed)) = &batch else {
            match commands.try_recv() {
                Ok(Command::Run {
                    attempt,
                    work,
                    feed,
                    scope,
                }) => {
                    copying.slice_before_batch(&running.units);
                    (batch, is_idle) = (Some((attempt.epoch, feed)), false);
                    context.begin(attempt, work, scope);
                    continue;
                }
                Ok(Command::Capture(request)) => {
                    context.keep(request.kept);
                    copying.begin(&request, &running.units);
                    continue;
                }
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {}
            }
            // Not while other workers may wait for what this one does for the batch.
            if is_idle && copying.slice(&running.units) == Some(Copies::More) {
                continue;
            }
            step(worker, &mut patience);
            if report_progress(&context, &running, &mut reported) {
                (patience, is_idle) = (0, true);
            }
            continue;
        };
        match feed.take() {
            // Each chunk goes on its way before the next is taken: what becomes of it is gathered,
            // or sent to another worker, while it is small.
            Some(chunk) => {
                running.input.send(chunk);
                running.input.flush();
                worker.step();
            }
            None => {
                running.input.advance_to(*epoch + 1);
                running.input.flush();
                (batch, patience) = (None, PATIENCE);
            }
        }
    }
    for dataflow in worker.installed_dataflows() {
        worker.drop_dataflow(dataflow);
    }
}

/// The worker has built the dataflow.
fn ready(running: &Running) -> Report {
    let shared = running.units.iter();
    let shared = shared.flat_map(|unit| unit.borrow().share());
    Report::Ready(std::thread::current(), shared.collect())
}

/// Goes on with what there is to be done, and parks if there is nothing for a while.
fn step(worker: &mut Worker, patience: &mut u32) {
    if *patience > 0 {
        *patience -= 1;
        worker.step();
        std::thread::yield_now();
    } else {
        // Commands come with an unpark, whose token makes the next park return at once: none is
        // missed.
        worker.step_or_park(None);
    }
}

/// Tells the driver how far all workers are, if that has changed. Whether they are done with all.
fn report_progress(context: &WorkerContext, running: &Running, reported: &mut u64) -> bool {
    let done = running.done.with_frontier(|f| f.iter().min().copied());
    let done = done.unwrap_or(u64::MAX);
    if *reported == done {
        return false;
    }
    *reported = done;
    context.report(Report::Progress { done });
    done >= *running.input.time()
}
