//! The group commit of the bare bounds: the least that any durable log has to do, and nothing else.
//!
//! Records go into a ring of extents that were really written before. The first thread that finds
//! no flush under way leads. It waits a bounded time for the threads that it has just served, then
//! flushes for all that came.

use super::{Appender, Store};
use crate::record::Digest;
use parking_lot::{Condvar, Mutex};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// As long as the group commit wait that Highwater has by default.
const COHORT_WAIT: Duration = Duration::from_micros(40);
/// The ring: large enough not to fit a device's cache, small enough to be written at every opening.
pub const RING_BYTES: u64 = 256 << 20;
/// More than is appended between two calls of [`Store::trim`].
const PREPARED_BYTES: u64 = 96 << 20;
/// The ring is written in pieces of this size. The page cache keeps a write of 1 MiB as one large
/// folio. A store through a map makes the whole folio dirty, so one record would write a megabyte.
const PIECE_BYTES: usize = 64 << 10;
/// The length, and room for a checksum that is never computed: only the flush should cost time.
const HEADER: usize = 8;
/// No group is larger; 64 threads with 16 KiB each need 1 MiB.
const GROUP_BYTES: usize = 4 << 20;
/// What direct writes may ask of memory.
const MEMORY_ALIGNMENT: usize = 4096;

/// Whether the leader waits for the threads that it has just served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// It flushes what is there.
    No,
    /// At most [`COHORT_WAIT`].
    Cohort,
}

/// Where records are put, and how they become durable.
pub trait Medium: Sync {
    /// Groups start and end at multiples of this.
    fn alignment(&self) -> u64;
    /// Puts `bytes` at `offset` of the ring, or into `group`, whose first byte stands at the
    /// group's start.
    fn place(&self, offset: u64, bytes: &[u8], group: &mut GroupBuffer);
    /// Makes `len` bytes from `offset` of the ring durable; `group` holds those that
    /// [`Self::place`] put there.
    fn flush(&self, offset: u64, len: u64, group: &[u8]);
    /// Hands what [`Self::place`] put into the group to the operating system, without waiting for
    /// the disk.
    fn hand_over(&self, offset: u64, group: &[u8]);
    /// Makes `len` bytes from `offset` ready for [`Self::place`]: what a log does for the segment
    /// that comes next.
    fn prepare(&self, _offset: u64, _len: u64) {}
}

/// The bytes of a group, in memory that direct writes accept.
pub struct GroupBuffer {
    storage: Vec<u8>,
    skip: usize,
    len: usize,
}

impl GroupBuffer {
    pub fn new() -> Self {
        let storage = vec![0; GROUP_BYTES + MEMORY_ALIGNMENT];
        let skip = storage.as_ptr().align_offset(MEMORY_ALIGNMENT);
        Self {
            storage,
            skip,
            len: 0,
        }
    }

