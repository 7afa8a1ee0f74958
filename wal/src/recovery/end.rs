//! Where the log ends: the first table in [`crate::recovery`]. Only reads.

use crate::control::file::{ControlFile, LogEnd};
use crate::error::{Finding, Result, WalError};
use crate::format::frame::{FrameKind, LogKey, durable_at_in};
use crate::format::layout::{
    DURABLE_LSN_SIZE, FRAME_ALIGNMENT, FRAME_HEADER_SIZE, SEGMENT_HEADER_SIZE, frame_size,
};
use crate::format::mark::Mark;
use crate::marks::set::Marks;
use crate::recovery::cases::{After, AtEnd, Case, Proven, Verdict, decide};
use crate::segment::header::SegmentFile;
use crate::segment::list::{missing, segment_holding};
use crate::segment::scan::{Check, Found, FoundFrame, LogScanner, Scanner};
use highwater_disk::Disk;
use std::collections::VecDeque;
use std::path::Path;

/// The end of the log, found by reading alone.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) case: Case,
    /// Index of the segment that holds x, and x as an offset in it.
    pub(crate) segment: usize,
    pub(crate) offset: u64,
    /// Everything below is proven durable. It was not read if `LOG` proves it.
    pub(crate) proven: u64,
    /// Good frames at or above `proven`.
    pub(crate) unproven: usize,
    /// Headers to overwrite: segment and offset.
    pub(crate) erase: Vec<(usize, u64)>,
    pub(crate) frames_erased: usize,
    pub(crate) bytes_discarded: u64,
    /// What all marks below x say.
    pub(crate) marks: Marks,
    /// The latest time that was written down below x; 0 if none was.
    pub(crate) time_ms: u64,
}

/// Reading forward from the start of a segment to x.
struct TailReader {
    /// x.
    position: u64,
    proven: u64,
    /// LSNs of the frames at or above `proven`.
    unproven: VecDeque<u64>,
    last: Option<FrameKind>,
    torn: Option<u64>,
    /// Where it began.
    start: u64,
    marks: Vec<Mark>,
    /// `LOG` proves that everything below is durable.
    attested: u64,
    time_ms: u64,
}

/// Finds the end of the log in a checked segments. Changes nothing.
pub(crate) fn find_end(
    disk: &dyn Disk,
    dir: &Path,
    meta: &ControlFile,
    segments: &[SegmentFile],
) -> Result<End> {
    end_from(disk, dir, meta, segments).map_err(|lost| match lost {
        Lost::Error(error) => error,
        Lost::Frame {
            segment,
            offset,
            finding,
            proof,
        } => {
            let key = LogKey::new(meta.log_id);
            let (segment, offset) = damage_begins(disk, key, segments, segment, offset);
            lost_frame(segment_at(segments, segment), offset, finding, &proof)
        }
    })
}

