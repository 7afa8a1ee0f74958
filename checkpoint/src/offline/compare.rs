//! What differs between two checkpoints: keys that were added, removed or changed, state by state.

use crate::checkpoint::{Checkpoint, GroupEntries};
use crate::error::{CheckpointError, Result};
use crate::manifest::document::StateEntry;
use crate::offline::meaning::Meaning;
use crate::store::names::manifest_name;
use hashbrown::HashMap;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::BuildHasher;

/// How many bytes of entries are compared at once where key groups differ, if nothing else is said.
const MEMORY: u64 = 256 << 20;

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Only the second checkpoint has it.
    Added,
    /// Only the first checkpoint has it.
    Removed,
    /// Both have it, with values that differ.
    Changed,
}

/// A key that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference<'a> {
    /// What became of it.
    pub change: Change,
    /// Its key group: that of the second checkpoint, if that has it.
    pub key_group: u32,
    /// Its bytes: those of the first checkpoint, if that has it.
    pub key: &'a [u8],
    /// Its value in the first checkpoint.
    pub before: Option<&'a [u8]>,
    /// Its value in the second checkpoint.
    pub after: Option<&'a [u8]>,
}

/// What differs in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDifference {
    /// Its name.
    pub name: String,
    /// The state in the first checkpoint, if that has it.
    pub before: Option<StateEntry>,
    /// The state in the second checkpoint, if that has it.
    pub after: Option<StateEntry>,
    /// Keys that only the second checkpoint has. Of a state that it alone has: all.
    pub added: u64,
    /// Keys that only the first checkpoint has. Of a state that it alone has: all.
    pub removed: u64,
    /// Keys that both have, with values that differ.
    pub changed: u64,
    /// Keys that both have, with values that are equal.
    pub same: u64,
}

impl StateDifference {
    fn new(name: &str, before: Option<&StateEntry>, after: Option<&StateEntry>) -> Self {
        Self {
            name: name.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
            added: 0,
            removed: 0,
            changed: 0,
            same: 0,
        }
    }

    /// Whether both checkpoints have the state, with the same kind, codec and types, and no key
    /// differs.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        let of = |state: &StateEntry| {
            let StateEntry {
                kind,
                codec,
                fingerprint,
                ..
            } = state;
            (kind.clone(), codec.clone(), fingerprint.clone())
        };
        let is_alike = match (&self.before, &self.after) {
            (Some(before), Some(after)) => of(before) == of(after),
            _ => false,
        };
        is_alike && (self.added, self.removed, self.changed) == (0, 0, 0)
    }
}

/// Compares two checkpoints, of one store or of two.
///
/// ```
/// # use highwater_checkpoint::testing::MemoryStore;
/// # use highwater_checkpoint::{AsBytes, Checkpoints, Comparison, Options, Batch, Meta, StateMeta};
/// # use highwater_checkpoint::entries::append;
/// # use std::sync::Arc;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut checkpoints = Checkpoints::open(Arc::new(MemoryStore::default()), Options::default())?;
/// # for (n, keys) in [(1, ["to", "be"]), (2, ["be", "or"])] {
/// #     let state = StateMeta {
/// #         name: "counts".into(), kind: "k".into(), codec: "c".into(), fingerprint: "f".into(), anew: true,
/// #     };
/// #     let mut writer = checkpoints.begin(Meta {
/// #         parent: None, log_id: 1, application: "a".into(), created_ms: 0, batch: Batch { id: n, time_ms: 0 },
/// #         lsn: n, metadata: serde_json::json!({}), states: vec![state],
/// #     })?;
/// #     let mut bytes = Vec::new();
/// #     for item in keys.iter().flat_map(|key| [*key, "1"]) {
/// #         append(&mut bytes, |out| { out.extend_from_slice(item.as_bytes()); Ok::<(), String>(()) })?;
/// #     }
/// #     writer.add_block("counts", 0, 2, &bytes)?;
/// #     writer.publish()?;
/// # }
/// let all: Vec<_> = checkpoints.all().collect();
/// let [before, after] = all.as_slice() else { return Err("two were published".into()) };
/// let comparison = Comparison::new(before, after, &AsBytes).same_groups(true);
/// for name in comparison.states() {
///     let mut keys = Vec::new();
///     let state = comparison.state(&name, |difference| keys.push(difference.key.to_vec()))?;
///     assert_eq!((state.added, state.removed, state.changed, state.same), (1, 1, 0, 1));
///     assert_eq!(keys, [b"to", b"or"]);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Comparison<'a> {
    before: &'a Checkpoint,
    after: &'a Checkpoint,
    meaning: &'a dyn Meaning,
    same_groups: bool,
    memory: u64,
}

