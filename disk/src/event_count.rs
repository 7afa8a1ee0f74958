//! An event count: threads wait for an event together, and one system call wakes them all.
//!
//! A condition variable makes every thread that it wakes take its mutex again, one after the other.
//! Here the woken threads go on at once. On Linux it is a futex, under the model checker a mutex
//! and a condition variable.

#[cfg(not(shuttle))]
mod real {
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
}

#[cfg(shuttle)]
mod modelled {
    use shuttle::sync::{Condvar, Mutex, MutexGuard};

    /// The event count of the model: the same promises and no more.
    #[derive(Debug, Default)]
    pub struct EventCount {
        events: Mutex<u32>,
        changed: Condvar,
    }

    #[expect(missing_docs, reason = "as the real one")]
    impl EventCount {
        fn events(&self) -> MutexGuard<'_, u32> {
            self.events
                .lock()
                .expect("no thread panics with the lock held")
        }

        pub fn key(&self) -> u32 {
            *self.events()
        }

        pub fn wait(&self, key: u32) {
            let mut events = self.events();
            while *events == key {
                events = self
                    .changed
                    .wait(events)
                    .expect("no thread panics with the lock held");
            }
        }

        pub fn notify_all(&self) {
            *self.events() += 1;
            self.changed.notify_all();
        }

        pub fn notify_one(&self) {
            *self.events() += 1;
            self.changed.notify_one();
        }
    }
}

#[cfg(shuttle)]
pub use modelled::EventCount;
#[cfg(not(shuttle))]
pub use real::EventCount;

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::EventCount;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_key_from_before_the_event_does_not_wait() {
        let event = EventCount::default();
        let key = event.key();
        event.notify_one();
        event.wait(key); // would wait for ever
        assert_ne!(event.key(), key);
    }

    #[test]
    fn every_waiter_is_woken() {
        const WAITERS: usize = 4;
        let (event, woken) = (EventCount::default(), AtomicUsize::new(0));
        let key = event.key();
        std::thread::scope(|scope| {
            for _ in 0..WAITERS {
                scope.spawn(|| {
                    event.wait(key);
                    woken.fetch_add(1, Ordering::Relaxed);
                });
            }
            assert_eq!(woken.load(Ordering::Relaxed), 0, "no event came yet");
            event.notify_all();
        });
        assert_eq!(woken.load(Ordering::Relaxed), WAITERS);
    }
}
