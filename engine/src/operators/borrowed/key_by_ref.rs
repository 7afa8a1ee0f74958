//! Pairs of a borrowed key and a value: they are combined chunk by chunk, and no key is owned on
//! the way.

use crate::batch::chunk::{Chunk, ChunkData};
use crate::batch::positioned::Position;
use crate::operators::borrowed::chunk_totals::{ChunkTotals, Merge};
use crate::operators::borrowed::reduced::Reduced;
use crate::operators::dstream::DStream;
use crate::operators::pairs::first_touch::{BLOCK, FirstTouch, Keyed};
use crate::plan::graph::SharedGraph;
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::{LocalFn, NodeWork};
use crate::plan::operator_context::OperatorContext;
use crate::record::Value;
use crate::state::borrowed_key::{BorrowedKey, Span};
use crate::state::equal_keys::FirstKeys;
use crate::state::key_group::{KeyGroups, WorkerSlot};
use crate::state::key_hash::KeyHash;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The pairs of a chunk, given to [`Pairs`].
type EmitFn<Q, V> =
    Arc<dyn Fn(&OperatorContext, Box<dyn ChunkData>, &mut Pairs<'_, Q, V>) + Send + Sync>;

impl<T: 'static> DStream<T> {
    /// Pairs of a borrowed key and a value: `f` emits them for every record. `Q` is `str`, `[u8]`
    /// or any key.
    ///
    /// It is the fast way to a reduction. A key is hashed once and copied into one buffer per
    /// chunk of the log, and only if the chunk has not had it before. State owns it only when it
    /// is new. The results are those of `flat_map`, [`reduce_by_key`](Self::reduce_by_key) and
    /// [`update_state_by_key_changed`](Self::update_state_by_key_changed), in the same order.
    ///
    /// ```
    /// # use highwater_engine::{DStream, KeyState};
    /// # fn program(lines: &DStream<String>) {
    /// let counts = lines
    ///     .key_by_ref::<str, u64>(|line, out| {
    ///         for word in line.split_ascii_whitespace() {
    ///             out.emit(word, 1);
    ///         }
    ///     })
    ///     .reduce(|total, n| *total += n)
    ///     .update_state("counts", |_word, n, count: &mut KeyState<'_, u64>| {
    ///         count.update(count.get().copied().unwrap_or(0) + n);
    ///     })
    ///     .cloned();
    /// # let _: DStream<(String, u64)> = counts;
    /// # }
    /// ```
    #[track_caller]
    pub fn key_by_ref<Q: BorrowedKey + ?Sized, V: Value>(
        &self,
        f: impl Fn(&T, &mut Pairs<'_, Q, V>) + Send + Sync + 'static,
    ) -> KeyedRef<Q, V> {
        let at = Location::caller();
        let inputs = [self.operator];
        let operator = self
            .graph
            .borrow_mut()
            .operator("key_by_ref", None, &inputs, at);
        let fused = Arc::clone(&self.fused);
        KeyedRef {
            graph: Rc::clone(&self.graph),
            input: self.input,
            first: self.operator,
            operator,
            emit: Arc::new(move |ctx, data, pairs| {
                fused(ctx, data, &mut |record| {
                    ctx.enter(operator);
                    f(&record, pairs);
                });
            }),
        }
    }
}

/// Pairs of a borrowed key and a value: see [`DStream::key_by_ref`].
pub struct KeyedRef<Q: BorrowedKey + ?Sized, V> {
    graph: SharedGraph,
    input: NodeId,
    /// The operator whose code runs first.
    first: OperatorId,
    operator: OperatorId,
    emit: EmitFn<Q, V>,
}

impl<Q: BorrowedKey + ?Sized, V: Value> KeyedRef<Q, V> {
    /// Combines all values of a key in a batch. `f` adds a value to the total, which begins with
    /// the first value; it must be associative. Values are combined in order of arrival, first
    /// within each chunk of the log: into how many a batch is split follows from
    /// its size alone, so floating-point sums do not depend on workers or restarts.
    #[track_caller]
    pub fn reduce(&self, f: impl Fn(&mut V, V) + Send + Sync + 'static) -> Reduced<Q, V> {
        let at = Location::caller();
        let mut graph = self.graph.borrow_mut();
        let operator = graph.operator("reduce", None, &[self.operator], at);
        drop(graph);
        let merge: Merge<V> = Arc::new(f);
        let combine = Combine {
            key_by: self.operator,
            reduce: operator,
            emit: Arc::clone(&self.emit),
            merge: Arc::clone(&merge),
            first_keys: FirstKeys::of::<Q>(),
            keys_of_last_chunk: AtomicUsize::new(0),
        };
        let run: LocalFn =
            Arc::new(move |slot, ctx, chunk, out| combine.run(slot, ctx, chunk, out));
        let work = NodeWork::Local {
            first: self.first,
            run,
        };
        let node = self.graph.borrow_mut().node(vec![self.input], work);
        Reduced {
            graph: Rc::clone(&self.graph),
            input: node,
            operator,
            merge,
            keys: std::marker::PhantomData,
        }
    }
}

impl<Q: BorrowedKey + ?Sized, V> fmt::Debug for KeyedRef<Q, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRef")
            .field("operator", &self.operator)
            .finish_non_exhaustive()
    }
}

