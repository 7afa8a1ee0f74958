//! Wakes tasks when time has passed: a thread waits by itself, a task has nothing that does.

use crate::flag::Flag;
use highwater_wal::disk::Clock;
use parking_lot::Mutex;
use std::time::Duration;

/// What a thread of the context waits for.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    off: Flag,
    due: Mutex<Option<Duration>>,
}

impl Alarm {
    /// Rings at `when`, or before.
    pub(crate) fn set(&self, when: Duration) {
        let mut due = self.due.lock();
        if due.is_none_or(|earlier| when < earlier) {
            *due = Some(when);
            drop(due);
            self.off.notify().notify_one();
        }
    }

    /// Ends [`Self::run`].
    pub(crate) fn end(&self) {
        self.off.set();
    }

    /// Calls `ring` whenever it is time, until the end.
    pub(crate) fn run(&self, clock: &dyn Clock, ring: impl Fn()) {
        while !self.off.is_set() {
            let mut due = self.due.lock();
            if due.is_some_and(|when| clock.now() >= when) {
                *due = None;
                drop(due);
                ring();
                continue;
            }
            let deadline = *due;
            drop(due);
            let _woken = clock.wait(self.off.notify(), deadline);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;
    use highwater_wal::disk::ManualClock;
    use std::sync::Arc;
    use std::sync::mpsc;

    #[test]
    fn it_rings_once_for_what_is_due_and_ends() {
        let (clock, alarm) = (Arc::new(ManualClock::new(0)), Arc::new(Alarm::default()));
        let (ring, rang) = mpsc::channel();
        let (on_thread, of_thread) = (Arc::clone(&alarm), Arc::clone(&clock));
        let thread = std::thread::spawn(move || {
            let seen = Arc::clone(&of_thread);
            on_thread.run(&*of_thread, || ring.send(seen.now()).unwrap());
        });
        let seconds = Duration::from_secs;
        alarm.set(seconds(5));
        alarm.set(seconds(2));
        alarm.set(seconds(9));
        clock.advance(seconds(3));
        assert_eq!(rang.recv().unwrap(), seconds(3));
        // Those that wait set it again.
        alarm.set(seconds(9));
        clock.advance(seconds(6));
        assert_eq!(rang.recv().unwrap(), seconds(9));
        alarm.end();
        thread.join().unwrap();
        assert!(rang.try_recv().is_err());
    }
}
