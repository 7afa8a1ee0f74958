//! The I/O errors of this crate, and how to get the errno out of them.
//!
//! Every error that a [`Disk`](crate::Disk) returns is a plain [`io::Error`]. It has the kind of
//! the failed call, and its message names the call and the path. The original error is inside, as a
//! [`DiskError`]. So [`io::Error::raw_os_error`] returns `None`: call [`raw_os_error`] instead.

use crate::call::Call;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A failed call: which, on what path, and why. Travels inside an [`io::Error`] of the same kind.
///
/// Its message contains that of its cause, which is also its [`std::error::Error::source`]. Chains
/// of causes end there.
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

    /// The same error about `path`: a file that was mapped under one name may have another now.
    ///
    /// ```
    /// use highwater_disk::{Access, Disk, DiskError, OsDisk};
    /// use std::path::Path;
    /// # let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("nothing");
    /// let error = OsDisk::new().open(&path, Access::Read).expect_err("there is no such file");
    /// let error = DiskError::about(error, Path::new("/its/name/now"));
    /// assert!(error.to_string().contains("/its/name/now"), "{error}");
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn about(error: io::Error, path: &Path) -> io::Error {
        match error.downcast::<Self>() {
            Ok(failed) => Self::build(failed.call, path, None, failed.offset, failed.cause),
            Err(other) => other,
        }
    }

    /// The failed call.
    ///
    /// ```
    /// use highwater_disk::{Access, Call, Disk, DiskError, OsDisk};
    /// # let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("nothing");
    /// let error = OsDisk::new().open(&path, Access::Read).expect_err("there is no such file");
    /// let failed = DiskError::of(&error).expect("a disk returned it");
    /// assert_eq!(failed.call(), Call::Open);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn call(&self) -> Call {
        self.call
    }

    /// The path it was about; of a rename or link the old one.
    ///
    /// ```
    /// use highwater_disk::{Access, Disk, DiskError, OsDisk};
    /// # let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("nothing");
    /// let error = OsDisk::new().open(&path, Access::Read).expect_err("there is no such file");
    /// let failed = DiskError::of(&error).expect("a disk returned it");
    /// assert_eq!(failed.path(), path);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Offset in the file, in bytes, where the call stopped; `None` if it is not about an offset.
    ///
    /// ```
    /// use highwater_disk::{Disk, DiskError, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let file = SimDisk::new().create_new(Path::new("/a"))?;
    /// file.write_all_at(b"hello", 0)?;
    /// let error = file.read_exact_at(&mut [0; 10], 0).expect_err("it is shorter");
    /// assert_eq!(DiskError::of(&error).and_then(DiskError::offset), Some(5));
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// The error as the operating system (or the simulator) gave it.
    ///
    /// ```
    /// use highwater_disk::{Access, Disk, DiskError, OsDisk};
    /// # let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("nothing");
    /// let error = OsDisk::new().open(&path, Access::Read).expect_err("there is no such file");
    /// let failed = DiskError::of(&error).expect("a disk returned it");
    /// assert_eq!(failed.cause().kind(), std::io::ErrorKind::NotFound);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn cause(&self) -> &io::Error {
        &self.cause
    }

    /// The [`DiskError`] inside `error`, if a disk returned it.
    ///
    /// ```
    /// use highwater_disk::{Access, Disk, DiskError, OsDisk};
    /// # let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("nothing");
    /// let error = OsDisk::new().open(&path, Access::Read).expect_err("there is no such file");
    /// let failed = DiskError::of(&error).expect("a disk returned it");
    /// println!("{failed}");
    /// assert!(DiskError::of(&std::io::Error::other("of another library")).is_none());
    /// # Ok::<_, std::io::Error>(())
    /// ```
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

/// A copy of `error`, for several threads that waited for the same call. It has the same kind,
/// message, path and errno.
///
/// ```
/// use highwater_disk::{Access, Disk, OsDisk, copy_error};
/// # let dir = tempfile::tempdir()?;
/// let path = dir.path().join("nothing");
/// let error = OsDisk::new().open(&path, Access::Read).expect_err("there is no such file");
/// assert_eq!(copy_error(&error).to_string(), error.to_string());
/// # Ok::<_, std::io::Error>(())
/// ```
#[must_use]
pub fn copy_error(error: &io::Error) -> io::Error {
    if let Some(code) = error.raw_os_error() {
        return io::Error::from_raw_os_error(code);
    }
    if let Some(failed) = DiskError::of(error) {
        let cause = copy_error(&failed.cause);
        return DiskError::wrap_pair(failed.call, &failed.path, failed.target.as_deref(), cause);
    }
    match Crash::of(error) {
        Some(crash) => io::Error::new(error.kind(), crash),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// How a simulated machine went down: from then on no call succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    PowerCut,
    ProcessKill,
}

impl Crash {
    /// The crash that `error` reports, if it reports one.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        if let Some(inner) = DiskError::of(error) {
            return Self::of(inner.cause());
        }
        let inner = error.get_ref()?;
        match inner.downcast_ref::<io::Error>() {
            Some(nested) => Self::of(nested),
            None => inner.downcast_ref::<Self>().copied(),
        }
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PowerCut => "the power of the simulated machine is off",
            Self::ProcessKill => "the simulated process was killed",
        })
    }
}

impl std::error::Error for Crash {}

/// The errno of `error`, also when a disk wrapped it with its call and path.
///
/// ```
/// use highwater_disk::{Access, Disk, OsDisk, raw_os_error};
/// # let dir = tempfile::tempdir()?;
/// let path = dir.path().join("nothing");
/// let error = OsDisk::new().open(&path, Access::Read).expect_err("there is no such file");
/// assert_eq!(error.raw_os_error(), None, "it is inside");
/// assert!(raw_os_error(&error).is_some());
/// # Ok::<_, std::io::Error>(())
/// ```
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
}
