//! Sources, batches, receivers, records that were refused.

use serde::Serialize;

/// What comes in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sources {
    /// In the order of their declaration.
    pub sources: Vec<SourceRow>,
}

/// A source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceRow {
    /// Its name.
    pub name: String,
    /// Records that it has stored: since the start, or of all times if a directory is shown.
    pub stored: u64,
    /// Retries that were recognised; `None` if that is not known.
    pub duplicates: Option<u64>,
    /// Records that were refused or skipped; `None` if that is not known.
    pub skipped: Option<u64>,
    /// Producers and keys that were forgotten: their retries would count again. `None` if that is
    /// not known.
    pub forgotten: Option<u64>,
    /// Records that no completed batch has; of a directory: that no checkpoint has.
    pub lag_records: u64,
    /// Their bytes.
    pub lag_bytes: u64,
    /// The age of the oldest of them; `None` if there is none, or if it has no time of receipt.
    pub lag_ms: Option<u64>,
    /// Records per second that it may have at most.
    pub rate_limit: Option<u64>,
}

/// The newest batches.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Batches {
    /// The interval of batches; `None` if they are run by hand, or if it is not known.
    pub interval_ms: Option<f64>,
    /// The newest first.
    pub batches: Vec<Batch>,
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Batch {
    /// Its id.
    pub id: u64,
    /// When it was complete.
    pub at_ms: u64,
    /// Where its input begins.
    pub from: u64,
    /// Behind the last byte of its input.
    pub to: u64,
    /// Records of all sources.
    pub records: u64,
    /// How long it waited for its turn.
    pub waited_ms: f64,
    /// How long it took, outputs included.
    pub took_ms: f64,
    /// What of that each step took.
    pub steps: Vec<Step>,
    /// Whether it ran for its state alone.
    pub replayed: bool,
}

/// A step of a batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// `run`, `stage`, `commit`, `publish`, `checkpoint`.
    pub step: String,
    /// How long it took.
    pub took_ms: f64,
}

/// What receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receiver {
    /// Its source.
    pub source: String,
    /// `running`, `waiting`, `stopped`.
    pub state: &'static str,
    /// So often it has failed since the start.
    pub failures: u64,
    /// Why, the last time.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_ms: Option<u64>,
}

/// Records that operators have refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetters {
    /// Records that were put aside and not replayed since.
    pub open: u64,
    /// By operator.
    pub operators: Vec<Refused>,
}

/// What an operator has refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The operator.
    pub operator: String,
    /// Records that were left out.
    pub skipped: u64,
    /// Records that were put aside.
    pub dead_letters: u64,
}
