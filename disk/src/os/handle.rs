//! What every open file of the operating system does.

use crate::call::Call;
use crate::error::DiskError;
use crate::os::size::{check_size_limit, length};
use crate::units::PAGE_SIZE;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// An open file, and the name under which it was opened.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) file: Arc<File>,
    pub(crate) path: PathBuf,
    /// Whether an append map of this handle lives: two would hand out the same bytes.
    pub(crate) mapped: Arc<AtomicBool>,
}

impl Handle {
    pub(crate) fn new(file: File, path: &Path) -> Self {
        Self {
            file: Arc::new(file),
            path: path.to_path_buf(),
            mapped: Arc::new(AtomicBool::new(false)),
        }
    }

    /// An error that names its call already keeps it.
    pub(crate) fn error(&self, call: Call, cause: io::Error) -> io::Error {
        match DiskError::of(&cause) {
            Some(_) => cause,
            None => DiskError::wrap(call, &self.path, cause),
        }
    }

    /// The error of a read at `offset`. A sector is bad, and with it its page.
    pub(crate) fn unreadable(&self, offset: u64, cause: io::Error) -> io::Error {
        let of_page = cause.raw_os_error() == Some(Errno::IO.raw_os_error());
        let skip = if of_page { offset % PAGE_SIZE } else { 0 };
        DiskError::wrap_at(Call::Read, &self.path, offset - skip, cause)
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        length(&self.file).map_err(|e| self.error(Call::Len, e))
    }

    pub(crate) fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        check_size_limit(offset.saturating_add(buf.len() as u64))
            .and_then(|()| self.file.write_at(buf, offset))
            .map_err(|e| DiskError::wrap_at(Call::Write, &self.path, offset, e))
    }

    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        check_size_limit(len)
            .and_then(|()| self.file.set_len(len))
            .map_err(|e| self.error(Call::SetLen, e))
    }
}
