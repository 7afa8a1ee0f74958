//! How many keys the states have, for observers.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many keys a state has, as of the last completed batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateStats {
    /// Its name in the program.
    pub name: String,
    /// Keys that have state.
    pub keys: u64,
    /// Keys that were changed or removed since the last checkpoint that the last batch knew to be
    /// published: what an incremental checkpoint has to write. A key that was removed and came back
    /// counts twice; one that a checkpoint never had and that is gone again does not count.
    pub changed_keys: u64,
}

/// How many keys a state has on one worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyCounts {
    /// Keys that have state.
    pub(crate) keys: u64,
    /// Keys that were changed or removed since the last checkpoint that was published.
    pub(crate) changed: u64,
}

/// The counts of all states, by state and worker.
#[derive(Debug, Default)]
pub(crate) struct StateCounts {
    counts: Mutex<BTreeMap<(usize, usize), KeyCounts>>,
}

/// Stands for all workers until they have run a batch.
const RESTORED: usize = usize::MAX;

impl StateCounts {
    /// So many keys of a state were restored.
    pub(crate) fn restored(&self, state: usize, keys: u64) {
        let counts = KeyCounts { keys, changed: 0 };
        self.counts.lock().insert((state, RESTORED), counts);
    }

    /// What a batch has changed.
    pub(crate) fn update(&self, changed: BTreeMap<(usize, usize), KeyCounts>) {
        let mut counts = self.counts.lock();
        for (state, _) in changed.keys() {
            counts.remove(&(*state, RESTORED));
        }
        counts.extend(changed);
    }

    /// The counts of a state.
    pub(crate) fn of(&self, state: usize) -> KeyCounts {
        let counts = self.counts.lock();
        let of = counts.range((state, 0)..=(state, RESTORED));
        of.fold(KeyCounts::default(), |sum, (_, worker)| KeyCounts {
            keys: sum.keys + worker.keys,
            changed: sum.changed + worker.changed,
        })
    }
}
