//! Operators that see the values of pairs, or their keys, one by one.

use crate::operators::dstream::DStream;
use crate::record::Record;
use std::panic::Location;
use std::sync::Arc;

impl<K: 'static, V: 'static> DStream<(K, V)> {
    /// Applies `f` to every value and keeps the keys.
    ///
    /// ```
    /// # use highwater_engine::DStream;
    /// # fn program(prices: &DStream<(String, f64)>) {
    /// let cents: DStream<(String, i64)> = prices.map_values(|price| (price * 100.0).round() as i64);
    /// # let _ = cents;
    /// # }
    /// ```
    #[track_caller]
    pub fn map_values<U: Record>(
        &self,
        f: impl Fn(V) -> U + Send + Sync + 'static,
    ) -> DStream<(K, U)>
    where
        K: Record,
    {
        let f = Arc::new(f);
        let careful = Arc::clone(&f);
        self.record_by_record(
            "map_values",
            Location::caller(),
            DStream::unfuse,
            |operator, fused| {
                Arc::new(move |ctx, data, emit| {
                    fused(ctx, data, &mut |(key, value)| {
                        ctx.enter(operator);
                        emit((key, f(value)));
                    });
                })
            },
            move |(key, value), made| made.push((key, careful(value))),
        )
    }

    /// Applies `f` to every value and hands on everything that it returns, each with the key.
    ///
    /// ```
    /// # use highwater_engine::DStream;
    /// # fn program(orders: &DStream<(u64, Vec<String>)>) {
    /// let items: DStream<(u64, String)> = orders.flat_map_values(|items| items);
    /// # let _ = items;
    /// # }
    /// ```
    #[track_caller]
    pub fn flat_map_values<I>(
        &self,
        f: impl Fn(V) -> I + Send + Sync + 'static,
    ) -> DStream<(K, I::Item)>
    where
        I: IntoIterator,
        I::Item: Record,
        K: Record,
    {
        let f = Arc::new(f);
        let careful = Arc::clone(&f);
        self.record_by_record(
            "flat_map_values",
            Location::caller(),
            DStream::unfuse,
            |operator, fused| {
                Arc::new(move |ctx, data, emit| {
                    fused(ctx, data, &mut |(key, value)| {
                        ctx.enter(operator);
                        for item in f(value) {
                            emit((key.clone(), item));
                            ctx.enter(operator); // the iterator's code is this operator's too
                        }
                    });
                })
            },
            move |(key, value): (K, V), made| {
                let items = careful(value).into_iter();
                made.extend(items.map(|item| (key.clone(), item)));
            },
        )
    }

    /// The key of every pair.
    #[track_caller]
    pub fn keys(&self) -> DStream<K>
    where
        K: Record,
    {
        self.each("keys", Location::caller(), |(key, _)| key)
    }

    /// The value of every pair.
    #[track_caller]
    pub fn values(&self) -> DStream<V>
    where
        V: Record,
    {
        self.each("values", Location::caller(), |(_, value)| value)
    }

    /// Every pair with key and value exchanged.
    ///
    /// ```
    /// # use highwater_engine::DStream;
    /// # fn program(counts: &DStream<(String, u64)>) {
    /// let by_count: DStream<(u64, String)> = counts.swap();
    /// # let _ = by_count;
    /// # }
    /// ```
    #[track_caller]
    pub fn swap(&self) -> DStream<(V, K)>
    where
        K: Record,
        V: Record,
    {
        self.each("swap", Location::caller(), |(key, value)| (value, key))
    }
}
