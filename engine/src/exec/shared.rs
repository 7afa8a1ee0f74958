//! What the driver and the worker threads share.

use crate::batch::chunk::Chunk;
use crate::batch::work::{Snapshot, Work};
use crate::error::{BatchFailure, Error};
use crate::exec::completed::Completed;
use crate::plan::program::Plan;
use crate::state::table::{Block, RestoredState};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::Thread;

/// Meeting point of driver and workers. Batches run one after the other, so there is one in here at
/// a time.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) plan: Arc<Plan>,
    pub(crate) workers: usize,
    pub(crate) first: u64,
    pub(crate) restored: Mutex<BTreeMap<usize, RestoredState>>,
    current: Mutex<Current>,
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Current {
    work: Option<Work>,
    completed: Completed,
}

#[derive(Debug)]
struct Progress {
    /// Every epoch below is complete on every worker.
    done: u64,
    /// The snapshots of every epoch below were handed over by every worker.
    acked: u64,
    threads: BTreeMap<usize, Thread>,
    stopping: bool,
    died: Option<String>,
}

impl Shared {
    pub(crate) fn new(
        plan: Arc<Plan>,
        workers: usize,
        first: u64,
        restored: BTreeMap<usize, RestoredState>,
    ) -> Self {
        let progress = Progress {
            done: first,
            acked: first,
            threads: BTreeMap::new(),
            stopping: false,
            died: None,
        };
        Self {
            plan,
            workers,
            first,
            restored: Mutex::new(restored),
            current: Mutex::default(),
            progress: Mutex::new(progress),
            changed: Condvar::new(),
        }
    }

    // ---- the driver's side

    pub(super) fn begin(&self, work: Work) {
        *self.current.lock() = Current {
            work: Some(work),
            completed: Completed::default(),
        };
    }

    pub(super) fn wait_for(&self, work: Work) -> Result<Completed, Error> {
        let epoch = work.batch.id;
        let mut progress = self.progress.lock();
        while progress.done <= epoch || (work.snapshot == Snapshot::Take && progress.acked <= epoch)
        {
            if progress.died.is_some() {
                drop(progress);
                return Err(Error::Worker(self.cause_of_death()));
            }
            self.changed.wait(&mut progress);
        }
        drop(progress);
        let mut completed = std::mem::take(&mut *self.current.lock()).completed;
        // Workers hand their groups over as they come: a checkpoint must not depend on who was faster.
        completed
            .blocks
            .sort_by_key(|(state, block)| (*state, block.group));
        Ok(completed)
    }

    pub(super) fn wait_for_threads(&self) -> Result<(), Error> {
        let mut progress = self.progress.lock();
        while progress.threads.len() < self.workers {
            if let Some(cause) = &progress.died {
                return Err(Error::Worker(cause.clone()));
            }
            self.changed.wait(&mut progress);
        }
        Ok(())
    }

    pub(super) fn wake_workers(&self) {
        self.progress
            .lock()
            .threads
            .values()
            .for_each(Thread::unpark);
    }

    pub(super) fn stop(&self) {
        self.progress.lock().stopping = true;
    }

    pub(super) fn died(&self, cause: String) {
        self.progress.lock().died.get_or_insert(cause);
        self.changed.notify_all();
        self.wake_workers();
    }

    pub(super) fn cause_of_death(&self) -> String {
        self.progress
            .lock()
            .died
            .clone()
            .unwrap_or_else(|| "its command channel is closed".to_owned())
    }

    // ---- the workers' side

    pub(super) fn register(&self, index: usize) {
        self.progress
            .lock()
            .threads
            .insert(index, std::thread::current());
        self.changed.notify_all();
    }

    pub(super) fn stopping(&self) -> bool {
        let progress = self.progress.lock();
        progress.stopping || progress.died.is_some()
    }

    /// The batch with number `epoch`, if it is the one being run.
    pub(super) fn work(&self, epoch: u64) -> Option<Work> {
        self.current.lock().work.filter(|w| w.batch.id == epoch)
    }

    pub(super) fn failed(&self) -> bool {
        self.current.lock().completed.failure.is_some()
    }

    pub(super) fn fail(&self, failure: BatchFailure) {
        self.current.lock().completed.failure.get_or_insert(failure);
    }

    pub(super) fn deliver(&self, output: usize, chunks: &mut Vec<Chunk>) {
        self.current
            .lock()
            .completed
            .outputs
            .entry(output)
            .or_default()
            .append(chunks);
    }

    pub(super) fn hand_over(&self, state: usize, blocks: Vec<Block>) {
        self.current
            .lock()
            .completed
            .blocks
            .extend(blocks.into_iter().map(|b| (state, b)));
    }

    pub(super) fn advance(&self, done: u64, acked: u64) {
        let mut progress = self.progress.lock();
        if progress.done < done || progress.acked < acked {
            progress.done = progress.done.max(done);
            progress.acked = progress.acked.max(acked);
            self.changed.notify_all();
        }
    }
}
