//! Reading records.

use crate::error::Result;
use crate::format::batch::RecordSplitter;
use crate::format::frame::FrameKind;
use crate::log::shared::Shared;
use crate::lsn::{Lsn, StreamId};
use crate::read::frame::Frame;
use crate::read::frame_cursor::FrameCursor;
use crate::read::payload::{Owner, Payload};
use crate::segment::scan::{Check, FoundFrame};
use std::ops::Range;
use std::sync::Arc;

/// Who appended a record: the user, or the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecordKind {
    /// Appended with [`Wal::append`](crate::Wal::append) or as part of a batch.
    Data,
    /// Appended with [`Wal::append_control`](crate::Wal::append_control).
    Control,
}

/// One record of the log.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Record {
    /// Where its frame starts.
    pub lsn: Lsn,
    /// Where the next frame starts. To go on after this record, go on there, once all records of
    /// its batch are dealt with: see [`Self::is_last`].
    pub next_lsn: Lsn,
    /// Its number in the batch that it was appended with, from 0.
    pub index: u32,
    /// Whether it is the last one of its batch. A record that was appended alone is.
    pub is_last: bool,
    /// Who appended it.
    pub kind: RecordKind,
    /// Its stream.
    pub stream: StreamId,
    /// Its bytes.
    pub payload: Payload,
}

/// Reads a range of the log in order. It holds back truncation from its position on.
///
/// As an iterator it yields records. [`Self::next_frame`] is faster where records need not outlive
/// the call.
#[derive(Debug)]
pub struct Reader {
    cursor: FrameCursor,
    batch: Option<OpenBatch>,
}

/// A batch of which some records are still to be returned.
#[derive(Debug)]
struct OpenBatch {
    owner: Owner,
    /// Where the payload lies in what `owner` keeps.
    payload: Range<usize>,
    lsn: Lsn,
    next_lsn: Lsn,
    stream: StreamId,
    splitter: RecordSplitter,
}

impl Reader {
    pub(crate) fn open(shared: &Arc<Shared>, from: Lsn, to: Lsn) -> Result<Self> {
        Ok(Self {
            cursor: FrameCursor::open(shared, from, to)?,
            batch: None,
        })
    }

    pub(crate) fn follow(shared: &Arc<Shared>, from: Lsn) -> Result<Self> {
        Ok(Self {
            cursor: FrameCursor::follow(shared, from)?,
            batch: None,
        })
    }

    /// Reads records of this stream only. Of other streams it reads and checks the headers.
    ///
    /// ```
    /// use highwater_wal::StreamId;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let _ = log.append("of the default stream")?;
    /// let batch = log.append_batch_to(StreamId(2), ["one", "two"])?;
    /// log.sync_to(batch.first)?;
    /// assert_eq!(log.read_from(log.first_lsn())?.only(StreamId(2)).count(), 2);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn only(mut self, stream: StreamId) -> Self {
        self.cursor.keep_to(stream);
        self
    }

    /// Says who reads, for [`Wal::holds`](crate::Wal::holds) and the error of a full log.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let reader = log.read_from(log.first_lsn())?.named("the nightly export");
    /// assert_eq!(log.holds()[0].name, "the nightly export");
    /// # drop(reader);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn named(mut self, name: impl AsRef<str>) -> Self {
        self.cursor.rename(name.as_ref());
        self
    }

    pub(crate) fn cursor(&mut self) -> &mut FrameCursor {
        &mut self.cursor
    }

    /// Where the next frame is read. Everything before was returned, but some records of an open
    /// batch may not be. After an error, where that frame starts.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let (one, two) = (log.append("one")?, log.append("two")?);
    /// log.sync_to(two)?;
    /// let mut reader = log.read_from(one)?;
    /// assert_eq!(reader.position(), one);
    /// reader.next().expect("the first record")?;
    /// assert_eq!(reader.position(), two);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn position(&self) -> Lsn {
        Lsn::new(self.cursor.position())
    }

    /// The next frame that holds records, checked; `None` at the end of the range. Records of a
    /// batch that the iterator has not returned yet are skipped.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let batch = log.append_batch(&["one", "two"])?;
    /// log.sync_to(batch.first)?;
    /// let mut reader = log.read_from(batch.first)?;
    /// while let Some(frame) = reader.next_frame()? {
    ///     for record in frame.records() {
    ///         println!("{} bytes, read in place", record.len());
    ///     }
    /// #   assert_eq!(frame.records().count(), 2);
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Corrupt`](crate::WalError::Corrupt) if the log is damaged there;
    /// [`WalError::Io`](crate::WalError::Io).
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>> {
        self.batch = None;
        loop {
            let Some(found) = self.cursor.step(Check::Payload)? else {
                return Ok(None);
            };
            if found.holds_records() && !self.cursor.is_void(&found) {
                let decompressed = match self.cursor.decompressed(&found) {
                    Ok(decompressed) => decompressed,
                    Err(error) => {
                        // The next call must fail too: no reader may pass over the frame.
                        self.cursor.go_back(&found);
                        return Err(error);
                    }
                };
                let frame = Frame::new(
                    self.cursor.segment(),
                    &found,
                    self.cursor.payload(&found),
                    self.cursor.read_path(),
                    decompressed,
                );
                return Ok(Some(frame));
            }
        }
    }

    fn next_record(&mut self) -> Result<Option<Record>> {
        loop {
            if let Some(record) = self.batch.as_mut().and_then(OpenBatch::next) {
                return Ok(Some(record));
            }
            self.batch = None;
            let Some(found) = self.cursor.step(Check::Payload)? else {
                return Ok(None);
            };
            if self.cursor.is_void(&found) {
                continue;
            }
            let kind = match found.header.kind {
                FrameKind::Data => RecordKind::Data,
                FrameKind::Control => RecordKind::Control,
                FrameKind::Batch => {
                    self.batch = Some(OpenBatch::new(&self.cursor, &found)?);
                    continue;
                }
                FrameKind::DurableLsn
                | FrameKind::Seal
                | FrameKind::Close
                | FrameKind::Padding
                | FrameKind::DurableAt
                | FrameKind::Void
                | FrameKind::Cursor => continue,
            };
            let (owner, range) = self.cursor.owned(&found);
            return Ok(Some(Record {
                lsn: found.lsn(),
                next_lsn: found.end_lsn(),
                index: 0,
                is_last: true,
                kind,
                stream: found.header.stream,
                payload: Payload::new(owner, range),
            }));
        }
    }
}

impl OpenBatch {
    fn new(cursor: &FrameCursor, found: &FoundFrame) -> Result<Self> {
        let (owner, payload) = match cursor.decompressed(found)? {
            Some(bytes) => {
                let all = 0..bytes.len();
                (Owner::Buffer(bytes), all)
            }
            None => cursor.owned(found),
        };
        Ok(Self {
            owner,
            payload,
            lsn: found.lsn(),
            next_lsn: found.end_lsn(),
            stream: found.header.stream,
            splitter: RecordSplitter::new(FrameKind::Batch),
        })
    }

    fn next(&mut self) -> Option<Record> {
        let payload = self.owner.bytes(self.payload.clone());
        let (index, at, bytes) = self.splitter.next(payload)?;
        let is_last = self.splitter.is_at_end(payload);
        let start = self.payload.start + at;
        Some(Record {
            lsn: self.lsn,
            next_lsn: self.next_lsn,
            index,
            is_last,
            kind: RecordKind::Data,
            stream: self.stream,
            payload: Payload::new(self.owner.clone(), start..start + bytes.len()),
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
