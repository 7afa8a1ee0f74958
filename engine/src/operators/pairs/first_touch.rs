//! Something for each key, in the order in which keys were first touched. The hash of a key is
//! computed once and carried along: it chooses the key group, and it finds the key here.

use crate::state::key_hash::KeyHash;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A key with its hash, and what belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct Keyed<K, V> {
    pub(crate) hash: KeyHash,
    pub(crate) key: K,
    pub(crate) value: V,
}

/// A value for each key, in order of first touch.
#[derive(Debug)]
pub(crate) struct FirstTouch<K, V> {
    items: Vec<Keyed<K, V>>,
    /// Places in `items`.
    places: HashTable<u32>,
}

impl<K, V> Default for FirstTouch<K, V> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            places: HashTable::new(),
        }
    }
}

impl<K, V> FirstTouch<K, V> {
    /// With room for `keys` keys.
    pub(crate) fn with_capacity(keys: usize) -> Self {
        Self {
            items: Vec::with_capacity(keys),
            places: HashTable::with_capacity(keys),
        }
    }

    /// The value of the key of which `is` is true and which hashes to `hash`.
    #[inline]
    pub(crate) fn find(&mut self, hash: KeyHash, is: impl Fn(&K) -> bool) -> Option<&mut V> {
        let items = &self.items;
        let is_key = |place: &u32| {
            let item = items.get(index(*place));
            item.is_some_and(|item| item.hash == hash && is(&item.key))
        };
        let place = index(*self.places.find(hash.0, is_key)?);
        self.items.get_mut(place).map(|item| &mut item.value)
    }

    /// Where a key with this hash is, nearly always the key that is meant.
    ///
    /// Nothing is compared. So the processor looks for several keys at once, each of which takes
    /// it a few cache misses in turn.
    #[inline]
    pub(crate) fn guess(&self, hash: KeyHash) -> Option<u32> {
        let has_hash = |place: &u32| {
            self.items
                .get(index(*place))
                .is_some_and(|i| i.hash == hash)
        };
        self.places.find(hash.0, has_hash).copied()
    }

    /// Whether the key of which `is` is true is at a guess. Where several keys are compared in a
    /// row, the processor waits for what is not in the cache once.
    #[inline]
    pub(crate) fn is_at(&self, guess: u32, is: impl Fn(&K) -> bool) -> bool {
        let item = self.items.get(index(guess));
        item.is_some_and(|item| is(&item.key))
    }

    /// Like [`Self::find`], for a key that is where it was `found`, if it was.
    #[inline]
    pub(crate) fn find_at(
        &mut self,
        found: Option<u32>,
        hash: KeyHash,
        is: impl Fn(&K) -> bool,
    ) -> Option<&mut V> {
        debug_assert!(found.is_none_or(|place| self.is_at(place, &is)));
        match found {
            Some(place) => self.items.get_mut(index(place)).map(|i| &mut i.value),
            None => self.find(hash, is),
        }
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether `key` is there, with the hash `hash`.
    pub(crate) fn has(&self, hash: KeyHash, key: &K) -> bool
    where
        K: Eq,
    {
        let items = &self.items;
        let is_key = |place: &u32| {
            let item = items.get(index(*place));
            item.is_some_and(|item| item.hash == hash && item.key == *key)
        };
        self.places.find(hash.0, is_key).is_some()
    }

    /// Adds a key that is not there.
    #[inline]
    pub(crate) fn insert(&mut self, hash: KeyHash, key: K, value: V) {
        let place = u32::try_from(self.items.len()).expect("memory holds fewer than 2^32 keys");
        self.items.push(Keyed { hash, key, value });
        let items = &self.items;
        let hash_of = |place: &u32| items.get(index(*place)).map_or(0, |item| item.hash.0);
        self.places.insert_unique(hash.0, place, hash_of);
    }

    /// Takes out all keys; memory is kept for the next ones.
    pub(crate) fn take(&mut self) -> Vec<Keyed<K, V>> {
        self.places.clear();
        std::mem::take(&mut self.items)
    }
}

impl<K: Eq, V: Default> FirstTouch<K, V> {
    /// The place of `key` among all keys, the key, and its value: the default at the first touch.
    /// It hashes to `hash` and is where it was `found`, if it was.
    #[inline]
    fn touch(&mut self, found: Option<u32>, hash: KeyHash, key: K) -> (u32, &K, &mut V) {
        debug_assert!(found.is_none_or(|place| self.is_at(place, |there| *there == key)));
        let items = &mut self.items;
        let place = match found {
            Some(place) => place,
            None => {
                let is_key = |place: &u32| {
                    let item = items.get(index(*place));
                    item.is_some_and(|item| item.hash == hash && item.key == key)
                };
                let hash_of = |place: &u32| items.get(index(*place)).map_or(0, |item| item.hash.0);
                match self.places.entry(hash.0, is_key, hash_of) {
                    Entry::Occupied(found) => *found.get(),
                    Entry::Vacant(vacant) => {
                        let place = u32::try_from(items.len());
                        let place = place.expect("memory holds fewer than 2^32 keys");
                        vacant.insert(place);
                        let value = V::default();
                        items.push(Keyed { hash, key, value });
                        place
                    }
                }
            }
        };
        let item = items.get_mut(index(place));
        let item = item.expect("a place is that of an item");
        (place, &item.key, &mut item.value)
    }

