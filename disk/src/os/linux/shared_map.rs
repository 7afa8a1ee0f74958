//! Append maps of real files whose stores go to the page cache.

use crate::call::Call;
use crate::error::{DiskError, errno};
use crate::interrupted::uninterrupted;
use crate::map::append::AppendMap;
use crate::map::backing::MapBacking;
use crate::os::append_map::{OnlyMap, shape, span};
use crate::os::linux::populate::{MappedFile, Populated, Source};
use crate::os::size::check_still_whole;
use crate::units::PAGE;
use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A map that other readers of the file see at once, and that outlives the process in the page
/// cache.
pub(crate) fn map(
    file: &Arc<File>,
    path: &Path,
    mapped: &Arc<AtomicBool>,
    start: u64,
) -> io::Result<AppendMap> {
    let (len, size) = shape(file, start)?;
    let only = OnlyMap::take(mapped)?;
    let map = MmapOptions::new().len(size).map_raw(&**file)?;
    populate_for_writing(&map, file, path)?;
    let base = NonNull::new(map.as_mut_ptr()).ok_or_else(|| errno(Errno::NOMEM))?;
    let backing = SharedMap {
        map,
        path: path.to_path_buf(),
        file: Arc::clone(file),
        populated: Populated::everything(size),
        _only: only,
    };
    #[expect(unsafe_code, reason = "the memory is a mapped file")]
    // SAFETY: `backing` keeps the `len` bytes at `base` mapped, shared and writable. No other
    // append map of this handle lives (`only`); the directory lock keeps other processes and
    // handles away, as with any mapped file.
    Ok(unsafe { AppendMap::new(base, len, start, Arc::new(backing)) })
}

/// Faults in every page for writing, so that a full disk or a bad sector is an error here, not a
/// SIGBUS later.
fn populate_for_writing(map: &MmapRaw, file: &File, path: &Path) -> io::Result<()> {
    match uninterrupted(|| map.advise(Advice::PopulateWrite)) {
        // Linux before 5.14: the pages were written before, by contract, so the stores will do.
        Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
        Err(e) if e.raw_os_error() == Some(Errno::FAULT.raw_os_error()) => {
            Err(not_writable(map, file, path))
        }
        result => result,
    }
}

/// Which page cannot be made writable, and why: `madvise` returns EFAULT for every cause of a
/// signal.
#[cold]
fn not_writable(map: &MmapRaw, file: &File, path: &Path) -> io::Error {
    let mut page = [0; PAGE];
    for at in (0..map.len()).step_by(PAGE) {
        let len = PAGE.min(map.len() - at);
        if map.advise_range(Advice::PopulateWrite, at, len).is_ok() {
            continue;
        }
        return match uninterrupted(|| file.read_at(&mut page, at as u64)) {
            Err(cause) => DiskError::wrap_at(Call::Read, path, at as u64, cause),
            Ok(_) => {
                let cause = "a page cannot be made writable: no space for a hole (madvise: EFAULT)";
                DiskError::wrap_at(Call::MapAppend, path, at as u64, io::Error::other(cause))
            }
        };
    }
    io::Error::other("a page could not be made writable for a moment (madvise: EFAULT); try again")
}

#[derive(Debug)]
struct SharedMap {
    map: MmapRaw,
    path: PathBuf,
    /// Open as long as the map, so that no write-back error gets lost.
    file: Arc<File>,
    /// All of it was populated when it was mapped.
    populated: Populated,
    _only: OnlyMap,
}

impl MapBacking for SharedMap {
    fn sync(&self, range: Range<u64>) -> io::Result<()> {
        let flushed = span(&range, self.map.len()).and_then(|range| match range.len() {
            0 => Ok(()),
            // memmap2 widens it to whole pages
            len => self.map.flush_range(range.start, len),
        });
        let whole = flushed.and_then(|()| check_still_whole(&self.file, self.map.len()));
        whole.map_err(|e| DiskError::wrap(Call::SyncMap, &self.path, e))
    }

    fn populate(&self, range: Range<u64>) -> io::Result<()> {
        let mapped = MappedFile {
            file: Source::Open(&self.file),
            path: &self.path,
            base: self.map.as_ptr(),
            len: self.map.len(),
            populated: &self.populated,
        };
        mapped.populate(range)
    }

    fn in_memory_from(&self) -> u64 {
        u64::MAX
    }
}
