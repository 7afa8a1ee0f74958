//! One key group: its keys and states, what a batch brings for them, and what puts the batch
//! back.
//!
//! The order matters: it decides in which order keys are visited and so the order of outputs.
//! Keys that a batch touches are visited in the order of their first touch; a visit of every key
//! goes in the order of creation, new keys last. That depends only on the input, never on a hash
//! or a thread, and a checkpoint keeps it.

use crate::record::{Key, State};
use crate::state::access::StateAccess;
use crate::state::key_hash::KeyHash;
use crate::state::table::capture::Capture;
use crate::state::table::delta::Delta;
use crate::state::table::lent::{Lent, Settled};
use crate::state::table::slots::{Entry, MAX_SLOTS, Slots, Stamp};
use crate::state::table::timers::Timers;
use crate::state::table::undo::{Undo, max_kept};
use hashbrown::HashTable;
use std::borrow::Borrow;
use std::num::NonZeroU32;

/// In the index and among the touched: the number of a key that has no slot yet.
pub(super) const FRESH: u32 = MAX_SLOTS;

/// In place of a key's place among the touched: the batch has not touched it.
pub(super) const NOT_TOUCHED: u32 = u32::MAX;

/// A key of this batch that has no slot yet.
#[derive(Debug)]
pub(super) struct Fresh<K> {
    pub(super) tag: NonZeroU32,
    /// Where its values are.
    pending: u32,
    key: K,
}

/// A visited key, after the visit.
#[derive(Debug)]
pub(crate) struct Visited<'a, K, S> {
    pub(crate) key: &'a K,
    /// Its state, if it has one now.
    pub(crate) state: Option<&'a S>,
    pub(crate) changed: bool,
}

/// One key group. `A` is what a batch brings for a key.
#[derive(Debug)]
pub(crate) struct Group<K, A, S, T = ()> {
    /// Slots by the hash of their keys, and numbers of fresh keys.
    pub(super) index: HashTable<u32>,
    pub(super) slots: Slots<K, S, T>,
    /// What the batch has brought, in the order of first touch. `Entry::pending` is the place of
    /// a key here, until it is visited.
    pub(super) touched: Vec<(u32, Option<A>)>,
    pub(super) fresh: Vec<Fresh<K>>,
    /// Whether the index has numbers of fresh keys, or visits have begun and not ended.
    pub(super) unsettled: bool,
    pub(super) undo: Undo<K, S, T>,
    pub(super) delta: Delta<K>,
    /// What the checkpoint on its way was to hold.
    pub(super) on_its_way: Option<Delta<K>>,
    /// What is copied for it.
    pub(super) capture: Option<Capture<K, S, T>>,
    pub(super) timers: Timers,
    /// Whether the keys wait for the time of the first batch.
    pub(super) unstamped: bool,
}

/// What the index of a group uses of a hash: 32 bits that stay in the slot.
#[inline]
pub(super) fn tag_of(hash: KeyHash) -> NonZeroU32 {
    let bits = (hash.0 ^ hash.0 >> 40) & 0xFFFF_FFFF;
    let bits = u32::try_from(bits).unwrap_or(u32::MAX);
    NonZeroU32::MIN | (bits | FRESH)
}

