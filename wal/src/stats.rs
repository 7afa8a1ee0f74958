//! Counters of an open log.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Counters {
    records: AtomicU64,
    frames: AtomicU64,
    groups: AtomicU64,
    bytes_appended: AtomicU64,
    bytes_truncated: AtomicU64,
}

/// What a log has done since it was opened, and what it holds: a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Records appended, those of batches counted one by one.
    pub records: u64,
    /// Frames appended: single records, batches, control records.
    pub frames: u64,
    /// Commit groups: each is one flush of the device (two across segments).
    pub groups: u64,
    /// Bytes appended, headers and padding included.
    pub bytes_appended: u64,
    /// Bytes of segments truncated away.
    pub bytes_truncated: u64,
    /// Segments that hold the log now.
    pub segments: usize,
    /// Segments prepared ahead.
    pub segments_ready: usize,
}

impl Stats {
    /// Records per flush: how well the group commit shares.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    pub fn records_per_group(&self) -> f64 {
        if self.groups == 0 {
            0.0
        } else {
            self.records as f64 / self.groups as f64
        }
    }
}

impl Counters {
    pub(crate) fn appended(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes_appended.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn group(&self) {
        self.groups.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn truncated(&self, bytes: u64) {
        self.bytes_truncated.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self, segments: usize, segments_ready: usize) -> Stats {
        Stats {
            records: self.records.load(Ordering::Relaxed),
            frames: self.frames.load(Ordering::Relaxed),
            groups: self.groups.load(Ordering::Relaxed),
            bytes_appended: self.bytes_appended.load(Ordering::Relaxed),
            bytes_truncated: self.bytes_truncated.load(Ordering::Relaxed),
            segments,
            segments_ready,
        }
    }
}
