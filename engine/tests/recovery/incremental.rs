//! Checkpoints have what has changed, are copied and written beside the batches, and fail alone.

use crate::common::builder;
use crate::common::moving::move_until;
use highwater_engine::checkpoint::testing::MemoryStore;
use highwater_engine::checkpoint::{
    Checkpoints, LocalStore, Manifest, Store, StoreError, StoredFile,
};
use highwater_engine::wal::disk::{ManualClock, OsClock, SimDisk};
use highwater_engine::wal::{Lsn, inspect};
use highwater_engine::{
    Batch, BatchMode, Builder, CheckpointPolicy, ContextEvent, KeyState, Result, StateCodec,
    StateSpec, StopMode, StreamScope, StreamingContext,
};
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// What the last outputs said of each key.
type Totals = Arc<Mutex<BTreeMap<u64, u64>>>;

/// A key and what is added to it; 0 removes it.
type Change = (u64, u64);

fn totals_of(ssc: &StreamScope, totals: &Totals) {
    let totals = Arc::clone(totals);
    let add = |_: &Batch, key: &u64, new: Option<u64>, state: &mut KeyState<'_, u64>| {
        let add = new.unwrap_or(0);
        let total = state.get().copied().unwrap_or(0) + add;
        if add > 0 {
            state.update(total);
        } else if state.exists() {
            state.remove();
        }
        (*key, if add > 0 { total } else { 0 })
    };
    ssc.input::<Change>("changes")
        .map_with_state_spec("totals", StateSpec::new(add))
        .for_each_batch("collect", move |_, records: Vec<(u64, u64)>| {
            totals.lock().extend(records);
        });
}

fn open(builder: Builder, totals: &Totals) -> Result<StreamingContext> {
    let totals = Arc::clone(totals);
    builder.get_or_create(move |ssc| {
        totals_of(ssc, &totals);
        Ok(())
    })
}

fn send(context: &StreamingContext, changes: impl IntoIterator<Item = Change>) {
    let input = context.input::<Change>("changes").unwrap();
    let sent = changes
        .into_iter()
        .map(|change| input.send(&change).unwrap());
    sent.collect::<Vec<_>>().into_iter().for_each(|sent| {
        sent.wait().unwrap();
    });
}

fn manifests(disk: &SimDisk) -> Vec<Manifest> {
    let store: Arc<dyn Store> =
        Arc::new(LocalStore::new(Arc::new(disk.clone()), "/app/checkpoints"));
    let found = Checkpoints::inspect(&store).unwrap();
    found
        .into_iter()
        .filter_map(|found| found.manifest)
        .collect()
}

/// Bytes that each checkpoint has written.
fn sizes(builder: Builder) -> (Builder, Arc<Mutex<Vec<u64>>>) {
    let sizes = Arc::<Mutex<Vec<u64>>>::default();
    let noted = Arc::clone(&sizes);
    let builder = builder.listener(move |event: &ContextEvent| {
        if let ContextEvent::CheckpointCompleted { size_bytes, .. } = event {
            noted.lock().push(*size_bytes);
        }
    });
    (builder, sizes)
}

