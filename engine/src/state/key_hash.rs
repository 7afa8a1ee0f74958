//! The hash of a key. It is part of the checkpoint format, and frozen: it says in which key group a
//! key is stored.
//!
//! It follows from what serde serialises, so that `str` and `String`, or `u8` and `u64`, hash
//! alike. Every string, byte string and 64-bit word (as eight little-endian bytes) goes through
//! XXH3-64, each with the hash of what came before as its seed. The first one gets the seed of the
//! application. So the hash of a key that is one string is `XXH3_64bits_withSeed(bytes, seed)`, as
//! any other implementation computes it.
//!
//! Structs, tuples and newtypes add nothing of their own: a key may be wrapped and unwrapped
//! without moving. `None` and `Some` are the words 0 and 1, the length of a sequence or map is a
//! word, and the name of an enum's variant a string.

use crate::codec::shape::{ShapeError, Visitor, visit};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The hash of a key: computed once, where the key is first seen, and carried along with it.
///
/// Bits 24 to 56 choose the key group (see [`KeyGroups`](super::key_group::KeyGroups)), so that the
/// lowest and the highest bits are still evenly spread among the keys of one group. Hash tables
/// use those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct KeyHash(pub(crate) u64);

impl KeyHash {
    /// The hash of `key`; an error if the key does not serialise.
    #[inline]
    pub(crate) fn of<K: Serialize + ?Sized>(key: &K, seed: u64) -> Result<Self, KeyError> {
        let mut hasher = Hasher(seed);
        visit(key, &mut hasher).map_err(KeyError)?;
        Ok(Self(hasher.0))
    }
}

/// A key that does not serialise.
#[derive(Debug, thiserror::Error)]
#[error("the key does not serialise: {0}")]
pub(crate) struct KeyError(pub(super) ShapeError);

/// The hash of what was seen of a key so far.
struct Hasher(u64);