/// Spreads a tag over 64 bits: the index takes its buckets and its own tags from both ends.
#[inline]
pub(super) fn spread(tag: NonZeroU32) -> u64 {
    u64::from(tag.get()).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[inline]
fn position(number: u32) -> usize {
    usize::try_from(number & !FRESH).unwrap_or(usize::MAX)
}

impl<K, A, S, T: Stamp> Group<K, A, S, T> {
    pub(crate) fn new() -> Self {
        Self {
            index: HashTable::new(),
            slots: Slots::new(),
            touched: Vec::new(),
            fresh: Vec::new(),
            unsettled: false,
            undo: Undo::new(),
            delta: Delta::new(0),
            on_its_way: None,
            capture: None,
            timers: Timers::default(),
            unstamped: false,
        }
    }

    /// Keys that have state.
    pub(crate) fn len(&self) -> u32 {
        self.slots.live()
    }

    /// The same, with those that the batch has brought.
    pub(crate) fn keys(&self) -> u64 {
        u64::from(self.len()) + u64::try_from(self.fresh.len()).unwrap_or(u64::MAX)
    }

    /// Keys that were changed since the last checkpoint that was published.
    pub(crate) fn changed_keys(&self) -> u64 {
        self.delta.keys(self.on_its_way.as_ref())
    }

    /// Whether a batch has left anything to settle.
    pub(crate) fn is_settled(&self) -> bool {
        self.touched.is_empty()
            && !self.unsettled
            && !self.timers.has_fired()
            && self.undo.is_empty(self.slots.len())
    }

    /// All keys that have state, in the order of creation.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &S, T)> {
        let slots = self.slots.iter();
        slots.map(|(_, entry)| (&entry.key, &entry.state, entry.stamp))
    }

    /// The tag behind a number of the index.
    pub(super) fn tag(slots: &Slots<K, S, T>, fresh: &[Fresh<K>], number: u32) -> NonZeroU32 {
        let tag = match number & FRESH {
            0 => slots.get(number).map(|entry| entry.tag),
            _ => fresh.get(position(number)).map(|fresh| fresh.tag),
        };
        tag.expect("what is in the index is in its place")
    }

    pub(super) fn index_slot(&mut self, slot: u32, tag: NonZeroU32) {
        let (slots, fresh) = (&self.slots, &self.fresh);
        self.index.insert_unique(spread(tag), slot, |number| {
            spread(Self::tag(slots, fresh, *number))
        });
    }

    /// Where a key is: its slot, or its number among the fresh ones.
    fn find<Q: Eq + ?Sized>(&self, hash: KeyHash, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        let tag = tag_of(hash);
        let same = |number: &u32| self.tag_at(*number) == Some(tag) && self.is_at(*number, key);
        self.index.find(spread(tag), same).copied()
    }

    /// Where a key with this hash is; nearly always the key that is meant.
    ///
    /// Nothing is compared. So the processor looks for several keys at once, each of which takes
    /// it a few cache misses in turn.
    #[inline]
    pub(crate) fn guess(&self, hash: KeyHash) -> Option<u32> {
        let tag = tag_of(hash);
        let same = |number: &u32| self.tag_at(*number) == Some(tag);
        self.index.find(spread(tag), same).copied()
    }

    #[inline]
    fn tag_at(&self, number: u32) -> Option<NonZeroU32> {
        match number & FRESH {
            0 => self.slots.get(number).map(|entry| entry.tag),
            _ => self.fresh.get(position(number)).map(|fresh| fresh.tag),
        }
    }

    /// Whether `key` is at a guess. Where several keys are compared in a row, the processor waits
    /// for what is not in the cache once.
    #[inline]
    pub(crate) fn is_at<Q: Eq + ?Sized>(&self, number: u32, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        let at = match number & FRESH {
            0 => self.slots.get(number).map(|entry| &entry.key),
            _ => self.fresh.get(position(number)).map(|fresh| &fresh.key),
        };
        at.is_some_and(|at| at.borrow() == key)
    }

    /// Whether the group has `key`, or the batch has brought it.
    pub(crate) fn contains<Q: Eq + ?Sized>(&self, hash: KeyHash, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(hash, key).is_some()
    }
}