/// 1 % changed, 2 % written. Also after a restart: it needs no full checkpoint.
#[test]
fn a_checkpoint_has_what_has_changed() {
    for workers in [1, 2] {
        let (disk, totals) = (SimDisk::new(), Totals::default());
        let every = CheckpointPolicy::every_batches(1);
        let opened = || {
            let builder = builder(&disk, workers).clock(Arc::new(OsClock::default()));
            let (builder, sizes) = sizes(builder.checkpoint(every));
            (open(builder, &totals).unwrap(), sizes)
        };
        let (context, written) = opened();
        context.start().unwrap();
        assert_eq!(context.checkpoints().longest_pause, Duration::ZERO);
        // Numbers that do not compress well.
        let value = |key: u64| key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 8 | 1;
        send(&context, (0..20_000).map(|key| (key, value(key))));
        context.run_batch().unwrap();
        let full = written.lock()[0];
        for _ in 0..3 {
            send(&context, (0..200).map(|key| (key * 97, 1)));
            context.run_batch().unwrap();
            context.run_batch().unwrap();
        }
        let pause = context.checkpoints().longest_pause;
        assert!(pause > Duration::ZERO, "copies take their time");
        // What is on the way goes with the context: no final checkpoint.
        drop(context);
        let sizes = written.lock().clone();
        let (one_percent, nothing) = (sizes[1], sizes[2]);
        assert!(nothing < 4000, "{nothing}: a manifest");
        assert!(
            (one_percent - nothing) * 100 < full * 2,
            "{one_percent} of {full}"
        );
        let (context, written) = opened();
        assert_eq!(context.recovered().states[0].keys, 20_000);
        context.start().unwrap();
        send(&context, [(97, 1), (1_000_000, 5)]);
        context.run_batch().unwrap();
        let first = written.lock()[0];
        assert!(first < 8000, "{first} after a restart, {full} in full");
        assert_eq!(totals.lock()[&97], value(97) + 4);
        context.stop(StopMode::Graceful).unwrap();
        drop(context);
        let newest = &manifests(&disk)[0];
        assert!(newest.chain.len() > 1, "it names files of others");
        assert_eq!(newest.state("totals").unwrap().entries, 20_001);
    }
}

/// Random changes and removals, a checkpoint after each batch or every third, lives of any length
/// that end with or without a final checkpoint, one to three workers, either codec. Each life goes
/// on from what the ones before have left.
#[test]
fn lives_go_on_from_incremental_checkpoints() {
    let mut seed = 11_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    for program in 0..12 {
        let (disk, totals) = (SimDisk::new(), Totals::default());
        let mut model = BTreeMap::<u64, u64>::new();
        let keys = [4, 60, 900][program % 3];
        for _ in 0..8 {
            let workers = usize::try_from(1 + random(3)).unwrap();
            let every = CheckpointPolicy::every_batches(1 + 2 * random(2));
            let codec = [StateCodec::Named, StateCodec::Compact][usize::from(random(2) == 0)];
            let builder = builder(&disk, workers).checkpoint(every).state_codec(codec);
            let context = open(builder, &totals).unwrap();
            assert!(context.recovered().states.iter().all(|s| s.moved_keys == 0));
            context.start().unwrap();
            for _ in 0..random(9) {
                let changes = (0..random(60)).map(|_| {
                    let removes = random(4) == 0;
                    (random(keys), if removes { 0 } else { 1 + random(9) })
                });
                let changes: Vec<Change> = changes.collect();
                for (key, add) in &changes {
                    match add {
                        0 => drop(model.insert(*key, 0)),
                        add => *model.entry(*key).or_default() += add,
                    }
                }
                send(&context, changes);
                context.run_batch().unwrap();
                assert_eq!(*totals.lock(), model);
            }
            if random(2) == 0 {
                context.stop(StopMode::Graceful).unwrap();
            }
        }
        let context = open(builder(&disk, 1), &totals).unwrap();
        context.start().unwrap();
        send(&context, (0..keys).map(|key| (key, 1)));
        context.run_batch().unwrap();
        (0..keys).for_each(|key| *model.entry(key).or_default() += 1);
        assert_eq!(*totals.lock(), model);
    }
}

/// Creations of files wait while it is shut, or fail while it is broken.
#[derive(Debug)]
struct Door {
    inner: LocalStore,
    shut: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicBool,
    broken: AtomicBool,
    refused: AtomicU64,
}

impl Door {
    fn new(disk: &SimDisk) -> Arc<Self> {
        Arc::new(Self {
            inner: LocalStore::new(Arc::new(disk.clone()), "/app/checkpoints"),
            shut: Mutex::new(false),
            opened: Condvar::new(),
            waiting: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        })
    }

    fn open(&self) {
        *self.shut.lock() = false;
        self.opened.notify_all();
    }

    fn await_waiting(&self) {
        while !self.waiting.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    }
}

