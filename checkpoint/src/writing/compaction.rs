//! Which blocks are put together when a checkpoint is written, so that chains stay short, and files
//! few and mostly alive. Its work is bounded by what the checkpoint writes anyway: a state is never
//! written all at once because of it.

use crate::chains::Placed;
use crate::manifest::document::{BlockKind, FileEntry};
use crate::store::names::StateName;
use std::collections::BTreeMap;

/// A chain with more blocks than this is shortened.
pub(crate) const MAX_CHAIN: usize = 16;

/// A chain with more blocks than this is shortened, whatever it costs.
const TOO_LONG: usize = 2 * MAX_CHAIN;

/// A file is emptied if less than one part in so many of it is alive.
const MIN_ALIVE: u64 = 4;

/// So many files are named by a manifest, beyond the newest.
pub(crate) const MAX_FILES: usize = 64;

/// More files than this are emptied, whatever it costs.
const TOO_MANY: usize = 2 * MAX_FILES;

/// So many bytes may be put together in any checkpoint, however little has changed.
pub(crate) const MIN_BUDGET: u64 = 1 << 20;

/// How many bytes of old blocks a checkpoint may write again.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u64,
}

impl Budget {
    /// For a checkpoint that has `new` bytes of its own.
    pub(crate) fn for_new_bytes(new: u64) -> Self {
        Self {
            left: new.saturating_mul(2).max(MIN_BUDGET),
        }
    }

    /// Takes `cost`, if there is so much or it `must` be.
    pub(crate) fn take(&mut self, cost: u64, must: bool) -> bool {
        let may = must || cost <= self.left;
        if may {
            self.left = self.left.saturating_sub(cost);
        }
        may
    }
}

/// From which block on a chain is to be put together, if it is.
///
/// All of it, if the deltas have outgrown the base. Else, if it is too long, its newest blocks, and
/// of the older ones those that are not larger than what is put together. So each byte is written
/// again a number of times that grows with the logarithm of the base over a delta.
pub(crate) fn first_to_merge(chain: &[Placed]) -> Option<usize> {
    let costs: Vec<u64> = chain.iter().map(Placed::cost).collect();
    let (base, deltas) = costs.split_first()?;
    if !deltas.is_empty() && deltas.iter().sum::<u64>() > *base {
        return Some(0);
    }
    if chain.len() <= MAX_CHAIN {
        return None;
    }
    let mut newest_first = costs.iter().enumerate().skip(1).rev();
    let (_, last) = newest_first.next()?;
    let (mut first, before) = newest_first.next()?;
    let mut merged = last + before;
    for (at, cost) in newest_first {
        if *cost > merged {
            break;
        }
        (first, merged) = (at, merged + cost);
    }
    Some(first)
}

/// Whether a chain must be shortened, whatever it costs.
pub(crate) fn is_overdue(chain: &[Placed]) -> bool {
    let mut costs = chain.iter().map(Placed::cost);
    let base = costs.next().unwrap_or(0);
    let deltas: u64 = costs.sum();
    chain.len() > TOO_LONG || (chain.len() > 1 && deltas / 3 > base)
}

/// What a file of the checkpoint before still has that counts.
#[derive(Debug, Default)]
pub(crate) struct Alive {
    pub(crate) bytes: u64,
    pub(crate) blocks: Vec<Placed>,
}

/// The files of which blocks count.
pub(crate) fn alive<'a>(chains: impl Iterator<Item = &'a [Placed]>) -> BTreeMap<StateName, Alive> {
    let mut files = BTreeMap::<StateName, Alive>::new();
    for placed in chains.flatten() {
        let file = files.entry(placed.file).or_default();
        file.bytes += placed.cost();
        file.blocks.push(*placed);
    }
    files
}

/// The files to be emptied, each with whether it must be: those that are mostly dead, and the
/// smallest if there are too many. Files with large parts of bases are the last to be chosen.
pub(crate) fn files_to_empty(
    files: &[FileEntry],
    alive: &BTreeMap<StateName, Alive>,
) -> Vec<(StateName, bool)> {
    let named = files.iter().filter_map(|file| {
        let name = StateName::parse(&file.name)?;
        let bytes = alive.get(&name)?.bytes;
        Some((name, file.size, bytes))
    });
    let mut named: Vec<(StateName, u64, u64)> = named.collect();
    named.sort_by_key(|(name, _, bytes)| (*bytes, *name));
    let over = named.len().saturating_sub(MAX_FILES);
    let must = named.len().saturating_sub(TOO_MANY);
    let chosen = named
        .iter()
        .enumerate()
        .filter(|(at, (_, size, bytes))| *at < over || bytes.saturating_mul(MIN_ALIVE) < *size);
    chosen.map(|(at, (name, ..))| (*name, at < must)).collect()
}

