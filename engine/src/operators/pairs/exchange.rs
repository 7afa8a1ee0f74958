//! The way of keys to the workers that own their key groups.

use crate::batch::chunk::{Chunk, SequenceKey};
use crate::operators::pairs::first_touch::Keyed;
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
