//! Topics of a broker, read by offset: each record counts once, whatever happens to the program and
//! to the broker. The broker is librdkafka's mock cluster, which speaks the protocol.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "../../engine/tests/common/moving.rs"]
mod moving;
#[path = "common/small.rs"]
mod small;

use highwater_connectors::rdkafka::ClientConfig;
use highwater_connectors::rdkafka::mocking::MockCluster;
use highwater_connectors::rdkafka::producer::{
    BaseRecord, DefaultProducerContext, Producer, ThreadedProducer,
};
use highwater_connectors::{Kafka, KafkaRecord, Outputs, Sources, StartAt};
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{
    BatchMode, Builder, CheckpointPolicy, Result, SourceStats, StopMode, StreamingContext, wal,
};
use parking_lot::Mutex;
use small::builder;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

type Seen = Arc<Mutex<BTreeMap<u64, Vec<KafkaRecord>>>>;
type Cluster = MockCluster<'static, DefaultProducerContext>;

const PARTITIONS: i32 = 3;

struct Broker {
    cluster: Cluster,
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Broker {
    fn new(topics: &[&str]) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        for topic in topics {
            cluster.create_topic(topic, PARTITIONS, 1).unwrap();
        }
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .create()
            .unwrap();
        Self { cluster, producer }
    }

    /// Durable at the broker when it returns.
    fn produce(&self, topic: &str, values: impl IntoIterator<Item = u64>) {
        for value in values {
            let text = value.to_string();
            let record = BaseRecord::to(topic)
                .partition((value % PARTITIONS as u64) as i32)
                .key(&text)
                .payload(&text);
            self.producer.send(record).map_err(|(e, _)| e).unwrap();
        }
        self.producer.flush(Duration::from_secs(60)).unwrap();
    }

    fn kafka(&self, topic: &str) -> Kafka {
        Kafka::new(self.cluster.bootstrap_servers(), [topic])
    }
}

fn open(builder: Builder, seen: &Seen, kafka: Kafka) -> Result<StreamingContext> {
    let seen = Arc::clone(seen);
    let context = builder.get_or_create(move |ssc| {
        let records = ssc.kafka("orders", kafka);
        records.for_each_batch("out", move |batch, records: Vec<KafkaRecord>| {
            let before = seen.lock().insert(batch.id, records.clone());
            assert!(before.is_none_or(|before| before == records), "{batch}");
        });
        Ok(())
    })?;
    context.start()?;
    Ok(context)
}

fn values(seen: &Seen) -> Vec<u64> {
    let seen = seen.lock();
    let records = seen.values().flatten();
    let mut values: Vec<u64> = records
        .map(|r| r.text().unwrap().parse().unwrap())
        .collect();
    values.sort_unstable();
    values
}

fn stats(context: &StreamingContext) -> SourceStats {
    context.sources()[0].1
}

/// Runs batches until so many records were seen.
fn run_until(context: &StreamingContext, seen: &Seen, count: usize) -> Result<()> {
    while seen.lock().values().map(Vec::len).sum::<usize>() < count {
        context.run_batch()?;
        std::thread::yield_now();
    }
    Ok(())
}

#[test]
fn records_are_read_once_and_in_the_order_of_their_partitions() {
    let (broker, disk, seen) = (Broker::new(&["t"]), SimDisk::new(), Seen::default());
    broker.produce("t", 0..1000);
    let kafka = || broker.kafka("t").max_records(90);
    let context = open(builder(&disk, BatchMode::Manual), &seen, kafka()).unwrap();
    run_until(&context, &seen, 1000).unwrap();
    assert!(seen.lock().values().all(|records| records.len() <= 90));
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    broker.produce("t", 1000..1300);
    let context = open(builder(&disk, BatchMode::Manual), &seen, kafka()).unwrap();
    run_until(&context, &seen, 1300).unwrap();
    assert_eq!(values(&seen), (0..1300).collect::<Vec<_>>());
    assert_eq!(stats(&context).stored, 300, "nothing is read again");
    let mut next = BTreeMap::new();
    for records in seen.lock().values() {
        for record in records {
            let next = next.entry(record.partition).or_insert(0);
            assert_eq!((record.offset, &*record.topic), (*next, "t"));
            assert_eq!(record.key, record.value);
            assert!(record.timestamp_ms.is_some());
            *next += 1;
        }
        let partitions: Vec<i32> = records.iter().map(|record| record.partition).collect();
        assert!(partitions.is_sorted(), "{partitions:?}");
    }
}

