//! Where each entry of a numbered sequence is: for consensus logs.

use crate::error::{Result, WalError};
use crate::format::frame::FrameKind;
use crate::lsn::{Lsn, StreamId};
use crate::wal::Wal;
use std::collections::VecDeque;
use std::ops::Range;

/// The LSNs of entries that are numbered without a gap, as those of a consensus log are: eight
/// bytes for each. An entry is a record that was appended alone, on a stream of the entries.
///
/// It is in memory only. [`Self::rebuild`] makes it anew from the log, by headers.
///
/// ```
/// use highwater_wal::{EntryIndex, StreamId, Wal};
/// # let dir = tempfile::tempdir()?;
/// const ENTRIES: StreamId = StreamId(1);
/// let log = Wal::open(dir.path().join("log"))?;
/// let mut index = EntryIndex::new(1);
/// for text in ["one", "two", "three"] {
///     index.push(log.append_to(ENTRIES, text)?);
/// }
/// // A new leader has another entry 3.
/// let wrong = index.get(3).expect("it was appended");
/// let _ = log.void(wrong, log.end_lsn())?;
/// index.truncate(3);
/// index.push(log.append_to(ENTRIES, "three, of the new leader")?);
/// log.sync()?;
/// let again = EntryIndex::rebuild(&log, ENTRIES, 1)?;
/// assert_eq!(again, index);
/// let third = log.read_from(again.get(3).expect("it is there"))?.next().expect("a record")?;
/// assert_eq!(&third.payload[..], b"three, of the new leader");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryIndex {
    /// The number of the first one.
    first: u64,
    lsns: VecDeque<Lsn>,
}

impl EntryIndex {
    /// Without entries; the first one will be number `first`.
    ///
    /// ```
    /// use highwater_wal::EntryIndex;
    /// assert!(EntryIndex::new(1).range().is_empty());
    /// ```
    #[must_use]
    pub fn new(first: u64) -> Self {
        Self {
            first,
            lsns: VecDeque::new(),
        }
    }

    /// The entries that are durable in `log` on the stream `entries`, of which the oldest one that
    /// is kept and not void is number `first`. Reads headers, no payloads. Read the payload of
    /// [`Self::get`]`(first)` to make sure of its number, if truncating may have freed some.
    ///
    /// ```
    /// use highwater_wal::{EntryIndex, StreamId};
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path().join("log"))?;
    /// let lsn = log.append_to(StreamId(1), "an entry")?;
    /// log.sync_to(lsn)?;
    /// let index = EntryIndex::rebuild(&log, StreamId(1), 17)?;
    /// assert_eq!((index.range(), index.get(17)), (17..18, Some(lsn)));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::BadOptions`] if there is a batch on the stream: how many entries it holds, its
    /// header does not say. [`WalError::Corrupt`]; [`WalError::Io`].
    pub fn rebuild(log: &Wal, entries: StreamId, first: u64) -> Result<Self> {
        let mut index = Self::new(first);
        for frame in log.scan_headers(Lsn::ZERO, log.durable_lsn())? {
            let frame = frame?;
            if frame.stream != entries || frame.is_void {
                continue;
            }
            match frame.kind {
                FrameKind::Data => {
                    index.push(frame.lsn);
                }
                FrameKind::Batch => {
                    return Err(WalError::BadOptions {
                        what: format!(
                            "at LSN {} of stream {} is a batch: append entries one by one, or keep an index of your own",
                            frame.lsn, entries.0
                        ),
                    });
                }
                _ => {}
            }
        }
        Ok(index)
    }

    /// The numbers of the entries.
    ///
    /// ```
    /// use highwater_wal::{EntryIndex, Lsn};
    /// let mut index = EntryIndex::new(1);
    /// index.push(Lsn::new(4096));
    /// assert_eq!(index.range(), 1..2);
    /// ```
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.first..self.first + self.lsns.len() as u64
    }

    /// The next entry is at `lsn`. Returns its number.
    ///
    /// ```
    /// use highwater_wal::{EntryIndex, Lsn};
    /// let mut index = EntryIndex::new(1);
    /// assert_eq!(index.push(Lsn::new(4096)), 1);
    /// ```
    pub fn push(&mut self, lsn: Lsn) -> u64 {
        self.lsns.push_back(lsn);
        self.first + self.lsns.len() as u64 - 1
    }

    /// Where entry `number` is; `None` if it is not kept.
    ///
    /// ```
    /// use highwater_wal::{EntryIndex, Lsn};
    /// let mut index = EntryIndex::new(1);
    /// index.push(Lsn::new(4096));
    /// assert_eq!((index.get(1), index.get(2)), (Some(Lsn::new(4096)), None));
    /// ```
    #[must_use]
    pub fn get(&self, number: u64) -> Option<Lsn> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.lsns.get(at).copied()
    }

    /// Forgets entry `number` and all after it: they were taken back.
    ///
    /// ```
    /// use highwater_wal::{EntryIndex, Lsn};
    /// let mut index = EntryIndex::new(1);
    /// index.push(Lsn::new(4096));
    /// index.truncate(1);
    /// assert!(index.range().is_empty());
    /// ```
    pub fn truncate(&mut self, number: u64) {
        let kept = number.saturating_sub(self.first);
        self.lsns
            .truncate(usize::try_from(kept).unwrap_or(usize::MAX));
    }

    /// Forgets entry `number` and all before it: they are in a snapshot. The next one is never
    /// numbered lower.
    ///
    /// ```
    /// use highwater_wal::{EntryIndex, Lsn};
    /// let mut index = EntryIndex::new(1);
    /// index.push(Lsn::new(4096));
    /// index.purge(7);
    /// assert_eq!(index.range(), 8..8);
    /// ```
    pub fn purge(&mut self, number: u64) {
        let next = number.saturating_add(1).max(self.first);
        let gone = usize::try_from(next - self.first).unwrap_or(usize::MAX);
        self.lsns.drain(..gone.min(self.lsns.len()));
        self.first = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a list of pairs.
        #[test]
        fn it_is_as_a_list_of_pairs(steps in proptest::collection::vec((0..3_u8, 0..40_u64), 0..60)) {
            let (mut index, mut model) = (EntryIndex::new(5), Vec::new());
            let mut first = 5;
            for (n, (step, number)) in (0..).zip(steps) {
                match step {
                    0 => {
                        let next = first + model.len() as u64;
                        prop_assert_eq!(index.push(Lsn::new(n * 8)), next);
                        model.push((next, Lsn::new(n * 8)));
                    }
                    1 => {
                        index.truncate(number);
                        model.retain(|(at, _)| *at < number);
                    }
                    _ => {
                        index.purge(number);
                        model.retain(|(at, _)| *at > number);
                        first = first.max(number + 1);
                    }
                }
                prop_assert_eq!(index.range(), first..first + model.len() as u64);
                for number in 0..80 {
                    let expected = model.iter().find(|(at, _)| *at == number);
                    prop_assert_eq!(index.get(number), expected.map(|(_, lsn)| *lsn));
                }
            }
        }
    }
}
