//! Which key group a key belongs to. The hash is part of the checkpoint format and frozen: it is computed from what the
//! key serialises to, with our own arithmetic, so that neither a Rust release nor another hasher can move a key.
//!
//! The arithmetic folds 64-bit little-endian words with a rotate, a xor and a multiplication by the golden ratio (the
//! scheme of Firefox's `FxHash`) and finishes with the mixer of splitmix64 (Steele, Lea, Flood, OOPSLA 2014).

use serde::ser::{self, Serialize};
use std::fmt::Display;

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
        key.serialize(&mut hasher)?;
        let group = hasher.finish() % u64::from(self.count);
        Ok(u32::try_from(group).expect("a remainder of a u32 fits u32"))
    }

    /// The worker that owns `group` when there are `peers` workers: contiguous ranges of groups.
    pub(crate) fn owner(self, group: u32, peers: usize) -> usize {
        let owner = u64::from(group) * peers as u64 / u64::from(self.count);
        usize::try_from(owner).expect("an owner is below the number of workers")
    }
}

/// A key that does not serialise.
#[derive(Debug, thiserror::Error)]
#[error("the key does not serialise: {0}")]
pub(crate) struct KeyError(String);

impl ser::Error for KeyError {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Not zero, so that keys made of zeros of different lengths differ (the offset basis of FNV-1a).
const SEED: u64 = 0xCBF2_9CE4_8422_2325;

struct KeyHasher(u64);

impl KeyHasher {
    fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.word(u64::from_le_bytes(
                chunk.try_into().expect("chunks of eight"),
            ));
        }
        let rest = chunks.remainder();
        if !rest.is_empty() {
            let word = rest
                .iter()
                .rev()
                .fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
            self.word(word);
        }
    }

    fn finish(&self) -> u64 {
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

macro_rules! words {
    ($($method:ident $type:ty),*) => {$(
        fn $method(self, v: $type) -> Result<(), KeyError> {
            self.word(u64::from(v));
            Ok(())
        }
    )*};
}

macro_rules! signed_words {
    ($($method:ident $type:ty),*) => {$(
        fn $method(self, v: $type) -> Result<(), KeyError> {
            self.word(i64::from(v).cast_unsigned());
            Ok(())
        }
    )*};
}

impl ser::Serializer for &mut KeyHasher {
    type Ok = ();
    type Error = KeyError;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    words!(serialize_bool bool, serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_char char);
    signed_words!(serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64);

    fn serialize_i128(self, v: i128) -> Result<(), KeyError> {
        self.bytes(&v.to_le_bytes());
        Ok(())
    }
    fn serialize_u128(self, v: u128) -> Result<(), KeyError> {
        self.bytes(&v.to_le_bytes());
        Ok(())
    }
    fn serialize_f32(self, v: f32) -> Result<(), KeyError> {
        self.word(u64::from(v.to_bits()));
        Ok(())
    }
    fn serialize_f64(self, v: f64) -> Result<(), KeyError> {
        self.word(v.to_bits());
        Ok(())
    }
    fn serialize_str(self, v: &str) -> Result<(), KeyError> {
        self.bytes(v.as_bytes());
        Ok(())
    }
    fn serialize_bytes(self, v: &[u8]) -> Result<(), KeyError> {
        self.bytes(v);
        Ok(())
    }
    fn serialize_none(self) -> Result<(), KeyError> {
        self.word(0);
        Ok(())
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), KeyError> {
        self.word(1);
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), KeyError> {
        Ok(())
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), KeyError> {
        Ok(())
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), KeyError> {
        self.bytes(variant.as_bytes());
        Ok(())
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), KeyError> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), KeyError> {
        self.bytes(variant.as_bytes());
        value.serialize(self)
    }
    fn serialize_seq(self, len: Option<usize>) -> Result<Self, KeyError> {
        self.word(len.map_or(u64::MAX, |n| n as u64));
        Ok(self)
    }
    fn serialize_tuple(self, _: usize) -> Result<Self, KeyError> {
        Ok(self)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, KeyError> {
        Ok(self)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self, KeyError> {
        self.bytes(variant.as_bytes());
        Ok(self)
    }
    fn serialize_map(self, len: Option<usize>) -> Result<Self, KeyError> {
        self.word(len.map_or(u64::MAX, |n| n as u64));
        Ok(self)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, KeyError> {
        Ok(self)
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self, KeyError> {
        self.bytes(variant.as_bytes());
        Ok(self)
    }
    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! elements {
    ($($trait:ident $method:ident),*) => {$(
        impl ser::$trait for &mut KeyHasher {
            type Ok = ();
            type Error = KeyError;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
                value.serialize(&mut **self)
            }
            fn end(self) -> Result<(), KeyError> {
                Ok(())
            }
        }
    )*};
}

macro_rules! fields {
    ($($trait:ident),*) => {$(
        impl ser::$trait for &mut KeyHasher {
            type Ok = ();
            type Error = KeyError;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), KeyError> {
                value.serialize(&mut **self)
            }
            fn end(self) -> Result<(), KeyError> {
                Ok(())
            }
        }
    )*};
}

elements!(SerializeSeq serialize_element, SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field, SerializeTupleVariant serialize_field);
fields!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for &mut KeyHasher {
    type Ok = ();
    type Error = KeyError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), KeyError> {
        key.serialize(&mut **self)
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        value.serialize(&mut **self)
    }
    fn end(self) -> Result<(), KeyError> {
        Ok(())
    }
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
