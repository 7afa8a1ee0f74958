//! What a checkpoint takes from a key group: copies of keys and states as they were when it was
//! asked for.
//!
//! Asking for it costs next to nothing: the set of slots to be copied is taken over. They are
//! copied in small steps between batches. A batch that changes one before its turn has kept what
//! was there to be able to put it back; that is the copy then. So batches never wait for a
//! checkpoint, and it has exactly what was there at the border of its batch.

use crate::record::{Key, Value};
use crate::state::table::bits::Bits;
use crate::state::table::block::{self, EncodedGroup};
use crate::state::table::slots::{Entry, Stamp};
use crate::state::table::undo::{Before, Changes};
use std::collections::BTreeMap;
use std::fmt;

/// A key with its state, as it was when the checkpoint was asked for.
pub(crate) struct Copied<K, S, T> {
    /// Slots ascend in the order of creation.
    slot: u32,
    key: K,
    state: S,
    stamp: T,
}

/// A checkpoint on its way, in one key group.
pub(crate) struct Capture<K, S, T> {
    /// Whether it takes all keys, or those that have changed.
    whole: bool,
    /// Slots that are not copied yet; empty ones may be among them.
    waiting: Bits,
    /// None below is waiting.
    next: u32,
    /// How much of what the batch has changed was looked at: it is not settled yet.
    seen: usize,
    copied: Vec<Copied<K, S, T>>,
}

impl<K, S, T> Capture<K, S, T> {
    pub(crate) fn new(whole: bool, waiting: Bits) -> Self {
        Self {
            whole,
            waiting,
            next: 0,
            seen: 0,
            copied: Vec::new(),
        }
    }

    /// Whether there are slots to be copied.
    pub(crate) fn waits(&self) -> bool {
        self.waiting.count() > 0
    }

    /// The batch was put back.
    pub(crate) fn put_back(&mut self) {
        self.seen = 0;
    }
}

impl<K: Key, S: Value, T: Stamp> Capture<K, S, T> {
    /// Copies at most `max` slots. How many it was.
    pub(crate) fn copy<'a>(
        &mut self,
        max: u32,
        entry: impl Fn(u32) -> Option<&'a Entry<K, S, T>>,
    ) -> u32 {
        let mut done = 0;
        while done < max
            && let Some(slot) = self.waiting.first_from(self.next)
        {
            // A panic in user code leaves the slot waiting: nothing is left out without a word.
            if let Some(entry) = entry(slot) {
                let copied = copied(slot, entry, entry.state.clone(), entry.stamp);
                self.copied.push(copied);
            }
            self.waiting.remove(slot);
            self.next = slot + 1;
            done += 1;
        }
        done
    }

    /// A batch has changed slots, and it is not known yet whether it is kept: of those that wait,
    /// what was before it is copied.
    pub(crate) fn look_at<'a>(
        &mut self,
        before: &Changes<'_, K, S, T>,
        entry: impl Fn(u32) -> Option<&'a Entry<K, S, T>>,
    ) {
        let len = before.len();
        if self.seen == len {
            return;
        }
        let waiting = self.waiting.clone();
        let changed = before.changed.iter();
        let changed = changed.filter(|(slot, _)| waiting.contains(*slot));
        let changed = changed.map(|(slot, state)| (*slot, state.clone()));
        self.keep(changed, before.restamped, before.removed, entry);
        self.seen = len;
    }

    /// The batch is kept that has changed slots: of those that wait, what was before it is copied.
    pub(crate) fn settle<'a>(
        &mut self,
        before: Before<'_, K, S, T>,
        entry: impl Fn(u32) -> Option<&'a Entry<K, S, T>>,
    ) {
        let Before {
            changed,
            restamped,
            removed,
        } = before;
        self.keep(changed.drain(..), restamped, removed, entry);
        self.seen = 0;
    }

    fn keep<'a>(
        &mut self,
        changed: impl Iterator<Item = (u32, S)>,
        restamped: &[(u32, T)],
        removed: &[(u32, Entry<K, S, T>)],
        entry: impl Fn(u32) -> Option<&'a Entry<K, S, T>>,
    ) {
        let waiting = |slot: &u32| self.waiting.contains(*slot);
        // Of several changes in one batch, the first has what was before it.
        let mut stamps = BTreeMap::new();
        for (slot, stamp) in restamped.iter().filter(|(slot, _)| waiting(slot)) {
            stamps.entry(*slot).or_insert(*stamp);
        }
        let mut gone = BTreeMap::new();
        for (at, (slot, _)) in removed.iter().enumerate() {
            if waiting(slot) {
                gone.insert(*slot, at);
            }
        }
        let gone_entry = |slot: u32| removed.get(*gone.get(&slot)?).map(|(_, entry)| entry);
        let now = |slot: u32| entry(slot).or_else(|| gone_entry(slot));
        let stamp_of = |slot: u32, now: T| stamps.get(&slot).copied().unwrap_or(now);
        let mut take = |slot: u32, state: Option<S>| {
            if self.waiting.contains(slot)
                && let Some(now) = now(slot)
            {
                let state = state.unwrap_or_else(|| now.state.clone());
                let stamp = stamp_of(slot, now.stamp);
                self.copied.push(copied(slot, now, state, stamp));
                self.waiting.remove(slot);
            }
        };
        for (slot, state) in changed {
            take(slot, Some(state));
        }
        let others = stamps.keys().chain(gone.keys());
        others.for_each(|slot| take(*slot, None));
    }

    /// Everything is copied: what the checkpoint says of the key group; `gone` are the keys that it
    /// has no more.
    pub(crate) fn finish(self, group: u32, gone: &[K]) -> GroupCopy<K, S, T> {
        debug_assert!(!self.waits());
        GroupCopy {
            group,
            whole: self.whole,
            gone: match self.whole {
                true => Vec::new(),
                false => gone.to_vec(),
            },
            copied: self.copied,
        }
    }
}

