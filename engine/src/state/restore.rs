//! Restoring a state. Entries of a checkpoint become keys and states of the program's types, each
//! in the key group to which its key belongs **now**.
//!
//! A key's type may change and its bytes may still decode: fields change places, one is added with
//! a default, a variant is renamed. The key group follows from what a key serialises to, so such a
//! key has to move. Otherwise it would exist twice: once where the checkpoint has it, never found
//! again, and once where its next record arrives.
//!
//! Key groups are decoded by several threads, each in one go. What comes out does not depend on
//! which was faster: keys that stay are in the order of the checkpoint, and keys that move come
//! after them, in the order of the checkpoint's groups.

use crate::codec::defaulted::Defaulted;
use crate::codec::exact::is_exact;
use crate::codec::noting::Noting;
use crate::codec::round_trip;
use crate::record::{Key, Value};
use crate::state::key_group::{GroupsOnDisk, KeyGroups};
use crate::state::key_hash::{KeyError, KeyHash};
use crate::state::table::block::{self, RawEntry, RestoredGroup, RestoredState, raw_entries};
use crate::state::table::restored::RestoredKeys;
use crate::state::table::slots::{BEFORE_FIRST_BATCH_MS, Stamp};
use crate::state::twins::Twins;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

/// What recovery and checkpoints need to know of a state's types.
pub(crate) trait StateTypes: Send + Sync {
    /// Begins to take in what a checkpoint holds.
    fn restore(&self, groups: Regroup) -> Box<dyn Restore>;
    /// What a state that is new in its directory begins with; `None` if that is nothing.
    fn initial(&self, groups: KeyGroups) -> Result<Option<Restored>, String>;
    /// Reads back every entry of an encoded key group and counts them; an error names the key.
    fn read_back(&self, bytes: &[u8]) -> Result<u64, String>;
}

/// Takes in the state of a checkpoint, key group by key group, from any number of threads.
pub(crate) trait Restore: Send + Sync {
    /// Decodes the entries of a key group as the checkpoint has it, and returns how many there are.
    fn add(&self, group: u32, bytes: &[u8]) -> Result<u64, RestoreError>;
    /// Ends.
    fn finish(self: Box<Self>) -> Result<Restored, RestoreError>;
}

/// The groups of a checkpoint's keys, and those of today.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Regroup {
    pub(crate) from: GroupsOnDisk,
    pub(crate) to: KeyGroups,
    /// The time of the batch that the checkpoint was taken after: what a key counts as visited at
    /// whose last visit the checkpoint does not have.
    pub(crate) time_ms: u64,
}

/// Why an entry of a checkpoint cannot be taken in.
#[derive(Debug)]
pub(crate) enum RestoreError {
    /// It does not decode.
    Undecodable(String),
    /// A key is there already, from another entry.
    SameKey(String),
}

impl From<String> for RestoreError {
    /// What user code says, or that it panicked.
    fn from(what: String) -> Self {
        Self::Undecodable(what)
    }
}

/// The state of one operator, as a checkpoint had it.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    pub(crate) groups: RestoredState,
    pub(crate) keys: u64,
    /// Keys that their checkpoint has in another group than it would have this key: their type has
    /// changed.
    pub(crate) moved: u64,
    /// Whether the checkpoint has the state under another name or in another form: the next one
    /// has all of it.
    pub(crate) write_anew: bool,
    /// Paths of fields that the checkpoint has and the program's types have not; a few of them.
    pub(crate) ignored: BTreeSet<String>,
    /// Paths of fields that the values have and the checkpoint has not; a few of them.
    pub(crate) defaulted: BTreeSet<String>,
    /// What the checkpoint calls the state.
    pub(crate) origin: String,
    /// How many conversions it has gone through now.
    pub(crate) conversions: usize,
}

/// At most so many paths of ignored fields are remembered.
const MAX_IGNORED: usize = 32;

/// The types of a state: its keys, what is kept, and what is kept beside it for timeouts. And what
/// the state begins with.
pub(crate) struct Types<K, S, T = ()> {
    of: PhantomData<fn() -> T>,
    initial: Mutex<Vec<(K, S)>>,
}

impl<K, S, T> Types<K, S, T> {
    pub(crate) fn new(initial: Vec<(K, S)>) -> Self {
        Self {
            of: PhantomData,
            initial: Mutex::new(initial),
        }
    }
}

impl<K: Key, S: Value, T: Stamp> StateTypes for Types<K, S, T> {
    fn restore(&self, groups: Regroup) -> Box<dyn Restore> {
        Box::new(Restoring::<K, S, T> {
            regroup: groups,
            taken_in: Mutex::new(TakenIn {
                blocks: BTreeSet::new(),
                groups: BTreeMap::new(),
                leaving: Vec::new(),
                twins: Twins::default(),
                keys: 0,
                moved: 0,
                otherwise: 0,
                ignored: BTreeSet::new(),
                defaulted: BTreeSet::new(),
            }),
            hasher: Twins::hasher(),
        })
    }

