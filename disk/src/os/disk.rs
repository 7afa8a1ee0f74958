//! The operating system's disk.
#![expect(clippy::disallowed_methods, reason = "this is the seam")]

use crate::error::{errno, invalid};
use crate::os::direct_read::read_around;
use crate::os::interrupted::uninterrupted;
use crate::os::map as os_map;
use crate::os::populate::{self, Behind, FileId, MappedFile, Seen};
use crate::{
    Access, AppendMap, Call, DirLock, Disk, DiskError, DiskFile, Entry, EntryKind, FileSystem,
    LockGuard, PAGE_SIZE, ReadBacking, ReadMap, probe,
};
use memmap2::{Advice, Mmap};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::fs::{self, File, FileType, OpenOptions, TryLockError};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::UNIX_EPOCH;

/// The file system of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk(());

impl OsDisk {
    /// The file system of the machine.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

impl Disk for OsDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        make_dirs(dir).map_err(|e| DiskError::wrap(Call::CreateDir, dir, e))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        uninterrupted(|| list(dir)).map_err(|e| DiskError::wrap(Call::List, dir, e))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path);
        let file = opened.map_err(|e| DiskError::wrap(Call::Create, path, e))?;
        Ok(OsFile::shared(file, path))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let opened = open_regular(path, access);
        let file = opened.map_err(|e| DiskError::wrap(Call::Open, path, e))?;
        Ok(OsFile::shared(file, path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to).map_err(|e| DiskError::wrap_pair(Call::Rename, from, Some(to), e))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        rename_new(from, to).map_err(|e| DiskError::wrap_pair(Call::Rename, from, Some(to), e))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to).map_err(|e| DiskError::wrap_pair(Call::Link, from, Some(to), e))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path).map_err(|e| DiskError::wrap(Call::Remove, path, e))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        sync_dir(dir).map_err(|e| DiskError::wrap(Call::SyncDir, dir, e))
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<DirLock> {
        let locked = open_dir(dir).and_then(|file| {
            uninterrupted(|| match file.try_lock() {
                Ok(()) => Ok(()),
                Err(TryLockError::WouldBlock) => Err(errno(Errno::WOULDBLOCK)),
                Err(TryLockError::Error(e)) => Err(e),
            })?;
            Ok(file)
        });
        let file = locked.map_err(|e| DiskError::wrap(Call::Lock, dir, e))?;
        Ok(DirLock::new(dir.to_path_buf(), Box::new(OsLock { file })))
    }

    fn file_system(&self, dir: &Path) -> io::Result<FileSystem> {
        probe::file_system(dir).map_err(|e| DiskError::wrap(Call::FileSystem, dir, e))
    }
}

/// Linux and most of its file systems have a rename that replaces nothing; NFS and many user-space
/// ones do not.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            Err(io::ErrorKind::Unsupported.into())
        }
        renamed => Ok(renamed?),
    }
}

/// Opens a regular file. Does not wait: opening a FIFO would, until somebody opens its other end.
fn open_regular(path: &Path, access: Access) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new()
        .read(true)
        .write(access == Access::ReadWrite)
        .custom_flags(flags)
        .open(path);
    match opened {
        Ok(file) => {
            check_regular(uninterrupted(|| file.metadata())?.file_type())?;
            Ok(file)
        }
        // The system says of a socket "no such device or address".
        Err(e) if e.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            check_regular(uninterrupted(|| fs::metadata(path))?.file_type())?;
            Err(e)
        }
        Err(e) => Err(e),
    }
}

/// Says what stands in the place of a regular file. Linux opens a directory for reading, only to
/// fail at each read.
fn check_regular(kind: FileType) -> io::Result<()> {
    if kind.is_file() {
        Ok(())
    } else if kind.is_dir() {
        Err(errno(Errno::ISDIR))
    } else if kind.is_fifo() {
        Err(invalid("it is a FIFO, not a regular file"))
    } else if kind.is_socket() {
        Err(invalid("it is a socket, not a regular file"))
    } else {
        Err(invalid("it is a device, not a regular file"))
    }
}

/// The length of an open file in bytes.
pub(crate) fn length(file: &File) -> io::Result<u64> {
    Ok(uninterrupted(|| file.metadata())?.len())
}

/// Opens `dir` itself; fails if it is no directory.
fn open_dir(dir: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::DIRECTORY.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(dir)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    // Not `sync_all`: it tries again after a signal, and a sync that failed must not be tried
    // again.
    Ok(rustix::fs::fsync(open_dir(dir)?)?)
}

