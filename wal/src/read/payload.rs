//! Handles to the bytes of records.

use crate::segment::file::Segment;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// The bytes of a record, in the mapped log itself, or in memory if its batch was compressed or the
/// log is read by copying ([`ReadPath`](crate::ReadPath)). Cheap to clone; the bytes stay readable
/// while it lives, even if the log is truncated or closed.
#[derive(Clone)]
pub struct Payload {
    owner: Owner,
    start: usize,
    end: usize,
}

/// What keeps bytes readable.
#[derive(Debug, Clone)]
pub(crate) enum Owner {
    /// The log itself.
    Segment(Arc<Segment>),
    /// A batch that was decompressed, or bytes that were copied.
    Buffer(Arc<Vec<u8>>),
}

impl Owner {
    /// Bytes that were read before.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        match self {
            Self::Segment(segment) => segment.shown(range),
            Self::Buffer(bytes) => bytes.get(range).expect("records lie inside their batch"),
        }
    }
}

impl Payload {
    pub(crate) fn new(owner: Owner, range: Range<usize>) -> Self {
        let Range { start, end } = range;
        Self { owner, start, end }
    }

    /// Bytes of its own.
    pub(crate) fn copied(bytes: &[u8]) -> Self {
        let all = 0..bytes.len();
        Self::new(Owner::Buffer(Arc::new(bytes.to_vec())), all)
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.owner.bytes(self.start..self.end)
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}
