//! Segments are made before they are needed: one is always ready, so that neither a full disk nor the price of
//! allocating blocks meets a commit.
//!
//! Making one takes as many bytes of zeros as it will hold, which commits would have to wait for. So it goes on piece by
//! piece as the log fills the segment before ([`Pace`]), or when the log is at rest.

use crate::budget::Budget;
use crate::error::{Result, WalError};
use crate::ledger::Ledger;
use crate::meters::Meters;
use crate::options::Background;
use crate::pace::{Pace, REST};
use crate::segment::{Ahead, Maker, Origin, Segment};
use crate::stats::Counters;
use highwater_disk::{Clock, StagingMemory};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

/// At most this many truncated segments wait to be recycled; the others are removed.
const POOL_SIZE: usize = 3;

/// Memory of so many segments that were let go of is kept for the next one.
const MEMORY_SIZE: usize = 1;

/// Makes segments, one ahead.
#[derive(Debug)]
pub(crate) struct Preparer {
    shop: Arc<Shop>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shop {
    maker: Maker,
    budget: Budget,
    counters: Arc<Counters>,
    meters: Arc<Meters>,
    clock: Arc<dyn Clock>,
    ledger: Arc<Ledger>,
    background: Background,
    pace: Pace,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Made and not yet in use, in the order of their bases.
    ready: VecDeque<Arc<Segment>>,
    /// Base of the segment to make next.
    next_base: u64,
    /// Truncated segments that may be made into new ones.
    pool: Vec<Arc<Segment>>,
    /// The next segment is wanted, or being made.
    wanted: bool,
    /// Somebody waits for it.
    urgent: bool,
    /// Memory of segments that were let go of.
    memory: Vec<StagingMemory>,
    /// Segments to let go of: giving their memory back takes milliseconds.
    trash: Vec<Arc<Segment>>,
    /// How far the log is durable, if that is to be noted in `LOG`.
    note: Option<u64>,
    /// Why the last attempt failed; taken by the appender that needed it.
    failed: Option<WalError>,
    /// The last attempt failed and that was told: the next failure is no news.
    told: Told,
    stopped: bool,
}

/// Whether a state was told already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    No,
    Yes,
}

impl Preparer {
    /// Starts with the segments in `ready`, that recovery found prepared; the one to make next starts at `next_base`.
    pub(crate) fn start(
        maker: Maker,
        budget: Budget,
        (counters, meters, clock): (Arc<Counters>, Arc<Meters>, Arc<dyn Clock>),
        ledger: Arc<Ledger>,
        background: Background,
        ready: VecDeque<Arc<Segment>>,
        next_base: u64,
    ) -> Result<Self> {
        let pace = Pace::new(maker.segment_size);
        let wanted = ready.is_empty();
        let state = State {
            ready,
            next_base,
            pool: Vec::new(),
            wanted,
            urgent: false,
            memory: Vec::new(),
            note: None,
            trash: Vec::new(),
            failed: None,
            told: Told::No,
            stopped: false,
        };
        let changed = Condvar::new();
        let shop = Arc::new(Shop {
            maker,
            budget,
            counters,
            meters,
            clock,
            ledger,
            background,
            pace,
            state: Mutex::new(state),
            changed,
        });
        let thread =
            match background {
                Background::Inline => None,
                Background::Thread => {
                    let worker = Arc::clone(&shop);
                    let spawned = std::thread::Builder::new()
                        .name("highwater-wal-prepare".to_owned())
                        .spawn(move || worker.work());
                    Some(spawned.map_err(|e| {
                        WalError::io("starting the preparer of", &shop.maker.dir, e)
                    })?)
                }
            };
        Ok(Self {
            shop,
            thread: Mutex::new(thread),
        })
    }

    /// The next segment; waits for it. An error (a full disk, say) is the caller's: the next call tries again.
    pub(crate) fn take(&self) -> Result<Arc<Segment>> {
        match self.shop.background {
            Background::Inline => self.shop.take_inline(),
            Background::Thread => self.shop.take_from_thread(),
        }
    }

