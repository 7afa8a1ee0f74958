//! The one scanner of frames: for readers and followers, for recovery, and for the tools.
//!
//! [`Scanner`] looks at single places of one segment and returns what it found there.
//! [`LogScanner`] steps from frame to frame over the ends of segments. Both check everything before
//! they believe it, and neither judges: a reader takes a place without a frame for an error,
//! recovery for the end of the log, a tool for a hole ([`Scanner::next_intact`] finds where it
//! ends).

use crate::error::Result;
use crate::format::batch::batch_count;
use crate::format::frame::{Encoding, FrameHeader, FrameKind, LogKey, RawHeader, durable_lsn_in};
use crate::format::layout::{
    FRAME_ALIGNMENT, FRAME_HEADER_SIZE, SEGMENT_HEADER_SIZE, frame_header, to_usize,
};
use crate::format::mark::Mark;
use crate::lsn::{Lsn, StreamId};
use crate::segment::header::SegmentFile;
use crate::segment::window::Window;
use highwater_disk::{Disk, SECTOR_SIZE};
use std::ops::Range;

/// Zeros are skipped in pieces of this size.
const STRIDE: usize = 512;

/// What a scanner found at a place of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A frame whose checksums are right.
    Frame(FoundFrame),
    /// A header that is right, but a payload that is not.
    BadPayload(RawHeader),
    /// An intact frame with a kind or flags that this version does not know.
    Unknown(RawHeader),
    /// No frame of this place.
    Nothing,
}

/// Where an intact frame lies, and what its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoundFrame {
    /// Start of its segment.
    pub(crate) base: u64,
    /// Where it starts in the file.
    pub(crate) offset: u64,
    /// Offset of the next frame; after a seal, the end of the segment.
    pub(crate) next: u64,
    pub(crate) header: FrameHeader,
}

impl FoundFrame {
    pub(crate) fn lsn(&self) -> Lsn {
        Lsn::new(self.base + self.offset)
    }

    /// First position after the frame.
    pub(crate) fn end_lsn(&self) -> Lsn {
        Lsn::new(self.base + self.next)
    }

    /// Offsets of the payload in the file.
    pub(crate) fn payload(&self) -> Range<u64> {
        let start = self.offset + FRAME_HEADER_SIZE;
        start..start + self.header.payload_size() as u64
    }

    pub(crate) fn holds_records(&self) -> bool {
        self.header.kind.holds_records()
    }

    /// What it says, if it is a mark.
    pub(crate) fn mark(&self, payload: &[u8]) -> Option<Mark> {
        match self.header.kind.is_mark() {
            true => Mark::decode(self.header.kind, payload, self.lsn().get()),
            false => None,
        }
    }

    /// Everything below was durable, by this frame: a position that is not after the frame itself.
    pub(crate) fn proven(&self, payload: &[u8]) -> Option<u64> {
        let proven = durable_lsn_in(self.header.kind, payload)?;
        Some(proven.min(self.lsn().get()))
    }
}

/// How much of a frame is checked before it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Both checksums.
    Payload,
    /// The header's checksum. The payload is not touched.
    Header,
    /// Both checksums of the frames of one stream, the header's of all others.
    PayloadOf(StreamId),
    /// Both checksums of marks, the header's of all others.
    Marks,
    /// Both checksums of durable-LSN records with a time, the header's of all others.
    Times,
}

impl Check {
    /// Whether the payload is left alone of a frame with this header.
    #[inline]
    pub(crate) fn skips_payload(self, raw: &RawHeader) -> bool {
        match self {
            Self::Payload => false,
            Self::Header => true,
            Self::PayloadOf(stream) => raw.stream != stream,
            Self::Marks => raw.known().is_some_and(|header| !header.kind.is_mark()),
            Self::Times => raw.known().is_some_and(|header| !header.kind.has_time()),
        }
    }
}

