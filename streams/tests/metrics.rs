//! What streams count, and that the README says so.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use highwater_streams::{METRICS, NewStream, Options, Streams};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn streams_are_counted_and_described() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let streams = Streams::open(dir.path(), Options::new().without_threads()).unwrap();
    for name in ["a", "b", "c"] {
        let new = NewStream {
            content_type: Some("text/plain"),
            ..NewStream::default()
        };
        streams.create(name, &new).unwrap().wait().unwrap().unwrap();
    }
    streams.checkpoint().unwrap();
    streams.tend().unwrap();
    let mut seen = BTreeMap::new();
    for (key, _, help, value) in snapshotter.snapshot().into_vec() {
        let name = key.key().name().to_owned();
        if name.starts_with("highwater_stream") {
            assert!(help.is_some(), "{name} has no help text");
            seen.insert(name, value);
        }
    }
    assert_eq!(seen["highwater_streams"], DebugValue::Gauge(3.0.into()));
    assert_eq!(
        seen["highwater_stream_checkpoints_total"],
        DebugValue::Counter(1)
    );
    let names: BTreeSet<&str> = seen.keys().map(String::as_str).collect();
    let listed: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names, listed);
    let readme = include_str!("../README.md").to_lowercase();
    for metric in METRICS {
        let said = metric.help.trim_end_matches('.').to_lowercase();
        assert!(
            readme.contains(metric.name) && readme.contains(&said),
            "{}",
            metric.name
        );
    }
}
