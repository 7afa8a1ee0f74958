//! Random walks through the model, as traces.

use super::action::{apply, fair, faults};
use super::config::Config;
use super::state::State;
use crate::event::Event;

/// What happens on one random way to an end. The same seed goes the same way.
pub fn walk(config: &Config, seed: u64) -> Vec<Event> {
    let mut state = State::first(config);
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut pick = |n: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 33) as usize % n
    };
    let mut trace = Vec::new();
    loop {
        let (mut steps, wrong) = (fair(config, &state), faults(config, &state));
        if !wrong.is_empty() && (steps.is_empty() || pick(12) == 0) {
            steps = wrong;
        }
        if steps.is_empty() {
            return trace;
        }
        let (next, events) = apply(config, &state, steps[pick(steps.len())]);
        state = next;
        trace.extend(events);
    }
}
