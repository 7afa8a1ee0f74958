//! Equal keys that serialise differently, among all the keys of a state.
//!
//! Such keys have one hash by the key's own `Hash` and two by what they serialise to. All pairs of
//! hashes are gathered, 16 bytes a key, and sorted.

use crate::state::key_hash::KeyHash;
use foldhash::fast::RandomState;
use std::hash::{BuildHasher, Hash};

/// The hashes of keys, both kinds.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    /// Lists that were gathered by one thread each.
    lists: Vec<Vec<(u64, KeyHash)>>,
}

impl Twins {
    /// What all that is noted is hashed with.
    pub(crate) fn hasher() -> RandomState {
        RandomState::default()
    }

    /// Notes a key.
    pub(crate) fn note<K: Hash>(&mut self, hasher: &RandomState, key: &K, hash: KeyHash) {
        if self.lists.is_empty() {
            self.lists.push(Vec::new());
        }
        if let Some(list) = self.lists.last_mut() {
            list.push((hasher.hash_one(key), hash));
        }
    }

    /// Adds what was noted elsewhere.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.lists.append(&mut other.lists);
    }

    /// The hashes of keys that are equal, or that happen to have the same own hash.
    pub(crate) fn find(&mut self) -> Vec<[KeyHash; 2]> {
        let mut all: Vec<_> = std::mem::take(&mut self.lists)
            .into_iter()
            .flatten()
            .collect();
        all.sort_unstable();
        all.dedup();
        let pairs = all.iter().zip(all.iter().skip(1));
        let equal = pairs.filter(|((one, _), (other, _))| one == other);
        equal.map(|((_, one), (_, other))| [*one, *other]).collect()
    }
}
