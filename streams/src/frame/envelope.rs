//! The envelope: the first record of every frame of a named stream.
//!
//! A frame is one request. Its first record says whose it is, at which position, and what it does;
//! the others are the data. After a crash, all or none of them are in the log.
//! `docs/format/streams.md` has the bytes.

use crate::frame::batch::Batch;
use crate::frame::codec::{Bytes, put_bytes, put_number};
use crate::frame::config::Config;
use crate::frame::links::Links;

/// The version that is written, and the only one there is.
const VERSION: u8 = 1;

const CLOSES: u8 = 1;
const HAS_PRODUCER: u8 = 2;
const HAS_SEQUENCE: u8 = 4;
/// A position is a byte, so that weights follow from positions.
const BY_BYTE: u8 = 8;
const HAS_BATCH: u8 = 16;
const KNOWN_FLAGS: u8 = CLOSES | HAS_PRODUCER | HAS_SEQUENCE | BY_BYTE | HAS_BATCH;

/// What a frame does to its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Data = 0,
    /// The first frame of a stream; it may have data.
    Create = 1,
    /// A close without data.
    Close = 2,
    Delete = 3,
    /// Data that was in the log before, at another place.
    Moved = 4,
    /// Of no stream: its LSN is given to a producer as an id.
    Id = 5,
    /// The start of the stream moves on.
    Trim = 6,
}

/// What a producer says of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark<'a> {
    pub(crate) producer: &'a str,
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
}

/// A place in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// Positions before it.
    pub(crate) position: u64,
    /// Bytes of messages before it.
    pub(crate) weight: u64,
}

impl Place {
    pub(crate) fn after(self, length: Self) -> Self {
        Self {
            position: self.position.saturating_add(length.position),
            weight: self.weight.saturating_add(length.weight),
        }
    }
}

/// The first record of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope<'a> {
    pub(crate) kind: Kind,
    /// Number of the stream.
    pub(crate) stream: u64,
    /// Frames of the stream before this one; 0 for [`Kind::Moved`].
    pub(crate) index: u64,
    /// Where its data begins.
    pub(crate) first: Place,
    /// How much data it has.
    pub(crate) length: Place,
    /// What the wall clock showed at the append, in milliseconds since the Unix epoch.
    pub(crate) received_ms: u64,
    /// Earlier frames of the stream.
    pub(crate) links: Links,
    pub(crate) closes: bool,
    pub(crate) mark: Option<Mark<'a>>,
    pub(crate) batch: Option<Batch>,
    pub(crate) stream_sequence: Option<&'a [u8]>,
    /// Of [`Kind::Create`].
    pub(crate) config: Option<Config<'a>>,
    /// Of [`Kind::Trim`]: where the stream starts from now on.
    pub(crate) start: Option<Place>,
}

impl<'a> Envelope<'a> {
    pub(crate) fn end(&self) -> Place {
        self.first.after(self.length)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let by_byte = [Some(self.first), Some(self.length), self.start]
            .into_iter()
            .flatten()
            .all(|place| place.position == place.weight);
        let flag = |is_there, flag| if is_there { flag } else { 0 };
        let flags = flag(self.closes, CLOSES)
            | flag(self.mark.is_some(), HAS_PRODUCER)
            | flag(self.batch.is_some(), HAS_BATCH)
            | flag(self.stream_sequence.is_some(), HAS_SEQUENCE)
            | flag(by_byte, BY_BYTE);
        let mut out = Vec::with_capacity(64);
        out.extend([VERSION, self.kind as u8, flags]);
        put_number(&mut out, self.stream);
        put_number(&mut out, self.index);
        put_number(&mut out, self.received_ms);
        let mut place = |place: Place| {
            put_number(&mut out, place.position);
            if !by_byte {
                put_number(&mut out, place.weight);
            }
        };
        place(self.first);
        place(self.length);
        if let Some(start) = self.start {
            place(start);
        }
        self.links.encode(&mut out);
        if let Some(mark) = &self.mark {
            put_bytes(&mut out, mark.producer.as_bytes());
            put_number(&mut out, mark.epoch);
            put_number(&mut out, mark.sequence);
        }
        if let Some(batch) = &self.batch {
            put_number(&mut out, batch.producer);
            put_number(&mut out, batch.epoch.into());
            put_number(&mut out, batch.first.into());
        }
        if let Some(sequence) = self.stream_sequence {
            put_bytes(&mut out, sequence);
        }
        if let Some(config) = &self.config {
            config.encode(&mut out);
        }
        out
    }

