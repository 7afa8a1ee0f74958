//! The batch clock: which tick is due.
//!
//! At start, it is set by the wall clock. From then on it follows the monotonic one. So a wall
//! clock that is wrong for a moment changes nothing. One that is wrong at start does not make time
//! stand still until it has caught up.

use highwater_wal::disk::Clock;
use std::sync::Arc;
use std::time::Duration;

/// An interval above this, in milliseconds, is meant as "never": a year.
const NEVER_MS: u64 = 365 * 24 * 3600 * 1000;

/// Says which tick is due.
#[derive(Debug)]
pub(crate) struct BatchClock {
    clock: Arc<dyn Clock>,
    interval_ms: u64,
    /// What the batch clock showed at start, in milliseconds since the Unix epoch ...
    base_ms: u64,
    /// ... and the monotonic clock.
    origin: Duration,
    /// By how much it was off when that was last logged.
    warned: Option<Offset>,
}

/// How far batch time is from the wall clock, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offset {
    Ahead(u64),
    Behind(u64),
}

impl BatchClock {
    /// A clock for batches after one of time `last_ms`; 0 if no earlier time binds it.
    pub(crate) fn start(clock: Arc<dyn Clock>, interval_ms: u64, last_ms: u64) -> Self {
        Self {
            interval_ms: interval_ms.max(1),
            base_ms: clock.wall_ms().max(last_ms),
            origin: clock.now(),
            clock,
            warned: None,
        }
    }

    pub(crate) fn interval_ms(&self) -> u64 {
        self.interval_ms
    }

    /// What the wall clock shows.
    pub(crate) fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    /// The newest tick that is due.
    pub(crate) fn due_ms(&mut self) -> u64 {
        let elapsed = self.clock.now().saturating_sub(self.origin);
        let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let due = self.floor(self.base_ms.saturating_add(elapsed));
        self.compare(due);
        due
    }

    /// Whether ticks never come: batches are cut only when they are full, and at a stop.
    pub(crate) fn never_ticks(&self) -> bool {
        self.interval_ms > NEVER_MS
    }

    /// The first tick after the time `ms`; the same one again if ticks never come.
    pub(crate) fn after(&self, ms: u64) -> u64 {
        match self.never_ticks() {
            true => ms,
            false => self.floor(ms).saturating_add(self.interval_ms),
        }
    }

    /// When the monotonic clock shows that a tick is due.
    pub(crate) fn at(&self, tick_ms: u64) -> Duration {
        let wait = Duration::from_millis(tick_ms.saturating_sub(self.base_ms));
        match self.never_ticks() {
            true => Duration::MAX,
            false => self.origin.saturating_add(wait),
        }
    }

    fn floor(&self, ms: u64) -> u64 {
        ms - ms % self.interval_ms
    }

    /// Warns when batch time and wall clock part by more than an interval, once for each new
    /// distance.
    fn compare(&mut self, batch: u64) {
        let wall = self.floor(self.clock.wall_ms());
        let offset = match batch.checked_sub(wall) {
            Some(ahead) if ahead > self.interval_ms => Offset::Ahead(ahead),
            None if wall - batch > self.interval_ms => Offset::Behind(wall - batch),
            _ => {
                self.warned = None;
                return;
            }
        };
        if self
            .warned
            .is_some_and(|warned| offset.is_near(warned, self.interval_ms))
        {
            return;
        }
        self.warned = Some(offset);
        let (distance_ms, direction) = match offset {
            Offset::Ahead(ms) => (ms, "ahead of"),
            Offset::Behind(ms) => (ms, "behind"),
        };
        tracing::warn!(
            batch_time_ms = batch,
            wall_ms = wall,
            distance_ms,
            "batch time is {direction} the wall clock, which was set since the start or was wrong before it. Batch time goes on with \
             the monotonic clock and never falls; a restart takes it forward, and .reset_batch_clock() on the builder also back"
        );
    }
}

