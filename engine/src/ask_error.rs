//! Why a question to a state has no answer.

use highwater_wal::Lsn;
use std::time::Duration;

/// Why a question to a state has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// `context.state::<K, S>(name)` for a name or types that the program does not have.
    #[error("{0}")]
    NoSuchState(String),
    /// A state cannot be asked for within the time that was set for that.
    #[error(
        "the state \"{name}\" was asked for, and after {waited:?} there is no answer: {waits_for}. Answers are of batch {batch}, up to LSN {lsn}. Ask again, or set a longer .timeout(..)"
    )]
    NotReady {
        /// Name of the state.
        name: String,
        /// What it waits for.
        waits_for: String,
        /// The newest batch that could be shown.
        batch: u64,
        /// What is in that batch, or in one before.
        lsn: Lsn,
        /// How long the question has waited.
        waited: Duration,
    },
    /// A snapshot of a state has ended.
    #[error(
        "what the state \"{name}\" had at the end of batch {batch} is not kept any more: the time of the snapshot is over, too much has changed since, or the workers were built again. Take a new one"
    )]
    SnapshotGone {
        /// Name of the state.
        name: String,
        /// The batch.
        batch: u64,
    },
    /// What was asked for is no key of the state.
    #[error("{key} is no key of the state \"{name}\": {message}")]
    NoKey {
        /// Name of the state.
        name: String,
        /// What was asked for.
        key: String,
        /// Why it is none.
        message: String,
    },
    /// JSON cannot write a key or a state.
    #[error("a {what} of the state \"{name}\" cannot be written as JSON: {message}")]
    NotJson {
        /// Name of the state.
        name: String,
        /// Key or state.
        what: &'static str,
        /// What the serialiser said.
        message: String,
    },
}
