//! What has changed in a key group since a checkpoint.

use crate::state::table::bits::Bits;

/// What has changed since a checkpoint.
#[derive(Debug)]
pub(crate) struct Delta<K> {
    /// Slots whose state was created or changed.
    dirty: Bits,
    /// Keys that the checkpoint has and that are gone.
    gone: Vec<K>,
    /// The checkpoint has no key of this slot or a higher one.
    since: u32,
}

impl<K> Delta<K> {
    /// Nothing has changed since a checkpoint that has the keys of the slots below `since`.
    pub(crate) fn new(since: u32) -> Self {
        Self {
            dirty: Bits::default(),
            gone: Vec::new(),
            since,
        }
    }

    /// The state in `slot` was created or changed.
    pub(crate) fn changed(&mut self, slot: u32) {
        self.dirty.insert(slot);
    }

    /// `key` is gone from `slot`. A key that the checkpoint does not have leaves no trace.
    pub(crate) fn removed(&mut self, slot: u32, key: K) {
        self.dirty.remove(slot);
        if slot < self.since {
            self.gone.push(key);
        }
    }

    /// There is nothing in `slot` any more, or there never was.
    pub(crate) fn forget(&mut self, slot: u32) {
        self.dirty.remove(slot);
    }

    /// Adds what an older checkpoint was to hold, after it has failed.
    pub(crate) fn merge(&mut self, mut older: Self) {
        self.dirty.merge(&older.dirty);
        older.gone.append(&mut self.gone);
        self.gone = older.gone;
        self.since = older.since;
    }

    /// Follows the slots to their new numbers, `u32::MAX` for a dead one.
    pub(crate) fn renumber(&mut self, moved: &[u32]) {
        let mut dirty = Bits::default();
        for slot in self.dirty.iter() {
            match new_number(moved, slot) {
                Some(slot) => dirty.insert(slot),
                None => debug_assert!(false, "a dead slot is not dirty"),
            }
        }
        self.dirty = dirty;
        let since = usize::try_from(self.since).unwrap_or(usize::MAX);
        let alive = moved.iter().take(since).filter(|slot| **slot != u32::MAX);
        self.since = u32::try_from(alive.count()).unwrap_or(u32::MAX);
    }

    /// How many keys have changed or are gone, since the checkpoint or since one that is on its
    /// way.
    pub(crate) fn keys(&self, on_its_way: Option<&Self>) -> u64 {
        let none = Bits::default();
        let (dirty, gone) = on_its_way.map_or((&none, 0), |other| (&other.dirty, other.gone.len()));
        let changed = match dirty.count() {
            0 => self.dirty.count(),
            _ => self.dirty.count_with(dirty),
        };
        u64::from(changed) + self.gone.len() as u64 + gone as u64
    }

    /// Slots whose state was created or changed.
    pub(crate) fn dirty(&self) -> &Bits {
        &self.dirty
    }

    /// Keys that the checkpoint has and that are gone.
    pub(crate) fn gone(&self) -> &[K] {
        &self.gone
    }

    /// The same changes, of keys that a checkpoint has as far as they are below `since`.
    pub(crate) fn since(self, since: u32) -> Self {
        Self { since, ..self }
    }

    /// The slots that are dirty, for tests.
    #[cfg(test)]
    pub(crate) fn slots(&self) -> Vec<u32> {
        self.dirty.iter().collect()
    }
}

/// The new number of `slot`; none if it is dead.
fn new_number(moved: &[u32], slot: u32) -> Option<u32> {
    let at = usize::try_from(slot).ok()?;
    moved.get(at).copied().filter(|slot| *slot != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failed_checkpoint_the_one_before_it_counts() {
        let mut failed = Delta::new(10);
        failed.changed(11);
        let mut delta = Delta::new(12);
        delta.merge(failed);
        assert_eq!(delta.slots(), [11]);
        delta.removed(11, "created after the checkpoint");
        delta.removed(9, "in the checkpoint");
        assert_eq!(delta.gone(), ["in the checkpoint"]);
        assert!(delta.slots().is_empty());
    }
}
