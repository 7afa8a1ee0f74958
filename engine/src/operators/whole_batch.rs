//! A function of a whole batch, on one worker.

use crate::batch::Batch;
use crate::batch::chunk::{Chunk, SequenceKey, in_order, only_input};
use crate::plan::ids::OperatorId;
use crate::plan::node::BatchOperator;
use crate::plan::operator_context::OperatorContext;
use crate::record::Record;
use crate::state::key_group::WorkerSlot;
use std::sync::Arc;

type WholeBatchFn<T, U> = Arc<dyn Fn(Vec<T>, &Batch) -> Vec<U> + Send + Sync>;

/// Calls a function once with all records of a batch; worker 0 has them, the others have no
/// function.
pub(crate) struct WholeBatch<T, U> {
    operator: OperatorId,
    f: Option<WholeBatchFn<T, U>>,
}

impl<T: Record, U: Record> WholeBatch<T, U> {
    pub(crate) fn factory(
        f: impl Fn(Vec<T>, &Batch) -> Vec<U> + Send + Sync + 'static,
    ) -> impl Fn(&WorkerSlot, OperatorId) -> Box<dyn BatchOperator> + Send + Sync + 'static {
        let f: WholeBatchFn<T, U> = Arc::new(f);
        move |slot, operator| {
            let f = (slot.index == 0).then(|| Arc::clone(&f));
            Box::new(Self { operator, f })
        }
    }
}

impl<T: Record, U: Record> BatchOperator for WholeBatch<T, U> {
    fn apply(&mut self, ctx: &OperatorContext, inputs: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
        let Some(f) = &self.f else { return };
        ctx.enter(self.operator);
        let records = in_order::<T>(only_input(inputs)).flatten().collect();
        let result = f(records, ctx.batch());
        if !result.is_empty() {
            out.push(Chunk::new(SequenceKey::batch(0), 0, result));
        }
    }
}
