//! How far away the other appenders are: how long a cache line takes from the core of one to the
//! core of another.
//!
//! Between neighbours it takes 30 to 50 ns, and threads that append at the same time beat one
//! alone. Between sockets, or parts of a processor that share no cache, it takes 140 and more,
//! longer than a small append: two threads that take turns at every record then get through less
//! than half of what one does. Who steps aside for a moment instead finds that the other has done
//! many at full speed. A virtual machine is moved from one case to the other while it runs, so it
//! is measured.

use crate::map::sync::{AtomicU64, Ordering, spin_loop};
use std::time::{Duration, Instant};

/// Between the two cases as they are measured here, where reading the clock hides a part:
/// neighbours were seen at 0 to 10 ns, far ones at 85 to 110.
const FAR_NANOS: u64 = 50;

/// How often a reservation steps aside for a copy that is under way, at most, and how long each
/// time: the other appends a hundred small records meanwhile.
const STEPS: u32 = 4;
const STEP: Duration = Duration::from_micros(8);

/// One in so many reservations beside a copy under way measures, if the last measurements found
/// neighbours.
const SAMPLED: u64 = 512;

/// Checkers of interleavings have no caches and no time. They see the steps, not what decides on
/// them: that is a number.
const MODELLED: bool = cfg!(any(shuttle, miri));

/// The smoothed time of a transfer, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Distance(AtomicU64);

impl Distance {
    /// How often to step aside for a copy under way, by the `word` that shows it.
    pub(crate) fn steps(&self, word: u64) -> u32 {
        if MODELLED || self.is_far() {
            return STEPS;
        }
        // Fibonacci hashing (Knuth, TAOCP 6.4): words differ by the sizes of frames, which may be
        // round numbers.
        let hash = word.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        u32::from(hash >> (u64::BITS - SAMPLED.ilog2()) == 0)
    }

    /// Waits a moment and returns the word, which was `seen`, as it is then.
    pub(crate) fn step_aside(&self, word: &AtomicU64, seen: u64) -> u64 {
        spin_loop();
        if MODELLED {
            return word.load(Ordering::Acquire);
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "nanoseconds of the processor, which no simulation has; they decide nothing but how long to spin"
        )]
        let start = Instant::now();
        let mut waited = start.elapsed();
        while waited < STEP {
            spin_loop();
            waited = start.elapsed();
        }
        let before = start.elapsed();
        let now = word.load(Ordering::Acquire);
        let after = start.elapsed();
        if now != seen {
            // Less what reading the clock takes.
            let clock = before.saturating_sub(waited);
            let took = after.saturating_sub(before).saturating_sub(clock);
            self.note(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
        now
    }

    fn is_far(&self) -> bool {
        // Relaxed, here and below: a number to decide how long to wait by, no more.
        self.0.load(Ordering::Relaxed) > FAR_NANOS
    }

    /// A transfer took so long. Who is interrupted meanwhile measures anything: one value raises
    /// the mean by 32 ns at most.
    fn note(&self, nanos: u64) {
        let mean = self.0.load(Ordering::Relaxed);
        let nanos = nanos.min(mean + 8 * 32);
        // Others' notes may be lost between the two.
        self.0.store((mean * 7 + nanos) / 8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_decides_and_an_interruption_does_not() {
        let distance = Distance::default();
        assert!(!distance.is_far());
        for _ in 0..32 {
            distance.note(100);
        }
        assert!(distance.is_far());
        for _ in 0..32 {
            distance.note(5);
        }
        assert!(!distance.is_far());
        distance.note(5_000_000);
        assert!(!distance.is_far(), "{distance:?}");
    }
}
