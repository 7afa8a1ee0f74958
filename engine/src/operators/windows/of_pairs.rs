//! Windows of pairs: `group_by_key_and_window`, `reduce_by_key_and_window` and its inverse.

use crate::operators::dstream::DStream;
use crate::operators::windows::kept::windowed;
use crate::operators::windows::policies::{All, Filter, Inverted, Reduced};
use crate::operators::windows::stacks::Combine;
use crate::plan::ids::{NodeId, OperatorId};
use crate::record::{Key, Value};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

impl<K: 'static> DStream<(K, u64)> {
    /// What keeps the sum of counts, and the node that it reads.
    pub(super) fn counting(
        &self,
        operator: OperatorId,
        filter: Option<Arc<Filter<K, u64>>>,
    ) -> (Inverted<K, u64>, NodeId)
    where
        K: Key,
    {
        let f: Arc<Combine<u64>> = Arc::new(|a, b| a + b);
        let input = self.combine(operator, Arc::clone(&f));
        let kept = Inverted {
            f,
            inverse: Arc::new(|all, gone| all - gone),
            filter,
        };
        (kept, input)
    }
}

/// # Windows
impl<K: 'static, V: 'static> DStream<(K, V)> {
    /// All values of a key in the last `length`, every `slide`, in the order of the log.
    #[track_caller]
    pub fn group_by_key_and_window(
        &self,
        name: &str,
        length: Duration,
        slide: Duration,
    ) -> DStream<(K, Vec<V>)>
    where
        K: Key,
        V: Value,
    {
        let at = Location::caller();
        let declared = self.declare_window(("group_by_key_and_window", name), (length, slide), at);
        let input = self.group(declared.operator);
        let type_name = std::any::type_name::<V>();
        let pair = |key: &K, all: Vec<V>| (key.clone(), all);
        let node = windowed(&self.graph, declared, input, type_name, All, pair);
        self.of_window(declared, node)
    }

    /// The values of a key in the last `length` combined with `f`, every `slide`. `f` must be
    /// associative.
    ///
    /// `f` is called for what is new, and a few times for each pane of the window in all, however
    /// long the window is. Values are combined in the order of the log. Keys without values in the
    /// window are left out. Keys come by key group, and then in the order in which the window got
    /// them.
    ///
    /// ```
    /// # use highwater_engine::{DStream, StreamScope};
    /// # use std::time::Duration;
    /// # fn program(ssc: &StreamScope) {
    /// let bids: DStream<(String, u64)> = ssc.input("bids");
    /// let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
    /// let highest = bids.reduce_by_key_and_window("highest", u64::max, hour, minute);
    /// # highest.for_each_batch("out", |_, _| ());
    /// # }
    /// ```
    #[track_caller]
    pub fn reduce_by_key_and_window(
        &self,
        name: &str,
        f: impl Fn(V, V) -> V + Send + Sync + 'static,
        length: Duration,
        slide: Duration,
    ) -> DStream<(K, V)>
    where
        K: Key,
        V: Value,
    {
        let at = Location::caller();
        let declared = self.declare_window(("reduce_by_key_and_window", name), (length, slide), at);
        let f: Arc<Combine<V>> = Arc::new(f);
        let input = self.combine(declared.operator, Arc::clone(&f));
        let type_name = std::any::type_name::<V>();
        let pair = |key: &K, total| (key.clone(), total);
        let node = windowed(&self.graph, declared, input, type_name, Reduced { f }, pair);
        self.of_window(declared, node)
    }

    /// Like [`Self::reduce_by_key_and_window`], with the inverse of `f`: what leaves the window is
    /// taken away from the total of the window before, and what is new is added. `f` must be
    /// associative, and `inverse(f(a, b), a)` must be `b`.
    ///
    /// As in Spark, **a key stays when it has no values left**, and its total (a zero) is emitted
    /// with every window. Where keys come and go, give a filter:
    /// [`Self::reduce_by_key_and_window_inverse_with_filter`].
    #[track_caller]
    pub fn reduce_by_key_and_window_inverse(
        &self,
        name: &str,
        f: impl Fn(V, V) -> V + Send + Sync + 'static,
        inverse: impl Fn(V, V) -> V + Send + Sync + 'static,
        length: Duration,
        slide: Duration,
    ) -> DStream<(K, V)>
    where
        K: Key,
        V: Value,
    {
        let kept = Inverted {
            f: Arc::new(f),
            inverse: Arc::new(inverse),
            filter: None,
        };
        self.inverted(name, kept, (length, slide), Location::caller())
    }

    /// Like [`Self::reduce_by_key_and_window_inverse`]. Only totals for which `filter` is true are
    /// emitted, and a key for which it is false goes when it has no values left.
    ///
    /// ```
    /// # use highwater_engine::{DStream, StreamScope};
    /// # use std::time::Duration;
    /// # fn program(ssc: &StreamScope) {
    /// let clicks: DStream<(String, u64)> = ssc.input("clicks");
    /// let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
    /// let per_hour = clicks.reduce_by_key_and_window_inverse_with_filter(
    ///     "clicks per hour",
    ///     |a, b| a + b,
    ///     |a, b| a - b,
    ///     hour,
    ///     minute,
    ///     |_page, clicks| *clicks > 0,
    /// );
    /// # per_hour.for_each_batch("out", |_, _| ());
    /// # }
    /// ```
    #[track_caller]
    pub fn reduce_by_key_and_window_inverse_with_filter(
        &self,
        name: &str,
        f: impl Fn(V, V) -> V + Send + Sync + 'static,
        inverse: impl Fn(V, V) -> V + Send + Sync + 'static,
        length: Duration,
        slide: Duration,
        filter: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> DStream<(K, V)>
    where
        K: Key,
        V: Value,
    {
        let kept = Inverted {
            f: Arc::new(f),
            inverse: Arc::new(inverse),
            filter: Some(Arc::new(filter)),
        };
        self.inverted(name, kept, (length, slide), Location::caller())
    }

    fn inverted(
        &self,
        name: &str,
        kept: Inverted<K, V>,
        times: (Duration, Duration),
        at: &Location<'_>,
    ) -> DStream<(K, V)>
    where
        K: Key,
        V: Value,
    {
        let kind = "reduce_by_key_and_window_inverse";
        let declared = self.declare_window((kind, name), times, at);
        let input = self.combine(declared.operator, Arc::clone(&kept.f));
        let type_name = std::any::type_name::<V>();
        let pair = |key: &K, total| (key.clone(), total);
        let node = windowed(&self.graph, declared, input, type_name, kept, pair);
        self.of_window(declared, node)
    }
}
