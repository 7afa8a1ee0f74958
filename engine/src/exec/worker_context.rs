//! What the operators of one worker share: the batch that is being run, and the way to the driver.

use crate::batch::chunk::Chunk;
use crate::batch::work::Work;
use crate::exec::attempt::Attempt;
use crate::exec::report::Report;
use crate::observe::states::KeyCounts;
use crate::plan::batch_scope::BatchScope;
use crate::plan::failed::Failed;
use crate::plan::program::Plan;
use crate::refused::noted::Noted;
use crate::state::key_group::KeyGroups;
use crate::variables::scope;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

/// What the operators of one worker share. It never leaves the worker's thread.
#[derive(Debug)]
pub(super) struct WorkerContext {
    pub(super) plan: Arc<Plan>,
    pub(super) groups: KeyGroups,
    worker: usize,
    work: Cell<Option<(Attempt, Work)>>,
    /// What the operators of the batch are given beside its records.
    scope: RefCell<Rc<BatchScope>>,
    reports: Sender<Report>,
    /// The newest epoch that failed on any worker, 0 before the first. It spares the others what is
    /// in vain, and keeps operators from seeing a part of their input as if it were all.
    failed: Arc<AtomicU64>,
}

impl WorkerContext {
    pub(super) fn new(
        plan: Arc<Plan>,
        (worker, groups): (usize, KeyGroups),
        reports: Sender<Report>,
        failed: Arc<AtomicU64>,
    ) -> Self {
        Self {
            plan,
            groups,
            worker,
            work: Cell::new(None),
            scope: RefCell::default(),
            reports,
            failed,
        }
    }

    /// An attempt at a batch begins.
    pub(super) fn begin(&self, attempt: Attempt, work: Work, scope: BatchScope) {
        self.work.set(Some((attempt, work)));
        self.scope.replace(Rc::new(scope));
    }

    /// Everything up to `epoch` is kept that has not failed by now.
    pub(super) fn keep(&self, epoch: u64) {
        if let Some((attempt, work)) = self.work.get() {
            let kept = attempt.kept.max(epoch);
            self.work.set(Some((Attempt { kept, ..attempt }, work)));
        }
    }

    /// The batch of the attempt `epoch`, if that is the one being run.
    pub(super) fn work(&self, epoch: u64) -> Option<Work> {
        let (attempt, work) = self.work.get()?;
        (attempt.epoch == epoch).then_some(work)
    }

    /// Whether what was done in `epoch` is kept, now that another one runs.
    pub(super) fn keeps(&self, epoch: u64) -> bool {
        self.work
            .get()
            .is_none_or(|(attempt, _)| epoch <= attempt.kept)
    }

    /// Whether the attempt `epoch` has failed, on any worker.
    pub(super) fn failed(&self, epoch: u64) -> bool {
        self.failed.load(Ordering::Acquire) == epoch
    }

    /// What the operators of the batch are given beside its records.
    pub(super) fn scope(&self) -> Rc<BatchScope> {
        Rc::clone(&self.scope.borrow())
    }

    /// Runs operators of the batch; what they count is reported.
    pub(super) fn counting(&self, work: impl FnOnce()) {
        let added = scope::run(&self.scope().visible, work);
        if !added.is_empty() {
            self.report(Report::Counted(added));
        }
    }

    pub(super) fn fail(&self, epoch: u64, failed: Failed) {
        // The report comes first. A worker that sees the flag skips its work and reports progress:
        // the driver must have the failure before that, or it takes the batch for complete.
        self.report(Report::Failed { epoch, failed });
        self.failed.fetch_max(epoch, Ordering::AcqRel);
    }

    /// Tells of records that operators have refused.
    pub(super) fn refused(&self, noted: Vec<Noted>) {
        if !noted.is_empty() {
            self.report(Report::Refused(noted));
        }
    }

    pub(super) fn deliver(&self, output: usize, chunks: Vec<Chunk>) {
        self.report(Report::Output { output, chunks });
    }

    pub(super) fn tapped(&self, tap: usize, chunks: Vec<Chunk>) {
        self.report(Report::Tapped { tap, chunks });
    }

    /// How many keys this worker has of a state.
    pub(super) fn count_keys(&self, state: usize, counts: KeyCounts) {
        self.report(Report::Keys {
            state,
            worker: self.worker,
            counts,
        });
    }

    pub(super) fn report(&self, report: Report) {
        // Without a driver the worker is about to end: its commands are gone too.
        let _ended = self.reports.send(report);
    }
}
