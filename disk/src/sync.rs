//! The primitives of the lock-free core, from one place: built with `--cfg shuttle` they are those of the model checker
//! [shuttle](https://docs.rs/shuttle), which tries many interleavings of the same production code.

#[cfg(not(shuttle))]
mod real {
    pub use parking_lot::{Condvar, Mutex, MutexGuard};
    pub use std::hint::spin_loop;
    pub use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub use std::thread::yield_now;
}

#[cfg(not(shuttle))]
pub use real::*;
