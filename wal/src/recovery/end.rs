//! Where the log ends: the first table in [`crate::recovery`]. Only reads.

use crate::control::file::{LogEnd, Meta};
use crate::error::{Finding, Result, WalError};
use crate::format::frame::{At, FrameKind, LogKey, RawHeader, attested, lsn};
use crate::format::layout::{
    ATTEST_SIZE, FRAME_ALIGNMENT, FRAME_HEADER_SIZE, SEGMENT_HEADER_SIZE, frame_size,
};
use crate::recovery::cases::Case;
use crate::segment::list::missing;
use crate::segment::scan::{Scan, SegmentFile};
use highwater_disk::Disk;
use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;

/// The end of the log, found by reading alone.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) case: Case,
    /// Index of the segment that holds x, and x as an offset in it.
    pub(crate) segment: usize,
    pub(crate) offset: u64,
    /// Everything below is attested, or was not read because it is.
    pub(crate) attested: u64,
    /// Good frames at or above `attested`.
    pub(crate) unattested: usize,
    /// Headers to overwrite: segment and offset.
    pub(crate) erase: Vec<(usize, u64)>,
    pub(crate) frames_erased: usize,
    pub(crate) bytes_cut: u64,
}

/// Reading forward from the start of a segment to x.
struct Walk {
    segment: usize,
    offset: u64,
    attested: u64,
    /// LSNs of the frames at or above `attested`.
    unattested: VecDeque<u64>,
    last: Option<FrameKind>,
    torn: Option<u64>,
}

/// Finds the end of the log in a checked chain. Changes nothing.
pub(crate) fn find_end(
    disk: &dyn Disk,
    dir: &Path,
    meta: &Meta,
    chain: &[SegmentFile],
) -> Result<End> {
    end_from(disk, dir, meta, chain).map_err(|lost| match lost {
        Lost::Error(error) => error,
        Lost::Frame {
            segment,
            offset,
            proof,
        } => {
            let key = LogKey::new(meta.log_id);
            let (segment, offset) = damage_begins(disk, key, chain, segment, offset);
            lost_frame(segment_at(chain, segment), offset, &proof)
        }
    })
}

/// Why the end cannot be told.
enum Lost {
    Error(WalError),
    /// No intact frame stands at an offset of a segment, given by its index, and something proves
    /// that one did.
    Frame {
        segment: usize,
        offset: u64,
        proof: String,
    },
}

impl From<WalError> for Lost {
    fn from(error: WalError) -> Self {
        Self::Error(error)
    }
}

fn end_from(
    disk: &dyn Disk,
    dir: &Path,
    meta: &Meta,
    chain: &[SegmentFile],
) -> std::result::Result<End, Lost> {
    let key = LogKey::new(meta.log_id);
    let walk = walk_back(disk, dir, meta, chain)?;
    let at = segment_at(chain, walk.segment);
    let x = at.base + walk.offset;
    if meta.attested_lsn > x {
        return Err(Lost::Frame {
            segment: walk.segment,
            offset: walk.offset,
            proof: format!("LOG proves that everything below {}", meta.attested_lsn),
        });
    }
    let mut end = End {
        case: Case::OpenEnd,
        segment: walk.segment,
        offset: walk.offset,
        attested: walk.attested,
        unattested: walk.unattested.len(),
        erase: Vec::new(),
        frames_erased: 0,
        bytes_cut: walk.torn.unwrap_or(0),
    };
    let blank = Scan::open(disk, at, key)?.is_zero(walk.offset)?;
    if !blank {
        end.erase.push((walk.segment, walk.offset));
    }
    let until = match meta.reach {
        0 => u64::MAX,
        reach => x.saturating_add(reach),
    };
    for (index, segment) in chain.iter().enumerate().skip(walk.segment) {
        let from = if index == walk.segment {
            walk.offset + FRAME_ALIGNMENT
        } else {
            SEGMENT_HEADER_SIZE
        };
        let range = from..until.saturating_sub(segment.base).min(segment.size);
        look_behind(disk, key, segment, index, range, x, &mut end)?;
    }
    end.case = if end.frames_erased > 0 || walk.torn.is_some() {
        Case::TornTail
    } else if walk.last == Some(FrameKind::Close) {
        Case::CleanEnd
    } else if blank {
        Case::OpenEnd
    } else {
        Case::StaleBytes
    };
    Ok(end)
}

