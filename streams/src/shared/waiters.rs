//! Who waits for a stream, and which streams are about to change.

use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

/// Who waits for a stream, and which streams change when more of the log is durable.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    by_stream: Mutex<HashMap<u64, HashMap<u64, Waker>>>,
    next: AtomicU64,
    /// How many streams are waited for.
    streams: AtomicUsize,
    /// Nothing changes any more.
    is_over: AtomicBool,
    /// Frames that are not known to be durable, of streams that are waited for or deleted: LSN and
    /// stream.
    expected: Mutex<BinaryHeap<Reverse<(u64, u64)>>>,
}

impl Waiters {
    /// A name for one that waits.
    pub(crate) fn name(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// From now on it is woken whenever the stream has changed.
    pub(crate) fn enter(&self, stream: u64, name: u64, waker: Waker) {
        let mut by_stream = self.by_stream.lock();
        by_stream.entry(stream).or_default().insert(name, waker);
        self.streams.store(by_stream.len(), Ordering::SeqCst);
    }

    /// Whether a stream is waited for. Nearly always none is, and that is known without the lock.
    pub(crate) fn has(&self, stream: u64) -> bool {
        self.streams.load(Ordering::SeqCst) > 0 && self.by_stream.lock().contains_key(&stream)
    }

    pub(crate) fn leave(&self, stream: u64, name: u64) {
        let mut by_stream = self.by_stream.lock();
        if let Some(waiting) = by_stream.get_mut(&stream) {
            waiting.remove(&name);
            if waiting.is_empty() {
                by_stream.remove(&stream);
                self.streams.store(by_stream.len(), Ordering::SeqCst);
            }
        }
    }

    pub(crate) fn wake(&self, stream: u64) {
        let woken = {
            let mut by_stream = self.by_stream.lock();
            let woken = by_stream.remove(&stream);
            self.streams.store(by_stream.len(), Ordering::SeqCst);
            woken
        };
        for (_, waker) in woken.into_iter().flatten() {
            waker.wake();
        }
    }

    /// Nothing changes any more: wakes all.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        let woken = std::mem::take(&mut *self.by_stream.lock());
        for (_, waker) in woken.into_values().flatten() {
            waker.wake();
        }
    }

    pub(crate) fn are_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    pub(crate) fn count(&self) -> usize {
        self.by_stream.lock().values().map(HashMap::len).sum()
    }

    /// The stream changes when the frame at `lsn` is durable.
    pub(crate) fn expect(&self, lsn: u64, stream: u64) {
        self.expected.lock().push(Reverse((lsn, stream)));
    }

    /// Streams that have changed, now that everything below `durable` is: up to `most`.
    pub(crate) fn changed(&self, durable: u64, most: usize, streams: &mut Vec<u64>) {
        let mut expected = self.expected.lock();
        while streams.len() < most
            && let Some(Reverse((lsn, stream))) = expected.peek().copied()
            && lsn < durable
        {
            expected.pop();
            streams.push(stream);
        }
    }
}
