//! A batch: what lies in the log between two cuts.
//!
//! | file | holds |
//! |---|---|
//! | `clock` | batch times: multiples of the interval that never fall |
//! | `cutter` | where cuts come from |
//! | `chunk` | what moves between the operators of a batch |
//! | `engine_log` | the engine's own records in the log |
//! | `driver` | cuts batches, runs them, commits their outputs |
//! | `checkpointer` | takes checkpoints after batches |

pub(crate) mod checkpointer;
pub(crate) mod chunk;
pub(crate) mod clock;
pub(crate) mod cutter;
pub(crate) mod driver;
pub(crate) mod engine_log;

use highwater_wal::Lsn;
use std::fmt;

/// One micro-batch, as user code sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Number of the batch, from 1, without gaps; a batch runs only after its cut is durable, so
    /// the number is never reused: the key for idempotent outputs.
    pub id: u64,
    /// Batch time in milliseconds since the Unix epoch, a multiple of the batch interval. Never
    /// goes back, but two batches may share it (a byte bound can cut before the interval ends).
    pub time_ms: u64,
    /// The log from here ...
    pub from: Lsn,
    /// ... up to here (exclusive) is the batch's input.
    pub to: Lsn,
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch {} (log {}..{})", self.id, self.from, self.to)
    }
}

/// What a batch is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A new batch, or the one in doubt: state and outputs.
    Run,
    /// Its outputs were committed before the crash: only the state is rebuilt.
    Rebuild,
}

/// Whether a checkpoint is taken right behind a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Snapshot {
    /// Stateful operators hand over their state.
    Take,
    /// They do not.
    Skip,
}

/// A batch on its way through the operators.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) batch: Batch,
    pub(crate) purpose: Purpose,
    pub(crate) snapshot: Snapshot,
}
