//! A batch that fails is put back and run again: with any operator, in any place, on any number of
//! workers, nothing of the attempts that failed is to be seen. After the last one the context
//! stops, with all that was acknowledged, and a start of the mended program goes on.
#![allow(
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "test code"
)]

use crate::common::moving::move_until;
use crate::common::{builder, panics};
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{
    Batch, BatchFailure, BatchMode, Builder, CheckpointPolicy, DStream, Error, KeyState, Result,
    StateGuard, StateSpec, StopMode, StreamScope, StreamingContext, UpdateSpec,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

type Pair = (u8, u64);

/// In a batch, what makes a closure panic while the trap is set.
const POISON: u64 = 1_000_000;

/// The batch that has it.
const BATCH: u64 = 3;
const BATCHES: u64 = 7;

/// Goes off so many times.
#[derive(Debug, Default)]
struct Trap(AtomicU32);

impl Trap {
    fn set(&self, times: u32) {
        self.0.store(times, Ordering::SeqCst);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }

    fn step(&self) {
        let less = |times: u32| times.checked_sub(1);
        let before = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        assert!(before.is_err(), "on purpose");
    }

    fn at(&self, value: u64) {
        if value == POISON {
            self.step();
        }
    }
}

type Program = fn(&StreamScope, &DStream<Pair>, &Arc<Trap>) -> DStream<String>;

fn shown<T: std::fmt::Debug + Clone + Send + 'static>(stream: &DStream<T>) -> DStream<String> {
    stream.map(|record| format!("{record:?}"))
}

fn pairs(ssc: &StreamScope) -> DStream<Pair> {
    ssc.input::<Pair>("pairs")
}

/// Fails behind everything that the batch has changed.
fn late<T: Clone + Send + std::fmt::Debug + 'static>(
    stream: &DStream<T>,
    trap: &Arc<Trap>,
) -> DStream<String> {
    let trap = Arc::clone(trap);
    shown(stream).transform(move |records, batch: &Batch| {
        if batch.id == BATCH {
            trap.step();
        }
        records
    })
}

const SECOND: Duration = Duration::from_secs(1);

fn total(_: &u8, new: &[u64], state: &mut Option<u64>) {
    *state = Some(state.unwrap_or(0) + new.iter().sum::<u64>()).filter(|n| n % 5 != 0);
}

fn spec(
    trap: Option<Arc<Trap>>,
    timeout: Duration,
) -> StateSpec<u8, u64, Vec<u64>, (u8, usize, bool)> {
    StateSpec::new(
        move |_, key: &u8, value: Option<u64>, state: &mut KeyState<'_, Vec<u64>>| {
            let timing_out = state.is_timing_out();
            if timing_out && timeout == SECOND {
                trap.iter().for_each(|trap| trap.step());
            }
            if let Some(value) = value {
                let known = state.modify(|list| list.push(value)).is_some();
                if !known {
                    state.update(vec![value]);
                }
                trap.iter().for_each(|trap| trap.at(value));
            }
            (*key, state.get().map_or(0, Vec::len), timing_out)
        },
    )
    .initial_state([(7, vec![1]), (1, vec![2, 3])])
    .timeout(timeout)
}

