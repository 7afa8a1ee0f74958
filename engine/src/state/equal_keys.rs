//! Keys that are equal and serialise differently.
//!
//! Examples are a decimal `1.0` and `1.00`, one instant in two time zones, names compared without
//! case. The key group follows from what a key serialises to. So two such keys are one key where
//! they meet in memory, and two where they do not. Counts would be split, differently from run to
//! run. A type like that shows early, so a bounded number of keys is remembered.

use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// So many keys are remembered by an operator on a worker.
pub(crate) const MAX_REMEMBERED: usize = 65_536;

/// The key groups of keys, by their own hash.
#[derive(Debug)]
pub(crate) struct EqualKeys {
    hasher: RandomState,
    groups: HashMap<u64, u32, RandomState>,
    limit: usize,
}

impl EqualKeys {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            hasher: RandomState::default(),
            groups: HashMap::default(),
            limit,
        }
    }

    /// Notes that `key` is in `group`. Gives back another group in which an equal key was noted, or
    /// one of the same hash.
    pub(crate) fn note<K: Hash>(&mut self, key: &K, group: u32) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        if let Some(noted) = self.groups.get_mut(&hash) {
            return (*noted != group).then(|| std::mem::replace(noted, group));
        }
        if self.groups.len() < self.limit {
            self.groups.insert(hash, group);
        }
        None
    }
}

/// What is wrong with a key that is equal to one of other bytes.
pub(crate) const UNEQUAL_BYTES: &str = "is equal to a key that serialises to something else, so they are in different key groups. Keys that are \
    equal must serialise to the same: make them alike with a map(..) before they are keys (the same scale, the same time zone, \
    the same case)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_two_groups_is_found_and_memory_is_bounded() {
        let mut equal_keys = EqualKeys::new(100);
        for key in 0..1000_u64 {
            assert_eq!(equal_keys.note(&key, 1), None);
            assert_eq!(equal_keys.note(&key, 1), None);
        }
        assert_eq!(equal_keys.groups.len(), 100);
        assert_eq!(equal_keys.note(&7_u64, 2), Some(1));
        assert_eq!(
            equal_keys.note(&7_u64, 2),
            None,
            "the newest group is remembered"
        );
    }
}