/// Where a partition begins that starts at its end is in a cut: also if nothing came before a
/// restart, what comes meanwhile is read.
#[test]
fn a_start_at_the_end_is_remembered() {
    let (broker, disk, seen) = (Broker::new(&["t"]), SimDisk::new(), Seen::default());
    broker.produce("t", 0..30);
    let kafka = || broker.kafka("t").start_at(StartAt::Latest);
    let context = open(builder(&disk, BatchMode::Manual), &seen, kafka()).unwrap();
    // Until the broker has answered.
    while disk_positions(&context) == 0 {
        context.run_batch().unwrap();
        std::thread::yield_now();
    }
    drop(context);
    broker.produce("t", 30..40);
    let context = open(builder(&disk, BatchMode::Manual), &seen, kafka()).unwrap();
    run_until(&context, &seen, 10).unwrap();
    assert_eq!(values(&seen), (30..40).collect::<Vec<_>>());
}

/// How many cuts name partitions.
fn disk_positions(context: &StreamingContext) -> usize {
    let mut frames = context.log().read_from(wal::Lsn::ZERO).unwrap();
    let mut count = 0;
    while let Some(frame) = frames.next_frame().unwrap() {
        let payload = frame.payload();
        count += usize::from(payload.windows(3).any(|bytes| bytes == b"t/0"));
    }
    count
}

#[test]
fn what_cannot_work_fails_the_start() {
    let broker = Broker::new(&["t"]);
    let wrong = broker.kafka("t").property("no.such.property", "1");
    let none = Kafka::new("localhost:1", Vec::<String>::new());
    for (kafka, why) in [(wrong, "no.such.property"), (none, "no topics")] {
        let builder = builder(&SimDisk::new(), BatchMode::Manual);
        let error = open(builder, &Seen::default(), kafka)
            .unwrap_err()
            .to_string();
        assert!(error.contains("orders") && error.contains(why), "{error}");
    }
}

#[test]
fn a_power_cut_loses_no_record_and_repeats_none() {
    let broker = Broker::new(&["t"]);
    broker.produce("t", 0..600);
    let live = |disk: &SimDisk, seen: &Seen| -> Result<()> {
        let kafka = broker.kafka("t").max_records(120);
        let context = open(builder(disk, BatchMode::Manual), seen, kafka)?;
        run_until(&context, seen, 600)?;
        context.stop(StopMode::Graceful)
    };
    let (disk, seen) = (SimDisk::new(), Seen::default());
    live(&disk, &seen).unwrap();
    let expected = values(&seen);
    assert_eq!(expected, (0..600).collect::<Vec<_>>());
    let mutations = disk.mutations();
    assert!(mutations > 50, "{mutations}");
    for cut in (0..mutations).step_by(7) {
        let (disk, seen) = (SimDisk::new(), Seen::default());
        disk.cut_power_before(cut);
        if live(&disk, &seen).is_ok() {
            continue; // the broker was faster this time: there were fewer batches
        }
        let disk = disk.restart_after_power_cut(cut);
        // A batch that was shown and is in doubt is shown again, the same.
        live(&disk, &seen).unwrap_or_else(|e| panic!("cut before {cut}: {e}"));
        let context = open(builder(&disk, BatchMode::Manual), &seen, broker.kafka("t"));
        drop(context.unwrap());
        assert_eq!(values(&seen), expected, "cut before {cut}");
    }
}

