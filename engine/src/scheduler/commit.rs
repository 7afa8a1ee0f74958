//! Commits the outputs of a batch: every output staged -> `committed` durable -> every output
//! published.

use crate::batch::Batch;
use crate::batch::chunk::Chunk;
use crate::batch::tick::{Tick, Timed};
use crate::engine_log::entry::{self, Committed, Entry};
use crate::error::{Error, Result};
use crate::faults::Faults;
use crate::plan::program::{OutputInfo, Plan};
use crate::sink::backoff::Backoff;
use crate::sink::output::Guarantee;
use highwater_wal::{Lsn, Wal};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Commits the outputs of batches, one after the other.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(crate) plan: Arc<Plan>,
    pub(crate) wal: Arc<Wal>,
    /// For a full disk, unless batches are run by hand.
    pub(crate) backoff: Backoff,
    pub(crate) faults: Faults,
}

impl Committer {
    /// The outputs that a batch has: those of windows are called only where one ends.
    fn outputs(&self, tick: Tick) -> impl Iterator<Item = (usize, &OutputInfo)> {
        let outputs = self.plan.outputs.iter().enumerate();
        outputs.filter(move |(_, output)| self.plan.acts(output.operator, &tick))
    }

    /// Commits a batch that has run; `outputs` is what arrived at each of its outputs.
    pub(crate) fn commit(
        &self,
        Timed { batch, tick }: Timed,
        mut outputs: BTreeMap<usize, Vec<Chunk>>,
    ) -> Result<()> {
        for (index, output) in self.outputs(tick) {
            let chunks = outputs.remove(&index).unwrap_or_default();
            output
                .sink
                .stage(&self.plan.operator_name(output.operator), batch, chunks)?;
        }
        if self.faults.publish_before_commit() {
            self.publish(batch, tick)?;
        }
        let committed = self.append_committed(batch)?;
        // Outputs that promise no more than "at least once" do not need the flush: the next cut
        // brings it.
        if self
            .outputs(tick)
            .any(|(_, o)| o.sink.guarantee == Guarantee::ExactlyOnce)
        {
            self.wal.sync_to(committed)?;
        }
        self.publish(batch, tick)
    }

    /// The outputs are staged, so a full disk is waited out (P8) unless the context is stopping or
    /// run by hand.
    fn append_committed(&self, batch: Batch) -> Result<Lsn> {
        loop {
            let entry = Entry::Committed(Committed {
                batch: batch.id,
                ..Committed::default()
            });
            let appended = entry::append(&self.wal, &entry);
            match appended.map_err(Error::from) {
                Err(error) if error.is_transient() && self.backoff.wait(&error) => {}
                other => return other,
            }
        }
    }

    fn publish(&self, batch: Batch, tick: Tick) -> Result<()> {
        let mut outputs = self.outputs(tick);
        outputs.try_for_each(|(_, o)| o.sink.publish(&self.plan.operator_name(o.operator), batch))
    }
}
