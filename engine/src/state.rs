//! Keyed state: one insertion-ordered map per key group.
//!
//! The order matters: it decides in which order `update_state_by_key` visits keys and so the order of its output. It
//! depends only on the input (never on a hash seed or a thread), and a checkpoint keeps it, so that a recovered run
//! emits exactly what the uninterrupted one would have.

use crate::codec;
use crate::graph::{RestoredGroup, RestoredState, StateDecoder};
use crate::record::{Key, State};
use foldhash::fast::RandomState;
use indexmap::IndexMap;
use std::sync::Arc;

/// A map that remembers the order of insertion.
pub(crate) type OrderedMap<K, V> = IndexMap<K, V, RandomState>;

/// The encoded entries of one key group.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    fn new(state: Option<S>) -> Self {
        Self {
            state,
            arrived: Vec::new(),
        }
    }
}

/// One key group: its keys, and which of them this batch has touched, in order of their first value.
#[derive(Debug)]
pub(crate) struct Group<K, V, S> {
    pub(crate) keys: OrderedMap<K, Slot<V, S>>,
    touched: Vec<usize>,
}

impl<K: Key, V, S> Group<K, V, S> {
    fn empty() -> Self {
        Self {
            keys: OrderedMap::default(),
            touched: Vec::new(),
        }
    }

    /// Notes what arrived for a key.
    pub(crate) fn arrive(&mut self, key: K, values: Vec<V>) {
        let entry = self.keys.entry(key);
        let index = entry.index();
        let slot = entry.or_insert_with(|| Slot::new(None));
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
    groups: Vec<Group<K, V, S>>,
}

impl<K: Key, V, S: State> StateTable<K, V, S> {
    /// Takes over the decoded groups that belong to this worker.
    pub(crate) fn restore(restored: &mut RestoredState, owns: impl Fn(u32) -> bool) -> Self {
        let mut table = Self { groups: Vec::new() };
        let mine: Vec<u32> = restored.keys().copied().filter(|g| owns(*g)).collect();
        for group in mine {
            let Some(entries) = restored.remove(&group) else {
                continue;
            };
            let entries = *entries
                .downcast::<Vec<(K, S)>>()
                .expect("a state is decoded by the decoder of its own operator");
            let entries = entries
                .into_iter()
                .map(|(key, state)| (key, Slot::new(Some(state))));
            table.group(group).keys.extend(entries);
        }
        table
    }

    /// A key group.
    pub(crate) fn group(&mut self, group: u32) -> &mut Group<K, V, S> {
        let index = usize::try_from(group).expect("a group number fits the address space");
        if self.groups.len() <= index {
            self.groups.resize_with(index + 1, Group::empty);
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

/// A group is a sequence of entries, each `u32` length and bytes of the key, `u32` length and bytes of the state.
fn encode<K: Key, V, S: State>(
    group: u32,
    map: &OrderedMap<K, Slot<V, S>>,
) -> Result<Block, String> {
    let mut bytes = Vec::new();
    let mut entries = 0;
    for (key, slot) in map {
        let Some(state) = &slot.state else { continue };
        put(&mut bytes, |out| codec::encode_into(key, out))?;
        put(&mut bytes, |out| codec::encode_into(state, out))?;
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
    encode(out).map_err(|e| format!("the state does not serialise: {e}"))?;
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

/// Decodes the blocks of a state whose keys are `K` and whose values are `S`.
pub(crate) fn decoder<K: Key, S: State>() -> StateDecoder {
    Arc::new(|_group, bytes| {
        let entries: Result<Vec<(K, S)>, String> = raw_entries(bytes)
            .map(|entry| {
                let (key, state) = entry?;
                let key = codec::decode(key).map_err(|e| format!("a key: {e}"))?;
                let state = codec::decode(state).map_err(|e| format!("a value: {e}"))?;
                Ok((key, state))
            })
            .collect();
        Ok(Box::new(entries?) as RestoredGroup)
    })
}

/// Converts the values of an encoded group from `Old` to `New`.
pub(crate) fn migrate<Old: State, New: State>(
    bytes: &[u8],
    convert: &dyn Fn(Old) -> New,
) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(bytes.len());
    for entry in raw_entries(bytes) {
        let (key, state) = entry?;
        let old = codec::decode(state)
            .map_err(|e| format!("a value as {}: {e}", std::any::type_name::<Old>()))?;
        let len = u32::try_from(key.len()).map_err(|_| "a key is larger than 4 GiB".to_owned())?;
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(key);
        put(&mut out, |out| codec::encode_into(&convert(old), out))?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_keeps_its_entries_and_their_order() {
        let mut table =
            StateTable::<String, u64, u64>::restore(&mut RestoredState::new(), |_| true);
        for (i, word) in ["zebra", "ant", "bee"].iter().enumerate() {
            table
                .group(3)
                .keys
                .insert((*word).to_owned(), Slot::new(Some(i as u64)));
        }
        let blocks = table.snapshot().unwrap();
        assert_eq!(
            (blocks.len(), blocks[0].group, blocks[0].entries),
            (1, 3, 3)
        );
        let decoded = decoder::<String, u64>()(3, &blocks[0].bytes).unwrap();
        let entries = *decoded.downcast::<Vec<(String, u64)>>().unwrap();
        assert_eq!(
            entries,
            [
                ("zebra".to_owned(), 0),
                ("ant".to_owned(), 1),
                ("bee".to_owned(), 2)
            ]
        );
    }

    #[test]
    fn damaged_blocks_are_errors_never_panics() {
        let mut table =
            StateTable::<String, u64, u64>::restore(&mut RestoredState::new(), |_| true);
        table
            .group(0)
            .keys
            .insert("key".into(), Slot::new(Some(300)));
        let bytes = table.snapshot().unwrap().remove(0).bytes;
        for cut in 1..bytes.len() {
            assert!(
                decoder::<String, u64>()(0, &bytes[..cut]).is_err(),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn values_migrate_and_keys_stay() {
        let mut table =
            StateTable::<String, u64, u64>::restore(&mut RestoredState::new(), |_| true);
        table.group(0).keys.insert("key".into(), Slot::new(Some(7)));
        let old = table.snapshot().unwrap().remove(0).bytes;
        let new = migrate::<u64, String>(&old, &|n| format!("n{n}")).unwrap();
        let decoded = decoder::<String, String>()(0, &new).unwrap();
        assert_eq!(
            *decoded.downcast::<Vec<(String, String)>>().unwrap(),
            [("key".to_owned(), "n7".to_owned())]
        );
    }
}
