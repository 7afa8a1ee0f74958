//! Chunks: pieces of the log that threads read side by side.

use crate::error::{Result, WalError};
use crate::format::layout::to_usize;
use crate::log::shared::Shared;
use crate::lsn::{Lsn, StreamId};
use crate::marks::voids::Voids;
use crate::options::choices::ReadPath;
use crate::read::frame::Frame;
use crate::read::frame_cursor::{FrameCursor, decompressed, no_intact_frame};
use crate::segment::file::Segment;
use crate::segment::scan::{Check, Found, FoundFrame, LogScanner, Scanner};
use crate::segment::window::Window;
use std::ops::Range;
use std::sync::Arc;

/// Whole frames of one segment. It holds the segment's bytes, so another thread can read it.
#[derive(Debug, Clone)]
pub struct Chunk {
    shared: Arc<Shared>,
    segment: Arc<Segment>,
    from: Lsn,
    to: Lsn,
    /// What was void when it was made.
    voids: Option<Arc<Voids>>,
    /// Its bytes, if the log is read by copying.
    copied: Option<Arc<Vec<u8>>>,
}

impl Chunk {
    pub(crate) fn open(shared: &Arc<Shared>, from: Lsn, to: Lsn) -> Result<Self> {
        let cursor = FrameCursor::open(shared, from, to)?;
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
            voids: cursor.voids().cloned(),
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
        let mut cursor = FrameCursor::open(shared, from, to)?;
        while let Some(frame) = cursor.step(Check::Header)? {
            match chunks.last_mut() {
                Some(chunk)
                    if chunk.segment.base == frame.base && chunk.size_bytes() < target_bytes =>
                {
                    chunk.to = frame.end_lsn();
                }
                _ => chunks.push(Self {
                    shared: Arc::clone(shared),
                    segment: Arc::clone(cursor.segment()),
                    from: frame.lsn(),
                    to: frame.end_lsn(),
                    voids: cursor.voids().cloned(),
                    copied: None,
                }),
            }
        }
        chunks.iter_mut().try_for_each(Self::load)?;
        Ok(chunks)
    }

    /// Where it starts.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let batch = log.append_batch(&["one", "two"])?;
    /// log.sync_to(batch.first)?;
    /// let chunk = log.chunk(batch.first, batch.end)?;
    /// assert_eq!(chunk.from_lsn(), batch.first);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_lsn(&self) -> Lsn {
        self.from
    }

    /// First position after it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let batch = log.append_batch(&["one", "two"])?;
    /// log.sync_to(batch.first)?;
    /// let chunk = log.chunk(batch.first, batch.end)?;
    /// assert_eq!(chunk.to_lsn(), batch.end);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_lsn(&self) -> Lsn {
        self.to
    }

    /// Its size in the log, in bytes.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let batch = log.append_batch(&["one", "two"])?;
    /// log.sync_to(batch.first)?;
    /// let chunk = log.chunk(batch.first, batch.end)?;
    /// assert_eq!(chunk.size_bytes(), batch.end.bytes_since(batch.first));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.to.bytes_since(self.from)
    }

    /// Its frames that hold records, each checked before it is returned.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let batch = log.append_batch(&["one", "two"])?;
    /// log.sync_to(batch.first)?;
    /// let chunk = log.chunk(batch.first, batch.end)?;
    /// for frame in chunk.frames() {
    ///     for record in frame?.records() {
    ///         println!("{} bytes", record.len());
    ///     }
    /// }
    /// # assert_eq!(chunk.frames().count(), 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn frames(&self) -> Frames<'_> {
        self.frames_with(Check::Payload)
    }

    /// The same without checking payloads, for callers that check before they act. A compressed
    /// batch that does not decompress is an error here too.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let batch = log.append_batch(&["one", "two"])?;
    /// log.sync_to(batch.first)?;
    /// let chunk = log.chunk(batch.first, batch.end)?;
    /// let records: usize = chunk.unchecked_frames().flatten().map(|frame| frame.records().count()).sum();
    /// assert_eq!(records, 2);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn unchecked_frames(&self) -> Frames<'_> {
        self.frames_with(Check::Header)
    }

    /// Its frames of one stream, each checked before it is returned. Of other streams only headers
    /// are read: a reader of one stream pays for its own data alone.
    ///
    /// ```
    /// use highwater_wal::StreamId;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let batch = log.append_batch(&["one", "two"])?;
    /// log.sync_to(batch.first)?;
    /// let chunk = log.chunk(batch.first, batch.end)?;
    /// assert_eq!(chunk.frames_of(StreamId::DEFAULT).count(), 1);
    /// assert_eq!(chunk.frames_of(StreamId(9)).count(), 0);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn frames_of(&self, stream: StreamId) -> Frames<'_> {
        self.frames_with(Check::PayloadOf(stream))
    }

    fn frames_with(&self, check: Check) -> Frames<'_> {
        let window = match &self.copied {
            None => Window::of_whole_map(&self.segment),
            Some(bytes) => Window::of_bytes(Arc::clone(bytes), self.offsets().start),
        };
        let scanner = Scanner::new(self.segment.as_file(), self.shared.key, window);
        Frames {
            chunk: self,
            scan: LogScanner::within(scanner, self.from.get().max(self.segment.base)),
            check,
            failed: false,
        }
    }
}

