//! What checkpoints cost: bytes, time, memory, the delay of batches, and a restart, for so many
//! keys of which so many have changed.
//!
//! Batches change `u64` keys with 48 bytes of state. Each checkpoint is taken after one of them.
//! The next batches run while it is copied and written: their times stand beside those of batches
//! without a checkpoint of the same run. The store is the local directory, or `CHECKPOINT_URL`.
//!
//! `CHECKPOINT_KEYS=100000,1000000` chooses how many keys, `CHECKPOINT_PERCENT=1,10,100` how many
//! of them change between two checkpoints, `CHECKPOINT_WORKERS` the number of workers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "test code"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "benches measure with the real clock on the real disk"
)]

#[path = "support/states.rs"]
mod states;
mod support;

use highwater::prelude::*;
use highwater::{BatchMode, ContextEvent, Sender, StateGuard};
use states::{Account, IN_RECORD};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{print_machine, scratch, sized};

/// A batch that is empty is cut so often.
const INTERVAL: Duration = Duration::from_millis(5);

/// Keys that a batch changes.
const IN_BATCH: u64 = 10_000;

/// What is known of a published checkpoint.
#[derive(Debug, Clone, Copy)]
struct Taken {
    size: u64,
    total: u64,
    files: usize,
    memory: u64,
    took: Duration,
}

struct Program {
    context: StreamingContext,
    input: Sender<Vec<u64>>,
    mode: BatchMode,
    taken: Arc<Mutex<Vec<Taken>>>,
    batches: Receiver<Duration>,
}

fn list(name: &str, default: &str) -> Vec<u64> {
    let text = std::env::var(name).unwrap_or_else(|_| default.to_owned());
    text.split(',').map(|n| n.parse().unwrap()).collect()
}

impl Program {
    /// Checkpoints are taken after every so many batches, empty ones included. By hand, a batch
    /// ends when its checkpoint is written.
    fn open(dir: &Path, every: u64, mode: BatchMode) -> Self {
        let taken = Arc::<Mutex<Vec<Taken>>>::default();
        let noted = Arc::clone(&taken);
        let (sender, batches) = channel();
        let listener = move |event: &ContextEvent| match event {
            ContextEvent::CheckpointCompleted {
                size_bytes,
                total_bytes,
                total_files,
                memory_bytes,
                took,
                ..
            } => noted.lock().unwrap().push(Taken {
                size: *size_bytes,
                total: *total_bytes,
                files: *total_files,
                memory: *memory_bytes,
                took: *took,
            }),
            ContextEvent::BatchCompleted { records, took, .. } if *records > 0 => {
                let _gone = sender.send(*took);
            }
            _ => {}
        };
        let workers = usize::try_from(list("CHECKPOINT_WORKERS", "1")[0]).unwrap();
        let builder = StreamingContext::builder(dir)
            .batches(mode)
            .batch_interval(INTERVAL)
            .workers(NonZeroUsize::new(workers).unwrap())
            .checkpoint(CheckpointPolicy::every_batches(every))
            .max_unprocessed_bytes(4 << 30)
            .max_batch_bytes(1 << 30)
            .listener(listener);
        let context = builder.get_or_create(|ssc| {
            let keys = ssc.input::<Vec<u64>>("keys").flat_map(|keys| keys);
            let update = |key: &u64, _: &[()], state: &mut StateGuard<Account>| {
                state.get_or_insert_with(Account::default).change(*key);
            };
            let states = keys
                .map(|n| (n, ()))
                .update_state_by_key_changed("s", update);
            states.count().for_each_batch("n", |_, _: Vec<u64>| ());
            Ok(())
        });
        let context = context.unwrap();
        context.start().unwrap();
        let input = context.input::<Vec<u64>>("keys").unwrap();
        Self {
            context,
            input,
            mode,
            taken,
            batches,
        }
    }

    /// One batch that changes `keys`; how long it ran.
    fn batch(&self, keys: Vec<u64>) -> Duration {
        self.input.send(&keys).unwrap().wait().unwrap();
        if self.mode == BatchMode::Manual {
            self.context.run_batch().unwrap();
        }
        self.batches.recv().unwrap()
    }
}

/// Spreads successive numbers over all keys: 10,007 and a power of ten have no common factor.
fn spread(from: u64, count: u64, keys: u64) -> Vec<u64> {
    let all = from..from + count;
    all.map(|n| (n % keys).wrapping_mul(10_007) % keys)
        .collect()
}

