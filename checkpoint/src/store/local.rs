//! Checkpoints in a directory, made durable by file and directory syncs.

use crate::format::MAX_MANIFEST_BYTES;
use crate::store::error::StoreError;
use crate::store::names::{Name, TMP_SUFFIX, is_safe};
use crate::store::{Store, StoredFile};
use highwater_disk::{Access, Disk, DiskFile, EntryKind, copy_error};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many temporary names are tried before giving up. More than one is taken only after crashes.
const TMP_TRIES: u32 = 100;

/// A directory as a [`Store`]. Making one touches nothing; [`Store::prepare`] creates the
/// directory. A relative path is resolved when the store is made: changing the working directory
/// later changes nothing.
///
/// A file appears whole or not at all. It is written and synced under a temporary name. A hard
/// link, which unlike a rename never replaces a file, gives it its own name. Then the directory is
/// synced.
#[derive(Debug, Clone)]
pub struct LocalStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Why that is not a path from the root: then every call fails.
    unresolved: Option<Arc<io::Error>>,
}

impl LocalStore {
    /// The directory `dir` of `disk`. If there is no such path (it is empty, or relative to a
    /// working directory that is gone), every call of the store fails with that error.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        let (dir, unresolved) = match disk.resolve(&dir) {
            Ok(dir) => (dir, None),
            Err(error) => (dir, Some(Arc::new(error))),
        };
        Self {
            disk,
            dir,
            unresolved,
        }
    }

    /// The directory, from the root on.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn resolved(&self) -> io::Result<&Path> {
        match &self.unresolved {
            None => Ok(&self.dir),
            Some(error) => Err(copy_error(error)),
        }
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        if is_safe(name) {
            return Ok(self.resolved()?.join(name));
        }
        let text = format!("{name:?} is no name of a checkpoint file");
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }

    /// A new file under an unused name: a crashed writer may have left `name.0.tmp`.
    fn create_tmp(&self, name: &str) -> io::Result<(PathBuf, Arc<dyn DiskFile>)> {
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for i in 0..TMP_TRIES {
            let path = self.path(&format!("{name}.{i}{TMP_SUFFIX}"))?;
            match self.disk.create_new(&path) {
                Ok(file) => return Ok((path, file)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => last = e,
                Err(e) => return Err(e),
            }
        }
        let text = format!("{TMP_TRIES} temporary files of {name} are left over ({last})");
        // Not `AlreadyExists`: that would say that `name` itself is taken.
        Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
    }

    /// Writes a manifest again, with the same bytes. The directory sync of its name may have failed
    /// in an earlier process. Then only the page cache has the name, and no later sync would save
    /// it. On a full disk this must wait: reading comes first.
    fn reaffirm(&self, file: &StoredFile) -> io::Result<()> {
        let bytes = self.get(&file.name, MAX_MANIFEST_BYTES);
        let written = bytes.and_then(|bytes| self.write_tmp(&file.name, &bytes));
        let renamed = written.and_then(|tmp| {
            let renamed = self.disk.rename(&tmp, &self.path(&file.name)?);
            renamed.inspect_err(|_| self.remove_tmp(&tmp))
        });
        match renamed {
            Err(error) if can_wait(error.kind()) => {
                tracing::warn!(file = file.name, %error, "manifest not written again");
                Ok(())
            }
            result => result,
        }
    }

    /// A synced temporary file with `bytes`, to become `name`.
    fn write_tmp(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let (tmp, file) = self.create_tmp(name)?;
        let written = file.write_all_at(bytes, 0).and_then(|()| file.sync());
        drop(file);
        written
            .map(|()| tmp.clone())
            .inspect_err(|_| self.remove_tmp(&tmp))
    }

    /// A temporary file that is left over costs space only; the next open removes it.
    fn remove_tmp(&self, tmp: &Path) {
        if let Err(error) = self.disk.remove_file(tmp) {
            tracing::debug!(file = %tmp.display(), %error, "temporary file not removed");
        }
    }
}

impl Store for LocalStore {
    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn prepare(&self) -> io::Result<()> {
        self.disk.create_dir_all(self.resolved()?)?;
        for file in self.list()? {
            if matches!(Name::parse(&file.name), Name::Manifest { .. }) {
                self.reaffirm(&file)?;
            }
        }
        self.disk.sync_dir(self.resolved()?)
    }

    fn remake(&self) -> io::Result<()> {
        match self.disk.list(self.resolved()?) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let dir = self.dir.display();
                tracing::warn!(%dir, "the checkpoint directory is gone: it is created again");
                self.disk.create_dir_all(self.resolved()?)
            }
            listed => listed.map(drop),
        }
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(name).map_err(StoreError::determinate)?;
        // Nothing has the name before the link.
        let tmp = self
            .write_tmp(name, bytes)
            .map_err(StoreError::determinate)?;
        let linked = self.disk.hard_link(&tmp, &path);
        self.remove_tmp(&tmp);
        linked?;
        Ok(self.disk.sync_dir(self.resolved()?)?)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.disk.open(&self.path(name)?, Access::Read)?.len()
    }

    fn get_range(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let file = self.disk.open(&self.path(name)?, Access::Read)?;
        let file_len = file.len()?;
        if offset.checked_add(len).is_none_or(|end| end > file_len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn list(&self) -> io::Result<Vec<StoredFile>> {
        let entries = self.disk.list(self.resolved()?)?;
        let files = entries.into_iter().filter(|e| e.kind == EntryKind::File);
        let named = files.map(|e| StoredFile {
            name: e.name.to_string_lossy().into_owned(),
            size: e.len,
        });
        Ok(named.collect())
    }

    fn delete(&self, names: &[String]) -> Result<(), StoreError> {
        let paths = names.iter().map(|name| self.path(name));
        let paths = paths.collect::<io::Result<Vec<_>>>();
        for path in paths.map_err(StoreError::determinate)? {
            match self.disk.remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
                _ => {}
            }
        }
        // Even if all were gone already: an earlier attempt may have failed just before this sync.
        Ok(self.disk.sync_dir(self.resolved()?)?)
    }
}

/// A damaged (huge) or vanished manifest is not this function's business; a full disk is no reason
/// not to read it.
fn can_wait(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as K;
    matches!(
        kind,
        K::StorageFull | K::QuotaExceeded | K::FileTooLarge | K::NotFound
    )
}
