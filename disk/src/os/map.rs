//! Append maps of real files: in the page cache, or in memory of the process with writes that go
//! past the page cache.

use crate::error::{errno, invalid};
use crate::map::append::AppendMap;
use crate::map::backing::MapBacking;
use crate::os::direct_write::write_pages;
use crate::os::disk::{check_size_limit, length};
use crate::os::interrupted::uninterrupted;
use crate::os::populate::{Behind, MappedFile, Seen};
use crate::{Call, DiskError, PAGE_SIZE};
use memmap2::{Advice, MmapMut, MmapOptions, MmapRaw};
use parking_lot::Mutex;
use rustix::fs::OFlags;
use rustix::io::{Errno, ReadWriteFlags};
use rustix::mm::MsyncFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const PAGE: usize = 4096;
const _: () = assert!(PAGE as u64 == PAGE_SIZE);

/// Marks a handle as mapped until dropped: two append maps would hand out the same bytes.
#[derive(Debug)]
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn take(mapped: &Arc<AtomicBool>) -> io::Result<Self> {
        if mapped.swap(true, Ordering::AcqRel) {
            return Err(errno(Errno::BUSY));
        }
        Ok(Self(Arc::clone(mapped)))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Length of `file` as a size, if it can be mapped for appending from `start` on.
fn shape(file: &File, start: u64) -> io::Result<(u64, usize)> {
    let len = length(file)?;
    AppendMap::check_shape(start, len)?;
    let size = usize::try_from(len).map_err(|_| errno(Errno::FBIG))?;
    Ok((len, size))
}

// ---- stores into the page cache

/// A map that other readers of the file see at once, and that outlives the process in the page
/// cache.
pub(crate) fn shared(
    file: &Arc<File>,
    path: &Path,
    mapped: &Arc<AtomicBool>,
    start: u64,
) -> io::Result<AppendMap> {
    let (len, size) = shape(file, start)?;
    let busy = Busy::take(mapped)?;
    let map = MmapOptions::new().len(size).map_raw(&**file)?;
    populate_for_writing(&map, file, path)?;
    let base = NonNull::new(map.as_mut_ptr()).ok_or_else(|| errno(Errno::NOMEM))?;
    let backing = SharedMap {
        map,
        path: path.to_path_buf(),
        file: Arc::clone(file),
        seen: Seen::everything(size),
        _busy: busy,
    };
    #[expect(unsafe_code, reason = "the memory is a mapped file")]
    // SAFETY: `backing` keeps the `len` bytes at `base` mapped, shared and writable. No other
    // append map of this handle lives (`busy`); the directory lock keeps other processes and
    // handles away, as with any mapped file.
    Ok(unsafe { AppendMap::new(base, len, start, Arc::new(backing)) })
}

/// Every page is faulted in for writing, so that a full disk or a bad sector is an error here and
/// not a SIGBUS later.
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

/// Which page cannot be made writable, and why: `madvise` says EFAULT for whatever raises a signal.
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
    /// Open as long as the map, so that no write-back error is reported to nobody.
    file: Arc<File>,
    /// All of it was populated when it was mapped.
    seen: Seen,
    _busy: Busy,
}

impl MapBacking for SharedMap {
    fn sync(&self, range: Range<u64>) -> io::Result<()> {
        let flushed = span(&range, self.map.len()).and_then(|range| match range.len() {
            0 => Ok(()),
            // memmap2 widens it to whole pages
            len => self.map.flush_range(range.start, len),
        });
        let whole = flushed.and_then(|()| check_length(&self.file, self.map.len()));
        whole.map_err(|e| DiskError::wrap(Call::SyncMap, &self.path, e))
    }

    fn populate(&self, range: Range<u64>) -> io::Result<()> {
        let mapped = MappedFile {
            file: Behind::Open(&self.file),
            path: &self.path,
            base: self.map.as_ptr(),
            len: self.map.len(),
            seen: &self.seen,
        };
        mapped.populate(range)
    }

    fn in_memory_from(&self) -> u64 {
        u64::MAX
    }
}

/// What is stored into the last page of a file that somebody cut short goes nowhere, and the flush
/// succeeds; a direct write behind its end makes a hole of what was cut.
///
/// Asked by seeking to the end, which nobody's reads and writes depend on: a `stat` would also read
/// the times, after which Linux (6.13 and later) gives the next write a time of its own, and
/// without a journal ext4 then writes the inode with every commit (measured: 117 µs instead of 80).
fn check_length(file: &File, mapped: usize) -> io::Result<()> {
    let len = uninterrupted(|| Ok(rustix::fs::seek(file, rustix::fs::SeekFrom::End(0))?))?;
    if len < mapped as u64 {
        return Err(io::Error::other(format!(
            "somebody cut the file to {len} of its {mapped} bytes while it was mapped"
        )));
    }
    Ok(())
}

/// `range` as offsets in a map of `size_bytes` bytes.
fn span(range: &Range<u64>, size_bytes: usize) -> io::Result<Range<usize>> {
    let start = usize::try_from(range.start).map_err(|_| errno(Errno::INVAL))?;
    let end = usize::try_from(range.end).map_err(|_| errno(Errno::INVAL))?;
    if start > end || end > size_bytes {
        return Err(invalid("the range to sync lies outside the map"));
    }
    Ok(start..end)
}

