//! The states of one operator on one worker, by key group.

use crate::batch::work::Shown;
use crate::codec::round_trip;
use crate::observe::states::KeyCounts;
use crate::record::{Key, State, Value};
use crate::state::equal_keys::{EqualKeys, UNEQUAL_BYTES};
use crate::state::key_group::{KeyGroups, WorkerSlot};
use crate::state::key_hash::KeyHash;
use crate::state::table::block::RestoredState;
use crate::state::table::capture::CapturedGroup;
use crate::state::table::group::Group;
use crate::state::table::restored::RestoredKeys;
use crate::state::table::shared::reading::SharedGroup;
use crate::state::table::slots::Stamp;
use crate::state::table::visits::visit::Visiting;
use std::borrow::Borrow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The state of one operator on one worker. `A` is what a batch brings for a key.
#[derive(Debug)]
pub(crate) struct StateTable<K, A, S, T = ()> {
    slot: WorkerSlot,
    /// By number; those of other workers stay empty.
    groups: Vec<Group<K, A, S, T>>,
    /// The groups below are copied for the checkpoint on its way.
    copied: usize,
    equal_keys: EqualKeys,
    /// How many readers ask for it.
    readers: Arc<AtomicUsize>,
    /// The batch that runs, or was the last.
    batch: u64,
}

/// So many entries are kept for readers of past batches, on each worker. Beyond that only the
/// newest batch can be read. Tests have a small one.
const MAX_HISTORY: usize = if cfg!(test) { 100 } else { 1 << 20 };

/// So many slots are copied between two looks at the clock.
const COPIED_AT_ONCE: u32 = 64;

