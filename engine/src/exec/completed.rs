//! What a batch produced.

use crate::batch::chunk::Chunk;
use crate::observe::hot_key::HotKey;
use crate::observe::states::KeyCounts;
use crate::plan::failed::Failed;
use crate::refused::noted::Noted;
use crate::variables::scope::Added;
use std::collections::BTreeMap;

/// What a completed batch produced.
#[derive(Debug, Default)]
pub(crate) struct Completed {
    /// What arrived at each output, in no particular order.
    pub(crate) outputs: BTreeMap<usize, Vec<Chunk>>,
    /// What arrived at each tap, in no particular order.
    pub(crate) tapped: BTreeMap<usize, Vec<Chunk>>,
    /// What was added to each counter.
    pub(crate) counted: Added,
    /// Records that operators have refused, in no particular order.
    pub(crate) refused: Vec<Noted>,
    /// Keys that have most of the values, in no particular order.
    pub(crate) hot_keys: Vec<HotKey>,
    /// How many keys the workers have of the states, where that has changed: by state and worker.
    pub(crate) keys: BTreeMap<(usize, usize), KeyCounts>,
    /// The first failure, or one that asks for more than the first.
    pub(crate) failure: Option<Failed>,
}

impl Completed {
    /// Of several failures that with the greatest remedy counts, of those the first.
    pub(crate) fn fail(&mut self, failed: Failed) {
        let before = self.failure.as_ref();
        if before.is_none_or(|before| before.remedy < failed.remedy) {
            self.failure = Some(failed);
        }
    }
}
