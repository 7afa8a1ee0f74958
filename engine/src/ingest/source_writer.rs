//! The way of one source's data into the log: deduplication, append, durability.

use crate::batch::source_range::SourceRange;
use crate::engine_log::envelope::{Envelope, IdempotencyKey, MAX_PRODUCER, Mark};
use crate::engine_log::keys::KeyMark;
use crate::engine_log::ledger::{Ledger, Settled};
use crate::engine_log::producers::Progress;
use crate::engine_log::received::SourceLag;
use crate::error::{Error, Result};
use crate::ingest::admission::{Admission, Room};
use crate::ingest::decoder::RecordCheck;
use crate::ingest::rate_gate::{RateGate, Taken};
use highwater_wal::{Lsn, StreamId};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Writes one source's data into the log.
pub(crate) struct SourceWriter {
    pub(crate) name: String,
    pub(crate) stream: StreamId,
    pub(crate) admission: Arc<Admission>,
    pub(super) ledger: Mutex<Ledger>,
    /// `None` for inputs, which have made sure of it themselves.
    check: Option<RecordCheck>,
    /// If its rate is bounded, or may be.
    pub(crate) rate: Option<RateGate>,
}

impl fmt::Debug for SourceWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceWriter")
            .field("name", &self.name)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl SourceWriter {
    pub(crate) fn new(
        name: &str,
        stream: StreamId,
        admission: Arc<Admission>,
        ledger: Ledger,
        check: Option<RecordCheck>,
        rate: Option<RateGate>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            stream,
            admission,
            ledger: Mutex::new(ledger),
            check,
            rate,
        }
    }

    /// What cannot be read back must not be acknowledged.
    pub(super) fn check<'a>(&self, records: impl Iterator<Item = &'a [u8]> + Clone) -> Result<()> {
        match self.check.as_ref().and_then(|c| c.refused(records)) {
            None => Ok(()),
            Some(refused) => Err(Error::Record {
                name: self.name.clone(),
                index: Some(refused.index),
                bytes: refused.bytes,
                message: refused.message,
            }),
        }
    }

    /// Why a record cannot be read back.
    pub(crate) fn check_one(&self, record: &[u8]) -> Result<(), String> {
        let refused = self.check.as_ref();
        let refused = refused.and_then(|check| check.refused(std::iter::once(record)));
        refused.map_or(Ok(()), |refused| Err(refused.message))
    }

    /// Appends records as one atomic frame; not durable yet.
    pub(crate) fn append(&self, records: &[&[u8]], room: Room) -> Result<Lsn> {
        self.check(records.iter().copied())?;
        let taken = self.make_room(records.len(), room)?;
        let lsn = self.frame(
            &mut self.ledger.lock(),
            Marks::NONE,
            records.iter().copied(),
        )?;
        taken.used(records.len());
        Ok(lsn)
    }

    /// The same for records that are UTF-8 by their type: a source of text needs no check.
    pub(crate) fn append_text(&self, records: &[&str], room: Room) -> Result<Lsn> {
        let records = records.iter().map(|record| record.as_bytes());
        if !matches!(self.check, Some(RecordCheck::Text)) {
            self.check(records.clone())?;
        }
        let taken = self.make_room(records.len(), room)?;
        let count = records.len();
        let lsn = self.frame(&mut self.ledger.lock(), Marks::NONE, records)?;
        taken.used(count);
        Ok(lsn)
    }

    /// Takes the rate first: while records wait for it, others may take the room.
    pub(super) fn make_room(&self, records: usize, room: Room) -> Result<Taken<'_>> {
        let taken = match &self.rate {
            Some(gate) => gate.take(records, room)?,
            None => Taken::nothing(),
        };
        match room {
            Room::Wait => self.admission.admit()?,
            Room::Refuse => self.admission.try_admit()?,
        }
        Ok(taken)
    }

    /// Resolves when there is room, and the rate lets a record pass.
    pub(crate) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<()>> {
        match self.admission.poll_admit(context) {
            Poll::Ready(Ok(())) => {}
            other => return other,
        }
        let gate = self.rate.as_ref();
        gate.map_or(Poll::Ready(Ok(())), |gate| gate.poll_ready(context))
    }

    /// Appends those of `records` whose sequence number is above the producer's last one of this
    /// epoch, as one atomic frame. Returns what became of each.
    pub(crate) fn append_once(
        &self,
        (producer, epoch): (&str, u64),
        records: &[(u64, &[u8])],
        room: Room,
    ) -> Result<Appended> {
        self.check(records.iter().map(|(_, record)| *record))?;
        self.check_producer(producer)?;
        let taken = self.make_room(records.len(), room)?;
        // Held across the append: otherwise two connections of one producer could both find a
        // record new.
        let mut ledger = self.ledger.lock();
        let known = self.not_fenced(&ledger, producer, epoch)?;
        let known = known.filter(|known| known.epoch == epoch);
        let known = known.map(|known| (known.sequence, known.lsn));
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
                    producer: ledger.producers().name(producer),
                    epoch,
                    sequence,
                };
                let count = fresh.len();
                let lsn = self.frame(&mut ledger, mark.into(), fresh.into_iter())?;
                taken.used(count);
                Some(lsn)
            }
            _ => None,
        };
        drop(ledger);
        Ok(Appended::new(records, &is_fresh, known, frame))
    }

    /// How far the producer is, unless a newer life of it has ended this epoch.
    pub(super) fn not_fenced(
        &self,
        ledger: &Ledger,
        producer: &str,
        epoch: u64,
    ) -> Result<Option<Progress>> {
        match ledger.producers().last(producer) {
            Some(known) if known.epoch > epoch => Err(Error::Fenced {
                source_name: self.name.clone(),
                producer: producer.to_owned(),
                epoch,
                current: known.epoch,
                lsn: known.lsn,
            }),
            known => Ok(known),
        }
    }

    /// Sets the producer's offset: everything up to `sequence` is dealt with. A frame of the
    /// envelope alone.
    pub(crate) fn advance_producer(&self, producer: &str, sequence: u64) -> Result<Lsn> {
        self.check_producer(producer)?;
        self.admission.admit()?;
        let mut ledger = self.ledger.lock();
        let known = ledger.producers().last(producer);
        let mark = Mark {
            producer: ledger.producers().name(producer),
            epoch: known.map_or(0, |known| known.epoch),
            sequence,
        };
        self.frame(&mut ledger, mark.into(), std::iter::empty())
    }

    pub(super) fn check_producer(&self, producer: &str) -> Result<()> {
        match producer.len() {
            0..=MAX_PRODUCER => Ok(()),
            bytes => Err(Error::Record {
                name: self.name.clone(),
                index: None,
                bytes,
                message: format!(
                    "the name of its producer has {bytes} bytes, and {MAX_PRODUCER} are possible"
                ),
            }),
        }
    }

    /// Appends a frame. The ledger is locked, so that numbers ascend in the order of the log.
    pub(super) fn frame<'a>(
        &self,
        ledger: &mut Ledger,
        Marks { mark, key }: Marks,
        records: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Result<Lsn> {
        let admission = &self.admission;
        let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let (first, now) = (ledger.next_number(), admission.clock.wall_ms());
        let key_mark = key.as_ref().map(|key| KeyMark::new(key, now));
        let envelope = Envelope {
            key,
            ..Envelope::of_data(first, count, now, mark)
        };
        let header = envelope.encode();
        let mut all = Vec::with_capacity(records.len() + 1);
        all.push(header.as_slice());
        let mut bytes = 0_u64;
        for record in records {
            bytes += record.len() as u64;
            all.push(record);
        }
        let range = admission.wal.append_batch_to(self.stream, &all)?;
        ledger.appended(range.first, envelope.mark, u64::from(count));
        ledger.received(range.first, bytes, now);
        if let Some(mark) = key_mark {
            ledger.keys_mut().append(mark, range.first);
        }
        admission.has_data_at(range.first);
        if admission.batch_is_full() {
            admission.full.notify_one();
        }
        Ok(range.first)
    }

    /// A cut gives its batch these ranges: the positions of their items are at their ends. Returns
    /// how many records that is.
    pub(crate) fn advanced<'a>(
        &self,
        place: Lsn,
        ranges: impl Iterator<Item = &'a SourceRange>,
    ) -> u64 {
        let mut ledger = self.ledger.lock();
        let mut records = 0_u64;
        for range in ranges {
            let mark = Mark {
                producer: ledger.producers().name(&range.item),
                epoch: 0,
                sequence: range.to,
            };
            let its = range.records.or_else(|| range.len()).unwrap_or(0);
            ledger.appended(place, Some(mark), its);
            records = records.saturating_add(its);
        }
        records
    }

    /// How many producers are remembered.
    pub(crate) fn positions(&self) -> usize {
        self.ledger.lock().producers().len()
    }

    /// The producer's highest sequence number in the log.
    pub(crate) fn last_sequence(&self, producer: &str) -> Option<u64> {
        let ledger = self.ledger.lock();
        let known = ledger.producers().last(producer);
        known.map(|known| known.sequence)
    }

    /// Everything that is remembered of producers.
    pub(crate) fn producers(&self) -> Vec<(String, u64, Lsn)> {
        let ledger = self.ledger.lock();
        let all = ledger.producers().iter();
        all.map(|(producer, at)| (producer.to_owned(), at.sequence, at.lsn))
            .collect()
    }

    /// What no completed batch has of the source.
    pub(crate) fn lag(&self) -> SourceLag {
        self.ledger.lock().lag()
    }

    /// The batch that ends at `end` is complete; how many records it had of the source.
    pub(crate) fn settle(&self, end: Lsn) -> u64 {
        self.ledger.lock().settle(end)
    }

    /// The producers as of the end of the last completed batch.
    pub(crate) fn settled(&self) -> Settled {
        self.ledger.lock().settled()
    }

    /// Returns once everything up to the frame at `lsn` is durable.
    pub(crate) fn sync_to(&self, lsn: Lsn) -> Result<()> {
        Ok(self.admission.wal.sync_to(lsn)?)
    }
}

