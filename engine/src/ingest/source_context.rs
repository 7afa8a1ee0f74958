//! What a receiver works with.

use crate::batch::source_range::SourceRange;
use crate::engine_log::keys::KeyWindow;
use crate::engine_log::ledger::Settled;
use crate::engine_log::producers::MAX_PRODUCERS;
use crate::engine_log::received::SourceLag;
use crate::error::{BoxError, Result};
use crate::flag::Flag;
use crate::ingest::admission::Room;
use crate::ingest::frame_id::{FrameId, StoredFrame};
use crate::ingest::rate_gate::RateGate;
use crate::ingest::source_writer::{Appended, SourceWriter};
use crate::observe::throttle::Throttle;
use highwater_wal::disk::{Clock, Disk};
use highwater_wal::{Lsn, StreamId};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a receiver works with. Cheap to clone; usable from any thread.
#[derive(Debug, Clone)]
pub struct SourceContext {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Arc<SourceWriter>,
    stopping: Flag,
    on_stop: Mutex<Vec<Box<dyn Fn() + Send>>>,
    counters: Counters,
    /// Warnings about records, which a sender can cause ...
    skips: Throttle,
    /// ... must not hide those about the receiver.
    failures: Throttle,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("name", &self.writer.name)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Counters {
    stored: AtomicU64,
    duplicates: AtomicU64,
    skipped: AtomicU64,
    errors: AtomicU64,
    read_again: AtomicU64,
    vanished: AtomicU64,
}

/// What a source has done since the context started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceStats {
    /// Records appended to the log.
    pub stored: u64,
    /// Records recognised as retries and not appended again.
    pub duplicates: u64,
    /// Records refused or skipped; the reasons are in the program's log.
    pub skipped: u64,
    /// Failures of the receiver, each followed by a restart.
    pub errors: u64,
    /// Inputs (files) that were read again from the beginning because they had changed since they
    /// were read.
    pub read_again: u64,
    /// Inputs (files) that were gone before they were read to their end.
    pub vanished: u64,
    /// Producers and idempotency keys that were forgotten because there were too many: a retry of
    /// theirs would count again.
    pub forgotten: u64,
}

impl SourceContext {
    /// How many producers of a source are remembered at least: those whose offset advanced last.
    pub const PRODUCER_WINDOW: usize = MAX_PRODUCERS / 4 * 3;

    pub(crate) fn new(writer: Arc<SourceWriter>) -> Self {
        let inner = Inner {
            writer,
            stopping: Flag::default(),
            on_stop: Mutex::default(),
            counters: Counters::default(),
            skips: Throttle::default(),
            failures: Throttle::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Name of the source.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.writer.name
    }

    /// The largest record that the log accepts, in bytes.
    #[must_use]
    pub fn max_record_bytes(&self) -> usize {
        self.inner.writer.admission.wal.max_record_bytes()
    }

    /// Appends records as one frame that is in the log completely or not at all. **Not durable
    /// yet**: acknowledge only after [`Self::sync_to`]. Waits while too much of the log is
    /// unprocessed, and while the source is faster than its rate
    /// ([`DStream::max_rate`](crate::DStream::max_rate)). Where nothing would end the wait, because
    /// batches are run by hand or the context was not started, it refuses as
    /// [`Self::try_append`] does.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped) when the context stops,
    /// [`Error::Log`](crate::Error::Log) if the log refuses or has failed: none of the records may
    /// be acknowledged then.
    pub fn append(&self, records: &[&[u8]]) -> Result<Lsn> {
        let lsn = self.inner.writer.append(records, Room::Wait)?;
        self.count(records.len(), 0);
        Ok(lsn)
    }

    /// Like [`Self::append`] for text. A source of text
    /// ([`StreamScope::text_source`](crate::StreamScope::text_source)) need not look at it: its
    /// type says that it is UTF-8.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_text(&self, records: &[&str]) -> Result<Lsn> {
        let lsn = self.inner.writer.append_text(records, Room::Wait)?;
        self.count(records.len(), 0);
        Ok(lsn)
    }