/// The directory that holds the name of `path`; `None` for a root.
fn parent_of(path: &Path) -> Option<&Path> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    })
}

/// Creates what is missing from the top down, and syncs the parent of each before it goes on.
///
/// A process killed between the two steps leaves a directory whose name is not durable. It can only
/// be the deepest one that exists, so its parent is synced too.
fn make_dirs(dir: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    let mut deepest = dir;
    loop {
        match uninterrupted(|| fs::metadata(deepest)) {
            Ok(metadata) if metadata.is_dir() => break,
            Ok(_) => return Err(errno(Errno::NOTDIR)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                missing.push(deepest);
                deepest = parent_of(deepest).ok_or(e)?;
            }
            Err(e) => return Err(e),
        }
    }
    if let Some(parent) = parent_of(deepest).filter(|_| deepest != Path::new(".")) {
        match sync_dir(parent) {
            // A directory that somebody prepared for us in a place that we may not read.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {}
            result => result?,
        }
    }
    for dir in missing.into_iter().rev() {
        match fs::create_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            result => result?,
        }
        if let Some(parent) = parent_of(dir) {
            sync_dir(parent)?;
        }
    }
    Ok(())
}

fn list(dir: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = match uninterrupted(|| entry.metadata()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue, // removed since the name was read
            metadata => metadata?,
        };
        let kind = entry_kind(metadata.file_type());
        let modified = metadata
            .modified()?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        entries.push(Entry {
            name: entry.file_name(),
            kind,
            len: if kind == EntryKind::File {
                metadata.len()
            } else {
                0
            },
            modified_ms: u64::try_from(modified.as_millis()).unwrap_or(u64::MAX),
        });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn entry_kind(file_type: FileType) -> EntryKind {
    if file_type.is_file() {
        EntryKind::File
    } else if file_type.is_dir() {
        EntryKind::Directory
    } else {
        EntryKind::Other
    }
}

/// Writes a page at a time. Larger writes would give the file large folios in the page cache (ext4
/// since Linux 6.16), and a single byte stored through a map dirties a whole folio: a commit of 100
/// bytes then writes up to 2 MiB (measured: 243 µs instead of 90 with 1 MiB writes).
fn write_zeros(file: &File, range: Range<u64>) -> io::Result<()> {
    const ZEROS: [u8; 4096] = [0; 4096];
    check_size_limit(range.end)?;
    let mut at = range.start;
    while at < range.end {
        let to_boundary = PAGE_SIZE - at % PAGE_SIZE;
        let len = usize::try_from(to_boundary.min(range.end - at)).unwrap_or(ZEROS.len());
        file.write_all_at(ZEROS.split_at(len).0, at)?;
        at += len as u64;
    }
    Ok(())
}

/// Holds the flock on the directory. The file is closed on exec, so no program started meanwhile
/// keeps it.
#[derive(Debug)]
struct OsLock {
    file: File,
}

impl LockGuard for OsLock {}

impl Drop for OsLock {
    /// Closing the file would leave the lock with a child that was forked and has not called exec
    /// yet.
    fn drop(&mut self) {
        // If it fails, closing the file gives the lock up all the same.
        let _ = self.file.unlock();
    }
}

/// Fails where the kernel would kill the process: a write past `RLIMIT_FSIZE` sends SIGXFSZ before
/// it is an error.
pub(crate) fn check_size_limit(end: u64) -> io::Result<()> {
    match getrlimit(Resource::Fsize).current {
        Some(limit) if end > limit => Err(errno(Errno::FBIG)),
        _ => Ok(()),
    }
}

#[derive(Debug)]
struct OsFile {
    file: Arc<File>,
    path: PathBuf,
    /// Whether an append map of this handle lives: two would hand out the same bytes.
    mapped: Arc<AtomicBool>,
}

impl OsFile {
    fn shared(file: File, path: &Path) -> Arc<dyn DiskFile> {
        let mapped = Arc::new(AtomicBool::new(false));
        Arc::new(Self {
            file: Arc::new(file),
            path: path.to_path_buf(),
            mapped,
        })
    }

    /// What names its call already keeps it.
    fn error(&self, call: Call, cause: io::Error) -> io::Error {
        match DiskError::of(&cause) {
            Some(_) => cause,
            None => DiskError::wrap(call, &self.path, cause),
        }
    }
}

impl DiskFile for OsFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> io::Result<u64> {
        length(&self.file).map_err(|e| self.error(Call::Len, e))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        uninterrupted(|| self.file.read_at(buf, offset))
            .or_else(|e| read_around(&self.file, buf, offset, e))
            .map_err(|e| {
                // A sector is bad, and with it its page.
                let of_page = e.raw_os_error() == Some(Errno::IO.raw_os_error());
                let skip = if of_page { offset % PAGE_SIZE } else { 0 };
                DiskError::wrap_at(Call::Read, &self.path, offset - skip, e)
            })
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        check_size_limit(offset.saturating_add(buf.len() as u64))
            .and_then(|()| self.file.write_at(buf, offset))
            .map_err(|e| DiskError::wrap_at(Call::Write, &self.path, offset, e))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        check_size_limit(len)
            .and_then(|()| self.file.set_len(len))
            .map_err(|e| self.error(Call::SetLen, e))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let allocated = check_size_limit(len).and_then(|()| {
            // Allocating twice does no harm, and makes nothing durable.
            uninterrupted(|| {
                let allocated = rustix::fs::fallocate(&*self.file, FallocateFlags::empty(), 0, len);
                allocated.map_err(|e| match e {
                    Errno::OPNOTSUPP | Errno::NOSYS => io::ErrorKind::Unsupported.into(),
                    e => e.into(),
                })
            })
        });
        allocated.map_err(|e| self.error(Call::Allocate, e))
    }

    fn sync(&self) -> io::Result<()> {
        // Not `sync_data`: it tries again after a signal, and a sync that failed must not be tried
        // again.
        rustix::fs::fdatasync(&*self.file).map_err(|e| self.error(Call::Sync, e.into()))
    }

    fn map_append(&self, start: u64) -> io::Result<AppendMap> {
        os_map::shared(&self.file, &self.path, &self.mapped, start)
            .map_err(|e| self.error(Call::MapAppend, e))
    }

    fn stage_append(&self, start: u64) -> io::Result<AppendMap> {
        os_map::staged(&self.file, &self.path, &self.mapped, start)
            .map_err(|e| self.error(Call::StageAppend, e))
    }

    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        write_zeros(&self.file, range).map_err(|e| self.error(Call::Write, e))
    }

    fn write_zeros_directly(&self, range: Range<u64>) -> io::Result<()> {
        check_size_limit(range.end)
            .and_then(|()| os_map::write_zeros(&self.path, range))
            .map_err(|e| self.error(Call::Write, e))
    }

    fn map_read(&self) -> io::Result<ReadMap> {
        let map = length(&self.file).and_then(|len| {
            if len == 0 {
                return Err(invalid("an empty file cannot be mapped"));
            }
            #[expect(unsafe_code, reason = "a read-only map of a file")]
            // SAFETY: as every mapped file: nobody truncates it or changes what is read. Sealed
            // files are never written again, and the directory lock keeps other processes away.
            unsafe {
                Mmap::map(&*self.file)
            }
        });
        let map = map.map_err(|e| self.error(Call::MapRead, e))?;
        // Read from front to back, soon: the kernel fetches ahead of the reader. Best effort.
        let _ = map.advise(Advice::Sequential);
        let _ = map.advise(Advice::WillNeed);
        let id = FileId::of(&self.file).map_err(|e| self.error(Call::MapRead, e))?;
        Ok(ReadMap::new(Arc::new(OsReadMap {
            seen: Seen::nothing(map.len()),
            map,
            file: (!populate::is_known()).then(|| Arc::clone(&self.file)),
            id,
            path: self.path.clone(),
        })))
    }
}

/// A mapped file. It says why a page cannot be read in, but is not kept open for that.
struct OsReadMap {
    map: Mmap,
    seen: Seen,
    file: Option<Arc<File>>,
    id: FileId,
    path: PathBuf,
}

impl AsRef<[u8]> for OsReadMap {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl ReadBacking for OsReadMap {
    fn populate(&self, range: Range<u64>) -> io::Result<()> {
        let mapped = MappedFile {
            file: match &self.file {
                Some(file) => Behind::Open(file),
                None => Behind::Closed(self.id),
            },
            path: &self.path,
            base: self.map.as_ptr(),
            len: self.map.len(),
            seen: &self.seen,
        };
        mapped.populate(range)
    }
}