/// Where the function of [`DStream::key_by_ref`] puts its pairs.
pub struct Pairs<'a, Q: BorrowedKey + ?Sized, V> {
    ctx: &'a OperatorContext,
    groups: KeyGroups,
    peers: usize,
    key_by: OperatorId,
    reduce: OperatorId,
    merge: &'a (dyn Fn(&mut V, V) + Send + Sync),
    totals: &'a mut [Totals<Q, V>],
}

impl<Q: BorrowedKey + ?Sized, V> Pairs<'_, Q, V> {
    /// Emits a pair. The key is borrowed for the length of this call.
    #[inline]
    pub fn emit(&mut self, key: &Q, value: V) {
        let hash = match self.groups.hash(key) {
            Ok(hash) => hash,
            Err(error) => return self.ctx.refuse(error.to_string()),
        };
        let target = match self.peers {
            1 => 0,
            peers => self.groups.owner(self.groups.group_of(hash), peers),
        };
        let totals = self.totals.get_mut(target);
        let totals = totals.expect("an owner is one of the peers");
        if Q::CHEAP {
            match Q::put(&mut totals.waiting_keys, key) {
                Some(key) => {
                    let position = self.ctx.position();
                    let item = Keyed { hash, key, value };
                    totals.waiting.push((item, position));
                }
                None => self.ctx.refuse(FULL),
            }
            if totals.waiting.len() >= BLOCK {
                self.bring(target);
            }
        } else {
            self.ctx.enter(self.reduce);
            if !totals.add(None, (hash, key, value), self.merge) {
                self.ctx.refuse(FULL);
            }
            self.ctx.enter(self.key_by);
        }
    }

    /// Brings the pairs that wait to their totals.
    fn bring(&mut self, target: usize) {
        let Some(totals) = self.totals.get_mut(target) else {
            return;
        };
        let position = self.ctx.position();
        self.ctx.enter(self.reduce);
        if !totals.bring(self.ctx, self.merge) {
            self.ctx.refuse(FULL);
        }
        self.ctx.enter(self.key_by);
        self.ctx.set_position(position);
    }
}

/// Why the keys of a chunk cannot be combined.
const FULL: &str = "the keys of one chunk of the log take 4 GiB";

impl<Q: BorrowedKey + ?Sized, V> fmt::Debug for Pairs<'_, Q, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pairs").finish_non_exhaustive()
    }
}

/// The totals of a chunk for one worker, while they grow.
struct Totals<Q: BorrowedKey + ?Sized, V> {
    keys: Q::Arena,
    items: FirstTouch<Span, V>,
    /// Pairs that are looked for together, if their keys can be copied at little cost: a key that
    /// is not in the cache is then waited for together with others.
    waiting: Vec<(Keyed<Span, V>, Option<Position>)>,
    waiting_keys: Q::Arena,
}

