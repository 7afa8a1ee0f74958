//! Which key group a key belongs to, and which worker owns it.

use crate::state::key_hash::{KeyError, KeyHash};
use crate::state::key_hash_v1;
use serde::Serialize;

/// Key groups: the unit by which state is spread over workers, moved and restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyGroups {
    count: u32,
    seed: u64,
}

impl KeyGroups {
    /// `count` key groups, whose keys are hashed with `seed`.
    pub(crate) fn new(count: u32, seed: u64) -> Self {
        assert!(count > 0, "there is at least one key group");
        Self { count, seed }
    }

    /// How many there are.
    pub(crate) fn count(self) -> u32 {
        self.count
    }

    /// The hash of `key`; an error if the key does not serialise.
    #[inline]
    pub(crate) fn hash<K: Serialize + ?Sized>(self, key: &K) -> Result<KeyHash, KeyError> {
        KeyHash::of(key, self.seed)
    }

    /// The group of the keys that hash to `hash`: bits 24 to 56 as a fraction of the number of
    /// groups.
    #[inline]
    pub(crate) fn group_of(self, hash: KeyHash) -> u32 {
        let fraction = (hash.0 >> 24) & u64::from(u32::MAX);
        let group = (fraction * u64::from(self.count)) >> 32;
        u32::try_from(group).expect("a fraction of a u32 fits u32")
    }

    /// The worker that owns `group` when there are `peers` workers: contiguous ranges of groups.
    #[inline]
    pub(crate) fn owner(self, group: u32, peers: usize) -> usize {
        let owner = u64::from(group) * peers as u64 / u64::from(self.count);
        usize::try_from(owner).expect("an owner is below the number of workers")
    }
}

/// The key groups in which a checkpoint has its keys. They are others than today's if it was taken
/// by an earlier version, or before the seed of the application was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupsOnDisk {
    /// So many, by the hash of version 1.
    Version1(u32),
    /// By the hash of today.
    Seeded(KeyGroups),
}

impl GroupsOnDisk {
    /// `count` key groups; without a seed by the hash of version 1.
    pub(crate) fn new(count: u32, seed: Option<u64>) -> Self {
        match seed {
            None => Self::Version1(count),
            Some(seed) => Self::Seeded(KeyGroups::new(count, seed)),
        }
    }

    /// In which group the checkpoint has a key that serialises like this one. `hash` is its hash of
    /// today, by `today`.
    pub(crate) fn group<K: Serialize + ?Sized>(
        self,
        key: &K,
        today: KeyGroups,
        hash: KeyHash,
    ) -> Result<u32, KeyError> {
        match self {
            Self::Version1(count) => key_hash_v1::group(key, count).map_err(KeyError),
            Self::Seeded(groups) if groups == today => Ok(today.group_of(hash)),
            Self::Seeded(groups) => Ok(groups.group_of(groups.hash(key)?)),
        }
    }
}

/// The key group of `key` where there are `count` of them and the application was created with
/// [`Builder::seed`](crate::Builder::seed): for models in tests, which need to know the order of
/// keys.
///
/// # Errors
/// What the key's `Serialize` says.
#[doc(hidden)]
pub fn key_group<K: Serialize + ?Sized>(key: &K, count: u32, seed: u64) -> Result<u32, String> {
    let groups = KeyGroups::new(count, seed);
    let hash = groups.hash(key).map_err(|e| e.to_string())?;
    Ok(groups.group_of(hash))
}

/// What a worker needs to know to build its operators.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerSlot {
    pub(crate) index: usize,
    pub(crate) peers: usize,
    pub(crate) groups: KeyGroups,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group<K: Serialize + ?Sized>(groups: KeyGroups, key: &K) -> u32 {
        groups.group_of(groups.hash(key).unwrap())
    }

    /// The choice of a group is part of the format: these numbers may never change.
    #[test]
    fn key_groups_are_frozen() {
        let groups = KeyGroups::new(128, 31);
        let keys = [
            "",
            "a",
            "the",
            "highwater",
            "a key longer than sixteen bytes",
        ];
        assert_eq!(keys.map(|key| group(groups, key)), [26, 14, 12, 10, 82]);
        let hash = |bits: u64| KeyHash(0xFF00_0000_00FF_FFFF | bits << 24);
        let of = |bits: u64| groups.group_of(hash(bits));
        assert_eq!((of(0), of(0x01FF_FFFF), of(0x0200_0000)), (0, 0, 1));
        assert_eq!(of(0xFFFF_FFFF), 127);
        assert_eq!(KeyGroups::new(1, 31).group_of(hash(0xFFFF_FFFF)), 0);
    }

    #[test]
    fn groups_are_spread_over_workers_in_contiguous_ranges() {
        let groups = KeyGroups::new(128, 1);
        let owners: Vec<usize> = (0..128).map(|g| groups.owner(g, 3)).collect();
        assert!(owners.is_sorted() && owners[0] == 0 && owners[127] == 2);
    }

    #[test]
    fn words_and_numbers_spread_evenly_whatever_the_seed() {
        for seed in [0, 1, u64::MAX, 0x9E37_79B9_7F4A_7C15] {
            let groups = KeyGroups::new(16, seed);
            let (mut words, mut numbers) = ([0_u32; 16], [0_u32; 16]);
            for i in 0..16_000 {
                words[group(groups, &format!("word{i}")) as usize] += 1;
                numbers[group(groups, &i) as usize] += 1;
            }
            for counts in [words, numbers] {
                assert!(counts.iter().all(|c| (850..1150).contains(c)), "{counts:?}");
            }
        }
    }

    #[test]
    fn the_seed_decides_and_the_groups_on_disk_are_those_of_their_time() {
        let (old, new) = (KeyGroups::new(128, 1), KeyGroups::new(128, 2));
        let other_groups = (0..100_u64).filter(|key| group(old, key) != group(new, key));
        assert!(other_groups.count() > 90);
        for key in 0..100_u64 {
            let hash = new.hash(&key).unwrap();
            let on_disk = |seed| GroupsOnDisk::new(128, seed).group(&key, new, hash).unwrap();
            assert_eq!(on_disk(Some(1)), group(old, &key));
            assert_eq!(on_disk(Some(2)), group(new, &key));
            assert_eq!(on_disk(None), key_hash_v1::group(&key, 128).unwrap());
        }
    }
}
