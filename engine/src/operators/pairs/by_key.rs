//! Keyed operators: any stream of pairs. The bounds are on the methods, so that the compiler
//! reports a missing derive as such and not as a missing method.

use crate::operators::dstream::DStream;
use crate::operators::pairs::by_group::by_group;
use crate::operators::pairs::exchange::{send_by_key, send_lists};
use crate::operators::pairs::first_touch::{Block, FirstTouch};
use crate::operators::pairs::lists::Growing;
use crate::plan::ids::{NodeId, OperatorId};
use crate::plan::node::{BatchOperatorFactory, LocalFn, NodeWork};
use crate::record::{Key, Record, Value};
use crate::state::equal_keys::FirstKeys;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

type Combine<V> = Arc<dyn Fn(V, V) -> V + Send + Sync>;

impl<K: 'static, V: 'static> DStream<(K, V)> {
    /// Combines all values of a key in the batch with `f`, which must be associative. Values are
    /// combined in order of arrival, first within each chunk of the log, before anything is
    /// shuffled.
    ///
    /// ```
    /// # use highwater_engine::DStream;
    /// # fn program(words: &DStream<String>) {
    /// let counts: DStream<(String, u64)> = words.map(|word| (word, 1)).reduce_by_key(|a, b| a + b);
    /// # let _ = counts;
    /// # }
    /// ```
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
    ///
    /// ```
    /// # use highwater_engine::DStream;
    /// # fn program(clicks: &DStream<(String, u64)>) {
    /// let pages: DStream<(String, Vec<u64>)> = clicks.group_by_key();
    /// # let _ = pages;
    /// # }
    /// ```
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
    pub(crate) fn combine(&self, operator: OperatorId, f: Combine<V>) -> NodeId
    where
        K: Key,
        V: Value,
    {
        self.touch(operator, move |total: &mut Option<V>, value| {
            fold(total, value, &f);
        })
    }

    /// The map side of an exchange: `add` gathers what a chunk has of each key. The hash of a key
    /// is computed here, and nowhere else. Room is made for as many keys as the last chunk had.
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
        let (first_keys, expected) = (FirstKeys::of::<K>(), AtomicUsize::new(0));
        let run: LocalFn = Arc::new(move |slot, ctx, chunk, out| {
            let mut keys = FirstTouch::<K, T>::with_capacity(expected.load(Ordering::Relaxed));
            let mut block = Block::new();
            let bring = |keys: &mut FirstTouch<K, T>, block: &mut Block<K, _>| {
                let position = ctx.position();
                keys.bring(block, |(value, position), _, key, total| {
                    ctx.set_position(position); // `add` may panic
                    ctx.at_key(key, || add(total, value));
                });
                ctx.set_position(position);
            };
            let sequence = chunk.sequence;
            fused(ctx, chunk.data, &mut |(key, value)| {
                ctx.enter(operator);
                match slot.groups.hash(&key) {
                    Ok(hash) if block.push(hash, key, (value, ctx.position())) => {
                        bring(&mut keys, &mut block);
                    }
                    Ok(_) => {}
                    Err(error) => ctx.refuse(error.to_string()),
                }
            });
            ctx.enter(operator);
            bring(&mut keys, &mut block);
            let items = keys.take();
            expected.store(items.len(), Ordering::Relaxed);
            let keys = items.iter().map(|item| (item.hash, &item.key));
            match first_keys.check(ctx.batch().id, keys) {
                Ok(()) => send_by_key(slot, &sequence, items, out),
                Err(what) => ctx.refuse(what),
            }
        });
        self.local(run)
    }

    /// The same for lists of all values of a key, which lie in one vector.
    pub(crate) fn gather(&self, operator: OperatorId) -> NodeId
    where
        K: Key,
        V: Value,
    {
        let fused = Arc::clone(&self.fused);
        let first_keys = FirstKeys::of::<K>();
        let expected = (AtomicUsize::new(0), AtomicUsize::new(0));
        let run: LocalFn = Arc::new(move |slot, ctx, chunk, out| {
            let (keys, values) = &expected;
            let room = |of: &AtomicUsize| of.load(Ordering::Relaxed);
            let mut lists = Growing::<K, V>::with_capacity(room(keys), room(values));
            let sequence = chunk.sequence;
            fused(ctx, chunk.data, &mut |(key, value)| {
                ctx.enter(operator);
                match slot.groups.hash(&key) {
                    Ok(hash) => lists.push(hash, key, value),
                    Err(error) => ctx.refuse(error.to_string()),
                }
            });
            ctx.enter(operator);
            let lists = lists.finish();
            keys.store(lists.keys.len(), Ordering::Relaxed);
            values.store(lists.values.len(), Ordering::Relaxed);
            let keys = lists.keys.iter().map(|item| (item.hash, &item.key));
            match first_keys.check(ctx.batch().id, keys) {
                Ok(()) => send_lists(slot, &sequence, lists, out),
                Err(what) => ctx.refuse(what),
            }
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
pub(crate) fn append<V>(all: &mut Vec<V>, values: Vec<V>) {
    if all.is_empty() {
        *all = values;
    } else {
        all.extend(values);
    }
}
