//! Reading without a handle per record: frames, chunks, headers.

use crate::error::{Result, WalError};
use crate::frame::{Encoding, FrameHeader, FrameKind};
use crate::layout::{SEGMENT_HEADER_SIZE, to_usize};
use crate::lsn::{Lsn, StreamId};
use crate::payload::{Owner, Payload};
use crate::reader::{Cursor, Records, Trust, read_place};
use crate::segment::Segment;
use crate::shared::Shared;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Where a checked frame lies.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) segment: Arc<Segment>,
    pub(crate) offset: u64,
    /// Offset of the next frame in the segment.
    pub(crate) next: u64,
    pub(crate) header: FrameHeader,
}

/// A frame that holds records, its checksums found right.
#[derive(Clone)]
pub struct Frame<'a> {
    /// Where it stands.
    pub lsn: Lsn,
    /// First position behind it.
    pub end_lsn: Lsn,
    /// [`FrameKind::Data`], [`FrameKind::Batch`] or [`FrameKind::Control`].
    pub kind: FrameKind,
    /// The stream of its records.
    pub stream: StreamId,
    segment: &'a Arc<Segment>,
    /// As it is stored.
    payload: &'a [u8],
    /// Where that starts in the file.
    at: usize,
    decompressed: Option<Arc<Vec<u8>>>,
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("lsn", &self.lsn)
            .field("kind", &self.kind)
            .field("stream", &self.stream)
            .field("payload_len", &self.payload().len())
            .finish_non_exhaustive()
    }
}

impl<'a> Frame<'a> {
    #[inline]
    pub(crate) fn new(segment: &'a Arc<Segment>, place: &Place) -> Result<Self> {
        let range = place.payload_range();
        Ok(Self {
            lsn: place.lsn(),
            end_lsn: Lsn::new(segment.base + place.next),
            kind: place.header.kind,
            stream: place.header.stream,
            segment,
            at: range.start,
            payload: segment.shown(range),
            decompressed: match place.header.encoding {
                Encoding::Plain => None,
                Encoding::Zstd => Some(place.decompress()?),
            },
        })
    }

    /// The payload: of a single record its bytes, of a batch all of them with their lengths.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match &self.decompressed {
            Some(bytes) => bytes,
            None => self.payload,
        }
    }

    /// Of a batch that is stored compressed: a handle to its payload in memory, of which the records are slices. The
    /// records of other frames are slices of the log.
    #[must_use]
    pub fn decompressed(&self) -> Option<Payload> {
        let bytes = self.decompressed.as_ref()?;
        let all = 0..bytes.len();
        Some(Payload::new(Owner::Buffer(Arc::clone(bytes)), all))
    }

    /// The records.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        let at = match self.decompressed {
            Some(_) => 0,
            None => self.at,
        };
        Records::new(self, at)
    }

    fn owner(&self) -> Owner {
        match &self.decompressed {
            Some(bytes) => Owner::Buffer(Arc::clone(bytes)),
            None => Owner::Segment(Arc::clone(self.segment)),
        }
    }
}

/// A record borrowed from its frame; dereferences to its bytes.
#[derive(Clone, Copy)]
pub struct RecordRef<'a> {
    frame: &'a Frame<'a>,
    bytes: &'a [u8],
    at: usize,
    index: u32,
}

impl fmt::Debug for RecordRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.bytes.escape_ascii())
    }
}

impl<'a> RecordRef<'a> {
    pub(crate) fn new(frame: &'a Frame<'a>, bytes: &'a [u8], at: usize, index: u32) -> Self {
        Self {
            frame,
            bytes,
            at,
            index,
        }
    }

    /// The bytes, for as long as the frame is borrowed.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The number of the record in its batch, from 0.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// A handle to the same bytes that lives on its own.
    #[must_use]
    pub fn to_payload(&self) -> Payload {
        Payload::new(self.frame.owner(), self.at..self.at + self.bytes.len())
    }
}

impl Deref for RecordRef<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

/// Whole frames of one segment. Holds the segment's bytes: send it to another thread and read there.
#[derive(Debug, Clone)]
pub struct Chunk {
    shared: Arc<Shared>,
    segment: Arc<Segment>,
    from: Lsn,
    to: Lsn,
}

impl Chunk {
    pub(crate) fn open(shared: &Arc<Shared>, from: Lsn, to: Lsn) -> Result<Self> {
        let cursor = Cursor::open(shared, from, to)?;
        let from = Lsn::new(cursor.position());
        if to < from {
            return Err(WalError::BadOptions {
                what: format!("a chunk from {from} cannot end before that, at {to}"),
            });
        }
        let segment = shared
            .segment_of(from.get())
            .filter(|segment| to.get() <= segment.end());
        let segment = segment.ok_or_else(|| WalError::BadOptions {
            what: format!("a chunk lies in one segment, but one ends between {from} and {to}"),
        })?;
        // Mapped now, while the cursor keeps its file.
        segment.bytes(0..0)?;
        Ok(Self {
            shared: Arc::clone(shared),
            segment,
            from,
            to,
        })
    }

