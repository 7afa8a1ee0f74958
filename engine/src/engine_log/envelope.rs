//! The envelope: the first record of a source's frame.
//!
//! A source's data are batch frames of the source's stream. The first record of the frame is its
//! *envelope*: what the frame holds, and whose it is. The others are the received records; after a
//! crash, all or none of them are in the log. `docs/format/engine.md` has its bytes.
//!
//! Frames of version 1 begin with an empty record or with a MessagePack map of a producer and a
//! sequence number.

use crate::codec::message_pack;
use serde::Deserialize;
use std::sync::Arc;

/// The version that is written.
const VERSION: u8 = 2;

/// Length of the part that every envelope has.
const FIXED: usize = 32;

const HAS_PRODUCER: u8 = 1;
const HAS_KEY: u8 = 2;
const HAS_STREAM_SEQUENCE: u8 = 4;
const KNOWN_FLAGS: u8 = HAS_PRODUCER | HAS_KEY | HAS_STREAM_SEQUENCE;

/// The first byte of an envelope of version 1: a map of two entries.
const MAP_OF_TWO: u8 = 0x82;

/// Longest name of a producer, in bytes.
pub(crate) const MAX_PRODUCER: usize = u16::MAX as usize;

/// What a frame does to its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Records.
    Data = 0,
    Create = 1,
    Close = 2,
    Delete = 3,
    /// Records that were in the log before, at another place.
    Moved = 4,
    Reserve = 5,
}

/// "Everything of `producer` up to `sequence` of `epoch` is in the log."
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) producer: Arc<str>,
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
}

/// A key by which a retry is recognised, and a hash of what was sent with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdempotencyKey {
    pub(crate) key: Vec<u8>,
    pub(crate) body_hash: [u8; 16],
}

/// The first record of a source's frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) kind: Kind,
    /// Number of named streams in one source: 0 where there is only one.
    pub(crate) stream: u64,
    /// How many records of the stream come before this frame. Frames of version 1 have no number.
    pub(crate) first_number: Option<u64>,
    /// Records in the frame. Frames of version 1 do not say.
    pub(crate) count: Option<u32>,
    /// What the wall clock showed when the frame was appended, in milliseconds since the Unix
    /// epoch; 0 for version 1.
    pub(crate) received_ms: u64,
    pub(crate) mark: Option<Mark>,
    pub(crate) key: Option<IdempotencyKey>,
    /// What the sender orders its frames by.
    pub(crate) stream_sequence: Option<Vec<u8>>,
}

impl Envelope {
    /// An envelope of records.
    pub(crate) fn of_data(
        first_number: u64,
        count: u32,
        received_ms: u64,
        mark: Option<Mark>,
    ) -> Self {
        Self {
            kind: Kind::Data,
            stream: 0,
            first_number: Some(first_number),
            count: Some(count),
            received_ms,
            mark,
            key: None,
            stream_sequence: None,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let flag = |is_there, flag| if is_there { flag } else { 0 };
        let flags = flag(self.mark.is_some(), HAS_PRODUCER)
            | flag(self.key.is_some(), HAS_KEY)
            | flag(self.stream_sequence.is_some(), HAS_STREAM_SEQUENCE);
        let mut out = Vec::with_capacity(FIXED + 64);
        out.extend([VERSION, self.kind as u8, flags, 0]);
        out.extend(self.count.unwrap_or(0).to_le_bytes());
        out.extend(self.first_number.unwrap_or(0).to_le_bytes());
        out.extend(self.received_ms.to_le_bytes());
        out.extend(self.stream.to_le_bytes());
        if let Some(mark) = &self.mark {
            out.extend(mark.epoch.to_le_bytes());
            out.extend(mark.sequence.to_le_bytes());
            put(&mut out, mark.producer.as_bytes());
        }
        if let Some(key) = &self.key {
            out.extend(key.body_hash);
            put(&mut out, &key.key);
        }
        if let Some(sequence) = &self.stream_sequence {
            put(&mut out, sequence);
        }
        out
    }

    /// Decodes the first record of a source's frame.
    pub(crate) fn decode(record: Option<&[u8]>) -> Result<Self, String> {
        let record = record.ok_or("a frame without records")?;
        match record.first() {
            None => Ok(Self::of_version_1(None)),
            Some(&MAP_OF_TWO) => {
                let offset: Offset1 = message_pack::decode(record)?;
                Ok(Self::of_version_1(Some(Mark {
                    producer: offset.producer.into(),
                    epoch: 0,
                    sequence: offset.sequence,
                })))
            }
            Some(&VERSION) => Self::decode_version_2(Bytes(record))
                .ok_or("an envelope of a source's frame that is damaged".to_owned())?,
            Some(version) => Err(format!(
                "the envelope of a source's frame has version {version}, and this program knows 1 and {VERSION}: it was written by a newer one, which must be used here"
            )),
        }
    }

    fn of_version_1(mark: Option<Mark>) -> Self {
        Self {
            kind: Kind::Data,
            stream: 0,
            first_number: None,
            count: None,
            received_ms: 0,
            mark,
            key: None,
            stream_sequence: None,
        }
    }

    /// `None` if bytes are missing or left over.
    fn decode_version_2(mut bytes: Bytes<'_>) -> Option<Result<Self, String>> {
        let [_, kind, flags, reserved] = bytes.array()?;
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::Create,
            2 => Kind::Close,
            3 => Kind::Delete,
            4 => Kind::Moved,
            5 => Kind::Reserve,
            kind => return Some(Err(unknown("kind", kind))),
        };
        if flags & !KNOWN_FLAGS != 0 || reserved != 0 {
            return Some(Err(unknown("flags", flags)));
        }
        let count = u32::from_le_bytes(bytes.array()?);
        let first_number = u64::from_le_bytes(bytes.array()?);
        let received_ms = u64::from_le_bytes(bytes.array()?);
        let stream = u64::from_le_bytes(bytes.array()?);
        let mut mark = None;
        if flags & HAS_PRODUCER != 0 {
            let epoch = u64::from_le_bytes(bytes.array()?);
            let sequence = u64::from_le_bytes(bytes.array()?);
            let producer = std::str::from_utf8(bytes.take()?).ok()?.into();
            mark = Some(Mark {
                producer,
                epoch,
                sequence,
            });
        }
        let mut key = None;
        if flags & HAS_KEY != 0 {
            let body_hash = bytes.array()?;
            let bytes = bytes.take()?.to_vec();
            key = Some(IdempotencyKey {
                key: bytes,
                body_hash,
            });
        }
        let stream_sequence = match flags & HAS_STREAM_SEQUENCE {
            0 => None,
            _ => Some(bytes.take()?.to_vec()),
        };
        bytes.0.is_empty().then_some(Ok(Self {
            kind,
            stream,
            first_number: Some(first_number),
            count: Some(count),
            received_ms,
            mark,
            key,
            stream_sequence,
        }))
    }
}

