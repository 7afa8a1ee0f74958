//! Keyed operators: any stream of pairs. The bounds are on the methods, so that the compiler
//! reports a missing derive as such and not as a missing method.

use crate::batch::chunk::{Chunk, SequenceKey, in_order};
use crate::codec::round_trip;
use crate::operators::dstream::DStream;
use crate::operators::exchange::{Grouped, send_by_key};
use crate::operators::stateful::{KeyState, MapWithState, UpdateState, Visit};
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::LocalFn;
use crate::plan::operator_context::OperatorContext;
use crate::record::{Key, Record, State, Value};
use crate::state::equal_keys::{EqualKeys, MAX_REMEMBERED, UNEQUAL_BYTES};
use crate::state::table::OrderedMap;
use std::collections::BTreeMap;
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
        self.stateless(operator, input, move |_, ctx, chunks, out| {
            let add = |total: &mut Option<V>, values: Vec<V>| {
                values.into_iter().for_each(|value| fold(total, value, &f));
            };
            for (group, keys) in by_group::<K, V, _>(ctx, chunks, add) {
                let records = keys.into_iter().filter_map(|(k, v)| Some((k, v?)));
                let records: Vec<(K, V)> = records.collect();
                out.push(Chunk::new(SequenceKey::batch(u64::from(group)), 0, records));
            }
        })
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
        self.stateless(operator, input, |_, ctx, chunks, out| {
            for (group, keys) in by_group::<K, V, Vec<V>>(ctx, chunks, Extend::extend) {
                let records: Vec<(K, Vec<V>)> = keys.into_iter().collect();
                out.push(Chunk::new(SequenceKey::batch(u64::from(group)), 0, records));
            }
        })
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
    fn group(&self, operator: OperatorId) -> NodeId
    where
        K: Key,
        V: Value,
    {
        let fused = Arc::clone(&self.fused);
        let run: LocalFn = Arc::new(move |slot, ctx, chunk, out| {
            let mut keys = OrderedMap::<K, Vec<V>>::default();
            let sequence = chunk.sequence;
            fused(ctx, chunk.data, &mut |(key, value)| {
                keys.entry(key).or_default().push(value)
            });
            ctx.enter(operator);
            send_by_key(slot, ctx, &sequence, keys, out);
        });
        self.local(run)
    }

    /// The map side with combining: one value per key and chunk.
    fn combine(&self, operator: OperatorId, f: Combine<V>) -> NodeId
    where
        K: Key,
        V: Value,
    {
        let fused = Arc::clone(&self.fused);
        let run: LocalFn = Arc::new(move |slot, ctx, chunk, out| {
            let mut keys = OrderedMap::<K, Option<V>>::default();
            let sequence = chunk.sequence;
            fused(ctx, chunk.data, &mut |(key, value)| {
                ctx.enter(operator);
                fold(keys.entry(key).or_default(), value, &f);
            });
            ctx.enter(operator);
            let keys = keys
                .into_iter()
                .filter_map(|(key, value)| Some((key, vec![value?])));
            send_by_key(slot, ctx, &sequence, keys, out);
        });
        self.local(run)
    }
}

fn fold<V>(total: &mut Option<V>, value: V, f: &Combine<V>) {
    *total = Some(match total.take() {
        Some(before) => f(before, value),
        None => value,
    });
}

/// Gathers the values of each key, by key group: the reduce side of an exchange. `add` takes in a
/// key's values from one chunk; chunks come in the order of the batch.
fn by_group<K: Key, V: Value, T: Default>(
    ctx: &OperatorContext,
    chunks: Vec<Chunk>,
    add: impl Fn(&mut T, Vec<V>),
) -> BTreeMap<u32, OrderedMap<K, T>> {
    let mut groups = BTreeMap::<u32, OrderedMap<K, T>>::new();
    for (group, key, values) in in_order::<Grouped<K, V>>(chunks).flatten() {
        let gathered = groups.entry(group).or_default().entry(key).or_default();
        add(gathered, values);
    }
    check_equal_keys(ctx, &groups);
    groups
}

/// Fails the batch if equal keys are in different groups.
fn check_equal_keys<K: Key, V>(ctx: &OperatorContext, groups: &BTreeMap<u32, OrderedMap<K, V>>) {
    let mut equal_keys = EqualKeys::new(MAX_REMEMBERED);
    for (group, keys) in groups {
        for key in keys.keys() {
            let other = equal_keys.note(key, *group);
            let other = other.and_then(|other| groups.get(&other));
            if other.is_some_and(|keys| keys.contains_key(key)) {
                return ctx.fail(format!(
                    "the key {} {UNEQUAL_BYTES}",
                    round_trip::show_value(key)
                ));
            }
        }
    }
}
