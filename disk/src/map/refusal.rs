//! Who asks an append map for something, and what it answers.

use std::fmt;

/// A region was reserved but never filled: the map has a hole that no later write can close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbandonedRegion;

impl fmt::Display for AbandonedRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a writer reserved a region of the log and went away without filling it")
    }
}

impl std::error::Error for AbandonedRegion {}

/// Whether bytes of a map are memory of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InMemory {
    /// They are.
    Yes,
    /// Some of them are shown from a file, or not filled yet.
    No,
}

/// Why no region was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It does not fit, or nothing was asked for.
    Full,
    /// [`AppendMap::close`](crate::AppendMap::close) was called.
    Closed,
}

/// Who asks for a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Somebody who is refused once the map is closed, and may step aside for others' copies.
    Appender,
    /// Somebody for whom others wait: refused once the map is closed, never steps aside.
    Committer,
    /// Whoever closed it, and may still append.
    Closer,
}
