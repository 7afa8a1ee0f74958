//! Operators that keep state between batches: `update_state_by_key` and `map_with_state`.

use crate::batch::chunk::{Chunk, SequenceKey, in_order, only_input};
use crate::codec::round_trip;
use crate::operators::first_touch::Keyed;
use crate::plan::graph::SharedGraph;
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::{BatchOperator, BatchOperatorFactory, NodeWork};
use crate::plan::operator_context::OperatorContext;
use crate::plan::program::StateInfo;
use crate::record::{Key, Record, State, Value};
use crate::state::restore::Types;
use crate::state::table::{Block, Group, Slot, StateTable};
use std::sync::Arc;

/// Which keys `update_state_by_key` visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visit {
    /// Every key that has state or values, as Spark does.
    EveryKey,
    /// Only keys with values in this batch.
    ChangedKeys,
}

impl Visit {
    pub(crate) fn operator_kind(self) -> &'static str {
        match self {
            Visit::EveryKey => "update_state_by_key",
            Visit::ChangedKeys => "update_state_by_key_changed",
        }
    }
}

/// Both kinds of update keep the same state: a program may change from one to the other.
const UPDATE_STATE: &str = "update_state_by_key";

const MAP_WITH_STATE: &str = "map_with_state";

/// Declares the state `name` and adds the operator that keeps it, made by `make` from each worker's
/// share of it.
fn stateful_node<K: Key, V: Value, S: State>(
    graph: &SharedGraph,
    name: &str,
    kind: &'static str,
    (input, operator): (NodeId, OperatorId),
    make: impl Fn(StateTable<K, V, S>) -> Box<dyn BatchOperator> + Send + Sync + 'static,
) -> NodeId {
    let info = StateInfo {
        name: name.to_owned(),
        kind,
        type_names: format!(
            "{} -> {}",
            std::any::type_name::<K>(),
            std::any::type_name::<S>()
        ),
        types: Arc::new(Types::<K, V, S>::new()),
    };
    let make: BatchOperatorFactory =
        Arc::new(move |slot, restored| make(StateTable::restore(restored, slot)));
    let mut graph = graph.borrow_mut();
    let state = graph.state(info);
    graph.node(
        vec![input],
        NodeWork::Batch {
            operator,
            make,
            state: Some(state),
        },
    )
}

type UpdateFn<K, V, S> = Arc<dyn Fn(&K, &[V], &mut Option<S>) + Send + Sync>;

/// `update_state_by_key` after the exchange.
pub(crate) struct UpdateState<K, V, S> {
    operator: OperatorId,
    visit: Visit,
    table: StateTable<K, V, S>,
    f: UpdateFn<K, V, S>,
}

impl<K: Key, V: Value, S: State> UpdateState<K, V, S> {
    pub(crate) fn node(
        graph: &SharedGraph,
        name: &str,
        visit: Visit,
        input: NodeId,
        operator: OperatorId,
        f: UpdateFn<K, V, S>,
    ) -> NodeId {
        stateful_node(graph, name, UPDATE_STATE, (input, operator), move |table| {
            Box::new(Self {
                operator,
                visit,
                table,
                f: Arc::clone(&f),
            })
        })
    }

    /// Runs the function for the keys that it is to see, in order, and collects what is emitted.
    fn visit(
        f: &UpdateFn<K, V, S>,
        visit: Visit,
        ctx: &OperatorContext,
        group: &mut Group<K, V, S>,
    ) -> Vec<(K, S)> {
        let touched = group.take_touched();
        let (mut records, mut emptied) = (Vec::new(), false);
        let mut step = |key: &K, slot: &mut Slot<V, S>| {
            f(key, &slot.arrived, &mut slot.state);
            slot.arrived = Vec::new();
            match &slot.state {
                Some(state) => {
                    check_state(ctx, key, state);
                    records.push((key.clone(), state.clone()));
                }
                None => emptied = true,
            }
        };
        match visit {
            Visit::EveryKey => group
                .keys
                .iter_mut()
                .for_each(|(key, slot)| step(key, slot)),
            Visit::ChangedKeys => touched.iter().for_each(|index| {
                let (key, slot) = group
                    .keys
                    .get_index_mut(*index)
                    .expect("a touched key is in the map");
                step(key, slot);
            }),
        }
        if emptied {
            group.sweep();
        }
        records
    }
}