impl Store for Door {
    fn place(&self) -> String {
        self.inner.place()
    }
    fn prepare(&self) -> io::Result<()> {
        self.inner.prepare()
    }
    fn put_new(&self, name: &str, bytes: &[u8]) -> std::result::Result<(), StoreError> {
        if self.broken.load(Ordering::Acquire) {
            self.refused.fetch_add(1, Ordering::AcqRel);
            return Err(io::Error::other("503 slow down").into());
        }
        let mut shut = self.shut.lock();
        while *shut {
            self.waiting.store(true, Ordering::Release);
            self.opened.wait(&mut shut);
        }
        self.waiting.store(false, Ordering::Release);
        drop(shut);
        self.inner.put_new(name, bytes)
    }
    fn len(&self, name: &str) -> io::Result<u64> {
        self.inner.len(name)
    }
    fn get_range(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        self.inner.get_range(name, offset, len)
    }
    fn list(&self) -> io::Result<Vec<StoredFile>> {
        self.inner.list()
    }
    fn delete(&self, names: &[String]) -> std::result::Result<(), StoreError> {
        self.inner.delete(names)
    }
}

fn by_clock(disk: &SimDisk, clock: &Arc<ManualClock>, door: &Arc<Door>) -> Builder {
    let (clock, door) = (Arc::clone(clock), Arc::clone(door));
    builder(disk, 2)
        .clock(clock)
        .batches(BatchMode::Clock)
        .checkpoint_store(door)
}

/// A batch with a change of each of 100 keys.
fn batch(context: &StreamingContext, clock: &ManualClock, id: u64) {
    send(context, (0..100).map(|key| (key, 1)));
    clock.advance(SECOND);
    context.await_batch(id).unwrap();
}

/// A store that takes seconds for a file, and longer: batches run and are acknowledged meanwhile,
/// and change what the checkpoint has not copied yet. Checkpoints that come due meanwhile are one.
#[test]
fn a_slow_store_delays_no_batch_and_checkpoints_that_come_due_are_one() {
    let (disk, clock, totals) = (
        SimDisk::new(),
        Arc::new(ManualClock::new(1_700_000_000_500)),
        Totals::default(),
    );
    let door = Door::new(&disk);
    let every = CheckpointPolicy::every_batches(2);
    // So little memory that not all of it is copied while the store stands still.
    let builder = by_clock(&disk, &clock, &door)
        .checkpoint(every)
        .checkpoint_memory(1);
    let events = Arc::<Mutex<Vec<(u64, u64)>>>::default();
    let noted = Arc::clone(&events);
    let builder = builder.listener(move |event: &ContextEvent| {
        if let ContextEvent::CheckpointCompleted {
            batch,
            memory_bytes,
            ..
        } = event
        {
            noted.lock().push((batch.id, *memory_bytes));
        }
    });
    let context = open(builder, &totals).unwrap();
    context.start().unwrap();
    *door.shut.lock() = true;
    for id in 1..=9 {
        batch(&context, &clock, id);
        if id == 2 {
            door.await_waiting();
        }
    }
    assert_eq!(totals.lock()[&7], 9);
    assert_eq!(context.checkpoints().published, 0);
    door.open();
    while context.checkpoints().published == 0 {
        std::thread::yield_now();
    }
    let mut last = 9;
    while context.checkpoints().published == 1 && last < 40 {
        last += 1;
        batch(&context, &clock, last);
    }
    let events = events.lock().clone();
    assert_eq!(
        events[0].0, 2,
        "as of the batch after which it was asked for"
    );
    let covered = events[1].0;
    assert!(covered >= 10, "one for all that came due: {events:?}");
    assert!(
        events
            .iter()
            .all(|(_, memory)| (1..100_000).contains(memory)),
        "{events:?}"
    );
    drop(context);
    let dead = disk.kill_process();
    let restarted = open(by_clock(&dead, &clock, &Door::new(&dead)), &totals).unwrap();
    assert!(restarted.recovered().checkpoint.unwrap().1 >= covered);
    restarted.start().unwrap();
    batch(&restarted, &clock, last + 1);
    assert_eq!(totals.lock()[&7], last + 1);
}

