//! Keyed operators: any stream of pairs. The bounds are on the methods, so that the compiler
//! reports a missing derive as such and not as a missing method.

use crate::operators::by_group::by_group;
use crate::operators::dstream::DStream;
use crate::operators::exchange::send_by_key;
use crate::operators::first_touch::FirstTouch;
use crate::operators::stateful::{KeyState, MapWithState, UpdateState, Visit};
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::{BatchOperatorFactory, LocalFn, NodeWork};
use crate::record::{Key, Record, State, Value};
use std::panic::Location;
use std::sync::Arc;

type Combine<V> = Arc<dyn Fn(V, V) -> V + Send + Sync>;

impl<K: 'static, V: 'static> DStream<(K, V)> {
    /// Combines all values of a key in the batch with `f`, which must be associative. Values are
    /// combined in order of arrival, first within each chunk of the log, before anything is
    /// shuffled.
    #[track_caller]
    pub fn reduce_by_key(&self, f: impl Fn(V, V) -> V + Send + Sync + 'static) -> DStream<(K, V)>
    where
        K: Key,
        V: Value,
    {
        let f: Combine<V> = Arc::new(f);
        let at = Location::caller();
        let operator =
            self.graph
                .borrow_mut()
                .operator("reduce_by_key", None, &[self.operator], at);
        let input = self.combine(operator, Arc::clone(&f));
        let add = move |total: &mut Option<V>, value: Option<V>| {
            if let Some(value) = value {
                fold(total, value, &f);
            }
        };
        let make = by_group(operator, add, |key: K, total: Option<V>| {
            Some((key, total?))
        });
        self.keyed(operator, input, make)
    }

    /// Gathers all values of a key in the batch, in order of arrival.
    #[track_caller]
    pub fn group_by_key(&self) -> DStream<(K, Vec<V>)>
    where
        K: Key,
        V: Value,
    {
        let operator = self.graph.borrow_mut().operator(
            "group_by_key",
            None,
            &[self.operator],
            Location::caller(),
        );
        let input = self.group(operator);
        let add = |all: &mut Vec<V>, values: Vec<V>| append(all, values);
        let make = by_group(operator, add, |key: K, all: Vec<V>| Some((key, all)));
        self.keyed(operator, input, make)
    }

    /// Updates the state `name` of each key with the values that arrived for it, and emits every
    /// key with its state.
    ///
    /// As in Spark, `f` is called for **every** key that has state, with no values if none arrived.
    /// Setting the state to `None` deletes the key. The state is kept in checkpoints under `name`.
    #[track_caller]
    pub fn update_state_by_key<S>(
        &self,
        name: &str,
        f: impl Fn(&K, &[V], &mut Option<S>) + Send + Sync + 'static,
    ) -> DStream<(K, S)>
    where
        K: Key,
        V: Value,
        S: State,
    {
        self.update(name, Visit::EveryKey, f, Location::caller())
    }

    /// Like [`Self::update_state_by_key`], but `f` is called, and records are emitted, only for
    /// keys with values in the batch. The cost follows the input, not the number of keys ever seen.
    #[track_caller]
    pub fn update_state_by_key_changed<S>(
        &self,
        name: &str,
        f: impl Fn(&K, &[V], &mut Option<S>) + Send + Sync + 'static,
    ) -> DStream<(K, S)>
    where
        K: Key,
        V: Value,
        S: State,
    {
        self.update(name, Visit::ChangedKeys, f, Location::caller())
    }

    fn update<S: State>(
        &self,
        name: &str,
        visit: Visit,
        f: impl Fn(&K, &[V], &mut Option<S>) + Send + Sync + 'static,
        at: &Location<'_>,
    ) -> DStream<(K, S)>
    where
        K: Key,
        V: Value,
    {
        let kind = visit.operator_kind();
        let operator = self
            .graph
            .borrow_mut()
            .operator(kind, Some(name), &[self.operator], at);
        let input = self.group(operator);
        let node = UpdateState::node(&self.graph, name, visit, input, operator, Arc::new(f));
        DStream::of_node(&self.graph, node, operator)
    }

    /// Runs `f` for every record with the state that its key has in `name`, and emits what `f`
    /// returns. Costs follow the input. Records of a key are visited in order of arrival.
    #[track_caller]
    pub fn map_with_state<S, U>(
        &self,
        name: &str,
        f: impl Fn(&K, V, &mut KeyState<'_, S>) -> U + Send + Sync + 'static,
    ) -> DStream<U>
    where
        K: Key,
        V: Value,
        S: State,
        U: Record,
    {
        let at = Location::caller();
        let operator =
            self.graph
                .borrow_mut()
                .operator("map_with_state", Some(name), &[self.operator], at);
        let input = self.group(operator);
        let node = MapWithState::node(&self.graph, name, input, operator, Arc::new(f));
        DStream::of_node(&self.graph, node, operator)
    }

    /// The map side of an exchange: the values of a key gathered per chunk, so that a key travels
    /// once.
    pub(crate) fn group(&self, operator: OperatorId) -> NodeId
    where
        K: Key,
        V: Value,
    {
        self.touch(operator, |values: &mut Vec<V>, value| values.push(value))
    }

    /// The map side with combining: one value per key and chunk.
    fn combine(&self, operator: OperatorId, f: Combine<V>) -> NodeId
    where
        K: Key,
        V: Value,
    {
        self.touch(operator, move |total: &mut Option<V>, value| {
            fold(total, value, &f);
        })
    }

    /// The map side of an exchange: `add` gathers what a chunk has of each key. The hash of a key
    /// is computed here, and nowhere else.
    pub(crate) fn touch<T: Value + Default>(
        &self,
        operator: OperatorId,
        add: impl Fn(&mut T, V) + Send + Sync + 'static,
    ) -> NodeId
    where
        K: Key,
        V: Value,
    {
        let fused = Arc::clone(&self.fused);
        let run: LocalFn = Arc::new(move |slot, ctx, chunk, out| {
            let mut keys = FirstTouch::<K, T>::default();
            let sequence = chunk.sequence;
            fused(ctx, chunk.data, &mut |(key, value)| {
                ctx.enter(operator);
                match slot.groups.hash(&key) {
                    Ok(hash) => add(keys.value(hash, key), value),
                    Err(error) => ctx.fail(error.to_string()),
                }
            });
            ctx.enter(operator);
            send_by_key(slot, &sequence, keys.take(), out);
        });
        self.local(run)
    }

    /// A batch operator after the exchange.
    pub(crate) fn keyed<U>(
        &self,
        operator: OperatorId,
        input: NodeId,
        make: BatchOperatorFactory,
    ) -> DStream<U>
    where
        U: Record,
    {
        let work = NodeWork::Batch {
            operator,
            make,
            state: None,
        };
        let node = self.graph.borrow_mut().node(vec![input], work);
        DStream::of_node(&self.graph, node, operator)
    }
}

fn fold<V>(total: &mut Option<V>, value: V, f: &Combine<V>) {
    *total = Some(match total.take() {
        Some(before) => f(before, value),
        None => value,
    });
}

/// Adds `values` to `all`, without copying if they are the first.
fn append<V>(all: &mut Vec<V>, values: Vec<V>) {
    if all.is_empty() {
        *all = values;
    } else {
        all.extend(values);
    }
}
