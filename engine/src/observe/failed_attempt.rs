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
    /// Whether it waits for a source that is not available
    /// ([`ReadError::Unavailable`](crate::ReadError::Unavailable)): then it has as many attempts
    /// as that takes.
    pub waits_for_source: bool,
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
            waits_for_source,
            message,
            next_in,
        } = self;
        let of = match waits_for_source {
            true => String::new(),
            false => format!(" of {max_failures}"),
        };
        write!(
            f,
            "attempt {attempt}{of} at {batch} failed; the next one begins in {} ms: {message}",
            next_in.as_millis()
        )
    }
}
