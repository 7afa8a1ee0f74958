//! That a batch has failed, and what has to be done before it may run again.

use crate::error::BatchFailure;
use serde::{Deserialize, Serialize};

/// A batch that failed on a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) why: BatchFailure,
    pub(crate) remedy: Remedy,
}

/// What has to be done before a batch that failed may run again. Of several failures that with the
/// greatest remedy counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Remedy {
    /// As the next one; and what the batch reads must become available first.
    Wait,
    /// Every operator puts back what the batch has changed.
    PutBack,
    /// What the operators hold cannot be relied on any more: it is built again, from a checkpoint
    /// and the log.
    Rebuild,
    /// It does not run again.
    Stop,
}
