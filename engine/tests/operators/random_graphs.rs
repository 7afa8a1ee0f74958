//! Random graphs of operators beside a model of the whole program: one thread, no pieces, no groups
//! of workers, nothing but lists. Whatever the number of workers, the size of the pieces, the
//! restarts in between and the attempts that fail, every batch of every output must be equal,
//! record by record, in order. F65: a replay gives the same, whatever it runs on.
//!
//! Values are affine maps modulo a prime: putting two together is associative and depends on their
//! order, so a record that overtakes another one shows in every result that is made of both.
#![allow(clippy::cast_possible_truncation, reason = "test code")]

use crate::common::broker::Broker;
use crate::common::table::{INTERVAL_MS, START_MS};
use crate::common::{builder, panics};
use crate::saved_seeds;
use highwater_engine::checkpoint::testing::MemoryStore;
use highwater_engine::checkpoint::{
    AsBytes, Checkpoint, Checkpoints, Comparison, LocalStore, Store, Validity,
};
use highwater_engine::wal::Lsn;
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{
    Batch, Builder, CheckpointPolicy, DStream, Error, ErrorPolicy, KeyState, Reduced, ReplayFrom,
    Result, StateGuard, StateSpec, StopMode, StreamScope, StreamingContext, UpdateSpec, key_group,
};
use parking_lot::Mutex;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const GROUPS: u32 = 8;

/// Decides in which key group a key is, and so the order of keys.
const SEED: u64 = 7;
const KEYS: u8 = 12;
const PRIME: u64 = 1_000_003;

type Affine = (u32, u32);
type Record = (u8, Affine);

/// First `first`, then `then`.
fn compose(first: Affine, then: Affine) -> Affine {
    let [a, b, c, d] = [first.0, first.1, then.0, then.1].map(u64::from);
    ((a * c % PRIME) as u32, ((b * c + d) % PRIME) as u32)
}

fn all(values: impl IntoIterator<Item = Affine>) -> Affine {
    values.into_iter().fold((1, 0), compose)
}

/// An operator of the graph; numbers are those of earlier streams, modulo how many there are.
#[derive(Debug, Clone)]
enum Op {
    Map(usize, u8),
    Filter(usize, u8),
    FlatMap(usize, u8),
    /// Some records are refused, others panic.
    Try(usize, u8),
    Union(Vec<usize>),
    Pairwise(usize, usize),
    Persist(usize),
    Reduce(usize),
    Group(usize),
    UpdateEvery(usize),
    UpdateChanged(usize),
    ReduceRef(usize),
    UpdateRef(usize),
    MapWithState(usize),
    /// The number decides about initial state, timeout and snapshots: see [`Spec`].
    MapSpec(usize, u8),
    UpdateSpec(usize, u8),
    Transform(usize),
    TransformWith(usize, usize),
    FlatMapValues(usize, u8),
    ReduceAll(usize),
    Repartition(usize, u8),
    Glom(usize),
    MapPartitions(usize, u8),
    Combine(usize),
    Aggregate(usize),
    Cogroup(usize, usize),
    /// The kind of the join is the last number.
    Join(usize, usize, u8),
    JoinStatic(usize, u8),
    /// Every record counts, and sees what was counted before the batch.
    Count(usize),
    /// The first one is broadcast to every record of the second one.
    Broadcast(usize, usize),
    Window(Windowed, usize, Span),
}

fn op() -> impl Strategy<Value = Op> {
    let of = 0_usize..64;
    prop_oneof![
        2 => (of.clone(), any::<u8>()).prop_map(|(s, n)| Op::Map(s, n)),
        1 => (of.clone(), any::<u8>()).prop_map(|(s, n)| Op::Filter(s, n)),
        2 => (of.clone(), any::<u8>()).prop_map(|(s, n)| Op::FlatMap(s, n)),
        2 => (of.clone(), any::<u8>()).prop_map(|(s, n)| Op::Try(s, n)),
        3 => prop::collection::vec(of.clone(), 1..5).prop_map(Op::Union),
        3 => (of.clone(), of.clone()).prop_map(|(a, b)| Op::Pairwise(a, b)),
        1 => of.clone().prop_map(Op::Persist),
        1 => of.clone().prop_map(Op::Reduce),
        1 => of.clone().prop_map(Op::Group),
        1 => of.clone().prop_map(Op::UpdateEvery),
        1 => of.clone().prop_map(Op::UpdateChanged),
        1 => of.clone().prop_map(Op::ReduceRef),
        1 => of.clone().prop_map(Op::UpdateRef),
        2 => of.clone().prop_map(Op::MapWithState),
        3 => (of.clone(), any::<u8>()).prop_map(|(s, n)| Op::MapSpec(s, n)),
        3 => (of.clone(), any::<u8>()).prop_map(|(s, n)| Op::UpdateSpec(s, n)),
        1 => of.clone().prop_map(Op::Transform),
        1 => (of.clone(), of.clone()).prop_map(|(a, b)| Op::TransformWith(a, b)),
        1 => (of.clone(), any::<u8>()).prop_map(|(s, n)| Op::FlatMapValues(s, n)),
        1 => of.clone().prop_map(Op::ReduceAll),
        2 => (of.clone(), 1_u8..5).prop_map(|(s, n)| Op::Repartition(s, n)),
        1 => of.clone().prop_map(Op::Glom),
        2 => (of.clone(), any::<u8>()).prop_map(|(s, n)| Op::MapPartitions(s, n)),
        1 => of.clone().prop_map(Op::Combine),
        1 => of.clone().prop_map(Op::Aggregate),
        1 => (of.clone(), of.clone()).prop_map(|(a, b)| Op::Cogroup(a, b)),
        3 => (of.clone(), of.clone(), any::<u8>()).prop_map(|(a, b, n)| Op::Join(a, b, n)),
        1 => (of.clone(), any::<u8>()).prop_map(|(s, n)| Op::JoinStatic(s, n)),
        1 => of.clone().prop_map(Op::Count),
        2 => (of.clone(), of.clone()).prop_map(|(a, b)| Op::Broadcast(a, b)),
        6 => (windowed(), of, 1_u64..5, 1_u64..3).prop_map(|(kind, s, length, slide)| {
            Op::Window(kind, s, Span { length, slide })
        }),
    ]
}

/// Operators of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Windowed {
    Records,
    Reduce,
    ReduceInverse,
    Count,
    CountByValue,
    GroupByKey,
    ReduceByKey,
    ReduceByKeyInverse,
    ReduceByKeyFiltered,
}

fn windowed() -> impl Strategy<Value = Windowed> {
    prop_oneof![
        Just(Windowed::Records),
        Just(Windowed::Reduce),
        Just(Windowed::ReduceInverse),
        Just(Windowed::Count),
        Just(Windowed::CountByValue),
        Just(Windowed::GroupByKey),
        Just(Windowed::ReduceByKey),
        Just(Windowed::ReduceByKeyInverse),
        Just(Windowed::ReduceByKeyFiltered),
    ]
}

/// Length and slide: of a random operator in slides of its input, later in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    length: u64,
    slide: u64,
}

/// The operators with numbers of streams that exist and that have records at the same ticks, and
/// with windows in ticks.
fn resolved(sources: usize, ops: &[Op]) -> Vec<Op> {
    let mut slides = vec![1_u64; sources];
    let mut resolved = Vec::new();
    for op in ops {
        let count = slides.len();
        let with = |first: usize, other: usize| {
            let (first, other) = (first % count, other % count);
            if slides[first] == slides[other] {
                other
            } else {
                first
            }
        };
        let mut op = op.clone();
        let slide = match &mut op {
            Op::Union(inputs) => {
                let first = inputs[0];
                inputs
                    .iter_mut()
                    .for_each(|input| *input = with(first, *input));
                slides[first % count]
            }
            Op::Pairwise(first, other)
            | Op::TransformWith(first, other)
            | Op::Cogroup(first, other)
            | Op::Join(first, other, _)
            | Op::Broadcast(other, first) => {
                *other = with(*first, *other);
                slides[*first % count]
            }
            Op::Window(_, s, span) => {
                let step = slides[*s % count];
                (span.length, span.slide) = (span.length * step, span.slide * step);
                span.slide
            }
            Op::Map(s, _)
            | Op::Filter(s, _)
            | Op::FlatMap(s, _)
            | Op::Try(s, _)
            | Op::Persist(s)
            | Op::Reduce(s)
            | Op::Group(s)
            | Op::UpdateEvery(s)
            | Op::UpdateChanged(s)
            | Op::ReduceRef(s)
            | Op::UpdateRef(s)
            | Op::MapWithState(s)
            | Op::MapSpec(s, _)
            | Op::UpdateSpec(s, _)
            | Op::Transform(s)
            | Op::FlatMapValues(s, _)
            | Op::ReduceAll(s)
            | Op::Repartition(s, _)
            | Op::Glom(s)
            | Op::MapPartitions(s, _)
            | Op::Combine(s)
            | Op::Aggregate(s)
            | Op::JoinStatic(s, _)
            | Op::Count(s) => slides[*s % count],
        };
        slides.push(slide);
        resolved.push(op);
    }
    resolved
}

// ---- what both sides do to a record