/// Each has the name of what fails.
fn programs() -> Vec<(&'static str, Program)> {
    let mut all: Vec<(&'static str, Program)> = Vec::new();
    all.push(("map (", |_, pairs, trap| {
        let trap = Arc::clone(trap);
        let mapped = pairs.map(move |(key, value)| {
            trap.at(value);
            (key, value)
        });
        shown(&mapped.update_state_by_key("s", total))
    }));
    all.push(("reduce_by_key", |_, pairs, trap| {
        let trap = Arc::clone(trap);
        shown(&pairs.reduce_by_key(move |a, b| {
            trap.at(b);
            a * 3 + b
        }))
    }));
    all.push(("update_state_by_key \"s\"", |_, pairs, trap| {
        let trap = Arc::clone(trap);
        let f = move |key: &u8, new: &[u64], state: &mut Option<u64>| {
            total(key, new, state);
            new.iter().for_each(|value| trap.at(*value));
        };
        shown(&pairs.update_state_by_key("s", f))
    }));
    all.push(("update_state_by_key_changed \"s\"", |_, pairs, trap| {
        let trap = Arc::clone(trap);
        // The state is changed where it is, through every way there is, before the panic.
        let f = move |_: &u8, new: &[u64], state: &mut StateGuard<Vec<u64>>| {
            let mut copy = state.get().cloned().unwrap_or_default();
            for value in new {
                state.get_or_insert_with(Vec::new).push(*value);
                state.modify(|list| list.push(1));
                copy.push(*value);
                state.update(copy.clone());
                if value % 7 == 0 {
                    state.remove();
                }
                trap.at(*value);
            }
        };
        shown(&pairs.update_state_by_key_changed("s", f))
    }));
    all.push(("map_with_state \"s\"", |_, pairs, trap| {
        let stream = pairs.map_with_state_spec("s", spec(Some(Arc::clone(trap)), 2 * SECOND));
        shown(&stream).union(&shown(&stream.state_snapshots()))
    }));
    // Found by random programs: a key whose function panicked while it timed out never did.
    all.push(("map_with_state \"times out\"", |_, pairs, trap| {
        let spec = spec(Some(Arc::clone(trap)), SECOND);
        shown(
            &pairs
                .filter(|(_, value)| *value != POISON)
                .map_with_state_spec("times out", spec),
        )
    }));
    all.push(("update_state \"s\"", |_, pairs, trap| {
        let trap = Arc::clone(trap);
        let totals = pairs.key_by_ref(|(key, value), out| out.emit(key, *value));
        let totals = totals.reduce(|total, value| *total += value);
        let update = move |key: &u8, new, state: &mut KeyState<'_, u64>| {
            state.update(state.get().copied().unwrap_or(1) * 7 % 1009 + new);
            if *key == 4 && new >= POISON {
                trap.step();
            }
        };
        shown(&totals.update_state("s", update).cloned())
    }));
    all.push(("reduce_by_key_and_window \"w\"", |_, pairs, trap| {
        let trap = Arc::clone(trap);
        let f = move |a: u64, b: u64| {
            trap.at(a);
            trap.at(b);
            (a * 3 + b) % 1_000_003
        };
        shown(&pairs.reduce_by_key_and_window("w", f, 3 * SECOND, SECOND))
    }));
    all.push((
        "reduce_by_key_and_window_inverse \"w\"",
        |_, pairs, trap| {
            let trap = Arc::clone(trap);
            let f = move |a: u64, b: u64| {
                trap.at(a);
                trap.at(b);
                a + b
            };
            let less = |a, b| a - b;
            shown(&pairs.reduce_by_key_and_window_inverse("w", f, less, 3 * SECOND, SECOND))
        },
    ));
    // From here on a stage fails behind all that the batch has changed.
    all.push(("transform", |_, pairs, trap| {
        let last = pairs.map_with_state_spec("s", spec(None, 2 * SECOND));
        late(&last.union(&last), trap)
    }));
    all.push(("transform", |_, pairs, trap| {
        let f = |_: &Batch, key: &u8, new: &[u64], state: &mut StateGuard<u64>| {
            if !new.is_empty() {
                *state.get_or_insert_with(|| u64::from(*key)) += new.iter().sum::<u64>();
            }
        };
        let spec = UpdateSpec::new(f).time_to_live(2 * SECOND);
        let spec = spec.initial_state([(7, 1), (1, 2)]);
        late(&pairs.update_state_by_key_spec("s", spec), trap)
    }));
    all.push(("transform", |_, pairs, trap| {
        let windowed = pairs.window("w", 3 * SECOND, 2 * SECOND);
        let counts = windowed.count_by_window("c", 4 * SECOND, 2 * SECOND);
        let all = pairs.group_by_key_and_window("g", 2 * SECOND, SECOND);
        let all = shown(&all).transform_with(&shown(&pairs.count()), |a, b, _| {
            a.into_iter().chain(b).collect::<Vec<_>>()
        });
        // They have records in other batches, and so an output of their own.
        counts.for_each_batch("counts", |_, _| ());
        late(&all, trap)
    }));
    all.push(("transform", |_, pairs, trap| {
        let (left, right) = (pairs.clone(), pairs.filter(|(key, _)| key % 2 == 0));
        let joined = left.full_outer_join(&right).map(|pair| format!("{pair:?}"));
        let combined = left.combine_by_key(|v| v, |a, v| a * 2 + v, |a, b| a * 4 + b);
        late(&joined.union(&shown(&combined.cogroup(&right))), trap)
    }));
    all.push(("transform", |ssc, pairs, trap| {
        let seen = ssc.counter("seen");
        let newest = ssc.broadcast("newest", pairs.clone());
        let counted = pairs.map(move |pair| {
            seen.add(1);
            (pair, seen.value(), newest.get().map(|newest| *newest))
        });
        let counted = counted.persist();
        late(&counted.repartition(3), trap)
    }));
    all.push(("transform", |_, pairs, trap| {
        let totals = pairs.reduce_by_key(|a, b| a + b);
        totals.datasets("totals").persist(1 << 20);
        late(&totals, trap)
    }));
    all
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Seen {
    outputs: BTreeMap<u64, Vec<String>>,
    counters: Vec<(String, u64)>,
    datasets: Vec<Vec<Pair>>,
    /// Keys of states.
    keys: Vec<(String, u64)>,
}

type Outputs = Arc<Mutex<BTreeMap<u64, Vec<String>>>>;

/// What a batch is sent. The poison is the first, the last, or one in the middle, and each key has
/// its worker.
fn sent(batch: u64, place: usize) -> Vec<Pair> {
    let mut all: Vec<Pair> = (0..batch * 5)
        .map(|n| ((n * batch % 6) as u8, n * 7 % 50 + batch))
        .filter(|(key, _)| batch != 5 || *key < 2) // some time out
        .collect();
    if batch == BATCH {
        let place = [0, all.len() / 2, all.len()][place % 3];
        all.insert(place, (4, POISON));
        all.push((4, 1)); // so that there is something to combine with
        all.insert(0, (4, 2));
    }
    all
}

struct Run {
    workers: usize,
    /// How often the trap goes off.
    times: u32,
    place: usize,
    change: fn(Builder) -> Builder,
}

fn open(
    disk: &SimDisk,
    program: Program,
    run: &Run,
    trap: &Arc<Trap>,
    seen: &Outputs,
) -> Result<StreamingContext> {
    let (trap, seen) = (Arc::clone(trap), Arc::clone(seen));
    let builder = (run.change)(builder(disk, run.workers)).chunk_bytes(60);
    let context = builder.get_or_create(move |ssc| {
        program(ssc, &pairs(ssc), &trap).for_each_batch("out", move |batch, records| {
            let before = seen.lock().insert(batch.id, records.clone());
            assert!(before.is_none_or(|before| before == records), "{batch}");
        });
        Ok(())
    })?;
    Ok(context)
}

/// How many keys each state has after each batch.
type KeyCounts = BTreeMap<u64, Vec<u64>>;

/// Runs batches from where the context is to the end; the error of one that failed.
fn live(context: &StreamingContext, run: &Run, trap: &Trap) -> Result<KeyCounts> {
    context.start()?;
    let input = context.input::<Pair>("pairs")?;
    let done = context.progress().last_batch.unwrap_or(0);
    let mut keys = KeyCounts::new();
    for batch in done + 1..=BATCHES {
        if batch == BATCH {
            trap.set(run.times);
        }
        input.send_all(&sent(batch, run.place))?.wait()?;
        assert_eq!(context.run_batch()?.id, batch);
        let states = context.states().into_iter();
        keys.insert(batch, states.map(|state| state.keys).collect());
    }
    Ok(keys)
}

fn summary(context: &StreamingContext, outputs: &Outputs) -> Seen {
    let mut seen = Seen {
        outputs: outputs.lock().clone(),
        counters: context.counters(),
        ..Seen::default()
    };
    if let Ok(totals) = context.datasets::<Pair>("totals") {
        let batches = 1..=BATCHES;
        seen.datasets = batches
            .map(|b| totals.batch(b).unwrap().collect().unwrap())
            .collect();
    }
    for state in context.states() {
        seen.keys.push((state.name, state.keys));
    }
    seen
}

fn honest(builder: Builder) -> Builder {
    builder
}

fn rebuilding(builder: Builder) -> Builder {
    builder.always_rebuild(true)
}

fn quiet<R>(work: impl FnOnce() -> R) -> R {
    panics::expect_on_purpose();
    work()
}

fn undisturbed(program: Program, place: usize) -> (Seen, KeyCounts) {
    let (trap, outputs) = <(Arc<Trap>, Outputs)>::default();
    let run = Run {
        workers: 1,
        times: 0,
        place,
        change: honest,
    };
    let context = open(&SimDisk::new(), program, &run, &trap, &outputs).unwrap();
    let keys = live(&context, &run, &trap).unwrap();
    assert_eq!(context.progress().failed_attempts, 0);
    (summary(&context, &outputs), keys)
}

/// For every kind of operator: the batch fails once or twice, at the first record, in the middle,
/// at the last one, and a checkpoint is taken after it. Everything is as if it had not failed.
#[test]
fn nothing_of_a_failed_attempt_is_seen_with_any_operator() {
    quiet(|| {
        for (at, (name, program)) in programs().into_iter().enumerate() {
            for place in 0..3 {
                let (expected, expected_keys) = undisturbed(program, place);
                for (workers, times, change) in [
                    (1, 1, honest as fn(Builder) -> Builder),
                    (2, 2, honest),
                    (3, 1, honest),
                    (3, 2, honest),
                    (1, 2, rebuilding),
                    (2, 1, rebuilding),
                ] {
                    let (trap, outputs) = <(Arc<Trap>, Outputs)>::default();
                    let run = Run {
                        workers,
                        times,
                        place,
                        change,
                    };
                    let disk = SimDisk::new();
                    let context = open(&disk, program, &run, &trap, &outputs).unwrap();
                    let keys = live(&context, &run, &trap).unwrap();
                    let what = format!(
                        "program {at}, {name}: {workers} workers, {times} times, place {place}"
                    );
                    assert!(!trap.is_set(), "{what}: the trap did not go off");
                    assert_eq!(summary(&context, &outputs), expected, "{what}");
                    assert_eq!(keys, expected_keys, "{what}");
                    let failed = context.progress().failed_attempts;
                    assert!(
                        failed >= 1 && failed <= u64::from(times),
                        "{what}: {failed}"
                    );
                    assert_eq!(context.failed_attempt(), None);
                    // What a checkpoint has of it is the same, too.
                    drop(context);
                    let again = open(&disk, program, &run, &trap, &outputs).unwrap();
                    again.start().unwrap();
                    assert_eq!(
                        summary(&again, &outputs).counters,
                        expected.counters,
                        "{what}"
                    );
                }
            }
        }
    });
}

fn failure(error: &Error) -> &BatchFailure {
    match error {
        Error::Ended(error) => failure(error),
        Error::Batch(failure) => failure,
        other => panic!("{other}"),
    }
}

/// After the last attempt the context stops with operator, batch, place and key; the mended program
/// goes on where it was.
#[test]
fn after_the_last_attempt_the_context_stops_and_a_mended_program_goes_on() {
    quiet(|| {
        for (name, program) in programs() {
            let (expected, _) = undisturbed(program, 1);
            for workers in 1..=4 {
                for change in [honest as fn(Builder) -> Builder, rebuilding] {
                    let (trap, outputs) = <(Arc<Trap>, Outputs)>::default();
                    let mut run = Run {
                        workers,
                        times: 1000,
                        place: 1,
                        change,
                    };
                    let disk = SimDisk::new();
                    let context = open(&disk, program, &run, &trap, &outputs).unwrap();
                    let error = live(&context, &run, &trap).unwrap_err();
                    let failure = failure(&error);
                    assert_eq!((failure.batch.id, failure.attempts), (BATCH, 3), "{error}");
                    assert!(failure.operator.starts_with(name), "{name}: {error}");
                    assert!(error.to_string().contains("batch 3 (log "), "{error}");
                    assert!(
                        error.to_string().contains("the last of 3 attempts"),
                        "{error}"
                    );
                    let keyed = !["transform", "map ("].contains(&name);
                    let key = failure.key.as_deref();
                    match name.contains("times out") {
                        // Whichever worker was faster.
                        true => assert!(matches!(key, Some("1" | "7")), "{error}"),
                        false => assert_eq!(key, keyed.then_some("4"), "{error}"),
                    }
                    assert!(failure.lsn.is_some() || name != "map (", "{error}");
                    let input = context.input::<Pair>("pairs").unwrap();
                    assert!(matches!(input.send(&(1, 1)), Err(Error::Stopped)));
                    assert!(context.stop(StopMode::Graceful).is_err());
                    drop((context, input));

                    trap.set(0);
                    run.times = 0;
                    let context = open(&disk, program, &run, &trap, &outputs).unwrap();
                    live(&context, &run, &trap).unwrap();
                    assert_eq!(
                        summary(&context, &outputs).outputs,
                        expected.outputs,
                        "{name}"
                    );
                    assert_eq!(context.counters(), expected.counters);
                }
            }
        }
    });
}

/// A name that is compared without case.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Name(String);

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_ascii_lowercase().hash(state);
    }
}