    /// # Errors
    /// What is wrong with the bytes.
    pub(crate) fn decode(record: &'a [u8]) -> Result<Self, String> {
        match record.first() {
            Some(&VERSION) => {}
            Some(version) => {
                return Err(format!(
                    "the envelope of a stream's frame has version {version}, and this program knows {VERSION}: it was written by a newer one, which must be used here"
                ));
            }
            None => return Err("a stream's frame without an envelope".to_owned()),
        }
        let damaged = || "the envelope of a stream's frame is damaged".to_owned();
        Self::decode_version_1(Bytes(record)).ok_or_else(damaged)
    }

    /// `None` if bytes are missing, left over, or not what is written.
    fn decode_version_1(mut bytes: Bytes<'a>) -> Option<Self> {
        bytes.byte()?;
        let kind = match bytes.byte()? {
            0 => Kind::Data,
            1 => Kind::Create,
            2 => Kind::Close,
            3 => Kind::Delete,
            4 => Kind::Moved,
            5 => Kind::Id,
            6 => Kind::Trim,
            _ => return None,
        };
        let flags = bytes.byte()?;
        if flags & !KNOWN_FLAGS != 0 {
            return None;
        }
        let (stream, index, received_ms) = (bytes.number()?, bytes.number()?, bytes.number()?);
        let by_byte = flags & BY_BYTE != 0;
        let place = |bytes: &mut Bytes<'a>| {
            let position = bytes.number()?;
            let weight = if by_byte { position } else { bytes.number()? };
            Some(Place { position, weight })
        };
        let (first, length) = (place(&mut bytes)?, place(&mut bytes)?);
        first.position.checked_add(length.position)?;
        first.weight.checked_add(length.weight)?;
        let start = match kind {
            Kind::Trim => Some(place(&mut bytes)?),
            _ => None,
        };
        let links = Links::decode(&mut bytes)?;
        let mark = match flags & HAS_PRODUCER {
            0 => None,
            _ => Some(Mark {
                producer: bytes.text()?,
                epoch: bytes.number()?,
                sequence: bytes.number()?,
            }),
        };
        let batch = match flags & HAS_BATCH {
            0 => None,
            _ => Some(Batch {
                producer: bytes.number()?,
                epoch: u16::try_from(bytes.number()?).ok()?,
                first: Batch::number(bytes.number()?)?,
            }),
        };
        let stream_sequence = match flags & HAS_SEQUENCE {
            0 => None,
            _ => Some(bytes.bytes()?),
        };
        let config = match kind {
            Kind::Create => Some(Config::decode(&mut bytes)?),
            _ => None,
        };
        bytes.is_empty().then_some(Self {
            kind,
            stream,
            index,
            first,
            length,
            received_ms,
            links,
            closes: flags & CLOSES != 0,
            mark,
            batch,
            stream_sequence,
            config,
            start,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::config::{Fork, Lifetime, Retention};
    use crate::frame::links::Chain;
    use proptest::prelude::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn plain(kind: Kind) -> Envelope<'static> {
        Envelope {
            kind,
            stream: 0x0107,
            index: 3,
            first: Place {
                position: 300,
                weight: 300,
            },
            length: Place {
                position: 5,
                weight: 5,
            },
            received_ms: 1_000,
            links: Chain::begin(4096).links(),
            closes: false,
            mark: None,
            batch: None,
            stream_sequence: None,
            config: None,
            start: None,
        }
    }

    fn create(lifetime: Lifetime) -> Envelope<'static> {
        Envelope {
            config: Some(Config {
                name: "a/b",
                content_type: "text/plain",
                lifetime,
                fork: Some(Fork { parent: 9, base: 4 }),
                retention: Retention {
                    bytes: Some(1),
                    age_ms: None,
                    positions: Some(2),
                },
            }),
            ..plain(Kind::Create)
        }
    }

