//! What a log consists of, counted frame by frame.

use crate::error::{Result, WalError};
use crate::format::frame::FrameKind;
use crate::format::layout::{BATCH_COUNT_SIZE, FRAME_HEADER_SIZE, SEGMENT_HEADER_SIZE, frame_size};
use crate::inspect::dump::DumpedFrame;
use crate::inspect::log::{Log, Progress};
use crate::lsn::{Lsn, StreamId};
use crate::metrics::histogram::Histogram;
use std::collections::BTreeMap;

/// Frames, and what is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Amount {
    /// Frames.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of the records.
    pub record_bytes: u64,
    /// Bytes that the frames take in the log: headers, padding, lengths of records.
    pub log_bytes: u64,
}

/// Bytes of the log's files that are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Overhead {
    /// Headers of frames that hold records.
    pub frame_headers: u64,
    /// Zeros after frames, up to the next multiple of 8.
    pub padding: u64,
    /// Counts and lengths inside batches.
    pub batch_lengths: u64,
    /// The log's own frames: durable-LSN records, seals, close marks, voids, cursors.
    pub own_frames: u64,
    /// Header pages of segments.
    pub segment_headers: u64,
    /// Ends of sealed segments that were too small for the next frame.
    pub sealed_rests: u64,
}

/// What compression does to the frames that use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Compressed {
    /// Frames stored compressed.
    pub frames: u64,
    /// Their payloads as stored, in bytes.
    pub stored_bytes: u64,
    /// Their payloads as they were appended, in bytes.
    pub raw_bytes: u64,
}

/// What [`Log::stats`] counts.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct LogStats {
    /// Where the first frame counted starts.
    pub from_lsn: Lsn,
    /// After the last frame counted.
    pub end_lsn: Lsn,
    /// Segments that hold a frame.
    pub segments: u64,
    /// Everything.
    pub total: Amount,
    /// By kind, in the order of the format.
    pub kinds: Vec<(FrameKind, Amount)>,
    /// Frames with records by stream.
    pub streams: BTreeMap<StreamId, Amount>,
    /// Sizes of records in bytes.
    pub record_sizes: Histogram,
    /// Records per batch.
    pub batch_records: Histogram,
    /// Durable-LSN records: each follows a sync, so they count the commit groups.
    pub durable_lsn_records: u64,
    /// Bytes of the log from one durable-LSN record to the next.
    pub group_bytes: Histogram,
    /// Records between one durable-LSN record and the next.
    pub group_records: Histogram,
    /// Bytes that are no record.
    pub overhead: Overhead,
    /// Frames that are stored compressed.
    pub compressed: Compressed,
    /// Why counting ended before the end of the log: what is damaged there.
    pub damage: Option<WalError>,
}

/// Counting from one durable-LSN record to the next.
#[derive(Debug, Default)]
struct Group {
    since: Option<Lsn>,
    records: u64,
}

impl Log {
    /// Reads all intact frames from `from` (a place as for [`Self::frames`]) up to the end or the
    /// first damage, and counts what is in them. `progress` is called now and then.
    ///
    /// ```
    /// use highwater_wal::{Lsn, disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// # let _ = log.append_batch(&["one", "two"])?;
    /// # log.close()?;
    /// # drop(log);
    /// let log = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// let stats = log.stats(Lsn::ZERO, |_| ())?;
    /// assert_eq!((stats.total.records, stats.total.record_bytes), (2, 6));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::frames`]; damage in the middle is no error, but part of the result.
    pub fn stats(&self, from: Lsn, mut progress: impl FnMut(Progress)) -> Result<LogStats> {
        let mut stats = LogStats::default();
        let mut group = Group::default();
        let mut segment = None;
        let frames = self.frames(from)?;
        let (start, bytes_total) = frames.span();
        for frame in frames {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error @ WalError::Io { .. }) if !self.is_one_segment() => return Err(error),
                Err(WalError::Truncated { .. }) => continue,
                Err(damage) if self.is_one_segment() => {
                    stats.damage.get_or_insert(damage);
                    continue;
                }
                Err(damage) => {
                    stats.damage = Some(damage);
                    break;
                }
            };
            if stats.total.frames == 0 {
                stats.from_lsn = frame.lsn;
            }
            let base = frame.lsn.get() - frame.offset;
            if segment != Some(base) {
                segment = Some(base);
                stats.segments += 1;
                stats.overhead.segment_headers += SEGMENT_HEADER_SIZE;
                progress(Progress {
                    bytes_done: frame.lsn.bytes_since(start),
                    bytes_total,
                });
            }
            stats.count(&frame, &mut group);
        }
        Ok(stats)
    }
}