/// What a frame says besides its records.
pub(super) struct Marks {
    pub(super) mark: Option<Mark>,
    pub(super) key: Option<IdempotencyKey>,
}

impl Marks {
    const NONE: Self = Self {
        mark: None,
        key: None,
    };
}

impl From<Mark> for Marks {
    fn from(mark: Mark) -> Self {
        Self {
            mark: Some(mark),
            key: None,
        }
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

impl Appended {
    /// What became of `records`: `frame` holds those that are fresh. `known` is what the log had of
    /// the producer before.
    fn new(
        records: &[(u64, &[u8])],
        is_fresh: &[bool],
        known: Option<(u64, Lsn)>,
        frame: Option<Lsn>,
    ) -> Self {
        let receipts = records
            .iter()
            .zip(is_fresh)
            .filter_map(|((sequence, _), is_new)| {
                let before = known
                    .filter(|(last, _)| sequence <= last)
                    .map(|(_, lsn)| lsn);
                let receipt = if *is_new {
                    Receipt::Stored
                } else {
                    Receipt::Duplicate
                };
                before.or(frame).map(receipt)
            });
        let receipts: Vec<Receipt> = receipts.collect();
        assert_eq!(receipts.len(), records.len(), "every record has its place");
        Self {
            lsn: frame.or(known.filter(|_| !records.is_empty()).map(|(_, lsn)| lsn)),
            duplicates: is_fresh.iter().filter(|is_new| !**is_new).count(),
            receipts,
        }
    }
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