/// Undoes `first` in what is composed of it and of what came then.
fn without(all: Affine, first: Affine) -> Affine {
    let [a, b] = [first.0, first.1].map(u64::from);
    let (mut inverse, mut square, mut exponent) = (1, a, PRIME - 2);
    while exponent > 0 {
        if exponent % 2 == 1 {
            inverse = inverse * square % PRIME;
        }
        (square, exponent) = (square * square % PRIME, exponent / 2);
    }
    let undone = (PRIME - b) * inverse % PRIME;
    compose((inverse as u32, undone as u32), all)
}

/// Which totals a window keeps.
fn stays(total: Affine) -> bool {
    total != (1, 0) && !total.1.is_multiple_of(3)
}

fn with_count((key, value): Record, count: u64) -> Record {
    (key, (count as u32 + 1, value.1))
}

fn mapped(n: u8, (key, value): Record) -> Record {
    ((key + n % KEYS) % KEYS, compose(value, (3, u32::from(n))))
}

fn kept(n: u8, (key, _): &Record) -> bool {
    key % 3 != n % 3
}

fn flat(n: u8, (key, value): Record) -> Vec<Record> {
    let second = (n % KEYS, compose(value, (5, 1)));
    match key % 3 {
        0 => vec![],
        1 => vec![(key, value)],
        _ => vec![(key, value), second],
    }
}

/// The same of the records that are kept; others fail, in one way or the other.
fn tried_on(n: u8, record: Record) -> std::result::Result<Vec<Record>, &'static str> {
    if kept(n, &record) {
        Ok(flat(n, record))
    } else if record.1.1.is_multiple_of(2) {
        Err("refused")
    } else {
        // A panic without a message on the terminal.
        std::panic::resume_unwind(Box::new("refused"))
    }
}

fn updated(new: &[Affine], state: Option<Affine>) -> Option<Affine> {
    let next = all(state.into_iter().chain(new.iter().copied()));
    // Now and then a key goes; it may come back as the youngest of its group.
    (next.1 % 5 != 0).then_some(next)
}

/// What an operator with a spec is told.
#[derive(Debug, Clone)]
struct Spec {
    initial: Vec<Record>,
    /// In ticks.
    timeout: Option<u64>,
    /// Snapshots are wanted, or only changed keys are visited.
    other: bool,
}

impl Spec {
    fn of(n: u8) -> Self {
        let initial = [(7, (2, 1)), (2, (3, 5)), (9, (4, u32::from(n)))];
        Self {
            initial: initial[..usize::from(n % 4)].to_vec(),
            timeout: Some(u64::from(n / 4 % 4)).filter(|ticks| *ticks > 0),
            other: n / 16 % 2 == 1,
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let ticks = self.timeout?;
        Some(Duration::from_millis(ticks * INTERVAL_MS))
    }
}

fn tick_of(batch: &Batch) -> u64 {
    (batch.time_ms - START_MS) / INTERVAL_MS
}

/// What `map_with_state_spec` makes of a value, or of a key that times out: the next state, and
/// what is emitted.
fn spec_mapped(
    tick: u64,
    key: u8,
    value: Option<Affine>,
    before: Option<Affine>,
) -> (Option<Affine>, Record) {
    let seen = compose(before.unwrap_or((7, 7)), (1, tick as u32));
    match value {
        Some(value) => (updated(&[value], before), (key, compose(seen, value))),
        None => (None, (key, compose(seen, (13, 1)))),
    }
}

/// What `update_state_by_key_spec` makes of a state; `None` if it leaves it alone.
fn spec_updated(tick: u64, new: &[Affine], before: Option<Affine>) -> Option<Option<Affine>> {
    let quiet = new.is_empty() && before.is_some_and(|state| u64::from(state.1) % 3 != tick % 3);
    (!quiet).then(|| updated(new, before.map(|state| compose(state, (1, tick as u32)))))
}

fn reversed(mut batch: Vec<Record>) -> Vec<Record> {
    batch.reverse();
    batch.truncate(20);
    batch
}

/// What is made of the batches of two streams.
fn crossed(left: Vec<Record>, right: Vec<Record>) -> Vec<Record> {
    let (left, right) = (reversed(left), reversed(right));
    let tail = left.iter().skip(right.len()).copied();
    let pairs = right.iter().zip(&left);
    let pairs = pairs.map(|((key, a), (_, b))| (*key, compose(*a, *b)));
    pairs.chain(tail).collect()
}

fn values(n: u8, value: Affine) -> Vec<Affine> {
    (0..u32::from(n % 3))
        .map(|i| compose(value, (2, i)))
        .collect()
}

fn joined(a: Record, b: Record) -> Record {
    (a.0, compose(a.1, b.1))
}

/// A partition as one record.
fn glommed(part: Vec<Record>) -> Record {
    let length = u8::try_from(part.len() % 251).unwrap() % KEYS;
    (length, all(part.into_iter().map(|(_, value)| value)))
}

/// What is made of a partition: it shows where that begins and ends.
fn of_partition(n: u8, mut part: Vec<Record>) -> Vec<Record> {
    if n.is_multiple_of(2) {
        part.reverse();
        part
    } else {
        vec![
            glommed(part.clone()),
            part.pop().unwrap_or((n % KEYS, (1, 0))),
        ]
    }
}

/// What is made of all values of a key on two sides.
fn both(left: impl IntoIterator<Item = Affine>, right: impl IntoIterator<Item = Affine>) -> Affine {
    compose(compose(all(left), (11, 3)), all(right))
}

/// What is made of a pair of a join.
fn paired((key, (left, right)): (u8, (Option<Affine>, Option<Affine>))) -> Record {
    (key, both(left, right))
}

/// Joins of joins would grow without a bound.
fn first(mut batch: Vec<Record>) -> Vec<Record> {
    batch.truncate(150);
    batch
}

/// A data set: some keys twice, some not at all.
fn dataset(n: u8) -> Vec<Record> {
    let keys = (0..KEYS * 2).filter(move |k| !(k ^ n).is_multiple_of(3));
    keys.map(|k| (k % KEYS, (u32::from(k) + 2, u32::from(n))))
        .collect()
}

/// What a record becomes when so much was counted before its batch.
fn counted(before: u64) -> Affine {
    (3, (before % PRIME) as u32)
}

// ---- the engine's side

/// Makes calls of closures panic: one after so many calls, and one after so many more.
#[derive(Debug, Default)]
struct Trap(Mutex<Vec<u16>>);

impl Trap {
    /// A batch may fail three times.
    fn set(&self, failures: [u16; 2]) {
        panics::expect_on_purpose();
        let mut left: Vec<u16> = failures.into_iter().filter(|calls| *calls > 0).collect();
        left.reverse();
        *self.0.lock() = left;
    }

    fn step(&self) {
        let mut left = self.0.lock();
        if let Some(calls) = left.last_mut() {
            *calls -= 1;
            if *calls == 0 {
                left.pop();
                drop(left);
                panic!("on purpose");
            }
        }
    }
}

/// Fails at any record, behind what the stream is made of.
fn trapped(stream: &DStream<Record>, trap: &Arc<Trap>) -> DStream<Record> {
    let trap = Arc::clone(trap);
    // The batch is to fail, not the record.
    let stream = stream.on_error(ErrorPolicy::FailBatch);
    stream.map(move |record| {
        trap.step();
        record
    })
}

/// [`compose`], which may fail.
fn composing(
    trap: &Arc<Trap>,
) -> impl Fn(Affine, Affine) -> Affine + Send + Sync + Clone + 'static {
    let trap = Arc::clone(trap);
    move |first, then| {
        trap.step();
        compose(first, then)
    }
}

fn pick(streams: &[DStream<Record>], at: usize) -> &DStream<Record> {
    &streams[at % streams.len()]
}

fn join(n: u8, a: &DStream<Record>, b: &DStream<Record>) -> DStream<Record> {
    match n % 4 {
        0 => a.join(b).map(|(k, (v, w))| paired((k, (Some(v), Some(w))))),
        1 => a
            .left_outer_join(b)
            .map(|(k, (v, w))| paired((k, (Some(v), w)))),
        2 => a
            .right_outer_join(b)
            .map(|(k, (v, w))| paired((k, (v, Some(w))))),
        _ => a.full_outer_join(b).map(paired),
    }
}

fn totals(stream: &DStream<Record>, trap: &Arc<Trap>) -> Reduced<u8, Affine> {
    let compose = composing(trap);
    let pairs = stream.key_by_ref(|(key, value), out| out.emit(key, *value));
    pairs.reduce(move |total, value| *total = compose(*total, value))
}

