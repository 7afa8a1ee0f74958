//! Windows of any stream: `window`, `reduce_by_window`, `count_by_window`,
//! `count_by_value_and_window`.

use crate::operators::dstream::DStream;
use crate::operators::windows::kept::windowed;
use crate::operators::windows::policies::{Inverted, Reduced};
use crate::operators::windows::stacks::Combine;
use crate::operators::windows::window::window;
use crate::record::{Key, Value};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// # Windows
///
/// A window sees several batches at once. Its **length** says how far it reaches back: the window
/// at `t` has the batches with times in `(t - length, t]`. Its **slide** says how often there is
/// one. Both must be positive multiples of the batch interval (of the slide, if the stream comes
/// from a window itself). Otherwise the program is refused, with both numbers.
///
/// - The first windows are not full: they have what there is.
/// - At other times than those of the windows, the stream has no batch. What reads it does not act:
///   outputs are not called, `count` emits nothing, `update_state_by_key` visits no key. So streams
///   of different slides cannot be combined.
/// - A length below the slide leaves gaps: records there are in no window.
/// - Windows are aligned to the first batch of the application: one ends every `slide` after the
///   time of that batch, less one interval. A restart does not move them.
/// - A batch that is cut in parts is in the window as a whole.
///
/// What a window holds is state: it has a unique name, and is in the checkpoints. Length and slide
/// may change from start to start. A longer window grows from what there is. Panes, into which time
/// is cut for a window, have the greatest common divisor of both as their length. If panes on disk
/// do not fit into the new ones, the start is refused with a [`Mismatch`](crate::Mismatch).
impl<T: 'static> DStream<T> {
    /// All records of the last `length`, every `slide`, in the order of the log.
    ///
    /// ```
    /// # use highwater_engine::{DStream, StreamScope};
    /// # use std::time::Duration;
    /// # fn program(ssc: &StreamScope) {
    /// let lines: DStream<String> = ssc.input("lines");
    /// let (minute, slide) = (Duration::from_secs(60), Duration::from_secs(10));
    /// let last_minute = lines.window("last minute", minute, slide);
    /// last_minute.count().for_each_batch("lines per minute", |batch, count| {
    ///     println!("{}: {count:?}", batch.time_ms);
    /// });
    /// # }
    /// ```
    #[track_caller]
    pub fn window(&self, name: &str, length: Duration, slide: Duration) -> DStream<T>
    where
        T: Value,
    {
        let declared = self.declare_window(("window", name), (length, slide), Location::caller());
        let node = window(self, declared);
        self.of_window(declared, node)
    }

    /// All records of the last `length` combined to one with `f`, every `slide`; nothing if there
    /// are none. `f` must be associative. It is called for what is new, and a few times for each
    /// batch of the window in all, however long the window is.
    ///
    /// ```
    /// # use highwater_engine::{DStream, StreamScope};
    /// # use std::time::Duration;
    /// # fn program(ssc: &StreamScope) {
    /// let temperatures: DStream<i64> = ssc.input("temperatures");
    /// let (minute, second) = (Duration::from_secs(60), Duration::from_secs(1));
    /// let highest = temperatures.reduce_by_window("highest", i64::max, minute, second);
    /// # highest.for_each_batch("out", |_, _| ());
    /// # }
    /// ```
    #[track_caller]
    pub fn reduce_by_window(
        &self,
        name: &str,
        f: impl Fn(T, T) -> T + Send + Sync + 'static,
        length: Duration,
        slide: Duration,
    ) -> DStream<T>
    where
        T: Value,
    {
        let at = Location::caller();
        let declared = self.declare_window(("reduce_by_window", name), (length, slide), at);
        let f: Arc<Combine<T>> = Arc::new(f);
        let pairs = self.as_pairs(|record| ((), record));
        let input = pairs.combine(declared.operator, Arc::clone(&f));
        let type_name = std::any::type_name::<T>();
        let kept = Reduced { f };
        let node = windowed::<(), _, _, _>(&self.graph, declared, input, type_name, kept, |_, t| t);
        self.of_window(declared, node)
    }

    /// Like [`Self::reduce_by_window`], with the inverse of `f`: what leaves the window is taken
    /// away from the total of the window before, and what is new is added. `f` must be associative,
    /// and `inverse(f(a, b), a)` must be `b`.
    ///
    /// As in Spark, the total is emitted even if the window is empty, once there was a record.
    ///
    /// ```
    /// # use highwater_engine::{DStream, StreamScope};
    /// # use std::time::Duration;
    /// # fn program(ssc: &StreamScope) {
    /// let cents: DStream<i64> = ssc.input("cents");
    /// let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
    /// let turnover =
    ///     cents.reduce_by_window_inverse("turnover", |a, b| a + b, |a, b| a - b, hour, minute);
    /// # turnover.for_each_batch("out", |_, _| ());
    /// # }
    /// ```
    #[track_caller]
    pub fn reduce_by_window_inverse(
        &self,
        name: &str,
        f: impl Fn(T, T) -> T + Send + Sync + 'static,
        inverse: impl Fn(T, T) -> T + Send + Sync + 'static,
        length: Duration,
        slide: Duration,
    ) -> DStream<T>
    where
        T: Value,
    {
        let at = Location::caller();
        let declared = self.declare_window(("reduce_by_window_inverse", name), (length, slide), at);
        let f: Arc<Combine<T>> = Arc::new(f);
        let pairs = self.as_pairs(|record| ((), record));
        let input = pairs.combine(declared.operator, Arc::clone(&f));
        let kept = Inverted {
            f,
            inverse: Arc::new(inverse),
            filter: None,
        };
        let type_name = std::any::type_name::<T>();
        let node = windowed::<(), _, _, _>(&self.graph, declared, input, type_name, kept, |_, t| t);
        self.of_window(declared, node)
    }

    /// How many records the last `length` had, every `slide`.
    ///
    /// As in Spark, nothing is emitted before the first record; later an empty window is one record
    /// 0.
    #[track_caller]
    pub fn count_by_window(&self, name: &str, length: Duration, slide: Duration) -> DStream<u64> {
        let at = Location::caller();
        let declared = self.declare_window(("count_by_window", name), (length, slide), at);
        let pairs = self.as_pairs(|_| ((), 1_u64));
        let (kept, input) = pairs.counting(declared.operator, None);
        let node = windowed::<(), _, _, _>(&self.graph, declared, input, "u64", kept, |_, n| n);
        self.of_window(declared, node)
    }

    /// How often each value occurred in the last `length`, every `slide`. Values that do not occur
    /// are left out.
    #[track_caller]
    pub fn count_by_value_and_window(
        &self,
        name: &str,
        length: Duration,
        slide: Duration,
    ) -> DStream<(T, u64)>
    where
        T: Key,
    {
        let at = Location::caller();
        let kind = "count_by_value_and_window";
        let declared = self.declare_window((kind, name), (length, slide), at);
        let pairs = self.as_pairs(|value| (value, 1_u64));
        let (kept, input) = pairs.counting(declared.operator, Some(Arc::new(|_, n| *n != 0)));
        let pair = |value: &T, n| (value.clone(), n);
        let node = windowed(&self.graph, declared, input, "u64", kept, pair);
        self.of_window(declared, node)
    }
}