/// The check for equal keys of other bytes remembers the newest one: a second attempt would have
/// taken what the first has refused, and counted the two apart.
#[test]
fn what_the_engine_refuses_is_not_tried_again() {
    let context = builder(&SimDisk::new(), 1)
        .get_or_create(|ssc| {
            let f = |_: &Name, new: &[u64], state: &mut Option<u64>| {
                *state = Some(state.unwrap_or(0) + new.iter().sum::<u64>());
            };
            let counts = ssc.input::<(Name, u64)>("names");
            let counts = counts.update_state_by_key("s", f);
            counts.for_each_batch("out", |_, _| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let input = context.input::<(Name, u64)>("names").unwrap();
    let send = |name: &str| {
        let record = (Name(name.to_owned()), 1);
        input.send(&record).unwrap().wait().unwrap();
        context.run_batch()
    };
    send("Other").unwrap();
    let error = send("other").unwrap_err();
    assert!(
        error.to_string().contains("serialises to something else"),
        "{error}"
    );
    assert_eq!(failure(&error).attempts, 1, "{error}");
    assert_eq!(context.progress().failed_attempts, 0);
}

// ---- workers that end

/// How often the next copies of a record panic.
static FRAGILE: Trap = Trap(AtomicU32::new(0));

/// A record whose copy may panic: the engine copies where two operators read one stream, which is
/// outside of all that it guards.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Fragile(u64);

impl Clone for Fragile {
    fn clone(&self) -> Self {
        FRAGILE.at(self.0);
        Self(self.0)
    }
}

fn fragile(ssc: &StreamScope, seen: &Outputs) {
    let pairs = pairs(ssc);
    let totals = pairs.update_state_by_key("s", |_, new: &[u64], state: &mut Option<u64>| {
        *state = Some(state.unwrap_or(0) + new.iter().sum::<u64>());
    });
    let counter = ssc.counter("seen");
    let newest = ssc.broadcast("newest", totals.map(|(_, total)| total));
    let last = pairs.map(move |(key, value)| {
        counter.add(1);
        (key, (value, counter.value(), newest.get().map(|n| *n)))
    });
    let windowed = totals.reduce_by_key_and_window("w", |a, b| a.max(b), 3 * SECOND, SECOND);
    // A node of its own, which two read.
    let poisoned = pairs
        .reduce_by_key(u64::max)
        .transform(|batch: Vec<Pair>, _: &Batch| {
            batch
                .into_iter()
                .map(|(_, value)| Fragile(value))
                .collect::<Vec<_>>()
        });
    let all = [
        shown(&totals),
        shown(&last.join(&windowed)),
        shown(&poisoned),
        shown(&poisoned),
    ];
    let seen = Arc::clone(seen);
    ssc.union(all.iter().cloned())
        .for_each_batch("out", move |batch, records: Vec<String>| {
            let before = seen.lock().insert(batch.id, records.clone());
            assert!(before.is_none_or(|before| before == records), "{batch}");
        });
}

fn open_fragile(disk: &SimDisk, workers: usize, every: u64, seen: &Outputs) -> StreamingContext {
    let seen = Arc::clone(seen);
    builder(disk, workers)
        .checkpoint(CheckpointPolicy::every_batches(every))
        .get_or_create(move |ssc| {
            fragile(ssc, &seen);
            Ok(())
        })
        .unwrap()
}

fn run_fragile(context: &StreamingContext, deaths: u32) -> Result<()> {
    let input = context.input::<Pair>("pairs")?;
    let done = context.progress().last_batch.unwrap_or(0);
    for batch in done + 1..=BATCHES {
        if batch == BATCH {
            FRAGILE.set(deaths);
        }
        input.send_all(&sent(batch, 1))?.wait()?;
        assert_eq!(context.run_batch()?.id, batch);
    }
    Ok(())
}

/// A worker that ends takes the state with it. It is built again in process, from a checkpoint and
/// the log, or from the log alone; nothing hangs.
#[test]
fn workers_that_end_are_built_again() {
    quiet(|| {
        let expected = {
            let outputs = Outputs::default();
            let context = open_fragile(&SimDisk::new(), 1, 100, &outputs);
            context.start().unwrap();
            run_fragile(&context, 0).unwrap();
            let keys = context.states();
            let outputs = outputs.lock().clone();
            (
                outputs,
                context.counters(),
                keys.into_iter().map(|s| s.keys).collect::<Vec<_>>(),
            )
        };
        for workers in 1..=4 {
            // Without a checkpoint, with one just before, one that is due with the batch itself.
            for every in [100, 1, 2, 3] {
                for deaths in [1, 2] {
                    let outputs = Outputs::default();
                    let context = open_fragile(&SimDisk::new(), workers, every, &outputs);
                    context.start().unwrap();
                    run_fragile(&context, deaths).unwrap();
                    assert!(!FRAGILE.is_set());
                    let keys = context.states().into_iter().map(|s| s.keys);
                    let found = (outputs.lock().clone(), context.counters(), keys.collect());
                    assert_eq!(
                        found, expected,
                        "{workers} workers, checkpoints every {every}"
                    );
                    assert!(context.progress().failed_attempts >= 1);
                    context.stop(StopMode::Graceful).unwrap();
                }
                // And when there are no attempts left.
                let (disk, outputs) = (SimDisk::new(), Outputs::default());
                let context = open_fragile(&disk, workers, every, &outputs);
                context.start().unwrap();
                let error = run_fragile(&context, 1000).unwrap_err().to_string();
                assert!(
                    error.contains("a worker thread ended unexpectedly"),
                    "{error}"
                );
                assert!(error.contains("on purpose"), "{error}");
                drop(context);
                FRAGILE.set(0);
                let context = open_fragile(&disk, workers, every, &outputs);
                context.start().unwrap();
                run_fragile(&context, 0).unwrap();
                assert_eq!(*outputs.lock(), expected.0);
            }
        }
    });
}

/// How often the next states that are dropped panic.
static DROPS: Trap = Trap(AtomicU32::new(0));

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Dropped(u64);

impl Drop for Dropped {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            DROPS.step();
        }
    }
}

/// A state that panics while it is dropped, in the middle of putting a batch back: a part of the
/// keys would be as before, a part not. So all of it is built again.
#[test]
fn a_batch_that_cannot_be_put_back_is_built_again() {
    quiet(|| {
        let run = |workers, times| {
            let (trap, seen) = <(Arc<Trap>, Outputs)>::default();
            let (of_program, out) = (Arc::clone(&trap), Arc::clone(&seen));
            let context = builder(&SimDisk::new(), workers)
                .key_groups(1) // so that one panic would lose what is known of several keys
                .get_or_create(move |ssc| {
                    let f = |key: &u8, value, state: &mut KeyState<'_, Dropped>| {
                        if state.modify(|state| state.0 += value).is_none() {
                            state.update(Dropped(value));
                        }
                        (*key, state.get().map(|state| state.0))
                    };
                    let totals = pairs(ssc).map_with_state("s", f);
                    let checked = totals.transform(move |records, batch: &Batch| {
                        if batch.id == BATCH && of_program.is_set() {
                            DROPS.set(1);
                            of_program.step();
                        }
                        records
                    });
                    shown(&checked).for_each_batch("out", move |batch, records| {
                        out.lock().insert(batch.id, records);
                    });
                    Ok(())
                })
                .unwrap();
            let run = Run {
                workers,
                times,
                place: 1,
                change: honest,
            };
            live(&context, &run, &trap).unwrap();
            assert!(!DROPS.is_set());
            let outputs = seen.lock().clone();
            (outputs, context.progress().failed_attempts)
        };
        let (expected, none) = run(1, 0);
        assert_eq!(none, 0);
        for workers in [1, 2] {
            let (found, failed) = run(workers, 1);
            assert_eq!(found, expected, "{workers} workers");
            assert_eq!(failed, 2, "the attempt, and putting it back");
        }
    });
}

