//! Back-off: a full disk delays a batch, it does not end the program (P8).

use crate::error::Result;
use crate::ingest::admission::Admission;
use highwater_wal::disk::WaitResult;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

/// Time between two attempts.
const RETRY: Duration = Duration::from_millis(100);

/// Lets a batch wait for what is scarce for the moment: room on a disk, file descriptors.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    /// `None` if no batch may wait.
    admission: Option<Arc<Admission>>,
}

impl Backoff {
    /// Never waits: for sinks that are tried out on their own.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    pub(crate) fn of(admission: &Arc<Admission>) -> Self {
        Self {
            admission: Some(Arc::clone(admission)),
        }
    }

    /// Waits a moment before the next attempt; now and then, logs why. False if the caller should
    /// give up instead: the context is stopping, or its batches are run by hand.
    #[must_use]
    pub fn wait(&self, what: &dyn Display) -> bool {
        let Some(admission) = self
            .admission
            .as_ref()
            .filter(|admission| !admission.is_closed())
        else {
            return false;
        };
        admission.warn("no room: the batch waits and tries again", what);
        // If a stop ends the wait, there is one more attempt.
        let _stopping = self.sleep(RETRY);
        true
    }

    /// Makes attempts until there is room. If a stop ends the wait, there is one more attempt, and
    /// it begins after the stop.
    pub(crate) fn until_room<T>(&self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        loop {
            let may_wait = self.may_wait();
            match attempt() {
                Err(error) if error.is_transient() && may_wait => {
                    let _stopping = !self.wait(&error);
                }
                other => return other,
            }
        }
    }

    /// Whether a batch may wait now.
    pub(crate) fn may_wait(&self) -> bool {
        let admission = self.admission.as_ref();
        admission.is_some_and(|admission| !admission.is_closed())
    }

    /// Logs why something waits, but not each time.
    pub(crate) fn warn(&self, message: &str, error: &dyn Display) {
        if let Some(admission) = &self.admission {
            admission.warn(message, error);
        }
    }

    /// Waits for so long; false as soon as the context stops.
    pub(crate) fn sleep(&self, delay: Duration) -> bool {
        let Some(admission) = &self.admission else {
            return false;
        };
        let clock = &admission.clock;
        let until = clock.now().saturating_add(delay);
        while !admission.is_closed() {
            match clock.wait(&admission.closing, Some(until)) {
                WaitResult::Deadline => return true,
                WaitResult::Notified => {}
            }
        }
        // Others may wait too, and a notification wakes one.
        admission.closing.notify_one();
        false
    }
}
