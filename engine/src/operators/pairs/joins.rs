//! Operators that bring the pairs of two streams together by their keys: those of one batch.

use crate::operators::dstream::DStream;
use crate::operators::pairs::cogroup::cogroup;
use crate::plan::node::NodeWork;
use crate::record::{Key, Record, Value};
use std::panic::Location;

impl<K: 'static, V: 'static> DStream<(K, V)> {
    /// For each key of the batch, on either side: its values in this stream and those in `other`,
    /// each in order of arrival.
    ///
    /// ```
    /// # use highwater_engine::{DStream, StreamScope};
    /// # fn program(ssc: &StreamScope) {
    /// let orders: DStream<(u64, String)> = ssc.input("orders");
    /// let payments: DStream<(u64, u32)> = ssc.input("payments");
    /// // (order, (items, payments)); a key of one side alone has an empty list on the other.
    /// let both: DStream<(u64, (Vec<String>, Vec<u32>))> = orders.cogroup(&payments);
    /// # both.for_each_batch("out", |_, _| ());
    /// # }
    /// ```
    #[allow(clippy::type_complexity, reason = "it says what comes out")]
    #[track_caller]
    pub fn cogroup<W>(&self, other: &DStream<(K, W)>) -> DStream<(K, (Vec<V>, Vec<W>))>
    where
        K: Key,
        V: Value,
        W: Value,
    {
        let at = Location::caller();
        self.with("cogroup", other, at, |key, left, right, out| {
            out.push((key, (left, right)));
        })
    }

    /// Every value of a key in this stream with every value of the same key in `other`, of the same
    /// batch. Keys come by key group and then by first touch. The pairs of a key come in order of
    /// this stream's values, then of the other's.
    ///
    /// ```
    /// # use highwater_engine::{DStream, StreamScope};
    /// # fn program(ssc: &StreamScope) {
    /// let clicks: DStream<(String, u64)> = ssc.input("clicks");
    /// let views: DStream<(String, u64)> = ssc.input("views");
    /// let both: DStream<(String, (u64, u64))> = clicks.join(&views);
    /// let only_clicks = clicks
    ///     .left_outer_join(&views)
    ///     .filter(|(_, (_, view))| view.is_none());
    /// # both.for_each_batch("both", |_, _| ());
    /// # only_clicks.for_each_batch("only", |_, _| ());
    /// # }
    /// ```
    #[track_caller]
    pub fn join<W>(&self, other: &DStream<(K, W)>) -> DStream<(K, (V, W))>
    where
        K: Key,
        V: Value,
        W: Value,
    {
        let at = Location::caller();
        self.with("join", other, at, |key, left, right, out| {
            each_pair(&left, &right, |v, w| out.push((key.clone(), (v, w))));
        })
    }

    /// Like [`Self::join`]; a value of this stream whose key `other` does not have in the batch
    /// comes with `None`.
    #[track_caller]
    pub fn left_outer_join<W>(&self, other: &DStream<(K, W)>) -> DStream<(K, (V, Option<W>))>
    where
        K: Key,
        V: Value,
        W: Value,
    {
        let at = Location::caller();
        self.with("left_outer_join", other, at, |key, left, right, out| {
            let right = or_none(right);
            each_pair(&left, &right, |v, w| out.push((key.clone(), (v, w))));
        })
    }

    /// Like [`Self::join`]; a value of `other` whose key this stream does not have in the batch
    /// comes with `None`.
    #[track_caller]
    pub fn right_outer_join<W>(&self, other: &DStream<(K, W)>) -> DStream<(K, (Option<V>, W))>
    where
        K: Key,
        V: Value,
        W: Value,
    {
        let at = Location::caller();
        self.with("right_outer_join", other, at, |key, left, right, out| {
            let left = or_none(left);
            each_pair(&left, &right, |v, w| out.push((key.clone(), (v, w))));
        })
    }

    /// Like [`Self::join`]; a value of either stream whose key the other one does not have in the
    /// batch comes with `None`.
    #[allow(clippy::type_complexity, reason = "it says what comes out")]
    #[track_caller]
    pub fn full_outer_join<W>(
        &self,
        other: &DStream<(K, W)>,
    ) -> DStream<(K, (Option<V>, Option<W>))>
    where
        K: Key,
        V: Value,
        W: Value,
    {
        let at = Location::caller();
        self.with("full_outer_join", other, at, |key, left, right, out| {
            let (left, right) = (or_none(left), or_none(right));
            each_pair(&left, &right, |v, w| out.push((key.clone(), (v, w))));
        })
    }

    /// Adds an operator that makes records of what both streams have of a key.
    fn with<W: Value, U: Record>(
        &self,
        kind: &str,
        other: &DStream<(K, W)>,
        at: &Location<'_>,
        emit: impl Fn(K, Vec<V>, Vec<W>, &mut Vec<U>) + Send + Sync + 'static,
    ) -> DStream<U>
    where
        K: Key,
        V: Value,
    {
        let operator = self.operator_with(other, kind, at);
        let inputs = self.inputs_with(
            other,
            |left| left.group(operator),
            |right| right.group(operator),
        );
        let work = NodeWork::Batch {
            operator,
            make: cogroup(operator, emit),
            state: None,
        };
        let node = self.graph.borrow_mut().node(inputs, work);
        DStream::of_node(&self.graph, node, operator)
    }
}

/// Every value on the left with every value on the right.
fn each_pair<V: Clone, W: Clone>(left: &[V], right: &[W], mut f: impl FnMut(V, W)) {
    for v in left {
        for w in right {
            f(v.clone(), w.clone());
        }
    }
}

/// The values, or one `None` in place of them.
fn or_none<V>(values: Vec<V>) -> Vec<Option<V>> {
    if values.is_empty() {
        vec![None]
    } else {
        values.into_iter().map(Some).collect()
    }
}
