//! Into chunks of what size a batch is split.

use crate::batch::Batch;

/// The largest chunk. Fewer chunks have fewer keys in all, so less is sent, merged and brought to
/// states. Beyond this size that gains nothing, and what a chunk is combined into takes memory.
const LARGEST: u64 = 16 << 20;

/// The smallest chunk that a batch is split into.
const SMALLEST: u64 = 512 << 10;

/// A large batch has about so many chunks, so that workers have work until its end.
const CHUNKS: u64 = 8;

/// Size of the chunks of a batch, in log bytes. A chunk is the unit of map-side combining. Its size
/// follows from the batch alone, so that floating-point sums do not depend on the number of
/// workers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ChunkSize {
    /// If not as a batch needs it: for tests.
    pub(crate) fixed: Option<u64>,
}

impl ChunkSize {
    /// That of the chunks of `batch`.
    pub(crate) fn of(self, batch: &Batch) -> u64 {
        let bytes = batch.to.get().saturating_sub(batch.from.get());
        self.fixed
            .unwrap_or((bytes / CHUNKS).clamp(SMALLEST, LARGEST))
    }
}
