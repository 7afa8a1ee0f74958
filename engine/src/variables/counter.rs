//! What operators count.

use crate::variables::scope;
use crate::variables::values::Newest;
use std::fmt;
use std::sync::Arc;

/// A number that the closures of a program add to: Spark's accumulator.
///
/// ```
/// # use highwater_engine::{StreamingContext, BatchMode};
/// # let dir = tempfile::tempdir()?;
/// let context = StreamingContext::builder(dir.path())
///     .batches(BatchMode::Manual)
///     .get_or_create(|ssc| {
///         let empty = ssc.counter("empty lines");
///         let lines = ssc.input::<String>("lines").filter(move |line| {
///             if line.is_empty() {
///                 empty.add(1);
///             }
///             !line.is_empty()
///         });
///         lines.for_each_batch("out", |_, _| ());
///         Ok(())
///     })?;
/// context.start()?;
/// context.input::<String>("lines")?.send_all(&["a".into(), "".into()])?.wait()?;
/// context.run_batch()?;
/// assert_eq!(context.counter("empty lines"), Some(1));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// - **Each batch counts once.** What a batch adds is seen when it has finished. What a batch that
///   fails has added is discarded; when it runs again it counts anew. The value is in every
///   checkpoint, under the name of the counter, and a replay counts what came after. It does not
///   depend on the number of workers.
/// - **A closure may run more than once for a record.** A stream with two readers computes its
///   stateless operators once for each, and so counts twice, as Spark's accumulators do in
///   transformations. [`persist`](crate::DStream::persist) such a stream. How often a *combining*
///   closure runs (that of `reduce_by_key`) follows from how a batch is split into chunks.
/// - The value is a `u64` and stops at its maximum.
/// - Renaming a counter needs [`rename_state`](crate::Builder::rename_state), and removing it
///   [`drop_state`](crate::Builder::drop_state), as for every state.
#[derive(Clone)]
pub struct Counter {
    pub(crate) name: Arc<str>,
    pub(crate) index: usize,
    pub(crate) program: Arc<Newest>,
}

impl Counter {
    /// Adds `n`.
    ///
    /// # Panics
    /// Outside the operators of a batch of its own program: in an output (whose calls a recovery
    /// does not repeat), in a receiver, or on a thread that an operator has started. What is added
    /// there would be lost. A panic in an output fails the batch.
    pub fn add(&self, n: u64) {
        assert!(
            scope::add(&self.program, self.index, n),
            "counter \"{}\" was added to outside the operators of a batch of its program. Count in an operator (map, filter, \
             transform, update_state_by_key, ..), not in an output, a receiver or a thread of its own",
            self.name
        );
    }

    /// The value as of the last finished batch. In an operator: as of the end of the batch before
    /// this one.
    #[must_use]
    pub fn value(&self) -> u64 {
        let values = scope::values(&self.program);
        values.counters.get(self.index).copied().unwrap_or(0)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
