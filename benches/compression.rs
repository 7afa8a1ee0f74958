//! What compression of batches costs and saves, on the text of this repository and on random bytes.
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

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use highwater::wal::disk::sim::Rng;
use highwater::wal::{Compression, Durability, Lsn, Options, Wal};
use std::path::Path;
use std::time::{Duration, Instant};
use support::{print_machine, scratch, sized};

/// Prose and programs, 158 KB: more than the largest batch, so that none holds the same text twice.
/// Documents and sources of this project as they once were: a bench whose input changes with each
/// edit cannot be compared with its past.
const TEXT: &str = include_str!("support/prose_and_programs.txt");

/// Batches of about `size` bytes of lines of text, as a receiver of lines appends them.
fn text(size: usize) -> Vec<Vec<Vec<u8>>> {
    let lines = TEXT.lines();
    let (mut batches, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
    let lines = lines.filter(|line| !line.is_empty());
    for line in lines.cycle().take(16 << 10) {
        bytes += line.len() + 4;
        batch.push(line.as_bytes().to_vec());
        if bytes >= size {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
    }
    batches
}

/// Batches of `size` random bytes in records of 100.
fn random(size: usize) -> Vec<Vec<Vec<u8>>> {
    let mut rng = Rng::new(1);
    let mut record = |len: usize| {
        let bytes = (0..len).map(|_| rng.below(256).to_le_bytes()[0]);
        bytes.collect::<Vec<_>>()
    };
    let mut batch = || {
        (0..size.div_ceil(100))
            .map(|_| record(100.min(size)))
            .collect()
    };
    (0..(1 << 20) / size + 4).map(|_| batch()).collect()
}

fn open(dir: &Path, compression: Compression) -> Wal {
    let options = Options::new().compression(compression);
    Wal::open_with(dir, options.durability(Durability::Os)).unwrap()
}

/// Appends `count` batches, and tells how long that took: the syncs between bursts are not timed.
fn append(wal: &Wal, batches: &[Vec<Vec<u8>>], count: u64) -> Duration {
    let mut took = Duration::ZERO;
    let mut next = batches.iter().cycle();
    let mut left = count;
    let size: usize = batches[0].iter().map(|record| record.len() + 4).sum();
    while left > 0 {
        let burst = left.min((48 << 20) / (size as u64 + 64));
        let start = Instant::now();
        for batch in next.by_ref().take(usize::try_from(burst).unwrap()) {
            let _ = wal.append_batch(batch).unwrap();
        }
        took += start.elapsed();
        left -= burst;
        wal.sync().unwrap();
        wal.truncate_before(wal.durable_lsn()).unwrap();
    }
    took
}

const SETTINGS: [(&str, Compression); 3] = [
    ("off", Compression::Off),
    ("zstd 1", Compression::Zstd { level: 1 }),
    ("zstd 3", Compression::Zstd { level: 3 }),
];

fn append_text(c: &mut Criterion) {
    let mut group = c.benchmark_group("append_batch_of_text");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(300));
    for size in [512_usize, 1 << 10, 4 << 10, 64 << 10] {
        let batches = text(size);
        for (name, compression) in SETTINGS {
            let dir = scratch();
            let wal = open(&dir.path().join("log"), compression);
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter_custom(|iterations| append(&wal, &batches, iterations));
            });
            let stats = wal.stats();
            println!(
                "  {name}, {size} B: {} of {} batches compressed, the log is {:.2} times smaller",
                stats.batches_compressed,
                stats.frames,
                (stats.bytes_appended + stats.bytes_saved) as f64 / stats.bytes_appended as f64
            );
        }
    }
}

/// In turns, so that all see the same machine; a second log without compression shows what chance
/// makes.
fn what_random_bytes_cost(_: &mut Criterion) {
    for size in [512_usize, 1 << 10, 4 << 10, 64 << 10, 1 << 20] {
        let batches = random(size);
        let count = sized(40 << 20, 1 << 20) / size as u64;
        let dir = scratch();
        let mut logs = SETTINGS.to_vec();
        logs.push(("off again", Compression::Off));
        let logs: Vec<_> = logs
            .into_iter()
            .map(|(name, compression)| (name, open(&dir.path().join(name), compression)))
            .collect();
        let mut took = vec![Vec::new(); logs.len()];
        for _ in 0..sized(31, 1) {
            for ((_, log), took) in logs.iter().zip(&mut took) {
                took.push(append(log, &batches, count));
            }
        }
        for took in &mut took {
            took.sort_unstable();
        }
        // The fastest quarter: what slows the others down is not the log's doing.
        let cost = |took: &[Duration]| took[..took.len().div_ceil(4)].iter().sum::<Duration>();
        let off = cost(&took[0]).as_secs_f64();
        for ((name, log), took) in logs.iter().zip(&took).skip(1) {
            let percent = (cost(took).as_secs_f64() / off - 1.0) * 100.0;
            let compressed = log.stats().batches_compressed;
            println!(
                "  {size} random bytes, {name}: costs {percent:.1} %, {compressed} batches compressed"
            );
        }
    }
}

fn replay_text(c: &mut Criterion) {
    let mut group = c.benchmark_group("replay_text");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(3));
    let batches = text(64 << 10);
    let count = sized(1000, 20);
    for (name, compression) in SETTINGS {
        let dir = scratch();
        let wal = open(&dir.path().join("log"), compression);
        for batch in batches.iter().cycle().take(count as usize) {
            let _ = wal.append_batch(batch).unwrap();
        }
        wal.sync().unwrap();
        group.throughput(Throughput::Bytes(count * (64 << 10)));
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut reader = wal.read_from(Lsn::ZERO).unwrap();
                let mut records = 0;
                while let Some(frame) = reader.next_frame().unwrap() {
                    records += frame.records().count();
                }
                records
            });
        });
    }
}

fn machine(_: &mut Criterion) {
    print_machine();
}

criterion_group!(
    benches,
    machine,
    append_text,
    what_random_bytes_cost,
    replay_text
);
criterion_main!(benches);
