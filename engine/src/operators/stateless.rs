//! Batch operators without state: a function of the chunks that a worker has of a batch.

use crate::batch::Batch;
use crate::batch::chunk::{Chunk, SequenceKey, in_order, only_input};
use crate::plan::ids::OperatorId;
use crate::plan::node::{BatchOperator, BatchOperatorFactory};
use crate::plan::operator_context::OperatorContext;
use crate::record::Record;
use crate::state::key_group::WorkerSlot;
use std::sync::Arc;

/// A function as an operator.
struct Stateless<F> {
    operator: OperatorId,
    slot: WorkerSlot,
    f: Arc<F>,
}

impl<F> BatchOperator for Stateless<F>
where
    F: Fn(&WorkerSlot, &OperatorContext, Vec<Chunk>, &mut Vec<Chunk>),
{
    fn apply(&mut self, ctx: &OperatorContext, inputs: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
        ctx.enter(self.operator);
        (self.f)(&self.slot, ctx, only_input(inputs), out);
    }
}

/// Makes each worker's instance of an operator that applies `f` to its chunks of every batch.
pub(crate) fn stateless(
    operator: OperatorId,
    f: impl Fn(&WorkerSlot, &OperatorContext, Vec<Chunk>, &mut Vec<Chunk>) + Send + Sync + 'static,
) -> BatchOperatorFactory {
    let f = Arc::new(f);
    Arc::new(move |slot, _| {
        Box::new(Stateless {
            operator,
            slot: *slot,
            f: Arc::clone(&f),
        })
    })
}

/// Calls `f` once with all records of a batch: worker 0 has them.
pub(crate) fn whole_batch<T: Record, U: Record>(
    f: impl Fn(Vec<T>, &Batch) -> Vec<U> + Send + Sync + 'static,
) -> impl Fn(&WorkerSlot, &OperatorContext, Vec<Chunk>, &mut Vec<Chunk>) + Send + Sync + 'static {
    move |slot, ctx, chunks, out| {
        if slot.index != 0 {
            return;
        }
        let records = in_order::<T>(chunks).flatten().collect();
        let result = f(records, ctx.batch());
        if !result.is_empty() {
            out.push(Chunk::new(SequenceKey::batch(0), 0, result));
        }
    }
}
