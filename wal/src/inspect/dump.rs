//! The frames of a log as a tool shows them.

use crate::error::{Finding, Result, WalError};
use crate::format::batch::{open_batch, split_record};
use crate::format::compression::plain;
use crate::format::frame::{At, FrameKind, LogKey, attested};
use crate::format::layout::SEGMENT_HEADER_SIZE;
use crate::inspect::moving::truncated_meanwhile;
use crate::inspect::walk::Found;
use crate::lsn::{Lsn, StreamId};
use crate::recovery::end::unknown_feature;
use crate::segment::scan::{Scan, SegmentFile};
use highwater_disk::Disk;
use std::path::PathBuf;
use std::sync::Arc;

/// One frame, with its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DumpedFrame {
    /// Where it stands.
    pub lsn: Lsn,
    /// First position behind it.
    pub end_lsn: Lsn,
    /// What it is.
    pub kind: FrameKind,
    /// Its stream.
    pub stream: StreamId,
    /// The file that holds it.
    pub file: PathBuf,
    /// Where it starts in that file, in bytes.
    pub offset: u64,
    /// Its payload, decompressed if it is stored compressed.
    pub payload: Vec<u8>,
    /// Bytes that the payload takes in the file.
    pub stored_bytes: usize,
}

impl DumpedFrame {
    /// The frame that a walk through a damaged log has found, or why it is a batch that does not
    /// decompress.
    pub(crate) fn of(found: &Found) -> std::result::Result<Self, String> {
        let lsn = found.lsn();
        Ok(Self {
            lsn: Lsn::new(lsn),
            end_lsn: Lsn::new(lsn + found.header.frame_size()),
            kind: found.header.kind,
            stream: found.header.stream,
            file: found.part.path.clone(),
            offset: found.offset,
            payload: plain(&found.header, found.payload())?.into_owned(),
            stored_bytes: found.header.payload_size(),
        })
    }

    /// The records: one of a data or control frame, those of a batch, none of other kinds.
    #[must_use]
    pub fn records(&self) -> Vec<&[u8]> {
        match self.kind {
            FrameKind::Data | FrameKind::Control => vec![&self.payload],
            FrameKind::Batch => {
                let mut rest = open_batch(&self.payload).map_or(&[][..], |(_, records)| records);
                std::iter::from_fn(|| {
                    let (record, next) = split_record(rest)?;
                    rest = next;
                    Some(record)
                })
                .collect()
            }
            FrameKind::Watermark | FrameKind::Seal | FrameKind::Close | FrameKind::Padding => {
                Vec::new()
            }
        }
    }

    /// Of a watermark or close frame: everything below this was durable.
    #[must_use]
    pub fn attested(&self) -> Option<Lsn> {
        match self.kind {
            FrameKind::Watermark | FrameKind::Close => attested(&self.payload).map(Lsn::new),
            FrameKind::Data
            | FrameKind::Batch
            | FrameKind::Control
            | FrameKind::Seal
            | FrameKind::Padding => None,
        }
    }
}

/// Iterates over the intact frames of a log: see [`Log::frames`](crate::inspect::Log::frames).
#[derive(Debug)]
pub struct DumpedFrames {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) key: LogKey,
    pub(crate) chain: Vec<SegmentFile>,
    pub(crate) position: u64,
    pub(crate) end: u64,
    pub(crate) scan: Option<(SegmentFile, Scan)>,
    /// What is wrong at `end`, if something is: told after everything before it.
    pub(crate) damage: Option<WalError>,
}

impl DumpedFrames {
    /// Where the log ends, or is damaged: no frame from here on is returned.
    pub fn log_end(&self) -> Lsn {
        Lsn::new(self.end)
    }

    /// Where reading starts, and how many bytes of the log there are to the end.
    pub(crate) fn span(&self) -> (Lsn, u64) {
        let start = Lsn::new(self.position);
        (start, Lsn::new(self.end).bytes_since(start))
    }

    fn step(&mut self) -> Result<Option<DumpedFrame>> {
        loop {
            if self.position >= self.end {
                return self.damage.take().map_or(Ok(None), Err);
            }
            let position = self.position;
            let holds = |segment: &SegmentFile| {
                (segment.base..segment.base + segment.size).contains(&position)
            };
            let open = self.scan.take().filter(|(segment, _)| holds(segment));
            let (segment, mut scan) = match open {
                Some(open) => open,
                None => {
                    let segment = self.chain.iter().find(|segment| holds(segment)).cloned();
                    let Some(segment) = segment else {
                        return Ok(None);
                    };
                    let scan = Scan::open(&*self.disk, &segment, self.key)?;
                    (segment, scan)
                }
            };
            let offset = self.position - segment.base;
            if offset < SEGMENT_HEADER_SIZE {
                self.position = segment.base + SEGMENT_HEADER_SIZE;
                self.scan = Some((segment, scan));
                continue;
            }
            let (header, payload) = match scan.look(offset)? {
                At::Frame(header, payload) => match plain(&header, payload) {
                    Ok(payload) => (header, payload.into_owned()),
                    Err(what) => return Err(bad_batch(&segment, offset, what)),
                },
                At::Unknown(raw) => return Err(unknown_feature(&segment, offset, &raw)),
                At::Nothing | At::BadPayload(_) => {
                    let what = "no intact frame starts here: the position is wrong, or the file is damaged";
                    return Err(no_frame(&segment, offset, what));
                }
            };
            let lsn = Lsn::new(self.position);
            self.position = segment.base + header.next_offset(offset, segment.size);
            let frame = DumpedFrame {
                lsn,
                end_lsn: Lsn::new(self.position),
                kind: header.kind,
                stream: header.stream,
                file: segment.path.clone(),
                offset,
                payload,
                stored_bytes: header.payload_size(),
            };
            self.scan = Some((segment, scan));
            return Ok(Some(frame));
        }
    }
}

/// A batch whose checksums are right, but which does not decompress.
pub(crate) fn bad_batch(segment: &SegmentFile, offset: u64, what: String) -> WalError {
    corrupt_at(segment, offset, what)
}

pub(crate) fn no_frame(segment: &SegmentFile, offset: u64, what: &str) -> WalError {
    corrupt_at(segment, offset, what.to_owned())
}

fn corrupt_at(segment: &SegmentFile, offset: u64, what: String) -> WalError {
    WalError::Corrupt {
        finding: Finding::CorruptAttested,
        file: segment.path.clone(),
        offset,
        lsn: Lsn::new(segment.base + offset),
        what,
    }
}

impl Iterator for DumpedFrames {
    type Item = Result<DumpedFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        let error = match self.step() {
            Ok(found) => return found.map(Ok),
            Err(error) => error,
        };
        let truncated = truncated_meanwhile(&*self.disk, &self.dir, self.position, &error);
        let (error, go_on_at) = truncated.unwrap_or((error, u64::MAX));
        (self.position, self.scan) = (go_on_at, None);
        Some(Err(error))
    }
}
