//! The states of one operator on one worker, by key group.

use crate::codec::round_trip;
use crate::observe::states::KeyCounts;
use crate::record::{Key, State};
use crate::state::equal_keys::{EqualKeys, MAX_NOTED, UNEQUAL_BYTES};
use crate::state::key_group::{KeyGroups, WorkerSlot};
use crate::state::key_hash::KeyHash;
use crate::state::table::block::{self, Block, RestoredState};
use crate::state::table::group::Group;
use crate::state::table::slots::Stamp;
use std::borrow::Borrow;

/// The state of one operator on one worker. `A` is what a batch brings for a key.
#[derive(Debug)]
pub(crate) struct StateTable<K, A, S, T = ()> {
    key_groups: KeyGroups,
    /// By number; those of other workers stay empty.
    groups: Vec<Group<K, A, S, T>>,
    equal_keys: EqualKeys,
}

impl<K: Key, A: Send + 'static, S: State, T: Stamp> StateTable<K, A, S, T> {
    /// Takes over the decoded groups that belong to this worker. Keys without data for longer than
    /// `timeout_ms` time out.
    pub(crate) fn restore(
        restored: &mut RestoredState,
        slot: &WorkerSlot,
        timeout_ms: Option<u64>,
    ) -> Self {
        let group = |number| {
            let owned = slot.groups.owner(number, slot.peers) == slot.index;
            let restored = owned.then(|| restored.remove(&number)).flatten();
            let mut group = restored.map_or_else(Group::new, |group| {
                *group
                    .downcast()
                    .expect("a state is decoded by the decoder of its own operator")
            });
            group.set_timeout(timeout_ms);
            group
        };
        Self {
            key_groups: slot.groups,
            groups: (0..slot.groups.count()).map(group).collect(),
            equal_keys: EqualKeys::new(MAX_NOTED),
        }
    }

    /// Brings the items of the batch at `now_ms` to their keys, in their order, and works off group
    /// by group, in order: `merge` adds an item to what a key has already, `visit` runs the
    /// operator.
    ///
    /// # Errors
    /// What is wrong with a key that cannot be kept. The batch has failed.
    pub(crate) fn apply(
        &mut self,
        now_ms: u64,
        items: impl Iterator<Item = (KeyHash, K, A)>,
        merge: impl FnMut(&mut A, A),
        visit: impl FnMut(u32, &mut Group<K, A, S, T>),
    ) -> Result<(), String> {
        self.apply_keyed(now_ms, &ItsOwnKey, items, merge, visit)
    }

    /// Like [`Self::apply`], with items whose keys are in `keys`. A key is owned only if it is new.
    ///
    /// # Errors
    /// What is wrong with a key that cannot be kept. The batch has failed.
    pub(crate) fn apply_keyed<H, Q: Eq + ToOwned<Owned = K> + ?Sized>(
        &mut self,
        now_ms: u64,
        keys: &impl ItemKeys<H, Q>,
        items: impl Iterator<Item = (KeyHash, H, A)>,
        mut merge: impl FnMut(&mut A, A),
        mut visit: impl FnMut(u32, &mut Group<K, A, S, T>),
    ) -> Result<(), String>
    where
        K: Borrow<Q>,
    {
        let mut buckets: Vec<Vec<(KeyHash, H, A)>> = Vec::new();
        buckets.resize_with(self.groups.len(), Vec::new);
        for item in items {
            let (_, at) = self.group_of(item.0);
            if let Some(bucket) = buckets.get_mut(at) {
                bucket.push(item);
            }
        }
        for ((number, bucket), at) in (0..).zip(buckets).zip(0..) {
            for (hash, key, value) in bucket {
                self.arrive(at, (hash, keys.key(&key), value), &mut merge)?;
            }
            if let Some(group) = self.groups.get_mut(at) {
                group.first_batch(now_ms);
                visit(number, group);
            }
        }
        Ok(())
    }

    /// The number of a key's group, and its place.
    fn group_of(&self, hash: KeyHash) -> (u32, usize) {
        let group = self.key_groups.group_of(hash);
        (group, usize::try_from(group).unwrap_or(usize::MAX))
    }

    fn arrive<Q: Eq + ToOwned<Owned = K> + ?Sized>(
        &mut self,
        at: usize,
        (hash, key, value): (KeyHash, &Q, A),
        merge: &mut impl FnMut(&mut A, A),
    ) -> Result<(), String>
    where
        K: Borrow<Q>,
    {
        let group = self.groups.get_mut(at);
        let group = group.expect("there is a group for every number");
        let Some(value) = group.arrive(hash, key, value, merge) else {
            return Ok(());
        };
        let key = self.own(hash, &key.to_owned())?;
        let group = self.groups.get_mut(at);
        let group = group.expect("there is a group for every number");
        group.arrive_new(hash, key, value)
    }

    /// A new key as the table keeps it: as a checkpoint would give it back, which must be the same
    /// key with the same hash. So a key that cannot be kept fails the batch that brings it. And no
    /// key holds on to the chunk of the log that it came in.
    fn own(&mut self, hash: KeyHash, key: &K) -> Result<K, String> {
        let owned = round_trip::own(key)?;
        let again = self.key_groups.hash(&owned).map_err(|e| e.to_string())?;
        let other = self.equal_keys.note(&owned, hash).filter(|other| {
            let (_, at) = self.group_of(*other);
            self.groups
                .get(at)
                .is_some_and(|group| group.contains(*other, &owned))
        });
        if again == hash && other.is_none() {
            return Ok(owned);
        }
        Err(format!(
            "the key {} {UNEQUAL_BYTES}",
            round_trip::show_value(key)
        ))
    }
}

