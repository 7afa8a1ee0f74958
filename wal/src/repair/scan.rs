//! Scanning a damaged log: every intact frame in order, and every hole between them.
//!
//! A frame proves itself: both its checksums cover the log's identity and its LSN, so junk, frames
//! of other places and of other logs do not pass. After a hole every multiple of 8 is tried.
//! Memory is bounded by the largest frame.

use crate::error::{Result, WalError};
use crate::format::frame::{FrameHeader, FrameKind, LogKey, RawHeader};
use crate::format::layout::{
    FRAME_ALIGNMENT, FRAME_HEADER_SIZE, SEGMENT_HEADER_SIZE, frame_header, segment_name,
};
use crate::lsn::Lsn;
use crate::repair::lost::LostRange;
use crate::repair::source::{Candidate, Source};
use crate::segment::header::SegmentFile;
use crate::segment::scan::{Found, FoundFrame, Scanner};
use highwater_disk::Disk;
use std::collections::VecDeque;

/// An intact frame of a damaged log.
#[derive(Debug)]
pub(crate) struct SavedFrame {
    pub(crate) file: SegmentFile,
    pub(crate) found: FoundFrame,
    /// Header and payload as the file has them, without padding.
    pub(crate) raw: Vec<u8>,
}

impl SavedFrame {
    pub(crate) fn lsn(&self) -> u64 {
        self.found.lsn().get()
    }

    pub(crate) fn header(&self) -> &FrameHeader {
        &self.found.header
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.raw.split_at(frame_header::END).1
    }

    /// First position after the frame itself; a seal fills the rest of its segment.
    fn end(&self) -> u64 {
        self.lsn() + self.header().frame_size()
    }

    /// The frame as a loss.
    pub(crate) fn lost(&self, what: String) -> LostRange {
        LostRange {
            from: Lsn::new(self.lsn()),
            to: Some(Lsn::new(self.end())),
            file: self.file.path.clone(),
            offset: self.found.offset,
            what,
            broken: false,
        }
    }

    /// Everything below was durable, by this frame.
    pub(crate) fn proven(&self) -> Option<u64> {
        self.found.proven(self.payload())
    }
}

/// What comes next in the log.
#[derive(Debug)]
pub(crate) enum Salvage {
    Frame(SavedFrame),
    /// A hole with an intact frame after it.
    Hole(LostRange),
}

/// Goes through the log from its start to its last intact frame.
#[derive(Debug)]
pub(crate) struct SalvageScanner<'a> {
    source: &'a Source,
    /// Index of the first file of the next group: files with the same base.
    next_candidate: usize,
    group: Vec<Probe>,
    group_end: u64,
    /// Whether the segment is known to end there.
    is_sized: bool,
    /// After the last frame.
    position: u64,
    sealed: bool,
    /// An intact frame was found in the group: its file is what its name says.
    genuine: bool,
    /// It comes after a gap, and its header is not of this log.
    strays: bool,
    /// Holes that count only if a frame follows.
    holes: Vec<LostRange>,
    ready: VecDeque<Salvage>,
}

