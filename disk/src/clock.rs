//! Time, passed in so that tests can set it.

use parking_lot::{Condvar, Mutex};
use std::fmt::Debug;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where time comes from.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Monotonic time since an arbitrary start; never goes back. Deadlines and intervals use this.
    fn now(&self) -> Duration;

    /// Wall-clock time in milliseconds since the Unix epoch; may jump. Only for people and batch
    /// times.
    fn wall_ms(&self) -> u64;

    /// Waits until `alarm` rings or, if given, [`Self::now`] reaches `deadline`.
    fn wait(&self, alarm: &Arc<Alarm>, deadline: Option<Duration>) -> Woken;
}

/// Why [`Clock::wait`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Somebody rang.
    Rung,
    /// The deadline passed.
    Deadline,
}

/// A bell that wakes one waiter; a ring before the wait is not lost.
#[derive(Debug, Default)]
pub struct Alarm {
    state: Mutex<Bell>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Bell {
    rung: bool,
    /// Counts looks that a manual clock asks for, so that a waiter re-reads the time.
    ticks: u64,
}

impl Alarm {
    /// Wakes the waiter, now or at its next wait.
    pub fn ring(&self) {
        self.state.lock().rung = true;
        self.changed.notify_all();
    }

    fn tick(&self) {
        self.state.lock().ticks += 1;
        self.changed.notify_all();
    }
}

/// The machine's clocks.
#[derive(Debug)]
pub struct OsClock {
    start: Instant,
}

impl OsClock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for OsClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for OsClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn wait(&self, alarm: &Arc<Alarm>, deadline: Option<Duration>) -> Woken {
        let mut bell = alarm.state.lock();
        loop {
            if bell.rung {
                bell.rung = false;
                return Woken::Rung;
            }
            match deadline {
                None => alarm.changed.wait(&mut bell),
                Some(deadline) => {
                    let now = self.now();
                    if now >= deadline {
                        return Woken::Deadline;
                    }
                    let _ = alarm.changed.wait_for(&mut bell, deadline - now);
                }
            }
        }
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<ManualState>,
}

#[derive(Debug)]
struct ManualState {
    now: Duration,
    wall_ms: u64,
    waiters: Vec<Weak<Alarm>>,
}

impl ManualClock {
    /// A clock that shows `wall_ms` milliseconds since the Unix epoch.
    #[must_use]
    pub fn new(wall_ms: u64) -> Self {
        Self {
            state: Mutex::new(ManualState {
                now: Duration::ZERO,
                wall_ms,
                waiters: Vec::new(),
            }),
        }
    }

    /// Moves both clocks forward, to the last moment there is at most, and wakes whoever waits for
    /// a deadline that has now passed.
    pub fn advance(&self, by: Duration) {
        let waiters = {
            let mut state = self.state.lock();
            state.now = state.now.saturating_add(by);
            let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            state.wall_ms = state.wall_ms.saturating_add(ms);
            std::mem::take(&mut state.waiters)
        };
        for alarm in waiters.iter().filter_map(Weak::upgrade) {
            alarm.tick();
        }
    }

    /// Sets the wall clock alone, as an operator or NTP would.
    pub fn set_wall_ms(&self, wall_ms: u64) {
        self.state.lock().wall_ms = wall_ms;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        self.state.lock().now
    }

    fn wall_ms(&self) -> u64 {
        self.state.lock().wall_ms
    }

