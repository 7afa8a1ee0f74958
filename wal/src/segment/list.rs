//! The files of a log: which there are, and whether they join.

use crate::control::file::ControlFile;
use crate::error::{Finding, Result, WalError};
use crate::format::layout::{Name, classify, segment_name};
use crate::lsn::Lsn;
use crate::segment::header::{SegmentFile, check_segment};
use highwater_disk::{Disk, EntryKind};
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

/// How many segments at the end are always checked, whatever `LOG` says: a log in a newer format is
/// refused before anything is written.
const ALWAYS_CHECKED: usize = 2;

/// Which headers are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderCheck {
    All,
    /// Those of the segments that recovery reads. The others, wholly below what `LOG` proves
    /// durable, are checked when they are read: the time to open a log must not grow with it.
    Unproven,
}

/// Checks all segments from `first_lsn` on: that they join, and their headers.
pub(crate) fn list_segments(
    disk: &dyn Disk,
    dir: &Path,
    meta: &ControlFile,
    listing: &Listing,
    headers: HeaderCheck,
) -> Result<Vec<SegmentFile>> {
    let mut found = Vec::new();
    list_segments_into(disk, dir, meta, listing, headers, &mut found)?;
    Ok(found)
}

/// As [`list_segments`]; `found` gets the segments before the first that is wrong.
pub(crate) fn list_segments_into(
    disk: &dyn Disk,
    dir: &Path,
    meta: &ControlFile,
    listing: &Listing,
    headers: HeaderCheck,
    found: &mut Vec<SegmentFile>,
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
        let proven = headers == HeaderCheck::Unproven && base + len <= meta.attested_lsn;
        let segment = if joins && proven && rest.len() >= ALWAYS_CHECKED {
            SegmentFile {
                path: dir.join(segment_name(Lsn::new(*base))),
                base: *base,
                size: *len,
            }
        } else {
            check_segment(disk, dir, *base, meta.log_id)?
        };
        expected = segment.base + segment.size;
        found.push(segment);
        left = rest;
    }
    if found.is_empty() {
        return Err(missing(dir, expected, "no segment at all is left"));
    }
    Ok(())
}

/// What is wrong where the segment at `base` was found, but one at `expected` should come. Either
/// that one is missing, or the file found is no segment of that place: a copy, a renamed one, one
/// of another log. Then the error names the file, not its neighbours.
fn out_of_place(
    disk: &dyn Disk,
    dir: &Path,
    meta: &ControlFile,
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

/// The segment of `segments`, which ascend, that holds `lsn`.
pub(crate) fn segment_holding(segments: &[SegmentFile], lsn: u64) -> Option<&SegmentFile> {
    let index = segments.partition_point(|segment| segment.end() <= lsn);
    segments.get(index).filter(|segment| segment.contains(lsn))
}
