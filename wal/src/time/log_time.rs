//! The time that the log writes down.

use highwater_disk::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A wall clock that differs from the log's time by more than this has jumped, or the log was
/// closed for as long.
pub(crate) const JUMP: Duration = Duration::from_hours(24);

/// Milliseconds since the Unix epoch, by the wall clock at opening and the monotonic clock since.
/// It never falls, also not over a restart.
#[derive(Debug)]
pub(crate) struct LogTime {
    clock: Arc<dyn Clock>,
    /// The time when the log was opened, by both clocks.
    wall_ms: u64,
    monotonic: Duration,
    /// The latest that was written down.
    last_ms: AtomicU64, // relaxed: fetch_max alone keeps the order
    /// What the wall clock was from the log's last time when it was opened, in milliseconds.
    jump_ms: u64,
}

impl LogTime {
    /// For a log in which `last_ms` is the latest time; 0 if there is none.
    pub(crate) fn new(clock: &Arc<dyn Clock>, last_ms: u64) -> Self {
        let wall_ms = clock.wall_ms();
        Self {
            monotonic: clock.now(),
            clock: Arc::clone(clock),
            wall_ms: wall_ms.max(last_ms),
            last_ms: AtomicU64::new(last_ms),
            jump_ms: match last_ms {
                0 => 0,
                last => wall_ms.abs_diff(last),
            },
        }
    }

    /// Now. What is written down next is not before it.
    pub(crate) fn now_ms(&self) -> u64 {
        self.at_ms(self.clock.now())
    }

    /// The same, where the monotonic clock was just read.
    pub(crate) fn at_ms(&self, monotonic: Duration) -> u64 {
        let now = self
            .wall_ms
            .saturating_add(self.since_opening_ms(monotonic));
        self.last_ms.fetch_max(now, Ordering::Relaxed).max(now)
    }

    /// The latest that was asked for; 0 if none was.
    pub(crate) fn last_ms(&self) -> u64 {
        self.last_ms.load(Ordering::Relaxed)
    }

    fn since_opening_ms(&self, monotonic: Duration) -> u64 {
        let since = monotonic.saturating_sub(self.monotonic);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// How far the wall clock is from the log's time, if that is more than a day: since the log was
    /// opened, or when it was, for the first day after.
    pub(crate) fn jump(&self) -> Option<Duration> {
        let since_ms = self.since_opening_ms(self.clock.now());
        let jump = |ms| Some(Duration::from_millis(ms)).filter(|jump| *jump > JUMP);
        let at_opening = match Duration::from_millis(since_ms) < JUMP {
            true => jump(self.jump_ms),
            false => None,
        };
        at_opening.or_else(|| {
            let expected = self.wall_ms.saturating_add(since_ms);
            jump(self.clock.wall_ms().abs_diff(expected))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_disk::ManualClock;

    const DAY_MS: u64 = 24 * 60 * 60 * 1000;

    fn open(clock: &Arc<ManualClock>, last_ms: u64) -> LogTime {
        LogTime::new(&(Arc::clone(clock) as Arc<dyn Clock>), last_ms)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// F48.
    #[test]
    fn it_follows_the_monotonic_clock_and_never_falls() {
        let clock = Arc::new(ManualClock::new(10 * DAY_MS));
        let time = open(&clock, 0);
        assert_eq!(time.now_ms(), 10 * DAY_MS);
        clock.advance(ms(10));
        clock.set_wall_ms(2 * DAY_MS);
        assert_eq!(time.now_ms(), 10 * DAY_MS + 10, "the wall clock went back");
        let again = open(&clock, time.now_ms());
        assert_eq!(
            again.now_ms(),
            10 * DAY_MS + 10,
            "and the log was opened again"
        );
        clock.advance(ms(10));
        assert_eq!(again.now_ms(), 10 * DAY_MS + 20);
    }

    /// F48: ten years forward, and everything would be too old at once.
    #[test]
    fn a_jump_is_noticed_while_the_log_is_open_and_when_it_is_opened() {
        let clock = Arc::new(ManualClock::new(10 * DAY_MS));
        let time = open(&clock, 9 * DAY_MS);
        assert_eq!(time.jump(), None, "a day is no jump");
        clock.set_wall_ms(12 * DAY_MS);
        assert_eq!(time.jump(), Some(2 * JUMP));
        let time = open(&clock, 9 * DAY_MS);
        assert_eq!(time.jump(), Some(3 * JUMP));
        clock.advance(JUMP);
        assert_eq!(time.jump(), None, "a day later it stands");
        assert_eq!(
            open(&clock, 0).jump(),
            None,
            "a log without a time has none to jump from"
        );
    }
}
