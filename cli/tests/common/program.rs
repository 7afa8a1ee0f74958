//! A program with state of several shapes, for tests of what the tools say of its checkpoints.

use highwater::disk::ManualClock;
use highwater::prelude::*;
use highwater::{BatchMode, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A key with fields.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) city: String,
    pub(crate) zone: u32,
}

/// A value with fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stats {
    pub(crate) total: i64,
    pub(crate) mean: f64,
    pub(crate) is_open: bool,
    pub(crate) tags: Vec<String>,
    pub(crate) note: Option<String>,
}

/// The time of the first batch.
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// The state of the program that is optional.
pub(crate) const STATS: &str = "stats";

/// A context on `dir` whose only checkpoint is that of its stop, with the state [`STATS`] or
/// without it. `seed` is that of the hash of keys.
pub(crate) fn open(dir: &Path, seed: u64, with_stats: bool) -> Result<StreamingContext> {
    build(StreamingContext::builder(dir), seed, with_stats)
}

/// The same program, with settings of its own.
pub(crate) fn build(
    builder: highwater::Builder,
    seed: u64,
    with_stats: bool,
) -> Result<StreamingContext> {
    builder
        .application("shapes")
        .batches(BatchMode::Manual)
        .seed(seed)
        .clock(Arc::new(ManualClock::new(START_MS)))
        .checkpoint(CheckpointPolicy::every_batches(1000))
        .get_or_create(move |ssc| {
            let records = ssc.input::<(String, i64)>("in");
            // 0 removes a word.
            records
                .update_state_by_key("counts", |_, new, total: &mut Option<i64>| {
                    let sum = total.unwrap_or(0) + new.iter().sum::<i64>();
                    *total = (new != [0]).then_some(sum);
                })
                .print();
            let adding = StateSpec::new(
                |_: &Batch, _: &String, value: Option<i64>, state: &mut KeyState<'_, i64>| {
                    if let Some(n) = value {
                        state.update(state.get().copied().unwrap_or(0) + n);
                    }
                },
            );
            let timed =
                records.map_with_state_spec("timed", adding.timeout(Duration::from_hours(1)));
            timed.for_each_batch("nothing", |_, _| {});
            if with_stats {
                let placed = records.map(|(word, n): (String, i64)| {
                    let zone = u32::try_from(word.len()).unwrap();
                    (Place { city: word, zone }, n)
                });
                placed
                    .update_state_by_key(STATS, |place, new, stats: &mut Option<Stats>| {
                        let total = stats.as_ref().map_or(0, |s| s.total) + new.iter().sum::<i64>();
                        let is_open = total % 2 == 0;
                        *stats = Some(Stats {
                            total,
                            mean: 0.5,
                            is_open,
                            tags: vec![place.city.clone()],
                            note: is_open.then(|| "even, \"quoted\"".to_owned()),
                        });
                    })
                    .for_each_batch("stats-out", |_, _| {});
            }
            Ok(())
        })
}

/// Runs batches of records, and stops: that is a checkpoint.
pub(crate) fn run(context: &StreamingContext, batches: &[&[(&str, i64)]]) {
    context.start().unwrap();
    let input = context.input::<(String, i64)>("in").unwrap();
    for records in batches {
        for (word, n) in *records {
            let sent = input.send(&((*word).to_owned(), *n));
            sent.unwrap().wait().unwrap();
        }
        context.run_batch().unwrap();
    }
    context.stop(StopMode::Graceful).unwrap();
}

/// An engine's directory with two checkpoints.
pub(crate) fn engine(seed: u64) -> (TempDir, PathBuf) {
    let tmp = TempDir::new().unwrap();
    let dir = tmp.path().join("engine");
    let first: &[_] = &[("to", 1), ("be", 2), ("or", 3), ("not", 4)];
    let second: &[_] = &[("to", 5), ("1", 6), ("gone", 7)];
    run(&open(&dir, seed, true).unwrap(), &[first, second]);
    let third: &[_] = &[("be", 1), ("new", 8), ("gone", 0)];
    run(&open(&dir, seed, true).unwrap(), &[third]);
    (tmp, dir)
}
