//! The newest value of a small stream, for all workers.

use crate::variables::scope;
use crate::variables::values::Newest;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// The newest value of a small stream, which the closures of all operators can read: a table of
/// prices, a list of rules.
///
/// ```
/// # use highwater_engine::{StreamingContext, BatchMode};
/// # let dir = tempfile::tempdir()?;
/// # let context = StreamingContext::builder(dir.path())
/// #     .batches(BatchMode::Manual)
/// #     .get_or_create(|ssc| {
/// let limit = ssc.broadcast("limit", ssc.input::<u64>("limits"));
/// let amounts = ssc.input::<u64>("amounts");
/// let allowed = amounts.filter(move |amount| limit.get().is_none_or(|limit| amount <= &limit));
/// # allowed.for_each_batch("out", |_, _| ());
/// #         Ok(())
/// #     })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// - The value is the last record, in the order of [`union`](crate::DStream::union), of the newest
///   batch in which the stream had one. It changes at the border of a batch: in batch *n* every
///   closure of every worker sees the value as of the end of batch *n* - 1.
/// - It is in every checkpoint, under its name, so a restart or a replay sees the same values.
///   It is what serde gives back: a `#[serde(skip)]` field has its default from the beginning.
/// - Renaming it needs [`rename_state`](crate::Builder::rename_state), and removing it
///   [`drop_state`](crate::Builder::drop_state), as for every state.
pub struct Broadcast<T> {
    pub(crate) name: Arc<str>,
    pub(crate) index: usize,
    pub(crate) program: Arc<Newest>,
    pub(crate) value: PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> Broadcast<T> {
    /// The value; `None` before the first. Outside the operators of a batch: the value as of the
    /// last finished batch.
    #[must_use]
    pub fn get(&self) -> Option<Arc<T>> {
        let values = scope::values(&self.program);
        let value = values.broadcasts.get(self.index)?.as_ref()?;
        let value = Arc::clone(&value.decoded).downcast();
        Some(value.expect("a broadcast value is decoded as the type of its handle"))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<T> Clone for Broadcast<T> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            index: self.index,
            program: Arc::clone(&self.program),
            value: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Broadcast<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