    /// The segment that was taken is in use: the next one is made. Nobody appends to those in `released` any more; if
    /// there is a thread it lets go of them, and the next one takes their memory.
    pub(crate) fn rotated(&self, released: Vec<Arc<Segment>>) {
        if self.shop.background == Background::Inline {
            return;
        }
        let mut state = self.shop.state.lock();
        state.trash.extend(released);
        state.wanted |= state.ready.is_empty();
        self.shop.changed.notify_all();
    }

    /// Has it noted in `LOG` that everything below `durable` is.
    pub(crate) fn note(&self, durable: u64) {
        match self.shop.background {
            Background::Inline => self.shop.note(durable),
            Background::Thread => {
                self.shop.state.lock().note = Some(durable);
                self.shop.changed.notify_all();
            }
        }
    }

    /// A group of `size` bytes is durable, and with it everything below `durable`.
    pub(crate) fn committed(&self, durable: u64, size: u64) {
        if self.shop.pace.committed(durable, size) {
            // With the lock, so that it is not missed between the look and the wait.
            let _state = self.shop.state.lock();
            self.shop.changed.notify_all();
        }
    }

    /// Offers a truncated segment for reuse. Gives it back if it is not wanted: its file is to be removed.
    pub(crate) fn recycle(&self, segment: Arc<Segment>) -> Option<Arc<Segment>> {
        let mut state = self.shop.state.lock();
        let fits = segment.size == self.shop.maker.segment_size && segment.origin == Origin::Made;
        if fits && state.pool.len() < POOL_SIZE && !state.stopped {
            state.pool.push(segment);
            return None;
        }
        Some(segment)
    }

    /// The space that the segment files take.
    pub(crate) fn budget(&self) -> &Budget {
        &self.shop.budget
    }

    /// Segments that are prepared and not yet in use.
    pub(crate) fn ready(&self) -> usize {
        self.shop.state.lock().ready.len()
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.shop.state.lock().stopped = true;
        self.shop.changed.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the thread was noticed by whoever waited for a segment.
            let _ = thread.join();
        }
    }
}

impl Shop {
    fn take_inline(&self) -> Result<Arc<Segment>> {
        let mut state = self.state.lock();
        if let Some(segment) = state.ready.pop_front() {
            return Ok(segment);
        }
        let (base, old) = (state.next_base, state.pool.pop());
        let made = self.make(base, old, None, &mut |_| {
            Ahead::Piece(self.maker.segment_size)
        })?;
        state.next_base = made.end();
        Ok(made)
    }

    fn take_from_thread(&self) -> Result<Arc<Segment>> {
        let mut state = self.state.lock();
        // A failure from before this call says nothing about now: there may be room again.
        state.failed = None;
        loop {
            if let Some(segment) = state.ready.pop_front() {
                return Ok(segment);
            }
            if let Some(error) = state.failed.take() {
                return Err(error);
            }
            if state.stopped {
                return Err(WalError::Closed {
                    dir: self.maker.dir.clone(),
                });
            }
            (state.wanted, state.urgent) = (true, true);
            self.changed.notify_all();
            self.changed.wait(&mut state);
        }
    }

    /// The thread: makes a segment whenever one is wanted.
    fn work(&self) {
        let _gone = Gone(self);
        let mut state = self.state.lock();
        while !state.stopped {
            if self.chore(&mut state) {
                continue;
            }
            if !state.wanted {
                self.changed.wait(&mut state);
                continue;
            }
            let (base, old) = (state.next_base, state.pool.pop());
            let memory = state.memory.pop();
            drop(state);
            let made = self.make(base, old, memory, &mut |done| self.go_on(base, done));
            state = self.state.lock();
            state.wanted = false;
            state.urgent = false;
            match made {
                Ok(segment) => {
                    state.told = Told::No;
                    state.next_base = segment.end();
                    state.ready.push_back(segment);
                }
                Err(error) if state.told == Told::Yes => state.failed = Some(error),
                Err(error) => {
                    state.told = Told::Yes;
                    tracing::warn!(dir = %self.maker.dir.display(), %error, "the next log segment could not be prepared");
                    state.failed = Some(error);
                }
            }
            self.changed.notify_all();
        }
    }