impl<K: Key, A: Send + 'static, S: Value, T: Stamp> StateTable<K, A, S, T> {
    /// Takes over the decoded groups that belong to this worker. Keys without data for longer
    /// than `timeout_ms` time out.
    pub(crate) fn restore(
        restored: &mut RestoredState,
        slot: &WorkerSlot,
        timeout_ms: Option<u64>,
    ) -> Self {
        let group = |number| {
            let owned = slot.groups.owner(number, slot.peers) == slot.index;
            let restored = owned.then(|| restored.remove(&number)).flatten();
            let restored = restored.map_or_else(RestoredKeys::new, |group| {
                *group
                    .downcast()
                    .expect("a state is decoded by the decoder of its own operator")
            });
            let mut group = Group::from(restored);
            group.set_timeout(timeout_ms);
            group
        };
        Self {
            slot: *slot,
            groups: (0..slot.groups.count()).map(group).collect(),
            copied: usize::MAX,
            equal_keys: EqualKeys::of::<K>(),
            readers: Arc::default(),
            batch: 0,
        }
    }

    /// `readers` tells how many ask for it.
    pub(crate) fn read_by(mut self, readers: &Arc<AtomicUsize>) -> Self {
        self.readers = Arc::clone(readers);
        self
    }

    /// The groups of this worker, for readers.
    pub(crate) fn share(&self) -> Vec<SharedGroup>
    where
        S: State,
    {
        let groups = (0..).zip(&self.groups);
        let owned = groups.filter(|(number, _)| self.owns(*number));
        let shared = owned.map(|(number, group)| SharedGroup::new(number, group.shared()));
        shared.collect()
    }

    fn owns(&self, group: u32) -> bool {
        let WorkerSlot {
            groups,
            index,
            peers,
        } = self.slot;
        groups.owner(group, peers) == index
    }

    /// Brings `value` to a key of `group`, which is where it was `found`, if it was; `merge` adds
    /// it to what the batch has brought there already. The key is owned only if it is new.
    ///
    /// # Errors
    /// What is wrong with a key that cannot be kept. The batch has failed.
    pub(crate) fn bring<Q: Eq + ToOwned<Owned = K> + ?Sized>(
        &mut self,
        (group, found): (u32, Option<u32>),
        (hash, key, value): (KeyHash, &Q, A),
        merge: impl FnOnce(&mut A, A),
    ) -> Result<(), String>
    where
        K: Borrow<Q>,
    {
        let group_there = self.group_mut(group);
        let Some(value) = group_there.arrive(found, (hash, key), value, merge) else {
            return Ok(());
        };
        let key = self.own(hash, &key.to_owned())?;
        self.group_mut(group).arrive_new(hash, key, |_| value)?;
        Ok(())
    }

    /// Where a key of `group` with this hash is: nearly always the key that is meant.
    #[inline]
    pub(crate) fn guess(&self, group: u32, hash: KeyHash) -> Option<u32> {
        let group = usize::try_from(group).ok();
        group.and_then(|at| self.groups.get(at))?.guess(hash)
    }

    /// Whether a key of `group` is at a guess.
    #[inline]
    pub(crate) fn is_at<Q: Eq + ?Sized>(&self, group: u32, guess: u32, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        let group = usize::try_from(group).ok();
        let group = group.and_then(|at| self.groups.get(at));
        group.is_some_and(|group| group.is_at(guess, key))
    }

    /// Notes that the batch brings something for a key of `group`, which is where it was `found`,
    /// if it was. Returns its place among the keys of the group that the batch touches. `first`
    /// makes of that what is kept at the first touch.
    ///
    /// # Errors
    /// What is wrong with a key that cannot be kept. The batch has failed.
    #[inline]
    pub(crate) fn touch(
        &mut self,
        (group, found): (u32, Option<u32>),
        (hash, key): (KeyHash, &K),
        first: impl Fn(u32) -> A,
    ) -> Result<u32, String> {
        match self.group_mut(group).touch(found, (hash, key), &first) {
            Some(place) => Ok(place),
            None => {
                let key = self.own(hash, key)?;
                self.group_mut(group).arrive_new(hash, key, first)
            }
        }
    }

    #[inline]
    fn group_mut(&mut self, number: u32) -> &mut Group<K, A, S, T> {
        let group = usize::try_from(number)
            .ok()
            .and_then(|at| self.groups.get_mut(at));
        group.expect("there is a group for every number")
    }

    /// Everything that the batch at `now_ms` brings is there: runs the operator, group by group,
    /// in order.
    pub(crate) fn visit(
        &mut self,
        now_ms: u64,
        mut visit: impl FnMut(Visiting, u32, &mut Group<K, A, S, T>),
    ) {
        for (number, group) in (0..).zip(&mut self.groups) {
            group.first_batch(now_ms);
            let how = Visiting {
                batch: self.batch,
                now_ms,
                watched: self.readers.load(Ordering::Relaxed) > 0,
            };
            visit(how, number, group);
        }
    }

    /// How many keys have state, or are new in the batch.
    pub(crate) fn keys(&self) -> u64 {
        self.groups.iter().map(Group::keys).sum()
    }

    /// How keys are hashed and grouped.
    pub(crate) fn key_groups(&self) -> KeyGroups {
        self.slot.groups
    }

    /// The group of the keys that hash to `hash`.
    #[inline]
    pub(crate) fn group(&self, hash: KeyHash) -> u32 {
        self.slot.groups.group_of(hash)
    }

    /// A new key as the table keeps it: as a checkpoint would give it back, which must be the
    /// same key with the same hash. So a key that cannot be kept fails the batch that brings it.
    /// And no key holds on to the chunk of the log that it came in.
    fn own(&mut self, hash: KeyHash, key: &K) -> Result<K, String> {
        let owned = round_trip::own(key)?;
        let again = self.slot.groups.hash(&owned).map_err(|e| e.to_string())?;
        let other = self.equal_keys.note(&owned, hash).filter(|other| {
            let at = usize::try_from(self.group(*other));
            at.ok()
                .and_then(|at| self.groups.get(at))
                .is_some_and(|group| group.contains(*other, &owned))
        });
        if again == hash && other.is_none() {
            return Ok(owned);
        }
        Err(format!(
            "the key {} {UNEQUAL_BYTES}",
            round_trip::show_value(key)
        ))
    }
}

