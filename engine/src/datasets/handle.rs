//! `Datasets` and `Dataset`: what users ask about results of past batches.

use crate::codec::message_pack;
use crate::datasets::lineage::DatasetLineage;
use crate::datasets::slot::{DatasetSlot, Recompute};
use crate::error::{Error, Result};
use crate::record::Value;
use crate::thread_role::{self, Role};
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// The results that a stream had in past batches.
///
/// ```
/// # use highwater_engine::{StreamingContext, BatchMode};
/// # let dir = tempfile::tempdir()?;
/// let context = StreamingContext::builder(dir.path())
///     .batches(BatchMode::Manual)
///     .get_or_create(|ssc| {
///         let squares = ssc.input::<u64>("numbers").map(|n| n * n);
///         squares.datasets("squares").persist(1 << 20);
///         Ok(())
///     })?;
/// context.start()?;
/// for n in [2, 3] {
///     context.input::<u64>("numbers")?.send(&n)?.wait()?;
///     context.run_batch()?;
/// }
/// let squares = context.datasets::<u64>("squares")?;
/// let first = squares.batch(1)?;
/// assert_eq!(first.lineage()?.to_string(), "cached");
/// assert_eq!(first.collect()?, [4]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// A result is looked for in this order:
/// 1. in memory, if [`persist`](Self::persist) keeps it;
/// 2. in a checkpoint, if [`checkpoint`](Self::checkpoint) put it there;
/// 3. otherwise it is computed again: state is loaded from the newest retained checkpoint before
///    the batch, and the batches after it are read from the log and run, without outputs.
///
/// All three give the same records. They are what serde gives back: a `#[serde(skip)]` field has
/// its default. A past batch is computed by **today's** program.
///
/// Without `persist` and `checkpoint` nothing is computed or kept before it is asked for.
pub struct Datasets<T> {
    pub(crate) slot: Arc<DatasetSlot>,
    pub(crate) records: PhantomData<fn() -> T>,
}

impl<T> Clone for Datasets<T> {
    fn clone(&self) -> Self {
        Self {
            slot: Arc::clone(&self.slot),
            records: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Datasets<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datasets")
            .field("name", &self.slot.name)
            .finish_non_exhaustive()
    }
}

impl<T: Value> Datasets<T> {
    /// Keeps the newest results in memory, in serialised form, at most `max_bytes` of them. Each
    /// counts as its bytes and 128 more. The oldest goes first; a result that does not fit at all
    /// is not kept. What has gone is computed again when it is asked for.
    ///
    /// It does not cut lineage: after a restart the results of before are not in memory.
    #[allow(
        clippy::must_use_candidate,
        reason = "the setting takes effect without the handle"
    )]
    pub fn persist(self, max_bytes: u64) -> Self {
        self.slot.persist(max_bytes);
        self
    }

    /// Puts the result of the first batch in each `interval` of batch time into the checkpoints of
    /// the context, and keeps the newest `keep` of them there; 0 counts as 1. They are durable
    /// together with the state, and are there after a restart. They are held in memory as well, in
    /// serialised form, and every checkpoint writes them again.
    ///
    /// A start that finds results of a name that the program no longer has leaves them out.
    #[allow(
        clippy::must_use_candidate,
        reason = "the setting takes effect without the handle"
    )]
    pub fn checkpoint(self, interval: Duration, keep: usize) -> Self {
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        self.slot.schedule(interval_ms, keep);
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.slot.name
    }

    /// The result of batch `id`. Nothing is computed yet.
    ///
    /// # Errors
    /// [`Error::Dataset`] if there is no such batch, or it has not finished.
    pub fn batch(&self, id: u64) -> Result<Dataset<T>> {
        let last = self.slot.last();
        if id == 0 || id > last {
            return Err(Error::Dataset {
                name: self.slot.name.to_string(),
                batch: id,
                message: match last {
                    0 => "no batch has finished yet".to_owned(),
                    last => format!("the batches that have finished are 1 to {last}"),
                },
            });
        }
        Ok(Dataset {
            slot: Arc::clone(&self.slot),
            batch: id,
            records: PhantomData,
        })
    }

    /// The results of the batches of time `time_ms`. That is one, unless a byte bound has cut
    /// several batches of one time.
    ///
    /// # Errors
    /// Those of [`Self::slice`].
    pub fn at(&self, time_ms: u64) -> Result<Vec<Dataset<T>>> {
        self.slice(time_ms, time_ms)
    }

    /// The results of all finished batches with times from `from_ms` to `to_ms`, both inclusive, in
    /// order: those that are kept, and those that the log still has.
    ///
    /// # Errors
    /// What reading the log fails with; [`Error::Stopped`] if the context is gone.
    pub fn slice(&self, from_ms: u64, to_ms: u64) -> Result<Vec<Dataset<T>>> {
        let (recompute, last) = (recompute(&self.slot)?, self.slot.last());
        let known = recompute.batches()?.into_iter().chain(self.slot.kept());
        let inside = known.filter(|(id, time)| *id <= last && (from_ms..=to_ms).contains(time));
        let ids: BTreeSet<u64> = inside.map(|(id, _)| id).collect();
        ids.into_iter().map(|id| self.batch(id)).collect()
    }
}