    pub fn put(&mut self, bytes: &[u8]) {
        self.storage[self.skip + self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Zeros up to `len`.
    pub fn pad_to(&mut self, len: usize) {
        self.storage[self.skip..][self.len..len].fill(0);
        self.len = len;
    }

    pub fn bytes(&self) -> &[u8] {
        &self.storage[self.skip..][..self.len]
    }
}

/// A ring on a medium.
pub struct Group<M> {
    pub medium: M,
    wait: Wait,
    state: Mutex<State>,
    done: Condvar,
    /// Records in the open group: read by the waiting leader without the lock.
    arrived: AtomicU64,
}

struct State {
    /// What the group holds that the medium has not placed itself.
    bytes: GroupBuffer,
    /// The buffer to swap in while the other one is written.
    spare: Option<GroupBuffer>,
    /// Where the group starts and where the next record goes, counted without the ring's turns.
    start: u64,
    end: u64,
    /// The open group, and the number of groups that are durable.
    group: u64,
    durable: u64,
    flushing: bool,
    /// Records of the last group: those whose threads may come again at once.
    last: u64,
}

impl<M: Medium> Group<M> {
    pub fn new(medium: M, wait: Wait) -> Self {
        let state = State {
            bytes: GroupBuffer::new(),
            spare: Some(GroupBuffer::new()),
            start: 0,
            end: 0,
            group: 0,
            durable: 0,
            flushing: false,
            last: 0,
        };
        Self {
            medium,
            wait,
            state: Mutex::new(state),
            done: Condvar::new(),
            arrived: AtomicU64::new(0),
        }
    }

    /// Puts a record into the open group.
    fn place(&self, state: &mut State, record: &[u8]) {
        let len = (HEADER + record.len()) as u64;
        if state.end % RING_BYTES + len > RING_BYTES {
            // No record crosses the end of the ring: the rest stays as it is.
            let rest = RING_BYTES - state.end % RING_BYTES;
            if state.bytes.len > 0 {
                let filled = state.bytes.len + usize::try_from(rest).unwrap();
                state.bytes.pad_to(filled);
            } else if state.start == state.end {
                state.start += rest;
            }
            state.end += rest;
        }
        let offset = state.end % RING_BYTES;
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&u32::try_from(record.len()).unwrap().to_le_bytes());
        self.medium.place(offset, &header, &mut state.bytes);
        self.medium
            .place(offset + HEADER as u64, record, &mut state.bytes);
        state.end += len;
    }

    fn append_durable(&self, record: &[u8]) {
        let mut state = self.state.lock();
        self.place(&mut state, record);
        self.arrived.fetch_add(1, Ordering::Relaxed);
        let mine = state.group;
        while state.durable <= mine {
            if state.flushing {
                self.done.wait(&mut state);
                continue;
            }
            state.flushing = true;
            let expected = state.last;
            drop(state);
            if self.wait == Wait::Cohort {
                self.wait_for(expected);
            }
            self.flush();
            state = self.state.lock();
        }
    }

    fn wait_for(&self, expected: u64) {
        if self.arrived.load(Ordering::Relaxed) >= expected {
            return;
        }
        let deadline = Instant::now() + COHORT_WAIT;
        while self.arrived.load(Ordering::Relaxed) < expected && Instant::now() < deadline {
            std::thread::yield_now();
        }
    }

    /// Closes the open group and makes it durable. The caller has set `flushing`.
    fn flush(&self) {
        let mut state = self.state.lock();
        let spare = state.spare.take().expect("one flush at a time");
        let mut bytes = std::mem::replace(&mut state.bytes, spare);
        let start = state.start;
        let end = state.end.next_multiple_of(self.medium.alignment());
        (state.start, state.end) = (end, end);
        state.group += 1;
        state.last = self.arrived.swap(0, Ordering::Relaxed);
        drop(state);
        if bytes.len > 0 {
            bytes.pad_to(usize::try_from(end - start).unwrap());
        }
        self.write_out(start, end, bytes.bytes());
        bytes.len = 0;
        let mut state = self.state.lock();
        state.spare = Some(bytes);
        state.durable += 1;
        state.flushing = false;
        drop(state);
        self.done.notify_all();
    }

    /// A group that turns the ring is flushed in two parts.
    fn write_out(&self, start: u64, end: u64, bytes: &[u8]) {
        let first = (end - start).min(RING_BYTES - start % RING_BYTES);
        let split = bytes.len().min(usize::try_from(first).unwrap());
        self.medium
            .flush(start % RING_BYTES, first, &bytes[..split]);
        if first < end - start {
            self.medium.flush(0, end - start - first, &bytes[split..]);
        }
    }

    fn append(&self, record: &[u8]) {
        let mut state = self.state.lock();
        self.place(&mut state, record);
        let offset = state.start % RING_BYTES;
        let state = &mut *state;
        if state.bytes.len > 0 {
            self.medium.hand_over(offset, state.bytes.bytes());
            state.bytes.len = 0;
            state.start = state.end;
        }
    }

    fn sync(&self) {
        let mut state = self.state.lock();
        while state.flushing {
            self.done.wait(&mut state);
        }
        state.flushing = true;
        drop(state);
        self.flush();
    }
}

impl<M: Medium> Store for Group<M> {
    fn appender(&self, _thread: u64) -> Box<dyn Appender + '_> {
        Box::new(Handle(self))
    }

    /// There is nothing to give up in a ring; what comes next is made ready.
    fn trim(&self) {
        let offset = self.state.lock().end % RING_BYTES;
        let len = PREPARED_BYTES.min(RING_BYTES - offset);
        self.medium.prepare(offset, len);
    }

    fn settle(&self) {
        self.trim();
    }

    fn replay(&self, _digest: &mut Digest) {
        unreachable!("the ring of a bound is not replayed");
    }
}

struct Handle<'a, M>(&'a Group<M>);

impl<M: Medium> Appender for Handle<'_, M> {
    fn append_durable(&mut self, record: &[u8]) {
        self.0.append_durable(record);
    }

    fn append(&mut self, record: &[u8]) {
        self.0.append(record);
    }

    fn sync(&mut self) {
        self.0.sync();
    }
}

/// A ring of extents that were really written: the first write to a merely allocated one commits
/// the journal as well.
pub fn create_ring(path: &Path) -> File {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .unwrap();
    let zeros = vec![0; PIECE_BYTES];
    for offset in (0..RING_BYTES).step_by(zeros.len()) {
        file.write_all_at(&zeros, offset).unwrap();
    }
    file.sync_all().unwrap();
    file
}