// ---- memory of the process, written past the page cache

/// A map in memory of this process; its sync writes whole pages with `O_DIRECT` and `RWF_DSYNC`.
///
/// What was there before `start` comes from a private map of the file: it is read when somebody
/// asks, and the page in which `start` lies is copied at the first store.
pub(crate) fn staged(
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
    let busy = Busy::take(mapped)?;
    let direct = open_direct(path)?;
    let memory = memory(size)?;
    let head = usize::try_from(start).map_err(|_| errno(Errno::FBIG))?;
    let from_file = begin_with(&memory, file, path, head)?;
    let base = memory.as_mut_ptr();
    let backing = StagedMap {
        memory,
        file: Arc::clone(file),
        from_file: AtomicU64::new(from_file as u64),
        seen: Seen::nothing(size),
        direct,
        bounce: Mutex::new(MmapMut::map_anon(PAGE)?),
        path: path.to_path_buf(),
        _busy: busy,
    };
    let base = NonNull::new(base).ok_or_else(|| errno(Errno::NOMEM))?;
    #[expect(unsafe_code, reason = "the memory belongs to the map")]
    // SAFETY: `backing` keeps the `len` bytes at `base` mapped, private and writable, and reads
    // only what is complete.
    Ok(unsafe { AppendMap::new(base, len, start, Arc::new(backing)) })
}

/// Writes zeros to whole pages of the file at `path`.
pub(crate) fn write_zeros(path: &Path, range: Range<u64>) -> io::Result<()> {
    if !range.start.is_multiple_of(PAGE_SIZE) || !range.end.is_multiple_of(PAGE_SIZE) {
        return Err(invalid(
            "only whole pages can be written past the page cache",
        ));
    }
    let direct = open_direct_for_writing(path).map_err(|e| match e.kind() {
        io::ErrorKind::Unsupported => e,
        _ => DiskError::wrap(Call::Open, path, e),
    })?;
    zero_pages(&direct, range)
}

fn zero_pages(direct: &File, range: Range<u64>) -> io::Result<()> {
    const PIECE: usize = 1 << 20;
    check_size_limit(range.end)?;
    let wanted = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(PIECE);
    let zeros = MmapMut::map_anon(wanted.clamp(PAGE, PIECE))?;
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(range.end - at).map_or(PIECE, |left| left.min(zeros.len()));
        direct
            .write_all_at(zeros.split_at(len).0, at)
            .map_err(unsupported)?;
        at += len as u64;
    }
    Ok(())
}

/// Refusals of direct I/O under one name.
fn unsupported(e: io::Error) -> io::Error {
    match e.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::INVAL | Errno::OPNOTSUPP) => io::ErrorKind::Unsupported.into(),
        _ => e,
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the seam")]
fn open_direct_for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::DIRECT.bits().cast_signed())
        .open(path)
        .map_err(unsupported)
}

/// Opens the file a second time, and reads from it to see that the file system and the device take
/// direct I/O of pages.
fn open_direct(path: &Path) -> io::Result<File> {
    if rustix::param::page_size() != PAGE {
        return Err(io::ErrorKind::Unsupported.into()); // parts of the memory would not be whole pages
    }
    let direct = open_direct_for_writing(path)?;
    // What the page cache holds is of no use any more, and in the way of every write.
    let _ = rustix::fs::fadvise(&direct, 0, None, rustix::fs::Advice::DontNeed);
    let mut page = MmapMut::map_anon(PAGE)?;
    uninterrupted(|| {
        let buffers = &mut [IoSliceMut::new(&mut page)];
        Ok(rustix::io::preadv(&direct, buffers, 0)?)
    })
    .map_err(|e| match unsupported(e) {
        refused if refused.kind() == io::ErrorKind::Unsupported => refused,
        failed => DiskError::wrap_at(Call::Read, path, 0, failed),
    })?;
    Ok(direct)
}

/// Memory in which a staged map keeps what is not in its file yet.
fn memory(size: usize) -> io::Result<MmapRaw> {
    let map = MmapOptions::new().len(size).map_anon()?;
    // Fewer faults for appenders, where the system allows it.
    let _ = map.advise(Advice::HugePage);
    Ok(map.into())
}

/// Has the first `head` bytes of `memory` show those of the file. Whole pages are mapped, and read
/// when somebody asks for them; the page in which they end is copied. Returns how far it is mapped.
fn begin_with(memory: &MmapRaw, file: &File, path: &Path, head: usize) -> io::Result<usize> {
    let mapped = if head > PAGE { head / PAGE * PAGE } else { 0 };
    show_file(memory, file, 0..mapped)?;
    let mut rest = vec![0; head - mapped];
    file.read_exact_at(&mut rest, mapped as u64)
        .map_err(|e| DiskError::wrap_at(Call::Read, path, mapped as u64, e))?;
    assert!(head <= memory.len(), "the start lies inside the file");
    #[expect(unsafe_code, reason = "fills memory of ours")]
    // SAFETY: the range up to `head` lies inside `memory` (asserted), and nobody else knows it yet.
    unsafe {
        std::ptr::copy_nonoverlapping(rest.as_ptr(), memory.as_mut_ptr().add(mapped), rest.len());
    }
    Ok(mapped)
}

