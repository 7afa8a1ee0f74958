//! Workers whose state is lost are built again.

use crate::error::Result;
use crate::exec::executor::Executor;
use crate::observe::states::KeyCounts;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Builds workers again, from a checkpoint and the log.
pub(crate) trait Rebuild: Debug + Send + Sync {
    /// Workers with the state as of the end of the batch before `next`. It gives up before a batch
    /// is replayed if `is_cut_short`.
    ///
    /// # Errors
    /// What a checkpoint, the log or user code in a replayed batch fails with; another call may
    /// succeed.
    fn rebuild(&self, next: u64, is_cut_short: &dyn Fn() -> bool) -> Result<Rebuilt>;
}

/// Workers that were built again.
#[derive(Debug)]
pub(crate) struct Rebuilt {
    pub(crate) executor: Executor,
    /// How many keys of the states they have, where a replayed batch has changed that.
    pub(crate) keys: BTreeMap<(usize, usize), KeyCounts>,
}
