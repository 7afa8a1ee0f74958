//! The way of keys to the workers that own their key groups.

use crate::batch::chunk::{Order, Parcel};
use crate::plan::operator_context::Site;
use crate::record::{Key, Value};
use crate::state::key_group::WorkerSlot;

/// A key's values on their way to the worker that owns its key group.
pub(crate) type Grouped<K, V> = (u32, K, Vec<V>);

/// One parcel for each worker that owns one of the keys.
pub(crate) fn send_by_key<K: Key, V: Value>(
    slot: &WorkerSlot,
    site: &Site,
    order: &Order,
    keys: impl IntoIterator<Item = (K, Vec<V>)>,
    out: &mut Vec<Parcel>,
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
            Err(error) => site.fail(error.to_string()),
        }
    }
    let parcels = by_target
        .into_iter()
        .enumerate()
        .filter(|(_, items)| !items.is_empty());
    out.extend(parcels.map(|(target, items)| Parcel::new(order.clone(), target, items)));
}