/// Reads the frames of one segment through a window.
#[derive(Debug)]
pub(crate) struct Scanner {
    pub(crate) segment: SegmentFile,
    /// Bytes of the segment that its file has.
    readable: u64,
    key: LogKey,
    window: Window,
}

impl Scanner {
    pub(crate) fn new(segment: SegmentFile, key: LogKey, window: Window) -> Self {
        Self {
            readable: segment.size,
            segment,
            key,
            window,
        }
    }

    /// Scans a segment file with plain reads.
    pub(crate) fn open(disk: &dyn Disk, segment: &SegmentFile, key: LogKey) -> Result<Self> {
        let window = Window::of_file(disk, segment)?;
        Ok(Self::new(segment.clone(), key, window))
    }

    /// As [`Self::open`] for a file that has only `len` bytes.
    pub(crate) fn open_short(
        disk: &dyn Disk,
        segment: &SegmentFile,
        key: LogKey,
        len: u64,
    ) -> Result<Self> {
        let scanner = Self::open(disk, segment, key)?;
        Ok(Self {
            readable: segment.size.min(len),
            ..scanner
        })
    }

    /// Bytes of the segment that its file has.
    pub(crate) fn readable(&self) -> u64 {
        self.readable
    }

    pub(crate) fn window(&self) -> &Window {
        &self.window
    }

    pub(crate) fn into_window(self) -> Window {
        self.window
    }

    /// What is at `offset`.
    pub(crate) fn look(&mut self, offset: u64) -> Result<Found> {
        self.look_below(offset, self.segment.size, Check::Payload)
    }

    /// What is at `offset`, if it ends below `limit`, an offset too. Touches no byte before the
    /// window is there.
    #[inline]
    pub(crate) fn look_below(&mut self, offset: u64, limit: u64, check: Check) -> Result<Found> {
        let readable = limit.min(self.readable);
        let (lsn, head_end) = (self.segment.base + offset, offset + FRAME_HEADER_SIZE);
        if !self.window.ensure(&(offset..head_end), readable)? {
            return Ok(Found::Nothing);
        }
        let bytes = self.window.shown_from(offset).unwrap_or_default();
        let Some((head, rest)) = bytes.split_first_chunk() else {
            return Ok(Found::Nothing);
        };
        let Some(raw) = self.parse(head, offset, limit) else {
            return Ok(Found::Nothing);
        };
        if check.skips_payload(&raw) {
            let header = raw.known();
            return Ok(header.map_or(Found::Unknown(raw), |header| self.found(offset, header)));
        }
        // The length was found right for this place and fits the segment: junk cannot make this
        // allocate.
        let size = u64::from(raw.payload_len);
        if let Some(payload) = rest.get(..to_usize(size)) {
            return Ok(self.judge(offset, raw, payload, lsn));
        }
        let payload = head_end..head_end + size;
        if !self.window.ensure(&(offset..payload.end), readable)? {
            return Ok(Found::Nothing);
        }
        Ok(match self.window.shown(payload) {
            Some(payload) => self.judge(offset, raw, payload, lsn),
            None => Found::Nothing,
        })
    }

    #[inline]
    fn parse(&self, head: &[u8; frame_header::END], offset: u64, limit: u64) -> Option<RawHeader> {
        let lsn = self.segment.base + offset;
        let raw = RawHeader::parse(head, &self.key, lsn, limit - offset)?;
        raw.leaves_room(self.segment.size - offset).then_some(raw)
    }

    #[inline]
    fn judge(&self, offset: u64, raw: RawHeader, payload: &[u8], lsn: u64) -> Found {
        if !raw.matches(payload, &self.key, lsn) {
            return Found::BadPayload(raw);
        }
        match raw.known() {
            None => Found::Unknown(raw),
            Some(header) if is_sound(&header, payload, lsn) => self.found(offset, header),
            Some(_) => Found::BadPayload(raw),
        }
    }

