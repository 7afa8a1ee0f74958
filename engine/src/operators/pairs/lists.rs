//! Lists of values, one for each key, that lie together: a list costs no allocation of its own.

use crate::operators::pairs::first_touch::{Block, FirstTouch, Keyed};
use crate::state::key_hash::KeyHash;

/// What a chunk has of each key, in the order of first touch.
#[derive(Debug, Clone)]
pub(crate) struct ChunkLists<K, V> {
    /// Each key with the number of its values.
    pub(crate) keys: Vec<Keyed<K, u32>>,
    /// The values of the first key, of the second, and so on; those of one key in order.
    pub(crate) values: Vec<V>,
}

/// The values of a key of [`ChunkLists`], which are the next `count` ones.
#[inline]
pub(crate) fn values_of<V>(
    count: u32,
    values: &mut impl Iterator<Item = V>,
) -> impl Iterator<Item = V> {
    values.take(index(count))
}

/// The lists of a chunk, while they grow.
#[derive(Debug)]
pub(crate) struct Growing<K, V> {
    keys: FirstTouch<K, u32>,
    block: Block<K, V>,
    /// Values as they come, and the place of each one's key.
    values: Vec<V>,
    places: Vec<u32>,
}

impl<K: Eq, V> Growing<K, V> {
    /// With room for `keys` keys and `values` values.
    pub(crate) fn with_capacity(keys: usize, values: usize) -> Self {
        Self {
            keys: FirstTouch::with_capacity(keys),
            block: Block::new(),
            values: Vec::with_capacity(values),
            places: Vec::with_capacity(values),
        }
    }

    /// Adds a value of `key`, which hashes to `hash`.
    #[inline]
    pub(crate) fn push(&mut self, hash: KeyHash, key: K, value: V) {
        if self.block.push(hash, key, value) {
            self.bring();
        }
    }

    fn bring(&mut self) {
        self.keys.bring(&mut self.block, |value, place, _, count| {
            *count = sum(*count, 1);
            self.places.push(place);
            self.values.push(value);
        });
    }

    /// All that was added.
    pub(crate) fn finish(mut self) -> ChunkLists<K, V> {
        self.bring();
        let keys = self.keys.take();
        // Where each key has one value, they came in the order of their keys.
        let values = match keys.len() == self.values.len() {
            true => self.values,
            false => arrange(
                self.values.into_iter(),
                &self.places,
                keys.iter().map(|key| key.value),
            ),
        };
        ChunkLists { keys, values }
    }
}

/// Puts values into the order of their places; those of one place keep their order. `counts` says
/// how many each place has.
fn arrange<V>(
    values: impl Iterator<Item = V>,
    places: &[u32],
    counts: impl Iterator<Item = u32>,
) -> Vec<V> {
    let mut next: Vec<u32> = counts
        .scan(0, |end, count| {
            Some(std::mem::replace(end, sum(*end, count)))
        })
        .collect();
    let mut order = vec![0_u32; places.len()];
    for (value, place) in (0..).zip(places) {
        let next = at(&mut next, *place);
        *at(&mut order, *next) = value;
        *next += 1;
    }
    let mut all: Vec<Option<V>> = Vec::with_capacity(places.len());
    all.extend(values.map(Some));
    assert_eq!(places.len(), all.len(), "every value has its place");
    let taken = order.into_iter().map(|value| at(&mut all, value).take());
    taken
        .map(|value| value.expect("a value has one place"))
        .collect()
}

#[inline]
fn index(number: u32) -> usize {
    usize::try_from(number).expect("a number fits the address space")
}

fn sum(a: u32, b: u32) -> u32 {
    a.checked_add(b)
        .expect("a batch has fewer than 2^32 values of one key group")
}

#[inline]
fn at<T>(list: &mut [T], place: u32) -> &mut T {
    list.get_mut(index(place))
        .expect("a place is below the number of places")
}

/// Entries of a page.
const PAGE: usize = 1024;

/// A list that only grows, in pages: growing moves nothing, and leaves no memory behind.
#[derive(Debug)]
struct Pages<T>(Vec<Vec<T>>);

impl<T> Pages<T> {
    #[inline]
    fn push(&mut self, entry: T) {
        match self.0.last_mut() {
            Some(page) if page.len() < PAGE => page.push(entry),
            last => {
                // The first page grows: most groups of a small batch have few entries.
                let room = last.map_or(0, |_| PAGE);
                let mut page = Vec::with_capacity(room);
                page.push(entry);
                self.0.push(page);
            }
        }
    }

    fn into_iter(self) -> impl Iterator<Item = T> {
        self.0.into_iter().flatten()
    }

    fn into_vec(self) -> Vec<T> {
        let mut all = Vec::with_capacity(self.0.iter().map(Vec::len).sum());
        all.extend(self.into_iter());
        all
    }
}

/// The number of a list among [`Lists`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct List(u32);

impl List {
    /// That of the key at `place` among those that a batch touches.
    #[inline]
    pub(crate) fn of_place(place: u32) -> Self {
        Self(place)
    }
}

/// Lists that grow in turns.
#[derive(Debug)]
pub(crate) struct Lists<V> {
    /// In the order in which they came.
    values: Pages<V>,
    /// The list of each value.
    places: Pages<u32>,
}

impl<V> Default for Lists<V> {
    fn default() -> Self {
        Self {
            values: Pages(Vec::new()),
            places: Pages(Vec::new()),
        }
    }
}

