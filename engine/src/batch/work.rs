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
}
