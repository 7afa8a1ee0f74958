//! Sinks whose batches are staged in parts: each worker writes its own share.

use crate::batch::Batch;
use crate::error::BoxError;
use crate::sink::output::{Guarantee, SinkContext};
use crate::sink::part::{Part, Records, StagedPart};

/// A sink whose batches are staged in parts, one for each worker.
///
/// A part is a stretch of the batch: part 0 has its first records, and all parts one after the
/// other are the batch in its order. How a batch is cut into parts follows from the batch and the
/// number of workers alone. A batch that runs again after a restart with another number of workers
/// has other parts.
///
/// The steps of a batch:
///
/// 1. [`Self::stage`] makes each part durable but not visible, and returns a *token*: what
///    [`Self::publish`] needs to find it.
/// 2. The log records the tokens of all parts, durably: the batch is committed.
/// 3. [`Self::publish`] makes exactly these parts visible. A part that is not there is an error.
/// 4. The log records that the batch is published.
///
/// After a crash between 2 and 4 the next start calls [`Self::open`], then [`Self::publish`] with
/// the tokens from the log. So what is published never follows from what happens to lie in a
/// directory.
pub trait StagedSink<T>: Send + Sync + 'static {
    /// What it promises.
    fn guarantee(&self) -> Guarantee {
        Guarantee::Transactional
    }

    /// How many parts a batch may have; 1 if its records must stay together.
    fn max_parts(&self) -> usize {
        usize::MAX
    }

    /// Called once, before any batch. Removes what a crash left of batches that were not committed:
    /// they run again. Parts of [`InDoubt::Listed`](crate::InDoubt::Listed) stay; they are
    /// published next.
    ///
    /// # Errors
    /// Whatever keeps the sink from working; the context then does not start.
    fn open(&self, context: &SinkContext) -> Result<(), BoxError> {
        let _ = context;
        Ok(())
    }

    /// Makes a part durable but not visible, and replaces what was staged for the same part of the
    /// same batch before. Parts of a batch are staged at the same time, on several threads. An
    /// empty batch has one part without records.
    ///
    /// Returns the token of the part, of at most
    /// [`MAX_TOKEN_BYTES`](crate::MAX_TOKEN_BYTES), or `None` if there is nothing
    /// to publish.
    ///
    /// # Errors
    /// Whatever went wrong: the part is tried again, unless the error is
    /// [permanent](crate::SinkError).
    fn stage(
        &self,
        batch: &Batch,
        part: Part,
        records: &Records<'_, T>,
    ) -> Result<Option<Vec<u8>>, BoxError>;

    /// Makes the parts of a batch visible, durably, in the order of their numbers. It must do
    /// nothing more for those that are visible already.
    ///
    /// # Errors
    /// Whatever went wrong, also a part that is missing: it is tried again, unless the error is
    /// [permanent](crate::SinkError).
    fn publish(&self, batch: &Batch, parts: &[StagedPart]) -> Result<(), BoxError>;
}
