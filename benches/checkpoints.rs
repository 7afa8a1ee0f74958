//! What checkpoints cost: bytes, time, memory, the delay of batches, and a restart, for so many
//! keys of which so many have changed.
//!
//! Batches change `u64` keys with 48 bytes of state. Each checkpoint is taken after one of them.
//! The next batches run while it is copied and written: their times stand beside those of batches
//! without a checkpoint of the same run. The store is the local directory, or `CHECKPOINT_URL`.
//!
//! `CHECKPOINT_KEYS=100000,1000000` chooses how many keys, `CHECKPOINT_PERCENT=1,10,100` how many
//! of them change between two checkpoints, `CHECKPOINT_WORKERS` the number of workers.
//!
//! `CHECKPOINT_MANY=5000` takes so many checkpoints instead, and counts what they leave.
//! `CHECKPOINT_WORDS=FILE` counts the words of a text instead, without checkpoints, with one after
//! every tenth batch, and with one after each.
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
        let context = stored(builder, dir).get_or_create(|ssc| {
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

/// In a place of its own in the store that was asked for.
fn stored(builder: highwater::Builder, dir: &Path) -> highwater::Builder {
    match std::env::var("CHECKPOINT_URL") {
        Ok(url) => {
            let place = dir.file_name().unwrap().to_str().unwrap();
            builder.checkpoint_url(&format!("{url}/{}", place.trim_start_matches('.')))
        }
        Err(_) => builder,
    }
}

/// What so many checkpoints leave, of 10,000 keys of which 100 change between two.
fn many(checkpoints: u64) {
    const KEYS: u64 = 10_000;
    let dir = scratch();
    let program = Program::open(dir.path(), 1, BatchMode::Manual);
    program.batch((0..KEYS).collect());
    let began = Instant::now();
    let (mut most, mut batches) = (0, 0);
    while program.context.checkpoints().published < checkpoints {
        batches += 1;
        program.batch(spread(batches * 100, 100, KEYS));
        if batches % 100 == 0 {
            most = most.max(on_disk(dir.path()).0);
        }
    }
    let took = began.elapsed();
    let (files, bytes) = on_disk(dir.path());
    let taken = program.taken.lock().unwrap();
    let written: u64 = taken.iter().map(|t| t.size).sum();
    println!(
        "{} checkpoints of {KEYS} keys, 1 % changed, in {:.1} s: {files} files and {:.2} MB are left (at most {most} files); {:.2} MB in the mean were written for each, all of it is {:.2} MB",
        taken.len(),
        took.as_secs_f64(),
        bytes as f64 / 1e6,
        written as f64 / taken.len() as f64 / 1e6,
        taken[0].size as f64 / 1e6,
    );
}

/// Files of checkpoints, and their bytes.
fn on_disk(dir: &Path) -> (usize, u64) {
    let files = std::fs::read_dir(dir.join("checkpoints")).unwrap();
    let sizes: Vec<u64> = files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .collect();
    (sizes.len(), sizes.iter().sum())
}

/// Lines per second of a word count whose text is in the log.
fn count_words(text: &[String], every: u64, workers: usize) -> (f64, u64) {
    let dir = scratch();
    let (sender, completed) = channel();
    let builder = StreamingContext::builder(dir.path())
        .listener(move |event| {
            if let ContextEvent::BatchCompleted { records, .. } = event {
                let _gone = sender.send(*records);
            }
        })
        .batch_interval(Duration::from_millis(100))
        .workers(NonZeroUsize::new(workers).unwrap())
        .checkpoint(CheckpointPolicy::every_batches(every))
        .max_batch_bytes(4 << 20)
        .max_unprocessed_bytes(4 << 30);
    let context = stored(builder, dir.path()).get_or_create(|ssc| {
        let words = ssc
            .input::<String>("lines")
            .flat_map_into(|line: String, out| {
                line.split(' ').for_each(|word| out.emit(word.to_owned()));
            });
        let counts = words.map(|word| (word, 1_u64)).update_state_by_key_changed(
            "counts",
            |_: &String, ones: &[u64], count: &mut StateGuard<u64>| {
                *count.get_or_insert_with(|| 0) += ones.iter().sum::<u64>();
            },
        );
        counts.count().for_each_batch("n", |_, _: Vec<u64>| ());
        Ok(())
    });
    let context = context.unwrap();
    let input = context.input::<String>("lines").unwrap();
    let mut last = None;
    for lines in text.chunks(1000) {
        last = Some(input.send_all(lines).unwrap());
    }
    last.unwrap().wait().unwrap();
    let began = Instant::now();
    context.start().unwrap();
    let mut counted = 0;
    while counted < text.len() as u64 {
        counted += completed.recv().unwrap();
    }
    let took = began.elapsed();
    let published = context.checkpoints().published;
    context.stop(StopMode::Immediate).unwrap();
    (text.len() as f64 / took.as_secs_f64(), published)
}

fn word_counts(path: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    let text: Vec<String> = text.lines().map(str::to_owned).collect();
    println!(
        "| workers | checkpoints | lines/s, median (from - to) | were published |\n|---|---|---|---|"
    );
    for workers in list("CHECKPOINT_WORKERS", "1,2") {
        let workers = usize::try_from(workers).unwrap();
        let policies = [
            ("none", u64::MAX),
            ("every 10 batches", 10),
            ("every batch", 1),
        ];
        // In turn, so that all have the same share of what disturbs the machine.
        let mut rates = [const { Vec::new() }; 3];
        let mut published = [0; 3];
        for _ in 0..sized(5, 1) {
            for (at, (_, every)) in policies.iter().enumerate() {
                let (rate, count) = count_words(&text, *every, workers);
                rates[at].push(rate);
                published[at] = count;
            }
        }
        for (at, (name, _)) in policies.iter().enumerate() {
            let rates = &mut rates[at];
            rates.sort_unstable_by(f64::total_cmp);
            println!(
                "| {workers} | {name} | {:.0} k ({:.0} - {:.0}) | {} |",
                rates[rates.len() / 2] / 1e3,
                rates[0] / 1e3,
                rates[rates.len() - 1] / 1e3,
                published[at],
            );
        }
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
    let pause = program.context.checkpoints().longest_pause;
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
        "| {keys} | {percent} % | {:.1} MB | {:.2} % | {:.2} % | {:.0} ms | {:.1} | {files} / {:.1} MB | {:.2} / {:.2} | {:.2} / {:.2} ({}) | {:.2} | {:.0} ({:.0}) |",
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
        millis(pause),
        millis(recovery),
        millis(loaded),
    );
}

fn main() {
    print_machine();
    if let Ok(count) = std::env::var("CHECKPOINT_MANY") {
        return many(count.parse().unwrap());
    }
    if let Ok(path) = std::env::var("CHECKPOINT_WORDS") {
        return word_counts(&path);
    }
    println!(
        "| keys | changed | all of it | written, median | mean | in | copies MB | files / needs | batch p50 / p99 ms without | beside (batches) | longest pause ms | restart ms (loading) |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
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
