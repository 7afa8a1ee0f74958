//! Decoding many values of a type, and noting which of their fields the type does not have.
//!
//! Following every field takes as long as decoding. A value that is written again as it was read
//! has left out nothing, which is seen faster.

use crate::codec::message_pack;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Decodes the values of one type.
#[derive(Debug, Default)]
pub(crate) struct Noting {
    /// A value, written again.
    again: Vec<u8>,
    /// Whether one was not as it had been read. Types like that (hash maps, changed types) are
    /// followed from there on.
    follow: bool,
}

impl Noting {
    /// Decodes a value, and calls `ignored` with the path of every field that the type does not
    /// have.
    pub(crate) fn decode<T: Serialize + DeserializeOwned>(
        &mut self,
        bytes: &[u8],
        ignored: &mut dyn FnMut(String),
    ) -> Result<T, String> {
        if !self.follow {
            let value: T = message_pack::decode(bytes)?;
            self.again.clear();
            let written = message_pack::encode_into(&value, &mut self.again);
            if written.is_ok() && self.again == bytes {
                return Ok(value);
            }
            self.follow = true;
        }
        message_pack::decode_noting(bytes, ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::{BTreeMap, BTreeSet};

    #[derive(Serialize)]
    struct Old {
        a: u8,
        b: u8,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        a: u8,
    }

    #[test]
    fn fields_are_noted_in_every_value_that_has_them() {
        let mut noting = Noting::default();
        for (bytes, expected) in [
            (message_pack::encode(&New { a: 1 }).unwrap(), &[][..]),
            (message_pack::encode(&Old { a: 1, b: 2 }).unwrap(), &["b"]),
            (message_pack::encode(&New { a: 1 }).unwrap(), &[]),
            (message_pack::encode(&Old { a: 1, b: 3 }).unwrap(), &["b"]),
        ] {
            let mut noted = Vec::new();
            let value: New = noting.decode(&bytes, &mut |path| noted.push(path)).unwrap();
            assert_eq!(
                (value, &noted[..]),
                (
                    New { a: 1 },
                    &expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..]
                )
            );
        }
    }

    /// A set reads what is there twice, and writes it once: nothing is left out, and what comes
    /// back is what is decoded without notes.
    #[test]
    fn values_that_are_written_otherwise_are_decoded_as_ever() {
        let mut noting = Noting::default();
        let bytes = message_pack::encode(&[3, 1, 3]).unwrap();
        let none = &mut |path: String| panic!("{path}");
        let set: BTreeSet<u8> = noting.decode(&bytes, none).unwrap();
        assert_eq!(set, BTreeSet::from([1, 3]));
        let map = BTreeMap::from([(1, "one".to_owned())]);
        let bytes = message_pack::encode(&map).unwrap();
        assert_eq!(
            noting.decode::<BTreeMap<i32, String>>(&bytes, none),
            Ok(map)
        );
        noting.decode::<u8>(&[0xC1], none).unwrap_err();
        Noting::default().decode::<u8>(&[0xC1], none).unwrap_err();
        Noting::default().decode::<u8>(&[1, 1], none).unwrap_err();
    }
}
