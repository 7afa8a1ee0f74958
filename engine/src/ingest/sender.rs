//! The in-process input, from outside the graph: `context.input::<T>(name)`.

use crate::codec::round_trip;
use crate::error::{Error, Result};
use crate::ingest::source_context::SourceContext;
use crate::ingest::source_writer::Receipt;
use crate::record::Value;
use highwater_wal::{Lsn, Wal};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

/// The kind of an in-process input.
pub(crate) const INPUT: &str = "input";

/// The sending end of an in-process input. Clone it for more threads.
///
/// It is bounded: [`Self::send`] waits while too much of the log is unprocessed, and while the
/// input is faster than its [rate](crate::DStream::max_rate).
///
/// ```
/// use highwater_engine::{BatchMode, StreamingContext};
///
/// # let dir = tempfile::tempdir()?;
/// # let context = StreamingContext::builder(dir.path()).batches(BatchMode::Manual).get_or_create(|ssc| {
/// #     ssc.input::<String>("lines").for_each_batch("out", |_, _| ());
/// #     Ok(())
/// # })?;
/// # context.start()?;
/// let lines = context.input::<String>("lines")?;
/// lines.send(&"to be".to_owned())?.wait()?; // durable now
///
/// // With a number, a retry is not stored again.
/// assert!(!lines.send_once("till 7", 1, &"or not".to_owned())?.is_duplicate());
/// assert!(lines.send_once("till 7", 1, &"or not".to_owned())?.is_duplicate());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Sender<T> {
    source: SourceContext,
    wal: Arc<Wal>,
    record: PhantomData<fn(T)>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            source: self.source.clone(),
            wal: Arc::clone(&self.wal),
            record: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("source", &self.source.name())
            .finish_non_exhaustive()
    }
}

impl<T: Value> Sender<T> {
    pub(crate) fn new(source: SourceContext, wal: Arc<Wal>) -> Self {
        Self {
            source,
            wal,
            record: PhantomData,
        }
    }

    /// Puts a record into the log. It is durable once the returned [`Ack`] has been waited for.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the context is stopped. [`Error::Log`] if the log refuses the record
    /// (too large, disk full) or has failed. [`Error::Encode`] if the record does not serialise or
    /// would not come back as it is. Where nothing would end a wait, because batches are run by
    /// hand or the context was not started: what [`Self::try_send`] returns. The record is not
    /// accepted then.
    pub fn send(&self, record: &T) -> Result<Ack> {
        let bytes = self.encode(record)?;
        let lsn = self.source.append(&[&bytes])?;
        Ok(self.ack(Receipt::Stored(lsn)))
    }

    /// Like [`Self::send`], but refuses at once instead of waiting.
    ///
    /// # Errors
    /// As [`Self::send`]; [`Error::NoRoom`] while too much of the log is unprocessed, and
    /// [`Error::RateExceeded`] while the input is faster than its rate.
    pub fn try_send(&self, record: &T) -> Result<Ack> {
        let bytes = self.encode(record)?;
        let lsn = self.source.try_append(&[&bytes])?;
        Ok(self.ack(Receipt::Stored(lsn)))
    }

    /// Puts several records into the log, all or none.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_all(&self, records: &[T]) -> Result<Ack> {
        let bytes = records
            .iter()
            .map(|r| self.encode(r))
            .collect::<Result<Vec<_>>>()?;
        let slices: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        let lsn = self.source.append(&slices)?;
        Ok(self.ack(Receipt::Stored(lsn)))
    }

    /// Puts a record into the log unless `producer` has sent this or a higher `sequence` before,
    /// also before a crash: a retry counts once. The acknowledgement holds either way;
    /// [`Ack::is_duplicate`] tells a record that was stored from one that was not. A restarted
    /// process that kept its numbers in memory begins them again. It learns here that the log takes
    /// its records for retries: it needs another name, or higher numbers.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_once(&self, producer: &str, sequence: u64, record: &T) -> Result<Ack> {
        let bytes = self.encode(record)?;
        let appended = self.source.append_once(producer, &[(sequence, &bytes)])?;
        let receipt = appended.receipts.first().copied();
        Ok(self.ack(receipt.expect("one record was offered, so there is one receipt")))
    }

    /// Like [`Self::send_once`] for a producer that counts its lives: see
    /// [`SourceContext::append_once_as`].
    ///
    /// # Errors
    /// As [`Self::send`]; [`Error::Fenced`] if the log knows a higher epoch of the producer.
    pub fn send_once_as(
        &self,
        producer: &str,
        epoch: u64,
        sequence: u64,
        record: &T,
    ) -> Result<Ack> {
        let bytes = self.encode(record)?;
        let records = [(sequence, bytes.as_slice())];
        let appended = self.source.append_once_as(producer, epoch, &records)?;
        let receipt = appended.receipts.first().copied();
        Ok(self.ack(receipt.expect("one record was offered, so there is one receipt")))
    }

    fn encode(&self, record: &T) -> Result<Vec<u8>> {
        round_trip::encode(record).map_err(|message| Error::Encode {
            input: self.source.name().to_owned(),
            message,
        })
    }

    fn ack(&self, receipt: Receipt) -> Ack {
        Ack {
            receipt,
            wal: Arc::clone(&self.wal),
        }
    }
}

/// A record on its way to the disk: wait for it, or `.await` it. Dropping it does not take the
/// record back.
#[must_use = "the record is not durable before `wait` returns or the ack was awaited"]
pub struct Ack {
    receipt: Receipt,
    wal: Arc<Wal>,
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ack")
            .field("lsn", &self.lsn())
            .field("is_duplicate", &self.is_duplicate())
            .finish_non_exhaustive()
    }
}

impl Ack {
    /// Where the record is in the log. Of a duplicate: where the newest record of its producer is.
    /// That is the record that it repeats, unless the producer has stored higher numbers since.
    pub fn lsn(&self) -> Lsn {
        self.receipt.lsn()
    }

    /// Whether [`Sender::send_once`] found the sequence number, or a higher one, in the log: this
    /// record was not stored. Always false for what was sent without a number.
    pub fn is_duplicate(&self) -> bool {
        self.receipt.is_duplicate()
    }

    /// Returns once the record is durable.
    ///
    /// # Errors
    /// [`Error::Log`] if the log has failed: whether the record will be found after a restart is
    /// unknown.
    pub fn wait(self) -> Result<()> {
        Ok(self.wal.sync_to(self.lsn())?)
    }
}

impl IntoFuture for Ack {
    type Output = Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.wal.durable(self.lsn()).await?;
            Ok(())
        })
    }
}