/// Puts whole pages of `file` in the place of the same range of `memory`, which goes back to the
/// system. Whoever reads there meanwhile finds the memory or the file: the system exchanges them as
/// one step. If it refuses, the memory stays.
///
/// The file is mapped beside the memory first and then moved: `mmap(MAP_FIXED)` takes away what
/// stands in the range before it asks the file system, and a file system that has met an error
/// refuses (ext4: `EROFS`, `EIO`). Moving asks nobody; what the system checks then (the number of
/// maps) it checks before it begins.
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
    // SAFETY: as with every mapped file nobody truncates it, and what lies there is not written
    // again while the map lives: the directory lock keeps other processes away.
    let beside = unsafe { pages.map_copy_read_only(file) }?;
    let at = memory.as_mut_ptr().wrapping_add(range.start);
    #[expect(unsafe_code, reason = "moves a map into memory of ours")]
    // SAFETY: the range lies inside `memory` (asserted), which unmaps it with the rest. Its bytes
    // are complete and durable (`AppendMap::give_back`) or not known to anybody yet (`begin_with`):
    // nobody writes them in the memory any more, and whoever holds a reference to them finds the
    // same bytes there. Where `beside` stood is not touched again (forgotten).
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
            // The kernel had no memory for its own tables, in the middle. References into the range
            // point nowhere now.
            std::process::abort();
        }
        return Err(error);
    }
    let _moved_away = ManuallyDrop::new(beside);
    assert_eq!(moved.addr(), at.addr(), "it is where it was asked for");
    Ok(())
}

/// Whether something stands in all of the range.
fn is_mapped(memory: &MmapRaw, range: &Range<usize>) -> bool {
    let at = memory.as_mut_ptr().wrapping_add(range.start);
    #[expect(unsafe_code, reason = "asks about memory by its address")]
    // SAFETY: with this flag nothing is written, and the address is only looked up.
    let known = unsafe { rustix::mm::msync(at.cast(), range.len(), MsyncFlags::ASYNC) };
    known != Err(Errno::NOMEM)
}

#[derive(Debug)]
struct StagedMap {
    memory: MmapRaw,
    /// The file as others see it.
    file: Arc<File>,
    /// Pages below show the file.
    from_file: AtomicU64,
    /// Which of those were read in.
    seen: Seen,
    direct: File,
    /// The last page of a write, whose rest others may be filling: its complete part is copied
    /// here.
    bounce: Mutex<MmapMut>,
    path: PathBuf,
    _busy: Busy,
}

impl MapBacking for StagedMap {
    fn sync(&self, range: Range<u64>) -> io::Result<()> {
        let written = span(&range, self.len()).and_then(|range| match range.is_empty() {
            true => Ok(()),
            false => self.write(range.start / PAGE * PAGE, range.end),
        });
        let whole = written.and_then(|()| check_length(&self.direct, self.len()));
        whole.map_err(|e| match DiskError::of(&e) {
            Some(_) => e,
            None => DiskError::wrap(Call::WriteDirect, &self.path, e),
        })
    }

    fn populate(&self, range: Range<u64>) -> io::Result<()> {
        // The rest is memory of the process. Acquire: whoever sees pages of the file there sees
        // this, too.
        let end = range.end.min(self.in_memory_from());
        if range.start >= end {
            return Ok(());
        }
        let mapped = MappedFile {
            file: Behind::Open(&self.file),
            path: &self.path,
            base: self.memory.as_ptr(),
            len: self.memory.len(),
            seen: &self.seen,
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
                // Before they show the file: whoever reads them from now on asks for them to be
                // read in.
                let before = self.from_file.fetch_max(end, Ordering::AcqRel);
                show_file(&self.memory, &self.direct, range)
                    .inspect_err(|_| self.from_file.store(before, Ordering::Release))
            })
            .map_err(|e| DiskError::wrap(Call::GiveBack, &self.path, e))
    }

    fn copies_memory(&self) -> bool {
        true
    }
}

impl StagedMap {
    fn len(&self) -> usize {
        self.memory.len()
    }

    /// Writes the pages from `start` to the one that holds the byte before `end`. Everything below
    /// `end` is complete, so nobody writes it any more. The rest of the last page is written as
    /// zeros: what others fill meanwhile must not change under the device (some compute checksums
    /// of what they write), nor reach the medium in part.
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
        // Past the limit the kernel would kill the process, or write a part.
        check_size_limit(start as u64 + (whole.len() + tail.len()) as u64)?;
        write_pages(whole, tail, start as u64, |pages, at| {
            // Not made again if it is interrupted: it is a sync, too.
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
        // SAFETY: the range lies inside the map (asserted). `AppendMap::sync` lets only complete
        // bytes through: nobody writes them any more.
        unsafe {
            std::slice::from_raw_parts(self.memory.as_ptr().add(range.start), range.len())
        }
    }
}