/// What a checkpoint has is what was there when it was asked for, also where batches change and
/// remove it before it is copied.
#[test]
fn a_checkpoint_has_nothing_of_later_batches() {
    let (disk, clock, totals) = (
        SimDisk::new(),
        Arc::new(ManualClock::new(1_700_000_000_500)),
        Totals::default(),
    );
    let door = Door::new(&disk);
    let builder = by_clock(&disk, &clock, &door)
        .checkpoint(CheckpointPolicy::every_batches(2))
        .checkpoint_memory(1);
    let context = open(builder, &totals).unwrap();
    context.start().unwrap();
    *door.shut.lock() = true;
    let changes =
        |id: u64| (0..500).map(move |key| (key, if (key + id).is_multiple_of(3) { 0 } else { id }));
    for id in 1..=7 {
        send(&context, changes(id));
        clock.advance(SECOND);
        context.await_batch(id).unwrap();
        if id == 2 {
            door.await_waiting();
        }
    }
    door.open();
    while context.checkpoints().published == 0 {
        std::thread::yield_now();
    }
    let dead = disk.kill_process();
    drop(context);
    // All keys as of batch 2, and then the batches after it.
    let mut model = BTreeMap::<u64, u64>::new();
    let mut apply = |id: u64| {
        for (key, add) in changes(id) {
            match add {
                0 => drop(model.insert(key, 0)),
                add => *model.entry(key).or_default() += add,
            }
        }
        model.clone()
    };
    apply(1);
    let alive = apply(2).values().filter(|total| **total > 0).count();
    let manifest = &manifests(&dead)[0];
    assert_eq!(manifest.batch.id, 2);
    assert_eq!(manifest.state("totals").unwrap().entries, alive as u64);
    let expected = (3..=7).map(&mut apply).last().unwrap();
    totals.lock().clear();
    let restarted = open(by_clock(&dead, &clock, &Door::new(&dead)), &totals).unwrap();
    assert_eq!(restarted.recovered().batches_to_replay, 5);
    restarted.start().unwrap();
    send(&restarted, (0..500).map(|key| (key, 1)));
    clock.advance(SECOND);
    restarted.await_batch(8).unwrap();
    let expected = expected.into_iter().map(|(key, total)| (key, total + 1));
    assert_eq!(*totals.lock(), expected.collect());
}

/// F60: the store is down. Batches go on; attempts come again after a while, and then one has all
/// that has changed since the last that was published.
#[test]
fn a_store_that_is_down_is_tried_again_and_nothing_is_lost() {
    let (disk, clock, totals) = (
        SimDisk::new(),
        Arc::new(ManualClock::new(1_700_000_000_500)),
        Totals::default(),
    );
    let door = Door::new(&disk);
    let every = CheckpointPolicy::every_batches(50);
    let failed = Arc::<AtomicU64>::default();
    let noted = Arc::clone(&failed);
    let builder =
        by_clock(&disk, &clock, &door)
            .checkpoint(every)
            .listener(move |event: &ContextEvent| {
                if let ContextEvent::CheckpointFailed { .. } = event {
                    noted.fetch_add(1, Ordering::AcqRel);
                }
            });
    let context = open(builder, &totals).unwrap();
    context.start().unwrap();
    let mut id = 0;
    let batches = |id: &mut u64, count: u64| {
        for _ in 0..count {
            *id += 1;
            batch(&context, &clock, *id);
        }
    };
    batches(&mut id, 50);
    while context.checkpoints().published == 0 {
        std::thread::yield_now();
    }
    door.broken.store(true, Ordering::Release);
    batches(&mut id, 50);
    // The attempts after the first come sooner than after fifty batches.
    let mut needed = 0;
    while failed.load(Ordering::Acquire) < 3 {
        batches(&mut id, 1);
        needed += 1;
        assert!(needed < 45, "it is not tried again");
        (0..1000).for_each(|_| std::thread::yield_now());
    }
    // And each time later: of twenty batches two more are followed by an attempt, or three.
    for _ in 0..20 {
        batches(&mut id, 1);
        (0..1000).for_each(|_| std::thread::yield_now());
    }
    let attempts = failed.load(Ordering::Acquire);
    assert!(attempts <= 7, "{attempts} without growing waits");
    assert_eq!(context.checkpoints().published, 1);
    assert!(
        context
            .checkpoints()
            .last_error
            .unwrap()
            .contains("503 slow down")
    );
    door.broken.store(false, Ordering::Release);
    let mut more = 0;
    while context.checkpoints().published == 1 {
        more += 1;
        assert!(more < 70, "it is not tried again");
        batches(&mut id, 1);
    }
    let newest = context.checkpoints().newest.unwrap().1;
    let dead = disk.kill_process();
    drop(context);
    let restarted = open(by_clock(&dead, &clock, &Door::new(&dead)), &totals).unwrap();
    assert_eq!(restarted.recovered().checkpoint.unwrap().1, newest);
    restarted.start().unwrap();
    batch(&restarted, &clock, id + 1);
    assert_eq!(totals.lock()[&5], id + 1);
}

