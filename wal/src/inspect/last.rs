//! The last records of a log, found from its end.

use crate::error::Result;
use crate::format::frame::FrameKind;
use crate::format::layout::{FRAME_ALIGNMENT, SEGMENT_HEADER_SIZE};
use crate::inspect::dump::records_in;
use crate::inspect::log::Log;
use crate::lsn::{Lsn, StreamId};
use crate::segment::header::SegmentFile;
use crate::segment::scan::{Check, Found};
use std::collections::VecDeque;

/// Where the last records of a log begin: see [`Log::last_records`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastRecords {
    /// The frame that holds the first of them; the end of the log if there is none.
    pub from: Lsn,
    /// Records of that frame that come before it.
    pub skip: u64,
    /// How many there are: fewer than asked for if the log has no more.
    pub records: u64,
}

/// The last frames of a stretch that hold a number of records.
#[derive(Debug)]
struct Ring {
    wanted: u64,
    /// LSN and records of each.
    frames: VecDeque<(Lsn, u64)>,
    records: u64,
}

impl Log {
    /// Where the last `count` records begin, of all streams or of one. Reads from the last segment
    /// backwards, only as many as it takes, and of single records the headers alone. Memory is
    /// bounded by `count` positions.
    ///
    /// If the log is damaged, these are the last records before the damage, as far as it is seen:
    /// segments that are not needed are not looked at.
    ///
    /// ```
    /// use highwater_wal::{Lsn, disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let batch = log.append_batch(&["one", "two", "three"])?;
    /// let _ = log.append("four")?;
    /// # log.close()?;
    /// # drop(log);
    /// let log = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// let last = log.last_records(2, None)?;
    /// assert_eq!((last.from, last.skip, last.records), (batch.first, 2, 2));
    /// let mut frames = log.frames(last.from)?;
    /// assert_eq!(frames.next().expect("a frame")?.records()[2], b"three");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::frames`].
    pub fn last_records(&self, count: u64, stream: Option<StreamId>) -> Result<LastRecords> {
        self.when_stable(|log| log.last_records_now(count, stream), |_| true)
    }

    fn last_records_now(&self, count: u64, stream: Option<StreamId>) -> Result<LastRecords> {
        let frames = self.frames(Lsn::ZERO)?;
        let mut last = LastRecords {
            from: frames.log_end(),
            skip: 0,
            records: 0,
        };
        for segment in frames.segments.iter().rev() {
            let limit = frames.end.saturating_sub(segment.base).min(segment.size);
            let wanted = count - last.records;
            if wanted == 0 {
                break;
            }
            let ring = self.last_in(segment, limit, wanted, stream)?;
            if let Some((first, _)) = ring.frames.front() {
                last.from = *first;
                last.skip = ring.records.saturating_sub(wanted);
                last.records += ring.records - last.skip;
            }
        }
        Ok(last)
    }

    /// The last frames of a segment, up to an offset or to the first place without one.
    fn last_in(
        &self,
        segment: &SegmentFile,
        limit: u64,
        wanted: u64,
        stream: Option<StreamId>,
    ) -> Result<Ring> {
        let mut scan = self.scanner(segment)?;
        let mut ring = Ring {
            wanted,
            frames: VecDeque::new(),
            records: 0,
        };
        let mut offset = SEGMENT_HEADER_SIZE;
        while offset < limit {
            let found = scan.look_below(offset, limit, Check::Header);
            let found = match found {
                Ok(Found::Frame(frame)) => Some(frame),
                Ok(_) => None,
                Err(_) if self.is_one_segment() => None,
                Err(error) => return Err(error),
            };
            let Some(frame) = found else {
                match scan.next_intact(offset + FRAME_ALIGNMENT, limit) {
                    Some(next) if self.is_one_segment() => offset = next,
                    _ => break,
                }
                continue;
            };
            offset = frame.next;
            let other = stream.is_some_and(|stream| stream != frame.header.stream);
            if other || !frame.holds_records() {
                continue;
            }
            let records = match frame.header.kind {
                // How many there are is in the payload.
                FrameKind::Batch => match scan.look_below(frame.offset, limit, Check::Payload)? {
                    Found::Frame(frame) => records_in(&frame.header, scan.payload(&frame)),
                    _ => Ok(0),
                },
                _ => Ok(1),
            };
            ring.add(frame.lsn(), records.unwrap_or(0));
        }
        Ok(ring)
    }
}

impl Ring {
    fn add(&mut self, lsn: Lsn, records: u64) {
        if records == 0 {
            return;
        }
        self.frames.push_back((lsn, records));
        self.records += records;
        while let Some((_, first)) = self.frames.front()
            && self.records - first >= self.wanted
        {
            self.records -= first;
            self.frames.pop_front();
        }
    }
}
