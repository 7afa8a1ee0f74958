//! Ticks without batches of their own in the log, ticks in parts, and what a restart makes of them.
#![allow(
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "test code"
)]

use crate::common::builder;
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::wal::{FrameKind, Lsn};
use highwater_engine::{
    BatchMode, BoxError, Builder, CheckpointPolicy, Error, Mismatch, Result, StopMode, StreamScope,
    StreamingContext,
};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const START: u64 = 1_700_000_000_000;

/// What is seen of a batch: its time, and the state of every key that was visited.
type Row = (u64, Vec<(String, u64)>);

/// The same with its number, and its time in seconds after `START`.
type Numbered = (u64, u64, Vec<(String, u64)>);

/// The batches by number. A batch that comes again must be the same.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<u64, Row>>>);

impl Seen {
    fn note(&self, id: u64, row: Row) {
        let before = self.0.lock().insert(id, row.clone());
        assert!(
            before.as_ref().is_none_or(|before| *before == row),
            "batch {id} was {before:?} and is {row:?}"
        );
    }

    fn rows(&self) -> Vec<Numbered> {
        let seen = self.0.lock();
        let rows = seen.iter().map(|(id, (time_ms, records))| {
            assert_eq!(time_ms % 1000, 0);
            (*id, (time_ms - START) / 1000, records.clone())
        });
        rows.collect()
    }
}

/// Holds a batch until it is told to go on.
#[derive(Default)]
struct Gate {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    /// Closed from now on.
    fn close(&self) {
        *self.state.lock() = (true, false);
    }

    fn open(&self) {
        self.state.lock().0 = false;
        self.changed.notify_all();
    }

    /// Returns when a batch waits at the gate.
    fn await_batch(&self) {
        let mut state = self.state.lock();
        while !state.1 {
            self.changed.wait(&mut state);
        }
    }

    fn pass(&self) {
        let mut state = self.state.lock();
        state.1 = true;
        self.changed.notify_all();
        while state.0 {
            self.changed.wait(&mut state);
        }
    }
}

/// Counts how often each key was visited and what it has received, as `visits * 100 + values`.
fn visits(ssc: &StreamScope, seen: Seen, gate: Arc<Gate>) -> Result<(), BoxError> {
    ssc.input::<String>("lines")
        .map(|key: String| (key, 1_u64))
        .update_state_by_key("visits", |_, new: &[u64], state: &mut Option<u64>| {
            *state = Some(state.unwrap_or(0) + 100 + new.len() as u64);
        })
        .for_each_batch("out", move |batch, records: Vec<(String, u64)>| {
            seen.note(batch.id, (batch.time_ms, records));
            gate.pass();
        });
    Ok(())
}

struct Program {
    disk: SimDisk,
    clock: Arc<ManualClock>,
    seen: Seen,
    gate: Arc<Gate>,
    workers: usize,
}

impl Program {
    fn new(workers: usize) -> Self {
        Self {
            disk: SimDisk::new(),
            clock: Arc::new(ManualClock::new(START + 500)),
            seen: Seen::default(),
            gate: Arc::default(),
            workers,
        }
    }

    fn open_with(&self, change: impl Fn(Builder) -> Builder) -> Result<StreamingContext> {
        let builder = builder(&self.disk, self.workers)
            .clock(Arc::<ManualClock>::clone(&self.clock))
            .batches(BatchMode::Clock)
            .checkpoint(CheckpointPolicy::every_batches(1000));
        let (seen, gate) = (self.seen.clone(), Arc::clone(&self.gate));
        let context = change(builder).get_or_create(move |ssc| visits(ssc, seen, gate))?;
        context.start()?;
        Ok(context)
    }

    fn open(&self) -> StreamingContext {
        self.open_with(|builder| builder).unwrap()
    }
}

fn send(context: &StreamingContext, key: &str) {
    let input = context.input::<String>("lines").unwrap();
    input.send(&key.to_owned()).unwrap().wait().unwrap();
}

fn states(states: &[(&str, u64)]) -> Vec<(String, u64)> {
    let owned = states
        .iter()
        .map(|(key, state)| ((*key).to_owned(), *state));
    owned.collect()
}

/// Batch 1 of key `a` is held while four ticks pass, of which the last one has data.
fn slow_batch(program: &Program) -> StreamingContext {
    let context = program.open();
    program.gate.close();
    send(&context, "a");
    program.clock.advance(SECOND);
    program.gate.await_batch();
    send(&context, "a");
    program.clock.advance(4 * SECOND);
    // The cut is made while the driver is behind.
    await_cuts(&context, 2);
    context
}

/// Returns when the log durably has so many cuts; no batch is committed yet.
fn await_cuts(context: &StreamingContext, cuts: usize) {
    loop {
        let mut frames = context.log().read_from(Lsn::ZERO).unwrap();
        let mut found = 0;
        while let Some(frame) = frames.next_frame().unwrap() {
            found += usize::from(frame.kind == FrameKind::Control);
        }
        if found == cuts + 1 {
            return; // and the program
        }
        std::thread::yield_now();
    }
}