/// A state whose copy panics fails its checkpoint, and nothing else.
#[test]
fn a_state_that_cannot_be_copied_fails_its_checkpoint_alone() {
    static PANICS: AtomicBool = AtomicBool::new(false);
    #[derive(Serialize, Deserialize)]
    struct Fragile(u64);
    impl Clone for Fragile {
        fn clone(&self) -> Self {
            assert!(!PANICS.load(Ordering::Acquire), "it is fragile");
            Self(self.0)
        }
    }
    let (disk, seen) = (SimDisk::new(), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&seen);
    let program = move |ssc: &StreamScope| {
        // `update` moves the old state away; only a checkpoint copies it.
        let count = |_: &Batch, _: &u64, new: Option<u64>, state: &mut KeyState<'_, Fragile>| {
            let total = state.get().map_or(0, |state| state.0) + new.unwrap_or(0);
            state.update(Fragile(total));
            total
        };
        ssc.input::<Change>("changes")
            .map_with_state_spec("fragile", StateSpec::new(count))
            .for_each_batch("collect", move |_, records: Vec<u64>| {
                noted.lock().push(records)
            });
        Ok(())
    };
    let every = CheckpointPolicy::every_batches(2);
    let context = builder(&disk, 1)
        .checkpoint(every)
        .get_or_create(program)
        .unwrap();
    context.start().unwrap();
    for id in 1..=6 {
        send(&context, [(1, 1)]);
        PANICS.store(id == 4, Ordering::Release);
        context.run_batch().unwrap();
        let stats = context.checkpoints();
        assert_eq!(stats.failed, u64::from(id >= 4), "{id}");
        if id == 4 {
            let error = stats.last_error.unwrap();
            for part in ["fragile", "it is fragile"] {
                assert!(error.contains(part), "{error}");
            }
        }
    }
    assert_eq!(seen.lock().last().unwrap(), &[6]);
    assert_eq!(context.checkpoints().newest.unwrap().1, 6);
}

#[derive(Clone, Serialize, Deserialize)]
struct Old {
    spent: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct Renamed {
    #[serde(alias = "spent")]
    paid: u64,
}

/// Without the alias.
#[derive(Clone, Serialize, Deserialize)]
struct New {
    #[serde(default)]
    paid: u64,
}

trait Paid: Clone + Serialize + serde::de::DeserializeOwned + Send + Sync + 'static {
    fn new(paid: u64) -> Self;
    fn paid(&self) -> u64;
}

macro_rules! paid {
    ($type:ident, $field:ident) => {
        impl Paid for $type {
            fn new($field: u64) -> Self {
                Self { $field }
            }
            fn paid(&self) -> u64 {
                self.$field
            }
        }
    };
}

paid!(Old, spent);
paid!(Renamed, paid);
paid!(New, paid);

