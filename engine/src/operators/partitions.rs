//! Operators that see a batch in partitions: `glom`, `map_partitions`, `repartition`.
//!
//! A partition follows from the log and the program alone, never from workers or chunks:
//!
//! - Of records that come straight from the log, it is a stretch of [`PARTITION_BYTES`] of the
//!   batch's log. One without a record of the stream is no partition.
//! - Of records of a source that keeps them itself, it is a stretch of [`PARTITION_OFFSETS`] of the
//!   batch's offsets, after those of the log.
//! - Of what an operator made of the whole batch, it is what it made at once: one key group, or
//!   everything for operators that see the whole batch on one worker.
//! - After `repartition(n)`, it is one of `n` parts of equal length.

use crate::batch::chunk::{self, Chunk, SequenceKey, in_order, only_input, open};
use crate::batch::positioned::{Position, Positioned};
use crate::batch::source_range::place;
use crate::error::GraphError;
use crate::operators::dstream::{DStream, FusedFn};
use crate::operators::stateless::stateless_node;
use crate::plan::ids::NodeId;
use crate::plan::node::LocalFn;
use crate::plan::operator_context::OperatorContext;
use crate::record::{Record, Value};
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::Arc;

/// Length of a partition of the log, in bytes.
const PARTITION_BYTES: u64 = 512 << 10;

/// Length of a partition of offsets.
const PARTITION_OFFSETS: u64 = 128 << 10;

/// More partitions are not meant.
const MAX_PARTITIONS: usize = 32_768;

/// Records of one partition on their way to the worker that gathers it.
pub(crate) type Part<T> = (SequenceKey, Vec<T>);

impl<T: 'static> DStream<T> {
    /// One record per partition: all its records, in their order.
    ///
    /// A partition is a stretch of 512 KiB of the batch's log. After [`Self::repartition`] it is
    /// one of the parts, after a keyed operator one key group, after operators that see the whole
    /// batch all of it. So it depends neither on workers nor on restarts. Partitions come in the
    /// order of their records; a batch without records has none (after `repartition(n)` it has `n`
    /// empty ones).
    ///
    /// ```
    /// # use highwater_engine::DStream;
    /// # fn program(lines: &DStream<String>) {
    /// let sizes = lines.glom().map(|partition: Vec<String>| partition.len());
    /// # let _ = sizes;
    /// # }
    /// ```
    #[track_caller]
    pub fn glom(&self) -> DStream<Vec<T>>
    where
        T: Value,
    {
        self.partitioned("glom", Location::caller(), |records| vec![records])
    }

    /// Calls `f` with the records of each partition (see [`Self::glom`]) and hands on everything
    /// that it returns: for work with a costly beginning, which is then done once per partition.
    /// Partitions are spread over the workers.
    ///
    /// ```
    /// # use highwater_engine::DStream;
    /// # fn program(names: &DStream<String>) {
    /// let known = names.map_partitions(|names| {
    ///     let table = std::collections::HashSet::from(["ada", "grace"]); // costly: once per partition
    ///     names.into_iter().filter(move |name| table.contains(name.as_str()))
    /// });
    /// # let _: DStream<String> = known;
    /// # }
    /// ```
    #[track_caller]
    pub fn map_partitions<I>(
        &self,
        f: impl Fn(Vec<T>) -> I + Send + Sync + 'static,
    ) -> DStream<I::Item>
    where
        I: IntoIterator,
        I::Item: Record,
        T: Value,
    {
        let collected = move |records| f(records).into_iter().collect();
        self.partitioned("map_partitions", Location::caller(), collected)
    }

    /// Cuts each batch into `partitions` parts of equal length, in the order of its records, and
    /// spreads them over the workers: for a stream whose work is uneven, or that comes from one
    /// worker. The order of the records stays; what follows sees them as made of the whole batch.
    ///
    /// `partitions` is from 1 to 32768; otherwise the program does not start.
    #[track_caller]
    pub fn repartition(&self, partitions: usize) -> DStream<T>
    where
        T: Value,
    {
        let at = Location::caller();
        let operator = self.operator("repartition", at);
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            self.graph.borrow_mut().error(GraphError::BadSetting {
                operator: format!("repartition at {}:{}", at.file(), at.line()),
                what: format!("partitions must be from 1 to {MAX_PARTITIONS}, not {partitions}"),
            });
        }
        let all = self.positioned(|_| 0);
        let graph = &self.graph;
        let split = stateless_node(graph, operator, vec![all], move |slot, _, chunks, out| {
            if slot.index == 0 {
                split::<T>(only_input(chunks), partitions, slot.peers, out);
            }
        });
        let spread = stateless_node(graph, operator, vec![split], |_, _, chunks, out| {
            let mut chunks = only_input(chunks);
            chunk::sort(&mut chunks);
            out.append(&mut chunks);
        });
        Self::of_positioned(&self.graph, spread, operator)
    }

    /// Applies `f` to each partition.
    pub(super) fn partitioned<U: Record>(
        &self,
        kind: &str,
        at: &Location<'_>,
        f: impl Fn(Vec<T>) -> Vec<U> + Send + Sync + 'static,
    ) -> DStream<U>
    where
        T: Value,
    {
        let operator = self.operator(kind, at);
        let input = self.parts();
        self.stateless(operator, input, move |_, _, chunks, out| {
            let mut partitions = BTreeMap::<SequenceKey, Vec<T>>::new();
            for (partition, mut records) in in_order::<Part<T>>(chunks).flatten() {
                partitions
                    .entry(partition)
                    .or_default()
                    .append(&mut records);
            }
            let results = partitions
                .into_iter()
                .map(|(partition, records)| Chunk::new(partition.of_part(), 0, f(records)));
            out.extend(results);
        })
    }

    /// Brings what belongs to one partition to one worker.
    fn parts(&self) -> NodeId
    where
        T: Value,
    {
        let fused = Arc::clone(&self.fused);
        let run: LocalFn = Arc::new(move |slot, ctx, chunk, out| {
            let sequence = chunk.sequence.clone();
            for (partition, records) in parts_of(&fused, ctx, chunk) {
                let target = match &partition {
                    SequenceKey::Log(number) => worker_of(*number, slot.peers),
                    SequenceKey::Batch(_) => slot.index,
                };
                let part: Vec<Part<T>> = vec![(partition, records)];
                out.push(Chunk::new(sequence.clone(), target, part));
            }
        });
        self.local(run)
    }
}

