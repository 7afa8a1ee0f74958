//! Back-off: a full disk delays a batch, it does not end the program (P8).

use crate::ingest::admission::Admission;
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
        let clock = &admission.clock;
        // Nothing notifies: a stop is noticed at the end of the wait.
        let _deadline = clock.wait(&Arc::default(), Some(clock.now() + RETRY));
        true
    }
}
