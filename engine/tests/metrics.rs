//! Every metric that the README of the crate documents is there, with the right value.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod common;

use common::builder;
use highwater_engine::wal::disk::sim::{Call, Fault, FaultKind};
use highwater_engine::wal::disk::{Clock, ManualClock, SimDisk};
use highwater_engine::{
    BoxError, CheckpointPolicy, ContextEvent, ErrorPolicy, METRICS, OutputRetry, Receiver,
    SourceContext, StopMode, wal,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Fails once, and returns the next time.
struct Failing(u64);

impl Receiver for Failing {
    fn run(&mut self, _: &SourceContext) -> Result<(), BoxError> {
        self.0 += 1;
        match self.0 {
            1 => Err("on purpose".into()),
            _ => Ok(()),
        }
    }
}

/// What was counted since the last look; `name{label}`, without the label of the application.
fn seen(snapshotter: &Snapshotter) -> BTreeMap<String, DebugValue> {
    let all = snapshotter.snapshot().into_vec().into_iter();
    // Those of the log have tests of their own.
    let all = all.filter(|(key, ..)| !key.key().name().starts_with("highwater_wal_"));
    let named = all.map(|(key, _, _, value)| {
        let labels: BTreeMap<&str, &str> =
            key.key().labels().map(|l| (l.key(), l.value())).collect();
        assert_eq!(labels.get("application"), Some(&"highwater"), "{key:?}");
        let listed = METRICS.iter().find(|m| m.name == key.key().name()).unwrap();
        let expected: BTreeSet<&str> = listed.labels.iter().copied().collect();
        assert_eq!(labels.keys().copied().collect::<BTreeSet<_>>(), expected);
        let other = labels.iter().find(|(name, _)| **name != "application");
        let other = other.map_or(String::new(), |(name, value)| {
            // An output is shown as `for_each_batch "out"`.
            let quoted = value.split('"').nth(1);
            format!("{{{name}={}}}", quoted.unwrap_or(value))
        });
        (format!("{}{other}", key.key().name()), value)
    });
    named.collect()
}

/// The names in the table of the README.
fn documented() -> BTreeSet<String> {
    let readme = include_str!("../README.md");
    let rows = readme
        .lines()
        .filter(|line| line.starts_with("| `highwater_"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}

#[test]
fn every_documented_metric_has_its_value_and_no_other_is_there() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();
    let (disk, clock) = (
        SimDisk::new(),
        Arc::new(ManualClock::new(1_700_000_000_000)),
    );
    let (panics, failures, slow) = (AtomicU64::new(0), AtomicU64::new(0), Arc::clone(&clock));
    let newest = Arc::new(Mutex::new((0, 0, 0)));
    let listened = Arc::clone(&newest);
    let log = wal::Options::new().background(wal::Background::Inline);
    let context = builder(&disk, 1)
        .clock(Arc::<ManualClock>::clone(&clock))
        .log(log.segment_size(64 << 10))
        .checkpoint(CheckpointPolicy::every_batches(2))
        .output_retry(OutputRetry::forever().waits(Duration::ZERO, Duration::ZERO))
        .back_pressure(true)
        .listener(move |event| {
            if let ContextEvent::CheckpointCompleted {
                total_bytes,
                total_files,
                memory_bytes,
                ..
            } = event
            {
                *listened.lock() = (*total_bytes, *total_files, *memory_bytes);
            }
        })
        .get_or_create(move |ssc| {
            let decode = Arc::new(|bytes: bytes::Bytes| Ok(bytes.to_vec()));
            ssc.source("failing", "queue", decode, Failing(0))
                .for_each_batch("nothing", |_, _| ());
            ssc.input::<(u64, u64)>("pairs")
                .update_state_by_key("seen", |_, _, state: &mut Option<u64>| *state = Some(1))
                .for_each_batch("pairs seen", |_, _| ());
            let numbers = ssc.input::<u64>("numbers").map(move |n| {
                assert!(
                    n != 1 || panics.fetch_add(1, Ordering::SeqCst) > 0,
                    "on purpose"
                );
                n
            });
            let small = |bound: u64| move |n: u64| (n < bound).then_some(n).ok_or("too large");
            let kept = numbers.on_error(ErrorPolicy::Skip).try_map(small(90));
            let kept = kept.named("skips");
            let kept = kept.on_error(ErrorPolicy::DeadLetter).try_map(small(80));
            kept.named("puts aside")
                .for_each_batch("out", move |_, records: Vec<u64>| {
                    slow.advance(Duration::from_millis(records.len() as u64));
                    match failures.fetch_add(1, Ordering::SeqCst) {
                        1 => Err("on purpose"),
                        _ => Ok(()),
                    }
                });
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    while context.sources()[0].1.errors == 0 {
        std::thread::yield_now();
    }
    let pairs = context.input::<(u64, u64)>("pairs").unwrap();
    for _ in 0..2 {
        let sent = pairs.send_once("producer", 1, &(7, 7)).unwrap();
        sent.wait().unwrap();
    }
    let input = context.input::<u64>("numbers").unwrap();
    for batch in 0..3 {
        // 100 records: 10 are skipped, 10 are put aside.
        let numbers: Vec<u64> = (0..100).collect();
        input.send_all(&numbers).unwrap().wait().unwrap();
        if batch == 2 {
            let fault = Fault::new(Call::Create, FaultKind::Enospc).on("checkpoints");
            disk.fail(fault.forever());
        }
        context.run_batch().unwrap();
        clock.advance(Duration::from_secs(60));
    }
    context.run_batch().unwrap();
    disk.clear_faults();
    clock.advance(Duration::from_millis(60_250));
    context.stop(StopMode::Graceful).unwrap();

    let seen = seen(&snapshotter);
    let names: BTreeSet<String> = seen
        .keys()
        .map(|name| name.split('{').next().unwrap().to_owned())
        .collect();
    assert_eq!(names, documented());
    let listed = METRICS.iter().map(|metric| metric.name.to_owned());
    assert_eq!(names, listed.collect());
    let counter = |name: &str| match seen.get(name) {
        Some(DebugValue::Counter(count)) => *count,
        other => panic!("{name} is {other:?} in {seen:?}"),
    };
    let gauge = |name: &str| match seen.get(name) {
        Some(DebugValue::Gauge(value)) => value.0,
        other => panic!("{name} is {other:?} in {seen:?}"),
    };
    let samples = |name: &str| match seen.get(name) {
        Some(DebugValue::Histogram(all)) => all.len(),
        other => panic!("{name} is {other:?} in {seen:?}"),
    };
    let batches = context.progress().batches;
    assert_eq!(batches, 5, "four, and the last one of the stop");
    assert_eq!(gauge("highwater_up"), 0.0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        gauge(&format!("highwater_build_info{{version={version}}}")),
        1.0
    );
    assert_eq!(
        counter("highwater_source_records_total{source=numbers}"),
        300
    );
    assert_eq!(counter("highwater_source_records_total{source=queue}"), 0);
    assert_eq!(
        counter("highwater_source_duplicates_total{source=pairs}"),
        1
    );
    assert_eq!(counter("highwater_source_skipped_total{source=numbers}"), 0);
    let forgotten = "highwater_source_producers_forgotten_total{source=numbers}";
    assert_eq!(counter(forgotten), 0);
    assert_eq!(gauge("highwater_state_keys{state=seen}"), 1.0);
    assert_eq!(counter("highwater_batches_total"), 5);
    assert_eq!(counter("highwater_batch_records_total"), 301);
    assert_eq!(
        counter("highwater_batch_bytes_total"),
        context.progress().bytes
    );
    let lineage = context.lineage();
    assert_eq!(gauge("highwater_lineage_batches"), lineage.depth as f64);
    // What the stop wrote after the final checkpoint is not in it.
    let (bytes, most) = (
        gauge("highwater_lineage_bytes"),
        lineage.bytes_to_replay as f64,
    );
    assert!(bytes > 0.0 && bytes <= most, "{bytes} of {most}");
    let recovery = gauge("highwater_estimated_recovery_seconds");
    let most = lineage.estimated_recovery.unwrap().as_secs_f64();
    assert!(
        recovery > 0.0 && recovery <= most,
        "{recovery} s of {most} s"
    );
    // The final one is of this moment, with the time of the last batch.
    let age_ms = clock.wall_ms() - lineage.checkpoint_time_ms.unwrap();
    assert!(age_ms > 0);
    assert_eq!(
        gauge("highwater_checkpoint_age_seconds"),
        age_ms as f64 / 1e3
    );
    let load = lineage.load_time.as_secs_f64();
    assert_eq!(gauge("highwater_checkpoint_load_seconds"), load);
    let (stored, files, memory) = *newest.lock();
    assert!(stored > 0 && files > 0);
    assert_eq!(gauge("highwater_checkpoint_stored_bytes"), stored as f64);
    assert_eq!(gauge("highwater_checkpoint_files"), files as f64);
    assert_eq!(gauge("highwater_checkpoint_memory_bytes"), memory as f64);
    assert_eq!(samples("highwater_batch_processing_seconds"), 5);
    assert_eq!(samples("highwater_batch_scheduling_delay_seconds"), 5);
    assert_eq!(counter("highwater_batch_failures_total"), 1);
    assert_eq!(samples("highwater_output_seconds{output=out}"), 5);
    assert_eq!(counter("highwater_output_failures_total{output=out}"), 1);
    assert_eq!(
        counter("highwater_records_skipped_total{operator=skips}"),
        30
    );
    assert_eq!(
        counter("highwater_dead_letters_total{operator=puts aside}"),
        30
    );
    // 80 of 100 records reach the sink, each in a millisecond.
    assert_eq!(gauge("highwater_source_rate_limit{source=numbers}"), 1250.0);
    let failed = counter("highwater_receiver_failures_total{source=queue}");
    assert_eq!(failed, 1);
    assert_eq!(counter("highwater_checkpoints_total"), 2);
    assert_eq!(
        counter("highwater_checkpoint_bytes_total"),
        context.checkpoints().bytes
    );
    assert_eq!(samples("highwater_checkpoint_seconds"), 2);
    assert_eq!(counter("highwater_checkpoint_failures_total"), 1);
}
