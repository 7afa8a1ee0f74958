//! Where each entry is: eight bytes for each.

use highwater_wal::Lsn;
use std::collections::VecDeque;
use std::ops::Range;

/// The entries that are kept, by index, without a hole.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Of the first one.
    first: u64,
    lsns: VecDeque<Lsn>,
}

impl Index {
    pub(crate) fn new(first: u64, lsns: VecDeque<Lsn>) -> Self {
        Self { first, lsns }
    }

    /// The indexes of the entries.
    pub(crate) fn range(&self) -> Range<u64> {
        self.first..self.first + self.lsns.len() as u64
    }

    /// The entry is the first one, or comes right after the last one.
    pub(crate) fn push(&mut self, index: u64, lsn: Lsn) {
        if self.lsns.is_empty() {
            self.first = index;
        }
        self.lsns.push_back(lsn);
    }

    pub(crate) fn get(&self, index: u64) -> Option<Lsn> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.lsns.get(at).copied()
    }

    /// Takes away `index` and all after it.
    pub(crate) fn truncate(&mut self, index: u64) {
        let kept = index.saturating_sub(self.first);
        self.lsns
            .truncate(usize::try_from(kept).unwrap_or(usize::MAX));
    }

    /// Takes away all up to `index`.
    pub(crate) fn purge(&mut self, index: u64) {
        let next = index.saturating_add(1).max(self.first);
        let gone = usize::try_from(next - self.first).unwrap_or(usize::MAX);
        self.lsns.drain(..gone.min(self.lsns.len()));
        self.first = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn five() -> Index {
        let mut index = Index::default();
        (0..5).for_each(|n| index.push(10 + n, Lsn::new(n * 64)));
        index
    }

    #[test]
    fn entries_are_found_by_index() {
        let index = five();
        assert_eq!(index.range(), 10..15);
        assert_eq!(index.get(12), Some(Lsn::new(128)));
        assert_eq!((index.get(9), index.get(15)), (None, None));
    }

    #[test]
    fn both_ends_are_cut() {
        let mut index = five();
        index.truncate(13);
        index.purge(10);
        assert_eq!(index.range(), 11..13);
        assert_eq!(index.get(11), Some(Lsn::new(64)));
        index.purge(5);
        index.truncate(20);
        assert_eq!(index.range(), 11..13, "what is gone, or not there yet");
        index.truncate(0);
        assert!(index.range().is_empty());
        index.purge(30);
        index.push(31, Lsn::new(640));
        assert_eq!(index.range(), 31..32);
    }
}
