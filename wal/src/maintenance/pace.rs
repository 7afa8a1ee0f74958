//! How fast the next segment is zeroed: as the log fills the one before, or at once when the log is
//! at rest.
//!
//! Measured on a disk that takes 80 µs for a commit of one page: 1 MiB of zeros with a flush takes
//! 500 µs to 1 ms, and commits wait meanwhile. In pieces of 128 KiB that follow the log no commit
//! waits for more than one of them.

use highwater_disk::PAGE_SIZE;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A log in which nothing becomes durable for this long is at rest.
pub(crate) const REST: Duration = Duration::from_millis(5);

/// A piece is so many times as long as a commit group, within the bounds. It is short: a commit
/// that meets it takes less than three times as long. It is long enough that starting pieces does
/// not keep the disk busy.
const GROUPS_A_PIECE: u64 = 8;
const SHORTEST_PIECE: u64 = 128 << 10;
const LONGEST_PIECE: u64 = 1 << 20;

/// The mean is over about this many groups.
const MEAN_OF: u64 = 16;

/// How fast the next segment is zeroed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zeroing {
    AsTheLogGrows,
    /// At once, in the longest pieces: for comparison only.
    AtOnce,
}

#[derive(Debug)]
pub(crate) struct Pace {
    zeroing: Zeroing,
    durable: AtomicU64,
    /// The durable LSN at which zeroing goes on; `u64::MAX` if it does not wait.
    awaited: AtomicU64,
    /// The durable LSN at which the log's memory is looked at again.
    memory_awaited: AtomicU64,
    /// The durable LSN when the last piece began.
    granted: AtomicU64,
    mean_group: AtomicU64,
}

impl Pace {
    /// For a log that is durable up to `end`.
    pub(crate) fn new(zeroing: Zeroing, end: u64) -> Self {
        Self {
            zeroing,
            durable: AtomicU64::new(end),
            awaited: AtomicU64::new(u64::MAX),
            memory_awaited: AtomicU64::new(u64::MAX),
            granted: AtomicU64::new(0),
            mean_group: AtomicU64::new(0),
        }
    }

    /// A group of `size` bytes, up to `durable`, is durable. Tells whether the
    /// maintenance thread waits for that. Called by one leader at a time.
    pub(crate) fn committed(&self, durable: u64, size: u64) -> bool {
        let mean = self.mean_group.load(Ordering::Relaxed);
        let mean = mean - mean / MEAN_OF + size / MEAN_OF;
        self.mean_group.store(mean, Ordering::Relaxed);
        // Sequentially consistent, as in `look`: either this sees what is awaited, or the thread
        // that waits sees this.
        self.durable.store(durable, Ordering::SeqCst);
        durable >= self.awaited.load(Ordering::SeqCst)
            || durable >= self.memory_awaited.load(Ordering::SeqCst)
    }

    /// How far the log is durable.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::SeqCst)
    }

    /// Has the log's memory looked at when the log is durable up to `due`. Tells whether it is
    /// already.
    pub(crate) fn await_memory(&self, due: u64) -> bool {
        self.memory_awaited.store(due, Ordering::SeqCst);
        self.durable() >= due
    }

    /// How far the log has to be before the segment of `size` bytes at `base` is zeroed beyond
    /// `zeroed`. Making it begins when the segment before, of `after` bytes, is half full. So that
    /// part of the second half is then filled by three quarters.
    pub(crate) fn due(&self, base: u64, after: u64, zeroed: u64, size: u64) -> u64 {
        let half = after / 2;
        let filled = u128::from(half) * u128::from(zeroed) * 3 / 4 / u128::from(size.max(1));
        let filled = u64::try_from(filled).unwrap_or(half).min(half);
        base.saturating_sub(half) + filled
    }

    /// How many bytes to zero now, or nothing yet. In a log that has rested there is nothing to
    /// wait for.
    pub(crate) fn look(&self, due: u64, rested: bool) -> Option<u64> {
        if self.zeroing == Zeroing::AtOnce {
            return Some(LONGEST_PIECE);
        }
        self.awaited.store(due, Ordering::SeqCst);
        let now = self.durable.load(Ordering::SeqCst);
        let at_rest = rested || self.granted.load(Ordering::Relaxed) == now;
        if now < due && !at_rest {
            return None;
        }
        self.awaited.store(u64::MAX, Ordering::SeqCst);
        self.granted.store(now, Ordering::Relaxed);
        Some(self.piece())
    }

    fn piece(&self) -> u64 {
        let groups = self.mean_group.load(Ordering::Relaxed) * GROUPS_A_PIECE;
        groups.clamp(SHORTEST_PIECE, LONGEST_PIECE) / PAGE_SIZE * PAGE_SIZE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 1 << 20;

    #[test]
    fn zeros_follow_the_log() {
        let pace = Pace::new(Zeroing::AsTheLogGrows, 0);
        assert!(!pace.committed(4 * SIZE, 100), "nothing waits");
        let due = pace.due(5 * SIZE, SIZE, SIZE, 2 * SIZE);
        assert_eq!(due, 4 * SIZE + SIZE / 2 + SIZE * 3 / 16, "half of it");
        assert_eq!(pace.look(due, false), None);
        assert!(!pace.committed(due - 8, 100));
        assert_eq!(pace.look(due, false), None, "it moved");
        assert!(pace.committed(due, 100));
        assert_eq!(pace.look(due, false), Some(SHORTEST_PIECE));
        assert!(!pace.committed(due + 8, 100), "nothing waits any more");
    }

    #[test]
    fn a_log_at_rest_is_prepared_for_at_once() {
        let pace = Pace::new(Zeroing::AsTheLogGrows, 0);
        pace.committed(4 * SIZE, 100);
        assert_eq!(pace.look(5 * SIZE, false), None);
        assert_eq!(
            pace.look(5 * SIZE, true),
            Some(SHORTEST_PIECE),
            "after a wait"
        );
        assert_eq!(
            pace.look(6 * SIZE, false),
            Some(SHORTEST_PIECE),
            "and from then on"
        );
        pace.committed(4 * SIZE + 8, 100);
        assert_eq!(pace.look(6 * SIZE, false), None);
    }

    #[test]
    fn pieces_are_as_long_as_a_few_groups() {
        let pace = Pace::new(Zeroing::AsTheLogGrows, 0);
        for (group, piece) in [
            (100, SHORTEST_PIECE),
            (50_000, 397_312),
            (1 << 20, LONGEST_PIECE),
        ] {
            for _ in 0..200 {
                pace.committed(0, group);
            }
            assert_eq!(pace.look(SIZE, true), Some(piece), "{group}");
        }
    }
}
