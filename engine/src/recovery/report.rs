//! What a context found on disk when it was opened.

use std::time::Duration;

/// What [`get_or_create`](crate::Builder::get_or_create) found and restored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The checkpoint from which the context starts and the last batch in it; `None` if there was
    /// none.
    pub checkpoint: Option<(u64, u64)>,
    /// The states of the checkpoint that the program has.
    pub states: Vec<StateReport>,
    /// Batches that were cut after the checkpoint: [`start`](crate::StreamingContext::start)
    /// replays them.
    pub batches_to_replay: u64,
    /// Log bytes after the checkpoint, those not yet in a batch included.
    pub bytes_to_replay: u64,
    /// How long it took to read the checkpoint and to look through the log after it.
    pub loaded_in: Duration,
}

/// What became of one state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateReport {
    /// Its name in the program.
    pub name: String,
    /// How many keys were restored.
    pub keys: u64,
    /// How many of them moved to another key group because their type has changed.
    pub moved_keys: u64,
    /// Fields of the checkpoint's keys and values that the program's types do not have, such as
    /// `value: spent`. What they hold is left out of the state. At most 32.
    pub ignored_fields: Vec<String>,
}
