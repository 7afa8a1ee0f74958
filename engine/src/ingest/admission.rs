//! The way of data into the log: admission (dedup, back-pressure), append, durability.

use crate::batch::engine_log::{Mark, encode_envelope};
use crate::context::own_thread::{self, Role};
use crate::error::{Error, Result};
use crate::ingest::producers::Producers;
use crate::observe::throttle::Throttle;
use crate::plan::graph::{RecordCheck, SourceInfo};
use bytes::Bytes;
use highwater_wal::disk::{Clock, Disk, Notify};
use highwater_wal::{Lsn, StreamId, Wal};
use parking_lot::{Condvar, Mutex};
use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A source that has waited this long for room is spoken of.
const LONG_WAIT: Duration = Duration::from_secs(10);

/// What all sources of a context share.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) wal: Arc<Wal>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Rung when a batch is full before its interval ends.
    pub(crate) full: Arc<Notify>,
    /// Log bytes that may wait for processing before appends wait.
    max_unprocessed: u64,
    /// Log bytes after which a batch is cut early.
    max_batch: u64,
    /// Where the newest cut is.
    cut: AtomicU64,
    gate: Mutex<Gate>,
    opened: Condvar,
    /// Warnings about what is scarce for the moment.
    warnings: Throttle,
}

#[derive(Debug)]
struct Gate {
    processed: Lsn,
    flow: Flow,
}

/// Whether batches make room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Not yet: the context has not been started.
    NotStarted,
    /// Only when somebody runs one by hand.
    ByHand,
    /// Batches run.
    Running,
    /// Nothing is let in any more.
    Closed,
}

impl Intake {
    pub(crate) fn new(
        wal: Arc<Wal>,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        max_unprocessed: u64,
        max_batch: u64,
        (processed, cut): (Lsn, Lsn),
    ) -> Self {
        Self {
            wal,
            disk,
            clock,
            full: Arc::default(),
            max_unprocessed,
            max_batch,
            cut: AtomicU64::new(cut.get()),
            gate: Mutex::new(Gate {
                processed,
                flow: Flow::NotStarted,
            }),
            opened: Condvar::new(),
            warnings: Throttle::default(),
        }
    }

    /// Warns about something that is tried again and again, but not each time.
    pub(crate) fn warn(&self, message: &str, error: &dyn Display) {
        if let Some(held_back) = self.warnings.pass(self.clock.now()) {
            tracing::warn!(%error, held_back, "{message}");
        }
    }

    /// Everything below `lsn` was processed: appends that wait for room go on.
    pub(crate) fn processed(&self, lsn: Lsn) {
        let mut gate = self.gate.lock();
        gate.processed = gate.processed.max(lsn);
        self.opened.notify_all();
    }

    /// A cut was made at `lsn`.
    pub(crate) fn cut_at(&self, lsn: Lsn) {
        self.cut.fetch_max(lsn.get(), Ordering::Relaxed);
    }

    /// Log bytes behind the newest cut.
    pub(crate) fn uncut_bytes(&self) -> u64 {
        self.wal
            .end_lsn()
            .get()
            .saturating_sub(self.cut.load(Ordering::Relaxed))
    }

    /// Whether the batch being filled has reached its bound.
    pub(crate) fn batch_is_full(&self) -> bool {
        self.uncut_bytes() >= self.max_batch
    }

    /// Lets nothing in any more; who waits for room gets [`Error::Stopped`].
    pub(crate) fn close(&self) {
        self.gate.lock().flow = Flow::Closed;
        self.opened.notify_all();
    }

    /// The context has been started.
    pub(crate) fn start(&self, flow: Flow) {
        let mut gate = self.gate.lock();
        if gate.flow == Flow::NotStarted {
            gate.flow = flow;
        }
    }

    /// Whether nothing is let in any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.gate.lock().flow == Flow::Closed
    }

    /// Waits until there is room for more unprocessed data; an error where no batch would ever make
    /// it.
    fn admit(&self) -> Result<()> {
        if own_thread::role() == Role::Batch {
            // Output that is fed back comes from the thread that would make room: it may not wait
            // for itself. It is let in even while the context stops: what the last batch feeds back
            // is processed by the next start.
            return Ok(());
        }
        let mut gate = self.gate.lock();
        loop {
            if gate.flow == Flow::Closed {
                return Err(Error::Stopped);
            }
            let unprocessed = self.wal.end_lsn().bytes_since(gate.processed);
            if unprocessed < self.max_unprocessed {
                return Ok(());
            }
            if gate.flow != Flow::Running {
                return Err(Error::NoRoom {
                    unprocessed,
                    max_unprocessed_bytes: self.max_unprocessed,
                    remedy: match gate.flow {
                        Flow::ByHand => "call run_batch(), which processes what is there",
                        _ => "call start() first",
                    },
                });
            }
            self.full.notify_one();
            if self.opened.wait_for(&mut gate, LONG_WAIT).timed_out() {
                let behind = format!("{unprocessed} of at most {} bytes", self.max_unprocessed);
                self.warn(
                    "sources wait: batches do not keep up with them (max_unprocessed_bytes)",
                    &behind,
                );
            }
        }
    }
}

/// The way of one source's data into the log.
pub(crate) struct SourceIntake {
    pub(crate) name: String,
    pub(crate) stream: StreamId,
    pub(crate) intake: Arc<Intake>,
    producers: Mutex<Producers>,
    /// Whether a record decodes; inputs have made sure of it themselves.
    check: Option<RecordCheck>,
}