impl LogStats {
    fn count(&mut self, frame: &DumpedFrame, group: &mut Group) {
        let records = frame.records();
        let record_bytes = records.iter().map(|record| record.len() as u64).sum();
        let stored = frame.stored_bytes as u64;
        let amount = Amount {
            frames: 1,
            records: records.len() as u64,
            record_bytes,
            log_bytes: frame_size(stored),
        };
        self.end_lsn = frame.end_lsn;
        self.total.add(&amount);
        match self.kinds.iter_mut().find(|(kind, _)| *kind == frame.kind) {
            Some((_, sum)) => sum.add(&amount),
            None => {
                self.kinds.push((frame.kind, amount));
                self.kinds.sort_by_key(|(kind, _)| kind.to_byte());
            }
        }
        match frame.kind {
            FrameKind::Data | FrameKind::Control | FrameKind::Batch => {
                self.streams.entry(frame.stream).or_default().add(&amount);
                for record in &records {
                    self.record_sizes.add(record.len() as u64);
                }
                group.records += amount.records;
                self.overhead.frame_headers += FRAME_HEADER_SIZE;
                self.overhead.padding += amount.log_bytes - FRAME_HEADER_SIZE - stored;
            }
            FrameKind::DurableLsn | FrameKind::DurableAt => {
                self.durable_lsn_record(frame.lsn, group);
            }
            FrameKind::Seal
            | FrameKind::Close
            | FrameKind::Padding
            | FrameKind::Void
            | FrameKind::Cursor => {}
        }
        match frame.kind {
            FrameKind::Batch => {
                self.batch_records.add(amount.records);
                let lengths = BATCH_COUNT_SIZE as u64 * (1 + amount.records);
                self.overhead.batch_lengths += lengths;
                self.compression(stored, lengths + record_bytes);
            }
            FrameKind::Data | FrameKind::Control => {}
            FrameKind::DurableLsn
            | FrameKind::DurableAt
            | FrameKind::Seal
            | FrameKind::Close
            | FrameKind::Padding
            | FrameKind::Void
            | FrameKind::Cursor => {
                self.overhead.own_frames += amount.log_bytes;
                let span = frame.end_lsn.bytes_since(frame.lsn);
                self.overhead.sealed_rests += span - amount.log_bytes;
            }
        }
    }

    fn durable_lsn_record(&mut self, lsn: Lsn, group: &mut Group) {
        self.durable_lsn_records += 1;
        if let Some(since) = group.since {
            self.group_bytes.add(lsn.bytes_since(since));
            self.group_records.add(group.records);
        }
        *group = Group {
            since: Some(lsn),
            records: 0,
        };
    }

    /// A compressed frame is known by its payload: as stored it is not what it holds.
    fn compression(&mut self, stored_bytes: u64, raw_bytes: u64) {
        if stored_bytes != raw_bytes {
            self.compressed.frames += 1;
            self.compressed.stored_bytes += stored_bytes;
            self.compressed.raw_bytes += raw_bytes;
        }
    }
}

impl Amount {
    fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.records += other.records;
        self.record_bytes += other.record_bytes;
        self.log_bytes += other.log_bytes;
    }
}