/// Fails the batch if a state cannot be written into a checkpoint as it is. Better now, with the
/// key, than when the checkpoint is due.
fn check_state<K: Key, S: State>(ctx: &OperatorContext, key: &K, state: &S) {
    if let Err(what) = round_trip::check(state) {
        let key = round_trip::show_value(key);
        ctx.fail(format!("the state of the key {key} cannot be kept: {what}"));
    }
}

/// Brings what arrived to its keys, in the order of the batch. False if that failed.
fn arrive<K: Key, V: Value, S: State>(
    table: &mut StateTable<K, V, S>,
    ctx: &OperatorContext,
    input: Vec<Chunk>,
) -> bool {
    for Keyed { hash, key, value } in in_order::<Keyed<K, Vec<V>>>(input).flatten() {
        if let Err(what) = table.arrive(hash, &key, value) {
            ctx.fail(what);
            return false;
        }
    }
    true
}

impl<K: Key, V: Value, S: State> BatchOperator for UpdateState<K, V, S> {
    fn apply(&mut self, ctx: &OperatorContext, inputs: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
        ctx.enter(self.operator);
        if !arrive(&mut self.table, ctx, only_input(inputs)) {
            return;
        }
        for (number, group) in self.table.groups() {
            let records = Self::visit(&self.f, self.visit, ctx, group);
            if !records.is_empty() {
                out.push(Chunk::new(SequenceKey::batch(number), 0, records));
            }
        }
    }

    fn snapshot(&self) -> Result<Vec<Block>, String> {
        self.table.snapshot()
    }
}

/// The state of one key, as `map_with_state` sees it.
#[derive(Debug)]
pub struct KeyState<'a, S> {
    state: &'a mut Option<S>,
}

impl<S> KeyState<'_, S> {
    /// The state, if the key has one.
    #[must_use]
    pub fn get(&self) -> Option<&S> {
        self.state.as_ref()
    }

    /// Whether the key has state.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.state.is_some()
    }

    /// Sets the state.
    pub fn update(&mut self, state: S) {
        *self.state = Some(state);
    }

    /// Deletes the state of the key and returns it.
    pub fn remove(&mut self) -> Option<S> {
        self.state.take()
    }
}

type MapFn<K, V, S, U> = Arc<dyn Fn(&K, V, &mut KeyState<'_, S>) -> U + Send + Sync>;

/// `map_with_state` after the exchange.
pub(crate) struct MapWithState<K, V, S, U> {
    operator: OperatorId,
    table: StateTable<K, V, S>,
    f: MapFn<K, V, S, U>,
}

impl<K: Key, V: Value, S: State, U: Record> MapWithState<K, V, S, U> {
    pub(crate) fn node(
        graph: &SharedGraph,
        name: &str,
        input: NodeId,
        operator: OperatorId,
        f: MapFn<K, V, S, U>,
    ) -> NodeId {
        stateful_node(
            graph,
            name,
            MAP_WITH_STATE,
            (input, operator),
            move |table| {
                Box::new(Self {
                    operator,
                    table,
                    f: Arc::clone(&f),
                })
            },
        )
    }
}

impl<K: Key, V: Value, S: State, U: Record> MapWithState<K, V, S, U> {
    fn visit(f: &MapFn<K, V, S, U>, ctx: &OperatorContext, group: &mut Group<K, V, S>) -> Vec<U> {
        let (mut mapped, mut emptied) = (Vec::new(), false);
        for index in group.take_touched() {
            let (key, slot) = group
                .keys
                .get_index_mut(index)
                .expect("a touched key is in the map");
            for value in std::mem::take(&mut slot.arrived) {
                let state = &mut slot.state;
                mapped.push(f(key, value, &mut KeyState { state }));
            }
            match &slot.state {
                Some(state) => check_state(ctx, key, state),
                None => emptied = true,
            }
        }
        if emptied {
            group.sweep();
        }
        mapped
    }
}

impl<K: Key, V: Value, S: State, U: Record> BatchOperator for MapWithState<K, V, S, U> {
    fn apply(&mut self, ctx: &OperatorContext, inputs: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
        ctx.enter(self.operator);
        if !arrive(&mut self.table, ctx, only_input(inputs)) {
            return;
        }
        for (number, group) in self.table.groups() {
            let mapped = Self::visit(&self.f, ctx, group);
            if !mapped.is_empty() {
                out.push(Chunk::new(SequenceKey::batch(number), 0, mapped));
            }
        }
    }

    fn snapshot(&self) -> Result<Vec<Block>, String> {
        self.table.snapshot()
    }
}
