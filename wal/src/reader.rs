//! Reading records.

use crate::batch::{open_batch, split_record};
use crate::chunk::{Frame, Place, RecordRef};
use crate::compress::decompress;
use crate::error::{Finding, Result, WalError};
use crate::frame::{At, Encoding, FrameKind};
use crate::layout::{BATCH_COUNT_SIZE, FRAME_HEADER_SIZE, SEGMENT_HEADER_SIZE, to_usize};
use crate::lsn::{Lsn, StreamId};
use crate::payload::{Owner, Payload};
use crate::retention::RetentionGuard;
use crate::segment::Segment;
use crate::shared::Shared;
use std::sync::Arc;

/// Whose record it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// Appended with [`Wal::append`](crate::Wal::append) or as part of a batch.
    Data,
    /// Appended with [`Wal::append_control`](crate::Wal::append_control).
    Control,
}

/// One record of the log.
#[derive(Debug, Clone)]
pub struct Record {
    /// Where its frame stands.
    pub lsn: Lsn,
    /// Its number in the batch that it was appended with, from 0.
    pub index: u32,
    /// Whose record it is.
    pub kind: RecordKind,
    /// Its stream.
    pub stream: StreamId,
    /// Its bytes.
    pub payload: Payload,
}

/// Reads a range of the log in order. It pins the log from where it stands.
///
/// As an iterator it yields records. [`Self::next_frame`] is faster where records need not outlive the call.
#[derive(Debug)]
pub struct Reader {
    cursor: Cursor,
    batch: Option<OpenBatch>,
}

/// A position that moves from frame to frame.
#[derive(Debug)]
pub(crate) struct Cursor {
    shared: Arc<Shared>,
    guard: RetentionGuard,
    position: u64,
    end: u64,
    segment: Option<Arc<Segment>>,
    /// The stream that is wanted, if not all are.
    only: Option<StreamId>,
    stopped: bool,
}

/// A batch of which some records are still to be returned.
#[derive(Debug)]
struct OpenBatch {
    owner: Owner,
    lsn: Lsn,
    stream: StreamId,
    /// Where the rest of the payload lies in the file, or in the decompressed batch.
    next: usize,
    end: usize,
    index: u32,
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
    fn follow(shared: &Arc<Shared>, from: Lsn) -> Result<Self> {
        let cursor = Self::place(shared, from, Lsn::new(shared.commit.durable()))?;
        shared.check_not_beyond(from)?;
        Ok(cursor)
    }

