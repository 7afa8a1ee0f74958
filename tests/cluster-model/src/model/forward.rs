//! Whether steps without faults only go forward: none of their ways comes back to where it was.

use super::action::{apply, fair, faults};
use super::config::Config;
use super::state::State;
use ahash::RandomState;
use std::collections::HashMap;

/// The states within the bounds, and how many of them lie on or behind a circle of steps without
/// faults.
pub fn circles(config: &Config) -> (usize, usize) {
    let hasher = RandomState::with_seeds(1, 2, 3, 4);
    let mut numbers: HashMap<u64, usize, RandomState> = HashMap::with_hasher(hasher.clone());
    let (mut states, mut onward, mut number) = (vec![State::first(config)], Vec::new(), 0);
    numbers.insert(hasher.hash_one(&states[0]), 0);
    while number < states.len() {
        let state = states[number].clone();
        let steps = fair(config, &state);
        let wrong = faults(config, &state);
        let mut next = Vec::new();
        for (at, action) in steps.iter().chain(&wrong).enumerate() {
            let (state, _) = apply(config, &state, *action);
            let new = states.len();
            let there = *numbers.entry(hasher.hash_one(&state)).or_insert(new);
            if there == new {
                states.push(state);
            }
            if at < steps.len() {
                next.push(there);
            }
        }
        onward.push(next);
        number += 1;
    }
    (states.len(), left_over(&onward))
}

/// How many are left if those to which nothing leads are taken away, again and again.
fn left_over(onward: &[Vec<usize>]) -> usize {
    let mut into = vec![0_usize; onward.len()];
    onward.iter().flatten().for_each(|to| into[*to] += 1);
    let mut free: Vec<usize> = (0..into.len()).filter(|n| into[*n] == 0).collect();
    let mut left = into.len();
    while let Some(number) = free.pop() {
        left -= 1;
        for to in &onward[number] {
            into[*to] -= 1;
            if into[*to] == 0 {
                free.push(*to);
            }
        }
    }
    left
}
