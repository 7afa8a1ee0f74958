//! Keys that are equal and serialise differently.
//!
//! Examples are a decimal `1.0` and `1.00`, one instant in two time zones, names compared without
//! case. The hash of a key, its key group with it, follows from what the key serialises to. So two
//! such keys would be counted as two, and stored in two places. A type like that shows early: only
//! the first keys that an operator meets are looked at.

use crate::state::key_hash::KeyHash;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash};

/// So many keys are looked at by an operator on a worker.
pub(crate) const MAX_NOTED: usize = 65_536;

/// The hashes of the keys that were met first, by the hash that goes with their equality.
#[derive(Debug)]
pub(crate) struct EqualKeys {
    hasher: RandomState,
    hashes: HashMap<u64, KeyHash, RandomState>,
    /// How many more keys are looked at.
    remaining: usize,
}

impl EqualKeys {
    /// Looks at the first `limit` keys. Then nothing is looked at, and nothing costs anything.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            hasher: RandomState::default(),
            hashes: HashMap::default(),
            remaining: limit,
        }
    }

    /// Whether the first keys were seen already, and no more are looked at.
    pub(crate) fn is_over(&self) -> bool {
        self.remaining == 0
    }

    /// Notes that `key` serialises to something with the hash `hash`. Gives back another hash that
    /// was noted for an equal key (or, rarely, for one that is not equal: the caller must compare).
    pub(crate) fn note<K: Hash>(&mut self, key: &K, hash: KeyHash) -> Option<KeyHash> {
        self.remaining = self.remaining.checked_sub(1)?;
        match self.hashes.entry(self.hasher.hash_one(key)) {
            Entry::Occupied(mut noted) => {
                (*noted.get() != hash).then(|| std::mem::replace(noted.get_mut(), hash))
            }
            Entry::Vacant(place) => {
                place.insert(hash);
                None
            }
        }
    }
}

/// What is wrong with a key that is equal to one of other bytes.
pub(crate) const UNEQUAL_BYTES: &str = "is equal to a key that serialises to something else, so they count as different keys. Keys that are \
    equal must serialise to the same: make them alike with a map(..) before they are keys (the same scale, the same time zone, \
    the same case)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_two_hashes_is_found_among_the_first_keys_and_memory_is_bounded() {
        let mut equal_keys = EqualKeys::new(100);
        for key in 0..40_u64 {
            assert_eq!(equal_keys.note(&key, KeyHash(1)), None);
            assert_eq!(equal_keys.note(&key, KeyHash(1)), None);
        }
        assert_eq!(equal_keys.note(&7_u64, KeyHash(2)), Some(KeyHash(1)));
        assert_eq!(
            equal_keys.note(&7_u64, KeyHash(2)),
            None,
            "the newest hash is noted"
        );
        for key in 100..1000_u64 {
            assert_eq!(equal_keys.note(&key, KeyHash(1)), None);
        }
        assert!(equal_keys.is_over());
        assert_eq!(equal_keys.hashes.len(), 40 + 18);
        assert_eq!(equal_keys.note(&7_u64, KeyHash(3)), None);
    }
}
