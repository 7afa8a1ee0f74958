//! The keys of a group before a worker has them: from a checkpoint, or what a state begins with.

use crate::state::key_hash::KeyHash;
use crate::state::table::delta::Delta;
use crate::state::table::shared::kept::{Kept, tag_of};
use crate::state::table::slots::{BEFORE_FIRST_BATCH_MS, Entry, Pending, Stamp};

/// The keys of a group that wait for their worker.
#[derive(Debug)]
pub(crate) struct RestoredKeys<K, S, T = ()> {
    pub(super) kept: Kept<K, S, T>,
    pub(super) delta: Delta<K>,
    /// Whether the keys wait for the time of the first batch.
    pub(super) unstamped: bool,
}

impl<K, S, T: Stamp> RestoredKeys<K, S, T> {
    pub(crate) fn new() -> Self {
        Self {
            kept: Kept::new(),
            delta: Delta::new(0),
            unstamped: false,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u32 {
        self.kept.slots.live()
    }

    /// All of them, in the order of creation.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &S, T)> {
        self.kept.iter()
    }

    /// `keys` of a checkpoint are to come.
    pub(crate) fn expect(&mut self, keys: u32) {
        self.kept.expect(keys);
    }

    /// Puts a key of a checkpoint at the end. Gives the key back if it is there already.
    pub(crate) fn restore(&mut self, hash: KeyHash, key: K, state: S, stamp: T) -> Result<(), K>
    where
        K: Eq,
    {
        if self.kept.find(hash, &key).is_some() {
            return Err(key);
        }
        self.unstamped |= stamp == T::at(BEFORE_FIRST_BATCH_MS) && stamp.time_ms().is_some();
        self.kept.push(Entry {
            tag: tag_of(hash),
            pending: Pending::none(),
            stamp,
            key,
            state,
        });
        Ok(())
    }

    /// The key that was restored last is written otherwise in the checkpoint: the next one writes
    /// it anew.
    pub(crate) fn restored_otherwise(&mut self) {
        if let Some(slot) = self.kept.slots.len().checked_sub(1) {
            self.delta.changed(slot);
        }
    }

    /// All keys have come from a checkpoint.
    pub(crate) fn restored(&mut self) {
        let slots = self.settled();
        let delta = std::mem::replace(&mut self.delta, Delta::new(0));
        self.delta = delta.since(slots);
    }

    /// All keys are what the state begins with: no checkpoint has them.
    pub(crate) fn begun(&mut self) {
        (0..self.settled()).for_each(|slot| self.delta.changed(slot));
    }

    fn settled(&mut self) -> u32 {
        let kept = &mut self.kept;
        kept.slots.expect(0);
        kept.undo.created_from = kept.slots.len();
        kept.slots.len()
    }
}
