//! Tasks that wait until the log can go on to its next segment.

use crate::background::task::Bell;
use crate::retention::room::RoomWaiters;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

/// They are woken when that may have changed, and try again.
///
/// A waker may do anything: it may own the log, and close it, which waits for the thread that makes
/// segments. So that thread wakes no task itself; it has the flusher do it.
#[derive(Debug)]
pub(crate) struct Turn {
    tasks: RoomWaiters,
    is_due: AtomicBool,
    /// Wakes the flusher.
    flusher: Arc<Bell>,
}

impl Turn {
    pub(crate) fn new(flusher: Arc<Bell>) -> Self {
        Self {
            tasks: RoomWaiters::default(),
            is_due: AtomicBool::new(false),
            flusher,
        }
    }

    /// What wakes the flusher.
    pub(crate) fn flusher(&self) -> &Arc<Bell> {
        &self.flusher
    }

    /// The number of a new task.
    pub(crate) fn new_id(&self) -> u64 {
        self.tasks.new_id()
    }

    /// The task `id` is woken from now on. It tries once more after this call, and only then waits.
    pub(crate) fn register(&self, id: u64, waker: Waker) {
        self.tasks.register(id, waker);
    }

    pub(crate) fn forget(&self, id: u64) {
        self.tasks.forget(id);
    }

    /// Wakes them.
    pub(crate) fn wake(&self) {
        self.tasks.notify();
    }

    /// Has the flusher wake them.
    pub(crate) fn wake_soon(&self) {
        // Release pairs with the acquire in `wake_if_due`.
        self.is_due.store(true, Ordering::Release);
        self.flusher.ring();
    }

    /// Wakes them if that was asked for. Tells whether it was.
    pub(crate) fn wake_if_due(&self) -> bool {
        let is_due = self.is_due.swap(false, Ordering::AcqRel);
        if is_due {
            self.wake();
        }
        is_due
    }
}
