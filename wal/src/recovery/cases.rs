//! How a log ended, and what opening it found: the labels of the tables in [`crate::recovery`].

use crate::lsn::Lsn;
use std::ffi::OsString;
use std::fmt;

/// How the log ended when it was opened: the first table above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Case {
    /// There was no log; one was made.
    Created,
    /// It was closed cleanly.
    CleanEnd,
    /// It was not closed, and ends between two frames.
    OpenEnd,
    /// It was not closed, and old bytes of no meaning follow.
    StaleBytes,
    /// It was cut in the middle of un-synced writes. Nothing that was acknowledged is missing.
    TornTail,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::CleanEnd => "clean end",
            Self::OpenEnd => "open end",
            Self::StaleBytes => "stale bytes",
            Self::TornTail => "torn tail",
        })
    }
}

/// What opening the log found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// How the log ended.
    pub case: Case,
    /// Where it starts.
    pub first_lsn: Lsn,
    /// Where it ended, and where it goes on: x.
    pub end_lsn: Lsn,
    /// Everything below this was proven durable; the frames from here to `end_lsn` were written
    /// again.
    pub attested_lsn: Lsn,
    /// How many frames were written again.
    pub frames_rewritten: usize,
    /// How many intact frames behind the end were erased. None of them was acknowledged.
    pub frames_erased: usize,
    /// Bytes of those frames, and of the torn one.
    pub bytes_cut: u64,
    /// Segments that hold the log, the prepared ones not counted.
    pub segments: usize,
    /// Leftovers that were removed: truncated segments, half-made files.
    pub removed: Vec<OsString>,
    /// Names in the directory that are not the log's. They were left alone.
    pub ignored: Vec<OsString>,
}
