//! What a stream is created with.

use crate::frame::codec::{Bytes, put_bytes, put_number};

/// How much of a stream is kept. What is older is given up, whole appends at a time, and its
/// positions are gone. `None` sets no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Bytes of messages.
    pub bytes: Option<u64>,
    /// Age since the append, in milliseconds.
    pub age_ms: Option<u64>,
    /// Positions: messages of a JSON stream, bytes of another one.
    pub positions: Option<u64>,
}

impl Retention {
    /// Whether it sets no bound.
    #[must_use]
    pub fn is_unbounded(&self) -> bool {
        *self == Self::default()
    }
}

/// When a stream ends by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Lifetime {
    /// Never.
    #[default]
    Unlimited,
    /// So many seconds after it was last read or written.
    IdleSeconds(u64),
    /// At a point in time.
    Until {
        /// Milliseconds since the Unix epoch.
        at_ms: u64,
        /// As the client wrote it.
        text: String,
    },
}

/// What a fork shares with its source: everything before `base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fork {
    /// Number of the source.
    pub(crate) parent: u64,
    /// First position that is the fork's own.
    pub(crate) base: u64,
}

/// What a stream is created with, as its first frame has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config<'a> {
    pub(crate) name: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) lifetime: Lifetime,
    pub(crate) fork: Option<Fork>,
    pub(crate) retention: Retention,
}

const IDLE: u8 = 1;
const UNTIL: u8 = 2;
const FORK: u8 = 4;
const KEEP_BYTES: u8 = 8;
const KEEP_AGE: u8 = 16;
const KEEP_POSITIONS: u8 = 32;
const KNOWN: u8 = 63;

impl<'a> Config<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let keep = &self.retention;
        let flag = |is_there, flag| if is_there { flag } else { 0 };
        let life = match self.lifetime {
            Lifetime::Unlimited => 0,
            Lifetime::IdleSeconds(_) => IDLE,
            Lifetime::Until { .. } => UNTIL,
        };
        out.push(
            life | flag(self.fork.is_some(), FORK)
                | flag(keep.bytes.is_some(), KEEP_BYTES)
                | flag(keep.age_ms.is_some(), KEEP_AGE)
                | flag(keep.positions.is_some(), KEEP_POSITIONS),
        );
        put_bytes(out, self.name.as_bytes());
        put_bytes(out, self.content_type.as_bytes());
        match &self.lifetime {
            Lifetime::Unlimited => {}
            Lifetime::IdleSeconds(seconds) => put_number(out, *seconds),
            Lifetime::Until { at_ms, text } => {
                put_number(out, *at_ms);
                put_bytes(out, text.as_bytes());
            }
        }
        if let Some(Fork { parent, base }) = self.fork {
            put_number(out, parent);
            put_number(out, base);
        }
        for bound in [keep.bytes, keep.age_ms, keep.positions]
            .into_iter()
            .flatten()
        {
            put_number(out, bound);
        }
    }

    /// `None` if the bytes are not what [`Self::encode`] writes.
    pub(crate) fn decode(bytes: &mut Bytes<'a>) -> Option<Self> {
        let flags = bytes.byte()?;
        if flags & !KNOWN != 0 || flags & (IDLE | UNTIL) == IDLE | UNTIL {
            return None;
        }
        let name = bytes.text()?;
        let content_type = bytes.text()?;
        let lifetime = match flags & (IDLE | UNTIL) {
            0 => Lifetime::Unlimited,
            IDLE => Lifetime::IdleSeconds(bytes.number()?),
            _ => Lifetime::Until {
                at_ms: bytes.number()?,
                text: bytes.text()?.to_owned(),
            },
        };
        let fork = match flags & FORK {
            0 => None,
            _ => Some(Fork {
                parent: bytes.number()?,
                base: bytes.number()?,
            }),
        };
        let mut bound = |flag| match flags & flag {
            0 => Some(None),
            _ => bytes.number().map(Some),
        };
        let retention = Retention {
            bytes: bound(KEEP_BYTES)?,
            age_ms: bound(KEEP_AGE)?,
            positions: bound(KEEP_POSITIONS)?,
        };
        Some(Self {
            name,
            content_type,
            lifetime,
            fork,
            retention,
        })
    }
}