/// Why the end is not known.
enum Lost {
    Error(WalError),
    /// There is no intact frame at an offset of a segment, given by its index, and something proves
    /// that one did.
    Frame {
        segment: usize,
        offset: u64,
        finding: Finding,
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
    meta: &ControlFile,
    segments: &[SegmentFile],
) -> std::result::Result<End, Lost> {
    let key = LogKey::new(meta.log_id);
    let tail = read_tail(disk, dir, meta, segments)?;
    let x = tail.position;
    let index = index_of(segments, x);
    let at = segment_at(segments, index);
    let offset = x - at.base;
    let blank = Scanner::open(disk, at, key)?.is_zero(offset)? == Some(true);
    let mut end = End {
        case: Case::OpenEnd,
        segment: index,
        offset,
        proven: tail.proven,
        unproven: tail.unproven.len(),
        erase: if blank { vec![] } else { vec![(index, offset)] },
        frames_erased: 0,
        bytes_discarded: tail.torn.unwrap_or(0),
        marks: meta.marks.clone(),
        time_ms: meta.time_ms.max(tail.time_ms),
    };
    let proof = if meta.attested_lsn > x {
        Some(log_proves(meta.attested_lsn))
    } else {
        look_after(disk, meta, segments, x, &mut end)?
    };
    let at_end = match tail.last {
        _ if tail.torn.is_some() => AtEnd::HeaderOnly,
        Some(FrameKind::Close) => AtEnd::AfterClose,
        _ if blank => AtEnd::Zeros,
        _ => AtEnd::StaleBytes,
    };
    let after = match end.frames_erased {
        0 => After::NoFrames,
        _ => After::Frames,
    };
    let proven = match proof {
        None => Proven::UpToEnd,
        Some(_) => Proven::BeyondEnd,
    };
    match decide(at_end, after, proven) {
        Verdict::Opens(case) => {
            end.case = case;
            marks_before(meta, &tail, segments, disk, &mut end.marks)?;
            tail.marks.iter().for_each(|mark| end.marks.apply(mark));
            Ok(end)
        }
        Verdict::Refuses(finding) => Err(Lost::Frame {
            segment: index,
            offset,
            finding,
            proof: proof.unwrap_or_default(),
        }),
    }
}

/// Reads the marks between where `LOG` proves that everything before is durable, and where reading
/// began. There are none unless the last segment was begun after `LOG` was written.
fn marks_before(
    meta: &ControlFile,
    tail: &TailReader,
    segments: &[SegmentFile],
    disk: &dyn Disk,
    marks: &mut Marks,
) -> Result<()> {
    if !meta.features.have_marks() {
        return Ok(());
    }
    let key = LogKey::new(meta.log_id);
    let first = segments.first().map_or(0, |segment| segment.base);
    let mut scan = LogScanner::new(meta.attested_lsn.max(first));
    let open = |position: u64, _: Option<Scanner>| {
        let segment = segment_holding(segments, position);
        segment
            .map(|segment| Scanner::open(disk, segment, key))
            .transpose()
    };
    while let Some(found) = scan.step(tail.start, Check::Marks, open)? {
        let position = scan.position;
        let Some(scanner) = scan.scanner() else { break };
        match found {
            Found::Frame(frame) if frame.header.kind.is_mark() => {
                let mark = frame.mark(scanner.payload(&frame));
                mark.iter().for_each(|mark| marks.apply(mark));
            }
            Found::Frame(_) => {}
            // What a newer version marks in its own way must not be passed over.
            Found::Unknown(raw) => {
                let offset = position - scanner.segment.base;
                return Err(scanner.segment.unknown_feature(offset, &raw));
            }
            Found::BadPayload(_) | Found::Nothing => {
                let offset = position - scanner.segment.base;
                let (finding, proof) = (Finding::CorruptProven, "later frames prove that one");
                return Err(lost_frame(&scanner.segment, offset, finding, proof));
            }
        }
    }
    Ok(())
}

fn log_proves(lsn: u64) -> String {
    format!("LOG proves that everything below {lsn}")
}

/// Reads from the last segment that holds a frame, or from as far back as it takes to prove that
/// all before is durable.
fn read_tail(
    disk: &dyn Disk,
    dir: &Path,
    meta: &ControlFile,
    segments: &[SegmentFile],
) -> std::result::Result<TailReader, Lost> {
    let key = LogKey::new(meta.log_id);
    let mut start = 0;
    for (index, segment) in segments.iter().enumerate().rev() {
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
        let tail = read_from(disk, dir, meta, segments, start)?;
        if start == 0 || tail.proven >= segment_at(segments, start).base {
            return Ok(tail);
        }
        start -= 1;
    }
}

fn read_from(
    disk: &dyn Disk,
    dir: &Path,
    meta: &ControlFile,
    segments: &[SegmentFile],
    start: usize,
) -> std::result::Result<TailReader, Lost> {
    let key = LogKey::new(meta.log_id);
    let first = segment_at(segments, start);
    let mut tail = TailReader {
        position: first.base,
        proven: meta.attested_lsn,
        unproven: VecDeque::new(),
        last: None,
        torn: None,
        start: first.base,
        marks: Vec::new(),
        attested: meta.attested_lsn,
        time_ms: 0,
    };
    tail.skip_proven(
        meta.end,
        start,
        first,
        &mut Scanner::open(disk, first, key)?,
    )?;
    tail.start = tail.position;
    let mut scan = LogScanner::new(tail.position);
    let open = |position: u64, _: Option<Scanner>| {
        let segment = segment_holding(segments, position).ok_or_else(|| {
            let what = "the segment before it is sealed, so this one was there";
            missing(dir, position, what)
        })?;
        Scanner::open(disk, segment, key).map(Some)
    };
    loop {
        let found = scan.step(u64::MAX, Check::Payload, open)?;
        tail.position = scan.position;
        match (found, scan.scanner()) {
            (Some(Found::Frame(frame)), Some(scanner)) => {
                tail.pass(&frame, scanner.payload(&frame));
            }
            (Some(Found::Unknown(raw)), Some(Scanner { segment, .. })) => {
                let offset = tail.position - segment.base;
                return Err(segment.unknown_feature(offset, &raw).into());
            }
            (Some(Found::BadPayload(header)), _) => {
                tail.torn = Some(header.frame_size());
                return Ok(tail);
            }
            _ => return Ok(tail),
        }
    }
}

impl TailReader {
    /// Begins where `LOG` proves that everything before is durable, if that is in this segment.
    /// A frame ends there: the close frame, if the log was closed.
    fn skip_proven(
        &mut self,
        end: LogEnd,
        index: usize,
        segment: &SegmentFile,
        scan: &mut Scanner,
    ) -> std::result::Result<(), Lost> {
        let Some(offset) = self.proven.checked_sub(segment.base) else {
            return Ok(());
        };
        if offset <= SEGMENT_HEADER_SIZE || offset + FRAME_HEADER_SIZE > segment.size {
            return Ok(());
        }
        self.position = self.proven;
        let close = offset - frame_size(DURABLE_LSN_SIZE);
        match (end, scan.look(close)?) {
            (_, Found::Frame(frame)) if frame.header.kind == FrameKind::Close => {
                self.last = Some(FrameKind::Close);
                Ok(())
            }
            (LogEnd::Closed, _) => Err(Lost::Frame {
                segment: index,
                offset: close,
                finding: Finding::CorruptProven,
                proof: log_proves(self.proven),
            }),
            (LogEnd::Open, _) => Ok(()),
        }
    }

