//! The reduce side of two exchanges: what arrived for each key in the batches of two streams, key
//! group by key group.

use crate::batch::chunk::{Chunk, SequenceKey};
use crate::codec::round_trip;
use crate::operators::pairs::by_group::{buckets, is_among};
use crate::operators::pairs::first_touch::{FirstTouch, Keyed};
use crate::plan::ids::OperatorId;
use crate::plan::node::{BatchOperator, BatchOperatorFactory};
use crate::plan::operator_context::OperatorContext;
use crate::record::{Key, Record, Value};
use crate::state::equal_keys::{EqualKeys, MAX_NOTED, UNEQUAL_BYTES};
use crate::state::key_group::{KeyGroups, WorkerSlot};
use std::marker::PhantomData;
use std::sync::Arc;

/// Items of one input by key group.
type Buckets<K, V> = Vec<Vec<Keyed<K, Vec<V>>>>;

/// Makes each worker's instance of an operator that gathers what both inputs have of a key in a
/// batch. `emit` makes records of it. Keys come by key group, and then by first touch: those of the
/// left input first.
pub(crate) fn cogroup<K: Key, V: Value, W: Value, U: Record>(
    operator: OperatorId,
    emit: impl Fn(K, Vec<V>, Vec<W>, &mut Vec<U>) + Send + Sync + 'static,
) -> BatchOperatorFactory {
    let emit = Arc::new(emit);
    Arc::new(move |slot: &WorkerSlot, _| {
        Box::new(CoGroup {
            operator,
            groups: slot.groups,
            equal_keys: EqualKeys::new(MAX_NOTED),
            emit: Arc::clone(&emit),
            types: PhantomData::<fn(K, V, W) -> U>,
        })
    })
}

struct CoGroup<Emit, Types> {
    operator: OperatorId,
    groups: KeyGroups,
    equal_keys: EqualKeys,
    emit: Arc<Emit>,
    types: PhantomData<Types>,
}

impl<K, V, W, U, Emit> BatchOperator for CoGroup<Emit, fn(K, V, W) -> U>
where
    K: Key,
    V: Value,
    W: Value,
    U: Record,
    Emit: Fn(K, Vec<V>, Vec<W>, &mut Vec<U>),
{
    fn apply(&mut self, ctx: &OperatorContext, inputs: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
        ctx.enter(self.operator);
        let mut inputs = inputs.into_iter();
        let left: Buckets<K, V> = buckets(self.groups, inputs.next().unwrap_or_default());
        let right: Buckets<K, W> = buckets(self.groups, inputs.next().unwrap_or_default());
        if let Err(what) = self.check_equal_keys(&left, &right) {
            return ctx.fail(what);
        }
        let (mut left, mut right) = (left.into_iter(), right.into_iter());
        let mut keys = FirstTouch::<K, (Vec<V>, Vec<W>)>::default();
        for group in 0..self.groups.count() {
            for item in left.next().unwrap_or_default() {
                append(&mut keys.value(item.hash, item.key).0, item.value);
            }
            for item in right.next().unwrap_or_default() {
                append(&mut keys.value(item.hash, item.key).1, item.value);
            }
            let mut records = Vec::new();
            for item in keys.take() {
                let (left, right) = item.value;
                (self.emit)(item.key, left, right, &mut records);
            }
            if !records.is_empty() {
                let sequence = SequenceKey::batch(u64::from(group));
                out.push(Chunk::new(sequence, 0, records));
            }
        }
    }
}

impl<Emit, Types> CoGroup<Emit, Types> {
    /// An error if equal keys have different hashes, on one side or across.
    fn check_equal_keys<K: Key, V, W>(
        &mut self,
        left: &Buckets<K, V>,
        right: &Buckets<K, W>,
    ) -> Result<(), String> {
        let keys_of_left = left.iter().flatten().map(|item| (item.hash, &item.key));
        let keys_of_right = right.iter().flatten().map(|item| (item.hash, &item.key));
        for (hash, key) in keys_of_left.chain(keys_of_right) {
            if self.equal_keys.is_over() {
                break;
            }
            if let Some(other) = self.equal_keys.note(key, hash)
                && (is_among(left, self.groups, other, key)
                    || is_among(right, self.groups, other, key))
            {
                let key = round_trip::show_value(key);
                return Err(format!("the key {key} {UNEQUAL_BYTES}"));
            }
        }
        Ok(())
    }
}

/// Adds `values` to `all`, without copying if they are the first.
fn append<V>(all: &mut Vec<V>, mut values: Vec<V>) {
    if all.is_empty() {
        *all = values;
    } else {
        all.append(&mut values);
    }
}
