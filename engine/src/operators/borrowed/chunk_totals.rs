//! What a chunk of the log adds up to for each borrowed key.

use crate::operators::pairs::first_touch::Keyed;
use crate::state::borrowed_key::{BorrowedKey, Span};
use std::sync::Arc;

/// Adds a value to the total of its key.
pub(crate) type Merge<V> = Arc<dyn Fn(&mut V, V) + Send + Sync>;

/// The totals of a chunk: keys in one buffer, items in order of first touch.
pub(crate) struct ChunkTotals<Q: BorrowedKey + ?Sized, V> {
    pub(crate) keys: Q::Arena,
    pub(crate) items: Vec<Keyed<Span, V>>,
}

impl<Q: BorrowedKey + ?Sized, V: Clone> Clone for ChunkTotals<Q, V> {
    fn clone(&self) -> Self {
        Self {
            keys: self.keys.clone(),
            items: self.items.clone(),
        }
    }
}
