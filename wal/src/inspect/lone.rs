//! One segment file, without the other files of its log.

use crate::error::{Finding, Result, WalError};
use crate::format::frame::LogKey;
use crate::format::layout::{
    FRAME_ALIGNMENT, FRAME_HEADER_SIZE, MAX_BASE, Name, SEGMENT_HEADER_SIZE, classify,
};
use crate::marks::set::Marks;
use crate::segment::header::{FoundFile, NoHeader, SegmentFile, read_error};
use crate::segment::scan::{Found, Scanner};
use highwater_disk::{Access, Disk};
use std::cmp::Ordering;
use std::path::Path;

/// Why nothing of a file can be read.
const NO_IDENTITY: &str = "every checksum covers the log's identity that is in it, so no frame of this file can be told from junk; \
     restore the file from a backup, or repair the log in its directory";

/// One segment file, of which the header is intact.
#[derive(Debug, Clone)]
pub(crate) struct LoneSegment {
    pub(crate) segment: SegmentFile,
    pub(crate) log_id: u128,
    /// Length of the file.
    pub(crate) len: u64,
}

impl LoneSegment {
    /// Reads the header of `path`, a path from the root on.
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<Self> {
        let file = disk
            .open(path, Access::Read)
            .map_err(|e| WalError::io("opening", path, e))?;
        let name = path.file_name().and_then(|name| name.to_str());
        let named = match name.map_or(Name::Unknown, classify) {
            Name::Segment(base) => base,
            _ => 0,
        };
        let found = FoundFile::read(&*file, path, named)?.not_newer()?;
        let found = match found.header {
            Err(NoHeader::Unreadable(e)) => {
                return Err(read_error(path, 0, SEGMENT_HEADER_SIZE, e));
            }
            header => FoundFile { header, ..found },
        };
        let damaged = |what: &str| {
            let what = format!("{what}: {NO_IDENTITY}");
            found.corrupt(Finding::DamagedHeader, 0, what)
        };
        match &found.header {
            Ok(header) if header.base < MAX_BASE => Ok(Self {
                segment: SegmentFile {
                    path: found.path,
                    base: header.base,
                    size: header.size,
                },
                log_id: header.log_id,
                len: found.len,
            }),
            Ok(header) => {
                let what = format!("the header says that it starts at {}", header.base);
                Err(damaged(&what))
            }
            Err(NoHeader::Bad(bad)) => {
                let what = format!("bad {bad:?} in the header").to_lowercase();
                Err(damaged(&what))
            }
            Err(_) => Err(damaged("the header is not all there")),
        }
    }

    /// What is wrong with the file as such.
    pub(crate) fn shape(&self) -> Option<WalError> {
        let Self { segment, len, .. } = self;
        let what = format!("{len} bytes instead of {}", segment.size);
        let (finding, offset, what) = match len.cmp(&segment.size) {
            Ordering::Equal => return None,
            Ordering::Less => {
                let what = format!("{what}: what is there was read; restore the file");
                (Finding::ShortSegment, *len, what)
            }
            Ordering::Greater => {
                let what = format!("{what}: what is after the end was ignored");
                (Finding::LongSegment, segment.size, what)
            }
        };
        Some(segment.corrupt(finding, offset, what))
    }

    /// Scans what the file has.
    pub(crate) fn scanner(&self, disk: &dyn Disk) -> Result<Scanner> {
        let key = LogKey::new(self.log_id);
        Scanner::open_short(disk, &self.segment, key, self.len)
    }

    /// The LSN after its last intact frame, or that of the first one if there is none; and what the
    /// marks in it say.
    pub(crate) fn reach(&self, disk: &dyn Disk) -> Result<(u64, Marks)> {
        let mut marks = Marks::default();
        let mut scan = self.scanner(disk)?;
        let (mut offset, mut end) = (SEGMENT_HEADER_SIZE, SEGMENT_HEADER_SIZE);
        while offset < self.segment.size {
            match scan.look(offset) {
                Ok(Found::Frame(frame)) => {
                    (offset, end) = (frame.next, frame.next);
                    let mark = frame.mark(scan.payload(&frame));
                    mark.iter().for_each(|mark| marks.apply(mark));
                    continue;
                }
                // It may be the last: its error is to be seen.
                Ok(Found::Unknown(_)) => end = offset + FRAME_HEADER_SIZE,
                Ok(Found::BadPayload(_) | Found::Nothing) | Err(_) => {}
            }
            match scan.next_intact(offset + FRAME_ALIGNMENT, u64::MAX) {
                Some(next) => offset = next,
                None => break,
            }
        }
        Ok((self.segment.base + end, marks))
    }
}
