//! Batches that were cut and have not finished: what a checkpoint tells of the log that it does not
//! have.

use crate::checkpointing::metadata::{Incomplete, IncompleteCut};
use crate::engine_log::cut::Cut;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// The cuts whose batches have not all finished, in the order of the log. As many as wait for the
/// driver.
#[derive(Debug, Default)]
pub(crate) struct CutBatches {
    cuts: Mutex<VecDeque<IncompleteCut>>,
}

impl CutBatches {
    /// A cut is durable.
    pub(crate) fn was_cut(&self, cut: &Cut) {
        let batch = cut.last.batch;
        self.cuts.lock().push_back(IncompleteCut {
            first_batch: cut.first_id(),
            batch: batch.id,
            time_ms: batch.time_ms,
            from: batch.from,
            to: batch.to,
        });
    }

    /// The batches up to number `id` have finished.
    pub(crate) fn finished(&self, id: u64) {
        let mut cuts = self.cuts.lock();
        while cuts.front().is_some_and(|cut| cut.batch <= id) {
            cuts.pop_front();
        }
    }

    /// What comes after batch `id`.
    pub(crate) fn after(&self, id: u64) -> Incomplete {
        let cuts = self.cuts.lock();
        let after = cuts.iter().filter(|cut| cut.batch > id);
        Incomplete::of(after.map(|cut| IncompleteCut {
            first_batch: cut.first_batch.max(id + 1),
            ..*cut
        }))
    }
}