    pub(crate) fn split(
        shared: &Arc<Shared>,
        from: Lsn,
        to: Lsn,
        target_bytes: u64,
    ) -> Result<Vec<Self>> {
        let mut chunks: Vec<Self> = Vec::new();
        let mut cursor = Cursor::open(shared, from, to)?;
        while let Some(place) = cursor.step(Trust::Header)? {
            let end = Lsn::new(place.segment.base + place.next);
            match chunks.last_mut() {
                Some(chunk)
                    if chunk.segment.base == place.segment.base
                        && chunk.size_bytes() < target_bytes =>
                {
                    chunk.to = end;
                }
                _ => {
                    let (from, shared) = (place.lsn(), Arc::clone(shared));
                    chunks.push(Self {
                        shared,
                        segment: place.segment,
                        from,
                        to: end,
                    });
                }
            }
        }
        Ok(chunks)
    }

    /// Where it starts.
    pub fn from_lsn(&self) -> Lsn {
        self.from
    }

    /// First position behind it.
    pub fn to_lsn(&self) -> Lsn {
        self.to
    }

    /// Its size in the log, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.to.bytes_since(self.from)
    }

    /// Its frames that hold records, each checked before it is returned.
    #[must_use]
    pub fn frames(&self) -> Frames<'_> {
        self.frames_with(Trust::Payload)
    }

    /// The same without checking payloads: for looking at frames that somebody else checks before acting on them. A
    /// compressed batch that does not decompress is an error here too.
    #[must_use]
    pub fn unchecked_frames(&self) -> Frames<'_> {
        self.frames_with(Trust::Header)
    }

    fn frames_with(&self, trust: Trust) -> Frames<'_> {
        Frames {
            chunk: self,
            at: self.from.get().max(self.segment.base + SEGMENT_HEADER_SIZE),
            trust,
        }
    }
}

/// All bytes of the chunk as they stand in the log, frame headers and padding included: the owner behind handles to
/// single records, but those of compressed batches (see [`Frame::decompressed`]).
impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        let start = self.from.get().max(self.segment.base) - self.segment.base;
        let end = self.to.get() - self.segment.base;
        self.segment.shown(to_usize(start)..to_usize(end))
    }
}

/// The frames of a [`Chunk`].
#[derive(Debug)]
pub struct Frames<'a> {
    chunk: &'a Chunk,
    at: u64,
    trust: Trust,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let Chunk {
            shared,
            segment,
            to,
            ..
        } = self.chunk;
        while self.at < to.get() {
            let place = read_place(
                Arc::clone(segment),
                self.at - segment.base,
                to.get(),
                shared,
                self.trust,
            );
            match place {
                Err(error) => {
                    self.at = u64::MAX;
                    return Some(Err(error));
                }
                Ok(place) => {
                    self.at = segment.base + place.next;
                    if place.holds_records() {
                        let frame = Frame::new(segment, &place);
                        return Some(frame.inspect_err(|_| self.at = u64::MAX));
                    }
                }
            }
        }
        None
    }
}

/// What a frame's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameInfo {
    /// Where the frame stands.
    pub lsn: Lsn,
    /// First position behind it.
    pub end_lsn: Lsn,
    /// What it is.
    pub kind: FrameKind,
    /// The stream of its records.
    pub stream: StreamId,
    /// Length of its payload in bytes, as it is stored.
    pub payload_len: usize,
    /// Start of the segment that holds it.
    pub segment: Lsn,
}

/// Hops from frame to frame, reading headers only. Yields frames of every kind.
#[derive(Debug)]
pub struct Headers {
    cursor: Cursor,
}

impl Headers {
    pub(crate) fn open(shared: &Arc<Shared>, from: Lsn, to: Lsn) -> Result<Self> {
        Ok(Self {
            cursor: Cursor::open(shared, from, to)?,
        })
    }
}

impl Iterator for Headers {
    type Item = Result<FrameInfo>;

    fn next(&mut self) -> Option<Self::Item> {
        let place = self
            .cursor
            .step(Trust::Header)
            .inspect_err(|_| self.cursor.stop());
        let info = |place: Place| FrameInfo {
            lsn: place.lsn(),
            end_lsn: Lsn::new(place.segment.base + place.next),
            kind: place.header.kind,
            stream: place.header.stream,
            payload_len: place.header.payload_size(),
            segment: Lsn::new(place.segment.base),
        };
        place.map(|place| place.map(info)).transpose()
    }
}