/// Where the keys of a batch's items are. `H` is what an item has of its key.
pub(crate) trait ItemKeys<H, Q: ?Sized> {
    /// The key of an item.
    fn key<'a>(&'a self, handle: &'a H) -> &'a Q;
}

/// Items have their keys with them.
struct ItsOwnKey;

impl<K> ItemKeys<K, K> for ItsOwnKey {
    fn key<'a>(&'a self, key: &'a K) -> &'a K {
        key
    }
}

/// What the engine does with a state, whatever its types.
pub(crate) trait KeptState {
    /// A batch begins. The one before is kept, or put back if it has failed.
    fn begin(&mut self, failed: bool);
    /// How many keys there are.
    fn counts(&self) -> KeyCounts;
    /// Encodes every group that holds something, for a checkpoint.
    fn snapshot(&mut self) -> Result<Vec<Block>, String>;
    /// The last checkpoint for which [`Self::snapshot`] was called is published.
    fn published(&mut self);
}

impl<K: Key, A: Send + 'static, S: State, T: Stamp> KeptState for StateTable<K, A, S, T> {
    fn begin(&mut self, failed: bool) {
        for group in self.groups.iter_mut().filter(|group| !group.is_settled()) {
            if failed {
                group.roll_back();
            } else {
                group.commit();
            }
        }
    }

    fn counts(&self) -> KeyCounts {
        let groups = self.groups.iter();
        groups.fold(KeyCounts::default(), |sum, group| KeyCounts {
            keys: sum.keys + u64::from(group.len()),
            changed: sum.changed + group.changed_keys(),
        })
    }

    fn snapshot(&mut self) -> Result<Vec<Block>, String> {
        let filled = (0..).zip(&self.groups).filter(|(_, g)| g.len() > 0);
        let blocks = filled.map(|(number, group)| block::encode(number, group.iter()));
        let blocks = blocks.collect::<Result<_, _>>()?;
        self.groups.iter_mut().for_each(Group::capture);
        Ok(blocks)
    }

    fn published(&mut self) {
        self.groups.iter_mut().for_each(Group::published);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::access::StateGuard;

    #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
    struct Name(String);

    impl PartialEq for Name {
        fn eq(&self, other: &Self) -> bool {
            self.0.eq_ignore_ascii_case(&other.0)
        }
    }

    impl Eq for Name {}

    impl std::hash::Hash for Name {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            self.0.to_ascii_lowercase().hash(state);
        }
    }

    /// They would be counted apart, each by its own bytes.
    #[test]
    fn equal_keys_of_other_bytes_are_refused_with_the_key() {
        for count in [1, 8] {
            let groups = KeyGroups::new(count, 7);
            let slot = WorkerSlot {
                index: 0,
                peers: 1,
                groups,
            };
            let mut table: StateTable<Name, u64, u64> =
                StateTable::restore(&mut RestoredState::new(), &slot, None);
            let mut bring = |name: &str| {
                let key = Name(name.to_owned());
                let item = (groups.hash(&key).unwrap(), key, 1);
                table.begin(false);
                table.apply(
                    0,
                    [item].into_iter(),
                    |a, b| *a += b,
                    |_, group| {
                        let mut add = |_: &Name, new: Option<u64>, state: &mut StateGuard<u64>| {
                            *state.get_or_insert_with(|| 0) += new.unwrap_or(0);
                        };
                        group.visit_touched(0, &mut add, &mut |_| ());
                    },
                )
            };
            bring("Other").unwrap();
            bring("Other").unwrap();
            let text = bring("other").unwrap_err();
            assert!(
                text.contains("\"other\"") && text.contains(UNEQUAL_BYTES),
                "{text}"
            );
            assert_eq!(table.counts().keys, 1);
        }
    }
}
