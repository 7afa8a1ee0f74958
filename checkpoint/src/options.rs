//! How checkpoints are written and kept.

use std::hash::{BuildHasher, RandomState};

/// No fewer valid checkpoints than this are retained: one may be damaged without loss.
pub const MIN_RETAIN: usize = 2;

/// How checkpoints are written and kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Identifies the writing process; must differ from every other's. Random by default.
    pub writer: u64,
    /// How many valid checkpoints [`Checkpoints::retire`](crate::Checkpoints::retire) leaves;
    /// values below [`MIN_RETAIN`] count as that.
    pub retain: usize,
    /// A state file is closed when the next block would make it longer than this, in bytes. One
    /// file is held in memory.
    pub state_file_bytes: u64,
    /// Which other processes may be writing.
    pub ownership: Ownership,
    /// How blocks are laid out. Each says how it is, so a checkpoint may have both.
    pub layout: Layout,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            writer: RandomState::new().hash_one("writer"),
            retain: MIN_RETAIN,
            state_file_bytes: 64 << 20,
            ownership: Ownership::Shared,
            layout: Layout::Rows,
        }
    }
}

/// Which processes may be writing into a store besides this one. Publication is safe either way.
/// This decides when the files of an attempt that was never published may be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// A forgotten process may still be writing: files younger than the newest checkpoint stay.
    Shared,
    /// The caller holds a lock that excludes every other writer: leftovers go at once.
    Sole,
}

/// How a block is laid out before it is compressed. What is read back is the same, byte by byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// One entry after the other.
    #[default]
    Rows,
    /// The names of fields once, and the values of each field together: smaller where states are
    /// structs. Items that are not MessagePack are laid out as rows.
    Columns,
}
