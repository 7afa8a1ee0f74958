//! The calls: [`Disk`] and [`DiskFile`] on a simulated machine.

use super::SimDisk;
use super::fault::{AfterFailedSync, FaultKind, Hit};
use super::machine::{Machine, Node, State, normal};
use super::map::{SimMap, Stores};
use super::memory::Memory;
use super::tree::{Inode, NameOp};
use crate::error::{Call, errno, invalid};
use crate::{
    Access, AppendMap, DirLock, Disk, DiskError, DiskFile, Entry, EntryKind, FileSystem, LockGuard,
    PAGE_SIZE, ReadBacking, ReadMap,
};
use rustix::io::Errno;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// What stands in the memory of a staged map before something is appended.
const STALE: u8 = 0xd5;

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
        Ok(self.handle(inode, path, Access::ReadWrite))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.machine.call(Call::Open, path, |state| {
            let inode = state.walk(path)?;
            state.file_mut(inode)?.handles += 1;
            Ok(inode)
        })?;
        Ok(self.handle(inode, path, access))
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

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.machine
            .faulty_call(Call::SyncDir, dir, None, |state, hit| {
                let inode = state.walk_dir(dir)?;
                match failed_sync(hit) {
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
}

impl SimDisk {
    /// The caller has counted the handle.
    fn handle(&self, inode: Inode, path: &Path, access: Access) -> Arc<dyn DiskFile> {
        let machine = Arc::clone(&self.machine);
        Arc::new(SimFile {
            machine,
            inode,
            path: path.to_path_buf(),
            access,
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

/// What a sync that is made to fail returns and leaves behind.
pub(super) fn failed_sync(hit: Option<Hit>) -> Option<(io::Error, AfterFailedSync)> {
    let hit = hit?;
    Some((hit.kind.error()?, hit.after_sync))
}

#[derive(Debug)]
struct SimLock {
    machine: Arc<Machine>,
    inode: Inode,
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.machine.state().locks.remove(&self.inode);
    }
}

#[derive(Debug)]
struct SimFile {
    machine: Arc<Machine>,
    inode: Inode,
    path: PathBuf,
    access: Access,
}

impl SimFile {
    fn call<R>(&self, call: Call, run: impl FnOnce(&mut State) -> io::Result<R>) -> io::Result<R> {
        self.machine.call(call, &self.path, run)
    }

    fn resize(&self, state: &mut State, len: u64) -> io::Result<()> {
        if self.access == Access::Read {
            return Err(errno(Errno::INVAL));
        }
        let old = state.file(self.inode)?.len() as u64;
        if len.saturating_sub(old) > state.free_bytes() {
            return Err(errno(Errno::NOSPC));
        }
        let time_ms = state.time_ms;
        let file = state.file_mut(self.inode)?;
        file.resize(size(len)?)?;
        file.modified_ms = time_ms;
        Ok(())
    }

    fn map(&self, state: &mut State, start: u64, stores: Stores) -> io::Result<AppendMap> {
        let file = state.file_mut(self.inode)?;
        let len = file.len() as u64;
        AppendMap::check_shape(start, len)?;
        if stores == Stores::Staged && !len.is_multiple_of(PAGE_SIZE) {
            return Err(invalid(
                "only a file of whole pages can be written past the page cache",
            ));
        }
        if self.access == Access::Read {
            return Err(errno(Errno::ACCESS));
        }
        if file.maps > 0 {
            return Err(errno(Errno::BUSY));
        }
        file.maps += 1;
        file.handles += 1;
        let memory = match stores {
            Stores::PageCache => Arc::clone(file.memory()),
            Stores::Staged => {
                let copying = Arc::clone(self.machine.copying());
                let mut content = file.content();
                // What an earlier map left in the memory. Nobody must see it, least of all the
                // medium.
                content
                    .iter_mut()
                    .skip(size(start)?)
                    .for_each(|byte| *byte = STALE);
                Arc::new(Memory::new(&content, 0, copying))
            }
        };
        let base = memory.base();
        let (machine, path) = (Arc::clone(&self.machine), self.path.clone());
        let backing = SimMap {
            machine,
            inode: self.inode,
            path,
            memory,
            stores,
            in_memory_from: AtomicU64::new(match stores {
                Stores::PageCache => u64::MAX,
                Stores::Staged => start / PAGE_SIZE * PAGE_SIZE,
            }),
        };
        #[expect(unsafe_code, reason = "the memory of the file is shared with the map")]
        // SAFETY: `backing` keeps the memory, which has at least `len` bytes and never moves. It is
        // the only map of the file. Calls of the disk touch the memory only with the copy lock
        // held, under which regions are filled.
        Ok(unsafe { AppendMap::new(base, len, start, Arc::new(backing)) })
    }
}

impl DiskFile for SimFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> io::Result<u64> {
        self.call(Call::Len, |state| Ok(state.file(self.inode)?.len() as u64))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.machine
            .faulty_call(Call::Read, &self.path, None, |state, hit| {
                let fault = |cause| DiskError::wrap_at(Call::Read, &self.path, offset, cause);
                let mut buf = match cut_short(hit, buf.len()).map_err(fault)? {
                    Some(len) => buf.split_at_mut(len).0,
                    None => buf,
                };
                let file = state.file(self.inode)?;
                // As Linux does: what stands before a bad page is read, and the next call fails.
                let end = offset.saturating_add(buf.len() as u64);
                if let Some(bad) = file.first_unreadable(&(offset..end)) {
                    if bad <= offset {
                        let cause = errno(Errno::IO);
                        return Err(DiskError::wrap_at(Call::Read, &self.path, bad, cause));
                    }
                    buf = buf.split_at_mut(size(bad - offset)?).0;
                }
                Ok(file.read(buf, usize::try_from(offset).unwrap_or(usize::MAX)))
            })
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.machine
            .faulty_call(Call::Write, &self.path, None, |state, hit| {
                let mut buf = match cut_short(hit, buf.len())? {
                    Some(len) => buf.split_at(len).0,
                    None => buf,
                };
                if self.access == Access::Read {
                    return Err(errno(Errno::BADF));
                }
                if buf.is_empty() {
                    return Ok(0);
                }
                let len = state.file(self.inode)?.len() as u64;
                let room = len.saturating_add(state.free_bytes());
                let fits = usize::try_from(room.saturating_sub(offset)).unwrap_or(usize::MAX);
                if fits == 0 {
                    return Err(errno(Errno::NOSPC));
                }
                buf = buf.split_at(fits.min(buf.len())).0;
                let time_ms = state.time_ms;
                let file = state.file_mut(self.inode)?;
                file.write(buf, size(offset)?)?;
                file.modified_ms = time_ms;
                Ok(buf.len())
            })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call(Call::SetLen, |state| self.resize(state, len))
    }

    /// Every byte of a file takes space here, so that longer is allocated.
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.call(Call::Allocate, |state| {
            if self.access == Access::Read {
                return Err(errno(Errno::BADF));
            }
            if len == 0 {
                return Err(errno(Errno::INVAL));
            }
            let old = state.file(self.inode)?.len() as u64;
            self.resize(state, len.max(old))
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.machine
            .faulty_call(Call::Sync, &self.path, None, |state, hit| {
                let file = state.file_mut(self.inode)?;
                match failed_sync(hit) {
                    None => {
                        file.sync();
                        Ok(())
                    }
                    Some((error, after)) => {
                        if after == AfterFailedSync::Clean {
                            file.forget();
                        }
                        Err(error)
                    }
                }
            })
    }

    fn map_append(&self, start: u64) -> io::Result<AppendMap> {
        self.call(Call::MapAppend, |state| {
            self.map(state, start, Stores::PageCache)
        })
    }

    fn stage_append(&self, start: u64) -> io::Result<AppendMap> {
        self.call(Call::StageAppend, |state| {
            self.map(state, start, Stores::Staged)
        })
    }

    /// One call, so that tests that cut the power after each one need not go through every page.
    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let zeros = vec![0; size(range.end.saturating_sub(range.start))?];
        self.write_all_at(&zeros, range.start)
    }

    fn write_zeros_directly(&self, range: Range<u64>) -> io::Result<()> {
        self.write_zeros(range)
    }

    fn map_read(&self) -> io::Result<ReadMap> {
        self.call(Call::MapRead, |state| {
            let file = state.file(self.inode)?;
            if file.len() == 0 {
                return Err(invalid("an empty file cannot be mapped"));
            }
            let (machine, path) = (Arc::clone(&self.machine), self.path.clone());
            Ok(ReadMap::new(Arc::new(SimReadMap {
                machine,
                inode: self.inode,
                path,
                content: file.mapped_content(),
            })))
        })
    }
}

/// What a map of a file showed when it was made.
struct SimReadMap {
    machine: Arc<Machine>,
    inode: Inode,
    path: PathBuf,
    content: Vec<u8>,
}

impl AsRef<[u8]> for SimReadMap {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

impl ReadBacking for SimReadMap {
    fn populate(&self, range: Range<u64>) -> io::Result<()> {
        self.machine.populate(&self.path, self.inode, &range)
    }
}

/// How many of `len` bytes a call transfers that is made to fall short; the error of one that is
/// made to fail.
pub(super) fn cut_short(hit: Option<Hit>, len: usize) -> io::Result<Option<usize>> {
    match hit {
        None => Ok(None),
        Some(hit) if hit.kind == FaultKind::Short => Ok(Some((len / 2).max(1).min(len))),
        Some(hit) => hit.kind.error().map_or(Ok(None), Err),
    }
}

pub(super) fn size(bytes: u64) -> io::Result<usize> {
    const LARGEST: u64 = 1 << 32; // a file longer than the memory of the machine is a slip of the test
    if bytes > LARGEST {
        return Err(errno(Errno::FBIG));
    }
    usize::try_from(bytes).map_err(|_| errno(Errno::FBIG))
}

impl Drop for SimFile {
    fn drop(&mut self) {
        release(&self.machine, self.inode, 0);
    }
}

/// Closes a handle and, with it, `maps` maps.
pub(super) fn release(machine: &Machine, inode: Inode, maps: usize) {
    // A killed process has no files any more.
    if let Ok(file) = machine.state().file_mut(inode) {
        file.handles -= 1;
        file.maps -= maps;
    }
}
