//! The part of a segment that is ready to be looked at. Every scanner reads through a window.
//!
//! A window shows one of four byte sources:
//!
//! * the map of a segment: the pages are read in before they are touched, so that a bad sector is
//!   an error and not a signal;
//! * a segment that is read by copying ([`ReadPath`](crate::ReadPath));
//! * a segment file, with plain reads: recovery and the tools;
//! * bytes that were copied before: a chunk.
//!
//! The window grows while reading goes on from where it ended, as the kernel's read-ahead does. A
//! look at one frame costs a few pages; a reader that goes on asks once per MiB.

use crate::error::{Result, WalError};
use crate::format::layout::to_usize;
use crate::options::choices::ReadPath;
use crate::segment::file::Segment;
use crate::segment::header::{SegmentFile, read_error};
use highwater_disk::{Access, Disk, DiskFile, PAGE_SIZE};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// The first step, and the longest. Measured: longer ones are no faster; with shorter ones the
/// calls show.
const SHORTEST: u64 = 64 << 10;
const LONGEST: u64 = 1 << 20;

/// A window over one segment. Ranges are offsets in its file.
pub(crate) struct Window {
    source: Source,
    /// What may be touched.
    ready: Range<u64>,
    step: u64,
    /// The bytes of `ready`, if the source is read by copying.
    buffer: Vec<u8>,
}

enum Source {
    Mapped(Arc<Segment>),
    Copied {
        segment: Arc<Segment>,
        /// Opened when memory does not have the bytes.
        file: Option<Arc<dyn DiskFile>>,
    },
    File {
        path: PathBuf,
        file: Arc<dyn DiskFile>,
    },
    Lent(Arc<Vec<u8>>),
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window")
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}

impl Window {
    fn new(source: Source) -> Self {
        Self {
            source,
            ready: 0..0,
            step: 0,
            buffer: Vec::new(),
        }
    }

    pub(crate) fn of_segment(segment: &Arc<Segment>, path: ReadPath) -> Self {
        Self::new(Source::of(segment, path))
    }

    /// A window over a map that is going to be read from start to end.
    pub(crate) fn of_whole_map(segment: &Arc<Segment>) -> Self {
        Self {
            step: LONGEST,
            ..Self::of_segment(segment, ReadPath::Mapped)
        }
    }

    /// A window that does not move: `bytes` are those of the segment from offset `start` on.
    pub(crate) fn of_bytes(bytes: Arc<Vec<u8>>, start: u64) -> Self {
        Self {
            ready: start..start + bytes.len() as u64,
            ..Self::new(Source::Lent(bytes))
        }
    }

    pub(crate) fn of_file(disk: &dyn Disk, segment: &SegmentFile) -> Result<Self> {
        let path = segment.path.clone();
        let file = disk
            .open(&path, Access::Read)
            .map_err(|e| WalError::io("opening", &path, e))?;
        Ok(Self::new(Source::File { path, file }))
    }

    /// Moves the window to another segment, where reading goes on.
    pub(crate) fn move_to(&mut self, segment: &Arc<Segment>) {
        self.source = Source::of(segment, self.read_path());
        self.ready = 0..0;
    }

    /// Whether the bytes it shows lie in a map.
    pub(crate) fn read_path(&self) -> ReadPath {
        match self.source {
            Source::Mapped(_) => ReadPath::Mapped,
            Source::Copied { .. } | Source::File { .. } | Source::Lent(_) => ReadPath::Copy,
        }
    }

    /// Makes the bytes of `need` ready to be touched ([`Self::shown`]). False if they do not lie
    /// below `readable`.
    #[inline]
    pub(crate) fn ensure(&mut self, need: &Range<u64>, readable: u64) -> Result<bool> {
        if need.end > readable {
            return Ok(false);
        }
        let inside = self.ready.start <= need.start && need.end <= self.ready.end;
        if !inside {
            self.go_to(need, readable)?;
        }
        Ok(true)
    }

