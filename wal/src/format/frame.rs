//! Frames: encoding, and checking before anything is believed.

use crate::format::codec::Zstd;
use crate::format::layout::{
    FRAME_HEADER_SIZE, MAGIC, MAX_SEGMENT_SIZE, MIN_SEGMENT_SIZE, SEGMENT_ALIGNMENT,
    SEGMENT_VERSION, flag, frame_header, frame_size, kind, segment_header, to_usize,
};
use crate::lsn::StreamId;
use crc32c::{crc32c, crc32c_append};
use std::fmt;

/// The identity of a log, which goes into every checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogKey {
    pub(crate) id: u128,
    /// CRC state after the id, so that checking a header costs 16 bytes.
    seed: u32,
}

impl LogKey {
    pub(crate) fn new(id: u128) -> Self {
        Self {
            id,
            seed: crc32c(&id.to_le_bytes()),
        }
    }
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrameKind {
    /// One record.
    Data,
    /// Several records, all or none.
    Batch,
    /// One record of the engine, opaque to the log.
    Control,
    /// The durable LSN: everything below was durable when the frame was written.
    DurableLsn,
    /// Ends a segment.
    Seal,
    /// The log was closed cleanly here.
    Close,
    /// Fills room and means nothing.
    Padding,
    /// The durable LSN, and the time when it was written.
    DurableAt,
    /// Takes records back: see [`Wal::void`](crate::Wal::void).
    Void,
    /// How far a named consumer has come: see [`Wal::cursor`](crate::Wal::cursor).
    Cursor,
}

impl fmt::Display for FrameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Data => "data",
            Self::Batch => "batch",
            Self::Control => "control",
            Self::DurableLsn => "durable-lsn",
            Self::Seal => "seal",
            Self::Close => "close",
            Self::Padding => "padding",
            Self::DurableAt => "durable-at",
            Self::Void => "void",
            Self::Cursor => "cursor",
        })
    }
}

impl FrameKind {
    /// Whether it is one of the user's, not of the log's own.
    pub(crate) fn holds_records(self) -> bool {
        matches!(self, Self::Data | Self::Batch | Self::Control)
    }

    /// Whether it says something about the log that stays true after it: a [`Mark`].
    ///
    /// [`Mark`]: crate::format::mark::Mark
    pub(crate) fn is_mark(self) -> bool {
        matches!(self, Self::Void | Self::Cursor)
    }

    /// Whether it says when something was durable.
    pub(crate) fn has_time(self) -> bool {
        self == Self::DurableAt
    }

    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Data => kind::DATA,
            Self::Batch => kind::BATCH,
            Self::Control => kind::CONTROL,
            Self::DurableLsn => kind::DURABLE_LSN,
            Self::Seal => kind::SEAL,
            Self::Close => kind::CLOSE,
            Self::Padding => kind::PADDING,
            Self::DurableAt => kind::DURABLE_AT,
            Self::Void => kind::VOID,
            Self::Cursor => kind::CURSOR,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            kind::DATA => Self::Data,
            kind::BATCH => Self::Batch,
            kind::CONTROL => Self::Control,
            kind::DURABLE_LSN => Self::DurableLsn,
            kind::SEAL => Self::Seal,
            kind::CLOSE => Self::Close,
            kind::PADDING => Self::Padding,
            kind::DURABLE_AT => Self::DurableAt,
            kind::VOID => Self::Void,
            kind::CURSOR => Self::Cursor,
            _ => return None,
        })
    }
}

/// How a payload is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is.
    Plain,
    /// A batch, compressed.
    Zstd(Zstd),
}

/// Kind and flags of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    kind: FrameKind,
    encoding: Encoding,
}

impl Tag {
    /// Of a compressed batch.
    pub(crate) fn compressed(zstd: Zstd) -> Self {
        Self {
            kind: FrameKind::Batch,
            encoding: Encoding::Zstd(zstd),
        }
    }

    /// `None` if it is a newer version's, or compressed and this build cannot undo that.
    fn from_bytes(kind: u8, flags: u8) -> Option<Self> {
        let kind = FrameKind::from_byte(kind)?;
        let encoding = match (flags, kind) {
            (0, _) => Encoding::Plain,
            (flag::ZSTD, FrameKind::Batch) => Encoding::Zstd(Zstd::here()?),
            _ => return None,
        };
        Some(Self { kind, encoding })
    }

    fn to_bytes(self) -> [u8; 2] {
        let flags = match self.encoding {
            Encoding::Plain => 0,
            Encoding::Zstd(_) => flag::ZSTD,
        };
        [self.kind.to_byte(), flags]
    }
}

impl From<&FrameHeader> for Tag {
    fn from(header: &FrameHeader) -> Self {
        Self {
            kind: header.kind,
            encoding: header.encoding,
        }
    }
}

impl From<FrameKind> for Tag {
    fn from(kind: FrameKind) -> Self {
        Self {
            kind,
            encoding: Encoding::Plain,
        }
    }
}

/// A frame's header, once its checksum was found right for its place in the log. Kind and flags may
/// be those of a newer version: see [`Self::known`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawHeader {
    pub(crate) payload_len: u32,
    kind: u8,
    flags: u8,
    pub(crate) stream: StreamId,
    crc: u32,
}

