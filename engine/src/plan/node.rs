//! What runs: the nodes of the physical graph, and the functions inside.
//!
//! Stateless operators are not nodes of their own: they are fused into the function of the node
//! that reads them.

use crate::batch::chunk::{Parcel, ParcelData};
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::operator_context::Site;
use crate::state::key_group::WorkerSlot;
use crate::state::table::{Block, RestoredState};
use std::sync::Arc;

/// A function from one parcel to some: the fused stateless operators and what prepares the exchange
/// behind them.
pub(crate) type LocalFn = Arc<dyn Fn(&WorkerSlot, &Site, Parcel, &mut Vec<Parcel>) + Send + Sync>;

/// Merges the records that the inputs of a union have of one piece of the log.
pub(crate) type MergeFn =
    Arc<dyn Fn(Vec<Box<dyn ParcelData>>) -> Box<dyn ParcelData> + Send + Sync>;

/// An operator that acts once a batch, when all its input has arrived.
pub(crate) trait BatchOperator {
    /// Processes the whole input of a batch (in no particular order) and emits.
    fn apply(&mut self, site: &Site, input: Vec<Parcel>, out: &mut Vec<Parcel>);
    /// Encodes the state; stateless ones have none.
    fn snapshot(&self) -> Result<Vec<Block>, String> {
        Ok(Vec::new())
    }
}

/// Makes a worker's instance of a batch operator, taking the restored state that belongs to it.
pub(crate) type BatchOperatorFactory =
    Arc<dyn Fn(&WorkerSlot, &mut RestoredState) -> Box<dyn BatchOperator> + Send + Sync>;

/// What runs.
pub(crate) enum Node {
    /// Pieces of the log; every source reads the same ones and takes its own records.
    Log,
    /// A function from parcel to parcels.
    Local {
        input: NodeId,
        first: OperatorId,
        run: LocalFn,
    },
    /// A batch operator behind an exchange.
    Batch {
        input: NodeId,
        operator: OperatorId,
        make: BatchOperatorFactory,
        state: Option<usize>,
    },
    /// Several streams in one, in the order of the log. Its inputs emit
    /// [`Placed`](crate::batch::positioned::Placed) records; so many of them emit something for every
    /// piece of the log, and not only for whole batches.
    Union {
        inputs: Vec<NodeId>,
        pieces: usize,
        merge: MergeFn,
    },
    /// The end of a stream: what arrives is handed to the driver.
    Output { input: NodeId, output: usize },
}
