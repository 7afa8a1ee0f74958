//! The byte layout of format versions 1 and 2. This is its one copy; `docs/format/wal.md` explains
//! it.
//!
//! All numbers are little-endian. A segment file is a header page followed by frames; a frame
//! starts at a multiple of 8 and its LSN is the segment's base plus its offset in the file.

use crate::lsn::Lsn;

/// The newest format version that this program reads. It writes it where a log uses a feature that
/// version 1 does not have, and version 1 otherwise.
pub const FORMAT_VERSION: u32 = 2;
/// The version in the headers of segments: version 2 has the same segments, and more kinds of
/// frames.
pub const SEGMENT_VERSION: u32 = 1;

/// The file that says which log a directory holds.
pub const META_NAME: &str = "LOG";
/// Prepared in advance so that replacing [`META_NAME`] needs no space on a full disk.
pub const META_TMP_NAME: &str = "LOG.tmp";
/// The size of [`META_NAME`] is a multiple of this. It is padded with spaces.
pub const META_SIZE: usize = 4096;
/// [`META_NAME`] is never longer.
pub const MAX_META_SIZE: usize = 1 << 20;
/// Holds the pid of the process that has the log open; the lock itself is on the directory.
pub const LOCK_NAME: &str = "LOCK";
/// Extension of segment files; the name is the base LSN in [`NAME_DIGITS`] decimal digits.
pub const SEGMENT_EXTENSION: &str = "wal";
/// Decimal digits in a segment's name: enough for any `u64`.
pub const NAME_DIGITS: usize = 20;
/// Suffix of the name of a segment that is still being made.
pub const TMP_SUFFIX: &str = ".tmp";

/// Bases are below this, so that no position computed from one can overflow: 8 EiB are never
/// reached by writing.
pub const MAX_BASE: u64 = 1 << 63;

/// First bytes of a segment.
pub const MAGIC: [u8; 8] = *b"HWATWAL\0";
/// Bytes before the first frame of a segment: a page, so that headers and frames never share a
/// sector.
pub const SEGMENT_HEADER_SIZE: u64 = 4096;
/// Segment sizes are multiples of this.
pub const SEGMENT_ALIGNMENT: u64 = 4096;
/// The smallest segment: the header and one page of frames.
pub const MIN_SEGMENT_SIZE: u64 = 2 * SEGMENT_ALIGNMENT;
/// The largest segment: what a `u32` length can fill.
pub const MAX_SEGMENT_SIZE: u64 = 1 << 31;

/// Offsets of the segment header's fields. Bytes 0-51 keep their place in every future version.
pub mod segment_header {
    /// [`super::MAGIC`], 8 bytes.
    pub const MAGIC: usize = 0;
    /// [`super::SEGMENT_VERSION`], `u32`.
    pub const VERSION: usize = 8;
    /// Reserved, zero, `u32`.
    pub const FLAGS: usize = 12;
    /// Random identity of the log, 16 bytes.
    pub const LOG_ID: usize = 16;
    /// LSN of the file's first byte, `u64`.
    pub const BASE: usize = 32;
    /// Size of the file in bytes, `u64`.
    pub const SIZE: usize = 40;
    /// CRC-32C of bytes 0-47, `u32`.
    pub const CRC: usize = 48;
    /// Bytes that hold something; the rest of the page is zero.
    pub const END: usize = 52;
}

const _: () = assert!(segment_header::MAGIC + MAGIC.len() == segment_header::VERSION);
const _: () = assert!(segment_header::VERSION + 4 == segment_header::FLAGS);
const _: () = assert!(segment_header::FLAGS + 4 == segment_header::LOG_ID);
const _: () = assert!(segment_header::LOG_ID + 16 == segment_header::BASE);
const _: () = assert!(segment_header::BASE + 8 == segment_header::SIZE);
const _: () = assert!(segment_header::SIZE + 8 == segment_header::CRC);
const _: () = assert!(segment_header::CRC + 4 == segment_header::END);
const _: () = assert!((segment_header::END as u64) < SEGMENT_HEADER_SIZE);

/// Frames start at multiples of this.
pub const FRAME_ALIGNMENT: u64 = 8;
/// Bytes before the payload of a frame.
pub const FRAME_HEADER_SIZE: u64 = 16;

