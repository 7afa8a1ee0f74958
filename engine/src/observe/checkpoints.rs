//! The checkpoints of this run, for observers.

use crate::error::Error;
use crate::observe::event::{ContextEvent, ContextListener};
use highwater_wal::Lsn;
use parking_lot::Mutex;
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
}

#[derive(Debug, Default)]
struct Inner {
    stats: CheckpointStats,
    /// Attempts that have ended, published or not.
    attempts: u64,
    /// Why the newest attempt failed, if it did.
    last_error: Option<Error>,
    /// How long it took to read the newest checkpoint back.
    load_time: Duration,
}

impl CheckpointStatus {
    /// Records the checkpoint from which this run was recovered (number, batch, LSN), and how long
    /// that took.
    pub(crate) fn recovered(&self, checkpoint: (u64, u64, Lsn), loaded_in: Duration) {
        let mut inner = self.inner.lock();
        inner.stats.newest = Some(checkpoint);
        inner.load_time = loaded_in;
    }

    /// Records the end of an attempt.
    pub(crate) fn ended(&self, error: Option<Error>) {
        let mut inner = self.inner.lock();
        inner.attempts += 1;
        inner.last_error = error;
    }

    /// Attempts that have ended.
    pub(crate) fn attempts(&self) -> u64 {
        self.inner.lock().attempts
    }

    pub(crate) fn stats(&self) -> CheckpointStats {
        let inner = self.inner.lock();
        CheckpointStats {
            last_error: inner.last_error.as_ref().map(ToString::to_string),
            ..inner.stats.clone()
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
            _ => {}
        }
    }
}
