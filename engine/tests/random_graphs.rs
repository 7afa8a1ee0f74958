//! Random graphs of operators beside a model of the whole program: one thread, no pieces, no groups
//! of workers, nothing but lists. Whatever the number of workers, the size of the pieces, and the
//! restarts in between, every batch of every output must be equal, record by record, in order.
//!
//! Values are affine maps modulo a prime: putting two together is associative and depends on their
//! order, so a record that overtakes another one shows in every result that is made of both.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test code"
)]

mod common;
#[path = "../../tests/support/saved_seeds.rs"]
mod saved_seeds;

use common::builder;
use common::table::{INTERVAL_MS, START_MS};
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{
    Batch, CheckpointPolicy, DStream, Error, KeyState, Reduced, Result, StopMode, StreamScope,
    StreamingContext, key_group,
};
use parking_lot::Mutex;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
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

fn updated(new: &[Affine], state: Option<Affine>) -> Option<Affine> {
    let next = all(state.into_iter().chain(new.iter().copied()));
    // Now and then a key goes; it may come back as the youngest of its group.
    (next.1 % 5 != 0).then_some(next)
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

fn totals(stream: &DStream<Record>) -> Reduced<u8, Affine> {
    let pairs = stream.key_by_ref(|(key, value), out| out.emit(key, *value));
    pairs.reduce(|total, value| *total = compose(*total, value))
}

fn build(ssc: &StreamScope, sources: usize, ops: &[Op]) -> Vec<DStream<Record>> {
    let mut streams: Vec<DStream<Record>> = (0..sources)
        .map(|n| ssc.input::<Record>(&format!("in{n}")))
        .collect();
    for (number, op) in ops.iter().enumerate() {
        let name = format!("state{number}");
        let of = |at: &usize| pick(&streams, *at).clone();
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
            Op::Union(inputs) => ssc.union(inputs.iter().map(of)),
            Op::Pairwise(a, b) => of(a).union(&of(b)),
            Op::Persist(s) => of(s).persist(),
            Op::Reduce(s) => of(s).reduce_by_key(compose),
            Op::Group(s) => of(s).group_by_key().map(|(key, values)| (key, all(values))),
            Op::UpdateEvery(s) => of(s).update_state_by_key(&name, |_, new, state| {
                *state = updated(new, *state);
            }),
            Op::UpdateChanged(s) => of(s).update_state_by_key_changed(&name, |_, new, state| {
                *state = updated(new, *state);
            }),
            Op::ReduceRef(s) => totals(&of(s)).cloned(),
            Op::UpdateRef(s) => {
                let update = |_: &u8, total, state: &mut KeyState<'_, Affine>| match updated(
                    &[total],
                    state.get().copied(),
                ) {
                    Some(next) => state.update(next),
                    None => drop(state.remove()),
                };
                totals(&of(s)).update_state(&name, update).cloned()
            }
            Op::MapWithState(s) => {
                of(s).map_with_state(&name, |key, value, state: &mut KeyState<'_, Affine>| {
                    let before = state.get().copied();
                    match updated(&[value], before) {
                        Some(next) => state.update(next),
                        None => drop(state.remove()),
                    }
                    (*key, compose(before.unwrap_or((7, 7)), value))
                })
            }
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
            Op::Aggregate(s) => of(s).aggregate_by_key((1, 0), compose, compose),
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
            Op::Window(kind, s, span) => window(&of(s), *kind, &name, *span),
        };
        streams.push(next);
    }
    streams
}