/// A start that replays batches meets the same failures.
#[test]
fn a_batch_that_fails_while_it_is_replayed_is_run_again() {
    quiet(|| {
        for change in [honest as fn(Builder) -> Builder, rebuilding] {
            for (name, program) in programs() {
                let (expected, _) = undisturbed(program, 0);
                let (trap, outputs) = <(Arc<Trap>, Outputs)>::default();
                let never = |b: Builder| b.checkpoint(CheckpointPolicy::every_batches(100));
                let mut run = Run {
                    workers: 2,
                    times: 0,
                    place: 0,
                    change: never,
                };
                let disk = SimDisk::new();
                let context = open(&disk, program, &run, &trap, &outputs).unwrap();
                live(&context, &run, &trap).unwrap();
                drop(context);
                trap.set(2);
                run.change = change;
                let context = open(&disk, program, &run, &trap, &outputs).unwrap();
                context.start().unwrap();
                assert!(!trap.is_set(), "{name}: all batches were replayed");
                assert_eq!(context.progress().last_batch, Some(BATCHES));
                assert!(context.progress().failed_attempts >= 1);
                let found = summary(&context, &outputs);
                assert_eq!(found.counters, expected.counters, "{name}");
                assert_eq!(found.keys, expected.keys, "{name}");
                let input = context.input::<Pair>("pairs").unwrap();
                input.send_all(&sent(2, 0)).unwrap().wait().unwrap();
                context.run_batch().unwrap();
            }
        }
    });
}

