//! The append maps of the simulated disk: in the page cache, or staged in memory of the process.
#![expect(
    clippy::indexing_slicing,
    reason = "ranges are checked first; a slip is a bug of the simulator"
)]

use super::calls::{cut_short, failed_sync, release, size};
use super::fault::AfterFailedSync;
use super::machine::Machine;
use super::memory::Memory;
use super::tree::Inode;
use crate::error::{Call, invalid};
use crate::{MapBacking, PAGE_SIZE};
use parking_lot::Mutex;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(super) struct SimMap {
    pub(super) machine: Arc<Machine>,
    pub(super) inode: Inode,
    pub(super) path: PathBuf,
    pub(super) memory: Arc<Memory>,
    pub(super) stores: Stores,
    /// Bytes before are shown from the file.
    pub(super) in_memory_from: AtomicU64,
}

/// Where stores through a map go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stores {
    /// Into the page cache.
    PageCache,
    /// Into memory of the process, from where a sync writes them.
    Staged,
}

impl SimMap {
    /// The write of a staged sync is under way: if the power goes off now, any of its sectors may
    /// have arrived. It covers whole pages, zeros behind the end of `range`.
    fn begin_write(&self, range: &Range<u64>) {
        let mut state = self.machine.state();
        if state.gone().is_some() {
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
            Stores::Staged => Call::WriteDirect,
        };
        if self.stores == Stores::Staged {
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
                match failed_sync(hit) {
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
                let _short_writes_go_on = cut_short(hit, len)?;
                let file = state.file_mut(self.inode)?;
                file.write(&vec![0; len], size(range.start)?)
            })
    }

    /// The memory stays: what matters is that it could go.
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
        self.stores == Stores::Staged
    }

    fn copy_lock(&self) -> Option<&Mutex<()>> {
        Some(self.memory.copy_lock())
    }
}

impl Drop for SimMap {
    fn drop(&mut self) {
        release(&self.machine, self.inode, 1);
    }
}
