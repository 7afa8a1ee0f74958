//! Append maps of real files, whose stores go to the page cache.

use crate::call::Call;
use crate::error::{DiskError, errno};
use crate::map::append::AppendMap;
use crate::map::backing::MapBacking;
use crate::os::append_map::{OnlyMap, shape, span};
use crate::os::flush::flush;
use crate::os::read_through::read_through;
use crate::os::size::check_still_whole;
use memmap2::{MmapOptions, MmapRaw};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::ops::Range;
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
    let base = NonNull::new(map.as_mut_ptr()).ok_or_else(|| errno(Errno::NOMEM))?;
    let backing = PortableMap {
        map,
        path: path.to_path_buf(),
        file: Arc::clone(file),
        _only: only,
    };
    #[expect(unsafe_code, reason = "the memory is a mapped file")]
    // SAFETY: `backing` keeps the `len` bytes at `base` mapped, shared and writable. No other
    // append map of this handle lives (`only`); the directory lock keeps other processes and
    // handles away, as with any mapped file.
    Ok(unsafe { AppendMap::new(base, len, start, Arc::new(backing)) })
}

#[derive(Debug)]
struct PortableMap {
    map: MmapRaw,
    path: PathBuf,
    /// Open as long as the map, so that no write-back error gets lost.
    file: Arc<File>,
    _only: OnlyMap,
}

impl MapBacking for PortableMap {
    fn sync(&self, range: Range<u64>) -> io::Result<()> {
        let flushed = span(&range, self.map.len()).and_then(|range| match range.len() {
            0 => Ok(()),
            // memmap2 widens it to whole pages. Not every system's `msync` empties the cache of the
            // device.
            len => self
                .map
                .flush_range(range.start, len)
                .and_then(|()| flush(&self.file)),
        });
        let whole = flushed.and_then(|()| check_still_whole(&self.file, self.map.len()));
        whole.map_err(|e| DiskError::wrap(Call::SyncMap, &self.path, e))
    }

    fn populate(&self, range: Range<u64>) -> io::Result<()> {
        let size = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let range = size(range.start)..size(range.end);
        read_through(&self.file, &self.path, self.map.len(), &range)
    }

    fn in_memory_from(&self) -> u64 {
        u64::MAX
    }
}
