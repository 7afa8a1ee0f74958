//! The file that a command writes: a new one, which appears when it is whole.

use highwater::disk::{Access, Disk, DiskFile, OsDisk};
use highwater_log::outcome::{Failure, Result};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file under a temporary name; it is removed if it is not published.
pub(super) struct NewFile {
    disk: OsDisk,
    file: Arc<dyn DiskFile>,
    /// Where it is.
    partial: PathBuf,
    /// Where it will be.
    path: PathBuf,
    published: bool,
}

impl NewFile {
    /// Refuses a path that is taken.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let disk = OsDisk::new();
        let path = disk
            .resolve(path)
            .map_err(|e| Failure::io("cannot find", path, &e))?;
        if disk.open(&path, Access::Read).is_ok() {
            return Err(taken(&path));
        }
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = disk.create_new(&partial).map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists => Failure::Usage(format!(
                "{} is there: another command writes it, or was interrupted; remove it then",
                partial.display()
            )),
            _ => Failure::io("cannot write", &partial, &e),
        })?;
        Ok(Self {
            disk,
            file,
            partial,
            path,
            published: false,
        })
    }

    /// Writes the file from its beginning.
    pub(super) fn writer(&self) -> impl Write + Send + use<> {
        Writer {
            file: Arc::clone(&self.file),
            at: 0,
        }
    }

    /// Makes it durable, and gives it its name.
    pub(super) fn publish(mut self) -> Result<()> {
        let failed = |e: io::Error| Failure::io("cannot write", &self.path, &e);
        self.file.sync().map_err(failed)?;
        let renamed = self.disk.rename_new(&self.partial, &self.path);
        match renamed {
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                let linked = self.disk.hard_link(&self.partial, &self.path);
                linked.map_err(|e| self.not_named(&e))?;
                self.disk.remove_file(&self.partial).map_err(failed)?;
            }
            renamed => renamed.map_err(|e| self.not_named(&e))?,
        }
        if let Some(dir) = self.path.parent() {
            self.disk.sync_dir(dir).map_err(failed)?;
        }
        self.published = true;
        Ok(())
    }

    fn not_named(&self, error: &io::Error) -> Failure {
        match error.kind() {
            ErrorKind::AlreadyExists => taken(&self.path),
            _ => Failure::io("cannot write", &self.path, error),
        }
    }
}

fn taken(path: &Path) -> Failure {
    Failure::Usage(format!("--output {}: it exists", path.display()))
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.published {
            // It costs space only; the next command of that name says that it is there.
            let _ = self.disk.remove_file(&self.partial);
        }
    }
}

/// Writes a file, one piece after the other.
struct Writer {
    file: Arc<dyn DiskFile>,
    at: u64,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
