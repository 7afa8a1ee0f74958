//! Stripes: threads that count, or look for a buffer, start at places of their own, so that cores
//! do not move one cache line between them.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many stripes there are.
pub(crate) const STRIPES: usize = 16;

/// The stripe of the calling thread, below [`STRIPES`].
pub(crate) fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    MINE.with(|mine| *mine)
}
