//! Append maps in memory of the process, written past the page cache.

use crate::call::Call;
use crate::error::{DiskError, errno, invalid};
use crate::map::append::AppendMap;
use crate::map::backing::MapBacking;
use crate::os::append_map::{OnlyMap, shape, span};
use crate::os::linux::direct_io::{open_direct, write_pages, zero_pages};
use crate::os::linux::populate::{MappedFile, Populated, Source};
use crate::os::size::{check_size_limit, check_still_whole};
use crate::units::{PAGE, PAGE_SIZE};
use memmap2::{Advice, MmapMut, MmapOptions, MmapRaw, UncheckedAdvice};
use parking_lot::Mutex;
use rustix::io::{Errno, ReadWriteFlags};
use rustix::mm::MsyncFlags;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A map in memory of this process; its sync writes whole pages with `O_DIRECT` and `RWF_DSYNC`.
///
/// The bytes before `start` come from a private map of the file. They are read on demand. The page
/// that holds `start` is copied at once.
pub(crate) fn map(
    file: &Arc<File>,
    path: &Path,
    mapped: &Arc<AtomicBool>,
    start: u64,
) -> io::Result<AppendMap> {
    let (len, size) = shape(file, start)?;
    if !len.is_multiple_of(PAGE_SIZE) {
        return Err(invalid(
            "only a file of whole pages can be written past the page cache",
        ));
    }
    let only = OnlyMap::take(mapped)?;
    let direct = open_direct(path)?;
    let memory = memory(size)?;
    let head = usize::try_from(start).map_err(|_| errno(Errno::FBIG))?;
    let from_file = begin_with(&memory, file, path, head)?;
    let base = memory.as_mut_ptr();
    let backing = DirectMap {
        memory,
        file: Arc::clone(file),
        from_file: AtomicU64::new(from_file as u64),
        populated: Populated::nothing(size),
        direct,
        bounce: Mutex::new(MmapMut::map_anon(PAGE)?),
        path: path.to_path_buf(),
        _only: only,
    };
    let base = NonNull::new(base).ok_or_else(|| errno(Errno::NOMEM))?;
    #[expect(unsafe_code, reason = "the memory belongs to the map")]
    // SAFETY: `backing` keeps the `len` bytes at `base` mapped, private and writable, and reads
    // only what is complete.
    Ok(unsafe { AppendMap::new(base, len, start, Arc::new(backing)) })
}

/// Memory in which a direct map keeps the bytes that are not in its file yet.
fn memory(size: usize) -> io::Result<MmapRaw> {
    let map = MmapOptions::new().len(size).map_anon()?;
    // Fewer faults for appenders, where the system allows it.
    let _ = map.advise(Advice::HugePage);
    Ok(map.into())
}

/// Shows the first `head` bytes of the file in `memory`. Whole pages are mapped, and read on
/// demand; the page in which they end is copied. Returns how far it is mapped.
fn begin_with(memory: &MmapRaw, file: &File, path: &Path, head: usize) -> io::Result<usize> {
    let mapped = if head > PAGE { head / PAGE * PAGE } else { 0 };
    show_file(memory, file, 0..mapped)?;
    let mut rest = vec![0; head - mapped];
    file.read_exact_at(&mut rest, mapped as u64)
        .map_err(|e| DiskError::wrap_at(Call::Read, path, mapped as u64, e))?;
    assert!(head <= memory.len(), "the start lies inside the file");
    #[expect(unsafe_code, reason = "fills memory of ours")]
    // SAFETY: the range up to `head` lies inside `memory` (asserted), which no other thread knows
    // yet.
    unsafe {
        std::ptr::copy_nonoverlapping(rest.as_ptr(), memory.as_mut_ptr().add(mapped), rest.len());
    }
    Ok(mapped)
}

/// Puts whole pages of `file` in the place of the same range of `memory`, which goes back to the
/// system. A thread that reads there meanwhile finds the memory or the file: the system exchanges
/// them in one step. If it refuses, the memory stays.
///
/// The file is mapped elsewhere first and then moved. `mmap(MAP_FIXED)` removes the old map of the
/// range before it asks the file system, which refuses after an error (ext4: `EROFS`, `EIO`).
/// Moving does not ask the file system. The system checks the number of maps before it begins.
fn show_file(memory: &MmapRaw, file: &File, range: Range<usize>) -> io::Result<()> {
    let whole = range.start.is_multiple_of(PAGE) && range.end.is_multiple_of(PAGE);
    assert!(
        whole && range.end <= memory.len(),
        "{range:?} are whole pages of the memory"
    );
    if range.is_empty() {
        return Ok(());
    }
    let mut pages = MmapOptions::new();
    let pages = pages.offset(range.start as u64).len(range.len());
    #[expect(unsafe_code, reason = "maps a part of the file")]
    // SAFETY: as with every mapped file, the directory lock keeps other processes away. Nobody
    // truncates it, and these bytes are not written again while the map lives.
    let beside = unsafe { pages.map_copy_read_only(file) }?;
    let at = memory.as_mut_ptr().wrapping_add(range.start);
    #[expect(unsafe_code, reason = "moves a map into memory of ours")]
    // SAFETY: the range lies inside `memory` (asserted), which unmaps it with the rest. Its bytes
    // are complete and durable (`AppendMap::give_back`), or no other thread knows them yet
    // (`begin_with`). So no thread writes them in the memory any more, and a reference to them
    // shows the same bytes. The old address of `beside` is not touched again (forgotten).
    let moved = unsafe {
        libc::mremap(
            beside.as_ptr().cast_mut().cast(),
            range.len(),
            range.len(),
            libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
            at.cast::<libc::c_void>(),
        )
    };
    if moved == libc::MAP_FAILED {
        let error = io::Error::last_os_error();
        if !is_mapped(memory, &range) {
            // The kernel had no memory for its own tables, halfway. References into the range are
            // invalid now.
            std::process::abort();
        }
        return Err(error);
    }
    let _moved_away = ManuallyDrop::new(beside);
    assert_eq!(moved.addr(), at.addr(), "it is where it was asked for");
    Ok(())
}

