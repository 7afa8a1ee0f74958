//! Going from frame to frame: where each lies, and whether it is intact.

use crate::error::{Finding, Result, WalError};
use crate::format::compression::decompress;
use crate::format::frame::{At, FrameHeader, LogKey, RawHeader, check};
use crate::format::layout::{FRAME_HEADER_SIZE, SEGMENT_HEADER_SIZE, to_usize};
use crate::log::shared::Shared;
use crate::lsn::{Lsn, StreamId};
use crate::read::window::ReadWindow;
use crate::retention::guard::RetentionGuard;
use crate::segment::file::Segment;
use std::ops::Deref;
use std::sync::Arc;

/// Where a checked frame lies.
#[derive(Debug)]
pub(crate) struct Place<S = Arc<Segment>> {
    pub(crate) segment: S,
    pub(crate) offset: u64,
    /// Offset of the next frame in the segment.
    pub(crate) next: u64,
    pub(crate) header: FrameHeader,
}

/// A position that moves from frame to frame.
#[derive(Debug)]
pub(crate) struct Cursor {
    shared: Arc<Shared>,
    guard: RetentionGuard,
    pub(crate) position: u64,
    end: u64,
    pub(crate) segment: Option<Arc<Segment>>,
    pub(crate) window: ReadWindow,
    /// The stream that is wanted, if not all are.
    only: Option<StreamId>,
    stopped: bool,
}

/// How much of a frame is checked before it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Both checksums.
    Payload,
    /// The header's checksum.
    Header,
}

impl Cursor {
    pub(crate) fn open(shared: &Arc<Shared>, from: Lsn, to: Lsn) -> Result<Self> {
        let cursor = Self::place(shared, from, to)?;
        for asked in [cursor.guard.lsn(), to] {
            shared.check_durable(asked)?;
        }
        Ok(cursor)
    }

    /// To read on from `from`, which may be as far as anything is appended, when it is durable.
    pub(crate) fn follow(shared: &Arc<Shared>, from: Lsn) -> Result<Self> {
        let cursor = Self::place(shared, from, Lsn::new(shared.commit.durable()))?;
        shared.segments.check_not_beyond(from)?;
        Ok(cursor)
    }

