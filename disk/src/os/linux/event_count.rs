//! An event count on a futex: the threads that are woken go on at once.

use rustix::thread::futex;
use std::sync::atomic::{AtomicU32, Ordering};

/// Threads wait here for the next event.
///
/// To lose no event, a thread takes a [`key`](Self::key), then looks whether it has to wait,
/// and only then calls [`wait`](Self::wait).
#[derive(Debug, Default)]
pub struct EventCount {
    events: AtomicU32,
}

impl EventCount {
    /// The key for [`Self::wait`], which returns at once if an event came after this call.
    pub fn key(&self) -> u32 {
        // Acquire pairs with the release in `notify`: a thread that sees an event sees what
        // came before it.
        self.events.load(Ordering::Acquire)
    }

    /// Waits for an event that comes after the call that returned `key`.
    pub fn wait(&self, key: u32) {
        while self.key() == key {
            // The number decides, whatever this returns (woken, changed, interrupted).
            let _ = futex::wait(&self.events, futex::Flags::PRIVATE, key, None);
        }
    }

    /// Wakes every thread that holds a key.
    pub fn notify_all(&self) {
        self.notify(i32::MAX.cast_unsigned());
    }

    /// Wakes at most one thread that sleeps. Threads that have a key and do not sleep yet all
    /// go on.
    pub fn notify_one(&self) {
        self.notify(1);
    }

    fn notify(&self, sleepers: u32) {
        self.events.fetch_add(1, Ordering::Release);
        // It cannot fail: the address is that of a live number.
        let _ = futex::wake(&self.events, futex::Flags::PRIVATE, sleepers);
    }
}