/// One life of a program whose state is `S`; what it says of each key that was touched.
fn life<S: Paid>(disk: &SimDisk, changes: &[Change]) -> BTreeMap<u64, u64> {
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    let noted = Arc::clone(&seen);
    let program = move |ssc: &StreamScope| {
        ssc.input::<Change>("changes")
            .update_state_by_key("paid", |_, new: &[u64], state: &mut Option<S>| {
                if !new.is_empty() {
                    let paid = state.as_ref().map_or(0, S::paid);
                    *state = Some(S::new(paid + new.iter().sum::<u64>()));
                }
            })
            .map(|(key, state)| (key, state.paid()))
            .for_each_batch("collect", move |_, records: Vec<(u64, u64)>| {
                noted.lock().extend(records);
            });
        Ok(())
    };
    let context = builder(disk, 1).get_or_create(program).unwrap();
    context.start().unwrap();
    send(&context, changes.iter().copied());
    context.run_batch().unwrap();
    context.stop(StopMode::Graceful).unwrap();
    seen.lock().clone()
}

/// A key that is not touched kept the form of an old version for ever, where a full checkpoint
/// would have written it anew: when the alias of the old name was taken away, its value was 0.
#[test]
fn a_state_in_an_old_form_is_written_anew_by_the_first_checkpoint() {
    let disk = SimDisk::new();
    let all: Vec<Change> = (0..50).map(|key| (key, key + 1)).collect();
    life::<Old>(&disk, &all);
    life::<Renamed>(&disk, &[(1, 10)]);
    let seen = life::<New>(&disk, &[(1, 100)]);
    assert_eq!(seen[&1], 112);
    for key in 2..50 {
        assert_eq!(seen[&key], key + 1, "key {key}");
    }
}

/// F59: an engine that was taken for dead, and another one goes on from its checkpoints. The first
/// one finds out at its next checkpoint, and stops before it truncates anything.
#[test]
fn an_engine_that_was_overtaken_stops_and_truncates_nothing() {
    let (disk, totals) = (SimDisk::new(), Totals::default());
    let store = Arc::new(MemoryStore::new());
    let opened = |disk: &SimDisk, seed: u64, totals: &Totals| {
        let store = Arc::clone(&store);
        let builder = builder(disk, 1).checkpoint_store(store).seed(seed);
        let every = CheckpointPolicy::every_batches(1);
        let context = open(builder.checkpoint(every), totals).unwrap();
        context.start().unwrap();
        context
    };
    let zombie = opened(&disk, 7, &totals);
    for _ in 0..3 {
        send(&zombie, [(1, 1)]);
        zombie.run_batch().unwrap();
    }
    // The directory as it is now, on another machine.
    let (copy, others) = (disk.snapshot(), Totals::default());
    let successor = opened(&copy.kill_process(), 8, &others);
    send(&successor, [(1, 10)]);
    successor.run_batch().unwrap();
    assert_eq!(others.lock()[&1], 13);

    send(&zombie, [(1, 1)]);
    zombie.run_batch().unwrap(); // its checkpoint fails, and the batch is in its own log
    let first = first_lsn(&disk);
    send(&zombie, [(1, 1)]);
    let stopped = zombie.run_batch().unwrap_err().to_string();
    let fenced = "checkpoint 4 was published by another writer (0000000000000008)";
    assert!(stopped.contains(fenced), "{stopped}");
    assert_eq!(first_lsn(&disk), first, "nothing is truncated");
    for _ in 0..2 {
        send(&successor, [(1, 1)]);
        successor.run_batch().unwrap();
    }
    assert_eq!(others.lock()[&1], 15);
}

fn first_lsn(disk: &SimDisk) -> Lsn {
    let log = inspect::Log::open(Arc::new(disk.clone()), "/app/log").unwrap();
    log.first_lsn()
}

