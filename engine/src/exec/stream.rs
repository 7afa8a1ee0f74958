//! Timely types with this engine's chunks in them.

use crate::batch::chunk::Chunk;

/// Chunks on their way between two operators; an epoch is a batch.
pub(super) type Stream<'scope> = timely::dataflow::StreamVec<'scope, u64, Chunk>;
