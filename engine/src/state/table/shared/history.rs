//! What keys had before batches that readers do not see yet.
//!
//! A reader asks for the states at the end of a batch: the newest one whose outputs are committed,
//! or an older one that it has pinned. The slots are ahead of that: they have what the batch that
//! runs has done so far, and what the one before it has done, whose outputs may be on their way. So
//! the first change that a batch makes to a key leaves here what the key had before. The oldest
//! batch after the reader's that has changed a key knows what the reader is to see; if none has,
//! the slots do.
//!
//! It is kept by key: slots get other numbers. A batch that fails leaves its entries here: what
//! they say is right, and it runs again under the same number.

use crate::record::Key;
use std::collections::{HashMap, VecDeque};

/// What a key had before a batch: its state, if it had one.
type Before<K, S> = HashMap<K, Option<S>, foldhash::fast::RandomState>;

/// What the keys of a group had before the newest batches.
#[derive(Debug)]
pub(crate) struct History<K, S> {
    /// It is complete for readers at this batch and at later ones.
    complete_from: u64,
    /// Ascending.
    batches: VecDeque<(u64, Before<K, S>)>,
}

/// The state of a group at the end of a batch cannot be had any more, or not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotKept;

impl<K, S> History<K, S> {
    pub(crate) fn new() -> Self {
        Self {
            complete_from: 0,
            batches: VecDeque::new(),
        }
    }

    /// The state is not asked for: batch `id` changes keys and leaves nothing here.
    pub(crate) fn skip(&mut self, id: u64) {
        self.batches.clear();
        self.complete_from = id;
    }

    /// Readers look at the end of batch `id` and at later ones only. Whether anything is left.
    pub(crate) fn forget(&mut self, id: u64) -> bool {
        while self
            .batches
            .front()
            .is_some_and(|(oldest, _)| *oldest <= id)
        {
            self.batches.pop_front();
        }
        self.complete_from = self.complete_from.max(id);
        !self.batches.is_empty()
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.batches.iter().map(|(_, before)| before.len()).sum()
    }

    /// Whether it knows what there was at the end of batch `at`.
    pub(crate) fn knows(&self, at: u64) -> Result<(), NotKept> {
        match at >= self.complete_from {
            true => Ok(()),
            false => Err(NotKept),
        }
    }

    /// The batches after `at`, the oldest first.
    fn after(&self, at: u64) -> impl Iterator<Item = &Before<K, S>> {
        let after = self.batches.iter().filter(move |(id, _)| *id > at);
        after.map(|(_, before)| before)
    }
}

impl<K: Key, S: Clone> History<K, S> {
    /// Batch `id` changes `key`, which had `before` until then.
    pub(crate) fn note(&mut self, id: u64, key: &K, before: Option<&S>) {
        if self.batches.back().is_none_or(|(newest, _)| *newest < id) {
            self.batches.push_back((id, Before::default()));
        }
        if let Some((_, batch)) = self.batches.back_mut()
            && !batch.contains_key(key)
        {
            batch.insert(key.clone(), before.cloned());
        }
    }

    /// What `key` had at the end of batch `at`, if a later one has changed that.
    pub(crate) fn of(&self, at: u64, key: &K) -> Option<Option<&S>> {
        let mut after = self.after(at);
        after.find_map(|batch| batch.get(key).map(Option::as_ref))
    }

    /// The keys that batches after `at`, up to `until`, have changed. One may come several times.
    pub(crate) fn changed(&self, at: u64, until: u64) -> impl Iterator<Item = &K> {
        self.between(at, until).flat_map(HashMap::keys)
    }

    /// How many that are.
    pub(crate) fn changes(&self, at: u64, until: u64) -> u64 {
        self.between(at, until)
            .map(|before| before.len() as u64)
            .sum()
    }

    fn between(&self, at: u64, until: u64) -> impl Iterator<Item = &Before<K, S>> {
        let between = move |id: u64| id > at && id <= until;
        let batches = self.batches.iter().filter(move |(id, _)| between(*id));
        batches.map(|(_, before)| before)
    }
}
