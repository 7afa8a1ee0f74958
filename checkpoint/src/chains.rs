//! The blocks that a checkpoint consists of: for each key group of each state a base, and the
//! deltas after it.
//!
//! A manifest names files, each of which has an index. A block says of which checkpoints it is:
//! what has changed after one, up to another. So it follows from the blocks alone which of them
//! count: the newest; then the newest that ends where that one begins, or before; and so on to a
//! base. The others were replaced.

use crate::error::{CheckpointError, Result};
use crate::manifest::document::{BlockKind, Manifest};
use crate::merge::{self, Payload};
use crate::state_file::block::{BlockInfo, PackedBlock, Packing};
use crate::state_file::index::{self, IndexEntry, lost};
use crate::state_file::v1;
use crate::store::Store;
use crate::store::names::StateName;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A block, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) file: StateName,
    pub(crate) block: IndexEntry,
    /// The state's place in the manifest, in a file of version 1.
    pub(crate) v1: Option<u32>,
}

/// State and key group.
pub(crate) type GroupId = (u32, u32);

/// The blocks that count, the oldest of each key group first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chains {
    by_group: BTreeMap<GroupId, Vec<Placed>>,
}

impl Chains {
    /// Reads the indices of the files that `manifest` names.
    pub(crate) fn read(store: &dyn Store, manifest: &Manifest) -> Result<Self> {
        if manifest.format_version == 1 {
            return Ok(Self::of_version_1(manifest));
        }
        let mut all = Vec::new();
        for file in &manifest.files {
            let unknown = || CheckpointError::damaged(&file.name, None, "it is no state file");
            let name = StateName::parse(&file.name).ok_or_else(unknown)?;
            let blocks = index::read(store, manifest.log_id, name, file.size)?;
            let placed = |block| Placed {
                file: name,
                block,
                v1: None,
            };
            all.extend(blocks.into_iter().map(placed));
        }
        let states = manifest.states.iter().map(|state| state.id).collect();
        Self::choose(all, &states).map_err(|what| {
            let name = crate::store::names::manifest_name(manifest.number);
            CheckpointError::damaged(&name, None, what)
        })
    }

    fn of_version_1(manifest: &Manifest) -> Self {
        let mut chains = Self::default();
        for state in &manifest.states {
            for block in &state.blocks {
                let info = BlockInfo {
                    state: state.id,
                    key_group: block.key_group,
                    kind: BlockKind::Base,
                    packing: Packing::Plain,
                    after: 0,
                    upto: manifest.number,
                    len: block.len,
                    raw_len: block.len,
                    removed: 0,
                    entries: block.entries,
                };
                let placed = Placed {
                    file: StateName {
                        number: manifest.number,
                        attempt: manifest.attempt,
                        part: block.file,
                    },
                    block: IndexEntry {
                        info,
                        offset: block.offset,
                        crc32c: block.crc32c,
                    },
                    v1: Some(state.id),
                };
                let id = (state.id, block.key_group);
                chains.by_group.insert(id, vec![placed]);
            }
        }
        chains
    }

    /// Of all blocks of the files, in the order of the files, those of `states` that count.
    pub(crate) fn choose(
        all: Vec<Placed>,
        states: &std::collections::BTreeSet<u32>,
    ) -> Result<Self, String> {
        let mut by_group = BTreeMap::<GroupId, Vec<Placed>>::new();
        for placed in all {
            let info = placed.block.info;
            if states.contains(&info.state) {
                let id = (info.state, info.key_group);
                by_group.entry(id).or_default().push(placed);
            }
        }
        for ((state, group), blocks) in &mut by_group {
            let chain = chain_of(std::mem::take(blocks));
            *blocks = chain.ok_or_else(|| {
                format!("key group {group} of state {state} has no base: a file of it is not named")
            })?;
        }
        Ok(Self { by_group })
    }