impl fmt::Debug for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Comparison")
            .field("before", &self.before.number())
            .field("after", &self.after.number())
            .field("same_groups", &self.same_groups)
            .finish_non_exhaustive()
    }
}

/// An entry of one of the two.
struct Row<'a> {
    group: u32,
    key: Cow<'a, [u8]>,
    value: Cow<'a, [u8]>,
}

impl<'a> Comparison<'a> {
    /// A comparison that finds a key in whatever key group it is.
    #[must_use]
    pub fn new(before: &'a Checkpoint, after: &'a Checkpoint, meaning: &'a dyn Meaning) -> Self {
        Self {
            before,
            after,
            meaning,
            same_groups: false,
            memory: MEMORY,
        }
    }

    /// Says whether both checkpoints have a key in the same key group, which the engine knows: its
    /// key groups are as many, and it hashes keys alike. Then key groups are compared one by one,
    /// in one pass. If not, all are read, once for each [`Self::memory`] bytes of entries.
    #[must_use]
    pub fn same_groups(mut self, same: bool) -> Self {
        self.same_groups = same;
        self
    }

    /// About how many bytes of entries are held in memory where key groups differ; 256 MiB without
    /// this.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// The names of the states of both: those of the first, then those that only the second has.
    #[must_use]
    pub fn states(&self) -> Vec<String> {
        let before = self.before.states().iter();
        let is_new = |state: &&StateEntry| self.before.manifest().state(&state.name).is_none();
        let after = self.after.states().iter().filter(is_new);
        before.chain(after).map(|s| s.name.clone()).collect()
    }

    /// Compares one state, and hands each key that differs to `each`: removed and changed ones of a
    /// key group in the order of the first checkpoint, then the added ones. Of a state that only
    /// one of the two has the keys are counted, and not handed over. A state that neither has is
    /// not equal.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] if a block of the state is not what was written, or holds no
    /// entries; [`CheckpointError::Io`].
    pub fn state(
        &self,
        name: &str,
        mut each: impl FnMut(Difference<'_>),
    ) -> Result<StateDifference> {
        let (before, after) = (
            self.before.manifest().state(name),
            self.after.manifest().state(name),
        );
        let mut found = StateDifference::new(name, before, after);
        match (before, after) {
            (Some(before), Some(after)) => {
                let states = (before, after);
                match self.same_groups {
                    true => self.group_by_group(states, &mut found, &mut each)?,
                    false => self.pass_by_pass(states, &mut found, &mut each)?,
                }
            }
            (before, after) => {
                found.removed = before.map_or(0, |state| state.entries);
                found.added = after.map_or(0, |state| state.entries);
            }
        }
        Ok(found)
    }

    fn group_by_group(
        &self,
        (before, after): (&StateEntry, &StateEntry),
        found: &mut StateDifference,
        each: &mut dyn FnMut(Difference<'_>),
    ) -> Result<()> {
        let mut groups = BTreeSet::new();
        for checkpoint in [self.before, self.after] {
            groups.extend(checkpoint.groups(&before.name)?.iter().map(|g| g.key_group));
        }
        for group in groups {
            let read = |of: &Checkpoint| of.read_group(&before.name, group);
            let old = read(self.before)?.unwrap_or_default();
            let new = read(self.after)?.unwrap_or_default();
            let old = self.rows(self.before, before, group, &old)?;
            let new = self.rows(self.after, after, group, &new)?;
            self.pair((before, after), (&old, &new), found, each);
        }
        Ok(())
    }

    /// Of all key groups, those keys first whose hash has one remainder, then the next.
    fn pass_by_pass(
        &self,
        (before, after): (&StateEntry, &StateEntry),
        found: &mut StateDifference,
        each: &mut dyn FnMut(Difference<'_>),
    ) -> Result<()> {
        let (old, new) = (self.before.raw_len(before)?, self.after.raw_len(after)?);
        let passes = old.saturating_add(new).div_ceil(self.memory.max(1)).max(1);
        for pass in 0..passes {
            let old = self.rows_of_pass(self.before, before, (pass, passes))?;
            let new = self.rows_of_pass(self.after, after, (pass, passes))?;
            self.pair((before, after), (&old, &new), found, each);
        }
        Ok(())
    }

    fn rows_of_pass(
        &self,
        of: &Checkpoint,
        state: &StateEntry,
        (pass, passes): (u64, u64),
    ) -> Result<Vec<Row<'static>>> {
        let hasher = foldhash::quality::FixedState::default();
        let mut chosen = Vec::new();
        for stored in of.groups(&state.name)? {
            let group = stored.key_group;
            let read = of.read_group(&state.name, group)?.unwrap_or_default();
            for row in self.rows(of, state, group, &read)? {
                let hash = match self.meaning.canonical(state, &row.key) {
                    Some(canonical) => hasher.hash_one(canonical.as_slice()),
                    None => hasher.hash_one(&*row.key),
                };
                if hash % passes == pass {
                    chosen.push(Row {
                        group,
                        key: Cow::Owned(row.key.into_owned()),
                        value: Cow::Owned(row.value.into_owned()),
                    });
                }
            }
        }
        Ok(chosen)
    }

    fn rows<'b>(
        &self,
        of: &Checkpoint,
        state: &StateEntry,
        group: u32,
        entries: &'b GroupEntries,
    ) -> Result<Vec<Row<'b>>> {
        let pairs = self.meaning.pairs(of.manifest(), state, entries);
        let pairs = pairs.map_err(|what| {
            let what = format!("state {:?}, key group {group}: {what}", state.name);
            CheckpointError::damaged(&manifest_name(of.number()), None, what)
        })?;
        let row = |(key, value)| Row { group, key, value };
        Ok(pairs.into_iter().map(row).collect())
    }

