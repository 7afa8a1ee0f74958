//! What the workers are asked to do with a batch.

use crate::batch::Batch;
use crate::batch::tick::Tick;
use serde::{Deserialize, Serialize};

/// What a batch is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// A new batch, or the one in doubt: state and outputs.
    Run,
    /// Its outputs were committed before the crash: only the state is rebuilt.
    Rebuild,
}

/// Whether a checkpoint is taken right after a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Snapshot {
    Take,
    /// The same, and nothing comes after it: a graceful stop.
    Final,
    /// Not unless one is due.
    Skip,
}

/// A batch on its way through the operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) batch: Batch,
    pub(crate) tick: Tick,
    pub(crate) purpose: Purpose,
    /// The batch after which the newest published checkpoint was taken.
    pub(crate) published: Option<u64>,
    /// The batches at whose end readers look at the states.
    pub(crate) shown: Shown,
}

/// The batches at whose end readers look at states: 0 for what there is before the first batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// The newest one whose outputs are committed.
    pub(crate) newest: u64,
    /// The oldest one that a reader has pinned, or the newest.
    pub(crate) oldest: u64,
}

impl Shown {
    /// Readers do not look at what there was before `batch`.
    pub(crate) fn before(batch: u64) -> Self {
        let before = batch.saturating_sub(1);
        Self {
            newest: before,
            oldest: before,
        }
    }
}
