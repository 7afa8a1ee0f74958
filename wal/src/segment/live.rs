//! The segments of an open log: the tail, which is appended to, and those before it.

use crate::error::{Result, WalError};
use crate::facade::tracing;
use crate::lsn::Lsn;
use crate::segment::file::Segment;
use arc_swap::{ArcSwap, Guard};
use highwater_disk::DiskError;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a segment holds: bytes of the log from `base` up to `end`. The last one is not full yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentRange {
    /// The position of its first byte, by which its file is named.
    pub base: Lsn,
    /// Behind the last byte that its file has room for.
    pub end: Lsn,
}

#[derive(Debug)]
pub(crate) struct LiveSegments {
    /// Appenders read it without a lock. One thread at a time replaces it.
    tail: ArcSwap<Segment>,
    /// All segments by base. The tail is the last.
    by_base: RwLock<BTreeMap<u64, Arc<Segment>>>,
}

impl LiveSegments {
    /// `tail` is the last of `segments`.
    pub(crate) fn new(segments: Vec<Arc<Segment>>, tail: Arc<Segment>) -> Self {
        let by_base = segments.into_iter().map(|segment| (segment.base, segment));
        Self {
            tail: ArcSwap::new(tail),
            by_base: RwLock::new(by_base.collect()),
        }
    }

    pub(crate) fn tail(&self) -> Guard<Arc<Segment>> {
        self.tail.load()
    }

    /// Everything below is appended.
    pub(crate) fn end(&self) -> u64 {
        let tail = self.tail.load();
        tail.base + tail.map().reserved()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_base.read().len()
    }

    /// What each segment holds.
    pub(crate) fn ranges(&self) -> Vec<SegmentRange> {
        let segments = self.by_base.read();
        let range = |segment: &Arc<Segment>| SegmentRange {
            base: Lsn::new(segment.base),
            end: Lsn::new(segment.end()),
        };
        segments.values().map(range).collect()
    }

    /// The segment that holds `lsn`.
    pub(crate) fn containing(&self, lsn: u64) -> Option<Arc<Segment>> {
        let segments = self.by_base.read();
        let (_, segment) = segments.range(..=lsn).next_back()?;
        (lsn < segment.end()).then(|| Arc::clone(segment))
    }

    /// Base of the segment that holds `lsn`; 0 if all are above it.
    pub(crate) fn base_of(&self, lsn: u64) -> u64 {
        base_of(&self.by_base.read(), lsn)
    }

    /// Bases of the segments that hold the log from `from` up to `to`.
    pub(crate) fn bases(&self, from: u64, to: u64) -> Vec<u64> {
        let segments = self.by_base.read();
        let first = base_of(&segments, from);
        segments
            .range(first..to.max(first))
            .map(|(base, _)| *base)
            .collect()
    }

    /// How many segments start from `from` to `last`, both included.
    pub(crate) fn count(&self, from: u64, last: u64) -> usize {
        self.by_base.read().range(from..=last).count()
    }

    /// The segments from the one that holds `lsn` up to the tail.
    pub(crate) fn since(&self, lsn: u64) -> Vec<Arc<Segment>> {
        let tail = self.tail.load_full();
        let segments = self.by_base.read();
        let first = base_of(&segments, lsn);
        segments
            .range(first..=tail.base)
            .map(|(_, segment)| Arc::clone(segment))
            .collect()
    }

    /// The segments that are appended to, or were, and are still in memory of the process.
    pub(crate) fn in_memory(&self) -> Vec<Arc<Segment>> {
        let segments = self.by_base.read();
        // Those before the first that is read from its file are, too.
        let from_last = segments.values().rev();
        let mut found: Vec<_> = from_last
            .take_while(|segment| segment.is_in_memory())
            .map(Arc::clone)
            .collect();
        found.reverse();
        found
    }

    /// Makes `next` the tail. Returns the segments that were read in memory of the process until
    /// now, and are read from their files from now on.
    pub(crate) fn push(&self, next: Arc<Segment>, durable: u64) -> Vec<Arc<Segment>> {
        let released = {
            let mut segments = self.by_base.write();
            segments.insert(next.base, Arc::clone(&next));
            release_memory(&mut segments, durable, self.tail.load().base)
        };
        self.tail.store(next);
        released
    }

    /// The log is closed: nothing is appended any more. Gives the memory of its segments back to
    /// the system.
    pub(crate) fn retire(&self) {
        for segment in self.in_memory() {
            // It stays then, as it did before.
            if let Err(error) = segment.map().retire() {
                let error = DiskError::about(error, &segment.path);
                tracing::debug!(%error, "a closed log keeps more in memory than it should");
            }
        }
    }

    /// Forgets the segments below `first`, and returns them.
    pub(crate) fn remove_below(&self, first: u64) -> Vec<Arc<Segment>> {
        let mut segments = self.by_base.write();
        let kept = segments.split_off(&first);
        let removed = std::mem::replace(&mut *segments, kept);
        removed.into_values().collect()
    }

    /// How far the log has to be durable for callers that wait for `lsn`: beyond the record there,
    /// or up to the end of the log if no record is there.
    ///
    /// # Errors
    /// [`WalError::BeyondEnd`].
    pub(crate) fn target_of(&self, lsn: Lsn) -> Result<u64> {
        match Lsn::new(self.end()) {
            end if lsn < end => Ok(lsn.get() + 1),
            end if lsn == end => Ok(lsn.get()),
            end => Err(WalError::BeyondEnd { asked: lsn, end }),
        }
    }

    /// Refuses positions after the end of the log.
    ///
    /// # Errors
    /// [`WalError::BeyondEnd`].
    pub(crate) fn check_not_beyond(&self, lsn: Lsn) -> Result<()> {
        self.target_of(lsn).map(drop)
    }
}

fn base_of(segments: &BTreeMap<u64, Arc<Segment>>, lsn: u64) -> u64 {
    let at_or_below = segments.range(..=lsn).next_back();
    at_or_below.map_or(0, |(base, _)| *base)
}

/// Segments below the one at `sealed` are read from their files from now on. The one at `sealed`
/// keeps its memory: readers that follow the log still read it.
fn release_memory(
    segments: &mut BTreeMap<u64, Arc<Segment>>,
    durable: u64,
    sealed: u64,
) -> Vec<Arc<Segment>> {
    let mut released = Vec::new();
    for segment in segments.range_mut(..sealed).map(|(_, segment)| segment) {
        if segment.end() <= durable
            && let Some(from_file) = segment.without_memory()
        {
            released.push(std::mem::replace(segment, Arc::new(from_file)));
        }
    }
    released
}
