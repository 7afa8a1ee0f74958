//! Renaming a file without ever replacing another.

use highwater_engine::SinkError;
use highwater_engine::wal::disk::Disk;
use std::io;
use std::path::Path;

/// Moves `from` to `to` within `dir` unless `to` is taken. The new name is not durable before the
/// directory is synced.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if it is taken, whatever it is.
pub(super) fn rename_new(disk: &dyn Disk, dir: &Path, from: &Path, to: &Path) -> io::Result<()> {
    match disk.rename_new(from, to) {
        Err(e) if e.kind() == io::ErrorKind::Unsupported => {}
        placed => return placed,
    }
    disk.hard_link(from, to)?;
    // The old name may be removed only after the new one is durable: names reach the disk in any
    // order.
    disk.sync_dir(dir)
        .map_err(|error| io::Error::new(error.kind(), SinkError::permanent(error)))?;
    disk.remove_file(from)
}
