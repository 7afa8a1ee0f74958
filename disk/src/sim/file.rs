//! [`DiskFile`] on a simulated machine.

use super::append_map::{self, Stores};
use super::fault::{AfterFailedSync, Hit};
use super::inode::size;
use super::machine::{Machine, State};
use super::tree::Inode;
use crate::call::Call;
use crate::disk::{Access, DiskFile};
use crate::error::{DiskError, errno, invalid};
use crate::map::append::AppendMap;
use crate::map::read::{ReadBacking, ReadMap};
use rustix::io::Errno;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct SimFile {
    machine: Arc<Machine>,
    inode: Inode,
    path: PathBuf,
    access: Access,
}

impl SimFile {
    /// A handle that the caller has counted.
    pub(super) fn shared(
        machine: &Arc<Machine>,
        inode: Inode,
        path: &Path,
        access: Access,
    ) -> Arc<dyn DiskFile> {
        Arc::new(Self {
            machine: Arc::clone(machine),
            inode,
            path: path.to_path_buf(),
            access,
        })
    }

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
        let (machine, inode, path) = (&self.machine, self.inode, &self.path);
        append_map::map(machine, state, inode, path, self.access, start, stores)
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
                let mut buf = match Hit::transferred(hit, buf.len()).map_err(fault)? {
                    Some(len) => buf.split_at_mut(len).0,
                    None => buf,
                };
                let file = state.file(self.inode)?;
                // As Linux does: the bytes before a bad page are read, and the next call fails.
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
                let mut buf = match Hit::transferred(hit, buf.len())? {
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
                match hit.and_then(Hit::failed_sync) {
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

    fn map_append_direct(&self, start: u64) -> io::Result<AppendMap> {
        self.call(Call::MapAppendDirect, |state| {
            self.map(state, start, Stores::Direct)
        })
    }

    /// One call, so that tests that cut the power after each one need not go through every page.
    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let zeros = vec![0; size(range.end.saturating_sub(range.start))?];
        self.write_all_at(&zeros, range.start)
    }

    fn write_zeros_direct(&self, range: Range<u64>) -> io::Result<()> {
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

impl Drop for SimFile {
    fn drop(&mut self) {
        self.machine.release(self.inode, 0);
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
