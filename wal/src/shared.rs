//! What all handles of an open log share, and appending.

use crate::commit::Commit;
use crate::error::{Result, WalError};
use crate::flusher::Flusher;
use crate::frame::{FrameKind, HeaderBytes, LogKey, encode_header};
use crate::layout::{FRAME_ALIGNMENT, FRAME_HEADER_SIZE, frame_size, to_usize};
use crate::lsn::{Lsn, StreamId};
use crate::options::Options;
use crate::prepare::Preparer;
use crate::recovery::Recovery;
use crate::retention::Retention;
use crate::segment::Segment;
use crate::stats::Counters;
use crc32c::crc32c;
use highwater_disk::{Clock, DirLock, Disk, Region};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

static ZEROS: [u8; 4096] = [0; 4096];

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    pub(crate) max_record: usize,
    pub(crate) key: LogKey,
    /// Appenders hold this shared while they write, so that whoever holds it alone knows that nobody writes.
    pub(crate) tail: RwLock<Tail>,
    /// All segments that count, by base; the tail is the last.
    pub(crate) segments: RwLock<BTreeMap<u64, Arc<Segment>>>,
    /// Serialises going to the next segment.
    rotation: Mutex<()>,
    pub(crate) preparer: Preparer,
    pub(crate) commit: Commit,
    pub(crate) flusher: Flusher,
    pub(crate) retention: Retention,
    pub(crate) counters: Counters,
    pub(crate) recovery: Recovery,
    pub(crate) lock: Mutex<Option<DirLock>>,
    pub(crate) closing: Mutex<Closing>,
}

/// The segment that is appended to.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) segment: Arc<Segment>,
    pub(crate) gate: Gate,
}

/// Whether records are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    Closed,
}

/// How far closing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    NotYet,
    Done,
}

