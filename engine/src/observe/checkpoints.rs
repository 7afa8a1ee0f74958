//! The checkpoints of this run, for observers.

use crate::batch::Batch;
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
    /// The longest time that a worker, or the thread which runs batches, spent on a checkpoint
    /// while it could have run a batch. Copies go on between batches, a millisecond at a time.
    pub longest_pause: Duration,
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
    /// The number and the batch of the newest published checkpoint.
    newest: Option<(u64, Batch)>,
    /// How long it takes to load it, as far as it was seen.
    load_time: Duration,
    requests: Requests,
    /// How long the one took that this run began with, and its bytes.
    loaded: (Duration, u64),
    /// How long the newest one of this run took to be written.
    writing: Option<Duration>,
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

impl Inner {
    /// How long a checkpoint of so many bytes takes to load, by the one that the run began with.
    fn loaded_as(&self, bytes: u64) -> Duration {
        let (took, of) = self.loaded;
        let nanos = took.as_nanos().saturating_mul(u128::from(bytes));
        let Some(nanos) = nanos.checked_div(u128::from(of)) else {
            return took; // none was loaded, or it is not known how large it was
        };
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
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

    /// Records the checkpoint from which this run was recovered, how long that took, and how many
    /// bytes its files have.
    pub(crate) fn recovered(&self, (number, batch): (u64, Batch), loaded: (Duration, u64)) {
        let mut inner = self.inner.lock();
        inner.stats.newest = Some((number, batch.id, batch.to));
        inner.newest = Some((number, batch));
        (inner.load_time, inner.loaded) = (loaded.0, loaded);
    }

    /// The newest published checkpoint: its number, and the batch after which it was taken.
    pub(crate) fn newest(&self) -> Option<(u64, Batch)> {
        self.inner.lock().newest
    }

    /// How long it takes to load the newest checkpoint, and to write one: as long as to load one,
    /// before this run has written any. `None` before there is a checkpoint.
    pub(crate) fn costs(&self) -> Option<(Duration, Duration)> {
        let inner = self.inner.lock();
        let load = inner.load_time;
        inner.newest.map(|_| (load, inner.writing.unwrap_or(load)))
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

    /// A thread that runs batches was busy with a checkpoint for so long.
    pub(crate) fn paused(&self, time: Duration) {
        let longest = &mut self.inner.lock().stats.longest_pause;
        *longest = time.max(*longest);
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
                total_bytes,
                took,
                load_time,
                ..
            } => {
                let read = inner.loaded_as(*total_bytes);
                inner.load_time = read.max(*load_time);
                inner.writing = Some(*took);
                inner.newest = Some((*number, *batch));
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
