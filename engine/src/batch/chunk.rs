//! Chunks of a batch: what moves between the operators of a dataflow.
//!
//! Each has a sequence key, which makes a batch deterministic. An operator that gathers chunks from
//! several workers sorts them first. So the result does not depend on which thread was faster, nor
//! on how many there are.

use highwater_wal::Chunk as LogChunk;
use std::any::Any;
use std::fmt::Debug;

/// Records on their way from one operator to the next.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    /// Position in the batch.
    pub(crate) sequence: SequenceKey,
    /// The worker to which an exchange brings it.
    pub(crate) target: usize,
    /// A `Vec<T>`, a [`Positioned<T>`](crate::batch::positioned::Positioned), or a chunk of the
    /// log.
    pub(crate) data: Box<dyn ChunkData>,
}

/// The place of a chunk in its batch: chunks of the log first, then what operators made of the
/// whole batch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SequenceKey {
    /// The records of a chunk of the log, or what was made of them one by one: the number of the
    /// chunk.
    Log(u64),
    /// What an operator made of the whole batch. For each union on the way, the last one first, the
    /// rank of the input through which it came. Then the operator's own number (a key group).
    Batch(Vec<u64>),
}

impl SequenceKey {
    /// The key of what an operator makes of a whole batch, by the operator's own number.
    pub(crate) fn batch(number: u64) -> Self {
        Self::Batch(vec![number])
    }

    /// The key of what an operator makes of a part of the batch that has this key. Parts of the log
    /// come first.
    pub(crate) fn of_part(self) -> Self {
        match self {
            Self::Log(number) => Self::Batch(vec![0, number]),
            Self::Batch(mut path) => {
                path.insert(0, 1);
                Self::Batch(path)
            }
        }
    }

    /// The key after a union, for what came through its input `rank`. Chunks of the log keep
    /// theirs: their records are merged.
    pub(crate) fn through_union(self, rank: u64) -> Self {
        match self {
            Self::Log(number) => Self::Log(number),
            Self::Batch(mut path) => {
                path.insert(0, rank);
                Self::Batch(path)
            }
        }
    }
}

impl Chunk {
    pub(crate) fn new<T: ChunkData>(sequence: SequenceKey, target: usize, data: T) -> Self {
        Self {
            sequence,
            target,
            data: Box::new(data),
        }
    }
}

/// The contents of a chunk, with the type erased.
pub(crate) trait ChunkData: Any + Send {
    /// A second copy, for a stream with more than one reader.
    fn duplicate(&self) -> Box<dyn ChunkData>;
    /// For downcasting to the type that the reader expects.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: Clone + Send + 'static> ChunkData for Vec<T> {
    fn duplicate(&self) -> Box<dyn ChunkData> {
        Box::new(self.clone())
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl ChunkData for LogChunk {
    fn duplicate(&self) -> Box<dyn ChunkData> {
        Box::new(self.clone())
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl Clone for Box<dyn ChunkData> {
    fn clone(&self) -> Self {
        (**self).duplicate()
    }
}

impl Debug for dyn ChunkData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChunkData")
    }
}

/// The records of a chunk; the type was fixed when the graph was built.
pub(crate) fn open<T: 'static>(data: Box<dyn ChunkData>) -> T {
    *data
        .into_any()
        .downcast::<T>()
        .expect("the graph connects operators of equal record types")
}

/// Sorts chunks into the order of the batch. Written once: in generic code the compiler would sort
/// anew for each type of records.
pub(crate) fn sort(chunks: &mut [Chunk]) {
    // Stable: chunks of one order come from one operator in order.
    chunks.sort_by(|a, b| a.sequence.cmp(&b.sequence));
}

/// Sorts chunks into the order of the batch and takes out their records.
pub(crate) fn in_order<T: 'static>(mut chunks: Vec<Chunk>) -> impl Iterator<Item = Vec<T>> {
    sort(&mut chunks);
    chunks.into_iter().map(|p| open::<Vec<T>>(p.data))
}

/// The chunks of an operator that has one input.
pub(crate) fn only_input(inputs: Vec<Vec<Chunk>>) -> Vec<Chunk> {
    debug_assert_eq!(inputs.len(), 1, "the operator was built with one input");
    inputs.into_iter().next().unwrap_or_default()
}

/// Timely wants to know how a chunk crosses to another process. It does not: within a process,
/// channels are typed and chunks move as they are. Several processes will exchange a container of
/// their own.
impl serde::Serialize for Chunk {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(
            "a chunk does not leave its process",
        ))
    }
}

impl<'de> serde::Deserialize<'de> for Chunk {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom(
            "a chunk does not leave its process",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_of_the_whole_batch_comes_after_its_pieces_input_by_input() {
        let mut orders = vec![
            SequenceKey::batch(3).through_union(1),
            SequenceKey::batch(7).through_union(0).through_union(0),
            SequenceKey::batch(1).through_union(1).through_union(0),
            SequenceKey::Log(9).through_union(4),
            SequenceKey::batch(9).through_union(0).through_union(0),
        ];
        orders.sort();
        assert_eq!(
            orders,
            [
                SequenceKey::Log(9),
                SequenceKey::Batch(vec![0, 0, 7]),
                SequenceKey::Batch(vec![0, 0, 9]),
                SequenceKey::Batch(vec![0, 1, 1]),
                SequenceKey::Batch(vec![1, 3]),
            ]
        );
    }
}