fn build(
    ssc: &StreamScope,
    plan: &Plan,
    ops: &[Op],
    (trap, brokers): (&Arc<Trap>, &Brokers),
) -> Vec<DStream<Record>> {
    let source = |n: usize| {
        let name = format!("in{n}");
        match plan.kept[n] {
            true => brokers[n].stream(ssc, &name).map(|text| shown(&text)),
            false => ssc.input::<Record>(&name),
        }
    };
    let mut streams: Vec<DStream<Record>> = (0..plan.sources).map(source).collect();
    for (number, op) in ops.iter().enumerate() {
        let name = format!("state{number}");
        let of = |at: &usize| pick(&streams, *at).clone();
        let its = Arc::clone(trap);
        let next = match op {
            Op::Map(s, n) => {
                let n = *n;
                of(s).map(move |record| mapped(n, record))
            }
            Op::Filter(s, n) => {
                let n = *n;
                of(s).filter(move |record| kept(n, record))
            }
            Op::FlatMap(s, n) => {
                let n = *n;
                of(s).flat_map(move |record| flat(n, record))
            }
            Op::Try(s, n) => {
                let n = *n;
                let tried = of(s).on_error(ErrorPolicy::Skip);
                let tried = tried.try_flat_map(move |record| tried_on(n, record));
                tried.on_error(ErrorPolicy::FailBatch)
            }
            Op::Union(inputs) => ssc.union(inputs.iter().map(of)),
            Op::Pairwise(a, b) => of(a).union(&of(b)),
            Op::Persist(s) => of(s).persist(),
            Op::Reduce(s) => of(s).reduce_by_key(composing(trap)),
            Op::Group(s) => of(s).group_by_key().map(|(key, values)| (key, all(values))),
            Op::UpdateEvery(s) => of(s).update_state_by_key(&name, move |_, new, state| {
                *state = updated(new, *state);
                its.step();
            }),
            Op::UpdateChanged(s) => {
                of(s).update_state_by_key_changed(&name, move |_, new, state| {
                    *state = updated(new, *state);
                    its.step();
                })
            }
            Op::ReduceRef(s) => totals(&of(s), trap).cloned(),
            Op::UpdateRef(s) => {
                let update = move |_: &u8, total, state: &mut KeyState<'_, Affine>| {
                    match updated(&[total], state.get().copied()) {
                        Some(next) => state.update(next),
                        None => drop(state.remove()),
                    }
                    its.step();
                };
                totals(&of(s), trap).update_state(&name, update).cloned()
            }
            Op::MapWithState(s) => of(s).map_with_state(
                &name,
                move |key, value, state: &mut KeyState<'_, Affine>| {
                    let before = state.get().copied();
                    match updated(&[value], before) {
                        Some(next) => state.update(next),
                        None => drop(state.remove()),
                    }
                    its.step();
                    (*key, compose(before.unwrap_or((7, 7)), value))
                },
            ),
            Op::MapSpec(s, n) => map_spec(&of(s), &name, &Spec::of(*n), its),
            Op::UpdateSpec(s, n) => update_spec(&of(s), &name, &Spec::of(*n), its),
            Op::Transform(s) => of(s).transform(|batch, _: &Batch| reversed(batch)),
            Op::TransformWith(a, b) => of(a).transform_with(&of(b), |a, b, _| crossed(a, b)),
            Op::FlatMapValues(s, n) => {
                let n = *n;
                of(s).flat_map_values(move |value| values(n, value))
            }
            Op::ReduceAll(s) => of(s).reduce(joined),
            Op::Repartition(s, n) => of(s).repartition(usize::from(*n)),
            Op::Glom(s) => of(s).glom().map(glommed),
            Op::MapPartitions(s, n) => {
                let n = *n;
                of(s).map_partitions(move |part| of_partition(n, part))
            }
            Op::Combine(s) => of(s)
                .combine_by_key(
                    |v| vec![v],
                    |all, v| [all, vec![v]].concat(),
                    |a, b| [a, b].concat(),
                )
                .map_values(all),
            Op::Aggregate(s) => of(s).aggregate_by_key((1, 0), composing(trap), composing(trap)),
            Op::Cogroup(a, b) => of(a)
                .cogroup(&of(b))
                .map_values(|(left, right)| both(left, right)),
            Op::Join(a, b, n) => join(*n, &of(a), &of(b)).transform(|batch, _| first(batch)),
            Op::JoinStatic(s, n) => of(s)
                .left_outer_join_static(dataset(*n))
                .map_values(|(value, other)| (Some(value), other))
                .map(paired)
                .union(
                    &of(s)
                        .join_static(dataset(*n))
                        .map(|(k, (v, w))| (k, both([v], [w]))),
                ),
            Op::Count(s) => {
                let counter = ssc.counter(&name);
                let counted = of(s).map(move |(key, value)| {
                    counter.add(u64::from(key) + 1);
                    (key, compose(value, counted(counter.value())))
                });
                counted.persist() // however many readers there are, a record counts once
            }
            Op::Broadcast(a, b) => {
                let newest = ssc.broadcast(&name, of(a));
                of(b).map(move |(key, value)| match newest.get() {
                    Some(newest) => (key, compose(value, newest.1)),
                    None => (key, value),
                })
            }
            Op::Window(kind, s, span) => window(&of(s), (*kind, *span), &name, trap),
        };
        // Unions of unions are to stay what they are.
        let is_union = matches!(op, Op::Union(_) | Op::Pairwise(..));
        streams.push(if is_union { next } else { trapped(&next, trap) });
    }
    streams
}

fn map_spec(stream: &DStream<Record>, name: &str, told: &Spec, trap: Arc<Trap>) -> DStream<Record> {
    let f =
        move |batch: &Batch, key: &u8, value: Option<Affine>, state: &mut KeyState<'_, Affine>| {
            assert_eq!(state.is_timing_out(), value.is_none());
            let (next, emitted) = spec_mapped(tick_of(batch), *key, value, state.get().copied());
            match next {
                _ if value.is_none() => {} // it is deleted anyway
                Some(next) => state.update(next),
                None => drop(state.remove()),
            }
            trap.step();
            emitted
        };
    let mut spec = StateSpec::new(f).initial_state(told.initial.clone());
    if let Some(timeout) = told.timeout() {
        spec = spec.timeout(timeout);
    }
    let mapped = stream.map_with_state_spec(name, spec);
    match told.other {
        true => mapped.union(&mapped.state_snapshots()),
        false => mapped.into(),
    }
}

fn update_spec(
    stream: &DStream<Record>,
    name: &str,
    told: &Spec,
    trap: Arc<Trap>,
) -> DStream<Record> {
    let f = move |batch: &Batch, _: &u8, new: &[Affine], state: &mut StateGuard<Affine>| {
        match spec_updated(tick_of(batch), new, state.get().copied()) {
            Some(Some(next)) => state.update(next),
            Some(None) => drop(state.remove()),
            None => {}
        }
        trap.step();
    };
    let mut spec = UpdateSpec::new(f).initial_state(told.initial.clone());
    if let Some(time_to_live) = told.timeout() {
        spec = spec.time_to_live(time_to_live);
    }
    if told.other {
        spec = spec.changed_keys_only();
    }
    stream.update_state_by_key_spec(name, spec)
}

fn window(
    stream: &DStream<Record>,
    (kind, span): (Windowed, Span),
    name: &str,
    trap: &Arc<Trap>,
) -> DStream<Record> {
    let compose = composing(trap);
    let [length, slide] = [span.length, span.slide].map(|n| Duration::from_millis(n * INTERVAL_MS));
    let zero = |value| (0, value);
    match kind {
        Windowed::Records => stream.window(name, length, slide),
        Windowed::Reduce => stream.reduce_by_window(name, joined, length, slide),
        Windowed::ReduceInverse => stream
            .map(|(_, value)| value)
            .reduce_by_window_inverse(name, compose, without, length, slide)
            .map(zero),
        Windowed::Count => stream
            .count_by_window(name, length, slide)
            .map(|count| with_count((0, (0, 0)), count)),
        Windowed::CountByValue => stream
            .count_by_value_and_window(name, length, slide)
            .map(|(record, count)| with_count(record, count)),
        Windowed::GroupByKey => stream
            .group_by_key_and_window(name, length, slide)
            .map(|(key, values)| (key, all(values))),
        Windowed::ReduceByKey => stream.reduce_by_key_and_window(name, compose, length, slide),
        Windowed::ReduceByKeyInverse => {
            stream.reduce_by_key_and_window_inverse(name, compose, without, length, slide)
        }
        Windowed::ReduceByKeyFiltered => stream.reduce_by_key_and_window_inverse_with_filter(
            name,
            compose,
            without,
            length,
            slide,
            |_, total| stays(*total),
        ),
    }
}

/// What came out of each batch that ran.
#[derive(Debug, Default)]
struct Seen {
    /// By stream and batch.
    outputs: BTreeMap<(usize, u64), Vec<Record>>,
    /// The batches, by number, as the first input has them: it has records in every one.
    batches: BTreeMap<u64, Batch>,
}

type Outputs = Arc<Mutex<Seen>>;

impl Seen {
    fn note(&mut self, stream: usize, batch: &Batch, records: &[Record]) {
        if stream == 0 {
            let before = self.batches.insert(batch.id, *batch);
            assert!(
                before.is_none_or(|before| before == *batch),
                "{before:?}, {batch:?}"
            );
        }
        let before = self.outputs.insert((stream, batch.id), records.to_vec());
        assert!(
            before.as_ref().is_none_or(|before| before == records),
            "{batch}, stream {stream}, ran again: {before:?}, {records:?}"
        );
    }

    fn of(&self, stream: usize, batch: u64) -> Option<Vec<Record>> {
        self.outputs.get(&(stream, batch)).cloned()
    }
}

/// For each source that keeps its own data.
type Brokers = [Arc<Broker>; 3];

/// A record as a broker has it, and back.
fn hidden((key, (a, b)): &Record) -> String {
    format!("{key} {a} {b}")
}

fn shown(text: &str) -> Record {
    let numbers: Vec<u32> = text.split(' ').map(|n| n.parse().unwrap()).collect();
    (numbers[0] as u8, (numbers[1], numbers[2]))
}

