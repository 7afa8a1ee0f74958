//! Waiting for a thread to end, with a word about it while it takes long.

use highwater_wal::disk::{Clock, Notify, WaitResult};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Opens when a thread ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latch {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    open: AtomicBool,
    alarm: Arc<Notify>,
}

/// Held by the thread; opens the latch when it goes, also by a panic.
#[derive(Debug)]
pub(crate) struct Held(Latch);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.inner.open.store(true, Ordering::Release);
        self.0.inner.alarm.notify_one();
    }
}

impl Latch {
    pub(crate) fn hold(&self) -> Held {
        Held(self.clone())
    }

    pub(crate) fn is_open(&self) -> bool {
        self.inner.open.load(Ordering::Acquire)
    }

    /// Waits until the latch opens or the clock reaches `deadline`; whether it is open.
    pub(crate) fn wait_until(&self, clock: &dyn Clock, deadline: Option<Duration>) -> bool {
        while !self.is_open() {
            if clock.wait(&self.inner.alarm, deadline) == WaitResult::Deadline {
                break;
            }
        }
        self.is_open()
    }

    /// Waits until the latch opens, and calls `report` whenever another `every` has passed.
    pub(crate) fn wait_reporting(
        &self,
        clock: &dyn Clock,
        every: Duration,
        mut report: impl FnMut(),
    ) {
        while !self.wait_until(clock, Some(clock.now().saturating_add(every))) {
            report();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_wal::disk::ManualClock;

    #[test]
    fn a_latch_opens_when_its_thread_panics() {
        let latch = Latch::default();
        let held = latch.hold();
        assert!(!latch.is_open());
        let thread = std::thread::spawn(move || {
            let _held = held;
            panic!("on purpose");
        });
        assert!(latch.wait_until(&ManualClock::new(0), None));
        assert!(thread.join().is_err());
    }

    #[test]
    fn waiting_is_reported_until_the_latch_opens() {
        let (latch, clock) = (Latch::default(), Arc::new(ManualClock::new(0)));
        let mut held = Some(latch.hold());
        let (moved, opened) = (Arc::clone(&clock), latch.clone());
        let mover = std::thread::spawn(move || {
            while !opened.is_open() {
                moved.advance(Duration::from_secs(1));
                std::thread::yield_now();
            }
        });
        let mut reports = 0;
        latch.wait_reporting(&*clock, Duration::from_secs(1), || {
            reports += 1;
            if reports == 3 {
                held = None;
            }
        });
        assert_eq!(reports, 3);
        mover.join().unwrap();
    }
}
