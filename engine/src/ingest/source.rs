//! Sources that keep their own data: a batch reads them by offset, and nothing is copied into the
//! log.

use crate::error::BoxError;
use crate::ingest::offset_context::OffsetContext;
use bytes::Bytes;

/// A source that keeps its own data and can be read again by offset: partitions of a broker,
/// files.
///
/// The log holds no copy of the records. What it holds, in each cut, is which offsets the batch
/// has: that is durable before the batch runs. After a crash the same offsets are read again, so
/// each record counts once, as long as the source still has it. It must, up to
/// [`Self::release`].
///
/// ```
/// use highwater_engine::{Advance, AdvanceLimit, BoxError, OffsetContext, OffsetRange, ReadError, Source};
///
/// /// The numbers from 0 on: ten in a batch.
/// struct Numbers;
///
/// impl Source for Numbers {
///     fn advance(&self, source: &OffsetContext, limit: &AdvanceLimit) -> Result<Advance, BoxError> {
///         let from = source.position("numbers").unwrap_or(0);
///         let to = from + limit.records.unwrap_or(10).min(10);
///         Ok(Advance::new([OffsetRange::new("numbers", from, to)]))
///     }
///
///     fn read(
///         &self,
///         range: &OffsetRange,
///         emit: &mut dyn FnMut(u64, bytes::Bytes),
///     ) -> Result<(), ReadError> {
///         (range.from..range.to).for_each(|n| emit(n, n.to_string().into_bytes().into()));
///         Ok(())
///     }
/// }
/// ```
pub trait Source: Send + Sync + 'static {
    /// Called once by [`StreamingContext::start`](crate::StreamingContext::start), before any
    /// batch.
    ///
    /// # Errors
    /// Whatever keeps the source from working for good: the context then does not start. A broker
    /// that is down for the moment is no such error.
    fn open(&self, source: &OffsetContext) -> Result<(), BoxError> {
        let _ = source;
        Ok(())
    }

    /// What the next batch is to have. Called before a cut, while no other batch waits, by the
    /// thread that cuts: it must not wait for the network.
    ///
    /// A range begins where the last one of its item has ended ([`OffsetContext::position`]);
    /// anywhere, if the item is new. Ranges of one item follow each other. Each is read by one
    /// worker, as one piece: many of about 1 MiB keep all workers busy. An empty range keeps its
    /// item known, beside [`OffsetContext::ITEMS`] others.
    ///
    /// # Errors
    /// Anything: it is logged and counted ([`SourceStats::errors`](crate::SourceStats::errors)),
    /// the batch has nothing of the source, and the next one asks again.
    fn advance(&self, source: &OffsetContext, limit: &AdvanceLimit) -> Result<Advance, BoxError>;

    /// Calls `emit` for each record of `range` with its offset, in ascending order. The same
    /// range must give the same records, always. Called by workers, several at a time, and again
    /// after a crash.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]: the batch waits and is tried again. [`ReadError::Gone`]: the
    /// context stops.
    fn read(&self, range: &OffsetRange, emit: &mut dyn FnMut(u64, Bytes)) -> Result<(), ReadError>;

    /// Offsets of `item` below `offset` are never read again: every retained checkpoint has what
    /// became of them. Called now and then, by the thread that runs batches.
    fn release(&self, item: &str, offset: u64) {
        let _ = (item, offset);
    }
}

/// How much a batch may have of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdvanceLimit {
    /// Bytes, roughly: [`max_batch_bytes`](crate::Builder::max_batch_bytes).
    pub bytes: u64,
    /// Records, if their rate is bounded ([`Builder::max_rate`](crate::Builder::max_rate),
    /// back-pressure). Then batches come with the ticks alone.
    pub records: Option<u64>,
    /// What names and identities of the ranges may have: a cut is one record of the log.
    pub cut_bytes: usize,
}

/// What a cut has of a range besides its name and its identity, at most.
const RANGE_BYTES: usize = 96;

impl AdvanceLimit {
    /// So many ranges of a source a batch may have: a cut is one record of the log.
    pub const RANGES: usize = 1000;

    /// How many of `ranges`, from the first one on, a batch may have: at most [`Self::RANGES`],
    /// and fewer if their names are long. Others are left to the next batch, also if a source does
    /// not ask here.
    #[must_use]
    pub fn fits(&self, ranges: &[OffsetRange]) -> usize {
        let mut left = self.cut_bytes;
        let fits = ranges.iter().take(Self::RANGES).take_while(|range| {
            let bytes = RANGE_BYTES + range.item.len() + range.identity.len();
            let fits = bytes <= left;
            left = left.saturating_sub(bytes);
            fits
        });
        fits.count()
    }
}

/// What a batch is to have of a source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Advance {
    /// The ranges, in the order in which they are read. What does not fit the cut
    /// ([`AdvanceLimit::fits`]) is left to the next batch.
    pub ranges: Vec<OffsetRange>,
    /// Whether there is more than the limit allows. Then the next batch is cut as soon as this
    /// one is done.
    pub has_more: bool,
}

impl Advance {
    /// These ranges, and that is all there is.
    #[must_use]
    pub fn new(ranges: impl IntoIterator<Item = OffsetRange>) -> Self {
        Self {
            ranges: ranges.into_iter().collect(),
            has_more: false,
        }
    }

    /// Says that there is more.
    #[must_use]
    pub fn has_more(mut self, has_more: bool) -> Self {
        self.has_more = has_more;
        self
    }
}

/// The records of an item whose offsets lie in `from..to`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OffsetRange {
    /// What within the source: a partition, a file. Its position belongs to this name, so it must
    /// tell one item from another one that takes its place: at most 65,535 bytes.
    pub item: String,
    /// First offset ...
    pub from: u64,
    /// ... and the one after the last.
    pub to: u64,
    /// What tells [`Source::read`] that the records are still the same, such as a hash.
    pub identity: Vec<u8>,
    /// How many records it has, where an offset is not a record: for rates.
    pub records: Option<u64>,
}

impl OffsetRange {
    /// Without anything that tells whether the records are still the same.
    #[must_use]
    pub fn new(item: impl Into<String>, from: u64, to: u64) -> Self {
        Self {
            item: item.into(),
            from,
            to,
            identity: Vec::new(),
            records: None,
        }
    }

    /// With so many records, where an offset is not a record (but a byte).
    #[must_use]
    pub fn records(mut self, records: u64) -> Self {
        self.records = Some(records);
        self
    }

    /// With what tells that the records are still the same.
    #[must_use]
    pub fn identity(mut self, identity: impl Into<Vec<u8>>) -> Self {
        self.identity = identity.into();
        self
    }
}

/// What keeps a range from being read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It passes: a broker that is down, a disk that does not answer. The batch waits, and is
    /// tried again with longer and longer pauses, up to ten seconds. Not where batches are run by
    /// hand: there it counts as any other failure
    /// ([`max_batch_failures`](crate::Builder::max_batch_failures)).
    #[error("the source is not available: {0}")]
    Unavailable(#[source] BoxError),
    /// The records are gone, or are not what they were: no other attempt would help.
    #[error("what the batch was cut with cannot be read any more: {0}")]
    Gone(#[source] BoxError),
}
