//! A directory that files are moved into.

use highwater_engine::wal::disk::{Disk, SimDisk};
use std::path::Path;

/// A disk with the directory.
pub(crate) fn machine() -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/in")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

/// Moves a file in, as `mv` does.
pub(crate) fn move_in(disk: &SimDisk, name: &str, content: impl Into<Vec<u8>>) {
    disk.put_file("/moving", content);
    disk.rename(Path::new("/moving"), &Path::new("/in").join(name))
        .unwrap();
    disk.sync_dir(Path::new("/in")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
}