impl Offset {
    /// Whether the distance is the same but for a few intervals, in which batches are cut late or
    /// early.
    fn is_near(self, other: Self, interval_ms: u64) -> bool {
        let (a, b) = match (self, other) {
            (Self::Ahead(a), Self::Ahead(b)) | (Self::Behind(a), Self::Behind(b)) => (a, b),
            _ => return false,
        };
        a.abs_diff(b) <= interval_ms.saturating_mul(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_wal::disk::ManualClock;

    const SECOND: Duration = Duration::from_secs(1);
    const NOW: u64 = 1_795_000_000_500;
    const IN_2106: u64 = 4_294_967_296_000;

    fn clock(wall_ms: u64) -> Arc<ManualClock> {
        Arc::new(ManualClock::new(wall_ms))
    }

    fn start(clock: &Arc<ManualClock>, last_ms: u64) -> BatchClock {
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
        BatchClock::start(clock, 1000, last_ms)
    }

    #[test]
    fn ticks_are_multiples_of_the_interval_and_follow_the_monotonic_clock() {
        let clock = clock(NOW);
        let mut times = start(&clock, 0);
        assert_eq!(times.due_ms(), 1_795_000_000_000);
        assert_eq!(times.after(1_795_000_000_000), 1_795_000_001_000);
        assert_eq!(times.at(1_795_000_001_000), clock.now() + SECOND / 2);
        clock.advance(SECOND / 2);
        assert_eq!(times.due_ms(), 1_795_000_001_000);
        clock.advance(10 * SECOND);
        assert_eq!(times.due_ms(), 1_795_000_011_000);
    }

    /// One batch at a wrong wall clock, and every later batch had that time, for ever.
    #[test]
    fn a_wall_clock_that_jumps_changes_nothing() {
        let clock = clock(NOW);
        let mut times = start(&clock, 0);
        for wrong in [IN_2106, 0, u64::MAX, NOW] {
            clock.set_wall_ms(wrong);
            let before = times.due_ms();
            clock.set_wall_ms(NOW);
            clock.advance(SECOND);
            assert_eq!(times.due_ms(), before + 1000, "{wrong}");
        }
    }

    #[test]
    fn a_clock_that_was_wrong_at_start_does_not_make_time_stand_still() {
        let clock = clock(NOW);
        let mut times = start(&clock, IN_2106);
        assert_eq!(times.due_ms(), IN_2106);
        clock.advance(SECOND);
        assert_eq!(times.due_ms(), IN_2106 + 1000, "it goes on");
        let mut times = start(&clock, 0);
        assert_eq!(
            times.due_ms(),
            NOW - 500 + 1000,
            "and is set back when asked to"
        );
    }

    #[test]
    fn a_clock_far_behind_at_start_goes_on_from_the_last_batch_and_later_catches_up() {
        let clock = clock(0);
        let mut times = start(&clock, 1_795_000_000_000);
        assert_eq!(times.due_ms(), 1_795_000_000_000);
        clock.set_wall_ms(NOW + 3_600_000);
        assert_eq!(times.due_ms(), 1_795_000_000_000);
        let mut times = start(&clock, 1_795_000_000_000);
        assert_eq!(times.due_ms(), 1_795_003_600_000);
    }

    #[test]
    fn extreme_intervals_and_clocks_do_not_overflow() {
        for wall in [0, 1, u64::MAX] {
            for interval in [0, 1, 1000, NEVER_MS, NEVER_MS + 1, u64::MAX] {
                let clock = clock(wall);
                let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
                let mut times = BatchClock::start(shared, interval, u64::MAX);
                let due = times.due_ms();
                assert!(times.after(due) >= due);
                let _in_time = times.at(times.after(u64::MAX));
            }
        }
    }

    #[test]
    fn with_an_interval_of_for_ever_no_tick_comes() {
        let shared: Arc<dyn Clock> = clock(NOW);
        let times = BatchClock::start(shared, NEVER_MS + 1, 0);
        assert_eq!((times.after(7), times.at(7)), (7, Duration::MAX));
    }
}