/// Workers that were built again know nothing of a checkpoint that was copied before and published
/// after: a key that only that one has, and that is gone since, would be there again. So the next
/// checkpoint has everything.
#[test]
fn after_workers_were_built_again_a_removed_key_stays_removed() {
    let (disk, clock) = (
        SimDisk::new(),
        Arc::new(ManualClock::new(1_700_000_000_500)),
    );
    let (door, totals) = (Door::new(&disk), Totals::default());
    let fails = Arc::new(AtomicBool::new(false));
    let opened = |disk: &SimDisk, door: &Arc<Door>| {
        let (totals, fails) = (Arc::clone(&totals), Arc::clone(&fails));
        let builder = by_clock(disk, &clock, door)
            .always_rebuild(true)
            .checkpoint(CheckpointPolicy::every_batches(2));
        let context = builder.get_or_create(move |ssc| {
            totals_of(ssc, &totals);
            // Fails once, after the state has changed.
            ssc.input::<Change>("bombs")
                .map(move |bomb| assert!(!fails.swap(false, Ordering::AcqRel), "{bomb:?}"))
                .for_each_batch("no more", |_, _: Vec<()>| ());
            Ok(())
        });
        let context = context.unwrap();
        context.start().unwrap();
        context
    };
    let context = opened(&disk, &door);
    *door.shut.lock() = true;
    batch(&context, &clock, 1);
    send(&context, [(7000, 5)]);
    batch(&context, &clock, 2);
    door.await_waiting(); // everything is copied

    fails.store(true, Ordering::Release);
    let bomb = context.input::<Change>("bombs").unwrap();
    bomb.send(&(0, 0)).unwrap().wait().unwrap();
    send(&context, [(7000, 0)]);
    // Attempts and ticks wait for the clock.
    let advance_until =
        |done: &dyn Fn() -> bool| move_until(&clock, Duration::from_millis(50), done);
    advance_until(&|| totals.lock().get(&7000) == Some(&0));
    assert!(!fails.load(Ordering::Acquire), "it was run twice");
    door.open();
    advance_until(&|| context.checkpoints().published >= 2);
    drop(context);
    let dead = disk.kill_process();
    let context = opened(&dead, &Door::new(&dead));
    assert!(context.recovered().checkpoint.unwrap().1 > 3);
    send(&context, [(7000, 1)]);
    advance_until(&|| totals.lock().get(&7000) != Some(&0));
    assert_eq!(totals.lock()[&7000], 1);
}

/// Whether the checkpoint thread waits before it encodes a state.
static ENCODING_WAITS: AtomicBool = AtomicBool::new(false);
static ENCODING: AtomicBool = AtomicBool::new(false);

#[derive(Clone, Deserialize)]
struct SlowToWrite(u64);

impl Serialize for SlowToWrite {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        while std::thread::current().name() == Some("highwater-checkpoint")
            && ENCODING_WAITS.load(Ordering::Acquire)
        {
            ENCODING.store(true, Ordering::Release);
            std::thread::yield_now();
        }
        self.0.serialize(serializer)
    }
}

/// The most that copies took while the thread that writes them stood still in the first group.
fn copied_meanwhile(bound: u64) -> u64 {
    let (disk, clock) = (
        SimDisk::new(),
        Arc::new(ManualClock::new(1_700_000_000_500)),
    );
    let memory = Arc::<AtomicU64>::default();
    let noted = Arc::clone(&memory);
    let builder = builder(&disk, 1)
        .clock(Arc::<ManualClock>::clone(&clock))
        .batches(BatchMode::Clock)
        .checkpoint(CheckpointPolicy::every_batches(1))
        .checkpoint_memory(bound)
        .listener(move |event: &ContextEvent| {
            if let ContextEvent::CheckpointCompleted { memory_bytes, .. } = event {
                noted.fetch_max(*memory_bytes, Ordering::AcqRel);
            }
        });
    ENCODING_WAITS.store(true, Ordering::Release);
    ENCODING.store(false, Ordering::Release);
    let context = builder.get_or_create(|ssc| {
        let count =
            |_: &Batch, _: &u64, new: Option<u64>, state: &mut KeyState<'_, SlowToWrite>| {
                state.update(SlowToWrite(new.unwrap_or(0)));
            };
        ssc.input::<Change>("changes")
            .map_with_state_spec("slow", StateSpec::new(count))
            .for_each_batch("out", |_, _: Vec<()>| ());
        Ok(())
    });
    let context = context.unwrap();
    context.start().unwrap();
    send(&context, (0..1000).map(|key| (key, 1)));
    for id in 1..=5 {
        clock.advance(SECOND);
        context.await_batch(id).unwrap();
        while id == 1 && !ENCODING.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    }
    ENCODING_WAITS.store(false, Ordering::Release);
    // The program's own listeners may learn of a checkpoint after others do.
    while memory.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    memory.load(Ordering::Acquire)
}