    /// The value of `key`, which hashes to `hash`; its default at the first touch.
    #[inline]
    pub(crate) fn value(&mut self, hash: KeyHash, key: K) -> &mut V {
        self.touch(None, hash, key).2
    }

    /// The same, with the key.
    #[inline]
    pub(crate) fn entry(&mut self, hash: KeyHash, key: K) -> (&K, &mut V) {
        let (_, key, value) = self.touch(None, hash, key);
        (key, value)
    }

    /// Brings a block to its keys, in its order: `f` is given what came with a key, the place of
    /// the key among all, the key, and its value.
    pub(crate) fn bring<W>(
        &mut self,
        block: &mut Block<K, W>,
        mut f: impl FnMut(W, u32, &K, &mut V),
    ) {
        let mut found = [None; BLOCK];
        for (found, item) in found.iter_mut().zip(&block.items) {
            *found = self.guess(item.hash);
        }
        for (found, item) in found.iter_mut().zip(&block.items) {
            *found = found.filter(|guess| self.is_at(*guess, |key| *key == item.key));
        }
        for (found, item) in found.into_iter().zip(block.items.drain(..)) {
            let (place, key, value) = self.touch(found, item.hash, item.key);
            f(item.value, place, key, value);
        }
    }
}

/// So many keys are looked for together.
pub(crate) const BLOCK: usize = 64;

/// Keys that are looked for together, each with what comes with it.
#[derive(Debug)]
pub(crate) struct Block<K, W> {
    items: Vec<Keyed<K, W>>,
}

impl<K, W> Block<K, W> {
    pub(crate) fn new() -> Self {
        Self {
            items: Vec::with_capacity(BLOCK),
        }
    }

    /// Adds a key. Whether the block is full: then it must be brought to its keys.
    #[inline]
    pub(crate) fn push(&mut self, hash: KeyHash, key: K, value: W) -> bool {
        self.items.push(Keyed { hash, key, value });
        self.items.len() == BLOCK
    }
}

#[inline]
fn index(place: u32) -> usize {
    usize::try_from(place).expect("a place fits the address space")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_key_and_come_out_in_order_of_first_touch() {
        let mut keys = FirstTouch::<String, Vec<u32>>::default();
        for round in 0..3 {
            for n in (0..100_u32).rev() {
                let key = format!("key{n}");
                // Few hashes, so that equality has to decide.
                let hash = KeyHash(u64::from(n % 7) << 57 | u64::from(n % 3));
                keys.value(hash, key).push(round * 100 + n);
            }
            if round == 1 {
                let items = keys.take();
                let found = items.iter().map(|item| item.key.clone());
                let expected = (0..100).rev().map(|n| format!("key{n}"));
                assert!(found.eq(expected));
                assert!(items.iter().all(|item| item.value.len() == 2));
            }
        }
        let values: Vec<Vec<u32>> = keys.take().into_iter().map(|item| item.value).collect();
        let expected: Vec<Vec<u32>> = (0..100).rev().map(|n| vec![200 + n]).collect();
        assert_eq!(values, expected);
    }

    #[test]
    fn keys_may_be_found_by_what_they_stand_for() {
        let words = ["b", "a", "b", "c", "a", "b"];
        let mut counts = FirstTouch::<usize, u32>::with_capacity(1);
        for (at, word) in words.iter().enumerate() {
            let hash = KeyHash(1);
            match counts.find(hash, |first| words[*first] == *word) {
                Some(count) => *count += 1,
                None => counts.insert(hash, at, 1),
            }
        }
        let found = counts.take().into_iter().map(|item| (item.key, item.value));
        assert_eq!(found.collect::<Vec<_>>(), [(0, 3), (1, 2), (3, 1)]);
        assert!(counts.find(KeyHash(1), |_| true).is_none());
    }
}
