//! A source outside of the machine that crashes: partitions that keep their records until they
//! are released.

use highwater_engine::{
    Advance, AdvanceLimit, BoxError, DStream, OffsetContext, OffsetRange, ReadError, Source,
    StreamScope,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[derive(Debug, Default)]
struct Partition {
    /// Offset of the first record that is kept.
    first: u64,
    records: Vec<String>,
}

impl Partition {
    fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }
}

/// Item, first offset, and the one after the last.
type Wanted = (&'static str, u64, u64);

/// What is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// It does not answer reads.
    pub(crate) down: AtomicBool,
    /// It does not answer when a batch is cut.
    pub(crate) deaf: AtomicBool,
    /// What it wants instead of what would be right.
    pub(crate) wants: Mutex<Option<Vec<Wanted>>>,
    /// It keeps what is released.
    pub(crate) keeps: AtomicBool,
    /// Added to each offset.
    pub(crate) shifts: AtomicU64,
}

/// Partitions. Records of one batch: as many of each as the limit allows.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    partitions: Mutex<BTreeMap<String, Partition>>,
    pub(crate) trouble: Trouble,
    /// Of each partition at most so many in a batch, and in ranges of at most half of that.
    at_once: Option<u64>,
    pub(crate) reads: AtomicU64,
}

impl Broker {
    /// At most so many records of each partition in a batch.
    pub(crate) fn at_once(records: u64) -> Self {
        Self {
            at_once: Some(records),
            ..Self::default()
        }
    }

    pub(crate) fn push(&self, partition: &str, record: impl Into<String>) {
        let mut partitions = self.partitions.lock();
        let partition = partitions.entry(partition.to_owned()).or_default();
        partition.records.push(record.into());
    }

    /// The offset after the last record.
    pub(crate) fn end(&self, partition: &str) -> u64 {
        let partitions = self.partitions.lock();
        partitions.get(partition).map_or(0, Partition::end)
    }

    /// Offset of the first record that is kept.
    pub(crate) fn first(&self, partition: &str) -> u64 {
        let partitions = self.partitions.lock();
        partitions.get(partition).map_or(0, |p| p.first)
    }

    /// Forgets records below `offset`.
    pub(crate) fn forget(&self, partition: &str, offset: u64) {
        let mut partitions = self.partitions.lock();
        let kept = partitions.get_mut(partition).unwrap();
        let gone = offset.saturating_sub(kept.first);
        drop(kept.records.drain(..index(gone)));
        kept.first = kept.first.max(offset);
    }

    /// The stream of `broker`'s records, as text.
    pub(crate) fn stream(self: &Arc<Self>, ssc: &StreamScope, name: &str) -> DStream<String> {
        let decode = |bytes: bytes::Bytes| {
            String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())
        };
        ssc.source_by_offset("broker", name, Arc::new(decode), Handle(Arc::clone(self)))
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

struct Handle(Arc<Broker>);

impl Source for Handle {
    fn advance(&self, source: &OffsetContext, limit: &AdvanceLimit) -> Result<Advance, BoxError> {
        let trouble = &self.0.trouble;
        if trouble.deaf.load(Ordering::SeqCst) {
            return Err("the broker does not answer".into());
        }
        if let Some(wants) = &*trouble.wants.lock() {
            let wants = wants
                .iter()
                .map(|(item, from, to)| OffsetRange::new(*item, *from, *to));
            return Ok(Advance::new(wants));
        }
        assert!(limit.bytes > 0);
        let (mut ranges, mut has_more) = (Vec::new(), false);
        for (item, partition) in &*self.0.partitions.lock() {
            let mut from = source.position(item).unwrap_or(0);
            let at_once = self.0.at_once.unwrap_or(u64::MAX);
            let at_once = at_once.min(limit.records.unwrap_or(u64::MAX));
            let end = partition.end().min(from.saturating_add(at_once));
            has_more |= end < partition.end();
            while from < end {
                let to = end.min(from.saturating_add((at_once / 2).max(1)));
                let range = OffsetRange::new(item, from, to);
                ranges.push(range.identity(item.as_bytes()));
                from = to;
            }
        }
        Ok(Advance::new(ranges).has_more(has_more))
    }

    fn read(
        &self,
        range: &OffsetRange,
        emit: &mut dyn FnMut(u64, bytes::Bytes),
    ) -> Result<(), ReadError> {
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        if self.0.trouble.down.load(Ordering::SeqCst) {
            return Err(ReadError::Unavailable("the broker is down".into()));
        }
        assert_eq!(range.identity, range.item.as_bytes());
        let partitions = self.0.partitions.lock();
        let partition = &partitions[&range.item];
        if range.from < partition.first {
            let gone = format!("it begins at offset {}", partition.first);
            return Err(ReadError::Gone(gone.into()));
        }
        let shifts = self.0.trouble.shifts.load(Ordering::SeqCst);
        for offset in range.from..range.to {
            let record = &partition.records[index(offset - partition.first)];
            emit(offset + shifts, record.clone().into_bytes().into());
        }
        Ok(())
    }

    fn release(&self, item: &str, offset: u64) {
        if !self.0.trouble.keeps.load(Ordering::SeqCst) {
            self.0.forget(item, offset);
        }
    }
}
