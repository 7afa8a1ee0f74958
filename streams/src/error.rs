//! What can go wrong, apart from requests that are refused.

use highwater_checkpoint::CheckpointError;
use highwater_wal::WalError;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong, apart from requests that are [refused](crate::Refusal).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The log. After [`WalError::Poisoned`] nothing is served before a restart. With
    /// [`WalError::LogFull`] nothing was appended: delete streams, or give the log more room.
    #[error(transparent)]
    Log(#[from] WalError),
    /// The checkpoints of the table.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The log, or a checkpoint, says what no program of this version writes.
    #[error("at LSN {lsn} of the log of streams: {what}")]
    Inconsistent {
        /// Where.
        lsn: u64,
        /// What is wrong.
        what: String,
    },
    /// A setting.
    #[error("bad options: {what}")]
    BadOptions {
        /// What is wrong, and what to do.
        what: String,
    },
    /// A thread could not be started.
    #[error("no thread for the streams: {0}")]
    Thread(std::io::Error),
}

impl Error {
    /// Whether the log is at its bound: nothing was appended.
    #[must_use]
    pub fn is_log_full(&self) -> bool {
        matches!(self, Self::Log(WalError::LogFull { .. }))
    }

    /// Whether the streams are closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Log(WalError::Closed { .. }))
    }
}
