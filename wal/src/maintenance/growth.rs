//! How large the next segment is: what the log fills in a few seconds.
//!
//! So a log of a kilobyte takes a mebibyte of disk, and a fast one goes to the next segment seldom.

use crate::format::layout::SEGMENT_ALIGNMENT;
use crate::options::settings::Options;
use crate::segment::file::Segment;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A segment is meant to take the log so long.
const FILLED_IN: Duration = Duration::from_secs(4);

/// A segment is so many times as long as the one before at most: a burst of a mebibyte is no reason
/// to allocate a hundred.
const MOST_GROWTH: u64 = 8;

/// A segment is this part of the one before at least: a pause does not make a fast log start anew.
const MOST_SHRINKING: u64 = 2;

/// The sizes that segments may have: the smallest, doubled again and again, and the largest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentSizes {
    smallest: u64,
    largest: u64,
    /// All are multiples of this.
    unit: u64,
}

impl SegmentSizes {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            smallest: options.smallest_segment(),
            largest: options.segment_size,
            unit: options.seal_groups.max(SEGMENT_ALIGNMENT),
        }
    }

    pub(crate) fn smallest(&self) -> u64 {
        self.smallest
    }

    pub(crate) fn largest(&self) -> u64 {
        self.largest
    }

    /// The size after a segment of `tail` bytes, of which the log filled `filled` in `took`.
    pub(crate) fn next(&self, tail: u64, filled: u64, took: Duration) -> u64 {
        let in_time =
            u128::from(filled).saturating_mul(FILLED_IN.as_nanos()) / took.as_nanos().max(1);
        let in_time = u64::try_from(in_time).unwrap_or(u64::MAX);
        let (least, most) = (tail / MOST_SHRINKING, tail.saturating_mul(MOST_GROWTH));
        self.at_least(in_time.clamp(least, most))
    }

    /// The smallest size of at least `bytes`; the largest if none is.
    pub(crate) fn at_least(&self, bytes: u64) -> u64 {
        let mut size = self.smallest;
        while size < bytes.min(self.largest) {
            size = size.saturating_mul(2);
        }
        size.min(self.largest)
    }

    /// `bytes`, or a little less, as a segment may be long.
    pub(crate) fn whole(&self, bytes: u64) -> u64 {
        bytes / self.unit * self.unit
    }
}

/// Since when the log fills its last segment, and where its middle is.
#[derive(Debug)]
pub(crate) struct TailAge {
    /// In nanoseconds of the clock.
    since: AtomicU64,
    /// `u64::MAX` once the log has passed it.
    middle: AtomicU64,
}

impl TailAge {
    /// The log goes on in `tail` from `now` on.
    pub(crate) fn new(tail: &Segment, now: Duration) -> Self {
        Self {
            since: AtomicU64::new(nanos(now)),
            middle: AtomicU64::new(tail.middle()),
        }
    }

    /// The log goes on in `tail` from `now` on.
    pub(crate) fn begin(&self, tail: &Segment, now: Duration) {
        // Relaxed: a rate that is computed from another segment's time is a number, no more.
        self.since.store(nanos(now), Ordering::Relaxed);
        self.middle.store(tail.middle(), Ordering::Relaxed);
    }

    pub(crate) fn since(&self) -> Duration {
        Duration::from_nanos(self.since.load(Ordering::Relaxed))
    }

    /// Whether `end` is the first position beyond the middle.
    pub(crate) fn passes_middle(&self, end: u64) -> bool {
        let middle = self.middle.load(Ordering::Relaxed);
        let (relaxed, passed) = (Ordering::Relaxed, u64::MAX);
        end >= middle
            && middle != passed
            && (self
                .middle
                .compare_exchange(middle, passed, relaxed, relaxed))
            .is_ok()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn sizes() -> SegmentSizes {
        SegmentSizes::new(&Options::new())
    }

    #[test]
    fn a_segment_takes_the_log_four_seconds() {
        let next = |tail, filled, took| sizes().next(tail, filled, took);
        let second = Duration::from_secs(1);
        assert_eq!(next(8 * MIB, 4 * MIB, second), 16 * MIB);
        assert_eq!(next(8 * MIB, 4 * MIB, 2 * second), 8 * MIB);
        assert_eq!(next(8 * MIB, 4 * MIB, 4 * second), 4 * MIB);
        assert_eq!(next(64 * MIB, 32 * MIB, second), 64 * MIB, "the largest");
        assert_eq!(next(MIB, MIB / 2, 3600 * second), MIB, "the smallest");
    }

    #[test]
    fn the_size_changes_in_steps() {
        let next = |tail, took| sizes().next(tail, tail / 2, took);
        assert_eq!(next(MIB, Duration::ZERO), 8 * MIB);
        assert_eq!(next(8 * MIB, Duration::ZERO), 64 * MIB);
        let hour = Duration::from_secs(3600);
        assert_eq!(next(64 * MIB, hour), 32 * MIB);
        assert_eq!(next(32 * MIB, hour), 16 * MIB);
    }

    #[test]
    fn a_log_whose_segments_are_small_has_one_size() {
        let sizes = SegmentSizes::new(&Options::new().segment_size(64 << 10));
        for took in [Duration::ZERO, Duration::from_secs(3600)] {
            assert_eq!(sizes.next(64 << 10, 32 << 10, took), 64 << 10);
        }
        assert_eq!(sizes.at_least(1), 64 << 10);
        assert_eq!(sizes.at_least(MIB), 64 << 10);
    }

    #[test]
    fn sizes_are_multiples_of_sealed_groups() {
        let options = Options::new().segment_size(3 * MIB).seal_groups(64 << 10);
        let sizes = SegmentSizes::new(&options);
        assert_eq!(sizes.at_least(2 * MIB + 1), 3 * MIB);
        assert_eq!(sizes.whole(MIB + 70_000), MIB + 65_536);
    }
}
