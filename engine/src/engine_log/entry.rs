//! The engine's own records in the log: control records of stream 0.
//!
//! A record of version 2 is a byte that says so, then a MessagePack map with named fields. A record
//! of version 1 is the map alone, whose first byte is that of a map with one entry.

use crate::codec::message_pack;
use crate::engine_log::cut::CutRecord;
use crate::engine_log::program::Program;
use crate::refused::lists::{Refused, RefusedBy};
use highwater_wal::{Lsn, StreamId, Wal};
use serde::{Deserialize, Serialize};

/// The stream of the engine's own records.
pub(crate) const ENGINE: StreamId = StreamId(0);

/// The version of the records that are written.
pub(crate) const VERSION: u8 = 2;

/// The first byte of a record of version 1.
const MAP_OF_ONE: u8 = 0x81;

/// An engine record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// Who writes here. The first entry of a log, and again whenever it changes.
    Program(Program),
    /// The end of a batch's input.
    Cut(CutRecord),
    /// Every output of the batch has staged it.
    Committed(Committed),
    /// Every output of the batch has published its parts.
    Published(Published),
    /// A part of what a batch has refused that is too long for `Committed`. It counts if that names
    /// it.
    Refused(RefusedPart),
}

/// Every output of a batch has published its parts: if one is not where it was published, another
/// program has moved it. Written only for a batch with parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Published {
    pub(crate) batch: u64,
}

/// Every output of a batch has staged it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    pub(crate) batch: u64,
    /// What each output must be given to publish: all parts, and no others. `None` if no output of
    /// the program has parts, and in records of the version that had no lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tokens: Option<Vec<Token>>,
    /// Names of outputs that were not called: those of windows, where none ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) uncalled: Vec<String>,
    /// Records that were left out because an operator refused them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) skips: Vec<RefusedBy>,
    /// Records that were put aside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) dead_letters: Vec<RefusedBy>,
    /// Where the rest of both lists is, as entries before this one. Others of the same batch are of
    /// attempts that were not committed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) refused_at: Vec<Lsn>,
}

/// A part of what a batch has refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefusedPart {
    pub(crate) batch: u64,
    pub(crate) refused: Refused,
}

/// What an output has staged of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    /// Name of the output.
    pub(crate) output: String,
    /// Which of the workers' parts.
    pub(crate) part: u32,
    pub(crate) token: Vec<u8>,
}

/// The records of version 1, as far as they differ.
#[derive(Deserialize)]
enum Entry1 {
    Program(Program),
    Cut {
        batch: u64,
        time_ms: u64,
        from: Lsn,
        #[serde(default)]
        to: Option<Lsn>,
    },
    Committed {
        batch: u64,
    },
}

impl From<Entry1> for Entry {
    fn from(entry: Entry1) -> Self {
        match entry {
            Entry1::Program(program) => Self::Program(program),
            Entry1::Cut {
                batch,
                time_ms,
                from,
                to,
            } => Self::Cut(CutRecord {
                batch,
                tick_ms: time_ms,
                interval_ms: 0, // not known: recovery fills it in, and the zero
                zero_ms: 0,
                wall_ms: time_ms,
                part: 0,
                more_parts: false,
                restarted: false,
                from,
                to,
                empty: Vec::new(),
                sources: Vec::new(),
            }),
            Entry1::Committed { batch } => Self::Committed(Committed {
                batch,
                ..Committed::default()
            }),
        }
    }
}

/// Encodes an engine record.
pub(crate) fn encode(entry: &Entry) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    message_pack::encode_into(entry, &mut bytes).expect("engine records serialise");
    bytes
}

/// Appends an engine record; not durable yet.
pub(crate) fn append(wal: &Wal, entry: &Entry) -> Result<Lsn, highwater_wal::WalError> {
    wal.append_control(ENGINE, encode(entry))
}

