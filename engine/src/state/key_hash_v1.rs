//! The hash of keys in version 1 of the format. Directories of that time have their keys in the
//! groups that it chose. Nothing is stored by it any more. It tells whether a key lies in another
//! group because its type has changed, or only because the hash has.
//!
//! It folds 64-bit little-endian words with a rotate, a xor and a multiplication by the golden
//! ratio: the scheme of Firefox's `FxHash`. It finishes with the mixer of splitmix64 (Steele, Lea,
//! Flood, OOPSLA 2014).

use crate::codec::shape::{ShapeError, Visitor, visit};
use serde::Serialize;

/// The group of `key` in a checkpoint of version 1 with `count` key groups.
pub(super) fn group<K: Serialize + ?Sized>(key: &K, count: u32) -> Result<u32, ShapeError> {
    let mut hasher = HasherV1(SEED);
    visit(key, &mut hasher)?;
    let group = hasher.finish() % u64::from(count.max(1));
    Ok(u32::try_from(group).expect("a remainder of a u32 fits u32"))
}

/// Not zero, so that keys made of zeros of different lengths differ (the offset basis of FNV-1a).
const SEED: u64 = 0xCBF2_9CE4_8422_2325;

struct HasherV1(u64);

impl HasherV1 {
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

impl Visitor for HasherV1 {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories hold keys in these groups: the numbers may never change.
    #[test]
    fn the_groups_of_version_1_are_frozen() {
        let found: Vec<u32> = ["", "a", "the", "highwater", "a key longer than eight bytes"]
            .iter()
            .map(|k| group(k, 128).unwrap())
            .collect();
        assert_eq!(found, [27, 120, 83, 81, 22]);
        assert_eq!(group(&7_u64, 128).unwrap(), group(&7_u8, 128).unwrap());
        assert_eq!(group(&("the", 7_u32), 128).unwrap(), 26);
    }
}
