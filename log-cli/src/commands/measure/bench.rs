//! `highwater-log bench`: what appending costs on a disk.

use crate::args::BenchArgs;
use crate::commands::measure::bound::{BareRounds, Bound, Spread, per, rounded};
use crate::outcome::{Failure, Outcome, Result};
use crate::output::{Output, render, table};
use crate::text;
use highwater_disk::probe::{Device, Scratch};
use highwater_disk::{Clock, Disk, OsClock, OsDisk};
use highwater_wal::inspect::Histogram;
use highwater_wal::{Durability, Options, Wal, WalError};
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A run ends when it has written so much: without syncs a disk would soon be full.
const MAX_BYTES: u64 = 1 << 30;
/// Whenever so much is durable, the log is truncated to it.
const TRUNCATE_BYTES: u64 = 256 << 20;
/// Times between two looks at the shared counters.
const STRIDE: u64 = 64;

/// What an append waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// Each record is on the device before the next.
    Durable,
    /// For nothing.
    Unsynced,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    dir: String,
    file_system: String,
    device: Option<String>,
    record_bytes: u32,
    runs: Vec<Run>,
}

#[derive(Debug, Serialize)]
struct Run {
    mode: Mode,
    threads: usize,
    /// How often it was measured. Rates are medians.
    rounds: usize,
    seconds: f64,
    records: u64,
    records_per_second: f64,
    /// The slowest and the fastest round.
    least_per_second: f64,
    most_per_second: f64,
    mib_per_second: f64,
    /// How many records a flush of the log served; none if nothing was flushed.
    records_per_flush: Option<f64>,
    /// Flushes that the device did meanwhile, also for other programs.
    device_flushes: Option<u64>,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    /// What the disk does with bare writes; only of durable records.
    bound: Option<Bound>,
}

/// One measurement of the log.
struct Round {
    time: Duration,
    spread: Histogram,
    records_per_flush: f64,
    device_flushes: Option<u64>,
}

/// Runs the command.
pub(crate) fn bench(args: &BenchArgs, out: &mut Output) -> Result<Outcome> {
    let io = |e: std::io::Error| Failure::io("cannot examine", &args.dir, &e);
    let device = Device::of(&args.dir).map_err(io)?;
    let disk = OsDisk::new();
    let kind = disk.file_system(&args.dir).map_err(io)?;
    let mut runs = Vec::new();
    for mode in [Mode::Durable, Mode::Unsynced] {
        for threads in &args.threads {
            runs.push(run(args, mode, usize::from(*threads), device.as_ref())?);
        }
    }
    let report = Report {
        dir: args.dir.display().to_string(),
        file_system: kind.to_string(),
        device: device.map(|device| device.name()),
        record_bytes: args.size,
        runs,
    };
    out.show(args.json, &report, print)?;
    Ok(Outcome::Clean)
}

/// Measures the log and, in turns with it, the bare disk.
fn run(args: &BenchArgs, mode: Mode, threads: usize, device: Option<&Device>) -> Result<Run> {
    let mut rounds = Vec::new();
    let mut bare = BareRounds::new(args.size, threads);
    for _ in 0..args.rounds {
        if mode == Mode::Durable {
            bare.measure(&args.dir, Duration::from_secs_f64(args.seconds / 2.0))?;
        }
        rounds.push(measure(args, mode, threads, device)?);
    }
    let rates = rounds
        .iter()
        .map(|round| per(round.spread.count(), round.time));
    let rate = Spread::of(rates.collect());
    let mut all = Histogram::new();
    rounds.iter().for_each(|round| all.merge(&round.spread));
    let flushed = rounds.iter().map(|round| round.records_per_flush);
    let flushed = Spread::of(flushed.collect()).median;
    let micros = |n: Option<u64>| text::micros(n.unwrap_or(0));
    Ok(Run {
        mode,
        threads,
        rounds: rounds.len(),
        seconds: rounded(rounds.iter().map(|round| round.time.as_secs_f64()).sum()),
        records: all.count(),
        records_per_second: rounded(rate.median),
        least_per_second: rounded(rate.least),
        most_per_second: rounded(rate.most),
        mib_per_second: rounded(rate.median * f64::from(args.size) / f64::from(1 << 20)),
        records_per_flush: (mode == Mode::Durable).then(|| rounded(flushed)),
        device_flushes: rounds.iter().map(|round| round.device_flushes).sum(),
        p50_us: micros(all.quantile(0.5)),
        p99_us: micros(all.quantile(0.99)),
        p999_us: micros(all.quantile(0.999)),
        max_us: micros(all.max()),
        bound: bare.bound(rate.median),
    })
}

/// What the threads of a run share.
struct Load<'a> {
    log: &'a Wal,
    clock: &'a OsClock,
    mode: Mode,
    record: &'a [u8],
    deadline: Duration,
    bytes: AtomicU64,
    truncated: AtomicU64,
}

/// One round of the log, in a directory of its own.
fn measure(args: &BenchArgs, mode: Mode, threads: usize, device: Option<&Device>) -> Result<Round> {
    let scratch = Scratch::create(&args.dir, "highwater-bench")
        .map_err(|e| Failure::io("cannot make a directory in", &args.dir, &e))?;
    let log = open(scratch.path(), mode)?;
    let record = vec![0x5A; usize::try_from(args.size).unwrap_or(usize::MAX)];
    let clock = OsClock::new();
    let flushes = || device.and_then(Device::flushes);
    let before = flushes();
    let start = clock.now();
    let load = Load {
        log: &log,
        clock: &clock,
        mode,
        record: &record,
        deadline: start.saturating_add(Duration::from_secs_f64(args.seconds)),
        bytes: AtomicU64::new(0),
        truncated: AtomicU64::new(0),
    };
    let spread = load.apply(threads)?;
    let time = clock.now().saturating_sub(start);
    let device_flushes = before.zip(flushes()).map(|(b, a)| a.saturating_sub(b));
    let stats = log.stats();
    log.close()?;
    Ok(Round {
        time,
        spread,
        records_per_flush: stats.records_per_group(),
        device_flushes,
    })
}

