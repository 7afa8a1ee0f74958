//! What an I/O error of this crate says, and how to get the errno back out of it.
//!
//! Every error that a [`Disk`](crate::Disk) returns is a plain [`io::Error`] whose kind is that of
//! the failed call and whose message names the call and the path. The original error is inside, as
//! a [`DiskError`]: [`io::Error::raw_os_error`] therefore answers `None`; ask [`raw_os_error`]
//! instead.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// One kind of call to the disk: what errors name, and what the simulator counts and fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// [`Disk::create_dir_all`](crate::Disk::create_dir_all)
    CreateDir,
    /// [`Disk::list`](crate::Disk::list)
    List,
    /// [`Disk::create_new`](crate::Disk::create_new)
    Create,
    /// [`Disk::open`](crate::Disk::open)
    Open,
    /// [`Disk::rename`](crate::Disk::rename)
    Rename,
    /// [`Disk::hard_link`](crate::Disk::hard_link)
    Link,
    /// [`Disk::remove_file`](crate::Disk::remove_file)
    Remove,
    /// [`Disk::sync_dir`](crate::Disk::sync_dir)
    SyncDir,
    /// [`Disk::lock_dir`](crate::Disk::lock_dir)
    Lock,
    /// [`DiskFile::len`](crate::DiskFile::len)
    Len,
    /// [`DiskFile::read_at`](crate::DiskFile::read_at)
    Read,
    /// [`DiskFile::write_at`](crate::DiskFile::write_at)
    Write,
    /// [`DiskFile::set_len`](crate::DiskFile::set_len)
    SetLen,
    /// [`DiskFile::allocate`](crate::DiskFile::allocate)
    Allocate,
    /// [`DiskFile::sync`](crate::DiskFile::sync)
    Sync,
    /// [`DiskFile::map_append`](crate::DiskFile::map_append)
    MapAppend,
    /// [`DiskFile::map_read`](crate::DiskFile::map_read)
    MapRead,
    /// [`AppendMap::sync`](crate::AppendMap::sync)
    SyncMap,
    /// [`Disk::file_system`](crate::Disk::file_system)
    FileSystem,
    /// [`AppendMap::give_back`](crate::AppendMap::give_back)
    GiveBack,
    /// [`ReadMap::populate`](crate::ReadMap::populate) and
    /// [`AppendMap::populate`](crate::AppendMap::populate)
    Populate,
    /// [`AppendMap::sync`](crate::AppendMap::sync) of a staged map: a write past the page cache
    WriteDirect,
    /// [`DiskFile::stage_append`](crate::DiskFile::stage_append)
    StageAppend,
}

impl Call {
    /// Every call, in the order of declaration: for tests that fail each in turn.
    pub const ALL: [Self; 23] = [
        Self::CreateDir,
        Self::List,
        Self::Create,
        Self::Open,
        Self::Rename,
        Self::Link,
        Self::Remove,
        Self::SyncDir,
        Self::Lock,
        Self::Len,
        Self::Read,
        Self::Write,
        Self::SetLen,
        Self::Allocate,
        Self::Sync,
        Self::MapAppend,
        Self::MapRead,
        Self::SyncMap,
        Self::FileSystem,
        Self::GiveBack,
        Self::Populate,
        Self::WriteDirect,
        Self::StageAppend,
    ];

    /// Whether the call can change what a power cut leaves behind.
    #[must_use]
    pub fn is_mutation(self) -> bool {
        !matches!(
            self,
            Self::List
                | Self::Open
                | Self::Len
                | Self::Read
                | Self::MapRead
                | Self::Lock
                | Self::FileSystem
                | Self::Populate
        )
    }

    fn verb(self) -> &'static str {
        match self {
            Self::CreateDir => "create directory",
            Self::List => "list directory",
            Self::Create => "create",
            Self::Open => "open",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Remove => "remove",
            Self::SyncDir => "sync directory",
            Self::Lock => "lock directory",
            Self::Len => "get the length of",
            Self::Read => "read",
            Self::Write => "write",
            Self::SetLen => "set the length of",
            Self::Allocate => "allocate the blocks of",
            Self::Sync => "sync",
            Self::MapAppend => "map for appending",
            Self::MapRead => "map for reading",
            Self::SyncMap => "sync the map of",
            Self::FileSystem => "ask for the file system of",
            Self::GiveBack => "give back memory of the map of",
            Self::Populate => "read the mapped file",
            Self::WriteDirect => "write past the page cache to",
            Self::StageAppend => "open for writing past the page cache",
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb())
    }
}

/// A failed call: which, on what path, and why. Travels inside an [`io::Error`] of the same kind.
///
/// Its message contains that of its cause, which [`std::error::Error::source`] gives too: chains of
/// causes end there.
#[derive(Debug)]
pub struct DiskError {
    call: Call,
    path: PathBuf,
    target: Option<PathBuf>,
    offset: Option<u64>,
    cause: io::Error,
}

