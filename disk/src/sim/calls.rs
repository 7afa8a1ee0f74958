//! [`Disk`] on a simulated machine.

use super::disk::SimDisk;
use super::fault::{AfterFailedSync, Hit};
use super::file::SimFile;
use super::machine::{Machine, Node, State, normal};
use super::tree::{Inode, NameOp};
use crate::call::Call;
use crate::disk::{Access, DirLock, Disk, DiskFile, Entry, EntryKind};
use crate::error::errno;
use crate::file_system::FileSystem;
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Disk for SimDisk {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        match path.as_os_str().is_empty() {
            true => Err(errno(Errno::INVAL)),
            false => Ok(Path::new("/").join(path)),
        }
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.machine
            .call(Call::CreateDir, dir, |state| state.create_dir_all(dir))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.machine.call(Call::List, dir, |state| {
            let inode = state.walk_dir(dir)?;
            let entries = state.tree.names.of(inode).filter_map(|(name, inode)| {
                let (kind, len, modified_ms) = match state.node(inode)? {
                    Node::Dir => (EntryKind::Directory, 0, 0),
                    Node::File(file) => (EntryKind::File, file.len() as u64, file.modified_ms),
                };
                Some(Entry {
                    name: name.to_os_string(),
                    kind,
                    len,
                    modified_ms,
                })
            });
            Ok(entries.collect())
        })
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.machine.call(Call::Create, path, |state| {
            let (dir, name) = state.walk_parent(path)?;
            if state.tree.names.get(dir, &name).is_some() {
                return Err(errno(Errno::EXIST));
            }
            let node = state.add_file(Vec::new());
            state.change_name(NameOp::Add { dir, name, node });
            state.file_mut(node)?.handles += 1;
            Ok(node)
        })?;
        Ok(SimFile::shared(
            &self.machine,
            inode,
            path,
            Access::ReadWrite,
        ))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.machine.call(Call::Open, path, |state| {
            let inode = state.walk(path)?;
            state.file_mut(inode)?.handles += 1;
            Ok(inode)
        })?;
        Ok(SimFile::shared(&self.machine, inode, path, access))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.machine
            .pair_call(Call::Rename, from, Some(to), |state| {
                rename(state, from, to)
            })
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.machine
            .pair_call(Call::Rename, from, Some(to), |state| {
                state.walk(from)?;
                let (dir, name) = state.walk_parent(to)?;
                if state.tree.names.get(dir, &name).is_some() {
                    return Err(errno(Errno::EXIST));
                }
                rename(state, from, to)
            })
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.machine.pair_call(Call::Link, from, Some(to), |state| {
            let node = state.walk(from)?;
            let (dir, name) = state.walk_parent(to)?;
            if state.tree.names.get(dir, &name).is_some() {
                return Err(errno(Errno::EXIST));
            }
            state.file(node).map_err(|_| errno(Errno::PERM))?;
            state.change_name(NameOp::Add { dir, name, node });
            Ok(())
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.machine.call(Call::Remove, path, |state| {
            let node = state.walk(path)?;
            state.file(node)?;
            let (dir, name) = state.walk_parent(path)?;
            state.change_name(NameOp::Remove { dir, name, node });
            Ok(())
        })
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.machine.call(Call::Remove, dir, |state| {
            let node = state.walk_dir(dir)?;
            if state.tree.names.of(node).next().is_some() {
                return Err(errno(Errno::NOTEMPTY));
            }
            let (parent, name) = state.walk_parent(dir)?;
            state.change_name(NameOp::Remove {
                dir: parent,
                name,
                node,
            });
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.machine
            .faulty_call(Call::SyncDir, dir, None, |state, hit| {
                let inode = state.walk_dir(dir)?;
                match hit.and_then(Hit::failed_sync) {
                    None => {
                        state.tree.sync(inode);
                        state.collect_garbage();
                        Ok(())
                    }
                    Some((error, AfterFailedSync::Dirty)) => Err(error),
                    Some((error, AfterFailedSync::Clean)) => {
                        state.tree.forget(inode);
                        Err(error)
                    }
                }
            })
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<DirLock> {
        let inode = self.machine.call(Call::Lock, dir, |state| {
            let inode = state.walk_dir(dir)?;
            if !state.locks.insert(inode) {
                return Err(errno(Errno::WOULDBLOCK));
            }
            Ok(inode)
        })?;
        let held = SimLock {
            machine: Arc::clone(&self.machine),
            inode,
        };
        Ok(DirLock::new(dir.to_path_buf(), Box::new(held)))
    }

    fn file_system(&self, dir: &Path) -> io::Result<FileSystem> {
        self.machine.call(Call::FileSystem, dir, |state| {
            state.walk_dir(dir)?;
            Ok(state.file_system)
        })
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<Option<u64>> {
        self.machine.call(Call::FileSystem, dir, |state| {
            state.walk_dir(dir)?;
            Ok(state.capacity.map(|_| state.free_bytes()))
        })
    }
}

/// Checks in the order of Linux, so that the same mistake gives the same error.
fn rename(state: &mut State, from: &Path, to: &Path) -> io::Result<()> {
    let (from_dir, from_name) = state.walk_parent(from)?;
    let (to_dir, to_name) = state.walk_parent(to)?;
    let node = state.child(from_dir, &from_name)?;
    let (old, new) = (normal(from), normal(to));
    if new.len() > old.len() && new.starts_with(&old) {
        return Err(errno(Errno::INVAL)); // into itself
    }
    if old.len() > new.len() && old.starts_with(&new) {
        return Err(errno(Errno::NOTEMPTY)); // over its own parent
    }
    if let Some(replaced) = state.tree.names.get(to_dir, &to_name) {
        if replaced == node {
            return Ok(()); // POSIX: two names of one file, nothing happens
        }
        match (state.node(node), state.node(replaced)) {
            (Some(Node::File(_)), Some(Node::Dir)) => return Err(errno(Errno::ISDIR)),
            (Some(Node::Dir), Some(Node::File(_))) => return Err(errno(Errno::NOTDIR)),
            (_, Some(Node::Dir)) if state.tree.names.of(replaced).next().is_some() => {
                return Err(errno(Errno::NOTEMPTY));
            }
            _ => {}
        }
    }
    let (from, to) = ((from_dir, from_name), (to_dir, to_name));
    state.change_name(NameOp::Rename { from, to, node });
    Ok(())
}

#[derive(Debug)]
struct SimLock {
    machine: Arc<Machine>,
    inode: Inode,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.machine.state().locks.remove(&self.inode);
    }
}