/// How often the program went on in another directory, from a savepoint.
#[derive(Default)]
struct Moved {
    times: u64,
    savepoint: Option<Arc<MemoryStore>>,
}

impl Moved {
    /// A log of its own for each directory. The hash of keys is that of the first one.
    fn begin(&self, builder: Builder) -> Builder {
        let builder = builder.seed(SEED + self.times);
        match &self.savepoint {
            Some(store) => builder.from_savepoint_store(store.clone()),
            None => builder,
        }
    }

    /// A place for the next savepoint. The directory that follows is an empty one.
    fn next(&mut self, disk: &mut SimDisk) -> Arc<MemoryStore> {
        let store = Arc::new(MemoryStore::new());
        self.savepoint = Some(Arc::clone(&store));
        self.times += 1;
        *disk = SimDisk::new();
        store
    }
}

fn open(
    disk: &SimDisk,
    clock: &Arc<ManualClock>,
    plan: &Plan,
    life: Life,
    outputs: &Outputs,
    (trap, brokers): (&Arc<Trap>, &Brokers),
    moved: &Moved,
) -> Result<StreamingContext> {
    let (trap, brokers) = (Arc::clone(trap), brokers.clone());
    let (outputs, plan) = (Arc::clone(outputs), plan.clone());
    let ops = resolved(plan.sources, &plan.ops);
    let clock: Arc<ManualClock> = Arc::clone(clock);
    let context = moved
        .begin(builder(disk, life.workers))
        .clock(clock)
        .key_groups(GROUPS)
        .chunk_bytes(life.chunk_bytes)
        .max_batch_bytes(life.max_batch_bytes)
        .always_rebuild(life.rebuilds)
        .checkpoint(CheckpointPolicy::every_batches(life.every))
        .get_or_create(move |ssc| {
            let streams = build(ssc, &plan, &ops, (&trap, &brokers));
            if let Some(last) = streams.last() {
                last.datasets("past");
            }
            for (number, stream) in streams.into_iter().enumerate() {
                let outputs = Arc::clone(&outputs);
                stream.for_each_batch(&format!("out{number}"), move |batch, records| {
                    outputs.lock().note(number, batch, &records);
                });
            }
            Ok(())
        })?;
    context.start()?;
    Ok(context)
}

/// The program runs over what the log has of its past, while it runs itself: the new states are
/// those of the checkpoint, key by key, and no output is called. Where there is no past, it says
/// so.
fn compare_beside(
    disk: &SimDisk,
    clock: &Arc<ManualClock>,
    plan: &Plan,
    life: Life,
    (trap, brokers): (&Arc<Trap>, &Brokers),
    from: &ReplayFrom,
) {
    let files = || -> Vec<_> {
        let own = disk.files().into_iter();
        let own = own.filter(|path| path.starts_with("/app"));
        own.map(|path| (disk.read_file(&path), path)).collect()
    };
    let before = files();
    static REPLAYS: AtomicU64 = AtomicU64::new(0);
    let new = format!("/beside-{}", REPLAYS.fetch_add(1, Ordering::SeqCst));
    let ops = resolved(plan.sources, &plan.ops);
    let clock: Arc<ManualClock> = Arc::clone(clock);
    let replayed = builder(disk, life.workers % 3 + 1)
        .clock(clock)
        .key_groups(GROUPS)
        .chunk_bytes(life.chunk_bytes)
        .max_batch_bytes(life.max_batch_bytes)
        .replay_beside(&new, from, |ssc| {
            let streams = build(ssc, plan, &ops, (trap, brokers));
            if let Some(last) = streams.last() {
                last.datasets("past");
            }
            for (number, stream) in streams.into_iter().enumerate() {
                stream.for_each_batch(&format!("out{number}"), |batch, _| -> Result<()> {
                    panic!("an output was called in {batch}");
                });
            }
            Ok(())
        });
    assert_eq!(files(), before, "the directory is only read");
    let replayed = match replayed {
        Ok(replayed) => replayed,
        Err(Error::Replay(why)) => {
            let paths = files().into_iter().map(|(_, path)| path);
            let manifests = paths.filter(|path| {
                let name = path.file_name().unwrap().to_string_lossy();
                name.starts_with("manifest-")
            });
            let is_first = manifests.count() < 2;
            assert!(is_first || *from == ReplayFrom::Lsn(0), "{why}");
            return;
        }
        Err(error) => panic!("{error}, from {from} in {plan:?}, {life:?}"),
    };
    assert_eq!(replayed.before.1, replayed.after.1);
    assert!(replayed.batches > 0);
    let checkpoint = |name: &str| -> Checkpoint {
        let place = Path::new(&new).join(name);
        let store: Arc<dyn Store> = Arc::new(LocalStore::new(Arc::new(disk.clone()), place));
        let newest = Checkpoints::inspect(&store).unwrap().remove(0);
        assert_eq!(newest.validity, Validity::Valid);
        Checkpoint::of_manifest(store, newest.manifest.unwrap())
    };
    let (before, after) = (checkpoint("before"), checkpoint("checkpoints"));
    let comparison = Comparison::new(&before, &after, &AsBytes).same_groups(true);
    for name in comparison.states() {
        let state = comparison.state(&name, |_| ()).unwrap();
        assert!(
            state.is_equal(),
            "{state:?} after {replayed:?}, from {from} in {plan:?}, {life:?}"
        );
    }
}

// ---- the model

/// A stream in one batch: what was made of records of the log one by one, with the number of the
/// record, and what was made of the whole batch, by partition.
#[derive(Debug, Clone, Default)]
struct Model {
    log: Vec<(usize, Record)>,
    whole: Vec<Vec<Record>>,
}

impl Model {
    fn each(&self, f: impl Fn(Record) -> Vec<Record>) -> Self {
        let log = self.log.iter();
        Self {
            log: log
                .flat_map(|(place, record)| f(*record).into_iter().map(|r| (*place, r)))
                .collect(),
            whole: self
                .whole
                .iter()
                .map(|part| part.iter().flat_map(|record| f(*record)).collect())
                .collect(),
        }
    }

    fn union(inputs: &[&Self]) -> Self {
        let mut log: Vec<_> = inputs.iter().flat_map(|input| input.log.clone()).collect();
        log.sort_by_key(|(place, _)| *place); // stable: by input
        Self {
            log,
            whole: inputs
                .iter()
                .flat_map(|input| input.whole.clone())
                .collect(),
        }
    }

    fn records(&self) -> Vec<Record> {
        let log = self.log.iter().map(|(_, record)| *record);
        log.chain(self.whole.iter().flatten().copied()).collect()
    }

    /// Batches are small: what comes from the log is one partition, if there is any, and so is what
    /// sources have kept.
    fn partitions(&self) -> Vec<Vec<Record>> {
        let (mut log, mut kept) = (Vec::new(), Vec::new());
        for (place, record) in &self.log {
            match *place < KEPT {
                true => log.push(*record),
                false => kept.push(*record),
            }
        }
        let parts = [log, kept].into_iter().filter(|part| !part.is_empty());
        parts.chain(self.whole.iter().cloned()).collect()
    }

    /// The values of each key, by key group, then in order of the first touch.
    fn by_key(&self) -> Vec<(u8, Vec<Affine>)> {
        let mut keys: Vec<(u8, Vec<Affine>)> = Vec::new();
        for (key, value) in self.records() {
            match keys.iter_mut().find(|(k, _)| *k == key) {
                Some((_, values)) => values.push(value),
                None => keys.push((key, vec![value])),
            }
        }
        keys.sort_by_key(|(key, _)| key_group(key, GROUPS, SEED).unwrap());
        keys
    }
}

/// What an operator makes of everything at once.
fn whole(records: Vec<Record>) -> Model {
    parts(
        (!records.is_empty())
            .then_some(records)
            .into_iter()
            .collect(),
    )
}

fn parts(whole: Vec<Vec<Record>>) -> Model {
    Model {
        log: Vec::new(),
        whole,
    }
}

/// What a keyed operator makes, key group by key group.
fn by_group(records: impl IntoIterator<Item = Record>) -> Model {
    let records: Vec<Record> = records.into_iter().collect();
    let group = |record: &Record| key_group(&record.0, GROUPS, SEED).unwrap();
    let parts_of = records.chunk_by(|a, b| group(a) == group(b));
    parts(parts_of.map(<[Record]>::to_vec).collect())
}

/// A state: keys in order of their creation, or a window.
#[derive(Debug, Clone, Default)]
struct State {
    keys: Keys,
    window: WindowState,
    /// Those of an operator with a spec, once it has begun.
    stamped: Option<Vec<Stamped>>,
}

type Keys = Vec<(u8, Affine)>;

/// A key, its state, and the tick of its last values.
type Stamped = (u8, Affine, u64);

/// When a batch is: its tick, and whether it is the last part of it.
#[derive(Debug, Clone, Copy)]
struct When {
    tick: u64,
    is_last: bool,
}

fn group_of(key: u8) -> u32 {
    key_group(&key, GROUPS, SEED).unwrap()
}

/// The keys of an operator with a spec: those that it begins with count as visited at once.
fn begun(stamped: &mut Option<Vec<Stamped>>, spec: &Spec, tick: u64) -> Vec<Stamped> {
    let initial = spec.initial.iter().map(|(key, state)| (*key, *state, tick));
    stamped.take().unwrap_or_else(|| initial.collect())
}

