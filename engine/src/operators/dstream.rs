//! `DStream`: how streams are read, fused behind each other, and united.

use crate::batch::chunk::{Chunk, ChunkData, only_input, open};
use crate::batch::positioned::Positioned;
use crate::operators::attempts::on_error::OnError;
use crate::operators::stateless::stateless_node;
use crate::plan::graph::SharedGraph;
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::{LocalFn, MergeFn, NodeWork};
use crate::plan::operator_context::OperatorContext;
use crate::record::{Key, Record};
use crate::state::key_group::WorkerSlot;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

/// The fused stateless operators between a node's output and a stream: feeds every record of a
/// chunk to a function.
pub(crate) type FusedFn<T> =
    Arc<dyn Fn(&OperatorContext, Box<dyn ChunkData>, &mut dyn FnMut(T)) + Send + Sync>;

/// A discretised stream: one sequence of records per batch.
///
/// A stream is a description; nothing runs before
/// [`StreamingContext::start`](crate::StreamingContext::start). Methods take `&self`, so a stream
/// can have several readers. Each reader computes the stateless operators above it again, unless
/// the stream is [persisted](Self::persist).
///
/// Closures are `Fn + Send + Sync`: hidden mutable state would be lost in a crash and does not
/// compile. A panic in a closure fails the batch with the operator, the batch and the record's LSN;
/// it never takes the process down.
///
/// ```
/// # use highwater_engine::{BoxError, StreamScope};
/// // What a context runs: it is given to `get_or_create`.
/// fn program(ssc: &StreamScope) -> Result<(), BoxError> {
///     let lines = ssc.input::<String>("lines");
///     let long = lines.filter(|line| line.len() > 80);
///     long.count().for_each_batch("long lines", |batch, count| println!("{batch}: {count:?}"));
///     Ok(())
/// }
/// ```
pub struct DStream<T> {
    pub(crate) graph: SharedGraph,
    pub(crate) input: NodeId,
    pub(crate) operator: OperatorId,
    pub(crate) fused: FusedFn<T>,
    /// How many operators are fused behind the node.
    pub(crate) depth: usize,
    /// Whether the stream is what a node emits as [`Positioned<T>`], with nothing fused behind it.
    pub(crate) is_positioned: bool,
    /// The same stream with nothing fused behind its node. A function of its own, because methods
    /// such as `map` do not ask that `T` is a [`Record`]: what made the stream has.
    pub(crate) unfused: fn(&DStream<T>) -> DStream<T>,
    /// What becomes of records on which the operators that read the stream fail.
    pub(crate) on_error: OnError<T>,
    /// Two such streams in one, in the order of the log. Known where the policy was set.
    pub(crate) united: Option<UniteFn<T>>,
}

/// Makes one stream of two.
pub(crate) type UniteFn<T> = fn(&DStream<T>, &DStream<T>) -> DStream<T>;

/// So many operators are fused. Each calls the next one: a longer chain would use up the stack, so
/// it is broken by a node.
const MAX_FUSED: usize = 64;

impl<T> Clone for DStream<T> {
    fn clone(&self) -> Self {
        Self {
            graph: Rc::clone(&self.graph),
            input: self.input,
            operator: self.operator,
            fused: Arc::clone(&self.fused),
            depth: self.depth,
            is_positioned: self.is_positioned,
            unfused: self.unfused,
            on_error: self.on_error,
            united: self.united,
        }
    }
}

impl<T> fmt::Debug for DStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DStream")
            .field("operator", &self.operator)
            .finish_non_exhaustive()
    }
}