impl<Q: BorrowedKey + ?Sized, V> Totals<Q, V> {
    fn with_capacity(keys: usize) -> Self {
        Self {
            keys: Q::Arena::default(),
            items: FirstTouch::with_capacity(keys),
            waiting: Vec::new(),
            waiting_keys: Q::Arena::default(),
        }
    }

    /// Adds a pair, whose key is where it was `found`, if it was. False if the arena is full.
    #[inline]
    fn add(
        &mut self,
        found: Option<u32>,
        (hash, key, value): (KeyHash, &Q, V),
        merge: &(dyn Fn(&mut V, V) + Send + Sync),
    ) -> bool {
        let Self { keys, items, .. } = self;
        if let Some(total) = items.find_at(found, hash, |span| Q::get(keys, *span) == key) {
            merge(total, value);
            return true;
        }
        let span = Q::put(keys, key);
        span.map(|span| items.insert(hash, span, value)).is_some()
    }

    /// Adds the pairs that wait. False if the arena is full.
    fn bring(&mut self, ctx: &OperatorContext, merge: &(dyn Fn(&mut V, V) + Send + Sync)) -> bool {
        let mut found = [None; BLOCK];
        for (found, (item, _)) in found.iter_mut().zip(&self.waiting) {
            *found = self.items.guess(item.hash);
        }
        for (found, (item, _)) in found.iter_mut().zip(&self.waiting) {
            let key = Q::get(&self.waiting_keys, item.key);
            let is = |there: &Span| Q::get(&self.keys, *there) == key;
            *found = found.filter(|guess| self.items.is_at(*guess, is));
        }
        let (mut waiting, mut keys) = (
            std::mem::take(&mut self.waiting),
            std::mem::take(&mut self.waiting_keys),
        );
        let mut pairs = found.into_iter().zip(waiting.drain(..));
        let all_fit = pairs.all(|(found, (Keyed { hash, key, value }, position))| {
            ctx.set_position(position);
            self.add(found, (hash, Q::get(&keys, key), value), merge)
        });
        drop(pairs);
        Q::clear(&mut keys);
        (self.waiting, self.waiting_keys) = (waiting, keys);
        all_fit
    }
}

/// The map side of the exchange: the totals of a chunk, for the workers that own their keys.
struct Combine<Q: BorrowedKey + ?Sized, V> {
    key_by: OperatorId,
    reduce: OperatorId,
    emit: EmitFn<Q, V>,
    merge: Merge<V>,
    first_keys: FirstKeys,
    /// The next chunk will have about as many: it decides nothing but how much room is made.
    keys_of_last_chunk: AtomicUsize,
}

impl<Q: BorrowedKey + ?Sized, V: Value> Combine<Q, V> {
    fn run(&self, slot: &WorkerSlot, ctx: &OperatorContext, chunk: Chunk, out: &mut Vec<Chunk>) {
        let expected = self.keys_of_last_chunk.load(Ordering::Relaxed) / slot.peers;
        let mut totals: Vec<Totals<Q, V>> = Vec::new();
        totals.resize_with(slot.peers, || Totals::with_capacity(expected));
        let mut pairs = Pairs {
            ctx,
            groups: slot.groups,
            peers: slot.peers,
            key_by: self.key_by,
            reduce: self.reduce,
            merge: &*self.merge,
            totals: &mut totals,
        };
        (self.emit)(ctx, chunk.data, &mut pairs);
        (0..slot.peers).for_each(|target| pairs.bring(target));
        ctx.enter(self.reduce);
        let mut found = 0;
        for (target, mut totals) in totals.into_iter().enumerate() {
            let items = totals.items.take();
            found += items.len();
            let pairs = items
                .iter()
                .map(|item| (item.hash, Q::get(&totals.keys, item.key)));
            if let Err(what) = self.first_keys.check(ctx.batch().id, pairs) {
                return ctx.refuse(what);
            }
            if !items.is_empty() {
                let keys = totals.keys;
                let totals = vec![ChunkTotals::<Q, V> { keys, items }];
                out.push(Chunk::new(chunk.sequence.clone(), target, totals));
            }
        }
        self.keys_of_last_chunk.store(found, Ordering::Relaxed);
    }
}
