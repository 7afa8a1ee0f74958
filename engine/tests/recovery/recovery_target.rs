//! Checkpoints that come as rarely as a recovery within a given time allows. What costs time moves
//! a clock that stands still otherwise.

use crate::common::builder;
use crate::warnings::Warnings;
use highwater_engine::checkpoint::testing::MemoryStore;
use highwater_engine::checkpoint::{Store, StoreError, StoredFile};
use highwater_engine::wal::disk::{Clock, ManualClock, SimDisk};
use highwater_engine::{
    Batch, BatchMode, CheckpointPolicy, ContextEvent, StopMode, StreamingContext, wal,
};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What things cost, in milliseconds.
const RECORD: u64 = 5;
const BATCH: u64 = 10;
const INTERVAL: u64 = 1000;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A sum, and something that makes it long.
type Sum = Option<(u64, Vec<u64>)>;

/// Numbers that do not get smaller when they are compressed.
fn noise(seed: u64) -> Vec<u64> {
    let next = |n: &u64| Some(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    std::iter::successors(Some(seed + 1), next)
        .skip(1)
        .take(200)
        .collect()
}

/// A store whose calls take time.
#[derive(Debug)]
struct SlowStore {
    files: MemoryStore,
    clock: Arc<ManualClock>,
    /// How long it takes to write a manifest, and bytes that are read in a millisecond.
    write: AtomicU64,
    read: AtomicU64,
    /// Whether manifests are refused.
    is_full: AtomicBool,
    /// Whether manifests wait.
    is_closed: Mutex<bool>,
    opened: Condvar,
}

impl SlowStore {
    fn new(clock: &Arc<ManualClock>, write: u64, read: u64) -> Arc<Self> {
        Arc::new(Self {
            files: MemoryStore::new(),
            clock: Arc::clone(clock),
            write: AtomicU64::new(write),
            read: AtomicU64::new(read),
            is_full: AtomicBool::new(false),
            is_closed: Mutex::new(false),
            opened: Condvar::new(),
        })
    }
}

impl Store for SlowStore {
    fn place(&self) -> String {
        self.files.place()
    }
    fn prepare(&self) -> io::Result<()> {
        self.files.prepare()
    }
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        if name.starts_with("manifest") {
            let mut is_closed = self.is_closed.lock();
            while *is_closed {
                self.opened.wait(&mut is_closed);
            }
            if self.is_full.load(Ordering::SeqCst) {
                return Err(StoreError::determinate(io::ErrorKind::StorageFull.into()));
            }
            self.clock.advance(ms(self.write.load(Ordering::SeqCst)));
        }
        self.files.put_new(name, bytes)
    }
    fn len(&self, name: &str) -> io::Result<u64> {
        self.files.len(name)
    }
    fn get_range(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let bytes_per_ms = self.read.load(Ordering::SeqCst);
        self.clock.advance(ms(len.div_ceil(bytes_per_ms)));
        self.files.get_range(name, offset, len)
    }
    fn list(&self) -> io::Result<Vec<StoredFile>> {
        self.files.list()
    }
    fn delete(&self, names: &[String]) -> Result<(), StoreError> {
        self.files.delete(names)
    }
}

/// A program, its disk and its clock.
struct World {
    disk: SimDisk,
    clock: Arc<ManualClock>,
    store: Arc<SlowStore>,
    target: Duration,
    /// Log that may be unprocessed.
    max_bytes: u64,
    mode: BatchMode,
    /// Batches after which checkpoints began, and were published.
    began: Arc<Mutex<Vec<u64>>>,
    published: Arc<Mutex<Vec<u64>>>,
}

impl World {
    fn new(target: u64, write: u64, read: u64) -> Self {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        Self {
            disk: SimDisk::new(),
            store: SlowStore::new(&clock, write, read),
            clock,
            target: ms(target),
            max_bytes: 64 << 20,
            mode: BatchMode::Manual,
            began: Arc::default(),
            published: Arc::default(),
        }
    }