impl fmt::Debug for SourceIntake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceIntake")
            .field("name", &self.name)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl SourceIntake {
    pub(crate) fn new(
        source: &SourceInfo,
        stream: StreamId,
        intake: Arc<Intake>,
        producers: Producers,
    ) -> Self {
        Self {
            name: source.name.clone(),
            stream,
            intake,
            producers: Mutex::new(producers),
            check: source
                .input_type
                .is_none()
                .then(|| Arc::clone(&source.check)),
        }
    }

    /// What cannot be read back must not be acknowledged.
    fn check(&self, record: &[u8]) -> Result<()> {
        let Some(check) = &self.check else {
            return Ok(());
        };
        check(Bytes::copy_from_slice(record)).map_err(|message| Error::Record {
            name: self.name.clone(),
            bytes: record.len(),
            message,
        })
    }

    /// Appends records as one atomic frame; not durable yet.
    pub(crate) fn append(&self, records: &[&[u8]]) -> Result<Lsn> {
        records.iter().try_for_each(|record| self.check(record))?;
        self.intake.admit()?;
        self.frame(None, records)
    }

    /// Appends those of `records` whose sequence number is above the producer's last one, as one
    /// atomic frame, and says what became of each.
    pub(crate) fn append_once(&self, producer: &str, records: &[(u64, &[u8])]) -> Result<Appended> {
        records
            .iter()
            .try_for_each(|(_, record)| self.check(record))?;
        self.intake.admit()?;
        // Held across the append, so that two connections of one producer cannot both find a record
        // new.
        let mut producers = self.producers.lock();
        let known = producers.last(producer);
        let mut last = known.map(|(sequence, _)| sequence);
        let mut is_fresh = Vec::with_capacity(records.len());
        let mut fresh = Vec::with_capacity(records.len());
        for (sequence, record) in records {
            let is_new = last.is_none_or(|last| *sequence > last);
            if is_new {
                last = Some(*sequence);
                fresh.push(*record);
            }
            is_fresh.push(is_new);
        }
        let frame = match last {
            Some(sequence) if !fresh.is_empty() => {
                let mark = Mark {
                    producer: producer.to_owned(),
                    sequence,
                };
                let lsn = self.frame(Some(&mark), &fresh)?;
                producers.note(mark, lsn);
                Some(lsn)
            }
            _ => None,
        };
        drop(producers);
        let receipts = records
            .iter()
            .zip(is_fresh)
            .filter_map(|((sequence, _), is_new)| {
                let before = known
                    .filter(|(last, _)| sequence <= last)
                    .map(|(_, lsn)| lsn);
                let receipt = if is_new {
                    Receipt::Stored
                } else {
                    Receipt::Duplicate
                };
                before.or(frame).map(receipt)
            });
        let receipts: Vec<Receipt> = receipts.collect();
        assert_eq!(receipts.len(), records.len(), "every record has its place");
        Ok(Appended {
            lsn: frame.or(known.filter(|_| !records.is_empty()).map(|(_, lsn)| lsn)),
            duplicates: records.len() - fresh.len(),
            receipts,
        })
    }

    /// Notes that everything of `producer` up to `sequence` is dealt with: a frame of the envelope
    /// alone.
    pub(crate) fn mark(&self, producer: &str, sequence: u64) -> Result<Lsn> {
        self.intake.admit()?;
        let mut producers = self.producers.lock();
        let mark = Mark {
            producer: producer.to_owned(),
            sequence,
        };
        let lsn = self.frame(Some(&mark), &[])?;
        producers.note(mark, lsn);
        Ok(lsn)
    }

    fn frame(&self, mark: Option<&Mark>, records: &[&[u8]]) -> Result<Lsn> {
        let envelope = encode_envelope(mark);
        let mut all = Vec::with_capacity(records.len() + 1);
        all.push(envelope.as_slice());
        all.extend_from_slice(records);
        let range = self.intake.wal.append_batch_with(self.stream, &all)?;
        if self.intake.batch_is_full() {
            self.intake.full.notify_one();
        }
        Ok(range.first)
    }

    /// The producer's highest sequence number in the log.
    pub(crate) fn last_sequence(&self, producer: &str) -> Option<u64> {
        self.producers
            .lock()
            .last(producer)
            .map(|(sequence, _)| sequence)
    }

    /// Everything that is remembered of producers.
    pub(crate) fn producers(&self) -> Vec<(String, u64, Lsn)> {
        let producers = self.producers.lock();
        let all = producers.iter();
        all.map(|(producer, sequence, lsn)| (producer.clone(), sequence, lsn))
            .collect()
    }

    /// Returns once everything up to the frame at `lsn` is durable.
    pub(crate) fn sync_to(&self, lsn: Lsn) -> Result<()> {
        Ok(self.intake.wal.sync_to(lsn)?)
    }
}

/// What became of records offered with sequence numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The LSN to make durable before acknowledging any of them; `None` if nothing was offered.
    pub lsn: Option<Lsn>,
    /// How many were in the log already.
    pub duplicates: usize,
    /// What became of each, in the order in which they were offered.
    pub receipts: Vec<Receipt>,
}

/// What became of one record with a sequence number. Nothing may be acknowledged before it is
/// durable, either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// It is in the log now: the LSN of its frame, which it shares with those stored together with
    /// it.
    Stored(Lsn),
    /// It was in the log already and was not stored again: the LSN of the newest frame of its
    /// producer. That is its own unless the producer has stored higher numbers since.
    Duplicate(Lsn),
}

impl Receipt {
    /// The LSN, either way.
    pub fn lsn(self) -> Lsn {
        match self {
            Self::Stored(lsn) | Self::Duplicate(lsn) => lsn,
        }
    }

    /// Whether the log had it already.
    #[must_use]
    pub fn is_duplicate(self) -> bool {
        matches!(self, Self::Duplicate(_))
    }
}
