//! What a small log costs: the time to open, write and close it, its disk and memory; and how long
//! an append keeps an executor.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    reason = "test code"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "benches measure with the real clock on the real disk"
)]

mod support;

use highwater::wal::{Background, Options, Wal};
use std::fs;
use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::time::{Duration, Instant};
use support::{print_machine, scratch, sized};

const MIB: f64 = (1 << 20) as f64;

fn main() {
    print_machine();
    one_log("segments as the log grows", &Options::new());
    let fixed = Options::new().min_segment_size(64 << 20);
    one_log("64 MiB from the start", &fixed);
    many_logs(sized(200, 3));
    let rounds = sized(5, 1);
    for how in [How::Blocking, How::Async] {
        let mut runs: Vec<Polls> = (0..rounds).map(|_| polls(how)).collect();
        runs.sort_by_key(|run| run.p9999);
        let Polls {
            p50,
            p9999,
            longest,
            records,
        } = runs[runs.len() / 2];
        println!(
            "{how:?} appends on one thread, {records} of 1 KiB: {p50:?} p50, {p9999:?} p99.99, {longest:?} longest"
        );
    }
}

/// Bytes of disk under a directory, holes not counted.
fn disk(dir: &Path) -> u64 {
    let files = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().metadata().unwrap());
    files.map(|file| file.blocks() * 512).sum()
}

/// Bytes of memory that no file backs.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        << 10
}

fn write(log: &Wal) {
    let lsn = log.append([7; 1000]).unwrap();
    log.sync_to(lsn).unwrap();
}

fn one_log(name: &str, options: &Options) {
    let dir = scratch();
    let mut times: Vec<Duration> = (0..sized(50, 2))
        .map(|n| {
            let start = Instant::now();
            let log = Wal::open_with(dir.path().join(n.to_string()), options.clone()).unwrap();
            write(&log);
            log.close().unwrap();
            start.elapsed()
        })
        .collect();
    times.sort();
    let before = memory();
    let log = Wal::open_with(dir.path().join("log"), options.clone()).unwrap();
    write(&log);
    rest();
    let (disk, memory) = (disk(log.dir()), memory().saturating_sub(before));
    println!(
        "{name}: open, append 1 KB, sync, close {:?} (median of {}, {:?} to {:?}); {:.2} MiB of disk, {:.2} MiB of memory",
        times[times.len() / 2],
        times.len(),
        times[0],
        times[times.len() - 1],
        disk as f64 / MIB,
        memory as f64 / MIB
    );
}

/// A log at rest gets memory for a burst.
fn rest() {
    let (_sender, clock) = std::sync::mpsc::channel::<()>();
    // Nothing is sent: this only waits.
    let _timed_out = clock.recv_timeout(Duration::from_millis(sized(200, 20)));
}

fn many_logs(count: u64) {
    let dir = scratch();
    let options = Options::new().background(Background::Shared);
    let before = memory();
    let start = Instant::now();
    let open = |n: u64| Wal::open_with(dir.path().join(n.to_string()), options.clone()).unwrap();
    let logs: Vec<_> = (0..count).map(open).collect();
    logs.iter().for_each(write);
    let took = start.elapsed();
    rest();
    let threads = fs::read_dir("/proc/self/task").unwrap().count();
    println!(
        "{count} logs that share threads: opened and written in {took:?}; {:.1} MiB of memory, {threads} threads in the process",
        (memory() - before) as f64 / MIB
    );
}

#[derive(Debug, Clone, Copy)]
enum How {
    /// `append`, called in the task.
    Blocking,
    /// `append_async`.
    Async,
}

/// How long the appends kept the thread of the executor.
#[derive(Debug, Clone, Copy)]
struct Polls {
    p50: Duration,
    p9999: Duration,
    longest: Duration,
    records: usize,
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives a future; each poll is timed.
fn drive<F: Future>(future: F, longest: &mut Duration) -> F::Output {
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        let start = Instant::now();
        let polled = future.as_mut().poll(&mut context);
        *longest = start.elapsed().max(*longest);
        match polled {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn polls(how: How) -> Polls {
    let dir = scratch();
    let log = Wal::open(dir.path()).unwrap();
    let records = sized(400_000, 400) as usize;
    let mut times = Vec::with_capacity(records);
    for n in 0..records {
        let mut longest = Duration::ZERO;
        let lsn = match how {
            How::Blocking => {
                let start = Instant::now();
                let lsn = log.append([7; 1024]).unwrap();
                longest = start.elapsed();
                lsn
            }
            How::Async => drive(log.append_async([7; 1024]), &mut longest).unwrap(),
        };
        times.push(longest);
        // As a service would: a thousand requests share a flush.
        if n % 1000 == 999 {
            let mut flush = Duration::ZERO;
            drive(log.durable(lsn), &mut flush).unwrap();
            times.push(flush);
        }
    }
    log.truncate_before(log.durable_lsn()).unwrap();
    times.sort();
    let at = |part: f64| times[(times.len() as f64 * part) as usize];
    Polls {
        p50: at(0.5),
        p9999: at(0.9999),
        longest: times[times.len() - 1],
        records,
    }
}
