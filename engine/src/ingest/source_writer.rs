//! The way of one source's data into the log: deduplication, append, durability.

use crate::engine_log::frame_header::{ProducerOffset, encode_header};
use crate::engine_log::producers::Producers;
use crate::error::{Error, Result};
use crate::ingest::admission::Admission;
use crate::ingest::decoder::RecordCheck;
use bytes::Bytes;
use highwater_wal::{Lsn, StreamId};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

/// Writes one source's data into the log.
pub(crate) struct SourceWriter {
    pub(crate) name: String,
    pub(crate) stream: StreamId,
    pub(crate) admission: Arc<Admission>,
    producers: Mutex<Producers>,
    /// Whether a record decodes. `None` for inputs, which have made sure of it themselves.
    check: Option<RecordCheck>,
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
        producers: Producers,
        check: Option<RecordCheck>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            stream,
            admission,
            producers: Mutex::new(producers),
            check,
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
        self.admission.admit()?;
        self.frame(None, records)
    }

    /// The same, but refuses at once instead of waiting for room.
    pub(crate) fn try_append(&self, records: &[&[u8]]) -> Result<Lsn> {
        records.iter().try_for_each(|record| self.check(record))?;
        self.admission.try_admit()?;
        self.frame(None, records)
    }

    /// Appends those of `records` whose sequence number is above the producer's last one, as one
    /// atomic frame. Returns what became of each.
    pub(crate) fn append_once(&self, producer: &str, records: &[(u64, &[u8])]) -> Result<Appended> {
        records
            .iter()
            .try_for_each(|(_, record)| self.check(record))?;
        self.admission.admit()?;
        // Held across the append: otherwise two connections of one producer could both find a
        // record new.
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
                let offset = ProducerOffset {
                    producer: producer.to_owned(),
                    sequence,
                };
                let lsn = self.frame(Some(&offset), &fresh)?;
                producers.advance(offset, lsn);
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

    /// Sets the producer's offset: everything up to `sequence` is dealt with. A frame of the header
    /// alone.
    pub(crate) fn advance_producer(&self, producer: &str, sequence: u64) -> Result<Lsn> {
        self.admission.admit()?;
        let mut producers = self.producers.lock();
        let offset = ProducerOffset {
            producer: producer.to_owned(),
            sequence,
        };
        let lsn = self.frame(Some(&offset), &[])?;
        producers.advance(offset, lsn);
        Ok(lsn)
    }

    fn frame(&self, offset: Option<&ProducerOffset>, records: &[&[u8]]) -> Result<Lsn> {
        let header = encode_header(offset);
        let mut all = Vec::with_capacity(records.len() + 1);
        all.push(header.as_slice());
        all.extend_from_slice(records);
        let range = self.admission.wal.append_batch_with(self.stream, &all)?;
        if self.admission.batch_is_full() {
            self.admission.full.notify_one();
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
        Ok(self.admission.wal.sync_to(lsn)?)
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
