//! One worker thread: takes commands, steps the dataflow, reports progress, and parks when there is
//! nothing to do.

use crate::batch::chunk::Chunk;
use crate::batch::work::Work;
use crate::exec::dataflow::{self, Running};
use crate::exec::report::Report;
use crate::exec::worker_context::WorkerContext;
use crate::plan::batch_scope::BatchScope;
use crate::plan::program::Plan;
use crate::state::key_group::KeyGroups;
use crate::state::table::block::RestoredState;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use timely::worker::Worker;

/// What every worker starts with.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub(super) plan: Arc<Plan>,
    pub(super) groups: KeyGroups,
    /// The first epoch.
    pub(super) first: u64,
    /// Each worker takes the groups that it owns.
    pub(super) restored: Arc<Mutex<BTreeMap<usize, RestoredState>>>,
    /// The newest batch that failed.
    pub(super) failed: Arc<AtomicU64>,
    pub(super) stopping: Arc<AtomicBool>,
}

/// What the driver asks of a worker: to process `input` as part of a batch, after which nothing
/// more comes for it.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) work: Work,
    pub(super) input: Vec<Chunk>,
    pub(super) scope: BatchScope,
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
        start.first,
        reports,
        failed,
    ));
    let mut running = dataflow::build(worker, &context, &mut start.restored.lock());
    context.report(Report::Ready(std::thread::current()));
    let mut reported = (start.first, start.first);
    loop {
        match commands.try_recv() {
            Ok(Command {
                work,
                mut input,
                scope,
            }) => {
                context.begin(work, scope);
                running.input.send_batch(&mut input);
                running.input.advance_to(work.batch.id + 1);
                running.input.flush();
                continue;
            }
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) if start.stopping.load(Ordering::Acquire) => break,
            Err(TryRecvError::Empty) => {}
        }
        // Commands come with an unpark, whose token makes the next park return at once: none is
        // missed.
        worker.step_or_park(None);
        let (done, acked) = progress(&running);
        if reported != (done, acked) {
            reported = (done, acked);
            context.report(Report::Progress { done, acked });
        }
    }
    for dataflow in worker.installed_dataflows() {
        worker.drop_dataflow(dataflow);
    }
}

fn progress(running: &Running) -> (u64, u64) {
    let done = running.done.with_frontier(|f| f.iter().min().copied());
    let acked = running.acked.with_frontier(|f| f.iter().min().copied());
    (done.unwrap_or(u64::MAX), acked.unwrap_or(u64::MAX))
}
