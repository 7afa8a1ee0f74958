//! Directories: the inode of each name, in the page cache and on the medium.

use super::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

/// Number of an inode.
pub(super) type Inode = u64;

pub(super) const ROOT: Inode = 0;

/// Names of all directories, by inode of the directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(BTreeMap<Inode, BTreeMap<OsString, Inode>>);

impl Names {
    pub(super) fn get(&self, dir: Inode, name: &OsStr) -> Option<Inode> {
        self.0.get(&dir)?.get(name).copied()
    }

    pub(super) fn insert(&mut self, dir: Inode, name: &OsStr, node: Inode) {
        self.0
            .entry(dir)
            .or_default()
            .insert(name.to_os_string(), node);
    }

    pub(super) fn remove(&mut self, dir: Inode, name: &OsStr) {
        if let Some(names) = self.0.get_mut(&dir) {
            names.remove(name);
        }
    }

    /// The names in `dir`, sorted.
    pub(super) fn of(&self, dir: Inode) -> impl Iterator<Item = (&OsStr, Inode)> {
        self.0
            .get(&dir)
            .into_iter()
            .flatten()
            .map(|(name, node)| (name.as_os_str(), *node))
    }

    /// Every inode that has a name, whether or not the name can be reached.
    pub(super) fn targets(&self) -> impl Iterator<Item = Inode> {
        self.0.values().flat_map(BTreeMap::values).copied()
    }

    /// The names that can be reached from the root, and nothing else.
    pub(super) fn reachable(&self) -> Self {
        let mut reached = Self::default();
        let mut open = vec![ROOT];
        while let Some(dir) = open.pop() {
            let Some(names) = self.0.get(&dir) else {
                continue;
            };
            open.extend(names.values().filter(|node| !reached.0.contains_key(node)));
            reached.0.insert(dir, names.clone());
        }
        reached
    }

    fn apply(&mut self, op: &NameOp) {
        match op {
            NameOp::Add { dir, name, node } => self.insert(*dir, name, *node),
            NameOp::Remove { dir, name, .. } => self.remove(*dir, name),
            NameOp::Rename { from, to, node } => {
                if self.get(from.0, &from.1) == Some(*node) {
                    self.remove(from.0, &from.1);
                }
                self.insert(to.0, &to.1, *node);
            }
        }
    }

    /// Whether `op` makes sense here: an earlier one that it needs may have been lost.
    fn admits(&self, op: &NameOp) -> bool {
        match op {
            NameOp::Add { dir, name, .. } => self.get(*dir, name).is_none(),
            NameOp::Remove { dir, name, node } => self.get(*dir, name) == Some(*node),
            NameOp::Rename { from, node, .. } => self.get(from.0, &from.1) == Some(*node),
        }
    }
}

/// One change of names, atomic.
#[derive(Debug, Clone)]
pub(super) enum NameOp {
    /// A new name: of a new file, of a new directory, or a link.
    Add {
        dir: Inode,
        name: OsString,
        node: Inode,
    },
    Remove {
        dir: Inode,
        name: OsString,
        node: Inode,
    },
    /// Replaces the target of `to`.
    Rename {
        from: (Inode, OsString),
        to: (Inode, OsString),
        node: Inode,
    },
}

impl NameOp {
    fn dirs(&self) -> [Inode; 2] {
        match self {
            Self::Add { dir, .. } | Self::Remove { dir, .. } => [*dir, *dir],
            Self::Rename { from, to, .. } => [from.0, to.0],
        }
    }

    pub(super) fn node(&self) -> Inode {
        match self {
            Self::Add { node, .. } | Self::Remove { node, .. } | Self::Rename { node, .. } => *node,
        }
    }
}

/// The names in the page cache, those on the medium, and the un-synced changes from these to those,
/// oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    pub(super) names: Names,
    pub(super) durable: Names,
    journal: Vec<NameOp>,
}

impl Tree {
    /// A tree whose names are all durable.
    pub(super) fn durable(names: Names) -> Self {
        Self {
            durable: names.clone(),
            names,
            journal: Vec::new(),
        }
    }

    pub(super) fn change(&mut self, op: NameOp) {
        self.names.apply(&op);
        self.journal.push(op);
    }

    /// Makes the names of `dir` durable.
    pub(super) fn sync(&mut self, dir: Inode) {
        for op in self.take_journal_of(dir) {
            self.durable.apply(&op);
        }
    }

    /// A sync of `dir` that failed: its changes are called clean now, and are not durable.
    pub(super) fn forget(&mut self, dir: Inode) {
        drop(self.take_journal_of(dir));
    }

    /// Takes the changes of `dir` and, as a rename between directories is atomic, what they depend
    /// on.
    fn take_journal_of(&mut self, dir: Inode) -> Vec<NameOp> {
        let mut dirs = BTreeSet::from([dir]);
        let mut taken = Vec::new();
        let mut kept = Vec::new();
        for op in std::mem::take(&mut self.journal).into_iter().rev() {
            if op.dirs().iter().any(|d| dirs.contains(d)) {
                dirs.extend(op.dirs());
                taken.push(op);
            } else {
                kept.push(op);
            }
        }
        kept.reverse();
        taken.reverse();
        self.journal = kept;
        taken
    }

    /// Whether `node` has a name on the medium, or one that may get there.
    pub(super) fn may_survive(&self, node: Inode) -> bool {
        self.durable.targets().any(|n| n == node) || self.journal.iter().any(|op| op.node() == node)
    }

    /// What a power cut leaves. In half of the cases: a prefix of the un-synced changes, as with a
    /// journal. Else: each change that is still consistent, with probability `per_mille`.
    pub(super) fn survivor(&self, rng: &mut Rng, per_mille: u64) -> Names {
        let mut names = self.durable.clone();
        if rng.chance(500) {
            let count = rng.below(self.journal.len() as u64 + 1);
            for (_, op) in (0..count).zip(&self.journal) {
                // Not every one makes sense: the one before it may have been lost in a failed sync.
                if names.admits(op) {
                    names.apply(op);
                }
            }
        } else {
            for op in &self.journal {
                if rng.chance(per_mille) && names.admits(op) {
                    names.apply(op);
                }
            }
        }
        names.reachable()
    }
}