    fn count(&self, stored: usize, duplicates: usize) {
        let counters = &self.inner.counters;
        let add = |counter: &AtomicU64, n: usize| counter.fetch_add(n as u64, Ordering::Relaxed);
        add(&counters.stored, stored);
        add(&counters.duplicates, duplicates);
    }

    /// Like [`Self::append`], but refuses at once instead of waiting.
    ///
    /// # Errors
    /// As [`Self::append`]; [`Error::NoRoom`](crate::Error::NoRoom), which names the bound, while
    /// too much of the log is unprocessed; [`Error::RateExceeded`](crate::Error::RateExceeded)
    /// while the source is faster than its rate. A thread may try again; a task may await
    /// [`Self::ready`] first.
    pub fn try_append(&self, records: &[&[u8]]) -> Result<Lsn> {
        let lsn = self.inner.writer.append(records, Room::Refuse)?;
        self.count(records.len(), 0);
        Ok(lsn)
    }

    /// Resolves when there is room for more unprocessed data and the rate lets a record pass,
    /// without blocking a thread. Another one may take the place before [`Self::try_append`]: then
    /// await it once more.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped) when the context stops, and
    /// [`Error::NoRoom`](crate::Error::NoRoom) or
    /// [`Error::RateExceeded`](crate::Error::RateExceeded) where nothing would end the wait.
    pub fn ready(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let writer = Arc::clone(&self.inner.writer);
        std::future::poll_fn(move |context| writer.poll_ready(context))
    }

    /// Like [`Self::append`] for records that carry their producer's sequence numbers, in ascending
    /// order: those that are in the log already are left out. Acknowledge any of them, new or not,
    /// only after `sync_to` of the result.
    ///
    /// # Errors
    /// As [`Self::append`].
    /// [`Error::Fenced`](crate::Error::Fenced) if the producer has stored records with an epoch.
    pub fn append_once(&self, producer: &str, records: &[(u64, &[u8])]) -> Result<Appended> {
        self.once((producer, 0), records, Room::Wait)
    }

    /// Like [`Self::append_once`], but refuses at once instead of waiting.
    ///
    /// # Errors
    /// As [`Self::append_once`] and [`Self::try_append`].
    pub fn try_append_once(&self, producer: &str, records: &[(u64, &[u8])]) -> Result<Appended> {
        self.once((producer, 0), records, Room::Refuse)
    }

    /// Like [`Self::append_once`] for a producer that counts its lives: each has an `epoch`, higher
    /// than the one before, and begins its sequence numbers again. The first record of a higher
    /// epoch fences all lower ones: what still comes of them is refused.
    ///
    /// # Errors
    /// As [`Self::append`]. [`Error::Fenced`](crate::Error::Fenced), which has the current epoch,
    /// if the log knows a higher one: nothing was stored.
    pub fn append_once_as(
        &self,
        producer: &str,
        epoch: u64,
        records: &[(u64, &[u8])],
    ) -> Result<Appended> {
        self.once((producer, epoch), records, Room::Wait)
    }

    /// Like [`Self::append_once_as`], but refuses at once instead of waiting.
    ///
    /// # Errors
    /// As [`Self::append_once_as`] and [`Self::try_append`].
    pub fn try_append_once_as(
        &self,
        producer: &str,
        epoch: u64,
        records: &[(u64, &[u8])],
    ) -> Result<Appended> {
        self.once((producer, epoch), records, Room::Refuse)
    }

