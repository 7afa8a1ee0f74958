//! The keys and states of a group as readers have them, whatever the worker keeps beside them.

use crate::record::{Key, State};
use crate::state::key_hash::KeyHash;
use crate::state::table::shared::history::NotKept;
use crate::state::table::shared::kept::{Kept, Step, Walk};
use crate::state::table::slots::Stamp;
use parking_lot::RwLock;
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// So many keys are looked at in one step, for which the worker may have to wait.
const AT_ONCE: u32 = 256;

/// How long the first question waits for a visit that began before it.
const SHORT: Duration = Duration::from_millis(1);

/// One key group of a state. Each call locks it for as long as it takes to look at one key, or at a
/// few.
pub(crate) trait ReadKeys<K, S>: Send + Sync {
    /// Whether it knows what it had at the end of batch `at`.
    fn knows(&self, at: u64) -> Result<(), NotKept>;
    /// What `key` had at the end of batch `at`.
    fn get(&self, at: u64, hash: KeyHash, key: &K) -> Result<Option<S>, NotKept>;
    /// Shows `see` the next keys with what they had at the end of batch `at`. A key may come twice,
    /// with the same state.
    fn step(&self, at: u64, walk: &mut Walk, see: &mut dyn FnMut(&K, &S)) -> Result<Step, NotKept>;
    /// How many changes batches after `at`, up to `until`, have made.
    fn changes(&self, at: u64, until: u64) -> Result<u64, NotKept>;
    /// The keys that they have changed.
    fn changed(&self, at: u64, until: u64) -> Result<Vec<K>, NotKept>;
}

impl<K: Key, S: State, T: Stamp> ReadKeys<K, S> for RwLock<Kept<K, S, T>> {
    fn knows(&self, at: u64) -> Result<(), NotKept> {
        // A visit that began before anybody asked may keep it locked for as long as user code runs.
        let kept = self.try_read_for(SHORT).ok_or(NotKept)?;
        kept.history.knows(at)
    }

    fn get(&self, at: u64, hash: KeyHash, key: &K) -> Result<Option<S>, NotKept> {
        Ok(self.read().at(at, hash, key)?.cloned())
    }

    fn step(&self, at: u64, walk: &mut Walk, see: &mut dyn FnMut(&K, &S)) -> Result<Step, NotKept> {
        self.read().step(at, walk, AT_ONCE, see)
    }

    fn changes(&self, at: u64, until: u64) -> Result<u64, NotKept> {
        let kept = self.read();
        kept.history.knows(at)?;
        Ok(kept.history.changes(at, until))
    }

    fn changed(&self, at: u64, until: u64) -> Result<Vec<K>, NotKept> {
        let kept = self.read();
        kept.history.knows(at)?;
        Ok(kept.history.changed(at, until).cloned().collect())
    }
}

/// One key group of a state with the types erased: an `Arc<dyn ReadKeys<K, S>>`.
pub(crate) struct SharedGroup {
    /// Its number.
    pub(crate) group: u32,
    pub(crate) keys: Box<dyn Any + Send + Sync>,
}

impl SharedGroup {
    pub(crate) fn new<K: Key, S: State, T: Stamp>(
        group: u32,
        keys: Arc<RwLock<Kept<K, S, T>>>,
    ) -> Self {
        let keys: Arc<dyn ReadKeys<K, S>> = keys;
        Self {
            group,
            keys: Box::new(keys),
        }
    }
}

impl fmt::Debug for SharedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedGroup")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}