fn unknown(what: &str, value: u8) -> String {
    format!(
        "the envelope of a source's frame has {what} {value}, which this program does not know: it was written by a newer one, which must be used here"
    )
}

/// Length and bytes. What is longer than a length can say is cut off: callers have checked it.
fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend(len.to_le_bytes());
    out.extend(bytes.iter().take(usize::from(len)));
}

/// Bytes that are read from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn take(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(u16::from_le_bytes(self.array()?));
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// The envelope of version 1, where it is not empty.
#[derive(Deserialize)]
struct Offset1 {
    producer: String,
    sequence: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn mark(producer: &str) -> Option<Mark> {
        Some(Mark {
            producer: producer.into(),
            epoch: 3,
            sequence: 0x0102,
        })
    }

    #[test]
    fn envelopes_come_back_and_their_bytes_are_frozen() {
        let plain = Envelope::of_data(7, 2, 1_000, None);
        assert_eq!(
            hex(&plain.encode()),
            "02000000020000000700000000000000e8030000000000000000000000000000"
        );
        let marked = Envelope::of_data(0, 1, 0, mark("ab"));
        assert_eq!(
            hex(&marked.encode()).get(2 * FIXED..).unwrap(),
            "0300000000000000020100000000000002006162"
        );
        let full = Envelope {
            kind: Kind::Moved,
            stream: u64::MAX,
            key: Some(IdempotencyKey {
                key: b"key".to_vec(),
                body_hash: [9; 16],
            }),
            stream_sequence: Some(Vec::new()),
            ..Envelope::of_data(u64::MAX, u32::MAX, u64::MAX, mark(""))
        };
        for envelope in [plain, marked, full] {
            let bytes = envelope.encode();
            assert_eq!(Envelope::decode(Some(&bytes)), Ok(envelope));
            for len in 1..bytes.len() {
                Envelope::decode(bytes.get(..len)).unwrap_err();
            }
            let longer = [bytes.as_slice(), &[0]].concat();
            Envelope::decode(Some(&longer)).unwrap_err();
        }
    }

    #[test]
    fn headers_of_version_1_are_read() {
        #[derive(serde::Serialize)]
        struct Old {
            producer: &'static str,
            sequence: u64,
        }
        let (producer, sequence) = ("client", u64::MAX);
        let old = message_pack::encode(&Old { producer, sequence }).unwrap();
        let found = Envelope::decode(Some(&old)).unwrap();
        let expected = Mark {
            producer: producer.into(),
            epoch: 0,
            sequence,
        };
        assert_eq!((found.mark, found.first_number), (Some(expected), None));
        assert_eq!(Envelope::decode(Some(&[])).unwrap().mark, None);
    }

    #[test]
    fn what_is_newer_or_damaged_is_an_error() {
        Envelope::decode(None).unwrap_err();
        let newer = Envelope::decode(Some(&[3])).unwrap_err();
        assert!(newer.contains("version 3"), "{newer}");
        for (at, what) in [(1, "kind 200"), (2, "flags 200"), (3, "flags 0")] {
            let mut bytes = Envelope::of_data(0, 0, 0, None).encode();
            *bytes.get_mut(at).unwrap() = 200;
            let error = Envelope::decode(Some(&bytes)).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
