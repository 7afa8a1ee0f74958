//! The input of a batch: chunks of the log, then what it has of sources that keep their own data.

use crate::batch::Batch;
use crate::batch::chunk::{Chunk, SequenceKey};
use crate::batch::chunk_size::ChunkSize;
use crate::batch::source_range::{RangeChunk, SourceRange, place};
use highwater_wal::{Wal, WalError};

/// The chunks of a batch, numbered in order. An empty tick has none.
pub(crate) fn chunks(
    wal: &Wal,
    batch: &Batch,
    size: ChunkSize,
    ranges: &[SourceRange],
) -> Result<Vec<Chunk>, WalError> {
    let of_log = match batch.from < batch.to {
        true => wal.chunks(batch.from, batch.to, size.of(batch))?,
        false => Vec::new(),
    };
    let of_log = of_log.into_iter().zip(0..);
    let of_log = of_log.map(|(chunk, number)| Chunk::new(SequenceKey::Log(number), 0, chunk));
    let mut chunks: Vec<Chunk> = of_log.collect();
    let mut next_index = 0_u32;
    for (range, number) in ranges.iter().zip(chunks.len() as u64..) {
        let chunk = RangeChunk {
            range: range.clone(),
            lsn: place(batch),
            index: next_index,
        };
        let len = range.len().and_then(|len| u32::try_from(len).ok());
        next_index = next_index.saturating_add(len.unwrap_or(u32::MAX));
        chunks.push(Chunk::new(SequenceKey::Log(number), 0, chunk));
    }
    Ok(chunks)
}
