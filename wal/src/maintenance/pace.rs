//! How fast the next segment is zeroed: as the log fills the one before, or at once when the log is
//! at rest.
//!
//! Measured on a disk that takes 80 µs for a commit of one page: 1 MiB of zeros with a flush takes
//! 500 µs to 1 ms, and commits wait meanwhile. In pieces of 128 KiB that follow the log no commit
//! waits for more than one of them.

use crate::segment::file::ZeroAhead;
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
    segment_size: u64,
    zeroing: Zeroing,
    durable: AtomicU64,
    /// The durable LSN at which zeroing goes on; `u64::MAX` if it does not wait.
    awaited: AtomicU64,
    /// The durable LSN at which the log's memory is looked at again.
    memory_awaited: AtomicU64,
    /// The durable LSN when the last piece began.
    granted: AtomicU64,
    mean_group: AtomicU64,
    /// How long zeroing waited for the log, in nanoseconds.
    waiting: AtomicU64,
}

impl Pace {
    /// For a log that is durable up to `end`.
    pub(crate) fn new(segment_size: u64, zeroing: Zeroing, end: u64) -> Self {
        Self {
            segment_size,
            zeroing,
            durable: AtomicU64::new(end),
            awaited: AtomicU64::new(u64::MAX),
            memory_awaited: AtomicU64::new(u64::MAX),
            granted: AtomicU64::new(0),
            mean_group: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
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

    /// How far the log has to be before the segment at `base` is zeroed beyond `done`. The segment
    /// before is then filled by three quarters of that part.
    pub(crate) fn due(&self, base: u64, done: u64) -> u64 {
        base.saturating_sub(self.segment_size) + done / 4 * 3
    }

    /// What to do next, or nothing yet. `seen` is kept between the looks for one piece, of which
    /// the first is followed by a wait of [`REST`] at most.
    pub(crate) fn look(&self, due: u64, seen: &mut Option<u64>) -> Option<ZeroAhead> {
        if self.zeroing == Zeroing::AtOnce {
            return Some(ZeroAhead::Piece(LONGEST_PIECE));
        }
        self.awaited.store(due, Ordering::SeqCst);
        let now = self.durable.load(Ordering::SeqCst);
        let at_rest = *seen == Some(now) || self.granted.load(Ordering::Relaxed) == now;
        *seen = Some(now);
        if now < due && !at_rest {
            return None;
        }
        self.awaited.store(u64::MAX, Ordering::SeqCst);
        self.granted.store(now, Ordering::Relaxed);
        Some(ZeroAhead::Piece(self.piece()))
    }

    /// Zeroing waited so long for the log.
    pub(crate) fn waited(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.waiting.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How long it has waited so far: that is no work.
    pub(crate) fn waiting(&self) -> Duration {
        Duration::from_nanos(self.waiting.load(Ordering::Relaxed))
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
        let pace = Pace::new(SIZE, Zeroing::AsTheLogGrows, 0);
        assert!(!pace.committed(4 * SIZE, 100), "nothing waits");
        let due = pace.due(5 * SIZE, SIZE / 2);
        assert_eq!(due, 4 * SIZE + SIZE * 3 / 8);
        let mut seen = None;
        assert_eq!(pace.look(due, &mut seen), None);
        assert!(!pace.committed(due - 8, 100));
        assert_eq!(pace.look(due, &mut seen), None, "it moved");
        assert!(pace.committed(due, 100));
        assert_eq!(
            pace.look(due, &mut seen),
            Some(ZeroAhead::Piece(SHORTEST_PIECE))
        );
        assert!(!pace.committed(due + 8, 100), "nothing waits any more");
    }

    #[test]
    fn a_log_at_rest_is_prepared_for_at_once() {
        let pace = Pace::new(SIZE, Zeroing::AsTheLogGrows, 0);
        pace.committed(4 * SIZE, 100);
        let mut seen = None;
        assert_eq!(pace.look(5 * SIZE, &mut seen), None);
        assert_eq!(
            pace.look(5 * SIZE, &mut seen),
            Some(ZeroAhead::Piece(SHORTEST_PIECE)),
            "after a wait"
        );
        assert_eq!(
            pace.look(6 * SIZE, &mut None),
            Some(ZeroAhead::Piece(SHORTEST_PIECE)),
            "and from then on"
        );
        pace.committed(4 * SIZE + 8, 100);
        assert_eq!(pace.look(6 * SIZE, &mut None), None);
    }

    #[test]
    fn pieces_are_as_long_as_a_few_groups() {
        let pace = Pace::new(SIZE, Zeroing::AsTheLogGrows, 0);
        for (group, piece) in [
            (100, SHORTEST_PIECE),
            (50_000, 397_312),
            (1 << 20, LONGEST_PIECE),
        ] {
            for _ in 0..200 {
                pace.committed(0, group);
            }
            assert_eq!(
                pace.look(SIZE, &mut None),
                Some(ZeroAhead::Piece(piece)),
                "{group}"
            );
        }
    }
}
