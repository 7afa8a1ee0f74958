//! The header and the length of one segment file: read, and checked before a frame is.

use crate::error::{Finding, Result, WalError};
use crate::format::frame::{BadHeader, RawHeader, SegmentHeader};
use crate::format::layout::{FORMAT_VERSION, FRAME_HEADER_SIZE, segment_header, segment_name};
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

/// Reads the header of a segment file. `None` if the file is shorter than that.
pub(crate) fn read_header(file: &dyn DiskFile) -> io::Result<Option<[u8; segment_header::END]>> {
    let mut bytes = [0; segment_header::END];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
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

/// Reads and checks the header and the length of the segment at `base`.
pub(crate) fn check_segment(
    disk: &dyn Disk,
    dir: &Path,
    base: u64,
    log_id: u128,
) -> Result<SegmentFile> {
    let path = dir.join(segment_name(Lsn::new(base)));
    let file = disk
        .open(&path, Access::Read)
        .map_err(|e| WalError::io("opening", &path, e))?;
    let header = read_header(&*file).map_err(|e| read_error(&path, 0, FRAME_HEADER_SIZE, e))?;
    let len = file
        .len()
        .map_err(|e| WalError::io("measuring", &path, e))?;
    let size = check_header(&path, header, base, len, log_id)?;
    Ok(SegmentFile { path, base, size })
}

/// The size of the segment at `base`, whose file starts with `header` (`None` if it is shorter) and
/// is `len` bytes long.
pub(crate) fn check_header(
    path: &Path,
    header: Option<[u8; segment_header::END]>,
    base: u64,
    len: u64,
    log_id: u128,
) -> Result<u64> {
    let parsed = header.map(|bytes| SegmentHeader::parse(&bytes));
    if let Some(Err(BadHeader::Newer(found))) = parsed {
        return Err(WalError::NewerFormat {
            file: path.to_owned(),
            found,
            supported: FORMAT_VERSION,
        });
    }
    judge(parsed, base, len, log_id).map_err(|(finding, offset, what)| WalError::Corrupt {
        finding,
        file: path.to_owned(),
        offset,
        lsn: Lsn::new(base + offset),
        what: format!("{what}: {}", what_to_do(finding)),
    })
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

/// The size of a segment whose header fits its name, its log and its length; or what is wrong, and
/// where.
fn judge(
    header: Option<std::result::Result<SegmentHeader, BadHeader>>,
    base: u64,
    len: u64,
    log_id: u128,
) -> std::result::Result<u64, (Finding, u64, String)> {
    let header = match header {
        None => {
            return Err((
                Finding::ShortSegment,
                len,
                "the header is not all there".to_owned(),
            ));
        }
        Some(Err(bad)) => {
            let what = format!("bad {bad:?} in the header").to_lowercase();
            return Err((Finding::DamagedHeader, 0, what));
        }
        Some(Ok(header)) => header,
    };
    if header.log_id != log_id {
        let what = format!("log id {:032x} instead of {log_id:032x}", header.log_id);
        return Err((Finding::ForeignSegment, 0, what));
    }
    if header.base != base {
        let what = format!("the header says that it starts at {}", header.base);
        return Err((Finding::SwappedSegment, 0, what));
    }
    let what = || format!("{len} bytes instead of {}", header.size);
    match len.cmp(&header.size) {
        Ordering::Less => Err((Finding::ShortSegment, len, what())),
        Ordering::Greater => Err((Finding::LongSegment, header.size, what())),
        Ordering::Equal => Ok(header.size),
    }
}
