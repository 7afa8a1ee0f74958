//! The files of a damaged log, as far as they can be recognised. Only reads.

use crate::control::file::{self, ControlFile, LogEnd};
use crate::error::{Finding, Result, WalError};
use crate::facade::tracing;
use crate::format::frame::{LogKey, SegmentHeader};
use crate::format::layout::{
    FRAME_HEADER_SIZE, MAX_SEGMENT_SIZE, MIN_SEGMENT_SIZE, SEGMENT_ALIGNMENT,
};
use crate::lsn::Lsn;
use crate::marks::set::Marks;
use crate::segment::header::{FoundFile, NoHeader, SegmentFile};
use crate::segment::list::Listing;
use highwater_disk::{DirLock, Disk};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A log from which as much as possible is to be read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) key: LogKey,
    /// Where the log starts: as `LOG` says, or the lowest segment there is.
    pub(crate) first_lsn: u64,
    /// Everything below was durable, by `LOG`; 0 if that cannot be read.
    pub(crate) proven_lsn: u64,
    /// By `LOG` it ends there.
    pub(crate) is_closed: bool,
    /// What `LOG` says of the marks below that; nothing if it cannot be read.
    pub(crate) marks: Marks,
    /// Whether there can be any in the segments.
    pub(crate) may_have_marks: bool,
    /// By base; of two with the same base the one that has its own name comes first.
    pub(crate) candidates: Vec<Candidate>,
    /// What is wrong with files as such.
    pub(crate) findings: Vec<WalError>,
    pub(crate) ignored: Vec<OsString>,
    /// Keeps writers away while the log is read. Taking it writes nothing.
    _lock: Option<DirLock>,
}

/// A file that may hold part of the log.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// Its size is that of its header, or what fits.
    pub(crate) file: SegmentFile,
    /// Bytes that the file has.
    pub(crate) len: u64,
    /// Whether its header says that it is this segment of this log.
    pub(crate) has_header: bool,
    /// Whether its size is known by more than the name of the next file.
    pub(crate) is_sized: bool,
}