    /// Bytes that are ready. `None` if they are not, or the window has left them.
    #[inline]
    pub(crate) fn shown(&self, range: Range<u64>) -> Option<&[u8]> {
        if range.start < self.ready.start || range.end > self.ready.end {
            return None;
        }
        match &self.source {
            Source::Mapped(segment) => segment.bytes(range),
            Source::Copied { .. } | Source::File { .. } => self.part(&self.buffer, &range),
            Source::Lent(bytes) => self.part(bytes, &range),
        }
    }

    /// All bytes that are ready from `offset` on.
    #[inline]
    pub(crate) fn shown_from(&self, offset: u64) -> Option<&[u8]> {
        self.shown(offset..self.ready.end.max(offset))
    }

    fn part<'a>(&self, bytes: &'a [u8], range: &Range<u64>) -> Option<&'a [u8]> {
        let start = to_usize(range.start.checked_sub(self.ready.start)?);
        bytes.get(start..start.checked_add(to_usize(range.end - range.start))?)
    }

    #[cold]
    fn go_to(&mut self, need: &Range<u64>, readable: u64) -> Result<()> {
        // An empty window is at the start of a segment: reading goes on from the one before.
        let goes_on =
            (self.ready.start..=self.ready.end).contains(&need.start) || self.ready.is_empty();
        self.step = match goes_on {
            true => (2 * self.step).clamp(SHORTEST, LONGEST),
            false => SHORTEST,
        };
        let end = need.end.max(need.start + self.step);
        let ahead = match &self.source {
            // The same pieces in each pass, so that the disk recognises what it populated before.
            Source::Mapped(segment) => {
                let start = need.start / SHORTEST * SHORTEST;
                start..end.next_multiple_of(SHORTEST).min(segment.size)
            }
            Source::Copied { .. } | Source::File { .. } | Source::Lent(_) => {
                need.start..end.min(readable)
            }
        };
        let error = match self.fill(ahead, need, readable) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // What cannot be read ahead must not hide what is before it.
        match error.offset() {
            Some(at) if holds_page(need, at) => Err(error),
            Some(at) if at >= need.end => self
                .fill(need.start..at, need, readable)
                .or_else(|_| self.fill(need.clone(), need, readable)),
            _ => self.fill(need.clone(), need, readable),
        }
    }

    /// Makes `range` ready; errors name the bytes of `need`.
    fn fill(&mut self, range: Range<u64>, need: &Range<u64>, readable: u64) -> Result<()> {
        let len = to_usize(range.end - range.start);
        if !matches!(self.source, Source::Lent(_)) {
            self.ready = 0..0;
        }
        match &mut self.source {
            Source::Mapped(segment) => {
                segment.populate(range.clone())?;
                // Pages are read in whole.
                self.ready = range.start / PAGE_SIZE * PAGE_SIZE..range.end.min(readable);
                return Ok(());
            }
            Source::Copied { segment, file } => {
                // One long frame must not keep its memory for ever.
                if self.buffer.capacity() as u64 > 2 * LONGEST && len as u64 <= LONGEST {
                    self.buffer = Vec::new();
                }
                self.buffer.resize(len, 0);
                segment.copy(range.start, &mut self.buffer, file)?;
            }
            Source::File { path, file } => {
                self.buffer.resize(len, 0);
                file.read_exact_at(&mut self.buffer, range.start)
                    .map_err(|e| read_error(path, need.start, need.end - need.start, e))?;
            }
            Source::Lent(_) => return Ok(()),
        }
        self.ready = range;
        Ok(())
    }
}

impl Source {
    fn of(segment: &Arc<Segment>, path: ReadPath) -> Self {
        let segment = Arc::clone(segment);
        match path {
            ReadPath::Mapped => Self::Mapped(segment),
            ReadPath::Copy => Self::Copied {
                segment,
                file: None,
            },
        }
    }
}

/// Whether the page at `at` holds a byte of `range`.
fn holds_page(range: &Range<u64>, at: u64) -> bool {
    range.start / PAGE_SIZE <= at / PAGE_SIZE && at < range.end
}