    fn initial(&self, groups: KeyGroups) -> Result<Option<Restored>, String> {
        // Not taken: past batches that are computed again begin with it too.
        let pairs = self.initial.lock().clone();
        if pairs.is_empty() {
            return Ok(None);
        }
        let keys = pairs.len() as u64;
        let mut by_number = BTreeMap::<u32, RestoredKeys<K, S, T>>::new();
        for (key, state) in pairs {
            let hash = groups.hash(&key).map_err(|e| e.to_string())?;
            let group = by_number.entry(groups.group_of(hash));
            let group = group.or_insert_with(RestoredKeys::new);
            group
                .restore(hash, key, state, T::at(BEFORE_FIRST_BATCH_MS))
                .map_err(|key| format!("two of its keys are {}", round_trip::show_value(&key)))?;
        }
        let mut groups = RestoredState::new();
        for (number, mut group) in by_number {
            group.begun();
            groups.insert(number, Box::new(group) as RestoredGroup);
        }
        Ok(Some(Restored {
            groups,
            keys,
            ..Restored::default()
        }))
    }

    fn read_back(&self, bytes: &[u8]) -> Result<u64, String> {
        let mut entries = 0;
        for entry in raw_entries(bytes) {
            let RawEntry { key, state, .. } = entry?;
            round_trip::read_back::<K>(key)
                .map_err(|e| format!("the key {}: {e}", round_trip::show(key)))?;
            round_trip::read_back::<S>(state)
                .map_err(|e| format!("the state of the key {}: {e}", round_trip::show(key)))?;
            entries += 1;
        }
        Ok(entries)
    }
}

/// A key with its hash, state and stamp.
struct Keyed<K, S, T> {
    hash: KeyHash,
    key: K,
    state: S,
    stamp: T,
    /// Whether the program writes key and state as the checkpoint has them.
    same: [bool; 2],
}

/// Keys of a block, with its number.
type FromBlock<K, S, T> = (u32, Vec<Keyed<K, S, T>>);

struct Restoring<K, S, T> {
    regroup: Regroup,
    taken_in: Mutex<TakenIn<K, S, T>>,
    hasher: foldhash::fast::RandomState,
}

/// What all threads have taken in.
struct TakenIn<K, S, T> {
    /// The blocks that were decoded.
    blocks: BTreeSet<u32>,
    groups: BTreeMap<u32, RestoredKeys<K, S, T>>,
    /// Keys that belong to another group than that of their block, by block.
    leaving: Vec<FromBlock<K, S, T>>,
    /// Finds equal keys that serialise differently: they are two entries for one key as well.
    twins: Twins,
    keys: u64,
    moved: u64,
    otherwise: u64,
    ignored: BTreeSet<String>,
    defaulted: BTreeSet<String>,
}

impl<K: Key, S: Value, T: Stamp> Restoring<K, S, T> {
    fn decode(
        &self,
        entry: RawEntry<'_>,
        [keys, states]: &mut [Noting; 2],
        ignored: &mut BTreeSet<String>,
    ) -> Result<Keyed<K, S, T>, String> {
        let mut note = |part: &str, path: String| {
            if ignored.len() < MAX_IGNORED {
                ignored.insert(format!("{part} {path}"));
            }
        };
        let name = || round_trip::show(entry.key);
        let key: K = keys
            .decode(entry.key, &mut |path| note("key:", path))
            .map_err(|e| format!("the key {}: {e}", name()))?;
        let state = states
            .decode(entry.state, &mut |path| note("value:", path))
            .map_err(|e| format!("the value of the key {}: {e}", name()))?;
        let same_state = round_trip::is_written_as(&state, entry.state);
        let same_key = round_trip::is_written_as(&key, entry.key);
        let key = match same_key {
            true => key,
            false => round_trip::own(&key)?,
        };
        let hash = self.regroup.to.hash(&key).map_err(|e| e.to_string())?;
        let stamp = entry.last_visit_ms.unwrap_or(self.regroup.time_ms);
        let same_stamp = entry.last_visit_ms.is_some() == T::at(stamp).time_ms().is_some();
        Ok(Keyed {
            hash,
            key,
            state,
            stamp: T::at(stamp),
            same: [same_key, same_state && same_stamp],
        })
    }
}

fn same_key<K: Key>(key: &K) -> RestoreError {
    RestoreError::SameKey(round_trip::show_value(key))
}

