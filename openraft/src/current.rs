//! What is known of a log: the index, the entries that are not durable yet, the state.

use crate::error::StoreError;
use crate::pending::Pending;
use crate::record::State;
use highwater_wal::{EntryIndex, Lsn};
use openraft::{LogId, NodeId};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Current<N: NodeId> {
    pub(crate) index: EntryIndex,
    pub(crate) pending: Pending,
    /// As it was written last.
    pub(crate) state: State<N>,
    /// Of the last entry, or of the last one that was purged.
    pub(crate) last: Option<LogId<N>>,
    /// Counts what takes entries away.
    pub(crate) changes: u64,
}

/// Where a reader finds an entry.
#[derive(Debug)]
pub(crate) enum Place {
    Log(Lsn),
    Memory(Lsn, Arc<[u8]>),
}

impl<N: NodeId> Current<N> {
    /// Whether the entry at `index` is purged: it is committed, so what is appended there is it.
    pub(crate) fn is_purged(&self, index: u64) -> bool {
        let purged = self.state.purged.as_ref();
        purged.is_some_and(|purged| index <= purged.index)
    }

    /// Whether an entry may be appended.
    pub(crate) fn check_next(&self, index: u64) -> Result<(), StoreError> {
        let expected = self.last.as_ref().map(|last| last.index + 1);
        match expected {
            // The first entry of all has any index: 0, or 1.
            None => Ok(()),
            Some(expected) if expected == index => Ok(()),
            Some(expected) => Err(StoreError::NotNext { index, expected }),
        }
    }

    pub(crate) fn push(&mut self, id: LogId<N>, lsn: Lsn, bytes: Arc<[u8]>) {
        if self.index.range().is_empty() {
            self.index = EntryIndex::new(id.index); // the first of all may be 0, or 1
        }
        self.index.push(lsn);
        self.pending.push(lsn, bytes);
        self.last = Some(id);
    }

    /// Where the entries from `start` on to before `end` are, as far as there are such.
    pub(crate) fn places(&mut self, start: u64, end: u64, durable: Lsn) -> Vec<(u64, Place)> {
        self.pending.drop_below(durable);
        let kept = self.index.range();
        let wanted = start.max(kept.start)..end.min(kept.end);
        let place = |index| {
            let lsn = self.index.get(index)?;
            let place = match self.pending.get(lsn) {
                Some(bytes) => Place::Memory(lsn, bytes),
                None => Place::Log(lsn),
            };
            Some((index, place))
        };
        wanted.filter_map(place).collect()
    }
}