    fn wait(&self, alarm: &Arc<Alarm>, deadline: Option<Duration>) -> Woken {
        loop {
            let ticks = {
                let mut bell = alarm.state.lock();
                if bell.rung {
                    bell.rung = false;
                    return Woken::Rung;
                }
                bell.ticks
            };
            {
                // Registered before the time is read: an `advance` in between ticks the alarm.
                let mut state = self.state.lock();
                if deadline.is_some_and(|d| state.now >= d) {
                    return Woken::Deadline;
                }
                state.waiters.retain(|w| w.strong_count() > 0);
                if !state
                    .waiters
                    .iter()
                    .any(|w| std::ptr::eq(w.as_ptr(), Arc::as_ptr(alarm)))
                {
                    state.waiters.push(Arc::downgrade(alarm));
                }
            }
            let mut bell = alarm.state.lock();
            while !bell.rung && bell.ticks == ticks {
                alarm.changed.wait(&mut bell);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_not_lost_and_counts_once() {
        let clock = ManualClock::new(0);
        let alarm = Arc::new(Alarm::default());
        alarm.ring();
        alarm.ring();
        assert_eq!(clock.wait(&alarm, None), Woken::Rung);
        assert_eq!(clock.wait(&alarm, Some(Duration::ZERO)), Woken::Deadline);
    }

    #[test]
    fn the_machines_clock_knows_rings_and_deadlines_that_have_passed() {
        let clock = OsClock::new();
        let alarm = Arc::new(Alarm::default());
        alarm.ring();
        assert_eq!(
            clock.wait(&alarm, Some(Duration::ZERO)),
            Woken::Rung,
            "the ring came first"
        );
        assert_eq!(clock.wait(&alarm, Some(Duration::ZERO)), Woken::Deadline);
        assert!(clock.now() <= clock.now());
    }

    #[test]
    fn a_manual_clock_wakes_a_waiter_exactly_at_its_deadline() {
        let clock = Arc::new(ManualClock::new(1_000));
        let alarm = Arc::new(Alarm::default());
        let waiter = {
            let (clock, alarm) = (Arc::clone(&clock), Arc::clone(&alarm));
            std::thread::spawn(move || {
                let woken = clock.wait(&alarm, Some(Duration::from_millis(10)));
                (woken, clock.now())
            })
        };
        for _ in 0..10 {
            clock.advance(Duration::from_millis(1));
        }
        assert_eq!(
            waiter.join().unwrap(),
            (Woken::Deadline, Duration::from_millis(10))
        );
        assert_eq!(clock.wall_ms(), 1_010);
    }

    #[test]
    fn a_ring_wakes_a_waiter_of_a_clock_that_stands_still() {
        let clock = Arc::new(ManualClock::new(0));
        let alarm = Arc::new(Alarm::default());
        let waiter = {
            let (clock, alarm) = (Arc::clone(&clock), Arc::clone(&alarm));
            std::thread::spawn(move || clock.wait(&alarm, Some(Duration::from_secs(1))))
        };
        alarm.ring();
        assert_eq!(waiter.join().unwrap(), Woken::Rung);
        assert_eq!(clock.now(), Duration::ZERO);
    }

    #[test]
    fn the_wall_clock_jumps_without_the_monotonic_one() {
        let clock = ManualClock::new(1_000_000);
        clock.set_wall_ms(5);
        assert_eq!((clock.wall_ms(), clock.now()), (5, Duration::ZERO));
    }

    /// A clock that was moved by "for ever" panicked, and with it whoever asked it for a deadline.
    #[test]
    fn time_ends_at_the_last_moment_there_is() {
        let clock = ManualClock::new(u64::MAX - 1);
        for _ in 0..2 {
            clock.advance(Duration::MAX);
            assert_eq!((clock.now(), clock.wall_ms()), (Duration::MAX, u64::MAX));
        }
        let alarm = Arc::new(Alarm::default());
        assert_eq!(clock.wait(&alarm, Some(Duration::MAX)), Woken::Deadline);
        alarm.ring();
        let waiting = OsClock::new().wait(&alarm, Some(Duration::MAX));
        assert_eq!(waiting, Woken::Rung);
    }

    #[test]
    fn a_waiter_registers_once_however_often_it_waits() {
        let clock = ManualClock::new(0);
        let alarm = Arc::new(Alarm::default());
        for _ in 0..100 {
            alarm.ring();
            assert_eq!(clock.wait(&alarm, None), Woken::Rung);
        }
        let waiter = Some(Duration::ZERO);
        assert_eq!(clock.wait(&alarm, waiter), Woken::Deadline);
        assert!(clock.state.lock().waiters.len() <= 1);
    }
}
