//! Counters of an open log.

use crate::log::shared::Shared;
use crate::lsn::Lsn;
use crate::metrics::latency::{Histogram, Latency};
use crate::options::WritePath;
use crate::segment::file::Stores;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Threads count in stripes of their own, so that appending on two cores does not move a cache line
/// per record.
const STRIPES: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Counters {
    appended: [Stripe; STRIPES],
    groups: AtomicU64,
    bytes_truncated: AtomicU64,
    pub(crate) sync: Histogram,
    pub(crate) prepare: Histogram,
    pub(crate) recycle: Histogram,
}

/// Two cache lines: processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    frames: AtomicU64,
    /// Records of batches beyond the first of each.
    more_records: AtomicU64,
}

/// The stripe of the calling thread.
pub(crate) fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    MINE.with(|mine| *mine)
}

/// What a log has done since it was opened, and what it holds: a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Records appended, those of batches counted one by one.
    pub records: u64,
    /// Frames appended: single records, batches, control records.
    pub frames: u64,
    /// Commit groups: each is one flush of the device (two across segments).
    pub groups: u64,
    /// Bytes that the log grew by: frames with headers and padding, those of the log itself too.
    pub bytes_appended: u64,
    /// Bytes of segments truncated away.
    pub bytes_truncated: u64,
    /// Batches that were stored compressed.
    pub batches_compressed: u64,
    /// Bytes that the log is smaller by for it.
    pub bytes_saved: u64,
    /// Segments that hold the log now.
    pub segments: usize,
    /// Segments prepared ahead.
    pub segments_ready: usize,
    /// The oldest position kept.
    pub first_lsn: Lsn,
    /// Everything below is durable.
    pub durable_lsn: Lsn,
    /// Everything below is handed out.
    pub end_lsn: Lsn,
    /// Bytes of segment files on disk: those that hold the log, prepared and recycled ones.
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
    pub(crate) fn appended(&self, records: u64) {
        let Some(stripe) = self.appended.get(stripe()) else {
            return;
        };
        stripe.frames.fetch_add(1, Ordering::Relaxed);
        if records != 1 {
            // Wraps for an empty batch, and the sum wraps back.
            let more = records.wrapping_sub(1);
            stripe.more_records.fetch_add(more, Ordering::Relaxed);
        }
    }

    pub(crate) fn group(&self) {
        self.groups.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn truncated(&self, bytes: u64) {
        self.bytes_truncated.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn groups(&self) -> u64 {
        self.groups.load(Ordering::Relaxed)
    }
}

impl Shared {
    pub(crate) fn stats(&self) -> Stats {
        let counters = &self.counters;
        let sum = |of: fn(&Stripe) -> &AtomicU64| {
            let stripes = counters.appended.iter();
            let values = stripes.map(|s| of(s).load(Ordering::Relaxed));
            values.fold(0_u64, u64::wrapping_add)
        };
        let frames = sum(|stripe| &stripe.frames);
        let budget = self.preparer.budget();
        let end_lsn = Lsn::new(self.end());
        let (batches_compressed, bytes_saved) = self.compressor.counts();
        Stats {
            records: frames.wrapping_add(sum(|stripe| &stripe.more_records)),
            frames,
            groups: counters.groups(),
            bytes_appended: end_lsn.bytes_since(self.recovery.end_lsn),
            bytes_truncated: counters.bytes_truncated.load(Ordering::Relaxed),
            batches_compressed,
            bytes_saved,
            segments: self.segments.read().len(),
            segments_ready: self.preparer.ready(),
            first_lsn: Lsn::new(self.retention.first()),
            durable_lsn: Lsn::new(self.commit.durable()),
            end_lsn,
            disk_bytes: budget.used(),
            max_bytes: budget.max_bytes(),
            write_path: match self.tail.load().stores() {
                Stores::PageCache => WritePath::PageCache,
                Stores::Staged => WritePath::Direct,
            },
            sync: counters.sync.summary(),
            prepare: counters.prepare.summary(),
            recycle: counters.recycle.summary(),
        }
    }
}
