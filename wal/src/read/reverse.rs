//! Reading records from the newest to the oldest.
//!
//! A frame says how long it is, but not where the one before it starts. So a stretch of the log is
//! passed over once by its headers, and remembered as a list of places far apart. Then the pieces
//! between them are passed over again, from the last one on. Memory is bounded by the number of
//! places in a segment, and of frames in a piece.

use crate::error::{Result, WalError};
use crate::log::shared::Shared;
use crate::lsn::{Lsn, StreamId};
use crate::read::frame_cursor::FrameCursor;
use crate::read::reader::{Reader, Record};
use crate::retention::guard::RetentionGuard;
use crate::segment::scan::Check;
use std::iter::FusedIterator;
use std::ops::Range;
use std::sync::Arc;

/// Frames that are remembered at a time lie in a piece about as long as this, in bytes.
const PIECE: u64 = 256 << 10;

/// Reads the records below a position, the newest first. It holds back truncation: the whole log is
/// kept while it lives.
///
/// The records of a batch come in the reverse order, too.
#[derive(Debug)]
pub struct ReverseReader {
    shared: Arc<Shared>,
    guard: RetentionGuard,
    only: Option<StreamId>,
    /// What is below this has not been looked at.
    position: u64,
    /// Pieces of the log that are next, the lowest first. A frame starts where each starts.
    pieces: Vec<Range<u64>>,
    /// Frames with records that are next, the lowest first. What is void is passed over where they
    /// are read.
    frames: Vec<Range<u64>>,
    /// Records of one frame that are next, the last one to return first.
    records: Vec<Record>,
    failed: bool,
}

impl ReverseReader {
    pub(crate) fn open(shared: &Arc<Shared>, before: Lsn) -> Result<Self> {
        let guard = RetentionGuard::oldest(&shared.retention, &shared.reader_name);
        let first = guard.lsn();
        if before < first {
            return Err(WalError::Truncated {
                asked: before,
                first,
            });
        }
        shared.check_durable(before)?;
        Ok(Self {
            shared: Arc::clone(shared),
            guard,
            only: None,
            position: before.get(),
            pieces: Vec::new(),
            frames: Vec::new(),
            records: Vec::new(),
            failed: false,
        })
    }

    /// Reads records of this stream only.
    ///
    /// ```
    /// use highwater_wal::StreamId;
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// let _ = log.append_to(StreamId(2), "of stream 2")?;
    /// let _ = log.append_sync("of the default stream")?;
    /// let mut records = log.read_backwards(log.durable_lsn())?.only(StreamId(2));
    /// assert_eq!(&records.next().expect("a record")?.payload[..], b"of stream 2");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn only(mut self, stream: StreamId) -> Self {
        self.only = Some(stream);
        self
    }

    /// Says who reads, for [`Wal::holds`](crate::Wal::holds) and the error of a full log.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// let reader = log.read_backwards(log.durable_lsn())?.named("the latest orders");
    /// assert_eq!(log.holds()[0].name, "the latest orders");
    /// # drop(reader);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn named(mut self, name: impl AsRef<str>) -> Self {
        self.guard.rename(&Arc::from(name.as_ref()));
        self
    }

    fn step(&mut self) -> Result<Option<Record>> {
        loop {
            if let Some(record) = self.records.pop() {
                return Ok(Some(record));
            }
            if let Some(frame) = self.frames.pop() {
                let (from, to) = (Lsn::new(frame.start), Lsn::new(frame.end));
                self.records = Reader::open(&self.shared, from, to)?.collect::<Result<_>>()?;
            } else if let Some(piece) = self.pieces.pop() {
                self.frames = self.frames_of(piece)?;
            } else if !self.next_stretch()? {
                return Ok(None);
            }
        }
    }

    /// The frames of a piece that hold wanted records.
    fn frames_of(&self, piece: Range<u64>) -> Result<Vec<Range<u64>>> {
        let (from, to) = (Lsn::new(piece.start), Lsn::new(piece.end));
        let mut cursor = FrameCursor::open(&self.shared, from, to)?;
        let mut frames = Vec::new();
        while let Some(frame) = cursor.step(Check::Header)? {
            let wanted = self.only.is_none_or(|stream| stream == frame.header.stream);
            if frame.holds_records() && wanted {
                frames.push(frame.lsn().get()..frame.end_lsn().get());
            }
        }
        Ok(frames)
    }

    /// Passes over the next stretch: the rest of a segment, or of that what is not yet in the
    /// control file. False if there is none.
    fn next_stretch(&mut self) -> Result<bool> {
        let first = self.guard.lsn().get();
        if self.position <= first {
            return Ok(false);
        }
        let base = self.shared.segments.base_of(self.position - 1).max(first);
        // A frame starts or ends there, near the end of the log.
        let recorded = self.shared.syncer.recorded();
        let start = match (base..self.position).contains(&recorded) {
            true => recorded,
            false => base,
        };
        let (from, to) = (Lsn::new(start), Lsn::new(self.position));
        let mut cursor = FrameCursor::open(&self.shared, from, to)?;
        let mut piece = start;
        while let Some(frame) = cursor.step(Check::Header)? {
            let lsn = frame.lsn().get();
            if lsn - piece >= PIECE {
                self.pieces.push(piece..lsn);
                piece = lsn;
            }
        }
        self.pieces.push(piece..self.position);
        self.position = start;
        Ok(true)
    }
}

impl Iterator for ReverseReader {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.step();
        self.failed = next.is_err();
        next.transpose()
    }
}

impl FusedIterator for ReverseReader {}
