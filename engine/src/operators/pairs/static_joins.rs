//! Joins with a data set that does not change while the program runs.

use crate::operators::dstream::DStream;
use crate::record::{Key, Record};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::Arc;

/// The values of each key, in the order of the data set.
type Table<K, W> = HashMap<K, Vec<W>, RandomState>;

impl<K: 'static, V: 'static> DStream<(K, V)> {
    /// Every pair with every value that `dataset` has for its key. Pairs whose key it does not have
    /// are dropped. The order of the pairs stays; the values of a key come in the order of the data
    /// set.
    ///
    /// The data set is read once, here. It is part of the program, not of its state: another data
    /// set at the next start is used for every batch from the last checkpoint on.
    ///
    /// ```
    /// # use highwater_engine::{DStream, StreamScope};
    /// # fn program(ssc: &StreamScope) {
    /// let orders: DStream<(u16, u64)> = ssc.input("orders");
    /// let countries = [(49, "Germany".to_owned()), (33, "France".to_owned())];
    /// let named: DStream<(u16, (u64, String))> = orders.join_static(countries);
    /// # named.for_each_batch("out", |_, _| ());
    /// # }
    /// ```
    #[track_caller]
    pub fn join_static<W>(&self, dataset: impl IntoIterator<Item = (K, W)>) -> DStream<(K, (V, W))>
    where
        K: Key + Sync,
        V: Record,
        W: Record + Sync,
    {
        let table = table(dataset);
        self.fuse("join_static", Location::caller(), |operator, fused| {
            Arc::new(move |ctx, data, emit| {
                fused(ctx, data, &mut |(key, value)| {
                    ctx.enter(operator);
                    for other in table.get(&key).into_iter().flatten() {
                        emit((key.clone(), (value.clone(), other.clone())));
                        ctx.enter(operator); // the clones are this operator's code too
                    }
                });
            })
        })
    }

    /// Like [`Self::join_static`]; a pair whose key `dataset` does not have comes with `None`.
    #[track_caller]
    pub fn left_outer_join_static<W>(
        &self,
        dataset: impl IntoIterator<Item = (K, W)>,
    ) -> DStream<(K, (V, Option<W>))>
    where
        K: Key + Sync,
        V: Record,
        W: Record + Sync,
    {
        let (table, at) = (table(dataset), Location::caller());
        self.fuse("left_outer_join_static", at, |operator, fused| {
            Arc::new(move |ctx, data, emit| {
                fused(ctx, data, &mut |(key, value)| {
                    ctx.enter(operator);
                    let Some(others) = table.get(&key) else {
                        return emit((key, (value, None)));
                    };
                    for other in others {
                        emit((key.clone(), (value.clone(), Some(other.clone()))));
                        ctx.enter(operator);
                    }
                });
            })
        })
    }
}

fn table<K: Key, W>(dataset: impl IntoIterator<Item = (K, W)>) -> Table<K, W> {
    let mut table = Table::<K, W>::default();
    for (key, value) in dataset {
        table.entry(key).or_default().push(value);
    }
    table
}