/// What the engine does with a state, whatever its types.
pub(crate) trait KeptState {
    /// A batch begins. The one before is kept, or put back if it has failed.
    fn begin(&mut self, failed: bool);
    /// Another one runs. Readers look at the end of the batches `shown`.
    fn run(&mut self, batch: u64, shown: Shown);
    /// How many keys there are.
    fn counts(&self) -> KeyCounts;
    /// A checkpoint is to have the state as it is now: all of it, or what has changed since the
    /// last one. How many keys there are. The batch before was kept.
    fn capture(&mut self, whole: bool) -> u64;
    /// Copies for it, as long as `goes_on`, and delivers each group when it is complete. Whether
    /// everything is copied.
    fn copy(
        &mut self,
        goes_on: &mut dyn FnMut() -> bool,
        deliver: &mut dyn FnMut(Box<dyn CapturedGroup>),
    ) -> bool;
    /// It is given up.
    fn give_up_copies(&mut self);
    /// The last checkpoint for which [`Self::capture`] was called is published.
    fn published(&mut self);
}

impl<K: Key, A: Send + 'static, S: Value, T: Stamp> KeptState for StateTable<K, A, S, T> {
    fn begin(&mut self, failed: bool) {
        for group in self.groups.iter_mut().filter(|group| !group.is_settled()) {
            if failed {
                group.roll_back();
            } else {
                group.commit();
            }
        }
    }

    fn run(&mut self, batch: u64, shown: Shown) {
        self.batch = batch;
        let with = self.groups.iter_mut().filter(|group| group.has_history);
        let mut with: Vec<_> = with.collect();
        let entries: usize = with.iter().map(|group| group.history_len()).sum();
        let oldest = match entries > MAX_HISTORY {
            true => shown.newest,
            false => shown.oldest,
        };
        with.iter_mut().for_each(|group| group.forget(oldest));
    }

    fn counts(&self) -> KeyCounts {
        let groups = self.groups.iter();
        groups.fold(KeyCounts::default(), |sum, group| KeyCounts {
            keys: sum.keys + u64::from(group.len()),
            changed: sum.changed + group.changed_keys(),
        })
    }

    fn capture(&mut self, whole: bool) -> u64 {
        self.groups.iter_mut().for_each(|g| g.capture(whole));
        self.copied = 0;
        self.groups.iter().map(|group| u64::from(group.len())).sum()
    }

    fn copy(
        &mut self,
        goes_on: &mut dyn FnMut() -> bool,
        deliver: &mut dyn FnMut(Box<dyn CapturedGroup>),
    ) -> bool {
        while let Some(group) = self.groups.get_mut(self.copied) {
            while group.waits_for_copy() {
                if !goes_on() {
                    return false;
                }
                group.copy(COPIED_AT_ONCE);
            }
            let number = u32::try_from(self.copied).unwrap_or(u32::MAX);
            if let Some(copies) = group.take_copies(number) {
                deliver(Box::new(copies));
            }
            self.copied += 1;
        }
        true
    }

    fn give_up_copies(&mut self) {
        self.groups.iter_mut().for_each(Group::give_up_copies);
        self.copied = self.groups.len();
    }

    fn published(&mut self) {
        self.groups.iter_mut().for_each(Group::published);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::access::StateGuard;

    #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
    struct Name(String);

    impl PartialEq for Name {
        fn eq(&self, other: &Self) -> bool {
            self.0.eq_ignore_ascii_case(&other.0)
        }
    }

    impl Eq for Name {}

    impl std::hash::Hash for Name {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            self.0.to_ascii_lowercase().hash(state);
        }
    }

    /// They would be counted apart, each by its own bytes.
    #[test]
    fn equal_keys_of_other_bytes_are_refused_with_the_key() {
        for count in [1, 8] {
            let groups = KeyGroups::new(count, 7);
            let slot = WorkerSlot {
                index: 0,
                peers: 1,
                groups,
            };
            let mut table: StateTable<Name, u64, u64> =
                StateTable::restore(&mut RestoredState::new(), &slot, None);
            let mut bring = |name: &str| {
                let key = Name(name.to_owned());
                let hash = groups.hash(&key).unwrap();
                table.begin(false);
                table.bring((groups.group_of(hash), None), (hash, &key, 1), |a, b| {
                    *a += b
                })?;
                table.visit(0, |visit, _, group| {
                    let mut add = |_: &Name, new: Option<u64>, state: &mut StateGuard<u64>| {
                        *state.get_or_insert_with(|| 0) += new.unwrap_or(0);
                    };
                    group.visit_touched(visit, &mut add, &mut |_| ());
                });
                Ok::<(), String>(())
            };
            bring("Other").unwrap();
            bring("Other").unwrap();
            let text = bring("other").unwrap_err();
            assert!(
                text.contains("\"other\"") && text.contains(UNEQUAL_BYTES),
                "{text}"
            );
            assert_eq!(table.counts().keys, 1);
        }
    }

    /// A reader that has pinned a batch for long gets an error, and the memory stays bounded.
    #[test]
    fn what_is_kept_for_readers_has_a_bound() {
        let groups = KeyGroups::new(4, 7);
        let slot = WorkerSlot {
            index: 0,
            peers: 1,
            groups,
        };
        let table = StateTable::restore(&mut RestoredState::new(), &slot, None);
        let mut table: StateTable<u64, u64, u64> = table.read_by(&Arc::new(AtomicUsize::new(1)));
        let entries = |table: &StateTable<u64, u64, u64>| {
            let entries = table.groups.iter().map(Group::history_len);
            entries.sum::<usize>()
        };
        let knows = |table: &StateTable<u64, u64, u64>, at: u64| {
            let mut groups = table.groups.iter().map(Group::shared);
            groups.all(|keys| keys.read().history.knows(at).is_ok())
        };
        for batch in 1..=20_u64 {
            table.begin(false);
            let shown = Shown {
                newest: batch - 1,
                oldest: 1.min(batch - 1),
            };
            table.run(batch, shown);
            assert!(entries(&table) <= MAX_HISTORY, "batch {batch}");
            assert!(knows(&table, shown.newest));
            for key in 0..30 {
                let hash = groups.hash(&key).unwrap();
                let at = (groups.group_of(hash), None);
                table.bring(at, (hash, &key, 1), |a, b| *a += b).unwrap();
            }
            table.visit(0, |visit, _, group| {
                let mut add = |_: &u64, new: Option<u64>, state: &mut StateGuard<u64>| {
                    *state.get_or_insert_with(|| 0) += new.unwrap_or(0);
                };
                group.visit_touched(visit, &mut add, &mut |_| ());
            });
            // Three batches of 30 keys fit beside the one that runs.
            assert_eq!(knows(&table, 1), batch < 6, "batch {batch}");
        }
    }

    /// A first visit that panicked had changed nothing yet, so the group counted as settled, and
    /// the other keys of the batch as touched: what the next one brought for them was lost.
    #[test]
    fn no_key_stays_touched_when_the_first_visit_panics() {
        let groups = KeyGroups::new(1, 7);
        let slot = WorkerSlot {
            index: 0,
            peers: 1,
            groups,
        };
        let mut table: StateTable<String, u64, u64> =
            StateTable::restore(&mut RestoredState::new(), &slot, None);
        let batch = |table: &mut StateTable<String, u64, u64>, panics: bool| {
            for key in ["a", "b"] {
                let hash = groups.hash(key).unwrap();
                table
                    .bring((0, None), (hash, key, 1), |a, b| *a += b)
                    .unwrap();
            }
            let visits = || {
                table.visit(0, |visit, _, group| {
                    let mut add = |_: &String, new: Option<u64>, state: &mut StateGuard<u64>| {
                        assert!(!panics, "as was asked");
                        *state.get_or_insert_with(|| 0) += new.unwrap_or(0);
                    };
                    group.visit_touched(visit, &mut add, &mut |_| ());
                });
            };
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(visits)).is_err()
        };
        let mut failed = false;
        for panics in [false, true, false] {
            table.begin(failed);
            failed = batch(&mut table, panics);
            assert_eq!(failed, panics);
        }
        let counts = table.groups.iter().flat_map(Group::iter);
        assert!(counts.map(|(_, count, ())| *count).eq([2, 2]));
    }
}
