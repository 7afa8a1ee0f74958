//! When the keys of a group time out.
//!
//! Each key has one entry, at the deadline that it had when the entry was made. A visit moves the
//! deadline and leaves the entry alone: it costs nothing here. An entry that comes up early is put
//! where the deadline is now.

use crate::state::table::slots::Stamp;
use std::collections::BTreeMap;

/// Slots by deadline, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// Keys without data for longer than this time out.
    timeout_ms: Option<u64>,
    due: BTreeMap<u64, Vec<u32>>,
    /// Whether the batch has taken out entries of keys that have timed out.
    has_fired: bool,
}

impl Timers {
    /// Begins anew with the keys that are there.
    pub(crate) fn restart<T: Stamp>(
        &mut self,
        timeout_ms: Option<u64>,
        keys: impl Iterator<Item = (u32, T)>,
    ) {
        self.timeout_ms = timeout_ms;
        self.due.clear();
        self.has_fired = false;
        if timeout_ms.is_some() {
            keys.for_each(|(slot, stamp)| self.created(slot, stamp));
        }
    }

    /// Whether a batch has taken out entries, and was not kept.
    pub(crate) fn has_fired(&self) -> bool {
        self.has_fired
    }

    /// The batch is kept: its keys are gone.
    pub(crate) fn keep(&mut self) {
        self.has_fired = false;
    }

    pub(crate) fn timeout_ms(&self) -> Option<u64> {
        self.timeout_ms
    }

    /// A key is in `slot` now.
    pub(crate) fn created<T: Stamp>(&mut self, slot: u32, stamp: T) {
        if let Some(deadline) = self.deadline(stamp) {
            self.due.entry(deadline).or_default().push(slot);
        }
    }

    fn deadline<T: Stamp>(&self, stamp: T) -> Option<u64> {
        Some(stamp.time_ms()?.saturating_add(self.timeout_ms?))
    }

    /// The slots whose deadline is before `now_ms`, ascending. `stamp` tells that of a slot, `None`
    /// if it is empty.
    pub(crate) fn fire<T: Stamp>(
        &mut self,
        now_ms: u64,
        stamp: impl Fn(u32) -> Option<T>,
    ) -> Vec<u32> {
        let mut fired = Vec::new();
        while let Some(entry) = self.due.first_entry()
            && *entry.key() < now_ms
        {
            for slot in entry.remove() {
                let Some(stamp) = stamp(slot) else {
                    continue; // the key has gone
                };
                match self.deadline(stamp) {
                    Some(deadline) if deadline < now_ms => fired.push(slot),
                    _ => self.created(slot, stamp),
                }
            }
        }
        self.has_fired |= !fired.is_empty();
        fired.sort_unstable();
        fired
    }
}
