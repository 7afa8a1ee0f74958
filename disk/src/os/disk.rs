//! The operating system's disk: files by name, directories and their locks.
#![expect(clippy::disallowed_methods, reason = "this is the seam")]

use crate::call::Call;
use crate::disk::{Access, DirLock, Disk, DiskFile, Entry, EntryKind};
use crate::error::{DiskError, errno, invalid};
use crate::file_system::FileSystem;
use crate::interrupted::uninterrupted;
use crate::os::file_system::file_system;
use crate::os::flush::flush;
use crate::os::{native, portable};
use rustix::io::Errno;
use std::fs::{self, File, FileType, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// The file system of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk {
    backend: Backend,
}

/// How open files are used.
#[derive(Debug, Clone, Copy, Default)]
enum Backend {
    /// As this system does it best.
    #[default]
    Native,
    /// As any Unix does it.
    Portable,
}

impl OsDisk {
    /// The file system of the machine.
    ///
    /// ```
    /// use highwater_disk::{Disk, DiskFile as _, OsDisk};
    /// # let dir = tempfile::tempdir()?;
    /// let disk = OsDisk::new();
    /// let file = disk.create_new(&dir.path().join("a"))?;
    /// file.write_all_at(b"hello", 0)?;
    /// file.sync()?; // the content is durable
    /// disk.sync_dir(dir.path())?; // and now the name
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`Self::new`], used as on a system that is not Linux: through the page cache, without
    /// direct I/O, and pages are read in with plain reads. On such a system there is no difference.
    /// For tests.
    #[must_use]
    pub fn portable() -> Self {
        Self {
            backend: Backend::Portable,
        }
    }

    fn shared(self, file: File, path: &Path) -> Arc<dyn DiskFile> {
        match self.backend {
            Backend::Native => native::file::shared(file, path),
            Backend::Portable => portable::file::shared(file, path),
        }
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
        Ok(self.shared(file, path))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let opened = open_regular(path, access);
        let file = opened.map_err(|e| DiskError::wrap(Call::Open, path, e))?;
        Ok(self.shared(file, path))
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

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir).map_err(|e| DiskError::wrap(Call::Remove, dir, e))
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
        file_system(dir).map_err(|e| DiskError::wrap(Call::FileSystem, dir, e))
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<Option<u64>> {
        let found = rustix::fs::statvfs(dir).map_err(errno);
        let found = found.map_err(|e| DiskError::wrap(Call::FileSystem, dir, e))?;
        Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
    }
}

/// Linux, macOS and most of their file systems have a rename that replaces nothing; NFS and many
/// user-space ones do not.
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            Err(io::ErrorKind::Unsupported.into())
        }
        renamed => Ok(renamed?),
    }
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn rename_new(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Opens a regular file. Does not wait: opening a FIFO would, until its other end is opened.
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
        // For a socket Linux returns "no such device or address", others "not supported".
        Err(e)
            if matches!(
                Errno::from_io_error(&e),
                Some(Errno::NXIO | Errno::OPNOTSUPP)
            ) =>
        {
            check_regular(uninterrupted(|| fs::metadata(path))?.file_type())?;
            Err(e)
        }
        Err(e) => Err(e),
    }
}

/// An error unless `kind` is a regular file. Linux opens a directory for reading, but then each
/// read fails.
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

/// Opens `dir` itself; fails if it is no directory.
fn open_dir(dir: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::DIRECTORY.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(dir)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    flush(&open_dir(dir)?)
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
/// A process killed between the two steps leaves a directory whose name is not durable. That can
/// only be the deepest one that exists, so its parent is synced too.
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
            // We may write in a directory whose parent we may not read.
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

/// Holds the flock on the directory. The file is closed on exec, so no program that is started
/// meanwhile keeps it.
#[derive(Debug)]
struct OsLock {
    file: File,
}

impl Drop for OsLock {
    /// Closing the file alone would leave the lock with a child that was forked and has not called
    /// exec yet.
    fn drop(&mut self) {
        // If it fails, closing the file releases the lock.
        let _ = self.file.unlock();
    }
}
