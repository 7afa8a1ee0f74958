//! A batch: what lies in the log between two cuts.
//!
//! | file | holds |
//! |---|---|
//! | `work` | what the workers are asked to do with a batch |
//! | `chunk` | what moves between the operators of a batch |
//! | `chunk_size` | into chunks of what size a batch is split |
//! | `input` | the chunks of a batch |
//! | `source_range` | what a batch has of sources that keep their own data |
//! | `positioned` | records with their positions in the log |
//! | `tick` | the place of a batch in time |

pub(crate) mod chunk;
pub(crate) mod chunk_size;
pub(crate) mod input;
pub(crate) mod positioned;
pub(crate) mod source_range;
pub(crate) mod tick;
pub(crate) mod work;

use highwater_wal::Lsn;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One micro-batch, as user code sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Number of the batch, from 1, without gaps: the key for idempotent outputs. It is never
    /// reused, because a batch runs only after its cut is durable.
    pub id: u64,
    /// Batch time in milliseconds since the Unix epoch: its tick, a multiple of the batch interval.
    /// It never goes back. Two batches share it only if they are parts of one tick, which had more
    /// data than one batch may have
    /// ([`max_batch_bytes`](crate::Builder::max_batch_bytes)).
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
