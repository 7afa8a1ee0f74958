//! The exhaustive check: every state that can be reached within the bounds, breadth first.
//!
//! A loop of our own: stateright 0.31 gave the same numbers of states, and now and then waited
//! for minutes in between. States are known by a hash of 64 bits. Two of some millions are the
//! same by accident once in a million explorations.

use super::action::{Action, apply, fair, faults};
use super::config::Config;
use super::state::{Life, State};
use crate::property::{PROPERTIES, Property};
use ahash::RandomState;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

/// What an exploration has come to.
#[derive(Debug)]
pub struct Outcome {
    /// States that were found.
    pub states: usize,
    /// Steps of the longest of the shortest ways to a state.
    pub depth: usize,
    /// The invariant that is broken, and the shortest way there.
    pub found: Option<(Property, Vec<Action>)>,
}

/// By which step, from which state a state was found first.
type Origins = HashMap<u64, Option<(u64, Action)>, RandomState>;

/// Explores all states until an invariant is broken, or this one.
pub fn check(config: &Config, wanted: Option<Property>) -> Outcome {
    let hasher = RandomState::with_seeds(1, 2, 3, 4);
    let mut origins = Origins::with_hasher(hasher.clone());
    let (mut waiting, mut depth) = (VecDeque::new(), 0);
    let first = State::first(config);
    let at = hasher.hash_one(&first);
    origins.insert(at, None);
    waiting.push_back((first, at, 0));
    while let Some((state, at, steps)) = waiting.pop_front() {
        depth = steps;
        let fair = fair(config, &state);
        let broken = broken(&state, !fair.is_empty());
        let is_wanted =
            |p: &Property| broken & p.bit() != 0 && wanted.is_none_or(|wanted| wanted == *p);
        if let Some(property) = PROPERTIES.into_iter().find(is_wanted) {
            let found = Some((property, way(&origins, at)));
            return Outcome {
                states: origins.len(),
                depth,
                found,
            };
        }
        if state.broken.count_ones() > 2 {
            continue; // so far behind the first violation there is nothing more to find
        }
        for action in fair.into_iter().chain(faults(config, &state)) {
            let (next, _) = apply(config, &state, action);
            let hash = hasher.hash_one(&next);
            if let Entry::Vacant(new) = origins.entry(hash) {
                new.insert(Some((at, action)));
                waiting.push_back((next, hash, steps + 1));
            }
        }
    }
    Outcome {
        states: origins.len(),
        depth,
        found: None,
    }
}

/// The steps from the first state.
fn way(origins: &Origins, mut at: u64) -> Vec<Action> {
    let mut steps = Vec::new();
    while let Some(Some((from, action))) = origins.get(&at) {
        steps.push(*action);
        at = *from;
    }
    steps.reverse();
    steps
}

/// The invariants that do not hold in a state, as bits; `goes_on` if a step without a fault is
/// possible.
fn broken(state: &State, goes_on: bool) -> u16 {
    let mut broken = state.broken;
    if !goes_on && !is_good_end(state) {
        broken |= Property::Progress.bit();
    }
    let generation = state.world.newest().map_or(0, |m| m.generation);
    if generation > u64::from(state.run) + 2 * u64::from(state.faults) {
        broken |= Property::FewGenerations.bit();
    }
    broken
}

/// The program has ended with all its batches committed and published, or was refused with a
/// reason.
fn is_good_end(state: &State) -> bool {
    let ended = state.members().all(|m| state.actors[m].life == Life::Done);
    let newest = state.world.newest();
    let committed = newest.is_some_and(|m| m.ended && m.batch == state.world.committed);
    let published = state.world.parts.values().all(|part| part.published);
    ended && committed && published || state.actors[0].life == Life::Refused
}

/// A way through the model, step by step, with what happens in each.
pub fn explain(config: &Config, path: &[Action]) -> String {
    let (mut state, mut text) = (State::first(config), String::new());
    for action in path {
        let (next, events) = apply(config, &state, *action);
        text += &format!("{action:?}\n");
        for event in events {
            text += &format!(
                "    {} in {}: {:?}\n",
                event.process, event.generation, event.what
            );
        }
        state = next;
    }
    text
}