    /// A record costs time, and so does every batch.
    fn open(&self) -> StreamingContext {
        let (began, published) = (Arc::clone(&self.began), Arc::clone(&self.published));
        let (of_records, of_batches) = (Arc::clone(&self.clock), Arc::clone(&self.clock));
        // What is left of a segment counts as log, and so does its header: there is one.
        let log = wal::Options::new().background(wal::Background::Inline);
        let built = builder(&self.disk, 1)
            .log(log.segment_size(32 << 20).min_segment_size(32 << 20))
            .max_batch_bytes(self.max_bytes)
            .max_unprocessed_bytes(self.max_bytes)
            .clock(Arc::<ManualClock>::clone(&self.clock))
            .batches(self.mode)
            .checkpoint_store(Arc::<SlowStore>::clone(&self.store))
            .checkpoint(CheckpointPolicy::recovery_target(self.target))
            .listener(move |event| match event {
                ContextEvent::CheckpointStarted { batch } => began.lock().push(batch.id),
                ContextEvent::CheckpointCompleted { batch, .. } => published.lock().push(batch.id),
                _ => {}
            });
        let context = built.get_or_create(move |ssc| {
            let numbers = ssc.input::<(u64, String)>("numbers").map(move |(n, _)| {
                of_records.advance(ms(RECORD));
                (n % 10, n)
            });
            let sums = numbers.update_state_by_key("sums", |_, new: &[u64], sum: &mut Sum| {
                let (before, _) = sum.take().unwrap_or_default();
                *sum = Some((before + new.iter().sum::<u64>(), noise(before)));
            });
            let counts = sums.count().map(move |n| {
                of_batches.advance(ms(BATCH));
                n
            });
            counts.for_each_batch("out", |_, _| ());
            Ok(())
        });
        context.unwrap()
    }

    /// Runs a batch of so many records, and waits for the next tick.
    fn run(&self, context: &StreamingContext, records: u64) -> Batch {
        let began = self.clock.now();
        if records > 0 {
            send(context, records);
        }
        let batch = context.run_batch().unwrap();
        let took = self.clock.now().saturating_sub(began);
        self.clock.advance(ms(INTERVAL).saturating_sub(took));
        batch
    }

    /// Runs batches of ten records.
    fn run_many(&self, context: &StreamingContext, batches: u64) {
        for _ in 0..batches {
            self.run(context, 10);
        }
    }
}

/// Sends so many records. Beside them, what the engine itself writes into the log is little.
fn send(context: &StreamingContext, records: u64) {
    let records: Vec<(u64, String)> = (0..records).map(|n| (n, "x".repeat(4000))).collect();
    let input = context.input::<(u64, String)>("numbers").unwrap();
    input.send_all(&records).unwrap().wait().unwrap();
}

/// A batch of ten records is 60 ms. While one checkpoint is written a batch and a half comes. 1000
/// ms are 16.67 batches, so after 14 the next one can wait (14 + 1 + 1.5), and after 15 it cannot.
/// Before the first checkpoint there is no measurement: it comes after ten seconds.
#[test]
fn checkpoints_come_after_the_batches_that_a_calculation_by_hand_gives() {
    let world = World::new(1000, 1500, 500);
    let context = world.open();
    context.start().unwrap();
    world.run_many(&context, 60);
    assert_eq!(*world.published.lock(), [10, 25, 40, 55]);
    let lineage = context.lineage();
    assert_eq!(lineage.target, Some(ms(1000)));
    assert_eq!((lineage.checkpoint, lineage.depth), (Some((4, 55)), 5));
}

/// A target of any length keeps the log within its bound.
#[test]
fn a_checkpoint_comes_at_the_latest_when_so_much_is_unprocessed() {
    let mut world = World::new(0, 500, 500);
    (world.target, world.max_bytes) = (Duration::MAX, 1 << 19);
    let context = world.open();
    context.start().unwrap();
    let batches: Vec<Batch> = (0..60).map(|_| world.run(&context, 10)).collect();
    let (mut last, mut expected) = (batches[9], vec![10]);
    for batch in &batches[10..] {
        if batch.to.bytes_since(last.to) >= 1 << 19 {
            last = *batch;
            expected.push(batch.id);
        }
    }
    assert!(expected.len() > 2, "{expected:?}");
    assert_eq!(*world.published.lock(), expected);
}

