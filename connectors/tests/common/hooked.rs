//! A disk on which something happens right before a file is opened or read: what another process
//! would do then.

use highwater_engine::wal::disk::{
    Access, AppendMap, DirLock, Disk, DiskFile, Entry, ReadMap, SimDisk,
};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// When a hook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    BeforeOpen,
    BeforeRead,
}

type Hook = Box<dyn FnMut(&SimDisk, Moment, &Path) + Send>;

#[derive(Clone)]
pub(crate) struct Hooked {
    disk: SimDisk,
    hook: Arc<Mutex<Hook>>,
}

impl Hooked {
    pub(crate) fn new(
        disk: &SimDisk,
        hook: impl FnMut(&SimDisk, Moment, &Path) + Send + 'static,
    ) -> Self {
        Self {
            disk: disk.clone(),
            hook: Arc::new(Mutex::new(Box::new(hook))),
        }
    }

    fn call(&self, moment: Moment, path: &Path) {
        self.hook.lock().unwrap()(&self.disk, moment, path);
    }
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.disk.fmt(f)
    }
}

impl Disk for Hooked {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.disk.resolve(path)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(dir)
    }
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create_new(path)
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        self.call(Moment::BeforeOpen, path);
        let file = self.disk.open(path, access)?;
        Ok(Arc::new(HookedFile {
            file,
            disk: self.clone(),
        }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.hard_link(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn lock_dir(&self, dir: &Path) -> io::Result<DirLock> {
        self.disk.lock_dir(dir)
    }
}

#[derive(Debug)]
struct HookedFile {
    file: Arc<dyn DiskFile>,
    disk: Hooked,
}

impl DiskFile for HookedFile {
    fn path(&self) -> &Path {
        self.file.path()
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.call(Moment::BeforeRead, self.file.path());
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(buf, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
    fn map_append(&self, start: u64) -> io::Result<AppendMap> {
        self.file.map_append(start)
    }
    fn map_read(&self) -> io::Result<ReadMap> {
        self.file.map_read()
    }
}
