//! A flag that is set once, and wakes the thread that waits for it.

use highwater_wal::disk::{Clock, Notify, WaitResult};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A flag that is set once.
#[derive(Debug, Default)]
pub(crate) struct Flag {
    is_set: AtomicBool,
    notify: Arc<Notify>,
}

impl Flag {
    /// A flag whose waiter is also woken by `notify`.
    pub(crate) fn sharing(notify: &Arc<Notify>) -> Self {
        Self {
            is_set: AtomicBool::new(false),
            notify: Arc::clone(notify),
        }
    }

    pub(crate) fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// What wakes the waiter.
    pub(crate) fn notify(&self) -> &Arc<Notify> {
        &self.notify
    }

    /// Waits until the flag is set or the clock reaches `deadline`; whether it is set.
    pub(crate) fn wait_until(&self, clock: &dyn Clock, deadline: Option<Duration>) -> bool {
        while !self.is_set() {
            if clock.wait(&self.notify, deadline) == WaitResult::Deadline {
                break;
            }
        }
        self.is_set()
    }
}
