//! What a sink is, and what it promises.
//!
//! A batch is committed in three steps. Every output *stages* it: durably, but not visibly. Then
//! the log records `committed(batch)`, durably. Then every output *publishes* it. After a crash
//! before the record, the batch runs again; after a crash that follows it, the batch is only
//! published again. Outputs run in the order in which the program defines them.

use crate::batch::Batch;
use crate::error::BoxError;
use crate::sink::backoff::Backoff;
use highwater_wal::disk::Disk;
use std::fmt;
use std::sync::Arc;

/// What a sink promises about each batch when the process or the machine crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// The batch in doubt may be seen twice, with the same id and the same records.
    AtLeastOnce,
    /// Every batch becomes visible exactly once: staging leaves nothing visible, publishing can be
    /// repeated.
    ExactlyOnce,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Guarantee::AtLeastOnce => "at least once",
            Guarantee::ExactlyOnce => "exactly once",
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
}

/// A sink: takes the records of a stream, batch by batch, always on one thread and in order.
pub trait Sink<T>: Send + 'static {
    /// What it promises.
    fn guarantee(&self) -> Guarantee;

    /// How many records of a batch it needs, at most: the first ones, in the order of the batch.
    fn limit(&self) -> usize {
        usize::MAX
    }

    /// Called once, before any batch: completes or removes what a crash left.
    ///
    /// # Errors
    /// Whatever keeps the sink from working; the context then does not start.
    fn open(&mut self, context: &SinkContext) -> Result<(), BoxError> {
        let _ = context;
        Ok(())
    }

    /// Takes a batch. An exactly-once sink makes it durable but not visible, and replaces what it
    /// staged for the same batch before. An at-least-once sink may show it now.
    ///
    /// # Errors
    /// Whatever went wrong; the batch is then not committed and the context stops.
    fn stage(&mut self, batch: &Batch, records: Vec<T>) -> Result<(), BoxError>;

    /// Makes a staged batch visible, durably; must do nothing more if it already is.
    ///
    /// # Errors
    /// Whatever went wrong; the context stops and the next start publishes through [`Self::open`].
    fn publish(&mut self, batch: &Batch) -> Result<(), BoxError> {
        let _ = batch;
        Ok(())
    }
}
