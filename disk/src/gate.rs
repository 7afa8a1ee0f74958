//! A gate at which threads wait together and are let through with one system call.
//!
//! A condition variable makes everybody whom it wakes take its mutex again, one after the other;
//! here those who are let through go their way at once. On Linux it is a futex, under the model
//! checker a mutex and a condition variable.

#[cfg(not(shuttle))]
mod real {
    use rustix::thread::futex;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Threads wait here until somebody opens it.
    #[derive(Debug, Default)]
    pub struct Gate {
        openings: AtomicU32,
    }

    impl Gate {
        /// To be taken before the last look at whether to wait: [`Self::wait`] returns at once if
        /// the gate was opened since.
        pub fn ticket(&self) -> u32 {
            // Acquire pairs with the release in `open`: whoever sees an opening sees what came
            // before it.
            self.openings.load(Ordering::Acquire)
        }

        /// Waits for an opening after the one that `ticket` saw.
        pub fn wait(&self, ticket: u32) {
            while self.ticket() == ticket {
                // Whatever it returns (woken, changed meanwhile, interrupted), the number decides.
                let _ = futex::wait(&self.openings, futex::Flags::PRIVATE, ticket, None);
            }
        }

        /// Lets everybody through who has a ticket.
        pub fn open(&self) {
            self.let_through(i32::MAX.cast_unsigned());
        }

        /// Wakes at most one who sleeps; those who have a ticket and do not sleep yet all go
        /// through.
        pub fn open_for_one(&self) {
            self.let_through(1);
        }

        fn let_through(&self, sleepers: u32) {
            self.openings.fetch_add(1, Ordering::Release);
            // It cannot fail: the address is that of a live number.
            let _ = futex::wake(&self.openings, futex::Flags::PRIVATE, sleepers);
        }
    }
}

#[cfg(shuttle)]
mod modelled {
    use shuttle::sync::{Condvar, Mutex};

    /// The gate of the model: the same promises and no more.
    #[derive(Debug, Default)]
    pub struct Gate {
        openings: Mutex<u32>,
        changed: Condvar,
    }

    #[expect(missing_docs, reason = "as the real one")]
    impl Gate {
        pub fn ticket(&self) -> u32 {
            *self
                .openings
                .lock()
                .expect("nobody panics with the lock held")
        }

        pub fn wait(&self, ticket: u32) {
            let mut openings = self
                .openings
                .lock()
                .expect("nobody panics with the lock held");
            while *openings == ticket {
                openings = self
                    .changed
                    .wait(openings)
                    .expect("nobody panics with the lock held");
            }
        }

        pub fn open(&self) {
            *self
                .openings
                .lock()
                .expect("nobody panics with the lock held") += 1;
            self.changed.notify_all();
        }

        pub fn open_for_one(&self) {
            *self
                .openings
                .lock()
                .expect("nobody panics with the lock held") += 1;
            self.changed.notify_one();
        }
    }
}

#[cfg(shuttle)]
pub use modelled::Gate;
#[cfg(not(shuttle))]
pub use real::Gate;

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::Gate;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_ticket_from_before_the_opening_goes_through() {
        let gate = Gate::default();
        let ticket = gate.ticket();
        gate.open_for_one();
        gate.wait(ticket); // would wait for ever
        assert_ne!(gate.ticket(), ticket);
    }

    #[test]
    fn everybody_who_waits_is_let_through() {
        const WAITERS: usize = 4;
        let (gate, through) = (Gate::default(), AtomicUsize::new(0));
        let ticket = gate.ticket();
        std::thread::scope(|scope| {
            for _ in 0..WAITERS {
                scope.spawn(|| {
                    gate.wait(ticket);
                    through.fetch_add(1, Ordering::Relaxed);
                });
            }
            assert_eq!(through.load(Ordering::Relaxed), 0, "the gate is closed");
            gate.open();
        });
        assert_eq!(through.load(Ordering::Relaxed), WAITERS);
    }
}