impl Visitor for Hasher {
    #[inline]
    fn word(&mut self, word: u64) -> Result<(), ShapeError> {
        self.bytes(&word.to_le_bytes())
    }
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), ShapeError> {
        self.0 = xxh3_64_with_seed(bytes, self.0);
        Ok(())
    }
    #[inline]
    fn none(&mut self) -> Result<(), ShapeError> {
        self.word(0)
    }
    #[inline]
    fn some(&mut self) -> Result<(), ShapeError> {
        self.word(1)
    }
    #[inline]
    fn unit(&mut self) -> Result<(), ShapeError> {
        Ok(())
    }
    #[inline]
    fn product(&mut self) -> Result<(), ShapeError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serializer;
    use std::collections::{BTreeMap, BTreeSet};

    fn hash<K: Serialize + ?Sized>(key: &K) -> u64 {
        KeyHash::of(key, 31).unwrap().0
    }

    struct Bytes(Vec<u8>);

    impl Serialize for Bytes {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&self.0)
        }
    }

    #[derive(Serialize)]
    struct Wrapped<T>(T);

    #[derive(Serialize)]
    struct Pair {
        word: &'static str,
        number: u32,
    }

    #[derive(Serialize)]
    enum Kind {
        Empty,
        Of(u8),
        With { a: u8 },
    }

    /// What the reference implementation in C computes with the seed 31 for the bytes 0, 1, 2, ...
    /// of each length. The lengths take every path of XXH3.
    #[test]
    fn a_lone_string_hashes_as_the_reference_implementation_says() {
        let reference: [(usize, i64); 13] = [
            (0, -5_533_455_083_687_115_210),
            (1, -8_203_419_927_524_778_795),
            (3, 1_269_775_222_705_156_552),
            (4, 521_489_941_546_056_718),
            (8, -5_301_042_565_225_696_800),
            (9, -7_159_932_106_675_064_752),
            (16, 3_587_791_604_302_124_252),
            (17, 2_076_895_542_453_216_941),
            (128, 6_876_211_214_193_030_912),
            (129, -2_042_564_055_962_608_839),
            (240, -4_180_690_146_509_669_261),
            (241, -6_630_060_899_166_563_120),
            (301, 4_008_544_757_736_713_036),
        ];
        for (len, expected) in reference {
            let bytes: Vec<u8> = (0..len).map(|n| n.to_le_bytes()[0]).collect();
            if let Ok(text) = std::str::from_utf8(&bytes) {
                assert_eq!(
                    hash(text).cast_signed(),
                    expected,
                    "a string of {len} bytes"
                );
            }
            assert_eq!(hash(&Bytes(bytes)).cast_signed(), expected, "{len} bytes");
        }
    }

    /// The hash is part of the format: these numbers may never change.
    #[test]
    fn hashes_are_frozen() {
        let map = BTreeMap::from([("a", 1_u8), ("b", 2)]);
        let found = [
            hash(&7_u64),
            hash(&-7_i32),
            hash(&true),
            hash(&'x'),
            hash(&1.5_f64),
            hash(&7_u128),
            hash(&("the", 7_u32)),
            hash(&None::<u8>),
            hash(&Some(7_u8)),
            hash(&vec!["a", "b"]),
            hash(&map),
            hash(&Kind::Empty),
            hash(&Kind::Of(7)),
            hash(&Kind::With { a: 7 }),
            hash(&()),
        ];
        assert_eq!(found, FROZEN);
    }

    const FROZEN: [u64; 15] = [
        0xFC56_B04A_9F87_13E5,
        0x016D_4D36_F1E3_EDC4,
        0xBE1D_FBA2_2302_B0F9,
        0x30FB_0AAC_258E_C574,
        0xAEAF_DE5E_280E_DEB5,
        0x8BD2_92DA_A752_7FE3,
        0xFDA9_70DD_EEB8_8127,
        0x7402_EE15_51CD_E7ED,
        0x175D_8CD0_C61A_0BE5,
        0x8742_1BB5_A05A_BF5A,
        0xA3EF_9AF4_B729_E28A,
        0x1374_D63C_50D9_3754,
        0xFE00_A872_FA71_5DA6,
        0xAFBF_A47C_A053_DBC2,
        31,
    ];

    #[test]
    fn every_part_is_chained_to_what_came_before() {
        let word = |seed, word: u64| xxh3_64_with_seed(&word.to_le_bytes(), seed);
        assert_eq!(hash(&7_u64), word(31, 7));
        assert_eq!(
            hash(&("the", 7_u32)),
            word(xxh3_64_with_seed(b"the", 31), 7)
        );
        assert_eq!(hash(&Some(7_u8)), word(word(31, 1), 7));
        assert_eq!(hash(&vec![5_u8, 6]), word(word(word(31, 2), 5), 6));
        assert_ne!(hash(&("ab", "c")), hash(&("a", "bc")));
        assert_ne!(hash(&(vec![1], vec![2, 3])), hash(&(vec![1, 2], vec![3])));
        assert_ne!(hash("the"), KeyHash::of("the", 32).unwrap().0);
    }

    #[test]
    fn owned_borrowed_wider_and_wrapped_keys_hash_alike() {
        assert_eq!(hash("the"), hash(&"the".to_owned()));
        assert_eq!(hash("the"), hash(&Wrapped("the")));
        assert_eq!(hash(&7_u8), hash(&7_u64));
        assert_eq!(hash(&-7_i8), hash(&-7_i64));
        assert_eq!(hash(&0.0_f64), hash(&-0.0_f64));
        let (word, number) = ("the", 7);
        assert_eq!(hash(&Pair { word, number }), hash(&(word, number)));
    }

    /// The hash of version 1 had 48,624 collisions among two million keys like these. That is
    /// harmless where it only chooses groups, and slow in a hash table.
    #[test]
    fn keys_that_count_up_do_not_collide() {
        let words: BTreeSet<u64> = (0..200_000).map(|n| hash(&format!("key{n}"))).collect();
        assert_eq!(words.len(), 200_000);
        let numbers: BTreeSet<u64> = (0..200_000_u64).map(|n| hash(&n)).collect();
        assert_eq!(numbers.len(), 200_000);
    }

    #[test]
    fn a_key_that_does_not_serialise_says_so() {
        struct Refuses;
        impl Serialize for Refuses {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("not today"))
            }
        }
        let error = KeyHash::of(&("a", Refuses), 1).unwrap_err();
        assert_eq!(error.to_string(), "the key does not serialise: not today");
    }
}
