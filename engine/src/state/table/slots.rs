//! The slots of a key group: where its keys and states lie, in the order of creation.
//!
//! Slots are handed out in ascending order and never again, until the group is compacted, which
//! keeps their order. They lie in pages of a fixed size, so that nothing moves when the group
//! grows, but for the last page, which grows with what the group holds.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

/// Slots of a page.
const PAGE: usize = 512;

/// The last page of a group grows by so many slots, or by this part of the group, up to the full
/// size: what is empty is a small part of what the group holds.
const ROOM: usize = 8;
const OF_THE_GROUP: u32 = 8;

/// Numbers of slots stay below this.
pub(crate) const MAX_SLOTS: u32 = 1 << 31;

/// What a key has beside its state for timeouts: nothing, or the time of its last visit.
pub(crate) trait Stamp: Copy + Eq + std::fmt::Debug + Send + Sync + 'static {
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

/// The place of a key among those that a batch touches, until it is visited. Only its worker looks
/// at it, also while readers look at the entry.
#[derive(Debug)]
pub(crate) struct Pending(AtomicU32);

impl Pending {
    /// The batch has not touched the key.
    pub(crate) fn none() -> Self {
        Self(AtomicU32::new(NOT_TOUCHED))
    }

    #[inline]
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn set(&self, place: u32) {
        self.0.store(place, Ordering::Relaxed);
    }
}

/// In place of a key's place among the touched: the batch has not touched it.
pub(crate) const NOT_TOUCHED: u32 = u32::MAX;

/// A key with its state. The niche of the tag makes `Option<Entry>` as large as this.
#[derive(Debug)]
pub(crate) struct Entry<K, S, T> {
    /// Bits of the key's hash: growing an index never hashes a key.
    pub(crate) tag: NonZeroU32,
    pub(crate) pending: Pending,
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
    /// So many more keys are known to come.
    expected: u32,
}

fn as_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[inline]
fn place(slot: u32) -> (usize, usize) {
    let slot = as_usize(slot);
    (slot / PAGE, slot % PAGE)
}

impl<K, S, T> Slots<K, S, T> {
    pub(crate) fn new() -> Self {
        Self {
            pages: Vec::new(),
            len: 0,
            live: 0,
            expected: 0,
        }
    }

    /// `keys` more are to come: the last page gets room for those, and no more.
    pub(crate) fn expect(&mut self, keys: u32) {
        self.expected = keys;
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
            self.pages.push(Vec::new());
        }
        let (expected, share) = (self.expected, slot / OF_THE_GROUP);
        let page = self.pages.last_mut().expect("a page was just begun");
        if page.len() == page.capacity() {
            let more = match expected {
                0 => as_usize(share).max(ROOM),
                _ => as_usize(expected),
            };
            page.reserve_exact(more.min(PAGE - page.len()));
        }
        self.expected = expected.saturating_sub(1);
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

    /// Closes the gaps, in place. Returns the new number of every slot; `u32::MAX` for a dead one.
    pub(crate) fn compact(&mut self) -> Vec<u32> {
        let mut moved = Vec::with_capacity(as_usize(self.len));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn push(slots: &mut Slots<u64, [u64; 6], ()>, keys: u64) {
        for key in 0..keys {
            slots.push(Entry {
                tag: NonZeroU32::MIN,
                pending: Pending::none(),
                stamp: (),
                key,
                state: [0; 6],
            });
        }
    }

    /// Slots that there is room for, beyond those in use.
    fn room(slots: &Slots<u64, [u64; 6], ()>) -> usize {
        let capacity: usize = slots.pages.iter().map(Vec::capacity).sum();
        assert!(slots.pages.iter().all(|page| page.capacity() <= PAGE));
        capacity - as_usize(slots.len())
    }

    /// Each group had half a page to spare: 16 MB in 1024 groups.
    #[test]
    fn little_room_is_left_over() {
        assert_eq!(size_of::<Option<Entry<u64, [u64; 6], ()>>>(), 64);
        for keys in [1, 9, 100, 511, 512, 513, 976, 5_000, 78_125] {
            let mut slots = Slots::new();
            push(&mut slots, keys);
            let in_use = usize::try_from(keys).unwrap();
            let most = (in_use / 8).max(ROOM);
            assert!(room(&slots) <= most, "{keys} keys: {}", room(&slots));
        }
    }

    #[test]
    fn nothing_is_left_over_where_the_number_of_keys_was_known() {
        for keys in [1, 100, 512, 513, 976, 5_000] {
            let mut slots = Slots::new();
            slots.expect(keys);
            push(&mut slots, u64::from(keys));
            assert_eq!(room(&slots), 0, "{keys} keys");
            push(&mut slots, 1);
            assert!(room(&slots) > 0 || PAGE == 1);
        }
    }
}
