//! Segments are made before they are needed: one is always ready, so that neither a full disk nor the price of
//! allocating blocks meets a commit.

use crate::budget::Budget;
use crate::error::{Result, WalError};
use crate::ledger::Ledger;
use crate::meters::Meters;
use crate::options::Background;
use crate::segment::{Maker, Origin, Segment};
use crate::stats::Counters;
use highwater_disk::Clock;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

/// At most this many truncated segments wait to be recycled; the others are removed.
const POOL_SIZE: usize = 3;

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
    /// The next segment is wanted now, or being made.
    wanted: bool,
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
        let wanted = ready.is_empty();
        let state = State {
            ready,
            next_base,
            pool: Vec::new(),
            wanted,
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

    /// Lets go of segments that nobody appends to, on the thread if there is one.
    pub(crate) fn drop_later(&self, segments: Vec<Arc<Segment>>) {
        if segments.is_empty() || self.shop.background == Background::Inline {
            return;
        }
        self.shop.state.lock().trash.extend(segments);
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
        let made = self.make(base, old)?;
        state.next_base = made.end();
        Ok(made)
    }

    fn take_from_thread(&self) -> Result<Arc<Segment>> {
        let mut state = self.state.lock();
        // A failure from before this call says nothing about now: there may be room again.
        state.failed = None;
        loop {
            let taken = state.ready.pop_front();
            if state.ready.is_empty() && !state.wanted && state.failed.is_none() {
                state.wanted = true;
                self.changed.notify_all();
            }
            if let Some(segment) = taken {
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
            self.changed.wait(&mut state);
        }
    }

    /// The thread: makes a segment whenever one is wanted.
    fn work(&self) {
        let _gone = Gone(self);
        let mut state = self.state.lock();
        while !state.stopped {
            if !state.trash.is_empty() {
                let trash = std::mem::take(&mut state.trash);
                drop(state);
                drop(trash);
                state = self.state.lock();
                continue;
            }
            if !state.wanted {
                match state.note.take() {
                    None => self.changed.wait(&mut state),
                    Some(durable) => {
                        drop(state);
                        self.note(durable);
                        state = self.state.lock();
                    }
                }
                continue;
            }
            let (base, old) = (state.next_base, state.pool.pop());
            drop(state);
            let made = self.make(base, old);
            if let Ok(segment) = &made {
                segment.map().prefault();
            }
            state = self.state.lock();
            state.wanted = false;
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

    /// Without the note opening reads more, nothing else.
    fn note(&self, durable: u64) {
        if let Err(error) = self.ledger.attest(durable) {
            tracing::debug!(dir = %self.maker.dir.display(), %error, "progress could not be noted in LOG");
        }
    }

    fn make(&self, base: u64, old: Option<Arc<Segment>>) -> Result<Arc<Segment>> {
        let size = self.maker.segment_size;
        let start = self.clock.now();
        let took = || self.clock.now().saturating_sub(start);
        match old.map(Arc::try_unwrap) {
            Some(Ok(old)) => match old.recycle(&self.maker, base) {
                Ok(segment) => {
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
        let made = Segment::create(&self.maker, base).map(Arc::new);
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