/// Walks from the last segment that holds a frame, or from as far back as it takes to prove that
/// all before is durable.
fn walk_back(
    disk: &dyn Disk,
    dir: &Path,
    meta: &Meta,
    chain: &[SegmentFile],
) -> std::result::Result<Walk, Lost> {
    let key = LogKey::new(meta.log_id);
    let mut start = 0;
    for (index, segment) in chain.iter().enumerate().rev() {
        let holds = matches!(
            Scan::open(disk, segment, key)?.look(SEGMENT_HEADER_SIZE)?,
            At::Frame(..)
        );
        if holds {
            start = index;
            break;
        }
    }
    loop {
        let walk = walk_from(disk, dir, meta, chain, start)?;
        if start == 0 || walk.attested >= segment_at(chain, start).base {
            return Ok(walk);
        }
        start -= 1;
    }
}

fn walk_from(
    disk: &dyn Disk,
    dir: &Path,
    meta: &Meta,
    chain: &[SegmentFile],
    start: usize,
) -> std::result::Result<Walk, Lost> {
    let key = LogKey::new(meta.log_id);
    let mut walk = Walk {
        segment: start,
        offset: SEGMENT_HEADER_SIZE,
        attested: meta.attested_lsn,
        unattested: VecDeque::new(),
        last: None,
        torn: None,
    };
    let mut segment = segment_at(chain, start);
    let mut scan = Scan::open(disk, segment, key)?;
    walk.skip_attested(meta.end, segment, &mut scan)?;
    loop {
        match scan.look(walk.offset)? {
            At::Frame(header, payload) => {
                let next = header.next_offset(walk.offset, segment.size);
                walk.pass(segment.base + walk.offset, header.kind, payload);
                walk.offset = next;
            }
            At::Unknown(raw) => return Err(unknown_feature(segment, walk.offset, &raw).into()),
            At::BadPayload(header) => {
                walk.torn = Some(header.frame_size());
                return Ok(walk);
            }
            At::Nothing => return Ok(walk),
        }
        if walk.offset == segment.size {
            walk.segment += 1;
            walk.offset = SEGMENT_HEADER_SIZE;
            segment = chain.get(walk.segment).ok_or_else(|| {
                missing(
                    dir,
                    segment.base + segment.size,
                    "the segment before it is sealed, so this one was there",
                )
            })?;
            scan = Scan::open(disk, segment, key)?;
        }
    }
}

impl Walk {
    /// Begins where `LOG` says that everything before is durable, if that is in the first segment.
    /// A frame ends there: the close frame, if the log was closed.
    fn skip_attested(
        &mut self,
        end: LogEnd,
        segment: &SegmentFile,
        scan: &mut Scan,
    ) -> std::result::Result<(), Lost> {
        let Some(offset) = self.attested.checked_sub(segment.base) else {
            return Ok(());
        };
        if offset <= SEGMENT_HEADER_SIZE || offset + FRAME_HEADER_SIZE > segment.size {
            return Ok(());
        }
        self.offset = offset;
        let close = offset - frame_size(ATTEST_SIZE);
        match (end, scan.look(close)?) {
            (_, At::Frame(header, _)) if header.kind == FrameKind::Close => {
                self.last = Some(FrameKind::Close);
                Ok(())
            }
            (LogEnd::Closed, _) => Err(Lost::Frame {
                segment: self.segment,
                offset: close,
                proof: format!("LOG proves that everything below {}", self.attested),
            }),
            (LogEnd::Open, _) => Ok(()),
        }
    }

    fn pass(&mut self, lsn: u64, kind: FrameKind, payload: &[u8]) {
        if kind != FrameKind::Padding {
            self.last = Some(kind);
        }
        if lsn >= self.attested {
            self.unattested.push_back(lsn);
        }
        if matches!(kind, FrameKind::Watermark | FrameKind::Close) {
            self.attested = attested(payload).unwrap_or(0).min(lsn).max(self.attested);
            while self
                .unattested
                .front()
                .is_some_and(|first| *first < self.attested)
            {
                self.unattested.pop_front();
            }
        }
    }
}

