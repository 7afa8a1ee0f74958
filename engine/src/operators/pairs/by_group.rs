//! The reduce side of an exchange: what arrived for each key in a batch, key group by key group.

use crate::batch::chunk::{Chunk, SequenceKey, in_order, only_input};
use crate::codec::round_trip;
use crate::operators::pairs::first_touch::{FirstTouch, Keyed};
use crate::plan::ids::OperatorId;
use crate::plan::node::{BatchOperator, BatchOperatorFactory};
use crate::plan::operator_context::OperatorContext;
use crate::record::{Key, Record, Value};
use crate::state::equal_keys::{EqualKeys, MAX_NOTED, UNEQUAL_BYTES};
use crate::state::key_group::{KeyGroups, WorkerSlot};
use crate::state::key_hash::KeyHash;
use std::marker::PhantomData;
use std::sync::Arc;

/// Makes each worker's instance of an operator that gathers the values of a key in a batch and
/// emits a record for each key: by key group, and then by first touch.
///
/// `add` takes in what one chunk has of a key; chunks come in the order of the batch. `emit` makes
/// the record.
pub(crate) fn by_group<K: Key, V: Value, T: Default + 'static, U: Record>(
    operator: OperatorId,
    add: impl Fn(&mut T, V) + Send + Sync + 'static,
    emit: impl Fn(K, T) -> Option<U> + Send + Sync + 'static,
) -> BatchOperatorFactory {
    let (add, emit) = (Arc::new(add), Arc::new(emit));
    Arc::new(move |slot: &WorkerSlot, _| {
        Box::new(ByGroup {
            operator,
            groups: slot.groups,
            equal_keys: EqualKeys::new(MAX_NOTED),
            add: Arc::clone(&add),
            emit: Arc::clone(&emit),
            types: PhantomData::<fn(K, V, T) -> U>,
        })
    })
}

struct ByGroup<Add, Emit, Types> {
    operator: OperatorId,
    groups: KeyGroups,
    equal_keys: EqualKeys,
    add: Arc<Add>,
    emit: Arc<Emit>,
    types: PhantomData<Types>,
}

impl<K, V, T, U, Add, Emit> BatchOperator for ByGroup<Add, Emit, fn(K, V, T) -> U>
where
    K: Key,
    V: Value,
    T: Default + 'static,
    U: Record,
    Add: Fn(&mut T, V),
    Emit: Fn(K, T) -> Option<U>,
{
    fn apply(&mut self, ctx: &OperatorContext, inputs: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
        ctx.enter(self.operator);
        let buckets = buckets::<K, V>(self.groups, only_input(inputs));
        if let Err(what) = check_equal_keys(&mut self.equal_keys, self.groups, &buckets) {
            return ctx.fail(what);
        }
        let mut keys = FirstTouch::<K, T>::default();
        for (group, items) in (0..).zip(buckets) {
            for item in items {
                (self.add)(keys.value(item.hash, item.key), item.value);
            }
            let gathered = keys.take().into_iter();
            let records: Vec<U> = gathered
                .filter_map(|item| (self.emit)(item.key, item.value))
                .collect();
            if !records.is_empty() {
                out.push(Chunk::new(SequenceKey::batch(group), 0, records));
            }
        }
    }
}

/// The items of a batch, in its order, for each key group. Working off group by group keeps the
/// keys of one group in the cache.
pub(crate) fn buckets<K: Key, V: Value>(
    groups: KeyGroups,
    chunks: Vec<Chunk>,
) -> Vec<Vec<Keyed<K, V>>> {
    let mut buckets: Vec<Vec<Keyed<K, V>>> = Vec::new();
    for item in in_order::<Keyed<K, V>>(chunks).flatten() {
        if buckets.is_empty() {
            let count = usize::try_from(groups.count()).expect("groups fit the address space");
            buckets.resize_with(count, Vec::new);
        }
        let group = usize::try_from(groups.group_of(item.hash)).expect("so does each of them");
        let bucket = buckets.get_mut(group);
        bucket
            .expect("a group is below the number of groups")
            .push(item);
    }
    buckets
}

/// An error if equal keys have different hashes.
fn check_equal_keys<K: Key, V>(
    equal_keys: &mut EqualKeys,
    groups: KeyGroups,
    buckets: &[Vec<Keyed<K, V>>],
) -> Result<(), String> {
    for item in buckets.iter().flatten() {
        if equal_keys.is_over() {
            break;
        }
        if let Some(other) = equal_keys.note(&item.key, item.hash)
            && is_among(buckets, groups, other, &item.key)
        {
            let key = round_trip::show_value(&item.key);
            return Err(format!("the key {key} {UNEQUAL_BYTES}"));
        }
    }
    Ok(())
}

/// Whether `key` arrived in this batch with the hash `hash`.
pub(crate) fn is_among<K: Key, V>(
    buckets: &[Vec<Keyed<K, V>>],
    groups: KeyGroups,
    hash: KeyHash,
    key: &K,
) -> bool {
    let group = usize::try_from(groups.group_of(hash)).expect("groups fit the address space");
    let mut items = buckets.get(group).into_iter().flatten();
    items.any(|item| item.hash == hash && item.key == *key)
}
