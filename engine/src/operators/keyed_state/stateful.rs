//! What all operators have in common that keep a state for each key.

use crate::codec::round_trip;
use crate::plan::graph::SharedGraph;
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::{BatchOperator, BatchOperatorFactory, NodeWork};
use crate::plan::operator_context::OperatorContext;
use crate::plan::program::{Readable, StateInfo};
use crate::queries::json_state::json_state;
use crate::record::{Key, State};
use crate::state::restore::Types;
use crate::state::table::slots::Stamp;
use crate::state::table::states::StateTable;
use crate::state::table::visits::visit::Visited;
use std::any::TypeId;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// A state as an operator declares it.
pub(crate) struct Declared<'a, K, S> {
    pub(crate) name: &'a str,
    /// Operators of one kind can read each other's state.
    pub(crate) kind: &'static str,
    /// What it begins with where it is new.
    pub(crate) initial: Vec<(K, S)>,
    pub(crate) timeout_ms: Option<u64>,
}

/// Declares a state and adds the operator that keeps it, made by `make` from each worker's share of
/// it.
pub(crate) fn stateful_node<K: Key, A: Send + 'static, S: State, T: Stamp>(
    graph: &SharedGraph,
    declared: Declared<'_, K, S>,
    (input, operator): (NodeId, OperatorId),
    make: impl Fn(StateTable<K, A, S, T>) -> Box<dyn BatchOperator> + Send + Sync + 'static,
) -> NodeId {
    let info = StateInfo {
        name: declared.name.to_owned(),
        kind: declared.kind,
        type_names: format!(
            "{} -> {}",
            std::any::type_name::<K>(),
            std::any::type_name::<S>()
        ),
        types: Arc::new(Types::<K, S, T>::new(declared.initial)),
        readable: Some(Readable {
            types: (TypeId::of::<K>(), TypeId::of::<S>()),
            json: json_state::<K, S>,
        }),
        readers: Arc::default(),
    };
    let timeout_ms = declared.timeout_ms;
    let readers = Arc::clone(&info.readers);
    let make: BatchOperatorFactory = Arc::new(move |slot, restored| {
        let table = StateTable::restore(restored, slot, timeout_ms);
        make(table.read_by(&readers))
    });
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

/// Fails the batch if a state that was changed cannot be written into a checkpoint as it is. Better
/// now, with the key, than when the checkpoint is due.
pub(crate) fn check_state<K: Key, S: State>(ctx: &OperatorContext, visited: &Visited<'_, K, S>) {
    if let Some(state) = visited.state.filter(|_| visited.changed)
        && let Err(what) = round_trip::check(state)
    {
        let key = round_trip::show_value(visited.key);
        ctx.refuse(format!("the state of the key {key} cannot be kept: {what}"));
    }
}

/// Checks what a state is to begin with, and gives it back as it is kept.
///
/// # Errors
/// Two equal keys, or a key or state that a checkpoint would not give back.
pub(crate) fn checked_initial<K: Key, S: State>(pairs: Vec<(K, S)>) -> Result<Vec<(K, S)>, String> {
    let mut keys = HashSet::new();
    let mut kept = Vec::with_capacity(pairs.len());
    for (key, state) in pairs {
        let shown = || round_trip::show_value(&key);
        let owned = round_trip::own(&key).map_err(|e| format!("its initial state: {e}"))?;
        round_trip::check(&state).map_err(|e| {
            format!(
                "the initial state of the key {} cannot be kept: {e}",
                shown()
            )
        })?;
        if !keys.insert(owned.clone()) {
            return Err(format!("its initial state has the key {} twice", shown()));
        }
        kept.push((owned, state));
    }
    Ok(kept)
}

/// A timeout in milliseconds, rounded up.
///
/// # Errors
/// If it is zero.
pub(crate) fn checked_timeout(what: &str, timeout: Duration) -> Result<u64, String> {
    let ms = timeout.as_nanos().div_ceil(1_000_000);
    match u64::try_from(ms).unwrap_or(u64::MAX) {
        0 => Err(format!("{what} of 0: give a positive duration")),
        ms => Ok(ms),
    }
}
