//! What a batch has brought for each key, by key group and in the order of first touch.

use crate::batch::chunk::{Chunk, open};
use crate::codec::round_trip;
use crate::operators::pairs::first_touch::{FirstTouch, Keyed};
use crate::operators::pairs::intake::{Intake, group_mut, is_worth_waiting};
use crate::record::{Key, Value};
use crate::state::equal_keys::{EqualKeys, UNEQUAL_BYTES};
use crate::state::key_group::KeyGroups;
use crate::state::key_hash::KeyHash;
use std::convert::Infallible;

/// What a batch has brought: `V` comes with a chunk, `T` is what the batch has of a key.
#[derive(Debug)]
pub(crate) struct Gathered<K, V, T> {
    groups: KeyGroups,
    waiting: Intake<Keyed<K, V>>,
    by_group: Vec<FirstTouch<K, T>>,
}

impl<K: Key, V: Value, T: Default> Gathered<K, V, T> {
    pub(crate) fn new(groups: KeyGroups) -> Self {
        Self {
            groups,
            waiting: Intake::default(),
            by_group: Vec::new(),
        }
    }

    /// Drops what a batch that has failed has brought.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.by_group.clear();
    }

    /// Takes in a chunk of [`Keyed`] items; `add` adds one to what its key has. The first keys are
    /// noted in `equal_keys`; `is_elsewhere` tells whether another input has a key with a hash.
    ///
    /// # Errors
    /// Names a key that is equal to another one of the batch, which has another hash.
    pub(crate) fn take_in(
        &mut self,
        chunk: Chunk,
        equal_keys: &mut EqualKeys,
        is_elsewhere: impl Fn(KeyHash, &K) -> bool,
        add: impl Fn(&K, &mut T, V),
    ) -> Result<(), String> {
        let keys: usize = self.by_group.iter().map(FirstTouch::len).sum();
        let keys = u64::try_from(keys).unwrap_or(u64::MAX);
        // Keys that are noted are looked for among those that were brought.
        let waits = equal_keys.is_over() && is_worth_waiting(keys);
        // Keys get more during a batch, never fewer. So no item overtakes one that waits.
        assert!(waits || self.waiting.is_empty(), "items keep their order");
        for item in open::<Vec<Keyed<K, V>>>(chunk.data) {
            let group = self.groups.group_of(item.hash);
            if let Some(other) = equal_keys.note(&item.key, item.hash)
                && (self.has(other, &item.key) || is_elsewhere(other, &item.key))
            {
                let key = round_trip::show_value(&item.key);
                return Err(format!("the key {key} {UNEQUAL_BYTES}"));
            }
            if waits {
                self.waiting.add(group, item);
            } else {
                let keys = group_mut(&mut self.by_group, group);
                let (key, there) = keys.entry(item.hash, item.key);
                add(key, there, item.value);
            }
        }
        if self.waiting.chunk_is_in() {
            self.bring(&add);
        }
        Ok(())
    }

    /// Nothing more comes: brings the rest to its keys.
    pub(crate) fn finish(&mut self, add: impl Fn(&K, &mut T, V)) {
        self.bring(&add);
        self.waiting.clear();
    }

    fn bring(&mut self, add: &impl Fn(&K, &mut T, V)) {
        let by_group = &mut self.by_group;
        let brought = self.waiting.bring::<Infallible>(|group, item| {
            let keys = group_mut(by_group, group);
            let (key, there) = keys.entry(item.hash, item.key);
            add(key, there, item.value);
            Ok(())
        });
        let Ok(()) = brought;
    }

    /// Hands over what a group has, once all was brought.
    pub(crate) fn group(&mut self, number: u32) -> Vec<Keyed<K, T>> {
        let group = usize::try_from(number).expect("groups fit the address space");
        let group = self.by_group.get_mut(group).map(std::mem::take);
        group.map(|mut keys| keys.take()).unwrap_or_default()
    }

    /// Whether the batch has brought `key` with the hash `hash`.
    pub(crate) fn has(&self, hash: KeyHash, key: &K) -> bool {
        let group = usize::try_from(self.groups.group_of(hash));
        let keys = group.ok().and_then(|group| self.by_group.get(group));
        keys.is_some_and(|keys| keys.has(hash, key))
    }
}
