//! What a checkpoint is made of, on its way from the workers to the thread that writes it.

use crate::batch::Batch;
use crate::batch::tick::Tick;
use crate::checkpointing::metadata::Incomplete;
use crate::engine_log::ledger::Settled;
use crate::observe::checkpoints::CheckpointStatus;
use crate::state::encoded::Entry;
use crate::state::table::capture::CapturedGroup;
use highwater_wal::StreamId;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::Thread;

/// Which states a checkpoint has as a whole. Of the others it has what has changed since the one
/// before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whole {
    /// All of them: there is nothing to build upon.
    All,
    These(Arc<BTreeSet<usize>>),
}

impl Whole {
    pub(crate) fn none() -> Self {
        Self::These(Arc::default())
    }

    pub(crate) fn has(&self, state: usize) -> bool {
        match self {
            Self::All => true,
            Self::These(states) => states.contains(&state),
        }
    }
}

/// What the workers say of their states.
#[derive(Debug)]
pub(crate) enum Captured {
    /// How many keys a worker has of a state.
    Keys { state: usize, keys: u64 },
    /// A key group.
    Group {
        state: usize,
        group: Box<dyn CapturedGroup>,
        held: HeldBytes,
    },
    /// A copy failed in user code.
    Failed { state: usize, message: String },
    /// A worker has said everything.
    Done,
}

/// A worker's end of it.
#[derive(Debug, Clone)]
pub(crate) struct CaptureSink {
    pub(crate) messages: Sender<Captured>,
    pub(crate) memory: Arc<CopyMemory>,
    /// Is told how long batches wait for copies.
    pub(crate) status: Arc<CheckpointStatus>,
}

impl CaptureSink {
    /// Hands over a key group. Whether it is still wanted.
    pub(crate) fn deliver(&self, state: usize, group: Box<dyn CapturedGroup>) -> bool {
        let held = HeldBytes::new(&self.memory, state, &*group);
        let message = Captured::Group { state, group, held };
        self.messages.send(message).is_ok()
    }
}

/// Everything that a checkpoint consists of, as of a batch boundary.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) batch: Batch,
    pub(crate) whole: Whole,
    /// What the workers copy meanwhile.
    pub(crate) copies: Receiver<Captured>,
    pub(crate) workers: usize,
    pub(crate) memory: Arc<CopyMemory>,
    /// The entries of the states that the driver keeps.
    pub(crate) entries: BTreeMap<usize, Vec<Entry>>,
    /// The place of the batch in time.
    pub(crate) tick: Tick,
    /// Batches that were cut after it.
    pub(crate) incomplete: Incomplete,
    /// Whether it is the last one of a graceful stop.
    pub(crate) is_final: bool,
    /// What the end of the batch leaves behind of each source.
    pub(crate) sources: BTreeMap<StreamId, Settled>,
}

/// The memory that copies take until they are written, and its bound. What a state takes is not
/// known before it is encoded: it is taken to be what its type takes, or what the last ones of the
/// same operator took encoded, if that is more.
#[derive(Debug)]
pub(crate) struct CopyMemory {
    max_bytes: u64,
    bytes: AtomicU64,
    peak: AtomicU64,
    /// Encoded bytes of a key, by state.
    per_key: Mutex<BTreeMap<usize, u64>>,
    /// Threads that wait for room.
    waiting: Mutex<Vec<Thread>>,
}

impl CopyMemory {
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            bytes: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            per_key: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// Whether there is room for more. If not, the calling thread is unparked when there is.
    pub(crate) fn has_room(&self) -> bool {
        let has_room = || self.bytes.load(Ordering::Acquire) < self.max_bytes;
        if has_room() {
            return true;
        }
        let this = std::thread::current();
        let mut waiting = self.waiting.lock();
        if waiting.iter().all(|other| other.id() != this.id()) {
            waiting.push(this);
        }
        drop(waiting);
        // What was written before it was listed has woken nothing.
        has_room()
    }

    /// A key group of `keys` keys is encoded: it has `encoded` bytes.
    pub(crate) fn encoded(&self, state: usize, keys: u64, encoded: u64) {
        if let Some(per_key) = encoded.checked_div(keys) {
            self.per_key.lock().insert(state, per_key);
        }
    }

    /// The most that it was since the last call.
    pub(crate) fn take_peak(&self) -> u64 {
        let now = self.bytes.load(Ordering::Acquire);
        self.peak.swap(now, Ordering::AcqRel)
    }
}

/// What a copied key group is taken to occupy, until this is dropped.
#[derive(Debug)]
pub(crate) struct HeldBytes {
    memory: Arc<CopyMemory>,
    bytes: u64,
}

impl HeldBytes {
    fn new(memory: &Arc<CopyMemory>, state: usize, group: &dyn CapturedGroup) -> Self {
        let encoded = memory.per_key.lock().get(&state).copied().unwrap_or(0);
        let per_key = group.bytes_per_key().max(encoded);
        let bytes = group.keys().saturating_mul(per_key);
        let now = memory.bytes.fetch_add(bytes, Ordering::AcqRel) + bytes;
        memory.peak.fetch_max(now, Ordering::AcqRel);
        Self {
            memory: Arc::clone(memory),
            bytes,
        }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.memory.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        let waiting = std::mem::take(&mut *self.memory.waiting.lock());
        waiting.iter().for_each(Thread::unpark);
    }
}