/// What a chunk has of each partition.
pub(crate) fn parts_of<T: 'static>(
    fused: &FusedFn<T>,
    ctx: &OperatorContext,
    chunk: Chunk,
) -> Vec<Part<T>> {
    let Chunk { sequence, data, .. } = chunk;
    if let SequenceKey::Batch(_) = sequence {
        let mut records = Vec::new();
        fused(ctx, data, &mut |record| records.push(record));
        return vec![(sequence, records)];
    }
    let batch = ctx.batch();
    let by_offset = place(batch);
    let of_log = batch.to.bytes_since(batch.from) / PARTITION_BYTES + 1;
    let mut parts: Vec<(u64, Vec<T>)> = Vec::new();
    fused(ctx, data, &mut |record| {
        let number = match ctx.position() {
            None => 0,
            Some(Position { lsn, index }) if lsn == by_offset => {
                of_log + u64::from(index) / PARTITION_OFFSETS
            }
            Some(Position { lsn, .. }) => lsn.bytes_since(batch.from) / PARTITION_BYTES,
        };
        match parts.last_mut() {
            Some((last, records)) if *last == number => records.push(record),
            _ => parts.push((number, vec![record])),
        }
    });
    let parts = parts.into_iter();
    parts
        .map(|(number, records)| (SequenceKey::Log(number), records))
        .collect()
}

/// The worker that gets part `number` of a batch.
fn worker_of(number: u64, peers: usize) -> usize {
    let worker = number % (peers as u64);
    usize::try_from(worker).expect("a worker is below the number of workers")
}

/// Cuts the records of a batch into parts of equal length, but for one record.
fn split<T: Record>(mut chunks: Vec<Chunk>, partitions: usize, peers: usize, out: &mut Vec<Chunk>) {
    chunk::sort(&mut chunks);
    let chunks: Vec<Positioned<T>> = chunks.into_iter().map(|c| open(c.data)).collect();
    let total: usize = chunks.iter().map(Positioned::len).sum();
    let mut parts = (0..partitions as u64)
        .map(|number| (number, Positioned::default()))
        .collect::<Vec<_>>()
        .into_iter();
    let mut emit = |(number, part): (u64, Positioned<T>)| {
        let sequence = SequenceKey::batch(number);
        out.push(Chunk::new(sequence, worker_of(number, peers), part));
    };
    let mut part = parts.next();
    // Part p has the records from p * total / partitions on.
    let end_of = |number: u64| {
        let end = (u128::from(number) + 1) * total as u128 / partitions as u128;
        usize::try_from(end).expect("a place among the records")
    };
    let mut taken = 0;
    for chunk in chunks {
        chunk.for_each(|position, record| {
            while part.as_ref().is_some_and(|(n, _)| end_of(*n) <= taken) {
                part.take().into_iter().for_each(&mut emit);
                part = parts.next();
            }
            if let Some((_, records)) = &mut part {
                records.push(position, record);
            }
            taken += 1;
        });
    }
    part.into_iter().chain(parts).for_each(emit);
}
