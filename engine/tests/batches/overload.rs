//! A source three times faster than the sink, for a minute.
//!
//! The clock is moved in small steps, and only while every thread waits for it or for more to do.
//! So the run is that of a machine on which computing takes no time, whatever this one is busy
//! with.
#![allow(clippy::expect_used, reason = "test code")]

use crate::common::builder;
use crate::common::moving::move_until;
use highwater_engine::wal::disk::{Clock, ManualClock, Notify, SimDisk, WaitResult};
use highwater_engine::{
    BackPressure, BatchMode, BoxError, ContextEvent, Error, Receiver, SourceContext, StopMode,
    StreamingContext, wal,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

const STEP: Duration = Duration::from_millis(10);
/// The source has so many records per step, each a frame of its own ...
const OFFERED: u64 = 30;
/// ... and the sink takes one per millisecond.
const SINK: Duration = Duration::from_millis(1);
const STEPS: u64 = 6000;
/// Log bytes that may wait.
const BOUND: u64 = 1 << 20;
/// What one frame may add, with the engine's own records and the header of a segment.
const FRAME: u64 = 5 << 10;

/// A clock that knows for what the cutter waits.
#[derive(Debug)]
struct Lockstep {
    manual: ManualClock,
    cutter: Mutex<Option<Duration>>,
}

impl Clock for Lockstep {
    fn now(&self) -> Duration {
        self.manual.now()
    }

    fn wall_ms(&self) -> u64 {
        self.manual.wall_ms()
    }

    fn wait(&self, notify: &Arc<Notify>, deadline: Option<Duration>) -> WaitResult {
        if std::thread::current().name() != Some("highwater-cutter") {
            return self.manual.wait(notify, deadline);
        }
        *self.cutter.lock() = deadline;
        let result = self.manual.wait(notify, deadline);
        *self.cutter.lock() = None;
        result
    }
}

/// What every life of the program shares.
struct Scene {
    clock: Arc<Lockstep>,
    /// What the sink got, by batch.
    seen: Mutex<BTreeMap<u64, Vec<u64>>>,
    /// The newest counts of the state, by key.
    counts: Mutex<BTreeMap<u64, u64>>,
    /// Until when the sink is busy.
    busy: Mutex<Option<Duration>>,
    /// Wakes the sink when the machine goes.
    gone: Arc<Notify>,
    is_gone: AtomicBool,
    submitted: AtomicU64,
    completed: AtomicU64,
    /// Up to here the log is processed.
    processed: AtomicU64,
}

impl Scene {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::new(Lockstep {
                manual: ManualClock::new(1_700_000_000_000),
                cutter: Mutex::default(),
            }),
            seen: Mutex::default(),
            counts: Mutex::default(),
            busy: Mutex::default(),
            gone: Arc::default(),
            is_gone: AtomicBool::new(false),
            submitted: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            processed: AtomicU64::new(0),
        })
    }

    /// Whether nothing happens before the clock moves on.
    fn is_quiet(&self) -> bool {
        let now = self.clock.now();
        let is_later =
            |deadline: &Mutex<Option<Duration>>| deadline.lock().is_some_and(|d| d > now);
        let is_idle = || {
            let completed = self.completed.load(Ordering::SeqCst);
            completed >= self.submitted.load(Ordering::SeqCst)
        };
        // The cutter first: what it does gives the driver work.
        is_later(&self.clock.cutter) && (is_idle() || is_later(&self.busy))
    }

    fn step(&self) {
        self.clock.manual.advance(STEP);
        while !self.is_quiet() {
            std::thread::yield_now();
        }
    }

    fn sink(&self, batch: u64, records: &[u64]) {
        let count = u32::try_from(records.len()).unwrap();
        let before = self.seen.lock().insert(batch, records.to_owned());
        assert!(before.is_none_or(|before| before == records));
        let until = self.clock.now() + SINK * count;
        *self.busy.lock() = Some(until);
        if !self.is_gone.load(Ordering::SeqCst) {
            let _woken = self.clock.wait(&self.gone, Some(until));
        }
        *self.busy.lock() = None;
    }

    fn on_event(&self, event: &ContextEvent) {
        match event {
            ContextEvent::BatchSubmitted { batch } => {
                self.submitted.fetch_max(batch.id, Ordering::SeqCst);
            }
            ContextEvent::BatchCompleted { batch, .. } => {
                self.processed.fetch_max(batch.to.get(), Ordering::SeqCst);
                self.completed.fetch_max(batch.id, Ordering::SeqCst);
            }
            _ => {}
        }
    }
}