    fn pass(&mut self, frame: &FoundFrame, payload: &[u8]) {
        let (lsn, kind) = (frame.lsn().get(), frame.header.kind);
        if kind != FrameKind::Padding {
            self.last = Some(kind);
        }
        if lsn >= self.proven {
            self.unproven.push_back(lsn);
        }
        if let Some((_, time)) = durable_at_in(kind, payload) {
            self.time_ms = self.time_ms.max(time);
        }
        // `LOG` holds what those before say, and maybe more.
        if lsn >= self.attested {
            self.marks.extend(frame.mark(payload));
        }
        if let Some(proven) = frame.proven(payload) {
            self.proven = proven.max(self.proven);
            while self
                .unproven
                .front()
                .is_some_and(|first| *first < self.proven)
            {
                self.unproven.pop_front();
            }
        }
    }
}

/// Looks for good frames after x, which must not count later, and for proof that more than x was
/// durable. Stops at the first proof.
fn look_after(
    disk: &dyn Disk,
    meta: &ControlFile,
    segments: &[SegmentFile],
    x: u64,
    end: &mut End,
) -> std::result::Result<Option<String>, Lost> {
    let key = LogKey::new(meta.log_id);
    let until = match meta.reach {
        0 => u64::MAX,
        reach => x.saturating_add(reach),
    };
    for (index, segment) in segments.iter().enumerate().skip(end.segment) {
        let mut from = match index == end.segment {
            true => end.offset + FRAME_ALIGNMENT,
            false => SEGMENT_HEADER_SIZE,
        };
        let to = until.saturating_sub(segment.base).min(segment.size);
        let mut scan = Scanner::open(disk, segment, key)?;
        let mut headers = Vec::new();
        while let Some((offset, header)) = scan.next_header(from..to)? {
            headers.push((offset, header));
            from = offset + FRAME_ALIGNMENT;
        }
        for (offset, header) in headers {
            let proven = match scan.look(offset)? {
                Found::Frame(frame) => frame.proven(scan.payload(&frame)),
                // What a newer version proves in its own way must not be erased.
                Found::Unknown(raw) => return Err(segment.unknown_feature(offset, &raw).into()),
                Found::BadPayload(_) | Found::Nothing => None,
            };
            if let Some(proven) = proven.filter(|proven| *proven > x) {
                let lsn = segment.base + offset;
                return Ok(Some(format!(
                    "the frame at LSN {lsn} proves that everything below {proven}"
                )));
            }
            end.erase.push((index, offset));
            end.frames_erased += 1;
            end.bytes_discarded += header.frame_size();
        }
    }
    Ok(None)
}

/// Where the damage begins that was met at `offset` of the segment `index`. Reading started where
/// `LOG` proves durability, and the damage may begin before that. Goes back until a segment is
/// intact up to its end, so that only the damaged tail is read.
fn damage_begins(
    disk: &dyn Disk,
    key: LogKey,
    segments: &[SegmentFile],
    index: usize,
    offset: u64,
) -> (usize, u64) {
    let mut found = (index, offset);
    let mut until = offset;
    for (index, segment) in segments.iter().enumerate().take(index + 1).rev() {
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

/// The first place before `until` at which a frame should be in `segment`, and no intact one
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

fn lost_frame(segment: &SegmentFile, offset: u64, finding: Finding, proof: &str) -> WalError {
    let what = format!(
        "there is no intact frame here, but {proof} was durable; restore the file from a backup, nothing was changed"
    );
    segment.corrupt(finding, offset, what)
}

/// Index of the segment that holds `lsn`.
fn index_of(segments: &[SegmentFile], lsn: u64) -> usize {
    segments.partition_point(|segment| segment.end() <= lsn)
}

pub(crate) fn segment_at(segments: &[SegmentFile], index: usize) -> &SegmentFile {
    segments
        .get(index)
        .expect("indices come from the list itself")
}
