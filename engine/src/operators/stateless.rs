//! Batch operators without state: functions of the chunks that a worker has of a batch.

use crate::batch::chunk::Chunk;
use crate::plan::graph::SharedGraph;
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::{BatchOperator, NodeWork};
use crate::plan::operator_context::OperatorContext;
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
    F: Fn(&WorkerSlot, &OperatorContext, Vec<Vec<Chunk>>, &mut Vec<Chunk>),
{
    fn apply(&mut self, ctx: &OperatorContext, inputs: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
        ctx.enter(self.operator);
        (self.f)(&self.slot, ctx, inputs, out);
    }
}

/// Adds the node of an operator that applies `f` to its chunks of every batch, by input.
pub(crate) fn stateless_node(
    graph: &SharedGraph,
    operator: OperatorId,
    inputs: Vec<NodeId>,
    f: impl Fn(&WorkerSlot, &OperatorContext, Vec<Vec<Chunk>>, &mut Vec<Chunk>) + Send + Sync + 'static,
) -> NodeId {
    let f = Arc::new(f);
    let work = NodeWork::Batch {
        operator,
        make: Arc::new(move |slot, _| {
            Box::new(Stateless {
                operator,
                slot: *slot,
                f: Arc::clone(&f),
            })
        }),
        state: None,
    };
    graph.borrow_mut().node(inputs, work)
}
