//! A snapshot of what a log has done and what it holds.

use crate::lsn::Lsn;
use crate::metrics::latency::Latency;
use crate::options::choices::WritePath;

/// What a log has done since it was opened, and what it holds: a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Records appended. Those of a batch count one by one.
    pub records: u64,
    /// Frames appended: single records, batches, control records.
    pub frames: u64,
    /// Commit groups. Each is one flush of the device, or two across segments.
    pub groups: u64,
    /// Bytes that the log grew by: frames with headers and padding, those of the log itself too.
    pub bytes_appended: u64,
    /// Bytes of segments truncated away.
    pub bytes_truncated: u64,
    /// Batches that were stored compressed.
    pub batches_compressed: u64,
    /// Bytes that compression saved.
    pub bytes_saved: u64,
    /// Segments that hold the log now.
    pub segments: usize,
    /// Segments preallocated and not yet in use.
    pub segments_ready: usize,
    /// The oldest position kept.
    pub first_lsn: Lsn,
    /// Everything below is durable.
    pub durable_lsn: Lsn,
    /// Everything below is appended.
    pub end_lsn: Lsn,
    /// Bytes of segment files on disk: those that hold the log, preallocated and recycled ones.
    pub disk_bytes: u64,
    /// The bound on them, if there is one.
    pub max_bytes: Option<u64>,
    /// How the groups are written.
    pub write_path: WritePath,
    /// How long the sync of a group took.
    pub sync: Latency,
    /// How long making a new segment file took.
    pub prepare: Latency,
    /// How long making a truncated segment into a new one took.
    pub recycle: Latency,
}

impl Stats {
    /// Records per flush: how well the group commit shares.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// for n in 0..100 {
    ///     let _ = log.append(format!("record {n}"))?;
    /// }
    /// log.sync()?; // one flush
    /// assert_eq!(log.stats().records_per_group(), 100.0);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
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
