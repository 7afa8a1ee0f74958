//! Errors of the engine as failures of a command.

use highwater::checkpoint::CheckpointError;
use highwater_log::outcome::{Failure, Result};

/// What an engine or its checkpoints could not do.
pub(crate) trait OrFail<T> {
    /// The same as the result of a command.
    fn or_fail(self) -> Result<T>;
}

impl<T> OrFail<T> for std::result::Result<T, CheckpointError> {
    fn or_fail(self) -> Result<T> {
        self.map_err(|error| match &error {
            CheckpointError::Io { .. } => Failure::Io(error.to_string()),
            _ => Failure::Finding(error.to_string()),
        })
    }
}

impl<T> OrFail<T> for highwater::Result<T> {
    fn or_fail(self) -> Result<T> {
        self.map_err(|error| Failure::Io(error.to_string()))
    }
}