/// Takes out the keys that have timed out, in order of creation, by group.
fn timed_out(keys: &mut Vec<Stamped>, spec: &Spec, when: When, but: &[u8]) -> Vec<Stamped> {
    let Some(timeout) = spec.timeout.filter(|_| when.is_last) else {
        return vec![];
    };
    let is_out = |(key, _, last): &Stamped| last + timeout < when.tick && !but.contains(key);
    let out = keys.extract_if(.., |key| is_out(key));
    let mut out: Vec<Stamped> = out.collect();
    out.sort_by_key(|(key, ..)| group_of(*key));
    out
}

/// A key has another state, after values or without any.
fn settle(keys: &mut Vec<Stamped>, key: u8, next: Option<Affine>, last: Option<u64>) {
    let at = keys.iter().position(|(k, ..)| *k == key);
    match (at, next) {
        (Some(at), Some(next)) => keys[at] = (key, next, last.unwrap_or(keys[at].2)),
        (None, Some(next)) => keys.push((key, next, last.unwrap())),
        (Some(at), None) => drop(keys.remove(at)),
        (None, None) => {}
    }
}

fn state_in(keys: &[Stamped], key: u8) -> Option<Affine> {
    let found = keys.iter().find(|(k, ..)| *k == key);
    found.map(|(_, state, _)| *state)
}

fn model_map_spec(told: &Spec, state: &mut State, when: When, input: &Model) -> Model {
    let mut keys = begun(&mut state.stamped, told, when.tick);
    let (mut emitted, touched) = (Vec::new(), input.by_key());
    for (key, values) in &touched {
        let mut current = state_in(&keys, *key);
        for value in values {
            let (next, out) = spec_mapped(when.tick, *key, Some(*value), current);
            emitted.push(out);
            current = next;
        }
        settle(&mut keys, *key, current, Some(when.tick));
    }
    // Keys that the batch has touched have not timed out, or have no state.
    for (key, before, _) in timed_out(&mut keys, told, when, &[]) {
        emitted.push(spec_mapped(when.tick, key, None, Some(before)).1);
    }
    emitted.sort_by_key(|(key, _)| group_of(*key)); // stable
    let mut states: Vec<Record> = keys.iter().map(|(key, state, _)| (*key, *state)).collect();
    states.sort_by_key(|(key, _)| group_of(*key));
    state.stamped = Some(keys);
    match told.other {
        true => Model::union(&[&by_group(emitted), &by_group(states)]),
        false => by_group(emitted),
    }
}

fn model_update_spec(told: &Spec, state: &mut State, when: When, input: &Model) -> Model {
    let mut keys = begun(&mut state.stamped, told, when.tick);
    let touched = input.by_key();
    let but: Vec<u8> = touched.iter().map(|(key, _)| *key).collect();
    timed_out(&mut keys, told, when, &but);
    let mut visited = but;
    if when.is_last && !told.other {
        let old: Vec<u8> = keys.iter().map(|(key, ..)| *key).collect();
        let new = visited.into_iter().filter(|key| !old.contains(key));
        visited = old.iter().copied().chain(new).collect();
        visited.sort_by_key(|key| group_of(*key));
    }
    let mut emitted = Vec::new();
    for key in visited {
        let new = touched.iter().find(|(k, _)| *k == key);
        let (values, last) = match new {
            Some((_, values)) => (&values[..], Some(when.tick)),
            None => (&[][..], None),
        };
        let before = state_in(&keys, key);
        let next = spec_updated(when.tick, values, before).unwrap_or(before);
        settle(&mut keys, key, next, last);
        emitted.extend(next.map(|next| (key, next)));
    }
    state.stamped = Some(keys);
    by_group(emitted)
}

/// All batches that a window has ever had, and the keys of which it knows.
#[derive(Debug, Clone, Default)]
struct WindowState {
    /// Each by its tick, in partitions.
    batches: Vec<(u64, Vec<Vec<Record>>)>,
    /// In order of creation, and whether a window has ever had a value of it.
    keys: Vec<(Record, bool)>,
}

impl WindowState {
    /// The records of `(after, to]`, in order.
    fn between(&self, after: u64, to: u64) -> impl Iterator<Item = Record> + '_ {
        let batches = self
            .batches
            .iter()
            .filter(move |(t, _)| *t > after && *t <= to);
        batches.flat_map(|(_, parts)| parts.iter().flatten().copied())
    }

    /// A batch at `tick`; what the window emits, if one ends there.
    fn batch(&mut self, kind: Windowed, span: Span, when: When, input: &Model) -> Option<Model> {
        let When { tick, is_last } = when;
        let key = |record: Record| match kind {
            Windowed::CountByValue => record,
            Windowed::Records | Windowed::Reduce | Windowed::ReduceInverse | Windowed::Count => {
                (0, (0, 0))
            }
            _ => (record.0, (0, 0)),
        };
        let partitions = input.partitions().into_iter();
        let partitions = partitions.filter(|part| !part.is_empty()).collect();
        self.batches.push((tick, partitions));
        let has_tick = tick.next_multiple_of(span.slide) - tick < span.length;
        for record in input.records().into_iter().filter(|_| has_tick) {
            if !self.keys.iter().any(|(known, _)| *known == key(record)) {
                self.keys.push((key(record), false));
            }
        }
        if !is_last || !tick.is_multiple_of(span.slide) {
            return None;
        }
        let outside = tick.saturating_sub(span.length);
        if kind == Windowed::Records {
            let batches = self.batches.iter().filter(|(t, _)| *t > outside);
            return Some(parts(
                batches.flat_map(|(_, parts)| parts.clone()).collect(),
            ));
        }
        let group = |key: &Record| match kind {
            Windowed::CountByValue => key_group(key, GROUPS, SEED).unwrap(),
            Windowed::Reduce | Windowed::ReduceInverse | Windowed::Count => 0,
            _ => key_group(&key.0, GROUPS, SEED).unwrap(),
        };
        let mut keys = std::mem::take(&mut self.keys);
        keys.sort_by_key(|(key, _)| group(key)); // stable
        let mut emitted = Vec::new();
        for (of, had) in keys {
            let values: Vec<Record> = self
                .between(outside, tick)
                .filter(|record| key(*record) == of)
                .collect();
            let mut later = self.between((tick + span.slide).saturating_sub(span.length), tick);
            let (had, has_later) = (
                had || !values.is_empty(),
                later.any(|record| key(record) == of),
            );
            drop(later);
            let (result, stays) = window_result(kind, of, &values, had, has_later);
            emitted.extend(result.map(|result| (group(&of), result)));
            if stays {
                self.keys.push((of, had));
            }
        }
        let groups = emitted.chunk_by(|a, b| a.0 == b.0);
        Some(parts(
            groups
                .map(|group| group.iter().map(|(_, record)| *record).collect())
                .collect(),
        ))
    }
}

/// What a window makes of the values of a key, and whether the key stays. `had`: this window or one
/// before had a value. `has_later`: the next window will have some of these.
fn window_result(
    kind: Windowed,
    key: Record,
    values: &[Record],
    had: bool,
    has_later: bool,
) -> (Option<Record>, bool) {
    let total = all(values.iter().map(|(_, value)| *value));
    let count = values.len() as u64;
    let some = !values.is_empty();
    match kind {
        Windowed::Reduce => (values.iter().copied().reduce(joined), has_later),
        Windowed::GroupByKey | Windowed::ReduceByKey => (some.then_some((key.0, total)), has_later),
        Windowed::ReduceInverse => (had.then_some((0, total)), had),
        Windowed::ReduceByKeyInverse => (had.then_some((key.0, total)), had),
        Windowed::ReduceByKeyFiltered => (
            (had && stays(total)).then_some((key.0, total)),
            some || (had && stays(total)),
        ),
        Windowed::Count => (had.then(|| with_count(key, count)), had),
        Windowed::CountByValue => (some.then(|| with_count(key, count)), some),
        Windowed::Records => (None, false),
    }
}

/// One key's turn: `f` gets its values and its state.
fn touch(state: &mut Keys, key: u8, f: impl FnOnce(Option<Affine>) -> Option<Affine>) {
    let at = state.iter().position(|(k, _)| *k == key);
    match (at, f(at.map(|at| state[at].1))) {
        (Some(at), Some(next)) => state[at].1 = next,
        (None, Some(next)) => state.push((key, next)),
        (Some(at), None) => drop(state.remove(at)),
        (None, None) => {}
    }
}

/// Keys by group and first touch, those of the left first, with their values on both sides.
fn cogrouped(left: &Model, right: &Model) -> Vec<(u8, Vec<Affine>, Vec<Affine>)> {
    let right_values = right.by_key();
    let mut keys: Vec<_> = left
        .by_key()
        .into_iter()
        .map(|(k, values)| (k, values, vec![]))
        .collect();
    for (key, values) in right_values {
        match keys.iter_mut().find(|(k, _, _)| *k == key) {
            Some((_, _, right)) => *right = values,
            None => keys.push((key, vec![], values)),
        }
    }
    keys.sort_by_key(|(key, _, _)| key_group(key, GROUPS, SEED).unwrap());
    keys
}