    /// Appends records as one frame, unless the log has a frame with this id: then it is a retry,
    /// and nothing is stored. Refuses at once instead of waiting, as [`Self::try_append`] does.
    /// Acknowledge it, new or not, only after [`Self::sync_to`] or [`Self::durable`] of the result:
    /// the first of two senders of one frame may still wait for its flush.
    ///
    /// # Errors
    /// As [`Self::try_append`]; nothing was stored. [`Error::Fenced`](crate::Error::Fenced) if the
    /// log knows a higher epoch of the producer; [`Error::SequenceGap`](crate::Error::SequenceGap)
    /// if a number is not the next one; [`Error::KeyReused`](crate::Error::KeyReused) if the log
    /// has other records with the key; [`Error::Record`](crate::Error::Record) for a key or a name
    /// that is too long.
    pub fn try_append_frame(&self, id: FrameId<'_>, records: &[&[u8]]) -> Result<StoredFrame> {
        let stored = self.inner.writer.append_frame(id, records, Room::Refuse)?;
        match stored.is_duplicate {
            true => self.count(0, records.len()),
            false => self.count(records.len(), 0),
        }
        Ok(stored)
    }

    /// Whether a record can be stored: whether the source can read it back. Every append makes sure
    /// of that itself; this is for a receiver that leaves out single records.
    ///
    /// # Errors
    /// What the decoder said.
    pub fn check(&self, record: &[u8]) -> std::result::Result<(), String> {
        self.inner.writer.check_one(record)
    }

    /// Sets how long keys ([`FrameId::IdempotencyKey`]) are remembered, from now on: at least so
    /// many, and not longer than so. A receiver calls it when it opens.
    pub fn remember_keys(&self, window: KeyWindow) {
        self.inner.writer.remember_keys(window);
    }

    fn once(
        &self,
        producer: (&str, u64),
        records: &[(u64, &[u8])],
        room: Room,
    ) -> Result<Appended> {
        let appended = self.inner.writer.append_once(producer, records, room)?;
        self.count(records.len() - appended.duplicates, appended.duplicates);
        Ok(appended)
    }

