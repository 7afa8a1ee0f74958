//! Writes frames into segments: records, and the frames of the log itself.

use crate::format::frame::{FrameKind, HeaderBytes, LogKey, Tag, encode_header};
use crate::format::layout::{FRAME_ALIGNMENT, FRAME_HEADER_SIZE, frame_size, to_usize};
use crate::lsn::StreamId;
use crate::segment::file::Segment;
use crc32c::{crc32c, crc32c_append};
use highwater_disk::{AppendMap, Reservation, ReserveError, Reserver};
use std::cell::Cell;
use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

static ZEROS: [u8; 4096] = [0; 4096];

#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameWriter {
    key: LogKey,
    /// Bytes at the end of a segment that records leave free.
    end_room: u64,
    /// Groups end at multiples of this; 0 if anywhere.
    seal_unit: u64,
}

impl FrameWriter {
    pub(crate) fn new(key: LogKey, end_room: u64, seal_unit: u64) -> Self {
        Self {
            key,
            end_room,
            seal_unit,
        }
    }

    /// Where records end in a segment, at the latest. A segment that was made with other options
    /// may be smaller than `end_room`: then it is full.
    fn limit(&self, map: &AppendMap) -> u64 {
        map.capacity().saturating_sub(self.end_room)
    }

    /// Appends a frame to `segment`, and returns where it starts and ends.
    pub(crate) fn append(
        &self,
        frame: &NewFrame<'_>,
        segment: &Segment,
        reserver: Reserver,
    ) -> Result<(u64, u64), ReserveError> {
        let map = segment.map();
        let reservation = map.reserve(frame.size, self.limit(map), reserver)?;
        Ok(frame.write(reservation, segment, &self.key))
    }

    /// Appends a record of `len` bytes that `write` puts where they will stay. Returns where its
    /// frame starts and ends. If `write` panics, the frame is padding: no record. It is taken only
    /// if there was room.
    pub(crate) fn append_in_place(
        &self,
        (tag, stream): (Tag, StreamId),
        len: u32,
        write: &mut Option<impl FnOnce(&mut [u8])>,
        segment: &Segment,
        reserver: Reserver,
    ) -> Result<(u64, u64), ReserveError> {
        let (map, size) = (segment.map(), frame_size(u64::from(len)));
        let reservation = map.reserve(size, self.limit(map), reserver)?;
        let lsn = segment.base + reservation.offset();
        let outcome = reservation.fill_in_place(|frame| {
            let (header, rest) = frame.split_at_mut(to_usize(FRAME_HEADER_SIZE));
            let (payload, _) = rest.split_at_mut(to_usize(u64::from(len)));
            // A panic must not leave a hole in the log.
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let write = write.take().expect("there is one frame for it");
                write(payload);
            }));
            let encoded: HeaderBytes = match outcome {
                Ok(()) => encode_header(tag, stream, len, crc32c(payload), &self.key, lsn),
                Err(_) => {
                    rest.fill(0);
                    let len = u32::try_from(rest.len()).expect("padding is shorter than a segment");
                    let (padding, stream) = (FrameKind::Padding, StreamId::DEFAULT);
                    encode_header(padding, stream, len, crc32c(rest), &self.key, lsn)
                }
            };
            header.copy_from_slice(&encoded);
            outcome
        });
        match outcome {
            Ok(()) => Ok((lsn, lsn + size)),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Pads the tail to a multiple of the unit of sealed groups, if it does not end at one. Returns
    /// where the group has to end. There is room: records leave two units free.
    pub(crate) fn pad(&self, tail: &Segment) -> Option<u64> {
        let unit = self.seal_unit;
        if unit == 0 {
            return None;
        }
        let map = tail.map();
        let end = Cell::new(0);
        let padding = |offset: u64| {
            let padding = match offset.next_multiple_of(unit) - offset {
                short @ 1..FRAME_HEADER_SIZE => short + unit,
                rest => rest,
            };
            end.set(offset + padding);
            padding
        };
        // ReserveError if there is nothing to pad: also at the end of a segment that was sealed
        // meanwhile.
        if let Ok(reservation) = map.reserve_with(map.capacity(), Reserver::Closer, padding) {
            self.blank(FrameKind::Padding, tail, reservation);
        }
        Some(tail.base + end.get())
    }

    /// Fills the rest of a segment. Every append leaves room for the header of a seal.
    pub(crate) fn seal(&self, segment: &Segment) {
        let map = segment.map();
        let rest = |offset: u64| map.capacity() - offset;
        if let Ok(reservation) = map.reserve_with(map.capacity(), Reserver::Closer, rest) {
            self.blank(FrameKind::Seal, segment, reservation);
        }
    }

    /// Fills a reservation with a frame whose payload, if the kind has one, is zeros.
    fn blank(&self, kind: FrameKind, segment: &Segment, reservation: Reservation<'_>) {
        let zeros = reservation.size_bytes() - FRAME_HEADER_SIZE;
        let payload_len = match kind {
            FrameKind::Padding => zeros,
            _ => 0,
        };
        let body_crc = zeros_crc(to_usize(payload_len));
        let payload_len = u32::try_from(payload_len).expect("padding is shorter than a segment");
        let lsn = segment.base + reservation.offset();
        let stream = StreamId::DEFAULT;
        let header = encode_header(kind, stream, payload_len, body_crc, &self.key, lsn);
        let mut parts: Vec<&[u8]> = vec![&header];
        parts.extend(zero_parts(to_usize(zeros)));
        reservation.fill(&parts);
    }
}

