//! Where cuts come from: batch ids and times ascend, ranges touch.

use crate::batch::Batch;
use crate::engine_log::entry::{self, Entry};
use crate::error::Result;
use crate::faults::Faults;
use crate::ingest::admission::Admission;
use crate::scheduler::clock::BatchClock;
use highwater_wal::Lsn;
use std::sync::Arc;

/// Ends batches.
#[derive(Debug)]
pub(crate) struct Cutter {
    pub(crate) admission: Arc<Admission>,
    pub(crate) times: BatchClock,
    pub(crate) next_id: u64,
    pub(crate) last_cut: Lsn,
    pub(crate) max_batch_bytes: u64,
    /// Whether the last cut has left a part of what had gathered.
    pub(crate) has_more: bool,
    pub(crate) faults: Faults,
}

impl Cutter {
    /// Ends a batch: a record in the log, durable when this returns. The batch has everything that
    /// has gathered, or as much of it as a batch may have; then there is more to cut.
    pub(crate) fn cut(&mut self) -> Result<Batch> {
        let wal = Arc::clone(&self.admission.wal);
        let time_ms = self.times.time_ms();
        let to = self.end_of_a_full_batch()?;
        let entry = Entry::Cut {
            batch: self.next_id,
            time_ms,
            from: self.last_cut,
            to,
        };
        let lsn = entry::append(&wal, &entry)?;
        if !self.faults.run_before_cut() {
            wal.sync_to(lsn)?;
        }
        let batch = Batch {
            id: self.next_id,
            time_ms,
            from: self.last_cut,
            to: to.unwrap_or(lsn),
        };
        assert!(batch.from < batch.to, "{batch} ends before its beginning");
        assert!(batch.to <= lsn, "{batch} ends after its cut");
        self.admission.cut_at(batch.to);
        self.has_more = to.is_some();
        (self.next_id, self.last_cut) = (batch.id + 1, batch.to);
        Ok(batch)
    }

    /// If clearly more has gathered than a batch may have, as after a crash or before the start:
    /// where a full batch ends. It has at least one frame of a source: with the engine's own frames
    /// alone, a bound below their size would be reached for ever.
    fn end_of_a_full_batch(&self) -> Result<Option<Lsn>> {
        let max = self.max_batch_bytes;
        if self.admission.uncut_bytes() <= max.saturating_add(max / 4) {
            return Ok(None);
        }
        let wal = &self.admission.wal;
        wal.sync()?;
        let mut frames = wal.read_from(self.last_cut)?;
        let (mut end, mut has_data) = (None, false);
        while let Some(frame) = frames.next_frame()? {
            if has_data && frame.end_lsn.bytes_since(self.last_cut) > max {
                return Ok(end);
            }
            has_data |= frame.stream != entry::ENGINE;
            end = Some(frame.end_lsn);
        }
        Ok(None) // all of it
    }
}