// ---- by the clock

/// A program by a clock that only the test moves, which fails while the trap is set.
fn by_the_clock(
    disk: &SimDisk,
    clock: &Arc<ManualClock>,
    trap: &Arc<Trap>,
    change: impl FnOnce(Builder) -> Builder,
    out: impl FnMut(&Batch, Vec<Pair>) + Send + 'static,
) -> StreamingContext {
    let (trap, out) = (Arc::clone(trap), Mutex::new(out));
    let builder = builder(disk, 2)
        .clock(Arc::<ManualClock>::clone(clock))
        .batches(BatchMode::Clock);
    let context = change(builder)
        .get_or_create(move |ssc| {
            let totals = pairs(ssc).update_state_by_key_changed(
                "s",
                move |_, new: &[u64], state: &mut StateGuard<u64>| {
                    for value in new {
                        *state.get_or_insert_with(|| 0) += value;
                        trap.at(*value);
                    }
                },
            );
            totals.for_each_batch("out", move |batch, records| out.lock()(batch, records));
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    context
}

/// Waits for the thing itself; nothing else is to happen meanwhile.
fn until(mut is: impl FnMut() -> bool) {
    while !is() {
        std::thread::yield_now();
    }
}

/// Moves the clock until `is`.
fn moving(clock: &ManualClock, is: impl FnMut() -> bool) {
    move_until(clock, SECOND / 50, is);
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(1_700_000_000_000))
}

/// The pause is by the clock of the context; what an observer sees of it says when it ends.
#[test]
fn time_passes_between_two_attempts_and_is_shown() {
    quiet(|| {
        let (clock, trap) = (clock(), Arc::new(Trap::default()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let out = Arc::clone(&seen);
        let context = by_the_clock(
            &SimDisk::new(),
            &clock,
            &trap,
            |b| b.max_batch_failures(4),
            move |_, records| out.lock().extend(records),
        );
        trap.set(3);
        let input = context.input::<Pair>("pairs").unwrap();
        input.send(&(1, POISON)).unwrap().wait().unwrap();
        // Once, or it would move while the failure is told.
        clock.advance(SECOND);
        for (attempt, ms) in [(1, 200), (2, 400), (3, 800)] {
            let failed = || context.failed_attempt().filter(|f| f.attempt == attempt);
            until(|| failed().is_some());
            let failed = failed().unwrap();
            assert_eq!(failed.next_in, Duration::from_millis(ms));
            assert_eq!((failed.batch.id, failed.max_failures), (1, 4));
            assert!(failed.message.contains("on purpose"), "{}", failed.message);
            assert!(seen.lock().is_empty());
            // Nothing happens before the time has come.
            if attempt == 1 {
                clock.advance(Duration::from_millis(100));
                for _ in 0..1000 {
                    std::thread::yield_now();
                }
                assert_eq!(context.failed_attempt().unwrap().attempt, 1);
            }
            clock.advance(failed.next_in);
        }
        until(|| context.failed_attempt().is_none());
        moving(&clock, || !seen.lock().is_empty());
        assert_eq!(*seen.lock(), [(1, POISON)]);
        assert_eq!(context.progress().failed_attempts, 3);
        context.stop(StopMode::Graceful).unwrap();
    });
}

/// A stop does not wait for the pause. A graceful one makes the attempts that are left.
#[test]
fn a_stop_ends_the_wait_for_the_next_attempt() {
    quiet(|| {
        for (mode, times, succeeds) in [
            (StopMode::Graceful, 3, true),
            (StopMode::Graceful, 1000, false),
            (StopMode::Immediate, 1000, false),
        ] {
            let (clock, trap, disk) = (clock(), Arc::new(Trap::default()), SimDisk::new());
            let seen = Arc::new(Mutex::new(Vec::new()));
            let out = Arc::clone(&seen);
            let context = by_the_clock(
                &disk,
                &clock,
                &trap,
                |b| b.max_batch_failures(5),
                move |_, records| out.lock().extend(records),
            );
            trap.set(times);
            let input = context.input::<Pair>("pairs").unwrap();
            input.send(&(1, POISON)).unwrap().wait().unwrap();
            clock.advance(SECOND);
            until(|| context.failed_attempt().is_some());
            input.send(&(2, 5)).unwrap().wait().unwrap(); // acknowledged meanwhile
            // The clock stands still from here on.
            let stopped = context.stop(mode);
            assert_eq!(stopped.is_ok(), succeeds, "{stopped:?}");
            if let Err(error) = stopped {
                let attempts = failure(&error).attempts;
                assert_eq!(attempts, if mode == StopMode::Immediate { 1 } else { 5 });
                assert!(context.await_termination().is_err());
                drop((context, input));
                trap.set(0);
                let out = Arc::clone(&seen);
                let context = by_the_clock(
                    &disk,
                    &clock,
                    &trap,
                    |b| b,
                    move |_, records| {
                        out.lock().extend(records);
                    },
                );
                context.stop(StopMode::Graceful).unwrap();
            }
            assert_eq!(*seen.lock(), [(1, POISON), (2, 5)], "{mode:?}");
        }
    });
}

/// The next batch is begun while the one before is committed. That it fails changes nothing for
/// either.
#[test]
fn a_batch_that_was_begun_early_fails_alone() {
    quiet(|| {
        for change in [honest as fn(Builder) -> Builder, rebuilding] {
            for times in [1, 2, 1000] {
                let (clock, trap, disk) = (clock(), Arc::new(Trap::default()), SimDisk::new());
                let (entered, is_in) = mpsc::channel();
                let (go, may_go) = mpsc::channel::<()>();
                let seen = Arc::new(Mutex::new(BTreeMap::new()));
                let out = Arc::clone(&seen);
                let mut first = true;
                // Each frame is a batch, which is cut at once.
                let settings = |b: Builder| {
                    let never = CheckpointPolicy::every_batches(100);
                    change(b.checkpoint(never).max_batch_bytes(1))
                };
                let context =
                    by_the_clock(&disk, &clock, &trap, settings, move |batch, records| {
                        if !records.is_empty() {
                            out.lock().insert(batch.id, records);
                        }
                        if std::mem::take(&mut first) {
                            entered.send(()).unwrap();
                            may_go.recv().unwrap();
                        }
                    });
                let input = context.input::<Pair>("pairs").unwrap();
                let batch = |records: &[Pair]| {
                    let before = context.log().stats().records;
                    input.send_all(records).unwrap().wait().unwrap();
                    let count = before + records.len() as u64;
                    until(|| context.log().stats().records > count); // its cut is there
                };
                batch(&[(1, 3), (2, 4)]);
                is_in.recv().unwrap(); // the first batch is being committed
                trap.set(times);
                batch(&[(1, 1)]);
                batch(&[(1, POISON), (2, 6)]);
                batch(&[(1, 1)]);
                // The third one is begun while the second is committed.
                go.send(()).unwrap();
                if times == 1000 {
                    moving(&clock, || {
                        let now = Duration::ZERO;
                        context.await_termination_or_timeout(now).is_err()
                    });
                    assert_eq!(seen.lock().len(), 2, "the second one was committed");
                    drop((context, input));
                    trap.set(0);
                    let out = Arc::clone(&seen);
                    let context =
                        by_the_clock(&disk, &clock, &trap, settings, move |b, records| {
                            if !records.is_empty() {
                                out.lock().insert(b.id, records);
                            }
                        });
                    context.stop(StopMode::Graceful).unwrap();
                } else {
                    moving(&clock, || seen.lock().len() == 4);
                    assert!(context.progress().failed_attempts >= 1);
                    context.stop(StopMode::Graceful).unwrap();
                }
                let sorted = |records: &Vec<Pair>| {
                    let mut records = records.clone();
                    records.sort_unstable();
                    records
                };
                let found: Vec<Vec<Pair>> = seen.lock().values().map(sorted).collect();
                let expected = [
                    vec![(1, 3), (2, 4)],
                    vec![(1, 4)],
                    vec![(1, 4 + POISON), (2, 10)],
                    vec![(1, 5 + POISON)],
                ];
                assert_eq!(found, expected, "{times} times");
            }
        }
    });
}

/// The same at a start that replays, where the next batch is always there.
#[test]
fn a_batch_that_was_begun_early_fails_alone_in_a_replay() {
    quiet(|| {
        for (times, change) in [
            (1, honest as fn(Builder) -> Builder),
            (2, honest),
            (2, rebuilding),
        ] {
            let (trap, disk) = (Arc::new(Trap::default()), SimDisk::new());
            let never = |b: Builder| change(b.checkpoint(CheckpointPolicy::every_batches(100)));
            let by_hand = |b: Builder| never(b).batches(BatchMode::Manual);
            let first = by_the_clock(&disk, &clock(), &trap, by_hand, |_, _| ());
            let input = first.input::<Pair>("pairs").unwrap();
            for value in [1, 2, POISON, 3, 4] {
                input
                    .send_all(&[(1, value), (2, 1)])
                    .unwrap()
                    .wait()
                    .unwrap();
                first.run_batch().unwrap();
            }
            drop((first, input));
            let (clock, seen) = (clock(), Arc::new(Mutex::new(Vec::new())));
            let out = Arc::clone(&seen);
            trap.set(times);
            let again = by_the_clock(&disk, &clock, &trap, never, move |_, records| {
                out.lock().extend(records);
            });
            let input = again.input::<Pair>("pairs").unwrap();
            input.send_all(&[(1, 0), (2, 0)]).unwrap().wait().unwrap();
            moving(&clock, || !seen.lock().is_empty());
            assert!(!trap.is_set());
            let mut seen = seen.lock().clone();
            seen.sort_unstable();
            assert_eq!(seen, [(1, 10 + POISON), (2, 5)], "{times} times");
            assert_eq!(again.progress().failed_attempts, u64::from(times));
        }
    });
}

/// Senders wait for room while a batch is run again, and get on when it succeeds, or learn of the
/// end when it does not. What was acknowledged is in the batches, once.
#[test]
fn senders_that_wait_for_room_get_on_or_learn_of_the_end() {
    quiet(|| {
        for times in [2, 1000] {
            let (clock, trap, disk) = (clock(), Arc::new(Trap::default()), SimDisk::new());
            let totals = Arc::new(Mutex::new(BTreeMap::new()));
            let out = Arc::clone(&totals);
            let bound = |b: Builder| b.max_batch_bytes(16 << 10).max_unprocessed_bytes(16 << 10);
            let context = by_the_clock(&disk, &clock, &trap, bound, move |_, records| {
                out.lock().extend(records);
            });
            trap.set(times);
            let input = context.input::<Pair>("pairs").unwrap();
            input.send(&(0, POISON)).unwrap().wait().unwrap();
            let acknowledged = Arc::new(AtomicU32::new(0));
            let counted = Arc::clone(&acknowledged);
            let sender = std::thread::spawn(move || {
                for _ in 0..3000 {
                    input.send(&(1, 1))?.wait()?;
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                Ok::<_, Error>(())
            });
            moving(&clock, || sender.is_finished());
            let sent = sender.join().unwrap();
            let acknowledged = u64::from(acknowledged.load(Ordering::SeqCst));
            if times == 1000 {
                assert!(matches!(sent, Err(Error::Stopped)), "{sent:?}");
                assert!(acknowledged < 3000);
                assert!(context.stop(StopMode::Graceful).is_err());
                drop(context);
                trap.set(0);
                let out = Arc::clone(&totals);
                let context = by_the_clock(&disk, &clock, &trap, bound, move |_, records| {
                    out.lock().extend(records);
                });
                context.stop(StopMode::Graceful).unwrap();
            } else {
                sent.unwrap();
                context.stop(StopMode::Graceful).unwrap();
            }
            let totals = totals.lock();
            let found = totals.get(&1).copied().unwrap_or(0);
            assert!(
                found == acknowledged || found == acknowledged + 1,
                "{found} {acknowledged}"
            );
            assert_eq!(totals.get(&0), Some(&POISON));
        }
    });
}

// ---- crashes

/// The power is cut before each disk operation of a run in which batches fail again and again; and
/// the process is killed in an attempt.
#[test]
fn a_crash_between_two_attempts_loses_and_repeats_nothing() {
    quiet(|| {
        let programs = programs();
        for at in [4, 7, 9, 13] {
            let (name, program) = programs[at];
            let expected = undisturbed(program, 0).0.outputs;
            for change in [honest as fn(Builder) -> Builder, rebuilding] {
                let (trap, outputs) = <(Arc<Trap>, Outputs)>::default();
                let run = Run {
                    workers: 2,
                    times: 2,
                    place: 0,
                    change,
                };
                let lives = |disk: &SimDisk| -> Result<()> {
                    let context = open(disk, program, &run, &trap, &outputs)?;
                    live_once(&context, &run, &trap)?;
                    context.stop(StopMode::Graceful)
                };
                let disk = SimDisk::new();
                lives(&disk).unwrap();
                let mutations = disk.mutations();
                assert!(mutations > 50, "{mutations}");
                for cut in (0..mutations).step_by(11) {
                    outputs.lock().clear();
                    let disk = SimDisk::new();
                    disk.cut_power_before(cut);
                    let _ = lives(&disk);
                    let disk = disk.restart_after_power_cut(cut);
                    trap.set(1);
                    lives(&disk).unwrap();
                    let mut found = outputs.lock().clone();
                    found.retain(|batch, _| *batch <= BATCHES);
                    assert_eq!(found, expected, "{name}: cut before {cut}");
                }
            }
        }
    });
}

/// Sends what no batch has yet, with a sequence, as a client does that sends again what was not
/// acknowledged.
fn live_once(context: &StreamingContext, run: &Run, trap: &Trap) -> Result<()> {
    context.start()?;
    let input = context.input::<Pair>("pairs")?;
    let done = context.progress().last_batch.unwrap_or(0);
    for batch in done + 1..=BATCHES {
        if batch == BATCH {
            trap.set(run.times);
        }
        for (n, pair) in (0..).zip(sent(batch, run.place)) {
            input.send_once("client", batch * 1000 + n, &pair)?.wait()?;
        }
        assert_eq!(context.run_batch()?.id, batch);
    }
    Ok(())
}

/// The process is killed while a closure runs, in the first attempt or the second.
#[test]
fn a_process_that_is_killed_in_an_attempt_goes_on_at_the_next_start() {
    quiet(|| {
        for (name, program) in programs() {
            let expected = undisturbed(program, 2).0.outputs;
            for workers in [1, 3] {
                let (trap, outputs) = <(Arc<Trap>, Outputs)>::default();
                let run = Run {
                    workers,
                    times: 2,
                    place: 2,
                    change: honest,
                };
                let disk = SimDisk::new();
                let context = open(&disk, program, &run, &trap, &outputs).unwrap();
                let input = context.input::<Pair>("pairs").unwrap();
                context.start().unwrap();
                for batch in 1..=BATCH {
                    input
                        .send_all(&sent(batch, run.place))
                        .unwrap()
                        .wait()
                        .unwrap();
                    if batch < BATCH {
                        context.run_batch().unwrap();
                    }
                }
                trap.set(1000); // as if the kill came in the last attempt of many
                let _ = context.run_batch().unwrap_err();
                let disk = disk.kill_process();
                drop((context, input));
                trap.set(2);
                let context = open(&disk, program, &run, &trap, &outputs).unwrap();
                live(&context, &run, &trap).unwrap();
                assert_eq!(
                    outputs.lock().clone(),
                    expected,
                    "{name}, {workers} workers"
                );
            }
        }
    });
}
