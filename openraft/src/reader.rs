//! Entries for replication and for the state machine.

use crate::error::reading;
use crate::inner::Inner;
use openraft::{OptionalSend, RaftLogReader, RaftTypeConfig, StorageError};
use std::fmt::{self, Debug};
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// Reads the entries of a [`LogStore`](crate::LogStore), beside its writes. Clones are as good.
///
/// Entries are read from a memory map, or from memory while they are not durable: a read waits for
/// the disk only where the map does.
pub struct LogReader<C: RaftTypeConfig> {
    pub(crate) inner: Arc<Inner<C>>,
}

impl<C: RaftTypeConfig> Clone for LogReader<C> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<C: RaftTypeConfig> Debug for LogReader<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogReader")
            .field("dir", &self.inner.wal.dir())
            .finish_non_exhaustive()
    }
}

impl<C: RaftTypeConfig> RaftLogReader<C> for LogReader<C> {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<C::Entry>, StorageError<C::NodeId>> {
        let (start, end) = bounds(&range);
        let read = self.inner.read(start, end, usize::MAX);
        read.map_err(|error| reading(&error))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<C::Entry>, StorageError<C::NodeId>> {
        let read = self.inner.read(start, end, self.inner.max_read);
        read.map_err(|error| reading(&error))
    }
}

/// First index, and the one after the last.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(index) => index.saturating_add(1),
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_range_has_bounds() {
        assert_eq!(bounds(&(3..5)), (3, 5));
        assert_eq!(bounds(&(3..=5)), (3, 6));
        assert_eq!(bounds(&(..)), (0, u64::MAX));
        assert_eq!(bounds(&(..=u64::MAX)), (0, u64::MAX));
        assert_eq!(
            bounds(&(Bound::Excluded(3), Bound::Unbounded)),
            (4, u64::MAX)
        );
    }
}
