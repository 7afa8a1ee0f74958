//! What a batch produced.

use crate::batch::chunk::Chunk;
use crate::error::BatchFailure;
use crate::state::table::Block;
use std::collections::BTreeMap;

/// What a completed batch produced.
#[derive(Debug, Default)]
pub(crate) struct Completed {
    /// What arrived at each output, in no particular order.
    pub(crate) outputs: BTreeMap<usize, Vec<Chunk>>,
    /// State blocks by state, if a snapshot was asked for.
    pub(crate) blocks: Vec<(usize, Block)>,
    /// The first failure.
    pub(crate) failure: Option<BatchFailure>,
}
