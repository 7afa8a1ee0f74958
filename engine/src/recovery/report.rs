//! What a context found on disk when it was opened.

use crate::batch::Batch;
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
    /// The newest batch whose outputs were committed.
    pub committed: Option<u64>,
    /// Batches that were cut, but whose outputs were not committed, ascending: they run again, with
    /// the same numbers and the same input.
    pub incomplete: Vec<IncompleteBatch>,
    /// The oldest and the newest version of the engine's records in the log after the checkpoint;
    /// `None` if there are none.
    pub record_versions: Option<(u8, u8)>,
    /// The tick of the last batch that was cut, in milliseconds since the Unix epoch. Batch time
    /// goes on after it.
    pub last_tick_ms: Option<u64>,
    /// Where windows are aligned, in milliseconds since the Unix epoch: the first tick of the
    /// directory less a batch interval. `None` before the first batch.
    pub zero_ms: Option<u64>,
    /// How long it took to read the checkpoint and to look through the log after it.
    pub loaded_in: Duration,
}

/// A batch that was cut and not committed, and the empty ticks before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncompleteBatch {
    /// The number of the first batch in doubt. Those from here to `batch` are ticks without data;
    /// it is the number of `batch` itself if there are none.
    pub first_id: u64,
    /// The batch: its number, its time, and where its input is in the log.
    pub batch: Batch,
    /// Its number within its tick, from 0.
    pub part: u32,
    /// Whether it is the last of its tick.
    pub is_last_part: bool,
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
