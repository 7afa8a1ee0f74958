//! The append maps of the simulated disk: in the page cache, or in memory of the process.
#![expect(
    clippy::indexing_slicing,
    reason = "ranges are checked first; a slip is a bug of the simulator"
)]

use super::fault::{AfterFailedSync, Hit};
use super::inode::size;
use super::machine::{Machine, State};
use super::memory::Memory;
use super::tree::Inode;
use crate::call::Call;
use crate::disk::Access;
use crate::error::{errno, invalid};
use crate::map::append::AppendMap;
use crate::map::backing::MapBacking;
use crate::units::PAGE_SIZE;
use parking_lot::Mutex;
use rustix::io::Errno;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
struct SimMap {
    machine: Arc<Machine>,
    inode: Inode,
    path: PathBuf,
    memory: Arc<Memory>,
    stores: Stores,
    /// The map shows bytes before from the file.
    in_memory_from: AtomicU64,
}

/// Where stores through a map go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stores {
    /// Into the page cache.
    PageCache,
    /// Into memory of the process, from where a sync writes them.
    Direct,
}

/// What the memory of a direct map holds before the first append.
const STALE: u8 = 0xd5;

/// Maps the file `inode` for appending.
pub(super) fn map(
    machine: &Arc<Machine>,
    state: &mut State,
    inode: Inode,
    path: &Path,
    access: Access,
    start: u64,
    stores: Stores,
) -> io::Result<AppendMap> {
    let file = state.file_mut(inode)?;
    let len = file.len() as u64;
    AppendMap::check_shape(start, len)?;
    if stores == Stores::Direct && !len.is_multiple_of(PAGE_SIZE) {
        return Err(invalid(
            "only a file of whole pages can be written past the page cache",
        ));
    }
    if access == Access::Read {
        return Err(errno(Errno::ACCESS));
    }
    if file.maps > 0 {
        return Err(errno(Errno::BUSY));
    }
    file.maps += 1;
    file.handles += 1;
    let memory = match stores {
        Stores::PageCache => Arc::clone(file.memory()),
        Stores::Direct => {
            let copying = Arc::clone(machine.copying());
            let mut content = file.content();
            // What an earlier map left in the memory. No reader must see it, least of all the
            // medium.
            content
                .iter_mut()
                .skip(size(start)?)
                .for_each(|byte| *byte = STALE);
            Arc::new(Memory::new(&content, 0, copying))
        }
    };
    let base = memory.base();
    let backing = SimMap {
        machine: Arc::clone(machine),
        inode,
        path: path.to_path_buf(),
        memory,
        stores,
        in_memory_from: AtomicU64::new(match stores {
            Stores::PageCache => u64::MAX,
            Stores::Direct => start / PAGE_SIZE * PAGE_SIZE,
        }),
    };
    #[expect(unsafe_code, reason = "the memory of the file is shared with the map")]
    // SAFETY: `backing` keeps the memory, which has at least `len` bytes and never moves. It is
    // the only map of the file. Calls of the disk touch the memory only with the copy lock
    // held, under which regions are filled.
    Ok(unsafe { AppendMap::new(base, len, start, Arc::new(backing)) })
}

impl SimMap {
    /// The write of a direct sync is under way: if the power goes off now, any of its sectors may
    /// have arrived. It covers whole pages, with zeros after the end of `range`.
    fn begin_write(&self, range: &Range<u64>) {
        let mut state = self.machine.state();
        if state.crash().is_some() {
            return;
        }
        let Ok(file) = state.file_mut(self.inode) else {
            return;
        };
        let page = |at: u64| at / PAGE_SIZE * PAGE_SIZE;
        let offset = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let (start, end) = (offset(page(range.start)), offset(range.end));
        if start >= end || end > file.len() {
            return;
        }
        let mut bytes = self.memory.read(|all| all[start..end].to_vec());
        bytes.resize(bytes.len().next_multiple_of(offset(PAGE_SIZE)), 0);
        // It cannot fail: the pages are inside the file.
        let _ = file.write(&bytes, start);
    }
}

impl MapBacking for SimMap {
    fn sync(&self, range: Range<u64>) -> io::Result<()> {
        let call = match self.stores {
            Stores::PageCache => Call::SyncMap,
            Stores::Direct => Call::WriteDirect,
        };
        if self.stores == Stores::Direct {
            self.begin_write(&range);
        }
        self.machine
            .faulty_call(call, &self.path, None, |state, hit| {
                let time_ms = state.time_ms;
                let file = state.file_mut(self.inode)?;
                let offset = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
                let range = offset(range.start)..offset(range.end);
                if range.start > range.end || range.end > file.len() {
                    return Err(invalid("the range to sync lies outside the map"));
                }
                match hit.and_then(Hit::failed_sync) {
                    None => {
                        file.sync_pages(&range);
                        file.modified_ms = time_ms;
                        Ok(())
                    }
                    Some((error, after)) => {
                        if after == AfterFailedSync::Clean {
                            file.forget_pages(&range);
                        }
                        Err(error)
                    }
                }
            })
    }

    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        if self.stores == Stores::PageCache {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.machine
            .faulty_call(Call::Write, &self.path, None, |state, hit| {
                let len = size(range.end.saturating_sub(range.start))?;
                let _short_writes_go_on = Hit::transferred(hit, len)?;
                let file = state.file_mut(self.inode)?;
                file.write(&vec![0; len], size(range.start)?)
            })
    }

    /// The memory stays: the simulator only checks that it could go.
    fn give_back(&self, range: Range<u64>) -> io::Result<()> {
        if self.stores == Stores::PageCache {
            return Ok(());
        }
        self.machine.call(Call::GiveBack, &self.path, |state| {
            let file = state.file(self.inode)?;
            let range = size(range.start)?..size(range.end)?;
            let mut in_file = vec![0; range.len()];
            let read = file.read(&mut in_file, range.start);
            let same = self.memory.read(|all| in_file == all[range.clone()]);
            assert!(
                read == range.len() && same,
                "the memory of {range:?} of {} was given back, and its file does not hold the same",
                self.path.display()
            );
            self.in_memory_from
                .fetch_max(range.end as u64, Ordering::AcqRel);
            Ok(())
        })
    }

    fn populate(&self, range: Range<u64>) -> io::Result<()> {
        let end = range.end.min(self.in_memory_from());
        if range.start >= end {
            return Ok(());
        }
        self.machine
            .populate(&self.path, self.inode, &(range.start..end))
    }

    fn in_memory_from(&self) -> u64 {
        self.in_memory_from.load(Ordering::Acquire)
    }

    fn copies_memory(&self) -> bool {
        self.stores == Stores::Direct
    }

    fn copy_lock(&self) -> Option<&Mutex<()>> {
        Some(self.memory.copy_lock())
    }
}

impl Drop for SimMap {
    fn drop(&mut self) {
        self.machine.release(self.inode, 1);
    }
}
