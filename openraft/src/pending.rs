//! Entries that the log does not show yet: readers of a log see durable records alone, openraft
//! reads what it has just appended.

use highwater_wal::Lsn;
use std::collections::VecDeque;
use std::sync::Arc;

/// The entries at the end of the log that are not durable, in order, as bytes.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    entries: VecDeque<(Lsn, Arc<[u8]>)>,
    bytes: usize,
}

impl Pending {
    pub(crate) fn push(&mut self, lsn: Lsn, entry: Arc<[u8]>) {
        self.bytes += entry.len();
        self.entries.push_back((lsn, entry));
    }

    /// Lets go of what the log shows by now.
    pub(crate) fn drop_below(&mut self, durable: Lsn) {
        while let Some((_, entry)) = self.entries.pop_front_if(|(lsn, _)| *lsn < durable) {
            self.bytes -= entry.len();
        }
    }

    /// Takes away the entry at `lsn` and all after it.
    pub(crate) fn truncate(&mut self, lsn: Lsn) {
        while let Some((_, entry)) = self.entries.pop_back_if(|(at, _)| *at >= lsn) {
            self.bytes -= entry.len();
        }
    }

    pub(crate) fn get(&self, lsn: Lsn) -> Option<Arc<[u8]>> {
        let at = self.entries.partition_point(|(at, _)| *at < lsn);
        let (found, entry) = self.entries.get(at)?;
        (*found == lsn).then(|| Arc::clone(entry))
    }

    /// The oldest entry that must become durable before `more` bytes fit below `bound`.
    pub(crate) fn in_the_way(&self, more: usize, bound: usize) -> Option<Lsn> {
        let (oldest, _) = self.entries.front()?;
        (self.bytes.saturating_add(more) > bound).then_some(*oldest)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_wait_until_they_are_durable() {
        let mut pending = Pending::default();
        for n in 0..4 {
            pending.push(Lsn::new(n * 64), vec![0; 10].into());
        }
        assert_eq!(pending.in_the_way(10, 50), None);
        assert_eq!(pending.in_the_way(11, 50), Some(Lsn::ZERO));
        pending.drop_below(Lsn::new(65));
        assert_eq!(pending.bytes(), 20);
        assert!(pending.get(Lsn::new(64)).is_none());
        assert!(pending.get(Lsn::new(100)).is_none());
        assert!(pending.get(Lsn::new(128)).is_some());
        pending.truncate(Lsn::new(192));
        assert_eq!(pending.bytes(), 10);
        pending.truncate(Lsn::ZERO);
        assert_eq!((pending.bytes(), pending.in_the_way(99, 0)), (0, None));
    }
}