fn model_join(n: u8, left: &Model, right: &Model) -> Vec<Record> {
    let (keeps_left, keeps_right) = (n % 4 == 1 || n % 4 == 3, n % 4 >= 2);
    let mut out = Vec::new();
    for (key, left, right) in cogrouped(left, right) {
        if right.is_empty() && keeps_left {
            out.extend(left.iter().map(|v| paired((key, (Some(*v), None)))));
        } else if left.is_empty() && keeps_right {
            out.extend(right.iter().map(|w| paired((key, (None, Some(*w))))));
        }
        for v in &left {
            out.extend(right.iter().map(|w| paired((key, (Some(*v), Some(*w))))));
        }
    }
    out
}

/// What every stream has in a batch; nothing between two windows.
fn model_batch(
    ops: &[Op],
    states: &mut [State],
    sources: Vec<Model>,
    when: When,
) -> Vec<Option<Model>> {
    let mut streams: Vec<Option<Model>> = sources.into_iter().map(Some).collect();
    for (op, state) in ops.iter().zip(states) {
        let next = model_op(op, state, &streams, when);
        streams.push(next);
    }
    streams
}

fn model_op(op: &Op, state: &mut State, streams: &[Option<Model>], when: When) -> Option<Model> {
    let nothing = Model::default();
    let input = |at: &usize| streams[at % streams.len()].as_ref();
    let of = |at: &usize| input(at).unwrap_or(&nothing);
    // What reads several streams acts if one of them has this batch: a window that slides with
    // every tick goes with a stream that has every part.
    let acts = match op {
        Op::Union(inputs) => inputs.iter().any(|s| input(s).is_some()),
        Op::Pairwise(a, b) | Op::TransformWith(a, b) | Op::Cogroup(a, b) | Op::Join(a, b, _) => {
            input(a).or(input(b)).is_some()
        }
        Op::Broadcast(a, b) => {
            // The state is one entry: the newest record.
            let before = state.keys.first().copied();
            let newest = of(a).records().last().copied();
            state.keys = newest.or(before).into_iter().collect();
            let seen = |(key, value)| match before {
                Some(newest) => vec![(key, compose(value, newest.1))],
                None => vec![(key, value)],
            };
            return Some(input(b)?.each(seen));
        }
        Op::Window(kind, s, span) => return state.window.batch(*kind, *span, when, input(s)?),
        Op::MapSpec(s, n) => return Some(model_map_spec(&Spec::of(*n), state, when, input(s)?)),
        Op::UpdateSpec(s, n) => {
            return Some(model_update_spec(&Spec::of(*n), state, when, input(s)?));
        }
        Op::Map(s, _)
        | Op::Filter(s, _)
        | Op::Try(s, _)
        | Op::FlatMap(s, _)
        | Op::Persist(s)
        | Op::Reduce(s)
        | Op::Group(s)
        | Op::UpdateEvery(s)
        | Op::UpdateChanged(s)
        | Op::ReduceRef(s)
        | Op::UpdateRef(s)
        | Op::MapWithState(s)
        | Op::Transform(s)
        | Op::FlatMapValues(s, _)
        | Op::ReduceAll(s)
        | Op::Repartition(s, _)
        | Op::Glom(s)
        | Op::MapPartitions(s, _)
        | Op::Combine(s)
        | Op::Aggregate(s)
        | Op::JoinStatic(s, _)
        | Op::Count(s) => input(s).is_some(),
    };
    if !acts {
        return None;
    }
    let state = &mut state.keys;
    Some({
        match op {
            Op::Map(s, n) => of(s).each(|record| vec![mapped(*n, record)]),
            Op::Filter(s, n) => of(s).each(|r| if kept(*n, &r) { vec![r] } else { vec![] }),
            Op::FlatMap(s, n) => of(s).each(|record| flat(*n, record)),
            Op::Try(s, n) => of(s).each(|record| match kept(*n, &record) {
                true => flat(*n, record),
                false => vec![],
            }),
            Op::Union(inputs) => Model::union(&inputs.iter().map(of).collect::<Vec<_>>()),
            Op::Pairwise(a, b) => Model::union(&[of(a), of(b)]),
            Op::Persist(s) => of(s).clone(),
            Op::Reduce(s) | Op::ReduceRef(s) | Op::Group(s) => {
                let keys = of(s).by_key().into_iter();
                by_group(keys.map(|(key, values)| (key, all(values))))
            }
            Op::UpdateChanged(s) | Op::UpdateRef(s) | Op::UpdateEvery(s) => {
                let touched = of(s).by_key();
                let mut visited: Vec<u8> = touched.iter().map(|(key, _)| *key).collect();
                if matches!(op, Op::UpdateEvery(_)) && when.is_last {
                    // Every key of a group in order of creation; new ones come last, in order of
                    // their first touch.
                    let old = state.iter().map(|(key, _)| *key);
                    visited = old
                        .chain(
                            visited
                                .iter()
                                .copied()
                                .filter(|k| !state.iter().any(|(o, _)| o == k)),
                        )
                        .collect();
                    visited.sort_by_key(|key| key_group(key, GROUPS, SEED).unwrap());
                }
                let mut out = Vec::new();
                for key in visited {
                    let new = touched.iter().find(|(k, _)| *k == key);
                    let new = new.map_or(&[][..], |(_, values)| values);
                    touch(state, key, |before| updated(new, before));
                    out.extend(state.iter().find(|(k, _)| *k == key));
                }
                by_group(out)
            }
            Op::MapWithState(s) => {
                let mut out = Vec::new();
                for (key, values) in of(s).by_key() {
                    // A key that loses its state and gets one again within the batch keeps its
                    // place.
                    let mut current = state.iter().find(|(k, _)| *k == key).map(|(_, s)| *s);
                    for value in values {
                        out.push((key, compose(current.unwrap_or((7, 7)), value)));
                        current = updated(&[value], current);
                    }
                    touch(state, key, |_| current);
                }
                by_group(out)
            }
            Op::Transform(s) => whole(reversed(of(s).records())),
            Op::TransformWith(a, b) => whole(crossed(of(a).records(), of(b).records())),
            Op::FlatMapValues(s, n) => of(s).each(|(key, value)| {
                let values = values(*n, value).into_iter();
                values.map(|value| (key, value)).collect()
            }),
            Op::ReduceAll(s) => whole(
                of(s)
                    .records()
                    .into_iter()
                    .reduce(joined)
                    .into_iter()
                    .collect(),
            ),
            Op::Repartition(s, n) => {
                let (records, n) = (of(s).records(), usize::from(*n));
                let end = |part: usize| part * records.len() / n;
                parts(
                    (0..n)
                        .map(|part| records[end(part)..end(part + 1)].to_vec())
                        .collect(),
                )
            }
            Op::Glom(s) => {
                let partitions = of(s).partitions().into_iter();
                parts(partitions.map(|part| vec![glommed(part)]).collect())
            }
            Op::Combine(s) | Op::Aggregate(s) => {
                let keys = of(s).by_key().into_iter();
                by_group(keys.map(|(key, values)| (key, all(values))))
            }
            Op::Cogroup(a, b) => {
                let keys = cogrouped(of(a), of(b)).into_iter();
                by_group(keys.map(|(key, left, right)| (key, both(left, right))))
            }
            Op::Join(a, b, n) => whole(first(model_join(*n, of(a), of(b)))),
            Op::JoinStatic(s, n) => {
                let others = |key: u8| {
                    let of_key = dataset(*n).into_iter().filter(move |(k, _)| *k == key);
                    of_key.map(|(_, other)| Some(other)).collect::<Vec<_>>()
                };
                let inner = of(s).each(|(key, value)| {
                    let pairs = others(key).into_iter();
                    pairs
                        .map(|other| paired((key, (Some(value), other))))
                        .collect()
                });
                let outer = of(s).each(|(key, value)| {
                    let mut others = others(key);
                    if others.is_empty() {
                        others.push(None);
                    }
                    let pairs = others.into_iter();
                    pairs
                        .map(|other| paired((key, (Some(value), other))))
                        .collect()
                });
                Model::union(&[&outer, &inner])
            }
            Op::MapPartitions(s, n) => {
                let partitions = of(s).partitions().into_iter();
                parts(partitions.map(|part| of_partition(*n, part)).collect())
            }
            Op::Count(s) => {
                // The state is one entry: what was counted.
                let before = state.first().map_or(0, |(_, (total, _))| *total);
                let of = of(s);
                let added = of.records().into_iter().map(|(key, _)| u32::from(key) + 1);
                *state = vec![(0, (before + added.sum::<u32>(), 0))];
                let value = counted(u64::from(before));
                of.each(|(key, record)| vec![(key, compose(record, value))])
            }
            Op::Broadcast(..) | Op::Window(..) | Op::MapSpec(..) | Op::UpdateSpec(..) => {
                unreachable!("it has returned")
            }
        }
    })
}

// ---- programs

#[derive(Debug, Clone)]
struct Plan {
    sources: usize,
    ops: Vec<Op>,
    /// Of each source, whether it keeps its own data.
    kept: [bool; 3],
}

#[derive(Debug, Clone, Copy)]
struct Life {
    workers: usize,
    chunk_bytes: u64,
    every: u64,
    end: End,
    /// How many of the batches it runs.
    batches: usize,
    /// How many ticks pass before it begins.
    downtime: u64,
    /// A tick with more is cut into parts.
    max_batch_bytes: u64,
    /// Each batch fails when closures were called so often, and again after so many calls more; 0
    /// for never.
    failures: [u16; 2],
    /// Whether the workers are built again after a failure.
    rebuilds: bool,
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Graceful,
    Immediate,
    /// The process is killed.
    Killed,
    /// The program goes on elsewhere from a savepoint.
    Moved,
}

