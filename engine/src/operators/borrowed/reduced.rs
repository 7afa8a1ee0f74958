//! The reduce side of pairs with borrowed keys: one total for each key and batch, and a state
//! that follows from the totals.

use crate::batch::chunk::{Chunk, SequenceKey, open};
use crate::codec::round_trip;
use crate::operators::borrowed::chunk_totals::{ChunkTotals, Merge};
use crate::operators::dstream::DStream;
use crate::operators::keyed_state::stateful::{Declared, check_state, stateful_node};
use crate::operators::keyed_state::update_state::UPDATE_STATE;
use crate::operators::pairs::first_touch::{BLOCK, FirstTouch, Keyed};
use crate::operators::pairs::intake::{Intake, group_mut, is_worth_waiting};
use crate::plan::graph::SharedGraph;
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::{BatchOperator, NodeWork};
use crate::plan::operator_context::OperatorContext;
use crate::record::{Record, State, Value};
use crate::state::access::{KeyState, StateGuard};
use crate::state::borrowed_key::{BorrowedKey, Span};
use crate::state::key_group::KeyGroups;
use crate::state::key_hash::KeyHash;
use crate::state::table::shared::reading::SharedGroup;
use crate::state::table::states::{KeptState, StateTable};
use crate::state::table::visits::visit::Visited;
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
                    waiting: Waiting::new(),
                    totals: Vec::new(),
                    merge: Arc::clone(&merge),
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
    /// The state is the one that [`update_state_by_key`](DStream::update_state_by_key) keeps
    /// under that name, so a program may change from one to the other.
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

/// The keys of each batch with their new states: what [`Reduced::update_state`] returns. One of
/// its methods makes a stream of them.
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
    /// Every key of the batch that has state, with its state: by key group, then in order of
    /// first touch.
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
                waiting: Waiting::new(),
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

/// Where a key is: its buffer, and its place there.
type Place = (usize, Span);

/// What a batch has brought so far and has not been brought to its keys.
struct Waiting<Q: BorrowedKey + ?Sized, V> {
    /// The keys, in the buffers of the chunks with which they came.
    buffers: Vec<Q::Arena>,
    items: Intake<(KeyHash, Place, V)>,
}

impl<Q: BorrowedKey + ?Sized, V: Value> Waiting<Q, V> {
    fn new() -> Self {
        Self {
            buffers: Vec::new(),
            items: Intake::default(),
        }
    }

    fn clear(&mut self) {
        self.items.clear();
        self.buffers.clear();
    }

    /// Takes in a chunk of [`ChunkTotals`]: brings its items to `keys`, or keeps them if there
    /// are many of those.
    fn take_in(
        &mut self,
        groups: KeyGroups,
        chunk: Chunk,
        keys: &mut impl Keys<Q, V>,
    ) -> Result<(), String> {
        let waits = is_worth_waiting(keys.count());
        // Keys get more during a batch, never fewer. So no item overtakes one that waits.
        assert!(waits || self.items.is_empty(), "items keep their order");
        for totals in open::<Vec<ChunkTotals<Q, V>>>(chunk.data) {
            if !waits {
                bring_in_blocks(groups, totals, keys)?;
                continue;
            }
            for Keyed { hash, key, value } in totals.items {
                let item = (hash, (self.buffers.len(), key), value);
                self.items.add(groups.group_of(hash), item);
            }
            self.buffers.push(totals.keys);
        }
        match self.items.chunk_is_in() {
            true => self.bring(keys),
            false => Ok(()),
        }
    }

    /// Brings all items to `keys`, group by group.
    fn bring(&mut self, keys: &mut impl Keys<Q, V>) -> Result<(), String> {
        let buffers = std::mem::take(&mut self.buffers);
        self.items.bring(|group, (hash, (buffer, span), value)| {
            let buffer = buffers.get(buffer).expect("an item names its buffer");
            keys.bring((group, None), (hash, Q::get(buffer, span), value))
        })
    }
}

/// The keys of an operator, to which it brings totals.
trait Keys<Q: ?Sized, V> {
    /// How many there are.
    fn count(&self) -> u64;
    /// Where a key of `group` with this hash is, nearly always the one that is meant.
    fn guess(&self, group: u32, hash: KeyHash) -> Option<u32>;
    /// Whether a key of `group` is at a guess.
    fn is_at(&self, group: u32, guess: u32, key: &Q) -> bool;
    /// Brings a total to a key of a group, which is where it was found, if it was.
    fn bring(&mut self, at: (u32, Option<u32>), item: (KeyHash, &Q, V)) -> Result<(), String>;
}

