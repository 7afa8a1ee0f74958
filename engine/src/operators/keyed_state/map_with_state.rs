//! `map_with_state`: a result for each record, from the record and the state of its key.

use crate::batch::chunk::{Chunk, SequenceKey};
use crate::codec::round_trip;
use crate::operators::dstream::DStream;
use crate::operators::keyed_state::list_intake::ListIntake;
use crate::operators::keyed_state::state_spec::{MapFn, StateSpec};
use crate::operators::keyed_state::state_stream::{self, StateStream};
use crate::operators::keyed_state::stateful::{
    Declared, check_state, checked_initial, checked_timeout, stateful_node,
};
use crate::operators::pairs::lists::{Arranged, List};
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::BatchOperator;
use crate::plan::operator_context::OperatorContext;
use crate::record::{Key, Record, State, Value};
use crate::state::access::{KeyState, StateGuard};
use crate::state::table::group::Group;
use crate::state::table::shared::reading::SharedGroup;
use crate::state::table::slots::{LastVisit, Stamp};
use crate::state::table::states::{KeptState, StateTable};
use crate::state::table::visits::visit::{Visited, Visiting};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const MAP_WITH_STATE: &str = "map_with_state";

impl<K: 'static, V: 'static> DStream<(K, V)> {
    /// Runs `f` for every record with the state that its key has in `name`, and emits what `f`
    /// returns. Costs follow the input. Keys are visited by key group, in the order of their first
    /// record in the batch, and the records of a key in order of arrival.
    ///
    /// ```
    /// # use highwater_engine::{DStream, KeyState};
    /// # fn program(clicks: &DStream<(String, u64)>) {
    /// // The n-th click of a user.
    /// let numbered = clicks.map_with_state("seen", |user, page, seen: &mut KeyState<'_, u64>| {
    ///     seen.update(seen.get().copied().unwrap_or(0) + 1);
    ///     (user.clone(), page, seen.get().copied())
    /// });
    /// # let _: DStream<(String, u64, Option<u64>)> = numbered.clone();
    /// # }
    /// ```
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
        let mut graph = self.graph.borrow_mut();
        let inputs = [self.operator];
        let operator = graph.operator(MAP_WITH_STATE, Some(name), &inputs, Location::caller());
        drop(graph);
        let f: MapFn<K, V, S, U> =
            Arc::new(move |_, key, value, state| Some(f(key, value?, state)));
        let declared = Declared {
            name,
            kind: MAP_WITH_STATE,
            initial: Vec::new(),
            timeout_ms: None,
        };
        let node = self.map_with_state_node::<S, U, ()>(operator, f, declared, None);
        DStream::of_node(&self.graph, node, operator)
    }

    /// Like [`Self::map_with_state`], with what the [`StateSpec`] says: an initial state, a
    /// timeout; and the function sees the batch. The result is a stream of what the function
    /// returned, which can also give all states after each batch
    /// ([`state_snapshots`](StateStream::state_snapshots)).
    ///
    /// Any visit with a record refreshes the deadline of a key that has state afterwards. A key
    /// times out in the first batch whose time is more than the timeout after the batch of its
    /// last record.
    #[track_caller]
    pub fn map_with_state_spec<S, U>(
        &self,
        name: &str,
        spec: StateSpec<K, V, S, U>,
    ) -> StateStream<K, S, U>
    where
        K: Key,
        V: Value,
        S: State,
        U: Record,
    {
        let mut graph = self.graph.borrow_mut();
        let inputs = [self.operator];
        let operator = graph.operator(MAP_WITH_STATE, Some(name), &inputs, Location::caller());
        let initial = checked_initial(spec.initial);
        let initial = graph.checked(operator, initial).unwrap_or_default();
        let timeout = spec.timeout.map(|t| checked_timeout("a timeout", t));
        let timeout_ms = timeout.and_then(|t| graph.checked(operator, t));
        drop(graph);
        let declared = Declared {
            name,
            kind: MAP_WITH_STATE,
            initial,
            timeout_ms,
        };
        let wanted = Arc::new(AtomicBool::new(false));
        let snapshots = Some(Arc::clone(&wanted));
        let node = match timeout_ms {
            Some(_) => {
                self.map_with_state_node::<S, U, LastVisit>(operator, spec.f, declared, snapshots)
            }
            None => self.map_with_state_node::<S, U, ()>(operator, spec.f, declared, snapshots),
        };
        StateStream::of_node(&self.graph, node, operator, wanted)
    }

    fn map_with_state_node<S: State, U: Record, T: Stamp>(
        &self,
        operator: OperatorId,
        f: MapFn<K, V, S, U>,
        declared: Declared<'_, K, S>,
        snapshots: Option<Arc<AtomicBool>>,
    ) -> NodeId
    where
        K: Key,
        V: Value,
    {
        let input = self.gather(operator);
        let make = move |table: StateTable<K, List, S, T>| {
            Box::new(MapWithState {
                operator,
                table,
                intake: ListIntake::new(),
                f: Arc::clone(&f),
                snapshots: snapshots.clone(),
            }) as Box<dyn BatchOperator>
        };
        stateful_node(&self.graph, declared, (input, operator), make)
    }
}