fn copied<K: Clone, S, T>(
    slot: u32,
    entry: &Entry<K, S, T>,
    state: S,
    stamp: T,
) -> Copied<K, S, T> {
    Copied {
        slot,
        key: entry.key.clone(),
        state,
        stamp,
    }
}

/// What a checkpoint says of one key group, not encoded yet.
pub(crate) struct GroupCopy<K, S, T> {
    group: u32,
    whole: bool,
    gone: Vec<K>,
    copied: Vec<Copied<K, S, T>>,
}

/// The same with the types erased. It is encoded on the thread that writes checkpoints.
pub(crate) trait CapturedGroup: fmt::Debug + Send {
    /// How many keys it has.
    fn keys(&self) -> u64;
    /// What one of them takes at least, in bytes.
    fn bytes_per_key(&self) -> u64;
    /// Encodes it.
    ///
    /// # Errors
    /// What does not serialise, with its key.
    fn encode(self: Box<Self>) -> Result<EncodedGroup, String>;
}

impl<K, S, T> fmt::Debug for Capture<K, S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture")
            .field("whole", &self.whole)
            .field("waiting", &self.waiting.count())
            .finish_non_exhaustive()
    }
}

impl<K, S, T> fmt::Debug for GroupCopy<K, S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupCopy")
            .field("group", &self.group)
            .field("whole", &self.whole)
            .finish_non_exhaustive()
    }
}

impl<K: Key, S: Value, T: Stamp> CapturedGroup for GroupCopy<K, S, T> {
    fn keys(&self) -> u64 {
        (self.copied.len() + self.gone.len()) as u64
    }

    fn bytes_per_key(&self) -> u64 {
        size_of::<Copied<K, S, T>>() as u64
    }

    fn encode(self: Box<Self>) -> Result<EncodedGroup, String> {
        let mut this = *self;
        this.copied.sort_unstable_by_key(|copied| copied.slot);
        let entries = this.copied.iter();
        let entries = entries.map(|copied| (&copied.key, &copied.state, copied.stamp));
        block::encode(this.group, this.whole, &this.gone, entries)
    }
}
