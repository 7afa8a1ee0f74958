//! What a batch produced.

use crate::batch::chunk::Chunk;
use crate::error::BatchFailure;
use crate::observe::states::KeyCounts;
use crate::state::table::block::Block;
use std::collections::BTreeMap;

/// What a completed batch produced.
#[derive(Debug, Default)]
pub(crate) struct Completed {
    /// What arrived at each output, in no particular order.
    pub(crate) outputs: BTreeMap<usize, Vec<Chunk>>,
    /// State blocks by state, if a snapshot was asked for.
    pub(crate) blocks: Vec<(usize, Block)>,
    /// How many keys the workers have of the states, where that has changed: by state and worker.
    pub(crate) keys: BTreeMap<(usize, usize), KeyCounts>,
    /// The first failure.
    pub(crate) failure: Option<BatchFailure>,
}
