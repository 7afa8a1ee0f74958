//! One file of the simulated disk: what the page cache holds, what the medium holds, and what the
//! kernel forgot.
#![expect(
    clippy::indexing_slicing,
    reason = "ranges are checked first; a slip is a bug of the simulator"
)]

use super::memory::Memory;
use super::rng::Rng;
use crate::error::errno;
use crate::units::{PAGE, PAGE_SIZE, SECTOR};
use parking_lot::{Mutex, MutexGuard};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// An inode. The difference between `memory` and `durable` is un-synced. It is found by comparing
/// when it matters (a sync, a power cut): stores through a map leave no other trace.
#[derive(Debug)]
pub(super) struct FileNode {
    /// The page cache: `len` bytes of content, then zeros.
    memory: Arc<Memory>,
    len: usize,
    /// What is on the medium.
    durable: Vec<u8>,
    /// Sectors whose sync failed, with their content then: the kernel marked them clean, but they
    /// are not durable.
    lies: BTreeMap<usize, Box<[u8]>>,
    /// The same for the length.
    length_lies: bool,
    /// Sectors that the device cannot read until they are written again.
    unreadable: BTreeSet<usize>,
    /// Names in the page cache.
    pub(super) links: usize,
    /// Open handles and maps.
    pub(super) handles: usize,
    /// Append maps among the handles.
    pub(super) maps: usize,
    pub(super) modified_ms: u64,
}

impl FileNode {
    /// A file whose content is on the medium already.
    pub(super) fn durable(content: Vec<u8>, copying: &Arc<Mutex<()>>) -> Self {
        let memory = Memory::new(&content, 0, Arc::clone(copying));
        Self {
            memory: Arc::new(memory),
            len: content.len(),
            durable: content,
            lies: BTreeMap::new(),
            length_lies: false,
            unreadable: BTreeSet::new(),
            links: 0,
            handles: 0,
            maps: 0,
            modified_ms: 0,
        }
    }

    /// A deep copy in the page cache of another machine, or of this one to cut it off from its
    /// maps.
    pub(super) fn fork(&self, held: &MutexGuard<'_, ()>, copying: &Arc<Mutex<()>>) -> Self {
        let mut copy = Self::durable(Vec::new(), copying);
        copy.memory = Arc::new(self.copy_memory(held, copying));
        copy.len = self.len;
        copy.durable.clone_from(&self.durable);
        copy.lies.clone_from(&self.lies);
        copy.length_lies = self.length_lies;
        copy.unreadable.clone_from(&self.unreadable);
        copy.links = self.links;
        copy.modified_ms = self.modified_ms;
        copy
    }

    fn copy_memory(&self, held: &MutexGuard<'_, ()>, copying: &Arc<Mutex<()>>) -> Memory {
        Memory::new(&self.memory.bytes(held)[..self.len], 0, Arc::clone(copying))
    }

