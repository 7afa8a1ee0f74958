//! Operators that bring a whole batch, or those of two streams, to one worker.

use crate::batch::Batch;
use crate::batch::chunk::{Chunk, SequenceKey, in_order};
use crate::operators::dstream::DStream;
use crate::operators::stateless::stateless_node;
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::LocalFn;
use crate::plan::operator_context::OperatorContext;
use crate::record::{Record, Value};
use std::panic::Location;
use std::sync::Arc;

impl<T: 'static> DStream<T> {
    /// Applies `f` to each batch as a whole, in order of arrival: what sorting, sampling or joining
    /// with a table needs. The whole batch is brought to one worker; `f` is called for an empty
    /// batch too.
    ///
    /// ```
    /// # use highwater_engine::{DStream, StreamScope};
    /// # fn program(ssc: &StreamScope) {
    /// let numbers: DStream<u64> = ssc.input("numbers");
    /// let sorted = numbers.transform(|mut numbers, batch| {
    ///     numbers.sort_unstable();
    ///     numbers.into_iter().map(|n| (batch.time_ms, n)).collect()
    /// });
    /// # sorted.for_each_batch("out", |_, _| ());
    /// # }
    /// ```
    #[track_caller]
    pub fn transform<U: Record>(
        &self,
        f: impl Fn(Vec<T>, &Batch) -> Vec<U> + Send + Sync + 'static,
    ) -> DStream<U>
    where
        T: Value,
    {
        let operator = self.operator("transform", Location::caller());
        let input = self.materialize(|_| 0);
        self.whole(operator, vec![input], move |ctx, inputs| {
            let [records] = inputs;
            f(all(records), ctx.batch())
        })
    }

    /// Applies `f` to the batches of this stream and of `other`, each as a whole, in order of
    /// arrival. Both are brought to one worker; `f` is called for empty batches too.
    ///
    /// ```
    /// # use highwater_engine::{DStream, StreamScope};
    /// # fn program(ssc: &StreamScope) {
    /// let (seen, known): (DStream<u64>, DStream<u64>) = (ssc.input("seen"), ssc.input("known"));
    /// let unknown = seen.transform_with(&known, |seen, known, _batch| {
    ///     seen.into_iter().filter(|n| !known.contains(n)).collect()
    /// });
    /// # unknown.for_each_batch("out", |_, _| ());
    /// # }
    /// ```
    #[track_caller]
    pub fn transform_with<W: Value, U: Record>(
        &self,
        other: &DStream<W>,
        f: impl Fn(Vec<T>, Vec<W>, &Batch) -> Vec<U> + Send + Sync + 'static,
    ) -> DStream<U>
    where
        T: Value,
    {
        let at = Location::caller();
        let operator = self.operator_with(other, "transform_with", at);
        let inputs = self.inputs_with(
            other,
            |stream| stream.materialize(|_| 0),
            |stream| stream.materialize(|_| 0),
        );
        self.whole(operator, inputs, move |ctx, inputs| {
            let [left, right] = inputs;
            f(all(left), all(right), ctx.batch())
        })
    }

    /// All records of a batch combined to one with `f`, which must be associative; nothing for an
    /// empty batch. Records are combined in order of arrival, first within each chunk of the log.
    ///
    /// ```
    /// # use highwater_engine::DStream;
    /// # fn program(temperatures: &DStream<i64>) {
    /// let highest: DStream<i64> = temperatures.reduce(i64::max);
    /// # let _ = highest;
    /// # }
    /// ```
    #[track_caller]
    pub fn reduce(&self, f: impl Fn(T, T) -> T + Send + Sync + 'static) -> DStream<T>
    where
        T: Value,
    {
        let operator = self.operator("reduce", Location::caller());
        let (fused, f) = (Arc::clone(&self.fused), Arc::new(f));
        let combine = Arc::clone(&f);
        let run: LocalFn = Arc::new(move |_, ctx, chunk, out| {
            let mut total = None;
            let sequence = chunk.sequence;
            fused(ctx, chunk.data, &mut |record| {
                ctx.enter(operator);
                total = Some(match total.take() {
                    Some(before) => combine(before, record),
                    None => record,
                });
            });
            out.extend(total.map(|total| Chunk::new(sequence, 0, vec![total])));
        });
        let input = self.local(run);
        self.whole(operator, vec![input], move |_, inputs| {
            let [totals] = inputs;
            all(totals)
                .into_iter()
                .reduce(|a, b| f(a, b))
                .into_iter()
                .collect()
        })
    }

    /// One record per batch: how many records the batch has (0 for an empty one).
    #[track_caller]
    pub fn count(&self) -> DStream<u64> {
        let operator = self.operator("count", Location::caller());
        let fused = Arc::clone(&self.fused);
        let run: LocalFn = Arc::new(move |_, ctx, chunk, out| {
            let mut count = 0_u64;
            let sequence = chunk.sequence;
            fused(ctx, chunk.data, &mut |_| count += 1);
            out.push(Chunk::new(sequence, 0, vec![count]));
        });
        let input = self.local(run);
        self.whole(operator, vec![input], |_, inputs| {
            let [counts] = inputs;
            vec![all::<u64>(counts).into_iter().sum()]
        })
    }

    /// Adds an operator that applies `f` to the batches of its `N` inputs, of which worker 0 has
    /// everything.
    fn whole<U: Record, const N: usize>(
        &self,
        operator: OperatorId,
        inputs: Vec<NodeId>,
        f: impl Fn(&OperatorContext, [Vec<Chunk>; N]) -> Vec<U> + Send + Sync + 'static,
    ) -> DStream<U> {
        let node = stateless_node(
            &self.graph,
            operator,
            inputs,
            move |slot, ctx, inputs, out| {
                if slot.index != 0 {
                    return;
                }
                let inputs = inputs.try_into();
                let result = f(ctx, inputs.expect("the operator was built with its inputs"));
                if !result.is_empty() {
                    out.push(Chunk::new(SequenceKey::batch(0), 0, result));
                }
            },
        );
        DStream::of_node(&self.graph, node, operator)
    }
}

/// The records of a batch, in its order.
fn all<T: 'static>(chunks: Vec<Chunk>) -> Vec<T> {
    in_order::<T>(chunks).flatten().collect()
}
