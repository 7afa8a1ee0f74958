//! The primitives of the lock-free core. Built with `--cfg shuttle` they are those of the model
//! checker [shuttle](https://docs.rs/shuttle), which tries many interleavings of the same
//! production code.

#[cfg(not(shuttle))]
mod real {
    pub use parking_lot::{Mutex, MutexGuard};
    pub use std::hint::spin_loop;
    pub use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub use std::thread::yield_now;

    /// Threads that hold a mutex wait here for what it guards to change.
    #[derive(Debug, Default)]
    pub struct Condvar(parking_lot::Condvar);

    impl Condvar {
        /// Gives the mutex up, waits, and takes it again. May return without a notification.
        pub fn wait<'a, T>(&self, mut held: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(&mut held);
            held
        }

        /// Wakes a thread that waits.
        pub fn notify_one(&self) {
            self.0.notify_one();
        }

        /// Wakes all threads that wait.
        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

#[cfg(shuttle)]
mod modelled {
    pub use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub use shuttle::thread::yield_now;
    // The model runs one thread at a time: a thread that spins has to let the others run.
    pub use shuttle::sync::MutexGuard;
    pub use shuttle::thread::yield_now as spin_loop;
    use std::sync::PoisonError;

    /// A mutex of the model with the interface of parking_lot's: a panic of the holder does not
    /// poison it.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// A free mutex.
        pub const fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        /// Waits until it is free, and holds it as long as the guard lives.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// A condition variable of the model, for that mutex.
    #[derive(Debug, Default)]
    pub struct Condvar(shuttle::sync::Condvar);

    impl Condvar {
        /// Gives the mutex up, waits, and takes it again.
        pub fn wait<'a, T>(&self, held: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(held).unwrap_or_else(PoisonError::into_inner)
        }

        /// Wakes a thread that waits.
        pub fn notify_one(&self) {
            self.0.notify_one();
        }

        /// Wakes all threads that wait.
        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

#[cfg(shuttle)]
pub use modelled::*;
#[cfg(not(shuttle))]
pub use real::*;
