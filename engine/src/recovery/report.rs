//! What a context found on disk when it was opened, or would find.

use crate::batch::Batch;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// What [`get_or_create`](crate::Builder::get_or_create) found and restored, or what
/// [`dry_run`](crate::Builder::dry_run) says that it would. Printed, it is some lines for people.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The checkpoint from which the context starts and the last batch in it; `None` if there was
    /// none.
    pub checkpoint: Option<(u64, u64)>,
    /// The states of the checkpoint that the program has.
    pub states: Vec<StateReport>,
    /// States of the checkpoint that are thrown away, because the program says so or because they
    /// are empty and have no operator: name and keys.
    pub dropped_states: Vec<(String, u64)>,
    /// States of the program that the checkpoint does not have: they begin anew. Empty without a
    /// checkpoint.
    pub new_states: Vec<String>,
    /// The sources of the program.
    pub sources: Vec<SourceReport>,
    /// Sources of the directory that are thrown away: name, and records that no checkpoint covers.
    pub dropped_sources: Vec<(String, u64)>,
    /// Named operators of the program that the program of the checkpoint did not have, and the
    /// other way round, as `kind "name"`. Empty without a checkpoint.
    pub new_operators: Vec<String>,
    /// See [`Self::new_operators`].
    pub gone_operators: Vec<String>,
    /// Settings that differ from those of the program that took the checkpoint. Those of the code
    /// count.
    pub changed_settings: Vec<ChangedSetting>,
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

/// A setting of the program that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChangedSetting {
    /// The method of the builder.
    pub name: String,
    /// What the program had that took the checkpoint.
    pub then: String,
    /// What the program has.
    pub now: String,
}

/// What becomes of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SourceReport {
    /// Its name in the program.
    pub name: String,
    /// Its name in the directory, if that is another one.
    pub renamed_from: Option<String>,
    /// Whether nothing is known of it.
    pub is_new: bool,
    /// Records in the log that no checkpoint covers.
    pub records_to_replay: u64,
}

/// A batch that was cut and not committed, and the empty ticks before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Fields of the program's values that those of the checkpoint do not have, and that
    /// `#[serde(default)]` has filled in. At most 32.
    pub defaulted_fields: Vec<String>,
    /// Its name in the checkpoint, if that is another one.
    pub renamed_from: Option<String>,
    /// How many conversions of the program its values have gone through now.
    pub conversions: usize,
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.checkpoint {
            Some((number, batch)) => writeln!(f, "from checkpoint {number}, after batch {batch}")?,
            None => writeln!(f, "without a checkpoint")?,
        }
        writeln!(
            f,
            "{} batches and {} bytes of log to replay",
            self.batches_to_replay, self.bytes_to_replay
        )?;
        for state in &self.states {
            writeln!(f, "state \"{}\": {}", state.name, state.said())?;
        }
        for (name, keys) in &self.dropped_states {
            writeln!(f, "state \"{name}\": {keys} keys are DROPPED")?;
        }
        for name in &self.new_states {
            writeln!(f, "state \"{name}\": new, begins empty")?;
        }
        for source in &self.sources {
            writeln!(f, "source \"{}\": {}", source.name, source.said())?;
        }
        for (name, records) in &self.dropped_sources {
            writeln!(
                f,
                "source \"{name}\": DROPPED, with {records} records that no checkpoint covers"
            )?;
        }
        for operator in &self.new_operators {
            writeln!(f, "operator {operator}: new")?;
        }
        for operator in &self.gone_operators {
            writeln!(f, "operator {operator}: gone")?;
        }
        for setting in &self.changed_settings {
            let ChangedSetting { name, then, now } = setting;
            writeln!(f, "setting {name}: {now}, was {then}")?;
        }
        Ok(())
    }
}

impl StateReport {
    fn said(&self) -> String {
        let mut said = format!("{} keys", self.keys);
        if let Some(name) = &self.renamed_from {
            said.push_str(&format!(", renamed from \"{name}\""));
        }
        if self.conversions > 0 {
            said.push_str(&format!(", migrated by {} conversions", self.conversions));
        }
        if self.moved_keys > 0 {
            said.push_str(&format!(", {} moved to other key groups", self.moved_keys));
        }
        if !self.defaulted_fields.is_empty() {
            let fields = self.defaulted_fields.join(", ");
            said.push_str(&format!(", with defaults for {fields}"));
        }
        if !self.ignored_fields.is_empty() {
            let fields = self.ignored_fields.join(", ");
            said.push_str(&format!(", WITHOUT {fields}"));
        }
        said
    }
}

impl SourceReport {
    fn said(&self) -> String {
        let mut said = match self.is_new {
            true => "new".to_owned(),
            false => format!("{} records to replay", self.records_to_replay),
        };
        if let Some(name) = &self.renamed_from {
            said.push_str(&format!(", renamed from \"{name}\""));
        }
        said
    }
}