impl DiskError {
    /// Wraps `cause`, which `call` on `path` returned.
    pub(crate) fn wrap(call: Call, path: &Path, cause: io::Error) -> io::Error {
        Self::wrap_pair(call, path, None, cause)
    }

    /// As [`Self::wrap`], about the bytes at `offset` of the file.
    pub(crate) fn wrap_at(call: Call, path: &Path, offset: u64, cause: io::Error) -> io::Error {
        Self::build(call, path, None, Some(offset), cause)
    }

    /// As [`Self::wrap`], for calls with a second path.
    pub(crate) fn wrap_pair(
        call: Call,
        path: &Path,
        target: Option<&Path>,
        cause: io::Error,
    ) -> io::Error {
        Self::build(call, path, target, None, cause)
    }

    fn build(
        call: Call,
        path: &Path,
        target: Option<&Path>,
        offset: Option<u64>,
        cause: io::Error,
    ) -> io::Error {
        let kind = cause.kind();
        io::Error::new(
            kind,
            Self {
                call,
                path: path.to_path_buf(),
                target: target.map(Path::to_path_buf),
                offset,
                cause,
            },
        )
    }

    /// The same error about `path`: what was mapped under one name may have another now.
    #[must_use]
    pub fn about(error: io::Error, path: &Path) -> io::Error {
        match error.downcast::<Self>() {
            Ok(failed) => Self::build(failed.call, path, None, failed.offset, failed.cause),
            Err(other) => other,
        }
    }

    /// The failed call.
    #[must_use]
    pub fn call(&self) -> Call {
        self.call
    }

    /// The path it was about; of a rename or link the old one.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Offset in the file, in bytes, from which the call could not go on; `None` if it is about no
    /// place of it.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// The error as the operating system (or the simulator) gave it.
    #[must_use]
    pub fn cause(&self) -> &io::Error {
        &self.cause
    }

    /// The [`DiskError`] inside `error`, if a disk returned it.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}", self.call, self.path.display())?;
        if let Some(target) = &self.target {
            write!(f, " to {}", target.display())?;
        }
        if let Some(offset) = self.offset {
            write!(f, " at offset {offset}")?;
        }
        write!(f, ": {}", self.cause)
    }
}

impl std::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// A copy of `error`, for several who waited for the same call: of the same kind, with the same
/// words, path and errno.
#[must_use]
pub fn copy_error(error: &io::Error) -> io::Error {
    if let Some(code) = error.raw_os_error() {
        return io::Error::from_raw_os_error(code);
    }
    if let Some(failed) = DiskError::of(error) {
        let cause = copy_error(&failed.cause);
        return DiskError::wrap_pair(failed.call, &failed.path, failed.target.as_deref(), cause);
    }
    crate::sim::copy_of_the_end(error)
        .unwrap_or_else(|| io::Error::new(error.kind(), error.to_string()))
}

/// The errno behind `error`, also when a disk wrapped it with its call and path.
#[must_use]
pub fn raw_os_error(error: &io::Error) -> Option<i32> {
    error
        .raw_os_error()
        .or_else(|| raw_os_error(DiskError::of(error)?.cause()))
}

/// An error as the operating system would return it.
pub(crate) fn errno(code: rustix::io::Errno) -> io::Error {
    io::Error::from_raw_os_error(code.raw_os_error())
}

/// An error about an argument, with what is wrong with it.
pub(crate) fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri words the messages of the system otherwise")]
    fn the_wrapped_error_keeps_kind_and_errno_and_names_call_and_path() {
        let cause = errno(rustix::io::Errno::NOSPC);
        let error = DiskError::wrap(Call::Write, Path::new("/a/b"), cause);
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(error.raw_os_error(), None);
        assert_eq!(
            raw_os_error(&error),
            Some(rustix::io::Errno::NOSPC.raw_os_error())
        );
        assert_eq!(
            error.to_string(),
            "cannot write /a/b: No space left on device (os error 28)"
        );
        let inner = DiskError::of(&error).unwrap();
        assert_eq!(
            (inner.call(), inner.path()),
            (Call::Write, Path::new("/a/b"))
        );
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri words the messages of the system otherwise")]
    fn an_error_of_a_rename_names_both_paths() {
        let cause = errno(rustix::io::Errno::NOENT);
        let error = DiskError::wrap_pair(Call::Rename, Path::new("a"), Some(Path::new("b")), cause);
        assert_eq!(
            error.to_string(),
            "cannot rename a to b: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn every_call_is_listed_once() {
        for (index, call) in Call::ALL.iter().enumerate() {
            assert_eq!(*call as usize, index, "{call:?}");
        }
    }
}
