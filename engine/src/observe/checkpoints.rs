//! The checkpoints of this run, for observers.

use crate::error::{Error, Result};
use crate::observe::event::{ContextEvent, ContextListener};
use highwater_checkpoint::CheckpointError;
use highwater_wal::Lsn;
use parking_lot::{Condvar, Mutex};
use std::time::Duration;

/// Numbers of the checkpoints of this run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckpointStats {
    /// Published checkpoints.
    pub published: u64,
    /// Attempts that failed; the log was kept instead.
    pub failed: u64,
    /// Bytes of state files and manifests published.
    pub bytes: u64,
    /// The newest published one: its number, its batch and its LSN.
    pub newest: Option<(u64, u64, Lsn)>,
    /// Why the newest attempt failed, if it did.
    pub last_error: Option<String>,
}

/// What became of the checkpoints, for the driver and for observers.
#[derive(Debug, Default)]
pub(crate) struct CheckpointStatus {
    inner: Mutex<Inner>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    stats: CheckpointStats,
    attempts: EndedAttempts,
    /// Why the newest attempt failed, if it did.
    last_error: Option<Error>,
    /// How long it took to read the newest checkpoint back.
    load_time: Duration,
    requests: Requests,
}

/// Attempts at checkpoints that have ended, by their numbers: 1 for the first.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EndedAttempts {
    /// All of them.
    pub(crate) all: u64,
    /// The last one that was published; 0 before the first.
    pub(crate) published: u64,
    /// The last one that has failed after which the next one cannot build upon a checkpoint.
    pub(crate) cannot_continue: u64,
    /// The failures since the last one that was published.
    pub(crate) failed_in_a_row: Option<FailedInARow>,
}

/// Failures of attempts that followed each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FailedInARow {
    pub(crate) count: u32,
    /// When the last one failed, by the monotonic clock.
    pub(crate) at: Duration,
}

/// Checkpoints that were asked for.
#[derive(Debug, Default)]
struct Requests {
    asked: u64,
    /// Those that the attempt of this number serves.
    served: (u64, u64),
    /// No attempt will come any more.
    ended: bool,
}

impl CheckpointStatus {
    /// Whether one was asked for, and no capture was taken since.
    pub(crate) fn is_wanted(&self) -> bool {
        let inner = self.inner.lock();
        inner.requests.asked > inner.requests.served.0
    }

    /// The capture of attempt `number` is taken: it serves all that have asked before.
    pub(crate) fn captured(&self, number: u64) {
        let mut inner = self.inner.lock();
        if inner.requests.asked > inner.requests.served.0 {
            inner.requests.served = (inner.requests.asked, number);
        }
    }

    /// Asks for a checkpoint after the next batch, and waits until it is published or has failed:
    /// the number of the attempt.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the context stops meanwhile.
    pub(crate) fn await_requested(&self) -> Result<u64> {
        let mut inner = self.inner.lock();
        inner.requests.asked += 1;
        let ticket = inner.requests.asked;
        loop {
            let (served, attempt) = inner.requests.served;
            if served >= ticket && inner.attempts.all >= attempt {
                return Ok(attempt);
            }
            if inner.requests.ended {
                return Err(Error::Stopped);
            }
            self.ended.wait(&mut inner);
        }
    }

    /// Records the checkpoint from which this run was recovered (number, batch, LSN), and how long
    /// that took.
    pub(crate) fn recovered(&self, checkpoint: (u64, u64, Lsn), loaded_in: Duration) {
        let mut inner = self.inner.lock();
        inner.stats.newest = Some(checkpoint);
        inner.load_time = loaded_in;
    }

    /// Records the end of an attempt, and whether the next one can build upon a checkpoint.
    pub(crate) fn ended(&self, error: Option<Error>, can_continue: bool, at: Duration) {
        let mut inner = self.inner.lock();
        inner.attempts.all += 1;
        let number = inner.attempts.all;
        let failed = inner
            .attempts
            .failed_in_a_row
            .map_or(0, |failed| failed.count);
        if error.is_none() {
            inner.attempts.published = number;
        } else if !can_continue {
            inner.attempts.cannot_continue = number;
        }
        let count = failed.saturating_add(1);
        inner.attempts.failed_in_a_row = error.as_ref().map(|_| FailedInARow { count, at });
        inner.last_error = error;
        drop(inner);
        self.ended.notify_all();
    }

    /// Waits until so many attempts have ended.
    pub(crate) fn await_ended(&self, attempts: u64) {
        let mut inner = self.inner.lock();
        while inner.attempts.all < attempts {
            self.ended.wait(&mut inner);
        }
    }

    /// Attempts that have ended.
    pub(crate) fn ended_attempts(&self) -> EndedAttempts {
        self.inner.lock().attempts
    }

    pub(crate) fn stats(&self) -> CheckpointStats {
        let inner = self.inner.lock();
        CheckpointStats {
            last_error: inner.last_error.as_ref().map(ToString::to_string),
            ..inner.stats.clone()
        }
    }

    /// The checkpoint and the writer that have shut this engine out of the store, if one has.
    pub(crate) fn fenced(&self) -> Option<(u64, u64)> {
        match &self.inner.lock().last_error {
            Some(Error::Checkpoint(CheckpointError::Fenced { number, writer })) => {
                Some((*number, *writer))
            }
            _ => None,
        }
    }

    /// Why the newest attempt failed, if it did.
    pub(crate) fn take_error(&self) -> Option<Error> {
        self.inner.lock().last_error.take()
    }

    /// How long it takes to load the newest checkpoint, as far as it was seen.
    pub(crate) fn load_time(&self) -> Duration {
        self.inner.lock().load_time
    }
}

impl ContextListener for CheckpointStatus {
    fn on_event(&self, event: &ContextEvent) {
        let mut inner = self.inner.lock();
        match event {
            ContextEvent::CheckpointCompleted {
                number,
                batch,
                size_bytes,
                load_time,
                ..
            } => {
                inner.load_time = *load_time;
                inner.stats.published += 1;
                inner.stats.bytes += size_bytes;
                inner.stats.newest = Some((*number, batch.id, batch.to));
            }
            ContextEvent::CheckpointFailed { .. } => inner.stats.failed += 1,
            ContextEvent::Stopped { .. } => {
                inner.requests.ended = true;
                self.ended.notify_all();
            }
            _ => {}
        }
    }
}
