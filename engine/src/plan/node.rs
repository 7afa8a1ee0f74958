//! What runs: the nodes of the physical graph, and the functions inside.
//!
//! Stateless operators are not nodes of their own: they are fused into the function of the node
//! that reads them.

use crate::batch::chunk::{Chunk, ChunkData};
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::operator_context::OperatorContext;
use crate::state::key_group::WorkerSlot;
use crate::state::table::block::RestoredState;
use crate::state::table::shared::reading::SharedGroup;
use crate::state::table::states::KeptState;
use std::sync::Arc;

/// A function from one chunk to some: the fused stateless operators, and what prepares the exchange
/// after them.
pub(crate) type LocalFn =
    Arc<dyn Fn(&WorkerSlot, &OperatorContext, Chunk, &mut Vec<Chunk>) + Send + Sync>;

/// Merges the records that the inputs of a union have of one chunk of the log.
pub(crate) type MergeFn = Arc<dyn Fn(Vec<Box<dyn ChunkData>>) -> Box<dyn ChunkData> + Send + Sync>;

/// An operator that acts once a batch, when all its input has arrived.
pub(crate) trait BatchOperator {
    /// A batch begins: what [`Self::arrive`] took in of one that has failed is dropped.
    fn begin(&mut self) {}
    /// Takes in a chunk of input `rank`. The chunks of one input come in the order of the batch,
    /// early: so the operator may gather what it needs and drop the rest. What it gives back waits
    /// for `apply`. It emits nothing and visits no state: of a batch that fails, only a part comes.
    fn arrive(&mut self, ctx: &OperatorContext, rank: usize, chunk: Chunk) -> Option<Chunk> {
        let _: (&OperatorContext, usize) = (ctx, rank);
        Some(chunk)
    }
    /// Processes the whole input of a batch and emits. `inputs` has the chunks of each input of the
    /// node that [`Self::arrive`] gave back, in the order of the batch.
    fn apply(&mut self, ctx: &OperatorContext, inputs: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>);
    /// The key groups of its state, for readers; none if it cannot be asked for.
    fn share(&self) -> Vec<SharedGroup> {
        Vec::new()
    }
    /// The state that it keeps, if it keeps one.
    fn state(&mut self) -> Option<&mut dyn KeptState> {
        None
    }
}

/// Makes a worker's instance of a batch operator, taking the restored state that belongs to it.
pub(crate) type BatchOperatorFactory =
    Arc<dyn Fn(&WorkerSlot, &mut RestoredState) -> Box<dyn BatchOperator> + Send + Sync>;

/// For each node, whether a batch operator, and nothing else, reads what it makes of chunks of the
/// log. It makes its part of each chunk at once, so it can say that nothing more comes of one.
pub(crate) fn ends_log_chunks(nodes: &[Node]) -> Vec<bool> {
    let of_log = |node: &Node| match (&node.work, node.inputs.as_slice()) {
        (NodeWork::Local { .. }, [input]) => nodes
            .get(input.0)
            .is_some_and(|input| matches!(input.work, NodeWork::Log | NodeWork::Union { .. })),
        _ => false,
    };
    let mut ends: Vec<bool> = nodes.iter().map(of_log).collect();
    for reader in nodes {
        for input in &reader.inputs {
            if let Some(ends) = ends.get_mut(input.0) {
                *ends &= matches!(reader.work, NodeWork::Batch { .. });
            }
        }
    }
    ends
}

/// A node of the physical graph: what it reads, and what it does with it.
pub(crate) struct Node {
    /// The nodes that it reads. An operator sees them in this order.
    pub(crate) inputs: Vec<NodeId>,
    pub(crate) work: NodeWork,
}

/// What a node does.
pub(crate) enum NodeWork {
    /// Hands out chunks of the log. Every source reads the same ones and takes its own records.
    Log,
    /// A function from chunk to chunks.
    Local { first: OperatorId, run: LocalFn },
    /// A batch operator, each of its inputs after an exchange.
    Batch {
        operator: OperatorId,
        make: BatchOperatorFactory,
        state: Option<usize>,
    },
    /// Several streams in one, in the order of the log. Its inputs emit
    /// [`Positioned`](crate::batch::positioned::Positioned) records. `log_chunk_inputs` of them
    /// emit something for every chunk of the log, and not only for whole batches.
    Union {
        log_chunk_inputs: usize,
        merge: MergeFn,
    },
    /// The end of a stream: what arrives is handed to the driver.
    Output { output: usize },
    /// The end of a stream that the driver needs in every run of a batch, also when its outputs
    /// were committed before.
    Tap { tap: usize },
}
