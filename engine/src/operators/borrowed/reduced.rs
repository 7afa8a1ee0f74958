//! The reduce side of pairs with borrowed keys: one total for each key and batch, and a state that
//! follows from the totals.

use crate::batch::chunk::{Chunk, SequenceKey, in_order, only_input};
use crate::codec::round_trip;
use crate::operators::borrowed::chunk_totals::{ChunkTotals, Merge};
use crate::operators::dstream::DStream;
use crate::operators::keyed_state::stateful::{Declared, check_state, stateful_node};
use crate::operators::keyed_state::update_state::UPDATE_STATE;
use crate::operators::pairs::first_touch::{FirstTouch, Keyed};
use crate::plan::graph::SharedGraph;
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::{BatchOperator, NodeWork};
use crate::plan::operator_context::OperatorContext;
use crate::record::{Record, State, Value};
use crate::state::access::{KeyState, StateGuard};
use crate::state::borrowed_key::{BorrowedKey, Span};
use crate::state::key_group::KeyGroups;
use crate::state::key_hash::KeyHash;
use crate::state::table::group::Visited;
use crate::state::table::states::{ItemKeys, KeptState, StateTable};
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

/// One total for each key of a batch: what [`KeyedRef::reduce`](crate::KeyedRef::reduce) returns.
pub struct Reduced<Q: BorrowedKey + ?Sized, V> {
    pub(crate) graph: SharedGraph,
    pub(crate) input: NodeId,
    pub(crate) operator: OperatorId,
    pub(crate) merge: Merge<V>,
    pub(crate) keys: PhantomData<fn() -> Box<Q>>,
}

type UpdateFn<Q, V, S> = Arc<dyn Fn(&Q, V, &mut KeyState<'_, S>) + Send + Sync>;

impl<Q: BorrowedKey + ?Sized, V: Value> Reduced<Q, V> {
    /// Every key of the batch with its total: by key group, then in order of first touch.
    #[must_use]
    pub fn cloned(&self) -> DStream<(Q::Owned, V)> {
        let (operator, merge) = (self.operator, Arc::clone(&self.merge));
        let work = NodeWork::Batch {
            operator,
            make: Arc::new(move |slot, _| {
                Box::new(Collect::<Q, V> {
                    operator,
                    groups: slot.groups,
                    merge: Arc::clone(&merge),
                    keys: PhantomData,
                })
            }),
            state: None,
        };
        let node = self.graph.borrow_mut().node(vec![self.input], work);
        DStream::of_node(&self.graph, node, operator)
    }

    /// Updates the state `name` of every key that the batch has, with its total. Costs follow the
    /// input. The function runs once for a key and batch.
    ///
    /// The state is the one that [`update_state_by_key`](DStream::update_state_by_key) keeps under
    /// that name, so a program may change from one to the other.
    #[track_caller]
    pub fn update_state<S: State>(
        &self,
        name: &str,
        f: impl Fn(&Q, V, &mut KeyState<'_, S>) + Send + Sync + 'static,
    ) -> Changes<Q, V, S> {
        let mut graph = self.graph.borrow_mut();
        let inputs = [self.operator];
        let operator = graph.operator("update_state", Some(name), &inputs, Location::caller());
        drop(graph);
        Changes {
            graph: Rc::clone(&self.graph),
            input: self.input,
            operator,
            name: name.to_owned(),
            merge: Arc::clone(&self.merge),
            f: Arc::new(f),
        }
    }
}

impl<Q: BorrowedKey + ?Sized, V> fmt::Debug for Reduced<Q, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reduced")
            .field("operator", &self.operator)
            .finish_non_exhaustive()
    }
}

/// The keys of each batch with their new states: what [`Reduced::update_state`] returns. One of its
/// methods makes a stream of them.
#[must_use = "a state is kept once its changes are read: call cloned(), map(..) or filter_map(..)"]
pub struct Changes<Q: BorrowedKey + ?Sized, V, S> {
    graph: SharedGraph,
    input: NodeId,
    operator: OperatorId,
    name: String,
    merge: Merge<V>,
    f: UpdateFn<Q, V, S>,
}

impl<Q: BorrowedKey + ?Sized, V: Value, S: State> Changes<Q, V, S> {
    /// Every key of the batch that has state, with its state: by key group, then in order of first
    /// touch.
    pub fn cloned(self) -> DStream<(Q::Owned, S)> {
        self.map(|key, state| (key.clone(), state.clone()))
    }

    /// What `f` makes of every key of the batch that has state, and of its state. Both are lent:
    /// nothing is cloned that `f` does not clone.
    pub fn map<U: Record>(
        self,
        f: impl Fn(&Q::Owned, &S) -> U + Send + Sync + 'static,
    ) -> DStream<U> {
        self.filter_map(move |key, state| Some(f(key, state)))
    }

    /// Like [`Self::map`], without what `f` makes `None` of.
    pub fn filter_map<U: Record>(
        self,
        emit: impl Fn(&Q::Owned, &S) -> Option<U> + Send + Sync + 'static,
    ) -> DStream<U> {
        let Self {
            operator, merge, f, ..
        } = self;
        let emit = Arc::new(emit);
        let declared = Declared {
            name: &self.name,
            kind: UPDATE_STATE,
            initial: Vec::new(),
            timeout_ms: None,
        };
        let make = move |table: StateTable<Q::Owned, V, S, ()>| {
            Box::new(UpdateState::<Q, V, S, _> {
                operator,
                table,
                merge: Arc::clone(&merge),
                f: Arc::clone(&f),
                emit: Arc::clone(&emit),
            }) as Box<dyn BatchOperator>
        };
        let node = stateful_node(&self.graph, declared, (self.input, operator), make);
        DStream::of_node(&self.graph, node, operator)
    }
}