impl Source {
    /// Looks at everything in `dir` that could belong to a log.
    ///
    /// Damage is kept in `findings`. Errors: the log is open; the directory cannot be read; a newer
    /// version wrote it; it is unknown which log it is.
    pub(crate) fn open(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Self> {
        let lock = hold(&**disk, dir)?;
        Self::read(disk, dir, lock)
    }

    /// As [`Self::open`], without a lock: of a log that is written meanwhile the end is not exact.
    pub(crate) fn look(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Self> {
        Self::read(disk, dir, None)
    }

    fn read(disk: &Arc<dyn Disk>, dir: &Path, lock: Option<DirLock>) -> Result<Self> {
        let listing = Listing::read(&**disk, dir)?;
        let mut findings = Vec::new();
        let meta = match ControlFile::read(&**disk, dir) {
            Ok(Some(meta)) => Some(meta),
            Ok(None) if listing.segments.is_empty() => {
                let what = "there is no file LOG in it and no segment: it is not a log";
                return Err(WalError::no_log(dir, what));
            }
            Ok(None) => {
                findings.push(missing_meta(dir));
                None
            }
            Err(error @ WalError::NewerFormat { .. }) => return Err(error),
            Err(error) => {
                findings.push(error);
                None
            }
        };
        let files: Vec<FoundFile> = listing
            .segments
            .iter()
            .map(|(name, _)| FoundFile::open(&**disk, dir, *name)?.not_newer())
            .collect::<Result<_>>()?;
        let log_id = match &meta {
            Some(meta) => meta.log_id,
            None => vote(dir, &files)?,
        };
        let lowest = files.first().map_or(0, |file| file.name);
        let first_lsn = meta.as_ref().map_or(lowest, |meta| meta.first_lsn);
        let candidates = candidates(&files, log_id, first_lsn, &mut findings);
        Ok(Self {
            disk: Arc::clone(disk),
            dir: dir.to_owned(),
            key: LogKey::new(log_id),
            first_lsn: if meta.is_some() {
                first_lsn
            } else {
                candidates.first().map_or(first_lsn, |part| part.file.base)
            },
            proven_lsn: meta.as_ref().map_or(0, |meta| meta.attested_lsn),
            is_closed: meta.as_ref().is_some_and(|meta| meta.end == LogEnd::Closed),
            may_have_marks: meta.as_ref().is_none_or(|meta| meta.features.have_marks()),
            marks: meta.map_or_else(Marks::default, |meta| meta.marks),
            candidates,
            findings,
            ignored: listing.ignored,
            _lock: lock,
        })
    }

    /// Size for segments that have no model: that of the last one that has a header.
    pub(crate) fn usual_size(&self) -> u64 {
        let mut from_last = self.candidates.iter().rev();
        let size = from_last
            .find(|part| part.has_header)
            .map(|part| part.file.size);
        size.unwrap_or_else(|| self.largest())
            .clamp(MIN_SEGMENT_SIZE, MAX_SEGMENT_SIZE)
    }

    /// A segment of this size takes any frame that is left.
    pub(crate) fn largest(&self) -> u64 {
        let sizes = self.candidates.iter().map(Candidate::holds);
        sizes.max().unwrap_or(MIN_SEGMENT_SIZE)
    }
}

impl Candidate {
    /// The size of a segment for the frames that the file has, and a seal. Of what is cut short the
    /// rest is not believed.
    fn holds(&self) -> u64 {
        let there = (self.len + FRAME_HEADER_SIZE).next_multiple_of(SEGMENT_ALIGNMENT);
        self.file.size.min(there.max(MIN_SEGMENT_SIZE))
    }
}

/// Takes the lock of a log that is to be copied: a copy of a log in use would lack what is
/// acknowledged meanwhile.
fn hold(disk: &dyn Disk, dir: &Path) -> Result<Option<DirLock>> {
    match disk.lock_dir(dir) {
        Ok(lock) => Ok(Some(lock)),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(WalError::Locked {
            dir: dir.to_owned(),
            pid: file::read_holder(disk, dir),
        }),
        Err(source)
            if matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Err(WalError::BadDirectory {
                dir: dir.to_owned(),
                source,
            })
        }
        Err(error) => {
            tracing::warn!(dir = %dir.display(), %error, "the log cannot be locked: make sure that no program writes it");
            Ok(None)
        }
    }
}

fn missing_meta(dir: &Path) -> WalError {
    WalError::Corrupt {
        finding: Finding::MissingControlFile,
        file: file::path(dir),
        offset: 0,
        lsn: Lsn::ZERO,
        what:
            "there are segments, but no file LOG: where the log starts is taken from the segments"
                .to_owned(),
    }
}

fn is_of(file: &FoundFile, log_id: u128) -> bool {
    let header = file.header.as_ref();
    header.is_ok_and(|header| header.log_id == log_id)
}

/// The identity that most headers agree on: every checksum covers it, so without it no frame can be
/// told from junk.
fn vote(dir: &Path, files: &[FoundFile]) -> Result<u128> {
    let mut votes = BTreeMap::<u128, usize>::new();
    for header in files.iter().filter_map(|file| file.header.as_ref().ok()) {
        *votes.entry(header.log_id).or_default() += 1;
    }
    let most = votes.values().max().copied().unwrap_or(0);
    let mut ids = votes.iter().filter(|(_, count)| **count == most);
    match (ids.next(), ids.next()) {
        (Some((id, _)), None) => Ok(*id),
        (None, _) => Err(WalError::no_log(
            dir,
            "neither LOG nor the header of any segment can be read, and every checksum covers the identity that stands \
             there: restore LOG, or one segment",
        )),
        (Some(_), Some(_)) => Err(WalError::no_log(
            dir,
            "LOG cannot be read, and as many segments belong to one log as to another: restore LOG, or move the \
             segments of the other log away",
        )),
    }
}

/// Decides what each file is, and notes what is wrong with it.
fn candidates(
    files: &[FoundFile],
    log_id: u128,
    first_lsn: u64,
    findings: &mut Vec<WalError>,
) -> Vec<Candidate> {
    let mut parts = Vec::new();
    let ours = files.iter().filter(|file| is_of(file, log_id));
    let sizes = ours.filter_map(|file| Some(file.header.as_ref().ok()?.size));
    let known = sizes.collect();
    for (index, file) in files.iter().enumerate() {
        let next = files.get(index + 1).map(|next| next.name);
        let part = match &file.header {
            Ok(header) if header.log_id == log_id => {
                note_shape(file, header, findings);
                Some((header.base, header.size))
            }
            _ => {
                findings.push(unusable(file, log_id));
                guess_size(file.name, file.len, next, &known).map(|size| (file.name, size))
            }
        };
        let counts =
            |(base, size): &(u64, u64)| base.checked_add(*size).is_some_and(|end| end > first_lsn);
        let Some((base, size)) = part.filter(counts) else {
            continue;
        };
        parts.push((
            base,
            base != file.name,
            Candidate {
                file: SegmentFile {
                    path: file.path.clone(),
                    base,
                    size,
                },
                len: file.len,
                has_header: is_of(file, log_id),
                is_sized: size == file.len || known.contains(&size),
            },
        ));
    }
    parts.sort_by_key(|(base, misnamed, _)| (*base, *misnamed));
    parts.into_iter().map(|(_, _, part)| part).collect()
}

/// What is wrong with a file whose header is intact.
fn note_shape(file: &FoundFile, header: &SegmentHeader, findings: &mut Vec<WalError>) {
    if header.base != file.name {
        let what = format!(
            "its header says that it starts at {}: taken for that",
            header.base
        );
        findings.push(file.corrupt(Finding::SwappedSegment, 0, what));
    }
    let shape = |what: &str| format!("{} bytes instead of {}: {what}", file.len, header.size);
    if file.len < header.size {
        let what = shape("what is there was read");
        findings.push(file.corrupt(Finding::ShortSegment, file.len, what));
    }
    if file.len > header.size {
        let what = shape("what is after the end was ignored");
        findings.push(file.corrupt(Finding::LongSegment, header.size, what));
    }
}

/// What is wrong with a file that has no header of this log.
fn unusable(file: &FoundFile, log_id: u128) -> WalError {
    let taken = "its frames were looked for by the name of the file";
    let (finding, what) = match &file.header {
        Ok(header) => (
            Finding::ForeignSegment,
            format!("log id {:032x} instead of {log_id:032x}", header.log_id),
        ),
        Err(NoHeader::Short) => {
            let what = "the header is not all there".to_owned();
            return file.corrupt(Finding::ShortSegment, file.len, what);
        }
        Err(NoHeader::Bad(bad)) => (
            Finding::DamagedHeader,
            format!("bad {bad:?} in the header").to_lowercase(),
        ),
        Err(NoHeader::Unreadable(error)) => (Finding::DamagedHeader, error.to_string()),
    };
    file.corrupt(finding, 0, format!("{what}: {taken}"))
}

/// The size of a segment whose header is lost: that of its file, if it can be and does not reach
/// into the next one; above all one of the `known` sizes of other segments, so that a missing
/// segment is not taken for a part of this one. `None` if there is no room for a segment.
fn guess_size(base: u64, len: u64, next: Option<u64>, known: &BTreeSet<u64>) -> Option<u64> {
    let possible = |size: u64| {
        (MIN_SEGMENT_SIZE..=MAX_SEGMENT_SIZE).contains(&size)
            && size.is_multiple_of(SEGMENT_ALIGNMENT)
    };
    let room = next.map(|next| next - base);
    let fits = |size: u64| possible(size) && room.is_none_or(|room| size <= room);
    let of_file = Some(len).filter(|len| fits(*len));
    let of_room = room.filter(|room| fits(*room));
    let sure = of_file.into_iter().chain(of_room);
    sure.clone()
        .find(|size| known.contains(size))
        .or_else(|| room.and_then(|room| known.range(..=room).next_back().copied()))
        .or_else(|| sure.clone().next())
        .or_else(|| {
            let rounded = len.next_multiple_of(SEGMENT_ALIGNMENT);
            Some(rounded.max(MIN_SEGMENT_SIZE)).filter(|size| fits(*size))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_guessed_without_hiding_a_missing_segment() {
        let kib = |n: u64| n << 10;
        let guess = |base, len, next| guess_size(base, len, next, &BTreeSet::new());
        assert_eq!(guess(0, kib(16), Some(kib(16))), Some(kib(16)));
        // The file decides, not the next name: between the two a segment is missing.
        assert_eq!(guess(0, kib(16), Some(kib(32))), Some(kib(16)));
        // Junk after the end.
        assert_eq!(guess(0, kib(20), Some(kib(16))), Some(kib(16)));
        assert_eq!(guess(0, kib(16) + 1, Some(kib(16))), Some(kib(16)));
        // Cut short at an odd place.
        assert_eq!(guess(0, kib(9) + 3, Some(kib(16))), Some(kib(16)));
        assert_eq!(guess(0, kib(9) + 3, None), Some(kib(12)));
        assert_eq!(guess(0, 0, None), Some(kib(8)));
        assert_eq!(guess(0, u64::MAX >> 1, None), None);
        assert_eq!(guess(0, 7, Some(1 << 40)), Some(kib(8)));
        // Other segments decide, whatever was done to the file: one is missing. (Found by the
        // fuzzer.)
        let known = BTreeSet::from([kib(8), kib(16)]);
        for len in [kib(8), kib(20) + 1, kib(32), 0] {
            let size = guess_size(0, len, Some(kib(32)), &known);
            assert_eq!(
                size,
                Some(if len == kib(8) { len } else { kib(16) }),
                "{len}"
            );
        }
        assert_eq!(guess_size(0, kib(12), Some(kib(12)), &known), Some(kib(8)));
        assert_eq!(guess_size(0, kib(12), Some(kib(4)), &known), None);
    }
}