/// What the ticks of [`slow_batch`] make of the key `a`.
fn expected() -> Vec<Numbered> {
    vec![
        (1, 1, states(&[("a", 101)])),
        (2, 2, states(&[("a", 201)])),
        (3, 3, states(&[("a", 301)])),
        (4, 4, states(&[("a", 401)])),
        (5, 5, states(&[("a", 502)])),
    ]
}

/// A slow batch: no tick is lost. Empty ones are batches of their own, in order, with dense ids.
#[test]
fn ticks_that_pass_during_a_slow_batch_run_after_it_each_as_a_batch() {
    for workers in [1, 2] {
        let program = Program::new(workers);
        let context = slow_batch(&program);
        program.gate.open();
        context.await_batch(5).unwrap();
        assert_eq!(program.seen.rows(), expected());
        context.stop(StopMode::Immediate).unwrap();
    }
}

/// The same numbers, times and states come out of a log that a crash has left behind the cut.
#[test]
fn ticks_without_records_of_their_own_are_the_same_after_a_crash() {
    for workers in [1, 3] {
        let program = Program::new(1);
        let context = slow_batch(&program);
        let disk = program.disk.kill_process();
        program.gate.open();
        drop(context);
        let again = Program {
            disk,
            workers,
            clock: Arc::new(ManualClock::new(START + 3_600_000)),
            ..Program::new(1)
        };
        let context = again.open();
        let found = context.recovered();
        assert_eq!(found.batches_to_replay, 5);
        assert_eq!(found.committed, None);
        assert_eq!(
            (found.last_tick_ms, found.zero_ms),
            (Some(START + 5000), Some(START))
        );
        let incomplete: Vec<_> = found
            .incomplete
            .iter()
            .map(|i| (i.first_id, i.batch.id))
            .collect();
        assert_eq!(incomplete, [(1, 1), (2, 5)]);
        context.await_batch(5).unwrap();
        assert_eq!(again.seen.rows(), expected());
        // Downtime is not made up for: one batch, and one visit.
        again.clock.advance(SECOND);
        context.await_batch(6).unwrap();
        assert_eq!(again.seen.rows()[5], (6, 3601, states(&[("a", 602)])));
        context.stop(StopMode::Immediate).unwrap();
    }
}

/// A checkpoint may be taken at a batch that no record of the log ends.
#[test]
fn a_checkpoint_after_an_empty_tick_is_gone_on_from_in_the_middle_of_its_cut() {
    for every in 1..=5 {
        let program = Program::new(1);
        let policy = |builder: Builder| builder.checkpoint(CheckpointPolicy::every_batches(every));
        let context = program.open_with(policy).unwrap();
        program.gate.close();
        send(&context, "a");
        program.clock.advance(SECOND);
        program.gate.await_batch();
        send(&context, "a");
        program.clock.advance(4 * SECOND);
        await_cuts(&context, 2);
        program.gate.open();
        context.await_batch(5).unwrap();
        // Checkpoints are written behind the batches, and some are left out then.
        while context.checkpoints().published == 0 {
            std::thread::yield_now();
        }
        drop(context);
        let context = program.open_with(policy).unwrap();
        let found = context.recovered();
        let (_, covered) = found.checkpoint.unwrap();
        assert_eq!(
            found.batches_to_replay,
            5 - covered,
            "checkpoint after {covered}"
        );
        context.await_batch(5).unwrap(); // the replay: an empty tick has no cut while it runs
        program.clock.advance(SECOND);
        context.await_batch(6).unwrap();
        assert_eq!(program.seen.rows()[..5], expected());
        assert_eq!(program.seen.rows()[5], (6, 6, states(&[("a", 602)])));
        context.stop(StopMode::Immediate).unwrap();
    }
}

/// A backlog by hand: parts of one tick, and then the next tick.
#[test]
fn a_backlog_is_parts_of_one_tick() {
    let disk = SimDisk::new();
    let (seen, gate) = (Seen::default(), Arc::default());
    let context = builder(&disk, 2)
        .max_batch_bytes(2000)
        .get_or_create(move |ssc| visits(ssc, seen, gate))
        .unwrap();
    context.start().unwrap();
    for number in 0..40 {
        send(&context, &format!("{number:0200}"));
    }
    let mut parts = 1;
    let time_ms = context.run_batch().unwrap().time_ms;
    let next = loop {
        let batch = context.run_batch().unwrap();
        match batch.time_ms == time_ms {
            true => parts += 1,
            false => break batch,
        }
    };
    assert!(parts >= 4, "{parts} parts");
    assert_eq!(next.time_ms, time_ms + 1000);
    assert_eq!(next.id, parts + 1);
}

