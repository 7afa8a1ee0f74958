//! The first keys of a walk that meets them in no order.

use std::collections::BTreeMap;

/// The smallest keys that came, at most so many.
#[derive(Debug)]
pub(super) struct First<K, V> {
    limit: usize,
    pairs: BTreeMap<K, V>,
}

impl<K: Ord, V> First<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            pairs: BTreeMap::new(),
        }
    }

    /// Whether `key` is among the first ones, as far as they have come. Not one that is there.
    pub(super) fn wants(&self, key: &K) -> bool {
        let last = self.pairs.last_key_value();
        let last = last.filter(|_| self.pairs.len() >= self.limit);
        let is_first = last.is_none_or(|(last, _)| key < last);
        self.limit > 0 && is_first && !self.pairs.contains_key(key)
    }

    /// Adds one that it wants.
    pub(super) fn add(&mut self, key: K, value: V) {
        self.pairs.insert(key, value);
        if self.pairs.len() > self.limit {
            self.pairs.pop_last();
        }
    }

    /// All of them, ascending.
    pub(super) fn into_pairs(self) -> impl Iterator<Item = (K, V)> {
        self.pairs.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_smallest_whatever_their_order() {
        for limit in 0..8 {
            let mut first = First::new(limit);
            for key in [5, 3, 9, 1, 3, 7, 5, 2] {
                if first.wants(&key) {
                    first.add(key, ());
                }
            }
            let expected = [1, 2, 3, 5, 7, 9].into_iter().take(limit);
            assert!(first.into_pairs().map(|(key, ())| key).eq(expected));
        }
    }
}