    fn pair(
        &self,
        (before, after): (&StateEntry, &StateEntry),
        (old, new): (&[Row<'_>], &[Row<'_>]),
        found: &mut StateDifference,
        each: &mut dyn FnMut(Difference<'_>),
    ) {
        let partners = self.partners((before, after), (old, new));
        let mut is_paired = vec![false; new.len()];
        for (row, partner) in old.iter().zip(partners) {
            let there = partner.and_then(|at| Some((new.get(at)?, is_paired.get_mut(at)?)));
            let Some((new, paired)) = there else {
                found.removed += 1;
                each(Difference {
                    change: Change::Removed,
                    key_group: row.group,
                    key: &row.key,
                    before: Some(&row.value),
                    after: None,
                });
                continue;
            };
            *paired = true;
            if self.means_the_same((before, &row.value), (after, &new.value)) {
                found.same += 1;
                continue;
            }
            found.changed += 1;
            each(Difference {
                change: Change::Changed,
                key_group: new.group,
                key: &row.key,
                before: Some(&row.value),
                after: Some(&new.value),
            });
        }
        for (row, _) in new.iter().zip(is_paired).filter(|(_, paired)| !paired) {
            found.added += 1;
            each(Difference {
                change: Change::Added,
                key_group: row.group,
                key: &row.key,
                before: None,
                after: Some(&row.value),
            });
        }
    }

    /// Where each old key is among the new ones: with the same bytes, or else with bytes that mean
    /// the same.
    fn partners(
        &self,
        (before, after): (&StateEntry, &StateEntry),
        (old, new): (&[Row<'_>], &[Row<'_>]),
    ) -> Vec<Option<usize>> {
        let places = new.iter().enumerate().map(|(at, row)| (&*row.key, at));
        let mut by_bytes: HashMap<&[u8], usize, foldhash::fast::RandomState> = places.collect();
        let mut partners: Vec<Option<usize>> =
            old.iter().map(|row| by_bytes.remove(&*row.key)).collect();
        if by_bytes.is_empty() || partners.iter().all(Option::is_some) {
            return partners;
        }
        let canonical = |(key, at)| Some((self.meaning.canonical(after, key)?, at));
        let places = by_bytes.into_iter().filter_map(canonical);
        let mut by_meaning: HashMap<Vec<u8>, usize, foldhash::fast::RandomState> = places.collect();
        for (row, partner) in old.iter().zip(&mut partners) {
            if partner.is_none() {
                let key = self.meaning.canonical(before, &row.key);
                *partner = key.and_then(|key| by_meaning.remove(&key));
            }
        }
        partners
    }

    fn means_the_same(
        &self,
        (before, old): (&StateEntry, &[u8]),
        (after, new): (&StateEntry, &[u8]),
    ) -> bool {
        if old == new {
            return true;
        }
        let old = self.meaning.canonical(before, old);
        old.is_some() && old == self.meaning.canonical(after, new)
    }
}
