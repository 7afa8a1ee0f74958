//! What a sink is, and what it promises.
//!
//! A batch is committed in three steps. Every output *stages* it: durably, but not visibly. Then
//! the log records `committed(batch)`, durably. Then every output *publishes* it. After a crash
//! before the record, the batch runs again; after a crash that follows it, the batch is only
//! published again. Outputs run in the order in which the program defines them.
//!
//! A sink that fails is tried again with the same records, for as long as it takes.

use crate::batch::Batch;
use crate::error::BoxError;
use crate::sink::backoff::Backoff;
use crate::sink::part::StagedPart;
use highwater_wal::disk::Disk;
use std::fmt;
use std::sync::Arc;

/// What a sink promises about each batch when the process or the machine crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// Every batch becomes visible exactly once: staging leaves nothing visible, publishing can be
    /// repeated.
    Transactional,
    /// Staging makes the batch visible, together with its number: when the batch in doubt comes
    /// again, the sink sees that it has it. Its effect is there once.
    Idempotent,
    /// The batch in doubt may be seen twice, with the same id and the same records.
    AtLeastOnce,
}

impl Guarantee {
    /// What [`Self::Transactional`] was called.
    #[deprecated(note = "it is `Transactional` now")]
    #[allow(non_upper_case_globals, reason = "the variant of this name is gone")]
    pub const ExactlyOnce: Self = Self::Transactional;
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Guarantee::Transactional => "transactional",
            Guarantee::Idempotent => "idempotent",
            Guarantee::AtLeastOnce => "at least once",
        })
    }
}

/// What a sink may use.
#[derive(Debug)]
pub struct SinkContext {
    /// The disk: files go through it, so that tests can crash it.
    pub disk: Arc<dyn Disk>,
    /// The newest batch that was committed, if any. [`Sink::open`] must publish what was staged up
    /// to it, and throw away what was staged after it: those batches run again.
    pub committed: Option<u64>,
    /// For a sink that finds its disk full: it may wait and try again instead of failing.
    pub backoff: Backoff,
    /// Identity of the output: for a sink that marks what it has written.
    pub owner: OutputOwner,
    /// The batches that the log still knows, ascending: that of the newest checkpoint and all that
    /// were cut after it. What a crash left between staging and publishing belongs to one of them.
    /// Empty if no batch was cut yet.
    pub batches: Arc<[Batch]>,
    /// The newest committed batch in which this output was called, as far as the log still knows:
    /// none, if it was not called since the newest checkpoint.
    pub called: Option<u64>,
    /// Whether the program that took the newest checkpoint had this output.
    pub known: bool,
    /// What this output staged and has not published for certain.
    pub in_doubt: InDoubt,
}

/// What an output has staged of the newest committed batch. Older batches are published: a batch is
/// committed after all outputs of the one before have published it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum InDoubt {
    /// Nothing: everything that is committed is published.
    #[default]
    Nothing,
    /// These parts, as the log lists them. The engine has them published right after
    /// [`StagedSink::open`](crate::StagedSink::open).
    Listed {
        /// The batch.
        batch: Batch,
        /// Its parts.
        parts: Arc<[StagedPart]>,
    },
    /// The log has no list: no output of the program that committed it had parts to list, or it was
    /// one of the version before lists. A sink that wrote in that version publishes what it finds
    /// staged of this batch.
    Unlisted {
        /// The batch.
        batch: Batch,
    },
}

/// Identity of an output among all programs that may write to the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputOwner {
    /// Identity of the log: random, never the same for two logs.
    pub log_id: u128,
    /// Name of the application.
    pub application: String,
    /// Name of the output within the program.
    pub output: String,
    /// Logs that are gone, or have ended, and whose place this one has taken: what they have
    /// written is this output's. See [`Builder::accept_loss`](crate::Builder::accept_loss).
    pub predecessors: Vec<u128>,
}

/// A sink: takes the records of a stream, batch by batch, always on one thread and in order. (For
/// one that stages its parts on several threads see [`StagedSink`](crate::StagedSink).)
///
/// ```
/// use highwater_engine::{Batch, BoxError, Guarantee, Sink};
/// use std::collections::BTreeMap;
///
/// /// Has each batch by its number, so that a batch that comes again changes nothing.
/// struct ByNumber(BTreeMap<u64, Vec<String>>);
///
/// impl Sink<String> for ByNumber {
///     fn guarantee(&self) -> Guarantee {
///         Guarantee::Idempotent
///     }
///
///     fn stage(&mut self, batch: &Batch, records: Vec<String>) -> Result<(), BoxError> {
///         self.0.entry(batch.id).or_insert(records);
///         Ok(())
///     }
/// }
/// # let _ = |lines: &highwater_engine::DStream<String>| {
/// #     lines.sink("by number", ByNumber(BTreeMap::new()));
/// # };
/// ```
pub trait Sink<T>: Send + 'static {
    /// What it promises.
    fn guarantee(&self) -> Guarantee;

    /// How many records of a batch it needs, at most: the first ones, in the order of the batch.
    fn limit(&self) -> usize {
        usize::MAX
    }

    /// Whether [`Self::stage`] can fail, so that a copy of the batch must be kept for another
    /// attempt.
    fn may_fail(&self) -> bool {
        true
    }

    /// Called once, before any batch: completes or removes what a crash left.
    ///
    /// # Errors
    /// Whatever keeps the sink from working; the context then does not start.
    fn open(&mut self, context: &SinkContext) -> Result<(), BoxError> {
        let _ = context;
        Ok(())
    }

    /// Takes a batch. A transactional sink makes it durable but not visible, and replaces what it
    /// staged for the same batch before. An idempotent one makes it durable and visible, unless it
    /// has it already. An at-least-once sink may show it now.
    ///
    /// # Errors
    /// Whatever went wrong: the batch waits and is tried again, unless the error is
    /// [permanent](crate::SinkError). A panic counts as an error.
    fn stage(&mut self, batch: &Batch, records: Vec<T>) -> Result<(), BoxError>;

    /// Makes a staged batch visible, durably; must do nothing more if it already is.
    ///
    /// # Errors Whatever went wrong: it is tried again, unless the error is
    /// [permanent](crate::SinkError). If the context stops meanwhile, the next start publishes
    /// through [`Self::open`].
    fn publish(&mut self, batch: &Batch) -> Result<(), BoxError> {
        let _ = batch;
        Ok(())
    }
}
