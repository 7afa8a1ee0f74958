//! What becomes of a batch in a key group: it is kept, or put back. And what a checkpoint takes
//! from it.

use crate::record::{Key, Value};
use crate::state::table::bits::Bits;
use crate::state::table::capture::{Capture, GroupCopy};
use crate::state::table::delta::Delta;
use crate::state::table::group::Group;
use crate::state::table::shared::kept::Kept;
use crate::state::table::slots::{BEFORE_FIRST_BATCH_MS, NOT_TOUCHED, Stamp};

/// A group with fewer slots is not worth compacting.
const MIN_COMPACTED: u32 = 64;

impl<K: Key, A, S: Value, T: Stamp> Group<K, A, S, T> {
    /// The batch is complete: what was before it is forgotten, or goes into the checkpoint on its
    /// way.
    pub(crate) fn commit(&mut self) {
        if std::mem::take(&mut self.changed) {
            self.commit_changes();
        }
        self.timers.keep();
    }

    fn commit_changes(&mut self) {
        let mut kept = self.kept.change();
        let Kept { slots, undo, .. } = &mut *kept;
        if let Some(capture) = self.capture.as_mut().filter(|capture| capture.waits()) {
            capture.settle(undo.before(), |slot| slots.get(slot));
        }
        for (slot, gone) in undo.forget(slots.len()) {
            if let Some(delta) = &mut self.on_its_way {
                delta.forget(slot);
            }
            self.delta.removed(slot, gone.key);
        }
        let (len, live) = (slots.len(), slots.live());
        let mut moved = None;
        if len > MIN_COMPACTED && live < len / 4 * 3 {
            if let Some(capture) = &mut self.capture {
                capture.copy(u32::MAX, |slot| slots.get(slot)); // slots get other numbers
            }
            moved = Some(kept.compact());
        }
        kept.undo.created_from = kept.slots.len();
        drop(kept);
        if let Some(moved) = moved {
            self.renumbered(&moved);
        }
    }

    /// How many entries its history has.
    pub(crate) fn history_len(&self) -> usize {
        self.kept.get().history.len()
    }

    /// Readers look at the end of batch `id` and at later ones only.
    pub(crate) fn forget(&mut self, id: u64) {
        if self.has_history {
            self.has_history = self.kept.change().history.forget(id);
        }
    }

    /// A checkpoint is to have the group as it is now: all of it, or what has changed since the one
    /// before. If that has not been published, this one is to hold what that one was to hold.
    pub(crate) fn capture(&mut self, whole: bool) {
        let slots = self.kept.get().slots.len();
        let mut delta = std::mem::replace(&mut self.delta, Delta::new(slots));
        if let Some(failed) = self.on_its_way.take() {
            delta.merge(failed);
        }
        let waiting = match whole {
            true => Bits::below(slots),
            false => delta.dirty().clone(),
        };
        let says_something = waiting.count() > 0 || (!whole && !delta.gone().is_empty());
        self.capture = says_something.then(|| Capture::new(whole, waiting));
        self.on_its_way = Some(delta);
    }

    /// Copies at most `max` slots for the checkpoint on its way. How many it was. Of those that the
    /// last batch has changed what was before it is copied.
    pub(crate) fn copy(&mut self, max: u32) -> u32 {
        let Some(capture) = &mut self.capture else {
            return 0;
        };
        let Kept { slots, undo, .. } = self.kept.get();
        capture.look_at(&undo.changes(), |slot| slots.get(slot));
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
        self.fresh_index.clear();
        self.unsettled = false;
        if std::mem::take(&mut self.changed) {
            self.put_back();
        } else {
            let entries = self.kept.get().slots.iter();
            entries.for_each(|(_, entry)| entry.pending.set(NOT_TOUCHED));
        }
        self.set_timeout(self.timers.timeout_ms());
    }

    fn put_back(&mut self) {
        let mut kept = self.kept.change();
        let taken = kept.undo.take();
        for (slot, gone) in taken.removed {
            let tag = gone.tag;
            kept.slots.put_back(slot, gone);
            kept.index_slot(slot, tag);
        }
        // Nothing is touched. A visit that panicked has left no list of what was.
        let entries = kept.slots.iter();
        entries.for_each(|(_, entry)| entry.pending.set(NOT_TOUCHED));
        for (slot, stamp) in taken.restamped.into_iter().rev() {
            if let Some(entry) = kept.slots.get_mut(slot) {
                entry.stamp = stamp;
            }
        }
        for (slot, state) in taken.changed.into_iter().rev() {
            if let Some(entry) = kept.slots.get_mut(slot) {
                entry.state = state;
            }
        }
        while kept.slots.len() > kept.undo.created_from {
            let slot = kept.slots.len() - 1;
            self.delta.forget(slot);
            if let Some(delta) = &mut self.on_its_way {
                delta.forget(slot); // a checkpoint was to be taken after this batch
            }
            let tag = kept.slots.get(slot).map(|created| created.tag);
            if let Some(tag) = tag {
                kept.unindex(slot, tag);
            }
            kept.slots.pop();
        }
    }

    /// Keys without data for longer than `timeout_ms` time out from here on.
    pub(crate) fn set_timeout(&mut self, timeout_ms: Option<u64>) {
        let slots = self.kept.get().slots.iter();
        let keys = slots.map(|(slot, entry)| (slot, entry.stamp));
        self.timers.restart(timeout_ms, keys);
    }

    /// Slots have other numbers now.
    fn renumbered(&mut self, moved: &[u32]) {
        self.delta.renumber(moved);
        if let Some(delta) = &mut self.on_its_way {
            delta.renumber(moved);
        }
        self.set_timeout(self.timers.timeout_ms());
    }

    /// The last checkpoint that was captured is published.
    pub(crate) fn published(&mut self) {
        self.on_its_way = None;
    }

    /// A batch begins at `now_ms`. If it is the operator's first one, it counts as a visit of the
    /// keys that the state begins with.
    pub(crate) fn first_batch(&mut self, now_ms: u64) {
        if std::mem::take(&mut self.unstamped) {
            let mut kept = self.kept.change();
            for slot in 0..kept.slots.len() {
                let entry = kept.slots.get_mut(slot);
                if let Some(entry) = entry.filter(|e| e.stamp == T::at(BEFORE_FIRST_BATCH_MS)) {
                    entry.stamp = T::at(now_ms);
                    self.delta.changed(slot);
                }
            }
            drop(kept);
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
        let dirty = slots.map(|slot| {
            self.kept
                .get()
                .slots
                .get(slot)
                .expect("a dirty slot has a key")
        });
        let gone = deltas().flat_map(Delta::gone);
        dirty.map(|entry| &entry.key).chain(gone).cloned().collect()
    }
}
