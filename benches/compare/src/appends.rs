//! Appends: durable ones, each thread waiting for its own, and appends that wait for nothing.

use crate::engines::{Appender, Store};
use crate::histogram::Histogram;
use crate::machine::Machine;
use crate::record::{blank, stamp};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, mpsc};
use std::time::{Duration, Instant};

/// How often the store may give up what it holds.
const TRIM_EVERY_BYTES: u64 = 64 << 20;
/// How often the bytes of a cell are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const GIVE_UP: Duration = Duration::from_secs(60);
/// Bytes appended without sync between two syncs, with the overhead of a log. They fit the one
/// segment of 64 MiB that is ready when a burst starts.
const BURST_BYTES: u64 = 48 << 20;
const FRAMING: u64 = 32;
const BURST_AT_MOST: Duration = Duration::from_millis(250);

/// How long a cell runs.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub seconds: f64,
    /// It ends sooner when this much was appended: engines that cannot trim would fill the disk.
    pub max_bytes: u64,
}

/// One run of a cell of durable appends.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Durable {
    pub per_second: f64,
    pub records: u64,
    /// Flushes of the device in that time, for all programs.
    pub flushes: Option<u64>,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

/// A counter on a cache line of its own.
#[repr(align(128))]
#[derive(Default)]
struct Acknowledged(AtomicU64);

/// `threads` threads append records of `size` bytes, each waiting until its own is durable.
///
/// The first sixth warms up. Records, flushes and time are read at the beginning and the end of the
/// rest, while all threads run. So the figure contains no start and no end of a thread.
pub fn durable(
    store: &dyn Store,
    machine: &Machine,
    threads: u64,
    size: usize,
    span: Span,
) -> Durable {
    let counters: Vec<Acknowledged> = (0..threads).map(|_| Acknowledged::default()).collect();
    let (measuring, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let barrier = Barrier::new(counters.len() + 1);
    let acknowledged = || -> u64 {
        let each = counters.iter().map(|c| c.0.load(Ordering::Relaxed));
        each.sum()
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .zip(&counters)
            .map(|(thread, counter)| {
                let (barrier, measuring, stop) = (&barrier, &measuring, &stop);
                scope.spawn(move || {
                    let mut appender = store.appender(thread);
                    barrier.wait();
                    append_until(&mut *appender, thread, size, &counter.0, measuring, stop)
                })
            })
            .collect();
        barrier.wait();
        let mut watch = Watch {
            store,
            size,
            trimmed: 0,
            max_bytes: 0,
        };
        watch.max_bytes = span.max_bytes / 6;
        watch.run(span.seconds / 6.0, &acknowledged);
        watch.max_bytes = span.max_bytes;
        // Flushes around the records: a flush that a counted record needed is never left out.
        let (flushes, before, start) = (machine.flushes(), acknowledged(), Instant::now());
        measuring.store(true, Ordering::Relaxed);
        watch.run(span.seconds, &acknowledged);
        let (took, after, flushed) = (start.elapsed(), acknowledged(), machine.flushes());
        stop.store(true, Ordering::Relaxed);
        let mut latencies = Histogram::default();
        for worker in workers {
            latencies.merge(&worker.join().expect("the engine appends"));
        }
        Durable {
            per_second: (after - before) as f64 / took.as_secs_f64(),
            records: after - before,
            flushes: flushed.zip(flushes).map(|(now, then)| now - then),
            p50_us: latencies.quantile_us(0.5),
            p99_us: latencies.quantile_us(0.99),
            p999_us: latencies.quantile_us(0.999),
            max_us: latencies.quantile_us(1.0),
        }
    })
}

fn append_until(
    appender: &mut dyn Appender,
    thread: u64,
    size: usize,
    counter: &AtomicU64,
    measuring: &AtomicBool,
    stop: &AtomicBool,
) -> Histogram {
    let mut latencies = Histogram::default();
    let mut record = blank(size);
    let mut index = 0;
    while !stop.load(Ordering::Relaxed) {
        index += 1;
        stamp(&mut record, index, thread);
        let start = Instant::now();
        appender.append_durable(&record);
        let took = start.elapsed();
        counter.store(index, Ordering::Relaxed);
        if measuring.load(Ordering::Relaxed) {
            latencies.add(u64::try_from(took.as_nanos()).unwrap());
        }
    }
    latencies
}