    fn found(&self, offset: u64, header: FrameHeader) -> Found {
        Found::Frame(FoundFrame {
            base: self.segment.base,
            offset,
            next: header.next_offset(offset, self.segment.size),
            header,
        })
    }

    /// The payload of the frame that was just found, its checksum right.
    #[inline]
    pub(crate) fn payload(&self, frame: &FoundFrame) -> &[u8] {
        self.window
            .shown(frame.payload())
            .expect("what was checked stays in the window until the next look")
    }

    /// Makes the payload of a frame ready of which only the header was checked, and of what follows
    /// nothing at or above the position `limit`.
    pub(crate) fn ensure_payload(&mut self, frame: &FoundFrame, limit: u64) -> Result<bool> {
        let readable = self.readable.min(limit.saturating_sub(self.segment.base));
        self.window.ensure(&frame.payload(), readable)
    }

    /// Header and payload of the frame that was just found, as the file has them.
    pub(crate) fn raw(&self, frame: &FoundFrame) -> &[u8] {
        self.window
            .shown(frame.offset..frame.payload().end)
            .expect("what was checked stays in the window until the next look")
    }

    /// `len` bytes at `offset`; `None` if the file does not have them.
    fn bytes(&mut self, offset: u64, len: u64) -> Result<Option<&[u8]>> {
        let range = offset..offset.saturating_add(len);
        if !self.window.ensure(&range, self.readable)? {
            return Ok(None);
        }
        Ok(self.window.shown(range))
    }

    /// The header at `offset`, if there is one of this place.
    pub(crate) fn header(&mut self, offset: u64) -> Result<Option<RawHeader>> {
        let head = self.bytes(offset, FRAME_HEADER_SIZE)?;
        let head = head.and_then(|bytes| bytes.first_chunk().copied());
        Ok(head.and_then(|head| self.parse(&head, offset, self.segment.size)))
    }

    /// Whether the 16 bytes at `offset` are zero, or those up to the end of the segment. `None` if
    /// the file does not have them.
    pub(crate) fn is_zero(&mut self, offset: u64) -> Result<Option<bool>> {
        let len = FRAME_HEADER_SIZE.min(self.segment.size.saturating_sub(offset));
        let bytes = self.bytes(offset.min(self.segment.size), len)?;
        Ok(bytes.map(is_blank))
    }

    /// The next header that is right for its place, at any multiple of 8 in `range`.
    ///
    /// A length is believed only with its frame: this header may leave no room for a seal, and its
    /// payload is not looked at.
    pub(crate) fn next_header(&mut self, range: Range<u64>) -> Result<Option<(u64, RawHeader)>> {
        let mut offset = range.start.max(SEGMENT_HEADER_SIZE);
        let (base, size) = (self.segment.base, self.segment.size);
        while offset < range.end {
            let need = offset..offset + FRAME_HEADER_SIZE;
            if !self.window.ensure(&need, self.readable)? {
                break;
            }
            let bytes = self.window.shown_from(offset).unwrap_or_default();
            let mut at = 0;
            while let Some(head) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
                let blank = || {
                    bytes
                        .get(at..at + STRIDE + to_usize(FRAME_HEADER_SIZE))
                        .is_some_and(is_blank)
                };
                if is_blank(head) && blank() {
                    at += STRIDE;
                    continue;
                }
                let place = offset + at as u64;
                if place >= range.end {
                    return Ok(None);
                }
                let header = RawHeader::parse(head, &self.key, base + place, size - place);
                if let Some(header) = header {
                    return Ok(Some((place, header)));
                }
                at += to_usize(FRAME_ALIGNMENT);
            }
            offset += at as u64;
        }
        Ok(None)
    }

    /// Where the next intact frame starts, from `from` on and before `until`. Passes over sectors
    /// that cannot be read. A frame of a newer version counts, too.
    pub(crate) fn next_intact(&mut self, from: u64, until: u64) -> Option<u64> {
        let (mut from, mut failed) = (from, None);
        while from < until {
            match self.next_header(from..until) {
                Ok(None) => return None,
                Ok(Some((offset, _))) => match self.look(offset) {
                    Ok(Found::Frame(_) | Found::Unknown(_)) => return Some(offset),
                    Ok(Found::BadPayload(_) | Found::Nothing) | Err(_) => {
                        from = offset + FRAME_ALIGNMENT;
                    }
                },
                Err(error) => {
                    let bad = error.offset().unwrap_or(from).max(from);
                    // A second failure at the same place is a bad sector.
                    if failed.replace(bad) == Some(bad) {
                        from = (bad + 1).next_multiple_of(SECTOR_SIZE);
                    }
                }
            }
        }
        None
    }
}

