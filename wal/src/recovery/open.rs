//! Opening a log, by the tables in [`crate::recovery`].

use crate::control::features::{Feature, Features};
use crate::control::file::{self, ControlFile, LogEnd};
use crate::error::{Finding, Result, WalError};
use crate::facade::tracing;
use crate::faults::Faults;
use crate::format::frame::LogKey;
use crate::format::layout::{SEGMENT_HEADER_SIZE, frame_header, segment_name, to_usize};
use crate::lsn::Lsn;
use crate::marks::set::Marks;
use crate::options::settings::Options;
use crate::recovery::cases::{Case, Recovery};
use crate::recovery::end::{End, find_end, segment_at};
use crate::segment::file::{Segment, tmp_path};
use crate::segment::header::{FoundFile, NoHeader, SegmentFile, read_error};
use crate::segment::list::{HeaderCheck, Listing, list_segments};
use crate::segment::maker::SegmentMaker;
use crate::segment::new_segment::NewSegment;
use crate::segment::scan::Scanner;
use highwater_disk::{Access, Disk};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

/// A log as recovery leaves it, ready to be appended to.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) meta: ControlFile,
    /// Segments up to the tail.
    pub(crate) segments: Vec<Segment>,
    /// Prepared segments after the tail.
    pub(crate) ready: VecDeque<Segment>,
    pub(crate) recovery: Recovery,
    /// What further segments are made with.
    pub(crate) maker: SegmentMaker,
}

/// Recovers what is in `dir`, or makes a new log. The directory's lock is held.
pub(crate) fn open(dir: &Path, options: &Options) -> Result<Opened> {
    let disk = &*options.disk;
    let listing = Listing::read(disk, dir)?;
    match ControlFile::read(disk, dir)? {
        Some(meta) => recover(dir, options, &meta, listing),
        None => create(dir, options, listing),
    }
}

