//! What becomes of a batch in a key group: it is kept, or put back. And what a checkpoint takes
//! from it.

use crate::state::key_hash::KeyHash;
use crate::state::table::delta::Delta;
use crate::state::table::group::{FRESH, Group, NOT_TOUCHED, spread, tag_of};
use crate::state::table::slots::{BEFORE_FIRST_BATCH_MS, Entry, Stamp};

/// A group with fewer slots is not worth compacting.
const MIN_COMPACTED: u32 = 64;

impl<K, A, S, T: Stamp> Group<K, A, S, T> {
    /// The batch is complete: what was before it is forgotten.
    pub(crate) fn commit(&mut self) {
        for (slot, gone) in self.undo.forget(self.slots.len()) {
            if let Some(delta) = &mut self.on_its_way {
                delta.forget(slot);
            }
            self.delta.removed(slot, gone.key);
        }
        let (len, live) = (self.slots.len(), self.slots.live());
        if len > MIN_COMPACTED && live < len / 4 * 3 {
            self.compact();
        }
        self.undo.created_from = self.slots.len();
        self.timers.keep();
    }

    /// The batch has failed: everything is again as it was before it, except that what it changed
    /// may still count as changed since the last checkpoint.
    pub(crate) fn roll_back(&mut self) {
        self.touched.clear();
        self.fresh.clear();
        if std::mem::take(&mut self.unsettled) {
            // Keys that the batch has brought and not visited.
            self.index.retain(|number| *number & FRESH == 0);
        }
        let taken = self.undo.take();
        for (slot, gone) in taken.removed {
            self.index_slot(slot, gone.tag);
            self.slots.put_back(slot, gone);
        }
        // Nothing is touched. A visit that panicked has left no list of what was.
        self.slots
            .entries_mut()
            .for_each(|entry| entry.pending = NOT_TOUCHED);
        for (slot, stamp) in taken.restamped.into_iter().rev() {
            if let Some(entry) = self.slots.get_mut(slot) {
                entry.stamp = stamp;
            }
        }
        for (slot, state) in taken.changed.into_iter().rev() {
            if let Some(entry) = self.slots.get_mut(slot) {
                entry.state = state;
            }
        }
        while self.slots.len() > self.undo.created_from {
            let slot = self.slots.len() - 1;
            self.delta.forget(slot);
            if let Some(delta) = &mut self.on_its_way {
                delta.forget(slot); // a checkpoint was to be taken after this batch
            }
            if let Some(created) = self.slots.pop()
                && let Ok(found) = self.index.find_entry(spread(created.tag), |n| *n == slot)
            {
                found.remove();
            }
        }
        self.set_timeout(self.timers.timeout_ms());
    }

    /// Keys without data for longer than `timeout_ms` time out from here on.
    pub(crate) fn set_timeout(&mut self, timeout_ms: Option<u64>) {
        let keys = self.slots.iter().map(|(slot, entry)| (slot, entry.stamp));
        self.timers.restart(timeout_ms, keys);
    }

    /// Closes the gaps that removed keys have left, in the order of creation.
    fn compact(&mut self) {
        let moved = self.slots.compact();
        self.index.clear();
        let slots = &self.slots;
        self.index
            .shrink_to(usize::try_from(slots.live()).unwrap_or(0), |_| {
                unreachable!("the index is empty")
            });
        for (slot, entry) in slots.iter() {
            self.index.insert_unique(spread(entry.tag), slot, |number| {
                let entry = slots
                    .get(*number)
                    .expect("what is in the index is in its slot");
                spread(entry.tag)
            });
        }
        self.delta.renumber(&moved);
        if let Some(delta) = &mut self.on_its_way {
            delta.renumber(&moved);
        }
        self.set_timeout(self.timers.timeout_ms());
    }

    /// A checkpoint takes the group as it is now. If the checkpoint before has not been published,
    /// this one is to hold what that one was to hold.
    pub(crate) fn capture(&mut self) {
        let mut delta = std::mem::replace(&mut self.delta, Delta::new(self.slots.len()));
        if let Some(failed) = self.on_its_way.take() {
            delta.merge(failed);
        }
        self.on_its_way = Some(delta);
    }

    /// The last checkpoint that was captured is published.
    pub(crate) fn published(&mut self) {
        self.on_its_way = None;
    }

    /// `keys` of a checkpoint are to come.
    pub(crate) fn expect(&mut self, keys: u32) {
        let (slots, fresh) = (&self.slots, &self.fresh);
        self.index
            .reserve(usize::try_from(keys).unwrap_or(0), |number| {
                spread(Self::tag(slots, fresh, *number))
            });
        self.slots.expect(keys);
    }

    /// Puts a key of a checkpoint at the end. Gives the key back if it is there already.
    pub(crate) fn restore(&mut self, hash: KeyHash, key: K, state: S, stamp: T) -> Result<(), K>
    where
        K: Eq,
    {
        if self.contains(hash, &key) {
            return Err(key);
        }
        let tag = tag_of(hash);
        self.unstamped |= stamp == T::at(BEFORE_FIRST_BATCH_MS) && stamp.time_ms().is_some();
        let slot = self.slots.push(Entry {
            tag,
            pending: NOT_TOUCHED,
            stamp,
            key,
            state,
        });
        self.index_slot(slot, tag);
        Ok(())
    }

    /// All keys have come from a checkpoint.
    pub(crate) fn restored(&mut self) {
        self.slots.expect(0);
        self.undo.created_from = self.slots.len();
        self.delta = Delta::new(self.slots.len());
    }

    /// All keys are what the state begins with: no checkpoint has them.
    pub(crate) fn begun(&mut self) {
        self.undo.created_from = self.slots.len();
        (0..self.slots.len()).for_each(|slot| self.delta.changed(slot));
    }

    /// A batch begins at `now_ms`. If it is the operator's first one, it counts as a visit of the
    /// keys that the state begins with.
    pub(crate) fn first_batch(&mut self, now_ms: u64) {
        if std::mem::take(&mut self.unstamped) {
            for slot in 0..self.slots.len() {
                let entry = self.slots.get_mut(slot);
                if let Some(entry) = entry.filter(|e| e.stamp == T::at(BEFORE_FIRST_BATCH_MS)) {
                    entry.stamp = T::at(now_ms);
                    self.delta.changed(slot);
                }
            }
            self.set_timeout(self.timers.timeout_ms());
        }
    }

    /// The keys that a checkpoint would have to write or remove, for tests.
    #[cfg(test)]
    pub(crate) fn delta_keys(&self) -> std::collections::BTreeSet<K>
    where
        K: Clone + Ord,
    {
        let deltas = || {
            [Some(&self.delta), self.on_its_way.as_ref()]
                .into_iter()
                .flatten()
        };
        let slots = deltas().flat_map(Delta::slots);
        let dirty = slots.map(|slot| self.slots.get(slot).expect("a dirty slot has a key"));
        let gone = deltas().flat_map(Delta::gone);
        dirty.map(|entry| &entry.key).chain(gone).cloned().collect()
    }
}
