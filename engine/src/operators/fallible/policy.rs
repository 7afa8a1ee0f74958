//! What becomes of a record that fails.

use crate::operators::attempts::on_error::{Codec, OnError};
use crate::operators::dstream::{DStream, union};
use crate::record::Value;
use crate::refused::policy::ErrorPolicy;
use std::panic::Location;

impl<T: Value> DStream<T> {
    /// The same stream, for readers that do with records on which their closures fail what `policy`
    /// says. A closure fails if it returns an error ([`Self::try_map`] and the like) or panics.
    ///
    /// The policy is that of the operators that read this stream record by record: `map`,
    /// `filter`, `flat_map`, `map_values`, their twins `try_map` and so on. It is passed on to the
    /// streams that these return, through `persist`, and through a `union` of streams that have
    /// the same one. What operators make of a whole batch (keys, windows, `transform`) begins with
    /// [`ErrorPolicy::FailBatch`] again: they put records together, so none of them can be left
    /// out.
    ///
    /// A record that is left out has had no effect: what its closure has added to a
    /// [`Counter`](crate::Counter) is taken back.
    ///
    /// ```
    /// # use highwater_engine::{DStream, ErrorPolicy, StreamScope};
    /// # fn program(ssc: &StreamScope) {
    /// let lines: DStream<String> = ssc.input("lines");
    /// let numbers = lines
    ///     .on_error(ErrorPolicy::DeadLetter)
    ///     .try_map(|line| line.parse::<u64>())
    ///     .named("parse");
    /// # numbers.for_each_batch("out", |_, _| ());
    /// # }
    /// ```
    #[must_use]
    #[track_caller]
    pub fn on_error(&self, policy: ErrorPolicy) -> DStream<T> {
        let on_error = OnError {
            policy,
            codec: Some(Codec::new()),
        };
        self.with_policy(on_error)
    }

    /// The same stream with a policy, and with a codec that it may lack.
    pub(super) fn with_policy(&self, on_error: OnError<T>) -> DStream<T> {
        DStream {
            on_error,
            united: Some(|one, other| {
                union(
                    &one.graph,
                    &[one.clone(), other.clone()],
                    Location::caller(),
                )
            }),
            ..self.clone()
        }
    }
}

impl<T: 'static> DStream<T> {
    /// Names the operator that made this stream. Messages use the name. The log and the store of
    /// dead letters know by it which records the operator has refused, so it must stay when the
    /// program is changed; without it they know an operator by its kind and its number among those
    /// of this kind.
    ///
    /// A name is that of one thing of the program. A stream that has a name already keeps it, and
    /// the program does not start.
    #[must_use]
    #[track_caller]
    pub fn named(&self, name: &str) -> DStream<T> {
        let mut graph = self.graph.borrow_mut();
        graph.name_operator(self.operator, name, Location::caller());
        drop(graph);
        self.clone()
    }
}
