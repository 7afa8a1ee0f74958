//! A part of a batch: its place, its records, and its token, which the log has of it.

/// Longest token of a part, in bytes. Tokens of all parts stand in one record of the log.
pub const MAX_TOKEN_BYTES: usize = 1024;

/// Which part of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 0.
    pub number: u32,
    /// How many parts the batch has.
    pub count: u32,
}

/// A part that was staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedPart {
    /// Its number.
    pub part: u32,
    /// What [`StagedSink::stage`](crate::StagedSink::stage) returned.
    pub token: Vec<u8>,
}

/// The records of a part.
#[derive(Debug)]
pub struct Records<'a, T> {
    pieces: &'a [Vec<T>],
    first: u64,
}

impl<'a, T> Records<'a, T> {
    /// Records that follow `first` others of the batch. For sinks that are tried out on their own.
    #[must_use]
    pub fn new(pieces: &'a [Vec<T>], first: u64) -> Self {
        Self { pieces, first }
    }

    /// The number of the first one within the batch, from 0.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The records, in the order of the batch.
    pub fn iter(&self) -> impl Iterator<Item = &'a T> + use<'a, T> {
        self.pieces.iter().flatten()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.iter().all(Vec::is_empty)
    }
}

impl<'a, T> IntoIterator for &Records<'a, T> {
    type Item = &'a T;
    type IntoIter = std::iter::Flatten<std::slice::Iter<'a, Vec<T>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.pieces.iter().flatten()
    }
}