/// Whether the first block of a merge makes it a base.
pub(crate) fn kind_of(chain: &[Placed], first: usize) -> BlockKind {
    let first = chain.get(first).map(|placed| placed.block.info.kind);
    first.unwrap_or(BlockKind::Base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_file::block::{BlockInfo, Packing};
    use crate::state_file::index::IndexEntry;

    fn chain(lens: &[u64]) -> Vec<Placed> {
        let block = |(at, len): (usize, &u64)| Placed {
            file: StateName {
                number: at as u64 + 1,
                attempt: 0,
                part: 0,
            },
            block: IndexEntry {
                info: BlockInfo {
                    state: 0,
                    key_group: 0,
                    kind: match at {
                        0 => BlockKind::Base,
                        _ => BlockKind::Delta,
                    },
                    packing: Packing::Plain,
                    after: at as u64,
                    upto: at as u64 + 1,
                    len: *len,
                    raw_len: *len,
                    removed: 0,
                    entries: 0,
                },
                offset: 0,
                crc32c: 0,
            },
            v1: None,
        };
        lens.iter().enumerate().map(block).collect()
    }

    #[test]
    fn a_chain_is_put_together_when_it_is_long_or_heavy() {
        let first = |lens: &[u64]| first_to_merge(&chain(lens));
        assert_eq!(first(&[]), None);
        assert_eq!(first(&[100_000]), None);
        assert_eq!(first(&[100_000, 50_000, 40_000]), None);
        assert_eq!(first(&[100_000, 50_000, 60_000]), Some(0));
        let long = |deltas: &[u64]| first(&[&[1_000_000], deltas].concat());
        assert_eq!(long(&[1000; 15]), None);
        assert_eq!(long(&[1000; 16]), Some(1));
        let one_small = |large: &[u64]| [large, &[1; 14]].concat();
        assert_eq!(long(&one_small(&[90_000, 8000])), Some(3));
        assert_eq!(long(&[&[1000; 15][..], &[100_000]].concat()), Some(1));
    }

    #[test]
    fn files_are_emptied_that_are_mostly_dead_or_too_many() {
        let name = |number| StateName {
            number,
            attempt: 0,
            part: 0,
        };
        let chosen = |sizes: &[(u64, u64)]| {
            let numbered = (1..).zip(sizes);
            let files: Vec<FileEntry> = numbered
                .clone()
                .map(|(n, (size, _))| FileEntry {
                    name: name(n).to_string(),
                    size: *size,
                    blake3: String::new(),
                })
                .collect();
            let of = |bytes: u64| Alive {
                bytes,
                blocks: Vec::new(),
            };
            let alive = numbered.map(|(n, (_, bytes))| (name(n), of(*bytes)));
            let chosen = files_to_empty(&files, &alive.collect());
            let chosen = chosen.iter().map(|(name, must)| (name.number, *must));
            chosen.collect::<Vec<_>>()
        };
        assert_eq!(
            chosen(&[(1000, 1000), (1000, 249), (1000, 250)]),
            [(2, false)]
        );
        let many = |count| vec![(1000, 1000); count];
        assert_eq!(chosen(&many(MAX_FILES)), []);
        assert_eq!(chosen(&many(MAX_FILES + 2)), [(1, false), (2, false)]);
        let mut more = many(TOO_MANY + 1);
        more[70] = (1000, 900);
        let found = chosen(&more);
        assert_eq!(
            (found.len(), found[0], found[1]),
            (MAX_FILES + 1, (71, true), (1, false))
        );
    }

    /// A thousand checkpoints of one hundredth each: no chain is long, and no byte is written
    /// often. With chains of 8 blocks it would be 3.8 times the deltas, with 32 2.8 times.
    #[test]
    fn what_is_written_again_is_bounded() {
        let (base, delta) = (1_000_000_u64, 10_000);
        let (mut lens, mut written, mut longest) = (vec![base], 0, 0);
        for _ in 0..1000 {
            lens.push(delta);
            written += delta;
            longest = longest.max(lens.len());
            let Some(first) = first_to_merge(&chain(&lens)) else {
                continue;
            };
            let merged = match first {
                0 => base,
                _ => lens[first..].iter().sum(),
            };
            written += merged;
            lens.truncate(first);
            lens.push(merged);
        }
        assert!(longest <= MAX_CHAIN + 1, "{longest}");
        let per_checkpoint = written / 1000;
        assert!(per_checkpoint < 3 * delta, "{per_checkpoint}");
    }
}
