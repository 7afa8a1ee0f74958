//! What a crash matrix has tried, or what has failed.

use std::error::Error;
use std::fmt;

/// What a crash matrix has tried, all with equal results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrashReport {
    /// So many operations of the disk the undisturbed runs made, over all numbers of workers.
    pub operations: u64,
    /// So often the power was cut, and the run ended as if nothing had happened.
    pub cuts: u64,
    /// Cuts that came a second time, during the recovery from the first.
    pub cuts_in_recovery: u64,
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} power cuts at {} operations of the disk, {} of them twice: state and outputs are equal",
            self.cuts, self.operations, self.cuts_in_recovery
        )
    }
}

/// A run that came out otherwise than the undisturbed one, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrashFailure {
    /// The seed: it decides which sectors survive, and where a second cut comes.
    pub seed: u64,
    /// How many workers the first life had.
    pub workers: usize,
    /// The operation before which the power was cut, counted from 0. `None` if the run failed
    /// undisturbed.
    pub cut: Option<u64>,
    /// What that operation is: the call and its path.
    pub operation: String,
    /// What went wrong.
    pub what: String,
}

impl fmt::Display for CrashFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cut {
            None => write!(
                f,
                "undisturbed, with {} workers: {}",
                self.workers, self.what
            ),
            Some(cut) => write!(
                f,
                "power cut before operation {cut} ({}), {} workers, seed {}: {}",
                self.operation, self.workers, self.seed, self.what
            ),
        }
    }
}

impl Error for CrashFailure {}