impl<V> Lists<V> {
    /// Adds values whose list is said later: [`Self::assign`] is called for all values, in the
    /// order in which they were added.
    #[inline]
    pub(crate) fn extend(&mut self, values: impl Iterator<Item = V>) {
        values.for_each(|value| self.values.push(value));
    }

    /// The next `count` values belong to `list`.
    #[inline]
    pub(crate) fn assign(&mut self, List(list): List, count: u32) {
        (0..count).for_each(|_| self.places.push(list));
    }

    /// No more values come.
    pub(crate) fn arrange(self) -> Arranged<V> {
        let places = self.places.into_vec();
        let lists = places.iter().max().map_or(0, |last| index(*last) + 1);
        let mut counts = vec![0; lists];
        for place in &places {
            let count = at(&mut counts, *place);
            *count = sum(*count, 1);
        }
        let values = match places.len() > lists {
            true => arrange(self.values.into_iter(), &places, counts.iter().copied()),
            false => self.values.into_vec(),
        };
        let ends = counts.iter().scan(0, |end, count| {
            *end = sum(*end, *count);
            Some(*end)
        });
        Arranged {
            values,
            ends: ends.collect(),
            counts,
        }
    }
}

/// Lists that are read.
#[derive(Debug)]
pub(crate) struct Arranged<V> {
    values: Vec<V>,
    /// How many values each list has, and where it ends.
    counts: Vec<u32>,
    ends: Vec<u32>,
}

impl<V> Arranged<V> {
    /// The values of a list.
    #[inline]
    pub(crate) fn get(&self, List(list): List) -> &[V] {
        let end = self.ends.get(index(list)).copied();
        let count = self.counts.get(index(list)).copied();
        let range = end.zip(count).map(|(end, n)| index(end - n)..index(end));
        let values = range.and_then(|range| self.values.get(range));
        values.expect("a list that was begun has values")
    }

    /// All lists, one after the other, in the order in which they were begun.
    pub(crate) fn into_lists(self) -> IntoLists<V> {
        IntoLists {
            values: self.values.into_iter(),
            counts: self.counts.into_iter(),
            next: 0,
        }
    }
}

/// Lists that are handed out.
#[derive(Debug)]
pub(crate) struct IntoLists<V> {
    values: std::vec::IntoIter<V>,
    counts: std::vec::IntoIter<u32>,
    next: u32,
}

impl<V> IntoLists<V> {
    /// The values of a list. Lists are taken in their order, each with all its values.
    pub(crate) fn take(&mut self, list: List) -> impl ExactSizeIterator<Item = V> {
        assert_eq!(list.0, self.next, "lists are taken in their order");
        self.next += 1;
        let count = self.counts.next().unwrap_or_default();
        self.values.by_ref().take(index(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn random(seed: &mut u64) -> usize {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(*seed >> 40).unwrap()
    }

    /// Beside a map of vectors: one key, few keys, and as many keys as values.
    #[test]
    fn a_chunk_keeps_the_order_of_keys_and_of_the_values_of_each() {
        let mut seed = 7;
        for (values, keys) in [
            (0, 1),
            (1, 1),
            (100, 1),
            (100, 7),
            (1000, 900),
            (50, 1 << 20),
        ] {
            let mut growing = Growing::with_capacity(0, 0);
            let (mut order, mut model) = (Vec::new(), BTreeMap::<usize, Vec<String>>::new());
            for n in 0..values {
                let key = random(&mut seed) % keys;
                let value = format!("{key}:{n}");
                growing.push(KeyHash(key as u64 % 5), key, value.clone());
                let list = model.entry(key).or_default();
                if list.is_empty() {
                    order.push(key);
                }
                list.push(value);
            }
            let lists = growing.finish();
            assert!(lists.keys.iter().map(|item| item.key).eq(order.clone()));
            assert!(
                lists
                    .keys
                    .iter()
                    .all(|item| index(item.value) == model[&item.key].len())
            );
            let expected = order.iter().flat_map(|key| &model[key]);
            assert!(lists.values.iter().eq(expected));
        }
    }

    #[test]
    fn lists_that_grow_in_turns_are_read_one_by_one() {
        let mut seed = 9;
        for (runs, keys) in [(0_u32, 1), (1, 1), (200, 1), (300, 20), (40, 1 << 20)] {
            let mut lists = Lists::default();
            let mut model: Vec<Vec<String>> = Vec::new();
            let mut numbers = BTreeMap::new();
            for run in 0..runs {
                // Values wait in one vector before it is said where they belong.
                let (key, count) = (random(&mut seed) % keys, 1 + run % 3);
                let values: Vec<String> = (0..count).map(|n| format!("{key}:{run}.{n}")).collect();
                lists.extend(values.clone().into_iter());
                let list = *numbers.entry(key).or_insert(model.len());
                model.resize_with(model.len().max(list + 1), Vec::new);
                model[list].extend(values);
                lists.assign(List(u32::try_from(list).unwrap()), count);
            }
            let lists = lists.arrange();
            for (n, expected) in (0..).zip(&model) {
                assert_eq!(lists.get(List(n)), expected);
            }
            let mut all = lists.into_lists();
            for (n, expected) in (0..).zip(&model) {
                assert!(all.take(List(n)).eq(expected.iter().cloned()));
            }
        }
    }
}