impl<'a> SalvageScanner<'a> {
    pub(crate) fn new(source: &'a Source) -> Self {
        Self {
            source,
            next_candidate: 0,
            group: Vec::new(),
            group_end: 0,
            is_sized: true,
            position: source.first_lsn,
            sealed: true,
            genuine: false,
            strays: false,
            holes: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    /// The end of the last frame that was returned or is about to be.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next frame or hole; `None` after the last intact frame.
    pub(crate) fn step(&mut self) -> Result<Option<Salvage>> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Ok(Some(step));
            }
            if self.group.is_empty() && !self.open_group()? {
                return Ok(None);
            }
            let at = self.hole_end().unwrap_or(self.position);
            match self.find(at)? {
                Some(frame) => self.pass(frame),
                None => self.leave_group(at),
            }
        }
    }

    /// The hole at the end, without a frame after it. It counts if the log is known to go on, or if
    /// no crash leaves files like that. `None` if nothing says that there was more. Only meaningful
    /// when [`Self::step`] has returned `None`.
    pub(crate) fn end_hole(&self, proven: u64) -> Option<LostRange> {
        let known = (proven > self.position).then_some(Lsn::new(proven));
        let open = !self.source.is_closed;
        // After a segment that no seal ends, only a gap says that the log went on: a prepared one
        // holds nothing.
        let counts = |(index, hole): &(usize, &LostRange)| {
            open && hole.broken && (*index == 0 || hole.is_gap())
        };
        let mut holes = self.holes.iter().enumerate();
        let broken = holes.rfind(counts).map(|(_, hole)| hole);
        let orphan = self.sealed
            && !self
                .source
                .candidates
                .iter()
                .any(|p| p.file.base >= self.position);
        if known.is_none() && broken.is_none() && !orphan {
            return None;
        }
        let to = known.max(broken.and_then(|hole| hole.to));
        let hole = self.holes.first().cloned();
        Some(LostRange {
            to,
            broken: broken.is_some() || orphan,
            ..hole.unwrap_or_else(|| self.missing(self.position, to))
        })
    }

    fn hole_end(&self) -> Option<u64> {
        self.holes.last().and_then(|hole| hole.to).map(Lsn::get)
    }

    /// Opens the files of the next segment; false if there is none.
    fn open_group(&mut self) -> Result<bool> {
        let parts = self
            .source
            .candidates
            .get(self.next_candidate..)
            .unwrap_or_default();
        let Some(base) = parts.first().map(|part| part.file.base) else {
            return Ok(false);
        };
        let group: Vec<&Candidate> = parts
            .iter()
            .take_while(|part| part.file.base == base)
            .collect();
        self.next_candidate += group.len();
        (self.sealed, self.genuine) = (false, false);
        let ends = |sized: bool| {
            let parts = group.iter().filter(move |part| part.is_sized == sized);
            parts.map(|part| part.file.end()).max()
        };
        self.is_sized = ends(true).is_some();
        self.group_end = ends(true).or(ends(false)).unwrap_or(base);
        self.group = group
            .into_iter()
            .map(|part| Probe::open(&*self.source.disk, part, self.source.key))
            .collect::<Result<_>>()?;
        let at = self.hole_end().unwrap_or(self.position);
        // A file that is not of this log proves nothing about what was before it, nor that the
        // log went as far.
        let has_header = self.group.iter().any(|probe| probe.part.has_header);
        self.strays = base > at && !has_header;
        if base > at {
            let mut hole = self.missing(at, Some(Lsn::new(base)));
            hole.broken = has_header;
            self.holes.push(hole);
        }
        if self.holes.is_empty() {
            self.position = self.position.max(base + SEGMENT_HEADER_SIZE);
        } else {
            self.skip_header(base);
        }
        Ok(true)
    }

    /// A segment's header page holds nothing, so it belongs to the hole before it.
    fn skip_header(&mut self, base: u64) {
        if let Some(hole) = self.holes.last_mut() {
            let end = hole.to.map_or(0, Lsn::get).max(base + SEGMENT_HEADER_SIZE);
            hole.to = Some(Lsn::new(end));
        }
    }

    fn missing(&self, from: u64, to: Option<Lsn>) -> LostRange {
        LostRange {
            from: Lsn::new(from),
            to,
            file: self.source.dir.join(segment_name(Lsn::new(from))),
            offset: 0,
            what: "there is no such file".to_owned(),
            broken: true,
        }
    }

    /// The first intact frame of this segment from `at` on. Notes a hole if it does not start right
    /// there.
    fn find(&mut self, at: u64) -> Result<Option<SavedFrame>> {
        let Some(base) = self.group.first().map(|probe| probe.part.file.base) else {
            return Ok(None);
        };
        let offset = at - base;
        for probe in &mut self.group {
            if let Some(frame) = probe.frame(offset)? {
                return Ok(Some(frame));
            }
        }
        let mut nearest: Option<(u64, usize)> = None;
        for (index, probe) in self.group.iter_mut().enumerate() {
            let until = nearest.map_or(u64::MAX, |(offset, _)| offset);
            if let Some(offset) = probe.scan.next_intact(offset + FRAME_ALIGNMENT, until) {
                nearest = Some((offset, index));
            }
        }
        let Some((next, index)) = nearest else {
            return Ok(None);
        };
        let what = self.group.first_mut().map(|probe| probe.describe(offset));
        self.note_hole(at, base + next, offset, what.unwrap_or_default());
        match self.group.get_mut(index) {
            Some(probe) => probe.frame(next),
            None => Ok(None),
        }
    }

    fn note_hole(&mut self, from: u64, to: u64, offset: u64, what: String) {
        let Some(probe) = self.group.first() else {
            return;
        };
        let file = probe.part.file.path.clone();
        let (genuine, strays) = (self.genuine, self.strays);
        let mut probes = self.group.iter_mut();
        let broken = !strays && probes.all(|probe| probe.is_broken(offset, genuine));
        self.holes.push(LostRange {
            from: Lsn::new(from),
            to: Some(Lsn::new(to)),
            file,
            offset,
            what,
            broken,
        });
    }

    fn pass(&mut self, frame: SavedFrame) {
        self.ready.extend(self.holes.drain(..).map(Salvage::Hole));
        self.sealed = frame.header().kind == FrameKind::Seal;
        self.genuine = true;
        let end = frame.end();
        self.position = if self.sealed && self.is_sized {
            self.group_end
        } else {
            end
        };
        let offset = end - frame.file.base;
        self.ready.push_back(Salvage::Frame(frame));
        if self.sealed && !self.is_sized {
            let what = "a seal, but it is unknown where the segment ended: one may be missing";
            self.note_hole(end, self.group_end, offset, what.to_owned());
            self.holes.iter_mut().for_each(|hole| hole.broken = true);
        }
        if self.sealed {
            self.group.clear();
        }
    }

    /// Nothing intact is left in this segment: its rest is a hole, if frames follow in another one.
    fn leave_group(&mut self, at: u64) {
        if at < self.group_end {
            let base = self.group.first().map_or(at, |probe| probe.part.file.base);
            let offset = at - base;
            let what = self.group.first_mut().map(|probe| probe.describe(offset));
            self.note_hole(at, self.group_end, offset, what.unwrap_or_default());
        }
        self.group.clear();
    }
}