    pub(crate) fn get(&self, id: GroupId) -> &[Placed] {
        self.by_group.get(&id).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (GroupId, &[Placed])> {
        self.by_group
            .iter()
            .map(|(id, chain)| (*id, chain.as_slice()))
    }

    /// The key groups of a state, ascending, each with its blocks.
    pub(crate) fn of_state(&self, state: u32) -> impl Iterator<Item = (u32, &[Placed])> {
        let range = self.by_group.range((state, 0)..=(state, u32::MAX));
        range.map(|((_, group), chain)| (*group, chain.as_slice()))
    }

    /// Puts a block at the end of its chain, where it replaces those that it covers.
    pub(crate) fn push(&mut self, placed: Placed) {
        let info = placed.block.info;
        let chain = self
            .by_group
            .entry((info.state, info.key_group))
            .or_default();
        match info.kind {
            BlockKind::Base => chain.clear(),
            BlockKind::Delta => chain.retain(|older| older.block.info.upto <= info.after),
        }
        chain.push(placed);
    }

    /// Forgets all states but these.
    pub(crate) fn retain_states(&mut self, keep: impl Fn(u32) -> bool) {
        self.by_group.retain(|(state, _), _| keep(*state));
    }
}

/// The blocks of one key group that count, the oldest first; `None` if they do not begin with a
/// base.
fn chain_of(mut blocks: Vec<Placed>) -> Option<Vec<Placed>> {
    // Of those that end at the same checkpoint the one that has most counts; of two alike, the
    // copy.
    blocks.sort_by_key(|placed| (placed.block.info.upto, Reverse(placed.block.info.after)));
    let (mut chain, mut before) = (Vec::new(), u64::MAX);
    while let Some(placed) = blocks.pop() {
        let info = placed.block.info;
        if info.upto > before {
            continue;
        }
        chain.push(placed);
        if info.kind == BlockKind::Base {
            chain.reverse();
            return Some(chain);
        }
        before = info.after;
    }
    None
}

impl Placed {
    /// Bytes of it in its file, its entry of the index included.
    pub(crate) fn cost(&self) -> u64 {
        const ENTRY: u64 = 72;
        self.block.info.len + ENTRY
    }

    /// Reads the block and checks it.
    pub(crate) fn read(&self, store: &dyn Store, log_id: u128) -> Result<PackedBlock> {
        let name = self.file.to_string();
        let IndexEntry {
            info,
            offset,
            crc32c,
        } = self.block;
        if let Some(state) = self.v1 {
            let stored = v1::read_block(store, log_id, self.file, state, &self.block)?;
            return Ok(PackedBlock { info, stored });
        }
        let stored = store.get_range(&name, offset, info.len);
        let stored = stored.map_err(|e| lost(&name, offset, e))?;
        if info.crc(log_id, self.file, offset, &stored) == crc32c {
            return Ok(PackedBlock { info, stored });
        }
        let (state, group) = (info.state, info.key_group);
        let what =
            format!("block of state {state}, key group {group}: its checksum does not match");
        Err(CheckpointError::damaged(&name, Some(offset), what))
    }

    /// Reads the block, checks and unpacks it.
    pub(crate) fn payload(&self, store: &dyn Store, log_id: u128) -> Result<Payload> {
        let payload = self.read(store, log_id)?.unpack();
        payload.map_err(|what| self.damaged(&what))
    }

