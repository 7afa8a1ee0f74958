//! What a checkpoint is taken of, and what is known of a published one.

use crate::manifest::document::{Batch, BlockKind};

/// What a checkpoint is taken of.
#[derive(Debug, Clone, PartialEq)]
pub struct Meta {
    /// The checkpoint that this one continues: what the states have there still counts, where no
    /// block of this one says otherwise. `None` for one that has everything.
    pub parent: Option<u64>,
    /// The log that `lsn` is a position in.
    pub log_id: u128,
    /// Name of the application.
    pub application: String,
    /// The time now, in milliseconds since the Unix epoch. For people only.
    pub created_ms: u64,
    /// The last batch whose effects are in the checkpoint.
    pub batch: Batch,
    /// Where replay begins: everything below is in the checkpoint.
    pub lsn: u64,
    /// What the engine wants to remember: configuration, operators, source offsets, incomplete
    /// batches.
    pub metadata: serde_json::Value,
    /// The states; blocks can be added for these only. Others of the parent are gone.
    pub states: Vec<StateMeta>,
}

/// A state of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateMeta {
    /// Its name, unique in the checkpoint.
    pub name: String,
    /// What kind of state it is, in the engine's words.
    pub kind: String,
    /// How its entries are encoded, in the engine's words.
    pub codec: String,
    /// What its keys and values are, in the engine's words (type names).
    pub fingerprint: String,
    /// Whether all of it is written: nothing counts that the parent has of it.
    pub anew: bool,
}

/// A key group of a state, for [`CheckpointWriter::add`](crate::CheckpointWriter::add).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupBlock {
    /// Whether it is all of the key group, or what has changed since the parent.
    pub kind: BlockKind,
    /// How many keys were removed. A base has none.
    pub removed: u64,
    /// How many entries there are.
    pub entries: u64,
    /// The removed keys, then the entries, each a key and a value, written by
    /// [`append`](crate::entries::append). New keys come in the order of their creation.
    pub bytes: Vec<u8>,
}

/// A checkpoint that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its number.
    pub number: u64,
    /// Where replay from it begins.
    pub lsn: u64,
    /// Length of the files that were written for it, in bytes.
    pub bytes: u64,
    /// How many files were written for it, the manifest included.
    pub files: usize,
    /// Length of all files that it needs, in bytes; those of earlier checkpoints are among them.
    pub total_bytes: u64,
    /// How many files it needs, the manifest included.
    pub total_files: usize,
}
