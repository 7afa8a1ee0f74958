//! What can go wrong.

use highwater_wal::{Lsn, WalError};
use openraft::{AnyError, NodeId, StorageError, StorageIOError};

/// Why a log store does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The log does not open, or cannot be read.
    #[error("the log of the store: {0}")]
    Wal(#[from] WalError),
    /// A frame that no log store writes.
    #[error(
        "the record at LSN {lsn} is of no log store: {what}. The directory belongs to another program; give the store one of its own"
    )]
    Foreign {
        /// Where it is.
        lsn: Lsn,
        /// What it is.
        what: String,
    },
    /// A record that cannot be decoded.
    #[error(transparent)]
    Record(#[from] StoreError),
    /// The entries do not follow each other.
    #[error(
        "entry {found} is at LSN {lsn}, where entry {expected} belongs: the log lacks entries. Make this node a new member, or copy the log from a backup"
    )]
    Hole {
        /// Where it is.
        lsn: Lsn,
        /// The index that it has.
        found: u64,
        /// The index that it should have.
        expected: u64,
    },
}

/// What a call of the store fails with, inside of openraft's [`StorageError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The log.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// Something has no bytes: its type refuses to be serialised.
    #[error("an entry or state cannot be encoded: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    /// A record cannot be decoded.
    #[error("the record at LSN {lsn} cannot be decoded: {what}")]
    Decode {
        /// Where it is.
        lsn: Lsn,
        /// Why.
        what: String,
    },
    /// An entry that does not come right after the last one would leave a hole, or two entries of
    /// one index.
    #[error("entry {index} is appended, but the next one is {expected}: truncate or purge first")]
    NotNext {
        /// Of the entry.
        index: u64,
        /// Right after the last one.
        expected: u64,
    },
    /// The log does not hold an entry where the index says.
    #[error("entry {index} is not at LSN {lsn}: {what}")]
    Missing {
        /// Of the entry.
        index: u64,
        /// Where it should be.
        lsn: Lsn,
        /// What is there.
        what: String,
    },
    /// Memory.
    #[error("a thread that frees space cannot be started: {0}")]
    Thread(std::io::Error),
}

/// As openraft wants it.
pub(crate) fn reading<N: NodeId>(error: &StoreError) -> StorageError<N> {
    StorageIOError::read_logs(AnyError::new(error)).into()
}

/// As openraft wants it.
pub(crate) fn writing<N: NodeId>(error: &StoreError) -> StorageError<N> {
    StorageIOError::write_logs(AnyError::new(error)).into()
}

/// As openraft wants it.
pub(crate) fn writing_vote<N: NodeId>(error: &StoreError) -> StorageError<N> {
    StorageIOError::write_vote(AnyError::new(error)).into()
}
