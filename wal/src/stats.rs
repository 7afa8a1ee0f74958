//! Counters of an open log.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Threads count in stripes of their own, so that appending on two cores does not move a cache line per record.
const STRIPES: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Counters {
    appended: [Stripe; STRIPES],
    groups: AtomicU64,
    bytes_truncated: AtomicU64,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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

    pub(crate) fn snapshot(
        &self,
        bytes_appended: u64,
        segments: usize,
        segments_ready: usize,
        (batches_compressed, bytes_saved): (u64, u64),
    ) -> Stats {
        let sum = |of: fn(&Stripe) -> &AtomicU64| {
            let values = self.appended.iter().map(|s| of(s).load(Ordering::Relaxed));
            values.fold(0_u64, u64::wrapping_add)
        };
        let frames = sum(|stripe| &stripe.frames);
        Stats {
            records: frames.wrapping_add(sum(|stripe| &stripe.more_records)),
            frames,
            groups: self.groups.load(Ordering::Relaxed),
            bytes_appended,
            bytes_truncated: self.bytes_truncated.load(Ordering::Relaxed),
            batches_compressed,
            bytes_saved,
            segments,
            segments_ready,
        }
    }
}