/// The header of a frame that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    payload_len: u32,
    pub(crate) kind: FrameKind,
    pub(crate) encoding: Encoding,
    pub(crate) stream: StreamId,
}

/// A header in bytes.
pub(crate) type HeaderBytes = [u8; frame_header::END];

impl FrameHeader {
    /// Bytes of the whole frame, padding included.
    pub(crate) fn frame_size(&self) -> u64 {
        frame_size(u64::from(self.payload_len))
    }

    pub(crate) fn payload_size(&self) -> usize {
        to_usize(u64::from(self.payload_len))
    }

    /// Where the next frame starts if this one starts at `offset` of a segment of `size` bytes.
    pub(crate) fn next_offset(&self, offset: u64, size: u64) -> u64 {
        if self.kind == FrameKind::Seal {
            size
        } else {
            offset + self.frame_size()
        }
    }
}

impl RawHeader {
    /// Bytes of the whole frame, padding included.
    pub(crate) fn frame_size(&self) -> u64 {
        frame_size(u64::from(self.payload_len))
    }

    /// The header, unless a newer version wrote it, or one with features that this build lacks.
    pub(crate) fn known(&self) -> Option<FrameHeader> {
        let Tag { kind, encoding } = Tag::from_bytes(self.kind, self.flags)?;
        Some(FrameHeader {
            payload_len: self.payload_len,
            kind,
            encoding,
            stream: self.stream,
        })
    }

    /// Reads the header at `lsn`, `room` bytes before the end of its segment. `None` if
    /// there is none: the bytes are zero, damaged, of another place or log, or the frame would not
    /// fit.
    pub(crate) fn parse(bytes: &HeaderBytes, key: &LogKey, lsn: u64, room: u64) -> Option<Self> {
        let [kind] = field(bytes, frame_header::KIND);
        let payload_len = u32::from_le_bytes(field(bytes, frame_header::PAYLOAD_LEN));
        if kind == 0 || frame_size(u64::from(payload_len)) > room {
            return None;
        }
        let stored = u32::from_le_bytes(field(bytes, frame_header::HEADER_CRC));
        if header_crc(key, lsn, &keyed_fields(bytes)) != stored {
            return None;
        }
        Some(Self {
            payload_len,
            kind,
            flags: field::<1>(bytes, frame_header::FLAGS)[0],
            stream: StreamId(u16::from_le_bytes(field(bytes, frame_header::STREAM))),
            crc: u32::from_le_bytes(field(bytes, frame_header::CRC)),
        })
    }

    /// Whether this frame, `room` bytes before the end of its segment, leaves room for another
    /// header, or none at all. Every frame that is written does, but a seal, which fills the rest.
    pub(crate) fn leaves_room(&self, room: u64) -> bool {
        let left = room - self.frame_size();
        !(1..FRAME_HEADER_SIZE).contains(&left) || self.kind == kind::SEAL
    }

    /// True if `payload` is what was written with this header at `lsn`.
    pub(crate) fn matches(&self, payload: &[u8], key: &LogKey, lsn: u64) -> bool {
        let fields = pack_fields(self.payload_len, self.kind, self.flags, self.stream);
        payload_crc(crc32c(payload), key, lsn, &fields) == self.crc
    }
}

/// Encodes the header of a frame whose payload has the checksum `body_crc`, once its LSN is known.
pub(crate) fn encode_header(
    tag: impl Into<Tag>,
    stream: StreamId,
    payload_len: u32,
    body_crc: u32,
    key: &LogKey,
    lsn: u64,
) -> HeaderBytes {
    let [kind, flags] = tag.into().to_bytes();
    let fields = pack_fields(payload_len, kind, flags, stream);
    let [len @ .., k, flags, s0, s1] = fields;
    let [c0, c1, c2, c3] = payload_crc(body_crc, key, lsn, &fields).to_le_bytes();
    let [h0, h1, h2, h3] = header_crc(key, lsn, &fields).to_le_bytes();
    let [l0, l1, l2, l3] = len;
    [
        l0, l1, l2, l3, c0, c1, c2, c3, k, flags, s0, s1, h0, h1, h2, h3,
    ]
}

/// The fields that both checksums cover, packed: length, kind, flags, stream.
type Fields = [u8; 8];

fn pack_fields(payload_len: u32, kind: u8, flags: u8, stream: StreamId) -> Fields {
    let [l0, l1, l2, l3] = payload_len.to_le_bytes();
    let [s0, s1] = stream.0.to_le_bytes();
    [l0, l1, l2, l3, kind, flags, s0, s1]
}

fn keyed_fields(bytes: &HeaderBytes) -> Fields {
    let [l0, l1, l2, l3, _, _, _, _, kind, flags, s0, s1, ..] = *bytes;
    [l0, l1, l2, l3, kind, flags, s0, s1]
}

fn header_crc(key: &LogKey, lsn: u64, fields: &Fields) -> u32 {
    let mut place = [0; 16];
    let (position, rest) = place.split_at_mut(8);
    position.copy_from_slice(&lsn.to_le_bytes());
    rest.copy_from_slice(fields);
    crc32c_append(key.seed, &place)
}