/// What a batch brings.
impl<K: Key, A, S: State, T: Stamp> Group<K, A, S, T> {
    /// Notes that a batch brings something for `key`, which is where it was `found`, if it was.
    /// Its place among the keys that the batch touches, where `first` makes what is kept of it at
    /// the first touch; `None` if the key is new.
    #[inline]
    pub(crate) fn touch<Q: Eq + ?Sized>(
        &mut self,
        found: Option<u32>,
        (hash, key): (KeyHash, &Q),
        first: impl FnOnce(u32) -> A,
    ) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        debug_assert!(found.is_none_or(|number| self.is_at(number, key)));
        let number = found.or_else(|| self.find(hash, key))?;
        let pending = match number & FRESH {
            0 => self.slots.get_mut(number).map(|entry| &mut entry.pending),
            _ => self.fresh.get_mut(position(number)).map(|f| &mut f.pending),
        };
        let pending = pending.expect("what is in the index is in its place");
        if *pending == NOT_TOUCHED {
            *pending = u32::try_from(self.touched.len()).unwrap_or(NOT_TOUCHED);
            self.touched.push((number, Some(first(*pending))));
        }
        Some(*pending)
    }

    /// Notes what a batch brings for `key`, which is where it was `found`, if it was; `merge`
    /// adds it to what is there already. Gives the value back if the key is new.
    #[inline]
    pub(crate) fn arrive<Q: Eq + ?Sized>(
        &mut self,
        found: Option<u32>,
        (hash, key): (KeyHash, &Q),
        value: A,
        merge: impl FnOnce(&mut A, A),
    ) -> Option<A>
    where
        K: Borrow<Q>,
    {
        let mut value = Some(value);
        let first = |_| value.take().expect("it is taken once");
        let Some(place) = self.touch(found, (hash, key), first) else {
            return value;
        };
        if let Some(value) = value
            && let Some((_, there)) = self.touched.get_mut(position(place))
        {
            merge(there.as_mut().expect("the key was not visited yet"), value);
        }
        None
    }

    /// Notes what a batch brings for `key`, which is new; `first` makes it of the key's place
    /// among those that the batch touches, which is returned.
    ///
    /// # Errors
    /// If the group has handed out all its numbers.
    pub(crate) fn arrive_new(
        &mut self,
        hash: KeyHash,
        key: K,
        first: impl FnOnce(u32) -> A,
    ) -> Result<u32, String> {
        let (tag, numbers) = (tag_of(hash), self.fresh.len() + self.touched.len());
        let number = u32::try_from(numbers).ok().filter(|n| *n < FRESH);
        let (Some(_), true) = (number, self.slots.len() < FRESH) else {
            return Err("a key group has more than 2^31 keys: set more key groups".to_owned());
        };
        let at = u32::try_from(self.fresh.len()).unwrap_or(u32::MAX);
        let pending = u32::try_from(self.touched.len()).unwrap_or(u32::MAX);
        let number = FRESH | at;
        self.fresh.push(Fresh { tag, pending, key });
        self.index_slot(number, tag);
        self.unsettled = true;
        self.touched.push((number, Some(first(pending))));
        Ok(pending)
    }
}

