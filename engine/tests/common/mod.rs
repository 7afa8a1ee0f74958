//! A word count on the simulated disk, run by hand.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod broker;
pub(crate) mod moving;
pub(crate) mod panics;
pub(crate) mod table;
pub(crate) mod world;

use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{
    BatchMode, Builder, CheckpointPolicy, DStream, StreamScope, StreamingContext, wal,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

pub(crate) type Seen = Arc<Mutex<BTreeMap<u64, Vec<(String, u64)>>>>;

/// A builder on `disk` whose batches are run by hand. The seed decides the order of keys: with the
/// same one, two directories can be compared.
pub(crate) fn builder(disk: &SimDisk, workers: usize) -> Builder {
    unseeded(disk, workers).seed(7)
}

/// The same, with a seed that is drawn by chance. States are restored by as many threads as there
/// are workers, whatever machine this is: with one of each the calls to the disk have one order.
pub(crate) fn unseeded(disk: &SimDisk, workers: usize) -> Builder {
    unseeded_in(disk, "/app", workers)
}

/// The same, in another directory.
pub(crate) fn unseeded_in(disk: &SimDisk, dir: &str, workers: usize) -> Builder {
    let workers = NonZeroUsize::new(workers).unwrap();
    let log = wal::Options::new()
        .segment_size(8 << 10)
        .background(wal::Background::Inline);
    StreamingContext::builder(dir)
        .disk(Arc::new(disk.clone()))
        .clock(Arc::new(ManualClock::new(1_700_000_000_000)))
        .log(log)
        .batches(BatchMode::Manual)
        .batch_interval(Duration::from_secs(1))
        .checkpoint(CheckpointPolicy::every_batches(3))
        .workers(workers)
        .restore_threads(workers)
        .key_groups(8)
}

/// lines -> words -> running counts.
pub(crate) fn word_count(ssc: &StreamScope) -> DStream<(String, u64)> {
    ssc.input::<String>("lines")
        .flat_map_into(|line: String, out| {
            line.split_whitespace().for_each(|w| out.emit(w.to_owned()))
        })
        .map(|word| (word, 1_u64))
        .update_state_by_key("counts", |_word, new: &[u64], total: &mut Option<u64>| {
            *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
        })
}

/// The word count, with every batch's output recorded by batch id.
pub(crate) fn open(
    disk: &SimDisk,
    workers: usize,
    seen: &Seen,
) -> highwater_engine::Result<StreamingContext> {
    let seen = Arc::clone(seen);
    builder(disk, workers).get_or_create(move |ssc| {
        word_count(ssc).for_each_batch("collect", move |batch, records: Vec<(String, u64)>| {
            seen.lock().insert(batch.id, records);
        });
        Ok(())
    })
}

pub(crate) fn send(context: &StreamingContext, line: &str) {
    context
        .input::<String>("lines")
        .unwrap()
        .send(&line.to_owned())
        .unwrap()
        .wait()
        .unwrap();
}

pub(crate) fn sorted(records: &[(String, u64)]) -> Vec<(String, u64)> {
    let mut records = records.to_vec();
    records.sort();
    records
}

/// Every line with a one, as it came.
pub(crate) fn open_lines(disk: &SimDisk, workers: usize, seen: &Seen) -> StreamingContext {
    let seen = Arc::clone(seen);
    let program = move |ssc: &StreamScope| {
        let lines = ssc
            .input::<String>("lines")
            .map(|line: String| (line, 1_u64));
        lines.for_each_batch("out", move |batch, records| {
            seen.lock().insert(batch.id, records);
        });
        Ok(())
    };
    builder(disk, workers).get_or_create(program).unwrap()
}