/// Lets the sink return when the test fails: dropping the context waits for it.
struct Release(Arc<Scene>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.is_gone.store(true, Ordering::SeqCst);
        self.0.gone.notify_one();
    }
}

struct Lent(mpsc::Sender<SourceContext>);

impl Receiver for Lent {
    fn run(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        self.0.send(source.clone())?;
        Ok(())
    }
}

fn open(
    scene: &Arc<Scene>,
    disk: &SimDisk,
    back_pressure: BackPressure,
) -> (StreamingContext, SourceContext) {
    let (lend, lent) = mpsc::channel();
    let (sink, counts, events) = (Arc::clone(scene), Arc::clone(scene), Arc::clone(scene));
    let log = wal::Options::new()
        .segment_size(256 << 10)
        .background(wal::Background::Inline);
    let context = builder(disk, 1)
        .clock(Arc::<Lockstep>::clone(&scene.clock))
        .log(log)
        .batches(BatchMode::Clock)
        .max_batch_bytes(BOUND / 2)
        .max_unprocessed_bytes(BOUND)
        .back_pressure(back_pressure)
        .listener(move |event| events.on_event(event))
        .get_or_create(move |ssc| {
            let decode = |bytes: bytes::Bytes| {
                let number = bytes.get(..8).and_then(|b| b.try_into().ok());
                number.map(u64::from_be_bytes).ok_or_else(String::new)
            };
            let numbers = ssc.source("lent", "numbers", Arc::new(decode), Lent(lend));
            numbers
                .map(|number| (number % 16, 1_u64))
                .update_state_by_key("counts", |_, new: &[u64], total: &mut Option<u64>| {
                    *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
                })
                .for_each_batch("totals", move |_, all: Vec<(u64, u64)>| {
                    *counts.counts.lock() = all.into_iter().collect();
                });
            numbers.for_each_batch("sink", move |batch, records| sink.sink(batch.id, &records));
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    (context, lent.recv().unwrap())
}

/// What a run was like.
#[derive(Debug, Default)]
struct Run {
    /// Records that were stored and acknowledged, at each step.
    stored: Vec<u64>,
    /// Log bytes that waited, at each step.
    waiting: Vec<u64>,
    /// Steps in which the source was refused something.
    refused: u64,
}

/// A minute of the source. It keeps what is refused, and offers it again in the next step. With a
/// crash the power goes half-way, while the sink is busy.
fn minute(back_pressure: BackPressure, crash: bool) -> (Arc<Scene>, Run) {
    let (scene, mut disk, mut run) = (Scene::new(), SimDisk::new(), Run::default());
    let (mut context, mut source) = open(&scene, &disk, back_pressure);
    let _release = Release(Arc::clone(&scene));
    let (mut next, mut acknowledged, mut crash) = (0, 0, crash);
    for step in 1..=STEPS {
        if crash && step > STEPS / 2 && scene.busy.lock().is_some() {
            crash = false;
            disk.cut_power_now();
            scene.is_gone.store(true, Ordering::SeqCst);
            scene.gone.notify_one();
            drop((context, source));
            disk = disk.restart_after_power_cut(step);
            scene.is_gone.store(false, Ordering::SeqCst);
            (context, source) = open(&scene, &disk, back_pressure);
            // What was cut before is not submitted again, and has to be completed all the same:
            // time ran on meanwhile, and the sink was idle, on a machine that was busy.
            let cut = context.lineage().last_batch.unwrap_or(0);
            scene.submitted.store(cut, Ordering::SeqCst);
            next = source.last_sequence("p").map_or(0, |last| last + 1);
            assert!(next >= acknowledged, "{next} of {acknowledged}");
        }
        scene.step();
        while next < step * OFFERED {
            let mut record = vec![b'x'; 100];
            record[..8].copy_from_slice(&next.to_be_bytes());
            match source.try_append_once("p", &[(next, &record)]) {
                Ok(_) => next += 1,
                Err(Error::NoRoom { .. } | Error::RateExceeded { .. }) => {
                    run.refused += 1;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
            // A batch is cut once it is full, by a thread of its own.
            while !scene.is_quiet() {
                std::thread::yield_now();
            }
        }
        source
            .sync_to(context.log().end_lsn())
            .unwrap_or_else(|error| panic!("{error}"));
        acknowledged = next;
        let end = context.log().end_lsn().get();
        let waiting = end - scene.processed.load(Ordering::SeqCst);
        assert!(
            waiting <= BOUND + FRAME,
            "{waiting} bytes wait in step {step}"
        );
        run.stored.push(acknowledged);
        run.waiting.push(waiting);
    }
    let stop = std::thread::spawn(move || context.stop(StopMode::Graceful));
    move_until(&scene.clock.manual, STEP, || stop.is_finished());
    stop.join().unwrap().unwrap();
    // Nothing acknowledged is lost, and everything is counted once.
    let seen: Vec<u64> = scene.seen.lock().values().flatten().copied().collect();
    assert_eq!(seen, (0..next).collect::<Vec<_>>(), "each once, in order");
    let counts = scene.counts.lock().clone();
    for key in 0..16 {
        let expected = (0..next).filter(|number| number % 16 == key).count() as u64;
        assert_eq!(counts.get(&key), Some(&expected), "key {key}");
    }
    (scene, run)
}

/// The sink takes 60,000 of the 180,000 records. What waits never has more bytes than the bound and
/// a frame, which each step of the run asserts.
#[test]
fn with_the_bound_on_bytes_alone_the_sender_is_as_fast_as_the_sink() {
    for crash in [false, true] {
        let (_, run) = minute(BackPressure::off(), crash);
        let stored = *run.stored.last().unwrap();
        let most = 60_000 + BOUND / 100;
        assert!(
            stored <= most,
            "{stored} of at most {most}: senders are not slowed"
        );
        // A crash costs the batch that ran, which runs again.
        let least = if crash { 55_000 } else { 59_000 };
        assert!(stored >= least, "{stored}: the sink was idle");
        assert!(run.refused > STEPS / 2, "{}", run.refused);
        let half = &run.waiting[run.waiting.len() / 2..];
        assert!(
            half.iter().any(|w| *w > BOUND / 4 * 3),
            "the log is what waits"
        );
    }
}

/// With the estimator, what waits is a batch or two, not what the bound allows.
#[test]
fn with_back_pressure_what_waits_stays_short() {
    for crash in [false, true] {
        let (_, run) = minute(BackPressure::pid(), crash);
        let stored = *run.stored.last().unwrap();
        assert!(stored <= 60_000 + BOUND / 100, "{stored}");
        // A batch runs and the next one gathers. After a crash the rate is learned anew, which
        // takes 15 seconds: until then the bound holds.
        let settled = if crash { STEPS / 6 * 5 } else { STEPS / 2 };
        let from = usize::try_from(settled).unwrap();
        let most = run.waiting[from..].iter().max().unwrap();
        assert!(*most < BOUND / 5 * 2, "{most} bytes waited");
        let stored = stored - run.stored[from];
        let sink = (STEPS - settled) * 10;
        let range = sink * 9 / 10..=sink * 21 / 20;
        assert!(range.contains(&stored), "{stored} in {range:?}");
    }
}