/// Whether all of the range is mapped.
fn is_mapped(memory: &MmapRaw, range: &Range<usize>) -> bool {
    let at = memory.as_mut_ptr().wrapping_add(range.start);
    #[expect(unsafe_code, reason = "asks about memory by its address")]
    // SAFETY: with this flag nothing is written, and the address is only looked up.
    let known = unsafe { rustix::mm::msync(at.cast(), range.len(), MsyncFlags::ASYNC) };
    known != Err(Errno::NOMEM)
}

#[derive(Debug)]
struct DirectMap {
    memory: MmapRaw,
    /// The file as others see it.
    file: Arc<File>,
    /// Pages below show the file.
    from_file: AtomicU64,
    /// Which of those were read in.
    populated: Populated,
    direct: File,
    /// The last page of a write: its complete part is copied here, because other threads may fill
    /// the rest.
    bounce: Mutex<MmapMut>,
    path: PathBuf,
    _only: OnlyMap,
}

impl MapBacking for DirectMap {
    fn sync(&self, range: Range<u64>) -> io::Result<()> {
        let written = span(&range, self.len()).and_then(|range| match range.is_empty() {
            true => Ok(()),
            false => self.write(range.start / PAGE * PAGE, range.end),
        });
        let whole = written.and_then(|()| check_still_whole(&self.direct, self.len()));
        whole.map_err(|e| match DiskError::of(&e) {
            Some(_) => e,
            None => DiskError::wrap(Call::WriteDirect, &self.path, e),
        })
    }

    fn populate(&self, range: Range<u64>) -> io::Result<()> {
        // The rest is memory of the process. Acquire: a thread that sees pages of the file there
        // sees this, too.
        let end = range.end.min(self.in_memory_from());
        if range.start >= end {
            return Ok(());
        }
        let mapped = MappedFile {
            file: Source::Open(&self.file),
            path: &self.path,
            base: self.memory.as_ptr(),
            len: self.memory.len(),
            populated: &self.populated,
        };
        mapped.populate(range.start..end)
    }

    fn in_memory_from(&self) -> u64 {
        self.from_file.load(Ordering::Acquire)
    }

    fn prefault(&self, range: Range<u64>) {
        if let Ok(range) = span(&range, self.len()) {
            let _ = self
                .memory
                .advise_range(Advice::PopulateWrite, range.start, range.len());
        }
    }

    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        zero_pages(&self.direct, range).map_err(|e| DiskError::wrap(Call::Write, &self.path, e))
    }

    fn give_back(&self, range: Range<u64>) -> io::Result<()> {
        let end = range.end;
        span(&range, self.len())
            .and_then(|range| {
                // Before they show the file: a thread that reads them from now on populates them
                // first.
                let before = self.from_file.fetch_max(end, Ordering::AcqRel);
                show_file(&self.memory, &self.direct, range)
                    .inspect_err(|_| self.from_file.store(before, Ordering::Release))
            })
            .map_err(|e| DiskError::wrap(Call::GiveBack, &self.path, e))
    }

    fn discard(&self, range: Range<u64>) {
        let Ok(range) = span(&range, self.len()) else {
            return;
        };
        let advice = UncheckedAdvice::DontNeed;
        #[expect(unsafe_code, reason = "gives back memory of ours")]
        // SAFETY: `AppendMap::retire` passes on only pages that were not handed out, nor will be:
        // no reference to them exists. They lie above `start`, so they are anonymous memory, which
        // shows zeros again.
        let _ = unsafe {
            self.memory
                .unchecked_advise_range(advice, range.start, range.len())
        };
    }

    fn copies_memory(&self) -> bool {
        true
    }
}

impl DirectMap {
    fn len(&self) -> usize {
        self.memory.len()
    }

    /// Writes the pages from `start` to the one that holds the byte before `end`. Everything below
    /// `end` is complete, so no thread writes it any more. The rest of the last page is written as
    /// zeros: other threads fill it meanwhile. Bytes must not change while the device writes them
    /// (some compute checksums), nor reach the medium in part.
    fn write(&self, start: usize, end: usize) -> io::Result<()> {
        let last = end / PAGE * PAGE;
        let mut bounce = self.bounce.lock();
        let tail = self.bytes(last..end);
        let (copied, rest) = bounce.split_at_mut(tail.len());
        copied.copy_from_slice(tail);
        rest.fill(0);
        let tail = if tail.is_empty() {
            &[][..]
        } else {
            &bounce[..]
        };
        let whole = self.bytes(start..last);
        // Past the limit the kernel would kill the process, or write only a part.
        check_size_limit(start as u64 + (whole.len() + tail.len()) as u64)?;
        write_pages(whole, tail, start as u64, |pages, at| {
            // Not made again after an interruption: it is a sync, too.
            rustix::io::pwritev2(&self.direct, pages, at, ReadWriteFlags::DSYNC)
                .map_err(|e| DiskError::wrap_at(Call::WriteDirect, &self.path, at, e.into()))
        })
    }

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "{range:?} lies in the map"
        );
        #[expect(unsafe_code, reason = "a view into the map")]
        // SAFETY: the range lies inside the map (asserted). `AppendMap::sync` passes on only
        // complete bytes: no thread writes them any more.
        unsafe {
            std::slice::from_raw_parts(self.memory.as_ptr().add(range.start), range.len())
        }
    }
}