/// A key without values is visited once a tick, however many parts that has.
#[test]
fn a_part_visits_the_keys_that_it_touches_and_the_last_one_every_key() {
    let disk = SimDisk::new();
    let (seen, gate) = (Seen::default(), Arc::default());
    let noted = seen.clone();
    let context = builder(&disk, 2)
        .max_batch_bytes(2000)
        .get_or_create(move |ssc| visits(ssc, noted, gate))
        .unwrap();
    context.start().unwrap();
    send(&context, "old");
    let first = context.run_batch().unwrap();
    for number in 0..40 {
        send(&context, &format!("{number:0200}"));
    }
    let mut parts = vec![context.run_batch().unwrap()];
    while seen.0.lock()[&parts[parts.len() - 1].id].1.len() < 41 {
        parts.push(context.run_batch().unwrap());
        assert!(parts.len() < 40, "no last part");
    }
    assert!(parts.len() >= 4, "{parts:?}");
    assert!(
        parts
            .iter()
            .all(|part| part.time_ms == first.time_ms + 1000)
    );
    let old = |id: u64| {
        let seen = seen.0.lock();
        let row = seen[&id].1.iter();
        row.clone()
            .find(|(key, _)| key == "old")
            .map(|(_, state)| *state)
    };
    let (last, before) = parts.split_last().unwrap();
    assert!(before.iter().all(|part| old(part.id).is_none()));
    assert_eq!(old(last.id), Some(201));
}

/// A window would end between two ticks.
#[test]
fn another_interval_is_refused_if_windows_would_not_be_aligned() {
    let disk = SimDisk::new();
    let run = |interval_ms, with_windows| {
        let builder = builder(&disk, 1).batch_interval(Duration::from_millis(interval_ms));
        let context = builder.get_or_create(move |ssc| {
            let numbers = ssc.input::<u64>("numbers");
            if with_windows {
                let four = 4 * SECOND;
                let numbers = numbers.window("four", four, four);
                numbers.for_each_batch("windows", |_, _| ());
            } else {
                numbers.for_each_batch("out", |_, _| ());
            }
            Ok(())
        })?;
        context.start()?;
        context.run_batch()?;
        Ok::<_, Error>(context.recovered().zero_ms)
    };
    assert_eq!(run(1000, true).unwrap(), None);
    // Zero is an odd second.
    let error = run(2000, true).unwrap_err();
    let Error::Mismatch(mismatch) = &error else {
        panic!("{error}");
    };
    let expected = (1000, 2000, START - 1000);
    assert!(
        matches!(mismatch, Mismatch::BatchInterval { then_ms, now_ms, zero_ms, .. }
            if (*then_ms, *now_ms, *zero_ms) == expected),
        "{error}"
    );
    for part in ["1000 ms", "2000 ms", "window \"four\""] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(run(500, true).unwrap(), Some(START - 1000));
    assert_eq!(run(1000, true).unwrap(), Some(START - 1000));
    // Without windows nothing is aligned to it.
    assert_eq!(run(2000, false).unwrap(), Some(START - 2000));
    assert_eq!(run(2000, true).unwrap(), Some(START - 2000));
}

/// The power fails before each disk operation of a run with slow batches and ticks in parts: every
/// batch that was ever seen comes again with the same number, time and content, and in the end
/// each record was counted once.
#[test]
fn ticks_survive_power_cuts() {
    let mut cut = 0;
    loop {
        let mut program = Program::new(1);
        program.disk.cut_power_before(cut);
        let outcome = run(&program);
        if program.disk.is_alive() {
            outcome.unwrap();
            assert!(cut > 50, "only {cut} operations");
            break;
        }
        program.disk = program.disk.restart_after_power_cut(cut);
        run(&program).unwrap_or_else(|error| panic!("power cut before {cut}: {error}"));
        let rows = program.seen.rows();
        let ids: Vec<u64> = rows.iter().map(|(id, ..)| *id).collect();
        let dense: Vec<u64> = (1..=ids.len() as u64).collect();
        assert_eq!(ids, dense, "power cut before {cut}");
        assert!(rows.is_sorted_by_key(|row| row.1), "{rows:?}");
        let last = &rows.last().unwrap().2;
        let received: u64 = last.iter().map(|(_, state)| state % 100).sum();
        assert_eq!(received, KEYS, "power cut before {cut}: {last:?}");
        cut += 3;
    }
}

const KEYS: u64 = 24;

/// Sends keys in three bursts, with a jump of the clock behind each, and stops.
fn run(program: &Program) -> Result<()> {
    let small = |builder: Builder| {
        builder
            .max_batch_bytes(1500)
            .max_unprocessed_bytes(64 << 10)
    };
    let context = program.open_with(small)?;
    let input = context.input::<String>("lines")?;
    for number in 0..KEYS {
        let key = format!("{number:0150}");
        input.send_once("p", number, &key)?.wait()?;
        if number % 8 == 7 {
            program.clock.advance(3 * SECOND);
        }
    }
    context.stop(StopMode::Graceful)
}