/// The time that so many in a hundred do not exceed, in milliseconds.
fn quantile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    let at = (times.len().saturating_sub(1) * percent).div_ceil(100);
    times.get(at).copied().map_or(0.0, millis)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn measure(keys: u64, percent: u64) {
    let dir = scratch();
    let changed = keys * percent / 100;
    let in_batch = IN_BATCH.min(changed);
    // Batches without a checkpoint beside them.
    let program = Program::open(dir.path(), u64::MAX, BatchMode::Clock);
    for from in (0..keys).step_by(IN_RECORD as usize * 10) {
        program.batch((from..(from + IN_RECORD * 10).min(keys)).collect());
    }
    let mut position = 0;
    let mut batch = |program: &Program| {
        position += in_batch;
        program.batch(spread(position, in_batch, keys))
    };
    let count = sized(200, 4);
    let mut without: Vec<Duration> = (0..count).map(|_| batch(&program)).collect();
    program.context.stop(StopMode::Graceful).unwrap();
    let full = program.taken.lock().unwrap().last().copied().unwrap();
    drop(program);

    // Checkpoints each of which has `changed` keys, one by one.
    let every = changed.div_ceil(in_batch).max(1);
    let wanted = usize::try_from(sized(40, 2)).unwrap();
    let program = Program::open(dir.path(), every, BatchMode::Manual);
    while program.taken.lock().unwrap().len() < wanted {
        batch(&program);
    }
    let mut taken = program.taken.lock().unwrap().clone();
    drop(program);

    // The same while batches go on, as fast as they run.
    let program = Program::open(dir.path(), every, BatchMode::Clock);
    let mut beside: Vec<Duration> = Vec::new();
    let wanted = usize::try_from(sized(12, 2)).unwrap();
    while program.taken.lock().unwrap().len() < wanted || (beside.len() as u64) < count {
        beside.push(batch(&program));
    }
    program.context.stop(StopMode::Immediate).unwrap();
    taken.extend(
        program
            .taken
            .lock()
            .unwrap()
            .iter()
            .map(|beside| Taken { size: 0, ..*beside }),
    );
    let memory = taken.iter().map(|t| t.memory).max().unwrap_or(0);
    let files = taken.iter().map(|t| t.files).max().unwrap_or(0);
    let total = taken.iter().map(|t| t.total).max().unwrap_or(0);
    taken.retain(|taken| taken.size > 0);
    taken.sort_by_key(|taken| taken.size);
    let median = taken[taken.len() / 2];
    let mean = taken.iter().map(|t| t.size).sum::<u64>() / taken.len() as u64;
    let took: Vec<Duration> = taken.iter().map(|t| t.took).collect();

    // A restart, until the first new batch is complete.
    let began = Instant::now();
    let program = Program::open(dir.path(), u64::MAX, BatchMode::Clock);
    batch(&program);
    let recovery = began.elapsed();
    let loaded = program.context.recovered().loaded_in;
    program.context.stop(StopMode::Immediate).unwrap();

    let (mut took_sorted, share) = (took, |n: u64| n as f64 / full.size as f64 * 100.0);
    println!(
        "| {keys} | {percent} % | {:.1} MB | {:.2} % | {:.2} % | {:.0} ms | {:.1} | {files} / {:.1} MB | {:.2} / {:.2} | {:.2} / {:.2} ({}) | {:.0} ({:.0}) |",
        full.size as f64 / 1e6,
        share(median.size),
        share(mean),
        quantile(&mut took_sorted, 50),
        memory as f64 / 1e6,
        total as f64 / 1e6,
        quantile(&mut without, 50),
        quantile(&mut without, 99),
        quantile(&mut beside, 50),
        quantile(&mut beside, 99),
        beside.len(),
        millis(recovery),
        millis(loaded),
    );
}

fn main() {
    print_machine();
    println!(
        "| keys | changed | all of it | written, median | mean | in | copies MB | files / needs | batch p50 / p99 ms without | beside (batches) | restart ms (loading) |\n|---|---|---|---|---|---|---|---|---|---|---|"
    );
    let keys = list(
        "CHECKPOINT_KEYS",
        if sized(1, 0) == 1 {
            "100000,1000000"
        } else {
            "1000"
        },
    );
    let percent = list(
        "CHECKPOINT_PERCENT",
        if sized(1, 0) == 1 { "1,10,100" } else { "10" },
    );
    for keys in keys {
        for percent in &percent {
            measure(keys, *percent);
        }
    }
}
