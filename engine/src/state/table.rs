//! Keyed state: one insertion-ordered map per key group.
//!
//! The order matters: it decides in which order `update_state_by_key` visits keys and so the order
//! of its output. It depends only on the input, never on a hash seed or a thread, and a checkpoint
//! keeps it. So a recovered run emits exactly what the uninterrupted one would have.

use crate::codec::{message_pack, round_trip};
use crate::record::{Key, State};
use crate::state::equal_keys::{EqualKeys, MAX_NOTED, UNEQUAL_BYTES};
use crate::state::key_group::{KeyGroups, WorkerSlot};
use crate::state::key_hash::KeyHash;
use foldhash::fast::RandomState;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::collections::BTreeMap;

/// A map that remembers the order of insertion.
pub(crate) type OrderedMap<K, V> = IndexMap<K, V, RandomState>;

/// The encoded entries of one key group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    pub(crate) group: u32,
    pub(crate) entries: u64,
    pub(crate) bytes: Vec<u8>,
}

/// A key's state and what arrived for it in this batch.
#[derive(Debug)]
pub(crate) struct Slot<V, S> {
    pub(crate) state: Option<S>,
    pub(crate) arrived: Vec<V>,
}

impl<V, S> Slot<V, S> {
    pub(crate) fn new(state: Option<S>) -> Self {
        Self {
            state,
            arrived: Vec::new(),
        }
    }
}

/// One key group: its keys, and which of them this batch has touched, in order of their first
/// value.
#[derive(Debug)]
pub(crate) struct Group<K, V, S> {
    pub(crate) keys: OrderedMap<K, Slot<V, S>>,
    touched: Vec<usize>,
}

impl<K, V, S> Default for Group<K, V, S> {
    fn default() -> Self {
        Self {
            keys: OrderedMap::default(),
            touched: Vec::new(),
        }
    }
}

impl<K: Key, V, S> Group<K, V, S> {
    /// Notes what arrived for the key at `index`.
    fn arrive(&mut self, index: usize, values: Vec<V>) {
        let (_, slot) = self
            .keys
            .get_index_mut(index)
            .expect("the index is that of a key");
        if slot.arrived.is_empty() {
            slot.arrived = values;
            self.touched.push(index);
        } else {
            slot.arrived.extend(values);
        }
    }

    /// The keys for which something arrived since the last call, as indexes into `keys`.
    pub(crate) fn take_touched(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.touched)
    }

    /// Removes the keys that have lost their state.
    pub(crate) fn sweep(&mut self) {
        self.keys.retain(|_, slot| slot.state.is_some());
    }
}

/// The state of one operator on one worker, by key group.
#[derive(Debug)]
pub(crate) struct StateTable<K, V, S> {
    key_groups: KeyGroups,
    groups: Vec<Group<K, V, S>>,
    equal_keys: EqualKeys,
}

