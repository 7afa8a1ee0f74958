//! Restoring a state. Entries of a checkpoint become keys and states of the program's types, each
//! in the key group to which its key belongs **now**.
//!
//! A key's type may change and its bytes may still decode: fields change places, one is added with
//! a default, a variant is renamed. The key group follows from what a key serialises to, so such a
//! key has to move. Otherwise it would exist twice: once where the checkpoint has it, never found
//! again, and once where its next record arrives.

use crate::codec::{message_pack, round_trip};
use crate::record::{Key, State};
use crate::state::equal_keys::EqualKeys;
use crate::state::key_group::{GroupsOnDisk, KeyGroups};
use crate::state::key_hash::KeyError;
use crate::state::table::{Group, RestoredGroup, RestoredState, Slot, raw_entries};
use indexmap::map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

/// What recovery and checkpoints need to know of a state's types.
pub(crate) trait StateTypes: Send + Sync {
    /// Begins to take in what a checkpoint holds.
    fn restore(&self, groups: Regroup) -> Box<dyn Restore>;
    /// Reads back every entry of an encoded key group and counts them; an error names the key.
    fn read_back(&self, bytes: &[u8]) -> Result<u64, String>;
}

/// Takes in the state of a checkpoint, key group by key group.
pub(crate) trait Restore {
    /// Decodes the entries of a key group as the checkpoint has it, and returns how many there are.
    fn add(&mut self, group: u32, bytes: &[u8]) -> Result<u64, RestoreError>;
    /// Ends.
    fn finish(self: Box<Self>) -> Restored;
}

/// The groups of a checkpoint's keys, and those of today.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Regroup {
    pub(crate) from: GroupsOnDisk,
    pub(crate) to: KeyGroups,
}

/// Why an entry of a checkpoint cannot be taken in.
#[derive(Debug)]
pub(crate) enum RestoreError {
    /// It does not decode.
    Undecodable(String),
    /// A key is there already, from another entry.
    SameKey(String),
}

/// The state of one operator, as a checkpoint had it.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    pub(crate) groups: RestoredState,
    pub(crate) keys: u64,
    /// Keys that their checkpoint has in another group than it would have this key: their type has
    /// changed.
    pub(crate) moved: u64,
    /// Paths of fields that the checkpoint has and the program's types have not; a few of them.
    pub(crate) ignored: BTreeSet<String>,
}

/// At most so many paths of ignored fields are remembered.
const MAX_IGNORED: usize = 32;

/// The types of a state: its keys, the values that arrive for them, and what is kept.
pub(crate) struct Types<K, V, S> {
    keys: PhantomData<fn() -> K>,
    values: PhantomData<fn() -> V>,
    states: PhantomData<fn() -> S>,
}

impl<K, V, S> Types<K, V, S> {
    pub(crate) fn new() -> Self {
        Self {
            keys: PhantomData,
            values: PhantomData,
            states: PhantomData,
        }
    }
}

impl<K: Key, V: Send + 'static, S: State> StateTypes for Types<K, V, S> {
    fn restore(&self, groups: Regroup) -> Box<dyn Restore> {
        Box::new(Restoring::<K, V, S> {
            regroup: groups,
            groups: BTreeMap::new(),
            equal_keys: EqualKeys::new(usize::MAX),
            keys: 0,
            moved: 0,
            ignored: BTreeSet::new(),
        })
    }

    fn read_back(&self, bytes: &[u8]) -> Result<u64, String> {
        let mut entries = 0;
        for entry in raw_entries(bytes) {
            let (key, state) = entry?;
            round_trip::read_back::<K>(key)
                .map_err(|e| format!("the key {}: {e}", round_trip::show(key)))?;
            round_trip::read_back::<S>(state)
                .map_err(|e| format!("the state of the key {}: {e}", round_trip::show(key)))?;
            entries += 1;
        }
        Ok(entries)
    }
}

struct Restoring<K, V, S> {
    regroup: Regroup,
    groups: BTreeMap<u32, Group<K, V, S>>,
    /// Equal keys of different groups are two entries for one key as well.
    equal_keys: EqualKeys,
    keys: u64,
    moved: u64,
    ignored: BTreeSet<String>,
}

impl<K: Key, V: Send + 'static, S: State> Restoring<K, V, S> {
    fn decode(&mut self, key: &[u8], state: &[u8]) -> Result<(K, S), String> {
        let ignored = &mut self.ignored;
        let mut note = |part: &str, path: String| {
            if ignored.len() < MAX_IGNORED {
                ignored.insert(format!("{part} {path}"));
            }
        };
        let name = || round_trip::show(key);
        let owned: K = message_pack::decode_noting(key, &mut |path| note("key:", path))
            .map_err(|e| format!("the key {}: {e}", name()))?;
        let state = message_pack::decode_noting(state, &mut |path| note("value:", path))
            .map_err(|e| format!("the value of the key {}: {e}", name()))?;
        Ok((owned, state))
    }
}

