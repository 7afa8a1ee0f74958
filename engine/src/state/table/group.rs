//! One key group: its keys and states, what a batch brings for them, and what puts the batch
//! back.
//!
//! The order matters: it decides in which order keys are visited and so the order of outputs.
//! Keys that a batch touches are visited in the order of their first touch; a visit of every key
//! goes in the order of creation, new keys last. That depends only on the input, never on a hash
//! or a thread, and a checkpoint keeps it.

use crate::record::{Key, Value};
use crate::state::key_hash::KeyHash;
use crate::state::table::capture::Capture;
use crate::state::table::delta::Delta;
use crate::state::table::restored::RestoredKeys;
use crate::state::table::shared::held::Held;
use crate::state::table::shared::kept::{Kept, spread, tag_of};
use crate::state::table::slots::{MAX_SLOTS, NOT_TOUCHED, Stamp};
use crate::state::table::timers::Timers;
use hashbrown::HashTable;
use parking_lot::RwLock;
use std::borrow::Borrow;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Among the touched: the number of a key that has no slot yet.
pub(super) const FRESH: u32 = MAX_SLOTS;

/// A key of this batch that has no slot yet.
#[derive(Debug)]
pub(super) struct Fresh<K> {
    pub(super) tag: NonZeroU32,
    /// Where its values are.
    pub(super) pending: u32,
    pub(super) key: K,
}

/// One key group. `A` is what a batch brings for a key.
#[derive(Debug)]
pub(crate) struct Group<K, A, S, T = ()> {
    pub(super) kept: Held<Kept<K, S, T>>,
    /// Whether the batch may have changed something of it.
    pub(super) changed: bool,
    /// Whether it has a history.
    pub(super) has_history: bool,
    /// What the batch has brought, in the order of first touch. `Entry::pending` is the place of
    /// a key here, until it is visited.
    pub(super) touched: Vec<(u32, Option<A>)>,
    pub(super) fresh: Vec<Fresh<K>>,
    /// Their numbers by the hash of their keys.
    pub(super) fresh_index: HashTable<u32>,
    /// Whether visits have begun and not ended.
    pub(super) unsettled: bool,
    pub(super) delta: Delta<K>,
    /// What the checkpoint on its way was to hold.
    pub(super) on_its_way: Option<Delta<K>>,
    /// What is copied for it.
    pub(super) capture: Option<Capture<K, S, T>>,
    pub(super) timers: Timers,
    /// Whether the keys wait for the time of the first batch.
    pub(super) unstamped: bool,
}

/// The keys and states of a group, as readers have them.
pub(crate) type SharedKeys<K, S, T> = Arc<RwLock<Kept<K, S, T>>>;

#[inline]
pub(super) fn position(number: u32) -> usize {
    usize::try_from(number & !FRESH).unwrap_or(usize::MAX)
}

impl<K, A, S, T: Stamp> From<RestoredKeys<K, S, T>> for Group<K, A, S, T> {
    fn from(restored: RestoredKeys<K, S, T>) -> Self {
        Self {
            kept: Held::new(restored.kept),
            changed: false,
            has_history: false,
            touched: Vec::new(),
            fresh: Vec::new(),
            fresh_index: HashTable::new(),
            unsettled: false,
            delta: restored.delta,
            on_its_way: None,
            capture: None,
            timers: Timers::default(),
            unstamped: restored.unstamped,
        }
    }
}

impl<K, A, S, T: Stamp> Group<K, A, S, T> {
    /// What readers look at.
    pub(crate) fn shared(&self) -> SharedKeys<K, S, T> {
        self.kept.lock()
    }

    /// Keys that have state.
    pub(crate) fn len(&self) -> u32 {
        self.kept.get().slots.live()
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
            && self.fresh.is_empty()
            && !self.unsettled
            && !self.timers.has_fired()
            && !self.changed
    }

    /// All keys that have state, in the order of creation.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &S, T)> {
        self.kept.get().iter()
    }

    /// Where a key is: its slot, or its number among the fresh ones.
    fn find<Q: Eq + ?Sized>(&self, hash: KeyHash, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        let slot = self.kept.get().find(hash, key);
        slot.or_else(|| {
            let tag = tag_of(hash);
            let same = |fresh: &Fresh<K>| fresh.tag == tag && fresh.key.borrow() == key;
            self.find_fresh(tag, same)
        })
    }

    #[inline]
    fn find_fresh(&self, tag: NonZeroU32, same: impl Fn(&Fresh<K>) -> bool) -> Option<u32> {
        if self.fresh.is_empty() {
            return None;
        }
        let same = |number: &u32| self.fresh.get(position(*number)).is_some_and(&same);
        self.fresh_index.find(spread(tag), same).copied()
    }

    /// Where a key with this hash is; nearly always the key that is meant.
    ///
    /// Nothing is compared. So the processor looks for several keys at once, each of which takes
    /// it a few cache misses in turn.
    #[inline]
    pub(crate) fn guess(&self, hash: KeyHash) -> Option<u32> {
        let slot = self.kept.get().guess(hash);
        slot.or_else(|| {
            let tag = tag_of(hash);
            self.find_fresh(tag, |fresh| fresh.tag == tag)
        })
    }

    /// Whether `key` is at a guess. Where several keys are compared in a row, the processor waits
    /// for what is not in the cache once.
    #[inline]
    pub(crate) fn is_at<Q: Eq + ?Sized>(&self, number: u32, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        let slots = &self.kept.get().slots;
        let at = match number & FRESH {
            0 => slots.get(number).map(|entry| &entry.key),
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
impl<K: Key, A, S: Value, T: Stamp> Group<K, A, S, T> {
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
        if number & FRESH != 0 {
            return self.fresh.get(position(number)).map(|fresh| fresh.pending);
        }
        let entry = self.kept.get().slots.get(number);
        let entry = entry.expect("what is in the index is in its slot");
        if entry.pending.get() == NOT_TOUCHED {
            let place = u32::try_from(self.touched.len()).unwrap_or(NOT_TOUCHED);
            entry.pending.set(place);
            self.touched.push((number, Some(first(place))));
        }
        Some(entry.pending.get())
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
        let (Some(_), true) = (number, self.kept.get().slots.len() < FRESH) else {
            return Err("a key group has more than 2^31 keys: set more key groups".to_owned());
        };
        let at = u32::try_from(self.fresh.len()).unwrap_or(u32::MAX);
        let pending = u32::try_from(self.touched.len()).unwrap_or(u32::MAX);
        let number = FRESH | at;
        self.fresh.push(Fresh { tag, pending, key });
        let fresh = &self.fresh;
        self.fresh_index
            .insert_unique(spread(tag), number, |number| {
                let fresh = fresh.get(position(*number));
                spread(fresh.expect("what is in the index is in its place").tag)
            });
        self.touched.push((number, Some(first(pending))));
        Ok(pending)
    }
}
