//! Batches that wait for the driver.

use crate::batch::tick::Timed;
use crate::engine_log::cut::Cut;
use crate::scheduler::ending::Ending;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::fmt;
use std::iter::Peekable;
use std::sync::Arc;

/// Batches that were cut and wait for the driver. They wait in the log; this holds only their
/// numbers.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
    /// For the driver, while it waits for something else.
    pub(crate) asked: Arc<Ending>,
}

/// The batches of a cut that have not run.
type Left = Peekable<Box<dyn Iterator<Item = Timed> + Send>>;

#[derive(Default)]
struct QueueState {
    cuts: VecDeque<Cut>,
    /// What is left of the cut whose batches run. Its empty ticks are made one by one.
    current: Option<Left>,
    ending: Option<StopMode>,
    /// A batch runs.
    running: bool,
}

impl QueueState {
    /// The batches of the cut that has its turn.
    fn left(&mut self) -> Option<&mut Left> {
        if self.current.is_none() {
            let batches: Box<dyn Iterator<Item = Timed> + Send> =
                Box::new(self.cuts.pop_front()?.batches());
            self.current = Some(batches.peekable());
        }
        self.current.as_mut()
    }

    fn next(&mut self) -> Option<Timed> {
        let left = self.left()?;
        let next = left.next();
        if left.peek().is_none() {
            self.current = None; // the backlog ends with its last batch, not when more is asked for
        }
        next
    }
}

impl fmt::Debug for QueueState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueState")
            .field("cuts", &self.cuts)
            .field("ending", &self.ending)
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}

impl Queue {
    pub(crate) fn push(&self, cut: Cut) {
        self.state.lock().cuts.push_back(cut);
        self.changed.notify_all();
    }

    /// Whether a batch waits or runs.
    pub(crate) fn has_backlog(&self) -> bool {
        let state = self.state.lock();
        !state.cuts.is_empty() || state.current.is_some() || state.running
    }

    /// The driver has ended a batch.
    pub(crate) fn idle(&self) {
        self.state.lock().running = false;
    }

    /// The next batch, or `None` when the driver is to end.
    pub(crate) fn next(&self) -> Option<Timed> {
        let mut state = self.state.lock();
        loop {
            if state.ending == Some(StopMode::Immediate) {
                return None;
            }
            if let Some(timed) = state.next() {
                state.running = true;
                return Some(timed);
            }
            if state.ending.is_some() {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    /// The batch that [`Self::next`] would return, without waiting for one.
    pub(crate) fn peek(&self) -> Option<Timed> {
        let mut state = self.state.lock();
        match state.ending {
            Some(StopMode::Immediate) => None,
            _ => state.left()?.peek().copied(),
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
        self.asked.ask(mode == StopMode::Immediate);
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