    /// What there is to do besides, one thing at a time; false if there is nothing.
    fn chore(&self, state: &mut MutexGuard<'_, State>) -> bool {
        if !state.trash.is_empty() {
            let trash = std::mem::take(&mut state.trash);
            let memory: Vec<_> = MutexGuard::unlocked(state, || {
                let segments = trash.into_iter().filter_map(Arc::into_inner);
                segments.filter_map(Segment::into_memory).collect()
            });
            state.memory.extend(memory);
            let surplus = state.memory.len().saturating_sub(MEMORY_SIZE);
            let surplus: Vec<_> = state.memory.drain(..surplus).collect();
            MutexGuard::unlocked(state, || drop(surplus));
            return true;
        }
        match state.note.take() {
            None => false,
            Some(durable) => {
                MutexGuard::unlocked(state, || self.note(durable));
                true
            }
        }
    }

    /// Without the note opening reads more, nothing else.
    fn note(&self, durable: u64) {
        if let Err(error) = self.ledger.attest(durable) {
            tracing::debug!(dir = %self.maker.dir.display(), %error, "progress could not be noted in LOG");
        }
    }

    /// Whether to go on with a segment of which `done` bytes are prepared: waits until the log has come as far.
    fn go_on(&self, base: u64, done: u64) -> Ahead {
        let start = self.clock.now();
        let due = self.pace.due(base, done);
        let mut seen = None;
        let mut state = self.state.lock();
        let ahead = loop {
            if state.urgent || state.stopped {
                break Ahead::Stop;
            }
            if self.chore(&mut state) {
                continue;
            }
            if let Some(ahead) = self.pace.look(due, &mut seen) {
                break ahead;
            }
            self.changed.wait_for(&mut state, REST);
        };
        drop(state);
        let waited = self.clock.now().saturating_sub(start);
        self.pace.waited(waited);
        ahead
    }

    fn make(
        &self,
        base: u64,
        old: Option<Arc<Segment>>,
        mut memory: Option<StagingMemory>,
        ahead: &mut dyn FnMut(u64) -> Ahead,
    ) -> Result<Arc<Segment>> {
        let size = self.maker.segment_size;
        let start = self.clock.now();
        let waited = self.pace.waiting();
        let took = || {
            let waited = self.pace.waiting().saturating_sub(waited);
            self.clock
                .now()
                .saturating_sub(start)
                .saturating_sub(waited)
        };
        match old.map(Arc::try_unwrap) {
            Some(Ok(old)) => match old.recycle(&self.maker, base, memory.take()) {
                Ok(segment) => {
                    segment.map().prefault(0..size);
                    self.counters.recycle.record(took());
                    self.meters.recycled(took());
                    return Ok(Arc::new(segment));
                }
                Err(error) => {
                    tracing::debug!(%error, "recycling a segment failed, making a new one");
                    self.budget.give_back(size); // its file is gone
                }
            },
            Some(Err(held)) => {
                // A reader still looks at it: removed now, gone when the reader is.
                let _ = self.maker.disk.remove_file(&held.path);
                self.budget.give_back(size);
            }
            None => {}
        }
        self.budget.take(size, &self.maker.dir)?;
        let made = Segment::create(&self.maker, base, memory, ahead).map(Arc::new);
        let made = made.inspect_err(|_| self.budget.give_back(size))?;
        self.counters.prepare.record(took());
        self.meters.prepared(took());
        // If another program took its space when it was used last, now is the time.
        self.ledger.prepare_spare();
        Ok(made)
    }
}

/// Tells waiters that the thread is gone, even if it panicked.
struct Gone<'a>(&'a Shop);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.state.lock().stopped = true;
        self.0.changed.notify_all();
    }
}
