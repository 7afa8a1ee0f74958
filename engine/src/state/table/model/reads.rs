//! What readers must see: the group at the end of a batch, whatever its worker does.
//!
//! They are there for a while, then not, then again. They ask for the newest batch that is
//! committed, which lags, and for older ones that they have pinned; between batches, and while user
//! code runs inside a visit. One of them goes through the group in steps while batches go on.

use super::{Kept as Key, Tested, hash, random};
use crate::state::table::group::SharedKeys;
use crate::state::table::shared::history::NotKept;
use crate::state::table::shared::kept::{Step, Walk};
use crate::state::table::slots::LastVisit;
use crate::state::table::visits::visit::Visiting;
use std::collections::{BTreeMap, BTreeSet};

type Contents = BTreeMap<String, i64>;

pub(super) struct Reads {
    /// Whether the states are asked for.
    pub(super) watched: bool,
    /// What there was at the end of each batch.
    ends: BTreeMap<u64, Contents>,
    /// From this batch on it must be known.
    known_from: u64,
    /// Before this one there are no questions: the worker began with it.
    floor: u64,
    /// The oldest batch that is asked for.
    oldest: u64,
    /// All keys that ever were there.
    keys: BTreeSet<String>,
    walk: Option<(u64, Walk, Contents)>,
    /// How many walks have come to their end.
    pub(super) walked: u64,
}

impl Reads {
    pub(super) fn new() -> Self {
        Self {
            watched: false,
            ends: BTreeMap::from([(0, Contents::new())]),
            known_from: 0,
            floor: 0,
            oldest: 0,
            keys: BTreeSet::new(),
            walk: None,
            walked: 0,
        }
    }

    /// The newest batches that have ended may not be committed yet.
    pub(super) fn batch_begins(&mut self, batch: u64, seed: &mut u64, group: &mut Tested) {
        if random(seed).is_multiple_of(6) {
            self.watched = !self.watched;
        }
        let committed = (batch - 1).saturating_sub(random(seed) % 2);
        // A pin keeps the oldest where it is.
        if !random(seed).is_multiple_of(3) {
            self.oldest = self.oldest.max(committed);
        }
        group.forget(self.oldest);
        if group.has_history {
            self.known_from = self.known_from.max(self.oldest);
        }
    }

    /// A batch visits the group: if it is not asked for, it leaves no history.
    pub(super) fn visits(&mut self, visiting: &Visiting) {
        if !visiting.watched {
            self.known_from = visiting.batch;
        }
    }

    pub(super) fn ended(&mut self, batch: u64, contents: &[Key]) {
        let contents: Contents = contents.iter().map(|(k, s, _)| (k.clone(), *s)).collect();
        self.keys.extend(contents.keys().cloned());
        self.ends.insert(batch, contents);
        self.ends = self.ends.split_off(&self.oldest);
    }

    pub(super) fn restarted(&mut self, batch: u64) {
        (self.floor, self.known_from) = (batch, batch);
        self.oldest = self.oldest.max(batch);
        self.walk = None;
    }

    /// A reader never waits for user code, and does not see what the batch has done.
    pub(super) fn while_user_code_runs(
        &self,
        keys: &SharedKeys<String, i64, LastVisit>,
        key: &String,
    ) {
        assert_eq!(keys.try_read().is_some(), self.watched);
        if let Some(keys) = keys.try_read() {
            for (at, contents) in self.ends.range(self.oldest.max(self.floor)..) {
                let found = keys.at(*at, hash(key), key);
                if *at >= self.known_from {
                    assert_eq!(found, Ok(contents.get(key)));
                }
            }
        }
    }

    /// Every key at the end of every batch that can be asked for, and all keys of one of them.
    pub(super) fn check(&mut self, group: &Tested, seed: &mut u64) {
        let keys = group.shared();
        let keys = keys.try_read().unwrap();
        for (at, contents) in self.ends.range(self.oldest.max(self.floor)..) {
            let mut found = Contents::new();
            for key in &self.keys {
                match keys.at(*at, hash(key), key) {
                    Ok(state) => {
                        assert_eq!(state, contents.get(key), "{key} at {at}");
                        found.extend(state.map(|state| (key.clone(), *state)));
                    }
                    Err(NotKept) => assert!(*at < self.known_from, "{at} is to be known"),
                }
            }
        }
        let (at, mut walk, mut found) = match self.walk.take() {
            Some(walk) if walk.0 >= self.oldest => walk,
            _ => match self.ends.keys().next_back() {
                Some(newest) => (*newest, Walk::default(), Contents::new()),
                None => return,
            },
        };
        let max = u32::try_from(1 + random(seed) % 20).unwrap();
        let step = keys.step(at, &mut walk, max, &mut |key, state| {
            let before = found.insert(key.clone(), *state);
            assert!(before.is_none_or(|before| before == *state));
        });
        match step {
            Ok(Step::Again) => self.walk = Some((at, walk, Contents::new())),
            Ok(Step::More) => self.walk = Some((at, walk, found)),
            Ok(Step::Done) => {
                assert_eq!(&found, self.ends.get(&at).unwrap(), "all keys at {at}");
                self.walked += 1;
            }
            Err(NotKept) => assert!(at < self.known_from),
        }
    }
}
