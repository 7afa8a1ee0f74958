//! Which key group a key belongs to. The hash is part of the checkpoint format, and frozen. It is
//! computed from what the key serialises to, with our own arithmetic. So neither a Rust release nor
//! another hasher can move a key.
//!
//! The arithmetic folds 64-bit little-endian words with a rotate, a xor and a multiplication by the
//! golden ratio: the scheme of Firefox's `FxHash`. It finishes with the mixer of splitmix64
//! (Steele, Lea, Flood, OOPSLA 2014).

use crate::codec::shape::{ShapeError, Visitor, visit};
use serde::Serialize;

/// Key groups: the unit by which state is spread over workers, moved and restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyGroups {
    count: u32,
}

impl KeyGroups {
    /// `count` key groups.
    pub(crate) fn new(count: u32) -> Self {
        assert!(count > 0, "there is at least one key group");
        Self { count }
    }

    /// The group of `key`; an error if the key does not serialise.
    pub(crate) fn group<K: Serialize + ?Sized>(self, key: &K) -> Result<u32, KeyError> {
        let mut hasher = KeyHasher(SEED);
        visit(key, &mut hasher).map_err(KeyError)?;
        let group = hasher.finish() % u64::from(self.count);
        Ok(u32::try_from(group).expect("a remainder of a u32 fits u32"))
    }

    /// The worker that owns `group` when there are `peers` workers: contiguous ranges of groups.
    pub(crate) fn owner(self, group: u32, peers: usize) -> usize {
        let owner = u64::from(group) * peers as u64 / u64::from(self.count);
        usize::try_from(owner).expect("an owner is below the number of workers")
    }
}

/// The key group of `key` where there are `count` of them: for models in tests, which need to know
/// the order of keys.
///
/// # Errors
/// What the key's `Serialize` says.
#[doc(hidden)]
pub fn key_group<K: Serialize + ?Sized>(key: &K, count: u32) -> Result<u32, String> {
    KeyGroups::new(count).group(key).map_err(|e| e.to_string())
}

/// A key that does not serialise.
#[derive(Debug, thiserror::Error)]
#[error("the key does not serialise: {0}")]
pub(crate) struct KeyError(ShapeError);

/// Not zero, so that keys made of zeros of different lengths differ (the offset basis of FNV-1a).
const SEED: u64 = 0xCBF2_9CE4_8422_2325;

struct KeyHasher(u64);

impl KeyHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn mix_bytes(&mut self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.mix(u64::from_le_bytes(
                chunk.try_into().expect("chunks of eight"),
            ));
        }
        let rest = chunks.remainder();
        if !rest.is_empty() {
            let word = rest
                .iter()
                .rev()
                .fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
            self.mix(word);
        }
    }

    fn finish(&self) -> u64 {
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Structs, tuples and `()` add nothing of their own: they may be wrapped and unwrapped without
/// moving a key.
impl Visitor for KeyHasher {
    fn word(&mut self, word: u64) -> Result<(), ShapeError> {
        self.mix(word);
        Ok(())
    }
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), ShapeError> {
        self.mix_bytes(bytes);
        Ok(())
    }
    fn none(&mut self) -> Result<(), ShapeError> {
        self.word(0)
    }
    fn some(&mut self) -> Result<(), ShapeError> {
        self.word(1)
    }
    fn unit(&mut self) -> Result<(), ShapeError> {
        Ok(())
    }
    fn product(&mut self) -> Result<(), ShapeError> {
        Ok(())
    }
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

    /// The hash is part of the format: these numbers may never change.
    #[test]
    fn key_groups_are_frozen() {
        let groups = KeyGroups::new(128);
        let found: Vec<u32> = ["", "a", "the", "highwater", "a key longer than eight bytes"]
            .iter()
            .map(|k| groups.group(k).unwrap())
            .collect();
        assert_eq!(found, FROZEN_STRINGS);
        assert_eq!(
            groups.group(&7_u64).unwrap(),
            groups.group(&7_u8).unwrap(),
            "widening keeps the group"
        );
        assert_eq!(groups.group(&("the", 7_u32)).unwrap(), FROZEN_PAIR);
    }

    const FROZEN_STRINGS: [u32; 5] = [27, 120, 83, 81, 22];
    const FROZEN_PAIR: u32 = 26;

    #[test]
    fn groups_are_spread_over_workers_in_contiguous_ranges() {
        let groups = KeyGroups::new(128);
        let owners: Vec<usize> = (0..128).map(|g| groups.owner(g, 3)).collect();
        assert!(owners.is_sorted() && owners[0] == 0 && owners[127] == 2);
    }

    #[test]
    fn words_spread_evenly() {
        let groups = KeyGroups::new(16);
        let mut counts = [0_u32; 16];
        for i in 0..16_000 {
            counts[groups.group(&format!("word{i}")).unwrap() as usize] += 1;
        }
        assert!(counts.iter().all(|c| (850..1150).contains(c)), "{counts:?}");
    }
}