fn window(stream: &DStream<Record>, kind: Windowed, name: &str, span: Span) -> DStream<Record> {
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

/// Outputs by stream and batch.
type Outputs = Arc<Mutex<BTreeMap<(usize, u64), Vec<Record>>>>;

fn open(
    disk: &SimDisk,
    clock: &Arc<ManualClock>,
    plan: &Plan,
    life: Life,
    outputs: &Outputs,
) -> Result<StreamingContext> {
    let (outputs, sources) = (Arc::clone(outputs), plan.sources);
    let ops = resolved(sources, &plan.ops);
    let clock: Arc<ManualClock> = Arc::clone(clock);
    let context = builder(disk, life.workers)
        .clock(clock)
        .key_groups(GROUPS)
        .seed(SEED)
        .chunk_bytes(life.chunk_bytes)
        .checkpoint(CheckpointPolicy::every_batches(life.every))
        .get_or_create(move |ssc| {
            let streams = build(ssc, sources, &ops);
            if let Some(last) = streams.last() {
                last.datasets("past");
            }
            for (number, stream) in streams.into_iter().enumerate() {
                let outputs = Arc::clone(&outputs);
                stream.for_each_batch(&format!("out{number}"), move |batch, records| {
                    outputs.lock().insert((number, batch.id), records);
                });
            }
            Ok(())
        })?;
    context.start()?;
    Ok(context)
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

    /// Batches are small: what comes from the log is one partition, if there is any.
    fn partitions(&self) -> Vec<Vec<Record>> {
        let log: Vec<Record> = self.log.iter().map(|(_, record)| *record).collect();
        let log = (!log.is_empty()).then_some(log);
        log.into_iter().chain(self.whole.iter().cloned()).collect()
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
}

type Keys = Vec<(u8, Affine)>;

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
    fn batch(&mut self, kind: Windowed, span: Span, tick: u64, input: &Model) -> Option<Model> {
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
        if !tick.is_multiple_of(span.slide) {
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

/// What every stream has at `tick`; nothing between two windows.
fn model_batch(
    ops: &[Op],
    states: &mut [State],
    sources: Vec<Model>,
    tick: u64,
) -> Vec<Option<Model>> {
    let mut streams: Vec<Option<Model>> = sources.into_iter().map(Some).collect();
    for (op, state) in ops.iter().zip(states) {
        let next = model_op(op, state, &streams, tick);
        streams.push(next);
    }
    streams
}

fn model_op(op: &Op, state: &mut State, streams: &[Option<Model>], tick: u64) -> Option<Model> {
    let nothing = Model::default();
    let input = |at: &usize| streams[at % streams.len()].as_ref();
    let of = |at: &usize| input(at).unwrap_or(&nothing);
    let acts_with = match op {
        Op::Union(inputs) => inputs[0],
        Op::Pairwise(s, _)
        | Op::TransformWith(s, _)
        | Op::Cogroup(s, _)
        | Op::Join(s, _, _)
        | Op::Broadcast(_, s) => *s,
        Op::Window(kind, s, span) => return state.window.batch(*kind, *span, tick, input(s)?),
        Op::Map(s, _)
        | Op::Filter(s, _)
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
        | Op::Count(s) => *s,
    };
    input(&acts_with)?;
    let state = &mut state.keys;
    Some({
        match op {
            Op::Map(s, n) => of(s).each(|record| vec![mapped(*n, record)]),
            Op::Filter(s, n) => of(s).each(|r| if kept(*n, &r) { vec![r] } else { vec![] }),
            Op::FlatMap(s, n) => of(s).each(|record| flat(*n, record)),
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
                if matches!(op, Op::UpdateEvery(_)) {
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
            Op::Broadcast(a, b) => {
                // The state is one entry: the newest record.
                let before = state.first().copied();
                *state = of(a)
                    .records()
                    .last()
                    .copied()
                    .or(before)
                    .into_iter()
                    .collect();
                of(b).each(|(key, value)| match before {
                    Some(newest) => vec![(key, compose(value, newest.1))],
                    None => vec![(key, value)],
                })
            }
            Op::Window(..) => unreachable!("it has returned"),
        }
    })
}

// ---- programs

#[derive(Debug, Clone)]
struct Plan {
    sources: usize,
    ops: Vec<Op>,
}

#[derive(Debug, Clone, Copy)]
struct Life {
    workers: usize,
    chunk_bytes: u64,
    every: u64,
    /// How it ends.
    graceful: bool,
    /// How many of the batches it runs.
    batches: usize,
    /// How many ticks pass before it begins.
    downtime: u64,
}

/// One call of `send_all`: source, records.
type Frame = (usize, Vec<Record>);

fn plan() -> impl Strategy<Value = Plan> {
    (1_usize..4, prop::collection::vec(op(), 1..10))
        .prop_map(|(sources, ops)| Plan { sources, ops })
}

fn life() -> impl Strategy<Value = Life> {
    (
        1_usize..4,
        100_u64..3000,
        1_u64..5,
        any::<bool>(),
        1_usize..4,
        prop_oneof![3 => Just(0), 1 => 1_u64..6],
    )
        .prop_map(
            |(workers, chunk_bytes, every, graceful, batches, downtime)| Life {
                workers,
                chunk_bytes,
                every,
                graceful,
                batches,
                downtime,
            },
        )
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let record = (0..KEYS, (1_u32..1000, 0_u32..1000));
    prop::collection::vec((0_usize..3, prop::collection::vec(record, 1..5)), 0..30)
}

fn send(context: &StreamingContext, plan: &Plan, frames: &[Frame]) {
    for (source, records) in frames {
        let name = format!("in{}", source % plan.sources);
        let input = context.input::<Record>(&name).unwrap();
        input.send_all(records).unwrap().wait().unwrap();
    }
}

fn sources_of(plan: &Plan, frames: &[Frame]) -> Vec<Model> {
    let mut models = vec![Model::default(); plan.sources];
    let records = frames
        .iter()
        .flat_map(|(source, records)| records.iter().map(move |r| (source % plan.sources, *r)));
    for (place, (source, record)) in records.enumerate() {
        models[source].log.push((place, record));
    }
    models
}

fn check(plan: &Plan, batches: &[Vec<Frame>], lives: &[Life]) {
    let (disk, outputs) = (SimDisk::new(), Outputs::default());
    let mut states = vec![State::default(); plan.ops.len()];
    let ticks = Cell::new(0);
    let clock = Arc::new(ManualClock::new(START_MS));
    let advance = |by: u64| {
        clock.advance(Duration::from_millis(by * INTERVAL_MS));
        ticks.set(ticks.get() + by);
    };
    let mut lives = lives.iter().cycle();
    let mut rest = batches;
    while !rest.is_empty() {
        let life = *lives.next().unwrap();
        let last = ticks.get();
        if last > 0 {
            advance(life.downtime); // windows are aligned to the first batch
        }
        let mut missed = missed_ends(plan, last, ticks.get() + 1);
        let context = open(&disk, &clock, plan, life, &outputs).unwrap();
        let (now, later) = rest.split_at(life.batches.min(rest.len()));
        for frames in now {
            advance(1);
            send(&context, plan, frames);
            let batch = context.run_batch().unwrap();
            assert_eq!(batch.time_ms, START_MS + ticks.get() * INTERVAL_MS);
            let missed = std::mem::take(&mut missed);
            let first = batch.id - missed.len() as u64;
            for (id, tick) in (first..).zip(missed) {
                compare(plan, &mut states, &[], &outputs, (id, tick), life);
            }
            let batch = (batch.id, ticks.get());
            compare(plan, &mut states, frames, &outputs, batch, life);
        }
        compare_past(plan, &context, &outputs, life);
        if life.graceful {
            let last = context.progress().last_batch.unwrap() + 1;
            advance(1);
            context.stop(StopMode::Graceful).unwrap();
            let last = (last, ticks.get());
            compare(plan, &mut states, &[], &outputs, last, life);
        }
        rest = later;
    }
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
                outputs
                    .lock()
                    .get(&(stream, batch))
                    .cloned()
                    .unwrap_or_default(), // nothing between two windows
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
    (batch, tick): (u64, u64),
    life: Life,
) {
    let ops = resolved(plan.sources, &plan.ops);
    let expected = model_batch(&ops, states, sources_of(plan, frames), tick);
    for (number, stream) in expected.iter().enumerate() {
        let found = outputs.lock().get(&(number, batch)).cloned();
        assert_eq!(
            found,
            stream.as_ref().map(Model::records),
            "batch {batch}, stream {number} of {plan:?}, {life:?}"
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

/// `a.union(b).union(c)`: a later record of c overtook an earlier one of a at any distance.
#[test]
fn a_chain_of_unions_keeps_the_order_of_the_log() {
    let ops = vec![Op::Pairwise(0, 1), Op::Pairwise(3, 2), Op::MapWithState(4)];
    let plan = Plan { sources: 3, ops };
    let frames: Vec<Frame> = (0..300)
        .map(|n| (n * 7 % 3, vec![(1, (2, n as u32))]))
        .collect();
    let life = |workers, chunk_bytes| Life {
        workers,
        chunk_bytes,
        every: 3,
        graceful: true,
        batches: 1,
        downtime: 0,
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
    let plan = Plan { sources: 1, ops };
    let frame: Frame = (0, (0..10).map(|n| (1, (n + 2, n))).collect());
    let life = Life {
        workers: 2,
        chunk_bytes: 200,
        every: 9,
        graceful: false,
        batches: 2,
        downtime: 0,
    };
    check(
        &plan,
        &[vec![frame.clone()], vec![frame.clone(), frame]],
        &[life],
    );
}