    fn place(shared: &Arc<Shared>, from: Lsn, to: Lsn) -> Result<Self> {
        let guard = match from {
            Lsn::ZERO => RetentionGuard::oldest(&shared.retention, &shared.reader_name),
            from => RetentionGuard::new(&shared.retention, from, &shared.reader_name)?,
        };
        let position = guard.lsn().get();
        Ok(Self {
            shared: Arc::clone(shared),
            guard,
            position,
            end: to.get(),
            segment: None,
            window: ReadWindow::new(shared.options.read_path),
            only: None,
            stopped: false,
        })
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Reads on to `end`, which is durable.
    pub(crate) fn extend(&mut self, end: u64) {
        self.end = self.end.max(end);
    }

    /// Passes over the records of other streams.
    pub(crate) fn keep_to(&mut self, stream: StreamId) {
        self.only = Some(stream);
    }

    /// Ends the reading: after an error there is nothing to go on from.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// The next frame of any kind.
    pub(crate) fn step(&mut self, trust: Trust) -> Result<Option<Place>> {
        loop {
            if self.stopped || self.position >= self.end {
                return Ok(None);
            }
            let segment = self.enter_segment()?;
            let offset = self.position - segment.base;
            if offset < SEGMENT_HEADER_SIZE {
                self.position = segment.base + SEGMENT_HEADER_SIZE;
                continue;
            }
            if let Some(next) = self.other_stream(&segment, offset)? {
                self.position = next;
                continue;
            }
            let header = self.look(&segment, offset, trust)?;
            let next = header.next_offset(offset, segment.size);
            self.position = segment.base + next;
            return Ok(Some(Place {
                segment,
                offset,
                next,
                header,
            }));
        }
    }

    /// Where to go on if the frame at `offset` holds records of a stream that is not wanted: its
    /// payload is not touched.
    fn other_stream(&mut self, segment: &Arc<Segment>, offset: u64) -> Result<Option<u64>> {
        let Some(only) = self.only else {
            return Ok(None);
        };
        let header = self.look(segment, offset, Trust::Header)?;
        let other = header.kind.holds_records() && header.stream != only;
        Ok(other.then_some(segment.base + header.next_offset(offset, segment.size)))
    }

    #[inline]
    fn look(&mut self, segment: &Segment, offset: u64, trust: Trust) -> Result<FrameHeader> {
        let (window, shared) = (&mut self.window, &self.shared);
        look(segment, offset, self.end, shared, trust, window)
    }

    /// The payload of the frame that was just found, its checksum right.
    pub(crate) fn payload<'a>(&'a self, place: &'a Place) -> &'a [u8] {
        let payload = self.window.shown(&place.segment, place.payload_place());
        payload.expect("what was checked stays in the window until the next frame is looked at")
    }

    fn enter_segment(&mut self) -> Result<Arc<Segment>> {
        if let Some(segment) = self.segment.as_ref().filter(|s| self.position < s.end()) {
            return Ok(Arc::clone(segment));
        }
        let segment = self
            .shared
            .segments
            .containing(self.position)
            .ok_or_else(|| WalError::Truncated {
                asked: Lsn::new(self.position),
                first: Lsn::new(self.shared.retention.first()),
            })?;
        self.guard.advance(Lsn::new(self.position));
        self.segment = Some(Arc::clone(&segment));
        Ok(segment)
    }
}

/// Reads and checks the frame at `offset`. What is below `limit` is durable.
#[inline]
pub(crate) fn look(
    segment: &Segment,
    offset: u64,
    limit: u64,
    shared: &Shared,
    trust: Trust,
    window: &mut ReadWindow,
) -> Result<FrameHeader> {
    let readable = limit.min(segment.end()) - segment.base;
    match look_in(window, segment, offset, readable, &shared.key, trust) {
        Ok(Some(header)) => Ok(header),
        Ok(None) => {
            Err(shared.reading_failed(wrong(window, segment, offset, readable, &shared.key)))
        }
        Err(error) => Err(shared.reading_failed(error)),
    }
}

/// The header of the frame at `offset`, if an intact one stands there. Touches no byte before the
/// window is there, and of the payload none if the header alone is trusted.
#[inline]
fn look_in(
    window: &mut ReadWindow,
    segment: &Segment,
    offset: u64,
    readable: u64,
    key: &LogKey,
    trust: Trust,
) -> Result<Option<FrameHeader>> {
    let (lsn, head_end) = (segment.base + offset, offset + FRAME_HEADER_SIZE);
    if !window.ensure(segment, &(offset..head_end), readable)? {
        return Ok(None);
    }
    let bytes = window.shown_from(segment, offset).unwrap_or_default();
    let Some((head, rest)) = bytes.split_first_chunk() else {
        return Ok(None);
    };
    let Some(raw) = RawHeader::parse(head, key, lsn, readable - offset) else {
        return Ok(None);
    };
    if trust == Trust::Header {
        return Ok(raw.known());
    }
    let size = u64::from(raw.payload_len);
    if let Some(payload) = rest.get(..to_usize(size)) {
        return Ok(intact(check(raw, payload, key, lsn)));
    }
    let payload = head_end..head_end + size;
    if !window.ensure(segment, &(offset..payload.end), readable)? {
        return Ok(None);
    }
    let payload = window.shown(segment, payload);
    Ok(payload.and_then(|payload| intact(check(raw, payload, key, lsn))))
}

fn intact(at: At<'_>) -> Option<FrameHeader> {
    match at {
        At::Frame(header, _) => Some(header),
        At::BadPayload(_) | At::Unknown(_) | At::Nothing => None,
    }
}

/// What is wrong where no intact frame stands, which was looked at.
#[cold]
fn wrong(
    window: &ReadWindow,
    segment: &Segment,
    offset: u64,
    readable: u64,
    key: &LogKey,
) -> WalError {
    if let Some(error) = segment.shortness() {
        return error;
    }
    let bytes = window.shown_from(segment, offset).unwrap_or_default();
    let (lsn, room) = (segment.base + offset, readable.saturating_sub(offset));
    let found = bytes.split_first_chunk().and_then(|(head, rest)| {
        let raw = RawHeader::parse(head, key, lsn, room)?;
        let payload = rest.get(..to_usize(u64::from(raw.payload_len)));
        // Without its payload it was the header that was looked at.
        Some(payload.map_or(At::Unknown(raw), |payload| check(raw, payload, key, lsn)))
    });
    let what = match found {
        Some(At::Unknown(raw)) => {
            return segment.corrupt(Finding::UnknownFeature, offset, raw.to_string());
        }
        Some(At::BadPayload(_)) => {
            "the payload does not match its checksum; restore the file from a backup"
        }
        Some(At::Frame(..) | At::Nothing) | None => {
            "no intact frame starts here: the position does not come from this log, or the file is damaged"
        }
    };
    segment.corrupt(Finding::CorruptDurable, offset, what)
}

impl<S: Deref<Target = Segment>> Place<S> {
    pub(crate) fn lsn(&self) -> Lsn {
        Lsn::new(self.segment.base + self.offset)
    }

    pub(crate) fn payload_range(&self) -> std::ops::Range<usize> {
        let start = to_usize(self.offset + FRAME_HEADER_SIZE);
        start..start + self.header.payload_size()
    }

    /// Offsets of the payload in the file.
    pub(crate) fn payload_place(&self) -> std::ops::Range<u64> {
        let start = self.offset + FRAME_HEADER_SIZE;
        start..start + self.header.payload_size() as u64
    }

    /// The payload of a compressed batch, decompressed.
    #[inline(never)] // off the path of other frames
    pub(crate) fn decompress(&self, payload: &[u8]) -> Result<Arc<Vec<u8>>> {
        let corrupt = |what| {
            self.segment
                .corrupt(Finding::CorruptDurable, self.offset, what)
        };
        let bytes = decompress(payload).map_err(corrupt)?;
        Ok(Arc::new(bytes))
    }

    pub(crate) fn holds_records(&self) -> bool {
        self.header.kind.holds_records()
    }
}
