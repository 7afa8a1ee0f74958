//! The log alone: durable appends, appends without sync, replay, opening after a crash.
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
use highwater::wal::{Lsn, Wal};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::{Duration, Instant};
use support::{print_machine, scratch, sized};

/// `total` durable appends by `threads` threads, each waiting for its own; the time from the first
/// to the last.
fn durable_appends(wal: &Wal, threads: u64, payload: &[u8], total: u64) -> Duration {
    let barrier = Barrier::new(usize::try_from(threads).unwrap() + 1);
    std::thread::scope(|scope| {
        for index in 0..threads {
            let mine = total / threads + u64::from(index < total % threads);
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                for _ in 0..mine {
                    let lsn = wal.append(payload).unwrap();
                    wal.sync_to(lsn).unwrap();
                }
                barrier.wait();
            });
        }
        barrier.wait();
        let start = Instant::now();
        barrier.wait();
        start.elapsed()
    })
}

fn durable(c: &mut Criterion) {
    let mut group = c.benchmark_group("durable_append");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_millis(500));
    for size in [100_usize, 1024] {
        for threads in [1, 8, 64] {
            let dir = scratch();
            let wal = Wal::open(dir.path().join("log")).unwrap();
            let payload = vec![7_u8; size];
            group.throughput(Throughput::Elements(1));
            let (flushes, before) = (support::device_flushes(), wal.stats());
            group.bench_function(
                BenchmarkId::new(format!("{size}B"), format!("{threads} threads")),
                |b| {
                    b.iter_custom(|iterations| {
                        let took = durable_appends(&wal, threads, &payload, iterations);
                        wal.truncate_before(wal.durable_lsn()).unwrap();
                        took
                    });
                },
            );
            let after = wal.stats();
            let records = after.records - before.records;
            let groups = after.groups - before.groups;
            let device = support::device_flushes()
                .zip(flushes)
                .map_or(0, |(now, then)| now - then);
            println!(
                "  {size} B x {threads} threads: {:.2} records per group ({records} in {groups}), {device} device flushes on the machine",
                records as f64 / groups.max(1) as f64
            );
        }
    }
}

fn without_sync(c: &mut Criterion) {
    let mut group = c.benchmark_group("append_without_sync");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_millis(500));
    for size in [100_usize, 1024] {
        let dir = scratch();
        let wal = Wal::open(dir.path().join("log")).unwrap();
        let payload = vec![7_u8; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{size}B"), |b| {
            b.iter_custom(|iterations| {
                let mut took = Duration::ZERO;
                let mut left = iterations;
                while left > 0 {
                    // In bursts that fit the prepared segments: the sync between them is not timed.
                    let burst = left.min((48 << 20) / (size as u64 + 32));
                    let start = Instant::now();
                    for _ in 0..burst {
                        let _ = wal.append(&payload).unwrap();
                    }
                    took += start.elapsed();
                    left -= burst;
                    wal.sync().unwrap();
                    wal.truncate_before(wal.durable_lsn()).unwrap();
                }
                took
            });
        });
    }
}

fn fill(dir: &Path, bytes: u64) -> Wal {
    let wal = Wal::open(dir).unwrap();
    let batch = vec![vec![7_u8; 1024]; 64];
    while wal.end_lsn().get() < bytes {
        for record in &batch {
            let _ = wal.append(record).unwrap();
        }
    }
    wal.sync().unwrap();
    wal
}

fn replay(c: &mut Criterion) {
    let dir = scratch();
    let bytes = sized(1 << 30, 4 << 20);
    let wal = fill(&dir.path().join("log"), bytes);
    let mut group = c.benchmark_group("replay");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5))
        .throughput(Throughput::Bytes(bytes));
    let mut hash = 0_u64;
    group.bench_function("1KiB records, CRC checked", |b| {
        b.iter(|| {
            let mut reader = wal.read_from(Lsn::ZERO).unwrap();
            let (mut records, mut sum) = (0_u64, 0_u64);
            while let Some(frame) = reader.next_frame().unwrap() {
                for record in frame.records() {
                    records += 1;
                    sum = sum
                        .wrapping_mul(31)
                        .wrapping_add(record.len() as u64 + u64::from(record[0]));
                }
            }
            hash = sum;
            records
        });
    });
    println!("  replay hash {hash:x}");
}

/// The files that opening a log changes; put back before each round, so that each round opens the
/// same crash image.
struct CrashImage {
    dir: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl CrashImage {
    /// Copied while the log is open: exactly what a power cut would leave, for everything is
    /// synced.
    ///
    /// The next segment was still being made, and renamed, while the directory was copied: the copy
    /// failed. And once more half a second after the last sync, when a log at rest notes its end in
    /// `LOG`.
    fn take(wal: Wal, dir: &Path) -> Self {
        let deadline = Instant::now() + Duration::from_secs(120);
        let image = dir.join("image");
        let names = loop {
            match copy(wal.dir(), &image) {
                Ok(names) => break names,
                Err(e) if e.kind() == ErrorKind::NotFound && Instant::now() < deadline => {
                    std::fs::remove_dir_all(&image).unwrap();
                }
                Err(e) => panic!("copying {}: {e}", wal.dir().display()),
            }
        };
        drop(wal);
        let tail = names.iter().rev().take(5).map(|name| image.join(name));
        let files = tail
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect();
        Self { dir: image, files }
    }

    fn put_back(&self) {
        for entry in std::fs::read_dir(&self.dir).unwrap() {
            let path = entry.unwrap().path();
            let is_segment = |path: &Path| path.extension().is_some_and(|e| e == "wal");
            let segments = self.files.iter().filter(|(file, _)| is_segment(file));
            // Made by the run that opened the image before.
            if is_segment(&path) && segments.map(|(file, _)| file).all(|file| *file < path) {
                std::fs::remove_file(path).unwrap();
            }
        }
        for (path, content) in &self.files {
            std::fs::write(path, content).unwrap();
        }
    }
}

/// The names, in their order.
fn copy(from: &Path, to: &Path) -> std::io::Result<Vec<OsString>> {
    let names = std::fs::read_dir(from)?.map(|e| e.map(|e| e.file_name()));
    let mut names = names.collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    std::fs::create_dir(to)?;
    for name in &names {
        std::fs::copy(from.join(name), to.join(name))?;
    }
    Ok(names)
}

fn open_after_crash(c: &mut Criterion) {
    let dir = scratch();
    let bytes = sized(1 << 30, 4 << 20);
    let image = CrashImage::take(fill(&dir.path().join("log"), bytes), dir.path());
    let mut group = c.benchmark_group("open_after_crash");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5));
    group.bench_function(format!("{} MiB", bytes >> 20), |b| {
        b.iter_custom(|iterations| {
            let mut took = Duration::ZERO;
            for _ in 0..iterations {
                image.put_back();
                let start = Instant::now();
                let wal = Wal::open(&image.dir).unwrap();
                took += start.elapsed();
                assert!(wal.durable_lsn().get() >= bytes);
            }
            took
        });
    });
}

fn machine(_: &mut Criterion) {
    print_machine();
}

criterion_group!(
    benches,
    machine,
    durable,
    without_sync,
    replay,
    open_after_crash
);
criterion_main!(benches);
