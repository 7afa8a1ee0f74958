//! What the child reports to the parent: one line of JSON per event on its standard output. The
//! parent keeps what it has read when the child is killed.

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// The context has started, its source accepts connections.
    Ready(Ready),
    /// The status has changed.
    Status(Status),
    /// The context has stopped gracefully. Nothing follows.
    Stopped(Status),
}

/// How the start went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Where the source listens.
    pub(crate) address: String,
    /// How the log ended.
    pub(crate) log_end: String,
    /// The checkpoint that was recovered from.
    pub(crate) checkpoint: Option<u64>,
    /// Log bytes after it.
    pub(crate) bytes_to_replay: u64,
}

/// What the child has done since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Batches run, replayed ones included.
    pub(crate) batches: u64,
    /// Batches run again for their state only: their outputs were committed before.
    pub(crate) replayed: u64,
    /// Checkpoints published.
    pub(crate) checkpoints: u64,
    /// Records appended to the log.
    pub(crate) records: u64,
    /// Flushes of the log.
    pub(crate) flushes: u64,
    /// Lines recognised as sent again.
    pub(crate) duplicates: u64,
    /// Where the log starts: what is below was truncated.
    pub(crate) first_lsn: u64,
    /// Where the log ends.
    pub(crate) end_lsn: u64,
}

impl Status {
    /// The sum over two processes, and the log's bounds of the later one.
    pub(crate) fn and_then(self, later: Self) -> Self {
        Self {
            batches: self.batches + later.batches,
            replayed: self.replayed + later.replayed,
            checkpoints: self.checkpoints + later.checkpoints,
            records: self.records + later.records,
            flushes: self.flushes + later.flushes,
            duplicates: self.duplicates + later.duplicates,
            first_lsn: self.first_lsn.max(later.first_lsn),
            end_lsn: self.end_lsn.max(later.end_lsn),
        }
    }
}
