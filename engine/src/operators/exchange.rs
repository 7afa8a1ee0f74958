//! The way of keys to the workers that own their key groups.

use crate::batch::chunk::{Chunk, SequenceKey};
use crate::plan::operator_context::OperatorContext;
use crate::record::{Key, Value};
use crate::state::key_group::WorkerSlot;

/// A key's values on their way to the worker that owns its key group.
pub(crate) type Grouped<K, V> = (u32, K, Vec<V>);

/// One chunk for each worker that owns one of the keys.
pub(crate) fn send_by_key<K: Key, V: Value>(
    slot: &WorkerSlot,
    ctx: &OperatorContext,
    sequence: &SequenceKey,
    keys: impl IntoIterator<Item = (K, Vec<V>)>,
    out: &mut Vec<Chunk>,
) {
    let mut by_target: Vec<Vec<Grouped<K, V>>> = Vec::new();
    by_target.resize_with(slot.peers, Vec::new);
    for (key, values) in keys {
        match slot.groups.group(&key) {
            Ok(group) => {
                let owner = slot.groups.owner(group, slot.peers);
                by_target
                    .get_mut(owner)
                    .expect("an owner is one of the peers")
                    .push((group, key, values));
            }
            Err(error) => ctx.fail(error.to_string()),
        }
    }
    let chunks = by_target
        .into_iter()
        .enumerate()
        .filter(|(_, items)| !items.is_empty());
    out.extend(chunks.map(|(target, items)| Chunk::new(sequence.clone(), target, items)));
}
