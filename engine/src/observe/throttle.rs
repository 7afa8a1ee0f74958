//! Bounds the number of warnings. A sender that can cause one can cause a million, and flood the
//! program's log.

use parking_lot::Mutex;
use std::time::Duration;

/// So many messages pass ...
const BURST: u32 = 10;

/// ... in so much time; the others are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Lets a few messages through and counts those that it holds back.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the window began, on the clock's monotonic time.
    since: Duration,
    passed: u32,
    held_back: u64,
}

impl Throttle {
    /// Whether a message may pass at `now`: if so, how many were held back since the one before.
    pub(crate) fn pass(&self, now: Duration) -> Option<u64> {
        let mut state = self.state.lock();
        if now.saturating_sub(state.since) >= WINDOW {
            state.since = now;
            state.passed = 0;
        }
        if state.passed < BURST {
            state.passed += 1;
            return Some(std::mem::take(&mut state.held_back));
        }
        state.held_back += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_rest_is_counted_until_the_next_window() {
        let throttle = Throttle::default();
        let second = Duration::from_secs(1);
        let passed = |at: Duration| (0..1000).filter_map(|_| throttle.pass(at)).count();
        assert_eq!(passed(second), 10);
        assert_eq!(passed(9 * second), 0, "the window is still the same");
        assert_eq!(throttle.pass(10 * second), Some(1990));
        assert_eq!(throttle.pass(10 * second), Some(0));
    }
}
