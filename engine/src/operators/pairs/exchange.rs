//! The way of keys to the workers that own their key groups.

use crate::batch::chunk::{Chunk, SequenceKey};
use crate::operators::pairs::first_touch::Keyed;
use crate::operators::pairs::lists::{self, ChunkLists};
use crate::record::{Key, Value};
use crate::state::key_group::WorkerSlot;

/// One chunk for each worker that owns one of the keys. Items keep their order.
pub(crate) fn send_by_key<K: Key, V: Value>(
    slot: &WorkerSlot,
    sequence: &SequenceKey,
    items: Vec<Keyed<K, V>>,
    out: &mut Vec<Chunk>,
) {
    let mut by_target: Vec<Vec<Keyed<K, V>>> = Vec::new();
    if slot.peers == 1 {
        by_target.push(items);
    } else {
        let share = items.len() / slot.peers;
        by_target.resize_with(slot.peers, || Vec::with_capacity(share + share / 8));
        for item in items {
            let owner = slot
                .groups
                .owner(slot.groups.group_of(item.hash), slot.peers);
            by_target
                .get_mut(owner)
                .expect("an owner is one of the peers")
                .push(item);
        }
    }
    let chunks = by_target
        .into_iter()
        .enumerate()
        .filter(|(_, items)| !items.is_empty());
    out.extend(chunks.map(|(target, items)| Chunk::new(sequence.clone(), target, items)));
}

/// The same for lists of values.
pub(crate) fn send_lists<K: Key, V: Value>(
    slot: &WorkerSlot,
    sequence: &SequenceKey,
    lists: ChunkLists<K, V>,
    out: &mut Vec<Chunk>,
) {
    let mut by_target: Vec<ChunkLists<K, V>> = Vec::new();
    if slot.peers == 1 {
        by_target.push(lists);
    } else {
        let share = |all: usize| all / slot.peers + all / slot.peers / 8;
        let (keys, values) = (share(lists.keys.len()), share(lists.values.len()));
        by_target.resize_with(slot.peers, || ChunkLists {
            keys: Vec::with_capacity(keys),
            values: Vec::with_capacity(values),
        });
        let mut values = lists.values.into_iter();
        for item in lists.keys {
            let owner = slot
                .groups
                .owner(slot.groups.group_of(item.hash), slot.peers);
            let target = by_target.get_mut(owner);
            let target = target.expect("an owner is one of the peers");
            target
                .values
                .extend(lists::values_of(item.value, &mut values));
            target.keys.push(item);
        }
    }
    let chunks = by_target
        .into_iter()
        .enumerate()
        .filter(|(_, lists)| !lists.keys.is_empty());
    // A chunk holds a vector of records, also where it is one.
    out.extend(chunks.map(|(target, lists)| Chunk::new(sequence.clone(), target, vec![lists])));
}