/// Whether `dir` holds a log: a control file, or a segment with a record. What a creation that was
/// cut short has left is none.
pub(crate) fn exists(dir: &Path, disk: &dyn Disk) -> Result<bool> {
    match disk.list(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(WalError::io("listing", dir, e)),
        Ok(_) => {}
    }
    if ControlFile::read(disk, dir)?.is_some() {
        return Ok(true);
    }
    let segments = Listing::read(disk, dir)?.segments;
    for (base, _) in segments {
        if holds_records(disk, dir, base)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn create(dir: &Path, options: &Options, listing: Listing) -> Result<Opened> {
    let disk = &*options.disk;
    let mut removed = listing.temporary;
    let first = options.first_base();
    for (base, _) in &listing.segments {
        // Creation is cut short only before the first record. A segment that is not the first, or
        // holds a record, belongs to a log.
        if ![0, first].contains(base) || holds_records(disk, dir, *base)? {
            return Err(WalError::Corrupt {
                finding: Finding::MissingControlFile,
                file: file::path(dir),
                offset: 0,
                lsn: Lsn::ZERO,
                what: format!(
                    "the segment at {base} holds records, but LOG is gone; restore the file"
                ),
            });
        }
        removed.push(segment_name(Lsn::new(*base)).into());
    }
    file::write_holder(disk, dir);
    remove_all(disk, dir, &removed)?;
    let key = LogKey::new(file::fresh_log_id(options.seed));
    let mut maker = maker(dir, options, key);
    let mut segment = NewSegment::create(&maker, first, options.smallest_segment())?;
    if let Err(error) = segment.zero_all().and_then(|()| segment.sync()) {
        segment.discard();
        return Err(error);
    }
    let segment = segment.into_segment();
    maker.keep_to(segment.writes_via());
    let meta = ControlFile {
        log_id: key.id,
        first_lsn: first,
        attested_lsn: first,
        reach: maker.reach(options.max_record()),
        end: LogEnd::Open,
        features: features(Features::default(), options),
        time_ms: 0,
        marks: Marks::default(),
    };
    // Last: a log exists once it has a LOG file.
    meta.replace(disk, dir)?;
    file::prepare_spare(disk, dir, &meta);
    let start = Lsn::new(file::first_frame(first));
    let recovery = Recovery {
        case: Case::Created,
        first_lsn: Lsn::new(first),
        end_lsn: start,
        proven_lsn: start,
        frames_rewritten: 0,
        frames_erased: 0,
        bytes_discarded: 0,
        segments: 1,
        removed,
        ignored: listing.ignored,
    };
    Ok(Opened {
        meta,
        segments: vec![segment],
        ready: VecDeque::new(),
        recovery,
        maker,
    })
}

/// Those of a log that has `features` and is opened with `options`.
fn features(features: Features, options: &Options) -> Features {
    match options.timestamps {
        true => features.with(Feature::Time),
        false => features,
    }
}

/// What segments of the log in `dir` are made with.
fn maker(dir: &Path, options: &Options, key: LogKey) -> SegmentMaker {
    SegmentMaker {
        disk: Arc::clone(&options.disk),
        dir: dir.to_owned(),
        key,
        write_path: options.wanted_path(),
        longest_write: options.longest_write,
        faults: options.faults,
    }
}

/// Whether a segment holds anything but zeros after its header.
fn holds_records(disk: &dyn Disk, dir: &Path, base: u64) -> Result<bool> {
    let FoundFile { path, header, .. } = FoundFile::open(disk, dir, base)?;
    let header = match header {
        Ok(header) => header,
        Err(NoHeader::Unreadable(e)) => return Err(read_error(&path, 0, SEGMENT_HEADER_SIZE, e)),
        Err(NoHeader::Short | NoHeader::Bad(_)) => return Ok(true),
    };
    let segment = SegmentFile {
        path,
        base,
        size: header.size,
    };
    let mut scan = Scanner::open(disk, &segment, LogKey::new(header.log_id))?;
    Ok(scan.is_zero(SEGMENT_HEADER_SIZE)? == Some(false))
}

fn recover(dir: &Path, options: &Options, meta: &ControlFile, listing: Listing) -> Result<Opened> {
    let disk = &*options.disk;
    let mut files = list_segments(disk, dir, meta, &listing, HeaderCheck::Unproven)?;
    let end = find_end(disk, dir, meta, &files)?;

    // Up to here nothing was written.
    file::write_holder(disk, dir);
    let mut removed = listing.temporary;
    let stale = listing
        .segments
        .iter()
        .filter(|(base, _)| *base < meta.first_lsn);
    removed.extend(stale.map(|(base, _)| OsString::from(segment_name(Lsn::new(*base)))));
    remove_all(disk, dir, &removed)?;
    erase_and_rewrite(disk, &files, &end, options.faults)?;
    let x = segment_at(&files, end.segment).base + end.offset;
    let enough = prepared_enough(&files, end.segment, options);
    // From the last on, each durably: a gap would look like a lost segment.
    for surplus in files.drain(enough..).rev() {
        let name = OsString::from(segment_name(Lsn::new(surplus.base)));
        remove_all(disk, dir, std::slice::from_ref(&name))?;
        disk.sync_dir(dir)
            .map_err(|e| WalError::io("syncing the directory", dir, e))?;
        removed.push(name);
    }
    let prepared = files.get(end.segment + 1).cloned();
    let found = |file| Segment::found(&options.disk, file, meta.log_id);
    let mut segments: Vec<_> = files.into_iter().map(found).collect();
    let ready: VecDeque<_> = segments.drain(end.segment + 1..).collect();
    let mut maker = maker(dir, options, LogKey::new(meta.log_id));
    if let Some(tail) = segments.last() {
        tail.open_append(&maker, end.offset)?;
        maker.keep_to(tail.writes_via());
    }
    for segment in &ready {
        segment.open_append(&maker, SEGMENT_HEADER_SIZE)?;
    }
    let mut next = ControlFile {
        attested_lsn: x,
        reach: maker.reach(options.max_record()),
        end: LogEnd::Open,
        features: features(meta.features, options),
        time_ms: end.time_ms,
        marks: end.marks,
        ..meta.clone()
    };
    next.marks.forget_below(meta.first_lsn);
    if !renew_names(disk, dir, prepared.as_ref(), meta, &next)? {
        next.features = meta.features;
    }
    let recovery = Recovery {
        case: end.case,
        first_lsn: Lsn::new(meta.first_lsn),
        end_lsn: Lsn::new(x),
        proven_lsn: Lsn::new(end.proven.min(x)),
        frames_rewritten: end.unproven,
        frames_erased: end.frames_erased,
        bytes_discarded: end.bytes_discarded,
        segments: end.segment + 1,
        removed,
        ignored: listing.ignored,
    };
    Ok(Opened {
        meta: next,
        segments,
        ready,
        recovery,
        maker,
    })
}

/// How many segments of the list to keep: those up to the last that holds the log, and one that is
/// prepared, unless the log has a bound and it is larger than those that the bound is meant for.
fn prepared_enough(files: &[SegmentFile], last: usize, options: &Options) -> usize {
    let prepared = files.get(last + 1);
    let fits =
        |segment: &SegmentFile| options.max_bytes.is_none() || segment.size <= options.segment_size;
    match prepared.is_some_and(fits) {
        true => last + 2,
        false => last + 1,
    }
}

fn remove_all(disk: &dyn Disk, dir: &Path, names: &[OsString]) -> Result<()> {
    for name in names {
        let path = dir.join(name);
        match disk.remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(WalError::io("removing", &path, e));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Erases the frames that must not count later, writes the frames again that nothing proves
/// durable, and syncs both.
fn erase_and_rewrite(
    disk: &dyn Disk,
    files: &[SegmentFile],
    end: &End,
    faults: Faults,
) -> Result<()> {
    for (index, segment) in files.iter().enumerate() {
        let until = match index.cmp(&end.segment) {
            std::cmp::Ordering::Less => segment.size,
            std::cmp::Ordering::Equal => end.offset,
            std::cmp::Ordering::Greater => 0,
        };
        let from = end
            .proven
            .saturating_sub(segment.base)
            .max(SEGMENT_HEADER_SIZE);
        let rewrite = if from < until && !faults.show_without_rewrite() {
            from..until
        } else {
            0..0
        };
        let erase: Vec<u64> = end
            .erase
            .iter()
            .filter(|(i, _)| *i == index)
            .map(|(_, at)| *at)
            .collect();
        let erase = if faults.leave_stale_frames() {
            Vec::new()
        } else {
            erase
        };
        if !rewrite.is_empty() || !erase.is_empty() {
            rewrite_segment(disk, &segment.path, rewrite, &erase)?;
        }
    }
    Ok(())
}

/// Makes the names found durable. A name that is seen need not be: the sync of the directory may
/// have failed, and the kernel takes it for clean after that. So the names are made again, as the
/// tail's bytes are. Only `LOG` and the prepared segment need it: a segment is used only after its
/// name was synced. False if `LOG` still says what it said.
fn renew_names(
    disk: &dyn Disk,
    dir: &Path,
    prepared: Option<&SegmentFile>,
    old: &ControlFile,
    new: &ControlFile,
) -> Result<bool> {
    if let Some(segment) = prepared {
        let tmp = tmp_path(&segment.path);
        disk.rename(&segment.path, &tmp)
            .and_then(|()| disk.rename(&tmp, &segment.path))
            .map_err(|e| WalError::io("renewing the name of", &segment.path, e))?;
    }
    // What the old `LOG` says must not be too little for the next recovery, should it stay.
    let may_stay = old.reach == 0 || (new.reach != 0 && new.reach <= old.reach);
    let renewed = match new.replace(disk, dir) {
        Err(error) if error.is_no_space() && may_stay => {
            // A full disk must still open. What was found is as durable as a sync can make it now.
            tracing::warn!(dir = %dir.display(), %error, "the disk is full: LOG was not renewed");
            disk.sync_dir(dir)
                .map_err(|e| WalError::io("syncing the directory", dir, e))?;
            false
        }
        other => other.map(|()| true)?,
    };
    file::prepare_spare(disk, dir, new);
    Ok(renewed)
}

fn rewrite_segment(
    disk: &dyn Disk,
    path: &Path,
    rewrite: std::ops::Range<u64>,
    erase: &[u64],
) -> Result<()> {
    let file = disk
        .open(path, Access::ReadWrite)
        .map_err(|e| WalError::io("opening", path, e))?;
    for offset in erase {
        let zeros = [0; frame_header::END];
        file.write_all_at(&zeros, *offset)
            .map_err(|e| WalError::io("erasing a torn frame in", path, e))?;
    }
    let mut at = rewrite.start;
    let mut buffer = vec![0; 64 << 10];
    while at < rewrite.end {
        let len = (rewrite.end - at).min(buffer.len() as u64);
        let bytes = buffer.split_at_mut(to_usize(len)).0;
        file.read_exact_at(bytes, at)
            .map_err(|e| read_error(path, at, len, e))?;
        file.write_all_at(bytes, at)
            .map_err(|e| WalError::io("rewriting the tail of", path, e))?;
        at += len;
    }
    file.sync()
        .map_err(|e| WalError::io("syncing the recovered tail of", path, e))
}
