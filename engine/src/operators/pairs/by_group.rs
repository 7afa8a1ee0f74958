//! The reduce side of an exchange: what arrived for each key in a batch, key group by key group.

use crate::batch::chunk::{Chunk, SequenceKey};
use crate::operators::pairs::gathered::Gathered;
use crate::plan::ids::OperatorId;
use crate::plan::node::{BatchOperator, BatchOperatorFactory};
use crate::plan::operator_context::OperatorContext;
use crate::record::{Key, Record, Value};
use crate::state::equal_keys::EqualKeys;
use crate::state::key_group::{KeyGroups, WorkerSlot};
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
            gathered: Gathered::new(slot.groups),
            equal_keys: EqualKeys::of::<K>(),
            add: Arc::clone(&add),
            emit: Arc::clone(&emit),
            records: PhantomData::<fn() -> U>,
        })
    })
}

struct ByGroup<K, V, T, U, Add, Emit> {
    operator: OperatorId,
    groups: KeyGroups,
    gathered: Gathered<K, V, T>,
    equal_keys: EqualKeys,
    add: Arc<Add>,
    emit: Arc<Emit>,
    records: PhantomData<fn() -> U>,
}

impl<K, V, T, U, Add, Emit> BatchOperator for ByGroup<K, V, T, U, Add, Emit>
where
    K: Key,
    V: Value,
    T: Default + 'static,
    U: Record,
    Add: Fn(&mut T, V),
    Emit: Fn(K, T) -> Option<U>,
{
    fn begin(&mut self) {
        self.gathered.clear();
    }

    fn arrive(&mut self, ctx: &OperatorContext, _: usize, chunk: Chunk) -> Option<Chunk> {
        ctx.enter(self.operator);
        let (equal_keys, add) = (&mut self.equal_keys, &*self.add);
        let add = |key: &K, all: &mut T, value| ctx.at_key(key, || add(all, value));
        let taken = self.gathered.take_in(chunk, equal_keys, |_, _| false, add);
        if let Err(what) = taken {
            ctx.refuse(what);
        }
        None
    }

    fn apply(&mut self, ctx: &OperatorContext, _: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
        ctx.enter(self.operator);
        let add = &*self.add;
        let add = |key: &K, all: &mut T, value| ctx.at_key(key, || add(all, value));
        self.gathered.finish(add);
        for group in 0..self.groups.count() {
            let gathered = self.gathered.group(group).into_iter();
            let records: Vec<U> = gathered
                .filter_map(|item| (self.emit)(item.key, item.value))
                .collect();
            if !records.is_empty() {
                let sequence = SequenceKey::batch(u64::from(group));
                out.push(Chunk::new(sequence, 0, records));
            }
        }
    }
}