/// Brings totals to their keys. A block of them is looked for together: the processor then waits
/// for what is not in the cache once, not for each key.
fn bring_in_blocks<Q: BorrowedKey + ?Sized, V>(
    groups: KeyGroups,
    totals: ChunkTotals<Q, V>,
    keys: &mut impl Keys<Q, V>,
) -> Result<(), String> {
    let buffer = totals.keys;
    let mut items = totals.items.into_iter();
    while !items.as_slice().is_empty() {
        let mut places = [(0, None); BLOCK];
        for (place, item) in places.iter_mut().zip(items.as_slice()) {
            let group = groups.group_of(item.hash);
            *place = (group, keys.guess(group, item.hash));
        }
        for ((group, place), item) in places.iter_mut().zip(items.as_slice()) {
            let key = Q::get(&buffer, item.key);
            *place = place.filter(|guess| keys.is_at(*group, *guess, key));
        }
        for (place, Keyed { hash, key, value }) in places.into_iter().zip(&mut items) {
            keys.bring(place, (hash, Q::get(&buffer, key), value))?;
        }
    }
    Ok(())
}

/// `update_state` after the exchange.
struct UpdateState<Q: BorrowedKey + ?Sized, V, S, Emit> {
    operator: OperatorId,
    table: StateTable<Q::Owned, V, S, ()>,
    waiting: Waiting<Q, V>,
    merge: Merge<V>,
    f: UpdateFn<Q, V, S>,
    emit: Arc<Emit>,
}

/// The keys of a state, with the function that adds up their totals.
struct StateKeys<'a, Q: BorrowedKey + ?Sized, V, S> {
    ctx: &'a OperatorContext,
    table: &'a mut StateTable<Q::Owned, V, S, ()>,
    merge: &'a (dyn Fn(&mut V, V) + Send + Sync),
}

impl<Q: BorrowedKey + ?Sized, V: Value, S: State> Keys<Q, V> for StateKeys<'_, Q, V, S> {
    fn count(&self) -> u64 {
        self.table.keys()
    }

    #[inline]
    fn guess(&self, group: u32, hash: KeyHash) -> Option<u32> {
        self.table.guess(group, hash)
    }

    #[inline]
    fn is_at(&self, group: u32, guess: u32, key: &Q) -> bool {
        self.table.is_at(group, guess, key)
    }

    #[inline]
    fn bring(&mut self, at: (u32, Option<u32>), item: (KeyHash, &Q, V)) -> Result<(), String> {
        let (ctx, key) = (self.ctx, item.1);
        let merge = |before: &mut V, more| ctx.at_key(key, || (self.merge)(before, more));
        self.table.bring(at, item, merge)
    }
}

impl<Q: BorrowedKey + ?Sized, V: Value, S: State, Emit> UpdateState<Q, V, S, Emit> {
    fn keys<'a>(
        &'a mut self,
        ctx: &'a OperatorContext,
    ) -> (&'a mut Waiting<Q, V>, StateKeys<'a, Q, V, S>) {
        let (table, merge) = (&mut self.table, &*self.merge);
        (&mut self.waiting, StateKeys { ctx, table, merge })
    }

    fn take_in(&mut self, ctx: &OperatorContext, chunk: Chunk) -> Result<(), String> {
        let groups = self.table.key_groups();
        let (waiting, mut keys) = self.keys(ctx);
        waiting.take_in(groups, chunk, &mut keys)
    }

    fn finish(&mut self, ctx: &OperatorContext) -> Result<(), String> {
        let (waiting, mut keys) = self.keys(ctx);
        waiting.bring(&mut keys)?;
        waiting.clear();
        Ok(())
    }
}

