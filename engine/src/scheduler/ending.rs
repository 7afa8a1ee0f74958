//! Whether the context is to end: a wait of the driver must not keep a stop waiting.

use crate::flag::Flag;
use highwater_wal::disk::Clock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether the context is to end.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    asked: Flag,
    /// What has not run yet is left to the next start.
    at_once: AtomicBool,
}

impl Ending {
    /// The context is to end, or, `at_once`, to end sooner than was asked for before.
    pub(crate) fn ask(&self, at_once: bool) {
        self.at_once.fetch_or(at_once, Ordering::AcqRel);
        self.asked.set();
    }

    /// Whether nothing more is to be begun.
    pub(crate) fn is_at_once(&self) -> bool {
        self.at_once.load(Ordering::Acquire)
    }

    /// Whether the context is to end, in either way.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.is_set()
    }

    /// Waits until the clock reaches `deadline`, or the context is to end.
    pub(crate) fn wait_until(&self, clock: &dyn Clock, deadline: Duration) {
        let _is_asked = self.asked.wait_until(clock, Some(deadline));
    }
}
