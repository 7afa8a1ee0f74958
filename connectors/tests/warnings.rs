//! A hostile client cannot flood the program's log: refused lines are all counted, but few are
//! logged.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Client, stats};
use highwater_connectors::{BoundAddress, Line, ListenOptions, Sources};
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{BatchMode, StreamingContext, wal};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Counts warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicU64>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn thousands_of_bad_lines_cost_a_handful_of_warnings() {
    const BAD: usize = 20_000;
    let warnings = Warnings::default();
    tracing::subscriber::set_global_default(warnings.clone()).unwrap();
    let bound = BoundAddress::new();
    let options = ListenOptions::new().report_to(&bound);
    let context = StreamingContext::builder("/app")
        .disk(Arc::new(SimDisk::new()))
        .clock(Arc::new(ManualClock::new(0)))
        .log(wal::Options::new().segment_size(256 << 10))
        .batches(BatchMode::Manual)
        .get_or_create(|ssc| {
            ssc.socket_listen_with("lines", "127.0.0.1:0", options)
                .for_each_batch("nowhere", |_, _: Vec<Line>| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let mut client = Client::connect(bound.get().unwrap());
    let mut sender = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || sender.write_all(&b"\xff\n".repeat(BAD)).unwrap());
    for _ in 0..BAD {
        assert!(client.answer().starts_with("err not utf-8"));
    }
    sending.join().unwrap();
    assert_eq!(stats(&context).skipped, BAD as u64, "every one is counted");
    // The clock stands still, so this is one burst.
    assert_eq!(warnings.0.load(Ordering::Relaxed), 10);
}
