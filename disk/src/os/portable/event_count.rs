//! An event count on a mutex and a condition variable. The model checker runs this one.
#![allow(
    unreachable_pub,
    reason = "in the tests of Linux it is not the one that is passed on"
)]

use crate::map::sync::{Condvar, Mutex};

/// Threads wait here for the next event.
///
/// To lose no event, a thread takes a [`key`](Self::key), then looks whether it has to wait,
/// and only then calls [`wait`](Self::wait).
#[derive(Debug, Default)]
pub struct EventCount {
    events: Mutex<u32>,
    changed: Condvar,
}

impl EventCount {
    /// The key for [`Self::wait`], which returns at once if an event came after this call.
    pub fn key(&self) -> u32 {
        *self.events.lock()
    }

    /// Waits for an event that comes after the call that returned `key`.
    pub fn wait(&self, key: u32) {
        let mut events = self.events.lock();
        while *events == key {
            events = self.changed.wait(events);
        }
    }

    /// Wakes every thread that holds a key.
    pub fn notify_all(&self) {
        self.count();
        self.changed.notify_all();
    }

    /// Wakes at most one thread that sleeps. Threads that have a key and do not sleep yet all go
    /// on.
    pub fn notify_one(&self) {
        self.count();
        self.changed.notify_one();
    }

    fn count(&self) {
        let mut events = self.events.lock();
        *events = events.wrapping_add(1);
    }
}