/// The crash that costs most comes just before a checkpoint is published. What the recovery takes
/// then is the target, but for a batch or two, and for what the estimate of loading is off.
#[test]
fn a_recovery_takes_as_long_as_it_may() {
    let world = World::new(1500, 0, 500);
    let context = world.open();
    context.start().unwrap();
    world.run_many(&context, 30);
    drop(context);
    // A second life, which knows from its start what loading takes.
    for _ in 0..3 {
        let context = world.open();
        assert!(context.recovered().loaded_in >= ms(20));
        assert_eq!(context.lineage().load_time, context.recovered().loaded_in);
        context.start().unwrap();
        let first = world.published.lock().len();
        let run = |done: &dyn Fn() -> bool| {
            let batches = (0..500).take_while(|_| !done());
            batches.for_each(|_| world.run_many(&context, 1));
            assert!(done());
        };
        run(&|| world.published.lock().len() >= first + 2);
        world.store.is_full.store(true, Ordering::SeqCst);
        let attempts = world.began.lock().len();
        run(&|| world.began.lock().len() > attempts);
        drop(context);
        world.store.is_full.store(false, Ordering::SeqCst);
        let found = world.open().recovered().clone();
        let batch = ms(10 * RECORD + BATCH);
        let took = found.loaded_in + batch * u32::try_from(found.batches_to_replay).unwrap();
        let (batches, off) = (2 * batch, ms(20));
        assert!(took <= world.target + off, "{took:?}");
        assert!(took + batches + off > world.target, "{took:?} is too soon");
    }
}

/// Whatever sizes batches have: those chosen are those for which this calculation says so.
#[test]
fn batches_with_and_without_records_count_by_what_each_of_them_costs() {
    let world = World::new(740, 0, 500);
    let context = world.open();
    context.start().unwrap();
    let mut batches = Vec::new();
    for round in 0..40 {
        batches.push((world.run(&context, 10), 10));
        let few = u64::from(round % 5 == 4);
        for _ in 0..=few {
            batches.push((world.run(&context, 0), 0));
        }
    }
    let filled: Vec<&Batch> = batches
        .iter()
        .filter(|(b, n)| *n > 0 && b.id > 1)
        .map(|(b, _)| b)
        .collect();
    let bytes = |batch: &Batch| batch.to.bytes_since(batch.from);
    let per_batch = filled.iter().map(|b| bytes(b)).sum::<u64>() as f64 / filled.len() as f64;
    let byte_ms = 10.0 * RECORD as f64 / per_batch;
    let cost = |batches: u64, bytes: f64| batches as f64 * BATCH as f64 + bytes * byte_ms;
    let published = world.published.lock().clone();
    let (mut last, mut expected) = (published[0], vec![published[0]]);
    for (batch, _) in batches.iter().filter(|(batch, _)| batch.id > published[0]) {
        let since = batches.iter().map(|(b, _)| b);
        let since = since.filter(|b| b.id > last && b.id <= batch.id);
        let (count, sum) = since.fold((0, 0), |(n, sum), b| (n + 1, sum + bytes(b)));
        let least = cost(count + 1, sum as f64 + per_batch);
        if least > 740.0 {
            expected.push(batch.id);
            last = batch.id;
        }
    }
    assert!(expected.len() > 3, "{expected:?}");
    assert_eq!(published, expected);
}

/// Loading alone takes longer: checkpoints come as by default, every ten seconds, and that is told
/// once.
#[test]
fn a_target_out_of_reach_is_told_once_and_the_default_holds() {
    let world = World::new(300, 0, 50);
    let context = world.open();
    context.start().unwrap();
    world.run_many(&context, 12);
    drop(context);
    world.published.lock().clear();
    let told = Warnings::during(|| {
        let context = world.open();
        assert!(context.recovered().loaded_in >= ms(300));
        context.start().unwrap();
        world.run_many(&context, 60);
    });
    let gaps: Vec<u64> = world
        .published
        .lock()
        .windows(2)
        .map(|w| w[1] - w[0])
        .collect();
    assert!(
        gaps.len() >= 4 && gaps.iter().all(|gap| *gap == 10),
        "{gaps:?}"
    );
    let told: Vec<_> = told.iter().filter(|t| t.contains("out of reach")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("target_ms=300") && told[0].contains("load_ms="),
        "{told:?}"
    );
}

