//! The records of a range.

use super::options::Kafka;
use super::record::KafkaRecord;
use bytes::Bytes;
use highwater_engine::{OffsetRange, ReadError};
use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, Offset, TopicPartitionList};
use std::time::Duration;

/// How long to wait for a record at a time ...
const POLL: Duration = Duration::from_millis(250);
/// ... and how often, before the broker counts as down.
const POLLS: u32 = 40;

/// How long the end of a partition may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Consumers that are kept for later, each for a partition. Each has a few threads and connections.
const KEPT: usize = 12;

/// A consumer that has read a range, and so has what follows already.
struct Idle {
    consumer: BaseConsumer,
    item: String,
    next: u64,
}

/// Reads ranges, several at a time.
#[derive(Default)]
pub(super) struct Readers {
    idle: Mutex<Vec<Idle>>,
}

fn unavailable(error: impl std::fmt::Display) -> ReadError {
    ReadError::Unavailable(error.to_string().into())
}

impl Readers {
    /// Calls `emit` for each record of `range`, which is of a partition.
    pub(super) fn read(
        &self,
        (kafka, source): (&Kafka, &str),
        (topic, partition): (&str, i32),
        range: &OffsetRange,
        emit: &mut dyn FnMut(u64, Bytes),
    ) -> Result<(), ReadError> {
        let (consumer, is_fresh) = self.consumer((kafka, source), (topic, partition), range)?;
        read(&consumer, is_fresh, (topic, partition), range, emit)?;
        let mut idle = self.idle.lock();
        if idle.len() >= KEPT {
            drop(idle.remove(0));
        }
        idle.push(Idle {
            consumer,
            item: range.item.clone(),
            next: range.to,
        });
        Ok(())
    }

    /// A consumer that reads the range next, and whether it was told so now: one that goes on has
    /// what it has fetched before.
    fn consumer(
        &self,
        (kafka, source): (&Kafka, &str),
        (topic, partition): (&str, i32),
        range: &OffsetRange,
    ) -> Result<(BaseConsumer, bool), ReadError> {
        let mut idle = self.idle.lock();
        let goes_on = |of: &Idle| of.item == range.item && of.next == range.from;
        if let Some(at) = idle.iter().position(goes_on) {
            return Ok((idle.remove(at).consumer, false));
        }
        // The one that has waited longest reads another partition.
        let other = (idle.len() >= KEPT).then(|| idle.remove(0));
        drop(idle);
        let consumer = match other {
            Some(other) => other.consumer,
            None => kafka.consumer(source).create().map_err(unavailable)?,
        };
        assign(&consumer, (topic, partition), range.from)?;
        Ok((consumer, true))
    }
}

/// Has a consumer read a partition from an offset on. What it has fetched before is dropped.
fn assign(
    consumer: &BaseConsumer,
    (topic, partition): (&str, i32),
    from: u64,
) -> Result<(), ReadError> {
    let from = Offset::Offset(i64::try_from(from).map_err(unavailable)?);
    let mut assignment = TopicPartitionList::new();
    let added = assignment.add_partition_offset(topic, partition, from);
    added.map_err(unavailable)?;
    consumer.assign(&assignment).map_err(unavailable)
}

fn read(
    consumer: &BaseConsumer,
    mut is_fresh: bool,
    (topic, partition): (&str, i32),
    range: &OffsetRange,
    emit: &mut dyn FnMut(u64, Bytes),
) -> Result<(), ReadError> {
    let gone = |what: String| ReadError::Gone(what.into());
    let (mut polls, mut why) = (0, "no broker has answered".to_owned());
    // Offsets of a partition have gaps: compacted records, marks of transactions.
    let mut next = range.from;
    while next < range.to {
        let message = match consumer.poll(POLL) {
            Some(Ok(message)) => Some(message),
            Some(Err(KafkaError::PartitionEOF(of))) if of == partition => {
                let (_, end) = consumer
                    .fetch_watermarks(topic, partition, ANSWER)
                    .map_err(unavailable)?;
                if !u64::try_from(end).is_ok_and(|end| end >= range.to) {
                    return Err(gone(format!("the partition ends at offset {end}")));
                }
                if is_fresh {
                    return Ok(()); // what is left are gaps
                }
                // The end may be that of an earlier range, at which the consumer waited. (Whole
                // ranges were taken for gaps.) One that is met from here on is behind this range.
                assign(consumer, (topic, partition), next)?;
                is_fresh = true;
                continue;
            }
            Some(Err(error)) => {
                let code = error.rdkafka_error_code();
                if matches!(
                    code,
                    Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset)
                ) {
                    return Err(gone(format!(
                        "the broker does not have it any more: {error}"
                    )));
                }
                why = error.to_string();
                None
            }
            None => None,
        };
        let Some(message) = message else {
            polls += 1;
            if polls > POLLS {
                return Err(unavailable(why));
            }
            continue;
        };
        polls = 0;
        let offset = u64::try_from(message.offset()).map_err(unavailable)?;
        if message.topic() != topic || message.partition() != partition || offset < next {
            continue;
        }
        if offset >= range.to {
            // It was taken out of the consumer: what goes on there needs it again.
            return assign(consumer, (topic, partition), range.to);
        }
        next = offset + 1;
        let record = KafkaRecord::of(&message).encode();
        let record = record.map_err(|error| gone(error.to_string()))?;
        emit(offset, Bytes::from(record));
    }
    Ok(())
}