fn recompute(slot: &DatasetSlot) -> Result<Arc<dyn Recompute>> {
    // A batch would wait for the log, for threads, and for itself.
    if thread_role::role() != Role::Outside {
        return Err(Error::LifeCycle(
            "a dataset cannot be asked for inside a batch or a receiver: ask on a thread of the program",
        ));
    }
    slot.recompute().ok_or(Error::Stopped)
}

/// The result of a stream in one past batch. Cheap to clone.
pub struct Dataset<T> {
    slot: Arc<DatasetSlot>,
    batch: u64,
    records: PhantomData<fn() -> T>,
}

impl<T> Clone for Dataset<T> {
    fn clone(&self) -> Self {
        Self {
            slot: Arc::clone(&self.slot),
            batch: self.batch,
            records: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Dataset<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("name", &self.slot.name)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}

impl<T: Value> Dataset<T> {
    /// The batch whose result it is.
    #[must_use]
    pub fn batch_id(&self) -> u64 {
        self.batch
    }

    /// The records, in the order in which the batch had them.
    ///
    /// If they have to be computed again, this thread waits for that. It runs beside the batches of
    /// the context, in threads of its own, and holds one more copy of the program's state
    /// meanwhile. One result is computed at a time; others wait.
    ///
    /// # Errors
    /// [`Error::Dataset`] if neither a checkpoint nor the log reaches back to the batch: it names
    /// the settings that decide how far they do. [`Error::LifeCycle`] inside a batch.
    /// [`Error::Stopped`] if the context is gone and the result is not kept.
    pub fn collect(&self) -> Result<Vec<T>> {
        let bytes = self.bytes()?;
        message_pack::decode(&bytes).map_err(|message| Error::Dataset {
            name: self.slot.name.to_string(),
            batch: self.batch,
            message: format!("its records do not read back: {message}"),
        })
    }

    /// Puts the result into the next checkpoint of the context and all later ones, until
    /// [`Self::release`]. It is computed now, if it is not kept.
    ///
    /// # Errors
    /// Those of [`Self::collect`].
    pub fn checkpoint(&self) -> Result<()> {
        let bytes = self.bytes()?;
        let mut known = self.slot.kept();
        if !known.iter().any(|(id, _)| *id == self.batch) {
            known = recompute(&self.slot)?.batches()?;
        }
        let time = known.iter().find(|(id, _)| *id == self.batch);
        let (_, time_ms) = *time.ok_or(Error::Stopped)?;
        self.slot.ask(self.batch, time_ms, bytes);
        Ok(())
    }

    /// Leaves the result out of later checkpoints.
    pub fn release(&self) {
        self.slot.release(self.batch);
    }

    /// How [`Self::collect`] would get the records.
    ///
    /// # Errors
    /// Those of [`Self::collect`], without computing anything.
    pub fn lineage(&self) -> Result<DatasetLineage> {
        match self.slot.stored(self.batch) {
            Some((_, lineage)) => Ok(lineage),
            None => recompute(&self.slot)?.lineage(&self.slot.name, self.batch),
        }
    }

    fn bytes(&self) -> Result<Arc<[u8]>> {
        match self.slot.stored(self.batch) {
            Some((bytes, _)) => Ok(bytes),
            None => recompute(&self.slot)?.recompute(&self.slot.name, self.slot.tap, self.batch),
        }
    }
}
