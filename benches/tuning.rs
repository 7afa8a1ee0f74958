//! What each mechanism that only tunes is worth: the log with it and without, in turns.
//!
//! A mechanism stays in the log only while it gains at least 15 % here, in the figure that it is
//! for. Each line is the median of the rounds, with the lowest and the highest.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "test code"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "benches measure with the real clock on the real disk"
)]

mod support;

use highwater::wal::{Options, Priority, Tuning, Wal};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{print_machine, scratch, sized};

/// What one run found.
#[derive(Debug, Clone, Copy)]
struct Run {
    appends_per_s: f64,
    p99_us: f64,
    /// The most anonymous memory that the process had.
    memory_mib: f64,
}

/// One workload: so many threads, each of which appends a record and waits until it is durable.
#[derive(Debug, Clone, Copy)]
struct Workload {
    threads: usize,
    bytes: usize,
    /// Threads that compute without pause beside them.
    busy: usize,
}

fn main() {
    print_machine();
    // Fast enough to pass several segments.
    let long = Workload {
        threads: 8,
        bytes: 16 << 10,
        busy: 0,
    };
    let large = Workload {
        threads: 1,
        bytes: 16 << 10,
        busy: 0,
    };
    let crowded = Workload {
        threads: 8,
        bytes: 100,
        busy: 2,
    };
    compare(
        "memory window: anonymous memory in MiB",
        long,
        [Options::new(), Options::new().without(Tuning::MemoryWindow)],
        |run| run.memory_mib,
    );
    compare(
        "pace of zeroing: p99 in us",
        large,
        [Options::new(), Options::new().without(Tuning::Pace)],
        |run| run.p99_us,
    );
    compare(
        "committer priority: appends per second beside busy threads",
        crowded,
        [
            Options::new().committer_priority(Priority::Nice(-20)),
            Options::new(),
        ],
        |run| run.appends_per_s,
    );
}

/// Runs the workload with and without, in turns, and prints both.
fn compare(name: &str, workload: Workload, options: [Options; 2], figure: fn(&Run) -> f64) {
    let mut figures = [Vec::new(), Vec::new()];
    for _ in 0..sized(7, 1) {
        for (options, figures) in options.iter().zip(&mut figures) {
            figures.push(figure(&run(options.clone(), workload)));
        }
    }
    let [with, without] = figures.map(|mut figures| {
        figures.sort_by(f64::total_cmp);
        let (low, high) = (figures[0], figures[figures.len() - 1]);
        (figures[figures.len() / 2], low, high)
    });
    println!(
        "{name} ({} threads, {} B): with {:.0} ({:.0}-{:.0}), without {:.0} ({:.0}-{:.0}), ratio {:.2}",
        workload.threads,
        workload.bytes,
        with.0,
        with.1,
        with.2,
        without.0,
        without.1,
        without.2,
        with.0 / without.0.max(1.0),
    );
}

fn run(options: Options, workload: Workload) -> Run {
    let dir = scratch();
    let wal = Wal::open_with(dir.path().join("log"), options).unwrap();
    let payload = vec![7_u8; workload.bytes];
    let (done, memory) = (AtomicBool::new(false), AtomicU64::new(0));
    let length = Duration::from_millis(sized(2_000, 20));
    let mut took: Vec<Duration> = std::thread::scope(|scope| {
        for _ in 0..workload.busy {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let committers: Vec<_> = (0..workload.threads)
            .map(|index| {
                let (wal, payload, memory) = (&wal, &payload, &memory);
                scope.spawn(move || {
                    let begin = Instant::now();
                    let mut took = Vec::new();
                    while begin.elapsed() < length {
                        let start = Instant::now();
                        let lsn = wal.append(payload).unwrap();
                        wal.sync_to(lsn).unwrap();
                        took.push(start.elapsed());
                        if index == 0 && took.len().is_multiple_of(512) {
                            memory.fetch_max(anonymous_kib(), Ordering::Relaxed);
                        }
                    }
                    took
                })
            })
            .collect();
        let took = committers.into_iter().map(|thread| thread.join().unwrap());
        let took = took.flatten().collect();
        done.store(true, Ordering::Relaxed);
        took
    });
    wal.close().unwrap();
    took.sort();
    let p99 = took[took.len() * 99 / 100];
    Run {
        appends_per_s: took.len() as f64 / length.as_secs_f64(),
        p99_us: p99.as_secs_f64() * 1e6,
        memory_mib: memory.load(Ordering::Relaxed) as f64 / 1024.0,
    }
}

/// Memory of the process that no file backs, in KiB; 0 where the system does not show it.
fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