/// Offsets of the frame header's fields.
pub mod frame_header {
    /// Length of the payload without padding, `u32`.
    pub const PAYLOAD_LEN: usize = 0;
    /// CRC-32C of payload, log id, LSN and bytes 0-3 and 8-11 of the header, `u32`.
    pub const CRC: usize = 4;
    /// [`super::kind`], `u8`.
    pub const KIND: usize = 8;
    /// Bits of [`super::flag`].
    pub const FLAGS: usize = 9;
    /// The stream of the records, `u16`.
    pub const STREAM: usize = 10;
    /// CRC-32C of log id, LSN and bytes 0-3 and 8-11 of the header, `u32`.
    pub const HEADER_CRC: usize = 12;
    /// Size of the header.
    pub const END: usize = 16;
}

const _: () = assert!(frame_header::PAYLOAD_LEN + 4 == frame_header::CRC);
const _: () = assert!(frame_header::CRC + 4 == frame_header::KIND);
const _: () = assert!(frame_header::KIND + 1 == frame_header::FLAGS);
const _: () = assert!(frame_header::FLAGS + 1 == frame_header::STREAM);
const _: () = assert!(frame_header::STREAM + 2 == frame_header::HEADER_CRC);
const _: () = assert!(frame_header::HEADER_CRC + 4 == frame_header::END);
const _: () = assert!(frame_header::END as u64 == FRAME_HEADER_SIZE);
const _: () = assert!(FRAME_HEADER_SIZE.is_multiple_of(FRAME_ALIGNMENT));
const _: () = assert!(SEGMENT_HEADER_SIZE.is_multiple_of(FRAME_ALIGNMENT));

/// Values of the frame header's kind. Zero is no kind, so zeros are never a frame.
pub mod kind {
    /// One record.
    pub const DATA: u8 = 1;
    /// Several records, all or none: `u32` count, then `u32` length and bytes of each.
    pub const BATCH: u8 = 2;
    /// One record of the engine, opaque to the log.
    pub const CONTROL: u8 = 3;
    /// The durable LSN, a `u64`: everything below was durable when the frame was written.
    pub const DURABLE_LSN: u8 = 4;
    /// Ends a segment: nothing after it in this file counts. No payload.
    pub const SEAL: u8 = 5;
    /// The log was closed cleanly. Its payload is the durable LSN: everything below itself.
    pub const CLOSE: u8 = 6;
    /// Fills room: readers skip it, its payload means nothing.
    pub const PADDING: u8 = 7;
    /// The durable LSN and when it was written: two `u64`, the second in milliseconds since the
    /// Unix epoch.
    pub const DURABLE_AT: u8 = 8;
    /// The records whose frames start in a range count no more: `u64` from, `u64` to.
    pub const VOID: u8 = 9;
    /// How far a named consumer has come: `u64` position, all ones if it was removed; then its name
    /// in UTF-8.
    pub const CURSOR: u8 = 10;
}

/// Bits of the frame header's flags. A reader that does not know one of them refuses the log.
pub mod flag {
    /// Of a [`kind::BATCH`](super::kind::BATCH) alone: its payload is the length of what a batch
    /// would hold, `u32`, and that as one zstd frame.
    pub const ZSTD: u8 = 1;
}

/// Payload of [`kind::DURABLE_LSN`] and [`kind::CLOSE`].
pub const DURABLE_LSN_SIZE: u64 = 8;
/// Payload of [`kind::DURABLE_AT`].
pub const DURABLE_AT_SIZE: u64 = 16;
/// The most ranges that a log can hold as void.
pub const MAX_VOIDS: usize = 4096;
/// The most cursors of a log.
pub const MAX_CURSORS: usize = 256;
/// The longest name of a cursor, in bytes.
pub const MAX_CURSOR_NAME: usize = 128;
/// Bytes of a batch's record count, and of each record's length.
pub const BATCH_COUNT_SIZE: usize = 4;
/// Bytes of the length before the zstd frame of a compressed batch.
pub const BATCH_LEN_SIZE: usize = 4;
/// The most that a compressed batch may hold, in bytes: what a reader is ready to allocate. Larger
/// ones are stored as they are.
pub const MAX_UNCOMPRESSED_BATCH: usize = 64 << 20;

