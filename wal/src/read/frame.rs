//! One frame as a reader returns it, and its records: without a handle per record.

use crate::format::batch::RecordSplitter;
use crate::format::frame::FrameKind;
use crate::format::layout::to_usize;
use crate::lsn::{Lsn, StreamId};
use crate::options::choices::ReadPath;
use crate::read::payload::{Owner, Payload};
use crate::segment::file::Segment;
use crate::segment::scan::FoundFrame;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A frame that holds records, its checksums found right.
#[derive(Clone)]
pub struct Frame<'a> {
    /// Where it starts.
    pub lsn: Lsn,
    /// First position after it.
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
        found: &FoundFrame,
        payload: &'a [u8],
        path: ReadPath,
        decompressed: Option<Arc<Vec<u8>>>,
    ) -> Self {
        Self {
            lsn: found.lsn(),
            end_lsn: found.end_lsn(),
            kind: found.header.kind,
            stream: found.header.stream,
            segment,
            path,
            at: to_usize(found.payload().start),
            payload,
            decompressed,
        }
    }

    /// The payload: of a single record its bytes, of a batch all of them with their lengths.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let lsn = log.append("a record")?;
    /// log.sync_to(lsn)?;
    /// let mut reader = log.read_from(lsn)?;
    /// let frame = reader.next_frame()?.expect("a frame");
    /// assert_eq!(frame.payload(), b"a record");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match &self.decompressed {
            Some(bytes) => bytes,
            None => self.payload,
        }
    }

    /// Of a batch that is stored compressed: a handle to its payload in memory, of which the
    /// records are slices. The records of other frames are slices of the log, or of the chunk.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let lsn = log.append("a record")?;
    /// log.sync_to(lsn)?;
    /// let mut reader = log.read_from(lsn)?;
    /// let frame = reader.next_frame()?.expect("a frame");
    /// assert!(frame.decompressed().is_none(), "single records are stored as they are");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn decompressed(&self) -> Option<Payload> {
        let bytes = self.decompressed.as_ref()?;
        let all = 0..bytes.len();
        Some(Payload::new(Owner::Buffer(Arc::clone(bytes)), all))
    }

    /// The records. A batch of [`Chunk::unchecked_frames`](crate::Chunk::unchecked_frames) that is
    /// damaged has those before the damage.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let batch = log.append_batch(&["one", "two"])?;
    /// log.sync_to(batch.first)?;
    /// let mut reader = log.read_from(batch.first)?;
    /// let frame = reader.next_frame()?.expect("a frame");
    /// let records: Vec<&[u8]> = frame.records().map(|record| record.bytes()).collect();
    /// assert_eq!(records, [b"one", b"two"]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records {
            frame: self,
            payload: self.payload(),
            splitter: RecordSplitter::new(self.kind),
        }
    }

    /// A handle to `bytes`, which start at `at` of the payload.
    fn handle(&self, bytes: &[u8], at: usize) -> Payload {
        let (owner, at) = match (&self.decompressed, self.path) {
            (Some(bytes), _) => (Owner::Buffer(Arc::clone(bytes)), at),
            (None, ReadPath::Mapped) => (Owner::Segment(Arc::clone(self.segment)), self.at + at),
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
    /// Where it starts in the payload.
    at: usize,
    index: u32,
}

impl fmt::Debug for RecordRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.bytes.escape_ascii())
    }
}

impl<'a> RecordRef<'a> {
    /// The bytes, for as long as the frame is borrowed.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let lsn = log.append("a record")?;
    /// log.sync_to(lsn)?;
    /// let mut reader = log.read_from(lsn)?;
    /// let frame = reader.next_frame()?.expect("a frame");
    /// let first = frame.records().next().expect("a record");
    /// assert_eq!(first.bytes(), b"a record");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The number of the record in its batch, from 0.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let batch = log.append_batch(&["one", "two"])?;
    /// log.sync_to(batch.first)?;
    /// let mut reader = log.read_from(batch.first)?;
    /// let frame = reader.next_frame()?.expect("a frame");
    /// let indexes: Vec<u32> = frame.records().map(|record| record.index()).collect();
    /// assert_eq!(indexes, [0, 1]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// A handle to the same bytes that lives on its own.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let lsn = log.append("a record")?;
    /// log.sync_to(lsn)?;
    /// let mut reader = log.read_from(lsn)?;
    /// let frame = reader.next_frame()?.expect("a frame");
    /// let kept = frame.records().next().expect("a record").to_payload();
    /// drop(reader);
    /// assert_eq!(&kept[..], b"a record");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
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

/// The records of a frame.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    frame: &'a Frame<'a>,
    payload: &'a [u8],
    splitter: RecordSplitter,
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordRef<'a>> {
        let (index, at, bytes) = self.splitter.next(self.payload)?;
        Some(RecordRef {
            frame: self.frame,
            bytes,
            at,
            index,
        })
    }
}
