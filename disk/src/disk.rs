//! The traits that every disk implements, and what they hand out.

use crate::call::Call;
use crate::error::DiskError;
use crate::file_system::FileSystem;
use crate::interrupted::Interruptions;
use crate::map::append::AppendMap;
use crate::map::read::ReadMap;
use std::ffi::OsString;
use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files and directories, real or simulated. Every method is one operation that a test can count,
/// fail or crash.
///
/// ```
/// use highwater_disk::{Disk, DiskFile as _, OsDisk, SimDisk};
/// use std::path::Path;
///
/// /// Replaces a small file: after a power cut it has the old content or the new one.
/// fn replace(disk: &dyn Disk, dir: &Path, content: &[u8]) -> std::io::Result<()> {
///     let (new, name) = (dir.join("settings.new"), dir.join("settings"));
///     let file = disk.create_new(&new)?;
///     file.write_all_at(content, 0)?;
///     file.sync()?; // the content first
///     disk.rename(&new, &name)?;
///     disk.sync_dir(dir)
/// }
/// # let dir = tempfile::tempdir()?;
/// replace(&OsDisk::new(), dir.path(), b"x = 1")?; // in the program
/// replace(&SimDisk::new(), Path::new("/"), b"x = 1")?; // in its tests
/// # Ok::<_, std::io::Error>(())
/// ```
pub trait Disk: Debug + Send + Sync + 'static {
    /// `path` from the root, for the current working directory. A program that keeps a directory
    /// calls this once, so that a later `chdir` changes nothing. Does not check whether it exists,
    /// and follows no symbolic links. A simulated machine has no working directory: there a
    /// relative path starts at its root.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if the path is empty; any I/O error if the working directory
    /// is gone.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        std::path::absolute(path)
    }

    /// Creates `dir` and its missing parents, and makes the new names durable.
    ///
    /// # Errors
    /// Any I/O error; [`io::ErrorKind::NotADirectory`] if a component of the path is a file.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Lists the entries of `dir`, sorted by name, without following symbolic links.
    ///
    /// # Errors
    /// Any I/O error; [`io::ErrorKind::NotFound`] if there is no such directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;

    /// Creates a file that must not exist yet, open for reading and writing. Its name is not
    /// durable yet.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if the name is taken; any I/O error.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing regular file. Never waits, also if the path is a FIFO.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none; [`io::ErrorKind::IsADirectory`] or
    /// [`io::ErrorKind::InvalidInput`] if it is no regular file; any I/O error.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames `from` to `to`, atomically replacing `to`. Not durable until the directory is
    /// synced.
    ///
    /// # Errors
    /// Any I/O error.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames `from` to `to` unless `to` exists, atomically: a file of another program is never
    /// replaced. Not durable until the directory is synced.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if `to` is taken; [`io::ErrorKind::Unsupported`] if the
    /// file system cannot: use [`Self::hard_link`] then; any I/O error.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let cause = io::ErrorKind::Unsupported.into();
        Err(DiskError::wrap_pair(Call::Rename, from, Some(to), cause))
    }

    /// Gives the file `from` the second name `to`, which must not exist: the create-only
    /// publication step.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if `to` is taken; any I/O error.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the name `path`. Open files and maps of it stay usable.
    ///
    /// # Errors
    /// Any I/O error.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes the name of the empty directory `dir`.
    ///
    /// # Errors
    /// [`io::ErrorKind::DirectoryNotEmpty`]; any other I/O error; [`io::ErrorKind::Unsupported`]
    /// from a disk that does not say how.
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let _ = dir;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes all names of `dir` durable: everything created, renamed or removed in it stays so
    /// after a power cut.
    ///
    /// # Errors
    /// Any I/O error. After an error the caller must assume that the names are not durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of `dir` without waiting. The lock is on the directory itself, so
    /// that deleting a lock file cannot break it. It is released with the returned value or with
    /// the process.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if it is held already; any other I/O error.
    fn lock_dir(&self, dir: &Path) -> io::Result<DirLock>;

    /// Which file system `dir` lies on. A disk that does not know returns [`FileSystem::Unstated`].
    ///
    /// # Errors
    /// Any I/O error; [`io::ErrorKind::NotFound`] if there is no such directory.
    fn file_system(&self, dir: &Path) -> io::Result<FileSystem> {
        let _ = dir;
        Ok(FileSystem::Unstated)
    }

    /// How many bytes programs without privileges may still write to the file system of `dir`;
    /// `None` from a disk that does not know.
    ///
    /// # Errors
    /// Any I/O error; [`io::ErrorKind::NotFound`] if there is no such directory.
    fn free_bytes(&self, dir: &Path) -> io::Result<Option<u64>> {
        let _ = dir;
        Ok(None)
    }
}

/// An open file.
#[expect(
    clippy::len_without_is_empty,
    reason = "`len` is a call that can fail, not a property of a collection"
)]
///
/// ```
/// use highwater_disk::{Disk, DiskFile as _, SimDisk};
/// use std::path::Path;
///
/// let file = SimDisk::new().create_new(Path::new("/a"))?;
/// file.write_all_at(b"hello", 0)?;
/// let mut buf = [0; 16];
/// assert_eq!(file.read_up_to(&mut buf, 1)?, 4);
/// assert_eq!(&buf[..4], b"ello");
/// # Ok::<_, std::io::Error>(())
/// ```
pub trait DiskFile: Debug + Send + Sync {
    /// The path under which it was opened (for error messages).
    fn path(&self) -> &Path;

    /// Its length in bytes.
    ///
    /// # Errors
    /// Any I/O error.
    fn len(&self) -> io::Result<u64>;

