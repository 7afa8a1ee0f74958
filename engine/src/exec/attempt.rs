//! The number under which a batch runs.

/// The first epoch.
pub(super) const FIRST_EPOCH: u64 = 1;

/// One attempt at a batch. Each has an epoch of its own. So nothing of an attempt that failed is
/// taken for a part of the next one, and what an operator has seen last tells whether it is to be
/// kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    /// The epoch of the dataflow.
    pub(super) epoch: u64,
    /// The newest epoch whose effects are kept. Those between the two failed. An operator may have
    /// seen some of them, and others not: a worker that learns of a failure skips what is in vain.
    pub(super) kept: u64,
}