/// Looks for what could rise again, and for proof that x was durable.
fn look_behind(
    disk: &dyn Disk,
    key: LogKey,
    segment: &SegmentFile,
    index: usize,
    range: Range<u64>,
    x: u64,
    end: &mut End,
) -> std::result::Result<(), Lost> {
    let mut scan = Scan::open(disk, segment, key)?;
    let mut found = Vec::new();
    scan.headers_in(range, |offset, header| found.push((offset, header)))?;
    for (offset, header) in found {
        let proof = match scan.look(offset)? {
            At::Frame(header, payload)
                if matches!(header.kind, FrameKind::Watermark | FrameKind::Close) =>
            {
                attested(payload)
            }
            // What a newer version attests in its own way must not be erased.
            At::Unknown(raw) => return Err(unknown_feature(segment, offset, &raw).into()),
            At::Frame(..) | At::BadPayload(_) | At::Nothing => None,
        };
        if let Some(proof) = proof.filter(|proof| *proof > x) {
            return Err(Lost::Frame {
                segment: end.segment,
                offset: end.offset,
                proof: format!(
                    "the frame at LSN {} proves that everything below {proof}",
                    segment.base + offset
                ),
            });
        }
        end.erase.push((index, offset));
        end.frames_erased += 1;
        end.bytes_cut += header.frame_size();
    }
    Ok(())
}

/// Where the damage begins that was met at `offset` of the segment `index`: reading started at the
/// last note, and it may lie before that. Goes back until a segment is intact up to its end, so
/// that only the damaged tail is read.
fn damage_begins(
    disk: &dyn Disk,
    key: LogKey,
    chain: &[SegmentFile],
    index: usize,
    offset: u64,
) -> (usize, u64) {
    let mut found = (index, offset);
    let mut until = offset;
    for (index, segment) in chain.iter().enumerate().take(index + 1).rev() {
        match first_bad(disk, key, segment, until) {
            Ok(Some(bad)) => found = (index, bad),
            // A sector that cannot be read hides nothing of what was found.
            Ok(None) | Err(_) => break,
        }
        if found.1 > SEGMENT_HEADER_SIZE {
            break;
        }
        until = u64::MAX;
    }
    found
}

/// The first place before `until` at which a frame should stand in `segment`, and no intact one
/// does; or `until` itself, if that is inside the segment.
fn first_bad(
    disk: &dyn Disk,
    key: LogKey,
    segment: &SegmentFile,
    until: u64,
) -> Result<Option<u64>> {
    let mut scan = Scan::open(disk, segment, key)?;
    let mut offset = SEGMENT_HEADER_SIZE;
    while offset < until.min(segment.size) {
        match scan.look(offset)? {
            At::Frame(header, _) => offset = header.next_offset(offset, segment.size),
            At::BadPayload(_) | At::Unknown(_) | At::Nothing => return Ok(Some(offset)),
        }
    }
    Ok((until <= offset && until < segment.size).then_some(until))
}

fn lost_frame(segment: &SegmentFile, offset: u64, proof: &str) -> WalError {
    WalError::Corrupt {
        finding: Finding::CorruptAttested,
        file: segment.path.clone(),
        offset,
        lsn: lsn(segment.base, offset),
        what: format!(
            "no intact frame stands here, but {proof} was durable; restore the file from a backup, nothing was changed"
        ),
    }
}

pub(crate) fn unknown_feature(segment: &SegmentFile, offset: u64, raw: &RawHeader) -> WalError {
    WalError::Corrupt {
        finding: Finding::UnknownFeature,
        file: segment.path.clone(),
        offset,
        lsn: lsn(segment.base, offset),
        what: raw.to_string(),
    }
}

pub(crate) fn segment_at(chain: &[SegmentFile], index: usize) -> &SegmentFile {
    chain
        .get(index)
        .expect("indices come from the chain itself")
}
