//! A serializer that writes nothing and shows a visitor what it sees. The hash of a key and the
//! check of a value's shape are such visitors.

use serde::ser::{self, Serialize};
use std::fmt::Display;

/// What is shown of a value, in the order of serde's data model. Names of structs and fields are
/// left out.
pub(crate) trait Visitor {
    /// A number, a character, a boolean; or the length of a sequence or map (`u64::MAX` if it is
    /// not known before).
    fn word(&mut self, word: u64) -> Result<(), ShapeError>;
    /// A string, bytes, a 128-bit number, or the name of a variant.
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), ShapeError>;
    /// `None`.
    fn none(&mut self) -> Result<(), ShapeError>;
    /// `Some`: what is in it comes next.
    fn some(&mut self) -> Result<(), ShapeError>;
    /// `()`.
    fn unit(&mut self) -> Result<(), ShapeError>;
    /// A struct or tuple begins, or is a unit struct.
    fn product(&mut self) -> Result<(), ShapeError>;
}

/// Shows `value` to `visitor`.
pub(crate) fn visit<T: Serialize + ?Sized>(
    value: &T,
    visitor: &mut impl Visitor,
) -> Result<(), ShapeError> {
    value.serialize(ShapeSerializer(visitor))
}

/// Why a value could not be walked: its own `Serialize`, or the visitor, refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ShapeError(pub(crate) String);

impl ser::Error for ShapeError {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

struct ShapeSerializer<'a, V>(&'a mut V);

macro_rules! words {
    ($($method:ident $type:ty),*) => {$(
        fn $method(self, v: $type) -> Result<(), ShapeError> {
            self.0.word(u64::from(v))
        }
    )*};
}

macro_rules! signed_words {
    ($($method:ident $type:ty),*) => {$(
        fn $method(self, v: $type) -> Result<(), ShapeError> {
            self.0.word(i64::from(v).cast_unsigned())
        }
    )*};
}

impl<V: Visitor> ser::Serializer for ShapeSerializer<'_, V> {
    type Ok = ();
    type Error = ShapeError;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    words!(serialize_bool bool, serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_char char);
    signed_words!(serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64);

    fn serialize_i128(self, v: i128) -> Result<(), ShapeError> {
        self.0.bytes(&v.to_le_bytes())
    }
    fn serialize_u128(self, v: u128) -> Result<(), ShapeError> {
        self.0.bytes(&v.to_le_bytes())
    }
    fn serialize_f32(self, v: f32) -> Result<(), ShapeError> {
        self.0
            .word(u64::from(if v == 0.0 { 0 } else { v.to_bits() }))
    }
    /// Types that make floating-point numbers keys take the two zeros for one.
    fn serialize_f64(self, v: f64) -> Result<(), ShapeError> {
        self.0.word(if v == 0.0 { 0 } else { v.to_bits() })
    }
    fn serialize_str(self, v: &str) -> Result<(), ShapeError> {
        self.0.bytes(v.as_bytes())
    }
    fn serialize_bytes(self, v: &[u8]) -> Result<(), ShapeError> {
        self.0.bytes(v)
    }
    fn serialize_none(self) -> Result<(), ShapeError> {
        self.0.none()
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), ShapeError> {
        self.0.some()?;
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), ShapeError> {
        self.0.unit()
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), ShapeError> {
        self.0.product()
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), ShapeError> {
        self.0.bytes(variant.as_bytes())
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), ShapeError> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), ShapeError> {
        self.0.bytes(variant.as_bytes())?;
        value.serialize(self)
    }
    fn serialize_seq(self, len: Option<usize>) -> Result<Self, ShapeError> {
        self.0.word(len.map_or(u64::MAX, |n| n as u64))?;
        Ok(self)
    }
    fn serialize_tuple(self, _: usize) -> Result<Self, ShapeError> {
        self.0.product()?;
        Ok(self)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, ShapeError> {
        self.0.product()?;
        Ok(self)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self, ShapeError> {
        self.0.bytes(variant.as_bytes())?;
        Ok(self)
    }
    fn serialize_map(self, len: Option<usize>) -> Result<Self, ShapeError> {
        self.0.word(len.map_or(u64::MAX, |n| n as u64))?;
        Ok(self)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, ShapeError> {
        self.0.product()?;
        Ok(self)
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self, ShapeError> {
        self.0.bytes(variant.as_bytes())?;
        Ok(self)
    }
    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! elements {
    ($($trait:ident $method:ident),*) => {$(
        impl<V: Visitor> ser::$trait for ShapeSerializer<'_, V> {
            type Ok = ();
            type Error = ShapeError;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ShapeError> {
                value.serialize(ShapeSerializer(&mut *self.0))
            }
            fn end(self) -> Result<(), ShapeError> {
                Ok(())
            }
        }
    )*};
}

macro_rules! fields {
    ($($trait:ident),*) => {$(
        impl<V: Visitor> ser::$trait for ShapeSerializer<'_, V> {
            type Ok = ();
            type Error = ShapeError;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), ShapeError> {
                value.serialize(ShapeSerializer(&mut *self.0))
            }
            fn end(self) -> Result<(), ShapeError> {
                Ok(())
            }
        }
    )*};
}

elements!(SerializeSeq serialize_element, SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field, SerializeTupleVariant serialize_field);
fields!(SerializeStruct, SerializeStructVariant);

impl<V: Visitor> ser::SerializeMap for ShapeSerializer<'_, V> {
    type Ok = ();
    type Error = ShapeError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ShapeError> {
        key.serialize(ShapeSerializer(&mut *self.0))
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ShapeError> {
        value.serialize(ShapeSerializer(&mut *self.0))
    }
    fn end(self) -> Result<(), ShapeError> {
        Ok(())
    }
}
