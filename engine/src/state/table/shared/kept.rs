//! The keys and states of a group: what its worker changes and readers look at.

use crate::record::Key;
use crate::state::key_hash::KeyHash;
use crate::state::table::shared::history::{History, NotKept};
use crate::state::table::slots::{Entry, MAX_SLOTS, Slots, Stamp};
use crate::state::table::undo::Undo;
use hashbrown::HashTable;
use std::borrow::Borrow;
use std::num::NonZeroU32;

/// The keys and states of a group, with what puts a batch back and what readers see meanwhile.
#[derive(Debug)]
pub(crate) struct Kept<K, S, T> {
    /// Slots by the hash of their keys.
    pub(in crate::state::table) index: HashTable<u32>,
    pub(in crate::state::table) slots: Slots<K, S, T>,
    pub(in crate::state::table) undo: Undo<K, S, T>,
    pub(in crate::state::table) history: History<K, S>,
    /// How often the slots got other numbers.
    pub(in crate::state::table) compactions: u64,
}

/// What an index uses of a hash: 32 bits that stay in the slot.
#[inline]
pub(in crate::state::table) fn tag_of(hash: KeyHash) -> NonZeroU32 {
    let bits = (hash.0 ^ hash.0 >> 40) & 0xFFFF_FFFF;
    let bits = u32::try_from(bits).unwrap_or(u32::MAX);
    NonZeroU32::MIN | (bits | MAX_SLOTS)
}

/// Spreads a tag over 64 bits: an index takes its buckets and its own tags from both ends.
#[inline]
pub(in crate::state::table) fn spread(tag: NonZeroU32) -> u64 {
    u64::from(tag.get()).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl<K, S, T: Stamp> Kept<K, S, T> {
    pub(in crate::state::table) fn new() -> Self {
        Self {
            index: HashTable::new(),
            slots: Slots::new(),
            undo: Undo::new(),
            history: History::new(),
            compactions: 0,
        }
    }

    /// All keys that have state, in the order of creation.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &S, T)> {
        let slots = self.slots.iter();
        slots.map(|(_, entry)| (&entry.key, &entry.state, entry.stamp))
    }

    fn tag(slots: &Slots<K, S, T>, slot: u32) -> NonZeroU32 {
        let entry = slots.get(slot);
        entry.expect("what is in the index is in its slot").tag
    }

    pub(in crate::state::table) fn index_slot(&mut self, slot: u32, tag: NonZeroU32) {
        let slots = &self.slots;
        let by_tag = |slot: &u32| spread(Self::tag(slots, *slot));
        self.index.insert_unique(spread(tag), slot, by_tag);
    }

    /// `keys` more are to come.
    pub(in crate::state::table) fn expect(&mut self, keys: u32) {
        let slots = &self.slots;
        let by_tag = |slot: &u32| spread(Self::tag(slots, *slot));
        self.index
            .reserve(usize::try_from(keys).unwrap_or(0), by_tag);
        self.slots.expect(keys);
    }

    /// The index has `slot` no more.
    pub(in crate::state::table) fn unindex(&mut self, slot: u32, tag: NonZeroU32) {
        let found = self.index.find_entry(spread(tag), |n| *n == slot);
        if let Ok(found) = found {
            found.remove();
        }
    }

    /// A new key gets the next slot.
    pub(in crate::state::table) fn push(&mut self, entry: Entry<K, S, T>) -> u32 {
        let tag = entry.tag;
        let slot = self.slots.push(entry);
        self.index_slot(slot, tag);
        slot
    }

    /// The slot of a key.
    #[inline]
    pub(in crate::state::table) fn find<Q: Eq + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
    ) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        let tag = tag_of(hash);
        let same = |slot: &u32| {
            let entry = self.slots.get(*slot);
            entry.is_some_and(|entry| entry.tag == tag && entry.key.borrow() == key)
        };
        self.index.find(spread(tag), same).copied()
    }

    /// The slot of a key with this hash; nearly always of the key that is meant.
    #[inline]
    pub(in crate::state::table) fn guess(&self, hash: KeyHash) -> Option<u32> {
        let tag = tag_of(hash);
        let same = |slot: &u32| self.slots.get(*slot).is_some_and(|entry| entry.tag == tag);
        self.index.find(spread(tag), same).copied()
    }

    /// `gone` was taken out of `slot`, for good.
    pub(in crate::state::table) fn gone(&mut self, slot: u32, gone: Entry<K, S, T>) {
        self.slots.emptied();
        self.unindex(slot, gone.tag);
        self.undo.removed(slot, gone);
    }

    /// Closes the gaps that removed keys have left, in the order of creation. Returns the new
    /// number of every slot; `u32::MAX` for a dead one.
    pub(in crate::state::table) fn compact(&mut self) -> Vec<u32> {
        let moved = self.slots.compact();
        self.compactions += 1;
        self.index.clear();
        let live = usize::try_from(self.slots.live()).unwrap_or(0);
        self.index
            .shrink_to(live, |_| unreachable!("the index is empty"));
        let slots = &self.slots;
        for (slot, entry) in slots.iter() {
            let by_tag = |slot: &u32| spread(Self::tag(slots, *slot));
            self.index.insert_unique(spread(entry.tag), slot, by_tag);
        }
        moved
    }
}

/// Where a reader is that goes through a group in steps.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    next: u32,
    compactions: Option<u64>,
}

/// What a step of a walk has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    More,
    Done,
    /// The slots got other numbers: the walk begins again.
    Again,
}

/// What readers see.
impl<K: Key, S: Clone, T: Stamp> Kept<K, S, T> {
    /// What `key` had at the end of batch `at`.
    pub(in crate::state::table) fn at(
        &self,
        at: u64,
        hash: KeyHash,
        key: &K,
    ) -> Result<Option<&S>, NotKept> {
        self.history.knows(at)?;
        Ok(match self.history.of(at, key) {
            Some(before) => before,
            None => {
                let entry = self.find(hash, key).and_then(|slot| self.slots.get(slot));
                entry.map(|entry| &entry.state)
            }
        })
    }

    /// Shows `see` at most `max` keys with what they had at the end of batch `at`; with the last
    /// ones those that are gone since. A key may come twice, with the same state.
    pub(in crate::state::table) fn step(
        &self,
        at: u64,
        walk: &mut Walk,
        max: u32,
        see: &mut dyn FnMut(&K, &S),
    ) -> Result<Step, NotKept> {
        self.history.knows(at)?;
        if *walk.compactions.get_or_insert(self.compactions) != self.compactions {
            *walk = Walk::default();
            return Ok(Step::Again);
        }
        let end = self.slots.len();
        let until = walk.next.saturating_add(max).min(end);
        for slot in walk.next..until {
            let Some(entry) = self.slots.get(slot) else {
                continue;
            };
            let before = self.history.of(at, &entry.key);
            if let Some(state) = before.unwrap_or(Some(&entry.state)) {
                see(&entry.key, state);
            }
        }
        walk.next = until;
        if until < end {
            return Ok(Step::More);
        }
        for key in self.history.changed(at, u64::MAX) {
            if let Some(Some(state)) = self.history.of(at, key) {
                see(key, state);
            }
        }
        Ok(Step::Done)
    }
}