impl<Q: BorrowedKey + ?Sized, V, S> fmt::Debug for Changes<Q, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The keys of a batch, in the buffers of its chunks.
struct Buffers<Q: BorrowedKey + ?Sized>(Vec<Q::Arena>);

/// Where a key is: its buffer, and its place there.
type Place = (usize, Span);

impl<Q: BorrowedKey + ?Sized> ItemKeys<Place, Q> for Buffers<Q> {
    #[inline]
    fn key<'a>(&'a self, (buffer, span): &'a Place) -> &'a Q {
        let buffer = self.0.get(*buffer).expect("an item names its buffer");
        Q::get(buffer, *span)
    }
}

/// The items of a batch, in its order, and their keys.
type Items<V> = Vec<(usize, Vec<Keyed<Span, V>>)>;

fn arrivals<Q: BorrowedKey + ?Sized, V: Value>(inputs: Vec<Vec<Chunk>>) -> (Buffers<Q>, Items<V>) {
    let (mut buffers, mut items) = (Vec::new(), Vec::new());
    for totals in in_order::<ChunkTotals<Q, V>>(only_input(inputs)).flatten() {
        items.push((buffers.len(), totals.items));
        buffers.push(totals.keys);
    }
    (Buffers(buffers), items)
}

fn each_item<V>(items: Items<V>) -> impl Iterator<Item = (KeyHash, Place, V)> {
    items.into_iter().flat_map(|(buffer, items)| {
        let items = items.into_iter();
        items.map(move |item| (item.hash, (buffer, item.key), item.value))
    })
}

/// `update_state` after the exchange.
struct UpdateState<Q: BorrowedKey + ?Sized, V, S, Emit> {
    operator: OperatorId,
    table: StateTable<Q::Owned, V, S, ()>,
    merge: Merge<V>,
    f: UpdateFn<Q, V, S>,
    emit: Arc<Emit>,
}

impl<Q, V, S, U, Emit> BatchOperator for UpdateState<Q, V, S, Emit>
where
    Q: BorrowedKey + ?Sized,
    V: Value,
    S: State,
    U: Record,
    Emit: Fn(&Q::Owned, &S) -> Option<U>,
{
    fn apply(&mut self, ctx: &OperatorContext, inputs: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
        ctx.enter(self.operator);
        let (f, emit, merge) = (&self.f, &self.emit, &*self.merge);
        let (keys, items) = arrivals::<Q, V>(inputs);
        let now_ms = ctx.batch().time_ms;
        let mut update = |key: &Q::Owned, total: Option<V>, state: &mut StateGuard<S>| {
            let Some(total) = total else { return };
            let mut state = KeyState::new(state, false);
            f(key.borrow(), total, &mut state);
            if let Some(what) = state.illegal() {
                let key = round_trip::show_value(key);
                ctx.fail(format!(
                    "an illegal move with the state of the key {key}: {what}"
                ));
            }
        };
        let visit = |number: u32, group: &mut crate::state::table::group::Group<_, V, S, ()>| {
            let mut records: Vec<U> = Vec::new();
            let mut after = |visited: Visited<'_, Q::Owned, S>| {
                check_state(ctx, &visited);
                records.extend(visited.state.and_then(|state| emit(visited.key, state)));
            };
            group.visit_touched(now_ms, &mut update, &mut after);
            if !records.is_empty() {
                let sequence = SequenceKey::batch(u64::from(number));
                out.push(Chunk::new(sequence, 0, records));
            }
        };
        let applied = self
            .table
            .apply_keyed(now_ms, &keys, each_item(items), merge, visit);
        if let Err(what) = applied {
            ctx.fail(what);
        }
    }

    fn state(&mut self) -> Option<&mut dyn KeptState> {
        Some(&mut self.table)
    }
}

/// [`Reduced::cloned`] after the exchange.
struct Collect<Q: BorrowedKey + ?Sized, V> {
    operator: OperatorId,
    groups: KeyGroups,
    merge: Merge<V>,
    keys: PhantomData<fn() -> Box<Q>>,
}

impl<Q: BorrowedKey + ?Sized, V: Value> BatchOperator for Collect<Q, V> {
    fn apply(&mut self, ctx: &OperatorContext, inputs: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
        ctx.enter(self.operator);
        let (keys, items) = arrivals::<Q, V>(inputs);
        let mut groups: Vec<FirstTouch<Place, V>> = Vec::new();
        for (hash, place, value) in each_item(items) {
            let group = self.groups.group_of(hash);
            let group = usize::try_from(group).expect("groups fit the address space");
            if groups.len() <= group {
                groups.resize_with(group + 1, FirstTouch::default);
            }
            let group = groups.get_mut(group).expect("the groups reach to this one");
            let key = keys.key(&place);
            match group.find(hash, |other| keys.key(other) == key) {
                Some(total) => (self.merge)(total, value),
                None => group.insert(hash, place, value),
            }
        }
        for (number, mut totals) in (0..).zip(groups) {
            let totals = totals.take().into_iter();
            let records = totals.map(|item| (keys.key(&item.key).to_owned(), item.value));
            let records: Vec<(Q::Owned, V)> = records.collect();
            if !records.is_empty() {
                out.push(Chunk::new(SequenceKey::batch(number), 0, records));
            }
        }
    }
}
