//! What the server counts: requests by the code of their answer, connections, those refused.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, in its helpers too"
)]
#![allow(dead_code, reason = "a part of what the client can do is needed")]

#[path = "door/client.rs"]
mod client;

use client::{ANYONE, World, batch};
use highwater_kafka::KafkaOptions;
use highwater_streams::Options;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use std::collections::BTreeMap;

#[test]
fn each_request_and_each_connection_counts() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = KafkaOptions::new().topic("t", 1).max_connections(1, 1);
    let world = World::open(dir.path(), Options::new(), options);
    let mut client = world.client();
    let body = batch(ANYONE, None, &["v"]);
    for (name, code) in [("t", 0), ("none", 3), ("t", 0)] {
        assert_eq!(client.produce(name, 0, &body).0, code);
    }
    assert!(world.client().is_closed(), "there is no place for it");
    let mut seen = BTreeMap::new();
    for (key, _, help, value) in snapshotter.snapshot().into_vec() {
        let labels = key.key().labels();
        let labels: BTreeMap<_, _> = labels.map(|label| (label.key(), label.value())).collect();
        if labels.get("door") == Some(&"kafka") {
            assert!(help.is_some());
            let code = labels.get("code").copied().unwrap_or_default();
            seen.insert(format!("{} {code}", key.key().name()), value);
        }
    }
    let counted = |name: &str| &seen[name];
    assert_eq!(
        counted("highwater_door_requests_total 0"),
        &DebugValue::Counter(2)
    );
    assert_eq!(
        counted("highwater_door_requests_total 3"),
        &DebugValue::Counter(1)
    );
    assert_eq!(
        counted("highwater_door_connections "),
        &DebugValue::Gauge(1.0.into())
    );
    assert_eq!(
        counted("highwater_door_connections_refused_total "),
        &DebugValue::Counter(1)
    );
    let DebugValue::Histogram(seconds) = counted("highwater_door_request_seconds ") else {
        panic!("a histogram");
    };
    assert_eq!(seconds.len(), 3);
}