impl<K: Key, V: Send + 'static, S: State> Restore for Restoring<K, V, S> {
    fn add(&mut self, group: u32, bytes: &[u8]) -> Result<u64, RestoreError> {
        let mut entries = 0;
        for entry in raw_entries(bytes) {
            let (raw_key, raw_state) = entry.map_err(RestoreError::Undecodable)?;
            let decoded = self.decode(raw_key, raw_state);
            let (key, state) = decoded.map_err(RestoreError::Undecodable)?;
            let key = round_trip::stays(key, raw_key).map_err(RestoreError::Undecodable)?;
            let Regroup { from, to } = self.regroup;
            let undecodable = |e: KeyError| RestoreError::Undecodable(e.to_string());
            let hash = to.hash(&key).map_err(undecodable)?;
            let belonged = from.group(&key, to, hash).map_err(undecodable)?;
            if let Some(other) = self.equal_keys.note(&key, hash)
                && self
                    .groups
                    .get(&to.group_of(other))
                    .is_some_and(|g| g.keys.contains_key(&key))
            {
                return Err(RestoreError::SameKey(round_trip::show(raw_key)));
            }
            match self
                .groups
                .entry(to.group_of(hash))
                .or_default()
                .keys
                .entry(key)
            {
                Entry::Vacant(place) => place.insert(Slot::new(Some(state))),
                Entry::Occupied(_) => return Err(RestoreError::SameKey(round_trip::show(raw_key))),
            };
            self.moved += u64::from(belonged != group);
            entries += 1;
        }
        self.keys += entries;
        Ok(entries)
    }

    fn finish(self: Box<Self>) -> Restored {
        let groups = self.groups.into_iter();
        Restored {
            groups: groups
                .map(|(number, group)| (number, Box::new(group) as RestoredGroup))
                .collect(),
            keys: self.keys,
            moved: self.moved,
            ignored: self.ignored,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::key_group::WorkerSlot;
    use crate::state::table::{Block, RestoredState, StateTable, migrate};

    const GROUPS: u32 = 8;

    fn slot() -> WorkerSlot {
        WorkerSlot {
            index: 0,
            peers: 1,
            groups: KeyGroups::new(GROUPS, 1),
        }
    }

    fn same(count: u32) -> Regroup {
        let groups = KeyGroups::new(count, 1);
        Regroup {
            from: GroupsOnDisk::Seeded(groups),
            to: groups,
        }
    }

    fn group_of<K: Key>(key: &K) -> u32 {
        let groups = slot().groups;
        groups.group_of(groups.hash(key).unwrap())
    }

    fn blocks<K: Key, S: State>(entries: Vec<(K, S)>) -> Vec<Block> {
        let mut table = StateTable::<K, u64, S>::restore(&mut RestoredState::new(), &slot());
        for (key, state) in entries {
            let hash = slot().groups.hash(&key).unwrap();
            table.arrive(hash, &key, vec![0]).unwrap();
            let (_, group) = table.groups().nth(group_of(&key) as usize).unwrap();
            group.keys.get_mut(&key).unwrap().state = Some(state);
        }
        table.snapshot().unwrap()
    }

    fn restored<K: Key, S: State>(blocks: &[Block]) -> Result<Restored, RestoreError> {
        let mut restore = Types::<K, u64, S>::new().restore(same(GROUPS));
        for block in blocks {
            assert_eq!(restore.add(block.group, &block.bytes)?, block.entries);
        }
        Ok(restore.finish())
    }

    /// All keys in the order in which a visit of every key meets them.
    fn entries<K: Key, S: State>(restored: &mut Restored) -> Vec<(u64, K, S)> {
        let mut table = StateTable::<K, u64, S>::restore(&mut restored.groups, &slot());
        let groups = table.groups();
        groups
            .flat_map(|(number, group)| {
                let keys = group.keys.iter();
                keys.map(move |(k, slot)| (number, k.clone(), slot.state.clone().unwrap()))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn a_group_keeps_its_entries_and_their_order() {
        let words: Vec<(String, u64)> =
            (0..100).map(|i| (format!("w{}", i * 7 % 100), i)).collect();
        let mut found = restored::<String, u64>(&blocks(words.clone())).unwrap();
        assert_eq!((found.keys, found.moved), (100, 0));
        let mut expected: Vec<(u64, String, u64)> = words
            .into_iter()
            .map(|(word, n)| (u64::from(group_of(&word)), word, n))
            .collect();
        expected.sort_by_key(|(group, ..)| *group); // stable: the order of creation stays
        assert_eq!(entries::<String, u64>(&mut found), expected);
    }

    /// A checkpoint of version 1 has its keys in other groups. That is no change of their type.
    #[test]
    fn keys_of_another_hash_are_regrouped_and_do_not_count_as_moved() {
        let (keys, new) = ((0..100_u32).map(|n| (n, n)), slot().groups);
        let old = KeyGroups::new(GROUPS, 77);
        for from in [GroupsOnDisk::Version1(GROUPS), GroupsOnDisk::Seeded(old)] {
            let on_disk = |key: u32| from.group(&key, new, new.hash(&key).unwrap()).unwrap();
            let blocks = blocks(keys.clone().collect()).into_iter();
            let entries = blocks.flat_map(|block| {
                let entries = raw_entries(&block.bytes).map(Result::unwrap);
                entries
                    .map(|(k, v)| (k.to_vec(), v.to_vec()))
                    .collect::<Vec<_>>()
            });
            let entries: Vec<(Vec<u8>, Vec<u8>)> = entries.collect();
            let restored = |changed: bool| {
                let types = Types::<u32, u64, u32>::new();
                let wider = Types::<Option<u32>, u64, u32>::new();
                let regroup = Regroup { from, to: new };
                let mut restore = match changed {
                    false => types.restore(regroup),
                    true => wider.restore(regroup),
                };
                for (key, state) in &entries {
                    let mut bytes = Vec::new();
                    for part in [key, state] {
                        bytes.extend(u32::try_from(part.len()).unwrap().to_le_bytes());
                        bytes.extend(part);
                    }
                    let group = on_disk(message_pack::decode(key).unwrap());
                    restore.add(group, &bytes).unwrap();
                }
                restore.finish()
            };
            let mut found = restored(false);
            assert_eq!((found.keys, found.moved), (100, 0), "{from:?}");
            for (group, key, _) in super::tests::entries::<u32, u32>(&mut found) {
                assert_eq!(group, u64::from(group_of(&key)));
            }
            let mut found = restored(true);
            assert!(found.moved > 50, "{from:?}: {}", found.moved);
            for (group, key, _) in super::tests::entries::<Option<u32>, u32>(&mut found) {
                assert_eq!(group, u64::from(group_of(&key)));
            }
        }
    }

    /// A key of which a field was added found its old state never again: it stayed in the group of
    /// its old bytes.
    #[test]
    fn keys_whose_bytes_change_move_to_the_group_in_which_they_are_looked_for() {
        let old: Vec<(u32, u64)> = (0..100).map(|i| (i, u64::from(i))).collect();
        let mut found = restored::<Option<u32>, u64>(&blocks(old)).unwrap();
        assert!(found.moved > 50, "{}", found.moved);
        let entries = entries::<Option<u32>, u64>(&mut found);
        assert_eq!(entries.len(), 100);
        for (group, key, _) in entries {
            assert_eq!(group, u64::from(group_of(&key)));
        }
    }

    #[test]
    fn two_keys_that_become_one_are_an_error_that_shows_the_key() {
        #[derive(Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        struct Less {
            id: u8,
        }
        #[derive(Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        struct More {
            id: u8,
            region: u8,
        }
        let old = vec![
            (More { id: 1, region: 1 }, 1_u64),
            (More { id: 1, region: 2 }, 2),
        ];
        match restored::<Less, u64>(&blocks(old)) {
            Err(RestoreError::SameKey(key)) => assert!(key.contains("\"id\": 1"), "{key}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields_that_the_types_do_not_have_are_noted() {
        #[derive(Clone, serde::Serialize, serde::Deserialize)]
        struct Old {
            spent: u64,
        }
        #[derive(Clone, serde::Serialize, serde::Deserialize)]
        struct New {
            #[serde(default)]
            spent_cents: u64,
        }
        let found = restored::<u8, New>(&blocks(vec![(1_u8, Old { spent: 7 })])).unwrap();
        assert_eq!(
            found.ignored.into_iter().collect::<Vec<_>>(),
            ["value: spent"]
        );
    }

    #[test]
    fn damaged_blocks_are_errors_never_panics() {
        let bytes = blocks(vec![("key".to_owned(), 300_u64)]).remove(0).bytes;
        for cut in 1..bytes.len() {
            let mut restore = Types::<String, u64, u64>::new().restore(same(1));
            assert!(restore.add(0, &bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn values_migrate_and_keys_stay() {
        let mut old = blocks(vec![("key".to_owned(), 7_u64)]);
        old[0].bytes = migrate::<u64, String>(&old[0].bytes, &|n| format!("n{n}")).unwrap();
        let mut new = restored::<String, String>(&old).unwrap();
        let entries = entries::<String, String>(&mut new);
        assert_eq!((&*entries[0].1, &*entries[0].2), ("key", "n7"));
    }
}