/// One file of the log, of which any part may be unreadable or missing.
#[derive(Debug)]
struct Probe {
    part: Candidate,
    scan: Scanner,
    /// Why the last bytes asked for could not be read.
    error: Option<WalError>,
}

impl Probe {
    fn open(disk: &dyn Disk, part: &Candidate, key: LogKey) -> Result<Self> {
        Ok(Self {
            scan: Scanner::open_short(disk, &part.file, key, part.len)?,
            part: part.clone(),
            error: None,
        })
    }

    /// What was read, or `None` if it cannot be, twice in a row.
    fn tolerate<T>(&mut self, read: impl Fn(&mut Scanner) -> Result<T>) -> Option<T> {
        let (read, error) = match read(&mut self.scan).or_else(|_| read(&mut self.scan)) {
            Ok(read) => (Some(read), None),
            Err(error) => (None, Some(error)),
        };
        self.error = error;
        read
    }

    /// The frame at `offset`, if it is intact.
    fn frame(&mut self, offset: u64) -> Result<Option<SavedFrame>> {
        match self.tolerate(|scan| scan.look(offset)) {
            Some(Found::Frame(found)) => Ok(Some(SavedFrame {
                file: self.part.file.clone(),
                raw: self.scan.raw(&found).to_vec(),
                found,
            })),
            Some(Found::Unknown(raw)) => Err(self.part.file.unknown_feature(offset, &raw)),
            Some(Found::BadPayload(_) | Found::Nothing) | None => Ok(None),
        }
    }

    /// Whether the file holds a whole header's bytes at `offset`, and these are zero.
    fn is_zero(&mut self, offset: u64) -> Option<bool> {
        if offset + FRAME_HEADER_SIZE > self.scan.readable() {
            self.error = None;
            return None;
        }
        self.tolerate(|scan| scan.is_zero(offset)).flatten()
    }

    /// Whether it takes more than a crash to leave what is at `offset` in place of a frame: the
    /// file is cut off there, cannot be read, or is not the segment at all. Zeros are where a log
    /// ends.
    fn is_broken(&mut self, offset: u64, genuine: bool) -> bool {
        let ends = self.is_zero(offset) == Some(true);
        let cut = self.part.len < self.part.file.size && !ends;
        cut || self.error.is_some() || !(self.part.has_header || genuine)
    }

    /// What is at `offset` in place of a frame.
    fn describe(&mut self, offset: u64) -> String {
        let readable = self.scan.readable();
        if let Some(Some(header)) = self.tolerate(|scan| scan.header(offset)) {
            let end = offset + FRAME_HEADER_SIZE + u64::from(header.payload_len);
            if end > readable {
                return format!("{}, of which the file holds only a part", name(&header));
            }
            return format!(
                "{} of {} bytes whose content does not fit its checksum",
                name(&header),
                header.payload_len
            );
        }
        if offset + FRAME_HEADER_SIZE > readable {
            return format!("the file ends at offset {}", self.part.len);
        }
        match (self.is_zero(offset), &self.error) {
            (Some(true), _) => "zeros".to_owned(),
            (Some(false), _) => "bytes that are no frame of this place".to_owned(),
            (None, Some(WalError::Io { source, .. })) => format!("not readable: {source}"),
            (None, Some(error)) => format!("not readable: {error}"),
            (None, None) => "nothing".to_owned(),
        }
    }
}

fn name(header: &RawHeader) -> String {
    match header.known() {
        Some(known) => format!("a {} frame", known.kind),
        None => "a frame of a newer version".to_owned(),
    }
}