/// Decodes an engine record, with its version.
pub(crate) fn decode(payload: &[u8]) -> Result<(u8, Entry), String> {
    match payload.split_first() {
        Some((&VERSION, map)) => Ok((VERSION, message_pack::decode(map)?)),
        Some((&MAP_OF_ONE, _)) => Ok((1, message_pack::decode::<Entry1>(payload)?.into())),
        Some((version @ 0..=127, _)) => Err(format!(
            "its version is {version}, and this program knows 1 and {VERSION}: it was written by a newer one, which must be used here"
        )),
        Some(_) => Err("it does not begin with a version".to_owned()),
        None => Err("it is empty".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refused::noted::Noted;
    use crate::refused::place::Place;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn cut() -> CutRecord {
        CutRecord {
            batch: 3,
            tick_ms: 2_000,
            interval_ms: 1_000,
            zero_ms: 0,
            wall_ms: 2_001,
            part: 0,
            more_parts: false,
            restarted: false,
            from: Lsn::new(64),
            to: None,
            empty: Vec::new(),
            sources: Vec::new(),
        }
    }

    #[test]
    fn records_come_back_and_their_bytes_are_frozen() {
        let committed = Entry::Committed(Committed {
            batch: 7,
            ..Committed::default()
        });
        assert_eq!(
            hex(&encode(&committed)),
            "0281a9436f6d6d697474656481a5626174636807"
        );
        let noted = Noted {
            operator: 0,
            place: Place::Log {
                lsn: Lsn::new(8),
                index: 1,
                input: 0,
            },
            letter: None,
        };
        let refused = Refused::of(&[noted], |_| "map").unwrap();
        let full = Entry::Committed(Committed {
            batch: 7,
            tokens: Some(vec![Token {
                output: "out".to_owned(),
                part: 1,
                token: vec![1, 2],
            }]),
            uncalled: vec!["hourly".to_owned()],
            skips: refused.skips.clone(),
            dead_letters: Vec::new(),
            refused_at: vec![Lsn::new(8)],
        });
        let part = Entry::Refused(RefusedPart { batch: 7, refused });
        for entry in [
            committed,
            full,
            part,
            Entry::Cut(cut()),
            Entry::Program(Program::default()),
            Entry::Committed(Committed {
                batch: 8,
                tokens: Some(Vec::new()),
                ..Committed::default()
            }),
            Entry::Published(Published { batch: 8 }),
        ] {
            assert_eq!(decode(&encode(&entry)), Ok((2, entry)));
        }
        assert_eq!(
            hex(&encode(&Entry::Cut(cut()))),
            "0281a343757486a5626174636803a77469636b5f6d73cd07d0ab696e74657276616c5f6d73cd03e8a77a65726f5f6d7300a777616c6c5f6d73cd07d1a466726f6d40"
        );
    }

    /// As the first version wrote them.
    #[test]
    fn records_of_version_1_are_read() {
        #[derive(Serialize)]
        enum Old {
            Cut {
                batch: u64,
                time_ms: u64,
                from: Lsn,
                #[serde(skip_serializing_if = "Option::is_none")]
                to: Option<Lsn>,
            },
            Committed {
                batch: u64,
            },
        }
        let old = |entry: &Old| decode(&message_pack::encode(entry).unwrap());
        let to = Some(Lsn::new(72));
        let (version, entry) = old(&Old::Cut {
            batch: 3,
            time_ms: 2_000,
            from: Lsn::new(64),
            to,
        })
        .unwrap();
        let expected = CutRecord {
            interval_ms: 0,
            wall_ms: 2_000,
            to,
            ..cut()
        };
        assert_eq!((version, entry), (1, Entry::Cut(expected)));
        let committed = old(&Old::Committed { batch: 9 }).unwrap();
        let batch = Committed {
            batch: 9,
            ..Committed::default()
        };
        assert_eq!(committed, (1, Entry::Committed(batch)));
    }

    #[test]
    fn a_newer_version_is_named_and_everything_else_refused() {
        let newer = decode(&[3, 0x81]).unwrap_err();
        assert!(
            newer.contains("version is 3") && newer.contains("newer"),
            "{newer}"
        );
        for damaged in [&[][..], &[0xc0], &[2], &[2, 0x81], &[2, 0x80, 0]] {
            decode(damaged).unwrap_err();
        }
    }
}
