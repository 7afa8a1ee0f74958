//! The operating system's disk, less the syncs of directories: a fault of a program that the rig
//! can be asked to look for.

use highwater_wal::disk::{Access, DirLock, Disk, DiskFile, Entry, FileSystem, OsDisk};
use std::io::Result;
use std::path::Path;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct NoDirectorySync(pub(crate) OsDisk);

impl Disk for NoDirectorySync {
    fn create_dir_all(&self, dir: &Path) -> Result<()> {
        self.0.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> Result<Vec<Entry>> {
        self.0.list(dir)
    }

    fn create_new(&self, path: &Path) -> Result<Arc<dyn DiskFile>> {
        self.0.create_new(path)
    }

    fn open(&self, path: &Path, access: Access) -> Result<Arc<dyn DiskFile>> {
        self.0.open(path, access)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.0.rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        self.0.hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        self.0.remove_file(path)
    }

    fn sync_dir(&self, _dir: &Path) -> Result<()> {
        Ok(())
    }

    fn lock_dir(&self, dir: &Path) -> Result<DirLock> {
        self.0.lock_dir(dir)
    }

    fn file_system(&self, dir: &Path) -> Result<FileSystem> {
        self.0.file_system(dir)
    }
}