/// Steps from frame to frame, over the ends of segments.
#[derive(Debug)]
pub(crate) struct LogScanner {
    /// Where the next frame is looked for. A position in the header page of a segment means
    /// its first frame.
    pub(crate) position: u64,
    open: Option<Scanner>,
}

impl LogScanner {
    pub(crate) fn new(position: u64) -> Self {
        Self {
            position,
            open: None,
        }
    }

    /// Within the segment of `scanner`.
    pub(crate) fn within(scanner: Scanner, position: u64) -> Self {
        Self {
            position,
            open: Some(scanner),
        }
    }

    /// The segment that was looked at last.
    pub(crate) fn scanner(&self) -> Option<&Scanner> {
        self.open.as_ref()
    }

    pub(crate) fn scanner_mut(&mut self) -> Option<&mut Scanner> {
        self.open.as_mut()
    }

    /// Forgets what was read: the next step opens the segment again.
    pub(crate) fn reopen(&mut self) {
        self.open = None;
    }

    /// Looks at the place of the next frame, and goes on to its end if one is there. `None` at
    /// `end`, an LSN, and where there is no segment. What ends after `end` is no frame.
    ///
    /// `open` opens the segment that holds a position; it gets the scanner of the one before, to
    /// reuse.
    #[inline]
    pub(crate) fn step(
        &mut self,
        end: u64,
        check: Check,
        open: impl FnOnce(u64, Option<Scanner>) -> Result<Option<Scanner>>,
    ) -> Result<Option<Found>> {
        if self.position >= end {
            return Ok(None);
        }
        if !self.is_inside() {
            let before = self.open.take();
            self.open = open(self.position, before)?;
        }
        let Some(scanner) = &mut self.open else {
            return Ok(None);
        };
        let SegmentFile { base, size, .. } = scanner.segment;
        let offset = (self.position - base).max(SEGMENT_HEADER_SIZE);
        self.position = base + offset;
        if self.position >= end {
            return Ok(None);
        }
        let limit = (end - base).min(size);
        let found = scanner.look_below(offset, limit, check)?;
        if let Found::Frame(frame) = &found {
            self.position = base + frame.next;
        }
        Ok(Some(found))
    }

    #[inline]
    fn is_inside(&self) -> bool {
        let open = self.open.as_ref();
        open.is_some_and(|scanner| scanner.segment.contains(self.position))
    }
}

/// Whether a payload, its checksum right, is well-formed. A compressed batch is judged when it is
/// decompressed: what is right by its checksum is what was written.
fn is_sound(header: &FrameHeader, payload: &[u8], lsn: u64) -> bool {
    match header.kind {
        FrameKind::Batch => header.encoding != Encoding::Plain || batch_count(payload).is_some(),
        FrameKind::DurableLsn | FrameKind::DurableAt | FrameKind::Close => {
            durable_lsn_in(header.kind, payload).is_some()
        }
        FrameKind::Void | FrameKind::Cursor => Mark::decode(header.kind, payload, lsn).is_some(),
        FrameKind::Data | FrameKind::Control | FrameKind::Seal | FrameKind::Padding => true,
    }
}

