//! Reading records.

use crate::error::Result;
use crate::format::batch::{open_batch, split_record};
use crate::format::frame::{Encoding, FrameKind};
use crate::format::layout::BATCH_COUNT_SIZE;
use crate::log::shared::Shared;
use crate::lsn::{Lsn, StreamId};
use crate::options::choices::ReadPath;
use crate::read::chunk::{Frame, RecordRef};
use crate::read::cursor::{Cursor, Place, Trust};
use crate::read::payload::{Owner, Payload};
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
/// As an iterator it yields records. [`Self::next_frame`] is faster where records need not outlive
/// the call.
#[derive(Debug)]
pub struct Reader {
    cursor: Cursor,
    batch: Option<OpenBatch>,
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

    /// Where the next frame is read: everything before it was returned (of an open batch, some
    /// records may not be). Behind an error, where that frame stands.
    pub fn position(&self) -> Lsn {
        Lsn::new(self.cursor.position())
    }

    /// The next frame that holds records, checked; `None` at the end of the range. Records of a
    /// batch that the iterator has not returned yet are skipped.
    ///
    /// # Errors
    /// [`WalError::Corrupt`](crate::WalError::Corrupt) if the log is damaged there;
    /// [`WalError::Io`](crate::WalError::Io).
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>> {
        self.batch = None;
        loop {
            let Some(place) = self.cursor.step(Trust::Payload)? else {
                return Ok(None);
            };
            if place.holds_records() {
                let Cursor {
                    segment,
                    window,
                    position,
                    ..
                } = &mut self.cursor;
                let segment = segment.as_ref().expect("a step enters a segment");
                let payload = window.shown(segment, place.payload_place());
                let payload = payload.expect("what was checked is in the window");
                return match Frame::new(segment, &place, payload, window.read_path()) {
                    Ok(frame) => Ok(Some(frame)),
                    Err(error) => {
                        // Asked again, it says the same: nobody may pass over the frame.
                        *position = place.lsn().get();
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
                    let payload = self.cursor.payload(&place);
                    let path = self.cursor.window.read_path();
                    self.batch = Some(OpenBatch::new(&place, payload, path)?);
                    continue;
                }
                FrameKind::Watermark | FrameKind::Seal | FrameKind::Close | FrameKind::Padding => {
                    continue;
                }
            };
            let stream = place.header.stream;
            let payload = match self.cursor.window.read_path() {
                ReadPath::Mapped => {
                    let range = place.payload_range();
                    Payload::new(Owner::Segment(place.segment), range)
                }
                ReadPath::Copy => Payload::copied(self.cursor.payload(&place)),
            };
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
    fn new(place: &Place, payload: &[u8], path: ReadPath) -> Result<Self> {
        let (lsn, stream) = (place.lsn(), place.header.stream);
        let buffer = match (place.header.encoding, path) {
            (Encoding::Zstd, _) => Some(place.decompress(payload)?),
            (Encoding::Plain, ReadPath::Copy) => Some(Arc::new(payload.to_vec())),
            (Encoding::Plain, ReadPath::Mapped) => None,
        };
        let (owner, payload) = match buffer {
            Some(bytes) => {
                let all = 0..bytes.len();
                (Owner::Buffer(bytes), all)
            }
            None => {
                let range = place.payload_range();
                (Owner::Segment(Arc::clone(&place.segment)), range)
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
