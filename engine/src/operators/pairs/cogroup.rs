//! The reduce side of two exchanges: what arrived for each key in the batches of two streams, key
//! group by key group.

use crate::batch::chunk::{Chunk, SequenceKey};
use crate::operators::pairs::by_key::append;
use crate::operators::pairs::first_touch::FirstTouch;
use crate::operators::pairs::gathered::Gathered;
use crate::plan::ids::OperatorId;
use crate::plan::node::{BatchOperator, BatchOperatorFactory};
use crate::plan::operator_context::OperatorContext;
use crate::record::{Key, Record, Value};
use crate::state::equal_keys::EqualKeys;
use crate::state::key_group::{KeyGroups, WorkerSlot};
use std::marker::PhantomData;
use std::sync::Arc;

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
            left: Gathered::<K, Vec<V>, Vec<V>>::new(slot.groups),
            right: Gathered::<K, Vec<W>, Vec<W>>::new(slot.groups),
            equal_keys: EqualKeys::of::<K>(),
            emit: Arc::clone(&emit),
            records: PhantomData::<fn() -> U>,
        })
    })
}

/// Adds what a chunk has of a key.
fn add<K, V>(_: &K, all: &mut Vec<V>, values: Vec<V>) {
    append(all, values);
}

struct CoGroup<K, V, W, U, Emit> {
    operator: OperatorId,
    groups: KeyGroups,
    left: Gathered<K, Vec<V>, Vec<V>>,
    right: Gathered<K, Vec<W>, Vec<W>>,
    equal_keys: EqualKeys,
    emit: Arc<Emit>,
    records: PhantomData<fn() -> U>,
}

impl<K, V, W, U, Emit> BatchOperator for CoGroup<K, V, W, U, Emit>
where
    K: Key,
    V: Value,
    W: Value,
    U: Record,
    Emit: Fn(K, Vec<V>, Vec<W>, &mut Vec<U>),
{
    fn begin(&mut self) {
        self.left.clear();
        self.right.clear();
    }

    fn arrive(&mut self, ctx: &OperatorContext, rank: usize, chunk: Chunk) -> Option<Chunk> {
        ctx.enter(self.operator);
        let (left, right) = (&mut self.left, &mut self.right);
        let taken = match rank {
            0 => left.take_in(chunk, &mut self.equal_keys, |h, k| right.has(h, k), add),
            _ => right.take_in(chunk, &mut self.equal_keys, |h, k| left.has(h, k), add),
        };
        if let Err(what) = taken {
            ctx.refuse(what);
        }
        None
    }

    fn apply(&mut self, ctx: &OperatorContext, _: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
        ctx.enter(self.operator);
        self.left.finish(add);
        self.right.finish(add);
        let mut keys = FirstTouch::<K, (Vec<V>, Vec<W>)>::default();
        for group in 0..self.groups.count() {
            for item in self.left.group(group) {
                keys.value(item.hash, item.key).0 = item.value;
            }
            for item in self.right.group(group) {
                keys.value(item.hash, item.key).1 = item.value;
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
