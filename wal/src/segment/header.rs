//! The header and the length of one segment file: read, and checked before a frame is.

use crate::error::{Finding, Result, WalError};
use crate::format::frame::{BadHeader, RawHeader, SegmentHeader};
use crate::format::layout::{SEGMENT_HEADER_SIZE, SEGMENT_VERSION, segment_header, segment_name};
use crate::lsn::Lsn;
use highwater_disk::{Access, Disk, DiskError, DiskFile};
use std::cmp::Ordering;
use std::io;
use std::path::{Path, PathBuf};

/// A segment as its file says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentFile {
    pub(crate) path: PathBuf,
    pub(crate) base: u64,
    pub(crate) size: u64,
}

impl SegmentFile {
    pub(crate) fn end(&self) -> u64 {
        self.base + self.size
    }

    pub(crate) fn contains(&self, lsn: u64) -> bool {
        (self.base..self.end()).contains(&lsn)
    }

    /// An error about a place in this segment.
    pub(crate) fn corrupt(
        &self,
        finding: Finding,
        offset: u64,
        what: impl Into<String>,
    ) -> WalError {
        WalError::Corrupt {
            finding,
            file: self.path.clone(),
            offset,
            lsn: Lsn::new(self.base + offset),
            what: what.into(),
        }
    }

    /// The error of a frame that a newer version wrote.
    pub(crate) fn unknown_feature(&self, offset: u64, raw: &RawHeader) -> WalError {
        self.corrupt(Finding::UnknownFeature, offset, raw.to_string())
    }
}

/// What a file with the name of a segment shows of itself, before it is judged.
#[derive(Debug)]
pub(crate) struct FoundFile {
    pub(crate) path: PathBuf,
    /// The base that its name says.
    pub(crate) name: u64,
    pub(crate) len: u64,
    pub(crate) header: std::result::Result<SegmentHeader, NoHeader>,
}

/// Why a file has no header that could be used.
#[derive(Debug)]
pub(crate) enum NoHeader {
    Short,
    Bad(BadHeader),
    Unreadable(io::Error),
}

impl FoundFile {
    /// Opens and looks at the file of the segment at `base`.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path, base: u64) -> Result<Self> {
        let path = dir.join(segment_name(Lsn::new(base)));
        let file = disk
            .open(&path, Access::Read)
            .map_err(|e| WalError::io("opening", &path, e))?;
        Self::read(&*file, &path, base)
    }

    pub(crate) fn read(file: &dyn DiskFile, path: &Path, base: u64) -> Result<Self> {
        let len = file.len().map_err(|e| WalError::io("measuring", path, e))?;
        let mut bytes = [0; segment_header::END];
        let header = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => SegmentHeader::parse(&bytes).map_err(NoHeader::Bad),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(NoHeader::Short),
            Err(e) => Err(NoHeader::Unreadable(e)),
        };
        Ok(Self {
            path: path.to_owned(),
            name: base,
            len,
            header,
        })
    }

    /// Refuses a file that a newer version wrote.
    pub(crate) fn not_newer(self) -> Result<Self> {
        match self.header {
            Err(NoHeader::Bad(BadHeader::Newer(found))) => Err(WalError::NewerFormat {
                file: self.path,
                found,
                supported: SEGMENT_VERSION,
            }),
            _ => Ok(self),
        }
    }

    /// The segment, if the header fits the name, the log and the length of the file.
    pub(crate) fn check(self, log_id: u128) -> Result<SegmentFile> {
        let found = self.not_newer()?;
        let header = match found.header {
            Ok(header) => header,
            Err(NoHeader::Unreadable(e)) => {
                return Err(read_error(&found.path, 0, SEGMENT_HEADER_SIZE, e));
            }
            Err(NoHeader::Short) => {
                let what = "the header is not all there";
                return Err(found.wrong(Finding::ShortSegment, found.len, what));
            }
            Err(NoHeader::Bad(ref bad)) => {
                let what = format!("bad {bad:?} in the header").to_lowercase();
                return Err(found.wrong(Finding::DamagedHeader, 0, &what));
            }
        };
        if header.log_id != log_id {
            let what = format!("log id {:032x} instead of {log_id:032x}", header.log_id);
            return Err(found.wrong(Finding::ForeignSegment, 0, &what));
        }
        if header.base != found.name {
            let what = format!("the header says that it starts at {}", header.base);
            return Err(found.wrong(Finding::SwappedSegment, 0, &what));
        }
        let what = format!("{} bytes instead of {}", found.len, header.size);
        match found.len.cmp(&header.size) {
            Ordering::Less => Err(found.wrong(Finding::ShortSegment, found.len, &what)),
            Ordering::Greater => Err(found.wrong(Finding::LongSegment, header.size, &what)),
            Ordering::Equal => Ok(SegmentFile {
                path: found.path,
                base: header.base,
                size: header.size,
            }),
        }
    }

    fn wrong(&self, finding: Finding, offset: u64, what: &str) -> WalError {
        self.corrupt(finding, offset, format!("{what}: {}", what_to_do(finding)))
    }

    pub(crate) fn corrupt(&self, finding: Finding, offset: u64, what: String) -> WalError {
        WalError::Corrupt {
            finding,
            file: self.path.clone(),
            offset,
            lsn: Lsn::new(self.name.saturating_add(offset)),
            what,
        }
    }
}

fn what_to_do(finding: Finding) -> &'static str {
    match finding {
        Finding::SwappedSegment => {
            "it was copied or renamed: give it its name back, or move it away if that segment is there"
        }
        Finding::ForeignSegment => {
            "move it away, and restore the file of this log if there was one"
        }
        _ => "restore the file",
    }
}

/// Reads and checks the header and the length of the segment at `base`.
pub(crate) fn check_segment(
    disk: &dyn Disk,
    dir: &Path,
    base: u64,
    log_id: u128,
) -> Result<SegmentFile> {
    FoundFile::open(disk, dir, base)?.check(log_id)
}

/// The error of `len` bytes at `offset` that cannot be read. Names the byte that cannot, if the
/// disk knows it.
pub(crate) fn read_error(path: &Path, offset: u64, len: u64, source: io::Error) -> WalError {
    let op = match DiskError::of(&source).and_then(DiskError::offset) {
        Some(exact) => format!("reading at offset {exact} of"),
        None => format!("reading {len} bytes at offset {offset} of"),
    };
    WalError::io(op, path, source)
}