    /// What was found in the block.
    pub(crate) fn damaged(&self, what: &str) -> CheckpointError {
        let (state, group) = (self.block.info.state, self.block.info.key_group);
        let what = format!("block of state {state}, key group {group}: {what}");
        CheckpointError::damaged(&self.file.to_string(), Some(self.block.offset), what)
    }
}

/// Reads the blocks of a chain that begins with a base, as one.
pub(crate) fn read_whole(
    store: &dyn Store,
    log_id: u128,
    chain: &[Placed],
) -> Result<Option<Payload>> {
    let Some((first, later)) = chain.split_first() else {
        return Ok(None);
    };
    let base = first.payload(store, log_id)?;
    let deltas = later.iter().map(|placed| placed.payload(store, log_id));
    let deltas: Vec<Payload> = deltas.collect::<Result<_>>()?;
    let merged = merge::base(base, &deltas);
    merged.map(Some).map_err(|what| first.damaged(&what))
}

/// Reads successive deltas as one.
pub(crate) fn read_deltas(store: &dyn Store, log_id: u128, deltas: &[Placed]) -> Result<Payload> {
    let payloads = deltas.iter().map(|placed| placed.payload(store, log_id));
    let payloads: Vec<Payload> = payloads.collect::<Result<_>>()?;
    merge::deltas(&payloads).map_err(|what| match deltas.first() {
        Some(first) => first.damaged(&what),
        None => CheckpointError::damaged("", None, what),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(kind: BlockKind, after: u64, upto: u64, file: u64) -> Placed {
        Placed {
            file: StateName {
                number: file,
                attempt: 0,
                part: 0,
            },
            block: IndexEntry {
                info: BlockInfo {
                    state: 0,
                    key_group: 0,
                    kind,
                    packing: Packing::Plain,
                    after,
                    upto,
                    len: 0,
                    raw_len: 0,
                    removed: 0,
                    entries: 0,
                },
                offset: 0,
                crc32c: 0,
            },
            v1: None,
        }
    }

    fn chosen(blocks: Vec<Placed>) -> Option<Vec<(u64, u64, u64)>> {
        let chain = chain_of(blocks)?;
        let of = |p: &Placed| (p.block.info.after, p.block.info.upto, p.file.number);
        Some(chain.iter().map(of).collect())
    }

    #[test]
    fn blocks_that_were_replaced_do_not_count() {
        use BlockKind::{Base, Delta};
        let base = block(Base, 0, 1, 1);
        let deltas = [2, 3, 4].map(|n| block(Delta, n - 1, n, n));
        let plain = [&[base], &deltas[..]].concat();
        let expected = vec![(0, 1, 1), (1, 2, 2), (2, 3, 3), (3, 4, 4)];
        assert_eq!(chosen(plain.clone()), Some(expected));
        let merged = [&plain[..], &[block(Delta, 1, 4, 5), block(Delta, 4, 5, 5)]].concat();
        assert_eq!(chosen(merged), Some(vec![(0, 1, 1), (1, 4, 5), (4, 5, 5)]));
        // An old base that was copied into a new file stays what it was.
        let copied = [&plain[1..], &[block(Base, 0, 1, 9)]].concat();
        let expected = vec![(0, 1, 9), (1, 2, 2), (2, 3, 3), (3, 4, 4)];
        assert_eq!(chosen(copied), Some(expected));
        // A key group without changes has no block.
        assert_eq!(
            chosen(vec![base, block(Delta, 6, 7, 7)]),
            Some(vec![(0, 1, 1), (6, 7, 7)])
        );
        // Both in one file: the larger one has the smaller.
        let both = [&plain[..], &[block(Delta, 1, 5, 5), block(Delta, 4, 5, 5)]].concat();
        assert_eq!(chosen(both), Some(vec![(0, 1, 1), (1, 5, 5)]));
        let new_base = [&plain[..], &[block(Base, 0, 5, 5)]].concat();
        assert_eq!(chosen(new_base), Some(vec![(0, 5, 5)]));
        assert_eq!(chosen(deltas.to_vec()), None, "there is no base");
    }

    /// What `push` leaves is what a reader of the files chooses.
    #[test]
    fn a_chain_in_memory_is_that_of_the_files() {
        use BlockKind::{Base, Delta};
        let mut all = Vec::new();
        let mut chains = Chains::default();
        for placed in [
            block(Base, 0, 1, 1),
            block(Delta, 1, 2, 2),
            block(Delta, 2, 3, 3),
            block(Delta, 3, 4, 4),
            block(Delta, 2, 4, 4),
            block(Delta, 4, 6, 6),
            block(Base, 0, 7, 7),
            block(Delta, 7, 8, 8),
        ] {
            all.push(placed);
            chains.push(placed);
            let chosen = Chains::choose(all.clone(), &[0].into()).unwrap();
            assert_eq!(chosen.get((0, 0)), chains.get((0, 0)));
        }
    }
}
