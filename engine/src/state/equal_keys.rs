//! Keys that are equal and serialise differently.
//!
//! Examples are a decimal `1.0` and `1.00`, one instant in two time zones, names compared without
//! case. The hash of a key, its key group with it, follows from what the key serialises to. So two
//! such keys would be counted as two, and stored in two places. A type like that shows early: only
//! the first keys that an operator meets are looked at.

use crate::codec::exact::is_exact;
use crate::codec::round_trip;
use crate::state::key_hash::KeyHash;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicBool, Ordering};

/// So many keys are looked at by an operator on a worker.
const MAX_NOTED: usize = 65_536;

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

    /// For keys of type `K`: there is nothing to look at where such keys cannot be.
    pub(crate) fn of<K: 'static>() -> Self {
        Self::new(if is_exact::<K>() { 0 } else { MAX_NOTED })
    }

    /// Whether the first keys were seen already, and no more are looked at.
    pub(crate) fn is_over(&self) -> bool {
        self.remaining == 0
    }

    /// Notes that `key` serialises to something with the hash `hash`. Gives back another hash that
    /// was noted for an equal key (or, rarely, for one that is not equal: the caller must compare).
    pub(crate) fn note<K: Hash>(&mut self, key: &K, hash: KeyHash) -> Option<KeyHash> {
        let Some(remaining) = self.remaining.checked_sub(1) else {
            if self.hashes.capacity() > 0 {
                self.hashes = HashMap::default(); // two megabytes
            }
            return None;
        };
        self.remaining = remaining;
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

/// The same for all workers together, before keys go to the workers that own them: equal keys of
/// one batch that serialise differently go to different ones.
#[derive(Debug)]
pub(crate) struct FirstKeys {
    /// Whether the first keys were seen already.
    is_over: AtomicBool,
    noted: Mutex<Noted>,
}

#[derive(Debug)]
struct Noted {
    /// Keys are told apart by 128 bits of their own hash.
    hashers: [RandomState; 2],
    /// The hash of what a key serialises to, and the batch that had it.
    hashes: HashMap<[u64; 2], (KeyHash, u64), RandomState>,
    remaining: usize,
}

impl FirstKeys {
    /// Looks at the first `limit` keys.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            is_over: AtomicBool::new(limit == 0),
            noted: Mutex::new(Noted {
                hashers: [RandomState::default(), RandomState::default()],
                hashes: HashMap::default(),
                remaining: limit,
            }),
        }
    }

    /// For keys of type `K`: there is nothing to look at where such keys cannot be.
    pub(crate) fn of<K: ?Sized + 'static>() -> Self {
        Self::new(if is_exact::<K>() { 0 } else { MAX_NOTED })
    }

    /// Looks at keys that a chunk of `batch` has, each with the hash of what it serialises to.
    ///
    /// # Errors
    /// Names a key that is equal to another one of the batch, which serialises to something else.
    pub(crate) fn check<'a, K: Hash + Serialize + ?Sized + 'a>(
        &self,
        batch: u64,
        keys: impl IntoIterator<Item = (KeyHash, &'a K)>,
    ) -> Result<(), String> {
        if self.is_over.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut noted = self.noted.lock();
        for (hash, key) in keys {
            let Some(remaining) = noted.remaining.checked_sub(1) else {
                noted.hashes = HashMap::default();
                self.is_over.store(true, Ordering::Relaxed);
                break;
            };
            noted.remaining = remaining;
            let id = noted.hashers.each_ref().map(|hasher| hasher.hash_one(key));
            let before = noted.hashes.insert(id, (hash, batch));
            if before.is_some_and(|(other, of)| other != hash && of == batch) {
                let key = round_trip::show_value(key);
                return Err(format!("the key {key} {UNEQUAL_BYTES}"));
            }
        }
        Ok(())
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
        assert_eq!(equal_keys.note(&7_u64, KeyHash(3)), None);
        assert_eq!(equal_keys.hashes.capacity(), 0);
    }

    #[test]
    fn the_first_keys_are_compared_within_a_batch_whichever_worker_has_them() {
        let first = FirstKeys::new(6);
        let check = |batch, keys: &[(u64, &str)]| {
            let keys = keys.iter().map(|(hash, key)| (KeyHash(*hash), *key));
            first.check(batch, keys)
        };
        check(1, &[(1, "a"), (2, "b")]).unwrap();
        check(2, &[(3, "a")]).unwrap(); // another batch
        let text = check(2, &[(4, "a")]).unwrap_err();
        assert!(text.contains("the key \"a\" is equal"), "{text}");
        check(3, &[(1, "a"), (1, "a"), (1, "c")]).unwrap();
        assert!(first.is_over.load(Ordering::Relaxed));
        check(3, &[(2, "a")]).unwrap(); // nothing is compared any more
        assert!(first.noted.lock().hashes.is_empty());
    }
}
