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

    /// Waits until `notify` is notified or, if given, [`Self::now`] reaches `deadline`.
    fn wait(&self, notify: &Arc<Notify>, deadline: Option<Duration>) -> WaitResult;
}

/// Why [`Clock::wait`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitResult {
    /// A notification came.
    Notified,
    /// The deadline passed.
    Deadline,
}

/// Wakes one waiter. A notification before the wait is not lost: the next wait returns at once.
#[derive(Debug, Default)]
pub struct Notify {
    state: Mutex<NotifyState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct NotifyState {
    notified: bool,
    /// Counts how often a manual clock moved, so that the waiter reads the time again.
    ticks: u64,
}

impl Notify {
    /// Wakes the waiter, now or at its next wait.
    ///
    /// ```
    /// use highwater_disk::{Clock, ManualClock, Notify, WaitResult};
    /// use std::sync::Arc;
    /// let (clock, notify) = (ManualClock::new(0), Arc::new(Notify::default()));
    /// notify.notify_one(); // before the wait: it is not lost
    /// assert_eq!(clock.wait(&notify, None), WaitResult::Notified);
    /// ```
    pub fn notify_one(&self) {
        self.state.lock().notified = true;
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
    ///
    /// ```
    /// use highwater_disk::{Clock, OsClock};
    /// let clock = OsClock::new();
    /// let before = clock.now();
    /// assert!(clock.now() >= before);
    /// ```
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

    fn wait(&self, notify: &Arc<Notify>, deadline: Option<Duration>) -> WaitResult {
        let mut state = notify.state.lock();
        loop {
            if state.notified {
                state.notified = false;
                return WaitResult::Notified;
            }
            match deadline {
                None => notify.changed.wait(&mut state),
                Some(deadline) => {
                    let now = self.now();
                    if now >= deadline {
                        return WaitResult::Deadline;
                    }
                    let _ = notify.changed.wait_for(&mut state, deadline - now);
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
    waiters: Vec<Weak<Notify>>,
}

impl ManualClock {
    /// A clock that shows `wall_ms` milliseconds since the Unix epoch.
    ///
    /// ```
    /// use highwater_disk::{Clock, ManualClock};
    /// let clock = ManualClock::new(1_700_000_000_000);
    /// assert_eq!(clock.wall_ms(), 1_700_000_000_000);
    /// ```
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

    /// Moves both clocks forward, at most to the last moment there is. Wakes every waiter whose
    /// deadline has passed.
    ///
    /// ```
    /// use highwater_disk::{Clock, ManualClock, Notify, WaitResult};
    /// use std::{sync::Arc, time::Duration};
    /// let clock = Arc::new(ManualClock::new(0));
    /// let waiting = std::thread::spawn({
    ///     let clock = Arc::clone(&clock);
    ///     move || clock.wait(&Arc::new(Notify::default()), Some(Duration::from_secs(60)))
    /// });
    /// clock.advance(Duration::from_secs(60)); // a minute in no time
    /// assert_eq!(waiting.join().expect("no panic"), WaitResult::Deadline);
    /// ```
    pub fn advance(&self, by: Duration) {
        let waiters = {
            let mut state = self.state.lock();
            state.now = state.now.saturating_add(by);
            let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            state.wall_ms = state.wall_ms.saturating_add(ms);
            std::mem::take(&mut state.waiters)
        };
        for notify in waiters.iter().filter_map(Weak::upgrade) {
            notify.tick();
        }
    }

    /// Sets the wall clock alone, as an operator or NTP would.
    ///
    /// ```
    /// use highwater_disk::{Clock, ManualClock};
    /// use std::time::Duration;
    /// let clock = ManualClock::new(1000);
    /// clock.set_wall_ms(500); // the wall clock goes back, monotonic time does not
    /// assert_eq!((clock.wall_ms(), clock.now()), (500, Duration::ZERO));
    /// ```
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

    fn wait(&self, notify: &Arc<Notify>, deadline: Option<Duration>) -> WaitResult {
        loop {
            let ticks = {
                let mut state = notify.state.lock();
                if state.notified {
                    state.notified = false;
                    return WaitResult::Notified;
                }
                state.ticks
            };
            {
                // Registered before the time is read: an `advance` in between ticks it.
                let mut state = self.state.lock();
                if deadline.is_some_and(|d| state.now >= d) {
                    return WaitResult::Deadline;
                }
                state.waiters.retain(|w| w.strong_count() > 0);
                if !state
                    .waiters
                    .iter()
                    .any(|w| std::ptr::eq(w.as_ptr(), Arc::as_ptr(notify)))
                {
                    state.waiters.push(Arc::downgrade(notify));
                }
            }
            let mut state = notify.state.lock();
            while !state.notified && state.ticks == ticks {
                notify.changed.wait(&mut state);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_before_the_wait_is_not_lost_and_counts_once() {
        let clock = ManualClock::new(0);
        let notify = Arc::new(Notify::default());
        notify.notify_one();
        notify.notify_one();
        assert_eq!(clock.wait(&notify, None), WaitResult::Notified);
        assert_eq!(
            clock.wait(&notify, Some(Duration::ZERO)),
            WaitResult::Deadline
        );
    }

    #[test]
    fn the_machines_clock_knows_notifications_and_deadlines_that_have_passed() {
        let clock = OsClock::new();
        let notify = Arc::new(Notify::default());
        notify.notify_one();
        assert_eq!(
            clock.wait(&notify, Some(Duration::ZERO)),
            WaitResult::Notified,
            "the notification came first"
        );
        assert_eq!(
            clock.wait(&notify, Some(Duration::ZERO)),
            WaitResult::Deadline
        );
        assert!(clock.now() <= clock.now());
    }

    #[test]
    fn a_manual_clock_wakes_a_waiter_exactly_at_its_deadline() {
        let clock = Arc::new(ManualClock::new(1_000));
        let notify = Arc::new(Notify::default());
        let waiter = {
            let (clock, notify) = (Arc::clone(&clock), Arc::clone(&notify));
            std::thread::spawn(move || {
                let woken = clock.wait(&notify, Some(Duration::from_millis(10)));
                (woken, clock.now())
            })
        };
        for _ in 0..10 {
            clock.advance(Duration::from_millis(1));
        }
        assert_eq!(
            waiter.join().unwrap(),
            (WaitResult::Deadline, Duration::from_millis(10))
        );
        assert_eq!(clock.wall_ms(), 1_010);
    }

    #[test]
    fn a_notification_wakes_a_waiter_of_a_clock_that_stands_still() {
        let clock = Arc::new(ManualClock::new(0));
        let notify = Arc::new(Notify::default());
        let waiter = {
            let (clock, notify) = (Arc::clone(&clock), Arc::clone(&notify));
            std::thread::spawn(move || clock.wait(&notify, Some(Duration::from_secs(1))))
        };
        notify.notify_one();
        assert_eq!(waiter.join().unwrap(), WaitResult::Notified);
        assert_eq!(clock.now(), Duration::ZERO);
    }

    #[test]
    fn the_wall_clock_jumps_without_the_monotonic_one() {
        let clock = ManualClock::new(1_000_000);
        clock.set_wall_ms(5);
        assert_eq!((clock.wall_ms(), clock.now()), (5, Duration::ZERO));
    }

    /// A clock that was moved by "for ever" panicked, and so did its callers.
    #[test]
    fn time_ends_at_the_last_moment_there_is() {
        let clock = ManualClock::new(u64::MAX - 1);
        for _ in 0..2 {
            clock.advance(Duration::MAX);
            assert_eq!((clock.now(), clock.wall_ms()), (Duration::MAX, u64::MAX));
        }
        let notify = Arc::new(Notify::default());
        assert_eq!(
            clock.wait(&notify, Some(Duration::MAX)),
            WaitResult::Deadline
        );
        notify.notify_one();
        let waiting = OsClock::new().wait(&notify, Some(Duration::MAX));
        assert_eq!(waiting, WaitResult::Notified);
    }

    #[test]
    fn a_waiter_registers_once_however_often_it_waits() {
        let clock = ManualClock::new(0);
        let notify = Arc::new(Notify::default());
        for _ in 0..100 {
            notify.notify_one();
            assert_eq!(clock.wait(&notify, None), WaitResult::Notified);
        }
        let waiter = Some(Duration::ZERO);
        assert_eq!(clock.wait(&notify, waiter), WaitResult::Deadline);
        assert!(clock.state.lock().waiters.len() <= 1);
    }
}