impl<K: Key, S: Value, T: Stamp> Restore for Restoring<K, S, T> {
    fn add(&self, number: u32, bytes: &[u8]) -> Result<u64, RestoreError> {
        let Regroup { from, to, .. } = self.regroup;
        let mut group = RestoredKeys::<K, S, T>::new();
        group.expect(block::count(bytes));
        let (mut leaving, mut ignored) = (Vec::new(), BTreeSet::new());
        let mut twins = Twins::default();
        if !is_exact::<K>() {
            twins.expect(block::count(bytes));
        }
        let mut noting = [Noting::default(), Noting::default()];
        let (mut defaulted, mut added) = (Defaulted::default(), BTreeSet::new());
        let (mut entries, mut moved, mut otherwise) = (0, 0, 0);
        for entry in raw_entries(bytes) {
            let entry = entry.map_err(RestoreError::Undecodable)?;
            let written = entry.state;
            let decoded = self.decode(entry, &mut noting, &mut ignored);
            let keyed = decoded.map_err(RestoreError::Undecodable)?;
            if !keyed.same[1] {
                defaulted.note(&keyed.state, written, &mut |path| {
                    added.insert(path);
                });
            }
            let belonged = from.group(&keyed.key, to, keyed.hash);
            let belonged =
                belonged.map_err(|e: KeyError| RestoreError::Undecodable(e.to_string()))?;
            if !is_exact::<K>() {
                twins.note(&self.hasher, &keyed.key);
            }
            moved += u64::from(belonged != number);
            otherwise += u64::from(!keyed.same[0]);
            entries += 1;
            if to.group_of(keyed.hash) == number {
                let Keyed {
                    hash,
                    key,
                    state,
                    stamp,
                    same: [_, same_state],
                } = keyed;
                if let Err(key) = group.restore(hash, key, state, stamp) {
                    return Err(same_key(&key));
                }
                if !same_state {
                    group.restored_otherwise();
                }
            } else {
                leaving.push(keyed);
            }
        }
        let mut all = self.taken_in.lock();
        if !all.blocks.insert(number) {
            let what = format!("the key group {number} is there twice");
            return Err(RestoreError::Undecodable(what));
        }
        if group.len() > 0 {
            all.groups.insert(number, group);
        }
        if !leaving.is_empty() {
            all.leaving.push((number, leaving));
        }
        all.twins.append(twins);
        all.ignored.append(&mut ignored);
        all.defaulted.append(&mut added);
        all.keys += entries;
        all.moved += moved;
        all.otherwise += otherwise;
        Ok(entries)
    }