/// Visits.
impl<K: Key, A, S: State, T: Stamp> Group<K, A, S, T> {
    /// Runs `f` for every key that the batch has touched, in the order of first touch. The keys
    /// that have state afterwards were last visited at `now_ms`.
    pub(crate) fn visit_touched<G: StateAccess<State = S>>(
        &mut self,
        now_ms: u64,
        f: &mut impl FnMut(&K, Option<A>, &mut G),
        after: &mut impl FnMut(Visited<'_, K, S>),
    ) {
        self.unsettled = true;
        let mut touched = std::mem::take(&mut self.touched);
        let mut fresh = std::mem::take(&mut self.fresh).into_iter();
        for (number, value) in touched.drain(..) {
            if number & FRESH == 0 {
                self.visit(number, value, Some(T::at(now_ms)), f, after);
            } else if let Some(new) = fresh.next() {
                self.visit_fresh((number, new), value, now_ms, f, after);
            }
        }
        self.settled(touched);
    }

    /// Runs `f` for every key that has state, in the order of creation, and then for the new ones
    /// that the batch has brought.
    pub(crate) fn visit_every<G: StateAccess<State = S>>(
        &mut self,
        now_ms: u64,
        f: &mut impl FnMut(&K, Option<A>, &mut G),
        after: &mut impl FnMut(Visited<'_, K, S>),
    ) {
        self.unsettled = true;
        let mut touched = std::mem::take(&mut self.touched);
        let fresh = std::mem::take(&mut self.fresh);
        for slot in 0..self.slots.len() {
            let Some(entry) = self.slots.get(slot) else {
                continue;
            };
            let value = match entry.pending {
                NOT_TOUCHED => None,
                place => {
                    let arrived = touched.get_mut(position(place));
                    arrived.and_then(|(_, value)| value.take())
                }
            };
            let stamp = value.is_some().then(|| T::at(now_ms));
            self.visit(slot, value, stamp, f, after);
        }
        for (new, at) in fresh.into_iter().zip(0..) {
            let arrived = touched.get_mut(position(new.pending));
            let value = arrived.and_then(|(_, value)| value.take());
            self.visit_fresh((FRESH | at, new), value, now_ms, f, after);
        }
        touched.clear();
        self.settled(touched);
    }

    /// Every key of the batch was visited.
    fn settled(&mut self, touched: Vec<(u32, Option<A>)>) {
        if touched.capacity() <= max_kept(self.slots.len()) {
            self.touched = touched; // keeps its memory for the next batch
        }
        self.unsettled = false;
    }

    /// The slots of the keys that have timed out at `now_ms`, ascending.
    ///
    /// Keys that the batch has brought and that are not visited yet do not time out.
    pub(crate) fn timed_out(&mut self, now_ms: u64) -> Vec<u32> {
        let slots = &self.slots;
        self.timers.fire(now_ms, |slot| {
            let entry = slots.get(slot)?;
            match entry.pending {
                NOT_TOUCHED => Some(entry.stamp),
                _ => Some(T::at(now_ms)),
            }
        })
    }

    /// Deletes the state of a key that has timed out, after `f` has seen it.
    pub(crate) fn time_out<G: StateAccess<State = S>>(
        &mut self,
        slot: u32,
        f: impl FnOnce(&K, &mut G),
    ) {
        let Some(place) = self.slots.place_mut(slot) else {
            return;
        };
        if let Some(mut lent) = Lent::<K, G, T>::take(place) {
            lent.run(f);
        }
        // The guard has put back what was there before the call.
        if let Some(gone) = self.slots.place_mut(slot).and_then(Option::take) {
            self.gone(slot, gone);
        }
    }

    /// Runs `f` for the key in `slot`.
    fn visit<G: StateAccess<State = S>>(
        &mut self,
        slot: u32,
        value: Option<A>,
        stamp: Option<T>,
        f: &mut impl FnMut(&K, Option<A>, &mut G),
        after: &mut impl FnMut(Visited<'_, K, S>),
    ) {
        let Some(place) = self.slots.place_mut(slot) else {
            return;
        };
        let Some(entry) = place else {
            return;
        };
        entry.pending = NOT_TOUCHED;
        let stamp_before = entry.stamp;
        let Some(mut lent) = Lent::<K, G, T>::take(place) else {
            return;
        };
        lent.run(|key, guard| f(key, value, guard));
        match lent.settle(stamp) {
            Some(Settled::Kept { changed, before }) => {
                let restamped = stamp.is_some_and(|stamp| stamp != stamp_before);
                if changed || restamped {
                    self.delta.changed(slot);
                }
                if let Some(before) = before {
                    self.undo.changed(slot, before);
                }
                if restamped {
                    self.undo.restamped(slot, stamp_before);
                }
                if let Some(entry) = self.slots.get(slot) {
                    after(Visited {
                        key: &entry.key,
                        state: Some(&entry.state),
                        changed,
                    });
                }
            }
            Some(Settled::Gone(gone)) => {
                self.gone(slot, gone);
                if let Some(gone) = self.undo.last_removed() {
                    after(Visited {
                        key: &gone.key,
                        state: None,
                        changed: true,
                    });
                }
            }
            None => {}
        }
    }

    /// `gone` was taken out of `slot`, for good.
    fn gone(&mut self, slot: u32, gone: Entry<K, S, T>) {
        self.slots.emptied();
        let found = self.index.find_entry(spread(gone.tag), |n| *n == slot);
        if let Ok(found) = found {
            found.remove();
        }
        self.undo.removed(slot, gone);
    }

    /// Runs `f` for a key that has no slot; it gets one if it has state afterwards.
    fn visit_fresh<G: StateAccess<State = S>>(
        &mut self,
        (number, Fresh { tag, key, .. }): (u32, Fresh<K>),
        value: Option<A>,
        now_ms: u64,
        f: &mut impl FnMut(&K, Option<A>, &mut G),
        after: &mut impl FnMut(Visited<'_, K, S>),
    ) {
        let mut guard = G::lend(None);
        f(&key, value, &mut guard);
        let (state, _, changed) = guard.settle(None);
        let found = self.index.find_entry(spread(tag), |n| *n == number);
        let found = found.expect("a fresh key is in the index");
        let Some(state) = state else {
            found.remove();
            after(Visited {
                key: &key,
                state: None,
                changed: false,
            });
            return;
        };
        let slot = self.slots.push(Entry {
            tag,
            pending: NOT_TOUCHED,
            stamp: T::at(now_ms),
            key,
            state,
        });
        *found.into_mut() = slot;
        self.delta.changed(slot);
        self.timers.created(slot, T::at(now_ms));
        if let Some(entry) = self.slots.get(slot) {
            after(Visited {
                key: &entry.key,
                state: Some(&entry.state),
                changed,
            });
        }
    }
}