impl<T: 'static> DStream<T> {
    /// The stream of a physical node that emits `Vec<T>`.
    pub(crate) fn of_node(graph: &SharedGraph, input: NodeId, operator: OperatorId) -> Self
    where
        T: Record,
    {
        let fused: FusedFn<T> =
            Arc::new(|_, data, emit| open::<Vec<T>>(data).into_iter().for_each(emit));
        Self::read_by(graph, input, operator, fused)
    }

    /// The stream of a physical node whose chunks `fused` reads.
    pub(crate) fn read_by(
        graph: &SharedGraph,
        input: NodeId,
        operator: OperatorId,
        fused: FusedFn<T>,
    ) -> Self
    where
        T: Record,
    {
        Self {
            graph: Rc::clone(graph),
            input,
            operator,
            fused,
            depth: 0,
            is_positioned: false,
            unfused: Self::unfuse,
            on_error: OnError::default(),
            united: None,
        }
    }

    /// The stream of a physical node that emits [`Positioned<T>`].
    pub(crate) fn of_positioned(graph: &SharedGraph, input: NodeId, operator: OperatorId) -> Self
    where
        T: Record,
    {
        let fused: FusedFn<T> = Arc::new(|ctx, data, emit| {
            open::<Positioned<T>>(data).for_each(|position, record| {
                ctx.set_position(position);
                emit(record);
            });
        });
        Self {
            graph: Rc::clone(graph),
            input,
            operator,
            fused,
            depth: 0,
            is_positioned: true,
            unfused: Self::unfuse,
            on_error: OnError::default(),
            united: None,
        }
    }

    /// Adds a node that applies `run` to what this stream is fused from.
    pub(crate) fn local(&self, run: LocalFn) -> NodeId {
        let first = self.operator;
        self.graph
            .borrow_mut()
            .node(vec![self.input], NodeWork::Local { first, run })
    }

    /// Adds an operator that sees records one by one, fused behind this stream's.
    pub(crate) fn fuse<U: Record>(
        &self,
        kind: &str,
        at: &Location<'_>,
        fused: impl FnOnce(OperatorId, FusedFn<T>) -> FusedFn<U>,
    ) -> DStream<U> {
        self.fuse_as(kind, at, DStream::unfuse, fused)
    }

    pub(crate) fn fuse_as<U>(
        &self,
        kind: &str,
        at: &Location<'_>,
        unfused: fn(&DStream<U>) -> DStream<U>,
        fused: impl FnOnce(OperatorId, FusedFn<T>) -> FusedFn<U>,
    ) -> DStream<U> {
        let short = (self.depth >= MAX_FUSED).then(|| (self.unfused)(self));
        let input = short.as_ref().unwrap_or(self);
        let operator = self.operator(kind, at);
        DStream {
            graph: Rc::clone(&self.graph),
            input: input.input,
            operator,
            fused: fused(operator, Arc::clone(&input.fused)),
            depth: input.depth + 1,
            is_positioned: false,
            unfused,
            on_error: self.on_error.passed_on(),
            united: None,
        }
    }

    /// The same stream behind a node of its own.
    pub(crate) fn unfuse(&self) -> Self
    where
        T: Record,
    {
        let node = self.materialize_positioned();
        self.like(Self::of_positioned(&self.graph, node, self.operator))
    }

    /// `other`, with the policy of this stream.
    pub(crate) fn like(&self, other: Self) -> Self {
        Self {
            on_error: self.on_error,
            united: self.united,
            ..other
        }
    }

    /// Adds an operator of the engine's own that makes one record of each.
    pub(crate) fn each<U: Record>(
        &self,
        kind: &str,
        at: &Location<'_>,
        f: impl Fn(T) -> U + Send + Sync + 'static,
    ) -> DStream<U> {
        self.fuse(kind, at, |operator, fused| {
            Arc::new(move |ctx, data, emit| {
                fused(ctx, data, &mut |record| {
                    ctx.enter(operator);
                    emit(f(record));
                });
            })
        })
    }

    /// A node that emits this stream as [`Positioned<T>`]: one chunk for each of its input.
    pub(crate) fn materialize_positioned(&self) -> NodeId
    where
        T: Record,
    {
        if self.is_positioned {
            return self.input;
        }
        self.positioned(|here| here)
    }

    /// Makes a node that emits this stream as [`Positioned<T>`], each chunk for the worker that
    /// `target` makes of the one where it is.
    pub(crate) fn positioned(
        &self,
        target: impl Fn(usize) -> usize + Send + Sync + 'static,
    ) -> NodeId
    where
        T: Record,
    {
        let fused = Arc::clone(&self.fused);
        let run: LocalFn = Arc::new(move |slot, ctx, chunk, out| {
            let mut records = Positioned::default();
            fused(ctx, chunk.data, &mut |record| {
                records.push(ctx.position(), record)
            });
            out.push(Chunk::new(chunk.sequence, target(slot.index), records));
        });
        self.local(run)
    }

    /// Makes a node that emits this stream as `Vec<T>`.
    pub(crate) fn materialize(
        &self,
        target: impl Fn(usize) -> usize + Send + Sync + 'static,
    ) -> NodeId
    where
        T: Record,
    {
        let fused = Arc::clone(&self.fused);
        let run: LocalFn = Arc::new(move |slot, ctx, chunk, out| {
            let mut records = Vec::new();
            let sequence = chunk.sequence;
            fused(ctx, chunk.data, &mut |record| records.push(record));
            if !records.is_empty() {
                out.push(Chunk::new(sequence, target(slot.index), records));
            }
        });
        self.local(run)
    }

    /// Computes the stream once per batch for all its readers, instead of once for each. Nothing
    /// is kept beyond the batch, so there is nothing to bound or to unpersist.
    ///
    /// Spark's `persist` also keeps results of past batches. Here that is
    /// `stream.datasets(name).persist(max_bytes)`: what the bound has no room for is computed again
    /// when it is asked for (see [`Datasets`](crate::Datasets)).
    ///
    /// ```
    /// # use highwater_engine::DStream;
    /// # fn program(lines: &DStream<String>) {
    /// let words = lines.flat_map_into(|line, out| line.split(' ').for_each(|w| out.emit(w.to_owned())));
    /// let words = words.persist(); // split once, for both readers
    /// let (longest, all) = (words.map(|word| word.len()).reduce(usize::max), words.count());
    /// # let _ = (longest, all);
    /// # }
    /// ```
    #[track_caller]
    pub fn persist(&self) -> DStream<T>
    where
        T: Record,
    {
        let node = self.materialize_positioned();
        let operator =
            self.graph
                .borrow_mut()
                .operator("persist", None, &[self.operator], Location::caller());
        self.like(Self::of_positioned(&self.graph, node, operator))
    }

    /// Spark's other name for [`Self::persist`].
    #[track_caller]
    pub fn cache(&self) -> DStream<T>
    where
        T: Record,
    {
        self.persist()
    }

    /// Everything of this stream and of `other`.
    ///
    /// Records come in the order of the log: what was made of an earlier record comes first,
    /// whichever stream it came through. Of one record, what came through this stream comes first.
    /// What keyed operators and [`Self::transform`] made of the whole batch comes after that, first
    /// this stream's and then the other's.
    ///
    /// ```
    /// # use highwater_engine::DStream;
    /// # fn program(web: &DStream<String>, shop: &DStream<String>) {
    /// let orders = web.union(shop);
    /// # let _ = orders;
    /// # }
    /// ```
    #[track_caller]
    pub fn union(&self, other: &DStream<T>) -> DStream<T>
    where
        T: Record,
    {
        union(
            &self.graph,
            &[self.clone(), other.clone()],
            Location::caller(),
        )
    }

    /// How often each value occurs in the batch.
    #[track_caller]
    pub fn count_by_value(&self) -> DStream<(T, u64)>
    where
        T: Key,
    {
        let pairs = self.each("count_by_value", Location::caller(), |record| (record, 1));
        pairs.reduce_by_key(|a, b| a + b)
    }

    /// Adds a batch operator without state that reads `input`.
    pub(crate) fn stateless<U: Record>(
        &self,
        operator: OperatorId,
        input: NodeId,
        f: impl Fn(&WorkerSlot, &OperatorContext, Vec<Chunk>, &mut Vec<Chunk>) + Send + Sync + 'static,
    ) -> DStream<U> {
        let of_input =
            move |slot: &WorkerSlot, ctx: &OperatorContext, inputs, out: &mut Vec<Chunk>| {
                f(slot, ctx, only_input(inputs), out);
            };
        let node = stateless_node(&self.graph, operator, vec![input], of_input);
        DStream::of_node(&self.graph, node, operator)
    }

    /// Adds an operator without a name that reads this stream to the logical graph.
    pub(crate) fn operator(&self, kind: &str, at: &Location<'_>) -> OperatorId {
        let mut graph = self.graph.borrow_mut();
        graph.operator(kind, None, &[self.operator], at)
    }

    /// The same for an operator that reads `other` too.
    pub(crate) fn operator_with<U>(
        &self,
        other: &DStream<U>,
        kind: &str,
        at: &Location<'_>,
    ) -> OperatorId {
        let mut graph = self.graph.borrow_mut();
        if Rc::ptr_eq(&self.graph, &other.graph) {
            graph.operator(kind, None, &[self.operator, other.operator], at)
        } else {
            graph.foreign_stream(kind, at);
            graph.operator(kind, None, &[self.operator], at)
        }
    }

    /// The nodes that an operator of this stream and of `other` reads. None if `other` is of
    /// another context: then the program does not start.
    pub(crate) fn inputs_with<U>(
        &self,
        other: &DStream<U>,
        of_this: impl FnOnce(&Self) -> NodeId,
        of_other: impl FnOnce(&DStream<U>) -> NodeId,
    ) -> Vec<NodeId> {
        if Rc::ptr_eq(&self.graph, &other.graph) {
            vec![of_this(self), of_other(other)]
        } else {
            Vec::new()
        }
    }
}

pub(crate) fn union<T: Record>(
    shared: &SharedGraph,
    streams: &[DStream<T>],
    at: &Location<'_>,
) -> DStream<T> {
    let mut inputs = Vec::new();
    if streams.is_empty() {
        shared.borrow_mut().empty_union(at);
    } else if streams.iter().any(|s| !Rc::ptr_eq(shared, &s.graph)) {
        shared.borrow_mut().foreign_stream("union", at);
    } else {
        inputs = streams
            .iter()
            .map(DStream::materialize_positioned)
            .collect();
    }
    let operators: Vec<OperatorId> = streams.iter().map(|s| s.operator).collect();
    let merge: MergeFn = Arc::new(|inputs| {
        Box::new(Positioned::<T>::merge(
            inputs.into_iter().map(open).collect(),
        ))
    });
    let mut graph = shared.borrow_mut();
    let operator = graph.operator("union", None, &operators, at);
    let node = graph.union(inputs, merge);
    drop(graph);
    let united = DStream::of_positioned(shared, node, operator);
    let policies = || streams.iter().map(|stream| stream.on_error.policy);
    match streams.first() {
        Some(first) if policies().all(|policy| policy == first.on_error.policy) => {
            first.like(united)
        }
        _ => united,
    }
}
