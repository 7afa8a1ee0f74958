//! Checkpoints, lineage, log.

use serde::Serialize;

/// Checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checkpoints {
    /// Published since the start.
    pub published: u64,
    /// Attempts that have failed since the start; the log was kept instead.
    pub failed: u64,
    /// The number of the newest one.
    pub newest: Option<u64>,
    /// The batch after which it was taken.
    pub newest_batch: Option<u64>,
    /// How old its newest batch is.
    pub age_ms: Option<u64>,
    /// The longest time that batches had to wait for one.
    pub longest_pause_ms: f64,
    /// The newest first.
    pub checkpoints: Vec<Checkpoint>,
}

/// A checkpoint, or an attempt at one that has failed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checkpoint {
    /// Its number; `None` if it was not published.
    pub number: Option<u64>,
    /// The batch after which it was taken.
    pub batch: u64,
    /// When it was published, or had failed.
    pub at_ms: u64,
    /// How long it took.
    pub took_ms: Option<f64>,
    /// Bytes that were written for it.
    pub size_bytes: Option<u64>,
    /// Bytes of all files that it needs.
    pub total_bytes: Option<u64>,
    /// How many files these are.
    pub files: Option<u64>,
    /// Why it was not published, or cannot be used.
    pub error: Option<String>,
}

/// What a crash would have to replay.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lineage {
    /// In one line.
    pub text: String,
    /// Batches since the newest checkpoint.
    pub batches: u64,
    /// Bytes of log since then.
    pub bytes: u64,
    /// From here on.
    pub replay_from: u64,
    /// How long a recovery would take.
    pub recovery_ms: Option<u64>,
    /// How long it may take, if the program says that.
    pub target_ms: Option<u64>,
    /// The same after each of the newest batches, the oldest first.
    pub points: Vec<LineagePoint>,
}

/// What a crash would have had to replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LineagePoint {
    /// When.
    pub at_ms: u64,
    /// Batches.
    pub batches: u64,
    /// Bytes of log.
    pub bytes: u64,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Log {
    /// The oldest position that is kept.
    pub first_lsn: u64,
    /// Everything below is durable.
    pub durable_lsn: u64,
    /// Everything below is appended.
    pub end_lsn: u64,
    /// Bytes of its files.
    pub disk_bytes: u64,
    /// The bound on them.
    pub max_bytes: Option<u64>,
    /// Bytes that are free on its file system; `None` if that is not known.
    pub free_bytes: Option<u64>,
    /// The oldest first.
    pub segments: Vec<Segment>,
    /// Who keeps it.
    pub holds: Vec<Hold>,
}

/// A segment of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// The position of its first byte.
    pub base: u64,
    /// Behind the last byte that it has room for.
    pub end: u64,
    /// Whether it is appended to.
    pub is_tail: bool,
    /// Who needs something of it.
    pub kept_by: Vec<String>,
}

/// What keeps the log from a position on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// Who.
    pub name: String,
    /// From where on.
    pub lsn: u64,
    /// How much that is.
    pub bytes: u64,
}
