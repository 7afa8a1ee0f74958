//! What is written: records that follow from their numbers, appended by several threads that tell
//! the medium what was acknowledged.

use crate::medium::Note;
use crate::wire::Wire;
use highwater_wal::disk::sim::Rng;
use highwater_wal::{Lsn, Result, Wal};

/// The log keeps about this much after the truncation.
const KEPT: u64 = 70 << 10;

/// The record of this number: its number and bytes that follow from it, rarely many.
pub(crate) fn record(number: u64) -> Vec<u8> {
    let mut rng = Rng::new(number);
    let most = if rng.chance(30) { 12_000 } else { 700 };
    let len = rng.below(most) as usize;
    let mut record = format!("{number:x}/").into_bytes();
    record.extend((0..len.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes()));
    record
}

/// The number that a record says it has, if it is wholly that record.
pub(crate) fn number(payload: &[u8]) -> Option<u64> {
    let end = payload.iter().position(|byte| *byte == b'/')?;
    let number = u64::from_str_radix(std::str::from_utf8(&payload[..end]).ok()?, 16).ok()?;
    (record(number) == payload).then_some(number)
}

/// Records of one thread: `numbers` are its own.
pub(crate) struct Writer<'a> {
    pub(crate) log: &'a Wal,
    pub(crate) wire: &'a Wire,
    pub(crate) numbers: std::ops::Range<u64>,
}

impl Writer<'_> {
    /// Appends and waits for the acknowledgement `appends` times; most wait for each, some for
    /// several.
    pub(crate) fn write(mut self, appends: u64, truncates: bool) -> Result<()> {
        let mut rng = Rng::new(self.numbers.start);
        for turn in 1..=appends {
            let lsn = self.append(rng.chance(150))?;
            if rng.chance(800) || turn == appends {
                self.log.sync_to(lsn)?;
                self.wire.note(Note::Acked(lsn.get()));
            }
            if truncates && turn.is_multiple_of(10) {
                self.truncate()?;
            }
        }
        Ok(())
    }

    fn append(&mut self, batch: bool) -> Result<Lsn> {
        let count = if batch { 3 } else { 1 };
        let numbers: Vec<u64> = self.numbers.by_ref().take(count).collect();
        let records: Vec<_> = numbers.iter().map(|n| record(*n)).collect();
        let lsn = match records.as_slice() {
            [record] => self.log.append(record)?,
            records => self.log.append_batch(records)?.first,
        };
        self.wire.frame("append", lsn.get(), &numbers);
        Ok(lsn)
    }

    fn truncate(&self) -> Result<()> {
        let below = self.log.durable_lsn().get().saturating_sub(KEPT);
        self.wire.note(Note::Truncating(below));
        self.log.truncate_before(Lsn::new(below))?;
        self.wire.note(Note::Truncated(self.log.first_lsn().get()));
        Ok(())
    }
}
