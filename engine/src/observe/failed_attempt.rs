//! An attempt at a batch that failed, for observers.

use crate::batch::Batch;
use std::fmt;
use std::time::Duration;

/// An attempt at a batch that failed, and that another one follows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// The batch.
    pub batch: Batch,
    /// Which attempt at it this was, from 1.
    pub attempt: u32,
    /// How often it may fail
    /// ([`max_batch_failures`](crate::Builder::max_batch_failures)).
    pub max_failures: u32,
    /// Why it failed.
    pub message: String,
    /// The time until the next attempt.
    pub next_in: Duration,
}

impl fmt::Display for FailedAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            batch,
            attempt,
            max_failures,
            message,
            next_in,
        } = self;
        write!(
            f,
            "attempt {attempt} of {max_failures} at {batch} failed; the next one begins in {} ms: {message}",
            next_in.as_millis()
        )
    }
}