/// Between batches all of a state was copied, whatever waited to be written.
#[test]
fn copies_wait_while_there_is_no_room_for_them() {
    let (all, bounded) = (copied_meanwhile(u64::MAX), copied_meanwhile(1));
    assert!(bounded > 0 && bounded * 4 < all, "{bounded} of {all}");
}

/// Changes of a batch: keys come, change, go and come back.
fn changes_of(id: u64) -> impl Iterator<Item = Change> {
    (0..40).map(move |key| {
        let removes = (key * 7 + id).is_multiple_of(5);
        (key, if removes { 0 } else { key + id })
    })
}

const LIFE: u64 = 9;

/// A life that goes on where the ones before have ended, up to batch `LIFE`. A checkpoint follows
/// each batch: chains are put together, files are emptied, old checkpoints retired.
fn incremental_life(disk: &SimDisk, codec: StateCodec, totals: &Totals) -> Result<()> {
    let every = CheckpointPolicy::every_batches(1);
    let builder = builder(disk, 1).checkpoint(every).state_codec(codec);
    let context = open(builder, totals)?;
    context.start()?;
    let input = context.input::<Change>("changes")?;
    for id in 1..=LIFE {
        for (at, change) in changes_of(id).enumerate() {
            let sequence = id * 1000 + u64::try_from(at).unwrap();
            input.send_once("client", sequence, &change)?.wait()?;
        }
        context.run_batch()?;
    }
    context.stop(StopMode::Graceful)
}

/// F53, F54, F63: the power is cut before every operation of a program whose checkpoints build upon
/// each other. After every third cut the newest manifest is lost as well: the one before it is
/// taken, and the log still reaches it.
#[test]
fn incremental_checkpoints_survive_a_power_cut_before_every_operation() {
    let (disk, expected) = (SimDisk::new(), Totals::default());
    incremental_life(&disk, StateCodec::Named, &expected).unwrap();
    let (mutations, expected) = (disk.mutations(), expected.lock().clone());
    assert!(mutations > 300, "{mutations} mutations");
    let longest = manifests(&disk).into_iter().map(|m| m.chain.len()).max();
    assert!(longest > Some(1), "files are shared");
    let mut fell_back = 0;
    for cut in 0..mutations {
        let (disk, totals) = (SimDisk::new(), Totals::default());
        disk.cut_power_before(cut);
        // The two lives of every other cut have other codecs.
        let codecs = [StateCodec::Named, StateCodec::Compact];
        let codec = |at: u64| codecs[usize::try_from(at % 2).unwrap()];
        let _cut = incremental_life(&disk, codec(cut), &totals);
        // The other codec may need fewer files.
        if disk.power_cut_at().is_none() {
            disk.cut_power_now();
        }
        let disk = disk.restart_after_power_cut(cut);
        if cut.is_multiple_of(3) {
            fell_back += u64::from(lose_newest(&disk));
        }
        incremental_life(&disk, codec(cut / 2), &totals)
            .unwrap_or_else(|e| panic!("cut {cut}: {e}"));
        assert_eq!(*totals.lock(), expected, "cut {cut} of {mutations}");
    }
    assert!(fell_back > 50, "{fell_back}");
}

/// Removes the newest of several manifests. Whether there were several.
fn lose_newest(disk: &SimDisk) -> bool {
    let is_manifest = |file: &std::path::PathBuf| {
        let name = file.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.starts_with("manifest-") && name.ends_with(".json"))
    };
    let mut found: Vec<_> = disk.files().into_iter().filter(is_manifest).collect();
    found.sort();
    let (Some(newest), true) = (found.last(), found.len() > 1) else {
        return false;
    };
    disk.delete_file(newest);
    true
}