/// All bytes of the chunk as the log has them, with frame headers and padding. Handles to single
/// records keep these bytes, but those of compressed batches do not (see
/// [`Frame::decompressed`]). Touch what [`Chunk::frames`] has returned: the pages of the rest need
/// not be readable.
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
    /// The payload of a frame that was found.
    fn payload(&self, frame: &FoundFrame) -> &[u8] {
        let Range { start, end } = frame.payload();
        match &self.copied {
            None => self.segment.shown(to_usize(start)..to_usize(end)),
            Some(bytes) => {
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
    scan: LogScanner,
    check: Check,
    failed: bool,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.step();
        self.failed |= next.as_ref().is_some_and(Result::is_err);
        next
    }
}

impl<'a> Frames<'a> {
    fn step(&mut self) -> Option<Result<Frame<'a>>> {
        while !self.failed {
            let found = self
                .scan
                .step(self.chunk.to.get(), self.check, |_, _| Ok(None));
            match found {
                Ok(Some(Found::Frame(frame))) if frame.holds_records() && self.wants(&frame) => {
                    return Some(self.frame(&frame));
                }
                Ok(Some(Found::Frame(_))) => {}
                Ok(None) => return None,
                other => return Some(Err(self.explain(other))),
            }
        }
        None
    }

    fn wants(&self, frame: &FoundFrame) -> bool {
        if let Some(voids) = &self.chunk.voids
            && voids.contains(frame.lsn().get())
        {
            return false;
        }
        match self.check {
            Check::PayloadOf(stream) => frame.header.stream == stream,
            Check::Payload | Check::Header | Check::Marks | Check::Times => true,
        }
    }

    /// The payload of a frame may be touched, also if only its header is checked.
    #[inline]
    fn frame(&mut self, found: &FoundFrame) -> Result<Frame<'a>> {
        let (chunk, scanner) = (self.chunk, self.scan.scanner_mut());
        let scanner = scanner.expect("a chunk lies in one segment");
        if self.check == Check::Header {
            let there = scanner.ensure_payload(found, chunk.to.get());
            there.map_err(|e| chunk.shared.reading_failed(e))?;
        }
        let path = scanner.window().read_path();
        let (segment, payload) = (&chunk.segment, chunk.payload(found));
        let decompressed = decompressed(segment, found, || payload)?;
        Ok(Frame::new(segment, found, payload, path, decompressed))
    }

    #[cold]
    fn explain(&self, found: Result<Option<Found>>) -> WalError {
        let (shared, segment) = (&self.chunk.shared, &self.chunk.segment);
        let error = found.map_or_else(
            |error| error,
            |found| no_intact_frame(segment, self.scan.position, found.as_ref()),
        );
        shared.reading_failed(error)
    }
}
