//! Equal keys that serialise differently, among all the keys of a state.
//!
//! Such keys have one hash by the key's own `Hash`, and lie in two places. Half of that hash, four
//! bytes, is kept of each key by the threads that decode keys. Where a half comes twice, which it
//! also does by chance, the keys are compared.

use foldhash::fast::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash};

/// What was gathered of the keys.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    /// Lists that were gathered by one thread each.
    lists: Vec<Vec<u32>>,
}

fn half(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(u32::MAX)
}

impl Twins {
    /// What all that is noted is hashed with.
    pub(crate) fn hasher() -> RandomState {
        RandomState::default()
    }

    /// `keys` are to be noted.
    pub(crate) fn expect(&mut self, keys: u32) {
        let keys = usize::try_from(keys).unwrap_or(0);
        self.lists.push(Vec::with_capacity(keys));
    }

    /// Notes a key.
    pub(crate) fn note<K: Hash>(&mut self, hasher: &RandomState, key: &K) {
        if self.lists.is_empty() {
            self.lists.push(Vec::new());
        }
        if let Some(list) = self.lists.last_mut() {
            list.push(half(hasher.hash_one(key)));
        }
    }

    /// Adds what was noted elsewhere.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.lists.append(&mut other.lists);
    }

    /// The first key of `keys`, which are those that were noted, that is equal to one before it.
    pub(crate) fn find<'a, K: Hash + Eq>(
        self,
        hasher: &RandomState,
        keys: impl Iterator<Item = &'a K>,
    ) -> Option<&'a K> {
        let suspects = self.suspects();
        if suspects.is_empty() {
            return None;
        }
        let mut seen = HashMap::<u64, Vec<&K>, RandomState>::default();
        for key in keys {
            let hash = hasher.hash_one(key);
            if !suspects.contains(&half(hash)) {
                continue;
            }
            let same = seen.entry(hash).or_default();
            if same.contains(&key) {
                return Some(key);
            }
            same.push(key);
        }
        None
    }

    /// The halves that were noted more than once.
    fn suspects(self) -> HashSet<u32, RandomState> {
        let mut all = Vec::with_capacity(self.lists.iter().map(Vec::len).sum());
        for list in self.lists {
            all.extend_from_slice(&list);
        }
        all.sort_unstable();
        let pairs = all.iter().zip(all.iter().skip(1));
        pairs.filter(|(a, b)| a == b).map(|(a, _)| *a).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(keys: &[&'static str]) -> Option<&'static str> {
        let (hasher, mut twins) = (Twins::hasher(), Twins::default());
        for part in keys.chunks(2) {
            let mut of_thread = Twins::default();
            part.iter().for_each(|key| of_thread.note(&hasher, key));
            twins.append(of_thread);
        }
        twins.find(&hasher, keys.iter()).copied()
    }

    #[test]
    fn the_first_key_that_comes_again_is_found() {
        assert_eq!(found(&[]), None);
        assert_eq!(found(&["a", "b", "c"]), None);
        assert_eq!(found(&["a", "b", "c", "b", "a"]), Some("b"));
    }

    /// Among so many keys, halves of hashes come twice by chance.
    #[test]
    fn keys_that_share_half_a_hash_are_no_twins() {
        let (hasher, mut twins) = (Twins::hasher(), Twins::default());
        let mut keys: Vec<String> = (0..600_000).map(|n| format!("key {n}")).collect();
        keys.iter().for_each(|key| twins.note(&hasher, key));
        assert!(!twins.suspects().is_empty());
        for twin in [None, Some("key 7".to_owned())] {
            keys.extend(twin.clone());
            let mut twins = Twins::default();
            keys.iter().for_each(|key| twins.note(&hasher, key));
            assert_eq!(twins.find(&hasher, keys.iter()), twin.as_ref());
        }
    }
}
