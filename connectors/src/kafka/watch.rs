//! Where partitions begin and end, asked for by a thread of its own: a cut must not wait for a
//! broker.

use super::options::Kafka;
use highwater_engine::{BoxError, OffsetContext};
use parking_lot::{Condvar, Mutex};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often the brokers are asked.
const POLL: Duration = Duration::from_millis(250);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Topic and partition.
pub(super) type Partition = (String, i32);

/// Offset of the oldest record, and the one after the newest.
pub(super) type Bounds = (u64, u64);

#[derive(Debug, Default)]
struct State {
    /// What the brokers said last, or why they did not.
    partitions: Option<Result<BTreeMap<Partition, Bounds>, String>>,
    stopping: bool,
}

/// What is known of the partitions.
#[derive(Debug, Default)]
pub(super) struct Watch {
    state: Mutex<State>,
    stopped: Condvar,
}

impl Watch {
    /// Starts the thread. It ends when the context stops.
    pub(super) fn start(kafka: &Kafka, source: &OffsetContext) -> Result<Arc<Self>, BoxError> {
        let watch = Arc::new(Self::default());
        let consumer: BaseConsumer = kafka.consumer(source.name()).create()?;
        let (on_thread, topics) = (Arc::clone(&watch), kafka.topics.clone());
        std::thread::Builder::new()
            .name("highwater-kafka".to_owned())
            .spawn(move || on_thread.run(&consumer, &topics))?;
        let on_stop = Arc::clone(&watch);
        source.on_stop(move || {
            on_stop.state.lock().stopping = true;
            on_stop.stopped.notify_all();
        });
        Ok(watch)
    }

    /// What the brokers said last; `None` if they have not answered yet.
    pub(super) fn partitions(&self) -> Option<Result<BTreeMap<Partition, Bounds>, String>> {
        self.state.lock().partitions.clone()
    }

    fn run(&self, consumer: &BaseConsumer, topics: &[String]) {
        loop {
            let asked = ask(consumer, topics).map_err(|error| error.to_string());
            let mut state = self.state.lock();
            state.partitions = Some(asked);
            if !state.stopping {
                let _timed_out = self.stopped.wait_for(&mut state, POLL);
            }
            if state.stopping {
                return;
            }
        }
    }
}

fn ask(
    consumer: &BaseConsumer,
    topics: &[String],
) -> Result<BTreeMap<Partition, Bounds>, KafkaError> {
    let mut partitions = BTreeMap::new();
    // Errors of brokers come as events, which nothing else takes out.
    while let Some(_event) = consumer.poll(Duration::ZERO) {}
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
        for of in metadata.topics().iter().filter(|of| of.name() == topic) {
            if let Some(error) = of.error() {
                return Err(KafkaError::MetadataFetch(error.into()));
            }
            for partition in of.partitions() {
                let id = partition.id();
                let (low, high) = consumer.fetch_watermarks(topic, id, ANSWER)?;
                let offset = |at: i64| u64::try_from(at).unwrap_or(0);
                partitions.insert((topic.clone(), id), (offset(low), offset(high)));
            }
        }
    }
    Ok(partitions)
}
