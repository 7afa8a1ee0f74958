//! What a batch has of a source that keeps its own data.

use crate::batch::Batch;
use crate::batch::chunk::ChunkData;
use highwater_wal::Lsn;
use serde::{Deserialize, Serialize};
use std::any::Any;

/// What a batch has of a source that keeps its own data, such as a partition of a broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceRange {
    /// Stream id of the source.
    pub(crate) stream: u16,
    /// What within the source: a partition, a file.
    pub(crate) item: String,
    /// First offset ...
    pub(crate) from: u64,
    /// ... and the one after the last.
    pub(crate) to: u64,
    /// What tells that the item is still the same.
    pub(crate) identity: Vec<u8>,
    /// How many records it has, if the source has said so: for rates, not for the log.
    #[serde(skip)]
    pub(crate) records: Option<u64>,
}

impl SourceRange {
    /// How many offsets it has; `None` if it ends before it begins.
    pub(crate) fn len(&self) -> Option<u64> {
        self.to.checked_sub(self.from)
    }
}

/// The place of records that are not in the log: below the end of their batch, behind every frame
/// of it. No frame is there, because frames begin at multiples of 8.
pub(crate) fn place(batch: &Batch) -> Lsn {
    Lsn::new(batch.to.get().saturating_sub(1))
}

/// A range on its way to the operators. The worker that takes it reads it.
#[derive(Debug, Clone)]
pub(crate) struct RangeChunk {
    pub(crate) range: SourceRange,
    /// The place of its records; `index` is that of its first offset.
    pub(crate) lsn: Lsn,
    pub(crate) index: u32,
}

impl ChunkData for RangeChunk {
    fn duplicate(&self) -> Box<dyn ChunkData> {
        Box::new(self.clone())
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
