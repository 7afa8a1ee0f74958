//! Which offsets a batch has.

use super::options::{Kafka, StartAt};
use super::reading::Readers;
use super::watch::{Bounds, Partition, Watch};
use bytes::Bytes;
use highwater_engine::{
    Advance, AdvanceLimit, BoxError, OffsetContext, OffsetRange, ReadError, Source,
};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// A range is read by one worker: a large batch of one partition has several.
const PIECE: u64 = 20_000;

/// The identity of a range that the broker has deleted, and that is not read.
const LOST: &[u8] = b"lost";

/// Topics of a broker.
pub(crate) struct KafkaSource {
    kafka: Kafka,
    opened: OnceLock<Opened>,
    readers: Readers,
}

struct Opened {
    name: String,
    watch: Arc<Watch>,
}

fn item((topic, partition): &Partition) -> String {
    format!("{topic}/{partition}")
}

fn partition(item: &str) -> Option<(&str, i32)> {
    let (topic, partition) = item.rsplit_once('/')?;
    Some((topic, partition.parse().ok()?))
}

impl KafkaSource {
    pub(crate) fn new(kafka: Kafka) -> Self {
        Self {
            kafka,
            opened: OnceLock::new(),
            readers: Readers::default(),
        }
    }

    /// The ranges of one partition: at most `most` offsets.
    fn ranges(
        &self,
        source: &OffsetContext,
        item: &str,
        (low, high): Bounds,
        most: u64,
    ) -> Result<Vec<OffsetRange>, BoxError> {
        let mut ranges = Vec::new();
        let position = source.position(item);
        let mut from = match (position, self.kafka.start_at) {
            (Some(position), _) => position,
            (None, StartAt::Earliest) => low,
            (None, StartAt::Latest) => high,
        };
        if from > high {
            return Err(format!(
                "{item} ends at offset {high}, and batches have it up to {from}: it was made again, or a broker has lost records. \
                 Give the source another name to read it from its beginning"
            )
            .into());
        }
        if from < low && !self.kafka.skips_lost {
            return Err(format!(
                "{item} begins at offset {low}, and batches have it up to {from}: the broker has deleted what is in between. \
                 `skip_lost_records` goes on behind it"
            )
            .into());
        }
        if from < low {
            source.vanished(&format!(
                "{item}: the broker has deleted the offsets from {from} to {low} before a batch had them"
            ));
            // The places of a batch are numbers of 32 bits: what is left comes with the next one.
            let to = low.min(from.saturating_add(1 << 28));
            ranges.push(OffsetRange::new(item, from, to).identity(LOST));
            return Ok(ranges);
        }
        if position.is_none() && from == high {
            ranges.push(OffsetRange::new(item, from, from)); // it begins here
        }
        let end = high.min(from.saturating_add(most));
        while from < end {
            let to = end.min(from.saturating_add(PIECE));
            ranges.push(OffsetRange::new(item, from, to));
            from = to;
        }
        Ok(ranges)
    }
}

impl Source for KafkaSource {
    fn open(&self, source: &OffsetContext) -> Result<(), BoxError> {
        if self.kafka.topics.is_empty() {
            return Err("it has no topics".into());
        }
        let opened = Opened {
            name: source.name().to_owned(),
            watch: Watch::start(&self.kafka, source)?,
        };
        self.opened
            .set(opened)
            .map_err(|_| BoxError::from("it was opened twice"))
    }

    fn advance(&self, source: &OffsetContext, limit: &AdvanceLimit) -> Result<Advance, BoxError> {
        let Some(opened) = self.opened.get() else {
            return Err("it was not opened".into());
        };
        let Some(partitions) = opened.watch.partitions() else {
            return Ok(Advance::default());
        };
        let partitions: BTreeMap<Partition, Bounds> = partitions?;
        let most = self
            .kafka
            .max_records
            .min(limit.records.unwrap_or(u64::MAX));
        let share = (most / (partitions.len() as u64).max(1)).max(1);
        let (mut ranges, mut has_more) = (Vec::new(), false);
        for (of, bounds) in &partitions {
            let item = item(of);
            let its = self.ranges(source, &item, *bounds, share)?;
            has_more |= its.last().is_some_and(|last| last.to < bounds.1);
            ranges.extend(its);
        }
        Ok(Advance::new(ranges).has_more(has_more))
    }

    fn read(&self, range: &OffsetRange, emit: &mut dyn FnMut(u64, Bytes)) -> Result<(), ReadError> {
        let Some(opened) = self.opened.get() else {
            return Err(ReadError::Unavailable("it was not opened".into()));
        };
        let Some(of) = partition(&range.item) else {
            return Err(ReadError::Gone("it names no partition".into()));
        };
        if range.from == range.to || range.identity == LOST {
            return Ok(());
        }
        self.readers
            .read((&self.kafka, &opened.name), of, range, emit)
    }
}