    fn full() -> Envelope<'static> {
        let weight = 77;
        Envelope {
            closes: true,
            mark: Some(Mark {
                producer: "ab",
                epoch: 1,
                sequence: 200,
            }),
            stream_sequence: Some(b"s"),
            length: Place {
                position: 2,
                weight,
            },
            ..plain(Kind::Data)
        }
    }

    fn batch() -> Envelope<'static> {
        Envelope {
            batch: Some(Batch {
                producer: 4096,
                epoch: 1,
                first: 300,
            }),
            ..plain(Kind::Data)
        }
    }

    #[test]
    fn the_bytes_are_frozen() {
        let data = hex(&plain(Kind::Data).encode());
        assert_eq!(data, "010008870203e807ac020502802080 20".replace(' ', ""));
        let batch = hex(&batch().encode());
        assert_eq!(
            batch,
            "010018870203e807ac0205028020802080 2001ac02".replace(' ', "")
        );
        let full = hex(&full().encode());
        assert_eq!(
            full,
            "010007870203e807ac02ac02024d0280208020026162 01c8010173".replace(' ', "")
        );
        let made = hex(&create(Lifetime::IdleSeconds(60)).encode());
        assert_eq!(
            made,
            "010108870203e807ac020502802080202d03612f620a746578742f706c61696e3c09040102"
        );
    }

    fn all() -> Vec<Envelope<'static>> {
        let text = "2030-01-01T00:00:00Z".to_owned();
        let until = Lifetime::Until { at_ms: 7, text };
        let start = Some(Place {
            position: 1,
            weight: 9,
        });
        vec![
            plain(Kind::Data),
            plain(Kind::Delete),
            plain(Kind::Close),
            plain(Kind::Moved),
            full(),
            batch(),
            create(Lifetime::Unlimited),
            create(until),
            Envelope {
                start,
                ..plain(Kind::Trim)
            },
        ]
    }

    #[test]
    fn envelopes_come_back_and_parts_of_them_do_not() {
        for envelope in all() {
            let bytes = envelope.encode();
            assert_eq!(Envelope::decode(&bytes), Ok(envelope));
            for len in 0..bytes.len() {
                Envelope::decode(&bytes[..len]).unwrap_err();
            }
            Envelope::decode(&[&bytes[..], &[0]].concat()).unwrap_err();
        }
        let newer = Envelope::decode(&[2]).unwrap_err();
        assert!(newer.contains("version 2"), "{newer}");
    }

    proptest! {
        /// What is read is written the same, so no bytes are read that are never written.
        #[test]
        fn changed_bytes_are_refused_or_another_envelope(which in 0..9_usize, at in 0..60_usize, byte: u8) {
            let mut bytes = all()[which].encode();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(envelope) = Envelope::decode(&bytes) {
                let again = envelope.encode();
                let same = Envelope::decode(&again).map(|e| format!("{e:?}"));
                prop_assert_eq!(same, Ok(format!("{envelope:?}")));
            }
        }

        #[test]
        fn any_bytes_are_an_envelope_or_an_error(bytes: Vec<u8>) {
            let with_version = [&[1][..], &bytes].concat();
            for bytes in [bytes, with_version] {
                let _ = Envelope::decode(&bytes);
            }
        }
    }
}
