//! What the flusher's thread waits for: a deadline, a future, or a log that has become idle.

use crate::background::task::Bell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// No flush is due.
const NEVER: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct IdleSignal {
    /// Wakes the flusher.
    bell: Arc<Bell>,
    /// When to flush, in nanoseconds of the clock.
    due: AtomicU64,
    /// Groups were committed since the log was last idle.
    busy: AtomicBool,
    /// Whether a thread writes the last durable-LSN record of an idle log.
    watched: AtomicBool,
}

impl IdleSignal {
    /// Whose bell wakes the flusher.
    pub(crate) fn new(bell: &Arc<Bell>) -> Self {
        Self {
            bell: Arc::clone(bell),
            due: AtomicU64::new(NEVER),
            busy: AtomicBool::new(false),
            watched: AtomicBool::new(false),
        }
    }

    /// A group was committed. Its durable-LSN record is durable with the next group, or, if none
    /// comes, when the log has been idle for a while. Until then damage to this group could not be
    /// told from a torn write. With direct writes that record is in memory only; elsewhere the
    /// kernel writes it by itself.
    pub(crate) fn committed(&self) {
        if self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        if self.watched.load(Ordering::Acquire) {
            self.bell.ring();
        }
    }

    /// A thread waits for the log to become idle from now on.
    pub(crate) fn watch(&self) {
        self.watched.store(true, Ordering::Release);
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    pub(crate) fn set_idle(&self) {
        self.busy.store(false, Ordering::Release);
    }

    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// When to flush.
    pub(crate) fn due(&self) -> Option<Duration> {
        match self.due.load(Ordering::Acquire) {
            NEVER => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Has the log flushed at `deadline`. Tells whether that is earlier than before.
    pub(crate) fn flush_by(&self, deadline: Duration) -> bool {
        let deadline = u64::try_from(deadline.as_nanos()).unwrap_or(NEVER - 1);
        deadline < self.due.fetch_min(deadline, Ordering::AcqRel)
    }

    /// The flush that was due begins.
    pub(crate) fn begin_flush(&self) {
        self.due.store(NEVER, Ordering::Release);
    }
}