/// Above all that a program here sends.
const NO_PARTS: u64 = 64 << 20;

/// One call of `send_all`: source, records.
type Frame = (usize, Vec<Record>);

fn plan() -> impl Strategy<Value = Plan> {
    let kept = [any::<bool>(), any::<bool>(), any::<bool>()];
    (1_usize..4, prop::collection::vec(op(), 1..10), kept).prop_map(|(sources, ops, kept)| Plan {
        sources,
        ops,
        kept,
    })
}

/// All of its data is in the log.
fn logged() -> impl Strategy<Value = Plan> {
    plan().prop_map(|plan| Plan {
        kept: [false; 3],
        ..plan
    })
}

fn life() -> impl Strategy<Value = Life> {
    (
        1_usize..4,
        100_u64..3000,
        1_u64..5,
        prop_oneof![
            Just(End::Graceful),
            Just(End::Immediate),
            Just(End::Killed),
            Just(End::Moved)
        ],
        1_usize..4,
        prop_oneof![3 => Just(0), 1 => 1_u64..6],
        prop_oneof![2 => Just([0, 0]), 1 => (1_u16..60, 0_u16..60).prop_map(|(a, b)| [a, b])],
        any::<bool>(),
    )
        .prop_map(
            |(workers, chunk_bytes, every, end, batches, downtime, failures, rebuilds)| Life {
                workers,
                chunk_bytes,
                every,
                end,
                batches,
                downtime,
                max_batch_bytes: NO_PARTS,
                failures,
                rebuilds,
            },
        )
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let record = (0..KEYS, (1_u32..1000, 0_u32..1000));
    prop::collection::vec((0_usize..3, prop::collection::vec(record, 1..5)), 0..30)
}

/// Sends the frames; where each is in the log, if it is there.
fn send(
    context: &StreamingContext,
    plan: &Plan,
    brokers: &Brokers,
    frames: &[Frame],
) -> Vec<(Lsn, Frame)> {
    let mut sent = Vec::new();
    for (source, records) in frames {
        let at = source % plan.sources;
        if plan.kept[at] {
            let texts = records.iter().map(hidden);
            texts.for_each(|text| brokers[at].push("partition", text));
            continue;
        }
        let name = format!("in{at}");
        let input = context.input::<Record>(&name).unwrap();
        let ack = input.send_all(records).unwrap();
        sent.push((ack.lsn(), (*source, records.clone())));
        ack.wait().unwrap();
    }
    sent
}

fn sources_of(plan: &Plan, frames: &[Frame]) -> Vec<Model> {
    let mut models = vec![Model::default(); plan.sources];
    let records = frames
        .iter()
        .flat_map(|(source, records)| records.iter().map(move |r| (source % plan.sources, *r)));
    for (place, (source, record)) in records.enumerate() {
        // After those of the log, by source.
        let place = match plan.kept[source] {
            true => KEPT * (source + 1) + place,
            false => place,
        };
        models[source].log.push((place, record));
    }
    models
}

/// Above the places of all records in the log.
const KEPT: usize = 1 << 32;

fn check(plan: &Plan, batches: &[Vec<Frame>], lives: &[Life]) {
    let (mut disk, outputs) = (SimDisk::new(), Outputs::default());
    let (trap, brokers) = (Arc::new(Trap::default()), Brokers::default());
    for broker in &brokers {
        // What past batches had is asked for again.
        broker.trouble.keeps.store(true, Ordering::SeqCst);
    }
    let mut states = vec![State::default(); plan.ops.len()];
    let ticks = Cell::new(0);
    let clock = Arc::new(ManualClock::new(START_MS));
    let advance = |by: u64| {
        clock.advance(Duration::from_millis(by * INTERVAL_MS));
        ticks.set(ticks.get() + by);
    };
    let mut moved = Moved::default();
    let mut lives = lives.iter().cycle();
    let mut rest = batches;
    while !rest.is_empty() {
        let life = *lives.next().unwrap();
        let last = ticks.get();
        if last > 0 {
            advance(life.downtime); // windows are aligned to the first batch
        }
        let mut missed = missed_ends(plan, last, ticks.get() + 1);
        trap.set(life.failures);
        let context = open(
            &disk,
            &clock,
            plan,
            life,
            &outputs,
            (&trap, &brokers),
            &moved,
        )
        .unwrap();
        let (now, later) = rest.split_at(life.batches.min(rest.len()));
        for frames in now {
            advance(1);
            send(&context, plan, &brokers, frames);
            trap.set(life.failures);
            let batch = context.run_batch().unwrap();
            assert_eq!(batch.time_ms, START_MS + ticks.get() * INTERVAL_MS);
            let missed = std::mem::take(&mut missed);
            let first = batch.id - missed.len() as u64;
            let whole = |tick| When {
                tick,
                is_last: true,
            };
            for (id, tick) in (first..).zip(missed) {
                compare(plan, &mut states, &[], &outputs, (id, whole(tick)), life);
            }
            let batch = (batch.id, whole(ticks.get()));
            compare(plan, &mut states, frames, &outputs, batch, life);
        }
        trap.set([0, 0]);
        compare_past(plan, &context, &outputs, life);
        for from in [ReplayFrom::Oldest, ReplayFrom::Lsn(0)] {
            compare_beside(&disk, &clock, plan, life, (&trap, &brokers), &from);
        }
        trap.set(life.failures);
        if [End::Graceful, End::Moved].contains(&life.end) {
            let last = context.progress().last_batch.unwrap() + 1;
            advance(1);
            if life.end == End::Moved {
                let savepoint = context.stop_with_savepoint_into(moved.next(&mut disk));
                assert_eq!(savepoint.unwrap().batch, last);
            } else {
                context.stop(StopMode::Graceful).unwrap();
            }
            let when = When {
                tick: ticks.get(),
                is_last: true,
            };
            compare(plan, &mut states, &[], &outputs, (last, when), life);
        } else if life.end == End::Killed {
            disk = disk.kill_process();
        }
        rest = later;
    }
}

/// A life of a program whose ticks are cut into parts: after each burst of frames so many batches
/// run, whether all of them were cut or not.
#[derive(Debug, Clone, Copy)]
struct InParts {
    life: Life,
    runs: usize,
}

/// Like [`check`], with ticks that are cut into parts, and lives that end between two of them. What
/// the batches are is read from the run, and the model must give what they gave. Returns how many
/// parts there were before the last one of their tick, and how many lives ended behind such a one.
fn check_parts(plan: &Plan, bursts: &[Vec<Frame>], lives: &[InParts]) -> (usize, usize) {
    let (mut disk, outputs) = (SimDisk::new(), Outputs::default());
    let (trap, brokers) = (Arc::new(Trap::default()), Brokers::default());
    let clock = Arc::new(ManualClock::new(START_MS));
    let tick = Duration::from_millis(INTERVAL_MS);
    let (mut sent, mut bursts, mut ends) = (Vec::new(), bursts.iter().peekable(), Vec::new());
    let (mut moved, mut later) = (Moved::default(), Vec::new());
    let mut all_lives = lives.iter().cycle();
    let mut last_life = lives[0].life;
    while bursts.peek().is_some() {
        let InParts { life, runs } = *all_lives.next().unwrap();
        last_life = life;
        if !sent.is_empty() {
            clock.advance(tick * life.downtime as u32);
        }
        trap.set(life.failures);
        let context = open(
            &disk,
            &clock,
            plan,
            life,
            &outputs,
            (&trap, &brokers),
            &moved,
        )
        .unwrap();
        sent.extend(send(&context, plan, &brokers, &std::mem::take(&mut later)));
        for frames in bursts.by_ref().take(life.batches) {
            clock.advance(tick);
            sent.extend(send(&context, plan, &brokers, frames));
            for _ in 0..runs {
                trap.set(life.failures);
                context.run_batch().unwrap();
            }
        }
        trap.set([0, 0]);
        compare_past(plan, &context, &outputs, life);
        let from = ReplayFrom::Oldest;
        compare_beside(&disk, &clock, plan, life, (&trap, &brokers), &from);
        ends.push(context.progress().last_batch.unwrap());
        match life.end {
            End::Graceful => context.stop(StopMode::Graceful).unwrap(),
            End::Immediate => drop(context),
            End::Killed => disk = disk.kill_process(),
            // It cuts one more batch. What comes after that is not in it.
            End::Moved => {
                let savepoint = context.savepoint_into(moved.next(&mut disk)).unwrap();
                *ends.last_mut().unwrap() += 1;
                let after = sent.partition_point(|(lsn, _)| *lsn < savepoint.lsn);
                later.extend(sent.split_off(after).into_iter().map(|(_, frame)| frame));
            }
        }
    }
    // To the end of what was sent, and two batches more, so that the last tick is whole.
    let context = open(
        &disk,
        &clock,
        plan,
        last_life,
        &outputs,
        (&trap, &brokers),
        &moved,
    )
    .unwrap();
    sent.extend(send(&context, plan, &brokers, &later));
    let newest = sent.last().map_or(Lsn::ZERO, |(lsn, _)| *lsn);
    let mut empty = 0;
    while empty < 3 {
        clock.advance(tick);
        empty += usize::from(context.run_batch().unwrap().to > newest);
    }
    drop(context);
    let batches: Vec<Batch> = outputs.lock().batches.values().copied().collect();
    compare_all(plan, &batches, sent, &outputs, (last_life, moved.times > 0));
    let is_open = |at: usize| {
        batches
            .get(at + 1)
            .is_some_and(|b| b.time_ms == batches[at].time_ms)
    };
    let parts = (0..batches.len()).filter(|at| is_open(*at)).count();
    let ends = ends.into_iter().filter(|id| is_open(*id as usize - 1));
    (parts, ends.count())
}