/// Batches that were cut wait for the broker, and the context lives.
#[test]
fn a_broker_that_is_down_delays_batches() {
    let (broker, disk, seen) = (Broker::new(&["t"]), SimDisk::new(), Seen::default());
    broker.produce("t", 0..300);
    let builder = |mode| builder(&disk, mode).checkpoint(CheckpointPolicy::every_batches(1 << 40));
    let context = open(builder(BatchMode::Manual), &seen, broker.kafka("t")).unwrap();
    run_until(&context, &seen, 300).unwrap();
    drop(context); // no checkpoint: all is read again
    broker.cluster.broker_down(1).unwrap();
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let shared: Arc<ManualClock> = Arc::clone(&clock);
    let by_clock = builder(BatchMode::Clock).clock(shared);
    let context = open(by_clock, &seen, broker.kafka("t")).unwrap();
    let until = |so: &dyn Fn() -> bool| moving::move_until(&clock, Duration::from_millis(20), so);
    until(&|| context.failed_attempt().is_some());
    let failed = context.failed_attempt().unwrap();
    assert!(failed.waits_for_source, "{failed}");
    broker.cluster.broker_up(1).unwrap();
    until(&|| context.failed_attempt().is_none());
    broker.produce("t", 300..330);
    until(&|| values(&seen).len() == 330);
    context.stop(StopMode::Graceful).unwrap();
    assert_eq!(values(&seen), (0..330).collect::<Vec<_>>());
}

const CHILD: &str = "HIGHWATER_KAFKA_TEST";

/// What the process does that is killed: counts in a state, and writes each record to files.
#[test]
fn child() {
    let Ok(setup) = std::env::var(CHILD) else {
        return; // it is no test of its own
    };
    let (brokers, dir) = setup.split_once(' ').unwrap();
    let kafka = Kafka::new(brokers, ["t"]).max_records(500);
    let out = Path::new(dir).join("out/part");
    let context = StreamingContext::builder(Path::new(dir).join("app"))
        .batch_interval(Duration::from_millis(5))
        .get_or_create(move |ssc| {
            let values = ssc
                .kafka("orders", kafka)
                .map(|record: KafkaRecord| record.text().unwrap().to_owned());
            let counted = values
                .map(|value| (value.len(), 1_u64))
                .update_state_by_key("count", |_, new: &[u64], n: &mut Option<u64>| {
                    *n = Some(n.unwrap_or(0) + new.iter().sum::<u64>());
                });
            values.save_as_text_files("records", &out);
            counted
                .count_by_value()
                .for_each_batch("nothing", |_, _| {});
            Ok(())
        });
    let context = context.unwrap();
    context.start().unwrap();
    context.await_termination().unwrap();
}

fn spawn(brokers: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, format!("{brokers} {}", dir.display()))
        .spawn()
        .unwrap()
}

/// Every published line.
fn published(dir: &Path) -> Vec<u64> {
    let Ok(files) = std::fs::read_dir(dir.join("out")) else {
        return Vec::new();
    };
    let files = files.map(|file| file.unwrap().path());
    let visible = files.filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        path.is_file() && !name.starts_with('.')
    });
    let lines = visible.flat_map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| line.parse().unwrap())
            .collect::<Vec<u64>>()
    });
    lines.collect()
}

#[test]
fn a_process_that_is_killed_again_and_again_counts_each_record_once() {
    const RECORDS: u64 = 12_000;
    const KILLS: usize = 6;
    let broker = Broker::new(&["t"]);
    let brokers = broker.cluster.bootstrap_servers();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("out")).unwrap();
    let mut produced = 0;
    for life in 0..=KILLS {
        let mut process = spawn(&brokers, dir.path());
        // Records come while it runs and while it is down.
        let goal = RECORDS * (life as u64 + 1) / (KILLS as u64 + 1);
        while produced < goal {
            broker.produce("t", produced..produced + 200);
            produced += 200;
        }
        let wanted = match life {
            KILLS => produced as usize,
            _ => published(dir.path()).len() + 300,
        };
        while published(dir.path()).len() < wanted {
            assert!(process.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::yield_now();
        }
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let mut found = published(dir.path());
    found.sort_unstable();
    assert_eq!(found, (0..produced).collect::<Vec<_>>());
}
