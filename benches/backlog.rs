//! A backlog is worked off in bounded memory: a program stores records and does not run, then it is
//! started and runs them.
//!
//! `cargo bench --bench backlog` takes ten million records, or as many as `$HIGHWATER_RECORDS`
//! says. It prints the bytes of the log, and for each of the three steps its time and the most
//! memory that the process had: `VmHWM`, and of it anonymous memory and pages of mapped files (the
//! log's, which the system takes back when it needs them).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "test code"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "benches measure with the real clock on the real disk"
)]

mod support;

use highwater::prelude::*;
use highwater::{BatchMode, BoxError, Decoder, Receiver, SourceContext};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender as Tell, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::{print_machine, scratch, sized};

/// Records of one append.
const FRAME: u64 = 4096;
const KEYS: u64 = 100_000;

fn main() {
    print_machine();
    let asked = std::env::var("HIGHWATER_RECORDS").map(|count| count.parse().unwrap());
    let records = asked.unwrap_or_else(|_| sized(10_000_000, 20_000));
    let dir = scratch();
    let log_bytes = store(dir.path(), records);
    let batches = work_off(dir.path(), records);
    println!(
        "{records} records of 8 bytes: {:.0} MiB of log, in {batches} batches",
        log_bytes as f64 / 1024.0 / 1024.0
    );
}

/// Stores so many records and says that it is done.
struct Store {
    records: u64,
    done: Tell<()>,
}

impl Receiver for Store {
    fn run(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        let mut next = 0;
        while next < self.records {
            let until = (next + FRAME).min(self.records);
            let records: Vec<[u8; 8]> = (next..until).map(u64::to_le_bytes).collect();
            let records: Vec<&[u8]> = records.iter().map(<[u8; 8]>::as_slice).collect();
            let lsn = source.append(&records)?;
            if until == self.records {
                source.sync_to(lsn)?;
            }
            next = until;
        }
        let _ = self.done.send(());
        Ok(())
    }
}

/// What came out of the batches.
#[derive(Debug)]
struct Seen {
    /// Of each key the newest count.
    counts: Vec<u64>,
    records: u64,
    last_batch: u64,
    /// Told after each batch.
    batch: Tell<()>,
}

fn open(dir: &Path, mode: BatchMode, receiver: Store, seen: Arc<Mutex<Seen>>) -> StreamingContext {
    let mut builder = StreamingContext::builder(dir).batches(mode);
    if matches!(mode, BatchMode::Manual) {
        builder = builder.max_unprocessed_bytes(u64::MAX / 2);
    }
    builder
        .get_or_create(move |ssc| {
            let decode: Decoder<u64> = Arc::new(|bytes| {
                let bytes = <[u8; 8]>::try_from(&bytes[..]).map_err(|e| e.to_string())?;
                Ok(u64::from_le_bytes(bytes))
            });
            let numbers = ssc.source("numbers", "numbers", decode, receiver);
            let count = |_: &u64, new: &[u64], count: &mut Option<u64>| {
                *count = Some(count.unwrap_or(0) + new.iter().sum::<u64>());
            };
            let all = Arc::clone(&seen);
            numbers
                .map(|number| (number % KEYS, 1_u64))
                .reduce_by_key(|a, b| a + b)
                .update_state_by_key_changed("count", count)
                .for_each_batch("counts", move |_, counts: Vec<(u64, u64)>| {
                    let mut seen = all.lock().unwrap();
                    for (key, count) in counts {
                        seen.counts[key as usize] = count;
                    }
                });
            numbers
                .count()
                .for_each_batch("records", move |batch, count: Vec<u64>| {
                    let mut seen = seen.lock().unwrap();
                    seen.records += count[0];
                    seen.last_batch = batch.id;
                    let _ = seen.batch.send(());
                });
            Ok(())
        })
        .unwrap()
}

fn seen(batch: Tell<()>) -> Arc<Mutex<Seen>> {
    Arc::new(Mutex::new(Seen {
        counts: vec![0; KEYS as usize],
        records: 0,
        last_batch: 0,
        batch,
    }))
}

/// Stores the records while no batch runs; returns the bytes of the log.
fn store(dir: &Path, records: u64) -> u64 {
    let step = Step::begin("stored");
    let (done, stored) = channel();
    let context = open(
        dir,
        BatchMode::Manual,
        Store { records, done },
        seen(channel().0),
    );
    context.start().unwrap();
    stored.recv().unwrap();
    let log = context.log();
    let bytes = log.durable_lsn().get();
    context.stop(StopMode::Immediate).unwrap();
    drop(context);
    step.end(records);
    bytes
}

/// Starts the program with its defaults, and returns the number of batches that it took.
fn work_off(dir: &Path, records: u64) -> u64 {
    let step = Step::begin("opened and started");
    let (tell, batches) = channel();
    let seen = seen(tell);
    let (done, _) = channel();
    let nothing = Store { records: 0, done };
    let context = open(dir, BatchMode::Clock, nothing, Arc::clone(&seen));
    context.start().unwrap();
    step.end(records);
    let step = Step::begin("worked off");
    while seen.lock().unwrap().records < records {
        batches.recv().unwrap();
    }
    step.end(records);
    context.stop(StopMode::Graceful).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.records, records);
    assert_eq!(seen.counts.iter().sum::<u64>(), records);
    assert!(seen.counts.iter().max() <= seen.counts.iter().min().map(|least| least + 1).as_ref());
    seen.last_batch
}

/// A step that is measured.
struct Step {
    name: &'static str,
    began: Instant,
    peak: Arc<Peak>,
    /// Dropped at the end.
    over: Tell<()>,
    watch: JoinHandle<()>,
}

/// The most memory that was seen, in KiB.
#[derive(Debug, Default)]
struct Peak {
    anonymous: AtomicU64,
    mapped: AtomicU64,
}

impl Step {
    fn begin(name: &'static str) -> Self {
        // Begins a new VmHWM.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let peak = Arc::new(Peak::default());
        let watched = Arc::clone(&peak);
        let (over, is_over) = channel::<()>();
        let watch = std::thread::spawn(move || {
            let interval = Duration::from_millis(5);
            while is_over.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                watched.look();
            }
        });
        Self {
            name,
            began: Instant::now(),
            peak,
            over,
            watch,
        }
    }

    fn end(self, records: u64) {
        let s = self.began.elapsed().as_secs_f64();
        self.peak.look();
        drop(self.over);
        self.watch.join().unwrap();
        let mib = |kib: u64| kib / 1024;
        println!(
            "{:>18}: {s:7.2} s = {:6.2} M records/s; VmHWM {:5} MiB, anonymous {:5}, of files {:5}",
            self.name,
            records as f64 / s / 1e6,
            mib(status("VmHWM:")),
            mib(self.peak.anonymous.load(Ordering::Relaxed)),
            mib(self.peak.mapped.load(Ordering::Relaxed)),
        );
    }
}

impl Peak {
    fn look(&self) {
        self.anonymous
            .fetch_max(status("RssAnon:"), Ordering::Relaxed);
        self.mapped.fetch_max(status("RssFile:"), Ordering::Relaxed);
    }
}

/// A line of `/proc/self/status` in KiB; 0 where there is none.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    value.unwrap_or(0)
}