/// So many zeros, in parts.
fn zero_parts<'a>(mut left: usize) -> impl Iterator<Item = &'a [u8]> {
    std::iter::from_fn(move || {
        let part = ZEROS.split_at(left.min(ZEROS.len())).0;
        left -= part.len();
        (!part.is_empty()).then_some(part)
    })
}

fn zeros_crc(len: usize) -> u32 {
    zero_parts(len).fold(0, crc32c_append)
}

/// The bytes of a record, in one piece or several.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pieces<'a> {
    One(&'a [u8]),
    Many(&'a [IoSlice<'a>]),
}

impl Pieces<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(bytes) => bytes.len(),
            Self::Many(pieces) => pieces
                .iter()
                .fold(0, |len: usize, piece| len.saturating_add(piece.len())),
        }
    }

    fn crc(&self) -> u32 {
        match self {
            Self::One(bytes) => crc32c(bytes),
            Self::Many(pieces) => pieces
                .iter()
                .fold(0, |crc, piece| crc32c_append(crc, piece)),
        }
    }
}

/// A frame whose payload is checksummed, before it has a position.
pub(crate) struct NewFrame<'a> {
    tag: Tag,
    stream: StreamId,
    payload: Pieces<'a>,
    payload_len: u32,
    body_crc: u32,
    size: u64,
}

impl<'a> NewFrame<'a> {
    pub(crate) fn new(tag: Tag, stream: StreamId, payload: &'a [u8]) -> Self {
        Self::of_pieces(tag, stream, Pieces::One(payload))
    }

    pub(crate) fn of_pieces(tag: Tag, stream: StreamId, payload: Pieces<'a>) -> Self {
        let payload_len = u32::try_from(payload.len()).expect("records are smaller than a segment");
        let size = frame_size(u64::from(payload_len));
        Self {
            tag,
            stream,
            payload,
            payload_len,
            body_crc: payload.crc(),
            size,
        }
    }

    /// Bytes that it takes in a segment.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    fn write(&self, reservation: Reservation<'_>, segment: &Segment, key: &LogKey) -> (u64, u64) {
        let lsn = segment.base + reservation.offset();
        let header: HeaderBytes = encode_header(
            self.tag,
            self.stream,
            self.payload_len,
            self.body_crc,
            key,
            lsn,
        );
        let used = FRAME_HEADER_SIZE + u64::from(self.payload_len);
        let padding = [0; to_usize(FRAME_ALIGNMENT)];
        let (padding, _) = padding.split_at(to_usize(self.size - used));
        match self.payload {
            Pieces::One(payload) => reservation.fill(&[&header, payload, padding]),
            Pieces::Many(pieces) => {
                let mut parts: Vec<&[u8]> = Vec::with_capacity(pieces.len() + 2);
                parts.push(&header);
                parts.extend(pieces.iter().map(|piece| &**piece));
                parts.push(padding);
                reservation.fill(&parts);
            }
        }
        (lsn, lsn + self.size)
    }
}
