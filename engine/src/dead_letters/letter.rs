//! A dead letter: its identity, and its bytes in the store and in the engine's log.
//!
//! A letter is a length (`u32`, little endian), so many bytes of MessagePack, and the record as the
//! failing operator had it.

use crate::codec::message_pack;
use crate::refused::place::Place;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What tells a letter from all others, for ever: the operator and where its input came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct LetterId {
    /// Name of the operator.
    pub(crate) operator: String,
    /// The batch in which it failed first.
    pub(crate) batch: u64,
    pub(crate) place: Place,
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operator,
            batch,
            place,
        } = self;
        match place {
            Place::Log { .. } => write!(f, "{operator}/{place}"),
            Place::Batch { .. } => write!(f, "{operator}/b{batch}/{place}"),
        }
    }
}

/// What is known of a letter beside the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) id: LetterId,
    /// The batch in which it failed last, and its time.
    pub(crate) failed_in: u64,
    pub(crate) time_ms: u64,
    /// How often it has failed.
    pub(crate) attempts: u32,
    pub(crate) error: String,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) about: About,
    /// The record, encoded.
    pub(crate) input: Vec<u8>,
}

impl Letter {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; 4];
        message_pack::encode_into(&self.about, &mut bytes).map_err(|e| e.to_string())?;
        let length = u32::try_from(bytes.len().saturating_sub(4)).map_err(|e| e.to_string())?;
        if let Some(place) = bytes.first_chunk_mut::<4>() {
            *place = length.to_le_bytes();
        }
        bytes.extend_from_slice(&self.input);
        Ok(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (about, input) = parts(bytes)?;
        Ok(Self {
            about: message_pack::decode(about)?,
            input: input.to_vec(),
        })
    }
}

/// What is known of a letter.
pub(crate) fn about(letter: &[u8]) -> Result<About, String> {
    message_pack::decode(parts(letter)?.0)
}

/// The record of a letter.
pub(crate) fn input(letter: &[u8]) -> Result<&[u8], String> {
    Ok(parts(letter)?.1)
}

fn parts(letter: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let parts = letter.split_first_chunk::<4>().and_then(|(length, rest)| {
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        rest.split_at_checked(length)
    });
    parts.ok_or_else(|| "a dead letter that is cut short".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_wal::Lsn;

    #[test]
    fn letters_come_back_and_damaged_ones_are_errors() {
        let letter = Letter {
            about: About {
                id: LetterId {
                    operator: "parse".to_owned(),
                    batch: 7,
                    place: Place::Log {
                        lsn: Lsn::new(4096),
                        index: 1,
                        input: 0,
                    },
                },
                failed_in: 9,
                time_ms: 1000,
                attempts: 2,
                error: "no number".to_owned(),
            },
            input: vec![0xa1, b'x'],
        };
        let bytes = letter.encode().unwrap();
        assert_eq!(Letter::decode(&bytes).unwrap(), letter);
        assert_eq!(input(&bytes).unwrap(), letter.input);
        assert_eq!(letter.about.id.to_string(), "parse/4096.1.0");
        for len in 0..bytes.len() - 2 {
            Letter::decode(bytes.get(..len).unwrap()).unwrap_err();
        }
        let id = LetterId {
            place: Place::Batch {
                chunk: vec![0, 3],
                input: 5,
            },
            ..letter.about.id
        };
        assert_eq!(id.to_string(), "parse/b7/0.3:5");
    }
}
