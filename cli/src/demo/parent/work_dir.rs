//! The directory that the demo works in.

use highwater::disk::{Disk, EntryKind};
use highwater_log::outcome::{Failure, Result};
use std::io;
use std::path::{Path, PathBuf};

/// A directory, and whether it is removed at the end.
#[derive(Debug)]
pub(crate) enum WorkDir {
    /// Made by us.
    Temporary(PathBuf),
    /// Named by the user.
    Given(PathBuf),
}

impl WorkDir {
    /// The directory `given`, which must be empty if it exists; without it a fresh temporary one.
    pub(crate) fn prepare(disk: &dyn Disk, given: Option<&Path>, seed: u64) -> Result<Self> {
        let temporary =
            || std::env::temp_dir().join(format!("highwater-demo-{}-{seed:x}", std::process::id()));
        let place = given.map_or_else(
            || Self::Temporary(temporary()),
            |dir| Self::Given(dir.to_owned()),
        );
        let dir = place.dir();
        disk.create_dir_all(dir)
            .map_err(|e| Failure::Io(e.to_string()))?;
        let entries = disk.list(dir).map_err(|e| Failure::Io(e.to_string()))?;
        if !entries.is_empty() {
            let what = "is not empty: the demo counts exactly and needs a directory of its own";
            return Err(Failure::Usage(format!("{} {what}", dir.display())));
        }
        Ok(place)
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        match self {
            Self::Temporary(dir) | Self::Given(dir) => dir,
        }
    }

    /// Removes the directory if it is ours.
    pub(crate) fn remove(&self, disk: &dyn Disk) -> Result<()> {
        match self {
            Self::Temporary(dir) => {
                remove(disk, dir).map_err(|e| Failure::io("cannot remove", dir, &e))
            }
            Self::Given(_) => Ok(()),
        }
    }
}

fn remove(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    for entry in disk.list(dir)? {
        let path = dir.join(&entry.name);
        match entry.kind {
            EntryKind::Directory => remove(disk, &path)?,
            EntryKind::File | EntryKind::Other => disk.remove_file(&path)?,
        }
    }
    std::fs::remove_dir(dir)
}
