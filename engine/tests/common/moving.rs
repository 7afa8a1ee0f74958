//! A clock that a test moves while the engine runs by it.

use highwater_engine::wal::disk::{Clock as _, ManualClock, OsClock};
use std::time::Duration;

/// How much faster than a real one the clock may run.
const SPEED: u32 = 100;

/// Moves the clock by one `step` after the other until something is so.
///
/// Not as fast as it can. Every interval that passes is a batch: on a busy machine they would pile
/// up faster than they run, and what is waited for would never have its turn. (That once kept a
/// test that waits for senders from ending, for an hour.)
pub(crate) fn move_until(clock: &ManualClock, step: Duration, mut so: impl FnMut() -> bool) {
    let real = OsClock::default();
    let began = (real.now(), clock.now());
    while !so() {
        if clock.now() - began.1 <= (real.now() - began.0) * SPEED {
            clock.advance(step);
        }
        std::thread::yield_now();
    }
}