fn open(dir: &Path, mode: Mode) -> Result<Wal> {
    let durability = match mode {
        Mode::Durable => Durability::Sync,
        Mode::Unsynced => Durability::Os,
    };
    Ok(Wal::open_with(dir, Options::new().durability(durability))?)
}

impl Load<'_> {
    /// Appends from `threads` threads until the time is over; returns how long the appends took, in
    /// nanoseconds.
    fn apply(&self, threads: usize) -> Result<Histogram> {
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.work())).collect();
            workers.into_iter().map(|worker| worker.join()).collect()
        });
        let mut all = Histogram::new();
        for outcome in outcomes {
            let outcome =
                outcome.map_err(|_| Failure::Io("a thread of the bench panicked".to_owned()))?;
            all.merge(&outcome?);
        }
        Ok(all)
    }

    fn work(&self) -> Result<Histogram, WalError> {
        let mut spread = Histogram::new();
        let mut now = self.clock.now();
        // At least once: on a busy machine the time may be over before the thread runs.
        loop {
            let lsn = self.log.append(self.record)?;
            if self.mode == Mode::Durable {
                self.log.sync_to(lsn)?;
            }
            let done = self.clock.now();
            let nanos = done.saturating_sub(now).as_nanos();
            spread.add(u64::try_from(nanos).unwrap_or(u64::MAX));
            now = done;
            if spread.count().is_multiple_of(STRIDE) {
                let more = STRIDE * self.record.len() as u64;
                let bytes = self.bytes.fetch_add(more, Ordering::Relaxed) + more;
                match self.mode {
                    Mode::Unsynced if bytes >= MAX_BYTES => break,
                    Mode::Unsynced => {}
                    Mode::Durable => self.truncate(bytes)?,
                }
                now = self.clock.now();
            }
            if now >= self.deadline {
                break;
            }
        }
        Ok(spread)
    }

    /// Keeps the log short. One thread does it.
    fn truncate(&self, bytes: u64) -> Result<(), WalError> {
        let last = self.truncated.load(Ordering::Relaxed);
        if bytes < last + TRUNCATE_BYTES {
            return Ok(());
        }
        let mine =
            self.truncated
                .compare_exchange(last, bytes, Ordering::Relaxed, Ordering::Relaxed);
        match mine {
            Ok(_) => self.log.truncate_before(self.log.durable_lsn()),
            Err(_) => Ok(()),
        }
    }
}

fn print(report: &Report, out: &mut Output) -> Result<()> {
    out.line(format!(
        "{} on {}{}, records of {}",
        report.dir,
        report.file_system,
        report
            .device
            .as_ref()
            .map_or(String::new(), |d| format!(" ({d})")),
        text::bytes(u64::from(report.record_bytes)),
    ))?;
    out.line("")?;
    let mut rows = table(&[
        "",
        "#threads",
        "#records/s",
        "#least-most",
        "#MiB/s",
        "#of the bound",
        "#per flush",
        "#device flushes",
        "#p50 µs",
        "#p99 µs",
        "#p99.9 µs",
        "#max µs",
    ]);
    for run in &report.runs {
        let dash = || "-".to_owned();
        rows.add_row([
            match run.mode {
                Mode::Durable => "durable".to_owned(),
                Mode::Unsynced => "not synced".to_owned(),
            },
            run.threads.to_string(),
            format!("{:.0}", run.records_per_second),
            format!("{:.0}-{:.0}", run.least_per_second, run.most_per_second),
            format!("{:.1}", run.mib_per_second),
            run.bound
                .as_ref()
                .map_or_else(dash, |bound| format!("{:.0} %", bound.percent)),
            run.records_per_flush
                .map_or_else(dash, |n| format!("{n:.1}")),
            run.device_flushes.map_or_else(dash, text::grouped),
            format!("{:.1}", run.p50_us),
            format!("{:.1}", run.p99_us),
            format!("{:.1}", run.p999_us),
            format!("{:.1}", run.max_us),
        ]);
    }
    out.line(render(&rows))?;
    print_bounds(report, out)
}

/// The bare writes, a line for each number of threads.
fn print_bounds(report: &Report, out: &mut Output) -> Result<()> {
    let mut rows = table(&[
        "bare writes",
        "#records each",
        "#bytes each",
        "#pwrite + fdatasync, records/s",
        "#least-most",
        "#O_DIRECT + O_DSYNC, records/s",
        "#least-most",
    ]);
    for run in &report.runs {
        let Some(bound) = &run.bound else { continue };
        let range = |rate: &Spread| format!("{:.0}-{:.0}", rate.least, rate.most);
        let dash = || "-".to_owned();
        let direct = bound.direct.as_ref();
        rows.add_row([
            format!("{} threads", run.threads),
            bound.records.to_string(),
            text::grouped(bound.bytes),
            format!("{:.0}", bound.synced.median),
            range(&bound.synced),
            direct.map_or_else(dash, |rate| format!("{:.0}", rate.median)),
            direct.map_or_else(dash, range),
        ]);
    }
    out.line("")?;
    out.line(render(&rows))?;
    out.line("")?;
    out.line(
        "the bound: what this disk does at best with as many bytes at once as the threads have to write, in turns with the log; \
         medians and ranges of the rounds",
    )
}
