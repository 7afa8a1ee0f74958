//! The slots of a key group: where its keys and states lie, in the order of creation.
//!
//! Slots are handed out in ascending order and never again, until the group is compacted, which
//! keeps their order. They lie in pages of a fixed size, so that nothing moves when the group
//! grows.

use std::num::NonZeroU32;

/// Slots of a page.
const PAGE: usize = 512;

/// Numbers of slots stay below this.
pub(crate) const MAX_SLOTS: u32 = 1 << 31;

/// What a key has beside its state for timeouts: nothing, or the time of its last visit.
pub(crate) trait Stamp: Copy + Eq + std::fmt::Debug + Send + 'static {
    /// That of a visit at `time_ms`.
    fn at(time_ms: u64) -> Self;
    /// The time of the last visit, if it is kept.
    fn time_ms(self) -> Option<u64>;
}

/// No timeouts.
impl Stamp for () {
    fn at(_: u64) -> Self {}
    fn time_ms(self) -> Option<u64> {
        None
    }
}

/// The last visit of a key that is what its state begins with, until the operator has its first
/// batch: above every batch time, so no timeout is due. A checkpoint that is taken before that
/// batch has it too.
pub(crate) const BEFORE_FIRST_BATCH_MS: u64 = u64::MAX;

/// The time of the last visit with data, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastVisit(u64);

impl Stamp for LastVisit {
    fn at(time_ms: u64) -> Self {
        Self(time_ms)
    }
    fn time_ms(self) -> Option<u64> {
        Some(self.0)
    }
}

/// A key with its state. The niche of the tag makes `Option<Entry>` as large as this.
#[derive(Debug, Clone)]
pub(crate) struct Entry<K, S, T> {
    /// Bits of the key's hash: growing an index never hashes a key.
    pub(crate) tag: NonZeroU32,
    /// The place of the key among those that the batch touches, until it is visited.
    pub(crate) pending: u32,
    pub(crate) stamp: T,
    pub(crate) key: K,
    pub(crate) state: S,
}

/// The slots of a key group.
#[derive(Debug)]
pub(crate) struct Slots<K, S, T> {
    pages: Vec<Vec<Option<Entry<K, S, T>>>>,
    len: u32,
    live: u32,
}

#[inline]
fn place(slot: u32) -> (usize, usize) {
    let slot = usize::try_from(slot).unwrap_or(usize::MAX);
    (slot / PAGE, slot % PAGE)
}

impl<K, S, T> Slots<K, S, T> {
    pub(crate) fn new() -> Self {
        Self {
            pages: Vec::new(),
            len: 0,
            live: 0,
        }
    }

    /// Slots that were handed out since the last compaction.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Slots that hold a key.
    pub(crate) fn live(&self) -> u32 {
        self.live
    }

    /// Hands out the next slot.
    pub(crate) fn push(&mut self, entry: Entry<K, S, T>) -> u32 {
        let slot = self.len;
        if place(slot).1 == 0 {
            // The first page grows: most groups of a small state hold few keys.
            let capacity = if slot == 0 { 0 } else { PAGE };
            self.pages.push(Vec::with_capacity(capacity));
        }
        let page = self.pages.last_mut().expect("a page was just begun");
        page.push(Some(entry));
        self.len += 1;
        self.live += 1;
        slot
    }

    /// Takes the last slot back.
    pub(crate) fn pop(&mut self) -> Option<Entry<K, S, T>> {
        let entry = self.pages.last_mut()?.pop()?;
        self.len -= 1;
        self.live -= u32::from(entry.is_some());
        if place(self.len).1 == 0 {
            self.pages.pop();
        }
        entry
    }

    /// What is in a slot.
    pub(crate) fn get(&self, slot: u32) -> Option<&Entry<K, S, T>> {
        let (page, at) = place(slot);
        self.pages.get(page)?.get(at)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Entry<K, S, T>> {
        self.place_mut(slot)?.as_mut()
    }

    /// The place of a slot. A caller that empties it counts that with [`Self::emptied`].
    pub(crate) fn place_mut(&mut self, slot: u32) -> Option<&mut Option<Entry<K, S, T>>> {
        let (page, at) = place(slot);
        self.pages.get_mut(page)?.get_mut(at)
    }

    /// A slot was emptied.
    pub(crate) fn emptied(&mut self) {
        self.live -= 1;
    }

    /// Puts an entry back into its slot.
    pub(crate) fn put_back(&mut self, slot: u32, entry: Entry<K, S, T>) {
        if let Some(place) = self.place_mut(slot) {
            *place = Some(entry);
            self.live += 1;
        }
    }

    /// All keys with their slots, in the order of creation.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Entry<K, S, T>)> {
        let slots = (0..).zip(self.pages.iter().flatten());
        slots.filter_map(|(slot, entry)| Some((slot, entry.as_ref()?)))
    }

    /// The same to change them.
    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry<K, S, T>> {
        self.pages.iter_mut().flatten().flatten()
    }

    /// Closes the gaps, in place. Returns the new number of every slot; `u32::MAX` for a dead one.
    pub(crate) fn compact(&mut self) -> Vec<u32> {
        let mut moved = Vec::with_capacity(usize::try_from(self.len).unwrap_or(0));
        let mut next = 0;
        for slot in 0..self.len {
            let entry = self.place_mut(slot).and_then(Option::take);
            let Some(entry) = entry else {
                moved.push(u32::MAX);
                continue;
            };
            if let Some(place) = self.place_mut(next) {
                *place = Some(entry);
            }
            moved.push(next);
            next += 1;
        }
        let (page, at) = place(next);
        self.pages.truncate(page + usize::from(at > 0));
        if at > 0
            && let Some(last) = self.pages.last_mut()
        {
            last.truncate(at);
        }
        self.len = next;
        moved
    }
}
