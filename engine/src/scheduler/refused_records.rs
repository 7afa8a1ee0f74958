//! What batches have refused, on its way to the workers and into the log.

use crate::batch::Batch;
use crate::dead_letters::desk::Desk;
use crate::engine_log::entry::{Committed, Entry, RefusedPart};
use crate::error::{Error, Result};
use crate::exec::completed::Completed;
use crate::faults::Faults;
use crate::plan::program::Plan;
use crate::refused::lists::Refused;
use crate::refused::noted::{Budget, Noted};
use crate::refused::refusals::Refusals;
use crate::sink::backoff::Backoff;
use highwater_wal::Lsn;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A list that is not longer than this is in the record of the commit, in bytes.
const PART_BYTES: usize = 64 << 10;

/// What batches have refused, and may refuse.
#[derive(Debug)]
pub(crate) struct RefusedRecords {
    pub(crate) plan: Arc<Plan>,
    /// What was refused by batches that were committed before, and run again.
    pub(crate) committed: BTreeMap<u64, Refused>,
    /// How many records of a batch may be refused.
    pub(crate) max_records: u64,
    /// How many bytes of a batch may be put aside.
    pub(crate) max_bytes: u64,
    /// Where records are put aside, if the program does that.
    pub(crate) desk: Option<Arc<Desk>>,
    /// For a full disk, unless batches are run by hand.
    pub(crate) backoff: Backoff,
    pub(crate) faults: Faults,
}

impl RefusedRecords {
    /// What a batch has refused that was committed before.
    pub(crate) fn of(&self, batch: &Batch) -> Refused {
        let refused = self.committed.get(&batch.id).cloned();
        let refused = refused.filter(|_| !self.faults.forget_refused());
        refused.unwrap_or_default()
    }

    /// What a run of a batch does with records that fail; `before` is what it has refused if it was
    /// committed before.
    pub(crate) fn refusals(&self, before: Option<&Refused>) -> Refusals {
        match before {
            Some(_) => self.plan.refusing.honour(before),
            None => Refusals::Note(Arc::new(Budget::new(self.max_records, self.max_bytes))),
        }
    }

    /// What the workers have refused in a batch.
    pub(crate) fn noted_in(&self, completed: &Completed) -> Result<Refused> {
        let name = |operator| self.plan.refusing.name(operator);
        Refused::of(&completed.refused, name).map_err(Error::Worker)
    }

    /// Puts records aside that a batch has refused; durable when this returns. A full disk is
    /// waited out, as for the commit that comes next.
    pub(crate) fn put_aside(&self, batch: &Batch, noted: &[Noted]) -> Result<()> {
        let Some(desk) = &self.desk else {
            return Ok(());
        };
        let name = |operator| self.plan.refusing.name(operator);
        self.backoff
            .until_room(|| desk.put_aside(batch, noted, name))
    }

    /// The batch that has refused this is finished.
    pub(crate) fn finished(&mut self, batch: &Batch, refused: &Refused) {
        self.committed.remove(&batch.id);
        self.plan.refusing.counts.add(refused);
    }
}

/// Appends the record of a commit, and before it what is too long for one record of the log. Not
/// durable yet.
pub(crate) fn append_committed(
    mut committed: Committed,
    refused: &Refused,
    max_record_bytes: usize,
    append: impl Fn(Entry) -> Result<Lsn>,
) -> Result<Lsn> {
    let batch = committed.batch;
    let mut parts = refused
        .clone()
        .into_parts(PART_BYTES.min(max_record_bytes / 2));
    if parts.len() <= 1 {
        let only = parts.pop().unwrap_or_default();
        (committed.skips, committed.dead_letters) = (only.skips, only.dead_letters);
    }
    for refused in parts {
        let part = Entry::Refused(RefusedPart { batch, refused });
        committed.refused_at.push(append(part)?);
    }
    append(Entry::Committed(committed))
}
