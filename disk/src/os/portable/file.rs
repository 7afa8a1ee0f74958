//! An open file of any Unix.

use crate::call::Call;
use crate::disk::DiskFile;
use crate::interrupted::uninterrupted;
use crate::map::append::AppendMap;
use crate::map::read::ReadMap;
use crate::os::flush::flush;
use crate::os::handle::Handle;
use crate::os::portable::{append_map, read_map};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// `file`, which was opened under the name `path`.
pub(crate) fn shared(file: File, path: &Path) -> Arc<dyn DiskFile> {
    Arc::new(PortableFile(Handle::new(file, path)))
}

/// Direct I/O, and allocating without writing, are what the trait says of a disk that cannot.
#[derive(Debug)]
struct PortableFile(Handle);

impl DiskFile for PortableFile {
    fn path(&self) -> &Path {
        &self.0.path
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        uninterrupted(|| self.0.file.read_at(buf, offset)).map_err(|e| self.0.unreadable(offset, e))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(buf, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        flush(&self.0.file).map_err(|e| self.0.error(Call::Sync, e))
    }

    fn map_append(&self, start: u64) -> io::Result<AppendMap> {
        append_map::map(&self.0.file, &self.0.path, &self.0.mapped, start)
            .map_err(|e| self.0.error(Call::MapAppend, e))
    }

    fn map_read(&self) -> io::Result<ReadMap> {
        read_map::map(&self.0.file, &self.0.path).map_err(|e| self.0.error(Call::MapRead, e))
    }
}

/// Allocates blocks: only by writing them.
#[cfg(any(highwater_portable, not(target_os = "linux")))]
pub(crate) fn allocate(_file: &File, _len: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
