//! What becomes of a batch in a key group: it is kept, or put back. And what a checkpoint takes
//! from it.

use crate::record::{Key, State};
use crate::state::key_hash::KeyHash;
use crate::state::table::bits::Bits;
use crate::state::table::capture::{Capture, GroupCopy};
use crate::state::table::delta::Delta;
use crate::state::table::group::{FRESH, Group, NOT_TOUCHED, spread, tag_of};
use crate::state::table::slots::{BEFORE_FIRST_BATCH_MS, Entry, Stamp};

/// A group with fewer slots is not worth compacting.
const MIN_COMPACTED: u32 = 64;

impl<K: Key, A, S: State, T: Stamp> Group<K, A, S, T> {
    /// The batch is complete: what was before it is forgotten, or goes into the checkpoint on its
    /// way.
    pub(crate) fn commit(&mut self) {
        let (slots, undo) = (&self.slots, &mut self.undo);
        if let Some(capture) = self.capture.as_mut().filter(|capture| capture.waits()) {
            capture.settle(undo.before(), |slot| slots.get(slot));
        }
        for (slot, gone) in self.undo.forget(self.slots.len()) {
            if let Some(delta) = &mut self.on_its_way {
                delta.forget(slot);
            }
            self.delta.removed(slot, gone.key);
        }
        let (len, live) = (self.slots.len(), self.slots.live());
        if len > MIN_COMPACTED && live < len / 4 * 3 {
            self.copy(u32::MAX); // slots get other numbers
            self.compact();
        }
        self.undo.created_from = self.slots.len();
        self.timers.keep();
    }

    /// A checkpoint is to have the group as it is now: all of it, or what has changed since the one
    /// before. If that has not been published, this one is to hold what that one was to hold.
    pub(crate) fn capture(&mut self, whole: bool) {
        let mut delta = std::mem::replace(&mut self.delta, Delta::new(self.slots.len()));
        if let Some(failed) = self.on_its_way.take() {
            delta.merge(failed);
        }
        let waiting = match whole {
            true => Bits::below(self.slots.len()),
            false => delta.dirty().clone(),
        };
        let says_something = waiting.count() > 0 || (!whole && !delta.gone().is_empty());
        self.capture = says_something.then(|| Capture::new(whole, waiting));
        self.on_its_way = Some(delta);
    }

    /// Copies at most `max` slots for the checkpoint on its way. How many it was. Of those that the
    /// last batch has changed what was before it is copied.
    pub(crate) fn copy(&mut self, max: u32) -> u32 {
        let (slots, undo) = (&self.slots, &mut self.undo);
        let Some(capture) = &mut self.capture else {
            return 0;
        };
        capture.look_at(&undo.before(), |slot| slots.get(slot));
        capture.copy(max, |slot| slots.get(slot))
    }

    /// Whether there is something to be copied.
    pub(crate) fn waits_for_copy(&self) -> bool {
        self.capture.as_ref().is_some_and(Capture::waits)
    }

    /// What was copied for the checkpoint on its way, once it is all; `None` if there is nothing to
    /// say of the group.
    pub(crate) fn take_copies(&mut self, number: u32) -> Option<GroupCopy<K, S, T>> {
        let capture = self.capture.take()?;
        let gone = self.on_its_way.as_ref().map_or(&[][..], Delta::gone);
        Some(capture.finish(number, gone))
    }
}

impl<K, A, S, T: Stamp> Group<K, A, S, T> {
    /// The checkpoint on its way is given up: nothing is copied for it any more. What it was to
    /// hold still counts as changed.
    pub(crate) fn give_up_copies(&mut self) {
        self.capture = None;
    }

    /// The batch has failed: everything is again as it was before it, except that what it changed
    /// may still count as changed since the last checkpoint.
    pub(crate) fn roll_back(&mut self) {
        if let Some(capture) = &mut self.capture {
            capture.put_back();
        }
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

    /// The key that was restored last is written otherwise in the checkpoint: the next one writes
    /// it anew.
    pub(crate) fn restored_otherwise(&mut self) {
        if let Some(slot) = self.slots.len().checked_sub(1) {
            self.delta.changed(slot);
        }
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
        let delta = std::mem::replace(&mut self.delta, Delta::new(0));
        self.delta = delta.since(self.slots.len());
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
