//! Where a log is, and whether its file system can keep its promises: asked before anything is
//! touched.

use crate::error::{Result, WalError};
use crate::facade::tracing;
use crate::options::choices::UnsafeFileSystem;
use crate::options::settings::Options;
use highwater_disk::{Disk, FileSystem, Suitability};
use std::io;
use std::path::{Path, PathBuf};

/// The directory from the root on.
pub(crate) fn resolve(disk: &dyn Disk, dir: &Path) -> Result<PathBuf> {
    disk.resolve(dir).map_err(|source| WalError::BadDirectory {
        dir: dir.to_owned(),
        source,
    })
}

/// Refuses a file system that cannot keep what was acknowledged, and warns of one that may not.
pub(crate) fn check(options: &Options, dir: &Path) -> Result<()> {
    let kind = match nearest(&*options.disk, dir) {
        Ok(kind) => kind,
        // Opening the directory reports what is wrong with the path. A system that hides the answer
        // is no reason to stop.
        Err(error) => {
            tracing::warn!(dir = %dir.display(), %error, "the kind of the file system is unknown: NFS and the like would go unnoticed");
            return Ok(());
        }
    };
    let dir_shown = dir.display();
    match kind.suitability() {
        Suitability::Fit => {}
        Suitability::Network if options.unsafe_file_system == UnsafeFileSystem::Refused => {
            return Err(WalError::UnsafeFileSystem {
                dir: dir.to_owned(),
                kind,
            });
        }
        Suitability::Network => {
            tracing::warn!(dir = %dir_shown, %kind, "the log lies on a network file system, as allowed: acknowledged records may be lost, and two writers may not notice each other");
        }
        Suitability::Volatile => {
            tracing::warn!(dir = %dir_shown, %kind, "the log lies in memory: nothing of it survives the machine");
        }
        Suitability::Layered => {
            tracing::warn!(dir = %dir_shown, %kind, "the log lies on a layered file system: it goes away with the container, use a volume");
        }
        Suitability::Userspace => {
            tracing::warn!(dir = %dir_shown, %kind, "the log lies on a file system of a process, which decides what a sync does");
        }
        Suitability::Unknown if kind == FileSystem::Unstated => {}
        Suitability::Unknown => {
            tracing::warn!(dir = %dir_shown, %kind, "nothing is known about the log's file system: check it with `highwater log selftest`");
        }
    }
    Ok(())
}

/// The file system of `dir`, or of the nearest directory above it that exists: there it will be
/// made.
fn nearest(disk: &dyn Disk, dir: &Path) -> io::Result<FileSystem> {
    let mut place = dir;
    loop {
        match disk.file_system(place) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => match place.parent() {
                Some(parent) if parent.as_os_str().is_empty() => place = Path::new("."),
                Some(parent) => place = parent,
                None => return Err(e),
            },
            other => return other,
        }
    }
}