    fn finish(self: Box<Self>) -> Result<Restored, RestoreError> {
        let to = self.regroup.to;
        let mut all = self.taken_in.into_inner();
        // Whichever thread was faster. Each block is there once.
        all.leaving.sort_unstable_by_key(|(block, _)| *block);
        for keyed in all.leaving.into_iter().flat_map(|(_, keys)| keys) {
            let group = all.groups.entry(to.group_of(keyed.hash));
            let group = group.or_insert_with(RestoredKeys::new);
            if let Err(key) = group.restore(keyed.hash, keyed.key, keyed.state, keyed.stamp) {
                return Err(same_key(&key));
            }
        }
        let keys = all.groups.values().flat_map(RestoredKeys::iter);
        if let Some(key) = all.twins.find(&self.hasher, keys.map(|(key, ..)| key)) {
            return Err(same_key(key));
        }
        let mut groups = RestoredState::new();
        for (number, mut group) in all.groups {
            group.restored();
            groups.insert(number, Box::new(group) as RestoredGroup);
        }
        Ok(Restored {
            groups,
            keys: all.keys,
            moved: all.moved,
            write_anew: all.moved > 0 || all.otherwise > 0,
            ignored: all.ignored.into_iter().take(MAX_IGNORED).collect(),
            defaulted: all.defaulted.into_iter().take(MAX_IGNORED).collect(),
            ..Restored::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::access::StateGuard;
    use crate::state::key_group::WorkerSlot;
    use crate::state::table::block::{EncodedGroup, RestoredState, migrate};
    use crate::state::table::capture::CapturedGroup;
    use crate::state::table::states::{KeptState, StateTable};

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
            time_ms: 0,
        }
    }

    fn group_of<K: Key>(key: &K) -> u32 {
        let groups = slot().groups;
        groups.group_of(groups.hash(key).unwrap())
    }

    type Table<K, S> = StateTable<K, (), S, ()>;

    fn table<K: Key, S: Value>(restored: &mut RestoredState) -> Table<K, S> {
        StateTable::restore(restored, &slot(), None)
    }

    fn blocks<K: Key, S: Value>(entries: Vec<(K, S)>) -> Vec<EncodedGroup> {
        let mut table = table::<K, S>(&mut RestoredState::new());
        for (key, state) in entries {
            let hash = slot().groups.hash(&key).unwrap();
            let state = std::cell::Cell::new(Some(state));
            table.begin(false);
            table
                .bring((table.group(hash), None), (hash, &key, ()), |(), ()| ())
                .unwrap();
            table.visit(0, |visit, _, group| {
                group.visit_touched(
                    visit,
                    &mut |_, _, guard: &mut StateGuard<S>| guard.update(state.take().unwrap()),
                    &mut |_| (),
                );
            });
        }
        table.begin(false);
        let mut groups = Vec::new();
        table.capture(true);
        let mut deliver = |group: Box<dyn CapturedGroup>| groups.push(group);
        assert!(table.copy(&mut || true, &mut deliver));
        let encoded = groups.into_iter().map(|group| group.encode().unwrap());
        encoded.collect()
    }

    fn restored<K: Key, S: Value>(blocks: &[EncodedGroup]) -> Result<Restored, RestoreError> {
        let restore = Types::<K, S>::new(vec![]).restore(same(GROUPS));
        // Whatever the order in which threads take the groups.
        for block in blocks.iter().rev() {
            assert_eq!(restore.add(block.group, &block.bytes)?, block.entries);
        }
        restore.finish()
    }

    /// All keys in the order in which a visit of every key meets them.
    fn entries<K: Key, S: Value>(restored: &mut Restored) -> Vec<(u64, K, S)> {
        let mut found = Vec::new();
        table::<K, S>(&mut restored.groups).visit(0, |_, number, group| {
            let entry =
                |(key, state, ()): (&K, &S, ())| (u64::from(number), key.clone(), state.clone());
            found.extend(group.iter().map(entry));
        });
        found
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
                    .map(|entry| (entry.key.to_vec(), entry.state.to_vec()))
                    .collect::<Vec<_>>()
            });
            let entries: Vec<(Vec<u8>, Vec<u8>)> = entries.collect();
            let restored = |changed: bool| {
                let types = Types::<u32, u32>::new(vec![]);
                let wider = Types::<Option<u32>, u32>::new(vec![]);
                let regroup = Regroup {
                    from,
                    to: new,
                    time_ms: 0,
                };
                let restore = match changed {
                    false => types.restore(regroup),
                    true => wider.restore(regroup),
                };
                let mut blocks = BTreeMap::<u32, Vec<u8>>::new();
                for (key, state) in &entries {
                    let group = on_disk(crate::codec::message_pack::decode(key).unwrap());
                    let bytes = blocks.entry(group).or_default();
                    for part in [key, state] {
                        bytes.extend(u32::try_from(part.len()).unwrap().to_le_bytes());
                        bytes.extend(part);
                    }
                }
                for (group, bytes) in blocks {
                    restore.add(group, &bytes).unwrap();
                }
                restore.finish().unwrap()
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
            let restore = Types::<String, u64>::new(vec![]).restore(same(1));
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

    /// Without an order of their own they would come in that of the threads.
    #[test]
    fn keys_that_move_come_after_those_that_stay_in_the_order_of_the_checkpoint() {
        let old: Vec<(u32, u64)> = (0..200).map(|i| (i, u64::from(i))).collect();
        let blocks = blocks(old);
        let order = |number: u32| {
            let entries = blocks.iter().flat_map(|b| raw_entries(&b.bytes));
            let keys =
                entries.map(|e| crate::codec::message_pack::decode::<u32>(e.unwrap().key).unwrap());
            keys.filter(|key| group_of(&Some(*key)) == number)
                .map(|key| (group_of(&key) != number, key))
                .collect::<Vec<_>>()
        };
        let mut found = restored::<Option<u32>, u64>(&blocks).unwrap();
        let entries = entries::<Option<u32>, u64>(&mut found);
        for number in 0..GROUPS {
            let mut expected = order(number);
            expected.sort_by_key(|(moved, _)| *moved); // stable
            let found = entries
                .iter()
                .filter(|(group, ..)| *group == u64::from(number));
            let found = found.map(|(_, key, _)| key.unwrap());
            assert!(
                found.eq(expected.into_iter().map(|(_, key)| key)),
                "group {number}"
            );
        }
    }

    #[test]
    fn equal_keys_of_two_groups_are_found_among_all_keys() {
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
        let others = (0..1000).map(|i| (format!("name {i}"), i));
        let words = others.chain([("Other".to_owned(), 1), ("other".to_owned(), 2)]);
        match restored::<Name, u64>(&blocks(words.collect())) {
            Err(RestoreError::SameKey(key)) => assert!(key.contains("ther"), "{key}"),
            other => panic!("{other:?}"),
        }
    }
}
