//! The checkpoints that are there: the thread that writes them tells, others read.

use highwater_checkpoint::Checkpoint;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The checkpoints of the store, ascending. One that is retired may be listed for a moment longer:
/// reading it fails as damage does.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    checkpoints: Mutex<Vec<Checkpoint>>,
    /// How many copies are being made.
    holds: AtomicUsize,
}

/// While it is there, no checkpoint is retired.
#[derive(Debug)]
pub(crate) struct Hold {
    retained: Arc<Retained>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.retained.holds.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Retained {
    pub(crate) fn set(&self, checkpoints: impl Iterator<Item = Checkpoint>) {
        *self.checkpoints.lock() = checkpoints.collect();
    }

    /// From now on no checkpoint is retired, until what comes back is dropped.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        self.holds.fetch_add(1, Ordering::AcqRel);
        Hold {
            retained: Arc::clone(self),
        }
    }

    /// Whether none may be retired.
    pub(crate) fn is_held(&self) -> bool {
        self.holds.load(Ordering::Acquire) > 0
    }

    /// The newest one.
    pub(crate) fn newest(&self) -> Option<Checkpoint> {
        self.checkpoints.lock().last().cloned()
    }

    /// The batch of the oldest one.
    pub(crate) fn oldest(&self) -> Option<u64> {
        let checkpoints = self.checkpoints.lock();
        checkpoints.first().map(|c| c.manifest().batch.id)
    }

    /// Those after whose batch `batch` comes, the newest first.
    pub(crate) fn before(&self, batch: u64) -> Vec<Checkpoint> {
        let checkpoints = self.checkpoints.lock();
        let newest_first = checkpoints.iter().rev();
        let before = newest_first.filter(|c| c.manifest().batch.id < batch);
        before.cloned().collect()
    }
}
