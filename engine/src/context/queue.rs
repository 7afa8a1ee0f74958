//! Batches that wait for the driver.

use crate::batch::Batch;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;

/// Batches that were cut and wait for the driver. They wait in the log; this holds only their
/// numbers.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    cuts: VecDeque<Batch>,
    ending: Option<StopMode>,
    /// A batch runs.
    running: bool,
}

impl Queue {
    pub(crate) fn push(&self, batch: Batch) {
        self.state.lock().cuts.push_back(batch);
        self.changed.notify_all();
    }

    /// Whether a batch waits or runs.
    pub(crate) fn has_backlog(&self) -> bool {
        let state = self.state.lock();
        !state.cuts.is_empty() || state.running
    }

    /// The driver has ended a batch.
    pub(crate) fn idle(&self) {
        self.state.lock().running = false;
    }

    /// The next batch, or `None` when the driver is to end.
    pub(crate) fn next(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        loop {
            if state.ending == Some(StopMode::Immediate) {
                return None;
            }
            if let Some(batch) = state.cuts.pop_front() {
                state.running = true;
                return Some(batch);
            }
            if state.ending.is_some() {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    /// How the driver is to end, if it is.
    pub(crate) fn ending(&self) -> Option<StopMode> {
        self.state.lock().ending
    }

    /// Whether an immediate stop was asked for.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.ending() == Some(StopMode::Immediate)
    }

    /// Ends the driver; `Immediate` overrides a graceful end that is under way.
    pub(crate) fn end(&self, mode: StopMode) {
        let mut state = self.state.lock();
        if state.ending.is_none() || mode == StopMode::Immediate {
            state.ending = Some(mode);
        }
        self.changed.notify_all();
    }
}

/// How a context stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Sources end, everything acknowledged is processed, a final checkpoint is taken.
    Graceful,
    /// The running batch ends; what the log holds after it is processed by the next start.
    Immediate,
}
