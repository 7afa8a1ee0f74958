//! The files of a log: which there are, and whether they join.

use crate::control::file::Meta;
use crate::error::{Finding, Result, WalError};
use crate::format::frame::{BadHeader, SegmentHeader, lsn};
use crate::format::layout::{
    FORMAT_VERSION, FRAME_HEADER_SIZE, Name, classify, segment_header, segment_name,
};
use crate::lsn::Lsn;
use crate::segment::file::read_header;
use crate::segment::scan::{SegmentFile, read_error};
use highwater_disk::{Access, Disk, EntryKind};
use std::cmp::Ordering;
use std::ffi::OsString;
use std::path::Path;

/// The log's directory by kind of name.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Base of each segment file, ascending, with the length of the file.
    pub(crate) segments: Vec<(u64, u64)>,
    pub(crate) temporary: Vec<OsString>,
    pub(crate) ignored: Vec<OsString>,
}

impl Listing {
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Self> {
        let mut listing = Self::default();
        let entries = disk
            .list(dir)
            .map_err(|e| WalError::io("listing", dir, e))?;
        for entry in entries {
            let name = entry.name.to_str().map_or(Name::Unknown, classify);
            match name {
                Name::Segment(base) if entry.kind == EntryKind::File => {
                    listing.segments.push((base, entry.len));
                }
                Name::Temporary if entry.kind == EntryKind::File => {
                    listing.temporary.push(entry.name)
                }
                Name::Meta | Name::Lock | Name::Spare => {}
                Name::Segment(_) | Name::Temporary | Name::Unknown => {
                    listing.ignored.push(entry.name)
                }
            }
        }
        listing.segments.sort_unstable();
        Ok(listing)
    }
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
        lsn: lsn(base, offset),
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

/// So many segments at the end are looked into whatever `LOG` says: a log in a newer format is
/// refused before anything is written.
const ALWAYS_CHECKED: usize = 2;

/// Which headers are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Headers {
    All,
    /// Those of the segments that recovery reads. The others, wholly below what `LOG` attests, are
    /// checked when somebody reads them: opening a log must not take longer the longer it is.
    Unattested,
}

/// Checks all segments from `first_lsn` on: that they join, and their headers.
pub(crate) fn check_chain(
    disk: &dyn Disk,
    dir: &Path,
    meta: &Meta,
    listing: &Listing,
    headers: Headers,
) -> Result<Vec<SegmentFile>> {
    let mut chain = Vec::new();
    join(disk, dir, meta, listing, headers, &mut chain)?;
    Ok(chain)
}

/// As [`check_chain`]; `chain` gets the segments that stand before the first that is wrong.
pub(crate) fn join(
    disk: &dyn Disk,
    dir: &Path,
    meta: &Meta,
    listing: &Listing,
    headers: Headers,
    chain: &mut Vec<SegmentFile>,
) -> Result<()> {
    let mut expected = meta.first_lsn;
    let counted = listing
        .segments
        .partition_point(|(base, _)| *base < meta.first_lsn);
    let mut left = listing.segments.get(counted..).unwrap_or_default();
    while let Some(((base, len), rest)) = left.split_first() {
        if *base != expected {
            return Err(out_of_place(disk, dir, meta, *base, expected, listing));
        }
        let joins = rest.first().is_some_and(|(next, _)| base + len == *next);
        let attested = headers == Headers::Unattested && base + len <= meta.attested_lsn;
        let segment = if joins && attested && rest.len() >= ALWAYS_CHECKED {
            SegmentFile {
                path: dir.join(segment_name(Lsn::new(*base))),
                base: *base,
                size: *len,
            }
        } else {
            check_segment(disk, dir, *base, meta.log_id)?
        };
        expected = segment.base + segment.size;
        chain.push(segment);
        left = rest;
    }
    if chain.is_empty() {
        return Err(missing(dir, expected, "no segment at all is left"));
    }
    Ok(())
}

/// What is wrong where the segment at `base` was found, but one at `expected` should come. Either
/// that one is missing, or the file found is no segment of that place: a copy, a renamed one,
/// another log's. Then the file is to blame, not its neighbours.
fn out_of_place(
    disk: &dyn Disk,
    dir: &Path,
    meta: &Meta,
    base: u64,
    expected: u64,
    listing: &Listing,
) -> WalError {
    match check_segment(disk, dir, base, meta.log_id) {
        Ok(_) if base > expected => missing(
            dir,
            expected,
            &format!("the next one found starts at {base}"),
        ),
        Ok(_) => WalError::Corrupt {
            finding: Finding::SwappedSegment,
            file: dir.join(segment_name(Lsn::new(base))),
            offset: 0,
            lsn: Lsn::new(base),
            what: format!(
                "it overlaps the segment before it, which ends at {expected}; move the file away"
            ),
        },
        Err(WalError::Corrupt {
            finding:
                finding @ (Finding::SwappedSegment | Finding::ForeignSegment | Finding::DamagedHeader),
            file,
            offset,
            lsn,
            what,
        }) => {
            let is_there = listing.segments.iter().any(|(base, _)| *base == expected);
            let place = match base < expected || is_there {
                true => "no segment is due there".to_owned(),
                false => format!("the segment before it ends at {expected}"),
            };
            let what = format!("{what}; {place}");
            WalError::Corrupt {
                finding,
                file,
                offset,
                lsn,
                what,
            }
        }
        Err(error) => error,
    }
}

pub(crate) fn missing(dir: &Path, base: u64, what: &str) -> WalError {
    WalError::Corrupt {
        finding: Finding::MissingSegment,
        file: dir.join(segment_name(Lsn::new(base))),
        offset: 0,
        lsn: Lsn::new(base),
        what: format!("{what}; restore the file"),
    }
}