const _: () = assert!(MAX_UNCOMPRESSED_BATCH as u64 <= MAX_SEGMENT_SIZE);

/// Bytes of a frame with a payload of `payload_len` bytes, padding included. After it the
/// segment has room for another header, or is full; a seal fills the rest.
///
/// ```
/// use highwater_wal::layout::frame_size;
/// assert_eq!(frame_size(100), 120); // a header of 16 bytes, and 4 zeros
/// ```
pub const fn frame_size(payload_len: u64) -> u64 {
    (FRAME_HEADER_SIZE + payload_len).next_multiple_of(FRAME_ALIGNMENT)
}

/// The largest payload that fits a segment of `segment_size` bytes: a seal must fit after it.
///
/// ```
/// use highwater_wal::layout::max_payload;
/// assert_eq!(max_payload(64 << 10), (64 << 10) - 4096 - 32);
/// ```
pub const fn max_payload(segment_size: u64) -> u64 {
    segment_size - SEGMENT_HEADER_SIZE - 2 * FRAME_HEADER_SIZE
}

const _: () = assert!(usize::BITS >= 64, "segments are mapped whole: 64-bit only");
const _: () = assert!(MAX_SEGMENT_SIZE < u32::MAX as u64);

/// A size that is bounded by a segment as a `usize`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "usize has 64 bits, asserted above"
)]
pub(crate) const fn to_usize(n: u64) -> usize {
    n as usize
}

/// The name of the segment that starts at `base`.
///
/// ```
/// use highwater_wal::{Lsn, layout::segment_name};
/// assert_eq!(segment_name(Lsn::new(4096)), "00000000000000004096.wal");
/// ```
pub fn segment_name(base: Lsn) -> String {
    format!(
        "{:0width$}.{SEGMENT_EXTENSION}",
        base.get(),
        width = NAME_DIGITS
    )
}

/// What a name in the log's directory means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Meta,
    Lock,
    /// The file that the next version of `LOG` is written to.
    Spare,
    Segment(u64),
    /// A file that was being made when the process ended.
    Temporary,
    Unknown,
}

/// What `name` means. Only names that the log itself writes are known.
pub(crate) fn classify(name: &str) -> Name {
    match name {
        META_NAME => Name::Meta,
        LOCK_NAME => Name::Lock,
        META_TMP_NAME => Name::Spare,
        _ => match name.strip_suffix(TMP_SUFFIX) {
            Some(stem) if segment_base(stem).is_some() => Name::Temporary,
            Some(_) => Name::Unknown,
            None => segment_base(name).map_or(Name::Unknown, Name::Segment),
        },
    }
}

fn segment_base(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SEGMENT_EXTENSION)?.strip_suffix('.')?;
    let plain = digits.len() == NAME_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    let base = if plain { digits.parse().ok() } else { None };
    base.filter(|base| *base < MAX_BASE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_classified() {
        assert_eq!(classify(&segment_name(Lsn::new(42))), Name::Segment(42));
        assert_eq!(
            classify(&segment_name(Lsn::new(MAX_BASE - 1))),
            Name::Segment(MAX_BASE - 1)
        );
        for high in [MAX_BASE, u64::MAX] {
            assert_eq!(classify(&segment_name(Lsn::new(high))), Name::Unknown);
        }
        assert_eq!(classify("00000000000000000042.wal.tmp"), Name::Temporary);
        assert_eq!(classify("LOG.tmp"), Name::Spare);
        assert_eq!(classify("LOG"), Name::Meta);
        for unknown in [
            "42.wal",
            "core",
            "+0000000000000000042.wal",
            "x.tmp",
            ".wal",
            "LOG~",
        ] {
            assert_eq!(classify(unknown), Name::Unknown, "{unknown}");
        }
        assert_eq!(
            classify("99999999999999999999.wal"),
            Name::Unknown,
            "over u64"
        );
    }

    #[test]
    fn a_frame_of_the_largest_payload_leaves_room_for_a_seal() {
        let size = MIN_SEGMENT_SIZE;
        let end = SEGMENT_HEADER_SIZE + frame_size(max_payload(size));
        assert_eq!(end + FRAME_HEADER_SIZE, size);
    }
}