/// Checkpoints that fail do not come after every batch: attempts wait, as they do without a target.
#[test]
fn failures_are_not_met_with_a_checkpoint_after_every_batch() {
    let world = World::new(1000, 0, 500);
    let context = world.open();
    context.start().unwrap();
    world.run_many(&context, 30);
    world.store.is_full.store(true, Ordering::SeqCst);
    let before = world.began.lock().len();
    world.run_many(&context, 100);
    let attempts = world.began.lock().len() - before;
    assert!((5..=14).contains(&attempts), "{attempts}");
}

/// By the clock, with a store that does not answer: one checkpoint is in flight, never two, and
/// batches go on.
#[test]
fn while_a_checkpoint_is_written_no_other_begins() {
    let mut world = World::new(200, 0, 500);
    world.mode = BatchMode::Clock;
    let context = world.open();
    context.start().unwrap();
    let step = |id: u64| {
        send(&context, 3);
        world.clock.advance(ms(INTERVAL));
        context.await_batch(id).unwrap();
    };
    let newest = || context.progress().last_batch.unwrap_or(0);
    let until = |published: usize| {
        let steps = (0..500).take_while(|_| world.published.lock().len() < published);
        steps.for_each(|_| step(newest() + 1));
        assert!(world.published.lock().len() >= published);
    };
    until(3);
    *world.store.is_closed.lock() = true;
    let began = world.began.lock().len();
    (0..40).for_each(|_| step(newest() + 1));
    let in_flight = world.began.lock().len() - began;
    assert!(in_flight <= 1, "{in_flight}");
    assert!(context.lineage().depth >= 40, "{}", context.lineage());
    *world.store.is_closed.lock() = false;
    world.store.opened.notify_all();
    let published = world.published.lock().len();
    until(published + 3);
    context.stop(StopMode::Graceful).unwrap();
    let began: BTreeMap<u64, usize> =
        world
            .began
            .lock()
            .iter()
            .fold(BTreeMap::new(), |mut seen, batch| {
                *seen.entry(*batch).or_default() += 1;
                seen
            });
    assert!(began.values().all(|times| *times == 1), "{began:?}");
}

/// The ends of the lineage are told, before and after a restart.
#[test]
fn the_lineage_tells_its_ends_and_what_a_recovery_would_take() {
    let world = World::new(1000, 0, 500);
    let context = world.open();
    assert_eq!(context.lineage().checkpoint_time_ms, None);
    context.start().unwrap();
    let batches: Vec<Batch> = (0..13).map(|_| world.run(&context, 10)).collect();
    let check = |context: &StreamingContext| {
        let lineage = context.lineage();
        assert_eq!(lineage.checkpoint, Some((1, batches[9].id)));
        assert_eq!(lineage.checkpoint_time_ms, Some(batches[9].time_ms));
        assert_eq!(lineage.last_batch, Some(batches[12].id));
        assert_eq!(lineage.last_batch_time_ms, Some(batches[12].time_ms));
        assert_eq!(lineage.replay_from, batches[9].to);
        assert_eq!((lineage.depth, lineage.target), (3, Some(ms(1000))));
        assert!(
            lineage.to_string().ends_with("(target 1000 ms)"),
            "{lineage}"
        );
        lineage
    };
    let lineage = check(&context);
    let estimate = lineage.estimated_recovery.unwrap();
    assert!(estimate >= ms(175) && estimate <= ms(190), "{estimate:?}");
    drop(context);
    let context = world.open();
    let lineage = check(&context);
    assert_eq!(lineage.estimated_recovery, None, "nothing was run yet");
    assert_eq!(lineage.load_time, context.recovered().loaded_in);
    context.start().unwrap();
    let loaded = context.recovered().loaded_in;
    let estimate = check(&context).estimated_recovery.unwrap();
    assert!(
        estimate >= loaded + ms(175) && estimate <= loaded + ms(190),
        "{estimate:?}"
    );
    context.stop(StopMode::Graceful).unwrap();
    let lineage = context.lineage();
    assert_eq!(
        (lineage.depth, lineage.bytes_to_replay > 0),
        (0, true),
        "{lineage}"
    );
}