/// Or-ed together rather than searched, so that the compiler can use wide registers.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |seen, byte| seen | byte) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::frame::encode_header;
    use crate::format::layout::frame_size;
    use crate::lsn::StreamId;
    use crc32c::crc32c;
    use proptest::prelude::*;
    use std::path::PathBuf;
    use std::sync::Arc;

    /// What is at `offset` of a segment that holds `bytes` alone.
    fn look(bytes: &[u8], offset: u64, base: u64, key: LogKey) -> (Found, Vec<u8>) {
        let segment = SegmentFile {
            path: PathBuf::from("x"),
            base,
            size: bytes.len() as u64,
        };
        let window = Window::of_bytes(Arc::new(bytes.to_vec()), 0);
        let mut scanner = Scanner::new(segment, key, window);
        let found = scanner.look(offset).unwrap();
        let payload = match &found {
            Found::Frame(frame) => scanner.payload(frame).to_vec(),
            _ => Vec::new(),
        };
        (found, payload)
    }

    fn is_frame(bytes: &[u8], offset: u64, base: u64, key: LogKey) -> bool {
        matches!(look(bytes, offset, base, key).0, Found::Frame(_))
    }

    fn frame(kind: FrameKind, payload: &[u8], key: &LogKey, lsn: u64) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap();
        let mut bytes = encode_header(kind, StreamId(7), len, crc32c(payload), key, lsn).to_vec();
        bytes.extend_from_slice(payload);
        bytes.resize(to_usize(frame_size(payload.len() as u64)), 0);
        bytes
    }

    #[test]
    fn a_frame_reads_back() {
        let key = LogKey::new(1);
        let bytes = frame(FrameKind::Data, b"hello", &key, 4096);
        let (Found::Frame(found), payload) = look(&bytes, 0, 4096, key) else {
            panic!("no frame")
        };
        let header = found.header;
        assert_eq!(
            (header.kind, header.stream, &payload[..]),
            (FrameKind::Data, StreamId(7), &b"hello"[..])
        );
        assert_eq!((found.lsn().get(), found.end_lsn().get()), (4096, 4120));
    }

    /// F9, F38: the same bytes at another place or in another log are no frame.
    #[test]
    fn a_frame_is_bound_to_its_place_and_log() {
        let key = LogKey::new(1);
        let bytes = frame(FrameKind::Data, b"hello", &key, 4096);
        assert!(is_frame(&bytes, 0, 4096, key));
        assert_eq!(look(&bytes, 0, 4104, key).0, Found::Nothing);
        assert_eq!(look(&bytes, 0, 4096, LogKey::new(2)).0, Found::Nothing);
    }

    #[test]
    fn zeros_are_never_a_frame() {
        assert_eq!(look(&[0; 64], 0, 0, LogKey::new(0)).0, Found::Nothing);
    }

    /// F33: no single bit can be flipped unnoticed.
    #[test]
    fn every_flipped_bit_is_noticed() {
        let key = LogKey::new(9);
        let good = frame(FrameKind::Data, b"payload8", &key, 8192);
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_frame(&bytes, 0, 8192, key), "bit {bit}");
        }
    }

    /// A seal must fit after every frame but a seal: a frame that leaves 8 bytes was never written.
    #[test]
    fn a_frame_that_leaves_no_room_for_a_seal_is_none() {
        let key = LogKey::new(1);
        let mut bytes = frame(FrameKind::Data, b"12345678", &key, 4096);
        assert!(is_frame(&bytes, 0, 4096, key));
        bytes.extend_from_slice(&[0; 8]);
        assert!(!is_frame(&bytes, 0, 4096, key));
        bytes.extend_from_slice(&[0; 8]);
        assert!(is_frame(&bytes, 0, 4096, key));
    }

    proptest! {
        /// F41, F87: arbitrary bytes never panic and are never believed.
        #[test]
        fn junk_is_never_a_frame(bytes in proptest::collection::vec(any::<u8>(), 0..64), at in 0u64..64) {
            prop_assert!(!is_frame(&bytes, at, 0, LogKey::new(3)));
        }
    }
}