impl<Q, V, S, U, Emit> BatchOperator for UpdateState<Q, V, S, Emit>
where
    Q: BorrowedKey + ?Sized,
    V: Value,
    S: State,
    U: Record,
    Emit: Fn(&Q::Owned, &S) -> Option<U>,
{
    fn begin(&mut self) {
        self.waiting.clear();
    }

    fn arrive(&mut self, ctx: &OperatorContext, _: usize, chunk: Chunk) -> Option<Chunk> {
        ctx.enter(self.operator);
        if let Err(what) = self.take_in(ctx, chunk) {
            ctx.refuse(what);
        }
        None
    }

    fn apply(&mut self, ctx: &OperatorContext, _: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
        ctx.enter(self.operator);
        if let Err(what) = self.finish(ctx) {
            return ctx.refuse(what);
        }
        let (f, emit) = (&self.f, &self.emit);
        let now_ms = ctx.batch().time_ms;
        let mut update = |key: &Q::Owned, total: Option<V>, state: &mut StateGuard<S>| {
            let Some(total) = total else { return };
            let mut state = KeyState::new(state, false);
            ctx.at_key(key, || f(key.borrow(), total, &mut state));
            if let Some(what) = state.illegal() {
                let key = round_trip::show_value(key);
                ctx.fail(format!(
                    "an illegal move with the state of the key {key}: {what}"
                ));
            }
        };
        self.table.visit(now_ms, |visiting, number, group| {
            let mut records: Vec<U> = Vec::new();
            let mut after = |visited: Visited<'_, Q::Owned, S>| {
                check_state(ctx, &visited);
                let emitted = |state| ctx.at_key(visited.key, || emit(visited.key, state));
                records.extend(visited.state.and_then(emitted));
            };
            group.visit_touched(visiting, &mut update, &mut after);
            if !records.is_empty() {
                let sequence = SequenceKey::batch(u64::from(number));
                out.push(Chunk::new(sequence, 0, records));
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

/// [`Reduced::cloned`] after the exchange.
struct Collect<Q: BorrowedKey + ?Sized, V> {
    operator: OperatorId,
    groups: KeyGroups,
    waiting: Waiting<Q, V>,
    /// By key group.
    totals: Vec<FirstTouch<Q::Owned, V>>,
    merge: Merge<V>,
}

/// The keys of a batch, by key group, with the function that adds up their totals.
struct BatchKeys<'a, Q: BorrowedKey + ?Sized, V> {
    ctx: &'a OperatorContext,
    totals: &'a mut Vec<FirstTouch<Q::Owned, V>>,
    merge: &'a (dyn Fn(&mut V, V) + Send + Sync),
}

impl<Q: BorrowedKey + ?Sized, V: Value> Keys<Q, V> for BatchKeys<'_, Q, V> {
    fn count(&self) -> u64 {
        let keys: usize = self.totals.iter().map(FirstTouch::len).sum();
        u64::try_from(keys).unwrap_or(u64::MAX)
    }

    #[inline]
    fn guess(&self, group: u32, hash: KeyHash) -> Option<u32> {
        let group = usize::try_from(group).ok();
        group.and_then(|at| self.totals.get(at))?.guess(hash)
    }

    #[inline]
    fn is_at(&self, group: u32, guess: u32, key: &Q) -> bool {
        let group = usize::try_from(group).ok();
        let group = group.and_then(|at| self.totals.get(at));
        group.is_some_and(|group| group.is_at(guess, |other| other.borrow() == key))
    }

    #[inline]
    fn bring(
        &mut self,
        (group, found): (u32, Option<u32>),
        (hash, key, value): (KeyHash, &Q, V),
    ) -> Result<(), String> {
        let group = group_mut(self.totals, group);
        match group.find_at(found, hash, |other| other.borrow() == key) {
            Some(total) => self.ctx.at_key(key, || (self.merge)(total, value)),
            None => group.insert(hash, key.to_owned(), value),
        }
        Ok(())
    }
}

impl<Q: BorrowedKey + ?Sized, V: Value> Collect<Q, V> {
    fn keys<'a>(
        &'a mut self,
        ctx: &'a OperatorContext,
    ) -> (&'a mut Waiting<Q, V>, BatchKeys<'a, Q, V>) {
        let (totals, merge) = (&mut self.totals, &*self.merge);
        (&mut self.waiting, BatchKeys { ctx, totals, merge })
    }

    fn take_in(&mut self, ctx: &OperatorContext, chunk: Chunk) -> Result<(), String> {
        let groups = self.groups;
        let (waiting, mut keys) = self.keys(ctx);
        waiting.take_in(groups, chunk, &mut keys)
    }

    fn finish(&mut self, ctx: &OperatorContext) -> Result<(), String> {
        let (waiting, mut keys) = self.keys(ctx);
        waiting.bring(&mut keys)?;
        waiting.clear();
        Ok(())
    }
}

impl<Q: BorrowedKey + ?Sized, V: Value> BatchOperator for Collect<Q, V> {
    fn begin(&mut self) {
        self.waiting.clear();
        self.totals.clear();
    }

    fn arrive(&mut self, ctx: &OperatorContext, _: usize, chunk: Chunk) -> Option<Chunk> {
        ctx.enter(self.operator);
        if let Err(what) = self.take_in(ctx, chunk) {
            ctx.refuse(what);
        }
        None
    }

    fn apply(&mut self, ctx: &OperatorContext, _: Vec<Vec<Chunk>>, out: &mut Vec<Chunk>) {
        ctx.enter(self.operator);
        if let Err(what) = self.finish(ctx) {
            return ctx.refuse(what);
        }
        for (number, mut totals) in (0..).zip(std::mem::take(&mut self.totals)) {
            let totals = totals.take().into_iter();
            let records: Vec<(Q::Owned, V)> = totals.map(|item| (item.key, item.value)).collect();
            if !records.is_empty() {
                out.push(Chunk::new(SequenceKey::batch(number), 0, records));
            }
        }
    }
}