/// What the measuring thread does while the others append: it trims the store, and ends a cell that
/// grows too large.
struct Watch<'a> {
    store: &'a dyn Store,
    size: usize,
    trimmed: u64,
    max_bytes: u64,
}

impl Watch<'_> {
    fn run(&mut self, seconds: f64, acknowledged: &dyn Fn() -> u64) {
        let (start, before) = (Instant::now(), acknowledged());
        let span = Duration::from_secs_f64(seconds);
        // Nothing is sent: this only waits.
        let (_sender, clock) = mpsc::channel::<()>();
        loop {
            let (passed, now) = (start.elapsed(), acknowledged());
            let bytes = now * self.size as u64;
            // A very short span on a very busy disk lasts until there is something to count.
            if now > before && (passed >= span || bytes > self.max_bytes) {
                return;
            }
            assert!(
                passed < span + GIVE_UP,
                "no append was acknowledged in {passed:?}"
            );
            if bytes - self.trimmed > TRIM_EVERY_BYTES {
                self.trimmed = bytes;
                self.store.trim();
            }
            let left = span.saturating_sub(passed).max(Duration::from_millis(1));
            let _timed_out = clock.recv_timeout(left.min(LOOK_EVERY));
        }
    }
}

/// Records per second that `threads` threads append without waiting, in bursts that are synced off
/// the clock.
///
/// The clock of a burst runs from its first append to its last. The threads report those times,
/// because a watching thread may be woken late.
pub fn without_sync(store: &dyn Store, threads: u64, size: usize, span: Span) -> f64 {
    let barrier = Barrier::new(usize::try_from(threads).unwrap() + 1);
    let more = AtomicBool::new(true);
    let burst = (BURST_BYTES.min(span.max_bytes) / ((size as u64 + FRAMING) * threads)).max(1);
    let bursts = Mutex::new(Burst::default());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (barrier, more, bursts) = (&barrier, &more, &bursts);
            scope.spawn(move || {
                let mut appender = store.appender(thread);
                let mut record = blank(size);
                let mut index = 0;
                loop {
                    barrier.wait(); // the burst starts
                    if !more.load(Ordering::Relaxed) {
                        return;
                    }
                    let (from, start) = (index, Instant::now());
                    append_burst(&mut *appender, &mut record, thread, &mut index, burst);
                    bursts.lock().add(index - from, start, Instant::now());
                    barrier.wait(); // everybody is done
                    appender.sync();
                    barrier.wait(); // all is durable
                }
            });
        }
        let (mut timed, mut appended) = (Duration::ZERO, 0);
        while timed.as_secs_f64() < span.seconds && appended * (size as u64) < span.max_bytes {
            for _start_done_durable in 0..3 {
                barrier.wait();
            }
            let burst = std::mem::take(&mut *bursts.lock());
            timed += burst.took();
            appended += burst.records;
            store.trim();
            store.settle();
        }
        more.store(false, Ordering::Relaxed);
        barrier.wait();
        appended as f64 / timed.as_secs_f64()
    })
}

/// What the threads of one burst did.
#[derive(Debug, Default)]
struct Burst {
    records: u64,
    span: Option<(Instant, Instant)>,
}

impl Burst {
    fn add(&mut self, records: u64, start: Instant, end: Instant) {
        self.records += records;
        let (first, last) = self.span.unwrap_or((start, end));
        self.span = Some((first.min(start), last.max(end)));
    }

    fn took(&self) -> Duration {
        let (first, last) = self.span.expect("a record was appended");
        last - first
    }
}

fn append_burst(
    appender: &mut dyn Appender,
    record: &mut [u8],
    thread: u64,
    index: &mut u64,
    burst: u64,
) {
    let start = Instant::now();
    for done in 0..burst {
        *index += 1;
        stamp(record, *index, thread);
        appender.append(record);
        // Slow engines end a burst by time; the clock is asked seldom enough to cost nothing.
        if done % 256 == 255 && start.elapsed() > BURST_AT_MOST {
            return;
        }
    }
}