/// `map_with_state` after the exchange.
struct MapWithState<K, V, S, U, T> {
    operator: OperatorId,
    table: StateTable<K, List, S, T>,
    intake: ListIntake<K, V>,
    f: MapFn<K, V, S, U>,
    /// Set for a [`StateStream`]: whether its states are wanted.
    snapshots: Option<Arc<AtomicBool>>,
}

/// Runs the function once.
fn call<K: Key, V, S: State, U>(
    f: &MapFn<K, V, S, U>,
    ctx: &OperatorContext,
    (key, value): (&K, Option<V>),
    state: &mut StateGuard<S>,
) -> Option<U> {
    let timing_out = value.is_none();
    let mut state = KeyState::new(state, timing_out);
    let mapped = ctx.at_key(key, || f(ctx.batch(), key, value, &mut state));
    if let Some(what) = state.illegal() {
        let key = round_trip::show_value(key);
        ctx.fail(format!(
            "an illegal move with the state of the key {key}: {what}"
        ));
    }
    mapped
}

fn visit_group<K: Key, V: Value, S: State, U: Record, T: Stamp>(
    f: &MapFn<K, V, S, U>,
    (ctx, visiting): (&OperatorContext, Visiting),
    group: &mut Group<K, List, S, T>,
    lists: Arranged<V>,
) -> Vec<U> {
    let mut mapped = Vec::new();
    let mut lists = lists.into_lists();
    let mut map = |key: &K, list: Option<List>, state: &mut StateGuard<S>| {
        let Some(list) = list else { return };
        let values = lists.take(list);
        ctx.key_has(key, values.len());
        for value in values {
            mapped.extend(call(f, ctx, (key, Some(value)), state));
        }
    };
    let mut check = |visited: Visited<'_, K, S>| check_state(ctx, &visited);
    group.visit_touched(visiting, &mut map, &mut check);
    let is_last_part = ctx.tick().is_last_part;
    let timed_out = is_last_part.then(|| group.timed_out(visiting.now_ms));
    for slot in timed_out.unwrap_or_default() {
        group.time_out(visiting, slot, |key, state: &mut StateGuard<S>| {
            mapped.extend(call(f, ctx, (key, None), state));
        });
    }
    mapped
}

impl<K: Key, V: Value, S: State, U: Record, T: Stamp> BatchOperator
    for MapWithState<K, V, S, U, T>
{
    fn begin(&mut self) {
        self.intake.clear();
    }

    fn arrive(&mut self, ctx: &OperatorContext, _: usize, chunk: Chunk) -> Option<Chunk> {
        ctx.enter(self.operator);
        if let Err(what) = self.intake.take_in(&mut self.table, chunk) {
            ctx.refuse(what);
        }
        None
    }

    fn apply(&mut self, ctx: &OperatorContext, _: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
        ctx.enter(self.operator);
        if let Err(what) = self.intake.finish(&mut self.table) {
            return ctx.refuse(what);
        }
        let (f, snapshots) = (&self.f, self.snapshots.as_deref());
        let intake = &mut self.intake;
        self.table
            .visit(ctx.batch().time_ms, |visiting, number, group| {
                let mapped = visit_group(f, (ctx, visiting), group, intake.lists(number));
                if !mapped.is_empty() {
                    out.push(match snapshots {
                        Some(_) => state_stream::mapped::<K, S, U>(number, mapped),
                        None => Chunk::new(SequenceKey::batch(u64::from(number)), 0, mapped),
                    });
                }
                if snapshots.is_some_and(|wanted| wanted.load(Ordering::Acquire)) && group.len() > 0
                {
                    let pair = |(key, state, _): (&K, &S, T)| (key.clone(), state.clone());
                    let states = group.iter().map(pair).collect();
                    out.push(state_stream::states::<K, S, U>(number, states));
                }
            });
    }

    fn state(&mut self) -> Option<&mut dyn KeptState> {
        Some(&mut self.table)
    }

    fn share(&self) -> Vec<SharedGroup> {
        self.table.share()
    }
}
