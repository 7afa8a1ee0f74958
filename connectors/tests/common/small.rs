//! A program of small batches on a simulated disk.

use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{BatchMode, Builder, CheckpointPolicy, StreamingContext, wal};
use std::sync::Arc;
use std::time::Duration;

/// A checkpoint after every third batch, two workers, a small log.
pub(crate) fn builder(disk: &SimDisk, mode: BatchMode) -> Builder {
    let log = wal::Options::new()
        .segment_size(64 << 10)
        .background(wal::Background::Inline);
    StreamingContext::builder("/app")
        .disk(Arc::new(disk.clone()))
        .clock(Arc::new(ManualClock::new(1_700_000_000_000)))
        .log(log)
        .batches(mode)
        .batch_interval(Duration::from_secs(1))
        .checkpoint(CheckpointPolicy::every_batches(3))
        .workers(2.try_into().unwrap())
        .restore_threads(1.try_into().unwrap())
}
