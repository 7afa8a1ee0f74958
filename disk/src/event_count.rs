//! An event count: threads wait for an event together, and one call wakes them all.
//!
//! A condition variable makes every thread that it wakes take its mutex again, one after the other.
//! On Linux it is a futex, and the woken threads go on at once. On other systems, and under the
//! model checker, it is a mutex and a condition variable.

pub use crate::os::EventCount;

#[cfg(all(test, not(shuttle)))]
mod tests {
    /// What both kinds promise.
    macro_rules! promises {
        ($kind:ident) => {
            mod $kind {
                use crate::os::$kind::event_count::EventCount;
                use std::sync::atomic::{AtomicUsize, Ordering};

                #[test]
                fn a_key_from_before_the_event_does_not_wait() {
                    let event = EventCount::default();
                    for notify in [EventCount::notify_one, EventCount::notify_all] {
                        let key = event.key();
                        notify(&event);
                        event.wait(key); // would wait for ever
                        assert_ne!(event.key(), key);
                    }
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
        };
    }

    #[cfg(all(target_os = "linux", not(highwater_portable)))]
    promises!(linux);
    promises!(portable);
}