    /// Reads at `offset` (bytes) into `buf`; returns how many bytes were read, 0 at the end of the
    /// file.
    ///
    /// # Errors
    /// Any I/O error.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes `buf` at `offset` (bytes); may write less than all of it.
    ///
    /// # Errors
    /// Any I/O error.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;

    /// Cuts the file or extends it with zeros to `len` bytes.
    ///
    /// # Errors
    /// Any I/O error.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes the file at least `len` bytes long and allocates blocks for all of them. Unwritten
    /// bytes read as zeros, and writing them later needs no space. The first write to such a block
    /// is slower than the next ones.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] if the file system cannot: write zeros then;
    /// [`io::ErrorKind::InvalidInput`] if `len` is 0; any I/O error.
    fn allocate(&self, len: u64) -> io::Result<()> {
        let _ = len;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes content and length durable (`fdatasync`).
    ///
    /// # Errors
    /// Any I/O error. The error is final for everything written since the last success. The kernel
    /// drops the dirty state on failure, so a later success proves nothing.
    fn sync(&self) -> io::Result<()>;

    /// Maps the whole file for appending; the first `start` bytes are readable at once, the cursor
    /// is there. Every page must have been written before (no holes): a store into a hole can raise
    /// SIGBUS on a full disk.
    ///
    /// # Errors
    /// Any I/O error; [`io::ErrorKind::InvalidInput`] if `start` is past the end or not a multiple
    /// of 8.
    fn map_append(&self, start: u64) -> io::Result<AppendMap>;

    /// As [`Self::map_append`], but the map is memory of this process. Its bytes reach the file
    /// only by a sync, in one write past the page cache. A killed process leaves nothing that was
    /// not synced. A failed write leaves no wrong pages in the page cache. A full or broken disk
    /// cannot raise a signal.
    ///
    /// # Errors
    /// As [`Self::map_append`]; [`io::ErrorKind::Unsupported`] if the file system or the device
    /// does not take such writes: use [`Self::map_append`] then.
    fn map_append_direct(&self, start: u64) -> io::Result<AppendMap> {
        let _ = start;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Writes zeros, so that the blocks are allocated and written. A sync makes that durable.
    ///
    /// # Errors
    /// Any I/O error.
    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut at = range.start;
        while at < range.end {
            let len = usize::try_from(range.end - at).map_or(ZEROS.len(), |n| n.min(ZEROS.len()));
            self.write_all_at(ZEROS.split_at(len).0, at)?;
            at += len as u64;
        }
        Ok(())
    }

    /// As [`Self::write_zeros`], past the page cache: for files that [`Self::map_append_direct`]
    /// will map. The range covers whole pages.
    ///
    /// # Errors
    /// Any I/O error; [`io::ErrorKind::Unsupported`] as for [`Self::map_append_direct`].
    fn write_zeros_direct(&self, range: Range<u64>) -> io::Result<()> {
        let _ = range;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Maps the whole file for reading. Call [`ReadMap::populate`] before you read its bytes.
    ///
    /// # Errors
    /// Any I/O error; [`io::ErrorKind::InvalidInput`] if the file is empty.
    fn map_read(&self) -> io::Result<ReadMap>;

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends before; any I/O error.
    /// [`DiskError::offset`] tells where it stopped: for a bad sector, the page that holds it.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let read = self.read_up_to(buf, offset)?;
        if read < buf.len() {
            let (end, cause) = (offset + read as u64, io::ErrorKind::UnexpectedEof.into());
            return Err(DiskError::wrap_at(Call::Read, self.path(), end, cause));
        }
        Ok(())
    }

    /// Reads from `offset` until `buf` is full or the file ends; returns how many bytes were read.
    ///
    /// # Errors
    /// Any I/O error, as [`Self::read_exact_at`].
    fn read_up_to(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let (mut len, mut interruptions) = (0, Interruptions::default());
        while let Some(rest) = buf.get_mut(len..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, offset + len as u64) {
                Ok(0) => break,
                Ok(n) => {
                    len += n;
                    interruptions = Interruptions::default();
                }
                Err(e) if interruptions.again(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(len)
    }

    /// Writes all of `buf` at `offset`, and goes on after short writes and interruptions. Nothing
    /// of it is durable before a sync.
    ///
    /// # Errors
    /// [`io::ErrorKind::WriteZero`] if the file accepts nothing more; any I/O error.
    fn write_all_at(&self, mut buf: &[u8], mut offset: u64) -> io::Result<()> {
        let mut interruptions = Interruptions::default();
        while !buf.is_empty() {
            match self.write_at(buf, offset) {
                Ok(0) => {
                    let cause = io::ErrorKind::WriteZero.into();
                    return Err(DiskError::wrap_at(Call::Write, self.path(), offset, cause));
                }
                Ok(n) => {
                    buf = buf.split_at(n).1;
                    offset += n as u64;
                    interruptions = Interruptions::default();
                }
                Err(e) if interruptions.again(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, without the directory.
    pub name: OsString,
    /// What it names.
    pub kind: EntryKind,
    /// Length in bytes; 0 for anything but a file.
    pub len: u64,
    /// When the content last changed, in milliseconds since the Unix epoch (0 where unknown).
    pub modified_ms: u64,
}

/// What a directory entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else: a symbolic link, a socket, a device.
    Other,
}

/// The exclusive lock of a directory; released when dropped.
#[derive(Debug)]
pub struct DirLock {
    dir: PathBuf,
    _held: Box<dyn Debug + Send + Sync>,
}

impl DirLock {
    /// A lock that lasts as long as `held`.
    #[must_use]
    pub fn new(dir: PathBuf, held: Box<dyn Debug + Send + Sync>) -> Self {
        Self { dir, _held: held }
    }

    /// The locked directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