/// What [`Shared::new`] is made from.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) key: LogKey,
    pub(crate) segments: BTreeMap<u64, Arc<Segment>>,
    pub(crate) tail: Arc<Segment>,
    pub(crate) preparer: Preparer,
    pub(crate) durable: u64,
    pub(crate) first_lsn: u64,
    pub(crate) recovery: Recovery,
    pub(crate) lock: DirLock,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            dir,
            options,
            key,
            segments,
            tail,
            preparer,
            durable,
            first_lsn,
            recovery,
            lock,
        } = parts;
        Self {
            dir,
            disk: Arc::clone(&options.disk),
            clock: Arc::clone(&options.clock),
            max_record: options.max_record(),
            key,
            tail: RwLock::new(Tail {
                segment: tail,
                gate: Gate::Open,
            }),
            segments: RwLock::new(segments),
            rotation: Mutex::new(()),
            preparer,
            commit: Commit::new(durable),
            flusher: Flusher::default(),
            retention: Retention::new(first_lsn),
            counters: Counters::default(),
            recovery,
            lock: Mutex::new(Some(lock)),
            closing: Mutex::new(Closing::NotYet),
            options,
        }
    }

    /// Everything below is handed out.
    pub(crate) fn end(&self) -> u64 {
        let tail = self.tail.read();
        tail.segment.base + tail.segment.map().reserved()
    }

    /// Appends one frame that users asked for.
    pub(crate) fn append(
        &self,
        kind: FrameKind,
        stream: StreamId,
        payload: &[u8],
    ) -> Result<(u64, u64)> {
        if payload.len() > self.max_record {
            return Err(WalError::RecordTooLarge {
                size: payload.len(),
                max: self.max_record,
            });
        }
        self.append_through(kind, stream, payload, Gate::Open)
    }

    /// Appends one frame, if the gate is at least as open as `gate`. Returns where it starts and ends.
    pub(crate) fn append_through(
        &self,
        kind: FrameKind,
        stream: StreamId,
        payload: &[u8],
        gate: Gate,
    ) -> Result<(u64, u64)> {
        let frame = NewFrame::new(kind, stream, payload);
        loop {
            let full = {
                let tail = self.tail.read();
                if tail.gate == Gate::Closed && gate == Gate::Open {
                    return Err(WalError::Closed {
                        dir: self.dir.clone(),
                    });
                }
                self.commit.check()?;
                let map = tail.segment.map();
                if let Some(region) = map.reserve(frame.size, map.capacity() - FRAME_HEADER_SIZE) {
                    return Ok(frame.write(region, &tail.segment, &self.key));
                }
                tail.segment.base
            };
            self.rotate(full)?;
        }
    }

    /// Appends a frame only if the tail has room for it; for frames that are welcome but not needed.
    pub(crate) fn append_if_room(&self, kind: FrameKind, payload: &[u8]) -> Option<(u64, u64)> {
        let frame = NewFrame::new(kind, StreamId::DEFAULT, payload);
        let tail = self.tail.read();
        if tail.gate == Gate::Closed {
            return None;
        }
        let map = tail.segment.map();
        let region = map.reserve(frame.size, map.capacity() - FRAME_HEADER_SIZE)?;
        Some(frame.write(region, &tail.segment, &self.key))
    }

    /// Goes to the next segment, unless somebody else already left the one at `full`.
    fn rotate(&self, full: u64) -> Result<()> {
        let _alone = self.rotation.lock();
        let old = Arc::clone(&self.tail.read().segment);
        if old.base != full {
            return Ok(());
        }
        // Its name is durable before the seal exists: a sealed last segment therefore means that one is missing.
        let next = self.preparer.take()?;
        self.seal(&old);
        self.segments.write().insert(next.base, Arc::clone(&next));
        self.tail.write().segment = next;
        Ok(())
    }

    /// Fills the rest of a segment. Every append leaves room for the header of a seal.
    fn seal(&self, segment: &Segment) {
        let map = segment.map();
        loop {
            let rest = map.capacity() - map.reserved();
            let Some(region) = map.reserve(rest, map.capacity()) else {
                continue; // a smaller record still found room
            };
            let lsn = segment.base + region.offset();
            let header = encode_header(
                FrameKind::Seal,
                StreamId::DEFAULT,
                0,
                crc32c(&[]),
                &self.key,
                lsn,
            );
            let mut parts: Vec<&[u8]> = vec![&header];
            let mut left = to_usize(rest - FRAME_HEADER_SIZE);
            while left > 0 {
                let part = ZEROS.split_at(left.min(ZEROS.len())).0;
                left -= part.len();
                parts.push(part);
            }
            region.fill(&parts);
            return;
        }
    }

    /// The segment that holds `lsn`.
    pub(crate) fn segment_of(&self, lsn: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let (_, segment) = segments.range(..=lsn).next_back()?;
        (lsn < segment.end()).then(|| Arc::clone(segment))
    }

    /// Refuses positions that were never handed out.
    pub(crate) fn check_exists(&self, lsn: Lsn) -> Result<()> {
        let end = self.end();
        if lsn.get() < end {
            Ok(())
        } else {
            Err(WalError::BeyondEnd {
                asked: lsn,
                end: Lsn::new(end),
            })
        }
    }
}

/// A frame whose payload is checked out and checksummed, before it has a place.
struct NewFrame<'a> {
    kind: FrameKind,
    stream: StreamId,
    payload: &'a [u8],
    payload_len: u32,
    body_crc: u32,
    size: u64,
}

impl<'a> NewFrame<'a> {
    fn new(kind: FrameKind, stream: StreamId, payload: &'a [u8]) -> Self {
        let payload_len = u32::try_from(payload.len()).expect("records are smaller than a segment");
        let size = frame_size(u64::from(payload_len));
        Self {
            kind,
            stream,
            payload,
            payload_len,
            body_crc: crc32c(payload),
            size,
        }
    }

    fn write(&self, region: Region<'_>, segment: &Segment, key: &LogKey) -> (u64, u64) {
        let lsn = segment.base + region.offset();
        let header: HeaderBytes = encode_header(
            self.kind,
            self.stream,
            self.payload_len,
            self.body_crc,
            key,
            lsn,
        );
        let used = FRAME_HEADER_SIZE + u64::from(self.payload_len);
        let padding = [0; to_usize(FRAME_ALIGNMENT)];
        let (padding, _) = padding.split_at(to_usize(self.size - used));
        region.fill(&[&header, self.payload, padding]);
        (lsn, lsn + self.size)
    }
}