    fn place(shared: &Arc<Shared>, from: Lsn, to: Lsn) -> Result<Self> {
        let guard = match from {
            Lsn::ZERO => RetentionGuard::oldest(shared, &shared.reader_name),
            from => RetentionGuard::new(shared, from, &shared.reader_name)?,
        };
        let position = guard.lsn().get();
        Ok(Self {
            shared: Arc::clone(shared),
            guard,
            position,
            end: to.get(),
            segment: None,
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
            let place = read_place(segment, offset, self.end, &self.shared, trust)?;
            self.position = place.segment.base + place.next;
            return Ok(Some(place));
        }
    }

    /// Where to go on if the frame at `offset` holds records of a stream that is not wanted: its payload is not touched.
    fn other_stream(&self, segment: &Arc<Segment>, offset: u64) -> Result<Option<u64>> {
        let Some(only) = self.only else {
            return Ok(None);
        };
        let (segment, shared) = (Arc::clone(segment), &self.shared);
        let place = read_place(segment, offset, self.end, shared, Trust::Header)?;
        let other = place.holds_records() && place.header.stream != only;
        Ok(other.then_some(place.segment.base + place.next))
    }

    fn enter_segment(&mut self) -> Result<Arc<Segment>> {
        if let Some(segment) = self.segment.as_ref().filter(|s| self.position < s.end()) {
            return Ok(Arc::clone(segment));
        }
        let segment = self
            .shared
            .segment_of(self.position)
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
pub(crate) fn read_place(
    segment: Arc<Segment>,
    offset: u64,
    limit: u64,
    shared: &Shared,
    trust: Trust,
) -> Result<Place> {
    check_place(segment, offset, limit, shared, trust).inspect_err(|error| {
        tracing::error!(dir = %shared.dir.display(), %error, "reading the log failed");
        shared.meters.read_failed();
    })
}

fn check_place(
    segment: Arc<Segment>,
    offset: u64,
    limit: u64,
    shared: &Shared,
    trust: Trust,
) -> Result<Place> {
    let readable = limit.min(segment.end()) - segment.base;
    let lost = |what: &str| Err(segment.corrupt(Finding::CorruptDurable, offset, what));
    let Some(bytes) = segment.bytes(0..readable)? else {
        return lost("durable bytes cannot be read; verify the log");
    };
    let found = match trust {
        Trust::Payload => crate::frame::look(bytes, offset, segment.base, &shared.key),
        Trust::Header => crate::frame::look_header(bytes, offset, segment.base, &shared.key),
    };
    match found {
        At::Frame(header, _) => Ok(Place {
            next: header.next_offset(offset, segment.size),
            segment,
            offset,
            header,
        }),
        At::Unknown(raw) => Err(segment.corrupt(Finding::UnknownFeature, offset, raw.to_string())),
        At::BadPayload(_) => {
            lost("the payload does not match its checksum; restore the file from a backup")
        }
        At::Nothing => lost(
            "no intact frame starts here: the position does not come from this log, or the file is damaged",
        ),
    }
}

impl Reader {
    pub(crate) fn open(shared: &Arc<Shared>, from: Lsn, to: Lsn) -> Result<Self> {
        Ok(Self {
            cursor: Cursor::open(shared, from, to)?,
            batch: None,
        })
    }

    pub(crate) fn follow(shared: &Arc<Shared>, from: Lsn) -> Result<Self> {
        Ok(Self {
            cursor: Cursor::follow(shared, from)?,
            batch: None,
        })
    }

    /// Reads records of this stream only. Of the others just the headers are read, and checked.
    #[must_use]
    pub fn only(mut self, stream: StreamId) -> Self {
        self.cursor.keep_to(stream);
        self
    }

    pub(crate) fn cursor(&mut self) -> &mut Cursor {
        &mut self.cursor
    }

    /// Where the next frame is read: everything before it was returned (of an open batch, some records may not be). Behind an
    /// error, where that frame stands.
    pub fn position(&self) -> Lsn {
        Lsn::new(self.cursor.position())
    }

    /// The next frame that holds records, checked; `None` at the end of the range. Records of a batch that the iterator
    /// has not returned yet are skipped.
    ///
    /// # Errors
    /// [`WalError::Corrupt`] if the log is damaged there; [`WalError::Io`].
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>> {
        self.batch = None;
        loop {
            let Some(place) = self.cursor.step(Trust::Payload)? else {
                return Ok(None);
            };
            if place.holds_records() {
                let segment = self
                    .cursor
                    .segment
                    .as_ref()
                    .expect("a step enters a segment");
                return match Frame::new(segment, &place) {
                    Ok(frame) => Ok(Some(frame)),
                    Err(error) => {
                        // Asked again, it says the same: nobody may pass over the frame.
                        self.cursor.position = place.lsn().get();
                        Err(error)
                    }
                };
            }
        }
    }

    fn next_record(&mut self) -> Result<Option<Record>> {
        loop {
            if let Some(record) = self.batch.as_mut().and_then(OpenBatch::next) {
                return Ok(Some(record));
            }
            self.batch = None;
            let Some(place) = self.cursor.step(Trust::Payload)? else {
                return Ok(None);
            };
            let lsn = place.lsn();
            let kind = match place.header.kind {
                FrameKind::Data => RecordKind::Data,
                FrameKind::Control => RecordKind::Control,
                FrameKind::Batch => {
                    self.batch = Some(OpenBatch::new(place)?);
                    continue;
                }
                FrameKind::Watermark | FrameKind::Seal | FrameKind::Close | FrameKind::Padding => {
                    continue;
                }
            };
            let (range, stream) = (place.payload_range(), place.header.stream);
            let payload = Payload::new(Owner::Segment(place.segment), range);
            return Ok(Some(Record {
                lsn,
                index: 0,
                kind,
                stream,
                payload,
            }));
        }
    }
}

impl OpenBatch {
    fn new(place: Place) -> Result<Self> {
        let (lsn, stream) = (place.lsn(), place.header.stream);
        let (owner, payload) = match place.header.encoding {
            Encoding::Zstd => {
                let bytes = place.decompress()?;
                let all = 0..bytes.len();
                (Owner::Buffer(bytes), all)
            }
            Encoding::Plain => {
                let range = place.payload_range();
                (Owner::Segment(place.segment), range)
            }
        };
        Ok(Self {
            owner,
            lsn,
            stream,
            next: payload.start + BATCH_COUNT_SIZE,
            end: payload.end,
            index: 0,
        })
    }

    fn next(&mut self) -> Option<Record> {
        let (bytes, _) = split_record(self.owner.bytes(self.next..self.end))?;
        let start = self.next + BATCH_COUNT_SIZE;
        let end = start + bytes.len();
        let payload = Payload::new(self.owner.clone(), start..end);
        let (lsn, index, stream) = (self.lsn, self.index, self.stream);
        self.next = end;
        self.index += 1;
        Some(Record {
            lsn,
            index,
            kind: RecordKind::Data,
            stream,
            payload,
        })
    }
}

impl Iterator for Reader {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record()
            .inspect_err(|_| self.cursor.stop())
            .transpose()
    }
}

impl Place {
    pub(crate) fn lsn(&self) -> Lsn {
        Lsn::new(self.segment.base + self.offset)
    }

    pub(crate) fn payload_range(&self) -> std::ops::Range<usize> {
        let start = to_usize(self.offset + FRAME_HEADER_SIZE);
        start..start + self.header.payload_size()
    }

    /// The payload of a compressed batch, decompressed.
    #[inline(never)] // off the path of other frames
    pub(crate) fn decompress(&self) -> Result<Arc<Vec<u8>>> {
        let corrupt = |what| {
            self.segment
                .corrupt(Finding::CorruptDurable, self.offset, what)
        };
        let bytes = decompress(self.segment.shown(self.payload_range())).map_err(corrupt)?;
        Ok(Arc::new(bytes))
    }

    pub(crate) fn holds_records(&self) -> bool {
        self.header.kind.holds_records()
    }
}

/// The records of a frame.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    frame: &'a Frame<'a>,
    rest: Rest<'a>,
    /// Where `rest` starts in the file, or in the decompressed batch.
    at: usize,
    index: u32,
}

#[derive(Debug, Clone)]
enum Rest<'a> {
    One(&'a [u8]),
    Batch(&'a [u8]),
    Done,
}

impl<'a> Records<'a> {
    pub(crate) fn new(frame: &'a Frame<'a>, at: usize) -> Self {
        let payload = frame.payload();
        let (rest, at) = match frame.kind {
            FrameKind::Data | FrameKind::Control => (Rest::One(payload), at),
            FrameKind::Batch => match open_batch(payload) {
                Some((_, records)) => (Rest::Batch(records), at + BATCH_COUNT_SIZE),
                None => (Rest::Done, at),
            },
            FrameKind::Watermark | FrameKind::Seal | FrameKind::Close | FrameKind::Padding => {
                (Rest::Done, at)
            }
        };
        Self {
            frame,
            rest,
            at,
            index: 0,
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordRef<'a>;

    fn next(&mut self) -> Option<RecordRef<'a>> {
        match self.rest {
            Rest::Done => None,
            Rest::One(bytes) => {
                self.rest = Rest::Done;
                Some(RecordRef::new(self.frame, bytes, self.at, 0))
            }
            Rest::Batch(rest) => {
                let (bytes, rest) = split_record(rest)?;
                let start = self.at + BATCH_COUNT_SIZE;
                let record = RecordRef::new(self.frame, bytes, start, self.index);
                self.rest = Rest::Batch(rest);
                self.at = start + bytes.len();
                self.index += 1;
                Some(record)
            }
        }
    }
}