impl<K: Key, V: Send + 'static, S: State> StateTable<K, V, S> {
    /// Takes over the decoded groups that belong to this worker.
    pub(crate) fn restore(restored: &mut RestoredState, slot: &WorkerSlot) -> Self {
        let mut table = Self {
            key_groups: slot.groups,
            groups: Vec::new(),
            equal_keys: EqualKeys::new(MAX_NOTED),
        };
        let owns = |group| slot.groups.owner(group, slot.peers) == slot.index;
        let mine: Vec<u32> = restored.keys().copied().filter(|g| owns(*g)).collect();
        for number in mine {
            let Some(group) = restored.remove(&number) else {
                continue;
            };
            *table.group(number) = *group
                .downcast()
                .expect("a state is decoded by the decoder of its own operator");
        }
        table
    }

    /// Notes what arrived for the key with the hash `hash`.
    pub(crate) fn arrive(&mut self, hash: KeyHash, key: &K, values: Vec<V>) -> Result<(), String> {
        let group = self.key_groups.group_of(hash);
        let index = match self.group(group).keys.get_index_of(key) {
            Some(index) => index,
            None => {
                let key = self.own(hash, key)?;
                let (index, _) = self.group(group).keys.insert_full(key, Slot::new(None));
                index
            }
        };
        self.group(group).arrive(index, values);
        Ok(())
    }

    /// A new key as the table keeps it: as a checkpoint would give it back, which must be the same
    /// key in the same group. So a key that cannot be kept fails the batch that brings it. And no
    /// key holds on to the chunk of the log that it came in.
    fn own(&mut self, hash: KeyHash, key: &K) -> Result<K, String> {
        let owned = round_trip::own(key)?;
        let now = self.key_groups.hash(&owned).map_err(|e| e.to_string())?;
        let other = self.equal_keys.note(&owned, hash);
        let other = other.map(|other| self.key_groups.group_of(other));
        let is_there = other.is_some_and(|g| self.group(g).keys.contains_key(&owned));
        if now != hash || is_there {
            let key = round_trip::show_value(key);
            return Err(format!("the key {key} {UNEQUAL_BYTES}"));
        }
        Ok(owned)
    }

    /// A key group.
    fn group(&mut self, group: u32) -> &mut Group<K, V, S> {
        let index = usize::try_from(group).expect("a group number fits the address space");
        if self.groups.len() <= index {
            self.groups.resize_with(index + 1, Group::default);
        }
        self.groups
            .get_mut(index)
            .expect("the groups reach to this one")
    }

    /// All groups, in order.
    pub(crate) fn groups(&mut self) -> impl Iterator<Item = (u64, &mut Group<K, V, S>)> {
        (0..).zip(&mut self.groups)
    }

    /// Encodes every group that holds something.
    pub(crate) fn snapshot(&self) -> Result<Vec<Block>, String> {
        let filled = (0..)
            .zip(&self.groups)
            .filter(|(_, group)| !group.keys.is_empty());
        filled
            .map(|(number, group)| encode(number, &group.keys))
            .collect()
    }
}

/// A group is a sequence of entries, each `u32` length and bytes of the key, `u32` length and bytes
/// of the state.
fn encode<K: Key, V, S: State>(
    group: u32,
    map: &OrderedMap<K, Slot<V, S>>,
) -> Result<Block, String> {
    let mut bytes = Vec::new();
    let mut entries = 0;
    for (key, slot) in map {
        let Some(state) = &slot.state else { continue };
        put(&mut bytes, |out| message_pack::encode_into(key, out))?;
        put(&mut bytes, |out| message_pack::encode_into(state, out))
            .map_err(|e| format!("the state of the key {}: {e}", round_trip::show_value(key)))?;
        entries += 1;
    }
    Ok(Block {
        group,
        entries,
        bytes,
    })
}

fn put(
    out: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), rmp_serde::encode::Error>,
) -> Result<(), String> {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    encode(out).map_err(|e| format!("it does not serialise: {e}"))?;
    let len = u32::try_from(out.len() - at - 4)
        .map_err(|_| "an entry is larger than 4 GiB".to_owned())?;
    out.get_mut(at..at + 4)
        .expect("the place was just reserved")
        .copy_from_slice(&len.to_le_bytes());
    Ok(())
}

/// The raw key and state bytes of each entry of an encoded group.
pub(crate) fn raw_entries(bytes: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), String>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let entry = take(&mut rest).and_then(|key| take(&mut rest).map(|state| (key, state)));
        if entry.is_none() {
            rest = &[];
        }
        Some(entry.ok_or_else(|| "the block ends inside an entry".to_owned()))
    })
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, tail) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let (item, tail) = tail.split_at_checked(len)?;
    *rest = tail;
    Some(item)
}

/// Converts the values of an encoded group from `Old` to `New`.
pub(crate) fn migrate<Old: State, New: State>(
    bytes: &[u8],
    convert: &dyn Fn(Old) -> New,
) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(bytes.len());
    for entry in raw_entries(bytes) {
        let (key, state) = entry?;
        let old = message_pack::decode(state)
            .map_err(|e| format!("a value as {}: {e}", std::any::type_name::<Old>()))?;
        let len = u32::try_from(key.len()).map_err(|_| "a key is larger than 4 GiB".to_owned())?;
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(key);
        put(&mut out, |out| {
            message_pack::encode_into(&convert(old), out)
        })?;
    }
    Ok(out)
}

/// One decoded key group, with the type erased.
pub(crate) type RestoredGroup = Box<dyn Any + Send>;

/// Decoded key groups that wait for the worker that owns them.
pub(crate) type RestoredState = BTreeMap<u32, RestoredGroup>;
