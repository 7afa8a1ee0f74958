//! The part of a segment that a reader has made sure of before it touches it: pages of a map that
//! were read in, or bytes that were copied out of the file ([`ReadPath`]).
//!
//! The window grows while reading goes on from where it ended, as the kernel's read-ahead does:
//! whoever looks at one frame pays for a few pages, whoever reads on asks once per MiB.

use crate::error::Result;
use crate::format::layout::to_usize;
use crate::options::choices::ReadPath;
use crate::segment::file::Segment;
use highwater_disk::{DiskFile, PAGE_SIZE};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The first step, and the longest. Measured: longer ones are no faster, with shorter ones the
/// questions show.
const SHORTEST: u64 = 64 << 10;
const LONGEST: u64 = 1 << 20;

/// A window that moves through the log.
pub(crate) struct ReadWindow {
    /// Base of the segment in which it lies; none at first.
    base: Option<u64>,
    /// What may be touched, in offsets of that segment.
    ready: Range<u64>,
    step: u64,
    bytes: Bytes,
}

/// Where the bytes of a window are.
enum Bytes {
    /// In the map of the segment.
    Mapped,
    /// In a buffer of the window, as long as the longest step or frame.
    Copied {
        file: Option<Arc<dyn DiskFile>>,
        buffer: Vec<u8>,
    },
    /// In a buffer that holds all that is to be read.
    Lent(Arc<Vec<u8>>),
}

impl fmt::Debug for ReadWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadWindow")
            .field("base", &self.base)
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}

impl ReadWindow {
    pub(crate) fn new(path: ReadPath) -> Self {
        Self {
            base: None,
            ready: 0..0,
            step: 0,
            bytes: match path {
                ReadPath::Mapped => Bytes::Mapped,
                ReadPath::Copy => Bytes::Copied {
                    file: None,
                    buffer: Vec::new(),
                },
            },
        }
    }

    /// A window in a map of which all is going to be read.
    pub(crate) fn of_all() -> Self {
        Self {
            step: LONGEST,
            ..Self::new(ReadPath::Mapped)
        }
    }

    /// A window that does not move: `bytes` are those of the segment at `base` from offset `start`
    /// on.
    pub(crate) fn over(bytes: Arc<Vec<u8>>, base: u64, start: u64) -> Self {
        Self {
            base: Some(base),
            ready: start..start + bytes.len() as u64,
            step: 0,
            bytes: Bytes::Lent(bytes),
        }
    }

    /// Whether what it shows lies in a map.
    pub(crate) fn read_path(&self) -> ReadPath {
        match self.bytes {
            Bytes::Mapped => ReadPath::Mapped,
            Bytes::Copied { .. } | Bytes::Lent(_) => ReadPath::Copy,
        }
    }

    /// Makes sure of the bytes of `need`, which may be touched then ([`Self::shown`]); false if
    /// they do not lie below `readable`.
    #[inline]
    pub(crate) fn ensure(
        &mut self,
        segment: &Segment,
        need: &Range<u64>,
        readable: u64,
    ) -> Result<bool> {
        let inside = self.ready.start <= need.start && need.end <= self.ready.end;
        if need.end > readable {
            return Ok(false);
        }
        if self.base != Some(segment.base) || !inside {
            self.go_to(segment, need, readable)?;
        }
        Ok(true)
    }

    /// Bytes that were made sure of; `None` if they were not, or the window has left them.
    #[inline]
    pub(crate) fn shown<'a>(&'a self, segment: &'a Segment, range: Range<u64>) -> Option<&'a [u8]> {
        if range.start < self.ready.start || range.end > self.ready.end {
            return None;
        }
        match &self.bytes {
            Bytes::Mapped => segment.bytes(range),
            Bytes::Copied { buffer, .. } => self.part(buffer, &range),
            Bytes::Lent(bytes) => self.part(bytes, &range),
        }
    }

    /// All bytes that were made sure of, from `offset` on.
    #[inline]
    pub(crate) fn shown_from<'a>(&'a self, segment: &'a Segment, offset: u64) -> Option<&'a [u8]> {
        self.shown(segment, offset..self.ready.end.max(offset))
    }

    fn part<'a>(&self, bytes: &'a [u8], range: &Range<u64>) -> Option<&'a [u8]> {
        let start = to_usize(range.start.checked_sub(self.ready.start)?);
        bytes.get(start..start.checked_add(to_usize(range.end - range.start))?)
    }

    #[cold]
    fn go_to(&mut self, segment: &Segment, need: &Range<u64>, readable: u64) -> Result<()> {
        if self.base != Some(segment.base) {
            self.base = Some(segment.base);
            self.ready = 0..0;
            if let Bytes::Copied { file, .. } = &mut self.bytes {
                *file = None;
            }
        }
        // At the start of a segment, too: reading goes on from the one before.
        let goes_on =
            (self.ready.start..=self.ready.end).contains(&need.start) || self.ready.is_empty();
        self.step = match goes_on {
            true => (2 * self.step).clamp(SHORTEST, LONGEST),
            false => SHORTEST,
        };
        let end = need.end.max(need.start + self.step);
        let ahead = match self.bytes {
            // The same pieces in each pass, so that the disk knows again what was populated once.
            Bytes::Mapped => {
                let start = need.start / SHORTEST * SHORTEST;
                start..end.next_multiple_of(SHORTEST).min(segment.size)
            }
            Bytes::Copied { .. } | Bytes::Lent(_) => need.start..end.min(readable),
        };
        match self.fill(segment, ahead, readable) {
            // What cannot be read ahead must not hide what stands before it.
            Err(error) if error.offset().is_some_and(|at| !holds_page(need, at)) => {
                self.fill(segment, need.clone(), readable)
            }
            filled => filled,
        }
    }

    fn fill(&mut self, segment: &Segment, range: Range<u64>, readable: u64) -> Result<()> {
        self.ready = 0..0;
        match &mut self.bytes {
            Bytes::Mapped => segment.populate(range.clone())?,
            Bytes::Copied { file, buffer } => {
                // A frame that was longer than any step need not be paid for ever after.
                if buffer.capacity() as u64 > 2 * LONGEST && range.end - range.start <= LONGEST {
                    *buffer = Vec::new();
                }
                buffer.resize(to_usize(range.end - range.start), 0);
                segment.copy(range.start, buffer, file)?;
            }
            Bytes::Lent(_) => {}
        }
        self.ready = match self.bytes {
            // Pages are read in whole.
            Bytes::Mapped => range.start / PAGE_SIZE * PAGE_SIZE..range.end.min(readable),
            Bytes::Copied { .. } => range,
            Bytes::Lent(_) => return Ok(()),
        };
        Ok(())
    }
}

/// Whether the page at `at` holds a byte of `range`.
pub(crate) fn holds_page(range: &Range<u64>, at: u64) -> bool {
    range.start / PAGE_SIZE <= at / PAGE_SIZE && at < range.end
}
