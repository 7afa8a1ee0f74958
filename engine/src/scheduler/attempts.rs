//! How often a batch that fails is run again, and after what time.

use crate::batch::Batch;
use crate::error::Error;
use crate::observe::event::{ContextEvent, Events};
use crate::observe::failed_attempt::FailedAttempt;
use crate::plan::failed::{Failed, Remedy};
use crate::scheduler::ending::Ending;
use highwater_wal::disk::Clock;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// The time between the first attempt at a batch and the second; it doubles from then on.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// It does not become longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// An attempt at a batch that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Box<Error>,
    pub(crate) remedy: Remedy,
}

impl Failure {
    pub(crate) fn new(error: Error, remedy: Remedy) -> Self {
        let error = Box::new(error);
        Self { error, remedy }
    }

    /// A worker has ended, if it was that, and its state with it.
    pub(crate) fn of_workers(error: Error) -> Self {
        Self::new(error, Remedy::Rebuild)
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        Self::new(failed.why.into(), failed.remedy)
    }
}

/// How often a batch may fail, and what is done in between.
#[derive(Debug)]
pub(crate) struct Attempts {
    /// So many failures of a batch end the context.
    pub(crate) max_failures: NonZeroU32,
    /// Whether the workers are built again after each failure.
    pub(crate) always_rebuild: bool,
    /// Whether time passes between two attempts: not where batches are run by hand.
    pub(crate) pauses: bool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ending: Arc<Ending>,
    pub(crate) events: Arc<Events>,
}

impl Attempts {
    /// The batch has failed for the `failures`-th time. Waits, and returns when it may be run
    /// again.
    ///
    /// A graceful stop ends the wait, and the attempts that are left are made at once. A stop that
    /// is not leaves none.
    ///
    /// # Errors
    /// That of this attempt, if it was the last one.
    pub(crate) fn after(&self, batch: Batch, failures: u32, failure: Failure) -> Result<(), Error> {
        let Failure { error, remedy } = failure;
        // A source that is not available has as many attempts as it takes. But a stop does not wait
        // for it, nor does a caller who runs batches by hand.
        let has_all_time = remedy == Remedy::Wait && self.pauses && !self.ending.is_asked();
        let is_last = !has_all_time && failures >= self.max_failures.get();
        let is_last = is_last || remedy == Remedy::Stop;
        if is_last || self.ending.is_at_once() {
            return Err(counted(*error, failures));
        }
        let next_in = match self.pauses {
            true => pause(failures),
            false => Duration::ZERO,
        };
        let until = self.clock.now().saturating_add(next_in);
        let attempt = FailedAttempt {
            batch,
            attempt: failures,
            max_failures: self.max_failures.get(),
            waits_for_source: has_all_time,
            message: error.to_string(),
            next_in,
        };
        tracing::warn!("{attempt}");
        self.events.publish(&ContextEvent::AttemptFailed(attempt));
        if self.pauses {
            self.ending.wait_until(&*self.clock, until);
        }
        match self.ending.is_at_once() {
            true => Err(counted(*error, failures)),
            false => Ok(()),
        }
    }
}

/// The error, with how often the batch has failed.
fn counted(mut error: Error, failures: u32) -> Error {
    if let Error::Batch(failure) = &mut error {
        failure.attempts = failures;
    }
    error
}

/// The time after failure number `failures`.
fn pause(failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let ms = [1, 2, 3, 6, 7, 40, u32::MAX].map(|n| pause(n).as_millis());
        assert_eq!(ms, [200, 400, 800, 6_400, 10_000, 10_000, 10_000]);
    }
}
