//! Reading segment files with plain reads: a bad sector is an error here, where through a map it
//! would be a signal.

use crate::error::{Result, WalError};
use crate::format::frame::{At, LogKey, RawHeader, check};
use crate::format::layout::{
    FRAME_ALIGNMENT, FRAME_HEADER_SIZE, SEGMENT_HEADER_SIZE, frame_header, to_usize,
};
use crate::read::window::holds_page;
use highwater_disk::{Access, Disk, DiskError, DiskFile};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const WINDOW_SIZE: u64 = 256 << 10;
/// Zeros are skipped in pieces of this size.
const STRIDE: usize = 512;

/// A segment as its file says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentFile {
    pub(crate) path: PathBuf,
    pub(crate) base: u64,
    pub(crate) size: u64,
}

/// Reads frames from a segment file through a window.
#[derive(Debug)]
pub(crate) struct Scan {
    path: PathBuf,
    base: u64,
    size: u64,
    key: LogKey,
    file: Arc<dyn DiskFile>,
    window: Vec<u8>,
    /// Offset in the file of the window's first byte.
    start: u64,
}

impl Scan {
    pub(crate) fn open(disk: &dyn Disk, segment: &SegmentFile, key: LogKey) -> Result<Self> {
        let file = disk
            .open(&segment.path, Access::Read)
            .map_err(|e| WalError::io("opening", &segment.path, e))?;
        let SegmentFile { path, base, size } = segment.clone();
        Ok(Self {
            path,
            base,
            size,
            key,
            file,
            window: Vec::new(),
            start: 0,
        })
    }

    /// `len` bytes at `offset`, which must lie inside the segment.
    pub(crate) fn bytes(&mut self, offset: u64, len: u64) -> Result<&[u8]> {
        let inside = offset >= self.start && offset + len <= self.start + self.window.len() as u64;
        if !inside {
            let wanted = len.max(WINDOW_SIZE.min(self.size - offset));
            let need = offset..offset + len;
            let behind = |e: &std::io::Error| {
                let at = DiskError::of(e).and_then(DiskError::offset);
                at.is_some_and(|at| !holds_page(&need, at))
            };
            let filled = match self.fill(offset, wanted) {
                // What cannot be read ahead must not hide what stands before it.
                Err(e) if behind(&e) => self.fill(offset, len),
                filled => filled,
            };
            filled.map_err(|e| read_error(&self.path, offset, len, e))?;
        }
        let at = to_usize(offset - self.start);
        Ok(self
            .window
            .get(at..at + to_usize(len))
            .expect("the window holds the range"))
    }

    fn fill(&mut self, offset: u64, len: u64) -> std::io::Result<()> {
        self.window.resize(to_usize(len), 0);
        self.start = offset;
        self.file
            .read_exact_at(&mut self.window, offset)
            .inspect_err(|_| self.window.clear())
    }

    /// The header of a frame at `offset`, if one of this place stands there.
    pub(crate) fn header(&mut self, offset: u64) -> Result<Option<RawHeader>> {
        if offset + FRAME_HEADER_SIZE > self.size {
            return Ok(None);
        }
        let (key, lsn, room) = (self.key, self.base + offset, self.size - offset);
        let bytes = self.bytes(offset, FRAME_HEADER_SIZE)?;
        let head = bytes.first_chunk::<{ frame_header::END }>();
        let header = head.and_then(|head| RawHeader::parse(head, &key, lsn, room));
        Ok(header.filter(|header| header.leaves_room(room)))
    }

    /// The frame at `offset`.
    pub(crate) fn look(&mut self, offset: u64) -> Result<At<'_>> {
        let Some(header) = self.header(offset)? else {
            return Ok(At::Nothing);
        };
        let (key, lsn) = (self.key, self.base + offset);
        // The length was found right for this place and fits the segment: no junk can make us
        // allocate.
        let payload = self.bytes(offset + FRAME_HEADER_SIZE, u64::from(header.payload_len))?;
        Ok(check(header, payload, &key, lsn))
    }

    /// True if the 16 bytes at `offset` are zero (or lie past the end).
    pub(crate) fn is_zero(&mut self, offset: u64) -> Result<bool> {
        let len = FRAME_HEADER_SIZE.min(self.size.saturating_sub(offset));
        Ok(self
            .bytes(offset.min(self.size), len)?
            .iter()
            .all(|b| *b == 0))
    }

    /// Calls `found` for each header of this log that stands at its place, at any multiple of 8 in
    /// `range`.
    pub(crate) fn headers_in(
        &mut self,
        range: Range<u64>,
        mut found: impl FnMut(u64, RawHeader),
    ) -> Result<()> {
        let mut offset = range.start.max(SEGMENT_HEADER_SIZE);
        while offset + FRAME_HEADER_SIZE <= self.size && offset < range.end {
            let (key, base, size) = (self.key, self.base, self.size);
            let len = (WINDOW_SIZE / 2).min(size - offset);
            let bytes = self.bytes(offset, len)?;
            let mut at = 0;
            while let Some(head) = bytes
                .get(at..)
                .and_then(|rest| rest.first_chunk::<{ frame_header::END }>())
            {
                let blank = || {
                    bytes
                        .get(at..at + STRIDE + to_usize(FRAME_HEADER_SIZE))
                        .is_some_and(is_blank)
                };
                if is_blank(head) && blank() {
                    at += STRIDE;
                    continue;
                }
                let place = offset + at as u64;
                if place >= range.end {
                    return Ok(());
                }
                if let Some(header) = RawHeader::parse(head, &key, base + place, size - place) {
                    found(place, header);
                }
                at += to_usize(FRAME_ALIGNMENT);
            }
            offset += at as u64;
        }
        Ok(())
    }
}

/// Or-ed together rather than searched, so that the compiler can use wide registers.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |seen, byte| seen | byte) == 0
}

/// The error of `len` bytes at `offset` that cannot be read. Names the place that cannot, if the
/// disk knows it.
pub(crate) fn read_error(path: &Path, offset: u64, len: u64, source: std::io::Error) -> WalError {
    let op = match DiskError::of(&source).and_then(DiskError::offset) {
        Some(exact) => format!("reading at offset {exact} of"),
        None => format!("reading {len} bytes at offset {offset} of"),
    };
    WalError::io(op, path, source)
}
