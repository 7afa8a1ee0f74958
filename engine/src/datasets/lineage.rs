//! How the result of a past batch would be had.

use std::fmt;

/// How the result of a past batch would be had, from [`Dataset::lineage`](crate::Dataset::lineage).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatasetLineage {
    /// It is in memory: nothing is computed.
    Cached,
    /// It is in this checkpoint: nothing is computed.
    Checkpointed {
        /// Number of the checkpoint.
        checkpoint: u64,
    },
    /// It is computed again from the log.
    Recomputed {
        /// The checkpoint whose state is loaded and the last batch in it; `None` for the beginning
        /// of the log.
        checkpoint: Option<(u64, u64)>,
        /// How many batches are run again.
        batches: u64,
        /// Log bytes that these have.
        bytes: u64,
    },
}

impl fmt::Display for DatasetLineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cached => f.write_str("cached"),
            Self::Checkpointed { checkpoint } => write!(f, "checkpointed in {checkpoint}"),
            Self::Recomputed {
                checkpoint,
                batches,
                bytes,
            } => {
                f.write_str("recomputed from ")?;
                match checkpoint {
                    Some((number, batch)) => write!(f, "checkpoint {number} (batch {batch})")?,
                    None => f.write_str("the beginning of the log")?,
                }
                write!(f, " over {batches} batches, {bytes} bytes of log")
            }
        }
    }
}
