//! Where the log ends: the first table in [`crate::recovery`]. Only reads.

use crate::control::file::{LogEnd, Meta};
use crate::error::{Finding, Result, WalError};
use crate::format::frame::{FrameKind, LogKey};
use crate::format::layout::{
    DURABLE_LSN_SIZE, FRAME_ALIGNMENT, FRAME_HEADER_SIZE, SEGMENT_HEADER_SIZE, frame_size,
};
use crate::recovery::cases::Case;
use crate::segment::header::SegmentFile;
use crate::segment::list::{missing, segment_holding};
use crate::segment::scan::{Check, Found, FoundFrame, LogScanner, Scanner};
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
    /// x.
    position: u64,
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
    let x = walk.position;
    let index = index_of(chain, x);
    let at = segment_at(chain, index);
    let offset = x - at.base;
    if meta.attested_lsn > x {
        return Err(Lost::Frame {
            segment: index,
            offset,
            proof: format!("LOG proves that everything below {}", meta.attested_lsn),
        });
    }
    let mut end = End {
        case: Case::OpenEnd,
        segment: index,
        offset,
        attested: walk.attested,
        unattested: walk.unattested.len(),
        erase: Vec::new(),
        frames_erased: 0,
        bytes_cut: walk.torn.unwrap_or(0),
    };
    let blank = Scanner::open(disk, at, key)?.is_zero(offset)? == Some(true);
    if !blank {
        end.erase.push((index, offset));
    }
    let until = match meta.reach {
        0 => u64::MAX,
        reach => x.saturating_add(reach),
    };
    for (index, segment) in chain.iter().enumerate().skip(end.segment) {
        let from = if index == end.segment {
            offset + FRAME_ALIGNMENT
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
            Scanner::open(disk, segment, key)?.look(SEGMENT_HEADER_SIZE)?,
            Found::Frame(_)
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
    let first = segment_at(chain, start);
    let mut walk = Walk {
        position: first.base,
        attested: meta.attested_lsn,
        unattested: VecDeque::new(),
        last: None,
        torn: None,
    };
    walk.skip_attested(
        meta.end,
        start,
        first,
        &mut Scanner::open(disk, first, key)?,
    )?;
    let mut scan = LogScanner::new(walk.position);
    let open = |position: u64, _: Option<Scanner>| {
        let segment = segment_holding(chain, position).ok_or_else(|| {
            let what = "the segment before it is sealed, so this one was there";
            missing(dir, position, what)
        })?;
        Scanner::open(disk, segment, key).map(Some)
    };
    loop {
        let found = scan.step(u64::MAX, Check::Payload, open)?;
        walk.position = scan.position;
        match (found, scan.scanner()) {
            (Some(Found::Frame(frame)), Some(scanner)) => {
                walk.pass(&frame, scanner.payload(&frame));
            }
            (Some(Found::Unknown(raw)), Some(Scanner { segment, .. })) => {
                let offset = walk.position - segment.base;
                return Err(segment.unknown_feature(offset, &raw).into());
            }
            (Some(Found::BadPayload(header)), _) => {
                walk.torn = Some(header.frame_size());
                return Ok(walk);
            }
            _ => return Ok(walk),
        }
    }
}

impl Walk {
    /// Begins where `LOG` says that everything before is durable, if that is in the first segment.
    /// A frame ends there: the close frame, if the log was closed.
    fn skip_attested(
        &mut self,
        end: LogEnd,
        index: usize,
        segment: &SegmentFile,
        scan: &mut Scanner,
    ) -> std::result::Result<(), Lost> {
        let Some(offset) = self.attested.checked_sub(segment.base) else {
            return Ok(());
        };
        if offset <= SEGMENT_HEADER_SIZE || offset + FRAME_HEADER_SIZE > segment.size {
            return Ok(());
        }
        self.position = self.attested;
        let close = offset - frame_size(DURABLE_LSN_SIZE);
        match (end, scan.look(close)?) {
            (_, Found::Frame(frame)) if frame.header.kind == FrameKind::Close => {
                self.last = Some(FrameKind::Close);
                Ok(())
            }
            (LogEnd::Closed, _) => Err(Lost::Frame {
                segment: index,
                offset: close,
                proof: format!("LOG proves that everything below {}", self.attested),
            }),
            (LogEnd::Open, _) => Ok(()),
        }
    }

    fn pass(&mut self, frame: &FoundFrame, payload: &[u8]) {
        let (lsn, kind) = (frame.lsn().get(), frame.header.kind);
        if kind != FrameKind::Padding {
            self.last = Some(kind);
        }
        if lsn >= self.attested {
            self.unattested.push_back(lsn);
        }
        if let Some(proven) = frame.proven(payload) {
            self.attested = proven.max(self.attested);
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
    let mut scan = Scanner::open(disk, segment, key)?;
    let mut headers = Vec::new();
    let mut from = range.start;
    while let Some((offset, header)) = scan.next_header(from..range.end)? {
        headers.push((offset, header));
        from = offset + FRAME_ALIGNMENT;
    }
    for (offset, header) in headers {
        let proof = match scan.look(offset)? {
            Found::Frame(frame) => frame.proven(scan.payload(&frame)),
            // What a newer version attests in its own way must not be erased.
            Found::Unknown(raw) => return Err(segment.unknown_feature(offset, &raw).into()),
            Found::BadPayload(_) | Found::Nothing => None,
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
    let mut scan = Scanner::open(disk, segment, key)?;
    let mut offset = SEGMENT_HEADER_SIZE;
    while offset < until.min(segment.size) {
        match scan.look(offset)? {
            Found::Frame(frame) => offset = frame.next,
            Found::BadPayload(_) | Found::Unknown(_) | Found::Nothing => return Ok(Some(offset)),
        }
    }
    Ok((until <= offset && until < segment.size).then_some(until))
}

fn lost_frame(segment: &SegmentFile, offset: u64, proof: &str) -> WalError {
    let what = format!(
        "no intact frame stands here, but {proof} was durable; restore the file from a backup, nothing was changed"
    );
    segment.corrupt(Finding::CorruptAttested, offset, what)
}

/// Index of the segment that holds `lsn`.
fn index_of(chain: &[SegmentFile], lsn: u64) -> usize {
    chain.partition_point(|segment| segment.end() <= lsn)
}

pub(crate) fn segment_at(chain: &[SegmentFile], index: usize) -> &SegmentFile {
    chain
        .get(index)
        .expect("indices come from the chain itself")
}
