//! One state at the end of one batch.

use crate::ask_error::AskError;
use crate::codec::round_trip;
use crate::error::{Error, Result};
use crate::queries::answer::{Answer, End};
use crate::queries::asked::{Asked, outside};
use crate::queries::published::{Groups, Now};
use crate::record::{Key, State};
use crate::state::key_hash::KeyHash;
use crate::state::table::shared::history::NotKept;
use crate::state::table::shared::kept::{Step, Walk};
use crate::state::table::shared::reading::ReadKeys;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The keys of one key group, with their states.
type Pairs<K, S> = HashMap<K, S, foldhash::fast::RandomState>;

/// One state at the end of one batch.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) asked: &'a Asked,
    pub(super) end: End,
    recovering: bool,
    groups: Arc<Groups>,
}

/// Why a view does not answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The batch cannot be seen any more, or not yet.
    NotKept,
    /// For good.
    Failed(Error),
}

impl From<NotKept> for NoAnswer {
    fn from(_: NotKept) -> Self {
        Self::NotKept
    }
}

impl From<Error> for NoAnswer {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

pub(super) type Viewed<R> = std::result::Result<R, NoAnswer>;

impl Asked {
    /// Asks `question` of the newest batch.
    pub(super) fn ask<R>(&self, question: impl Fn(&View<'_>) -> Viewed<R>) -> Result<R> {
        outside()?;
        let until = self.deadline();
        loop {
            let now = self.published.now();
            if self.may_look(&now)?
                && let Some(view) = View::new(self, &now, now.end)
            {
                match question(&view) {
                    Ok(answer) => return Ok(answer),
                    Err(NoAnswer::Failed(error)) => return Err(error),
                    // Later batches have passed by meanwhile, or it is the first question: the
                    // next one can be seen.
                    Err(NoAnswer::NotKept) => {}
                }
            }
            self.wait_for_another(&now, until)?;
        }
    }
}

impl<'a> View<'a> {
    /// The end of `end`, for workers that run; `None` while there are none.
    pub(super) fn new(asked: &'a Asked, now: &Now, end: End) -> Option<Self> {
        Some(Self {
            asked,
            end,
            recovering: now.end.batch < now.found,
            groups: Arc::clone(now.life.groups()?),
        })
    }

    pub(super) fn answer<T>(&self, value: T) -> Answer<T> {
        Answer::new(value, self.end, self.recovering)
    }

    /// The key groups, in order.
    fn groups<K: Key, S: State>(&self) -> impl Iterator<Item = &Arc<dyn ReadKeys<K, S>>> {
        let groups = self.groups.get(&self.asked.index).into_iter();
        groups.flat_map(|groups| groups.values()).map(|group| {
            let keys = group.keys.downcast_ref();
            keys.expect("the types were checked when the reader was made")
        })
    }

    fn group<K: Key, S: State>(&self, hash: KeyHash) -> Option<&Arc<dyn ReadKeys<K, S>>> {
        let number = self.asked.groups.group_of(hash);
        let group = self.groups.get(&self.asked.index)?.get(&number)?;
        group.keys.downcast_ref()
    }

    /// Whether all key groups know what they had at the end of this batch.
    pub(super) fn is_known<K: Key, S: State>(&self) -> Viewed<()> {
        for group in self.groups::<K, S>() {
            group.knows(self.end.batch)?;
        }
        Ok(())
    }

    pub(super) fn get<K: Key, S: State>(&self, key: &K) -> Viewed<Option<S>> {
        let hash = self.asked.groups.hash(key).map_err(|error| {
            Error::from(AskError::NoKey {
                name: self.asked.name.to_string(),
                key: round_trip::show_value(key),
                message: error.to_string(),
            })
        })?;
        match self.group::<K, S>(hash) {
            Some(group) => {
                if !self.asked.is_known() {
                    group.knows(self.end.batch)?;
                }
                Ok(group.get(self.end.batch, hash, key)?)
            }
            None => Ok(None),
        }
    }

    pub(super) fn get_many<K: Key, S: State>(&self, keys: &[K]) -> Viewed<Vec<Option<S>>> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// Shows `see` all keys, in no order. A key may come several times, with the same state.
    pub(super) fn walk<K: Key, S: State>(&self, see: &mut dyn FnMut(&K, &S)) -> Viewed<()> {
        for group in self.groups::<K, S>() {
            self.walk_group(group, see)?;
        }
        Ok(())
    }

    fn walk_group<K: Key, S: State>(
        &self,
        group: &Arc<dyn ReadKeys<K, S>>,
        see: &mut dyn FnMut(&K, &S),
    ) -> Viewed<()> {
        let mut walk = Walk::default();
        while group.step(self.end.batch, &mut walk, see)? != Step::Done {}
        Ok(())
    }

    /// The keys of the key group that is the `at`-th one; `None` after the last.
    pub(super) fn pairs<K: Key, S: State>(&self, at: usize) -> Viewed<Option<Vec<(K, S)>>> {
        let Some(group) = self.groups::<K, S>().nth(at) else {
            return Ok(None);
        };
        let mut pairs = Pairs::default();
        self.walk_group(group, &mut |key: &K, state: &S| {
            if !pairs.contains_key(key) {
                pairs.insert(key.clone(), state.clone());
            }
        })?;
        Ok(Some(pairs.into_iter().collect()))
    }

    /// How many changes batches have made after this one, as far as that is kept.
    pub(super) fn later<K: Key, S: State>(&self) -> Viewed<u64> {
        let newest = self.asked.published.now().end.batch;
        let mut later = 0;
        for group in self.groups::<K, S>() {
            later += group.changes(self.end.batch, newest)?;
        }
        Ok(later)
    }

    /// The keys that batches after `from` have changed, up to this one, with what they have now.
    pub(super) fn changes<K: Key, S: State>(&self, from: u64) -> Viewed<Vec<(K, Option<S>)>> {
        let mut changes = Vec::new();
        for group in self.groups::<K, S>() {
            let changed = group.changed(from, self.end.batch)?;
            let changed: HashSet<K, foldhash::fast::RandomState> = changed.into_iter().collect();
            for key in changed {
                let state = self.get(&key)?;
                changes.push((key, state));
            }
        }
        Ok(changes)
    }
}