    /// Sets the producer's offset without storing a record: everything of `producer` up to
    /// `sequence` is dealt with. For what was skipped, and to keep a producer among the
    /// [`Self::PRODUCER_WINDOW`] that are remembered.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn advance_producer(&self, producer: &str, sequence: u64) -> Result<Lsn> {
        self.inner.writer.advance_producer(producer, sequence)
    }

    /// Returns once everything up to the frame at `lsn` is durable. One device flush serves every
    /// waiter.
    ///
    /// # Errors
    /// [`Error::Log`](crate::Error::Log) if the log has failed: nothing may be acknowledged.
    pub fn sync_to(&self, lsn: Lsn) -> Result<()> {
        self.inner.writer.sync_to(lsn)
    }

    /// Resolves once everything up to the frame at `lsn` is durable, without blocking a thread:
    /// what a task awaits before it acknowledges. One device flush serves every waiter. The future
    /// may be dropped; what it waited for becomes durable all the same.
    ///
    /// # Errors
    /// [`Error::Log`](crate::Error::Log) if the log has failed: nothing may be acknowledged.
    pub fn durable(&self, lsn: Lsn) -> impl Future<Output = Result<()>> + Send + use<> {
        let durable = self.inner.writer.admission.wal.durable(lsn);
        async move {
            durable.await?;
            Ok(())
        }
    }

    /// The highest sequence number of `producer` that is in the log: where a replayable producer
    /// goes on. Of its newest epoch, if it has any.
    #[must_use]
    pub fn last_sequence(&self, producer: &str) -> Option<u64> {
        self.inner.writer.last_sequence(producer)
    }

    /// Every producer that is remembered, with its highest sequence number and the LSN of its
    /// newest frame. A source looks up here, when it starts, what earlier runs have done.
    #[must_use]
    pub fn producers(&self) -> Vec<(String, u64, Lsn)> {
        self.inner.writer.producers()
    }

    /// Counts an input (a file) that changed after it was read and is read again, and logs why: at
    /// most once per change.
    pub fn read_again(&self, what: &str) {
        self.inner
            .counters
            .read_again
            .fetch_add(1, Ordering::Relaxed);
        tracing::warn!(source = self.name(), "{what}");
    }

    /// Counts an input (a file) that is gone and was read in part, and logs how far.
    pub fn vanished(&self, what: &str) {
        self.inner.counters.vanished.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(source = self.name(), "{what}");
    }

    /// Counts a record that is refused, and logs it unless many were logged a moment ago.
    /// `held_back` in the next message counts those that were not logged.
    pub fn skip(&self, reason: &str) {
        self.inner.counters.skipped.fetch_add(1, Ordering::Relaxed);
        if let Some(held_back) = self.inner.skips.pass(self.clock().now()) {
            tracing::warn!(source = self.name(), reason, held_back, "record skipped");
        }
    }

    /// Counts a failure, and logs it as [`Self::skip`] does.
    pub fn report_error(&self, error: &BoxError) {
        self.inner.counters.errors.fetch_add(1, Ordering::Relaxed);
        if let Some(held_back) = self.inner.failures.pass(self.clock().now()) {
            tracing::warn!(source = self.name(), %error, held_back, "receiver failed");
        }
    }

    /// Whether the receiver should return.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.inner.stopping.is_set()
    }

    /// Rests for `time` or until the context stops, whichever comes first; true if it stops. Of any
    /// length: a time beyond the clock's reach lasts until the stop.
    #[must_use]
    pub fn rest(&self, time: Duration) -> bool {
        let clock = self.clock();
        let deadline = clock.now().saturating_add(time);
        self.inner.stopping.wait_until(&*clock, Some(deadline))
    }

    /// Registers what interrupts a blocking call of the receiver (such as shutting down its socket)
    /// when the context stops. Called at once if it is stopping already.
    pub fn on_stop(&self, interrupt: impl Fn() + Send + 'static) {
        let mut registered = self.inner.on_stop.lock();
        if self.is_stopping() {
            interrupt();
        }
        registered.push(Box::new(interrupt));
    }

    /// The disk that the context runs on.
    #[must_use]
    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.inner.writer.admission.disk)
    }

    /// The clock that the context runs by.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.inner.writer.admission.clock)
    }

    /// What the source has done so far.
    #[must_use]
    pub fn stats(&self) -> SourceStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.inner.counters;
        SourceStats {
            stored: read(&counters.stored),
            duplicates: read(&counters.duplicates),
            skipped: read(&counters.skipped),
            errors: read(&counters.errors),
            read_again: read(&counters.read_again),
            vanished: read(&counters.vanished),
            forgotten: self.inner.writer.forgotten(),
        }
    }

    /// What the source has in the log, or in cuts, that no completed batch has.
    #[must_use]
    pub fn lag(&self) -> SourceLag {
        self.inner.writer.lag()
    }

    /// A cut gives its batch these ranges of what the source keeps itself; `place` is that of their
    /// records.
    pub(crate) fn advanced<'a>(&self, place: Lsn, ranges: impl Iterator<Item = &'a SourceRange>) {
        let records = self.inner.writer.advanced(place, ranges);
        self.count(usize::try_from(records).unwrap_or(usize::MAX), 0);
    }

    /// How many items of the source have positions.
    pub(crate) fn positions(&self) -> usize {
        self.inner.writer.positions()
    }

    /// The batch that ends at `end` is complete; how many records it had of the source.
    pub(crate) fn settle(&self, end: Lsn) -> u64 {
        self.inner.writer.settle(end)
    }

    /// How many records a batch of this interval may have of it, if that is bounded.
    pub(crate) fn records_allowed(&self, interval: Duration) -> Option<u64> {
        self.rate()?.records_allowed(interval)
    }

    /// Its rate, if that is bounded or may be.
    pub(crate) fn rate(&self) -> Option<&RateGate> {
        self.inner.writer.rate.as_ref()
    }

    /// The source's stream, and its producers as of the end of the last completed batch.
    pub(crate) fn settled(&self) -> (StreamId, Settled) {
        (self.inner.writer.stream, self.inner.writer.settled())
    }

    pub(crate) fn stop(&self) {
        let mut registered = self.inner.on_stop.lock();
        self.inner.stopping.set();
        // Taken, not kept: they hold sockets.
        std::mem::take(&mut *registered)
            .iter()
            .for_each(|interrupt| interrupt());
    }
}
