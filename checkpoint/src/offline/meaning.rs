//! What the bytes of keys and values mean, as far as tools must know.

use crate::checkpoint::GroupEntries;
use crate::entries::entries;
use crate::manifest::document::{Manifest, StateEntry};
use std::borrow::Cow;

/// A key and its value.
pub type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// What the bytes of keys and values mean. A checkpoint does not know it: the engine that wrote it
/// does. Every method has a default, which takes bytes as bytes.
pub trait Meaning {
    /// The keys and values of a key group, in order.
    ///
    /// # Errors
    /// What is wrong with them, if they are no entries.
    fn pairs<'a>(
        &self,
        manifest: &Manifest,
        state: &StateEntry,
        group: &'a GroupEntries,
    ) -> Result<Vec<Pair<'a>>, String> {
        let _ = (manifest, state);
        plain_pairs(group)
    }

    /// Whether the checkpoint counts what [`Self::pairs`] returns as the entries of the state.
    fn is_counted(&self, manifest: &Manifest, state: &StateEntry) -> bool {
        let _ = (manifest, state);
        true
    }

    /// Bytes that are the same for all keys, or all values, that mean the same. `None` if `bytes`
    /// mean nothing: then they are equal to themselves only.
    fn canonical(&self, state: &StateEntry, bytes: &[u8]) -> Option<Vec<u8>> {
        let _ = (state, bytes);
        None
    }

    /// Refuses bytes that are no key, or no value.
    ///
    /// # Errors
    /// What is wrong with them.
    fn check(&self, state: &StateEntry, bytes: &[u8]) -> Result<(), String> {
        let _ = (state, bytes);
        Ok(())
    }
}

/// Keys and values are their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsBytes;

impl Meaning for AsBytes {}

/// The entries of a key group as they are stored.
pub(crate) fn plain_pairs(group: &GroupEntries) -> Result<Vec<Pair<'_>>, String> {
    let pairs = entries(&group.bytes).map(|entry| {
        let (key, value) = entry.map_err(|e| e.to_string())?;
        Ok((Cow::Borrowed(key), Cow::Borrowed(value)))
    });
    pairs.collect()
}