    /// From now on stores through the maps go nowhere.
    pub(super) fn detach_maps(&mut self, held: &MutexGuard<'_, ()>, copying: &Arc<Mutex<()>>) {
        if self.maps > 0 {
            self.memory = Arc::new(self.copy_memory(held, copying));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    pub(super) fn durable_content(&self) -> &[u8] {
        &self.durable
    }

    pub(super) fn content(&self) -> Vec<u8> {
        self.memory.read(|bytes| bytes[..self.len].to_vec())
    }

    /// As a map of it would show it: bytes that cannot be read are junk, for a reader that does not
    /// populate them first.
    pub(super) fn mapped_content(&self) -> Vec<u8> {
        const JUNK: u8 = 0xbd;
        let mut content = self.content();
        for page in content.chunks_mut(PAGE).enumerate() {
            if self.is_unreadable(page.0 * PAGE) {
                page.1.fill(JUNK);
            }
        }
        content
    }

    /// Has the device fail to read the sectors of `range`, in the page cache or not.
    pub(super) fn break_reads(&mut self, range: &Range<usize>) {
        self.unreadable
            .extend(range.start / SECTOR..range.end.div_ceil(SECTOR));
    }

    /// It can read all of them again.
    pub(super) fn heal_reads(&mut self) {
        self.unreadable.clear();
    }

    /// Whether the page at `start` cannot be read, because one of its sectors cannot.
    fn is_unreadable(&self, start: usize) -> bool {
        let sectors = start / SECTOR..(start + PAGE) / SECTOR;
        self.unreadable.range(sectors).next().is_some()
    }

    /// Where the first page of `range` starts that cannot be read.
    pub(super) fn first_unreadable(&self, range: &Range<u64>) -> Option<u64> {
        if self.unreadable.is_empty() {
            return None;
        }
        let pages = range.start / PAGE_SIZE..range.end.div_ceil(PAGE_SIZE);
        let starts = pages.map(|page| page * PAGE_SIZE);
        starts
            .take_while(|start| *start < self.len as u64)
            .find(|start| usize::try_from(*start).is_ok_and(|start| self.is_unreadable(start)))
    }

    /// Whether the content in the page cache can still be reached.
    pub(super) fn is_live(&self) -> bool {
        self.links > 0 || self.handles > 0
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: usize) -> usize {
        let count = buf.len().min(self.len.saturating_sub(offset));
        if count > 0 {
            let range = offset..offset + count;
            self.memory
                .read(|bytes| buf[..count].copy_from_slice(&bytes[range]));
        }
        count
    }

    /// Writes `bytes` at `offset`; the caller has checked the capacity of the disk.
    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) -> io::Result<()> {
        let end = offset + bytes.len();
        if end > self.len {
            self.resize(end)?;
        }
        self.memory.write(offset, bytes);
        // Written again, even if with the same bytes: dirty again.
        let sectors = offset / SECTOR..end.div_ceil(SECTOR);
        self.lies.retain(|sector, _| !sectors.contains(sector));
        let whole = offset.div_ceil(SECTOR)..end / SECTOR;
        self.unreadable.retain(|sector| !whole.contains(sector));
        if end > self.durable.len() {
            self.length_lies = false;
        }
        Ok(())
    }

    pub(super) fn resize(&mut self, len: usize) -> io::Result<()> {
        if len == self.len {
            return Ok(());
        }
        if self.maps > 0 {
            // A real disk would allow it, and kill a reader by SIGBUS later.
            return Err(errno(Errno::BUSY));
        }
        if len < self.len {
            self.memory.zero(len..self.len);
            self.lies.split_off(&(len / SECTOR));
        } else if len > self.memory.capacity() {
            let capacity = len.max(2 * self.memory.capacity());
            let copying = Arc::clone(self.memory.copy_lock());
            let grown = self
                .memory
                .read(|bytes| Memory::new(&bytes[..self.len], capacity, copying));
            self.memory = Arc::new(grown);
        }
        self.len = len;
        self.length_lies = false;
        Ok(())
    }

    /// `fdatasync`.
    pub(super) fn sync(&mut self) {
        self.commit(0..self.len, true);
    }

    /// `msync(MS_SYNC)` of the pages that cover `range`.
    pub(super) fn sync_pages(&mut self, range: &Range<usize>) {
        self.commit(pages(range), false);
    }

    /// A sync that failed: what was dirty is called clean now, and is not durable.
    pub(super) fn forget(&mut self) {
        self.forget_dirty(0..self.len);
        self.length_lies |= self.len != self.durable.len();
    }

    /// As [`Self::forget`] for the pages that cover `range`.
    pub(super) fn forget_pages(&mut self, range: &Range<usize>) {
        let reach = self.forget_dirty(pages(range));
        self.length_lies |= reach > self.durable.len();
    }

    fn forget_dirty(&mut self, range: Range<usize>) -> usize {
        let mut reach = 0;
        for (sector, content) in self.dirty(range) {
            reach = sector * SECTOR + content.len();
            self.lies.insert(sector, content);
        }
        reach
    }

    fn commit(&mut self, range: Range<usize>, whole: bool) {
        if whole && self.lies.is_empty() && !self.length_lies {
            let (len, durable) = (self.len, &mut self.durable);
            self.memory.read(|bytes| {
                if *durable != bytes[..len] {
                    durable.clear();
                    durable.extend_from_slice(&bytes[..len]);
                }
            });
            return;
        }
        let dirty = self.dirty(range);
        let reach = dirty
            .last()
            .map_or(0, |(sector, content)| sector * SECTOR + content.len());
        // The length is needed to reach the data after the old end.
        if reach > self.durable.len() || (whole && !self.length_lies) {
            self.durable.resize(self.len, 0);
            self.length_lies = false;
        }
        for (sector, content) in dirty {
            self.lies.remove(&sector);
            let start = sector * SECTOR;
            self.durable[start..start + content.len()].copy_from_slice(&content);
        }
    }

    /// The sectors of `range` that the kernel would write, with their content, in order.
    fn dirty(&self, range: Range<usize>) -> Vec<(usize, Box<[u8]>)> {
        let end = range.end.min(self.len);
        self.memory.read(|bytes| {
            let mut dirty = Vec::new();
            let mut start = range.start / SECTOR * SECTOR;
            while start < end {
                let content = &bytes[start..self.len.min(start + SECTOR)];
                let sector = start / SECTOR;
                if self.differs(start, content)
                    && self.lies.get(&sector).is_none_or(|lie| **lie != *content)
                {
                    dirty.push((sector, content.into()));
                }
                start += SECTOR;
            }
            dirty
        })
    }

    /// Whether the medium, with zeros after its end, holds other bytes than `content` at `start`.
    fn differs(&self, start: usize, content: &[u8]) -> bool {
        let durable = self.durable.get(start..).unwrap_or(&[]);
        let (same, beyond) = content.split_at(durable.len().min(content.len()));
        same != &durable[..same.len()] || beyond.iter().any(|byte| *byte != 0)
    }

    /// What a power cut leaves: of the un-synced sectors each with `per_mille`, and the old length
    /// or the new one.
    pub(super) fn survivor(&self, rng: &mut Rng, per_mille: u64) -> Vec<u8> {
        let mut content = self.durable.clone();
        let mut len = self.durable.len();
        if self.len != len && rng.chance(500) {
            len = self.len;
        }
        content.resize(len.max(self.len), 0);
        for (sector, bytes) in self.dirty(0..self.len) {
            if rng.chance(per_mille) {
                let start = sector * SECTOR;
                content[start..start + bytes.len()].copy_from_slice(&bytes);
            }
        }
        content.truncate(len);
        content
    }

    /// Which sectors cannot be read, for another machine with the same medium.
    pub(super) fn unreadable(&self) -> &BTreeSet<usize> {
        &self.unreadable
    }

    /// The same sectors cannot be read here.
    pub(super) fn inherit_unreadable(&mut self, sectors: &BTreeSet<usize>) {
        self.unreadable.clone_from(sectors);
    }

    /// Replaces both images.
    pub(super) fn replace(&mut self, content: Vec<u8>, copying: &Arc<Mutex<()>>) {
        let (links, modified_ms) = (self.links, self.modified_ms);
        *self = Self::durable(content, copying);
        self.links = links;
        self.modified_ms = modified_ms;
    }
}

/// The whole pages that cover `range`.
fn pages(range: &Range<usize>) -> Range<usize> {
    if range.is_empty() {
        return 0..0;
    }
    range.start / PAGE * PAGE..range.end.div_ceil(PAGE) * PAGE
}

/// `bytes` as a size in memory.
pub(super) fn size(bytes: u64) -> io::Result<usize> {
    const LARGEST: u64 = 1 << 32; // a file longer than the memory of the machine is a bug of the test
    if bytes > LARGEST {
        return Err(errno(Errno::FBIG));
    }
    usize::try_from(bytes).map_err(|_| errno(Errno::FBIG))
}
