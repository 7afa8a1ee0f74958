//! The primitives of the lock-free core. Built with `--cfg shuttle` they are those of the model
//! checker [shuttle](https://docs.rs/shuttle), which tries many interleavings of the same
//! production code.

#[cfg(not(shuttle))]
mod real {
    pub use parking_lot::Mutex;
    pub use std::hint::spin_loop;
    pub use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub use std::thread::yield_now;
}

#[cfg(shuttle)]
mod modelled {
    pub use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub use shuttle::thread::yield_now;
    // The model runs one thread at a time: a thread that spins has to let the others run.
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
        pub fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

#[cfg(shuttle)]
pub use modelled::*;
#[cfg(not(shuttle))]
pub use real::*;
