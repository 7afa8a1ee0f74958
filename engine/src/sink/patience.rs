//! Waiting for room: a full disk delays a batch, it does not end the program (P8).

use crate::ingest::admission::Intake;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

/// How long something that found no room rests before it is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Whether a batch may wait for what is scarce for the moment: room on a disk, file descriptors.
#[derive(Debug, Clone, Default)]
pub struct Patience {
    /// `None` if nobody may wait.
    intake: Option<Arc<Intake>>,
}

impl Patience {
    /// Never waits: for sinks that are tried out on their own.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    pub(crate) fn of(intake: &Arc<Intake>) -> Self {
        Self {
            intake: Some(Arc::clone(intake)),
        }
    }

    /// Says why there is a delay (now and then), and rests a moment. False if the caller should
    /// give up instead: the context is stopping, or its batches are run by hand.
    #[must_use]
    pub fn rest(&self, what: &dyn Display) -> bool {
        let Some(intake) = self.intake.as_ref().filter(|intake| !intake.is_closed()) else {
            return false;
        };
        intake.warn("no room: the batch waits and tries again", what);
        let clock = &intake.clock;
        // Nothing notifies: a stop is noticed at the end of the rest.
        let _deadline = clock.wait(&Arc::default(), Some(clock.now() + RETRY));
        true
    }
}
