//! Looking at a disk from outside, and damaging it: nothing here is a call or counts as one.

use super::disk::SimDisk;
use super::tree::NameOp;
use std::ops::Range;
use std::path::{Path, PathBuf};

impl SimDisk {
    /// The paths of all files in the page cache, sorted, from the root.
    ///
    /// ```
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// let file = sim.create_new(Path::new("/a"))?;
    /// assert_eq!(sim.files(), [Path::new("/a")]);
    /// assert!(sim.durable_files().is_empty(), "the directory was not synced");
    /// # file.sync()?;
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let state = self.machine.state();
        state.file_paths(&state.tree.names)
    }

    /// The paths of all files whose names are durable, sorted, from the root.
    ///
    /// ```
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.create_new(Path::new("/a"))?;
    /// assert!(sim.durable_files().is_empty());
    /// sim.sync_dir(Path::new("/"))?;
    /// assert_eq!(sim.durable_files(), [Path::new("/a")]);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn durable_files(&self) -> Vec<PathBuf> {
        let state = self.machine.state();
        state.file_paths(&state.tree.durable)
    }

    /// The content in the page cache of the file `path`.
    ///
    /// ```
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// let file = sim.create_new(Path::new("/a"))?;
    /// file.write_all_at(b"hello", 0)?;
    /// assert_eq!(sim.read_file("/a"), Some(b"hello".to_vec()));
    /// assert_eq!(sim.read_file("/b"), None);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn read_file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.machine.state();
        let inode = state.walk(path.as_ref()).ok()?;
        Some(state.file(inode).ok()?.content())
    }

    /// What is left of the file `path` if the power goes off now and nothing un-synced survives;
    /// `None` if its name is not durable.
    ///
    /// ```
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// let file = sim.create_new(Path::new("/a"))?;
    /// file.write_all_at(b"hello", 0)?;
    /// sim.sync_dir(Path::new("/"))?;
    /// assert_eq!(sim.durable_file("/a"), Some(vec![]), "the name alone");
    /// file.sync()?;
    /// assert_eq!(sim.durable_file("/a"), Some(b"hello".to_vec()));
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn durable_file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.machine.state();
        let inode = state.walk_durable(path.as_ref())?;
        Some(state.file(inode).ok()?.durable_content().to_vec())
    }

    /// Changes the content of the file `path`, as decay, a stray write or an operator would:
    /// durably.
    ///
    /// ```
    /// use highwater_disk::SimDisk;
    /// let sim = SimDisk::new();
    /// sim.put_file("/a", "hello");
    /// sim.edit("/a", |bytes| bytes[0] ^= 1); // one bit rots
    /// assert_eq!(sim.read_file("/a"), Some(b"iello".to_vec()));
    /// ```
    ///
    /// # Panics
    /// If there is no such file, or it is open or mapped.
    pub fn edit(&self, path: impl AsRef<Path>, change: impl FnOnce(&mut Vec<u8>)) {
        let path = path.as_ref();
        let mut state = self.machine.state();
        let inode = state.walk(path).expect("the file to edit exists");
        let file = state.file_mut(inode).expect("the path names a file");
        assert_eq!(file.handles, 0, "{} is open or mapped", path.display());
        let mut content = file.content();
        change(&mut content);
        file.replace(content, self.machine.copying());
    }

    /// From now on the device cannot read the sectors of `range` (bytes) of the file `path`, also
    /// after a restart. Each call that reads a page with such a sector fails with EIO: a read, and
    /// [`ReadMap::populate`](crate::ReadMap::populate). Writing a whole sector repairs it.
    ///
    /// ```
    /// use highwater_disk::{Access, Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.put_file("/a", vec![7; 8192]);
    /// sim.break_reads("/a", 4096..4097);
    /// let file = sim.open(Path::new("/a"), Access::Read)?;
    /// let mut page = [0; 4096];
    /// file.read_exact_at(&mut page, 0)?;
    /// assert!(file.read_exact_at(&mut page, 4096).is_err());
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// If there is no such file.
    pub fn break_reads(&self, path: impl AsRef<Path>, range: Range<u64>) {
        let mut state = self.machine.state();
        let inode = state.walk(path.as_ref()).expect("the file to break exists");
        let file = state.file_mut(inode).expect("the path names a file");
        let offset = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(file.len());
        let range = offset(range.start)..offset(range.end);
        file.break_reads(&range);
    }

    /// The device can read the file `path` again.
    ///
    /// ```
    /// use highwater_disk::{Access, Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.put_file("/a", "hello");
    /// sim.break_reads("/a", 0..1);
    /// sim.heal_reads("/a");
    /// let file = sim.open(Path::new("/a"), Access::Read)?;
    /// file.read_exact_at(&mut [0; 5], 0)?;
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// If there is no such file.
    pub fn heal_reads(&self, path: impl AsRef<Path>) {
        let mut state = self.machine.state();
        let inode = state.walk(path.as_ref()).expect("the file to heal exists");
        let file = state.file_mut(inode).expect("the path names a file");
        file.heal_reads();
    }

    /// Puts a file there, durable in content and name, in place of one that may be there (which
    /// keeps its handles). Makes all other names of the directory durable too.
    ///
    /// ```
    /// use highwater_disk::SimDisk;
    /// let sim = SimDisk::new();
    /// sim.put_file("/settings", "x = 1");
    /// sim.cut_power_now();
    /// let rebooted = sim.restart_after_power_cut(1);
    /// assert_eq!(rebooted.read_file("/settings"), Some(b"x = 1".to_vec()));
    /// ```
    ///
    /// # Panics
    /// If the directory does not exist, or `path` is a directory.
    pub fn put_file(&self, path: impl AsRef<Path>, content: impl Into<Vec<u8>>) {
        let path = path.as_ref();
        self.delete_file(path);
        let mut state = self.machine.state();
        let (dir, name) = state.walk_parent(path).expect("the directory exists");
        let node = state.add_file(content.into());
        state.change_name(NameOp::Add { dir, name, node });
        state.tree.sync(dir);
    }

    /// Copies the content of the file `from` over `to`, durable in content and name; see
    /// [`Self::put_file`].
    ///
    /// ```
    /// use highwater_disk::SimDisk;
    /// let sim = SimDisk::new();
    /// sim.put_file("/a", "hello");
    /// sim.copy_file("/a", "/b"); // an operator restores a backup
    /// assert_eq!(sim.read_file("/b"), Some(b"hello".to_vec()));
    /// ```
    ///
    /// # Panics
    /// If there is no file `from`, or `to` cannot be put.
    pub fn copy_file(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        let content = self.read_file(from).expect("the file to copy exists");
        self.put_file(to, content);
    }

    /// Takes the name `path` away, durably, as an operator would; does nothing if it is not there.
    /// Makes all other names of the directory durable too.
    ///
    /// ```
    /// use highwater_disk::SimDisk;
    /// let sim = SimDisk::new();
    /// sim.put_file("/a", "hello");
    /// sim.delete_file("/a");
    /// assert!(sim.files().is_empty());
    /// ```
    ///
    /// # Panics
    /// If `path` is a directory.
    pub fn delete_file(&self, path: impl AsRef<Path>) {
        let mut state = self.machine.state();
        let Ok(node) = state.walk(path.as_ref()) else {
            return;
        };
        state.file(node).expect("the path names a file");
        let (dir, name) = state
            .walk_parent(path.as_ref())
            .expect("the file has a directory");
        state.change_name(NameOp::Remove { dir, name, node });
        state.tree.sync(dir);
        state.collect_garbage();
    }

    /// Takes the directory `path` and everything in it away, durably, as an operator would; does
    /// nothing if it is not there.
    ///
    /// ```
    /// use highwater_disk::{Disk, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.create_dir_all(Path::new("/log"))?;
    /// sim.put_file("/log/a", "hello");
    /// sim.delete_dir("/log");
    /// assert!(sim.files().is_empty());
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// If `path` is a file, or the root.
    pub fn delete_dir(&self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        let names: Vec<_> = {
            let state = self.machine.state();
            let Ok(dir) = state.walk_dir(path) else {
                return;
            };
            let names = state.tree.names.of(dir);
            names
                .map(|(name, node)| (path.join(name), state.expect_dir(node).is_ok()))
                .collect()
        };
        for (path, is_dir) in names {
            match is_dir {
                true => self.delete_dir(path),
                false => self.delete_file(path),
            }
        }
        let mut state = self.machine.state();
        let node = state.walk(path).expect("it was there before");
        let (dir, name) = state.walk_parent(path).expect("it is not the root");
        state.change_name(NameOp::Remove { dir, name, node });
        state.tree.sync(dir);
        state.collect_garbage();
    }
}
