//! What `map_with_state_spec` returns: what the function returned, and the states after each batch.

use crate::batch::chunk::{Chunk, SequenceKey, open};
use crate::operators::dstream::DStream;
use crate::plan::graph::SharedGraph;
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::{LocalFn, NodeWork};
use crate::record::{Key, Record, State};
use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What [`map_with_state_spec`](DStream::map_with_state_spec) returns: a stream of what the
/// function returned, which can also give the states.
pub struct StateStream<K, S, U> {
    mapped: DStream<U>,
    states: DStream<(K, S)>,
    wanted: Arc<AtomicBool>,
}

/// What the operator emits of a key group.
#[derive(Clone)]
enum Emitted<K, S, U> {
    Mapped(Vec<U>),
    States(Vec<(K, S)>),
}

impl<K: Key, S: State, U: Record> StateStream<K, S, U> {
    /// The streams of a node that emits with [`mapped`] and [`states`]; `wanted` tells whether it
    /// has to emit states.
    pub(crate) fn of_node(
        graph: &SharedGraph,
        node: NodeId,
        operator: OperatorId,
        wanted: Arc<AtomicBool>,
    ) -> Self {
        // A node for each, so that neither has empty partitions where only the other has records.
        let mapped = split(graph, node, operator, |part: Emitted<K, S, U>| match part {
            Emitted::Mapped(records) => Some(records),
            Emitted::States(_) => None,
        });
        let states = split(graph, node, operator, |part: Emitted<K, S, U>| match part {
            Emitted::Mapped(_) => None,
            Emitted::States(records) => Some(records),
        });
        Self {
            mapped,
            states,
            wanted,
        }
    }

    /// All keys with their states after each batch, by key group and then by creation. The cost of
    /// every batch grows with the number of keys.
    ///
    /// ```
    /// # use highwater_engine::{Batch, DStream, KeyState, StateSpec};
    /// # fn program(clicks: &DStream<(String, u64)>) {
    /// let spec = StateSpec::new(|_: &Batch, _: &String, _page, seen: &mut KeyState<'_, u64>| {
    ///     seen.update(seen.get().copied().unwrap_or(0) + 1);
    /// });
    /// let seen = clicks.map_with_state_spec("seen", spec);
    /// let all: DStream<(String, u64)> = seen.state_snapshots();
    /// # let _ = all;
    /// # }
    /// ```
    #[must_use]
    #[track_caller]
    pub fn state_snapshots(&self) -> DStream<(K, S)> {
        self.wanted.store(true, Ordering::Release);
        let mut graph = self.states.graph.borrow_mut();
        let inputs = [self.states.operator];
        let operator = graph.operator("state_snapshots", None, &inputs, Location::caller());
        drop(graph);
        DStream {
            operator,
            ..self.states.clone()
        }
    }
}

/// The stream of what `of` takes from what the operator emits.
fn split<E: Record, T: Record>(
    graph: &SharedGraph,
    node: NodeId,
    operator: OperatorId,
    of: impl Fn(E) -> Option<Vec<T>> + Send + Sync + 'static,
) -> DStream<T> {
    let run: LocalFn = Arc::new(move |slot, _, Chunk { sequence, data, .. }, out| {
        for records in open::<Vec<E>>(data).into_iter().filter_map(&of) {
            out.push(Chunk::new(sequence.clone(), slot.index, records));
        }
    });
    let work = NodeWork::Local {
        first: operator,
        run,
    };
    let node = graph.borrow_mut().node(vec![node], work);
    DStream::of_node(graph, node, operator)
}

/// What the function returned for a key group.
pub(crate) fn mapped<K: Key, S: State, U: Record>(group: u32, records: Vec<U>) -> Chunk {
    chunk::<K, S, U>(group, Emitted::Mapped(records))
}

/// The keys and states of a key group.
pub(crate) fn states<K: Key, S: State, U: Record>(group: u32, states: Vec<(K, S)>) -> Chunk {
    chunk::<K, S, U>(group, Emitted::States(states))
}

fn chunk<K: Key, S: State, U: Record>(group: u32, part: Emitted<K, S, U>) -> Chunk {
    Chunk::new(SequenceKey::batch(u64::from(group)), 0, vec![part])
}

impl<K, S, U> Deref for StateStream<K, S, U> {
    type Target = DStream<U>;

    fn deref(&self) -> &DStream<U> {
        &self.mapped
    }
}

impl<K, S, U> From<StateStream<K, S, U>> for DStream<U> {
    fn from(stream: StateStream<K, S, U>) -> Self {
        stream.mapped
    }
}

impl<K, S, U> fmt::Debug for StateStream<K, S, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StateStream").field(&self.mapped).finish()
    }
}