/// Continues the payload's checksum over the key, so that the long part is computed before the LSN
/// is known.
fn payload_crc(body_crc: u32, key: &LogKey, lsn: u64, fields: &Fields) -> u32 {
    let mut place = [0; 32];
    let (id, rest) = place.split_at_mut(16);
    let (position, rest) = rest.split_at_mut(8);
    id.copy_from_slice(&key.id.to_le_bytes());
    position.copy_from_slice(&lsn.to_le_bytes());
    rest.copy_from_slice(fields);
    crc32c_append(body_crc, &place)
}

/// `N` bytes at `offset` of a header.
fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes
        .get(offset..offset + N)
        .and_then(|slice| slice.try_into().ok())
        .expect("field offsets lie inside the header, by the const assertions of the layout")
}

/// The durable LSN and the time, in milliseconds since the Unix epoch, of a record that has both.
pub(crate) fn durable_at_in(kind: FrameKind, payload: &[u8]) -> Option<(u64, u64)> {
    let (durable, time) = payload.split_first_chunk()?;
    let time = time.try_into().ok()?;
    let both = (u64::from_le_bytes(*durable), u64::from_le_bytes(time));
    kind.has_time().then_some(both)
}

/// The durable LSN that a durable-LSN record or a close frame holds.
pub(crate) fn durable_lsn_in(kind: FrameKind, payload: &[u8]) -> Option<u64> {
    match kind {
        FrameKind::DurableLsn | FrameKind::Close => payload.try_into().ok().map(u64::from_le_bytes),
        FrameKind::DurableAt => durable_at_in(kind, payload).map(|(durable, _)| durable),
        FrameKind::Data
        | FrameKind::Batch
        | FrameKind::Control
        | FrameKind::Seal
        | FrameKind::Padding
        | FrameKind::Void
        | FrameKind::Cursor => None,
    }
}

/// The fields of a segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) log_id: u128,
    pub(crate) base: u64,
    pub(crate) size: u64,
}

/// Why a segment's header is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadHeader {
    Magic,
    Checksum,
    Size,
    Newer(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; segment_header::END] {
        let mut bytes = [0; segment_header::END];
        let mut put = |offset: usize, value: &[u8]| {
            let end = offset + value.len();
            bytes
                .get_mut(offset..end)
                .expect("field offsets lie inside the header")
                .copy_from_slice(value);
        };
        put(segment_header::MAGIC, &MAGIC);
        put(segment_header::VERSION, &SEGMENT_VERSION.to_le_bytes());
        put(segment_header::LOG_ID, &self.log_id.to_le_bytes());
        put(segment_header::BASE, &self.base.to_le_bytes());
        put(segment_header::SIZE, &self.size.to_le_bytes());
        let crc = crc32c(bytes.split_at(segment_header::CRC).0);
        let end = segment_header::END;
        bytes
            .get_mut(segment_header::CRC..end)
            .expect("the checksum ends the header")
            .copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn parse(bytes: &[u8; segment_header::END]) -> Result<Self, BadHeader> {
        if field::<8>(bytes, segment_header::MAGIC) != MAGIC {
            return Err(BadHeader::Magic);
        }
        let crc = u32::from_le_bytes(field(bytes, segment_header::CRC));
        if crc32c(bytes.split_at(segment_header::CRC).0) != crc {
            return Err(BadHeader::Checksum);
        }
        let version = u32::from_le_bytes(field(bytes, segment_header::VERSION));
        if version > SEGMENT_VERSION {
            return Err(BadHeader::Newer(version));
        }
        let size = u64::from_le_bytes(field(bytes, segment_header::SIZE));
        let fits = (MIN_SEGMENT_SIZE..=MAX_SEGMENT_SIZE).contains(&size);
        if !fits || !size.is_multiple_of(SEGMENT_ALIGNMENT) {
            return Err(BadHeader::Size);
        }
        Ok(Self {
            log_id: u128::from_le_bytes(field(bytes, segment_header::LOG_ID)),
            base: u64::from_le_bytes(field(bytes, segment_header::BASE)),
            size,
        })
    }
}

/// The error text of a frame that is not known.
impl fmt::Display for RawHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, flags, .. } = self;
        if (*kind, *flags) == (kind::BATCH, flag::ZSTD) {
            return f.write_str(
                "an intact batch that is compressed with zstd, which this program was built without; build it with the feature `zstd` of highwater-wal",
            );
        }
        write!(
            f,
            "an intact frame of kind {kind} with flags {flags:#04x}, which this version does not know; use the one that wrote the log"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_header_reads_back_and_notices_damage() {
        let header = SegmentHeader {
            log_id: 5,
            base: 1 << 40,
            size: MIN_SEGMENT_SIZE,
        };
        let good = header.encode();
        assert_eq!(SegmentHeader::parse(&good), Ok(header));
        for byte in 0..good.len() {
            let mut bytes = good;
            bytes[byte] ^= 1;
            assert!(SegmentHeader::parse(&bytes).is_err(), "byte {byte}");
        }
    }
}
