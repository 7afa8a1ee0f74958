//! What puts a batch back: the states that it has changed, as they were.

use crate::state::table::slots::{Entry, Stamp};

/// How much room for the entries of a batch is kept for the next one, in a group of `slots` slots:
/// a small part of what the group takes itself. The rest is given back.
pub(crate) fn max_kept(slots: u32) -> usize {
    usize::try_from(slots / 32)
        .unwrap_or(usize::MAX)
        .clamp(16, 1024)
}

/// What a batch has changed in a key group. Keys that it has created need no entry: they have the
/// highest slots.
#[derive(Debug)]
pub(crate) struct Undo<K, S, T> {
    /// The first slot that the batch has created.
    pub(crate) created_from: u32,
    changed: Vec<(u32, S)>,
    restamped: Vec<(u32, T)>,
    removed: Vec<(u32, Entry<K, S, T>)>,
}

impl<K, S, T: Stamp> Undo<K, S, T> {
    pub(crate) fn new() -> Self {
        Self {
            created_from: 0,
            changed: Vec::new(),
            restamped: Vec::new(),
            removed: Vec::new(),
        }
    }

    /// The state in `slot` was `before`.
    pub(crate) fn changed(&mut self, slot: u32, before: S) {
        if slot < self.created_from {
            self.changed.push((slot, before));
        }
    }

    /// The stamp of `slot` was `before`.
    pub(crate) fn restamped(&mut self, slot: u32, before: T) {
        if slot < self.created_from {
            self.restamped.push((slot, before));
        }
    }

    /// `gone` was in `slot`.
    pub(crate) fn removed(&mut self, slot: u32, gone: Entry<K, S, T>) {
        self.removed.push((slot, gone));
    }

    /// What the batch has changed, before that is forgotten.
    pub(crate) fn before(&mut self) -> Before<'_, K, S, T> {
        Before {
            changed: &mut self.changed,
            restamped: &self.restamped,
            removed: &self.removed,
        }
    }

    /// The same to look at.
    pub(crate) fn changes(&self) -> Changes<'_, K, S, T> {
        Changes {
            changed: &self.changed,
            restamped: &self.restamped,
            removed: &self.removed,
        }
    }

    /// What was removed last.
    pub(crate) fn last_removed(&self) -> Option<&Entry<K, S, T>> {
        self.removed.last().map(|(_, gone)| gone)
    }

    /// Hands over what was removed, and forgets the rest. The group has `slots` slots.
    pub(crate) fn forget(&mut self, slots: u32) -> impl Iterator<Item = (u32, Entry<K, S, T>)> {
        clear(&mut self.changed, max_kept(slots));
        clear(&mut self.restamped, max_kept(slots));
        std::mem::take(&mut self.removed).into_iter()
    }

    /// Hands over everything, in the order in which it is put back.
    pub(crate) fn take(&mut self) -> Taken<K, S, T> {
        Taken {
            removed: std::mem::take(&mut self.removed),
            restamped: std::mem::take(&mut self.restamped),
            changed: std::mem::take(&mut self.changed),
        }
    }
}

/// What was before a batch that is kept. States may be taken out.
pub(crate) struct Before<'a, K, S, T> {
    pub(crate) changed: &'a mut Vec<(u32, S)>,
    pub(crate) restamped: &'a [(u32, T)],
    pub(crate) removed: &'a [(u32, Entry<K, S, T>)],
}

/// What was before a batch of which it is not known yet whether it is kept.
pub(crate) struct Changes<'a, K, S, T> {
    pub(crate) changed: &'a [(u32, S)],
    pub(crate) restamped: &'a [(u32, T)],
    pub(crate) removed: &'a [(u32, Entry<K, S, T>)],
}

impl<K, S, T> Changes<'_, K, S, T> {
    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.changed.len() + self.restamped.len() + self.removed.len()
    }
}

/// What is to be put back: first keys, then stamps and states, the newest first.
pub(crate) struct Taken<K, S, T> {
    pub(crate) removed: Vec<(u32, Entry<K, S, T>)>,
    pub(crate) restamped: Vec<(u32, T)>,
    pub(crate) changed: Vec<(u32, S)>,
}

fn clear<E>(list: &mut Vec<E>, kept: usize) {
    list.clear();
    list.shrink_to(kept);
}
