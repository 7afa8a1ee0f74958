//! Reading without a handle per record: frames, chunks, headers.

use crate::error::{Result, WalError};
use crate::format::frame::{Encoding, FrameKind};
use crate::format::layout::{SEGMENT_HEADER_SIZE, to_usize};
use crate::log::shared::Shared;
use crate::lsn::{Lsn, StreamId};
use crate::options::choices::ReadPath;
use crate::read::cursor::{Cursor, Place, Trust, look};
use crate::read::payload::{Owner, Payload};
use crate::read::reader::Records;
use crate::read::window::ReadWindow;
use crate::segment::file::Segment;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

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
    path: ReadPath,
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
    pub(crate) fn new(
        segment: &'a Arc<Segment>,
        place: &Place<impl Deref<Target = Segment>>,
        payload: &'a [u8],
        path: ReadPath,
    ) -> Result<Self> {
        Ok(Self {
            lsn: place.lsn(),
            end_lsn: Lsn::new(segment.base + place.next),
            kind: place.header.kind,
            stream: place.header.stream,
            segment,
            path,
            at: place.payload_range().start,
            payload,
            decompressed: match place.header.encoding {
                Encoding::Plain => None,
                Encoding::Zstd => Some(place.decompress(payload)?),
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

    /// Of a batch that is stored compressed: a handle to its payload in memory, of which the
    /// records are slices. The records of other frames are slices of the log, or of the chunk.
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

    /// A handle to `bytes`, which stand at `at` of the file, or of the decompressed batch.
    fn handle(&self, bytes: &[u8], at: usize) -> Payload {
        let owner = match (&self.decompressed, self.path) {
            (Some(bytes), _) => Owner::Buffer(Arc::clone(bytes)),
            (None, ReadPath::Mapped) => Owner::Segment(Arc::clone(self.segment)),
            (None, ReadPath::Copy) => return Payload::copied(bytes),
        };
        Payload::new(owner, at..at + bytes.len())
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
        self.frame.handle(self.bytes, self.at)
    }
}

impl Deref for RecordRef<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

/// Whole frames of one segment. Holds the segment's bytes: send it to another thread and read
/// there.
#[derive(Debug, Clone)]
pub struct Chunk {
    shared: Arc<Shared>,
    segment: Arc<Segment>,
    from: Lsn,
    to: Lsn,
    /// Its bytes, if the log is read by copying.
    copied: Option<Arc<Vec<u8>>>,
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
            .segments
            .containing(from.get())
            .filter(|segment| to.get() <= segment.end());
        let segment = segment.ok_or_else(|| WalError::BadOptions {
            what: format!("a chunk lies in one segment, but one ends between {from} and {to}"),
        })?;
        // Mapped or read now, while the cursor keeps its file.
        let mut chunk = Self {
            shared: Arc::clone(shared),
            segment,
            from,
            to,
            copied: None,
        };
        chunk.load()?;
        Ok(chunk)
    }

    /// Maps the segment; of a log that is read by copying, copies the bytes.
    fn load(&mut self) -> Result<()> {
        match self.shared.options.read_path {
            ReadPath::Mapped => self.segment.populate(0..0),
            ReadPath::Copy => {
                let offsets = self.offsets();
                let mut bytes = vec![0; to_usize(offsets.end - offsets.start)];
                let read = self.segment.copy(offsets.start, &mut bytes, &mut None);
                read.map_err(|e| self.shared.reading_failed(e))?;
                self.copied = Some(Arc::new(bytes));
                Ok(())
            }
        }
    }

    fn offsets(&self) -> Range<u64> {
        let start = self.from.get().max(self.segment.base);
        start - self.segment.base..self.to.get() - self.segment.base
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
                        copied: None,
                    });
                }
            }
        }
        chunks.iter_mut().try_for_each(Self::load)?;
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

    /// The same without checking payloads: for looking at frames that somebody else checks before
    /// acting on them. A compressed batch that does not decompress is an error here too.
    #[must_use]
    pub fn unchecked_frames(&self) -> Frames<'_> {
        self.frames_with(Trust::Header)
    }

    fn frames_with(&self, trust: Trust) -> Frames<'_> {
        Frames {
            chunk: self,
            window: match &self.copied {
                None => ReadWindow::of_all(),
                Some(bytes) => {
                    let bytes = Arc::clone(bytes);
                    ReadWindow::over(bytes, self.segment.base, self.offsets().start)
                }
            },
            at: self.from.get().max(self.segment.base + SEGMENT_HEADER_SIZE),
            trust,
        }
    }
}

/// All bytes of the chunk as they stand in the log, frame headers and padding included: the owner
/// behind handles to single records, but those of compressed batches (see [`Frame::decompressed`]).
/// Touch what [`Chunk::frames`] has returned: the pages of the rest need not be readable.
impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        match &self.copied {
            Some(bytes) => bytes,
            None => {
                let Range { start, end } = self.offsets();
                self.segment.shown(to_usize(start)..to_usize(end))
            }
        }
    }
}

impl Chunk {
    /// The payload of a frame that was looked at.
    fn payload(&self, place: &Place<&Segment>) -> &[u8] {
        match &self.copied {
            None => self.segment.shown(place.payload_range()),
            Some(bytes) => {
                let Range { start, end } = place.payload_place();
                let first = self.offsets().start;
                bytes
                    .get(to_usize(start - first)..to_usize(end - first))
                    .expect("the frame was found in these bytes")
            }
        }
    }
}

/// The frames of a [`Chunk`].
#[derive(Debug)]
pub struct Frames<'a> {
    chunk: &'a Chunk,
    window: ReadWindow,
    at: u64,
    trust: Trust,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.step();
        if next.as_ref().is_some_and(Result::is_err) {
            self.at = u64::MAX;
        }
        next
    }
}

impl<'a> Frames<'a> {
    fn step(&mut self) -> Option<Result<Frame<'a>>> {
        while self.at < self.chunk.to.get() {
            let place = match self.look() {
                Ok(place) => place,
                Err(error) => return Some(Err(error)),
            };
            let segment = &self.chunk.segment;
            self.at = segment.base + place.next;
            if place.holds_records() {
                let (payload, path) = (self.chunk.payload(&place), self.window.read_path());
                return Some(Frame::new(segment, &place, payload, path));
            }
        }
        None
    }

    /// The next frame. Its payload may be touched, also if only its header is checked.
    #[inline]
    fn look(&mut self) -> Result<Place<&'a Segment>> {
        let Chunk {
            shared,
            segment,
            to,
            ..
        } = self.chunk;
        let (offset, limit) = (self.at - segment.base, to.get());
        let (trust, window) = (self.trust, &mut self.window);
        let header = look(segment, offset, limit, shared, trust, window)?;
        let place = Place {
            next: header.next_offset(offset, segment.size),
            segment: &**segment,
            offset,
            header,
        };
        if trust == Trust::Header && place.holds_records() {
            let there = window.ensure(segment, &place.payload_place(), limit - segment.base);
            there.map_err(|e| shared.reading_failed(e))?;
        }
        Ok(place)
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
