//! Operators that combine the values of a key in a batch to something of another type.

use crate::operators::dstream::DStream;
use crate::operators::pairs::by_group::by_group;
use crate::plan::ids::OperatorId;
use crate::record::{Key, Value};
use std::panic::Location;
use std::sync::Arc;

impl<K: 'static, V: 'static> DStream<(K, V)> {
    /// Combines all values of a key in the batch: `create` makes a combiner of the first value,
    /// `merge_value` adds the next ones, `merge_combiners` puts two together.
    ///
    /// Values are combined in order of arrival, first within each chunk of the log, before anything
    /// is shuffled; then the combiners of the chunks are merged, in order. So it must not matter
    /// where a chunk ends: `merge_combiners(c, create(v))` is `merge_value(c, v)`, and
    /// `merge_combiners` is associative.
    ///
    /// ```
    /// # use highwater_engine::{DStream, StreamScope};
    /// # fn program(ssc: &StreamScope) {
    /// let times: DStream<(String, u64)> = ssc.input("times");
    /// // Sum and number, from which follows the mean.
    /// let means = times
    ///     .combine_by_key(
    ///         |ms| (ms, 1_u64),
    ///         |(sum, n), ms| (sum + ms, n + 1),
    ///         |(a, n), (b, m)| (a + b, n + m),
    ///     )
    ///     .map_values(|(sum, n)| sum / n);
    /// # means.for_each_batch("out", |_, _| ());
    /// # }
    /// ```
    #[track_caller]
    pub fn combine_by_key<C>(
        &self,
        create: impl Fn(V) -> C + Send + Sync + 'static,
        merge_value: impl Fn(C, V) -> C + Send + Sync + 'static,
        merge_combiners: impl Fn(C, C) -> C + Send + Sync + 'static,
    ) -> DStream<(K, C)>
    where
        K: Key,
        V: Value,
        C: Value,
    {
        let operator = self.operator("combine_by_key", Location::caller());
        self.combined(operator, create, merge_value, merge_combiners)
    }

    /// Combines all values of a key in the batch, beginning with `zero`: `merge_value` adds a
    /// value, `merge_combiners` puts two results together.
    ///
    /// As in Spark, `zero` may be used more than once for a key, here once for each chunk of the
    /// log. So it must be neutral: `merge_combiners(c, zero)` is `c`. Otherwise as
    /// [`Self::combine_by_key`].
    ///
    /// ```
    /// # use highwater_engine::{DStream, StreamScope};
    /// # use std::collections::BTreeSet;
    /// # fn program(ssc: &StreamScope) {
    /// let visits: DStream<(String, u32)> = ssc.input("visits");
    /// let pages = visits.aggregate_by_key(
    ///     BTreeSet::new(),
    ///     |mut pages: BTreeSet<u32>, page| {
    ///         pages.insert(page);
    ///         pages
    ///     },
    ///     |a, b| &a | &b,
    /// );
    /// # pages.for_each_batch("out", |_, _| ());
    /// # }
    /// ```
    #[track_caller]
    pub fn aggregate_by_key<C>(
        &self,
        zero: C,
        merge_value: impl Fn(C, V) -> C + Send + Sync + 'static,
        merge_combiners: impl Fn(C, C) -> C + Send + Sync + 'static,
    ) -> DStream<(K, C)>
    where
        K: Key,
        V: Value,
        C: Value + Sync,
    {
        let operator = self.operator("aggregate_by_key", Location::caller());
        let merge_value = Arc::new(merge_value);
        let merge_first = Arc::clone(&merge_value);
        self.combined(
            operator,
            move |value| merge_first(zero.clone(), value),
            move |total, value| merge_value(total, value),
            merge_combiners,
        )
    }

    fn combined<C>(
        &self,
        operator: OperatorId,
        create: impl Fn(V) -> C + Send + Sync + 'static,
        merge_value: impl Fn(C, V) -> C + Send + Sync + 'static,
        merge_combiners: impl Fn(C, C) -> C + Send + Sync + 'static,
    ) -> DStream<(K, C)>
    where
        K: Key,
        V: Value,
        C: Value,
    {
        let input = self.touch(operator, move |total: &mut Option<C>, value| {
            *total = Some(match total.take() {
                Some(before) => merge_value(before, value),
                None => create(value),
            });
        });
        let add = move |total: &mut Option<C>, of_chunk: Option<C>| {
            *total = match (total.take(), of_chunk) {
                (Some(before), Some(after)) => Some(merge_combiners(before, after)),
                (before, after) => before.or(after),
            };
        };
        let make = by_group(operator, add, |key: K, total: Option<C>| {
            Some((key, total?))
        });
        self.keyed(operator, input, make)
    }
}
