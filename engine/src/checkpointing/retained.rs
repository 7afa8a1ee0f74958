//! The checkpoints that are there: the thread that writes them tells, others read.

use highwater_checkpoint::Checkpoint;
use parking_lot::Mutex;

/// The checkpoints of the store, ascending. One that is retired may be listed for a moment longer:
/// reading it fails as damage does.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    checkpoints: Mutex<Vec<Checkpoint>>,
}

impl Retained {
    pub(crate) fn set(&self, checkpoints: impl Iterator<Item = Checkpoint>) {
        *self.checkpoints.lock() = checkpoints.collect();
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