/// Every batch that ran, beside the model.
fn compare_all(
    plan: &Plan,
    batches: &[Batch],
    sent: Vec<(Lsn, Frame)>,
    outputs: &Outputs,
    (life, moves): (Life, bool),
) {
    let mut states = vec![State::default(); plan.ops.len()];
    let mut sent = sent.into_iter().peekable();
    let mut end = batches[0].from;
    for (at, batch) in batches.iter().enumerate() {
        assert_eq!(batch.id, at as u64 + 1, "{batches:?}");
        // A log that takes the place of another one begins above it.
        assert!(
            batch.from == end || (moves && batch.from > end),
            "{batches:?}"
        );
        end = batch.to;
        let mut frames = Vec::new();
        while let Some((_, frame)) = sent.next_if(|(lsn, _)| *lsn < batch.to) {
            frames.push(frame);
        }
        let next = batches.get(at + 1);
        assert!(next.is_none_or(|next| next.time_ms >= batch.time_ms));
        let when = When {
            tick: tick_of(batch),
            is_last: next.is_none_or(|next| next.time_ms > batch.time_ms),
        };
        compare(plan, &mut states, &frames, outputs, (batch.id, when), life);
    }
    assert_eq!(sent.next(), None, "every frame was in a batch");
}

/// The ends of windows that a downtime has missed and that come later: of each slide the first one,
/// because it may have records.
fn missed_ends(plan: &Plan, last: u64, next: u64) -> BTreeSet<u64> {
    let ops = resolved(plan.sources, &plan.ops);
    let slides = ops.iter().filter_map(|op| match op {
        Op::Window(_, _, span) => Some(span.slide),
        _ => None,
    });
    let ends = slides.map(|slide| last.next_multiple_of(slide));
    ends.filter(|end| last < *end && *end < next).collect()
}

/// Computes the last stream of the newest batches again: it must be what they gave.
fn compare_past(plan: &Plan, context: &StreamingContext, outputs: &Outputs, life: Life) {
    let stream = plan.sources + plan.ops.len() - 1;
    let past = context.datasets::<Record>("past").unwrap();
    let last = context.progress().last_batch.unwrap();
    for batch in last.saturating_sub(3).max(1)..=last {
        match past.batch(batch).unwrap().collect() {
            Ok(found) => assert_eq!(
                found,
                outputs.lock().of(stream, batch).unwrap_or_default(), // nothing between two windows
                "batch {batch} again, stream {stream} of {plan:?}, {life:?}"
            ),
            Err(Error::Dataset { .. }) => assert!(batch < last, "the last batch is in reach"),
            Err(other) => panic!("{other}"),
        }
    }
}

fn compare(
    plan: &Plan,
    states: &mut [State],
    frames: &[Frame],
    outputs: &Outputs,
    (batch, when): (u64, When),
    life: Life,
) {
    let ops = resolved(plan.sources, &plan.ops);
    let expected = model_batch(&ops, states, sources_of(plan, frames), when);
    for (number, stream) in expected.iter().enumerate() {
        let found = outputs.lock().of(number, batch);
        assert_eq!(
            found,
            stream.as_ref().map(Model::records),
            "batch {batch}, {when:?}, stream {number} of {plan:?}, {life:?}"
        );
    }
}

proptest! {
    #![proptest_config(saved_seeds::config(400, env!("CARGO_MANIFEST_DIR"), "random_graphs"))]

    #[test]
    fn any_graph_gives_what_the_model_gives_with_any_workers_pieces_and_restarts(
        plan in plan(),
        batches in prop::collection::vec(frames(), 1..7),
        lives in prop::collection::vec(life(), 1..4),
    ) {
        check(&plan, &batches, &lives);
    }
}

fn in_parts() -> impl Strategy<Value = InParts> {
    (life(), 300_u64..3000, 1_usize..4).prop_map(|(life, max_batch_bytes, runs)| InParts {
        life: Life {
            max_batch_bytes,
            ..life
        },
        runs,
    })
}

proptest! {
    #![proptest_config(saved_seeds::config(200, env!("CARGO_MANIFEST_DIR"), "random_graphs"))]

    #[test]
    fn any_graph_gives_what_the_model_gives_in_ticks_of_parts(
        plan in logged(),
        bursts in prop::collection::vec(frames(), 1..5),
        lives in prop::collection::vec(in_parts(), 1..4),
    ) {
        check_parts(&plan, &bursts, &lives);
    }
}

/// Windows, timers and timeouts move at the last part of a tick, whichever parts a process lived to
/// see.
#[test]
fn every_window_and_timer_moves_at_the_last_part_of_a_tick() {
    let span = |length, slide| Span { length, slide };
    let kinds = [
        Windowed::Records,
        Windowed::Reduce,
        Windowed::ReduceInverse,
        Windowed::Count,
        Windowed::CountByValue,
        Windowed::GroupByKey,
        Windowed::ReduceByKey,
        Windowed::ReduceByKeyInverse,
        Windowed::ReduceByKeyFiltered,
    ];
    let timers = (0..32).flat_map(|n| [Op::MapSpec(0, n), Op::UpdateSpec(0, n)]);
    let plans = kinds.map(|kind| {
        let mut ops = Vec::new();
        for span in [span(1, 1), span(2, 1), span(3, 2), span(2, 3)] {
            ops.push(Op::Window(kind, 0, span));
        }
        // What reads a stream of every part beside a window that slides with every tick.
        ops.extend([Op::Join(0, 1, 3), Op::Pairwise(2, 0), Op::UpdateEvery(3)]);
        ops
    });
    let plans = plans.into_iter().chain([timers.collect()]);
    for ops in plans {
        let plan = Plan {
            sources: 1,
            ops,
            kept: [false; 3],
        };
        for (workers, runs) in [(1, 1), (2, 2), (3, 3), (2, 4), (1, 5)] {
            let lives = [End::Killed, End::Immediate, End::Killed, End::Graceful].map(|end| {
                let life = Life {
                    workers,
                    chunk_bytes: 300,
                    every: 2,
                    end,
                    batches: 1,
                    downtime: u64::from(end == End::Killed) * 2,
                    max_batch_bytes: 1000,
                    failures: [0, 0],
                    rebuilds: false,
                };
                InParts { life, runs }
            });
            let frame = |n: u32| {
                (
                    0,
                    vec![((n % 5) as u8, (n + 2, n)), ((n % 7) as u8, (3, n))],
                )
            };
            let bursts: Vec<Vec<Frame>> = [30, 2, 0, 25, 0, 1, 18, 0, 0, 0]
                .iter()
                .map(|count| (0..*count).map(frame).collect())
                .collect();
            let (parts, ends) = check_parts(&plan, &bursts, &lives);
            assert!(parts >= 5, "{parts} parts");
            assert!(ends > 0 || runs > 3, "no life ended within a tick");
        }
    }
}

/// `a.union(b).union(c)`: a later record of c overtook an earlier one of a at any distance.
#[test]
fn a_chain_of_unions_keeps_the_order_of_the_log() {
    let ops = vec![Op::Pairwise(0, 1), Op::Pairwise(3, 2), Op::MapWithState(4)];
    let plan = Plan {
        sources: 3,
        ops,
        kept: [false; 3],
    };
    let frames: Vec<Frame> = (0..300)
        .map(|n| (n * 7 % 3, vec![(1, (2, n as u32))]))
        .collect();
    let life = |workers, chunk_bytes| Life {
        workers,
        chunk_bytes,
        every: 3,
        end: End::Graceful,
        batches: 1,
        downtime: 0,
        max_batch_bytes: NO_PARTS,
        failures: [0, 0],
        rebuilds: false,
    };
    for (workers, chunk_bytes) in [(1, 1 << 20), (1, 100), (2, 1000), (3, 300)] {
        check(
            &plan,
            std::slice::from_ref(&frames),
            &[life(workers, chunk_bytes)],
        );
    }
}

/// What two branches make of one record comes before what either makes of the next one, also within
/// one frame.
#[test]
fn branches_of_one_stream_alternate_record_by_record() {
    let ops = vec![
        Op::Map(0, 1),
        Op::Persist(0),
        Op::Union(vec![1, 0, 2]),
        Op::MapWithState(3),
    ];
    let plan = Plan {
        sources: 1,
        ops,
        kept: [false; 3],
    };
    let frame: Frame = (0, (0..10).map(|n| (1, (n + 2, n))).collect());
    let life = Life {
        workers: 2,
        chunk_bytes: 200,
        every: 9,
        end: End::Immediate,
        batches: 2,
        downtime: 0,
        max_batch_bytes: NO_PARTS,
        failures: [0, 0],
        rebuilds: false,
    };
    check(
        &plan,
        &[vec![frame.clone()], vec![frame.clone(), frame]],
        &[life],
    );
}
