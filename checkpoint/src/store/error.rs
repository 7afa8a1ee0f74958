//! Failures of writing, and what is known after them.

use std::io;

/// Why a store did not write, and what is known about it.
///
/// `?` turns an [`io::Error`] into an *indeterminate* one: an implementation says that nothing
/// happened only where it knows it.
///
/// ```
/// use highwater_checkpoint::StoreError;
/// use std::io::{Error, ErrorKind};
///
/// let refused = StoreError::determinate(Error::from(ErrorKind::StorageFull));
/// assert!(refused.is_determinate());
/// let lost_answer = StoreError::from(Error::from(ErrorKind::TimedOut));
/// assert!(!lost_answer.is_determinate());
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct StoreError {
    source: io::Error,
    determinate: bool,
}

impl StoreError {
    /// A failure after which nothing has happened, and nothing will happen later.
    #[must_use]
    pub fn determinate(source: io::Error) -> Self {
        Self {
            source,
            determinate: true,
        }
    }

    /// A failure after which it may have happened, in part or as a whole, or may still happen: a
    /// time-out, a connection that broke, a sync that failed.
    #[must_use]
    pub fn indeterminate(source: io::Error) -> Self {
        Self {
            source,
            determinate: false,
        }
    }

    /// Whether it is known that nothing has happened. Never for
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists): the call itself may have created the file
    /// when it was first tried, and S3 returns it for a conflict after which there is none.
    #[must_use]
    pub fn is_determinate(&self) -> bool {
        self.determinate && self.kind() != io::ErrorKind::AlreadyExists
    }

    /// The kind of the failure.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl From<io::Error> for StoreError {
    fn from(source: io::Error) -> Self {
        Self::indeterminate(source)
    }
}

impl From<io::ErrorKind> for StoreError {
    fn from(kind: io::ErrorKind) -> Self {
        Self::indeterminate(kind.into())
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        error.source
    }
}
